use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::*;
use crate::http::log::{ClientCertificate, Reason};
use crate::http::request::{Facts, Request};
use crate::http::target::Group;

const GROUP: &str =
    "arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067";

fn place(tls: Option<&TlsFacts>) -> Place<'_> {
    Place {
        load_balancer: "app/my-loadbalancer/50dc6c495c0c9188",
        node: Some([172, 16, 0, 9].into()),
        peer: ([192, 168, 131, 39], 2817).into(),
        listener_port: 443,
        tls,
        trace: 0x1234_abcd,
    }
}

/// Notes a request as the node would.
fn open(record: &mut LogRecord, path: &str, user_agent: &[u8]) {
    let agent = httparse::Header {
        name: "User-Agent",
        value: user_agent,
    };
    let request = Request {
        method: "GET",
        path,
        query: None,
        host: Some("www.example.com:8080"),
        headers: &[agent],
        roles: &[],
        facts: Facts::of_get(),
        upgrade: None,
    };
    record.opened(&request, "lb.test", 80);
}

/// 2018-07-02T22:23:00.186641Z
fn moment() -> SystemTime {
    UNIX_EPOCH + Duration::new(1_530_570_180, 186_641_000)
}

fn text(record: &LogRecord, tls: Option<&TlsFacts>) -> String {
    let mut out = Vec::new();
    write_access(&mut out, record, &place(tls), moment());
    String::from_utf8(out).expect("text")
}

/// A line's fields, quoted ones without their quotes.
fn fields(line: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut rest = line.strip_suffix('\n').expect("a whole line");
    while !rest.is_empty() {
        let (field, tail) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').expect("an ending quote"),
            None => rest.split_at(rest.find(' ').unwrap_or(rest.len())),
        };
        fields.push(field.to_owned());
        rest = tail.strip_prefix(' ').unwrap_or(tail);
    }
    fields
}

#[test]
fn a_forwarded_request_reads_as_in_the_guide() {
    let mut record = LogRecord::default();
    record.begin(true, Kind::Http);
    open(&mut record, "/", b"curl/7.46.0");
    record.matched(None);
    record.trace_id(b"Root=1-58337262-36d228ad5d99923122bbe354");
    record.action("forward");
    record.grouped(&Arc::new(Group::new(GROUP)));
    let start = Instant::now();
    record.dispatched(
        ([10, 0, 0, 1], 80).into(),
        start + Duration::from_micros(86_999),
    );
    record.answered(200, start + Duration::from_millis(135));
    record.set_times(
        (moment() - Duration::from_millis(12), start),
        start + Duration::from_millis(1172),
    );
    record.status(200);
    record.received(34);
    record.sent(366);
    assert_eq!(
        text(&record, None),
        format!(
            "http 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 \
             10.0.0.1:80 0.086 0.048 1.037 200 200 34 366 \"GET http://www.example.com:80/ HTTP/1.1\" \
             \"curl/7.46.0\" - - {GROUP} \"Root=1-58337262-36d228ad5d99923122bbe354\" \"-\" \"-\" 0 \
             2018-07-02T22:23:00.174641Z \"forward\" \"-\" \"-\" \"10.0.0.1:80\" \"200\" \"-\" \"-\" \
             TID_0000000000000000000000001234abcd \"-\" \"-\" \"-\" 172.16.0.9\n"
        )
    );
}

#[test]
fn what_did_not_happen_is_a_dash_or_minus_one() {
    let mut record = LogRecord::default();
    record.begin(true, Kind::Http);
    record.unread("lb.test", 80);
    record.status(400);
    record.classified(Some(Reason::BothTeClPresent));
    let line = text(&record, None);
    let fields = fields(&line);
    assert_eq!(fields.len(), 34, "{line}");
    assert_eq!(fields[4..10], ["-", "-1", "-1", "-1", "400", "-"]);
    assert_eq!(fields[12], "- http://lb.test:80- -");
    assert_eq!(fields[13..21], ["-"; 8], "{line}");
    assert_eq!(
        fields[22..29],
        ["-", "-", "-", "-", "-", "Ambiguous", "BothTeClPresent"]
    );
}

#[test]
fn a_target_that_does_not_answer_has_no_stages() {
    let mut record = LogRecord::default();
    record.begin(true, Kind::Http);
    record.dispatched(([10, 0, 0, 1], 80).into(), Instant::now());
    record.status(504);
    let fields = fields(&text(&record, None));
    assert_eq!(fields[4..10], ["10.0.0.1:80", "-1", "-1", "-1", "504", "-"]);
}

#[test]
fn tls_fields() {
    let mut record = LogRecord::default();
    record.begin(true, Kind::Https);
    let mut tls = TlsFacts {
        cipher: "ECDHE-RSA-AES128-GCM-SHA256",
        version: "TLSv1.2",
        server_name: Some("www.example.com".into()),
        certificate: "arn:aws:acm:us-east-2:1:certificate/1".into(),
        ..TlsFacts::default()
    };
    let line = fields(&text(&record, Some(&tls)));
    assert_eq!(line[14..16], [tls.cipher, tls.version]);
    assert_eq!(
        line[18..20],
        ["www.example.com", "arn:aws:acm:us-east-2:1:certificate/1"]
    );
    (tls.resumed, tls.server_name) = (true, None);
    let line = fields(&text(&record, Some(&tls)));
    assert_eq!(line[18..20], ["-", "session-reused"]);
}

#[test]
fn clients_cannot_forge_lines_or_fields() {
    let mut record = LogRecord::default();
    record.begin(true, Kind::Http);
    open(&mut record, "/\" \"x\\", b"a\"\r\n\x00\x7f\xc3\xa9");
    let mut out = Vec::new();
    write_access(&mut out, &record, &place(None), moment());
    assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
    let line = String::from_utf8(out).expect("UTF-8 stays");
    assert!(
        line.contains(r#""GET http://www.example.com:80/\x22 \x22x\x5C HTTP/1.1""#),
        "{line}"
    );
    assert!(line.contains(r#""a\x22\x0D\x0A\x00\x7Fé""#), "{line}");
    assert_eq!(fields(&line).len(), 34);
}

#[test]
fn long_agents_are_cut() {
    let mut record = LogRecord::default();
    record.begin(true, Kind::Http);
    let agent = vec![b'a'; 10_000];
    open(&mut record, "/", &agent);
    assert_eq!(fields(&text(&record, None))[13].len(), 8192);
}

#[test]
fn nothing_is_kept_while_the_log_is_off() {
    let mut record = LogRecord::default();
    record.begin(false, Kind::Http);
    open(&mut record, "/", b"x");
    record.trace_id(b"x");
    record.redirect_url("x");
    record.grouped(&Arc::new(Group::new(GROUP)));
    assert!(record.known().is_none() && !record.is_on());
}

#[test]
fn connections_read_as_in_the_guide() {
    let tls = TlsFacts {
        cipher: "ECDHE-RSA-AES128-GCM-SHA256",
        version: "TLSv1.2",
        handshake_us: 4_036_000,
        ..TlsFacts::default()
    };
    let record = ConnectionRecord {
        key_exchange: Some("X25519"),
        client_certificate: Some(ClientCertificate {
            subject: "CN=amazondomains.com,O=endEntity".into(),
            validity: "NotBefore=2023-09-21T22:43:21Z;NotAfter=2026-06-17T22:43:21Z".into(),
            serial_number: "FEF257372D5C14D4".into(),
        }),
        failure: None,
    };
    let line = |tls, record: &ConnectionRecord| {
        let mut out = Vec::new();
        write_connection(&mut out, &place(tls), record, moment());
        String::from_utf8(out).expect("text")
    };
    assert_eq!(
        line(Some(&tls), &record),
        "2018-07-02T22:23:00.186641Z 192.168.131.39 2817 443 TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256 4.036 \
         \"CN=amazondomains.com,O=endEntity\" NotBefore=2023-09-21T22:43:21Z;NotAfter=2026-06-17T22:43:21Z \
         FEF257372D5C14D4 Success TID_0000000000000000000000001234abcd X25519 \
         app/my-loadbalancer/50dc6c495c0c9188 172.16.0.9\n"
    );
    let failed = ConnectionRecord {
        failure: Some("ClientCertUntrusted"),
        ..ConnectionRecord::default()
    };
    assert_eq!(
        fields(&line(None, &failed))[4..11],
        ["-", "-", "-", "-", "-", "-", "Failed:ClientCertUntrusted"]
    );
    assert_eq!(
        fields(&line(None, &ConnectionRecord::default()))[10],
        "Success"
    );
}

#[test]
fn health_checks_read_as_in_the_guide() {
    let mut check = HealthCheckRecord {
        kind: "http",
        started: moment(),
        took_ns: 1_121_980_746,
        target: ([172, 31, 31, 9], 80).into(),
        target_group: GROUP,
        status_code: Some(502),
        failure: Some("TargetError"),
    };
    let line = |check: &HealthCheckRecord<'_>| {
        let mut out = Vec::new();
        write_health_check(&mut out, check, "app/a/1", Some([10, 0, 0, 1].into()));
        String::from_utf8(out).expect("text")
    };
    assert_eq!(
        line(&check),
        "http 2018-07-02T22:23:00.186641Z 1.121980746 172.31.31.9:80 my-targets FAIL 502 TargetError \
         app/a/1 10.0.0.1\n"
    );
    (check.failure, check.status_code) = (None, None);
    assert!(line(&check).contains(" my-targets PASS - - app/a/1 "));
}
