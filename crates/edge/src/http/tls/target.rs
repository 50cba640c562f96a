//! TLS to targets. Used by `exchange` and `health`.
//!
//! "The load balancer establishes TLS connections with the targets using certificates that you install on the
//! targets. The load balancer does not validate these certificates" (Target groups for your Application Load
//! Balancers, ELB guide; fact LST-12): the VPC's network vouches for a target's address.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;

use super::session::Session;

/// Targets whose sessions are remembered.
const SESSIONS_KEPT: usize = 2048;

/// What is spoken to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// Nothing is said, as targets of old know it.
    Http1,
    Http2,
}

/// The node's side of all TLS connections to targets.
#[derive(Debug)]
pub struct Connector {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl Connector {
    pub fn new() -> Self {
        let provider = Arc::new(ring::default_provider());
        let mut http1 = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring has suites for TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified))
            .with_no_client_auth();
        // The name is ours, and only there to tell sessions apart.
        http1.enable_sni = false;
        http1.resumption = Resumption::in_memory_sessions(SESSIONS_KEPT);
        let mut http2 = http1.clone();
        http2.alpn_protocols = vec![b"h2".to_vec()];
        http2.resumption = Resumption::in_memory_sessions(SESSIONS_KEPT);
        Self {
            http1: Arc::new(http1),
            http2: Arc::new(http2),
        }
    }

    /// The handshake with a target; whoever calls bounds its time.
    pub async fn connect(
        &self,
        tcp: TcpStream,
        target: SocketAddr,
        alpn: Alpn,
    ) -> io::Result<Session<ClientConnection>> {
        let config = match alpn {
            Alpn::Http1 => &self.http1,
            Alpn::Http2 => &self.http2,
        };
        let name = session_name(target);
        let tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        let mut session = Session::new(tcp, tls);
        poll_fn(|cx| session.poll_handshake(cx)).await?;
        if alpn == Alpn::Http2 && session.tls().alpn_protocol() != Some(b"h2") {
            return Err(io::Error::other("the target does not speak HTTP/2"));
        }
        Ok(session)
    }
}

/// Two ports of an address may be two servers.
fn session_name(target: SocketAddr) -> ServerName<'static> {
    let ip = target.ip().to_string().replace(['.', ':'], "-");
    let name = format!("t{ip}.p{}", target.port());
    ServerName::try_from(name).unwrap_or_else(|_| target.ip().into())
}

/// Takes every certificate. Health checkers, too, look at none.
#[derive(Debug)]
pub struct Unverified;

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    /// Also those that ring can't verify: nothing is.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        use SignatureScheme::*;
        vec![
            ECDSA_NISTP256_SHA256,
            ECDSA_NISTP384_SHA384,
            ECDSA_NISTP521_SHA512,
            ED25519,
            RSA_PSS_SHA256,
            RSA_PSS_SHA384,
            RSA_PSS_SHA512,
            RSA_PKCS1_SHA256,
            RSA_PKCS1_SHA384,
            RSA_PKCS1_SHA512,
        ]
    }
}
