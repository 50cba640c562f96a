//! Managed renewal: a certificate that is used or was exported gets a successor before it expires, under the same ARN.
//! <https://docs.aws.amazon.com/acm/latest/userguide/managed-renewal.html>

use super::{Refusal, domains, find, invalid};
use crate::model::Tx;
use crate::model::elb::usage;
use fogbank_types::acm::{Certificate, CertificateKind, CertificateStatus, Renewal, RenewalStatus};
use fogbank_types::{RegionConfig, Scope, Snapshot, Timestamp};

/// How long before its end a certificate is renewed.
const AHEAD_MS: u64 = 45 * 24 * 60 * 60 * 1000;

/// Whether ACM would renew it.
pub fn is_eligible(snapshot: &Snapshot, row: &Certificate) -> bool {
    row.kind == CertificateKind::AmazonIssued
        && row.status == CertificateStatus::Issued
        && (row.exported_at.is_some()
            || !usage::of_certificate(snapshot, &row.scope, &row.arn).is_empty())
}

/// When renewing begins; `None`: it has begun already, or never does.
pub fn due_at(config: &RegionConfig, row: &Certificate) -> Option<Timestamp> {
    let material = row.material.as_ref()?;
    if row.kind != CertificateKind::AmazonIssued || is_going_on(row) {
        return None;
    }
    let ahead = i64::try_from(config.scaled_ms(AHEAD_MS)).unwrap_or(i64::MAX);
    Some(material.not_after.plus_ms(-ahead))
}

pub fn is_going_on(row: &Certificate) -> bool {
    let status = row.renewal.as_ref().map(|renewal| renewal.status);
    matches!(
        status,
        Some(RenewalStatus::PendingAutoRenewal | RenewalStatus::PendingValidation)
    )
}

/// Begins a renewal: every name is to be proved anew, by the record that proved it first.
pub fn begin(tx: &mut Tx, scope: &Scope, arn: &str) {
    let now = tx.now();
    tx.update::<Certificate>(scope, arn, |row| {
        let is_dns = row.validation_method.as_deref() == Some("DNS");
        let validations = row.validations.iter().map(|validation| {
            if is_dns {
                return domains::by_dns(&row.scope.account, &validation.domain_name);
            }
            let mut validation = validation.clone();
            validation.status = "PENDING_VALIDATION".to_owned();
            validation
        });
        row.renewal = Some(Renewal {
            status: if is_dns {
                RenewalStatus::PendingAutoRenewal
            } else {
                RenewalStatus::PendingValidation
            },
            reason: None,
            validations: validations.collect(),
            updated_at: now,
        });
    });
}

/// At the caller's wish, for what was exported.
/// <https://docs.aws.amazon.com/acm/latest/APIReference/API_RenewCertificate.html>
pub fn renew(tx: &mut Tx, scope: &Scope, arn: &str) -> Result<(), Refusal> {
    let row = find(tx.snapshot(), scope, arn)?;
    if row.status == CertificateStatus::PendingValidation || is_going_on(row) {
        return Err(Refusal::RequestInProgress(arn.to_owned()));
    }
    if row.kind == CertificateKind::Imported || row.status != CertificateStatus::Issued {
        return Err(invalid(format!(
            "Certificate ARN {arn} is not an issued certificate of this service so it is not eligible for the Renew Certificate API."
        )));
    }
    if row.exported_at.is_none() {
        return Err(invalid(format!(
            "Certificate ARN {arn} has not been exported so it is not eligible for the Renew Certificate API."
        )));
    }
    begin(tx, scope, arn);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::acm::fixture::{issued, listener, requested, scope};
    use crate::model::acm::{certificates, imports};

    #[test]
    fn what_is_used_or_exported_is_eligible() {
        let mut tx = Tx::for_test();
        let arn = issued(&mut tx, "example.com").arn;
        let eligible = |tx: &Tx| {
            let row = find(tx.snapshot(), &scope(), &arn).unwrap();
            is_eligible(tx.snapshot(), row)
        };
        assert!(!eligible(&tx));
        listener(&mut tx, &arn);
        assert!(eligible(&tx));
        tx.update::<Certificate>(&scope(), &arn, |row| {
            row.status = CertificateStatus::Expired
        });
        assert!(!eligible(&tx));
    }

    #[test]
    fn a_renewal_at_will_needs_an_export() {
        let mut tx = Tx::for_test();
        let pending = requested(&mut tx, "a.example.com").arn;
        let refused = renew(&mut tx, &scope(), &pending).unwrap_err();
        assert_eq!(refused, Refusal::RequestInProgress(pending));
        let imported = imports::import(&mut tx, &scope(), &crate::model::acm::fixture::import());
        let imported = imported.unwrap().arn;
        assert!(renew(&mut tx, &scope(), &imported).is_err());
        let arn = issued(&mut tx, "example.com").arn;
        let refused = renew(&mut tx, &scope(), &arn).unwrap_err().to_string();
        assert!(refused.contains("has not been exported"), "{refused}");
        tx.update::<Certificate>(&scope(), &arn, |row| {
            row.export = Some("ENABLED".to_owned())
        });
        certificates::export(&mut tx, &scope(), &arn).unwrap();
        renew(&mut tx, &scope(), &arn).unwrap();
        let row = find(tx.snapshot(), &scope(), &arn).unwrap();
        let renewal = row.renewal.as_ref().unwrap();
        assert_eq!(renewal.status, RenewalStatus::PendingAutoRenewal);
        assert_eq!(renewal.validations[0].status, "PENDING_VALIDATION");
        let again = renew(&mut tx, &scope(), &arn).unwrap_err();
        assert_eq!(again, Refusal::RequestInProgress(arn));
    }
}
