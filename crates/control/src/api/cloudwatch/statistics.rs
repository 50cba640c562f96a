//! GetMetricStatistics.

use super::pairs;
use crate::api::{ApiError, Context};
use crate::metrics::read::{Range, periods};
use crate::model::cloudwatch::{Refusal, queries};
use fogbank_types::Timestamp;
use fogbank_types::alarm::MetricStatistic;
use fogbank_types::metric::StatisticSet;
use fogbank_types::statistic::Statistic;
use fogbank_wire::cloudwatch as wire;

const DATAPOINTS_MAX: i64 = 1_440;

pub fn get(
    context: &Context,
    request: wire::GetMetricStatisticsInput,
) -> Result<wire::GetMetricStatisticsOutput, ApiError> {
    let now = context.now();
    let range = range(&request, now)?;
    let plain = request.statistics.unwrap_or_default();
    let extended = request.extended_statistics.unwrap_or_default();
    if plain.is_empty() == extended.is_empty() {
        return Err(Refusal::Combination(
            "Must specify either Statistics or ExtendedStatistics".to_owned(),
        )
        .into());
    }
    let extended = extended
        .into_iter()
        .map(|text| match Statistic::parse(&text) {
            Some(statistic) if !statistic.is_plain() => Ok((text, statistic)),
            _ => Err(Refusal::Value(format!(
                "The value {text} for parameter ExtendedStatistics.member.1 is not supported."
            ))),
        })
        .collect::<Result<Vec<_>, Refusal>>()?;
    let metric = MetricStatistic {
        namespace: request.namespace,
        name: request.metric_name.clone(),
        dimensions: pairs(request.dimensions),
        statistic: String::new(),
        period_s: request.period as u32,
        unit: request.unit,
    };
    let found = periods(context.metrics(), &context.scope(), &metric, range, now)?;
    let mut datapoints = Vec::new();
    for (unit, periods) in found {
        for (at, values) in periods {
            datapoints.extend(datapoint(Timestamp(at), &unit, &values, &plain, &extended));
        }
    }
    datapoints.sort_by_key(|point| point.timestamp);
    Ok(wire::GetMetricStatisticsOutput {
        datapoints: Some(datapoints),
        label: Some(request.metric_name),
    })
}

fn range(request: &wire::GetMetricStatisticsInput, now: Timestamp) -> Result<Range, Refusal> {
    let second = |time: Timestamp| time.0.div_euclid(1_000);
    if second(request.start_time) >= second(request.end_time) {
        return Err(Refusal::Value(
            "The parameter StartTime must be less than the parameter EndTime.".to_owned(),
        ));
    }
    let period_s = i64::from(request.period);
    queries::check_period(period_s).map_err(|_| {
        Refusal::Value(format!(
            "The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60, not {period_s}."
        ))
    })?;
    let range = Range::rounded(request.start_time, request.end_time, period_s, now);
    if range.count() > DATAPOINTS_MAX {
        return Err(Refusal::Combination(format!(
            "You have requested up to {} datapoints, which exceeds the limit of {DATAPOINTS_MAX}. You may reduce the datapoints requested by increasing Period, or decreasing the time range.",
            range.count()
        )));
    }
    Ok(range)
}

fn datapoint(
    at: Timestamp,
    unit: &str,
    values: &StatisticSet,
    plain: &[String],
    extended: &[(String, Statistic)],
) -> Option<wire::Datapoint> {
    let asked = |name: &str| {
        let statistic = plain
            .iter()
            .find(|s| *s == name)
            .and_then(|s| Statistic::parse(s));
        values.value(&statistic?)
    };
    let extended: std::collections::BTreeMap<String, f64> = extended
        .iter()
        .filter_map(|(text, statistic)| Some((text.clone(), values.value(statistic)?)))
        .collect();
    // Percentiles of a set of which only the sum is known: no datapoint, as on AWS.
    (!plain.is_empty() || !extended.is_empty()).then(|| wire::Datapoint {
        average: asked("Average"),
        maximum: asked("Maximum"),
        minimum: asked("Minimum"),
        sample_count: asked("SampleCount"),
        sum: asked("Sum"),
        extended_statistics: (!extended.is_empty()).then_some(extended),
        timestamp: Some(at),
        unit: Some(unit.to_owned()),
    })
}
