//! Asking the host's resolvers, for VPCs of a region with `--internet host`.
//!
//! Called by `responder`. What must stay true: every question goes out from a socket (so a port) and with an
//! id of its own, only the asked server's response to that question is taken, and each call ends in time.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::kind::Kind;
use super::message::{self, Heard};
use super::name::Name;
use super::tables::{Answer, Code};

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Of one server; stub resolvers give up after five seconds.
const SERVER_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Questions sent for one name: packets get lost, so one server alone is asked twice.
const MIN_TRIES: usize = 2;
const MAX_TRIES: usize = 3;
/// Questions under way; more are refused at once.
const MAX_QUESTIONS: usize = 512;

#[derive(Debug, Error)]
pub enum ForwardError {
    #[error("too many questions are under way")]
    Busy,
    #[error("the host has no resolver")]
    NoServer,
    #[error("no randomness: {source}")]
    Random { source: io::Error },
    #[error("{server} cannot be asked: {source}")]
    Server {
        server: SocketAddr,
        source: io::Error,
    },
    #[error("{server} does not answer")]
    Timeout { server: SocketAddr },
    #[error("{server} could not answer")]
    Failed { server: SocketAddr },
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Forwarder {
    servers: Servers,
    slots: Arc<Semaphore>,
}

#[derive(Clone)]
enum Servers {
    Fixed(Arc<[SocketAddr]>),
    /// Those of the host at that moment (it may have moved to another network), without our own address.
    Host {
        own: SocketAddr,
    },
}

impl Forwarder {
    pub fn new(servers: impl Into<Arc<[SocketAddr]>>) -> Self {
        Self::of(Servers::Fixed(servers.into()))
    }

    /// The host's resolvers, without the region's own server.
    pub fn of_host(own: SocketAddr) -> Self {
        Self::of(Servers::Host { own })
    }

    fn of(servers: Servers) -> Self {
        Self {
            servers,
            slots: Arc::new(Semaphore::new(MAX_QUESTIONS)),
        }
    }

    /// One server after the other, until one knows.
    pub async fn ask(&self, name: &Name, kind: Kind) -> Result<Answer, ForwardError> {
        let _slot = self.slots.try_acquire().map_err(|_| ForwardError::Busy)?;
        let mut last = ForwardError::NoServer;
        let servers = self.servers.now();
        let tries = servers.len().clamp(MIN_TRIES, MAX_TRIES);
        for &server in servers.iter().cycle().take(tries) {
            let question = ask_one(server, name, kind);
            last = match timeout(SERVER_TIMEOUT, question).await {
                Err(_) => ForwardError::Timeout { server },
                Ok(Err(error)) => error,
                Ok(Ok(answer)) if answer.code == Code::ServFail => ForwardError::Failed { server },
                Ok(Ok(answer)) => return Ok(answer),
            };
        }
        Err(last)
    }
}

impl Servers {
    fn now(&self) -> Arc<[SocketAddr]> {
        match self {
            Self::Fixed(servers) => servers.clone(),
            Self::Host { own } => {
                let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
                name_servers(&text)
                    .filter(|server| !is_same(*server, *own))
                    .collect()
            }
        }
    }
}

async fn ask_one(server: SocketAddr, name: &Name, kind: Kind) -> Result<Answer, ForwardError> {
    let failed = |source| ForwardError::Server { server, source };
    let id = random_id()?;
    let question = message::write_question(id, name, kind);
    let own: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own, 0)).await.map_err(failed)?;
    socket.connect(server).await.map_err(failed)?;
    socket.send(&question).await.map_err(failed)?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(failed)?;
        match message::read_response(&buffer[..length], id, name, kind) {
            Some(Heard::Answer(answer)) => return Ok(answer),
            Some(Heard::Truncated) => break,
            None => {}
        }
    }
    let response = ask_tcp(server, &question).await.map_err(failed)?;
    match message::read_response(&response, id, name, kind) {
        Some(Heard::Answer(answer)) => Ok(answer),
        _ => Err(ForwardError::Failed { server }),
    }
}

async fn ask_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let mut framed = (question.len() as u16).to_be_bytes().to_vec();
    framed.extend(question);
    stream.write_all(&framed).await?;
    let mut response = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut response).await?;
    Ok(response)
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

fn name_servers(text: &str) -> impl Iterator<Item = SocketAddr> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        if words.next()? != "nameserver" {
            return None;
        }
        let address: IpAddr = words.next()?.parse().ok()?;
        Some(SocketAddr::new(address, 53))
    })
}

fn is_same(server: SocketAddr, own: SocketAddr) -> bool {
    let everywhere = own.ip().is_unspecified() && server.ip().is_loopback();
    server.port() == own.port() && (server.ip() == own.ip() || everywhere)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_the_resolver_reads_it() {
        let text = "# nameserver 192.0.2.9\nsearch a.test\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 \nnameserver x\n";
        let servers: Vec<_> = name_servers(text).map(|s| s.to_string()).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53"]);
    }

    #[test]
    fn the_regions_own_server_is_not_asked() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let own = address("127.0.0.1:53");
        assert!(is_same(address("127.0.0.1:53"), own));
        assert!(!is_same(address("127.0.0.53:53"), own));
        assert!(is_same(address("127.0.0.53:53"), address("0.0.0.0:53")));
        assert!(!is_same(address("127.0.0.1:53"), address("127.0.0.1:4553")));
    }
}
