//! What is known of a task beyond its row: the phase its host reports, its containers' health checks, and what load
//! balancers think of it.

use super::container_health;
use crate::model::elb::targets;
use fogbank_types::ecs::{Deployment, DesiredStatus, Service, ServiceLoadBalancer, Task};
use fogbank_types::status::{ContainerHealth, TaskPhase, TaskStatus};
use fogbank_types::{Snapshot, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What the host reports, if it has the task already.
pub fn status<'a>(snapshot: &'a Snapshot, task: &Task) -> Option<&'a Arc<TaskStatus>> {
    snapshot.task_statuses.get(&task.scope, &task.id)
}

pub fn phase(snapshot: &Snapshot, task: &Task) -> Option<TaskPhase> {
    status(snapshot, task).map(|status| status.phase)
}

/// Whether it runs or will: nobody asked it to stop and it has not begun to by itself.
pub fn is_alive(snapshot: &Snapshot, task: &Task) -> bool {
    task.desired == DesiredStatus::Running
        && phase(snapshot, task).is_none_or(|phase| phase < TaskPhase::Stopping)
}

/// Its address; none once the interface is gone.
pub fn address(snapshot: &Snapshot, task: &Task) -> Option<Ipv4Addr> {
    snapshot
        .enis
        .get(&task.scope, &task.eni_id)
        .map(|eni| eni.private_ip)
}

/// `lastStatus` (fact TASK-1).
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html>
pub fn last_status(snapshot: &Snapshot, task: &Task) -> &'static str {
    if task.stopped_at.is_some() {
        return "STOPPED";
    }
    let stopping = task.desired == DesiredStatus::Stopped;
    match phase(snapshot, task) {
        Some(TaskPhase::Stopped) => "DEPROVISIONING",
        Some(TaskPhase::Stopping) => "STOPPING",
        _ if stopping && task.stop_containers => "STOPPING",
        _ if stopping => "DEACTIVATING",
        None => "PROVISIONING",
        Some(TaskPhase::Pending) => "PENDING",
        Some(TaskPhase::Running) => "RUNNING",
    }
}

/// The load balancers that a task is registered with: those of its deployment.
pub fn load_balancers<'a>(snapshot: &'a Snapshot, task: &Task) -> &'a [ServiceLoadBalancer] {
    let Some((name, deployment_id)) = task
        .group
        .strip_prefix("service:")
        .zip(task.started_by.as_ref())
    else {
        return &[];
    };
    snapshot
        .services
        .get(&task.scope, format!("{}/{name}", task.cluster))
        .and_then(|service| {
            service
                .deployments
                .iter()
                .find(|deployment| &deployment.id == deployment_id)
        })
        .map_or(&[], |deployment| &deployment.load_balancers)
}

/// The targets that a task has in target groups, draining ones included.
pub fn registered(snapshot: &Snapshot, task: &Task) -> Vec<(String, Ipv4Addr, u16)> {
    let Some(ip) = address(snapshot, task) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for load_balancer in load_balancers(snapshot, task) {
        let group = snapshot
            .target_groups
            .get(&task.scope, &load_balancer.target_group_arn);
        let port = load_balancer.container_port;
        if group.is_some_and(|g| g.targets.iter().any(|t| t.ip == ip && t.port == port)) {
            found.push((load_balancer.target_group_arn.clone(), ip, port));
        }
    }
    found
}

/// A task as the scheduler sees its health (fact SVC-2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Not known yet; `Some` = it counts as healthy from then on if nothing happens.
    Unknown(Option<Timestamp>),
    Healthy,
    Unhealthy(Failure),
}

/// Why a task is unhealthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    Target(TargetFailure),
    /// An essential container's own check says so.
    Containers,
}

/// Why a target is unhealthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFailure {
    pub target_group_arn: String,
    pub port: u16,
    pub reason: String,
}

/// How long a task without any health check must run to count as healthy.
const UNCHECKED_MS: u64 = 40_000;

/// What load balancers think of the targets of some groups, read once for all tasks of a service.
#[derive(Debug, Default)]
pub struct Targets(BTreeMap<String, HashMap<(IpAddr, u16), targets::TargetReport>>);

impl Targets {
    /// All groups that a service's deployments use.
    pub fn of(snapshot: &Snapshot, service: &Service) -> Self {
        let mut known = BTreeMap::new();
        let used = service.deployments.iter().flat_map(|d| &d.load_balancers);
        for arn in used.map(|item| &item.target_group_arn) {
            if known.contains_key(arn) {
                continue;
            }
            let Some(group) = snapshot.target_groups.get(&service.scope, arn) else {
                continue;
            };
            let reports = targets::health(snapshot, group);
            let by_address = reports.into_iter().map(|r| ((r.ip, r.port), r));
            known.insert(arn.clone(), by_address.collect());
        }
        Self(known)
    }

    fn one(&self, load_balancer: &ServiceLoadBalancer, ip: Ipv4Addr) -> Health {
        let (arn, port) = (
            &load_balancer.target_group_arn,
            load_balancer.container_port,
        );
        let report = self
            .0
            .get(arn)
            .and_then(|group| group.get(&(IpAddr::V4(ip), port)));
        match report.map(|report| report.state) {
            // Health checks that are switched off find nothing wrong.
            Some(targets::State::Healthy | targets::State::Unavailable) => Health::Healthy,
            Some(targets::State::Unhealthy) => {
                let said = report.and_then(|r| r.description.clone().or(r.reason.clone()));
                Health::Unhealthy(Failure::Target(TargetFailure {
                    target_group_arn: arn.clone(),
                    port,
                    reason: said.unwrap_or_else(|| "Health checks failed".to_owned()),
                }))
            }
            _ => Health::Unknown(None),
        }
    }
}

/// The health of a task of a deployment. `scaled_ms` divides AWS's durations by the region's speed.
pub fn of_task(
    snapshot: &Snapshot,
    task: &Task,
    deployment: Option<&Deployment>,
    targets: &Targets,
    now: Timestamp,
    scaled_ms: impl Fn(u64) -> u64,
) -> Health {
    let running = status(snapshot, task).filter(|s| s.phase == TaskPhase::Running);
    let Some(started) = running.and_then(|s| s.started_at) else {
        return Health::Unknown(None);
    };
    let containers = container_health::of_task(snapshot, task);
    if containers == Some(ContainerHealth::Unhealthy) {
        return Health::Unhealthy(Failure::Containers);
    }
    let load_balancers = deployment.map_or(&[][..], |d| &d.load_balancers);
    if load_balancers.is_empty() && containers.is_none() {
        let sure = started.plus_ms(scaled_ms(UNCHECKED_MS) as i64);
        return if now >= sure {
            Health::Healthy
        } else {
            Health::Unknown(Some(sure))
        };
    }
    let mut all_healthy = containers != Some(ContainerHealth::Unknown);
    if !load_balancers.is_empty() {
        let Some(ip) = address(snapshot, task) else {
            return Health::Unknown(None);
        };
        for load_balancer in load_balancers {
            match targets.one(load_balancer, ip) {
                Health::Healthy => {}
                Health::Unknown(_) => all_healthy = false,
                unhealthy => return unhealthy,
            }
        }
    }
    if all_healthy {
        Health::Healthy
    } else {
        Health::Unknown(None)
    }
}
