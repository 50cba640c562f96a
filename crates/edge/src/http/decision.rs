//! What becomes of a request: phases match rule and act. Used by `connection` (HTTP/1.x) and `h2`, which
//! translate to and from HTTP/1.1 around it; no I/O.

use std::net::SocketAddr;
use std::sync::Arc;

use fogbank_types::elb::OnUnauthenticated;

use super::answer::{self, Manner};
use super::clock::unix_time_s;
use super::follow_up::FollowUp;
use super::log::{LogRecord, TransformStatus};
use super::request::{Facts, Refusal, Request};
use super::rewrite::{Origin, write_request};
use super::route::{Action, Forward, Listener, Matched};
use super::sticky::{Reading, Sticky, mark_of};
use super::table::Guard;
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
        let verdict = self.act(listener, out, log, request, &matched, facts);
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

    /// The status to refuse a request with that does not pass the rule's guard. Nobody can be logged in here and no
    /// token be checked yet: what asks for it stays shut.
    fn guarded(&self, matched: &Matched<'_>, log: &mut LogRecord) -> Option<u16> {
        let (status, reason) = match &**matched.guard? {
            Guard::AuthenticateOidc(oidc) => match oidc.on_unauthenticated {
                OnUnauthenticated::Allow => return None,
                OnUnauthenticated::Deny => (401, "AuthUnauthorized"),
                OnUnauthenticated::Authenticate => (500, "AuthUnhandledException"),
            },
            Guard::JwtValidation(_) => (401, "JWTHeaderNotPresent"),
        };
        log.error_reason(reason);
        self.worker.counters.auth_errors.add(1);
        Some(status)
    }

    /// Writes the head for the target, as the rule's transforms make it. Err: the answer is 500.
    fn write_head(
        &self,
        out: &mut Vec<u8>,
        log: &mut LogRecord,
        request: &Request<'_, '_>,
        matched: &Matched<'_>,
    ) -> Result<(), TransformStatus> {
        let origin = Origin {
            peer: self.peer,
            listener_port: self.port,
            tls: self.tls,
            dns_name: &self.routes.dns_name,
            trace_id: self.worker.dice.trace_id(unix_time_s()),
        };
        let attributes = &self.routes.attributes;
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
        mut facts: Facts,
    ) -> Verdict {
        let worker = self.worker;
        out.clear();
        let mut failed = self.guarded(matched, log);
        if failed.is_none()
            && let Action::Forward(forward) = matched.action
            && let Some((place, sticky)) = self.choose_group(forward, request)
            && let Some(group) = self.routes.groups.get(place)
        {
            log.action("forward");
            match self.write_head(out, log, request, matched) {
                Ok(()) => {
                    facts.follow_up = FollowUp::new(listener.response_headers.clone(), sticky);
                    let group = group.clone();
                    return Verdict::Forward { group, facts };
                }
                Err(status) => {
                    log.transformed(None, None, status);
                    failed = Some(500);
                }
            }
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
        Verdict::Answer { status, facts }
    }
}
