//! Heads as they go on: the request to the target, the response to the client. Used by `connection` and
//! `exchange`; pure, writes into a buffer that is used again and again.
//!
//! "HTTP headers and Application Load Balancers" and "Request tracing", ELB guide.

use std::net::SocketAddr;
use std::ops::Range;

use super::body::Body;
use super::request::{Facts, Request, Role};
use super::response::{Response, is_own_hop};
use super::table::{Attributes, XffMode};
use super::text::{put, put_address, put_ip, put_number};
use super::tls::TlsFacts;

/// What a forwarded request gets from where it came in.
pub struct Origin<'a> {
    pub peer: SocketAddr,
    pub listener_port: u16,
    /// None: a plain connection.
    pub tls: Option<&'a TlsFacts>,
    /// Stands in for a missing Host (HTTP/1.0).
    pub dns_name: &'a str,
    pub trace_id: [u8; 35],
    /// Whole header lines: who the guard says it is.
    pub known: &'a [u8],
}

/// Writes the head that the target gets; gives the place of the X-Amzn-Trace-Id value in it.
pub fn write_request(
    out: &mut Vec<u8>,
    request: &Request<'_, '_>,
    origin: &Origin<'_>,
    attributes: &Attributes,
) -> Range<usize> {
    put(
        out,
        &[request.method.as_bytes(), b" ", request.path.as_bytes()],
    );
    if let Some(query) = request.query {
        put(out, &[b"?", query.as_bytes()]);
    }
    put(out, &[b" HTTP/1.1\r\n"]);
    if attributes.mesh.is_some() {
        put(
            out,
            &[
                b"Host: ",
                request.host.unwrap_or(origin.dns_name).as_bytes(),
                b"\r\n",
            ],
        );
        write_passed(out, request, |header, role| {
            *role != Role::Drop || is_end_to_end(header.name)
        });
        write_rest(out, request);
        let end = out.len();
        return end..end;
    }
    write_forwarded_for(out, request, origin.peer, attributes);
    let port_line: &[u8] = match origin.tls {
        None => b"X-Forwarded-Proto: http\r\nX-Forwarded-Port: ",
        Some(_) => b"X-Forwarded-Proto: https\r\nX-Forwarded-Port: ",
    };
    put(out, &[port_line]);
    put_number(out, origin.listener_port.into());
    put(
        out,
        &[
            b"\r\nHost: ",
            host(request, origin, attributes).as_bytes(),
            b"\r\n",
        ],
    );
    let trace_id = write_trace_id(out, request, &origin.trace_id);
    if let Some(tls) = origin.tls {
        put(out, &[&tls.headers]);
    }
    put(out, &[origin.known]);
    write_passed(out, request, |header, role| {
        *role == Role::Pass
            && !origin.tls.is_some_and(|tls| tls.is_own(header.name))
            && (!attributes.drop_invalid_header_fields || is_plain_name(header.name))
    });
    write_rest(out, request);
    trace_id
}

fn write_passed(
    out: &mut Vec<u8>,
    request: &Request<'_, '_>,
    passes: impl Fn(&httparse::Header<'_>, &Role) -> bool,
) {
    for (header, role) in request.headers.iter().zip(request.roles) {
        if passes(header, role) {
            put(out, &[header.name.as_bytes(), b": ", header.value, b"\r\n"]);
        }
    }
}

/// Lines that a load balancer writes anew; a proxy between tasks has nothing to say in their place.
fn is_end_to_end(name: &str) -> bool {
    let start = |prefix: &str| {
        let start = name.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    start("x-forwarded-") || start("x-amzn-")
}

/// Upgrade, framing, and the end of the head.
fn write_rest(out: &mut Vec<u8>, request: &Request<'_, '_>) {
    if let Some(protocol) = request.upgrade {
        put(
            out,
            &[b"Connection: Upgrade\r\nUpgrade: ", protocol, b"\r\n"],
        );
    }
    match (&request.facts.body, request.facts.content_length) {
        (Body::Chunked(_), _) => put(out, &[b"Transfer-Encoding: chunked\r\n"]),
        (_, Some(length)) => write_length(out, length),
        _ => {}
    }
    put(out, &[b"\r\n"]);
}

/// The port is left out when it is the listener's, unless the Host header is to be kept byte for byte.
fn host<'r>(request: &'r Request<'_, '_>, origin: &Origin<'r>, attributes: &Attributes) -> &'r str {
    let Some(host) = request.host else {
        return origin.dns_name;
    };
    if attributes.preserve_host_header {
        return host;
    }
    let name = request.host_name();
    match host
        .get(name.len()..)
        .and_then(|rest| rest.strip_prefix(':'))
    {
        Some(port) if port.parse() == Ok(origin.listener_port) && port_is_implied(origin) => name,
        _ => host,
    }
}

/// The listener's port is the one that clients leave out.
fn port_is_implied(origin: &Origin<'_>) -> bool {
    origin.listener_port == if origin.tls.is_some() { 443 } else { 80 }
}

fn write_forwarded_for(
    out: &mut Vec<u8>,
    request: &Request<'_, '_>,
    peer: SocketAddr,
    attributes: &Attributes,
) {
    if attributes.xff_mode == XffMode::Remove {
        return;
    }
    let start = out.len();
    put(out, &[b"X-Forwarded-For: "]);
    let before = out.len();
    for (header, role) in request.headers.iter().zip(request.roles) {
        if *role == Role::ForwardedFor && !header.value.is_empty() {
            let separator: &[u8] = if out.len() > before { b", " } else { b"" };
            put(out, &[separator, header.value]);
        }
    }
    if attributes.xff_mode == XffMode::Append {
        let separator: &[u8] = if out.len() > before { b", " } else { b"" };
        put(out, &[separator]);
        match (attributes.xff_client_port, peer.ip()) {
            (false, ip) => put_ip(out, ip),
            (true, _) => put_address(out, peer),
        }
    } else if out.len() == before {
        return out.truncate(start);
    }
    put(out, &[b"\r\n"]);
}

/// Root is added when there is none; a Root that came in is kept behind our Self ("Request tracing").
fn write_trace_id(
    out: &mut Vec<u8>,
    request: &Request<'_, '_>,
    trace_id: &[u8; 35],
) -> Range<usize> {
    let came = request
        .headers
        .iter()
        .zip(request.roles)
        .find(|(_, role)| **role == Role::TraceId);
    let value = came.map_or(&b""[..], |(header, _)| header.value);
    let fields = || value.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let is = |field: &[u8], name: &[u8]| {
        field
            .get(..name.len())
            .is_some_and(|s| s.eq_ignore_ascii_case(name))
    };
    let own: &[u8] = if fields().any(|field| is(field, b"Root=")) {
        b"Self="
    } else {
        b"Root="
    };
    put(out, &[b"X-Amzn-Trace-Id: "]);
    let start = out.len();
    put(out, &[own, trace_id]);
    for field in fields().filter(|field| !field.is_empty() && !is(field, b"Self=")) {
        put(out, &[b";", field]);
    }
    let end = out.len();
    put(out, &[b"\r\n"]);
    start..end
}

/// How a response's body goes to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub chunked: bool,
    /// The connection ends with the response.
    pub close: bool,
}

/// Writes the head that the client gets, and says how the body has to follow.
pub fn write_response(
    out: &mut Vec<u8>,
    response: &Response<'_, '_>,
    request: &Facts,
    keep_alive: bool,
) -> Delivery {
    let delivery = match response.body {
        Body::Chunked(_) if !request.is_http_1_0 => Delivery {
            chunked: true,
            close: !keep_alive,
        },
        Body::UntilClose if !request.is_http_1_0 && keep_alive => Delivery {
            chunked: true,
            close: false,
        },
        Body::Chunked(_) | Body::UntilClose => Delivery {
            chunked: false,
            close: true,
        },
        Body::Length(_) => Delivery {
            chunked: false,
            close: !keep_alive,
        },
    };
    put(out, &[b"HTTP/1.1 "]);
    put_number(out, response.status.into());
    put(out, &[b" ", response.reason.as_bytes(), b"\r\n"]);
    let follow_up = request.follow_up.as_ref();
    for header in response
        .headers
        .iter()
        .filter(|header| !is_own_hop(header.name))
    {
        if follow_up.is_some_and(|follow_up| follow_up.removes(header.name)) {
            continue;
        }
        put(out, &[header.name.as_bytes(), b": ", header.value, b"\r\n"]);
    }
    if let Some(follow_up) = follow_up {
        put(out, &[&follow_up.lines(response)]);
    }
    if delivery.chunked {
        put(out, &[b"Transfer-Encoding: chunked\r\n"]);
    } else if let Some(length) = response.content_length.filter(|_| response.status != 204) {
        write_length(out, length);
    }
    let connection: &[u8] = if delivery.close {
        b"Connection: close\r\n\r\n"
    } else {
        b"Connection: keep-alive\r\n\r\n"
    };
    put(out, &[connection]);
    delivery
}

/// Writes a 101: from here on the bytes belong to the two ends.
pub fn write_switch(out: &mut Vec<u8>, response: &Response<'_, '_>, request: &Facts) {
    put(
        out,
        &[b"HTTP/1.1 101 ", response.reason.as_bytes(), b"\r\n"],
    );
    for header in response.headers {
        if !is_own_hop(header.name) || header.name.eq_ignore_ascii_case("upgrade") {
            put(out, &[header.name.as_bytes(), b": ", header.value, b"\r\n"]);
        }
    }
    if let Some(follow_up) = &request.follow_up {
        put(out, &[&follow_up.lines(response)]);
    }
    put(out, &[b"Connection: upgrade\r\n\r\n"]);
}

fn write_length(out: &mut Vec<u8>, length: u64) {
    put(out, &[b"Content-Length: "]);
    put_number(out, length);
    put(out, &[b"\r\n"]);
}

/// `[-A-Za-z0-9]+`: other names go when `drop_invalid_header_fields` is on.
fn is_plain_name(name: &str) -> bool {
    /// Looked up for every byte of every request's names.
    const PLAIN: [bool; 256] = {
        let mut plain = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            plain[byte] = byte as u8 == b'-' || (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        plain
    };
    name.bytes().all(|byte| PLAIN[usize::from(byte)])
}

/// Whether a header's name is one that `drop_invalid_header_fields` is about.
pub fn has_invalid_names(request: &Request<'_, '_>) -> bool {
    let headers = request.headers.iter().zip(request.roles);
    let mut passed = headers.filter(|(_, role)| **role == Role::Pass);
    passed.any(|(header, _)| !is_plain_name(header.name))
}

#[cfg(test)]
mod tests;
