//! Resource policies of CloudWatch Logs: who of other services may write into the account's groups.
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutResourcePolicy.html>

use super::{Refusal, invalid};
use crate::model::Tx;
use fogbank_types::Scope;
use fogbank_types::logs::LogResourcePolicy;

/// "An account can have up to 10 resource policies per AWS Region."
const POLICIES_MAX: usize = 10;
/// "Length Constraints: Minimum length of 1. Maximum length of 5120." A policy of the account is at most that long.
const DOCUMENT_BYTES_MAX: usize = 5120;

pub fn put(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    document: &str,
) -> Result<LogResourcePolicy, Refusal> {
    if name.is_empty() {
        return Err(invalid("policyName is required."));
    }
    let is_policy = serde_json::from_str::<serde_json::Value>(document)
        .is_ok_and(|value| value.get("Statement").is_some());
    if !is_policy || document.len() > DOCUMENT_BYTES_MAX {
        return Err(invalid(
            "The resource policy document is not valid: it must be a JSON policy of at most 5120 characters.",
        ));
    }
    let policies = &tx.snapshot().log_resource_policies;
    if !policies.contains(scope, name) && policies.in_scope(scope).count() >= POLICIES_MAX {
        return Err(Refusal::LimitExceeded);
    }
    let row = LogResourcePolicy {
        scope: scope.clone(),
        name: name.to_owned(),
        document: document.to_owned(),
        updated_at: tx.now(),
    };
    tx.put(row.clone());
    Ok(row)
}

pub fn delete(tx: &mut Tx, scope: &Scope, name: &str) -> Result<(), Refusal> {
    if tx.delete::<LogResourcePolicy>(scope, name) {
        Ok(())
    } else {
        Err(Refusal::PolicyNotFound(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{"Version":"2012-10-17","Statement":[]}"#;

    #[test]
    fn an_account_has_ten_and_changes_each_as_it_likes() {
        let (mut tx, scope) = (Tx::for_test(), Scope::new("000000000000", "us-east-1"));
        for number in 0..10 {
            put(&mut tx, &scope, &format!("p{number}"), DOCUMENT).unwrap();
        }
        let refused = put(&mut tx, &scope, "one-more", DOCUMENT).unwrap_err();
        assert_eq!(refused, Refusal::LimitExceeded);
        tx.advance_ms(5);
        let changed = put(&mut tx, &scope, "p3", DOCUMENT).unwrap();
        assert_eq!(changed.updated_at, tx.now());
        delete(&mut tx, &scope, "p3").unwrap();
        let refused = delete(&mut tx, &scope, "p3").unwrap_err();
        assert_eq!(refused.to_string(), "Policy with name [p3] does not exist");
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let (mut tx, scope) = (Tx::for_test(), Scope::new("000000000000", "us-east-1"));
        for document in ["", "{}", "[]", "policy"] {
            assert!(put(&mut tx, &scope, "p", document).is_err(), "{document}");
        }
    }
}
