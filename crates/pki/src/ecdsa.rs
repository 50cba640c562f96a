//! Signatures over the curve P-256 with SHA-256: keys of Key Management Service, and those that sign zones (`dnssec`).
//!
//! What must stay true: a private key is in no text; bytes of a caller panic nothing.

use pkcs8::PrivateKeyInfo;
use pkcs8::der::Decode as _;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING,
    EcdsaKeyPair, UnparsedPublicKey,
};

use crate::key::KeyError;

/// What stands before the point in a public key of that curve (RFC 5480): `SEQUENCE`, the algorithm, `BIT STRING`.
const PUBLIC_KEY_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// A point as it is kept: 4, and two coordinates of 32 octets each.
pub const POINT_BYTES: usize = 65;

/// How a signature is written down.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// As KMS gives it (RFC 3279, section 2.2.3).
    Asn1,
    /// Two numbers of 32 octets, as DNSSEC wants it (RFC 6605, section 4).
    Fixed,
}

/// A new key: its secret number and its public point.
pub fn generate() -> Result<([u8; 32], Vec<u8>), KeyError> {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
    let document = document.map_err(|_| KeyError::Make)?;
    let info = PrivateKeyInfo::try_from(document.as_ref()).map_err(|_| KeyError::Make)?;
    let key = sec1::EcPrivateKey::from_der(info.private_key).map_err(|_| KeyError::Make)?;
    let secret = key.private_key.try_into().map_err(|_| KeyError::Make)?;
    let point = key.public_key.ok_or(KeyError::Make)?.to_vec();
    Ok((secret, point))
}

/// Signs with one key.
pub struct Signer {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl std::fmt::Debug for Signer {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    pub fn new(secret: &[u8; 32], point: &[u8], form: Form) -> Result<Self, KeyError> {
        let algorithm = match form {
            Form::Asn1 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Form::Fixed => &ECDSA_P256_SHA256_FIXED_SIGNING,
        };
        let random = SystemRandom::new();
        EcdsaKeyPair::from_private_key_and_public_key(algorithm, secret, point, &random)
            .map(|pair| Self { pair, random })
            .map_err(|_| KeyError::Mismatch)
    }

    /// Of the SHA-256 digest of the message.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.pair.sign(&self.random, message);
        signature
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| KeyError::Make)
    }
}

/// Whether it is the key's signature of the message, in [`Form::Asn1`].
pub fn is_signature(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
    key.verify(message, signature).is_ok()
}

/// `SubjectPublicKeyInfo` in DER.
pub fn public_key_info(point: &[u8]) -> Vec<u8> {
    [&PUBLIC_KEY_INFO, point].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_signs_is_its_own_and_of_that_message_alone() {
        let (secret, point) = generate().unwrap();
        let signer = Signer::new(&secret, &point, Form::Asn1).unwrap();
        let signature = signer.sign(b"hello").unwrap();
        assert!(is_signature(&point, b"hello", &signature));
        assert!(!is_signature(&point, b"hallo", &signature));
        assert!(!is_signature(&generate().unwrap().1, b"hello", &signature));
        for garbage in [&b""[..], b"x", &signature[1..]] {
            assert!(!is_signature(&point, b"hello", garbage));
            assert!(!is_signature(garbage, b"hello", &signature));
        }
    }

    #[test]
    fn a_point_of_another_key_makes_no_signer() {
        let (secret, _) = generate().unwrap();
        let (_, point) = generate().unwrap();
        assert!(Signer::new(&secret, &point, Form::Asn1).is_err());
    }

    #[test]
    fn a_public_key_is_read_by_others() {
        use der::Decode as _;
        let (_, point) = generate().unwrap();
        let info = public_key_info(&point);
        let read = x509_cert::spki::SubjectPublicKeyInfoRef::from_der(&info).unwrap();
        assert_eq!(read.algorithm.oid, crate::key::EC_PUBLIC_KEY);
        assert_eq!(read.subject_public_key.raw_bytes(), point);
    }
}
