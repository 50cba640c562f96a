//! What becomes of a request: phases match rule and act. Used by `connection` (HTTP/1.x) and `h2`, which
//! translate to and from HTTP/1.1 around it; no I/O.

use std::net::SocketAddr;
use std::sync::Arc;

use super::answer::{self, Manner};
use super::clock::unix_time_s;
use super::follow_up::FollowUp;
use super::guard::{Asked, Finding, Passage, Question, call_back};
use super::log::{LogRecord, TransformStatus};
use super::request::{Facts, Refusal, Request};
use super::rewrite::{Origin, has_invalid_names, write_request};
use super::route::{Action, Forward, Listener, Matched};
use super::sticky::{Reading, Sticky, mark_of};
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
    /// To be decided again with the answer.
    Ask(Box<Question>),
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
    /// In the second pass over a request: what a guard asked.
    pub learned: Option<&'c Finding>,
}

/// A request that its guard let through.
struct Passed {
    facts: Facts,
    /// Header lines that the target gets.
    lines: Vec<u8>,
    /// That the client gets with the answer.
    cookies: Vec<String>,
}

impl Passed {
    fn unknown(facts: Facts) -> Self {
        Self {
            facts,
            lines: Vec::new(),
            cookies: Vec::new(),
        }
    }
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
        if self.learned.is_none() {
            log.opened(request, &self.routes.dns_name, self.port);
        }
        let verdict = if listener.logins.is_callback(request) {
            let passage = call_back(&listener.logins, &self.asked(request, &|| self.arn()));
            match self.guarded(passage, out, log, facts) {
                Ok(passed) => self.refuse(out, 500, passed.facts),
                Err(verdict) => verdict,
            }
        } else {
            let matched = listener.matching(request, self.peer.ip());
            if self.learned.is_none() {
                self.worker.counters.evaluated(matched.evaluations);
            }
            log.matched(matched.priority);
            self.pass(listener, out, log, request, &matched, facts)
        };
        if let Some(headers) = &listener.response_headers
            && matches!(verdict, Verdict::Answer { .. })
        {
            headers.amend(out);
        }
        verdict
    }

    /// The group for a request, and the bond between client and target if there is one.
    fn choose_group(
        &self,
        forward: &Forward,
        request: &Request<'_, '_>,
    ) -> Option<(usize, Option<Sticky>)> {
        let kind = |place: usize| self.routes.stickiness.get(place)?.as_ref();
        // The usual case first: nothing is read where nothing is sticky.
        let next = match forward.stickiness_s {
            None => forward.next(),
            Some(_) => None,
        };
        if let Some(place) = next.filter(|&place| kind(place).is_none()) {
            return Some((place, None));
        }
        let reading = Reading {
            sealer: &self.routes.sealer,
            request,
            now_s: unix_time_s(),
        };
        let bound = forward.stickiness_s.and_then(|duration_s| {
            let mark = reading.group(duration_s)?;
            let group = |place: &usize| self.routes.groups.get(*place);
            forward
                .chosen_from()
                .find(|place| group(place).is_some_and(|group| mark_of(&group.id) == mark))
        });
        let place = next.or(bound).or_else(|| forward.next())?;
        let (kind, groups) = (kind(place), forward.stickiness_s.is_some());
        let mark = mark_of(&self.routes.groups.get(place)?.id);
        let sticky = reading.sticky(mark, kind, groups, self.tls.is_some());
        Some((place, Some(sticky)))
    }

    fn asked<'a, 'h, 'b>(
        &'a self,
        request: &'a Request<'h, 'b>,
        signer: &'a dyn Fn() -> String,
    ) -> Asked<'a, 'h, 'b> {
        Asked {
            guards: &self.worker.guards,
            sealer: &self.routes.sealer,
            counters: &self.worker.counters,
            request,
            learned: self.learned,
            signer,
            now_s: unix_time_s(),
        }
    }

    /// Of the load balancer.
    fn arn(&self) -> String {
        let identity = &self.routes.identity;
        format!(
            "arn:aws:elasticloadbalancing:{}:{}:loadbalancer/{}",
            identity.region, identity.account, self.routes.load_balancer
        )
    }

    /// Phase guard, and what follows if it is passed.
    fn pass(
        &self,
        listener: &Listener,
        out: &mut Vec<u8>,
        log: &mut LogRecord,
        request: &Request<'_, '_>,
        matched: &Matched<'_>,
        facts: Facts,
    ) -> Verdict {
        let Some(guard) = matched.guard else {
            return self.act(listener, out, log, request, matched, Passed::unknown(facts));
        };
        let passage = guard.pass(&self.asked(request, &|| self.arn()));
        if !matches!(passage, Passage::Ask(_)) {
            log.action(guard.action());
        }
        match self.guarded(passage, out, log, facts) {
            Ok(passed) => self.act(listener, out, log, request, matched, passed),
            Err(verdict) => verdict,
        }
    }

    /// Ok: the request goes on. Err: what becomes of it instead.
    fn guarded(
        &self,
        passage: Passage,
        out: &mut Vec<u8>,
        log: &mut LogRecord,
        facts: Facts,
    ) -> Result<Passed, Verdict> {
        let counters = &self.worker.counters;
        match passage {
            Passage::Open => Ok(Passed::unknown(facts)),
            Passage::Known { lines, cookies } => Ok(Passed {
                facts,
                lines,
                cookies,
            }),
            // A second question would be one too many.
            Passage::Ask(_) if self.learned.is_some() => Err(self.refuse(out, 500, facts)),
            Passage::Ask(question) => Err(Verdict::Ask(question)),
            Passage::Refuse(failure) => {
                if let Some(reason) = failure.reason {
                    reason.count(counters);
                    log.error_reason(reason.code());
                }
                self.trace(log);
                Err(self.refuse(out, failure.status, facts))
            }
            Passage::Redirect {
                location,
                cookies,
                failure,
            } => {
                if let Some(reason) = failure {
                    reason.count(counters);
                    log.error_reason(reason.code());
                }
                self.trace(log);
                let (facts, manner) = own_manner(facts);
                out.clear();
                answer::write_found(out, &location, &cookies, manner);
                Err(Verdict::Answer { status: 302, facts })
            }
        }
    }

    fn refuse(&self, out: &mut Vec<u8>, status: u16, facts: Facts) -> Verdict {
        let (facts, manner) = own_manner(facts);
        out.clear();
        answer::write_error(out, status, manner);
        Verdict::Answer { status, facts }
    }

    /// Of a request that no target sees.
    fn trace(&self, log: &mut LogRecord) {
        if log.is_on() {
            let trace_id = self.worker.dice.trace_id(unix_time_s());
            log.trace_id(&[b"Root=", &trace_id[..]].concat());
        }
    }

    /// Writes the head for the target, as the rule's transforms make it. Err: the answer is 500.
    fn write_head(
        &self,
        out: &mut Vec<u8>,
        log: &mut LogRecord,
        request: &Request<'_, '_>,
        matched: &Matched<'_>,
        known: &[u8],
    ) -> Result<(), TransformStatus> {
        let origin = Origin {
            peer: self.peer,
            listener_port: self.port,
            tls: self.tls,
            dns_name: &self.routes.dns_name,
            trace_id: self.worker.dice.trace_id(unix_time_s()),
            known,
        };
        let attributes = &self.routes.attributes;
        if has_invalid_names(request) {
            let counters = &self.worker.counters;
            match attributes.drop_invalid_header_fields {
                true => counters.invalid_headers_dropped.add(1),
                false => counters.invalid_headers_forwarded.add(1),
            }
        }
        let transformed = matched
            .transforms
            .map(|transforms| transforms.apply(request));
        let trace_id = match transformed.transpose()? {
            Some(transformed) if transformed.host.is_some() || transformed.url.is_some() => {
                let (host, url) = (transformed.host.as_deref(), transformed.url.as_deref());
                log.transformed(host, url, TransformStatus::Success);
                let (path, query) = match url {
                    None => (request.path, request.query),
                    Some(url) => match url.split_once('?') {
                        Some((path, query)) => (path, Some(query)),
                        None => (url, None),
                    },
                };
                let changed = Request {
                    path,
                    query,
                    host: host.or(request.host),
                    facts: request.facts.clone(),
                    ..*request
                };
                write_request(out, &changed, &origin, attributes)
            }
            _ => write_request(out, request, &origin, attributes),
        };
        log.trace_id(&out[trace_id]);
        Ok(())
    }

    fn act(
        &self,
        listener: &Listener,
        out: &mut Vec<u8>,
        log: &mut LogRecord,
        request: &Request<'_, '_>,
        matched: &Matched<'_>,
        passed: Passed,
    ) -> Verdict {
        let worker = self.worker;
        out.clear();
        let Passed {
            mut facts,
            lines,
            cookies,
        } = passed;
        let mut failed = None;
        if let Action::Forward(forward) = matched.action
            && let Some((place, sticky)) = self.choose_group(forward, request)
            && let Some(group) = self.routes.groups.get(place)
        {
            log.action("forward");
            match self.write_head(out, log, request, matched, &lines) {
                Ok(()) => {
                    facts.follow_up =
                        FollowUp::new(listener.response_headers.clone(), sticky, cookies);
                    let group = group.clone();
                    return Verdict::Forward { group, facts };
                }
                Err(status) => {
                    log.transformed(None, None, status);
                    failed = Some(500);
                }
            }
        }
        self.trace(log);
        let (facts, manner) = own_manner(facts);
        if let Some(status) = failed {
            answer::write_error(out, status, manner);
            return Verdict::Answer { status, facts };
        }
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
        answer::add_cookies(out, &cookies);
        Verdict::Answer { status, facts }
    }
}

/// For an answer of the node's own.
fn own_manner(mut facts: Facts) -> (Facts, Manner) {
    // A client that waits for 100 Continue may send its body or not: the connection can't go on.
    facts.keep_alive &= !facts.expects_continue || facts.body.is_done();
    let manner = Manner {
        keep_alive: facts.keep_alive,
        is_head: facts.is_head,
        unix_time_s: unix_time_s(),
    };
    (facts, manner)
}
