//! Services.

use super::service_settings::{
    read_configuration, read_connect, read_load_balancers, read_registries, show_configuration,
    show_connect, show_load_balancers, show_registries, show_resources,
};
use super::tasks::read_placement;
use super::{
    empty, failure, included, invalid, not_offered, page, read_strategy, read_tags, show_network,
    show_strategy, show_tags,
};
use crate::api::{ApiError, Context};
use crate::model::ecs::services::{self, NewService, ServiceUpdate};
use crate::model::ecs::tasks::Capacity;
use crate::model::ecs::{Refusal, clusters, connect, tags};
use fogbank_types::Snapshot;
use fogbank_types::ecs::{Deployment, NetworkConfiguration, RolloutState, Service, ServiceStatus};
use fogbank_wire::ecs as wire;

fn check_controller(controller: &Option<wire::DeploymentController>) -> Result<(), ApiError> {
    match controller {
        Some(controller) if controller.r#type != "ECS" => {
            Err(not_offered("a deployment controller other than ECS"))
        }
        _ => Ok(()),
    }
}

pub fn create(
    context: &Context,
    request: wire::CreateServiceRequest,
) -> Result<wire::CreateServiceResponse, ApiError> {
    empty(&request.placement_constraints, "placementConstraints")?;
    empty(&request.placement_strategy, "placementStrategy")?;
    empty(&request.volume_configurations, "volumeConfigurations")?;
    empty(
        &request.vpc_lattice_configurations,
        "vpcLatticeConfigurations",
    )?;
    check_controller(&request.deployment_controller)?;
    if request.scheduling_strategy.as_deref() == Some("DAEMON") {
        return Err(match request.launch_type.as_deref() {
            Some("FARGATE") => {
                invalid("The daemon scheduling strategy is not supported for Fargate.")
            }
            _ => not_offered("The scheduling strategy DAEMON"),
        });
    }
    if request.role.is_some() {
        return Err(invalid(
            "You cannot specify an IAM role for services that require a service linked role.",
        ));
    }
    let new = NewService {
        name: request.service_name,
        cluster: request.cluster,
        task_definition: request.task_definition,
        desired_count: request.desired_count,
        capacity: Capacity {
            launch_type: request.launch_type,
            strategy: read_strategy(request.capacity_provider_strategy),
            platform_version: request.platform_version,
        },
        placement: read_placement(request.network_configuration),
        load_balancers: read_load_balancers(request.load_balancers)?,
        service_registries: read_registries(request.service_registries)?,
        service_connect: request
            .service_connect_configuration
            .map(read_connect)
            .transpose()?,
        configuration: read_configuration(request.deployment_configuration)?,
        health_check_grace_period_seconds: request.health_check_grace_period_seconds,
        availability_zone_rebalancing: request.availability_zone_rebalancing,
        enable_execute_command: request.enable_execute_command == Some(true),
        enable_ecs_managed_tags: request.enable_ecs_managed_tags == Some(true),
        propagate_tags: request.propagate_tags,
        client_token: request.client_token,
        tags: read_tags(request.tags)?,
    };
    tags::check(&new.tags)?;
    let scope = context.scope();
    let service = context.write(|tx| Ok(services::create(tx, &scope, new.clone())?))?;
    Ok(wire::CreateServiceResponse {
        service: Some(show(&context.snapshot(), &service, true)),
    })
}

pub fn update(
    context: &Context,
    request: wire::UpdateServiceRequest,
) -> Result<wire::UpdateServiceResponse, ApiError> {
    empty(&request.placement_constraints, "placementConstraints")?;
    empty(&request.placement_strategy, "placementStrategy")?;
    empty(&request.volume_configurations, "volumeConfigurations")?;
    empty(
        &request.vpc_lattice_configurations,
        "vpcLatticeConfigurations",
    )?;
    check_controller(&request.deployment_controller)?;
    let update = ServiceUpdate {
        name: request.service,
        cluster: request.cluster,
        task_definition: request.task_definition,
        desired_count: request.desired_count,
        strategy: request
            .capacity_provider_strategy
            .filter(|items| !items.is_empty())
            .map(|items| read_strategy(Some(items))),
        platform_version: request.platform_version,
        placement: read_placement(request.network_configuration),
        load_balancers: request
            .load_balancers
            .map(|list| read_load_balancers(Some(list)))
            .transpose()?,
        service_registries: request
            .service_registries
            .map(|list| read_registries(Some(list)))
            .transpose()?,
        service_connect: request
            .service_connect_configuration
            .map(read_connect)
            .transpose()?,
        configuration: read_configuration(request.deployment_configuration)?,
        health_check_grace_period_seconds: request.health_check_grace_period_seconds,
        availability_zone_rebalancing: request.availability_zone_rebalancing,
        enable_execute_command: request.enable_execute_command,
        enable_ecs_managed_tags: request.enable_ecs_managed_tags,
        propagate_tags: request.propagate_tags,
        force_new_deployment: request.force_new_deployment == Some(true),
    };
    let scope = context.scope();
    let service = context.write(|tx| Ok(services::update(tx, &scope, update.clone())?))?;
    Ok(wire::UpdateServiceResponse {
        service: Some(show(&context.snapshot(), &service, true)),
    })
}

pub fn delete(
    context: &Context,
    request: wire::DeleteServiceRequest,
) -> Result<wire::DeleteServiceResponse, ApiError> {
    let scope = context.scope();
    let force = request.force == Some(true);
    let service = context.write(|tx| {
        Ok(services::delete(
            tx,
            &scope,
            request.cluster.as_deref(),
            &request.service,
            force,
        )?)
    })?;
    Ok(wire::DeleteServiceResponse {
        service: Some(show(&context.snapshot(), &service, true)),
    })
}

pub fn describe(
    context: &Context,
    request: wire::DescribeServicesRequest,
) -> Result<wire::DescribeServicesResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let cluster = clusters::find(&snapshot, &scope, request.cluster.as_deref())?;
    if request.services.is_empty() {
        return Err(invalid("Services cannot be empty."));
    }
    if request.services.len() > 10 {
        return Err(invalid("services can have at most 10 items."));
    }
    let with_tags = included(&request.include, "TAGS");
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for text in &request.services {
        match services::find(&snapshot, cluster, text) {
            Some(service) => found.push(show(&snapshot, service, with_tags)),
            None if text.starts_with("arn:") => failures.push(failure(text)),
            None => failures.push(failure(
                &scope.arn("ecs", &format!("service/{}/{text}", cluster.name)),
            )),
        }
    }
    Ok(wire::DescribeServicesResponse {
        failures: Some(failures),
        services: Some(found),
    })
}

pub fn list(
    context: &Context,
    request: wire::ListServicesRequest,
) -> Result<wire::ListServicesResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let cluster = clusters::find(&snapshot, &scope, request.cluster.as_deref())?;
    let kind = |service: &Service| match &request.launch_type {
        None => true,
        wanted => *wanted == service.launch_type,
    };
    let arns = clusters::services(&snapshot, cluster)
        .filter(|service| service.status != ServiceStatus::Inactive && kind(service))
        .filter(|_| request.scheduling_strategy.as_deref() != Some("DAEMON"))
        .filter(|_| request.resource_management_type.as_deref() != Some("ECS"))
        .map(|service| service.arn.clone())
        .collect();
    let max = request.max_results.or(Some(10));
    let (arns, next_token) = page(arns, String::clone, request.next_token, max)?;
    Ok(wire::ListServicesResponse {
        next_token,
        service_arns: Some(arns),
    })
}

/// The services of the account whose Service Connect is in that namespace.
pub fn list_by_namespace(
    context: &Context,
    request: wire::ListServicesByNamespaceRequest,
) -> Result<wire::ListServicesByNamespaceResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let namespace = connect::find_namespace(&snapshot, &scope, &request.namespace)
        .ok_or(Refusal::NamespaceNotFound)?;
    let is_in = |service: &Service| {
        let connected = service
            .deployments
            .iter()
            .filter_map(|d| d.connected.as_ref());
        connected
            .into_iter()
            .any(|c| c.namespace_id == namespace.id)
    };
    let found = snapshot.services.in_scope(&scope);
    let arns = found
        .filter(|service| service.status != ServiceStatus::Inactive && is_in(service))
        .map(|service| service.arn.clone())
        .collect();
    let max = request.max_results.or(Some(10));
    let (arns, next_token) = page(arns, String::clone, request.next_token, max)?;
    Ok(wire::ListServicesByNamespaceResponse {
        next_token,
        service_arns: Some(arns),
    })
}

/// Container instances have no platform version.
fn on_fargate(platform_version: &str) -> bool {
    !platform_version.is_empty()
}

/// Tasks without interfaces of their own have none.
fn shown_network(network: &NetworkConfiguration) -> Option<wire::NetworkConfiguration> {
    (!network.subnets.is_empty()).then(|| show_network(network))
}

fn show_deployment(
    snapshot: &Snapshot,
    service: &Service,
    deployment: &Deployment,
) -> wire::Deployment {
    let (running, pending) = services::counts(snapshot, service, Some(&deployment.id));
    wire::Deployment {
        capacity_provider_strategy: (!deployment.course.capacity_provider_strategy.is_empty())
            .then(|| show_strategy(&deployment.course.capacity_provider_strategy)),
        created_at: Some(deployment.created_at),
        desired_count: Some(if deployment.primary {
            service.desired_count as i32
        } else {
            0
        }),
        failed_tasks: Some((deployment.failed_tasks + deployment.failed_health_checks) as i32),
        id: Some(deployment.id.clone()),
        launch_type: deployment.course.launch_type.clone(),
        network_configuration: shown_network(&deployment.network),
        pending_count: Some(pending as i32),
        platform_family: on_fargate(&deployment.platform_version).then(|| "Linux".to_owned()),
        platform_version: on_fargate(&deployment.platform_version)
            .then(|| deployment.platform_version.clone()),
        rollout_state: Some(
            match deployment.rollout_state {
                RolloutState::InProgress => "IN_PROGRESS",
                RolloutState::Completed => "COMPLETED",
                RolloutState::Failed => "FAILED",
            }
            .to_owned(),
        ),
        rollout_state_reason: Some(deployment.rollout_reason.clone()),
        running_count: Some(running as i32),
        service_connect_configuration: deployment.service_connect.as_ref().map(show_connect),
        service_connect_resources: deployment
            .connected
            .as_ref()
            .map(|connected| show_resources(&service.scope, connected)),
        status: Some(
            if deployment.primary {
                "PRIMARY"
            } else {
                "ACTIVE"
            }
            .to_owned(),
        ),
        task_definition: Some(deployment.task_definition_arn.clone()),
        updated_at: Some(deployment.updated_at),
        ..wire::Deployment::default()
    }
}

fn show(snapshot: &Snapshot, service: &Service, with_tags: bool) -> wire::Service {
    let (running, pending) = services::counts(snapshot, service, None);
    let events = service.events.iter().map(|event| wire::ServiceEvent {
        created_at: Some(event.created_at),
        id: Some(event.id.clone()),
        message: Some(event.message.clone()),
    });
    let deployments = service
        .deployments
        .iter()
        .map(|d| show_deployment(snapshot, service, d));
    let primary = service.deployments.iter().find(|d| d.primary);
    wire::Service {
        availability_zone_rebalancing: Some(service.availability_zone_rebalancing.clone()),
        capacity_provider_strategy: (!service.capacity_provider_strategy.is_empty())
            .then(|| show_strategy(&service.capacity_provider_strategy)),
        cluster_arn: Some(
            service
                .scope
                .arn("ecs", &format!("cluster/{}", service.cluster)),
        ),
        created_at: Some(service.created_at),
        created_by: Some(service.created_by.clone()),
        current_service_deployment: primary
            .filter(|d| d.rollout_state == RolloutState::InProgress)
            .map(|d| super::deployments::deployment_arn(service, d)),
        current_service_revisions: Some(
            service
                .deployments
                .iter()
                .map(|d| super::deployments::current(snapshot, service, d))
                .collect(),
        ),
        deployment_configuration: Some(show_configuration(service, &service.strategy)),
        deployment_controller: Some(wire::DeploymentController {
            r#type: "ECS".to_owned(),
        }),
        deployments: Some(deployments.collect()),
        desired_count: Some(service.desired_count as i32),
        enable_ecs_managed_tags: Some(service.enable_ecs_managed_tags),
        enable_execute_command: Some(service.enable_execute_command),
        events: Some(events.collect()),
        health_check_grace_period_seconds: service
            .health_check_grace_period_seconds
            .or((!service.load_balancers.is_empty()).then_some(0))
            .map(|seconds| seconds as i32),
        launch_type: service.launch_type.clone(),
        load_balancers: Some(show_load_balancers(&service.load_balancers)),
        network_configuration: shown_network(&service.network),
        pending_count: Some(pending as i32),
        placement_constraints: Some(Vec::new()),
        placement_strategy: Some(Vec::new()),
        platform_family: on_fargate(&service.platform_version).then(|| "Linux".to_owned()),
        platform_version: on_fargate(&service.platform_version)
            .then(|| service.platform_version.clone()),
        propagate_tags: Some(service.propagate_tags.clone()),
        role_arn: Some(service.scope.global().arn(
            "iam",
            "role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS",
        )),
        running_count: Some(running as i32),
        scheduling_strategy: Some("REPLICA".to_owned()),
        service_arn: Some(service.arn.clone()),
        service_name: Some(service.name.clone()),
        service_registries: Some(show_registries(&service.service_registries)),
        status: Some(
            match service.status {
                ServiceStatus::Active => "ACTIVE",
                ServiceStatus::Draining => "DRAINING",
                ServiceStatus::Inactive => "INACTIVE",
            }
            .to_owned(),
        ),
        tags: with_tags.then(|| show_tags(&service.tags)),
        task_definition: Some(service.task_definition_arn.clone()),
        ..wire::Service::default()
    }
}
