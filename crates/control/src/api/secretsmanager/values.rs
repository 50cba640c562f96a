//! Values of secrets and their staging labels.

use super::{page, show_value, value};
use crate::api::{ApiError, Context};
use crate::encryption;
use crate::model::Tx;
use crate::model::kms::keys::{self, Named};
use crate::model::secretsmanager::values::{self as model, Read};
use crate::model::secretsmanager::{filters, invalid, secrets, stages};
use fogbank_types::secret::SecretValue;
use fogbank_wire::secretsmanager as wire;

pub fn get(
    context: &Context,
    input: wire::GetSecretValueRequest,
) -> Result<wire::GetSecretValueResponse, ApiError> {
    let scope = super::home(context, &input.secret_id);
    let read = context.write(|tx| {
        let (version, stage) = (input.version_id.as_deref(), input.version_stage.as_deref());
        Ok(model::get(tx, &scope, &input.secret_id, version, stage)?)
    })?;
    let opened = encryption::open_secret(&context.snapshot(), &read.arn, &read.version)?;
    let (secret_string, secret_binary) = show_value(opened);
    Ok(wire::GetSecretValueResponse {
        arn: Some(read.arn),
        created_date: Some(read.version.created_at),
        name: Some(read.name),
        secret_binary,
        secret_string,
        version_id: Some(read.version.id),
        version_stages: Some(read.version.stages.into_iter().collect()),
    })
}

pub fn put(
    context: &Context,
    input: wire::PutSecretValueRequest,
) -> Result<wire::PutSecretValueResponse, ApiError> {
    let scope = context.scope();
    let value = value(input.secret_string, input.secret_binary)?;
    let wanted = input.version_stages.unwrap_or_default();
    let (own_key, id) = (encryption::new_secret()?, &input.secret_id);
    let (row, version_id) = context.write(|tx| {
        let token = input.client_request_token.clone();
        let put = |tx: &mut Tx| model::put(tx, &scope, id, token, value.clone(), &wanted);
        encryption::with_secret(tx, &scope, id, &own_key, put, |(row, _)| &row.arn)
    })?;
    let version = row.versions.iter().find(|version| version.id == version_id);
    let stages = version.map(|version| version.stages.iter().cloned().collect());
    Ok(wire::PutSecretValueResponse {
        arn: Some(row.arn.clone()),
        name: Some(row.name.clone()),
        version_id: Some(version_id.clone()),
        version_stages: stages,
    })
}

fn entry(read: Read, opened: SecretValue) -> wire::SecretValueEntry {
    let (secret_string, secret_binary) = show_value(opened);
    wire::SecretValueEntry {
        arn: Some(read.arn),
        created_date: Some(read.version.created_at),
        name: Some(read.name),
        secret_binary,
        secret_string,
        version_id: Some(read.version.id),
        version_stages: Some(read.version.stages.into_iter().collect()),
    }
}

pub fn get_many(
    context: &Context,
    input: wire::BatchGetSecretValueRequest,
) -> Result<wire::BatchGetSecretValueResponse, ApiError> {
    let scope = context.scope();
    let (ids, next_token) = match (input.secret_id_list, input.filters) {
        (Some(_), Some(_)) | (None, None) => {
            return Err(invalid(
                "Either 'SecretIdList' or 'Filters' must be provided, but not both.",
            )
            .into());
        }
        (Some(_), None) if input.max_results.is_some() => {
            return Err(invalid("'Filters' not specified in the request.").into());
        }
        (Some(ids), None) => (ids, None),
        (None, Some(wanted)) => {
            let wanted = super::listing::filters(Some(wanted))?;
            let snapshot = context.snapshot();
            let rows = snapshot.secrets.in_scope(&scope);
            let rows =
                rows.filter(|row| row.deleted_at.is_none() && filters::matches(row, &wanted));
            let ids = rows.map(|row| row.arn.clone()).collect();
            page(ids, input.next_token.as_deref(), input.max_results, 20)?
        }
    };
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for id in ids {
        // Each is refused by itself.
        let snapshot = context.snapshot();
        let secret = secrets::find(&snapshot, &scope, &id).ok();
        let arn = secret.map_or(id.as_str(), |secret| secret.arn.as_str());
        let key = secret
            .and_then(|secret| secret.kms_key_id.as_ref())
            .and_then(|key| keys::find(&snapshot, &scope, key, Named::ByAlias).ok())
            .filter(|key| !key.is_managed_by_aws);
        let opened = context
            .may("secretsmanager:GetSecretValue", arn)
            .and_then(|()| match key {
                Some(key) => context.may("kms:Decrypt", &key.arn()),
                None => Ok(()),
            })
            .and_then(|()| context.write(|tx| Ok(model::get(tx, &scope, &id, None, None)?)))
            .and_then(|read| {
                let value = encryption::open_secret(&context.snapshot(), &read.arn, &read.version)?;
                Ok((read, value))
            });
        match opened {
            Ok((read, value)) => values.push(entry(read, value)),
            Err(error) => errors.push(wire::APIErrorType {
                error_code: Some(error.0.code.into_owned()),
                message: Some(error.0.message),
                secret_id: Some(id),
            }),
        }
    }
    Ok(wire::BatchGetSecretValueResponse {
        errors: Some(errors),
        next_token,
        secret_values: Some(values),
    })
}

pub fn update_stage(
    context: &Context,
    input: wire::UpdateSecretVersionStageRequest,
) -> Result<wire::UpdateSecretVersionStageResponse, ApiError> {
    let scope = context.scope();
    let row = context.write(|tx| {
        let from = input.remove_from_version_id.as_deref();
        let to = input.move_to_version_id.as_deref();
        Ok(stages::update(
            tx,
            &scope,
            &input.secret_id,
            &input.version_stage,
            from,
            to,
        )?)
    })?;
    Ok(wire::UpdateSecretVersionStageResponse {
        arn: Some(row.arn),
        name: Some(row.name),
    })
}
