//! Metrics Insights queries, answered from the series.

use super::queries::{Asked, QueryError};
use super::read::all_units;
use crate::model::cloudwatch::insights::Select;
use crate::model::cloudwatch::math::TimeSeries;
use fogbank_types::alarm::MetricStatistic;
use fogbank_types::metric::StatisticSet;
use std::collections::BTreeMap;

/// One series for each group, in the order that is asked for. Without groups the label is left empty.
pub fn select(
    asked: &Asked<'_>,
    select: &Select,
    period_s: i64,
) -> Result<Vec<TimeSeries>, QueryError> {
    let range = (asked.range)(period_s);
    let scope = asked.scope;
    let mut groups: BTreeMap<String, BTreeMap<i64, StatisticSet>> = BTreeMap::new();
    let mut names: Vec<_> = asked
        .store
        .list(&scope.account, &scope.region)
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| select.takes(&name.namespace, &name.metric, &name.dimensions))
        .collect();
    // All units of a metric are read together.
    names.dedup_by(|a, b| (&a.metric, &a.dimensions) == (&b.metric, &b.dimensions));
    for name in names {
        let group = groups.entry(select.group(&name.dimensions)).or_default();
        let metric = MetricStatistic {
            namespace: name.namespace,
            name: name.metric,
            dimensions: name.dimensions,
            statistic: String::new(),
            period_s: 0,
            unit: None,
        };
        for (at, values) in all_units(asked.store, scope, &metric, range, asked.now)? {
            group.entry(at).or_default().join(&values);
        }
    }
    let mut all: Vec<(f64, TimeSeries)> = Vec::new();
    for (label, periods) in groups
        .into_iter()
        .filter(|(_, periods)| !periods.is_empty())
    {
        let mut points = BTreeMap::new();
        let mut values = StatisticSet::default();
        for (at, set) in periods {
            if let Some(value) = set.value(&select.statistic) {
                points.insert(at, value);
                values.join(&StatisticSet::of(value, 1.0));
            }
        }
        let rank = select
            .order_by
            .as_ref()
            .and_then(|(by, _)| values.value(by));
        let series = TimeSeries {
            label,
            period_s,
            points,
        };
        all.push((rank.unwrap_or(0.0), series));
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    if select
        .order_by
        .as_ref()
        .is_some_and(|(_, descending)| *descending)
    {
        all.reverse();
    }
    Ok(all
        .into_iter()
        .take(select.limit)
        .map(|(_, series)| series)
        .collect())
}
