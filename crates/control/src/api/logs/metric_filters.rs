//! Metric filters.

use super::{invalid, page};
use crate::api::{ApiError, Context};
use crate::model::logs::groups;
use crate::model::logs::metric_filters::{self, NewFilter};
use crate::model::logs::pattern::Pattern;
use fogbank_types::logs::MetricFilter;
use fogbank_wire::logs as wire;

pub fn put(
    context: &Context,
    request: wire::PutMetricFilterRequest,
) -> Result<wire::PutMetricFilterResponse, ApiError> {
    super::no_transformed_logs(
        request.apply_on_transformed_logs,
        request.field_selection_criteria.as_deref(),
        request.emit_system_field_dimensions.as_deref(),
    )?;
    let mut transformations = request.metric_transformations.into_iter();
    let (Some(given), None) = (transformations.next(), transformations.next()) else {
        return Err(invalid("metricTransformations must have one item."));
    };
    let new = NewFilter {
        group: request.log_group_name,
        name: request.filter_name,
        pattern: request.filter_pattern,
        namespace: given.metric_namespace,
        metric: given.metric_name,
        value: given.metric_value,
        default_value: given.default_value,
        unit: given.unit,
        dimensions: given.dimensions.unwrap_or_default().into_iter().collect(),
    };
    let scope = context.scope();
    context.write(|tx| Ok(metric_filters::put(tx, &scope, new.clone())?))?;
    Ok(wire::PutMetricFilterResponse {})
}

pub fn describe(
    context: &Context,
    request: wire::DescribeMetricFiltersRequest,
) -> Result<wire::DescribeMetricFiltersResponse, ApiError> {
    if request.metric_name.is_some() != request.metric_namespace.is_some() {
        return Err(invalid(
            "metricName and metricNamespace must be specified together.",
        ));
    }
    let (snapshot, scope) = (context.snapshot(), context.scope());
    if let Some(group) = &request.log_group_name {
        groups::find(&snapshot, &scope, group)?;
    }
    let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|w| w == found);
    let prefix = request.filter_name_prefix.unwrap_or_default();
    let found: Vec<_> = snapshot
        .log_metric_filters
        .in_scope(&scope)
        .filter(|filter| {
            is(&request.log_group_name, &filter.group)
                && is(&request.metric_name, &filter.metric)
                && is(&request.metric_namespace, &filter.namespace)
                && filter.name.starts_with(&prefix)
        })
        .collect();
    let limit = request.limit.unwrap_or(50).max(1) as usize;
    let (found, next_token) = page(found, request.next_token, limit)?;
    Ok(wire::DescribeMetricFiltersResponse {
        metric_filters: Some(found.into_iter().map(|filter| show(filter)).collect()),
        next_token,
    })
}

fn show(filter: &MetricFilter) -> wire::MetricFilter {
    let transformation = wire::MetricTransformation {
        default_value: filter.default_value,
        dimensions: (!filter.dimensions.is_empty())
            .then(|| filter.dimensions.iter().cloned().collect()),
        metric_name: filter.metric.clone(),
        metric_namespace: filter.namespace.clone(),
        metric_value: filter.value.clone(),
        unit: filter.unit.clone(),
    };
    wire::MetricFilter {
        apply_on_transformed_logs: Some(false),
        creation_time: Some(filter.created_at.0),
        filter_name: Some(filter.name.clone()),
        filter_pattern: Some(filter.pattern.clone()),
        log_group_name: Some(filter.group.clone()),
        metric_transformations: Some(vec![transformation]),
        ..wire::MetricFilter::default()
    }
}

pub fn delete(
    context: &Context,
    request: wire::DeleteMetricFilterRequest,
) -> Result<wire::DeleteMetricFilterResponse, ApiError> {
    let scope = context.scope();
    let (group, name) = (&request.log_group_name, &request.filter_name);
    context.write(|tx| Ok(metric_filters::delete(tx, &scope, group, name)?))?;
    Ok(wire::DeleteMetricFilterResponse {})
}

pub fn test(
    _: &Context,
    request: wire::TestMetricFilterRequest,
) -> Result<wire::TestMetricFilterResponse, ApiError> {
    let pattern = Pattern::parse(&request.filter_pattern)?;
    let mut matches = Vec::new();
    for (number, message) in (1..).zip(request.log_event_messages) {
        if let Some(values) = pattern.extract(&message) {
            matches.push(wire::MetricFilterMatchRecord {
                event_message: Some(message),
                event_number: Some(number),
                extracted_values: Some(values),
            });
        }
    }
    Ok(wire::TestMetricFilterResponse {
        matches: Some(matches),
    })
}
