//! Two interfaces on a router that knows both families, as a program written by hand.
#![allow(dead_code, clippy::unwrap_used)]

use crate::region::{addr, config};
use crate::sandbox::*;
use fogbank_net::names;
use fogbank_net::program::*;
use fogbank_net::{Applier, Program};
use fogbank_types::{EniId, IpCidr, MacAddr, RegionConfig, VpcId};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Instant;

pub const ROUTER: &str = "fog-test-router";
pub const LOG_GROUP: u16 = 7;

/// Two interfaces on a router that knows both families.
pub struct Net {
    pub config: RegionConfig,
    pub program: Program,
    pub applier: Applier,
}

pub struct End {
    pub name: &'static str,
    pub device: &'static str,
    pub mac: MacAddr,
    pub v4: IpAddr,
    pub v6: IpAddr,
}

pub fn ends() -> [End; 2] {
    let end = |name, device, n: u8| End {
        name,
        device,
        mac: MacAddr([2, 0, 0, 0, 0, n]),
        v4: addr(&format!("10.0.1.{n}")),
        v6: addr(&format!("2001:2:0:ab00::{n}")),
    };
    [end("fog-test-a", "e-a", 10), end("fog-test-b", "e-b", 11)]
}

pub fn path(end: &End) -> PathBuf {
    names::namespace_path(end.name)
}

pub fn at(end: &End) -> From {
    From::Inside(path(end))
}

pub fn settings(all: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    let owned = all.iter().map(|(k, v)| (k.to_string(), v.to_string()));
    owned.collect()
}

pub fn main_route(destination: IpCidr) -> RouteKey {
    RouteKey {
        table: MAIN,
        destination,
        metric: 0,
    }
}

pub fn router() -> Namespace {
    let mut router = Namespace {
        role: Role::Vpc(VpcId::from_bits(1)),
        sysctls: settings(&[
            ("ipv4/ip_forward", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv6/conf/default/addr_gen_mode", "1"),
            ("ipv6/conf/default/accept_ra", "0"),
            ("netfilter/nf_conntrack_acct", "1"),
            ("netfilter/nf_conntrack_timestamp", "1"),
        ]),
        ..Namespace::default()
    };
    for end in ends() {
        let device = end.device.to_owned();
        router.addresses.insert(Address {
            device: device.clone(),
            address: addr("fe80::1"),
            length: 64,
        });
        for address in [end.v4, end.v6] {
            let to = main_route(IpCidr::host(address));
            router.routes.insert(to, Route::Device(device.clone()));
            router.neighbours.insert((device.clone(), address), end.mac);
            router.connections.insert(address, device.clone());
        }
        let veth = Veth {
            mac: names::ROUTER_MAC,
            mtu: 9001,
            peer: Peer {
                namespace: Some(end.name.to_owned()),
                device: "eth0".to_owned(),
                mac: end.mac,
            },
            proxy_arp: true,
            delay_ms: 0,
        };
        router.veths.insert(device, veth);
    }
    for (name, family) in [("t4", Family::V4), ("t6", Family::V6)] {
        router.tables.insert(name.to_owned(), table(family));
    }
    router
}

pub fn range(from: u16, to: u16) -> Range {
    Range { from, to }
}

pub fn echo(family: Family) -> (u8, u16) {
    match family {
        Family::V4 => (1, 8 << 8),
        Family::V6 => (58, 128 << 8),
    }
}

pub fn of(family: Family, end: &End) -> IpAddr {
    match family {
        Family::V4 => end.v4,
        Family::V6 => end.v6,
    }
}

/// Sources must be bound to their devices; a may open 80 to 90 and ping, and b may open 7000 of UDP
/// and every port to the block of a's addresses that begins with a itself.
pub fn table(family: Family) -> Table {
    let [a, b] = ends();
    let mut table = Table::new(family);
    let (icmp, echo) = echo(family);
    let (a_address, b_address) = (of(family, &a), of(family, &b));
    let one = IpCidr::host(a_address);
    let sets = [
        (
            "bindings",
            Set::Bindings([(a.device.into(), a_address), (b.device.into(), b_address)].into()),
        ),
        ("ports", Set::Ports([(one, 6, range(80, 90))].into())),
        ("icmp", Set::Icmp([(one, range(echo, echo | 255))].into())),
        (
            "protocols",
            Set::Protocols([(IpCidr::host(b_address), range(17, 17))].into()),
        ),
        ("members", Set::Addresses([a_address].into())),
        (
            "gates",
            Set::Verdicts([(b.device.to_owned(), Verdict::Jump("to_b".into()))].into()),
        ),
    ];
    for (name, set) in sets {
        table.sets.insert(name.to_owned(), set);
    }
    let accept = || Action::Do(Verdict::Accept);
    let traffic = |set: &str, kind| Match::Traffic {
        end: fogbank_net::program::End::Source,
        set: set.to_owned(),
        kind,
    };
    let protocol = |number| Match::Protocol {
        number,
        equal: true,
    };
    let prefix = "test rejected".to_owned();
    let log = Action::Log {
        group: LOG_GROUP,
        prefix,
    };
    let bound = Match::Bound {
        direction: Direction::In,
        set: "bindings".to_owned(),
    };
    let to_member = Match::AddressIn {
        end: fogbank_net::program::End::Destination,
        set: "members".to_owned(),
        member: true,
    };
    let from_b = Match::Block {
        end: fogbank_net::program::End::Source,
        block: IpCidr::containing(b_address, IpCidr::host(b_address).length() - 1).unwrap(),
        inside: true,
    };
    let forward = vec![
        Rule::new([Match::Established], accept()),
        Rule::new([bound], Action::Do(Verdict::Jump("bound".into()))),
        Rule::new([], log),
        Rule::new([], Action::Do(Verdict::Drop)),
    ];
    let bound = vec![
        Rule::new(
            [],
            Action::VerdictOf {
                direction: Direction::Out,
                map: "gates".to_owned(),
            },
        ),
        Rule::new(
            [protocol(17), traffic("protocols", TrafficKind::Protocols)],
            accept(),
        ),
        Rule::new(
            [
                to_member,
                from_b,
                protocol(6),
                Match::Ports(range(7000, 7000)),
            ],
            accept(),
        ),
    ];
    let to_b = vec![
        Rule::new(
            [protocol(6), traffic("ports", TrafficKind::Ports)],
            accept(),
        ),
        Rule::new(
            [protocol(icmp), traffic("icmp", TrafficKind::Icmp)],
            accept(),
        ),
    ];
    let base = Base {
        hook: Hook::Forward,
        nat: false,
        priority: 0,
    };
    for (name, base, rules) in [
        ("forward", Some(base), forward),
        ("bound", None, bound),
        ("to_b", None, to_b),
    ] {
        table.chains.insert(name.to_owned(), Chain { base, rules });
    }
    table
}

pub fn eni(end: &End, number: u128) -> Namespace {
    let mut eni = Namespace {
        role: Role::Eni(EniId::from_bits(number)),
        sysctls: settings(&[
            ("ipv4/ping_group_range", "0\t2147483647"),
            ("ipv6/conf/default/addr_gen_mode", "1"),
            ("ipv6/conf/default/accept_ra", "0"),
        ]),
        ..Namespace::default()
    };
    let device = || "eth0".to_owned();
    for (address, length, hop) in [(end.v4, 24, "10.0.1.1"), (end.v6, 128, "fe80::1")] {
        eni.addresses.insert(Address {
            device: device(),
            address,
            length,
        });
        eni.neighbours
            .insert((device(), addr(hop)), names::ROUTER_MAC);
        let any = IpCidr::containing(address, 0).unwrap();
        let default = Route::Via {
            gateway: addr(hop),
            device: device(),
            source: Some(address),
        };
        eni.routes.insert(main_route(any), default);
    }
    eni
}

impl Net {
    pub fn start() -> Self {
        let mut program = Program::default();
        program.namespaces.insert(ROUTER.to_owned(), router());
        for (n, end) in ends().iter().enumerate() {
            let eni = eni(end, n as u128 + 1);
            program.namespaces.insert(end.name.to_owned(), eni);
        }
        let config = config("test");
        let applier = Applier::start(&config).unwrap();
        let net = Self {
            config,
            program,
            applier,
        };
        assert!(net.apply() > 0);
        net
    }

    pub fn apply(&self) -> usize {
        let report = self
            .applier
            .reconcile_blocking(self.program.clone())
            .unwrap();
        assert_eq!(report.failures, []);
        report.steps
    }

    pub fn router(&mut self) -> &mut Namespace {
        self.program.namespaces.get_mut(ROUTER).unwrap()
    }

    pub fn table(&mut self, family: Family) -> &mut Table {
        let name = match family {
            Family::V4 => "t4",
            Family::V6 => "t6",
        };
        self.router().tables.get_mut(name).unwrap()
    }
}

pub const BOTH: [Family; 2] = [Family::V4, Family::V6];

/// Connections are forgotten a moment after the change that ends them.
pub fn ends_soon(open: &mut Connection) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if !open.is_alive(SILENCE) {
            return true;
        }
    }
    false
}

pub fn reaches(from: &End, to: IpAddr, port: u16) -> bool {
    Connection::open(&at(from), to, port, PATIENCE).is_some()
}

pub fn is_kept_out(from: &End, to: IpAddr, port: u16) -> bool {
    Connection::open(&at(from), to, port, SILENCE).is_none()
}
