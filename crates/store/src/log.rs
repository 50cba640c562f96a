//! Log events on disk: what a task's shim writes and CloudWatch Logs' reads are answered from.
//!
//! A folder holds one log stream, in append-only segment files. The shim writes it with a [`Writer`]; `control` reads
//! it with a [`Reader`] and writes with a `Writer` of its own for PutLogEvents. Writers lock the segment they write, so
//! any number of them may be at work, each on its own segment, and one that comes later goes on where one that is gone
//! has stopped. What must stay true:
//!
//! - An event that `append` has returned for survives `kill -9` of the writer (it is with the kernel; there is no sync:
//!   losing the machine may lose the last seconds of output). A torn event is not seen.
//! - Events are read in the order of their timestamps; those of one timestamp in the order they were written.
//! - A [`Token`] names a place between events that stays where it is, whatever is written meanwhile.

mod reader;
mod sealing;
mod segment;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use reader::{Reader, remove_before, summarise};
pub use sealing::{KeyPair, LogKeys, seal_no_more, seal_with};
pub use tail::{Arrivals, Tail};
pub use writer::Writer;

/// Longest message; longer lines are cut by the caller.
pub const MAX_EVENT_BYTES: usize = 256 << 10;
/// What CloudWatch Logs counts for an event on top of its message.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html>
pub const EVENT_OVERHEAD_BYTES: usize = 26;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("a log event of {size} bytes is over the limit of {limit}")]
    TooLarge { size: usize, limit: usize },
    /// An event is sealed, and the key that would open it is not at hand.
    #[error("an event in {path} is sealed")]
    Sealed { path: PathBuf },
    #[error("{operation} {path}: {source}")]
    Io {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl LogError {
    fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    pub timestamp_ms: i64,
    pub ingestion_ms: i64,
    pub message: Vec<u8>,
}

/// Where an event stands: by time, then in the order of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    timestamp_ms: i64,
    segment: u32,
    offset: u64,
}

impl Position {
    /// Before every event of this time.
    fn at(timestamp_ms: i64) -> Self {
        Self {
            timestamp_ms,
            segment: 0,
            offset: 0,
        }
    }

    /// Between this event and the next: no event begins one byte after another.
    fn after(self) -> Self {
        Self {
            offset: self.offset + 1,
            ..self
        }
    }
}

/// A place between two events, and the way to go from there. Its text is what `nextForwardToken` and
/// `nextBackwardToken` are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    Forward(Position),
    Backward(Position),
}

/// Unique within the stream: an event id can be made of it.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            timestamp_ms,
            segment,
            offset,
        } = self;
        write!(
            f,
            "{:016x}{segment:08x}{offset:016x}",
            timestamp_ms.cast_unsigned()
        )
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward(at) => write!(f, "f/{at}/s"),
            Self::Backward(at) => write!(f, "b/{at}/s"),
        }
    }
}

/// A text that is no token of ours.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the specified nextToken is invalid")]
pub struct InvalidToken;

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let (way, rest) = text.split_once('/').ok_or(InvalidToken)?;
        let digits = rest.strip_suffix("/s").ok_or(InvalidToken)?;
        if digits.len() != 40
            || !digits
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(InvalidToken);
        }
        let number = |range: std::ops::Range<usize>| {
            u64::from_str_radix(&digits[range], 16).map_err(|_| InvalidToken)
        };
        let at = Position {
            timestamp_ms: number(0..16)?.cast_signed(),
            segment: u32::try_from(number(16..24)?).map_err(|_| InvalidToken)?,
            offset: number(24..40)?,
        };
        match way {
            "f" => Ok(Self::Forward(at)),
            "b" => Ok(Self::Backward(at)),
            _ => Err(InvalidToken),
        }
    }
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest event (`startFromHead`).
    Head,
    /// So that it ends with the newest event.
    Tail,
    Token(Token),
}

/// Which events to read, as in GetLogEvents.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetLogEvents.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    pub start: Start,
    /// Inclusive.
    pub start_ms: Option<i64>,
    /// Exclusive.
    pub end_ms: Option<i64>,
    /// The most events of a page.
    pub limit: usize,
    /// The most bytes of a page, counted as messages and [`EVENT_OVERHEAD_BYTES`] each; one event always fits.
    pub max_bytes: usize,
}

impl Query {
    /// All times, and a page of the size that GetLogEvents has unless told otherwise.
    pub fn from(start: Start) -> Self {
        Self {
            start,
            start_ms: None,
            end_ms: None,
            limit: 10_000,
            max_bytes: 1 << 20,
        }
    }
}

/// Events in ascending order, whichever way they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub events: Vec<LogEvent>,
    /// Where each event stands, for event ids: unique within the stream.
    pub positions: Vec<Position>,
    /// Continues after this page. If there is nothing more, the token that was asked with.
    pub forward: Token,
    /// Continues before this page. If there is nothing more, the token that was asked with.
    pub backward: Token,
}

/// What DescribeLogStreams wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    pub events: u64,
    pub message_bytes: u64,
    /// `None` if there are no events.
    pub first_timestamp_ms: Option<i64>,
    pub last_timestamp_ms: Option<i64>,
    pub last_ingestion_ms: Option<i64>,
}

impl Summary {
    /// Bytes as CloudWatch Logs counts them.
    pub fn stored_bytes(&self) -> u64 {
        self.message_bytes + self.events * EVENT_OVERHEAD_BYTES as u64
    }

    fn add(&mut self, timestamp_ms: i64, ingestion_ms: i64, message_bytes: usize) {
        self.merge(&Self {
            events: 1,
            message_bytes: message_bytes as u64,
            first_timestamp_ms: Some(timestamp_ms),
            last_timestamp_ms: Some(timestamp_ms),
            last_ingestion_ms: Some(ingestion_ms),
        });
    }

    fn merge(&mut self, other: &Self) {
        self.events += other.events;
        self.message_bytes += other.message_bytes;
        self.first_timestamp_ms = [self.first_timestamp_ms, other.first_timestamp_ms]
            .into_iter()
            .flatten()
            .min();
        self.last_timestamp_ms = self.last_timestamp_ms.max(other.last_timestamp_ms);
        self.last_ingestion_ms = self.last_ingestion_ms.max(other.last_ingestion_ms);
    }
}
