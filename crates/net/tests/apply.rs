//! What the applier makes of a program, without the compiler: both families, readers, delays. Each
//! test plays a host of its own (see `sandbox`); needs root.

#![allow(clippy::unwrap_used)]

mod region;
mod sandbox;

use fogbank_net::apply::{conntrack, netem_available, nflog, teardown};
use fogbank_net::names;
use fogbank_net::program::*;
use fogbank_net::{Applier, Program};
use fogbank_types::{EniId, IpCidr, MacAddr, RegionConfig, VpcId};
use region::{addr, block, config};
use sandbox::*;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Instant;

const ROUTER: &str = "fog-test-router";
const LOG_GROUP: u16 = 7;

/// Two interfaces on a router that knows both families.
struct Net {
    config: RegionConfig,
    program: Program,
    applier: Applier,
}

struct End {
    name: &'static str,
    device: &'static str,
    mac: MacAddr,
    v4: IpAddr,
    v6: IpAddr,
}

fn ends() -> [End; 2] {
    let end = |name, device, n: u8| End {
        name,
        device,
        mac: MacAddr([2, 0, 0, 0, 0, n]),
        v4: addr(&format!("10.0.1.{n}")),
        v6: addr(&format!("2001:2:0:ab00::{n}")),
    };
    [end("fog-test-a", "e-a", 10), end("fog-test-b", "e-b", 11)]
}

fn path(end: &End) -> PathBuf {
    names::namespace_path(end.name)
}

fn at(end: &End) -> From {
    From::Inside(path(end))
}

fn settings(all: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    let owned = all.iter().map(|(k, v)| (k.to_string(), v.to_string()));
    owned.collect()
}

fn main_route(destination: IpCidr) -> RouteKey {
    RouteKey {
        table: MAIN,
        destination,
        metric: 0,
    }
}

fn router() -> Namespace {
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

fn range(from: u16, to: u16) -> Range {
    Range { from, to }
}

fn echo(family: Family) -> (u8, u16) {
    match family {
        Family::V4 => (1, 8 << 8),
        Family::V6 => (58, 128 << 8),
    }
}

fn of(family: Family, end: &End) -> IpAddr {
    match family {
        Family::V4 => end.v4,
        Family::V6 => end.v6,
    }
}

/// Sources must be bound to their devices; a may open 80 to 90 and ping, and b may open 7000 of UDP
/// and every port to the block of a's addresses that begins with a itself.
fn table(family: Family) -> Table {
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

fn eni(end: &End, number: u128) -> Namespace {
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
    fn start() -> Self {
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

    fn apply(&self) -> usize {
        let report = self
            .applier
            .reconcile_blocking(self.program.clone())
            .unwrap();
        assert_eq!(report.failures, []);
        report.steps
    }

    fn router(&mut self) -> &mut Namespace {
        self.program.namespaces.get_mut(ROUTER).unwrap()
    }

    fn table(&mut self, family: Family) -> &mut Table {
        let name = match family {
            Family::V4 => "t4",
            Family::V6 => "t6",
        };
        self.router().tables.get_mut(name).unwrap()
    }
}

const BOTH: [Family; 2] = [Family::V4, Family::V6];

/// Connections are forgotten a moment after the change that ends them.
fn ends_soon(open: &mut Connection) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if !open.is_alive(SILENCE) {
            return true;
        }
    }
    false
}

fn reaches(from: &End, to: IpAddr, port: u16) -> bool {
    Connection::open(&at(from), to, port, PATIENCE).is_some()
}

fn is_kept_out(from: &End, to: IpAddr, port: u16) -> bool {
    Connection::open(&at(from), to, port, SILENCE).is_none()
}

#[test]
fn every_match_acts_in_both_families() {
    sandbox(|| {
        let mut net = Net::start();
        let [a, b] = ends();
        for end in [&a, &b] {
            for port in [80, 90, 91, 7000] {
                serve_tcp(&path(end), port);
            }
        }
        for family in BOTH {
            let (to_a, to_b) = (of(family, &a), of(family, &b));
            serve_udp(&path(&a), to_a, 7001);
            serve_udp(&path(&b), to_b, 7001);
            assert!(reaches(&a, to_b, 80) && reaches(&a, to_b, 90));
            assert!(is_kept_out(&a, to_b, 91), "outside the range of ports");
            assert!(is_kept_out(&b, to_a, 80));
            assert!(reaches(&b, to_a, 7000), "by block, set and port");
            assert!(is_kept_out(&a, to_b, 7000));
            assert!(ping(&at(&a), to_b, PATIENCE), "by type and code");
            assert!(!ping(&at(&b), to_a, SILENCE));
            assert_eq!(ask_udp(&at(&b), to_a, 7001, PATIENCE), Some(to_b));
            assert_eq!(ask_udp(&at(&a), to_b, 7001, SILENCE), None);
            // One element more, one transaction.
            let Some(Set::Ports(ports)) = net.table(family).sets.get_mut("ports") else {
                panic!("it is a set of ports");
            };
            let wide = IpCidr::containing(to_a, 20).unwrap();
            ports.insert((wide, 6, range(91, 91)));
            assert_eq!(net.apply(), 1);
            assert!(reaches(&a, to_b, 91));
        }
    });
}

#[test]
fn forged_sources_of_ipv6_are_dropped() {
    sandbox(|| {
        let _net = Net::start();
        let [a, b] = ends();
        serve_tcp(&path(&b), 80);
        let net = format!("--net={}", path(&a).display());
        let forged = "2001:2:0:ab00::66";
        let add = [
            "addr",
            "add",
            &format!("{forged}/128"),
            "dev",
            "eth0",
            "nodad",
        ];
        run("nsenter", &[&[net.as_str(), "ip", "-6"], &add[..]].concat());
        // The same rules would let it in by its port; the binding does not.
        let route = format!("{} via fe80::1 dev eth0 src {forged}", b.v6);
        let route: Vec<&str> = route.split(' ').collect();
        run(
            "nsenter",
            &[&[net.as_str(), "ip", "-6", "route", "add"], &route[..]].concat(),
        );
        assert!(is_kept_out(&a, b.v6, 80));
    });
}

#[test]
fn an_applier_finds_what_another_made_in_both_families() {
    sandbox(|| {
        let mut net = Net::start();
        let router = names::namespace_path(ROUTER);
        let inside = format!("--net={}", router.display());
        net.router().rules.insert(RoutingRule {
            family: Family::V6,
            priority: 50,
            from: Some(block("2001:2::/64")),
            device: Some("e-a".to_owned()),
            action: RuleAction::Lookup(0x4000_0007),
        });
        let odd = RouteKey {
            table: 0x4000_0007,
            destination: block("2001:2:0:1::/64"),
            metric: 9,
        };
        net.router().routes.insert(odd, Route::Blackhole);
        net.apply();
        for noise in [
            "route add 2001:db8::/32 dev e-a",
            "addr add 2001:db8::1/64 dev e-b nodad",
            "neigh add 2001:db8::2 lladdr 02:00:00:00:00:02 dev e-b",
            "rule add pref 77 from 2001:db8::/32 blackhole",
        ] {
            let words: Vec<&str> = noise.split(' ').collect();
            run(
                "nsenter",
                &[&[inside.as_str(), "ip", "-6"], &words[..]].concat(),
            );
        }
        net.applier = Applier::start(&net.config).unwrap();
        assert!(net.apply() > 0);
        let all = ["route show table all", "addr", "neigh", "rule"].map(|what| {
            let words: Vec<&str> = what.split(' ').collect();
            run(
                "nsenter",
                &[&[inside.as_str(), "ip", "-6"], &words[..]].concat(),
            )
        });
        let all = all.join("\n");
        assert!(!all.contains("2001:db8"), "{all}");
        assert_eq!(net.apply(), 0, "the second look finds nothing to do");
        net.applier = Applier::start(&net.config).unwrap();
        let links = |ip: &str| run("nsenter", &[&inside, "ip", ip, "-o", "addr"]);
        let before = (links("-6"), links("-4"));
        net.apply();
        assert_eq!((links("-6"), links("-4")), before);
        let [a, b] = ends();
        serve_tcp(&path(&b), 80);
        assert!(reaches(&a, b.v6, 80));
    });
}

#[test]
fn an_interface_made_without_ipv6_gets_it() {
    sandbox(|| {
        let mut net = Net::start();
        let [a, b] = ends();
        // As an earlier version left it.
        for (place, device) in [(ROUTER, "e-a"), (a.name, "eth0")] {
            let path = names::namespace_path(place);
            let file = format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6");
            fogbank_net::apply::in_namespace(&path, || std::fs::write(file, "1"))
                .unwrap()
                .unwrap();
        }
        net.applier = Applier::start(&net.config).unwrap();
        net.apply();
        serve_tcp(&path(&b), 80);
        assert!(reaches(&a, b.v6, 80));
    });
}

#[test]
fn connections_let_through_untracked_end_with_their_rule_and_others_stay() {
    sandbox(|| {
        let mut net = Net::start();
        let [a, b] = ends();
        for port in [80, 85, 90] {
            serve_tcp(&path(&b), port);
        }
        let untracked = |address, direction, ports| Untracked {
            address,
            direction,
            protocol: 6,
            ports,
        };
        for family in BOTH {
            let open = untracked(of(family, &b), Direction::In, range(80, 89));
            net.router().untracked.insert(open);
        }
        net.apply();
        for family in BOTH {
            let to = of(family, &b);
            let mut all =
                [80, 85, 90].map(|port| Connection::open(&at(&a), to, port, PATIENCE).unwrap());
            // The rule for 80 to 84 goes; 85 to 89 stays untracked, and 90 never was.
            net.router()
                .untracked
                .remove(&untracked(to, Direction::In, range(80, 89)));
            net.router()
                .untracked
                .insert(untracked(to, Direction::In, range(85, 89)));
            let Some(Set::Ports(ports)) = net.table(family).sets.get_mut("ports") else {
                panic!("it is a set of ports");
            };
            ports.clear();
            net.apply();
            assert!(ends_soon(&mut all[0]));
            assert!(all[1].is_alive(PATIENCE) && all[2].is_alive(PATIENCE));
            // The other direction: a's own connections.
            ports_again(&mut net, family, &a);
            let out = untracked(of(family, &a), Direction::Out, range(90, 90));
            net.router().untracked.insert(out);
            net.apply();
            let mut open = Connection::open(&at(&a), to, 90, PATIENCE).unwrap();
            net.router().untracked.remove(&out);
            let Some(Set::Ports(ports)) = net.table(family).sets.get_mut("ports") else {
                panic!("it is a set of ports");
            };
            ports.clear();
            net.apply();
            assert!(ends_soon(&mut open));
        }
    });
}

fn ports_again(net: &mut Net, family: Family, a: &End) {
    let one = IpCidr::host(of(family, a));
    let all = Set::Ports([(one, 6, range(80, 90))].into());
    net.table(family).sets.insert("ports".to_owned(), all);
}

#[test]
fn a_freed_address_of_ipv6_takes_its_connections_with_it() {
    sandbox(|| {
        let mut net = Net::start();
        let [a, b] = ends();
        serve_tcp(&path(&b), 80);
        let mut kept = Connection::open(&at(&a), b.v4, 80, PATIENCE).unwrap();
        let mut open = Connection::open(&at(&a), b.v6, 80, PATIENCE).unwrap();
        for family in BOTH {
            net.table(family)
                .sets
                .insert("ports".into(), Set::Ports(BTreeSet::new()));
        }
        net.router().connections.insert(b.v6, "another".to_owned());
        net.apply();
        assert!(ends_soon(&mut open));
        assert!(kept.is_alive(PATIENCE));
    });
}

#[test]
fn connections_are_listed_and_counted_and_their_ends_told() {
    sandbox(|| {
        let mut net = Net::start();
        let [a, b] = ends();
        let router = names::namespace_path(ROUTER);
        let mut reader = conntrack::Reader::open(&router).unwrap();
        let mut ends = conntrack::Ends::open(&router).unwrap();
        assert_eq!(reader.connections().unwrap(), []);
        serve_tcp(&path(&b), 80);
        for family in BOTH {
            let (source, to) = (of(family, &a), of(family, &b));
            let mut open = Connection::open(&at(&a), to, 80, PATIENCE).unwrap();
            assert!(open.is_alive(PATIENCE));
            assert!(ping(&at(&a), to, PATIENCE));
            let all = reader.connections().unwrap();
            let tcp = all.iter().find(|c| c.original.protocol == 6).unwrap();
            assert_eq!(
                (tcp.original.source, tcp.original.destination),
                (source, to)
            );
            assert_eq!((tcp.reply.source, tcp.reply.destination), (to, source));
            assert_eq!(tcp.original.destination_port, 80);
            assert_eq!(tcp.reply.source_port, 80);
            assert_eq!(tcp.tcp, Some(conntrack::TcpState::Established));
            assert!(tcp.answered && tcp.sent.packets >= 3 && tcp.received.packets >= 2);
            let headers = if family == Family::V4 { 40 } else { 60 };
            assert!(tcp.sent.bytes >= tcp.sent.packets * headers, "{tcp:?}");
            assert!(tcp.started_ns.is_some() && tcp.ended_ns.is_none());
            let (number, echo) = echo(family);
            let icmp = all.iter().find(|c| c.original.protocol == number).unwrap();
            assert_eq!(icmp.original.icmp.unwrap().0, (echo >> 8) as u8);
            assert_eq!((icmp.sent.packets, icmp.received.packets), (1, 1));
            // Each packet counts once.
            let taken = reader.take_counters().unwrap();
            let again = reader.connections().unwrap();
            let of_tcp = |all: &[conntrack::Connection]| {
                let found = all.iter().find(|c| c.original.protocol == 6);
                found.unwrap().sent.packets
            };
            // A late acknowledgement may still come in between.
            assert!(of_tcp(&taken) >= tcp.sent.packets && of_tcp(&again) <= 1);
            // Its end is told with what came after.
            assert!(open.is_alive(PATIENCE));
            net.router()
                .connections
                .insert(source, format!("{family:?}"));
            net.apply();
            let begun = Instant::now();
            let ended = loop {
                let found = ends
                    .next(PATIENCE)
                    .unwrap()
                    .into_iter()
                    .find_map(|e| match e {
                        conntrack::Event::Ended(c) if c.original.protocol == 6 => Some(c),
                        _ => None,
                    });
                if let Some(found) = found {
                    break found;
                }
                assert!(begun.elapsed() < PATIENCE, "no end was told");
            };
            assert_eq!(ended.original, tcp.original);
            assert_eq!(ended.id, tcp.id);
            assert!((1..10).contains(&ended.sent.packets), "{ended:?}");
            assert!(ended.ended_ns >= ended.started_ns && ended.ended_ns.is_some());
        }
    });
}

#[test]
fn what_is_logged_is_told_with_its_headers() {
    sandbox(|| {
        let _net = Net::start();
        let [a, b] = ends();
        let router = names::namespace_path(ROUTER);
        let mut reader = nflog::Reader::open(&router, LOG_GROUP).unwrap();
        assert!(
            nflog::Reader::open(&router, LOG_GROUP).is_err(),
            "one a group"
        );
        let mut next = || {
            let begun = Instant::now();
            loop {
                let events = reader.next(PATIENCE).unwrap();
                if let Some(nflog::Event::Logged(packet)) = events.into_iter().next() {
                    return packet;
                }
                assert!(begun.elapsed() < PATIENCE, "nothing was logged");
            }
        };
        for family in BOTH {
            let (source, to) = (of(family, &a), of(family, &b));
            assert!(is_kept_out(&a, to, 91));
            let packet = next();
            assert_eq!(packet.prefix, "test rejected");
            let headers = packet.headers;
            assert_eq!((headers.source, headers.destination), (source, to));
            assert_eq!((headers.protocol, headers.destination_port), (6, 91));
            assert_eq!(headers.tcp_flags & 0x17, 2, "SYN only");
            assert!((40..120).contains(&headers.bytes), "{headers:?}");
            assert!(!ping(&at(&b), of(family, &a), SILENCE));
            let packet = loop {
                let packet = next();
                if packet.headers.protocol != 6 {
                    break packet;
                }
            };
            let (number, echo) = echo(family);
            assert_eq!(packet.headers.protocol, number);
            assert_eq!(packet.headers.icmp, Some(((echo >> 8) as u8, 0)));
            let devices = (packet.device_in.unwrap(), packet.device_out.unwrap());
            let named = nflog::Reader::open(&router, LOG_GROUP + 1).unwrap();
            assert_eq!(named.device(devices.0).unwrap(), "e-b");
            assert_eq!(named.device(devices.1).unwrap(), "e-a");
            assert!(named.device(4_000_000).is_err());
        }
    });
}

#[test]
fn a_reader_that_is_too_slow_is_told_so() {
    sandbox(|| {
        let _net = Net::start();
        let [a, b] = ends();
        let router = names::namespace_path(ROUTER);
        let mut reader = nflog::Reader::open(&router, LOG_GROUP).unwrap();
        reader.limit(1).unwrap();
        let socket = inside(&at(&a), || std::net::UdpSocket::bind((a.v4, 0)).unwrap());
        for _ in 0..2000 {
            socket.send_to(b"x", (b.v4, 9)).unwrap();
        }
        let begun = Instant::now();
        while !reader
            .next(PATIENCE)
            .unwrap()
            .contains(&nflog::Event::Skipped)
        {
            assert!(begun.elapsed() < PATIENCE, "nothing was skipped");
        }
    });
}

#[test]
fn a_delay_is_made_or_its_lack_is_named() {
    sandbox(|| {
        let mut net = Net::start();
        let [a, b] = ends();
        let mut links = {
            let veths = &mut net.router().veths;
            veths.get_mut("e-b").unwrap().delay_ms = 30;
            net.applier.reconcile_blocking(net.program.clone()).unwrap()
        };
        if netem_available() {
            assert_eq!(links.failures, []);
            let begun = Instant::now();
            assert!(ping(&at(&a), b.v4, PATIENCE));
            assert!(begun.elapsed().as_millis() >= 60, "both ends wait");
            net.applier = Applier::start(&net.config).unwrap();
            net.apply();
        } else {
            let failure = links.failures.pop().unwrap();
            assert!(failure.reason.contains("no netem"), "{failure:?}");
            assert!(failure.reason.contains("e-b"), "{failure:?}");
        }
        assert_eq!(net.apply(), 0, "and it is not tried for ever");
        assert!(ping(&at(&a), b.v4, PATIENCE), "the pair is as it was");
        net.router().veths.get_mut("e-b").unwrap().delay_ms = 0;
        net.apply();
        assert!(ping(&at(&a), b.v4, PATIENCE));
    });
}

/// The host's part of a region.
fn with_host(config: &RegionConfig) -> Program {
    let mut program = Program::default();
    for pool in [
        IpCidr::from(config.public_cidr),
        IpCidr::from(config.public_cidr_v6),
    ] {
        let key = RouteKey {
            table: MAIN,
            destination: pool,
            metric: 2_000_000_000,
        };
        program.host.routes.insert(key, Route::Blackhole);
    }
    let device = names::host_device(config);
    let edge = names::edge_namespace(config);
    let mut namespace = Namespace {
        role: Role::Edge,
        ..Namespace::default()
    };
    let veth = Veth {
        mac: names::UPLINK_MAC,
        mtu: 1500,
        peer: Peer {
            namespace: None,
            device: device.clone(),
            mac: names::HOST_MAC,
        },
        proxy_arp: false,
        delay_ms: 0,
    };
    namespace.veths.insert("host".to_owned(), veth);
    namespace.addresses.insert(Address {
        device: "host".to_owned(),
        address: addr("2001:2::7"),
        length: 128,
    });
    program.namespaces.insert(edge, namespace);
    program.host.addresses.insert(Address {
        device: device.clone(),
        address: addr("2001:2::8"),
        length: 128,
    });
    let neighbour = (device.clone(), addr("fe80::1"));
    program.host.neighbours.insert(neighbour, names::UPLINK_MAC);
    let to_edge = Route::Via {
        gateway: addr("fe80::1"),
        device,
        source: Some(addr("2001:2::8")),
    };
    let pool = main_route(config.public_cidr_v6.into());
    program.host.routes.insert(pool, to_edge);
    program
}

#[test]
fn the_pool_of_ipv6_stands_over_a_blackhole_and_goes_without_a_trace() {
    sandbox(|| {
        let traces = || {
            [
                run("ip", &["-6", "route", "show", "table", "all"]),
                run("ip", &["-o", "addr"]),
            ]
            .join("\n")
        };
        run("ip", &["-6", "route", "add", "blackhole", "2001:db8::/32"]);
        let before = traces();
        let config = config("test");
        let applier = Applier::start(&config).unwrap();
        let report = applier.reconcile_blocking(with_host(&config)).unwrap();
        assert_eq!(report.failures, []);
        assert_eq!(report.alarms, []);
        let to_pool = || run("ip", &["-6", "route", "show", "2001:2::/48"]);
        let routes = to_pool();
        assert!(routes.contains("via fe80::1 dev fog-test"), "{routes}");
        assert!(routes.contains("blackhole"), "{routes}");
        let again = Applier::start(&config).unwrap();
        let report = again.reconcile_blocking(with_host(&config)).unwrap();
        assert_eq!((report.failures, to_pool()), (vec![], routes));
        // Another region is refused the pool and takes nothing from its owner.
        let late = region::config("late");
        let refused = Applier::start(&RegionConfig {
            public_cidr: "203.0.113.0/24".parse().unwrap(),
            ..late.clone()
        });
        let refusal = refused.map(|_| ()).unwrap_err().to_string();
        assert!(refusal.contains("2001:2::/48"), "{refusal}");
        let held = traces();
        teardown(&late).unwrap();
        assert_eq!(traces(), held);
        run("ip", &["link", "del", "fog-test"]);
        assert!(to_pool().contains("blackhole"), "{}", to_pool());
        teardown(&config).unwrap();
        assert_eq!(traces(), before);
    });
}

#[test]
fn a_host_without_ipv6_is_told_and_has_the_rest() {
    sandbox(|| {
        std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").unwrap();
        let config = config("test");
        let applier = Applier::start(&config).unwrap();
        let report = applier.reconcile_blocking(with_host(&config)).unwrap();
        assert_eq!(report.failures, []);
        let told = &report.alarms[0];
        assert!(told.reason.contains("IPv6 is switched off"), "{told:?}");
        assert_eq!(run("ip", &["-6", "route"]), "");
        assert!(run("ip", &["route"]).contains("blackhole 198.18.0.0/16"));
        teardown(&config).unwrap();
        assert_eq!(run("ip", &["route"]), "");
    });
}

#[test]
fn what_a_host_may_lack_is_not_what_a_region_needs() {
    for guarantee in fogbank_net::apply::probe() {
        assert!(guarantee.given || !guarantee.needed, "{guarantee:?}");
        if guarantee.name == "delays" {
            assert_eq!(guarantee.given, netem_available());
        }
    }
}
