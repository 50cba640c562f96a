//! Scaling policies, and the alarms that belong to target tracking ones.

use super::decision::SCALE_IN_SHARE;
use super::{Refusal, Subject, invalid, service_of};
use crate::model::Tx;
use crate::model::cloudwatch::alarms::{self, NewAlarm};
use crate::model::cloudwatch::queries;
use fogbank_types::alarm::{
    Alarm, AlarmSource, AlarmState, AlarmWatch, Comparison, MetricStatistic, MetricWatch,
};
use fogbank_types::scaling::{
    ScalingPolicy, ScalingPolicyKind, ScalingSignal, StepScaling, TargetTracking, TrackedMetric,
};
use fogbank_types::{Scope, Snapshot, Tags};
use std::sync::Arc;

/// Service quotas.
const POLICIES_MAX: usize = 50;
const STEPS_MAX: usize = 20;
/// Minutes in a row, fact SCALE-2.
const HIGH_PERIODS: u32 = 3;
const LOW_PERIODS: u32 = 15;
const PERIOD_S: u32 = 60;
/// Of ECS services, if a policy gives none.
pub const COOLDOWN_S: u32 = 300;

/// What a policy does, before its alarms have names.
#[derive(Clone, Debug)]
pub enum NewKind {
    TargetTracking {
        target_value: f64,
        metric: TrackedMetric,
        scale_out_cooldown_s: Option<i32>,
        scale_in_cooldown_s: Option<i32>,
        disable_scale_in: Option<bool>,
    },
    Step {
        scaling: StepScaling,
        cooldown_s: Option<i32>,
    },
}

/// <https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScalingPolicy.html>
pub fn put(
    tx: &mut Tx,
    scope: &Scope,
    subject: &Subject,
    name: &str,
    new: NewKind,
) -> Result<ScalingPolicy, Refusal> {
    subject.target(tx.snapshot(), scope)?;
    let id = format!("{}/{name}", subject.resource_id);
    let before = tx.snapshot().scaling_policies.get(scope, &id).cloned();
    if before.is_none() {
        check_quota(tx.snapshot(), scope, &subject.resource_id)?;
    }
    let uuid = tx.uuid();
    let arn = scope.arn(
        "autoscaling",
        &format!(
            "scalingPolicy:{uuid}:resource/ecs/{}:policyName/{name}",
            subject.resource_id
        ),
    );
    let kept = before.as_deref();
    let kind = match new {
        NewKind::Step {
            mut scaling,
            cooldown_s,
        } => {
            check_steps(&scaling)?;
            scaling.cooldown_s = cooldown(cooldown_s)?;
            ScalingPolicyKind::Step(scaling)
        }
        NewKind::TargetTracking { .. } => {
            ScalingPolicyKind::TargetTracking(tracking(tx, subject, new, kept)?)
        }
    };
    let policy = ScalingPolicy {
        scope: scope.clone(),
        resource_id: subject.resource_id.clone(),
        name: name.to_owned(),
        arn: kept.map_or(arn, |policy| policy.arn.clone()),
        kind,
        created_at: kept.map_or(tx.now(), |policy| policy.created_at),
        answered: kept
            .map(|policy| policy.answered.clone())
            .unwrap_or_default(),
    };
    if let Some(before) = &before {
        let (old, new) = (own_alarms(before), own_alarms(&policy));
        let gone: Vec<String> = old.into_iter().filter(|name| !new.contains(name)).collect();
        remove_alarms(tx, scope, &gone)?;
    }
    if let ScalingPolicyKind::TargetTracking(tracking) = &policy.kind {
        put_alarms(tx, &policy, tracking)?;
    }
    tx.put(policy.clone());
    Ok(policy)
}

fn check_quota(snapshot: &Snapshot, scope: &Scope, resource_id: &str) -> Result<(), Refusal> {
    let policies = &snapshot.scaling_policies;
    match policies
        .with_prefix(scope, &format!("{resource_id}/"))
        .count()
        >= POLICIES_MAX
    {
        true => Err(Refusal::Limit(format!(
            "Maximum number of scaling policies per scalable target exceeded. The limit is {POLICIES_MAX}."
        ))),
        false => Ok(()),
    }
}

fn cooldown(seconds: Option<i32>) -> Result<Option<u32>, Refusal> {
    let wrong = |_| invalid("Cooldown cannot be a negative value");
    seconds
        .map(|given| u32::try_from(given).map_err(wrong))
        .transpose()
}

/// Bounds in order, without gaps or overlaps, and at most one step open on each side.
/// <https://docs.aws.amazon.com/autoscaling/application/APIReference/API_StepAdjustment.html>
fn check_steps(scaling: &StepScaling) -> Result<(), Refusal> {
    if scaling.steps.is_empty() {
        return Err(invalid("At least one StepAdjustment must be specified"));
    }
    if scaling.steps.len() > STEPS_MAX {
        return Err(Refusal::Limit(format!(
            "Maximum number of step adjustments per scaling policy exceeded. The limit is {STEPS_MAX}."
        )));
    }
    let mut bounds: Vec<(f64, f64)> = Vec::new();
    for step in &scaling.steps {
        let lower = step.lower.unwrap_or(f64::NEG_INFINITY);
        let upper = step.upper.unwrap_or(f64::INFINITY);
        if step.lower.is_none() && step.upper.is_none() && scaling.steps.len() > 1 {
            return Err(invalid(
                "At most one StepAdjustment may have an unspecified lower and upper bound",
            ));
        }
        if lower.partial_cmp(&upper) != Some(std::cmp::Ordering::Less) {
            return Err(invalid(
                "The lower bound of a StepAdjustment must be less than its upper bound",
            ));
        }
        bounds.push((lower, upper));
    }
    bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    for pair in bounds.windows(2) {
        if pair[0].1 > pair[1].0 {
            return Err(invalid("StepAdjustment intervals can't overlap"));
        }
        if pair[0].1 < pair[1].0 {
            return Err(invalid("There is a gap between StepAdjustment intervals"));
        }
    }
    Ok(())
}

fn tracking(
    tx: &mut Tx,
    subject: &Subject,
    new: NewKind,
    kept: Option<&ScalingPolicy>,
) -> Result<TargetTracking, Refusal> {
    let NewKind::TargetTracking {
        target_value,
        metric,
        scale_out_cooldown_s,
        scale_in_cooldown_s,
        disable_scale_in,
    } = new
    else {
        return Err(invalid("A target tracking configuration is required"));
    };
    if !target_value.is_finite() || target_value <= 0.0 {
        return Err(invalid("TargetValue must be a positive number"));
    }
    check_metric(&metric)?;
    let before = kept.and_then(|policy| match &policy.kind {
        ScalingPolicyKind::TargetTracking(tracking) => Some(tracking.clone()),
        ScalingPolicyKind::Step(_) => None,
    });
    let (high, low) = (tx.uuid(), tx.uuid());
    let named = |side: &str, uuid: &str| {
        format!("TargetTracking-{}-Alarm{side}-{uuid}", subject.resource_id)
    };
    let alarm_low = before
        .as_ref()
        .and_then(|tracking| tracking.alarm_low.clone())
        .unwrap_or_else(|| named("Low", &low));
    Ok(TargetTracking {
        target_value,
        metric,
        scale_out_cooldown_s: cooldown(scale_out_cooldown_s)?,
        scale_in_cooldown_s: cooldown(scale_in_cooldown_s)?,
        disable_scale_in,
        alarm_high: before.map_or_else(|| named("High", &high), |tracking| tracking.alarm_high),
        alarm_low: (disable_scale_in != Some(true)).then_some(alarm_low),
    })
}

fn check_metric(metric: &TrackedMetric) -> Result<(), Refusal> {
    match metric {
        TrackedMetric::Predefined {
            metric,
            resource_label,
        } => match metric.as_str() {
            "ECSServiceAverageCPUUtilization" | "ECSServiceAverageMemoryUtilization" => {
                match resource_label {
                    None => Ok(()),
                    Some(_) => Err(invalid(format!(
                        "ResourceLabel can't be specified for metric type {metric}"
                    ))),
                }
            }
            "ALBRequestCountPerTarget" => {
                let label = resource_label.as_deref().unwrap_or_default();
                label_parts(label).map(drop).ok_or_else(|| {
                    invalid(format!(
                        "Invalid resource label for metric type ALBRequestCountPerTarget: {label}. The format is app/<load-balancer-name>/<load-balancer-id>/targetgroup/<target-group-name>/<target-group-id>"
                    ))
                })
            }
            _ => Err(invalid(format!(
                "Invalid predefined metric type {metric} for service namespace ecs"
            ))),
        },
        TrackedMetric::Customized { .. } => Ok(()),
        TrackedMetric::Queries(list) => {
            queries::check(list).map_err(|refusal| invalid(refusal.to_string()))?;
            let returned = list.iter().filter(|q| q.return_data != Some(false)).count();
            match returned == 1 {
                true => Ok(()),
                false => Err(invalid(
                    "Exactly one element of the metrics list should return data",
                )),
            }
        }
    }
}

/// Load balancer and target group of `app/<name>/<id>/targetgroup/<name>/<id>`, as CloudWatch's dimensions have them.
fn label_parts(label: &str) -> Option<(String, String)> {
    let parts: Vec<&str> = label.split('/').collect();
    let ["app", name, id, "targetgroup", group, group_id] = parts[..] else {
        return None;
    };
    let whole = [name, id, group, group_id]
        .iter()
        .all(|part| !part.is_empty());
    whole.then(|| {
        (
            format!("app/{name}/{id}"),
            format!("targetgroup/{group}/{group_id}"),
        )
    })
}

/// What a policy's alarms watch.
fn source(policy: &ScalingPolicy, metric: &TrackedMetric) -> AlarmSource {
    let plain = |namespace: &str, name: &str, dimensions: Vec<(&str, String)>, statistic: &str| {
        let dimensions = dimensions
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value));
        AlarmSource::Metric(MetricStatistic {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            dimensions: dimensions.collect(),
            statistic: statistic.to_owned(),
            period_s: PERIOD_S,
            unit: None,
        })
    };
    match metric {
        TrackedMetric::Queries(list) => AlarmSource::Queries(list.clone()),
        TrackedMetric::Customized {
            namespace,
            name,
            dimensions,
            statistic,
            unit,
        } => AlarmSource::Metric(MetricStatistic {
            namespace: namespace.clone(),
            name: name.clone(),
            dimensions: dimensions.clone(),
            statistic: statistic.clone(),
            period_s: PERIOD_S,
            unit: unit.clone(),
        }),
        TrackedMetric::Predefined {
            resource_label: Some(label),
            ..
        } => {
            let (balancer, group) = label_parts(label).unwrap_or_default();
            let dimensions = vec![("LoadBalancer", balancer), ("TargetGroup", group)];
            plain(
                "AWS/ApplicationELB",
                "RequestCountPerTarget",
                dimensions,
                "Sum",
            )
        }
        TrackedMetric::Predefined { metric, .. } => {
            let name = match metric.as_str() {
                "ECSServiceAverageMemoryUtilization" => "MemoryUtilization",
                _ => "CPUUtilization",
            };
            let (cluster, service) = service_of(&policy.resource_id).unwrap_or_default();
            let dimensions = vec![
                ("ClusterName", cluster.to_owned()),
                ("ServiceName", service.to_owned()),
            ];
            plain("AWS/ECS", name, dimensions, "Average")
        }
    }
}

fn put_alarms(
    tx: &mut Tx,
    policy: &ScalingPolicy,
    tracking: &TargetTracking,
) -> Result<(), Refusal> {
    let high = (
        tracking.alarm_high.clone(),
        tracking.target_value,
        Comparison::GreaterThanThreshold,
        HIGH_PERIODS,
    );
    let low = tracking.alarm_low.clone().map(|name| {
        let threshold = tracking.target_value * SCALE_IN_SHARE;
        (name, threshold, Comparison::LessThanThreshold, LOW_PERIODS)
    });
    for (name, threshold, comparison, evaluation_periods) in [Some(high), low].into_iter().flatten()
    {
        let watch = MetricWatch {
            source: source(policy, &tracking.metric),
            evaluation_periods,
            datapoints_to_alarm: None,
            threshold,
            comparison,
            treat_missing: None,
            low_samples: None,
        };
        let new = NewAlarm {
            name,
            description: Some(format!(
                "DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {}.",
                policy.arn
            )),
            alarm_actions: vec![policy.arn.clone()],
            tags: Tags::new(),
            ..NewAlarm::default()
        };
        alarms::put(tx, &policy.scope, new, AlarmWatch::Metric(watch))
            .map_err(|refusal| invalid(refusal.to_string()))?;
    }
    Ok(())
}

/// Names of the alarms that belong to a policy; step policies have none of their own.
fn own_alarms(policy: &ScalingPolicy) -> Vec<String> {
    match &policy.kind {
        ScalingPolicyKind::Step(_) => Vec::new(),
        ScalingPolicyKind::TargetTracking(tracking) => {
            let mut names = vec![tracking.alarm_high.clone()];
            names.extend(tracking.alarm_low.clone());
            names
        }
    }
}

fn remove_alarms(tx: &mut Tx, scope: &Scope, names: &[String]) -> Result<(), Refusal> {
    for name in names {
        tx.delete::<ScalingSignal>(scope, name);
    }
    alarms::delete(tx, scope, names).map_err(|refusal| invalid(refusal.to_string()))
}

/// The policy and its alarms. An alarm that a composite alarm's rule names stays.
pub fn remove(tx: &mut Tx, policy: &ScalingPolicy) {
    for name in own_alarms(policy) {
        let _ = remove_alarms(tx, &policy.scope, &[name]);
    }
    let id = format!("{}/{}", policy.resource_id, policy.name);
    tx.delete::<ScalingPolicy>(&policy.scope, id);
}

/// <https://docs.aws.amazon.com/autoscaling/application/APIReference/API_DeleteScalingPolicy.html>
pub fn delete(tx: &mut Tx, scope: &Scope, subject: &Subject, name: &str) -> Result<(), Refusal> {
    subject.check()?;
    let id = format!("{}/{name}", subject.resource_id);
    let Some(policy) = tx.snapshot().scaling_policies.get(scope, id).cloned() else {
        return Err(subject.missing("scaling policy", Some(("policy name", name))));
    };
    remove(tx, &policy);
    Ok(())
}

/// Whether an alarm's action is a scaling policy.
pub fn is_policy(action: &str) -> bool {
    action.starts_with("arn:")
        && action.contains(":autoscaling:")
        && action.contains(":scalingPolicy:")
}

/// The policies that an alarm in that state invokes.
pub fn invoked(alarm: &Alarm, state: AlarmState) -> impl Iterator<Item = &String> {
    let actions = match state {
        AlarmState::Ok => &alarm.ok_actions,
        AlarmState::Alarm => &alarm.alarm_actions,
        AlarmState::InsufficientData => &alarm.insufficient_data_actions,
    };
    let enabled = alarm.actions_enabled;
    actions
        .iter()
        .filter(move |action| enabled && is_policy(action))
}

/// The alarms that invoke a policy in some state: its own ones and those that its user made.
pub fn alarms_of<'a>(
    snapshot: &'a Snapshot,
    policy: &'a ScalingPolicy,
) -> impl Iterator<Item = &'a Arc<Alarm>> {
    let acts = |alarm: &&Arc<Alarm>| {
        let all = [
            &alarm.ok_actions,
            &alarm.alarm_actions,
            &alarm.insufficient_data_actions,
        ];
        all.into_iter()
            .flatten()
            .any(|action| *action == policy.arn)
    };
    snapshot.alarms.in_scope(&policy.scope).filter(acts)
}
