//! Rows of alarms as shapes.

use super::{queries, shapes};
use fogbank_types::Snapshot;
use fogbank_types::alarm::{Alarm, AlarmSource, AlarmWatch, CompositeWatch, MetricWatch};
use fogbank_types::statistic::Statistic;
use fogbank_wire::cloudwatch as wire;

use crate::model::cloudwatch::alarms::is_suppressed;

pub fn metric_alarm(alarm: &Alarm, watch: &MetricWatch) -> wire::MetricAlarm {
    let shape = wire::MetricAlarm {
        actions_enabled: Some(alarm.actions_enabled),
        alarm_actions: Some(alarm.alarm_actions.clone()),
        alarm_arn: Some(alarm.arn()),
        alarm_configuration_updated_timestamp: Some(alarm.configured_at),
        alarm_description: alarm.description.clone(),
        alarm_name: Some(alarm.name.clone()),
        comparison_operator: Some(watch.comparison.as_str().to_owned()),
        datapoints_to_alarm: watch.datapoints_to_alarm.map(|needed| needed as i32),
        dimensions: Some(Vec::new()),
        evaluate_low_sample_count_percentile: watch.low_samples.clone(),
        evaluation_periods: Some(watch.evaluation_periods as i32),
        insufficient_data_actions: Some(alarm.insufficient_data_actions.clone()),
        ok_actions: Some(alarm.ok_actions.clone()),
        state_reason: Some(alarm.state_reason.clone()),
        state_reason_data: alarm.state_reason_data.clone(),
        state_transitioned_timestamp: Some(alarm.state_transitioned_at),
        state_updated_timestamp: Some(alarm.state_updated_at),
        state_value: Some(alarm.state.as_str().to_owned()),
        threshold: Some(watch.threshold),
        treat_missing_data: watch.treat_missing.map(|treat| treat.as_str().to_owned()),
        ..wire::MetricAlarm::default()
    };
    match &watch.source {
        AlarmSource::Queries(list) => wire::MetricAlarm {
            metrics: Some(list.iter().map(queries::shape).collect()),
            ..shape
        },
        AlarmSource::Metric(metric) => {
            let plain = Statistic::parse(&metric.statistic).is_some_and(|s| s.is_plain());
            let statistic = Some(metric.statistic.clone());
            wire::MetricAlarm {
                dimensions: Some(shapes(&metric.dimensions)),
                extended_statistic: statistic.clone().filter(|_| !plain),
                metric_name: Some(metric.name.clone()),
                namespace: Some(metric.namespace.clone()),
                period: Some(metric.period_s as i32),
                statistic: statistic.filter(|_| plain),
                unit: metric.unit.clone(),
                ..shape
            }
        }
    }
}

pub fn composite_alarm(
    snapshot: &Snapshot,
    alarm: &Alarm,
    watch: &CompositeWatch,
) -> wire::CompositeAlarm {
    let suppressed = is_suppressed(snapshot, alarm);
    wire::CompositeAlarm {
        actions_enabled: Some(alarm.actions_enabled),
        actions_suppressed_by: suppressed.then(|| "Alarm".to_owned()),
        actions_suppressed_reason: suppressed
            .then(|| "Actions suppressed by the suppressor alarm".to_owned()),
        actions_suppressor: watch.suppressor.clone(),
        actions_suppressor_extension_period: watch.suppressor_extension_s.map(|s| s as i32),
        actions_suppressor_wait_period: watch.suppressor_wait_s.map(|s| s as i32),
        alarm_actions: Some(alarm.alarm_actions.clone()),
        alarm_arn: Some(alarm.arn()),
        alarm_configuration_updated_timestamp: Some(alarm.configured_at),
        alarm_description: alarm.description.clone(),
        alarm_name: Some(alarm.name.clone()),
        alarm_rule: Some(watch.rule.clone()),
        insufficient_data_actions: Some(alarm.insufficient_data_actions.clone()),
        ok_actions: Some(alarm.ok_actions.clone()),
        state_reason: Some(alarm.state_reason.clone()),
        state_reason_data: alarm.state_reason_data.clone(),
        state_transitioned_timestamp: Some(alarm.state_transitioned_at),
        state_updated_timestamp: Some(alarm.state_updated_at),
        state_value: Some(alarm.state.as_str().to_owned()),
    }
}

/// Those of the alarms that are of each kind.
pub fn by_kind(
    snapshot: &Snapshot,
    alarms: &[&Alarm],
) -> (Vec<wire::MetricAlarm>, Vec<wire::CompositeAlarm>) {
    let (mut metric, mut composite) = (Vec::new(), Vec::new());
    for alarm in alarms {
        match &alarm.watch {
            AlarmWatch::Metric(watch) => metric.push(metric_alarm(alarm, watch)),
            AlarmWatch::Composite(watch) => composite.push(composite_alarm(snapshot, alarm, watch)),
        }
    }
    (metric, composite)
}
