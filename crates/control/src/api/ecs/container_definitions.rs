//! Container definitions, normalised in replies the way ECS does it, so that Terraform sees no drift.

use super::{absent, empty, not_offered, not_true, pair, port, unsigned};
use crate::api::ApiError;
use fogbank_types::ecs::{ContainerDefinition, LogConfiguration, PortMapping};
use fogbank_wire::ecs as wire;

/// Reads one, refusing by name what this region does not carry out.
pub fn read(request: wire::ContainerDefinition) -> Result<ContainerDefinition, ApiError> {
    refuse_what_is_not_offered(&request)?;
    let init_process_enabled = match request.linux_parameters {
        Some(parameters) => read_linux_parameters(&parameters)?,
        None => None,
    };
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
        port_mappings: request
            .port_mappings
            .unwrap_or_default()
            .into_iter()
            .map(read_port_mapping)
            .collect::<Result<_, _>>()?,
        log_configuration: request.log_configuration.map(read_log).transpose()?,
        stop_timeout_seconds: unsigned(request.stop_timeout, "stopTimeout")?,
        start_timeout_seconds: unsigned(request.start_timeout, "startTimeout")?,
        readonly_root_filesystem: request.readonly_root_filesystem,
        docker_labels: request.docker_labels.unwrap_or_default(),
        ulimits: request
            .ulimits
            .unwrap_or_default()
            .into_iter()
            .map(|limit| {
                (
                    limit.name,
                    i64::from(limit.soft_limit),
                    i64::from(limit.hard_limit),
                )
            })
            .collect(),
        interactive: request.interactive,
        pseudo_terminal: request.pseudo_terminal,
        init_process_enabled,
        ..ContainerDefinition::default()
    })
}

/// Facts ECS-3 (what Fargate never has) and what comes later here.
fn refuse_what_is_not_offered(request: &wire::ContainerDefinition) -> Result<(), ApiError> {
    let never = |given: bool, what: &str| {
        if given {
            let text = format!("Fargate compatible task definitions do not support {what}");
            Err(ApiError::new("ClientException", text))
        } else {
            Ok(())
        }
    };
    never(request.privileged == Some(true), "privileged containers")?;
    never(
        request.links.as_ref().is_some_and(|l| !l.is_empty()),
        "links",
    )?;
    never(
        request.extra_hosts.as_ref().is_some_and(|l| !l.is_empty()),
        "extraHosts",
    )?;
    never(request.hostname.is_some(), "hostname")?;
    never(
        request.disable_networking == Some(true),
        "disableNetworking",
    )?;
    never(
        request.dns_servers.as_ref().is_some_and(|l| !l.is_empty()),
        "dnsServers",
    )?;
    never(
        request
            .dns_search_domains
            .as_ref()
            .is_some_and(|l| !l.is_empty()),
        "dnsSearchDomains",
    )?;
    never(
        request
            .docker_security_options
            .as_ref()
            .is_some_and(|l| !l.is_empty()),
        "dockerSecurityOptions",
    )?;
    never(
        request
            .resource_requirements
            .as_ref()
            .is_some_and(|l| !l.is_empty()),
        "resourceRequirements",
    )?;
    empty(
        &request.credential_specs,
        "containerDefinitions.credentialSpecs",
    )?;
    empty(&request.depends_on, "containerDefinitions.dependsOn")?;
    empty(
        &request.environment_files,
        "containerDefinitions.environmentFiles",
    )?;
    absent(
        &request.firelens_configuration,
        "containerDefinitions.firelensConfiguration",
    )?;
    absent(&request.health_check, "containerDefinitions.healthCheck")?;
    empty(&request.mount_points, "containerDefinitions.mountPoints")?;
    absent(
        &request.repository_credentials,
        "containerDefinitions.repositoryCredentials",
    )?;
    absent(
        &request.restart_policy,
        "containerDefinitions.restartPolicy",
    )?;
    empty(&request.secrets, "containerDefinitions.secrets")?;
    empty(
        &request.system_controls,
        "containerDefinitions.systemControls",
    )?;
    absent(
        &request.version_consistency,
        "containerDefinitions.versionConsistency",
    )?;
    empty(&request.volumes_from, "containerDefinitions.volumesFrom")
}

fn read_linux_parameters(parameters: &wire::LinuxParameters) -> Result<Option<bool>, ApiError> {
    if let Some(capabilities) = &parameters.capabilities {
        empty(
            &capabilities.add,
            "containerDefinitions.linuxParameters.capabilities.add",
        )?;
        empty(
            &capabilities.drop,
            "containerDefinitions.linuxParameters.capabilities.drop",
        )?;
    }
    empty(
        &parameters.devices,
        "containerDefinitions.linuxParameters.devices",
    )?;
    empty(
        &parameters.tmpfs,
        "containerDefinitions.linuxParameters.tmpfs",
    )?;
    absent(
        &parameters.max_swap,
        "containerDefinitions.linuxParameters.maxSwap",
    )?;
    absent(
        &parameters.shared_memory_size,
        "containerDefinitions.linuxParameters.sharedMemorySize",
    )?;
    absent(
        &parameters.swappiness,
        "containerDefinitions.linuxParameters.swappiness",
    )?;
    Ok(parameters.init_process_enabled)
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

fn read_log(log: wire::LogConfiguration) -> Result<LogConfiguration, ApiError> {
    empty(
        &log.secret_options,
        "containerDefinitions.logConfiguration.secretOptions",
    )?;
    let options = log.options.unwrap_or_default();
    for option in ["awslogs-datetime-format", "awslogs-multiline-pattern"] {
        if options.contains_key(option) {
            return Err(not_offered(&format!(
                "containerDefinitions.logConfiguration.options.{option}"
            )));
        }
    }
    Ok(LogConfiguration {
        driver: log.log_driver,
        options,
        secret_options: log.secret_options.is_some(),
    })
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
    let show_log = |log: &LogConfiguration| wire::LogConfiguration {
        log_driver: log.driver.clone(),
        options: Some(log.options.clone()),
        secret_options: log.secret_options.then(Vec::new),
    };
    wire::ContainerDefinition {
        command: container.command.clone(),
        cpu: Some(container.cpu as i32),
        docker_labels: (!container.docker_labels.is_empty())
            .then(|| container.docker_labels.clone()),
        entry_point: container.entry_point.clone(),
        environment: Some(
            container
                .environment
                .iter()
                .map(|(name, value)| pair(name, value))
                .collect(),
        ),
        essential: Some(container.essential),
        image: Some(container.image.clone()),
        interactive: container.interactive,
        linux_parameters: container
            .init_process_enabled
            .map(|enabled| wire::LinuxParameters {
                init_process_enabled: Some(enabled),
                ..wire::LinuxParameters::default()
            }),
        log_configuration: container.log_configuration.as_ref().map(show_log),
        memory: container.memory_mib.map(|mib| mib as i32),
        memory_reservation: container.memory_reservation_mib.map(|mib| mib as i32),
        mount_points: Some(Vec::new()),
        name: Some(container.name.clone()),
        port_mappings: Some(container.port_mappings.iter().map(show_mapping).collect()),
        pseudo_terminal: container.pseudo_terminal,
        readonly_root_filesystem: container.readonly_root_filesystem,
        start_timeout: container.start_timeout_seconds.map(|s| s as i32),
        stop_timeout: container.stop_timeout_seconds.map(|s| s as i32),
        system_controls: Some(Vec::new()),
        ulimits: (!container.ulimits.is_empty())
            .then(|| container.ulimits.iter().map(show_limit).collect()),
        user: container.user.clone(),
        volumes_from: Some(Vec::new()),
        working_directory: container.working_directory.clone(),
        ..wire::ContainerDefinition::default()
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
    fn what_is_not_carried_out_is_refused_by_name() {
        let refused = |change: fn(&mut wire::ContainerDefinition)| {
            let mut request = minimal();
            change(&mut request);
            read(request).unwrap_err().0.message
        };
        assert!(refused(|c| c.health_check = Some(Default::default())).contains("healthCheck"));
        assert!(refused(|c| c.secrets = Some(vec![Default::default()])).contains("secrets"));
        assert!(refused(|c| c.depends_on = Some(vec![Default::default()])).contains("dependsOn"));
        assert!(refused(|c| c.privileged = Some(true)).contains("privileged"));
        assert!(refused(|c| c.cpu = Some(-1)).contains("cpu"));
        assert!(
            refused(|c| c.port_mappings = Some(vec![Default::default()])).contains("containerPort")
        );
        assert!(
            read(wire::ContainerDefinition {
                secrets: Some(Vec::new()),
                ..minimal()
            })
            .is_ok()
        );
    }
}
