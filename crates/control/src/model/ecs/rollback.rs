//! Giving a deployment up: by the circuit breaker, an alarm, a hook or StopServiceDeployment (facts SVC-7, SVC-8).
//!
//! A rolling deployment goes back by a new deployment of the last completed revision. One that shifts traffic goes back
//! by turning the traffic: the tasks of the revision before still run. What must stay true: a rollback ends at the
//! last completed revision.

use super::{connect, services, task_definitions, traffic};
use crate::model::Tx;
use fogbank_types::connect::Connected;
use fogbank_types::ecs::{Deployment, RolloutState, Service};
use fogbank_types::rollout::{LifecycleStage, Rollback};

/// Marks the primary deployment as failed. It starts no tasks any more.
pub fn fail(tx: &Tx, service: &mut Service, reason: &str) -> Option<Deployment> {
    let now = tx.now();
    let primary = service.deployments.iter_mut().find(|d| d.primary)?;
    primary.rollout_state = RolloutState::Failed;
    primary.rollout_reason = reason.to_owned();
    primary.updated_at = now;
    primary.finished_at = Some(now);
    Some(primary.clone())
}

/// Whether the primary deployment can still go back: from CLEAN_UP on, the tasks before it are being stopped.
pub fn is_possible(primary: &Deployment) -> bool {
    primary
        .course
        .shift
        .as_ref()
        .is_none_or(|shift| shift.stage < LifecycleStage::CleanUp)
}

/// Goes back from a failed primary deployment. The id of the one that it goes back to; none, if none ever completed.
pub fn begin(
    tx: &mut Tx,
    service: &mut Service,
    failed: &Deployment,
    reason: &str,
) -> Option<String> {
    if let Some(shift) = &failed.course.shift {
        let source = shift.source.clone()?;
        return turn_back(tx, service, failed, &source, reason);
    }
    let known = service.deployments.iter().chain(&service.past_deployments);
    let good = known
        .filter(|d| d.rollout_state == RolloutState::Completed)
        .max_by_key(|d| (d.created_at, d.id.clone()))
        .cloned()?;
    restore(service, &good);
    let connected = connected(tx, service, &good);
    services::deploy(tx, service, connected, Some(failed.id.clone()));
    Some(good.id)
}

/// Its tasks know what is there now; if that cannot be had any more, what they knew then.
fn connected(tx: &mut Tx, service: &Service, good: &Deployment) -> Option<Connected> {
    let definition =
        task_definitions::find(tx.snapshot(), &service.scope, &good.task_definition_arn).cloned();
    match definition.map(|definition| connect::plan(tx, service, &definition)) {
        Some(Ok(connected)) => connected,
        Some(Err(refusal)) => {
            tracing::warn!(%refusal, service = service.arn, "Service Connect as it was");
            good.connected.clone()
        }
        None => good.connected.clone(),
    }
}

fn turn_back(
    tx: &mut Tx,
    service: &mut Service,
    failed: &Deployment,
    source: &str,
    reason: &str,
) -> Option<String> {
    let place = service.deployments.iter().position(|d| d.id == source)?;
    traffic::shift_production(tx, &service.scope, failed, 0.0);
    traffic::shift_test(tx, &service.scope, failed, 0.0);
    let now = tx.now();
    let mut good = service.deployments.remove(place);
    good.primary = true;
    good.updated_at = now;
    restore(service, &good);
    for deployment in service.deployments.iter_mut().filter(|d| d.id == failed.id) {
        deployment.primary = false;
        if let Some(shift) = &mut deployment.course.shift {
            (shift.production_percent, shift.test) = (0.0, false);
        }
        deployment.course.rollback = Some(Rollback {
            to: good.id.clone(),
            reason: reason.to_owned(),
            started_at: now,
            finished_at: None,
        });
    }
    service.deployments.insert(0, good);
    Some(source.to_owned())
}

/// The service says again what that deployment was made of.
fn restore(service: &mut Service, good: &Deployment) {
    service.task_definition_arn = good.task_definition_arn.clone();
    service.network = good.network.clone();
    service.load_balancers = traffic::configured(&service.load_balancers, &good.load_balancers);
    service.service_registries = good.service_registries.clone();
    service.service_connect = good.service_connect.clone();
    service.platform_version = good.platform_version.clone();
}
