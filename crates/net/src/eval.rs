//! Sends one packet through a `Program`, as the kernel would: the first of a connection, or a reply.
//!
//! Used by tests against `reference`, and to explain why two things cannot reach each other.
//! It knows what `program` can say and nothing of AWS.
//!
//! `fate` only says what becomes of the packet. `walk` also tells the way: a list of `Step`s, each
//! with the namespace (`place`, `role`), the packet as it stood *after* the step, and an `Event`:
//!
//! - `Arrived`: it came into the namespace by that device, or was made there.
//! - `Rule`: a firewall rule matched: table, chain, the rule's index, and what it did. `Step::rule`
//!   finds the rule itself. Rules that only jump into another chain are steps, too, and so are
//!   entries of a `Verdicts` map. What decided last is the last step of a dropped packet.
//! - `Routed`: the routing rule (`None`: the kernel's own main table) and the route that was taken;
//!   `Unrouted`: none was.
//! - `Left`: it went out by that device.
//!
//! `walk(.., established: true)` is a packet of which every connection tracker knows the
//! connection, but nothing of its translation; it is for "would an open connection go on?".
//! `walk_back` sends the reply to a delivered packet. A namespace that the packet crossed on its way
//! there knows the connection and undoes its translation, as connection tracking does; to another
//! the reply is something new, or, as TCP's answers open nothing, `Match::Invalid`.

use crate::packet::{Endpoint, Fate, Origin, Packet};
use crate::plan::Place;
use crate::program::{
    Action, Chain, Direction, End, Family, Hook, MAIN, Match, Namespace, Program, Role, Route,
    RouteKey, RoutingRule, Rule, RuleAction, Set, Table, TrafficKind, Verdict,
};
use fogbank_types::{IpCidr, RegionConfig};
use std::net::IpAddr;

/// The kernel's own limit on hops.
const TIME_TO_LIVE: usize = 64;

/// What becomes of the packet.
pub fn fate(program: &Program, config: &RegionConfig, origin: &Origin, packet: Packet) -> Fate {
    Walk::new(program, packet, State::New).finish(start_of(config, origin))
}

/// What becomes of the packet, and by which way.
pub fn walk(
    program: &Program,
    config: &RegionConfig,
    origin: &Origin,
    packet: Packet,
    established: bool,
) -> Walked {
    let state = if established {
        State::Established
    } else {
        State::New
    };
    let mut walk = Walk::new(program, packet, state);
    walk.steps = Some(Vec::new());
    walk.walked(start_of(config, origin))
}

/// The reply to a delivered packet; `None` if it was dropped. `detail` is that of the reply: the
/// port that the client opened the connection from, or the ICMP type * 256 + code of the answer.
pub fn walk_back(program: &Program, there: &Walked, detail: u16) -> Option<Walked> {
    if matches!(there.fate, Fate::Dropped(_)) {
        return None;
    }
    let reply = Packet {
        source: there.packet.destination,
        destination: there.packet.source,
        protocol: there.packet.protocol,
        detail,
    };
    let mut walk = Walk::new(program, reply, State::Established);
    walk.steps = Some(Vec::new());
    walk.undo = Some(&there.crossings);
    Some(walk.walked(there.end.clone()))
}

/// A packet's whole way.
#[derive(Clone, Debug, PartialEq)]
pub struct Walked {
    pub fate: Fate,
    pub steps: Vec<Step>,
    /// As it stood at the end.
    pub packet: Packet,
    /// Where it ended, delivered or dropped.
    pub end: Place,
    crossings: Vec<Crossing>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub place: Place,
    pub role: Role,
    pub event: Event,
    /// As it stands after the step.
    pub packet: Packet,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// `None`: it was made here.
    Arrived {
        device: Option<String>,
    },
    Rule {
        hook: Hook,
        table: String,
        chain: String,
        index: usize,
        ruling: Ruling,
    },
    Routed {
        rule: Option<RoutingRule>,
        key: RouteKey,
        route: Route,
    },
    /// `rule`: the one that drops what no table took.
    Unrouted {
        rule: Option<RoutingRule>,
    },
    Left {
        device: String,
    },
}

/// What a rule that matched did.
#[derive(Clone, Debug, PartialEq)]
pub enum Ruling {
    Accept,
    Drop,
    Return,
    Jump(String),
    /// The packet's source or destination was replaced.
    Translate,
    /// Told the flow logs, and went on.
    Log,
}

impl Step {
    /// The firewall rule of a `Rule` event.
    pub fn rule<'p>(&self, program: &'p Program) -> Option<&'p Rule> {
        let Event::Rule {
            table,
            chain,
            index,
            ..
        } = &self.event
        else {
            return None;
        };
        let chains = &namespace_of(program, &self.place)?
            .tables
            .get(table)?
            .chains;
        chains.get(chain)?.rules.get(*index)
    }
}

fn start_of(config: &RegionConfig, origin: &Origin) -> Place {
    match origin {
        Origin::Outside => Place::Host,
        Origin::Eni(id) => Place::Named(config.namespace(id.tail())),
    }
}

fn namespace_of<'p>(program: &'p Program, place: &Place) -> Option<&'p Namespace> {
    match place {
        Place::Host => Some(&program.host),
        Place::Named(name) => program.namespaces.get(name),
    }
}

/// How a packet went through one namespace: what connection tracking there remembers.
#[derive(Clone, Debug, PartialEq)]
struct Crossing {
    place: Place,
    before: Packet,
    after: Packet,
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
    /// What the tracker of the namespace that it is in thinks of it.
    state: State,
    /// `None`: nobody asks for the way.
    steps: Option<Vec<Step>>,
    crossings: Vec<Crossing>,
    /// Of the way there, if this is a reply.
    undo: Option<&'a [Crossing]>,
    place: Place,
}

/// As connection tracking has them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Established,
    Invalid,
}

/// The devices that a packet came by and will leave by.
#[derive(Clone, Copy, Default)]
struct Devices<'a> {
    from: Option<&'a str>,
    to: Option<&'a str>,
}

/// Where a rule stands.
#[derive(Clone, Copy)]
struct Spot<'a> {
    table: &'a Table,
    table_name: &'a str,
    hook: Hook,
}

/// Device and next hop.
type Hop = (String, IpAddr);

impl<'a> Walk<'a> {
    fn new(program: &'a Program, packet: Packet, state: State) -> Self {
        Self {
            program,
            packet,
            state,
            steps: None,
            crossings: Vec::new(),
            undo: None,
            place: Place::Host,
        }
    }

    fn finish(&mut self, start: Place) -> Fate {
        match self.run(start) {
            Ok(to) => Fate::Delivered {
                to,
                seen_as: self.packet.source,
            },
            Err(reason) => Fate::Dropped(reason),
        }
    }

    fn walked(mut self, start: Place) -> Walked {
        let fate = self.finish(start);
        Walked {
            fate,
            steps: self.steps.unwrap_or_default(),
            packet: self.packet,
            end: self.place,
            crossings: self.crossings,
        }
    }

    fn note(&mut self, event: impl FnOnce() -> Event) {
        let Some(steps) = &mut self.steps else {
            return;
        };
        let role = namespace_of(self.program, &self.place).map(|n| n.role.clone());
        steps.push(Step {
            place: self.place.clone(),
            role: role.unwrap_or_default(),
            event: event(),
            packet: self.packet,
        });
    }

    fn run(&mut self, start: Place) -> Result<Endpoint, String> {
        self.place = start;
        let mut from: Option<String> = None;
        for _ in 0..TIME_TO_LIVE {
            let Some(namespace) = namespace_of(self.program, &self.place) else {
                return Err(format!("{} does not exist", self.place));
            };
            self.note(|| Event::Arrived {
                device: from.clone(),
            });
            let before = self.packet;
            let undone = self.undone();
            let mut devices = Devices {
                from: from.as_deref(),
                to: None,
            };
            if from.is_some() {
                self.hook(namespace, Hook::Prerouting, devices)?;
            }
            if let Some(original) = undone {
                self.packet.destination = original.source;
            }
            if is_own(namespace, self.packet.destination) {
                self.hook(namespace, Hook::Input, devices)?;
                self.leave_mark(before);
                return Ok(endpoint(&namespace.role, self.packet.destination));
            }
            if from.is_some() && !forwards(namespace, self.family()) {
                // It has arrived; whether somebody inside passes it on is not the network's business.
                self.leave_mark(before);
                return Ok(endpoint(&namespace.role, self.packet.destination));
            }
            let (device, gateway) = match self.route(namespace, devices.from) {
                Some(hop) => hop,
                // The host's own routes are not ours to know.
                None if self.place == Place::Host && from.is_some() => {
                    devices.to = Some("outside");
                    self.hook(namespace, Hook::Forward, devices)?;
                    self.leave_mark(before);
                    return Ok(Endpoint::Outside);
                }
                None => return Err(format!("no route in {}", self.place)),
            };
            devices.to = Some(&device);
            let passing = if from.is_some() {
                Hook::Forward
            } else {
                Hook::Output
            };
            self.hook(namespace, passing, devices)?;
            self.hook(namespace, Hook::Postrouting, devices)?;
            if let Some(original) = undone {
                self.packet.source = original.destination;
            }
            self.leave_mark(before);
            let Some((next, arrival)) = self.other_end(&device) else {
                return Err(format!("device {device} of {} does not exist", self.place));
            };
            self.resolve(namespace, &device, gateway, &next, &arrival)?;
            self.note(|| Event::Left {
                device: device.clone(),
            });
            from = Some(arrival);
            self.place = next;
        }
        Err("going in circles".to_owned())
    }

    fn family(&self) -> Family {
        Family::of(self.packet.destination)
    }

    /// The packet of the way there to which this one is the reply, as it came into this namespace.
    /// Gives the tracker's opinion of a reply, too.
    fn undone(&mut self) -> Option<Packet> {
        let crossing = self.undo?.iter().find(|crossing| {
            crossing.place == self.place
                && crossing.after.source == self.packet.destination
                && crossing.after.destination == self.packet.source
        });
        self.state = match (crossing, self.packet.protocol) {
            (Some(_), _) => State::Established,
            (None, 6) => State::Invalid,
            (None, _) => State::New,
        };
        crossing.map(|crossing| crossing.before)
    }

    fn leave_mark(&mut self, before: Packet) {
        if self.steps.is_some() {
            self.crossings.push(Crossing {
                place: self.place.clone(),
                before,
                after: self.packet,
            });
        }
    }

    /// The other end of a pair, from whichever side.
    fn other_end(&self, device: &str) -> Option<(Place, String)> {
        let place_of = |name: &Option<String>| match name {
            Some(name) => Place::Named(name.clone()),
            None => Place::Host,
        };
        let own = &namespace_of(self.program, &self.place)?.veths;
        if let Some(veth) = own.get(device) {
            return Some((place_of(&veth.peer.namespace), veth.peer.device.clone()));
        }
        self.program
            .namespaces
            .iter()
            .flat_map(|(name, namespace)| namespace.veths.iter().map(move |(d, v)| (name, d, v)))
            .find(|(_, _, veth)| {
                veth.peer.device == device && place_of(&veth.peer.namespace) == self.place
            })
            .map(|(name, own, _)| (Place::Named(name.clone()), own.clone()))
    }

    /// A neighbour must be known, be the other end itself, or be answered for by proxy ARP.
    fn resolve(
        &self,
        namespace: &Namespace,
        device: &str,
        gateway: IpAddr,
        next: &Place,
        arrival: &str,
    ) -> Result<(), String> {
        let known = namespace
            .neighbours
            .contains_key(&(device.to_owned(), gateway));
        let Some(other) = namespace_of(self.program, next) else {
            return Err(format!("{next} does not exist"));
        };
        let by_proxy = || {
            let proxy = other.veths.get(arrival).is_some_and(|veth| veth.proxy_arp);
            let question = Packet {
                destination: gateway,
                ..self.packet
            };
            let mut question = Walk::new(self.program, question, State::New);
            let answer = question.route(other, Some(arrival));
            proxy && gateway.is_ipv4() && answer.is_some_and(|(away, _)| away != arrival)
        };
        if known || is_own(other, gateway) || by_proxy() {
            Ok(())
        } else {
            Err(format!("nobody answers for {gateway} on {device}"))
        }
    }

    /// Device and next hop, by the routing rules; `None` if the packet is dropped.
    fn route(&mut self, namespace: &'a Namespace, from: Option<&str>) -> Option<Hop> {
        let family = self.family();
        // Rules are ordered by priority; the kernel's own lookup of the main table comes last.
        let mut rules: Vec<&RoutingRule> = namespace.rules.iter().collect();
        rules.sort_by_key(|rule| rule.priority);
        for rule in rules {
            let source_matches = rule.from.is_none_or(|b| b.contains(self.packet.source));
            let device_matches = rule.device.is_none() || rule.device.as_deref() == from;
            if rule.family != family || !source_matches || !device_matches {
                continue;
            }
            match rule.action {
                RuleAction::Blackhole => {
                    self.note(|| Event::Unrouted {
                        rule: Some(rule.clone()),
                    });
                    return None;
                }
                RuleAction::Lookup(table) => {
                    if let Some((key, route)) = self.lookup(namespace, table) {
                        return self.routed(Some(rule), key, route);
                    }
                }
            }
        }
        match self.lookup(namespace, MAIN) {
            Some((key, route)) => self.routed(None, key, route),
            None => {
                self.note(|| Event::Unrouted { rule: None });
                None
            }
        }
    }

    fn routed(&mut self, rule: Option<&RoutingRule>, key: RouteKey, route: Route) -> Option<Hop> {
        let hop = match &route {
            Route::Blackhole => None,
            Route::Device(device) => Some((device.clone(), self.packet.destination)),
            Route::Via {
                device, gateway, ..
            } => Some((device.clone(), *gateway)),
        };
        self.note(|| Event::Routed {
            rule: rule.cloned(),
            key,
            route,
        });
        hop
    }

    /// The longest prefix of a table that holds the destination, of equals the lowest metric.
    fn lookup(&self, namespace: &Namespace, table: u32) -> Option<(RouteKey, Route)> {
        let destination = self.packet.destination;
        let whole = if destination.is_ipv4() { 32 } else { 128 };
        let connected = namespace
            .addresses
            .iter()
            .filter(|a| table == MAIN && a.length < whole)
            .filter_map(|a| {
                let key = RouteKey {
                    table,
                    destination: IpCidr::containing(a.address, a.length)?,
                    metric: 0,
                };
                Some((key, Route::Device(a.device.clone())))
            })
            .filter(|(key, _)| key.destination.contains(destination));
        namespace
            .routes
            .range(first_key(table)..)
            .take_while(|(key, _)| key.table == table)
            .filter(|(key, _)| key.destination.contains(destination))
            .map(|(key, route)| (key.clone(), route.clone()))
            .chain(connected)
            .max_by_key(|(key, _)| (key.destination.length(), std::cmp::Reverse(key.metric)))
    }

    /// All base chains of a hook in their order.
    fn hook(
        &mut self,
        namespace: &'a Namespace,
        hook: Hook,
        devices: Devices<'_>,
    ) -> Result<(), String> {
        let family = self.family();
        let mut chains: Vec<(Spot<'a>, &'a str, &'a Chain, i32)> = Vec::new();
        for (table_name, table) in &namespace.tables {
            let spot = Spot {
                table,
                table_name,
                hook,
            };
            for (name, chain) in &table.chains {
                if let Some(base) = chain.base
                    && table.family == family
                    && base.hook == hook
                    // The tracker translates replies itself, by what it remembers, and never what is invalid.
                    && !(base.nat && self.undo.is_some() && self.state != State::New)
                {
                    chains.push((spot, name, chain, base.priority));
                }
            }
        }
        chains.sort_by_key(|(_, _, _, priority)| *priority);
        for (spot, name, chain, _) in chains {
            if let Ending::Drop(reason) = self.chain(spot, name, chain, devices) {
                return Err(reason);
            }
        }
        Ok(())
    }

    fn chain(
        &mut self,
        spot: Spot<'a>,
        name: &'a str,
        chain: &'a Chain,
        devices: Devices<'_>,
    ) -> Ending {
        for (index, rule) in chain.rules.iter().enumerate() {
            if !rule
                .matches
                .iter()
                .all(|m| self.matches(spot.table, m, devices))
            {
                continue;
            }
            let Some(ruling) = self.act(spot.table, &rule.action, devices) else {
                continue;
            };
            self.note(|| Event::Rule {
                hook: spot.hook,
                table: spot.table_name.to_owned(),
                chain: name.to_owned(),
                index,
                ruling: ruling.clone(),
            });
            match ruling {
                Ruling::Log => {}
                Ruling::Accept | Ruling::Translate => return Ending::Accept,
                Ruling::Return => return Ending::Through,
                Ruling::Drop => return Ending::Drop(format!("chain {name}")),
                Ruling::Jump(to) => {
                    let Some((to, next)) = spot.table.chains.get_key_value(&to) else {
                        return Ending::Drop(format!("chain {to} does not exist"));
                    };
                    match self.chain(spot, to, next, devices) {
                        Ending::Through => {}
                        end => return end,
                    }
                }
            }
        }
        Ending::Through
    }

    /// What an action comes to for this packet; `None`: nothing, the next rule.
    fn act(&mut self, table: &Table, action: &Action, devices: Devices<'_>) -> Option<Ruling> {
        let ruling = |verdict: &Verdict| match verdict {
            Verdict::Accept => Ruling::Accept,
            Verdict::Drop => Ruling::Drop,
            Verdict::Return => Ruling::Return,
            Verdict::Jump(to) => Ruling::Jump(to.clone()),
        };
        let translation = |map: &String, address| match table.sets.get(map) {
            Some(Set::Translations(all)) => all.get(&address).copied(),
            _ => None,
        };
        match action {
            Action::Do(verdict) => Some(ruling(verdict)),
            Action::VerdictOf { direction, map } => {
                let device = device_of(devices, *direction).unwrap_or("");
                match table.sets.get(map) {
                    Some(Set::Verdicts(all)) => all.get(device).map(ruling),
                    _ => None,
                }
            }
            Action::SourceNat(map) => {
                self.packet.source = translation(map, self.packet.source)?;
                Some(Ruling::Translate)
            }
            Action::DestinationNat(map) => {
                self.packet.destination = translation(map, self.packet.destination)?;
                Some(Ruling::Translate)
            }
            Action::SourceNatTo(address) => {
                self.packet.source = *address;
                Some(Ruling::Translate)
            }
            Action::DestinationNatTo(address, _) => {
                self.packet.destination = *address;
                Some(Ruling::Translate)
            }
            // The host's address to the outside is not ours to know.
            Action::Masquerade => Some(Ruling::Accept),
            Action::Log { .. } => Some(Ruling::Log),
            // Nothing here is ever idle.
            Action::SetTimeout(_) => None,
            Action::ResetTcp => Some(Ruling::Drop),
        }
    }

    fn address(&self, end: End) -> IpAddr {
        match end {
            End::Source => self.packet.source,
            End::Destination => self.packet.destination,
        }
    }

    fn matches(&self, table: &Table, part: &Match, devices: Devices<'_>) -> bool {
        let packet = &self.packet;
        match part {
            Match::Established => self.state == State::Established,
            Match::Invalid => self.state == State::Invalid,
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
            Match::Icmp(range) => is_icmp(packet) && range.contains(packet.detail),
            Match::Traffic { end, set, kind } => {
                let set = table.sets.get(set);
                in_traffic_set(packet, self.address(*end), *kind, set)
            }
        }
    }
}

/// Whether the peer's address and the traffic are an element.
fn in_traffic_set(packet: &Packet, peer: IpAddr, kind: TrafficKind, set: Option<&Set>) -> bool {
    let number = u16::from(packet.protocol);
    match (kind, set) {
        (TrafficKind::Ports, Some(Set::Ports(all))) => {
            has_ports(packet)
                && all.iter().any(|(block, protocol, ports)| {
                    block.contains(peer)
                        && *protocol == packet.protocol
                        && ports.contains(packet.detail)
                })
        }
        (TrafficKind::Icmp, Some(Set::Icmp(all))) => all
            .iter()
            .any(|(block, kinds)| block.contains(peer) && kinds.contains(packet.detail)),
        (TrafficKind::Protocols, Some(Set::Protocols(all))) => all
            .iter()
            .any(|(block, numbers)| block.contains(peer) && numbers.contains(number)),
        _ => false,
    }
}

fn first_key(table: u32) -> RouteKey {
    RouteKey {
        table,
        destination: fogbank_types::Ipv4Cidr::ANY.into(),
        metric: 0,
    }
}

fn is_own(namespace: &Namespace, address: IpAddr) -> bool {
    namespace.addresses.iter().any(|a| a.address == address)
}

fn forwards(namespace: &Namespace, family: Family) -> bool {
    let path = match family {
        Family::V4 => "ipv4/ip_forward",
        Family::V6 => "ipv6/conf/all/forwarding",
    };
    namespace.sysctls.get(path).map(String::as_str) == Some("1")
}

fn has_ports(packet: &Packet) -> bool {
    matches!(packet.protocol, 6 | 17)
}

/// ICMP of the packet's own family.
fn is_icmp(packet: &Packet) -> bool {
    packet.protocol == Family::of(packet.source).icmp()
}

fn device_of<'d>(devices: Devices<'d>, direction: Direction) -> Option<&'d str> {
    match direction {
        Direction::In => devices.from,
        Direction::Out => devices.to,
    }
}

/// Who listens at a namespace's own address.
fn endpoint(role: &Role, destination: IpAddr) -> Endpoint {
    match role {
        Role::Eni(id) => Endpoint::Eni(id.clone()),
        Role::Vpc(id) => Endpoint::Platform(id.clone()),
        Role::Host => Endpoint::Outside,
        Role::Edge => Endpoint::Service(destination),
    }
}
