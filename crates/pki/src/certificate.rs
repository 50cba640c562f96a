//! Certificates that a caller sends: read, described in AWS's words, and held against their issuer.

use crate::key::{EC_PUBLIC_KEY, KeyAlgorithm, RSA_ENCRYPTION, pem_of};
use der::asn1::ObjectIdentifier;
use der::oid::AssociatedOid;
use der::{Decode, Encode};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rsa::pkcs1::RsaPublicKey;
use thiserror::Error;
use x509_cert::Version;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages,
    SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::name::Name;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CertificateError {
    #[error("no PEM")]
    NotPem,
    #[error("a PEM block that is no X.509 certificate")]
    NotCertificate,
}

/// One certificate and its bytes.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    read: x509_cert::Certificate,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}

impl Certificate {
    /// All certificates of a PEM text, in its order.
    pub fn read(text: &[u8]) -> Result<Vec<Certificate>, CertificateError> {
        let blocks = pem::parse_many(text).map_err(|_| CertificateError::NotPem)?;
        if blocks.is_empty() {
            return Err(CertificateError::NotPem);
        }
        blocks
            .into_iter()
            .map(|block| match block.tag() {
                "CERTIFICATE" => Self::from_der(block.contents()),
                _ => Err(CertificateError::NotCertificate),
            })
            .collect()
    }

    pub fn from_der(der: &[u8]) -> Result<Certificate, CertificateError> {
        let read = x509_cert::Certificate::from_der(der);
        Ok(Certificate {
            der: der.to_vec(),
            read: read.map_err(|_| CertificateError::NotCertificate)?,
        })
    }

    pub fn pem(&self) -> String {
        pem_of("CERTIFICATE", &self.der)
    }

    pub fn is_version_3(&self) -> bool {
        self.read.tbs_certificate.version == Version::V3
    }

    /// Two hexadecimal digits a byte, with colons.
    pub fn serial(&self) -> String {
        let bytes = self.read.tbs_certificate.serial_number.as_bytes();
        let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        bytes.join(":")
    }

    pub fn subject(&self) -> String {
        self.read.tbs_certificate.subject.to_string()
    }

    /// Who issued it: the organisation, as ACM shows it, or the name it has otherwise.
    pub fn issuer(&self) -> String {
        let issuer = &self.read.tbs_certificate.issuer;
        attribute(issuer, ORGANIZATION)
            .or_else(|| attribute(issuer, COMMON_NAME))
            .unwrap_or_else(|| issuer.to_string())
    }

    pub fn common_name(&self) -> Option<String> {
        attribute(&self.read.tbs_certificate.subject, COMMON_NAME)
    }

    /// Its alternative names that are names of hosts.
    pub fn dns_names(&self) -> Vec<String> {
        let names: Option<SubjectAltName> = self.extension();
        let names = names.map(|names| names.0).unwrap_or_default();
        names
            .into_iter()
            .filter_map(|name| match name {
                GeneralName::DnsName(name) => Some(name.to_string()),
                _ => None,
            })
            .collect()
    }

    /// Milliseconds since the epoch.
    pub fn not_before_ms(&self) -> i64 {
        let time = self.read.tbs_certificate.validity.not_before;
        i64::try_from(time.to_unix_duration().as_millis()).unwrap_or(i64::MAX)
    }

    /// Milliseconds since the epoch.
    pub fn not_after_ms(&self) -> i64 {
        let time = self.read.tbs_certificate.validity.not_after;
        i64::try_from(time.to_unix_duration().as_millis()).unwrap_or(i64::MAX)
    }

    /// As AWS writes it: `SHA256WITHRSA`.
    pub fn signature_algorithm(&self) -> String {
        let oid = self.read.signature_algorithm.oid.to_string();
        let name = match oid.as_str() {
            "1.2.840.113549.1.1.4" => "MD5WITHRSA",
            "1.2.840.113549.1.1.5" => "SHA1WITHRSA",
            "1.2.840.113549.1.1.10" => "RSASSA-PSS",
            "1.2.840.113549.1.1.11" => "SHA256WITHRSA",
            "1.2.840.113549.1.1.12" => "SHA384WITHRSA",
            "1.2.840.113549.1.1.13" => "SHA512WITHRSA",
            "1.2.840.10045.4.1" => "SHA1WITHECDSA",
            "1.2.840.10045.4.3.2" => "SHA256WITHECDSA",
            "1.2.840.10045.4.3.3" => "SHA384WITHECDSA",
            "1.2.840.10045.4.3.4" => "SHA512WITHECDSA",
            _ => return oid,
        };
        name.to_owned()
    }

    /// `None`: none that ACM takes.
    pub fn key_algorithm(&self) -> Option<KeyAlgorithm> {
        if let Some((curve, _)) = self.ec_public_key() {
            return KeyAlgorithm::of_curve(curve);
        }
        let (modulus, _) = self.rsa_public_key()?;
        let bits = modulus.len() * 8 - modulus.first()?.leading_zeros() as usize;
        KeyAlgorithm::of_rsa_bits(bits)
    }

    /// Modulus and exponent, without leading zeros.
    pub(crate) fn rsa_public_key(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let info = &self.read.tbs_certificate.subject_public_key_info;
        if info.algorithm.oid != RSA_ENCRYPTION {
            return None;
        }
        let key = RsaPublicKey::from_der(info.subject_public_key.as_bytes()?).ok()?;
        Some((
            key.modulus.as_bytes().to_vec(),
            key.public_exponent.as_bytes().to_vec(),
        ))
    }

    /// Curve and uncompressed point.
    pub(crate) fn ec_public_key(&self) -> Option<(ObjectIdentifier, Vec<u8>)> {
        let info = &self.read.tbs_certificate.subject_public_key_info;
        if info.algorithm.oid != EC_PUBLIC_KEY {
            return None;
        }
        let curve: ObjectIdentifier = info.algorithm.parameters.as_ref()?.decode_as().ok()?;
        Some((curve, info.subject_public_key.as_bytes()?.to_vec()))
    }

    /// ACM's names; empty if the certificate does not say.
    pub fn key_usages(&self) -> Vec<&'static str> {
        let Some(KeyUsage(flags)) = self.extension() else {
            return Vec::new();
        };
        let names = [
            (KeyUsages::DigitalSignature, "DIGITAL_SIGNATURE"),
            (KeyUsages::NonRepudiation, "NON_REPUDIATION"),
            (KeyUsages::KeyEncipherment, "KEY_ENCIPHERMENT"),
            (KeyUsages::DataEncipherment, "DATA_ENCIPHERMENT"),
            (KeyUsages::KeyAgreement, "KEY_AGREEMENT"),
            (KeyUsages::KeyCertSign, "CERTIFICATE_SIGNING"),
            (KeyUsages::CRLSign, "CRL_SIGNING"),
            (KeyUsages::EncipherOnly, "ENCIPHER_ONLY"),
            (KeyUsages::DecipherOnly, "DECIPHER_ONLY"),
        ];
        let set = names.into_iter().filter(|(flag, _)| flags.contains(*flag));
        set.map(|(_, name)| name).collect()
    }

    /// ACM's name and the object identifier of each; empty if the certificate does not say.
    pub fn extended_key_usages(&self) -> Vec<(&'static str, String)> {
        let Some(ExtendedKeyUsage(list)) = self.extension() else {
            return Vec::new();
        };
        list.into_iter()
            .map(|oid| {
                let oid = oid.to_string();
                let name = match oid.as_str() {
                    "1.3.6.1.5.5.7.3.1" => "TLS_WEB_SERVER_AUTHENTICATION",
                    "1.3.6.1.5.5.7.3.2" => "TLS_WEB_CLIENT_AUTHENTICATION",
                    "1.3.6.1.5.5.7.3.3" => "CODE_SIGNING",
                    "1.3.6.1.5.5.7.3.4" => "EMAIL_PROTECTION",
                    "1.3.6.1.5.5.7.3.5" => "IPSEC_END_SYSTEM",
                    "1.3.6.1.5.5.7.3.6" => "IPSEC_TUNNEL",
                    "1.3.6.1.5.5.7.3.7" => "IPSEC_USER",
                    "1.3.6.1.5.5.7.3.8" => "TIME_STAMPING",
                    "1.3.6.1.5.5.7.3.9" => "OCSP_SIGNING",
                    "2.5.29.37.0" => "ANY",
                    _ => "CUSTOM",
                };
                (name, oid)
            })
            .collect()
    }

    pub fn is_authority(&self) -> bool {
        let constraints: Option<BasicConstraints> = self.extension();
        constraints.is_some_and(|constraints| constraints.ca)
    }

    pub fn is_self_signed(&self) -> bool {
        self.is_issued_by(self)
    }

    /// Whether `issuer` certifies this one: by name, by key identifier if both say one, and by signature, as far as ring
    /// can verify it (it knows no P-521 and nothing older than SHA-1).
    pub fn is_issued_by(&self, issuer: &Certificate) -> bool {
        let (tbs, of_issuer) = (&self.read.tbs_certificate, &issuer.read.tbs_certificate);
        if tbs.issuer != of_issuer.subject {
            return false;
        }
        let authority: Option<AuthorityKeyIdentifier> = self.extension();
        let subject: Option<SubjectKeyIdentifier> = issuer.extension();
        if let (Some(authority), Some(subject)) =
            (authority.and_then(|a| a.key_identifier), subject)
            && authority != subject.0
        {
            return false;
        }
        self.is_signed_by(issuer).unwrap_or(true)
    }

    /// `None`: nobody here can say.
    fn is_signed_by(&self, issuer: &Certificate) -> Option<bool> {
        let algorithm = self.read.signature_algorithm.oid.to_string();
        let algorithm = verification(&algorithm, issuer)?;
        let info = &issuer.read.tbs_certificate.subject_public_key_info;
        let key = UnparsedPublicKey::new(algorithm, info.subject_public_key.as_bytes()?);
        let signed = self.read.tbs_certificate.to_der().ok()?;
        let signature = self.read.signature.as_bytes()?;
        Some(key.verify(&signed, signature).is_ok())
    }

    fn extension<'a, T: Decode<'a> + AssociatedOid>(&'a self) -> Option<T> {
        let found = self.read.tbs_certificate.get::<T>();
        found.ok().flatten().map(|(_, value)| value)
    }
}

fn attribute(name: &Name, wanted: ObjectIdentifier) -> Option<String> {
    let found = name.0.iter().flat_map(|set| set.0.iter());
    let mut values = found.filter(|pair| pair.oid == wanted).filter_map(|pair| {
        let text = std::str::from_utf8(pair.value.value()).ok()?;
        Some(text.to_owned())
    });
    // The most specific one stands last.
    values.next_back()
}

fn verification(
    algorithm: &str,
    issuer: &Certificate,
) -> Option<&'static dyn VerificationAlgorithm> {
    if issuer.rsa_public_key().is_some() {
        return Some(match algorithm {
            "1.2.840.113549.1.1.5" => &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
            "1.2.840.113549.1.1.11" => &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
            "1.2.840.113549.1.1.12" => &signature::RSA_PKCS1_2048_8192_SHA384,
            "1.2.840.113549.1.1.13" => &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
            _ => return None,
        });
    }
    let (curve, _) = issuer.ec_public_key()?;
    Some(match (KeyAlgorithm::of_curve(curve)?, algorithm) {
        (KeyAlgorithm::EcPrime256v1, "1.2.840.10045.4.3.2") => &signature::ECDSA_P256_SHA256_ASN1,
        (KeyAlgorithm::EcPrime256v1, "1.2.840.10045.4.3.3") => &signature::ECDSA_P256_SHA384_ASN1,
        (KeyAlgorithm::EcSecp384r1, "1.2.840.10045.4.3.2") => &signature::ECDSA_P384_SHA256_ASN1,
        (KeyAlgorithm::EcSecp384r1, "1.2.840.10045.4.3.3") => &signature::ECDSA_P384_SHA384_ASN1,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, sample};

    fn read(name: &str) -> Certificate {
        Certificate::read(&sample(name)).unwrap().remove(0)
    }

    #[test]
    fn a_certificate_is_described_in_awss_words() {
        let certificate = read("rsa_2048.crt");
        assert_eq!(
            certificate.subject(),
            "CN=www.example.com,O=Example Corp,C=US"
        );
        assert_eq!(certificate.issuer(), "Example Corp");
        assert_eq!(
            certificate.common_name().as_deref(),
            Some("www.example.com")
        );
        assert_eq!(
            certificate.dns_names(),
            ["www.example.com", "*.api.example.com"]
        );
        assert_eq!(certificate.signature_algorithm(), "SHA256WITHRSA");
        assert_eq!(
            certificate.key_usages(),
            ["DIGITAL_SIGNATURE", "KEY_ENCIPHERMENT"]
        );
        let extended = certificate.extended_key_usages();
        let names: Vec<_> = extended.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            [
                "TLS_WEB_SERVER_AUTHENTICATION",
                "TLS_WEB_CLIENT_AUTHENTICATION",
                "CUSTOM"
            ]
        );
        assert_eq!(extended[2].1, "1.2.3.4");
        assert!(certificate.is_version_3());
        assert_eq!(
            certificate.not_after_ms() - certificate.not_before_ms(),
            4017 * 86_400_000
        );
        let serial = certificate.serial();
        assert!(serial.split(':').all(|byte| byte.len() == 2), "{serial}");
    }

    #[test]
    fn key_algorithms_are_known_by_name() {
        for (name, algorithm) in [
            ("rsa_1024.crt", Some("RSA_1024")),
            ("rsa_2048.crt", Some("RSA_2048")),
            ("ec_prime256v1.crt", Some("EC_prime256v1")),
            ("ec_secp384r1.crt", Some("EC_secp384r1")),
            ("ec_secp521r1.crt", Some("EC_secp521r1")),
            ("ed25519.crt", None),
        ] {
            let found = read(name).key_algorithm();
            assert_eq!(found.map(KeyAlgorithm::name), algorithm, "{name}");
        }
        for algorithm in KeyAlgorithm::ALL {
            assert_eq!(KeyAlgorithm::parse(algorithm.name()), Some(algorithm));
        }
    }

    #[test]
    fn openssls_certificates_certify_themselves_and_nobody_else() {
        let names = [
            "rsa_1024.crt",
            "rsa_2048.crt",
            "ec_prime256v1.crt",
            "ec_secp521r1.crt",
        ];
        for a in names {
            for b in names {
                assert_eq!(read(a).is_issued_by(&read(b)), a == b, "{a} {b}");
            }
        }
    }

    #[test]
    fn an_issuer_is_one_by_name_key_and_signature() {
        let root = samples::authority("root");
        let leaf = root.issue(samples::params("leaf", &["leaf.test"]));
        assert!(leaf.certificate.is_issued_by(&root.certificate));
        assert!(!leaf.certificate.is_self_signed());
        assert!(!root.certificate.is_issued_by(&leaf.certificate));
        // The same name, another key.
        let other = samples::authority("root");
        assert!(!leaf.certificate.is_issued_by(&other.certificate));
        // The right issuer, a signature with one bit turned.
        let mut der = leaf.certificate.der.clone();
        let last = der.len() - 1;
        der[last] ^= 1;
        if let Ok(damaged) = Certificate::from_der(&der) {
            assert!(!damaged.is_issued_by(&root.certificate));
        }
    }

    #[test]
    fn texts_are_read_whole_or_not_at_all() {
        let (a, b) = (sample("rsa_2048.crt"), sample("ec_prime256v1.crt"));
        let both = Certificate::read(&[a.clone(), b].concat()).unwrap();
        assert_eq!(both.len(), 2);
        let crlf = String::from_utf8(a.clone()).unwrap().replace('\n', "\r\n");
        let again = Certificate::read(crlf.as_bytes()).unwrap().remove(0);
        assert_eq!(again.pem().as_bytes(), a);
        let error = |text: &[u8]| Certificate::read(text).unwrap_err();
        assert_eq!(error(b""), CertificateError::NotPem);
        assert_eq!(error(b"MIIC"), CertificateError::NotPem);
        let key = sample("rsa_2048.pkcs8.key");
        assert_eq!(error(&key), CertificateError::NotCertificate);
        let garbage = pem_of("CERTIFICATE", b"garbage");
        assert_eq!(error(garbage.as_bytes()), CertificateError::NotCertificate);
    }

    #[test]
    fn no_damage_to_a_certificate_panics() {
        let whole = read("rsa_2048.crt").der;
        for cut in 0..whole.len() {
            assert!(Certificate::from_der(&whole[..cut]).is_err());
        }
        for place in 0..whole.len() {
            let mut der = whole.clone();
            der[place] ^= 0x55;
            if let Ok(read) = Certificate::from_der(&der) {
                let _ = (
                    read.subject(),
                    read.issuer(),
                    read.dns_names(),
                    read.serial(),
                );
                let _ = (
                    read.key_algorithm(),
                    read.key_usages(),
                    read.is_self_signed(),
                );
                let _ = (
                    read.extended_key_usages(),
                    read.not_after_ms(),
                    read.is_authority(),
                );
            }
        }
    }
}
