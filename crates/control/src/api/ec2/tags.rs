//! Tags, given with a create call or by calls of their own.

use super::filters::Filters;
use super::query::{Query, dry_run, page};
use super::write;
use crate::api::{ApiError, Context};
use crate::model::vpc::{Refusal, tags};
use fogbank_types::Tags;
use fogbank_wire::ec2::*;

/// The tags of a create call; every specification must be about the one kind of resource that it creates.
pub fn specified(
    given: Option<Vec<TagSpecification>>,
    resource_type: &str,
) -> Result<Tags, Refusal> {
    let refuse = |text: String| Err(Refusal::TagSpecification { text });
    let mut all = Vec::new();
    for specification in given.unwrap_or_default() {
        match specification.resource_type.as_deref() {
            None => return refuse("Tag specification resource type must have a value".to_owned()),
            Some(kind) if kind != resource_type => {
                return refuse(format!(
                    "'{kind}' is not a valid taggable resource type for this operation."
                ));
            }
            Some(_) => {}
        }
        let own = specification.tags.unwrap_or_default();
        if own.is_empty() {
            return refuse("Tag specification must have at least one tag".to_owned());
        }
        all.extend(pairs(own));
    }
    tags::parse(&all)
}

fn pairs(given: Vec<Tag>) -> impl Iterator<Item = (String, String)> {
    given
        .into_iter()
        .map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()))
}

/// Tags as replies show them.
pub fn render(tags: &Tags) -> Option<Vec<Tag>> {
    let tag = |(key, value): (&String, &String)| Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    Some(tags.iter().map(tag).collect())
}

fn resources(given: Vec<String>) -> Result<Vec<String>, Refusal> {
    if given.is_empty() {
        Err(Refusal::MissingParameter {
            name: "resourceIdSet",
        })
    } else {
        Ok(given)
    }
}

pub fn create(
    context: &Context,
    request: CreateTagsRequest,
) -> Result<CreateTagsResponse, ApiError> {
    let resources = resources(request.resources)?;
    if request.tags.is_empty() {
        return Err(Refusal::MissingParameter { name: "tagSet" }.into());
    }
    let new = tags::parse(&pairs(request.tags).collect::<Vec<_>>())?;
    write(context, request.dry_run, |tx| {
        tags::create(tx, &context.scope(), &resources, &new)
    })?;
    Ok(CreateTagsResponse {})
}

pub fn delete(
    context: &Context,
    request: DeleteTagsRequest,
) -> Result<DeleteTagsResponse, ApiError> {
    let resources = resources(request.resources)?;
    let selection: Option<Vec<_>> = request.tags.filter(|tags| !tags.is_empty()).map(|tags| {
        tags.into_iter()
            .map(|tag| (tag.key.unwrap_or_default(), tag.value))
            .collect()
    });
    write(context, request.dry_run, |tx| {
        tags::delete(tx, &context.scope(), &resources, selection.as_deref())
    })?;
    Ok(DeleteTagsResponse {})
}

const FILTERS: &[&str] = &["key", "resource-id", "resource-type", "value"];

pub fn describe(
    context: &Context,
    request: DescribeTagsRequest,
) -> Result<DescribeTagsResult, ApiError> {
    dry_run(request.dry_run)?;
    let Query {
        filters,
        max_results,
        next_token,
        ..
    } = Query {
        ids: None,
        filters: request.filters,
        max_results: request.max_results,
        next_token: request.next_token,
        dry_run: None,
    };
    let filters = Filters::parse(filters, FILTERS)?;
    let mut found = Vec::new();
    for (id, kind, tags) in tags::all(&context.snapshot(), &context.scope()) {
        for (key, value) in tags {
            let own = Tags::from([(key.clone(), value.clone())]);
            let values = |name: &str| match name {
                "key" => vec![key.clone()],
                "value" => vec![value.clone()],
                "resource-id" => vec![id.clone()],
                _ => vec![kind.to_owned()],
            };
            if filters.accept(&own, values) {
                found.push(TagDescription {
                    key: Some(key.clone()),
                    resource_id: Some(id.clone()),
                    resource_type: Some(kind.to_owned()),
                    value: Some(value.clone()),
                });
            }
        }
    }
    let place = |tag: &TagDescription| {
        format!(
            "{}\u{1}{}",
            tag.resource_id.as_deref().unwrap_or_default(),
            tag.key.as_deref().unwrap_or_default()
        )
    };
    found.sort_by_key(place);
    let (tags, next_token) = page(found, place, max_results, next_token)?;
    Ok(DescribeTagsResult {
        tags: Some(tags),
        next_token,
    })
}
