//! Tags of namespaces and services.

use crate::api::{ApiError, Context};
use crate::model::discovery::tags as model;
use fogbank_types::Tags;
use fogbank_wire::servicediscovery as wire;

pub fn tag(
    context: &Context,
    input: wire::TagResourceRequest,
) -> Result<wire::TagResourceResponse, ApiError> {
    let (scope, tags) = (context.scope(), super::namespaces::tags(Some(input.tags)));
    context.write(|tx| Ok(model::change(tx, &scope, &input.resource_arn, &tags, &[])?))?;
    Ok(wire::TagResourceResponse {})
}

pub fn untag(
    context: &Context,
    input: wire::UntagResourceRequest,
) -> Result<wire::UntagResourceResponse, ApiError> {
    let (scope, none) = (context.scope(), Tags::new());
    context.write(|tx| {
        let (arn, keys) = (&input.resource_arn, &input.tag_keys);
        Ok(model::change(tx, &scope, arn, &none, keys)?)
    })?;
    Ok(wire::UntagResourceResponse {})
}

pub fn list(
    context: &Context,
    input: wire::ListTagsForResourceRequest,
) -> Result<wire::ListTagsForResourceResponse, ApiError> {
    let tags = model::of(&context.snapshot(), &context.scope(), &input.resource_arn)?;
    let tags = tags
        .into_iter()
        .map(|(key, value)| wire::Tag { key, value });
    Ok(wire::ListTagsForResourceResponse {
        tags: Some(tags.collect()),
    })
}
