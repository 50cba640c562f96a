//! Resource policies of the account. Those of one group are not offered, and refused by name.

use super::{invalid, page};
use crate::api::{ApiError, Context};
use crate::model::logs::resource_policies;
use fogbank_types::logs::LogResourcePolicy;
use fogbank_wire::logs as wire;

fn not_for_one_group(resource_arn: &Option<String>) -> Result<(), ApiError> {
    match resource_arn {
        Some(_) => Err(invalid(
            "Resource policies of one log group (resourceArn) are not offered by this region yet.",
        )),
        None => Ok(()),
    }
}

fn show(row: &LogResourcePolicy) -> wire::ResourcePolicy {
    wire::ResourcePolicy {
        last_updated_time: Some(row.updated_at.0),
        policy_document: Some(row.document.clone()),
        policy_name: Some(row.name.clone()),
        policy_scope: Some("ACCOUNT".to_owned()),
        ..wire::ResourcePolicy::default()
    }
}

pub fn put(
    context: &Context,
    request: wire::PutResourcePolicyRequest,
) -> Result<wire::PutResourcePolicyResponse, ApiError> {
    not_for_one_group(&request.resource_arn)?;
    let scope = context.scope();
    let name = request.policy_name.unwrap_or_default();
    let document = request.policy_document.unwrap_or_default();
    let row = context.write(|tx| Ok(resource_policies::put(tx, &scope, &name, &document)?))?;
    Ok(wire::PutResourcePolicyResponse {
        resource_policy: Some(show(&row)),
        ..wire::PutResourcePolicyResponse::default()
    })
}

pub fn describe(
    context: &Context,
    request: wire::DescribeResourcePoliciesRequest,
) -> Result<wire::DescribeResourcePoliciesResponse, ApiError> {
    not_for_one_group(&request.resource_arn)?;
    let snapshot = context.snapshot();
    let found = match request.policy_scope.as_deref() {
        Some("RESOURCE") => Vec::new(),
        _ => snapshot
            .log_resource_policies
            .in_scope(&context.scope())
            .collect(),
    };
    let limit = request.limit.unwrap_or(50).max(1) as usize;
    let (found, next_token) = page(found, request.next_token, limit)?;
    Ok(wire::DescribeResourcePoliciesResponse {
        next_token,
        resource_policies: Some(found.into_iter().map(|row| show(row)).collect()),
    })
}

pub fn delete(
    context: &Context,
    request: wire::DeleteResourcePolicyRequest,
) -> Result<wire::DeleteResourcePolicyResponse, ApiError> {
    not_for_one_group(&request.resource_arn)?;
    let scope = context.scope();
    let name = request.policy_name.unwrap_or_default();
    context.write(|tx| Ok(resource_policies::delete(tx, &scope, &name)?))?;
    Ok(wire::DeleteResourcePolicyResponse {})
}
