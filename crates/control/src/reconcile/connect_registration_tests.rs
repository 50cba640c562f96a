use super::*;
use crate::model::ecs::fixture::{World, container, definition, scope};
use crate::model::ecs::{clusters, services as ecs, task_definitions};
use fogbank_types::ecs::{ContainerDefinition, ServiceConnect, ServiceConnectService};
use fogbank_types::status::TaskPhase;

/// A service of two tasks that serves its port 8080 by the name `web`, ingress on port 15000.
fn world() -> World {
    let mut world = World::new();
    let mut shop = definition("api");
    let mut main = container("main");
    main.port_mappings[0].name = Some("web".to_owned());
    main.port_mappings[0].app_protocol = Some("http".to_owned());
    shop.containers = vec![ContainerDefinition { ..main }];
    task_definitions::register(world.tx(), &scope(), shop).unwrap();
    let settings = Default::default();
    clusters::update_settings(world.tx(), &scope(), "main", settings, Some("shop")).unwrap();
    let mut new = world.new_service(2, false);
    new.service_connect = Some(ServiceConnect {
        enabled: true,
        namespace: None,
        services: vec![ServiceConnectService {
            port_name: "web".to_owned(),
            discovery_name: None,
            client_aliases: vec![(80, Some("web".to_owned()))],
            ingress_port_override: Some(15_000),
            timeouts: None,
        }],
        log_configuration: None,
    });
    ecs::create(world.tx(), &scope(), new).unwrap();
    world
}

fn registered(world: &World) -> Vec<Arc<Instance>> {
    let rows = world.region.tx.snapshot().instances.all();
    rows.cloned().collect()
}

#[test]
fn running_tasks_are_instances_at_the_port_of_their_proxy() {
    let mut world = world();
    world.reconcile();
    assert!(registered(&world).is_empty(), "nothing runs yet");
    world.settle();
    let rows = registered(&world);
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].attributes["AWS_INSTANCE_PORT"], "15000");
    assert_eq!(rows[0].healthy, Some(true));
}

#[test]
fn a_task_that_is_to_stop_gets_no_requests_and_time_to_end_those_it_has() {
    let mut world = world();
    world.settle();
    world.scale(1);
    world.reconcile();
    world.reconcile();
    assert_eq!(registered(&world).len(), 1);
    let leaving = |world: &World| {
        let mut tasks = world.tasks().into_iter();
        tasks.find(|task| task.stop.is_some()).unwrap()
    };
    assert!(!leaving(&world).stop_containers, "its requests go on");
    world.tx().advance_ms(60_000);
    world.reconcile();
    assert!(leaving(&world).stop_containers);
}

#[test]
fn a_task_that_ended_leaves_at_once() {
    let mut world = world();
    world.settle();
    let task = world.wanted()[0].clone();
    world.report(&task, TaskPhase::Stopping);
    world.reconcile();
    assert!(registered(&world).iter().all(|row| row.id != task.id));
}

#[test]
fn what_nobody_serves_any_more_leaves_cloud_map() {
    let mut world = world();
    world.settle();
    ecs::delete(world.tx(), &scope(), Some("main"), "api", true).unwrap();
    world.settle();
    world.tx().advance_ms(60_000);
    world.settle();
    assert!(registered(&world).is_empty());
    let snapshot = world.region.tx.snapshot();
    assert_eq!(snapshot.discovery_services.all().count(), 0);
    assert_eq!(snapshot.namespaces.all().count(), 1);
}
