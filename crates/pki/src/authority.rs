//! The region's own certificate authority.
//!
//! Key and certificate live in `<data>/ca` and last as long as the region's state; whoever trusts the certificate
//! trusts this region alone. Every process that signs opens it for itself. What must stay true: the key is readable by
//! its owner only, and never leaves this host.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;

use crate::certificate::{Certificate, CertificateError};
use crate::key::KeyPair;

const KEY: &str = "key.pem";
const CERTIFICATE: &str = "certificate.pem";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const AUTHORITY_LIFE: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

#[derive(Debug, Error)]
pub enum AuthorityError {
    #[error("the certificate authority's file {path}")]
    File { path: PathBuf, source: io::Error },
    #[error("making a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("reading a certificate: {0}")]
    Read(#[from] CertificateError),
    #[error("the system has no random bytes")]
    Random,
}

/// See the module.
pub struct Authority {
    issuer: Issuer<'static, rcgen::KeyPair>,
    /// In PEM, for those who are to trust it.
    certificate: String,
}

/// What a certificate of the authority is to say.
pub struct Leaf<'a> {
    /// Of hosts, with wildcards as they are; the first is the subject's.
    pub names: &'a [String],
    /// Milliseconds since the epoch.
    pub not_before_ms: i64,
    /// Milliseconds since the epoch.
    pub not_after_ms: i64,
    /// RSA keys may be used for key exchange too, as in TLS 1.2's oldest ciphers.
    pub key_encipherment: bool,
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
        let key = rcgen::KeyPair::from_pem(&kept(&dir, KEY, 0o600, || {
            Ok(rcgen::KeyPair::generate()?.serialize_pem())
        })?)?;
        let params = authority_params(&key);
        let certificate = kept(&dir, CERTIFICATE, 0o644, || {
            Ok(params.self_signed(&key)?.pem())
        })?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
        })
    }

    /// In PEM, for those who are to trust it.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for TLS servers, for that key; in DER.
    pub fn issue(&self, leaf: &Leaf<'_>, key: &KeyPair) -> Result<Vec<u8>, AuthorityError> {
        let mut params = CertificateParams::new(leaf.names)?;
        params.distinguished_name =
            leaf.names
                .first()
                .map_or_else(DistinguishedName::new, |name| {
                    // A common name has 64 characters at most (RFC 5280, appendix A); clients look at the others.
                    let short = leaf.names.iter().find(|name| name.len() <= 64);
                    named(short.unwrap_or(name))
                });
        params.serial_number = Some(serial()?);
        params.not_before = at(leaf.not_before_ms).into();
        params.not_after = at(leaf.not_after_ms).into();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if leaf.key_encipherment {
            params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let made = params.signed_by(&key.pair, &self.issuer)?;
        Ok(made.der().to_vec())
    }

    /// The same, read.
    pub fn issue_certificate(
        &self,
        leaf: &Leaf<'_>,
        key: &KeyPair,
    ) -> Result<Certificate, AuthorityError> {
        Ok(Certificate::from_der(&self.issue(leaf, key)?)?)
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

fn at(ms: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms.max(0).unsigned_abs())
}

/// 127 random bits: two certificates of one issuer never share a number (RFC 5280, 4.1.2.2), even for the same key.
fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| AuthorityError::Random)?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// The same for the same key, so that the certificate in the file stays the issuer of new leaves.
fn authority_params(key: &rcgen::KeyPair) -> CertificateParams {
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
    let common: String = name.chars().take(64).collect();
    names.push(DnType::CommonName, common);
    names
}

/// A file's text; if it is not there, it is made, and whoever makes it first wins.
pub(crate) fn kept(
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
    use crate::key::KeyAlgorithm;

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
    fn a_certificate_says_what_was_asked_and_is_the_authoritys() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path()).unwrap();
        let key = KeyPair::generate(KeyAlgorithm::EcPrime256v1).unwrap();
        let names = ["example.com".to_owned(), "*.example.com".to_owned()];
        let leaf = Leaf {
            names: &names,
            not_before_ms: 1_767_225_600_000,
            not_after_ms: 1_784_332_800_000,
            key_encipherment: false,
        };
        let issued = authority.issue_certificate(&leaf, &key).unwrap();
        let root = &Certificate::read(authority.certificate().as_bytes()).unwrap()[0];
        assert!(issued.is_issued_by(root) && root.is_authority() && root.is_self_signed());
        assert_eq!(issued.dns_names(), names);
        assert_eq!(issued.subject(), "CN=example.com");
        assert!(issued.issuer().starts_with("fogbank region "));
        assert_eq!(issued.not_before_ms(), leaf.not_before_ms);
        assert_eq!(issued.not_after_ms(), leaf.not_after_ms);
        assert_eq!(issued.key_usages(), ["DIGITAL_SIGNATURE"]);
        assert!(!issued.is_authority());
        let again = authority.issue_certificate(&leaf, &key).unwrap();
        assert_ne!(issued.serial(), again.serial());
    }

    #[test]
    fn a_long_first_name_leaves_the_common_name_to_a_shorter_one() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path()).unwrap();
        let key = KeyPair::generate(KeyAlgorithm::EcPrime256v1).unwrap();
        let names = [
            format!("{}.example.com", "a".repeat(60)),
            "b.example.com".to_owned(),
        ];
        let leaf = Leaf {
            names: &names,
            not_before_ms: 0,
            not_after_ms: 1_784_332_800_000,
            key_encipherment: false,
        };
        let issued = authority.issue_certificate(&leaf, &key).unwrap();
        assert_eq!(issued.common_name().as_deref(), Some("b.example.com"));
    }
}
