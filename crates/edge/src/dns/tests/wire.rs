//! The whole server over real sockets on 127.0.0.1, fed by a store in memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fogbank_store::{Memory, Op, Store, Txn, TxnOutcome};
use fogbank_types::status::DnsStatus;
use fogbank_types::{InternetAccess, RegionConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::fixture::*;
use crate::dns::message::{self, Heard};
use crate::dns::{Code, Kind, Name, report, serve};

const PATIENCE: Duration = Duration::from_secs(10);

pub fn config(dns: SocketAddr) -> RegionConfig {
    RegionConfig {
        instance: "t".to_owned(),
        host: "here".to_owned(),
        data_dir: "/nonexistent".into(),
        run_dir: "/nonexistent".into(),
        endpoint: dns,
        dns,
        account: ACCOUNT.to_owned(),
        public_cidr: "198.18.0.0/16".parse().unwrap(),
        public_cidr_v6: "2001:2::/48".parse().unwrap(),
        quotas: Default::default(),
        internet: InternetAccess::None,
        speed: 1.0,
        metrics: None,
        geography: None,
        tls_resolvers: Vec::new(),
        request_rates: false,
        auth: fogbank_types::AuthMode::Off,
        tls: None,
        ephemeral: true,
    }
}

pub struct Server {
    pub store: Arc<dyn Store>,
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(region: &Region) -> Self {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let server = loop {
            // Two sockets on one free port; another test may take it in between.
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            let serving = serve(config(address), store.clone());
            let task = tokio::spawn(async move {
                let _ = serving.await;
            });
            let server = Self {
                store: store.clone(),
                address,
                task,
            };
            let ready = async {
                while server.applied().await.is_none() && !server.task.is_finished() {
                    tokio::task::yield_now().await;
                }
            };
            timeout(PATIENCE, ready).await.unwrap();
            if !server.task.is_finished() {
                break server;
            }
        };
        if !region.rows.is_empty() {
            server.put(region.ops()).await;
        }
        server
    }

    /// Returns when the server answers by it.
    pub async fn put(&self, ops: Vec<Op>) {
        let outcome = self.store.txn(Txn::of(ops)).await.unwrap();
        let TxnOutcome::Committed(revision) = outcome else {
            panic!("{outcome:?}");
        };
        let applied = async {
            while self.applied().await < Some(revision) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, applied).await.unwrap();
    }

    pub async fn applied(&self) -> Option<u64> {
        let entry = self.store.get(&report::key("here")).await.unwrap()?;
        let status: DnsStatus = serde_json::from_slice(&entry.value).unwrap();
        assert!(entry.lease.is_some());
        Some(status.applied)
    }

    pub async fn ask(&self, name: &str, kind: Kind) -> Heard {
        let name = Name::parse(name).unwrap();
        let question = message::write_question(7, &name, kind);
        let response = exchange(self.address, &question).await;
        message::read_response(&response, 7, &name, kind).unwrap()
    }
}

pub async fn exchange(server: SocketAddr, packet: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.send_to(packet, server).await.unwrap();
    let mut buffer = vec![0; 65_535];
    let length = timeout(PATIENCE, socket.recv(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    buffer.truncate(length);
    buffer
}

fn heard(heard: Heard) -> crate::dns::Answer {
    match heard {
        Heard::Answer(answer) => answer,
        Heard::Truncated => panic!("truncated"),
    }
}

/// A question without EDNS.
fn plain(name: &str, kind: Kind) -> Vec<u8> {
    let mut question = message::write_question(7, &Name::parse(name).unwrap(), kind);
    question.truncate(question.len() - 11);
    question[11] = 0;
    question
}

fn example() -> Region {
    let mut region = Region::default();
    region.zone("Z1", "example.test");
    region.record("Z1", "a.example.test", "A", &["192.0.2.1"]);
    region
}

#[tokio::test]
async fn what_is_stored_is_answered_and_reported() {
    let server = Server::start(&example()).await;
    let answer = heard(server.ask("a.example.test", Kind::A).await);
    assert_eq!(addresses(&answer), ["192.0.2.1"]);
    let mut changed = Region::default();
    changed.record("Z1", "a.example.test", "A", &["192.0.2.2"]);
    server.put(changed.ops()).await;
    let answer = heard(server.ask("a.example.test", Kind::A).await);
    assert_eq!(addresses(&answer), ["192.0.2.2"]);
    let key = changed.rows.keys().next().unwrap();
    server.put(vec![Op::delete(key)]).await;
    let answer = heard(server.ask("a.example.test", Kind::A).await);
    assert_eq!(answer.code, Code::NxDomain);
}

#[tokio::test]
async fn a_lost_report_is_written_again() {
    let server = Server::start(&example()).await;
    let before = server.applied().await;
    let key = report::key("here");
    let _ = server
        .store
        .txn(Txn::of(vec![Op::delete(key)]))
        .await
        .unwrap();
    let again = async {
        while server.applied().await.is_none() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();
    assert_eq!(server.applied().await, before);
}

#[tokio::test]
async fn the_question_comes_back_as_it_was_asked() {
    let server = Server::start(&example()).await;
    let mut question = plain("a.example.test", Kind::A);
    question[15] = b'E';
    question[17] = b'A';
    let response = exchange(server.address, &question).await;
    assert_eq!(response[12..question.len()], question[12..]);
    assert_eq!(response[..2], question[..2]);
    assert_eq!(
        response[2] & 0x85,
        0x85,
        "response, authoritative, recursion desired"
    );
    assert_eq!(response[3] & 0x80, 0, "no recursion");
}

#[tokio::test]
async fn what_is_too_long_for_udp_is_asked_over_tcp() {
    let mut region = example();
    let values: Vec<String> = (0..40).map(|n| format!("192.0.2.{n}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    region.record("Z1", "many.example.test", "A", &values);
    let server = Server::start(&region).await;
    let question = plain("many.example.test", Kind::A);
    let response = exchange(server.address, &question).await;
    assert!(response.len() <= 512);
    assert_eq!(response[2] & 2, 2, "truncated");
    let with_edns = heard(server.ask("many.example.test", Kind::A).await);
    assert_eq!(addresses(&with_edns).len(), 40);
    // Two questions on one connection.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..2 {
        let mut framed = (question.len() as u16).to_be_bytes().to_vec();
        framed.extend(&question);
        stream.write_all(&framed).await.unwrap();
    }
    for _ in 0..2 {
        let length = timeout(PATIENCE, stream.read_u16()).await.unwrap().unwrap();
        let mut response = vec![0; usize::from(length)];
        stream.read_exact(&mut response).await.unwrap();
        let name = Name::parse("many.example.test").unwrap();
        let answer = message::read_response(&response, 7, &name, Kind::A).unwrap();
        assert_eq!(addresses(&heard(answer)).len(), 40);
    }
}

#[tokio::test]
async fn values_come_in_changing_order() {
    let mut region = example();
    region.record("Z1", "two.example.test", "A", &["192.0.2.1", "192.0.2.2"]);
    let server = Server::start(&region).await;
    let mut first = std::collections::HashSet::new();
    for _ in 0..64 {
        let answer = heard(server.ask("two.example.test", Kind::A).await);
        first.insert(answer.answers[0].value.clone());
    }
    assert_eq!(first.len(), 2);
}

#[tokio::test]
async fn what_is_no_plain_question_gets_the_fitting_code() {
    let server = Server::start(&example()).await;
    let code = async |packet: Vec<u8>| exchange(server.address, &packet).await[3] & 0xf;
    let mut notify = plain("example.test", Kind::SOA);
    notify[2] = 0x20;
    assert_eq!(code(notify).await, 4);
    let mut chaos = plain("version.bind", Kind::TXT);
    *chaos.last_mut().unwrap() = 3;
    assert_eq!(code(chaos).await, 5);
    assert_eq!(code(plain("example.test", Kind::AXFR)).await, 5);
    let mut two = plain("example.test", Kind::A);
    two[5] = 2;
    assert_eq!(code(two).await, 1);
    let mut cut = plain("example.test", Kind::A);
    cut.truncate(20);
    assert_eq!(code(cut).await, 1);
    let mut version = message::write_question(7, &Name::parse("example.test").unwrap(), Kind::A);
    let at = version.len() - 5;
    version[at] = 1;
    let response = exchange(server.address, &version).await;
    assert_eq!(response[3] & 0xf, 0);
    assert_eq!(
        response[response.len() - 6],
        1,
        "BADVERS, in the OPT record"
    );
}

#[tokio::test]
async fn a_response_is_never_answered() {
    let server = Server::start(&example()).await;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut response = plain("example.test", Kind::A);
    response[2] |= 0x80;
    socket.send_to(&response, server.address).await.unwrap();
    socket.send_to(b"short", server.address).await.unwrap();
    let mut question = plain("example.test", Kind::SOA);
    question[0] = 99;
    socket.send_to(&question, server.address).await.unwrap();
    // Packets keep their order, so the first answer is the third packet's.
    let mut buffer = [0; 512];
    timeout(PATIENCE, socket.recv(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(buffer[0], 99);
}

#[tokio::test]
async fn the_last_tables_serve_while_the_store_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sock");
    let first: Arc<dyn Store> = Arc::new(Memory::new());
    let _ = first.txn(Txn::of(example().ops())).await.unwrap();
    let control = Control::start(&path, first.clone());
    let client = Arc::new(fogbank_store::remote::Client::connect(&path));
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let serving = serve(config(address), client);
    let server = Server {
        store: first,
        address,
        task: tokio::spawn(async move {
            serving.await.unwrap();
        }),
    };
    let ready = async {
        while server.applied().await.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, ready).await.unwrap();
    control.stop().await;
    let answer = heard(server.ask("a.example.test", Kind::A).await);
    assert_eq!(addresses(&answer), ["192.0.2.1"]);

    // Another store, which begins to count anew and knows no lease.
    let second: Arc<dyn Store> = Arc::new(Memory::new());
    let mut region = example();
    region.record("Z1", "a.example.test", "A", &["192.0.2.7"]);
    let _ = second.txn(Txn::of(region.ops())).await.unwrap();
    let _control = Control::start(&path, second.clone());
    let moved = async {
        loop {
            let answer = heard(server.ask("a.example.test", Kind::A).await);
            if addresses(&answer) == ["192.0.2.7"] {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        while second.get(&report::key("here")).await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, moved).await.unwrap();
}

/// The store's side of the socket, which can go away.
struct Control(JoinHandle<()>);

impl Control {
    fn start(path: &std::path::Path, store: Arc<dyn Store>) -> Self {
        let serving = fogbank_store::remote::Server::bind(path, store).unwrap();
        Self(tokio::spawn(async move { serving.run().await.unwrap() }))
    }

    /// As when the process ends.
    async fn stop(self) {
        self.0.abort();
        let _ = self.0.await;
    }
}
