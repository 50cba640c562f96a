//! From connections and logged packets to lines, without a kernel.

use std::net::IpAddr;
use std::sync::Arc;

use fogbank_net::apply::conntrack::{Connection, Count, TcpState, Tuple};
use fogbank_net::apply::nflog::{Headers, Packet};
use fogbank_net::names;
use fogbank_types::diagnosis::{FlowLog, FlowLogResource, FlowLogTraffic};
use fogbank_types::ec2::{Eni, NatGateway, NatGatewayState, RouteTarget, Subnet, Vpc};
use fogbank_types::{FlowLogId, NatGatewayId, Tags, Timestamp};

use super::attribution::{Interval, MOST_REJECTS, Observation, Rejects, observe};
use super::record::{Body, Facts, Format, TaskFacts};
use super::region::{self, Region, addr, scope};
use super::topology::Topology;
use super::window::Window;

const INTERVAL: Interval = Interval {
    since_ms: 1_000_000,
    now_ms: 1_060_000,
};
const ECHO: (u16, u16) = (40000, 80);

struct World {
    region: Region,
    vpc: Vpc,
    subnet: Subnet,
    a: Eni,
    b: Eni,
}

impl World {
    fn new() -> Self {
        let mut region = Region::default();
        let vpc = region.vpc("10.0.0.0/16");
        let subnet = region.subnet(&vpc, "10.0.1.0/24");
        let a = region.eni(&subnet, 10, &[]);
        let b = region.eni(&subnet, 20, &[]);
        Self {
            region,
            vpc,
            subnet,
            a,
            b,
        }
    }

    fn topology(&self) -> Topology {
        let config = Arc::new(region::config("f"));
        Topology::of(&self.region.snapshot, &config, &self.vpc)
    }
}

fn tuple(source: &str, destination: &str, ports: (u16, u16)) -> Tuple {
    Tuple {
        source: addr(source),
        destination: addr(destination),
        protocol: 6,
        source_port: ports.0,
        destination_port: ports.1,
        icmp: None,
    }
}

fn connection(original: Tuple, reply: Tuple) -> Connection {
    Connection {
        id: 1,
        original,
        reply,
        sent: Count {
            packets: 6,
            bytes: 600,
        },
        received: Count {
            packets: 5,
            bytes: 5000,
        },
        answered: true,
        tcp: Some(TcpState::TimeWait),
        started_ns: Some(1_030_000_000_000),
        ended_ns: None,
        idle_left_s: None,
    }
}

fn swapped(ports: (u16, u16)) -> (u16, u16) {
    (ports.1, ports.0)
}

fn rejected(prefix: &str, source: &str, destination: &str, ports: (u16, u16)) -> Packet {
    Packet {
        prefix: prefix.to_owned(),
        device_in: None,
        device_out: None,
        received_ns: None,
        headers: Headers {
            source: addr(source),
            destination: addr(destination),
            protocol: 6,
            bytes: 60,
            source_port: ports.0,
            destination_port: ports.1,
            tcp_flags: 2,
            icmp: None,
        },
    }
}

/// `<eni's last two digits> <direction> <src>:<port> <dst>:<port> <packet's src> <packet's dst> <packets> <bytes> <flags> <action> <path>`
fn told(topology: &Topology, observations: &[Observation]) -> Vec<String> {
    let mut all: Vec<String> = observations
        .iter()
        .map(|o| {
            let eni = &topology.interfaces[o.interface].eni;
            let (flow, sums) = (&o.flow, &o.sums);
            format!(
                "{} {} {}:{} {}:{} {} {} {} {} {} {} {}",
                eni.private_ip,
                if flow.egress { "out" } else { "in" },
                flow.source,
                flow.source_port,
                flow.destination,
                flow.destination_port,
                flow.packet_source,
                flow.packet_destination,
                sums.packets,
                sums.bytes,
                sums.tcp_flags,
                if flow.rejected { "REJECT" } else { "ACCEPT" },
                flow.path.map_or("-".to_owned(), |path| path.to_string()),
            )
        })
        .collect();
    all.sort();
    all
}

fn observed(
    topology: &Topology,
    rejects: &mut Rejects,
    connections: &[Connection],
) -> Vec<Observation> {
    let mut all = Vec::new();
    for connection in connections {
        observe(topology, rejects, connection, INTERVAL, |o| all.push(o));
    }
    rejects.settle(topology, false, |o| all.push(o));
    all
}

fn seen(world: &World, connections: &[Connection]) -> Vec<String> {
    let topology = world.topology();
    let all = observed(&topology, &mut Rejects::default(), connections);
    told(&topology, &all)
}

#[test]
fn both_interfaces_have_both_directions() {
    let world = World::new();
    let c = connection(
        tuple("10.0.1.10", "10.0.1.20", ECHO),
        tuple("10.0.1.20", "10.0.1.10", swapped(ECHO)),
    );
    assert_eq!(
        seen(&world, &[c]),
        [
            "10.0.1.10 in 10.0.1.20:80 10.0.1.10:40000 10.0.1.20 10.0.1.10 5 5000 19 ACCEPT -",
            "10.0.1.10 out 10.0.1.10:40000 10.0.1.20:80 10.0.1.10 10.0.1.20 6 600 3 ACCEPT 1",
            "10.0.1.20 in 10.0.1.10:40000 10.0.1.20:80 10.0.1.10 10.0.1.20 6 600 3 ACCEPT -",
            "10.0.1.20 out 10.0.1.20:80 10.0.1.10:40000 10.0.1.20 10.0.1.10 5 5000 19 ACCEPT 1",
        ]
    );
}

#[test]
fn a_client_of_a_public_address_meets_the_private_one() {
    let mut world = World::new();
    let gateway = world.region.gateway(&world.vpc);
    let target = RouteTarget::InternetGateway(gateway);
    world
        .region
        .routes(&world.vpc, &world.subnet, &[("0.0.0.0/0", target)]);
    let c = connection(
        tuple("203.0.113.9", "198.18.0.77", ECHO),
        tuple("10.0.1.20", "203.0.113.9", swapped(ECHO)),
    );
    assert_eq!(
        seen(&world, &[c]),
        [
            "10.0.1.20 in 203.0.113.9:40000 10.0.1.20:80 203.0.113.9 10.0.1.20 6 600 3 ACCEPT -",
            "10.0.1.20 out 10.0.1.20:80 203.0.113.9:40000 10.0.1.20 203.0.113.9 5 5000 19 ACCEPT 8",
        ]
    );
}

/// The example of AWS's documentation.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-records-examples.html#flow-log-example-nat>
#[test]
fn a_nat_gateway_shows_its_own_address_and_the_packet_both_ends() {
    let mut world = World::new();
    let public = world.region.subnet(&world.vpc, "10.0.0.0/24");
    let gateway = world.region.gateway(&world.vpc);
    let internet = RouteTarget::InternetGateway(gateway);
    world
        .region
        .routes(&world.vpc, &public, &[("0.0.0.0/0", internet)]);
    let nat_eni = world.region.eni(&public, 220, &[]);
    let nat = NatGatewayId::from_bits(7);
    world.region.put(NatGateway {
        scope: scope(),
        nat_gateway_id: nat.clone(),
        vpc_id: world.vpc.vpc_id.clone(),
        subnet_id: public.subnet_id.clone(),
        state: NatGatewayState::Available,
        allocation_id: None,
        association_id: None,
        eni_id: Some(nat_eni.eni_id.clone()),
        private_ip: Some(nat_eni.private_ip),
        public_ip: None,
        private_connectivity: false,
        failure: None,
        client_token: None,
        created_at: Timestamp(0),
        deleted_at: None,
        tags: Tags::new(),
    });
    let target = RouteTarget::NatGateway(nat);
    world
        .region
        .routes(&world.vpc, &world.subnet, &[("0.0.0.0/0", target)]);
    let inner = connection(
        tuple("10.0.1.10", "203.0.113.5", ECHO),
        tuple("203.0.113.5", "10.0.1.10", swapped(ECHO)),
    );
    let outer = connection(
        tuple("10.0.0.220", "203.0.113.5", (5000, 80)),
        tuple("203.0.113.5", "198.18.0.77", (80, 5000)),
    );
    let lines = seen(&world, &[inner, outer]);
    let gateway_lines: Vec<&String> = lines
        .iter()
        .filter(|l| l.starts_with("10.0.0.220"))
        .collect();
    assert_eq!(
        gateway_lines,
        [
            "10.0.0.220 in 10.0.1.10:40000 10.0.0.220:80 10.0.1.10 203.0.113.5 6 600 3 ACCEPT -",
            "10.0.0.220 in 203.0.113.5:80 10.0.0.220:5000 203.0.113.5 10.0.0.220 5 5000 19 ACCEPT -",
            "10.0.0.220 out 10.0.0.220:5000 203.0.113.5:80 10.0.0.220 203.0.113.5 6 600 3 ACCEPT 8",
            "10.0.0.220 out 10.0.0.220:80 10.0.1.10:40000 203.0.113.5 10.0.1.10 5 5000 19 ACCEPT 1",
        ]
    );
    assert_eq!(
        lines.len(),
        6,
        "the task's own two lines and no more: {lines:#?}"
    );
    assert!(
        lines.contains(
            &"10.0.1.10 out 10.0.1.10:40000 203.0.113.5:80 10.0.1.10 203.0.113.5 6 600 3 ACCEPT 1"
                .to_owned()
        ),
        "{lines:#?}"
    );
}

#[test]
fn a_secondary_address_is_shown_as_the_primary_one() {
    let mut world = World::new();
    world.b.secondary_ips = vec!["10.0.1.99".parse().unwrap()];
    world.region.put(world.b.clone());
    let c = connection(
        tuple("10.0.1.10", "10.0.1.99", ECHO),
        tuple("10.0.1.99", "10.0.1.10", swapped(ECHO)),
    );
    let lines = seen(&world, &[c]);
    assert!(
        lines.contains(
            &"10.0.1.20 in 10.0.1.10:40000 10.0.1.20:80 10.0.1.10 10.0.1.99 6 600 3 ACCEPT -"
                .to_owned()
        ),
        "{lines:#?}"
    );
}

#[test]
fn the_platform_is_not_logged() {
    let world = World::new();
    for platform in [
        "10.0.0.2",
        "169.254.169.253",
        "169.254.169.254",
        "169.254.170.2",
        "10.0.1.1",
    ] {
        let c = connection(
            tuple("10.0.1.10", platform, ECHO),
            tuple(platform, "10.0.1.10", swapped(ECHO)),
        );
        assert_eq!(seen(&world, &[c]), Vec::<String>::new(), "{platform}");
    }
}

#[test]
fn a_receivers_gate_rejects_what_its_sender_let_out() {
    let world = World::new();
    let topology = world.topology();
    let mut rejects = Rejects::default();
    for _ in 0..3 {
        let packet = rejected("ingress", "10.0.1.10", "10.0.1.20", ECHO);
        assert!(rejects.add(&packet, "", "", 1_010_000));
    }
    let all = observed(&topology, &mut rejects, &[]);
    assert_eq!(
        told(&topology, &all),
        [
            "10.0.1.10 out 10.0.1.10:40000 10.0.1.20:80 10.0.1.10 10.0.1.20 3 180 2 ACCEPT 1",
            "10.0.1.20 in 10.0.1.10:40000 10.0.1.20:80 10.0.1.10 10.0.1.20 3 180 2 REJECT -",
        ]
    );
}

#[test]
fn a_senders_gate_rejects_for_the_sender_alone() {
    let world = World::new();
    let topology = world.topology();
    for gate in ["egress", "acl_out"] {
        let mut rejects = Rejects::default();
        let device = names::eni_device(&world.a.eni_id);
        rejects.add(
            &rejected(gate, "10.0.1.10", "10.0.1.20", ECHO),
            &device,
            "",
            0,
        );
        let all = observed(&topology, &mut rejects, &[]);
        assert_eq!(
            told(&topology, &all),
            ["10.0.1.10 out 10.0.1.10:40000 10.0.1.20:80 10.0.1.10 10.0.1.20 1 60 2 REJECT 1"]
        );
    }
}

/// "a network ACL that permits inbound ICMP traffic but does not permit outbound ICMP traffic": an ACCEPT record for the
/// request, a REJECT record for the reply.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-records-examples.html#flow-log-example-security-groups>
#[test]
fn an_acl_that_stops_replies_has_them_rejected_not_accepted() {
    let world = World::new();
    let topology = world.topology();
    let mut c = connection(
        tuple("10.0.1.10", "10.0.1.20", ECHO),
        tuple("10.0.1.20", "10.0.1.10", swapped(ECHO)),
    );
    c.received = Count {
        packets: 2,
        bytes: 120,
    };
    c.tcp = Some(TcpState::SynReceived);
    let mut rejects = Rejects::default();
    for _ in 0..2 {
        let packet = rejected("acl_out", "10.0.1.20", "10.0.1.10", swapped(ECHO));
        rejects.add(&packet, "", "", 1_040_000);
    }
    let all = observed(&topology, &mut rejects, &[c]);
    assert_eq!(
        told(&topology, &all),
        [
            "10.0.1.10 out 10.0.1.10:40000 10.0.1.20:80 10.0.1.10 10.0.1.20 6 600 2 ACCEPT 1",
            "10.0.1.20 in 10.0.1.10:40000 10.0.1.20:80 10.0.1.10 10.0.1.20 6 600 2 ACCEPT -",
            "10.0.1.20 out 10.0.1.20:80 10.0.1.10:40000 10.0.1.20 10.0.1.10 2 120 2 REJECT 1",
        ]
    );
}

/// The first packets were dropped and left no connection; then a rule was added and the same ports got through.
#[test]
fn packets_rejected_before_a_connection_are_not_taken_off_it() {
    let world = World::new();
    let topology = world.topology();
    let c = connection(
        tuple("10.0.1.10", "10.0.1.20", ECHO),
        tuple("10.0.1.20", "10.0.1.10", swapped(ECHO)),
    );
    let mut rejects = Rejects::default();
    rejects.add(
        &rejected("ingress", "10.0.1.10", "10.0.1.20", ECHO),
        "",
        "",
        1_029_000,
    );
    let all = observed(&topology, &mut rejects, &[c]);
    let sum = |egress: bool, rejected: bool| -> u64 {
        all.iter()
            .filter(|o| {
                o.flow.egress == egress
                    && o.flow.rejected == rejected
                    && o.flow.destination_port == 80
            })
            .map(|o| o.sums.packets)
            .sum()
    };
    assert_eq!(
        (sum(true, false), sum(false, false), sum(false, true)),
        (7, 6, 1)
    );
}

#[test]
fn what_is_rejected_before_its_interface_is_known_waits_for_it() {
    let mut world = World::new();
    let early = world.topology();
    let mut rejects = Rejects::default();
    let packet = rejected("ingress", "203.0.113.9", "10.0.1.30", ECHO);
    rejects.add(&packet, "igw", "e-unknown", 1_010_000);
    let mut all = Vec::new();
    rejects.settle(&early, true, |o| all.push(o));
    assert_eq!(all, []);
    world.region.eni(&world.subnet.clone(), 30, &[]);
    let topology = world.topology();
    rejects.settle(&topology, false, |o| all.push(o));
    assert_eq!(
        told(&topology, &all),
        ["10.0.1.30 in 203.0.113.9:40000 10.0.1.30:80 203.0.113.9 10.0.1.30 1 60 2 REJECT -"]
    );
}

#[test]
fn a_scan_of_everything_takes_bounded_memory() {
    let mut rejects = Rejects::default();
    let add = |rejects: &mut Rejects, source: u32, port: u16| {
        let source = std::net::Ipv4Addr::from_bits(0xcb00_7100 + source).to_string();
        let packet = rejected("ingress", &source, "10.0.1.20", (40000, port));
        rejects.add(&packet, "igw", "", 0)
    };
    let taken = (0..2)
        .flat_map(|source| (0..u16::MAX).map(move |port| (source, port)))
        .filter(|(source, port)| add(&mut rejects, *source, *port))
        .count();
    assert_eq!(taken, MOST_REJECTS);
    assert!(add(&mut rejects, 0, 7), "more of a known one is added up");
}

#[test]
fn a_refused_connection_has_a_reset_and_no_syn_ack() {
    let world = World::new();
    let mut c = connection(
        tuple("10.0.1.10", "10.0.1.20", ECHO),
        tuple("10.0.1.20", "10.0.1.10", swapped(ECHO)),
    );
    c.tcp = Some(TcpState::Closed);
    c.sent = Count {
        packets: 1,
        bytes: 60,
    };
    c.received = Count {
        packets: 1,
        bytes: 40,
    };
    let lines = seen(&world, &[c]);
    assert!(lines[0].contains(" 1 40 4 ACCEPT"), "{lines:#?}");
    assert!(lines[1].contains(" 1 60 2 ACCEPT"), "{lines:#?}");
}

#[test]
fn a_stream_moved_in_large_pieces_counts_as_packets_of_the_wire() {
    let world = World::new();
    let mut c = connection(
        tuple("10.0.1.10", "10.0.1.20", ECHO),
        tuple("10.0.1.20", "10.0.1.10", swapped(ECHO)),
    );
    c.sent = Count {
        packets: 2,
        bytes: 130_000,
    };
    let lines = seen(&world, &[c]);
    assert!(
        lines.iter().any(|line| line.contains(" 15 130000 ")),
        "{lines:#?}"
    );
}

fn flow_log(world: &World, traffic: FlowLogTraffic, fields: &[&str]) -> Arc<FlowLog> {
    Arc::new(FlowLog {
        scope: scope(),
        flow_log_id: FlowLogId::from_bits(1),
        resource: FlowLogResource::Vpc(world.vpc.vpc_id.clone()),
        traffic,
        log_group: "flows".to_owned(),
        deliver_role_arn: None,
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        log_format: String::new(),
        max_aggregation_interval_s: 60,
        client_token: None,
        created_at: Timestamp(0),
        tags: Tags::new(),
    })
}

const DEFAULT: [&str; 14] = [
    "version",
    "account-id",
    "interface-id",
    "srcaddr",
    "dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "packets",
    "bytes",
    "start",
    "end",
    "action",
    "log-status",
];

fn facts(eni: &Eni) -> Facts<'_> {
    Facts {
        eni,
        zone_id: "use1-az1",
        task: None,
    }
}

fn lines(window: &mut Window, topology: &Topology, eni: &Eni) -> Vec<String> {
    let records = window.records(&facts(eni), topology, INTERVAL.now_ms, false);
    records.into_iter().map(|(_, line)| line).collect()
}

/// A whole window of 60 s with what one connection and one rejected packet made.
fn filled(world: &World, traffic: FlowLogTraffic) -> (Window, Topology) {
    let topology = world.topology();
    let log = flow_log(world, traffic, &DEFAULT);
    let mut window = Window::begin(log, INTERVAL.since_ms, INTERVAL.since_ms, 60_000);
    let c = connection(
        tuple("10.0.1.10", "10.0.1.20", ECHO),
        tuple("10.0.1.20", "10.0.1.10", swapped(ECHO)),
    );
    let mut rejects = Rejects::default();
    rejects.add(
        &rejected("ingress", "10.0.1.10", "10.0.1.20", (41000, 22)),
        "",
        "",
        1_010_000,
    );
    for observation in observed(&topology, &mut rejects, &[c]) {
        let eni = &topology.interfaces[observation.interface].eni;
        window.add(&eni.eni_id, &observation);
    }
    (window, topology)
}

#[test]
fn default_records_read_as_aws_writes_them() {
    let world = World::new();
    let (mut window, topology) = filled(&world, FlowLogTraffic::All);
    let id = &world.b.eni_id;
    assert_eq!(
        lines(&mut window, &topology, &world.b),
        [
            format!("2 000000000000 {id} 10.0.1.10 10.0.1.20 41000 22 6 1 60 1010 1010 REJECT OK"),
            format!("2 000000000000 {id} 10.0.1.10 10.0.1.20 40000 80 6 6 600 1030 1060 ACCEPT OK"),
            format!(
                "2 000000000000 {id} 10.0.1.20 10.0.1.10 80 40000 6 5 5000 1030 1060 ACCEPT OK"
            ),
        ]
    );
    window.turn(INTERVAL.now_ms, 60_000);
    assert_eq!(
        lines(&mut window, &topology, &world.b),
        [format!(
            "2 000000000000 {id} - - - - - - - 1060 1060 - NODATA"
        )],
        "what was told is not told again"
    );
}

#[test]
fn the_traffic_type_filters() {
    let world = World::new();
    for (traffic, count) in [
        (FlowLogTraffic::Accept, 2),
        (FlowLogTraffic::Reject, 1),
        (FlowLogTraffic::All, 3),
    ] {
        let (mut window, topology) = filled(&world, traffic);
        assert_eq!(
            lines(&mut window, &topology, &world.b).len(),
            count,
            "{traffic:?}"
        );
    }
}

#[test]
fn lost_events_are_told() {
    let world = World::new();
    let (mut window, topology) = filled(&world, FlowLogTraffic::Reject);
    window.skip(&world.b.eni_id);
    let id = &world.b.eni_id;
    assert_eq!(
        lines(&mut window, &topology, &world.b)[1],
        format!("2 000000000000 {id} - - - - - - - 1000 1060 - SKIPDATA")
    );
}

#[test]
fn a_first_window_shorter_than_the_interval_says_nothing_of_no_data() {
    let world = World::new();
    let log = flow_log(&world, FlowLogTraffic::All, &DEFAULT);
    let mut window = Window::begin(log, INTERVAL.since_ms, INTERVAL.since_ms + 30_000, 60_000);
    assert_eq!(
        window.due_ms, INTERVAL.now_ms,
        "due with the flow logs that were there"
    );
    assert_eq!(
        lines(&mut window, &world.topology(), &world.a),
        Vec::<String>::new()
    );
}

#[test]
fn records_told_early_are_no_second_time() {
    let world = World::new();
    let (mut window, topology) = filled(&world, FlowLogTraffic::All);
    let early = window.records(&facts(&world.b), &topology, INTERVAL.now_ms, true);
    assert_eq!(early.len(), 3);
    assert_eq!(
        lines(&mut window, &topology, &world.b),
        Vec::<String>::new(),
        "and it had data"
    );
}

#[test]
fn custom_formats_have_the_version_of_their_newest_field() {
    let world = World::new();
    let topology = world.topology();
    let version = |fields: &[&str]| {
        let names: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        let body = Body::NoData {
            start_s: 1,
            end_s: 2,
        };
        Format::of(&names).line(&facts(&world.a), &topology, body)
    };
    assert_eq!(version(&["version", "start"]), "2 1");
    assert_eq!(
        version(&["version", "vpc-id"]),
        format!("3 {}", world.vpc.vpc_id)
    );
    assert_eq!(
        version(&["az-id", "srcaddr", "version", "flow-direction"]),
        "use1-az1 - 5 -"
    );
    assert_eq!(version(&["version", "ecs-task-id", "srcaddr"]), "7 - -");
}

#[test]
fn later_versions_fields() {
    let world = World::new();
    let (topology, mut all) = (world.topology(), Vec::new());
    let mut c = connection(
        tuple("10.0.1.10", "198.18.0.9", ECHO),
        tuple("198.18.0.9", "10.0.1.10", swapped(ECHO)),
    );
    c.received = Count::default();
    observe(&topology, &mut Rejects::default(), &c, INTERVAL, |o| {
        all.push(o)
    });
    let names: Vec<String> =
        "version tcp-flags type pkt-dst-aws-service pkt-src-aws-service flow-direction traffic-path \
        region sublocation-id instance-id reject-reason ecs-service-name ecs-second-container-id"
            .split_whitespace()
            .map(str::to_owned)
            .collect();
    let facts = Facts {
        task: Some(TaskFacts {
            service_name: Some("web".to_owned()),
            containers: vec!["one".to_owned()],
            ..TaskFacts::default()
        }),
        ..facts(&world.a)
    };
    let body = Body::Flow(&all[0].flow, &all[0].sums);
    assert_eq!(
        Format::of(&names).line(&facts, &topology, body),
        "8 3 IPv4 S3 - egress - us-east-1 - - - web -"
    );
}

#[test]
fn addresses_of_both_families() {
    let mut world = World::new();
    world.region.add_block(&mut world.vpc, "2001:2:0:100::/56");
    world.region.add_v6(&mut world.subnet, "2001:2:0:100::/64");
    let (a, b): (IpAddr, IpAddr) = (
        world
            .region
            .address_v6(&mut world.a, &world.subnet, 16)
            .into(),
        world
            .region
            .address_v6(&mut world.b, &world.subnet, 32)
            .into(),
    );
    let (a, b) = (a.to_string(), b.to_string());
    let c = connection(tuple(&a, &b, ECHO), tuple(&b, &a, swapped(ECHO)));
    let lines = seen(&world, &[c]);
    assert_eq!(lines.len(), 4);
    assert_eq!(
        lines[1],
        format!("10.0.1.10 out {a}:40000 {b}:80 {a} {b} 6 600 3 ACCEPT 1")
    );
}
