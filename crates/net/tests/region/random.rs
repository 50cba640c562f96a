//! Random regions and packets, from lists of random numbers.
#![allow(dead_code, clippy::unwrap_used)]

use super::*;
use fogbank_net::packet::{Origin, Packet};
use std::collections::BTreeSet;

/// Choices from a list of random numbers: every list is a region, and a shorter one a smaller region.
pub struct Dice<'a> {
    pub numbers: std::slice::Iter<'a, u32>,
}

impl Dice<'_> {
    pub fn below(&mut self, limit: usize) -> usize {
        self.numbers.next().map_or(0, |n| *n as usize % limit)
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 1
    }
}

pub const PORTS: [u16; 6] = [0, 22, 53, 80, 443, 65535];
pub const PROTOCOLS: [u8; 6] = [6, 6, 17, 1, 47, 132];

pub fn any_traffic(dice: &mut Dice<'_>) -> Traffic {
    let (a, b) = (dice.pick(&PORTS), dice.pick(&PORTS));
    match dice.below(8) {
        0 => Traffic::All,
        1..=3 => tcp(a.min(b), a.max(b)),
        4 => udp(a.min(b), a.max(b)),
        5 => Traffic::Icmp(match dice.below(3) {
            0 => None,
            1 => Some((8, None)),
            _ => Some((8, Some(dice.below(2) as u8))),
        }),
        6 => Traffic::Protocol(dice.pick(&[47, 132])),
        _ => tcp(80, 80),
    }
}

pub const BLOCKS: [&str; 10] = [
    "0.0.0.0/0",
    "0.0.0.0/0",
    "10.0.0.0/16",
    "10.0.1.0/24",
    "10.0.1.10/32",
    "10.0.1.8/29",
    "10.0.2.0/24",
    "198.18.0.0/16",
    "198.18.255.254/32",
    "198.18.0.8/29",
];

pub fn any_group_rules(
    region: &mut Region,
    dice: &mut Dice<'_>,
    groups: &[SecurityGroup],
) -> Vec<SecurityGroupRule> {
    (0..dice.below(6))
        .map(|_| {
            let peer = if dice.chance(3) {
                RulePeer::Group(groups[dice.below(groups.len())].group_id.clone())
            } else {
                RulePeer::Ipv4(cidr(dice.pick(&BLOCKS)))
            };
            let egress = dice.chance(2);
            let traffic = any_traffic(dice);
            region.rule(egress, traffic, peer)
        })
        .collect()
}

/// Two VPCs with the same block, so that mixing them up shows.
pub fn any_region(numbers: &[u32]) -> Region {
    let mut dice = Dice {
        numbers: numbers.iter(),
    };
    let mut region = Region::default();
    for number in 0..1 + dice.below(2) {
        any_vpc(&mut region, &mut dice, number);
    }
    region
}

pub fn any_vpc(region: &mut Region, dice: &mut Dice<'_>, number: usize) {
    let vpc = region.vpc("10.0.0.0/16");
    let subnets: Vec<Subnet> = (1..=3)
        .map(|n| region.subnet(&vpc, &format!("10.0.{n}.0/24")))
        .collect();
    let mut groups: Vec<SecurityGroup> = (0..3).map(|_| region.group(&vpc, vec![])).collect();
    for n in 0..groups.len() {
        let mut rules = any_group_rules(region, dice, &groups.clone());
        if !dice.chance(4) {
            rules.push(region.rule(true, Traffic::All, anyone()));
        }
        if dice.chance(2) {
            let all_from = cidr(dice.pick(&BLOCKS));
            rules.push(region.rule(false, Traffic::All, RulePeer::Ipv4(all_from)));
        }
        groups[n].rules = rules;
        region.put(groups[n].clone());
    }
    let gateway = if dice.chance(6) {
        InternetGatewayId::from_bits(9)
    } else {
        region.gateway(&vpc)
    };
    let mut enis = Vec::new();
    for (index, subnet) in subnets.iter().enumerate() {
        for n in 0..1 + dice.below(3) as u64 {
            enis.push(any_eni(region, dice, subnet, 10 + n, &groups));
            if dice.chance(2) {
                let eni = enis.last().unwrap();
                region.elastic(
                    eni,
                    &format!("198.18.{number}.{}", 10 * (index + 1) as u64 + n),
                );
            }
        }
    }
    let (mut nat, _) = region.nat(&subnets[0], 200, &format!("198.18.{number}.200"));
    if dice.chance(6) {
        nat.state = NatGatewayState::Deleted;
        region.put(nat.clone());
    }
    for subnet in &subnets {
        any_routes(
            region,
            dice,
            (&vpc, subnet, &subnets),
            &gateway,
            &nat,
            &enis,
        );
        any_acl(region, dice, &vpc, subnet);
    }
}

pub fn any_eni(
    region: &mut Region,
    dice: &mut Dice<'_>,
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
    if dice.chance(10) {
        eni.host = None;
    }
    region.put(eni.clone());
    eni
}

pub fn any_routes(
    region: &mut Region,
    dice: &mut Dice<'_>,
    (vpc, subnet, subnets): (&Vpc, &Subnet, &[Subnet]),
    gateway: &InternetGatewayId,
    nat: &NatGateway,
    enis: &[Eni],
) {
    let mut routes: Vec<(String, RouteTarget)> = Vec::new();
    let any_target = |dice: &mut Dice<'_>| match dice.below(4) {
        0 | 1 => RouteTarget::InternetGateway(gateway.clone()),
        2 => RouteTarget::NatGateway(nat.nat_gateway_id.clone()),
        _ => RouteTarget::NetworkInterface(enis[dice.below(enis.len())].eni_id.clone()),
    };
    if !dice.chance(5) {
        routes.push(("0.0.0.0/0".to_owned(), any_target(dice)));
    }
    if dice.chance(4) {
        routes.push(("198.18.0.0/28".to_owned(), any_target(dice)));
    }
    if dice.chance(4) {
        // More specific than local: a whole other subnet through an appliance or NAT (fact RTB-3).
        let to = &subnets[dice.below(subnets.len())];
        let target = if dice.chance(3) {
            RouteTarget::NatGateway(nat.nat_gateway_id.clone())
        } else {
            RouteTarget::NetworkInterface(enis[dice.below(enis.len())].eni_id.clone())
        };
        if to.subnet_id != subnet.subnet_id {
            routes.push((to.cidr_block.to_string(), target));
        }
    }
    let routes: Vec<(&str, RouteTarget)> = routes
        .iter()
        .map(|(d, t)| (d.as_str(), t.clone()))
        .collect();
    if !dice.chance(8) {
        region.routes(vpc, subnet, &routes);
    }
}

pub fn any_acl(region: &mut Region, dice: &mut Dice<'_>, vpc: &Vpc, subnet: &Subnet) {
    if !dice.chance(4) {
        return;
    }
    let mut entries: Vec<NetworkAclEntry> = (0..dice.below(5))
        .map(|_| {
            let number = 1 + dice.below(50) as u16;
            let (egress, allow) = (dice.chance(2), !dice.chance(3));
            let traffic = any_traffic(dice);
            entry(number, egress, allow, traffic, dice.pick(&BLOCKS))
        })
        .collect();
    if !dice.chance(3) {
        for egress in [true, false] {
            entries.push(entry(100, egress, true, Traffic::All, "0.0.0.0/0"));
        }
    }
    // A number is used once a direction.
    let mut seen = BTreeSet::new();
    entries.retain(|e| seen.insert((e.egress, e.number)));
    let acl = region.acl(vpc, entries);
    region.guard(acl, subnet);
}

/// Mostly between addresses that mean something.
pub fn any_packet(region: &Region, dice: &mut Dice<'_>) -> (Origin, Packet) {
    let enis: Vec<&Eni> = region.snapshot.enis.all().map(|e| e.as_ref()).collect();
    let public: Vec<Ipv4Addr> = region
        .snapshot
        .elastic_ips
        .all()
        .map(|e| e.public_ip)
        .collect();
    // Nobody sits in a NAT gateway and sends.
    let own = |eni: &&Eni| !matches!(eni.owner, EniOwner::NatGateway(_));
    let senders: Vec<&Eni> = enis.iter().copied().filter(own).collect();
    let sender = dice.pick(&senders);
    let outside = dice.chance(4);
    let odd = [
        ip("10.0.1.99"),
        ip("10.0.1.1"),
        ip("10.0.0.2"),
        ip("10.0.9.9"),
        ip("169.254.169.253"),
        ip("169.254.170.2"),
        ip("198.18.77.7"),
        ip("198.18.255.254"),
        ip("8.8.8.8"),
        ip("192.168.1.1"),
    ];
    let destination = match dice.below(10) {
        0 => dice.pick(&odd),
        1..=3 if !public.is_empty() => dice.pick(&public),
        _ => dice.pick(&enis).addresses().last().unwrap(),
    };
    let destination = if outside && !public.is_empty() {
        dice.pick(&public)
    } else {
        destination
    };
    let source = if outside {
        ip("198.18.255.254")
    } else if dice.chance(8) {
        dice.pick(&enis).private_ip
    } else {
        sender.private_ip
    };
    let protocol = dice.pick(&PROTOCOLS);
    let detail = match protocol {
        1 => dice.pick(&[0x0800, 0x0801, 0x0300]),
        _ => dice.pick(&PORTS).saturating_add(dice.below(2) as u16),
    };
    let origin = if outside {
        Origin::Outside
    } else {
        Origin::Eni(sender.eni_id.clone())
    };
    let packet = Packet {
        source,
        destination,
        protocol,
        detail,
    };
    (origin, packet)
}

/// Interfaces that are not on this host cannot send from it.
pub fn can_send(region: &Region, origin: &Origin) -> bool {
    match origin {
        Origin::Outside => true,
        Origin::Eni(id) => region
            .snapshot
            .enis
            .get(&scope(), id)
            .is_some_and(|eni| eni.host.is_some()),
    }
}
