//! A zone fails: what runs there is replaced elsewhere by the ordinary path (fact REG-6).

use crate::model::ecs::fixture::{World, scope};
use crate::model::ecs::tasks;
use crate::model::vpc::zone_faults;
use fogbank_types::ec2::ZoneFaultKind;
use fogbank_types::status::TaskPhase;
use std::collections::BTreeSet;

const CAPACITY: &str = "Capacity is unavailable at this time. Please try again later or in a different availability zone";

fn set(world: &mut World, zone: &str, kind: Option<ZoneFaultKind>) {
    zone_faults::set(world.tx(), zone, kind).unwrap();
}

fn zones(world: &World) -> BTreeSet<String> {
    world.wanted().into_iter().map(|task| task.zone).collect()
}

#[test]
fn tasks_of_a_failed_zone_are_replaced_in_the_others_and_it_heals() {
    let mut world = World::new();
    world.create_service(4, true);
    world.settle();
    let before = zones(&world);
    let failed = before.first().unwrap().clone();
    set(&mut world, &failed, Some(ZoneFaultKind::Failed));
    let lost: Vec<_> = world
        .wanted()
        .into_iter()
        .filter(|task| task.zone == failed)
        .collect();
    assert_eq!(lost.len(), 2);
    for task in &lost {
        world.report(task, TaskPhase::Stopped);
    }
    world.settle();
    assert_eq!(world.wanted().len(), 4);
    assert!(!zones(&world).contains(&failed));
    assert!(world.told("has started 2 tasks: (task "));
    set(&mut world, &failed, None);
    let one = world.wanted()[0].clone();
    tasks::stop(world.tx(), &scope(), Some("main"), &one.arn, None).unwrap();
    world.settle();
    assert_eq!(zones(&world), before, "a new task goes where there is none");
}

#[test]
fn zones_are_evened_when_one_is_back_and_no_task_is_missed_meanwhile() {
    let mut world = World::new();
    world.create_service(4, true);
    world.settle();
    let before = zones(&world);
    let failed = before.first().unwrap().clone();
    set(&mut world, &failed, Some(ZoneFaultKind::Failed));
    for task in world
        .wanted()
        .into_iter()
        .filter(|task| task.zone == failed)
    {
        world.report(&task, TaskPhase::Stopped);
    }
    world.settle();
    assert_eq!(zones(&world).len(), 1);
    set(&mut world, &failed, None);
    for _ in 0..20 {
        world.host_acts();
        world.reconcile();
        world.nodes_see(fogbank_types::status::Health::Healthy);
        assert!((4..=8).contains(&world.wanted().len()));
    }
    assert_eq!(world.wanted().len(), 4);
    let there = world
        .wanted()
        .into_iter()
        .filter(|task| task.zone == failed)
        .count();
    assert_eq!(there, 2);
}

#[test]
fn without_a_zone_left_a_start_says_so_and_a_service_waits() {
    let mut world = World::new();
    for zone in ["us-east-1a", "us-east-1b"] {
        set(&mut world, zone, Some(ZoneFaultKind::Failed));
    }
    let command = world.run_task();
    let (started, failures) = tasks::run(world.tx(), &scope(), command).unwrap();
    assert!(started.is_empty());
    assert_eq!(
        (failures[0].reason.as_str(), &failures[0].detail),
        (CAPACITY, &None)
    );
    world.create_service(2, true);
    world.settle();
    assert!(world.wanted().is_empty());
    assert!(world.told(&format!("was unable to place a task. Reason: {CAPACITY}.")));
    set(&mut world, "us-east-1b", None);
    world.settle();
    assert_eq!(zones(&world), BTreeSet::from(["us-east-1b".to_owned()]));
    assert_eq!(world.wanted().len(), 2);
}

#[test]
fn an_isolated_zone_still_takes_tasks() {
    let mut world = World::new();
    set(&mut world, "us-east-1a", Some(ZoneFaultKind::Isolated));
    set(
        &mut world,
        "us-east-1b",
        Some(ZoneFaultKind::Slow { delay_ms: 5 }),
    );
    world.create_service(2, true);
    world.settle();
    assert_eq!(zones(&world).len(), 2);
}
