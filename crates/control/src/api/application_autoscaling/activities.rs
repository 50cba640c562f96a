//! Scaling activities.

use super::{Asked, page};
use crate::api::{ApiError, Context};
use fogbank_types::scaling::{ECS_DESIRED_COUNT, NotScaled, ScalingActivity};
use fogbank_wire::application_autoscaling as wire;

/// Newest first.
pub fn describe(
    context: &Context,
    request: wire::DescribeScalingActivitiesRequest,
) -> Result<wire::DescribeScalingActivitiesResponse, ApiError> {
    let asked = Asked::new(
        &request.service_namespace,
        request.scalable_dimension.as_deref(),
        request.resource_id,
    );
    let all = request.include_not_scaled_activities == Some(true);
    let snapshot = context.snapshot();
    let mut found: Vec<_> = snapshot
        .scaling_activities
        .in_scope(&context.scope())
        .filter(|activity| asked.takes(&activity.resource_id))
        .filter(|activity| all || activity.not_scaled.is_none())
        .collect();
    found.sort_by_key(|activity| std::cmp::Reverse(activity.started_at));
    let found = found.into_iter().map(|activity| shape(activity)).collect();
    let (found, next_token) = page(found, request.next_token.as_deref(), request.max_results)?;
    Ok(wire::DescribeScalingActivitiesResponse {
        next_token,
        scaling_activities: Some(found),
    })
}

fn shape(activity: &ScalingActivity) -> wire::ScalingActivity {
    wire::ScalingActivity {
        activity_id: activity.id.clone(),
        cause: activity.cause.clone(),
        description: activity.description.clone(),
        details: None,
        end_time: activity.ended_at,
        not_scaled_reasons: activity.not_scaled.map(|why| vec![reason(why)]),
        resource_id: activity.resource_id.clone(),
        scalable_dimension: ECS_DESIRED_COUNT.to_owned(),
        service_namespace: "ecs".to_owned(),
        start_time: activity.started_at,
        status_code: activity.status.as_str().to_owned(),
        status_message: activity.status_message.clone(),
    }
}

fn reason(why: NotScaled) -> wire::NotScaledReason {
    let mut reason = wire::NotScaledReason::default();
    match why {
        NotScaled::AlreadyAtMaxCapacity(max) => {
            reason.code = "AlreadyAtMaxCapacity".to_owned();
            reason.max_capacity = Some(max as i32);
        }
        NotScaled::AlreadyAtMinCapacity(min) => {
            reason.code = "AlreadyAtMinCapacity".to_owned();
            reason.min_capacity = Some(min as i32);
        }
        NotScaled::AlreadyAtDesiredCapacity(current) => {
            reason.code = "AlreadyAtDesiredCapacity".to_owned();
            reason.current_capacity = Some(current as i32);
        }
    }
    reason
}
