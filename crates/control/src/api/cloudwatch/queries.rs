//! GetMetricData.

use super::{offset, pairs, shapes, token};
use crate::api::{ApiError, Context};
use crate::metrics::queries::{Answer, Asked, answer};
use crate::metrics::read::Range;
use crate::model::cloudwatch::math::TimeSeries;
use crate::model::cloudwatch::{Refusal, queries};
use fogbank_types::Timestamp;
use fogbank_types::alarm::{MetricQuery, MetricQueryInput, MetricStatistic};
use fogbank_wire::cloudwatch as wire;

/// AWS's most in one answer.
const DATAPOINTS_MAX: usize = 100_800;

pub fn get(
    context: &Context,
    request: wire::GetMetricDataInput,
) -> Result<wire::GetMetricDataOutput, ApiError> {
    let (now, start, end) = (context.now(), request.start_time, request.end_time);
    let second = |time: Timestamp| time.0.div_euclid(1_000);
    let refusal = match second(start).cmp(&second(end)) {
        std::cmp::Ordering::Less => None,
        std::cmp::Ordering::Equal => {
            Some("The parameter StartTime must not equal parameter EndTime.")
        }
        std::cmp::Ordering::Greater => {
            Some("The parameter EndTime must be greater than StartTime.")
        }
    };
    if let Some(text) = refusal {
        return Err(Refusal::Validation(text.to_owned()).into());
    }
    let list = commands(request.metric_data_queries, "MetricDataQueries")?;
    queries::check(&list)?;
    let scope = context.scope();
    let range = |period_s: i64| Range::rounded(start, end, period_s, now);
    let asked = Asked {
        store: context.metrics(),
        scope: &scope,
        now,
        range: &range,
    };
    let answers = answer(&asked, &list)?;
    let ascending = request.scan_by.as_deref() == Some("TimestampAscending");
    let most = request.max_datapoints.map_or(DATAPOINTS_MAX, |most| {
        usize::try_from(most).unwrap_or(0).clamp(1, DATAPOINTS_MAX)
    });
    let skip = offset(request.next_token.as_deref()).ok_or(Refusal::Token)?;
    Ok(show(answers, ascending, skip, most))
}

/// Queries as they are kept. `path` is the list's name, for messages.
pub fn commands(list: Vec<wire::MetricDataQuery>, path: &str) -> Result<Vec<MetricQuery>, Refusal> {
    let mut commands = Vec::new();
    for (index, query) in list.into_iter().enumerate() {
        let path = format!("{path}.member.{}", index + 1);
        let input = match (query.metric_stat, query.expression) {
            (Some(stat), None) => MetricQueryInput::Metric(metric(stat, &path)?),
            (None, Some(expression)) => MetricQueryInput::Expression(expression),
            (Some(_), Some(_)) => {
                return Err(Refusal::Validation(format!(
                    "The parameters {path}.Expression and {path}.MetricStat are mutually exclusive and you have specified both.\n"
                )));
            }
            (None, None) => {
                return Err(Refusal::Validation(format!(
                    "The parameter {path}.MetricStat is required.\n"
                )));
            }
        };
        commands.push(MetricQuery {
            id: query.id,
            label: query.label,
            return_data: query.return_data,
            account: query.account_id,
            period_s: query.period.map(|period| period as u32),
            input,
        });
    }
    Ok(commands)
}

fn metric(stat: wire::MetricStat, path: &str) -> Result<MetricStatistic, Refusal> {
    let required = |value: Option<String>, name: &str| {
        value.ok_or_else(|| {
            Refusal::Validation(format!(
                "The parameter {path}.MetricStat.Metric.{name} is required.\n"
            ))
        })
    };
    Ok(MetricStatistic {
        namespace: required(stat.metric.namespace, "Namespace")?,
        name: required(stat.metric.metric_name, "MetricName")?,
        dimensions: pairs(stat.metric.dimensions),
        statistic: stat.stat,
        period_s: stat.period as u32,
        unit: stat.unit,
    })
}

/// A query as the caller gave it.
pub fn shape(query: &MetricQuery) -> wire::MetricDataQuery {
    let (metric_stat, expression) = match &query.input {
        MetricQueryInput::Expression(text) => (None, Some(text.clone())),
        MetricQueryInput::Metric(metric) => {
            let stat = wire::MetricStat {
                metric: wire::Metric {
                    dimensions: Some(shapes(&metric.dimensions)),
                    metric_name: Some(metric.name.clone()),
                    namespace: Some(metric.namespace.clone()),
                },
                period: metric.period_s as i32,
                stat: metric.statistic.clone(),
                unit: metric.unit.clone(),
            };
            (Some(stat), None)
        }
    };
    wire::MetricDataQuery {
        account_id: query.account.clone(),
        expression,
        id: query.id.clone(),
        label: query.label.clone(),
        metric_stat,
        period: query.period_s.map(|period| period as i32),
        return_data: query.return_data,
    }
}

/// The part of the answers that a page has: `most` datapoints after the first `skip`.
fn show(
    answers: Vec<Answer>,
    ascending: bool,
    skip: usize,
    most: usize,
) -> wire::GetMetricDataOutput {
    let mut results = Vec::new();
    let (mut before, mut left) = (0, most);
    let mut cut = false;
    for answer in answers.into_iter().filter(|answer| answer.is_returned) {
        for series in answer.series {
            let mut points: Vec<(i64, f64)> =
                series.points.iter().map(|(at, v)| (*at, *v)).collect();
            if !ascending {
                points.reverse();
            }
            let first = skip.saturating_sub(before).min(points.len());
            let taken = (points.len() - first).min(left);
            let whole = first + taken == points.len();
            before += points.len();
            // What a page before this one told to its end is not told again.
            if skip > 0 && first == points.len() && before <= skip {
                continue;
            }
            cut |= !whole;
            left -= taken;
            let page = points[first..first + taken].to_vec();
            results.push(result(&answer.id, series, page, whole));
        }
    }
    wire::GetMetricDataOutput {
        messages: Some(Vec::new()),
        metric_data_results: Some(results),
        next_token: cut.then(|| token(skip + most)),
    }
}

fn result(
    id: &str,
    series: TimeSeries,
    page: Vec<(i64, f64)>,
    whole: bool,
) -> wire::MetricDataResult {
    let status = if whole { "Complete" } else { "PartialData" };
    wire::MetricDataResult {
        id: Some(id.to_owned()),
        label: Some(series.label),
        messages: None,
        status_code: Some(status.to_owned()),
        timestamps: Some(page.iter().map(|(at, _)| Timestamp(*at)).collect()),
        values: Some(page.iter().map(|(_, value)| *value).collect()),
    }
}
