//! Container definitions, normalised in replies the way ECS does it, so that Terraform sees no drift.

use super::{absent, client, empty, not_true, pair, port, unsigned};
use crate::api::ApiError;
use fogbank_types::ecs::{
    ContainerDefinition, ContainerDependency, DependencyCondition, HealthCheck, LogConfiguration,
    MountPoint, PortMapping, RestartPolicy, SecretReference, VolumeFrom,
};
use fogbank_wire::ecs as wire;
use std::collections::BTreeSet;

/// Defaults of a health check (fact ECS-11).
const INTERVAL_SECONDS: u32 = 30;
const TIMEOUT_SECONDS: u32 = 5;
const RETRIES: u32 = 3;

/// Members that clients tell apart when they are empty and when they are absent.
const LINUX_PARAMETERS: &str = "linuxParameters";
const CAPABILITIES_ADD: &str = "linuxParameters.capabilities.add";
const CAPABILITIES_DROP: &str = "linuxParameters.capabilities.drop";
const DEVICES: &str = "linuxParameters.devices";
const TMPFS: &str = "linuxParameters.tmpfs";
const IGNORED_EXIT_CODES: &str = "restartPolicy.ignoredExitCodes";

/// Reads one, refusing by name what this region does not carry out.
pub fn read(request: wire::ContainerDefinition) -> Result<ContainerDefinition, ApiError> {
    refuse_what_fargate_lacks(&request)?;
    refuse_what_is_not_offered(&request)?;
    let given_empty = given_empty(&request);
    let linux = request.linux_parameters.unwrap_or_default();
    Ok(ContainerDefinition {
        name: request.name.unwrap_or_default(),
        image: request.image.unwrap_or_default(),
        cpu: unsigned(request.cpu, "cpu")?.unwrap_or(0),
        memory_mib: unsigned(request.memory, "memory")?,
        memory_reservation_mib: unsigned(request.memory_reservation, "memoryReservation")?,
        essential: request.essential.unwrap_or(true),
        command: request.command.filter(|list| !list.is_empty()),
        entry_point: request.entry_point.filter(|list| !list.is_empty()),
        working_directory: request.working_directory,
        user: request.user,
        environment: read_environment(request.environment),
        port_mappings: each(request.port_mappings, read_port_mapping)?,
        log_configuration: request.log_configuration.map(read_log).transpose()?,
        stop_timeout_seconds: unsigned(request.stop_timeout, "stopTimeout")?,
        start_timeout_seconds: unsigned(request.start_timeout, "startTimeout")?,
        readonly_root_filesystem: request.readonly_root_filesystem,
        docker_labels: request.docker_labels.unwrap_or_default(),
        ulimits: each(request.ulimits, |limit| {
            let (soft, hard) = (limit.soft_limit, limit.hard_limit);
            Ok((limit.name, i64::from(soft), i64::from(hard)))
        })?,
        interactive: request.interactive,
        pseudo_terminal: request.pseudo_terminal,
        init_process_enabled: linux.init_process_enabled,
        capabilities: linux.capabilities.map(|given| {
            let (add, drop) = (given.add, given.drop);
            (add.unwrap_or_default(), drop.unwrap_or_default())
        }),
        depends_on: each(request.depends_on, read_dependency)?,
        health_check: request.health_check.map(read_health_check).transpose()?,
        restart_policy: request
            .restart_policy
            .map(read_restart_policy)
            .transpose()?,
        secrets: each(request.secrets, |secret| Ok(read_secret(secret)))?,
        mount_points: each(request.mount_points, |point| {
            Ok(MountPoint {
                source_volume: point.source_volume.unwrap_or_default(),
                container_path: point.container_path.unwrap_or_default(),
                read_only: point.read_only,
            })
        })?,
        volumes_from: each(request.volumes_from, |from| {
            Ok(VolumeFrom {
                source_container: from.source_container.unwrap_or_default(),
                read_only: from.read_only,
            })
        })?,
        system_controls: each(request.system_controls, |control| {
            let (name, value) = (control.namespace, control.value);
            Ok((name.unwrap_or_default(), value.unwrap_or_default()))
        })?,
        repository_credentials: request
            .repository_credentials
            .map(|credentials| credentials.credentials_parameter),
        version_consistency: request.version_consistency,
        given_empty,
    })
}

fn each<T, R>(
    list: Option<Vec<T>>,
    read: impl FnMut(T) -> Result<R, ApiError>,
) -> Result<Vec<R>, ApiError> {
    list.unwrap_or_default().into_iter().map(read).collect()
}

/// The lists inside of other members that were given without items.
fn given_empty(request: &wire::ContainerDefinition) -> BTreeSet<String> {
    fn is_empty<T>(list: &Option<Vec<T>>) -> bool {
        list.as_ref().is_some_and(Vec::is_empty)
    }
    let mut found = BTreeSet::new();
    let mut note = |empty: bool, what: &str| {
        if empty {
            found.insert(what.to_owned());
        }
    };
    if let Some(linux) = &request.linux_parameters {
        note(*linux == wire::LinuxParameters::default(), LINUX_PARAMETERS);
        note(is_empty(&linux.devices), DEVICES);
        note(is_empty(&linux.tmpfs), TMPFS);
        if let Some(capabilities) = &linux.capabilities {
            note(is_empty(&capabilities.add), CAPABILITIES_ADD);
            note(is_empty(&capabilities.drop), CAPABILITIES_DROP);
        }
    }
    if let Some(policy) = &request.restart_policy {
        note(is_empty(&policy.ignored_exit_codes), IGNORED_EXIT_CODES);
    }
    found
}

/// Fact ECS-3, in AWS's words.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html>
fn refuse_what_fargate_lacks(request: &wire::ContainerDefinition) -> Result<(), ApiError> {
    fn some<T>(list: &Option<Vec<T>>) -> bool {
        list.as_ref().is_some_and(|list| !list.is_empty())
    }
    let linux = request.linux_parameters.clone().unwrap_or_default();
    let in_awsvpc = [
        (
            request.disable_networking == Some(true),
            "Disable Networking is",
        ),
        (some(&request.dns_servers), "DNS servers are"),
        (some(&request.dns_search_domains), "DNS search domains are"),
        (some(&request.extra_hosts), "Extra hosts are"),
        (some(&request.links), "Links are"),
        (request.hostname.is_some(), "Hostname is"),
    ];
    let never = [
        (
            some(&request.docker_security_options),
            "dockerSecurityOptions",
        ),
        (some(&linux.devices), "devices"),
        (linux.max_swap.is_some(), "maxSwap"),
        (linux.swappiness.is_some(), "swappiness"),
        (linux.shared_memory_size.is_some(), "sharedMemorySize"),
    ];
    if request.privileged == Some(true) {
        return Err(client(
            "Fargate requires that the 'privileged' setting be 'false'.",
        ));
    }
    for (given, what) in in_awsvpc {
        if given {
            return Err(client(format!(
                "{what} not supported on container when networkMode=awsvpc."
            )));
        }
    }
    for (given, what) in never {
        if given {
            return Err(client(format!(
                "Fargate compatible task definitions do not support {what}"
            )));
        }
    }
    if let Some(requirement) = request.resource_requirements.iter().flatten().next() {
        return Err(client(format!(
            "Fargate compatible task definitions do not support {}",
            requirement.r#type
        )));
    }
    let capabilities = linux.capabilities.unwrap_or_default();
    // "For tasks that use the Fargate launch type, ... only SYS_PTRACE can be added" (KernelCapabilities, API reference).
    match capabilities
        .add
        .iter()
        .flatten()
        .find(|name| *name != "SYS_PTRACE")
    {
        Some(other) => Err(client(format!("{other} is not allowed on Fargate."))),
        None => Ok(()),
    }
}

/// What comes later here.
fn refuse_what_is_not_offered(request: &wire::ContainerDefinition) -> Result<(), ApiError> {
    empty(
        &request.credential_specs,
        "containerDefinitions.credentialSpecs",
    )?;
    // They are objects of S3, which the region does not have yet.
    empty(
        &request.environment_files,
        "containerDefinitions.environmentFiles",
    )?;
    absent(
        &request.firelens_configuration,
        "containerDefinitions.firelensConfiguration",
    )?;
    match &request.linux_parameters {
        Some(linux) => empty(&linux.tmpfs, "containerDefinitions.linuxParameters.tmpfs"),
        None => Ok(()),
    }
}

fn read_dependency(dependency: wire::ContainerDependency) -> Result<ContainerDependency, ApiError> {
    let condition = match dependency.condition.as_str() {
        "START" => DependencyCondition::Start,
        "COMPLETE" => DependencyCondition::Complete,
        "SUCCESS" => DependencyCondition::Success,
        "HEALTHY" => DependencyCondition::Healthy,
        other => {
            return Err(client(format!(
                "Invalid dependency condition '{other}'. Valid values are [START, COMPLETE, SUCCESS, HEALTHY]."
            )));
        }
    };
    Ok(ContainerDependency {
        container_name: dependency.container_name,
        condition,
    })
}

fn read_health_check(check: wire::HealthCheck) -> Result<HealthCheck, ApiError> {
    Ok(HealthCheck {
        command: check.command,
        interval_seconds: unsigned(check.interval, "healthCheck.interval")?
            .unwrap_or(INTERVAL_SECONDS),
        timeout_seconds: unsigned(check.timeout, "healthCheck.timeout")?.unwrap_or(TIMEOUT_SECONDS),
        retries: unsigned(check.retries, "healthCheck.retries")?.unwrap_or(RETRIES),
        start_period_seconds: unsigned(check.start_period, "healthCheck.startPeriod")?,
    })
}

fn read_restart_policy(policy: wire::ContainerRestartPolicy) -> Result<RestartPolicy, ApiError> {
    Ok(RestartPolicy {
        enabled: policy.enabled,
        ignored_exit_codes: policy.ignored_exit_codes.unwrap_or_default(),
        restart_attempt_period_seconds: unsigned(
            policy.restart_attempt_period,
            "restartPolicy.restartAttemptPeriod",
        )?,
    })
}

fn read_secret(secret: wire::Secret) -> SecretReference {
    SecretReference {
        name: secret.name,
        value_from: secret.value_from,
    }
}

fn read_port_mapping(mapping: wire::PortMapping) -> Result<PortMapping, ApiError> {
    absent(
        &mapping.container_port_range,
        "containerDefinitions.portMappings.containerPortRange",
    )?;
    let container_port = port(mapping.container_port, "containerPort")?;
    let host_port = match mapping.host_port {
        None | Some(0) => container_port,
        given => port(given, "hostPort")?,
    };
    Ok(PortMapping {
        container_port,
        host_port,
        protocol: mapping.protocol.unwrap_or_else(|| "tcp".to_owned()),
        name: mapping.name,
        app_protocol: mapping.app_protocol,
    })
}

pub fn read_log(log: wire::LogConfiguration) -> Result<LogConfiguration, ApiError> {
    empty(
        &log.secret_options,
        "containerDefinitions.logConfiguration.secretOptions",
    )?;
    Ok(LogConfiguration {
        driver: log.log_driver,
        options: log.options.unwrap_or_default(),
        secret_options: log.secret_options.is_some(),
    })
}

pub fn show_log(log: &LogConfiguration) -> wire::LogConfiguration {
    wire::LogConfiguration {
        log_driver: log.driver.clone(),
        options: Some(log.options.clone()),
        secret_options: log.secret_options.then(Vec::new),
    }
}

/// Names and values; a later one of the same name wins, as in a process's environment.
pub fn read_environment(pairs: Option<Vec<wire::KeyValuePair>>) -> Vec<(String, String)> {
    let mut read: Vec<(String, String)> = Vec::new();
    for pair in pairs.unwrap_or_default() {
        let (name, value) = (
            pair.name.unwrap_or_default(),
            pair.value.unwrap_or_default(),
        );
        match read.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => read.push((name, value)),
        }
    }
    read
}

/// What cannot be asked for stays out; what is always there is there even when empty.
pub fn show(container: &ContainerDefinition) -> wire::ContainerDefinition {
    let show_mapping = |mapping: &PortMapping| wire::PortMapping {
        app_protocol: mapping.app_protocol.clone(),
        container_port: Some(i32::from(mapping.container_port)),
        container_port_range: None,
        host_port: Some(i32::from(mapping.host_port)),
        name: mapping.name.clone(),
        protocol: Some(mapping.protocol.clone()),
    };
    let environment = container.environment.iter();
    let seconds = |given: Option<u32>| given.map(|seconds| seconds as i32);
    wire::ContainerDefinition {
        command: container.command.clone(),
        cpu: Some(container.cpu as i32),
        depends_on: some(&container.depends_on, show_dependency),
        docker_labels: (!container.docker_labels.is_empty())
            .then(|| container.docker_labels.clone()),
        entry_point: container.entry_point.clone(),
        environment: Some(environment.map(|(name, value)| pair(name, value)).collect()),
        essential: Some(container.essential),
        health_check: container.health_check.as_ref().map(show_health_check),
        image: Some(container.image.clone()),
        interactive: container.interactive,
        linux_parameters: show_linux_parameters(container),
        log_configuration: container.log_configuration.as_ref().map(show_log),
        memory: container.memory_mib.map(|mib| mib as i32),
        memory_reservation: container.memory_reservation_mib.map(|mib| mib as i32),
        mount_points: Some(container.mount_points.iter().map(show_mount).collect()),
        name: Some(container.name.clone()),
        port_mappings: Some(container.port_mappings.iter().map(show_mapping).collect()),
        pseudo_terminal: container.pseudo_terminal,
        readonly_root_filesystem: container.readonly_root_filesystem,
        repository_credentials: container.repository_credentials.as_ref().map(|arn| {
            wire::RepositoryCredentials {
                credentials_parameter: arn.clone(),
            }
        }),
        restart_policy: show_restart_policy(container),
        secrets: some(&container.secrets, |secret| wire::Secret {
            name: secret.name.clone(),
            value_from: secret.value_from.clone(),
        }),
        start_timeout: seconds(container.start_timeout_seconds),
        stop_timeout: seconds(container.stop_timeout_seconds),
        system_controls: Some(container.system_controls.iter().map(show_control).collect()),
        ulimits: some(&container.ulimits, show_limit),
        user: container.user.clone(),
        version_consistency: container.version_consistency.clone(),
        volumes_from: Some(container.volumes_from.iter().map(show_from).collect()),
        working_directory: container.working_directory.clone(),
        ..wire::ContainerDefinition::default()
    }
}

/// A list that is absent when it is empty.
fn some<T, R>(items: &[T], show: impl FnMut(&T) -> R) -> Option<Vec<R>> {
    (!items.is_empty()).then(|| items.iter().map(show).collect())
}

/// A list inside of another member, which is as it was given.
fn as_given<T: Clone>(container: &ContainerDefinition, items: &[T], what: &str) -> Option<Vec<T>> {
    (!items.is_empty() || container.given_empty.contains(what)).then(|| items.to_vec())
}

fn show_dependency(dependency: &ContainerDependency) -> wire::ContainerDependency {
    wire::ContainerDependency {
        condition: match dependency.condition {
            DependencyCondition::Start => "START",
            DependencyCondition::Complete => "COMPLETE",
            DependencyCondition::Success => "SUCCESS",
            DependencyCondition::Healthy => "HEALTHY",
        }
        .to_owned(),
        container_name: dependency.container_name.clone(),
    }
}

fn show_health_check(check: &HealthCheck) -> wire::HealthCheck {
    wire::HealthCheck {
        command: check.command.clone(),
        interval: Some(check.interval_seconds as i32),
        retries: Some(check.retries as i32),
        start_period: check.start_period_seconds.map(|seconds| seconds as i32),
        timeout: Some(check.timeout_seconds as i32),
    }
}

fn show_restart_policy(container: &ContainerDefinition) -> Option<wire::ContainerRestartPolicy> {
    let policy = container.restart_policy.as_ref()?;
    let codes = &policy.ignored_exit_codes;
    Some(wire::ContainerRestartPolicy {
        enabled: policy.enabled,
        ignored_exit_codes: as_given(container, codes, IGNORED_EXIT_CODES),
        restart_attempt_period: policy
            .restart_attempt_period_seconds
            .map(|seconds| seconds as i32),
    })
}

fn show_linux_parameters(container: &ContainerDefinition) -> Option<wire::LinuxParameters> {
    let given = |what: &str| container.given_empty.contains(what);
    let shown = wire::LinuxParameters {
        capabilities: container
            .capabilities
            .as_ref()
            .map(|(add, drop)| wire::KernelCapabilities {
                add: as_given(container, add, CAPABILITIES_ADD),
                drop: as_given(container, drop, CAPABILITIES_DROP),
            }),
        devices: given(DEVICES).then(Vec::new),
        init_process_enabled: container.init_process_enabled,
        tmpfs: given(TMPFS).then(Vec::new),
        ..wire::LinuxParameters::default()
    };
    (shown != wire::LinuxParameters::default() || given(LINUX_PARAMETERS)).then_some(shown)
}

fn show_mount(point: &MountPoint) -> wire::MountPoint {
    wire::MountPoint {
        container_path: Some(point.container_path.clone()),
        read_only: point.read_only,
        source_volume: Some(point.source_volume.clone()),
    }
}

fn show_from(from: &VolumeFrom) -> wire::VolumeFrom {
    wire::VolumeFrom {
        read_only: from.read_only,
        source_container: Some(from.source_container.clone()),
    }
}

fn show_control((name, value): &(String, String)) -> wire::SystemControl {
    wire::SystemControl {
        namespace: Some(name.clone()),
        value: Some(value.clone()),
    }
}

fn show_limit((name, soft, hard): &(String, i64, i64)) -> wire::Ulimit {
    wire::Ulimit {
        name: name.clone(),
        soft_limit: *soft as i32,
        hard_limit: *hard as i32,
    }
}

/// See [`not_true`]; the only switch of a whole definition that is refused.
pub fn refuse_fault_injection(enabled: Option<bool>) -> Result<(), ApiError> {
    not_true(enabled, "enableFaultInjection")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Read as a client would have sent it.
    fn parse(text: &str) -> wire::ContainerDefinition {
        let body = format!(r#"{{"family":"f","containerDefinitions":[{text}]}}"#);
        let (parts, ()) = http::Request::post("/")
            .header("x-amz-target", "AmazonEC2ContainerServiceV20141113.RegisterTaskDefinition")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/ecs/aws4_request, SignedHeaders=host, Signature=0",
            )
            .body(())
            .unwrap()
            .into_parts();
        let mut call = fogbank_wire::route(&parts, body.as_bytes())
            .unwrap_or_else(|refused| panic!("{:?}", refused.error()));
        let request: wire::RegisterTaskDefinitionRequest = call.take_input().unwrap();
        request.container_definitions.into_iter().next().unwrap()
    }

    fn minimal() -> wire::ContainerDefinition {
        wire::ContainerDefinition {
            name: Some("main".to_owned()),
            image: Some("app".to_owned()),
            ..wire::ContainerDefinition::default()
        }
    }

    #[test]
    fn replies_are_normalised() {
        let mapping = wire::PortMapping {
            container_port: Some(80),
            ..wire::PortMapping::default()
        };
        let request = wire::ContainerDefinition {
            port_mappings: Some(vec![mapping]),
            ..minimal()
        };
        let shown = show(&read(request).unwrap());
        let mapping = &shown.port_mappings.unwrap()[0];
        assert_eq!(
            (mapping.host_port, mapping.protocol.as_deref()),
            (Some(80), Some("tcp"))
        );
        assert_eq!((shown.cpu, shown.essential), (Some(0), Some(true)));
        assert_eq!(shown.environment, Some(Vec::new()));
        assert_eq!(
            (shown.mount_points, shown.volumes_from),
            (Some(Vec::new()), Some(Vec::new()))
        );
        assert_eq!(shown.system_controls, Some(Vec::new()));
        assert_eq!((shown.memory, shown.command), (None, None));
    }

    /// Terraform plans a new revision for ever where one list is there and the other is not.
    #[test]
    fn secret_options_are_there_if_they_were_given() {
        for given in [None, Some(Vec::new())] {
            let log = wire::LogConfiguration {
                log_driver: "awslogs".to_owned(),
                secret_options: given.clone(),
                ..wire::LogConfiguration::default()
            };
            let request = wire::ContainerDefinition {
                log_configuration: Some(log),
                ..minimal()
            };
            let shown = show(&read(request).unwrap());
            assert_eq!(shown.log_configuration.unwrap().secret_options, given);
        }
    }

    #[test]
    fn what_is_shown_reads_as_the_same() {
        let request = wire::ContainerDefinition {
            command: Some(vec!["a".to_owned()]),
            environment: Some(vec![pair("A", "1"), pair("B", "2"), pair("A", "3")]),
            ulimits: Some(vec![wire::Ulimit {
                name: "nofile".to_owned(),
                soft_limit: 1,
                hard_limit: 2,
            }]),
            stop_timeout: Some(5),
            ..minimal()
        };
        let once = read(request).unwrap();
        assert_eq!(
            once.environment,
            [
                ("A".to_owned(), "3".to_owned()),
                ("B".to_owned(), "2".to_owned())
            ]
        );
        assert_eq!(read(show(&once)).unwrap(), once);
    }

    #[test]
    fn everything_that_can_be_said_comes_back() {
        let text = r#"{"name":"main","image":"app","cpu":0,"essential":true,"portMappings":[],"environment":[],
            "dependsOn":[{"containerName":"init","condition":"SUCCESS"},{"containerName":"db","condition":"HEALTHY"}],
            "healthCheck":{"command":["CMD-SHELL","true"],"interval":10,"timeout":2,"retries":4,"startPeriod":0},
            "restartPolicy":{"enabled":true,"ignoredExitCodes":[0,2],"restartAttemptPeriod":60},
            "secrets":[{"name":"A","valueFrom":"/a"}],"mountPoints":[{"sourceVolume":"v","containerPath":"/v","readOnly":true}],
            "volumesFrom":[{"sourceContainer":"db","readOnly":false}],"startTimeout":5,"stopTimeout":120,
            "systemControls":[{"namespace":"net.core.somaxconn","value":"1024"}],
            "linuxParameters":{"initProcessEnabled":true,"capabilities":{"add":["SYS_PTRACE"],"drop":["CHOWN"]}},
            "repositoryCredentials":{"credentialsParameter":"arn:aws:secretsmanager:us-east-1:000000000000:secret:x-abcdef"},
            "ulimits":[{"name":"nofile","softLimit":1,"hardLimit":2}],"versionConsistency":"disabled"}"#;
        let request = parse(text);
        let shown = show(&read(request.clone()).unwrap());
        assert_eq!(shown, request);
    }

    #[test]
    fn a_health_check_has_defaults_but_for_its_start_period() {
        let request = parse(r#"{"name":"a","image":"b","healthCheck":{"command":["CMD","true"]}}"#);
        let check = show(&read(request).unwrap()).health_check.unwrap();
        assert_eq!(
            (
                check.interval,
                check.timeout,
                check.retries,
                check.start_period
            ),
            (Some(30), Some(5), Some(3), None)
        );
    }

    #[test]
    fn inner_lists_are_as_they_were_given() {
        for text in [
            r#"{"linuxParameters":{}}"#,
            r#"{"linuxParameters":{"initProcessEnabled":false}}"#,
            r#"{"linuxParameters":{"capabilities":{"add":[],"drop":["ALL"]},"devices":[],"tmpfs":[]}}"#,
            r#"{"linuxParameters":{"capabilities":{"drop":["ALL"]}}}"#,
            r#"{"restartPolicy":{"enabled":true,"ignoredExitCodes":[]}}"#,
            r#"{"restartPolicy":{"enabled":false}}"#,
        ] {
            let request = parse(text);
            let shown = show(&read(request.clone()).unwrap());
            assert_eq!(
                (shown.linux_parameters, shown.restart_policy),
                (request.linux_parameters, request.restart_policy),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_carried_out_is_refused_by_name() {
        let refused = |text: &str| read(parse(text)).unwrap_err().0.message;
        for (text, expected) in [
            (
                r#"{"privileged":true}"#,
                "Fargate requires that the 'privileged' setting be 'false'.",
            ),
            (
                r#"{"links":["a"]}"#,
                "Links are not supported on container when networkMode=awsvpc.",
            ),
            (
                r#"{"linuxParameters":{"sharedMemorySize":1}}"#,
                "Fargate compatible task definitions do not support sharedMemorySize",
            ),
            (
                r#"{"linuxParameters":{"devices":[{"hostPath":"/dev/x"}]}}"#,
                "Fargate compatible task definitions do not support devices",
            ),
            (
                r#"{"linuxParameters":{"capabilities":{"add":["SYS_ADMIN"]}}}"#,
                "SYS_ADMIN is not allowed on Fargate.",
            ),
            (
                r#"{"resourceRequirements":[{"type":"GPU","value":"1"}]}"#,
                "Fargate compatible task definitions do not support GPU",
            ),
            (
                r#"{"environmentFiles":[{"type":"s3","value":"arn:aws:s3:::b/k"}]}"#,
                "containerDefinitions.environmentFiles is not offered by this region yet.",
            ),
            (
                r#"{"linuxParameters":{"tmpfs":[{"containerPath":"/x","size":1}]}}"#,
                "containerDefinitions.linuxParameters.tmpfs is not offered by this region yet.",
            ),
            (
                r#"{"firelensConfiguration":{"type":"fluentbit"}}"#,
                "containerDefinitions.firelensConfiguration is not offered by this region yet.",
            ),
            (r#"{"cpu":-1}"#, "Invalid 'cpu' setting: -1"),
            (
                r#"{"portMappings":[{}]}"#,
                "Invalid 'containerPort' setting: it must be 1 to 65535.",
            ),
        ] {
            assert_eq!(refused(text), expected);
        }
    }
}
