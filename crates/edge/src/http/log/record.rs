//! What is known of one request, filled through its phases and written down at its end. Used by `connection`
//! and `exchange` for HTTP/1 requests, by `h2` for streams; `line` makes text of it.
//!
//! Every phase calls its method whether the log is on or not; when it is off they return at once.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::line::put_quoted;
use crate::http::request::{Request, host_name};
use crate::http::target::Group;
use crate::http::text::{put, put_number};

/// "If the string is longer than 8 KB, it is truncated": field `user_agent`.
const USER_AGENT_MAX_BYTES: usize = 8 * 1024;

/// Records for the next requests of this thread, with memory for their text.
const SPARE_MAX: usize = 64;
const KEPT_TEXT_BYTES: usize = 2 * 1024;
thread_local! {
    // In boxes, as they are used.
    #[expect(clippy::vec_box)]
    static SPARE: RefCell<Vec<Box<Known>>> = const { RefCell::new(Vec::new()) };
}

/// Field `type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Http,
    Https,
    H2,
    Grpcs,
    Ws,
    Wss,
}

/// How far a request is from RFC 7230 ("Desync mitigation mode").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Classification {
    Acceptable,
    Ambiguous,
    Severe,
}

/// "Classification reasons" of the access log's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    AmbiguousUri,
    BadContentLength,
    BadHeader,
    BadTransferEncoding,
    BadUri,
    BadMethod,
    BadVersion,
    BothTeClPresent,
    DuplicateContentLength,
    EmptyHeader,
    GetHeadZeroContentLength,
    MultipleContentLength,
    MultipleTransferEncodingChunked,
    NonCompliantHeader,
    NonCompliantVersion,
    SpaceInUri,
    SuspiciousHeader,
    UndefinedContentLengthSemantics,
    UndefinedTransferEncodingSemantics,
}

impl Reason {
    pub fn classification(self) -> Classification {
        match self {
            Self::GetHeadZeroContentLength
            | Self::NonCompliantHeader
            | Self::NonCompliantVersion
            | Self::SpaceInUri => Classification::Acceptable,
            Self::AmbiguousUri
            | Self::BothTeClPresent
            | Self::DuplicateContentLength
            | Self::EmptyHeader
            | Self::SuspiciousHeader
            | Self::UndefinedContentLengthSemantics
            | Self::UndefinedTransferEncodingSemantics => Classification::Ambiguous,
            Self::BadContentLength
            | Self::BadHeader
            | Self::BadTransferEncoding
            | Self::BadUri
            | Self::BadMethod
            | Self::BadVersion
            | Self::MultipleContentLength
            | Self::MultipleTransferEncodingChunked => Classification::Severe,
        }
    }
}

/// Field `request_transform_status`, by AWS's codes without their `Transform`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransformStatus {
    Success,
    BufferTooSmall,
    CompileError,
    CompileTooBig,
    InvalidHost,
    InvalidPath,
    RegexSyntaxError,
    ReplaceError,
}

/// What the connection log tells beside `TlsFacts`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// `X25519`, `X25519MLKEM768`, ...
    pub key_exchange: Option<&'static str>,
    pub client_certificate: Option<ClientCertificate>,
    /// Why the handshake failed, by AWS's code: `ClientCertUntrusted`, `UnmappedConnectionError`, ...
    pub failure: Option<&'static str>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// RFC 2253: `CN=a,O=b`.
    pub subject: String,
    /// `NotBefore=2023-09-21T22:43:21Z;NotAfter=2026-06-17T22:43:21Z`
    pub validity: String,
    /// Upper case hexadecimal.
    pub serial_number: String,
}

/// One request. Small while the log is off, because every idle connection has one.
#[derive(Debug, Default)]
pub struct LogRecord {
    pub kind: Kind,
    /// None: the log is off.
    known: Option<Box<Known>>,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) created: Option<(SystemTime, Instant)>,
    /// The request went to the target.
    pub(super) dispatched: Option<Instant>,
    /// The target began to answer.
    pub(super) answered: Option<Instant>,
    /// The answer began to go to the client.
    pub(super) replied: Option<Instant>,
    pub(super) elb_status: Option<u16>,
    pub(super) target_status: Option<u16>,
    pub(super) target: Option<SocketAddr>,
    pub(super) group: Option<Arc<Group>>,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) priority: Option<i32>,
    pub(super) actions: [&'static str; 3],
    pub(super) error_reason: Option<&'static str>,
    pub(super) reason: Option<Reason>,
    pub(super) transform: Option<TransformStatus>,
    /// The fields below, quoted already.
    pub(super) text: Vec<u8>,
    pub(super) request: Span,
    pub(super) user_agent: Span,
    pub(super) trace_id: Span,
    pub(super) redirect_url: Span,
    pub(super) transformed_host: Span,
    pub(super) transformed_uri: Span,
}

/// A part of `Known::text`; empty: the field is not known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl LogRecord {
    pub fn is_on(&self) -> bool {
        self.known.is_some()
    }

    pub(super) fn known(&self) -> Option<&Known> {
        self.known.as_deref()
    }

    /// Starts over for a request that begins to arrive.
    pub fn begin(&mut self, on: bool, kind: Kind) {
        self.kind = kind;
        self.forget();
        if on {
            let mut known = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
            known.created = Some((SystemTime::now(), Instant::now()));
            self.known = Some(known);
        }
    }

    /// Nothing more is to be written for it.
    pub fn forget(&mut self) {
        let Some(mut known) = self.known.take() else {
            return;
        };
        let mut text = std::mem::take(&mut known.text);
        if text.capacity() > KEPT_TEXT_BYTES {
            return;
        }
        text.clear();
        *known = Known {
            text,
            ..Known::default()
        };
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_MAX {
                spare.push(known);
            }
        });
    }

    /// The connection became a WebSocket.
    pub fn switched(&mut self) {
        self.kind = match self.kind {
            Kind::Https | Kind::Wss => Kind::Wss,
            _ => Kind::Ws,
        };
    }

    /// The request line, with the load balancer's own name if it names no host.
    pub fn opened(&mut self, request: &Request<'_, '_>, dns_name: &str, port: u16) {
        let (kind, scheme) = (self.kind, self.scheme());
        let Some(known) = &mut self.known else { return };
        known.text.reserve(512);
        let host = request.host.map_or(dns_name, host_name);
        let version = match kind {
            Kind::H2 | Kind::Grpcs => "HTTP/2.0",
            _ if request.facts.is_http_1_0 => "HTTP/1.0",
            _ => "HTTP/1.1",
        };
        known.request = known.write(|text| {
            put_quoted(text, request.method.as_bytes());
            put(text, &[b" ", scheme.as_bytes(), b"://"]);
            put_quoted(text, host.as_bytes());
            put(text, &[b":"]);
            put_number(text, port.into());
            put_quoted(text, request.path.as_bytes());
            if let Some(query) = request.query {
                put(text, &[b"?"]);
                put_quoted(text, query.as_bytes());
            }
            put(text, &[b" ", version.as_bytes()]);
        });
        let mut headers = request.headers.iter();
        if let Some(agent) = headers.find(|header| header.name.eq_ignore_ascii_case("user-agent")) {
            let agent = &agent.value[..agent.value.len().min(USER_AGENT_MAX_BYTES)];
            known.user_agent = known.write(|text| put_quoted(text, agent));
        }
    }

    /// A request that could not be read, as AWS writes it; one that could stands already.
    pub fn unread(&mut self, dns_name: &str, port: u16) {
        let scheme = self.scheme();
        let Some(known) = &mut self.known else { return };
        if known.request.end > 0 {
            return;
        }
        known.request = known.write(|text| {
            put(
                text,
                &[b"- ", scheme.as_bytes(), b"://", dns_name.as_bytes(), b":"],
            );
            put_number(text, port.into());
            put(text, &[b"- -"]);
        });
    }

    fn scheme(&self) -> &'static str {
        match self.kind {
            Kind::Http | Kind::Ws => "http",
            Kind::Https | Kind::H2 | Kind::Grpcs | Kind::Wss => "https",
        }
    }

    /// The rule's priority; None: the default rule.
    pub fn matched(&mut self, priority: Option<u32>) {
        if let Some(known) = &mut self.known {
            let priority = priority.and_then(|priority| i32::try_from(priority).ok());
            known.priority = Some(priority.unwrap_or(0));
        }
    }

    /// `authenticate`, `forward`, `redirect` or `fixed-response`, in the order they are taken.
    pub fn action(&mut self, name: &'static str) {
        if let Some(known) = &mut self.known
            && let Some(free) = known.actions.iter_mut().find(|name| name.is_empty())
        {
            *free = name;
        }
    }

    pub fn error_reason(&mut self, code: &'static str) {
        if let Some(known) = &mut self.known {
            known.error_reason = Some(code);
        }
    }

    pub fn classified(&mut self, reason: Option<Reason>) {
        if let Some(known) = &mut self.known {
            known.reason = reason;
        }
    }

    /// The value of X-Amzn-Trace-Id as the target gets it.
    pub fn trace_id(&mut self, value: &[u8]) {
        if let Some(known) = &mut self.known {
            known.trace_id = known.write(|text| put_quoted(text, value));
        }
    }

    pub fn redirect_url(&mut self, url: &str) {
        if let Some(known) = &mut self.known {
            known.redirect_url = known.write(|text| put_quoted(text, url.as_bytes()));
        }
    }

    /// What transforms made of host and path; None: no transform changed that part.
    pub fn transformed(&mut self, host: Option<&str>, uri: Option<&str>, status: TransformStatus) {
        let Some(known) = &mut self.known else { return };
        known.transform = Some(status);
        if let Some(host) = host {
            known.transformed_host = known.write(|text| put_quoted(text, host.as_bytes()));
        }
        if let Some(uri) = uri {
            known.transformed_uri = known.write(|text| put_quoted(text, uri.as_bytes()));
        }
    }

    /// The group that the request goes to.
    pub fn grouped(&mut self, group: &Arc<Group>) {
        if let Some(known) = &mut self.known {
            known.group = Some(group.clone());
        }
    }

    /// The request begins to go to a target.
    pub fn dispatched(&mut self, target: SocketAddr, at: Instant) {
        if let Some(known) = &mut self.known {
            known.target = Some(target);
            known.dispatched = Some(at);
            known.answered = None;
            known.replied = None;
            known.target_status = None;
        }
    }

    /// The head of the target's answer is there.
    pub fn answered(&mut self, status: u16, at: Instant) {
        if let Some(known) = &mut self.known {
            known.target_status = Some(status);
            known.answered = Some(at);
        }
    }

    /// The first byte of the answer went to the client. Costs nothing if it is known already.
    pub fn replied(&mut self) {
        if let Some(known) = &mut self.known {
            known.replied.get_or_insert_with(Instant::now);
        }
    }

    /// What the client got.
    pub fn status(&mut self, status: u16) {
        if let Some(known) = &mut self.known {
            known.elb_status = Some(status);
        }
    }

    pub fn received(&mut self, bytes: u64) {
        if let Some(known) = &mut self.known {
            known.received_bytes += bytes;
        }
    }

    pub fn sent(&mut self, bytes: u64) {
        if let Some(known) = &mut self.known {
            known.sent_bytes += bytes;
        }
    }

    #[cfg(test)]
    pub(super) fn set_times(&mut self, created: (SystemTime, Instant), replied: Instant) {
        if let Some(known) = &mut self.known {
            known.created = Some(created);
            known.replied = Some(replied);
        }
    }
}

impl Known {
    fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = self.text.len() as u32;
        write(&mut self.text);
        let end = self.text.len() as u32;
        Span { start, end }
    }

    pub(super) fn part(&self, span: Span) -> &[u8] {
        &self.text[span.start as usize..span.end as usize]
    }
}

/// One check of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheckRecord<'a> {
    /// `http`, `https`, `h2` or `grpc`.
    pub kind: &'static str,
    pub started: SystemTime,
    pub took_ns: u64,
    pub target: SocketAddr,
    pub target_group: &'a str,
    pub status_code: Option<u16>,
    /// None: it passed. By AWS's code: `TimedOut`, `ConnectionReset`, `ResponseCodeMismatch`, `TargetError`, ...
    pub failure: Option<&'static str>,
}
