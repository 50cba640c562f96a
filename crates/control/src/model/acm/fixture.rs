//! Certificates for tests. Keys and certificates are `fogbank_pki`'s samples, valid from 2025 to 2036.

use super::imports::Import;
use super::requests::{self, Request};
use super::{find, issuance};
use crate::model::Tx;
use fogbank_pki::Certificate as X509;
use fogbank_types::acm::{Certificate, CertificateMaterial};
use fogbank_types::elb::Listener;
use fogbank_types::{Scope, Tags};

pub fn scope() -> Scope {
    Scope::new("000000000000", "us-east-1")
}

macro_rules! samples {
    ($($name:literal)*) => {
        pub fn sample(name: &str) -> Vec<u8> {
            match name {
                $($name => include_bytes!(concat!("../../../../pki/samples/", $name)).to_vec(),)*
                _ => panic!("{name} is no sample"),
            }
        }
    };
}

samples! {
    "chain_intermediate.crt"
    "chain_leaf.crt"
    "chain_leaf.key"
    "chain_root.crt"
    "ec_prime256v1.crt"
    "ec_prime256v1.sec1.key"
    "ec_secp384r1.crt"
    "ec_secp384r1.pkcs8.key"
    "ec_secp384r1.sec1.key"
    "ec_secp521r1.crt"
    "ec_secp521r1.sec1.key"
    "ed25519.crt"
    "ed25519.key"
    "rsa_1024.crt"
    "rsa_1024.key"
    "rsa_2048.crt"
    "rsa_2048.encrypted.key"
    "rsa_2048.expired.crt"
    "rsa_2048.fewer_usages.crt"
    "rsa_2048.nameless.crt"
    "rsa_2048.other_names.crt"
    "rsa_2048.pkcs1.key"
    "rsa_2048.pkcs8.key"
    "rsa_2048.traditional_encrypted.key"
}

pub fn import() -> Import {
    Import {
        arn: None,
        certificate: sample("rsa_2048.crt"),
        private_key: sample("rsa_2048.pkcs8.key"),
        chain: None,
        tags: Tags::new(),
    }
}

pub fn request(domain_name: &str) -> Request {
    Request {
        domain_name: domain_name.to_owned(),
        validation_method: Some("DNS".to_owned()),
        ..Request::default()
    }
}

pub fn requested(tx: &mut Tx, domain_name: &str) -> Certificate {
    requests::request(tx, &scope(), request(domain_name)).unwrap()
}

/// As if its records had been found.
pub fn prove(tx: &mut Tx, arn: &str) {
    tx.update::<Certificate>(&scope(), arn, |row| {
        for validation in &mut row.validations {
            validation.status = "SUCCESS".to_owned();
        }
    });
}

/// Of the sample, but for its time.
pub fn sample_material(tx: &Tx) -> CertificateMaterial {
    let certificate = X509::read(&sample("rsa_2048.crt")).unwrap().remove(0);
    let (not_before, not_after) = issuance::validity(tx.config(), tx.now());
    CertificateMaterial {
        not_before,
        not_after,
        ..issuance::material(&certificate, None, "a key".to_owned())
    }
}

pub fn issued(tx: &mut Tx, domain_name: &str) -> Certificate {
    let arn = requested(tx, domain_name).arn;
    prove(tx, &arn);
    let due = issuance::due(tx.snapshot());
    let due = due.into_iter().find(|due| due.arn == arn).unwrap();
    complete(tx, &due);
    Certificate::clone(find(tx.snapshot(), &scope(), &arn).unwrap())
}

pub fn complete(tx: &mut Tx, due: &issuance::Due) {
    let material = sample_material(tx);
    issuance::complete(tx, due, &material);
}

/// A listener that shows the certificate.
pub fn listener(tx: &mut Tx, certificate_arn: &str) {
    let load_balancer_arn = scope().arn(
        "elasticloadbalancing",
        "loadbalancer/app/a/0123456789abcdef",
    );
    tx.put(Listener {
        scope: scope(),
        arn: scope().arn("elasticloadbalancing", "listener/app/a/0123456789abcdef/1"),
        load_balancer_arn,
        port: 443,
        protocol: "HTTPS".to_owned(),
        ssl_policy: None,
        certificates: vec![certificate_arn.to_owned()],
        mutual_authentication: None,
        default_actions: Vec::new(),
        attributes: Default::default(),
        created_at: tx.now(),
        tags: Tags::new(),
    });
}
