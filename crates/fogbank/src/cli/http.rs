//! A request to the region's API at the operator's socket, where the host's root is whoever it says: blocking, one
//! connection each, bounded. For the command line only.

use anyhow::{Context, Result, bail};
use fogbank_types::RegionConfig;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(60);
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// An answer: status, headers in lower case, body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body, or an error that holds it.
    pub fn success(self, what: &str) -> Result<Self> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        bail!(
            "{what}: the region answers {}: {}",
            self.status,
            String::from_utf8_lossy(&self.body).trim()
        )
    }
}

/// A connection to the API.
pub fn connect(config: &RegionConfig) -> Result<UnixStream> {
    let socket = config.operator_socket();
    UnixStream::connect(&socket).with_context(|| {
        let socket = socket.display();
        format!("no region answers at {socket}; is `fogbank up` running, and are you root?")
    })
}

/// Sends a request whose body comes from a reader of known length.
pub fn send(
    config: &RegionConfig,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &mut dyn Read,
    length: u64,
) -> Result<Answer> {
    let mut stream = connect(config)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        head.push_str(&format!("host: {}\r\n", config.endpoint));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    std::io::copy(&mut body.take(length), &mut stream)
        .context("the region closed the connection")?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .context("the region's answer broke off")?;
    parse(&answer).context("the region's answer is not HTTP")
}

/// Sends a request with a small body.
pub fn call(
    config: &RegionConfig,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer> {
    send(
        config,
        method,
        path,
        headers,
        &mut &body[..],
        body.len() as u64,
    )
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let body = &answer[end + 4..];
    let chunked = headers
        .iter()
        .any(|(n, v)| n == "transfer-encoding" && v.eq_ignore_ascii_case("chunked"));
    let body = if chunked {
        unchunk(body)?
    } else {
        body.to_vec()
    };
    Some(Answer {
        status,
        headers,
        body,
    })
}

fn unchunk(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line = body.windows(2).position(|w| w == b"\r\n")?;
        let size = std::str::from_utf8(&body[..line])
            .ok()?
            .split(';')
            .next()?
            .trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        body = &body[line + 2..];
        if size == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(body.get(..size)?);
        body = body.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_with_and_without_chunks() {
        let plain = parse(b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\nno").unwrap();
        assert_eq!(
            (plain.status, plain.header("a"), plain.body.as_slice()),
            (404, Some("b"), &b"no"[..])
        );
        let chunked = parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1;x\r\nd\r\n0\r\n\r\n").unwrap();
        assert_eq!(chunked.body, b"abcd");
        assert!(parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nabc").is_none());
        assert!(parse(b"garbage").is_none());
    }
}
