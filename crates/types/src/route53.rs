//! Rows of Route 53. Their scope's region is `global`.

use crate::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostedZone {
    pub scope: Scope,
    /// `Z...`, without `/hostedzone/`.
    pub id: String,
    /// Lower case with a trailing dot.
    pub name: String,
    pub caller_reference: String,
    pub comment: Option<String>,
    pub private: bool,
    pub vpcs: Vec<ZoneVpc>,
    /// Without trailing dots, in AWS's order.
    pub name_servers: Vec<String>,
    pub delegation_set_id: Option<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneVpc {
    pub region: String,
    pub vpc_id: VpcId,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordSet {
    pub scope: Scope,
    pub zone_id: String,
    /// Lower case with a trailing dot; special characters as AWS escapes them (`\052`).
    pub name: String,
    /// `A`, `AAAA`, `CNAME`...
    pub record_type: String,
    /// `None` for a simple record.
    pub set_identifier: Option<String>,
    /// Seconds; `None` for an alias.
    pub ttl: Option<u32>,
    /// In presentation format.
    pub values: Vec<String>,
    pub alias: Option<AliasTarget>,
    #[serde(default)]
    pub routing: Routing,
}

/// How one answer is made of the records of a name and type.
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/routing-policy.html>
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Routing {
    /// It is the only one.
    #[default]
    Simple,
    /// Up to eight of the healthy ones, at random; of all if none is healthy.
    Multivalue { healthy: bool },
    /// One of the healthy ones, by weight; of all if none is healthy.
    Weighted { weight: u8, healthy: bool },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AliasTarget {
    pub hosted_zone_id: String,
    /// Lower case with a trailing dot.
    pub dns_name: String,
    pub evaluate_target_health: bool,
}

/// A change batch that was accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub scope: Scope,
    /// `C...`
    pub id: String,
    pub comment: Option<String>,
    pub submitted_at: Timestamp,
    /// True once the name servers answer by it.
    pub in_sync: bool,
}
