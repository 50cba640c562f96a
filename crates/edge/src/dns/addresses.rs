//! The addresses that a name stands for, of both families. Used by `tables`, `balancer` and `services`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::kind::Kind;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    pub v4: Vec<Ipv4Addr>,
    pub v6: Vec<Ipv6Addr>,
}

impl Addresses {
    /// The kind and the values of the answer to a question; `ANY` gets one set (RFC 8482).
    pub fn values(&self, kind: Kind) -> (Kind, Vec<Arc<[u8]>>) {
        let v4 = || self.v4.iter().map(|a| a.octets().as_slice().into());
        let v6 = || self.v6.iter().map(|a| a.octets().as_slice().into());
        match kind {
            Kind::A => (kind, v4().collect()),
            Kind::AAAA => (kind, v6().collect()),
            Kind::ANY if self.v4.is_empty() => (Kind::AAAA, v6().collect()),
            Kind::ANY => (Kind::A, v4().collect()),
            _ => (kind, Vec::new()),
        }
    }
}

impl Extend<IpAddr> for Addresses {
    fn extend<T: IntoIterator<Item = IpAddr>>(&mut self, all: T) {
        for address in all {
            match address {
                IpAddr::V4(address) => self.v4.push(address),
                IpAddr::V6(address) => self.v6.push(address),
            }
        }
    }
}
