//! Idle timeouts of interfaces (fact SG-13): what the compiler makes of them, and how long the
//! kernel then keeps a connection. Kernel tests play a host of their own; they need root.

#![allow(clippy::unwrap_used)]

mod live;
mod region;
mod sandbox;

use fogbank_net::apply::conntrack;
use fogbank_net::program::{Action, Chain, Direction, Match, Set, Table, Timeout, Verdict};
use fogbank_net::{compile, names};
use fogbank_types::ec2::*;
use fogbank_types::*;
use live::Live;
use region::*;
use sandbox::*;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Instant;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// A VPC with a gateway and a public interface for each of the settings, all open.
fn with(settings: &[ConnectionTracking]) -> (Region, Vpc, Vec<Eni>) {
    let mut region = Region::default();
    let vpc = region.vpc("10.0.0.0/16");
    let subnet = region.subnet(&vpc, "10.0.1.0/24");
    let gateway = region.gateway(&vpc);
    let out = RouteTarget::InternetGateway(gateway);
    region.routes(&vpc, &subnet, &[("0.0.0.0/0", out)]);
    let rules = [true, false].map(|egress| (egress, Traffic::All, anyone()));
    let group = region.group(&vpc, rules.into());
    let settings = settings.iter().enumerate();
    let enis = settings.map(|(n, own)| {
        let mut eni = region.eni(&subnet, 10 + n as u64, &[&group]);
        eni.connection_tracking = *own;
        region.put(eni.clone());
        region.elastic(&eni, &format!("198.18.0.{}", 30 + n));
        eni
    });
    let enis = enis.collect();
    (region, vpc, enis)
}

fn tracking(tcp: Option<u32>, stream: Option<u32>, udp: Option<u32>) -> ConnectionTracking {
    ConnectionTracking {
        tcp_established_timeout_s: tcp,
        udp_stream_timeout_s: stream,
        udp_timeout_s: udp,
    }
}

fn table(region: &Region, config: &RegionConfig, vpc: &Vpc) -> Table {
    let program = compile(&region.snapshot, config);
    let router = &program.namespaces[&config.namespace(vpc.vpc_id.tail())];
    router.tables[names::TABLE].clone()
}

/// The timeout that a new connection gets on its way from one device to another.
fn timeout(table: &Table, from: &str, to: &str, protocol: u8) -> Option<Timeout> {
    fn run(
        table: &Table,
        chain: &Chain,
        way: (&str, &str),
        protocol: u8,
        last: &mut Option<Timeout>,
    ) -> bool {
        let device = |direction| match direction {
            Direction::In => way.0,
            Direction::Out => way.1,
        };
        for rule in &chain.rules {
            let holds = rule.matches.iter().all(|part| match part {
                Match::Established => false,
                Match::Protocol { number, equal } => (*number == protocol) == *equal,
                Match::DeviceIn {
                    direction,
                    set,
                    member,
                } => match &table.sets[set] {
                    Set::Devices(all) => all.contains(device(*direction)) == *member,
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            });
            if !holds {
                continue;
            }
            match &rule.action {
                Action::SetTimeout(name) => *last = Some(table.timeouts[name]),
                Action::Do(Verdict::Accept) => return true,
                Action::VerdictOf { direction, map } => match &table.sets[map] {
                    Set::Verdicts(all) => {
                        if let Some(Verdict::Jump(to)) = all.get(device(*direction))
                            && run(table, &table.chains[to], way, protocol, last)
                        {
                            return true;
                        }
                    }
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            }
        }
        false
    }
    let mut last = None;
    run(
        table,
        table.chains.get("idle")?,
        (from, to),
        protocol,
        &mut last,
    );
    last
}

#[test]
fn nothing_is_made_where_all_have_the_defaults() {
    let spelt_out = tracking(Some(432_000), Some(180), Some(30));
    let (region, vpc, _) = with(&[ConnectionTracking::default(), spelt_out]);
    let table = table(&region, &config("test"), &vpc);
    assert!(table.timeouts.is_empty() && !table.chains.contains_key("idle"));
}

#[test]
fn the_shorter_timeout_of_both_ends_acts_each_by_itself() {
    let (region, vpc, enis) = with(&[
        ConnectionTracking::default(),
        tracking(Some(350), None, Some(60)),
        tracking(Some(60), Some(90), Some(45)),
    ]);
    let table = table(&region, &config("test"), &vpc);
    let [usual, long, short] = [0, 1, 2].map(|n| names::eni_device(&enis[n].eni_id));
    let outside = names::GATEWAY_DEVICE;
    let tcp = |established_s| Some(Timeout::Tcp { established_s });
    let udp = |unreplied_s, replied_s| {
        Some(Timeout::Udp {
            unreplied_s,
            replied_s,
        })
    };
    for (one, other, of_tcp, of_udp) in [
        (usual.as_str(), usual.as_str(), None, None),
        (&usual, outside, None, None),
        // What is outside has no say.
        (&long, outside, tcp(350), udp(60, 180)),
        // The usual 30 s of the other end, which the router has by itself.
        (&long, &usual, tcp(350), None),
        (&short, &usual, tcp(60), udp(30, 90)),
        (&short, &long, tcp(60), udp(45, 90)),
        (&short, outside, tcp(60), udp(45, 90)),
        (&long, &long, tcp(350), udp(60, 180)),
    ] {
        for (from, to) in [(one, other), (other, one)] {
            assert_eq!(timeout(&table, from, to, TCP), of_tcp, "{from} to {to}");
            assert_eq!(timeout(&table, from, to, UDP), of_udp, "{from} to {to}");
        }
    }
}

#[test]
fn a_faster_region_has_shorter_timeouts() {
    let (region, vpc, _) = with(&[tracking(Some(350), Some(60), None)]);
    let config = RegionConfig {
        speed: 100.0,
        ..config("test")
    };
    let table = table(&region, &config, &vpc);
    let all: Vec<Timeout> = table.timeouts.values().copied().collect();
    let udp = Timeout::Udp {
        unreplied_s: 1,
        replied_s: 1,
    };
    assert_eq!(all, [Timeout::Tcp { established_s: 3 }, udp]);
}

fn left_s(live: &Live, vpc: &Vpc, protocol: u8, port: u16) -> Option<u32> {
    let router = names::vpc_namespace(&live.config, &vpc.vpc_id);
    let all = conntrack::Reader::open(&router).unwrap().connections();
    let all = all.unwrap();
    let is_it = |c: &&conntrack::Connection| {
        c.original.protocol == protocol && c.original.destination_port == port
    };
    all.iter().find(is_it)?.idle_left_s
}

/// What is left of a new connection's time.
fn left_of_tcp(live: &Live, vpc: &Vpc, from: &Eni, to: Ipv4Addr, port: u16) -> u32 {
    let mut open = Connection::open(&live.at(from), to, port, PATIENCE).unwrap();
    assert!(open.is_alive(PATIENCE));
    left_s(live, vpc, TCP, port).unwrap()
}

#[test]
fn the_kernel_keeps_connections_as_long_as_their_interfaces_say() {
    sandbox(|| {
        let (region, vpc, enis) = with(&[
            ConnectionTracking::default(),
            tracking(Some(200), Some(100), Some(60)),
        ]);
        let mut live = Live::start(region);
        let [usual, own] = [&enis[0], &enis[1]];
        for port in [80, 81, 82, 83, 84] {
            live.serve(own, port);
            live.serve(usual, port);
        }
        let of_tcp = left_of_tcp(&live, &vpc, usual, own.private_ip, 80);
        assert!((150..=200).contains(&of_tcp), "{of_tcp}");
        let of_tcp = left_of_tcp(&live, &vpc, own, usual.private_ip, 81);
        assert!((150..=200).contains(&of_tcp), "{of_tcp}");
        // Settings that change act on new connections.
        let mut eni = own.clone();
        eni.connection_tracking = tracking(Some(250), None, None);
        live.region.put(eni.clone());
        live.apply();
        let of_tcp = left_of_tcp(&live, &vpc, usual, own.private_ip, 82);
        assert!((201..=250).contains(&of_tcp), "{of_tcp}");
        // As before, when nobody has any.
        eni.connection_tracking = ConnectionTracking::default();
        live.region.put(eni);
        live.apply();
        let mut open = Connection::open(&live.at(usual), own.private_ip, 83, PATIENCE).unwrap();
        assert!(open.is_alive(PATIENCE));
        // At most 300 until the last word is acknowledged, which each word would put off.
        assert!(live::soon(
            || left_s(&live, &vpc, TCP, 83).unwrap() > 400_000
        ));
        // A restart finds the same, and others in the place of what is there.
        let settled = Live::start(live.region);
        assert_eq!(settled.apply().steps, 0);
    });
}

#[test]
fn the_kernel_keeps_udp_by_its_own_two_timeouts() {
    sandbox(|| {
        let (region, vpc, enis) = with(&[tracking(None, Some(100), Some(50)); 2]);
        let live = Live::start(region);
        let [client, server] = [&enis[0], &enis[1]];
        let path = fogbank_net::eni_namespace(&live.config, &server.eni_id);
        serve_udp(&path, server.private_ip, 53);
        let own = IpAddr::from(client.private_ip);
        let socket = inside(&live.at(client), || UdpSocket::bind((own, 0)).unwrap());
        socket.send_to(b"x", (server.private_ip, 99)).unwrap();
        let mut alone = None;
        assert!(live::soon(|| {
            alone = left_s(&live, &vpc, UDP, 99);
            alone.is_some()
        }));
        let alone = alone.unwrap();
        assert!((31..=50).contains(&alone), "{alone}");
        // A stream is one that still has answers after two seconds.
        let begun = Instant::now();
        let mut seen = BTreeSet::new();
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        while seen.last().is_none_or(|left_s| *left_s <= 50) {
            socket.send_to(b"x", (server.private_ip, 53)).unwrap();
            let _ = socket.recv(&mut [0; 64]);
            seen.extend(left_s(&live, &vpc, UDP, 53));
            assert!(begun.elapsed() < PATIENCE, "{seen:?}");
        }
        assert!(seen.last().is_some_and(|left_s| *left_s <= 100), "{seen:?}");
    });
}
