//! What every process of a region must know; written once by `fogbank up` to `<run>/region.json`.

use crate::Ipv4Cidr;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
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
    pub internet: InternetAccess,
    /// AWS's durations are divided by this (1 = real length).
    pub speed: f64,
    /// State is kept in memory only and `POST /_fogbank/reset` is served.
    pub ephemeral: bool,
}

impl RegionConfig {
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
