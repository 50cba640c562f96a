//! The account's alias.

use super::{page, scope};
use crate::api::{ApiError, Context};
use crate::model::iam::account_aliases;
use fogbank_wire::iam as wire;

pub fn create(
    context: &Context,
    request: wire::CreateAccountAliasRequest,
) -> Result<wire::CreateAccountAliasResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| {
        let alias = request.account_alias.clone();
        Ok(account_aliases::create(tx, &scope, alias)?)
    })?;
    Ok(wire::CreateAccountAliasResponse {})
}

pub fn delete(
    context: &Context,
    request: wire::DeleteAccountAliasRequest,
) -> Result<wire::DeleteAccountAliasResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| Ok(account_aliases::delete(tx, &scope, &request.account_alias)?))?;
    Ok(wire::DeleteAccountAliasResponse {})
}

pub fn list(
    context: &Context,
    request: wire::ListAccountAliasesRequest,
) -> Result<wire::ListAccountAliasesResponse, ApiError> {
    let snapshot = context.snapshot();
    let rows = snapshot.account_aliases.in_scope(&scope(context));
    let aliases = rows.map(|row| row.alias.clone()).collect();
    let (account_aliases, is_truncated, marker) =
        page(aliases, String::clone, request.marker, request.max_items);
    Ok(wire::ListAccountAliasesResponse {
        account_aliases,
        is_truncated,
        marker,
    })
}
