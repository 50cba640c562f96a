//! What a security group rule or network ACL entry is about: protocol, ports, ICMP types.

use serde::{Deserialize, Serialize};

/// An inclusive range of TCP or UDP ports; `from <= to` always holds.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u16, u16)", into = "(u16, u16)")]
pub struct PortRange {
    from: u16,
    to: u16,
}

impl PortRange {
    pub const ALL: Self = Self {
        from: 0,
        to: u16::MAX,
    };

    /// `None` if `from > to`.
    pub fn new(from: u16, to: u16) -> Option<Self> {
        (from <= to).then_some(Self { from, to })
    }

    pub fn from(self) -> u16 {
        self.from
    }

    pub fn to(self) -> u16 {
        self.to
    }

    pub fn contains(self, port: u16) -> bool {
        (self.from..=self.to).contains(&port)
    }
}

impl TryFrom<(u16, u16)> for PortRange {
    type Error = String;
    fn try_from((from, to): (u16, u16)) -> Result<Self, String> {
        Self::new(from, to).ok_or_else(|| format!("port range {from}-{to} is reversed"))
    }
}

impl From<PortRange> for (u16, u16) {
    fn from(range: PortRange) -> Self {
        (range.from, range.to)
    }
}

/// The traffic that a rule names. Facts SG-7, SG-8, ACL-5.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Traffic {
    /// Protocol -1: every protocol and port.
    All,
    Tcp(PortRange),
    Udp(PortRange),
    /// ICMP for IPv4; `None` = any type or any code. A code without a type cannot be said.
    Icmp(Option<(u8, Option<u8>)>),
    /// ICMP for IPv6, likewise.
    Icmpv6(Option<(u8, Option<u8>)>),
    /// Any other IP protocol number, without ports. Never 1, 6, 17 or 58.
    Protocol(u8),
}

impl Traffic {
    /// IANA's protocol number; `None` for all.
    pub fn protocol_number(self) -> Option<u8> {
        match self {
            Self::All => None,
            Self::Icmp(_) => Some(1),
            Self::Tcp(_) => Some(6),
            Self::Udp(_) => Some(17),
            Self::Icmpv6(_) => Some(58),
            Self::Protocol(number) => Some(number),
        }
    }

    /// As AWS writes it in replies of security groups: tcp, udp, icmp, icmpv6, a number, or -1.
    pub fn protocol_name(self) -> String {
        match self {
            Self::All => "-1".to_owned(),
            Self::Icmp(_) => "icmp".to_owned(),
            Self::Tcp(_) => "tcp".to_owned(),
            Self::Udp(_) => "udp".to_owned(),
            Self::Icmpv6(_) | Self::Protocol(58) => "icmpv6".to_owned(),
            Self::Protocol(number) => number.to_string(),
        }
    }
}
