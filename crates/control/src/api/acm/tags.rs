//! Tags of certificates.

use crate::api::{ApiError, Context};
use crate::model::acm::{find, tags};
use fogbank_types::Tags;
use fogbank_wire::acm as wire;

pub fn read(tags: Vec<wire::Tag>) -> Tags {
    tags.into_iter()
        .map(|tag| (tag.key, tag.value.unwrap_or_default()))
        .collect()
}

pub fn add(
    context: &Context,
    request: wire::AddTagsToCertificateRequest,
) -> Result<wire::AddTagsToCertificateResponse, ApiError> {
    let scope = context.scope();
    let added = read(request.tags);
    context.write(|tx| Ok(tags::add(tx, &scope, &request.certificate_arn, &added)?))?;
    Ok(wire::AddTagsToCertificateResponse {})
}

pub fn remove(
    context: &Context,
    request: wire::RemoveTagsFromCertificateRequest,
) -> Result<wire::RemoveTagsFromCertificateResponse, ApiError> {
    let scope = context.scope();
    let gone = request.tags.into_iter().map(|tag| (tag.key, tag.value));
    let gone: Vec<_> = gone.collect();
    context.write(|tx| Ok(tags::remove(tx, &scope, &request.certificate_arn, &gone)?))?;
    Ok(wire::RemoveTagsFromCertificateResponse {})
}

pub fn list(
    context: &Context,
    request: wire::ListTagsForCertificateRequest,
) -> Result<wire::ListTagsForCertificateResponse, ApiError> {
    let snapshot = context.snapshot();
    let row = find(&snapshot, &context.scope(), &request.certificate_arn)?;
    let tags = row.tags.iter().map(|(key, value)| wire::Tag {
        key: key.clone(),
        value: Some(value.clone()),
    });
    Ok(wire::ListTagsForCertificateResponse {
        tags: Some(tags.collect()),
    })
}
