//! The first packet of a connection, and what can become of it; common to `eval` and `reference`.

use fogbank_types::{EniId, VpcId};
use std::net::Ipv4Addr;

/// A packet that opens a connection.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    /// IANA's number: 1 ICMP, 6 TCP, 17 UDP.
    pub protocol: u8,
    /// Destination port of TCP and UDP; type * 256 + code of ICMP; else meaningless.
    pub detail: u16,
}

/// Where it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By the owner of an interface.
    Eni(EniId),
    /// By a client outside the region, which is the host.
    Outside,
}

/// Where it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// It reached that interface.
    Eni(EniId),
    /// The resolver or the metadata endpoints of that VPC.
    Platform(VpcId),
    /// It left the region.
    Outside,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Delivered {
        to: Endpoint,
        /// Source address on arrival.
        seen_as: Ipv4Addr,
    },
    /// Dropped, and by what.
    Dropped(String),
}

impl Fate {
    /// Without the reason for a drop, for comparison: rooms name their own reasons.
    pub fn delivery(&self) -> Option<(&Endpoint, Ipv4Addr)> {
        match self {
            Self::Delivered { to, seen_as } => Some((to, *seen_as)),
            Self::Dropped(_) => None,
        }
    }
}
