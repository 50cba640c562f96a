//! The edge: the namespace between the host, AWS's services and every VPC's gateways.
//!
//! It knows public addresses only: one /32 per address of IPv4 and each VPC's blocks of IPv6 towards
//! its VPC, everything else of the pools a blackhole. AWS's services and Route 53's health checkers
//! have their addresses on its loopback; `fogbank services` listens there, and speaks from there. The host reaches it through one veth; nothing of the
//! pools, of a VPC or of a link can reach a real interface, because the host has a blackhole for
//! the pools under the route to us. With `--internet host` both families leave by the host, which
//! puts its own address in the place of theirs. IPv6 does so only where the host is a router of it
//! already: to be one it would have to give up what it learns from its own router's advice.

use super::firewall::{accept, base, device, drop_action, drop_rest, service};
use super::{Region, claim, endpoint, routable};
use crate::names;
use crate::program::{
    Action, Address, Direction, End, Family, Hook, MAIN, Match, Namespace, Peer, Program, Role,
    Route, RouteKey, Rule, Set, Table, Veth,
};
use fogbank_types::{InternetAccess, IpCidr, RegionConfig};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Loses against every other route to the pool.
pub(crate) const POOL_BLACKHOLE_METRIC: u32 = 2_000_000_000;

/// Ports on which AWS's services answer.
const SERVICE_PORTS: [u16; 2] = [80, 443];

/// Blocks that no packet may leave the region for: private, shared, link-local, test, multicast, reserved.
const NEVER_OUTSIDE: &[(Ipv4Addr, u8)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// The same of IPv6: all but global unicast, and of that what is for documentation and tests.
const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
const NEVER_OUTSIDE_V6: &[(Ipv6Addr, u8)] = &[
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
];

/// After the translation of sources.
const LEAVING: i32 = 150;

/// One family's part of the link between host and edge.
struct Link {
    family: Family,
    edge: IpAddr,
    host: IpAddr,
    /// Prefix length of the link's own block.
    length: u8,
    pool: IpCidr,
}

fn links(config: &RegionConfig) -> [Link; 2] {
    let (edge, host) = names::link_addresses(config);
    let (edge_v6, host_v6) = names::link_addresses_v6(config);
    [
        Link {
            family: Family::V4,
            edge: edge.into(),
            host: host.into(),
            length: 30,
            pool: config.public_cidr.into(),
        },
        Link {
            family: Family::V6,
            edge: edge_v6.into(),
            host: host_v6.into(),
            length: 126,
            pool: config.public_cidr_v6.into(),
        },
    ]
}

pub(super) fn add(program: &mut Program, config: &RegionConfig, regions: &[Region<'_>]) {
    program.host = host(config);
    let mut edge = base_namespace(config);
    let mut claimed = BTreeSet::new();
    for region in regions {
        if region.has_gateway(Family::V4) {
            add_public(program, &mut edge, region, &mut claimed);
        }
        if region.has_gateway(Family::V6) {
            add_blocks(program, &mut edge, region, &mut claimed);
        }
        add_endpoint(&mut edge, region);
    }
    let private = regions.iter().filter(|r| r.endpoint_number.is_some());
    let private: BTreeSet<String> = private
        .map(|region| names::service_device(&region.vpc.vpc_id))
        .collect();
    for table in edge.tables.values_mut() {
        let set = Set::Devices(private.clone());
        table.sets.insert("endpoints".to_owned(), set);
    }
    program
        .namespaces
        .insert(names::edge_namespace(config), edge);
}

/// The next hop on a VPC's link.
fn add_hop(edge: &mut Namespace, device: &str, family: Family, is_endpoint: bool) {
    let mac = if is_endpoint {
        names::ENDPOINT_MAC
    } else {
        names::GATEWAY_MAC
    };
    let hop = (device.to_owned(), names::gateway_hop(family));
    edge.neighbours.insert(hop, mac);
}

/// The public addresses of a VPC's interfaces.
fn add_public(
    program: &mut Program,
    edge: &mut Namespace,
    region: &Region<'_>,
    claimed: &mut BTreeSet<String>,
) {
    let device = names::vpc_device(&region.vpc.vpc_id);
    add_hop(edge, &device, Family::V4, false);
    for public_ip in region.public.values() {
        let text = public_ip.to_string();
        if !routable(region.config, *public_ip) {
            program.alarm(&text, "public address outside the pool: not routed");
            continue;
        }
        if !claim(claimed, &text) {
            program.alarm(
                &text,
                "public address is mapped twice: the second is not routed",
            );
            continue;
        }
        let public_ip = IpAddr::from(*public_ip);
        let key = main(IpCidr::host(public_ip), 0);
        edge.routes
            .insert(key, via(names::gateway_hop(Family::V4), &device));
        edge.connections.insert(public_ip, device.clone());
    }
}

/// A VPC's blocks of IPv6.
fn add_blocks(
    program: &mut Program,
    edge: &mut Namespace,
    region: &Region<'_>,
    claimed: &mut BTreeSet<String>,
) {
    let device = names::vpc_device(&region.vpc.vpc_id);
    add_hop(edge, &device, Family::V6, false);
    let pool = IpCidr::from(region.config.public_cidr_v6);
    for block in region.blocks(Family::V6) {
        let text = block.to_string();
        if !pool.covers(block) || block.length() <= pool.length() {
            program.alarm(&text, "block outside the pool: not routed");
            continue;
        }
        if !claim(claimed, &text) {
            program.alarm(&text, "block of two VPCs: not routed to the second");
            continue;
        }
        let to_vpc = via(names::gateway_hop(Family::V6), &device);
        edge.routes.insert(main(block, 0), to_vpc);
    }
    for eni in &region.local {
        for address in region.addresses(eni, Family::V6) {
            edge.connections
                .insert(address, names::eni_device(&eni.eni_id));
        }
    }
}

/// The way back to a VPC through its gateway endpoints.
fn add_endpoint(edge: &mut Namespace, region: &Region<'_>) {
    let Some(number) = region.endpoint_number else {
        return;
    };
    let device = names::service_device(&region.vpc.vpc_id);
    for family in region.families() {
        add_hop(edge, &device, family, true);
        let key = main(IpCidr::host(endpoint::source(number, family)), 0);
        edge.routes
            .insert(key, via(names::gateway_hop(family), &device));
    }
}

fn main(destination: IpCidr, metric: u32) -> RouteKey {
    RouteKey {
        table: MAIN,
        destination,
        metric,
    }
}

fn via(gateway: IpAddr, device: &str) -> Route {
    Route::Via {
        gateway,
        device: device.to_owned(),
        source: None,
    }
}

/// Our things in the host's own namespace.
fn host(config: &RegionConfig) -> Namespace {
    let device = names::host_device(config);
    let mut host = Namespace::default();
    for link in links(config) {
        host.addresses.insert(Address {
            device: device.clone(),
            address: link.host,
            length: link.length,
        });
        host.neighbours
            .insert((device.clone(), link.edge), names::UPLINK_MAC);
        host.routes
            .insert(main(link.pool, POOL_BLACKHOLE_METRIC), Route::Blackhole);
        let to_edge = Route::Via {
            gateway: link.edge,
            device: device.clone(),
            source: Some(link.host),
        };
        host.routes.insert(main(link.pool, 0), to_edge);
    }
    if config.internet == InternetAccess::Host {
        host.sysctls
            .insert("ipv4/ip_forward".to_owned(), "1".to_owned());
        for (link, [guard, nat]) in links(config).iter().zip(names::host_tables(config)) {
            host.tables.insert(guard, host_guard(link, &device));
            host.tables.insert(nat, host_translation(link, &device));
        }
    }
    host
}

fn leaving(host_device: &str) -> Match {
    Match::Device {
        direction: Direction::Out,
        name: host_device.to_owned(),
        equal: false,
    }
}

fn from_pool(link: &Link) -> Match {
    Match::Block {
        end: End::Source,
        block: link.pool,
        inside: true,
    }
}

/// With `--internet host` the host routes for tasks, and guards itself against them.
fn host_guard(link: &Link, host_device: &str) -> Table {
    let mut table = Table::new(link.family);
    let guard = |direction| {
        vec![
            Rule::new([Match::Established], accept()),
            Rule::new([device(direction, host_device)], drop_action()),
        ]
    };
    // What was not translated, because the kernel attributes it to no connection or knows no
    // translation at all, stays here.
    let on_the_loopback = Match::Device {
        direction: Direction::Out,
        name: "lo".to_owned(),
        equal: false,
    };
    let untranslated = [from_pool(link), leaving(host_device), on_the_loopback];
    let untranslated = Rule::new(untranslated, drop_action());
    for (name, chain) in [
        ("input", base(Hook::Input, -10, guard(Direction::In))),
        ("forward", base(Hook::Forward, -10, guard(Direction::Out))),
        (
            "leaving",
            base(Hook::Postrouting, LEAVING, vec![untranslated]),
        ),
    ] {
        table.chains.insert(name.to_owned(), chain);
    }
    table
}

/// Apart from the guard, which must stand even where the kernel refuses this.
fn host_translation(link: &Link, host_device: &str) -> Table {
    let mut table = Table::new(link.family);
    let masquerade = Rule::new([from_pool(link), leaving(host_device)], Action::Masquerade);
    let chain = super::firewall::nat(Hook::Postrouting, vec![masquerade]);
    table.chains.insert("postrouting".to_owned(), chain);
    table
}

/// The edge without any VPC.
fn base_namespace(config: &RegionConfig) -> Namespace {
    let uplink = names::UPLINK_DEVICE;
    let mut edge = Namespace {
        role: Role::Edge,
        sysctls: super::vpc::router_sysctls(true),
        ..Namespace::default()
    };
    edge.veths.insert(
        uplink.to_owned(),
        Veth {
            mac: names::UPLINK_MAC,
            mtu: 1500,
            peer: Peer {
                namespace: None,
                device: names::host_device(config),
                mac: names::HOST_MAC,
            },
            proxy_arp: false,
            delay_ms: 0,
        },
    );
    for link in links(config) {
        edge.addresses.insert(Address {
            device: uplink.to_owned(),
            address: link.edge,
            length: link.length,
        });
        edge.neighbours
            .insert((uplink.to_owned(), link.host), names::HOST_MAC);
        edge.routes.insert(main(link.pool, 0), Route::Blackhole);
        for address in endpoint::services(config, link.family)
            .into_iter()
            .chain(checkers(config, link.family))
        {
            edge.addresses.insert(Address {
                device: "lo".to_owned(),
                address,
                length: link.family.bits(),
            });
        }
        outside(&mut edge, config, &link);
        edge.tables
            .insert(names::table(link.family).to_owned(), table(config, &link));
    }
    edge
}

/// What is beyond the region.
fn outside(edge: &mut Namespace, config: &RegionConfig, link: &Link) {
    edge.routes
        .insert(main(link.family.any(), 0), Route::Blackhole);
    if config.internet != InternetAccess::Host {
        return;
    }
    let block =
        |base, length| IpCidr::containing(base, length).expect("lengths are below the family's");
    let (world, never): (IpCidr, Vec<IpCidr>) = match link.family {
        Family::V4 => {
            let never = NEVER_OUTSIDE.iter();
            let never = never.map(|(base, length)| block((*base).into(), *length));
            (link.family.any(), never.collect())
        }
        Family::V6 => {
            let never = NEVER_OUTSIDE_V6.iter();
            let never = never.map(|(base, length)| block((*base).into(), *length));
            (block(GLOBAL_V6.0.into(), GLOBAL_V6.1), never.collect())
        }
    };
    for block in never.into_iter().filter(|block| *block != link.pool) {
        edge.routes.insert(main(block, 0), Route::Blackhole);
    }
    let to_host = via(link.host, names::UPLINK_DEVICE);
    edge.routes.insert(main(world, 0), to_host);
}

fn uplink(direction: Direction, equal: bool) -> Match {
    Match::Device {
        direction,
        name: names::UPLINK_DEVICE.to_owned(),
        equal,
    }
}

/// Between VPCs anything goes (their own gates decide); from the host only what the host itself
/// sends, so that nobody can use the host as a router into the region. What comes for a gateway
/// endpoint goes nowhere but to AWS's services.
fn table(config: &RegionConfig, link: &Link) -> Table {
    let from_host = |inside| Match::Block {
        end: End::Source,
        block: IpCidr::host(link.host),
        inside,
    };
    let from_endpoint = Match::DeviceIn {
        direction: Direction::In,
        set: "endpoints".to_owned(),
        member: true,
    };
    let mut forward = vec![
        Rule::new([from_endpoint], drop_action()),
        Rule::new([Match::Established], accept()),
        Rule::new([Match::Invalid], drop_action()),
        Rule::new([uplink(Direction::In, true), from_host(true)], accept()),
        Rule::new(
            [uplink(Direction::In, false), uplink(Direction::Out, false)],
            accept(),
        ),
    ];
    if config.internet == InternetAccess::Host {
        forward.push(Rule::new(
            [
                uplink(Direction::In, false),
                uplink(Direction::Out, true),
                not_the_pool(link),
            ],
            accept(),
        ));
    }
    forward.push(drop_rest());
    let mut input = vec![
        Rule::new([device(Direction::In, "lo")], accept()),
        Rule::new(
            [uplink(Direction::In, true), from_host(false)],
            drop_action(),
        ),
        Rule::new([Match::Established], accept()),
    ];
    input.extend(SERVICE_PORTS.map(|port| service("services", 6, port)));
    input.push(drop_rest());
    let mut table = Table::new(link.family);
    let services = Set::Addresses(endpoint::services(config, link.family));
    table.sets.insert("services".to_owned(), services);
    for (name, chain) in [
        ("forward", base(Hook::Forward, 0, forward)),
        ("input", base(Hook::Input, 0, input)),
    ] {
        table.chains.insert(name.to_owned(), chain);
    }
    super::firewall::own_errors(&mut table);
    let checkers = Set::Addresses(checkers(config, link.family).collect());
    table.sets.insert("checkers".to_owned(), checkers);
    if let Some(output) = table.chains.get_mut("output") {
        let last = output.rules.len().saturating_sub(1);
        output.rules.splice(last..last, probes(config, link));
    }
    table
}

/// Where health checkers speak from.
fn checkers(config: &RegionConfig, family: Family) -> impl Iterator<Item = IpAddr> {
    let addresses = config.checker_addresses().into_iter();
    addresses.map(move |(v4, v6)| match family {
        Family::V4 => v4.into(),
        Family::V6 => v6.into(),
    })
}

/// Health checkers reach VPCs, and the world if the region does; never the host, whose ports are nobody's endpoints.
fn probes(config: &RegionConfig, link: &Link) -> Vec<Rule> {
    let to = |places: Vec<Match>| {
        let by_a_checker = Match::AddressIn {
            end: End::Source,
            set: "checkers".to_owned(),
            member: true,
        };
        let tcp = Match::Protocol {
            number: 6,
            equal: true,
        };
        let matches: Vec<Match> = [by_a_checker, tcp].into_iter().chain(places).collect();
        Rule::new(matches, accept())
    };
    let mut rules = vec![to(vec![uplink(Direction::Out, false)])];
    if config.internet == InternetAccess::Host {
        rules.push(to(vec![uplink(Direction::Out, true), not_the_pool(link)]));
    }
    rules
}

/// Neither the host's address on our link, nor anybody's of the region.
fn not_the_pool(link: &Link) -> Match {
    Match::Block {
        end: End::Destination,
        block: link.pool,
        inside: false,
    }
}
