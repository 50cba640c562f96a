//! A listener's certificates, and which of them a client is shown. Used by `listener`; pure.
//!
//! "If there are multiple matching certificates ... the load balancer selects the best certificate that the
//! client can support": SSL certificates for your Application Load Balancer, ELB guide (fact LST-11).

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, SignatureAlgorithm};
use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::http::table;

#[derive(Debug, Error)]
pub enum CertificateError {
    #[error("its certificates are not PEM")]
    Chain(#[source] rustls::pki_types::pem::Error),
    #[error("it holds no certificate")]
    Empty,
    #[error("its private key is not PEM")]
    Key(#[source] rustls::pki_types::pem::Error),
    #[error("its key cannot be used, or is another certificate's")]
    Unusable(#[source] rustls::Error),
    #[error("its certificate does not parse")]
    Leaf,
}

/// A certificate that can be shown.
pub struct Shown {
    pub arn: String,
    pub key: Arc<CertifiedKey>,
    /// In small letters.
    names: Vec<String>,
    worth: Worth,
    valid_s: (i64, i64),
    /// Suites of the policy that work with its key.
    suites: Vec<CipherSuite>,
}

/// What counts among several, AWS's order but for expiry, which depends on the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Worth {
    hash_bits: usize,
    key_bits: usize,
}

impl Shown {
    pub fn read(
        row: &table::Certificate,
        provider: &CryptoProvider,
    ) -> Result<Self, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(row.chain.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(CertificateError::Chain)?;
        let private_key = PrivateKeyDer::from_pem_slice(row.private_key.as_bytes())
            .map_err(CertificateError::Key)?;
        let leaf = chain.first().ok_or(CertificateError::Empty)?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::Leaf)?;
        let names = names_of(&parsed);
        let validity = parsed.validity();
        let valid_s = (
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        );
        let worth = Worth {
            hash_bits: hash_bits(&parsed.signature_algorithm.algorithm.to_id_string()),
            key_bits: match parsed.public_key().parsed() {
                Ok(PublicKey::RSA(key)) => key.key_size(),
                Ok(PublicKey::EC(point)) => point.key_size(),
                _ => 256,
            },
        };
        let key = CertifiedKey::from_der(chain, private_key, provider)
            .map_err(CertificateError::Unusable)?;
        let algorithm = key.key.algorithm();
        let suites = provider
            .cipher_suites
            .iter()
            .filter(|suite| suite.usable_for_signature_algorithm(algorithm))
            .map(|suite| suite.suite())
            .collect();
        Ok(Self {
            arn: row.id.clone(),
            key: Arc::new(key),
            names,
            worth,
            valid_s,
            suites,
        })
    }

    fn suits(&self, hello: &ClientHello<'_>) -> bool {
        let signs = self.key.key.choose_scheme(hello.signature_schemes());
        let mut suites = self.suites.iter();
        signs.is_some() && suites.any(|suite| hello.cipher_suites().contains(suite))
    }

    /// Greater is better: ECDSA, not expired, the longer hash, the longer key, valid for longer.
    fn rank(&self, now_s: i64) -> (bool, bool, Worth, i64) {
        let (not_before, not_after) = self.valid_s;
        (
            self.key.key.algorithm() != SignatureAlgorithm::RSA,
            (not_before..=not_after).contains(&now_s),
            self.worth,
            not_after,
        )
    }
}

/// Alternative names; a certificate without any is known by its common name.
fn names_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let mut names: Vec<String> = alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    if names.is_empty() {
        let common = certificate.subject().iter_common_name();
        names.extend(common.filter_map(|name| Some(name.as_str().ok()?.to_ascii_lowercase())));
    }
    names
}

/// Of the signature algorithm; 0 for what is no longer trusted.
fn hash_bits(oid: &str) -> usize {
    match oid {
        // RSA with SHA-2, ECDSA with SHA-2.
        "1.2.840.113549.1.1.11" | "1.2.840.10045.4.3.2" => 256,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => 384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" | "1.3.101.112" => 512,
        "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" => 160,
        _ => 0,
    }
}

/// Certificates by name.
#[derive(Default)]
pub struct Names {
    exact: HashMap<String, Vec<usize>>,
    /// By what follows `*.`: a wildcard stands for one label.
    wildcard: HashMap<String, Vec<usize>>,
}

impl Names {
    pub fn of(shown: &[Shown]) -> Self {
        let mut names = Self::default();
        for (place, certificate) in shown.iter().enumerate() {
            for name in &certificate.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut names.wildcard, parent),
                    None => (&mut names.exact, name.as_str()),
                };
                map.entry(name.to_owned()).or_default().push(place);
            }
        }
        names
    }

    /// The place of the one to show; the first is the default.
    pub fn choose(
        &self,
        shown: &[Shown],
        server_name: Option<&str>,
        hello: &ClientHello<'_>,
        now_s: i64,
    ) -> usize {
        let best = |places: Option<&Vec<usize>>| {
            let places = places?.iter().copied();
            places
                .filter(|&place| shown[place].suits(hello))
                // Among equals the first.
                .max_by_key(|&place| (shown[place].rank(now_s), Reverse(place)))
        };
        let wildcard = |name: &str| best(self.wildcard.get(name.split_once('.')?.1));
        server_name
            .and_then(|name| best(self.exact.get(name)).or_else(|| wildcard(name)))
            .unwrap_or(0)
    }
}
