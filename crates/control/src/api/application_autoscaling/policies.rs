//! Scaling policies.

use super::policy_shapes::{new_kind, shape};
use super::{Asked, page, subject};
use crate::api::{ApiError, Context};
use crate::model::scaling::policies;
use fogbank_types::Snapshot;
use fogbank_types::scaling::ScalingPolicy;
use fogbank_wire::application_autoscaling as wire;

pub fn put(
    context: &Context,
    request: wire::PutScalingPolicyRequest,
) -> Result<wire::PutScalingPolicyResponse, ApiError> {
    let scope = context.scope();
    let subject = subject(
        request.service_namespace.clone(),
        request.resource_id.clone(),
        request.scalable_dimension.clone(),
    );
    let name = request.policy_name.clone();
    let id = format!("{}/{name}", subject.resource_id);
    let before = context
        .snapshot()
        .scaling_policies
        .get(&scope, &id)
        .cloned();
    let kind = new_kind(request, before.as_deref())?;
    let policy =
        context.write(|tx| Ok(policies::put(tx, &scope, &subject, &name, kind.clone())?))?;
    Ok(wire::PutScalingPolicyResponse {
        alarms: Some(alarms(&context.snapshot(), &policy)),
        policy_arn: policy.arn,
    })
}

pub fn alarms(snapshot: &Snapshot, policy: &ScalingPolicy) -> Vec<wire::Alarm> {
    policies::alarms_of(snapshot, policy)
        .map(|alarm| wire::Alarm {
            alarm_arn: alarm.arn(),
            alarm_name: alarm.name.clone(),
        })
        .collect()
}

pub fn describe(
    context: &Context,
    request: wire::DescribeScalingPoliciesRequest,
) -> Result<wire::DescribeScalingPoliciesResponse, ApiError> {
    let asked = Asked::new(
        &request.service_namespace,
        request.scalable_dimension.as_deref(),
        request.resource_id,
    );
    let names = request.policy_names.unwrap_or_default();
    let snapshot = context.snapshot();
    let found = snapshot
        .scaling_policies
        .in_scope(&context.scope())
        .filter(|policy| asked.takes(&policy.resource_id))
        .filter(|policy| names.is_empty() || names.contains(&policy.name))
        .map(|policy| shape(policy, alarms(&snapshot, policy)))
        .collect();
    let (found, next_token) = page(found, request.next_token.as_deref(), request.max_results)?;
    Ok(wire::DescribeScalingPoliciesResponse {
        next_token,
        scaling_policies: Some(found),
    })
}

pub fn delete(
    context: &Context,
    request: wire::DeleteScalingPolicyRequest,
) -> Result<wire::DeleteScalingPolicyResponse, ApiError> {
    let subject = subject(
        request.service_namespace,
        request.resource_id,
        request.scalable_dimension,
    );
    let (scope, name) = (context.scope(), request.policy_name);
    context.write(|tx| Ok(policies::delete(tx, &scope, &subject, &name)?))?;
    Ok(wire::DeleteScalingPolicyResponse {})
}
