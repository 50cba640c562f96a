//! The writing end of a log stream: the shim's, and `control`'s for PutLogEvents.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::sealing::Sealer;
use super::segment::{self, Header, Opening};
use super::{LogError, MAX_EVENT_BYTES};

/// A segment that has got this large is left for a new one.
const SEGMENT_BYTES: u64 = 16 << 20;
/// How far the header may lag behind: a summary reads at most this much of a segment.
const HEADER_LAG_BYTES: u64 = 64 << 10;

/// Appends to a log stream, one system call an append. Holds the lock on the segment it writes.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    segment_bytes: u64,
    path: PathBuf,
    file: File,
    header: Header,
    /// The `end` that the header in the file tells.
    header_end: u64,
    buffer: Vec<u8>,
    sealer: Option<Arc<Sealer>>,
}

impl Writer {
    /// Makes the folder if need be. Goes on in a segment that nobody writes, after cutting off what a killed writer
    /// left half done.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        Self::with_segments_of(folder, SEGMENT_BYTES)
    }

    pub(super) fn with_segments_of(folder: &Path, segment_bytes: u64) -> Result<Self, LogError> {
        std::fs::create_dir_all(folder).map_err(LogError::io("create", folder))?;
        let (path, file, header) = claim(folder, segment_bytes)?;
        let header_end = header.end;
        Ok(Self {
            folder: folder.to_owned(),
            segment_bytes,
            path,
            file,
            header,
            header_end,
            buffer: Vec::new(),
            sealer: None,
        })
    }

    /// Appends one event. If it fails (a full disk), nothing of it is seen, and a later append may succeed.
    pub fn append(
        &mut self,
        timestamp_ms: i64,
        ingestion_ms: i64,
        message: &[u8],
    ) -> Result<(), LogError> {
        self.append_all(ingestion_ms, [(timestamp_ms, message)])
    }

    /// Appends events that came together: all of them or, if it fails, none.
    pub fn append_all<'a>(
        &mut self,
        ingestion_ms: i64,
        events: impl IntoIterator<Item = (i64, &'a [u8])>,
    ) -> Result<(), LogError> {
        let sealed = |error| LogError::io("seal events of", &self.folder)(error);
        self.sealer = Sealer::of(&self.folder, self.sealer.as_ref()).map_err(sealed)?;
        let mut summary = self.header.summary;
        self.buffer.clear();
        for (timestamp_ms, message) in events {
            if message.len() > MAX_EVENT_BYTES {
                return Err(LogError::TooLarge {
                    size: message.len(),
                    limit: MAX_EVENT_BYTES,
                });
            }
            match &self.sealer {
                None => segment::encode(timestamp_ms, ingestion_ms, message, &mut self.buffer),
                Some(sealer) => {
                    let message = sealer.seal(timestamp_ms, message).map_err(sealed)?;
                    segment::encode_sealed(timestamp_ms, ingestion_ms, &message, &mut self.buffer);
                }
            }
            summary.add(timestamp_ms, ingestion_ms, message.len());
        }
        if let Err(error) = self.file.write_all_at(&self.buffer, self.header.end) {
            // A part may be there. If it cannot be cut off, it is overwritten, or is a torn end like any other... but a
            // whole event among several must not be seen.
            let _ = self.file.set_len(self.header.end);
            return Err(LogError::io("append to", &self.path)(error));
        }
        self.header = Header {
            end: self.header.end + self.buffer.len() as u64,
            summary,
        };
        // A burst must not leave its buffer behind for the life of the task.
        self.buffer.shrink_to(64 << 10);
        if self.header.end - self.header_end >= HEADER_LAG_BYTES {
            self.write_header();
        }
        if self.header.end >= self.segment_bytes {
            self.roll()?;
        }
        Ok(())
    }

    fn write_header(&mut self) {
        // A lagging header costs a little time, and nothing else.
        if self.header.write(&self.file).is_ok() {
            self.header_end = self.header.end;
        }
    }

    fn let_go(&mut self) {
        self.write_header();
        // Closing is not enough: a process being forked off right now has the file too, until it runs its program.
        let _ = self.file.unlock();
    }

    fn roll(&mut self) -> Result<(), LogError> {
        match claim(&self.folder, self.segment_bytes) {
            Ok((path, file, header)) => {
                self.let_go();
                (self.path, self.file, self.header, self.header_end) =
                    (path, file, header, header.end);
                Ok(())
            }
            // The events are written. A segment too long is better than none.
            Err(error) => {
                tracing::warn!(%error, "no new segment for a log stream; going on in the old one");
                Ok(())
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// A segment for this writer alone: one that nobody has locked and that is not full, or a new one.
fn claim(folder: &Path, segment_bytes: u64) -> Result<(PathBuf, File, Header), LogError> {
    let numbers = segment::numbers(folder).map_err(LogError::io("list", folder))?;
    for number in numbers.iter().rev() {
        let path = segment::path(folder, *number);
        if std::fs::metadata(&path).is_ok_and(|found| found.len() < segment_bytes)
            && let Some((file, header)) = take_over(&path)?
        {
            return Ok((path, file, header));
        }
    }
    let mut number = numbers.last().map_or(1, |last| last + 1);
    loop {
        let path = segment::path(folder, number);
        match OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
        {
            Ok(_) => {
                // Opened anew by the usual way, since somebody else may be about to take it over.
                if let Some((file, header)) = take_over(&path)? {
                    return Ok((path, file, header));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(LogError::io("create", &path)(error)),
        }
        number += 1;
    }
}

/// `None` if somebody else has it or it is not a segment.
fn take_over(path: &Path) -> Result<Option<(File, Header)>, LogError> {
    let failed = |operation| LogError::io(operation, path);
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        // Deleted with its stream, just now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open")(error)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(failed("lock")(error)),
    }
    // Removed between our opening and our lock: what we wrote there nobody would see.
    if file.metadata().map_err(failed("look at"))?.nlink() == 0 {
        return Ok(None);
    }
    let mut header = match Header::read(&file).map_err(failed("read"))? {
        Opening::Header(header) => header,
        Opening::Torn | Opening::Empty => Header::empty(),
        Opening::Foreign => return Ok(None),
    };
    let summary = &mut header.summary;
    let end = segment::scan(&file, header.end, |record| {
        summary.add(
            record.timestamp_ms,
            record.ingestion_ms,
            record.message_bytes(),
        );
    });
    header.end = end.map_err(failed("read"))?;
    file.set_len(header.end).map_err(failed("truncate"))?;
    header.write(&file).map_err(failed("write"))?;
    Ok(Some((file, header)))
}
