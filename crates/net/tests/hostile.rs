//! Guests with raw sockets, who answer for others, forge, hide and listen. Each test plays a host of
//! its own (see `sandbox`); needs root.
//!
//! Every test ends with an honest probe along the same path: once that has arrived, whatever was
//! sent before it has arrived or never will.

#![allow(clippy::unwrap_used)]

mod region;
mod sandbox;

use fogbank_net::packet::Packet;
use fogbank_net::{Applier, compile, eni_namespace, names, vpc_namespace};
use fogbank_types::ec2::*;
use fogbank_types::*;
use region::*;
use sandbox::raw::*;
use sandbox::*;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

/// The port that everybody in the VPC may reach, by UDP.
const OPEN: u16 = 53;
/// The number of the honest probe.
const HONEST: u32 = 4_000;

/// A VPC of both families; `guest` and `victim` in one subnet, `far` in another.
struct Arena {
    config: RegionConfig,
    region: Region,
    applier: Applier,
    vpc: Vpc,
    near_subnet: Subnet,
    guest: Eni,
    victim: Eni,
    far: Eni,
    guest_is: From,
    guest_v6: IpAddr,
    /// The guest's raw socket.
    sender: Sender,
}

impl Arena {
    fn new() -> Self {
        let mut region = Region::default();
        let mut vpc = region.vpc("10.0.0.0/16");
        region.add_block(&mut vpc, "2001:2:0:100::/56");
        let mut near = region.subnet(&vpc, "10.0.1.0/24");
        region.add_v6(&mut near, "2001:2:0:101::/64");
        let mut away = region.subnet(&vpc, "10.0.2.0/24");
        region.add_v6(&mut away, "2001:2:0:102::/64");
        let everyone_v6 = RulePeer::Ipv6("::/0".parse().unwrap());
        let out_v6 = (true, Traffic::All, everyone_v6.clone());
        let friend = RulePeer::Ipv4(cidr("10.0.2.10/32"));
        let friend_v6 = RulePeer::Ipv6("2001:2:0:102::a/128".parse().unwrap());
        let group = region.group(
            &vpc,
            vec![
                out_to_all(),
                out_v6,
                (false, udp(OPEN, OPEN), anyone()),
                (false, udp(OPEN, OPEN), everyone_v6),
                // For `far` alone.
                (false, Traffic::All, friend),
                (false, Traffic::All, friend_v6),
            ],
        );
        let [mut guest, mut victim] = [10, 11].map(|n| region.eni(&near, n, &[&group]));
        let mut far = region.eni(&away, 10, &[&group]);
        let guest_v6 = region.address_v6(&mut guest, &near, 10).into();
        region.address_v6(&mut victim, &near, 11);
        region.address_v6(&mut far, &away, 10);
        let config = config("test");
        let applier = Applier::start(&config).unwrap();
        apply(&applier, &region, &config);
        let guest_is = From::Inside(eni_namespace(&config, &guest.eni_id));
        let sender = Sender::open(&guest_is);
        Self {
            config,
            region,
            applier,
            vpc,
            near_subnet: near,
            guest,
            victim,
            far,
            guest_is,
            guest_v6,
            sender,
        }
    }

    fn at(&self, eni: &Eni) -> From {
        From::Inside(eni_namespace(&self.config, &eni.eni_id))
    }

    fn router(&self) -> From {
        From::Inside(vpc_namespace(&self.config, &self.vpc.vpc_id))
    }

    fn apply(&self) {
        apply(&self.applier, &self.region, &self.config);
    }

    /// The address of that family.
    fn address(eni: &Eni, v4: bool) -> IpAddr {
        let mut own = eni.all_addresses();
        own.find(|address| address.is_ipv4() == v4).unwrap()
    }

    /// An honest probe of that family to `eni`, and what else came to `wire` until it arrived.
    fn intruders(&self, eni: &Eni, wire: &Wire, v4: bool) -> Vec<Vec<u8>> {
        let honest = Packet {
            source: Self::address(&self.guest, v4),
            destination: Self::address(eni, v4),
            protocol: UDP,
            detail: OPEN,
        };
        self.sender.send(&probe(&honest, HONEST));
        let begun = Instant::now();
        let mut all = Vec::new();
        let is_honest = |packet: &Vec<u8>| {
            let (protocol, transport) = content(packet).unwrap();
            sign(protocol, transport) == Some(Sign::Probe(HONEST))
        };
        while begun.elapsed() < PATIENCE {
            all.extend(wire.packets());
            if all.iter().any(is_honest) {
                all.retain(|packet| !is_honest(packet) && !is_neighbour_discovery(packet));
                return all;
            }
            std::thread::yield_now();
        }
        panic!("the honest probe was lost");
    }

    /// Sends those and asserts that nothing but the honest probes reaches the two others.
    fn assert_unheard(&self, what: &str, hostile: &[Vec<u8>]) {
        self.assert_unheard_when(what, || {
            for bytes in hostile {
                self.sender.send(bytes);
            }
        });
    }

    fn assert_unheard_when(&self, what: &str, mischief: impl Fn()) {
        for eni in [&self.victim, &self.far] {
            let wire = Wire::open(&self.at(eni));
            mischief();
            for v4 in [true, false] {
                let heard = self.intruders(eni, &wire, v4);
                assert_eq!(heard, Vec::<Vec<u8>>::new(), "{what}: {}", eni.private_ip);
            }
        }
    }
}

fn apply(applier: &Applier, region: &Region, config: &RegionConfig) {
    let program = compile(&region.snapshot, config);
    let report = applier.reconcile_blocking(program).unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
}

/// The router's own questions and what it says as a router, which never leave the link.
fn is_neighbour_discovery(packet: &[u8]) -> bool {
    let by_router = ends(packet).is_some_and(|(source, _)| match source {
        IpAddr::V6(source) => source.is_unicast_link_local() || source.is_unspecified(),
        IpAddr::V4(_) => false,
    });
    let kind = content(packet).map(|(protocol, transport)| (protocol, transport[0]));
    by_router && matches!(kind, Some((ICMPV6, 130..=137 | 143)) | Some((0, _)))
}

fn packet(source: IpAddr, destination: IpAddr, protocol: u8, detail: u16) -> Packet {
    Packet {
        source,
        destination,
        protocol,
        detail,
    }
}

/// Ethernet around it: to the router unless said otherwise.
fn frame(to: MacAddr, from: MacAddr, kind: u16, content: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.0, &kind.to_be_bytes(), content].concat()
}

const BROADCAST: MacAddr = MacAddr([0xff; 6]);

#[test]
fn a_forged_source_goes_nowhere() {
    sandbox(|| {
        let arena = Arena::new();
        let mut hostile = Vec::new();
        for v4 in [true, false] {
            let friend = Arena::address(&arena.far, v4);
            for target in [&arena.victim, &arena.far] {
                let to = Arena::address(target, v4);
                for source in [friend, to, Arena::address(&arena.victim, v4)] {
                    hostile.push(probe(&packet(source, to, TCP, 22), 1));
                    hostile.push(probe(&packet(source, to, UDP, OPEN), 2));
                    let echo = if v4 { (ICMP, 0x0800) } else { (ICMPV6, 0x8000) };
                    hostile.push(probe(&packet(source, to, echo.0, echo.1), 3));
                }
            }
        }
        arena.assert_unheard("forged", &hostile);
        // The same by frames, past the guest's own kernel.
        let wire = Wire::open(&arena.guest_is);
        arena.assert_unheard_when("forged frames", || {
            for bytes in &hostile {
                let kind = if bytes[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
                for to in [names::ROUTER_MAC, arena.victim.mac, BROADCAST] {
                    let frame = frame(to, arena.guest.mac, kind, bytes);
                    wire.send(&arena.guest_is, "eth0", &frame);
                }
            }
        });
    });
}

/// An ARP packet about IPv4 on Ethernet.
fn arp(operation: u16, sender: (MacAddr, IpAddr), target: (MacAddr, IpAddr)) -> Vec<u8> {
    let octets = |address| match address {
        IpAddr::V4(address) => std::net::Ipv4Addr::octets(&address),
        IpAddr::V6(_) => panic!("ARP is of IPv4"),
    };
    [
        &[0, 1, 8, 0, 6, 4][..],
        &operation.to_be_bytes(),
        &sender.0.0,
        &octets(sender.1),
        &target.0.0,
        &octets(target.1),
    ]
    .concat()
}

#[test]
fn nobody_can_answer_for_another_address() {
    sandbox(|| {
        let arena = Arena::new();
        let wire = Wire::open(&arena.guest_is);
        let me = arena.guest.mac;
        let claimed = Arena::address(&arena.victim, true);
        let router = addr("10.0.1.1");
        let router_mac = names::ROUTER_MAC;
        let claims = [
            arp(1, (me, claimed), (MacAddr([0; 6]), claimed)),
            arp(2, (me, claimed), (BROADCAST, claimed)),
            arp(2, (me, claimed), (router_mac, router)),
            arp(2, (me, router), (arena.victim.mac, claimed)),
        ];
        for to in [BROADCAST, router_mac, arena.victim.mac] {
            for claim in &claims {
                wire.send(&arena.guest_is, "eth0", &frame(to, me, 0x0806, claim));
            }
            let claimed = Arena::address(&arena.victim, false);
            let router: IpAddr = addr("fe80::1");
            for (source, about) in [(claimed, claimed), (router, router), (claimed, router)] {
                let advertisement = neighbour_advertisement(about, me);
                for destination in ["ff02::1", "fe80::1"] {
                    let bytes = discovery_bytes(source, addr(destination), &advertisement);
                    wire.send(&arena.guest_is, "eth0", &frame(to, me, 0x86dd, &bytes));
                }
            }
        }
        let far = Sender::open(&arena.at(&arena.far));
        let victim = Wire::open(&arena.at(&arena.victim));
        let _ = wire.packets();
        for (v4, number) in [(true, 7), (false, 8)] {
            let (from, to) = (
                Arena::address(&arena.far, v4),
                Arena::address(&arena.victim, v4),
            );
            far.send(&probe(&packet(from, to, UDP, OPEN), number));
            assert!(arrives(&victim, number), "its owner gets it");
        }
        let strays = wire.packets();
        let stray = |bytes: &Vec<u8>| ends(bytes).unwrap().1 == Arena::address(&arena.victim, true);
        assert!(!strays.iter().any(stray), "the guest overhears it");
        arena.assert_unheard("claims", &[]);
    });
}

/// Whether the probe of that number comes in time.
fn arrives(wire: &Wire, number: u32) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        for bytes in wire.packets() {
            let (protocol, transport) = content(&bytes).unwrap();
            if sign(protocol, transport) == Some(Sign::Probe(number)) {
                return true;
            }
        }
        std::thread::yield_now();
    }
    false
}

/// Of neighbour discovery: with a hop limit of 255, or it does not count.
fn discovery_bytes(source: IpAddr, destination: IpAddr, transport: &[u8]) -> Vec<u8> {
    let mut bytes = ip_bytes(source, destination, ICMPV6, transport);
    bytes[7] = 255;
    bytes
}

fn neighbour_advertisement(about: IpAddr, mac: MacAddr) -> Vec<u8> {
    let IpAddr::V6(about) = about else {
        panic!("of IPv6")
    };
    // Override, unsolicited; the target's link-layer address.
    let head = [136, 0, 0, 0, 0x20, 0, 0, 0];
    [&head[..], &about.octets(), &[2, 1], &mac.0].concat()
}

/// A prefix to make addresses of, and a default route for an hour.
fn router_advertisement() -> Vec<u8> {
    let prefix: Ipv6Addr = "2001:2:0:666::".parse().unwrap();
    let head = [134, 0, 0, 0, 64, 0, 0x0e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0];
    let option = [
        3, 4, 64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0,
    ];
    [&head[..], &option, &prefix.octets()].concat()
}

#[test]
fn a_guest_is_no_router() {
    sandbox(|| {
        let arena = Arena::new();
        let look = |place: &From| {
            inside(place, || {
                let routes = run("ip", &["-6", "route", "show", "table", "all"]);
                let addresses = run("ip", &["-6", "-o", "address"]);
                // Lifetimes of nothing of ours run; counters of the cache would.
                (routes, addresses)
            })
        };
        let places = [arena.router(), arena.at(&arena.victim)];
        let before: Vec<_> = places.iter().map(look).collect();
        let wire = Wire::open(&arena.guest_is);
        arena.assert_unheard_when("advertisements", || {
            for source in ["fe80::bad", "fe80::1"] {
                let bytes = discovery_bytes(addr(source), addr("ff02::1"), &router_advertisement());
                for to in [MacAddr([0x33, 0x33, 0, 0, 0, 1]), names::ROUTER_MAC] {
                    let frame = frame(to, arena.guest.mac, 0x86dd, &bytes);
                    wire.send(&arena.guest_is, "eth0", &frame);
                }
            }
        });
        let after: Vec<_> = places.iter().map(look).collect();
        assert_eq!(before, after);
    });
}

/// The transport's bytes with their checksum, cut in two at `at`, as two packets.
fn fragments(packet: &Packet, transport: &[u8], at: usize) -> [Vec<u8>; 2] {
    assert_eq!(at % 8, 0);
    let (from, to) = (packet.source, packet.destination);
    // Sealed by making the whole packet.
    let whole = ip_bytes(from, to, packet.protocol, transport);
    let sealed = content(&whole).unwrap().1;
    let (first, second) = sealed.split_at(at);
    let offset = (at / 8) as u16;
    if from.is_ipv4() {
        let more = 0x2000;
        return [
            header(from, to, packet.protocol, &[], more, first),
            header(from, to, packet.protocol, &[], offset, second),
        ];
    }
    let part = |offset: u16, more: u16, bytes: &[u8]| {
        let [high, low] = ((offset << 3) | more).to_be_bytes();
        let extension = [packet.protocol, 0, high, low, 0, 0, 0x66, 0x6f];
        header(from, to, 44, &extension, 0, bytes)
    };
    [part(0, 1, first), part(offset, 0, second)]
}

#[test]
fn fragments_are_judged_as_the_whole() {
    sandbox(|| {
        let arena = Arena::new();
        let mut hostile = Vec::new();
        for v4 in [true, false] {
            let from = Arena::address(&arena.guest, v4);
            for target in [&arena.victim, &arena.far] {
                let to = Arena::address(target, v4);
                let segment = tcp_bytes((2000, 22), 5, 2);
                // The first piece ends before the flags.
                hostile.extend(fragments(&packet(from, to, TCP, 22), &segment, 8));
                let datagram = udp_bytes((2001, 99), &[7; 64]);
                hostile.extend(fragments(&packet(from, to, UDP, 99), &datagram, 8));
                // A later piece of nothing.
                let [_, orphan] = fragments(&packet(from, to, UDP, OPEN), &datagram, 32);
                hostile.push(orphan);
                // A first piece that may pass, and a second that writes over its port.
                let good = udp_bytes((2002, OPEN), &[7; 64]);
                let [first, _] = fragments(&packet(from, to, UDP, OPEN), &good, 16);
                let [_, over] = fragments(&packet(from, to, UDP, 99), &datagram, 8);
                hostile.extend([first, over]);
            }
        }
        arena.assert_unheard("fragments", &hostile);
    });
}

#[test]
fn an_honest_fragmented_datagram_arrives_whole() {
    sandbox(|| {
        let arena = Arena::new();
        for v4 in [true, false] {
            let to = Arena::address(&arena.victim, v4);
            serve_udp(
                &eni_namespace(&arena.config, &arena.victim.eni_id),
                to,
                OPEN,
            );
            let from = Arena::address(&arena.guest, v4);
            let socket = inside(&arena.guest_is, || std::net::UdpSocket::bind((from, 0))).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            // More than any device carries at once.
            socket.send_to(&[7; 20_000], (to, OPEN)).unwrap();
            let mut buffer = [0; 64];
            assert!(socket.recv_from(&mut buffer).is_ok(), "{to}");
        }
    });
}

#[test]
fn extension_headers_hide_no_port() {
    sandbox(|| {
        let arena = Arena::new();
        let from = arena.guest_v6;
        let mut hostile = Vec::new();
        for target in [&arena.victim, &arena.far] {
            let to = Arena::address(target, false);
            let whole = ip_bytes(from, to, TCP, &tcp_bytes((3000, 22), 6, 2));
            let segment = content(&whole).unwrap().1;
            let datagram = ip_bytes(from, to, UDP, &udp_bytes((3001, 99), &[7; 8]));
            let datagram = content(&datagram).unwrap().1;
            for (next, bytes) in [(TCP, segment), (UDP, datagram)] {
                let padding = [next, 0, 1, 4, 0, 0, 0, 0];
                // Hop-by-hop, destination options, routing (type 0 and 4, done), fragment (whole).
                for kind in [0, 60, 43, 44, 51, 135, 139] {
                    let extension = match kind {
                        43 => [next, 0, 4, 0, 0, 0, 0, 0],
                        44 => [next, 0, 0, 0, 0, 0, 0, 9],
                        _ => padding,
                    };
                    hostile.push(header(from, to, kind, &extension, 0, bytes));
                }
                // Two in a row, and eight.
                let mut chain = [60, 0, 1, 4, 0, 0, 0, 0].repeat(7);
                chain.extend(padding);
                hostile.push(header(from, to, 60, &chain, 0, bytes));
                hostile.push(header(from, to, 60, &chain[48..], 0, bytes));
                // No next header, with something behind it.
                hostile.push(header(from, to, 59, &[], 0, bytes));
            }
        }
        arena.assert_unheard("extension headers", &hostile);
    });
}

#[test]
fn source_routes_and_odd_headers_lead_nowhere() {
    sandbox(|| {
        let arena = Arena::new();
        let from = Arena::address(&arena.guest, true);
        let mut hostile = Vec::new();
        for target in [&arena.victim, &arena.far] {
            let to = Arena::address(target, true);
            let IpAddr::V4(next) = to else { unreachable!() };
            for option in [131, 137] {
                let [a, b, c, d] = next.octets();
                let route = [option, 7, 4, a, b, c, d, 0];
                for through in ["169.254.169.253", "10.0.0.2", "10.0.1.1", "169.254.170.2"] {
                    let through = addr(through);
                    let whole = ip_bytes(from, through, UDP, &udp_bytes((4000, 53), &[7; 8]));
                    let bytes = content(&whole).unwrap().1;
                    hostile.push(header(from, through, UDP, &route, 0, bytes));
                }
            }
            // Scans: no flags, all flags, mid-stream, a wrong checksum, cut short.
            for flags in [0, 1, 4, 0x10, 0x11, 0x29, 0x3f] {
                hostile.push(ip_bytes(from, to, TCP, &tcp_bytes((4001, 22), 7, flags)));
            }
            hostile.push(header(from, to, TCP, &[], 0, &tcp_bytes((4002, 22), 8, 2)));
            hostile.push(header(from, to, TCP, &[], 0, &[0x0f, 0xa0, 0, 22]));
            hostile.push(header(from, to, UDP, &[], 0, &[0x0f, 0xa0, 0, 53]));
            for protocol in [0, 2, 4, 41, 50, 94, 103, 255] {
                hostile.push(header(from, to, protocol, &[], 0, &[7; 40]));
            }
        }
        arena.assert_unheard("odd headers", &hostile);
    });
}

#[test]
fn what_is_for_many_reaches_nobody() {
    sandbox(|| {
        let arena = Arena::new();
        let wire = Wire::open(&arena.guest_is);
        let from = Arena::address(&arena.guest, true);
        let multicast = MacAddr([1, 0, 0x5e, 0, 0, 1]);
        let multicast_v6 = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
        arena.assert_unheard_when("to many", || {
            for to in ["10.0.1.255", "255.255.255.255", "224.0.0.1", "10.0.255.255"] {
                let bytes = probe(&packet(from, addr(to), UDP, OPEN), 9);
                for mac in [BROADCAST, multicast, names::ROUTER_MAC] {
                    let frame = frame(mac, arena.guest.mac, 0x0800, &bytes);
                    wire.send(&arena.guest_is, "eth0", &frame);
                }
            }
            for to in ["ff02::1", "ff05::1", "ff0e::1", "ff02::1:ff00:b"] {
                let bytes = probe(&packet(arena.guest_v6, addr(to), UDP, OPEN), 10);
                for mac in [multicast_v6, names::ROUTER_MAC] {
                    let frame = frame(mac, arena.guest.mac, 0x86dd, &bytes);
                    wire.send(&arena.guest_is, "eth0", &frame);
                }
            }
        });
    });
}

/// A guest that is master of its own namespace, in a VPC without IPv6, gives itself addresses.
#[test]
fn there_is_no_ipv6_where_the_vpc_has_none() {
    sandbox(|| {
        let mut region = Region::default();
        let vpc = region.vpc("10.0.0.0/16");
        let subnet = region.subnet(&vpc, "10.0.1.0/24");
        let all_v6 = |egress| {
            (
                egress,
                Traffic::All,
                RulePeer::Ipv6("::/0".parse().unwrap()),
            )
        };
        let rules = vec![out_to_all(), all_v6(true), all_v6(false)];
        let group = region.group(&vpc, rules);
        let (one, other) = (
            region.eni(&subnet, 10, &[&group]),
            region.eni(&subnet, 11, &[&group]),
        );
        let config = config("test");
        let applier = Applier::start(&config).unwrap();
        apply(&applier, &region, &config);
        let places = [&one, &other].map(|eni| From::Inside(eni_namespace(&config, &eni.eni_id)));
        for (place, own) in places.iter().zip(["fd00::a", "fd00::b"]) {
            inside(place, || {
                for device in ["all", "eth0"] {
                    let path = format!("/proc/self/net/../sys/net/ipv6/conf/{device}/disable_ipv6");
                    let _ = std::fs::write(path, "0");
                    run(
                        "sysctl",
                        &["-qw", &format!("net.ipv6.conf.{device}.disable_ipv6=0")],
                    );
                }
                run(
                    "ip",
                    &[
                        "address",
                        "add",
                        &format!("{own}/64"),
                        "dev",
                        "eth0",
                        "nodad",
                    ],
                );
                run(
                    "ip",
                    &[
                        "address",
                        "add",
                        &format!("fe80::{}/64", &own[6..]),
                        "dev",
                        "eth0",
                        "nodad",
                    ],
                );
                run(
                    "ip",
                    &[
                        "-6",
                        "neighbour",
                        "replace",
                        "fe80::1",
                        "lladdr",
                        "02:f0:00:00:00:01",
                        "dev",
                        "eth0",
                    ],
                );
                run(
                    "ip",
                    &[
                        "-6", "route", "replace", "default", "via", "fe80::1", "dev", "eth0",
                    ],
                );
            });
        }
        let heard = Wire::open(&places[1]);
        let wire = Wire::open(&places[0]);
        for source in ["fd00::a", "fe80::a"] {
            for to in ["fd00::b", "fe80::b", "ff02::1", "fe80::1", "fd00:ec2::253"] {
                let bytes = probe(&packet(addr(source), addr(to), UDP, OPEN), 11);
                for mac in [names::ROUTER_MAC, other.mac, BROADCAST] {
                    wire.send(&places[0], "eth0", &frame(mac, one.mac, 0x86dd, &bytes));
                }
            }
        }
        // The honest probe goes by IPv4, on the same link.
        let router = From::Inside(vpc_namespace(&config, &vpc.vpc_id));
        let inbox = Inbox::open(&router, &[UDP]);
        let sender = Sender::open(&places[0]);
        let resolver = packet(one.private_ip.into(), addr("169.254.169.253"), UDP, 53);
        sender.send(&probe(&resolver, HONEST));
        let begun = Instant::now();
        let mut signs = Vec::new();
        while begun.elapsed() < PATIENCE && !signs.contains(&Some(Sign::Probe(HONEST))) {
            let came = inbox.contents();
            signs.extend(came.iter().map(|(protocol, bytes)| sign(*protocol, bytes)));
        }
        assert_eq!(signs, [Some(Sign::Probe(HONEST))], "what the router took");
        let strays = heard.packets();
        let stray = |bytes: &Vec<u8>| !is_neighbour_discovery(bytes);
        assert!(!strays.iter().any(stray), "{strays:?}");
    });
}

/// Whatever addresses the router has, its only services are the platform's.
#[test]
fn the_router_has_no_other_door() {
    sandbox(|| {
        let arena = Arena::new();
        let inbox = Inbox::open(&arena.router(), &[TCP, UDP, ICMP, ICMPV6, 47, 132]);
        let listing = inside(&arena.router(), || run("ip", &["-o", "address"]));
        let mut own: Vec<IpAddr> = listing
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace().skip(2);
                words.find(|word| word.starts_with("inet"))?;
                words.next()?.split('/').next()?.parse().ok()
            })
            .collect();
        assert!(own.contains(&addr("169.254.169.253")), "{listing}");
        own.extend(
            [
                "10.0.1.1",
                "10.0.2.1",
                "10.0.0.1",
                "169.254.255.1",
                "169.254.255.2",
            ]
            .map(addr),
        );
        own.extend(
            [
                "fe80::1",
                "2001:2:0:101::1",
                "127.0.0.1",
                "::1",
                "10.0.255.255",
            ]
            .map(addr),
        );
        let wire = Wire::open(&arena.guest_is);
        let mut number = 20_000;
        for to in own {
            let v4 = to.is_ipv4();
            let from = Arena::address(&arena.guest, v4);
            let echo = if v4 { (ICMP, 0x0800) } else { (ICMPV6, 0x8000) };
            let closed = [
                (TCP, 22),
                (TCP, 179),
                (TCP, 4566),
                (UDP, 67),
                (UDP, 161),
                (47, 0),
            ];
            for (protocol, detail) in closed.into_iter().chain([echo]) {
                number += 1;
                let bytes = probe(&packet(from, to, protocol, detail), number);
                let kind = if v4 { 0x0800 } else { 0x86dd };
                let frame = frame(names::ROUTER_MAC, arena.guest.mac, kind, &bytes);
                wire.send(&arena.guest_is, "eth0", &frame);
            }
        }
        let resolver = packet(
            arena.guest.private_ip.into(),
            addr("169.254.169.253"),
            UDP,
            53,
        );
        arena.sender.send(&probe(&resolver, HONEST));
        let begun = Instant::now();
        let mut signs = Vec::new();
        while begun.elapsed() < PATIENCE && !signs.contains(&Some(Sign::Probe(HONEST))) {
            let came = inbox.contents();
            signs.extend(came.iter().map(|(protocol, bytes)| sign(*protocol, bytes)));
        }
        // Neighbour discovery with the router is no probe.
        signs.retain(Option::is_some);
        assert_eq!(signs, [Some(Sign::Probe(HONEST))]);
    });
}

/// The next owner of an address inherits no connection of the last, by neither family.
#[test]
fn a_reused_address_inherits_nothing() {
    sandbox(|| {
        let mut arena = Arena::new();
        let friend = Sender::open(&arena.at(&arena.far));
        let mut probes = Vec::new();
        for (v4, number) in [(true, 1), (false, 2)] {
            let (from, to) = (
                Arena::address(&arena.far, v4),
                Arena::address(&arena.victim, v4),
            );
            probes.push(probe(&packet(from, to, UDP, 99), number));
            probes.push(probe(&packet(from, to, TCP, 99), number + 2));
        }
        let before = Wire::open(&arena.at(&arena.victim));
        for (bytes, number) in probes.iter().zip([1, 3, 2, 4]) {
            friend.send(bytes);
            assert!(arrives(&before, number), "probe {number}");
        }
        let mute = arena
            .region
            .group(&arena.vpc, vec![(false, udp(OPEN, OPEN), anyone())]);
        arena.region.remove(&arena.victim);
        let mut next = arena.region.eni(&arena.near_subnet, 11, &[&mute]);
        next.ipv6_addresses = arena.victim.ipv6_addresses.clone();
        arena.region.put(next.clone());
        arena.apply();
        let after = Wire::open(&arena.at(&next));
        for bytes in &probes {
            friend.send(bytes);
        }
        let honest = packet(
            arena.far.private_ip.into(),
            next.private_ip.into(),
            UDP,
            OPEN,
        );
        friend.send(&probe(&honest, HONEST));
        let begun = Instant::now();
        let mut signs = Vec::new();
        while begun.elapsed() < PATIENCE && !signs.contains(&Sign::Probe(HONEST)) {
            for bytes in after.packets() {
                let (protocol, transport) = content(&bytes).unwrap();
                signs.extend(sign(protocol, transport));
            }
        }
        assert_eq!(signs, [Sign::Probe(HONEST)]);
    });
}

/// A guest answers a flow that it was never part of, and hits nobody of a VPC with the same block.
#[test]
fn a_twin_vpc_is_out_of_reach() {
    sandbox(|| {
        let mut arena = Arena::new();
        let twin = arena.region.vpc("10.0.0.0/16");
        let subnet = arena.region.subnet(&twin, "10.0.1.0/24");
        let all = arena
            .region
            .group(&twin, vec![out_to_all(), (false, Traffic::All, anyone())]);
        let same = arena.region.eni(&subnet, 11, &[&all]);
        let only_there = arena.region.eni(&subnet, 77, &[&all]);
        arena.apply();
        let wires = [&same, &only_there].map(|eni| Wire::open(&arena.at(eni)));
        let from = Arena::address(&arena.guest, true);
        let hostile: Vec<_> = [same.private_ip, only_there.private_ip]
            .iter()
            .map(|to| probe(&packet(from, (*to).into(), UDP, 99), 12))
            .collect();
        arena.assert_unheard("to a twin", &hostile);
        for wire in &wires {
            assert_eq!(wire.packets(), Vec::<Vec<u8>>::new());
        }
    });
}
