//! Task scale-in protection (fact SVC-17): protected tasks are left alone by scale-in and deployments.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection.html>

use super::{Refusal, clusters, health, invalid, tasks};
use crate::model::Tx;
use fogbank_types::ecs::Task;
use fogbank_types::{Scope, Snapshot, Timestamp};
use std::sync::Arc;

const MINUTES_DEFAULT: i32 = 120;
const MINUTES_MAX: i32 = 2880;
const TASKS_MAX: usize = 10;
/// GetTaskProtection takes more.
const READ_TASKS_MAX: usize = 100;

/// A task with the end of its protection.
pub type Protected = (String, Option<Timestamp>);
/// A task's ARN, why nothing is said of it, and the detail.
pub type Unprotectable = (String, &'static str, String);

pub fn is_protected(task: &Task, now: Timestamp) -> bool {
    task.protected_until.is_some_and(|until| now < until)
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateTaskProtection.html>
pub fn update(
    tx: &mut Tx,
    scope: &Scope,
    cluster: Option<&str>,
    wanted: &[String],
    enabled: bool,
    minutes: Option<i32>,
) -> Result<(Vec<Protected>, Vec<Unprotectable>), Refusal> {
    let minutes = minutes.unwrap_or(MINUTES_DEFAULT);
    if enabled && !(1..=MINUTES_MAX).contains(&minutes) {
        return Err(invalid(format!(
            "expiresInMinutes must be between 1 and {MINUTES_MAX}."
        )));
    }
    check_count(wanted, TASKS_MAX)?;
    let (found, failures) = sort(tx.snapshot(), scope, cluster, wanted)?;
    let length_ms = tx.config().scaled_ms(minutes as u64 * 60_000) as i64;
    let until = enabled.then(|| tx.now().plus_ms(length_ms));
    for task in &found {
        tx.update::<Task>(scope, &task.id, |task| task.protected_until = until);
    }
    let done = found.iter().map(|task| (task.arn.clone(), until)).collect();
    Ok((done, failures))
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_GetTaskProtection.html>
pub fn get(
    snapshot: &Snapshot,
    scope: &Scope,
    cluster: Option<&str>,
    wanted: &[String],
    now: Timestamp,
) -> Result<(Vec<Protected>, Vec<Unprotectable>), Refusal> {
    check_count(wanted, READ_TASKS_MAX)?;
    let (found, failures) = sort(snapshot, scope, cluster, wanted)?;
    let until = |task: &Arc<Task>| task.protected_until.filter(|_| is_protected(task, now));
    Ok((
        found
            .iter()
            .map(|task| (task.arn.clone(), until(task)))
            .collect(),
        failures,
    ))
}

fn check_count(wanted: &[String], max: usize) -> Result<(), Refusal> {
    match wanted.len() {
        0 => Err(invalid("Tasks cannot be empty.")),
        count if count > max => Err(invalid(format!("tasks can have at most {max} items."))),
        _ => Ok(()),
    }
}

/// Tasks of services that run, and the others.
fn sort(
    snapshot: &Snapshot,
    scope: &Scope,
    cluster: Option<&str>,
    wanted: &[String],
) -> Result<(Vec<Arc<Task>>, Vec<Unprotectable>), Refusal> {
    let cluster = clusters::find(snapshot, scope, cluster)?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for text in wanted {
        let arn = if text.starts_with("arn:") {
            text.clone()
        } else {
            scope.arn("ecs", &format!("task/{}/{text}", cluster.name))
        };
        match tasks::find(snapshot, cluster, text) {
            Some(task) if !task.group.starts_with("service:") => failures.push((
                arn,
                "TASK_NOT_VALID",
                "The task is not part of a service.".to_owned(),
            )),
            Some(task) if !health::is_alive(snapshot, task) => failures.push((
                arn,
                "TASK_NOT_VALID",
                "The task is stopping or stopped.".to_owned(),
            )),
            Some(task) => found.push(task.clone()),
            None => failures.push((arn, "MISSING", "The task was not found.".to_owned())),
        }
    }
    Ok((found, failures))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{World, scope};
    use super::*;

    #[test]
    fn a_protected_task_outlives_scale_in_until_its_time_is_over() {
        let mut world = World::new();
        world.create_service(2, false);
        world.settle();
        let ids: Vec<String> = world.tasks().into_iter().map(|task| task.id).collect();
        let (done, failed) =
            update(world.tx(), &scope(), Some("main"), &ids, true, Some(1)).unwrap();
        assert_eq!((done.len(), failed.len()), (2, 0));
        world.scale(0);
        world.settle();
        assert_eq!(world.wanted().len(), 2, "protected");
        world.tx().advance_ms(61_000);
        world.settle();
        assert_eq!(world.wanted().len(), 0);
    }

    #[test]
    fn tasks_without_a_service_and_unknown_ones_are_failures() {
        let mut world = World::new();
        let run = world.run_task();
        let (tasks, _) = tasks::run(world.tx(), &scope(), run).unwrap();
        let wanted = [tasks[0].id.clone(), "0".repeat(32)];
        let (done, failed) =
            update(world.tx(), &scope(), Some("main"), &wanted, true, None).unwrap();
        assert!(done.is_empty());
        let reasons: Vec<_> = failed.iter().map(|failure| failure.1).collect();
        assert_eq!(reasons, ["TASK_NOT_VALID", "MISSING"]);
        assert!(update(world.tx(), &scope(), Some("main"), &wanted, true, Some(0)).is_err());
    }
}
