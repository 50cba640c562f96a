//! One client connection: reads heads, decides what becomes of each request, answers or forwards it, and
//! goes on with the next. Started by `worker` for every accepted connection.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::answer::{self, Manner};
use super::body::Body;
use super::buffer::Buffer;
use super::clock::unix_time_s;
use super::decision::{Deciding, Verdict};
use super::desync::{self, Treatment, treatment};
use super::exchange;
use super::guard::Finding;
use super::log::{Kind, LogRecord, Place};
use super::pump::read;
use super::request::{Facts, Refusal, read_request};
use super::stream::ClientStream;
use super::timer::Timer;
use super::tls::TlsFacts;
use super::worker::{Entered, Routes};

/// The body of a request that the node answers by itself is read over up to this size, so that the
/// connection can go on.
const DISCARDED_MAX_BYTES: usize = 64 * 1024;
/// How long a client that still sends is listened to after its answer: closing at once could cost it the answer.
const LINGER: Duration = Duration::from_secs(1);
/// Below this size, and without a line's end in what is new, a head can't be complete.
const UNREAD_HEAD_BYTES: usize = 16 * 1024;

pub struct Connection {
    pub entered: Entered,
    pub stream: ClientStream,
    /// None: a plain connection.
    pub tls: Option<Arc<TlsFacts>>,
    pub peer: SocketAddr,
    pub port: u16,
    pub inbox: Buffer,
    /// The head that goes to the target, or the node's own answer. Without memory between requests.
    pub out: Vec<u8>,
    pub timer: Timer,
    /// The table of the request under way.
    pub routes: Arc<Routes>,
    /// Of the request under way.
    pub log: LogRecord,
    /// Joins the lines of the logs.
    pub trace: u128,
    accepted: Instant,
}

/// How a connection goes on after a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Flow {
    Next,
    Close,
    /// The client may still be sending.
    Linger,
    /// The answer is torn: the client must see that.
    Abort,
}

pub async fn serve(
    entered: Entered,
    stream: ClientStream,
    tls: Option<Arc<TlsFacts>>,
    peer: SocketAddr,
    port: u16,
) {
    let routes = entered.worker.routes();
    let mut connection = Connection {
        timer: Timer::new(routes.idle_timeout()),
        log: LogRecord::default(),
        trace: entered.worker.dice.trace(),
        entered,
        stream,
        tls,
        peer,
        port,
        inbox: Buffer::default(),
        out: Vec::new(),
        routes,
        accepted: Instant::now(),
    };
    let tether = connection.entered.tether.clone();
    poll_fn(|cx| {
        tether.hold(cx.waker());
        Poll::Ready(())
    })
    .await;
    let logs = &connection.entered.worker.logs;
    let record = connection.tls.as_ref().map(|tls| tls.record());
    logs.connection(&connection.place(), &record.unwrap_or_default());
    match connection.run().await {
        Flow::Abort => drop(connection.stream.set_zero_linger()),
        Flow::Linger => connection.linger().await,
        Flow::Next | Flow::Close => connection.close().await,
    }
    connection.inbox.consume(connection.inbox.filled().len());
    connection.release();
}

impl Connection {
    async fn run(&mut self) -> Flow {
        loop {
            let flow = match self.next_request().await {
                // What was asked has been answered.
                Verdict::Close | Verdict::Ask(_) => {
                    self.log.forget();
                    Flow::Close
                }
                Verdict::Refuse(refusal) => self.refuse(refusal).await,
                Verdict::Answer { status, facts } => self.answer(status, facts).await,
                Verdict::Forward { group, facts } => exchange::forward(self, &group, facts).await,
            };
            if self.log.is_on() {
                self.entered.worker.logs.access(&self.log, &self.place());
                self.log.forget();
            }
            if flow != Flow::Next {
                return flow;
            }
            self.release();
        }
    }

    /// Gives back what memory the next request may not need.
    fn release(&mut self) {
        let buffers = &self.entered.worker.buffers;
        self.inbox.release(buffers);
        buffers.give_back_head(std::mem::take(&mut self.out));
    }

    /// What the lines of its logs have in common.
    pub fn place(&self) -> Place<'_> {
        Place {
            load_balancer: &self.routes.load_balancer,
            node: self.routes.identity.address,
            peer: self.peer,
            listener_port: self.port,
            tls: self.tls.as_deref(),
            trace: self.trace,
        }
    }

    fn begin_log(&mut self) {
        let kind = if self.tls.is_some() {
            Kind::Https
        } else {
            Kind::Http
        };
        let on = self.routes.attributes.access_log.is_some();
        self.log.begin(on, kind);
    }

    /// Phases admit, match rule, act.
    async fn next_request(&mut self) -> Verdict {
        let mut verdict = self.await_request().await;
        if let Verdict::Ask(question) = verdict {
            let worker = self.entered.worker.clone();
            // In a box, so that other connections need no room for it.
            let answer = Box::pin(worker.guards.answer(*question, &worker.counters));
            let learned = answer.await;
            verdict = self.decide(Some(&learned)).unwrap_or(Verdict::Close);
        }
        self.entered.tether.set_idle_since(0);
        verdict
    }

    async fn await_request(&mut self) -> Verdict {
        self.routes = self.entered.worker.routes();
        let idle_timeout = self.routes.idle_timeout();
        self.timer.set(idle_timeout);
        if !self.inbox.is_empty() {
            self.begin_log();
            if let Some(verdict) = self.decide(None) {
                return verdict;
            }
        }
        loop {
            let before = self.inbox.filled().len();
            if before == 0 {
                let age_ms = self.entered.worker.age_ms();
                self.entered.tether.set_idle_since(age_ms);
            }
            match self.read_more().await {
                Poll::Ready(0) => return Verdict::Close,
                // Waiting for a request: nobody is told. In the midst of one: 408 (fact HTTP-3).
                Poll::Pending if before == 0 => return Verdict::Close,
                Poll::Pending => {
                    return Verdict::Refuse(Refusal {
                        status: 408,
                        reason: "client idle",
                    });
                }
                Poll::Ready(_) => {}
            }
            if before == 0 {
                // The whole head has to come within the timeout, however slowly its bytes trickle.
                self.timer.set(idle_timeout);
                self.begin_log();
            }
            let filled = self.inbox.filled();
            // What can't be HTTP (a TLS hello) is known from its first bytes.
            let is_news = before == 0 || filled[before..].contains(&b'\n');
            if is_news || filled.len() > UNREAD_HEAD_BYTES {
                self.routes = self.entered.worker.routes();
                if let Some(verdict) = self.decide(None) {
                    return verdict;
                }
            }
        }
    }

    /// Reads something; 0 when the connection is to be closed, Pending when time is up.
    async fn read_more(&mut self) -> Poll<usize> {
        let Self {
            entered,
            stream,
            inbox,
            timer,
            ..
        } = self;
        let buffers = &entered.worker.buffers;
        poll_fn(|cx| {
            let is_idle = inbox.is_empty();
            match read(cx, stream, inbox.room_to_grow(buffers)) {
                Poll::Ready(Ok(count)) => {
                    inbox.grew_by(count);
                    return Poll::Ready(Poll::Ready(count));
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Poll::Ready(0)),
                Poll::Pending => {}
            }
            if is_idle {
                inbox.release(buffers);
                if entered.tether.is_closing() {
                    return Poll::Ready(Poll::Ready(0));
                }
            }
            timer.poll_expired(cx).map(|()| Poll::Pending)
        })
        .await
    }

    /// None: the head is not all there. `learned`: the same head, once more, with what a guard asked.
    fn decide(&mut self, learned: Option<&Finding>) -> Option<Verdict> {
        let Self {
            entered,
            inbox,
            out,
            routes,
            tls,
            peer,
            port,
            log,
            accepted,
            ..
        } = self;
        // Its listener was deleted: the connection goes with it.
        let Some(listener) = routes.listener(*port) else {
            return Some(Verdict::Close);
        };
        let attributes = &routes.attributes;
        let may_go_on = !entered.tether.is_closing()
            && !entered.tether.is_last()
            && accepted.elapsed() < Duration::from_millis(attributes.client_keep_alive_ms);
        if out.capacity() == 0 {
            *out = entered.worker.buffers.take_head();
        }
        let read = read_request(inbox.filled(), |request| {
            let mut facts = request.facts.clone();
            facts.keep_alive &= may_go_on;
            if let Some(reason) = facts.noncompliance {
                if learned.is_none() {
                    entered.worker.counters.desync_noncompliant.add(1);
                }
                log.classified(Some(reason));
                match treatment(attributes.desync_mode, Some(reason)) {
                    Treatment::Allow => {}
                    Treatment::AllowAndClose => facts.keep_alive = false,
                    Treatment::Refuse => {
                        log.opened(request, &routes.dns_name, *port);
                        return Verdict::Refuse(Refusal {
                            status: 400,
                            reason: "not compliant",
                        });
                    }
                }
            }
            let deciding = Deciding {
                worker: &entered.worker,
                routes,
                peer: *peer,
                port: *port,
                tls: tls.as_deref(),
                learned,
            };
            deciding.decide(listener, out, log, request, facts)
        });
        match read {
            Ok(None) => None,
            // It stays where it is until the answer is there.
            Ok(Some((_, Verdict::Ask(question)))) => Some(Verdict::Ask(question)),
            Ok(Some((length, verdict))) => {
                inbox.consume(length);
                log.received(length as u64);
                let counters = &entered.worker.counters;
                counters.requests.add(1);
                if peer.is_ipv6() {
                    counters.ipv6_requests.add(1);
                }
                counters.moved(length as u64, *peer);
                Some(verdict)
            }
            Err(refusal) => Some(Verdict::Refuse(refusal)),
        }
    }

    async fn refuse(&mut self, refusal: Refusal) -> Flow {
        let counters = &self.entered.worker.counters;
        counters.requests.add(1);
        let noncompliance = desync::reason_of(&refusal);
        if noncompliance.is_some() {
            counters.desync_noncompliant.add(1);
        }
        if refusal.status == 400 {
            counters.desync_refused.add(1);
        }
        tracing::debug!(peer = %self.peer, status = refusal.status, reason = refusal.reason, "request refused");
        self.log.unread(&self.routes.dns_name, self.port);
        if noncompliance.is_some() {
            self.log.classified(noncompliance);
        }
        self.log.received(self.inbox.filled().len() as u64);
        let unread = Facts::of_refused();
        self.fail(refusal.status, &unread, false).await;
        Flow::Linger
    }

    /// Sends the node's own error page. The connection goes on only if the request `is_read` to its end.
    pub async fn fail(&mut self, status: u16, facts: &Facts, is_read: bool) -> Flow {
        let keep_alive = facts.keep_alive && is_read;
        let manner = Manner {
            keep_alive,
            is_head: facts.is_head,
            unix_time_s: unix_time_s(),
        };
        self.out.clear();
        match self.routes.attributes.mesh {
            None => answer::write_error(&mut self.out, status, manner),
            Some(_) => answer::write_proxy_error(&mut self.out, status, manner),
        }
        let listener = self.routes.listener(self.port);
        if let Some(headers) = listener.and_then(|listener| listener.response_headers.as_ref()) {
            headers.amend(&mut self.out);
        }
        self.entered.worker.counters.own_answer(status);
        self.log.status(status);
        match (self.send_out().await, keep_alive) {
            (false, _) => Flow::Close,
            (true, true) => Flow::Next,
            (true, false) => Flow::Linger,
        }
    }

    async fn answer(&mut self, status: u16, facts: Facts) -> Flow {
        self.entered.worker.counters.own_answer(status);
        self.log.status(status);
        if !self.send_out().await {
            return Flow::Close;
        }
        if !facts.keep_alive {
            return if facts.body.is_done() {
                Flow::Close
            } else {
                Flow::Linger
            };
        }
        self.discard(facts.body).await
    }

    /// Reads over a body that nobody wants.
    async fn discard(&mut self, mut body: Body) -> Flow {
        let mut discarded = 0;
        self.timer.set(self.routes.idle_timeout());
        while !body.is_done() {
            if self.inbox.is_empty() && !matches!(self.read_more().await, Poll::Ready(1..)) {
                return Flow::Close;
            }
            let (bytes, filled) = self.inbox.parts();
            let start = filled.start;
            let Ok(decoded) = body.decode(bytes, filled) else {
                return Flow::Linger;
            };
            self.inbox.consume(decoded.rest - start);
            self.log.received((decoded.rest - start) as u64);
            discarded += decoded.rest - start;
            if discarded > DISCARDED_MAX_BYTES {
                return Flow::Linger;
            }
        }
        Flow::Next
    }

    /// Sends what stands in `out`; false if the client is gone or too slow.
    pub async fn send_out(&mut self) -> bool {
        let Self {
            stream,
            timer,
            out,
            routes,
            entered,
            log,
            peer,
            ..
        } = self;
        let mut sent = 0;
        let mut stream = Pin::new(stream);
        timer.set(routes.idle_timeout());
        let written = poll_fn(|cx: &mut Context<'_>| {
            while sent < out.len() {
                match stream.as_mut().poll_write(cx, &out[sent..]) {
                    Poll::Ready(Ok(count)) => sent += count,
                    Poll::Ready(Err(_)) => return Poll::Ready(false),
                    Poll::Pending => return timer.poll_expired(cx).map(|()| false),
                }
            }
            // The TLS session may still hold some of it.
            match stream.as_mut().poll_flush(cx) {
                Poll::Ready(flushed) => Poll::Ready(flushed.is_ok()),
                Poll::Pending => timer.poll_expired(cx).map(|()| false),
            }
        })
        .await;
        entered.worker.counters.moved(sent as u64, *peer);
        log.sent(sent as u64);
        written
    }

    /// A TLS client is told that this is the end, and not a cut.
    async fn close(&mut self) {
        if self.tls.is_some() {
            // Whatever comes of it, the connection ends.
            let _ = timeout(LINGER, self.stream.shutdown()).await;
        }
    }

    async fn linger(&mut self) {
        let stream = &mut self.stream;
        let rest = async {
            stream.shutdown().await?;
            // Not on the stack: what lives over an await is part of every connection's memory.
            let mut bytes = vec![0; 4096];
            while stream.read(&mut bytes).await? > 0 {}
            std::io::Result::Ok(())
        };
        // Whatever comes of it, the connection ends.
        let _ = timeout(LINGER, rest).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::socket::Socket;
    use crate::http::worker::Worker;
    use std::net::Ipv4Addr;

    /// Ten thousand clients that say nothing hold ten thousand of these.
    #[tokio::test]
    async fn a_connection_is_small() {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = tokio::net::TcpListener::bind(local).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = std::net::TcpStream::connect(address).unwrap();
        let worker = Worker::new(local.ip(), 1);
        let serving = serve(
            worker.enter(),
            ClientStream::Plain(Socket::new(stream)),
            None,
            address,
            80,
        );
        let size = std::mem::size_of_val(&serving);
        assert!(size < 2_500, "{size} bytes");
    }
}
