//! PutMetricData.

use super::pairs;
use crate::api::{ApiError, Context};
use crate::metrics::series_name;
use crate::model::cloudwatch::data::{self, NewDatum};
use fogbank_store::series::Observation;
use fogbank_wire::cloudwatch as wire;

pub fn put(
    context: &Context,
    request: wire::PutMetricDataInput,
) -> Result<wire::PutMetricDataResponse, ApiError> {
    let (scope, now) = (context.scope(), context.now());
    let mut new = named(request.metric_data.unwrap_or_default(), "MetricData");
    // Entities tell other services what a metric belongs to; the data are the same.
    for (index, entity) in request
        .entity_metric_data
        .unwrap_or_default()
        .into_iter()
        .enumerate()
    {
        let path = format!("EntityMetricData.member.{}.MetricData", index + 1);
        new.extend(named(entity.metric_data.unwrap_or_default(), &path));
    }
    let fast = context.config().speed > 1.0;
    let observations: Vec<Observation> = data::check(&request.namespace, new, now)?
        .into_iter()
        .map(|datum| Observation {
            series: series_name(
                &scope,
                &request.namespace,
                &datum.name,
                &datum.dimensions,
                &datum.unit,
            ),
            at_ms: datum.at.0,
            values: datum.values,
            fine: datum.fine || fast,
        })
        .collect();
    context.metrics().add(&observations, None, now.0)?;
    Ok(wire::PutMetricDataResponse {})
}

fn named(data: Vec<wire::MetricDatum>, path: &str) -> Vec<NewDatum> {
    let statistics =
        |set: wire::StatisticSet| [set.sample_count, set.sum, set.minimum, set.maximum];
    data.into_iter()
        .enumerate()
        .map(|(index, datum)| NewDatum {
            path: format!("{path}.member.{}", index + 1),
            name: datum.metric_name,
            dimensions: pairs(datum.dimensions),
            at: datum.timestamp,
            value: datum.value,
            // An empty list beside a value is none: some clients always send it.
            values: datum.values.filter(|values| !values.is_empty()),
            counts: datum.counts.filter(|counts| !counts.is_empty()),
            statistics: datum.statistic_values.map(statistics),
            unit: datum.unit,
            resolution: datum.storage_resolution,
        })
        .collect()
}
