//! Service deployments and revisions: what Terraform's provider 6 waits on.

use super::service_settings::{
    action_word, show_configuration, show_connect, show_load_balancers, show_registries,
};
use super::{invalid, page, show_network, show_strategy};
use crate::api::{ApiError, Context};
use crate::model::ecs::deployment_control::{self, Stop};
use crate::model::ecs::{Refusal, clusters, services, strategy, traffic};
use fogbank_types::Snapshot;
use fogbank_types::ecs::{Deployment, RolloutState, Service, ServiceLoadBalancer};
use fogbank_types::rollout::{HookAction, HookRun, HookStatus, Rollback, Shift};
use fogbank_wire::ecs as wire;
use std::sync::Arc;

/// The digits of `ecs-svc/<digits>`; the provider finds a deployment's revision by them.
fn digits(deployment: &Deployment) -> &str {
    deployment.id.rsplit('/').next().unwrap_or(&deployment.id)
}

pub fn deployment_arn(service: &Service, deployment: &Deployment) -> String {
    let tail = format!(
        "service-deployment/{}/{}/{}",
        service.cluster,
        service.name,
        digits(deployment)
    );
    service.scope.arn("ecs", &tail)
}

fn revision_arn(service: &Service, deployment: &Deployment) -> String {
    let tail = format!(
        "service-revision/{}/{}/{}",
        service.cluster,
        service.name,
        digits(deployment)
    );
    service.scope.arn("ecs", &tail)
}

/// The tasks of a deployment, in a service's description.
pub fn current(
    snapshot: &Snapshot,
    service: &Service,
    deployment: &Deployment,
) -> wire::ServiceCurrentRevisionSummary {
    let (running, pending) = services::counts(snapshot, service, Some(&deployment.id));
    wire::ServiceCurrentRevisionSummary {
        arn: Some(revision_arn(service, deployment)),
        pending_task_count: Some(pending as i32),
        requested_task_count: Some(if deployment.primary {
            service.desired_count as i32
        } else {
            0
        }),
        running_task_count: Some(running as i32),
    }
}

fn summary(
    snapshot: &Snapshot,
    service: &Service,
    deployment: &Deployment,
) -> wire::ServiceRevisionSummary {
    let current = current(snapshot, service, deployment);
    wire::ServiceRevisionSummary {
        arn: current.arn,
        pending_task_count: current.pending_task_count,
        requested_production_traffic_weight: production_percent(service, deployment),
        requested_task_count: current.requested_task_count,
        requested_test_traffic_weight: test_percent(service, deployment),
        running_task_count: current.running_task_count,
    }
}

/// The shift that a deployment is the source of.
fn shift_from<'a>(service: &'a Service, deployment: &Deployment) -> Option<&'a Shift> {
    let shifts = service
        .deployments
        .iter()
        .filter_map(|d| d.course.shift.as_ref());
    let mut of = shifts.filter(|shift| shift.source.as_ref() == Some(&deployment.id));
    of.next()
}

/// Shown only where traffic is shifted.
fn production_percent(service: &Service, deployment: &Deployment) -> Option<f64> {
    match shift_from(service, deployment) {
        Some(shift) => Some(100.0 - shift.production_percent),
        None => deployment
            .course
            .shift
            .as_ref()
            .map(|shift| shift.production_percent),
    }
}

fn test_percent(service: &Service, deployment: &Deployment) -> Option<f64> {
    let percent = |test: bool| if test { 100.0 } else { 0.0 };
    match shift_from(service, deployment) {
        Some(shift) => Some(percent(!shift.test)),
        None => deployment
            .course
            .shift
            .as_ref()
            .map(|shift| percent(shift.test)),
    }
}

/// All that are known, newest first. A rollback is part of the deployment that it goes back from.
fn known(service: &Service) -> impl Iterator<Item = &Deployment> {
    service
        .deployments
        .iter()
        .chain(&service.past_deployments)
        .filter(|d| d.rollback_of.is_none())
}

/// The service and deployment that an ARN of either kind names.
fn find(
    snapshot: &Snapshot,
    context: &Context,
    kind: &str,
    arn: &str,
) -> Option<(Arc<Service>, Deployment)> {
    let scope = context.scope();
    let tail = arn.strip_prefix(&scope.arn("ecs", &format!("{kind}/")))?;
    let (service, digits_wanted) = tail.rsplit_once('/')?;
    let service = snapshot.services.get(&scope, service)?;
    let mut all = service.deployments.iter().chain(&service.past_deployments);
    let deployment = all.find(|d| digits(d) == digits_wanted)?.clone();
    Some((service.clone(), deployment))
}

pub fn list(
    context: &Context,
    request: wire::ListServiceDeploymentsRequest,
) -> Result<wire::ListServiceDeploymentsResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let cluster = match (
        request.cluster.as_deref(),
        request.service.split('/').collect::<Vec<_>>().as_slice(),
    ) {
        // The ARN of a service names its cluster.
        (None, [.., cluster, _]) if request.service.starts_with("arn:") => {
            Some((*cluster).to_owned())
        }
        (given, _) => given.map(str::to_owned),
    };
    let cluster = clusters::find(&snapshot, &scope, cluster.as_deref())?;
    let service =
        services::find(&snapshot, cluster, &request.service).ok_or(Refusal::ServiceNotFound)?;
    let wanted = |deployment: &&Deployment| {
        let status = services::deployment_status(service, deployment);
        let created = deployment.created_at;
        let span = request.created_at.as_ref();
        request
            .status
            .as_ref()
            .is_none_or(|list| list.is_empty() || list.iter().any(|s| s == status))
            && span
                .and_then(|s| s.after)
                .is_none_or(|after| created >= after)
            && span
                .and_then(|s| s.before)
                .is_none_or(|before| created <= before)
    };
    let brief = |deployment: &Deployment| wire::ServiceDeploymentBrief {
        cluster_arn: Some(cluster.arn.clone()),
        created_at: Some(deployment.created_at),
        finished_at: deployment.finished_at,
        service_arn: Some(service.arn.clone()),
        service_deployment_arn: Some(deployment_arn(service, deployment)),
        started_at: Some(deployment.created_at),
        status: Some(services::deployment_status(service, deployment).to_owned()),
        status_reason: reason(deployment),
        target_service_revision_arn: Some(revision_arn(service, deployment)),
    };
    let found: Vec<(String, wire::ServiceDeploymentBrief)> = known(service)
        .filter(wanted)
        .enumerate()
        .map(|(place, deployment)| (format!("{place:08}"), brief(deployment)))
        .collect();
    let (found, next_token) = page(
        found,
        |item| item.0.clone(),
        request.next_token,
        request.max_results,
    )?;
    let found = found.into_iter().map(|item| item.1).collect();
    Ok(wire::ListServiceDeploymentsResponse {
        next_token,
        service_deployments: Some(found),
    })
}

fn reason(deployment: &Deployment) -> Option<String> {
    (deployment.rollout_state == RolloutState::Failed).then(|| deployment.rollout_reason.clone())
}

pub fn describe(
    context: &Context,
    request: wire::DescribeServiceDeploymentsRequest,
) -> Result<wire::DescribeServiceDeploymentsResponse, ApiError> {
    if request.service_deployment_arns.len() > 20 {
        return Err(invalid("serviceDeploymentArns can have at most 20 items."));
    }
    let snapshot = context.snapshot();
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for arn in &request.service_deployment_arns {
        match find(&snapshot, context, "service-deployment", arn) {
            Some((service, deployment)) => found.push(show(&snapshot, &service, &deployment)),
            None => failures.push(super::failure(arn)),
        }
    }
    Ok(wire::DescribeServiceDeploymentsResponse {
        failures: Some(failures),
        service_deployments: Some(found),
    })
}

fn show(
    snapshot: &Snapshot,
    service: &Service,
    deployment: &Deployment,
) -> wire::ServiceDeployment {
    let all: Vec<&Deployment> = known(service).collect();
    let source = deployment
        .course
        .shift
        .as_ref()
        .and_then(|shift| shift.source.as_ref());
    // After a rollback the list is no longer in the order of time.
    let before = match source {
        Some(id) => all.iter().find(|d| d.id == *id),
        None => all
            .iter()
            .position(|d| d.id == deployment.id)
            .and_then(|place| all.get(place + 1)),
    };
    let back = service
        .deployments
        .iter()
        .chain(&service.past_deployments)
        .find(|d| d.rollback_of.as_ref() == Some(&deployment.id));
    let (enabled, _) = service.circuit_breaker.unwrap_or((false, false));
    let threshold = services::failure_threshold(service.desired_count);
    let failures = deployment.failed_tasks.max(deployment.failed_health_checks);
    let course = &deployment.course;
    let is_over = deployment.rollout_state != RolloutState::InProgress || !deployment.primary;
    let monitor = |enabled: bool, triggered: bool| match (enabled, triggered, is_over) {
        (false, ..) => "DISABLED",
        (_, true, _) => "TRIGGERED",
        (_, _, true) => "MONITORING_COMPLETE",
        (_, _, false) => "MONITORING",
    };
    let alarms = course.strategy.alarms.as_ref();
    let watched = alarms.is_some_and(|a| a.enabled) && !course.alarms_ignored;
    let triggered = !course.triggered_alarms.is_empty();
    wire::ServiceDeployment {
        alarms: alarms.map(|alarms| wire::ServiceDeploymentAlarms {
            alarm_names: Some(alarms.names.clone()),
            status: Some(monitor(watched, triggered).to_owned()),
            triggered_alarm_names: Some(course.triggered_alarms.clone()),
        }),
        cluster_arn: Some(
            service
                .scope
                .arn("ecs", &format!("cluster/{}", service.cluster)),
        ),
        created_at: Some(deployment.created_at),
        deployment_circuit_breaker: Some(wire::ServiceDeploymentCircuitBreaker {
            failure_count: Some(failures as i32),
            status: Some(monitor(enabled, failures >= threshold).to_owned()),
            threshold: Some(threshold as i32),
        }),
        deployment_configuration: Some(show_configuration(service, &course.strategy)),
        finished_at: deployment.finished_at,
        lifecycle_hook_details: course.shift.as_ref().map(show_hooks),
        lifecycle_stage: course
            .shift
            .as_ref()
            .filter(|_| !is_over)
            .map(|shift| shift.stage.as_str().to_owned()),
        rollback: back
            .map(|back| wire::Rollback {
                reason: Some(deployment.rollout_reason.clone()),
                service_revision_arn: Some(revision_arn(service, back)),
                started_at: Some(back.created_at),
            })
            .or_else(|| {
                course
                    .rollback
                    .as_ref()
                    .map(|back| show_rollback(service, back))
            }),
        service_arn: Some(service.arn.clone()),
        service_deployment_arn: Some(deployment_arn(service, deployment)),
        source_service_revisions: Some(
            before
                .map(|d| summary(snapshot, service, d))
                .into_iter()
                .collect(),
        ),
        started_at: Some(deployment.created_at),
        status: Some(services::deployment_status(service, deployment).to_owned()),
        status_reason: reason(deployment),
        target_service_revision: Some(summary(snapshot, service, deployment)),
        stopped_at: course.stopped_at,
        updated_at: Some(deployment.updated_at),
    }
}

fn show_rollback(service: &Service, back: &Rollback) -> wire::Rollback {
    let mut all = service.deployments.iter().chain(&service.past_deployments);
    wire::Rollback {
        reason: Some(back.reason.clone()),
        service_revision_arn: all
            .find(|d| d.id == back.to)
            .map(|d| revision_arn(service, d)),
        started_at: Some(back.started_at),
    }
}

fn show_hooks(shift: &Shift) -> Vec<wire::DeploymentLifecycleHookDetail> {
    let show = |run: &HookRun| wire::DeploymentLifecycleHookDetail {
        expires_at: run.timeout.map(|(at, _)| at),
        hook_id: Some(run.id.clone()),
        status: Some(
            match run.status {
                HookStatus::AwaitingAction => "AWAITING_ACTION",
                HookStatus::Succeeded => "SUCCEEDED",
                HookStatus::Failed => "FAILED",
                HookStatus::TimedOut => "TIMED_OUT",
            }
            .to_owned(),
        ),
        target_arn: None,
        target_type: Some("PAUSE".to_owned()),
        timeout_action: run
            .timeout
            .map(|(_, action)| action_word(action).to_owned()),
    };
    shift.hooks.iter().map(show).collect()
}

/// `cluster/service/digits` of a service deployment's ARN.
fn tail<'a>(context: &Context, arn: &'a str) -> Result<&'a str, ApiError> {
    let start = context.scope().arn("ecs", "service-deployment/");
    arn.strip_prefix(&start)
        .ok_or_else(|| Refusal::ServiceDeploymentNotFound.into())
}

pub fn stop(
    context: &Context,
    request: wire::StopServiceDeploymentRequest,
) -> Result<wire::StopServiceDeploymentResponse, ApiError> {
    let (scope, arn) = (context.scope(), request.service_deployment_arn);
    let tail = tail(context, &arn)?;
    let how = match request.stop_type.as_deref() {
        None | Some("ROLLBACK") => Stop::Rollback,
        Some("ABORT") => Stop::Abort,
        Some(other) => return Err(invalid(format!("Invalid stopType: {other}"))),
    };
    context.write(|tx| Ok(deployment_control::stop(tx, &scope, tail, how)?))?;
    Ok(wire::StopServiceDeploymentResponse {
        service_deployment_arn: Some(arn),
    })
}

pub fn proceed(
    context: &Context,
    request: wire::ContinueServiceDeploymentRequest,
) -> Result<wire::ContinueServiceDeploymentResponse, ApiError> {
    let (scope, arn) = (context.scope(), request.service_deployment_arn);
    let tail = tail(context, &arn)?;
    let action = strategy::action_of(request.action.as_deref(), HookAction::Continue)?;
    context.write(|tx| {
        Ok(deployment_control::proceed(
            tx,
            &scope,
            tail,
            &request.hook_id,
            action,
        )?)
    })?;
    Ok(wire::ContinueServiceDeploymentResponse {
        service_deployment_arn: Some(arn),
    })
}

pub fn describe_revisions(
    context: &Context,
    request: wire::DescribeServiceRevisionsRequest,
) -> Result<wire::DescribeServiceRevisionsResponse, ApiError> {
    let snapshot = context.snapshot();
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for arn in &request.service_revision_arns {
        match find(&snapshot, context, "service-revision", arn) {
            Some((service, deployment)) => found.push(show_revision(&service, &deployment)),
            None => failures.push(super::failure(arn)),
        }
    }
    Ok(wire::DescribeServiceRevisionsResponse {
        failures: Some(failures),
        service_revisions: Some(found),
    })
}

fn show_revision(service: &Service, deployment: &Deployment) -> wire::ServiceRevision {
    wire::ServiceRevision {
        capacity_provider_strategy: (!deployment.course.capacity_provider_strategy.is_empty())
            .then(|| show_strategy(&deployment.course.capacity_provider_strategy)),
        cluster_arn: Some(
            service
                .scope
                .arn("ecs", &format!("cluster/{}", service.cluster)),
        ),
        created_at: Some(deployment.created_at),
        launch_type: deployment.course.launch_type.clone(),
        load_balancers: Some(show_load_balancers(&traffic::configured(
            &service.load_balancers,
            &deployment.load_balancers,
        ))),
        network_configuration: Some(show_network(&deployment.network)),
        platform_family: Some("Linux".to_owned()),
        platform_version: Some(deployment.platform_version.clone()),
        resolved_configuration: Some(wire::ResolvedConfiguration {
            load_balancers: Some(deployment.load_balancers.iter().map(resolved).collect()),
        }),
        service_arn: Some(service.arn.clone()),
        service_connect_configuration: deployment.service_connect.as_ref().map(show_connect),
        service_registries: Some(show_registries(&deployment.service_registries)),
        service_revision_arn: Some(revision_arn(service, deployment)),
        task_definition: Some(deployment.task_definition_arn.clone()),
        ..wire::ServiceRevision::default()
    }
}

/// The group that the revision's tasks are in, which may be the alternate one.
fn resolved(item: &ServiceLoadBalancer) -> wire::ServiceRevisionLoadBalancer {
    wire::ServiceRevisionLoadBalancer {
        production_listener_rule: item
            .advanced
            .as_ref()
            .map(|advanced| advanced.production_listener_rule.clone()),
        target_group_arn: Some(item.target_group_arn.clone()),
    }
}
