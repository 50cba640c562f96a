//! Repository and lifecycle policies.

use super::registry;
use crate::api::{ApiError, Context};
use crate::model::ecr::{policies, repositories};
use fogbank_wire::ecr as wire;

pub fn set(
    context: &Context,
    request: wire::SetRepositoryPolicyRequest,
) -> Result<wire::SetRepositoryPolicyResponse, ApiError> {
    let scope = registry(context, request.registry_id.as_ref());
    let (name, text) = (request.repository_name, request.policy_text);
    context.write(|tx| Ok(policies::set_policy(tx, &scope, &name, text.clone())?))?;
    Ok(wire::SetRepositoryPolicyResponse {
        policy_text: Some(text),
        registry_id: Some(scope.account),
        repository_name: Some(name),
    })
}

pub fn get(
    context: &Context,
    request: wire::GetRepositoryPolicyRequest,
) -> Result<wire::GetRepositoryPolicyResponse, ApiError> {
    let (snapshot, scope) = (
        context.snapshot(),
        registry(context, request.registry_id.as_ref()),
    );
    let text = policies::policy(repositories::find(
        &snapshot,
        &scope,
        &request.repository_name,
    )?)?;
    Ok(wire::GetRepositoryPolicyResponse {
        policy_text: Some(text),
        registry_id: Some(scope.account),
        repository_name: Some(request.repository_name),
    })
}

pub fn delete(
    context: &Context,
    request: wire::DeleteRepositoryPolicyRequest,
) -> Result<wire::DeleteRepositoryPolicyResponse, ApiError> {
    let scope = registry(context, request.registry_id.as_ref());
    let text = context.write(|tx| {
        Ok(policies::delete_policy(
            tx,
            &scope,
            &request.repository_name,
        )?)
    })?;
    Ok(wire::DeleteRepositoryPolicyResponse {
        policy_text: Some(text),
        registry_id: Some(scope.account),
        repository_name: Some(request.repository_name),
    })
}

pub fn put_lifecycle(
    context: &Context,
    request: wire::PutLifecyclePolicyRequest,
) -> Result<wire::PutLifecyclePolicyResponse, ApiError> {
    let scope = registry(context, request.registry_id.as_ref());
    let (name, text) = (request.repository_name, request.lifecycle_policy_text);
    context.write(|tx| Ok(policies::set_lifecycle(tx, &scope, &name, text.clone())?))?;
    Ok(wire::PutLifecyclePolicyResponse {
        lifecycle_policy_text: Some(text),
        registry_id: Some(scope.account),
        repository_name: Some(name),
    })
}

pub fn get_lifecycle(
    context: &Context,
    request: wire::GetLifecyclePolicyRequest,
) -> Result<wire::GetLifecyclePolicyResponse, ApiError> {
    let (snapshot, scope) = (
        context.snapshot(),
        registry(context, request.registry_id.as_ref()),
    );
    let repository = repositories::find(&snapshot, &scope, &request.repository_name)?;
    let text = policies::lifecycle_text(repository)?;
    Ok(wire::GetLifecyclePolicyResponse {
        last_evaluated_at: Some(repository.lifecycle_evaluated_at.unwrap_or_default()),
        lifecycle_policy_text: Some(text),
        registry_id: Some(scope.account),
        repository_name: Some(request.repository_name),
    })
}

pub fn delete_lifecycle(
    context: &Context,
    request: wire::DeleteLifecyclePolicyRequest,
) -> Result<wire::DeleteLifecyclePolicyResponse, ApiError> {
    let scope = registry(context, request.registry_id.as_ref());
    let (text, evaluated_at) = context.write(|tx| {
        Ok(policies::delete_lifecycle(
            tx,
            &scope,
            &request.repository_name,
        )?)
    })?;
    Ok(wire::DeleteLifecyclePolicyResponse {
        last_evaluated_at: Some(evaluated_at.unwrap_or_default()),
        lifecycle_policy_text: Some(text),
        registry_id: Some(scope.account),
        repository_name: Some(request.repository_name),
    })
}
