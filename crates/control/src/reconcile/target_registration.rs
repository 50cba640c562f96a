//! A service's running tasks are targets of its target groups, others are not (facts SVC-4, SVC-5).

use crate::model::Tx;
use crate::model::ecs::services::TasksByService;
use crate::model::ecs::{health, services};
use crate::model::elb::targets;
use fogbank_types::Timestamp;
use fogbank_types::ecs::{Deployment, Service, ServiceLoadBalancer, ServiceStatus, Task};
use fogbank_types::elb::Target;
use fogbank_types::status::TaskPhase;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    let all: Vec<Arc<Service>> = tx
        .snapshot()
        .services
        .all()
        .filter(|service| service.status != ServiceStatus::Inactive)
        .cloned()
        .collect();
    let tasks = TasksByService::of(tx.snapshot());
    for service in all {
        let own = tasks.live_and_over(&service);
        for deployment in &service.deployments {
            for load_balancer in &deployment.load_balancers {
                one_group(tx, &service, &own, deployment, load_balancer);
            }
        }
    }
    None
}

/// The tasks of a deployment and one of its target groups.
fn one_group(
    tx: &mut Tx,
    service: &Service,
    tasks: &[&Arc<Task>],
    deployment: &Deployment,
    load_balancer: &ServiceLoadBalancer,
) {
    let (arn, port) = (
        &load_balancer.target_group_arn,
        load_balancer.container_port,
    );
    let snapshot = tx.snapshot();
    let Some(group) = snapshot.target_groups.get(&service.scope, arn) else {
        return;
    };
    let at_port = group.targets.iter().filter(|target| target.port == port);
    let known: HashMap<IpAddr, &Target> = at_port.map(|target| (target.ip, target)).collect();
    let (mut joining, mut leaving) = (Vec::new(), Vec::new());
    for task in tasks {
        if task.stopped_at.is_some() || task.started_by.as_ref() != Some(&deployment.id) {
            continue;
        }
        let Some(ip) = health::address(snapshot, task) else {
            continue;
        };
        let target = known.get(&IpAddr::V4(ip));
        let active = target.is_some_and(|target| target.draining_since.is_none());
        let alive = health::is_alive(snapshot, task);
        if alive && !active && health::phase(snapshot, task) == Some(TaskPhase::Running) {
            joining.push((ip, port));
        } else if !alive && active {
            leaving.push((ip, port));
        }
    }
    let scope = &service.scope;
    change(tx, service, arn, &joining, "registered", |tx, list| {
        targets::register(tx, scope, arn, list).is_ok()
    });
    change(tx, service, arn, &leaving, "deregistered", |tx, list| {
        targets::deregister(tx, scope, arn, list).is_ok()
    });
}

fn change(
    tx: &mut Tx,
    service: &Service,
    arn: &str,
    list: &[(Ipv4Addr, u16)],
    verb: &str,
    act: impl FnOnce(&mut Tx, &[(Ipv4Addr, u16)]) -> bool,
) {
    if list.is_empty() || !act(tx, list) {
        return;
    }
    let (id, now) = (tx.uuid(), tx.now());
    let text = format!("{verb} {} targets in (target-group {arn})", list.len());
    tx.update::<Service>(
        &service.scope,
        format!("{}/{}", service.cluster, service.name),
        |row| {
            services::event(row, id, now, &text);
        },
    );
}

#[cfg(test)]
#[path = "target_registration_tests.rs"]
mod tests;
