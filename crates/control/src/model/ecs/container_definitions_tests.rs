use super::*;
use crate::model::Tx;
use crate::model::ecs::fixture::{container, definition, scope};
use crate::model::ecs::task_definitions::register;
use fogbank_types::ecs::{
    ContainerDependency, LogConfiguration, MountPoint, PortMapping, RestartPolicy, SecretReference,
    Volume, VolumeFrom,
};

fn refused(change: impl FnOnce(&mut NewTaskDefinition)) -> String {
    let mut new = definition("api");
    change(&mut new);
    register(&mut Tx::for_test(), &scope(), new)
        .unwrap_err()
        .to_string()
}

fn accepted(change: impl FnOnce(&mut NewTaskDefinition)) {
    let mut new = definition("api");
    change(&mut new);
    register(&mut Tx::for_test(), &scope(), new).unwrap();
}

fn side(name: &str) -> ContainerDefinition {
    ContainerDefinition {
        essential: false,
        port_mappings: Vec::new(),
        ..container(name)
    }
}

fn checked(command: &[&str]) -> HealthCheck {
    HealthCheck {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        interval_seconds: 30,
        timeout_seconds: 5,
        retries: 3,
        start_period_seconds: None,
    }
}

fn on(name: &str, condition: DependencyCondition) -> ContainerDependency {
    ContainerDependency {
        container_name: name.to_owned(),
        condition,
    }
}

#[test]
fn containers_must_fit_together() {
    assert_eq!(
        refused(|d| d.containers.clear()),
        "Container list cannot be empty."
    );
    assert!(refused(|d| d.containers[0].essential = false).contains("essential"));
    assert!(refused(|d| d.containers.push(container("main"))).contains("unique"));
    assert!(refused(|d| d.containers[0].cpu = 257).contains("'cpu'"));
    assert!(refused(|d| d.containers[0].memory_mib = Some(513)).contains("container 'main'"));
    assert!(refused(|d| d.containers[0].image.clear()).contains("image"));
    assert!(
        refused(|d| d.containers.extend((0..10).map(|n| side(&format!("s{n}")))))
            .contains("Too many")
    );
    let port = |container_port, host_port| PortMapping {
        container_port,
        host_port,
        protocol: "tcp".into(),
        name: None,
        app_protocol: None,
    };
    assert!(refused(|d| d.containers[0].port_mappings = vec![port(80, 81)]).contains("must match"));
    assert!(
        refused(|d| d.containers[0].port_mappings = vec![port(80, 80), port(80, 80)])
            .contains("multiple times")
    );
}

#[test]
fn logs_secrets_and_ecr_images_need_a_role() {
    let log = LogConfiguration {
        driver: "awslogs".into(),
        options: Default::default(),
        secret_options: false,
    };
    assert!(
        refused(|d| d.containers[0].log_configuration = Some(log.clone()))
            .contains("awslogs-group")
    );
    let without = |change: &dyn Fn(&mut ContainerDefinition)| {
        refused(|d| {
            change(&mut d.containers[0]);
            d.execution_role_arn = None;
        })
    };
    assert!(without(&|c| c.log_configuration = Some(log.clone())).contains("execution role"));
    assert!(
        without(&|c| c.image = "000000000000.dkr.ecr.us-east-1.amazonaws.com/api:1".into())
            .contains("ECR")
    );
    let secret = SecretReference {
        name: "A".into(),
        value_from: "/a".into(),
    };
    assert_eq!(
        without(&|c| c.secrets = vec![secret.clone()]),
        "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'."
    );
    assert!(
        without(&|c| c.repository_credentials = Some("arn".into())).contains("executionRoleArn")
    );
    accepted(|d| d.containers[0].secrets = vec![secret.clone()]);
    assert!(
        refused(|d| d.containers[0].secrets = vec![secret.clone(), secret.clone()])
            .contains("unique")
    );
    assert!(
        refused(|d| {
            d.containers[0].secrets = vec![secret.clone()];
            d.containers[0].environment = vec![("A".into(), "1".into())];
        })
        .contains("unique")
    );
    let driver = LogConfiguration {
        driver: "syslog".into(),
        ..log
    };
    assert!(
        refused(|d| d.containers[0].log_configuration = Some(driver))
            .contains("not a valid log driver")
    );
}

#[test]
fn dependencies_must_be_able_to_come_true() {
    use DependencyCondition::{Complete, Healthy, Start, Success};
    let with = |containers: Vec<ContainerDefinition>| refused(|d| d.containers.extend(containers));
    let needing = |name: &str, dependency| ContainerDefinition {
        depends_on: vec![dependency],
        ..side(name)
    };
    assert_eq!(
        with(vec![needing("a", on("nobody", Start))]),
        "Cannot depend on container nobody because it does not exist"
    );
    for condition in [Complete, Success] {
        assert_eq!(
            with(vec![needing("a", on("main", condition))]),
            "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container"
        );
    }
    assert_eq!(
        with(vec![needing("a", on("main", Healthy))]),
        "A dependency container with HEALTHY condition must have health check configured"
    );
    assert!(with(vec![needing("a", on("a", Start))]).contains("cycle"));
    assert!(
        with(vec![
            needing("a", on("b", Start)),
            needing("b", on("c", Success)),
            needing("c", on("a", Complete))
        ])
        .contains("cycle")
    );
    let mut taker = side("a");
    taker.volumes_from = vec![VolumeFrom {
        source_container: "b".into(),
        read_only: None,
    }];
    assert!(with(vec![taker, needing("b", on("a", Start))]).contains("cycle"));
    accepted(|d| {
        d.containers[0].health_check = Some(checked(&["CMD", "true"]));
        d.containers.insert(0, needing("a", on("main", Healthy)));
        assert_eq!(start_order(&d.containers), Some(vec![1, 0]));
    });
}

#[test]
fn checks_timeouts_and_restarts_have_bounds() {
    let health = |change: fn(&mut HealthCheck)| {
        refused(|d| {
            let mut check = checked(&["CMD", "true"]);
            change(&mut check);
            d.containers[0].health_check = Some(check);
        })
    };
    assert_eq!(
        health(|c| c.interval_seconds = 4),
        "the 'healthCheck.interval' setting for container 'main' must be between 5 and 300"
    );
    assert!(health(|c| c.timeout_seconds = 1).contains("timeout"));
    assert!(health(|c| c.retries = 11).contains("retries"));
    assert!(health(|c| c.start_period_seconds = Some(301)).contains("startPeriod"));
    for command in [
        &[][..],
        &["true"],
        &["CMD"],
        &["CMD-SHELL"],
        &["CMD-SHELL", "a", "b"],
        &["NONE", "x"],
    ] {
        assert!(
            refused(|d| d.containers[0].health_check = Some(checked(command))).contains("command"),
            "{command:?}"
        );
    }
    assert!(refused(|d| d.containers[0].stop_timeout_seconds = Some(121)).contains("stopTimeout"));
    assert!(refused(|d| d.containers[0].start_timeout_seconds = Some(1)).contains("startTimeout"));
    let policy = |period, codes: usize| RestartPolicy {
        enabled: true,
        ignored_exit_codes: vec![0; codes],
        restart_attempt_period_seconds: period,
    };
    assert_eq!(
        refused(|d| d.containers[0].restart_policy = Some(policy(Some(59), 0))),
        "the 'restartAttemptPeriod' setting for container 'main' must be between 60 and 1800"
    );
    assert!(
        refused(|d| d.containers[0].restart_policy = Some(policy(None, 51)))
            .contains("ignoredExitCodes")
    );
    accepted(|d| d.containers[0].restart_policy = Some(policy(Some(1800), 50)));
}

#[test]
fn volumes_are_known_and_paths_are_absolute() {
    let point = |volume: &str, path: &str| MountPoint {
        source_volume: volume.into(),
        container_path: path.into(),
        read_only: None,
    };
    let mounted = |points: Vec<MountPoint>| {
        refused(|d| {
            d.volumes = vec![Volume {
                name: "data".into(),
                host: false,
                source_path: None,
            }];
            d.containers[0].mount_points = points;
        })
    };
    assert_eq!(
        mounted(vec![point("other", "/x")]),
        "Unknown volume 'other'."
    );
    for path in ["", "x", "/a/../../etc"] {
        assert!(
            mounted(vec![point("data", path)]).contains("absolute"),
            "{path}"
        );
    }
    assert!(mounted(vec![point("data", "/x"), point("data", "/x/")]).contains("Duplicate"));
    let twice = Volume {
        name: "data".into(),
        host: true,
        source_path: None,
    };
    assert!(refused(|d| d.volumes = vec![twice.clone(), twice]).contains("Duplicate"));
    assert_eq!(
        refused(|d| d.containers[0].volumes_from = vec![VolumeFrom {
            source_container: "x".into(),
            read_only: None
        }]),
        "Invalid 'volumesFrom' setting. Unknown container: 'x'"
    );
}

#[test]
fn only_the_containers_own_kernel_parameters_can_be_set() {
    let control = |name: &str| {
        let mut new = definition("api");
        new.containers[0].system_controls = vec![(name.to_owned(), "1".to_owned())];
        register(&mut Tx::for_test(), &scope(), new).is_ok()
    };
    for good in [
        "net.core.somaxconn",
        "net.ipv4.conf.eth0/1.forwarding",
        "kernel.sem",
        "fs.mqueue.msg_max",
    ] {
        assert!(control(good), "{good}");
    }
    for bad in [
        "kernel.panic",
        "vm.swappiness",
        "net.../../kernel",
        "fs.file-max",
        "",
        "net.\n",
    ] {
        assert!(!control(bad), "{bad}");
    }
    assert!(
        refused(|d| d.containers[0].ulimits = vec![("nofile".into(), 2, 1)])
            .contains("Soft limit exceeds")
    );
    assert!(
        refused(|d| d.containers[0].ulimits = vec![("files".into(), 1, 1)])
            .contains("Invalid ulimit")
    );
    accepted(|d| d.containers[0].ulimits = vec![("core".into(), -1, -1)]);
}
