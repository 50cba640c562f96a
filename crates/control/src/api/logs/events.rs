//! Events of one stream: put and got.

use super::{broken, folder, group_name, invalid, kept_since};
use crate::api::{ApiError, Context};
use crate::model::logs::{events, groups, streams};
use fogbank_store::log::{LogEvent, Query, Start, Writer};
use fogbank_wire::logs as wire;

/// Sequence tokens are accepted and ignored, as AWS does since 2023; clients still want to be given one.
pub fn sequence_token(ingestion_ms: i64) -> String {
    format!("{ingestion_ms:056}")
}

pub fn put(
    context: &Context,
    request: wire::PutLogEventsRequest,
) -> Result<wire::PutLogEventsResponse, ApiError> {
    let (snapshot, scope, now) = (context.snapshot(), context.scope(), context.now());
    let group = groups::find(&snapshot, &scope, &request.log_group_name)?;
    let stream = streams::find(
        &snapshot,
        &scope,
        &request.log_group_name,
        &request.log_stream_name,
    )?;
    let lengths: Vec<(i64, usize)> = request
        .log_events
        .iter()
        .map(|e| (e.timestamp, e.message.len()))
        .collect();
    let accepted = events::check(&lengths, now, group.retention_days)?;
    let taken = &request.log_events[accepted.first..accepted.end];
    if !taken.is_empty() {
        let mut writer = Writer::open(&folder(context, stream)).map_err(broken)?;
        writer
            .append_all(
                now.0,
                taken.iter().map(|e| (e.timestamp, e.message.as_bytes())),
            )
            .map_err(broken)?;
    }
    let index = |place: Option<usize>| place.map(|place| place as i32);
    let rejected = wire::RejectedLogEventsInfo {
        expired_log_event_end_index: index(accepted.expired_end),
        too_new_log_event_start_index: index(accepted.too_new_start),
        too_old_log_event_end_index: index(accepted.too_old_end),
    };
    Ok(wire::PutLogEventsResponse {
        next_sequence_token: Some(sequence_token(now.0)),
        rejected_log_events_info: (taken.len() < request.log_events.len()).then_some(rejected),
        ..wire::PutLogEventsResponse::default()
    })
}

pub fn get(
    context: &Context,
    request: wire::GetLogEventsRequest,
) -> Result<wire::GetLogEventsResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let name = group_name(
        context,
        request.log_group_name,
        request.log_group_identifier,
    )?;
    let group = groups::find(&snapshot, &scope, &name)?;
    let stream = streams::find(&snapshot, &scope, &name, &request.log_stream_name)?;
    let start = match request.next_token {
        Some(token) => Start::Token(
            token
                .parse()
                .map_err(|_| invalid("The specified nextToken is invalid."))?,
        ),
        None if request.start_from_head == Some(true) => Start::Head,
        None => Start::Tail,
    };
    let query = Query {
        start_ms: request.start_time.max(kept_since(context, group)),
        end_ms: request.end_time,
        limit: request.limit.unwrap_or(10_000).max(1) as usize,
        ..Query::from(start)
    };
    let page = super::reader(context, group, stream)
        .and_then(|mut reader| reader.read(&query))
        .map_err(broken)?;
    Ok(wire::GetLogEventsResponse {
        events: Some(page.events.into_iter().map(show).collect()),
        next_backward_token: Some(page.backward.to_string()),
        next_forward_token: Some(page.forward.to_string()),
    })
}

fn show(event: LogEvent) -> wire::OutputLogEvent {
    wire::OutputLogEvent {
        ingestion_time: Some(event.ingestion_ms),
        message: Some(String::from_utf8_lossy(&event.message).into_owned()),
        timestamp: Some(event.timestamp_ms),
    }
}
