//! Running tasks of services with Service Connect are instances of the Cloud Map services that ECS made for them: that is
//! whom proxies send requests to. Cloud Map services that no deployment serves any more go.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-connect-concepts-deploy.html>

use super::instance_registration::{Joining, instance, is_up, join};
use crate::model::Tx;
use crate::model::discovery::{instances, services as registries};
use crate::model::ecs::{connect, container_health, services};
use fogbank_types::discovery::{DiscoveryService, Instance};
use fogbank_types::ecs::{Service, ServiceStatus, Task};
use fogbank_types::status::ContainerHealth;
use fogbank_types::{Snapshot, Timestamp};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    let owned: Vec<Arc<DiscoveryService>> = tx
        .snapshot()
        .discovery_services
        .all()
        .filter(|row| connect::owner(row).is_some())
        .cloned()
        .collect();
    if owned.is_empty() {
        return None;
    }
    let wanted = wanted(tx.snapshot());
    leave(tx, &owned, &wanted);
    for joining in wanted.into_values().flatten() {
        join(tx, joining);
    }
    remove_unserved(tx, &owned);
    None
}

/// By the Cloud Map service's id and the task's.
type Wanted = HashMap<(String, String), Option<Joining>>;

fn wanted(snapshot: &Snapshot) -> Wanted {
    let mut wanted = Wanted::new();
    for service in snapshot.services.all().filter(|service| is_there(service)) {
        if service.deployments.iter().all(|d| d.connected.is_none()) {
            continue;
        }
        for task in services::tasks_of(snapshot, service).filter(|task| is_up(snapshot, task)) {
            add(&mut wanted, snapshot, service, task);
        }
    }
    wanted
}

fn add(wanted: &mut Wanted, snapshot: &Snapshot, service: &Service, task: &Task) {
    let own = |id: &String| task.started_by.as_ref() == Some(id);
    let mut deployments = service.deployments.iter();
    let Some(deployment) = deployments.find(|deployment| own(&deployment.id)) else {
        return;
    };
    if !connect::takes_traffic(service, &deployment.id) {
        return;
    }
    // A task with checks that have not passed yet is not healthy.
    let healthy = matches!(
        container_health::of_task(snapshot, task),
        None | Some(ContainerHealth::Healthy)
    );
    for endpoint in deployment.connected.iter().flat_map(|c| &c.served) {
        let Ok(registry) = registries::find(snapshot, &service.scope, &endpoint.discovery_id)
        else {
            continue;
        };
        let port = Some(endpoint.target_port());
        let joining = instance(snapshot, service, task, registry, port, healthy);
        wanted.insert((registry.id.clone(), task.id.clone()), joining);
    }
}

fn is_there(service: &Service) -> bool {
    service.status != ServiceStatus::Inactive
}

fn leave(tx: &mut Tx, owned: &[Arc<DiscoveryService>], wanted: &Wanted) {
    for registry in owned {
        let all: Vec<Arc<Instance>> = instances::of(tx.snapshot(), registry).cloned().collect();
        for row in all {
            if !wanted.contains_key(&(registry.id.clone(), row.id.clone())) {
                // It was there a moment ago, in this very transaction.
                let _ = instances::deregister(tx, &row.scope, &row.service_id, &row.id);
            }
        }
    }
}

fn remove_unserved(tx: &mut Tx, owned: &[Arc<DiscoveryService>]) {
    let served: HashSet<String> = tx
        .snapshot()
        .services
        .all()
        .filter(|service| is_there(service))
        .flat_map(|service| &service.deployments)
        .filter_map(|deployment| deployment.connected.as_ref())
        .flat_map(|connected| &connected.served)
        .map(|endpoint| endpoint.discovery_id.clone())
        .collect();
    for registry in owned.iter().filter(|row| !served.contains(&row.id)) {
        // Without a deployment it has no instances: they left a moment ago.
        let _ = registries::delete(tx, &registry.scope, &registry.id);
    }
}

#[cfg(test)]
#[path = "connect_registration_tests.rs"]
mod tests;
