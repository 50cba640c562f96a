//! Tags of hosted zones and health checks.

use crate::api::{ApiError, Context};
use crate::model::route53::{Refusal, invalid, tags};
use fogbank_types::{Scope, Snapshot};
use fogbank_wire::route53::*;

/// Tagging, unlike the rest of Route 53, takes an id only without its path (observed on AWS).
fn resource<'a>(kind: &str, id: &'a str) -> Result<&'a str, Refusal> {
    const CHARACTERS_MAX: usize = 32;
    // A health check's is a UUID.
    if id.len() > CHARACTERS_MAX && kind == "hostedzone" {
        return Err(invalid(format!(
            "1 validation error detected: Value '{id}' at 'resourceId' failed to satisfy constraint: Member must have length less than or equal to {CHARACTERS_MAX}"
        )));
    }
    Ok(id)
}

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
    let (scope, id) = (
        context.scope().global(),
        resource(&input.resource_type, &input.resource_id)?,
    );
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
        resource(&input.resource_type, &input.resource_id)?,
    )?;
    Ok(ListTagsForResourceResponse { resource_tag_set })
}

pub fn list_many(
    context: &Context,
    input: ListTagsForResourcesRequest,
) -> Result<ListTagsForResourcesResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let one = |id: &String| {
        set(
            &snapshot,
            &scope,
            &input.resource_type,
            resource(&input.resource_type, id)?,
        )
    };
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

#[cfg(test)]
mod tests {
    use super::resource;

    #[test]
    fn an_id_with_its_path_is_too_long() {
        assert_eq!(
            resource("hostedzone", "Z020YUEV5IRZHUUPRJZE").unwrap(),
            "Z020YUEV5IRZHUUPRJZE"
        );
        let refused = resource("hostedzone", "/hostedzone/Z020YUEV5IRZHUUPRJZEA").unwrap_err();
        assert!(refused.to_string().contains("less than or equal to 32"));
    }
}
