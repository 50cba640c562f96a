//! Secrets as a whole.

use super::{Refusal, invalid, values};
use crate::model::Tx;
use fogbank_types::secret::{Secret, SecretValue, SecretVersion};
use fogbank_types::{Scope, Snapshot, Tags, Timestamp};
use std::sync::Arc;

const TAGS_MAX: usize = 50;
/// Quota "Secrets per Region".
const SECRETS_MAX: usize = 500_000;
const DAY_MS: i64 = 24 * 3600 * 1000;
const WINDOW_DAYS: std::ops::RangeInclusive<i64> = 7..=30;
const WINDOW_DAYS_UNLESS_SAID: i64 = 30;
const MARKED: &str =
    "You can't perform this operation on the secret because it was marked for deletion.";

#[derive(Clone, Debug)]
pub struct NewSecret {
    pub name: String,
    pub description: Option<String>,
    pub kms_key_id: Option<String>,
    pub value: Option<SecretValue>,
    /// The id of its first version.
    pub token: Option<String>,
    pub tags: Tags,
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-!".contains(&byte);
    if name.is_empty() || !name.bytes().all(fits) {
        return Err(invalid(
            "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!",
        ));
    }
    Ok(())
}

fn check_tags(tags: &Tags) -> Result<(), Refusal> {
    if tags.keys().any(|key| key.starts_with("aws:")) {
        return Err(invalid(
            "Tag keys that start with aws: are reserved for AWS.",
        ));
    }
    if tags.len() > TAGS_MAX {
        return Err(Refusal::Limit(format!(
            "A secret can have at most {TAGS_MAX} tags."
        )));
    }
    Ok(())
}

/// The secret, and the id of its first version if it has a value.
pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    new: NewSecret,
) -> Result<(Secret, Option<String>), Refusal> {
    check_name(&new.name)?;
    check_tags(&new.tags)?;
    if let Some(old) = by_name(tx.snapshot(), scope, &new.name) {
        return create_again(&old.clone(), new);
    }
    if tx.snapshot().secrets.in_scope(scope).count() >= SECRETS_MAX {
        return Err(Refusal::Limit(
            "You've reached the number of secrets per Region.".to_owned(),
        ));
    }
    let suffix = letters(tx, 6);
    let now = tx.now();
    let mut row = Secret {
        scope: scope.clone(),
        arn: scope.arn("secretsmanager", &format!("secret:{}-{suffix}", new.name)),
        name: new.name,
        description: new.description,
        kms_key_id: new.kms_key_id,
        versions: Vec::new(),
        policy: None,
        deleted_at: None,
        created_at: now,
        changed_at: now,
        accessed_at: None,
        tags: new.tags,
    };
    let token = new.token.unwrap_or_else(|| tx.uuid());
    let version = match new.value {
        Some(value) => Some(values::add(&mut row, now, token, value, &[])?),
        None => None,
    };
    tx.put(row.clone());
    Ok((row, version))
}

/// Only the very call that made it may come twice.
fn create_again(old: &Secret, new: NewSecret) -> Result<(Secret, Option<String>), Refusal> {
    if old.deleted_at.is_some() {
        return Err(Refusal::Request(
            "You can't create this secret because a secret with this name is already scheduled for deletion."
                .to_owned(),
        ));
    }
    let of_token = |version: &&SecretVersion| Some(&version.id) == new.token.as_ref();
    match old.versions.iter().find(of_token) {
        Some(version) if Some(&version.value) == new.value.as_ref() => {
            Ok((old.clone(), Some(version.id.clone())))
        }
        Some(version) => Err(Refusal::TokenInUse {
            token: version.id.clone(),
            arn: old.arn.clone(),
        }),
        None => Err(Refusal::Exists(new.name)),
    }
}

/// Of the suffix of an ARN.
fn letters(tx: &mut Tx, count: usize) -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut bits = tx.random();
    let mut draw = || {
        let letter = LETTERS[(bits % 62) as usize];
        bits /= 62;
        char::from(letter)
    };
    (0..count).map(|_| draw()).collect()
}

pub fn by_name<'a>(snapshot: &'a Snapshot, scope: &Scope, name: &str) -> Option<&'a Arc<Secret>> {
    // The ARN, which is the row's id, begins with the name.
    let start = scope.arn("secretsmanager", &format!("secret:{name}-"));
    let mut rows = snapshot.secrets.with_prefix(scope, &start);
    rows.find(|row| row.name == name)
}

/// By name, by ARN, or by an ARN without its suffix. Also one that is marked for deletion.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &str,
) -> Result<&'a Arc<Secret>, Refusal> {
    let row = match id.starts_with("arn:") {
        false => by_name(snapshot, scope, id),
        true => snapshot.secrets.get(scope, id).or_else(|| {
            let start = scope.arn("secretsmanager", "secret:");
            by_name(snapshot, scope, id.strip_prefix(&start)?)
        }),
    };
    row.ok_or(Refusal::NotFound)
}

/// One that is not marked for deletion.
pub fn alive(snapshot: &Snapshot, scope: &Scope, id: &str) -> Result<Secret, Refusal> {
    let row = find(snapshot, scope, id)?;
    if row.deleted_at.is_some() {
        return Err(Refusal::Request(MARKED.to_owned()));
    }
    Ok(Secret::clone(row))
}

#[derive(Clone, Debug, Default)]
pub struct Update {
    pub description: Option<String>,
    pub kms_key_id: Option<String>,
    pub value: Option<SecretValue>,
    pub token: Option<String>,
}

/// The secret, and the id of the version that it made.
pub fn update(
    tx: &mut Tx,
    scope: &Scope,
    id: &str,
    update: Update,
) -> Result<(Secret, Option<String>), Refusal> {
    let mut row = alive(tx.snapshot(), scope, id)?;
    let now = tx.now();
    row.description = update.description.or(row.description);
    row.kms_key_id = update.kms_key_id.or(row.kms_key_id);
    row.changed_at = now;
    let token = update.token.unwrap_or_else(|| tx.uuid());
    let version = match update.value {
        Some(value) => Some(values::add(&mut row, now, token, value, &[])?),
        None => None,
    };
    tx.put(row.clone());
    Ok((row, version))
}

/// ARN, name, and when it is gone.
pub fn delete(
    tx: &mut Tx,
    scope: &Scope,
    id: &str,
    window_days: Option<i64>,
    force: bool,
) -> Result<(String, String, Timestamp), Refusal> {
    if force && window_days.is_some() {
        return Err(invalid(
            "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.",
        ));
    }
    if window_days.is_some_and(|days| !WINDOW_DAYS.contains(&days)) {
        return Err(invalid(
            "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).",
        ));
    }
    let now = tx.now();
    if force {
        // Of a secret that is not there, this is no error.
        let Ok(row) = find(tx.snapshot(), scope, id) else {
            let arn = if id.starts_with("arn:") {
                id.to_owned()
            } else {
                let suffix = letters(tx, 6);
                scope.arn("secretsmanager", &format!("secret:{id}-{suffix}"))
            };
            return Ok((arn, id.to_owned(), now));
        };
        let (arn, name) = (row.arn.clone(), row.name.clone());
        tx.delete::<Secret>(scope, &arn);
        return Ok((arn, name, now));
    }
    let mut row = alive(tx.snapshot(), scope, id)?;
    let days = window_days.unwrap_or(WINDOW_DAYS_UNLESS_SAID);
    let window_ms = (days * DAY_MS) as f64 / tx.config().speed;
    let gone_at = now.plus_ms(window_ms as i64);
    row.deleted_at = Some((now, gone_at));
    let answer = (row.arn.clone(), row.name.clone(), gone_at);
    tx.put(row);
    Ok(answer)
}

/// Of one that is not marked, this is no error.
pub fn restore(tx: &mut Tx, scope: &Scope, id: &str) -> Result<Secret, Refusal> {
    let mut row = Secret::clone(find(tx.snapshot(), scope, id)?);
    row.deleted_at = None;
    tx.put(row.clone());
    Ok(row)
}

pub fn change_tags(
    tx: &mut Tx,
    scope: &Scope,
    id: &str,
    add: &Tags,
    remove: &[String],
) -> Result<(), Refusal> {
    let mut row = alive(tx.snapshot(), scope, id)?;
    row.tags.extend(add.clone());
    for key in remove {
        row.tags.remove(key);
    }
    check_tags(&row.tags)?;
    tx.put(row);
    Ok(())
}
