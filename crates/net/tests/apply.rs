//! What the applier makes of a program, without the compiler: both families, delays, the host's part.
//! Each test plays a host of its own (see `sandbox`); needs root.

#![allow(clippy::unwrap_used)]

mod pair;
mod region;
mod sandbox;

use fogbank_net::apply::netlink::{Message, Socket, attributes};
use fogbank_net::apply::{in_namespace, netem_available, teardown};
use fogbank_net::names;
use fogbank_net::program::*;
use fogbank_net::{Applier, Program};
use fogbank_types::{IpCidr, RegionConfig};
use pair::*;
use region::{addr, block, config};
use sandbox::*;
use std::time::Instant;

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

/// The largest packet of TCP over IPv4 that devices take, by their names; none of a kernel before 6.3.
fn largest(namespace: &str) -> Vec<(String, u32)> {
    const GET_LINK: u16 = 18;
    const NAME: u16 = 3;
    const GSO_MAX_V4: u16 = 63;
    let path = names::namespace_path(namespace);
    let mut socket = in_namespace(&path, || Socket::open(libc::NETLINK_ROUTE))
        .unwrap()
        .unwrap();
    let links = socket.dump(Message::new(GET_LINK, 0, &[0; 16])).unwrap();
    let links = links.iter().filter_map(|link| {
        let part = |wanted| attributes(&link[16..]).find(|(kind, _)| *kind == wanted);
        let (_, name) = part(NAME)?;
        let name = String::from_utf8_lossy(name)
            .trim_end_matches('\0')
            .to_owned();
        let (_, bytes) = part(GSO_MAX_V4)?;
        Some((name, u32::from_ne_bytes(bytes.try_into().unwrap())))
    });
    links.collect()
}

#[test]
fn both_ends_of_a_pair_and_the_router_take_big_packets() {
    sandbox(|| {
        let _net = Net::start();
        for (namespace, devices) in [("fog-test-a", &["eth0"][..]), (ROUTER, &["e-a", "e-b"])] {
            let all = largest(namespace);
            for device in devices {
                let found = all.iter().find(|(name, _)| name == device);
                assert!(all.is_empty() || found.unwrap().1 > 65_536, "{all:?}");
            }
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
