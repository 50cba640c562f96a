//! Mutual TLS: whether a client's certificate is accepted, and what is told of it. Used by `listener`.
//!
//! "Mutual authentication with TLS in Application Load Balancer", ELB guide (fact LST-13). Verify mode: rustls's
//! own verifier against the trust store, then the revocation lists. Passthrough: whatever chain there is, but its
//! key has to sign the handshake. A trust store or list that can't be read lets nobody in.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use x509_parser::prelude::{
    AttributeTypeAndValue, CertificateRevocationList, FromDer, X509Certificate, X509Name,
};

use crate::http::clock::civil_date;
use crate::http::table::TrustStore;

/// "Maximum certificate chain depth" and size that AWS accepts from clients.
const CHAIN_MAX: usize = 4;
const CHAIN_MAX_BYTES: usize = 16 * 1024;

/// Of the leaf that a client showed, as headers and the connection log want it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Hexadecimal, in capitals.
    pub serial: String,
    /// RFC 2253.
    pub issuer: String,
    pub subject: String,
    /// ISO 8601.
    pub not_before: String,
    pub not_after: String,
}

impl ClientCertificate {
    pub fn validity(&self) -> String {
        format!("NotBefore={};NotAfter={}", self.not_before, self.not_after)
    }

    /// None: it does not parse, which passthrough allows.
    pub fn read(leaf: &[u8]) -> Option<Self> {
        let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
        let validity = leaf.validity();
        Some(Self {
            serial: hexadecimal(without_zeros(leaf.raw_serial())),
            issuer: distinguished_name(leaf.issuer()),
            subject: distinguished_name(leaf.subject()),
            not_before: iso_8601(validity.not_before.timestamp()),
            not_after: iso_8601(validity.not_after.timestamp()),
        })
    }
}

#[derive(Debug)]
pub struct Verifier {
    rule: Rule,
    algorithms: WebPkiSupportedAlgorithms,
    hints: Vec<DistinguishedName>,
}

#[derive(Debug)]
enum Rule {
    Any,
    Trusted {
        webpki: Arc<dyn ClientCertVerifier>,
        ignore_expiry: bool,
        revoked: Revoked,
    },
    Nobody,
}

impl Verifier {
    pub fn any(provider: &CryptoProvider) -> Self {
        Self {
            rule: Rule::Any,
            algorithms: provider.signature_verification_algorithms,
            hints: Vec::new(),
        }
    }

    pub fn nobody(provider: &CryptoProvider) -> Self {
        Self {
            rule: Rule::Nobody,
            ..Self::any(provider)
        }
    }

    /// None: the store can't be read.
    pub fn trusting(
        store: &TrustStore,
        ignore_expiry: bool,
        advertise_ca_names: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Option<Self> {
        let revoked = Revoked::read(&store.revocation_lists)?;
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(store.ca_bundle.as_bytes()) {
            let root = root.ok()?;
            if !revoked.holds(&root) {
                roots.add_parsable_certificates([root]);
            }
        }
        let hints = if advertise_ca_names {
            roots.subjects()
        } else {
            Vec::new()
        };
        let webpki = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        Some(Self {
            rule: Rule::Trusted {
                webpki: webpki.build().ok()?,
                ignore_expiry,
                revoked,
            },
            hints,
            ..Self::any(provider)
        })
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        !matches!(self.rule, Rule::Any)
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let size: usize = others.iter().map(|other| other.len()).sum();
        if leaf.len() + size > CHAIN_MAX_BYTES {
            return Err(other_error(TooLarge));
        }
        match &self.rule {
            Rule::Any => Ok(ClientCertVerified::assertion()),
            Rule::Nobody => Err(CertificateError::ApplicationVerificationFailure.into()),
            Rule::Trusted { .. } if others.len() + 1 > CHAIN_MAX => Err(other_error(TooDeep)),
            Rule::Trusted {
                webpki,
                ignore_expiry,
                revoked,
            } => {
                let verified = match webpki.verify_client_cert(leaf, others, now) {
                    Err(Error::InvalidCertificate(
                        CertificateError::Expired | CertificateError::ExpiredContext { .. },
                    )) if *ignore_expiry => {
                        let then = last_valid(leaf, others).ok_or(CertificateError::BadEncoding)?;
                        webpki.verify_client_cert(leaf, others, then)?
                    }
                    verified => verified?,
                };
                if revoked.holds(leaf) || others.iter().any(|other| revoked.holds(other)) {
                    return Err(CertificateError::Revoked.into());
                }
                Ok(verified)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the certificate chain is too large")]
struct TooLarge;

#[derive(Debug, thiserror::Error)]
#[error("the certificate chain is too long")]
struct TooDeep;

fn other_error(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    CertificateError::Other(rustls::OtherError(Arc::new(error))).into()
}

/// What the connection log says of a failed verification ("Connection logs", ELB guide).
pub fn verify_status(error: &Error) -> Option<&'static str> {
    let error = match error {
        Error::NoCertificatesPresented => return Some("ClientCertNotFound"),
        Error::InvalidCertificate(error) => error,
        _ => return None,
    };
    Some(match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "ClientCertExpired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "ClientCertNotYetValid"
        }
        CertificateError::Revoked => "ClientCertCrlHit",
        CertificateError::UnknownIssuer | CertificateError::BadSignature => "ClientCertUntrusted",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "ClientCertPurposeInvalid"
        }
        CertificateError::ApplicationVerificationFailure => "ClientCertRejected",
        CertificateError::Other(other) if other.0.is::<TooDeep>() => {
            "ClientCertMaxChainDepthExceeded"
        }
        CertificateError::Other(other) if other.0.is::<TooLarge>() => "ClientCertMaxSizeExceeded",
        _ => "ClientCertInvalid",
    })
}

/// A moment at which none of them had expired.
fn last_valid(leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Option<UnixTime> {
    let ends = std::iter::once(leaf).chain(others).map(|each| {
        let (_, each) = X509Certificate::from_der(each).ok()?;
        u64::try_from(each.validity().not_after.timestamp()).ok()
    });
    let first_end = ends.collect::<Option<Vec<_>>>()?.into_iter().min()?;
    Some(UnixTime::since_unix_epoch(Duration::from_secs(first_end)))
}

/// Issuers (DER) and serial numbers. The lists are the listener's owner's word: nobody else's signature is asked
/// for, and they can only take certificates away.
#[derive(Debug, Default)]
struct Revoked(HashSet<(Vec<u8>, Vec<u8>)>);

impl Revoked {
    fn read(lists: &[String]) -> Option<Self> {
        let mut revoked = HashSet::new();
        for list in lists {
            for list in CertificateRevocationListDer::pem_slice_iter(list.as_bytes()) {
                let list = list.ok()?;
                let (_, list) = CertificateRevocationList::from_der(list.as_ref()).ok()?;
                let issuer = list.issuer().as_raw();
                let serials = list.iter_revoked_certificates();
                revoked.extend(serials.map(|one| {
                    let serial = without_zeros(one.raw_serial());
                    (issuer.to_vec(), serial.to_vec())
                }));
            }
        }
        Some(Self(revoked))
    }

    fn holds(&self, certificate: &CertificateDer<'_>) -> bool {
        if self.0.is_empty() {
            return false;
        }
        // One that does not parse is refused by whoever looks at the chain.
        X509Certificate::from_der(certificate).is_ok_and(|(_, certificate)| {
            let issuer = certificate.issuer().as_raw().to_vec();
            let serial = without_zeros(certificate.raw_serial()).to_vec();
            self.0.contains(&(issuer, serial))
        })
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let first = number.iter().position(|&byte| byte != 0);
    &number[first.unwrap_or(number.len().saturating_sub(1))..]
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// `2023-09-21T01:50:17Z`.
fn iso_8601(unix_s: i64) -> String {
    let unix_s = u64::try_from(unix_s).unwrap_or(0);
    let (year, month, day) = civil_date(unix_s / 86_400);
    let second = unix_s % 86_400;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The last part first (RFC 2253), with nothing but printable ASCII in it.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let parts: Vec<String> = name
        .iter_rdn()
        .map(|part| {
            let pairs: Vec<_> = part.iter().map(name_pair).collect();
            pairs.join("+")
        })
        .collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(",")
}

fn name_pair(pair: &AttributeTypeAndValue<'_>) -> String {
    let oid = pair.attr_type().to_id_string();
    // OpenSSL's short names.
    let name = match oid.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.42" => "GN",
        "2.5.4.97" => "organizationIdentifier",
        "1.2.840.113549.1.9.1" => "emailAddress",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        other => other,
    };
    let value = match pair.as_str() {
        Ok(text) if name != oid => escaped(text),
        // `#` and the value's DER: what is not known as text.
        _ => {
            let mut value = String::from("#");
            let content = pair.as_slice();
            let tag = pair.attr_value().tag().0;
            let _ = write!(value, "{tag:02X}");
            match content.len() {
                length @ 0..128 => drop(write!(value, "{length:02X}")),
                length @ 128..256 => drop(write!(value, "81{length:02X}")),
                length => drop(write!(value, "82{:04X}", length & 0xffff)),
            }
            value + &hexadecimal(content)
        }
    };
    format!("{name}={value}")
}

fn escaped(text: &str) -> String {
    let last = text.len().saturating_sub(1);
    let mut out = String::with_capacity(text.len());
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                out.push('\\');
                out.push(byte.into());
            }
            b'#' if place == 0 => out.push_str("\\#"),
            b' ' if place == 0 || place == last => out.push_str("\\ "),
            b' '..=b'~' => out.push(byte.into()),
            _ => drop(write!(out, "\\{byte:02X}")),
        }
    }
    out
}

/// PEM, URL-encoded with `+=/` left as they are.
pub fn url_encoded_pem<'c>(chain: impl IntoIterator<Item = &'c [u8]>) -> String {
    const BEGIN: &str = "-----BEGIN%20CERTIFICATE-----%0A";
    const END: &str = "-----END%20CERTIFICATE-----%0A";
    let mut out = String::new();
    for certificate in chain {
        out.push_str(BEGIN);
        let text = STANDARD.encode(certificate);
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            out.push_str(line);
            out.push_str("%0A");
            rest = after;
        }
        out.push_str(END);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_nothing_but_printable_ascii() {
        assert_eq!(
            escaped("a,b+c\"d\\e<f>g;h"),
            "a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h"
        );
        assert_eq!(escaped("#x"), "\\#x");
        assert_eq!(escaped(" x "), "\\ x\\ ");
        assert_eq!(escaped("a\r\nX: y"), "a\\0D\\0AX: y");
        assert_eq!(escaped("é"), "\\C3\\A9");
    }

    #[test]
    fn serial_numbers_begin_without_zeros() {
        assert_eq!(hexadecimal(without_zeros(&[0, 3, 0xa5, 0xb1])), "03A5B1");
        assert_eq!(hexadecimal(without_zeros(&[0])), "00");
    }

    #[test]
    fn times() {
        assert_eq!(iso_8601(1_695_261_017), "2023-09-21T01:50:17Z");
    }

    #[test]
    fn pem_is_encoded_for_a_header() {
        let text = url_encoded_pem([&[0xff; 50][..]]);
        assert!(text.starts_with("-----BEGIN%20CERTIFICATE-----%0A/////"));
        assert!(text.contains("//%0A//"), "64 digits a line");
        assert!(
            text.ends_with("8=%0A-----END%20CERTIFICATE-----%0A"),
            "{text}"
        );
    }
}
