//! A load balancer node by hand, for measurements: `alb <ip> <port> <target ip:port>...`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use fogbank_edge::http::{
    Action, Algorithm, Attributes, HealthCheck, Listener, Protocol, Table, Target, TargetGroup,
    WeightedGroup, Worker,
};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || {
        arguments
            .next()
            .expect("alb <ip> <port> <target ip:port>...")
    };
    let ip: IpAddr = next().parse().expect("an address");
    let port: u16 = next().parse().expect("a port");
    let targets = arguments
        .map(|target| target.parse().expect("ip:port"))
        .map(|target: SocketAddr| {
            let IpAddr::V4(ip) = target.ip() else {
                panic!("IPv4 only")
            };
            Target {
                registered_at_ms: 0,
                ip: ip.into(),
                port: target.port(),
                zone: None,
                weight: 1,
                draining: false,
            }
        });
    let group = TargetGroup {
        protocol: Default::default(),
        version: Default::default(),
        anomaly_mitigation: false,
        slow_start_ms: 0,
        stickiness: None,
        id: "group".into(),
        algorithm: Algorithm::RoundRobin,
        cross_zone: true,
        deregistration_delay_ms: 0,
        minimum_healthy_targets: 1,
        health_check: HealthCheck {
            protocol: Default::default(),
            enabled: true,
            path: "/".into(),
            port: None,
            interval_ms: 5_000,
            timeout_ms: 2_000,
            healthy_threshold: 2,
            unhealthy_threshold: 2,
            matcher: "200".into(),
        },
        targets: targets.collect(),
    };
    let forward = Action::Forward {
        stickiness_s: None,
        target_groups: vec![WeightedGroup {
            target_group: "group".into(),
            weight: 1,
        }],
    };
    let table = Table {
        certificates: Vec::new(),
        cookie_secret: String::new(),
        identity: Default::default(),
        trust_stores: Vec::new(),
        revision: 1,
        load_balancer: "app/bench/1".into(),
        dns_name: "bench".into(),
        zone: "a".into(),
        attributes: Attributes::default(),
        listeners: vec![Listener {
            attributes: Default::default(),
            default_guard: None,
            tls: None,
            id: "listener".into(),
            port,
            protocol: Protocol::Http,
            rules: Vec::new(),
            default_action: forward,
        }],
        target_groups: vec![group],
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let worker = Worker::new(ip, 20_000);
        worker.apply(&table);
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            worker.tick();
        }
    });
}
