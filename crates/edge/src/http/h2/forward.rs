//! A stream's request to a target that speaks HTTP/1.1: choose target, connect, stream both ways. Used by
//! `stream`; the counterpart of `exchange`, with the same connections to targets and the same rules for a second try.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use h2::Reason;
use tokio::time::timeout_at;

use super::super::body::Body;
use super::super::buffer::Buffer;
use super::super::exchange::open;
use super::super::pump::read;
use super::super::response::{BadResponse, read_response};
use super::super::stream::TargetStream;
use super::super::target::{Chosen, Group};
use super::super::tls::Alpn;
use super::download::ClientLeft;
use super::head;
use super::stream::Exchange;
use super::upload::{Upload, UploadError};

/// A body from which on a large buffer is worth having.
const LARGE_BODY_BYTES: u64 = 16 * 1024;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Complete {
        reuse: bool,
    },
    /// The target closed without a byte of an answer.
    Unanswered,
    BadResponse,
    /// The target left the table.
    Cut,
    TargetSlow,
    ClientSlow,
    /// It takes nothing of the answer.
    ClientStalled,
    ClientLeft,
    /// In the midst of the response.
    Broken,
    /// The same, as the client is to be told.
    Torn(Reason),
    /// The target has not looked at it.
    Refused,
}

impl From<ClientLeft> for Outcome {
    fn from(_: ClientLeft) -> Self {
        Self::ClientLeft
    }
}

/// Forwards the request whose head is `head`.
pub async fn forward(exchange: &mut Exchange<'_>, group: &Arc<Group>, head: Vec<u8>) {
    exchange.log.grouped(group);
    exchange.go_on();
    let chunked = matches!(exchange.facts.body, Body::Chunked(_));
    let ends = exchange.body.is_end_stream();
    let mut upload = Upload::start(head, chunked, ends);
    let worker = exchange.worker().clone();
    let connect_timeout = exchange.routes.connect_timeout();
    let retries = exchange.routes.retries();
    let deadline = exchange.routes.request_deadline();
    let mut fresh_only = false;
    let mut failed = Vec::new();
    let outcome = loop {
        let Some(target) = exchange.choose(group, &failed) else {
            return exchange.fail(503).await;
        };
        let idle = if fresh_only {
            None
        } else {
            target.take_idle(exchange.facts.is_idempotent)
        };
        if !fresh_only && failed.is_empty() {
            exchange.count_for(group);
        }
        let is_reused = idle.is_some();
        let upstream = match idle {
            Some(stream) => Ok(stream),
            None => {
                // In a box: it is rare, and large.
                let opening = open(&worker, group, &target, connect_timeout, Alpn::Http1);
                Box::pin(opening).await
            }
        };
        let mut upstream = match upstream {
            Ok(stream) => stream,
            Err(_) if failed.len() < retries => {
                failed.push(target.address());
                continue;
            }
            Err(_) if retries > 0 => return exchange.fail(502).await,
            Err(status) => return exchange.fail(status).await,
        };
        if !is_reused {
            worker.counters.new_target_connections.add(1);
        }
        let under_way = target.begin(&exchange.tether);
        exchange.log.dispatched(target.address(), Instant::now());
        let outcome = attempt(exchange, &mut upstream, &mut upload, group, deadline).await;
        drop(under_way);
        if outcome == Outcome::Unanswered && is_reused {
            let may_repeat = !upload.was_written() || exchange.facts.is_idempotent;
            if may_repeat && upload.rewind() {
                target.drop_idle();
                fresh_only = true;
                continue;
            }
        }
        if matches!(outcome, Outcome::Unanswered | Outcome::Cut) && failed.len() < retries {
            let may_repeat = !upload.was_written() || exchange.facts.is_idempotent;
            if may_repeat && upload.rewind() {
                target.erred();
                failed.push(target.address());
                continue;
            }
        }
        if outcome == (Outcome::Complete { reuse: true }) {
            target.give_back(upstream);
        }
        break outcome;
    };
    exchange.received_bytes += upload.taken_bytes;
    worker.buffers.give_back_head(upload.head);
    exchange.conclude(outcome).await;
}

impl Exchange<'_> {
    /// A target was chosen for it.
    pub fn count_for(&self, group: &Group) {
        group.count_request();
        if self.manner.is_grpc {
            group.counters.grpc_requests.add(1);
        }
    }

    /// None: 503.
    pub fn choose(&mut self, group: &Group, avoided: &[SocketAddr]) -> Option<Chosen> {
        let worker = self.worker();
        let chosen = group.choose_for(&self.facts, &worker.dice, &worker.counters, avoided)?;
        self.target = Some(Arc::clone(&chosen));
        Some(chosen)
    }

    /// 100 Continue is the node's own answer (fact HTTP-12).
    pub fn go_on(&mut self) {
        if self.facts.expects_continue && !self.body.is_end_stream() {
            self.download.go_on();
        }
    }

    /// The head of the target's answer is there.
    pub fn answered(&mut self, status: u16, group: &Group, started: Instant) {
        let now = Instant::now();
        let took = now.saturating_duration_since(started);
        group.counters.response(status);
        if let Some(target) = &self.target {
            target.answered(status);
        }
        let total = &group.counters.response_times;
        total.add(took.as_micros() as u64);
        self.log.answered(status, now);
        self.log.status(status);
        self.log.replied();
    }

    /// What the client gets when an attempt is over.
    pub async fn conclude(&mut self, outcome: Outcome) {
        if let Outcome::Unanswered | Outcome::BadResponse | Outcome::TargetSlow = outcome
            && let Some(target) = &self.target
        {
            target.erred();
        }
        match outcome {
            Outcome::Complete { .. } => {}
            Outcome::Unanswered | Outcome::BadResponse | Outcome::Cut | Outcome::Refused => {
                self.fail(502).await;
            }
            Outcome::TargetSlow => self.fail(504).await,
            Outcome::ClientSlow => self.fail(408).await,
            Outcome::ClientLeft => self.client_left(),
            Outcome::ClientStalled => {
                self.client_left();
                self.download.reset(Reason::CANCEL);
            }
            Outcome::Broken => self.download.reset(Reason::INTERNAL_ERROR),
            Outcome::Torn(reason) => self.download.reset(reason),
        }
    }
}

/// None: the deadline came first.
pub async fn until<T>(deadline: Option<Instant>, what: impl Future<Output = T>) -> Option<T> {
    match deadline {
        None => Some(what.await),
        Some(at) => timeout_at(at.into(), what).await.ok(),
    }
}

/// One attempt on one connection.
async fn attempt(
    exchange: &mut Exchange<'_>,
    upstream: &mut TargetStream,
    upload: &mut Upload,
    group: &Group,
    deadline: Option<Instant>,
) -> Outcome {
    let idle_timeout = exchange.routes.idle_timeout();
    exchange.timer.set(idle_timeout);
    exchange.tether.mend();
    let mut attempt = Attempt {
        exchange,
        upstream,
        upload,
        group,
        outbox: Buffer::default(),
        reply: None,
        sink_failed: false,
        started: Instant::now(),
    };
    let polled = poll_fn(|cx| {
        let mut progress = false;
        if let Some(outcome) = attempt.poll(cx, &mut progress) {
            return Poll::Ready(outcome);
        }
        let timer = &mut attempt.exchange.timer;
        if progress {
            timer.set(idle_timeout);
        }
        ready!(timer.poll_expired(cx));
        Poll::Ready(attempt.time_is_up())
    });
    let outcome = match until(deadline, polled).await {
        Some(outcome) => outcome,
        None => attempt.time_is_up(),
    };
    let mut outbox = attempt.outbox;
    outbox.consume(outbox.filled().len());
    outbox.release(&exchange.worker().buffers);
    outcome
}

struct Attempt<'a, 's> {
    exchange: &'a mut Exchange<'s>,
    upstream: &'a mut TargetStream,
    upload: &'a mut Upload,
    group: &'a Group,
    outbox: Buffer,
    /// From the moment its head is complete.
    reply: Option<Reply>,
    /// The target takes no more of the request; it may have answered nevertheless.
    sink_failed: bool,
    started: Instant,
}

/// The rest of a response.
struct Reply {
    body: Body,
    /// The target keeps the connection.
    keep_alive: bool,
    /// In the outbox: what the client has had no room for.
    payload: Range<usize>,
    moved_bytes: u64,
}

impl Attempt<'_, '_> {
    fn poll(&mut self, cx: &mut Context<'_>, progress: &mut bool) -> Option<Outcome> {
        if self.exchange.tether.is_cut() {
            return Some(if self.reply.is_some() {
                Outcome::Broken
            } else {
                Outcome::Cut
            });
        }
        if self.exchange.download.poll_left(cx).is_ready() {
            return Some(Outcome::ClientLeft);
        }
        if !self.sink_failed && !self.upload.is_done() {
            let body = &mut self.exchange.body;
            match self.upload.poll(cx, body, self.upstream, progress) {
                Poll::Pending | Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(UploadError::Client)) => return Some(Outcome::ClientLeft),
                Poll::Ready(Err(UploadError::Target)) => self.sink_failed = true,
            }
        }
        match self.poll_response(cx, progress) {
            Poll::Ready(Ok(())) => {
                let keep_alive = self.reply.as_ref().is_some_and(|reply| reply.keep_alive);
                let reuse = keep_alive && self.upload.is_done() && self.outbox.is_empty();
                Some(Outcome::Complete { reuse })
            }
            Poll::Ready(Err(outcome)) => Some(outcome),
            Poll::Pending => None,
        }
    }

    fn time_is_up(&self) -> Outcome {
        match &self.reply {
            Some(reply) if !reply.payload.is_empty() => Outcome::ClientStalled,
            Some(_) => Outcome::Broken,
            None if self.upload.waits_for_client() => Outcome::ClientSlow,
            None => Outcome::TargetSlow,
        }
    }

    fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        progress: &mut bool,
    ) -> Poll<Result<(), Outcome>> {
        let worker = self.exchange.worker().clone();
        let buffers = &worker.buffers;
        while self.reply.is_none() {
            match self.take_head() {
                Err(BadResponse(reason)) => {
                    tracing::debug!(group = self.group.id, reason, "response refused");
                    return Poll::Ready(Err(Outcome::BadResponse));
                }
                Ok(true) => break,
                Ok(false) => {}
            }
            let room = self.outbox.room_to_grow(buffers);
            match ready!(read(cx, self.upstream, room)) {
                Ok(count @ 1..) => {
                    self.outbox.grew_by(count);
                    *progress = true;
                }
                Ok(0) | Err(_) if self.outbox.is_empty() => {
                    return Poll::Ready(Err(Outcome::Unanswered));
                }
                Ok(_) | Err(_) => return Poll::Ready(Err(Outcome::BadResponse)),
            }
        }
        let Some(reply) = &mut self.reply else {
            return Poll::Pending;
        };
        loop {
            let download = &mut self.exchange.download;
            while !reply.payload.is_empty() {
                let room = ready!(download.poll_room(cx, reply.payload.len()))?;
                let end = reply.payload.start + room;
                let piece = Bytes::copy_from_slice(self.outbox.bytes(reply.payload.start..end));
                reply.payload.start = end;
                reply.moved_bytes += room as u64;
                let ends = reply.payload.is_empty() && reply.body.is_done();
                download.send(piece, ends, progress)?;
            }
            if reply.body.is_done() {
                download.finish()?;
                return Poll::Ready(Ok(()));
            }
            download.caught_up();
            if self.outbox.is_empty() {
                if reply.rest_is_large() {
                    self.outbox.enlarge(buffers);
                }
                let room = self.outbox.room(buffers);
                let count = ready!(read(cx, self.upstream, room)).map_err(|_| Outcome::Broken)?;
                *progress = true;
                self.outbox.grew_by(count);
                if count == 0 {
                    if reply.body != Body::UntilClose {
                        return Poll::Ready(Err(Outcome::Broken));
                    }
                    download.finish()?;
                    return Poll::Ready(Ok(()));
                }
            }
            reply.take(&mut self.outbox).map_err(|_| Outcome::Broken)?;
        }
    }

    /// Looks whether the response's head is there, and begins the answer; false: not yet.
    fn take_head(&mut self) -> Result<bool, BadResponse> {
        while !self.outbox.is_empty() {
            let found = read_response(self.outbox.filled(), &self.exchange.facts, |response| {
                let begun = match response.status {
                    101 => return Err(BadResponse("switches protocols unasked")),
                    // The node answers 100-continue itself, and asked for nothing else.
                    100..200 => None,
                    _ => Some((head::write_response(response)?, response.body.clone())),
                };
                Ok((response.status, begun, response.keep_alive))
            })?;
            let Some((length, begun)) = found else {
                return Ok(false);
            };
            let (status, begun, keep_alive) = begun?;
            self.outbox.consume(length);
            let Some((mut head, body)) = begun else {
                continue;
            };
            if let Some(follow_up) = &self.exchange.facts.follow_up {
                follow_up.amend(&mut head);
            }
            self.exchange.answered(status, self.group, self.started);
            let mut reply = Reply {
                body,
                keep_alive,
                payload: 0..0,
                moved_bytes: 0,
            };
            reply
                .take(&mut self.outbox)
                .map_err(|_| BadResponse("chunked framing"))?;
            let ends = reply.body.is_done() && reply.payload.is_empty();
            // If the client has left, whoever looks at the stream next is told.
            let _ = self.exchange.download.begin(head, ends);
            self.reply = Some(reply);
            return Ok(true);
        }
        Ok(false)
    }
}

impl Reply {
    fn take(&mut self, outbox: &mut Buffer) -> Result<(), super::super::body::BodyError> {
        let (bytes, filled) = outbox.parts();
        let start = filled.start;
        let decoded = self.body.decode(bytes, filled)?;
        outbox.consume(decoded.rest - start);
        self.payload = decoded.payload;
        Ok(())
    }

    fn rest_is_large(&self) -> bool {
        match self.body {
            Body::Length(left) => left > LARGE_BODY_BYTES,
            Body::Chunked(_) | Body::UntilClose => self.moved_bytes > LARGE_BODY_BYTES,
        }
    }
}
