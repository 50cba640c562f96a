//! The head of a target's response. Used by `exchange`; pure.
//!
//! More forgiving than `request`: a bare LF ends a line (CGI programs write it) and the head is written anew.
//! What would let client and node disagree about where the body ends is refused (502).

use std::mem::MaybeUninit;

use httparse::Header;

use super::body::Body;
use super::request::{Facts, length_of};

/// "The target response header exceeds 32 K" is a 502 ("Troubleshoot your Application Load Balancers").
pub const HEAD_MAX_BYTES: usize = 32 * 1024;
const INLINE_HEADERS: usize = 80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadResponse(pub &'static str);

#[derive(Debug)]
pub struct Response<'h, 'b> {
    pub status: u16,
    pub reason: &'b str,
    pub headers: &'h [Header<'b>],
    pub content_length: Option<u64>,
    pub body: Body,
    /// The connection to the target may be used again when the body has been read.
    pub keep_alive: bool,
}

/// Reads a head from the start of `bytes`; None: it is not all there.
pub fn read_response<R>(
    bytes: &[u8],
    request: &Facts,
    then: impl FnOnce(&Response<'_, '_>) -> R,
) -> Result<Option<(usize, R)>, BadResponse> {
    let mut inline = [const { MaybeUninit::uninit() }; INLINE_HEADERS];
    let mut many;
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let mut read = config.parse_response_with_uninit_headers(&mut response, bytes, &mut inline);
    if read == Err(httparse::Error::TooManyHeaders) {
        let lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
        many = vec![MaybeUninit::uninit(); lines + 1];
        response = httparse::Response::new(&mut []);
        read = config.parse_response_with_uninit_headers(&mut response, bytes, &mut many);
    }
    match read {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_MAX_BYTES => {
            let status = response.code.unwrap_or_default();
            let is_http_1_0 = response.version == Some(0);
            let reason = response.reason.unwrap_or_default();
            let response = understand(status, reason, is_http_1_0, response.headers, request)?;
            Ok(Some((length, then(&response))))
        }
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX_BYTES => Ok(None),
        Ok(_) => Err(BadResponse("header too long")),
        Err(_) => Err(BadResponse("does not parse")),
    }
}

fn understand<'h, 'b>(
    status: u16,
    reason: &'b str,
    is_http_1_0: bool,
    headers: &'h [Header<'b>],
    request: &Facts,
) -> Result<Response<'h, 'b>, BadResponse> {
    if status < 100 {
        return Err(BadResponse("status"));
    }
    let mut content_length = None;
    let mut is_chunked = false;
    let mut keep_alive = !is_http_1_0;
    for header in headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        match header.name.len() {
            14 if is("content-length") => {
                let length = length_of(header.value).ok_or(BadResponse("content length"))?;
                if content_length
                    .replace(length)
                    .is_some_and(|other| other != length)
                {
                    return Err(BadResponse("two content lengths"));
                }
            }
            17 if is("transfer-encoding") => {
                if is_chunked || is_http_1_0 || !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(BadResponse("transfer encoding"));
                }
                is_chunked = true;
            }
            10 if is("connection") => {
                for token in header
                    .value
                    .split(|&byte| byte == b',')
                    .map(<[u8]>::trim_ascii)
                {
                    if token.eq_ignore_ascii_case(b"close") {
                        keep_alive = false;
                    } else if is_http_1_0 && token.eq_ignore_ascii_case(b"keep-alive") {
                        keep_alive = true;
                    }
                }
            }
            _ => {}
        }
    }
    if is_chunked && content_length.is_some() {
        return Err(BadResponse("content length beside a transfer encoding"));
    }
    let body = match content_length {
        _ if request.is_head || status < 200 || status == 204 || status == 304 => Body::NONE,
        _ if is_chunked => Body::chunked(),
        Some(length) => Body::Length(length),
        None => Body::UntilClose,
    };
    keep_alive &= body != Body::UntilClose;
    Ok(Response {
        status,
        reason,
        headers,
        content_length,
        body,
        keep_alive,
    })
}

/// Headers of a response that go no further than the node, or that it writes itself.
pub fn is_own_hop(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    matches!(name.len(), 2 | 7 | 10 | 14 | 16 | 17)
        && NAMES.iter().any(|own| name.eq_ignore_ascii_case(own))
}
