//! One look at an endpoint, as a checker does it.
//!
//! Called by `watch`. The time limits are AWS's: four seconds to connect (ten for TCP checks), two more for the status,
//! two more for the body. Redirects are not followed, certificates are not looked at.
//! <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html>

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogbank_types::RegionConfig;
use fogbank_types::route53::{CheckProtocol, EndpointCheck};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, crypto::ring};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::checker::{Finding, Post};
use crate::dns::{Code, ForwardError, Forwarder, Kind, Name};
use crate::http::Unverified;
use crate::namespace::{NAMESPACES_DIR, NamespaceError, SocketMaker};

/// Probes under way in all: a region of thousands of checks must not need thousands of sockets.
const PROBES_MAX: usize = 256;

const CONNECT_MS: u64 = 4_000;
const CONNECT_TCP_MS: u64 = 10_000;
const ANSWER_MS: u64 = 2_000;
/// A fast region's limits would be less than a busy machine needs.
const LIMIT_MIN_MS: u64 = 500;

/// Of the body, what is searched.
const SEARCHED_BYTES: usize = 5_120;
/// Of a head, and of chunks' frames beside the body.
const HEAD_BYTES_MAX: usize = 16_384;
const HEADERS_MAX: usize = 100;

/// What all checkers have in common.
pub struct Prober {
    maker: SocketMaker,
    namespace: PathBuf,
    names: Names,
    slots: Semaphore,
    with_sni: TlsConnector,
    without_sni: TlsConnector,
    limits: Limits,
}

/// How long is waited.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Limits {
    connect: Duration,
    connect_tcp: Duration,
    answer: Duration,
}

/// Who knows endpoints' names.
struct Names {
    region: Forwarder,
    world: Option<Forwarder>,
}

/// Milliseconds that parts of a look took.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub struct Times {
    pub connect_ms: Option<f64>,
    pub tls_ms: Option<f64>,
    pub first_byte_ms: Option<f64>,
}

/// A look that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    pub from: IpAddr,
    pub finding: Finding,
    pub times: Times,
}

impl Prober {
    pub fn new(config: &RegionConfig) -> Result<Self, NamespaceError> {
        let limit = |ms| Duration::from_millis(config.scaled_ms(ms).max(LIMIT_MIN_MS));
        Ok(Self {
            maker: SocketMaker::start("checker-sockets")?,
            namespace: PathBuf::from(NAMESPACES_DIR).join(config.namespace("edge")),
            names: Names {
                region: Forwarder::new([config.dns]),
                world: Forwarder::of_region(config),
            },
            slots: Semaphore::new(PROBES_MAX),
            with_sni: connector(true),
            without_sni: connector(false),
            limits: Limits {
                connect: limit(CONNECT_MS),
                connect_tcp: limit(CONNECT_TCP_MS),
                answer: limit(ANSWER_MS),
            },
        })
    }

    /// Looks once. An error is ours, and says nothing of the endpoint.
    pub async fn look(
        &self,
        check_id: &str,
        check: &EndpointCheck,
        post: &Post,
    ) -> Result<Look, NamespaceError> {
        let Ok(_slot) = self.slots.acquire().await else {
            return Err(NamespaceError::Ended);
        };
        let mut times = Times::default();
        let endpoint = match self.names.address(check).await {
            Ok(endpoint) => endpoint,
            Err(why) => return Ok(look(post.v4.into(), Err(why), times)),
        };
        let from = post.address(endpoint);
        let socket = self.maker.outgoing(&self.namespace, from).await?;
        let to = SocketAddr::new(endpoint, check.port);
        let began = Instant::now();
        let connected = socket.connect(to);
        let patience = match check.protocol {
            CheckProtocol::Tcp => self.limits.connect_tcp,
            CheckProtocol::Http | CheckProtocol::Https => self.limits.connect,
        };
        let found = match timeout(patience, connected).await {
            Err(_) => Err(Failure::TimedOut),
            Ok(Err(error)) => Err(Failure::from(error)),
            Ok(Ok(stream)) => {
                times.connect_ms = Some(millis(began));
                let left = patience.saturating_sub(began.elapsed());
                self.converse(check_id, check, stream, endpoint, left, &mut times)
                    .await
            }
        };
        let resolved = check.address.is_none().then_some(endpoint);
        Ok(look(from, found.map(|ok| ok.of(resolved)), times))
    }

    async fn converse(
        &self,
        check_id: &str,
        check: &EndpointCheck,
        stream: TcpStream,
        endpoint: IpAddr,
        left: Duration,
        times: &mut Times,
    ) -> Result<Said, Failure> {
        let request = request(check_id, check, endpoint);
        match check.protocol {
            CheckProtocol::Tcp => Ok(Said("Success: TCP connection established".to_owned())),
            CheckProtocol::Http => self.ask(stream, &request, check, times).await,
            CheckProtocol::Https => {
                let began = Instant::now();
                let connector = match check.sends_sni {
                    true => &self.with_sni,
                    false => &self.without_sni,
                };
                let name = check.domain_name.clone();
                let name = name.and_then(|name| ServerName::try_from(name).ok());
                let name = name.unwrap_or_else(|| endpoint.into());
                let shaken = timeout(left, connector.connect(name, stream)).await;
                let stream = shaken
                    .map_err(|_| Failure::TimedOut)?
                    .map_err(|error| Failure::Tls(error.to_string()))?;
                times.tls_ms = Some(millis(began));
                self.ask(stream, &request, check, times).await
            }
        }
    }

    async fn ask(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        request: &str,
        check: &EndpointCheck,
        times: &mut Times,
    ) -> Result<Said, Failure> {
        let began = Instant::now();
        let heard = timeout(self.limits.answer, async {
            stream.write_all(request.as_bytes()).await?;
            stream.flush().await?;
            read_head(&mut stream, began, times).await
        });
        let (head, rest) = heard.await.map_err(|_| Failure::NoAnswer)??;
        let said = said(head.status);
        if !(200..400).contains(&head.status) {
            return Err(Failure::Status(said));
        }
        let Some(search) = &check.search else {
            return Ok(Said(format!("Success: {said}")));
        };
        // An endpoint that ends badly, or not at all, has said what it has said.
        let mut body = rest;
        let read = read_body(&mut stream, &head, &mut body);
        let _ = timeout(self.limits.answer, read).await;
        let body = head.plain(&body);
        let searched = &body[..body.len().min(SEARCHED_BYTES)];
        let found = contains(searched, search.as_bytes());
        match found {
            true => Ok(Said(format!("Success: {said}"))),
            false => Err(Failure::NotFound(said)),
        }
    }
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}

fn look(from: IpAddr, found: Result<Said, Failure>, times: Times) -> Look {
    let finding = match found {
        Ok(Said(status)) => Finding {
            healthy: true,
            status,
        },
        Err(failure) => Finding {
            healthy: false,
            status: format!("Failure: {}", failure.text()),
        },
    };
    Look {
        from,
        finding,
        times,
    }
}

fn connector(sends_sni: bool) -> TlsConnector {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has suites for TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified))
        .with_no_client_auth();
    config.enable_sni = sends_sni;
    // Each look is a new client's.
    config.resumption = Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

impl Names {
    /// A check by name alone is one of IPv4: "Route 53 uses only IPv4 to send health checks to the endpoint".
    async fn address(&self, check: &EndpointCheck) -> Result<IpAddr, Failure> {
        if let Some(address) = check.address {
            return Ok(address);
        }
        let text = check.domain_name.as_deref().unwrap_or_default();
        let name = Name::parse(text).map_err(|error| Failure::Name(error.to_string()))?;
        let mut answer = self.region.ask(&name, Kind::A).await;
        let is_ours = matches!(&answer, Ok(answer) if answer.code != Code::Refused);
        if !is_ours && let Some(world) = &self.world {
            answer = world.ask(&name, Kind::A).await;
        }
        let answer = answer.map_err(|error| {
            Failure::Name(match &*error {
                ForwardError::Timeout { .. } => "timed out".to_owned(),
                other => other.to_string(),
            })
        })?;
        let mut records = answer
            .answers
            .iter()
            .filter(|record| record.kind == Kind::A);
        let address = records.find_map(|record| <[u8; 4]>::try_from(&record.value[..]).ok());
        address.map(IpAddr::from).ok_or_else(|| {
            Failure::Name(match answer.code {
                Code::NoError => "no address".to_owned(),
                code => format!("Rcode {code:?}({})", code as u16),
            })
        })
    }
}

/// What went well.
#[derive(Debug, PartialEq, Eq)]
struct Said(String);

impl Said {
    fn of(self, resolved: Option<IpAddr>) -> Self {
        match resolved {
            Some(ip) => Self(format!("{}. Resolved IP: {ip}", self.0)),
            None => self,
        }
    }
}

/// Why an endpoint is not healthy.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    Name(String),
    TimedOut,
    Refused,
    Broken(String),
    Tls(String),
    NoAnswer,
    NoHttp,
    Status(String),
    NotFound(String),
}

impl Failure {
    fn text(&self) -> String {
        match self {
            Self::Name(why) => format!("DNS resolution failed: {why}"),
            Self::TimedOut => "Connection timed out. The endpoint or the internet connection is down, or requests are being \
                               blocked by your firewall."
                .to_owned(),
            Self::Refused => "Connection refused".to_owned(),
            Self::Broken(why) => format!("Connection failed: {why}"),
            Self::Tls(why) => format!("SSL handshake failed: {why}"),
            Self::NoAnswer => "Resource timed out: no HTTP response within the time limit".to_owned(),
            Self::NoHttp => "The endpoint's response is not HTTP".to_owned(),
            Self::Status(said) => said.clone(),
            Self::NotFound(said) => format!("{said}. The response body does not contain the search string"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::InvalidData => Self::NoHttp,
            _ => Self::Broken(error.to_string()),
        }
    }
}

/// `HTTP Status Code 200, OK`
fn said(status: u16) -> String {
    let name = http::StatusCode::from_u16(status).ok();
    let name = name.and_then(|status| status.canonical_reason());
    match name {
        Some(name) => format!("HTTP Status Code {status}, {name}"),
        None => format!("HTTP Status Code {status}"),
    }
}

fn request(check_id: &str, check: &EndpointCheck, endpoint: IpAddr) -> String {
    let path = check.path.as_deref().unwrap_or("/");
    let host = match &check.domain_name {
        Some(name) => name.trim_end_matches('.').to_owned(),
        None => match endpoint {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        },
    };
    let usual = match check.protocol {
        CheckProtocol::Https => 443,
        CheckProtocol::Http | CheckProtocol::Tcp => 80,
    };
    let host = match check.port {
        port if port == usual => host,
        port => format!("{host}:{port}"),
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         User-Agent: Amazon-Route53-Health-Check-Service (ref {check_id}; report http://amzn.to/1vsZADi)\r\n\
         Accept: */*\r\nAccept-Encoding: identity\r\n\r\n"
    )
}

/// What of a response's head matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Head {
    status: u16,
    length: Option<usize>,
    is_chunked: bool,
}

/// The head, and what came behind it.
async fn read_head(
    stream: &mut (impl AsyncRead + Unpin),
    began: Instant,
    times: &mut Times,
) -> Result<(Head, Vec<u8>), Failure> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(Failure::Broken("closed before a response".to_owned()));
        }
        times.first_byte_ms.get_or_insert_with(|| millis(began));
        // 100 Continue and its like are not the answer.
        while let Some((length, head)) = head(&bytes)? {
            bytes.drain(..length);
            if head.status >= 200 {
                return Ok((head, bytes));
            }
        }
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(Failure::NoHttp);
        }
    }
}

/// Its length and the head, once it is whole.
fn head(bytes: &[u8]) -> Result<Option<(usize, Head)>, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Failure::NoHttp),
    };
    let mut head = Head {
        status: response.code.ok_or(Failure::NoHttp)?,
        ..Head::default()
    };
    for header in &*response.headers {
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        if header.name.eq_ignore_ascii_case("content-length") {
            head.length = value.parse().ok();
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            head.is_chunked = value.to_ascii_lowercase().ends_with("chunked");
        }
    }
    Ok(Some((length, head)))
}

/// As much as is searched.
async fn read_body(
    stream: &mut (impl AsyncRead + Unpin),
    head: &Head,
    body: &mut Vec<u8>,
) -> io::Result<()> {
    let wanted = match (head.is_chunked, head.length) {
        (true, _) => SEARCHED_BYTES + HEAD_BYTES_MAX,
        (false, Some(length)) => length.min(SEARCHED_BYTES),
        (false, None) => SEARCHED_BYTES,
    };
    while body.len() < wanted && stream.read_buf(body).await? > 0 {
        if head.is_chunked {
            let (plain, is_whole) = unchunked(body);
            if is_whole || plain.len() >= SEARCHED_BYTES {
                break;
            }
        }
    }
    Ok(())
}

impl Head {
    /// The body without the frames of chunks.
    fn plain(&self, body: &[u8]) -> Vec<u8> {
        match (self.is_chunked, self.length) {
            (true, _) => unchunked(body).0,
            (false, Some(length)) => body[..body.len().min(length)].to_vec(),
            (false, None) => body.to_vec(),
        }
    }
}

/// What chunks hold as far as they came, and whether the last one did.
fn unchunked(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut plain = Vec::new();
    while let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(bytes) {
        let Ok(size) = usize::try_from(size) else {
            break;
        };
        if size == 0 {
            return (plain, true);
        }
        let rest = &bytes[start..];
        plain.extend(&rest[..rest.len().min(size)]);
        // The chunk's own end of line.
        let Some(next) = size.checked_add(2).filter(|next| *next <= rest.len()) else {
            break;
        };
        bytes = &rest[next..];
    }
    (plain, false)
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    !wanted.is_empty() && text.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
