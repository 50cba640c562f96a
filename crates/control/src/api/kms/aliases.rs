//! Aliases.

use super::page;
use crate::api::{ApiError, Context};
use crate::model::kms::keys::{self, Named};
use crate::model::kms::{aliases as model, managed};
use fogbank_wire::kms as wire;

pub fn create(
    context: &Context,
    input: wire::CreateAliasRequest,
) -> Result<wire::CreateAliasResponse, ApiError> {
    let scope = context.scope();
    context
        .write(|tx| {
            let (name, key) = (&input.alias_name, &input.target_key_id);
            Ok(model::create(tx, &scope, name, key)?)
        })
        .map(|()| wire::CreateAliasResponse {})
}

pub fn update(
    context: &Context,
    input: wire::UpdateAliasRequest,
) -> Result<wire::UpdateAliasResponse, ApiError> {
    let scope = context.scope();
    context
        .write(|tx| {
            let (name, key) = (&input.alias_name, &input.target_key_id);
            Ok(model::update(tx, &scope, name, key)?)
        })
        .map(|()| wire::UpdateAliasResponse {})
}

pub fn delete(
    context: &Context,
    input: wire::DeleteAliasRequest,
) -> Result<wire::DeleteAliasResponse, ApiError> {
    let scope = context.scope();
    context
        .write(|tx| Ok(model::delete(tx, &scope, &input.alias_name)?))
        .map(|()| wire::DeleteAliasResponse {})
}

/// All, or those of one key. AWS's own whose keys nobody has used yet are without a key.
pub fn list(
    context: &Context,
    input: wire::ListAliasesRequest,
) -> Result<wire::ListAliasesResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let id = input.key_id.as_deref();
    let key = id
        .map(|id| keys::find(&snapshot, &scope, id, Named::Directly))
        .transpose()?;
    let own = snapshot.kms_aliases.in_scope(&scope);
    let own = own.filter(|alias| key.as_ref().is_none_or(|key| key.id == alias.key_id));
    let mut all: Vec<wire::AliasListEntry> = own
        .map(|alias| wire::AliasListEntry {
            alias_arn: Some(alias.arn()),
            alias_name: Some(alias.name.clone()),
            creation_date: Some(alias.created_at),
            last_updated_date: Some(alias.updated_at),
            target_key_id: Some(alias.key_id.clone()),
        })
        .collect();
    if key.is_none() {
        let unused = managed::SERVICES
            .iter()
            .map(|(service, _)| format!("alias/aws/{service}"))
            .filter(|name| !snapshot.kms_aliases.contains(&scope, name));
        all.extend(unused.map(|name| wire::AliasListEntry {
            alias_arn: Some(scope.arn("kms", &name)),
            alias_name: Some(name),
            ..wire::AliasListEntry::default()
        }));
        all.sort_by(|a, b| a.alias_name.cmp(&b.alias_name));
    }
    let (aliases, next) = page(all, input.marker.as_deref(), input.limit, 50)?;
    Ok(wire::ListAliasesResponse {
        aliases: Some(aliases),
        truncated: Some(next.is_some()),
        next_marker: next,
    })
}
