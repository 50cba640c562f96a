//! Asking a resolver by TLS, against a server with rustls and a certificate of its own.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fogbank_types::TlsResolver;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::fixture::*;
use crate::dns::message::{MAX_TCP_BYTES, Query, write_answer};
use crate::dns::upstream::Upstream;
use crate::dns::{Answer, Forwarder, Kind, View};
use crate::outside;

const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    resolver: TlsResolver,
    certificate: String,
    connections: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Server {
    /// Knows one zone, and ends a connection after so many questions.
    async fn start(questions: usize) -> Self {
        let made = rcgen::generate_simple_self_signed(["dns.outside.com".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let resolver = TlsResolver {
            address: listener.local_addr().unwrap(),
            name: "dns.outside.com".to_owned(),
        };
        let mut region = Region::default();
        region.zone("Z9", "outside.com");
        for n in 0..4 {
            region.record("Z9", &format!("w{n}.outside.com"), "A", &["192.0.2.80"]);
        }
        let tables = Arc::new(region.tables());
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                // Who does not trust the certificate goes.
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                for _ in 0..questions {
                    let Ok(length) = stream.read_u16().await else {
                        break;
                    };
                    assert_eq!(length % 128, 0, "questions are padded");
                    let mut packet = vec![0; usize::from(length)];
                    stream.read_exact(&mut packet).await.unwrap();
                    let query = Query::read(&packet).unwrap();
                    let answer = tables.answer(&View::Public, &query.name, query.kind);
                    let response = write_answer(&query, &answer, true, MAX_TCP_BYTES);
                    stream.write_u16(response.len() as u16).await.unwrap();
                    stream.write_all(&response).await.unwrap();
                    stream.flush().await.unwrap();
                }
            }
        });
        Self {
            resolver,
            certificate: made.cert.pem(),
            connections,
            _task: task,
        }
    }

    fn forwarder(&self, resolver: &TlsResolver, trusted: &str) -> Forwarder {
        let config = Arc::new(outside::client_config(None, trusted));
        Forwarder::to([Upstream::tls(resolver, config).unwrap()].into())
    }
}

/// `None` for a failure.
async fn ask(forwarder: &Forwarder, text: &str) -> Option<Answer> {
    let name = name(text);
    let asked = timeout(PATIENCE, forwarder.ask(&name, Kind::A));
    asked.await.expect("ends in time").ok()
}

#[tokio::test]
async fn questions_share_a_connection() {
    let server = Server::start(100).await;
    let forwarder = server.forwarder(&server.resolver, &server.certificate);
    for n in 0..4 {
        let answer = ask(&forwarder, &format!("w{n}.outside.com")).await.unwrap();
        assert_eq!(*answer.answers[0].value, [192, 0, 2, 80]);
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_connection_that_the_server_ended_is_made_anew() {
    let server = Server::start(1).await;
    let forwarder = server.forwarder(&server.resolver, &server.certificate);
    for n in 0..4 {
        let answer = ask(&forwarder, &format!("w{n}.outside.com")).await;
        assert!(answer.is_some(), "{n}");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn who_cannot_prove_the_name_is_not_asked() {
    let server = Server::start(100).await;
    let other = TlsResolver {
        name: "other.outside.com".to_owned(),
        ..server.resolver.clone()
    };
    let wrong_name = server.forwarder(&other, &server.certificate);
    assert_eq!(ask(&wrong_name, "w0.outside.com").await, None);
    let nobody_trusted = server.forwarder(&server.resolver, "");
    assert_eq!(ask(&nobody_trusted, "w0.outside.com").await, None);
}
