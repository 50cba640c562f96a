//! Tasks.

use super::{
    empty, failure, included, invalid, page, pair, read_strategy, read_tags, show_tags, unsigned,
};
use crate::api::{ApiError, Context};
use crate::model::ecs::tasks::{self, Capacity, Placement, RunTask};
use crate::model::ecs::{clusters, container_health, health, task_definitions};
use fogbank_types::Snapshot;
use fogbank_types::ecs::{
    ContainerDefinition, ContainerOverride, DesiredStatus, Task, TaskOverrides,
};
use fogbank_types::status::{ContainerStatus, TaskPhase, TaskStatus};
use fogbank_wire::ecs as wire;

/// Where tasks shall be, as a request says it.
pub fn read_placement(network: Option<wire::NetworkConfiguration>) -> Option<Placement> {
    network
        .and_then(|network| network.awsvpc_configuration)
        .map(|network| Placement {
            subnets: network.subnets,
            groups: network.security_groups.unwrap_or_default(),
            assign_public_ip: network.assign_public_ip.as_deref() == Some("ENABLED"),
        })
}

pub fn run(
    context: &Context,
    request: wire::RunTaskRequest,
) -> Result<wire::RunTaskResponse, ApiError> {
    empty(&request.placement_constraints, "placementConstraints")?;
    empty(&request.placement_strategy, "placementStrategy")?;
    empty(&request.volume_configurations, "volumeConfigurations")?;
    let mut tags = read_tags(request.tags)?;
    crate::model::ecs::tags::check(&tags)?;
    if request.enable_ecs_managed_tags == Some(true) {
        let name = clusters::find(
            &context.snapshot(),
            &context.scope(),
            request.cluster.as_deref(),
        )?
        .name
        .clone();
        tags.insert("aws:ecs:clusterName".to_owned(), name);
    }
    let command = RunTask {
        cluster: request.cluster,
        task_definition: request.task_definition,
        count: request.count,
        placement: read_placement(request.network_configuration),
        capacity: Capacity {
            launch_type: request.launch_type,
            strategy: read_strategy(request.capacity_provider_strategy),
            platform_version: request.platform_version,
        },
        overrides: read_overrides(request.overrides)?,
        group: request.group,
        started_by: request.started_by.or(request.reference_id),
        enable_execute_command: request.enable_execute_command == Some(true),
        propagate_tags: request.propagate_tags.as_deref() == Some("TASK_DEFINITION"),
        client_token: request.client_token,
        tags,
    };
    let scope = context.scope();
    let (started, failed) = context.write(|tx| Ok(tasks::run(tx, &scope, command.clone())?))?;
    let snapshot = context.snapshot();
    let failures = failed.into_iter().map(|f| wire::Failure {
        arn: Some(f.arn),
        detail: f.detail,
        reason: Some(f.reason),
    });
    Ok(wire::RunTaskResponse {
        failures: Some(failures.collect()),
        tasks: Some(
            started
                .iter()
                .map(|task| show(&snapshot, task, true))
                .collect(),
        ),
    })
}

fn read_overrides(overrides: Option<wire::TaskOverride>) -> Result<TaskOverrides, ApiError> {
    let Some(overrides) = overrides else {
        return Ok(TaskOverrides::default());
    };
    empty(
        &overrides.inference_accelerator_overrides,
        "overrides.inferenceAcceleratorOverrides",
    )?;
    let storage = overrides
        .ephemeral_storage
        .map(|storage| storage.size_in_gib);
    let mut containers = Vec::new();
    for container in overrides.container_overrides.unwrap_or_default() {
        empty(
            &container.environment_files,
            "overrides.containerOverrides.environmentFiles",
        )?;
        empty(
            &container.resource_requirements,
            "overrides.containerOverrides.resourceRequirements",
        )?;
        containers.push(ContainerOverride {
            name: container
                .name
                .ok_or_else(|| invalid("Container name in override can not be empty."))?,
            command: container.command,
            environment: super::container_definitions::read_environment(container.environment),
            cpu: unsigned(container.cpu, "cpu")?,
            memory_mib: unsigned(container.memory, "memory")?,
            memory_reservation_mib: unsigned(container.memory_reservation, "memoryReservation")?,
        });
    }
    Ok(TaskOverrides {
        containers,
        cpu: overrides.cpu,
        memory: overrides.memory,
        task_role_arn: overrides.task_role_arn,
        execution_role_arn: overrides.execution_role_arn,
        ephemeral_storage_gib: unsigned(storage, "ephemeralStorage")?,
    })
}

fn show_overrides(overrides: &TaskOverrides) -> wire::TaskOverride {
    let show = |container: &ContainerOverride| wire::ContainerOverride {
        command: container.command.clone(),
        cpu: container.cpu.map(|units| units as i32),
        environment: (!container.environment.is_empty()).then(|| {
            container
                .environment
                .iter()
                .map(|(name, value)| pair(name, value))
                .collect()
        }),
        memory: container.memory_mib.map(|mib| mib as i32),
        memory_reservation: container.memory_reservation_mib.map(|mib| mib as i32),
        name: Some(container.name.clone()),
        ..wire::ContainerOverride::default()
    };
    wire::TaskOverride {
        container_overrides: Some(overrides.containers.iter().map(show).collect()),
        cpu: overrides.cpu.clone(),
        ephemeral_storage: overrides
            .ephemeral_storage_gib
            .map(|gib| wire::EphemeralStorage {
                size_in_gib: gib as i32,
            }),
        execution_role_arn: overrides.execution_role_arn.clone(),
        inference_accelerator_overrides: Some(Vec::new()),
        memory: overrides.memory.clone(),
        task_role_arn: overrides.task_role_arn.clone(),
    }
}

/// A task with its status.
fn show(snapshot: &Snapshot, task: &Task, with_tags: bool) -> wire::Task {
    let status = health::status(snapshot, task);
    let status = status.map(|row| &**row);
    let definition = task_definitions::find(snapshot, &task.scope, &task.task_definition_arn);
    let storage_gib = definition.map_or(20, |d| d.ephemeral_storage_gib(&task.overrides)) as i32;
    let (stop_code, stopped_reason) = tasks::stop_reason(snapshot, task);
    let containers = definition
        .map(|d| d.containers.as_slice())
        .unwrap_or_default();
    let stopping_at = task
        .stop
        .as_ref()
        .map(|stop| stop.stopping_at)
        .or(status.and_then(|s| s.stopping_at));
    wire::Task {
        attachments: Some(vec![attachment(snapshot, task)]),
        attributes: Some(vec![wire::Attribute {
            name: "ecs.cpu-architecture".to_owned(),
            value: Some("x86_64".to_owned()),
            ..wire::Attribute::default()
        }]),
        availability_zone: Some(task.zone.clone()),
        capacity_provider_name: task.capacity_provider.clone(),
        cluster_arn: Some(task.scope.arn("ecs", &format!("cluster/{}", task.cluster))),
        connectivity: status
            .and_then(|s| s.connectivity_at)
            .map(|_| "CONNECTED".to_owned()),
        connectivity_at: status.and_then(|s| s.connectivity_at),
        container_instance_arn: None,
        containers: Some(
            containers
                .iter()
                .map(|c| show_container(snapshot, task, c, status))
                .collect(),
        ),
        cpu: Some(task.cpu.to_string()),
        created_at: Some(task.created_at),
        desired_status: Some(
            match task.desired {
                DesiredStatus::Running => "RUNNING",
                DesiredStatus::Stopped => "STOPPED",
            }
            .to_owned(),
        ),
        enable_execute_command: Some(task.enable_execute_command),
        ephemeral_storage: Some(wire::EphemeralStorage {
            size_in_gib: storage_gib,
        }),
        execution_stopped_at: status.and_then(|s| s.execution_stopped_at),
        fargate_ephemeral_storage: Some(wire::TaskEphemeralStorage {
            size_in_gib: Some(storage_gib),
            ..wire::TaskEphemeralStorage::default()
        }),
        group: Some(task.group.clone()),
        health_status: Some(
            container_health::word(container_health::shown(snapshot, task)).to_owned(),
        ),
        inference_accelerators: Some(Vec::new()),
        last_status: Some(health::last_status(snapshot, task).to_owned()),
        launch_type: Some(task.launch_type.clone()),
        memory: Some(task.memory_mib.to_string()),
        overrides: Some(show_overrides(&task.overrides)),
        platform_family: Some("Linux".to_owned()),
        platform_version: Some(task.platform_version.clone()),
        pull_started_at: status.and_then(|s| s.pull_started_at),
        pull_stopped_at: status.and_then(|s| s.pull_stopped_at),
        started_at: status.and_then(|s| s.started_at),
        started_by: task.started_by.clone(),
        stop_code: stop_code.filter(|_| task.desired == DesiredStatus::Stopped),
        stopped_at: task.stopped_at,
        stopped_reason: stopped_reason.filter(|_| task.desired == DesiredStatus::Stopped),
        stopping_at,
        tags: Some(if with_tags {
            show_tags(&task.tags)
        } else {
            Vec::new()
        }),
        task_arn: Some(task.arn.clone()),
        task_definition_arn: Some(task.task_definition_arn.clone()),
        version: Some(version(task, status)),
    }
}

/// Counts up with every state that a task enters.
fn version(task: &Task, status: Option<&TaskStatus>) -> i64 {
    let phase = status.map_or(1, |s| s.phase as i64 + 2);
    phase + i64::from(task.desired == DesiredStatus::Stopped) + i64::from(task.stopped_at.is_some())
}

fn attachment(snapshot: &Snapshot, task: &Task) -> wire::Attachment {
    let eni = snapshot.enis.get(&task.scope, &task.eni_id);
    let mut details = vec![
        pair("subnetId", task.subnet_id.as_str()),
        pair("networkInterfaceId", task.eni_id.as_str()),
    ];
    if let Some(eni) = eni {
        details.push(pair("macAddress", eni.mac.to_string()));
        let name = eni.private_ip.to_string().replace('.', "-");
        let domain = if task.scope.region == "us-east-1" {
            "ec2.internal".to_owned()
        } else {
            format!("{}.compute.internal", task.scope.region)
        };
        if snapshot
            .vpcs
            .get(&task.scope, &eni.vpc_id)
            .is_some_and(|vpc| vpc.enable_dns_hostnames)
        {
            details.push(pair("privateDnsName", format!("ip-{name}.{domain}")));
        }
        details.push(pair("privateIPv4Address", eni.private_ip.to_string()));
        if let Some(address) = eni.ipv6_addresses.first() {
            details.push(pair("ipv6Address", address.to_string()));
        }
    }
    let status = match (eni, health::phase(snapshot, task)) {
        (None, _) => "DELETED",
        (Some(_), Some(_)) => "ATTACHED",
        (Some(_), None) => "PRECREATED",
    };
    wire::Attachment {
        details: Some(details),
        id: Some(task.attachment_id.clone()),
        status: Some(status.to_owned()),
        r#type: Some("ElasticNetworkInterface".to_owned()),
    }
}

fn show_container(
    snapshot: &Snapshot,
    task: &Task,
    container: &ContainerDefinition,
    status: Option<&TaskStatus>,
) -> wire::Container {
    let found: Option<&ContainerStatus> =
        status.and_then(|s| s.containers.iter().find(|c| c.name == container.name));
    let last_status = match found.map(|c| c.phase) {
        None if task.stopped_at.is_some() => "STOPPED",
        None | Some(TaskPhase::Pending) => "PENDING",
        // A container has no state between running and stopped.
        Some(TaskPhase::Running | TaskPhase::Stopping) => "RUNNING",
        Some(TaskPhase::Stopped) => "STOPPED",
    };
    let changed = task
        .overrides
        .containers
        .iter()
        .find(|o| o.name == container.name);
    let cpu = changed.and_then(|o| o.cpu).unwrap_or(container.cpu);
    let interfaces = health::address(snapshot, task).map(|ip| wire::NetworkInterface {
        attachment_id: Some(task.attachment_id.clone()),
        private_ipv4_address: Some(ip.to_string()),
        ipv6_address: snapshot
            .enis
            .get(&task.scope, &task.eni_id)
            .and_then(|eni| eni.ipv6_addresses.first())
            .map(ToString::to_string),
    });
    let number = |mib: Option<u32>| mib.map(|mib| mib.to_string());
    wire::Container {
        container_arn: Some(task.container_arn(&container.name)),
        cpu: Some(cpu.to_string()),
        exit_code: found.and_then(|c| c.exit_code),
        health_status: Some(
            container_health::word(container_health::of_container(container, found)).to_owned(),
        ),
        image: Some(container.image.clone()),
        image_digest: found.and_then(|c| c.image_digest.clone()),
        last_status: Some(last_status.to_owned()),
        managed_agents: task
            .enable_execute_command
            .then(|| vec![managed_agent(found)]),
        memory: number(changed.and_then(|o| o.memory_mib).or(container.memory_mib)),
        memory_reservation: number(
            changed
                .and_then(|o| o.memory_reservation_mib)
                .or(container.memory_reservation_mib),
        ),
        name: Some(container.name.clone()),
        network_bindings: Some(Vec::new()),
        network_interfaces: Some(interfaces.into_iter().collect()),
        reason: found.and_then(|c| c.reason.clone()),
        runtime_id: found
            .map(|c| c.runtime_id.clone())
            .filter(|id| !id.is_empty()),
        task_arn: Some(task.arn.clone()),
        ..wire::Container::default()
    }
}

/// What ECS Exec talks to; it lives as long as its container (fact TASK-14).
fn managed_agent(status: Option<&ContainerStatus>) -> wire::ManagedAgent {
    wire::ManagedAgent {
        last_started_at: status.and_then(|s| s.started_at),
        last_status: Some(
            match status.map(|s| s.phase) {
                None | Some(TaskPhase::Pending) => "PENDING",
                Some(TaskPhase::Running | TaskPhase::Stopping) => "RUNNING",
                Some(TaskPhase::Stopped) => "STOPPED",
            }
            .to_owned(),
        ),
        name: Some("ExecuteCommandAgent".to_owned()),
        reason: None,
    }
}

pub fn stop(
    context: &Context,
    request: wire::StopTaskRequest,
) -> Result<wire::StopTaskResponse, ApiError> {
    let scope = context.scope();
    let task = context.write(|tx| {
        Ok(tasks::stop(
            tx,
            &scope,
            request.cluster.as_deref(),
            &request.task,
            request.reason.clone(),
        )?)
    })?;
    Ok(wire::StopTaskResponse {
        task: Some(show(&context.snapshot(), &task, true)),
    })
}

pub fn describe(
    context: &Context,
    request: wire::DescribeTasksRequest,
) -> Result<wire::DescribeTasksResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let cluster = clusters::find(&snapshot, &scope, request.cluster.as_deref())?;
    if request.tasks.is_empty() {
        return Err(invalid("Tasks cannot be empty."));
    }
    if request.tasks.len() > 100 {
        return Err(invalid("tasks can have at most 100 items."));
    }
    let with_tags = included(&request.include, "TAGS");
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for text in &request.tasks {
        match tasks::find(&snapshot, cluster, text) {
            Some(task) => found.push(show(&snapshot, task, with_tags)),
            None if text.starts_with("arn:") => failures.push(failure(text)),
            None => failures.push(failure(
                &scope.arn("ecs", &format!("task/{}/{text}", cluster.name)),
            )),
        }
    }
    Ok(wire::DescribeTasksResponse {
        failures: Some(failures),
        tasks: Some(found),
    })
}

pub fn list(
    context: &Context,
    request: wire::ListTasksRequest,
) -> Result<wire::ListTasksResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let cluster = clusters::find(&snapshot, &scope, request.cluster.as_deref())?;
    if request.container_instance.is_some() {
        return Err(invalid(
            "The referenced container instance was not found: tasks run on Fargate.",
        ));
    }
    if let Some(name) = &request.service_name {
        let known = crate::model::ecs::services::find(&snapshot, cluster, name).is_some();
        if !known {
            return Err(crate::model::ecs::Refusal::ServiceNotFound.into());
        }
    }
    let group = request
        .service_name
        .map(|name| format!("service:{}", name.rsplit('/').next().unwrap_or(&name)));
    let desired = request.desired_status.as_deref().unwrap_or("RUNNING");
    let is_family = |task: &Task, family: &str| {
        let definition = task
            .task_definition_arn
            .rsplit('/')
            .next()
            .unwrap_or_default();
        definition.split(':').next() == Some(family)
    };
    let arns = clusters::tasks(&snapshot, cluster)
        .filter(|task| tasks::desired_matches(task, desired))
        .filter(|task| group.as_ref().is_none_or(|group| *group == task.group))
        .filter(|task| {
            request
                .family
                .as_deref()
                .is_none_or(|family| is_family(task, family))
        })
        .filter(|task| request.started_by.is_none() || request.started_by == task.started_by)
        .filter(|task| {
            request
                .launch_type
                .as_ref()
                .is_none_or(|kind| *kind == task.launch_type)
        })
        .map(|task| task.arn.clone())
        .collect();
    let (arns, next_token) = page(arns, String::clone, request.next_token, request.max_results)?;
    Ok(wire::ListTasksResponse {
        next_token,
        task_arns: Some(arns),
    })
}
