use super::*;
use crate::model::acm::fixture::{import, issued, request as plain, scope};
use crate::model::acm::imports;
use crate::model::tx::test_config;
use fogbank_types::Snapshot;
use std::sync::Arc;

fn make(tx: &mut Tx, change: impl FnOnce(&mut Request)) -> Result<Certificate, Refusal> {
    let mut wanted = plain("example.com");
    change(&mut wanted);
    request(tx, &scope(), wanted)
}

#[test]
fn a_request_waits_for_the_records_of_all_its_names() {
    let mut tx = Tx::for_test();
    let row = make(&mut tx, |r| {
        r.alternative_names = vec!["*.example.com".to_owned(), "example.org".to_owned()];
    })
    .unwrap();
    assert_eq!(row.status, CertificateStatus::PendingValidation);
    assert!(
        row.arn
            .starts_with("arn:aws:acm:us-east-1:000000000000:certificate/")
    );
    assert_eq!(row.names, ["example.com", "*.example.com", "example.org"]);
    assert_eq!(
        (row.key_algorithm.as_str(), row.export.as_deref()),
        ("RSA_2048", Some("DISABLED"))
    );
    assert!(row.transparency_logging);
    let [apex, wildcard, other] = &row.validations[..] else {
        panic!("three names")
    };
    assert_eq!(apex.record_name, wildcard.record_name);
    assert_ne!(apex.record_value, other.record_value);
    assert!(row.material.is_none());
}

#[test]
fn without_a_method_mail_is_asked_for() {
    let mut tx = Tx::for_test();
    let row = make(&mut tx, |r| {
        r.domain_name = "www.example.com".to_owned();
        r.validation_method = None;
        r.validation_domains = vec![("www.example.com".to_owned(), "Example.com".to_owned())];
    })
    .unwrap();
    assert_eq!(row.validation_method.as_deref(), Some("EMAIL"));
    let asked = row.validations[0].validation_domain.as_deref();
    assert_eq!(asked, Some("example.com"));
    for (name, domain) in [("www.example.com", "example.org"), ("a.b", "b")] {
        let refused = make(&mut tx, |r| {
            r.domain_name = "www.example.com".to_owned();
            r.validation_domains = vec![(name.to_owned(), domain.to_owned())];
        });
        assert!(
            matches!(refused, Err(Refusal::InvalidDomainValidationOptions(_))),
            "{name} {domain}"
        );
    }
}

#[test]
fn a_token_names_one_request_for_an_hour() {
    let mut tx = Tx::for_test();
    let with = |tx: &mut Tx, domain: &str| {
        make(tx, |r| {
            r.domain_name = domain.to_owned();
            r.idempotency_token = Some("token".to_owned());
        })
        .unwrap()
        .arn
    };
    let first = with(&mut tx, "example.com");
    assert_eq!(with(&mut tx, "example.com"), first);
    assert_ne!(with(&mut tx, "example.org"), first);
    tx.advance_ms(3_600_000);
    assert_ne!(with(&mut tx, "example.com"), first);
    let none = make(&mut tx, |_| ()).unwrap().arn;
    assert_ne!(make(&mut tx, |_| ()).unwrap().arn, none);
}

#[test]
fn key_algorithms_of_public_certificates_are_three() {
    let mut tx = Tx::for_test();
    for (name, taken) in [
        ("RSA_2048", true),
        ("EC_prime256v1", true),
        ("EC_secp384r1", true),
        ("RSA_1024", false),
        ("RSA_4096", false),
        ("EC_secp521r1", false),
    ] {
        let row = make(&mut tx, |r| r.key_algorithm = Some(name.to_owned()));
        assert_eq!(row.is_ok(), taken, "{name}");
    }
}

#[test]
fn names_and_certificates_are_limited() {
    let mut tx = Tx::for_test();
    let others = |count: usize| (0..count).map(|n| format!("{n}.example.com")).collect();
    assert!(make(&mut tx, |r| r.alternative_names = others(9)).is_ok());
    let refused = make(&mut tx, |r| r.alternative_names = others(10)).unwrap_err();
    assert_eq!(refused.to_string(), "Certificate has too many domains.");
    let mut config = test_config();
    config.quotas.insert("L-F141DD1D".to_owned(), 1);
    let mut tx = Tx::new(Snapshot::default(), tx.now(), 1, Arc::new(config));
    imports::import(&mut tx, &scope(), &import()).unwrap();
    make(&mut tx, |_| ()).unwrap();
    let refused = make(&mut tx, |_| ());
    assert!(matches!(refused, Err(Refusal::LimitExceeded(_))));
}

#[test]
fn options_change_while_a_certificate_lives() {
    let mut tx = Tx::for_test();
    let arn = issued(&mut tx, "example.com").arn;
    let export = Some("ENABLED".to_owned());
    update_options(&mut tx, &scope(), &arn, Some(false), export).unwrap();
    update_options(&mut tx, &scope(), &arn, None, None).unwrap();
    let row = find(tx.snapshot(), &scope(), &arn).unwrap();
    assert!(!row.transparency_logging);
    assert_eq!(row.export.as_deref(), Some("ENABLED"));
    tx.update::<Certificate>(&scope(), &arn, |row| {
        row.status = CertificateStatus::Expired
    });
    let late = update_options(&mut tx, &scope(), &arn, Some(true), None);
    assert!(matches!(late, Err(Refusal::InvalidState(_))));
    let imported = imports::import(&mut tx, &scope(), &import()).unwrap().arn;
    let never = update_options(&mut tx, &scope(), &imported, Some(true), None);
    assert!(matches!(never, Err(Refusal::InvalidState(_))));
}

#[test]
fn another_mail_is_for_those_who_wait_for_one() {
    let mut tx = Tx::for_test();
    let mail = make(&mut tx, |r| r.validation_method = Some("EMAIL".to_owned()));
    let (mail, dns) = (mail.unwrap().arn, make(&mut tx, |_| ()).unwrap().arn);
    let resend = |arn: &str, domain: &str, of: &str| resend_email(&tx, &scope(), arn, domain, of);
    resend(&mail, "example.com", "example.com").unwrap();
    let other = resend(&mail, "example.com", "example.org");
    assert!(matches!(
        other,
        Err(Refusal::InvalidDomainValidationOptions(_))
    ));
    let stranger = resend(&mail, "example.org", "example.org");
    assert!(matches!(
        stranger,
        Err(Refusal::InvalidDomainValidationOptions(_))
    ));
    let silent = resend(&dns, "example.com", "example.com");
    assert!(matches!(silent, Err(Refusal::InvalidState(_))));
}
