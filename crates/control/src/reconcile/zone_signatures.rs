//! Signatures of the keys of signed zones are made anew before they end. What cannot be, since a key of KMS was taken away,
//! waits until it can: GetDNSSEC says ACTION_NEEDED meanwhile.

use crate::model::Tx;
use crate::zone_signing::{self, RENEWED_MS};
use fogbank_types::Timestamp;

/// Between attempts.
const RETRY_MS: i64 = 60 * 1000;

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    let now = tx.now();
    let rows = tx.snapshot().zone_signings.all();
    let rows: Vec<_> = rows
        .map(|row| (row.scope.clone(), row.zone_id.clone(), row.signed_at))
        .collect();
    let mut next: Option<Timestamp> = None;
    for (scope, zone_id, signed_at) in rows {
        let mut at = signed_at.plus_ms(RENEWED_MS);
        if at <= now {
            at = match zone_signing::renew(tx, &scope, &zone_id) {
                Ok(()) => now.plus_ms(RENEWED_MS),
                Err(error) => {
                    tracing::warn!(%zone_id, ?error, "the keys of a zone cannot be signed");
                    now.plus_ms(RETRY_MS)
                }
            };
        }
        next = Some(next.map_or(at, |next| next.min(at)));
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kms::keys::{self, NewKey};
    use crate::model::route53::fixture::{scope, zone};
    use crate::model::route53::signing;
    use fogbank_types::kms::{KeySecret, KeySpec};
    use fogbank_types::{Scope, Tags};

    #[test]
    fn signatures_are_made_anew_as_long_as_the_key_can_be_used() {
        let mut tx = Tx::for_test();
        let id = zone(&mut tx, "example.test").id;
        let (secret, point) = fogbank_pki::ecdsa::generate().unwrap();
        let policy = r#"{"Statement": {"Effect": "Allow", "Principal": {"Service": "dnssec-route53.amazonaws.com"}, "Action": "kms:*", "Resource": "*"}}"#;
        let home = Scope::new("000000000000", "us-east-1");
        let new = NewKey {
            secret: KeySecret::new(secret),
            spec: KeySpec::EccNistP256 { point },
            description: String::new(),
            policy: Some(policy.to_owned()),
            is_managed_by_aws: false,
            tags: Tags::new(),
        };
        let kms = keys::create(&mut tx, &home, new).unwrap();
        let new = signing::NewKey {
            zone_id: id.clone(),
            name: "key".to_owned(),
            caller_reference: "key".to_owned(),
            kms_arn: kms.arn(),
            status: "ACTIVE".to_owned(),
        };
        signing::create(&mut tx, &scope(), &new, zone_signing::facts).unwrap();
        let key = zone_signing::new_key().unwrap();
        zone_signing::enable(&mut tx, &scope(), &id, &key).unwrap();
        let row = |tx: &Tx| {
            let row = tx.snapshot().zone_signings.get(&scope(), &id).unwrap();
            (row.signed_at, row.dnskeys.len(), row.signatures.len())
        };
        let made_at = tx.now();
        assert_eq!(row(&tx), (made_at, 2, 1));
        assert_eq!(reconcile(&mut tx), Some(made_at.plus_ms(RENEWED_MS)));
        assert_eq!(row(&tx).0, made_at, "not before its time");
        tx.advance_ms(RENEWED_MS);
        let next = reconcile(&mut tx);
        assert_eq!(
            (row(&tx).0, next),
            (tx.now(), Some(tx.now().plus_ms(RENEWED_MS)))
        );
        let renewed_at = tx.now();
        keys::set_enabled(&mut tx, &home, &kms.id, false).unwrap();
        tx.advance_ms(RENEWED_MS);
        assert_eq!(reconcile(&mut tx), Some(tx.now().plus_ms(RETRY_MS)));
        assert_eq!(row(&tx).0, renewed_at);
        keys::set_enabled(&mut tx, &home, &kms.id, true).unwrap();
        reconcile(&mut tx);
        assert_eq!(row(&tx).0, tx.now());
    }
}
