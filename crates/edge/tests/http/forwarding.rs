//! What target and client see of each other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fogbank_edge::http::{Action, Condition, FixedResponse, Redirect, XffMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::bed::{
    Bed, Origin, PORT, Script, bounded, forward, group, ok, own_address, rule, until,
};

#[tokio::test]
async fn the_target_sees_the_request_and_where_it_came_from() {
    let origin = Origin::of("hello").await;
    let bed = Bed::new(&[origin.address]);
    let mut client = bed.client().await;
    client
        .send(
            "GET /a/b?c=d&e HTTP/1.1\r\nHost: api.test:8080\r\nX-Custom_Name: 1\r\nKeep-Alive: 5\r\n\
             Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nProxy-Connection: x\r\n\
             X-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\n\r\n",
        )
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    let seen = origin.last();
    assert_eq!(seen.line(), "GET /a/b?c=d&e HTTP/1.1");
    let own_ip = client
        .stream
        .local_addr()
        .expect("an address")
        .ip()
        .to_string();
    assert_eq!(seen.header("x-forwarded-for"), Some(own_ip.as_str()));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-port"), Some("8080"));
    assert_eq!(seen.header("host"), Some("api.test:8080"));
    assert_eq!(seen.header("x-custom_name"), Some("1"));
    let trace = seen.header("x-amzn-trace-id").expect("a trace id");
    assert!(trace.starts_with("Root=1-") && trace.len() == 40, "{trace}");
    for gone in [
        "keep-alive",
        "connection",
        "x-hop",
        "te",
        "proxy-connection",
    ] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
}

#[tokio::test]
async fn headers_that_tell_of_earlier_proxies() {
    let origin = Origin::of("").await;
    let mut bed = Bed::new(&[origin.address]);
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\n\
                   X-Amzn-Trace-Id: Self=1-a-b;Root=1-c-d;CalledFrom=app\r\nBad@Name: 1\r\nbad_name: 2\r\n\r\n";
    for (mode, port, expected) in [
        (XffMode::Append, false, Some("1.2.3.4, 5.6.7.8, <ip>")),
        (XffMode::Append, true, Some("1.2.3.4, 5.6.7.8, <ip>:<port>")),
        (XffMode::Preserve, false, Some("1.2.3.4, 5.6.7.8")),
        (XffMode::Remove, false, None),
    ] {
        bed.change(|table| {
            table.attributes.xff_mode = mode;
            table.attributes.xff_client_port = port;
            table.attributes.drop_invalid_header_fields = true;
        });
        let mut client = bed.client().await;
        let own = client.stream.local_addr().expect("an address");
        client.send(&request.replace("Bad@Name: 1\r\n", "")).await;
        assert_eq!(client.answer().await.status, 200);
        let expected = expected.map(|text| {
            text.replace("<ip>", &own.ip().to_string())
                .replace("<port>", &own.port().to_string())
        });
        let seen = origin.last();
        assert_eq!(seen.header("x-forwarded-for"), expected.as_deref());
        assert_eq!(seen.header("bad_name"), None);
        let trace = seen.header("x-amzn-trace-id").expect("a trace id");
        assert!(
            trace.starts_with("Self=1-") && trace.ends_with(";Root=1-c-d;CalledFrom=app"),
            "{trace}"
        );
    }
}

#[tokio::test]
async fn requests_with_invalid_header_names_are_counted() {
    let origin = Origin::of("").await;
    let mut bed = Bed::new(&[origin.address]);
    let mut client = bed.client().await;
    let plain = "GET / HTTP/1.1\r\nHost: a\r\nGood-Name: 1\r\n\r\n";
    let odd = "GET / HTTP/1.1\r\nHost: a\r\nbad_name: 1\r\nworse.name: 2\r\n\r\n";
    let counts = |bed: &Bed| {
        let node = bed.worker.counts().node;
        (node.invalid_headers_dropped, node.invalid_headers_forwarded)
    };
    for (request, drop, expected) in [
        (plain, false, (0, 0)),
        (odd, false, (0, 1)),
        (odd, true, (1, 1)),
        (plain, true, (1, 1)),
    ] {
        bed.change(|table| table.attributes.drop_invalid_header_fields = drop);
        client.send(request).await;
        client.answer().await;
        assert_eq!(counts(&bed), expected);
    }
}

#[tokio::test]
async fn connections_to_targets_are_used_again() {
    let origin = Origin::of("x").await;
    let bed = Bed::new(&[origin.address]);
    let mut client = bed.client().await;
    for _ in 0..5 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(
            client.answer().await.header("connection"),
            Some("keep-alive")
        );
    }
    assert_eq!(bed.get("/").await.status, 200);
    assert_eq!(origin.connection_count(), 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|seen| ok(seen.line())).await;
    let bed = Bed::new(&[origin.address]);
    let mut client = bed.client().await;
    let body = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
                POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
                GET /3 HTTP/1.1\r\nHost: a\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    client.send(body).await;
    for number in 1..=4 {
        let text = client.answer().await.text();
        assert_eq!(text.split(' ').nth(1), Some(format!("/{number}").as_str()));
    }
    assert_eq!(client.rest().await, b"");
    assert_eq!(origin.seen()[1].body, b"abc");
}

#[tokio::test]
async fn large_bodies_pass_both_ways_unchanged() {
    let origin = Origin::start(|seen| {
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            seen.body.len()
        )
        .into_bytes();
        answer.extend_from_slice(&seen.body);
        Script::Send(answer)
    })
    .await;
    let bed = Bed::new(&[origin.address]);
    let body: Vec<u8> = (0..3_000_000_u32)
        .map(|number| (number * 7 / 3) as u8)
        .collect();
    let mut client = bed.client().await;
    client
        .send(&format!(
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ))
        .await;
    client.send_bytes(&body).await;
    assert!(client.answer().await.body == body);
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    for chunk in body.chunks(100_001) {
        client.send(&format!("{:X};x=y\r\n", chunk.len())).await;
        client.send_bytes(chunk).await;
        client.send("\r\n").await;
    }
    client.send("0\r\nTrailer: gone\r\n\r\n").await;
    assert!(client.answer().await.body == body);
    assert_eq!(origin.last().header("transfer-encoding"), Some("chunked"));
}

#[tokio::test]
async fn a_response_streams() {
    let listener = TcpListener::bind((own_address(), 0))
        .await
        .expect("an address");
    let bed = Bed::new(&[listener.local_addr().expect("an address")]);
    let (go_on, wait) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let _ = stream.read(&mut [0; 4096]).await;
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        stream.write_all(head).await.expect("sent");
        wait.await.expect("the client has read");
        stream
            .write_all(b"6\r\nsecond\r\n0\r\n\r\n")
            .await
            .expect("sent");
    });
    let mut client = bed.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"5\r\nfirst\r\n") {
        assert!(
            bounded(client.stream.read_buf(&mut bytes))
                .await
                .expect("bytes")
                > 0
        );
    }
    go_on.send(()).expect("the origin waits");
    bytes.clear();
    while !bytes.ends_with(b"6\r\nsecond\r\n0\r\n\r\n") {
        assert!(
            bounded(client.stream.read_buf(&mut bytes))
                .await
                .expect("bytes")
                > 0
        );
    }
}

#[tokio::test]
async fn an_upload_streams() {
    let listener = TcpListener::bind((own_address(), 0))
        .await
        .expect("an address");
    let bed = Bed::new(&[listener.local_addr().expect("an address")]);
    let mut client = bed.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        .await;
    let (mut stream, _) = bounded(listener.accept()).await.expect("a connection");
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\nfirst") {
        assert!(bounded(stream.read_buf(&mut bytes)).await.expect("bytes") > 0);
    }
    client.send("after").await;
    bytes.clear();
    while bytes != b"after" {
        assert!(bounded(stream.read_buf(&mut bytes)).await.expect("bytes") > 0);
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await
        .expect("sent");
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn responses_without_a_body() {
    let origin = Origin::start(|seen| {
        let head = match seen.line().split(' ').nth(1) {
            Some("/204") => "HTTP/1.1 204 No Content\r\n\r\n",
            Some("/304") => "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: x\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        };
        Script::Send(head.into())
    })
    .await;
    let bed = Bed::new(&[origin.address]);
    let mut client = bed.client().await;
    for (request, status, length) in [
        ("HEAD /", 200, Some("9")),
        ("GET /204", 204, None),
        ("GET /304", 304, Some("9")),
        ("HEAD /", 200, Some("9")),
    ] {
        client
            .send(&format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        let answer = client.head_answer().await;
        assert_eq!(
            (answer.status, answer.header("content-length")),
            (status, length),
            "{request}"
        );
    }
    assert_eq!(origin.connection_count(), 1);
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection() {
    let origin = Origin::start(|_| {
        Script::SendAndClose(b"HTTP/1.1 200 OK\nContent-Type: text/plain\n\nfrom CGI\n".into())
    })
    .await;
    let bed = Bed::new(&[origin.address]);
    let mut client = bed.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.raw_body, b"from CGI\n");
    let mut client = bed.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.header("transfer-encoding"), answer.text().as_str()),
        (Some("chunked"), "from CGI\n")
    );
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn clients_of_http_1_0() {
    let origin = Origin::start(|seen| match seen.line().split(' ').nth(1) {
        Some("/chunked") => Script::Send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".into(),
        ),
        _ => ok("abc"),
    })
    .await;
    let bed = Bed::new(&[origin.address]);
    let mut client = bed.client().await;
    client
        .send("GET /chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        .await;
    let answer = client.answer().await;
    assert_eq!(
        (
            answer.header("transfer-encoding"),
            answer.raw_body.as_slice()
        ),
        (None, &b"abc"[..])
    );
    assert_eq!(
        origin.last().header("host"),
        Some("test-1.us-east-1.elb.amazonaws.com")
    );
    let mut client = bed.client().await;
    client
        .send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        .await;
    assert_eq!(
        client.answer().await.header("connection"),
        Some("keep-alive")
    );
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "abc");
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn expect_100_continue_is_answered_by_the_node() {
    let origin = Origin::start(|seen| ok(&String::from_utf8_lossy(&seen.body))).await;
    let bed = Bed::new(&[origin.address]);
    let mut client = bed.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 100);
    client.send("body").await;
    assert_eq!(client.answer().await.text(), "body");
    assert_eq!(origin.last().header("expect"), None);
}

#[tokio::test]
async fn interim_responses_are_not_taken_for_the_answer() {
    let origin = Origin::start(|_| {
        Script::Send(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
                .into(),
        )
    })
    .await;
    let bed = Bed::new(&[origin.address]);
    assert_eq!(bed.get("/").await.text(), "hi");
}

#[tokio::test]
async fn a_web_socket_is_passed_through_after_101() {
    let listener = TcpListener::bind((own_address(), 0))
        .await
        .expect("an address");
    let bed = Bed::new(&[listener.local_addr().expect("an address")]);
    let head = Arc::new(Mutex::new(String::new()));
    let seen = head.clone();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await.expect("a request");
        *seen.lock().expect("no panic") = String::from_utf8_lossy(&bytes[..count]).into_owned();
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nhello";
        stream.write_all(switch).await.expect("sent");
        let (mut reader, mut writer) = stream.split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    });
    let mut client = bed.client().await;
    client
        .send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\nearly")
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("sec-websocket-accept"), Some("x"));
    client.send(" echo").await;
    client.stream.shutdown().await.expect("half-closed");
    assert_eq!(
        String::from_utf8_lossy(&client.rest().await),
        "helloearly echo"
    );
    let head = head.lock().expect("no panic").clone();
    assert!(
        head.contains("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn a_target_that_switches_unasked_is_a_bad_gateway() {
    let origin =
        Origin::start(|_| Script::Send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n".into())).await;
    let bed = Bed::new(&[origin.address]);
    assert_eq!(bed.get("/").await.status, 502);
}

/// Closes after each answer without having said so.
async fn forgetful() -> Origin {
    Origin::start(|_| {
        Script::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into())
    })
    .await
}

#[tokio::test]
async fn a_stale_connection_costs_no_request() {
    let origin = forgetful().await;
    let bed = Bed::new(&[origin.address]);
    let mut client = bed.client().await;
    for number in 1..=20 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
        assert_eq!(origin.connection_count(), number);
    }
}

#[tokio::test]
async fn a_request_that_may_not_be_repeated_is_sent_once() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    // Answers the first request, and closes on the second without an answer.
    let origin = Origin::start(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => ok("first"),
        _ => Script::SendAndClose(Vec::new()),
    })
    .await;
    let bed = Bed::new(&[origin.address]);
    let mut client = bed.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
        .await;
    assert_eq!(client.answer().await.status, 502);
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_slow_reader_slows_the_target() {
    let listener = TcpListener::bind((own_address(), 0))
        .await
        .expect("an address");
    let bed = Bed::new(&[listener.local_addr().expect("an address")]);
    const LENGTH: usize = 200 << 20;
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let _ = stream.read(&mut [0; 4096]).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        let block = vec![7; 1 << 16];
        for _ in 0..LENGTH / block.len() {
            stream.write_all(&block).await.expect("sent");
            counted.fetch_add(block.len(), Ordering::SeqCst);
        }
    });
    let mut client = bed.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    // Until nothing moves any more.
    let (mut before, mut still) = (0, 0);
    until(|| {
        let now = sent.load(Ordering::SeqCst);
        still = if now == before && now > 0 {
            still + 1
        } else {
            0
        };
        before = now;
        still == 30
    })
    .await;
    assert!(
        sent.load(Ordering::SeqCst) < LENGTH / 2,
        "the kernel's buffers are all there is"
    );
    assert_eq!(client.answer().await.body.len(), LENGTH);
}

#[tokio::test]
async fn rules_act() {
    let (first, second) = (Origin::of("first").await, Origin::of("second").await);
    let mut bed = Bed::new(&[first.address]);
    bed.change(|table| {
        table.target_groups.push(group("second", &[second.address]));
        let fixed = FixedResponse {
            status_code: 418,
            content_type: Some("text/plain".into()),
            message_body: "teapot".into(),
        };
        let moved = Redirect {
            protocol: "HTTPS".into(),
            port: "443".into(),
            ..Redirect::unchanged(301)
        };
        let path = |value: &str| Condition::PathPattern {
            values: vec![value.into()],
        };
        table.listeners[0].rules = vec![
            rule(1, path("/teapot*"), Action::FixedResponse(fixed)),
            rule(2, path("/old/*"), Action::Redirect(moved)),
            rule(
                3,
                Condition::HostHeader {
                    values: vec!["*.second.test".into()],
                },
                forward(&[("second", 1)]),
            ),
        ];
    });
    assert_eq!(bed.get("/").await.text(), "first");
    let fixed = bed.get("/teapot/x").await;
    assert_eq!((fixed.status, fixed.text().as_str()), (418, "teapot"));
    assert_eq!(fixed.header("server"), Some("awselb/2.0"));
    assert_eq!(
        fixed.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert!(fixed.header("date").is_some());
    let moved = bed.get("/old/x?y=1").await;
    assert_eq!(
        (moved.status, moved.header("location")),
        (301, Some("https://a.test:443/old/x?y=1"))
    );
    let mut client = bed.client().await;
    client
        .send("POST /teapot HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        .await;
    assert_eq!(client.answer().await.status, 418);
    client
        .send(&format!(
            "GET / HTTP/1.1\r\nHost: WWW.Second.test:{PORT}\r\n\r\n"
        ))
        .await;
    assert_eq!(
        client.answer().await.text(),
        "second",
        "the body before it was read over"
    );
}
