//! Alarms.

use super::alarm_shapes::{by_kind, metric_alarm};
use super::{page, pairs, queries, tags_of};
use crate::api::{ApiError, Context};
use crate::model::cloudwatch::Refusal;
use crate::model::cloudwatch::alarms::{self, NewAlarm, NewMetricWatch};
use fogbank_types::alarm::{Alarm, AlarmSource, AlarmState, AlarmWatch, CompositeWatch};
use fogbank_wire::cloudwatch as wire;

pub fn put(
    context: &Context,
    request: wire::PutMetricAlarmInput,
) -> Result<wire::PutMetricAlarmResponse, ApiError> {
    for (given, name) in [
        (request.threshold_metric_id.is_some(), "ThresholdMetricId"),
        (request.evaluation_criteria.is_some(), "EvaluationCriteria"),
        (request.evaluation_interval.is_some(), "EvaluationInterval"),
    ] {
        if given {
            let text = format!("{name} is not offered by this region yet.");
            return Err(Refusal::Validation(text).into());
        }
    }
    let queries = match request.metrics {
        Some(list) => Some(queries::commands(list, "Metrics")?),
        None => None,
    };
    let watch = alarms::watch(NewMetricWatch {
        namespace: request.namespace,
        metric: request.metric_name,
        dimensions: pairs(request.dimensions),
        statistic: request.statistic,
        extended_statistic: request.extended_statistic,
        period_s: request.period,
        unit: request.unit,
        queries,
        evaluation_periods: request.evaluation_periods,
        datapoints_to_alarm: request.datapoints_to_alarm,
        threshold: request.threshold,
        comparison: request.comparison_operator,
        treat_missing: request.treat_missing_data,
        low_samples: request.evaluate_low_sample_count_percentile,
    })?;
    let new = NewAlarm {
        name: request.alarm_name,
        description: request.alarm_description,
        actions_enabled: request.actions_enabled,
        ok_actions: request.ok_actions.unwrap_or_default(),
        alarm_actions: request.alarm_actions.unwrap_or_default(),
        insufficient_data_actions: request.insufficient_data_actions.unwrap_or_default(),
        tags: tags_of(request.tags),
    };
    save(context, new, AlarmWatch::Metric(watch))?;
    Ok(wire::PutMetricAlarmResponse {})
}

pub fn put_composite(
    context: &Context,
    request: wire::PutCompositeAlarmInput,
) -> Result<wire::PutCompositeAlarmResponse, ApiError> {
    let seconds = |period: i32| {
        let text = || "The suppressor's periods must be 0 to 86400 seconds.".to_owned();
        u32::try_from(period)
            .ok()
            .filter(|period| *period <= 86_400)
            .ok_or_else(|| Refusal::Validation(text()))
    };
    let watch = CompositeWatch {
        rule: request.alarm_rule,
        suppressor: request.actions_suppressor,
        suppressor_wait_s: request
            .actions_suppressor_wait_period
            .map(seconds)
            .transpose()?,
        suppressor_extension_s: request
            .actions_suppressor_extension_period
            .map(seconds)
            .transpose()?,
    };
    let new = NewAlarm {
        name: request.alarm_name,
        description: request.alarm_description,
        actions_enabled: request.actions_enabled,
        ok_actions: request.ok_actions.unwrap_or_default(),
        alarm_actions: request.alarm_actions.unwrap_or_default(),
        insufficient_data_actions: request.insufficient_data_actions.unwrap_or_default(),
        tags: tags_of(request.tags),
    };
    save(context, new, AlarmWatch::Composite(watch))?;
    Ok(wire::PutCompositeAlarmResponse {})
}

fn save(context: &Context, new: NewAlarm, watch: AlarmWatch) -> Result<(), ApiError> {
    let scope = context.scope();
    context.write(|tx| Ok(alarms::put(tx, &scope, new.clone(), watch.clone())?))
}

const PAGE: usize = 50;

pub fn describe(
    context: &Context,
    request: wire::DescribeAlarmsInput,
) -> Result<wire::DescribeAlarmsOutput, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let names = request.alarm_names.unwrap_or_default();
    let prefix = request.alarm_name_prefix.unwrap_or_default();
    if !names.is_empty() && !prefix.is_empty() {
        return Err(Refusal::Validation(
            "AlarmNamePrefix and AlarmNames are mutually exclusive.".to_owned(),
        )
        .into());
    }
    // Without a type metric alarms alone are told, but for those that are asked for by name (as Terraform does).
    let types = request
        .alarm_types
        .unwrap_or_else(|| vec!["MetricAlarm".to_owned()]);
    let children = request.children_of_alarm_name;
    let children = children.map(|name| alarms::children(&snapshot, &scope, alarms::name_of(&name)));
    let is_parent = |alarm: &Alarm, child: &str| {
        let child = alarms::name_of(child).to_owned();
        alarms::children(&snapshot, &scope, &alarm.name).contains(&child)
    };
    let relatives = children.is_some() || request.parents_of_alarm_name.is_some();
    let action = request.action_prefix.unwrap_or_default();
    let acts = |alarm: &Alarm| {
        let all = [
            &alarm.ok_actions,
            &alarm.alarm_actions,
            &alarm.insufficient_data_actions,
        ];
        action.is_empty()
            || all
                .iter()
                .copied()
                .flatten()
                .any(|arn| arn.starts_with(&action))
    };
    let found: Vec<&Alarm> = snapshot
        .alarms
        .with_prefix(&scope, &prefix)
        .map(|alarm| &**alarm)
        .filter(|alarm| names.is_empty() || names.contains(&alarm.name))
        .filter(|alarm| {
            let kind = crate::model::cloudwatch::history::alarm_type(alarm);
            relatives || types.iter().any(|wanted| wanted == kind)
        })
        .filter(|alarm| {
            request
                .state_value
                .as_ref()
                .is_none_or(|state| state == alarm.state.as_str())
        })
        .filter(|alarm| {
            children
                .as_ref()
                .is_none_or(|names| names.contains(&alarm.name))
        })
        .filter(|alarm| {
            request
                .parents_of_alarm_name
                .as_ref()
                .is_none_or(|child| is_parent(alarm, child))
        })
        .filter(|alarm| acts(alarm))
        .collect();
    let limit = request.max_records.map_or(PAGE, |most| most as usize);
    let (found, next_token) = page(found, request.next_token.as_deref(), limit)?;
    let (metric, composite) = by_kind(&snapshot, &found);
    Ok(wire::DescribeAlarmsOutput {
        composite_alarms: Some(composite),
        metric_alarms: Some(metric),
        next_token,
    })
}

pub fn describe_for_metric(
    context: &Context,
    request: wire::DescribeAlarmsForMetricInput,
) -> Result<wire::DescribeAlarmsForMetricOutput, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let mut dimensions = pairs(request.dimensions);
    dimensions.sort();
    let statistic = request.statistic.or(request.extended_statistic);
    let mut found = Vec::new();
    for alarm in snapshot.alarms.in_scope(&scope) {
        let AlarmWatch::Metric(watch) = &alarm.watch else {
            continue;
        };
        let AlarmSource::Metric(metric) = &watch.source else {
            continue;
        };
        let mut own = metric.dimensions.clone();
        own.sort();
        let same = metric.namespace == request.namespace
            && metric.name == request.metric_name
            && own == dimensions
            && statistic
                .as_ref()
                .is_none_or(|statistic| *statistic == metric.statistic)
            && request
                .period
                .is_none_or(|period| period as u32 == metric.period_s)
            && (request.unit.is_none() || request.unit == metric.unit);
        if same {
            found.push(metric_alarm(alarm, watch));
        }
    }
    Ok(wire::DescribeAlarmsForMetricOutput {
        metric_alarms: Some(found),
    })
}

pub fn delete(
    context: &Context,
    request: wire::DeleteAlarmsInput,
) -> Result<wire::DeleteAlarmsResponse, ApiError> {
    let scope = context.scope();
    context.write(|tx| Ok(alarms::delete(tx, &scope, &request.alarm_names)?))?;
    Ok(wire::DeleteAlarmsResponse {})
}

pub fn set_state(
    context: &Context,
    request: wire::SetAlarmStateInput,
) -> Result<wire::SetAlarmStateResponse, ApiError> {
    let scope = context.scope();
    let state = AlarmState::parse(&request.state_value)
        .ok_or_else(|| Refusal::Validation("StateValue is not valid".to_owned()))?;
    let change = (state, request.state_reason, request.state_reason_data);
    context.write(|tx| {
        Ok(alarms::set_state(
            tx,
            &scope,
            &request.alarm_name,
            change.clone(),
        )?)
    })?;
    Ok(wire::SetAlarmStateResponse {})
}

pub fn enable(
    context: &Context,
    request: wire::EnableAlarmActionsInput,
) -> Result<wire::EnableAlarmActionsResponse, ApiError> {
    switch(context, &request.alarm_names, true)?;
    Ok(wire::EnableAlarmActionsResponse {})
}

pub fn disable(
    context: &Context,
    request: wire::DisableAlarmActionsInput,
) -> Result<wire::DisableAlarmActionsResponse, ApiError> {
    switch(context, &request.alarm_names, false)?;
    Ok(wire::DisableAlarmActionsResponse {})
}

fn switch(context: &Context, names: &[String], enabled: bool) -> Result<(), ApiError> {
    let scope = context.scope();
    context.write(|tx| {
        alarms::enable_actions(tx, &scope, names, enabled);
        Ok(())
    })
}
