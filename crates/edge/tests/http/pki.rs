//! Certificates for the tests, and rustls clients that look at them.

use std::sync::{Arc, Mutex};

use fogbank_edge::http::{Certificate, Listener, MutualTls, Protocol, Table, TlsListener};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SignatureAlgorithm,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::bed::{Bed, Client, bounded};

/// A certificate with its key, in PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Pair {
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("PEM")
    }

    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM")
    }

    pub fn row(&self, id: &str) -> Certificate {
        Certificate {
            id: id.to_owned(),
            chain: self.certificate.clone(),
            private_key: self.key.clone(),
        }
    }

    /// For an origin.
    pub fn server(&self) -> Arc<rustls::ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.der()], self.key_der())
            .expect("a certificate");
        Arc::new(config)
    }
}

/// Signed by itself.
pub fn own(names: &[&str]) -> Pair {
    own_with(names, &PKCS_ECDSA_P256_SHA256)
}

pub fn own_p384(names: &[&str]) -> Pair {
    own_with(names, &PKCS_ECDSA_P384_SHA384)
}

fn own_with(names: &[&str], algorithm: &'static SignatureAlgorithm) -> Pair {
    let key = KeyPair::generate_for(algorithm).expect("a key");
    signed_by_itself(names, &key, |_| {})
}

/// An RSA key of 2048 bits, by OpenSSL: ring makes none.
pub fn own_rsa(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Pair {
    let made = std::process::Command::new("openssl")
        .args([
            "genpkey",
            "-quiet",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
        ])
        .output()
        .expect("openssl");
    let pem = String::from_utf8(made.stdout).expect("PEM");
    signed_by_itself(names, &KeyPair::from_pem(&pem).expect("a key"), change)
}

pub fn signed_by_itself(
    names: &[&str],
    key: &KeyPair,
    change: impl FnOnce(&mut CertificateParams),
) -> Pair {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    change(&mut params);
    Pair {
        certificate: params.self_signed(key).expect("signed").pem(),
        key: key.serialize_pem(),
    }
}

/// A certificate authority of clients.
pub struct Authority {
    pub issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).expect("signed"),
        }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn client(&self, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.distinguished_name.push(DnType::CommonName, "client");
        params
            .distinguished_name
            .push(DnType::OrganizationName, "A, B");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        Pair {
            certificate: params.signed_by(&key, &self.issuer).expect("signed").pem(),
            key: key.serialize_pem(),
        }
    }
}

/// Makes the bed's listener HTTPS with these, the first being the default.
pub fn secure(table: &mut Table, certificates: &[(&str, &Pair)]) {
    let listener: &mut Listener = &mut table.listeners[0];
    listener.protocol = Protocol::Https;
    listener.tls = Some(TlsListener {
        policy: "ELBSecurityPolicy-TLS13-1-2-2021-06".into(),
        certificates: certificates
            .iter()
            .map(|(id, _)| (*id).to_owned())
            .collect(),
        mutual: MutualTls::Off,
    });
    table.certificates = certificates.iter().map(|(id, pair)| pair.row(id)).collect();
}

/// A client that takes any certificate and tells which.
#[derive(Clone)]
pub struct Caller {
    pub config: ClientConfig,
    shown: Arc<Mutex<Option<CertificateDer<'static>>>>,
}

pub type Called = Client<TlsStream<TcpStream>>;

impl Caller {
    pub fn new() -> Self {
        Self::with(rustls::DEFAULT_VERSIONS, None, None)
    }

    pub fn showing(pair: &Pair) -> Self {
        Self::with(rustls::DEFAULT_VERSIONS, Some(pair), None)
    }

    /// That signs with these only.
    pub fn with(
        versions: &[&'static rustls::SupportedProtocolVersion],
        client: Option<&Pair>,
        schemes: Option<Vec<SignatureScheme>>,
    ) -> Self {
        let shown = Arc::default();
        let noting = Noting {
            shown: Arc::clone(&shown),
            schemes,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(noting));
        let config = match client {
            Some(pair) => builder
                .with_client_auth_cert(vec![pair.der()], pair.key_der())
                .expect("a key"),
            None => builder.with_no_client_auth(),
        };
        Self { config, shown }
    }

    pub async fn try_call(&self, bed: &Bed, name: &str) -> std::io::Result<Called> {
        let tcp = TcpStream::connect(bed.address).await?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connector = TlsConnector::from(Arc::new(self.config.clone()));
        Ok(Client::on(bounded(connector.connect(name, tcp)).await?))
    }

    pub async fn call(&self, bed: &Bed, name: &str) -> Called {
        self.try_call(bed, name).await.expect("a handshake")
    }

    /// The certificate that was shown last.
    pub fn was_shown(&self, pair: &Pair) -> bool {
        self.shown.lock().expect("no panic").as_ref() == Some(&pair.der())
    }
}

#[derive(Debug)]
struct Noting {
    shown: Arc<Mutex<Option<CertificateDer<'static>>>>,
    schemes: Option<Vec<SignatureScheme>>,
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.shown.lock().expect("no panic") = Some(leaf.clone().into_owned());
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

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone().unwrap_or_else(|| {
            rustls::crypto::ring::default_provider()
                .signature_verification_algorithms
                .supported_schemes()
        })
    }
}
