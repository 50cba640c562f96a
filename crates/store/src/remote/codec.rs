//! Frames on the socket, written by hand: `length u32 | id u64 | kind u8 | payload`, integers little-endian, strings and
//! values with a length before them. Both ends are the same binary, so there is a magic word but no negotiation.
//! Used by the server and the client.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::error::{Result, StoreError};
use crate::row::{Batch, Compare, Entry, Event, LeaseId, Op, Revision, Txn, TxnOutcome};

/// What a client sends before its first frame; the last byte is the version of the frames.
pub(super) const MAGIC: &[u8; 8] = b"fogbank\x01";
/// The largest frame either side takes. The largest transaction is well under it.
pub(super) const MAX_FRAME_BYTES: usize = 16 << 20;
/// A list is cut into parts of about this size.
pub(super) const LIST_PART_BYTES: usize = 1 << 20;

#[derive(Debug, PartialEq)]
pub(super) enum Request {
    Get {
        key: String,
    },
    List {
        prefix: String,
    },
    Txn(Txn),
    Grant {
        ttl_ms: u64,
    },
    KeepAlive(LeaseId),
    Revoke(LeaseId),
    /// Turns the connection into a stream of batches.
    Watch {
        after: Revision,
    },
}

#[derive(Debug)]
pub(super) enum Reply {
    Failed(StoreError),
    Entry(Option<Entry>),
    /// `more` says that another part of the same view follows.
    List {
        entries: Vec<Entry>,
        revision: Revision,
        more: bool,
    },
    Outcome(TxnOutcome),
    Granted(LeaseId),
    Done,
    Batch(Batch),
}

/// A frame that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {0} bytes")]
    Length(usize),
    #[error("a frame of unknown kind {0}")]
    Kind(u8),
    #[error("a frame that ends early or has bytes to spare")]
    Payload,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Takes one whole frame out of `buffer`, reading as needed; `None` at a clean end. Safe to cancel: what has been read
/// stays in `buffer`.
pub(super) async fn read_frame(
    from: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> std::result::Result<Option<Bytes>, FrameError> {
    loop {
        if let Some(head) = buffer.first_chunk::<4>() {
            let length = u32::from_le_bytes(*head) as usize;
            if !(9..=MAX_FRAME_BYTES).contains(&length) {
                return Err(FrameError::Length(length));
            }
            if buffer.len() >= 4 + length {
                buffer.advance(4);
                return Ok(Some(buffer.split_to(length).freeze()));
            }
            // Grows with what has come, not with what was announced.
            buffer.reserve((4 + length - buffer.len()).min(256 << 10));
        } else {
            buffer.reserve(16 << 10);
        }
        if from.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() {
                Ok(None)
            } else {
                Err(FrameError::Payload)
            };
        }
    }
}

pub(super) fn encode_request(id: u64, request: &Request) -> Bytes {
    let mut out = Out::new(id);
    match request {
        Request::Get { key } => out.kind(1).text(key),
        Request::List { prefix } => out.kind(2).text(prefix),
        Request::Txn(txn) => out.kind(3).txn(txn),
        Request::Grant { ttl_ms } => out.kind(4).u64(*ttl_ms),
        Request::KeepAlive(lease) => out.kind(5).u64(lease.0),
        Request::Revoke(lease) => out.kind(6).u64(lease.0),
        Request::Watch { after } => out.kind(7).u64(*after),
    };
    out.finish()
}

pub(super) fn decode_request(frame: Bytes) -> std::result::Result<(u64, Request), FrameError> {
    let mut frame = In(frame);
    let id = frame.u64()?;
    let request = match frame.u8()? {
        1 => Request::Get { key: frame.text()? },
        2 => Request::List {
            prefix: frame.text()?,
        },
        3 => Request::Txn(frame.txn()?),
        4 => Request::Grant {
            ttl_ms: frame.u64()?,
        },
        5 => Request::KeepAlive(LeaseId(frame.u64()?)),
        6 => Request::Revoke(LeaseId(frame.u64()?)),
        7 => Request::Watch {
            after: frame.u64()?,
        },
        kind => return Err(FrameError::Kind(kind)),
    };
    frame.end()?;
    Ok((id, request))
}

pub(super) fn encode_reply(id: u64, reply: &Reply) -> Bytes {
    let mut out = Out::new(id);
    match reply {
        Reply::Failed(error) => out.kind(1).error(error),
        Reply::Entry(None) => out.kind(2).u8(0),
        Reply::Entry(Some(entry)) => out.kind(2).u8(1).entry(entry),
        Reply::List {
            entries,
            revision,
            more,
        } => {
            out.kind(3)
                .u64(*revision)
                .u8(u8::from(*more))
                .count(entries.len());
            for entry in entries {
                out.entry(entry);
            }
            &mut out
        }
        Reply::Outcome(TxnOutcome::Committed(revision)) => out.kind(4).u8(0).u64(*revision),
        Reply::Outcome(TxnOutcome::Conflict { key }) => out.kind(4).u8(1).text(key),
        Reply::Granted(lease) => out.kind(5).u64(lease.0),
        Reply::Done => out.kind(6),
        Reply::Batch(batch) => {
            out.kind(7).u64(batch.revision).count(batch.events.len());
            for event in &batch.events {
                out.text(&event.key)
                    .optional(event.value.as_deref(), Out::bytes);
            }
            &mut out
        }
    };
    out.finish()
}

pub(super) fn decode_reply(frame: Bytes) -> std::result::Result<(u64, Reply), FrameError> {
    let mut frame = In(frame);
    let id = frame.u64()?;
    let reply = match frame.u8()? {
        1 => Reply::Failed(frame.error()?),
        2 => Reply::Entry(frame.optional(In::entry)?),
        3 => {
            let revision = frame.u64()?;
            let more = frame.u8()? != 0;
            Reply::List {
                entries: frame.many(In::entry)?,
                revision,
                more,
            }
        }
        4 => Reply::Outcome(match frame.u8()? {
            0 => TxnOutcome::Committed(frame.u64()?),
            _ => TxnOutcome::Conflict { key: frame.text()? },
        }),
        5 => Reply::Granted(LeaseId(frame.u64()?)),
        6 => Reply::Done,
        7 => {
            let revision = frame.u64()?;
            let event = |frame: &mut In| {
                Ok(Event {
                    key: frame.text()?,
                    value: frame.optional(In::value)?,
                })
            };
            Reply::Batch(Batch {
                revision,
                events: frame.many(event)?,
            })
        }
        kind => return Err(FrameError::Kind(kind)),
    };
    frame.end()?;
    Ok((id, reply))
}

/// The frame being written; its length is filled in at the end.
struct Out(BytesMut);

impl Out {
    fn new(id: u64) -> Self {
        let mut out = BytesMut::with_capacity(128);
        out.put_u32_le(0);
        out.put_u64_le(id);
        Self(out)
    }

    fn finish(mut self) -> Bytes {
        let length =
            u32::try_from(self.0.len() - 4).expect("rows and transactions are limited in size");
        self.0[..4].copy_from_slice(&length.to_le_bytes());
        self.0.freeze()
    }

    fn kind(&mut self, kind: u8) -> &mut Self {
        self.u8(kind)
    }

    fn u8(&mut self, value: u8) -> &mut Self {
        self.0.put_u8(value);
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.put_u64_le(value);
        self
    }

    fn count(&mut self, count: usize) -> &mut Self {
        self.0
            .put_u32_le(u32::try_from(count).expect("rows and transactions are limited in size"));
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.count(bytes.len());
        self.0.put_slice(bytes);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn optional<T>(
        &mut self,
        value: Option<T>,
        put: impl FnOnce(&mut Self, T) -> &mut Self,
    ) -> &mut Self {
        match value {
            None => self.u8(0),
            Some(value) => put(self.u8(1), value),
        }
    }

    fn lease(&mut self, lease: Option<LeaseId>) -> &mut Self {
        self.u64(lease.map_or(0, |lease| lease.0))
    }

    fn entry(&mut self, entry: &Entry) -> &mut Self {
        self.text(&entry.key)
            .bytes(&entry.value)
            .u64(entry.revision)
            .lease(entry.lease)
    }

    fn txn(&mut self, txn: &Txn) -> &mut Self {
        self.count(txn.compare.len());
        for compare in &txn.compare {
            match compare {
                Compare::Absent { key } => self.u8(0).text(key),
                Compare::Unchanged { key, revision } => self.u8(1).text(key).u64(*revision),
            };
        }
        self.count(txn.ops.len());
        for op in &txn.ops {
            match op {
                Op::Put { key, value, lease } => self.u8(0).text(key).bytes(value).lease(*lease),
                Op::Delete { key } => self.u8(1).text(key),
            };
        }
        self
    }

    fn error(&mut self, error: &StoreError) -> &mut Self {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        match error {
            StoreError::Compacted { after, oldest } => self.u8(1).u64(*after).u64(*oldest),
            StoreError::Unavailable { path: at, reason } => self.u8(2).text(&path(at)).text(reason),
            StoreError::LeaseNotFound(lease) => self.u8(3).u64(lease.0),
            StoreError::EmptyKey => self.u8(4),
            StoreError::TooLarge { what, size, limit } => {
                self.u8(5).text(what).u64(*size as u64).u64(*limit as u64)
            }
            StoreError::Locked { path: at } => self.u8(6).text(&path(at)),
            // The key is met when the store is opened, before there is a socket.
            StoreError::Corrupt { path: at, detail } | StoreError::Key { path: at, detail } => {
                self.u8(7).text(&path(at)).text(detail)
            }
            StoreError::Io {
                operation,
                path: at,
                source,
            } => {
                let code = source.raw_os_error().unwrap_or(0);
                self.u8(8)
                    .text(operation)
                    .text(&path(at))
                    .u64(u64::from(code.unsigned_abs()));
                self.text(&source.to_string())
            }
        }
    }
}

/// The frame being read.
struct In(Bytes);

type Taken<T> = std::result::Result<T, FrameError>;

impl In {
    fn end(&self) -> Taken<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(FrameError::Payload)
        }
    }

    fn u8(&mut self) -> Taken<u8> {
        self.0.try_get_u8().map_err(|_| FrameError::Payload)
    }

    fn u64(&mut self) -> Taken<u64> {
        self.0.try_get_u64_le().map_err(|_| FrameError::Payload)
    }

    fn bytes(&mut self) -> Taken<Bytes> {
        let length = self.0.try_get_u32_le().map_err(|_| FrameError::Payload)? as usize;
        if length > self.0.len() {
            return Err(FrameError::Payload);
        }
        Ok(self.0.split_to(length))
    }

    fn text(&mut self) -> Taken<String> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| FrameError::Payload)
    }

    fn value(&mut self) -> Taken<Arc<[u8]>> {
        Ok(Arc::from(&self.bytes()?[..]))
    }

    fn optional<T>(&mut self, take: impl FnOnce(&mut Self) -> Taken<T>) -> Taken<Option<T>> {
        if self.u8()? == 0 {
            Ok(None)
        } else {
            take(self).map(Some)
        }
    }

    fn many<T>(&mut self, mut take: impl FnMut(&mut Self) -> Taken<T>) -> Taken<Vec<T>> {
        let count = self.0.try_get_u32_le().map_err(|_| FrameError::Payload)? as usize;
        // No item is smaller than five bytes: a count that the frame cannot hold must not reserve memory.
        if count > self.0.len() / 5 {
            return Err(FrameError::Payload);
        }
        (0..count).map(|_| take(self)).collect()
    }

    fn lease(&mut self) -> Taken<Option<LeaseId>> {
        let id = self.u64()?;
        Ok((id != 0).then_some(LeaseId(id)))
    }

    fn entry(&mut self) -> Taken<Entry> {
        Ok(Entry {
            key: self.text()?,
            value: self.value()?,
            revision: self.u64()?,
            lease: self.lease()?,
        })
    }

    fn txn(&mut self) -> Taken<Txn> {
        let compare = self.many(|frame| match frame.u8()? {
            0 => Ok(Compare::Absent { key: frame.text()? }),
            1 => Ok(Compare::Unchanged {
                key: frame.text()?,
                revision: frame.u64()?,
            }),
            kind => Err(FrameError::Kind(kind)),
        })?;
        let ops = self.many(|frame| match frame.u8()? {
            0 => Ok(Op::Put {
                key: frame.text()?,
                value: frame.value()?,
                lease: frame.lease()?,
            }),
            1 => Ok(Op::Delete { key: frame.text()? }),
            kind => Err(FrameError::Kind(kind)),
        })?;
        Ok(Txn { compare, ops })
    }

    fn path(&mut self) -> Taken<PathBuf> {
        self.text().map(PathBuf::from)
    }

    fn size(&mut self) -> Taken<usize> {
        usize::try_from(self.u64()?).map_err(|_| FrameError::Payload)
    }

    fn error(&mut self) -> Taken<StoreError> {
        Ok(match self.u8()? {
            1 => StoreError::Compacted {
                after: self.u64()?,
                oldest: self.u64()?,
            },
            2 => StoreError::Unavailable {
                path: self.path()?,
                reason: self.text()?,
            },
            3 => StoreError::LeaseNotFound(LeaseId(self.u64()?)),
            4 => StoreError::EmptyKey,
            5 => StoreError::TooLarge {
                what: self.what()?,
                size: self.size()?,
                limit: self.size()?,
            },
            6 => StoreError::Locked { path: self.path()? },
            7 => StoreError::Corrupt {
                path: self.path()?,
                detail: self.text()?,
            },
            8 => {
                let (operation, path) = (self.text()?, self.path()?);
                let code = i32::try_from(self.u64()?).map_err(|_| FrameError::Payload)?;
                let text = self.text()?;
                let source = if code == 0 {
                    io::Error::other(text)
                } else {
                    io::Error::from_raw_os_error(code)
                };
                StoreError::Io {
                    operation: operation.into(),
                    path,
                    source: Arc::new(source),
                }
            }
            kind => return Err(FrameError::Kind(kind)),
        })
    }

    fn what(&mut self) -> Taken<&'static str> {
        let text = self.text()?;
        Ok(["key", "value", "transaction"]
            .into_iter()
            .find(|what| *what == text)
            .unwrap_or("request"))
    }
}

/// What a call fails with when its answer is not one to its question: the peer is not a store of ours.
pub(super) fn unexpected(path: &Path) -> StoreError {
    StoreError::unavailable(path, "it gave an answer to another question")
}

/// A reply as the outcome of a call that has nothing to say.
pub(super) fn done(path: &Path, reply: Reply) -> Result<()> {
    match reply {
        Reply::Done => Ok(()),
        Reply::Failed(error) => Err(error),
        _ => Err(unexpected(path)),
    }
}
