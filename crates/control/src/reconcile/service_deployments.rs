//! What becomes of a service's deployments: they fail, go back, shift traffic, complete and are forgotten (facts SVC-6 to
//! SVC-9). A part of `service_count`, which starts and stops the tasks.

use super::{INACTIVE_VISIBLE_MS, STEADY, STEADY_AGAIN_MS, Seen, Wake, event, launch};
use crate::model::Tx;
use crate::model::ecs::rollout::{self, TaskView, Verdict};
use crate::model::ecs::shift::{self, Facts, Progress};
use crate::model::ecs::tasks::Sites;
use crate::model::ecs::{health, rollback, services, strategy};
use fogbank_types::alarm::{Alarm, AlarmSource, AlarmWatch};
use fogbank_types::ecs::{Deployment, RolloutState, Service, ServiceStatus, Task};
use fogbank_types::rollout::{LifecycleStage, StrategyKind};
use fogbank_types::status::TaskPhase;
use std::sync::Arc;

/// Older deployments disappear with their last task.
pub fn retire(tx: &Tx, service: &mut Service, tasks: &[&Arc<Task>]) {
    let live = |id: &str| {
        let of = |task: &&&Arc<Task>| task.started_by.as_deref() == Some(id);
        tasks
            .iter()
            .filter(of)
            .any(|task| task.stopped_at.is_none())
    };
    let source = shift::current(service).and_then(|(_, shift)| shift.source.clone());
    let over: Vec<String> = service
        .deployments
        .iter()
        // What traffic is shifted from is needed even while it has no tasks.
        .filter(|d| !d.primary && (source.as_ref() != Some(&d.id) || is_cleaning_up(service)))
        .filter(|d| !live(&d.id))
        .map(|d| d.id.clone())
        .collect();
    for id in over {
        services::retire(service, &id, tx.now());
    }
}

fn is_cleaning_up(service: &Service) -> bool {
    shift::current(service).is_some_and(|(_, shift)| shift.stage >= LifecycleStage::CleanUp)
}

/// The first running task after failures clears their count (fact SVC-9).
pub fn note_recovery(tx: &Tx, service: &mut Service, tasks: &[&Arc<Task>]) {
    let snapshot = tx.snapshot();
    let Some(deployment) = service.deployments.iter_mut().find(|d| d.primary) else {
        return;
    };
    if deployment.failed_tasks == 0 {
        return;
    }
    let recovered = tasks
        .iter()
        .filter(|task| task.started_by.as_ref() == Some(&deployment.id))
        .filter_map(|task| health::status(snapshot, task))
        .filter(|status| status.phase == TaskPhase::Running)
        .any(|status| status.started_at > deployment.last_failure_at);
    if recovered {
        deployment.failed_tasks = 0;
    }
}

/// The circuit breaker and the alarms (fact SVC-8).
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html>
pub fn watch(tx: &mut Tx, service: &mut Service) {
    let Some(primary) = service.deployments.iter().find(|d| d.primary) else {
        return;
    };
    if primary.rollout_state != RolloutState::InProgress || !rollback::is_possible(primary) {
        return;
    }
    let primary = primary.clone();
    if let Some((true, rolls_back)) = service.circuit_breaker
        && let Some(why) = tripped(service, &primary)
    {
        let reason = format!("ECS deployment circuit breaker: {why}.");
        give_up(tx, service, &reason, why, rolls_back);
        return;
    }
    let triggered = triggered_alarms(tx, service, &primary);
    if triggered.is_empty() {
        return;
    }
    let rolls_back = primary
        .course
        .strategy
        .alarms
        .as_ref()
        .is_some_and(|alarms| alarms.rollback);
    for row in service.deployments.iter_mut().filter(|d| d.primary) {
        row.course.triggered_alarms = triggered.clone();
    }
    let reason = format!(
        "ECS deployment failed: alarm(s) detected: {}.",
        triggered.join(", ")
    );
    give_up(tx, service, &reason, "alarm detected", rolls_back);
}

fn tripped(service: &Service, primary: &Deployment) -> Option<&'static str> {
    let threshold = services::failure_threshold(service.desired_count);
    if primary.failed_tasks >= threshold {
        Some("tasks failed to start")
    } else if primary.failed_health_checks >= threshold {
        Some("tasks failed health checks")
    } else {
        None
    }
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html>
fn triggered_alarms(tx: &Tx, service: &Service, primary: &Deployment) -> Vec<String> {
    let watched = primary.course.strategy.alarms.as_ref();
    let Some(alarms) = watched.filter(|alarms| alarms.enabled && !primary.course.alarms_ignored)
    else {
        return Vec::new();
    };
    let rings = |name: &&String| services::is_in_alarm(tx.snapshot(), &service.scope, name);
    alarms.names.iter().filter(rings).cloned().collect()
}

fn give_up(tx: &mut Tx, service: &mut Service, reason: &str, why: &str, rolls_back: bool) {
    let Some(failed) = rollback::fail(tx, service, reason) else {
        return;
    };
    event(
        tx,
        service,
        &format!("(deployment {}) deployment failed: {why}.", failed.id),
    );
    if rolls_back
        && failed.rollback_of.is_none()
        && let Some(id) = rollback::begin(tx, service, &failed, reason)
    {
        event(tx, service, &format!("rolling back to deployment {id}."));
    }
}

/// Goes on with a shift of traffic.
pub fn advance(tx: &mut Tx, service: &mut Service, seen: &Seen<'_>, wake: &mut Wake) {
    if service.status != ServiceStatus::Active {
        return;
    }
    let Some((deployment, current)) = shift::current(service) else {
        return;
    };
    let desired = service.desired_count as usize;
    let healthy = seen
        .of(&deployment.id)
        .filter(|v| v.verdict == Verdict::Healthy)
        .count();
    let counts = |id: &String| *id == deployment.id || current.source.as_ref() == Some(id);
    let facts = Facts {
        new_is_ready: healthy >= desired && seen.of(&deployment.id).count() == healthy,
        others_are_gone: seen
            .live()
            .all(|task| task.started_by.as_ref().is_some_and(counts)),
    };
    match shift::advance(tx, service, facts) {
        Progress::Rest(at) => at.into_iter().for_each(|at| wake.at(at)),
        Progress::RollBack => give_up(
            tx,
            service,
            "ECS deployment failed: a lifecycle hook asked for a rollback.",
            "lifecycle hook failed",
            true,
        ),
    }
}

/// Completes the deployment and tells the steady state; ends a service that drains when its last task is over. Called
/// when there is nothing to start or stop.
pub fn finish(tx: &mut Tx, service: &mut Service, seen: &Seen<'_>, wake: &mut Wake) {
    let now = tx.now();
    if service.status == ServiceStatus::Draining {
        if seen.live().next().is_none() {
            service.status = ServiceStatus::Inactive;
            service.deployments.clear();
            wake.at(now.plus_ms(tx.config().scaled_ms(INACTIVE_VISIBLE_MS) as i64));
        }
        return;
    }
    let all_healthy = seen
        .alive
        .iter()
        .all(|(_, view)| view.verdict == Verdict::Healthy);
    let surplus: u32 = service
        .deployments
        .iter()
        .map(|d| d.course.rebalancing)
        .sum();
    let desired = (service.desired_count + surplus) as usize;
    if service.deployments.len() != 1 || seen.alive.len() != desired || !all_healthy {
        for deployment in &mut service.deployments {
            deployment.course.baking_since = None;
        }
        return;
    }
    if surplus > 0 {
        // All are healthy, those in the zones that were short too: the plan now takes from the fullest.
        service.deployments[0].course.rebalancing = 0;
        return;
    }
    if !complete(tx, service, wake) {
        return;
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
    rebalance(tx, service, seen);
}

/// Whether the only deployment is over. A shift must have come to its end, a rolling one must have been watched.
fn complete(tx: &mut Tx, service: &mut Service, wake: &mut Wake) -> bool {
    let now = tx.now();
    let deployment = &service.deployments[0];
    if deployment.rollout_state != RolloutState::InProgress {
        return true;
    }
    match &deployment.course.shift {
        Some(shift) if shift.stage < LifecycleStage::CleanUp => return false,
        Some(_) => {}
        None => {
            let since = deployment.course.baking_since.unwrap_or(now);
            let end = since.plus_ms(tx.config().scaled_ms(watched_ms(tx, service)) as i64);
            service.deployments[0].course.baking_since = Some(since);
            if now < end {
                wake.at(end);
                return false;
            }
        }
    }
    let deployment = &mut service.deployments[0];
    deployment.rollout_state = RolloutState::Completed;
    deployment.rollout_reason = format!("ECS deployment {} completed.", deployment.id);
    deployment.updated_at = now;
    deployment.finished_at = Some(now);
    let text = format!("(deployment {}) deployment completed.", deployment.id);
    event(tx, service, &text);
    true
}

/// How long a rolling deployment is watched when all its tasks are healthy: as long as it says, or as its alarms need
/// to see what it does.
fn watched_ms(tx: &Tx, service: &Service) -> u64 {
    let course = &service.deployments[0].course;
    if course.strategy.kind == StrategyKind::Rolling && course.strategy.bake_time_minutes.is_some()
    {
        return u64::from(strategy::bake_minutes(&course.strategy)) * 60_000;
    }
    let alarms = course
        .strategy
        .alarms
        .iter()
        .filter(|a| a.enabled && !course.alarms_ignored);
    let rows = alarms
        .flat_map(|a| &a.names)
        .filter_map(|name| tx.snapshot().alarms.get(&service.scope, name));
    rows.map(|alarm| span_ms(alarm)).max().unwrap_or(0)
}

fn span_ms(alarm: &Alarm) -> u64 {
    let AlarmWatch::Metric(watch) = &alarm.watch else {
        return 0;
    };
    let period_s = match &watch.source {
        AlarmSource::Metric(metric) => metric.period_s,
        AlarmSource::Queries(queries) => queries
            .iter()
            .filter_map(|q| q.period_s)
            .max()
            .unwrap_or(60),
    };
    u64::from(watch.evaluation_periods) * u64::from(period_s) * 1000
}

/// A calm service whose zones are uneven gets tasks in the short zones first; the others go when those are healthy
/// (fact SVC-13).
fn rebalance(tx: &Tx, service: &mut Service, seen: &Seen<'_>) {
    if service.availability_zone_rebalancing != "ENABLED" {
        return;
    }
    let deployment = &service.deployments[0];
    let Some(launch) = launch(tx, service, deployment) else {
        return;
    };
    let open = Sites::of(tx.snapshot(), &service.scope, &launch).open_zones();
    let views: Vec<TaskView> = seen.alive.iter().map(|(_, view)| view.clone()).collect();
    let desired = service.desired_count as usize;
    let room = (desired * service.maximum_percent as usize / 100).saturating_sub(desired);
    let moved = rollout::uneven(&views, &open).min(room);
    if moved > 0 && views.iter().all(|view| !view.protected) {
        service.deployments[0].course.rebalancing = moved as u32;
    }
}
