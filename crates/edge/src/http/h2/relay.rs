//! A stream's request to a target of protocol version HTTP2 or GRPC: choose target, take a place on a connection
//! to it, pass data and trailers both ways. Used by `stream`; `forward` is for HTTP/1.1 targets.
//!
//! What a target has refused unseen (REFUSED_STREAM, or GOAWAY) may be sent again whatever its method
//! (RFC 9113, 8.7), as long as nothing of its body is gone.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};

use super::super::exchange::open;
use super::super::target::Group;
use super::super::tls::Alpn;
use super::forward::{Outcome, until};
use super::head;
use super::stream::Exchange;

/// How often a request that targets refuse unseen is sent.
const TRIES_MAX: u32 = 3;

/// Relays the request whose head, as HTTP/1.1, is `head`.
pub async fn relay(exchange: &mut Exchange<'_>, group: &Arc<Group>, head: Vec<u8>) {
    exchange.log.grouped(group);
    exchange.go_on();
    let worker = exchange.worker().clone();
    let connect_timeout = exchange.routes.connect_timeout();
    let scheme = if group.is_tls() { "https" } else { "http" };
    let retries = exchange.routes.retries();
    let deadline = exchange.routes.request_deadline();
    let mut untouched = true;
    let mut tries = 0;
    let mut failed = Vec::new();
    let outcome = loop {
        let Some(request) = head::for_target(&head, scheme, exchange.manner.takes_trailers) else {
            return exchange.fail(400).await;
        };
        let Some(target) = exchange.choose(group, &failed) else {
            return exchange.fail(503).await;
        };
        if tries == 0 {
            exchange.count_for(group);
        }
        tries += 1;
        let dial = async {
            let stream = open(&worker, group, &target, connect_timeout, Alpn::Http2).await?;
            worker.counters.new_target_connections.add(1);
            Ok(stream)
        };
        let lease = match target.http2.lease(connect_timeout, dial).await {
            Ok(lease) => lease,
            Err(_) if failed.len() < retries => {
                failed.push(target.address());
                continue;
            }
            Err(_) if retries > 0 => return exchange.fail(502).await,
            Err(status) => return exchange.fail(status).await,
        };
        let ends = exchange.body.is_end_stream();
        let asked = lease
            .sender()
            .and_then(|mut sender| sender.send_request(request, ends).ok());
        let Some((response, sink)) = asked else {
            lease.retire();
            if tries < TRIES_MAX {
                continue;
            }
            return exchange.fail(502).await;
        };
        exchange.log.dispatched(target.address(), Instant::now());
        let under_way = target.begin(&exchange.tether);
        let outcome = attempt(
            exchange,
            (response, sink, ends),
            group,
            &mut untouched,
            deadline,
        )
        .await;
        drop(under_way);
        match outcome {
            Outcome::Refused if untouched && tries < TRIES_MAX => continue,
            Outcome::Unanswered => {
                lease.retire();
                let may_repeat = lease.is_reused && exchange.facts.is_idempotent;
                if may_repeat && untouched && tries < TRIES_MAX {
                    continue;
                }
                if exchange.facts.is_idempotent && untouched && failed.len() < retries {
                    target.erred();
                    failed.push(target.address());
                    continue;
                }
            }
            Outcome::Cut if exchange.facts.is_idempotent && untouched && failed.len() < retries => {
                failed.push(target.address());
                continue;
            }
            // It may be the connection that is dead: others are not to find out by waiting as long.
            Outcome::TargetSlow => lease.retire(),
            _ => {}
        }
        break outcome;
    };
    exchange.conclude(outcome).await;
}

async fn attempt(
    exchange: &mut Exchange<'_>,
    (response, sink, ends): (ResponseFuture, SendStream<Bytes>, bool),
    group: &Group,
    untouched: &mut bool,
    deadline: Option<Instant>,
) -> Outcome {
    let idle_timeout = exchange.routes.idle_timeout();
    exchange.timer.set(idle_timeout);
    let mut attempt = Attempt {
        exchange,
        group,
        sink,
        up: Bytes::new(),
        up_done: ends,
        response: Some(response),
        source: None,
        down: Bytes::new(),
        started: Instant::now(),
        untouched,
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
    match until(deadline, polled).await {
        Some(outcome) => outcome,
        None => attempt.time_is_up(),
    }
}

struct Attempt<'a, 's> {
    exchange: &'a mut Exchange<'s>,
    group: &'a Group,
    sink: SendStream<Bytes>,
    /// From the client; the target has had no room for it.
    up: Bytes,
    up_done: bool,
    /// Until the head of the answer is there.
    response: Option<ResponseFuture>,
    source: Option<RecvStream>,
    /// From the target; the client has had no room for it.
    down: Bytes,
    started: Instant,
    /// Nothing of the request's body is gone.
    untouched: &'a mut bool,
}

impl Attempt<'_, '_> {
    fn poll(&mut self, cx: &mut Context<'_>, progress: &mut bool) -> Option<Outcome> {
        if self.exchange.tether.is_cut() {
            return Some(if self.source.is_some() {
                Outcome::Torn(Reason::INTERNAL_ERROR)
            } else {
                Outcome::Cut
            });
        }
        if self.exchange.download.poll_left(cx).is_ready() {
            self.sink.send_reset(Reason::CANCEL);
            return Some(Outcome::ClientLeft);
        }
        if let Poll::Ready(Err(outcome)) = self.poll_up(cx, progress) {
            return Some(outcome);
        }
        match self.poll_down(cx, progress) {
            Poll::Ready(Ok(())) => Some(Outcome::Complete { reuse: true }),
            Poll::Ready(Err(outcome)) => Some(outcome),
            Poll::Pending => None,
        }
    }

    fn time_is_up(&mut self) -> Outcome {
        self.sink.send_reset(Reason::CANCEL);
        match self.source {
            Some(_) if !self.down.is_empty() => Outcome::ClientStalled,
            Some(_) => Outcome::Torn(Reason::CANCEL),
            None if !self.up_done && self.up.is_empty() => Outcome::ClientSlow,
            None => Outcome::TargetSlow,
        }
    }

    /// Passes what the client sends, as the target has room for it.
    fn poll_up(&mut self, cx: &mut Context<'_>, progress: &mut bool) -> Poll<Result<(), Outcome>> {
        let body = &mut self.exchange.body;
        while !self.up_done {
            if !self.up.is_empty() {
                self.sink.reserve_capacity(self.up.len());
                if self.sink.capacity() == 0 {
                    match ready!(self.sink.poll_capacity(cx)) {
                        Some(Ok(_)) => continue,
                        // The target takes no more; it may have answered nevertheless.
                        Some(Err(_)) | None => {
                            self.up_done = true;
                            break;
                        }
                    }
                }
                let room = self.sink.capacity().min(self.up.len());
                let piece = self.up.split_to(room);
                self.up_done = self.up.is_empty() && body.is_end_stream();
                // Either fails only when its stream is gone, which the next look at it tells.
                let _ = self.sink.send_data(piece, self.up_done);
                let _ = body.flow_control().release_capacity(room);
                *progress = true;
                continue;
            }
            match ready!(body.poll_data(cx)) {
                Some(Ok(piece)) => {
                    *self.untouched = false;
                    self.exchange.received_bytes += piece.len() as u64;
                    if piece.is_empty() && body.is_end_stream() {
                        self.up_done = true;
                        let _ = self.sink.send_data(piece, true);
                    } else {
                        self.up = piece;
                    }
                }
                Some(Err(_)) => {
                    self.sink.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(Outcome::ClientLeft));
                }
                None => {
                    let Ok(trailers) = ready!(body.poll_trailers(cx)) else {
                        self.sink.send_reset(Reason::CANCEL);
                        return Poll::Ready(Err(Outcome::ClientLeft));
                    };
                    self.up_done = true;
                    *self.untouched = false;
                    let _ = match trailers {
                        Some(trailers) => self.sink.send_trailers(trailers),
                        None => self.sink.send_data(Bytes::new(), true),
                    };
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Passes what the target answers, as the client has room for it.
    fn poll_down(
        &mut self,
        cx: &mut Context<'_>,
        progress: &mut bool,
    ) -> Poll<Result<(), Outcome>> {
        if let Some(response) = &mut self.response {
            let answered = ready!(std::pin::Pin::new(response).poll(cx));
            self.response = None;
            *progress = true;
            let (head, source) = answered.map_err(|error| unanswered(&error))?.into_parts();
            let status = head.status.as_u16();
            self.exchange.answered(status, self.group, self.started);
            let mut head = http::Response::from_parts(head, ());
            if let Some(follow_up) = &self.exchange.facts.follow_up {
                follow_up.amend(&mut head);
            }
            self.exchange.download.begin(head, source.is_end_stream())?;
            self.source = Some(source);
        }
        let Some(source) = &mut self.source else {
            return Poll::Pending;
        };
        let download = &mut self.exchange.download;
        loop {
            while !self.down.is_empty() {
                let room = ready!(download.poll_room(cx, self.down.len()))?;
                let piece = self.down.split_to(room);
                let ends = self.down.is_empty() && source.is_end_stream();
                download.send(piece, ends, progress)?;
                // Fails only when the stream is gone, which the next look at it tells.
                let _ = source.flow_control().release_capacity(room);
            }
            if source.is_end_stream() {
                download.finish()?;
                return Poll::Ready(Ok(()));
            }
            download.caught_up();
            match ready!(source.poll_data(cx)) {
                Some(Ok(piece)) => {
                    *progress = true;
                    self.down = piece;
                }
                Some(Err(error)) => return Poll::Ready(Err(torn(&error))),
                None => {
                    match ready!(source.poll_trailers(cx)).map_err(|error| torn(&error))? {
                        Some(trailers) => download.send_trailers(trailers)?,
                        None => download.finish()?,
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

/// What it means that there is no answer.
fn unanswered(error: &h2::Error) -> Outcome {
    let told = error.is_remote().then(|| error.reason()).flatten();
    match told {
        Some(Reason::REFUSED_STREAM) => Outcome::Refused,
        Some(Reason::NO_ERROR) if error.is_go_away() => Outcome::Refused,
        Some(_) if error.is_reset() => Outcome::BadResponse,
        _ => Outcome::Unanswered,
    }
}

/// The client is told what the target told.
fn torn(error: &h2::Error) -> Outcome {
    let reason = error.reason().filter(|_| error.is_reset());
    Outcome::Torn(reason.unwrap_or(Reason::INTERNAL_ERROR))
}
