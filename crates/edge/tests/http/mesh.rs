//! What a proxy of Service Connect does other than a load balancer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fogbank_edge::http::{Mesh, Outlier, Version};
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::bed::{Bed, Origin, Script, bounded, own_address, until};

const MESH: Mesh = Mesh {
    tcp: false,
    request_timeout_ms: 0,
    retries: 2,
    outlier: Some(Outlier {
        failures: 5,
        within_ms: 30_000,
        ejection_ms: 30_000,
        ejection_max_ms: 300_000,
    }),
};

fn bed(targets: &[SocketAddr], mesh: Mesh) -> Bed {
    let mut bed = Bed::new(targets);
    bed.change(|table| {
        table.attributes.mesh = Some(mesh);
        table.attributes.preserve_host_header = true;
    });
    bed
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind((own_address(), 0)).await.expect("bound");
    listener.local_addr().expect("an address")
}

/// Closes every connection after a request, without a word.
async fn silent_closer() -> Origin {
    Origin::start(|_| Script::SendAndClose(Vec::new())).await
}

#[tokio::test]
async fn a_request_goes_on_as_it_came() {
    let origin = Origin::of("hello").await;
    let bed = bed(&[origin.address], MESH);
    let mut client = bed.client().await;
    client
        .send("GET /a?b HTTP/1.1\r\nHost: backend:8080\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Amzn-Trace-Id: Root=mine\r\nX: y\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.text(), "hello");
    let expected = "GET /a?b HTTP/1.1\r\nHost: backend:8080\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Amzn-Trace-Id: Root=mine\r\nX: y\r\n";
    assert_eq!(origin.last().head.trim_end(), expected.trim_end());
}

#[tokio::test]
async fn who_cannot_be_reached_costs_no_request() {
    let origin = Origin::of("hello").await;
    let bed = bed(&[nobody().await, origin.address, nobody().await], MESH);
    for number in 0..12 {
        // Nothing of it was sent: whatever its method.
        let mut client = bed.client().await;
        client
            .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
            .await;
        assert_eq!(client.answer().await.text(), "hello", "request {number}");
    }
    assert!(origin.seen().iter().all(|seen| seen.body == b"body"));
}

#[tokio::test]
async fn a_request_without_an_answer_is_sent_elsewhere_if_it_may_be() {
    let (closer, origin) = (silent_closer().await, Origin::of("hello").await);
    let bed = bed(&[closer.address, origin.address], MESH);
    for _ in 0..4 {
        assert_eq!(bed.get("/").await.text(), "hello");
    }
    assert!(closer.connection_count() > 0);
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let mut client = bed.client().await;
        client
            .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            .await;
        statuses.push(client.answer().await.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503], "who knows what it did");
}

#[tokio::test]
async fn without_anybody_the_answer_is_envoys() {
    let bed_of_none = bed(&[], MESH);
    let answer = bed_of_none.get("/").await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (503, "no healthy upstream")
    );
    assert_eq!(answer.header("server"), Some("envoy"));
    let bed = bed(&[nobody().await], MESH);
    let answer = bed.get("/").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().starts_with("upstream connect error"));
}

#[tokio::test]
async fn who_fails_again_and_again_is_put_out() {
    let failures = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = failures.clone();
    let bad = Origin::start(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Script::Send(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_vec())
    })
    .await;
    let good = Origin::of("hello").await;
    let bed = bed(&[bad.address, good.address], MESH);
    let mut answers = Vec::new();
    for _ in 0..40 {
        answers.push(bed.get("/").await.status);
    }
    assert_eq!(failures.load(Ordering::SeqCst), 5);
    assert_eq!(answers.iter().filter(|status| **status == 500).count(), 5);
}

#[tokio::test]
async fn when_all_are_put_out_all_are_used() {
    let bad =
        Origin::start(|_| Script::Send(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_vec()))
            .await;
    let bed = bed(&[bad.address], MESH);
    for _ in 0..10 {
        assert_eq!(bed.get("/").await.status, 500);
    }
}

#[tokio::test]
async fn a_request_has_its_time() {
    let origin = Origin::start(|_| Script::Silence).await;
    let mesh = Mesh {
        request_timeout_ms: 50,
        ..MESH
    };
    let bed = bed(&[origin.address], mesh);
    let began = Instant::now();
    let answer = bed.get("/").await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (504, "upstream request timeout")
    );
    assert!(began.elapsed() >= Duration::from_millis(50));
    assert_eq!(origin.seen().len(), 1, "it is not sent again");
}

async fn http2(
    bed: &Bed,
) -> (
    h2::client::SendRequest<bytes::Bytes>,
    tokio::task::JoinHandle<()>,
) {
    let stream = TcpStream::connect(bed.address).await.expect("connected");
    let (send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let driven = tokio::spawn(async move {
        let _ = connection.await;
    });
    (send, driven)
}

#[tokio::test]
async fn http2_without_tls_is_known_by_its_first_words() {
    let origin = Origin::of("hello").await;
    let bed = bed(&[origin.address], MESH);
    let (send, driven) = http2(&bed).await;
    let mut ready = bounded(send.ready()).await.expect("ready");
    let request = Request::get("http://backend/x")
        .body(())
        .expect("a request");
    let (response, _) = ready.send_request(request, true).expect("sent");
    let answer = bounded(response).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(origin.last().header("host"), Some("backend"));
    driven.abort();
}

#[tokio::test]
async fn an_http2_request_finds_another_target_too() {
    let listener = TcpListener::bind((own_address(), 0)).await.expect("bound");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.ok()?;
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let _ = respond.send_response(http::Response::new(()), true);
                }
                Some(())
            });
        }
    });
    let mut bed = bed(&[nobody().await, address], MESH);
    bed.change(|table| table.target_groups[0].version = Version::Http2);
    let (send, driven) = http2(&bed).await;
    for _ in 0..4 {
        let mut ready = bounded(send.clone().ready()).await.expect("ready");
        let request = Request::get("http://backend/").body(()).expect("a request");
        let (response, _) = ready.send_request(request, true).expect("sent");
        assert_eq!(bounded(response).await.expect("an answer").status(), 200);
    }
    driven.abort();
}

/// Says its name to every client, then what the client says.
async fn echo(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((own_address(), 0)).await.expect("bound");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(name.as_bytes()).await.ok()?;
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await.ok()
            });
        }
    });
    address
}

#[tokio::test]
async fn bytes_go_both_ways_and_each_side_may_end_first() {
    let mesh = Mesh { tcp: true, ..MESH };
    let bed = bed(&[echo("a").await, nobody().await, echo("b").await], mesh);
    let mut names = Vec::new();
    for _ in 0..6 {
        let mut stream = TcpStream::connect(bed.address).await.expect("connected");
        let said = vec![b'x'; 300_000];
        let (mut reader, mut writer) = stream.split();
        let mut heard = Vec::new();
        let sending = async {
            writer.write_all(&said).await.expect("sent");
            writer.shutdown().await.expect("shut");
        };
        let (_, read) =
            bounded(async { tokio::join!(sending, reader.read_to_end(&mut heard)) }).await;
        assert_eq!(read.expect("read"), said.len() + 1);
        assert_eq!(heard[1..], said);
        names.push(heard[0]);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names, b"ab");
}

#[tokio::test]
async fn a_connection_that_nobody_takes_is_reset() {
    let bed = bed(&[nobody().await], Mesh { tcp: true, ..MESH });
    let mut stream = TcpStream::connect(bed.address).await.expect("connected");
    let error = bounded(stream.read(&mut [0])).await.expect_err("reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn who_drains_ends_what_it_has_and_gets_nothing_new() {
    let (first, second) = (echo("a").await, echo("b").await);
    let mut bed = bed(&[first], Mesh { tcp: true, ..MESH });
    let mut old = TcpStream::connect(bed.address).await.expect("connected");
    let mut byte = [0];
    bounded(old.read_exact(&mut byte)).await.expect("its name");
    bed.change(|table| {
        table.target_groups[0].targets[0].draining = true;
        table.target_groups[0]
            .targets
            .push(crate::bed::target(&second));
    });
    let mut new = TcpStream::connect(bed.address).await.expect("connected");
    bounded(new.read_exact(&mut byte)).await.expect("its name");
    assert_eq!(byte, *b"b");
    old.write_all(b"z").await.expect("sent");
    bounded(old.read_exact(&mut byte)).await.expect("an echo");
    assert_eq!(byte, *b"z");
    // It is gone: so is what it had.
    bed.change(|table| {
        table.target_groups[0].targets.remove(0);
    });
    assert!(bounded(old.read(&mut byte)).await.is_err(), "reset");
    until(|| bed.worker.counts().node.active_connections == 1).await;
}
