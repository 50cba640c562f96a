//! One forwarded request: choose target, connect, stream both ways. Used by `connection`.
//!
//! A request is sent a second time only if nothing of it was written, or if a kept-alive connection turned
//! out closed and the method allows it (RFC 9110, 9.2.2; fact HTTP-4).

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::AsyncWrite;
use tokio::time::{timeout, timeout_at};

use super::body::Body;
use super::buffer::{Buffer, Buffers};
use super::connect::connect;
use super::connection::{Connection, Flow};
use super::log::{Classification, LogRecord};
use super::pump::{Pump, PumpError, read};
use super::request::Facts;
use super::response::{BadResponse, HEAD_MAX_BYTES, Response, read_response};
use super::rewrite::{Delivery, write_response, write_switch};
use super::splice::{Splice, poll_message};
use super::stream::{ClientStream, TargetStream};
use super::table::Version;
use super::target::{Group, Target};
use super::tether::Tether;
use super::timer::Timer;
use super::tls::Alpn;
use super::worker::Worker;

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Complete {
        reuse: bool,
        close: bool,
        request_done: bool,
    },
    /// The target closed without a byte of an answer.
    Unanswered,
    BadResponse,
    /// The target left the table.
    Cut,
    TargetSlow,
    ClientSlow,
    ClientLeft,
    BadBody,
    /// In the midst of the response.
    Broken,
    Switched,
}

/// Forwards the request whose head stands in `connection.out`.
pub async fn forward(connection: &mut Connection, group: &Arc<Group>, facts: Facts) -> Flow {
    let worker = connection.entered.worker.clone();
    connection.log.grouped(group);
    // Its targets speak HTTP/2 to clients that do (fact TGT-14).
    if group.version() != Version::Http1 {
        return connection.fail(464, &facts, facts.body.is_done()).await;
    }
    if facts.expects_continue && !facts.body.is_done() && connection.inbox.is_empty() {
        let head = std::mem::take(&mut connection.out);
        connection
            .out
            .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        let sent = connection.send_out().await;
        connection.out = head;
        if !sent {
            return Flow::Close;
        }
    }
    let chunked = matches!(facts.body, Body::Chunked(_));
    let head = std::mem::take(&mut connection.out);
    let request = Pump::start(head, facts.body.clone(), chunked, &mut connection.inbox);
    let Ok(mut request) = request else {
        return connection.fail(400, &facts, false).await;
    };
    let connect_timeout =
        Duration::from_millis(connection.routes.attributes.connect_timeout_ms.max(1));
    let retries = connection.routes.retries();
    let deadline = connection.routes.request_deadline();
    let mut fresh_only = false;
    let mut failed = Vec::new();
    let flow = loop {
        let chosen = group.choose_for(&facts, &worker.dice, &worker.counters, &failed);
        let Some(target) = chosen else {
            break connection.fail(503, &facts, request.is_whole()).await;
        };
        if !fresh_only && failed.is_empty() {
            group.count_request();
        }
        let idle = if fresh_only {
            None
        } else {
            target.take_idle(facts.is_idempotent)
        };
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
            Ok(stream) => {
                if !is_reused {
                    worker.counters.new_target_connections.add(1);
                }
                stream
            }
            // It has seen nothing of the request.
            Err(_) if failed.len() < retries => {
                failed.push(target.address());
                continue;
            }
            Err(_) if retries > 0 => {
                break connection.fail(502, &facts, request.is_whole()).await;
            }
            Err(status) => {
                break connection.fail(status, &facts, request.is_whole()).await;
            }
        };
        let under_way = target.begin(&connection.entered.tether);
        let outcome = exchange(
            connection,
            &target,
            &mut upstream,
            &mut request,
            &facts,
            (group, deadline),
        )
        .await;
        drop(under_way);
        if outcome == Outcome::Unanswered && is_reused {
            let may_repeat = !request.was_written() || facts.is_idempotent;
            if may_repeat && request.rewind() {
                target.drop_idle();
                fresh_only = true;
                continue;
            }
        }
        if matches!(outcome, Outcome::Unanswered | Outcome::Cut) && failed.len() < retries {
            let may_repeat = !request.was_written() || facts.is_idempotent;
            if may_repeat && request.rewind() {
                target.erred();
                failed.push(target.address());
                continue;
            }
        }
        break conclude(connection, &target, upstream, outcome, &facts).await;
    };
    connection.log.received(request.taken_bytes);
    let peer = connection.peer;
    worker.counters.moved(request.taken_bytes, peer);
    if connection.out.capacity() == 0 {
        connection.out = request.head;
        connection.out.clear();
    }
    flow
}

/// A new connection, or the status to answer with (fact HTTP-4).
pub async fn open(
    worker: &Worker,
    group: &Group,
    target: &Target,
    within: Duration,
    alpn: Alpn,
) -> Result<TargetStream, u16> {
    let counters = &group.counters;
    let tcp = match timeout(within, connect(target.address())).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) if error.kind() != std::io::ErrorKind::TimedOut => {
            counters.target_connection_errors.add(1);
            target.erred();
            return Err(502);
        }
        Ok(Err(_)) | Err(_) => {
            counters.target_connection_errors.add(1);
            target.erred();
            return Err(504);
        }
    };
    if !group.is_tls() {
        return Ok(TargetStream::Plain(tcp));
    }
    // In a box, so that plain connections need no room for it.
    let handshake = Box::pin(worker.connector.connect(tcp, target.address(), alpn));
    match timeout(within, handshake).await {
        Ok(Ok(session)) => Ok(TargetStream::Tls(Box::new(session))),
        Ok(Err(_)) | Err(_) => {
            counters.target_tls_errors.add(1);
            target.erred();
            Err(502)
        }
    }
}

/// What the client gets when an attempt is over.
async fn conclude(
    connection: &mut Connection,
    target: &Target,
    upstream: TargetStream,
    outcome: Outcome,
    facts: &Facts,
) -> Flow {
    if let Outcome::Unanswered | Outcome::BadResponse | Outcome::TargetSlow = outcome {
        target.erred();
    }
    match outcome {
        Outcome::Complete {
            reuse,
            close,
            request_done,
        } => {
            // What a target makes of an ambiguous request shows on no other (decision 0016).
            let is_plain = facts
                .noncompliance
                .is_none_or(|reason| reason.classification() == Classification::Acceptable);
            if reuse && is_plain {
                target.give_back(upstream);
            }
            match (close, request_done) {
                (_, false) => Flow::Linger,
                // Closing with something unread would reset the connection, and cost the client the answer.
                (true, true) if !connection.inbox.is_empty() => Flow::Linger,
                (true, true) => Flow::Close,
                (false, true) => Flow::Next,
            }
        }
        // The rest of the request is not known to be read: the connection ends with the error.
        Outcome::Unanswered | Outcome::BadResponse | Outcome::Cut => {
            connection.fail(502, facts, facts.body.is_done()).await
        }
        Outcome::TargetSlow => connection.fail(504, facts, facts.body.is_done()).await,
        Outcome::ClientSlow => connection.fail(408, facts, false).await,
        Outcome::BadBody => connection.fail(400, facts, false).await,
        Outcome::ClientLeft => {
            connection.entered.worker.counters.own_answer(460);
            connection.log.status(460);
            Flow::Close
        }
        Outcome::Broken => Flow::Abort,
        Outcome::Switched => Flow::Close,
    }
}

/// One attempt on one connection.
async fn exchange(
    connection: &mut Connection,
    target: &Target,
    upstream: &mut TargetStream,
    request: &mut Pump,
    facts: &Facts,
    (group, deadline): (&Group, Option<Instant>),
) -> Outcome {
    let idle_timeout = connection.routes.idle_timeout();
    let Connection {
        entered,
        stream,
        inbox,
        timer,
        log,
        peer,
        ..
    } = connection;
    let buffers = &entered.worker.buffers;
    let counters = &entered.worker.counters;
    timer.set(idle_timeout);
    let mut attempt = Attempt {
        chosen: target,
        client: stream,
        target: upstream,
        inbox,
        outbox: Buffer::default(),
        request,
        response: None,
        reply: buffers.take_head(),
        facts,
        buffers,
        tether: &entered.tether,
        sink_failed: false,
        up: None,
        down: None,
        tunnelled_bytes: 0,
        log,
    };
    let started = Instant::now();
    attempt.log.dispatched(target.address(), started);
    let polled = poll_fn(|cx| attempt.poll(cx, timer, idle_timeout, group, started));
    let mut outcome = match deadline {
        None => polled.await,
        Some(at) => match timeout_at(at.into(), polled).await {
            Ok(outcome) => outcome,
            Err(_) if attempt.response.is_some() => Outcome::Broken,
            Err(_) => Outcome::TargetSlow,
        },
    };
    if outcome == Outcome::Switched {
        outcome = attempt.tunnel(timer, idle_timeout).await;
    }
    let sent = attempt
        .response
        .as_ref()
        .map_or(attempt.tunnelled_bytes, |(pump, _)| pump.moved_bytes);
    counters.moved(sent, *peer);
    attempt.log.sent(sent);
    let reply = attempt.response.map(|(pump, _)| pump.head);
    buffers.give_back_head(reply.unwrap_or(attempt.reply));
    let mut outbox = attempt.outbox;
    outbox.consume(outbox.filled().len());
    outbox.release(buffers);
    outcome
}

struct Attempt<'a> {
    chosen: &'a Target,
    client: &'a mut ClientStream,
    target: &'a mut TargetStream,
    inbox: &'a mut Buffer,
    outbox: Buffer,
    request: &'a mut Pump,
    /// From the moment its head is complete; with what remains to be known of it.
    response: Option<(Pump, Ending)>,
    reply: Vec<u8>,
    facts: &'a Facts,
    buffers: &'a Buffers,
    tether: &'a Tether,
    /// The target takes no more of the request; it may have answered nevertheless.
    sink_failed: bool,
    /// Bodies that go by pipe.
    up: Option<Splice>,
    down: Option<Splice>,
    /// To the client, after 101.
    tunnelled_bytes: u64,
    log: &'a mut LogRecord,
}

/// What follows when a response is through.
#[derive(Clone, Copy, Debug)]
struct Ending {
    close: bool,
    /// The target keeps the connection.
    keep_alive: bool,
}

impl Attempt<'_> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        timer: &mut Timer,
        idle_timeout: Duration,
        group: &Group,
        started: Instant,
    ) -> Poll<Outcome> {
        if self.tether.is_cut() {
            return Poll::Ready(if self.response.is_some() {
                Outcome::Broken
            } else {
                Outcome::Cut
            });
        }
        let mut progress = false;
        if let Some(outcome) = self.poll_request(cx, &mut progress) {
            return Poll::Ready(outcome);
        }
        if let Poll::Ready(outcome) = self.poll_response(cx, &mut progress, group, started) {
            return Poll::Ready(outcome);
        }
        if progress {
            timer.set(idle_timeout);
        }
        timer.poll_expired(cx).map(|()| match self.response {
            Some(_) => Outcome::Broken,
            None if self.request.waits_for_source() => Outcome::ClientSlow,
            None => Outcome::TargetSlow,
        })
    }

    fn poll_request(&mut self, cx: &mut Context<'_>, progress: &mut bool) -> Option<Outcome> {
        if self.sink_failed || self.request.is_done() {
            return None;
        }
        let sides = (&mut *self.client, &mut *self.target);
        let message = (&mut *self.request, &mut self.up);
        let memory = (&mut *self.inbox, self.buffers);
        match poll_message(cx, message, memory, sides, progress) {
            Poll::Pending | Poll::Ready(Ok(())) => None,
            Poll::Ready(Err(PumpError::Sink)) => {
                self.sink_failed = true;
                None
            }
            Poll::Ready(Err(PumpError::Source)) => Some(Outcome::ClientLeft),
            Poll::Ready(Err(PumpError::Framing(error))) => {
                tracing::debug!(%error, "request body refused");
                Some(if self.response.is_some() {
                    Outcome::Broken
                } else {
                    Outcome::BadBody
                })
            }
        }
    }

    fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        progress: &mut bool,
        group: &Group,
        started: Instant,
    ) -> Poll<Outcome> {
        while self.response.is_none() {
            match self.take_head(group) {
                Err(BadResponse(reason)) => {
                    tracing::debug!(group = group.id, reason, "response refused");
                    return Poll::Ready(Outcome::BadResponse);
                }
                Ok(Head::Complete(status)) => {
                    let now = Instant::now();
                    let took = now.saturating_duration_since(started);
                    group.counters.response_times.add(took.as_micros() as u64);
                    self.log.answered(status, now);
                    self.chosen.answered(status);
                    self.log.status(status);
                    break;
                }
                Ok(Head::Switch) => return Poll::Ready(Outcome::Switched),
                Ok(Head::Interim) => continue,
                Ok(Head::Partial) => {}
            }
            let room = self.outbox.room_to_grow(self.buffers);
            match ready!(read(cx, self.target, room)) {
                Ok(count @ 1..) => {
                    self.outbox.grew_by(count);
                    *progress = true;
                }
                Ok(0) | Err(_) if self.outbox.is_empty() => {
                    return Poll::Ready(Outcome::Unanswered);
                }
                Ok(_) | Err(_) => return Poll::Ready(Outcome::BadResponse),
            }
        }
        let Some((pump, ending)) = &mut self.response else {
            return Poll::Pending;
        };
        let sides = (&mut *self.target, &mut *self.client);
        let memory = (&mut self.outbox, self.buffers);
        let polled = poll_message(cx, (pump, &mut self.down), memory, sides, progress);
        if pump.moved_bytes > 0 {
            self.log.replied();
        }
        Poll::Ready(match ready!(polled) {
            Ok(()) => {
                let request_done = self.request.is_done();
                let reuse = ending.keep_alive && request_done && self.outbox.is_empty();
                Outcome::Complete {
                    reuse,
                    close: ending.close,
                    request_done,
                }
            }
            Err(PumpError::Sink) => Outcome::ClientLeft,
            Err(PumpError::Source | PumpError::Framing(_)) => Outcome::Broken,
        })
    }

    /// Looks whether the response's head is there, and begins to send it on.
    fn take_head(&mut self, group: &Group) -> Result<Head, BadResponse> {
        if self.outbox.is_empty() {
            return Ok(Head::Partial);
        }
        let keep_alive = self.facts.keep_alive && self.request.is_done();
        let (facts, reply) = (self.facts, &mut self.reply);
        let found = read_response(self.outbox.filled(), facts, |response| {
            reply.clear();
            begin_reply(reply, response, facts, keep_alive)
        })?;
        let Some((length, (status, begun))) = found else {
            // The reader refuses longer heads itself.
            debug_assert!(self.outbox.filled().len() < HEAD_MAX_BYTES);
            return Ok(Head::Partial);
        };
        self.outbox.consume(length);
        match begun {
            Begun::Interim => Ok(Head::Interim),
            Begun::Switch => Ok(Head::Switch),
            Begun::Refused => Err(BadResponse("switches protocols unasked")),
            Begun::Message {
                body,
                delivery,
                keep_alive,
            } => {
                group.counters.response(status);
                let reply = std::mem::take(&mut self.reply);
                let pump = Pump::start(reply, body, delivery.chunked, &mut self.outbox)
                    .map_err(|_| BadResponse("chunked framing"))?;
                self.response = Some((
                    pump,
                    Ending {
                        close: delivery.close,
                        keep_alive,
                    },
                ));
                Ok(Head::Complete(status))
            }
        }
    }

    /// After 101: copies both ways until one side is done with it or both are silent too long.
    async fn tunnel(&mut self, timer: &mut Timer, idle_timeout: Duration) -> Outcome {
        self.log.switched();
        self.log.answered(101, Instant::now());
        self.log.status(101);
        let reply = std::mem::take(&mut self.reply);
        let up = Pump::start(Vec::new(), Body::UntilClose, false, self.inbox);
        let down = Pump::start(reply, Body::UntilClose, false, &mut self.outbox);
        let (Ok(mut up), Ok(mut down)) = (up, down) else {
            return Outcome::Broken;
        };
        timer.set(idle_timeout);
        let (mut up_done, mut down_done) = (false, false);
        poll_fn(|cx| {
            let mut progress = false;
            if self.tether.is_cut() {
                return Poll::Ready(());
            }
            if !up_done {
                let sides = (&mut *self.client, &mut *self.target);
                match up.poll(cx, self.inbox, self.buffers, sides, &mut progress) {
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(())) => {
                        up_done = true;
                        // Half-closed: the other half may still have something to say.
                        let _ = Pin::new(&mut *self.target).poll_shutdown(cx);
                    }
                    Poll::Pending => {}
                }
            }
            if !down_done {
                let sides = (&mut *self.target, &mut *self.client);
                match down.poll(cx, &mut self.outbox, self.buffers, sides, &mut progress) {
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(())) => {
                        down_done = true;
                        let _ = Pin::new(&mut *self.client).poll_shutdown(cx);
                    }
                    Poll::Pending => {}
                }
            }
            if up_done && down_done {
                return Poll::Ready(());
            }
            if progress {
                timer.set(idle_timeout);
            }
            timer.poll_expired(cx)
        })
        .await;
        self.request.taken_bytes += up.taken_bytes;
        self.tunnelled_bytes = down.moved_bytes;
        Outcome::Switched
    }
}

enum Head {
    Partial,
    /// 1xx: the answer is still to come.
    Interim,
    /// With its status.
    Complete(u16),
    Switch,
}

enum Begun {
    Interim,
    Switch,
    Refused,
    Message {
        body: Body,
        delivery: Delivery,
        keep_alive: bool,
    },
}

fn begin_reply(
    reply: &mut Vec<u8>,
    response: &Response<'_, '_>,
    facts: &Facts,
    keep_alive: bool,
) -> (u16, Begun) {
    let begun = match response.status {
        101 if facts.is_upgrade => {
            write_switch(reply, response, facts);
            Begun::Switch
        }
        101 => Begun::Refused,
        // The node answers 100-continue itself, and asked for nothing else.
        100..200 => Begun::Interim,
        _ => {
            let delivery = write_response(reply, response, facts, keep_alive);
            Begun::Message {
                body: response.body.clone(),
                delivery,
                keep_alive: response.keep_alive,
            }
        }
    };
    (response.status, begun)
}
