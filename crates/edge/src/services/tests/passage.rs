//! What goes through, and comes back.

use std::time::Duration;

use fogbank_types::{Arrival, VpcEndpointId};
use tokio::io::AsyncWriteExt;

use super::bed::{Api, Bed, endpoint_of, read_all, read_until, signed};
use crate::services::doors::Door;
use crate::services::exchange::Limits;

const GET: &str = "GET / HTTP/1.1\r\nHost: ec2.us-east-1.amazonaws.com\r\nX-Odd:  kept \r\n\r\n";
const LAST: &str = "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_request_goes_through_as_it_came() {
    let bed = Bed::start(Door::Public).await;
    let mut stream = bed.connect().await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    read_until(&mut stream, "1:0").await;
    assert_eq!(bed.api.heard.all(), [GET]);
}

#[tokio::test]
async fn the_api_is_told_how_a_client_came() {
    for (door, endpoint) in [
        (Door::Public, None),
        (endpoint_of("ecs"), Some(VpcEndpointId::from_bits(1))),
    ] {
        let bed = Bed::start(door).await;
        let mut stream = bed.connect().await;
        let host = "ecs.us-east-1.amazonaws.com";
        let call = signed("POST", "/", host, "us-east-1/ecs", "");
        stream.write_all(call.as_bytes()).await.unwrap();
        read_until(&mut stream, "1:0").await;
        let expected = Arrival {
            client: stream.local_addr().unwrap(),
            is_tls: false,
            endpoint,
        };
        assert_eq!(bed.api.heard.arrivals(), [expected]);
    }
}

#[tokio::test]
async fn a_connection_carries_many_requests_in_any_pieces() {
    let bed = Bed::start(Door::Public).await;
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;a=b\r\nyou\r\n0\r\n\r\n";
    let length = "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\nGET / HTTP/1";
    let text = [chunked, GET, length, LAST].concat();
    for piece in [1, 7, 10_000] {
        let mut stream = bed.connect().await;
        stream.set_nodelay(true).unwrap();
        for part in text.as_bytes().chunks(piece) {
            stream.write_all(part).await.unwrap();
        }
        let answers = read_all(&mut stream).await;
        for each in ["1:8", "2:0", "3:12", "4:0"] {
            assert!(answers.contains(each), "{each} in {answers}");
        }
    }
}

#[tokio::test]
async fn large_bodies_go_through() {
    let bed = Bed::start(Door::Public).await;
    let mut stream = bed.connect().await;
    let bytes = 5_000_000;
    let head = format!(
        "PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; bytes]).await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.ends_with("1:5000000"), "{answer}");
}

#[tokio::test]
async fn a_client_that_has_said_all_still_hears_the_answer() {
    let bed = Bed::start(Door::Public).await;
    let mut stream = bed.connect().await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    // And the connection ends with it, not when it has been idle.
    assert!(read_all(&mut stream).await.ends_with("1:0"));
}

#[tokio::test]
async fn a_second_request_is_held_to_the_door_as_well() {
    let bed = Bed::start(endpoint_of("ecs")).await;
    let host = "ecs.us-east-1.amazonaws.com";
    let good = signed("POST", "/", host, "us-east-1/ecs", "");
    let bad = signed("POST", "/", host, "us-east-1/ec2", "");
    let answers = bed.say(&format!("{good}{bad}{good}")).await;
    let first = answers.find("1:0").expect("the first is answered");
    let second = answers.find("HTTP/1.1 400").expect("the second is refused");
    assert!(first < second);
    assert_eq!(bed.api.heard.all(), [good]);
}

#[tokio::test]
async fn the_internal_paths_are_shut_at_every_place() {
    let bed = Bed::start(Door::Public).await;
    let reset = "POST /_fogbank/reset HTTP/1.1\r\nHost: x\r\n\r\n";
    for text in [reset.to_owned(), format!("{GET}{reset}")] {
        let answers = bed.say(&text).await;
        assert!(answers.contains("HTTP/1.1 404"), "{answers}");
    }
    let heard = bed.api.heard.all();
    assert!(!heard.iter().any(|head| head.contains("_fogbank")));
}

#[tokio::test]
async fn who_comes_while_the_api_starts_again_waits() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("door.sock");
    let elsewhere = Api::start();
    let bed = Bed::before(elsewhere, socket.clone(), Door::Public, Limits::default()).await;
    let mut stream = bed.connect().await;
    stream.write_all(LAST.as_bytes()).await.unwrap();
    let _api = Api::start_at(socket);
    assert!(read_all(&mut stream).await.ends_with("1:0"));
}

#[tokio::test]
async fn without_an_api_the_service_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("door.sock");
    let elsewhere = Api::start();
    let limits = Limits {
        connect: Duration::from_millis(60),
        ..Limits::default()
    };
    let bed = Bed::before(elsewhere, socket, Door::Public, limits).await;
    let answer = bed.say(GET).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}
