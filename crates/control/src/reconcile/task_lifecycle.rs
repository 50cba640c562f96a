//! A task's end: containers are stopped only when nothing is sent to them any more, the interface is released when the
//! host says that no process is left, and a task that is over disappears after an hour (facts SVC-4, TASK-1, TASK-7).

use crate::model::Tx;
use crate::model::ecs::{connect, health, services};
use crate::model::vpc::enis;
use fogbank_types::Timestamp;
use fogbank_types::ecs::{DesiredStatus, Service, Task};
use fogbank_types::status::{TaskPhase, TaskStatus};
use std::sync::Arc;

/// How long tasks that are over stay visible.
const STOPPED_VISIBLE_MS: u64 = 3600 * 1000;

/// Tasks that one pass takes on; the next pass goes on. Thousands that end together would be a transaction that the
/// store does not take.
const TASKS_PER_PASS: usize = 500;

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    let all: Vec<Arc<Task>> = tx.snapshot().tasks.all().cloned().collect();
    let (mut wake, mut changed) = (None, 0);
    for task in &all {
        wake = [wake, one(tx, task)].into_iter().flatten().min();
        let now = tx.snapshot().tasks.get(&task.scope, &task.id);
        changed += usize::from(now.is_none_or(|now| !Arc::ptr_eq(now, task)));
        if changed >= TASKS_PER_PASS {
            return Some(tx.now());
        }
    }
    forget_statuses(tx);
    wake
}

fn one(tx: &mut Tx, task: &Arc<Task>) -> Option<Timestamp> {
    if let Some(stopped_at) = task.stopped_at {
        let until = stopped_at.plus_ms(tx.config().scaled_ms(STOPPED_VISIBLE_MS) as i64);
        if tx.now() >= until {
            tx.delete::<Task>(&task.scope, &task.id);
            return None;
        }
        return Some(until);
    }
    let phase = health::phase(tx.snapshot(), task);
    if task.desired == DesiredStatus::Running {
        if phase.is_none_or(|phase| phase < TaskPhase::Stopping) {
            return None;
        }
        // It ended by itself: the host's status says why.
        tx.update::<Task>(&task.scope, &task.id, |task| {
            task.desired = DesiredStatus::Stopped
        });
        count_failed_start(tx, task);
    }
    // While it is a target, even a draining one, its address must not go to another task.
    if !health::registered(tx.snapshot(), task).is_empty() {
        return None;
    }
    if phase == Some(TaskPhase::Stopped) {
        release(tx, task);
    } else if !task.stop_containers {
        let drained_at = connect::drained_at(tx.snapshot(), tx.config(), task);
        if let Some(at) = drained_at.filter(|at| tx.now() < *at) {
            return Some(at);
        }
        tx.update::<Task>(&task.scope, &task.id, |task| task.stop_containers = true);
    }
    None
}

fn release(tx: &mut Tx, task: &Task) {
    enis::delete(tx, &task.scope, &task.eni_id);
    let now = tx.now();
    tx.update::<Task>(&task.scope, &task.id, |task| {
        task.stopped_at = Some(now);
        task.stop_containers = true;
    });
}

/// A task that ends without ever having run slows the scheduler (fact SVC-10) and counts for the circuit breaker.
fn count_failed_start(tx: &mut Tx, task: &Task) {
    let ran = health::status(tx.snapshot(), task).is_some_and(|status| status.started_at.is_some());
    let (Some(name), Some(deployment_id)) = (task.group.strip_prefix("service:"), &task.started_by)
    else {
        return;
    };
    if ran || task.stop.is_some() {
        return;
    }
    let (now, event_id) = (tx.now(), tx.uuid());
    tx.update::<Service>(&task.scope, format!("{}/{name}", task.cluster), |service| {
        let desired = service.desired_count.max(1);
        let Some(deployment) = service.deployments.iter_mut().find(|d| &d.id == deployment_id) else { return };
        deployment.failed_tasks += 1;
        deployment.last_failure_at = Some(now);
        deployment.updated_at = now;
        if deployment.failed_tasks == 3 * desired {
            services::event(
                service,
                event_id,
                now,
                "is unable to consistently start tasks successfully. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.",
            );
        }
    });
}

/// A status whose task is gone was written by a host that had not seen that yet.
fn forget_statuses(tx: &mut Tx) {
    let orphans: Vec<_> = tx
        .snapshot()
        .task_statuses
        .all()
        .filter(|status| !tx.snapshot().tasks.contains(&status.scope, &status.id))
        .map(|status| (status.scope.clone(), status.id.clone()))
        .take(TASKS_PER_PASS)
        .collect();
    for (scope, id) in orphans {
        tx.delete::<TaskStatus>(&scope, &id);
    }
}

#[cfg(test)]
#[path = "task_lifecycle_tests.rs"]
mod tests;
