//! Address blocks of both families and MAC addresses that cannot hold a bad value.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Why a text is not an address block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    #[error("'{0}' is not an address block of the form a.b.c.d/n")]
    Malformed(String),
    #[error("'{0}' is not an IPv6 address block of the form a:b::/n")]
    MalformedV6(String),
}

/// An IPv4 block in canonical form: host bits are zero, length is 0 to 32.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ipv4Cidr {
    base: Ipv4Addr,
    length: u8,
}

impl Ipv4Cidr {
    /// The whole of IPv4.
    pub const ANY: Self = Self {
        base: Ipv4Addr::UNSPECIFIED,
        length: 0,
    };

    /// The block of `length` bits that holds `address`; host bits are cleared. `None` past 32.
    pub fn containing(address: Ipv4Addr, length: u8) -> Option<Self> {
        if length > 32 {
            return None;
        }
        Some(Self {
            base: Ipv4Addr::from_bits(address.to_bits() & mask(length)),
            length,
        })
    }

    /// The block of one address.
    pub fn host(address: Ipv4Addr) -> Self {
        Self {
            base: address,
            length: 32,
        }
    }

    pub fn base(self) -> Ipv4Addr {
        self.base
    }

    /// Prefix length, 0 to 32.
    pub fn length(self) -> u8 {
        self.length
    }

    pub fn netmask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask(self.length))
    }

    /// The last address.
    pub fn last(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.to_bits() | !mask(self.length))
    }

    /// How many addresses the block holds.
    pub fn size(self) -> u64 {
        1u64 << (32 - self.length)
    }

    /// The address `n` past the base, if inside the block.
    pub fn nth(self, n: u64) -> Option<Ipv4Addr> {
        (n < self.size()).then(|| Ipv4Addr::from_bits(self.base.to_bits() + n as u32))
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.length) == self.base.to_bits()
    }

    /// Whether `other` lies wholly inside this block.
    pub fn covers(self, other: Self) -> bool {
        self.length <= other.length && self.contains(other.base)
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

fn mask(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

impl FromStr for Ipv4Cidr {
    type Err = CidrError;

    /// Host bits are cleared, as AWS does (100.68.0.18/18 becomes 100.68.0.0/18).
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let malformed = || CidrError::Malformed(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(malformed)?;
        if length.is_empty() || length.len() > 2 || !length.bytes().all(|b| b.is_ascii_digit()) {
            return Err(malformed());
        }
        let address: Ipv4Addr = address.parse().map_err(|_| malformed())?;
        let length: u8 = length.parse().map_err(|_| malformed())?;
        Self::containing(address, length).ok_or_else(malformed)
    }
}

impl fmt::Display for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.length)
    }
}

impl fmt::Debug for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Ipv4Cidr {
    type Error = CidrError;
    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl From<Ipv4Cidr> for String {
    fn from(cidr: Ipv4Cidr) -> Self {
        cidr.to_string()
    }
}

/// An IPv6 block in canonical form: host bits are zero, length is 0 to 128.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ipv6Cidr {
    base: Ipv6Addr,
    length: u8,
}

impl Ipv6Cidr {
    /// The whole of IPv6.
    pub const ANY: Self = Self {
        base: Ipv6Addr::UNSPECIFIED,
        length: 0,
    };

    /// The block of `length` bits that holds `address`; host bits are cleared. `None` past 128.
    pub fn containing(address: Ipv6Addr, length: u8) -> Option<Self> {
        if length > 128 {
            return None;
        }
        Some(Self {
            base: Ipv6Addr::from_bits(address.to_bits() & mask_v6(length)),
            length,
        })
    }

    /// The block of one address.
    pub fn host(address: Ipv6Addr) -> Self {
        Self {
            base: address,
            length: 128,
        }
    }

    pub fn base(self) -> Ipv6Addr {
        self.base
    }

    /// Prefix length, 0 to 128.
    pub fn length(self) -> u8 {
        self.length
    }

    /// The last address.
    pub fn last(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.base.to_bits() | !mask_v6(self.length))
    }

    /// The address `n` past the base, if inside the block.
    pub fn nth(self, n: u128) -> Option<Ipv6Addr> {
        let inside = self.length == 0 || n < 1u128 << (128 - self.length);
        inside.then(|| Ipv6Addr::from_bits(self.base.to_bits() + n))
    }

    /// The `n`th block of `length` bits inside this one.
    pub fn subnet(self, length: u8, n: u128) -> Option<Self> {
        if length < self.length || length > 128 || length == 0 {
            return None;
        }
        let room = length - self.length;
        if room < 128 && n >= 1u128 << room {
            return None;
        }
        let base = self.base.to_bits() + (n << (128 - length));
        Self::containing(Ipv6Addr::from_bits(base), length)
    }

    pub fn contains(self, address: Ipv6Addr) -> bool {
        address.to_bits() & mask_v6(self.length) == self.base.to_bits()
    }

    /// Whether `other` lies wholly inside this block.
    pub fn covers(self, other: Self) -> bool {
        self.length <= other.length && self.contains(other.base)
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

fn mask_v6(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

impl FromStr for Ipv6Cidr {
    type Err = CidrError;

    /// Host bits are cleared.
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let malformed = || CidrError::MalformedV6(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(malformed)?;
        if length.is_empty() || length.len() > 3 || !length.bytes().all(|b| b.is_ascii_digit()) {
            return Err(malformed());
        }
        let address: Ipv6Addr = address.parse().map_err(|_| malformed())?;
        let length: u8 = length.parse().map_err(|_| malformed())?;
        Self::containing(address, length).ok_or_else(malformed)
    }
}

impl fmt::Display for Ipv6Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.length)
    }
}

impl fmt::Debug for Ipv6Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Ipv6Cidr {
    type Error = CidrError;
    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl From<Ipv6Cidr> for String {
    fn from(cidr: Ipv6Cidr) -> Self {
        cidr.to_string()
    }
}

/// A block of either family. The families never cover, contain or overlap one another.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum IpCidr {
    V4(Ipv4Cidr),
    V6(Ipv6Cidr),
}

impl IpCidr {
    /// The block of one address.
    pub fn host(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(Ipv4Cidr::host(address)),
            IpAddr::V6(address) => Self::V6(Ipv6Cidr::host(address)),
        }
    }

    /// The block of `length` bits that holds `address`; `None` past the family's length.
    pub fn containing(address: IpAddr, length: u8) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Ipv4Cidr::containing(address, length).map(Self::V4),
            IpAddr::V6(address) => Ipv6Cidr::containing(address, length).map(Self::V6),
        }
    }

    pub fn base(self) -> IpAddr {
        match self {
            Self::V4(block) => block.base().into(),
            Self::V6(block) => block.base().into(),
        }
    }

    pub fn last(self) -> IpAddr {
        match self {
            Self::V4(block) => block.last().into(),
            Self::V6(block) => block.last().into(),
        }
    }

    /// Prefix length in bits of its family.
    pub fn length(self) -> u8 {
        match self {
            Self::V4(block) => block.length(),
            Self::V6(block) => block.length(),
        }
    }

    pub fn is_ipv4(self) -> bool {
        matches!(self, Self::V4(_))
    }

    /// Whether it is the whole of its family.
    pub fn is_any(self) -> bool {
        self.length() == 0
    }

    pub fn v4(self) -> Option<Ipv4Cidr> {
        match self {
            Self::V4(block) => Some(block),
            Self::V6(_) => None,
        }
    }

    pub fn v6(self) -> Option<Ipv6Cidr> {
        match self {
            Self::V4(_) => None,
            Self::V6(block) => Some(block),
        }
    }

    pub fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4(block), IpAddr::V4(address)) => block.contains(address),
            (Self::V6(block), IpAddr::V6(address)) => block.contains(address),
            _ => false,
        }
    }

    /// Whether `other` lies wholly inside this block.
    pub fn covers(self, other: Self) -> bool {
        self.length() <= other.length() && self.contains(other.base())
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

impl From<Ipv4Cidr> for IpCidr {
    fn from(block: Ipv4Cidr) -> Self {
        Self::V4(block)
    }
}

impl From<Ipv6Cidr> for IpCidr {
    fn from(block: Ipv6Cidr) -> Self {
        Self::V6(block)
    }
}

impl FromStr for IpCidr {
    type Err = CidrError;
    fn from_str(text: &str) -> Result<Self, CidrError> {
        if text.contains(':') {
            text.parse().map(Self::V6)
        } else {
            text.parse().map(Self::V4)
        }
    }
}

impl fmt::Display for IpCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(block) => block.fmt(f),
            Self::V6(block) => block.fmt(f),
        }
    }
}

impl fmt::Debug for IpCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for IpCidr {
    type Error = CidrError;
    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl From<IpCidr> for String {
    fn from(cidr: IpCidr) -> Self {
        cidr.to_string()
    }
}

/// A MAC address.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for MacAddr {
    type Error = CidrError;
    fn try_from(text: String) -> Result<Self, CidrError> {
        let malformed = || CidrError::Malformed(text.clone());
        let mut bytes = [0u8; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts
                .next()
                .filter(|p| p.len() == 2)
                .ok_or_else(malformed)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| malformed())?;
        }
        if parts.next().is_some() {
            Err(malformed())
        } else {
            Ok(Self(bytes))
        }
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Ipv4Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn host_bits_are_cleared() {
        assert_eq!(cidr("100.68.0.18/18").to_string(), "100.68.0.0/18");
        assert_eq!(cidr("1.2.3.4/0"), Ipv4Cidr::ANY);
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "300.0.0.0/8",
            "10.0.0.0/+8",
            "10.0.0/8",
            "10.0.0.0/8 ",
            "::/0",
            "10.0.0.0/008",
        ] {
            assert!(text.parse::<Ipv4Cidr>().is_err(), "{text}");
        }
    }

    #[test]
    fn overlap_and_cover() {
        assert!(cidr("10.0.0.0/16").covers(cidr("10.0.1.0/24")));
        assert!(!cidr("10.0.1.0/24").covers(cidr("10.0.0.0/16")));
        assert!(cidr("10.0.1.0/24").overlaps(cidr("10.0.0.0/16")));
        assert!(!cidr("10.0.1.0/24").overlaps(cidr("10.0.2.0/24")));
        assert_eq!(cidr("10.0.0.0/28").last(), Ipv4Addr::new(10, 0, 0, 15));
        assert_eq!(cidr("10.0.0.0/28").nth(16), None);
    }

    #[test]
    fn ipv6_blocks_nest_and_count() {
        let block: Ipv6Cidr = "2001:2:0:ab12::1/56".parse().unwrap();
        assert_eq!(block.to_string(), "2001:2:0:ab00::/56");
        let subnet = block.subnet(64, 255).unwrap();
        assert_eq!(subnet.to_string(), "2001:2:0:abff::/64");
        assert!(block.covers(subnet) && !subnet.covers(block));
        assert_eq!(block.subnet(64, 256), None);
        assert_eq!(block.subnet(55, 0), None);
        assert_eq!(subnet.nth(5).unwrap().to_string(), "2001:2:0:abff::5");
        assert_eq!(Ipv6Cidr::ANY.to_string(), "::/0");
        for text in [
            "",
            "::",
            "::/129",
            "::/-1",
            "::/0000",
            "10.0.0.0/8",
            "g::/3",
        ] {
            assert!(text.parse::<Ipv6Cidr>().is_err(), "{text}");
        }
    }

    #[test]
    fn families_never_meet() {
        let [v4, v6]: [IpCidr; 2] = ["0.0.0.0/0", "::/0"].map(|text| text.parse().unwrap());
        assert!(!v4.overlaps(v6) && !v6.covers(v4));
        assert!(!v6.contains("10.0.0.1".parse().unwrap()));
        assert!(v4.contains("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn mac_round_trips() {
        let mac = MacAddr::try_from("02:00:0a:00:01:ff".to_owned()).unwrap();
        assert_eq!(mac.to_string(), "02:00:0a:00:01:ff");
        assert!(MacAddr::try_from("02:00:0a:00:01".to_owned()).is_err());
    }
}
