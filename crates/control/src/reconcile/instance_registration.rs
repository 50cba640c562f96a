//! A service's running tasks are instances of its Cloud Map services, others are not (fact SVC-18). A task joins once it
//! runs and leaves as soon as it is to stop; what its containers' health checks say is its instance's health.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-discovery.html>

use crate::model::Tx;
use crate::model::discovery::{bare, instances, services as discovery};
use crate::model::ecs::{container_health, health, services, task_definitions};
use fogbank_types::discovery::{DiscoveryService, Instance};
use fogbank_types::ecs::{Service, ServiceRegistry, ServiceStatus, Task};
use fogbank_types::status::{ContainerHealth, TaskPhase};
use fogbank_types::{Scope, Snapshot, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Marks the instances that are tasks.
const SERVICE_NAME: &str = "ECS_SERVICE_NAME";

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    leave(tx);
    for joining in wanted(tx.snapshot()) {
        join(tx, joining);
    }
    None
}

/// What is no running task's goes, whatever became of the task, its service or its registry.
fn leave(tx: &mut Tx) {
    let snapshot = tx.snapshot();
    let is_over = |row: &&Arc<Instance>| {
        row.attributes.contains_key(SERVICE_NAME)
            && snapshot
                .tasks
                .get(&row.scope, &row.id)
                .is_none_or(|task| task.stopped_at.is_some() || !health::is_alive(snapshot, task))
    };
    let over: Vec<Arc<Instance>> = snapshot.instances.all().filter(is_over).cloned().collect();
    for row in over {
        // It was there a moment ago, in this very transaction.
        let _ = instances::deregister(tx, &row.scope, &row.service_id, &row.id);
    }
}

/// A task that should be an instance, with what is known of it.
pub(super) struct Joining {
    scope: Scope,
    service_id: String,
    task_id: String,
    attributes: BTreeMap<String, String>,
    healthy: bool,
}

pub(super) fn join(tx: &mut Tx, wanted: Joining) {
    let (scope, service, id) = (&wanted.scope, &wanted.service_id, &wanted.task_id);
    let Ok(row) = instances::find(tx.snapshot(), scope, service, id).cloned() else {
        let registered = instances::register(tx, scope, service, id, wanted.attributes, None);
        if let Err(refusal) = registered {
            tracing::debug!(%refusal, task = %id, "a task cannot be an instance");
        }
        return;
    };
    if row.healthy.is_some_and(|healthy| healthy != wanted.healthy) {
        // Only a service without custom health refuses, and its instances have none.
        let _ = instances::set_health(tx, scope, service, id, wanted.healthy);
    }
}

fn wanted(snapshot: &Snapshot) -> Vec<Joining> {
    let mut wanted = Vec::new();
    let active = |service: &&Arc<Service>| service.status != ServiceStatus::Inactive;
    for service in snapshot.services.all().filter(active) {
        let has_any = |registries: &[ServiceRegistry]| !registries.is_empty();
        if !has_any(&service.service_registries)
            && !service
                .deployments
                .iter()
                .any(|d| has_any(&d.service_registries))
        {
            continue;
        }
        for task in services::tasks_of(snapshot, service).filter(|task| is_up(snapshot, task)) {
            for registry in registries(service, task) {
                wanted.extend(joining(snapshot, service, task, registry));
            }
        }
    }
    wanted
}

/// It runs, and shall.
pub(super) fn is_up(snapshot: &Snapshot, task: &Task) -> bool {
    task.stopped_at.is_none()
        && health::is_alive(snapshot, task)
        && health::phase(snapshot, task) == Some(TaskPhase::Running)
}

/// Those of the deployment that started the task.
fn registries<'a>(service: &'a Service, task: &Task) -> &'a [ServiceRegistry] {
    let own = service
        .deployments
        .iter()
        .find(|deployment| task.started_by.as_ref() == Some(&deployment.id));
    match own {
        Some(own) if !own.service_registries.is_empty() => &own.service_registries,
        _ => &service.service_registries,
    }
}

fn joining(
    snapshot: &Snapshot,
    service: &Service,
    task: &Task,
    registry: &ServiceRegistry,
) -> Option<Joining> {
    let scope = service.scope.clone();
    let found = discovery::find(snapshot, &scope, bare(&registry.registry_arn)).ok()?;
    let healthy = container_health::of_task(snapshot, task) != Some(ContainerHealth::Unhealthy);
    let port = registry.port.or(registry.container_port);
    instance(snapshot, service, task, found, port, healthy)
}

/// What Cloud Map is told of a task.
pub(super) fn instance(
    snapshot: &Snapshot,
    service: &Service,
    task: &Task,
    registry: &DiscoveryService,
    port: Option<u16>,
    healthy: bool,
) -> Option<Joining> {
    let scope = service.scope.clone();
    let address = health::address(snapshot, task)?;
    let definition = task_definitions::find(snapshot, &scope, &task.task_definition_arn);
    let mut attributes = BTreeMap::from([
        ("AVAILABILITY_ZONE".to_owned(), task.zone.clone()),
        (instances::IPV4.to_owned(), address.to_string()),
        ("ECS_CLUSTER_NAME".to_owned(), service.cluster.clone()),
        (SERVICE_NAME.to_owned(), service.name.clone()),
        ("REGION".to_owned(), scope.region.clone()),
    ]);
    if let Some(definition) = definition {
        attributes.insert(
            "ECS_TASK_DEFINITION_FAMILY".to_owned(),
            definition.family.clone(),
        );
    }
    if let Some(port) = port {
        attributes.insert(instances::PORT.to_owned(), port.to_string());
    }
    if registry.custom_health {
        let word = if healthy { "HEALTHY" } else { "UNHEALTHY" };
        attributes.insert(instances::INIT_HEALTH.to_owned(), word.to_owned());
    }
    Some(Joining {
        scope,
        service_id: registry.id.clone(),
        task_id: task.id.clone(),
        attributes,
        healthy,
    })
}

#[cfg(test)]
#[path = "instance_registration_tests.rs"]
mod tests;
