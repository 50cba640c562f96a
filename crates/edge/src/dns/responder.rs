//! One packet in, at most one packet out. Used by the servers, for every socket with the view it stands for.
//!
//! What must stay true: the tables are held for the life of one question, and nothing here waits; what has
//! to be asked of the world outside comes back as a [`Pending`].

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::amplification::{self, Verdict};
use super::asker::Asker;
use super::forward::Forwarder;
use super::guard::Guard;
use super::kind::Kind;
use super::message::{self, Query, Unanswerable};
use super::name::Name;
use super::query_log::{self, Entry, QueryLogger};
use super::tables::{Answer, Code, Record, Tables, View};

/// How a packet came.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// What becomes of a packet.
pub enum Reply {
    Silence,
    Now(Vec<u8>),
    Later(Box<Pending>),
}

/// What was done with packets since the start.
#[derive(Debug, Default)]
pub struct Counters {
    pub queries: AtomicU64,
    /// Neither answered nor forwarded: not a query, or too many from one address.
    pub dropped: AtomicU64,
    /// Answered by an error because they could not be read.
    pub malformed: AtomicU64,
    pub forwarded: AtomicU64,
    /// Responses over UDP that were one too many for a network.
    pub limited: AtomicU64,
    /// Missing in the query logs of their zones.
    pub unlogged: AtomicU64,
}

impl Counters {
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Answers by the newest tables.
#[derive(Clone)]
pub struct Responder {
    tables: watch::Receiver<Arc<Tables>>,
    view: View,
    forwarder: Option<Forwarder>,
    counters: Arc<Counters>,
    guard: Option<Arc<Guard>>,
    logger: Option<QueryLogger>,
}

impl Responder {
    /// `forwarder` is for a VPC's view; without it the world outside does not exist.
    pub fn new(
        tables: watch::Receiver<Arc<Tables>>,
        view: View,
        forwarder: Option<Forwarder>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            tables,
            view,
            forwarder,
            counters,
            guard: None,
            logger: None,
        }
    }

    /// Limits responses and gives cookies, as an address that anybody can reach needs.
    pub fn guarded(self, guard: Guard) -> Self {
        Self {
            guard: Some(Arc::new(guard)),
            ..self
        }
    }

    /// Writes down what is asked of zones that have it so.
    pub fn logged(self, logger: QueryLogger) -> Self {
        Self {
            logger: Some(logger),
            ..self
        }
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn reply(&self, packet: &[u8], transport: Transport, source: IpAddr) -> Reply {
        let mut known = transport == Transport::Tcp;
        let reply = self.respond(packet, transport, source, &mut known);
        let (Some(guard), Reply::Now(response), false) = (&self.guard, &reply, known) else {
            return reply;
        };
        match guard.judge(source, response) {
            Verdict::Send => reply,
            Verdict::Truncate => Reply::Now(amplification::truncated(response)),
            Verdict::Drop => {
                Counters::count(&self.counters.limited);
                Reply::Silence
            }
        }
    }

    /// `known` becomes true when the source is certainly who it says.
    fn respond(
        &self,
        packet: &[u8],
        transport: Transport,
        source: IpAddr,
        known: &mut bool,
    ) -> Reply {
        Counters::count(&self.counters.queries);
        let mut query = match Query::read(packet) {
            Ok(query) => query,
            Err(Unanswerable::Drop) => {
                Counters::count(&self.counters.dropped);
                return Reply::Silence;
            }
            Err(Unanswerable::Refuse { id, flags, code }) => {
                Counters::count(&self.counters.malformed);
                return Reply::Now(message::write_refusal(id, flags, code));
            }
        };
        if let Some(edns) = &mut query.edns {
            edns.cookie = match (&self.guard, edns.cookie) {
                (Some(guard), Some(cookie)) => {
                    *known |= guard.believes(&cookie, source);
                    Some(guard.cookie(&cookie, source))
                }
                _ => None,
            };
        }
        let mut signing = None;
        let answer = match refused(&query) {
            Some(code) => Answer {
                code,
                ..Answer::default()
            },
            None => {
                let tables = self.tables.borrow().clone();
                let subnet = query.edns.and_then(|edns| edns.subnet);
                let asker = Asker::new(Some(source), subnet, &|below| random() % below);
                let answer = tables.answer_to(&asker, &self.view, &query.name, query.kind);
                let is_signed = self.view == View::Public && tables.signs(&query.name, &answer);
                let code = match answer.code {
                    // It will be told as absence of records.
                    Code::NxDomain if is_signed && query.wants_dnssec() => tables.denial(&answer),
                    code => code,
                };
                self.write_down(&tables, &query, code, transport, source);
                if is_signed {
                    signing = Some(tables);
                }
                answer
            }
        };
        let pending = Pending {
            query,
            answer,
            recursion: matches!(self.view, View::Vpc(..)),
            transport,
            forwarder: None,
            signing,
        };
        if pending.answer.outside.is_none() {
            return Reply::Now(pending.write());
        }
        match &self.forwarder {
            Some(forwarder) if pending.query.recursion_desired() => {
                Counters::count(&self.counters.forwarded);
                Reply::Later(Box::new(Pending {
                    forwarder: Some(forwarder.clone()),
                    ..pending
                }))
            }
            _ => Reply::Now(pending.fail()),
        }
    }

    fn write_down(
        &self,
        tables: &Tables,
        query: &Query,
        code: Code,
        transport: Transport,
        resolver: IpAddr,
    ) {
        // A VPC's resolver knows by itself: no public server is asked.
        let (Some(logger), View::Public) = (&self.logger, &self.view) else {
            return;
        };
        if let Some(log) = tables.query_log(&query.name, query.kind) {
            logger.tell(Entry {
                log: log.clone(),
                time_ms: query_log::now_ms(),
                name: query.name.clone(),
                kind: query.kind,
                code,
                transport,
                resolver,
                subnet: query.edns.and_then(|edns| edns.subnet),
            });
        }
    }
}

/// What is not even looked up.
fn refused(query: &Query) -> Option<Code> {
    if query.edns.is_some_and(|edns| edns.version > 0) {
        return Some(Code::BadVers);
    }
    let transfer = matches!(query.kind, Kind::AXFR | Kind::IXFR);
    if !query.class_in || transfer {
        return Some(Code::Refused);
    }
    (query.kind == Kind::OPT).then_some(Code::FormErr)
}

/// A question whose answer, or its end, must be asked for outside.
pub struct Pending {
    query: Query,
    answer: Answer,
    recursion: bool,
    transport: Transport,
    forwarder: Option<Forwarder>,
    /// Signs the answer once it is complete.
    signing: Option<Arc<Tables>>,
}

impl Pending {
    /// Always ends: the forwarder has a time limit.
    pub async fn finish(mut self) -> Vec<u8> {
        let (Some(forwarder), Some(name)) = (self.forwarder.take(), self.answer.outside.take())
        else {
            return self.fail();
        };
        match forwarder.ask(&name, self.query.kind).await {
            Ok(heard) => {
                self.answer.code = heard.code;
                self.answer.answers.extend(heard.answers);
                self.answer.authority = heard.authority;
                self.write()
            }
            Err(error) => {
                tracing::debug!(%error, %name, "nobody outside answered");
                self.fail()
            }
        }
    }

    fn fail(mut self) -> Vec<u8> {
        self.answer = Answer {
            code: Code::ServFail,
            ..Answer::default()
        };
        self.write()
    }

    fn write(mut self) -> Vec<u8> {
        shuffle(&mut self.answer.answers);
        if let Some(most) = self.answer.at_most {
            cut(&mut self.answer.answers, most);
        }
        if let Some(tables) = &self.signing {
            let (query, wants) = (&self.query, self.query.wants_dnssec());
            tables.finish(&mut self.answer, &query.name, query.kind, wants);
        }
        let limit = match self.transport {
            Transport::Udp => self.query.udp_limit(),
            Transport::Tcp => message::MAX_TCP_BYTES,
        };
        message::write_answer(&self.query, &self.answer, self.recursion, limit)
    }
}

/// Values of one set in random order: Route 53 gives no order, and clients take the first.
fn shuffle(records: &mut [Record]) {
    let same = |a: &Record, b: &Record| a.kind == b.kind && a.name == b.name;
    for set in records.chunk_by_mut(same) {
        for n in (1..set.len()).rev() {
            let other = random() % (n as u64 + 1);
            set.swap(n, other as usize);
        }
    }
}

/// Leaves the first values of each set.
fn cut(records: &mut Vec<Record>, most: usize) {
    let mut run = 0;
    let mut before: Option<(Name, Kind)> = None;
    records.retain(|record| {
        let own = Some((record.name.clone(), record.kind));
        run = if own == before { run + 1 } else { 1 };
        before = own;
        run <= most
    });
}

/// Good enough to spread load (xorshift64*), not for secrets.
fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0) | 1);
    }
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        state.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    })
}
