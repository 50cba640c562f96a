//! A segment file: a header with a summary, then records. Used by the writer and the reader.
//!
//! Header (64 bytes): magic, `end`, the summary of the records before `end`, checksum. It is written now and then and
//! may lag behind the records; what comes after `end` is found by reading on.
//! Record: message length u32 (its top bit: the message is sealed), checksum u32, timestamp i64, ingestion time i64, message. All little-endian. The records
//! end at the first one that is not whole.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::sealing::{LogKeys, SEAL_BYTES};
use super::{LogEvent, MAX_EVENT_BYTES, Summary};

const MAGIC: &[u8; 8] = b"foglog\x00\x01";
pub(super) const HEADER_BYTES: u64 = 64;
pub(super) const RECORD_HEADER_BYTES: usize = 24;
const LARGEST_RECORD_BYTES: usize = RECORD_HEADER_BYTES + MAX_EVENT_BYTES + SEAL_BYTES;
const SEALED: u32 = 1 << 31;

pub(super) fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08}.log"))
}

/// The segments of a folder, in order. No folder: none.
pub(super) fn numbers(folder: &Path) -> io::Result<Vec<u32>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log"))
            .filter(|stem| stem.len() == 8);
        numbers.extend(number.and_then(|stem| stem.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub end: u64,
    pub summary: Summary,
}

/// What the first bytes of a file say.
pub(super) enum Opening {
    Header(Header),
    /// A segment, but its header was caught half written: the records are to be read from the start.
    Torn,
    /// A segment that its writer did not get to begin.
    Empty,
    /// Not a segment of ours.
    Foreign,
}

impl Header {
    pub fn empty() -> Self {
        Self {
            end: HEADER_BYTES,
            summary: Summary::default(),
        }
    }

    pub fn write(&self, file: &File) -> io::Result<()> {
        let mut bytes = [0; HEADER_BYTES as usize];
        bytes[..8].copy_from_slice(MAGIC);
        let Summary {
            events,
            message_bytes,
            ..
        } = self.summary;
        let time = |time: Option<i64>| time.unwrap_or(0).cast_unsigned();
        let fields = [
            self.end,
            events,
            message_bytes,
            time(self.summary.first_timestamp_ms),
            time(self.summary.last_timestamp_ms),
            time(self.summary.last_ingestion_ms),
        ];
        for (field, place) in fields.iter().zip(bytes[8..56].chunks_exact_mut(8)) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        let sum = checksum(&[&bytes[..56]]);
        bytes[56..60].copy_from_slice(&sum.to_le_bytes());
        file.write_all_at(&bytes, 0)
    }

    pub fn read(file: &File) -> io::Result<Opening> {
        let mut bytes = [0; HEADER_BYTES as usize];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Opening::Empty);
            }
            Err(error) => return Err(error),
        }
        if &bytes[..8] != MAGIC {
            return Ok(Opening::Foreign);
        }
        let field = |index: usize| u64_at(&bytes, 8 + 8 * index);
        if checksum(&[&bytes[..56]]) != u32_at(&bytes, 56) || field(0) < HEADER_BYTES {
            return Ok(Opening::Torn);
        }
        let time = |index: usize| (field(1) > 0).then(|| field(index).cast_signed());
        let summary = Summary {
            events: field(1),
            message_bytes: field(2),
            first_timestamp_ms: time(3),
            last_timestamp_ms: time(4),
            last_ingestion_ms: time(5),
        };
        Ok(Opening::Header(Self {
            end: field(0),
            summary,
        }))
    }
}

pub(super) fn encode(timestamp_ms: i64, ingestion_ms: i64, message: &[u8], out: &mut Vec<u8>) {
    encode_record(timestamp_ms, ingestion_ms, message, 0, out);
}

/// The same for a message that is sealed.
pub(super) fn encode_sealed(
    timestamp_ms: i64,
    ingestion_ms: i64,
    message: &[u8],
    out: &mut Vec<u8>,
) {
    encode_record(timestamp_ms, ingestion_ms, message, SEALED, out);
}

fn encode_record(
    timestamp_ms: i64,
    ingestion_ms: i64,
    message: &[u8],
    flag: u32,
    out: &mut Vec<u8>,
) {
    // Checked by the writer to be within MAX_EVENT_BYTES.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX) | flag;
    let (timestamp, ingestion) = (timestamp_ms.to_le_bytes(), ingestion_ms.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(&[&timestamp, &ingestion, message]).to_le_bytes());
    out.extend_from_slice(&timestamp);
    out.extend_from_slice(&ingestion);
    out.extend_from_slice(message);
}

/// A record where it lies.
pub(super) struct Record<'a> {
    pub offset: u64,
    pub timestamp_ms: i64,
    pub ingestion_ms: i64,
    /// Sealed, if `is_sealed`.
    pub message: &'a [u8],
    pub is_sealed: bool,
}

impl Record<'_> {
    pub fn length(&self) -> usize {
        RECORD_HEADER_BYTES + self.message.len()
    }

    /// Of the message as it was given.
    pub fn message_bytes(&self) -> usize {
        match self.is_sealed {
            true => self.message.len().saturating_sub(SEAL_BYTES),
            false => self.message.len(),
        }
    }

    /// None: it is sealed, and the keys do not open it.
    pub fn to_event(&self, folder: &Path, keys: Option<&LogKeys>) -> Option<LogEvent> {
        let message = match self.is_sealed {
            true => keys?.open(folder, self.timestamp_ms, self.message)?,
            false => self.message.to_vec(),
        };
        Some(LogEvent {
            timestamp_ms: self.timestamp_ms,
            ingestion_ms: self.ingestion_ms,
            message,
        })
    }
}

/// The record at the start of `bytes`; `None` if it is not whole.
fn decode(bytes: &[u8], offset: u64) -> Option<Record<'_>> {
    let header = bytes.get(..RECORD_HEADER_BYTES)?;
    let is_sealed = u32_at(header, 0) & SEALED != 0;
    let length = (u32_at(header, 0) & !SEALED) as usize;
    if length > MAX_EVENT_BYTES + if is_sealed { SEAL_BYTES } else { 0 } {
        return None;
    }
    let message = bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + length)?;
    if checksum(&[&header[8..], message]) != u32_at(header, 4) {
        return None;
    }
    let (timestamp_ms, ingestion_ms) = (
        u64_at(header, 8).cast_signed(),
        u64_at(header, 16).cast_signed(),
    );
    Some(Record {
        offset,
        timestamp_ms,
        ingestion_ms,
        message,
        is_sealed,
    })
}

/// Visits the whole records from `from` on, and answers where they end.
pub(super) fn scan(file: &File, from: u64, mut visit: impl FnMut(&Record<'_>)) -> io::Result<u64> {
    scan_while(file, from, |record| {
        visit(record);
        true
    })
}

/// The same until a visit answers that it has enough; where the next record begins.
pub(super) fn scan_while(
    file: &File,
    from: u64,
    mut visit: impl FnMut(&Record<'_>) -> bool,
) -> io::Result<u64> {
    const CHUNK_BYTES: usize = 256 << 10;
    let mut buffer = Vec::new();
    // `buffer` holds the file from `at` on.
    let mut at = from;
    loop {
        let had = buffer.len();
        buffer.resize(had + CHUNK_BYTES, 0);
        let got = file.read_at(&mut buffer[had..], at + had as u64)?;
        buffer.truncate(had + got);
        let mut done = 0;
        while let Some(record) = decode(&buffer[done..], at + done as u64) {
            done += record.length();
            if !visit(&record) {
                return Ok(at + done as u64);
            }
        }
        buffer.drain(..done);
        at += done as u64;
        // At the end of the file, or at a record that will not get whole by reading on.
        if got == 0 || buffer.len() >= LARGEST_RECORD_BYTES {
            return Ok(at);
        }
    }
}

/// Visits the records of a part of the file that is known to hold whole ones only.
pub(super) fn read(
    file: &File,
    from: u64,
    length: usize,
    mut visit: impl FnMut(&Record<'_>),
) -> io::Result<()> {
    let mut buffer = vec![0; length];
    file.read_exact_at(&mut buffer, from)?;
    let mut done = 0;
    while let Some(record) = decode(&buffer[done..], from + done as u64) {
        visit(&record);
        done += record.length();
    }
    if done == length {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a record has changed",
        ))
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// CRC-32 (IEEE). Sixteen zero bytes do not sum to zero, so a hole in a file is no record.
fn checksum(parts: &[&[u8]]) -> u32 {
    let mut sum = u32::MAX;
    for byte in parts.iter().copied().flatten() {
        sum = CRC_TABLE[((sum ^ u32::from(*byte)) & 0xff) as usize] ^ (sum >> 8);
    }
    !sum
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut sum = index as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 {
                0xedb8_8320 ^ (sum >> 1)
            } else {
                sum >> 1
            };
            bit += 1;
        }
        table[index] = sum;
        index += 1;
    }
    table
};
