//! ListMetrics.

use super::{offset, shapes, token};
use crate::api::{ApiError, Context};
use crate::model::cloudwatch::Refusal;
use fogbank_store::series::SeriesName;
use fogbank_wire::cloudwatch as wire;

const PAGE: usize = 500;
const HOUR_MS: i64 = 3_600_000;
/// Metrics without data for this long are not listed.
const LISTED_MS: i64 = 14 * 24 * HOUR_MS;

pub fn list(
    context: &Context,
    request: wire::ListMetricsInput,
) -> Result<wire::ListMetricsOutput, ApiError> {
    let invalid = || Refusal::Value("Request parameter NextToken is invalid".to_owned());
    let start = offset(request.next_token.as_deref()).ok_or_else(invalid)?;
    let scope = context.scope();
    let span_ms = match request.recently_active {
        Some(_) => 3 * HOUR_MS,
        None => LISTED_MS,
    };
    let since_ms = context.now().0 - span_ms;
    let filters = request.dimensions.unwrap_or_default();
    if filters.len() > 10 {
        return Err(Refusal::Value(
            "The collection Dimensions must not have a size greater than 10.".to_owned(),
        )
        .into());
    }
    let matches = |name: &SeriesName| {
        request
            .namespace
            .as_ref()
            .is_none_or(|namespace| *namespace == name.namespace)
            && request
                .metric_name
                .as_ref()
                .is_none_or(|metric| *metric == name.metric)
            && filters.iter().all(|filter| has(name, filter))
    };
    let mut names: Vec<SeriesName> = context
        .metrics()
        .list(&scope.account, &scope.region)
        .into_iter()
        .filter(|(name, series)| series.seen_ms >= since_ms && matches(name))
        .map(|(name, _)| name)
        .collect();
    // A metric is one however many units it was observed in.
    names.dedup_by(|a, b| {
        (&a.namespace, &a.metric, &a.dimensions) == (&b.namespace, &b.metric, &b.dimensions)
    });
    let next_token = (start + PAGE < names.len()).then(|| token(start + PAGE));
    let metrics: Vec<wire::Metric> = names
        .into_iter()
        .skip(start)
        .take(PAGE)
        .map(|name| wire::Metric {
            dimensions: Some(shapes(&name.dimensions)),
            metric_name: Some(name.metric),
            namespace: Some(name.namespace),
        })
        .collect();
    let linked = request.include_linked_accounts == Some(true);
    let owners = linked.then(|| vec![scope.account.clone(); metrics.len()]);
    Ok(wire::ListMetricsOutput {
        metrics: Some(metrics),
        next_token,
        owning_accounts: owners,
    })
}

fn has(name: &SeriesName, filter: &wire::DimensionFilter) -> bool {
    let value = |value: &str| filter.value.as_ref().is_none_or(|wanted| wanted == value);
    name.dimensions
        .iter()
        .any(|(key, found)| *key == filter.name && value(found))
}
