//! The packets that a VPC's resolver takes of one interface (fact VPC-12), counted on the wire.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::fixture::*;
use crate::dns::Kind;
use crate::dns::message::write_question;
use crate::dns::responder::{Counters, Responder};
use crate::dns::server::{PACKETS_PER_SECOND, RateLimit, serve_udp};

const PATIENCE: Duration = Duration::from_secs(10);

async fn asker(last: u8, server: SocketAddr) -> UdpSocket {
    let own = Ipv4Addr::new(127, 0, 0, last);
    let socket = UdpSocket::bind((own, 0)).await.unwrap();
    socket.connect(server).await.unwrap();
    socket
}

async fn hear(socket: &UdpSocket) {
    let mut buffer = [0; 512];
    timeout(PATIENCE, socket.recv(&mut buffer))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn an_interface_has_its_packets_and_the_next_one_is_dropped() {
    let mut region = Region::default();
    region.vpc(1, "10.0.0.0/16");
    let (_keep, tables) = watch::channel(Arc::new(region.tables()));
    let counters = Arc::new(Counters::default());
    let responder = Responder::new(tables, inside(1), None, counters.clone());
    // Its window has begun only in an hour: however slow the machine is, there is no second one.
    let limit = RateLimit::new(
        PACKETS_PER_SECOND,
        Instant::now() + Duration::from_secs(3_600),
    );
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let server = socket.local_addr().unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(serve_udp(
        socket,
        responder,
        Some(Arc::new(Mutex::new(limit))),
    ));
    let (busy, other) = (asker(2, server).await, asker(3, server).await);
    let question = write_question(7, &name("localhost"), Kind::A);
    for _ in 0..1_024 {
        busy.send(&question).await.unwrap();
        hear(&busy).await;
    }
    assert_eq!(counters.dropped.load(Ordering::Relaxed), 0);
    busy.send(&question).await.unwrap();
    // A socket's packets are taken in their order: with this answer the one before has been looked at.
    other.send(&question).await.unwrap();
    hear(&other).await;
    assert_eq!(counters.dropped.load(Ordering::Relaxed), 1);
    assert_eq!(counters.queries.load(Ordering::Relaxed), 1_025);
}
