//! Tags of hosted zones.

use super::bare;
use crate::api::{ApiError, Context};
use crate::model::route53::{invalid, tags};
use fogbank_types::{Scope, Snapshot};
use fogbank_wire::route53::*;

pub fn change(
    context: &Context,
    input: ChangeTagsForResourceRequest,
) -> Result<ChangeTagsForResourceResponse, ApiError> {
    let pair = |tag: Tag| {
        let key = tag.key.ok_or_else(|| invalid("A tag must have a key"))?;
        Ok((key, tag.value.unwrap_or_default()))
    };
    let add: Vec<_> = input
        .add_tags
        .unwrap_or_default()
        .into_iter()
        .map(pair)
        .collect::<Result<_, ApiError>>()?;
    let remove = input.remove_tag_keys.unwrap_or_default();
    let (scope, id) = (context.scope().global(), bare(&input.resource_id));
    let kind = &input.resource_type;
    context.write(|tx| Ok(tags::change(tx, &scope, kind, id, &add, &remove)?))?;
    Ok(ChangeTagsForResourceResponse {})
}

pub fn list(
    context: &Context,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let resource_tag_set = set(
        &snapshot,
        &scope,
        &input.resource_type,
        bare(&input.resource_id),
    )?;
    Ok(ListTagsForResourceResponse { resource_tag_set })
}

pub fn list_many(
    context: &Context,
    input: ListTagsForResourcesRequest,
) -> Result<ListTagsForResourcesResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let one = |id: &String| set(&snapshot, &scope, &input.resource_type, bare(id));
    let resource_tag_sets = input
        .resource_ids
        .iter()
        .map(one)
        .collect::<Result<_, _>>()?;
    Ok(ListTagsForResourcesResponse { resource_tag_sets })
}

fn set(
    snapshot: &Snapshot,
    scope: &Scope,
    kind: &str,
    id: &str,
) -> Result<ResourceTagSet, ApiError> {
    let render = |(key, value): (&String, &String)| Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    Ok(ResourceTagSet {
        resource_id: Some(id.to_owned()),
        resource_type: Some(kind.to_owned()),
        tags: Some(
            tags::of(snapshot, scope, kind, id)?
                .iter()
                .map(render)
                .collect(),
        ),
    })
}
