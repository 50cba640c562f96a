//! Rows of Route 53. Their scope's region is `global`.

use crate::*;
use serde::{Deserialize, Serialize};

/// The only place that Route 53 answers from here, as query logs and their streams name it: an airport's code and a number.
pub const EDGE_LOCATION: &str = "IAD12";

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
    #[serde(default)]
    pub health_check_id: Option<String>,
}

/// How one answer is made of the records of a name and type.
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/routing-policy.html>
///
/// `healthy` is what Cloud Map knows of the instance behind a record of its own; true for all others, whose health
/// comes of [`RecordSet::health_check_id`] and [`AliasTarget::evaluate_target_health`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Routing {
    /// It is the only one.
    #[default]
    Simple,
    /// Up to eight of the healthy ones, at random; of all if none is healthy.
    Multivalue {
        healthy: bool,
    },
    /// One of the healthy ones, by weight; of all if none is healthy.
    Weighted {
        weight: u8,
        healthy: bool,
    },
    /// The one whose region is nearest to the asker by latency.
    Latency {
        region: String,
    },
    Failover {
        role: FailoverRole,
    },
    Geolocation(GeoLocation),
    Geoproximity(GeoProximity),
    /// By the asker's address: a location of a CIDR collection, `*` for all others.
    Cidr {
        collection_id: String,
        location: String,
    },
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailoverRole {
    Primary,
    Secondary,
}

/// Where an asker is; the most exact one that fits answers. `country: Some("*")` alone is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeoLocation {
    /// `AF`, `AN`, `AS`, `EU`, `OC`, `NA`, `SA`.
    pub continent: Option<String>,
    /// ISO 3166-1 alpha-2, or `*`.
    pub country: Option<String>,
    /// ISO 3166-2 without the country: `WA`.
    pub subdivision: Option<String>,
}

/// Where a resource is; the nearest to the asker answers, after the bias.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeoProximity {
    pub place: GeoPlace,
    /// -99 to 99: shrinks or grows the area that the resource serves.
    pub bias: i8,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GeoPlace {
    Region(String),
    LocalZoneGroup(String),
    /// Degrees as they were given (at most two decimals).
    Coordinates {
        latitude: String,
        longitude: String,
    },
}

/// <https://docs.aws.amazon.com/Route53/latest/APIReference/API_HealthCheck.html>
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub scope: Scope,
    /// A UUID.
    pub id: String,
    pub caller_reference: String,
    /// From 1; grows with each update.
    pub version: i64,
    pub config: HealthCheckConfig,
    pub created_at: Timestamp,
    pub tags: Tags,
}

impl HealthCheck {
    /// Whether records and calculated checks count it as healthy, `status` being what is known of it. A new check counts
    /// as healthy until something is, as unhealthy if it is inverted (fact ROUTE-7); a disabled one likewise, for good.
    /// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/health-checks-creating-values.html>
    pub fn is_healthy(&self, status: Option<&HealthCheckStatus>) -> bool {
        match status {
            Some(status) if !self.config.disabled => status.healthy,
            _ => !self.config.inverted,
        }
    }
}

/// <https://docs.aws.amazon.com/Route53/latest/APIReference/API_HealthCheckConfig.html>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheckConfig {
    pub target: HealthCheckTarget,
    pub inverted: bool,
    /// Nothing is checked; it counts as healthy (unhealthy if inverted).
    pub disabled: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthCheckTarget {
    Endpoint(EndpointCheck),
    Calculated {
        children: Vec<String>,
        /// How many of them must be healthy: 0 to 256.
        threshold: u32,
    },
    Alarm {
        region: String,
        name: String,
        insufficient_data: InsufficientData,
    },
}

/// Facts ROUTE-7 and ROUTE-8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointCheck {
    pub protocol: CheckProtocol,
    /// `None`: the domain name is resolved for each check.
    pub address: Option<std::net::IpAddr>,
    pub domain_name: Option<String>,
    pub port: u16,
    pub path: Option<String>,
    /// In the first 5,120 bytes of the body.
    pub search: Option<String>,
    /// 10 or 30.
    pub interval_s: u32,
    /// Consecutive results of a checker that change its mind: 1 to 10.
    pub threshold: u32,
    pub measures_latency: bool,
    pub sends_sni: bool,
    /// Names of the regions that check; empty: all.
    pub regions: Vec<String>,
}

/// Where health checkers are.
/// <https://docs.aws.amazon.com/Route53/latest/APIReference/API_HealthCheckConfig.html>
pub const CHECKER_REGIONS: [&str; 8] = [
    "us-east-1",
    "us-west-1",
    "us-west-2",
    "eu-west-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-northeast-1",
    "sa-east-1",
];

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckProtocol {
    Http,
    Https,
    Tcp,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InsufficientData {
    Healthy,
    Unhealthy,
    LastKnown,
}

/// What is known of a health check. One writer each: the checkers' process for endpoints, the control plane for
/// calculated ones and alarms. Without this row a check counts as new (fact ROUTE-7).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthCheckStatus {
    pub scope: Scope,
    pub health_check_id: String,
    /// Of the configuration that was checked.
    pub version: i64,
    /// The last word, inversion included: what records count by.
    pub healthy: bool,
    pub observations: Vec<CheckObservation>,
}

/// What one checker saw last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckObservation {
    pub region: String,
    pub address: std::net::IpAddr,
    pub at: Timestamp,
    /// By its threshold, without inversion.
    pub healthy: bool,
    /// As AWS words it: `Success: HTTP Status Code 200, OK`.
    pub status: String,
    /// Its last failure, and when.
    pub failure: Option<(Timestamp, String)>,
}

/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/resource-record-sets-creating-cidr-collection.html>
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CidrCollection {
    pub scope: Scope,
    /// A UUID.
    pub id: String,
    pub name: String,
    pub caller_reference: String,
    pub version: i64,
    /// Blocks in canonical form, by the location's name.
    pub locations: std::collections::BTreeMap<String, Vec<String>>,
}

/// A reusable delegation set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DelegationSet {
    pub scope: Scope,
    /// `N...`, without `/delegationset/`.
    pub id: String,
    pub caller_reference: String,
    pub name_servers: Vec<String>,
}

/// Another account's VPC may be associated with a private zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VpcAssociationAuthorization {
    /// Of the zone.
    pub scope: Scope,
    pub zone_id: String,
    pub vpc: ZoneVpc,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryLoggingConfig {
    pub scope: Scope,
    /// A UUID.
    pub id: String,
    pub zone_id: String,
    /// In us-east-1.
    pub log_group_arn: String,
    /// Of the stream that the queries are appended to; `None` while the log group is not there.
    #[serde(default)]
    pub stream_uid: Option<String>,
}

/// A key that signs a zone's keys: the public half of a key of KMS's.
/// <https://docs.aws.amazon.com/Route53/latest/APIReference/API_KeySigningKey.html>
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeySigningKey {
    pub scope: Scope,
    pub zone_id: String,
    pub name: String,
    pub caller_reference: String,
    pub kms_arn: String,
    /// Value of the DNSKEY record.
    pub dnskey: Vec<u8>,
    pub key_tag: u16,
    /// In the DS record: SHA-256, hexadecimal, capitals.
    pub digest: String,
    pub is_active: bool,
    pub created_at: Timestamp,
    pub modified_at: Timestamp,
}

/// A zone that is signed; without this row it is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ZoneSigning {
    pub scope: Scope,
    pub zone_id: String,
    /// Of the zone-signing key, which the region makes and keeps.
    pub secret: kms::KeySecret,
    /// Its public point.
    pub point: Vec<u8>,
    /// Values of the DNSKEY records, the zone-signing key's first.
    pub dnskeys: Vec<Vec<u8>>,
    /// Values of the RRSIG records of those.
    pub signatures: Vec<Vec<u8>>,
    /// When those were made.
    pub signed_at: Timestamp,
}

impl ZoneSigning {
    /// Time to live of the DNSKEY records, in seconds.
    pub const DNSKEY_TTL: u32 = 3600;
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
