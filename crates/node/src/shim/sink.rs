//! Between a container's lines and its log stream: the awslogs driver's options. Lines that belong together become one event
//! (`awslogs-datetime-format`, `awslogs-multiline-pattern`); a log that is slower than the container holds it up
//! (`mode` blocking) or loses what does not fit into `max-buffer-size` (non-blocking, Fargate's default).
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specify-log-config.html>
//!
//! Used by `output` and `supervise`. What must stay true: memory is bounded by the buffer's size, and what goes to the disk
//! by [`BYTES_PER_SECOND`], whatever the container says; the stop of a container loses nothing that was read.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use fogbank_store::log::{LogError, MAX_EVENT_BYTES, Writer};
use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// Where Docker's awslogs driver splits: an event's limit less what CloudWatch Logs counts on top.
/// <https://docs.docker.com/engine/logging/drivers/awslogs/>
pub const LINE_LIMIT_BYTES: usize = MAX_EVENT_BYTES - 26;
/// What a stream takes: twice what CloudWatch Logs took of one (five requests of a MiB a second).
const BYTES_PER_SECOND: f64 = 10.0 * 1024.0 * 1024.0;
const BURST_BYTES: f64 = 32.0 * 1024.0 * 1024.0;
const BATCH_BYTES: usize = 1 << 20;
/// "the default flush interval is 5 seconds": an event whose end nobody has seen.
const EVENT_AGE: Duration = Duration::from_secs(5);
/// A full disk is tried again.
const RETRY: Duration = Duration::from_millis(500);
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Of a compiled pattern; a container's owner chooses it.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// As the task definition has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogOptions {
    /// A line that matches begins an event; `None`: every line is one.
    pub pattern: Option<String>,
    pub blocking: bool,
    pub max_buffer_bytes: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            pattern: None,
            blocking: false,
            max_buffer_bytes: 10 << 20,
        }
    }
}

impl LogOptions {
    /// The pattern as it is matched: bytes, so that no line is beyond it.
    pub fn compile(pattern: &str) -> Result<Regex, regex::Error> {
        let mut builder = RegexBuilder::new(pattern);
        builder.unicode(false).size_limit(PATTERN_BYTES_MAX).build()
    }
}

/// A container's log.
pub struct Sink {
    log: Writer,
    pattern: Option<Regex>,
    blocking: bool,
    max_buffer_bytes: usize,
    /// An event whose last line is still to come, and since when.
    event: Vec<u8>,
    event_since: Option<Instant>,
    queue: VecDeque<(i64, Vec<u8>)>,
    queue_bytes: usize,
    tokens: f64,
    tokens_at: Instant,
    retry_at: Option<Instant>,
    dropped: u64,
    told_at: Option<Instant>,
}

impl Sink {
    pub fn open(folder: &Path, options: &LogOptions) -> Result<Self, LogError> {
        let pattern = options.pattern.as_deref().map(LogOptions::compile);
        Ok(Self {
            log: Writer::open(folder)?,
            // Checked before the task was begun; one that fails all the same makes an event of every line.
            pattern: pattern.and_then(Result::ok),
            blocking: options.blocking,
            max_buffer_bytes: options.max_buffer_bytes,
            event: Vec::new(),
            event_since: None,
            queue: VecDeque::new(),
            queue_bytes: 0,
            tokens: BURST_BYTES,
            tokens_at: Instant::now(),
            retry_at: None,
            dropped: 0,
            told_at: None,
        })
    }

    /// The container is held up: what it says is not to be read now.
    pub fn is_paused(&self) -> bool {
        self.blocking && !self.queue.is_empty()
    }

    /// When [`Sink::tick`] has something to do though nothing is said.
    pub fn wake_at(&self) -> Option<Instant> {
        let queue = (!self.queue.is_empty()).then(|| {
            let soon = Instant::now() + Duration::from_millis(20);
            self.retry_at.map_or(soon, |retry| retry.max(soon))
        });
        let event = self.event_since.map(|since| since + EVENT_AGE);
        queue.into_iter().chain(event).min()
    }

    /// Writes what has waited long enough.
    pub fn tick(&mut self, time_ms: i64) {
        if self
            .event_since
            .is_some_and(|since| since.elapsed() >= EVENT_AGE)
        {
            self.end_event(time_ms);
        }
        self.drain(false);
    }

    /// Takes lines without their ends, at one time.
    pub fn lines<'a>(&mut self, time_ms: i64, lines: impl Iterator<Item = &'a [u8]>) {
        let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        if self.pattern.is_some() {
            for line in lines {
                self.join(time_ms, line);
            }
            return self.drain(false);
        }
        // Empty lines make no event: CloudWatch Logs takes none without a message.
        let events: Vec<&[u8]> = lines
            .flat_map(|line| line.chunks(LINE_LIMIT_BYTES))
            .collect();
        let bytes: usize = events.iter().map(|event| event.len()).sum();
        if self.queue.is_empty() && self.spend(bytes) {
            let all = events.iter().map(|event| (time_ms, *event));
            match self.log.append_all(time_ms, all) {
                Ok(()) => return,
                Err(error) => self.refused(&error),
            }
        }
        for event in events {
            self.enqueue(time_ms, event.to_vec());
        }
        self.drain(false);
    }

    /// Everything, as nothing more is said.
    pub fn finish(&mut self, time_ms: i64) {
        self.end_event(time_ms);
        self.drain(true);
    }

    fn join(&mut self, time_ms: i64, line: &[u8]) {
        let begins = self.pattern.as_ref().is_some_and(|p| p.is_match(line));
        if begins || self.event.len() + line.len() >= LINE_LIMIT_BYTES {
            self.end_event(time_ms);
        }
        if self.event.is_empty() && line.is_empty() {
            return;
        }
        self.event_since.get_or_insert_with(Instant::now);
        self.event.extend_from_slice(line);
        self.event.push(b'\n');
    }

    fn end_event(&mut self, time_ms: i64) {
        self.event_since = None;
        let event = std::mem::take(&mut self.event);
        for part in event.chunks(LINE_LIMIT_BYTES) {
            self.enqueue(time_ms, part.to_vec());
        }
    }

    fn enqueue(&mut self, time_ms: i64, event: Vec<u8>) {
        let is_full = self.queue_bytes + event.len() > self.max_buffer_bytes;
        // As Docker's ring does: what comes last is lost.
        if !self.blocking && is_full && !self.queue.is_empty() {
            self.dropped += 1;
            return;
        }
        self.queue_bytes += event.len();
        self.queue.push_back((time_ms, event));
    }

    /// Whether so many bytes may go to the disk now.
    fn spend(&mut self, bytes: usize) -> bool {
        let now = Instant::now();
        let passed = now.duration_since(self.tokens_at).as_secs_f64();
        self.tokens = (self.tokens + passed * BYTES_PER_SECOND).min(BURST_BYTES);
        self.tokens_at = now;
        let may = self.tokens > 0.0;
        if may {
            self.tokens -= bytes as f64;
        }
        may
    }

    fn drain(&mut self, last: bool) {
        if !last
            && self
                .retry_at
                .is_some_and(|retry_at| Instant::now() < retry_at)
        {
            return;
        }
        while !self.queue.is_empty() {
            let (mut count, mut bytes) = (0, 0);
            for (_, event) in &self.queue {
                if count > 0 && bytes + event.len() > BATCH_BYTES {
                    break;
                }
                (count, bytes) = (count + 1, bytes + event.len());
            }
            if !self.spend(bytes) && !last {
                break;
            }
            let batch = self.queue.iter().take(count);
            let time_ms = self.queue[0].0;
            let events = batch.map(|(time_ms, event)| (*time_ms, event.as_slice()));
            match self.log.append_all(time_ms, events) {
                Ok(()) => self.retry_at = None,
                Err(error) => {
                    self.refused(&error);
                    // A task that has ended, or does not wait for its log, goes on without.
                    if self.blocking && !last {
                        return;
                    }
                    self.dropped += count as u64;
                }
            }
            self.queue.drain(..count);
            self.queue_bytes -= bytes;
        }
        self.tell();
    }

    /// A full disk, most likely.
    fn refused(&mut self, error: &LogError) {
        self.retry_at = Some(Instant::now() + RETRY);
        if self.told_at.is_none_or(|told| told.elapsed() > TELL_EVERY) {
            self.told_at = Some(Instant::now());
            tracing::warn!(%error, "the log takes no lines");
        }
    }

    fn tell(&mut self) {
        if self.dropped > 0 && self.told_at.is_none_or(|told| told.elapsed() > TELL_EVERY) {
            self.told_at = Some(Instant::now());
            tracing::warn!(lines = self.dropped, "log lines lost");
            self.dropped = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogbank_store::log::{Query, Reader, Start};

    fn sink(folder: &Path, options: LogOptions) -> Sink {
        Sink::open(folder, &options).unwrap()
    }

    fn read(folder: &Path) -> Vec<String> {
        let page = Reader::open(folder)
            .unwrap()
            .read(&Query::from(Start::Head))
            .unwrap();
        page.events
            .into_iter()
            .map(|event| String::from_utf8(event.message).unwrap())
            .collect()
    }

    fn say(sink: &mut Sink, text: &str) {
        sink.lines(1, text.split('\n').map(str::as_bytes));
    }

    #[test]
    fn lines_that_belong_together_are_one_event() {
        let folder = tempfile::tempdir().unwrap();
        let options = LogOptions {
            pattern: Some(r"^\d{4}-".into()),
            ..LogOptions::default()
        };
        let mut sink = sink(folder.path(), options);
        say(
            &mut sink,
            "2026-11-23 error\n  at a\n\n  at b\n2026-11-23 fine",
        );
        assert_eq!(
            read(folder.path()),
            ["2026-11-23 error\n  at a\n\n  at b\n"]
        );
        // Nobody has seen the end of the last one.
        assert!(sink.wake_at().is_some());
        sink.finish(2);
        assert_eq!(read(folder.path())[1..], ["2026-11-23 fine\n"]);
        assert_eq!(sink.wake_at(), None);
    }

    #[test]
    fn a_flood_is_held_to_the_buffer_and_the_rate() {
        let folder = tempfile::tempdir().unwrap();
        let options = LogOptions {
            max_buffer_bytes: 2 << 20,
            ..LogOptions::default()
        };
        let mut sink = sink(folder.path(), options);
        // Nothing may go to the disk for a long time.
        sink.tokens = -1e15;
        let line = vec![b'x'; 64 << 10];
        for _ in 0..64 {
            sink.lines(1, [line.as_slice()].into_iter());
            assert!(sink.queue_bytes <= 2 << 20);
            assert!(!sink.is_paused());
        }
        assert!(sink.told_at.is_some());
        assert!(read(folder.path()).is_empty());
        sink.tokens = BURST_BYTES;
        sink.tick(1);
        assert_eq!(sink.queue_bytes, 0);
        assert!(!read(folder.path()).is_empty());
    }

    #[test]
    fn a_log_that_is_full_holds_up_who_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let options = LogOptions {
            blocking: true,
            ..LogOptions::default()
        };
        let mut sink = sink(folder.path(), options);
        sink.tokens = -BURST_BYTES;
        say(&mut sink, "one\ntwo");
        assert!(sink.is_paused());
        assert!(sink.wake_at().is_some());
        sink.finish(2);
        assert_eq!(read(folder.path()), ["one", "two"]);
    }

    #[test]
    fn a_pattern_may_not_be_larger_than_it_is_worth() {
        assert!(LogOptions::compile(r"^\[\w+ \d\d\]").is_ok());
        assert!(LogOptions::compile("(").is_err());
        assert!(LogOptions::compile("((a{1000}){1000}){1000}").is_err());
    }
}
