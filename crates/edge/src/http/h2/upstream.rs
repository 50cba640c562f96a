//! Connections to targets that speak HTTP/2, shared by the requests of all clients. A target has one `Pool`;
//! `relay` takes a place on a connection from it for each request.
//!
//! A connection has a task of its own that reads and writes its frames. It is used for new requests until it
//! is full, closed, told to go away, or doubted; those under way finish on it. RFC 9113, sections 5.1.2 and 6.8.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::super::lock;
use super::super::response::HEAD_MAX_BYTES;
use super::cork::Cork;

/// Requests that share a connection, if the target takes as many.
const STREAMS_MAX: usize = 100;
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// So large that a client that reads nothing can't hold up the others on its connection.
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * STREAMS_MAX as u32;
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// What HTTP/2 counts for a header line beside name and value; a head of many lines is let through.
const LINES_BYTES: u32 = 32 * 128;

#[derive(Debug, Default)]
pub struct Pool {
    connections: Mutex<Vec<Arc<Upstream>>>,
    /// One connects at a time, and the others share what comes of it.
    dialing: tokio::sync::Mutex<()>,
    failed: Mutex<Option<(Instant, u16)>>,
}

#[derive(Debug)]
pub struct Upstream {
    send: SendRequest<Bytes>,
    streams: AtomicUsize,
    /// What the target's settings allow.
    most: AtomicUsize,
    settled: Notify,
    closed: AtomicBool,
    idle_since: Mutex<Instant>,
}

/// A place on a connection, for one request.
#[derive(Debug)]
pub struct Lease {
    upstream: Arc<Upstream>,
    /// Others have used the connection before.
    pub is_reused: bool,
}

impl Pool {
    /// A place on a connection there is, or on one that `dial` makes; otherwise the status to answer with.
    pub async fn lease<S>(
        &self,
        within: Duration,
        dial: impl Future<Output = Result<S, u16>>,
    ) -> Result<Lease, u16>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if let Some(lease) = self.take() {
            return Ok(lease);
        }
        let asked = Instant::now();
        let _turn = self.dialing.lock().await;
        if let Some(lease) = self.take() {
            return Ok(lease);
        }
        if let Some((at, status)) = *lock(&self.failed)
            && at >= asked
        {
            return Err(status);
        }
        let dialed = async {
            let stream = dial.await?;
            // A target that says nothing of HTTP/2 is none.
            let begun = timeout(within, Upstream::begin(stream)).await;
            begun.ok().and_then(Result::ok).ok_or(502)
        };
        match dialed.await {
            Ok(upstream) => {
                lock(&self.connections).push(upstream.clone());
                upstream.lease(false).ok_or(502)
            }
            Err(status) => {
                *lock(&self.failed) = Some((Instant::now(), status));
                Err(status)
            }
        }
    }

    fn take(&self) -> Option<Lease> {
        let mut connections = lock(&self.connections);
        connections.retain(|upstream| !upstream.is_closed());
        connections.iter().find_map(|upstream| upstream.lease(true))
    }

    /// Closes connections that lay idle too long.
    pub fn sweep(&self, idle_timeout: Duration) {
        lock(&self.connections).retain(|upstream| {
            let is_idle = upstream.streams.load(Ordering::Relaxed) == 0;
            let lay_long = lock(&upstream.idle_since).elapsed() >= idle_timeout;
            !(upstream.is_closed() || is_idle && lay_long)
        });
    }

    /// No new requests; those under way finish.
    pub fn clear(&self) {
        lock(&self.connections).clear();
    }
}

impl Upstream {
    async fn begin<S>(stream: S) -> Result<Arc<Self>, h2::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (cork, turn) = Cork::new(stream, None);
        let (send, mut connection) = Builder::new()
            .enable_push(false)
            // Nothing is sent before the target has told how much it takes.
            .initial_max_send_streams(0)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEAD_MAX_BYTES as u32 + LINES_BYTES)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .handshake::<_, Bytes>(cork)
            .await?;
        let upstream = Arc::new(Self {
            send,
            streams: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            settled: Notify::new(),
            closed: AtomicBool::new(false),
            idle_since: Mutex::new(Instant::now()),
        });
        // Weak: the connection closes when nobody wants it any more.
        let told = Arc::downgrade(&upstream);
        tokio::spawn(async move {
            let ended = poll_fn(|cx| {
                turn.begin();
                let polled = Pin::new(&mut connection).poll(cx);
                let most = connection.max_concurrent_send_streams();
                if let Some(upstream) = told.upgrade()
                    && upstream.most.swap(most, Ordering::Relaxed) != most
                {
                    upstream.settled.notify_one();
                }
                polled
            })
            .await;
            if let Err(error) = ended {
                tracing::debug!(%error, "HTTP/2 connection to a target failed");
            }
            if let Some(upstream) = told.upgrade() {
                upstream.closed.store(true, Ordering::Relaxed);
                upstream.settled.notify_one();
            }
        });
        while upstream.most.load(Ordering::Relaxed) == 0 {
            if upstream.is_closed() {
                return Err(h2::Reason::INTERNAL_ERROR.into());
            }
            upstream.settled.notified().await;
        }
        Ok(upstream)
    }

    /// GOAWAY, or closed.
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn lease(self: &Arc<Self>, is_reused: bool) -> Option<Lease> {
        let most = self.most.load(Ordering::Relaxed).min(STREAMS_MAX);
        if self.is_closed() || self.streams.load(Ordering::Relaxed) >= most {
            return None;
        }
        self.streams.fetch_add(1, Ordering::Relaxed);
        Some(Lease {
            upstream: self.clone(),
            is_reused,
        })
    }
}

impl Lease {
    /// None: the connection takes no more requests.
    pub fn sender(&self) -> Option<SendRequest<Bytes>> {
        let mut send = self.upstream.send.clone();
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match send.poll_ready(&mut cx) {
            Poll::Ready(Err(_)) => {
                self.retire();
                None
            }
            Poll::Ready(Ok(())) | Poll::Pending => Some(send),
        }
    }

    /// No further request uses the connection.
    pub fn retire(&self) {
        self.upstream.closed.store(true, Ordering::Relaxed);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.upstream.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            *lock(&self.upstream.idle_since) = Instant::now();
        }
    }
}
