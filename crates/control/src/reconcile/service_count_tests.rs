use crate::model::ecs::fixture::{World, definition, scope};
use crate::model::ecs::services::{self, DeploymentConfiguration, ServiceUpdate};
use crate::model::ecs::{task_definitions, tasks};
use fogbank_types::ecs::{RolloutState, ServiceStatus};
use fogbank_types::status::{Health, TaskPhase};
use std::collections::BTreeSet;

fn update(world: &mut World, change: impl FnOnce(&mut ServiceUpdate)) {
    let mut update = ServiceUpdate {
        name: "api".to_owned(),
        cluster: Some("main".to_owned()),
        ..ServiceUpdate::default()
    };
    change(&mut update);
    services::update(world.tx(), &scope(), update).unwrap();
}

#[test]
fn a_new_service_gets_its_tasks_spread_over_the_zones() {
    let mut world = World::new();
    world.create_service(4, true);
    world.settle();
    let tasks = world.wanted();
    assert_eq!(tasks.len(), 4);
    let zones: BTreeSet<_> = tasks.iter().map(|t| t.zone.clone()).collect();
    assert_eq!(zones.len(), 2);
    let addresses: BTreeSet<_> = tasks
        .iter()
        .map(|t| {
            world
                .region
                .tx
                .snapshot()
                .enis
                .get(&scope(), &t.eni_id)
                .unwrap()
                .private_ip
        })
        .collect();
    assert_eq!(addresses.len(), 4, "no two tasks share an address");
    assert_eq!(
        world.service().deployments[0].rollout_state,
        RolloutState::Completed
    );
    assert!(world.told("has reached a steady state."));
    assert!(world.told("has started 4 tasks: (task "));
}

#[test]
fn it_is_not_complete_before_the_targets_are_healthy() {
    let mut world = World::new();
    world.create_service(1, true);
    world.reconcile();
    world.host_acts();
    world.reconcile();
    world.nodes_see(Health::Initial);
    world.reconcile();
    assert_eq!(
        world.service().deployments[0].rollout_state,
        RolloutState::InProgress
    );
    world.nodes_see(Health::Healthy);
    world.reconcile();
    assert_eq!(
        world.service().deployments[0].rollout_state,
        RolloutState::Completed
    );
}

#[test]
fn without_a_load_balancer_a_task_is_healthy_after_forty_seconds() {
    let mut world = World::new();
    world.create_service(1, false);
    let wake = world.settle().unwrap();
    assert_eq!(wake, world.tx().now().plus_ms(40_000));
    assert_eq!(
        world.service().deployments[0].rollout_state,
        RolloutState::InProgress
    );
    world.tx().advance_ms(40_000);
    world.settle();
    assert_eq!(
        world.service().deployments[0].rollout_state,
        RolloutState::Completed
    );
}

#[test]
fn a_stopped_task_is_replaced_at_once_and_drained_first() {
    let mut world = World::new();
    world.create_service(2, true);
    world.settle();
    let victim = world.wanted()[0].clone();
    tasks::stop(world.tx(), &scope(), Some("main"), &victim.arn, None).unwrap();
    world.reconcile();
    world.reconcile();
    let now = world
        .region
        .tx
        .snapshot()
        .tasks
        .get(&scope(), &victim.id)
        .unwrap()
        .clone();
    assert!(!now.stop_containers, "its target drains");
    assert_eq!(
        world.wanted().len(),
        2,
        "the replacement does not wait for that"
    );
    world.tx().advance_ms(300_000);
    world.settle();
    let now = world
        .region
        .tx
        .snapshot()
        .tasks
        .get(&scope(), &victim.id)
        .unwrap()
        .clone();
    assert!(now.stopped_at.is_some());
    assert!(
        !world
            .region
            .tx
            .snapshot()
            .enis
            .contains(&scope(), &victim.eni_id)
    );
}

#[test]
fn an_update_rolls_and_the_old_deployment_goes_with_its_tasks() {
    let mut world = World::new();
    world.create_service(2, true);
    world.settle();
    let old: Vec<_> = world.wanted().into_iter().map(|t| t.id).collect();
    task_definitions::register(world.tx(), &scope(), definition("api")).unwrap();
    update(&mut world, |u| u.task_definition = Some("api:2".to_owned()));
    world.settle();
    let service = world.service();
    assert_eq!(service.deployments.len(), 2, "old tasks drain");
    assert_eq!(
        service.deployments[0].rollout_state,
        RolloutState::InProgress
    );
    assert!(
        world
            .wanted()
            .iter()
            .all(|t| t.task_definition_arn.ends_with("api:2") && !old.contains(&t.id))
    );
    world.tx().advance_ms(300_000);
    world.settle();
    let service = world.service();
    assert_eq!(service.deployments.len(), 1);
    assert_eq!(
        service.deployments[0].rollout_state,
        RolloutState::Completed
    );
    assert_eq!(
        services::deployment_status(&service, &service.past_deployments[0]),
        "SUCCESSFUL"
    );
}

#[test]
fn an_unhealthy_target_is_replaced_after_the_grace_period() {
    let mut world = World::new();
    let mut new = world.new_service(1, true);
    new.health_check_grace_period_seconds = Some(60);
    services::create(world.tx(), &scope(), new).unwrap();
    world.reconcile();
    world.host_acts();
    world.reconcile();
    let sick = world.wanted()[0].id.clone();
    world.nodes_see(Health::Unhealthy);
    world.reconcile();
    assert_eq!(world.wanted().len(), 1, "within the grace period");
    world.tx().advance_ms(60_000);
    world.reconcile();
    assert_eq!(world.wanted().len(), 2, "its replacement starts first");
    world.settle();
    // The nodes found all healthy again, so one is too many.
    assert_eq!(world.wanted().len(), 1);
    assert!(world.tasks().iter().any(|t| t.id == sick));
}

#[test]
fn a_failing_start_is_throttled_and_a_call_clears_that() {
    let mut world = World::new();
    world.create_service(1, false);
    let mut wake = None;
    for _ in 0..10 {
        wake = world.reconcile();
        for task in world.wanted() {
            world.report(&task, TaskPhase::Stopped);
        }
    }
    assert_eq!(world.tasks().len(), 3, "three failures are free");
    assert!(wake.is_some_and(|at| at > world.region.tx.now()));
    assert!(world.told("unable to consistently start tasks"));
    assert_eq!(world.service().deployments[0].failed_tasks, 3);
    world.tx().advance_ms(5_000);
    world.reconcile();
    assert_eq!(world.wanted().len(), 1);
}

#[test]
fn a_task_that_crashes_at_once_is_paced() {
    let mut world = World::new();
    world.create_service(1, false);
    for _ in 0..20 {
        world.reconcile();
        for task in world.wanted() {
            world.report(&task, TaskPhase::Running);
            world.report(&task, TaskPhase::Stopped);
        }
    }
    assert_eq!(world.tasks().len(), 3);
    assert_eq!(
        world.service().deployments[0].failed_tasks,
        0,
        "they did run"
    );
}

#[test]
fn the_circuit_breaker_rolls_back() {
    let mut world = World::new();
    let mut new = world.new_service(1, true);
    new.configuration = DeploymentConfiguration {
        circuit_breaker: Some((true, true)),
        ..Default::default()
    };
    services::create(world.tx(), &scope(), new).unwrap();
    world.settle();
    task_definitions::register(world.tx(), &scope(), definition("api")).unwrap();
    update(&mut world, |u| u.task_definition = Some("api:2".to_owned()));
    for _ in 0..10 {
        world.reconcile();
        for task in world
            .wanted()
            .into_iter()
            .filter(|t| t.task_definition_arn.ends_with(":2"))
        {
            world.report(&task, TaskPhase::Stopped);
        }
    }
    world.settle();
    let service = world.service();
    assert!(service.task_definition_arn.ends_with("api:1"));
    let failed = service
        .past_deployments
        .iter()
        .find(|d| d.rollout_state == RolloutState::Failed)
        .unwrap();
    assert_eq!(
        failed.rollout_reason,
        "ECS deployment circuit breaker: tasks failed to start."
    );
    assert!(service.deployments[0].rollback_of.as_ref() == Some(&failed.id));
    assert_eq!(world.wanted().len(), 1);
}

#[test]
fn scaling_in_and_deleting_leave_nothing() {
    let mut world = World::new();
    world.create_service(3, true);
    world.settle();
    update(&mut world, |u| u.desired_count = Some(1));
    world.settle();
    assert_eq!(world.wanted().len(), 1);
    assert_eq!(
        world.service().deployments.len(),
        1,
        "the count alone is no new deployment"
    );
    assert!(services::delete(world.tx(), &scope(), Some("main"), "api", false).is_err());
    services::delete(world.tx(), &scope(), Some("main"), "api", true).unwrap();
    world.settle();
    assert_eq!(world.service().status, ServiceStatus::Draining);
    world.tx().advance_ms(300_000);
    world.settle();
    assert_eq!(world.service().status, ServiceStatus::Inactive);
    world.tx().advance_ms(3_600_000);
    world.reconcile();
    assert!(world.region.tx.snapshot().services.is_empty());
    assert!(world.tasks().is_empty());
    assert!(world.region.tx.snapshot().task_statuses.is_empty());
}

#[test]
fn no_room_is_told_once_and_tried_again() {
    let mut world = World::new();
    let mut new = world.new_service(1, false);
    new.placement.as_mut().unwrap().subnets.truncate(1);
    services::create(world.tx(), &scope(), new).unwrap();
    let subnet = world.region.subnets[0].clone();
    world
        .tx()
        .delete::<fogbank_types::ec2::Subnet>(&scope(), &subnet);
    let wake = world.reconcile();
    world.reconcile();
    assert!(wake.is_some_and(|at| at > world.region.tx.now()));
    let told = world
        .service()
        .events
        .iter()
        .filter(|e| e.message.contains("unable to place"))
        .count();
    assert_eq!(told, 1);
}

#[test]
fn calm_reconcilers_change_nothing() {
    let mut world = World::new();
    world.create_service(2, true);
    world.settle();
    let before = world.service();
    world.reconcile();
    assert_eq!(world.service(), before);
}

#[test]
fn many_tasks_are_started_and_stopped_in_small_steps() {
    let mut world = World::new();
    world.create_service(120, true);
    world.reconcile();
    assert_eq!(world.wanted().len(), 50, "a transaction has its bounds");
    world.reconcile();
    world.reconcile();
    assert_eq!(world.wanted().len(), 120);
    update(&mut world, |u| u.desired_count = Some(0));
    world.reconcile();
    assert_eq!(world.wanted().len(), 70);
    world.reconcile();
    world.reconcile();
    assert_eq!(world.wanted().len(), 0);
}

#[test]
fn texts_that_rows_keep_are_bounded() {
    let mut world = World::new();
    let long = || Some("x".repeat(1_000_000));
    let mut new = world.new_service(1, false);
    new.client_token = long();
    assert!(services::create(world.tx(), &scope(), new).is_err());
    let refused = |world: &mut World, change: &dyn Fn(&mut tasks::RunTask)| {
        let mut command = world.run_task();
        change(&mut command);
        tasks::run(world.tx(), &scope(), command).is_err()
    };
    assert!(refused(&mut world, &|c| c.client_token = long()));
    assert!(refused(&mut world, &|c| c.started_by = long()));
    assert!(refused(&mut world, &|c| c.group = long()));
    assert!(refused(&mut world, &|c| {
        c.tags.insert("k".to_owned(), "x".repeat(257));
    }));
    assert!(refused(&mut world, &|c| {
        c.tags.insert("x".repeat(129), String::new());
    }));
    assert!(!refused(&mut world, &|_| {}));
}

/// `cargo test --release -p fogbank-control reconcile_times -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: it asserts nothing but that all tasks run"]
fn reconcile_times() {
    use std::time::Instant;
    for count in [1000, 4500] {
        let mut world = World::new();
        let subnets = world.region.subnets.clone();
        for (place, id) in subnets.iter().take(2).enumerate() {
            let block = format!("10.0.{}.0/18", 128 + place * 64).parse().unwrap();
            world
                .tx()
                .update::<fogbank_types::ec2::Subnet>(&scope(), id, |subnet| {
                    subnet.cidr_block = block;
                });
        }
        world.create_service(count, count <= 1000);
        let began = Instant::now();
        while world.wanted().len() < count as usize {
            world.reconcile();
        }
        let started = began.elapsed();
        for _ in 0..3 {
            world.host_acts();
            world.reconcile();
            world.nodes_see(Health::Healthy);
            world.tx().advance_ms(60_000);
        }
        let began = Instant::now();
        world.reconcile();
        println!(
            "{count} tasks: all started in {started:?}; a pass with nothing to do {:?}",
            began.elapsed()
        );
        assert!(world.told("has reached a steady state."));
    }
}
