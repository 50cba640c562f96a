//! Lines of the three logs, by AWS's formats. Used by `connection`, `h2`, `health`; pure.
//!
//! A field that is not known is `-`, a stage that did not come about `-1`. Control characters, quotes and
//! backslashes of a client are written as `\xHH`, so that a line is always a line and a quoted field ends at
//! its quote; other bytes stand as they came.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use super::record::{ConnectionRecord, HealthCheckRecord, Kind, Known, LogRecord, Span};
use crate::http::text::{fill_hex, put, put_address, put_ip, put_number, put_seconds, put_time};
use crate::http::tls::TlsFacts;

/// A line of usual length.
const LINE_BYTES: usize = 768;

/// What all lines of a connection have in common.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// `app/<name>/<id>`
    pub load_balancer: &'a str,
    pub node: Option<IpAddr>,
    pub peer: SocketAddr,
    pub listener_port: u16,
    pub tls: Option<&'a TlsFacts>,
    /// Of the connection; its logs are joined by it.
    pub trace: u128,
}

/// Writes a request's line, its LF included.
pub fn write_access(out: &mut Vec<u8>, record: &LogRecord, place: &Place<'_>, now: SystemTime) {
    let kind_of = record.kind;
    let Some(record) = record.known() else { return };
    let kind = match kind_of {
        Kind::Http => "http ",
        Kind::Https => "https ",
        Kind::H2 => "h2 ",
        Kind::Grpcs => "grpcs ",
        Kind::Ws => "ws ",
        Kind::Wss => "wss ",
    };
    // Most lines fit without asking for memory again.
    out.reserve(LINE_BYTES);
    put(out, &[kind.as_bytes()]);
    put_time(out, now);
    put(out, &[b" ", place.load_balancer.as_bytes(), b" "]);
    put_address(out, place.peer);
    put(out, &[b" "]);
    put_target(out, record.target);
    put_stages(out, record);
    put_status(out, record.elb_status);
    put_status(out, record.target_status);
    put_number(out, record.received_bytes);
    put(out, &[b" "]);
    put_number(out, record.sent_bytes);
    put_field(out, record, record.request);
    put_field(out, record, record.user_agent);
    let tls = place.tls;
    let of_tls =
        |part: fn(&TlsFacts) -> &'static str| tls.map(part).filter(|part| !part.is_empty());
    let cipher = of_tls(|tls| tls.cipher).unwrap_or("-").as_bytes();
    let version = of_tls(|tls| tls.version).unwrap_or("-").as_bytes();
    let group = record.group.as_ref().map_or("-", |group| &group.id);
    put(out, &[b" ", cipher, b" ", version, b" ", group.as_bytes()]);
    put_field(out, record, record.trace_id);
    put_certificate(out, tls);
    match record.priority {
        None => put(out, &[b" - "]),
        Some(-1) => put(out, &[b" -1 "]),
        Some(priority) => {
            put(out, &[b" "]);
            put_number(out, priority.unsigned_abs().into());
            put(out, &[b" "]);
        }
    }
    put_time(out, record.created.map_or(now, |(at, _)| at));
    put_actions(out, record);
    put_field(out, record, record.redirect_url);
    put(
        out,
        &[
            b" \"",
            record.error_reason.unwrap_or("-").as_bytes(),
            b"\" \"",
        ],
    );
    put_target(out, record.target);
    put(out, &[b"\" \""]);
    match record.target_status {
        Some(status) => put_number(out, status.into()),
        None => put(out, &[b"-"]),
    }
    match record.reason {
        // Writing to a Vec can't fail.
        Some(reason) => {
            let _ = write!(out, "\" \"{:?}\" \"{reason:?}\" ", reason.classification());
        }
        None => put(out, &[b"\" \"-\" \"-\" "]),
    }
    put_trace(out, place.trace);
    put_field(out, record, record.transformed_host);
    put_field(out, record, record.transformed_uri);
    match record.transform {
        Some(status) => drop(write!(out, " \"Transform{status:?}\" ")),
        None => put(out, &[b" \"-\" "]),
    }
    put_node(out, place.node);
}

/// Writes a connection's line.
pub fn write_connection(
    out: &mut Vec<u8>,
    place: &Place<'_>,
    record: &ConnectionRecord,
    now: SystemTime,
) {
    put_time(out, now);
    put(out, &[b" "]);
    put_ip(out, place.peer.ip());
    put(out, &[b" "]);
    put_number(out, place.peer.port().into());
    put(out, &[b" "]);
    put_number(out, place.listener_port.into());
    let or_dash = |text: &'static str| if text.is_empty() { "-" } else { text };
    let (protocol, cipher) = place.tls.map_or(("", ""), |tls| (tls.version, tls.cipher));
    put(
        out,
        &[
            b" ",
            or_dash(protocol).as_bytes(),
            b" ",
            or_dash(cipher).as_bytes(),
            b" ",
        ],
    );
    match place.tls {
        Some(tls) => put_seconds(out, Duration::from_micros(tls.handshake_us)),
        None => put(out, &[b"-"]),
    }
    match &record.client_certificate {
        Some(certificate) => {
            put(out, &[b" \""]);
            put_quoted(out, certificate.subject.as_bytes());
            put(out, &[b"\" "]);
            put_quoted(out, certificate.validity.as_bytes());
            put(out, &[b" "]);
            put_quoted(out, certificate.serial_number.as_bytes());
        }
        None => put(out, &[b" - - -"]),
    }
    match record.failure {
        Some(code) => put(out, &[b" Failed:", code.as_bytes(), b" "]),
        None => put(out, &[b" Success "]),
    }
    put_trace(out, place.trace);
    let key_exchange = record.key_exchange.unwrap_or("-");
    put(
        out,
        &[
            b" ",
            key_exchange.as_bytes(),
            b" ",
            place.load_balancer.as_bytes(),
            b" ",
        ],
    );
    put_node(out, place.node);
}

/// Writes a health check's line.
pub fn write_health_check(
    out: &mut Vec<u8>,
    check: &HealthCheckRecord<'_>,
    load_balancer: &str,
    node: Option<IpAddr>,
) {
    put(out, &[check.kind.as_bytes(), b" "]);
    put_time(out, check.started);
    let (seconds, nanos) = (check.took_ns / 1_000_000_000, check.took_ns % 1_000_000_000);
    let _ = write!(out, " {seconds}.{nanos:09} ");
    put_address(out, check.target);
    // "Name of the target group": the ARN's middle.
    let name = check
        .target_group
        .rsplit('/')
        .nth(1)
        .unwrap_or(check.target_group);
    let status = if check.failure.is_some() {
        "FAIL"
    } else {
        "PASS"
    };
    put(out, &[b" ", name.as_bytes(), b" ", status.as_bytes(), b" "]);
    put_status(out, check.status_code);
    put(
        out,
        &[
            check.failure.unwrap_or("-").as_bytes(),
            b" ",
            load_balancer.as_bytes(),
            b" ",
        ],
    );
    put_node(out, node);
}

/// Three times in seconds, milliseconds exact.
fn put_stages(out: &mut Vec<u8>, record: &Known) {
    let between = |from: Option<Instant>, to: Option<Instant>| match (from, to) {
        (Some(from), Some(to)) => Some(to.saturating_duration_since(from)),
        _ => None,
    };
    let created = record.created.map(|(_, at)| at);
    // All or none: "set to -1 if the load balancer can't dispatch the request to a target".
    let stages = match (record.dispatched, record.answered) {
        (Some(_), Some(answered)) => [
            between(created, record.dispatched),
            between(record.dispatched, record.answered),
            between(record.answered, record.replied.or(Some(answered))),
        ],
        _ => [None; 3],
    };
    put(out, &[b" "]);
    for stage in stages {
        match stage {
            Some(time) => put_seconds(out, time),
            None => put(out, &[b"-1"]),
        }
        put(out, &[b" "]);
    }
}

fn put_status(out: &mut Vec<u8>, status: Option<u16>) {
    match status {
        Some(status) => put_number(out, status.into()),
        None => put(out, &[b"-"]),
    }
    put(out, &[b" "]);
}

fn put_field(out: &mut Vec<u8>, record: &Known, span: Span) {
    let part = record.part(span);
    let part: &[u8] = if part.is_empty() { b"-" } else { part };
    put(out, &[b" \"", part, b"\""]);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, &[b" \"", text.as_bytes(), b"\""]);
}

/// Name and certificate of a TLS handshake.
fn put_certificate(out: &mut Vec<u8>, tls: Option<&TlsFacts>) {
    put(out, &[b" \""]);
    match tls.and_then(|tls| tls.server_name.as_deref()) {
        Some(name) => put_quoted(out, name.as_bytes()),
        None => put(out, &[b"-"]),
    }
    put(out, &[b"\""]);
    match tls {
        None => put_text(out, "-"),
        Some(tls) if tls.resumed => put_text(out, "session-reused"),
        Some(tls) => put_text(out, &tls.certificate),
    }
}

fn put_actions(out: &mut Vec<u8>, record: &Known) {
    put(out, &[b" \""]);
    let taken = record.actions.iter().filter(|name| !name.is_empty());
    let mut separator: &[u8] = b"";
    for name in taken {
        put(out, &[separator, name.as_bytes()]);
        separator = b",";
    }
    if separator.is_empty() {
        put(out, &[b"-"]);
    }
    put(out, &[b"\""]);
}

fn put_target(out: &mut Vec<u8>, target: Option<SocketAddr>) {
    match target {
        Some(target) => put_address(out, target),
        None => put(out, &[b"-"]),
    }
}

/// The node's address ends every line.
fn put_node(out: &mut Vec<u8>, node: Option<IpAddr>) {
    match node {
        Some(ip) => put_ip(out, ip),
        None => put(out, &[b"-"]),
    }
    put(out, &[b"\n"]);
}

fn put_trace(out: &mut Vec<u8>, trace: u128) {
    let mut text = *b"TID_00000000000000000000000000000000";
    fill_hex(&mut text[4..20], (trace >> 64) as u64);
    fill_hex(&mut text[20..], trace as u64);
    put(out, &[&text]);
}

/// What a client sent, made safe for a quoted field of one line.
pub(super) fn put_quoted(out: &mut Vec<u8>, text: &[u8]) {
    let is_special = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte == 0x7f);
    // Looks at all of it without a branch: sixteen bytes at a time.
    if !text.iter().fold(false, |any, &byte| any | is_special(byte)) {
        return out.extend_from_slice(text);
    }
    for byte in text {
        if !is_special(*byte) {
            out.push(*byte);
        } else {
            let _ = write!(out, "\\x{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests;
