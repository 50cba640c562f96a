//! Tags of scalable targets.

use crate::api::{ApiError, Context};
use crate::model::scaling::tags;
use fogbank_types::Tags;
use fogbank_wire::application_autoscaling as wire;

pub fn tag(
    context: &Context,
    request: wire::TagResourceRequest,
) -> Result<wire::TagResourceResponse, ApiError> {
    let scope = context.scope();
    context.write(|tx| {
        let add = request.tags.clone();
        Ok(tags::change(tx, &scope, &request.resource_arn, add, &[])?)
    })?;
    Ok(wire::TagResourceResponse {})
}

pub fn untag(
    context: &Context,
    request: wire::UntagResourceRequest,
) -> Result<wire::UntagResourceResponse, ApiError> {
    let scope = context.scope();
    context.write(|tx| {
        let gone = &request.tag_keys;
        Ok(tags::change(
            tx,
            &scope,
            &request.resource_arn,
            Tags::new(),
            gone,
        )?)
    })?;
    Ok(wire::UntagResourceResponse {})
}

pub fn list(
    context: &Context,
    request: wire::ListTagsForResourceRequest,
) -> Result<wire::ListTagsForResourceResponse, ApiError> {
    let snapshot = context.snapshot();
    let target = tags::find(&snapshot, &context.scope(), &request.resource_arn)?;
    Ok(wire::ListTagsForResourceResponse {
        tags: Some(target.tags.clone()),
    })
}
