//! Certificates that a caller brings with their keys.
//! <https://docs.aws.amazon.com/acm/latest/userguide/import-certificate-prerequisites.html>
//! <https://docs.aws.amazon.com/acm/latest/userguide/import-reimport.html>

use super::{Refusal, find, invalid, issuance, tags};
use crate::model::Tx;
use fogbank_pki::{Certificate as X509, CertificateError, KeyAlgorithm, KeyError, key};
use fogbank_types::acm::{Certificate, CertificateKind, CertificateMaterial, CertificateStatus};
use fogbank_types::{Scope, Tags, Timestamp};

/// <https://docs.aws.amazon.com/acm/latest/userguide/acm-limits.html>
const IMPORTED_MAX: u32 = 2500;

/// Everything in PEM, as it came.
#[derive(Clone)]
pub struct Import {
    /// Imported before, to be replaced.
    pub arn: Option<String>,
    pub certificate: Vec<u8>,
    pub private_key: Vec<u8>,
    pub chain: Option<Vec<u8>>,
    pub tags: Tags,
}

/// Never the key.
impl std::fmt::Debug for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Import")
            .field("arn", &self.arn)
            .finish_non_exhaustive()
    }
}

/// What an import says, checked.
#[derive(Debug)]
struct Checked {
    names: Vec<String>,
    algorithm: KeyAlgorithm,
    material: CertificateMaterial,
}

pub fn import(tx: &mut Tx, scope: &Scope, import: &Import) -> Result<Certificate, Refusal> {
    let before = match &import.arn {
        Some(arn) => Some(find(tx.snapshot(), scope, arn)?.clone()),
        None => None,
    };
    tags::check(&import.tags)?;
    let checked = check(import, tx.now())?;
    let now = tx.now();
    if let Some(before) = before {
        check_replacement(&before, &checked, import)?;
        let row = Certificate {
            domain_name: checked.names[0].clone(),
            names: checked.names,
            status: CertificateStatus::Issued,
            material: Some(checked.material),
            imported_at: Some(now),
            ..Certificate::clone(&before)
        };
        tx.put(row.clone());
        return Ok(row);
    }
    let limit = tx.config().quota("L-D2CB7DE9", IMPORTED_MAX);
    let count = tx.snapshot().certificates.in_scope(scope);
    let count = count.filter(|row| row.kind == CertificateKind::Imported);
    if count.count() >= limit {
        return Err(Refusal::LimitExceeded(
            "You have reached the maximum number of certificates. Delete certificates that are not in use, or contact AWS Support to request an increase.".to_owned(),
        ));
    }
    let row = Certificate {
        scope: scope.clone(),
        arn: scope.arn("acm", &format!("certificate/{}", tx.uuid())),
        domain_name: checked.names[0].clone(),
        names: checked.names,
        kind: CertificateKind::Imported,
        status: CertificateStatus::Issued,
        validation_method: None,
        validations: Vec::new(),
        key_algorithm: checked.algorithm.name().to_owned(),
        transparency_logging: false,
        export: None,
        idempotency_token: None,
        failure_reason: None,
        material: Some(checked.material),
        created_at: now,
        issued_at: None,
        imported_at: Some(now),
        exported_at: None,
        renewal: None,
        tags: import.tags.clone(),
    };
    tx.put(row.clone());
    Ok(row)
}

fn check(import: &Import, now: Timestamp) -> Result<Checked, Refusal> {
    let certificate = leaf(&import.certificate)?;
    let algorithm = certificate.key_algorithm().ok_or_else(unsupported)?;
    if !certificate.is_version_3() {
        return Err(invalid(
            "The certificate is not an X.509 version 3 certificate.",
        ));
    }
    if now.0 < certificate.not_before_ms() {
        return Err(invalid("The certificate is not yet valid."));
    }
    if now.0 > certificate.not_after_ms() {
        return Err(invalid("The certificate has expired."));
    }
    let private_key = key::matching(&import.private_key, &certificate).map_err(of_key)?;
    let chain = check_chain(&certificate, import.chain.as_deref())?;
    let mut names = Vec::new();
    let common = certificate.common_name().filter(|name| is_host(name));
    for name in common.into_iter().chain(certificate.dns_names()) {
        let name = name.to_ascii_lowercase();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return Err(invalid(
            "The certificate must have at least one fully qualified domain name.",
        ));
    }
    Ok(Checked {
        names,
        algorithm,
        material: issuance::material(&certificate, chain, private_key),
    })
}

fn leaf(text: &[u8]) -> Result<X509, Refusal> {
    let mut all = X509::read(text).map_err(|error| match error {
        CertificateError::NotPem => {
            invalid("The certificate body/chain provided is not in a valid PEM format.")
        }
        CertificateError::NotCertificate => {
            invalid("Unable to parse certificate. Please ensure the certificate is in PEM format.")
        }
    })?;
    match (all.pop(), all.pop()) {
        (Some(one), None) => Ok(one),
        _ => Err(invalid(
            "The certificate field contains more than one certificate. You can specify only one certificate in this field.",
        )),
    }
}

fn unsupported() -> Refusal {
    let names = KeyAlgorithm::ALL.map(KeyAlgorithm::name).join(", ");
    invalid(format!(
        "The private key is not supported. Only {names} private keys are allowed."
    ))
}

fn of_key(error: KeyError) -> Refusal {
    match error {
        KeyError::NotPem => invalid("The private key provided is not in a valid PEM format."),
        KeyError::Encrypted => {
            invalid("The private key is encrypted. Private keys must not have a passphrase.")
        }
        KeyError::Mismatch => invalid("The private key does not match the certificate."),
        KeyError::Unsupported | KeyError::Make | KeyError::Encrypt => unsupported(),
    }
}

/// Each certificate directly certifies the one before it; without a chain the certificate certifies itself.
fn check_chain(certificate: &X509, chain: Option<&[u8]>) -> Result<Option<String>, Refusal> {
    let Some(text) = chain.filter(|text| !text.iter().all(u8::is_ascii_whitespace)) else {
        return if certificate.is_self_signed() {
            Ok(None)
        } else {
            Err(invalid(
                "Provided certificate is not a valid self signed. Please provide either a valid self-signed certificate or certificate chain.",
            ))
        };
    };
    let issuers = X509::read(text).map_err(|_| {
        invalid("The certificate body/chain provided is not in a valid PEM format.")
    })?;
    let below = std::iter::once(certificate).chain(&issuers);
    // A certificate authority above others must say so; the last one may be of a time when they did not.
    let unnamed = issuers.len() > 1 && !issuers[..issuers.len() - 1].iter().all(X509::is_authority);
    let own = issuers
        .iter()
        .any(|issuer| issuer.pem() == certificate.pem());
    let broken = below
        .zip(&issuers)
        .any(|(subject, issuer)| !subject.is_issued_by(issuer));
    if broken || unnamed || (own && !certificate.is_self_signed()) {
        return Err(invalid(
            "Could not validate the certificate with the certificate chain.",
        ));
    }
    Ok(Some(issuers.iter().map(X509::pem).collect()))
}

fn is_host(name: &str) -> bool {
    let labels = name.strip_prefix("*.").unwrap_or(name);
    labels.contains('.')
        && labels.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

/// What a certificate that takes another's place must keep.
fn check_replacement(
    before: &Certificate,
    checked: &Checked,
    import: &Import,
) -> Result<(), Refusal> {
    if before.kind != CertificateKind::Imported {
        return Err(invalid(format!(
            "Certificate {} was not imported: it cannot be replaced by an import.",
            before.arn
        )));
    }
    if !import.tags.is_empty() {
        return Err(invalid("Tagging is not permitted on re-import."));
    }
    if before.key_algorithm != checked.algorithm.name() {
        return Err(invalid(
            "The key type and size of a certificate cannot be changed when it is imported again.",
        ));
    }
    let Some(material) = &before.material else {
        return Ok(());
    };
    let new = &checked.material;
    let lost = |old: &[String], new: &[String]| old.iter().any(|usage| !new.contains(usage));
    let oids = |material: &CertificateMaterial| -> Vec<String> {
        let usages = material.extended_key_usages.iter();
        usages.map(|usage| usage.oid.clone()).collect()
    };
    if lost(&material.key_usages, &new.key_usages) || lost(&oids(material), &oids(new)) {
        return Err(invalid(
            "Key usages and extended key usages of a certificate cannot be removed when it is imported again.",
        ));
    }
    Ok(())
}

#[cfg(test)]
#[path = "imports_tests.rs"]
mod tests;
