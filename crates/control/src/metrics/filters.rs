//! Metric filters at work: what comes into the streams of their groups becomes observations.
//!
//! Events are read where they lie, whoever wrote them (a container's shim, PutLogEvents, flow logs), in the order they were
//! written. How far a stream's segment was counted is kept with the observations, in one transaction: an event counts
//! once, across restarts too. What a crash may cost is the default value of the minute it was in.

use super::alarms::scaled_s;
use super::series_name;
use crate::Engine;
use crate::model::logs::metric_filters::{Counted, count};
use crate::model::logs::pattern::Pattern;
use crate::model::logs::streams;
use fogbank_store::log::{Arrivals, LogError, Tail};
use fogbank_store::series::{Observation, SeriesError};
use fogbank_types::logs::{LogStream, MetricFilter};
use fogbank_types::metric::StatisticSet;
use fogbank_types::{Row, Snapshot};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Between looks at the streams.
const LOOK_MS: i64 = 250;
/// Reads of a look, of a MiB each: other metrics wait meanwhile.
const READS_MAX: usize = 16;
const MINUTE_S: i64 = 60;
const HOUR_S: i64 = 3_600;
/// Minutes whose default value may still be owed.
const MINUTES_MAX: usize = 1_024;
/// "CloudWatch disables a metric filter if it generates 1,000 different name/value pairs ... within one hour."
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/MonitoringPolicyExamples.html>
const DIMENSIONS_MAX: usize = 1_000;

#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Series(#[from] SeriesError),
}

/// What is known from one look to the next.
#[derive(Default)]
pub struct Counter {
    looked_ms: i64,
    filters: HashMap<String, Working>,
    /// By the stream's uid.
    tails: HashMap<String, Tail>,
}

/// A filter, and what it owes.
struct Working {
    filter: Arc<MetricFilter>,
    pattern: Pattern,
    /// Minutes in which events came: whether one matched.
    minutes: BTreeMap<i64, bool>,
    hour: i64,
    dimensions: HashSet<Vec<(String, String)>>,
}

impl Working {
    /// None if the pattern is understood no more: a row of another version.
    fn new(filter: &Arc<MetricFilter>) -> Option<Self> {
        Some(Self {
            pattern: Pattern::parse(&filter.pattern).ok()?,
            filter: filter.clone(),
            minutes: BTreeMap::new(),
            hour: 0,
            dimensions: HashSet::new(),
        })
    }

    fn observation(
        &self,
        at_ms: i64,
        value: f64,
        dimensions: &[(String, String)],
        fine: bool,
    ) -> Observation {
        let filter = &self.filter;
        let unit = filter.unit.as_deref().unwrap_or("None");
        Observation {
            series: series_name(
                &filter.scope,
                &filter.namespace,
                &filter.metric,
                dimensions,
                unit,
            ),
            at_ms,
            values: StatisticSet::of(value, 1.0),
            fine,
        }
    }
}

/// Looks at the streams of all groups with filters, if it is time to. Blocks. True: there is more to be read.
pub fn observe(engine: &Engine, counter: &mut Counter) -> Result<bool, FilterError> {
    let (snapshot, now) = (engine.snapshot(), engine.now().0);
    if now < counter.looked_ms + LOOK_MS
        || snapshot.log_metric_filters.is_empty() && counter.filters.is_empty()
    {
        return Ok(false);
    }
    counter.know(&snapshot);
    let streams = counter.streams(&snapshot);
    counter
        .tails
        .retain(|uid, _| streams.iter().any(|(stream, _)| stream.uid == *uid));
    let mut reads = 0;
    for (stream, filters) in &streams {
        loop {
            if reads >= READS_MAX {
                return Ok(true);
            }
            reads += 1;
            let Some(arrivals) = counter.next(engine, stream, filters)? else {
                break;
            };
            counter.take_in(engine, stream, filters, &arrivals)?;
        }
    }
    counter.pay_defaults(engine, now)?;
    counter.looked_ms = now;
    Ok(false)
}

impl Counter {
    /// As if the last look were long ago.
    #[cfg(test)]
    pub fn due(self) -> Self {
        Self {
            looked_ms: 0,
            ..self
        }
    }

    /// Takes over the filters as they are now.
    fn know(&mut self, snapshot: &Snapshot) {
        self.filters.retain(|_, working| {
            let row = snapshot
                .log_metric_filters
                .get(&working.filter.scope, working.filter.id());
            row.is_some_and(|row| **row == *working.filter)
        });
        for filter in snapshot.log_metric_filters.all() {
            let key = filter.key();
            if !self.filters.contains_key(&key) {
                self.filters
                    .extend(Working::new(filter).map(|working| (key, working)));
            }
        }
    }

    /// The streams to be read, and which filters are asked about each.
    fn streams(&self, snapshot: &Snapshot) -> Vec<(Arc<LogStream>, Vec<String>)> {
        let mut groups: BTreeMap<String, (&MetricFilter, Vec<String>)> = BTreeMap::new();
        for (key, working) in &self.filters {
            let filter = &*working.filter;
            let group = format!("{:?} {}", filter.scope, filter.group);
            groups
                .entry(group)
                .or_insert_with(|| (filter, Vec::new()))
                .1
                .push(key.clone());
        }
        let of = |(filter, keys): (&MetricFilter, Vec<String>)| {
            let streams = streams::of(snapshot, &filter.scope, &filter.group);
            streams
                .map(|stream| (stream.clone(), keys.clone()))
                .collect::<Vec<_>>()
        };
        groups.into_values().flat_map(of).collect()
    }

    fn next(
        &mut self,
        engine: &Engine,
        stream: &LogStream,
        filters: &[String],
    ) -> Result<Option<Arrivals>, FilterError> {
        let tail = self.tails.entry(stream.uid.clone()).or_insert_with(|| {
            let made = filters.iter().filter_map(|key| self.filters.get(key));
            let since = made.map(|working| working.filter.created_at.0).min();
            Tail::since(
                &engine.config().logs_dir().join(&stream.uid),
                since.unwrap_or(i64::MAX),
            )
        });
        let snapshot = engine.snapshot();
        let group = snapshot.log_groups.get(&stream.scope, &stream.group);
        tail.use_keys(group.and_then(|group| engine.log_keys().of(&snapshot, group)));
        let place = |segment| {
            let mark = engine
                .metrics()
                .mark(&mark_of(&stream.uid, segment))
                .ok()??;
            u64::try_from(mark).ok()
        };
        Ok(tail.next(place)?)
    }

    fn take_in(
        &mut self,
        engine: &Engine,
        stream: &LogStream,
        filters: &[String],
        arrivals: &Arrivals,
    ) -> Result<(), FilterError> {
        let fine = engine.config().speed > 1.0;
        let minute_ms = scaled_s(MINUTE_S, engine.config()) * 1_000;
        let hour_ms = scaled_s(HOUR_S, engine.config()) * 1_000;
        let hour = engine.now().0.div_euclid(hour_ms);
        let mut observations = Vec::new();
        for key in filters {
            let Some(working) = self.filters.get_mut(key) else {
                continue;
            };
            if working.hour != hour {
                (working.hour, working.dimensions) = (hour, HashSet::new());
            }
            for (_, event) in &arrivals.events {
                if event.ingestion_ms < working.filter.created_at.0 {
                    continue;
                }
                let message = String::from_utf8_lossy(&event.message);
                let counted = count(&working.filter, &working.pattern, &message);
                if working.filter.default_value.is_some() {
                    let minute = event.timestamp_ms.div_euclid(minute_ms) * minute_ms;
                    *working.minutes.entry(minute).or_default() |= counted != Counted::No;
                }
                let Counted::Yes { value, dimensions } = counted else {
                    continue;
                };
                if !working.dimensions.contains(&dimensions) {
                    if working.dimensions.len() >= DIMENSIONS_MAX {
                        continue;
                    }
                    working.dimensions.insert(dimensions.clone());
                }
                observations.push(working.observation(
                    event.timestamp_ms,
                    value,
                    &dimensions,
                    fine,
                ));
            }
        }
        let source = mark_of(&stream.uid, arrivals.segment);
        let mark = Some((
            source.as_str(),
            i64::try_from(arrivals.end).unwrap_or(i64::MAX),
        ));
        engine.metrics().add(&observations, mark, engine.now().0)?;
        Ok(())
    }

    /// The default values of the minutes that are over, in which events came and none matched.
    fn pay_defaults(&mut self, engine: &Engine, now: i64) -> Result<(), FilterError> {
        let fine = engine.config().speed > 1.0;
        let minute_ms = scaled_s(MINUTE_S, engine.config()) * 1_000;
        let mut observations = Vec::new();
        for working in self.filters.values_mut() {
            while let Some((minute, matched)) = working.minutes.pop_first() {
                if minute + minute_ms > now && working.minutes.len() < MINUTES_MAX {
                    working.minutes.insert(minute, matched);
                    break;
                }
                let owed = working.filter.default_value.filter(|_| !matched);
                observations
                    .extend(owed.map(|value| working.observation(minute, value, &[], fine)));
            }
        }
        if !observations.is_empty() {
            engine.metrics().add(&observations, None, now)?;
        }
        Ok(())
    }
}

/// Begins the names of a stream's marks.
pub fn marks_of(uid: &str) -> String {
    format!("logs/{uid}/")
}

fn mark_of(uid: &str, segment: u32) -> String {
    format!("{}{segment:08}", marks_of(uid))
}
