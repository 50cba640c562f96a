//! What every process of a region must know; written once by `fogbank up` to `<run>/region.json`.

use crate::aws_service::AwsService;
use crate::{Ipv4Cidr, Ipv6Cidr};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Whether tasks reach the world outside through the host.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InternetAccess {
    /// Public addresses of the region only.
    None,
    /// Through the host, masqueraded.
    Host,
}

/// A resolver that is asked by TLS (RFC 7858) and must prove its name: `192.0.2.1#dns.example.com`, as systemd-resolved
/// writes it. The port is 853 unless given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TlsResolver {
    pub address: SocketAddr,
    pub name: String,
}

#[derive(Debug, thiserror::Error)]
#[error("an address, '#' and the server's name were expected, as in 192.0.2.1#dns.example.com")]
pub struct TlsResolverError;

impl TlsResolver {
    const PORT: u16 = 853;
}

impl std::str::FromStr for TlsResolver {
    type Err = TlsResolverError;

    fn from_str(text: &str) -> Result<Self, TlsResolverError> {
        let (address, name) = text.split_once('#').ok_or(TlsResolverError)?;
        let alone = |ip: IpAddr| SocketAddr::new(ip, Self::PORT);
        let address = address
            .parse()
            .or_else(|_| address.parse().map(alone))
            .map_err(|_| TlsResolverError)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if name.is_empty() || name.len() > 253 || !name.chars().all(is_name) {
            return Err(TlsResolverError);
        }
        let name = name.to_owned();
        Ok(Self { address, name })
    }
}

impl TryFrom<String> for TlsResolver {
    type Error = TlsResolverError;

    fn try_from(text: String) -> Result<Self, TlsResolverError> {
        text.parse()
    }
}

impl From<TlsResolver> for String {
    fn from(resolver: TlsResolver) -> Self {
        format!("{}#{}", resolver.address, resolver.name)
    }
}

/// Whether callers must prove who they are.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Signatures are read, not checked: any credentials are the root of the account in them. On loopback only.
    Off,
    /// Whoever has no key of the region is refused, and IAM decides what the others may do. A configuration that does
    /// not say is of this kind.
    #[default]
    Enforce,
}

/// Where the endpoint's certificate is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointTls {
    /// Of the region's own authority.
    Authority,
    /// In PEM, read anew when they change.
    Files { certificate: PathBuf, key: PathBuf },
}

/// Settings of one region on this host. No secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionConfig {
    /// `[a-z0-9]{1,8}`: part of the name of every kernel object of this region.
    pub instance: String,
    /// This host's name in `host` columns.
    pub host: String,
    /// Durable state: store, blobs, layers, logs, tasks.
    pub data_dir: PathBuf,
    /// Sockets, pid files, tables; gone after a reboot.
    pub run_dir: PathBuf,
    /// The API endpoint; on loopback unless `auth` is enforced.
    pub endpoint: SocketAddr,
    #[serde(default)]
    pub auth: AuthMode,
    /// With what the endpoint speaks TLS; `None`: it speaks without.
    #[serde(default)]
    pub tls: Option<EndpointTls>,
    /// Where public zones are answered, UDP and TCP.
    pub dns: SocketAddr,
    /// Account of callers whose access key is not twelve digits.
    pub account: String,
    /// Public addresses are taken from here.
    pub public_cidr: Ipv4Cidr,
    /// A /48: VPCs get their /56 blocks from here, except the first, which is AWS's services' own.
    #[serde(default = "public_cidr_v6")]
    pub public_cidr_v6: Ipv6Cidr,
    /// Service quotas other than AWS's defaults, by quota code (`L-F678F1CE`) or our name for it.
    #[serde(default)]
    pub quotas: BTreeMap<String, u32>,
    pub internet: InternetAccess,
    /// AWS's durations are divided by this (1 = real length).
    pub speed: f64,
    /// Where the node serves `/metrics` for Prometheus, on loopback; `None`: nowhere.
    #[serde(default)]
    pub metrics: Option<SocketAddr>,
    /// Where addresses are on the earth, for Route 53's policies: a file in MaxMind's format; `None`: unknown.
    #[serde(default)]
    pub geography: Option<PathBuf>,
    /// Who is asked about names outside, by TLS; empty: the host's resolvers.
    #[serde(default)]
    pub tls_resolvers: Vec<TlsResolver>,
    /// Whether accounts may call only as often as AWS says.
    #[serde(default)]
    pub request_rates: bool,
    /// State is kept in memory only and `POST /_fogbank/reset` is served.
    pub ephemeral: bool,
}

/// The IPv6 pool that goes with an IPv4 pool, so that two regions of one host differ in both: a /48
/// of the block for documentation (RFC 3849), which nobody has on the internet.
pub fn public_cidr_v6_beside(public_cidr: Ipv4Cidr) -> Ipv6Cidr {
    let [_, second, third, _] = public_cidr.base().octets();
    let part = u16::from_be_bytes([second, third]);
    let base = Ipv6Addr::new(0x2001, 0xdb8, part, 0, 0, 0, 0, 0);
    Ipv6Cidr::containing(base, 48).expect("48 is below 128")
}

/// Not in a block for special use (RFC 5735, RFC 6598).
fn is_global_v4(address: Ipv4Addr) -> bool {
    let special = [
        (Ipv4Addr::new(0, 0, 0, 0), 8),
        (Ipv4Addr::new(10, 0, 0, 0), 8),
        (Ipv4Addr::new(100, 64, 0, 0), 10),
        (Ipv4Addr::new(127, 0, 0, 0), 8),
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        (Ipv4Addr::new(172, 16, 0, 0), 12),
        (Ipv4Addr::new(192, 0, 0, 0), 24),
        (Ipv4Addr::new(192, 0, 2, 0), 24),
        (Ipv4Addr::new(192, 88, 99, 0), 24),
        (Ipv4Addr::new(192, 168, 0, 0), 16),
        (Ipv4Addr::new(198, 18, 0, 0), 15),
        (Ipv4Addr::new(198, 51, 100, 0), 24),
        (Ipv4Addr::new(203, 0, 113, 0), 24),
        (Ipv4Addr::new(224, 0, 0, 0), 3),
    ];
    !special
        .iter()
        .any(|(base, length)| (address.to_bits() ^ base.to_bits()) >> (32 - length) == 0)
}

/// Global unicast, without what is for documentation, tests and tunnels (RFC 5156).
fn is_global_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let special = matches!((first, second), (0x2001, 0..=0x1ff | 0xdb8) | (0x2002, _));
    first & 0xe000 == 0x2000 && !special
}

fn public_cidr_v6() -> Ipv6Cidr {
    public_cidr_v6_beside("198.18.0.0/16".parse().expect("a literal"))
}

impl RegionConfig {
    /// Where AWS's services answer in this region's public pool, of which the first sixteen are
    /// never given away: one address for all but the two that gateway endpoints serve.
    pub fn service_address(&self, service: &AwsService) -> Ipv4Addr {
        let offset = match service.endpoint {
            "s3" => 9,
            "dynamodb" => 10,
            _ => 8,
        };
        Ipv4Addr::from_bits(self.public_cidr.base().to_bits() + offset)
    }

    /// The same, of IPv6.
    pub fn service_address_v6(&self, service: &AwsService) -> Ipv6Addr {
        let v4 = self.service_address(service).to_bits() - self.public_cidr.base().to_bits();
        Ipv6Addr::from_bits(self.public_cidr_v6.base().to_bits() + u128::from(v4))
    }

    /// All of those addresses, without repetition.
    pub fn service_addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let base = self.public_cidr.base().to_bits();
        (8..=10).map(move |offset| Ipv4Addr::from_bits(base + offset))
    }

    /// Where Route 53's health checkers speak from: sixteen addresses of the public pool that are never given away, in
    /// two blocks.
    pub fn checker_blocks(&self) -> [Ipv4Cidr; 2] {
        let pool = self.public_cidr;
        let last = pool.last().to_bits() - 15;
        [pool.base(), Ipv4Addr::from_bits(last)]
            .map(|base| Ipv4Cidr::containing(base, 29).expect("29 is below 32"))
    }

    /// The same of IPv6: one block, in the services' own.
    pub fn checker_block_v6(&self) -> Ipv6Cidr {
        let base = self.public_cidr_v6.base().to_bits() + 0x100;
        Ipv6Cidr::containing(Ipv6Addr::from_bits(base), 124).expect("124 is below 128")
    }

    /// Each checker's addresses: the first eight are the first ones of their regions, the others the second ones.
    pub fn checker_addresses(&self) -> Vec<(Ipv4Addr, Ipv6Addr)> {
        let v6 = self.checker_block_v6().base().to_bits();
        let blocks = self.checker_blocks().into_iter();
        let v4 = blocks.flat_map(|block| (0..8).map(move |n| block.base().to_bits() + n));
        v4.zip(v6..)
            .map(|(v4, v6)| (Ipv4Addr::from_bits(v4), Ipv6Addr::from_bits(v6)))
            .collect()
    }

    /// Whether somebody on the internet can be at an address, as far as this region is concerned: its own public
    /// pools are in blocks for tests and documentation.
    pub fn is_public(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.public_cidr.contains(address) || is_global_v4(address),
            IpAddr::V6(address) => self.public_cidr_v6.contains(address) || is_global_v6(address),
        }
    }

    /// A quota by its name here, or AWS's default.
    pub fn quota(&self, name: &str, default: u32) -> usize {
        self.quotas.get(name).copied().unwrap_or(default) as usize
    }

    /// AWS's duration in ms at this region's speed; at least 1 ms unless it is zero.
    pub fn scaled_ms(&self, duration_ms: u64) -> u64 {
        if duration_ms == 0 {
            0
        } else {
            ((duration_ms as f64 / self.speed) as u64).max(1)
        }
    }

    /// The API without proof of who calls, for the host's root: `control` serves it, the command line and the node call.
    pub fn operator_socket(&self) -> PathBuf {
        self.run_dir.join("operator.sock")
    }

    /// The API for the doors inside the network, which speak TLS themselves: without TLS, with every proof that the
    /// endpoint asks for.
    pub fn door_socket(&self) -> PathBuf {
        self.run_dir.join("door.sock")
    }

    /// `https://127.0.0.1:4566`
    pub fn endpoint_url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.endpoint)
    }

    /// What the rows on the disk are sealed with.
    pub fn store_key(&self) -> PathBuf {
        self.data_dir.join("store.key")
    }

    /// The store's socket, served by `control`.
    pub fn store_socket(&self) -> PathBuf {
        self.run_dir.join("store.sock")
    }

    /// Blobs of images by digest.
    pub fn blobs_dir(&self) -> PathBuf {
        self.data_dir.join("blobs")
    }

    /// Log events, a folder a stream.
    pub fn logs_dir(&self) -> PathBuf {
        self.data_dir.join("logs")
    }

    /// Name of the network namespace for the last part of a resource's id.
    pub fn namespace(&self, tail: &str) -> String {
        format!("fog-{}-{tail}", self.instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_by_tls_is_an_address_and_a_name() {
        let good = |text: &str| text.parse::<TlsResolver>().map(String::from).unwrap();
        assert_eq!(
            good("192.0.2.1#dns.example.com"),
            "192.0.2.1:853#dns.example.com"
        );
        assert_eq!(good("[2001:db8::1]:8853#a.b"), "[2001:db8::1]:8853#a.b");
        assert_eq!(good("2001:db8::1#a.b"), "[2001:db8::1]:853#a.b");
        for bad in [
            "",
            "192.0.2.1",
            "#a",
            "192.0.2.1#",
            "a#b",
            "192.0.2.1:x#a",
            "192.0.2.1#a b",
        ] {
            assert!(bad.parse::<TlsResolver>().is_err(), "{bad}");
        }
    }
}
