//! Task definitions: what a task consists of. Revisions count up per family and never change (fact ECS-4).

use super::{Refusal, client, fargate, is_name};
use crate::model::Tx;
use fogbank_types::ecs::{ContainerDefinition, TaskDefinition};
use fogbank_types::{Scope, Snapshot, Tags};
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Debug, Clone, Default)]
pub struct NewTaskDefinition {
    pub family: String,
    pub containers: Vec<ContainerDefinition>,
    pub cpu: Option<String>,
    pub memory: Option<String>,
    pub network_mode: Option<String>,
    pub requires_compatibilities: Vec<String>,
    pub execution_role_arn: Option<String>,
    pub task_role_arn: Option<String>,
    pub ephemeral_storage_gib: Option<i32>,
    pub runtime_platform: Option<(Option<String>, Option<String>)>,
    pub pid_mode: Option<String>,
    pub tags: Tags,
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html>
pub fn register(
    tx: &mut Tx,
    scope: &Scope,
    new: NewTaskDefinition,
) -> Result<TaskDefinition, Refusal> {
    if !is_name(&new.family) {
        return Err(client(
            "Family should match the pattern [a-zA-Z0-9_-]{1,255}.",
        ));
    }
    check_named(&new)?;
    let (cpu, memory_mib) = size(&new)?;
    if let Some(gib) = new.ephemeral_storage_gib
        && !(21..=200).contains(&gib)
    {
        return Err(client(
            "The ephemeral storage size must be between 21 and 200 GiB.",
        ));
    }
    if let Some(mode) = new.pid_mode.as_deref()
        && mode != "task"
    {
        return Err(client(format!(
            "Tasks using the Fargate launch type do not support pidMode '{mode}'. The supported value for pidMode is 'task'."
        )));
    }
    check_platform(&new)?;
    check_containers(&new, cpu, memory_mib)?;
    let revision = last_revision(tx.snapshot(), scope, &new.family) + 1;
    let definition = TaskDefinition {
        arn: scope.arn("ecs", &format!("task-definition/{}:{revision}", new.family)),
        scope: scope.clone(),
        family: new.family,
        revision,
        active: true,
        containers: new.containers,
        cpu,
        memory_mib,
        network_mode: "awsvpc".to_owned(),
        requires_compatibilities: new.requires_compatibilities,
        execution_role_arn: new.execution_role_arn,
        task_role_arn: new.task_role_arn,
        ephemeral_storage_gib: new.ephemeral_storage_gib.map(|gib| gib as u32),
        runtime_platform: new.runtime_platform,
        pid_mode: new.pid_mode,
        volumes: Vec::new(),
        enable_fault_injection: None,
        registered_at: tx.now(),
        deregistered_at: None,
        delete_requested_at: None,
        registered_by: root_arn(scope),
        tags: new.tags,
    };
    tx.put(definition.clone());
    Ok(definition)
}

/// The root user of the account; every caller is that until authentication is enforced.
pub fn root_arn(scope: &Scope) -> String {
    scope.global().arn("iam", "root")
}

fn size(new: &NewTaskDefinition) -> Result<(u32, u32), Refusal> {
    if let Some(kind) = new
        .requires_compatibilities
        .iter()
        .find(|kind| *kind != "FARGATE")
    {
        return Err(client(format!(
            "Compatibility {kind} is not offered yet, only FARGATE is."
        )));
    }
    if new.network_mode.as_deref() != Some("awsvpc") {
        return Err(client(if new.requires_compatibilities.is_empty() {
            "Only task definitions that are compatible with FARGATE are offered yet: networkMode must be awsvpc."
        } else {
            "Fargate only supports network mode \u{2018}awsvpc\u{2019}."
        }));
    }
    let Some(cpu) = new.cpu.as_deref() else {
        return Err(client(
            "Fargate requires that 'cpu' be defined at the task level.",
        ));
    };
    let Some(memory) = new.memory.as_deref() else {
        return Err(client(
            "Fargate requires that 'memory' be defined at the task level.",
        ));
    };
    let (cpu, memory_mib) = (fargate::cpu(cpu)?, fargate::memory_mib(memory)?);
    fargate::check_size(cpu, memory_mib)?;
    Ok((cpu, memory_mib))
}

fn check_platform(new: &NewTaskDefinition) -> Result<(), Refusal> {
    let Some((architecture, system)) = &new.runtime_platform else {
        return Ok(());
    };
    if architecture.as_deref().is_some_and(|a| a != "X86_64") {
        return Err(client(
            "The cpuArchitecture ARM64 is not offered yet, only X86_64 is.",
        ));
    }
    if system.as_deref().is_some_and(|s| s != "LINUX") {
        return Err(client(
            "Windows containers are not offered; operatingSystemFamily must be LINUX.",
        ));
    }
    Ok(())
}

/// What AWS looks at before the task's own parameters.
fn check_named(new: &NewTaskDefinition) -> Result<(), Refusal> {
    for container in &new.containers {
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

fn check_containers(new: &NewTaskDefinition, cpu: u32, memory_mib: u32) -> Result<(), Refusal> {
    if new.containers.is_empty() {
        return Err(client("Container list cannot be empty."));
    }
    if new.containers.len() > 10 {
        return Err(client(
            "Task definition may have a maximum of 10 containers.",
        ));
    }
    let mut names = BTreeSet::new();
    let mut ports = BTreeSet::new();
    for container in &new.containers {
        check_container(container, new)?;
        if !names.insert(container.name.as_str()) {
            return Err(client(
                "Container names must be unique within a task definition.",
            ));
        }
        for port in &container.port_mappings {
            if !ports.insert((port.container_port, port.protocol.as_str())) {
                return Err(client(format!(
                    "Port {} ({}) is mapped more than once; containers of a task share one network interface.",
                    port.container_port, port.protocol
                )));
            }
        }
    }
    if !new.containers.iter().any(|container| container.essential) {
        return Err(client(
            "At least one container must be marked as essential.",
        ));
    }
    let used: u64 = new.containers.iter().map(|c| u64::from(c.cpu)).sum();
    if used > u64::from(cpu) {
        return Err(client(format!(
            "The total cpu ({used}) of the containers is more than the task's cpu ({cpu})."
        )));
    }
    let reserved: u64 = new
        .containers
        .iter()
        .map(|c| u64::from(c.memory_reservation_mib.or(c.memory_mib).unwrap_or(0)))
        .sum();
    let hard = new
        .containers
        .iter()
        .filter_map(|c| c.memory_mib)
        .max()
        .unwrap_or(0);
    if reserved > u64::from(memory_mib) || hard > memory_mib {
        return Err(client(format!(
            "The total memory ({}) of the containers is more than the task's memory ({memory_mib}).",
            reserved.max(u64::from(hard))
        )));
    }
    let size = serde_json::to_vec(&new.containers).map_or(0, |bytes| bytes.len());
    if size > 64 * 1024 {
        return Err(client(
            "Actual length of the task definition exceeds the maximum of 65536 bytes.",
        ));
    }
    Ok(())
}

fn check_container(
    container: &ContainerDefinition,
    new: &NewTaskDefinition,
) -> Result<(), Refusal> {
    if !is_name(&container.name) {
        return Err(client(format!(
            "Invalid container name '{}'. Up to 255 letters, numbers, hyphens, and underscores are allowed.",
            container.name
        )));
    }
    if container.image.len() > 255
        || container
            .image
            .bytes()
            .any(|b| b.is_ascii_whitespace() || b.is_ascii_control())
    {
        return Err(client(format!(
            "Container.image contains invalid characters: container '{}'.",
            container.name
        )));
    }
    if is_ecr_image(&container.image) && new.execution_role_arn.is_none() {
        return Err(client(
            "Fargate requires task definition to have execution role ARN to support ECR images.",
        ));
    }
    if let (Some(soft), Some(hard)) = (container.memory_reservation_mib, container.memory_mib)
        && soft > hard
    {
        return Err(client(format!(
            "Invalid setting for container '{}'. The 'memory' must be greater than or equal to 'memoryReservation'.",
            container.name
        )));
    }
    if container.memory_mib.is_some_and(|mib| mib < 6)
        || container.memory_reservation_mib.is_some_and(|mib| mib < 6)
    {
        return Err(client(format!(
            "Invalid 'memory' setting for container '{}': the minimum is 6 MiB.",
            container.name
        )));
    }
    for port in &container.port_mappings {
        if port.host_port != 0 && port.host_port != port.container_port {
            return Err(client(
                "When networkMode=awsvpc, the host ports and container ports in port mappings must match.",
            ));
        }
    }
    for (what, seconds) in [
        ("stopTimeout", container.stop_timeout_seconds),
        ("startTimeout", container.start_timeout_seconds),
    ] {
        if seconds.is_some_and(|s| {
            !(if what == "startTimeout" {
                2..=120
            } else {
                0..=120
            })
            .contains(&s)
        }) {
            return Err(client(format!(
                "The {what} of container '{}' must be at most 120 seconds.",
                container.name
            )));
        }
    }
    check_log(container, new)
}

/// Facts ECS-2 and TASK-11.
fn check_log(container: &ContainerDefinition, new: &NewTaskDefinition) -> Result<(), Refusal> {
    let Some(log) = &container.log_configuration else {
        return Ok(());
    };
    if log.driver != "awslogs" {
        return Err(client(format!(
            "The log driver '{}' is not offered yet, only awslogs is.",
            log.driver
        )));
    }
    if new.execution_role_arn.is_none() {
        return Err(client(
            "Fargate requires task definition to have execution role ARN to support log driver awslogs.",
        ));
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

/// The revisions of a family in order.
pub fn family<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    family: &str,
) -> impl DoubleEndedIterator<Item = &'a Arc<TaskDefinition>> + use<'a> {
    // A family's keys share the prefix `family:`, and no family name holds a colon.
    let all: Vec<_> = snapshot
        .task_definitions
        .with_prefix(scope, &format!("{family}:"))
        .collect();
    all.into_iter()
}

fn last_revision(snapshot: &Snapshot, scope: &Scope, name: &str) -> u32 {
    family(snapshot, scope, name)
        .next_back()
        .map_or(0, |definition| definition.revision)
}

/// By ARN, `family:revision`, or `family` (its newest active revision).
pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    text: &str,
) -> Option<&'a Arc<TaskDefinition>> {
    let name = if text.starts_with("arn:") {
        let (start, name) = text.split_once(":task-definition/")?;
        if start != scope.arn("ecs", "").trim_end_matches(':') {
            return None;
        }
        name
    } else {
        text
    };
    match name.split_once(':') {
        Some((family, revision)) => {
            let revision: u32 = revision.parse().ok()?;
            snapshot
                .task_definitions
                .get(scope, format!("{family}:{revision:08}"))
        }
        None => family(snapshot, scope, name).rfind(|definition| definition.active),
    }
}

/// The definition that a new task or service names: it must be there and active.
pub fn find_active(
    snapshot: &Snapshot,
    scope: &Scope,
    text: &str,
) -> Result<Arc<TaskDefinition>, Refusal> {
    let found = find(snapshot, scope, text).ok_or_else(|| client("TaskDefinition not found."))?;
    if !found.active {
        return Err(client("TaskDefinition is inactive"));
    }
    Ok(found.clone())
}

/// Running services go on; nothing new may use it.
pub fn deregister(tx: &mut Tx, scope: &Scope, text: &str) -> Result<TaskDefinition, Refusal> {
    let name = text.rsplit('/').next().unwrap_or(text);
    let Some((_, revision)) = name.split_once(':') else {
        return Err(client("Revision is missing."));
    };
    if revision.parse::<u32>().is_err() {
        return Err(client(format!(
            "Invalid revision number. Number: {revision}"
        )));
    }
    let found = find(tx.snapshot(), scope, text)
        .ok_or_else(|| client("Unable to describe task definition."))?;
    let mut definition = TaskDefinition::clone(found);
    if definition.active {
        definition.active = false;
        definition.deregistered_at = Some(tx.now());
        tx.put(definition.clone());
    }
    Ok(definition)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ecs::fixture::{container, definition, scope};
    use fogbank_types::ecs::{LogConfiguration, PortMapping};

    fn refused(change: impl FnOnce(&mut NewTaskDefinition)) -> String {
        let mut new = definition("api");
        change(&mut new);
        register(&mut Tx::for_test(), &scope(), new)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn revisions_count_up_and_are_never_used_again() {
        let mut tx = Tx::for_test();
        for revision in 1..=12 {
            assert_eq!(
                register(&mut tx, &scope(), definition("api"))
                    .unwrap()
                    .revision,
                revision
            );
        }
        assert_eq!(
            register(&mut tx, &scope(), definition("api-2"))
                .unwrap()
                .revision,
            1
        );
        deregister(&mut tx, &scope(), "api:12").unwrap();
        assert_eq!(
            register(&mut tx, &scope(), definition("api"))
                .unwrap()
                .revision,
            13
        );
    }

    #[test]
    fn a_family_alone_means_its_newest_active_revision() {
        let mut tx = Tx::for_test();
        for _ in 0..11 {
            register(&mut tx, &scope(), definition("api")).unwrap();
        }
        deregister(&mut tx, &scope(), "api:11").unwrap();
        assert_eq!(find(tx.snapshot(), &scope(), "api").unwrap().revision, 10);
        let arn = "arn:aws:ecs:us-east-1:000000000000:task-definition/api:11";
        assert_eq!(find(tx.snapshot(), &scope(), arn).unwrap().revision, 11);
        assert_eq!(
            find_active(tx.snapshot(), &scope(), arn)
                .unwrap_err()
                .to_string(),
            "TaskDefinition is inactive"
        );
        for text in [
            "nothing",
            "api:12",
            "api:x",
            "arn:x",
            "arn:aws:ecs:eu-west-1:000000000000:task-definition/api:1",
        ] {
            assert!(find(tx.snapshot(), &scope(), text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_revision_is_said() {
        let mut tx = Tx::for_test();
        for (text, why) in [
            ("api", "Revision is missing."),
            ("api:x", "Invalid revision number. Number: x"),
            ("api:1", "Unable to describe task definition."),
        ] {
            let refused = deregister(&mut tx, &scope(), text).unwrap_err();
            assert_eq!(refused.to_string(), why);
        }
    }

    #[test]
    fn a_container_without_a_name_is_said_before_the_task_without_a_size() {
        let text = refused(|d| {
            d.cpu = None;
            d.containers[0].name.clear();
        });
        assert_eq!(text, "Container.name should not be null or empty.");
    }

    #[test]
    fn what_fargate_does_not_offer_is_refused() {
        assert_eq!(
            refused(|d| d.memory = Some("8192".into())),
            "No Fargate configuration exists for given values."
        );
        assert!(refused(|d| d.cpu = None).contains("'cpu'"));
        assert!(refused(|d| d.network_mode = Some("bridge".into())).contains("awsvpc"));
        assert!(refused(|d| d.requires_compatibilities = vec!["EC2".into()]).contains("EC2"));
        assert!(refused(|d| d.ephemeral_storage_gib = Some(20)).contains("21"));
        assert!(refused(|d| d.pid_mode = Some("host".into())).contains("pidMode"));
        assert!(refused(|d| d.family = "a b".into()).contains("Family"));
    }

    #[test]
    fn containers_must_fit_together() {
        assert!(refused(|d| d.containers.clear()).contains("empty"));
        assert!(refused(|d| d.containers[0].essential = false).contains("essential"));
        assert!(refused(|d| d.containers.push(container("main"))).contains("unique"));
        assert!(refused(|d| d.containers[0].cpu = 257).contains("cpu"));
        assert!(refused(|d| d.containers[0].memory_mib = Some(513)).contains("memory"));
        assert!(refused(|d| d.containers[0].image.clear()).contains("image"));
        let port = |container_port, host_port| PortMapping {
            container_port,
            host_port,
            protocol: "tcp".into(),
            name: None,
            app_protocol: None,
        };
        assert!(
            refused(|d| d.containers[0].port_mappings = vec![port(80, 81)]).contains("must match")
        );
        assert!(
            refused(|d| d.containers[0].port_mappings = vec![port(80, 80), port(80, 80)])
                .contains("once")
        );
    }

    #[test]
    fn logs_and_ecr_images_need_a_role() {
        let log = LogConfiguration {
            driver: "awslogs".into(),
            options: Default::default(),
            secret_options: false,
        };
        assert!(
            refused(|d| d.containers[0].log_configuration = Some(log.clone()))
                .contains("awslogs-group")
        );
        assert!(
            refused(|d| {
                d.containers[0].log_configuration = Some(log);
                d.execution_role_arn = None;
            })
            .contains("execution role")
        );
        assert!(
            refused(|d| {
                d.containers[0].image = "000000000000.dkr.ecr.us-east-1.amazonaws.com/api:1".into();
                d.execution_role_arn = None;
            })
            .contains("ECR")
        );
    }
}
