//! Which certificates are to be made now, and taking in those that were.
//!
//! Making one takes a key pair, randomness and the authority's key, so it happens outside (`crate::issuance`), between
//! `due` and `complete`.

use super::renewals;
use crate::model::Tx;
use fogbank_pki::{Certificate as X509, KeyAlgorithm};
use fogbank_types::acm::{
    Certificate, CertificateMaterial, CertificateStatus, DomainValidation, ExtendedKeyUsage,
    Renewal, RenewalStatus,
};
use fogbank_types::{RegionConfig, Scope, Snapshot, Timestamp};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// <https://docs.aws.amazon.com/acm/latest/userguide/acm-certificate-characteristics.html>
const LIFE_MS: u64 = 198 * DAY_MS;
/// Clocks of clients differ; X.509 counts whole seconds.
const BACKDATED_MS: i64 = 60 * 1000;

/// A certificate to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    pub scope: Scope,
    pub arn: String,
    pub names: Vec<String>,
    pub algorithm: KeyAlgorithm,
}

/// Whether every name is proved.
pub fn is_proved(validations: &[DomainValidation]) -> bool {
    !validations.is_empty() && validations.iter().all(|one| one.status == "SUCCESS")
}

fn is_due(row: &Certificate) -> bool {
    match row.status {
        CertificateStatus::PendingValidation => is_proved(&row.validations),
        CertificateStatus::Issued => row.renewal.as_ref().is_some_and(|renewal| {
            renewal.status == RenewalStatus::PendingAutoRenewal && is_proved(&renewal.validations)
        }),
        _ => false,
    }
}

/// In the order in which they were asked for.
pub fn due(snapshot: &Snapshot) -> Vec<Due> {
    let mut rows: Vec<_> = snapshot
        .certificates
        .all()
        .filter(|row| is_due(row))
        .collect();
    rows.sort_by_key(|row| (row.created_at, &row.arn));
    rows.into_iter()
        .filter_map(|row| {
            Some(Due {
                scope: row.scope.clone(),
                arn: row.arn.clone(),
                names: row.names.clone(),
                algorithm: KeyAlgorithm::parse(&row.key_algorithm)?,
            })
        })
        .collect()
}

/// From when to when a certificate that is made now is valid.
pub fn validity(config: &RegionConfig, now: Timestamp) -> (Timestamp, Timestamp) {
    let life = i64::try_from(config.scaled_ms(LIFE_MS)).unwrap_or(i64::MAX);
    (now.plus_ms(-BACKDATED_MS), now.plus_ms(life))
}

/// What a row keeps of a certificate.
pub fn material(
    certificate: &X509,
    chain: Option<String>,
    private_key: String,
) -> CertificateMaterial {
    let usages = certificate.key_usages().into_iter();
    let extended = certificate.extended_key_usages().into_iter();
    CertificateMaterial {
        certificate: certificate.pem(),
        chain,
        private_key,
        serial: certificate.serial(),
        subject: certificate.subject(),
        issuer: certificate.issuer(),
        signature_algorithm: certificate.signature_algorithm(),
        not_before: Timestamp(certificate.not_before_ms()),
        not_after: Timestamp(certificate.not_after_ms()),
        key_usages: usages.map(str::to_owned).collect(),
        extended_key_usages: extended
            .map(|(name, oid)| ExtendedKeyUsage {
                name: name.to_owned(),
                oid,
            })
            .collect(),
    }
}

/// Takes the made certificate in, if it is still wanted.
pub fn complete(tx: &mut Tx, due: &Due, material: &CertificateMaterial) {
    let now = tx.now();
    let wanted = tx.snapshot().certificates.get(&due.scope, &due.arn);
    if !wanted.is_some_and(|row| is_due(row) && row.names == due.names) {
        return;
    }
    tx.update::<Certificate>(&due.scope, &due.arn, |row| {
        if row.status == CertificateStatus::Issued {
            row.renewal = row.renewal.take().map(|renewal| Renewal {
                status: RenewalStatus::Success,
                updated_at: now,
                ..renewal
            });
        }
        row.status = CertificateStatus::Issued;
        row.issued_at = Some(now);
        row.exported_at = None;
        row.material = Some(material.clone());
    });
}

/// When the row changes by itself next: it expires, or is to be renewed.
pub fn next_look(config: &RegionConfig, row: &Certificate) -> Option<Timestamp> {
    let material = row.material.as_ref()?;
    if row.status != CertificateStatus::Issued {
        return None;
    }
    Some(renewals::due_at(config, row).map_or(material.not_after, |at| at.min(material.not_after)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::acm::fixture::{complete as take_in, prove, requested, scope};
    use crate::model::acm::{certificates, find};

    #[test]
    fn a_certificate_is_due_once_every_name_is_proved() {
        let mut tx = Tx::for_test();
        let row = requested(&mut tx, "example.com");
        assert_eq!(due(tx.snapshot()), []);
        prove(&mut tx, &row.arn);
        let [one] = &due(tx.snapshot())[..] else {
            panic!("one is due")
        };
        assert_eq!((&one.arn, one.algorithm), (&row.arn, KeyAlgorithm::Rsa2048));
        let one = one.clone();
        take_in(&mut tx, &one);
        assert_eq!(due(tx.snapshot()), []);
        let row = find(tx.snapshot(), &scope(), &row.arn).unwrap();
        assert_eq!(row.status, CertificateStatus::Issued);
        assert_eq!(row.issued_at, Some(tx.now()));
        assert!(certificates::material(tx.snapshot(), &scope(), &row.arn).is_ok());
    }

    #[test]
    fn what_was_deleted_or_timed_out_meanwhile_is_not_taken_in() {
        let mut tx = Tx::for_test();
        let row = requested(&mut tx, "example.com");
        prove(&mut tx, &row.arn);
        let one = due(tx.snapshot()).remove(0);
        tx.update::<Certificate>(&scope(), &row.arn, |row| {
            row.status = CertificateStatus::ValidationTimedOut;
        });
        take_in(&mut tx, &one);
        let kept = find(tx.snapshot(), &scope(), &row.arn).unwrap();
        assert!(kept.material.is_none());
        certificates::delete(&mut tx, &scope(), &row.arn).unwrap();
        take_in(&mut tx, &one);
        assert!(tx.snapshot().certificates.is_empty());
    }

    #[test]
    fn a_life_is_198_days_divided_by_speed() {
        let tx = Tx::for_test();
        let mut config = tx.config().clone();
        let days = |config: &RegionConfig| {
            let (from, to) = validity(config, tx.now());
            assert!(from < tx.now());
            (to.0 - tx.now().0) / 86_400_000
        };
        assert_eq!(days(&config), 198);
        config.speed = 9.0;
        assert_eq!(days(&config), 22);
    }
}
