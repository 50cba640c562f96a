//! ctnetlink: what connections a namespace tracks, what ended, and forgetting some of them.
//!
//! `flush` is the applier's: without it the next owner of an address would inherit "established"
//! holes in the firewall. Kernels before 6.8 cannot delete by a filter, so the list is read and each
//! entry is deleted by its own tuple: work is proportional to the namespace's connections.
//!
//! `Reader` and `Ends` are the flow logs': all connections of both families with their counters, and
//! one event for each that ends. Packets and bytes are counted, and times kept, for connections
//! that began while `netfilter/nf_conntrack_acct` and `nf_conntrack_timestamp` of the namespace
//! were 1; the ends of those that began before anybody listened may go untold (so the kernel's
//! `nf_conntrack_events` = 2 has it, which is its default). Constants are those of
//! `linux/netfilter/nfnetlink_conntrack.h`.

use super::netlink::{Message, Socket, attributes};
use crate::program::{Direction, Untracked};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

const SUBSYSTEM: u16 = 1 << 8;
const UPDATE: u16 = 0;
const GET: u16 = 1;
const DELETE: u16 = 2;
const GET_AND_RESET: u16 = 3;
/// Lists of it hold both families.
const ANY_FAMILY: u8 = 0;
const GROUP_DESTROY: i32 = 3;
/// Room for the ends of some 100,000 connections at once.
const EVENTS_BYTES: i32 = 64 << 20;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
const PROTOCOL_STATE: u16 = 4;
const TIMEOUT: u16 = 7;
const MARK: u16 = 8;
const COUNTERS_ORIGINAL: u16 = 9;
const COUNTERS_REPLY: u16 = 10;
const ID: u16 = 12;
const ZONE: u16 = 18;
const TIMESTAMP: u16 = 20;

/// The mark of connections whose first direction the firewall judges packet by packet.
const JUDGED_ANEW: u32 = 1;

/// One direction of a connection, as its packets arrive.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tuple {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// IANA's number.
    pub protocol: u8,
    /// Of TCP, UDP and their like; else 0.
    pub source_port: u16,
    pub destination_port: u16,
    /// Type, code and identifier, of both ICMPs.
    pub icmp: Option<(u8, u8, u16)>,
}

#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub packets: u64,
    /// Of whole IP packets.
    pub bytes: u64,
}

/// The kernel's states of a TCP connection, in its order.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TcpState {
    NotBegun,
    SynSent,
    SynReceived,
    Established,
    FinWait,
    CloseWait,
    LastAck,
    TimeWait,
    Closed,
    /// Both sides opened at once.
    SynSent2,
}

/// A tracked connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// The kernel's own, unique among those that live.
    pub id: u32,
    /// Of the packet that opened it, before any translation.
    pub original: Tuple,
    /// Of the answers, as they arrive: translation undone, its source is who really answers.
    pub reply: Tuple,
    pub sent: Count,
    pub received: Count,
    /// An answer was seen.
    pub answered: bool,
    /// Of TCP only.
    pub tcp: Option<TcpState>,
    /// In ns since the epoch; `None` while the namespace does not keep times.
    pub started_ns: Option<u64>,
    /// Only of one that ended.
    pub ended_ns: Option<u64>,
    /// Until it is forgotten if nothing more comes.
    pub idle_left_s: Option<u32>,
}

/// Lists the connections of one namespace.
pub struct Reader {
    socket: Socket,
}

impl Reader {
    /// Of the namespace at that path.
    pub fn open(namespace: &Path) -> io::Result<Self> {
        let socket = super::in_namespace(namespace, || Socket::open(libc::NETLINK_NETFILTER))??;
        Ok(Self { socket })
    }

    /// All connections. Takes the kernel 9 ms and more, however few they are.
    pub fn connections(&mut self) -> io::Result<Vec<Connection>> {
        self.list(GET)
    }

    /// The same, and sets their counters to zero: each packet is counted in exactly one answer, or
    /// in the event of its connection's end.
    pub fn take_counters(&mut self) -> io::Result<Vec<Connection>> {
        self.list(GET_AND_RESET)
    }

    fn list(&mut self, kind: u16) -> io::Result<Vec<Connection>> {
        let entries = dump(&mut self.socket, kind)?;
        Ok(entries.iter().filter_map(|e| connection(e)).collect())
    }
}

/// What `Ends` hears.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// With its last counters.
    Ended(Connection),
    /// The reader was too slow: the kernel has dropped some events here.
    Skipped,
}

/// The connections of one namespace that end, from the call on.
pub struct Ends {
    socket: Socket,
}

impl Ends {
    pub fn open(namespace: &Path) -> io::Result<Self> {
        let socket = super::in_namespace(namespace, || Socket::open(libc::NETLINK_NETFILTER))??;
        socket.reserve(EVENTS_BYTES)?;
        socket.join(GROUP_DESTROY)?;
        Ok(Self { socket })
    }

    /// The next ends, in order; empty if there are none within that time.
    pub fn next(&mut self, wait: Duration) -> io::Result<Vec<Event>> {
        match self.socket.next(wait) {
            Ok(messages) => Ok(messages
                .iter()
                .filter(|(kind, _)| *kind == SUBSYSTEM | DELETE)
                .filter_map(|(_, payload)| connection(payload))
                .map(Event::Ended)
                .collect()),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(vec![Event::Skipped]),
            Err(error) => Err(error),
        }
    }
}

impl std::os::fd::AsFd for Ends {
    /// Readable when there is an end.
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn dump(socket: &mut Socket, kind: u16) -> io::Result<Vec<Vec<u8>>> {
    socket.dump(Message::new(SUBSYSTEM | kind, 0, &[ANY_FAMILY, 0, 0, 0]))
}

fn be16(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_be_bytes)
}

fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

fn be64(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// An entry of a list or an event; `None` for one that this module cannot read.
fn connection(entry: &[u8]) -> Option<Connection> {
    const SEEN_REPLY: u32 = 1 << 1;
    let (mut original, mut reply) = (None, None);
    let (mut sent, mut received) = (Count::default(), Count::default());
    let (mut id, mut status, mut idle_left_s, mut tcp) = (0, 0, None, None);
    let (mut started_ns, mut ended_ns) = (None, None);
    for (kind, value) in attributes(entry.get(4..)?) {
        match kind {
            TUPLE_ORIGINAL => original = tuple(value),
            TUPLE_REPLY => reply = tuple(value),
            STATUS => status = be32(value)?,
            PROTOCOL_STATE => tcp = tcp_state(value),
            TIMEOUT => idle_left_s = be32(value),
            COUNTERS_ORIGINAL => sent = count(value),
            COUNTERS_REPLY => received = count(value),
            ID => id = be32(value)?,
            TIMESTAMP => {
                for (part, time) in attributes(value) {
                    match part {
                        1 => started_ns = be64(time),
                        2 => ended_ns = be64(time),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(Connection {
        id,
        original: original?,
        reply: reply?,
        sent,
        received,
        answered: status & SEEN_REPLY != 0,
        tcp,
        started_ns,
        ended_ns,
        idle_left_s,
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(octets).into())
}

fn tuple(bytes: &[u8]) -> Option<Tuple> {
    const ADDRESSES: u16 = 1;
    const PROTOCOL: u16 = 2;
    let (mut source, mut destination, mut protocol) = (None, None, None);
    let (mut source_port, mut destination_port) = (0, 0);
    let (mut kind, mut code, mut identifier) = (None, 0, 0);
    for (part, value) in attributes(bytes) {
        for (field, value) in attributes(value) {
            match (part, field) {
                (ADDRESSES, 1 | 3) => source = address(value),
                (ADDRESSES, 2 | 4) => destination = address(value),
                (PROTOCOL, 1) => protocol = value.first().copied(),
                (PROTOCOL, 2) => source_port = be16(value)?,
                (PROTOCOL, 3) => destination_port = be16(value)?,
                (PROTOCOL, 4 | 7) => identifier = be16(value)?,
                (PROTOCOL, 5 | 8) => kind = value.first().copied(),
                (PROTOCOL, 6 | 9) => code = value.first().copied()?,
                _ => {}
            }
        }
    }
    Some(Tuple {
        source: source?,
        destination: destination?,
        protocol: protocol?,
        source_port,
        destination_port,
        icmp: kind.map(|kind| (kind, code, identifier)),
    })
}

fn count(bytes: &[u8]) -> Count {
    let mut count = Count::default();
    for (kind, value) in attributes(bytes) {
        match kind {
            1 => count.packets = be64(value).unwrap_or(0),
            2 => count.bytes = be64(value).unwrap_or(0),
            _ => {}
        }
    }
    count
}

fn tcp_state(bytes: &[u8]) -> Option<TcpState> {
    use TcpState::*;
    const TCP: u16 = 1;
    const STATE: u16 = 1;
    let (_, inner) = attributes(bytes).find(|(kind, _)| *kind == TCP)?;
    let (_, state) = attributes(inner).find(|(kind, _)| *kind == STATE)?;
    let all = [
        NotBegun,
        SynSent,
        SynReceived,
        Established,
        FinWait,
        CloseWait,
        LastAck,
        TimeWait,
        Closed,
        SynSent2,
    ];
    all.get(usize::from(*state.first()?)).copied()
}

/// Forgets every connection that has one of the addresses at either end, in either direction. Those
/// that the untracked traffic opened stay, marked: from now on the firewall judges each packet of
/// their first direction as if it opened one. (If they were forgotten, the next answer would open
/// the connection anew, the other way round.) But those with an end in `tracked` stay as they are.
/// Gives how many were changed.
pub fn flush(
    socket: &mut Socket,
    addresses: &BTreeSet<IpAddr>,
    untracked: &BTreeSet<Untracked>,
    tracked: &BTreeSet<IpAddr>,
) -> io::Result<usize> {
    let mut by_address: BTreeMap<IpAddr, Vec<&Untracked>> = BTreeMap::new();
    for entry in untracked {
        by_address.entry(entry.address).or_default().push(entry);
    }
    let mut changes = Vec::new();
    for entry in dump(socket, GET)?.iter().filter(|entry| entry.len() > 4) {
        let Some(connection) = connection(entry) else {
            continue;
        };
        if has_end_in(&connection, addresses) {
            changes.push(change(DELETE, entry));
        } else if was_untracked(&connection, &by_address) && !has_end_in(&connection, tracked) {
            let mut m = change(UPDATE, entry);
            m.be32(MARK, JUDGED_ANEW);
            changes.push(m);
        }
    }
    let count = changes.len();
    for outcome in socket.exchange(changes)? {
        match outcome {
            Ok(()) => {}
            // It ended by itself meanwhile.
            Err(refusal) if refusal.errno == libc::ENOENT => {}
            Err(refusal) => return Err(io::Error::from_raw_os_error(refusal.errno)),
        }
    }
    Ok(count)
}

/// Of that entry of a list; deletes no other that has its tuple by then.
fn change(kind: u16, entry: &[u8]) -> Message {
    let mut m = Message::new(SUBSYSTEM | kind, 0, &[entry[0], 0, 0, 0]);
    for (part, value) in attributes(&entry[4..]) {
        match part {
            TUPLE_ORIGINAL => {
                m.nest(part, |tuple| {
                    tuple.raw(value);
                });
            }
            ZONE | ID => {
                m.attribute(part, value);
            }
            _ => {}
        }
    }
    m
}

fn has_end_in(connection: &Connection, addresses: &BTreeSet<IpAddr>) -> bool {
    [connection.original, connection.reply]
        .iter()
        .any(|tuple| addresses.contains(&tuple.source) || addresses.contains(&tuple.destination))
}

/// Addresses are those inside the VPC: of an inbound connection the one that answers, whatever
/// public address the client knows; of an outbound one the source before its translation.
fn was_untracked(connection: &Connection, untracked: &BTreeMap<IpAddr, Vec<&Untracked>>) -> bool {
    let Connection {
        original, reply, ..
    } = connection;
    let opened = |address: IpAddr, direction: Direction, port: u16| {
        untracked.get(&address).is_some_and(|entries| {
            entries.iter().any(|entry| {
                entry.direction == direction
                    && entry.protocol == original.protocol
                    && entry.ports.contains(port)
            })
        })
    };
    opened(reply.source, Direction::In, reply.source_port)
        || opened(original.source, Direction::Out, original.destination_port)
}
