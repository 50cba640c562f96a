//! What policies do, to and from shapes.

use crate::model::scaling::policies::NewKind;
use crate::model::scaling::{Refusal, invalid};
use fogbank_types::alarm::{MetricQuery, MetricQueryInput, MetricStatistic};
use fogbank_types::scaling::{
    AdjustmentType, ECS_DESIRED_COUNT, ScalingPolicy, ScalingPolicyKind, StepAdjustment,
    StepScaling, TargetTracking, TrackedMetric,
};
use fogbank_wire::application_autoscaling as wire;

/// A type left out is that of the policy as it is, or of the configuration that is given.
pub fn new_kind(
    request: wire::PutScalingPolicyRequest,
    before: Option<&ScalingPolicy>,
) -> Result<NewKind, Refusal> {
    let (tracking, step) = (
        request.target_tracking_scaling_policy_configuration,
        request.step_scaling_policy_configuration,
    );
    let predictive = request.predictive_scaling_policy_configuration.is_some();
    if predictive || request.policy_type.as_deref() == Some("PredictiveScaling") {
        return Err(invalid(
            "PredictiveScaling is not offered by this region: it needs two weeks of history and a model of it.",
        ));
    }
    let wanted = match (&request.policy_type, before.map(|policy| &policy.kind)) {
        (Some(kind), _) => kind.as_str(),
        (None, Some(ScalingPolicyKind::TargetTracking(_))) => "TargetTrackingScaling",
        (None, Some(ScalingPolicyKind::Step(_))) => "StepScaling",
        (None, None) if tracking.is_some() => "TargetTrackingScaling",
        (None, None) => "StepScaling",
    };
    match (wanted, tracking, step) {
        ("TargetTrackingScaling", Some(configuration), None) => tracking_kind(configuration),
        ("StepScaling", None, Some(configuration)) => step_kind(configuration),
        ("TargetTrackingScaling", ..) => Err(invalid(
            "A TargetTrackingScalingPolicyConfiguration, and no other, must be specified for policy type TargetTrackingScaling",
        )),
        _ => Err(invalid(
            "A StepScalingPolicyConfiguration, and no other, must be specified for policy type StepScaling",
        )),
    }
}

fn tracking_kind(
    configuration: wire::TargetTrackingScalingPolicyConfiguration,
) -> Result<NewKind, Refusal> {
    let metric = match (
        configuration.predefined_metric_specification,
        configuration.customized_metric_specification,
    ) {
        (Some(predefined), None) => TrackedMetric::Predefined {
            metric: predefined.predefined_metric_type,
            resource_label: predefined.resource_label,
        },
        (None, Some(customized)) => customized_metric(customized)?,
        _ => {
            return Err(invalid(
                "Exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification must be specified",
            ));
        }
    };
    Ok(NewKind::TargetTracking {
        target_value: configuration.target_value,
        metric,
        scale_out_cooldown_s: configuration.scale_out_cooldown,
        scale_in_cooldown_s: configuration.scale_in_cooldown,
        disable_scale_in: configuration.disable_scale_in,
    })
}

fn customized_metric(
    specification: wire::CustomizedMetricSpecification,
) -> Result<TrackedMetric, Refusal> {
    if let Some(list) = specification.metrics.filter(|list| !list.is_empty()) {
        if specification.metric_name.is_some() || specification.namespace.is_some() {
            return Err(invalid(
                "Metrics and MetricName, Namespace, Dimensions, Statistic or Unit are mutually exclusive",
            ));
        }
        let queries: Result<_, _> = list.into_iter().map(query).collect();
        return queries.map(TrackedMetric::Queries);
    }
    let required = |value: Option<String>, name: &str| {
        value.ok_or_else(|| {
            invalid(format!(
                "{name} is required in a CustomizedMetricSpecification"
            ))
        })
    };
    let dimensions = specification.dimensions.unwrap_or_default();
    Ok(TrackedMetric::Customized {
        namespace: required(specification.namespace, "Namespace")?,
        name: required(specification.metric_name, "MetricName")?,
        dimensions: dimensions.into_iter().map(|d| (d.name, d.value)).collect(),
        statistic: required(specification.statistic, "Statistic")?,
        unit: specification.unit,
    })
}

fn query(query: wire::TargetTrackingMetricDataQuery) -> Result<MetricQuery, Refusal> {
    let input = match (query.metric_stat, query.expression) {
        (Some(stat), None) => {
            let dimensions = stat.metric.dimensions.unwrap_or_default();
            MetricQueryInput::Metric(MetricStatistic {
                namespace: stat.metric.namespace.unwrap_or_default(),
                name: stat.metric.metric_name.unwrap_or_default(),
                dimensions: dimensions.into_iter().map(|d| (d.name, d.value)).collect(),
                statistic: stat.stat,
                // Target tracking looks at minutes, always.
                period_s: 60,
                unit: stat.unit,
            })
        }
        (None, Some(expression)) => MetricQueryInput::Expression(expression),
        _ => {
            return Err(invalid(
                "Exactly one of Expression and MetricStat must be specified in each element of Metrics",
            ));
        }
    };
    Ok(MetricQuery {
        id: query.id,
        label: query.label,
        return_data: query.return_data,
        account: None,
        period_s: None,
        input,
    })
}

fn step_kind(configuration: wire::StepScalingPolicyConfiguration) -> Result<NewKind, Refusal> {
    let given = configuration.adjustment_type.as_deref();
    let adjustment = given.and_then(AdjustmentType::parse).ok_or_else(|| {
        invalid("AdjustmentType must be ChangeInCapacity, PercentChangeInCapacity or ExactCapacity")
    })?;
    let magnitude = configuration.min_adjustment_magnitude;
    if magnitude.is_some() && adjustment != AdjustmentType::PercentChangeInCapacity {
        return Err(invalid(
            "MinAdjustmentMagnitude is only valid for AdjustmentType PercentChangeInCapacity",
        ));
    }
    let magnitude = magnitude
        .map(|magnitude| u32::try_from(magnitude).ok().filter(|m| *m > 0))
        .map(|checked| checked.ok_or_else(|| invalid("MinAdjustmentMagnitude must be positive")))
        .transpose()?;
    let steps = configuration.step_adjustments.unwrap_or_default();
    Ok(NewKind::Step {
        scaling: StepScaling {
            adjustment,
            steps: steps
                .into_iter()
                .map(|step| StepAdjustment {
                    lower: step.metric_interval_lower_bound,
                    upper: step.metric_interval_upper_bound,
                    adjustment: step.scaling_adjustment,
                })
                .collect(),
            min_adjustment_magnitude: magnitude,
            cooldown_s: None,
            aggregation: configuration.metric_aggregation_type,
        },
        cooldown_s: configuration.cooldown,
    })
}

pub fn shape(policy: &ScalingPolicy, alarms: Vec<wire::Alarm>) -> wire::ScalingPolicy {
    let mut shape = wire::ScalingPolicy {
        alarms: Some(alarms),
        creation_time: policy.created_at,
        policy_arn: policy.arn.clone(),
        policy_name: policy.name.clone(),
        resource_id: policy.resource_id.clone(),
        scalable_dimension: ECS_DESIRED_COUNT.to_owned(),
        service_namespace: "ecs".to_owned(),
        ..wire::ScalingPolicy::default()
    };
    match &policy.kind {
        ScalingPolicyKind::TargetTracking(tracking) => {
            shape.policy_type = "TargetTrackingScaling".to_owned();
            shape.target_tracking_scaling_policy_configuration = Some(tracking_shape(tracking));
        }
        ScalingPolicyKind::Step(step) => {
            shape.policy_type = "StepScaling".to_owned();
            shape.step_scaling_policy_configuration = Some(step_shape(step));
        }
    }
    shape
}

fn seconds(cooldown_s: Option<u32>) -> Option<i32> {
    cooldown_s.map(|s| i32::try_from(s).unwrap_or(i32::MAX))
}

fn tracking_shape(tracking: &TargetTracking) -> wire::TargetTrackingScalingPolicyConfiguration {
    let mut shape = wire::TargetTrackingScalingPolicyConfiguration {
        customized_metric_specification: None,
        disable_scale_in: tracking.disable_scale_in,
        predefined_metric_specification: None,
        scale_in_cooldown: seconds(tracking.scale_in_cooldown_s),
        scale_out_cooldown: seconds(tracking.scale_out_cooldown_s),
        target_value: tracking.target_value,
    };
    match &tracking.metric {
        TrackedMetric::Predefined {
            metric,
            resource_label,
        } => {
            shape.predefined_metric_specification = Some(wire::PredefinedMetricSpecification {
                predefined_metric_type: metric.clone(),
                resource_label: resource_label.clone(),
            });
        }
        TrackedMetric::Customized {
            namespace,
            name,
            dimensions,
            statistic,
            unit,
        } => {
            let dimensions = dimensions
                .iter()
                .map(|(name, value)| wire::MetricDimension {
                    name: name.clone(),
                    value: value.clone(),
                });
            shape.customized_metric_specification = Some(wire::CustomizedMetricSpecification {
                dimensions: Some(dimensions.collect()),
                metric_name: Some(name.clone()),
                metrics: None,
                namespace: Some(namespace.clone()),
                statistic: Some(statistic.clone()),
                unit: unit.clone(),
            });
        }
        TrackedMetric::Queries(list) => {
            shape.customized_metric_specification = Some(wire::CustomizedMetricSpecification {
                metrics: Some(list.iter().map(query_shape).collect()),
                ..wire::CustomizedMetricSpecification::default()
            });
        }
    }
    shape
}

fn query_shape(query: &MetricQuery) -> wire::TargetTrackingMetricDataQuery {
    let mut shape = wire::TargetTrackingMetricDataQuery {
        id: query.id.clone(),
        label: query.label.clone(),
        return_data: query.return_data,
        ..wire::TargetTrackingMetricDataQuery::default()
    };
    match &query.input {
        MetricQueryInput::Expression(text) => shape.expression = Some(text.clone()),
        MetricQueryInput::Metric(metric) => {
            let dimensions = metric.dimensions.iter();
            let dimensions = dimensions.map(|(name, value)| wire::TargetTrackingMetricDimension {
                name: name.clone(),
                value: value.clone(),
            });
            shape.metric_stat = Some(wire::TargetTrackingMetricStat {
                metric: wire::TargetTrackingMetric {
                    dimensions: Some(dimensions.collect()),
                    metric_name: Some(metric.name.clone()),
                    namespace: Some(metric.namespace.clone()),
                },
                stat: metric.statistic.clone(),
                unit: metric.unit.clone(),
            });
        }
    }
    shape
}

fn step_shape(step: &StepScaling) -> wire::StepScalingPolicyConfiguration {
    let steps = step.steps.iter().map(|step| wire::StepAdjustment {
        metric_interval_lower_bound: step.lower,
        metric_interval_upper_bound: step.upper,
        scaling_adjustment: step.adjustment,
    });
    wire::StepScalingPolicyConfiguration {
        adjustment_type: Some(step.adjustment.as_str().to_owned()),
        cooldown: seconds(step.cooldown_s),
        metric_aggregation_type: step.aggregation.clone(),
        min_adjustment_magnitude: step.min_adjustment_magnitude.map(|m| m as i32),
        step_adjustments: Some(steps.collect()),
    }
}
