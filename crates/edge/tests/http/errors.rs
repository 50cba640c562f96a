//! What is refused, and what a client gets when a target fails.

use std::time::Duration;

use proptest::prelude::*;
use tokio::net::TcpListener;

use crate::bed::{Bed, Client, Origin, Script, bounded, own_address};

/// Sends bytes and gives status and whether the connection ended after it.
async fn refused(bed: &Bed, bytes: &[u8]) -> (u16, bool) {
    let mut client = bed.client().await;
    client.send_bytes(bytes).await;
    let answer = client.answer().await;
    (
        answer.status,
        client.rest().await.is_empty() && answer.header("connection") == Some("close"),
    )
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_never_reaches_a_target() {
    let origin = Origin::of("reached").await;
    let bed = Bed::new(&[origin.address]);
    let post = "POST / HTTP/1.1\r\nHost: a\r\n";
    for case in [
        format!("{post}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"),
        format!("{post}Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd"),
        format!("{post}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd"),
        format!("{post}Content-Length: 4, 4\r\n\r\nabcd"),
        format!("{post}Content-Length: +4\r\n\r\nabcd"),
        format!("{post}Content-Length: -1\r\n\r\n"),
        format!("{post}Content-Length: 0x4\r\n\r\nabcd"),
        format!("{post}Content-Length: 99999999999999999999\r\n\r\n"),
        format!("{post}Content-Length:\r\n\r\n"),
        format!("{post}Content-Length : 4\r\n\r\nabcd"),
        format!("{post}Content-Length: 4\r\n X: folded\r\n\r\nabcd"),
        format!("{post}X: a\r\n\tfolded\r\n\r\n"),
        format!("{post} Content-Length: 4\r\n\r\nabcd"),
        format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n"),
        format!("{post}X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}X: a\rb\r\n\r\n"),
        format!("{post}X: a\0b\r\n\r\n"),
        format!("{post}: nameless\r\n\r\n"),
        format!("{post}no colon\r\n\r\n"),
        "POST / HTTP/1.1\nHost: a\n\n".into(),
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        "GET / HTTP/1.1\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n".into(),
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "GET a HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n".into(),
        "GET / HTTP/x\r\nHost: a\r\n\r\n".into(),
        "GET /\r\nHost: a\r\n\r\n".into(),
        "G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03".into(),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n"),
    ] {
        assert_eq!(
            refused(&bed, case.as_bytes()).await,
            (400, true),
            "{}",
            case.escape_debug()
        );
    }
    assert_eq!(origin.seen().len(), 0);
}

#[tokio::test]
async fn refusals_have_their_own_status() {
    let origin = Origin::of("reached").await;
    let bed = Bed::new(&[origin.address]);
    let addresses = vec!["1.2.3.4"; 31].join(", ");
    for (case, status) in [
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".to_owned(),
            501,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n".into(),
            501,
        ),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n".into(), 505),
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n".into(), 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 400),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n".into(), 405),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".into(), 405),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {addresses}\r\n\r\n"),
            463,
        ),
        (
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(17_000)),
            414,
        ),
        (format!("GET /{}", "a".repeat(17_000)), 414),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
                "a".repeat(17_000)
            ),
            400,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
                format!("X: {}\r\n", "a".repeat(10_000)).repeat(7)
            ),
            400,
        ),
    ] {
        assert_eq!(
            refused(&bed, case.as_bytes()).await.0,
            status,
            "{:.80}",
            case.escape_debug().to_string()
        );
    }
    assert_eq!(origin.seen().len(), 0);
    assert!(bed.worker.counts().node.elb_4xx > 0);
}

#[tokio::test]
async fn what_is_unusual_and_allowed_passes() {
    let origin = Origin::of("ok").await;
    let bed = Bed::new(&[origin.address]);
    let many: String = (0..500)
        .map(|number| format!("X-{number}: {number}\r\n"))
        .collect();
    for case in [
        "GET http://other.test/abs?x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n".into(),
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost: [::1]:80\r\nEmpty:\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost:\r\n\r\n".into(),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"),
        format!(
            "GET /{} HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "a".repeat(16_000),
            "b".repeat(16_000)
        ),
    ] {
        let mut client = bed.client().await;
        client.send(&case).await;
        assert_eq!(
            client.answer().await.status,
            200,
            "{:.80}",
            case.escape_debug().to_string()
        );
    }
    assert_eq!(origin.seen()[0].line(), "GET /abs?x HTTP/1.1");
    assert_eq!(origin.seen()[0].header("host"), Some("other.test"));
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let origin = Origin::of("ok").await;
    let bed = Bed::new(&[origin.address]);
    let mut client = bed.client().await;
    for byte in b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" {
        client.send_bytes(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn targets_that_fail_are_a_bad_gateway() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(33 * 1024));
    for answer in [
        String::new(),
        "garbage\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\nContent-".into(),
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".into(),
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            .into(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n".into(),
        "HTTP/1.1 099 Low\r\n\r\n".into(),
        "HTTP/2.0 200 OK\r\n\r\n".into(),
        long,
    ] {
        let sent = answer.clone();
        let origin = Origin::start(move |_| Script::SendAndClose(sent.clone().into_bytes())).await;
        let bed = Bed::new(&[origin.address]);
        let got = bed.get("/").await;
        assert_eq!(got.status, 502, "{:.60}", answer.escape_debug().to_string());
        assert_eq!(got.header("server"), Some("awselb/2.0"));
        assert!(got.text().contains("<h1>502 Bad Gateway</h1>"));
    }
}

#[tokio::test]
async fn nobody_listening_is_a_bad_gateway_and_the_connection_goes_on() {
    let bed = Bed::new(&[(own_address(), 9).into()]);
    let mut client = bed.client().await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 502);
    }
    let counts = bed.worker.counts();
    assert_eq!(counts.node.elb_502, 2);
    assert_eq!(
        counts
            .groups
            .values()
            .map(|group| group.target_connection_errors)
            .sum::<u64>(),
        2
    );
}

#[tokio::test]
async fn an_error_for_head_has_no_body() {
    let mut bed = Bed::new(&[]);
    let mut client = bed.client().await;
    for targets in [vec![], vec![(own_address(), 9).into()]] {
        bed.change(|table| {
            table.target_groups[0].targets = targets.iter().map(crate::bed::target).collect();
        });
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let answer = client.head_answer().await;
        assert!(matches!(answer.status, 502 | 503));
        assert!(answer.header("content-length").is_some());
    }
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(
        client.answer().await.status,
        502,
        "nothing stood between the answers"
    );
}

#[tokio::test]
async fn no_registered_target_is_unavailable() {
    let bed = Bed::new(&[]);
    let answer = bed.get("/").await;
    assert_eq!(answer.status, 503);
    assert!(
        answer
            .text()
            .contains("<h1>503 Service Temporarily Unavailable</h1>")
    );
}

#[tokio::test]
async fn a_target_that_says_nothing_is_a_gateway_timeout() {
    let origin = Origin::start(|_| Script::Silence).await;
    let mut bed = Bed::new(&[origin.address]);
    bed.change(|table| table.attributes.idle_timeout_ms = 50);
    assert_eq!(bed.get("/").await.status, 504);
}

#[tokio::test]
async fn a_target_that_takes_no_connection_is_a_gateway_timeout() {
    // A full queue of unaccepted connections: further ones get no answer.
    let listener = tokio::net::TcpSocket::new_v4().expect("a socket");
    listener
        .bind((own_address(), 0).into())
        .expect("an address");
    let address = listener.local_addr().expect("an address");
    let _listener: TcpListener = listener.listen(0).expect("a queue");
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut connecting = Box::pin(tokio::net::TcpStream::connect(address));
        let _ = tokio::time::timeout(Duration::from_millis(20), &mut connecting).await;
        waiting.push(connecting);
    }
    let mut bed = Bed::new(&[address]);
    bed.change(|table| table.attributes.connect_timeout_ms = 50);
    assert_eq!(bed.get("/").await.status, 504);
}

#[tokio::test]
async fn slow_clients() {
    let origin = Origin::of("ok").await;
    let mut bed = Bed::new(&[origin.address]);
    bed.change(|table| table.attributes.idle_timeout_ms = 60);
    let mut client = bed.client().await;
    assert_eq!(
        client.rest().await,
        b"",
        "a silent connection is closed without a word"
    );
    let mut client = bed.client().await;
    client.send("GET / HTT").await;
    assert_eq!(client.answer().await.status, 408);
    let mut client = bed.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
        .await;
    assert_eq!(client.answer().await.status, 408);
    // One byte at a time does not buy more time for a head.
    let mut client = bed.client().await;
    let trickle = async {
        loop {
            if tokio::io::AsyncWriteExt::write_all(&mut client.stream, b"G")
                .await
                .is_err()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    bounded(trickle).await;
}

#[tokio::test]
async fn a_torn_response_is_not_taken_for_a_whole_one() {
    let torn = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel";
    let origin = Origin::start(move |_| Script::SendAndClose(torn.into())).await;
    let bed = Bed::new(&[origin.address]);
    let mut client = bed.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(
        client.try_answer().await.is_none(),
        "the chunked body has no end"
    );
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_still_sends() {
    let listener = TcpListener::bind((own_address(), 0))
        .await
        .expect("an address");
    let bed = Bed::new(&[listener.local_addr().expect("an address")]);
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let _ = stream.read(&mut [0; 1000]).await;
        let _ = stream
            .write_all(
                b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
            )
            .await;
    });
    let mut client = bed.client().await;
    client
        .send(&format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n{}",
            "x".repeat(100_000)
        ))
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (413, "big"));
    assert_eq!(answer.header("connection"), Some("close"));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Pieces of requests in any order, and bytes of any kind: whatever comes, the node goes on serving.
    #[test]
    fn garbage_harms_nobody(pieces in prop::collection::vec(piece(), 1..12)) {
        runtime().block_on(async {
            let origin = Origin::of("ok").await;
            let mut bed = Bed::new(&[origin.address]);
            bed.change(|table| table.attributes.idle_timeout_ms = 30);
            let mut client = Client::connect(bed.address).await;
            for piece in &pieces {
                // The node may have closed.
                let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, piece).await;
            }
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut client.stream).await;
            client.rest().await;
            assert_eq!(bed.get("/").await.status, 200);
        });
    }

    /// The same from the target's side.
    #[test]
    fn garbage_from_a_target_harms_nobody(pieces in prop::collection::vec(piece(), 1..6)) {
        runtime().block_on(async {
            let origin = Origin::start(move |_| Script::SendAndClose(pieces.concat())).await;
            let mut bed = Bed::new(&[origin.address]);
            bed.change(|table| table.attributes.idle_timeout_ms = 100);
            let mut client = Client::connect(bed.address).await;
            client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
            client.rest().await;
            let fine = Origin::of("ok").await;
            bed.change(|table| table.target_groups[0].targets = vec![crate::bed::target(&fine.address)]);
            assert_eq!(bed.get("/").await.status, 200);
        });
    }
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        prop::sample::select(vec![
            "GET / HTTP/1.1\r\n",
            "POST /x?y HTTP/1.1\r\n",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.0 404 \r\n",
            "Host: a\r\n",
            "Content-Length: 5\r\n",
            "Content-Length: 0\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Connection: close\r\n",
            "Connection: upgrade\r\nUpgrade: websocket\r\n",
            "X-Amzn-Trace-Id: Root=;;Self=\r\n",
            "X-Forwarded-For: ,,\r\n",
            "\r\n",
            "5\r\nhello\r\n",
            "0\r\n\r\n",
            "5;",
            "\n",
            "\r",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ]
}
