//! Encryption with the keys of Key Management Service, for its own API and for the services that keep secrets.
//!
//! What must stay true: a key encrypts and decrypts only while it is enabled; whether the caller may use it was asked
//! before.

use crate::api::{ApiError, Context};
use crate::model::kms::keys::{self, Named};
use crate::model::kms::{Refusal, managed};
use fogbank_pki::ciphertext::{self, Head, NoRandom};
use fogbank_types::kms::{Key, KeySecret};
use fogbank_types::{Scope, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a text is encrypted and decrypted in.
pub type EncryptionContext = BTreeMap<String, String>;

pub fn no_random(error: NoRandom) -> ApiError {
    tracing::error!(%error, "nothing can be encrypted");
    ApiError::new("KMSInternalException", "The region failed to encrypt.").with_status(500)
}

/// A new key's secret.
pub fn new_secret() -> Result<KeySecret, ApiError> {
    Ok(KeySecret::new(
        ciphertext::random_secret().map_err(no_random)?,
    ))
}

/// A key by its id, its ARN or an alias. AWS's own keys are made now if this is their first use: may block.
pub fn key(context: &Context, id: &str) -> Result<Arc<Key>, ApiError> {
    let scope = context.scope();
    let snapshot = context.snapshot();
    if let Some(service) = managed::service(&scope, id)
        && !snapshot
            .kms_aliases
            .contains(&scope, format!("alias/aws/{service}"))
    {
        let secret = new_secret()?;
        let made = context.write(|tx| Ok(managed::ensure(tx, &scope, service, &secret)?))?;
        return Ok(Arc::new(made));
    }
    Ok(keys::find(&snapshot, &scope, id, Named::ByAlias)?)
}

pub fn encrypt(key: &Key, context: &EncryptionContext, text: &[u8]) -> Result<Vec<u8>, ApiError> {
    keys::usable(key)?;
    let head = Head {
        account: key.scope.account.clone(),
        region: key.scope.region.clone(),
        key_id: key.id.clone(),
        material: key.current_material(),
    };
    ciphertext::encrypt(key.secret.reveal(), &head, context, text).map_err(no_random)
}

/// What was decrypted, with which key and which of its materials.
#[derive(Debug)]
pub struct Decrypted {
    pub key: Arc<Key>,
    pub material: u32,
    pub text: Vec<u8>,
}

/// In a region; `with`: the key that it must be.
pub fn decrypt(
    snapshot: &Snapshot,
    region: &str,
    with: Option<&Key>,
    context: &EncryptionContext,
    blob: &[u8],
) -> Result<Decrypted, Refusal> {
    let head = Head::of(blob).ok_or(Refusal::Ciphertext)?;
    if with.is_some_and(|key| key.id != head.key_id) {
        return Err(Refusal::IncorrectKey);
    }
    let scope = Scope::new(&head.account, &head.region);
    let key = snapshot.kms_keys.get(&scope, &head.key_id);
    let key = key.filter(|_| head.region == region).ok_or_else(|| {
        Refusal::Denied(
            "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access."
                .to_owned(),
        )
    })?;
    keys::usable(key)?;
    let text = ciphertext::decrypt(key.secret.reveal(), context, blob);
    Ok(Decrypted {
        key: key.clone(),
        material: head.material,
        text: text.ok_or(Refusal::Ciphertext)?,
    })
}

/// The name of one of a key's materials.
pub fn material_id(key: &Key, material: u32) -> String {
    ciphertext::material_id(key.secret.reveal(), material)
}
