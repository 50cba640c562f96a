use super::*;
use crate::model::acm::fixture::{import as plain, issued, sample, scope};
use crate::model::tx::test_config;
use fogbank_types::Snapshot;
use std::sync::Arc;

fn of(certificate: &str, key: &str, chain: &[&str]) -> Import {
    Import {
        certificate: sample(certificate),
        private_key: sample(key),
        chain: (!chain.is_empty()).then(|| chain.iter().flat_map(|name| sample(name)).collect()),
        ..plain()
    }
}

fn refused(tx: &mut Tx, wanted: &Import) -> String {
    let refused = import(tx, &scope(), wanted).unwrap_err();
    assert!(matches!(refused, Refusal::Validation(_)), "{refused:?}");
    refused.to_string()
}

#[test]
fn an_import_is_issued_at_once_and_says_what_it_is() {
    let mut tx = Tx::for_test();
    let row = import(&mut tx, &scope(), &plain()).unwrap();
    assert_eq!(row.status, CertificateStatus::Issued);
    assert_eq!(row.kind, CertificateKind::Imported);
    assert_eq!(row.domain_name, "www.example.com");
    assert_eq!(row.names, ["www.example.com", "*.api.example.com"]);
    assert_eq!(row.key_algorithm, "RSA_2048");
    assert_eq!(row.imported_at, Some(tx.now()));
    let material = row.material.unwrap();
    assert_eq!(material.issuer, "Example Corp");
    assert_eq!(
        material.key_usages,
        ["DIGITAL_SIGNATURE", "KEY_ENCIPHERMENT"]
    );
    assert_eq!(material.extended_key_usages[2].oid, "1.2.3.4");
    assert!(material.chain.is_none());
}

#[test]
fn every_key_algorithm_and_form_is_taken() {
    let mut tx = Tx::for_test();
    for (certificate, key, algorithm) in [
        ("rsa_1024.crt", "rsa_1024.key", "RSA_1024"),
        ("rsa_2048.crt", "rsa_2048.pkcs1.key", "RSA_2048"),
        (
            "ec_prime256v1.crt",
            "ec_prime256v1.sec1.key",
            "EC_prime256v1",
        ),
        ("ec_secp384r1.crt", "ec_secp384r1.pkcs8.key", "EC_secp384r1"),
        ("ec_secp521r1.crt", "ec_secp521r1.sec1.key", "EC_secp521r1"),
    ] {
        let row = import(&mut tx, &scope(), &of(certificate, key, &[])).unwrap();
        assert_eq!(row.key_algorithm, algorithm);
    }
    let other = refused(&mut tx, &of("ed25519.crt", "ed25519.key", &[]));
    assert!(
        other.starts_with("The private key is not supported."),
        "{other}"
    );
}

#[test]
fn a_chain_goes_upwards_link_by_link() {
    let mut tx = Tx::for_test();
    let chain = |names: &[&str]| of("chain_leaf.crt", "chain_leaf.key", names);
    let whole = ["chain_intermediate.crt", "chain_root.crt"];
    let row = import(&mut tx, &scope(), &chain(&whole)).unwrap();
    let kept = row.material.unwrap().chain.unwrap();
    assert_eq!(kept.matches("BEGIN CERTIFICATE").count(), 2);
    // The root may be left out.
    import(&mut tx, &scope(), &chain(&whole[..1])).unwrap();
    for broken in [
        &["chain_root.crt", "chain_intermediate.crt"][..],
        &["chain_root.crt"],
        &["rsa_2048.crt"],
        &["chain_leaf.crt", "chain_intermediate.crt"],
    ] {
        assert_eq!(
            refused(&mut tx, &chain(broken)),
            "Could not validate the certificate with the certificate chain.",
            "{broken:?}"
        );
    }
    let alone = refused(&mut tx, &chain(&[]));
    assert!(alone.starts_with("Provided certificate is not a valid self signed."));
    let garbage = Import {
        chain: Some(b"garbage".to_vec()),
        ..chain(&[])
    };
    assert!(refused(&mut tx, &garbage).contains("not in a valid PEM format"));
}

#[test]
fn what_is_no_certificate_is_told() {
    let mut tx = Tx::for_test();
    let with = |text: Vec<u8>| Import {
        certificate: text,
        ..plain()
    };
    assert!(refused(&mut tx, &with(b"x".to_vec())).contains("not in a valid PEM format"));
    let key = with(sample("rsa_2048.pkcs8.key"));
    assert!(refused(&mut tx, &key).starts_with("Unable to parse certificate."));
    let two = with([sample("rsa_2048.crt"), sample("rsa_1024.crt")].concat());
    assert!(refused(&mut tx, &two).contains("more than one certificate"));
    let nameless = of("rsa_2048.nameless.crt", "rsa_2048.pkcs8.key", &[]);
    assert!(refused(&mut tx, &nameless).contains("fully qualified domain name"));
}

#[test]
fn only_what_is_valid_now_is_taken() {
    let mut tx = Tx::for_test();
    let old = of("rsa_2048.expired.crt", "rsa_2048.pkcs8.key", &[]);
    assert_eq!(refused(&mut tx, &old), "The certificate has expired.");
    let early = Timestamp(1_600_000_000_000);
    let mut tx = Tx::new(Snapshot::default(), early, 1, Arc::new(test_config()));
    assert_eq!(
        refused(&mut tx, &plain()),
        "The certificate is not yet valid."
    );
}

#[test]
fn the_key_must_be_plain_and_the_certificates() {
    let mut tx = Tx::for_test();
    let with = |key: &str| of("rsa_2048.crt", key, &[]);
    for name in [
        "rsa_2048.encrypted.key",
        "rsa_2048.traditional_encrypted.key",
    ] {
        let text = refused(&mut tx, &with(name));
        assert!(text.starts_with("The private key is encrypted."), "{text}");
    }
    for name in ["rsa_1024.key", "ec_prime256v1.sec1.key"] {
        let text = refused(&mut tx, &with(name));
        assert_eq!(text, "The private key does not match the certificate.");
    }
    let text = refused(&mut tx, &with("rsa_2048.crt"));
    assert_eq!(
        text,
        "The private key provided is not in a valid PEM format."
    );
    assert!(!format!("{:?}", plain()).contains("PRIVATE"));
}

#[test]
fn imported_again_it_keeps_its_arn_and_its_kind_of_key() {
    let mut tx = Tx::for_test();
    let first = import(&mut tx, &scope(), &plain()).unwrap();
    tx.advance_ms(1000);
    let again = |certificate: &str, key: &str| Import {
        arn: Some(first.arn.clone()),
        ..of(certificate, key, &[])
    };
    let second = import(
        &mut tx,
        &scope(),
        &again("rsa_2048.other_names.crt", "rsa_2048.pkcs8.key"),
    )
    .unwrap();
    assert_eq!(second.arn, first.arn);
    assert_eq!(second.names, ["other.example.com"]);
    assert_eq!(second.created_at, first.created_at);
    assert_eq!(second.imported_at, Some(tx.now()));
    assert_eq!(tx.snapshot().certificates.len(), 1);
    let other = refused(&mut tx, &again("rsa_1024.crt", "rsa_1024.key"));
    assert!(other.contains("key type and size"), "{other}");
    let fewer = again("rsa_2048.fewer_usages.crt", "rsa_2048.pkcs8.key");
    assert!(refused(&mut tx, &fewer).contains("Key usages"));
    let tagged = Import {
        tags: [("a".to_owned(), "b".to_owned())].into(),
        ..again("rsa_2048.other_names.crt", "rsa_2048.pkcs8.key")
    };
    assert_eq!(
        refused(&mut tx, &tagged),
        "Tagging is not permitted on re-import."
    );
    let unknown = Import {
        arn: Some("arn:aws:acm:us-east-1:000000000000:certificate/x".to_owned()),
        ..plain()
    };
    let missing = import(&mut tx, &scope(), &unknown);
    assert!(matches!(missing, Err(Refusal::NotFound(_))));
    let requested = Import {
        arn: Some(issued(&mut tx, "example.com").arn),
        ..plain()
    };
    assert!(refused(&mut tx, &requested).contains("was not imported"));
}

#[test]
fn imports_are_limited() {
    let mut config = test_config();
    config.quotas.insert("L-D2CB7DE9".to_owned(), 1);
    let now = Tx::for_test().now();
    let mut tx = Tx::new(Snapshot::default(), now, 1, Arc::new(config));
    issued(&mut tx, "example.com");
    import(&mut tx, &scope(), &plain()).unwrap();
    let refused = import(&mut tx, &scope(), &plain());
    assert!(matches!(refused, Err(Refusal::LimitExceeded(_))));
}
