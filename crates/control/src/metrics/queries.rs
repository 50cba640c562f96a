//! Lists of metric queries, answered: metrics from the series, expressions by metric math.

use super::read::{Range, all_units};
use super::selection;
use crate::model::cloudwatch::math::{Outcome, Surroundings, TimeSeries, evaluate};
use crate::model::cloudwatch::{Refusal, expression, insights, queries};
use fogbank_store::series::{SeriesError, SeriesStore};
use fogbank_types::alarm::{MetricQuery, MetricQueryInput, MetricStatistic};
use fogbank_types::{Scope, Timestamp};
use std::collections::{BTreeMap, HashMap};

/// Why a list of queries has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Series(#[from] SeriesError),
}

/// What the queries are asked of.
pub struct Asked<'a> {
    pub store: &'a SeriesStore,
    pub scope: &'a Scope,
    pub now: Timestamp,
    /// The periods to look at, by a query's period.
    pub range: &'a dyn Fn(i64) -> Range,
}

/// A query's series; an expression may give several.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub id: String,
    pub is_returned: bool,
    pub series: Vec<TimeSeries>,
}

const DEFAULT_PERIOD_S: i64 = 300;

/// All answers, in the order of the queries.
pub fn answer(asked: &Asked<'_>, list: &[MetricQuery]) -> Result<Vec<Answer>, QueryError> {
    let mut metrics: Vec<(String, TimeSeries)> = Vec::new();
    let count = list.iter().filter(|query| is_metric(query)).count();
    for query in list {
        if let MetricQueryInput::Metric(metric) = &query.input {
            let label = match &query.label {
                Some(label) => label.clone(),
                None if count == 1 => metric.name.clone(),
                None => format!("{} {}", metric.name, metric.statistic),
            };
            let series = series(asked, metric, label)?;
            metrics.push((query.id.clone(), series));
        }
    }
    let mut named: BTreeMap<String, Outcome> = metrics
        .iter()
        .map(|(id, series)| (id.clone(), Outcome::Series(series.clone())))
        .collect();
    let mut answers: HashMap<usize, Answer> = HashMap::new();
    for place in queries::order(list)? {
        let query = &list[place];
        if let MetricQueryInput::Expression(text) = &query.input {
            let outcome = match insights::is_select(text) {
                true => selected(asked, query, text)?,
                false => outcome(asked, query, text, &metrics, &named)?,
            };
            named.insert(query.id.clone(), outcome);
        }
        let about = surroundings(asked, period_of(query, &named), &metrics, &named);
        let series = match named[&query.id].clone() {
            Outcome::Array(all) => all,
            one => vec![one.into_series(&about)],
        };
        let several = series.len() > 1;
        let labelled = series
            .into_iter()
            .map(|series| label(query, series, several));
        let answer = Answer {
            id: query.id.clone(),
            is_returned: query.return_data != Some(false),
            series: labelled.collect(),
        };
        answers.insert(place, answer);
    }
    Ok((0..list.len())
        .filter_map(|place| answers.remove(&place))
        .collect())
}

fn is_metric(query: &MetricQuery) -> bool {
    matches!(query.input, MetricQueryInput::Metric(_))
}

/// One of several series keeps the name of what it came from behind the query's label.
fn label(query: &MetricQuery, mut series: TimeSeries, several: bool) -> TimeSeries {
    if is_select(query) {
        return series;
    }
    let own = query.label.as_deref();
    series.label = match own {
        Some(label) if several => format!("{label} {}", series.label),
        Some(label) => label.to_owned(),
        None if is_metric(query) || several => series.label,
        None => query.id.clone(),
    };
    series
}

fn surroundings<'a>(
    asked: &Asked<'_>,
    period_s: i64,
    metrics: &'a [(String, TimeSeries)],
    named: &'a BTreeMap<String, Outcome>,
) -> Surroundings<'a> {
    let range = (asked.range)(period_s);
    Surroundings {
        named,
        metrics,
        range: (range.start_ms, range.end_ms),
        period_s: range.period_s,
    }
}

/// An expression's period: its own, else the longest of the metrics that are there.
fn period_of(query: &MetricQuery, named: &BTreeMap<String, Outcome>) -> i64 {
    let of = |outcome: &Outcome| match outcome {
        Outcome::Series(series) => Some(series.period_s),
        _ => None,
    };
    match query.period_s {
        Some(period_s) => i64::from(period_s),
        None => named
            .values()
            .filter_map(of)
            .max()
            .unwrap_or(DEFAULT_PERIOD_S),
    }
}

fn outcome(
    asked: &Asked<'_>,
    query: &MetricQuery,
    text: &str,
    metrics: &[(String, TimeSeries)],
    named: &BTreeMap<String, Outcome>,
) -> Result<Outcome, Refusal> {
    let wrong =
        |why: String| Refusal::Validation(format!("Error in expression '{}': {why}", query.id));
    let expression = expression::parse(text).map_err(wrong)?;
    let about = surroundings(asked, period_of(query, named), metrics, named);
    evaluate(&expression, &about).map_err(wrong)
}

fn is_select(query: &MetricQuery) -> bool {
    matches!(&query.input, MetricQueryInput::Expression(text) if insights::is_select(text))
}

/// What a Metrics Insights query gives: a series a group, named after its group or, without groups, the query.
fn selected(asked: &Asked<'_>, query: &MetricQuery, text: &str) -> Result<Outcome, QueryError> {
    let wrong =
        |why: String| Refusal::Validation(format!("Error in expression '{}': {why}", query.id));
    let select = insights::parse(text).map_err(wrong)?;
    let period_s = query.period_s.map_or(DEFAULT_PERIOD_S, i64::from);
    let mut all = selection::select(asked, &select, period_s)?;
    for series in &mut all {
        series.label = match (&query.label, series.label.as_str()) {
            (Some(label), "") => label.clone(),
            (None, "") => query.id.clone(),
            (Some(label), group) => format!("{label} {group}"),
            (None, group) => group.to_owned(),
        };
    }
    Ok(Outcome::Array(all))
}

/// A metric's statistic in each period that has it.
pub fn series(
    asked: &Asked<'_>,
    metric: &MetricStatistic,
    label: String,
) -> Result<TimeSeries, QueryError> {
    let statistic = queries::check_statistic(&metric.statistic)?;
    let range = (asked.range)(i64::from(metric.period_s));
    let periods = all_units(asked.store, asked.scope, metric, range, asked.now)?;
    let points = periods
        .into_iter()
        .filter_map(|(at, values)| Some((at, values.value(&statistic)?)))
        .collect();
    Ok(TimeSeries {
        label,
        period_s: i64::from(metric.period_s),
        points,
    })
}
