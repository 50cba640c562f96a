//! How a client came to a door of AWS's services. The door says it to the API ahead of the first request of a connection.
//!
//! The form is HAProxy's PROXY protocol, version 2, with AWS's own extension for interface endpoints, as its network load
//! balancers write it: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>,
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/network/edit-target-group-attributes.html#proxy-protocol>.
//! `edge` writes it, `control` reads it. What must stay true: nothing that a client sends gets into it.

use crate::VpcEndpointId;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, a connection of somebody else's.
const PROXIED: u8 = 0x21;
const TCP_V4: u8 = 0x11;
const TCP_V6: u8 = 0x21;
/// The record that says how TLS was spoken; its first byte has a bit for whether it was.
const TLS_RECORD: u8 = 0x20;
const TLS_SPOKEN: u8 = 0x01;
/// AWS's own record, and in it the id of an endpoint.
const AWS_RECORD: u8 = 0xea;
const AWS_ENDPOINT: u8 = 0x01;

/// Until this many bytes of a header have come, its length is not known.
pub const HEAD_BYTES: usize = 16;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub client: SocketAddr,
    pub is_tls: bool,
    /// The interface endpoint that it came through.
    pub endpoint: Option<VpcEndpointId>,
}

impl Arrival {
    pub fn header(&self) -> Vec<u8> {
        let mut content = match self.client.ip() {
            IpAddr::V4(address) => [address.octets(), Ipv4Addr::UNSPECIFIED.octets()].concat(),
            IpAddr::V6(address) => [address.octets(), Ipv6Addr::UNSPECIFIED.octets()].concat(),
        };
        content.extend(self.client.port().to_be_bytes());
        content.extend([0, 0]);
        let spoken = if self.is_tls { TLS_SPOKEN } else { 0 };
        record(&mut content, TLS_RECORD, &[spoken, 0, 0, 0, 0]);
        if let Some(endpoint) = &self.endpoint {
            let value = [&[AWS_ENDPOINT], endpoint.as_str().as_bytes()].concat();
            record(&mut content, AWS_RECORD, &value);
        }
        let family = if self.client.is_ipv4() {
            TCP_V4
        } else {
            TCP_V6
        };
        let mut header = SIGNATURE.to_vec();
        header.extend([PROXIED, family]);
        header.extend(length(content.len()));
        header.extend(content);
        header
    }

    /// How long a header is behind its first [`HEAD_BYTES`]; `None`: they do not begin one.
    pub fn rest_bytes(head: &[u8; HEAD_BYTES]) -> Option<usize> {
        let is_ours = head.starts_with(SIGNATURE) && head[12] == PROXIED;
        is_ours.then(|| usize::from(u16::from_be_bytes([head[14], head[15]])))
    }

    /// From a whole header.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let (head, content) = header.split_first_chunk::<HEAD_BYTES>()?;
        if Self::rest_bytes(head)? != content.len() {
            return None;
        }
        let (address, rest): (IpAddr, _) = match head[13] {
            TCP_V4 => {
                let (source, rest) = content.split_first_chunk::<4>()?;
                ((*source).into(), rest.get(4..)?)
            }
            TCP_V6 => {
                let (source, rest) = content.split_first_chunk::<16>()?;
                ((*source).into(), rest.get(16..)?)
            }
            _ => return None,
        };
        let ([high, low, _, _], mut rest) = rest.split_first_chunk::<4>()?;
        let mut arrival = Self {
            client: SocketAddr::new(address, u16::from_be_bytes([*high, *low])),
            is_tls: false,
            endpoint: None,
        };
        while let Some(([kind, high, low], behind)) = rest.split_first_chunk::<3>() {
            let bytes = usize::from(u16::from_be_bytes([*high, *low]));
            let (value, behind) = behind.split_at_checked(bytes)?;
            match (*kind, value) {
                (TLS_RECORD, [client, ..]) => arrival.is_tls = client & TLS_SPOKEN != 0,
                (AWS_RECORD, [AWS_ENDPOINT, id @ ..]) => {
                    let id = std::str::from_utf8(id).ok()?;
                    arrival.endpoint = Some(VpcEndpointId::parse(id).ok()?);
                }
                _ => {}
            }
            rest = behind;
        }
        rest.is_empty().then_some(arrival)
    }
}

fn record(content: &mut Vec<u8>, kind: u8, value: &[u8]) {
    content.push(kind);
    content.extend(length(value.len()));
    content.extend(value);
}

fn length(bytes: usize) -> [u8; 2] {
    let bytes = u16::try_from(bytes).expect("a header holds two addresses and two short records");
    bytes.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(client: &str, endpoint: Option<u128>) -> Arrival {
        Arrival {
            client: client.parse().unwrap(),
            is_tls: true,
            endpoint: endpoint.map(VpcEndpointId::from_bits),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for one in [
            arrival("10.0.1.7:4000", Some(7)),
            arrival("198.18.0.17:1", None),
            arrival("[2001:db8::1]:65535", Some(9)),
        ] {
            let header = one.header();
            let head = header.first_chunk().unwrap();
            assert_eq!(
                Arrival::rest_bytes(head),
                Some(header.len() - HEAD_BYTES),
                "{one:?}"
            );
            assert_eq!(Arrival::parse(&header), Some(one));
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_protocol() {
        let header = Arrival {
            is_tls: false,
            ..arrival("10.0.0.1:258", None)
        }
        .header();
        let mut expected =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14\x0a\0\0\x01\0\0\0\0\x01\x02\0\0".to_vec();
        expected.extend(b"\x20\0\x05\0\0\0\0\0");
        assert_eq!(header, expected);
    }

    #[test]
    fn what_is_cut_or_is_none_is_refused() {
        let header = arrival("10.0.1.7:4000", Some(7)).header();
        for end in 0..header.len() {
            assert_eq!(Arrival::parse(&header[..end]), None, "{end} bytes");
        }
        let request = b"POST / HTTP/1.1\r";
        assert_eq!(Arrival::rest_bytes(request), None);
        let mut other = header.clone();
        let last = other.len() - 1;
        other[last] = b'!';
        assert_eq!(Arrival::parse(&other), None, "an id that is none");
    }
}
