//! Signing with asymmetric keys, and their public halves.
//! <https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html>

use super::cryptography::unless_dry;
use super::not_offered;
use crate::api::{ApiError, Context};
use crate::encryption;
use crate::model::kms::Refusal;
use crate::model::kms::keys::{usable, usable_to_sign};
use fogbank_pki::ecdsa::{self, Form, Signer};
use fogbank_types::kms::{Key, KeySpec};
use fogbank_wire::kms as wire;

/// The keys' one algorithm, over the message itself: a digest made elsewhere is not signed.
fn check(key: &Key, algorithm: &str, message_type: Option<&str>) -> Result<(), ApiError> {
    if algorithm != key.spec.algorithm() {
        return Err(Refusal::KeyUsage(format!(
            "Algorithm {algorithm} is incompatible with key spec {}.",
            key.spec.name()
        ))
        .into());
    }
    match message_type {
        None | Some("RAW") => Ok(()),
        Some(other) => Err(not_offered(&format!("MessageType {other}"))),
    }
}

pub fn sign(context: &Context, input: wire::SignRequest) -> Result<wire::SignResponse, ApiError> {
    let key = encryption::key(context, &input.key_id)?;
    let point = usable_to_sign(&key, "Sign")?;
    check(
        &key,
        &input.signing_algorithm,
        input.message_type.as_deref(),
    )?;
    unless_dry(input.dry_run)?;
    let signer = Signer::new(key.secret.reveal(), point, Form::Asn1);
    let signature = signer.and_then(|signer| signer.sign(&input.message));
    let signature = signature.map_err(|error| {
        tracing::error!(%error, key = key.id, "nothing can be signed");
        ApiError::new("KMSInternalException", "The region failed to sign.").with_status(500)
    })?;
    Ok(wire::SignResponse {
        key_id: Some(key.arn()),
        signature: Some(signature.into()),
        signing_algorithm: Some(input.signing_algorithm),
    })
}

pub fn verify(
    context: &Context,
    input: wire::VerifyRequest,
) -> Result<wire::VerifyResponse, ApiError> {
    let key = encryption::key(context, &input.key_id)?;
    let point = usable_to_sign(&key, "Verify")?;
    check(
        &key,
        &input.signing_algorithm,
        input.message_type.as_deref(),
    )?;
    unless_dry(input.dry_run)?;
    if !ecdsa::is_signature(point, &input.message, &input.signature) {
        return Err(Refusal::Signature.into());
    }
    Ok(wire::VerifyResponse {
        key_id: Some(key.arn()),
        signature_valid: Some(true),
        signing_algorithm: Some(input.signing_algorithm),
    })
}

pub fn public_key(
    context: &Context,
    input: wire::GetPublicKeyRequest,
) -> Result<wire::GetPublicKeyResponse, ApiError> {
    let key = encryption::key(context, &input.key_id)?;
    usable(&key)?;
    let KeySpec::EccNistP256 { point } = &key.spec else {
        return Err(
            Refusal::Unsupported(format!("{} is not an asymmetric key.", key.arn())).into(),
        );
    };
    Ok(wire::GetPublicKeyResponse {
        customer_master_key_spec: Some(key.spec.name().to_owned()),
        key_id: Some(key.arn()),
        key_spec: Some(key.spec.name().to_owned()),
        key_usage: Some(key.spec.usage().to_owned()),
        public_key: Some(ecdsa::public_key_info(point).into()),
        signing_algorithms: Some(vec![key.spec.algorithm().to_owned()]),
        ..wire::GetPublicKeyResponse::default()
    })
}
