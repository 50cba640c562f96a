//! Rows of Elastic Load Balancing v2 (Application Load Balancers).

use crate::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

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
    pub health_check: HealthCheck,
    /// Only those that differ from the default.
    pub attributes: BTreeMap<String, String>,
    pub targets: Vec<Target>,
    pub created_at: Timestamp,
    pub tags: Tags,
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
    pub ip: Ipv4Addr,
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
        /// Duration of group stickiness as it was given. It is never enabled: this region does not offer it.
        stickiness_seconds: Option<u32>,
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
    SourceIp(Vec<Ipv4Cidr>),
}
