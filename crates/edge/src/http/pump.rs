//! Moves one message: a head that is ready, then a body as it comes, never more of it in memory than one
//! buffer. What is read waits until what is written has gone, so a slow reader slows its writer down.
//! Used by `exchange`.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::body::{Body, BodyError};
use super::buffer::{Buffer, Buffers};

/// The rest of a body from which on a large buffer is worth having.
const LARGE_BODY_BYTES: u64 = 16 * 1024;

/// From here on a rest of known length is left to `splice`, if it can be.
const SPLICED_BYTES: u64 = 64 * 1024;

/// Why a message could not be moved to its end.
#[derive(Debug)]
pub enum PumpError {
    /// The side it comes from failed or ended before the message did.
    Source,
    /// The side it goes to failed.
    Sink,
    /// The framing is wrong.
    Framing(BodyError),
}

/// One message on its way. The piece under way is head, chunk size, payload, suffix: written in one call.
#[derive(Debug)]
pub struct Pump {
    pub head: Vec<u8>,
    body: Body,
    /// The body goes out in chunks.
    chunked: bool,
    size_line: [u8; 18],
    size_length: usize,
    /// In the source's buffer.
    payload: Range<usize>,
    suffix: &'static [u8],
    /// How much of the piece is written.
    sent: usize,
    /// The sink holds nothing back of what is written.
    flushed: bool,
    /// The piece under way is the last.
    ended: bool,
    /// Nothing was read from the source since the start: the message can be sent once more.
    replay: Option<Range<usize>>,
    pub moved_bytes: u64,
    /// Taken from the source, framing included; the head is not part of it.
    pub taken_bytes: u64,
    /// `poll` comes back, not done, before it would read the rest of a large body.
    pub stops_before_large: bool,
}

impl Pump {
    /// `head` goes first; what of the body is in `source` already goes with it.
    pub fn start(
        head: Vec<u8>,
        body: Body,
        chunked: bool,
        source: &mut Buffer,
    ) -> Result<Self, BodyError> {
        let mut pump = Self {
            head,
            body,
            chunked,
            size_line: [0; 18],
            size_length: 0,
            payload: 0..0,
            suffix: b"",
            sent: 0,
            flushed: true,
            ended: false,
            replay: None,
            moved_bytes: 0,
            taken_bytes: 0,
            stops_before_large: false,
        };
        pump.take(source)?;
        if pump.ended {
            pump.replay = Some(pump.payload.clone());
        }
        Ok(pump)
    }

    pub fn is_done(&self) -> bool {
        self.ended && self.sent == self.piece_length() && self.flushed
    }

    /// The message needed nothing that was not there at the start.
    pub fn is_whole(&self) -> bool {
        self.replay.is_some()
    }

    /// All that came is sent, and it was not the end.
    pub fn waits_for_source(&self) -> bool {
        !self.ended && self.sent == self.piece_length()
    }

    pub fn was_written(&self) -> bool {
        self.sent > 0
    }

    /// Prepares to send all again; false if part of it is gone.
    pub fn rewind(&mut self) -> bool {
        if self.sent == 0 {
            return true;
        }
        match self.replay.clone() {
            // The suffix and size of a message that stood in the buffer whole are still set.
            Some(payload) => {
                self.payload = payload;
                self.sent = 0;
                true
            }
            None => false,
        }
    }

    /// Moves until the message is through, or one side has to be waited for. `progress` is set when bytes moved.
    pub fn poll<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Buffer,
        buffers: &Buffers,
        (reader, writer): (&mut R, &mut W),
        progress: &mut bool,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            while self.sent < self.piece_length() {
                let count = ready!(self.write(cx, source, writer)).map_err(|_| PumpError::Sink)?;
                *progress = true;
                self.flushed = false;
                self.sent += count;
                self.moved_bytes += count as u64;
            }
            if !self.flushed {
                ready!(Pin::new(&mut *writer).poll_flush(cx)).map_err(|_| PumpError::Sink)?;
                self.flushed = true;
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            self.replay = None;
            if source.is_empty() {
                if self.stops_before_large && !self.chunked && self.rest_bytes() >= SPLICED_BYTES {
                    return Poll::Ready(Ok(()));
                }
                if self.rest_is_large() {
                    source.enlarge(buffers);
                }
                let count = ready!(read(cx, reader, source.room(buffers)))
                    .map_err(|_| PumpError::Source)?;
                *progress = true;
                source.grew_by(count);
                if count == 0 {
                    if self.body != Body::UntilClose {
                        return Poll::Ready(Err(PumpError::Source));
                    }
                    self.end();
                    continue;
                }
            }
            self.take(source).map_err(PumpError::Framing)?;
        }
    }

    /// Of a body of known length.
    pub fn rest_bytes(&self) -> u64 {
        match self.body {
            Body::Length(left) => left,
            Body::Chunked(_) | Body::UntilClose => 0,
        }
    }

    /// Some of the body went past: it was taken from the source.
    pub fn took(&mut self, count: usize) {
        self.taken_bytes += count as u64;
        if let Body::Length(left) = &mut self.body {
            *left = left.saturating_sub(count as u64);
        }
    }

    /// It has reached the sink, where `is_last` says that nothing is on its way any more.
    pub fn gave(&mut self, count: usize, is_last: bool) {
        self.moved_bytes += count as u64;
        if is_last && self.body.is_done() {
            self.end();
        }
    }

    fn rest_is_large(&self) -> bool {
        match self.body {
            Body::Length(left) => left > LARGE_BODY_BYTES,
            // Unknown: large once as much has come.
            Body::Chunked(_) | Body::UntilClose => self.moved_bytes > LARGE_BODY_BYTES,
        }
    }

    /// Makes the next piece of what is in the buffer.
    fn take(&mut self, source: &mut Buffer) -> Result<(), BodyError> {
        if self.sent > 0 {
            self.head.clear();
            self.sent = 0;
        }
        let (bytes, filled) = source.parts();
        let start = filled.start;
        let decoded = self.body.decode(bytes, filled)?;
        source.consume(decoded.rest - start);
        self.taken_bytes += (decoded.rest - start) as u64;
        self.payload = decoded.payload;
        self.size_length = 0;
        self.suffix = b"";
        if self.chunked && !self.payload.is_empty() {
            self.size_length = write_size(&mut self.size_line, self.payload.len());
            self.suffix = b"\r\n";
        }
        if self.body.is_done() {
            self.ended = true;
            self.suffix = match (self.chunked, self.payload.is_empty()) {
                (false, _) => b"",
                (true, true) => b"0\r\n\r\n",
                (true, false) => b"\r\n0\r\n\r\n",
            };
        }
        Ok(())
    }

    /// The source was closed, which ends a body without framing.
    fn end(&mut self) {
        self.head.clear();
        self.sent = 0;
        self.payload = 0..0;
        self.size_length = 0;
        self.suffix = if self.chunked { b"0\r\n\r\n" } else { b"" };
        self.ended = true;
    }

    fn piece_length(&self) -> usize {
        self.head.len() + self.size_length + self.payload.len() + self.suffix.len()
    }

    fn write<W: AsyncWrite + Unpin>(
        &self,
        cx: &mut Context<'_>,
        source: &Buffer,
        writer: &mut W,
    ) -> Poll<io::Result<usize>> {
        let parts = [
            &self.head,
            &self.size_line[..self.size_length],
            source.bytes(self.payload.clone()),
            self.suffix,
        ];
        poll_write_parts(cx, writer, parts, self.sent)
    }
}

/// Writes of a piece's parts what is left after its first `sent` bytes, in one call.
pub fn poll_write_parts<W: AsyncWrite + Unpin>(
    cx: &mut Context<'_>,
    writer: &mut W,
    parts: [&[u8]; 4],
    sent: usize,
) -> Poll<io::Result<usize>> {
    let mut skip = sent;
    let mut slices = [IoSlice::new(b""); 4];
    let mut count = 0;
    for part in parts {
        let skipped = skip.min(part.len());
        skip -= skipped;
        if skipped < part.len() {
            slices[count] = IoSlice::new(&part[skipped..]);
            count += 1;
        }
    }
    let written = match &slices[..count] {
        [only] => ready!(Pin::new(writer).poll_write(cx, only)),
        several => ready!(Pin::new(writer).poll_write_vectored(cx, several)),
    };
    Poll::Ready(match written {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        written => written,
    })
}

/// `<hex>\r\n` at the front of the line; gives its length.
pub fn write_size(line: &mut [u8; 18], size: usize) -> usize {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1) as usize;
    for (place, byte) in line[..digits].iter_mut().enumerate() {
        *byte = b"0123456789abcdef"[size >> (4 * (digits - 1 - place)) & 15];
    }
    line[digits..digits + 2].copy_from_slice(b"\r\n");
    digits + 2
}

pub fn read<R: AsyncRead + Unpin>(
    cx: &mut Context<'_>,
    reader: &mut R,
    room: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut room = ReadBuf::new(room);
    ready!(Pin::new(reader).poll_read(cx, &mut room))?;
    Poll::Ready(Ok(room.filled().len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_are_hexadecimal() {
        for size in [1, 9, 10, 15, 16, 255, 256, 4096, 65535, usize::MAX] {
            let mut line = [0; 18];
            let length = write_size(&mut line, size);
            assert_eq!(line[..length], *format!("{size:x}\r\n").as_bytes());
        }
    }
}
