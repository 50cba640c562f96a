//! Large bodies between plain sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::bed::{Bed, Origin, Script, bounded, own_address};

const LENGTH: usize = 5_000_000;

fn body() -> Vec<u8> {
    (0..LENGTH).map(|n| (n % 251) as u8).collect()
}

#[tokio::test]
async fn large_bodies_arrive_whole_both_ways_again_and_again() {
    let origin = Origin::start(|_| {
        let mut answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n").into_bytes();
        answer.extend(body());
        Script::Send(answer)
    })
    .await;
    let bed = Bed::new(&[origin.address]);
    let mut client = bed.client().await;
    for _ in 0..3 {
        client
            .send(&format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n"
            ))
            .await;
        client.send_bytes(&body()).await;
        let answer = client.answer().await;
        assert!(answer.body == body());
        assert!(origin.last().body == body());
    }
    assert_eq!(origin.connection_count(), 1, "both connections are kept");
    assert!(bed.worker.counts().node.processed_bytes > 6 * LENGTH as u64);
}

#[tokio::test]
async fn a_reader_that_stops_stops_its_writer() {
    let listener = TcpListener::bind((own_address(), 0))
        .await
        .expect("an address");
    let address = listener.local_addr().expect("an address");
    let bed = Bed::new(&[address]);
    let mut client = bed.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut target, _) = bounded(listener.accept()).await.expect("a connection");
    let mut head = [0; 4096];
    assert!(bounded(target.read(&mut head)).await.expect("a request") > 0);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1_u64 << 40);
    target.write_all(head.as_bytes()).await.expect("sent");
    // Nobody reads: the kernel's buffers and one pipe are all that is taken.
    let block = vec![7; 1 << 20];
    let mut taken = 0_usize;
    loop {
        tokio::select! {
            count = target.write(&block) => taken += count.expect("sent"),
            () = sleep(Duration::from_millis(300)) => break,
        }
    }
    assert!(taken < 64 << 20, "{taken}");
    // It goes on when somebody does.
    let mut read = 0;
    let mut bytes = vec![0; 1 << 20];
    while read < taken {
        read += bounded(client.stream.read(&mut bytes))
            .await
            .expect("bytes");
    }
    // The target dies: the client must not take this for the end.
    target.set_zero_linger().expect("set");
    drop(target);
    let end = loop {
        match bounded(client.stream.read(&mut bytes)).await {
            Ok(1..) => {}
            end => break end,
        }
    };
    assert!(end.is_err(), "reset, not closed");
}
