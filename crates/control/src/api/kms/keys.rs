//! Keys as a whole.

use super::{not_offered, page, policies};
use crate::api::{ApiError, Context};
use crate::encryption::{self, no_random};
use crate::model::kms::invalid;
use crate::model::kms::keys::{self as model, Named, NewKey};
use fogbank_pki::ciphertext::NoRandom;
use fogbank_pki::ecdsa;
use fogbank_types::Tags;
use fogbank_types::kms::{Key, KeySecret, KeySpec};
use fogbank_wire::kms as wire;

const ORIGIN: &str = "AWS_KMS";

fn tags_of(given: Vec<wire::Tag>) -> Tags {
    let pairs = given.into_iter();
    pairs.map(|tag| (tag.tag_key, tag.tag_value)).collect()
}

/// What a request wants made. Only keys of this region's own making, and not all specs, are built.
fn spec(input: &wire::CreateKeyRequest) -> Result<(KeySecret, KeySpec), ApiError> {
    if input.key_spec.is_some() && input.customer_master_key_spec.is_some() {
        return Err(invalid(
            "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.",
        )
        .into());
    }
    if let Some(origin) = input.origin.as_ref().filter(|value| *value != ORIGIN) {
        return Err(not_offered(&format!("Origin {origin}")));
    }
    if input.multi_region == Some(true) {
        return Err(not_offered("MultiRegion"));
    }
    if input.custom_key_store_id.is_some() || input.xks_key_id.is_some() {
        return Err(not_offered("A custom key store"));
    }
    let given = input
        .key_spec
        .as_deref()
        .or(input.customer_master_key_spec.as_deref());
    let usage = input.key_usage.as_deref().unwrap_or("ENCRYPT_DECRYPT");
    let (secret, spec) = match given.unwrap_or("SYMMETRIC_DEFAULT") {
        "SYMMETRIC_DEFAULT" => (encryption::new_secret()?, KeySpec::SymmetricDefault),
        "ECC_NIST_P256" => {
            let (secret, point) = ecdsa::generate().map_err(|_| no_random(NoRandom))?;
            (KeySecret::new(secret), KeySpec::EccNistP256 { point })
        }
        other => return Err(not_offered(&format!("KeySpec {other}"))),
    };
    if usage == "KEY_AGREEMENT" && spec != KeySpec::SymmetricDefault {
        return Err(not_offered("KeyUsage KEY_AGREEMENT"));
    }
    if usage != spec.usage() {
        return Err(invalid(format!(
            "KeyUsage {usage} is not compatible with KeySpec {}",
            spec.name()
        ))
        .into());
    }
    Ok((secret, spec))
}

pub fn create(
    context: &Context,
    input: wire::CreateKeyRequest,
) -> Result<wire::CreateKeyResponse, ApiError> {
    let (secret, spec) = spec(&input)?;
    let scope = context.scope();
    if let Some(policy) = &input.policy {
        let arn = scope.arn("kms", "key/new");
        policies::check(
            context,
            &arn,
            policy,
            input.bypass_policy_lockout_safety_check,
        )?;
    }
    let new = NewKey {
        secret,
        spec,
        description: input.description.unwrap_or_default(),
        policy: input.policy,
        is_managed_by_aws: false,
        tags: tags_of(input.tags.unwrap_or_default()),
    };
    let key = context.write(|tx| Ok(model::create(tx, &scope, new.clone())?))?;
    Ok(wire::CreateKeyResponse {
        key_metadata: Some(metadata(&key)),
    })
}

fn metadata(key: &Key) -> wire::KeyMetadata {
    let algorithms = Some(vec![key.spec.algorithm().to_owned()]);
    let (encrypting, signing) = match key.spec {
        KeySpec::SymmetricDefault => (algorithms, None),
        KeySpec::EccNistP256 { .. } => (None, algorithms),
    };
    wire::KeyMetadata {
        aws_account_id: Some(key.scope.account.clone()),
        arn: Some(key.arn()),
        creation_date: Some(key.created_at),
        current_key_material_id: (key.spec == KeySpec::SymmetricDefault)
            .then(|| encryption::material_id(key, key.current_material())),
        customer_master_key_spec: Some(key.spec.name().to_owned()),
        deletion_date: key.deletion.as_ref().map(|deletion| deletion.at),
        description: Some(key.description.clone()),
        enabled: Some(key.state() == "Enabled"),
        encryption_algorithms: encrypting,
        key_id: key.id.clone(),
        key_manager: Some(
            if key.is_managed_by_aws {
                "AWS"
            } else {
                "CUSTOMER"
            }
            .to_owned(),
        ),
        key_spec: Some(key.spec.name().to_owned()),
        key_state: Some(key.state().to_owned()),
        key_usage: Some(key.spec.usage().to_owned()),
        multi_region: Some(false),
        origin: Some(ORIGIN.to_owned()),
        signing_algorithms: signing,
        ..wire::KeyMetadata::default()
    }
}

pub fn describe(
    context: &Context,
    input: wire::DescribeKeyRequest,
) -> Result<wire::DescribeKeyResponse, ApiError> {
    let key = encryption::key(context, &input.key_id)?;
    Ok(wire::DescribeKeyResponse {
        key_metadata: Some(metadata(&key)),
    })
}

pub fn list(
    context: &Context,
    input: wire::ListKeysRequest,
) -> Result<wire::ListKeysResponse, ApiError> {
    let snapshot = context.snapshot();
    let show = |key: &std::sync::Arc<Key>| wire::KeyListEntry {
        key_arn: Some(key.arn()),
        key_id: Some(key.id.clone()),
    };
    let all = snapshot.kms_keys.in_scope(&context.scope()).map(show);
    let (keys, next) = page(all.collect(), input.marker.as_deref(), input.limit, 100)?;
    Ok(wire::ListKeysResponse {
        keys: Some(keys),
        truncated: Some(next.is_some()),
        next_marker: next,
    })
}

pub fn update_description(
    context: &Context,
    input: wire::UpdateKeyDescriptionRequest,
) -> Result<wire::UpdateKeyDescriptionResponse, ApiError> {
    let scope = context.scope();
    context
        .write(|tx| {
            let (id, text) = (&input.key_id, &input.description);
            Ok(model::describe_as(tx, &scope, id, text)?)
        })
        .map(|()| wire::UpdateKeyDescriptionResponse {})
}

pub fn enable(
    context: &Context,
    input: wire::EnableKeyRequest,
) -> Result<wire::EnableKeyResponse, ApiError> {
    let scope = context.scope();
    context
        .write(|tx| Ok(model::set_enabled(tx, &scope, &input.key_id, true)?))
        .map(|()| wire::EnableKeyResponse {})
}

pub fn disable(
    context: &Context,
    input: wire::DisableKeyRequest,
) -> Result<wire::DisableKeyResponse, ApiError> {
    let scope = context.scope();
    context
        .write(|tx| Ok(model::set_enabled(tx, &scope, &input.key_id, false)?))
        .map(|()| wire::DisableKeyResponse {})
}

pub fn schedule_deletion(
    context: &Context,
    input: wire::ScheduleKeyDeletionRequest,
) -> Result<wire::ScheduleKeyDeletionResponse, ApiError> {
    let scope = context.scope();
    let days = input.pending_window_in_days.map(i64::from);
    let key = context.write(|tx| {
        let id = &input.key_id;
        Ok(model::schedule_deletion(tx, &scope, id, days)?)
    })?;
    let window = key.deletion.as_ref().map(|deletion| deletion.window_days);
    Ok(wire::ScheduleKeyDeletionResponse {
        deletion_date: key.deletion.as_ref().map(|deletion| deletion.at),
        key_id: Some(key.arn()),
        key_state: Some(key.state().to_owned()),
        pending_window_in_days: window.and_then(|days| days.try_into().ok()),
    })
}

pub fn cancel_deletion(
    context: &Context,
    input: wire::CancelKeyDeletionRequest,
) -> Result<wire::CancelKeyDeletionResponse, ApiError> {
    let scope = context.scope();
    let key = context.write(|tx| Ok(model::cancel_deletion(tx, &scope, &input.key_id)?))?;
    Ok(wire::CancelKeyDeletionResponse {
        key_id: Some(key.arn()),
    })
}

pub fn tag(
    context: &Context,
    input: wire::TagResourceRequest,
) -> Result<wire::TagResourceResponse, ApiError> {
    let (scope, tags) = (context.scope(), tags_of(input.tags));
    context
        .write(|tx| {
            let id = &input.key_id;
            Ok(model::change_tags(tx, &scope, id, &tags, &[])?)
        })
        .map(|()| wire::TagResourceResponse {})
}

pub fn untag(
    context: &Context,
    input: wire::UntagResourceRequest,
) -> Result<wire::UntagResourceResponse, ApiError> {
    let (scope, none) = (context.scope(), Tags::new());
    context
        .write(|tx| {
            let (id, keys) = (&input.key_id, &input.tag_keys);
            Ok(model::change_tags(tx, &scope, id, &none, keys)?)
        })
        .map(|()| wire::UntagResourceResponse {})
}

pub fn tags(
    context: &Context,
    input: wire::ListResourceTagsRequest,
) -> Result<wire::ListResourceTagsResponse, ApiError> {
    let snapshot = context.snapshot();
    let key = model::find(&snapshot, &context.scope(), &input.key_id, Named::Directly)?;
    let show = |(key, value): (&String, &String)| wire::Tag {
        tag_key: key.clone(),
        tag_value: value.clone(),
    };
    let all = key.tags.iter().map(show).collect();
    let (tags, next) = page(all, input.marker.as_deref(), input.limit, 50)?;
    Ok(wire::ListResourceTagsResponse {
        tags: Some(tags),
        truncated: Some(next.is_some()),
        next_marker: next,
    })
}
