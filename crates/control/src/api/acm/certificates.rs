//! Certificates: requested, imported, changed, deleted.

use super::tags;
use crate::api::{ApiError, Context};
use crate::model::acm::imports::Import;
use crate::model::acm::requests::Request;
use crate::model::acm::{certificates, imports, renewals, requests};
use fogbank_wire::acm as wire;

fn refused(text: &str) -> ApiError {
    ApiError::new("ValidationException", text)
}

pub fn request(
    context: &Context,
    request: wire::RequestCertificateRequest,
) -> Result<wire::RequestCertificateResponse, ApiError> {
    if request.certificate_authority_arn.is_some() {
        return Err(refused(
            "Private certificates (CertificateAuthorityArn) are not offered by this region yet.",
        ));
    }
    if request.managed_by.is_some() || request.validation_method.as_deref() == Some("HTTP") {
        return Err(refused(
            "HTTP validation and ManagedBy are for CloudFront, which this region does not have.",
        ));
    }
    let options = request.options.unwrap_or_default();
    let logging = options.certificate_transparency_logging_preference;
    let asked = request.domain_validation_options.unwrap_or_default();
    let wanted = Request {
        domain_name: request.domain_name,
        alternative_names: request.subject_alternative_names.unwrap_or_default(),
        validation_method: request.validation_method,
        validation_domains: asked
            .into_iter()
            .map(|option| (option.domain_name, option.validation_domain))
            .collect(),
        key_algorithm: request.key_algorithm,
        transparency_logging: logging.map(|preference| preference == "ENABLED"),
        export: options.export,
        idempotency_token: request.idempotency_token,
        tags: tags::read(request.tags.unwrap_or_default()),
    };
    let scope = context.scope();
    let row = context.write(|tx| Ok(requests::request(tx, &scope, wanted.clone())?))?;
    Ok(wire::RequestCertificateResponse {
        certificate_arn: Some(row.arn),
    })
}

pub fn import(
    context: &Context,
    request: wire::ImportCertificateRequest,
) -> Result<wire::ImportCertificateResponse, ApiError> {
    let wanted = Import {
        arn: request.certificate_arn,
        certificate: request.certificate.to_vec(),
        private_key: request.private_key.to_vec(),
        chain: request.certificate_chain.map(|chain| chain.to_vec()),
        tags: tags::read(request.tags.unwrap_or_default()),
    };
    let scope = context.scope();
    let row = context.write(|tx| Ok(imports::import(tx, &scope, &wanted)?))?;
    Ok(wire::ImportCertificateResponse {
        certificate_arn: Some(row.arn),
    })
}

pub fn delete(
    context: &Context,
    request: wire::DeleteCertificateRequest,
) -> Result<wire::DeleteCertificateResponse, ApiError> {
    let scope = context.scope();
    context.write(|tx| Ok(certificates::delete(tx, &scope, &request.certificate_arn)?))?;
    Ok(wire::DeleteCertificateResponse {})
}

pub fn update_options(
    context: &Context,
    request: wire::UpdateCertificateOptionsRequest,
) -> Result<wire::UpdateCertificateOptionsResponse, ApiError> {
    let scope = context.scope();
    let options = request.options;
    let logging = options.certificate_transparency_logging_preference;
    let logging = logging.map(|preference| preference == "ENABLED");
    context.write(|tx| {
        let export = options.export.clone();
        let arn = &request.certificate_arn;
        Ok(requests::update_options(tx, &scope, arn, logging, export)?)
    })?;
    Ok(wire::UpdateCertificateOptionsResponse {})
}

pub fn renew(
    context: &Context,
    request: wire::RenewCertificateRequest,
) -> Result<wire::RenewCertificateResponse, ApiError> {
    let scope = context.scope();
    context.write(|tx| Ok(renewals::renew(tx, &scope, &request.certificate_arn)?))?;
    Ok(wire::RenewCertificateResponse {})
}

pub fn resend_email(
    context: &Context,
    request: wire::ResendValidationEmailRequest,
) -> Result<wire::ResendValidationEmailResponse, ApiError> {
    let scope = context.scope();
    context.write(|tx| {
        Ok(requests::resend_email(
            tx,
            &scope,
            &request.certificate_arn,
            &request.domain,
            &request.validation_domain,
        )?)
    })?;
    Ok(wire::ResendValidationEmailResponse {})
}
