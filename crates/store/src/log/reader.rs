//! The reading end of a log stream: GetLogEvents, FilterLogEvents and DescribeLogStreams in `control`.
//!
//! Events of a segment come in the order they were written, which is nearly that of their timestamps. A segment is
//! therefore taken as runs: stretches in ascending order, that end where the time steps back. A read merges the runs.
//! What is kept in memory is a mark for every 64 KiB, not for every event.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::sealing::LogKeys;
use super::segment::{self, HEADER_BYTES, Header, Opening, Record};
use super::{
    EVENT_OVERHEAD_BYTES, LogError, LogEvent, Page, Position, Query, Start, Summary, Token,
};

const BLOCK_BYTES: usize = 64 << 10;

/// Reads a log stream while it is written. Every read takes in what has been written since the last one.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    keys: Option<Arc<LogKeys>>,
    segments: BTreeMap<u32, Segment>,
}

#[derive(Debug)]
struct Segment {
    inode: u64,
    scanned_to: u64,
    runs: Vec<Run>,
}

/// Blocks whose records are in ascending order of time, never empty.
#[derive(Debug)]
struct Run {
    blocks: Vec<Block>,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    offset: u64,
    length: usize,
    first_ms: i64,
    last_ms: i64,
}

impl Segment {
    fn add(&mut self, record: &Record<'_>) {
        let length = record.length();
        let (timestamp_ms, offset) = (record.timestamp_ms, record.offset);
        let block = Block {
            offset,
            length,
            first_ms: timestamp_ms,
            last_ms: timestamp_ms,
        };
        let last = self.runs.last_mut().and_then(|run| {
            let last = *run.blocks.last()?;
            (last.last_ms <= timestamp_ms).then_some(run)
        });
        let Some(run) = last else {
            self.runs.push(Run {
                blocks: vec![block],
            });
            return;
        };
        match run.blocks.last_mut() {
            Some(last) if last.length + length <= BLOCK_BYTES => {
                last.length += length;
                last.last_ms = timestamp_ms;
            }
            _ => run.blocks.push(block),
        }
    }
}

impl Reader {
    /// A folder that does not exist (yet) is a stream without events.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        let mut reader = Self {
            folder: folder.to_owned(),
            keys: None,
            segments: BTreeMap::new(),
        };
        reader.refresh()?;
        Ok(reader)
    }

    /// Opens sealed events with these.
    pub fn with_keys(self, keys: Option<Arc<LogKeys>>) -> Self {
        Self { keys, ..self }
    }

    /// One page of events.
    pub fn read(&mut self, query: &Query) -> Result<Page, LogError> {
        self.refresh()?;
        match self.read_known(query) {
            // A writer has taken back events of a failed append (a full disk) that we had seen. Read anew.
            Err(LogError::Io { source, .. })
                if matches!(
                    source.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                self.segments.clear();
                self.refresh()?;
                self.read_known(query)
            }
            result => result,
        }
    }

    fn read_known(&self, query: &Query) -> Result<Page, LogError> {
        let floor = Position::at(query.start_ms.unwrap_or(i64::MIN));
        let ceiling = query.end_ms.map(Position::at);
        let (way, from) = match query.start {
            Start::Head => (Way::Forward, None),
            Start::Tail => (Way::Backward, None),
            Start::Token(Token::Forward(at)) => (Way::Forward, Some(at)),
            Start::Token(Token::Backward(at)) => (Way::Backward, Some(at)),
        };
        let (lower, upper) = match way {
            Way::Forward => (from.map_or(floor, |from| from.max(floor)), ceiling),
            Way::Backward => (floor, min_bound(from, ceiling)),
        };
        let mut found = Walk::new(self, way, lower, upper).collect(query.limit, query.max_bytes)?;
        if way == Way::Backward {
            found.reverse();
        }
        let (first, last) = (
            found.first().map(|found| found.0),
            found.last().map(|found| found.0),
        );
        // Without events the page is a place: the one it was asked for, or the lower end of the range, from where
        // everything that is still to come will be seen.
        let place = from.unwrap_or(lower);
        let (positions, events) = found.into_iter().unzip();
        let forward = Token::Forward(last.map_or(place, Position::after));
        Ok(Page {
            events,
            positions,
            forward,
            backward: Token::Backward(first.unwrap_or(place)),
        })
    }

    /// As [`summarise`].
    pub fn summary(&self) -> Result<Summary, LogError> {
        summarise(&self.folder)
    }

    fn refresh(&mut self) -> Result<(), LogError> {
        let numbers = segment::numbers(&self.folder).map_err(LogError::io("list", &self.folder))?;
        self.segments.retain(|number, _| numbers.contains(number));
        for number in numbers {
            let path = segment::path(&self.folder, number);
            self.refresh_segment(number, &path)
                .map_err(LogError::io("read", &path))?;
        }
        Ok(())
    }

    fn refresh_segment(&mut self, number: u32, path: &Path) -> io::Result<()> {
        // Deleted with its stream, just now: it is gone from the next listing.
        let Some(metadata) = found(std::fs::metadata(path))? else {
            return Ok(());
        };
        // Cut short after a failed append, or another file under the same number: what we know of it is void.
        let same =
            |known: &Segment| known.inode == metadata.ino() && known.scanned_to <= metadata.len();
        if !self.segments.get(&number).is_some_and(same) {
            self.segments.remove(&number);
        }
        let known = self
            .segments
            .get(&number)
            .map_or(HEADER_BYTES, |segment| segment.scanned_to);
        if metadata.len() <= known {
            return Ok(());
        }
        let Some(file) = found(File::open(path))? else {
            return Ok(());
        };
        if known == HEADER_BYTES
            && matches!(Header::read(&file)?, Opening::Foreign | Opening::Empty)
        {
            return Ok(());
        }
        let inode = file.metadata()?.ino();
        let segment = self.segments.entry(number).or_insert(Segment {
            inode,
            scanned_to: HEADER_BYTES,
            runs: Vec::new(),
        });
        segment.scanned_to =
            segment::scan(&file, segment.scanned_to, |record| segment.add(record))?;
        Ok(())
    }
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn min_bound(a: Option<Position>, b: Option<Position>) -> Option<Position> {
    [a, b].into_iter().flatten().min()
}

/// What is in the stream, from the segments' headers: cheap, however long the stream is.
pub fn summarise(folder: &Path) -> Result<Summary, LogError> {
    let mut whole = Summary::default();
    for number in segment::numbers(folder).map_err(LogError::io("list", folder))? {
        let path = segment::path(folder, number);
        let summary = summarise_segment(&path).map_err(LogError::io("read", &path))?;
        whole.merge(&summary);
    }
    Ok(whole)
}

/// Deletes the segments whose events are all older than `before_ms`, but for those that are being written: what retention
/// asks for, roughly. Readers keep to the exact time with [`Query::start_ms`].
pub fn remove_before(folder: &Path, before_ms: i64) -> Result<(), LogError> {
    for number in segment::numbers(folder).map_err(LogError::io("list", folder))? {
        let path = segment::path(folder, number);
        let summary = summarise_segment(&path).map_err(LogError::io("read", &path))?;
        if summary
            .last_timestamp_ms
            .is_some_and(|last| last < before_ms)
        {
            remove_unless_written(&path).map_err(LogError::io("remove", &path))?;
        }
    }
    Ok(())
}

fn remove_unless_written(path: &Path) -> io::Result<()> {
    let Some(file) = found(File::open(path))? else {
        return Ok(());
    };
    // The lock is held over the removal: a writer that comes now either fails to lock it, or finds it nameless.
    match file.try_lock() {
        Ok(()) => found(std::fs::remove_file(path)).map(drop),
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn summarise_segment(path: &Path) -> io::Result<Summary> {
    let Some(file) = found(File::open(path))? else {
        return Ok(Summary::default());
    };
    let Header { end, mut summary } = match Header::read(&file)? {
        Opening::Header(header) => header,
        Opening::Torn => Header::empty(),
        Opening::Empty | Opening::Foreign => return Ok(Summary::default()),
    };
    segment::scan(&file, end, |record| {
        summary.add(
            record.timestamp_ms,
            record.ingestion_ms,
            record.message_bytes(),
        );
    })?;
    Ok(summary)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Forward,
    Backward,
}

/// One run on its way to be merged.
struct Cursor<'a> {
    segment: u32,
    /// Not read yet; going backward, the last is the next.
    blocks: &'a [Block],
    /// Read, in the direction of the walk.
    events: VecDeque<(Position, LogEvent)>,
}

/// A cursor's place in the order: where its next event stands, or (its block not being read) may stand at the soonest.
struct Turn {
    position: Position,
    way: Way,
    cursor: usize,
}

impl Ord for Turn {
    /// The greatest comes first out of the heap.
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.position.cmp(&other.position);
        let order = if self.way == Way::Forward {
            order.reverse()
        } else {
            order
        };
        order.then(self.cursor.cmp(&other.cursor))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Turn {}

/// Merges the runs in one direction, over the events at `lower` and after, before `upper`.
struct Walk<'a> {
    folder: &'a Path,
    keys: Option<&'a LogKeys>,
    way: Way,
    lower: Position,
    upper: Option<Position>,
    cursors: Vec<Cursor<'a>>,
    turns: BinaryHeap<Turn>,
    files: HashMap<u32, File>,
}

impl<'a> Walk<'a> {
    fn new(reader: &'a Reader, way: Way, lower: Position, upper: Option<Position>) -> Self {
        let (cursors, turns, files) = (Vec::new(), BinaryHeap::new(), HashMap::new());
        let mut walk = Self {
            folder: &reader.folder,
            keys: reader.keys.as_deref(),
            way,
            lower,
            upper,
            cursors,
            turns,
            files,
        };
        for (number, segment) in &reader.segments {
            for run in &segment.runs {
                let blocks = walk.within(&run.blocks, *number);
                walk.cursors.push(Cursor {
                    segment: *number,
                    blocks,
                    events: VecDeque::new(),
                });
                walk.enqueue(walk.cursors.len() - 1);
            }
        }
        walk
    }

    /// The blocks that may hold an event of the range.
    fn within(&self, blocks: &'a [Block], segment: u32) -> &'a [Block] {
        let from = blocks.partition_point(|block| block.last_ms < self.lower.timestamp_ms);
        let to = self.upper.map_or(blocks.len(), |upper| {
            let begins = |block: &Block| Position {
                timestamp_ms: block.first_ms,
                segment,
                offset: block.offset,
            };
            blocks.partition_point(|block| begins(block) < upper)
        });
        blocks.get(from..to).unwrap_or_default()
    }

    fn enqueue(&mut self, index: usize) {
        let Cursor {
            segment,
            blocks,
            events,
        } = &self.cursors[index];
        let segment = *segment;
        let unread = match self.way {
            Way::Forward => blocks.first().map(|block| (block.first_ms, block.offset)),
            Way::Backward => blocks
                .last()
                .map(|block| (block.last_ms, block.offset + block.length as u64)),
        };
        let unread = unread.map(|(timestamp_ms, offset)| Position {
            timestamp_ms,
            segment,
            offset,
        });
        if let Some(position) = events.front().map(|(position, _)| *position).or(unread) {
            self.turns.push(Turn {
                position,
                way: self.way,
                cursor: index,
            });
        }
    }

    fn collect(
        mut self,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<(Position, LogEvent)>, LogError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        while let Some(turn) = self.turns.pop() {
            let Some((_, event)) = self.cursors[turn.cursor].events.front() else {
                self.load(turn.cursor)?;
                self.enqueue(turn.cursor);
                continue;
            };
            bytes += event.message.len() + EVENT_OVERHEAD_BYTES;
            if found.len() >= limit || (bytes > max_bytes && !found.is_empty()) {
                break;
            }
            found.extend(self.cursors[turn.cursor].events.pop_front());
            self.enqueue(turn.cursor);
        }
        Ok(found)
    }

    /// Reads the next block of a cursor.
    fn load(&mut self, index: usize) -> Result<(), LogError> {
        let cursor = &mut self.cursors[index];
        let next = match self.way {
            Way::Forward => cursor.blocks.split_first(),
            Way::Backward => cursor.blocks.split_last(),
        };
        let Some((block, rest)) = next else {
            return Ok(());
        };
        cursor.blocks = rest;
        let segment = cursor.segment;
        let path = segment::path(self.folder, segment);
        let file = match self.files.entry(segment) {
            std::collections::hash_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                let Some(file) = found(File::open(&path)).map_err(LogError::io("open", &path))?
                else {
                    // The stream is being deleted.
                    cursor.blocks = &[];
                    return Ok(());
                };
                place.insert(file)
            }
        };
        let (way, lower, upper) = (self.way, self.lower, self.upper);
        let (folder, keys, mut is_closed) = (self.folder, self.keys, false);
        let events = &mut cursor.events;
        let read = segment::read(file, block.offset, block.length, |record| {
            let position = Position {
                timestamp_ms: record.timestamp_ms,
                segment,
                offset: record.offset,
            };
            if position < lower || upper.is_some_and(|upper| position >= upper) {
                return;
            }
            let Some(event) = record.to_event(folder, keys) else {
                is_closed = true;
                return;
            };
            match way {
                Way::Forward => events.push_back((position, event)),
                Way::Backward => events.push_front((position, event)),
            }
        });
        read.map_err(LogError::io("read", &path))?;
        match is_closed {
            true => Err(LogError::Sealed { path }),
            false => Ok(()),
        }
    }
}
