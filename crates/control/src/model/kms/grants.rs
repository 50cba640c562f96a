//! Grants: who may use a key for what, without a policy saying so.
//! <https://docs.aws.amazon.com/kms/latest/developerguide/grants.html>

use super::keys::{self, Named};
use super::{Refusal, invalid};
use crate::model::Tx;
use fogbank_types::kms::{Grant, GrantConstraint, Key, KeySpec};
use fogbank_types::{Scope, Snapshot};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Quota "Grants per KMS key".
const PER_KEY_MAX: usize = 50_000;
/// What a symmetric key can do for somebody.
const ENCRYPTING: [&str; 9] = [
    "CreateGrant",
    "Decrypt",
    "DescribeKey",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
    "RetireGrant",
];
/// What one that signs can.
const SIGNING: [&str; 6] = [
    "CreateGrant",
    "DescribeKey",
    "GetPublicKey",
    "RetireGrant",
    "Sign",
    "Verify",
];

#[derive(Clone, Debug)]
pub struct NewGrant {
    pub key: String,
    pub name: Option<String>,
    pub grantee: String,
    pub retiring: Option<String>,
    pub operations: Vec<String>,
    pub constraint: Option<GrantConstraint>,
}

fn check_principal(arn: &str) -> Result<(), Refusal> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let is_known = match parts.as_slice() {
        ["arn", _, "iam", "", account, tail] => {
            is_account(account)
                && (*tail == "root"
                    || ["user/", "role/", "federated-user/"]
                        .iter()
                        .any(|kind| tail.starts_with(kind)))
        }
        ["arn", _, "sts", "", account, tail] => {
            is_account(account)
                && (tail.starts_with("assumed-role/") || tail.starts_with("federated-user/"))
        }
        // A service: `ecs.amazonaws.com`.
        [service] => service.ends_with(".amazonaws.com"),
        _ => false,
    };
    if is_known {
        Ok(())
    } else {
        Err(Refusal::Arn(format!(
            "ARN does not refer to a valid principal: {arn}"
        )))
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub fn create(tx: &mut Tx, scope: &Scope, new: NewGrant) -> Result<Grant, Refusal> {
    let key = keys::find(tx.snapshot(), scope, &new.key, Named::Directly)?;
    keys::usable(&key)?;
    check_principal(&new.grantee)?;
    if let Some(retiring) = &new.retiring {
        check_principal(retiring)?;
    }
    let able: &[&str] = match key.spec {
        KeySpec::SymmetricDefault => &ENCRYPTING,
        KeySpec::EccNistP256 { .. } => &SIGNING,
    };
    let mut operations = new.operations.iter();
    if let Some(other) = operations.find(|name| !able.contains(&name.as_str())) {
        return Err(invalid(format!(
            "{other} is not supported by {}, whose key usage is {}.",
            key.arn(),
            key.spec.usage()
        )));
    }
    let operations: BTreeSet<String> = new.operations.into_iter().collect();
    let row = Grant {
        scope: key.scope.clone(),
        key_id: key.id.clone(),
        id: tx.hex(32) + &tx.hex(32),
        name: new.name,
        grantee: new.grantee,
        retiring: new.retiring,
        operations,
        constraint: new.constraint,
        issuing_account: format!("arn:aws:iam::{}:root", scope.account),
        created_at: tx.now(),
    };
    let mut others = of_key(tx.snapshot(), &key);
    // With a name, the same call twice makes one grant.
    let same = others.find(|old| {
        row.name.is_some()
            && Grant {
                id: row.id.clone(),
                created_at: row.created_at,
                ..Grant::clone(old)
            } == row
    });
    let same = same.cloned();
    drop(others);
    if let Some(same) = same {
        return Ok(Grant::clone(&same));
    }
    if of_key(tx.snapshot(), &key).count() >= PER_KEY_MAX {
        return Err(Refusal::Limit(format!(
            "{} has the maximum number of grants.",
            key.arn()
        )));
    }
    tx.put(row.clone());
    Ok(row)
}

/// In the order of their ids.
pub fn of_key<'a>(snapshot: &'a Snapshot, key: &Key) -> impl Iterator<Item = &'a Arc<Grant>> + 'a {
    let start = format!("{}/", key.id);
    snapshot.kms_grants.with_prefix(&key.scope, &start)
}

pub fn revoke(tx: &mut Tx, scope: &Scope, key: &str, id: &str) -> Result<(), Refusal> {
    let key = keys::find(tx.snapshot(), scope, key, Named::Directly)?;
    if !tx.delete::<Grant>(&key.scope, format!("{}/{id}", key.id)) {
        return Err(Refusal::NotFound(format!("Grant ID {id} not found")));
    }
    Ok(())
}

/// What CreateGrant gives beside the id: which grant it is, in a form that clients take for opaque.
pub fn token(grant: &Grant) -> String {
    format!("{}/{}/{}", grant.scope.account, grant.key_id, grant.id)
}

fn of_token(snapshot: &Snapshot, scope: &Scope, token: &str) -> Option<Arc<Grant>> {
    let (account, id) = token.split_once('/')?;
    let scope = Scope::new(account, &scope.region);
    snapshot.kms_grants.get(&scope, id).cloned()
}

/// Which grant is to be retired: by its token, or by its key and id.
pub fn named(
    snapshot: &Snapshot,
    scope: &Scope,
    token: Option<&str>,
    key: Option<&str>,
    id: Option<&str>,
) -> Result<Arc<Grant>, Refusal> {
    match (token, key, id) {
        (Some(token), None, None) => of_token(snapshot, scope, token).ok_or(Refusal::GrantToken),
        (None, Some(key), Some(id)) => {
            let key = keys::find(snapshot, scope, key, Named::Directly)?;
            let found = snapshot
                .kms_grants
                .get(&key.scope, format!("{}/{id}", key.id));
            found
                .cloned()
                .ok_or_else(|| Refusal::NotFound(format!("Grant ID {id} not found")))
        }
        _ => Err(invalid(
            "Either GrantToken or both GrantId and KeyId must be given.",
        )),
    }
}

/// For whom the grant says so, and for the account of the key. `principals` are the ARNs that the caller has.
pub fn may_retire(grant: &Grant, principals: &[&str]) -> bool {
    let root = format!("arn:aws:iam::{}:root", grant.scope.account);
    let is = |arn: &str| principals.contains(&arn);
    is(&root)
        || grant.retiring.as_deref().is_some_and(is)
        || grant.operations.contains("RetireGrant") && is(&grant.grantee)
}

pub fn retire(tx: &mut Tx, grant: &Grant) {
    tx.delete::<Grant>(&grant.scope, format!("{}/{}", grant.key_id, grant.id));
}

/// What it allows, as a statement of the key's policy.
pub fn statement(grant: &Grant) -> Value {
    let actions = grant.operations.iter();
    let actions: Vec<String> = actions.map(|name| format!("kms:{name}")).collect();
    let principal = if grant.grantee.starts_with("arn:") {
        "AWS"
    } else {
        "Service"
    };
    let mut statement = json!({
        "Sid": format!("grant {}", grant.id),
        "Effect": "Allow",
        "Principal": {principal: grant.grantee},
        "Action": actions,
        "Resource": "*",
    });
    let pairs = match &grant.constraint {
        None => return statement,
        Some(GrantConstraint::Equals(pairs) | GrantConstraint::Holds(pairs)) => pairs,
    };
    let mut equals = serde_json::Map::new();
    for (key, value) in pairs {
        equals.insert(format!("kms:EncryptionContext:{key}"), json!(value));
    }
    statement["Condition"] = json!({"StringEquals": equals});
    if matches!(grant.constraint, Some(GrantConstraint::Equals(_))) {
        let keys: Vec<&String> = pairs.keys().collect();
        statement["Condition"]["ForAllValues:StringEquals"] =
            json!({"kms:EncryptionContextKeys": keys});
    }
    statement
}
