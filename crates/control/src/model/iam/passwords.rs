//! The account's rules for passwords of its users. They hold for what users set; this region has no console where they would.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_passwords_account-policy.html>

use super::Refusal;
use crate::model::Tx;
use fogbank_types::iam::PasswordPolicy;
use fogbank_types::{Scope, Snapshot};
use std::sync::Arc;

/// Takes the place of the one before, whole.
pub fn put(tx: &mut Tx, policy: PasswordPolicy) {
    tx.put(policy);
}

pub fn get(snapshot: &Snapshot, scope: &Scope) -> Result<Arc<PasswordPolicy>, Refusal> {
    snapshot
        .password_policies
        .get(scope, "this")
        .cloned()
        .ok_or_else(|| {
            Refusal::NoSuchEntity(format!(
                "The Password Policy with domain name {} cannot be found.",
                scope.account
            ))
        })
}

pub fn delete(tx: &mut Tx, scope: &Scope) -> Result<(), Refusal> {
    if tx.delete::<PasswordPolicy>(scope, "this") {
        return Ok(());
    }
    Err(Refusal::NoSuchEntity(
        "The account policy with name PasswordPolicy cannot be found.".to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_one_policy_or_none() {
        let mut tx = Tx::for_test();
        let scope = Scope::new("000000000000", "global");
        let missing = get(tx.snapshot(), &scope).unwrap_err();
        assert!(missing.to_string().contains("000000000000"));
        assert!(delete(&mut tx, &scope).is_err());
        for minimum_length in [8, 12] {
            let policy = PasswordPolicy {
                scope: scope.clone(),
                minimum_length,
                require_symbols: false,
                require_numbers: false,
                require_uppercase: false,
                require_lowercase: false,
                allow_users_to_change: false,
                max_age_days: None,
                reuse_prevention: None,
                hard_expiry: false,
            };
            put(&mut tx, policy);
            let own = get(tx.snapshot(), &scope).unwrap();
            assert_eq!(own.minimum_length, minimum_length);
        }
        delete(&mut tx, &scope).unwrap();
        assert!(get(tx.snapshot(), &scope).is_err());
    }
}
