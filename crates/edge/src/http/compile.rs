//! Rows to a node's table. Pure; called by `fogbank-node` for each load balancer ENI it carries.
//!
//! What can't be served yet (HTTPS listeners, target groups other than HTTP/1.1) is left out: a client gets
//! no connection or a 503, never a wrong answer.

use std::collections::{BTreeMap, BTreeSet};

use fogbank_types::{EniId, Snapshot, ec2, elb};

use super::table::{
    Action, Algorithm, Attributes, Condition, DesyncMode, FixedResponse, HealthCheck, Listener,
    Protocol, QueryPattern, Redirect, Rule, Table, Target, TargetGroup, WeightedGroup, XffMode,
};

/// `speed` divides AWS's durations, but hosts and networks don't get faster with it: a timeout is not divided
/// below this.
const TIMEOUT_MIN_MS: u64 = 1_000;
const INTERVAL_MIN_MS: u64 = 50;
/// "The load balancer failed to establish a connection to the target before the connection timeout expired
/// (10 seconds)": troubleshooting page, HTTP 504.
const CONNECT_TIMEOUT_SECONDS: u64 = 10;

/// The table of one load balancer node; None if the interface is no load balancer's.
pub fn compile(snapshot: &Snapshot, eni_id: &EniId, speed: f64) -> Option<Table> {
    let eni = snapshot.enis.all().find(|eni| eni.eni_id == *eni_id)?;
    let ec2::EniOwner::LoadBalancer(arn) = &eni.owner else {
        return None;
    };
    let load_balancer = snapshot.load_balancers.get(&eni.scope, arn)?;
    let time = Time {
        speed: if speed.is_finite() && speed > 0.0 {
            speed
        } else {
            1.0
        },
    };
    let mut listeners: Vec<_> = snapshot
        .listeners
        .in_scope(&eni.scope)
        .filter(|row| row.load_balancer_arn == *arn && row.protocol == "HTTP")
        .filter_map(|row| listener(snapshot, row))
        .collect();
    listeners.sort_by_key(|listener| listener.port);
    let used: BTreeSet<&str> = listeners.iter().flat_map(groups_of).collect();
    let target_groups = used
        .into_iter()
        .filter_map(|arn| snapshot.target_groups.get(&eni.scope, arn))
        .map(|row| target_group(row, load_balancer, time))
        .collect();
    Some(Table {
        revision: snapshot.revision,
        load_balancer: arn
            .split_once("loadbalancer/")
            .map_or(arn.as_str(), |(_, tail)| tail)
            .to_owned(),
        dns_name: load_balancer.dns_name.clone(),
        zone: eni.zone.clone(),
        attributes: attributes(&load_balancer.attributes, time),
        target_groups,
        listeners,
    })
}

#[derive(Clone, Copy)]
struct Time {
    speed: f64,
}

impl Time {
    /// Never below the least, unless AWS's own value is.
    fn divided_ms(self, seconds: u64, least_ms: u64) -> u64 {
        let whole_ms = seconds.saturating_mul(1000);
        ((whole_ms as f64 / self.speed) as u64).max(least_ms.min(whole_ms))
    }

    fn timeout_ms(self, seconds: u64) -> u64 {
        self.divided_ms(seconds, TIMEOUT_MIN_MS)
    }
}

/// An attribute, or its default where it is not set or can't be read.
fn attribute<T: std::str::FromStr>(
    attributes: &BTreeMap<String, String>,
    key: &str,
    default: T,
) -> T {
    attributes
        .get(key)
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

fn attributes(rows: &BTreeMap<String, String>, time: Time) -> Attributes {
    Attributes {
        idle_timeout_ms: time.timeout_ms(attribute(rows, "idle_timeout.timeout_seconds", 60)),
        client_keep_alive_ms: time.timeout_ms(attribute(rows, "client_keep_alive.seconds", 3600)),
        connect_timeout_ms: time.timeout_ms(CONNECT_TIMEOUT_SECONDS),
        xff_mode: match rows
            .get("routing.http.xff_header_processing.mode")
            .map(String::as_str)
        {
            Some("preserve") => XffMode::Preserve,
            Some("remove") => XffMode::Remove,
            _ => XffMode::Append,
        },
        xff_client_port: attribute(rows, "routing.http.xff_client_port.enabled", false),
        drop_invalid_header_fields: attribute(
            rows,
            "routing.http.drop_invalid_header_fields.enabled",
            false,
        ),
        preserve_host_header: attribute(rows, "routing.http.preserve_host_header.enabled", false),
        desync_mode: match rows
            .get("routing.http.desync_mitigation_mode")
            .map(String::as_str)
        {
            Some("monitor") => DesyncMode::Monitor,
            Some("strictest") => DesyncMode::Strictest,
            _ => DesyncMode::Defensive,
        },
    }
}

/// None: a listener without an action can't serve.
fn listener(snapshot: &Snapshot, row: &elb::Listener) -> Option<Listener> {
    let mut rules: Vec<_> = snapshot
        .listener_rules
        .in_scope(&row.scope)
        .filter(|rule| rule.listener_arn == row.arn)
        .filter_map(|rule| {
            Some(Rule {
                id: rule.arn.clone(),
                priority: rule.priority,
                conditions: rule.conditions.iter().map(condition).collect(),
                action: terminal(&rule.actions)?,
            })
        })
        .collect();
    rules.sort_by_key(|rule| rule.priority);
    Some(Listener {
        id: row.arn.clone(),
        port: row.port,
        protocol: Protocol::Http,
        rules,
        default_action: terminal(&row.default_actions)?,
    })
}

fn condition(row: &elb::Condition) -> Condition {
    match row.clone() {
        elb::Condition::HostHeader(values) => Condition::HostHeader { values },
        elb::Condition::PathPattern(values) => Condition::PathPattern { values },
        elb::Condition::HttpHeader { name, values } => Condition::HttpHeader { name, values },
        elb::Condition::HttpRequestMethod(values) => Condition::HttpRequestMethod { values },
        elb::Condition::QueryString(pairs) => Condition::QueryString {
            values: pairs
                .into_iter()
                .map(|(key, value)| QueryPattern { key, value })
                .collect(),
        },
        elb::Condition::SourceIp(values) => Condition::SourceIp { values },
    }
}

/// The action that ends a rule: the last in order (fact LST-2).
fn terminal(actions: &[elb::Action]) -> Option<Action> {
    let last = actions
        .iter()
        .max_by_key(|action| action.order.unwrap_or(0))?;
    Some(match last.kind.clone() {
        elb::ActionKind::Forward { groups, .. } => {
            let weighted = |group: elb::WeightedGroup| WeightedGroup {
                target_group: group.target_group_arn,
                weight: group.weight,
            };
            Action::Forward {
                target_groups: groups.into_iter().map(weighted).collect(),
            }
        }
        elb::ActionKind::Redirect {
            status,
            protocol,
            host,
            port,
            path,
            query,
        } => {
            let same = Redirect::unchanged(status);
            Action::Redirect(Redirect {
                status_code: status,
                protocol: protocol.unwrap_or(same.protocol),
                host: host.unwrap_or(same.host),
                port: port.unwrap_or(same.port),
                path: path.unwrap_or(same.path),
                query: query.unwrap_or(same.query),
            })
        }
        elb::ActionKind::FixedResponse {
            status,
            content_type,
            body,
        } => Action::FixedResponse(FixedResponse {
            status_code: status,
            content_type,
            message_body: body.unwrap_or_default(),
        }),
    })
}

fn groups_of(listener: &Listener) -> impl Iterator<Item = &str> {
    let actions = listener
        .rules
        .iter()
        .map(|rule| &rule.action)
        .chain([&listener.default_action]);
    actions
        .flat_map(|action| match action {
            Action::Forward { target_groups } => &target_groups[..],
            _ => &[],
        })
        .map(|group| group.target_group.as_str())
}

fn target_group(
    row: &elb::TargetGroup,
    load_balancer: &elb::LoadBalancer,
    time: Time,
) -> TargetGroup {
    let is_served = row.protocol == "HTTP" && row.protocol_version == "HTTP1";
    // Targets in a zone that the load balancer is not in are unused (fact TGT-7).
    let is_used = |target: &&elb::Target| {
        let zones = &load_balancer.zones;
        target
            .zone
            .as_ref()
            .is_none_or(|zone| zones.iter().any(|enabled| enabled.zone == *zone))
    };
    let targets: Vec<_> = row
        .targets
        .iter()
        .filter(|_| is_served)
        .filter(is_used)
        .map(|target| Target {
            ip: target.ip,
            port: target.port,
            zone: target.zone.clone(),
            weight: 1,
            draining: target.draining_since.is_some(),
        })
        .collect();
    let registered = targets.iter().filter(|target| !target.draining).count();
    TargetGroup {
        id: row.arn.clone(),
        algorithm: match row
            .attributes
            .get("load_balancing.algorithm.type")
            .map(String::as_str)
        {
            Some("least_outstanding_requests") => Algorithm::LeastOutstandingRequests,
            Some("weighted_random") => Algorithm::WeightedRandom,
            _ => Algorithm::RoundRobin,
        },
        // `use_load_balancer_configuration` means on: for an ALB it can't be off (fact ALB-6).
        cross_zone: row
            .attributes
            .get("load_balancing.cross_zone.enabled")
            .is_none_or(|on| on != "false"),
        deregistration_delay_ms: time.divided_ms(
            attribute(&row.attributes, "deregistration_delay.timeout_seconds", 300),
            0,
        ),
        minimum_healthy_targets: minimum_healthy(&row.attributes, registered),
        health_check: HealthCheck {
            enabled: row.health_check.enabled,
            path: row.health_check.path.clone(),
            port: row.health_check.port,
            interval_ms: time.divided_ms(row.health_check.interval_seconds.into(), INTERVAL_MIN_MS),
            timeout_ms: time.timeout_ms(row.health_check.timeout_seconds.into()),
            healthy_threshold: row.health_check.healthy_threshold,
            unhealthy_threshold: row.health_check.unhealthy_threshold,
            matcher: row.health_check.matcher.clone(),
        },
        targets,
    }
}

/// Count and percentage both have to be met ("Target group health", ELB guide); off: not asked for.
fn minimum_healthy(attributes: &BTreeMap<String, String>, registered: usize) -> u32 {
    const PREFIX: &str = "target_group_health.unhealthy_state_routing.minimum_healthy_targets";
    let count: u32 = attribute(attributes, &format!("{PREFIX}.count"), 1);
    let percentage: u32 = attribute(attributes, &format!("{PREFIX}.percentage"), 0);
    let registered = u32::try_from(registered).unwrap_or(u32::MAX);
    count.max(registered.saturating_mul(percentage.min(100)).div_ceil(100))
}

#[cfg(test)]
mod tests;
