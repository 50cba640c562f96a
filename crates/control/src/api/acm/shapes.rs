//! One certificate, as DescribeCertificate shows it.

use crate::api::{ApiError, Context};
use crate::model::acm::{domains, find, listing, renewals};
use crate::model::elb::usage;
use fogbank_types::Snapshot;
use fogbank_types::acm::{Certificate, CertificateKind, DomainValidation, Renewal, RenewalStatus};
use fogbank_wire::acm as wire;

pub fn describe(
    context: &Context,
    request: wire::DescribeCertificateRequest,
) -> Result<wire::DescribeCertificateResponse, ApiError> {
    let snapshot = context.snapshot();
    let row = find(&snapshot, &context.scope(), &request.certificate_arn)?;
    Ok(wire::DescribeCertificateResponse {
        certificate: Some(detail(&snapshot, row)),
    })
}

pub fn type_name(kind: CertificateKind) -> &'static str {
    match kind {
        CertificateKind::Imported => "IMPORTED",
        CertificateKind::AmazonIssued => "AMAZON_ISSUED",
    }
}

pub fn eligibility(snapshot: &Snapshot, row: &Certificate) -> String {
    let eligible = renewals::is_eligible(snapshot, row);
    if eligible { "ELIGIBLE" } else { "INELIGIBLE" }.to_owned()
}

fn detail(snapshot: &Snapshot, row: &Certificate) -> wire::CertificateDetail {
    let is_requested = row.kind == CertificateKind::AmazonIssued;
    let material = row.material.as_ref();
    let method = row.validation_method.as_deref();
    let logging = if row.transparency_logging {
        "ENABLED"
    } else {
        "DISABLED"
    };
    wire::CertificateDetail {
        certificate_arn: Some(row.arn.clone()),
        created_at: Some(row.created_at),
        domain_name: Some(row.domain_name.clone()),
        domain_validation_options: is_requested.then(|| validations(&row.validations, method)),
        extended_key_usages: material.map(|material| {
            let usages = material.extended_key_usages.iter();
            let usages = usages.map(|usage| wire::ExtendedKeyUsage {
                name: Some(usage.name.clone()),
                oid: Some(usage.oid.clone()),
            });
            usages.collect()
        }),
        failure_reason: row.failure_reason.clone(),
        imported_at: row.imported_at,
        in_use_by: Some(usage::of_certificate(snapshot, &row.scope, &row.arn)),
        issued_at: row.issued_at,
        issuer: material.map(|material| material.issuer.clone()),
        key_algorithm: Some(algorithm_name(row)),
        key_usages: material.map(|material| {
            let usages = material.key_usages.iter();
            let usages = usages.map(|name| wire::KeyUsage {
                name: Some(name.clone()),
            });
            usages.collect()
        }),
        not_after: material.map(|material| material.not_after),
        not_before: material.map(|material| material.not_before),
        options: Some(wire::CertificateOptions {
            certificate_transparency_logging_preference: Some(logging.to_owned()),
            export: row.export.clone(),
        }),
        renewal_eligibility: Some(eligibility(snapshot, row)),
        renewal_summary: row.renewal.as_ref().map(|renewal| summary(renewal, method)),
        serial: material.map(|material| material.serial.clone()),
        signature_algorithm: Some(material.map_or_else(
            || signature_of(&row.key_algorithm).to_owned(),
            |material| material.signature_algorithm.clone(),
        )),
        status: Some(listing::status_name(row.status).to_owned()),
        subject: Some(material.map_or_else(
            || format!("CN={}", row.domain_name),
            |material| material.subject.clone(),
        )),
        subject_alternative_names: Some(row.names.clone()),
        r#type: Some(type_name(row.kind).to_owned()),
        ..wire::CertificateDetail::default()
    }
}

/// ACM takes `RSA_2048` and `EC_prime256v1`, and shows them with a hyphen (clients of Terraform's provider know: "ACM
/// DescribeCertificate returns hyphenated string values instead of underscore separated").
pub fn algorithm_name(row: &Certificate) -> String {
    row.key_algorithm.replacen('_', "-", 1)
}

/// What ACM announces before there is a certificate.
fn signature_of(key_algorithm: &str) -> &'static str {
    if key_algorithm.starts_with("RSA") {
        "SHA256WITHRSA"
    } else {
        "SHA256WITHECDSA"
    }
}

fn validations(all: &[DomainValidation], method: Option<&str>) -> Vec<wire::DomainValidation> {
    let shown = all.iter().map(|validation| {
        let name = validation.domain_name.clone();
        let by_record = !validation.record_name.is_empty();
        let asked = validation.validation_domain.as_ref().unwrap_or(&name);
        wire::DomainValidation {
            validation_domain: Some(asked.clone()),
            validation_emails: (!by_record).then(|| domains::mail_addresses(asked)),
            validation_method: method.map(str::to_owned),
            validation_status: Some(validation.status.clone()),
            resource_record: by_record.then(|| wire::ResourceRecord {
                name: validation.record_name.clone(),
                r#type: "CNAME".to_owned(),
                value: validation.record_value.clone(),
            }),
            http_redirect: None,
            domain_name: name,
        }
    });
    shown.collect()
}

fn summary(renewal: &Renewal, method: Option<&str>) -> wire::RenewalSummary {
    let status = match renewal.status {
        RenewalStatus::PendingAutoRenewal => "PENDING_AUTO_RENEWAL",
        RenewalStatus::PendingValidation => "PENDING_VALIDATION",
        RenewalStatus::Success => "SUCCESS",
        RenewalStatus::Failed => "FAILED",
    };
    wire::RenewalSummary {
        domain_validation_options: validations(&renewal.validations, method),
        renewal_status: status.to_owned(),
        renewal_status_reason: renewal.reason.clone(),
        updated_at: renewal.updated_at,
    }
}
