//! Rows of Cloud Map: namespaces, their services, and the instances behind the services' names.

use crate::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Namespace {
    pub scope: Scope,
    /// `ns-` and sixteen letters or digits.
    pub id: String,
    pub name: String,
    pub kind: NamespaceKind,
    pub description: Option<String>,
    pub creator_request_id: Option<String>,
    /// Of a DNS namespace: the zone that it made and owns, and the time to live of its SOA.
    pub zone: Option<(String, u32)>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceKind {
    Http,
    DnsPrivate,
    DnsPublic,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiscoveryService {
    pub scope: Scope,
    /// `srv-` and sixteen letters or digits.
    pub id: String,
    pub name: String,
    pub namespace_id: String,
    pub description: Option<String>,
    pub creator_request_id: Option<String>,
    /// `None`: found by DiscoverInstances only.
    pub dns: Option<ServiceDns>,
    /// Whether callers say how instances are.
    pub custom_health: bool,
    /// How Route 53 looks at each instance, if it does.
    #[serde(default)]
    pub health_check: Option<ServiceHealthCheck>,
    /// Rises with each change of its instances.
    pub revision: u64,
    pub attributes: BTreeMap<String, String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

/// A health check of Route 53 that each instance has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceHealthCheck {
    pub protocol: route53::CheckProtocol,
    pub path: Option<String>,
    /// Consecutive results that change its mind: 1 to 10.
    pub threshold: u32,
}

/// The records that its instances have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceDns {
    pub routing: ServiceRouting,
    /// Type and time to live: `A`, `AAAA`, `SRV`, `CNAME`.
    pub records: Vec<(String, u32)>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceRouting {
    Multivalue,
    Weighted,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub scope: Scope,
    pub service_id: String,
    pub id: String,
    pub attributes: BTreeMap<String, String>,
    pub creator_request_id: Option<String>,
    /// As callers said; `None`: they don't.
    pub healthy: Option<bool>,
    /// Of Route 53, made for it and gone with it.
    #[serde(default)]
    pub health_check_id: Option<String>,
    pub created_at: Timestamp,
}

/// A change that a caller may ask about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiscoveryOperation {
    pub scope: Scope,
    pub id: String,
    /// `CREATE_NAMESPACE`...
    pub kind: String,
    /// By `NAMESPACE`, `SERVICE`, `INSTANCE`.
    pub targets: BTreeMap<String, String>,
    /// Code and text, if it failed.
    pub error: Option<(String, String)>,
    pub at: Timestamp,
}

impl Namespace {
    pub fn arn(&self) -> String {
        self.scope
            .arn("servicediscovery", &format!("namespace/{}", self.id))
    }
}

impl DiscoveryService {
    pub fn arn(&self) -> String {
        self.scope
            .arn("servicediscovery", &format!("service/{}", self.id))
    }
}
