//! Certificates of the region's own authority, made when a name is first asked for and kept in memory, ready for rustls.
//!
//! Used by the endpoint of the API and by the doors to AWS's services inside the network.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;

use crate::{Authority, AuthorityError, KeyAlgorithm, KeyError, KeyPair, Leaf};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Clients refuse leaf certificates of more than 398 days.
const LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// One this old is made anew.
const RENEWAL: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// In memory; clients may ask for any number of names.
const MAX: usize = 256;

#[derive(Debug, Error)]
pub enum LeafError {
    #[error("the region's certificate authority: {0}")]
    Authority(#[from] AuthorityError),
    #[error("making a key: {0}")]
    Key(#[from] KeyError),
    #[error("using a certificate: {0}")]
    Use(#[from] rustls::Error),
}

/// When a leaf was made, and the leaf.
type Made = (SystemTime, Arc<CertifiedKey>);

/// See the module.
pub struct Leaves {
    authority: Authority,
    /// One key for all leaves of this process.
    key: KeyPair,
    /// By the names that they are for.
    made: Mutex<HashMap<Vec<String>, Made>>,
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

    /// The certificate for those names and addresses, with its key. Whether they are to be vouched for is the caller's
    /// to know.
    pub fn leaf(&self, names: Vec<String>) -> Result<Arc<CertifiedKey>, LeafError> {
        let now = SystemTime::now();
        let mut all = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, key)) = all.get(&names)
            && now.duration_since(*at).is_ok_and(|age| age < RENEWAL)
        {
            return Ok(key.clone());
        }
        if all.len() >= MAX {
            all.clear();
        }
        let key = Arc::new(self.make(&names, now)?);
        all.insert(names, (now, key.clone()));
        Ok(key)
    }

    fn make(&self, names: &[String], now: SystemTime) -> Result<CertifiedKey, LeafError> {
        let leaf = Leaf {
            names,
            not_before_ms: epoch_ms(now - DAY),
            not_after_ms: epoch_ms(now + LIFE),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_once_and_names_without_end_take_a_bounded_memory() {
        let folder = tempfile::tempdir().unwrap();
        let leaves = Leaves::new(Authority::open(folder.path()).unwrap()).unwrap();
        let names = |n: usize| vec![format!("a.{n}.test")];
        let first = leaves.leaf(names(0)).unwrap();
        assert!(Arc::ptr_eq(&first, &leaves.leaf(names(0)).unwrap()));
        for n in 0..MAX + 10 {
            leaves.leaf(names(n)).unwrap();
        }
        assert!(leaves.made.lock().unwrap().len() <= MAX);
    }
}
