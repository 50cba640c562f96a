//! Answers the node gives by itself: errors, redirects, fixed responses. Used by `connection`; pure.
//!
//! "Troubleshoot your Application Load Balancers" and "Listener rule actions", ELB guide.

use super::clock::http_date;
use super::request::Request;

use super::table::{FixedResponse, Redirect};
use super::text::{put, put_number};

/// How an own answer is to be written.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub keep_alive: bool,
    /// HEAD: the length is told, the body left out.
    pub is_head: bool,
    pub unix_time_s: u64,
}

/// The small page AWS sends.
pub fn write_error(out: &mut Vec<u8>, status: u16, manner: Manner) {
    write_page(out, status, &[], manner);
}

fn write_page(out: &mut Vec<u8>, status: u16, header: &[&[u8]], manner: Manner) {
    let reason = reason_of(status);
    let body = format!(
        "<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body>\r\n<center><h1>{status} {reason}\
         </h1></center>\r\n</body>\r\n</html>\r\n"
    );
    write_answer(out, status, b"text/html", header, body.as_bytes(), manner);
}

/// What a proxy between tasks says in a load balancer's place, in Envoy's words, whose part it plays.
pub fn write_proxy_error(out: &mut Vec<u8>, status: u16, manner: Manner) {
    let text: &[u8] = match status {
        502 => b"upstream connect error or disconnect/reset before headers. reset reason: connection termination",
        503 => b"no healthy upstream",
        504 => b"upstream request timeout",
        _ => b"",
    };
    // A target that cannot be reached is 503 there, too.
    let status = if status == 502 { 503 } else { status };
    let server = "envoy";
    write_answer_of(out, server, (status, b"text/plain"), &[], text, manner);
}

/// As nginx words it, and AWS after it.
pub fn write_plain_to_https(out: &mut Vec<u8>, manner: Manner) {
    const BODY: &[u8] = b"<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>\r\n\
        <body>\r\n<center><h1>400 Bad Request</h1></center>\r\n\
        <center>The plain HTTP request was sent to HTTPS port</center>\r\n</body>\r\n</html>\r\n";
    write_answer(out, 400, b"text/html", &[], BODY, manner);
}

pub fn write_fixed(out: &mut Vec<u8>, fixed: &FixedResponse, manner: Manner) {
    let content_type = match fixed.content_type.as_deref() {
        Some(content_type) => format!("{content_type}; charset=utf-8"),
        None => "text/plain; charset=utf-8".to_owned(),
    };
    write_answer(
        out,
        fixed.status_code,
        content_type.as_bytes(),
        &[],
        fixed.message_body.as_bytes(),
        manner,
    );
}

pub fn write_redirect(
    out: &mut Vec<u8>,
    redirect: &Redirect,
    request: &Request<'_, '_>,
    origin: (&str, u16),
    manner: Manner,
) {
    let location = location(redirect, request, origin);
    write_page(
        out,
        redirect.status_code,
        &[b"Location: ", location.as_bytes(), b"\r\n"],
        manner,
    );
}

/// 302 to an address that a guard names.
pub fn write_found(out: &mut Vec<u8>, location: &str, cookies: &[String], manner: Manner) {
    let cookies = cookie_lines(cookies);
    write_page(
        out,
        302,
        &[b"Location: ", location.as_bytes(), b"\r\n", &cookies],
        manner,
    );
}

/// Sets cookies in an answer that is written already.
pub fn add_cookies(out: &mut Vec<u8>, cookies: &[String]) {
    let line_end = out.windows(2).position(|pair| pair == b"\r\n");
    if let Some(at) = line_end.filter(|_| !cookies.is_empty()) {
        out.splice(at + 2..at + 2, cookie_lines(cookies));
    }
}

/// A Set-Cookie line for each.
pub fn cookie_lines(cookies: &[String]) -> Vec<u8> {
    let mut lines = Vec::new();
    for cookie in cookies {
        put(&mut lines, &[b"Set-Cookie: ", cookie.as_bytes(), b"\r\n"]);
    }
    lines
}

/// The address a redirect points to, for a request that came by this protocol to this port; `#{path}` is without its leading slash.
pub fn location(
    redirect: &Redirect,
    request: &Request<'_, '_>,
    (protocol, port): (&str, u16),
) -> String {
    let port = port.to_string();
    let path = request.path.strip_prefix('/').unwrap_or(request.path);
    let values = [
        ("protocol", protocol),
        ("host", request.host_name()),
        ("port", &port),
        ("path", path),
        ("query", request.query.unwrap_or_default()),
    ];
    let protocol = fill(&redirect.protocol, &values).to_ascii_lowercase();
    let (host, port) = (fill(&redirect.host, &values), fill(&redirect.port, &values));
    let (path, query) = (
        fill(&redirect.path, &values),
        fill(&redirect.query, &values),
    );
    let mark = if query.is_empty() { "" } else { "?" };
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{protocol}://{host}:{port}{slash}{path}{mark}{query}")
}

/// Puts values for placeholders, once: what a client sent is never taken for a placeholder.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("#{") {
        text.push_str(before);
        let known = after.split_once('}').and_then(|(name, tail)| {
            values
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value, tail))
        });
        match known {
            Some((value, tail)) => {
                text.push_str(value);
                rest = tail;
            }
            None => {
                text.push_str("#{");
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

fn write_answer(
    out: &mut Vec<u8>,
    status: u16,
    content_type: &[u8],
    header: &[&[u8]],
    body: &[u8],
    manner: Manner,
) {
    let server = "awselb/2.0";
    write_answer_of(out, server, (status, content_type), header, body, manner);
}

fn write_answer_of(
    out: &mut Vec<u8>,
    server: &str,
    (status, content_type): (u16, &[u8]),
    header: &[&[u8]],
    body: &[u8],
    manner: Manner,
) {
    put(out, &[b"HTTP/1.1 "]);
    put_number(out, status.into());
    put(
        out,
        &[
            b" ",
            reason_of(status).as_bytes(),
            b"\r\nServer: ",
            server.as_bytes(),
            b"\r\nDate: ",
        ],
    );
    put(out, &[&http_date(manner.unix_time_s), b"\r\n"]);
    // Neither has content, and 204 may not even tell a length (RFC 9110, 8.6).
    let bodiless = status == 204 || status == 304;
    if !bodiless {
        put(
            out,
            &[b"Content-Type: ", content_type, b"\r\nContent-Length: "],
        );
        put_number(out, body.len() as u64);
        put(out, &[b"\r\n"]);
    }
    put(out, header);
    let connection: &[u8] = if manner.keep_alive {
        b"keep-alive"
    } else {
        b"close"
    };
    put(out, &[b"Connection: ", connection, b"\r\n\r\n"]);
    if !bodiless && !manner.is_head {
        put(out, &[body]);
    }
}

/// The words AWS's load balancers use, and the registered ones otherwise.
fn reason_of(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Time-out",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        415 => "Unsupported Media Type",
        418 => "I'm a teapot",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::read_request;

    fn located(redirect: &Redirect, target: &str, host: &str) -> String {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let read = read_request(head.as_bytes(), |request| {
            location(redirect, request, ("http", 8080))
        });
        read.expect("a valid head").expect("a whole head").1
    }

    #[test]
    fn redirects_keep_what_they_do_not_change() {
        let https = Redirect {
            protocol: "HTTPS".into(),
            port: "443".into(),
            ..Redirect::unchanged(301)
        };
        assert_eq!(
            located(&https, "/a/b?x=1&y=2", "api.example.com:8080"),
            "https://api.example.com:443/a/b?x=1&y=2"
        );
        assert_eq!(located(&https, "/", "a"), "https://a:443/");
        let moved = Redirect {
            path: "/new/#{path}/#{host}".into(),
            query: "from=#{port}&#{query}".into(),
            ..Redirect::unchanged(302)
        };
        assert_eq!(
            located(&moved, "/x?q=1", "h"),
            "http://h:8080/new/x/h?from=8080&q=1"
        );
    }

    #[test]
    fn a_client_cannot_smuggle_a_placeholder() {
        let same = Redirect {
            port: "1".into(),
            ..Redirect::unchanged(301)
        };
        assert_eq!(
            located(&same, "/#{host}".replace('#', "%23").as_str(), "h"),
            "http://h:1/%23{host}"
        );
        assert_eq!(
            located(&same, "/a?b={host}#".trim_end_matches('#'), "h"),
            "http://h:1/a?b={host}"
        );
    }

    #[test]
    fn head_gets_the_length_and_no_body() {
        let fixed = FixedResponse {
            status_code: 418,
            content_type: None,
            message_body: "teapot".into(),
        };
        let manner = Manner {
            keep_alive: true,
            is_head: true,
            unix_time_s: 0,
        };
        let mut out = Vec::new();
        write_fixed(&mut out, &fixed, manner);
        let text = String::from_utf8(out).expect("ASCII");
        assert!(text.contains("Content-Length: 6\r\n"));
        assert!(text.ends_with("\r\n\r\n"));
    }
}
