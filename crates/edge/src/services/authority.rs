//! The region's own certificate authority, and the certificates that the doors show.
//!
//! Key and certificate live in `<data>/ca` and last as long as the region's state; whoever trusts the certificate
//! trusts this region alone. Leaf certificates are made when a name is first asked for (by SNI) and are kept in
//! memory. What must stay true: the key is readable by its owner only, and never leaves this host.

use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;

const KEY: &str = "key.pem";
const CERTIFICATE: &str = "certificate.pem";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const AUTHORITY_LIFE: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
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
pub enum AuthorityError {
    #[error("the certificate authority's file {path}")]
    File { path: PathBuf, source: io::Error },
    #[error("making a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("using a certificate: {0}")]
    Use(#[from] rustls::Error),
}

/// See the module.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// In PEM, for those who are to trust it.
    certificate: String,
    /// One key for all leaves of this process.
    leaf_key: KeyPair,
    /// By the names that they are for.
    leaves: Mutex<HashMap<Vec<String>, Leaf>>,
}

struct Leaf {
    made: SystemTime,
    key: Arc<CertifiedKey>,
}

impl std::fmt::Debug for Authority {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// The one in `<data>/ca`, made now if there is none.
    pub fn open(data_dir: &Path) -> Result<Self, AuthorityError> {
        let dir = data_dir.join("ca");
        let key = KeyPair::from_pem(&kept(&dir, KEY, 0o600, || {
            Ok(KeyPair::generate()?.serialize_pem())
        })?)?;
        let params = authority_params(&key);
        let certificate = kept(&dir, CERTIFICATE, 0o644, || {
            Ok(params.self_signed(&key)?.pem())
        })?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
            leaf_key: KeyPair::generate()?,
            leaves: Mutex::default(),
        })
    }

    /// The certificate for a name, with its key.
    fn leaf(&self, server_name: Option<&str>) -> Result<Arc<CertifiedKey>, AuthorityError> {
        let names = names(server_name);
        let now = SystemTime::now();
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Leaf { made, key }) = leaves.get(&names)
            && now
                .duration_since(*made)
                .is_ok_and(|age| age < LEAF_RENEWAL)
        {
            return Ok(key.clone());
        }
        if leaves.len() >= LEAVES_MAX {
            leaves.clear();
        }
        let key = Arc::new(self.make_leaf(&names, now)?);
        let leaf = Leaf {
            made: now,
            key: key.clone(),
        };
        leaves.insert(names, leaf);
        Ok(key)
    }

    fn make_leaf(&self, names: &[String], now: SystemTime) -> Result<CertifiedKey, AuthorityError> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = named(&names[0]);
        params.not_before = (now - DAY).into();
        params.not_after = (now + LEAF_LIFE).into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&self.leaf_key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let key = rustls::crypto::ring::sign::any_supported_type(&key)?;
        let chain: Vec<CertificateDer<'static>> = vec![leaf.der().clone()];
        Ok(CertifiedKey::new(chain, key))
    }
}

/// The certificate of the authority in `<data>/ca`, in PEM; the authority is made if there is none.
pub fn certificate(data_dir: &Path) -> Result<String, AuthorityError> {
    let path = data_dir.join("ca").join(CERTIFICATE);
    match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(Authority::open(data_dir)?.certificate)
        }
        read => read.map_err(|source| AuthorityError::File { path, source }),
    }
}

impl ResolvesServerCert for Authority {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.leaf(hello.server_name())
            .inspect_err(|error| tracing::warn!(%error, "no certificate can be shown"))
            .ok()
    }
}

/// The same for the same key, so that the certificate in the file stays the issuer of new leaves.
fn authority_params(key: &KeyPair) -> CertificateParams {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    let id = params.key_identifier(key);
    let id: String = id
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    params.distinguished_name = named(&format!("fogbank region {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (now - DAY).into();
    params.not_after = (now + AUTHORITY_LIFE).into();
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    // A common name has 64 characters at most (RFC 5280, appendix A); clients look at the alternative names.
    let common: String = name.chars().take(64).collect();
    names.push(DnType::CommonName, common);
    names
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

/// A file's text; if it is not there, it is made, and whoever makes it first wins.
fn kept(
    dir: &Path,
    name: &str,
    mode: u32,
    make: impl FnOnce() -> Result<String, AuthorityError>,
) -> Result<String, AuthorityError> {
    let path = dir.join(name);
    let failed = |source| AuthorityError::File {
        path: path.clone(),
        source,
    };
    match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read.map_err(failed),
    }
    let text = make()?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(dir)
        .map_err(failed)?;
    // Whole or not at all: written beside it, then linked, which fails if there is one by now.
    let draft = dir.join(format!("{name}.{}", std::process::id()));
    let _ = std::fs::remove_file(&draft);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        match std::fs::hard_link(&draft, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }?;
        File::open(dir)?.sync_all()
    };
    let written = write();
    let _ = std::fs::remove_file(&draft);
    written.map_err(failed)?;
    std::fs::read_to_string(&path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_authority_is_the_same_after_a_restart_and_its_key_is_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let first = Authority::open(folder.path()).unwrap();
        let second = Authority::open(folder.path()).unwrap();
        assert_eq!(first.certificate, second.certificate);
        let mode = std::fs::metadata(folder.path().join("ca/key.pem")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        let files = std::fs::read_dir(folder.path().join("ca")).unwrap().count();
        assert_eq!(files, 2, "no drafts are left");
    }

    #[test]
    fn a_damaged_key_is_told_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("ca")).unwrap();
        let path = folder.path().join("ca/key.pem");
        std::fs::write(&path, "not a key").unwrap();
        assert!(Authority::open(folder.path()).is_err());
        assert_eq!(std::fs::read_to_string(path).unwrap(), "not a key");
    }

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
        let authority = Authority::open(folder.path()).unwrap();
        for n in 0..LEAVES_MAX + 10 {
            let name = format!("a.{n}.amazonaws.com");
            authority.leaf(Some(&name)).unwrap();
        }
        assert!(authority.leaves.lock().unwrap().len() <= LEAVES_MAX);
    }
}
