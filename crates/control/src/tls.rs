//! TLS of the endpoint: by a certificate of the region's own authority, for whatever name or address a client has come to,
//! or by the one that the operator gave, which is read anew when its file changes.
//!
//! Called by `server` for each connection. What must stay true: a file that cannot be used leaves the certificate that was
//! used before in use; private keys are in no log and no error.

use fogbank_pki::{Authority, LeafError, Leaves};
use fogbank_types::{EndpointTls, RegionConfig};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio_rustls::TlsAcceptor;

/// Addresses of this host that clients have come to.
const ADDRESSES_MAX: usize = 64;
/// How often files are looked at, while somebody connects.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(transparent)]
    Leaf(#[from] LeafError),
    #[error("cannot read {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path} is not what it should be: {what}")]
    Malformed { path: PathBuf, what: String },
    #[error("using a certificate: {0}")]
    Use(#[from] rustls::Error),
}

/// See the module.
pub struct Tls {
    source: Arc<dyn Source>,
    /// By the address that clients have come to.
    acceptors: Mutex<HashMap<IpAddr, TlsAcceptor>>,
}

/// Where certificates come from.
trait Source: Send + Sync {
    fn certificate(
        &self,
        server_name: Option<&str>,
        address: IpAddr,
    ) -> Result<Arc<CertifiedKey>, TlsError>;
}

impl Tls {
    /// `None`: the endpoint speaks without TLS.
    pub fn open(config: &RegionConfig) -> Result<Option<Self>, TlsError> {
        let source: Arc<dyn Source> = match &config.tls {
            None => return Ok(None),
            Some(EndpointTls::Authority) => {
                let authority = Authority::open(&config.data_dir).map_err(LeafError::from)?;
                Arc::new(Own {
                    leaves: Leaves::new(authority)?,
                    host: config.host.clone(),
                })
            }
            Some(EndpointTls::Files { certificate, key }) => {
                Arc::new(Files::open(certificate, key)?)
            }
        };
        Ok(Some(Self {
            source,
            acceptors: Mutex::default(),
        }))
    }

    /// For a connection to that address of ours.
    pub fn acceptor(&self, address: IpAddr) -> Result<TlsAcceptor, TlsError> {
        let mut all = self
            .acceptors
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(acceptor) = all.get(&address) {
            return Ok(acceptor.clone());
        }
        if all.len() >= ADDRESSES_MAX {
            all.clear();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(At {
                source: self.source.clone(),
                address,
            }));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        all.insert(address, acceptor.clone());
        Ok(acceptor)
    }
}

struct At {
    source: Arc<dyn Source>,
    address: IpAddr,
}

impl std::fmt::Debug for At {
    /// Without keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("At").field(&self.address).finish()
    }
}

impl ResolvesServerCert for At {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.source
            .certificate(hello.server_name(), self.address)
            .inspect_err(|error| tracing::warn!(%error, "no certificate can be shown"))
            .ok()
    }
}

/// Of the region's own authority.
struct Own {
    leaves: Leaves,
    host: String,
}

impl Source for Own {
    fn certificate(
        &self,
        server_name: Option<&str>,
        address: IpAddr,
    ) -> Result<Arc<CertifiedKey>, TlsError> {
        let mut names = vec!["localhost".to_owned(), address.to_string()];
        // A host's name need not be a name of DNS.
        let is_name = |name: &str| {
            let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
            !name.is_empty() && name.bytes().all(good)
        };
        for name in [Some(self.host.as_str()), server_name]
            .into_iter()
            .flatten()
        {
            let name = name.to_ascii_lowercase();
            if is_name(&name) && !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(self.leaves.leaf(names)?)
    }
}

/// Of the operator.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    state: Mutex<Read>,
}

struct Read {
    looked_at: Instant,
    /// When the files were changed, as far as it was known when they were read.
    stamps: [Option<SystemTime>; 2],
    used: Arc<CertifiedKey>,
}

impl Files {
    fn open(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self {
            state: Mutex::new(Read {
                looked_at: Instant::now(),
                stamps: [certificate, key].map(changed_at),
                used: Arc::new(read(certificate, key)?),
            }),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        })
    }
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|found| found.modified())
        .ok()
}

impl Source for Files {
    fn certificate(
        &self,
        _server_name: Option<&str>,
        _address: IpAddr,
    ) -> Result<Arc<CertifiedKey>, TlsError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked_at.elapsed() < LOOK {
            return Ok(state.used.clone());
        }
        state.looked_at = Instant::now();
        let stamps = [&self.certificate, &self.key].map(|path| changed_at(path));
        if stamps != state.stamps {
            // Whoever writes the two may be between them: the next look will find both.
            match read(&self.certificate, &self.key) {
                Ok(fresh) => {
                    tracing::info!(certificate = %self.certificate.display(), "the endpoint has a new certificate");
                    state.used = Arc::new(fresh);
                    state.stamps = stamps;
                }
                Err(error) => tracing::warn!(%error, "the endpoint keeps its old certificate"),
            }
        }
        Ok(state.used.clone())
    }
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let malformed = |path: &Path, what: &str| TlsError::Malformed {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    let blocks = |path: &Path| {
        let text = std::fs::read(path).map_err(|source| TlsError::File {
            path: path.to_owned(),
            source,
        })?;
        pem::parse_many(text).map_err(|_| malformed(path, "no PEM"))
    };
    let chain: Vec<CertificateDer<'static>> = blocks(certificate)?
        .into_iter()
        .filter(|block| block.tag() == "CERTIFICATE")
        .map(|block| CertificateDer::from(block.into_contents()))
        .collect();
    if chain.is_empty() {
        return Err(malformed(certificate, "no certificate"));
    }
    let keys = blocks(key)?.into_iter();
    let mut keys = keys.filter_map(|block| {
        let tag = block.tag().to_owned();
        let bytes = block.into_contents();
        match tag.as_str() {
            "PRIVATE KEY" => Some(PrivateKeyDer::Pkcs8(bytes.into())),
            "EC PRIVATE KEY" => Some(PrivateKeyDer::Sec1(bytes.into())),
            "RSA PRIVATE KEY" => Some(PrivateKeyDer::Pkcs1(bytes.into())),
            _ => None,
        }
    });
    let der = keys
        .next()
        .ok_or_else(|| malformed(key, "no private key"))?;
    let signer = rustls::crypto::ring::sign::any_supported_type(&der)?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        // What cannot be compared may still fit.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(certified)
        }
        Err(_) => Err(malformed(key, "not the key of the certificate")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn write_pair(dir: &Path, name: &str) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        std::fs::write(dir.join("crt"), made.cert.pem()).unwrap();
        std::fs::write(dir.join("key"), made.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn files_are_read_anew_when_they_change_and_bad_ones_are_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let (crt, key) = (dir.path().join("crt"), dir.path().join("key"));
        write_pair(dir.path(), "one.test");
        let files = Files::open(&crt, &key).unwrap();
        let shown = || files.certificate(None, HERE).unwrap().cert[0].clone();
        let look_again = || {
            let mut state = files.state.lock().unwrap();
            state.looked_at = Instant::now().checked_sub(LOOK).unwrap();
            // Files may change twice within what a clock of files can tell.
            state.stamps = [None, None];
        };
        let first = shown();
        std::fs::write(&crt, "none").unwrap();
        look_again();
        assert_eq!(shown(), first);
        write_pair(dir.path(), "two.test");
        look_again();
        assert_ne!(shown(), first);
        assert!(matches!(
            Files::open(&key, &key),
            Err(TlsError::Malformed { .. })
        ));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_pair(one.path(), "one.test");
        write_pair(two.path(), "two.test");
        let mixed = Files::open(&one.path().join("crt"), &two.path().join("key"));
        assert!(matches!(mixed, Err(TlsError::Malformed { .. })));
    }
}
