//! A resolver outside: by UDP, and TCP where that is too small, or by TLS alone (RFC 7858), when it must prove its name.
//!
//! Asked by `forward`. What must stay true: every question goes out with an id of its own and, without TLS, from a port
//! of its own, and only the asked server's response to that question is taken. Nothing here ends by itself: the caller
//! has the time limit.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fogbank_types::TlsResolver;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::forward::ForwardError;
use super::kind::Kind;
use super::message::{self, Heard as Response};
use super::name::Name;
use super::tables::Answer;

/// Connections to one server that wait for the next question.
const IDLE_MAX: usize = 8;
/// How long; servers close them at their own time.
const IDLE: Duration = Duration::from_secs(20);

/// Cheap to clone; the clones share connections.
#[derive(Clone)]
pub enum Upstream {
    Plain(SocketAddr),
    Tls(Arc<TlsUpstream>),
}

pub struct TlsUpstream {
    address: SocketAddr,
    name: ServerName<'static>,
    connector: TlsConnector,
    idle: Mutex<Vec<(Instant, TlsStream<TcpStream>)>>,
}

impl Upstream {
    /// Fails if the server's name is none.
    pub fn tls(resolver: &TlsResolver, config: Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from(resolver.name.clone()).map_err(io::Error::other)?;
        Ok(Self::Tls(Arc::new(TlsUpstream {
            address: resolver.address,
            name,
            connector: config.into(),
            idle: Mutex::default(),
        })))
    }

    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Plain(address) => *address,
            Self::Tls(server) => server.address,
        }
    }

    pub async fn ask(&self, name: &Name, kind: Kind) -> Result<Answer, ForwardError> {
        let server = self.address();
        let failed = |source| ForwardError::Server { server, source };
        let id = random_id()?;
        let response = match self {
            Self::Plain(address) => {
                let question = message::write_question(id, name, kind);
                let read = |packet: &[u8]| message::read_response(packet, id, name, kind);
                match ask_udp(*address, &question, read).await.map_err(failed)? {
                    Response::Answer(answer) => return Ok(answer),
                    Response::Truncated => {}
                }
                let stream = TcpStream::connect(address).await.map_err(failed)?;
                let exchanged = exchange(stream, &question).await.map_err(failed)?;
                exchanged.1
            }
            Self::Tls(tls) => {
                let question = message::write_padded_question(id, name, kind);
                tls.ask(&question).await.map_err(failed)?
            }
        };
        match message::read_response(&response, id, name, kind) {
            Some(Response::Answer(answer)) => Ok(answer),
            _ => Err(ForwardError::Failed { server }),
        }
    }
}

impl TlsUpstream {
    async fn ask(&self, question: &[u8]) -> io::Result<Vec<u8>> {
        // One that waited may have been closed meanwhile: only a fresh one tells how the server is.
        while let Some(stream) = self.waiting() {
            if let Ok((stream, response)) = exchange(stream, question).await {
                self.keep(stream);
                return Ok(response);
            }
        }
        let stream = TcpStream::connect(self.address).await?;
        let stream = self.connector.connect(self.name.clone(), stream).await?;
        let (stream, response) = exchange(stream, question).await?;
        self.keep(stream);
        Ok(response)
    }

    fn waiting(&self) -> Option<TlsStream<TcpStream>> {
        let mut idle = self.idle();
        idle.retain(|(since, _)| since.elapsed() < IDLE);
        idle.pop().map(|(_, stream)| stream)
    }

    fn keep(&self, stream: TlsStream<TcpStream>) {
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push((Instant::now(), stream));
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Instant, TlsStream<TcpStream>)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Packets that are not the response are no reason to stop waiting.
async fn ask_udp(
    server: SocketAddr,
    question: &[u8],
    read: impl Fn(&[u8]) -> Option<Response>,
) -> io::Result<Response> {
    let own: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(response) = read(&buffer[..length]) {
            return Ok(response);
        }
    }
}

/// A question and its response with their lengths before them (RFC 1035, section 4.2.2).
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    question: &[u8],
) -> io::Result<(S, Vec<u8>)> {
    let mut framed = (question.len() as u16).to_be_bytes().to_vec();
    framed.extend(question);
    stream.write_all(&framed).await?;
    stream.flush().await?;
    let mut response = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut response).await?;
    Ok((stream, response))
}

fn random_id() -> Result<u16, ForwardError> {
    let mut id = [0; 2];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty()).map_err(|error| {
        ForwardError::Random {
            source: error.into(),
        }
    })?;
    Ok(u16::from_be_bytes(id))
}
