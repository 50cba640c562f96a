//! Task scale-in protection.

use crate::api::{ApiError, Context};
use crate::model::ecs::protection::{self, Protected, Unprotectable};
use fogbank_wire::ecs as wire;

fn show((arn, until): Protected) -> wire::ProtectedTask {
    wire::ProtectedTask {
        expiration_date: until,
        protection_enabled: Some(until.is_some()),
        task_arn: Some(arn),
    }
}

fn show_failure((arn, reason, detail): Unprotectable) -> wire::Failure {
    wire::Failure {
        arn: Some(arn),
        detail: Some(detail),
        reason: Some(reason.to_owned()),
    }
}

pub fn update(
    context: &Context,
    request: wire::UpdateTaskProtectionRequest,
) -> Result<wire::UpdateTaskProtectionResponse, ApiError> {
    let scope = context.scope();
    let (done, failures) = context.write(|tx| {
        Ok(protection::update(
            tx,
            &scope,
            Some(&request.cluster),
            &request.tasks,
            request.protection_enabled,
            request.expires_in_minutes,
        )?)
    })?;
    Ok(wire::UpdateTaskProtectionResponse {
        failures: Some(failures.into_iter().map(show_failure).collect()),
        protected_tasks: Some(done.into_iter().map(show).collect()),
    })
}

pub fn get(
    context: &Context,
    request: wire::GetTaskProtectionRequest,
) -> Result<wire::GetTaskProtectionResponse, ApiError> {
    let (found, failures) = protection::get(
        &context.snapshot(),
        &context.scope(),
        Some(&request.cluster),
        &request.tasks.unwrap_or_default(),
        context.now(),
    )?;
    Ok(wire::GetTaskProtectionResponse {
        failures: Some(failures.into_iter().map(show_failure).collect()),
        protected_tasks: Some(found.into_iter().map(show).collect()),
    })
}
