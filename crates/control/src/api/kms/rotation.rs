//! Rotation of keys.

use super::page;
use crate::api::{ApiError, Context};
use crate::encryption::material_id;
use crate::model::kms::keys::{self, Named};
use crate::model::kms::rotation as model;
use fogbank_types::kms::KeyMaterialCause;
use fogbank_wire::kms as wire;

pub fn enable(
    context: &Context,
    input: wire::EnableKeyRotationRequest,
) -> Result<wire::EnableKeyRotationResponse, ApiError> {
    let scope = context.scope();
    let days = input.rotation_period_in_days.map(i64::from);
    context
        .write(|tx| Ok(model::enable(tx, &scope, &input.key_id, days)?))
        .map(|()| wire::EnableKeyRotationResponse {})
}

pub fn disable(
    context: &Context,
    input: wire::DisableKeyRotationRequest,
) -> Result<wire::DisableKeyRotationResponse, ApiError> {
    let scope = context.scope();
    context
        .write(|tx| Ok(model::disable(tx, &scope, &input.key_id)?))
        .map(|()| wire::DisableKeyRotationResponse {})
}

pub fn status(
    context: &Context,
    input: wire::GetKeyRotationStatusRequest,
) -> Result<wire::GetKeyRotationStatusResponse, ApiError> {
    let snapshot = context.snapshot();
    let key = keys::find(&snapshot, &context.scope(), &input.key_id, Named::Directly)?;
    let days = key.rotation_period_days;
    let next = model::next_at(&key, context.config().speed);
    Ok(wire::GetKeyRotationStatusResponse {
        key_id: Some(key.arn()),
        key_rotation_enabled: Some(days.is_some()),
        // A key that is about to go rotates no more.
        next_rotation_date: next.filter(|_| key.deletion.is_none()),
        rotation_period_in_days: days.and_then(|days| days.try_into().ok()),
        ..wire::GetKeyRotationStatusResponse::default()
    })
}

pub fn on_demand(
    context: &Context,
    input: wire::RotateKeyOnDemandRequest,
) -> Result<wire::RotateKeyOnDemandResponse, ApiError> {
    let scope = context.scope();
    let key = context.write(|tx| Ok(model::rotate_on_demand(tx, &scope, &input.key_id)?))?;
    Ok(wire::RotateKeyOnDemandResponse {
        key_id: Some(key.arn()),
    })
}

/// Rotations that were; with `ALL_KEY_MATERIAL`, also the material that the key was made with.
pub fn list(
    context: &Context,
    input: wire::ListKeyRotationsRequest,
) -> Result<wire::ListKeyRotationsResponse, ApiError> {
    let snapshot = context.snapshot();
    let key = keys::find(&snapshot, &context.scope(), &input.key_id, Named::Directly)?;
    let with_first = input.include_key_material.as_deref() == Some("ALL_KEY_MATERIAL");
    let current = key.current_material();
    let materials = (0..).zip(&key.materials);
    let all = materials
        .filter(|(number, _)| with_first || *number > 0)
        .map(|(number, material)| wire::RotationsListEntry {
            key_id: Some(key.arn()),
            key_material_id: Some(material_id(&key, number)),
            key_material_state: Some(
                if number == current {
                    "CURRENT"
                } else {
                    "NON_CURRENT"
                }
                .to_owned(),
            ),
            rotation_date: (number > 0).then_some(material.made_at),
            rotation_type: match material.cause {
                KeyMaterialCause::Creation => None,
                KeyMaterialCause::Automatic => Some("AUTOMATIC".to_owned()),
                KeyMaterialCause::OnDemand => Some("ON_DEMAND".to_owned()),
            },
            ..wire::RotationsListEntry::default()
        });
    let (rotations, next) = page(all.collect(), input.marker.as_deref(), input.limit, 100)?;
    Ok(wire::ListKeyRotationsResponse {
        rotations: Some(rotations),
        truncated: Some(next.is_some()),
        next_marker: next,
    })
}
