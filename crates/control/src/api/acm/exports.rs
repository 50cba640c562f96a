//! Certificates handed out, with and without their keys.

use crate::api::{ApiError, Context};
use crate::model::acm::certificates;
use fogbank_pki::key;
use fogbank_wire::acm as wire;

pub fn get(
    context: &Context,
    request: wire::GetCertificateRequest,
) -> Result<wire::GetCertificateResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let material = certificates::material(&snapshot, &scope, &request.certificate_arn)?;
    Ok(wire::GetCertificateResponse {
        certificate: Some(material.certificate.clone()),
        certificate_chain: material.chain.clone(),
    })
}

pub fn export(
    context: &Context,
    request: wire::ExportCertificateRequest,
) -> Result<wire::ExportCertificateResponse, ApiError> {
    let scope = context.scope();
    certificates::check_passphrase(&request.passphrase)?;
    let arn = &request.certificate_arn;
    let material = context.write(|tx| Ok(certificates::export(tx, &scope, arn)?))?;
    let private_key =
        key::encrypted(&material.private_key, &request.passphrase).map_err(|error| {
            tracing::error!(%error, arn, "a key cannot be exported");
            ApiError::new("InternalFailure", "The key could not be encrypted.").with_status(500)
        })?;
    Ok(wire::ExportCertificateResponse {
        certificate: Some(material.certificate),
        certificate_chain: material.chain,
        private_key: Some(private_key),
    })
}
