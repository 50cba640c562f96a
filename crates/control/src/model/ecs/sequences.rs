//! Random sequences of calls, hosts and time: nothing panics, no two tasks share an address, and all ends.

use super::fixture::{World, definition, scope};
use super::services::{self, ServiceUpdate};
use super::{clusters, health, task_definitions, tasks};
use fogbank_types::status::{Health, TaskPhase};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn act(world: &mut World, step: u8, number: usize) {
    let pick = |world: &World| {
        world
            .tasks()
            .get(number % world.tasks().len().max(1))
            .cloned()
    };
    let update = |change: &dyn Fn(&mut ServiceUpdate)| {
        let mut update = ServiceUpdate {
            name: "api".to_owned(),
            cluster: Some("main".to_owned()),
            ..ServiceUpdate::default()
        };
        change(&mut update);
        update
    };
    // Refusals are part of the game: what matters is what is left.
    match step {
        0 => {
            let new = world.new_service((number % 5) as i32, number.is_multiple_of(2));
            let _ = services::create(world.tx(), &scope(), new);
        }
        1 => {
            let update = update(&|u| u.desired_count = Some((number % 6) as i32 - 1));
            let _ = services::update(world.tx(), &scope(), update);
        }
        2 => {
            let update = update(&|u| u.force_new_deployment = true);
            let _ = services::update(world.tx(), &scope(), update);
        }
        3 => {
            let _ = services::delete(
                world.tx(),
                &scope(),
                Some("main"),
                "api",
                number.is_multiple_of(2),
            );
        }
        4 => {
            let mut command = world.run_task();
            command.count = Some((number % 12) as i32);
            let _ = tasks::run(world.tx(), &scope(), command);
        }
        5 => {
            if let Some(task) = pick(world) {
                let _ = tasks::stop(world.tx(), &scope(), Some("main"), &task.id, None);
            }
        }
        6 => {
            if let Some(task) = pick(world).filter(|task| task.stopped_at.is_none()) {
                let phases = [
                    TaskPhase::Pending,
                    TaskPhase::Running,
                    TaskPhase::Stopping,
                    TaskPhase::Stopped,
                ];
                world.report(&task, phases[number % 4]);
            }
        }
        7 => world.host_acts(),
        8 => world.nodes_see([Health::Initial, Health::Healthy, Health::Unhealthy][number % 3]),
        9 => world.tx().advance_ms((number as i64 % 400) * 1000),
        10 => {
            let _ = task_definitions::register(world.tx(), &scope(), definition("api"));
        }
        11 => {
            let _ =
                task_definitions::deregister(world.tx(), &scope(), &format!("api:{}", number % 3));
        }
        12 => {
            let _ = clusters::delete(world.tx(), &scope(), "main");
        }
        _ => {
            world.reconcile();
        }
    }
}

fn check(world: &World) -> Result<(), TestCaseError> {
    let snapshot = world.region.tx.snapshot();
    let mut addresses = BTreeSet::new();
    for eni in snapshot.enis.all() {
        for address in eni.addresses() {
            prop_assert!(
                addresses.insert((eni.vpc_id.clone(), address)),
                "{address} twice"
            );
        }
    }
    for task in snapshot.tasks.all() {
        if task.stopped_at.is_none() {
            prop_assert!(
                health::address(snapshot, task).is_some(),
                "a task without an interface"
            );
        } else {
            prop_assert!(
                health::address(snapshot, task).is_none(),
                "an interface without a task"
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_panics_and_all_ends(steps in proptest::collection::vec((0u8..16, 0usize..1000), 1..60)) {
        let mut world = World::new();
        for (step, number) in steps {
            act(&mut world, step, number);
            check(&world)?;
        }
        let _ = services::delete(world.tx(), &scope(), Some("main"), "api", true);
        for task in world.wanted() {
            let _ = tasks::stop(world.tx(), &scope(), Some("main"), &task.id, None);
        }
        for _ in 0..3 {
            world.settle();
            world.tx().advance_ms(300_000);
        }
        world.settle();
        check(&world)?;
        prop_assert!(world.tasks().iter().all(|task| task.stopped_at.is_some()));
        world.tx().advance_ms(3_600_000);
        world.settle();
        let snapshot = world.region.tx.snapshot();
        prop_assert!(snapshot.tasks.is_empty() && snapshot.task_statuses.is_empty() && snapshot.services.is_empty());
    }
}
