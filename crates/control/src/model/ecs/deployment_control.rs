//! Calls that end or continue a service deployment.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stop-service-deployment.html>

use super::{Refusal, invalid, rollback, services};
use crate::model::Tx;
use fogbank_types::Scope;
use fogbank_types::ecs::{Deployment, RolloutState, Service};
use fogbank_types::rollout::{HookAction, HookStatus};

/// What StopServiceDeployment leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The last completed revision.
    Rollback,
    /// What runs now.
    Abort,
}

/// The service and the deployment with those digits, by what an ARN says behind its kind.
fn find(tx: &Tx, scope: &Scope, tail: &str) -> Result<(Service, Deployment), Refusal> {
    let (service, digits) = tail
        .rsplit_once('/')
        .ok_or(Refusal::ServiceDeploymentNotFound)?;
    let service = tx
        .snapshot()
        .services
        .get(scope, service)
        .ok_or(Refusal::ServiceDeploymentNotFound)?;
    let id = format!("ecs-svc/{digits}");
    let mut all = service.deployments.iter().chain(&service.past_deployments);
    let deployment = all
        .find(|d| d.id == id)
        .ok_or(Refusal::ServiceDeploymentNotFound)?
        .clone();
    Ok((Service::clone(service), deployment))
}

/// The ARN's tail is `cluster/service/digits`.
pub fn stop(tx: &mut Tx, scope: &Scope, tail: &str, how: Stop) -> Result<(), Refusal> {
    let (mut service, deployment) = find(tx, scope, tail)?;
    let status = services::deployment_status(&service, &deployment);
    if status.starts_with("ROLLBACK_")
        && status != "ROLLBACK_SUCCESSFUL"
        && status != "ROLLBACK_FAILED"
    {
        return Ok(());
    }
    if !deployment.primary
        || deployment.rollout_state != RolloutState::InProgress
        || !rollback::is_possible(&deployment)
    {
        return Err(Refusal::Conflict(format!(
            "The service deployment cannot be stopped because its status is {status}."
        )));
    }
    let now = tx.now();
    let reason = "Service deployment stopped by StopServiceDeployment.";
    if let Some(mut failed) = rollback::fail(tx, &mut service, reason) {
        failed.course.stopped_at = Some(now);
        for row in service.deployments.iter_mut().filter(|d| d.id == failed.id) {
            row.course.stopped_at = Some(now);
        }
        if how == Stop::Rollback && failed.rollback_of.is_none() {
            let back = rollback::begin(tx, &mut service, &failed, reason);
            if let Some(id) = back {
                let event = tx.uuid();
                services::event(
                    &mut service,
                    event,
                    now,
                    &format!("rolling back to deployment {id}."),
                );
            }
        }
    }
    tx.put(service);
    Ok(())
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContinueServiceDeployment.html>
pub fn proceed(
    tx: &mut Tx,
    scope: &Scope,
    tail: &str,
    hook_id: &str,
    action: HookAction,
) -> Result<(), Refusal> {
    let (mut service, deployment) = find(tx, scope, tail)?;
    if !deployment.primary || deployment.rollout_state != RolloutState::InProgress {
        return Err(Refusal::Conflict(
            "The service deployment is not in progress.".to_owned(),
        ));
    }
    let now = tx.now();
    let waiting = service
        .deployments
        .iter_mut()
        .filter(|d| d.id == deployment.id)
        .filter_map(|d| d.course.shift.as_mut())
        .flat_map(|shift| &mut shift.hooks)
        .find(|run| run.id == hook_id);
    let Some(run) = waiting else {
        return Err(invalid(format!(
            "The lifecycle hook {hook_id} was not found."
        )));
    };
    if run.status != HookStatus::AwaitingAction || run.timeout.is_some_and(|(end, _)| now >= end) {
        return Err(invalid(format!(
            "The lifecycle hook {hook_id} is not awaiting an action."
        )));
    }
    run.status = match action {
        HookAction::Continue => HookStatus::Succeeded,
        HookAction::Rollback => HookStatus::Failed,
    };
    tx.put(service);
    Ok(())
}
