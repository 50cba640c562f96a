//! New tables while requests are under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fogbank_edge::http::{Algorithm, Condition};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::bed::{
    Bed, Client, GROUP, Origin, PORT, bounded, forward, group, ok, own_address, rule, target, until,
};

#[tokio::test]
async fn no_request_is_lost_while_tables_change() {
    let origins = [
        Origin::of("a").await,
        Origin::of("b").await,
        Origin::of("c").await,
    ];
    let mut bed = Bed::new(&[origins[0].address]);
    let (stop, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..8)
        .map(|number| {
            let (address, stop, answered) = (bed.address, stop.clone(), answered.clone());
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                while !stop.load(Ordering::Relaxed) {
                    if number % 2 == 0 {
                        client = Client::connect(address).await;
                    }
                    client
                        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
                        .await;
                    assert_eq!(client.answer().await.status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for turn in 0..60_usize {
        let before = answered.load(Ordering::Relaxed);
        until(|| answered.load(Ordering::Relaxed) > before + 3).await;
        bed.change(|table| {
            // Deregistering as AWS does it: draining first, gone afterwards.
            let rows = &mut table.target_groups[0].targets;
            rows.retain(|row| !row.draining);
            rows.iter_mut().for_each(|row| row.draining = true);
            rows.push(target(&origins[(turn + 1) % 3].address));
            rows.dedup_by_key(|row| (row.ip, row.port));
            table.attributes.idle_timeout_ms += 1;
        });
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        bounded(client).await.expect("every request was answered");
    }
}

/// An origin of one connection, answered by hand.
async fn by_hand() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind((own_address(), 0))
        .await
        .expect("an address");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

async fn take_request(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = bounded(listener.accept()).await.expect("a connection");
    assert!(
        bounded(stream.read(&mut [0; 4096]))
            .await
            .expect("a request")
            > 0
    );
    stream
}

#[tokio::test]
async fn a_draining_target_finishes_what_it_has_and_gets_no_more() {
    let (listener, address) = by_hand().await;
    let other = Origin::of("other").await;
    let mut bed = Bed::new(&[address]);
    let mut client = bed.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut stream = take_request(&listener).await;
    bed.change(|table| {
        table.target_groups[0].targets[0].draining = true;
        table.target_groups[0].targets.push(target(&other.address));
    });
    for _ in 0..3 {
        assert_eq!(bed.get("/").await.text(), "other");
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
        .await
        .expect("sent");
    assert_eq!(client.answer().await.text(), "done");
    bed.change(|table| table.target_groups[0].targets.retain(|row| row.draining));
    assert_eq!(
        bed.get("/").await.status,
        503,
        "only a draining target is left"
    );
}

#[tokio::test]
async fn a_target_that_leaves_the_table_is_cut_off() {
    let (listener, address) = by_hand().await;
    let mut bed = Bed::new(&[address]);
    let (mut waiting, mut reading) = (bed.client().await, bed.client().await);
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let _silent = take_request(&listener).await;
    reading.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut stream = take_request(&listener).await;
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        .await
        .expect("sent");
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"half") {
        assert!(
            bounded(reading.stream.read_buf(&mut bytes))
                .await
                .expect("bytes")
                > 0
        );
    }
    bed.change(|table| table.target_groups[0].targets.clear());
    assert_eq!(waiting.answer().await.status, 502);
    assert_eq!(reading.rest().await, b"");
}

#[tokio::test]
async fn listeners_come_and_go() {
    let origin =
        Origin::start(|seen| ok(seen.header("x-forwarded-port").unwrap_or_default())).await;
    let mut bed = Bed::new(&[origin.address]);
    let mut kept = bed.client().await;
    kept.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(kept.answer().await.text(), PORT.to_string());
    bed.change(|table| table.listeners[0].port = PORT + 1);
    kept.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(kept.try_answer().await.is_none(), "its listener is gone");
    until(|| std::net::TcpStream::connect(bed.address).is_err()).await;
    bed.address.set_port(PORT + 1);
    assert_eq!(bed.get("/").await.text(), (PORT + 1).to_string());
}

#[tokio::test]
async fn requests_go_round_and_by_weight() {
    let origins = [
        Origin::of("a").await,
        Origin::of("b").await,
        Origin::of("c").await,
    ];
    let mut bed = Bed::new(&[origins[0].address, origins[1].address, origins[2].address]);
    let mut client = bed.client().await;
    let mut count = async |requests: usize| {
        let mut counts = [0; 3];
        for _ in 0..requests {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            counts[(client.answer().await.body[0] - b'a') as usize] += 1;
        }
        counts
    };
    assert_eq!(
        count(30).await,
        [10, 10, 10],
        "each request on a kept-alive connection is chosen for"
    );
    bed.change(|table| table.target_groups[0].algorithm = Algorithm::LeastOutstandingRequests);
    assert_eq!(count(30).await, [10, 10, 10]);
    bed.change(|table| {
        table.target_groups = vec![
            group("a", &[origins[0].address]),
            group("b", &[origins[1].address]),
            group("c", &[origins[2].address]),
        ];
        table.listeners[0].default_action = forward(&[("a", 7), ("b", 3), ("c", 0)]);
    });
    assert_eq!(count(100).await, [70, 30, 0]);
}

#[tokio::test]
async fn without_cross_zone_only_the_own_zone_serves() {
    let (here, there) = (Origin::of("here").await, Origin::of("there").await);
    let mut bed = Bed::new(&[here.address, there.address]);
    bed.change(|table| {
        table.target_groups[0].cross_zone = false;
        table.target_groups[0].targets[1].zone = Some("us-east-1b".into());
    });
    for _ in 0..4 {
        assert_eq!(bed.get("/").await.text(), "here");
    }
    bed.change(|table| drop(table.target_groups[0].targets.remove(0)));
    assert_eq!(bed.get("/").await.status, 503);
    bed.change(|table| table.target_groups[0].cross_zone = true);
    assert_eq!(bed.get("/").await.text(), "there");
}

#[tokio::test]
async fn shutdown_waits_for_requests_under_way() {
    let (listener, address) = by_hand().await;
    let bed = Bed::new(&[address]);
    let (mut busy, mut idle) = (bed.client().await, bed.client().await);
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut stream = take_request(&listener).await;
    let worker = bed.worker.clone();
    let draining = tokio::spawn(async move { worker.drain().await });
    assert_eq!(idle.rest().await, b"", "an idle connection is closed");
    assert!(!draining.is_finished());
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
        .await
        .expect("sent");
    assert_eq!(busy.answer().await.text(), "done");
    bounded(draining).await.expect("drained");
}

#[tokio::test]
async fn the_limit_of_connections_makes_clients_wait() {
    let origin = Origin::of("ok").await;
    let ip = own_address();
    let worker = fogbank_edge::http::Worker::new(ip.into(), 1);
    worker.apply(&crate::bed::table(&[origin.address]));
    let address = (ip, PORT).into();
    let mut first = Client::connect(address).await;
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(first.answer().await.status, 200);
    let mut second = Client::connect(address).await;
    second.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(worker.counts().node.active_connections, 1);
    drop(first);
    assert_eq!(second.answer().await.status, 200);
}

#[tokio::test]
async fn a_rule_for_a_group_that_is_gone_is_unavailable_and_the_rest_serves() {
    let origin = Origin::of("ok").await;
    let mut bed = Bed::new(&[origin.address]);
    bed.change(|table| {
        let path = Condition::PathPattern {
            values: vec!["/gone".into()],
        };
        table.listeners[0].rules = vec![rule(1, path, forward(&[("nobody", 1)]))];
    });
    assert_eq!(bed.get("/gone").await.status, 503);
    assert_eq!(bed.get("/").await.status, 200);
    assert_eq!(bed.table.target_groups[0].id, GROUP);
}
