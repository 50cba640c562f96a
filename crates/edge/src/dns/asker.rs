//! Who asks, from where, and the dice that are thrown for him. Made by `responder` for every question.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The client subnet of a question (RFC 7871): for whom a resolver asks.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// As it came: 1 is IPv4, 2 is IPv6; 0 with no bits at all.
    pub family: u16,
    /// Its bits after the prefix are zero.
    pub address: IpAddr,
    /// How many bits of it are given.
    pub source: u8,
}

/// Of longer prefixes, the rest is not looked at.
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/routing-policy-edns0.html>
const MAX_V4: u8 = 24;
const MAX_V6: u8 = 48;

impl Subnet {
    /// The value of the option; `None` if it is malformed (RFC 7871, section 6 and 7.1.2).
    pub fn read(value: &[u8]) -> Option<Self> {
        let (head, bytes) = value.split_first_chunk::<4>()?;
        let family = u16::from_be_bytes([head[0], head[1]]);
        let (source, scope) = (head[2], head[3]);
        let address: IpAddr = match family {
            0 if source == 0 => Ipv4Addr::UNSPECIFIED.into(),
            1 if source <= 32 => Ipv4Addr::from(padded(bytes)?).into(),
            2 if source <= 128 => Ipv6Addr::from(padded(bytes)?).into(),
            _ => return None,
        };
        let is_whole = bytes.len() == usize::from(source).div_ceil(8);
        let has_rest = truncated(address, source) != address;
        (scope == 0 && is_whole && !has_rest).then_some(Self {
            family,
            address,
            source,
        })
    }

    /// The value of the option of a response.
    pub fn write(&self, scope: u8, out: &mut Vec<u8>) {
        out.extend(self.family.to_be_bytes());
        out.extend([self.source, scope]);
        let length = usize::from(self.source).div_ceil(8);
        match self.address {
            IpAddr::V4(address) => out.extend(&address.octets()[..length]),
            IpAddr::V6(address) => out.extend(&address.octets()[..length]),
        }
    }

    /// Octets of the value.
    pub fn length(&self) -> usize {
        4 + usize::from(self.source).div_ceil(8)
    }

    /// How many of its bits an answer may depend on.
    fn used(&self) -> u8 {
        match self.address {
            IpAddr::V4(_) => self.source.min(MAX_V4),
            IpAddr::V6(_) => self.source.min(MAX_V6),
        }
    }
}

fn padded<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let mut all = [0; N];
    all.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(all)
}

/// The first bits of an address, the others zero.
pub fn truncated(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32)));
            Ipv4Addr::from_bits(v4.to_bits() & mask.unwrap_or(0)).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128)));
            Ipv6Addr::from_bits(v6.to_bits() & mask.unwrap_or(0)).into()
        }
    }
}

/// See the module.
pub struct Asker<'a> {
    /// Where the packet came from.
    source: Option<IpAddr>,
    subnet: Option<Subnet>,
    /// A number below the one given, each as likely.
    dice: &'a dyn Fn(u64) -> u64,
    /// Whether the answer depends on where he is.
    located: Cell<bool>,
}

impl<'a> Asker<'a> {
    pub fn new(
        source: Option<IpAddr>,
        subnet: Option<Subnet>,
        dice: &'a dyn Fn(u64) -> u64,
    ) -> Self {
        Self {
            source: source.map(|address| address.to_canonical()),
            subnet,
            dice,
            located: Cell::new(false),
        }
    }

    pub fn throw(&self, below: u64) -> u64 {
        (self.dice)(below)
    }

    /// The address that stands for him and how many of its bits are known. From now on the answer is his alone.
    pub fn locate(&self) -> Option<(IpAddr, u8)> {
        self.located.set(true);
        // No bits: the resolver keeps its client to itself, and counts for itself.
        if let Some(subnet) = self.subnet.filter(|subnet| subnet.source > 0) {
            let bits = subnet.used();
            return Some((truncated(subnet.address, bits), bits));
        }
        let whole = |address: IpAddr| (address, if address.is_ipv4() { 32 } else { 128 });
        self.source.map(whole)
    }

    /// For how long a prefix the answer holds, if the question gave a subnet.
    pub fn scope(&self) -> Option<u8> {
        let subnet = self.subnet?;
        Some(if self.located.get() { subnet.used() } else { 0 })
    }
}

impl Default for Asker<'_> {
    /// Nobody in particular, whom the dice always give the first.
    fn default() -> Self {
        Asker::new(None, None, &|_| 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_read_and_written_back() {
        let value = [0, 1, 20, 0, 192, 0, 32];
        let subnet = Subnet::read(&value).unwrap();
        assert_eq!(subnet.address, IpAddr::from([192, 0, 32, 0]));
        let mut out = Vec::new();
        subnet.write(20, &mut out);
        assert_eq!(out, [0, 1, 20, 20, 192, 0, 32]);
        assert_eq!(out.len(), subnet.length());
        assert!(Subnet::read(&[0, 0, 0, 0]).is_some());
    }

    #[test]
    fn a_malformed_subnet_is_none() {
        for bad in [
            &[0, 1, 24][..],
            // Bits after the prefix, a scope in a question, too few and too many octets, an unknown family.
            &[0, 1, 20, 0, 192, 0, 33],
            &[0, 1, 24, 1, 192, 0, 2],
            &[0, 1, 24, 0, 192, 0],
            &[0, 1, 16, 0, 192, 0, 0],
            &[0, 1, 33, 0, 192, 0, 2, 1, 0],
            &[0, 3, 8, 0, 1],
        ] {
            assert_eq!(Subnet::read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_so_much_of_a_subnet_is_looked_at_as_aws_does() {
        let subnet = Subnet::read(&[0, 1, 32, 0, 192, 0, 2, 7]);
        let asker = Asker::new(None, subnet, &|_| 0);
        assert_eq!(asker.scope(), Some(0));
        assert_eq!(asker.locate(), Some((IpAddr::from([192, 0, 2, 0]), 24)));
        assert_eq!(asker.scope(), Some(24));
    }
}
