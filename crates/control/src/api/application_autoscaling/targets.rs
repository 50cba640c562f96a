//! Scalable targets.

use super::{Asked, page, subject};
use crate::api::{ApiError, Context};
use crate::model::scaling::targets::{self, Registration};
use fogbank_types::scaling::{ECS_DESIRED_COUNT, ScalableTarget};
use fogbank_wire::application_autoscaling as wire;

pub fn register(
    context: &Context,
    request: wire::RegisterScalableTargetRequest,
) -> Result<wire::RegisterScalableTargetResponse, ApiError> {
    let subject = subject(
        request.service_namespace,
        request.resource_id,
        request.scalable_dimension,
    );
    let suspended = request.suspended_state.unwrap_or_default();
    let new = Registration {
        min_capacity: request.min_capacity,
        max_capacity: request.max_capacity,
        suspended: [
            suspended.dynamic_scaling_in_suspended,
            suspended.dynamic_scaling_out_suspended,
            suspended.scheduled_scaling_suspended,
        ],
        tags: request.tags.unwrap_or_default(),
    };
    let scope = context.scope();
    let target = context.write(|tx| Ok(targets::register(tx, &scope, &subject, new.clone())?))?;
    Ok(wire::RegisterScalableTargetResponse {
        scalable_target_arn: Some(target.arn),
    })
}

fn shape(target: &ScalableTarget) -> wire::ScalableTarget {
    wire::ScalableTarget {
        creation_time: target.created_at,
        max_capacity: target.max_capacity as i32,
        min_capacity: target.min_capacity as i32,
        predicted_capacity: None,
        resource_id: target.resource_id.clone(),
        role_arn: target.role_arn.clone(),
        scalable_dimension: ECS_DESIRED_COUNT.to_owned(),
        scalable_target_arn: Some(target.arn.clone()),
        service_namespace: "ecs".to_owned(),
        suspended_state: Some(wire::SuspendedState {
            dynamic_scaling_in_suspended: Some(target.suspended.scale_in),
            dynamic_scaling_out_suspended: Some(target.suspended.scale_out),
            scheduled_scaling_suspended: Some(target.suspended.scheduled),
        }),
    }
}

pub fn describe(
    context: &Context,
    request: wire::DescribeScalableTargetsRequest,
) -> Result<wire::DescribeScalableTargetsResponse, ApiError> {
    let asked = Asked::new(
        &request.service_namespace,
        request.scalable_dimension.as_deref(),
        None,
    );
    let ids = request.resource_ids.unwrap_or_default();
    let found = context
        .snapshot()
        .scalable_targets
        .in_scope(&context.scope())
        .filter(|target| asked.takes(&target.resource_id))
        .filter(|target| ids.is_empty() || ids.contains(&target.resource_id))
        .map(|target| shape(target))
        .collect();
    let (found, next_token) = page(found, request.next_token.as_deref(), request.max_results)?;
    Ok(wire::DescribeScalableTargetsResponse {
        next_token,
        scalable_targets: Some(found),
    })
}

pub fn deregister(
    context: &Context,
    request: wire::DeregisterScalableTargetRequest,
) -> Result<wire::DeregisterScalableTargetResponse, ApiError> {
    let subject = subject(
        request.service_namespace,
        request.resource_id,
        request.scalable_dimension,
    );
    let scope = context.scope();
    context.write(|tx| Ok(targets::deregister(tx, &scope, &subject)?))?;
    Ok(wire::DeregisterScalableTargetResponse {})
}
