//! Task definitions.

use super::container_definitions::{self, refuse_fault_injection};
use super::{absent, empty, included, page, read_tags, show_tags};
use crate::api::{ApiError, Context};
use crate::model::ecs::tags;
use crate::model::ecs::task_definitions::{self, NewTaskDefinition};
use fogbank_types::ecs::TaskDefinition;
use fogbank_wire::ecs as wire;
use std::collections::BTreeMap;

pub fn register(
    context: &Context,
    request: wire::RegisterTaskDefinitionRequest,
) -> Result<wire::RegisterTaskDefinitionResponse, ApiError> {
    refuse_fault_injection(request.enable_fault_injection)?;
    empty(&request.inference_accelerators, "inferenceAccelerators")?;
    absent(&request.ipc_mode, "ipcMode")?;
    empty(&request.placement_constraints, "placementConstraints")?;
    absent(&request.proxy_configuration, "proxyConfiguration")?;
    empty(&request.volumes, "volumes")?;
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

fn show(definition: &TaskDefinition) -> wire::TaskDefinition {
    wire::TaskDefinition {
        compatibilities: Some(vec!["EC2".to_owned(), "FARGATE".to_owned()]),
        container_definitions: Some(
            definition
                .containers
                .iter()
                .map(container_definitions::show)
                .collect(),
        ),
        cpu: Some(definition.cpu.to_string()),
        deregistered_at: definition.deregistered_at,
        ephemeral_storage: definition
            .ephemeral_storage_gib
            .map(|gib| wire::EphemeralStorage {
                size_in_gib: gib as i32,
            }),
        execution_role_arn: definition.execution_role_arn.clone(),
        family: Some(definition.family.clone()),
        memory: Some(definition.memory_mib.to_string()),
        network_mode: Some(definition.network_mode.clone()),
        pid_mode: definition.pid_mode.clone(),
        placement_constraints: Some(Vec::new()),
        registered_at: Some(definition.registered_at),
        registered_by: Some(definition.registered_by.clone()),
        requires_attributes: Some(attributes(definition)),
        requires_compatibilities: Some(definition.requires_compatibilities.clone()),
        revision: Some(definition.revision as i32),
        runtime_platform: definition.runtime_platform.clone().map(
            |(cpu_architecture, operating_system_family)| wire::RuntimePlatform {
                cpu_architecture,
                operating_system_family,
            },
        ),
        status: Some(
            if definition.active {
                "ACTIVE"
            } else {
                "INACTIVE"
            }
            .to_owned(),
        ),
        task_definition_arn: Some(definition.arn.clone()),
        task_role_arn: definition.task_role_arn.clone(),
        volumes: Some(Vec::new()),
        ..wire::TaskDefinition::default()
    }
}

/// What a host must be able to do for it.
fn attributes(definition: &TaskDefinition) -> Vec<wire::Attribute> {
    let mut names = vec![
        "com.amazonaws.ecs.capability.docker-remote-api.1.18",
        "ecs.capability.task-eni",
    ];
    if definition
        .containers
        .iter()
        .any(|c| c.log_configuration.is_some())
    {
        names.push("com.amazonaws.ecs.capability.logging-driver.awslogs");
        names.push("com.amazonaws.ecs.capability.docker-remote-api.1.19");
        names.push("ecs.capability.execution-role-awslogs");
    }
    if definition
        .containers
        .iter()
        .any(|c| c.image.contains(".dkr.ecr."))
    {
        names.push("com.amazonaws.ecs.capability.ecr-auth");
        names.push("ecs.capability.execution-role-ecr-pull");
    }
    if definition.task_role_arn.is_some() {
        names.push("com.amazonaws.ecs.capability.task-iam-role");
    }
    names
        .into_iter()
        .map(|name| wire::Attribute {
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

pub fn list(
    context: &Context,
    request: wire::ListTaskDefinitionsRequest,
) -> Result<wire::ListTaskDefinitionsResponse, ApiError> {
    let snapshot = context.snapshot();
    let active = request.status.as_deref().unwrap_or("ACTIVE") == "ACTIVE";
    let none_of_these = request.status.as_deref() == Some("DELETE_IN_PROGRESS");
    let mut rows: Vec<(String, String)> = snapshot
        .task_definitions
        .in_scope(&context.scope())
        .filter(|row| !none_of_these && row.active == active)
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
