//! Log groups.

use super::{folder, invalid, page};
use crate::api::{ApiError, Context};
use crate::log_keys;
use crate::metrics::filters;
use crate::model::logs::{Refusal, groups, metric_filters, streams};
use fogbank_store::log::summarise;
use fogbank_types::logs::{LogGroup, LogKeyPair};
use fogbank_types::{Snapshot, Tags};
use fogbank_wire::logs as wire;

pub fn create(
    context: &Context,
    request: wire::CreateLogGroupRequest,
) -> Result<wire::CreateLogGroupResponse, ApiError> {
    if request.deletion_protection_enabled == Some(true) {
        return Err(invalid(
            "deletionProtectionEnabled is not offered by this region yet.",
        ));
    }
    let scope = context.scope();
    if context
        .snapshot()
        .log_groups
        .contains(&scope, &request.log_group_name)
    {
        return Err(Refusal::GroupAlreadyExists.into());
    }
    let (name, key) = (&request.log_group_name, request.kms_key_id.as_deref());
    let pair = key.map(|key| new_pair(context, name, key)).transpose()?;
    let (class, tags) = (request.log_group_class, request.tags.unwrap_or_default());
    context.write(|tx| {
        groups::create(
            tx,
            &scope,
            &request.log_group_name,
            class.clone(),
            pair.clone(),
            tags.clone(),
        )?;
        Ok(())
    })?;
    Ok(wire::CreateLogGroupResponse {})
}

fn new_pair(context: &Context, group: &str, kms_key: &str) -> Result<LogKeyPair, ApiError> {
    let snapshot = context.snapshot();
    log_keys::new_pair(&snapshot, &context.scope(), group, kms_key, context.now())
}

pub fn associate_key(
    context: &Context,
    request: wire::AssociateKmsKeyRequest,
) -> Result<wire::AssociateKmsKeyResponse, ApiError> {
    let name = group_of_key(context, request.log_group_name, request.resource_identifier)?;
    let pair = new_pair(context, &name, &request.kms_key_id)?;
    set_key(context, &name, Some(pair))?;
    Ok(wire::AssociateKmsKeyResponse {})
}

pub fn disassociate_key(
    context: &Context,
    request: wire::DisassociateKmsKeyRequest,
) -> Result<wire::DisassociateKmsKeyResponse, ApiError> {
    let name = group_of_key(context, request.log_group_name, request.resource_identifier)?;
    set_key(context, &name, None)?;
    Ok(wire::DisassociateKmsKeyResponse {})
}

fn set_key(context: &Context, name: &str, pair: Option<LogKeyPair>) -> Result<(), ApiError> {
    let scope = context.scope();
    context.write(|tx| Ok(groups::set_key(tx, &scope, name, pair.clone())?))?;
    log_keys::seal_all(context.engine(), &scope, name)
}

/// Of a log group, by its name or its ARN. Results of queries cannot have a key here.
fn group_of_key(
    context: &Context,
    name: Option<String>,
    resource: Option<String>,
) -> Result<String, ApiError> {
    if resource
        .as_deref()
        .is_some_and(|arn| arn.contains(":query-result:"))
    {
        return Err(invalid(
            "Keys for results of queries are not offered by this region yet.",
        ));
    }
    let name = super::group_name(context, name, resource)?;
    groups::find(&context.snapshot(), &context.scope(), &name)?;
    Ok(name)
}

pub fn describe(
    context: &Context,
    request: wire::DescribeLogGroupsRequest,
) -> Result<wire::DescribeLogGroupsResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    if request.log_group_name_prefix.is_some() && request.log_group_name_pattern.is_some() {
        return Err(invalid(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        ));
    }
    let identifiers = request
        .log_group_identifiers
        .unwrap_or_default()
        .iter()
        .map(|identifier| Ok(groups::name_of(&scope, identifier)?.to_owned()))
        .collect::<Result<Vec<_>, ApiError>>()?;
    let prefix = request.log_group_name_prefix.unwrap_or_default();
    let pattern = request
        .log_group_name_pattern
        .unwrap_or_default()
        .to_lowercase();
    let found: Vec<_> = snapshot
        .log_groups
        .in_scope(&scope)
        .filter(|group| {
            group.name.starts_with(&prefix) && group.name.to_lowercase().contains(&pattern)
        })
        .filter(|group| identifiers.is_empty() || identifiers.contains(&group.name))
        .filter(|group| {
            request
                .log_group_class
                .as_ref()
                .is_none_or(|class| *class == group.class)
        })
        .collect();
    let (found, next_token) = page(
        found,
        request.next_token,
        request.limit.unwrap_or(50).max(1) as usize,
    )?;
    let log_groups = found
        .into_iter()
        .map(|group| show(context, &snapshot, group))
        .collect();
    Ok(wire::DescribeLogGroupsResponse {
        log_groups: Some(log_groups),
        next_token,
    })
}

fn show(context: &Context, snapshot: &Snapshot, group: &LogGroup) -> wire::LogGroup {
    // A stream that cannot be read counts as empty here; reading its events says what is wrong.
    let stored: u64 = streams::of(snapshot, &group.scope, &group.name)
        .map(|stream| {
            summarise(&folder(context, stream))
                .unwrap_or_default()
                .stored_bytes()
        })
        .sum();
    let filters = metric_filters::of(snapshot, &group.scope, &group.name).count();
    wire::LogGroup {
        arn: Some(format!("{}:*", group.arn())),
        creation_time: Some(group.created_at.0),
        kms_key_id: group.kms_key_id.clone(),
        log_group_arn: Some(group.arn()),
        log_group_class: Some(group.class.clone()),
        log_group_name: Some(group.name.clone()),
        metric_filter_count: Some(filters as i32),
        retention_in_days: group.retention_days.map(|days| days as i32),
        stored_bytes: Some(stored as i64),
        ..wire::LogGroup::default()
    }
}

pub fn delete(
    context: &Context,
    request: wire::DeleteLogGroupRequest,
) -> Result<wire::DeleteLogGroupResponse, ApiError> {
    let scope = context.scope();
    let uids = context.write(|tx| Ok(groups::delete(tx, &scope, &request.log_group_name)?))?;
    for uid in uids {
        remove_events(context, &uid);
    }
    Ok(wire::DeleteLogGroupResponse {})
}

/// Nobody can reach the events any more; if they cannot be removed, that costs space only.
pub fn remove_events(context: &Context, uid: &str) {
    let folder = context.config().logs_dir().join(uid);
    if let Err(error) = context.metrics().forget_marks(&filters::marks_of(uid)) {
        tracing::warn!(%error, "what was counted of a log stream that is gone stays known");
    }
    if let Err(error) = std::fs::remove_dir_all(&folder)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %folder.display(), %error, "log events that nobody can reach stay");
    }
}

pub fn put_retention(
    context: &Context,
    request: wire::PutRetentionPolicyRequest,
) -> Result<wire::PutRetentionPolicyResponse, ApiError> {
    let (scope, days) = (context.scope(), Some(request.retention_in_days));
    context.write(|tx| {
        Ok(groups::set_retention(
            tx,
            &scope,
            &request.log_group_name,
            days,
        )?)
    })?;
    Ok(wire::PutRetentionPolicyResponse {})
}

pub fn delete_retention(
    context: &Context,
    request: wire::DeleteRetentionPolicyRequest,
) -> Result<wire::DeleteRetentionPolicyResponse, ApiError> {
    let scope = context.scope();
    context.write(|tx| {
        Ok(groups::set_retention(
            tx,
            &scope,
            &request.log_group_name,
            None,
        )?)
    })?;
    Ok(wire::DeleteRetentionPolicyResponse {})
}

pub fn tag(
    context: &Context,
    request: wire::TagResourceRequest,
) -> Result<wire::TagResourceResponse, ApiError> {
    let scope = context.scope();
    context.write(|tx| {
        Ok(groups::change_tags(
            tx,
            &scope,
            &request.resource_arn,
            request.tags.clone(),
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
        Ok(groups::change_tags(
            tx,
            &scope,
            &request.resource_arn,
            Tags::new(),
            &request.tag_keys,
        )?)
    })?;
    Ok(wire::UntagResourceResponse {})
}

pub fn list_tags(
    context: &Context,
    request: wire::ListTagsForResourceRequest,
) -> Result<wire::ListTagsForResourceResponse, ApiError> {
    let tags = groups::tags(&context.snapshot(), &context.scope(), &request.resource_arn)?;
    Ok(wire::ListTagsForResourceResponse { tags: Some(tags) })
}

// The operations of before ARNs: "on the path to deprecation", and older clients call them.
// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_TagLogGroup.html>

/// The group's ARN, by which tags are kept; the group must be there.
fn arn_of(context: &Context, name: &str) -> Result<String, ApiError> {
    Ok(groups::find(&context.snapshot(), &context.scope(), name)?.arn())
}

pub fn tag_by_name(
    context: &Context,
    request: wire::TagLogGroupRequest,
) -> Result<wire::TagLogGroupResponse, ApiError> {
    let (scope, arn) = (context.scope(), arn_of(context, &request.log_group_name)?);
    context.write(|tx| {
        let tags = request.tags.clone();
        Ok(groups::change_tags(tx, &scope, &arn, tags, &[])?)
    })?;
    Ok(wire::TagLogGroupResponse {})
}

pub fn untag_by_name(
    context: &Context,
    request: wire::UntagLogGroupRequest,
) -> Result<wire::UntagLogGroupResponse, ApiError> {
    let (scope, arn) = (context.scope(), arn_of(context, &request.log_group_name)?);
    context.write(|tx| {
        let none = Tags::new();
        Ok(groups::change_tags(tx, &scope, &arn, none, &request.tags)?)
    })?;
    Ok(wire::UntagLogGroupResponse {})
}

pub fn list_tags_by_name(
    context: &Context,
    request: wire::ListTagsLogGroupRequest,
) -> Result<wire::ListTagsLogGroupResponse, ApiError> {
    let snapshot = context.snapshot();
    let group = groups::find(&snapshot, &context.scope(), &request.log_group_name)?;
    Ok(wire::ListTagsLogGroupResponse {
        tags: Some(group.tags.clone()),
    })
}
