//! Encryption with the keys of Key Management Service, for its own API and for the services that keep secrets.
//!
//! What must stay true: a key encrypts and decrypts only while it is enabled; whether the caller may use it was asked
//! before.

use crate::api::{ApiError, Context};
use crate::model::Tx;
use crate::model::kms::keys::{self, Named};
use crate::model::kms::{Refusal, managed};
use crate::model::secretsmanager::{self, secrets};
use fogbank_pki::ciphertext::{self, Head, NoRandom};
use fogbank_types::kms::{Key, KeySecret};
use fogbank_types::secret::{Secret, SecretValue, SecretVersion};
use fogbank_types::{Scope, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Encrypts secrets that name no key.
const DEFAULT_KEY: &str = "alias/aws/secretsmanager";

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

/// The same inside of a transaction, which makes AWS's own key with `secret` if there is none yet.
pub fn key_in(tx: &mut Tx, id: &str, scope: &Scope, secret: &KeySecret) -> Result<Key, Refusal> {
    match managed::service(scope, id) {
        Some(service) => managed::ensure(tx, scope, service, secret),
        None => keys::find(tx.snapshot(), scope, id, Named::ByAlias).map(|key| Key::clone(&key)),
    }
}

pub fn encrypt(key: &Key, context: &EncryptionContext, text: &[u8]) -> Result<Vec<u8>, ApiError> {
    keys::usable_to_encrypt(key, "Encrypt")?;
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

/// The value of a secret's version, decrypted.
pub fn open_secret(
    snapshot: &Snapshot,
    arn: &str,
    version: &SecretVersion,
) -> Result<SecretValue, secretsmanager::Refusal> {
    let SecretValue::Encrypted {
        is_text,
        ciphertext,
    } = &version.value
    else {
        return Ok(version.value.clone());
    };
    let failed = secretsmanager::Refusal::Decryption;
    let region = arn.split(':').nth(3).unwrap_or_default();
    let context = SecretValue::context(arn, &version.id);
    let opened = decrypt(snapshot, region, None, &context, ciphertext);
    let text = opened.map_err(|refusal| failed(refusal.to_string()))?.text;
    if !is_text {
        return Ok(SecretValue::Binary(text));
    }
    String::from_utf8(text)
        .map(SecretValue::Text)
        .map_err(|_| failed("It is no text.".to_owned()))
}

/// Runs a change of a secret on its values as they are, and encrypts what is new. Versions that were there stay as they
/// were encrypted, but for those with a label where the secret's key is another one afterwards.
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecret.html>
pub fn with_secret<R>(
    tx: &mut Tx,
    scope: &Scope,
    id: &str,
    own_key: &KeySecret,
    change: impl FnOnce(&mut Tx) -> Result<R, secretsmanager::Refusal>,
    arn_of: impl FnOnce(&R) -> &str,
) -> Result<R, ApiError> {
    let before = secrets::find(tx.snapshot(), scope, id).ok().cloned();
    if let Some(row) = &before {
        let mut open = Secret::clone(row);
        for version in &mut open.versions {
            // What cannot be read now is like no other value.
            if let Ok(value) = open_secret(tx.snapshot(), &row.arn, version) {
                version.value = value;
            }
        }
        tx.put(open);
    }
    let result = change(tx)?;
    let Some(row) = tx.snapshot().secrets.get(scope, arn_of(&result)) else {
        return Ok(result);
    };
    let mut row = Secret::clone(row);
    let has_new_key = before
        .as_ref()
        .is_some_and(|old| old.kms_key_id != row.kms_key_id);
    let old = |id: &str| {
        let versions = before.iter().flat_map(|row| &row.versions);
        versions.into_iter().find(|version| version.id == id)
    };
    let key = row.kms_key_id.as_deref().unwrap_or(DEFAULT_KEY).to_owned();
    let failed = |refusal: Refusal| secretsmanager::Refusal::Encryption(refusal.to_string());
    for version in &mut row.versions {
        let same = old(&version.id).filter(|_| !has_new_key || version.stages.is_empty());
        if let Some(same) = same {
            version.value = same.value.clone();
            continue;
        }
        let (is_text, text) = match &version.value {
            SecretValue::Text(text) => (true, text.as_bytes()),
            SecretValue::Binary(bytes) => (false, bytes.as_slice()),
            SecretValue::Encrypted { .. } => continue,
        };
        let key = key_in(tx, &key, scope, own_key).map_err(failed)?;
        keys::usable(&key).map_err(failed)?;
        let context = SecretValue::context(&row.arn, &version.id);
        let ciphertext = encrypt(&key, &context, text)?;
        version.value = SecretValue::Encrypted {
            is_text,
            ciphertext,
        };
    }
    tx.put(row);
    Ok(result)
}
