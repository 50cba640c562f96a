//! Resource policies.

use crate::api::{ApiError, Context};
use crate::model::secretsmanager::policies as model;
use crate::model::secretsmanager::secrets;
use fogbank_wire::secretsmanager as wire;

pub fn put(
    context: &Context,
    input: wire::PutResourcePolicyRequest,
) -> Result<wire::PutResourcePolicyResponse, ApiError> {
    let scope = context.scope();
    let block = input.block_public_policy == Some(true);
    let row = context.write(|tx| {
        Ok(model::put(
            tx,
            &scope,
            &input.secret_id,
            &input.resource_policy,
            block,
        )?)
    })?;
    Ok(wire::PutResourcePolicyResponse {
        arn: Some(row.arn),
        name: Some(row.name),
    })
}

pub fn get(
    context: &Context,
    input: wire::GetResourcePolicyRequest,
) -> Result<wire::GetResourcePolicyResponse, ApiError> {
    let snapshot = context.snapshot();
    let row = secrets::find(&snapshot, &context.scope(), &input.secret_id)?;
    Ok(wire::GetResourcePolicyResponse {
        arn: Some(row.arn.clone()),
        name: Some(row.name.clone()),
        resource_policy: row.policy.clone(),
    })
}

pub fn delete(
    context: &Context,
    input: wire::DeleteResourcePolicyRequest,
) -> Result<wire::DeleteResourcePolicyResponse, ApiError> {
    let scope = context.scope();
    let row = context.write(|tx| Ok(model::delete(tx, &scope, &input.secret_id)?))?;
    Ok(wire::DeleteResourcePolicyResponse {
        arn: Some(row.arn),
        name: Some(row.name),
    })
}

pub fn validate(
    context: &Context,
    input: wire::ValidateResourcePolicyRequest,
) -> Result<wire::ValidateResourcePolicyResponse, ApiError> {
    if let Some(id) = &input.secret_id {
        secrets::find(&context.snapshot(), &context.scope(), id)?;
    }
    let public = model::is_public(&input.resource_policy)?;
    let error = wire::ValidationErrorsEntry {
        check_name: Some("PUBLIC_POLICY".to_owned()),
        error_message: Some("This resource policy grants broad access to the secret.".to_owned()),
    };
    Ok(wire::ValidateResourcePolicyResponse {
        policy_validation_passed: Some(!public),
        validation_errors: Some(if public { vec![error] } else { Vec::new() }),
    })
}
