//! The table: everything a load balancer node needs to serve, and nothing it has to decide.
//!
//! `compile` makes it from a snapshot, the node agent sends it, a `Worker` serves it. It names its listeners,
//! rules and target groups by ARN. It must stay readable by the next version of this program, because a node
//! that restarts begins with the table it had (new members therefore carry `#[serde(default)]`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use fogbank_types::IpCidr;
use fogbank_types::elb::{AuthenticateOidc, JwtValidation, Transform};
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
    /// Those that the listeners name.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    #[serde(default)]
    pub trust_stores: Vec<TrustStore>,
    /// 32 bytes in hexadecimal, the same on all nodes of the load balancer.
    #[serde(default)]
    pub cookie_secret: String,
    #[serde(default)]
    pub identity: Identity,
}

/// Who the node is, for what it writes down of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    pub account: String,
    pub region: String,
    /// The public address of an internet-facing load balancer's node, the private one of an internal one's.
    pub address: Option<IpAddr>,
    /// How long a log file is filled: five minutes on AWS ("Access logs for your Application Load Balancer").
    pub log_period_ms: u64,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            account: String::new(),
            region: String::new(),
            address: None,
            log_period_ms: 300_000,
        }
    }
}

/// A certificate with its key. The file that keeps a table is its owner's alone for this.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Its ARN.
    pub id: String,
    /// PEM, the leaf first.
    pub chain: String,
    /// PEM.
    pub private_key: String,
}

/// Never the key.
impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustStore {
    /// Its ARN.
    pub id: String,
    /// PEM.
    pub ca_bundle: String,
    /// PEM, one list each.
    pub revocation_lists: Vec<String>,
}

/// Load balancer attributes. Times are already divided by the region's speed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attributes {
    pub idle_timeout_ms: u64,
    pub client_keep_alive_ms: u64,
    /// Ten seconds on AWS ("Troubleshoot your Application Load Balancers", HTTP 504). TLS handshakes of both
    /// sides have as long.
    pub connect_timeout_ms: u64,
    pub xff_mode: XffMode,
    pub xff_client_port: bool,
    pub drop_invalid_header_fields: bool,
    pub preserve_host_header: bool,
    pub desync_mode: DesyncMode,
    /// `routing.http2.enabled`.
    pub http2: bool,
    /// `routing.http.x_amzn_tls_version_and_cipher_suite.enabled`.
    pub tls_headers: bool,
    pub access_log: Option<LogDestination>,
    pub connection_log: Option<LogDestination>,
    pub health_check_log: Option<LogDestination>,
    /// Of a proxy of Service Connect: what it does other than a load balancer.
    pub mesh: Option<Mesh>,
}

/// A proxy between tasks: heads go on as they came, what fails is tried elsewhere, and who fails is put out for a while.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-connect-concepts-deploy.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mesh {
    /// Bytes, and not HTTP.
    pub tcp: bool,
    /// For a request with all its tries; 0: for ever.
    pub request_timeout_ms: u64,
    /// Tries after the first, each with another target.
    pub retries: u32,
    #[serde(default)]
    pub outlier: Option<Outlier>,
}

/// When a target is put out, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlier {
    /// One after the other, within this time.
    pub failures: u32,
    pub within_ms: u64,
    /// The first time; each further time that much longer, up to the most.
    pub ejection_ms: u64,
    pub ejection_max_ms: u64,
}

/// Where log files go: `<data>/buckets/<bucket>/[<prefix>/]AWSLogs/...` until the region has buckets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogDestination {
    pub bucket: String,
    pub prefix: Option<String>,
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
            http2: true,
            tls_headers: false,
            access_log: None,
            connection_log: None,
            health_check_log: None,
            mesh: None,
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
    /// Of HTTPS.
    #[serde(default)]
    pub tls: Option<TlsListener>,
    /// Listener attributes that differ from the default, by AWS's keys (`routing.http.response...`).
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// In the order they are tried, the default rule left out.
    #[serde(default)]
    pub rules: Vec<Rule>,
    pub default_action: Action,
    #[serde(default)]
    pub default_guard: Option<Guard>,
}

/// How a listener ends TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsListener {
    /// `ELBSecurityPolicy-...`.
    pub policy: String,
    /// `Certificate::id`s, the default first.
    pub certificates: Vec<String>,
    #[serde(default)]
    pub mutual: MutualTls,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "mode")]
pub enum MutualTls {
    #[default]
    Off,
    Passthrough,
    Verify {
        /// A `TrustStore::id`.
        trust_store: String,
        ignore_expiry: bool,
        advertise_ca_names: bool,
    },
}

/// What has to be passed before a rule's action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Guard {
    AuthenticateOidc(AuthenticateOidc),
    JwtValidation(JwtValidation),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    #[default]
    Http,
    Https,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Its ARN.
    pub id: String,
    pub priority: u32,
    /// All must hold.
    pub conditions: Vec<Condition>,
    #[serde(default)]
    pub transforms: Vec<Transform>,
    #[serde(default)]
    pub guard: Option<Guard>,
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
    SourceIp { values: Vec<IpCidr> },
    HostHeaderRegex { values: Vec<String> },
    PathPatternRegex { values: Vec<String> },
    HttpHeaderRegex { name: String, values: Vec<String> },
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
    Forward {
        target_groups: Vec<WeightedGroup>,
        /// Group stickiness, if it is on.
        #[serde(default)]
        stickiness_s: Option<u64>,
    },
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
    /// Towards the targets.
    #[serde(default)]
    pub protocol: Protocol,
    #[serde(default)]
    pub version: Version,
    #[serde(default)]
    pub algorithm: Algorithm,
    /// With `Algorithm::WeightedRandom` only.
    #[serde(default)]
    pub anomaly_mitigation: bool,
    /// 0: off.
    #[serde(default)]
    pub slow_start_ms: u64,
    #[serde(default)]
    pub stickiness: Option<Stickiness>,
    /// False: only targets of the node's own zone are used.
    pub cross_zone: bool,
    pub deregistration_delay_ms: u64,
    /// `target_group_health.unhealthy_state_routing.minimum_healthy_targets.count`: below it traffic goes to all.
    #[serde(default = "one")]
    pub minimum_healthy_targets: u32,
    pub health_check: HealthCheck,
    pub targets: Vec<Target>,
}

/// `ProtocolVersion`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Version {
    #[default]
    Http1,
    Http2,
    Grpc,
}

/// `stickiness.*` of a target group. Durations are what the attribute says: cookies are the clients'.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Stickiness {
    LbCookie { duration_s: u64 },
    AppCookie { name: String, duration_s: u64 },
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
    #[serde(default)]
    pub protocol: Protocol,
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
    pub ip: IpAddr,
    pub port: u16,
    /// Since when it is registered, ms since the epoch, for slow start.
    #[serde(default)]
    pub registered_at_ms: i64,
    /// None: every zone (registered with AvailabilityZone `all`).
    pub zone: Option<String>,
    #[serde(default = "one")]
    pub weight: u32,
    /// No new requests; those under way go on until the target leaves the table.
    #[serde(default)]
    pub draining: bool,
}
