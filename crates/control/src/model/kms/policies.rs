//! Key policies: kept as given, judged for their form.
//! <https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html>

use super::{Refusal, keys};
use crate::model::Tx;
use fogbank_types::Scope;
use serde_json::Value;

/// The only name that a key's policy has.
pub const NAME: &str = "default";

/// Gives the account's IAM policies their say.
pub fn default_of(account: &str) -> String {
    format!(
        r#"{{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {{
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {{
      "AWS" : "arn:aws:iam::{account}:root"
    }},
    "Action" : "kms:*",
    "Resource" : "*"
  }} ]
}}"#
    )
}

fn malformed(text: &str) -> Refusal {
    Refusal::MalformedPolicy(text.to_owned())
}

/// A list, or one thing that stands for a list of itself.
fn items(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

pub fn check(text: &str) -> Result<(), Refusal> {
    let policy: Value = serde_json::from_str(text)
        .map_err(|_| malformed("The policy document is not valid JSON."))?;
    let statements = items(&policy["Statement"]);
    if !policy.is_object() || statements.is_empty() {
        return Err(malformed("The policy must contain a statement."));
    }
    for statement in statements {
        let has = |names: [&str; 2]| names.iter().any(|name| !statement[*name].is_null());
        let is_whole = matches!(statement["Effect"].as_str(), Some("Allow" | "Deny"))
            && has(["Principal", "NotPrincipal"])
            && has(["Action", "NotAction"])
            && has(["Resource", "NotResource"]);
        if !is_whole {
            return Err(malformed(
                "Each statement must have an Effect, a Principal, an Action and a Resource.",
            ));
        }
    }
    Ok(())
}

pub fn check_name(name: Option<&str>) -> Result<(), Refusal> {
    match name {
        None | Some(NAME) => Ok(()),
        Some(_) => Err(Refusal::NotFound("No such policy exists".to_owned())),
    }
}

pub fn put(tx: &mut Tx, scope: &Scope, id: &str, text: &str) -> Result<(), Refusal> {
    let mut key = keys::own(tx.snapshot(), scope, id, "kms:PutKeyPolicy")?;
    check(text)?;
    text.clone_into(&mut key.policy);
    tx.put(key);
    Ok(())
}
