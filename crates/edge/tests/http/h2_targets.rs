//! Targets of protocol version HTTP2 and GRPC, by the h2 crate's server.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::h2::server::SendResponse;
use ::h2::{Reason, RecvStream, server};
use bytes::Bytes;
use fogbank_edge::http::Version;
use fogbank_types::status::Health;
use http::{HeaderMap, Request, Response};
use tokio::net::TcpListener;

use crate::bed::{Bed, Origin, bounded, own_address, until};
use crate::h2::{Client, answer, request};

/// A server that speaks HTTP/2 without TLS.
struct Target {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Target {
    async fn start<F>(
        serve: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Option<()>> + Send + 'static,
    {
        Self::with(server::Builder::new(), 0, serve).await
    }

    /// Sends GOAWAY after so many requests of a connection, unless it is 0.
    async fn with<F>(
        builder: server::Builder,
        requests_max: usize,
        serve: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Option<()>> + Send + 'static,
    {
        let listener = TcpListener::bind((own_address(), 0)).await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(AtomicUsize::new(0));
        let (counted, asked) = (connections.clone(), requests.clone());
        let serve = Arc::new(serve);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (builder, serve, asked) = (builder.clone(), serve.clone(), asked.clone());
                tokio::spawn(async move {
                    let mut connection = builder.handshake(stream).await.ok()?;
                    let mut here = 0;
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        asked.fetch_add(1, Ordering::SeqCst);
                        here += 1;
                        if here == requests_max {
                            connection.graceful_shutdown();
                        }
                        tokio::spawn(serve(request, respond));
                    }
                    Some(())
                });
            }
        });
        Self {
            address,
            connections,
            requests,
        }
    }

    fn connection_count(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn request_count(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn bed(&self, version: Version) -> Bed {
        let mut bed = Bed::new(&[self.address]);
        bed.change(|table| table.target_groups[0].version = version);
        bed
    }
}

/// Sends back what comes, as it comes, and its trailers.
async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Option<()> {
    let (parts, mut body) = request.into_parts();
    let mut head = Response::new(());
    for name in [
        "content-type",
        "te",
        "x-forwarded-for",
        "x-amzn-trace-id",
        "cookie",
    ] {
        if let Some(value) = parts.headers.get(name) {
            let name: http::HeaderName = format!("seen-{name}").parse().ok()?;
            head.headers_mut().insert(name, value.clone());
        }
    }
    let uri = parts.uri.to_string().parse().ok()?;
    head.headers_mut().insert("seen-uri", uri);
    if body.is_end_stream() {
        respond.send_response(head, true).ok()?;
        return Some(());
    }
    let mut stream = respond.send_response(head, false).ok()?;
    while let Some(piece) = body.data().await {
        let mut piece = piece.ok()?;
        body.flow_control().release_capacity(piece.len()).ok()?;
        while !piece.is_empty() {
            stream.reserve_capacity(piece.len());
            if stream.capacity() == 0 {
                poll_fn(|cx| stream.poll_capacity(cx)).await?.ok()?;
            }
            let room = stream.capacity().min(piece.len());
            stream.send_data(piece.split_to(room), false).ok()?;
        }
    }
    match body.trailers().await.ok()? {
        Some(trailers) => stream.send_trailers(trailers).ok()?,
        None => stream.send_data(Bytes::new(), true).ok()?,
    }
    Some(())
}

async fn fine(_: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Option<()> {
    let mut stream = respond.send_response(Response::new(()), false).ok()?;
    stream.send_data("fine".into(), true).ok()
}

fn call(path: &str) -> Request<()> {
    let mut call = request("POST", path);
    let headers = call.headers_mut();
    headers.insert("content-type", "application/grpc".parse().expect("a value"));
    headers.insert("te", "trailers".parse().expect("a value"));
    call
}

fn status_trailers(status: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().expect("a value"));
    trailers
}

#[tokio::test]
async fn requests_reach_targets_of_http_2() {
    let target = Target::start(echo).await;
    let bed = target.bed(Version::Http2);
    let mut client = Client::connect(&bed).await;
    let mut asked = request("GET", "/a?b=c");
    asked
        .headers_mut()
        .append("cookie", "a=1".parse().expect("a value"));
    asked
        .headers_mut()
        .append("cookie", "b=2".parse().expect("a value"));
    let answer = client.ask(asked).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("seen-uri"), Some("http://a.test/a?b=c"));
    assert_eq!(answer.header("seen-x-forwarded-for"), Some("203.0.113.7"));
    assert_eq!(answer.header("seen-cookie"), Some("a=1; b=2"));
    assert!(answer.header("seen-x-amzn-trace-id").is_some());
}

#[tokio::test]
async fn clients_share_a_connection_to_a_target() {
    let target = Target::start(fine).await;
    let bed = target.bed(Version::Http2);
    let (mut first, mut second) = (Client::connect(&bed).await, Client::connect(&bed).await);
    for _ in 0..10 {
        let asked: Vec<_> = [&mut first, &mut second]
            .into_iter()
            .flat_map(|client| {
                (0..10).map(|_| {
                    let asked = request("GET", "/");
                    client.send.send_request(asked, true).expect("sent").0
                })
            })
            .collect();
        for response in asked {
            assert_eq!(answer(response).await.expect("an answer").text(), "fine");
        }
    }
    assert_eq!(
        (target.connection_count(), target.request_count()),
        (1, 200)
    );
}

#[tokio::test]
async fn a_full_connection_gets_a_second_beside_it() {
    let (release, released) = tokio::sync::watch::channel(false);
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(2);
    let target = Target::with(builder, 0, move |request, respond| {
        let mut released = released.clone();
        async move {
            released.wait_for(|released| *released).await.ok()?;
            fine(request, respond).await
        }
    })
    .await;
    let bed = target.bed(Version::Http2);
    let mut client = Client::connect(&bed).await;
    let asked: Vec<_> = (0..5)
        .map(|_| {
            client
                .send
                .send_request(request("GET", "/"), true)
                .expect("sent")
                .0
        })
        .collect();
    until(|| target.request_count() == 5).await;
    assert_eq!(target.connection_count(), 3);
    release.send_replace(true);
    for response in asked {
        assert_eq!(answer(response).await.expect("an answer").status(), 200);
    }
}

#[tokio::test]
async fn a_target_that_goes_away_costs_no_request() {
    let target = Target::with(server::Builder::new(), 7, fine).await;
    let bed = target.bed(Version::Http2);
    let mut client = Client::connect(&bed).await;
    for _ in 0..10 {
        let asked: Vec<_> = (0..10)
            .map(|_| {
                client
                    .send
                    .send_request(request("POST", "/"), true)
                    .expect("sent")
                    .0
            })
            .collect();
        for response in asked {
            assert_eq!(answer(response).await.expect("an answer").text(), "fine");
        }
    }
    assert!(target.connection_count() > 5);
}

#[tokio::test]
async fn refused_streams_are_sent_again() {
    let refused = Arc::new(AtomicUsize::new(0));
    let target = Target::start(move |request, mut respond| {
        let is_first = refused.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if is_first {
                respond.send_reset(Reason::REFUSED_STREAM);
                return None;
            }
            fine(request, respond).await
        }
    })
    .await;
    let bed = target.bed(Version::Http2);
    let answer = Client::connect(&bed).await.ask(request("POST", "/")).await;
    assert_eq!(answer.text(), "fine");
    assert_eq!(target.request_count(), 2);
}

#[tokio::test]
async fn streaming_calls_pass_messages_and_trailers_both_ways() {
    let target = Target::start(echo).await;
    let bed = target.bed(Version::Grpc);
    let mut client = Client::connect(&bed).await;
    let (response, mut upload) = client.begin(call("/pkg.Service/Chat")).await;
    let (head, mut body) = bounded(response).await.expect("a head").into_parts();
    assert_eq!(head.headers["seen-te"], "trailers");
    assert_eq!(head.headers["seen-content-type"], "application/grpc");
    // Message for message: neither side waits for the end of the other.
    for round in 0..20 {
        let message = format!("message {round}");
        upload
            .send_data(message.clone().into(), false)
            .expect("sent");
        let piece = bounded(body.data()).await.expect("data").expect("data");
        body.flow_control()
            .release_capacity(piece.len())
            .expect("open");
        assert_eq!(piece, message);
    }
    upload.send_trailers(status_trailers("0")).expect("sent");
    assert!(bounded(body.data()).await.is_none());
    let trailers = bounded(body.trailers()).await.expect("open");
    assert_eq!(trailers.expect("trailers")["grpc-status"], "0");
    assert_eq!(
        bed.worker
            .counts()
            .groups
            .values()
            .map(|group| group.grpc_requests)
            .sum::<u64>(),
        1
    );
}

#[tokio::test]
async fn an_answer_of_a_head_alone_is_passed() {
    let target = Target::start(|_, mut respond| async move {
        let mut head = Response::new(());
        head.headers_mut().extend(status_trailers("12"));
        respond.send_response(head, true).ok()?;
        Some(())
    })
    .await;
    let bed = target.bed(Version::Grpc);
    let answer = Client::connect(&bed).await.ask(call("/a.B/C")).await;
    assert_eq!(answer.header("grpc-status"), Some("12"));
    assert!(answer.body.is_empty() && answer.trailers.is_none());
}

#[tokio::test]
async fn large_bodies_pass_both_ways_unchanged() {
    let target = Target::start(echo).await;
    let bed = target.bed(Version::Http2);
    let mut client = Client::connect(&bed).await;
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n * 31 % 251) as u8).collect();
    let (response, mut upload) = client.begin(request("PUT", "/")).await;
    let mut rest = Bytes::from(body.clone());
    tokio::spawn(async move {
        while !rest.is_empty() {
            upload.reserve_capacity(rest.len());
            let room = poll_fn(|cx| upload.poll_capacity(cx)).await;
            let room = room.expect("open").expect("open").min(rest.len());
            let piece = rest.split_to(room);
            upload.send_data(piece, rest.is_empty()).expect("sent");
        }
    });
    assert!(answer(response).await.expect("an answer").body == body);
}

#[tokio::test]
async fn protocols_that_do_not_fit_are_464() {
    let target = Target::start(fine).await;
    for (version, by_http_1, get, grpc) in [
        (Version::Http2, 464, 200, 200),
        (Version::Grpc, 464, 464, 200),
    ] {
        let bed = target.bed(version);
        assert_eq!(bed.get("/").await.status, by_http_1, "{version:?}");
        let mut client = Client::connect(&bed).await;
        assert_eq!(client.get("/").await.status(), get, "{version:?}");
        assert_eq!(
            client.ask(call("/a.B/C")).await.status(),
            grpc,
            "{version:?}"
        );
    }
    let origin = Origin::of("never").await;
    let bed = Bed::new(&[origin.address]);
    let mut client = Client::connect(&bed).await;
    assert_eq!(client.ask(call("/a.B/C")).await.status(), 464);
    assert_eq!(origin.connection_count(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_stream_from_the_target() {
    let (left, mut told) = tokio::sync::mpsc::unbounded_channel();
    let target = Target::start(move |_, mut respond| {
        let left = left.clone();
        async move {
            let mut stream = respond.send_response(Response::new(()), false).ok()?;
            stream.send_data("begun".into(), false).ok()?;
            let reason = poll_fn(|cx| stream.poll_reset(cx)).await;
            left.send(reason.ok()).ok()
        }
    })
    .await;
    let bed = target.bed(Version::Http2);
    let mut client = Client::connect(&bed).await;
    let (response, mut upload) = client.begin(request("POST", "/")).await;
    let _begun = bounded(response).await.expect("a head");
    upload.send_reset(Reason::CANCEL);
    assert_eq!(bounded(told.recv()).await, Some(Some(Reason::CANCEL)));
    until(|| bed.worker.counts().node.client_left_460 == 1).await;
}

#[tokio::test]
async fn what_a_target_resets_is_reset_for_its_client() {
    let target = Target::start(|request, mut respond| async move {
        if request.uri().path() == "/before" {
            respond.send_reset(Reason::INTERNAL_ERROR);
            return None;
        }
        let mut stream = respond.send_response(Response::new(()), false).ok()?;
        stream.send_data("begun".into(), false).ok()?;
        tokio::task::yield_now().await;
        stream.send_reset(Reason::ENHANCE_YOUR_CALM);
        None
    })
    .await;
    let bed = target.bed(Version::Http2);
    let mut client = Client::connect(&bed).await;
    assert_eq!(client.get("/before").await.status(), 502);
    let error = client
        .try_ask(request("GET", "/amid"))
        .await
        .expect_err("torn");
    assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn silent_targets_and_targets_that_do_not_speak_http_2() {
    let target = Target::start(|_, respond| async move {
        let _kept = respond;
        std::future::pending().await
    })
    .await;
    let mut bed = target.bed(Version::Http2);
    bed.change(|table| table.attributes.idle_timeout_ms = 50);
    let mut client = Client::connect(&bed).await;
    assert_eq!(client.get("/").await.status(), 504);
    let origin = Origin::of("HTTP/1.1").await;
    let mut bed = Bed::new(&[origin.address]);
    bed.change(|table| {
        table.target_groups[0].version = Version::Http2;
        table.attributes.connect_timeout_ms = 200;
    });
    let mut client = Client::connect(&bed).await;
    assert_eq!(client.get("/").await.status(), 502);
}

#[tokio::test]
async fn connections_to_targets_are_dropped_with_them() {
    let target = Target::start(fine).await;
    let mut bed = target.bed(Version::Http2);
    let mut client = Client::connect(&bed).await;
    assert_eq!(client.get("/").await.status(), 200);
    bed.change(|table| table.target_groups[0].targets.clear());
    assert_eq!(client.get("/").await.status(), 503);
}

#[tokio::test]
async fn checks_speak_what_the_targets_speak() {
    let target = Target::start(|request, mut respond| async move {
        let call = request.headers().get("content-type").is_some();
        let (path, method) = (request.uri().path().to_owned(), request.method().clone());
        let mut body = request.into_body();
        let message = if call {
            body.data().await.and_then(Result::ok)
        } else {
            None
        };
        if !call && method == "GET" && path == "/health" {
            respond.send_response(Response::new(()), true).ok()?;
        } else if message.as_deref() == Some(&[0; 5]) && path == "/AWS.ALB/healthcheck" {
            let mut stream = respond.send_response(Response::new(()), false).ok()?;
            stream.send_trailers(status_trailers("12")).ok()?;
        } else {
            respond.send_reset(Reason::INTERNAL_ERROR);
        }
        Some(())
    })
    .await;
    for (version, path, matcher, healthy) in [
        (Version::Http2, "/health", "200", true),
        (Version::Http2, "/health", "201", false),
        (Version::Http2, "/other", "200", false),
        (Version::Grpc, "/AWS.ALB/healthcheck", "12", true),
        (Version::Grpc, "/AWS.ALB/healthcheck", "0-11", false),
        (Version::Http1, "/health", "200", false),
    ] {
        let mut bed = target.bed(version);
        bed.change(|table| {
            let check = &mut table.target_groups[0].health_check;
            check.enabled = true;
            check.path = path.to_owned();
            check.matcher = matcher.to_owned();
        });
        let wanted = if healthy {
            Health::Healthy
        } else {
            Health::Unhealthy
        };
        until(|| {
            let groups = bed.worker.health();
            groups[0].targets[0].health == wanted
        })
        .await;
    }
}
