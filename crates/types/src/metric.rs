//! CloudWatch: what was measured, on its way to where it is kept, and alarms.

use crate::*;
use serde::{Deserialize, Serialize};

/// What one source (a host's node, a process) measured in one period. The control plane keeps the data; the
/// next report of the source replaces this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricReport {
    /// The host that reports and what of it, for instance `host-1/load-balancers`.
    pub source: String,
    /// Start of the period.
    pub at: Timestamp,
    pub data: Vec<MetricDatum>,
}

/// One metric in one period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricDatum {
    pub scope: Scope,
    /// `AWS/ApplicationELB`.
    pub namespace: String,
    pub name: String,
    /// Name and value, sorted by name.
    pub dimensions: Vec<(String, String)>,
    /// `Count`, `Seconds`, `Bytes`, `None`...
    pub unit: String,
    pub values: StatisticSet,
}

/// Several observations of a period.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatisticSet {
    pub count: f64,
    pub sum: f64,
    pub minimum: f64,
    pub maximum: f64,
    /// Value and how often it was observed, for percentiles; may be rounded (histogram buckets) or absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distribution: Vec<(f64, f64)>,
}
