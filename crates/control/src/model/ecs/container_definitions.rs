//! What ECS and Fargate ask of the containers of a task definition: each by itself, and all together.
//!
//! Called by `task_definitions::register`. What must stay true: what passes here can be carried out by a host without
//! another look, so that a mistake is said when it is made and not when a task starts.

use super::task_definitions::NewTaskDefinition;
use super::{Refusal, client, is_name};
use fogbank_types::ecs::{
    ContainerDefinition, DependencyCondition, HealthCheck, is_namespaced_control,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// Longest waits on Fargate (facts ECS-9 and ECS-10).
const START_TIMEOUT_SECONDS: RangeInclusive<u32> = 2..=120;
const STOP_TIMEOUT_SECONDS: RangeInclusive<u32> = 0..=120;
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html>
const INTERVAL_SECONDS: RangeInclusive<u32> = 5..=300;
const TIMEOUT_SECONDS: RangeInclusive<u32> = 2..=60;
const RETRIES: RangeInclusive<u32> = 1..=10;
const START_PERIOD_SECONDS: RangeInclusive<u32> = 0..=300;
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerRestartPolicy.html>
const RESTART_PERIOD_SECONDS: RangeInclusive<u32> = 60..=1800;
const IGNORED_EXIT_CODES_MAX: usize = 50;
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html>
const CONTAINERS_MAX: usize = 10;
const DEFINITION_BYTES_MAX: usize = 64 * 1024;

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_LogConfiguration.html>
const INSTANCE_LOG_DRIVERS: [&str; 8] = [
    "awsfirelens",
    "awslogs",
    "fluentd",
    "gelf",
    "json-file",
    "journald",
    "syslog",
    "splunk",
];
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// What the containers shall run on; sizes that are not given bound nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    Fargate {
        cpu: u32,
        memory_mib: u32,
    },
    Instances {
        cpu: Option<u32>,
        memory_mib: Option<u32>,
    },
}

/// What AWS looks at before the task's own parameters.
pub fn check_named(containers: &[ContainerDefinition]) -> Result<(), Refusal> {
    for container in containers {
        for (member, value) in [("name", &container.name), ("image", &container.image)] {
            if value.is_empty() {
                return Err(client(format!(
                    "Container.{member} should not be null or empty."
                )));
            }
        }
    }
    Ok(())
}

/// All rules, in one pass over each container and then over all of them.
pub fn check(new: &NewTaskDefinition, platform: Platform) -> Result<(), Refusal> {
    if new.containers.is_empty() {
        return Err(client("Container list cannot be empty."));
    }
    if new.containers.len() > CONTAINERS_MAX {
        return Err(client("Too many containers."));
    }
    let mut names = BTreeSet::new();
    for container in &new.containers {
        check_container(container, new, platform)?;
        if !names.insert(container.name.as_str()) {
            return Err(client(
                "Container names must be unique within a task definition.",
            ));
        }
    }
    check_ports(new)?;
    if !new.containers.iter().any(|container| container.essential) {
        return Err(client(
            "Task definition doesn't have any essential container.",
        ));
    }
    check_dependencies(&new.containers)?;
    check_volumes(new)?;
    check_sizes(&new.containers, platform)?;
    let size = serde_json::to_vec(&new.containers).map_or(0, |bytes| bytes.len());
    if size > DEFINITION_BYTES_MAX {
        return Err(client(
            "Actual length of the task definition exceeds the maximum of 65536 bytes.",
        ));
    }
    Ok(())
}

/// Containers of a task share one network interface, unless they are behind an instance's bridge.
fn check_ports(new: &NewTaskDefinition) -> Result<(), Refusal> {
    let (mut ports, mut names) = (BTreeSet::new(), BTreeSet::new());
    let mode = new.network_mode.as_deref().unwrap_or("bridge");
    let shared = matches!(mode, "awsvpc" | "host");
    for port in new.containers.iter().flat_map(|c| &c.port_mappings) {
        if shared && port.host_port != 0 && port.host_port != port.container_port {
            return Err(client(format!(
                "When networkMode={mode}, the host ports and container ports in port mappings must match."
            )));
        }
        if shared && !ports.insert((port.container_port, port.protocol.as_str())) {
            return Err(client(format!(
                "container port {} ({}) is used multiple times in task.",
                port.container_port, port.protocol
            )));
        }
        if let Some(name) = &port.name
            && !names.insert(name.as_str())
        {
            return Err(client(format!("port mapping name {name} is already used.")));
        }
    }
    Ok(())
}

fn check_sizes(containers: &[ContainerDefinition], platform: Platform) -> Result<(), Refusal> {
    let (cpu, memory_mib) = match platform {
        Platform::Fargate { cpu, memory_mib } => (Some(cpu), Some(memory_mib)),
        Platform::Instances { cpu, memory_mib } => (cpu, memory_mib),
    };
    let used: u64 = containers.iter().map(|c| u64::from(c.cpu)).sum();
    if cpu.is_some_and(|cpu| used > u64::from(cpu)) {
        return Err(client(
            "The sum of all container 'cpu' values cannot be greater than the task-level 'cpu' value.",
        ));
    }
    let Some(memory_mib) = memory_mib else {
        // Without the task's memory each container says its own.
        let unsaid = containers
            .iter()
            .find(|c| c.memory_mib.is_none() && c.memory_reservation_mib.is_none());
        return match unsaid {
            Some(container) => Err(client(format!(
                "Invalid setting for container '{}'. At least one of 'memory' or 'memoryReservation' must be specified.",
                container.name
            ))),
            None => Ok(()),
        };
    };
    for container in containers {
        if container.memory_mib.is_some_and(|mib| mib > memory_mib) {
            return Err(client(format!(
                "The 'memory' setting for container '{}' is greater than for the task.",
                container.name
            )));
        }
    }
    let reserved: u64 = containers
        .iter()
        .map(|c| u64::from(c.memory_reservation_mib.or(c.memory_mib).unwrap_or(0)))
        .sum();
    if reserved > u64::from(memory_mib) {
        return Err(client(format!(
            "The total memory ({reserved}) of the containers is more than the task's memory ({memory_mib})."
        )));
    }
    Ok(())
}

fn check_container(
    container: &ContainerDefinition,
    new: &NewTaskDefinition,
    platform: Platform,
) -> Result<(), Refusal> {
    let on_fargate = matches!(platform, Platform::Fargate { .. });
    let name = &container.name;
    if !is_name(name) {
        return Err(client(format!(
            "Invalid container name '{name}'. Up to 255 letters, numbers, hyphens, and underscores are allowed."
        )));
    }
    let image = &container.image;
    if image.len() > 255
        || image
            .bytes()
            .any(|b| b.is_ascii_whitespace() || b.is_ascii_control())
    {
        return Err(client(format!(
            "Container.image contains invalid characters: container '{name}'."
        )));
    }
    if on_fargate && is_ecr_image(image) && new.execution_role_arn.is_none() {
        return Err(client(
            "Fargate requires task definition to have execution role ARN to support ECR images.",
        ));
    }
    if let (Some(soft), Some(hard)) = (container.memory_reservation_mib, container.memory_mib)
        && soft > hard
    {
        return Err(client(format!(
            "Invalid setting for container '{name}'. The 'memory' must be greater than or equal to 'memoryReservation'."
        )));
    }
    if container.memory_mib.is_some_and(|mib| mib < 6)
        || container.memory_reservation_mib.is_some_and(|mib| mib < 6)
    {
        return Err(client(format!(
            "Invalid 'memory' setting for container '{name}': the minimum is 6 MiB."
        )));
    }
    let within = |what: &str, value: Option<u32>, range: RangeInclusive<u32>| match value {
        Some(value) if !range.contains(&value) => Err(client(format!(
            "the '{what}' setting for container '{name}' must be between {} and {}",
            range.start(),
            range.end()
        ))),
        _ => Ok(()),
    };
    // On instances their agent bounds these waits.
    if on_fargate {
        let (stop, start) = (
            container.stop_timeout_seconds,
            container.start_timeout_seconds,
        );
        within("stopTimeout", stop, STOP_TIMEOUT_SECONDS)?;
        within("startTimeout", start, START_TIMEOUT_SECONDS)?;
    }
    if let Some(check) = &container.health_check {
        check_command(name, check)?;
        within(
            "healthCheck.interval",
            Some(check.interval_seconds),
            INTERVAL_SECONDS,
        )?;
        within(
            "healthCheck.timeout",
            Some(check.timeout_seconds),
            TIMEOUT_SECONDS,
        )?;
        within("healthCheck.retries", Some(check.retries), RETRIES)?;
        within(
            "healthCheck.startPeriod",
            check.start_period_seconds,
            START_PERIOD_SECONDS,
        )?;
    }
    if let Some(policy) = &container.restart_policy {
        within(
            "restartAttemptPeriod",
            policy.restart_attempt_period_seconds,
            RESTART_PERIOD_SECONDS,
        )?;
        if policy.ignored_exit_codes.len() > IGNORED_EXIT_CODES_MAX {
            return Err(client(format!(
                "the 'ignoredExitCodes' setting for container '{name}' can have at most {IGNORED_EXIT_CODES_MAX} items"
            )));
        }
    }
    check_kernel(container)?;
    check_secrets(container, new)?;
    check_log(container, new, on_fargate)
}

/// `NONE` switches a check off; anything else is a word and the command.
fn check_command(name: &str, check: &HealthCheck) -> Result<(), Refusal> {
    let good = match check.command.split_first() {
        Some((word, rest)) => match word.as_str() {
            "CMD" => !rest.is_empty(),
            "CMD-SHELL" => rest.len() == 1,
            "NONE" => rest.is_empty(),
            _ => false,
        },
        None => false,
    };
    if good {
        Ok(())
    } else {
        Err(client(format!(
            "Invalid 'healthCheck.command' setting for container '{name}'. It must begin with CMD or CMD-SHELL, followed by the command."
        )))
    }
}

fn check_kernel(container: &ContainerDefinition) -> Result<(), Refusal> {
    for (name, soft, hard) in &container.ulimits {
        if !ULIMITS.contains(&name.as_str()) {
            return Err(client(format!("Invalid ulimit name '{name}'.")));
        }
        // -1 is no limit at all.
        if *hard >= 0 && (*soft > *hard || *soft < 0) {
            return Err(client(format!(
                "Soft limit exceeds hard limit for ulimit {name}"
            )));
        }
    }
    for (name, _) in &container.system_controls {
        let plain = name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/'))
            && !name.contains("..");
        if !plain || !is_namespaced_control(name) {
            return Err(client(format!(
                "Invalid 'systemControls' setting for container '{}'. Unsupported namespace: '{name}'",
                container.name
            )));
        }
    }
    match container.version_consistency.as_deref() {
        None | Some("enabled" | "disabled") => Ok(()),
        Some(other) => Err(client(format!(
            "Invalid 'versionConsistency' setting: {other}. Valid values are [enabled, disabled]."
        ))),
    }
}

/// Fact TASK-12: the execution role fetches them.
fn check_secrets(container: &ContainerDefinition, new: &NewTaskDefinition) -> Result<(), Refusal> {
    let mut names = BTreeSet::new();
    for secret in &container.secrets {
        if secret.name.is_empty() || secret.value_from.is_empty() {
            return Err(client(format!(
                "The secret's name and valueFrom can't be null or empty: container '{}'.",
                container.name
            )));
        }
        let also_plain = container
            .environment
            .iter()
            .any(|(name, _)| *name == secret.name);
        if also_plain || !names.insert(secret.name.as_str()) {
            return Err(client(format!(
                "The secret name must be unique and not shared with any new or existing environment variables set on the container, such as '{}'.",
                secret.name
            )));
        }
    }
    if new.execution_role_arn.is_some() {
        return Ok(());
    }
    if !container.secrets.is_empty() {
        return Err(client(
            "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.",
        ));
    }
    if container.repository_credentials.is_some() {
        return Err(client(
            "When you are specifying repository credentials, you must also specify a value for 'executionRoleArn'.",
        ));
    }
    Ok(())
}

/// Facts ECS-2 and TASK-11.
fn check_log(
    container: &ContainerDefinition,
    new: &NewTaskDefinition,
    on_fargate: bool,
) -> Result<(), Refusal> {
    let Some(log) = &container.log_configuration else {
        return Ok(());
    };
    let driver = log.driver.as_str();
    match driver {
        "awslogs" => {}
        _ if !on_fargate && INSTANCE_LOG_DRIVERS.contains(&driver) => return Ok(()),
        _ if !on_fargate => {
            return Err(client(format!(
                "{driver} is not a valid log driver. Must be one of [{}]",
                INSTANCE_LOG_DRIVERS.join(", ")
            )));
        }
        "splunk" | "awsfirelens" => {
            return Err(client(format!(
                "The log driver '{driver}' is not offered yet, only awslogs is."
            )));
        }
        _ => {
            return Err(client(format!(
                "{driver} is not a valid log driver. Must be one of [awslogs, splunk, awsfirelens]"
            )));
        }
    }
    if on_fargate && new.execution_role_arn.is_none() {
        return Err(client(
            "Fargate requires task definition to have execution role ARN to support log driver awslogs.",
        ));
    }
    if !on_fargate {
        return Ok(());
    }
    let missing: Vec<&str> = ["awslogs-group", "awslogs-region", "awslogs-stream-prefix"]
        .into_iter()
        .filter(|option| log.options.get(*option).is_none_or(String::is_empty))
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(client(format!(
            "Log driver awslogs requires options: {}",
            missing.join(", ")
        )))
    }
}

/// `<account>.dkr.ecr.<region>.amazonaws.com/...`
fn is_ecr_image(image: &str) -> bool {
    image
        .split('/')
        .next()
        .is_some_and(|host| host.contains(".dkr.ecr.") && host.contains(".amazonaws.com"))
}

/// Fact ECS-10.
fn check_dependencies(containers: &[ContainerDefinition]) -> Result<(), Refusal> {
    let by_name: BTreeMap<&str, &ContainerDefinition> = containers
        .iter()
        .map(|container| (container.name.as_str(), container))
        .collect();
    for container in containers {
        for dependency in &container.depends_on {
            let name = dependency.container_name.as_str();
            let Some(target) = by_name.get(name) else {
                return Err(client(format!(
                    "Cannot depend on container {name} because it does not exist"
                )));
            };
            match dependency.condition {
                DependencyCondition::Start => {}
                DependencyCondition::Complete | DependencyCondition::Success => {
                    if target.essential {
                        return Err(client(
                            "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container",
                        ));
                    }
                }
                DependencyCondition::Healthy => {
                    let checked = target.health_check.as_ref();
                    if checked.is_none_or(|check| check.command.first().is_none_or(|w| w == "NONE"))
                    {
                        return Err(client(
                            "A dependency container with HEALTHY condition must have health check configured",
                        ));
                    }
                }
            }
        }
        for from in &container.volumes_from {
            if !by_name.contains_key(from.source_container.as_str()) {
                return Err(client(format!(
                    "Invalid 'volumesFrom' setting. Unknown container: '{}'",
                    from.source_container
                )));
            }
        }
    }
    if start_order(containers).is_none() {
        return Err(client(
            "The container dependencies of a task definition must not form a cycle.",
        ));
    }
    Ok(())
}

/// Indexes of the containers in an order in which each follows all that it needs, otherwise as they stand; `None` if
/// there is a cycle. Taking a container's volumes is a dependency, too.
pub fn start_order(containers: &[ContainerDefinition]) -> Option<Vec<usize>> {
    let mut placed: Vec<usize> = Vec::new();
    while placed.len() < containers.len() {
        let is_placed = |name: &str| placed.iter().any(|index| containers[*index].name == name);
        let next = (0..containers.len()).find(|index| {
            let container = &containers[*index];
            let started = container.depends_on.iter().map(|d| &d.container_name);
            let mounted = container.volumes_from.iter().map(|v| &v.source_container);
            !placed.contains(index) && started.chain(mounted).all(|name| is_placed(name))
        });
        placed.push(next?);
    }
    Some(placed)
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/bind-mounts.html>
fn check_volumes(new: &NewTaskDefinition) -> Result<(), Refusal> {
    let mut names = BTreeSet::new();
    for volume in &new.volumes {
        if !is_name(&volume.name) {
            return Err(client(
                "The volume name should match the pattern [a-zA-Z0-9_-]{1,255}.",
            ));
        }
        if !names.insert(volume.name.as_str()) {
            return Err(client(format!("Duplicate volume name '{}'.", volume.name)));
        }
    }
    for container in &new.containers {
        let mut paths = BTreeSet::new();
        for point in &container.mount_points {
            if !names.contains(point.source_volume.as_str()) {
                return Err(client(format!("Unknown volume '{}'.", point.source_volume)));
            }
            let path = &point.container_path;
            if !path.starts_with('/')
                || path.contains('\0')
                || path.split('/').any(|part| part == "..")
            {
                return Err(client(format!(
                    "Invalid 'containerPath' setting for container '{}': '{path}' must be an absolute path.",
                    container.name
                )));
            }
            if !paths.insert(path.trim_end_matches('/')) {
                return Err(client(format!(
                    "Duplicate 'containerPath' setting for container '{}': '{path}'.",
                    container.name
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "container_definitions_tests.rs"]
mod tests;
