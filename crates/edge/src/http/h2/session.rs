//! One client connection that speaks HTTP/2: accepts streams, and ends when it is idle, old, asked to, or
//! abused. Called by `entrance` after ALPN, and by the tests; the streams themselves are `stream`'s.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, Connection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::super::log::Place;
use super::super::timer::Timer;
use super::super::tls::TlsFacts;
use super::super::worker::{Entered, Routes};
use super::cork::{Cork, Turn};
use super::meter::Meter;
use super::stream;

/// Fact HTTP-1.
const STREAMS_MAX: u32 = 128;
/// After so many requests the client is told to open another connection (fact HTTP-1).
const REQUESTS_MAX: u64 = 10_000;
/// What a client may send ahead of its target: on a stream, and on all of them together.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// What of a response may wait for the client on each stream.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// As HTTP/2 counts, with 32 bytes for each line. Longer heads are answered by the h2 crate with 431; what is
/// between AWS's 64 KB and this is refused as over HTTP/1.1.
const HEADER_LIST_MAX_BYTES: u32 = 96 * 1024;
/// How long a client may take to close after GOAWAY when nothing is under way.
const LINGER: Duration = Duration::from_secs(1);

/// What the streams of a connection share.
#[derive(Debug)]
pub struct Session {
    pub entered: Entered,
    /// None: a test's plain connection.
    pub tls: Option<Arc<TlsFacts>>,
    pub peer: SocketAddr,
    pub port: u16,
    /// Joins the lines of the logs.
    pub trace: u128,
    streams: AtomicUsize,
}

impl Session {
    /// What the lines of its logs have in common.
    pub fn place<'s>(&'s self, routes: &'s Routes) -> Place<'s> {
        Place {
            load_balancer: &routes.load_balancer,
            node: routes.identity.address,
            peer: self.peer,
            listener_port: self.port,
            tls: self.tls.as_deref(),
            trace: self.trace,
        }
    }
}

/// A stream under way; the connection is idle when there is none.
#[derive(Debug)]
pub struct Stream {
    pub session: Arc<Session>,
}

impl Stream {
    fn of(session: &Arc<Session>) -> Self {
        session.streams.fetch_add(1, Ordering::Relaxed);
        Self {
            session: session.clone(),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.session.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.session.entered.tether.wake();
        }
    }
}

/// Serves the connection to its end.
pub async fn serve<S>(
    entered: Entered,
    stream: S,
    tls: Option<Arc<TlsFacts>>,
    peer: SocketAddr,
    port: u16,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let idle_timeout = entered.worker.routes().idle_timeout();
    let mut timer = Timer::new(idle_timeout);
    let (cork, turn) = Cork::new(stream, Some(Meter::default()));
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEADER_LIST_MAX_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES);
    let mut handshake = pin!(builder.handshake::<_, Bytes>(cork));
    let tether = entered.tether.clone();
    let shaken = poll_fn(|cx| {
        tether.hold(cx.waker());
        if let Poll::Ready(done) = handshake.as_mut().poll(cx) {
            return Poll::Ready(done.ok());
        }
        if tether.is_closing() {
            return Poll::Ready(None);
        }
        timer.poll_expired(cx).map(|()| None)
    })
    .await;
    let Some(connection) = shaken else {
        return;
    };
    let session = Session {
        trace: entered.worker.dice.trace(),
        entered,
        tls,
        peer,
        port,
        streams: AtomicUsize::new(0),
    };
    let routes = session.entered.worker.routes();
    let logs = &session.entered.worker.logs;
    let record = session.tls.as_ref().map(|tls| tls.record());
    logs.connection(&session.place(&routes), &record.unwrap_or_default());
    let mut serving = Serving {
        connection,
        turn,
        timer,
        session: Arc::new(session),
        accepted: Instant::now(),
        requests: 0,
        was_busy: false,
        ending: false,
    };
    poll_fn(|cx| serving.poll(cx)).await;
}

struct Serving<S> {
    connection: Connection<Cork<S>, Bytes>,
    turn: Arc<Turn>,
    /// Runs while there are no streams; those have their own.
    timer: Timer,
    session: Arc<Session>,
    accepted: Instant,
    requests: u64,
    was_busy: bool,
    /// GOAWAY is on its way.
    ending: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Serving<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.turn.begin();
        if self.session.entered.tether.is_closing() {
            self.end();
        }
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.requests += 1;
                    if self.requests >= REQUESTS_MAX || self.is_old() || !self.is_listened_to() {
                        self.end();
                    }
                    let stream = Stream::of(&self.session);
                    // In a box: the runtime moves a task about until it is in its place.
                    tokio::spawn(Box::pin(stream::run(stream, request, respond)));
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(peer = %self.session.peer, %error, "HTTP/2 connection failed");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if self.turn.is_flooded() {
            tracing::debug!(peer = %self.session.peer, "HTTP/2 connection is nothing but work");
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            // Sent as far as the socket takes it.
            let _ = self.connection.poll_closed(cx);
            self.turn.begin();
            let _ = self.connection.poll_closed(cx);
            return Poll::Ready(());
        }
        self.poll_idle(cx)
    }

    /// Ready when a connection without streams has had its time.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.session.streams.load(Ordering::Relaxed) > 0 {
            self.was_busy = true;
            return Poll::Pending;
        }
        if std::mem::take(&mut self.was_busy) {
            let routes = self.session.entered.worker.routes();
            self.timer.set(if self.ending {
                LINGER
            } else {
                routes.idle_timeout()
            });
        }
        while self.timer.poll_expired(cx).is_ready() {
            if self.ending {
                return Poll::Ready(());
            }
            self.end();
            // GOAWAY goes out, and perhaps the connection closes by it.
            if let Poll::Ready(None | Some(Err(_))) = self.connection.poll_accept(cx) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.ending, true) {
            self.connection.graceful_shutdown();
            self.timer.set(LINGER);
        }
    }

    /// `client_keep_alive.seconds` ("HTTP client keepalive duration", ELB guide).
    fn is_old(&self) -> bool {
        let routes = self.session.entered.worker.routes();
        let most = Duration::from_millis(routes.attributes.client_keep_alive_ms);
        self.accepted.elapsed() >= most
    }

    fn is_listened_to(&self) -> bool {
        let routes = self.session.entered.worker.routes();
        routes.listener(self.session.port).is_some()
    }
}
