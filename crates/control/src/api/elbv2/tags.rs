//! Tags.

use crate::api::{ApiError, Context};
use crate::model::elb::{invalid, tags};
use fogbank_types::Tags;
use fogbank_wire::elbv2::*;

const ARNS_MAX: usize = 20;

fn check_count(arns: &[String]) -> Result<(), ApiError> {
    if arns.is_empty() || arns.len() > ARNS_MAX {
        return Err(invalid(format!(
            "Between 1 and {ARNS_MAX} resource ARNs must be specified"
        ))
        .into());
    }
    Ok(())
}

pub fn add(context: &Context, input: AddTagsInput) -> Result<AddTagsOutput, ApiError> {
    check_count(&input.resource_arns)?;
    let pairs = input
        .tags
        .into_iter()
        .map(|tag| (tag.key, tag.value.unwrap_or_default()));
    let (scope, wanted) = (context.scope(), tags::collect(pairs)?);
    context.write(|tx| Ok(tags::add(tx, &scope, &input.resource_arns, &wanted)?))?;
    Ok(AddTagsOutput {})
}

pub fn remove(context: &Context, input: RemoveTagsInput) -> Result<RemoveTagsOutput, ApiError> {
    check_count(&input.resource_arns)?;
    let scope = context.scope();
    context.write(|tx| {
        Ok(tags::remove(
            tx,
            &scope,
            &input.resource_arns,
            &input.tag_keys,
        )?)
    })?;
    Ok(RemoveTagsOutput {})
}

pub fn describe(
    context: &Context,
    input: DescribeTagsInput,
) -> Result<DescribeTagsOutput, ApiError> {
    check_count(&input.resource_arns)?;
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let describe = |arn: String| {
        let tags = tags::of(&snapshot, &scope, &arn)?
            .map(render)
            .unwrap_or_default();
        Ok(TagDescription {
            resource_arn: Some(arn),
            tags: Some(tags),
        })
    };
    let descriptions = input.resource_arns.into_iter().map(describe);
    let tag_descriptions = Some(descriptions.collect::<Result<_, ApiError>>()?);
    Ok(DescribeTagsOutput { tag_descriptions })
}

fn render(tags: &Tags) -> Vec<Tag> {
    let tag = |(key, value): (&String, &String)| Tag {
        key: key.clone(),
        value: Some(value.clone()),
    };
    tags.iter().map(tag).collect()
}
