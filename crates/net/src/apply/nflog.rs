//! nfnetlink_log: packets that a firewall's `Action::Log` tells of, for the flow logs.
//!
//! One reader a group and namespace: the kernel refuses a second (`EBUSY`) until the first is closed.
//! Messages are gathered by the kernel and come at the latest after `FLUSH_TIME`. A rule logs only
//! the beginning of a packet, which is enough for its headers. Constants are those of
//! `linux/netfilter/nfnetlink_log.h`.

use super::netlink::{Message, Socket, attributes};
use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

const SUBSYSTEM: u16 = 4 << 8;
const PACKET: u16 = 0;
const CONFIG: u16 = 1;

const CONFIG_COMMAND: u16 = 1;
const CONFIG_MODE: u16 = 2;
const CONFIG_TIMEOUT: u16 = 4;
const BIND: u8 = 1;
const COPY_PACKET: u8 = 2;

const TIMESTAMP: u16 = 3;
const DEVICE_IN: u16 = 4;
const DEVICE_OUT: u16 = 5;
const PAYLOAD: u16 = 9;
const PREFIX: u16 = 10;

/// How long the kernel may gather packets before it tells of them.
pub const FLUSH_TIME: Duration = Duration::from_millis(100);
/// At most that much of a packet is copied, whatever the rule says.
const COPIED_BYTES: u32 = 256;
/// Room for some 100,000 packets that nobody has read yet.
const PACKETS_BYTES: i32 = 64 << 20;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// A packet that was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// As the rule has it.
    pub prefix: String,
    /// Indexes in the reader's namespace, see `Reader::device`.
    pub device_in: Option<u32>,
    pub device_out: Option<u32>,
    /// When it was received, in ns since the epoch; the kernel knows it of few packets.
    pub received_ns: Option<u64>,
    pub headers: Headers,
}

/// What the headers of an IP packet say.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// IANA's number; of IPv6 the one after the extension headers.
    pub protocol: u8,
    /// Of the whole packet, by its header.
    pub bytes: u32,
    /// Of TCP and UDP; 0 for others and for fragments but the first.
    pub source_port: u16,
    pub destination_port: u16,
    /// FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32.
    pub tcp_flags: u8,
    /// Type and code of both ICMPs.
    pub icmp: Option<(u8, u8)>,
}

/// What a reader hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Logged(Packet),
    /// The reader was too slow: the kernel has dropped some packets' messages here.
    Skipped,
}

/// Hears one group of one namespace.
pub struct Reader {
    socket: Socket,
    /// For the names of devices; in the same namespace.
    namespace: std::fs::File,
}

impl Reader {
    /// From now on what `Action::Log` of that group says in the namespace at that path.
    pub fn open(namespace: &Path, group: u16) -> io::Result<Self> {
        let mut socket = super::in_namespace(namespace, || Socket::open(libc::NETLINK_NETFILTER))??;
        socket.reserve(PACKETS_BYTES)?;
        let [high, low] = group.to_be_bytes();
        let header = [0, 0, high, low];
        let mut bind = Message::new(SUBSYSTEM | CONFIG, 0, &header);
        bind.u8(CONFIG_COMMAND, BIND);
        let mut mode = Message::new(SUBSYSTEM | CONFIG, 0, &header);
        let [a, b, c, d] = COPIED_BYTES.to_be_bytes();
        mode.attribute(CONFIG_MODE, &[a, b, c, d, COPY_PACKET, 0]);
        // In hundredths of a second.
        mode.be32(CONFIG_TIMEOUT, FLUSH_TIME.as_millis() as u32 / 10);
        for outcome in socket.exchange(vec![bind, mode])? {
            outcome.map_err(|refusal| io::Error::from_raw_os_error(refusal.errno))?;
        }
        let namespace = std::fs::File::open(namespace)?;
        Ok(Self { socket, namespace })
    }

    /// Makes room for that many bytes instead of the usual 64 MiB.
    pub fn limit(&self, bytes: i32) -> io::Result<()> {
        self.socket.reserve(bytes)
    }

    /// The next packets, in order; empty if there are none within that time.
    pub fn next(&mut self, wait: Duration) -> io::Result<Vec<Event>> {
        match self.socket.next(wait) {
            Ok(messages) => Ok(messages
                .iter()
                .filter(|(kind, _)| *kind == SUBSYSTEM | PACKET)
                .filter_map(|(_, payload)| packet(payload))
                .map(Event::Logged)
                .collect()),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(vec![Event::Skipped]),
            Err(error) => Err(error),
        }
    }

    /// The name of a device of the namespace; `NotFound` if it is gone. Starts a thread: keep what it says.
    pub fn device(&self, index: u32) -> io::Result<String> {
        super::in_open_namespace(&self.namespace, || super::namespace::device_name(index))?
    }
}

impl std::os::fd::AsFd for Reader {
    /// Readable when there is a packet.
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn packet(message: &[u8]) -> Option<Packet> {
    let (mut prefix, mut headers) = (String::new(), None);
    let (mut device_in, mut device_out, mut received_ns) = (None, None, None);
    let word = |value: &[u8]| value.try_into().ok().map(u32::from_be_bytes);
    let long = |value: &[u8]| value.try_into().ok().map(u64::from_be_bytes);
    for (kind, value) in attributes(message.get(4..)?) {
        match kind {
            TIMESTAMP => {
                let (seconds, us) = (value.get(..8).and_then(long), value.get(8..).and_then(long));
                received_ns = seconds
                    .zip(us)
                    .map(|(seconds, us)| seconds * 1_000_000_000 + us * 1000);
            }
            DEVICE_IN => device_in = word(value),
            DEVICE_OUT => device_out = word(value),
            PAYLOAD => headers = parse(value),
            PREFIX => {
                let text = CStr::from_bytes_until_nul(value).map(CStr::to_bytes);
                prefix = String::from_utf8_lossy(text.unwrap_or(value)).into_owned();
            }
            _ => {}
        }
    }
    Some(Packet {
        prefix,
        device_in,
        device_out,
        received_ns,
        headers: headers?,
    })
}

/// The headers of an IP packet of either family, of which the end may be missing; `None` if what is
/// there is no IP header.
pub fn parse(packet: &[u8]) -> Option<Headers> {
    match packet.first()? >> 4 {
        4 => parse_v4(packet),
        6 => parse_v6(packet),
        _ => None,
    }
}

fn pair(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn parse_v4(packet: &[u8]) -> Option<Headers> {
    const OFFSET: u16 = 0x1fff;
    let header = packet.get(..20)?;
    let address = |at: usize| {
        let octets: [u8; 4] = header.get(at..at + 4)?.try_into().ok()?;
        Some(IpAddr::V4(Ipv4Addr::from(octets)))
    };
    let base = Headers {
        source: address(12)?,
        destination: address(16)?,
        protocol: header[9],
        bytes: u32::from(pair(header, 2)?),
        source_port: 0,
        destination_port: 0,
        tcp_flags: 0,
        icmp: None,
    };
    if pair(header, 6)? & OFFSET != 0 {
        return Some(base);
    }
    let length = usize::from(header[0] & 15) * 4;
    Some(transport(base, packet.get(length..).unwrap_or(&[])))
}

fn parse_v6(packet: &[u8]) -> Option<Headers> {
    const LENGTH: usize = 40;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    let header = packet.get(..LENGTH)?;
    let address = |at: usize| {
        let octets: [u8; 16] = header.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::V6(Ipv6Addr::from(octets)))
    };
    let mut headers = Headers {
        source: address(8)?,
        destination: address(24)?,
        protocol: header[6],
        bytes: u32::from(pair(header, 4)?) + LENGTH as u32,
        source_port: 0,
        destination_port: 0,
        tcp_flags: 0,
        icmp: None,
    };
    let mut rest = packet.get(LENGTH..).unwrap_or(&[]);
    loop {
        let length = match headers.protocol {
            // Hop by hop, routing, destination options; mobility, host identity, shim.
            0 | 43 | 60 | 135 | 139 | 140 => 8 + usize::from(rest.get(1).copied().unwrap_or(0)) * 8,
            FRAGMENT => 8,
            AUTHENTICATION => 8 + usize::from(rest.get(1).copied().unwrap_or(0)) * 4,
            _ => return Some(transport(headers, rest)),
        };
        let Some(next) = rest.first() else {
            return Some(headers);
        };
        let later_fragment =
            headers.protocol == FRAGMENT && pair(rest, 2).is_some_and(|field| field >> 3 != 0);
        headers.protocol = *next;
        rest = rest.get(length..).unwrap_or(&[]);
        if later_fragment {
            return Some(headers);
        }
    }
}

fn transport(mut headers: Headers, rest: &[u8]) -> Headers {
    match headers.protocol {
        TCP | UDP => {
            headers.source_port = pair(rest, 0).unwrap_or(0);
            headers.destination_port = pair(rest, 2).unwrap_or(0);
            if headers.protocol == TCP {
                headers.tcp_flags = rest.get(13).copied().unwrap_or(0);
            }
        }
        ICMP | ICMPV6 => headers.icmp = rest.first().copied().zip(rest.get(1).copied()),
        _ => {}
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(protocol: u8, fragment: u16, rest: &[u8]) -> Vec<u8> {
        let [high, low] = fragment.to_be_bytes();
        let mut packet = vec![0x46, 0, 0x05, 0xdc, 0, 0, high, low, 64, protocol, 0, 0];
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        // An option of four bytes.
        packet.extend([1, 1, 1, 0]);
        packet.extend(rest);
        packet
    }

    fn v6(next: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0x05, 0xb4, next, 64];
        packet.extend([0x20; 16]);
        packet.extend([0x30; 16]);
        packet.extend(rest);
        packet
    }

    const SYN: [u8; 20] = [
        0x30, 0x39, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0,
    ];

    #[test]
    fn ports_stand_after_the_options() {
        let headers = parse(&v4(TCP, 0, &SYN)).unwrap();
        assert_eq!((headers.source_port, headers.destination_port), (12345, 80));
        assert_eq!((headers.tcp_flags, headers.bytes), (2, 1500));
        assert_eq!(headers.destination, Ipv4Addr::new(10, 0, 0, 2));
    }

    #[test]
    fn later_fragments_have_no_ports() {
        let headers = parse(&v4(UDP, 0x2001, &SYN)).unwrap();
        assert_eq!((headers.protocol, headers.destination_port), (UDP, 0));
        let mut later = vec![TCP, 0, 0, 8, 0, 0, 0, 1];
        later.extend(SYN);
        let headers = parse(&v6(44, &later)).unwrap();
        assert_eq!((headers.protocol, headers.destination_port), (TCP, 0));
    }

    #[test]
    fn extension_headers_are_walked() {
        let mut rest = vec![60, 0, 0, 0, 0, 0, 0, 0];
        rest.extend([44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        rest.extend([ICMPV6, 0, 0, 1, 0, 0, 0, 1]);
        rest.extend([128, 7]);
        let headers = parse(&v6(0, &rest)).unwrap();
        assert_eq!((headers.protocol, headers.icmp), (ICMPV6, Some((128, 7))));
        assert_eq!(headers.bytes, 1500);
    }

    #[test]
    fn truncated_packets_are_no_panic() {
        let mut whole = v6(0, &[60, 0, 0, 0, 0, 0, 0, 0, TCP, 0, 0, 0, 0, 0, 0, 0]);
        whole.extend(SYN);
        for packet in [whole, v4(TCP, 0, &SYN)] {
            for length in 0..=packet.len() {
                let _ = parse(&packet[..length]);
            }
        }
        assert_eq!(parse(&[0x45; 19]), None);
        assert_eq!(parse(&[]), None);
    }
}
