//! How many responses are still to come: read beside the bytes as they pass, which are not held up or changed.
//! Pure; used by `exchange` to know when a connection rests.

use std::collections::VecDeque;

use crate::http::body::Body;

/// The API writes no longer heads.
const HEAD_MAX_BYTES: usize = 64 * 1024;
const HEADERS_MAX: usize = 96;

/// See the module.
#[derive(Debug, Default)]
pub struct Responses {
    /// Whether each request on its way was a HEAD, the oldest first.
    requests: VecDeque<bool>,
    head: Vec<u8>,
    body: Option<Body>,
    /// Not readable: nothing is known but that the connection must end.
    lost: bool,
}

impl Responses {
    /// A request was sent.
    pub fn expect(&mut self, is_head: bool) {
        self.requests.push_back(is_head);
    }

    /// Every request has its whole response.
    pub fn are_complete(&self) -> bool {
        self.requests.is_empty() && !self.lost
    }

    /// Bytes that came.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.lost {
            let taken = match &mut self.body {
                Some(body) => {
                    let decoded = match body {
                        Body::Chunked(_) => body.decode(&mut bytes.to_vec(), 0..bytes.len()),
                        // Counting alone leaves the bytes as they are.
                        _ => body.decode(&mut [], 0..bytes.len()),
                    };
                    match decoded {
                        Ok(decoded) => decoded.rest,
                        Err(_) => {
                            self.lost = true;
                            return;
                        }
                    }
                }
                None => self.read_head(bytes),
            };
            bytes = &bytes[taken..];
            if self.body.as_ref().is_some_and(Body::is_done) {
                self.body = None;
                self.requests.pop_front();
            }
        }
    }

    /// How many of the bytes belong to the head.
    fn read_head(&mut self, bytes: &[u8]) -> usize {
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(&self.head) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if self.head.len() < HEAD_MAX_BYTES => {
                return bytes.len();
            }
            _ => {
                self.lost = true;
                return bytes.len();
            }
        };
        let status = response.code.unwrap_or_default();
        let is_head = self.requests.front().copied().unwrap_or_default();
        let body = body(status, is_head, response.headers);
        // An interim response is followed by another one.
        if status >= 200 || status == 101 {
            self.body = Some(body);
        }
        self.head.clear();
        length - before
    }
}

/// RFC 9112, section 6.3.
fn body(status: u16, is_head: bool, headers: &[httparse::Header<'_>]) -> Body {
    if is_head || status == 204 || status == 304 {
        return Body::NONE;
    }
    let value = |name: &str| {
        headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    };
    if value("transfer-encoding").is_some() {
        return Body::chunked();
    }
    let length = value("content-length").and_then(|text| std::str::from_utf8(text).ok());
    match length.and_then(|text| text.trim().parse().ok()) {
        Some(length) => Body::Length(length),
        None => Body::UntilClose,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete_after(text: &[u8], requests: &[bool], piece: usize) -> bool {
        let mut responses = Responses::default();
        for is_head in requests {
            responses.expect(*is_head);
        }
        for part in text.chunks(piece) {
            assert!(!responses.are_complete(), "too early");
            responses.pass(part);
        }
        responses.are_complete()
    }

    #[test]
    fn each_framing_has_its_end() {
        let length = &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..];
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let none = b"HTTP/1.1 204 No Content\r\n\r\n";
        let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        for text in [length, chunked, none, interim] {
            for piece in [1, 7, 1000] {
                assert!(complete_after(text, &[false], piece));
            }
        }
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert!(complete_after(head, &[true], 3));
        let two = [length, none].concat();
        assert!(complete_after(&two, &[false, false], 5));
    }

    #[test]
    fn what_ends_with_the_connection_or_cannot_be_read_is_never_complete() {
        for text in [
            &b"HTTP/1.1 200 OK\r\n\r\nhello"[..],
            b"\x16\x03\x01 garbage",
            b"HTTP/1.1 200 OK\r\n",
        ] {
            assert!(!complete_after(text, &[false], 1000));
        }
    }
}
