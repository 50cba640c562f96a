use super::*;
use proptest::prelude::*;
use std::net::Ipv4Addr;
use tokio::io::duplex;

fn check(protocol: CheckProtocol, port: u16) -> EndpointCheck {
    EndpointCheck {
        protocol,
        address: Some(Ipv4Addr::new(198, 18, 0, 20).into()),
        domain_name: None,
        port,
        path: Some("/health?x=1".to_owned()),
        search: None,
        interval_s: 30,
        threshold: 3,
        measures_latency: false,
        sends_sni: false,
        regions: Vec::new(),
    }
}

fn prober() -> Prober {
    Prober::new(&crate::dns::tests::fixture::config()).unwrap()
}

/// What is found where the endpoint says this in pieces, and then nothing more.
async fn hear(pieces: &[&[u8]], search: Option<&str>) -> Result<Said, Failure> {
    let (ours, mut theirs) = duplex(1 << 16);
    let endpoint = EndpointCheck {
        search: search.map(str::to_owned),
        ..check(CheckProtocol::Http, 80)
    };
    let prober = prober();
    let mut times = Times::default();
    let asked = prober.ask(ours, "GET / HTTP/1.1\r\n\r\n", &endpoint, &mut times);
    let said = async {
        for piece in pieces {
            // Who has heard enough leaves.
            let _ = theirs.write_all(piece).await;
            tokio::task::yield_now().await;
        }
        drop(theirs);
    };
    tokio::join!(asked, said).0
}

fn ok(status: &str) -> Result<Said, Failure> {
    Ok(Said(format!("Success: HTTP Status Code {status}")))
}

#[test]
fn the_host_is_named_with_its_port_where_it_is_not_the_usual_one() {
    let host = |check: &EndpointCheck| {
        let text = request("id", check, check.address.unwrap());
        assert!(text.starts_with("GET /health?x=1 HTTP/1.1\r\n"), "{text}");
        assert!(text.contains("(ref id; "), "{text}");
        let line = text.lines().find_map(|line| line.strip_prefix("Host: "));
        line.unwrap().to_owned()
    };
    assert_eq!(host(&check(CheckProtocol::Http, 80)), "198.18.0.20");
    assert_eq!(host(&check(CheckProtocol::Https, 443)), "198.18.0.20");
    assert_eq!(host(&check(CheckProtocol::Https, 80)), "198.18.0.20:80");
    let mut named = check(CheckProtocol::Http, 8080);
    named.domain_name = Some("api.example.test".to_owned());
    assert_eq!(host(&named), "api.example.test:8080");
    let mut six = check(CheckProtocol::Http, 80);
    six.address = Some("2001:2::1".parse().unwrap());
    assert_eq!(host(&six), "[2001:2::1]");
}

#[tokio::test]
async fn two_and_three_hundreds_are_healthy() {
    for (code, expected) in [
        (200, ok("200, OK")),
        (302, ok("302, Found")),
        (299, ok("299")),
    ] {
        let answer = format!("HTTP/1.1 {code} X\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(hear(&[answer.as_bytes()], None).await, expected);
    }
    for (code, said) in [
        (404, "404, Not Found"),
        (503, "503, Service Unavailable"),
        (199, ""),
    ] {
        let answer = format!("HTTP/1.1 {code} X\r\n\r\n");
        let found = hear(&[answer.as_bytes()], None).await.unwrap_err();
        assert!(found.text().contains(said), "{found:?}");
    }
    let waits: [&[u8]; 2] = [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2", b"00 OK\r\n\r\n"];
    assert_eq!(hear(&waits, None).await, ok("200, OK"));
}

#[tokio::test]
async fn what_is_no_http_is_a_failure() {
    assert_eq!(
        hear(&[b"SSH-2.0-OpenSSH\r\n\r\n"], None).await,
        Err(Failure::NoHttp)
    );
    let endless = vec![b'a'; HEAD_BYTES_MAX + 1];
    let endless = [&b"HTTP/1.1 200 OK\r\nx: "[..], &endless].concat();
    assert_eq!(hear(&[&endless], None).await, Err(Failure::NoHttp));
    assert!(matches!(hear(&[], None).await, Err(Failure::Broken(_))));
}

#[tokio::test]
async fn the_string_is_searched_in_the_first_5120_bytes() {
    let body = |before: usize| [&vec![b'.'; before][..], b"all is well"].concat();
    let whole = |before: usize| {
        let body = body(before);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), &body].concat()
    };
    let last = SEARCHED_BYTES - "all is well".len();
    assert_eq!(
        hear(&[&whole(last)], Some("all is well")).await,
        ok("200, OK")
    );
    let beyond = hear(&[&whole(last + 1)], Some("all is well")).await;
    assert!(matches!(beyond, Err(Failure::NotFound(_))));
    // Without a length, by chunks, and cut anywhere.
    let open: [&[u8]; 2] = [b"HTTP/1.0 200 OK\r\n\r\nall is", b" well"];
    assert_eq!(hear(&open, Some("all is well")).await, ok("200, OK"));
    let chunks: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6;x=y\r\nall i",
        b"s\r\n5\r\n we",
        b"ll\r\n0\r\n\r\n",
    ];
    assert_eq!(hear(&chunks, Some("all is well")).await, ok("200, OK"));
    // The frames of chunks are no part of the body.
    assert!(hear(&chunks, Some("5\r\n we")).await.is_err());
}

proptest! {
    /// Whatever an endpoint says, nobody panics, and only a status of 200 to 399 is healthy.
    #[test]
    fn hostile_endpoints_are_heard_out(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0usize..400, chunked: bool) {
        let head: &[u8] = if chunked { b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" } else { b"" };
        let cut = cut.min(bytes.len());
        let pieces = [head, &bytes[..cut], &bytes[cut..]];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = runtime.block_on(hear(&pieces, Some("all is well")));
        prop_assert!(found.is_err());
    }
}
