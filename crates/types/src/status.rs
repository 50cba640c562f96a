//! Rows that hosts write: what is, against what shall be.

use crate::*;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One per living `node`, under its lease.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostStatus {
    pub host: String,
    /// Everything up to this revision acts on packets.
    pub applied: Revision,
    /// Resources that could not be applied, with the reason.
    pub alarms: Vec<String>,
}

/// One per living `dns`, under its lease.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DnsStatus {
    pub host: String,
    /// Answers are given by this revision.
    pub applied: Revision,
}

/// A task on its host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskStatus {
    pub scope: Scope,
    /// The task's id.
    pub id: String,
    pub phase: TaskPhase,
    /// Who ended it and why, if the host did (essential container, failed start).
    pub stop_code: Option<String>,
    pub stopped_reason: Option<String>,
    pub connectivity_at: Option<Timestamp>,
    pub pull_started_at: Option<Timestamp>,
    pub pull_stopped_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub stopping_at: Option<Timestamp>,
    pub execution_stopped_at: Option<Timestamp>,
    pub containers: Vec<ContainerStatus>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TaskPhase {
    /// Interface is there; image and containers are being prepared.
    Pending,
    Running,
    Stopping,
    /// No process of it is left. The control plane releases what it held.
    Stopped,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerStatus {
    pub name: String,
    /// 32 hexadecimal digits, a dash and ten digits, as Fargate's.
    pub runtime_id: String,
    pub image_digest: Option<String>,
    pub phase: TaskPhase,
    pub exit_code: Option<i32>,
    pub reason: Option<String>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// Host pid while running, for the operator.
    pub pid: Option<i32>,
    /// What its health check says; `None`: it has none.
    #[serde(default)]
    pub health: Option<ContainerHealth>,
    /// How often its restart policy started it again.
    #[serde(default)]
    pub restart_count: u32,
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/healthcheck.html>
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ContainerHealth {
    /// Being evaluated.
    Unknown,
    Healthy,
    Unhealthy,
}

/// What one load balancer node thinks of one target group's targets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetHealth {
    pub scope: Scope,
    pub target_group_arn: String,
    /// Interface of the node.
    pub eni_id: EniId,
    pub targets: Vec<TargetState>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetState {
    pub ip: IpAddr,
    pub port: u16,
    pub health: Health,
    /// `Target.Timeout`, `Elb.InitialHealthChecking`... (fact TGT-6).
    pub reason: Option<String>,
    pub description: Option<String>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Initial,
    Healthy,
    Unhealthy,
    Unavailable,
}

/// A load balancer node as its host sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadBalancerNodeStatus {
    pub scope: Scope,
    pub eni_id: EniId,
    /// It accepts connections by this revision's table.
    pub applied: Revision,
}
