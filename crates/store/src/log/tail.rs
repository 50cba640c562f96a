//! What comes into a log stream, in the order it is written: metric filters and live tails.
//!
//! A place in each segment is all that is kept. It can be kept elsewhere too ([`Arrivals::end`]), so that a reader who
//! comes back sees each event once.

use super::sealing::LogKeys;
use super::segment::{self, HEADER_BYTES, Header, Opening};
use super::{LogError, LogEvent, Position};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Of messages that one read gives, roughly.
const READ_BYTES: usize = 1 << 20;

/// Follows a stream. It may not be there yet.
#[derive(Debug)]
pub struct Tail {
    folder: PathBuf,
    keys: Option<Arc<LogKeys>>,
    /// Events that came before are passed over.
    since_ms: i64,
    /// Where the next event of each segment begins.
    at: BTreeMap<u32, u64>,
}

/// Events of one segment that stand next to each other.
#[derive(Debug)]
pub struct Arrivals {
    pub segment: u32,
    /// Where the next ones will begin.
    pub end: u64,
    pub events: Vec<(Position, LogEvent)>,
}

impl Tail {
    /// Events that were taken in at that time or later.
    pub fn since(folder: &Path, since_ms: i64) -> Self {
        Self {
            folder: folder.to_owned(),
            keys: None,
            since_ms,
            at: BTreeMap::new(),
        }
    }

    /// Opens sealed events with these from now on. Without, they are passed over.
    pub fn use_keys(&mut self, keys: Option<Arc<LogKeys>>) {
        self.keys = keys;
    }

    /// The next events, of whichever segment has some; none: nothing has come. `place`: where to begin in a segment that
    /// was not read yet, if somebody knows.
    pub fn next(
        &mut self,
        place: impl Fn(u32) -> Option<u64>,
    ) -> Result<Option<Arrivals>, LogError> {
        let numbers = segment::numbers(&self.folder).map_err(LogError::io("list", &self.folder))?;
        self.at.retain(|number, _| numbers.contains(number));
        for number in numbers {
            let path = segment::path(&self.folder, number);
            let arrivals = self
                .next_of(number, &path, &place)
                .map_err(LogError::io("read", &path))?;
            if arrivals.is_some() {
                return Ok(arrivals);
            }
        }
        Ok(None)
    }

    fn next_of(
        &mut self,
        number: u32,
        path: &Path,
        place: &impl Fn(u32) -> Option<u64>,
    ) -> io::Result<Option<Arrivals>> {
        let length = match std::fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // Cut short after an append that failed: what comes next begins at the new end at the earliest.
        let known = self.at.get(&number).map(|at| (*at).min(length));
        if known.is_some_and(|known| known >= length) || length <= HEADER_BYTES {
            return Ok(None);
        }
        let file = File::open(path)?;
        let from = match known {
            Some(known) => known,
            None => self.first(&file, place(number))?,
        };
        let (mut events, mut bytes) = (Vec::new(), 0);
        let end = segment::scan_while(&file, from, |record| {
            if record.ingestion_ms >= self.since_ms {
                let position = Position {
                    timestamp_ms: record.timestamp_ms,
                    segment: number,
                    offset: record.offset,
                };
                let event = record.to_event(&self.folder, self.keys.as_deref());
                events.extend(event.map(|event| (position, event)));
                bytes += record.length();
            }
            bytes < READ_BYTES
        })?;
        self.at.insert(number, end);
        let arrivals = Arrivals {
            segment: number,
            end,
            events,
        };
        Ok((!arrivals.events.is_empty()).then_some(arrivals))
    }

    /// Where to begin in a segment: at its place, or behind what its header says is too old.
    fn first(&self, file: &File, place: Option<u64>) -> io::Result<u64> {
        let too_old = match Header::read(file)? {
            Opening::Header(header) if header.summary.last_ingestion_ms < Some(self.since_ms) => {
                header.end
            }
            Opening::Header(_) | Opening::Torn => HEADER_BYTES,
            // Nothing is read of what is no segment (yet).
            Opening::Empty | Opening::Foreign => file.metadata()?.len(),
        };
        Ok(too_old.max(place.unwrap_or(HEADER_BYTES)))
    }
}
