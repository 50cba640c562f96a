//! Every service has its desired number of tasks of its newest deployment: starts, replaces and stops tasks within the
//! deployment's bounds, and tells in the service's events what it did (facts SVC-1 to SVC-14).
//!
//! The arithmetic is `model::ecs::rollout`; here it meets the rows. Failed starts are counted by `task_lifecycle`.

use crate::model::Tx;
use crate::model::ecs::health::{self, Health, TargetFailure};
use crate::model::ecs::rollout::{self, Bounds, TaskView, Verdict};
use crate::model::ecs::tasks::{self, Launch};
use crate::model::ecs::{services, task_definitions};
use fogbank_types::ecs::{
    Deployment, DesiredStatus, RolloutState, Service, ServiceStatus, Task, TaskOverrides,
};
use fogbank_types::status::TaskPhase;
use fogbank_types::{Tags, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Tasks that one pass starts, and stops, for a service; the next pass goes on. A transaction and an event stay small
/// however many are desired, and other callers get their turn in between.
const TASKS_PER_PASS: usize = 50;
const STEADY: &str = "has reached a steady state.";
/// The steady state is told again after this (fact SVC-12).
const STEADY_AGAIN_MS: u64 = 6 * 3600 * 1000;
/// A service that is over stays visible this long.
const INACTIVE_VISIBLE_MS: u64 = 3600 * 1000;
/// Pause after a start that found no place.
const NO_PLACE_MS: u64 = 15_000;
/// The first and the longest pause between starts that fail (fact SVC-10).
const THROTTLE_FIRST_MS: u64 = 5_000;
const THROTTLE_MAX_MS: u64 = 15 * 60 * 1000;
/// Rounds of failures before starts are slowed.
const ROUNDS_FREE: u64 = 3;
/// A start takes AWS tens of seconds, us milliseconds: crashes right after the start are paced by us, so that a task
/// that cannot live does not take the machine.
const CRASHES_WITHIN_MS: i64 = 60_000;
const CRASH_PAUSE_MAX_MS: u64 = 15_000;

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    let all: Vec<Arc<Service>> = tx.snapshot().services.all().cloned().collect();
    all.iter().filter_map(|row| one(tx, row)).min()
}

fn one(tx: &mut Tx, row: &Arc<Service>) -> Option<Timestamp> {
    let mut service = Service::clone(row);
    let wake = match service.status {
        ServiceStatus::Inactive => {
            let over = service.deleted_at.unwrap_or(service.created_at);
            let until = over.plus_ms(tx.config().scaled_ms(INACTIVE_VISIBLE_MS) as i64);
            if tx.now() >= until {
                tx.delete::<Service>(
                    &service.scope,
                    format!("{}/{}", service.cluster, service.name),
                );
                return None;
            }
            Some(until)
        }
        ServiceStatus::Active | ServiceStatus::Draining => {
            retire_deployments(tx, &mut service);
            note_recovery(tx, &mut service);
            break_circuit(tx, &mut service);
            let mut wake = step(tx, &mut service);
            finish(tx, &mut service, &mut wake);
            wake.0
        }
    };
    if service != **row {
        tx.put(service);
    }
    wake
}

/// The earliest time to look again.
struct Wake(Option<Timestamp>);

impl Wake {
    fn at(&mut self, time: Timestamp) {
        self.0 = Some(self.0.map_or(time, |earlier| earlier.min(time)));
    }
}

fn event(tx: &mut Tx, service: &mut Service, text: &str) {
    let id = tx.uuid();
    services::event(service, id, tx.now(), text);
}

/// Older deployments disappear with their last task.
fn retire_deployments(tx: &mut Tx, service: &mut Service) {
    let live: Vec<Option<String>> = services::tasks_of(tx.snapshot(), service)
        .filter(|task| task.stopped_at.is_none())
        .map(|task| task.started_by.clone())
        .collect();
    let over: Vec<String> = service
        .deployments
        .iter()
        .filter(|d| !d.primary && !live.iter().any(|id| id.as_ref() == Some(&d.id)))
        .map(|d| d.id.clone())
        .collect();
    for id in over {
        services::retire(service, &id);
    }
}

/// The first running task after failures clears their count (fact SVC-9).
fn note_recovery(tx: &Tx, service: &mut Service) {
    let snapshot = tx.snapshot();
    let Some(primary) = service.deployments.iter().position(|d| d.primary) else {
        return;
    };
    let deployment = &service.deployments[primary];
    if deployment.failed_tasks == 0 {
        return;
    }
    let recovered = services::tasks_of(snapshot, service)
        .filter(|task| task.started_by.as_ref() == Some(&deployment.id))
        .filter_map(|task| health::status(snapshot, task))
        .filter(|status| status.phase == TaskPhase::Running)
        .any(|status| status.started_at > deployment.last_failure_at);
    if recovered {
        service.deployments[primary].failed_tasks = 0;
    }
}

/// Fact SVC-8.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html>
fn break_circuit(tx: &mut Tx, service: &mut Service) {
    let Some((true, rollback)) = service.circuit_breaker else {
        return;
    };
    let threshold = service.desired_count.div_ceil(2).clamp(3, 200);
    let now = tx.now();
    let Some(primary) = service.deployments.iter_mut().find(|d| d.primary) else {
        return;
    };
    let worst = primary.failed_tasks.max(primary.failed_health_checks);
    if primary.rollout_state != RolloutState::InProgress || worst < threshold {
        return;
    }
    let why = if primary.failed_tasks >= threshold {
        "tasks failed to start"
    } else {
        "tasks failed health checks"
    };
    primary.rollout_state = RolloutState::Failed;
    primary.rollout_reason = format!("ECS deployment circuit breaker: {why}.");
    primary.updated_at = now;
    primary.finished_at = Some(now);
    let failed = primary.clone();
    event(
        tx,
        service,
        &format!("(deployment {}) deployment failed: {why}.", failed.id),
    );
    if rollback && failed.rollback_of.is_none() {
        roll_back(tx, service, &failed);
    }
}

fn roll_back(tx: &mut Tx, service: &mut Service, failed: &Deployment) {
    let known = service.deployments.iter().chain(&service.past_deployments);
    let Some(good) = known
        .filter(|d| d.rollout_state == RolloutState::Completed)
        .max_by_key(|d| (d.created_at, d.id.clone()))
        .cloned()
    else {
        return;
    };
    service.task_definition_arn = good.task_definition_arn;
    service.network = good.network;
    service.load_balancers = good.load_balancers;
    services::deploy(tx, service, Some(failed.id.clone()));
    event(
        tx,
        service,
        &format!("rolling back to deployment {}.", good.id),
    );
}

/// Starts and stops what the plan says.
fn step(tx: &mut Tx, service: &mut Service) -> Wake {
    let mut wake = Wake(None);
    let Some(primary) = service.deployments.iter().find(|d| d.primary).cloned() else {
        return wake;
    };
    let (views, failures) = views(tx, service, &primary, &mut wake);
    let paused_until = pause(tx, service, &primary);
    let paused = paused_until.is_some_and(|until| tx.now() < until);
    let may_start = service.status == ServiceStatus::Active
        && primary.rollout_state != RolloutState::Failed
        && !paused;
    let bounds = Bounds {
        desired: service.desired_count as usize,
        minimum_percent: service.minimum_healthy_percent,
        maximum_percent: service.maximum_percent,
    };
    let mut plan = rollout::plan(bounds, &views, may_start);
    plan.starts = plan.starts.min(TASKS_PER_PASS);
    plan.scaled_in.truncate(TASKS_PER_PASS);
    plan.unhealthy.truncate(TASKS_PER_PASS);
    if paused && let Some(until) = paused_until {
        wake.at(until);
    }
    if plan.stalled {
        tell_once(
            tx,
            service,
            "was unable to stop or start tasks during a deployment because of the service deployment configuration. Update the minimumHealthyPercent or maximumPercent value and try again.",
        );
    }
    stop(tx, service, &primary, &plan, &failures);
    start(tx, service, &primary, plan.starts, &mut wake);
    wake
}

/// An event that says what the newest one says is not repeated.
fn tell_once(tx: &mut Tx, service: &mut Service, text: &str) {
    if !service
        .events
        .first()
        .is_some_and(|newest| newest.message.ends_with(text))
    {
        event(tx, service, text);
    }
}

fn views(
    tx: &Tx,
    service: &Service,
    primary: &Deployment,
    wake: &mut Wake,
) -> (Vec<TaskView>, BTreeMap<String, TargetFailure>) {
    let snapshot = tx.snapshot();
    let (mut views, mut failures) = (Vec::new(), BTreeMap::new());
    for task in
        services::tasks_of(snapshot, service).filter(|task| health::is_alive(snapshot, task))
    {
        let mut verdict =
            match health::of_task(snapshot, task, tx.now(), |ms| tx.config().scaled_ms(ms)) {
                Health::Healthy => Verdict::Healthy,
                Health::Unhealthy(failure) => {
                    failures.insert(task.id.clone(), failure);
                    Verdict::Unhealthy
                }
                Health::Unknown(sure) => {
                    if let Some(sure) = sure {
                        wake.at(sure);
                    }
                    Verdict::Unknown
                }
            };
        if verdict == Verdict::Unhealthy
            && let Some(end) = grace_end(tx, service, task)
            && tx.now() < end
        {
            wake.at(end);
            verdict = Verdict::Unknown;
        }
        views.push(TaskView {
            id: task.id.clone(),
            zone: task.zone.clone(),
            created_at: task.created_at,
            primary: task.started_by.as_ref() == Some(&primary.id),
            running: health::phase(snapshot, task) == Some(TaskPhase::Running),
            verdict,
        });
    }
    (views, failures)
}

/// Until then an unhealthy target is ignored (fact SVC-3).
fn grace_end(tx: &Tx, service: &Service, task: &Task) -> Option<Timestamp> {
    let grace_ms = u64::from(service.health_check_grace_period_seconds?) * 1000;
    let started = health::status(tx.snapshot(), task)?.started_at?;
    Some(started.plus_ms(tx.config().scaled_ms(grace_ms) as i64))
}

/// Until when nothing is started, because starts fail or tasks crash.
fn pause(tx: &Tx, service: &Service, primary: &Deployment) -> Option<Timestamp> {
    let desired = u64::from(service.desired_count.max(1));
    let doubled = |first_ms: u64, rounds: u64, max_ms: u64| {
        first_ms
            .saturating_mul(1 << (rounds - ROUNDS_FREE).min(20))
            .min(max_ms)
    };
    let rounds = u64::from(primary.failed_tasks) / desired;
    let throttled = primary
        .last_failure_at
        .filter(|_| rounds >= ROUNDS_FREE)
        .map(|since| {
            let pause_ms = doubled(THROTTLE_FIRST_MS, rounds, THROTTLE_MAX_MS);
            since.plus_ms(tx.config().scaled_ms(pause_ms) as i64)
        });
    let recent = tx.now().plus_ms(-CRASHES_WITHIN_MS);
    let snapshot = tx.snapshot();
    let crashes: Vec<Timestamp> = services::tasks_of(snapshot, service)
        .filter(|task| task.started_by.as_ref() == Some(&primary.id) && task.stop.is_none())
        .filter(|task| task.desired == DesiredStatus::Stopped)
        .map(|task| {
            let told =
                health::status(snapshot, task).and_then(|status| status.execution_stopped_at);
            task.stopped_at.or(told).unwrap_or(task.created_at)
        })
        .filter(|stopped| *stopped >= recent)
        .collect();
    let rounds = crashes.len() as u64 / desired;
    let paced = crashes
        .into_iter()
        .max()
        .filter(|_| rounds >= ROUNDS_FREE)
        .map(|last| last.plus_ms(doubled(1000, rounds, CRASH_PAUSE_MAX_MS) as i64));
    throttled.max(paced)
}

fn stop(
    tx: &mut Tx,
    service: &mut Service,
    primary: &Deployment,
    plan: &rollout::Plan,
    failures: &BTreeMap<String, TargetFailure>,
) {
    let scope = service.scope.clone();
    for id in &plan.unhealthy {
        let Some(failure) = failures.get(id) else {
            continue;
        };
        let text = format!(
            "(task {id}) (port {}) is unhealthy in (target-group {}) due to (reason {}).",
            failure.port, failure.target_group_arn, failure.reason
        );
        event(tx, service, &text);
        if let Some(deployment) = service.deployments.iter_mut().find(|d| d.primary) {
            deployment.failed_health_checks += 1;
        }
    }
    let (mut stopped, mut drained) = (Vec::new(), 0);
    for id in plan.unhealthy.iter().chain(&plan.scaled_in) {
        let Some(task) = tx.snapshot().tasks.get(&scope, id).cloned() else {
            continue;
        };
        let reason = match failures.get(id).filter(|_| plan.unhealthy.contains(id)) {
            Some(failure) => format!(
                "Task failed ELB health checks in (target-group {})",
                failure.target_group_arn
            ),
            None => format!("Scaling activity initiated by (deployment {})", primary.id),
        };
        drained += usize::from(!health::registered(tx.snapshot(), &task).is_empty());
        tasks::begin_stop(tx, &task, "ServiceSchedulerInitiated", reason);
        stopped.push(format!("(task {id})"));
    }
    if !stopped.is_empty() {
        let text = format!(
            "has stopped {} running tasks: {}.",
            stopped.len(),
            stopped.join(" ")
        );
        event(tx, service, &text);
    }
    if drained > 0 {
        event(
            tx,
            service,
            &format!("has begun draining connections on {drained} tasks."),
        );
    }
}

fn start(tx: &mut Tx, service: &mut Service, primary: &Deployment, count: usize, wake: &mut Wake) {
    if count == 0 {
        return;
    }
    let Some(launch) = launch(tx, service, primary) else {
        tell_once(
            tx,
            service,
            "was unable to place a task. Reason: the task definition is not there any more.",
        );
        return;
    };
    let mut started = Vec::new();
    for _ in 0..count {
        match tasks::start(tx, &service.scope, &launch) {
            Ok(task) => started.push(format!("(task {})", task.id)),
            Err(reason) => {
                tell_once(
                    tx,
                    service,
                    &format!("was unable to place a task. Reason: {reason}."),
                );
                wake.at(tx.now().plus_ms(tx.config().scaled_ms(NO_PLACE_MS) as i64));
                break;
            }
        }
    }
    if !started.is_empty() {
        let text = format!(
            "has started {} tasks: {}.",
            started.len(),
            started.join(" ")
        );
        event(tx, service, &text);
    }
}

fn launch(tx: &Tx, service: &Service, primary: &Deployment) -> Option<Launch> {
    let definition =
        task_definitions::find(tx.snapshot(), &service.scope, &primary.task_definition_arn)?
            .clone();
    let mut tags = match service.propagate_tags.as_str() {
        "SERVICE" => service.tags.clone(),
        "TASK_DEFINITION" => definition.tags.clone(),
        _ => Tags::new(),
    };
    if service.enable_ecs_managed_tags {
        tags.insert("aws:ecs:clusterName".to_owned(), service.cluster.clone());
        tags.insert("aws:ecs:serviceName".to_owned(), service.name.clone());
    }
    let provider = service
        .capacity_provider_strategy
        .iter()
        .max_by_key(|item| (item.base > 0, item.weight));
    Some(Launch {
        cluster: service.cluster.clone(),
        definition,
        network: primary.network.clone(),
        group: format!("service:{}", service.name),
        started_by: Some(primary.id.clone()),
        launch_type: "FARGATE".to_owned(),
        capacity_provider: provider.map(|item| item.capacity_provider.clone()),
        platform_version: primary.platform_version.clone(),
        overrides: TaskOverrides::default(),
        enable_execute_command: service.enable_execute_command,
        client_token: None,
        tags,
    })
}

/// Completes the deployment and tells the steady state; ends a service that drains when its last task is over.
fn finish(tx: &mut Tx, service: &mut Service, wake: &mut Wake) {
    let now = tx.now();
    let snapshot = tx.snapshot();
    let live: Vec<&Arc<Task>> = services::tasks_of(snapshot, service)
        .filter(|task| task.stopped_at.is_none())
        .collect();
    if service.status == ServiceStatus::Draining {
        if live.is_empty() {
            service.status = ServiceStatus::Inactive;
            service.deployments.clear();
            wake.at(now.plus_ms(tx.config().scaled_ms(INACTIVE_VISIBLE_MS) as i64));
        }
        return;
    }
    let alive = live
        .iter()
        .filter(|task| health::is_alive(snapshot, task))
        .count();
    let healthy = live
        .iter()
        .filter(|task| health::is_alive(snapshot, task))
        .filter(|task| {
            health::of_task(snapshot, task, now, |ms| tx.config().scaled_ms(ms)) == Health::Healthy
        })
        .count();
    let desired = service.desired_count as usize;
    if service.deployments.len() != 1 || alive != desired || healthy != desired {
        return;
    }
    let mut completed = None;
    for deployment in &mut service.deployments {
        if deployment.rollout_state == RolloutState::InProgress {
            deployment.rollout_state = RolloutState::Completed;
            deployment.rollout_reason = format!("ECS deployment {} completed.", deployment.id);
            deployment.updated_at = now;
            deployment.finished_at = Some(now);
            completed = Some(deployment.id.clone());
        }
    }
    if let Some(id) = completed {
        event(
            tx,
            service,
            &format!("(deployment {id}) deployment completed."),
        );
    }
    let told = service
        .events
        .first()
        .filter(|newest| newest.message.ends_with(STEADY))
        .map(|e| e.created_at);
    let again = tx.config().scaled_ms(STEADY_AGAIN_MS) as i64;
    if told.is_none_or(|told| told.plus_ms(again) <= now) {
        event(tx, service, STEADY);
    }
    let told = service.events.first().map_or(now, |e| e.created_at);
    wake.at(told.plus_ms(again));
}

#[cfg(test)]
#[path = "service_count_tests.rs"]
mod tests;
