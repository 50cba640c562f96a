//! Shapes come back as they were given.

use super::policy_shapes::{new_kind, shape};
use super::{PAGE_MAX, page};
use crate::model::scaling::policies::NewKind;
use fogbank_types::scaling::{ScalingPolicy, ScalingPolicyKind, TargetTracking};
use fogbank_types::{Scope, Timestamp};
use fogbank_wire::application_autoscaling as wire;

fn kept(kind: NewKind) -> ScalingPolicy {
    let kind = match kind {
        NewKind::Step { scaling, .. } => ScalingPolicyKind::Step(scaling),
        NewKind::TargetTracking {
            target_value,
            metric,
            disable_scale_in,
            ..
        } => ScalingPolicyKind::TargetTracking(TargetTracking {
            target_value,
            metric,
            scale_out_cooldown_s: Some(60),
            scale_in_cooldown_s: None,
            disable_scale_in,
            alarm_high: "high".to_owned(),
            alarm_low: None,
        }),
    };
    ScalingPolicy {
        scope: Scope::new("000000000000", "us-east-1"),
        resource_id: "service/main/api".to_owned(),
        name: "p".to_owned(),
        arn: "arn".to_owned(),
        kind,
        created_at: Timestamp(0),
        answered: Default::default(),
    }
}

fn configuration() -> wire::TargetTrackingScalingPolicyConfiguration {
    let stat = wire::TargetTrackingMetricDataQuery {
        id: "m1".to_owned(),
        metric_stat: Some(wire::TargetTrackingMetricStat {
            metric: wire::TargetTrackingMetric {
                dimensions: Some(Vec::new()),
                metric_name: Some("Depth".to_owned()),
                namespace: Some("Queue".to_owned()),
            },
            stat: "Sum".to_owned(),
            unit: None,
        }),
        return_data: Some(false),
        ..wire::TargetTrackingMetricDataQuery::default()
    };
    let expression = wire::TargetTrackingMetricDataQuery {
        id: "e1".to_owned(),
        expression: Some("m1 / 2".to_owned()),
        return_data: Some(true),
        ..wire::TargetTrackingMetricDataQuery::default()
    };
    wire::TargetTrackingScalingPolicyConfiguration {
        customized_metric_specification: Some(wire::CustomizedMetricSpecification {
            metrics: Some(vec![stat, expression]),
            ..wire::CustomizedMetricSpecification::default()
        }),
        disable_scale_in: Some(false),
        scale_out_cooldown: Some(60),
        target_value: 12.5,
        ..wire::TargetTrackingScalingPolicyConfiguration::default()
    }
}

#[test]
fn a_tracking_policy_comes_back_as_given() {
    let request = wire::PutScalingPolicyRequest {
        policy_type: Some("TargetTrackingScaling".to_owned()),
        target_tracking_scaling_policy_configuration: Some(configuration()),
        ..wire::PutScalingPolicyRequest::default()
    };
    let policy = kept(new_kind(request, None).unwrap());
    let told = shape(&policy, Vec::new());
    assert_eq!(
        told.target_tracking_scaling_policy_configuration,
        Some(configuration())
    );
    // An update need not repeat the type, but must fit it.
    let update = wire::PutScalingPolicyRequest {
        step_scaling_policy_configuration: Some(Default::default()),
        ..wire::PutScalingPolicyRequest::default()
    };
    assert!(new_kind(update, Some(&policy)).is_err());
}

#[test]
fn predictive_scaling_is_refused_by_name() {
    let request = wire::PutScalingPolicyRequest {
        policy_type: Some("PredictiveScaling".to_owned()),
        ..wire::PutScalingPolicyRequest::default()
    };
    let refusal = new_kind(request, None).unwrap_err();
    assert!(refusal.to_string().contains("PredictiveScaling"));
}

#[test]
fn pages_end() {
    let all: Vec<usize> = (0..PAGE_MAX + 3).collect();
    let (first, token) = page(all.clone(), None, None).unwrap();
    assert_eq!(first.len(), PAGE_MAX);
    let (rest, end) = page(all.clone(), token.as_deref(), None).unwrap();
    assert_eq!((rest.len(), end), (3, None));
    assert!(page(all.clone(), Some("x"), None).is_err());
    assert!(page(all, None, Some(51)).is_err());
}
