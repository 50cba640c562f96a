//! FilterLogEvents: the events of many streams in the order of time.
//!
//! Streams are read a small page ahead each and merged. The token names the last event looked at, so that a reader who
//! comes back goes on right behind it, whatever was written meanwhile.

use super::{broken, group_name, invalid, kept_since};
use crate::api::{ApiError, Context};
use crate::model::logs::pattern::Pattern;
use crate::model::logs::{groups, streams};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fogbank_store::log::{LogEvent, Query, Reader, Start, Token};
use fogbank_types::logs::LogStream;
use fogbank_wire::logs as wire;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Events looked at in one call; a call that finds little gives a token, as on AWS.
const SCAN_MAX: usize = 100_000;
const BYTES_MAX: usize = 1 << 20;
/// Streams that a caller may name.
const NAMES_MAX: usize = 100;

/// Where an event stands among those of all streams.
type Key = (i64, String, String);

struct Source<'a> {
    stream: &'a LogStream,
    reader: Reader,
    next: Start,
    buffer: VecDeque<(Key, LogEvent)>,
    over: bool,
}

impl Source<'_> {
    /// The next event that stands behind `after`.
    fn pull(
        &mut self,
        query: &Query,
        after: Option<&Key>,
    ) -> Result<Option<(Key, LogEvent)>, ApiError> {
        loop {
            while let Some((key, event)) = self.buffer.pop_front() {
                if after.is_none_or(|after| key > *after) {
                    return Ok(Some((key, event)));
                }
            }
            if self.over {
                return Ok(None);
            }
            let page = self
                .reader
                .read(&Query {
                    start: self.next,
                    ..*query
                })
                .map_err(broken)?;
            self.over = page.events.is_empty() || self.next == Start::Token(page.forward);
            self.next = Start::Token(page.forward);
            let name = &self.stream.name;
            self.buffer
                .extend(
                    page.events
                        .into_iter()
                        .zip(page.positions)
                        .map(|(event, position)| {
                            (
                                (event.timestamp_ms, name.clone(), position.to_string()),
                                event,
                            )
                        }),
                );
        }
    }
}

pub fn filter(
    context: &Context,
    request: wire::FilterLogEventsRequest,
) -> Result<wire::FilterLogEventsResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let name = group_name(
        context,
        request.log_group_name,
        request.log_group_identifier,
    )?;
    let group = groups::find(&snapshot, &scope, &name)?;
    let pattern = Pattern::parse(request.filter_pattern.as_deref().unwrap_or_default())?;
    let after = request.next_token.as_deref().map(read_token).transpose()?;
    let names = request.log_stream_names.unwrap_or_default();
    if !names.is_empty() && request.log_stream_name_prefix.is_some() {
        return Err(invalid(
            "logStreamNames and logStreamNamePrefix are mutually exclusive parameters.",
        ));
    }
    if names.len() > NAMES_MAX {
        return Err(invalid("logStreamNames can have at most 100 items."));
    }
    for wanted in &names {
        streams::find(&snapshot, &scope, &name, wanted)?;
    }
    let prefix = request.log_stream_name_prefix.unwrap_or_default();
    let wanted = |stream: &LogStream| {
        stream.name.starts_with(&prefix) && (names.is_empty() || names.contains(&stream.name))
    };
    let query = Query {
        start_ms: request
            .start_time
            .max(kept_since(context, group))
            .max(after.as_ref().map(|key| key.0)),
        // Here, unlike in GetLogEvents, the end belongs to the span.
        end_ms: request.end_time.map(|end| end.saturating_add(1)),
        limit: 500,
        max_bytes: 64 << 10,
        ..Query::from(Start::Head)
    };
    let mut sources = Vec::new();
    for stream in streams::of(&snapshot, &scope, &name).filter(|stream| wanted(stream)) {
        let reader = super::reader(context, group, stream).map_err(broken)?;
        sources.push(Source {
            stream,
            reader,
            next: Start::Head,
            buffer: VecDeque::new(),
            over: false,
        });
    }
    let limit = request.limit.unwrap_or(10_000).max(1) as usize;
    let (events, last) = merge(&mut sources, &query, after.as_ref(), &pattern, limit)?;
    Ok(wire::FilterLogEventsResponse {
        events: Some(events),
        next_token: last.map(|key| show_token(&key)),
        searched_log_streams: Some(Vec::new()),
    })
}

/// The matching events, and the last key looked at if there is more to look at.
fn merge(
    sources: &mut [Source<'_>],
    query: &Query,
    after: Option<&Key>,
    pattern: &Pattern,
    limit: usize,
) -> Result<(Vec<wire::FilteredLogEvent>, Option<Key>), ApiError> {
    let mut heads = BinaryHeap::new();
    let mut waiting: Vec<Option<LogEvent>> = Vec::new();
    for (index, source) in sources.iter_mut().enumerate() {
        let head = source.pull(query, after)?;
        waiting.push(head.map(|(key, event)| {
            heads.push(Reverse((key, index)));
            event
        }));
    }
    let (mut found, mut bytes, mut scanned, mut last) = (Vec::new(), 0, 0, None);
    while let Some(Reverse((key, index))) = heads.pop() {
        if found.len() >= limit || bytes >= BYTES_MAX || scanned >= SCAN_MAX {
            return Ok((found, last));
        }
        scanned += 1;
        if let Some(event) = waiting[index].take() {
            let message = String::from_utf8_lossy(&event.message).into_owned();
            if pattern.matches(&message) {
                bytes += message.len();
                found.push(show(&sources[index], &key, &event, message));
            }
        }
        last = Some(key);
        if let Some((key, event)) = sources[index].pull(query, after)? {
            heads.push(Reverse((key, index)));
            waiting[index] = Some(event);
        }
    }
    Ok((found, None))
}

fn show(
    source: &Source<'_>,
    key: &Key,
    event: &LogEvent,
    message: String,
) -> wire::FilteredLogEvent {
    wire::FilteredLogEvent {
        event_id: Some(format!("{}{}", source.stream.uid.replace('-', ""), key.2)),
        ingestion_time: Some(event.ingestion_ms),
        log_stream_name: Some(source.stream.name.clone()),
        message: Some(message),
        timestamp: Some(event.timestamp_ms),
    }
}

fn show_token((ms, stream, position): &Key) -> String {
    STANDARD.encode(format!("{ms}:{position}:{stream}"))
}

fn read_token(text: &str) -> Result<Key, ApiError> {
    let read = || {
        let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        let (ms, rest) = text.split_once(':')?;
        let (position, stream) = rest.split_once(':')?;
        // It must be one of ours.
        format!("f/{position}/s").parse::<Token>().ok()?;
        Some((ms.parse().ok()?, stream.to_owned(), position.to_owned()))
    };
    read().ok_or_else(|| invalid("The specified nextToken is invalid."))
}
