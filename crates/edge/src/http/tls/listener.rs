//! The TLS side of a table's listeners: what every handshake needs, made once for a table, and the handshake.
//! Used by `worker` (doors) and `entrance` (handshakes).
//!
//! A new table replaces a listener's terminator as a whole; connections keep what they were made with. One that
//! did not change stays, with its session tickets. What can't be made shuts the door: never plain instead of TLS,
//! never fewer checks than asked for.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::crypto::ring;
use rustls::server::{Acceptor, ClientHello, NoServerSessionStorage, ServerSessionMemoryCache};
use rustls::sign::SingleCertAndKey;
use rustls::{HandshakeKind, ServerConfig, ServerConnection};
use tokio::net::TcpStream;

use super::TlsFacts;
use super::certificate::{Names, Shown};
use super::client::{ClientCertificate, Verifier, url_encoded_pem, verify_status};
use super::session::{Session, Socket};
use super::suite::{cipher_name, group_name, offer, version_name};
use crate::http::table::{Certificate, Listener, MutualTls, Table, TlsListener, TrustStore};

/// Sessions of TLS 1.2 that are remembered for clients without tickets.
const SESSIONS_KEPT: usize = 4096;

/// What clients of a port meet.
#[derive(Clone)]
pub enum Door {
    Plain,
    Tls(Arc<Terminator>),
    /// It should be TLS and can't be: connections are closed.
    Shut,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Tls(_) => "Tls",
            Self::Shut => "Shut",
        })
    }
}

/// One HTTPS listener's way of ending TLS.
pub struct Terminator {
    made_of: MadeOf,
    /// The default first.
    shown: Vec<Shown>,
    names: Names,
    /// One for each certificate.
    configs: Vec<Arc<ServerConfig>>,
    headers: HeaderNames,
}

/// All that a terminator depends on.
#[derive(Clone, PartialEq)]
struct MadeOf {
    tls: TlsListener,
    certificates: Vec<Certificate>,
    trust_store: Option<TrustStore>,
    attributes: BTreeMap<String, String>,
    http2: bool,
    tls_headers: bool,
}

/// The doors of a table; those that stay as they were are taken over.
pub fn doors(table: &Table, before: &HashMap<u16, Door>) -> HashMap<u16, Door> {
    let door = |listener: &Listener| {
        let Some(tls) = &listener.tls else {
            // An HTTPS listener without its settings can only come from a broken table.
            let is_plain = listener.protocol == crate::http::table::Protocol::Http;
            return if is_plain { Door::Plain } else { Door::Shut };
        };
        let made_of = MadeOf::of(tls, listener, table);
        match before.get(&listener.port) {
            Some(Door::Tls(same)) if same.made_of == made_of => Door::Tls(same.clone()),
            _ => match Terminator::new(made_of) {
                Some(terminator) => Door::Tls(Arc::new(terminator)),
                None => Door::Shut,
            },
        }
    };
    let listeners = table.listeners.iter();
    listeners
        .map(|listener| (listener.port, door(listener)))
        .collect()
}

impl MadeOf {
    fn of(tls: &TlsListener, listener: &Listener, table: &Table) -> Self {
        let find = |arn: &String| table.certificates.iter().find(|row| row.id == *arn);
        let trust_store = match &tls.mutual {
            MutualTls::Verify { trust_store, .. } => {
                table.trust_stores.iter().find(|row| row.id == *trust_store)
            }
            MutualTls::Off | MutualTls::Passthrough => None,
        };
        let is_header = |key: &str| key.starts_with("routing.http.request.");
        let attributes = listener.attributes.iter().filter(|(key, _)| is_header(key));
        Self {
            tls: tls.clone(),
            certificates: tls.certificates.iter().filter_map(find).cloned().collect(),
            trust_store: trust_store.cloned(),
            attributes: attributes.map(|(k, v)| (k.clone(), v.clone())).collect(),
            http2: table.attributes.http2,
            tls_headers: table.attributes.tls_headers,
        }
    }

    fn verifier(&self, provider: &Arc<rustls::crypto::CryptoProvider>) -> Option<Arc<Verifier>> {
        let verifier = match (&self.tls.mutual, &self.trust_store) {
            (MutualTls::Off, _) => return None,
            (MutualTls::Passthrough, _) => Verifier::any(provider),
            (MutualTls::Verify { .. }, None) => Verifier::nobody(provider),
            (
                &MutualTls::Verify {
                    ignore_expiry,
                    advertise_ca_names,
                    ..
                },
                Some(store),
            ) => Verifier::trusting(store, ignore_expiry, advertise_ca_names, provider)
                .unwrap_or_else(|| {
                    tracing::error!(
                        trust_store = store.id,
                        "the trust store cannot be read: its listener lets nobody in"
                    );
                    Verifier::nobody(provider)
                }),
        };
        Some(Arc::new(verifier))
    }
}

impl Terminator {
    /// None: there is nothing to show, or no way to.
    fn new(made_of: MadeOf) -> Option<Self> {
        let Some(offer) = offer(&made_of.tls.policy) else {
            tracing::error!(policy = made_of.tls.policy, "unknown security policy");
            return None;
        };
        let mut shown = Vec::new();
        for row in &made_of.certificates {
            match Shown::read(row, &offer.provider) {
                Ok(certificate) => shown.push(certificate),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(certificate = row.id, error, "certificate cannot be used");
                }
            }
        }
        if shown.first()?.arn != *made_of.tls.certificates.first()? {
            tracing::warn!("another certificate stands in for the listener's default");
        }
        let verifier = made_of.verifier(&offer.provider);
        let mut base = ServerConfig::builder_with_provider(offer.provider)
            .with_protocol_versions(&offer.versions)
            .ok()
            .map(|builder| match verifier {
                Some(verifier) => builder.with_client_cert_verifier(verifier),
                None => builder.with_no_client_auth(),
            })?
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown[0].key.clone())));
        base.ignore_client_order = true;
        if made_of.http2 {
            base.alpn_protocols.push(b"h2".to_vec());
        }
        base.alpn_protocols.push(b"http/1.1".to_vec());
        // A resumed session is not verified again: with mutual TLS every connection shows its certificate.
        if made_of.tls.mutual == MutualTls::Off {
            base.session_storage = ServerSessionMemoryCache::new(SESSIONS_KEPT);
            base.ticketer = ring::Ticketer::new().ok()?;
        } else {
            base.session_storage = Arc::new(NoServerSessionStorage {});
            base.send_tls13_tickets = 0;
        }
        let configs = shown.iter().map(|certificate| {
            let mut config = base.clone();
            config.cert_resolver = Arc::new(SingleCertAndKey::from(certificate.key.clone()));
            Arc::new(config)
        });
        Some(Self {
            configs: configs.collect(),
            names: Names::of(&shown),
            headers: HeaderNames::of(&made_of),
            shown,
            made_of,
        })
    }

    /// The handshake with a client; whoever calls bounds its time.
    pub async fn accept(
        &self,
        mut tcp: TcpStream,
    ) -> Result<(Session<ServerConnection>, TlsFacts), Failure> {
        let started = Instant::now();
        let mut facts = TlsFacts::default();
        let (mut acceptor, mut first) = (Acceptor::default(), None);
        let accepted = match poll_fn(|cx| poll_hello(cx, &mut tcp, &mut acceptor, &mut first)).await
        {
            Hello::Came(accepted) => accepted,
            Hello::Plain => return Err(Failure::PlainHttp(tcp)),
            Hello::Failed(error) => return Err(Failure::tls(facts, &error)),
        };
        let place = self.choose(&accepted.client_hello(), &mut facts);
        let connection = match accepted.into_connection(self.configs[place].clone()) {
            Ok(connection) => connection,
            Err((error, mut alert)) => {
                poll_fn(|cx| {
                    let _ = alert.write(&mut Socket::new(&mut tcp, cx));
                    Poll::Ready(())
                })
                .await;
                let error = io::Error::new(io::ErrorKind::InvalidData, error);
                return Err(Failure::tls(facts, &error));
            }
        };
        let mut session = Session::new(tcp, connection);
        let done = poll_fn(|cx| session.poll_handshake(cx)).await;
        self.note(session.tls(), &mut facts);
        facts.handshake_us = started.elapsed().as_micros() as u64;
        match done {
            Ok(()) => Ok((session, facts)),
            Err(error) => Err(Failure::tls(facts, &error)),
        }
    }

    fn choose(&self, hello: &ClientHello<'_>, facts: &mut TlsFacts) -> usize {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_s = now.map_or(0, |now| now.as_secs() as i64);
        facts.server_name = hello.server_name().map(str::to_ascii_lowercase);
        let name = facts.server_name.as_deref();
        let place = self.names.choose(&self.shown, name, hello, now_s);
        facts.certificate.clone_from(&self.shown[place].arn);
        place
    }

    /// What is known of a connection, also of one that failed.
    fn note(&self, tls: &ServerConnection, facts: &mut TlsFacts) {
        facts.version = tls.protocol_version().map_or("-", version_name);
        facts.cipher = tls
            .negotiated_cipher_suite()
            .map_or("-", |suite| cipher_name(suite.suite()));
        facts.key_exchange = tls
            .negotiated_key_exchange_group()
            .map_or("-", |group| group_name(group.name()));
        facts.is_h2 = tls.alpn_protocol() == Some(b"h2");
        facts.resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        let chain = tls.peer_certificates().unwrap_or_default();
        facts.client = chain.first().and_then(|leaf| ClientCertificate::read(leaf));
        facts.own_names.clone_from(&self.headers.own);
        let mut put = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                facts.headers.extend_from_slice(part.as_bytes());
            }
        };
        if self.made_of.tls_headers {
            put(&self.headers.version, facts.version);
            put(&self.headers.cipher, facts.cipher);
        }
        match (&self.made_of.tls.mutual, &facts.client, chain) {
            (MutualTls::Passthrough, _, [_, ..]) => {
                let chain = chain.iter().map(AsRef::as_ref);
                put(&self.headers.chain, &url_encoded_pem(chain));
            }
            (MutualTls::Verify { .. }, Some(client), [leaf, ..]) => {
                put(&self.headers.serial, &client.serial);
                put(&self.headers.issuer, &client.issuer);
                put(&self.headers.subject, &client.subject);
                put(&self.headers.validity, &client.validity());
                put(&self.headers.leaf, &url_encoded_pem([leaf.as_ref()]));
            }
            _ => {}
        }
    }
}

/// A handshake that came to nothing.
pub enum Failure {
    /// It was no TLS at all; the client is still there.
    PlainHttp(TcpStream),
    Tls {
        /// As far as it went.
        facts: Box<TlsFacts>,
        reason: String,
        /// Of the client's certificate, as the connection log has it.
        verify_status: Option<&'static str>,
    },
}

impl Failure {
    fn tls(facts: TlsFacts, error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        Self::Tls {
            facts: Box::new(facts),
            reason: error.to_string(),
            verify_status: inner.and_then(verify_status),
        }
    }

    pub fn timed_out(after: Duration) -> Self {
        let reason = format!("not done after {after:?}");
        Self::tls(TlsFacts::default(), &io::Error::other(reason))
    }
}

enum Hello {
    Came(Box<rustls::server::Accepted>),
    Plain,
    Failed(io::Error),
}

/// `first` is the first byte of the connection.
fn poll_hello(
    cx: &mut Context<'_>,
    tcp: &mut TcpStream,
    acceptor: &mut Acceptor,
    first: &mut Option<u8>,
) -> Poll<Hello> {
    loop {
        let mut socket = Socket::new(tcp, cx);
        match acceptor.read_tls(&mut socket) {
            Ok(0) => return Poll::Ready(Hello::Failed(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Hello::Failed(error)),
        }
        *first = first.or(socket.first_byte);
        // Methods begin with a letter.
        if first.is_some_and(|byte| byte.is_ascii_alphabetic()) {
            return Poll::Ready(Hello::Plain);
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Poll::Ready(Hello::Came(Box::new(accepted))),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let _ = alert.write(&mut Socket::new(tcp, cx));
                let error = io::Error::new(io::ErrorKind::InvalidData, error);
                return Poll::Ready(Hello::Failed(error));
            }
        }
    }
}

/// Names of the headers that targets get. An owner may choose others ("HTTP header modification", ELB guide).
struct HeaderNames {
    version: String,
    cipher: String,
    chain: String,
    serial: String,
    issuer: String,
    subject: String,
    validity: String,
    leaf: String,
    /// Those that are written on this listener.
    own: Vec<String>,
}

impl HeaderNames {
    fn of(made_of: &MadeOf) -> Self {
        let name = |part: &str| {
            let key = format!(
                "routing.http.request.{}.header_name",
                part.to_ascii_lowercase().replace('-', "_")
            );
            let chosen = made_of.attributes.get(&key);
            chosen.map_or_else(|| part.to_owned(), String::clone)
        };
        let mut names = Self {
            version: name("X-Amzn-Tls-Version"),
            cipher: name("X-Amzn-Tls-Cipher-Suite"),
            chain: name("X-Amzn-Mtls-Clientcert"),
            serial: name("X-Amzn-Mtls-Clientcert-Serial-Number"),
            issuer: name("X-Amzn-Mtls-Clientcert-Issuer"),
            subject: name("X-Amzn-Mtls-Clientcert-Subject"),
            validity: name("X-Amzn-Mtls-Clientcert-Validity"),
            leaf: name("X-Amzn-Mtls-Clientcert-Leaf"),
            own: Vec::new(),
        };
        let mut own: Vec<&String> = Vec::new();
        if made_of.tls_headers {
            own.extend([&names.version, &names.cipher]);
        }
        match made_of.tls.mutual {
            MutualTls::Off => {}
            MutualTls::Passthrough => own.push(&names.chain),
            MutualTls::Verify { .. } => own.extend([
                &names.serial,
                &names.issuer,
                &names.subject,
                &names.validity,
                &names.leaf,
            ]),
        }
        names.own = own.into_iter().cloned().collect();
        names
    }
}
