//! Encrypting, decrypting, and random bytes.

use super::not_offered;
use crate::api::{ApiError, Context};
use crate::encryption::{self, EncryptionContext, material_id, no_random};
use crate::model::kms::keys::usable_to_encrypt;
use crate::model::kms::{Refusal, invalid};
use bytes::Bytes;
use fogbank_pki::ciphertext::random_bytes;
use fogbank_types::kms::Key;
use fogbank_wire::kms as wire;
use std::sync::Arc;

const ALGORITHM: &str = "SYMMETRIC_DEFAULT";

/// Symmetric keys have one algorithm.
fn check_algorithm(given: Option<&String>) -> Result<(), Refusal> {
    match given {
        Some(other) if other != ALGORITHM => Err(Refusal::KeyUsage(format!(
            "The algorithm {other} is not one of a symmetric encryption key."
        ))),
        _ => Ok(()),
    }
}

fn check_recipient(given: Option<&wire::RecipientInfo>) -> Result<(), ApiError> {
    given.map_or(Ok(()), |_| Err(not_offered("Recipient")))
}

/// Everything was checked: a dry run ends here.
pub(super) fn unless_dry(dry_run: Option<bool>) -> Result<(), Refusal> {
    if dry_run == Some(true) {
        return Err(Refusal::DryRun);
    }
    Ok(())
}

pub fn encrypt(
    context: &Context,
    input: wire::EncryptRequest,
) -> Result<wire::EncryptResponse, ApiError> {
    let key = encryption::key(context, &input.key_id)?;
    usable_to_encrypt(&key, "Encrypt")?;
    check_algorithm(input.encryption_algorithm.as_ref())?;
    unless_dry(input.dry_run)?;
    let around: EncryptionContext = input.encryption_context.unwrap_or_default();
    let blob = encryption::encrypt(&key, &around, &input.plaintext)?;
    Ok(wire::EncryptResponse {
        ciphertext_blob: Some(blob.into()),
        encryption_algorithm: Some(ALGORITHM.to_owned()),
        key_id: Some(key.arn()),
    })
}

/// The key that a request wants a text decrypted with, if it says so.
fn wanted(context: &Context, id: Option<&String>) -> Result<Option<Arc<Key>>, ApiError> {
    id.map(|id| encryption::key(context, id)).transpose()
}

fn blob(given: Option<Bytes>) -> Result<Bytes, Refusal> {
    given.ok_or_else(|| {
        invalid(
            "1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy constraint: Member must not be null",
        )
    })
}

pub fn decrypt(
    context: &Context,
    input: wire::DecryptRequest,
) -> Result<wire::DecryptResponse, ApiError> {
    check_recipient(input.recipient.as_ref())?;
    check_algorithm(input.encryption_algorithm.as_ref())?;
    let with = wanted(context, input.key_id.as_ref())?;
    let around = input.encryption_context.unwrap_or_default();
    let decrypted = encryption::decrypt(
        &context.snapshot(),
        &context.caller.region,
        with.as_deref(),
        &around,
        &blob(input.ciphertext_blob)?,
    )?;
    unless_dry(input.dry_run)?;
    let key = &decrypted.key;
    Ok(wire::DecryptResponse {
        encryption_algorithm: Some(ALGORITHM.to_owned()),
        key_id: Some(key.arn()),
        key_material_id: Some(material_id(key, decrypted.material)),
        plaintext: Some(decrypted.text.into()),
        ..wire::DecryptResponse::default()
    })
}

pub fn re_encrypt(
    context: &Context,
    input: wire::ReEncryptRequest,
) -> Result<wire::ReEncryptResponse, ApiError> {
    check_algorithm(input.source_encryption_algorithm.as_ref())?;
    check_algorithm(input.destination_encryption_algorithm.as_ref())?;
    let with = wanted(context, input.source_key_id.as_ref())?;
    let target = encryption::key(context, &input.destination_key_id)?;
    usable_to_encrypt(&target, "ReEncrypt")?;
    let decrypted = encryption::decrypt(
        &context.snapshot(),
        &context.caller.region,
        with.as_deref(),
        &input.source_encryption_context.unwrap_or_default(),
        &blob(input.ciphertext_blob)?,
    )?;
    unless_dry(input.dry_run)?;
    let around = input.destination_encryption_context.unwrap_or_default();
    let blob = encryption::encrypt(&target, &around, &decrypted.text)?;
    let source = &decrypted.key;
    Ok(wire::ReEncryptResponse {
        ciphertext_blob: Some(blob.into()),
        destination_encryption_algorithm: Some(ALGORITHM.to_owned()),
        destination_key_material_id: Some(material_id(&target, target.current_material())),
        key_id: Some(target.arn()),
        source_encryption_algorithm: Some(ALGORITHM.to_owned()),
        source_key_id: Some(source.arn()),
        source_key_material_id: Some(material_id(source, decrypted.material)),
    })
}

/// A data key, and the same encrypted.
struct DataKey {
    key: Arc<Key>,
    plain: Vec<u8>,
    encrypted: Vec<u8>,
}

fn new_data_key(
    context: &Context,
    input: wire::GenerateDataKeyWithoutPlaintextRequest,
) -> Result<DataKey, ApiError> {
    let key = encryption::key(context, &input.key_id)?;
    usable_to_encrypt(&key, "GenerateDataKey")?;
    let count = match (input.key_spec.as_deref(), input.number_of_bytes) {
        (Some("AES_256"), None) => 32,
        (Some("AES_128"), None) => 16,
        (Some(other), None) => {
            return Err(invalid(format!(
                "1 validation error detected: Value '{other}' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: [AES_256, AES_128]"
            ))
            .into());
        }
        (None, Some(count)) => usize::try_from(count).unwrap_or(0),
        _ => return Err(invalid("Please specify either number of bytes or key spec.").into()),
    };
    unless_dry(input.dry_run)?;
    let plain = random_bytes(count).map_err(no_random)?;
    let around = input.encryption_context.unwrap_or_default();
    Ok(DataKey {
        encrypted: encryption::encrypt(&key, &around, &plain)?,
        key,
        plain,
    })
}

pub fn data_key(
    context: &Context,
    input: wire::GenerateDataKeyRequest,
) -> Result<wire::GenerateDataKeyResponse, ApiError> {
    check_recipient(input.recipient.as_ref())?;
    let same = wire::GenerateDataKeyWithoutPlaintextRequest {
        dry_run: input.dry_run,
        encryption_context: input.encryption_context,
        grant_tokens: input.grant_tokens,
        key_id: input.key_id,
        key_spec: input.key_spec,
        number_of_bytes: input.number_of_bytes,
    };
    let made = new_data_key(context, same)?;
    Ok(wire::GenerateDataKeyResponse {
        ciphertext_blob: Some(made.encrypted.into()),
        key_id: Some(made.key.arn()),
        key_material_id: Some(material_id(&made.key, made.key.current_material())),
        plaintext: Some(made.plain.into()),
        ..wire::GenerateDataKeyResponse::default()
    })
}

pub fn data_key_without_plaintext(
    context: &Context,
    input: wire::GenerateDataKeyWithoutPlaintextRequest,
) -> Result<wire::GenerateDataKeyWithoutPlaintextResponse, ApiError> {
    let made = new_data_key(context, input)?;
    Ok(wire::GenerateDataKeyWithoutPlaintextResponse {
        ciphertext_blob: Some(made.encrypted.into()),
        key_id: Some(made.key.arn()),
        key_material_id: Some(material_id(&made.key, made.key.current_material())),
    })
}

pub fn random(
    _: &Context,
    input: wire::GenerateRandomRequest,
) -> Result<wire::GenerateRandomResponse, ApiError> {
    check_recipient(input.recipient.as_ref())?;
    if input.custom_key_store_id.is_some() {
        return Err(not_offered("A custom key store"));
    }
    let count = input
        .number_of_bytes
        .ok_or_else(|| invalid("NumberOfBytes is required."))?;
    let bytes = random_bytes(usize::try_from(count).unwrap_or(0)).map_err(no_random)?;
    Ok(wire::GenerateRandomResponse {
        plaintext: Some(bytes.into()),
        ..wire::GenerateRandomResponse::default()
    })
}
