//! `compile` against `reference`, over random regions and packets; and `plan` against a model.
//!
//! `FOGBANK_CASES` sets how many regions are tried; each gets `PACKETS` packets.

#![allow(clippy::unwrap_used)]

mod region;

use fogbank_net::packet::{Origin, Packet};
use fogbank_net::plan::{LinkOp, NftOp, Place, Work, plan};
use fogbank_net::program::{Chain, Namespace, Program, Set, Table};
use fogbank_net::{compile, eval, reference};
use fogbank_types::ec2::*;
use fogbank_types::*;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use region::*;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

const PACKETS: usize = 150;

fn cases() -> u32 {
    let text = std::env::var("FOGBANK_CASES").ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(160)
}

/// Choices from a list of random numbers: every list is a region, and a shorter one a smaller region.
struct Dice<'a> {
    numbers: std::slice::Iter<'a, u32>,
}

impl Dice<'_> {
    fn below(&mut self, limit: usize) -> usize {
        self.numbers.next().map_or(0, |n| *n as usize % limit)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 1
    }
}

const PORTS: [u16; 6] = [0, 22, 53, 80, 443, 65535];
const PROTOCOLS: [u8; 6] = [6, 6, 17, 1, 47, 132];

fn any_traffic(dice: &mut Dice<'_>) -> Traffic {
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

const BLOCKS: [&str; 10] = [
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

fn any_group_rules(
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
fn any_region(numbers: &[u32]) -> Region {
    let mut dice = Dice {
        numbers: numbers.iter(),
    };
    let mut region = Region::default();
    for number in 0..1 + dice.below(2) {
        any_vpc(&mut region, &mut dice, number);
    }
    region
}

fn any_vpc(region: &mut Region, dice: &mut Dice<'_>, number: usize) {
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

fn any_eni(
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

fn any_routes(
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

fn any_acl(region: &mut Region, dice: &mut Dice<'_>, vpc: &Vpc, subnet: &Subnet) {
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
fn any_packet(region: &Region, dice: &mut Dice<'_>) -> (Origin, Packet) {
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
fn can_send(region: &Region, origin: &Origin) -> bool {
    match origin {
        Origin::Outside => true,
        Origin::Eni(id) => region
            .snapshot
            .enis
            .get(&scope(), id)
            .is_some_and(|eni| eni.host.is_some()),
    }
}

fn numbers(count: usize) -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(any::<u32>(), count)
}

fn runner() -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })
}

fn some_config(numbers: &[u32]) -> RegionConfig {
    let mut config = config("test");
    if numbers.first().is_some_and(|n| n % 2 == 0) {
        config.internet = InternetAccess::Host;
    }
    config
}

#[test]
fn the_program_does_what_the_reference_says() {
    let strategy = (numbers(260), numbers(PACKETS * 8));
    let (mut delivered, mut dropped) = (0usize, 0usize);
    let counts = std::cell::RefCell::new((&mut delivered, &mut dropped));
    runner()
        .run(&strategy, |(rows, packets)| {
            let region = any_region(&rows);
            let config = some_config(&packets);
            let program = compile(&region.snapshot, &config);
            let mut dice = Dice {
                numbers: packets.iter(),
            };
            for _ in 0..PACKETS {
                let (origin, packet) = any_packet(&region, &mut dice);
                if !can_send(&region, &origin) {
                    continue;
                }
                let real = eval::fate(&program, &config, &origin, packet);
                let right = reference::fate(&region.snapshot, &config, &origin, packet);
                prop_assert_eq!(
                    real.delivery(),
                    right.delivery(),
                    "{:?} {:?}: {:?}, but {:?}",
                    origin,
                    packet,
                    real,
                    right
                );
                let mut counts = counts.borrow_mut();
                *(if right.delivery().is_some() {
                    &mut *counts.0
                } else {
                    &mut *counts.1
                }) += 1;
            }
            Ok(())
        })
        .unwrap();
    println!("{delivered} delivered, {dropped} dropped");
    assert!(
        delivered > dropped / 20,
        "the packets mean something: {delivered} of {dropped}"
    );
}

#[test]
fn an_added_rule_never_blocks_and_taking_it_back_undoes_it() {
    runner()
        .run(&(numbers(260), numbers(400)), |(rows, packets)| {
            let mut region = any_region(&rows);
            let config = config("test");
            let before = compile(&region.snapshot, &config);
            let mut dice = Dice {
                numbers: packets.iter(),
            };
            let groups: Vec<SecurityGroup> = region
                .snapshot
                .security_groups
                .all()
                .map(|g| g.as_ref().clone())
                .collect();
            let old = groups[dice.below(groups.len())].clone();
            let mut new = old.clone();
            let (egress, traffic) = (dice.chance(2), any_traffic(&mut dice));
            let peer = RulePeer::Ipv4(cidr(dice.pick(&BLOCKS)));
            new.rules.push(region.rule(egress, traffic, peer));
            region.put(new);
            let after = compile(&region.snapshot, &config);
            for _ in 0..40 {
                let (origin, packet) = any_packet(&region, &mut dice);
                if eval::fate(&before, &config, &origin, packet)
                    .delivery()
                    .is_some()
                {
                    prop_assert!(
                        eval::fate(&after, &config, &origin, packet)
                            .delivery()
                            .is_some()
                    );
                }
            }
            region.put(old);
            prop_assert!(compile(&region.snapshot, &config) == before);
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_order_of_rules_and_groups_is_irrelevant() {
    runner()
        .run(&numbers(260), |rows| {
            let mut region = any_region(&rows);
            let config = config("test");
            let before = compile(&region.snapshot, &config);
            let groups: Vec<_> = region.snapshot.security_groups.all().cloned().collect();
            for group in groups {
                let mut group = group.as_ref().clone();
                group.rules.reverse();
                region.put(group);
            }
            let enis: Vec<_> = region.snapshot.enis.all().cloned().collect();
            for eni in enis {
                let mut eni = eni.as_ref().clone();
                eni.groups.reverse();
                region.put(eni);
            }
            let acls: Vec<_> = region.snapshot.network_acls.all().cloned().collect();
            for acl in acls {
                let mut acl = acl.as_ref().clone();
                acl.entries.reverse();
                region.put(acl);
            }
            prop_assert!(compile(&region.snapshot, &config) == before);
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_difference_applied_to_the_old_gives_the_new() {
    runner()
        .run(&(numbers(260), numbers(260)), |(a, b)| {
            let config = config("test");
            // Related regions: the second begins like the first.
            let mut mixed = a.clone();
            let cut = b.len() / 2;
            mixed[cut..].copy_from_slice(&b[cut..]);
            let old = compile(&any_region(&a).snapshot, &config);
            for numbers in [&b, &mixed] {
                let new = compile(&any_region(numbers).snapshot, &config);
                let mut model = old.clone();
                for step in plan(&old, &new, &BTreeSet::new()) {
                    model_step(&mut model, &new, &step.place, &step.work)?;
                }
                forget_neighbours_of_lost_devices(&mut model);
                for (name, namespace) in &new.namespaces {
                    let got = &model.namespaces[name];
                    prop_assert_eq!(&got.tables, &namespace.tables);
                    prop_assert_eq!(&got.routes, &namespace.routes);
                    prop_assert_eq!(&got.rules, &namespace.rules);
                    prop_assert_eq!(&got.veths, &namespace.veths);
                    prop_assert_eq!(&got.addresses, &namespace.addresses);
                    prop_assert_eq!(&got.neighbours, &namespace.neighbours);
                    // A setting that is no longer named keeps its value: only an interface that
                    // changed its owner would have one, and none does.
                    let mut settings = namespace.sysctls.iter();
                    prop_assert!(
                        settings.all(|(path, value)| got.sysctls.get(path) == Some(value))
                    );
                }
                prop_assert_eq!(model.namespaces.len(), new.namespaces.len());
            }
            prop_assert_eq!(plan(&old, &old, &BTreeSet::new()), vec![]);
            Ok(())
        })
        .unwrap();
}

/// The kernel does so by itself, and the plan relies on it.
fn forget_neighbours_of_lost_devices(model: &mut Program) {
    let mut devices = BTreeSet::new();
    for (name, namespace) in &model.namespaces {
        for (device, veth) in &namespace.veths {
            devices.insert((Some(name.clone()), device.clone()));
            devices.insert((veth.peer.namespace.clone(), veth.peer.device.clone()));
        }
    }
    for (name, namespace) in &mut model.namespaces {
        let lives = |device: &String| devices.contains(&(Some(name.clone()), device.clone()));
        namespace.neighbours.retain(|(device, _), _| lives(device));
    }
}

/// The kernel as maps. It refuses what the kernel refuses.
fn model_step(
    model: &mut Program,
    new: &Program,
    place: &Place,
    work: &Work,
) -> Result<(), TestCaseError> {
    let Place::Named(name) = place else {
        return Ok(());
    };
    match work {
        Work::CreateNamespace => {
            let namespace = Namespace {
                role: new.namespaces[name].role.clone(),
                ..Namespace::default()
            };
            prop_assert!(model.namespaces.insert(name.clone(), namespace).is_none());
            return Ok(());
        }
        Work::RemoveNamespace => {
            model.namespaces.remove(name);
            // Pairs go with either end, and routes and neighbours with the device.
            for other in model.namespaces.values_mut() {
                other
                    .veths
                    .retain(|_, veth| veth.peer.namespace.as_ref() != Some(name));
            }
            return Ok(());
        }
        _ => {}
    }
    let namespace = model.namespaces.get_mut(name).unwrap();
    match work {
        Work::Set { path, value } => {
            namespace.sysctls.insert(path.clone(), value.clone());
        }
        Work::AddVeth { device, veth } => {
            prop_assert!(
                namespace
                    .veths
                    .insert(device.clone(), veth.clone())
                    .is_none()
            );
        }
        Work::RemoveVeth { device } => {
            prop_assert!(namespace.veths.remove(device).is_some());
        }
        Work::Links(operations) => {
            for operation in operations {
                match operation.clone() {
                    LinkOp::AddAddress(a) => drop(namespace.addresses.insert(a)),
                    LinkOp::RemoveAddress(a) => prop_assert!(namespace.addresses.remove(&a)),
                    LinkOp::AddNeighbour(d, a, m) => drop(namespace.neighbours.insert((d, a), m)),
                    LinkOp::RemoveNeighbour(d, a) => drop(namespace.neighbours.remove(&(d, a))),
                    LinkOp::AddRoute(key, route) => drop(namespace.routes.insert(key, route)),
                    LinkOp::RemoveRoute(key, _) => {
                        prop_assert!(namespace.routes.remove(&key).is_some())
                    }
                    LinkOp::AddRule(rule) => prop_assert!(namespace.rules.insert(rule)),
                    LinkOp::RemoveRule(rule) => prop_assert!(namespace.rules.remove(&rule)),
                }
            }
        }
        Work::Firewall {
            family,
            table,
            operations,
        } => {
            for operation in operations {
                model_firewall(namespace, *family, table, operation)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn model_firewall(
    namespace: &mut Namespace,
    family: fogbank_net::program::Family,
    name: &str,
    operation: &NftOp,
) -> Result<(), TestCaseError> {
    if let NftOp::AddTable = operation {
        namespace
            .tables
            .entry(name.to_owned())
            .or_insert(Table::new(family));
        return Ok(());
    }
    let Some(table) = namespace.tables.get_mut(name) else {
        return Err(TestCaseError::fail(format!(
            "{operation:?} without its table"
        )));
    };
    match operation.clone() {
        NftOp::AddTable => {}
        NftOp::DeleteTable => drop(namespace.tables.remove(name)),
        NftOp::AddChain { name, base } => {
            let chain = Chain {
                base,
                rules: Vec::new(),
            };
            prop_assert!(table.chains.insert(name, chain).is_none());
        }
        NftOp::DeleteChain { name } => prop_assert!(table.chains.remove(&name).is_some()),
        NftOp::FlushChain { name } => table.chains.get_mut(&name).unwrap().rules.clear(),
        NftOp::AddRule { chain, rule } => table.chains.get_mut(&chain).unwrap().rules.push(rule),
        NftOp::AddSet { name, shape } => prop_assert!(table.sets.insert(name, shape).is_none()),
        NftOp::DeleteSet { name } => prop_assert!(table.sets.remove(&name).is_some()),
        NftOp::AddElements { set, elements } => {
            let set = table.sets.get_mut(&set).unwrap();
            prop_assert!(change_elements(set, elements, true));
        }
        NftOp::DeleteElements { set, elements } => {
            let set = table.sets.get_mut(&set).unwrap();
            prop_assert!(change_elements(set, elements, false));
        }
    }
    Ok(())
}

/// Whether each element was absent (adding) or present (deleting).
fn change_elements(set: &mut Set, elements: Set, add: bool) -> bool {
    macro_rules! sets {
        ($($kind:ident),*; $($map:ident),*) => {
            match (set, elements) {
                $((Set::$kind(all), Set::$kind(these)) => these.into_iter().all(|e| if add { all.insert(e) } else { all.remove(&e) }),)*
                $((Set::$map(all), Set::$map(these)) => these.into_iter().all(|(k, v)| {
                    if add { all.insert(k, v).is_none() } else { all.remove(&k) == Some(v) }
                }),)*
                _ => false,
            }
        };
    }
    sets!(Addresses, Devices, Bindings, Ports, Icmp, Protocols; Translations, Verdicts)
}
