//! What the compiler makes of single facts, seen in the program and by sending packets through it.

#![allow(clippy::unwrap_used)]

mod region;

use fogbank_net::eval::{Event, Ruling, Walked, fate, walk, walk_back};
use fogbank_net::packet::{Endpoint, Fate, Origin, Packet};
use fogbank_net::program::{Action, Direction, Family, Namespace, Range, Route, Set, Verdict};
use fogbank_net::{Program, compile, names};
use fogbank_types::diagnosis::{FlowLog, FlowLogResource, FlowLogTraffic};
use fogbank_types::ec2::*;
use fogbank_types::*;
use region::*;
use std::net::IpAddr;

fn program(region: &Region) -> Program {
    compile(&region.snapshot, &config("test"))
}

fn router<'p>(program: &'p Program, vpc: &Vpc) -> &'p Namespace {
    &program.namespaces[&config("test").namespace(vpc.vpc_id.tail())]
}

fn packet(source: impl Into<IpAddr>, destination: impl Into<IpAddr>, port: u16) -> Packet {
    Packet {
        source: source.into(),
        destination: destination.into(),
        protocol: 6,
        detail: port,
    }
}

fn send(program: &Program, from: &Eni, packet: Packet) -> Walked {
    let origin = Origin::Eni(from.eni_id.clone());
    walk(program, &config("test"), &origin, packet, false)
}

fn from_outside(program: &Program, packet: Packet) -> Fate {
    fate(program, &config("test"), &Origin::Outside, packet)
}

fn arrives(fate: &Fate, eni: &Eni) -> bool {
    matches!(fate, Fate::Delivered { to: Endpoint::Eni(id), .. } if *id == eni.eni_id)
}

fn anyone_v6() -> RulePeer {
    RulePeer::Ipv6(Ipv6Cidr::ANY)
}

/// Everything in and out, of both families.
fn open(region: &mut Region, vpc: &Vpc) -> SecurityGroup {
    let rules = [anyone(), anyone_v6()];
    let rules = rules
        .into_iter()
        .flat_map(|peer| [true, false].map(|egress| (egress, Traffic::All, peer.clone())));
    region.group(vpc, rules.collect())
}

fn log(region: &mut Region, vpc: &Vpc) {
    let id = FlowLogId::from_bits(region.number());
    region.put(FlowLog {
        scope: scope(),
        flow_log_id: id,
        resource: FlowLogResource::Vpc(vpc.vpc_id.clone()),
        traffic: FlowLogTraffic::All,
        log_group: "flows".to_owned(),
        deliver_role_arn: None,
        fields: Vec::new(),
        log_format: String::new(),
        max_aggregation_interval_s: 600,
        client_token: None,
        created_at: Timestamp(0),
        tags: Tags::new(),
    });
}

#[test]
fn a_vpc_has_a_namespace_only_where_it_has_an_interface() {
    let mut region = Region::default();
    let (here, elsewhere) = (region.vpc("10.0.0.0/16"), region.vpc("10.1.0.0/16"));
    let subnet = region.subnet(&here, "10.0.1.0/24");
    let group = open(&mut region, &here);
    region.eni(&subnet, 10, &[&group]);
    let peering = region.peering(&here, &elsewhere);
    let target = RouteTarget::VpcPeeringConnection(peering.peering_id);
    region.routes(&here, &subnet, &[("10.1.0.0/16", target)]);
    let program = program(&region);
    let name = config("test").namespace(elsewhere.vpc_id.tail());
    assert!(!program.namespaces.contains_key(&name));
    let to_peer = router(&program, &here)
        .routes
        .iter()
        .find(|(key, _)| key.destination == block("10.1.0.0/16"));
    assert_eq!(to_peer.unwrap().1, &Route::Blackhole);
}

/// Two peered VPCs with a third behind the second, all open.
struct Peered {
    region: Region,
    enis: Vec<Eni>,
}

fn peered() -> Peered {
    let mut region = Region::default();
    let vpcs: Vec<Vpc> = (0..3)
        .map(|n| region.vpc(&format!("10.{n}.0.0/16")))
        .collect();
    let pairs = [(0, 1), (1, 2)].map(|(a, b)| region.peering(&vpcs[a], &vpcs[b]).peering_id);
    let mut enis = Vec::new();
    for (n, vpc) in vpcs.iter().enumerate() {
        let subnet = region.subnet(vpc, &format!("10.{n}.1.0/24"));
        let group = open(&mut region, vpc);
        enis.push(region.eni(&subnet, 10, &[&group]));
        let via = |id: &VpcPeeringConnectionId| RouteTarget::VpcPeeringConnection(id.clone());
        let routes = match n {
            0 => vec![
                ("10.1.0.0/16", via(&pairs[0])),
                ("10.2.0.0/16", via(&pairs[0])),
            ],
            1 => vec![
                ("10.0.0.0/16", via(&pairs[0])),
                ("10.2.0.0/16", via(&pairs[1])),
            ],
            _ => vec![
                ("10.1.0.0/16", via(&pairs[1])),
                ("10.0.0.0/16", via(&pairs[1])),
            ],
        };
        region.routes(vpc, &subnet, &routes);
    }
    Peered { region, enis }
}

#[test]
fn a_peer_is_reached_and_answers_but_nobody_behind_it() {
    let Peered { region, enis } = peered();
    let program = program(&region);
    let [a, b, c] = [0, 1, 2].map(|n| &enis[n]);
    let there = send(&program, a, packet(a.private_ip, b.private_ip, 80));
    assert!(arrives(&there.fate, b), "{:?}", there.fate);
    let back = walk_back(&program, &there, 40_000).unwrap();
    assert!(arrives(&back.fate, a), "{:?}", back.fate);
    let transit = send(&program, a, packet(a.private_ip, c.private_ip, 80));
    assert!(matches!(transit.fate, Fate::Dropped(_)));
}

#[test]
fn a_peer_carries_only_its_own_sources() {
    let Peered { mut region, enis } = peered();
    let mut forger = enis[0].clone();
    forger.source_dest_check = false;
    region.put(forger.clone());
    let program = program(&region);
    let forged = packet(enis[2].private_ip, enis[1].private_ip, 80);
    let walked = send(&program, &forger, forged);
    assert!(matches!(walked.fate, Fate::Dropped(_)));
    let last = walked.steps.last().unwrap();
    assert!(
        matches!(&last.event, Event::Rule { chain, ruling: Ruling::Drop, .. } if chain.starts_with("pcx-")),
        "{last:?}"
    );
    assert_eq!(
        last.rule(&program).unwrap().action,
        Action::Do(Verdict::Drop)
    );
}

#[test]
fn a_group_of_an_active_peer_is_meant_and_one_of_a_lost_peer_is_not() {
    let Peered { mut region, enis } = peered();
    let vpc = region.snapshot.vpcs.get(&scope(), &enis[1].vpc_id);
    let vpc = vpc.unwrap().as_ref().clone();
    let peer = RulePeer::Group(enis[0].groups[0].clone());
    let narrow = region.group(&vpc, vec![(false, tcp(80, 80), peer)]);
    let mut target = enis[1].clone();
    target.groups = vec![narrow.group_id];
    region.put(target.clone());
    let ask = |region: &Region| {
        let packet = packet(enis[0].private_ip, target.private_ip, 80);
        arrives(&send(&program(region), &enis[0], packet).fate, &target)
    };
    assert!(ask(&region));
    let rows = region.snapshot.peerings.all();
    let mut peerings: Vec<VpcPeeringConnection> = rows.map(|p| p.as_ref().clone()).collect();
    for peering in &mut peerings {
        peering.status = PeeringStatus::Deleted;
        region.put(peering.clone());
    }
    assert!(!ask(&region));
}

#[test]
fn every_drop_of_a_gate_is_told_where_a_flow_log_looks() {
    let mut region = Region::default();
    let vpc = region.vpc("10.0.0.0/16");
    let subnet = region.subnet(&vpc, "10.0.1.0/24");
    let group = open(&mut region, &vpc);
    region.eni(&subnet, 10, &[&group]);
    let deny = entry(90, false, false, tcp(22, 22), "0.0.0.0/0");
    let acl = region.acl(&vpc, vec![deny]);
    region.guard(acl, &subnet);
    let gates = |program: &Program| {
        let table = &router(program, &vpc).tables[names::TABLE];
        let chains = table.chains.iter();
        let gates = chains.filter(|(name, _)| {
            matches!(name.as_str(), "egress" | "ingress") || name.starts_with("subnet-")
        });
        gates
            .map(|(name, c)| (name.clone(), c.rules.clone()))
            .collect::<Vec<_>>()
    };
    let silent = program(&region);
    assert_eq!(
        router(&silent, &vpc).sysctls["netfilter/nf_conntrack_acct"],
        "0"
    );
    let is_log = |action: &Action| matches!(action, Action::Log { .. });
    assert!(
        gates(&silent)
            .iter()
            .all(|(_, rules)| rules.iter().all(|r| !is_log(&r.action)))
    );
    log(&mut region, &vpc);
    let telling = program(&region);
    assert_eq!(
        router(&telling, &vpc).sysctls["netfilter/nf_conntrack_acct"],
        "1"
    );
    let gates = gates(&telling);
    assert_eq!(gates.len(), 4);
    for (name, rules) in gates {
        let expected = match name.as_str() {
            "egress" | "ingress" => name.clone(),
            _ if name.ends_with("-out") => "acl_out".to_owned(),
            _ => "acl_in".to_owned(),
        };
        for (index, rule) in rules.iter().enumerate() {
            if rule.action == Action::Do(Verdict::Drop) {
                let told = Action::Log {
                    group: names::FLOW_LOG_GROUP,
                    prefix: expected.clone(),
                };
                assert_eq!(rules[index - 1].action, told, "{name}");
                assert_eq!(rules[index - 1].matches, rule.matches, "{name}");
            }
        }
    }
}

fn untracked(region: &Region, vpc: &Vpc) -> Vec<(IpAddr, Direction, u8, Range)> {
    let program = program(region);
    let all = router(&program, vpc).untracked.iter();
    all.map(|u| (u.address, u.direction, u.protocol, u.ports))
        .collect()
}

#[test]
fn what_everyone_may_do_is_untracked_if_all_may_come_back() {
    let mut region = Region::default();
    let vpc = region.vpc("10.0.0.0/16");
    let subnet = region.subnet(&vpc, "10.0.1.0/24");
    let web = region.group(&vpc, vec![out_to_all(), (false, tcp(443, 443), anyone())]);
    let more = region.group(&vpc, vec![(false, tcp(80, 80), anyone())]);
    let eni = region.eni(&subnet, 10, &[&web, &more]);
    let at = |port| Range {
        from: port,
        to: port,
    };
    let address = IpAddr::from(eni.private_ip);
    let expected = [at(80), at(443)].map(|ports| (address, Direction::In, 6, ports));
    assert_eq!(untracked(&region, &vpc), expected);
}

#[test]
fn a_narrow_way_back_or_a_tracking_gateway_keeps_track() {
    let mut region = Region::default();
    let vpc = region.vpc("10.0.0.0/16");
    let subnet = region.subnet(&vpc, "10.0.1.0/24");
    let narrow = RulePeer::Ipv4(cidr("10.0.0.0/16"));
    let group = region.group(
        &vpc,
        vec![(true, Traffic::All, narrow), (false, tcp(1, 9), anyone())],
    );
    region.eni(&subnet, 10, &[&group]);
    assert_eq!(untracked(&region, &vpc), []);
    let all = open(&mut region, &vpc);
    region.eni(&subnet, 11, &[&all]);
    let directions = |region: &Region| -> Vec<Direction> {
        untracked(region, &vpc)
            .iter()
            .map(|(_, d, _, _)| *d)
            .collect()
    };
    assert!(directions(&region).contains(&Direction::Out));
    let (nat, _) = region.nat(&subnet, 20, "198.18.1.1");
    let target = RouteTarget::NatGateway(nat.nat_gateway_id);
    region.routes(&vpc, &subnet, &[("0.0.0.0/0", target)]);
    assert_eq!(directions(&region), [Direction::In; 2]);
}

#[test]
fn what_goes_to_an_interface_endpoint_is_tracked_in_its_vpc_and_in_peers() {
    let mut region = Region::default();
    let [near, far, other] = [0, 1, 2].map(|n| region.vpc(&format!("10.{n}.0.0/16")));
    region.peering(&near, &far);
    let mut expected = Vec::new();
    for (n, vpc) in [&near, &far, &other].into_iter().enumerate() {
        let subnet = region.subnet(vpc, &format!("10.{n}.1.0/24"));
        let group = open(&mut region, vpc);
        region.eni(&subnet, 10, &[&group]);
        let (_, eni) = region.interface_endpoint(
            vpc,
            "com.amazonaws.us-east-1.logs",
            (&subnet, 20),
            &[&group],
        );
        expected.push(IpAddr::from(eni.private_ip));
    }
    let program = program(&region);
    for (vpc, tracked) in [
        (&near, &expected[..2]),
        (&far, &expected[..2]),
        (&other, &expected[2..]),
    ] {
        let found: Vec<IpAddr> = router(&program, vpc).tracked.iter().copied().collect();
        assert_eq!(found, tracked);
    }
}

#[test]
fn a_failed_zone_is_dark_both_ways_and_a_slow_one_late() {
    let mut region = Region::default();
    let vpc = region.vpc("10.0.0.0/16");
    let near = region.subnet(&vpc, "10.0.1.0/24");
    let mut far = region.subnet(&vpc, "10.0.2.0/24");
    far.zone = "us-east-1b".to_owned();
    region.put(far.clone());
    let group = open(&mut region, &vpc);
    let (a, b) = (
        region.eni(&near, 10, &[&group]),
        region.eni(&far, 10, &[&group]),
    );
    let slow = ZoneFaultKind::Slow { delay_ms: 7 };
    region.fault("us-east-1b", slow);
    let program_slow = program(&region);
    let veths = &router(&program_slow, &vpc).veths;
    assert_eq!(veths[&names::eni_device(&b.eni_id)].delay_ms, 7);
    assert_eq!(veths[&names::eni_device(&a.eni_id)].delay_ms, 0);
    region.fault("us-east-1b", ZoneFaultKind::Isolated);
    let program = program(&region);
    for (from, to) in [(&a, &b), (&b, &a)] {
        let origin = Origin::Eni(from.eni_id.clone());
        let packet = packet(from.private_ip, to.private_ip, 80);
        let walked = walk(&program, &config("test"), &origin, packet, true);
        let Event::Rule { chain, .. } = &walked.steps.last().unwrap().event else {
            panic!("{walked:?}");
        };
        assert!(chain.starts_with("dark"), "{chain}");
    }
}

/// One VPC of both families: a subnet behind the internet gateway, one behind the egress-only one.
fn two_ways_out() -> (Region, Vpc, Eni, Eni) {
    let mut region = Region::default();
    let mut vpc = region.vpc("10.0.0.0/16");
    region.add_block(&mut vpc, "2001:2:0:100::/56");
    let group = open(&mut region, &vpc);
    let gateway = RouteTarget::InternetGateway(region.gateway(&vpc));
    let egress_only = RouteTarget::EgressOnlyInternetGateway(region.egress_only(&vpc));
    let mut enis = Vec::new();
    for (n, target) in [(1, gateway), (2, egress_only)] {
        let mut subnet = region.subnet(&vpc, &format!("10.0.{n}.0/24"));
        region.add_v6(&mut subnet, &format!("2001:2:0:10{n}::/64"));
        let mut eni = region.eni(&subnet, 10, &[&group]);
        region.address_v6(&mut eni, &subnet, 10);
        region.routes(&vpc, &subnet, &[("::/0", target)]);
        enis.push(eni);
    }
    let private = enis.remove(1);
    (region, vpc, enis.remove(0), private)
}

#[test]
fn an_egress_only_gateway_lets_out_and_back_but_nobody_in() {
    let (region, _, public, private) = two_ways_out();
    let program = program(&region);
    let host = names::link_addresses_v6(&config("test")).1;
    let [open, closed] = [&public, &private].map(|eni| eni.ipv6_addresses[0]);
    assert!(arrives(
        &from_outside(&program, packet(host, open, 80)),
        &public
    ));
    let inward = from_outside(&program, packet(host, closed, 80));
    assert!(matches!(inward, Fate::Dropped(_)), "{inward:?}");
    // Out by the egress-only gateway to what another of the region has in public.
    let service: IpAddr = addr("2001:2::8");
    let there = send(&program, &private, packet(closed, service, 443));
    let Fate::Delivered { to, .. } = &there.fate else {
        panic!("{:?}", there.fate);
    };
    assert_eq!(to, &Endpoint::Service(service));
    let back = walk_back(&program, &there, 40_000).unwrap();
    assert!(arrives(&back.fate, &private), "{:?}", back.fate);
}

#[test]
fn a_vpc_without_a_block_of_ipv6_is_closed_to_it() {
    let mut region = Region::default();
    let vpc = region.vpc("10.0.0.0/16");
    let subnet = region.subnet(&vpc, "10.0.1.0/24");
    let group = open(&mut region, &vpc);
    region.eni(&subnet, 10, &[&group]);
    let program = program(&region);
    let router = router(&program, &vpc);
    assert_eq!(router.sysctls["ipv6/conf/all/disable_ipv6"], "1");
    assert_eq!(router.sysctls["ipv6/conf/all/forwarding"], "0");
    let forward = &router.tables[names::TABLE_V6].chains["forward"];
    assert_eq!(forward.rules.len(), 1);
    assert_eq!(forward.rules[0].action, Action::Do(Verdict::Drop));
    assert!(router.rules.iter().all(|rule| rule.family == Family::V4));
}

#[test]
fn of_equal_prefixes_the_static_route_goes_before_the_listed_one() {
    let mut region = Region::default();
    let vpc = region.vpc("10.0.0.0/16");
    let subnet = region.subnet(&vpc, "10.0.1.0/24");
    let group = open(&mut region, &vpc);
    let mut appliances: Vec<Eni> = (20..22)
        .map(|n| region.eni(&subnet, n, &[&group]))
        .collect();
    for eni in &mut appliances {
        eni.source_dest_check = false;
        region.put(eni.clone());
    }
    let list = region.prefix_list(&["172.16.0.0/16", "172.16.5.0/24", "10.0.0.0/16"]);
    let to = |eni: &Eni| RouteTarget::NetworkInterface(eni.eni_id.clone());
    let other = region.subnet(&vpc, "10.0.2.0/24");
    let eni = region.eni(&other, 10, &[&group]);
    let mut table = region.routes(&vpc, &other, &[]);
    table.routes = vec![
        fogbank_types::ec2::Route {
            destination: RouteDestination::PrefixList(list.prefix_list_id),
            target: to(&appliances[0]),
        },
        fogbank_types::ec2::Route {
            destination: RouteDestination::Block(block("172.16.0.0/16")),
            target: to(&appliances[1]),
        },
    ];
    region.put(table);
    let program = program(&region);
    let ask = |address: &str| {
        let packet = packet(eni.private_ip, addr(address), 80);
        send(&program, &eni, packet).fate
    };
    assert!(arrives(&ask("172.16.9.9"), &appliances[1]));
    assert!(arrives(&ask("172.16.5.9"), &appliances[0]));
    assert!(matches!(ask("10.0.9.9"), Fate::Dropped(_)), "local wins");
}

#[test]
fn a_gateway_endpoint_needs_no_public_address_and_leads_nowhere_else() {
    let mut region = Region::default();
    let vpc = region.vpc("10.0.0.0/16");
    let subnet = region.subnet(&vpc, "10.0.1.0/24");
    let group = open(&mut region, &vpc);
    let eni = region.eni(&subnet, 10, &[&group]);
    let table = region.routes(&vpc, &subnet, &[]);
    region.gateway_endpoint(&vpc, "s3", &[&table]);
    let program = program(&region);
    let there = send(
        &program,
        &eni,
        packet(eni.private_ip, ip("198.18.0.9"), 443),
    );
    let Fate::Delivered { to, seen_as } = &there.fate else {
        panic!("{:?}", there.fate);
    };
    assert_eq!(to, &Endpoint::Service(addr("198.18.0.9")));
    assert_ne!(*seen_as, IpAddr::from(eni.private_ip));
    let back = walk_back(&program, &there, 40_000).unwrap();
    assert!(arrives(&back.fate, &eni), "{:?}", back.fate);
    for (address, port) in [("198.18.0.8", 443), ("198.18.0.9", 22)] {
        let walked = send(&program, &eni, packet(eni.private_ip, ip(address), port));
        assert!(matches!(walked.fate, Fate::Dropped(_)), "{address} {port}");
    }
}

#[test]
fn members_of_a_group_are_of_one_family_a_table() {
    let (mut region, vpc, public, _) = two_ways_out();
    let peer = RulePeer::Group(public.groups[0].clone());
    let group = region.group(&vpc, vec![(false, Traffic::All, peer)]);
    let mut eni = public.clone();
    eni.groups.push(group.group_id);
    region.put(eni);
    let program = program(&region);
    for (table, ipv4) in [(names::TABLE, true), (names::TABLE_V6, false)] {
        let name = format!("{}-members", public.groups[0]);
        let Set::Addresses(all) = &router(&program, &vpc).tables[table].sets[&name] else {
            panic!("a set of addresses");
        };
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|address| address.is_ipv4() == ipv4));
    }
}
