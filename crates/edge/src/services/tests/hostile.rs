//! Bytes and manners of clients that mean no good.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::time::timeout;

use super::bed::{Api, Bed, PATIENCE, read_all};
use crate::services::doors::Door;
use crate::services::exchange::Limits;

fn short() -> Limits {
    Limits {
        head: Duration::from_millis(80),
        idle: Duration::from_millis(80),
        ..Limits::default()
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_reaches_nobody() {
    let bed = Bed::start(Door::Public).await;
    for text in [
        "\0\0\0\0\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: x\r\nContent_Length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        "GET / HTTP/1.1\nHost: x\n\n",
    ] {
        let answer = bed.say(text).await;
        let status: u16 = answer[9..12].parse().unwrap();
        assert!((400..600).contains(&status), "{text:?}: {answer}");
    }
    assert!(bed.api.heard.all().is_empty());
}

#[tokio::test]
async fn a_head_without_an_end_is_cut_off() {
    let bed = Bed::start(Door::Public).await;
    let line = format!("X-{}: {}\r\n", "a".repeat(50), "b".repeat(1000));
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{}", line.repeat(200));
    let answer = bed.say(&head).await;
    // Or the connection was reset while we were still sending.
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"));
    assert!(bed.api.heard.all().is_empty());
}

#[tokio::test]
async fn broken_chunks_end_the_connection() {
    let bed = Bed::start(Door::Public).await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut stream = bed.connect().await;
    stream
        .write_all(format!("{head}5\r\nhelloX").as_bytes())
        .await
        .unwrap();
    stream.write_all(b"GET /_fogbank/reset").await.unwrap();
    stream.shutdown().await.unwrap();
    // The API waits for the rest of a body that never comes; we do not.
    drop(stream);
    let heard = bed.api.heard.all();
    assert!(!heard.iter().any(|head| head.contains("_fogbank")));
}

#[tokio::test]
async fn a_head_that_drips_is_not_waited_for() {
    let bed = Bed::with(Door::Public, short()).await;
    let mut stream = bed.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn who_says_nothing_is_let_go() {
    let bed = Bed::with(Door::Public, short()).await;
    let mut stream = bed.connect().await;
    assert_eq!(read_all(&mut stream).await, "");
}

#[tokio::test]
async fn who_rests_between_requests_is_let_go() {
    let bed = Bed::with(Door::Public, short()).await;
    let answer = bed.say("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.ends_with("1:0"), "{answer}");
}

/// An API that says more than anybody takes, and tells when its connection ended.
async fn endless(listener: UnixListener) -> usize {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = [0; 4096];
    let _ = stream.read(&mut head).await.unwrap();
    let _ = stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
        .await;
    let mut sent = 0;
    let part = vec![0; 64 * 1024];
    while let Ok(count) = stream.write(&part).await {
        sent += count;
    }
    sent
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_the_api_and_not_memory() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("door.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let api = tokio::spawn(endless(listener));
    let other = Api::start();
    let bed = Bed::before(other, socket, Door::Public, short()).await;
    let mut stream = bed.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    // It ends by itself, after what the kernel's buffers hold.
    let sent = timeout(PATIENCE, api).await.unwrap().unwrap();
    assert!(sent < 64 << 20, "{sent}");
    drop(stream);
}

#[tokio::test]
async fn a_client_that_is_gone_frees_the_api() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("door.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let api = tokio::spawn(endless(listener));
    let other = Api::start();
    let bed = Bed::before(other, socket, Door::Public, Limits::default()).await;
    let mut stream = bed.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut some = [0; 100];
    stream.read_exact(&mut some).await.unwrap();
    drop(stream);
    timeout(PATIENCE, api).await.unwrap().unwrap();
}
