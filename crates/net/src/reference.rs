//! Routing and firewall exactly as AWS words them: naive, short, straight from the snapshot.
//!
//! Used by tests, which compare it with what `compile` made. It never sees `compile` and shares
//! nothing with it but the rows; where the two differ, one of them is wrong. A row that names
//! something unknown lets nothing through.
//!
//! Facts VPC-11, RTB-2, RTB-3, RTB-6, RTB-11, IGW-2, IGW-5, IGW-6, NAT-3 to NAT-9, SG-1, SG-9,
//! SG-10, SG-14, ACL-1, ACL-2, ACL-9, PEER-1, PEER-2.

use crate::packet::{Endpoint, Fate, Origin, Packet};
use fogbank_types::ec2::*;
use fogbank_types::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// A packet through more appliances than this is going in circles.
const HOPS: u8 = 8;

/// What AWS would do with the first packet of a connection.
pub fn fate(snapshot: &Snapshot, config: &RegionConfig, origin: &Origin, packet: Packet) -> Fate {
    let mut region = Region::new(snapshot, config);
    region.fate(origin, packet)
}

/// What AWS would do with the answer to a packet that was delivered: the destination sends it to
/// the source as it saw it, to the port or with the ICMP type that `detail` says. Groups let it
/// pass (fact SG-10); network ACLs and routes judge it like any other packet (facts ACL-1, RTB-10).
/// `None` if nobody there could answer: an appliance got what was not addressed to it.
pub fn reply(
    snapshot: &Snapshot,
    config: &RegionConfig,
    origin: &Origin,
    packet: Packet,
    detail: u16,
) -> Option<Fate> {
    let mut region = Region::new(snapshot, config);
    let Fate::Delivered { to, seen_as } = region.fate(origin, packet) else {
        return None;
    };
    region.replying = true;
    region.client = (*origin == Origin::Outside).then_some(packet.source);
    let answer = |source| Packet {
        source,
        destination: seen_as,
        detail,
        ..packet
    };
    let answer = match &to {
        Endpoint::Eni(id) => {
            let eni = region.local_enis().find(|eni| eni.eni_id == *id)?;
            // As it arrived, its gateway's translation done.
            let source = region.arrived.unwrap_or(packet.destination);
            if !owns(eni, source) {
                return None;
            }
            Some(region.fate(&Origin::Eni(id.clone()), answer(source)))
        }
        Endpoint::Outside => Some(region.fate(&Origin::Outside, answer(packet.destination))),
        Endpoint::Service(address) => Some(region.answer_of_service(answer(*address))),
        // The platform's answers are not filtered either (fact VPC-11).
        Endpoint::Platform(_) => None,
    };
    answer.filter(|_| !region.astray)
}

type Outcome = Result<(Endpoint, IpAddr), &'static str>;

fn finish(outcome: Outcome) -> Fate {
    match outcome {
        Ok((to, seen_as)) => Fate::Delivered { to, seen_as },
        Err(reason) => Fate::Dropped(reason.to_owned()),
    }
}

/// How a packet leaves its VPC for another.
#[derive(Copy, Clone, PartialEq)]
enum Way {
    Peering,
    World,
}

enum Hop<'a> {
    Local,
    InternetGateway,
    EgressOnlyGateway,
    Nat(&'a Eni),
    Interface(&'a Eni),
    Peer(&'a VpcId),
    Service,
}

struct Region<'a> {
    snapshot: &'a Snapshot,
    config: &'a RegionConfig,
    /// The packet belongs to a connection that was let through.
    replying: bool,
    /// Who outside the region gets the answer.
    client: Option<IpAddr>,
    /// The answer went where the packet did not come from, and AWS does not say what happens.
    astray: bool,
    ways: Vec<Way>,
    /// The destination that an interface saw on the packet.
    arrived: Option<IpAddr>,
    /// The interfaces whose groups let the packet through, out or in.
    tracking: Vec<EniId>,
    /// Whose packet a gateway endpoint carried.
    through_endpoint: Option<&'a Eni>,
    /// What NAT gateways remember: the gateway's interface, and whom it speaks for.
    translations: Vec<(&'a Eni, IpAddr)>,
}

impl<'a> Region<'a> {
    fn new(snapshot: &'a Snapshot, config: &'a RegionConfig) -> Self {
        Self {
            snapshot,
            config,
            replying: false,
            client: None,
            astray: false,
            ways: Vec::new(),
            arrived: None,
            tracking: Vec::new(),
            through_endpoint: None,
            translations: Vec::new(),
        }
    }

    /// By the way that the packet came: an endpoint, or a gateway to the world.
    fn answer_of_service(&mut self, packet: Packet) -> Fate {
        let outcome = match self.through_endpoint {
            Some(vpc_of) => self
                .owner(&vpc_of.vpc_id, packet.destination)
                .and_then(|eni| self.acl_check(eni, packet, false).map(|()| eni))
                .and_then(|eni| self.arrive(eni, packet, HOPS)),
            None => self.leave(packet),
        };
        finish(outcome)
    }

    fn fate(&mut self, origin: &Origin, packet: Packet) -> Fate {
        let outcome = match origin {
            Origin::Outside => self.enter(packet),
            Origin::Eni(id) => match self.local_enis().find(|eni| eni.eni_id == *id) {
                // Loopback is never filtered (fact SG-14).
                Some(eni) if owns(eni, packet.destination) => {
                    Ok((Endpoint::Eni(eni.eni_id.clone()), packet.source))
                }
                Some(eni) => self.send(eni, packet, HOPS),
                None => Err("the interface is not on this host"),
            },
        };
        finish(outcome)
    }

    fn local_enis(&self) -> impl Iterator<Item = &'a Eni> + use<'a> {
        let host = &self.config.host;
        let enis = self.snapshot.enis.all().map(Arc::as_ref);
        enis.filter(move |eni| eni.host.as_ref() == Some(host))
    }

    fn subnet(&self, eni: &Eni) -> Result<&'a Subnet, &'static str> {
        let subnet = self.snapshot.subnets.get(&eni.scope, &eni.subnet_id);
        subnet.map(Arc::as_ref).ok_or("no such subnet")
    }

    fn vpc(&self, eni: &Eni) -> Result<&'a Vpc, &'static str> {
        let vpc = self.snapshot.vpcs.get(&eni.scope, &eni.vpc_id);
        vpc.map(Arc::as_ref).ok_or("no such VPC")
    }

    fn is_of_vpc(&self, eni: &Eni, address: IpAddr) -> bool {
        self.vpc(eni)
            .is_ok_and(|vpc| vpc.all_blocks().any(|block| block.contains(address)))
    }

    /// Whoever has a private or an IPv6 address in a VPC.
    fn owner(&self, vpc_id: &VpcId, address: IpAddr) -> Result<&'a Eni, &'static str> {
        self.local_enis()
            .find(|eni| eni.vpc_id == *vpc_id && owns(eni, address))
            .ok_or("nobody has the address")
    }

    /// The address by which the internet knows an interface's address. IPv6 addresses are public.
    /// <https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Internet_Gateway.html>
    fn public_address(&self, eni: &Eni, address: IpAddr) -> Option<IpAddr> {
        match address {
            IpAddr::V4(private) => self.snapshot.public_ip(eni, private).map(IpAddr::V4),
            IpAddr::V6(_) => Some(address),
        }
    }

    fn has_internet_gateway(&self, vpc_id: &VpcId) -> bool {
        let mut gateways = self.snapshot.internet_gateways.all();
        gateways.any(|gateway| gateway.attached_vpc.as_ref() == Some(vpc_id))
    }

    fn send(&mut self, eni: &'a Eni, packet: Packet, hops: u8) -> Outcome {
        if hops == 0 {
            return Err("going in circles");
        }
        self.zone_check(eni)?;
        // Fact EIP-6.
        if eni.source_dest_check && !owns(eni, packet.source) {
            return Err("source check");
        }
        if let Some(outcome) = self.platform(eni, packet) {
            return outcome;
        }
        self.group_check(eni, packet, true)?;
        match self.route(eni, packet.destination)? {
            Hop::Local => {
                let target = self.owner(&eni.vpc_id, packet.destination)?;
                self.cross(eni, target, packet)?;
                self.arrive(target, packet, hops)
            }
            Hop::Interface(target) => {
                if target.source_dest_check && !owns(target, packet.destination) {
                    return Err("destination check");
                }
                // Appliances get the middle of connections that went another way.
                self.astray |= self.replying && !owns(target, packet.destination);
                self.cross(eni, target, packet)?;
                self.arrive(target, packet, hops)
            }
            Hop::Nat(nat) => {
                self.cross(eni, nat, packet)?;
                self.translate(nat, packet, hops)
            }
            Hop::InternetGateway | Hop::EgressOnlyGateway => {
                self.acl_check(eni, packet, true)?;
                let sender = self.owner(&eni.vpc_id, packet.source)?;
                let public = self.public_address(sender, packet.source);
                let source = public.ok_or("no public address")?;
                self.leave(Packet { source, ..packet })
            }
            // Straight to the interface: the peer's routes and gateways are not for us (PEER-1).
            // <https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-basics.html>
            Hop::Peer(vpc_id) => {
                self.travel(Way::Peering);
                if !self.is_of_vpc(eni, packet.source) {
                    return Err("peering carries its two VPCs' addresses only");
                }
                let target = self.owner(vpc_id, packet.destination)?;
                self.cross(eni, target, packet)?;
                self.arrive(target, packet, hops)
            }
            // Without a public address and whatever gateways there are (fact PEER-2).
            Hop::Service => {
                if !self.is_of_vpc(eni, packet.source) {
                    return Err("a gateway endpoint serves its VPC only");
                }
                self.acl_check(eni, packet, true)?;
                self.through_endpoint = Some(eni);
                self.serve(packet)
            }
        }
    }

    /// Resolver and metadata are never filtered by groups or ACLs (fact VPC-11), and what else is
    /// in AWS's ranges is never forwarded.
    /// <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-route-tables.html#route-table-reserved>
    fn platform(&self, eni: &Eni, packet: Packet) -> Option<Outcome> {
        let vpc = self.vpc(eni).ok()?;
        let to = packet.destination;
        let services = [
            IpAddr::V4(vpc.resolver()),
            IpAddr::V4(Ipv4Addr::new(169, 254, 169, 253)),
            IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
            IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
        ];
        let resolver_v6 = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253);
        if services.contains(&to) || to == resolver_v6 {
            let served = match (packet.protocol, packet.detail) {
                (6 | 17, 53) => true,
                (6, 80) => to.is_ipv4(),
                _ => false,
            };
            return Some(if served {
                Ok((Endpoint::Platform(vpc.vpc_id.clone()), packet.source))
            } else {
                Err("no such service")
            });
        }
        if in_any(
            &["169.254.168.0/22", "fd00:ec2::/32", "fe80::/10", "ff00::/8"],
            to,
        ) {
            return Some(Err("never forwarded"));
        }
        let mut subnets = self.snapshot.subnets.all();
        let router = subnets.any(|s| s.vpc_id == eni.vpc_id && IpAddr::V4(s.router()) == to);
        router.then_some(Err("routers don't answer"))
    }

    /// The most specific route decides; among equals local, then static, then the first of the
    /// prefix lists (fact RTB-2).
    /// <https://docs.aws.amazon.com/vpc/latest/userguide/route-tables-priority.html>
    fn route(&self, eni: &Eni, destination: IpAddr) -> Result<Hop<'a>, &'static str> {
        let table = self.snapshot.route_table_of(self.subnet(eni)?);
        let table = table.ok_or("no route table")?;
        let mut best: Option<((u8, u8), Option<RouteTarget>)> = None;
        let mut offer = |block: IpCidr, rank: u8, target: Option<&RouteTarget>| {
            let weight = (block.length(), rank);
            if block.contains(destination) && best.as_ref().is_none_or(|(w, _)| *w < weight) {
                best = Some((weight, target.cloned()));
            }
        };
        for block in self.vpc(eni)?.all_blocks() {
            offer(block, 2, None);
        }
        for route in self.snapshot.routes_of(table) {
            match &route.destination {
                RouteDestination::Block(block) => offer(*block, 1, Some(&route.target)),
                RouteDestination::PrefixList(id) => {
                    let list = self.snapshot.prefix_list(&table.scope, id, self.config);
                    for block in list.unwrap_or_default() {
                        offer(block, 0, Some(&route.target));
                    }
                }
            }
        }
        let (_, target) = best.ok_or("no route")?;
        match target {
            None => Ok(Hop::Local),
            Some(target) => self.hop(table, &target).ok_or("blackhole"),
        }
    }

    /// What a route's target is now (fact RTB-6). It must be of the table's VPC (fact RTB-5).
    fn hop(&self, table: &RouteTable, target: &RouteTarget) -> Option<Hop<'a>> {
        if !self.snapshot.target_is_alive(table, target) {
            return None;
        }
        let interface = |id: &EniId| {
            let mut enis = self.local_enis();
            enis.find(|eni| eni.eni_id == *id && eni.vpc_id == table.vpc_id)
        };
        let scope = &table.scope;
        match target {
            RouteTarget::InternetGateway(_) => Some(Hop::InternetGateway),
            RouteTarget::EgressOnlyInternetGateway(_) => Some(Hop::EgressOnlyGateway),
            RouteTarget::NetworkInterface(id) => interface(id).map(Hop::Interface),
            RouteTarget::NatGateway(id) => {
                let gateway = self.snapshot.nat_gateways.get(scope, id)?;
                let available = gateway.state == NatGatewayState::Available;
                let eni = gateway.eni_id.as_ref().filter(|_| available)?;
                interface(eni).map(Hop::Nat)
            }
            RouteTarget::VpcPeeringConnection(id) => {
                let mut peerings = self.snapshot.peerings.all();
                let peering = peerings.find(|peering| peering.peering_id == *id)?;
                let (_, other) = peering.sides(scope, &table.vpc_id)?;
                Some(Hop::Peer(&other.vpc_id))
            }
            RouteTarget::VpcEndpoint(_) => Some(Hop::Service),
        }
    }

    /// From one interface to another: ACLs act at the border between two subnets only (ACL-1).
    fn cross(&self, from: &Eni, to: &Eni, packet: Packet) -> Result<(), &'static str> {
        if from.subnet_id != to.subnet_id {
            self.acl_check(from, packet, true)?;
            self.acl_check(to, packet, false)?;
        }
        Ok(())
    }

    fn arrive(&mut self, eni: &'a Eni, packet: Packet, hops: u8) -> Outcome {
        self.zone_check(eni)?;
        if let EniOwner::NatGateway(_) = eni.owner {
            let mut known = self.translations.iter();
            let client = known.rfind(|(nat, _)| nat.eni_id == eni.eni_id);
            return match client {
                Some((_, destination)) if self.replying => {
                    let destination = *destination;
                    let packet = Packet {
                        destination,
                        ..packet
                    };
                    self.send(eni, packet, hops - 1)
                }
                _ => {
                    self.astray = self.replying;
                    Err("a NAT gateway answers nobody")
                }
            };
        }
        self.group_check(eni, packet, false)?;
        self.arrived = Some(packet.destination);
        Ok((Endpoint::Eni(eni.eni_id.clone()), packet.source))
    }

    /// Facts NAT-5, NAT-7. NAT64 is not served.
    fn translate(&mut self, nat: &'a Eni, packet: Packet, hops: u8) -> Outcome {
        self.zone_check(nat)?;
        if self.replying {
            self.astray = true;
            return Err("the middle of a connection that the NAT gateway has not seen begin");
        }
        if owns(nat, packet.destination) {
            return Err("a NAT gateway answers nobody");
        }
        if !packet.source.is_ipv4() || !matches!(packet.protocol, 1 | 6 | 17) {
            return Err("NAT knows TCP, UDP and ICMP of IPv4");
        }
        if !self.is_of_vpc(nat, packet.source) {
            return Err("NAT serves its VPC only");
        }
        self.translations.push((nat, packet.source));
        let source = IpAddr::V4(nat.private_ip);
        self.send(nat, Packet { source, ..packet }, hops - 1)
    }

    /// Through a gateway to the world: back into the region, or out of it.
    fn leave(&mut self, packet: Packet) -> Outcome {
        if self.client == Some(packet.destination) {
            return Ok((Endpoint::Outside, packet.source));
        }
        let own = match packet.destination {
            IpAddr::V4(to) => self.config.public_cidr.contains(to),
            IpAddr::V6(to) => self.config.public_cidr_v6.contains(to),
        };
        if own {
            return self.enter(packet);
        }
        let never = [
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "224.0.0.0/3",
            // All but global unicast; then what is for tests and for documentation.
            "::/3",
            "4000::/2",
            "8000::/1",
            "2001:2::/48",
            "2001:db8::/32",
        ];
        // The host lends the region its own addresses.
        if self.config.internet == InternetAccess::None || in_any(&never, packet.destination) {
            return Err("not routed on the internet");
        }
        Ok((Endpoint::Outside, packet.source))
    }

    fn travel(&mut self, way: Way) {
        if self.replying {
            self.astray |= !self.ways.contains(&way);
        } else {
            self.ways.push(way);
        }
    }

    /// To a public address: by the internet gateway of the VPC that has it.
    fn enter(&mut self, packet: Packet) -> Outcome {
        self.travel(Way::World);
        if self.is_service(packet.destination) {
            return self.serve(packet);
        }
        let mapped = self.local_enis().find_map(|eni| {
            let mut own = eni.all_addresses();
            let private =
                own.find(|own| self.public_address(eni, *own) == Some(packet.destination))?;
            Some((eni, private))
        });
        let (eni, destination) = mapped.ok_or("nobody has the public address")?;
        // An egress-only gateway lets in nothing but answers (fact IGW-6).
        // <https://docs.aws.amazon.com/vpc/latest/userguide/egress-only-internet-gateway.html>
        let by_egress_only = destination.is_ipv6()
            && matches!(self.route(eni, packet.source), Ok(Hop::EgressOnlyGateway));
        let passes = if by_egress_only {
            self.replying
        } else {
            self.has_internet_gateway(&eni.vpc_id)
        };
        if !passes {
            return Err("no gateway lets it in");
        }
        let packet = Packet {
            destination,
            ..packet
        };
        self.acl_check(eni, packet, false)?;
        self.arrive(eni, packet, HOPS)
    }

    fn is_service(&self, address: IpAddr) -> bool {
        aws_service::AWS_SERVICES.iter().any(|service| {
            address == self.config.service_address(service)
                || address == self.config.service_address_v6(service)
        })
    }

    /// AWS's services answer HTTP and HTTPS.
    fn serve(&self, packet: Packet) -> Outcome {
        let served = matches!((packet.protocol, packet.detail), (6, 80 | 443));
        if served && self.is_service(packet.destination) {
            Ok((Endpoint::Service(packet.destination), packet.source))
        } else {
            Err("no such service")
        }
    }

    /// No packet enters or leaves an interface of a zone that has failed.
    fn zone_check(&self, eni: &Eni) -> Result<(), &'static str> {
        match self.snapshot.zone_fault(&eni.zone) {
            Some(ZoneFaultKind::Failed | ZoneFaultKind::Isolated) => Err("the zone has failed"),
            Some(ZoneFaultKind::Slow { .. }) | None => Ok(()),
        }
    }

    /// Whether interfaces of the other VPC count for group references in this one: it is the same,
    /// or actively peered in the same Region (fact SG-9).
    /// <https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-security-groups.html>
    fn are_neighbours(&self, one: &Eni, other: &Eni) -> bool {
        let peered = |peering: &Arc<VpcPeeringConnection>| {
            peering.status == PeeringStatus::Active
                && peering.requester.scope.region == peering.accepter.scope.region
                && peering
                    .sides(&one.scope, &one.vpc_id)
                    .is_some_and(|(_, far)| far.vpc_id == other.vpc_id && far.scope == other.scope)
        };
        one.vpc_id == other.vpc_id || self.snapshot.peerings.all().any(peered)
    }

    /// Allowed if any rule of any group allows it (fact SG-1).
    fn group_check(&mut self, eni: &Eni, packet: Packet, egress: bool) -> Result<(), &'static str> {
        if let EniOwner::NatGateway(_) = eni.owner {
            return Ok(());
        }
        if self.replying {
            // Whoever did not see the connection begin does not know it.
            self.astray |= !self.tracking.contains(&eni.eni_id);
            return Ok(());
        }
        let peer = peer_of(packet, egress);
        let in_group = |group: &SecurityGroupId| {
            let mut all = self.snapshot.enis.all();
            all.any(|other| {
                other.groups.contains(group) && owns(other, peer) && self.are_neighbours(eni, other)
            })
        };
        let allows = |rule: &SecurityGroupRule| {
            rule.egress == egress
                && names(rule.traffic, packet)
                && match &rule.peer {
                    RulePeer::Ipv4(block) => IpCidr::V4(*block).contains(peer),
                    RulePeer::Ipv6(block) => IpCidr::V6(*block).contains(peer),
                    RulePeer::Group(group) => in_group(group),
                    RulePeer::PrefixList(id) => {
                        let list = self.snapshot.prefix_list(&eni.scope, id, self.config);
                        list.is_some_and(|list| list.iter().any(|block| block.contains(peer)))
                    }
                }
        };
        let groups = eni.groups.iter();
        let mut groups = groups.filter_map(|id| self.snapshot.security_groups.get(&eni.scope, id));
        if groups.any(|group| group.rules.iter().any(allows)) {
            self.tracking.push(eni.eni_id.clone());
            Ok(())
        } else if egress {
            Err("egress rules")
        } else {
            Err("ingress rules")
        }
    }

    /// The first entry in order of number decides; the last, unwritten one denies (fact ACL-2).
    fn acl_check(&self, eni: &Eni, packet: Packet, egress: bool) -> Result<(), &'static str> {
        let peer = peer_of(packet, egress);
        let acl = self.snapshot.network_acl_of(self.subnet(eni)?);
        let entries = acl.iter().flat_map(|acl| &acl.entries);
        let first = entries
            .filter(|entry| entry.egress == egress)
            .filter(|entry| entry.cidr_block.contains(peer) && names(entry.traffic, packet))
            .min_by_key(|entry| entry.number);
        match first {
            Some(entry) if entry.allow => Ok(()),
            _ => Err("network ACL"),
        }
    }
}

fn owns(eni: &Eni, address: IpAddr) -> bool {
    eni.all_addresses().any(|own| own == address)
}

/// The far end, as rules see it.
fn peer_of(packet: Packet, egress: bool) -> IpAddr {
    if egress {
        packet.destination
    } else {
        packet.source
    }
}

fn in_any(blocks: &[&str], address: IpAddr) -> bool {
    blocks.iter().any(|text| {
        let block: IpCidr = text.parse().expect("a literal");
        block.contains(address)
    })
}

/// Whether a rule's protocol, ports or types are the packet's.
fn names(traffic: Traffic, packet: Packet) -> bool {
    let is = |number: u8| packet.protocol == number;
    let icmp = |(kind, code): (u8, Option<u8>)| {
        packet.detail >> 8 == u16::from(kind)
            && code.is_none_or(|code| packet.detail & 0xff == u16::from(code))
    };
    match traffic {
        Traffic::All => true,
        Traffic::Tcp(ports) => is(6) && ports.contains(packet.detail),
        Traffic::Udp(ports) => is(17) && ports.contains(packet.detail),
        Traffic::Icmp(kind) => is(1) && kind.is_none_or(icmp),
        Traffic::Icmpv6(kind) => is(58) && kind.is_none_or(icmp),
        Traffic::Protocol(number) => is(number),
    }
}
