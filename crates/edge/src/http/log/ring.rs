//! Takes lines without waiting and hands them to the writer's thread in chunks. Used by the worker and its
//! connections; `writer` is the other end.
//!
//! Room is bounded: a chunk that the writer is too slow for is dropped with its lines, and counted.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use super::line::{Place, write_access, write_connection, write_health_check};
use super::record::{ConnectionRecord, HealthCheckRecord, LogRecord};
use super::writer::{self, Destination};
use crate::http::lock;
use crate::http::table::Table;

/// A line is far shorter; a chunk goes to the writer when it has this much.
const CHUNK_BYTES: usize = 32 * 1024;
/// With the chunk being filled, 4 MB at most for each node.
const CHUNKS_WAITING: usize = 128;

/// The logs of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Access,
    Connection,
    HealthCheck,
}

impl Stream {
    pub const ALL: [Self; 3] = [Self::Access, Self::Connection, Self::HealthCheck];
}

/// Lines on their way to one place.
#[derive(Debug)]
pub struct Chunk {
    pub stream: Stream,
    pub destination: Arc<Destination>,
    pub bytes: Vec<u8>,
    pub lines: u64,
}

/// Where connections put their lines.
#[derive(Debug, Default)]
pub struct Logs {
    home: Option<Home>,
    ring: OnceLock<Ring>,
    dropped: Arc<AtomicU64>,
}

/// Where the files are.
#[derive(Clone, Debug)]
pub struct Home {
    /// `<data>`
    pub data_folder: PathBuf,
    /// The interface's id.
    pub eni: String,
}

#[derive(Debug)]
struct Ring {
    filling: Mutex<Filling>,
    /// Lines have gone when this says so.
    done: Mutex<Option<Receiver<()>>>,
}

#[derive(Debug)]
struct Filling {
    streams: [Option<Chunk>; 3],
    /// None: finished.
    full: Option<SyncSender<Chunk>>,
    /// Used memory comes back.
    empty: Receiver<Vec<u8>>,
}

impl Logs {
    pub fn new(home: Home) -> Self {
        Self {
            home: Some(home),
            ..Self::default()
        }
    }

    /// Whether anything can be written at all.
    pub fn has_home(&self) -> bool {
        self.home.is_some()
    }

    /// From now on lines go where this table says. Starts the writer with the first log.
    pub fn configure(&self, table: &Table) {
        let Some(home) = &self.home else { return };
        let wanted = Stream::ALL.map(|stream| Destination::of(table, stream, home));
        if wanted.iter().all(Option::is_none) && self.ring.get().is_none() {
            return;
        }
        let ring = self.ring.get_or_init(|| start(home, self.dropped.clone()));
        let mut filling = lock(&ring.filling);
        for (stream, wanted) in Stream::ALL.into_iter().zip(wanted) {
            let same = match (&filling.streams[stream as usize], &wanted) {
                (Some(chunk), Some(wanted)) => *chunk.destination == *wanted,
                (None, None) => true,
                _ => false,
            };
            if same {
                continue;
            }
            self.send(&mut filling, stream);
            filling.streams[stream as usize] = wanted.map(|destination| Chunk {
                stream,
                destination: Arc::new(destination),
                bytes: Vec::new(),
                lines: 0,
            });
            // Empty: the writer learns of the place.
            self.send(&mut filling, stream);
        }
    }

    /// A request is over.
    pub fn access(&self, record: &LogRecord, place: &Place<'_>) {
        if record.is_on() {
            let now = SystemTime::now();
            self.write(Stream::Access, |out| write_access(out, record, place, now));
        }
    }

    /// A connection is established, or its handshake has failed.
    pub fn connection(&self, place: &Place<'_>, record: &ConnectionRecord) {
        self.write(Stream::Connection, |out| {
            write_connection(out, place, record, SystemTime::now());
        });
    }

    pub fn health_check(
        &self,
        check: &HealthCheckRecord<'_>,
        load_balancer: &str,
        node: Option<IpAddr>,
    ) {
        self.write(Stream::HealthCheck, |out| {
            write_health_check(out, check, load_balancer, node);
        });
    }

    /// Adds a line, if the log is on.
    fn write(&self, stream: Stream, line: impl FnOnce(&mut Vec<u8>)) {
        let Some(ring) = self.ring.get() else { return };
        let mut filling = lock(&ring.filling);
        let Some(chunk) = &mut filling.streams[stream as usize] else {
            return;
        };
        line(&mut chunk.bytes);
        chunk.lines += 1;
        if chunk.bytes.len() >= CHUNK_BYTES {
            self.send(&mut filling, stream);
        }
    }

    /// Every second or so: lines of quiet nodes go on, too.
    pub fn flush(&self) {
        let Some(ring) = self.ring.get() else { return };
        let mut filling = lock(&ring.filling);
        for stream in Stream::ALL {
            if filling.streams[stream as usize]
                .as_ref()
                .is_some_and(|chunk| chunk.lines > 0)
            {
                self.send(&mut filling, stream);
            }
        }
    }

    /// Lines that found no room or could not be written.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Delivers all that is there. Blocks as long as the disk takes, but no longer than this.
    pub fn finish(&self, patience: Duration) {
        let Some(ring) = self.ring.get() else { return };
        self.flush();
        lock(&ring.filling).full = None;
        if let Some(done) = lock(&ring.done).take()
            && done.recv_timeout(patience) == Err(RecvTimeoutError::Timeout)
        {
            tracing::warn!("log files are still being written at the end");
        }
    }

    fn send(&self, filling: &mut Filling, stream: Stream) {
        let Some(chunk) = &mut filling.streams[stream as usize] else {
            return;
        };
        let spare = filling.empty.try_recv();
        let spare = spare.unwrap_or_else(|_| Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4));
        let full = Chunk {
            stream,
            destination: chunk.destination.clone(),
            bytes: std::mem::replace(&mut chunk.bytes, spare),
            lines: std::mem::take(&mut chunk.lines),
        };
        let lost = match filling.full.as_ref().map(|sender| sender.try_send(full)) {
            Some(Ok(())) => return,
            Some(Err(TrySendError::Full(chunk) | TrySendError::Disconnected(chunk))) => chunk.lines,
            None => 0,
        };
        self.dropped.fetch_add(lost, Ordering::Relaxed);
    }
}

fn start(home: &Home, dropped: Arc<AtomicU64>) -> Ring {
    let (full, chunks) = sync_channel(CHUNKS_WAITING);
    let (used, empty) = sync_channel(CHUNKS_WAITING);
    let (finished, done) = sync_channel(1);
    let home = home.clone();
    let spawned = std::thread::Builder::new()
        .name("log-writer".to_owned())
        .spawn(move || {
            writer::run(&home, &chunks, &used, &dropped);
            // Whoever waited may have gone.
            let _ = finished.send(());
        });
    if let Err(error) = spawned {
        // Its end of the channel is gone: lines are dropped and counted.
        tracing::error!(%error, "no thread for log files");
    }
    Ring {
        filling: Mutex::new(Filling {
            streams: [const { None }; 3],
            full: Some(full),
            empty,
        }),
        done: Mutex::new(Some(done)),
    }
}
