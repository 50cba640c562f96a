//! Health of containers and tasks by the health checks of their definitions.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/healthcheck.html>
//!
//! Called by DescribeTasks and by the scheduler. Hosts run the checks; nothing here runs anything.

use super::{health, task_definitions};
use fogbank_types::Snapshot;
use fogbank_types::ecs::{ContainerDefinition, Task};
use fogbank_types::status::{ContainerHealth, ContainerStatus};

/// Whether a definition has its containers checked; `NONE` is no check.
pub fn is_checked(container: &ContainerDefinition) -> bool {
    container
        .health_check
        .as_ref()
        .is_some_and(|check| check.command.first().is_some_and(|word| word != "NONE"))
}

/// Of a container; one without a check is unknown, and so is one that has not started.
pub fn of_container(
    definition: &ContainerDefinition,
    status: Option<&ContainerStatus>,
) -> ContainerHealth {
    status
        .filter(|_| is_checked(definition))
        .and_then(|status| status.health)
        .unwrap_or(ContainerHealth::Unknown)
}

/// Of a task: that of its essential containers that are checked, the worst first (fact ECS-11). `None`: none of them is
/// checked, which means nothing to a service.
pub fn of_task(snapshot: &Snapshot, task: &Task) -> Option<ContainerHealth> {
    let definition = task_definitions::find(snapshot, &task.scope, &task.task_definition_arn)?;
    let status = health::status(snapshot, task);
    let found: Vec<ContainerHealth> = definition
        .containers
        .iter()
        .filter(|container| container.essential && is_checked(container))
        .map(|container| {
            let known = status.and_then(|s| s.containers.iter().find(|c| c.name == container.name));
            of_container(container, known)
        })
        .collect();
    [
        ContainerHealth::Unhealthy,
        ContainerHealth::Unknown,
        ContainerHealth::Healthy,
    ]
    .into_iter()
    .find(|health| found.contains(health))
}

/// What DescribeTasks says of a task: an essential container without a check is unknown, and what is unknown outweighs
/// what is healthy.
pub fn shown(snapshot: &Snapshot, task: &Task) -> ContainerHealth {
    let definition = task_definitions::find(snapshot, &task.scope, &task.task_definition_arn);
    let all_checked = definition.is_some_and(|definition| {
        let mut essential = definition.containers.iter().filter(|c| c.essential);
        essential.all(is_checked)
    });
    match of_task(snapshot, task) {
        Some(ContainerHealth::Healthy) if !all_checked => ContainerHealth::Unknown,
        Some(health) => health,
        None => ContainerHealth::Unknown,
    }
}

pub fn word(health: ContainerHealth) -> &'static str {
    match health {
        ContainerHealth::Healthy => "HEALTHY",
        ContainerHealth::Unhealthy => "UNHEALTHY",
        ContainerHealth::Unknown => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ecs::fixture::{World, container, definition, scope};
    use crate::model::ecs::tasks;
    use fogbank_types::ecs::HealthCheck;
    use fogbank_types::status::{TaskPhase, TaskStatus};

    fn checked(name: &str, essential: bool) -> ContainerDefinition {
        ContainerDefinition {
            essential,
            port_mappings: Vec::new(),
            health_check: Some(HealthCheck {
                command: vec!["CMD".to_owned(), "true".to_owned()],
                interval_seconds: 30,
                timeout_seconds: 5,
                retries: 3,
                start_period_seconds: None,
            }),
            ..container(name)
        }
    }

    #[test]
    fn a_task_is_as_healthy_as_the_worst_of_its_checked_essential_containers() {
        use ContainerHealth::{Healthy, Unhealthy, Unknown};
        let mut world = World::new();
        let mut new = definition("checked");
        new.containers.push(checked("a", true));
        new.containers.push(checked("b", true));
        new.containers.push(checked("side", false));
        task_definitions::register(world.tx(), &scope(), new).unwrap();
        let mut command = world.run_task();
        command.task_definition = "checked".to_owned();
        let (started, _) = tasks::run(world.tx(), &scope(), command).unwrap();
        let task = &started[0];
        world.report(task, TaskPhase::Running);
        for (a, b, side, expected) in [
            (None, None, Some(Healthy), Unknown),
            (Some(Healthy), Some(Unknown), Some(Healthy), Unknown),
            (Some(Healthy), Some(Healthy), Some(Unhealthy), Healthy),
            (Some(Unhealthy), Some(Unknown), None, Unhealthy),
        ] {
            world
                .tx()
                .update::<TaskStatus>(&scope(), &task.id, |status| {
                    let one = status.containers[0].clone();
                    status.containers = [("main", None), ("a", a), ("b", b), ("side", side)]
                        .map(|(name, health)| ContainerStatus {
                            name: name.to_owned(),
                            health,
                            ..one.clone()
                        })
                        .to_vec();
                });
            assert_eq!(of_task(world.tx().snapshot(), task), Some(expected));
            // `main` is essential and has no check.
            let all = match expected {
                Unhealthy => Unhealthy,
                _ => Unknown,
            };
            assert_eq!(shown(world.tx().snapshot(), task), all);
        }
        let (plain, _) = {
            let command = world.run_task();
            tasks::run(world.tx(), &scope(), command).unwrap()
        };
        assert_eq!(of_task(world.tx().snapshot(), &plain[0]), None);
    }
}
