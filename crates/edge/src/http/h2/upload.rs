//! A request's body from an HTTP/2 stream to a target that speaks HTTP/1.1, a piece at a time: the client may
//! send more when the target has taken what it sent. Used by `forward`; the counterpart of `pump` there.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use tokio::io::AsyncWrite;

use super::super::pump::{poll_write_parts, write_size};

#[derive(Debug)]
pub enum UploadError {
    /// The stream was reset, or the connection is gone.
    Client,
    /// The target takes no more.
    Target,
}

#[derive(Debug)]
pub struct Upload {
    pub head: Vec<u8>,
    chunked: bool,
    size_line: [u8; 18],
    size_length: usize,
    payload: Bytes,
    suffix: &'static [u8],
    /// How much of the piece under way is written.
    sent: usize,
    /// The piece under way is the last.
    ended: bool,
    /// Nothing of the body is gone.
    replayable: bool,
    flushed: bool,
    /// Of the body.
    pub taken_bytes: u64,
}

impl Upload {
    /// `head` goes first, with what of the body is there.
    pub fn start(head: Vec<u8>, chunked: bool, ended: bool) -> Self {
        Self {
            head,
            chunked,
            size_line: [0; 18],
            size_length: 0,
            payload: Bytes::new(),
            suffix: b"",
            sent: 0,
            ended,
            replayable: true,
            flushed: false,
            taken_bytes: 0,
        }
    }

    pub fn is_done(&self) -> bool {
        self.ended && self.flushed && self.sent == self.piece_length()
    }

    /// The client is who has to go on.
    pub fn waits_for_client(&self) -> bool {
        !self.ended && self.sent == self.piece_length()
    }

    pub fn was_written(&self) -> bool {
        self.sent > 0 || !self.replayable
    }

    /// Prepares to send all again; false if part of it is gone.
    pub fn rewind(&mut self) -> bool {
        if self.replayable {
            self.sent = 0;
            self.flushed = false;
        }
        self.replayable
    }

    pub fn poll<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut RecvStream,
        writer: &mut W,
        progress: &mut bool,
    ) -> Poll<Result<(), UploadError>> {
        loop {
            // What is there of the body goes with the head.
            let is_new = self.sent == 0 && self.payload.is_empty() && !self.ended;
            if is_new && let Poll::Ready(taken) = self.take(cx, body) {
                taken?;
            }
            while self.sent < self.piece_length() {
                let count = ready!(self.write(cx, writer)).map_err(|_| UploadError::Target)?;
                *progress = true;
                self.sent += count;
                self.flushed = false;
            }
            if !self.flushed {
                ready!(Pin::new(&mut *writer).poll_flush(cx)).map_err(|_| UploadError::Target)?;
                self.flushed = true;
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            self.finish_piece(body);
            ready!(self.take(cx, body))?;
        }
    }

    /// The next piece.
    fn take(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut RecvStream,
    ) -> Poll<Result<(), UploadError>> {
        match ready!(body.poll_data(cx)) {
            Some(Ok(payload)) => {
                self.replayable = false;
                self.taken_bytes += payload.len() as u64;
                self.ended = body.is_end_stream();
                self.payload = payload;
                self.size_length = 0;
                self.suffix = b"";
                if self.chunked && !self.payload.is_empty() {
                    self.size_length = write_size(&mut self.size_line, self.payload.len());
                    self.suffix = b"\r\n";
                }
                if self.ended && self.chunked {
                    self.suffix = if self.payload.is_empty() {
                        b"0\r\n\r\n"
                    } else {
                        b"\r\n0\r\n\r\n"
                    };
                }
            }
            Some(Err(_)) => return Poll::Ready(Err(UploadError::Client)),
            // Trailers that may follow are not for HTTP/1.1 targets (fact HTTP-12).
            None => {
                self.ended = true;
                if self.chunked {
                    self.suffix = b"0\r\n\r\n";
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// What was written is forgotten, and the client may send as much again.
    fn finish_piece(&mut self, body: &mut RecvStream) {
        let taken = self.payload.len();
        if taken > 0 {
            // Fails only when the stream is gone, which the next look at it tells.
            let _ = body.flow_control().release_capacity(taken);
        }
        if self.sent > 0 {
            self.head.clear();
            self.replayable = false;
        }
        self.payload = Bytes::new();
        self.size_length = 0;
        self.suffix = b"";
        self.sent = 0;
    }

    fn piece_length(&self) -> usize {
        self.head.len() + self.size_length + self.payload.len() + self.suffix.len()
    }

    fn write<W: AsyncWrite + Unpin>(
        &self,
        cx: &mut Context<'_>,
        writer: &mut W,
    ) -> Poll<io::Result<usize>> {
        let parts = [
            &self.head[..],
            &self.size_line[..self.size_length],
            &self.payload[..],
            self.suffix,
        ];
        poll_write_parts(cx, writer, parts, self.sent)
    }
}
