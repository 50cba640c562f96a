use crate::model::ecs::fixture::{World, scope};
use fogbank_types::status::TaskPhase;

fn targets(world: &World) -> Vec<(std::net::IpAddr, bool)> {
    let group = world
        .region
        .tx
        .snapshot()
        .target_groups
        .get(&scope(), &world.target_group)
        .unwrap();
    group
        .targets
        .iter()
        .map(|t| (t.ip, t.draining_since.is_some()))
        .collect()
}

#[test]
fn only_running_tasks_are_targets() {
    let mut world = World::new();
    world.create_service(1, true);
    world.reconcile();
    assert!(targets(&world).is_empty());
    world.host_acts();
    world.reconcile();
    assert_eq!(targets(&world).len(), 1);
    assert!(world.told("registered 1 targets in (target-group arn:"));
}

#[test]
fn a_crashed_task_leaves_and_its_address_is_kept_while_it_drains() {
    let mut world = World::new();
    world.create_service(1, true);
    world.settle();
    let task = world.wanted()[0].clone();
    world.report(&task, TaskPhase::Stopped);
    world.reconcile();
    world.reconcile();
    assert!(targets(&world).iter().any(|(_, draining)| *draining));
    assert!(
        world
            .region
            .tx
            .snapshot()
            .enis
            .contains(&scope(), &task.eni_id)
    );
    assert_eq!(world.wanted().len(), 1, "a new one starts meanwhile");
    world.tx().advance_ms(300_000);
    world.settle();
    assert!(
        !world
            .region
            .tx
            .snapshot()
            .enis
            .contains(&scope(), &task.eni_id)
    );
    assert_eq!(targets(&world).len(), 1);
}
