//! Sends the first packet of a connection through a `Program`, as the kernel would.
//!
//! Used by tests against `reference`, and to explain why two things cannot reach each other.
//! It knows what `program` can say and nothing of AWS.

use crate::names;
use crate::packet::{Endpoint, Fate, Origin, Packet};
use crate::plan::Place;
use crate::program::{
    Action, Chain, Direction, End, Family, Hook, MAIN, Match, Namespace, Program, Role, Route,
    RouteKey, RuleAction, Set, Table, Verdict,
};
use fogbank_types::RegionConfig;
use std::net::Ipv4Addr;

/// The kernel's own limit on hops.
const TIME_TO_LIVE: usize = 64;

/// What becomes of the packet.
pub fn fate(program: &Program, config: &RegionConfig, origin: &Origin, packet: Packet) -> Fate {
    let start = match origin {
        Origin::Outside => Place::Host,
        Origin::Eni(id) => Place::Named(config.namespace(id.tail())),
    };
    let mut walk = Walk { program, packet };
    match walk.run(start) {
        Ok(to) => Fate::Delivered {
            to,
            seen_as: walk.packet.source,
        },
        Err(reason) => Fate::Dropped(reason),
    }
}

/// How a chain ended.
enum Ending {
    Accept,
    Drop(String),
    /// Ran out, or returned.
    Through,
}

struct Walk<'a> {
    program: &'a Program,
    packet: Packet,
}

/// The devices that a packet came by and will leave by.
#[derive(Clone, Copy, Default)]
struct Devices<'a> {
    from: Option<&'a str>,
    to: Option<&'a str>,
}

impl<'a> Walk<'a> {
    fn run(&mut self, start: Place) -> Result<Endpoint, String> {
        let mut place = start;
        let mut from: Option<String> = None;
        for _ in 0..TIME_TO_LIVE {
            let Some(namespace) = self.namespace(&place) else {
                return Err(format!("{place} does not exist"));
            };
            let mut devices = Devices {
                from: from.as_deref(),
                to: None,
            };
            if from.is_some() {
                self.hook(namespace, Hook::Prerouting, devices)?;
            }
            let here = namespace
                .addresses
                .iter()
                .any(|a| a.address == self.packet.destination);
            if here {
                self.hook(namespace, Hook::Input, devices)?;
                return endpoint(&namespace.role);
            }
            let forwards =
                namespace.sysctls.get("ipv4/ip_forward").map(String::as_str) == Some("1");
            if from.is_some() && !forwards {
                // It has arrived; whether somebody inside passes it on is not the network's business.
                return endpoint(&namespace.role);
            }
            let (device, gateway) = match self.route(namespace, devices.from) {
                Some(hop) => hop,
                // The host's own routes are not ours to know.
                None if place == Place::Host && from.is_some() => {
                    devices.to = Some("outside");
                    self.hook(namespace, Hook::Forward, devices)?;
                    return Ok(Endpoint::Outside);
                }
                None => return Err(format!("no route in {place}")),
            };
            devices.to = Some(&device);
            if from.is_some() {
                self.hook(namespace, Hook::Forward, devices)?;
            }
            self.hook(namespace, Hook::Postrouting, devices)?;
            let Some((next, arrival)) = self.other_end(&place, &device) else {
                return Err(format!("device {device} of {place} does not exist"));
            };
            self.resolve(namespace, &device, gateway, &next, &arrival)?;
            from = Some(arrival);
            place = next;
        }
        Err("going in circles".to_owned())
    }

    fn namespace(&self, place: &Place) -> Option<&'a Namespace> {
        match place {
            Place::Host => Some(&self.program.host),
            Place::Named(name) => self.program.namespaces.get(name),
        }
    }

    /// The other end of a pair, from whichever side.
    fn other_end(&self, place: &Place, device: &str) -> Option<(Place, String)> {
        let place_of = |name: &Option<String>| match name {
            Some(name) => Place::Named(name.clone()),
            None => Place::Host,
        };
        if let Some(veth) = self.namespace(place)?.veths.get(device) {
            return Some((place_of(&veth.peer.namespace), veth.peer.device.clone()));
        }
        self.program
            .namespaces
            .iter()
            .flat_map(|(name, namespace)| namespace.veths.iter().map(move |(d, v)| (name, d, v)))
            .find(|(_, _, veth)| {
                place_of(&veth.peer.namespace) == *place && veth.peer.device == device
            })
            .map(|(name, own, _)| (Place::Named(name.clone()), own.clone()))
    }

    /// A neighbour must be known, be the other end itself, or be answered for by proxy ARP.
    fn resolve(
        &self,
        namespace: &Namespace,
        device: &str,
        gateway: Ipv4Addr,
        next: &Place,
        arrival: &str,
    ) -> Result<(), String> {
        let known = namespace
            .neighbours
            .contains_key(&(device.to_owned(), gateway));
        let Some(other) = self.namespace(next) else {
            return Err(format!("{next} does not exist"));
        };
        let own = other.addresses.iter().any(|a| a.address == gateway);
        let by_proxy = || {
            let proxy = other.veths.get(arrival).is_some_and(|veth| veth.proxy_arp);
            let question = Walk {
                program: self.program,
                packet: Packet {
                    destination: gateway,
                    ..self.packet
                },
            };
            let answer = question.route(other, Some(arrival));
            proxy && answer.is_some_and(|(away, _)| away != arrival)
        };
        if known || own || by_proxy() {
            Ok(())
        } else {
            Err(format!("nobody answers for {gateway} on {device}"))
        }
    }

    /// Device and next hop, by the routing rules; `None` if the packet is dropped.
    fn route(&self, namespace: &Namespace, from: Option<&str>) -> Option<(String, Ipv4Addr)> {
        // Rules are ordered by priority; the kernel's own lookup of the main table comes last.
        for rule in &namespace.rules {
            let source_matches = rule.from.is_none_or(|b| b.contains(self.packet.source));
            let device_matches = rule.device.is_none() || rule.device.as_deref() == from;
            if !source_matches || !device_matches {
                continue;
            }
            match rule.action {
                RuleAction::Blackhole => return None,
                RuleAction::Lookup(table) => {
                    if let Some(hop) = self.lookup(namespace, table) {
                        return hop;
                    }
                }
            }
        }
        self.lookup(namespace, MAIN).flatten()
    }

    /// Outer `None`: the table has no route; inner: it drops.
    #[allow(clippy::option_option)]
    fn lookup(&self, namespace: &Namespace, table: u32) -> Option<Option<(String, Ipv4Addr)>> {
        let destination = self.packet.destination;
        let connected = namespace
            .addresses
            .iter()
            .filter(|a| table == MAIN && a.length < 32)
            .filter_map(|a| {
                let block = fogbank_types::Ipv4Cidr::containing(a.address, a.length)?;
                let hop = Some((a.device.clone(), destination));
                block.contains(destination).then_some((a.length, 0, hop))
            });
        let of = |key: &RouteKey, route: &Route| {
            let hop = match route {
                Route::Blackhole => None,
                Route::Device(device) => Some((device.clone(), destination)),
                Route::Via {
                    device, gateway, ..
                } => Some((device.clone(), *gateway)),
            };
            (key.destination.length(), key.metric, hop)
        };
        namespace
            .routes
            .iter()
            .filter(|(key, _)| key.table == table && key.destination.contains(destination))
            .map(|(key, route)| of(key, route))
            .chain(connected)
            .max_by_key(|(length, metric, _)| (*length, std::cmp::Reverse(*metric)))
            .map(|(_, _, hop)| hop)
    }

    /// All base chains of a hook in their order.
    fn hook(
        &mut self,
        namespace: &'a Namespace,
        hook: Hook,
        devices: Devices<'_>,
    ) -> Result<(), String> {
        let mut chains: Vec<(&Table, &str, &Chain)> = namespace
            .tables
            .values()
            .filter(|table| table.family == Family::V4)
            .flat_map(|table| {
                table
                    .chains
                    .iter()
                    .map(move |(n, c)| (table, n.as_str(), c))
            })
            .filter(|(_, _, chain)| chain.base.is_some_and(|base| base.hook == hook))
            .collect();
        chains.sort_by_key(|(_, _, chain)| chain.base.map(|base| base.priority));
        for (table, name, chain) in chains {
            if let Ending::Drop(reason) = self.chain(table, name, chain, devices) {
                return Err(reason);
            }
        }
        Ok(())
    }

    fn chain(
        &mut self,
        table: &'a Table,
        name: &str,
        chain: &'a Chain,
        devices: Devices<'_>,
    ) -> Ending {
        for rule in &chain.rules {
            if !rule.matches.iter().all(|m| self.matches(table, m, devices)) {
                continue;
            }
            let verdict = match &rule.action {
                Action::Do(verdict) => Some(verdict),
                Action::VerdictOf { direction, map } => {
                    let device = device_of(devices, *direction).unwrap_or("");
                    match table.sets.get(map) {
                        Some(Set::Verdicts(all)) => all.get(device),
                        _ => None,
                    }
                }
                Action::SourceNat(map) => {
                    if let Some(Set::Translations(all)) = table.sets.get(map)
                        && let Some(to) = all.get(&self.packet.source)
                    {
                        self.packet.source = *to;
                        return Ending::Accept;
                    }
                    None
                }
                Action::DestinationNat(map) => {
                    if let Some(Set::Translations(all)) = table.sets.get(map)
                        && let Some(to) = all.get(&self.packet.destination)
                    {
                        self.packet.destination = *to;
                        return Ending::Accept;
                    }
                    None
                }
                Action::SourceNatTo(address) => {
                    self.packet.source = *address;
                    return Ending::Accept;
                }
                // The host's address to the outside is not ours to know.
                Action::Masquerade => return Ending::Accept,
                Action::ResetTcp => return Ending::Drop(format!("reset by chain {name}")),
            };
            match verdict {
                None => {}
                Some(Verdict::Accept) => return Ending::Accept,
                Some(Verdict::Return) => return Ending::Through,
                Some(Verdict::Drop) => return Ending::Drop(format!("chain {name}")),
                Some(Verdict::Jump(to)) => {
                    let Some(next) = table.chains.get(to) else {
                        return Ending::Drop(format!("chain {to} does not exist"));
                    };
                    match self.chain(table, to, next, devices) {
                        Ending::Through => {}
                        end => return end,
                    }
                }
            }
        }
        Ending::Through
    }

    fn address(&self, end: End) -> Ipv4Addr {
        match end {
            End::Source => self.packet.source,
            End::Destination => self.packet.destination,
        }
    }

    fn matches(&self, table: &Table, part: &Match, devices: Devices<'_>) -> bool {
        let packet = &self.packet;
        match part {
            // It opens a connection.
            Match::Established | Match::Invalid => false,
            Match::Device {
                direction,
                name,
                equal,
            } => (device_of(devices, *direction) == Some(name)) == *equal,
            Match::DeviceIn {
                direction,
                set,
                member,
            } => {
                let device = device_of(devices, *direction).unwrap_or("");
                let found = match table.sets.get(set) {
                    Some(Set::Devices(all)) => all.contains(device),
                    _ => false,
                };
                found == *member
            }
            Match::AddressIn { end, set, member } => {
                let found = match table.sets.get(set) {
                    Some(Set::Addresses(all)) => all.contains(&self.address(*end)),
                    _ => false,
                };
                found == *member
            }
            Match::Bound { direction, set } => {
                let device = device_of(devices, *direction).unwrap_or("").to_owned();
                let address = match direction {
                    Direction::In => packet.source,
                    Direction::Out => packet.destination,
                };
                match table.sets.get(set) {
                    Some(Set::Bindings(all)) => all.contains(&(device, address)),
                    _ => false,
                }
            }
            Match::Block { end, block, inside } => block.contains(self.address(*end)) == *inside,
            Match::Protocol { number, equal } => (packet.protocol == *number) == *equal,
            Match::Ports(range) => has_ports(packet) && range.contains(packet.detail),
            Match::Icmp(range) => packet.protocol == 1 && range.contains(packet.detail),
            Match::Traffic { end, set, .. } => {
                let peer = self.address(*end);
                let number = u16::from(packet.protocol);
                match table.sets.get(set) {
                    Some(Set::Ports(all)) => {
                        has_ports(packet)
                            && all.iter().any(|(block, protocol, ports)| {
                                block.contains(peer)
                                    && *protocol == packet.protocol
                                    && ports.contains(packet.detail)
                            })
                    }
                    Some(Set::Icmp(all)) => all.iter().any(|(block, kinds)| {
                        block.contains(peer) && kinds.contains(packet.detail)
                    }),
                    Some(Set::Protocols(all)) => all
                        .iter()
                        .any(|(block, numbers)| block.contains(peer) && numbers.contains(number)),
                    _ => false,
                }
            }
        }
    }
}

fn has_ports(packet: &Packet) -> bool {
    matches!(packet.protocol, 6 | 17)
}

fn device_of<'d>(devices: Devices<'d>, direction: Direction) -> Option<&'d str> {
    match direction {
        Direction::In => devices.from,
        Direction::Out => devices.to,
    }
}

fn endpoint(role: &Role) -> Result<Endpoint, String> {
    match role {
        Role::Eni(id) => Ok(Endpoint::Eni(id.clone())),
        Role::Vpc(id) => Ok(Endpoint::Platform(id.clone())),
        Role::Host => Ok(Endpoint::Outside),
        Role::Edge => Err(format!(
            "the edge has no service ({})",
            names::UPLINK_DEVICE
        )),
    }
}
