//! Tags of parameters.

use crate::api::{ApiError, Context};
use crate::model::ssm::tags as model;
use fogbank_types::Tags;
use fogbank_wire::ssm as wire;

pub fn add(
    context: &Context,
    input: wire::AddTagsToResourceRequest,
) -> Result<wire::AddTagsToResourceResult, ApiError> {
    let scope = context.scope();
    let tags: Tags = input
        .tags
        .into_iter()
        .map(|tag| (tag.key, tag.value))
        .collect();
    context.write(|tx| {
        let (kind, id) = (&input.resource_type, &input.resource_id);
        Ok(model::change(tx, &scope, kind, id, &tags, &[])?)
    })?;
    Ok(wire::AddTagsToResourceResult {})
}

pub fn remove(
    context: &Context,
    input: wire::RemoveTagsFromResourceRequest,
) -> Result<wire::RemoveTagsFromResourceResult, ApiError> {
    let scope = context.scope();
    context.write(|tx| {
        let (kind, id) = (&input.resource_type, &input.resource_id);
        Ok(model::change(
            tx,
            &scope,
            kind,
            id,
            &Tags::new(),
            &input.tag_keys,
        )?)
    })?;
    Ok(wire::RemoveTagsFromResourceResult {})
}

pub fn list(
    context: &Context,
    input: wire::ListTagsForResourceRequest,
) -> Result<wire::ListTagsForResourceResult, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let tags = model::of(&snapshot, &scope, &input.resource_type, &input.resource_id)?;
    let tags = tags
        .into_iter()
        .map(|(key, value)| wire::Tag { key, value });
    Ok(wire::ListTagsForResourceResult {
        tag_list: Some(tags.collect()),
    })
}
