//! Clients that speak HTTP/2, by the h2 crate's client.

use std::net::SocketAddr;

use ::h2::client::{ResponseFuture, SendRequest};
use ::h2::{Reason, RecvStream, SendStream};
use bytes::Bytes;
use fogbank_edge::http::{Action, FixedResponse};
use http::{HeaderMap, Method, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::TcpListener;

use crate::bed::{Bed, Origin, PORT, Script, bounded, ok, own_address, until};

pub const PEER: &str = "203.0.113.7:4711";

/// An HTTP/2 client of a bed.
pub struct Client {
    pub send: SendRequest<Bytes>,
    connection: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

/// A whole response.
#[derive(Debug)]
pub struct Answer {
    pub head: Response<()>,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name)?.to_str().ok()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub fn request(method: &str, path: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(format!("https://a.test{path}"))
        .body(())
        .expect("a request")
}

/// The node's side of a connection in memory; this is the client's.
pub fn dial(bed: &Bed) -> tokio::io::DuplexStream {
    let (own, node) = duplex(64 * 1024);
    let worker = bed.worker.clone();
    let peer: SocketAddr = PEER.parse().expect("an address");
    tokio::spawn(async move { worker.serve_http2(node, peer, PORT).await });
    own
}

impl Client {
    pub async fn connect(bed: &Bed) -> Self {
        Self::with(bed, &h2::client::Builder::new()).await
    }

    pub async fn with(bed: &Bed, builder: &h2::client::Builder) -> Self {
        let (send, connection) = bounded(builder.handshake(dial(bed))).await.expect("HTTP/2");
        Self {
            send,
            connection: tokio::spawn(connection),
        }
    }

    /// Begins a request whose body follows.
    pub async fn begin(&mut self, request: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        let mut ready = bounded(self.send.clone().ready()).await.expect("ready");
        ready.send_request(request, false).expect("sent")
    }

    pub async fn ask(&mut self, request: Request<()>) -> Answer {
        self.try_ask(request).await.expect("an answer")
    }

    pub async fn try_ask(&mut self, request: Request<()>) -> Result<Answer, h2::Error> {
        let mut ready = bounded(self.send.clone().ready()).await?;
        let (response, _) = ready.send_request(request, true)?;
        answer(response).await
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.ask(request("GET", path)).await
    }

    /// Until the node closes.
    pub async fn closed(self) -> Result<(), h2::Error> {
        drop(self.send);
        bounded(self.connection).await.expect("no panic")
    }
}

pub async fn answer(response: ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut body) = bounded(response).await?.into_parts();
    let bytes = bounded(read_all(&mut body)).await?;
    let trailers = bounded(body.trailers()).await?;
    Ok(Answer {
        head: Response::from_parts(head, ()),
        body: bytes,
        trailers,
    })
}

async fn read_all(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

#[tokio::test]
async fn the_target_sees_the_request_as_http_1_1() {
    let origin = Origin::start(|_| ok("hello")).await;
    let bed = Bed::new(&[origin.address]);
    let mut client = Client::connect(&bed).await;
    let mut asked = request("GET", "/a/b?c=d");
    for (name, value) in [
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("x-own", "yes"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "gopher"),
        ("te", "trailers"),
    ] {
        asked
            .headers_mut()
            .append(name, value.parse().expect("a value"));
    }
    let answer = client.ask(asked).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
    assert_eq!(answer.header("content-length"), Some("5"));
    let seen = origin.last();
    assert_eq!(seen.line(), "GET /a/b?c=d HTTP/1.1");
    assert_eq!(seen.header("host"), Some("a.test"));
    assert_eq!(seen.header("cookie"), Some("a=1; b=2"));
    assert_eq!(seen.header("x-own"), Some("yes"));
    assert_eq!(
        seen.header("x-forwarded-for"),
        Some("192.0.2.1, 203.0.113.7")
    );
    assert_eq!(seen.header("x-forwarded-port"), Some("8080"));
    assert_ne!(seen.header("x-forwarded-proto"), Some("gopher"));
    assert!(seen.header("x-amzn-trace-id").is_some());
    for hop in ["te", "connection", "transfer-encoding", "content-length"] {
        assert_eq!(seen.header(hop), None, "{hop}");
    }
}

#[tokio::test]
async fn response_names_are_lower_case_and_the_hop_is_left_out() {
    let origin = Origin::start(|_| {
        Script::Send(
            b"HTTP/1.1 201 Made\r\nX-Own: Value\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nKeep-Alive: timeout=5\r\n\
              Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
                .to_vec(),
        )
    })
    .await;
    let bed = Bed::new(&[origin.address]);
    let answer = Client::connect(&bed).await.get("/").await;
    assert_eq!((answer.status(), answer.text().as_str()), (201, "abcde"));
    assert_eq!(answer.header("x-own"), Some("Value"));
    assert_eq!(
        answer.head.headers().get_all("set-cookie").iter().count(),
        2
    );
    for hop in [
        "keep-alive",
        "connection",
        "transfer-encoding",
        "content-length",
    ] {
        assert_eq!(answer.header(hop), None, "{hop}");
    }
}

#[tokio::test]
async fn streams_run_at_the_same_time_and_share_connections_to_targets() {
    let origin = Origin::start(|seen| ok(seen.line())).await;
    let bed = Bed::new(&[origin.address]);
    let mut client = Client::connect(&bed).await;
    for _ in 0..3 {
        let asked: Vec<_> = (0..20)
            .map(|number| {
                let asked = request("GET", &format!("/{number}"));
                client.send.send_request(asked, true).expect("sent").0
            })
            .collect();
        for (number, response) in asked.into_iter().enumerate() {
            let text = answer(response).await.expect("an answer").text();
            assert_eq!(text, format!("GET /{number} HTTP/1.1"));
        }
    }
    assert!(
        origin.connection_count() <= 20,
        "connections are used again"
    );
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let listener = TcpListener::bind((own_address(), 0)).await.expect("bound");
    let bed = Bed::new(&[listener.local_addr().expect("an address")]);
    let mut client = Client::connect(&bed).await;
    let (response, mut upload) = client.begin(request("POST", "/")).await;
    let (mut target, _) = bounded(listener.accept()).await.expect("accepted");
    upload.send_data("first".into(), false).expect("sent");
    let mut seen = Vec::new();
    let mut wait_for = async |target: &mut tokio::net::TcpStream, what: &str| {
        while !String::from_utf8_lossy(&seen).ends_with(what) {
            let read = bounded(target.read_buf(&mut seen)).await.expect("read");
            assert!(read > 0, "{what} comes");
        }
    };
    wait_for(&mut target, "\r\n\r\n5\r\nfirst\r\n").await;
    // The answer begins before the request ends.
    target
        .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        .await
        .expect("sent");
    let (head, mut body) = bounded(response).await.expect("a head").into_parts();
    assert_eq!(head.status, 200);
    assert_eq!(
        &bounded(body.data()).await.expect("data").expect("data")[..],
        b"one"
    );
    upload.send_data("second".into(), true).expect("sent");
    wait_for(&mut target, "6\r\nsecond\r\n0\r\n\r\n").await;
    target
        .write_all(b"3\r\ntwo\r\n0\r\n\r\n")
        .await
        .expect("sent");
    assert_eq!(
        &bounded(body.data()).await.expect("data").expect("data")[..],
        b"two"
    );
    assert!(
        bounded(body.data())
            .await
            .is_none_or(|rest| rest.expect("the end").is_empty())
    );
}

#[tokio::test]
async fn large_bodies_pass_both_ways_unchanged() {
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n * 31 % 251) as u8).collect();
    let origin = Origin::start(|seen| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            seen.body.len()
        );
        Script::Send([head.as_bytes(), &seen.body].concat())
    })
    .await;
    let bed = Bed::new(&[origin.address]);
    let mut client = Client::connect(&bed).await;
    let (response, mut upload) = client.begin(request("PUT", "/")).await;
    let sent = body.clone();
    tokio::spawn(async move {
        let mut rest = Bytes::from(sent);
        while !rest.is_empty() {
            upload.reserve_capacity(rest.len());
            let room = std::future::poll_fn(|cx| upload.poll_capacity(cx)).await;
            let room = room.expect("open").expect("open").min(rest.len());
            let piece = rest.split_to(room);
            upload.send_data(piece, rest.is_empty()).expect("sent");
        }
    });
    let answer = answer(response).await.expect("an answer");
    assert_eq!(answer.body.len(), body.len());
    assert!(answer.body == body);
    assert!(origin.last().body == body);
}

#[tokio::test]
async fn head_and_bodiless_answers() {
    let origin = Origin::start(|seen| {
        Script::Send(if seen.line().starts_with("HEAD") {
            b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n".to_vec()
        } else {
            b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()
        })
    })
    .await;
    let bed = Bed::new(&[origin.address]);
    let mut client = Client::connect(&bed).await;
    let head = client.ask(request("HEAD", "/")).await;
    assert_eq!(
        (head.status(), head.header("content-length")),
        (200, Some("7"))
    );
    assert!(head.body.is_empty());
    let empty = client.get("/").await;
    assert_eq!((empty.status(), empty.body.len()), (204, 0));
    assert_eq!(origin.connection_count(), 1);
}

#[tokio::test]
async fn the_node_answers_by_itself() {
    let mut bed = Bed::new(&[]);
    let mut client = Client::connect(&bed).await;
    let gone = client.get("/").await;
    assert_eq!(
        (gone.status(), gone.header("server")),
        (503, Some("awselb/2.0"))
    );
    assert!(gone.text().contains("503 Service Temporarily Unavailable"));
    bed.change(|table| {
        table.listeners[0].default_action = Action::FixedResponse(FixedResponse {
            status_code: 418,
            content_type: None,
            message_body: "teapot".into(),
        });
    });
    let fixed = client.get("/").await;
    assert_eq!((fixed.status(), fixed.text().as_str()), (418, "teapot"));
    assert_eq!(
        fixed.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(fixed.header("connection"), None);
    let head = client.ask(request("HEAD", "/")).await;
    assert_eq!(
        (head.header("content-length"), head.body.len()),
        (Some("6"), 0)
    );
    let trace = client.ask(request("TRACE", "/")).await;
    assert_eq!(trace.status(), 405);
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_from_the_target() {
    let listener = TcpListener::bind((own_address(), 0)).await.expect("bound");
    let bed = Bed::new(&[listener.local_addr().expect("an address")]);
    let mut client = Client::connect(&bed).await;
    let (response, mut upload) = client.begin(request("POST", "/")).await;
    let (mut target, _) = bounded(listener.accept()).await.expect("accepted");
    upload.send_reset(Reason::CANCEL);
    drop(response);
    let mut bytes = Vec::new();
    let _ = bounded(target.read_to_end(&mut bytes)).await;
    until(|| bed.worker.counts().node.client_left_460 == 1).await;
}

#[tokio::test]
async fn torn_answers_are_reset() {
    let origin = Origin::start(|_| {
        Script::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_vec())
    })
    .await;
    let bed = Bed::new(&[origin.address]);
    let mut client = Client::connect(&bed).await;
    let error = client.try_ask(request("GET", "/")).await.expect_err("torn");
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    // The connection goes on.
    let error = client.try_ask(request("GET", "/")).await.expect_err("torn");
    assert!(error.is_reset());
}

#[tokio::test]
async fn bad_answers_are_bad_gateways() {
    for (script, status) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"[..], 502),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 502),
        (b"", 502),
        (
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 203 Fine\r\nContent-Length: 0\r\n\r\n",
            203,
        ),
    ] {
        let origin = Origin::start(|_| Script::SendAndClose(script.to_vec())).await;
        let bed = Bed::new(&[origin.address]);
        let answer = Client::connect(&bed).await.get("/").await;
        assert_eq!(
            answer.status(),
            status,
            "{}",
            String::from_utf8_lossy(script)
        );
    }
}

#[tokio::test]
async fn silent_targets_and_clients_time_out() {
    let origin = Origin::start(|_| Script::Silence).await;
    let mut bed = Bed::new(&[origin.address]);
    bed.change(|table| table.attributes.idle_timeout_ms = 50);
    let mut client = Client::connect(&bed).await;
    assert_eq!(client.get("/").await.status(), 504);
    let (response, _upload) = client.begin(request("POST", "/")).await;
    assert_eq!(answer(response).await.expect("an answer").status(), 408);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_reset() {
    let origin = Origin::of("more than a byte").await;
    let mut bed = Bed::new(&[origin.address]);
    bed.change(|table| table.attributes.idle_timeout_ms = 50);
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1);
    let mut client = Client::with(&bed, &builder).await;
    let (response, _) = client
        .send
        .send_request(request("GET", "/"), true)
        .expect("sent");
    let (_, mut body) = bounded(response).await.expect("a head").into_parts();
    assert_eq!(
        bounded(body.data())
            .await
            .expect("data")
            .expect("data")
            .len(),
        1
    );
    let error = bounded(body.data())
        .await
        .expect("an end")
        .expect_err("reset");
    assert_eq!(error.reason(), Some(Reason::CANCEL));
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let mut bed = Bed::new(&[]);
    bed.change(|table| table.attributes.idle_timeout_ms = 50);
    let mut client = Client::connect(&bed).await;
    client.get("/").await;
    assert!(client.closed().await.is_ok());
    until(|| bed.worker.counts().node.active_connections == 0).await;
}

#[tokio::test]
async fn old_connections_and_drains_send_goaway_and_finish() {
    let mut bed = Bed::new(&[]);
    bed.change(|table| table.attributes.client_keep_alive_ms = 0);
    let mut client = Client::connect(&bed).await;
    assert_eq!(client.get("/").await.status(), 503);
    assert!(client.closed().await.is_ok());

    let listener = TcpListener::bind((own_address(), 0)).await.expect("bound");
    let bed = Bed::new(&[listener.local_addr().expect("an address")]);
    let mut client = Client::connect(&bed).await;
    let (response, _) = client
        .send
        .send_request(request("GET", "/"), true)
        .expect("sent");
    let (mut target, _) = bounded(listener.accept()).await.expect("accepted");
    let worker = bed.worker.clone();
    let drained = tokio::spawn(async move { worker.drain().await });
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    until(|| {
        matches!(
            client.send.poll_ready(&mut cx),
            std::task::Poll::Ready(Err(_))
        )
    })
    .await;
    target
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
        .await
        .expect("sent");
    assert_eq!(answer(response).await.expect("an answer").text(), "done");
    assert!(client.closed().await.is_ok());
    bounded(drained).await.expect("drained");
}

#[tokio::test]
async fn ten_thousand_requests_are_enough() {
    let bed = Bed::new(&[]);
    let mut client = Client::connect(&bed).await;
    let mut answered = 0;
    while let Ok(answer) = client.try_ask(request("GET", "/")).await {
        assert_eq!(answer.status(), 503);
        answered += 1;
    }
    assert_eq!(answered, 10_000);
}

#[tokio::test]
async fn expect_100_continue_is_answered_by_the_node() {
    let origin = Origin::of("thanks").await;
    let bed = Bed::new(&[origin.address]);
    let mut client = Client::connect(&bed).await;
    let mut asked = request("POST", "/");
    asked
        .headers_mut()
        .insert("expect", "100-continue".parse().expect("a value"));
    let (mut response, mut upload) = client.begin(asked).await;
    let interim = bounded(std::future::poll_fn(|cx| response.poll_informational(cx))).await;
    assert_eq!(interim.expect("one").expect("a head").status(), 100);
    upload.send_data("body".into(), true).expect("sent");
    assert_eq!(answer(response).await.expect("an answer").text(), "thanks");
    assert_eq!(origin.last().header("expect"), None);
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let origin = Origin::of("never").await;
    let bed = Bed::new(&[origin.address]);
    for (count, size, status) in [
        (1, 17_000, 400),
        (5, 14_000, 400),
        (10, 15_000, 431),
        (3, 15_000, 200),
    ] {
        let mut client = Client::connect(&bed).await;
        let mut asked = request("GET", "/");
        for number in 0..count {
            let name: http::HeaderName = format!("x-{number}").parse().expect("a name");
            let value = "v".repeat(size).parse().expect("a value");
            asked.headers_mut().insert(name, value);
        }
        assert_eq!(
            client.ask(asked).await.status(),
            status,
            "{count} of {size}"
        );
    }
    let mut client = Client::connect(&bed).await;
    let long = format!("/{}", "p".repeat(17_000));
    assert_eq!(client.get(&long).await.status(), 414);
}

#[tokio::test]
async fn a_host_beside_another_authority_is_refused() {
    let origin = Origin::of("same").await;
    let bed = Bed::new(&[origin.address]);
    let mut client = Client::connect(&bed).await;
    for (host, status) in [("a.test", 200), ("A.TEST", 200), ("b.test", 400)] {
        let mut asked = request("GET", "/");
        asked
            .headers_mut()
            .insert("host", host.parse().expect("a value"));
        assert_eq!(client.ask(asked).await.status(), status, "{host}");
    }
    let connect = Request::builder()
        .method(Method::CONNECT)
        .uri("a.test:443")
        .body(())
        .expect("a request");
    assert_eq!(client.ask(connect).await.status(), 405);
}

#[tokio::test]
async fn http_2_is_not_spoken_without_tls() {
    let origin = Origin::of("never").await;
    let bed = Bed::new(&[origin.address]);
    let mut client = bed.client().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 400);
}
