//! What was used, for the bill: one row a resource from its first moment to its last, kept when the resource is gone.

use crate::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsageRecord {
    pub scope: Scope,
    /// Of the resource: a task's id, an ARN, an allocation's or interface's id.
    pub id: String,
    /// What it is told under: `service:<cluster>/<name>`, `family:<cluster>/<name>`, a load balancer's name.
    pub group: String,
    pub kind: UsageKind,
    pub from: Timestamp,
    /// None: it goes on.
    pub until: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageKind {
    Task {
        /// CPU units, 1024 a vCPU.
        cpu: u32,
        memory_mib: u32,
        storage_gib: u32,
        arm: bool,
        spot: bool,
    },
    LoadBalancer {
        /// As CloudWatch's dimension has it: `app/<name>/<id>`.
        dimension: String,
    },
    NatGateway,
    PublicAddress,
}

/// Records that are too old to be kept one by one, put together by month and group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsageTotal {
    pub scope: Scope,
    /// `2026-11`
    pub month: String,
    pub group: String,
    /// `task`, `load-balancer`...
    pub kind: String,
    pub resources: u64,
    /// Start of the first and end of the last.
    pub from: Timestamp,
    pub until: Timestamp,
    /// Quantities by the names that prices have.
    pub items: BTreeMap<String, f64>,
}
