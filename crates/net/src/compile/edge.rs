//! The edge: the namespace between the host and every VPC's internet gateway.
//!
//! It knows public addresses only: one /32 per address towards its VPC, everything else of the pool
//! a blackhole. The host reaches it through one veth; nothing of the pool, of a VPC or of a link can
//! reach a real interface, because the host has a blackhole for the pool under the route to us.

use super::{Region, claim, routable};
use crate::names;
use crate::program::{
    Action, Address, Base, Chain, Direction, End, Family, Hook, MAIN, Match, Namespace, Peer,
    Program, Role, Route, RouteKey, Rule, Table, Verdict, Veth,
};
use fogbank_types::{InternetAccess, Ipv4Cidr, RegionConfig};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Loses against every other route to the pool.
pub(crate) const POOL_BLACKHOLE_METRIC: u32 = 2_000_000_000;

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

pub(super) fn add(program: &mut Program, config: &RegionConfig, regions: &[Region<'_>]) {
    program.host = host(config);
    let mut edge = base(config);
    let mut claimed = BTreeSet::new();
    for region in regions.iter().filter(|r| r.gateway_attached) {
        let device = names::vpc_device(&region.vpc.vpc_id);
        let hop = (device.clone(), names::GATEWAY_HOP);
        edge.neighbours.insert(hop, names::GATEWAY_MAC);
        for public_ip in region.public.values() {
            let text = public_ip.to_string();
            if !routable(config, *public_ip) {
                program.alarm(&text, "public address outside the pool: not routed");
                continue;
            }
            if !claim(&mut claimed, &text) {
                program.alarm(
                    &text,
                    "public address is mapped twice: the second is not routed",
                );
                continue;
            }
            let key = main(Ipv4Cidr::host(*public_ip), 0);
            edge.routes.insert(key, via(names::GATEWAY_HOP, &device));
            edge.connections.insert(*public_ip, device.clone());
        }
    }
    program
        .namespaces
        .insert(names::edge_namespace(config), edge);
}

fn main(destination: Ipv4Cidr, metric: u32) -> RouteKey {
    RouteKey {
        table: MAIN,
        destination,
        metric,
    }
}

fn via(gateway: Ipv4Addr, device: &str) -> Route {
    Route::Via {
        gateway,
        device: device.to_owned(),
        source: None,
    }
}

/// Our things in the host's own namespace.
fn host(config: &RegionConfig) -> Namespace {
    let device = names::host_device(config);
    let (edge_ip, host_ip) = names::link_addresses(config);
    let mut host = Namespace::default();
    host.addresses.insert(Address {
        device: device.clone(),
        address: host_ip,
        length: 30,
    });
    host.neighbours
        .insert((device.clone(), edge_ip), names::UPLINK_MAC);
    let pool = config.public_cidr;
    host.routes
        .insert(main(pool, POOL_BLACKHOLE_METRIC), Route::Blackhole);
    let to_edge = Route::Via {
        gateway: edge_ip,
        device: device.clone(),
        source: Some(host_ip),
    };
    host.routes.insert(main(pool, 0), to_edge);
    if config.internet == InternetAccess::Host {
        host.sysctls
            .insert("ipv4/ip_forward".to_owned(), "1".to_owned());
        host.tables
            .insert(names::host_table(config), host_table(pool, &device));
    }
    host
}

/// With `--internet host` the host routes and masquerades for tasks, and guards itself against them.
fn host_table(pool: Ipv4Cidr, device: &str) -> Table {
    let at = |direction| Match::Device {
        direction,
        name: device.to_owned(),
        equal: true,
    };
    let mut table = Table::new(Family::V4);
    let guard = |direction| {
        vec![
            Rule::new([Match::Established], Action::Do(Verdict::Accept)),
            Rule::new([at(direction)], Action::Do(Verdict::Drop)),
        ]
    };
    table.chains.insert(
        "input".to_owned(),
        filter(Hook::Input, -10, guard(Direction::In)),
    );
    table.chains.insert(
        "forward".to_owned(),
        filter(Hook::Forward, -10, guard(Direction::Out)),
    );
    let away = Match::Device {
        direction: Direction::Out,
        name: device.to_owned(),
        equal: false,
    };
    let ours = Match::Block {
        end: End::Source,
        block: pool,
        inside: true,
    };
    let masquerade = Rule::new([ours, away], Action::Masquerade);
    table.chains.insert(
        "postrouting".to_owned(),
        super::firewall::nat(Hook::Postrouting, vec![masquerade]),
    );
    table
}

fn filter(hook: Hook, priority: i32, rules: Vec<Rule>) -> Chain {
    Chain {
        base: Some(Base {
            hook,
            nat: false,
            priority,
        }),
        rules,
    }
}

/// The edge without any VPC.
fn base(config: &RegionConfig) -> Namespace {
    let (edge_ip, host_ip) = names::link_addresses(config);
    let uplink = names::UPLINK_DEVICE;
    let mut edge = Namespace {
        role: Role::Edge,
        sysctls: super::vpc::router_sysctls(),
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
        },
    );
    edge.addresses.insert(Address {
        device: uplink.to_owned(),
        address: edge_ip,
        length: 30,
    });
    edge.neighbours
        .insert((uplink.to_owned(), host_ip), names::HOST_MAC);
    let blackhole = |edge: &mut Namespace, block| {
        edge.routes.insert(main(block, 0), Route::Blackhole);
    };
    blackhole(&mut edge, config.public_cidr);
    match config.internet {
        InternetAccess::None => blackhole(&mut edge, Ipv4Cidr::ANY),
        InternetAccess::Host => {
            for (base, length) in NEVER_OUTSIDE {
                let block = Ipv4Cidr::containing(*base, *length).expect("lengths are below 32");
                if block != config.public_cidr {
                    blackhole(&mut edge, block);
                }
            }
            let default = via(host_ip, uplink);
            edge.routes.insert(main(Ipv4Cidr::ANY, 0), default);
        }
    }
    edge.tables
        .insert(names::TABLE.to_owned(), table(config, host_ip));
    edge.tables
        .insert(names::TABLE_V6.to_owned(), super::firewall::closed_v6());
    edge
}

/// Between VPCs anything goes (their own gates decide); from the host only what the host itself
/// sends, so that nobody can use the host as a router into the region.
fn table(config: &RegionConfig, host_ip: Ipv4Addr) -> Table {
    let uplink = |direction, equal| Match::Device {
        direction,
        name: names::UPLINK_DEVICE.to_owned(),
        equal,
    };
    let accept = Action::Do(Verdict::Accept);
    let from_host = Match::Block {
        end: End::Source,
        block: Ipv4Cidr::host(host_ip),
        inside: true,
    };
    let mut rules = vec![
        Rule::new([Match::Established], accept.clone()),
        Rule::new([Match::Invalid], Action::Do(Verdict::Drop)),
        Rule::new([uplink(Direction::In, true), from_host], accept.clone()),
        Rule::new(
            [uplink(Direction::In, false), uplink(Direction::Out, false)],
            accept.clone(),
        ),
    ];
    if config.internet == InternetAccess::Host {
        let not_the_host = Match::Block {
            end: End::Destination,
            block: config.public_cidr,
            inside: false,
        };
        rules.push(Rule::new(
            [
                uplink(Direction::In, false),
                uplink(Direction::Out, true),
                not_the_host,
            ],
            accept,
        ));
    }
    rules.push(Rule::new([], Action::Do(Verdict::Drop)));
    let mut table = Table::new(Family::V4);
    table
        .chains
        .insert("forward".to_owned(), filter(Hook::Forward, 0, rules));
    super::firewall::close_own_sockets(&mut table);
    table
}
