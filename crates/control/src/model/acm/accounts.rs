//! What an account sets for all its certificates.
//! <https://docs.aws.amazon.com/acm/latest/APIReference/API_PutAccountConfiguration.html>

use super::{Refusal, invalid};
use crate::model::Tx;
use fogbank_types::acm::AccountConfiguration;
use fogbank_types::{Scope, Snapshot};

/// Days before expiry from which on a certificate's expiry is announced, unless the account chose others.
const DAYS_BEFORE_EXPIRY: i32 = 45;

pub fn days_before_expiry(snapshot: &Snapshot, scope: &Scope) -> i32 {
    snapshot
        .certificate_accounts
        .get(scope, "this")
        .map_or(DAYS_BEFORE_EXPIRY, |row| row.days_before_expiry)
}

pub fn configure(tx: &mut Tx, scope: &Scope, days: Option<i32>) -> Result<(), Refusal> {
    let days = days.ok_or_else(|| invalid("Configuration for events is empty."))?;
    if !(1..=DAYS_BEFORE_EXPIRY).contains(&days) {
        return Err(invalid(format!(
            "DaysBeforeExpiry must be between 1 and {DAYS_BEFORE_EXPIRY}."
        )));
    }
    tx.put(AccountConfiguration {
        scope: scope.clone(),
        days_before_expiry: days,
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::acm::fixture::scope;

    #[test]
    fn days_are_kept_within_bounds() {
        let mut tx = Tx::for_test();
        assert_eq!(days_before_expiry(tx.snapshot(), &scope()), 45);
        configure(&mut tx, &scope(), Some(30)).unwrap();
        assert_eq!(days_before_expiry(tx.snapshot(), &scope()), 30);
        for days in [None, Some(0), Some(46)] {
            assert!(configure(&mut tx, &scope(), days).is_err());
        }
    }
}
