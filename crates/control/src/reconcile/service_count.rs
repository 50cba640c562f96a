//! Every service has its desired number of tasks of its newest deployment: starts, replaces and stops tasks within the
//! deployment's bounds, and tells in the service's events what it did (facts SVC-1 to SVC-14).
//!
//! The arithmetic is `model::ecs::rollout`; here it meets the rows. When a deployment fails, completes or shifts traffic
//! is decided by `deployments`. Failed starts are counted by `task_lifecycle`.

#[path = "service_deployments.rs"]
mod deployments;

use crate::model::Tx;
use crate::model::ecs::health::{self, Failure, Health, Targets};
use crate::model::ecs::rollout::{self, Bounds, TaskView, Verdict};
use crate::model::ecs::services::TasksByService;
use crate::model::ecs::tasks::{self, Launch, NoPlace, Sites};
use crate::model::ecs::{capacity, protection, services, task_definitions};
use fogbank_types::ecs::{
    Deployment, DesiredStatus, RolloutState, Service, ServiceStatus, Task, TaskOverrides,
};
use fogbank_types::rollout::LifecycleStage;
use fogbank_types::status::TaskPhase;
use fogbank_types::{Tags, Timestamp};
use std::collections::{BTreeMap, HashSet};
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
    let tasks = TasksByService::of(tx.snapshot());
    all.iter()
        .filter_map(|row| one(tx, row, &tasks.live_and_over(row)))
        .min()
}

fn one(tx: &mut Tx, row: &Arc<Service>, own: &[&Arc<Task>]) -> Option<Timestamp> {
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
            let mut wake = Wake(None);
            deployments::retire(tx, &mut service, own);
            deployments::note_recovery(tx, &mut service, own);
            let seen = see(tx, &service, own, &mut wake);
            deployments::watch(tx, &mut service);
            deployments::advance(tx, &mut service, &seen, &mut wake);
            if !step(tx, &mut service, &seen, &mut wake) {
                deployments::finish(tx, &mut service, &seen, &mut wake);
            }
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

/// A service's tasks as one pass sees them.
struct Seen<'a> {
    tasks: &'a [&'a Arc<Task>],
    /// Those that run or will, with the deployment that each is of.
    alive: Vec<(&'a str, TaskView)>,
    failures: BTreeMap<String, Failure>,
}

impl Seen<'_> {
    fn of<'s>(&'s self, deployment: &'s str) -> impl Iterator<Item = &'s TaskView> + 's {
        self.alive
            .iter()
            .filter(move |(id, _)| *id == deployment)
            .map(|(_, view)| view)
    }

    /// Tasks that are not over yet, stopping ones included.
    fn live(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks
            .iter()
            .filter(|task| task.stopped_at.is_none())
            .copied()
    }
}

fn see<'a>(tx: &Tx, service: &Service, own: &'a [&'a Arc<Task>], wake: &mut Wake) -> Seen<'a> {
    let (snapshot, now) = (tx.snapshot(), tx.now());
    let targets = Targets::of(snapshot, service);
    let scaled = |ms| tx.config().scaled_ms(ms);
    let mut seen = Seen {
        tasks: own,
        alive: Vec::new(),
        failures: BTreeMap::new(),
    };
    for task in own.iter().filter(|task| health::is_alive(snapshot, task)) {
        let id = task.started_by.as_deref().unwrap_or_default();
        let deployment = service.deployments.iter().find(|d| d.id == id);
        let verdict = match health::of_task(snapshot, task, deployment, &targets, now, scaled) {
            Health::Healthy => Verdict::Healthy,
            Health::Unhealthy(failure) => match grace_end(tx, service, task) {
                Some(end) if now < end => {
                    wake.at(end);
                    Verdict::Unknown
                }
                _ => {
                    seen.failures.insert(task.id.clone(), failure);
                    Verdict::Unhealthy
                }
            },
            Health::Unknown(sure) => {
                if let Some(sure) = sure {
                    wake.at(sure);
                }
                Verdict::Unknown
            }
        };
        let protected = protection::is_protected(task, now);
        if let Some(until) = task.protected_until.filter(|_| protected) {
            wake.at(until);
        }
        let view = TaskView {
            id: task.id.clone(),
            zone: task.zone.clone(),
            created_at: task.created_at,
            primary: true,
            running: health::phase(snapshot, task) == Some(TaskPhase::Running),
            verdict,
            protected,
        };
        seen.alive.push((id, view));
    }
    seen
}

/// Until then an unhealthy target or container is ignored (fact SVC-3).
fn grace_end(tx: &Tx, service: &Service, task: &Task) -> Option<Timestamp> {
    let grace_ms = u64::from(service.health_check_grace_period_seconds?) * 1000;
    let started = health::status(tx.snapshot(), task)?.started_at?;
    Some(started.plus_ms(tx.config().scaled_ms(grace_ms) as i64))
}

/// Tasks that are planned together, and the deployment that new ones are of.
struct Group {
    deployment: Deployment,
    bounds: Bounds,
    views: Vec<TaskView>,
    may_start: bool,
}

/// A rolling deployment is one group: its tasks replace those before. Revisions that traffic is shifted between are a
/// group each, with as many tasks as the stage asks for.
fn groups(service: &Service, seen: &Seen<'_>) -> Vec<Group> {
    let Some(primary) = service.deployments.iter().find(|d| d.primary) else {
        return Vec::new();
    };
    let (desired, failed) = (
        service.desired_count as usize,
        primary.rollout_state == RolloutState::Failed,
    );
    let active = service.status == ServiceStatus::Active;
    let shift = primary.course.shift.as_ref();
    let Some(shift) = shift.filter(|_| primary.rollout_state != RolloutState::Completed) else {
        let views = seen.alive.iter().map(|(id, view)| TaskView {
            primary: *id == primary.id,
            ..view.clone()
        });
        return vec![Group {
            deployment: primary.clone(),
            bounds: Bounds {
                desired,
                surplus: primary.course.rebalancing as usize,
                minimum_percent: service.minimum_healthy_percent,
                maximum_percent: service.maximum_percent,
            },
            views: views.collect(),
            may_start: active && !failed,
        }];
    };
    let group = |deployment: &Deployment| {
        let views: Vec<TaskView> = seen.of(&deployment.id).cloned().collect();
        let wanted = if deployment.primary && failed {
            views.len().min(desired)
        } else if (deployment.primary && shift.stage >= LifecycleStage::ScaleUp)
            || (shift.source.as_ref() == Some(&deployment.id)
                && shift.stage < LifecycleStage::CleanUp)
        {
            desired
        } else {
            0
        };
        Group {
            deployment: deployment.clone(),
            bounds: Bounds {
                desired: wanted,
                surplus: 0,
                minimum_percent: 100,
                maximum_percent: 200,
            },
            views,
            may_start: active && !(deployment.primary && failed),
        }
    };
    service.deployments.iter().map(group).collect()
}

/// Starts and stops what the plan says. Whether it did anything.
fn step(tx: &mut Tx, service: &mut Service, seen: &Seen<'_>, wake: &mut Wake) -> bool {
    let mut acted = false;
    for group in groups(service, seen) {
        let paused_until = pause(tx, service, &group.deployment, seen);
        let paused = paused_until.is_some_and(|until| tx.now() < until);
        let mut plan = rollout::plan(group.bounds, &group.views, group.may_start && !paused);
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
        acted |= plan.starts > 0 || !plan.scaled_in.is_empty() || !plan.unhealthy.is_empty();
        stop(tx, service, &group.deployment, &plan, &seen.failures);
        start(tx, service, &group.deployment, plan.starts, seen, wake);
    }
    acted
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

/// Until when nothing is started, because starts fail or tasks crash.
fn pause(
    tx: &Tx,
    service: &Service,
    deployment: &Deployment,
    seen: &Seen<'_>,
) -> Option<Timestamp> {
    let desired = u64::from(service.desired_count.max(1));
    let doubled = |first_ms: u64, rounds: u64, max_ms: u64| {
        first_ms
            .saturating_mul(1 << (rounds - ROUNDS_FREE).min(20))
            .min(max_ms)
    };
    let rounds = u64::from(deployment.failed_tasks) / desired;
    let throttled = deployment
        .last_failure_at
        .filter(|_| rounds >= ROUNDS_FREE)
        .map(|since| {
            let pause_ms = doubled(THROTTLE_FIRST_MS, rounds, THROTTLE_MAX_MS);
            since.plus_ms(tx.config().scaled_ms(pause_ms) as i64)
        });
    let recent = tx.now().plus_ms(-CRASHES_WITHIN_MS);
    let snapshot = tx.snapshot();
    let crashes: Vec<Timestamp> = seen
        .tasks
        .iter()
        .filter(|task| task.started_by.as_ref() == Some(&deployment.id) && task.stop.is_none())
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
    deployment: &Deployment,
    plan: &rollout::Plan,
    failures: &BTreeMap<String, Failure>,
) {
    let scope = service.scope.clone();
    for id in &plan.unhealthy {
        let Some(failure) = failures.get(id) else {
            continue;
        };
        let text = match failure {
            Failure::Target(target) => format!(
                "(task {id}) (port {}) is unhealthy in (target-group {}) due to (reason {}).",
                target.port, target.target_group_arn, target.reason
            ),
            Failure::Containers => format!("(task {id}) failed container health checks."),
        };
        event(tx, service, &text);
        for row in service
            .deployments
            .iter_mut()
            .filter(|d| d.id == deployment.id)
        {
            row.failed_health_checks += 1;
        }
    }
    let (mut stopped, mut drained) = (Vec::new(), 0);
    for id in plan.unhealthy.iter().chain(&plan.scaled_in) {
        let Some(task) = tx.snapshot().tasks.get(&scope, id).cloned() else {
            continue;
        };
        let reason = match failures.get(id).filter(|_| plan.unhealthy.contains(id)) {
            Some(Failure::Target(target)) => format!(
                "Task failed ELB health checks in (target-group {})",
                target.target_group_arn
            ),
            Some(Failure::Containers) => "Task failed container health checks".to_owned(),
            None => format!(
                "Scaling activity initiated by (deployment {})",
                deployment.id
            ),
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

fn start(
    tx: &mut Tx,
    service: &mut Service,
    deployment: &Deployment,
    count: usize,
    seen: &Seen<'_>,
    wake: &mut Wake,
) {
    if count == 0 {
        return;
    }
    let Some(mut launch) = launch(tx, service, deployment) else {
        tell_once(
            tx,
            service,
            "was unable to place a task. Reason: the task definition is not there any more.",
        );
        return;
    };
    let mut placed = providers(seen, &deployment.id);
    let mut sites = Sites::of(tx.snapshot(), &service.scope, &launch);
    let mut started = Vec::new();
    for _ in 0..count {
        let provider = capacity::next(&deployment.course.capacity_provider_strategy, &placed);
        launch.capacity_provider = provider.map(str::to_owned);
        match tasks::start_at(tx, &service.scope, &launch, &mut sites) {
            Ok(task) => {
                *placed
                    .entry(task.capacity_provider.unwrap_or_default())
                    .or_default() += 1;
                started.push(format!("(task {})", task.id));
            }
            Err(reason) => {
                tell_once(
                    tx,
                    service,
                    &match reason {
                        NoPlace::Instances => format!(
                            "was unable to place a task because no container instance met all of its requirements. Reason: {reason}. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
                        ),
                        _ => format!("was unable to place a task. Reason: {reason}."),
                    },
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

/// How many tasks of a deployment run on each capacity provider.
fn providers(seen: &Seen<'_>, deployment: &str) -> BTreeMap<String, usize> {
    let alive: HashSet<&str> = seen.of(deployment).map(|v| v.id.as_str()).collect();
    let mut counts = BTreeMap::new();
    for task in seen
        .tasks
        .iter()
        .filter(|task| alive.contains(task.id.as_str()))
    {
        if let Some(provider) = &task.capacity_provider {
            *counts.entry(provider.clone()).or_insert(0) += 1;
        }
    }
    counts
}

fn launch(tx: &Tx, service: &Service, deployment: &Deployment) -> Option<Launch> {
    let definition = task_definitions::find(
        tx.snapshot(),
        &service.scope,
        &deployment.task_definition_arn,
    )?
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
    Some(Launch {
        cluster: service.cluster.clone(),
        definition,
        network: deployment.network.clone(),
        group: format!("service:{}", service.name),
        started_by: Some(deployment.id.clone()),
        launch_type: service
            .launch_type
            .clone()
            .unwrap_or_else(|| "FARGATE".to_owned()),
        capacity_provider: None,
        platform_version: deployment.platform_version.clone(),
        overrides: TaskOverrides::default(),
        enable_execute_command: service.enable_execute_command,
        client_token: None,
        tags,
    })
}

#[cfg(test)]
#[path = "service_count_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "service_shift_tests.rs"]
mod shift_tests;
