//! HTTP/1.1 over one connection: keep-alive, bounded, enough for an API behind a load balancer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const HEAD_BYTES_MAX: usize = 16 << 10;
const BODY_BYTES_MAX: usize = 256 << 10;
/// Longer than the load balancer's idle timeout (60 s), so that it is the one that closes.
const IDLE: Duration = Duration::from_secs(75);

pub struct Request {
    pub method: String,
    pub path: String,
    query: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub local_address: String,
}

impl Request {
    /// A header's value; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn query(&self, name: &str) -> Option<String> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v.to_owned())
    }
}

pub struct Response {
    status: u16,
    body: Vec<u8>,
}

impl Response {
    pub fn json(status: u16, value: &impl serde::Serialize) -> Self {
        let mut body = serde_json::to_vec(value).unwrap_or_default();
        body.push(b'\n');
        Self { status, body }
    }

    fn write(&self, stream: &mut TcpStream, keep: bool, with_body: bool) -> std::io::Result<()> {
        let reason = match self.status {
            200 => "OK",
            201 => "Created",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            409 => "Conflict",
            _ => "Error",
        };
        let mut out = format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: {}\r\n\r\n",
            self.status,
            self.body.len(),
            if keep { "keep-alive" } else { "close" }
        )
        .into_bytes();
        if with_body {
            out.extend_from_slice(&self.body);
        }
        stream.write_all(&out)
    }
}

/// Answers requests until either side ends the connection.
pub fn serve(mut stream: TcpStream, respond: impl Fn(&Request) -> Response) {
    let local_address = stream
        .local_addr()
        .map(|a| a.ip().to_string())
        .unwrap_or_default();
    if stream.set_read_timeout(Some(IDLE)).is_err() || stream.set_write_timeout(Some(IDLE)).is_err()
    {
        return;
    }
    // Small answers go out at once; without it they only wait.
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    loop {
        match read_request(&mut stream, &mut buffer, &local_address) {
            Ok(Some((request, keep))) => {
                let response = respond(&request);
                if response
                    .write(&mut stream, keep, request.method != "HEAD")
                    .is_err()
                    || !keep
                {
                    return;
                }
            }
            Ok(None) => return,
            Err(_) => {
                let refusal =
                    Response::json(400, &serde_json::json!({ "error": "malformed request" }));
                // The client may be gone already.
                let _ = refusal.write(&mut stream, false, true);
                return;
            }
        }
    }
}

struct Malformed;

impl From<std::io::Error> for Malformed {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

/// The next request and whether the connection stays open after it; `None` at the end.
fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    local: &str,
) -> Result<Option<(Request, bool)>, Malformed> {
    let (mut request, head, length, keep) = loop {
        if let Some(parsed) = parse_head(buffer, local)? {
            break parsed;
        }
        if buffer.len() > HEAD_BYTES_MAX {
            return Err(Malformed);
        }
        if !fill(stream, buffer)? {
            return Ok(None);
        }
    };
    if length > BODY_BYTES_MAX {
        return Err(Malformed);
    }
    while buffer.len() < head + length {
        if !fill(stream, buffer)? {
            return Err(Malformed);
        }
    }
    request.body = buffer[head..head + length].to_vec();
    buffer.drain(..head + length);
    Ok(Some((request, keep)))
}

fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<bool, Malformed> {
    let mut chunk = [0; 8192];
    let read = match stream.read(&mut chunk) {
        // Nothing was under way: an idle connection that timed out or was reset simply ends.
        Err(_) if buffer.is_empty() => 0,
        other => other?,
    };
    buffer.extend_from_slice(&chunk[..read]);
    Ok(read > 0)
}

type Head = (Request, usize, usize, bool);

fn parse_head(buffer: &[u8], local: &str) -> Result<Option<Head>, Malformed> {
    let mut slots = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut slots);
    let head = match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Malformed),
    };
    let headers: Vec<_> = parsed
        .headers
        .iter()
        .map(|h| {
            (
                h.name.to_ascii_lowercase(),
                String::from_utf8_lossy(h.value).trim().to_owned(),
            )
        })
        .collect();
    let (path, query) = parsed
        .path
        .unwrap_or("/")
        .split_once('?')
        .unwrap_or((parsed.path.unwrap_or("/"), ""));
    let request = Request {
        method: parsed.method.unwrap_or("").to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: Vec::new(),
        local_address: local.to_owned(),
    };
    // Chunked bodies are not taken: the clients of this API send lengths.
    if request.header("transfer-encoding").is_some() {
        return Err(Malformed);
    }
    let length = request
        .header("content-length")
        .map_or(Ok(0), str::parse)
        .map_err(|_| Malformed)?;
    let connection = request
        .header("connection")
        .unwrap_or("")
        .to_ascii_lowercase();
    let keep = if parsed.version == Some(0) {
        connection.contains("keep-alive")
    } else {
        !connection.contains("close")
    };
    Ok(Some((request, head, length, keep)))
}
