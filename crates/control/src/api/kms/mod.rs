//! Key Management Service: shapes to commands, rows to shapes.

mod aliases;
mod cryptography;
mod grants;
mod keys;
mod policies;
mod rotation;
mod signatures;

use super::ApiError;
use super::page::requested;
use crate::model::kms::Refusal;

super::handlers! {
    Kms:
    write CreateKey => keys::create,
    write DescribeKey => keys::describe,
    read ListKeys => keys::list,
    write UpdateKeyDescription => keys::update_description,
    write EnableKey => keys::enable,
    write DisableKey => keys::disable,
    write ScheduleKeyDeletion => keys::schedule_deletion,
    write CancelKeyDeletion => keys::cancel_deletion,
    write TagResource => keys::tag,
    write UntagResource => keys::untag,
    read ListResourceTags => keys::tags,
    write CreateAlias => aliases::create,
    write UpdateAlias => aliases::update,
    write DeleteAlias => aliases::delete,
    read ListAliases => aliases::list,
    read GetKeyPolicy => policies::get,
    write PutKeyPolicy => policies::put,
    read ListKeyPolicies => policies::list,
    write EnableKeyRotation => rotation::enable,
    write DisableKeyRotation => rotation::disable,
    read GetKeyRotationStatus => rotation::status,
    write RotateKeyOnDemand => rotation::on_demand,
    read ListKeyRotations => rotation::list,
    write Encrypt => cryptography::encrypt,
    write Decrypt => cryptography::decrypt,
    write ReEncrypt => cryptography::re_encrypt,
    write GenerateDataKey => cryptography::data_key,
    write GenerateDataKeyWithoutPlaintext => cryptography::data_key_without_plaintext,
    read GenerateRandom => cryptography::random,
    write GetPublicKey => signatures::public_key,
    write Sign => signatures::sign,
    write Verify => signatures::verify,
    write CreateGrant => grants::create,
    read ListGrants => grants::list,
    read ListRetirableGrants => grants::retirable,
    write RetireGrant => grants::retire,
    write RevokeGrant => grants::revoke,
}

/// One page of a list, and the marker of the next.
fn page<T>(
    items: Vec<T>,
    marker: Option<&str>,
    limit: Option<i32>,
    limit_unless_said: usize,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    Ok(requested(items, marker, limit, limit_unless_said).ok_or(Refusal::Marker)?)
}

/// What AWS has and this region does not is refused by name.
fn not_offered(what: &str) -> ApiError {
    Refusal::Unsupported(format!("{what} is not offered by this region yet.")).into()
}
