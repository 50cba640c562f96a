//! What goes on is read again by the strict reader: it must be one message, framed as it came in.

use proptest::prelude::*;

use super::*;
use crate::http::request::read_request;
use crate::http::response::read_response;

fn origin() -> Origin<'static> {
    Origin {
        peer: SocketAddr::from(([192, 0, 2, 1], 40_000)),
        listener_port: 80,
        tls: None,
        dns_name: "lb.test",
        trace_id: *b"1-00000000-000000000000000000000000",
        known: b"",
    }
}

fn forwarded(head: &str, attributes: &Attributes) -> Option<String> {
    let mut out = Vec::new();
    let read = read_request(head.as_bytes(), |request| {
        write_request(&mut out, request, &origin(), attributes);
    });
    read.ok().flatten()?;
    Some(String::from_utf8(out).expect("text"))
}

#[test]
fn the_host_keeps_its_port_unless_it_is_the_listeners() {
    for (host, keep, expected) in [
        ("a.test:80", false, "a.test"),
        ("a.test:80", true, "a.test:80"),
        ("a.test:8080", false, "a.test:8080"),
        ("[::1]:80", false, "[::1]"),
        ("a.test", false, "a.test"),
    ] {
        let attributes = Attributes {
            preserve_host_header: keep,
            ..Attributes::default()
        };
        let text = forwarded(
            &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            &attributes,
        );
        assert!(
            text.expect("forwarded")
                .contains(&format!("\r\nHost: {expected}\r\n")),
            "{host}"
        );
    }
}

#[test]
fn trace_ids() {
    let own = "1-00000000-000000000000000000000000";
    for (came, expected) in [
        ("", format!("Root={own}")),
        ("Root=1-a-b", format!("Self={own};Root=1-a-b")),
        (
            "root=1-a-b;Parent=c;Sampled=1",
            format!("Self={own};root=1-a-b;Parent=c;Sampled=1"),
        ),
        ("Self=1-x-y;Root=1-a-b", format!("Self={own};Root=1-a-b")),
        ("CalledFrom=app", format!("Root={own};CalledFrom=app")),
        ("Self=1-x-y", format!("Root={own}")),
        (";;", format!("Root={own}")),
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Amzn-Trace-Id: {came}\r\n\r\n");
        let text = forwarded(&head, &Attributes::default()).expect("forwarded");
        assert!(
            text.contains(&format!("\r\nX-Amzn-Trace-Id: {expected}\r\n")),
            "{came}: {text}"
        );
    }
}

fn line() -> impl Strategy<Value = String> {
    let lines = vec![
        "Host: a",
        "Host: b:80",
        "Content-Length: 5",
        "Content-Length: 0",
        "content-length:  7 ",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "TRANSFER-ENCODING:chunked",
        "Connection: close, Content-Length",
        "Connection: Transfer-Encoding, Host, X-A",
        "Connection: upgrade",
        "Upgrade: websocket",
        "Expect: 100-continue",
        "X-A: b",
        "X-Forwarded-For: 1.1.1.1, 2.2.2.2",
        "X-Amzn-Trace-Id: Root=1-a-b",
        "Trailer: x",
        "Empty:",
    ];
    prop_oneof![
        8 => prop::sample::select(lines).prop_map(str::to_owned),
        1 => "[A-Za-z-]{1,12}:[ -~]{0,12}",
        1 => "[ -~\t\r\n]{0,20}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_request_is_forwarded_as_the_one_message_it_was(
        method in "GET|POST|HEAD|OPTIONS|X-Y",
        target in "(/[!-~]{0,10}|http://h[!-~]{0,10}|\\*)",
        version in "1\\.[01]",
        mut lines in prop::collection::vec(line(), 0..6),
        with_host in any::<bool>(),
        mode in prop::sample::select(vec![XffMode::Append, XffMode::Preserve, XffMode::Remove]),
        drop_invalid in any::<bool>(),
    ) {
        if with_host {
            lines.insert(0, "Host: one.test".to_owned());
        }
        let head = format!("{method} {target} HTTP/{version}\r\n{}\r\n\r\n", lines.join("\r\n"));
        let attributes = Attributes { xff_mode: mode, drop_invalid_header_fields: drop_invalid, ..Attributes::default() };
        let mut out = Vec::new();
        let told = |request: &Request<'_, '_>| {
            (request.method.to_owned(), request.path.to_owned(), request.query.map(str::to_owned), request.facts.clone())
        };
        let read = read_request(head.as_bytes(), |request| {
            write_request(&mut out, request, &origin(), &attributes);
            told(request)
        });
        if let Ok(Some((_, (method, path, query, facts)))) = read {
            let again = read_request(&out, told);
            let Ok(Some((length, (method_again, path_again, query_again, facts_again)))) = again else {
                return Err(TestCaseError::fail(format!("not readable: {}", out.escape_ascii())));
            };
            prop_assert_eq!(length, out.len());
            prop_assert_eq!((method, path, query), (method_again, path_again, query_again));
            prop_assert_eq!(facts.body, facts_again.body);
            prop_assert_eq!(facts.content_length, facts_again.content_length);
            prop_assert_eq!(facts.is_upgrade, facts_again.is_upgrade);
            prop_assert!(!facts_again.expects_continue);
        }
    }

    #[test]
    fn a_response_is_passed_on_as_the_one_message_it_was(
        status in 100u16..600,
        version in "1\\.[01]",
        lines in prop::collection::vec(line(), 0..6),
        end in prop::sample::select(vec!["\r\n", "\n"]),
        is_head in any::<bool>(),
        is_http_1_0 in any::<bool>(),
        keep_alive in any::<bool>(),
    ) {
        let facts = Facts { is_head, is_http_1_0, keep_alive, ..Facts::of_get() };
        let head = format!("HTTP/{version} {status} Why{end}{}{end}{end}", lines.join(end));
        let mut out = Vec::new();
        let read = read_response(head.as_bytes(), &facts, |response| {
            let delivery = write_response(&mut out, response, &facts, keep_alive);
            (response.status, response.body.clone(), delivery)
        });
        if let Ok(Some((_, (status, body, delivery)))) = read {
            prop_assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), out.windows(2).filter(|two| two == b"\r\n").count());
            let again = read_response(&out, &facts, |again| (again.status, again.body.clone(), again.keep_alive));
            let Ok(Some((length, (status_again, body_again, keep_alive_again)))) = again else {
                return Err(TestCaseError::fail(format!("not readable: {}", out.escape_ascii())));
            };
            prop_assert_eq!((length, status), (out.len(), status_again));
            let framed = match (&body, delivery.chunked) {
                (Body::Length(_), _) => body.clone(),
                (_, true) => Body::chunked(),
                (_, false) => Body::UntilClose,
            };
            prop_assert_eq!(&body_again, &framed);
            prop_assert_eq!(keep_alive_again, !delivery.close && body_again != Body::UntilClose);
        }
    }
}
