//! Rows of Elastic Load Balancing v2 (Application Load Balancers).

use crate::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadBalancer {
    pub scope: Scope,
    pub arn: String,
    pub name: String,
    /// 16 hexadecimal digits, the ARN's tail.
    pub tail: String,
    /// Lower case, without a trailing dot.
    pub dns_name: String,
    pub canonical_hosted_zone_id: String,
    pub internal: bool,
    pub vpc_id: VpcId,
    /// One per enabled zone.
    pub zones: Vec<LoadBalancerZone>,
    pub groups: Vec<SecurityGroupId>,
    /// `ipv4` or `dualstack`.
    pub ip_address_type: String,
    pub state: LoadBalancerState,
    /// Only those that differ from the default.
    pub attributes: BTreeMap<String, String>,
    /// 32 random bytes in hexadecimal: its nodes seal stickiness cookies and login sessions with it.
    #[serde(default)]
    pub cookie_secret: String,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadBalancerZone {
    pub zone: String,
    pub subnet_id: SubnetId,
    /// The node's interface; its addresses stand in the interface's row.
    pub eni_id: EniId,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadBalancerState {
    Provisioning,
    Active,
    ActiveImpaired,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetGroup {
    pub scope: Scope,
    pub arn: String,
    pub name: String,
    pub tail: String,
    /// `HTTP` or `HTTPS`.
    pub protocol: String,
    /// `HTTP1`, `HTTP2` or `GRPC`.
    pub protocol_version: String,
    pub port: u16,
    pub vpc_id: VpcId,
    /// `ip` (Fargate) or `instance`.
    pub target_type: String,
    /// `ipv4` or `ipv6`.
    #[serde(default = "ipv4")]
    pub ip_address_type: String,
    pub health_check: HealthCheck,
    /// Only those that differ from the default.
    pub attributes: BTreeMap<String, String>,
    pub targets: Vec<Target>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

fn ipv4() -> String {
    "ipv4".to_owned()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub enabled: bool,
    pub protocol: String,
    /// `None` = `traffic-port`.
    pub port: Option<u16>,
    pub path: String,
    pub interval_seconds: u32,
    pub timeout_seconds: u32,
    pub healthy_threshold: u32,
    pub unhealthy_threshold: u32,
    /// `200`, `200-299`, `200,202`.
    pub matcher: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    pub ip: IpAddr,
    pub port: u16,
    /// Zone of the subnet that holds the address; `None` = `all` (outside the VPC).
    pub zone: Option<String>,
    pub registered_at: Timestamp,
    /// Since when it is being deregistered; gone when the delay has passed.
    pub draining_since: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    pub scope: Scope,
    pub arn: String,
    pub load_balancer_arn: String,
    pub port: u16,
    /// `HTTP` or `HTTPS`.
    pub protocol: String,
    /// `ELBSecurityPolicy-...`; HTTPS only.
    #[serde(default)]
    pub ssl_policy: Option<String>,
    /// ARNs, the default certificate first; HTTPS only.
    #[serde(default)]
    pub certificates: Vec<String>,
    #[serde(default)]
    pub mutual_authentication: Option<MutualAuthentication>,
    pub default_actions: Vec<Action>,
    pub attributes: BTreeMap<String, String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

/// The default rule is not a row; it stands in its listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenerRule {
    pub scope: Scope,
    pub arn: String,
    pub listener_arn: String,
    /// 1 to 50000, unique in its listener.
    pub priority: u32,
    pub conditions: Vec<Condition>,
    pub actions: Vec<Action>,
    /// At most one of each kind (fact LST-6).
    #[serde(default)]
    pub transforms: Vec<Transform>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    pub order: Option<i32>,
    pub kind: ActionKind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    Forward {
        /// 1 to 5, weights 0 to 999.
        groups: Vec<WeightedGroup>,
        /// Duration of group stickiness as it was given.
        stickiness_seconds: Option<u32>,
        #[serde(default)]
        stickiness_enabled: bool,
    },
    /// `None` keeps the original part.
    Redirect {
        /// 301 or 302.
        status: u16,
        protocol: Option<String>,
        host: Option<String>,
        port: Option<String>,
        path: Option<String>,
        query: Option<String>,
    },
    FixedResponse {
        status: u16,
        content_type: Option<String>,
        body: Option<String>,
    },
    AuthenticateOidc(AuthenticateOidc),
    JwtValidation(JwtValidation),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightedGroup {
    pub target_group_arn: String,
    pub weight: u32,
}

/// Values inside one condition OR, conditions AND (fact LST-3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    HostHeader(Vec<String>),
    PathPattern(Vec<String>),
    HttpHeader {
        name: String,
        values: Vec<String>,
    },
    HttpRequestMethod(Vec<String>),
    /// Key (if any) and value.
    QueryString(Vec<(Option<String>, String)>),
    SourceIp(Vec<IpCidr>),
    /// Regular expressions (`RegexValues`); a condition has these or plain values.
    HostHeaderRegex(Vec<String>),
    PathPatternRegex(Vec<String>),
    HttpHeaderRegex {
        name: String,
        values: Vec<String>,
    },
}

/// Mutual TLS of a listener (fact LST-13).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MutualAuthentication {
    pub mode: MutualAuthenticationMode,
    /// Of mode `verify`.
    pub trust_store_arn: Option<String>,
    pub ignore_client_certificate_expiry: bool,
    /// `AdvertiseTrustStoreCaNames`.
    pub advertise_ca_names: bool,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MutualAuthenticationMode {
    Off,
    Passthrough,
    Verify,
}

/// Changes the forwarded request, never the match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Transform {
    HostHeaderRewrite { rewrites: Vec<Rewrite> },
    UrlRewrite { rewrites: Vec<Rewrite> },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewrite {
    pub regex: String,
    /// `$1` to `$9` are its groups.
    pub replace: String,
}

/// `authenticate-oidc`. Defaults are filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuthenticateOidc {
    pub issuer: String,
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    pub user_info_endpoint: String,
    pub client_id: String,
    pub client_secret: String,
    pub session_cookie_name: String,
    pub scope: String,
    pub session_timeout_s: u64,
    pub extra_params: BTreeMap<String, String>,
    pub on_unauthenticated: OnUnauthenticated,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnauthenticated {
    Deny,
    Allow,
    Authenticate,
}

/// `jwt-validation`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JwtValidation {
    pub jwks_endpoint: String,
    pub issuer: String,
    pub additional_claims: Vec<JwtClaim>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JwtClaim {
    /// `single-string`, `string-array` or `space-separated-values`.
    pub format: String,
    pub name: String,
    pub values: Vec<String>,
}

/// Certificate authorities that client certificates are verified with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrustStore {
    pub scope: Scope,
    pub arn: String,
    pub name: String,
    pub tail: String,
    /// PEM.
    pub ca_bundle: String,
    pub revocations: Vec<Revocation>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Revocation {
    pub id: i64,
    /// PEM of one certificate revocation list.
    pub list: String,
    pub revoked_entries: i64,
}
