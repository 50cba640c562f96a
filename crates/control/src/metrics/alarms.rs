//! Evaluates metric alarms when they are due. What a state follows from is `model::cloudwatch::evaluation`; composite
//! alarms are a reconciler's, since they look at rows alone.
//!
//! AWS's durations are divided by the region's speed here too: an alarm's period of 60 s is 3 s of real time at speed 20.

use super::queries::{Answer, Asked, QueryError, answer, series};
use super::read::Range;
use crate::Engine;
use crate::engine::CommitError;
use crate::model::cloudwatch::alarms::{self, period_of};
use crate::model::cloudwatch::evaluation::{self, EXTRA_PERIODS};
use crate::model::cloudwatch::math::Points;
use crate::model::scaling::policies::invoked;
use fogbank_types::alarm::{Alarm, AlarmSource, AlarmState, AlarmWatch, MetricWatch};
use fogbank_types::scaling::ScalingSignal;
use fogbank_types::{RegionConfig, Row, Timestamp};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const LONGEST_WAIT_MS: i64 = 10_000;
const SHORTEST_WAIT_MS: i64 = 500;

/// When each alarm is to be looked at again, by its row's key.
#[derive(Default)]
pub struct Schedule {
    /// The minute whose counts of services are kept.
    pub counted: i64,
    pub filters: super::filters::Counter,
    due: HashMap<String, Due>,
}

#[derive(Clone, Copy)]
struct Due {
    /// An alarm that was configured anew is looked at at once.
    configured_at: Timestamp,
    at_ms: i64,
}

/// Evaluates all alarms that are due; how long until the next is. Blocks.
pub fn evaluate_due(engine: &Engine, schedule: &mut Schedule) -> Duration {
    let (snapshot, now) = (engine.snapshot(), engine.now());
    let mut due = HashMap::new();
    for alarm in snapshot.alarms.all() {
        let AlarmWatch::Metric(watch) = &alarm.watch else {
            continue;
        };
        let key = alarm.key();
        let planned = schedule.due.get(&key).copied();
        let wait_ms = wait_ms(period_of(&watch.source), engine.config());
        // A state that was set by hand holds until the next evaluation is due, however soon after.
        let planned = match alarm.state_updated_at > alarm.configured_at {
            true => Some(Due {
                configured_at: alarm.configured_at,
                at_ms: (alarm.state_updated_at.0 + wait_ms).max(planned.map_or(0, |p| p.at_ms)),
            }),
            false => planned,
        };
        let waits = planned.filter(|p| p.configured_at == alarm.configured_at && p.at_ms > now.0);
        let next = waits.unwrap_or_else(|| {
            if let Err(error) = evaluate(engine, alarm, watch, now) {
                tracing::error!(%error, alarm = alarm.name, "an alarm cannot be evaluated");
            }
            Due {
                configured_at: alarm.configured_at,
                at_ms: now.0 + wait_ms,
            }
        });
        due.insert(key, next);
    }
    schedule.due = due;
    let next_ms = schedule.due.values().map(|due| due.at_ms).min();
    let wait_ms = next_ms.map_or(LONGEST_WAIT_MS, |at| (at - now.0).max(1));
    Duration::from_millis(wait_ms.unsigned_abs())
}

/// The real length in seconds of one of AWS's periods.
pub fn scaled_s(period_s: i64, config: &RegionConfig) -> i64 {
    ((period_s as f64 / config.speed).round() as i64).max(1)
}

/// Periods of a minute and more begin at any minute, shorter ones at multiples of theirs.
fn grain_s(period_s: u32, config: &RegionConfig) -> i64 {
    scaled_s(i64::from(period_s.min(60)), config)
}

/// Looked at several times a period, since data come late.
fn wait_ms(period_s: u32, config: &RegionConfig) -> i64 {
    (grain_s(period_s, config) * 1_000 / 6).clamp(SHORTEST_WAIT_MS, LONGEST_WAIT_MS)
}

/// Why an alarm has no verdict.
#[derive(Debug, thiserror::Error)]
enum EvaluationError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

fn evaluate(
    engine: &Engine,
    alarm: &Arc<Alarm>,
    watch: &MetricWatch,
    now: Timestamp,
) -> Result<(), EvaluationError> {
    let config = engine.config();
    let period_s = period_of(&watch.source);
    let grain_ms = grain_s(period_s, config) * 1_000;
    let end_ms = now.0.div_euclid(grain_ms) * grain_ms;
    let count = watch.evaluation_periods as i64 + EXTRA_PERIODS as i64;
    let range = |period_s: i64| {
        let length_s = scaled_s(period_s, config);
        Range {
            start_ms: end_ms - length_s * count * 1_000,
            end_ms,
            period_s: length_s,
        }
    };
    let asked = Asked {
        store: engine.metrics(),
        scope: &alarm.scope,
        now,
        range: &range,
    };
    let found = points(&asked, watch)?;
    let whole = range(i64::from(period_s));
    let times = (0..count).map(|index| whole.start_ms + index * whole.period_s * 1_000);
    let points: Vec<(i64, Option<f64>)> = times.map(|at| (at, found.get(&at).copied())).collect();
    let verdict = evaluation::judge(watch, &points);
    if let Some(newest) = verdict.decided.last() {
        let state = verdict.state.unwrap_or(alarm.state);
        signal(engine, alarm, state, *newest, now)?;
    }
    let Some(state) = verdict
        .state
        .filter(|state| *state != alarm.state || alarm.judged != Some(*state) || is_new(alarm))
    else {
        return Ok(());
    };
    let moves = state != alarm.state || is_new(alarm);
    let reason = evaluation::reason(watch, &verdict, state, alarm.state);
    let recent: Vec<f64> = verdict.decided.iter().map(|(_, value)| *value).collect();
    let first_ms = verdict
        .decided
        .first()
        .map_or(whole.start_ms, |(at, _)| *at);
    let data = alarms::reason_data(watch, &verdict, (first_ms, now.0), &recent);
    engine.write(|tx| {
        // Only if it is still the alarm that was looked at.
        if let Some(current) = tx.snapshot().alarms.get(&alarm.scope, &alarm.name).cloned()
            && current.configured_at == alarm.configured_at
        {
            if moves {
                alarms::transition(tx, &current, state, reason.clone(), Some(data.clone()));
            }
            tx.update::<Alarm>(&alarm.scope, &alarm.name, |row| row.judged = Some(state));
        }
        Ok::<_, CommitError>(())
    })?;
    Ok(())
}

/// Tells scaling policies that the alarm's state invokes of its newest data point, once. They act by
/// `reconcile::service_scaling`, again with each data point for as long as the state lasts.
fn signal(
    engine: &Engine,
    alarm: &Alarm,
    state: AlarmState,
    (at_ms, value): (i64, f64),
    now: Timestamp,
) -> Result<(), CommitError> {
    if invoked(alarm, state).next().is_none() {
        return Ok(());
    }
    let at = Timestamp(at_ms);
    let signals = &engine.snapshot().scaling_signals;
    let told = signals.get(&alarm.scope, &alarm.name).map(|told| told.at);
    if told == Some(at) {
        return Ok(());
    }
    engine.write(|tx| {
        tx.put(ScalingSignal {
            scope: alarm.scope.clone(),
            alarm_name: alarm.name.clone(),
            at,
            value,
            told_at: now,
        });
        Ok::<_, CommitError>(())
    })?;
    Ok(())
}

/// Its first evaluation gives it a reason even if the state stays.
fn is_new(alarm: &Alarm) -> bool {
    alarm.state_reason_data.is_none() && alarm.state_reason.starts_with("Unchecked")
}

/// The values that an alarm compares with its threshold.
fn points(asked: &Asked<'_>, watch: &MetricWatch) -> Result<Points, QueryError> {
    match &watch.source {
        AlarmSource::Metric(metric) => Ok(series(asked, metric, String::new())?.points),
        AlarmSource::Queries(list) => {
            let answers = answer(asked, list)?;
            let returned = answers
                .into_iter()
                .find(|answer: &Answer| answer.is_returned);
            let first = returned.and_then(|answer| answer.series.into_iter().next());
            Ok(first.map(|series| series.points).unwrap_or_default())
        }
    }
}
