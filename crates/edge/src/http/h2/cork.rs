//! Gathers what a connection's streams write, and counts what its peer sends. Wraps the socket under the h2
//! crate on both sides of the load balancer; used by `session` and `upstream`.
//!
//! h2 flushes once for each response. A flush is held back by one turn of the scheduler here, so that all the
//! streams that are ready in that turn share one write (measured in the prototypes: 0.83
//! of haproxy's CPU time with it, 1.05 without). Whoever polls the h2 connection calls
//! `Turn::begin` before, which is how the cork knows turns apart; before the first turn nothing is held back.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::meter::Meter;

/// More is not held back.
const HELD_MAX_BYTES: usize = 64 * 1024;
/// Kept from write to write; larger memory is given back.
const KEPT_BYTES: usize = 16 * 1024;
/// A write of so much is an answer, not the echo of a control frame.
const ANSWER_MIN_BYTES: usize = 128;

/// What a cork and its connection's task know of each other.
#[derive(Debug, Default)]
pub struct Turn {
    number: AtomicU64,
    flooded: AtomicBool,
}

impl Turn {
    pub fn begin(&self) {
        self.number.fetch_add(1, Ordering::Relaxed);
    }

    /// The peer sends more control frames than any honest one.
    pub fn is_flooded(&self) -> bool {
        self.flooded.load(Ordering::Relaxed)
    }

    fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub struct Cork<S> {
    stream: S,
    held: Vec<u8>,
    written: usize,
    /// The turn in which something was held back first.
    since: u64,
    woken: bool,
    turn: Arc<Turn>,
    meter: Option<Meter>,
}

impl<S: AsyncWrite + Unpin> Cork<S> {
    /// With a meter what comes in is counted.
    pub fn new(stream: S, meter: Option<Meter>) -> (Self, Arc<Turn>) {
        let turn = Arc::new(Turn::default());
        let cork = Self {
            stream,
            held: Vec::new(),
            written: 0,
            since: 0,
            woken: false,
            turn: turn.clone(),
            meter,
        };
        (cork, turn)
    }

    fn hold(&mut self, parts: &[IoSlice<'_>]) -> usize {
        if self.held.is_empty() {
            self.since = self.turn.number();
            self.woken = false;
        }
        let before = self.held.len();
        for part in parts {
            self.held.extend_from_slice(part);
        }
        self.held.len() - before
    }

    /// Writes what was held back.
    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.held.len() {
            let rest = &self.held[self.written..];
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        if let Some(meter) = &mut self.meter
            && self.written >= ANSWER_MIN_BYTES
        {
            meter.answered();
        }
        self.written = 0;
        self.held.clear();
        self.held.shrink_to(KEPT_BYTES);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Cork<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.turn.is_flooded() {
            // Nothing more is answered; the connection's task ends it.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = room.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, room))?;
        let news = &room.filled()[before..];
        if let Some(meter) = &mut self.meter
            && !meter.take(news)
        {
            self.turn.flooded.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cork<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.held.len() >= HELD_MAX_BYTES {
            ready!(self.poll_release(cx))?;
        }
        Poll::Ready(Ok(self.hold(parts)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_this_turn = self.since != 0 && self.since == self.turn.number();
        let is_little = (1..HELD_MAX_BYTES).contains(&self.held.len());
        if is_little && self.written == 0 && is_this_turn {
            if !self.woken {
                self.woken = true;
                cx.waker().wake_by_ref();
            }
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_release(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
