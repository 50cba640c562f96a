//! Task definitions.

use super::container_definitions::{self, refuse_fault_injection};
use super::{absent, client, included, not_true, page, read_tags, show_tags};
use crate::api::{ApiError, Context};
use crate::model::ecs::task_definitions::{self, NewTaskDefinition};
use crate::model::ecs::{compatibility, tags};
use fogbank_types::ecs::{ContainerDefinition, TaskDefinition, Volume};
use fogbank_wire::ecs as wire;
use std::collections::BTreeMap;

pub fn register(
    context: &Context,
    request: wire::RegisterTaskDefinitionRequest,
) -> Result<wire::RegisterTaskDefinitionResponse, ApiError> {
    refuse_fault_injection(request.enable_fault_injection)?;
    let given = |list: usize, text: &str| match list {
        0 => Ok(()),
        _ => Err(client(text)),
    };
    given(
        request.inference_accelerators.iter().flatten().count(),
        "Unsupported field 'inferenceAccelerators'.",
    )?;
    absent(&request.proxy_configuration, "proxyConfiguration")?;
    let volumes = request
        .volumes
        .unwrap_or_default()
        .into_iter()
        .map(read_volume);
    let containers = request
        .container_definitions
        .into_iter()
        .map(container_definitions::read);
    let new = NewTaskDefinition {
        family: request.family,
        containers: containers.collect::<Result<_, _>>()?,
        cpu: request.cpu,
        memory: request.memory,
        network_mode: request.network_mode,
        requires_compatibilities: request.requires_compatibilities.unwrap_or_default(),
        execution_role_arn: request.execution_role_arn.filter(|arn| !arn.is_empty()),
        task_role_arn: request.task_role_arn.filter(|arn| !arn.is_empty()),
        ephemeral_storage_gib: request.ephemeral_storage.map(|storage| storage.size_in_gib),
        runtime_platform: request
            .runtime_platform
            .map(|platform| (platform.cpu_architecture, platform.operating_system_family)),
        pid_mode: request.pid_mode.filter(|mode| !mode.is_empty()),
        ipc_mode: request.ipc_mode.filter(|mode| !mode.is_empty()),
        placement_constraints: request
            .placement_constraints
            .unwrap_or_default()
            .into_iter()
            .map(|constraint| (constraint.r#type.unwrap_or_default(), constraint.expression))
            .collect(),
        volumes: volumes.collect::<Result<_, _>>()?,
        tags: read_tags(request.tags)?,
    };
    tags::check(&new.tags)?;
    let scope = context.scope();
    let definition =
        context.write(|tx| Ok(task_definitions::register(tx, &scope, new.clone())?))?;
    Ok(wire::RegisterTaskDefinitionResponse {
        tags: Some(show_tags(&definition.tags)),
        task_definition: Some(show(&definition)),
    })
}

/// A folder of the task; whatever lives elsewhere is refused, by name or as Fargate does.
fn read_volume(volume: wire::Volume) -> Result<Volume, ApiError> {
    not_true(volume.configured_at_launch, "volumes.configuredAtLaunch")?;
    if volume.docker_volume_configuration.is_some() {
        return Err(client(
            "Fargate compatible task definitions do not support dockerVolumeConfiguration",
        ));
    }
    if volume
        .fsx_windows_file_server_volume_configuration
        .is_some()
    {
        return Err(client(
            "Fargate compatible task definitions do not support fsxWindowsFileServerVolumeConfiguration",
        ));
    }
    absent(
        &volume.efs_volume_configuration,
        "volumes.efsVolumeConfiguration",
    )?;
    absent(
        &volume.s3files_volume_configuration,
        "volumes.s3filesVolumeConfiguration",
    )?;
    let path = volume
        .host
        .as_ref()
        .and_then(|host| host.source_path.clone());
    Ok(Volume {
        name: volume.name.unwrap_or_default(),
        host: volume.host.is_some(),
        source_path: path.filter(|path| !path.is_empty()),
    })
}

/// ECS answers with an empty `host` for a volume that is nothing but a name.
fn show_volume(volume: &Volume) -> wire::Volume {
    wire::Volume {
        host: Some(wire::HostVolumeProperties {
            source_path: volume.source_path.clone(),
        }),
        name: Some(volume.name.clone()),
        ..wire::Volume::default()
    }
}

fn show(definition: &TaskDefinition) -> wire::TaskDefinition {
    wire::TaskDefinition {
        compatibilities: Some(
            compatibility::shown(definition)
                .into_iter()
                .map(str::to_owned)
                .collect(),
        ),
        container_definitions: Some(
            definition
                .containers
                .iter()
                .map(container_definitions::show)
                .collect(),
        ),
        cpu: (definition.cpu > 0).then(|| definition.cpu.to_string()),
        delete_requested_at: definition.delete_requested_at,
        deregistered_at: definition.deregistered_at,
        ephemeral_storage: definition
            .ephemeral_storage_gib
            .map(|gib| wire::EphemeralStorage {
                size_in_gib: gib as i32,
            }),
        execution_role_arn: definition.execution_role_arn.clone(),
        family: Some(definition.family.clone()),
        ipc_mode: definition.ipc_mode.clone(),
        memory: (definition.memory_mib > 0).then(|| definition.memory_mib.to_string()),
        network_mode: Some(definition.network_mode.clone()),
        pid_mode: definition.pid_mode.clone(),
        placement_constraints: Some(
            definition
                .placement_constraints
                .iter()
                .map(
                    |(kind, expression)| wire::TaskDefinitionPlacementConstraint {
                        expression: expression.clone(),
                        r#type: Some(kind.clone()),
                    },
                )
                .collect(),
        ),
        registered_at: Some(definition.registered_at),
        registered_by: Some(definition.registered_by.clone()),
        requires_attributes: Some(attributes(definition)),
        requires_compatibilities: (!definition.requires_compatibilities.is_empty())
            .then(|| definition.requires_compatibilities.clone()),
        revision: Some(definition.revision as i32),
        runtime_platform: definition.runtime_platform.clone().map(
            |(cpu_architecture, operating_system_family)| wire::RuntimePlatform {
                cpu_architecture,
                operating_system_family,
            },
        ),
        status: Some(status_of(definition).to_owned()),
        task_definition_arn: Some(definition.arn.clone()),
        task_role_arn: definition.task_role_arn.clone(),
        volumes: Some(definition.volumes.iter().map(show_volume).collect()),
        ..wire::TaskDefinition::default()
    }
}

fn status_of(definition: &TaskDefinition) -> &'static str {
    match (definition.active, definition.delete_requested_at) {
        (true, _) => "ACTIVE",
        (false, None) => "INACTIVE",
        (false, Some(_)) => "DELETE_IN_PROGRESS",
    }
}

/// What a host must be able to do for it.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-placement-constraints.html>
fn attributes(definition: &TaskDefinition) -> Vec<wire::Attribute> {
    let any = |has: fn(&ContainerDefinition) -> bool| definition.containers.iter().any(has);
    let is_secret = |c: &ContainerDefinition, manager: bool| {
        let mut from = c.secrets.iter().map(|secret| &secret.value_from);
        from.any(|from| from.contains(":secretsmanager:") == manager)
    };
    let logs = any(|c| c.log_configuration.is_some());
    let ecr = any(|c| c.image.contains(".dkr.ecr."));
    let given = [
        (true, "com.amazonaws.ecs.capability.docker-remote-api.1.18"),
        (
            definition.network_mode == "awsvpc",
            "ecs.capability.task-eni",
        ),
        (logs, "com.amazonaws.ecs.capability.logging-driver.awslogs"),
        (logs, "com.amazonaws.ecs.capability.docker-remote-api.1.19"),
        (logs, "ecs.capability.execution-role-awslogs"),
        (ecr, "com.amazonaws.ecs.capability.ecr-auth"),
        (ecr, "ecs.capability.execution-role-ecr-pull"),
        (
            definition.task_role_arn.is_some(),
            "com.amazonaws.ecs.capability.task-iam-role",
        ),
        (
            any(|c| !c.depends_on.is_empty()),
            "ecs.capability.container-ordering",
        ),
        (
            any(|c| c.health_check.is_some()),
            "ecs.capability.container-health-check",
        ),
        (
            any(|c| c.restart_policy.as_ref().is_some_and(|p| p.enabled)),
            "ecs.capability.container-restart-policy",
        ),
        (
            definition.containers.iter().any(|c| is_secret(c, false)),
            "ecs.capability.secrets.ssm.environment-variables",
        ),
        (
            definition.containers.iter().any(|c| is_secret(c, true)),
            "ecs.capability.secrets.asm.environment-variables",
        ),
        (
            any(|c| c.repository_credentials.is_some()),
            "ecs.capability.private-registry-authentication.secretsmanager",
        ),
        (
            definition.pid_mode.is_some(),
            "ecs.capability.pid-ipc-namespace-sharing",
        ),
    ];
    let names = given.into_iter().filter(|(needed, _)| *needed);
    names
        .map(|(_, name)| wire::Attribute {
            name: name.to_owned(),
            ..wire::Attribute::default()
        })
        .collect()
}

pub fn describe(
    context: &Context,
    request: wire::DescribeTaskDefinitionRequest,
) -> Result<wire::DescribeTaskDefinitionResponse, ApiError> {
    let snapshot = context.snapshot();
    let found = task_definitions::find(&snapshot, &context.scope(), &request.task_definition)
        .ok_or_else(|| ApiError::new("ClientException", "Unable to describe task definition."))?;
    Ok(wire::DescribeTaskDefinitionResponse {
        tags: included(&request.include, "TAGS").then(|| show_tags(&found.tags)),
        task_definition: Some(show(found)),
    })
}

pub fn deregister(
    context: &Context,
    request: wire::DeregisterTaskDefinitionRequest,
) -> Result<wire::DeregisterTaskDefinitionResponse, ApiError> {
    let scope = context.scope();
    let definition = context.write(|tx| {
        Ok(task_definitions::deregister(
            tx,
            &scope,
            &request.task_definition,
        )?)
    })?;
    Ok(wire::DeregisterTaskDefinitionResponse {
        task_definition: Some(show(&definition)),
    })
}

pub fn delete(
    context: &Context,
    request: wire::DeleteTaskDefinitionsRequest,
) -> Result<wire::DeleteTaskDefinitionsResponse, ApiError> {
    let scope = context.scope();
    let (deleted, undeleted) = context.write(|tx| {
        Ok(task_definitions::delete(
            tx,
            &scope,
            &request.task_definitions,
        )?)
    })?;
    let failures = undeleted.into_iter().map(|failure| wire::Failure {
        arn: Some(failure.arn),
        detail: None,
        reason: Some(failure.reason.to_owned()),
    });
    Ok(wire::DeleteTaskDefinitionsResponse {
        failures: Some(failures.collect()),
        task_definitions: Some(deleted.iter().map(show).collect()),
    })
}

pub fn list(
    context: &Context,
    request: wire::ListTaskDefinitionsRequest,
) -> Result<wire::ListTaskDefinitionsResponse, ApiError> {
    let snapshot = context.snapshot();
    let status = request.status.as_deref().unwrap_or("ACTIVE");
    let mut rows: Vec<(String, String)> = snapshot
        .task_definitions
        .in_scope(&context.scope())
        .filter(|row| !task_definitions::is_tombstone(row) && status_of(row) == status)
        // Despite its name the prefix is a whole family.
        .filter(|row| {
            request
                .family_prefix
                .as_ref()
                .is_none_or(|family| *family == row.family)
        })
        .map(|row| {
            (
                format!("{}:{:08}", row.family, row.revision),
                row.arn.clone(),
            )
        })
        .collect();
    rows.sort();
    // Keys of a page must grow: descending lists are cut from the end.
    let descending = request.sort.as_deref() == Some("DESC");
    if descending {
        rows.reverse();
        for (place, row) in rows.iter_mut().enumerate() {
            row.0 = format!("{place:08}");
        }
    }
    let (rows, next_token) = page(
        rows,
        |row| row.0.clone(),
        request.next_token,
        request.max_results,
    )?;
    let arns = rows.into_iter().map(|row| row.1).collect();
    Ok(wire::ListTaskDefinitionsResponse {
        next_token,
        task_definition_arns: Some(arns),
    })
}

pub fn list_families(
    context: &Context,
    request: wire::ListTaskDefinitionFamiliesRequest,
) -> Result<wire::ListTaskDefinitionFamiliesResponse, ApiError> {
    let snapshot = context.snapshot();
    let mut families: BTreeMap<String, bool> = BTreeMap::new();
    for row in snapshot.task_definitions.in_scope(&context.scope()) {
        if task_definitions::is_tombstone(row) {
            continue;
        }
        *families.entry(row.family.clone()).or_default() |= row.active;
    }
    let prefix = request.family_prefix.unwrap_or_default();
    let wanted = |active: bool| match request.status.as_deref() {
        Some("ACTIVE") => active,
        Some("INACTIVE") => !active,
        _ => true,
    };
    let names = families
        .into_iter()
        .filter(|(name, active)| name.starts_with(&prefix) && wanted(*active))
        .map(|(name, _)| name)
        .collect();
    let (names, next_token) = page(
        names,
        String::clone,
        request.next_token,
        request.max_results,
    )?;
    Ok(wire::ListTaskDefinitionFamiliesResponse {
        families: Some(names),
        next_token,
    })
}
