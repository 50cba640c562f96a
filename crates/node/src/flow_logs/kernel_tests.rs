//! Flow logs of real packets: a VPC is compiled and applied in a namespace of the test's own.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogbank_net::apply::in_namespace;
use fogbank_net::{Applier, compile, eni_namespace, vpc_namespace};
use fogbank_store::log::{Query, Reader, Start};
use fogbank_types::diagnosis::{FlowLog, FlowLogResource, FlowLogTraffic};
use fogbank_types::ec2::{Eni, RouteTarget, RulePeer, Subnet, Vpc};
use fogbank_types::logs::LogStream;
use fogbank_types::{FlowLogId, PortRange, RegionConfig, Tags, Timestamp, Traffic};

use super::region::{self, Region, cidr, entry, scope};
use super::sandbox::{
    Connection, From, PATIENCE, SILENCE, ask_udp, ping, sandbox, serve_tcp, serve_udp,
};
use super::{FlowLogs, delivery, now_ms};

const FIELDS: &str = "flow-direction action pkt-srcaddr pkt-dstaddr dstport protocol packets tcp-flags log-status start end";

struct World {
    config: RegionConfig,
    region: Region,
    vpc: Vpc,
    a: Eni,
    b: Eni,
    /// Of `b`.
    subnet: Subnet,
    applier: Applier,
    logs: FlowLogs,
    /// Goes with the world.
    _folder: tempfile::TempDir,
}

impl World {
    /// `a` may send all; `b`, in another subnet, takes TCP and UDP 8080, and pings.
    fn new(speed: f64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = region::config("flow");
        config.data_dir = folder.path().to_owned();
        config.speed = speed;
        let mut region = Region::default();
        let mut vpc = region.vpc("10.0.0.0/16");
        region.add_block(&mut vpc, "2001:2:0:100::/56");
        let mut first = region.subnet(&vpc, "10.0.1.0/24");
        let mut second = region.subnet(&vpc, "10.0.2.0/24");
        region.add_v6(&mut first, "2001:2:0:101::/64");
        region.add_v6(&mut second, "2001:2:0:102::/64");
        let peers = || {
            let v6 = "::/0".parse().unwrap();
            [RulePeer::Ipv4(cidr("0.0.0.0/0")), RulePeer::Ipv6(v6)]
        };
        let out = peers().map(|peer| (true, Traffic::All, peer)).to_vec();
        let clients = region.group(&vpc, out);
        let port = PortRange::new(8080, 8080).unwrap();
        let kinds = [Traffic::Tcp(port), Traffic::Udp(port), Traffic::Icmp(None)];
        let into = kinds
            .iter()
            .flat_map(|kind| peers().map(|peer| (false, *kind, peer)))
            .collect();
        let servers = region.group(&vpc, into);
        let mut a = region.eni(&first, 10, &[&clients]);
        region.address_v6(&mut a, &first, 16);
        let mut b = region.eni(&second, 20, &[&servers]);
        region.address_v6(&mut b, &second, 32);
        Self {
            applier: Applier::start(&config).unwrap(),
            logs: FlowLogs::new(Arc::new(config.clone())),
            config,
            region,
            vpc,
            a,
            b,
            subnet: second,
            _folder: folder,
        }
    }

    /// Has all interfaces logged from now on.
    fn log(&mut self) -> FlowLog {
        let log = FlowLog {
            scope: scope(),
            flow_log_id: FlowLogId::from_bits(1),
            resource: FlowLogResource::Vpc(self.vpc.vpc_id.clone()),
            traffic: FlowLogTraffic::All,
            log_group: "flows".to_owned(),
            deliver_role_arn: None,
            fields: FIELDS.split(' ').map(str::to_owned).collect(),
            log_format: String::new(),
            max_aggregation_interval_s: 60,
            client_token: None,
            created_at: Timestamp(now_ms()),
            tags: Tags::new(),
        };
        self.region.put(log.clone());
        for eni in [self.a.clone(), self.b.clone()] {
            self.region.put(LogStream {
                scope: scope(),
                group: "flows".to_owned(),
                name: delivery::stream_name(&log, &eni),
                uid: eni.eni_id.to_string(),
                created_at: Timestamp(0),
            });
        }
        self.apply();
        self.watched();
        log
    }

    fn apply(&mut self) {
        let program = compile(&self.region.snapshot, &self.config);
        assert_eq!(program.alarms, []);
        let report = self.applier.reconcile_blocking(program).unwrap();
        assert_eq!(report.failures, []);
        self.logs.update(&self.region.snapshot);
    }

    /// Waits until the worker listens.
    fn watched(&self) {
        let path = vpc_namespace(&self.config, &self.vpc.vpc_id);
        eventually("the worker listens", || {
            let text = in_namespace(&path, || {
                std::fs::read_to_string("/proc/thread-self/net/netfilter/nfnetlink_log")
            });
            text.unwrap().unwrap().contains("4566")
        });
    }

    fn finish(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(self.logs.finish());
    }

    fn at(&self, eni: &Eni) -> From {
        From::Inside(eni_namespace(&self.config, &eni.eni_id))
    }

    fn serve(&self) {
        let namespace = eni_namespace(&self.config, &self.b.eni_id);
        serve_tcp(&namespace, 8080);
        serve_udp(&namespace, self.b.private_ip, 8080);
    }

    /// The records of an interface so far, field by field.
    fn records(&self, eni: &Eni) -> Vec<Vec<String>> {
        let folder = self.config.logs_dir().join(eni.eni_id.as_str());
        let page = Reader::open(&folder)
            .unwrap()
            .read(&Query::from(Start::Head))
            .unwrap();
        let words = |line: &[u8]| -> Vec<String> {
            let text = std::str::from_utf8(line).unwrap();
            text.split(' ').map(str::to_owned).collect()
        };
        page.events
            .iter()
            .map(|event| words(&event.message))
            .collect()
    }

    /// `<direction> <action> <source> <destination> <port> <protocol>` of the flows to the server, `*` for a client's port.
    fn flows(&self, eni: &Eni) -> Vec<String> {
        let mut flows: Vec<String> = self
            .records(eni)
            .iter()
            .filter(|record| record[8] == "OK")
            .map(|record| {
                let mut words = record[..6].to_vec();
                if words[4].parse::<u32>().unwrap() > 8080 {
                    words[4] = "*".to_owned();
                }
                words.join(" ")
            })
            .collect();
        flows.sort();
        flows.dedup();
        flows
    }

    /// Packets that `a` was sent by `b` over UDP, by `a`'s records.
    fn answers(&self) -> u64 {
        self.records(&self.a)
            .iter()
            .filter(|record| record[0] == "ingress" && record[5] == "17")
            .map(|record| record[6].parse::<u64>().unwrap())
            .sum()
    }
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_passes_and_what_is_rejected() {
    sandbox(|| {
        let mut world = World::new(1.0);
        world.apply();
        world.log();
        world.serve();
        let (a, b) = (world.at(&world.a), world.b.private_ip);
        let b_v6 = world.b.ipv6_addresses[0];
        assert!(
            Connection::open(&a, b, 8080, PATIENCE)
                .unwrap()
                .is_alive(PATIENCE)
        );
        assert!(
            Connection::open(&a, b_v6, 8080, PATIENCE)
                .unwrap()
                .is_alive(PATIENCE)
        );
        assert!(ping(&a, b, PATIENCE));
        assert!(ask_udp(&a, b, 8080, PATIENCE).is_some());
        assert!(Connection::open(&a, b, 22, SILENCE).is_none());
        assert!(ask_udp(&world.at(&world.b), world.a.private_ip, 53, SILENCE).is_none());
        world.finish();
        let a_v6 = world.a.ipv6_addresses[0];
        let there =
            |direction: &str, action: &str| format!("{direction} {action} 10.0.1.10 10.0.2.20");
        let back =
            |direction: &str, action: &str| format!("{direction} {action} 10.0.2.20 10.0.1.10");
        let mut expected = Vec::new();
        for what in ["8080 6", "8080 17", "0 1"] {
            let answer = what.replace("8080", "*");
            expected.push(format!("{} {what}", there("ingress", "ACCEPT")));
            expected.push(format!("{} {answer}", back("egress", "ACCEPT")));
        }
        expected.push(format!("{} 22 6", there("ingress", "REJECT")));
        expected.push(format!("{} 53 17", back("egress", "REJECT")));
        expected.push(format!("ingress ACCEPT {a_v6} {b_v6} 8080 6"));
        expected.push(format!("egress ACCEPT {b_v6} {a_v6} * 6"));
        expected.sort();
        assert_eq!(world.flows(&world.b), expected);
        let sender = world.flows(&world.a);
        assert!(
            sender.contains(&format!("{} 22 6", there("egress", "ACCEPT"))),
            "the sender's groups let it out: {sender:#?}"
        );
        assert!(
            !sender.iter().any(|flow| flow.contains("REJECT")),
            "{sender:#?}"
        );
    });
}

#[test]
fn flags_and_times_of_a_connection() {
    sandbox(|| {
        let mut world = World::new(1.0);
        world.apply();
        world.log();
        world.serve();
        let before_s = now_ms() / 1000;
        let mut connection =
            Connection::open(&world.at(&world.a), world.b.private_ip, 8080, PATIENCE).unwrap();
        assert!(connection.is_alive(PATIENCE));
        drop(connection);
        // The server's side closes when it hears of it; a record may come before.
        let path = vpc_namespace(&world.config, &world.vpc.vpc_id);
        eventually("both sides are closed", || {
            let mut reader = fogbank_net::apply::conntrack::Reader::open(&path).unwrap();
            let all = reader.connections().unwrap();
            let closed = fogbank_net::apply::conntrack::TcpState::LastAck;
            all.iter()
                .any(|c| c.tcp.is_some_and(|state| state >= closed))
        });
        world.finish();
        let records = world.records(&world.b);
        let flags = |direction: &str| -> Vec<&str> {
            let of = |r: &&Vec<String>| r[0] == direction && r[5] == "6";
            records
                .iter()
                .filter(of)
                .map(|record| record[7].as_str())
                .collect()
        };
        assert_eq!((flags("ingress"), flags("egress")), (vec!["3"], vec!["19"]));
        for record in records.iter().filter(|record| record[8] == "OK") {
            let (start, end): (i64, i64) =
                (record[9].parse().unwrap(), record[10].parse().unwrap());
            assert!(
                before_s <= start && start <= end && end <= now_ms() / 1000,
                "{record:?}"
            );
        }
    });
}

#[test]
fn replies_that_an_acl_stops_are_rejected() {
    sandbox(|| {
        let mut world = World::new(1.0);
        let entries = vec![entry(100, false, true, Traffic::All, "0.0.0.0/0")];
        let acl = world.region.acl(&world.vpc, entries);
        world.region.guard(acl, &world.subnet.clone());
        world.apply();
        world.log();
        world.serve();
        assert!(!ping(&world.at(&world.a), world.b.private_ip, SILENCE));
        world.finish();
        assert_eq!(
            world.flows(&world.b),
            [
                "egress REJECT 10.0.2.20 10.0.1.10 0 1",
                "ingress ACCEPT 10.0.1.10 10.0.2.20 0 1"
            ]
        );
        assert_eq!(
            world.flows(&world.a),
            ["egress ACCEPT 10.0.1.10 10.0.2.20 0 1"]
        );
    });
}

/// Each VPC tells of its own interfaces: what the peer's group rejects was let out here.
#[test]
fn a_peers_group_rejects_in_the_peers_vpc() {
    sandbox(|| {
        let mut world = World::new(1.0);
        let far = world.region.vpc("10.1.0.0/16");
        let subnet = world.region.subnet(&far, "10.1.2.0/24");
        let all = RulePeer::Ipv4(cidr("0.0.0.0/0"));
        let port = Traffic::Tcp(PortRange::new(8080, 8080).unwrap());
        let group = world.region.group(&far, vec![(false, port, all)]);
        world.b = world.region.eni(&subnet, 20, &[&group]);
        let peering = world.region.peering(&world.vpc.clone(), &far).peering_id;
        let first = world
            .region
            .snapshot
            .subnets
            .get(&scope(), &world.a.subnet_id);
        let first = Subnet::clone(first.unwrap());
        for (vpc, subnet, block) in [
            (world.vpc.clone(), first, "10.1.0.0/16"),
            (far.clone(), subnet, "10.0.0.0/16"),
        ] {
            let target = RouteTarget::VpcPeeringConnection(peering.clone());
            world.region.routes(&vpc, &subnet, &[(block, target)]);
        }
        world.apply();
        let log = world.log();
        world.region.put(FlowLog {
            flow_log_id: FlowLogId::from_bits(2),
            resource: FlowLogResource::NetworkInterface(world.b.eni_id.clone()),
            ..log
        });
        world.apply();
        let here = std::mem::replace(&mut world.vpc, far);
        world.watched();
        world.vpc = here;
        world.serve();
        let a = world.at(&world.a);
        assert!(Connection::open(&a, world.b.private_ip, 8080, PATIENCE).is_some());
        assert!(Connection::open(&a, world.b.private_ip, 22, SILENCE).is_none());
        world.finish();
        assert_eq!(
            world.flows(&world.b),
            [
                "egress ACCEPT 10.1.2.20 10.0.1.10 * 6",
                "ingress ACCEPT 10.0.1.10 10.1.2.20 8080 6",
                "ingress REJECT 10.0.1.10 10.1.2.20 22 6",
            ]
        );
        assert_eq!(
            world.flows(&world.a),
            [
                "egress ACCEPT 10.0.1.10 10.1.2.20 22 6",
                "egress ACCEPT 10.0.1.10 10.1.2.20 8080 6",
                "ingress ACCEPT 10.1.2.20 10.0.1.10 * 6",
            ]
        );
    });
}

fn client(world: &World) -> UdpSocket {
    let namespace = eni_namespace(&world.config, &world.a.eni_id);
    let socket = in_namespace(&namespace, || UdpSocket::bind((world.a.private_ip, 0)))
        .unwrap()
        .unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect((world.b.private_ip, 8080)).unwrap();
    socket
}

fn ask(socket: &UdpSocket) {
    socket.send(b"?").unwrap();
    socket.recv(&mut [0; 64]).unwrap();
}

#[test]
fn every_interval_tells_its_own_packets_and_says_when_there_are_none() {
    sandbox(|| {
        // An interval is 100 ms.
        let mut world = World::new(600.0);
        world.apply();
        world.log();
        world.serve();
        let socket = client(&world);
        for sent in 1..=3 {
            ask(&socket);
            eventually("a record of it", || world.answers() == sent);
        }
        let no_data = || {
            let records = world.records(&world.a);
            records.last().is_some_and(|record| record[8] == "NODATA")
        };
        eventually("an interval without traffic", no_data);
        assert_eq!(world.answers(), 3, "and nothing was told twice");
    });
}

#[test]
fn an_interface_that_goes_leaves_its_records() {
    sandbox(|| {
        let mut world = World::new(1.0);
        world.apply();
        world.log();
        world.serve();
        ask(&client(&world));
        assert!(Connection::open(&world.at(&world.a), world.b.private_ip, 22, SILENCE).is_none());
        world.region.remove(&world.b.clone());
        world.apply();
        eventually("its records", || world.records(&world.b).len() >= 3);
        assert_eq!(
            world.flows(&world.b),
            [
                "egress ACCEPT 10.0.2.20 10.0.1.10 * 17",
                "ingress ACCEPT 10.0.1.10 10.0.2.20 8080 17",
                "ingress REJECT 10.0.1.10 10.0.2.20 22 6",
            ]
        );
    });
}

#[test]
fn a_flow_log_that_goes_leaves_its_records() {
    sandbox(|| {
        let mut world = World::new(1.0);
        world.apply();
        let log = world.log();
        world.serve();
        ask(&client(&world));
        world.region.remove(&log);
        world.apply();
        eventually("its records", || world.answers() == 1);
    });
}

#[test]
fn traffic_before_the_flow_log_is_not_told() {
    sandbox(|| {
        let mut world = World::new(1.0);
        world.apply();
        world.serve();
        let socket = client(&world);
        ask(&socket);
        world.log();
        let fresh = client(&world);
        ask(&fresh);
        world.finish();
        assert_eq!(world.answers(), 1);
    });
}

#[test]
fn a_restart_neither_repeats_nor_loses_what_the_kernel_counts() {
    sandbox(|| {
        let mut world = World::new(1.0);
        world.apply();
        world.log();
        world.serve();
        let socket = client(&world);
        ask(&socket);
        world.finish();
        assert_eq!(world.answers(), 1);
        ask(&socket);
        world.logs = FlowLogs::new(Arc::new(world.config.clone()));
        world.apply();
        world.watched();
        ask(&socket);
        world.finish();
        assert_eq!(world.answers(), 3);
        let skips = world
            .records(&world.a)
            .iter()
            .filter(|record| record[8] == "SKIPDATA")
            .count();
        assert_eq!(skips, 1, "rejects and ends meanwhile are not known");
    });
}

/// Median of connect + 64 bytes there and back + reset, to an echo that is never out of breath.
fn round_trips(world: &World, count: usize) -> Vec<Duration> {
    use std::io::{Read, Write};
    let namespace = eni_namespace(&world.config, &world.a.eni_id);
    let server = (world.b.private_ip, 8080).into();
    in_namespace(&namespace, || {
        (0..count)
            .map(|_| {
                let begun = Instant::now();
                let mut stream = std::net::TcpStream::connect_timeout(&server, PATIENCE).unwrap();
                stream.write_all(&[7; 64]).unwrap();
                stream.read_exact(&mut [0; 64]).unwrap();
                let took = begun.elapsed();
                rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
                took
            })
            .collect()
    })
    .unwrap()
}

/// CPU time of the worker so far, in ms.
fn worker_ms() -> u64 {
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let read = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        if read("comm").trim() == "flow-logs" {
            let stat = read("stat");
            let after = stat.rsplit(')').next().unwrap_or_default();
            let words: Vec<&str> = after.split_whitespace().collect();
            ticks += words[11].parse::<u64>().unwrap() + words[12].parse::<u64>().unwrap();
        }
    }
    ticks * 10
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

/// `cargo test -p fogbank-node --release --lib -- --ignored --nocapture flow_logs`
#[test]
#[ignore = "measures"]
fn cost_of_a_connection() {
    const CONNECTIONS: usize = 3000;
    const ROUNDS: usize = 15;
    sandbox(|| {
        let mut world = World::new(1.0);
        world.apply();
        let namespace = eni_namespace(&world.config, &world.b.eni_id);
        let listener = in_namespace(&namespace, || {
            std::net::TcpListener::bind((world.b.private_ip, 8080))
        })
        .unwrap()
        .unwrap();
        std::thread::spawn(move || {
            use std::io::{Read, Write};
            while let Ok((mut stream, _)) = listener.accept() {
                let mut buffer = [0; 64];
                while stream.read_exact(&mut buffer).is_ok() && stream.write_all(&buffer).is_ok() {}
            }
        });
        let router = vpc_namespace(&world.config, &world.vpc.vpc_id);
        // So that connections end, and their ends are told, while others are measured.
        in_namespace(&router, || {
            let path = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close";
            std::fs::write(path, "1").unwrap();
        })
        .unwrap();
        round_trips(&world, CONNECTIONS);
        let (mut off, mut on) = (Vec::new(), Vec::new());
        let mut worker = 0;
        for _ in 0..ROUNDS {
            off.push(median(round_trips(&world, CONNECTIONS)));
            let log = world.log();
            let before = worker_ms();
            on.push(median(round_trips(&world, CONNECTIONS)));
            // Their ends are the worker's part.
            std::thread::sleep(Duration::from_millis(2500));
            worker += worker_ms() - before;
            world.region.remove(&log);
            world.apply();
        }
        let us = |of: Duration| of.as_nanos() as f64 / 1000.0;
        let ratios: Vec<Duration> = off
            .iter()
            .zip(&on)
            .map(|(off, on)| Duration::from_secs_f64(on.as_secs_f64() / off.as_secs_f64()))
            .collect();
        println!(
            "connect + request p50: {:.1} us without, {:.1} us with flow logs; ratio {:.3} (median of {ROUNDS} rounds of {CONNECTIONS}); worker {:.2} us a connection",
            us(median(off)),
            us(median(on)),
            median(ratios).as_secs_f64(),
            worker as f64 * 1000.0 / (ROUNDS * CONNECTIONS) as f64
        );
    });
}

/// Likewise: what the worker does for a change of rows and for an interval, with 1,000 interfaces.
#[test]
#[ignore = "measures"]
fn cost_of_a_thousand_interfaces() {
    let mut region = Region::default();
    let vpc = region.vpc("10.0.0.0/16");
    let subnet = region.subnet(&vpc, "10.0.0.0/20");
    let folder = tempfile::tempdir().unwrap();
    let mut enis = Vec::new();
    for n in 0..1000 {
        enis.push(region.eni(&subnet, 10 + n, &[]));
    }
    let config = Arc::new(region::config("flow"));
    let begun = Instant::now();
    let topology = super::topology::Topology::of(&region.snapshot, &config, &vpc);
    let built = begun.elapsed();
    assert_eq!(topology.interfaces.len(), enis.len());
    let line = "2 000000000000 eni-00000000000000001 - - - - - - - 1431280876 1431280934 - NODATA";
    let records = [(1_431_280_876, line.to_owned())];
    let mut written = Vec::new();
    for _ in 0..2 {
        let begun = Instant::now();
        for eni in &enis {
            delivery::append(folder.path(), eni.eni_id.as_str(), 1, &records);
        }
        written.push(begun.elapsed());
    }
    println!(
        "1,000 interfaces: {built:?} for a change of rows, {written:?} to write a record each, first and later"
    );
}
