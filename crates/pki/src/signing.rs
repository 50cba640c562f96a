//! The key that the region's load balancers sign with what they tell targets of a user (`x-amzn-oidc-data`).
//!
//! One for all load balancers of a region, as AWS has it (the token's `signer` says which one it was): PKCS#8 in
//! `<data>/ca`, readable by its owner only, made by whoever asks first. Used by `edge`, which signs, and by `control`,
//! which publishes the public half where AWS does.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html>

use std::path::Path;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

use crate::authority::{AuthorityError, kept};

const KEY: &str = "assertions.pem";

/// ECDSA on P-256 with SHA-256: `ES256`.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    id: String,
    public: String,
    random: SystemRandom,
}

impl std::fmt::Debug for SigningKey {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// The one in `<data>/ca`, made now if there is none.
    pub fn open(data_dir: &Path) -> Result<Self, AuthorityError> {
        let text = kept(&data_dir.join("ca"), KEY, 0o600, || {
            Ok(rcgen::KeyPair::generate()?.serialize_pem())
        })?;
        Self::of(&rcgen::KeyPair::from_pem(&text)?)
    }

    /// One that is kept nowhere.
    pub fn generate() -> Result<Self, AuthorityError> {
        Self::of(&rcgen::KeyPair::generate()?)
    }

    fn of(key: &rcgen::KeyPair) -> Result<Self, AuthorityError> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &key.serialize_der(),
            &random,
        )
        .map_err(|_| AuthorityError::Random)?;
        let public = key.public_key_pem();
        Ok(Self {
            id: id_of(&public),
            public,
            pair,
            random,
        })
    }

    /// `kid`: follows from the key, so that all who hold it agree.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public key in PEM.
    pub fn public_pem(&self) -> &str {
        &self.public
    }

    /// Two numbers of 32 bytes each, as tokens have it (RFC 7518, 3.4). None: the system has no random bytes.
    pub fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let signed = self.pair.sign(&self.random, message).ok()?;
        Some(signed.as_ref().to_vec())
    }
}

/// In the form of a UUID.
fn id_of(public: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, public.as_bytes());
    let digits: String = digest.as_ref()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let part = |from: usize, to: usize| &digits[from..to];
    format!(
        "{}-{}-{}-{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32)
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[test]
    fn all_processes_of_a_region_have_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let first = SigningKey::open(folder.path()).unwrap();
        let second = SigningKey::open(folder.path()).unwrap();
        assert_eq!(first.id(), second.id());
        assert_eq!(first.public_pem(), second.public_pem());
        assert_eq!(first.id().len(), 36);
        let mode = std::fs::metadata(folder.path().join("ca").join(KEY)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        assert_ne!(SigningKey::generate().unwrap().id(), first.id());
    }

    #[test]
    fn the_public_half_verifies() {
        let key = SigningKey::generate().unwrap();
        let signed = key.sign(b"message").unwrap();
        let spki = pem::parse(key.public_pem()).unwrap();
        // The point is the end of the SubjectPublicKeyInfo.
        let point = &spki.contents()[spki.contents().len() - 65..];
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        assert!(public.verify(b"message", &signed).is_ok());
        assert!(public.verify(b"massage", &signed).is_err());
    }
}
