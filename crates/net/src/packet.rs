//! The first packet of a connection, and what can become of it; common to `eval` and `reference`.

use fogbank_types::{EniId, VpcId};
use std::net::IpAddr;

/// A packet that opens a connection. Both addresses are of one family.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// IANA's number: 1 ICMP, 6 TCP, 17 UDP, 58 ICMP for IPv6.
    pub protocol: u8,
    /// Destination port of TCP and UDP; type * 256 + code of both ICMPs; else meaningless.
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
    /// The front for AWS's services in the edge, at one of `RegionConfig::service_address`.
    Service(IpAddr),
    /// It left the region.
    Outside,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Delivered {
        to: Endpoint,
        /// Source address on arrival.
        seen_as: IpAddr,
    },
    /// Dropped, and by what.
    Dropped(String),
}

impl Fate {
    /// For comparison: without the reason for a drop, as rooms name their own, and without the
    /// source that AWS's services see, which only must lead back.
    pub fn delivery(&self) -> Option<(&Endpoint, Option<IpAddr>)> {
        match self {
            Self::Delivered {
                to: to @ Endpoint::Service(_),
                ..
            } => Some((to, None)),
            Self::Delivered { to, seen_as } => Some((to, Some(*seen_as))),
            Self::Dropped(_) => None,
        }
    }
}
