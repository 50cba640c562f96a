//! Packets in real namespaces. Each test plays a host of its own (see `sandbox`); needs root.

#![allow(clippy::unwrap_used)]

mod live;
mod region;
mod sandbox;

use fogbank_net::eni_namespace;
use fogbank_types::ec2::*;
use fogbank_types::*;
use live::*;
use region::*;
use sandbox::*;

#[test]
fn the_whole_path_from_the_host_to_a_private_task() {
    sandbox(|| {
        let small = small();
        let live = Live::start(small.region.clone());
        live.serve(&small.front, 80);
        live.serve(&small.back, 8080);
        let seen = Connection::open(&From::Host, ip("198.18.0.50"), 80, PATIENCE);
        let seen = seen.expect("the public address answers");
        assert_eq!(seen.seen_as, ip("198.18.255.254"), "the client is the host");
        assert!(reaches(&live.at(&small.front), small.back.private_ip, 8080));
        assert!(is_kept_out(&From::Host, ip("198.18.0.50"), 8080));
        assert!(
            is_kept_out(&From::Host, ip("198.18.0.29"), 80),
            "NAT lets nobody in"
        );
        assert!(is_kept_out(
            &live.at(&small.back),
            small.back.private_ip,
            81
        ));
    });
}

/// Opens 80 of the front by that rule, takes the rule away, and gives it back.
fn revoke_and_authorise(peer: RulePeer, spared: bool) {
    let mut small = small();
    small.web.rules.retain(|rule| rule.egress);
    let closed = small.web.clone();
    small
        .web
        .rules
        .push(small.region.rule(false, tcp(80, 80), peer));
    small.region.put(small.web.clone());
    let mut live = Live::start(small.region.clone());
    live.serve(&small.front, 80);
    let address = ip("198.18.0.50");
    let mut open = Connection::open(&From::Host, address, 80, PATIENCE).unwrap();
    live.region.put(closed);
    let steps = live.apply().steps;
    assert_eq!(steps, if spared { 1 } else { 2 }, "one transaction");
    if spared {
        assert!(open.is_alive(PATIENCE), "fact SG-10");
    } else {
        assert!(ends(&mut open), "fact SG-11");
    }
    assert!(is_kept_out(&From::Host, address, 80));
    live.region.put(small.web);
    live.apply();
    assert!(reaches(&From::Host, address, 80));
}

#[test]
fn a_revoked_rule_stops_the_next_connection_and_spares_the_tracked_one() {
    sandbox(|| revoke_and_authorise(RulePeer::Ipv4(cidr("198.18.0.0/16")), true));
}

#[test]
fn a_revoked_rule_for_everyone_cuts_what_is_not_tracked() {
    sandbox(|| revoke_and_authorise(anyone(), false));
}

#[test]
fn every_kind_of_rule_acts() {
    sandbox(|| {
        let mut region = Region::default();
        let vpc = region.vpc("10.0.0.0/16");
        let subnet = region.subnet(&vpc, "10.0.1.0/24");
        let host = |n: u8| RulePeer::Ipv4(cidr(&format!("10.0.1.{n}/32")));
        let echo = Traffic::Icmp(Some((8, None)));
        let rules = vec![
            out_to_all(),
            (false, udp(7000, 7010), host(10)),
            (false, echo, host(10)),
            (false, tcp(7000, 7010), RulePeer::Ipv4(cidr("10.0.1.8/29"))),
            // Overlaps the rule before it.
            (false, tcp(7005, 7020), host(10)),
            (false, Traffic::All, host(12)),
        ];
        let open = region.group(&vpc, rules);
        let plain = region.group(&vpc, vec![out_to_all()]);
        let mute = region.group(&vpc, vec![]);
        let server = region.eni(&subnet, 20, &[&open]);
        let [ten, eleven, twelve] = [10, 11, 12].map(|n| region.eni(&subnet, n, &[&plain, &mute]));
        let silent = region.eni(&subnet, 13, &[&mute]);
        let live = Live::start(region);
        let path = eni_namespace(&live.config, &server.eni_id);
        for port in [7000, 7010, 7011, 7020] {
            serve_tcp(&path, port);
        }
        serve_udp(&path, server.private_ip, 7000);
        let to = server.private_ip;
        let (ten, eleven, twelve) = (live.at(&ten), live.at(&eleven), live.at(&twelve));
        assert_eq!(ask_udp(&ten, to, 7000, PATIENCE), Some(addr("10.0.1.10")));
        assert_eq!(ask_udp(&eleven, to, 7000, SILENCE), None);
        assert!(ping(&ten, to, PATIENCE));
        assert!(!ping(&eleven, to, SILENCE));
        assert!(ping(&twelve, to, PATIENCE));
        for (from, port, allowed) in [
            (&ten, 7000, true),
            (&ten, 7010, true),
            (&ten, 7011, true),
            (&ten, 7020, true),
            (&eleven, 7010, true),
            (&eleven, 7011, false),
            (&twelve, 7020, true),
            (&live.at(&silent), 7000, false),
        ] {
            let wait = if allowed { PATIENCE } else { SILENCE };
            let got = Connection::open(from, to, port, wait).is_some();
            assert_eq!(got, allowed, "port {port}");
        }
    });
}

#[test]
fn a_private_task_leaves_under_the_address_of_its_nat_gateway() {
    sandbox(|| {
        let mut small = small();
        let mut live = Live::start(small.region.clone());
        live.serve(&small.front, 80);
        let inside = live.at(&small.back);
        let mut open = Connection::open(&inside, ip("198.18.0.50"), 80, PATIENCE).unwrap();
        assert_eq!(open.seen_as, ip("198.18.0.29"), "fact IGW-5");
        assert!(open.is_alive(PATIENCE));
        // Deleted: its routes become blackholes and its connections end at once (fact NAT-8).
        small.nat.0.state = NatGatewayState::Deleted;
        live.region.put(small.nat.0);
        live.region.remove(&small.nat.1);
        live.apply();
        assert!(is_kept_out(&inside, ip("198.18.0.50"), 80));
        assert!(!open.is_alive(SILENCE));
        let router = fogbank_net::vpc_namespace(&live.config, &small.vpc.vpc_id);
        let path = router.to_str().unwrap().to_owned();
        let net = format!("--net={path}");
        let all = run("nsenter", &[&net, "ip", "route", "show", "table", "all"]);
        assert!(all.contains("blackhole default"), "fact RTB-6: {all}");
    });
}

#[test]
fn a_connection_that_nat_has_forgotten_is_reset() {
    sandbox(|| {
        let small = small();
        let live = Live::start(small.region.clone());
        live.serve(&small.front, 80);
        let inside = live.at(&small.back);
        let mut open = Connection::open(&inside, ip("198.18.0.50"), 80, PATIENCE).unwrap();
        assert!(open.is_alive(PATIENCE));
        let path = eni_namespace(&live.config, &small.nat.1.eni_id);
        let net = format!("--net={}", path.display());
        run("nsenter", &[&net, "conntrack", "-F"]);
        assert!(open.is_reset(PATIENCE), "fact NAT-6: a RST, not silence");
    });
}

#[test]
fn the_first_packet_to_a_neighbour_is_not_delayed() {
    sandbox(|| {
        let mut region = Region::default();
        let vpc = region.vpc("10.0.0.0/16");
        let subnet = region.subnet(&vpc, "10.0.1.0/24");
        let all = region.group(&vpc, vec![out_to_all(), (false, Traffic::All, anyone())]);
        let enis: Vec<Eni> = (10..18).map(|n| region.eni(&subnet, n, &[&all])).collect();
        let live = Live::start(region);
        let begun = std::time::Instant::now();
        for eni in &enis[1..] {
            assert!(ping(&live.at(&enis[0]), eni.private_ip, PATIENCE));
        }
        // Proxy ARP's default delay is up to 0.8 s for each.
        assert!(begun.elapsed().as_millis() < 500, "{:?}", begun.elapsed());
        assert!(
            !ping(&live.at(&enis[0]), ip("10.0.1.99"), SILENCE),
            "nobody's address"
        );
    });
}

#[test]
fn a_freed_address_takes_its_connections_with_it() {
    sandbox(|| {
        let mut small = small();
        let mut live = Live::start(small.region.clone());
        live.serve(&small.back, 8080);
        let front = live.at(&small.front);
        let mut open = Connection::open(&front, small.back.private_ip, 8080, PATIENCE).unwrap();
        let tracked = || {
            let router = fogbank_net::vpc_namespace(&live.config, &small.vpc.vpc_id);
            let net = format!("--net={}", router.display());
            let all = run("nsenter", &[&net, "conntrack", "-L"]);
            all.lines()
                .filter(|line| line.contains("10.0.2.10"))
                .count()
        };
        assert_eq!(tracked(), 1);
        live.region.remove(&small.back);
        live.apply();
        // The next owner of the address starts clean, however soon it comes.
        small.back = live.region.eni(&small.private, 10, &[&small.web]);
        live.apply();
        assert_eq!(tracked(), 0);
        assert!(!open.is_alive(SILENCE));
        live.serve(&small.back, 8080);
        assert!(is_kept_out(&front, small.back.private_ip, 8080));
    });
}

#[test]
fn forged_sources_are_dropped_unless_the_check_is_off() {
    sandbox(|| {
        let mut region = Region::default();
        let vpc = region.vpc("10.0.0.0/16");
        let subnet = region.subnet(&vpc, "10.0.1.0/24");
        let all = region.group(&vpc, vec![out_to_all(), (false, Traffic::All, anyone())]);
        let mut forger = region.eni(&subnet, 10, &[&all]);
        let target = region.eni(&subnet, 11, &[&all]);
        let mut live = Live::start(region);
        let path = eni_namespace(&live.config, &target.eni_id);
        let socket = fogbank_net::apply::in_namespace(&path, || {
            std::net::UdpSocket::bind(("0.0.0.0", 7000)).unwrap()
        })
        .unwrap();
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        let own = eni_namespace(&live.config, &forger.eni_id);
        let net = format!("--net={}", own.display());
        run(
            "nsenter",
            &[&net, "ip", "addr", "add", "10.0.1.66/32", "dev", "eth0"],
        );
        let forge = || {
            let sender = fogbank_net::apply::in_namespace(&own, || {
                std::net::UdpSocket::bind(("10.0.1.66", 0)).unwrap()
            });
            sender
                .unwrap()
                .send_to(b"x", (target.private_ip, 7000))
                .unwrap();
            let mut buffer = [0; 8];
            socket
                .recv_from(&mut buffer)
                .ok()
                .map(|(_, from)| from.ip())
        };
        assert_eq!(forge(), None);
        forger.source_dest_check = false;
        live.region.put(forger.clone());
        live.apply();
        assert_eq!(forge(), Some(ip("10.0.1.66").into()));
    });
}

#[test]
fn a_network_acl_is_stateless_and_acts_at_the_border_only() {
    sandbox(|| {
        let mut small = small();
        let near = small.region.eni(&small.private, 20, &[&small.web]);
        let mut live = Live::start(small.region.clone());
        live.serve(&small.back, 8080);
        let front = live.at(&small.front);
        let mut open = Connection::open(&front, small.back.private_ip, 8080, PATIENCE).unwrap();
        let to = small.back.private_ip;
        // Requests may come in, but no reply may go out.
        let entries = vec![entry(100, false, true, Traffic::All, "0.0.0.0/0")];
        let acl = live.region.acl(&small.vpc, entries);
        let mut acl = live.region.guard(acl, &small.private);
        live.apply();
        assert!(!open.is_alive(SILENCE), "fact ACL-7");
        assert!(is_kept_out(&front, to, 8080));
        assert!(
            reaches(&live.at(&near), to, 8080),
            "inside the subnet nothing is checked"
        );
        acl.entries
            .push(entry(100, true, true, tcp(1024, 65535), "10.0.1.0/24"));
        live.region.put(acl.clone());
        live.apply();
        assert!(reaches(&front, to, 8080));
        acl.entries
            .push(entry(50, true, false, Traffic::All, "10.0.1.10/32"));
        live.region.put(acl);
        live.apply();
        assert!(is_kept_out(&front, to, 8080), "the lower number decides");
    });
}

#[test]
fn two_vpcs_with_the_same_block_never_meet() {
    sandbox(|| {
        let mut region = Region::default();
        let mut sides = Vec::new();
        for n in 1..=2 {
            let vpc = region.vpc("10.0.0.0/16");
            let subnet = region.subnet(&vpc, "10.0.1.0/24");
            let gateway = region.gateway(&vpc);
            let target = RouteTarget::InternetGateway(gateway);
            region.routes(&vpc, &subnet, &[("0.0.0.0/0", target)]);
            let all = region.group(&vpc, vec![out_to_all(), (false, Traffic::All, anyone())]);
            let eni = region.eni(&subnet, 10, &[&all]);
            region.elastic(&eni, &format!("198.18.0.4{n}"));
            sides.push((vpc, eni, region.eni(&subnet, 20 + n, &[&all])));
        }
        let live = Live::start(region);
        for (_, eni, _) in &sides {
            live.serve(eni, 80);
        }
        let only_here = sides[0].2.private_ip;
        assert!(ping(&live.at(&sides[0].1), only_here, PATIENCE));
        assert!(!ping(&live.at(&sides[1].1), only_here, SILENCE));
        // Through both gateways they see each other's public addresses.
        let across = Connection::open(&live.at(&sides[0].1), ip("198.18.0.42"), 80, PATIENCE);
        assert_eq!(across.unwrap().seen_as, ip("198.18.0.41"));
    });
}

#[test]
fn the_platform_answers_inside_whatever_the_groups_say_and_never_outside() {
    sandbox(|| {
        let mut region = Region::default();
        let vpc = region.vpc("10.0.0.0/16");
        let subnet = region.subnet(&vpc, "10.0.1.0/24");
        let mute = region.group(&vpc, vec![]);
        let task = region.eni(&subnet, 10, &[&mute]);
        let live = Live::start(region);
        let router = fogbank_net::vpc_namespace(&live.config, &vpc.vpc_id);
        for resolver in ["10.0.0.2", "169.254.169.253"] {
            serve_udp(&router, ip(resolver), 53);
        }
        serve_tcp(&router, 53);
        serve_tcp(&router, 80);
        serve_tcp(&router, 9999);
        let from = live.at(&task);
        for resolver in ["10.0.0.2", "169.254.169.253"] {
            assert_eq!(
                ask_udp(&from, ip(resolver), 53, PATIENCE),
                Some(task.private_ip.into())
            );
            assert!(reaches(&from, ip(resolver), 53));
        }
        assert!(reaches(&from, ip("169.254.170.2"), 80));
        assert!(is_kept_out(&from, ip("10.0.0.2"), 9999));
        assert!(
            is_kept_out(&from, ip("10.0.1.1"), 80),
            "routers have no services"
        );
        let net = format!("--net={}", router.display());
        let links = run("nsenter", &[&net, "ip", "-6", "addr"]);
        assert_eq!(links, "", "no IPv6 anywhere");
    });
}

#[test]
fn a_public_address_moves_at_once() {
    sandbox(|| {
        let mut small = small();
        let other = small.region.eni(&small.public, 11, &[&small.web]);
        let mut live = Live::start(small.region.clone());
        live.serve(&small.front, 80);
        live.serve(&other, 80);
        let address = ip("198.18.0.50");
        let mut open = Connection::open(&From::Host, address, 80, PATIENCE).unwrap();
        let mut row = {
            let mut rows = live.region.snapshot.elastic_ips.all();
            let found = rows.find(|e| e.public_ip == address).unwrap();
            found.as_ref().clone()
        };
        let association = row.association.as_mut().unwrap();
        association.eni_id = other.eni_id.clone();
        association.private_ip = other.private_ip;
        live.region.put(row.clone());
        live.apply();
        assert!(ends(&mut open), "the old owner's connection is cut");
        assert!(reaches(&From::Host, address, 80));
        row.association = None;
        live.region.put(row);
        live.apply();
        assert!(is_kept_out(&From::Host, address, 80));
        assert!(
            is_kept_out(&live.at(&other), ip("198.18.0.29"), 80),
            "no address, no way out"
        );
    });
}

#[test]
fn large_transfers_find_the_gateways_smaller_packets() {
    sandbox(|| {
        let small = small();
        let live = Live::start(small.region.clone());
        live.serve(&small.front, 80);
        // 9001 bytes inside, 1500 through the gateway: path MTU discovery must work, also through NAT.
        let inside = live.at(&small.back);
        let mut through_nat = Connection::open(&inside, ip("198.18.0.50"), 80, PATIENCE).unwrap();
        assert!(through_nat.carries(1 << 20, PATIENCE));
        let mut from_host = Connection::open(&From::Host, ip("198.18.0.50"), 80, PATIENCE).unwrap();
        assert!(from_host.carries(1 << 20, PATIENCE));
    });
}

#[test]
fn an_interface_looks_as_on_fargate() {
    sandbox(|| {
        let small = small();
        let live = Live::start(small.region.clone());
        let net = format!(
            "--net={}",
            eni_namespace(&live.config, &small.back.eni_id).display()
        );
        let show = |arguments: &[&str]| run("nsenter", &[&[net.as_str()], arguments].concat());
        let address = show(&["ip", "-o", "-4", "addr", "show", "eth0"]);
        assert!(address.contains("10.0.2.10/24"), "{address}");
        let link = show(&["ip", "-o", "link", "show", "eth0"]);
        assert!(
            link.contains("mtu 9001") && link.contains(&small.back.mac.to_string()),
            "{link}"
        );
        assert_eq!(
            show(&["ip", "-6", "-o", "addr", "show", "eth0"]),
            "",
            "no IPv6"
        );
        let route = show(&["ip", "route", "show", "default"]);
        assert!(route.contains("default via 10.0.2.1 dev eth0"), "{route}");
        let low_port = fogbank_net::apply::in_namespace(
            &eni_namespace(&live.config, &small.back.eni_id),
            || std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start"),
        );
        assert_eq!(low_port.unwrap().unwrap().trim(), "0");
        let named = run("ip", &["netns", "list"]);
        assert!(named.contains(small.back.eni_id.tail()), "{named}");
    });
}
