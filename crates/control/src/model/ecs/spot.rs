//! Interruptions of tasks on FARGATE_SPOT, when the operator wants to see one (fact TASK-13).
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-capacity-providers.html>
//!
//! Called by the server for `POST /_fogbank/spot`. AWS's two-minute warning *is* the SIGTERM: a task is told at once, also
//! one that a load balancer still sends requests to, and killed when its stopTimeout (two minutes at most) is over.

use super::tasks;
use crate::model::Tx;
use fogbank_types::ecs::{DesiredStatus, Task};
use std::sync::Arc;

const PROVIDER: &str = "FARGATE_SPOT";

/// Why nothing is interrupted. For the operator, not for clients of AWS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "no running task or service is called '{0}'; give a task's id (or its start) or ARN, or a service as NAME or CLUSTER/NAME"
    )]
    Unknown(String),
    #[error("'{0}' does not run on FARGATE_SPOT; only Spot capacity is interrupted")]
    NotSpot(String),
}

/// Interrupts a task, the tasks of a service, or (`None`) all that run on Spot capacity. Their ids.
pub fn interrupt(tx: &mut Tx, what: Option<&str>) -> Result<Vec<String>, Refusal> {
    let running = |task: &&Arc<Task>| task.desired == DesiredStatus::Running;
    let named = |task: &&Arc<Task>| what.is_none_or(|what| is_called(task, what));
    let found: Vec<Arc<Task>> = tx
        .snapshot()
        .tasks
        .all()
        .filter(running)
        .filter(named)
        .cloned()
        .collect();
    let spot: Vec<&Arc<Task>> = found
        .iter()
        .filter(|task| task.capacity_provider.as_deref() == Some(PROVIDER))
        .collect();
    if let Some(what) = what
        && spot.is_empty()
    {
        return Err(match found.is_empty() {
            true => Refusal::Unknown(what.to_owned()),
            false => Refusal::NotSpot(what.to_owned()),
        });
    }
    for task in &spot {
        let reason = "Your Spot Task was interrupted.".to_owned();
        tasks::begin_stop(tx, task, "SpotInterruption", reason);
        // The warning does not wait for connections to drain.
        tx.update::<Task>(&task.scope, &task.id, |task| task.stop_containers = true);
    }
    Ok(spot.into_iter().map(|task| task.id.clone()).collect())
}

fn is_called(task: &Task, what: &str) -> bool {
    // A few digits say which task is meant; fewer may be a service's name.
    let by_id = task.id == what || (what.len() >= 6 && task.id.starts_with(what));
    let service = task.group.strip_prefix("service:");
    let by_service = service.is_some_and(|name| {
        name == what || what.split_once('/') == Some((task.cluster.as_str(), name))
    });
    by_id || task.arn == what || by_service
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ecs::fixture::{World, scope};
    use crate::model::ecs::services;
    use crate::model::ecs::tasks::Capacity;
    use fogbank_types::ecs::CapacityProviderStrategyItem;

    fn world(provider: &str) -> World {
        let mut world = World::new();
        let providers = ["FARGATE".to_owned(), PROVIDER.to_owned()];
        world
            .tx()
            .update::<fogbank_types::ecs::Cluster>(&scope(), "main", |cluster| {
                cluster.capacity_providers = providers.to_vec();
            });
        let mut new = world.new_service(2, true);
        new.capacity = Capacity {
            strategy: vec![CapacityProviderStrategyItem {
                capacity_provider: provider.to_owned(),
                weight: 1,
                base: 0,
            }],
            ..Capacity::default()
        };
        services::create(world.tx(), &scope(), new).unwrap();
        world.settle();
        world
    }

    #[test]
    fn an_interrupted_task_is_told_at_once_and_replaced() {
        let mut world = world(PROVIDER);
        let id = world.wanted()[0].id.clone();
        assert_eq!(
            interrupt(world.tx(), Some(&id[..8])).unwrap(),
            std::slice::from_ref(&id)
        );
        let task = Task::clone(world.tx().snapshot().tasks.get(&scope(), &id).unwrap());
        assert!(task.stop_containers);
        let stop = task.stop.unwrap();
        assert_eq!(
            (stop.code.as_str(), stop.reason.as_str()),
            ("SpotInterruption", "Your Spot Task was interrupted.")
        );
        world.settle();
        let wanted = world.wanted();
        assert!(wanted.len() == 2 && wanted.iter().all(|task| task.id != id));
        assert_eq!(interrupt(world.tx(), Some("main/api")).unwrap().len(), 2);
        assert_eq!(interrupt(world.tx(), None).unwrap().len(), 0);
    }

    #[test]
    fn only_spot_capacity_is_interrupted() {
        let mut world = world("FARGATE");
        assert_eq!(
            interrupt(world.tx(), Some("api")),
            Err(Refusal::NotSpot("api".to_owned()))
        );
        assert_eq!(
            interrupt(world.tx(), Some("gone")),
            Err(Refusal::Unknown("gone".to_owned()))
        );
        assert_eq!(interrupt(world.tx(), None), Ok(Vec::new()));
    }
}
