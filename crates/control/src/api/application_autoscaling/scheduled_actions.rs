//! Scheduled actions.

use super::{Asked, page, subject};
use crate::api::{ApiError, Context};
use crate::model::scaling::scheduled_actions::{self, NewAction};
use fogbank_types::scaling::{ECS_DESIRED_COUNT, ScheduledScaling};
use fogbank_wire::application_autoscaling as wire;

pub fn put(
    context: &Context,
    request: wire::PutScheduledActionRequest,
) -> Result<wire::PutScheduledActionResponse, ApiError> {
    let subject = subject(
        request.service_namespace,
        request.resource_id,
        request.scalable_dimension,
    );
    let action = request.scalable_target_action;
    let new = NewAction {
        name: request.scheduled_action_name,
        schedule: request.schedule,
        time_zone: request.timezone,
        start: request.start_time,
        end: request.end_time,
        capacity: action.map(|action| (action.min_capacity, action.max_capacity)),
    };
    let scope = context.scope();
    context.write(|tx| Ok(scheduled_actions::put(tx, &scope, &subject, new.clone())?))?;
    Ok(wire::PutScheduledActionResponse {})
}

fn shape(action: &ScheduledScaling) -> wire::ScheduledAction {
    wire::ScheduledAction {
        creation_time: action.created_at,
        end_time: action.end,
        resource_id: action.resource_id.clone(),
        scalable_dimension: Some(ECS_DESIRED_COUNT.to_owned()),
        scalable_target_action: Some(wire::ScalableTargetAction {
            max_capacity: action.max_capacity.map(|max| max as i32),
            min_capacity: action.min_capacity.map(|min| min as i32),
        }),
        schedule: action.schedule.clone(),
        scheduled_action_arn: action.arn.clone(),
        scheduled_action_name: action.name.clone(),
        service_namespace: "ecs".to_owned(),
        start_time: action.start,
        timezone: action.time_zone.clone(),
    }
}

pub fn describe(
    context: &Context,
    request: wire::DescribeScheduledActionsRequest,
) -> Result<wire::DescribeScheduledActionsResponse, ApiError> {
    let asked = Asked::new(
        &request.service_namespace,
        request.scalable_dimension.as_deref(),
        request.resource_id,
    );
    let names = request.scheduled_action_names.unwrap_or_default();
    let found = context
        .snapshot()
        .scheduled_scalings
        .in_scope(&context.scope())
        .filter(|action| asked.takes(&action.resource_id))
        .filter(|action| names.is_empty() || names.contains(&action.name))
        .map(|action| shape(action))
        .collect();
    let (found, next_token) = page(found, request.next_token.as_deref(), request.max_results)?;
    Ok(wire::DescribeScheduledActionsResponse {
        next_token,
        scheduled_actions: Some(found),
    })
}

pub fn delete(
    context: &Context,
    request: wire::DeleteScheduledActionRequest,
) -> Result<wire::DeleteScheduledActionResponse, ApiError> {
    let subject = subject(
        request.service_namespace,
        request.resource_id,
        request.scalable_dimension,
    );
    let (scope, name) = (context.scope(), request.scheduled_action_name);
    context.write(|tx| Ok(scheduled_actions::delete(tx, &scope, &subject, &name)?))?;
    Ok(wire::DeleteScheduledActionResponse {})
}
