//! Secrets as a whole.

use super::{show_tags, value};
use crate::api::{ApiError, Context};
use crate::encryption;
use crate::model::Tx;
use crate::model::secretsmanager::invalid;
use crate::model::secretsmanager::secrets::{self as model, NewSecret, Update};
use fogbank_types::Tags;
use fogbank_types::secret::Secret;
use fogbank_wire::secretsmanager as wire;
use std::collections::BTreeMap;

fn tags(given: Vec<wire::Tag>) -> Result<Tags, ApiError> {
    let pair = |tag: wire::Tag| {
        let key = tag.key.ok_or_else(|| invalid("A tag must have a key."))?;
        Ok((key, tag.value.unwrap_or_default()))
    };
    given.into_iter().map(pair).collect()
}

/// What AWS has and this region does not is refused by name.
fn not_offered(what: &str) -> ApiError {
    invalid(format!("{what} is not offered by this region yet.")).into()
}

pub fn create(
    context: &Context,
    input: wire::CreateSecretRequest,
) -> Result<wire::CreateSecretResponse, ApiError> {
    if input
        .add_replica_regions
        .is_some_and(|regions| !regions.is_empty())
    {
        return Err(not_offered("AddReplicaRegions"));
    }
    if input.r#type.is_some() {
        return Err(not_offered("Type"));
    }
    let new = NewSecret {
        name: input.name,
        description: input.description,
        kms_key_id: input.kms_key_id,
        value: value(input.secret_string, input.secret_binary)?,
        token: input.client_request_token,
        tags: tags(input.tags.unwrap_or_default())?,
    };
    let scope = context.scope();
    let own_key = encryption::new_secret()?;
    let (row, version_id) = context.write(|tx| {
        let create = |tx: &mut Tx| model::create(tx, &scope, new.clone());
        encryption::with_secret(tx, &scope, &new.name, &own_key, create, |(row, _)| &row.arn)
    })?;
    Ok(wire::CreateSecretResponse {
        arn: Some(row.arn),
        name: Some(row.name),
        version_id,
        ..wire::CreateSecretResponse::default()
    })
}

/// Versions with their labels; deprecated ones have none and are not told.
pub fn stages(row: &Secret) -> Option<BTreeMap<String, Vec<String>>> {
    let staged = row
        .versions
        .iter()
        .filter(|version| !version.stages.is_empty());
    let map: BTreeMap<_, _> = staged
        .map(|version| (version.id.clone(), version.stages.iter().cloned().collect()))
        .collect();
    (!map.is_empty()).then_some(map)
}

pub fn describe(
    context: &Context,
    input: wire::DescribeSecretRequest,
) -> Result<wire::DescribeSecretResponse, ApiError> {
    let snapshot = context.snapshot();
    let row = model::find(
        &snapshot,
        &super::home(context, &input.secret_id),
        &input.secret_id,
    )?;
    Ok(wire::DescribeSecretResponse {
        arn: Some(row.arn.clone()),
        created_date: Some(row.created_at),
        deleted_date: row.deleted_at.map(|(_, gone_at)| gone_at),
        description: row.description.clone(),
        kms_key_id: row.kms_key_id.clone(),
        last_accessed_date: row.accessed_at,
        last_changed_date: Some(row.changed_at),
        name: Some(row.name.clone()),
        tags: (!row.tags.is_empty()).then(|| show_tags(&row.tags)),
        version_ids_to_stages: stages(row),
        ..wire::DescribeSecretResponse::default()
    })
}

pub fn update(
    context: &Context,
    input: wire::UpdateSecretRequest,
) -> Result<wire::UpdateSecretResponse, ApiError> {
    if input.r#type.is_some() {
        return Err(not_offered("Type"));
    }
    let update = Update {
        description: input.description,
        kms_key_id: input.kms_key_id,
        value: value(input.secret_string, input.secret_binary)?,
        token: input.client_request_token,
    };
    let scope = context.scope();
    let (own_key, id) = (encryption::new_secret()?, &input.secret_id);
    let (row, version_id) = context.write(|tx| {
        let change = |tx: &mut Tx| model::update(tx, &scope, id, update.clone());
        encryption::with_secret(tx, &scope, id, &own_key, change, |(row, _)| &row.arn)
    })?;
    Ok(wire::UpdateSecretResponse {
        arn: Some(row.arn),
        name: Some(row.name),
        version_id,
    })
}

pub fn delete(
    context: &Context,
    input: wire::DeleteSecretRequest,
) -> Result<wire::DeleteSecretResponse, ApiError> {
    let (scope, window_days) = (context.scope(), input.recovery_window_in_days);
    let force = input.force_delete_without_recovery == Some(true);
    let (arn, name, gone_at) = context.write(|tx| {
        Ok(model::delete(
            tx,
            &scope,
            &input.secret_id,
            window_days,
            force,
        )?)
    })?;
    Ok(wire::DeleteSecretResponse {
        arn: Some(arn),
        deletion_date: Some(gone_at),
        name: Some(name),
    })
}

pub fn restore(
    context: &Context,
    input: wire::RestoreSecretRequest,
) -> Result<wire::RestoreSecretResponse, ApiError> {
    let scope = context.scope();
    let row = context.write(|tx| Ok(model::restore(tx, &scope, &input.secret_id)?))?;
    Ok(wire::RestoreSecretResponse {
        arn: Some(row.arn),
        name: Some(row.name),
    })
}

pub fn tag(
    context: &Context,
    input: wire::TagResourceRequest,
) -> Result<wire::TagResourceResponse, ApiError> {
    let (scope, tags) = (context.scope(), tags(input.tags)?);
    context.write(|tx| {
        let id = &input.secret_id;
        Ok(model::change_tags(tx, &scope, id, &tags, &[])?)
    })?;
    Ok(wire::TagResourceResponse {})
}

pub fn untag(
    context: &Context,
    input: wire::UntagResourceRequest,
) -> Result<wire::UntagResourceResponse, ApiError> {
    let (scope, none) = (context.scope(), Tags::new());
    context.write(|tx| {
        let (id, keys) = (&input.secret_id, &input.tag_keys);
        Ok(model::change_tags(tx, &scope, id, &none, keys)?)
    })?;
    Ok(wire::UntagResourceResponse {})
}
