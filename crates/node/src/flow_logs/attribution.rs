//! Whose packets these were: connections' counters and logged packets become flows of interfaces.
//!
//! Pure. A connection that passes two interfaces of the VPC gives each of them one flow out and one in. Counters come from
//! the VPC's router, which counts a packet of a known connection before its gates do: what a gate then kept back is told by
//! its log and taken off again.
//!
//! What must stay true: a packet that an interface sent or received, or that was kept from it, is in exactly one flow of
//! that interface.

use std::collections::HashMap;
use std::net::IpAddr;

use fogbank_net::apply::conntrack::{Connection, Count, TcpState, Tuple};
use fogbank_net::apply::nflog::Packet;

use super::record::{Flow, Sums};
use super::topology::Topology;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
const SYN_ACK: u8 = 18;
const TCP: u8 = 6;

/// Longest packet inside a VPC, and through a gateway (fact VPC-18).
const MTU_BYTES: u64 = 9001;
const GATEWAY_MTU_BYTES: u64 = 1500;

/// Different rejected flows between two samples; more are told as skipped.
pub const MOST_REJECTS: usize = 65_536;

/// A flow of one interface.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Observation {
    /// In the topology.
    pub interface: usize,
    pub flow: Flow,
    pub sums: Sums,
}

/// Addresses and ports of a packet between the router's gates.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
struct Between {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    source_port: u16,
    destination_port: u16,
}

/// Which side's gate kept it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Gate {
    /// The sender's: its groups, or its subnet's outbound ACL.
    Egress,
    /// The receiver's: it left the sender.
    Ingress,
}

#[derive(Clone, Debug)]
struct Reject {
    gate: Gate,
    device_in: String,
    device_out: String,
    sums: Sums,
    first_ms: i64,
    /// Of these, what a connection's counters had too.
    counted: Count,
}

/// Packets that gates kept since the last sample.
#[derive(Debug, Default)]
pub struct Rejects {
    by_packet: HashMap<Between, Vec<Reject>>,
    count: usize,
}

impl Rejects {
    /// Takes a logged packet; devices by name, empty if there was none. `false`: there are too many already.
    pub fn add(&mut self, packet: &Packet, device_in: &str, device_out: &str, now_ms: i64) -> bool {
        let headers = &packet.headers;
        let gate = if packet.prefix.starts_with("egress") || packet.prefix.starts_with("acl_out") {
            Gate::Egress
        } else {
            Gate::Ingress
        };
        let at_ms = packet
            .received_ns
            .map_or(now_ms, |ns| (ns / 1_000_000) as i64);
        let sums = Sums {
            packets: 1,
            bytes: u64::from(headers.bytes),
            tcp_flags: told_flags(headers.protocol, headers.tcp_flags),
            start_s: at_ms.div_euclid(1000),
            end_s: at_ms.div_euclid(1000),
        };
        let between = Between {
            source: headers.source,
            destination: headers.destination,
            protocol: headers.protocol,
            source_port: headers.source_port,
            destination_port: headers.destination_port,
        };
        let same = |reject: &&mut Reject| {
            reject.gate == gate && reject.device_in == device_in && reject.device_out == device_out
        };
        let known = self
            .by_packet
            .get_mut(&between)
            .and_then(|rejects| rejects.iter_mut().find(same));
        if let Some(reject) = known {
            reject.sums.add(&sums);
            return true;
        }
        if self.count >= MOST_REJECTS {
            return false;
        }
        self.count += 1;
        self.by_packet.entry(between).or_default().push(Reject {
            gate,
            device_in: device_in.to_owned(),
            device_out: device_out.to_owned(),
            sums,
            first_ms: at_ms,
            counted: Count::default(),
        });
        true
    }

    /// Forgets all, and tells of it: the flow that was rejected, and for a receiver's gate that its sender's let it out.
    /// `keep`: what is of no interface here may be of one that comes, and stays.
    pub fn settle(&mut self, topology: &Topology, keep: bool, mut tell: impl FnMut(Observation)) {
        self.count = 0;
        for (between, rejects) in std::mem::take(&mut self.by_packet) {
            if [between.source, between.destination]
                .iter()
                .any(|address| topology.is_platform(*address))
            {
                continue;
            }
            for reject in rejects {
                if keep && reject.ends(topology, &between) == (None, None) {
                    self.count += 1;
                    self.by_packet.entry(between).or_default().push(reject);
                } else {
                    reject.tell(topology, &between, &mut tell);
                }
            }
        }
    }

    /// What gates kept of a connection's packets that its counters have, by those gates. `since_ms`: rejected packets
    /// before then are of no connection.
    fn of_connection(
        &mut self,
        between: &Between,
        mut count: Count,
        since_ms: i64,
    ) -> (Count, Count) {
        let (mut by_sender, mut by_receiver) = (Count::default(), Count::default());
        let rejects = self.by_packet.get_mut(between).into_iter().flatten();
        for reject in rejects.filter(|reject| reject.first_ms >= since_ms) {
            let taken = Count {
                packets: count
                    .packets
                    .min(reject.sums.packets - reject.counted.packets),
                bytes: count.bytes.min(reject.sums.bytes - reject.counted.bytes),
            };
            let sum = match reject.gate {
                Gate::Egress => &mut by_sender,
                Gate::Ingress => &mut by_receiver,
            };
            for total in [&mut reject.counted, sum] {
                total.packets += taken.packets;
                total.bytes += taken.bytes;
            }
            count = less(count, taken);
        }
        (by_sender, by_receiver)
    }
}

impl Reject {
    /// Sender's and receiver's interface.
    fn ends(&self, topology: &Topology, between: &Between) -> (Option<usize>, Option<usize>) {
        let sender = topology
            .behind(&self.device_in)
            .or_else(|| topology.owner(between.source));
        let receiver = topology
            .behind(&self.device_out)
            .or_else(|| topology.owner(between.destination));
        (sender, receiver)
    }

    fn tell(self, topology: &Topology, between: &Between, tell: &mut impl FnMut(Observation)) {
        let (sender, receiver) = self.ends(topology, between);
        if let Some(index) = sender {
            let mut flow = egress(topology, index, between);
            let mut sums = self.sums;
            if self.gate == Gate::Egress {
                flow.rejected = true;
            } else {
                sums.packets -= self.counted.packets;
                sums.bytes -= self.counted.bytes;
            }
            if sums.packets > 0 {
                tell(Observation {
                    interface: index,
                    flow,
                    sums,
                });
            }
        }
        if let (Gate::Ingress, Some(index)) = (self.gate, receiver) {
            let mut flow = ingress(topology, index, between);
            flow.rejected = true;
            tell(Observation {
                interface: index,
                flow,
                sums: self.sums,
            });
        }
    }
}

fn less(count: Count, taken: Count) -> Count {
    Count {
        packets: count.packets.saturating_sub(taken.packets),
        bytes: count.bytes.saturating_sub(taken.bytes),
    }
}

fn egress(topology: &Topology, index: usize, packet: &Between) -> Flow {
    Flow {
        source: topology.own(index, packet.source),
        path: topology.path(index, packet.destination),
        egress: true,
        ..as_seen(packet)
    }
}

fn ingress(topology: &Topology, index: usize, packet: &Between) -> Flow {
    Flow {
        destination: topology.own(index, packet.destination),
        ..as_seen(packet)
    }
}

fn as_seen(packet: &Between) -> Flow {
    Flow {
        egress: false,
        rejected: false,
        source: packet.source,
        destination: packet.destination,
        packet_source: packet.source,
        packet_destination: packet.destination,
        protocol: packet.protocol,
        source_port: packet.source_port,
        destination_port: packet.destination_port,
        path: None,
    }
}

/// The time of a sample, and of the one before it.
#[derive(Copy, Clone, Debug)]
pub struct Interval {
    pub since_ms: i64,
    pub now_ms: i64,
}

/// One direction of a connection.
struct Leg {
    /// As the sender sent it.
    sent: Between,
    /// As the receiver gets it.
    got: Between,
    count: Count,
    tcp_flags: u8,
    is_reply: bool,
}

/// Tells of the packets that a connection's counters have gathered since the last sample.
pub fn observe(
    topology: &Topology,
    rejects: &mut Rejects,
    connection: &Connection,
    interval: Interval,
    mut tell: impl FnMut(Observation),
) {
    let ends = [connection.original, connection.reply];
    if ends
        .iter()
        .any(|end| topology.is_platform(end.source) || topology.is_platform(end.destination))
    {
        return;
    }
    let began_ms = connection.started_ns.map(|ns| (ns / 1_000_000) as i64);
    let is_new = began_ms.is_some_and(|began_ms| began_ms >= interval.since_ms);
    let ended_ms = connection.ended_ns.map(|ns| (ns / 1_000_000) as i64);
    let start_ms = began_ms.unwrap_or(i64::MIN).max(interval.since_ms);
    let end_ms = ended_ms.unwrap_or(interval.now_ms).max(start_ms);
    let (flags, reply_flags) = connection_flags(connection, is_new);
    let legs = [
        leg(connection, false, flags),
        leg(connection, true, reply_flags),
    ];
    for leg in legs {
        if leg.count.packets == 0 {
            continue;
        }
        // Counted only if the connection was there: before, it would have been no part of it.
        let since_ms = if leg.is_reply {
            i64::MIN
        } else {
            began_ms.unwrap_or(i64::MIN)
        };
        let between = Between {
            destination: leg.got.destination,
            destination_port: leg.got.destination_port,
            ..leg.sent
        };
        let (by_sender, by_receiver) = rejects.of_connection(&between, leg.count, since_ms);
        let sent = less(leg.count, by_sender);
        let got = less(sent, by_receiver);
        let mut say = |interface, flow, count: Count| {
            if count.packets == 0 {
                return;
            }
            let sums = Sums {
                packets: wire_packets(topology, &leg, count),
                bytes: count.bytes,
                tcp_flags: leg.tcp_flags,
                start_s: start_ms.div_euclid(1000),
                end_s: end_ms.div_euclid(1000),
            };
            tell(Observation {
                interface,
                flow,
                sums,
            });
        };
        let sender = topology.owner(leg.sent.source);
        let receiver = topology.owner(leg.got.destination);
        if let Some(index) = sender {
            say(index, egress(topology, index, &leg.sent), sent);
        }
        if let Some(index) = receiver {
            say(index, ingress(topology, index, &leg.got), got);
        }
        // Through a NAT gateway or an appliance, which gets and sends the packet as it is.
        match (sender, receiver) {
            (Some(from), None) => {
                if let Some((middle, _)) = topology.middle(from, leg.got.destination) {
                    say(middle, ingress(topology, middle, &leg.sent), got);
                }
            }
            (None, Some(to)) => {
                let middle = topology.middle(to, leg.sent.source);
                if let Some((middle, nat)) = middle
                    && (leg.is_reply || !nat)
                {
                    say(middle, egress(topology, middle, &leg.got), sent);
                }
            }
            _ => {}
        }
    }
}

fn leg(connection: &Connection, is_reply: bool, tcp_flags: u8) -> Leg {
    let (arrives, other, count) = if is_reply {
        (&connection.reply, &connection.original, connection.received)
    } else {
        (&connection.original, &connection.reply, connection.sent)
    };
    Leg {
        sent: between(arrives),
        got: Between {
            source: other.destination,
            destination: other.source,
            source_port: other.destination_port,
            destination_port: other.source_port,
            protocol: other.protocol,
        },
        count,
        tcp_flags,
        is_reply,
    }
}

fn between(tuple: &Tuple) -> Between {
    Between {
        source: tuple.source,
        destination: tuple.destination,
        protocol: tuple.protocol,
        source_port: tuple.source_port,
        destination_port: tuple.destination_port,
    }
}

/// The kernel counts what it moves, and moves many packets of a stream as one.
fn wire_packets(topology: &Topology, leg: &Leg, count: Count) -> u64 {
    let inside = topology.is_local(leg.sent.destination) && topology.is_local(leg.got.source);
    let mtu_bytes = if inside { MTU_BYTES } else { GATEWAY_MTU_BYTES };
    count.packets.max(count.bytes.div_ceil(mtu_bytes))
}

/// AWS tells of FIN, SYN and RST, and of ACK only beside a SYN.
fn told_flags(protocol: u8, flags: u8) -> u8 {
    if protocol != TCP {
        return 0;
    }
    let ack = if flags & SYN != 0 { flags & ACK } else { 0 };
    flags & (FIN | SYN | RST) | ack
}

/// Flags of both directions, from what the kernel knows of a connection. It does not keep which side sent a reset; it is
/// taken for the opener's, unless the opener's SYN was answered by it.
fn connection_flags(connection: &Connection, is_new: bool) -> (u8, u8) {
    let Some(state) = connection.tcp else {
        return (0, 0);
    };
    let (mut flags, mut reply) = (0, 0);
    let refused = state == TcpState::Closed
        && is_new
        && connection.sent.packets <= 1
        && connection.received.packets <= 1;
    if is_new {
        flags |= SYN;
        if connection.received.packets > 0 {
            reply |= if refused { RST } else { SYN_ACK };
        }
    }
    match state {
        TcpState::FinWait | TcpState::CloseWait => flags |= FIN,
        TcpState::LastAck | TcpState::TimeWait => {
            flags |= FIN;
            reply |= FIN;
        }
        TcpState::Closed if !refused => flags |= RST,
        _ => {}
    }
    (flags, reply)
}
