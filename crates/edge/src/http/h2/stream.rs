//! One request on a stream of a client connection, through the same phases as over HTTP/1.1: match rule, act,
//! and `forward` or `relay` it, or answer. Spawned by `session`.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};

use super::super::answer;
use super::super::clock::unix_time_s;
use super::super::decision::{Deciding, Verdict};
use super::super::log::{Kind, LogRecord};
use super::super::request::{Facts, Refusal};
use super::super::response::{Response, read_response};
use super::super::table::Version;
use super::super::target::Target;
use super::super::tether::Tether;
use super::super::timer::Timer;
use super::super::worker::{Routes, Worker};
use super::download::{ClientLeft, Download};
use super::head::{self, Manner};
use super::session::{Session, Stream};
use super::{forward, relay};

/// A stream's request with its answer to come.
pub struct Exchange<'s> {
    pub session: &'s Session,
    /// The table it began with.
    pub routes: Arc<Routes>,
    pub body: RecvStream,
    pub download: Download,
    pub timer: Timer,
    /// Cuts it off when its target leaves.
    pub tether: Arc<Tether>,
    pub facts: Facts,
    pub manner: Manner,
    pub log: LogRecord,
    pub received_bytes: u64,
    /// The target it went to last.
    pub target: Option<Arc<Target>>,
}

pub async fn run(
    stream: Stream,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let session = &*stream.session;
    let worker = &session.entered.worker;
    let routes = worker.routes();
    // Its listener was deleted: the connection goes with it, and the client may ask elsewhere.
    let Some(listener) = routes.listener(session.port) else {
        return respond.send_reset(Reason::REFUSED_STREAM);
    };
    worker.counters.requests.add(1);
    if session.peer.is_ipv6() {
        worker.counters.ipv6_requests.add(1);
    }
    let (parts, body) = request.into_parts();
    let mut out = worker.buffers.take_head();
    let mut log = LogRecord::default();
    log.begin(routes.attributes.access_log.is_some(), Kind::H2);
    let mut learned = None;
    let read = loop {
        let deciding = Deciding {
            worker,
            routes: &routes,
            peer: session.peer,
            port: session.port,
            tls: session.tls.as_deref(),
            learned: learned.as_ref(),
        };
        let read = head::read_request(&parts, body.is_end_stream(), |request, manner| {
            let mut facts = request.facts.clone();
            facts.keep_alive = true;
            if manner.is_grpc {
                log.kind = Kind::Grpcs;
            }
            let verdict = deciding.decide(listener, &mut out, &mut log, request, facts);
            (verdict, manner)
        });
        match read {
            Ok((Verdict::Ask(question), _)) => {
                let answer = Box::pin(worker.guards.answer(*question, &worker.counters));
                learned = Some(answer.await);
            }
            read => break read,
        }
    };
    drop(parts);
    let (verdict, manner) = match read {
        Ok(decided) => decided,
        Err(refusal) => (Verdict::Refuse(refusal), Manner::default()),
    };
    let mut exchange = Exchange {
        session,
        body,
        download: Download::of(respond),
        timer: Timer::new(routes.idle_timeout()),
        tether: Arc::new(Tether::default()),
        routes: routes.clone(),
        facts: Facts::of_refused(),
        manner,
        log,
        received_bytes: out.len() as u64,
        target: None,
    };
    poll_fn(|cx| {
        exchange.tether.hold(cx.waker());
        Poll::Ready(())
    })
    .await;
    match verdict {
        Verdict::Forward { group, facts } => {
            exchange.facts = facts;
            match group.version() {
                // Fact TGT-14.
                Version::Http1 if manner.is_grpc => exchange.fail(464).await,
                Version::Grpc if !manner.is_post => exchange.fail(464).await,
                Version::Http1 => forward::forward(&mut exchange, &group, out).await,
                // In a box, so that the others need no room for it.
                Version::Http2 | Version::Grpc => {
                    Box::pin(relay::relay(&mut exchange, &group, out)).await;
                }
            }
        }
        Verdict::Answer { status, facts } => {
            exchange.facts = facts;
            exchange.answer(status, &out).await;
        }
        Verdict::Refuse(refusal) => exchange.refuse(refusal).await,
        Verdict::Close | Verdict::Ask(_) => exchange.download.reset(Reason::REFUSED_STREAM),
    }
    let (received, sent) = (exchange.received_bytes, exchange.download.sent_bytes);
    worker.counters.moved(received + sent, session.peer);
    exchange.log.received(received);
    exchange.log.sent(sent);
    if exchange.log.is_on() {
        worker.logs.access(&exchange.log, &session.place(&routes));
        exchange.log.forget();
    }
}

impl Exchange<'_> {
    pub fn worker(&self) -> &Arc<Worker> {
        &self.session.entered.worker
    }

    pub fn client_left(&mut self) {
        self.worker().counters.own_answer(460);
        self.log.status(460);
    }

    async fn refuse(&mut self, refusal: Refusal) {
        let peer = self.session.peer;
        tracing::debug!(%peer, status = refusal.status, reason = refusal.reason, "request refused");
        self.log.unread(&self.routes.dns_name, self.session.port);
        self.fail(refusal.status).await;
    }

    /// Sends the node's own error page.
    pub async fn fail(&mut self, status: u16) {
        let mut out = Vec::new();
        let manner = answer::Manner {
            keep_alive: true,
            is_head: self.facts.is_head,
            unix_time_s: unix_time_s(),
        };
        match self.routes.attributes.mesh {
            None => answer::write_error(&mut out, status, manner),
            Some(_) => answer::write_proxy_error(&mut out, status, manner),
        }
        let listener = self.routes.listener(self.session.port);
        if let Some(headers) = listener.and_then(|listener| listener.response_headers.as_ref()) {
            headers.amend(&mut out);
        }
        self.answer(status, &out).await;
    }

    /// Sends an answer of the node's own, which stands there as HTTP/1.1.
    pub async fn answer(&mut self, status: u16, out: &[u8]) {
        self.worker().counters.own_answer(status);
        self.log.status(status);
        let read = read_response(out, &self.facts, |response: &Response<'_, '_>| {
            head::write_response(response)
        });
        // What the node writes itself can be read.
        let Ok(Some((length, Ok(head)))) = read else {
            return self.download.reset(Reason::INTERNAL_ERROR);
        };
        let body = if self.facts.is_head {
            Bytes::new()
        } else {
            Bytes::copy_from_slice(&out[length..])
        };
        self.log.replied();
        if self.send_whole(head, body).await.is_err() {
            self.client_left();
        }
    }

    async fn send_whole(
        &mut self,
        head: http::Response<()>,
        mut body: Bytes,
    ) -> Result<(), ClientLeft> {
        self.download.begin(head, body.is_empty())?;
        self.timer.set(self.routes.idle_timeout());
        let Self {
            download, timer, ..
        } = self;
        let sent = poll_fn(|cx| {
            while !body.is_empty() {
                if timer.poll_expired(cx).is_ready() {
                    return Poll::Ready(Err(ClientLeft));
                }
                let room = ready!(download.poll_room(cx, body.len()))?;
                let piece = body.split_to(room);
                download.send(piece, body.is_empty(), &mut false)?;
            }
            Poll::Ready(Ok(()))
        })
        .await;
        if sent.is_err() {
            self.download.reset(Reason::CANCEL);
        }
        sent
    }
}
