//! A role's policies: inline ones and those attached to it.

use super::{encoded, page, scope};
use crate::api::{ApiError, Context};
use crate::model::iam::roles;
use fogbank_wire::iam as wire;

pub fn put(
    context: &Context,
    request: wire::PutRolePolicyRequest,
) -> Result<wire::PutRolePolicyResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| {
        let document = request.policy_document.clone();
        Ok(roles::put_policy(
            tx,
            &scope,
            &request.role_name,
            &request.policy_name,
            document,
        )?)
    })?;
    Ok(wire::PutRolePolicyResponse {})
}

pub fn get(
    context: &Context,
    request: wire::GetRolePolicyRequest,
) -> Result<wire::GetRolePolicyResponse, ApiError> {
    let snapshot = context.snapshot();
    let role = roles::find(&snapshot, &scope(context), &request.role_name)?;
    Ok(wire::GetRolePolicyResponse {
        policy_document: encoded(roles::policy(role, &request.policy_name)?),
        policy_name: request.policy_name,
        role_name: request.role_name,
    })
}

pub fn list(
    context: &Context,
    request: wire::ListRolePoliciesRequest,
) -> Result<wire::ListRolePoliciesResponse, ApiError> {
    let snapshot = context.snapshot();
    let role = roles::find(&snapshot, &scope(context), &request.role_name)?;
    let names = role.inline_policies.keys().cloned().collect();
    let (policy_names, is_truncated, marker) =
        page(names, String::clone, request.marker, request.max_items);
    Ok(wire::ListRolePoliciesResponse {
        is_truncated,
        marker,
        policy_names,
    })
}

pub fn delete(
    context: &Context,
    request: wire::DeleteRolePolicyRequest,
) -> Result<wire::DeleteRolePolicyResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| {
        Ok(roles::delete_policy(
            tx,
            &scope,
            &request.role_name,
            &request.policy_name,
        )?)
    })?;
    Ok(wire::DeleteRolePolicyResponse {})
}

pub fn attach(
    context: &Context,
    request: wire::AttachRolePolicyRequest,
) -> Result<wire::AttachRolePolicyResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| {
        Ok(roles::attach(
            tx,
            &scope,
            &request.role_name,
            &request.policy_arn,
        )?)
    })?;
    Ok(wire::AttachRolePolicyResponse {})
}

pub fn detach(
    context: &Context,
    request: wire::DetachRolePolicyRequest,
) -> Result<wire::DetachRolePolicyResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| {
        Ok(roles::detach(
            tx,
            &scope,
            &request.role_name,
            &request.policy_arn,
        )?)
    })?;
    Ok(wire::DetachRolePolicyResponse {})
}

/// The last part of a policy's ARN is its name; what stands between is its path.
fn path_and_name(arn: &str) -> (String, String) {
    let resource = arn
        .split_once(":policy")
        .map_or("", |(_, resource)| resource);
    let (path, name) = resource.rsplit_once('/').unwrap_or(("", resource));
    (format!("{path}/"), name.to_owned())
}

pub fn list_attached(
    context: &Context,
    request: wire::ListAttachedRolePoliciesRequest,
) -> Result<wire::ListAttachedRolePoliciesResponse, ApiError> {
    let snapshot = context.snapshot();
    let role = roles::find(&snapshot, &scope(context), &request.role_name)?;
    let prefix = request.path_prefix.unwrap_or_else(|| "/".to_owned());
    let mut arns: Vec<String> = role
        .attached_policies
        .iter()
        .filter(|arn| path_and_name(arn).0.starts_with(&prefix))
        .cloned()
        .collect();
    arns.sort();
    let (arns, is_truncated, marker) = page(arns, String::clone, request.marker, request.max_items);
    let show = |arn: String| wire::AttachedPolicy {
        policy_name: Some(path_and_name(&arn).1),
        policy_arn: Some(arn),
    };
    let attached_policies = Some(arns.into_iter().map(show).collect());
    Ok(wire::ListAttachedRolePoliciesResponse {
        attached_policies,
        is_truncated,
        marker,
    })
}
