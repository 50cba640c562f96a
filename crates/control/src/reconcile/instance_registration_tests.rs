use crate::model::discovery::instances;
use crate::model::discovery::namespaces::{self, NewNamespace};
use crate::model::discovery::services::{self, NewService};
use crate::model::ecs::fixture::{World, scope};
use fogbank_types::discovery::{Instance, NamespaceKind};
use fogbank_types::ecs::{Service, ServiceRegistry};
use fogbank_types::status::TaskPhase;
use fogbank_types::{Row, Tags};
use std::sync::Arc;

/// An ECS service whose tasks are instances of a Cloud Map service.
fn world() -> World {
    let mut world = World::new();
    world.create_service(2, false);
    let tx = world.tx();
    let namespace = NewNamespace {
        name: "corp".to_owned(),
        kind: NamespaceKind::Http,
        vpc: None,
        description: None,
        creator_request_id: None,
        soa_ttl: None,
        tags: Tags::new(),
    };
    namespaces::create(tx, &scope(), namespace).unwrap();
    let namespace_id = tx.snapshot().namespaces.all().next().unwrap().id.clone();
    let service = NewService {
        name: "web".to_owned(),
        namespace_id,
        description: None,
        creator_request_id: None,
        dns: None,
        health_check: None,
        custom_health: true,
        tags: Tags::new(),
    };
    let registry_arn = services::create(tx, &scope(), service).unwrap().arn();
    let row = tx.snapshot().services.all().next().unwrap().id();
    tx.update::<Service>(&scope(), row, |row| {
        row.service_registries.push(ServiceRegistry {
            registry_arn,
            port: Some(8080),
            container_name: None,
            container_port: None,
        });
    });
    world
}

fn registered(world: &World) -> Vec<Arc<Instance>> {
    let snapshot = world.region.tx.snapshot();
    let service = snapshot.discovery_services.all().next().unwrap();
    instances::of(snapshot, service).cloned().collect()
}

#[test]
fn running_tasks_are_instances_with_what_aws_tells_of_them() {
    let mut world = world();
    world.reconcile();
    assert!(registered(&world).is_empty());
    world.settle();
    let rows = registered(&world);
    assert_eq!(rows.len(), 2);
    let attributes = &rows[0].attributes;
    assert_eq!(attributes["AWS_INSTANCE_PORT"], "8080");
    assert_eq!(attributes["AWS_INIT_HEALTH_STATUS"], "HEALTHY");
    for key in [
        "AWS_INSTANCE_IPV4",
        "ECS_CLUSTER_NAME",
        "ECS_TASK_DEFINITION_FAMILY",
        "REGION",
    ] {
        assert!(attributes.contains_key(key), "{key}");
    }
}

#[test]
fn a_task_that_stops_is_no_instance() {
    let mut world = world();
    world.settle();
    let task = world.wanted()[0].clone();
    world.report(&task, TaskPhase::Stopped);
    world.reconcile();
    assert!(registered(&world).iter().all(|row| row.id != task.id));
    world.settle();
    assert_eq!(registered(&world).len(), 2);
}
