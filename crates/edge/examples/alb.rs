//! A load balancer node by hand, for measurements: `alb <ip> <port> <target ip:port>...`. With a file of PEM in
//! `ALB_TLS` (certificate and key) it ends TLS, with `ALB_TARGET_TLS` it speaks TLS to its targets, with
//! `ALB_VERSION` of HTTP2 or GRPC that. With a folder in `ALB_LOGS` it writes access and connection logs below it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use fogbank_edge::http::{
    Action, Algorithm, Attributes, Certificate, HealthCheck, Home, Listener, LogDestination, Logs,
    MutualTls, Protocol, Table, Target, TargetGroup, TlsListener, Version, WeightedGroup, Worker,
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
    let folder = std::env::var_os("ALB_LOGS");
    let log = folder.is_some().then(|| LogDestination {
        bucket: "logs".into(),
        prefix: None,
    });
    let pem = std::env::var("ALB_TLS")
        .ok()
        .map(|path| std::fs::read_to_string(path).expect("a PEM file"));
    let certificates: Vec<_> = pem
        .into_iter()
        .map(|pem| Certificate {
            id: "certificate".into(),
            chain: pem.clone(),
            private_key: pem,
        })
        .collect();
    let tls = (!certificates.is_empty()).then(|| TlsListener {
        policy: "ELBSecurityPolicy-TLS13-1-2-2021-06".into(),
        certificates: vec!["certificate".into()],
        mutual: MutualTls::Off,
    });
    let group = TargetGroup {
        protocol: match std::env::var_os("ALB_TARGET_TLS") {
            Some(_) => Protocol::Https,
            None => Protocol::Http,
        },
        version: match std::env::var("ALB_VERSION").as_deref() {
            Ok("HTTP2") => Version::Http2,
            Ok("GRPC") => Version::Grpc,
            _ => Version::Http1,
        },
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
        certificates,
        cookie_secret: String::new(),
        identity: Default::default(),
        trust_stores: Vec::new(),
        revision: 1,
        load_balancer: "app/bench/1".into(),
        dns_name: "bench".into(),
        zone: "a".into(),
        attributes: Attributes {
            access_log: log.clone(),
            connection_log: log,
            ..Attributes::default()
        },
        listeners: vec![Listener {
            attributes: Default::default(),
            default_guard: None,
            protocol: match tls {
                Some(_) => Protocol::Https,
                None => Protocol::Http,
            },
            tls,
            id: "listener".into(),
            port,
            rules: Vec::new(),
            default_action: forward,
        }],
        target_groups: vec![group],
    };
    let logs = match folder {
        Some(folder) => Logs::new(Home {
            data_folder: folder.into(),
            eni: "eni-bench".into(),
        }),
        None => Logs::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let worker = Worker::with_logs(ip, 20_000, logs);
        worker.apply(&table);
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            worker.tick();
        }
    });
}
