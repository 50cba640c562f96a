use super::*;
use crate::model::acm::fixture::{complete, issued, listener, request, requested, scope};
use crate::model::acm::{domains, find, requests};
use crate::model::route53::fixture as dns;
use fogbank_types::route53::{HostedZone, RecordSet};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn row(tx: &Tx, arn: &str) -> Certificate {
    Certificate::clone(find(tx.snapshot(), &scope(), arn).unwrap())
}

fn publish(tx: &mut Tx, zone: &HostedZone, name: &str) -> RecordSet {
    let (record, value) = domains::record("000000000000", name);
    let mut row = dns::record(&zone.id, &record, "CNAME");
    row.values = vec![value];
    tx.put(row.clone());
    row
}

fn caa(tx: &mut Tx, zone: &HostedZone, value: &str) {
    let mut row = dns::record(&zone.id, &zone.name, "CAA");
    row.values = vec![value.to_owned()];
    tx.put(row);
}

/// Makes what is due, as `crate::issuance` would.
fn issue(tx: &mut Tx) -> usize {
    let due = issuance::due(tx.snapshot());
    due.iter().for_each(|one| complete(tx, one));
    due.len()
}

#[test]
fn a_certificate_is_proved_name_by_name() {
    let mut tx = Tx::for_test();
    let zone = dns::zone(&mut tx, "example.com.");
    let mut wanted = request("example.com");
    wanted.alternative_names = vec!["*.example.com".to_owned(), "www.example.com".to_owned()];
    let arn = requests::request(&mut tx, &scope(), wanted).unwrap().arn;
    assert_eq!(reconcile(&mut tx), Some(tx.now().plus_ms(3 * DAY_MS)));
    assert_eq!(issue(&mut tx), 0);
    publish(&mut tx, &zone, "example.com");
    reconcile(&mut tx);
    let statuses: Vec<String> = row(&tx, &arn)
        .validations
        .into_iter()
        .map(|v| v.status)
        .collect();
    assert_eq!(statuses, ["SUCCESS", "SUCCESS", "PENDING_VALIDATION"]);
    publish(&mut tx, &zone, "www.example.com");
    reconcile(&mut tx);
    assert_eq!(row(&tx, &arn).status, CertificateStatus::PendingValidation);
    assert_eq!(issue(&mut tx), 1);
    assert_eq!(row(&tx, &arn).status, CertificateStatus::Issued);
}

#[test]
fn nobody_waits_longer_than_three_days() {
    let mut tx = Tx::for_test();
    let arn = requested(&mut tx, "example.com").arn;
    tx.advance_ms(3 * DAY_MS - 1);
    assert!(reconcile(&mut tx).is_some());
    assert_eq!(row(&tx, &arn).status, CertificateStatus::PendingValidation);
    tx.advance_ms(1);
    assert_eq!(reconcile(&mut tx), None);
    let timed_out = row(&tx, &arn);
    assert_eq!(timed_out.status, CertificateStatus::ValidationTimedOut);
    assert_eq!(timed_out.validations[0].status, "FAILED");
    // Too late.
    let zone = dns::zone(&mut tx, "example.com.");
    publish(&mut tx, &zone, "example.com");
    reconcile(&mut tx);
    assert_eq!(issue(&mut tx), 0);
}

#[test]
fn mail_is_never_answered() {
    let mut tx = Tx::for_test();
    let mut wanted = request("example.com");
    wanted.validation_method = Some("EMAIL".to_owned());
    let arn = requests::request(&mut tx, &scope(), wanted).unwrap().arn;
    let zone = dns::zone(&mut tx, "example.com.");
    publish(&mut tx, &zone, "example.com");
    reconcile(&mut tx);
    assert_eq!(row(&tx, &arn).validations[0].status, "PENDING_VALIDATION");
}

#[test]
fn a_caa_record_for_others_fails_a_request() {
    let mut tx = Tx::for_test();
    let zone = dns::zone(&mut tx, "example.com.");
    caa(&mut tx, &zone, "0 issue \"letsencrypt.org\"");
    let arn = requested(&mut tx, "example.com").arn;
    publish(&mut tx, &zone, "example.com");
    assert_eq!(reconcile(&mut tx), None);
    let failed = row(&tx, &arn);
    assert_eq!(failed.status, CertificateStatus::Failed);
    assert_eq!(failed.failure_reason.as_deref(), Some("CAA_ERROR"));
    assert_eq!(failed.validations[0].status, "SUCCESS");
    assert_eq!(issue(&mut tx), 0);
}

#[test]
fn a_certificate_in_use_is_renewed_before_it_expires() {
    let mut tx = Tx::for_test();
    let zone = dns::zone(&mut tx, "example.com.");
    publish(&mut tx, &zone, "example.com");
    let first = issued(&mut tx, "example.com");
    listener(&mut tx, &first.arn);
    assert_eq!(reconcile(&mut tx), Some(tx.now().plus_ms(153 * DAY_MS)));
    assert!(row(&tx, &first.arn).renewal.is_none());
    tx.advance_ms(153 * DAY_MS);
    reconcile(&mut tx);
    let renewal = row(&tx, &first.arn).renewal.unwrap();
    assert_eq!(renewal.status, RenewalStatus::PendingAutoRenewal);
    reconcile(&mut tx);
    assert_eq!(issue(&mut tx), 1);
    let renewed = row(&tx, &first.arn);
    assert_eq!(renewed.renewal.unwrap().status, RenewalStatus::Success);
    assert_eq!(renewed.status, CertificateStatus::Issued);
    assert!(renewed.material.unwrap().not_after > first.material.unwrap().not_after);
    assert_eq!(reconcile(&mut tx), Some(tx.now().plus_ms(153 * DAY_MS)));
    assert_eq!(issue(&mut tx), 0);
}

#[test]
fn a_renewal_waits_for_a_record_that_is_gone_until_the_end() {
    let mut tx = Tx::for_test();
    let arn = issued(&mut tx, "example.com").arn;
    listener(&mut tx, &arn);
    tx.advance_ms(160 * DAY_MS);
    reconcile(&mut tx);
    let end = row(&tx, &arn).material.unwrap().not_after;
    assert_eq!(reconcile(&mut tx), Some(end));
    let waiting = row(&tx, &arn).renewal.unwrap();
    assert_eq!(waiting.status, RenewalStatus::PendingValidation);
    assert_eq!(issue(&mut tx), 0);
    tx.advance_ms(38 * DAY_MS);
    assert_eq!(reconcile(&mut tx), None);
    let expired = row(&tx, &arn);
    assert_eq!(expired.status, CertificateStatus::Expired);
    assert_eq!(expired.renewal.unwrap().status, RenewalStatus::Failed);
}

#[test]
fn what_nobody_uses_expires_unrenewed() {
    let mut tx = Tx::for_test();
    let arn = issued(&mut tx, "example.com").arn;
    tx.advance_ms(160 * DAY_MS);
    let end = row(&tx, &arn).material.unwrap().not_after;
    assert_eq!(reconcile(&mut tx), Some(end));
    assert!(row(&tx, &arn).renewal.is_none());
    tx.advance_ms(38 * DAY_MS);
    reconcile(&mut tx);
    assert_eq!(row(&tx, &arn).status, CertificateStatus::Expired);
}

#[test]
fn a_failed_renewal_is_tried_again_the_next_day_and_not_before() {
    let mut tx = Tx::for_test();
    let zone = dns::zone(&mut tx, "example.com.");
    publish(&mut tx, &zone, "example.com");
    let arn = issued(&mut tx, "example.com").arn;
    listener(&mut tx, &arn);
    caa(&mut tx, &zone, "0 issue \";\"");
    tx.advance_ms(160 * DAY_MS);
    reconcile(&mut tx);
    reconcile(&mut tx);
    let failed = row(&tx, &arn).renewal.unwrap();
    assert_eq!(failed.status, RenewalStatus::Failed);
    assert_eq!(failed.reason.as_deref(), Some("CAA_ERROR"));
    assert_eq!(reconcile(&mut tx), Some(tx.now().plus_ms(DAY_MS)));
    caa(&mut tx, &zone, "0 issue \"amazon.com\"");
    tx.advance_ms(DAY_MS);
    reconcile(&mut tx);
    reconcile(&mut tx);
    assert_eq!(issue(&mut tx), 1);
}
