//! Alarms: what they must be like, and how they change state.

use super::evaluation::Verdict;
use super::{Refusal, dates, history, queries, rules};
use crate::model::Tx;
use fogbank_types::alarm::{
    Alarm, AlarmSource, AlarmState, AlarmWatch, Comparison, CompositeWatch, MetricQuery,
    MetricStatistic, MetricWatch, TreatMissing,
};
use fogbank_types::statistic::Statistic;
use fogbank_types::{Scope, Snapshot, Tags};
use serde_json::{Value, json};
use std::sync::Arc;

const TAGS_MAX: usize = 50;
const DAY_S: u64 = 86_400;

/// What every alarm has.
#[derive(Clone, Debug, Default)]
pub struct NewAlarm {
    pub name: String,
    pub description: Option<String>,
    pub actions_enabled: Option<bool>,
    pub ok_actions: Vec<String>,
    pub alarm_actions: Vec<String>,
    pub insufficient_data_actions: Vec<String>,
    pub tags: Tags,
}

/// What an alarm on a metric or an expression has besides.
#[derive(Clone, Debug, Default)]
pub struct NewMetricWatch {
    pub namespace: Option<String>,
    pub metric: Option<String>,
    pub dimensions: Vec<(String, String)>,
    pub statistic: Option<String>,
    pub extended_statistic: Option<String>,
    pub period_s: Option<i32>,
    pub unit: Option<String>,
    pub queries: Option<Vec<MetricQuery>>,
    pub evaluation_periods: Option<i32>,
    pub datapoints_to_alarm: Option<i32>,
    pub threshold: Option<f64>,
    pub comparison: Option<String>,
    pub treat_missing: Option<String>,
    pub low_samples: Option<String>,
}

/// The state of an alarm, for autoscaling and health checks; none if there is no such alarm.
pub fn alarm_state(snapshot: &Snapshot, scope: &Scope, name: &str) -> Option<AlarmState> {
    snapshot.alarms.get(scope, name).map(|alarm| alarm.state)
}

fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::Validation(text.into())
}

fn required<T>(value: Option<T>, name: &str) -> Result<T, Refusal> {
    value.ok_or_else(|| {
        invalid(format!(
            "1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"
        ))
    })
}

pub fn check_tags(tags: &Tags) -> Result<(), Refusal> {
    if tags.len() > TAGS_MAX {
        return Err(Refusal::Value(format!("More than {TAGS_MAX} tags.")));
    }
    let reserved = |key: &&String| key.to_ascii_lowercase().starts_with("aws:");
    match tags.keys().find(reserved) {
        Some(key) => Err(Refusal::Value(format!(
            "The value {key} for parameter Tags is invalid: aws: is reserved."
        ))),
        None => Ok(()),
    }
}

/// Checks what a metric alarm watches.
pub fn watch(new: NewMetricWatch) -> Result<MetricWatch, Refusal> {
    let evaluation_periods = required(new.evaluation_periods, "evaluationPeriods")?;
    let comparison = required(new.comparison.clone(), "comparisonOperator")?;
    let comparison = Comparison::parse(&comparison).ok_or_else(|| {
        invalid(format!(
            "ComparisonOperator {comparison} needs an anomaly detection band, which this region does not offer."
        ))
    })?;
    let threshold = required(new.threshold, "threshold")?;
    if !threshold.is_finite() {
        return Err(invalid("The threshold must be a finite number."));
    }
    if let Some(option) = new
        .low_samples
        .as_deref()
        .filter(|o| !matches!(*o, "evaluate" | "ignore"))
    {
        return Err(invalid(format!(
            "Option {option} is not supported. Supported options for parameter EvaluateLowSampleCountPercentile are evaluate and ignore."
        )));
    }
    let treat_missing = match new.treat_missing.as_deref() {
        None => None,
        Some(text) => Some(TreatMissing::parse(text).ok_or_else(|| {
            invalid(format!(
                "Option {text} is not supported. Supported options for parameter TreatMissingData are breaching, notBreaching, ignore and missing."
            ))
        })?),
    };
    if new
        .datapoints_to_alarm
        .is_some_and(|needed| needed > evaluation_periods)
    {
        return Err(invalid(
            "DatapointsToAlarm must be less than or equal to EvaluationPeriods",
        ));
    }
    let source = source(&new)?;
    let period_s = u64::from(period_of(&source));
    let span_s = period_s * evaluation_periods as u64;
    let most_s = if period_s < 3_600 { DAY_S } else { 7 * DAY_S };
    if span_s > most_s {
        return Err(invalid(format!(
            "Metrics cannot be checked across more than {} (EvaluationPeriods * Period must be <= {most_s}).",
            if most_s == DAY_S {
                "a day"
            } else {
                "seven days"
            }
        )));
    }
    Ok(MetricWatch {
        source,
        evaluation_periods: evaluation_periods as u32,
        datapoints_to_alarm: new.datapoints_to_alarm.map(|needed| needed as u32),
        threshold,
        comparison,
        treat_missing,
        low_samples: new.low_samples,
    })
}

fn source(new: &NewMetricWatch) -> Result<AlarmSource, Refusal> {
    if let Some(list) = new.queries.as_ref().filter(|list| !list.is_empty()) {
        let plain = new.metric.is_some()
            || new.namespace.is_some()
            || new.statistic.is_some()
            || new.extended_statistic.is_some()
            || new.period_s.is_some()
            || !new.dimensions.is_empty()
            || new.unit.is_some();
        if plain {
            return Err(invalid(
                "Parameters Metrics and MetricName, Namespace, Dimensions, Period, Unit, Statistic, or ExtendedStatistic are mutually exclusive.",
            ));
        }
        queries::check(list)?;
        let returned = list
            .iter()
            .filter(|query| query.return_data != Some(false))
            .count();
        if returned != 1 {
            return Err(invalid(
                "Exactly one element of the metrics list should return data.",
            ));
        }
        return Ok(AlarmSource::Queries(list.clone()));
    }
    let name = new.metric.clone();
    let name =
        name.ok_or_else(|| invalid("One of the parameters MetricName and Metrics is required."))?;
    let statistic = match (&new.statistic, &new.extended_statistic) {
        (Some(_), Some(_)) => {
            return Err(invalid(
                "Statistic and ExtendedStatistic are mutually exclusive.",
            ));
        }
        (None, None) => {
            return Err(invalid(
                "One of Statistic and ExtendedStatistic is required.",
            ));
        }
        (Some(statistic), None) => statistic.clone(),
        (None, Some(text)) => match Statistic::parse(text) {
            Some(statistic) if !statistic.is_plain() => text.clone(),
            _ => {
                return Err(Refusal::Value(format!(
                    "The value {text} for parameter ExtendedStatistic is not supported."
                )));
            }
        },
    };
    let period_s = required(new.period_s, "period")?;
    if !(matches!(period_s, 10 | 20 | 30) || period_s % 60 == 0) {
        return Err(invalid("Period must be 10, 20, 30 or a multiple of 60"));
    }
    Ok(AlarmSource::Metric(MetricStatistic {
        namespace: required(new.namespace.clone(), "namespace")?,
        name,
        dimensions: new.dimensions.clone(),
        statistic,
        period_s: period_s as u32,
        unit: new.unit.clone(),
    }))
}

/// The length of one data point of an alarm: that of its longest metric.
pub fn period_of(source: &AlarmSource) -> u32 {
    use fogbank_types::alarm::MetricQueryInput::{Expression, Metric};
    match source {
        AlarmSource::Metric(metric) => metric.period_s,
        AlarmSource::Queries(list) => list
            .iter()
            .filter_map(|query| match &query.input {
                Metric(metric) => Some(metric.period_s),
                Expression(_) => query.period_s,
            })
            .max()
            .unwrap_or(300),
    }
}

/// Checks what a composite alarm watches.
pub fn check_composite(
    snapshot: &Snapshot,
    scope: &Scope,
    name: &str,
    watch: &CompositeWatch,
) -> Result<(), Refusal> {
    let wrong = |why: String| invalid(format!("AlarmRule is not valid: {why}"));
    let rule = rules::parse(&watch.rule).map_err(wrong)?;
    for child in rule.children() {
        let child = name_of(child);
        if child == name || depends_on(snapshot, scope, child, name, 0) {
            return Err(wrong(format!("{child} depends on {name} itself")));
        }
        if !snapshot.alarms.contains(scope, child) {
            return Err(invalid(format!(
                "Could not save the composite alarm as alarms [{child}] in the alarm rule do not exist"
            )));
        }
    }
    let periods = watch.suppressor_wait_s.is_some() && watch.suppressor_extension_s.is_some();
    if watch.suppressor.is_some() != periods {
        return Err(invalid(
            "ActionsSuppressor, ActionsSuppressorWaitPeriod and ActionsSuppressorExtensionPeriod go together.",
        ));
    }
    Ok(())
}

/// The name in an alarm's ARN, or the name that it is already.
pub fn name_of(name_or_arn: &str) -> &str {
    match name_or_arn
        .strip_prefix("arn:")
        .and_then(|rest| rest.split_once(":alarm:"))
    {
        Some((_, name)) => name,
        None => name_or_arn,
    }
}

fn depends_on(snapshot: &Snapshot, scope: &Scope, alarm: &str, name: &str, depth: usize) -> bool {
    children(snapshot, scope, alarm).iter().any(|child| {
        child == name || depth < 20 && depends_on(snapshot, scope, child, name, depth + 1)
    })
}

/// The alarms that a composite alarm's rule names.
pub fn children(snapshot: &Snapshot, scope: &Scope, alarm: &str) -> Vec<String> {
    let Some(AlarmWatch::Composite(watch)) = snapshot.alarms.get(scope, alarm).map(|a| &a.watch)
    else {
        return Vec::new();
    };
    let rule = rules::parse(&watch.rule);
    let children = rule.iter().flat_map(|rule| rule.children());
    children.map(|child| name_of(child).to_owned()).collect()
}

/// Makes an alarm, or replaces all of it but its state and tags.
pub fn put(tx: &mut Tx, scope: &Scope, new: NewAlarm, watch: AlarmWatch) -> Result<(), Refusal> {
    if new.name.trim() != new.name || new.name.contains(|c: char| c.is_control()) {
        return Err(invalid(format!(
            "The value {} for parameter AlarmName is invalid.",
            new.name
        )));
    }
    check_tags(&new.tags)?;
    let before = tx.snapshot().alarms.get(scope, &new.name).cloned();
    let of_kind =
        |alarm: &Arc<Alarm>| std::mem::discriminant(&alarm.watch) == std::mem::discriminant(&watch);
    if before.as_ref().is_some_and(|before| !of_kind(before)) {
        return Err(invalid(format!(
            "An alarm of another type has the name {} already.",
            new.name
        )));
    }
    if let AlarmWatch::Composite(composite) = &watch {
        check_composite(tx.snapshot(), scope, &new.name, composite)?;
    }
    let now = tx.now();
    let mut alarm = Alarm {
        scope: scope.clone(),
        name: new.name,
        description: new.description,
        actions_enabled: new.actions_enabled.unwrap_or(true),
        ok_actions: new.ok_actions,
        alarm_actions: new.alarm_actions,
        insufficient_data_actions: new.insufficient_data_actions,
        watch,
        configured_at: now,
        state: AlarmState::InsufficientData,
        state_reason: "Unchecked: Initial alarm creation".to_owned(),
        state_reason_data: None,
        state_updated_at: now,
        state_transitioned_at: now,
        judged: None,
        tags: new.tags,
    };
    let what = if before.is_some() {
        "updated"
    } else {
        "created"
    };
    if let Some(before) = before {
        alarm.state = before.state;
        alarm.state_reason.clone_from(&before.state_reason);
        alarm
            .state_reason_data
            .clone_from(&before.state_reason_data);
        alarm.state_updated_at = before.state_updated_at;
        alarm.state_transitioned_at = before.state_transitioned_at;
        alarm.judged = before.judged;
        // Tags are for new alarms only; TagResource changes them.
        alarm.tags.clone_from(&before.tags);
    }
    history::configured(tx, &alarm, what);
    tx.put(alarm);
    Ok(())
}

/// Deletes all of them or, if one is needed, none. Names that no alarm has are passed over.
pub fn delete(tx: &mut Tx, scope: &Scope, names: &[String]) -> Result<(), Refusal> {
    let found = names
        .iter()
        .filter_map(|name| tx.snapshot().alarms.get(scope, name).cloned());
    let alarms: Vec<Arc<Alarm>> = found.collect();
    let composites = alarms
        .iter()
        .filter(|a| matches!(a.watch, AlarmWatch::Composite(_)))
        .count();
    if composites > 1 {
        return Err(invalid(
            "Only one composite alarm can be deleted at a time.",
        ));
    }
    let parents: Vec<String> = tx
        .snapshot()
        .alarms
        .in_scope(scope)
        .filter(|parent| !names.contains(&parent.name))
        .filter(|parent| {
            children(tx.snapshot(), scope, &parent.name)
                .iter()
                .any(|child| names.contains(child))
        })
        .map(|parent| parent.name.clone())
        .collect();
    if !parents.is_empty() {
        return Err(invalid(format!(
            "Alarms [{}] must be deleted first: their rules name an alarm that would be deleted.",
            parents.join(", ")
        )));
    }
    for alarm in alarms {
        history::configured(tx, &alarm, "deleted");
        tx.delete::<Alarm>(scope, &alarm.name);
    }
    Ok(())
}

/// Names that no alarm has are passed over, as on AWS.
pub fn enable_actions(tx: &mut Tx, scope: &Scope, names: &[String], enabled: bool) {
    for name in names {
        let Some(before) = tx.snapshot().alarms.get(scope, name).cloned() else {
            continue;
        };
        if before.actions_enabled != enabled {
            tx.update::<Alarm>(scope, name, |alarm| alarm.actions_enabled = enabled);
            history::configured(tx, &before, "updated");
        }
    }
}

/// Gives an alarm a state by hand; the next evaluation may give it another.
pub fn set_state(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    (state, reason, data): (AlarmState, String, Option<String>),
) -> Result<(), Refusal> {
    if data
        .as_deref()
        .is_some_and(|data| serde_json::from_str::<Value>(data).is_err())
    {
        return Err(Refusal::Format(
            "StateReasonData is not valid JSON".to_owned(),
        ));
    }
    let Some(before) = tx.snapshot().alarms.get(scope, name).cloned() else {
        return Err(Refusal::NotFound(format!("Alarm {name} does not exist")));
    };
    transition(tx, &before, state, reason, data);
    Ok(())
}

/// Changes an alarm's state, and writes it into its history.
pub fn transition(
    tx: &mut Tx,
    before: &Alarm,
    state: AlarmState,
    reason: String,
    data: Option<String>,
) {
    let now = tx.now();
    let moved = before.state != state;
    let after = Alarm {
        state,
        state_reason: reason,
        state_reason_data: data,
        state_updated_at: now,
        state_transitioned_at: if moved {
            now
        } else {
            before.state_transitioned_at
        },
        ..before.clone()
    };
    if moved {
        let suppressed = is_suppressed(tx.snapshot(), before);
        history::transitioned(tx, before, &after, suppressed);
    }
    tx.put(after);
}

/// Whether a composite alarm's suppressor keeps its actions back now.
pub fn is_suppressed(snapshot: &Snapshot, alarm: &Alarm) -> bool {
    let AlarmWatch::Composite(watch) = &alarm.watch else {
        return false;
    };
    let suppressor = watch.suppressor.as_deref().map(name_of);
    let state = suppressor.and_then(|name| alarm_state(snapshot, &alarm.scope, name));
    state == Some(AlarmState::Alarm)
}

/// What AWS tells a machine about an evaluation.
pub fn reason_data(
    watch: &MetricWatch,
    verdict: &Verdict,
    (start_ms, now_ms): (i64, i64),
    recent: &[f64],
) -> String {
    let evaluated: Vec<Value> = verdict
        .decided
        .iter()
        .rev()
        .map(|(at, value)| json!({"timestamp": dates::long(*at), "value": value}))
        .collect();
    let mut data = json!({"version": "1.0", "queryDate": dates::long(now_ms), "period": period_of(&watch.source),
        "recentDatapoints": recent, "threshold": watch.threshold, "evaluatedDatapoints": evaluated});
    if !verdict.decided.is_empty() {
        data["startDate"] = dates::long(start_ms).into();
    }
    if let AlarmSource::Metric(metric) = &watch.source {
        data["statistic"] = metric.statistic.as_str().into();
        if let Some(unit) = &metric.unit {
            data["unit"] = unit.as_str().into();
        }
    }
    data.to_string()
}
