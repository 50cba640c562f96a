//! The head of a client's request: read strictly, its framing decided once. Used by `connection`; pure.
//!
//! Whatever two servers could read in two ways is refused (400 and close), so that no request can hide in
//! another's body: "HTTP Desync mitigation mode", ELB guide, and RFC 9112, sections 3 to 6. Limits and status
//! codes follow "Quotas" and "Troubleshoot your Application Load Balancers" of that guide.

use std::mem::MaybeUninit;

use httparse::Header;

use super::body::Body;
use super::desync::{is_suspicious, worse};
use super::follow_up::FollowUp;
use super::log::Reason;

const REQUEST_LINE_MAX_BYTES: usize = 16 * 1024;
const HEADER_MAX_BYTES: usize = 16 * 1024;
pub const HEAD_MAX_BYTES: usize = 64 * 1024;
/// Header lines read without asking for memory.
const INLINE_HEADERS: usize = 80;
/// More addresses in X-Forwarded-For are answered with 463.
const FORWARDED_FOR_MAX: usize = 30;

/// Why a request is answered by the node itself. The connection closes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    /// For the log; never sent.
    pub reason: &'static str,
}

pub const fn bad(reason: &'static str) -> Refusal {
    Refusal {
        status: 400,
        reason,
    }
}

/// What a header is to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Pass,
    /// Meant for this hop alone, or written anew.
    Drop,
    ForwardedFor,
    TraceId,
}

/// A request's head, borrowed from the read buffer.
#[derive(Debug)]
pub struct Request<'h, 'b> {
    pub method: &'b str,
    /// Without the query.
    pub path: &'b str,
    pub query: Option<&'b str>,
    /// The Host header, or the authority of an absolute target; None for HTTP/1.0 without one.
    pub host: Option<&'b str>,
    pub headers: &'h [Header<'b>],
    pub roles: &'h [Role],
    pub facts: Facts,
    /// The value of the Upgrade header when the client asks for a WebSocket.
    pub upgrade: Option<&'b [u8]>,
}

/// What is still to be known when the head is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub body: Body,
    pub content_length: Option<u64>,
    pub is_http_1_0: bool,
    pub keep_alive: bool,
    pub is_head: bool,
    /// May be sent a second time (RFC 9110, 9.2.2).
    pub is_idempotent: bool,
    pub expects_continue: bool,
    pub is_upgrade: bool,
    /// How far it is from RFC 7230; None: it complies.
    pub noncompliance: Option<Reason>,
    /// What the decision asks of target and response.
    pub follow_up: Option<FollowUp>,
}

impl Facts {
    /// Of a plain GET by the node itself.
    pub fn of_get() -> Self {
        Self {
            body: Body::NONE,
            content_length: None,
            is_http_1_0: false,
            keep_alive: false,
            is_head: false,
            is_idempotent: true,
            expects_continue: false,
            is_upgrade: false,
            noncompliance: None,
            follow_up: None,
        }
    }

    /// Of a request that could not be read: nothing is known of it.
    pub fn of_refused() -> Self {
        Self {
            is_idempotent: false,
            ..Self::of_get()
        }
    }
}

impl Request<'_, '_> {
    /// The host without its port.
    pub fn host_name(&self) -> &str {
        host_name(self.host.unwrap_or_default())
    }
}

/// A host without its port.
pub fn host_name(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.find(']').map_or(host, |end| &host[..end + 2]),
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// Reads a head from the start of `bytes`; `then` sees it while it is borrowed. None: it is not all there.
pub fn read_request<R>(
    bytes: &[u8],
    then: impl FnOnce(&Request<'_, '_>) -> R,
) -> Result<Option<(usize, R)>, Refusal> {
    let mut inline = [const { MaybeUninit::uninit() }; INLINE_HEADERS];
    match read_with(bytes, &mut inline) {
        Err(ReadError::TooManyHeaders) => {
            let lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
            let mut many = vec![MaybeUninit::uninit(); lines + 1];
            finish(bytes, read_with(bytes, &mut many), then)
        }
        read => finish(bytes, read, then),
    }
}

enum ReadError {
    TooManyHeaders,
    Refused(Refusal),
}

type Read<'h, 'b> = Option<(usize, &'b str, &'b str, u8, &'h [Header<'b>])>;

fn read_with<'h, 'b>(
    bytes: &'b [u8],
    headers: &'h mut [MaybeUninit<Header<'b>>],
) -> Result<Read<'h, 'b>, ReadError> {
    let mut request = httparse::Request::new(&mut []);
    let status = request.parse_with_uninit_headers(bytes, headers);
    match status {
        Ok(httparse::Status::Partial) => {
            let line_ends = bytes
                .iter()
                .skip_while(|byte| b"\r\n".contains(byte))
                .any(|&b| b == b'\n');
            if !line_ends && bytes.len() > REQUEST_LINE_MAX_BYTES {
                return Err(ReadError::Refused(Refusal {
                    status: 414,
                    reason: "request line too long",
                }));
            }
            if bytes.len() >= HEAD_MAX_BYTES {
                return Err(ReadError::Refused(bad("request header too long")));
            }
            Ok(None)
        }
        Ok(httparse::Status::Complete(length)) => {
            // The parser fills all three when it completes.
            let method = request.method.unwrap_or_default();
            let target = request.path.unwrap_or_default();
            let version = request.version.unwrap_or_default();
            Ok(Some((length, method, target, version, request.headers)))
        }
        Err(httparse::Error::TooManyHeaders) => Err(ReadError::TooManyHeaders),
        Err(httparse::Error::Version) => Err(ReadError::Refused(version_refusal(bytes))),
        Err(httparse::Error::Token) => Err(ReadError::Refused(token_refusal(bytes))),
        Err(_) => Err(ReadError::Refused(bad("header does not parse"))),
    }
}

/// Method or target hold what they can't.
fn token_refusal(bytes: &[u8]) -> Refusal {
    let line = bytes.trim_ascii_start().split(|&byte| byte == b'\n').next();
    let method = line.and_then(|line| line.split(|&byte| byte == b' ').next());
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    match method {
        Some(method) if !method.is_empty() && method.iter().all(is_token) => {
            bad("request line does not parse")
        }
        _ => bad("method does not parse"),
    }
}

/// 505 for an HTTP version we don't speak, 400 for what is no request line with a version at all.
fn version_refusal(bytes: &[u8]) -> Refusal {
    let line = bytes
        .split(|&byte| byte == b'\n')
        .find(|line| line.len() > 1)
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    // HTTP/2 is agreed on by ALPN; its preface on a connection that has not is no request (fact HTTP-1).
    if line == b"PRI * HTTP/2.0" {
        return bad("HTTP/2 without TLS");
    }
    let mut words = line.split(|&byte| byte == b' ');
    match (words.nth(2), words.next()) {
        (Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None)
            if major.is_ascii_digit() && minor.is_ascii_digit() && *major != b'1' =>
        {
            Refusal {
                status: 505,
                reason: "HTTP version",
            }
        }
        _ => bad("not an HTTP version"),
    }
}

fn finish<R>(
    bytes: &[u8],
    read: Result<Read<'_, '_>, ReadError>,
    then: impl FnOnce(&Request<'_, '_>) -> R,
) -> Result<Option<(usize, R)>, Refusal> {
    let (length, method, target, minor, headers) = match read {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(None),
        Err(ReadError::Refused(refusal)) => return Err(refusal),
        Err(ReadError::TooManyHeaders) => return Err(bad("too many headers")),
    };
    check_lines(&bytes[..length])?;
    let mut inline = [Role::Pass; INLINE_HEADERS];
    let mut many;
    let roles = if headers.len() <= INLINE_HEADERS {
        &mut inline[..headers.len()]
    } else {
        many = vec![Role::Pass; headers.len()];
        &mut many[..]
    };
    let mut fields = Fields::default();
    if !bytes[..length].is_ascii() {
        fields.noncompliance = Some(Reason::NonCompliantHeader);
    }
    for (header, role) in headers.iter().zip(roles.iter_mut()) {
        *role = fields.take(header)?;
    }
    fields.drop_nominated(headers, roles);
    let request = fields.request(method, target, minor == 0, headers, roles)?;
    Ok(Some((length, then(&request))))
}

/// The parser takes a bare LF for a line's end; we don't. It is counted, because that is fast.
fn check_lines(head: &[u8]) -> Result<(), Refusal> {
    if head.len() > HEAD_MAX_BYTES {
        return Err(bad("request header too long"));
    }
    let line_feeds = head.iter().filter(|&&byte| byte == b'\n').count();
    let ends = head
        .iter()
        .zip(&head[1..])
        .filter(|&(&a, &b)| a == b'\r' && b == b'\n')
        .count();
    if line_feeds != ends {
        return Err(bad("bare LF"));
    }
    Ok(())
}

/// The fields that decide about framing and connection, collected from the header lines.
#[derive(Default)]
pub struct Fields<'b> {
    host: Option<&'b str>,
    content_length: Option<u64>,
    is_chunked: bool,
    has_transfer_encoding: bool,
    connection_close: bool,
    connection_keep_alive: bool,
    connection_upgrade: bool,
    /// A Connection header names other headers.
    nominates: bool,
    upgrade: Option<&'b [u8]>,
    expects_continue: bool,
    forwarded_for_count: usize,
    is_framed_by_stream: bool,
    noncompliance: Option<Reason>,
}

impl<'b> Fields<'b> {
    pub fn take(&mut self, header: &Header<'b>) -> Result<Role, Refusal> {
        let (name, value) = (header.name, header.value);
        if name.len() + value.len() > HEADER_MAX_BYTES {
            return Err(bad("header line too long"));
        }
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let role = match name.len() {
            2 if is("te") => Role::Drop,
            4 if is("host") => {
                self.take_host(value)?;
                Role::Drop
            }
            6 if is("expect") => {
                self.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
                Role::Drop
            }
            7 if is("trailer") => Role::Drop,
            7 if is("upgrade") => {
                self.upgrade = Some(value);
                Role::Drop
            }
            10 if is("connection") => {
                self.take_connection(value);
                Role::Drop
            }
            10 if is("keep-alive") => Role::Drop,
            14 if is("content-length") => {
                self.take_content_length(value)?;
                Role::Drop
            }
            15 if is("x-amzn-trace-id") => Role::TraceId,
            15 if is("x-forwarded-for") => {
                self.forwarded_for_count += value.split(|&byte| byte == b',').count();
                if self.forwarded_for_count > FORWARDED_FOR_MAX {
                    return Err(Refusal {
                        status: 463,
                        reason: "more than 30 addresses in X-Forwarded-For",
                    });
                }
                Role::ForwardedFor
            }
            16 if is("proxy-connection") || is("x-forwarded-port") => Role::Drop,
            16 | 20 | 23 if is_of_login(name) => Role::Drop,
            17 if is("x-forwarded-proto") => Role::Drop,
            17 if is("transfer-encoding") => {
                self.take_transfer_encoding(value)?;
                Role::Drop
            }
            // Only the node speaks of clients' certificates, on every listener.
            22..=36
                if name
                    .get(..22)
                    .is_some_and(|start| start.eq_ignore_ascii_case("x-amzn-mtls-clientcert")) =>
            {
                Role::Drop
            }
            // What normalizes it would see another framing than ours.
            13..=24 if is_suspicious(name) => {
                self.note(Reason::SuspiciousHeader);
                Role::Drop
            }
            _ => Role::Pass,
        };
        Ok(role)
    }

    fn note(&mut self, reason: Reason) {
        self.noncompliance = worse(self.noncompliance, reason);
    }

    fn take_content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let length = length_of(value).ok_or(bad("content length"))?;
        match self.content_length.replace(length) {
            Some(other) if other != length => return Err(bad("two content lengths")),
            // One of them goes on (RFC 9110, 8.6).
            Some(_) => self.note(Reason::DuplicateContentLength),
            None => {}
        }
        Ok(())
    }

    fn take_host(&mut self, value: &'b [u8]) -> Result<(), Refusal> {
        let host = host_of(value).ok_or(bad("host"))?;
        match self.host.replace(host) {
            Some(_) => Err(bad("two hosts")),
            None => Ok(()),
        }
    }

    fn take_connection(&mut self, value: &[u8]) {
        for token in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            match token {
                _ if token.eq_ignore_ascii_case(b"close") => self.connection_close = true,
                _ if token.eq_ignore_ascii_case(b"keep-alive") => self.connection_keep_alive = true,
                _ if token.eq_ignore_ascii_case(b"upgrade") => self.connection_upgrade = true,
                _ => self.nominates = true,
            }
        }
    }

    fn take_transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.has_transfer_encoding, true) {
            return Err(bad("two transfer encodings"));
        }
        match value {
            _ if value.eq_ignore_ascii_case(b"chunked") => self.is_chunked = true,
            _ if value.eq_ignore_ascii_case(b"identity") => {}
            _ => {
                return Err(Refusal {
                    status: 501,
                    reason: "transfer encoding",
                });
            }
        }
        Ok(())
    }

    /// Headers that a Connection header names are for this hop (RFC 9110, 7.6.1). Those the node itself writes
    /// are dropped already.
    fn drop_nominated(&self, headers: &[Header<'_>], roles: &mut [Role]) {
        if !self.nominates {
            return;
        }
        for connection in headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case("connection"))
        {
            for token in connection
                .value
                .split(|&byte| byte == b',')
                .map(<[u8]>::trim_ascii)
            {
                for (header, role) in headers.iter().zip(roles.iter_mut()) {
                    if *role == Role::Pass && header.name.as_bytes().eq_ignore_ascii_case(token) {
                        *role = Role::Drop;
                    }
                }
            }
        }
    }

    /// The body is framed by an HTTP/2 stream; without a length it goes on in chunks.
    pub fn frame_by_stream(&mut self, ends: bool) {
        self.is_chunked = !ends && self.content_length.is_none();
        self.is_framed_by_stream = true;
    }

    /// Content that GET and HEAD have no use for, and two ways to say where it ends.
    fn note_framing(&mut self, method: &str) {
        if self.is_framed_by_stream {
            return;
        }
        let is_get = matches!(method, "GET" | "HEAD");
        match self.content_length {
            Some(0) if is_get => self.note(Reason::GetHeadZeroContentLength),
            Some(_) if is_get => self.note(Reason::UndefinedContentLengthSemantics),
            _ => {}
        }
        if self.is_chunked && is_get {
            self.note(Reason::UndefinedTransferEncodingSemantics);
        }
        if self.has_transfer_encoding && self.content_length.is_some() {
            self.note(Reason::BothTeClPresent);
        }
        if self.is_chunked {
            // "The Transfer-Encoding overrides the Content-Length" (RFC 9112, 6.3); it goes no further.
            self.content_length = None;
        }
    }

    pub fn request<'h>(
        mut self,
        method: &'b str,
        target: &'b str,
        is_http_1_0: bool,
        headers: &'h [Header<'b>],
        roles: &'h [Role],
    ) -> Result<Request<'h, 'b>, Refusal> {
        if method.len() + target.len() > REQUEST_LINE_MAX_BYTES {
            return Err(Refusal {
                status: 414,
                reason: "request line too long",
            });
        }
        if method == "TRACE" || method == "CONNECT" {
            return Err(Refusal {
                status: 405,
                reason: "method",
            });
        }
        if self.has_transfer_encoding && is_http_1_0 {
            return Err(bad("transfer encoding in HTTP/1.0"));
        }
        self.note_framing(method);
        let (authority, path, query) = split_target(method, target).ok_or(bad("request target"))?;
        if self.host.is_none() && !is_http_1_0 {
            return Err(bad("no host"));
        }
        let body = match (self.is_chunked, self.content_length) {
            (true, _) => Body::chunked(),
            (false, length) => Body::Length(length.unwrap_or(0)),
        };
        let is_upgrade = self.connection_upgrade
            && !is_http_1_0
            && method == "GET"
            && body.is_done()
            && self
                .upgrade
                .is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"));
        let keep_alive = !self.connection_close && (!is_http_1_0 || self.connection_keep_alive);
        let facts = Facts {
            body,
            content_length: self.content_length,
            is_http_1_0,
            keep_alive,
            is_head: method == "HEAD",
            is_idempotent: matches!(method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE"),
            expects_continue: self.expects_continue && !is_http_1_0,
            is_upgrade,
            noncompliance: self.noncompliance,
            follow_up: None,
        };
        let upgrade = self.upgrade.filter(|_| is_upgrade);
        Ok(Request {
            method,
            path,
            query,
            host: authority.or(self.host),
            headers,
            roles,
            facts,
            upgrade,
        })
    }
}

/// Digits and nothing else.
pub fn length_of(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Host names, addresses, ports: nothing that could be taken for another part of a URL.
fn host_of(value: &[u8]) -> Option<&str> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(byte);
    if !value.iter().all(allowed) {
        return None;
    }
    std::str::from_utf8(value).ok()
}

type Target<'b> = (Option<&'b str>, &'b str, Option<&'b str>);

/// Authority (of an absolute target), path and query.
fn split_target<'b>(method: &str, target: &'b str) -> Option<Target<'b>> {
    if target.contains('#') {
        return None;
    }
    let (authority, rest) = if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        (None, target)
    } else {
        let scheme = ["http://", "https://"].into_iter().find(|scheme| {
            target
                .get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })?;
        let rest = &target[scheme.len()..];
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() {
            return None;
        }
        (Some(host_of(authority.as_bytes())?), rest)
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    Some((authority, if path.is_empty() { "/" } else { path }, query))
}

/// Only the node says who logged in: also not by a name that a server takes for one of these (`X_Amzn_Oidc_Data`
/// becomes the same variable of a CGI or WSGI program).
fn is_of_login(name: &str) -> bool {
    const NAMES: [&str; 3] = [
        "x-amzn-oidc-accesstoken",
        "x-amzn-oidc-data",
        "x-amzn-oidc-identity",
    ];
    let is = |own: &str| {
        let same = |(byte, own): (u8, u8)| {
            byte.eq_ignore_ascii_case(&own) || (own == b'-' && byte == b'_')
        };
        name.len() == own.len() && name.bytes().zip(own.bytes()).all(same)
    };
    NAMES.into_iter().any(is)
}
