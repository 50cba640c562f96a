//! CloudWatch Logs: shapes to commands, rows and events to shapes.

mod events;
mod filter;
mod groups;
mod metric_filters;
mod queries;
mod resource_policies;
mod streams;
mod subscription_filters;

use super::{ApiError, Context};
use crate::model::logs::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fogbank_store::log::{LogError, Reader};
use fogbank_types::logs::{LogGroup, LogStream};
use std::path::PathBuf;

super::handlers! {
    Logs:
    write CreateLogGroup => groups::create,
    write DescribeLogGroups => groups::describe,
    write DeleteLogGroup => groups::delete,
    write PutRetentionPolicy => groups::put_retention,
    write DeleteRetentionPolicy => groups::delete_retention,
    write TagResource => groups::tag,
    write UntagResource => groups::untag,
    read ListTagsForResource => groups::list_tags,
    write TagLogGroup => groups::tag_by_name,
    write UntagLogGroup => groups::untag_by_name,
    read ListTagsLogGroup => groups::list_tags_by_name,
    write PutResourcePolicy => resource_policies::put,
    read DescribeResourcePolicies => resource_policies::describe,
    write DeleteResourcePolicy => resource_policies::delete,
    write CreateLogStream => streams::create,
    write DescribeLogStreams => streams::describe,
    write DeleteLogStream => streams::delete,
    write PutLogEvents => events::put,
    write GetLogEvents => events::get,
    write FilterLogEvents => filter::filter,
    write StartQuery => queries::start,
    write GetQueryResults => queries::results,
    read StopQuery => queries::stop,
    read DescribeQueries => queries::describe,
    write GetLogRecord => queries::record,
    write GetLogGroupFields => queries::fields,
    write AssociateKmsKey => groups::associate_key,
    write DisassociateKmsKey => groups::disassociate_key,
    write PutMetricFilter => metric_filters::put,
    read DescribeMetricFilters => metric_filters::describe,
    write DeleteMetricFilter => metric_filters::delete,
    write TestMetricFilter => metric_filters::test,
    read PutSubscriptionFilter => subscription_filters::put,
    read DescribeSubscriptionFilters => subscription_filters::describe,
    read DeleteSubscriptionFilter => subscription_filters::delete,
}

const DAY_MS: i64 = 24 * 3600 * 1000;

fn invalid(text: impl Into<String>) -> ApiError {
    Refusal::InvalidParameter(text.into()).into()
}

/// Where the events of a stream are.
fn folder(context: &Context, stream: &LogStream) -> PathBuf {
    context.config().logs_dir().join(&stream.uid)
}

/// What belongs to log transformers, which this region does not offer.
fn no_transformed_logs(
    transformed: Option<bool>,
    criteria: Option<&str>,
    system_fields: Option<&[String]>,
) -> Result<(), ApiError> {
    let asked = transformed == Some(true)
        || criteria.is_some_and(|text| !text.is_empty())
        || system_fields.is_some_and(|fields| !fields.is_empty());
    match asked {
        true => Err(invalid(
            "applyOnTransformedLogs, fieldSelectionCriteria and system fields are not offered by this region yet.",
        )),
        false => Ok(()),
    }
}

/// The caller sees that the region is at fault, not what broke.
fn broken(error: LogError) -> ApiError {
    if let LogError::Sealed { .. } = error {
        return invalid(
            "The log events are encrypted with a KMS key that does not exist, is disabled or is not allowed to be used.",
        );
    }
    tracing::error!(%error, "log events cannot be read or written");
    ApiError::new(
        "ServiceUnavailableException",
        "The service cannot complete the request.",
    )
    .with_status(500)
}

/// Reads a stream of the group.
fn reader(context: &Context, group: &LogGroup, stream: &LogStream) -> Result<Reader, LogError> {
    let keys = context.engine().log_keys().of(&context.snapshot(), group);
    Ok(Reader::open(&folder(context, stream))?.with_keys(keys))
}

/// Events before this time are past the group's retention.
fn kept_since(context: &Context, group: &LogGroup) -> Option<i64> {
    group
        .retention_days
        .map(|days| context.now().0 - i64::from(days) * DAY_MS)
}

/// The group that a request names by name or by identifier.
fn group_name(
    context: &Context,
    name: Option<String>,
    identifier: Option<String>,
) -> Result<String, ApiError> {
    match (name, identifier) {
        (Some(name), None) => Ok(name),
        (None, Some(identifier)) => {
            Ok(crate::model::logs::groups::name_of(&context.scope(), &identifier)?.to_owned())
        }
        (Some(_), Some(_)) => Err(invalid(
            "LogGroup name and LogGroup ARN are mutually exclusive parameters.",
        )),
        (None, None) => Err(invalid(
            "Either LogGroup name or LogGroup ARN must be specified.",
        )),
    }
}

/// One page of a list; the token is the number of the next page's first item.
fn page<T>(
    mut items: Vec<T>,
    next_token: Option<String>,
    limit: usize,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let start = match next_token {
        None => 0,
        Some(token) => STANDARD
            .decode(token)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| text.parse::<usize>().ok())
            .ok_or_else(|| invalid("The specified nextToken is invalid."))?,
    };
    let end = start.saturating_add(limit);
    let next = (end < items.len()).then(|| STANDARD.encode(end.to_string()));
    items.truncate(end);
    items.drain(..start.min(items.len()));
    Ok((items, next))
}
