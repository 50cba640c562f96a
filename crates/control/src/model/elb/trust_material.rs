//! Bundles of certificate authorities and revocation lists, as a trust store takes them.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/mutual-authentication.html>
//!
//! Pure: bytes in, what they hold out. Called by `trust_stores`.

use super::Refusal;
use pem::Pem;
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;

/// Signatures with MD5 or SHA-1: "supported signature algorithms are SHA256, SHA384, SHA512 with RSA or EC".
const WEAK: [&str; 4] = [
    "1.2.840.113549.1.1.4",
    "1.2.840.113549.1.1.5",
    "1.2.840.10045.4.1",
    "1.2.840.10040.4.3",
];

fn bundle_refused(why: &str) -> Refusal {
    Refusal::InvalidCaCertificatesBundle(format!("The CA certificates bundle is not valid: {why}"))
}

fn list_refused(why: &str) -> Refusal {
    Refusal::InvalidRevocationContent(format!("The revocation file is not valid: {why}"))
}

/// The certificates of a bundle as PEM, without what stands between them, and their count.
pub fn bundle(bytes: &[u8], certificates_max: usize) -> Result<(String, usize), Refusal> {
    let blocks = pem::parse_many(bytes).map_err(|_| bundle_refused("it is not PEM"))?;
    if blocks.is_empty() {
        return Err(bundle_refused("it holds no certificate"));
    }
    if blocks.len() > certificates_max {
        return Err(bundle_refused(&format!(
            "it holds more than {certificates_max} certificates"
        )));
    }
    for block in &blocks {
        if block.tag() != "CERTIFICATE" {
            return Err(bundle_refused("it holds something else than certificates"));
        }
        let certificate = Certificate::from_der(block.contents())
            .map_err(|_| bundle_refused("one of its certificates can't be read"))?;
        if WEAK.contains(&certificate.signature_algorithm.oid.to_string().as_str()) {
            return Err(bundle_refused(
                "one of its certificates has an unsupported signature algorithm",
            ));
        }
    }
    Ok((text(&blocks), blocks.len()))
}

/// The certificates that a stored bundle holds.
pub fn count(bundle: &str) -> usize {
    bundle.matches("-----BEGIN CERTIFICATE-----").count()
}

/// One revocation list as PEM, and how many entries it has.
pub fn revocation_list(bytes: &[u8]) -> Result<(String, usize), Refusal> {
    let blocks = pem::parse_many(bytes).map_err(|_| list_refused("it is not PEM"))?;
    let [block] = blocks.as_slice() else {
        return Err(list_refused("it must hold exactly one revocation list"));
    };
    if block.tag() != "X509 CRL" {
        return Err(list_refused("it must hold a certificate revocation list"));
    }
    let list = CertificateList::from_der(block.contents())
        .map_err(|_| list_refused("the list can't be read"))?;
    if WEAK.contains(&list.signature_algorithm.oid.to_string().as_str()) {
        return Err(list_refused(
            "the list has an unsupported signature algorithm",
        ));
    }
    let entries = list.tbs_cert_list.revoked_certificates;
    Ok((text(&blocks), entries.map_or(0, |entries| entries.len())))
}

fn text(blocks: &[Pem]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_many_config(blocks, config)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer,
        KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    };

    /// An authority as PEM, and a list of it that revokes so many.
    pub(crate) fn authority(revoked: u64) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap();
        let day = |day| rcgen::date_time_ymd(2030, 1, day);
        let list = CertificateRevocationListParams {
            this_update: day(1),
            next_update: day(2),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: (0..revoked)
                .map(|serial| RevokedCertParams {
                    serial_number: SerialNumber::from(serial + 1),
                    revocation_time: day(1),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&Issuer::new(params, key)).unwrap();
        (certificate.pem(), list.pem().unwrap())
    }

    #[test]
    fn a_bundle_holds_certificates_and_nothing_else() {
        let (authority, list) = authority(0);
        let two = format!("# first\n{authority}\r\n# second\n{authority}");
        let (text, number) = bundle(two.as_bytes(), 25).unwrap();
        assert_eq!((number, count(&text)), (2, 2));
        assert!(!text.contains('#') && !text.contains('\r'));
        for bad in [
            String::new(),
            "nonsense".to_owned(),
            list,
            authority.replacen("MII", "MIJ", 1),
        ] {
            let refused = bundle(bad.as_bytes(), 25);
            assert!(
                matches!(refused, Err(Refusal::InvalidCaCertificatesBundle(_))),
                "{bad}"
            );
        }
        assert!(bundle(two.as_bytes(), 1).is_err());
    }

    #[test]
    fn a_revocation_list_tells_how_many_it_revokes() {
        let (authority, list) = authority(3);
        assert_eq!(revocation_list(list.as_bytes()).unwrap().1, 3);
        for bad in [String::new(), authority, format!("{list}{list}")] {
            let refused = revocation_list(bad.as_bytes());
            assert!(
                matches!(refused, Err(Refusal::InvalidRevocationContent(_))),
                "{bad}"
            );
        }
    }
}
