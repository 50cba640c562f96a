//! Key pairs: made, read from what a caller sends, and given out encrypted.

use crate::certificate::Certificate;
use der::asn1::ObjectIdentifier;
use der::{Decode, Encode};
use pkcs8::{AlgorithmIdentifierRef, PrivateKeyInfo};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
};
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use rsa::traits::PublicKeyParts;
use thiserror::Error;

pub(crate) const EC_PUBLIC_KEY: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(crate) const RSA_ENCRYPTION: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const SECP521R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// Rounds of PBKDF2 for an exported key: what its passphrase is worth against guessing.
const PBKDF2_ROUNDS: u32 = 100_000;

/// The key algorithms that Certificate Manager knows.
/// <https://docs.aws.amazon.com/acm/latest/userguide/acm-certificate-characteristics.html#algorithms>
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    Rsa1024,
    Rsa2048,
    Rsa3072,
    Rsa4096,
    EcPrime256v1,
    EcSecp384r1,
    EcSecp521r1,
}

impl KeyAlgorithm {
    pub const ALL: [KeyAlgorithm; 7] = [
        KeyAlgorithm::Rsa1024,
        KeyAlgorithm::Rsa2048,
        KeyAlgorithm::Rsa3072,
        KeyAlgorithm::Rsa4096,
        KeyAlgorithm::EcPrime256v1,
        KeyAlgorithm::EcSecp384r1,
        KeyAlgorithm::EcSecp521r1,
    ];

    /// AWS's name for it.
    pub fn name(self) -> &'static str {
        match self {
            KeyAlgorithm::Rsa1024 => "RSA_1024",
            KeyAlgorithm::Rsa2048 => "RSA_2048",
            KeyAlgorithm::Rsa3072 => "RSA_3072",
            KeyAlgorithm::Rsa4096 => "RSA_4096",
            KeyAlgorithm::EcPrime256v1 => "EC_prime256v1",
            KeyAlgorithm::EcSecp384r1 => "EC_secp384r1",
            KeyAlgorithm::EcSecp521r1 => "EC_secp521r1",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }

    pub(crate) fn of_rsa_bits(bits: usize) -> Option<Self> {
        match bits {
            1024 => Some(KeyAlgorithm::Rsa1024),
            2048 => Some(KeyAlgorithm::Rsa2048),
            3072 => Some(KeyAlgorithm::Rsa3072),
            4096 => Some(KeyAlgorithm::Rsa4096),
            _ => None,
        }
    }

    pub(crate) fn of_curve(curve: ObjectIdentifier) -> Option<Self> {
        match curve {
            PRIME256V1 => Some(KeyAlgorithm::EcPrime256v1),
            SECP384R1 => Some(KeyAlgorithm::EcSecp384r1),
            SECP521R1 => Some(KeyAlgorithm::EcSecp521r1),
            _ => None,
        }
    }

    fn curve(self) -> Option<(ObjectIdentifier, usize)> {
        match self {
            KeyAlgorithm::EcPrime256v1 => Some((PRIME256V1, 32)),
            KeyAlgorithm::EcSecp384r1 => Some((SECP384R1, 48)),
            KeyAlgorithm::EcSecp521r1 => Some((SECP521R1, 66)),
            _ => None,
        }
    }
}

/// Why a private key is not taken. None of the texts holds any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    #[error("the private key is not one block of PEM")]
    NotPem,
    #[error("the private key is encrypted")]
    Encrypted,
    #[error("the private key is damaged, or of an algorithm or size that is not supported")]
    Unsupported,
    #[error("the private key is not the certificate's")]
    Mismatch,
    #[error("the key could not be made")]
    Make,
    #[error("the key could not be encrypted")]
    Encrypt,
}

/// A key that the region made.
pub struct KeyPair {
    pub(crate) pair: rcgen::KeyPair,
}

impl std::fmt::Debug for KeyPair {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair").finish_non_exhaustive()
    }
}

impl KeyPair {
    /// A new one. RSA takes a good part of a second: not for a thread that serves.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, KeyError> {
        let pair = match algorithm {
            KeyAlgorithm::Rsa1024 => rsa(1024)?,
            KeyAlgorithm::Rsa2048 => rsa(2048)?,
            KeyAlgorithm::Rsa3072 => rsa(3072)?,
            KeyAlgorithm::Rsa4096 => rsa(4096)?,
            KeyAlgorithm::EcPrime256v1 => {
                rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
                    .map_err(|_| KeyError::Make)?
            }
            KeyAlgorithm::EcSecp384r1 => {
                rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384)
                    .map_err(|_| KeyError::Make)?
            }
            KeyAlgorithm::EcSecp521r1 => return Err(KeyError::Unsupported),
        };
        Ok(Self { pair })
    }

    /// PKCS#8.
    pub fn der(&self) -> Vec<u8> {
        self.pair.serialize_der()
    }

    /// PKCS#8 in PEM.
    pub fn pem(&self) -> String {
        private_pem(&self.pair.serialize_der())
    }
}

fn rsa(bits: usize) -> Result<rcgen::KeyPair, KeyError> {
    // Signatures are ring's: of `rsa` only the making and the reading of keys is used (decision 13).
    let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits);
    let der = key
        .ok()
        .and_then(|key| key.to_pkcs8_der().ok())
        .ok_or(KeyError::Make)?;
    rcgen::KeyPair::try_from(der.as_bytes()).map_err(|_| KeyError::Make)
}

pub(crate) fn pem_of(label: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), config)
}

fn private_pem(pkcs8: &[u8]) -> String {
    pem_of("PRIVATE KEY", pkcs8)
}

/// The private key of a certificate as PKCS#8 in PEM, from PKCS#8, PKCS#1 or SEC1 in PEM.
pub fn matching(text: &[u8], certificate: &Certificate) -> Result<String, KeyError> {
    let pkcs8 = match read(text)? {
        Read::Rsa(key) => {
            let modulus = key.n().to_bytes_be();
            let exponent = key.e().to_bytes_be();
            if certificate.rsa_public_key() != Some((modulus, exponent)) {
                return Err(KeyError::Mismatch);
            }
            KeyAlgorithm::of_rsa_bits(key.n().bits()).ok_or(KeyError::Unsupported)?;
            let der = key.to_pkcs8_der().map_err(|_| KeyError::Unsupported)?;
            der.as_bytes().to_vec()
        }
        Read::Ec { curve, key, point } => ec_matching(curve, &key, point, certificate)?,
    };
    Ok(private_pem(&pkcs8))
}

enum Read {
    Rsa(Box<rsa::RsaPrivateKey>),
    Ec {
        /// `None`: not said.
        curve: Option<ObjectIdentifier>,
        key: Vec<u8>,
        point: Option<Vec<u8>>,
    },
}

fn read(text: &[u8]) -> Result<Read, KeyError> {
    let blocks = pem::parse_many(text).map_err(|_| KeyError::NotPem)?;
    // `openssl ecparam -genkey` writes the curve's name in front of the key.
    let mut keys = blocks.iter().filter(|block| block.tag() != "EC PARAMETERS");
    let (Some(block), None) = (keys.next(), keys.next()) else {
        return Err(KeyError::NotPem);
    };
    let is_encrypted = block.tag() == "ENCRYPTED PRIVATE KEY"
        || block.headers().iter().any(|(name, _)| name == "Proc-Type");
    if is_encrypted {
        return Err(KeyError::Encrypted);
    }
    match block.tag() {
        "RSA PRIVATE KEY" => rsa::RsaPrivateKey::from_pkcs1_der(block.contents())
            .map(|key| Read::Rsa(Box::new(key)))
            .map_err(|_| KeyError::Unsupported),
        "EC PRIVATE KEY" => ec(block.contents(), None),
        "PRIVATE KEY" => {
            let info = PrivateKeyInfo::try_from(block.contents());
            let info = info.map_err(|_| KeyError::Unsupported)?;
            match info.algorithm.oid {
                RSA_ENCRYPTION => rsa::RsaPrivateKey::from_pkcs8_der(block.contents())
                    .map(|key| Read::Rsa(Box::new(key)))
                    .map_err(|_| KeyError::Unsupported),
                EC_PUBLIC_KEY => {
                    let curve = info.algorithm.parameters_oid();
                    ec(info.private_key, curve.ok())
                }
                _ => Err(KeyError::Unsupported),
            }
        }
        _ => Err(KeyError::NotPem),
    }
}

fn ec(der: &[u8], curve: Option<ObjectIdentifier>) -> Result<Read, KeyError> {
    let key = sec1::EcPrivateKey::from_der(der).map_err(|_| KeyError::Unsupported)?;
    Ok(Read::Ec {
        curve: curve.or_else(|| key.parameters.and_then(|p| p.named_curve())),
        key: key.private_key.to_vec(),
        point: key.public_key.map(<[u8]>::to_vec),
    })
}

fn ec_matching(
    curve: Option<ObjectIdentifier>,
    key: &[u8],
    point: Option<Vec<u8>>,
    certificate: &Certificate,
) -> Result<Vec<u8>, KeyError> {
    let (of_certificate, public) = certificate.ec_public_key().ok_or(KeyError::Mismatch)?;
    let algorithm = KeyAlgorithm::of_curve(of_certificate).ok_or(KeyError::Unsupported)?;
    let (oid, size) = algorithm.curve().ok_or(KeyError::Unsupported)?;
    if curve.is_some_and(|curve| curve != oid) || key.len() > size {
        return Err(KeyError::Mismatch);
    }
    // Some writers leave leading zeros out.
    let mut scalar = vec![0; size - key.len()];
    scalar.extend_from_slice(key);
    let signing = match algorithm {
        KeyAlgorithm::EcPrime256v1 => Some(&ECDSA_P256_SHA256_ASN1_SIGNING),
        KeyAlgorithm::EcSecp384r1 => Some(&ECDSA_P384_SHA384_ASN1_SIGNING),
        _ => None,
    };
    match signing {
        Some(signing) => {
            let random = SystemRandom::new();
            EcdsaKeyPair::from_private_key_and_public_key(signing, &scalar, &public, &random)
                .map_err(|_| KeyError::Mismatch)?;
        }
        // ring has no P-521: the key's own word for its public half is compared.
        None if point.as_ref() == Some(&public) => {}
        None if point.is_none() => return Err(KeyError::Unsupported),
        None => return Err(KeyError::Mismatch),
    }
    let inner = sec1::EcPrivateKey {
        private_key: &scalar,
        parameters: None,
        public_key: Some(&public),
    };
    let inner = inner.to_der().map_err(|_| KeyError::Unsupported)?;
    let algorithm = AlgorithmIdentifierRef {
        oid: EC_PUBLIC_KEY,
        parameters: Some((&oid).into()),
    };
    PrivateKeyInfo::new(algorithm, &inner)
        .to_der()
        .map_err(|_| KeyError::Unsupported)
}

/// The same key, encrypted with a passphrase (PKCS#8, PBES2 of PBKDF2-SHA-256 and AES-256-CBC), in PEM.
pub fn encrypted(private_key: &str, passphrase: &[u8]) -> Result<String, KeyError> {
    let block = pem::parse(private_key).map_err(|_| KeyError::NotPem)?;
    let info = PrivateKeyInfo::try_from(block.contents()).map_err(|_| KeyError::Unsupported)?;
    let random = SystemRandom::new();
    let mut salt = [0; 16];
    let mut iv = [0; 16];
    for bytes in [&mut salt, &mut iv] {
        ring::rand::SecureRandom::fill(&random, bytes).map_err(|_| KeyError::Encrypt)?;
    }
    let parameters =
        pkcs8::pkcs5::pbes2::Parameters::pbkdf2_sha256_aes256cbc(PBKDF2_ROUNDS, &salt, &iv)
            .map_err(|_| KeyError::Encrypt)?;
    let document = info
        .encrypt_with_params(parameters, passphrase)
        .map_err(|_| KeyError::Encrypt)?;
    Ok(pem_of("ENCRYPTED PRIVATE KEY", document.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, sample};

    fn certificate(name: &str) -> Certificate {
        Certificate::read(&sample(name)).unwrap().remove(0)
    }

    fn fits(key: &str, crt: &str) -> Result<String, KeyError> {
        matching(&sample(key), &certificate(crt))
    }

    #[test]
    fn keys_in_all_their_forms_fit_their_certificates() {
        for (key, crt) in [
            ("rsa_2048.pkcs1.key", "rsa_2048.crt"),
            ("rsa_2048.pkcs8.key", "rsa_2048.crt"),
            ("rsa_1024.key", "rsa_1024.crt"),
            ("ec_prime256v1.sec1.key", "ec_prime256v1.crt"),
            ("ec_secp384r1.sec1.key", "ec_secp384r1.crt"),
            ("ec_secp384r1.pkcs8.key", "ec_secp384r1.crt"),
            ("ec_secp521r1.sec1.key", "ec_secp521r1.crt"),
        ] {
            let text = fits(key, crt).unwrap_or_else(|error| panic!("{key}: {error}"));
            assert!(text.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{key}");
            // What comes out is taken again, and by the library that serves with it.
            assert_eq!(matching(text.as_bytes(), &certificate(crt)).unwrap(), text);
            let served = rcgen::KeyPair::from_pem(&text).is_ok();
            let unserved = key.starts_with("rsa_1024") || key.starts_with("ec_secp521r1");
            assert_eq!(served, !unserved, "{key}");
        }
    }

    #[test]
    fn a_key_of_another_certificate_does_not_fit() {
        for (key, crt) in [
            ("rsa_1024.key", "rsa_2048.crt"),
            ("ec_prime256v1.sec1.key", "rsa_2048.crt"),
            ("rsa_2048.pkcs8.key", "ec_prime256v1.crt"),
            ("ec_prime256v1.sec1.key", "ec_secp384r1.crt"),
            ("ec_secp384r1.sec1.key", "ec_secp521r1.crt"),
        ] {
            assert_eq!(fits(key, crt), Err(KeyError::Mismatch), "{key} {crt}");
        }
        let (a, b) = (samples::authority("a"), samples::authority("b"));
        let key = a.key.serialize_pem();
        assert!(matching(key.as_bytes(), &a.certificate).is_ok());
        let other = matching(key.as_bytes(), &b.certificate);
        assert_eq!(other, Err(KeyError::Mismatch));
    }

    #[test]
    fn what_is_no_usable_key_is_told_apart() {
        let crt = certificate("rsa_2048.crt");
        let read = |text: &[u8]| matching(text, &crt).unwrap_err();
        for name in [
            "rsa_2048.encrypted.key",
            "rsa_2048.traditional_encrypted.key",
        ] {
            assert_eq!(read(&sample(name)), KeyError::Encrypted, "{name}");
        }
        assert_eq!(read(b""), KeyError::NotPem);
        assert_eq!(read(b"\xff\x00"), KeyError::NotPem);
        assert_eq!(read(&sample("rsa_2048.crt")), KeyError::NotPem);
        let two = [sample("rsa_2048.pkcs1.key"), sample("rsa_2048.pkcs8.key")].concat();
        assert_eq!(read(&two), KeyError::NotPem);
        assert_eq!(read(&sample("ed25519.key")), KeyError::Unsupported);
        let garbage = pem_of("PRIVATE KEY", b"garbage");
        assert_eq!(read(garbage.as_bytes()), KeyError::Unsupported);
    }

    #[test]
    fn generated_keys_are_of_their_algorithm_and_differ() {
        for algorithm in [
            KeyAlgorithm::Rsa2048,
            KeyAlgorithm::EcPrime256v1,
            KeyAlgorithm::EcSecp384r1,
        ] {
            let key = KeyPair::generate(algorithm).unwrap();
            let made = samples::self_signed(samples::params("x", &["x.test"]), key.pair);
            assert_eq!(made.certificate.key_algorithm(), Some(algorithm));
        }
        let [a, b] = [(); 2].map(|()| KeyPair::generate(KeyAlgorithm::EcPrime256v1).unwrap());
        assert_ne!(a.der(), b.der());
        assert!(!format!("{a:?}").contains("PRIVATE"));
    }

    #[test]
    fn an_encrypted_key_opens_with_its_passphrase_only() {
        let plain = fits("rsa_2048.pkcs8.key", "rsa_2048.crt").unwrap();
        let text = encrypted(&plain, b"open sesame").unwrap();
        let block = pem::parse(&text).unwrap();
        assert_eq!(block.tag(), "ENCRYPTED PRIVATE KEY");
        let open = |passphrase: &str| {
            let info = pkcs8::EncryptedPrivateKeyInfo::try_from(block.contents()).unwrap();
            info.decrypt(passphrase)
        };
        let opened = open("open sesame").unwrap();
        assert_eq!(private_pem(opened.as_bytes()), plain);
        assert!(open("open barley").is_err());
        assert_ne!(encrypted(&plain, b"open sesame").unwrap(), text);
    }
}
