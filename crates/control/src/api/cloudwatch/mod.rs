//! CloudWatch: shapes to commands, series and rows to shapes.

mod alarm_shapes;
mod alarms;
mod dashboards;
mod data;
mod history;
mod listing;
mod queries;
mod statistics;
mod tags;

use super::ApiError;
use super::page::{cut, offset, token};
use crate::metrics::queries::QueryError;
use crate::model::cloudwatch::Refusal;
use fogbank_store::series::SeriesError;
use fogbank_types::Tags;
use fogbank_wire::cloudwatch as wire;

super::handlers! {
    Cloudwatch:
    write PutMetricData => data::put,
    write GetMetricData => queries::get,
    write GetMetricStatistics => statistics::get,
    write ListMetrics => listing::list,
    write PutMetricAlarm => alarms::put,
    write PutCompositeAlarm => alarms::put_composite,
    read DescribeAlarms => alarms::describe,
    read DescribeAlarmsForMetric => alarms::describe_for_metric,
    write DeleteAlarms => alarms::delete,
    write SetAlarmState => alarms::set_state,
    write EnableAlarmActions => alarms::enable,
    write DisableAlarmActions => alarms::disable,
    read DescribeAlarmHistory => history::describe,
    write PutDashboard => dashboards::put,
    read GetDashboard => dashboards::get,
    read ListDashboards => dashboards::list,
    write DeleteDashboards => dashboards::delete,
    write TagResource => tags::tag,
    write UntagResource => tags::untag,
    read ListTagsForResource => tags::list,
}

impl From<SeriesError> for ApiError {
    fn from(error: SeriesError) -> Self {
        tracing::error!(%error, "metrics cannot be kept or read");
        match error {
            SeriesError::TooMany => ApiError::new("LimitExceeded", error.to_string()),
            _ => ApiError::new("InternalServiceError", "The metrics cannot be reached.")
                .with_status(500),
        }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Refused(refusal) => refusal.into(),
            QueryError::Series(error) => error.into(),
        }
    }
}

fn pairs(dimensions: Option<Vec<wire::Dimension>>) -> Vec<(String, String)> {
    let dimensions = dimensions.unwrap_or_default();
    dimensions.into_iter().map(|d| (d.name, d.value)).collect()
}

fn shapes(dimensions: &[(String, String)]) -> Vec<wire::Dimension> {
    let shape = |(name, value): &(String, String)| wire::Dimension {
        name: name.clone(),
        value: value.clone(),
    };
    dimensions.iter().map(shape).collect()
}

fn tags_of(tags: Option<Vec<wire::Tag>>) -> Tags {
    let tags = tags.unwrap_or_default();
    tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
}

/// One page of a list, and the token of the next.
fn page<T>(
    items: Vec<T>,
    next_token: Option<&str>,
    limit: usize,
) -> Result<(Vec<T>, Option<String>), Refusal> {
    let start = offset(next_token).ok_or(Refusal::Token)?;
    Ok(cut(items, start, limit))
}
