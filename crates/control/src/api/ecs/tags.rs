//! Tags of any ECS resource.

use super::{read_tags, show_tags};
use crate::api::{ApiError, Context};
use crate::model::ecs::tags;
use fogbank_types::Tags;
use fogbank_wire::ecs as wire;

pub fn tag(
    context: &Context,
    request: wire::TagResourceRequest,
) -> Result<wire::TagResourceResponse, ApiError> {
    let (scope, add) = (context.scope(), read_tags(Some(request.tags))?);
    context.write(|tx| {
        Ok(tags::change(
            tx,
            &scope,
            &request.resource_arn,
            add.clone(),
            &[],
        )?)
    })?;
    Ok(wire::TagResourceResponse {})
}

pub fn untag(
    context: &Context,
    request: wire::UntagResourceRequest,
) -> Result<wire::UntagResourceResponse, ApiError> {
    let scope = context.scope();
    context.write(|tx| {
        Ok(tags::change(
            tx,
            &scope,
            &request.resource_arn,
            Tags::new(),
            &request.tag_keys,
        )?)
    })?;
    Ok(wire::UntagResourceResponse {})
}

pub fn list(
    context: &Context,
    request: wire::ListTagsForResourceRequest,
) -> Result<wire::ListTagsForResourceResponse, ApiError> {
    let tags = tags::list(&context.snapshot(), &context.scope(), &request.resource_arn)?;
    Ok(wire::ListTagsForResourceResponse {
        tags: Some(show_tags(&tags)),
    })
}
