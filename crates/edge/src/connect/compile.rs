//! From a snapshot to the tables of proxies: pure. Used by the node agent.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use fogbank_types::connect::{self, Connected, Endpoint, Protocol};
use fogbank_types::ecs::Task;
use fogbank_types::status::TaskPhase;
use fogbank_types::{Scope, Snapshot};

use super::table::{Table, Way};
use crate::http::{self, Attributes, DesyncMode, Mesh, Outlier, Version};

/// AWS's defaults: five failures within 30 seconds, 30 to 300 seconds out, two further tries.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-connect-concepts-deploy.html>
const RETRIES: u32 = 2;
const FAILURES: u32 = 5;
const FAILURES_WITHIN_SECONDS: u64 = 30;
const EJECTION_SECONDS: u64 = 30;
const EJECTION_MAX_SECONDS: u64 = 300;
/// Not documented.
const CONNECT_TIMEOUT_SECONDS: u64 = 5;
/// However fast the region's clock goes, networks and programs need real time.
const LEAST_MS: u64 = 1_000;
/// For what may take for ever.
const EVER_MS: u64 = 30 * 24 * 3600 * 1000;

/// Who answers for the Cloud Map services of a snapshot. Made once for all the proxies of a host.
#[derive(Debug, Default)]
pub struct Answerers {
    revision: u64,
    speed: f64,
    by_service: HashMap<(Scope, String), Vec<Answerer>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Answerer {
    ip: IpAddr,
    port: u16,
    draining: bool,
}

impl Answerers {
    pub fn of(snapshot: &Snapshot, speed: f64) -> Self {
        let mut answerers = Self {
            revision: snapshot.revision,
            speed,
            by_service: HashMap::new(),
        };
        for instance in snapshot.instances.all() {
            let value = |name: &str| instance.attributes.get(name);
            let ip = value("AWS_INSTANCE_IPV4").and_then(|text| text.parse().ok());
            let port = value("AWS_INSTANCE_PORT").and_then(|text| text.parse().ok());
            let (Some(ip), Some(port)) = (ip, port) else {
                continue;
            };
            if instance.healthy != Some(false) {
                answerers.add(&instance.scope, &instance.service_id, (ip, port), false);
            }
        }
        // Who is called no more ends what it has begun.
        for task in snapshot.tasks.all().filter(|task| runs(snapshot, task)) {
            let Some(connected) = connect::of_task(snapshot, task) else {
                continue;
            };
            let Some(eni) = snapshot.enis.get(&task.scope, &task.eni_id) else {
                continue;
            };
            for endpoint in &connected.served {
                let at = (eni.private_ip.into(), endpoint.target_port());
                answerers.add(&task.scope, &endpoint.discovery_id, at, true);
            }
        }
        answerers.by_service.values_mut().for_each(|all| all.sort());
        answerers
    }

    /// The first word on an address counts.
    fn add(&mut self, scope: &Scope, service_id: &str, (ip, port): (IpAddr, u16), draining: bool) {
        let key = (scope.clone(), service_id.to_owned());
        let all = self.by_service.entry(key).or_default();
        if !all.iter().any(|known| (known.ip, known.port) == (ip, port)) {
            all.push(Answerer { ip, port, draining });
        }
    }

    /// What the proxy of a task serves.
    pub fn table(&self, scope: &Scope, connected: &Connected) -> Table {
        let addresses: HashMap<&str, Ipv4Addr> = connected.addresses().into_iter().collect();
        let known = connected.known.iter().filter_map(|endpoint| {
            let address = addresses.get(endpoint.dns_name.as_str())?;
            let key = (scope.clone(), endpoint.discovery_id.clone());
            let targets = self.by_service.get(&key).cloned().unwrap_or_default();
            Some(Way {
                name_address: Some(*address),
                table: self.way(endpoint, endpoint.port, targets),
            })
        });
        let served = connected.served.iter().filter_map(|endpoint| {
            let port = endpoint.ingress_port?;
            let own = Answerer {
                ip: Ipv4Addr::LOCALHOST.into(),
                port: endpoint.container_port,
                draining: false,
            };
            Some(Way {
                name_address: None,
                table: self.way(endpoint, port, vec![own]),
            })
        });
        Table {
            revision: self.revision,
            ways: known.chain(served).collect(),
        }
    }

    fn way(&self, endpoint: &Endpoint, port: u16, targets: Vec<Answerer>) -> http::Table {
        let group = http::TargetGroup {
            id: endpoint.discovery_name.clone(),
            protocol: http::Protocol::Http,
            version: match endpoint.protocol {
                Protocol::Tcp | Protocol::Http => Version::Http1,
                Protocol::Http2 => Version::Http2,
                Protocol::Grpc => Version::Grpc,
            },
            algorithm: http::Algorithm::RoundRobin,
            anomaly_mitigation: false,
            slow_start_ms: 0,
            stickiness: None,
            cross_zone: true,
            deregistration_delay_ms: 0,
            minimum_healthy_targets: 1,
            health_check: unchecked(),
            targets: targets.into_iter().map(target).collect(),
        };
        let action = http::Action::Forward {
            target_groups: vec![http::WeightedGroup {
                target_group: group.id.clone(),
                weight: 1,
            }],
            stickiness_s: None,
        };
        http::Table {
            revision: 0,
            load_balancer: endpoint.discovery_name.clone(),
            dns_name: endpoint.dns_name.clone(),
            zone: String::new(),
            attributes: self.attributes(endpoint),
            listeners: vec![http::Listener {
                id: endpoint.discovery_name.clone(),
                port,
                protocol: http::Protocol::Http,
                tls: None,
                attributes: Default::default(),
                rules: Vec::new(),
                default_action: action,
                default_guard: None,
            }],
            target_groups: vec![group],
            certificates: Vec::new(),
            trust_stores: Vec::new(),
            cookie_secret: String::new(),
            identity: http::Identity::default(),
        }
    }

    fn attributes(&self, endpoint: &Endpoint) -> Attributes {
        Attributes {
            idle_timeout_ms: match endpoint.idle_timeout_seconds {
                0 => EVER_MS,
                seconds => self.scaled_ms(seconds.into()),
            },
            client_keep_alive_ms: EVER_MS,
            connect_timeout_ms: self.scaled_ms(CONNECT_TIMEOUT_SECONDS),
            preserve_host_header: true,
            desync_mode: DesyncMode::Monitor,
            mesh: Some(Mesh {
                tcp: endpoint.protocol == Protocol::Tcp,
                request_timeout_ms: match endpoint.request_timeout_seconds {
                    0 => 0,
                    seconds => self.scaled_ms(seconds.into()),
                },
                retries: RETRIES,
                outlier: Some(Outlier {
                    failures: FAILURES,
                    within_ms: self.scaled_ms(FAILURES_WITHIN_SECONDS),
                    ejection_ms: self.scaled_ms(EJECTION_SECONDS),
                    ejection_max_ms: self.scaled_ms(EJECTION_MAX_SECONDS),
                }),
            }),
            ..Attributes::default()
        }
    }

    fn scaled_ms(&self, seconds: u64) -> u64 {
        ((seconds as f64 * 1000.0 / self.speed) as u64).max(LEAST_MS)
    }
}

impl Table {
    /// What the proxy of a task serves; None: it has none, or its deployment is history and so is what it knew.
    pub fn of(snapshot: &Snapshot, task: &Task, answerers: &Answerers) -> Option<Self> {
        Some(answerers.table(&task.scope, connect::of_task(snapshot, task)?))
    }
}

fn runs(snapshot: &Snapshot, task: &Task) -> bool {
    let status = snapshot.task_statuses.get(&task.scope, &task.id);
    task.stopped_at.is_none() && status.is_some_and(|status| status.phase == TaskPhase::Running)
}

fn target(answerer: Answerer) -> http::Target {
    http::Target {
        ip: answerer.ip,
        port: answerer.port,
        registered_at_ms: 0,
        zone: None,
        weight: 1,
        draining: answerer.draining,
    }
}

/// Only what targets do with requests counts.
fn unchecked() -> http::HealthCheck {
    http::HealthCheck {
        enabled: false,
        protocol: http::Protocol::Http,
        path: "/".to_owned(),
        port: None,
        interval_ms: EVER_MS,
        timeout_ms: EVER_MS,
        healthy_threshold: 1,
        unhealthy_threshold: 1,
        matcher: "200".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogbank_types::Timestamp;
    use fogbank_types::discovery::Instance;

    fn endpoint(name: &str, protocol: Protocol, ingress_port: Option<u16>) -> Endpoint {
        Endpoint {
            dns_name: name.to_owned(),
            port: 80,
            discovery_name: name.to_owned(),
            discovery_id: format!("srv-{name}"),
            container_port: 8080,
            ingress_port,
            protocol,
            idle_timeout_seconds: 300,
            request_timeout_seconds: 15,
        }
    }

    fn instance(id: &str, ip: &str, healthy: Option<bool>) -> Instance {
        let attributes = [("AWS_INSTANCE_IPV4", ip), ("AWS_INSTANCE_PORT", "8080")];
        Instance {
            scope: Scope::new("000000000000", "us-east-1"),
            service_id: "srv-web".to_owned(),
            id: id.to_owned(),
            attributes: attributes
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            creator_request_id: None,
            health_check_id: None,
            healthy,
            created_at: Timestamp(0),
        }
    }

    fn answerers(rows: &[Instance]) -> Answerers {
        let mut snapshot = Snapshot::default();
        for row in rows {
            let (key, value) = (
                fogbank_types::Row::key(row),
                serde_json::to_vec(row).unwrap(),
            );
            snapshot.apply(&key, Some(&value), 7).unwrap();
        }
        Answerers::of(&snapshot, 1.0)
    }

    fn connected() -> Connected {
        let web = endpoint("web", Protocol::Http, Some(15_000));
        Connected {
            namespace_id: "ns-1".to_owned(),
            namespace_name: "shop".to_owned(),
            served: vec![web.clone()],
            known: vec![web, endpoint("db", Protocol::Tcp, None)],
        }
    }

    #[test]
    fn who_is_well_answers() {
        let rows = [
            instance("b", "10.0.0.2", Some(true)),
            instance("c", "10.0.0.3", Some(false)),
            instance("a", "10.0.0.1", None),
        ];
        let scope = Scope::new("000000000000", "us-east-1");
        let table = answerers(&rows).table(&scope, &connected());
        let targets = &table.ways[0].table.target_groups[0].targets;
        let addresses: Vec<String> = targets.iter().map(|t| t.ip.to_string()).collect();
        assert_eq!(addresses, ["10.0.0.1", "10.0.0.2"]);
        assert!(table.ways[1].table.target_groups[0].targets.is_empty());
    }

    #[test]
    fn a_way_for_each_name_and_one_inwards() {
        let scope = Scope::new("000000000000", "us-east-1");
        let table = answerers(&[]).table(&scope, &connected());
        let places: Vec<_> = table.ways.iter().map(Way::place).collect();
        let name = |last| Some(Ipv4Addr::new(127, 255, 0, last));
        assert_eq!(places, [(name(1), 80), (name(2), 80), (None, 15_000)]);
        let mesh = |way: &Way| way.table.attributes.mesh.unwrap();
        assert_eq!(
            (
                mesh(&table.ways[0]).tcp,
                mesh(&table.ways[0]).request_timeout_ms
            ),
            (false, 15_000)
        );
        assert!(mesh(&table.ways[1]).tcp);
        let inward = &table.ways[2].table.target_groups[0].targets;
        assert_eq!(
            (inward[0].ip.to_string().as_str(), inward[0].port),
            ("127.0.0.1", 8080)
        );
    }
}
