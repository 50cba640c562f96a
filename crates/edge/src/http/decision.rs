//! What becomes of a request: phases match rule and act. Used by `connection` (HTTP/1.x) and `h2`, which
//! translate to and from HTTP/1.1 around it; no I/O.

use std::net::SocketAddr;
use std::sync::Arc;

use super::answer::{self, Manner};
use super::clock::unix_time_s;
use super::log::LogRecord;
use super::request::{Facts, Refusal, Request};
use super::rewrite::{Origin, write_request};
use super::route::{Action, Listener, Matched};
use super::target::Group;
use super::tls::TlsFacts;
use super::worker::{Routes, Worker};

/// What becomes of a request.
pub enum Verdict {
    Forward {
        group: Arc<Group>,
        facts: Facts,
    },
    /// The answer stands in `out`.
    Answer {
        status: u16,
        facts: Facts,
    },
    Refuse(Refusal),
    Close,
}

/// What an action needs to know of the connection.
pub struct Deciding<'c> {
    pub worker: &'c Worker,
    pub routes: &'c Routes,
    pub peer: SocketAddr,
    pub port: u16,
    /// None: a plain connection.
    pub tls: Option<&'c TlsFacts>,
}

impl Deciding<'_> {
    /// How the client addressed the node.
    fn origin(&self) -> (&'static str, u16) {
        let protocol = if self.tls.is_some() { "https" } else { "http" };
        (protocol, self.port)
    }

    /// Writes into `out` what goes to the target or, as HTTP/1.1, what the client gets.
    pub fn decide(
        &self,
        listener: &Listener,
        out: &mut Vec<u8>,
        log: &mut LogRecord,
        request: &Request<'_, '_>,
        facts: Facts,
    ) -> Verdict {
        log.opened(request, &self.routes.dns_name, self.port);
        let matched = listener.matching(request, self.peer.ip());
        self.worker.counters.evaluated(matched.evaluations);
        log.matched(matched.priority);
        self.act(out, log, request, &matched, facts)
    }

    fn act(
        &self,
        out: &mut Vec<u8>,
        log: &mut LogRecord,
        request: &Request<'_, '_>,
        matched: &Matched<'_>,
        mut facts: Facts,
    ) -> Verdict {
        let worker = self.worker;
        out.clear();
        if let Action::Forward(forward) = matched.action
            && let Some(group) = forward
                .next()
                .and_then(|place| self.routes.groups.get(place))
        {
            let origin = Origin {
                peer: self.peer,
                listener_port: self.port,
                tls: self.tls,
                dns_name: &self.routes.dns_name,
                trace_id: worker.dice.trace_id(unix_time_s()),
            };
            let trace_id = write_request(out, request, &origin, &self.routes.attributes);
            log.trace_id(&out[trace_id]);
            log.action("forward");
            let group = group.clone();
            return Verdict::Forward { group, facts };
        }
        if log.is_on() {
            let trace_id = worker.dice.trace_id(unix_time_s());
            log.trace_id(&[b"Root=", &trace_id[..]].concat());
        }
        // A client that waits for 100 Continue may send its body or not: the connection can't go on.
        facts.keep_alive &= !facts.expects_continue || facts.body.is_done();
        let manner = Manner {
            keep_alive: facts.keep_alive,
            is_head: facts.is_head,
            unix_time_s: unix_time_s(),
        };
        let status = match matched.action {
            Action::Redirect(redirect) => {
                worker.counters.redirects.add(1);
                log.action("redirect");
                if log.is_on() {
                    log.redirect_url(&answer::location(redirect, request, self.origin()));
                }
                answer::write_redirect(out, redirect, request, self.origin(), manner);
                redirect.status_code
            }
            Action::FixedResponse(fixed) => {
                worker.counters.fixed_responses.add(1);
                log.action("fixed-response");
                answer::write_fixed(out, fixed, manner);
                fixed.status_code
            }
            Action::Forward(_) => {
                answer::write_error(out, 503, manner);
                503
            }
        };
        Verdict::Answer { status, facts }
    }
}
