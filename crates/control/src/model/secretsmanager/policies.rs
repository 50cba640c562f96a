//! Resource policies: kept as given, judged for their form and for openness to everybody.
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access_resource-policies.html>

use super::{Refusal, secrets};
use crate::model::Tx;
use fogbank_types::Scope;
use fogbank_types::secret::Secret;
use serde_json::Value;

/// A list, or one thing that stands for a list of itself.
fn items(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

/// Whether it lets everybody in; a refusal if it is no policy.
pub fn is_public(text: &str) -> Result<bool, Refusal> {
    let policy: Value = serde_json::from_str(text).map_err(|_| Refusal::MalformedPolicy)?;
    let statements = items(&policy["Statement"]);
    if !policy.is_object() || statements.is_empty() {
        return Err(Refusal::MalformedPolicy);
    }
    let mut public = false;
    for statement in statements {
        let effect = statement["Effect"].as_str();
        let principal = &statement["Principal"];
        let has_action = !statement["Action"].is_null() || !statement["NotAction"].is_null();
        let has_principal = !principal.is_null() || !statement["NotPrincipal"].is_null();
        if !matches!(effect, Some("Allow" | "Deny")) || !has_action || !has_principal {
            return Err(Refusal::MalformedPolicy);
        }
        let everybody = principal == "*"
            || items(&principal["AWS"])
                .iter()
                .any(|principal| *principal == "*");
        public |= effect == Some("Allow") && everybody && statement["Condition"].is_null();
    }
    Ok(public)
}

pub fn put(
    tx: &mut Tx,
    scope: &Scope,
    id: &str,
    text: &str,
    block_public: bool,
) -> Result<Secret, Refusal> {
    let mut row = secrets::alive(tx.snapshot(), scope, id)?;
    if is_public(text)? && block_public {
        return Err(Refusal::PublicPolicy);
    }
    row.policy = Some(text.to_owned());
    tx.put(row.clone());
    Ok(row)
}

pub fn delete(tx: &mut Tx, scope: &Scope, id: &str) -> Result<Secret, Refusal> {
    let mut row = secrets::alive(tx.snapshot(), scope, id)?;
    row.policy = None;
    tx.put(row.clone());
    Ok(row)
}
