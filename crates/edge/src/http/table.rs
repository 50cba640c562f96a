//! The table: everything a load balancer node needs to serve, and nothing it has to decide.
//!
//! `compile` makes it from a snapshot, the node agent sends it, a `Worker` serves it. It names its listeners,
//! rules and target groups by ARN. It must stay readable by the next version of this program, because a node
//! that restarts begins with the table it had (new members therefore carry `#[serde(default)]`).

use std::net::Ipv4Addr;

use fogbank_types::Ipv4Cidr;
use serde::{Deserialize, Serialize};

/// What one load balancer node serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The revision of the snapshot this was compiled from.
    pub revision: u64,
    /// `app/<name>/<id>`.
    pub load_balancer: String,
    pub dns_name: String,
    /// The zone of this node.
    pub zone: String,
    #[serde(default)]
    pub attributes: Attributes,
    pub listeners: Vec<Listener>,
    pub target_groups: Vec<TargetGroup>,
}

/// Load balancer attributes. Times are already divided by the region's speed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attributes {
    pub idle_timeout_ms: u64,
    pub client_keep_alive_ms: u64,
    /// Ten seconds on AWS ("Troubleshoot your Application Load Balancers", HTTP 504).
    pub connect_timeout_ms: u64,
    pub xff_mode: XffMode,
    pub xff_client_port: bool,
    pub drop_invalid_header_fields: bool,
    pub preserve_host_header: bool,
    /// Kept for the access log and for later; the node is as strict as `Defensive` in every mode.
    pub desync_mode: DesyncMode,
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            idle_timeout_ms: 60_000,
            client_keep_alive_ms: 3_600_000,
            connect_timeout_ms: 10_000,
            xff_mode: XffMode::Append,
            xff_client_port: false,
            drop_invalid_header_fields: false,
            preserve_host_header: false,
            desync_mode: DesyncMode::Defensive,
        }
    }
}

/// `routing.http.xff_header_processing.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum XffMode {
    #[default]
    Append,
    Preserve,
    Remove,
}

/// `routing.http.desync_mitigation_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DesyncMode {
    Monitor,
    #[default]
    Defensive,
    Strictest,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    /// Its ARN.
    pub id: String,
    pub port: u16,
    pub protocol: Protocol,
    /// In the order they are tried, the default rule left out.
    #[serde(default)]
    pub rules: Vec<Rule>,
    pub default_action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    Http,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Its ARN.
    pub id: String,
    pub priority: u32,
    /// All must hold.
    pub conditions: Vec<Condition>,
    pub action: Action,
}

/// Any of its values must match. Wildcards are `*` (any run) and `?` (any one character).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "field")]
pub enum Condition {
    HostHeader { values: Vec<String> },
    PathPattern { values: Vec<String> },
    HttpHeader { name: String, values: Vec<String> },
    HttpRequestMethod { values: Vec<String> },
    QueryString { values: Vec<QueryPattern> },
    SourceIp { values: Vec<Ipv4Cidr> },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryPattern {
    /// None: any key.
    pub key: Option<String>,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Action {
    Forward { target_groups: Vec<WeightedGroup> },
    Redirect(Redirect),
    FixedResponse(FixedResponse),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightedGroup {
    /// A `TargetGroup::id`.
    pub target_group: String,
    pub weight: u32,
}

/// Each part may hold `#{protocol}`, `#{host}`, `#{port}`, `#{path}`, `#{query}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// 301 or 302.
    pub status_code: u16,
    pub protocol: String,
    pub host: String,
    pub port: String,
    pub path: String,
    pub query: String,
}

impl Redirect {
    /// Every part as it came.
    pub fn unchanged(status_code: u16) -> Self {
        Self {
            status_code,
            protocol: "#{protocol}".into(),
            host: "#{host}".into(),
            port: "#{port}".into(),
            path: "/#{path}".into(),
            query: "#{query}".into(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedResponse {
    pub status_code: u16,
    pub content_type: Option<String>,
    pub message_body: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetGroup {
    /// Its ARN.
    pub id: String,
    #[serde(default)]
    pub algorithm: Algorithm,
    /// False: only targets of the node's own zone are used.
    pub cross_zone: bool,
    pub deregistration_delay_ms: u64,
    /// `target_group_health.unhealthy_state_routing.minimum_healthy_targets.count`: below it traffic goes to all.
    #[serde(default = "one")]
    pub minimum_healthy_targets: u32,
    pub health_check: HealthCheck,
    pub targets: Vec<Target>,
}

fn one() -> u32 {
    1
}

/// `load_balancing.algorithm.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    #[default]
    RoundRobin,
    LeastOutstandingRequests,
    WeightedRandom,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub enabled: bool,
    pub path: String,
    /// None: the port of the target (`traffic-port`).
    pub port: Option<u16>,
    pub interval_ms: u64,
    pub timeout_ms: u64,
    pub healthy_threshold: u32,
    pub unhealthy_threshold: u32,
    /// `200`, `200-299`, `200,202`.
    pub matcher: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub ip: Ipv4Addr,
    pub port: u16,
    /// None: every zone (registered with AvailabilityZone `all`).
    pub zone: Option<String>,
    #[serde(default = "one")]
    pub weight: u32,
    /// No new requests; those under way go on until the target leaves the table.
    #[serde(default)]
    pub draining: bool,
}
