//! The certificates that the doors show, of the region's own authority (`fogbank_pki`).
//!
//! They are made when a name is first asked for (by SNI) and are kept in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fogbank_pki::{Authority, AuthorityError, KeyAlgorithm, KeyError, KeyPair, Leaf};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Clients refuse leaf certificates of more than 398 days.
const LEAF_LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// A leaf this old is made anew.
const LEAF_RENEWAL: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Leaves in memory; guests may ask for any number of names.
const LEAVES_MAX: usize = 256;
/// Shown to clients that name nobody, or somebody who is none of AWS's.
const DEFAULT_NAME: &str = "ec2.us-east-1.amazonaws.com";
/// Only names under these are vouched for.
const DOMAINS: [&str; 3] = ["amazonaws.com", "api.aws", "on.aws"];

#[derive(Debug, Error)]
pub enum LeafError {
    #[error("the region's certificate authority: {0}")]
    Authority(#[from] AuthorityError),
    #[error("making a key: {0}")]
    Key(#[from] KeyError),
    #[error("using a certificate: {0}")]
    Use(#[from] rustls::Error),
}

/// See the module.
pub struct Leaves {
    authority: Authority,
    /// One key for all leaves of this process.
    key: KeyPair,
    /// By the names that they are for.
    made: Mutex<HashMap<Vec<String>, Made>>,
}

struct Made {
    at: SystemTime,
    key: Arc<CertifiedKey>,
}

impl std::fmt::Debug for Leaves {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaves").finish_non_exhaustive()
    }
}

impl Leaves {
    pub fn new(authority: Authority) -> Result<Self, LeafError> {
        Ok(Self {
            authority,
            key: KeyPair::generate(KeyAlgorithm::EcPrime256v1)?,
            made: Mutex::default(),
        })
    }

    /// The certificate for a name, with its key.
    fn leaf(&self, server_name: Option<&str>) -> Result<Arc<CertifiedKey>, LeafError> {
        let names = names(server_name);
        let now = SystemTime::now();
        let mut all = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Made { at, key }) = all.get(&names)
            && now.duration_since(*at).is_ok_and(|age| age < LEAF_RENEWAL)
        {
            return Ok(key.clone());
        }
        if all.len() >= LEAVES_MAX {
            all.clear();
        }
        let key = Arc::new(self.make(&names, now)?);
        let made = Made {
            at: now,
            key: key.clone(),
        };
        all.insert(names, made);
        Ok(key)
    }

    fn make(&self, names: &[String], now: SystemTime) -> Result<CertifiedKey, LeafError> {
        let leaf = Leaf {
            names,
            not_before_ms: epoch_ms(now - DAY),
            not_after_ms: epoch_ms(now + LEAF_LIFE),
            key_encipherment: false,
        };
        let der = self.authority.issue(&leaf, &self.key)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.der()));
        let key = rustls::crypto::ring::sign::any_supported_type(&key)?;
        Ok(CertifiedKey::new(vec![CertificateDer::from(der)], key))
    }
}

fn epoch_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl ResolvesServerCert for Leaves {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.leaf(hello.server_name())
            .inspect_err(|error| tracing::warn!(%error, "no certificate can be shown"))
            .ok()
    }
}

/// The alternative names of the certificate for a server name: all of its domain, as AWS's are, so that there are
/// few certificates.
fn names(server_name: Option<&str>) -> Vec<String> {
    let name = server_name.map(str::to_ascii_lowercase);
    let vouched = name.filter(|name| {
        DOMAINS.iter().any(|domain| {
            name.strip_suffix(domain)
                .and_then(|front| front.strip_suffix('.'))
                .is_some_and(|front| !front.is_empty())
        })
    });
    let name = vouched.unwrap_or_else(|| DEFAULT_NAME.to_owned());
    match name.split_once('.') {
        // Not for all of `amazonaws.com`: clients take no wildcard so wide.
        Some((_, parent)) if !DOMAINS.contains(&parent) => {
            vec![format!("*.{parent}"), parent.to_owned()]
        }
        _ => vec![name],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_aws_are_vouched_for() {
        let of = |name| names(Some(name)).join(" ");
        assert_eq!(
            of("EC2.us-east-1.amazonaws.com"),
            "*.us-east-1.amazonaws.com us-east-1.amazonaws.com"
        );
        assert_eq!(
            of("1.dkr.ecr.us-east-1.amazonaws.com"),
            "*.dkr.ecr.us-east-1.amazonaws.com dkr.ecr.us-east-1.amazonaws.com"
        );
        assert_eq!(of("sts.amazonaws.com"), "sts.amazonaws.com");
        let default = names(None);
        for name in [
            "example.com",
            "amazonaws.com",
            "evilamazonaws.com",
            ".amazonaws.com",
            "x",
        ] {
            assert_eq!(names(Some(name)), default, "{name}");
        }
    }

    #[test]
    fn names_without_end_take_a_bounded_memory() {
        let folder = tempfile::tempdir().unwrap();
        let leaves = Leaves::new(Authority::open(folder.path()).unwrap()).unwrap();
        for n in 0..LEAVES_MAX + 10 {
            let name = format!("a.{n}.amazonaws.com");
            leaves.leaf(Some(&name)).unwrap();
        }
        assert!(leaves.made.lock().unwrap().len() <= LEAVES_MAX);
    }
}
