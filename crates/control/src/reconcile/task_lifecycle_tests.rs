use crate::model::ecs::fixture::{World, scope};
use crate::model::ecs::{health, tasks};
use fogbank_types::status::TaskPhase;

fn run(world: &mut World) -> String {
    let command = world.run_task();
    let (started, failures) = tasks::run(world.tx(), &scope(), command).unwrap();
    assert!(failures.is_empty());
    started[0].id.clone()
}

fn status(world: &World, id: &str) -> &'static str {
    let snapshot = world.region.tx.snapshot();
    health::last_status(snapshot, snapshot.tasks.get(&scope(), id).unwrap())
}

#[test]
fn a_task_goes_through_its_states_and_leaves_nothing() {
    let mut world = World::new();
    let id = run(&mut world);
    let task = world.tasks()[0].clone();
    assert_eq!(status(&world, &id), "PROVISIONING");
    world.report(&task, TaskPhase::Pending);
    assert_eq!(status(&world, &id), "PENDING");
    world.report(&task, TaskPhase::Running);
    world.reconcile();
    assert_eq!(status(&world, &id), "RUNNING");
    world.report(&task, TaskPhase::Stopped);
    assert_eq!(status(&world, &id), "DEPROVISIONING");
    world.reconcile();
    assert_eq!(status(&world, &id), "STOPPED");
    assert!(
        !world
            .region
            .tx
            .snapshot()
            .enis
            .contains(&scope(), &task.eni_id)
    );
    let (code, reason) = tasks::stop_reason(world.region.tx.snapshot(), &task);
    assert_eq!(code.as_deref(), Some("EssentialContainerExited"));
    assert_eq!(
        reason.as_deref(),
        Some("Essential container in task exited")
    );
    world.tx().advance_ms(3_600_000);
    world.reconcile();
    assert!(world.tasks().is_empty());
    assert!(world.region.tx.snapshot().task_statuses.is_empty());
}

#[test]
fn a_task_without_targets_is_stopped_at_once() {
    let mut world = World::new();
    let id = run(&mut world);
    world.host_acts();
    let stopped = tasks::stop(
        world.tx(),
        &scope(),
        Some("main"),
        &id,
        Some("enough".to_owned()),
    )
    .unwrap();
    assert!(stopped.stop_containers);
    assert_eq!(status(&world, &id), "STOPPING");
    world.settle();
    assert_eq!(status(&world, &id), "STOPPED");
    let task = world.tasks()[0].clone();
    let (code, reason) = tasks::stop_reason(world.region.tx.snapshot(), &task);
    assert_eq!(
        (code.as_deref(), reason.as_deref()),
        (Some("UserInitiated"), Some("enough"))
    );
}
