//! The kernel's side of one VPC: its connections' counters, their ends, and the packets that its gates logged.
//!
//! Nothing wakes us for a packet or a connection: what the kernel tells waits in the sockets until the worker comes by.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use fogbank_net::apply::{conntrack, nflog};

use super::GROUP;

/// Devices by index that are remembered; they come and go with their interfaces.
const MOST_DEVICES: usize = 4096;
/// Messages taken in one go. A guest that floods a gate keeps one tick in five busy at most; what the sockets cannot
/// hold meanwhile is skipped.
const MOST_MESSAGES: usize = 20_000;

pub struct Watch {
    connections: conntrack::Reader,
    ends: conntrack::Ends,
    packets: nflog::Reader,
    devices: HashMap<u32, String>,
    /// Of the namespace, to know when it was replaced.
    inode: u64,
}

impl Watch {
    pub fn open(namespace: &Path) -> io::Result<Self> {
        Ok(Self {
            inode: std::fs::metadata(namespace)?.ino(),
            // First, so that the kernel keeps events for connections from now on.
            ends: conntrack::Ends::open(namespace)?,
            packets: nflog::Reader::open(namespace, GROUP)?,
            connections: conntrack::Reader::open(namespace)?,
            devices: HashMap::new(),
        })
    }

    /// Whether it is the namespace at that path still.
    pub fn is_of(&self, namespace: &Path) -> bool {
        std::fs::metadata(namespace).is_ok_and(|found| found.ino() == self.inode)
    }

    /// Hands over the packets that were logged; `false` if some were lost.
    pub fn packets(&mut self, mut take: impl FnMut(&nflog::Packet, &str, &str)) -> bool {
        let (mut whole, mut taken) = (true, 0);
        while taken < MOST_MESSAGES {
            match self.packets.next(Duration::ZERO) {
                Ok(events) if events.is_empty() => return whole,
                Ok(events) => {
                    taken += events.len();
                    for event in events {
                        match event {
                            nflog::Event::Skipped => whole = false,
                            nflog::Event::Logged(packet) => {
                                let device_in = self.device(packet.device_in);
                                let device_out = self.device(packet.device_out);
                                take(&packet, &device_in, &device_out);
                            }
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "read logged packets");
                    return false;
                }
            }
        }
        whole
    }

    /// A device that is gone has no name.
    fn device(&mut self, index: Option<u32>) -> String {
        let Some(index) = index else {
            return String::new();
        };
        if let Some(name) = self.devices.get(&index) {
            return name.clone();
        }
        let name = self.packets.device(index).unwrap_or_default();
        if self.devices.len() >= MOST_DEVICES {
            self.devices.clear();
        }
        self.devices.insert(index, name.clone());
        name
    }

    /// Hands over the connections that ended; `false` if some were lost.
    pub fn ends(&mut self, mut take: impl FnMut(&conntrack::Connection)) -> bool {
        let (mut whole, mut taken) = (true, 0);
        while taken < MOST_MESSAGES {
            match self.ends.next(Duration::ZERO) {
                Ok(events) if events.is_empty() => return whole,
                Ok(events) => {
                    taken += events.len();
                    for event in events {
                        match event {
                            conntrack::Event::Skipped => whole = false,
                            conntrack::Event::Ended(connection) => take(&connection),
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "read connections' ends");
                    return false;
                }
            }
        }
        whole
    }

    /// Hands over the living connections, and sets their counters to zero: what was counted is told once, here or at
    /// the end, and survives us until then. `false` if the kernel refused.
    pub fn connections(&mut self, mut take: impl FnMut(&conntrack::Connection)) -> bool {
        match self.connections.take_counters() {
            Ok(connections) => {
                connections.iter().for_each(&mut take);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "read connections");
                false
            }
        }
    }
}
