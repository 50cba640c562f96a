//! Log streams.

use super::{broken, folder, group_name, invalid, page};
use crate::api::{ApiError, Context};
use crate::log_keys;
use crate::model::logs::{groups, streams};
use fogbank_store::log::{Summary, summarise};
use fogbank_types::logs::LogStream;
use fogbank_wire::logs as wire;

pub fn create(
    context: &Context,
    request: wire::CreateLogStreamRequest,
) -> Result<wire::CreateLogStreamResponse, ApiError> {
    let scope = context.scope();
    let stream = context.write(|tx| {
        let (group, name) = (&request.log_group_name, &request.log_stream_name);
        Ok(streams::create(tx, &scope, group, name)?)
    })?;
    if let Ok(group) = groups::find(&context.snapshot(), &scope, &stream.group)
        && group.current_pair().is_some()
    {
        log_keys::seal(context.config(), group, &stream.uid).map_err(broken)?;
    }
    Ok(wire::CreateLogStreamResponse {})
}

pub fn delete(
    context: &Context,
    request: wire::DeleteLogStreamRequest,
) -> Result<wire::DeleteLogStreamResponse, ApiError> {
    let scope = context.scope();
    let uid = context.write(|tx| {
        Ok(streams::delete(
            tx,
            &scope,
            &request.log_group_name,
            &request.log_stream_name,
        )?)
    })?;
    super::groups::remove_events(context, &uid);
    Ok(wire::DeleteLogStreamResponse {})
}

pub fn describe(
    context: &Context,
    request: wire::DescribeLogStreamsRequest,
) -> Result<wire::DescribeLogStreamsResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let group = group_name(
        context,
        request.log_group_name,
        request.log_group_identifier,
    )?;
    groups::find(&snapshot, &scope, &group)?;
    let by_time = request.order_by.as_deref() == Some("LastEventTime");
    let prefix = request.log_stream_name_prefix.unwrap_or_default();
    if by_time && !prefix.is_empty() {
        return Err(invalid(
            "Cannot order by LastEventTime with a logStreamNamePrefix.",
        ));
    }
    let mut found: Vec<(&LogStream, Option<Summary>)> = streams::of(&snapshot, &scope, &group)
        .filter(|stream| stream.name.starts_with(&prefix))
        .map(|stream| (&**stream, None))
        .collect();
    if by_time {
        for (stream, summary) in &mut found {
            *summary = Some(summarise(&folder(context, stream)).map_err(broken)?);
        }
        found.sort_by_key(|(stream, summary)| {
            (
                summary.and_then(|s| s.last_timestamp_ms),
                stream.name.clone(),
            )
        });
    }
    if request.descending == Some(true) {
        found.reverse();
    }
    let limit = request.limit.unwrap_or(50).max(1) as usize;
    let (found, next_token) = page(found, request.next_token, limit)?;
    let mut shown = Vec::new();
    for (stream, summary) in found {
        let summary = match summary {
            Some(summary) => summary,
            None => summarise(&folder(context, stream)).map_err(broken)?,
        };
        shown.push(show(stream, &summary));
    }
    Ok(wire::DescribeLogStreamsResponse {
        log_streams: Some(shown),
        next_token,
    })
}

fn show(stream: &LogStream, summary: &Summary) -> wire::LogStream {
    let resource = format!("log-group:{}:log-stream:{}", stream.group, stream.name);
    wire::LogStream {
        arn: Some(stream.scope.arn("logs", &resource)),
        creation_time: Some(stream.created_at.0),
        first_event_timestamp: summary.first_timestamp_ms,
        last_event_timestamp: summary.last_timestamp_ms,
        last_ingestion_time: summary.last_ingestion_ms,
        log_stream_name: Some(stream.name.clone()),
        // AWS reports 0 for single streams since 2019.
        stored_bytes: Some(0),
        upload_sequence_token: Some(super::events::sequence_token(
            summary.last_ingestion_ms.unwrap_or(0),
        )),
    }
}
