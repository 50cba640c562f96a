//! Keys: making them, finding them by what a request calls them, their states, tags.

use super::{Refusal, invalid, policies};
use crate::model::Tx;
use fogbank_types::kms::{
    Alias, Grant, Key, KeyDeletion, KeyMaterial, KeyMaterialCause, KeySecret, KeySpec,
};
use fogbank_types::{Scope, Snapshot, Tags, Timestamp};
use std::sync::Arc;

const TAGS_MAX: usize = 50;
/// Quota "KMS keys", which counts the account's own.
const KEYS_MAX: usize = 100_000;
pub const DAY_MS: i64 = 24 * 3600 * 1000;
const WINDOW_DAYS: std::ops::RangeInclusive<i64> = 7..=30;
const WINDOW_DAYS_UNLESS_SAID: i64 = 30;

#[derive(Clone, Debug)]
pub struct NewKey {
    /// Drawn from the system's generator.
    pub secret: KeySecret,
    pub spec: KeySpec,
    pub description: String,
    /// The default one unless given.
    pub policy: Option<String>,
    pub is_managed_by_aws: bool,
    pub tags: Tags,
}

pub fn create(tx: &mut Tx, scope: &Scope, new: NewKey) -> Result<Key, Refusal> {
    check_tags(&new.tags)?;
    let own = tx.snapshot().kms_keys.in_scope(scope);
    if own.filter(|key| !key.is_managed_by_aws).count() >= KEYS_MAX {
        return Err(Refusal::Limit(
            "You have reached the maximum number of KMS keys for this account.".to_owned(),
        ));
    }
    let policy = match new.policy {
        Some(policy) => {
            policies::check(&policy)?;
            policy
        }
        None => policies::default_of(&scope.account),
    };
    let row = Key {
        scope: scope.clone(),
        id: tx.uuid(),
        description: new.description,
        is_managed_by_aws: new.is_managed_by_aws,
        is_enabled: true,
        policy,
        secret: new.secret,
        spec: new.spec,
        materials: vec![KeyMaterial {
            made_at: tx.now(),
            cause: KeyMaterialCause::Creation,
        }],
        rotation_period_days: None,
        rotation_enabled_at: None,
        deletion: None,
        created_at: tx.now(),
        tags: new.tags,
    };
    tx.put(row.clone());
    Ok(row)
}

fn check_tags(tags: &Tags) -> Result<(), Refusal> {
    if tags.keys().any(|key| key.starts_with("aws:")) {
        return Err(Refusal::Tag(
            "Tag keys that start with aws: are reserved for AWS.".to_owned(),
        ));
    }
    if tags.len() > TAGS_MAX {
        return Err(Refusal::Limit("Too many tags.".to_owned()));
    }
    Ok(())
}

/// What a request may call a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// By its id or ARN.
    Directly,
    /// By an alias's name or ARN, too.
    ByAlias,
}

/// A key by its id, its ARN, and maybe an alias's name or ARN; one that waits for its deletion, too. ARNs may be of other
/// accounts: whether their keys may be used is for IAM to say.
pub fn find(
    snapshot: &Snapshot,
    scope: &Scope,
    id: &str,
    named: Named,
) -> Result<Arc<Key>, Refusal> {
    let (scope, local) = match id.strip_prefix("arn:") {
        None => (scope.clone(), id),
        Some(_) => of_arn(scope, id)?,
    };
    if local.starts_with("alias/") {
        if named == Named::Directly {
            return Err(Refusal::NotFound(format!("Invalid keyId {id}")));
        }
        let alias = snapshot.kms_aliases.get(&scope, local);
        let key = alias.and_then(|alias| snapshot.kms_keys.get(&scope, &alias.key_id));
        let arn = scope.arn("kms", local);
        return key
            .cloned()
            .ok_or_else(|| Refusal::NotFound(format!("Alias {arn} is not found.")));
    }
    let key_id = match local.strip_prefix("key/") {
        Some(key_id) if id.starts_with("arn:") => key_id,
        _ if id.starts_with("arn:") => return Err(invalid_arn(id)),
        _ => local,
    };
    if let Some(key) = snapshot.kms_keys.get(&scope, key_id) {
        return Ok(key.clone());
    }
    Err(Refusal::NotFound(if is_key_id(key_id) {
        format!(
            "Key '{}' does not exist",
            scope.arn("kms", &format!("key/{key_id}"))
        )
    } else {
        format!("Invalid keyId {id}")
    }))
}

/// `arn:aws:kms:<region>:<account>:key/<id>` or `:alias/<name>`: where it is, and what is behind the last colon.
fn of_arn<'a>(scope: &Scope, arn: &'a str) -> Result<(Scope, &'a str), Refusal> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", _, "kms", region, account, local] = parts.as_slice() else {
        return Err(invalid_arn(arn));
    };
    if *region != scope.region {
        return Err(Refusal::NotFound(format!("Invalid arn {region}")));
    }
    Ok((Scope::new(*account, *region), local))
}

fn invalid_arn(arn: &str) -> Refusal {
    Refusal::NotFound(format!("Invalid arn {arn}"))
}

fn is_key_id(text: &str) -> bool {
    let fits = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(fits)
}

/// One that the account may change: its own, and none of AWS's.
pub fn own(snapshot: &Snapshot, scope: &Scope, id: &str, action: &str) -> Result<Key, Refusal> {
    let key = find(snapshot, scope, id, Named::Directly)?;
    if key.scope != *scope || key.is_managed_by_aws {
        return Err(Refusal::Denied(format!(
            "The caller is not authorized to perform: {action} on resource: {} because no resource-based policy allows the {action} action",
            key.arn()
        )));
    }
    Ok(Key::clone(&key))
}

fn pending(key: &Key) -> Refusal {
    Refusal::State(format!("{} is pending deletion.", key.arn()))
}

/// Refuses one that waits for its deletion.
pub fn alive(key: &Key) -> Result<(), Refusal> {
    match key.deletion {
        Some(_) => Err(pending(key)),
        None => Ok(()),
    }
}

/// Refuses one that is not enabled.
pub fn usable(key: &Key) -> Result<(), Refusal> {
    alive(key)?;
    if key.is_enabled {
        Ok(())
    } else {
        Err(Refusal::Disabled(key.arn()))
    }
}

/// Refuses one that is not enabled, or is for something else; `operation` is AWS's name.
pub fn usable_to_encrypt(key: &Key, operation: &str) -> Result<(), Refusal> {
    usable(key)?;
    match key.spec {
        KeySpec::SymmetricDefault => Ok(()),
        KeySpec::EccNistP256 { .. } => Err(wrong_usage(key, operation)),
    }
}

/// The public point of one that signs and is enabled.
pub fn usable_to_sign<'a>(key: &'a Key, operation: &str) -> Result<&'a [u8], Refusal> {
    usable(key)?;
    match &key.spec {
        KeySpec::EccNistP256 { point } => Ok(point),
        KeySpec::SymmetricDefault => Err(wrong_usage(key, operation)),
    }
}

fn wrong_usage(key: &Key, operation: &str) -> Refusal {
    Refusal::KeyUsage(format!(
        "{} key usage is {} which is not valid for {operation}.",
        key.arn(),
        key.spec.usage()
    ))
}

/// Refuses an asymmetric key for what only symmetric ones have.
pub fn symmetric(key: &Key) -> Result<(), Refusal> {
    match key.spec {
        KeySpec::SymmetricDefault => Ok(()),
        KeySpec::EccNistP256 { .. } => Err(Refusal::Unsupported(String::new())),
    }
}

pub fn set_enabled(tx: &mut Tx, scope: &Scope, id: &str, is_enabled: bool) -> Result<(), Refusal> {
    let action = if is_enabled {
        "kms:EnableKey"
    } else {
        "kms:DisableKey"
    };
    let mut key = own(tx.snapshot(), scope, id, action)?;
    alive(&key)?;
    if key.is_enabled != is_enabled {
        key.is_enabled = is_enabled;
        tx.put(key);
    }
    Ok(())
}

pub fn describe_as(tx: &mut Tx, scope: &Scope, id: &str, text: &str) -> Result<(), Refusal> {
    let mut key = own(tx.snapshot(), scope, id, "kms:UpdateKeyDescription")?;
    alive(&key)?;
    text.clone_into(&mut key.description);
    tx.put(key);
    Ok(())
}

/// The key, which goes after some days.
pub fn schedule_deletion(
    tx: &mut Tx,
    scope: &Scope,
    id: &str,
    window_days: Option<i64>,
) -> Result<Key, Refusal> {
    let mut key = own(tx.snapshot(), scope, id, "kms:ScheduleKeyDeletion")?;
    alive(&key)?;
    let window_days = window_days.unwrap_or(WINDOW_DAYS_UNLESS_SAID);
    if !WINDOW_DAYS.contains(&window_days) {
        return Err(invalid(
            "PendingWindowInDays must be between 7 and 30, inclusive.",
        ));
    }
    key.deletion = Some(KeyDeletion {
        at: after_days(tx, tx.now(), window_days),
        window_days,
    });
    tx.put(key.clone());
    Ok(key)
}

/// Days of the region's, which may be shorter.
pub fn after_days(tx: &Tx, start: Timestamp, days: i64) -> Timestamp {
    start.plus_ms(((days * DAY_MS) as f64 / tx.config().speed) as i64)
}

/// The key, which is disabled then.
pub fn cancel_deletion(tx: &mut Tx, scope: &Scope, id: &str) -> Result<Key, Refusal> {
    let mut key = own(tx.snapshot(), scope, id, "kms:CancelKeyDeletion")?;
    if key.deletion.take().is_none() {
        return Err(Refusal::State(format!(
            "{} is not pending deletion.",
            key.arn()
        )));
    }
    key.is_enabled = false;
    tx.put(key.clone());
    Ok(key)
}

/// With all that points to it.
pub fn remove(tx: &mut Tx, key: &Key) {
    let scope = &key.scope;
    let aliases = tx.snapshot().kms_aliases.in_scope(scope);
    let aliases: Vec<String> = aliases
        .filter(|alias| alias.key_id == key.id)
        .map(|alias| alias.name.clone())
        .collect();
    let start = format!("{}/", key.id);
    let grants = tx.snapshot().kms_grants.with_prefix(scope, &start);
    let grants: Vec<String> = grants.map(|grant| format!("{start}{}", grant.id)).collect();
    for name in aliases {
        tx.delete::<Alias>(scope, name);
    }
    for grant in grants {
        tx.delete::<Grant>(scope, grant);
    }
    tx.delete::<Key>(scope, &key.id);
}

pub fn change_tags(
    tx: &mut Tx,
    scope: &Scope,
    id: &str,
    add: &Tags,
    remove: &[String],
) -> Result<(), Refusal> {
    let action = if remove.is_empty() {
        "kms:TagResource"
    } else {
        "kms:UntagResource"
    };
    let mut key = own(tx.snapshot(), scope, id, action)?;
    alive(&key)?;
    key.tags.extend(add.clone());
    key.tags.retain(|tag, _| !remove.contains(tag));
    check_tags(&key.tags)?;
    tx.put(key);
    Ok(())
}
