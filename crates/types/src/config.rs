//! What every process of a region must know; written once by `fogbank up` to `<run>/region.json`.

use crate::aws_service::AwsService;
use crate::{Ipv4Cidr, Ipv6Cidr};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
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
    /// The API endpoint, loopback only until authentication is enforced.
    pub endpoint: SocketAddr,
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
