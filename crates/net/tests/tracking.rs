//! Connections in the kernel: forgotten with their address, judged anew with their rule, and told to
//! the flow logs with what is logged. Each test plays a host of its own; needs root.

#![allow(clippy::unwrap_used)]

mod pair;
mod region;
mod sandbox;

use fogbank_net::apply::netlink::Socket;
use fogbank_net::apply::{conntrack, in_namespace, nflog};
use fogbank_net::names;
use fogbank_net::program::{Direction, Family, Range, Set, Untracked};
use fogbank_types::IpCidr;
use pair::*;
use sandbox::*;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::Instant;

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

#[test]
fn connections_of_an_endpoint_are_not_judged_anew() {
    sandbox(|| {
        let _net = Net::start();
        let [a, b] = ends();
        serve_tcp(&path(&b), 80);
        let router = names::namespace_path(ROUTER);
        let socket = in_namespace(&router, || Socket::open(libc::NETLINK_NETFILTER));
        let mut socket = socket.unwrap().unwrap();
        for family in BOTH {
            let to = of(family, &b);
            let _open = Connection::open(&at(&a), to, 80, PATIENCE).unwrap();
            let out = Untracked {
                address: of(family, &a),
                direction: Direction::Out,
                protocol: 6,
                ports: range(80, 80),
            };
            let mut changed = |tracked: &[IpAddr]| {
                let tracked = tracked.iter().copied().collect();
                let untracked = [out].into();
                conntrack::flush(&mut socket, &BTreeSet::new(), &untracked, &tracked).unwrap()
            };
            assert_eq!(changed(&[to]), 0, "{family:?}");
            assert_eq!(changed(&[]), 1, "{family:?}");
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

fn ports_of(net: &mut Net, family: Family) -> &mut BTreeSet<(IpCidr, u8, Range)> {
    match net.table(family).sets.get_mut("ports") {
        Some(Set::Ports(ports)) => ports,
        _ => panic!("it is a set of ports"),
    }
}

#[test]
fn what_the_other_side_sends_does_not_open_a_cut_connection_again() {
    sandbox(|| {
        let mut net = Net::start();
        let [a, b] = ends();
        for family in BOTH {
            let to = of(family, &b);
            let listener = in_namespace(&path(&b), || TcpListener::bind((to, 80)).unwrap());
            let client = inside(&at(&a), || TcpStream::connect((to, 80)).unwrap());
            let (mut server, _) = listener.unwrap().accept().unwrap();
            let mut client = client;
            for stream in [&client, &server] {
                stream.set_read_timeout(Some(SILENCE)).unwrap();
            }
            let open = Untracked {
                address: to,
                direction: Direction::In,
                protocol: 6,
                ports: range(80, 90),
            };
            net.router().untracked.insert(open);
            net.apply();
            let rule = std::mem::take(ports_of(&mut net, family));
            net.router().untracked.remove(&open);
            net.apply();
            // Answers still come; what the client sends does not arrive, however much is answered.
            let mut byte = [0];
            let begun = Instant::now();
            let mut sent = 0;
            loop {
                server.write_all(b"x").unwrap();
                client.read_exact(&mut byte).unwrap();
                client.write_all(b"y").unwrap();
                sent += 1;
                if server.read(&mut byte).is_err() {
                    break;
                }
                assert!(begun.elapsed() < PATIENCE, "it is not cut");
            }
            // With the rule it goes on.
            *ports_of(&mut net, family) = rule;
            net.apply();
            server.set_read_timeout(Some(PATIENCE)).unwrap();
            assert!(server.read(&mut byte).is_ok(), "after {sent}");
        }
    });
}
