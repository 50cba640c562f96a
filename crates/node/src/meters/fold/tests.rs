use super::*;
use fogbank_edge::http::{Algorithm, Attributes, HealthCheck, Target};

pub const GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/api/0123";

pub fn table(zone: &str, targets: u8) -> Table {
    let target = |host: u8| Target {
        ip: [10, 0, 0, host].into(),
        port: 80,
        registered_at_ms: 0,
        zone: None,
        weight: 1,
        draining: false,
    };
    let group = TargetGroup {
        id: GROUP.to_owned(),
        protocol: Default::default(),
        version: Default::default(),
        algorithm: Algorithm::RoundRobin,
        anomaly_mitigation: false,
        slow_start_ms: 0,
        stickiness: None,
        cross_zone: true,
        deregistration_delay_ms: 0,
        minimum_healthy_targets: 1,
        health_check: HealthCheck {
            enabled: true,
            protocol: Default::default(),
            path: "/".into(),
            port: None,
            interval_ms: 1000,
            timeout_ms: 1000,
            healthy_threshold: 2,
            unhealthy_threshold: 2,
            matcher: "200".into(),
        },
        targets: (0..targets).map(target).collect(),
    };
    Table {
        revision: 1,
        load_balancer: "app/web/4567".into(),
        dns_name: "web".into(),
        zone: zone.into(),
        attributes: Attributes::default(),
        listeners: vec![],
        target_groups: vec![group],
        certificates: vec![],
        trust_stores: vec![],
        cookie_secret: String::new(),
        identity: Default::default(),
    }
}

pub fn health(states: &[Health]) -> BTreeMap<String, Vec<TargetState>> {
    let state = |(host, health): (u8, &Health)| TargetState {
        ip: [10, 0, 0, host].into(),
        port: 80,
        health: *health,
        reason: None,
        description: None,
    };
    let states = (0..).zip(states).map(state).collect();
    BTreeMap::from([(GROUP.to_owned(), states)])
}

pub fn counts(requests: u64, times_us: &[u64]) -> Counts {
    let mut counts = Counts::default();
    counts.node.new_connections = requests;
    counts.node.active_connections = 3;
    counts.node.processed_bytes = 1000 * requests;
    let times = times_us.iter().map(|time| (*time as u16, 1)).collect();
    let group = GroupCounts {
        requests,
        target_2xx: requests,
        response_times: Times {
            sum_us: times_us.iter().sum(),
            buckets: times,
        },
        ..GroupCounts::default()
    };
    counts.groups.insert(GROUP.to_owned(), group);
    counts
}

fn of<'d>(data: &'d [MetricDatum], name: &str, dimensions: &[&str]) -> &'d StatisticSet {
    let mut found = data.iter().filter(|datum| {
        let values: Vec<_> = datum
            .dimensions
            .iter()
            .map(|(_, value)| value.as_str())
            .collect();
        datum.name == name && values == dimensions
    });
    let one = found
        .next()
        .unwrap_or_else(|| panic!("{name} {dimensions:?}"));
    assert!(found.next().is_none(), "one datum each");
    &one.values
}

#[test]
fn nodes_come_together_under_their_load_balancer() {
    let scope = Scope::new("000000000000", "us-east-1");
    let (a, b) = (table("us-east-1a", 2), table("us-east-1b", 2));
    let (of_a, of_b) = (counts(10, &[5, 7]), counts(30, &[7, 9]));
    let (all, half) = (
        health(&[Health::Healthy; 2]),
        health(&[Health::Healthy, Health::Unhealthy]),
    );
    let samples = [
        Sample {
            scope: &scope,
            table: &a,
            counts: &of_a,
            health: &all,
        },
        Sample {
            scope: &scope,
            table: &b,
            counts: &of_b,
            health: &half,
        },
    ];
    let data = fold(&samples, Duration::from_secs(60));
    let (web, api) = ("app/web/4567", "targetgroup/api/0123");
    assert!(
        data.iter()
            .all(|datum| datum.namespace == "AWS/ApplicationELB" && datum.dimensions.is_sorted())
    );
    let requests = of(&data, "RequestCount", &[web]);
    assert_eq!(
        (requests.sum, requests.minimum, requests.maximum),
        (40.0, 1.0, 1.0)
    );
    assert_eq!(
        of(&data, "RequestCount", &["us-east-1b", web, api]).sum,
        30.0
    );
    assert_eq!(
        of(&data, "HTTPCode_Target_2XX_Count", &[web, api]).sum,
        40.0
    );
    assert_eq!(of(&data, "ActiveConnectionCount", &[web]).sum, 6.0);
    // 10 of 2 healthy targets and 30 of one.
    assert_eq!(of(&data, "RequestCountPerTarget", &[api]).sum, 35.0);
    let healthy = of(&data, "HealthyHostCount", &[web, api]);
    assert_eq!(
        (healthy.count, healthy.minimum, healthy.maximum),
        (2.0, 1.0, 2.0)
    );
    assert_eq!(
        of(&data, "UnHealthyHostCount", &["us-east-1b", web, api]).sum,
        1.0
    );
    assert_eq!(
        of(&data, "HealthyStateRouting", &[web, api]).maximum,
        2.0,
        "zones"
    );
    assert_eq!(of(&data, "UnhealthyStateRouting", &[web, api]).maximum, 0.0);
    let times = of(&data, "TargetResponseTime", &[web]);
    assert_eq!((times.count, times.sum), (4.0, 28.0 / 1e6));
    assert_eq!(times.distribution, [(5e-6, 1.0), (7e-6, 2.0), (9e-6, 1.0)]);
    assert_eq!((times.minimum, times.maximum), (5e-6, 9e-6));
}

#[test]
fn quiet_nodes_tell_of_requests_and_health_alone() {
    let scope = Scope::new("000000000000", "us-east-1");
    let table = table("us-east-1a", 1);
    let (nothing, nobody) = (Counts::default(), BTreeMap::new());
    let sample = Sample {
        scope: &scope,
        table: &table,
        counts: &nothing,
        health: &nobody,
    };
    let data = fold(&[sample], Duration::from_secs(60));
    let requests = of(&data, "RequestCount", &["app/web/4567"]);
    assert_eq!((requests.count, requests.sum), (1.0, 0.0));
    assert!(
        data.iter().all(|datum| !datum.name.starts_with("HTTPCode")),
        "errors are left out"
    );
    assert_eq!(of(&data, "ConsumedLCUs", &["app/web/4567"]).sum, 0.0);
    let mut empty = table.clone();
    empty.target_groups[0].targets.clear();
    let sample = Sample {
        scope: &scope,
        table: &empty,
        counts: &nothing,
        health: &nobody,
    };
    let data = fold(&[sample], Duration::from_secs(60));
    assert!(
        data.iter().all(|datum| datum.name != "RequestCount"),
        "no registered target"
    );
}

#[test]
fn capacity_is_the_largest_of_four() {
    let scope = Scope::new("000000000000", "us-east-1");
    let table = table("us-east-1a", 1);
    let nobody = BTreeMap::new();
    let units = |change: fn(&mut fogbank_edge::http::NodeCounts)| {
        let mut counts = Counts::default();
        change(&mut counts.node);
        let sample = Sample {
            scope: &scope,
            table: &table,
            counts: &counts,
            health: &nobody,
        };
        let data = fold(&[sample], Duration::from_secs(60));
        let peak = of(&data, "PeakLCUs", &["app/web/4567"]).sum;
        assert_eq!(
            of(&data, "ConsumedLCUs", &["app/web/4567"]).sum,
            peak / 60.0
        );
        peak
    };
    assert_eq!(units(|node| node.new_connections = 25 * 60), 1.0);
    assert_eq!(units(|node| node.active_connections = 6000), 2.0);
    assert_eq!(
        units(|node| node.processed_bytes = 1_000_000_000 / 60),
        0.99999996
    );
    assert_eq!(units(|node| node.charged_rule_evaluations = 180_000), 3.0);
    assert_eq!(
        units(|node| {
            node.new_connections = 25 * 60;
            node.charged_rule_evaluations = 60_000 * 4
        }),
        4.0
    );
}
