//! `fogbank logs`: what tasks said, of a service, a task or a log group, and what they go on saying.
//!
//! Reads the streams where they are, so that it works while the API does not.

use super::{RegionArguments, region};
use anyhow::{Context, Result, bail};
use clap::Args;
use fogbank_store::log::{LogError, Query, Reader, Start};
use fogbank_types::logs::LogStream;
use fogbank_types::{RegionConfig, Snapshot};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const EXAMPLES: &str = "\
Examples:
  sudo fogbank logs my-service                 the last ten minutes of all its tasks
  sudo fogbank logs -f my-service              and what they say from now on
  sudo fogbank logs 3f0c5a9e --since 2h        one task, by the start of its id
  sudo fogbank logs /ecs/orders --since 1d     a log group";
/// Between looks for more, and for new streams.
const LOOK: Duration = Duration::from_millis(200);
const LOOK_FOR_STREAMS: Duration = Duration::from_secs(1);
/// Events of a stream that are held at a time.
const PAGE: usize = 1000;
/// Colours of a terminal that are legible on dark and on light.
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct LogsArguments {
    #[command(flatten)]
    region: RegionArguments,
    /// A service by its name, a task by the start of its id or its ARN, or a log group
    #[arg(value_name = "SERVICE|TASK|GROUP")]
    what: String,
    /// Go on with what is said from now on, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// How far back to begin, such as 30s, 10m, 2h or 1d
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = span)]
    since: Duration,
}

fn span(text: &str) -> Result<Duration, String> {
    let bad = || format!("'{text}' is not a time such as 30s, 10m, 2h or 1d");
    let unit = text.chars().last().ok_or_else(bad)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(bad()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| bad())?;
    let seconds = number.checked_mul(seconds).ok_or_else(bad)?;
    Ok(Duration::from_secs(seconds))
}

pub fn run(arguments: &LogsArguments) -> Result<()> {
    let config = region::config(&arguments.region)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let since_ms = i64::try_from(now.saturating_sub(arguments.since).as_millis())?;
    let mut view = View {
        config: &config,
        colours: std::io::stdout().is_terminal(),
        sources: BTreeMap::new(),
    };
    let found = streams(&region::snapshot(&config)?, &arguments.what);
    if found.is_none() {
        bail!(
            "nothing is called '{}': no service, no task (by at least four digits of its id), no log group",
            arguments.what
        );
    }
    view.add(found.unwrap_or_default(), since_ms);
    let mut looked = std::time::Instant::now();
    loop {
        let said = match view.show() {
            // Whoever reads has seen enough: `fogbank logs x | head`.
            Err(error) if is_broken_pipe(&error) => return Ok(()),
            other => other?,
        };
        if !arguments.follow {
            if said {
                continue;
            }
            return Ok(());
        }
        std::thread::sleep(LOOK);
        if looked.elapsed() > LOOK_FOR_STREAMS {
            looked = std::time::Instant::now();
            // While control starts again, there are no new ones.
            if let Ok(snapshot) = region::snapshot(&config) {
                let found = streams(&snapshot, &arguments.what).unwrap_or_default();
                view.add(found, since_ms);
            }
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let source = error.downcast_ref::<std::io::Error>();
    source.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The streams that the text names; `None` if it names nothing at all.
fn streams(snapshot: &Snapshot, what: &str) -> Option<Vec<Arc<LogStream>>> {
    let group = snapshot.log_groups.all().any(|group| group.name == what);
    if group {
        let streams = snapshot.log_streams.all();
        return Some(streams.filter(|s| s.group == what).cloned().collect());
    }
    let last = what.rsplit('/').next().unwrap_or(what);
    let service = format!("service:{last}");
    let is_id = last.len() >= 4 && last.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_service = snapshot.services.all().any(|service| service.name == last);
    let tasks: Vec<&str> = snapshot
        .tasks
        .all()
        .filter(|task| task.group == service || is_id && task.id.starts_with(last))
        .map(|task| task.id.as_str())
        .collect();
    if tasks.is_empty() && !is_service {
        return None;
    }
    // `prefix/container/task`
    let of = |stream: &&Arc<LogStream>| {
        let task = stream.name.rsplit('/').next().unwrap_or_default();
        tasks.contains(&task)
    };
    Some(snapshot.log_streams.all().filter(of).cloned().collect())
}

struct Source {
    label: String,
    colour: u8,
    reader: Reader,
    next: Start,
    since_ms: i64,
    /// That its events cannot be read was said.
    is_told: bool,
}

struct View<'a> {
    config: &'a RegionConfig,
    colours: bool,
    /// By the stream's uid.
    sources: BTreeMap<String, Source>,
}

impl View<'_> {
    fn add(&mut self, streams: Vec<Arc<LogStream>>, since_ms: i64) {
        for stream in streams {
            if self.sources.contains_key(&stream.uid) {
                continue;
            }
            let Ok(reader) = Reader::open(&self.config.logs_dir().join(&stream.uid)) else {
                continue;
            };
            let colour = COLOURS[self.sources.len() % COLOURS.len()];
            let source = Source {
                label: label(&stream.name),
                colour,
                reader,
                next: Start::Head,
                since_ms,
                is_told: false,
            };
            self.sources.insert(stream.uid.clone(), source);
        }
    }

    /// Prints a page of each stream, in the order of time; whether there was anything.
    fn show(&mut self) -> Result<bool> {
        let mut lines: Vec<(i64, String, u8, Vec<u8>)> = Vec::new();
        for source in self.sources.values_mut() {
            let query = Query {
                start_ms: Some(source.since_ms),
                limit: PAGE,
                ..Query::from(source.next)
            };
            let page = match source.reader.read(&query) {
                Err(LogError::Sealed { .. }) => {
                    if !source.is_told {
                        eprintln!(
                            "{}: sealed with a key of KMS; `aws logs tail` shows it",
                            source.label
                        );
                    }
                    source.is_told = true;
                    continue;
                }
                read => read.context("cannot read a stream")?,
            };
            source.next = Start::Token(page.forward);
            lines.extend(page.events.into_iter().map(|event| {
                let label = source.label.clone();
                (event.timestamp_ms, label, source.colour, event.message)
            }));
        }
        lines.sort_by_key(|(time_ms, ..)| *time_ms);
        let mut stdout = std::io::stdout().lock();
        for (time_ms, label, colour, message) in &lines {
            let time = clock(*time_ms);
            let message = String::from_utf8_lossy(message);
            let message = message.trim_end_matches('\n');
            match self.colours {
                true => writeln!(stdout, "\x1b[{colour}m{time} {label}\x1b[0m {message}")?,
                false => writeln!(stdout, "{time} {label} {message}")?,
            }
        }
        stdout.flush()?;
        Ok(!lines.is_empty())
    }
}

/// `web 3f0c5a9e` of `prefix/web/3f0c5a9e...`.
fn label(stream: &str) -> String {
    let mut parts = stream.rsplit('/');
    match (parts.next(), parts.next()) {
        (Some(task), Some(container)) if task.len() == 32 && task.is_ascii() => {
            format!("{container} {}", &task[..8])
        }
        _ => stream.to_owned(),
    }
}

/// Of the day, in UTC, as AWS shows it.
fn clock(time_ms: i64) -> String {
    let second = time_ms.div_euclid(1000).rem_euclid(86_400);
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        second / 3600,
        second / 60 % 60,
        second % 60,
        time_ms.rem_euclid(1000)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        assert_eq!(span("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(span("1d"), Ok(Duration::from_secs(86_400)));
        for bad in ["", "10", "m", "-1s", "1w", "99999999999999999999s"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn streams_of_tasks_have_short_labels() {
        let task = "0123456789abcdef0123456789abcdef";
        assert_eq!(label(&format!("ecs/web/{task}")), "web 01234567");
        assert_eq!(label("anything"), "anything");
        assert_eq!(clock(86_400_000 + 3_723_004), "01:02:03.004");
    }
}
