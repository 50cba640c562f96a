//! Random regions, changes and packets. Few addresses and names, so that things meet.
#![allow(dead_code, clippy::unwrap_used)]

use super::*;
use fogbank_net::packet::{Origin, Packet};
use std::collections::BTreeSet;

/// Repeatable choices (SplitMix64): a failure names its seed.
#[derive(Clone)]
pub struct Dice {
    state: u64,
}

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0xd134_2543_de82_ef95),
        }
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

pub const PORTS: [u16; 6] = [0, 22, 53, 80, 443, 65535];
pub const ZONES: [&str; 3] = ["us-east-1a", "us-east-1b", "us-east-1c"];

pub fn any_traffic(dice: &mut Dice) -> Traffic {
    let (a, b) = (dice.pick(&PORTS), dice.pick(&PORTS));
    let kind = |dice: &mut Dice, echo: u8| match dice.below(3) {
        0 => None,
        1 => Some((echo, None)),
        _ => Some((echo, Some(dice.below(2) as u8))),
    };
    match dice.below(10) {
        0 | 1 => Traffic::All,
        2..=4 => tcp(a.min(b), a.max(b)),
        5 => udp(a.min(b), a.max(b)),
        6 => Traffic::Icmp(kind(dice, 8)),
        7 => Traffic::Icmpv6(kind(dice, 128)),
        8 => Traffic::Protocol(dice.pick(&[47, 132])),
        _ => tcp(80, 80),
    }
}

pub const BLOCKS_V4: [&str; 12] = [
    "0.0.0.0/0",
    "0.0.0.0/0",
    "10.0.0.0/16",
    "10.0.0.0/8",
    "10.0.1.0/24",
    "10.0.1.10/32",
    "10.0.1.8/29",
    "10.1.2.0/24",
    "100.64.0.0/16",
    "198.18.0.0/16",
    "198.18.255.254/32",
    "198.18.0.8/29",
];

pub const BLOCKS_V6: [&str; 9] = [
    "::/0",
    "::/0",
    "2001:2::/48",
    "2001:2:0:100::/56",
    "2001:2:0:101::/64",
    "2001:2:0:101::a/128",
    "2001:2:0:102::8/125",
    "2001:2:0:201::/64",
    "2001:2::8/125",
];

pub fn any_block(dice: &mut Dice) -> IpCidr {
    if dice.chance(3) {
        block(dice.pick(&BLOCKS_V6))
    } else {
        block(dice.pick(&BLOCKS_V4))
    }
}

fn block_peer(block: IpCidr) -> RulePeer {
    match block {
        IpCidr::V4(block) => RulePeer::Ipv4(block),
        IpCidr::V6(block) => RulePeer::Ipv6(block),
    }
}

pub fn all<T: Row + Clone>(region: &Region) -> Vec<T> {
    let rows = T::table(&region.snapshot).all();
    rows.map(|row| row.as_ref().clone()).collect()
}

/// A rule for a group of this region: groups and lists may be unknown, of another VPC, or stale.
pub fn any_rule(region: &mut Region, dice: &mut Dice) -> SecurityGroupRule {
    let groups = all::<SecurityGroup>(region);
    let lists = all::<PrefixList>(region);
    let peer = match dice.below(8) {
        0..=2 if !groups.is_empty() => RulePeer::Group(dice.pick(&groups).group_id),
        3 if !lists.is_empty() => RulePeer::PrefixList(dice.pick(&lists).prefix_list_id),
        4 => match dice.below(3) {
            0 => RulePeer::PrefixList(service_list(dice)),
            1 => RulePeer::PrefixList(PrefixListId::from_bits(1)),
            _ => RulePeer::Group(SecurityGroupId::from_bits(1)),
        },
        _ => block_peer(any_block(dice)),
    };
    let egress = dice.chance(2);
    let traffic = any_traffic(dice);
    region.rule(egress, traffic, peer)
}

/// AWS's own list of S3 or DynamoDB.
fn service_list(dice: &mut Dice) -> PrefixListId {
    let name = dice.pick(&["s3", "dynamodb"]);
    aws_service::prefix_list_id(&format!("com.amazonaws.us-east-1.{name}"))
}

/// Two or three VPCs, some with one block, so that mixing them up shows; some peered.
pub fn any_region(seed: u64) -> Region {
    let mut dice = Dice::new(seed);
    let mut region = Region::default();
    for _ in 0..1 + dice.below(3) {
        let blocks: Vec<&str> = (0..1 + dice.below(4))
            .map(|_| {
                if dice.chance(3) {
                    dice.pick(&BLOCKS_V6)
                } else {
                    dice.pick(&BLOCKS_V4)
                }
            })
            .collect();
        region.prefix_list(&blocks);
    }
    let vpcs: Vec<Vpc> = (0..2 + dice.below(2))
        .map(|number| any_vpc(&mut region, &mut dice, number))
        .collect();
    any_peerings(&mut region, &mut dice, &vpcs);
    for vpc in &vpcs {
        any_groups(&mut region, &mut dice, vpc);
        any_interfaces(&mut region, &mut dice, vpc);
    }
    for subnet in all::<Subnet>(&region) {
        any_table(&mut region, &mut dice, &subnet);
        any_acl(&mut region, &mut dice, &subnet);
    }
    for vpc in &vpcs {
        any_gateway_endpoint(&mut region, &mut dice, vpc);
    }
    if dice.chance(4) {
        any_fault(&mut region, &mut dice);
    }
    region
}

/// Number 0 to 2, with three subnets or four, and gateways.
fn any_vpc(region: &mut Region, dice: &mut Dice, number: usize) -> Vpc {
    let second = match number {
        0 => 0,
        1 => dice.below(2),
        _ => 1 + dice.below(2),
    };
    let mut vpc = region.vpc(&format!("10.{second}.0.0/16"));
    let has_v6 = !dice.chance(4);
    let v6 = number + 1;
    if has_v6 {
        region.add_block(&mut vpc, &format!("2001:2:0:{v6}00::/56"));
    }
    let mut blocks: Vec<String> = (1..=3).map(|n| format!("10.{second}.{n}.0/24")).collect();
    if dice.chance(2) {
        let third = dice.below(2);
        region.add_block(&mut vpc, &format!("100.64.{third}.0/24"));
        blocks.push(format!("100.64.{third}.0/26"));
    }
    for (block, n) in blocks.iter().zip(1..) {
        let mut subnet = region.subnet(&vpc, block);
        subnet.zone = dice.pick(&ZONES).to_owned();
        region.put(subnet.clone());
        if has_v6 && !dice.chance(4) {
            region.add_v6(&mut subnet, &format!("2001:2:0:{v6}0{n}::/64"));
        }
    }
    if !dice.chance(6) {
        region.gateway(&vpc);
    }
    if dice.chance(2) {
        region.egress_only(&vpc);
    }
    vpc
}

/// VPCs whose blocks overlap are never peered (fact PEER-1).
fn any_peerings(region: &mut Region, dice: &mut Dice, vpcs: &[Vpc]) {
    for (index, one) in vpcs.iter().enumerate() {
        for other in &vpcs[..index] {
            let mut pairs = one
                .all_blocks()
                .flat_map(|a| other.all_blocks().map(move |b| (a, b)));
            if pairs.any(|(a, b)| a.overlaps(b)) || dice.chance(4) {
                continue;
            }
            let mut peering = if dice.chance(2) {
                region.peering(one, other)
            } else {
                region.peering(other, one)
            };
            if dice.chance(5) {
                peering.status = PeeringStatus::Deleted;
                region.put(peering);
            }
        }
    }
}

fn any_groups(region: &mut Region, dice: &mut Dice, vpc: &Vpc) {
    let mut groups: Vec<SecurityGroup> = (0..3).map(|_| region.group(vpc, vec![])).collect();
    for group in &mut groups {
        let mut rules: Vec<_> = (0..dice.below(6)).map(|_| any_rule(region, dice)).collect();
        for text in ["0.0.0.0/0", "::/0"] {
            let everyone = block_peer(block(text));
            if !dice.chance(6) {
                rules.push(region.rule(true, Traffic::All, everyone.clone()));
            }
            if dice.chance(3) {
                rules.push(region.rule(false, Traffic::All, everyone));
            }
        }
        if dice.chance(2) {
            let from = block_peer(any_block(dice));
            rules.push(region.rule(false, Traffic::All, from));
        }
        group.rules = rules;
        region.put(group.clone());
    }
}

pub fn of_vpc<T: Row + Clone>(region: &Region, is: impl Fn(&T) -> bool) -> Vec<T> {
    let mut rows = all::<T>(region);
    rows.retain(is);
    rows
}

fn any_interfaces(region: &mut Region, dice: &mut Dice, vpc: &Vpc) {
    let groups = of_vpc(region, |g: &SecurityGroup| g.vpc_id == vpc.vpc_id);
    let subnets = of_vpc(region, |s: &Subnet| s.vpc_id == vpc.vpc_id);
    // VPCs are made one after the other, so this is the same for the same VPC.
    let third = 1 + region.snapshot.enis.len() % 250;
    for (index, subnet) in subnets.iter().enumerate() {
        for n in 0..1 + dice.below(3) as u64 {
            let eni = any_eni(region, dice, subnet, 10 + n, &groups);
            if dice.chance(2) {
                let fourth = 10 * (index + 1) as u64 + n;
                region.elastic(&eni, &format!("198.18.{third}.{fourth}"));
            }
        }
    }
    if !dice.chance(4) {
        let (mut nat, _) = region.nat(&subnets[0], 20, &format!("198.18.{third}.200"));
        if dice.chance(6) {
            nat.state = NatGatewayState::Deleted;
            region.put(nat);
        }
    }
    if dice.chance(3) {
        region.private_nat(&subnets[1], 21);
    }
    if dice.chance(3) {
        let group = dice.pick(&groups);
        region.interface_endpoint(vpc, "logs", (&subnets[0], 22), &[&group]);
    }
}

pub fn any_eni(
    region: &mut Region,
    dice: &mut Dice,
    subnet: &Subnet,
    n: u64,
    groups: &[SecurityGroup],
) -> Eni {
    let mut chosen: Vec<&SecurityGroup> = groups.iter().filter(|_| dice.chance(2)).collect();
    if chosen.is_empty() && !dice.chance(4) {
        chosen.push(&groups[0]);
    }
    let mut eni = region.eni(subnet, n, &chosen);
    if dice.chance(5) {
        eni.source_dest_check = false;
    }
    if dice.chance(5) {
        eni.secondary_ips = vec![subnet.cidr_block.nth(n + 40).unwrap()];
    }
    if let Some(v6) = subnet.ipv6_block() {
        for offset in 0..dice.below(3) as u128 {
            eni.ipv6_addresses
                .push(v6.nth(u128::from(n) + offset * 16).unwrap());
        }
    }
    if dice.chance(10) {
        eni.host = None;
    }
    if dice.chance(10) {
        eni.connection_tracking = any_tracking(dice);
    }
    region.put(eni.clone());
    eni
}

/// Idle timeouts, of few values so that some are alike.
pub fn any_tracking(dice: &mut Dice) -> ConnectionTracking {
    let mut any = |values: [u32; 2]| dice.chance(2).then(|| dice.pick(&values));
    ConnectionTracking {
        tcp_established_timeout_s: any([60, 432_000]),
        udp_stream_timeout_s: any([90, 120]),
        udp_timeout_s: any([30, 60]),
    }
}

/// What a route of the VPC may lead to, mostly what makes sense there.
fn any_target(region: &Region, dice: &mut Dice, vpc_id: &VpcId, v4: bool) -> RouteTarget {
    let snapshot = &region.snapshot;
    let mut targets = Vec::new();
    for gateway in snapshot.internet_gateways.all() {
        if gateway.attached_vpc.as_ref() == Some(vpc_id) {
            let target = RouteTarget::InternetGateway(gateway.internet_gateway_id.clone());
            targets.extend([target.clone(), target]);
        }
    }
    for nat in snapshot.nat_gateways.all() {
        if nat.vpc_id == *vpc_id {
            targets.push(RouteTarget::NatGateway(nat.nat_gateway_id.clone()));
        }
    }
    for gateway in snapshot.egress_only_gateways.all() {
        if gateway.vpc_id == *vpc_id && !v4 {
            let id = gateway.egress_only_internet_gateway_id.clone();
            let target = RouteTarget::EgressOnlyInternetGateway(id);
            targets.extend([target.clone(), target]);
        }
    }
    for peering in snapshot.peerings.all() {
        if peering.sides(&scope(), vpc_id).is_some() || dice.chance(4) {
            let target = RouteTarget::VpcPeeringConnection(peering.peering_id.clone());
            targets.extend([target.clone(), target]);
        }
    }
    // A NAT gateway's interface is not the caller's to route to (fact NAT-3).
    let own = |eni: &&Arc<Eni>| !matches!(eni.owner, EniOwner::NatGateway(_));
    let enis: Vec<&Arc<Eni>> = snapshot.enis.all().filter(own).collect();
    let eni = dice.pick(&enis);
    if eni.vpc_id == *vpc_id || dice.chance(4) {
        targets.push(RouteTarget::NetworkInterface(eni.eni_id.clone()));
    }
    let nobody = RouteTarget::VpcPeeringConnection(VpcPeeringConnectionId::from_bits(9));
    if targets.is_empty() || dice.chance(12) {
        return nobody;
    }
    dice.pick(&targets)
}

/// A route that the table may have, whatever else it has.
pub fn any_route(region: &Region, dice: &mut Dice, vpc_id: &VpcId) -> Route {
    let destination = match dice.below(8) {
        0 | 1 => {
            // More specific than local: a whole other subnet through an appliance or NAT (RTB-3).
            let subnets = of_vpc(region, |s: &Subnet| s.vpc_id == *vpc_id);
            let to = dice.pick(&subnets);
            let v6 = to.ipv6_block().filter(|_| dice.chance(3));
            RouteDestination::Block(v6.map_or(to.cidr_block.into(), IpCidr::V6))
        }
        2 => RouteDestination::PrefixList(dice.pick(&all::<PrefixList>(region)).prefix_list_id),
        3 => RouteDestination::Block(block("198.18.0.0/28")),
        _ => RouteDestination::Block(any_block(dice)),
    };
    let v4 = destination.block().is_none_or(IpCidr::is_ipv4);
    let vpc = region.snapshot.vpcs.get(&scope(), vpc_id).unwrap();
    let inside = |block: IpCidr| vpc.all_blocks().any(|own| own.covers(block));
    let target = loop {
        let target = any_target(region, dice, vpc_id, v4);
        // The only targets of a route into the VPC itself (fact RTB-3).
        let appliance = matches!(
            target,
            RouteTarget::NatGateway(_) | RouteTarget::NetworkInterface(_)
        );
        let blocks = match &destination {
            RouteDestination::Block(block) => vec![*block],
            RouteDestination::PrefixList(id) => {
                let list = region.snapshot.prefix_lists.get(&scope(), id).unwrap();
                list.entries.iter().map(|entry| entry.cidr).collect()
            }
        };
        if appliance || !blocks.into_iter().any(inside) {
            break target;
        }
    };
    Route {
        destination,
        target,
    }
}

/// The subnet's own table, or none, so that the main one decides.
fn any_table(region: &mut Region, dice: &mut Dice, subnet: &Subnet) {
    if dice.chance(8) {
        return;
    }
    let vpc_id = &subnet.vpc_id;
    let mut routes = Vec::new();
    let mut add = |destination, target| {
        routes.push(Route {
            destination,
            target,
        });
    };
    for (text, v4) in [("0.0.0.0/0", true), ("::/0", false)] {
        if !dice.chance(5) {
            let target = any_target(region, dice, vpc_id, v4);
            add(RouteDestination::Block(block(text)), target);
        }
    }
    for peering in all::<VpcPeeringConnection>(region) {
        let Some((_, far)) = peering.sides(&scope(), vpc_id) else {
            continue;
        };
        let far = region.snapshot.vpcs.get(&far.scope, &far.vpc_id).unwrap();
        for block in far.all_blocks() {
            if !dice.chance(4) {
                let target = RouteTarget::VpcPeeringConnection(peering.peering_id.clone());
                add(RouteDestination::Block(block), target);
            }
        }
    }
    for _ in 0..dice.below(3) {
        routes.push(any_route(region, dice, vpc_id));
    }
    // One route a destination (fact RTB-4), and none for a local one's block (fact RTB-1).
    let vpc = region.snapshot.vpcs.get(&scope(), vpc_id).unwrap().clone();
    let mut seen: BTreeSet<_> = vpc.all_blocks().map(RouteDestination::Block).collect();
    routes.retain(|route| seen.insert(route.destination.clone()));
    let mut table = region.route_table(&vpc);
    table.associations.push(RouteTableAssociation {
        association_id: RouteTableAssociationId::from_bits(region.number()),
        subnet_id: Some(subnet.subnet_id.clone()),
    });
    table.routes = routes;
    region.put(table);
}

fn any_gateway_endpoint(region: &mut Region, dice: &mut Dice, vpc: &Vpc) {
    let mut tables = of_vpc(region, |t: &RouteTable| t.vpc_id == vpc.vpc_id);
    tables.retain(|_| dice.chance(2));
    let service = dice.pick(&["s3", "dynamodb"]);
    if dice.chance(2) {
        let tables: Vec<&RouteTable> = tables.iter().collect();
        region.gateway_endpoint(vpc, service, &tables);
    }
}

fn any_acl(region: &mut Region, dice: &mut Dice, subnet: &Subnet) {
    if !dice.chance(3) {
        return;
    }
    let mut entries: Vec<NetworkAclEntry> =
        (0..dice.below(5)).map(|_| any_acl_entry(dice)).collect();
    for (number, block) in [(100, "0.0.0.0/0"), (101, "::/0")] {
        for egress in [true, false] {
            if !dice.chance(6) {
                entries.push(entry(number, egress, true, Traffic::All, block));
            }
        }
    }
    // A number is used once a direction.
    let mut seen = BTreeSet::new();
    entries.retain(|e| seen.insert((e.egress, e.number)));
    let vpc = region.snapshot.vpcs.get(&scope(), &subnet.vpc_id).unwrap();
    let acl = region.acl(&vpc.as_ref().clone(), entries);
    region.guard(acl, subnet);
}

pub fn any_acl_entry(dice: &mut Dice) -> NetworkAclEntry {
    NetworkAclEntry {
        number: 1 + dice.below(50) as u16,
        egress: dice.chance(2),
        allow: !dice.chance(3),
        traffic: any_traffic(dice),
        cidr_block: any_block(dice),
    }
}

pub fn any_fault(region: &mut Region, dice: &mut Dice) {
    let kind = match dice.below(3) {
        0 => ZoneFaultKind::Failed,
        1 => ZoneFaultKind::Isolated,
        _ => ZoneFaultKind::Slow { delay_ms: 1 },
    };
    region.fault(dice.pick(&ZONES), kind);
}

const ODD_V4: [&str; 14] = [
    "10.0.1.99",
    "10.0.1.1",
    "10.0.0.2",
    "10.1.0.2",
    "10.0.9.9",
    "10.2.1.10",
    "169.254.169.253",
    "169.254.169.123",
    "169.254.170.2",
    "169.254.168.9",
    "198.18.77.7",
    "198.18.255.254",
    "8.8.8.8",
    "192.168.1.1",
];

const ODD_V6: [&str; 8] = [
    "fd00:ec2::253",
    "fd00:ec2::77",
    "2001:2:0:101::99",
    "2001:2:0:101::1",
    "2001:2:0:9999::1",
    "2606:4700::1111",
    "fd12::1",
    "fe80::1",
];

const SERVICES: [&str; 6] = [
    "198.18.0.8",
    "198.18.0.9",
    "198.18.0.10",
    "2001:2::8",
    "2001:2::9",
    "2001:2::a",
];

/// The host's addresses, as clients outside have them.
pub const OUTSIDE: [&str; 2] = ["198.18.255.254", "2001:2:0:ffff:ffff:ffff:ffff:fffe"];

/// Packets of one region.
pub struct Packets {
    enis: Vec<Eni>,
    senders: Vec<Eni>,
    public: Vec<IpAddr>,
}

impl Packets {
    pub fn new(region: &Region) -> Self {
        let enis = all::<Eni>(region);
        // Nobody sits in a NAT gateway and sends, nor on another host.
        let sends =
            |eni: &&Eni| eni.host.is_some() && !matches!(eni.owner, EniOwner::NatGateway(_));
        let senders = enis.iter().filter(sends).cloned().collect();
        let addresses = region.snapshot.elastic_ips.all();
        let v4 = addresses.map(|address| IpAddr::V4(address.public_ip));
        let v6 = enis.iter().flat_map(|eni| &eni.ipv6_addresses);
        let public = v4.chain(v6.copied().map(IpAddr::V6)).collect();
        Self {
            enis,
            senders,
            public,
        }
    }

    /// Mostly between addresses that mean something.
    pub fn any(&self, dice: &mut Dice) -> (Origin, Packet) {
        if self.senders.is_empty() || (dice.chance(6) && !self.public.is_empty()) {
            return self.outside_in(dice);
        }
        let sender = dice.pick(&self.senders);
        let v4 = sender.ipv6_addresses.is_empty() || dice.chance(2);
        let of_family = |address: &IpAddr| address.is_ipv4() == v4;
        let own: Vec<IpAddr> = sender.all_addresses().filter(of_family).collect();
        let source = if dice.chance(8) {
            self.any_address(dice, v4)
        } else {
            dice.pick(&own)
        };
        let odd: &[&str] = if v4 { &ODD_V4 } else { &ODD_V6 };
        let services: Vec<IpAddr> = SERVICES.iter().map(|text| addr(text)).collect();
        let services: Vec<IpAddr> = services.into_iter().filter(of_family).collect();
        let public: Vec<IpAddr> = self.public.iter().copied().filter(of_family).collect();
        let near: Vec<&Eni> = self
            .enis
            .iter()
            .filter(|eni| eni.vpc_id == sender.vpc_id)
            .collect();
        let destination = match dice.below(12) {
            0 | 1 => addr(dice.pick(odd)),
            2 => dice.pick(&services),
            3 | 4 if !public.is_empty() => dice.pick(&public),
            5..=7 => {
                let addresses = dice.pick(&near).all_addresses().filter(of_family);
                let addresses: Vec<IpAddr> = addresses.collect();
                if addresses.is_empty() {
                    self.any_address(dice, v4)
                } else {
                    dice.pick(&addresses)
                }
            }
            _ => self.any_address(dice, v4),
        };
        (
            Origin::Eni(sender.eni_id),
            any_content(dice, source, destination),
        )
    }

    /// From every interface, and the world outside, to every address that can be meant, by TCP, UDP
    /// and echo request.
    pub fn pairs(&self) -> Vec<(Origin, Packet)> {
        let private = self.enis.iter().flat_map(Eni::all_addresses);
        let services = SERVICES.iter().map(|text| addr(text));
        let platform = [
            "10.0.0.2",
            "169.254.169.253",
            "169.254.170.2",
            "fd00:ec2::253",
        ];
        let platform = platform.iter().map(|text| addr(text));
        let all = private.chain(self.public.iter().copied());
        let destinations: BTreeSet<IpAddr> = all.chain(services).chain(platform).collect();
        let mut packets = Vec::new();
        let mut add = |origin: Origin, source: IpAddr, destination: IpAddr| {
            let echo = if source.is_ipv4() {
                (1, 0x0800)
            } else {
                (58, 0x8000)
            };
            for (protocol, detail) in [(6, 80), (17, 53), echo] {
                let packet = Packet {
                    source,
                    destination,
                    protocol,
                    detail,
                };
                packets.push((origin.clone(), packet));
            }
        };
        for destination in destinations {
            for eni in &self.senders {
                let of_family = |own: &IpAddr| own.is_ipv4() == destination.is_ipv4();
                if let Some(source) = eni.all_addresses().find(of_family) {
                    add(Origin::Eni(eni.eni_id.clone()), source, destination);
                }
            }
            if self.public.contains(&destination) {
                let source = addr(OUTSIDE[usize::from(destination.is_ipv6())]);
                add(Origin::Outside, source, destination);
            }
        }
        packets
    }

    fn outside_in(&self, dice: &mut Dice) -> (Origin, Packet) {
        let destination = if self.public.is_empty() || dice.chance(8) {
            addr(dice.pick(&SERVICES))
        } else {
            dice.pick(&self.public)
        };
        let source = addr(OUTSIDE[usize::from(destination.is_ipv6())]);
        (Origin::Outside, any_content(dice, source, destination))
    }

    fn any_address(&self, dice: &mut Dice, v4: bool) -> IpAddr {
        let of_family = |address: &IpAddr| address.is_ipv4() == v4;
        for _ in 0..8 {
            let eni = dice.pick(&self.enis);
            let addresses: Vec<IpAddr> = eni.all_addresses().filter(of_family).collect();
            if !addresses.is_empty() {
                return dice.pick(&addresses);
            }
        }
        addr(if v4 { ODD_V4[0] } else { ODD_V6[2] })
    }
}

/// Protocol and port, or ICMP type and code.
fn any_content(dice: &mut Dice, source: IpAddr, destination: IpAddr) -> Packet {
    let icmp = if source.is_ipv4() { 1 } else { 58 };
    let odd = ODD_V4.iter().chain(&ODD_V6).chain(&SERVICES);
    if dice.chance(2) && odd.map(|text| addr(text)).any(|odd| odd == destination) {
        // What AWS's own addresses serve, and others might.
        let (protocol, detail) = dice.pick(&[(6, 53), (17, 53), (6, 80), (6, 443)]);
        return Packet {
            source,
            destination,
            protocol,
            detail,
        };
    }
    let protocol = dice.pick(&[6, 6, 6, 17, icmp, 47, 132]);
    let detail = match protocol {
        1 => dice.pick(&[0x0800, 0x0801, 0x0300]),
        58 => dice.pick(&[0x8000, 0x8001, 0x0100]),
        _ => dice.pick(&PORTS).saturating_add(dice.below(2) as u16),
    };
    Packet {
        source,
        destination,
        protocol,
        detail,
    }
}
