//! TLS to clients and to targets, with rustls as the other side. `openssl` has OpenSSL's client.

use std::time::{Duration, Instant};

use fogbank_edge::http::{Action, MutualTls, Protocol, Redirect, TrustStore};
use rustls::{HandshakeKind, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bed::{Bed, Client, Origin, PORT, Script, bounded, ok, until};
use crate::pki::{Authority, Caller, Pair, own, own_p384, own_rsa, secure};

const GET: &str = "GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n";

async fn https(certificates: &[(&str, &Pair)]) -> (Bed, Origin) {
    let origin = Origin::of("hello").await;
    let mut bed = Bed::new(&[origin.address]);
    bed.change(|table| secure(table, certificates));
    (bed, origin)
}

#[tokio::test]
async fn a_request_comes_by_tls_and_the_target_is_told() {
    let pair = own(&["a.test"]);
    let (mut bed, origin) = https(&[("one", &pair)]).await;
    bed.change(|table| table.attributes.tls_headers = true);
    let mut client = Caller::new().call(&bed, "a.test").await;
    for _ in 0..3 {
        client
            .send("GET /x HTTP/1.1\r\nHost: a.test\r\nX-Amzn-Tls-Version: SSLv2\r\n\r\n")
            .await;
        assert_eq!(client.answer().await.text(), "hello");
    }
    let seen = origin.last();
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.header("x-forwarded-port"), Some(&*PORT.to_string()));
    assert_eq!(seen.header("x-amzn-tls-version"), Some("TLSv1.3"));
    assert_eq!(
        seen.header("x-amzn-tls-cipher-suite"),
        Some("TLS_AES_128_GCM_SHA256")
    );
    assert!(!seen.head.contains("SSLv2"));
}

#[tokio::test]
async fn large_bodies_go_both_ways() {
    let pair = own(&["a.test"]);
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let sent = body.clone();
    let origin = Origin::start(move |_| {
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len());
        answer.reserve(sent.len());
        let mut answer = answer.into_bytes();
        answer.extend_from_slice(&sent);
        Script::Send(answer)
    })
    .await;
    let mut bed = Bed::new(&[origin.address]);
    bed.change(|table| secure(table, &[("one", &pair)]));
    let client = Caller::new().call(&bed, "a.test").await;
    let (reader, mut writer) = tokio::io::split(client.stream);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let up = body.clone();
    tokio::spawn(async move {
        writer.write_all(head.as_bytes()).await.expect("sent");
        writer.write_all(&up).await.expect("sent");
        writer.flush().await.expect("sent");
        // Kept: dropping it would end the connection.
        std::future::pending::<()>().await;
    });
    let mut client = Client::on(tokio::io::join(reader, tokio::io::sink()));
    assert!(client.answer().await.body == body);
    assert!(origin.last().body == body);
}

#[tokio::test]
async fn the_certificate_follows_the_name() {
    let names = [
        ("default", own(&["default.test"])),
        ("exact", own(&["api.example.com"])),
        ("wildcard", own(&["*.example.com"])),
    ];
    let rows: Vec<_> = names.iter().map(|(id, pair)| (*id, pair)).collect();
    let (bed, _origin) = https(&rows).await;
    for (name, expected) in [
        ("default.test", 0),
        ("api.example.com", 1),
        ("API.example.COM", 1),
        ("www.example.com", 2),
        ("a.b.example.com", 0),
        ("example.com", 0),
        ("else.test", 0),
        ("127.0.0.1", 0),
    ] {
        let caller = Caller::new();
        caller.call(&bed, name).await;
        assert!(caller.was_shown(&names[expected].1), "{name}");
    }
}

#[tokio::test]
async fn among_several_the_best_that_the_client_can_read_is_shown() {
    let expired = own_rsa(&["a.test"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let rsa = own_rsa(&["a.test"], |_| {});
    let (p256, p384) = (own(&["a.test"]), own_p384(&["a.test"]));
    let (bed, _origin) = https(&[
        ("expired", &expired),
        ("rsa", &rsa),
        ("p256", &p256),
        ("p384", &p384),
    ])
    .await;
    let caller = Caller::new();
    caller.call(&bed, "a.test").await;
    assert!(caller.was_shown(&p384), "ECDSA, and the longer key");
    let schemes = vec![
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::ECDSA_NISTP256_SHA256,
    ];
    let caller = Caller::with(rustls::DEFAULT_VERSIONS, None, Some(schemes));
    caller.call(&bed, "a.test").await;
    assert!(caller.was_shown(&p256), "the client can't read P-384");
    let schemes = vec![SignatureScheme::RSA_PSS_SHA256];
    let caller = Caller::with(rustls::DEFAULT_VERSIONS, None, Some(schemes));
    caller.call(&bed, "a.test").await;
    assert!(caller.was_shown(&rsa), "the one that has not expired");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_harms_no_other() {
    let (good, other) = (own(&["a.test"]), own(&["b.test"]));
    let broken = Pair {
        key: other.key.clone(),
        ..good.clone()
    };
    let (bed, _origin) = https(&[("broken", &broken), ("other", &other)]).await;
    let caller = Caller::new();
    caller.call(&bed, "b.test").await;
    assert!(caller.was_shown(&other));
}

#[tokio::test]
async fn without_any_certificate_the_door_is_shut() {
    let pair = own(&["a.test"]);
    let (mut bed, _origin) = https(&[("one", &pair)]).await;
    bed.change(|table| table.certificates.clear());
    let mut client = bed.client().await;
    client.send(GET).await;
    assert_eq!(client.rest().await, b"", "never plain instead of TLS");
}

#[tokio::test]
async fn sessions_are_resumed_in_both_versions() {
    let pair = own(&["a.test"]);
    let (bed, _origin) = https(&[("one", &pair)]).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let caller = Caller::with(&[version], None, None);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut client = caller.call(&bed, "a.test").await;
            client.send(GET).await;
            assert_eq!(client.answer().await.status, 200);
            let kind = client.stream.get_ref().1.handshake_kind();
            assert_eq!(kind, Some(expected), "{version:?}");
        }
    }
}

#[tokio::test]
async fn certificates_change_and_open_connections_stay() {
    let pairs = [own(&["a.test"]), own(&["a.test"])];
    let (mut bed, _origin) = https(&[("one", &pairs[0])]).await;
    let caller = Caller::new();
    let mut open = caller.call(&bed, "a.test").await;
    for turn in 0..10 {
        let pair = &pairs[(turn + 1) % 2];
        bed.change(|table| secure(table, &[("one", pair)]));
        let fresh = Caller::new();
        let mut client = fresh.call(&bed, "a.test").await;
        assert!(fresh.was_shown(pair), "the new one from now on");
        for client in [&mut open, &mut client] {
            client.send(GET).await;
            assert_eq!(client.answer().await.status, 200);
        }
    }
}

#[tokio::test]
async fn the_policy_is_kept_to() {
    let pair = own(&["a.test"]);
    let (mut bed, _origin) = https(&[("one", &pair)]).await;
    let mut set = |policy: &str| {
        let policy = policy.to_owned();
        bed.change(|table| {
            let tls = table.listeners[0].tls.as_mut().expect("HTTPS");
            tls.policy = policy;
        });
    };
    set("ELBSecurityPolicy-TLS13-1-3-2021-06");
    let (old, new) = (
        Caller::with(&[&rustls::version::TLS12], None, None),
        Caller::with(&[&rustls::version::TLS13], None, None),
    );
    assert!(old.try_call(&bed, "a.test").await.is_err());
    assert!(new.try_call(&bed, "a.test").await.is_ok());
    until(|| bed.worker.counts().node.client_tls_errors == 1).await;
    bed.change(|table| {
        let tls = table.listeners[0].tls.as_mut().expect("HTTPS");
        tls.policy = "ELBSecurityPolicy-2016-08".to_owned();
    });
    assert!(old.try_call(&bed, "a.test").await.is_ok());
    assert!(new.try_call(&bed, "a.test").await.is_err());
}

#[tokio::test]
async fn plain_http_is_told_that_the_port_is_for_https() {
    let pair = own(&["a.test"]);
    let (bed, _origin) = https(&[("one", &pair)]).await;
    let mut client = bed.client().await;
    client.send(GET).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 400);
    assert!(
        answer
            .text()
            .contains("plain HTTP request was sent to HTTPS port")
    );
    assert_eq!(answer.header("server"), Some("awselb/2.0"));
}

#[tokio::test]
async fn the_end_is_told_and_a_cut_is_seen() {
    let pair = own(&["a.test"]);
    let (bed, _origin) = https(&[("one", &pair)]).await;
    let mut client = Caller::new().call(&bed, "a.test").await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 200);
    let mut rest = Vec::new();
    // rustls gives an error when close_notify is missing.
    let end = bounded(client.stream.read_to_end(&mut rest)).await;
    assert_eq!(end.expect("close_notify"), 0);
}

#[tokio::test]
async fn garbage_is_refused_and_counted() {
    let pair = own(&["a.test"]);
    let (bed, _origin) = https(&[("one", &pair)]).await;
    let mut huge = vec![22, 3, 1, 0x40, 0];
    huge.extend([1, 0xff, 0xff, 0xff]);
    huge.resize(200_000, 0);
    let hostile: [&[u8]; 6] = [
        &[22, 3, 1, 0, 5, 1, 0, 0, 1, 0],
        &[0x80, 0x2e, 1, 3, 1, 0],
        &[22, 3, 1, 0xff, 0xff, 0, 0, 0],
        &[0; 64],
        &huge,
        &[21, 3, 3, 0, 2, 2, 40],
    ];
    for (count, bytes) in hostile.iter().enumerate() {
        let mut client = bed.client().await;
        // It may be closed before all is sent.
        let _ = client.stream.write_all(bytes).await;
        client.rest().await;
        until(|| bed.worker.counts().node.client_tls_errors == count as u64 + 1).await;
    }
    let mut client = Caller::new().call(&bed, "a.test").await;
    client.send(GET).await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_handshake_takes_no_longer_than_it_may() {
    let pair = own(&["a.test"]);
    let (mut bed, _origin) = https(&[("one", &pair)]).await;
    bed.change(|table| table.attributes.connect_timeout_ms = 200);
    let mut clients = Vec::new();
    for bytes in [&[][..], &[22], &[22, 3, 1, 0, 200, 1, 0]] {
        let mut client = bed.client().await;
        client.send_bytes(bytes).await;
        clients.push(client);
    }
    let started = Instant::now();
    for client in &mut clients {
        client.rest().await;
    }
    assert!(
        started.elapsed() >= Duration::from_millis(150),
        "it has some time"
    );
    until(|| bed.worker.counts().node.client_tls_errors == 3).await;
}

#[tokio::test]
async fn redirects_know_the_protocol() {
    let pair = own(&["a.test"]);
    let (mut bed, _origin) = https(&[("one", &pair)]).await;
    bed.change(|table| {
        table.listeners[0].default_action = Action::Redirect(Redirect {
            path: "/moved".into(),
            ..Redirect::unchanged(301)
        });
    });
    let mut client = Caller::new().call(&bed, "a.test").await;
    client.send(GET).await;
    let answer = client.answer().await;
    let location = format!("https://a.test:{PORT}/moved");
    assert_eq!(answer.header("location"), Some(&*location));
}

fn verify(bed: &mut Bed, authority: &Authority, lists: Vec<String>, ignore_expiry: bool) {
    let pem = authority.pem();
    bed.change(|table| {
        let tls = table.listeners[0].tls.as_mut().expect("HTTPS");
        tls.mutual = MutualTls::Verify {
            trust_store: "store".into(),
            ignore_expiry,
            advertise_ca_names: true,
        };
        table.trust_stores = vec![TrustStore {
            id: "store".into(),
            ca_bundle: pem,
            revocation_lists: lists,
        }];
    });
}

/// Whether a request with this certificate is answered.
async fn is_let_in(bed: &Bed, caller: &Caller) -> bool {
    // In TLS 1.3 the client hears of its refusal after its handshake.
    let Ok(mut client) = caller.try_call(bed, "a.test").await else {
        return false;
    };
    let sent = client.stream.write_all(GET.as_bytes()).await;
    sent.is_ok() && client.try_answer().await.is_some_and(|a| a.status == 200)
}

#[tokio::test]
async fn verified_clients_are_let_in_and_described() {
    let (authority, pair) = (Authority::new("root"), own(&["a.test"]));
    let (mut bed, origin) = https(&[("one", &pair)]).await;
    verify(&mut bed, &authority, Vec::new(), false);
    let good = authority.client(|params| {
        params.serial_number = Some(vec![0x03, 0xa5, 0xb1].into());
        params.not_before = rcgen::date_time_ymd(2023, 9, 21);
        params.not_after = rcgen::date_time_ymd(2099, 9, 20);
    });
    let mut client = Caller::showing(&good).call(&bed, "a.test").await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nX-Amzn-Mtls-Clientcert-Subject: CN=admin\r\nX-Amzn-Mtls-Clientcert: x\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 200);
    let seen = origin.last();
    let header = |name: &str| seen.header(&format!("X-Amzn-Mtls-Clientcert{name}"));
    assert_eq!(header("-Serial-Number"), Some("03A5B1"));
    assert_eq!(header("-Issuer"), Some("CN=root"));
    assert_eq!(header("-Subject"), Some("O=A\\, B,CN=client"));
    assert_eq!(
        header("-Validity"),
        Some("NotBefore=2023-09-21T00:00:00Z;NotAfter=2099-09-20T00:00:00Z")
    );
    let leaf = header("-Leaf").expect("a leaf");
    let decoded = leaf.replace("%20", " ").replace("%0A", "\n");
    assert_eq!(decoded, good.certificate.replace("\r\n", "\n"));
    assert_eq!(header(""), None);
    assert!(!seen.head.contains("admin"));
}

#[tokio::test]
async fn who_is_not_verified_is_not_let_in() {
    let (authority, pair) = (Authority::new("root"), own(&["a.test"]));
    let (mut bed, _origin) = https(&[("one", &pair)]).await;
    verify(&mut bed, &authority, Vec::new(), false);
    let expired = authority.client(|params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let stranger = Authority::new("root").client(|_| {});
    let good = authority.client(|params| params.serial_number = Some(7.into()));
    assert!(is_let_in(&bed, &Caller::showing(&good)).await);
    assert!(!is_let_in(&bed, &Caller::new()).await, "no certificate");
    assert!(!is_let_in(&bed, &Caller::showing(&stranger)).await);
    assert!(!is_let_in(&bed, &Caller::showing(&expired)).await);
    let old = Caller::with(&[&rustls::version::TLS12], Some(&expired), None);
    assert!(!is_let_in(&bed, &old).await);
    verify(&mut bed, &authority, Vec::new(), true);
    assert!(
        is_let_in(&bed, &Caller::showing(&expired)).await,
        "expiry is ignored"
    );
    assert!(!is_let_in(&bed, &Caller::showing(&stranger)).await);
    let list = revoking(&authority, 7);
    verify(&mut bed, &authority, vec![list], true);
    assert!(!is_let_in(&bed, &Caller::showing(&good)).await, "revoked");
    assert!(is_let_in(&bed, &Caller::showing(&expired)).await);
    let broken = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n".to_owned();
    verify(&mut bed, &authority, vec![broken], true);
    assert!(
        !is_let_in(&bed, &Caller::showing(&expired)).await,
        "who can't read a list lets nobody in"
    );
}

fn revoking(authority: &Authority, serial: u64) -> String {
    use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams};
    let at = rcgen::date_time_ymd(2024, 1, 1);
    let params = CertificateRevocationListParams {
        this_update: at,
        next_update: rcgen::date_time_ymd(2099, 1, 1),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: serial.into(),
            revocation_time: at,
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = params.signed_by(&authority.issuer).expect("signed");
    list.pem().expect("PEM")
}

#[tokio::test]
async fn passthrough_tells_of_any_chain_under_the_owners_name() {
    let pair = own(&["a.test"]);
    let (mut bed, origin) = https(&[("one", &pair)]).await;
    bed.change(|table| {
        let listener = &mut table.listeners[0];
        listener.tls.as_mut().expect("HTTPS").mutual = MutualTls::Passthrough;
        listener.attributes.insert(
            "routing.http.request.x_amzn_mtls_clientcert.header_name".into(),
            "X-Client-Chain".into(),
        );
    });
    let stranger = own(&["stranger.test"]);
    for (caller, expected) in [(Caller::showing(&stranger), true), (Caller::new(), false)] {
        let mut client = caller.call(&bed, "a.test").await;
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\nX-Client-Chain: forged\r\n\r\n")
            .await;
        assert_eq!(client.answer().await.status, 200);
        let seen = origin.last();
        let chain = seen.header("x-client-chain");
        assert_eq!(chain.is_some(), expected);
        let is_pem = |chain: &str| chain.starts_with("-----BEGIN%20CERTIFICATE-----%0AMII");
        assert!(chain.is_none_or(is_pem), "{chain:?}");
    }
}

#[tokio::test]
async fn targets_are_spoken_to_by_tls_and_kept() {
    let origin = Origin::start_tls(own(&["whatever"]).server(), |_| ok("secret")).await;
    let mut bed = Bed::new(&[origin.address]);
    bed.change(|table| table.target_groups[0].protocol = Protocol::Https);
    for _ in 0..5 {
        assert_eq!(bed.get("/").await.text(), "secret");
    }
    assert_eq!(origin.connection_count(), 1, "kept alive");
}

#[tokio::test]
async fn a_target_without_tls_is_a_502() {
    let origin = Origin::of("plain").await;
    let mut bed = Bed::new(&[origin.address]);
    bed.change(|table| {
        table.target_groups[0].protocol = Protocol::Https;
        table.attributes.connect_timeout_ms = 200;
    });
    assert_eq!(bed.get("/").await.status, 502);
    let group = &bed.table.target_groups[0].id;
    assert_eq!(bed.worker.counts().groups[group].target_tls_errors, 1);
}
