//! Certificates that the region's authority is to issue.
//! <https://docs.aws.amazon.com/acm/latest/APIReference/API_RequestCertificate.html>

use super::{Refusal, domains, find, invalid, tags};
use crate::model::Tx;
use fogbank_types::acm::{Certificate, CertificateKind, CertificateStatus};
use fogbank_types::{Scope, Tags};
use std::collections::BTreeMap;

/// As long a token names one request.
const TOKEN_LIFE_MS: u64 = 60 * 60 * 1000;
/// <https://docs.aws.amazon.com/acm/latest/userguide/acm-limits.html>
const CERTIFICATES_MAX: u32 = 2500;
const NAMES_MAX: u32 = 10;
/// Of public certificates. <https://docs.aws.amazon.com/acm/latest/userguide/acm-public-certificates.html>
const KEY_ALGORITHMS: [&str; 3] = ["RSA_2048", "EC_prime256v1", "EC_secp384r1"];

#[derive(Clone, Debug, Default)]
pub struct Request {
    pub domain_name: String,
    pub alternative_names: Vec<String>,
    /// `DNS` or `EMAIL`.
    pub validation_method: Option<String>,
    /// Domain to the domain that is asked by mail.
    pub validation_domains: Vec<(String, String)>,
    pub key_algorithm: Option<String>,
    pub transparency_logging: Option<bool>,
    /// `ENABLED` or `DISABLED`.
    pub export: Option<String>,
    pub idempotency_token: Option<String>,
    pub tags: Tags,
}

pub fn request(tx: &mut Tx, scope: &Scope, request: Request) -> Result<Certificate, Refusal> {
    let names = domains::names(&request.domain_name, &request.alternative_names)?;
    let key_algorithm = request.key_algorithm.as_deref().unwrap_or("RSA_2048");
    if !KEY_ALGORITHMS.contains(&key_algorithm) {
        return Err(invalid(format!(
            "The key algorithm {key_algorithm} is not supported for public certificates."
        )));
    }
    tags::check(&request.tags)?;
    // Without a method ACM asks by mail (the reference of ValidationMethod).
    let method = request.validation_method.as_deref().unwrap_or("EMAIL");
    let asked = validation_domains(&names, &request.validation_domains)?;
    let validations = names.iter().map(|name| match method {
        "DNS" => domains::by_dns(&scope.account, name),
        _ => {
            let asked = asked.get(name).map_or(domains::base(name), |domain| domain);
            domains::by_email(name, asked.to_owned())
        }
    });
    let certificate = Certificate {
        scope: scope.clone(),
        arn: String::new(),
        domain_name: names[0].clone(),
        validations: validations.collect(),
        names,
        kind: CertificateKind::AmazonIssued,
        status: CertificateStatus::PendingValidation,
        validation_method: Some(method.to_owned()),
        key_algorithm: key_algorithm.to_owned(),
        transparency_logging: request.transparency_logging.unwrap_or(true),
        export: Some(request.export.unwrap_or_else(|| "DISABLED".to_owned())),
        idempotency_token: request.idempotency_token,
        failure_reason: None,
        material: None,
        created_at: tx.now(),
        issued_at: None,
        imported_at: None,
        exported_at: None,
        renewal: None,
        tags: request.tags,
    };
    if let Some(same) = requested_before(tx, &certificate) {
        return Ok(same);
    }
    check_limits(tx, scope, certificate.names.len())?;
    let arn = scope.arn("acm", &format!("certificate/{}", tx.uuid()));
    let certificate = Certificate { arn, ..certificate };
    tx.put(certificate.clone());
    Ok(certificate)
}

fn validation_domains(
    names: &[String],
    options: &[(String, String)],
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut found = BTreeMap::new();
    for (name, domain) in options {
        let (name, domain) = (name.to_ascii_lowercase(), domain.to_ascii_lowercase());
        if !names.contains(&name) {
            return Err(Refusal::InvalidDomainValidationOptions(format!(
                "The domain name {name} of the validation options is not one of the certificate."
            )));
        }
        if !domains::answers_for(&domain, &name) {
            return Err(Refusal::InvalidDomainValidationOptions(format!(
                "The validation domain {domain} is not a superdomain of {name}."
            )));
        }
        found.insert(name, domain);
    }
    Ok(found)
}

/// What the same token has asked for within an hour.
fn requested_before(tx: &Tx, wanted: &Certificate) -> Option<Certificate> {
    let token = wanted.idempotency_token.as_ref()?;
    let life = tx.config().scaled_ms(TOKEN_LIFE_MS);
    let since = tx.now().plus_ms(-i64::try_from(life).unwrap_or(i64::MAX));
    tx.snapshot()
        .certificates
        .in_scope(&wanted.scope)
        .find(|row| {
            row.idempotency_token.as_ref() == Some(token)
                && row.created_at > since
                && row.names == wanted.names
                && row.validation_method == wanted.validation_method
                && row.key_algorithm == wanted.key_algorithm
        })
        .map(|row| Certificate::clone(row))
}

fn check_limits(tx: &Tx, scope: &Scope, names: usize) -> Result<(), Refusal> {
    if names > tx.config().quota("L-FB94F0B0", NAMES_MAX) {
        return Err(Refusal::LimitExceeded(
            "Certificate has too many domains.".to_owned(),
        ));
    }
    let limit = tx.config().quota("L-F141DD1D", CERTIFICATES_MAX);
    let count = tx.snapshot().certificates.in_scope(scope);
    let count = count.filter(|row| row.kind == CertificateKind::AmazonIssued);
    if count.count() >= limit {
        return Err(Refusal::LimitExceeded(format!(
            "Error: you have reached your limit of {limit} certificates."
        )));
    }
    Ok(())
}

/// What may still be chosen once it is requested.
/// <https://docs.aws.amazon.com/acm/latest/APIReference/API_UpdateCertificateOptions.html>
pub fn update_options(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    transparency_logging: Option<bool>,
    export: Option<String>,
) -> Result<(), Refusal> {
    let certificate = find(tx.snapshot(), scope, arn)?;
    if certificate.kind == CertificateKind::Imported {
        return Err(Refusal::InvalidState(format!(
            "Certificate {arn} was imported: it has no options."
        )));
    }
    if matches!(
        certificate.status,
        CertificateStatus::Expired
            | CertificateStatus::Failed
            | CertificateStatus::ValidationTimedOut
    ) {
        return Err(Refusal::InvalidState(format!(
            "Certificate {arn} is neither issued nor pending."
        )));
    }
    if certificate.exported_at.is_some() && export.as_deref() == Some("DISABLED") {
        return Err(Refusal::InvalidState(format!(
            "Certificate {arn} has been exported."
        )));
    }
    tx.update::<Certificate>(scope, arn, |row| {
        row.transparency_logging = transparency_logging.unwrap_or(row.transparency_logging);
        row.export = export.or(row.export.take());
    });
    Ok(())
}

/// Checks a request for another mail; the region sends none, so there is nothing more to do.
/// <https://docs.aws.amazon.com/acm/latest/APIReference/API_ResendValidationEmail.html>
pub fn resend_email(
    tx: &Tx,
    scope: &Scope,
    arn: &str,
    domain: &str,
    validation_domain: &str,
) -> Result<(), Refusal> {
    let certificate = find(tx.snapshot(), scope, arn)?;
    let pending = certificate.status == CertificateStatus::PendingValidation
        && certificate.validation_method.as_deref() == Some("EMAIL");
    if !pending {
        return Err(Refusal::InvalidState(format!(
            "Certificate {arn} is not waiting for validation by email."
        )));
    }
    let domain = domain.to_ascii_lowercase();
    if !certificate.names.contains(&domain)
        || !domains::answers_for(&validation_domain.to_ascii_lowercase(), &domain)
    {
        return Err(Refusal::InvalidDomainValidationOptions(format!(
            "{validation_domain} cannot validate {domain} for certificate {arn}."
        )));
    }
    Ok(())
}

#[cfg(test)]
#[path = "requests_tests.rs"]
mod tests;
