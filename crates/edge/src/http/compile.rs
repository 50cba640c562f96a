//! Rows to a node's table. Pure; called by `fogbank-node` for each load balancer ENI it carries.
//!
//! An HTTPS listener whose default certificate is not there is left out: a client gets no connection.

use std::collections::{BTreeMap, BTreeSet};

use fogbank_types::{EniId, Scope, Snapshot, ec2, elb};

use super::table::{
    Action, Algorithm, Attributes, Certificate, Condition, DesyncMode, FixedResponse, Guard,
    HealthCheck, Identity, Listener, LogDestination, MutualTls, Protocol, QueryPattern, Redirect,
    Rule, Stickiness, Table, Target, TargetGroup, TlsListener, TrustStore, Version, WeightedGroup,
    XffMode,
};

/// `speed` divides AWS's durations, but hosts and networks don't get faster with it: a timeout is not divided
/// below this.
const TIMEOUT_MIN_MS: u64 = 1_000;
const INTERVAL_MIN_MS: u64 = 50;
/// "The load balancer failed to establish a connection to the target before the connection timeout expired
/// (10 seconds)": troubleshooting page, HTTP 504.
const CONNECT_TIMEOUT_SECONDS: u64 = 10;
/// "Elastic Load Balancing publishes a log file for each load balancer node every 5 minutes."
const LOG_PERIOD_SECONDS: u64 = 300;

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
        .filter(|row| row.load_balancer_arn == *arn)
        .filter_map(|row| listener(snapshot, row))
        .collect();
    listeners.sort_by_key(|listener| listener.port);
    let (certificates, trust_stores) = credentials(snapshot, &eni.scope, &listeners);
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
        certificates,
        trust_stores,
        cookie_secret: load_balancer.cookie_secret.clone(),
        identity: identity(snapshot, eni, load_balancer, time),
    })
}

fn identity(
    snapshot: &Snapshot,
    eni: &ec2::Eni,
    load_balancer: &elb::LoadBalancer,
    time: Time,
) -> Identity {
    let address = match load_balancer.internal {
        true => None,
        false => snapshot.public_ip(eni, eni.private_ip),
    };
    Identity {
        account: eni.scope.account.clone(),
        region: eni.scope.region.clone(),
        address: Some(address.unwrap_or(eni.private_ip).into()),
        log_period_ms: time.divided_ms(LOG_PERIOD_SECONDS, TIMEOUT_MIN_MS),
    }
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
        mesh: None,
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
        http2: attribute(rows, "routing.http2.enabled", true),
        tls_headers: attribute(
            rows,
            "routing.http.x_amzn_tls_version_and_cipher_suite.enabled",
            false,
        ),
        access_log: log_destination(rows, "access_logs"),
        connection_log: log_destination(rows, "connection_logs"),
        health_check_log: log_destination(rows, "health_check_logs"),
    }
}

fn log_destination(rows: &BTreeMap<String, String>, kind: &str) -> Option<LogDestination> {
    let text = |part: &str| {
        rows.get(&format!("{kind}.s3.{part}"))
            .filter(|text| !text.is_empty())
            .cloned()
    };
    let enabled = attribute(rows, &format!("{kind}.s3.enabled"), false);
    Some(LogDestination {
        bucket: text("bucket").filter(|_| enabled)?,
        prefix: text("prefix"),
    })
}

/// The certificates and trust stores that listeners name.
fn credentials(
    snapshot: &Snapshot,
    scope: &Scope,
    listeners: &[Listener],
) -> (Vec<Certificate>, Vec<TrustStore>) {
    let tls = || {
        listeners
            .iter()
            .filter_map(|listener| listener.tls.as_ref())
    };
    let arns: BTreeSet<&String> = tls().flat_map(|tls| &tls.certificates).collect();
    let certificates = arns
        .into_iter()
        .filter_map(|arn| {
            let material = snapshot.certificates.get(scope, arn)?.material.as_ref()?;
            let mut chain = material.certificate.clone();
            if let Some(rest) = &material.chain {
                chain.push('\n');
                chain.push_str(rest);
            }
            Some(Certificate {
                id: arn.clone(),
                chain,
                private_key: material.private_key.clone(),
            })
        })
        .collect();
    let arns: BTreeSet<&String> = tls()
        .filter_map(|tls| match &tls.mutual {
            MutualTls::Verify { trust_store, .. } => Some(trust_store),
            MutualTls::Off | MutualTls::Passthrough => None,
        })
        .collect();
    let trust_stores = arns
        .into_iter()
        .filter_map(|arn| snapshot.trust_stores.get(scope, arn))
        .map(|row| TrustStore {
            id: row.arn.clone(),
            ca_bundle: row.ca_bundle.clone(),
            revocation_lists: row.revocations.iter().map(|r| r.list.clone()).collect(),
        })
        .collect();
    (certificates, trust_stores)
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
                transforms: rule.transforms.clone(),
                guard: guard(&rule.actions),
                action: terminal(&rule.actions)?,
            })
        })
        .collect();
    rules.sort_by_key(|rule| rule.priority);
    Some(Listener {
        id: row.arn.clone(),
        port: row.port,
        protocol: protocol(&row.protocol),
        tls: tls(snapshot, row)?,
        attributes: row.attributes.clone(),
        rules,
        default_action: terminal(&row.default_actions)?,
        default_guard: guard(&row.default_actions),
    })
}

fn protocol(name: &str) -> Protocol {
    if name == "HTTPS" {
        Protocol::Https
    } else {
        Protocol::Http
    }
}

/// None: the listener can't serve. `Some(None)`: it does so without TLS.
fn tls(snapshot: &Snapshot, row: &elb::Listener) -> Option<Option<TlsListener>> {
    if protocol(&row.protocol) == Protocol::Http {
        return Some(None);
    }
    let default = snapshot
        .certificates
        .get(&row.scope, row.certificates.first()?)?;
    default.material.as_ref()?;
    let mutual = match &row.mutual_authentication {
        None => MutualTls::Off,
        Some(mutual) => match (mutual.mode, &mutual.trust_store_arn) {
            (elb::MutualAuthenticationMode::Off, _) => MutualTls::Off,
            (elb::MutualAuthenticationMode::Passthrough, _) => MutualTls::Passthrough,
            (elb::MutualAuthenticationMode::Verify, store) => MutualTls::Verify {
                trust_store: store.clone()?,
                ignore_expiry: mutual.ignore_client_certificate_expiry,
                advertise_ca_names: mutual.advertise_ca_names,
            },
        },
    };
    Some(Some(TlsListener {
        // "If you create the listener without a policy": CreateListener (fact LST-1).
        policy: row
            .ssl_policy
            .clone()
            .unwrap_or_else(|| "ELBSecurityPolicy-2016-08".to_owned()),
        certificates: row.certificates.clone(),
        mutual,
    }))
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
        elb::Condition::HostHeaderRegex(values) => Condition::HostHeaderRegex { values },
        elb::Condition::PathPatternRegex(values) => Condition::PathPatternRegex { values },
        elb::Condition::HttpHeaderRegex { name, values } => {
            Condition::HttpHeaderRegex { name, values }
        }
    }
}

/// What comes before the action that ends a rule.
fn guard(actions: &[elb::Action]) -> Option<Guard> {
    actions.iter().find_map(|action| match &action.kind {
        elb::ActionKind::AuthenticateOidc(oidc) => Some(Guard::AuthenticateOidc(oidc.clone())),
        elb::ActionKind::JwtValidation(jwt) => Some(Guard::JwtValidation(jwt.clone())),
        _ => None,
    })
}

/// The action that ends a rule: the last in order (fact LST-2).
fn terminal(actions: &[elb::Action]) -> Option<Action> {
    let last = actions
        .iter()
        .max_by_key(|action| action.order.unwrap_or(0))?;
    Some(match last.kind.clone() {
        elb::ActionKind::Forward {
            groups,
            stickiness_seconds,
            stickiness_enabled,
        } => {
            let weighted = |group: elb::WeightedGroup| WeightedGroup {
                target_group: group.target_group_arn,
                weight: group.weight,
            };
            Action::Forward {
                target_groups: groups.into_iter().map(weighted).collect(),
                stickiness_s: stickiness_seconds
                    .filter(|_| stickiness_enabled)
                    .map(u64::from),
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
        elb::ActionKind::AuthenticateOidc(_) | elb::ActionKind::JwtValidation(_) => return None,
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
            Action::Forward { target_groups, .. } => &target_groups[..],
            _ => &[],
        })
        .map(|group| group.target_group.as_str())
}

fn target_group(
    row: &elb::TargetGroup,
    load_balancer: &elb::LoadBalancer,
    time: Time,
) -> TargetGroup {
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
        .filter(is_used)
        .map(|target| Target {
            ip: target.ip,
            port: target.port,
            registered_at_ms: target.registered_at.0,
            zone: target.zone.clone(),
            weight: 1,
            draining: target.draining_since.is_some(),
        })
        .collect();
    let registered = targets.iter().filter(|target| !target.draining).count();
    TargetGroup {
        id: row.arn.clone(),
        protocol: protocol(&row.protocol),
        version: match row.protocol_version.as_str() {
            "HTTP2" => Version::Http2,
            "GRPC" => Version::Grpc,
            _ => Version::Http1,
        },
        algorithm: match row
            .attributes
            .get("load_balancing.algorithm.type")
            .map(String::as_str)
        {
            Some("least_outstanding_requests") => Algorithm::LeastOutstandingRequests,
            Some("weighted_random") => Algorithm::WeightedRandom,
            _ => Algorithm::RoundRobin,
        },
        anomaly_mitigation: row
            .attributes
            .get("load_balancing.algorithm.anomaly_mitigation")
            .is_some_and(|on| on == "on"),
        slow_start_ms: time.divided_ms(
            attribute(&row.attributes, "slow_start.duration_seconds", 0),
            0,
        ),
        stickiness: stickiness(&row.attributes),
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
            protocol: protocol(&row.health_check.protocol),
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

fn stickiness(attributes: &BTreeMap<String, String>) -> Option<Stickiness> {
    const DAY_S: u64 = 86_400;
    if !attribute(attributes, "stickiness.enabled", false) {
        return None;
    }
    let duration = |kind: &str| {
        attribute(
            attributes,
            &format!("stickiness.{kind}.duration_seconds"),
            DAY_S,
        )
    };
    Some(
        match attributes.get("stickiness.type").map(String::as_str) {
            Some("app_cookie") => Stickiness::AppCookie {
                name: attributes.get("stickiness.app_cookie.cookie_name")?.clone(),
                duration_s: duration("app_cookie"),
            },
            _ => Stickiness::LbCookie {
                duration_s: duration("lb_cookie"),
            },
        },
    )
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
