//! Certificates are validated, time out, are renewed and expire.
//! <https://docs.aws.amazon.com/acm/latest/userguide/acm-overview.html>
//!
//! What can be decided from rows is decided here; the certificates themselves are made by `crate::issuance`.

use crate::model::Tx;
use crate::model::acm::validation::Zones;
use crate::model::acm::{issuance, renewals};
use fogbank_types::acm::{
    Certificate, CertificateStatus, DomainValidation, Renewal, RenewalStatus,
};
use fogbank_types::{Snapshot, Timestamp};
use std::sync::Arc;

/// <https://docs.aws.amazon.com/acm/latest/userguide/troubleshooting-timed-out.html>
const VALIDATION_MS: u64 = 72 * 60 * 60 * 1000;
/// Pause after a renewal that failed.
const RETRY_MS: u64 = 24 * 60 * 60 * 1000;

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    let snapshot = tx.snapshot().clone();
    let living = |row: &&Arc<Certificate>| {
        matches!(
            row.status,
            CertificateStatus::PendingValidation | CertificateStatus::Issued
        )
    };
    let rows: Vec<&Arc<Certificate>> = snapshot.certificates.all().filter(living).collect();
    let zones = Zones::of(&snapshot);
    rows.into_iter()
        .filter_map(|row| match row.status {
            CertificateStatus::PendingValidation => validate(tx, &zones, row),
            _ => keep(tx, &snapshot, &zones, row),
        })
        .min()
}

fn after(tx: &Tx, since: Timestamp, duration_ms: u64) -> Timestamp {
    let scaled = tx.config().scaled_ms(duration_ms);
    since.plus_ms(i64::try_from(scaled).unwrap_or(i64::MAX))
}

/// Those whose record is there succeed, for good.
fn look(zones: &Zones<'_>, validations: &[DomainValidation]) -> Vec<DomainValidation> {
    let found = validations.iter().cloned().map(|mut validation| {
        let by_record = !validation.record_name.is_empty();
        if by_record && validation.status != "SUCCESS" && zones.proves(&validation) {
            validation.status = "SUCCESS".to_owned();
        }
        validation
    });
    found.collect()
}

fn validate(tx: &mut Tx, zones: &Zones<'_>, row: &Certificate) -> Option<Timestamp> {
    let mut validations = look(zones, &row.validations);
    let end = after(tx, row.created_at, VALIDATION_MS);
    let (mut status, mut reason, mut next) = (row.status, None, None);
    if issuance::is_proved(&validations) {
        if !row.names.iter().all(|name| zones.permits(name)) {
            status = CertificateStatus::Failed;
            reason = Some("CAA_ERROR".to_owned());
        }
    } else if end <= tx.now() {
        status = CertificateStatus::ValidationTimedOut;
        for validation in &mut validations {
            if validation.status != "SUCCESS" {
                validation.status = "FAILED".to_owned();
            }
        }
    } else {
        next = Some(end);
    }
    if status != row.status || validations != row.validations {
        tx.update::<Certificate>(&row.scope, &row.arn, |row| {
            row.status = status;
            row.validations = validations;
            row.failure_reason = reason;
        });
    }
    next
}

/// An issued one: renewed in time if somebody needs it, expired otherwise.
fn keep(
    tx: &mut Tx,
    snapshot: &Snapshot,
    zones: &Zones<'_>,
    row: &Certificate,
) -> Option<Timestamp> {
    let now = tx.now();
    let end = row.material.as_ref()?.not_after;
    if end <= now {
        tx.update::<Certificate>(&row.scope, &row.arn, |row| {
            row.status = CertificateStatus::Expired;
            if renewals::is_going_on(row)
                && let Some(renewal) = &mut row.renewal
            {
                renewal.status = RenewalStatus::Failed;
                renewal.updated_at = now;
            }
        });
        return None;
    }
    if let Some(renewal) = row.renewal.as_ref().filter(|_| renewals::is_going_on(row)) {
        renew(tx, zones, row, renewal);
        return Some(end);
    }
    let Some(due) = renewals::due_at(tx.config(), row) else {
        return Some(end);
    };
    let failed = row.renewal.as_ref();
    let failed = failed.filter(|renewal| renewal.status == RenewalStatus::Failed);
    let due = failed.map_or(due, |renewal| {
        due.max(after(tx, renewal.updated_at, RETRY_MS))
    });
    if due > now {
        return Some(due.min(end));
    }
    if renewals::is_eligible(snapshot, row) {
        renewals::begin(tx, &row.scope, &row.arn);
    }
    Some(end)
}

fn renew(tx: &mut Tx, zones: &Zones<'_>, row: &Certificate, renewal: &Renewal) {
    let validations = look(zones, &renewal.validations);
    let (mut status, mut reason) = (RenewalStatus::PendingValidation, None);
    if issuance::is_proved(&validations) {
        status = RenewalStatus::PendingAutoRenewal;
        if !row.names.iter().all(|name| zones.permits(name)) {
            status = RenewalStatus::Failed;
            reason = Some("CAA_ERROR".to_owned());
        }
    }
    if status == renewal.status && validations == renewal.validations {
        return;
    }
    let updated_at = tx.now();
    tx.update::<Certificate>(&row.scope, &row.arn, |row| {
        row.renewal = Some(Renewal {
            status,
            reason,
            validations,
            updated_at,
        });
    });
}

#[cfg(test)]
#[path = "certificate_state_tests.rs"]
mod tests;
