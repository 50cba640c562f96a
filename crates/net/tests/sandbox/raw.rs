//! Packets made and read byte by byte, as a guest with raw sockets can.

use super::{From, inside};
use fogbank_net::packet::Packet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMP: u8 = 1;
pub const ICMPV6: u8 = 58;

fn checked(fd: i32) -> OwnedFd {
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: a fresh descriptor is owned by us alone.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn socket(place: &From, domain: i32, kind: i32, protocol: i32) -> OwnedFd {
    inside(place, || {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers.
        checked(unsafe { libc::socket(domain, kind | flags, protocol) })
    })
}

/// A protocol of Ethernet as `socket` wants it.
fn all_protocols() -> i32 {
    i32::from((libc::ETH_P_ALL as u16).to_be())
}

/// Sends packets with their headers as they are; the kernel of the namespace routes them.
pub struct Sender {
    v4: OwnedFd,
    v6: OwnedFd,
}

impl Sender {
    pub fn open(place: &From) -> Self {
        let raw = |domain| socket(place, domain, libc::SOCK_RAW, libc::IPPROTO_RAW);
        Self {
            v4: raw(libc::AF_INET),
            v6: raw(libc::AF_INET6),
        }
    }

    /// Whether the kernel took it: without a route it does not, which is a drop too.
    pub fn send(&self, bytes: &[u8]) -> bool {
        let sent = match ends(bytes).expect("a packet").1 {
            IpAddr::V4(to) => {
                let to = libc::sockaddr_in {
                    sin_family: libc::AF_INET as u16,
                    sin_port: 0,
                    sin_addr: libc::in_addr {
                        s_addr: to.to_bits().to_be(),
                    },
                    sin_zero: [0; 8],
                };
                send_to(&self.v4, bytes, &to)
            }
            IpAddr::V6(to) => {
                // SAFETY: all zero is a value of it.
                let mut address: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
                address.sin6_family = libc::AF_INET6 as u16;
                address.sin6_addr.s6_addr = to.octets();
                send_to(&self.v6, bytes, &address)
            }
        };
        sent == bytes.len() as isize
    }
}

fn send_to<A>(fd: &OwnedFd, bytes: &[u8], to: &A) -> isize {
    // SAFETY: both pointers are to living values of the lengths given.
    unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            0,
            std::ptr::from_ref(to).cast(),
            size_of::<A>() as u32,
        )
    }
}

/// All that arrives at the devices of a namespace, before any firewall; and frames of one's own.
pub struct Wire {
    fd: OwnedFd,
}

impl Wire {
    pub fn open(place: &From) -> Self {
        let fd = socket(place, libc::AF_PACKET, libc::SOCK_RAW, all_protocols());
        let size: i32 = 16 << 20;
        // SAFETY: the pointer is to a living value of that length.
        unsafe {
            libc::setsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVBUFFORCE,
                (&raw const size).cast(),
                4,
            );
        }
        Self { fd }
    }

    /// The next frame that was meant for this end, with its Ethernet header.
    pub fn frame(&self) -> Option<Vec<u8>> {
        loop {
            let mut buffer = vec![0u8; 65536];
            // SAFETY: all zero is a value of it.
            let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
            let mut length = size_of::<libc::sockaddr_ll>() as u32;
            // SAFETY: both buffers live and are as long as said.
            let got = unsafe {
                libc::recvfrom(
                    self.fd.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    0,
                    (&raw mut from).cast(),
                    &raw mut length,
                )
            };
            if got < 0 {
                return None;
            }
            if from.sll_pkttype != libc::PACKET_OUTGOING {
                buffer.truncate(got as usize);
                return Some(buffer);
            }
        }
    }

    /// The IP packets among the frames so far.
    pub fn packets(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(frame) = self.frame() {
            let kind = u16::from_be_bytes([frame[12], frame[13]]);
            if matches!(kind, 0x0800 | 0x86dd) {
                all.push(frame[14..].to_vec());
            }
        }
        all
    }

    /// Sends a frame by `device` as it is.
    pub fn send(&self, place: &From, device: &str, frame: &[u8]) {
        let name = std::ffi::CString::new(device).unwrap();
        // SAFETY: a zero-terminated string.
        let index = inside(place, || unsafe { libc::if_nametoindex(name.as_ptr()) });
        // SAFETY: all zero is a value of it.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = index as i32;
        to.sll_halen = 6;
        to.sll_addr[..6].copy_from_slice(&frame[..6]);
        let sent = send_to(&self.fd, frame, &to);
        assert_eq!(sent, frame.len() as isize, "{}", io::Error::last_os_error());
    }
}

/// What the firewall of a namespace lets through to its own addresses, by protocol.
pub struct Inbox {
    /// Whether it is of IPv4, and its protocol.
    sockets: Vec<(bool, u8, OwnedFd)>,
}

impl Inbox {
    pub fn open(place: &From, protocols: &[u8]) -> Self {
        let open = |protocol: &u8| {
            let raw = |v4: bool| {
                let domain = if v4 { libc::AF_INET } else { libc::AF_INET6 };
                let fd = socket(place, domain, libc::SOCK_RAW, i32::from(*protocol));
                (v4, *protocol, fd)
            };
            [raw(true), raw(false)]
        };
        Self {
            sockets: protocols.iter().flat_map(open).collect(),
        }
    }

    /// What came so far: protocol and the transport's bytes.
    pub fn contents(&self) -> Vec<(u8, Vec<u8>)> {
        let mut all = Vec::new();
        for (v4, protocol, fd) in &self.sockets {
            let mut buffer = vec![0u8; 65536];
            loop {
                // SAFETY: the buffer lives and is as long as said.
                let got = unsafe {
                    libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0)
                };
                if got < 0 {
                    break;
                }
                // IPv4 comes with its header, IPv6 without.
                let skip = if *v4 {
                    usize::from(buffer[0] & 15) * 4
                } else {
                    0
                };
                all.push((*protocol, buffer[skip..got as usize].to_vec()));
            }
        }
        all
    }
}

/// Source and destination of a packet.
pub fn ends(bytes: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match bytes.first()? >> 4 {
        4 => {
            let at = |n: usize| -> Option<IpAddr> {
                let four: [u8; 4] = bytes.get(n..n + 4)?.try_into().ok()?;
                Some(Ipv4Addr::from(four).into())
            };
            Some((at(12)?, at(16)?))
        }
        6 => {
            let at = |n: usize| -> Option<IpAddr> {
                let sixteen: [u8; 16] = bytes.get(n..n + 16)?.try_into().ok()?;
                Some(Ipv6Addr::from(sixteen).into())
            };
            Some((at(8)?, at(24)?))
        }
        _ => None,
    }
}

/// Protocol and what follows the headers of IP (no extension headers).
pub fn content(bytes: &[u8]) -> Option<(u8, &[u8])> {
    match bytes.first()? >> 4 {
        4 => {
            let header = usize::from(bytes[0] & 15) * 4;
            Some((*bytes.get(9)?, bytes.get(header..)?))
        }
        6 => Some((*bytes.get(6)?, bytes.get(40..)?)),
        _ => None,
    }
}

/// The Internet checksum of RFC 1071.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Writes the checksum of a transport's bytes, which is zero so far, at its place.
fn seal(source: IpAddr, destination: IpAddr, protocol: u8, bytes: &mut [u8]) {
    let at = match protocol {
        TCP => 16,
        UDP => 6,
        ICMP | ICMPV6 => 2,
        _ => return,
    };
    let length = (bytes.len() as u32).to_be_bytes();
    let pseudo = [
        octets(source),
        octets(destination),
        length.to_vec(),
        vec![0, 0, 0, protocol],
    ]
    .concat();
    let with: &[u8] = if protocol == ICMP { &[] } else { &pseudo };
    let sum = checksum(&[with, bytes]);
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// A TCP segment without options.
pub fn tcp_bytes(ports: (u16, u16), sequence: u32, flags: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(ports.0.to_be_bytes());
    bytes.extend(ports.1.to_be_bytes());
    bytes.extend(sequence.to_be_bytes());
    bytes.extend([0, 0, 0, 0, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    bytes
}

pub fn udp_bytes(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(ports.0.to_be_bytes());
    bytes.extend(ports.1.to_be_bytes());
    bytes.extend((8 + payload.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    bytes
}

/// The transport with its checksum, under a plain header.
pub fn ip_bytes(source: IpAddr, destination: IpAddr, protocol: u8, transport: &[u8]) -> Vec<u8> {
    let mut transport = transport.to_vec();
    seal(source, destination, protocol, &mut transport);
    header(source, destination, protocol, &[], 0, &transport)
}

/// A header around bytes as they are. IPv4: `options` (padded) and the field of flags and offset.
/// IPv6: `options` are extension headers, of which `protocol` names the first.
pub fn header(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    options: &[u8],
    fragment: u16,
    content: &[u8],
) -> Vec<u8> {
    let mut bytes;
    if source.is_ipv4() {
        assert_eq!(options.len() % 4, 0);
        let words = 5 + options.len() as u8 / 4;
        let total = (20 + options.len() + content.len()) as u16;
        bytes = vec![0x40 | words, 0];
        bytes.extend(total.to_be_bytes());
        bytes.extend([0x66, 0x6f]);
        bytes.extend(fragment.to_be_bytes());
        bytes.extend([64, protocol, 0, 0]);
    } else {
        bytes = vec![0x60, 0, 0, 0];
        bytes.extend(((options.len() + content.len()) as u16).to_be_bytes());
        bytes.extend([protocol, 64]);
    }
    bytes.extend(octets(source));
    bytes.extend(octets(destination));
    bytes.extend(options);
    bytes.extend(content);
    bytes
}

/// A probe's source port: of its own, so that each is the first of its connection.
pub fn source_port(number: u32) -> u16 {
    10_000 + (number % 50_000) as u16
}

/// The packet as bytes, with a number to know it by: a SYN, a datagram, an echo request.
pub fn probe(packet: &Packet, number: u32) -> Vec<u8> {
    let tag = number.to_be_bytes();
    let ports = (source_port(number), packet.detail);
    let transport = match packet.protocol {
        TCP => tcp_bytes(ports, number, 2),
        UDP => udp_bytes(ports, &tag),
        ICMP | ICMPV6 => {
            let [kind, code] = packet.detail.to_be_bytes();
            let id = ports.0.to_be_bytes();
            let mut bytes = vec![kind, code, 0, 0, id[0], id[1], 0, 1];
            bytes.extend(tag);
            bytes
        }
        // Zeros first, which make a plain header of GRE.
        _ => [[0; 4], tag].concat(),
    };
    ip_bytes(
        packet.source,
        packet.destination,
        packet.protocol,
        &transport,
    )
}

/// Which probe it is, or to which it is the answer.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sign {
    Probe(u32),
    /// A reset, or an echo reply.
    Answer(u32),
}

pub fn sign(protocol: u8, transport: &[u8]) -> Option<Sign> {
    let word = |at: usize| -> Option<u32> {
        let four: [u8; 4] = transport.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_be_bytes(four))
    };
    match protocol {
        TCP => match *transport.get(13)? {
            2 => word(4).map(Sign::Probe),
            flags if flags & 4 != 0 => Some(Sign::Answer(word(8)?.wrapping_sub(1))),
            _ => None,
        },
        UDP => word(8).map(Sign::Probe),
        ICMP | ICMPV6 => match transport.first()? {
            8 | 128 => word(8).map(Sign::Probe),
            0 | 129 => word(8).map(Sign::Answer),
            _ => None,
        },
        47 => word(4).map(Sign::Probe),
        _ => None,
    }
}
