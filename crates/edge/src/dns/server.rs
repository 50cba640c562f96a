//! Sockets: UDP and TCP, one responder for both. Used for the public address and for each VPC's resolver.
//!
//! What must stay true: no client can hold up another one, and a broken socket call is no reason to end.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::datagrams::{self, Outgoing};
use super::message::HEADER_BYTES;
use super::responder::{Counters, Reply, Responder, Transport};
use crate::clients::Clients;

/// Connections of one listener; further clients wait to be accepted.
const MAX_CONNECTIONS: usize = 256;
/// Of them, those of one client.
const MAX_CONNECTIONS_OF_CLIENT: usize = 32;
/// Between questions on one connection, and for the parts of one (RFC 7766, section 6.2.3).
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// Packets of one source in a second that a VPC's resolver takes (fact VPC-12).
pub const PACKETS_PER_SECOND: u32 = 1_024;

/// Counts packets by their source, in windows of a second.
pub struct RateLimit {
    per_second: u32,
    window: Instant,
    counts: HashMap<IpAddr, u32>,
}

impl RateLimit {
    pub fn new(per_second: u32, now: Instant) -> Self {
        Self {
            per_second,
            window: now,
            counts: HashMap::new(),
        }
    }

    pub fn admits(&mut self, source: IpAddr, now: Instant) -> bool {
        if now.duration_since(self.window) >= Duration::from_secs(1) {
            self.window = now;
            self.counts.clear();
        }
        let count = self.counts.entry(source).or_default();
        *count = count.saturating_add(1);
        *count <= self.per_second
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers packets until it is dropped. `limit` may be shared between sockets.
pub async fn serve_udp(
    socket: UdpSocket,
    responder: Responder,
    limit: Option<Arc<Mutex<RateLimit>>>,
) {
    let socket = Arc::new(socket);
    loop {
        if let Err(error) = socket.readable().await {
            tracing::warn!(%error, "waiting for packets");
            sleep(PAUSE).await;
        }
        let mut responses = Vec::with_capacity(datagrams::BATCH);
        let now = Instant::now();
        datagrams::receive(&socket, |packet, source| {
            let admits = |limit: &Arc<Mutex<RateLimit>>| lock(limit).admits(source.ip(), now);
            if !limit.as_ref().is_none_or(admits) {
                Counters::count(&responder.counters().dropped);
                return;
            }
            responses.extend(reply_udp(&socket, &responder, packet, source));
        });
        datagrams::send(&socket, &responses);
        tokio::task::yield_now().await;
    }
}

/// What can be answered at once; the other responses are sent when they are there.
fn reply_udp(
    socket: &Arc<UdpSocket>,
    responder: &Responder,
    packet: &[u8],
    source: SocketAddr,
) -> Option<Outgoing> {
    // Port 0 cannot be answered.
    if source.port() == 0 {
        return None;
    }
    match responder.reply(packet, Transport::Udp, source.ip()) {
        Reply::Silence => None,
        Reply::Now(response) => Some((response, source)),
        Reply::Later(pending) => {
            let socket = Arc::downgrade(socket);
            tokio::spawn(async move {
                let response = pending.finish().await;
                if let Some(socket) = socket.upgrade() {
                    datagrams::send(&socket, &[(response, source)]);
                }
            });
            None
        }
    }
}

/// Answers connections until it is dropped, and they with it.
pub async fn serve_tcp(listener: TcpListener, responder: Responder) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let clients = Clients::new(MAX_CONNECTIONS_OF_CLIENT);
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "accepting");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Some(place) = clients.admit(client.ip()) else {
            Counters::count(&responder.counters().dropped);
            continue;
        };
        let responder = responder.clone();
        tasks.spawn(async move {
            // Whatever ends a connection, it is the client's business alone.
            let _ = serve_connection(stream, client.ip(), &responder).await;
            drop((slot, place));
        });
    }
}

async fn serve_connection(
    mut stream: TcpStream,
    client: IpAddr,
    responder: &Responder,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut packet = Vec::new();
    loop {
        timeout(IDLE_TIMEOUT, read_packet(&mut stream, &mut packet)).await??;
        let response = match responder.reply(&packet, Transport::Tcp, client) {
            // Not a client.
            Reply::Silence => return Ok(()),
            Reply::Now(response) => response,
            Reply::Later(pending) => pending.finish().await,
        };
        let mut framed = Vec::with_capacity(response.len() + 2);
        framed.extend((response.len() as u16).to_be_bytes());
        framed.extend(response);
        timeout(IDLE_TIMEOUT, stream.write_all(&framed)).await??;
    }
}

async fn read_packet(stream: &mut TcpStream, packet: &mut Vec<u8>) -> io::Result<()> {
    let length = usize::from(stream.read_u16().await?);
    if length < HEADER_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    packet.resize(length, 0);
    stream.read_exact(packet).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_its_packets_each_second() {
        let start = Instant::now();
        let mut limit = RateLimit::new(2, start);
        let [a, b] = [1, 2].map(|n| IpAddr::from([10, 0, 0, n]));
        let admitted = [a, a, a, b].map(|source| limit.admits(source, start));
        assert_eq!(admitted, [true, true, false, true]);
        assert!(limit.admits(a, start + Duration::from_secs(1)));
    }
}
