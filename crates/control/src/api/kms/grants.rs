//! Grants.

use super::page;
use crate::api::{ApiError, Context};
use crate::model::iam::evaluation::PartyKind;
use crate::model::kms::keys::{self, Named};
use crate::model::kms::{Refusal, grants as model, invalid};
use fogbank_types::kms::{Grant, GrantConstraint};
use fogbank_wire::kms as wire;
use std::collections::BTreeMap;

fn constraint(given: Option<wire::GrantConstraints>) -> Result<Option<GrantConstraint>, ApiError> {
    let Some(given) = given else { return Ok(None) };
    // Clients send an empty one for what was not said.
    let said = |pairs: &BTreeMap<String, String>| !pairs.is_empty();
    match (
        given.encryption_context_equals.filter(said),
        given.encryption_context_subset.filter(said),
    ) {
        (Some(_), Some(_)) => Err(invalid(
            "You can specify either EncryptionContextEquals or EncryptionContextSubset, not both.",
        )
        .into()),
        (Some(pairs), None) => Ok(Some(GrantConstraint::Equals(pairs.into_iter().collect()))),
        (None, Some(pairs)) => Ok(Some(GrantConstraint::Holds(pairs.into_iter().collect()))),
        (None, None) => Ok(None),
    }
}

pub fn create(
    context: &Context,
    input: wire::CreateGrantRequest,
) -> Result<wire::CreateGrantResponse, ApiError> {
    let new = model::NewGrant {
        key: input.key_id,
        name: input.name,
        grantee: input.grantee_principal,
        retiring: input.retiring_principal,
        operations: input.operations,
        constraint: constraint(input.constraints)?,
    };
    let (scope, is_dry) = (context.scope(), input.dry_run == Some(true));
    let grant = context.write(|tx| {
        let grant = model::create(tx, &scope, new.clone())?;
        if is_dry {
            return Err(Refusal::DryRun.into());
        }
        Ok(grant)
    })?;
    Ok(wire::CreateGrantResponse {
        grant_token: Some(model::token(&grant)),
        grant_id: Some(grant.id),
    })
}

fn show(grant: &Grant) -> wire::GrantListEntry {
    let (equals, subset) = match &grant.constraint {
        None => (None, None),
        Some(GrantConstraint::Equals(pairs)) => (Some(pairs), None),
        Some(GrantConstraint::Holds(pairs)) => (None, Some(pairs)),
    };
    wire::GrantListEntry {
        constraints: grant.constraint.as_ref().map(|_| wire::GrantConstraints {
            encryption_context_equals: equals.cloned(),
            encryption_context_subset: subset.cloned(),
        }),
        creation_date: Some(grant.created_at),
        grant_id: Some(grant.id.clone()),
        grantee_principal: Some(grant.grantee.clone()),
        issuing_account: Some(grant.issuing_account.clone()),
        key_id: Some(grant.scope.arn("kms", &format!("key/{}", grant.key_id))),
        name: grant.name.clone(),
        operations: Some(grant.operations.iter().cloned().collect()),
        retiring_principal: grant.retiring.clone(),
    }
}

fn answer(
    grants: Vec<wire::GrantListEntry>,
    marker: Option<&str>,
    limit: Option<i32>,
) -> Result<wire::ListGrantsResponse, ApiError> {
    let (grants, next) = page(grants, marker, limit, 50)?;
    Ok(wire::ListGrantsResponse {
        grants: Some(grants),
        truncated: Some(next.is_some()),
        next_marker: next,
    })
}

pub fn list(
    context: &Context,
    input: wire::ListGrantsRequest,
) -> Result<wire::ListGrantsResponse, ApiError> {
    let snapshot = context.snapshot();
    let key = keys::find(&snapshot, &context.scope(), &input.key_id, Named::Directly)?;
    let fits = |wanted: &Option<String>, own: &str| wanted.as_deref().is_none_or(|w| w == own);
    let all = model::of_key(&snapshot, &key)
        .filter(|grant| fits(&input.grant_id, &grant.id))
        .filter(|grant| fits(&input.grantee_principal, &grant.grantee));
    let all = all.map(|grant| show(grant)).collect();
    answer(all, input.marker.as_deref(), input.limit)
}

pub fn retirable(
    context: &Context,
    input: wire::ListRetirableGrantsRequest,
) -> Result<wire::ListGrantsResponse, ApiError> {
    let snapshot = context.snapshot();
    let all = snapshot
        .kms_grants
        .in_scope(&context.scope())
        .filter(|grant| grant.retiring.as_ref() == Some(&input.retiring_principal));
    let all = all.map(|grant| show(grant)).collect();
    answer(all, input.marker.as_deref(), input.limit)
}

/// The caller must be one whom the grant itself names, or the key's account.
pub fn retire(
    context: &Context,
    input: wire::RetireGrantRequest,
) -> Result<wire::RetireGrantResponse, ApiError> {
    let (scope, party) = (context.scope(), &context.principal().party);
    let mut principals = vec![party.arn.as_str()];
    if let PartyKind::Session { role_arn, .. } = &party.kind {
        principals.push(role_arn);
    }
    context
        .write(|tx| {
            let (token, key) = (input.grant_token.as_deref(), input.key_id.as_deref());
            let grant = model::named(tx.snapshot(), &scope, token, key, input.grant_id.as_deref())?;
            if !model::may_retire(&grant, &principals) {
                return Err(Refusal::Denied(format!(
                    "User: {} is not authorized to perform: kms:RetireGrant",
                    party.arn
                ))
                .into());
            }
            if input.dry_run == Some(true) {
                return Err(Refusal::DryRun.into());
            }
            model::retire(tx, &grant);
            Ok(())
        })
        .map(|()| wire::RetireGrantResponse {})
}

pub fn revoke(
    context: &Context,
    input: wire::RevokeGrantRequest,
) -> Result<wire::RevokeGrantResponse, ApiError> {
    let scope = context.scope();
    context
        .write(|tx| {
            model::revoke(tx, &scope, &input.key_id, &input.grant_id)?;
            if input.dry_run == Some(true) {
                return Err(Refusal::DryRun.into());
            }
            Ok(())
        })
        .map(|()| wire::RevokeGrantResponse {})
}
