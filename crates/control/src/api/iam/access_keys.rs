//! Access keys. Where a request names no user, the caller is meant, and a caller who is no user is the root user.

use super::{caller_name, page, scope};
use crate::api::{ApiError, Context};
use crate::model::iam::{access_keys, entities};
use fogbank_types::iam::{AccessKey, User};
use fogbank_wire::iam as wire;

/// The root user's name, as GetUser shows it.
const ROOT: &str = "root";

fn user_name(key: &AccessKey) -> String {
    key.user.clone().unwrap_or_else(|| ROOT.to_owned())
}

fn status(key: &AccessKey) -> String {
    let status = if key.is_active { "Active" } else { "Inactive" };
    status.to_owned()
}

pub fn create(
    context: &Context,
    request: wire::CreateAccessKeyRequest,
) -> Result<wire::CreateAccessKeyResponse, ApiError> {
    let scope = scope(context);
    let user = request.user_name.or_else(|| caller_name(context));
    let secret = fogbank_pki::secret_access_key().map_err(|error| {
        tracing::error!(%error, "no access key can be made");
        ApiError::new("ServiceFailure", "The region has no random numbers.").with_status(500)
    })?;
    let key = context.write(|tx| {
        let user = user.as_deref();
        Ok(access_keys::create(tx, &scope, user, secret.clone())?)
    })?;
    Ok(wire::CreateAccessKeyResponse {
        access_key: wire::AccessKey {
            access_key_id: key.id.clone(),
            create_date: Some(key.created_at),
            secret_access_key: key.secret.reveal().to_owned(),
            status: status(&key),
            user_name: user_name(&key),
        },
    })
}

pub fn list(
    context: &Context,
    request: wire::ListAccessKeysRequest,
) -> Result<wire::ListAccessKeysResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), scope(context));
    let user = request.user_name.or_else(|| caller_name(context));
    if let Some(user) = &user {
        entities::find::<User>(&snapshot, &scope, user)?;
    }
    let (keys, is_truncated, marker) = page(
        access_keys::of(&snapshot, &scope, user.as_deref()),
        // Oldest first.
        |key| format!("{:013}{}", key.created_at.0, key.id),
        request.marker,
        request.max_items,
    );
    let show = |key: &AccessKey| wire::AccessKeyMetadata {
        access_key_id: Some(key.id.clone()),
        create_date: Some(key.created_at),
        status: Some(status(key)),
        user_name: Some(user_name(key)),
    };
    Ok(wire::ListAccessKeysResponse {
        access_key_metadata: keys.iter().map(|key| show(key)).collect(),
        is_truncated,
        marker,
    })
}

pub fn update(
    context: &Context,
    request: wire::UpdateAccessKeyRequest,
) -> Result<wire::UpdateAccessKeyResponse, ApiError> {
    let scope = scope(context);
    let user = request.user_name.or_else(|| caller_name(context));
    context.write(|tx| {
        let (user, id) = (user.as_deref(), &request.access_key_id);
        Ok(access_keys::set_status(
            tx,
            &scope,
            user,
            id,
            &request.status,
        )?)
    })?;
    Ok(wire::UpdateAccessKeyResponse {})
}

pub fn delete(
    context: &Context,
    request: wire::DeleteAccessKeyRequest,
) -> Result<wire::DeleteAccessKeyResponse, ApiError> {
    let scope = scope(context);
    let user = request.user_name.or_else(|| caller_name(context));
    context.write(|tx| {
        let (user, id) = (user.as_deref(), &request.access_key_id);
        Ok(access_keys::delete(tx, &scope, user, id)?)
    })?;
    Ok(wire::DeleteAccessKeyResponse {})
}

/// The region does not check signatures yet, so it knows of no use: it says what AWS says of a key never used.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_AccessKeyLastUsed.html>
pub fn last_used(
    context: &Context,
    request: wire::GetAccessKeyLastUsedRequest,
) -> Result<wire::GetAccessKeyLastUsedResponse, ApiError> {
    let snapshot = context.snapshot();
    let key = access_keys::any(&snapshot, &scope(context), &request.access_key_id)?;
    Ok(wire::GetAccessKeyLastUsedResponse {
        access_key_last_used: Some(wire::AccessKeyLastUsed {
            last_used_date: None,
            region: "N/A".to_owned(),
            service_name: "N/A".to_owned(),
        }),
        user_name: Some(user_name(key)),
    })
}
