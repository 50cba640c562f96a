//! A resolver that asks others: an upstream server of our own on 127.0.0.1 plays the world outside.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::fixture::*;
use crate::dns::message::{self, Heard, MAX_TCP_BYTES, Query, write_answer};
use crate::dns::responder::{Counters, Reply, Responder, Transport};
use crate::dns::{Answer, Code, Forwarder, Kind, View};

const PATIENCE: Duration = Duration::from_secs(10);

/// How an upstream behaves.
#[derive(Copy, Clone)]
enum Upstream {
    Answers,
    /// Over UDP it answers another question first, then with another id.
    Spoofed,
    /// Over UDP it only says that it is too long.
    Truncates,
    Fails,
}

fn outside_world() -> Region {
    let mut region = Region::default();
    region.zone("Z9", "outside.com");
    region.record("Z9", "www.outside.com", "A", &["192.0.2.80"]);
    region.record(
        "Z9",
        "\\052.mail.outside.com",
        "MX",
        &["10 www.outside.com"],
    );
    region
}

async fn upstream(tasks: &mut JoinSet<()>, how: Upstream) -> SocketAddr {
    let (udp, tcp) = loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = tcp.local_addr().unwrap();
        if let Ok(udp) = UdpSocket::bind(address).await {
            break (udp, tcp);
        }
    };
    let address = tcp.local_addr().unwrap();
    let tables = Arc::new(outside_world().tables());
    let answer = move |packet: &[u8]| {
        let query = Query::read(packet).unwrap();
        let answer = match how {
            Upstream::Fails => Answer {
                code: Code::Refused,
                ..Answer::default()
            },
            _ => tables.answer(&View::Public, &query.name, query.kind),
        };
        write_answer(&query, &answer, true, MAX_TCP_BYTES)
    };
    let udp_answer = answer.clone();
    tasks.spawn(async move {
        let mut buffer = [0; 2048];
        loop {
            let (length, client) = udp.recv_from(&mut buffer).await.unwrap();
            let mut response = udp_answer(&buffer[..length]);
            if matches!(how, Upstream::Spoofed) {
                let mut other = response.clone();
                other[13] ^= 1;
                udp.send_to(&other, client).await.unwrap();
                let mut other = response.clone();
                other[0] ^= 1;
                udp.send_to(&other, client).await.unwrap();
            }
            if matches!(how, Upstream::Truncates) {
                response[2] |= 2;
            }
            udp.send_to(&response, client).await.unwrap();
        }
    });
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let mut packet = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut packet).await.unwrap();
            let response = answer(&packet);
            stream.write_u16(response.len() as u16).await.unwrap();
            stream.write_all(&response).await.unwrap();
        }
    });
    address
}

fn inside_region() -> Region {
    let mut region = Region::default();
    region.vpc(1, "10.0.0.0/16");
    region.zone("Z1", "example.test");
    region.record("Z1", "out.example.test", "CNAME", &["www.outside.com"]);
    region
}

async fn ask(forwarder: Option<Forwarder>, text: &str, kind: Kind) -> Answer {
    let (_keep, tables) = watch::channel(Arc::new(inside_region().tables()));
    let counters = Arc::new(Counters::default());
    let responder = Responder::new(tables, inside(1), forwarder, counters);
    let name = name(text);
    let question = message::write_question(5, &name, kind);
    let response = match responder.reply(&question, Transport::Udp, super::fixture::HERE) {
        Reply::Silence => panic!("no answer"),
        Reply::Now(response) => response,
        Reply::Later(pending) => timeout(PATIENCE, pending.finish()).await.unwrap(),
    };
    assert_eq!(response[3] & 0x80, 0x80, "recursion is available");
    match message::read_response(&response, 5, &name, kind) {
        Some(Heard::Answer(answer)) => answer,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn without_a_world_outside_its_names_fail() {
    let answer = ask(None, "www.outside.com", Kind::A).await;
    assert_eq!(answer.code, Code::ServFail);
}

#[tokio::test]
async fn a_foreign_name_is_asked_for_outside() {
    for how in [Upstream::Answers, Upstream::Spoofed, Upstream::Truncates] {
        let mut tasks = JoinSet::new();
        let forwarder = Forwarder::new([upstream(&mut tasks, how).await]);
        let answer = ask(Some(forwarder.clone()), "www.outside.com", Kind::A).await;
        assert_eq!(addresses(&answer), ["192.0.2.80"]);
        let answer = ask(Some(forwarder.clone()), "no.outside.com", Kind::A).await;
        assert_eq!(answer.code, Code::NxDomain);
        assert_eq!(answer.authority[0].kind, Kind::SOA);
        let answer = ask(Some(forwarder), "x.mail.outside.com", Kind::MX).await;
        assert_eq!(
            &answer.answers[0].value[..],
            b"\0\x0a\x03www\x07outside\x03com\0"
        );
    }
}

#[tokio::test]
async fn a_chain_that_leads_outside_is_completed() {
    let mut tasks = JoinSet::new();
    let forwarder = Forwarder::new([upstream(&mut tasks, Upstream::Answers).await]);
    let answer = ask(Some(forwarder), "out.example.test", Kind::A).await;
    assert_eq!(answer.answers[0].kind, Kind::CNAME);
    assert_eq!(addresses(&answer), ["192.0.2.80"]);
}

#[tokio::test]
async fn the_next_server_is_asked_if_one_fails() {
    let mut tasks = JoinSet::new();
    let servers = [
        upstream(&mut tasks, Upstream::Fails).await,
        upstream(&mut tasks, Upstream::Answers).await,
    ];
    let answer = ask(Some(Forwarder::new(servers)), "www.outside.com", Kind::A).await;
    assert_eq!(addresses(&answer), ["192.0.2.80"]);
    let only = [upstream(&mut tasks, Upstream::Fails).await];
    let answer = ask(Some(Forwarder::new(only)), "www.outside.com", Kind::A).await;
    assert_eq!(answer.code, Code::ServFail);
}

#[tokio::test]
async fn what_is_known_inside_is_never_asked_for_outside() {
    // Nobody listens there: a question that went out would fail.
    let nowhere = Forwarder::new([SocketAddr::from(([127, 0, 0, 1], 9))]);
    for text in [
        "no.example.test",
        "ip-10-9-9-9.ec2.internal",
        "1.0.0.10.in-addr.arpa",
    ] {
        let answer = ask(Some(nowhere.clone()), text, Kind::A).await;
        assert_eq!(answer.code, Code::NxDomain, "{text}");
    }
}
