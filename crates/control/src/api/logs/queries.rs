//! Logs Insights: queries started, asked about and stopped; single records and the fields of a group.

use super::{broken, folder, group_name, invalid, kept_since, page};
use crate::api::{ApiError, Context};
use crate::insights::{Asked, ResultRow, Scanned, Status};
use crate::model::logs::insights::{Event, Malformed, Query, Run};
use crate::model::logs::{Refusal, groups, streams};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fogbank_store::log::{self, LogError, LogEvent, LogKeys, Position, Reader, Start, Token};
use fogbank_types::logs::LogStream;
use fogbank_wire::{ServiceError, logs as wire};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// "You can query up to 50 log groups."
const GROUPS_MAX: usize = 50;
/// A query that takes longer ends without a result. AWS gives it an hour, over more machines.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Of events that are read at a time.
const PAGE_EVENTS: usize = 2_000;
/// How far around its time GetLogGroupFields looks, and at how many events.
const FIELDS_AROUND_MS: i64 = 8 * 60_000;
const FIELDS_RECENT_MS: i64 = 15 * 60_000;
const FIELDS_EVENTS_MAX: usize = 10_000;

fn malformed(error: &Malformed) -> ApiError {
    ApiError(ServiceError::malformed_query(
        &error.message,
        error.start,
        error.end,
    ))
}

/// A stream that a query reads.
struct Source {
    folder: PathBuf,
    stream: Arc<LogStream>,
    keys: Option<Arc<LogKeys>>,
    since_ms: Option<i64>,
}

impl Source {
    fn reader(&self) -> Result<Reader, LogError> {
        Ok(Reader::open(&self.folder)?.with_keys(self.keys.clone()))
    }

    fn event(&self, event: LogEvent, position: Position) -> Event {
        let pointer = format!("{}:{position}", self.stream.uid);
        Event {
            timestamp_ms: event.timestamp_ms,
            ingestion_ms: event.ingestion_ms,
            message: String::from_utf8(event.message)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
            stream: self.stream.name.as_str().into(),
            log: format!("{}:{}", self.stream.scope.account, self.stream.group).into(),
            pointer: STANDARD.encode(pointer),
            ..Event::default()
        }
    }
}

fn sources(context: &Context, names: &[String]) -> Result<Vec<Source>, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let mut sources = Vec::new();
    for name in names {
        let group = groups::find(&snapshot, &scope, name)?;
        let since_ms = kept_since(context, group);
        let keys = context.engine().log_keys().of(&snapshot, group);
        let of = streams::of(&snapshot, &scope, name);
        sources.extend(of.map(|stream| Source {
            folder: folder(context, stream),
            stream: stream.clone(),
            keys: keys.clone(),
            since_ms,
        }));
    }
    Ok(sources)
}

/// Seconds since 1970, as documented; milliseconds, as some clients send them and AWS takes them.
fn to_ms(time: i64) -> i64 {
    match time.abs() < 100_000_000_000 {
        true => time * 1_000,
        false => time,
    }
}

pub fn start(
    context: &Context,
    request: wire::StartQueryRequest,
) -> Result<wire::StartQueryResponse, ApiError> {
    if request
        .query_language
        .as_deref()
        .is_some_and(|language| language != "CWLI")
    {
        return Err(invalid(
            "Only the query language CWLI is offered by this region.",
        ));
    }
    let given = [
        request.log_group_name.map(|name| vec![name]),
        request.log_group_names,
        request.log_group_identifiers,
    ];
    let mut given = given.into_iter().flatten();
    let (Some(names), None) = (given.next(), given.next()) else {
        return Err(invalid(
            "Exactly one of logGroupName, logGroupNames and logGroupIdentifiers must be specified.",
        ));
    };
    if names.is_empty() || names.len() > GROUPS_MAX {
        return Err(invalid(format!(
            "A query is over 1 to {GROUPS_MAX} log groups."
        )));
    }
    let scope = context.scope();
    let mut groups = Vec::new();
    for name in &names {
        groups.push(groups::name_of(&scope, name)?.to_owned());
    }
    groups.sort();
    groups.dedup();
    let sources = sources(context, &groups)?;
    let query = Query::parse(&request.query_string).map_err(|error| malformed(&error))?;
    let (start_ms, end_ms) = (to_ms(request.start_time), to_ms(request.end_time));
    if start_ms > end_ms {
        return Err(invalid("startTime must not be after endTime."));
    }
    let id = context.write(|tx| Ok(tx.uuid()))?;
    let by = context.principal().party.arn.clone();
    let text = request.query_string;
    let asked = Asked::new(id.clone(), scope, groups, text, context.now(), by);
    let asked = Arc::new(asked);
    if !context.queries().add(asked.clone()) {
        return Err(Refusal::LimitExceeded.into());
    }
    let run = Run::new(&query, request.limit.map(|limit| limit.max(1) as usize));
    // Seconds are meant whole: the last one belongs to the span.
    let span = (start_ms, end_ms.saturating_add(1_000));
    let done = asked.clone();
    let worker = std::thread::Builder::new().name("insights".to_owned());
    let spawned = worker.spawn(move || {
        let started = Instant::now();
        let (status, rows) = work(&asked, run, &sources, span);
        let took = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        asked.end(status, rows, asked.started_at.plus_ms(took));
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "a query cannot be begun");
        done.end(Status::Failed, Vec::new(), done.started_at);
    }
    Ok(wire::StartQueryResponse { query_id: Some(id) })
}

/// Reads everything. Blocks.
fn work(
    asked: &Asked,
    mut run: Run,
    sources: &[Source],
    span: (i64, i64),
) -> (Status, Vec<ResultRow>) {
    let deadline = Instant::now() + TIME_MAX;
    let mut scanned = Scanned {
        groups: asked.groups.len() as u64,
        ..Scanned::default()
    };
    let failed = |why: &dyn std::fmt::Display| {
        tracing::warn!(query = asked.id, %why, "a query of log events failed");
        (Status::Failed, Vec::new())
    };
    for source in sources {
        let mut query = log::Query {
            start_ms: Some(source.since_ms.map_or(span.0, |since| since.max(span.0))),
            end_ms: Some(span.1),
            limit: PAGE_EVENTS,
            ..log::Query::from(Start::Head)
        };
        let mut reader = match source.reader() {
            Ok(reader) => reader,
            Err(error) => return failed(&error),
        };
        loop {
            if asked.is_stopped() {
                return (Status::Cancelled, Vec::new());
            }
            if Instant::now() > deadline {
                return (Status::Timeout, Vec::new());
            }
            let page = match reader.read(&query) {
                Ok(page) => page,
                Err(error) => return failed(&error),
            };
            if page.events.is_empty() {
                break;
            }
            for (event, position) in page.events.into_iter().zip(page.positions) {
                scanned.events += 1;
                scanned.bytes += (event.message.len() + log::EVENT_OVERHEAD_BYTES) as u64;
                if let Err(overflow) = run.add(source.event(event, position)) {
                    return failed(&overflow);
                }
            }
            scanned.matched = run.matched();
            asked.progress(scanned);
            query.start = Start::Token(page.forward);
        }
    }
    asked.progress(scanned);
    match run.finish() {
        Ok(rows) => (Status::Complete, rows),
        Err(overflow) => failed(&overflow),
    }
}

fn find(context: &Context, id: &str) -> Result<Arc<Asked>, ApiError> {
    let found = context.queries().get(&context.scope(), id);
    found.ok_or_else(|| Refusal::QueryNotFound(id.to_owned()).into())
}

pub fn results(
    context: &Context,
    request: wire::GetQueryResultsRequest,
) -> Result<wire::GetQueryResultsResponse, ApiError> {
    let outcome = find(context, &request.query_id)?.outcome();
    let field = |(name, value): &(String, String)| wire::ResultField {
        field: Some(name.clone()),
        value: Some(value.clone()),
    };
    let rows = outcome.rows.iter();
    Ok(wire::GetQueryResultsResponse {
        query_language: Some("CWLI".to_owned()),
        results: Some(rows.map(|row| row.iter().map(field).collect()).collect()),
        statistics: Some(wire::QueryStatistics {
            bytes_scanned: Some(outcome.scanned.bytes as f64),
            estimated_bytes_skipped: Some(0.0),
            estimated_records_skipped: Some(0.0),
            log_groups_scanned: Some(outcome.scanned.groups as f64),
            records_matched: Some(outcome.scanned.matched as f64),
            records_scanned: Some(outcome.scanned.events as f64),
        }),
        status: Some(outcome.status.as_str().to_owned()),
        ..wire::GetQueryResultsResponse::default()
    })
}

pub fn stop(
    context: &Context,
    request: wire::StopQueryRequest,
) -> Result<wire::StopQueryResponse, ApiError> {
    match find(context, &request.query_id)?.stop(context.now()) {
        true => Ok(wire::StopQueryResponse {
            success: Some(true),
        }),
        false => Err(invalid("The specified query is not running.")),
    }
}

pub fn describe(
    context: &Context,
    request: wire::DescribeQueriesRequest,
) -> Result<wire::DescribeQueriesResponse, ApiError> {
    let wanted = |asked: &&Arc<Asked>| {
        let group = request.log_group_name.as_ref();
        let status = request.status.as_deref();
        group.is_none_or(|group| asked.groups.contains(group))
            && status.is_none_or(|status| asked.outcome().status.as_str() == status)
            && request
                .query_language
                .as_deref()
                .is_none_or(|language| language == "CWLI")
    };
    let all = context.queries().of(&context.scope());
    let found: Vec<_> = all.iter().filter(wanted).cloned().collect();
    let limit = request.max_results.unwrap_or(1_000).max(1) as usize;
    let (found, next_token) = page(found, request.next_token, limit)?;
    let show = |asked: Arc<Asked>| {
        let outcome = asked.outcome();
        let took = outcome.ended_at.map(|at| at.0 - asked.started_at.0);
        wire::QueryInfo {
            bytes_scanned: Some(outcome.scanned.bytes as f64),
            create_time: Some(asked.started_at.0),
            log_group_name: asked.groups.first().cloned(),
            query_duration: took,
            query_id: Some(asked.id.clone()),
            query_language: Some("CWLI".to_owned()),
            query_string: Some(asked.text.clone()),
            status: Some(outcome.status.as_str().to_owned()),
            user_identity: Some(asked.by.clone()),
        }
    };
    Ok(wire::DescribeQueriesResponse {
        next_token,
        queries: Some(found.into_iter().map(show).collect()),
    })
}

/// One event by its pointer (`@ptr`).
pub fn record(
    context: &Context,
    request: wire::GetLogRecordRequest,
) -> Result<wire::GetLogRecordResponse, ApiError> {
    let bad = || invalid("The specified log record pointer is invalid.");
    let pointer = STANDARD.decode(&request.log_record_pointer).ok();
    let pointer = pointer
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(bad)?;
    let (uid, position) = pointer.split_once(':').ok_or_else(bad)?;
    let token: Token = format!("f/{position}/s").parse().map_err(|_| bad())?;
    let snapshot = context.snapshot();
    let mut all = snapshot.log_streams.in_scope(&context.scope());
    let stream = all
        .find(|stream| stream.uid == uid)
        .ok_or(Refusal::ResourceNotFound)?;
    let group = groups::find(&snapshot, &stream.scope, &stream.group)?;
    let source = Source {
        folder: folder(context, stream),
        stream: stream.clone(),
        keys: context.engine().log_keys().of(&snapshot, group),
        since_ms: None,
    };
    let query = log::Query {
        limit: 1,
        ..log::Query::from(Start::Token(token))
    };
    let page = source
        .reader()
        .and_then(|mut reader| reader.read(&query))
        .map_err(broken)?;
    let found = page.events.into_iter().zip(page.positions);
    let found = found.into_iter().find(|(_, at)| at.to_string() == position);
    let (event, at) = found.ok_or(Refusal::ResourceNotFound)?;
    let (time, taken_in) = (event.timestamp_ms, event.ingestion_ms);
    let event = source.event(event, at);
    let mut record: BTreeMap<String, String> = event.fields().into_iter().collect();
    record.insert("@ptr".to_owned(), request.log_record_pointer);
    record.insert("@timestamp".to_owned(), time.to_string());
    record.insert("@ingestionTime".to_owned(), taken_in.to_string());
    Ok(wire::GetLogRecordResponse {
        log_record: Some(record),
    })
}

pub fn fields(
    context: &Context,
    request: wire::GetLogGroupFieldsRequest,
) -> Result<wire::GetLogGroupFieldsResponse, ApiError> {
    let name = group_name(
        context,
        request.log_group_name,
        request.log_group_identifier,
    )?;
    let span = match request.time {
        Some(time) => {
            let at = to_ms(time);
            (
                at.saturating_sub(FIELDS_AROUND_MS),
                at.saturating_add(FIELDS_AROUND_MS),
            )
        }
        None => (context.now().0 - FIELDS_RECENT_MS, i64::MAX),
    };
    let (mut counts, mut events) = (BTreeMap::<String, usize>::new(), 0);
    for source in sources(context, &[name])? {
        let query = log::Query {
            start_ms: source.since_ms.max(Some(span.0)),
            end_ms: Some(span.1),
            limit: FIELDS_EVENTS_MAX - events,
            ..log::Query::from(Start::Tail)
        };
        if query.limit == 0 {
            break;
        }
        let page = source
            .reader()
            .and_then(|mut reader| reader.read(&query))
            .map_err(broken)?;
        for (event, position) in page.events.into_iter().zip(page.positions) {
            events += 1;
            for (field, _) in source.event(event, position).fields() {
                *counts.entry(field).or_default() += 1;
            }
        }
    }
    let show = |(name, count): (String, usize)| wire::LogGroupField {
        name: Some(name),
        percent: Some((count * 100 / events.max(1)) as i32),
    };
    let mut shown: Vec<_> = counts.into_iter().map(show).collect();
    shown.sort_by_key(|field| std::cmp::Reverse(field.percent));
    Ok(wire::GetLogGroupFieldsResponse {
        log_group_fields: Some(shown),
    })
}
