//! A region in the kernel begins, restarts, is refused and ends. Each test plays a host of its own (see
//! `sandbox`); needs root.

#![allow(clippy::unwrap_used)]

mod live;
mod region;
mod sandbox;

use fogbank_net::apply::teardown;
use fogbank_net::{Applier, Compiler, compile, eni_namespace};
use fogbank_types::ec2::{RouteTarget, RulePeer};
use fogbank_types::*;
use live::*;
use region::*;
use sandbox::*;
use std::cell::RefCell;

/// Everything of the sandbox's host that a region could leave behind.
fn traces() -> String {
    let names = std::fs::read_dir("/run/netns")
        .map(|all| all.count())
        .unwrap_or(0);
    [
        run("ip", &["-o", "link"]),
        run("ip", &["route", "show", "table", "all"]),
        run("ip", &["rule"]),
        run("nft", &["list", "ruleset"]),
        std::fs::read_to_string("/proc/thread-self/mounts").unwrap(),
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(),
        names.to_string(),
    ]
    .join("\n")
}

#[test]
fn a_restarted_applier_adopts_everything_and_loses_no_packet() {
    sandbox(|| {
        let small = small();
        let live = Live::start(small.region.clone());
        live.serve(&small.front, 80);
        live.serve(&small.back, 8080);
        let host = From::Host;
        let mut outside = Connection::open(&host, ip("198.18.0.50"), 80, PATIENCE).unwrap();
        let inside = live.at(&small.back);
        let mut natted = Connection::open(&inside, ip("198.18.0.50"), 80, PATIENCE).unwrap();
        let marks = || {
            let all = [&small.front, &small.back, &small.nat.1].map(|eni| {
                let path = eni_namespace(&live.config, &eni.eni_id);
                let net = format!("--net={}", path.display());
                run("nsenter", &[&net, "ip", "-o", "link", "show", "eth0"])
            });
            all.join("")
        };
        let before = marks();
        // Echo requests without pause, through NAT, gateway and both gates, while it happens.
        let stop = std::sync::atomic::AtomicBool::new(false);
        let lost = std::thread::scope(|scope| {
            let pinger = scope.spawn(|| {
                let (mut sent, mut lost) = (0u32, 0u32);
                // Bounded, for the case that the other side fails.
                let begun = std::time::Instant::now();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) && begun.elapsed() < PATIENCE
                {
                    sent += 1;
                    lost += u32::from(!outside.is_alive(SILENCE));
                }
                (sent, lost)
            });
            for _ in 0..5 {
                let again = Applier::start(&live.config).unwrap();
                let program = compile(&live.region.snapshot, &live.config);
                let report = again.reconcile_blocking(program.clone()).unwrap();
                assert_eq!(report.failures, []);
                let report = again.reconcile_blocking(program).unwrap();
                assert_eq!(report.steps, 0, "the second look finds nothing to do");
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            pinger.join().unwrap()
        });
        assert!(lost.0 > 20, "it was busy: {lost:?}");
        assert_eq!(lost.1, 0, "{lost:?}");
        assert!(natted.is_alive(PATIENCE));
        assert_eq!(marks(), before, "no interface was touched");
        assert!(reaches(&host, ip("198.18.0.50"), 80));
    });
}

#[test]
fn a_restarted_applier_corrects_what_changed_meanwhile() {
    sandbox(|| {
        let mut small = small();
        let mut live = Live::start(small.region.clone());
        let gone = small.back.clone();
        live.region.remove(&small.back);
        let eni = live.region.eni(&small.private, 11, &[&small.api]);
        small.front.groups = vec![small.api.group_id.clone()];
        live.region.put(small.front.clone());
        let router = fogbank_net::vpc_namespace(&live.config, &small.vpc.vpc_id);
        let net = format!("--net={}", router.display());
        // Somebody meddled.
        run(
            "nsenter",
            &[&net, "ip", "route", "add", "9.9.9.9/32", "dev", "igw"],
        );
        run("nsenter", &[&net, "nft", "flush", "ruleset"]);
        live.applier = Applier::start(&live.config).unwrap();
        let compiler = Compiler::new(live.config.clone());
        live.compiler = RefCell::new((compiler, Snapshot::default()));
        live.apply();
        live.serve(&eni, 8080);
        live.serve(&small.front, 80);
        assert!(!eni_namespace(&live.config, &gone.eni_id).exists());
        assert!(
            is_kept_out(&From::Host, ip("198.18.0.50"), 80),
            "its group changed"
        );
        assert!(
            is_kept_out(&live.at(&small.front), eni.private_ip, 8080),
            "its group changed"
        );
        let routes = run("nsenter", &[&net, "ip", "route", "show", "table", "all"]);
        assert!(!routes.contains("9.9.9.9"), "{routes}");
    });
}

#[test]
fn teardown_leaves_nothing_and_touches_nobody_else() {
    sandbox(|| {
        run("ip", &["netns", "add", "fog-other-edge"]);
        run(
            "ip",
            &[
                "link",
                "add",
                "fog-other",
                "type",
                "veth",
                "peer",
                "name",
                "other",
            ],
        );
        run("ip", &["route", "add", "blackhole", "203.0.113.0/24"]);
        let before = traces();
        let small = small();
        let mut config = config("test");
        config.internet = InternetAccess::Host;
        let run_dir = tempfile::tempdir().unwrap();
        config.run_dir = run_dir.path().to_owned();
        let live = Live::start_with(config, small.region.clone());
        assert_ne!(traces(), before);
        teardown(&live.config).unwrap();
        assert_eq!(traces(), before);
        teardown(&live.config).expect("twice is as good as once");
    });
}

#[test]
fn a_region_that_was_refused_its_pool_takes_nothing_from_its_owner() {
    sandbox(|| {
        let owner = Live::start(small().region);
        let before = traces();
        let late = config("late");
        assert_eq!(late.public_cidr, owner.config.public_cidr);
        assert!(Applier::start(&late).is_err());
        teardown(&late).unwrap();
        assert_eq!(traces(), before);
    });
}

#[test]
fn a_pool_that_is_in_use_is_refused() {
    sandbox(|| {
        run(
            "ip",
            &["link", "add", "lan", "type", "veth", "peer", "name", "wire"],
        );
        run("ip", &["link", "set", "lan", "up"]);
        run("ip", &["link", "set", "wire", "up"]);
        run("ip", &["route", "add", "198.18.64.0/24", "dev", "lan"]);
        let refused = Applier::start(&config("test")).map(|_| ());
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("198.18.64.0/24 by device lan"), "{text}");
        run("ip", &["route", "del", "198.18.64.0/24"]);
        let first = Live::start(Region::default());
        assert!(
            Applier::start(&first.config).is_ok(),
            "our own is no obstacle"
        );
        assert!(
            Applier::start(&config("second")).is_err(),
            "another instance's is"
        );
    });
}

#[test]
fn the_pool_never_leaves_by_a_real_device() {
    sandbox(|| {
        // A machine with a way out, to a world that would answer for anything.
        run("ip", &["netns", "add", "world"]);
        run(
            "ip",
            &[
                "link", "add", "eth0", "type", "veth", "peer", "name", "w", "netns", "world",
            ],
        );
        run("ip", &["addr", "add", "192.0.2.2/24", "dev", "eth0"]);
        run("ip", &["link", "set", "eth0", "up"]);
        for command in [
            "addr add 192.0.2.1/24 dev w",
            "link set w up",
            "link set lo up",
            "addr add 8.8.8.8/32 dev lo",
            "addr add 198.18.0.77/32 dev lo",
            "addr add 10.9.9.9/32 dev lo",
        ] {
            let words: Vec<&str> = command.split(' ').collect();
            run("ip", &[&["-n", "world"], &words[..]].concat());
        }
        run("ip", &["route", "add", "default", "via", "192.0.2.1"]);
        let world = std::path::Path::new("/run/netns/world");
        for port in [53, 80] {
            serve_tcp(world, port);
        }
        let open = From::Host;
        assert!(
            reaches(&open, ip("198.18.0.77"), 80),
            "the world answers for the pool"
        );
        let small = small();
        let live = Live::start(small.region.clone());
        live.serve(&small.front, 80);
        assert!(
            is_kept_out(&open, ip("198.18.0.77"), 80),
            "unmapped, so nobody's"
        );
        let task = live.at(&small.back);
        assert!(is_kept_out(&task, ip("8.8.8.8"), 53), "no internet");
        assert!(is_kept_out(&task, ip("192.0.2.2"), 80), "not even the host");
        // With the link gone, the blackhole keeps holding.
        run("ip", &["link", "del", "fog-test"]);
        assert!(is_kept_out(&open, ip("198.18.0.77"), 80));
        drop(live);
        teardown(&config("test")).unwrap();
        // The same with a way out.
        let mut config = config("test");
        config.internet = InternetAccess::Host;
        let run_dir = tempfile::tempdir().unwrap();
        config.run_dir = run_dir.path().to_owned();
        let live = Live::start_with(config, small.region.clone());
        let seen = Connection::open(&task, ip("8.8.8.8"), 53, PATIENCE)
            .unwrap()
            .seen_as;
        assert_eq!(seen, ip("192.0.2.2"), "masqueraded");
        assert!(
            is_kept_out(&task, ip("10.9.9.9"), 80),
            "no private address outside"
        );
        assert!(is_kept_out(&task, ip("198.18.0.77"), 80));
        serve_tcp(std::path::Path::new("/proc/thread-self/ns/net"), 8099);
        assert!(
            is_kept_out(&task, ip("198.18.255.254"), 8099),
            "the host is not served up"
        );
        drop(live);
    });
}

#[test]
fn the_pools_ipv6_leaves_the_host_translated_or_not_at_all() {
    sandbox(|| {
        // A world that would answer the pool itself.
        run("ip", &["netns", "add", "world"]);
        run(
            "ip",
            &[
                "link", "add", "eth0", "type", "veth", "peer", "name", "w", "netns", "world",
            ],
        );
        run(
            "ip",
            &["addr", "add", "3fff:1::2/64", "dev", "eth0", "nodad"],
        );
        run("ip", &["link", "set", "eth0", "up"]);
        for command in [
            "addr add 3fff:1::1/64 dev w nodad",
            "link set w up",
            "link set lo up",
            "addr add 3fff::53/128 dev lo nodad",
            "addr add 2001:db8:77::1/128 dev lo nodad",
            "route add 2001:2::/48 via 3fff:1::2",
        ] {
            let words: Vec<&str> = command.split(' ').collect();
            run("ip", &[&["-n", "world"], &words[..]].concat());
        }
        run("ip", &["route", "add", "default", "via", "3fff:1::1"]);
        let forwarding = "/proc/sys/net/ipv6/conf/all/forwarding";
        std::fs::write(forwarding, "1").unwrap();
        let (world, documented) = (addr("3fff::53"), addr("2001:db8:77::1"));
        serve_tcp(std::path::Path::new("/run/netns/world"), 53);
        for address in [world, documented] {
            assert!(Connection::open(&From::Host, address, 53, PATIENCE).is_some());
        }
        let mut region = Region::default();
        let mut vpc = region.vpc("10.0.0.0/16");
        region.add_block(&mut vpc, "2001:2:0:100::/56");
        let mut subnet = region.subnet(&vpc, "10.0.1.0/24");
        region.add_v6(&mut subnet, "2001:2:0:101::/64");
        let gateway = RouteTarget::InternetGateway(region.gateway(&vpc));
        region.routes(&vpc, &subnet, &[("::/0", gateway)]);
        let out = (true, Traffic::All, RulePeer::Ipv6(Ipv6Cidr::ANY));
        let group = region.group(&vpc, vec![out]);
        let mut eni = region.eni(&subnet, 10, &[&group]);
        region.address_v6(&mut eni, &subnet, 10);
        let mut config = config("test");
        let run_dir = tempfile::tempdir().unwrap();
        config.run_dir = run_dir.path().to_owned();
        let closed = Live::start_with(config.clone(), region);
        let task = closed.at(&eni);
        let is_kept_out = |to| Connection::open(&task, to, 53, SILENCE).is_none();
        assert!(is_kept_out(world), "no internet");
        config.internet = InternetAccess::Host;
        let region = closed.region;
        drop(closed.applier);
        let live = Live::start_with(config.clone(), region);
        let open = Connection::open(&task, world, 53, PATIENCE).unwrap();
        assert_eq!(open.seen_as, addr("3fff:1::2"), "masqueraded");
        assert!(is_kept_out(documented), "nobody's address");
        // A kernel without translation of IPv6.
        let mut program = compile(&live.region.snapshot, &config);
        let [_, [_, translation]] = fogbank_net::names::host_tables(&config);
        program.host.tables.remove(&translation).unwrap();
        live.applier.reconcile_blocking(program).unwrap();
        assert!(is_kept_out(world), "not by its own address");
        // A host that is no router is not made one.
        live.applier
            .reconcile_blocking(compile(&live.region.snapshot, &config))
            .unwrap();
        assert!(!is_kept_out(world));
        std::fs::write(forwarding, "0").unwrap();
        assert!(is_kept_out(world));
        live.apply();
        assert_eq!(std::fs::read_to_string(forwarding).unwrap().trim(), "0");
        drop(live);
        teardown(&config).unwrap();
        assert!(!run("nft", &["list", "ruleset"]).contains("fogbank"));
    });
}

#[test]
fn what_the_kernel_refuses_is_reported_and_tried_again() {
    sandbox(|| {
        let mut small = small();
        let live = Live::start(small.region.clone());
        let bad = small.region.eni(&small.private, 30, &[&small.api]);
        let good = small.region.eni(&small.private, 31, &[&small.web]);
        let path = eni_namespace(&live.config, &bad.eni_id);
        std::fs::create_dir(&path).unwrap();
        let program = compile(&small.region.snapshot, &live.config);
        let report = live.applier.reconcile_blocking(program.clone()).unwrap();
        let about = |id: &str| report.failures.iter().any(|f| f.resource == id);
        assert!(about(bad.eni_id.as_str()), "{:?}", report.failures);
        live.serve(&good, 80);
        let neighbour = live.at(&small.front);
        assert!(reaches(&neighbour, good.private_ip, 80), "the others live");
        std::fs::remove_dir(&path).unwrap();
        let report = live.applier.reconcile_blocking(program.clone()).unwrap();
        assert_eq!(report.failures, []);
        live.serve(&bad, 8080);
        assert!(reaches(&neighbour, bad.private_ip, 8080));
        let report = live.applier.reconcile_blocking(program).unwrap();
        assert_eq!((report.steps, report.failures), (0, vec![]));
    });
}
