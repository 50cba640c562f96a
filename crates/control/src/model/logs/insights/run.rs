//! A query at work: events in, rows out.

use super::aggregate::{Aggregate, Held, State};
use super::expression::{Expression, Fields};
use super::value::Value;
use super::{Column, Command, Extraction, Query, ROWS_MAX};
use regex::bytes::Regex;
use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Groups of a `stats`.
const GROUPS_MAX: usize = 10_000;
/// Of rows that are held at a time.
const HELD_BYTES_MAX: usize = 128 << 20;
/// "CloudWatch Logs Insights can extract a maximum of 200 log event fields from a JSON log."
const JSON_FIELDS_MAX: usize = 200;

/// A query wants to hold more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the query needs too much memory")]
pub struct Overflow;

/// An event as it is asked about.
#[derive(Debug, Default)]
pub struct Event {
    pub timestamp_ms: i64,
    pub ingestion_ms: i64,
    pub message: String,
    pub stream: Arc<str>,
    /// Account and group: `123456789012:/api`.
    pub log: Arc<str>,
    /// Names the event for GetLogRecord.
    pub pointer: String,
    /// What was found in the message, once it was asked for.
    pub(crate) json: OnceCell<BTreeMap<String, Value>>,
}

impl Event {
    /// The fields that were found in it, with those that every event has.
    pub fn fields(&self) -> Vec<(String, String)> {
        let own = [
            "@timestamp",
            "@ingestionTime",
            "@message",
            "@logStream",
            "@log",
        ];
        let own = own
            .into_iter()
            .map(|name| (name.to_owned(), self.field(name)));
        let found = self
            .json()
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        own.chain(found)
            .filter_map(|(name, value)| Some((name, value.show()?)))
            .collect()
    }

    fn json(&self) -> &BTreeMap<String, Value> {
        self.json.get_or_init(|| {
            let mut fields = BTreeMap::new();
            if self.message.trim_start().starts_with('{')
                && let Ok(json) = serde_json::from_str::<serde_json::Value>(&self.message)
            {
                flatten(&mut fields, String::new(), &json);
            }
            fields
        })
    }
}

/// `{"a":{"b":[1]}}` is `a.b.0`.
fn flatten(fields: &mut BTreeMap<String, Value>, name: String, json: &serde_json::Value) {
    use serde_json::Value as Json;
    if fields.len() >= JSON_FIELDS_MAX {
        return;
    }
    let inner = |key: &str| match name.is_empty() {
        true => key.to_owned(),
        false => format!("{name}.{key}"),
    };
    let value = match json {
        Json::Object(object) => {
            for (key, value) in object {
                flatten(fields, inner(key), value);
            }
            return;
        }
        Json::Array(list) => {
            for (index, value) in list.iter().enumerate().take(JSON_FIELDS_MAX) {
                flatten(fields, inner(&index.to_string()), value);
            }
            return;
        }
        Json::String(text) => Value::text(text.as_str()),
        Json::Number(number) => number.as_f64().map_or(Value::Null, Value::Number),
        Json::Bool(truth) => Value::Number(f64::from(u8::from(*truth))),
        Json::Null => return,
    };
    fields.insert(name, value);
}

impl Fields for Event {
    fn field(&self, name: &str) -> Value {
        match name {
            "@timestamp" => Value::Time(self.timestamp_ms),
            "@ingestionTime" => Value::Time(self.ingestion_ms),
            "@message" => Value::text(self.message.as_str()),
            "@logStream" => Value::Text(self.stream.clone()),
            "@log" => Value::Text(self.log.clone()),
            "@ptr" => Value::text(self.pointer.as_str()),
            _ => self.json().get(name).cloned().unwrap_or(Value::Null),
        }
    }
}

/// An event (none behind `stats`) and what the commands have made of it.
#[derive(Debug, Default)]
struct Row {
    event: Option<Event>,
    made: BTreeMap<String, Value>,
}

impl Row {
    fn bytes(&self) -> usize {
        let made = self
            .made
            .iter()
            .map(|(name, value)| name.len() + value.bytes());
        self.event
            .as_ref()
            .map_or(0, |event| 2 * event.message.len() + 256)
            + made.sum::<usize>()
    }
}

impl Fields for Row {
    fn field(&self, name: &str) -> Value {
        if let Some(value) = self.made.get(name) {
            return value.clone();
        }
        self.event
            .as_ref()
            .map_or(Value::Null, |event| event.field(name))
    }
}

/// What a command keeps from row to row.
#[derive(Debug)]
enum Stage {
    Fields(Vec<Column>),
    Filter(Expression),
    Parse(Expression, Extraction),
    Stats(Grouping),
    Sort(Sorting),
    Limit(usize),
    Dedup(Vec<Column>, HashSet<Vec<Option<String>>>),
}

#[derive(Debug)]
struct Grouping {
    columns: Vec<Column>,
    by: Vec<Column>,
    groups: HashMap<Vec<Option<String>>, Group>,
    held: Held,
}

#[derive(Debug)]
struct Group {
    key: Vec<Value>,
    states: Vec<State>,
}

#[derive(Debug)]
struct Sorting {
    keys: Vec<(Expression, bool)>,
    keep: usize,
    rows: Vec<(Vec<Value>, Row)>,
    bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Run {
    stages: Vec<Stage>,
    /// Columns of the result.
    shown: Vec<String>,
    /// Events that went past all filters before rows are grouped, sorted or left out.
    matched: u64,
    rows: Vec<Row>,
    bytes: usize,
}

impl Run {
    pub fn new(query: &Query, limit: Option<usize>) -> Self {
        let limit = limit.unwrap_or(ROWS_MAX).min(ROWS_MAX);
        let mut commands = query.commands.clone();
        commands.push(Command::Limit(limit));
        // Events come newest first, if nothing else is said.
        let orders =
            |command: &Command| matches!(command, Command::Sort(_) | Command::Stats { .. });
        let leaves_out =
            |command: &Command| matches!(command, Command::Limit(_) | Command::Dedup(_));
        let first = commands
            .iter()
            .position(|c| orders(c) || leaves_out(c))
            .unwrap_or(0);
        if leaves_out(&commands[first]) {
            let newest = vec![(Expression::Field("@timestamp".to_owned()), true)];
            commands.insert(first, Command::Sort(newest));
        }
        let shown = shown(&commands);
        let keep = |at: usize| match commands.get(at + 1) {
            Some(Command::Limit(limit)) => *limit,
            _ => ROWS_MAX,
        };
        let keeps: Vec<usize> = (0..commands.len()).map(keep).collect();
        let stage = |(command, keep): (Command, usize)| match command {
            Command::Fields(columns) | Command::Display(columns) => Stage::Fields(columns),
            Command::Filter(condition) => Stage::Filter(condition),
            Command::Parse { from, with } => Stage::Parse(from, with),
            Command::Stats { columns, by } => Stage::Stats(Grouping {
                columns,
                by,
                groups: HashMap::new(),
                held: Held::default(),
            }),
            Command::Sort(keys) => Stage::Sort(Sorting {
                keys,
                keep,
                rows: Vec::new(),
                bytes: 0,
            }),
            Command::Limit(limit) => Stage::Limit(limit),
            Command::Dedup(columns) => Stage::Dedup(columns, HashSet::new()),
        };
        Self {
            stages: commands.into_iter().zip(keeps).map(stage).collect(),
            shown,
            matched: 0,
            rows: Vec::new(),
            bytes: 0,
        }
    }

    /// Takes one event in.
    pub fn add(&mut self, event: Event) -> Result<(), Overflow> {
        let row = Row {
            event: Some(event),
            made: BTreeMap::new(),
        };
        self.push(0, row)
    }

    pub fn matched(&self) -> u64 {
        self.matched
    }

    /// Passes a row on from a stage, until one keeps it or drops it.
    fn push(&mut self, from: usize, mut row: Row) -> Result<(), Overflow> {
        for at in from..self.stages.len() {
            let (before, rest) = self.stages.split_at_mut(at);
            let streams = |stage: &Stage| {
                matches!(
                    stage,
                    Stage::Fields(_) | Stage::Filter(_) | Stage::Parse(..)
                )
            };
            let first_kept = before.iter().all(streams) && !streams(&rest[0]);
            self.matched += u64::from(first_kept && row.event.is_some());
            match &mut rest[0] {
                Stage::Fields(columns) => make(columns, &mut row),
                Stage::Filter(condition) => {
                    if !condition.evaluate(&row).is_true() {
                        return Ok(());
                    }
                }
                Stage::Parse(expression, extraction) => {
                    if let Some(text) = expression.evaluate(&row).show() {
                        extraction.take_apart(&text, &mut row.made);
                    }
                }
                Stage::Stats(grouping) => return grouping.add(&row),
                Stage::Sort(sorting) => return sorting.add(row),
                Stage::Limit(0) => return Ok(()),
                Stage::Limit(left) => *left -= 1,
                Stage::Dedup(columns, seen) => {
                    let key: Vec<_> = columns
                        .iter()
                        .map(|c| c.expression.evaluate(&row).show())
                        .collect();
                    // Events without the fields are kept, as AWS does.
                    if key.iter().any(Option::is_some) && !seen.insert(key) {
                        return Ok(());
                    }
                    if seen.len() > 10 * GROUPS_MAX {
                        return Err(Overflow);
                    }
                }
            }
        }
        self.bytes += row.bytes();
        if self.bytes > HELD_BYTES_MAX {
            return Err(Overflow);
        }
        self.rows.push(row);
        Ok(())
    }

    /// All rows: names and values, columns in their order, those without a value left out.
    pub fn finish(mut self) -> Result<Vec<Vec<(String, String)>>, Overflow> {
        for at in 0..self.stages.len() {
            let rows = match &mut self.stages[at] {
                Stage::Stats(grouping) => grouping.finish(),
                Stage::Sort(sorting) => sorting.finish(),
                _ => continue,
            };
            for row in rows {
                self.push(at + 1, row)?;
            }
        }
        let show = |row: &Row| {
            let value = |name: &String| Some((name.clone(), row.field(name).show()?));
            let pointer = row
                .event
                .as_ref()
                .map(|event| ("@ptr".to_owned(), event.pointer.clone()));
            let columns = self
                .shown
                .iter()
                .filter(|name| *name != "@ptr")
                .filter_map(value);
            columns.chain(pointer).collect()
        };
        Ok(self.rows.iter().map(show).collect())
    }
}

/// The columns that the commands leave.
fn shown(commands: &[Command]) -> Vec<String> {
    let mut shown: Vec<String> = Vec::new();
    let mut display = None;
    let mut add = |names: Vec<String>, anew: bool| {
        if anew {
            shown.clear();
        }
        for name in names {
            if !shown.contains(&name) {
                shown.push(name);
            }
        }
    };
    let names = |columns: &[Column]| columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
    for command in commands {
        match command {
            Command::Fields(columns) => add(names(columns), false),
            Command::Display(columns) => display = Some(names(columns)),
            Command::Parse {
                with: Extraction::Glob(_, names),
                ..
            } => add(names.clone(), false),
            Command::Parse {
                with: Extraction::Regex(regex),
                ..
            } => {
                add(
                    regex.capture_names().flatten().map(str::to_owned).collect(),
                    false,
                );
            }
            Command::Stats { columns, by } => {
                add([names(by), names(columns)].concat(), true);
                display = None;
            }
            Command::Filter(_) | Command::Sort(_) | Command::Limit(_) | Command::Dedup(_) => {}
        }
    }
    match display {
        Some(display) => display,
        None if shown.is_empty() => vec!["@timestamp".to_owned(), "@message".to_owned()],
        None => shown,
    }
}

/// Columns that are more than a field of the same name.
fn make(columns: &[Column], row: &mut Row) {
    for column in columns {
        if matches!(&column.expression, Expression::Field(name) if *name == column.name) {
            continue;
        }
        let value = column.expression.evaluate(row);
        row.made.insert(column.name.clone(), value);
    }
}

impl Extraction {
    fn take_apart(&self, text: &str, made: &mut BTreeMap<String, Value>) {
        match self {
            Self::Glob(parts, names) => {
                if let Some(found) = glob(parts, text) {
                    let found = found.into_iter().map(Value::text);
                    made.extend(names.iter().cloned().zip(found));
                }
            }
            Self::Regex(regex) => groups(regex, text, made),
        }
    }
}

fn groups(regex: &Regex, text: &str, made: &mut BTreeMap<String, Value>) {
    let Some(captures) = regex.captures(text.as_bytes()) else {
        return;
    };
    for name in regex.capture_names().flatten() {
        if let Some(found) = captures.name(name) {
            let text = String::from_utf8_lossy(found.as_bytes()).into_owned();
            made.insert(name.to_owned(), Value::text(text));
        }
    }
}

/// What the stars between the parts stand for, each as short as it can be; a last one takes the rest.
fn glob<'a>(parts: &[String], text: &'a str) -> Option<Vec<&'a str>> {
    let (first, others) = parts.split_first()?;
    let mut rest = &text[text.find(first.as_str())? + first.len()..];
    let mut found = Vec::with_capacity(others.len());
    for (index, part) in others.iter().enumerate() {
        let end = match part.is_empty() && index + 1 == others.len() {
            true => rest.len(),
            false => rest.find(part.as_str())?,
        };
        found.push(&rest[..end]);
        rest = &rest[end + part.len()..];
    }
    Some(found)
}

/// What the aggregates of a group have come to, for the expressions around them.
struct Results(Vec<Value>);

impl Fields for Results {
    fn field(&self, _: &str) -> Value {
        Value::Null
    }

    fn aggregate(&self, aggregate: &Aggregate) -> Value {
        self.0.get(aggregate.number).cloned().unwrap_or(Value::Null)
    }
}

impl Grouping {
    fn aggregates(&self) -> Vec<&Aggregate> {
        let mut all = Vec::new();
        for column in &self.columns {
            column
                .expression
                .aggregates(&mut |aggregate| all.push(aggregate));
        }
        all
    }

    fn add(&mut self, row: &Row) -> Result<(), Overflow> {
        let key: Vec<Value> = self
            .by
            .iter()
            .map(|column| column.expression.evaluate(row))
            .collect();
        let shown: Vec<Option<String>> = key.iter().map(Value::show).collect();
        if !self.groups.contains_key(&shown) && self.groups.len() >= GROUPS_MAX {
            return Err(Overflow);
        }
        let (columns, held) = (&self.columns, &mut self.held);
        let group = self.groups.entry(shown).or_insert_with(|| {
            let mut states = Vec::new();
            for column in columns {
                column
                    .expression
                    .aggregates(&mut |aggregate| states.push(State::new(aggregate.kind)));
            }
            Group { key, states }
        });
        let mut states = group.states.iter_mut();
        for column in columns {
            column.expression.aggregates(&mut |aggregate| {
                if let Some(state) = states.next() {
                    state.add(aggregate, row, held);
                }
            });
        }
        Ok(())
    }

    /// Times come newest first, other groups in the order of their keys.
    fn finish(&mut self) -> Vec<Row> {
        let mut groups: Vec<Group> = self.groups.drain().map(|(_, group)| group).collect();
        groups.sort_by(|a, b| {
            let pairs = a.key.iter().zip(&b.key);
            let orders = pairs.map(|(a, b)| match (a, b) {
                (Value::Time(a), Value::Time(b)) => b.cmp(a),
                _ => order(a, b),
            });
            orders.fold(Ordering::Equal, Ordering::then)
        });
        let kinds: Vec<_> = self
            .aggregates()
            .iter()
            .map(|aggregate| aggregate.kind)
            .collect();
        let row = |group: Group| {
            let results = group
                .states
                .iter()
                .zip(&kinds)
                .map(|(state, kind)| state.result(*kind));
            let results = Results(results.collect());
            let mut made = BTreeMap::new();
            for (column, value) in self.by.iter().zip(group.key) {
                made.insert(column.name.clone(), value);
            }
            for column in &self.columns {
                made.insert(column.name.clone(), column.expression.evaluate(&results));
            }
            Row { event: None, made }
        };
        groups.into_iter().map(row).collect()
    }
}

/// Numbers before texts, and what is not there last.
fn order(a: &Value, b: &Value) -> Ordering {
    match (a.number(), b.number()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => match (a.show(), b.show()) {
            (Some(a), Some(b)) => a.cmp(&b),
            (a, b) => b.is_some().cmp(&a.is_some()),
        },
    }
}

impl Sorting {
    fn add(&mut self, row: Row) -> Result<(), Overflow> {
        let keys = self
            .keys
            .iter()
            .map(|(key, _)| key.evaluate(&row))
            .collect();
        self.bytes += row.bytes();
        self.rows.push((keys, row));
        if self.rows.len() >= 2 * self.keep.max(500) || self.bytes > HELD_BYTES_MAX {
            self.shrink();
        }
        match self.bytes > HELD_BYTES_MAX {
            true => Err(Overflow),
            false => Ok(()),
        }
    }

    fn shrink(&mut self) {
        let directions: Vec<bool> = self
            .keys
            .iter()
            .map(|(_, descending)| *descending)
            .collect();
        self.rows.sort_by(|(a, _), (b, _)| {
            let pairs = a.iter().zip(b).zip(&directions);
            let orders =
                pairs.map(
                    |((a, b), descending)| match (descending, a.is_null() || b.is_null()) {
                        (true, false) => order(b, a),
                        _ => order(a, b),
                    },
                );
            orders.fold(Ordering::Equal, Ordering::then)
        });
        self.rows.truncate(self.keep);
        self.bytes = self.rows.iter().map(|(_, row)| row.bytes()).sum();
    }

    fn finish(&mut self) -> Vec<Row> {
        self.shrink();
        std::mem::take(&mut self.rows)
            .into_iter()
            .map(|(_, row)| row)
            .collect()
    }
}
