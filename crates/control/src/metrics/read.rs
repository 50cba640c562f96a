//! Buckets of the series, put together to the periods that are asked for.

use super::series_name;
use fogbank_store::series::{SeriesError, SeriesStore, TIERS, Tier};
use fogbank_types::alarm::MetricStatistic;
use fogbank_types::metric::StatisticSet;
use fogbank_types::{Scope, Timestamp};
use std::collections::BTreeMap;

const DAY_MS: i64 = 86_400_000;

/// Periods that are asked for: from `start_ms` on, each of `period_s`, those that begin before `end_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub start_ms: i64,
    pub end_ms: i64,
    pub period_s: i64,
}

impl Range {
    /// CloudWatch's rounding of a start: to the minute, further back to five minutes and to the hour; to the period if
    /// that is short. "Parameters" of
    /// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html>
    pub fn rounded(start: Timestamp, end: Timestamp, period_s: i64, now: Timestamp) -> Self {
        let age_ms = now.0 - start.0;
        let grain_s = match age_ms {
            _ if age_ms > 63 * DAY_MS => 3_600,
            _ if age_ms > 15 * DAY_MS => 300,
            _ if period_s < 60 => period_s.max(1),
            _ => 60,
        };
        Self {
            start_ms: start.0.div_euclid(grain_s * 1_000) * grain_s * 1_000,
            end_ms: end.0,
            period_s,
        }
    }

    /// How many periods that is.
    pub fn count(&self) -> i64 {
        let period_ms = self.period_s.max(1) * 1_000;
        (self.end_ms - self.start_ms + period_ms - 1).max(0) / period_ms
    }

    /// The coarsest tier whose buckets fit into the periods.
    fn tier(&self) -> Tier {
        let fits = |tier: &&Tier| {
            self.period_s % tier.seconds == 0 && self.start_ms % (tier.seconds * 1_000) == 0
        };
        TIERS.iter().rev().find(fits).copied().unwrap_or(TIERS[0])
    }
}

/// What was observed in each period, by unit. Periods without data are absent.
pub fn periods(
    store: &SeriesStore,
    scope: &Scope,
    metric: &MetricStatistic,
    range: Range,
    now: Timestamp,
) -> Result<BTreeMap<String, BTreeMap<i64, StatisticSet>>, SeriesError> {
    let unit = metric.unit.as_deref().unwrap_or("");
    let name = series_name(
        scope,
        &metric.namespace,
        &metric.name,
        &metric.dimensions,
        unit,
    );
    let series = match unit {
        "" => store.units(&name),
        _ => vec![name],
    };
    let period_ms = range.period_s.max(1) * 1_000;
    let mut by_unit = BTreeMap::new();
    for name in series {
        let mut periods: BTreeMap<i64, StatisticSet> = BTreeMap::new();
        let span = (range.start_ms, range.end_ms);
        for (at_ms, values) in store.read(&name, range.tier(), span, now.0)? {
            // A bucket on the edge of what is still kept may begin before the range.
            let index = (at_ms - range.start_ms).div_euclid(period_ms);
            if index >= 0 {
                let period = periods.entry(range.start_ms + index * period_ms);
                period.or_default().join(&values);
            }
        }
        if !periods.is_empty() {
            by_unit.insert(name.unit, periods);
        }
    }
    Ok(by_unit)
}

/// The same whatever the unit.
pub fn all_units(
    store: &SeriesStore,
    scope: &Scope,
    metric: &MetricStatistic,
    range: Range,
    now: Timestamp,
) -> Result<BTreeMap<i64, StatisticSet>, SeriesError> {
    let mut all: BTreeMap<i64, StatisticSet> = BTreeMap::new();
    for periods in periods(store, scope, metric, range, now)?.into_values() {
        for (at, values) in periods {
            all.entry(at).or_default().join(&values);
        }
    }
    Ok(all)
}
