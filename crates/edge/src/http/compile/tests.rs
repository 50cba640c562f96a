//! Rows in, table out.

use std::net::Ipv4Addr;
use std::sync::Arc;

use fogbank_types::{MacAddr, Scope, SubnetId, Tags, Timestamp, VpcId};

use super::*;

const LOAD_BALANCER: &str =
    "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/api/0123456789abcdef";
const TIME: Timestamp = Timestamp(0);

fn scope() -> Scope {
    Scope::new("000000000000", "us-east-1")
}

fn eni(number: u128, owner: ec2::EniOwner) -> ec2::Eni {
    ec2::Eni {
        scope: scope(),
        eni_id: EniId::from_bits(number),
        vpc_id: VpcId::from_bits(1),
        subnet_id: SubnetId::from_bits(number),
        zone: format!("us-east-1{}", if number == 1 { "a" } else { "b" }),
        mac: MacAddr([0; 6]),
        private_ip: Ipv4Addr::new(10, 0, number as u8, 4),
        secondary_ips: Vec::new(),
        ipv6_addresses: Vec::new(),
        auto_public_ip: None,
        groups: Vec::new(),
        description: String::new(),
        source_dest_check: true,
        owner,
        host: None,
        attachment_id: None,
        connection_tracking: ec2::ConnectionTracking::default(),
        service_connect: false,
        created_at: TIME,
        tags: Tags::new(),
    }
}

fn target(last: u8, zone: Option<&str>, draining: bool) -> elb::Target {
    elb::Target {
        ip: Ipv4Addr::new(10, 0, 9, last).into(),
        port: 8080,
        zone: zone.map(str::to_owned),
        registered_at: TIME,
        draining_since: draining.then_some(TIME),
    }
}

fn group(arn: &str) -> elb::TargetGroup {
    elb::TargetGroup {
        ip_address_type: "ipv4".to_owned(),
        scope: scope(),
        arn: arn.to_owned(),
        name: "api".into(),
        tail: "1".into(),
        protocol: "HTTP".into(),
        protocol_version: "HTTP1".into(),
        port: 80,
        vpc_id: VpcId::from_bits(1),
        target_type: "ip".into(),
        health_check: elb::HealthCheck {
            enabled: true,
            protocol: "HTTP".into(),
            port: None,
            path: "/health".into(),
            interval_seconds: 30,
            timeout_seconds: 5,
            healthy_threshold: 5,
            unhealthy_threshold: 2,
            matcher: "200".into(),
        },
        attributes: BTreeMap::new(),
        targets: vec![
            target(1, Some("us-east-1a"), false),
            target(2, Some("us-east-1b"), true),
            target(3, Some("us-east-1c"), false),
            target(4, None, false),
        ],
        created_at: TIME,
        tags: Tags::new(),
    }
}

fn forward(arn: &str, order: i32) -> elb::Action {
    let groups = vec![elb::WeightedGroup {
        target_group_arn: arn.to_owned(),
        weight: 1,
    }];
    elb::Action {
        order: Some(order),
        kind: elb::ActionKind::Forward {
            stickiness_enabled: false,
            groups,
            stickiness_seconds: None,
        },
    }
}

fn listener(port: u16, protocol: &str) -> elb::Listener {
    elb::Listener {
        certificates: Vec::new(),
        mutual_authentication: None,
        ssl_policy: None,
        scope: scope(),
        arn: format!("listener-{port}"),
        load_balancer_arn: LOAD_BALANCER.to_owned(),
        port,
        protocol: protocol.to_owned(),
        default_actions: vec![forward("group-1", 1)],
        attributes: BTreeMap::new(),
        created_at: TIME,
        tags: Tags::new(),
    }
}

fn rule(priority: u32, path: &str, action: elb::Action) -> elb::ListenerRule {
    elb::ListenerRule {
        transforms: Vec::new(),
        scope: scope(),
        arn: format!("rule-{priority}"),
        listener_arn: "listener-80".into(),
        priority,
        conditions: vec![elb::Condition::PathPattern(vec![path.to_owned()])],
        actions: vec![action],
        created_at: TIME,
        tags: Tags::new(),
    }
}

fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot {
        revision: 42,
        ..Snapshot::default()
    };
    let owner = ec2::EniOwner::LoadBalancer(LOAD_BALANCER.to_owned());
    snapshot.enis.insert(Arc::new(eni(1, owner.clone())), 1);
    snapshot.enis.insert(Arc::new(eni(2, owner)), 1);
    snapshot
        .enis
        .insert(Arc::new(eni(3, ec2::EniOwner::Caller)), 1);
    let zone = |number| elb::LoadBalancerZone {
        zone: format!("us-east-1{}", if number == 1 { "a" } else { "b" }),
        subnet_id: SubnetId::from_bits(number),
        eni_id: EniId::from_bits(number),
    };
    let load_balancer = elb::LoadBalancer {
        cookie_secret: String::new(),
        scope: scope(),
        arn: LOAD_BALANCER.to_owned(),
        name: "api".into(),
        tail: "0123456789abcdef".into(),
        dns_name: "api-1.us-east-1.elb.amazonaws.com".into(),
        canonical_hosted_zone_id: "Z35SXDOTRQ7X7K".into(),
        internal: false,
        vpc_id: VpcId::from_bits(1),
        zones: vec![zone(1), zone(2)],
        groups: Vec::new(),
        ip_address_type: "ipv4".into(),
        state: elb::LoadBalancerState::Active,
        attributes: BTreeMap::from([
            ("idle_timeout.timeout_seconds".to_owned(), "120".to_owned()),
            (
                "routing.http.xff_header_processing.mode".to_owned(),
                "remove".to_owned(),
            ),
            (
                "routing.http.preserve_host_header.enabled".to_owned(),
                "true".to_owned(),
            ),
        ]),
        created_at: TIME,
        tags: Tags::new(),
    };
    snapshot.load_balancers.insert(Arc::new(load_balancer), 1);
    for (port, protocol) in [(80, "HTTP"), (443, "HTTPS")] {
        snapshot
            .listeners
            .insert(Arc::new(listener(port, protocol)), 1);
    }
    let fixed = elb::ActionKind::FixedResponse {
        status: 418,
        content_type: None,
        body: None,
    };
    let rules = [
        rule(20, "/b", forward("group-2", 1)),
        rule(
            10,
            "/a",
            elb::Action {
                order: None,
                kind: fixed,
            },
        ),
    ];
    rules
        .into_iter()
        .for_each(|rule| snapshot.listener_rules.insert(Arc::new(rule), 1));
    for arn in ["group-1", "group-2", "group-3"] {
        snapshot.target_groups.insert(Arc::new(group(arn)), 1);
    }
    snapshot
}

fn compiled(snapshot: &Snapshot, speed: f64) -> Table {
    compile(snapshot, &EniId::from_bits(1), speed).expect("a table")
}

#[test]
fn a_node_gets_what_its_listeners_use() {
    let table = compiled(&snapshot(), 1.0);
    assert_eq!((table.revision, table.zone.as_str()), (42, "us-east-1a"));
    assert_eq!(table.load_balancer, "app/api/0123456789abcdef");
    let ports: Vec<u16> = table
        .listeners
        .iter()
        .map(|listener| listener.port)
        .collect();
    assert_eq!(ports, [80], "HTTPS is not served");
    let priorities: Vec<u32> = table.listeners[0]
        .rules
        .iter()
        .map(|rule| rule.priority)
        .collect();
    assert_eq!(priorities, [10, 20]);
    let groups: Vec<&str> = table
        .target_groups
        .iter()
        .map(|group| group.id.as_str())
        .collect();
    assert_eq!(groups, ["group-1", "group-2"], "nobody uses the third");
    assert_eq!(table.attributes.idle_timeout_ms, 120_000);
    assert_eq!(table.attributes.xff_mode, XffMode::Remove);
    assert!(table.attributes.preserve_host_header);
    assert_eq!(table.target_groups[0].health_check.interval_ms, 30_000);
    let targets: Vec<_> = table.target_groups[0]
        .targets
        .iter()
        .map(|target| (target.ip.to_string(), target.draining))
        .collect();
    assert_eq!(
        targets,
        [("10.0.9.1", false), ("10.0.9.2", true), ("10.0.9.4", false)]
            .map(|(ip, draining)| (ip.to_owned(), draining)),
        "the load balancer is not in the third zone"
    );
}

#[test]
fn the_other_node_differs_in_its_zone_and_address_alone() {
    let snapshot = snapshot();
    let other = compile(&snapshot, &EniId::from_bits(2), 1.0).expect("a table");
    assert_eq!(other.zone, "us-east-1b");
    let own = compiled(&snapshot, 1.0);
    assert_ne!(other.identity.address, own.identity.address);
    assert_eq!(
        Table {
            zone: "us-east-1a".into(),
            identity: own.identity.clone(),
            ..other
        },
        own
    );
}

#[test]
fn an_interface_of_somebody_else_has_no_table() {
    assert_eq!(compile(&snapshot(), &EniId::from_bits(3), 1.0), None);
    assert_eq!(compile(&snapshot(), &EniId::from_bits(4), 1.0), None);
    let mut deleted = snapshot();
    deleted.load_balancers = fogbank_types::Table::default();
    assert_eq!(compile(&deleted, &EniId::from_bits(1), 1.0), None);
}

#[test]
fn a_group_keeps_its_protocol_and_version() {
    let mut snapshot = snapshot();
    let row = elb::TargetGroup {
        protocol: "HTTPS".into(),
        protocol_version: "GRPC".into(),
        ..group("group-1")
    };
    snapshot.target_groups.insert(Arc::new(row), 2);
    let group = &compiled(&snapshot, 1.0).target_groups[0];
    assert_eq!(
        (group.protocol, group.version),
        (Protocol::Https, Version::Grpc)
    );
}

#[test]
fn attributes_of_a_group() {
    let mut snapshot = snapshot();
    let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let attributes = BTreeMap::from([
        set("load_balancing.cross_zone.enabled", "false"),
        set(
            "load_balancing.algorithm.type",
            "least_outstanding_requests",
        ),
        set("deregistration_delay.timeout_seconds", "20"),
    ]);
    snapshot.target_groups.insert(
        Arc::new(elb::TargetGroup {
            attributes,
            ..group("group-1")
        }),
        2,
    );
    let table = compiled(&snapshot, 10.0);
    assert!(!table.target_groups[0].cross_zone);
    assert!(table.target_groups[1].cross_zone);
    assert_eq!(
        table.target_groups[0].algorithm,
        Algorithm::LeastOutstandingRequests
    );
    assert_eq!(table.target_groups[0].deregistration_delay_ms, 2_000);
    assert_eq!(table.target_groups[1].deregistration_delay_ms, 30_000);
}

#[test]
fn speed_divides_but_leaves_timeouts_their_least() {
    let time = Time { speed: 100.0 };
    assert_eq!(time.timeout_ms(5), 1_000);
    assert_eq!(time.timeout_ms(300), 3_000);
    assert_eq!(time.divided_ms(30, INTERVAL_MIN_MS), 300);
    assert_eq!(time.divided_ms(0, 0), 0);
    assert_eq!(Time { speed: 1.0 }.timeout_ms(2), 2_000);
    let table = compile(&snapshot(), &EniId::from_bits(1), f64::NAN).expect("a table");
    assert_eq!(table.attributes.idle_timeout_ms, 120_000);
}

#[test]
fn both_minima_have_to_be_met() {
    const PREFIX: &str = "target_group_health.unhealthy_state_routing.minimum_healthy_targets";
    let set = |count: &str, percentage: &str| {
        BTreeMap::from([
            (format!("{PREFIX}.count"), count.to_owned()),
            (format!("{PREFIX}.percentage"), percentage.to_owned()),
        ])
    };
    assert_eq!(minimum_healthy(&BTreeMap::new(), 10), 1);
    assert_eq!(minimum_healthy(&set("2", "off"), 10), 2);
    assert_eq!(minimum_healthy(&set("2", "50"), 9), 5);
    assert_eq!(minimum_healthy(&set("off", "off"), 9), 1);
}

/// A process that was killed reads its table from a file.
#[test]
fn a_table_survives_json() {
    let table = compiled(&snapshot(), 1.0);
    let text = serde_json::to_string(&table).expect("JSON");
    assert_eq!(
        serde_json::from_str::<Table>(&text).expect("a table"),
        table
    );
}
