//! Aliases: names of keys that an account may point elsewhere.
//! <https://docs.aws.amazon.com/kms/latest/developerguide/alias-about.html>

use super::{Refusal, invalid, keys};
use crate::model::Tx;
use fogbank_types::Scope;
use fogbank_types::kms::{Alias, Key};

/// Quota "Aliases per KMS key".
const PER_KEY_MAX: usize = 50;

/// AWS's names are for AWS to make, point and delete.
fn check_name(name: &str) -> Result<(), Refusal> {
    let Some(rest) = name.strip_prefix("alias/") else {
        return Err(invalid("Invalid identifier"));
    };
    if rest == "aws" || rest.starts_with("aws/") {
        return Err(Refusal::NotAuthorized);
    }
    if rest.contains(':') {
        return Err(invalid(format!(
            "{name} contains invalid characters for an alias"
        )));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
    if rest.is_empty() || !rest.bytes().all(fits) {
        return Err(invalid(format!(
            "1 validation error detected: Value '{name}' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"
        )));
    }
    Ok(())
}

fn target(tx: &Tx, scope: &Scope, id: &str, action: &str) -> Result<Key, Refusal> {
    if id.starts_with("alias/") || id.contains(":alias/") {
        return Err(invalid("Aliases must refer to keys. Not aliases"));
    }
    let key = keys::own(tx.snapshot(), scope, id, action)?;
    keys::alive(&key)?;
    let of_key = tx.snapshot().kms_aliases.in_scope(scope);
    if of_key.filter(|alias| alias.key_id == key.id).count() >= PER_KEY_MAX {
        return Err(Refusal::Limit(format!(
            "{} has the maximum number of aliases.",
            key.arn()
        )));
    }
    Ok(key)
}

fn missing(scope: &Scope, name: &str) -> Refusal {
    let arn = scope.arn("kms", name);
    Refusal::NotFound(format!("Alias {arn} is not found."))
}

pub fn create(tx: &mut Tx, scope: &Scope, name: &str, key: &str) -> Result<(), Refusal> {
    check_name(name)?;
    let key = target(tx, scope, key, "kms:CreateAlias")?;
    if tx.snapshot().kms_aliases.contains(scope, name) {
        let arn = scope.arn("kms", name);
        return Err(Refusal::AlreadyExists(format!(
            "An alias with the name {arn} already exists"
        )));
    }
    let now = tx.now();
    tx.put(Alias {
        scope: scope.clone(),
        name: name.to_owned(),
        key_id: key.id,
        created_at: now,
        updated_at: now,
    });
    Ok(())
}

pub fn update(tx: &mut Tx, scope: &Scope, name: &str, key: &str) -> Result<(), Refusal> {
    check_name(name)?;
    let Some(alias) = tx.snapshot().kms_aliases.get(scope, name).cloned() else {
        return Err(missing(scope, name));
    };
    let now = tx.now();
    let key = target(tx, scope, key, "kms:UpdateAlias")?;
    tx.put(Alias {
        key_id: key.id,
        updated_at: now,
        ..Alias::clone(&alias)
    });
    Ok(())
}

pub fn delete(tx: &mut Tx, scope: &Scope, name: &str) -> Result<(), Refusal> {
    check_name(name)?;
    if tx.delete::<Alias>(scope, name) {
        Ok(())
    } else {
        Err(missing(scope, name))
    }
}
