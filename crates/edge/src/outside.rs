//! The world outside as something inside a VPC's namespace sees it: names by the VPC's resolver, and who is believed.
//!
//! Used by the load balancer's guards, which call identity providers, and by `node`, which pulls images.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::dns::{Forwarder, Kind, Name};

/// Where a VPC's resolver answers in every namespace of it (fact NET-6; `dns::resolvers`).
pub const RESOLVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 253)), 53);

/// Where systems keep the authorities that they trust.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A host's addresses, IPv4 first: few VPCs have a way out by IPv6. Empty: it has none.
pub async fn addresses(resolver: SocketAddr, host: &str) -> Vec<IpAddr> {
    if let Ok(ip) = host.parse() {
        return vec![ip];
    }
    let Ok(name) = Name::parse(host) else {
        return Vec::new();
    };
    let resolver = Forwarder::new([resolver]);
    for kind in [Kind::A, Kind::AAAA] {
        let answer = resolver.ask(&name, kind).await;
        let answer = answer
            .inspect_err(|error| tracing::debug!(host, %error, "a name is not resolved"))
            .ok();
        let records = answer.into_iter().flat_map(|answer| answer.answers);
        let of_kind = records.filter(|record| record.kind == kind);
        let found: Vec<IpAddr> = of_kind
            .filter_map(|record| address(&record.value))
            .collect();
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

fn address(value: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from).ok();
    v4.or_else(|| <[u8; 16]>::try_from(value).map(IpAddr::from).ok())
}

/// A client's TLS that believes the system's authorities, the region's own (which vouches for what runs inside), and those
/// of a PEM text. Reads some hundred certificates: blocks for a while.
pub fn client_config(data_folder: Option<&Path>, besides: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let system = SYSTEM_ROOTS
        .iter()
        .find_map(|path| std::fs::read(path).ok());
    let own = data_folder.map(|folder| {
        let read = fogbank_pki::authority::certificate(folder);
        read.inspect_err(|error| tracing::warn!(%error, "the region's authority is not trusted"))
            .unwrap_or_default()
    });
    let own = own.unwrap_or_default().into_bytes();
    for pem in [
        &system.unwrap_or_default()[..],
        &own[..],
        besides.as_bytes(),
    ] {
        let found = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
        roots.add_parsable_certificates(found);
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
