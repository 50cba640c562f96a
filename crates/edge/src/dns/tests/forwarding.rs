//! What the forwarder keeps and what it asks once, by an upstream that counts and answers when it is told to.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::fixture::*;
use crate::dns::message::{MAX_UDP_BYTES, Query, write_answer};
use crate::dns::{Answer, Code, Forwarder, Kind, View};

const PATIENCE: Duration = Duration::from_secs(10);

struct Upstream {
    address: SocketAddr,
    /// A permit for each question that came.
    asked: Arc<Semaphore>,
    /// Takes one for each answer.
    answers: Arc<Semaphore>,
    _task: JoinSet<()>,
}

impl Upstream {
    /// Knows one name, and refuses those of other zones.
    async fn start() -> Self {
        let mut region = Region::default();
        region.zone("Z9", "outside.com");
        region.record("Z9", "www.outside.com", "A", &["192.0.2.80"]);
        let tables = region.tables();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let [asked, answers] = [0, 0].map(|n| Arc::new(Semaphore::new(n)));
        let mut task = JoinSet::new();
        let (came, may) = (asked.clone(), answers.clone());
        task.spawn(async move {
            let mut buffer = [0; 2048];
            loop {
                let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
                came.add_permits(1);
                may.acquire().await.unwrap().forget();
                let query = Query::read(&buffer[..length]).unwrap();
                let answer = tables.answer(&View::Public, &query.name, query.kind);
                let response = write_answer(&query, &answer, true, MAX_UDP_BYTES);
                socket.send_to(&response, client).await.unwrap();
            }
        });
        Self {
            address,
            asked,
            answers,
            _task: task,
        }
    }

    fn forwarder(&self) -> Forwarder {
        Forwarder::new([self.address])
    }
}

async fn ask(forwarder: &Forwarder, text: &str, kind: Kind) -> Answer {
    let name = name(text);
    timeout(PATIENCE, forwarder.ask(&name, kind))
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn what_was_heard_is_not_asked_again() {
    let upstream = Upstream::start().await;
    upstream.answers.add_permits(10);
    let forwarder = upstream.forwarder();
    for _ in 0..3 {
        let heard = ask(&forwarder.clone(), "www.outside.com", Kind::A).await;
        assert_eq!(addresses(&heard), ["192.0.2.80"]);
        let heard = ask(&forwarder, "no.outside.com", Kind::A).await;
        assert_eq!(heard.code, Code::NxDomain);
        let heard = ask(&forwarder, "www.outside.com", Kind::AAAA).await;
        assert_eq!((heard.code, heard.answers.len()), (Code::NoError, 0));
    }
    assert_eq!(upstream.asked.available_permits(), 3);
}

#[tokio::test]
async fn what_is_not_to_be_kept_is_asked_again() {
    let upstream = Upstream::start().await;
    upstream.answers.add_permits(10);
    let forwarder = upstream.forwarder();
    let refused = name("www.foreign.test");
    for _ in 0..2 {
        let heard = timeout(PATIENCE, forwarder.ask(&refused, Kind::A)).await;
        assert!(heard.unwrap().is_err());
    }
    // Each time twice, as packets get lost.
    assert_eq!(upstream.asked.available_permits(), 4);
}

#[tokio::test]
async fn equal_questions_under_way_are_asked_once() {
    let upstream = Upstream::start().await;
    let forwarder = upstream.forwarder();
    let name = name("www.outside.com");
    let mut first = pin!(forwarder.ask(&name, Kind::A));
    let mut gone = Box::pin(forwarder.ask(&name, Kind::A));
    let mut last = pin!(forwarder.ask(&name, Kind::A));
    let mut context = Context::from_waker(Waker::noop());
    assert!(gone.as_mut().poll(&mut context).is_pending());
    assert!(first.as_mut().poll(&mut context).is_pending());
    assert!(last.as_mut().poll(&mut context).is_pending());
    // Who began to ask takes nobody's answer away.
    drop(gone);
    upstream.answers.add_permits(1);
    for asker in [first, last] {
        let heard = timeout(PATIENCE, asker).await.unwrap().unwrap();
        assert_eq!(addresses(&heard), ["192.0.2.80"]);
    }
    assert_eq!(upstream.asked.available_permits(), 1);
}

#[tokio::test]
async fn questions_of_other_types_are_other_questions() {
    let upstream = Upstream::start().await;
    let forwarder = upstream.forwarder();
    let name = name("www.outside.com");
    upstream.answers.add_permits(2);
    let (a, aaaa) = tokio::join!(
        forwarder.ask(&name, Kind::A),
        forwarder.ask(&name, Kind::AAAA)
    );
    assert_eq!(addresses(&a.unwrap()), ["192.0.2.80"]);
    assert!(aaaa.unwrap().answers.is_empty());
    assert_eq!(upstream.asked.available_permits(), 2);
}
