//! Port 443: certificates by name, and what is no handshake.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::bed::{Bed, read_all};
use crate::services::doors::Door;

const LAST: &str = "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

async fn connect(bed: &Bed, trusted: &str, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(bed.https).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

#[tokio::test]
async fn each_name_of_aws_has_its_certificate() {
    let bed = Bed::start(Door::Public).await;
    for name in [
        "ec2.us-east-1.amazonaws.com",
        "api.ecr.eu-west-1.amazonaws.com",
        "000000000000.dkr.ecr.us-east-1.amazonaws.com",
        "bucket.s3.us-east-1.amazonaws.com",
        "vpce-1-abc.logs.us-east-1.vpce.amazonaws.com",
        "vpce-1-abc-us-east-1a.api.ecr.us-east-1.vpce.amazonaws.com",
        "sts.amazonaws.com",
        "logs.us-east-1.api.aws",
    ] {
        let mut stream = connect(&bed, &bed.certificate, name).await.expect(name);
        stream.write_all(LAST.as_bytes()).await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(answer.ends_with("1:0"), "{name}: {answer}");
    }
}

#[tokio::test]
async fn nobody_is_vouched_for_who_is_not_of_aws() {
    let bed = Bed::start(Door::Public).await;
    for name in ["example.com", "amazonaws.com.example.com", "10.0.0.1"] {
        assert!(
            connect(&bed, &bed.certificate, name).await.is_err(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn another_regions_authority_is_not_trusted() {
    let (bed, other) = (
        Bed::start(Door::Public).await,
        Bed::start(Door::Public).await,
    );
    let name = "ec2.us-east-1.amazonaws.com";
    assert!(connect(&bed, &other.certificate, name).await.is_err());
}

#[tokio::test]
async fn what_is_no_handshake_ends_its_connection_alone() {
    let bed = Bed::start(Door::Public).await;
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0x16, 3, 1, 0xff, 0xff, 1, 0, 0, 0],
        &[0; 4096],
        &[0xff; 70_000],
    ] {
        let mut stream = TcpStream::connect(bed.https).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        read_all(&mut stream).await;
    }
    let name = "ec2.us-east-1.amazonaws.com";
    let mut stream = connect(&bed, &bed.certificate, name).await.unwrap();
    stream.write_all(LAST.as_bytes()).await.unwrap();
    assert!(read_all(&mut stream).await.ends_with("1:0"));
    assert_eq!(bed.api.heard.all().len(), 1);
}
