//! What a task's rows ask this host to run: pure, from a snapshot.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fogbank_types::connect;
use fogbank_types::ec2::{DhcpOptions, Eni, Vpc};
use fogbank_types::ecs::{
    ContainerDefinition, ContainerOverride, DependencyCondition, Task, TaskDefinition,
};
use fogbank_types::{RegionConfig, Snapshot};

use super::images;
use super::logs::LogPlan;
use super::reference::{self, Source};
use super::secrets::{self, Secrets};
use super::volumes::{self, Declared};
use crate::oci::Image;
use crate::oci::pull::Credentials;
use crate::sandbox::{BoundFile, Capabilities, ContainerSpec, Limits, Ulimit};
use crate::shim::{Dependency, HealthCheck, Restart, TaskContainer, TaskSpec};

/// Fargate's default (fact ECS-5).
const OPEN_FILES: i64 = 65_535;
/// From the stop signal to SIGKILL, unless the definition says otherwise (fact ECS-9).
const STOP_TIMEOUT_SECONDS: u32 = 30;
/// How long a container must have run to be started again, unless its policy says otherwise.
const RESTART_ATTEMPT_PERIOD_SECONDS: u32 = 300;
/// The least that a health check may take.
const CHECK_TIMEOUT_MIN_MS: u64 = 500;
/// A task's processes and threads: as many as Linux lets a machine of its memory have (one for each 128 KiB, `set_max_threads`
/// in kernel/fork.c; a task has such a machine on Fargate), within bounds.
const PROCESSES_PER_MIB: u32 = 8;
const PROCESSES: RangeInclusive<u32> = 1_024..=16_384;

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-task-storage.html>
pub const STORAGE_GIB: u32 = 20;

/// In DHCP options: the VPC's own resolver.
const AMAZON_PROVIDED_DNS: &str = "AmazonProvidedDNS";

/// A task, as far as the rows say.
#[derive(Clone, Debug)]
pub struct Plan {
    pub task: Arc<Task>,
    pub netns: PathBuf,
    pub hostname: String,
    /// Content of `/etc/hosts` and `/etc/resolv.conf`.
    pub hosts: String,
    pub resolv_conf: String,
    /// It has a proxy of Service Connect, which starts first.
    pub service_connect: bool,
    pub containers: Vec<Planned>,
    /// The task runs with a role.
    pub has_role: bool,
    /// What its containers may write together.
    pub storage_gib: u32,
    /// `pidMode: task`: its containers see each other's processes.
    pub shared_pids: bool,
}

/// What the host has for a task.
#[derive(Clone, Debug, Default)]
pub struct Provided {
    pub cgroup: String,
    pub user_namespace: bool,
    /// A formatted file of the size of its storage.
    pub storage_template: Option<PathBuf>,
    /// The shim's standard input is that storage, made already.
    pub storage_given: bool,
}

/// A container of a [`Plan`].
#[derive(Clone, Debug)]
pub struct Planned {
    pub definition: ContainerDefinition,
    pub overrides: ContainerOverride,
    pub image: Source,
    /// Of the registry that the image is pulled from.
    pub login: Option<Credentials>,
    pub log: Option<LogPlan>,
    pub secrets: Secrets,
}

/// The definition that a task was started from.
pub fn definition<'a>(snapshot: &'a Snapshot, task: &Task) -> Option<&'a Arc<TaskDefinition>> {
    let (_, name) = task.task_definition_arn.rsplit_once('/')?;
    let (family, revision) = name.rsplit_once(':')?;
    let revision: u32 = revision.parse().ok()?;
    snapshot
        .task_definitions
        .get(&task.scope, format!("{family}:{revision:08}"))
}

/// Finds everything that the task needs in the rows; the error is the reason that ECS would give.
pub fn plan(snapshot: &Snapshot, task: &Arc<Task>, config: &RegionConfig) -> Result<Plan, String> {
    let definition = definition(snapshot, task).ok_or_else(|| {
        format!(
            "ResourceInitializationError: task definition {} not found",
            task.task_definition_arn
        )
    })?;
    let missing =
        || "ResourceInitializationError: the task's network interface was not found".to_owned();
    let eni = snapshot
        .enis
        .get(&task.scope, &task.eni_id)
        .ok_or_else(missing)?;
    let vpc = snapshot
        .vpcs
        .get(&task.scope, &eni.vpc_id)
        .ok_or_else(missing)?;
    let options = vpc
        .dhcp_options_id
        .as_ref()
        .and_then(|id| snapshot.dhcp_options.get(&vpc.scope, id))
        .map(|options| &**options);
    let hostname = private_name(eni);
    let containers = definition
        .containers
        .iter()
        .enumerate()
        .map(|(index, container)| {
            let overrides = task
                .overrides
                .containers
                .iter()
                .find(|given| given.name == container.name);
            Ok(Planned {
                image: reference::resolve(
                    snapshot,
                    &task.scope,
                    &container.image,
                    config.internet,
                )?,
                login: images::login(snapshot, task, container)?,
                log: LogPlan::of(snapshot, task, index, container)?,
                secrets: secrets::of(snapshot, &task.scope, container)?,
                definition: container.clone(),
                overrides: overrides.cloned().unwrap_or_default(),
            })
        });
    Ok(Plan {
        netns: fogbank_net::eni_namespace(config, &eni.eni_id),
        hosts: format!(
            "127.0.0.1 localhost\n{} {hostname}\n{}",
            eni.private_ip,
            connected_names(snapshot, task)
        ),
        service_connect: eni.service_connect,
        resolv_conf: resolv_conf(vpc, options),
        hostname,
        storage_gib: definition.ephemeral_storage_gib.unwrap_or(STORAGE_GIB),
        shared_pids: definition.pid_mode.as_deref() == Some("task"),
        containers: containers.collect::<Result<_, String>>()?,
        has_role: crate::endpoint::role(snapshot, task, definition)?.is_some(),
        task: Arc::clone(task),
    })
}

/// "The Service Connect agent adds the endpoints to /etc/hosts": names that others of the namespace have, at the addresses
/// that stand for them.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-connect-concepts-deploy.html>
fn connected_names(snapshot: &Snapshot, task: &Task) -> String {
    let known = connect::of_task(snapshot, task).map(|connected| connected.addresses());
    let lines = known.into_iter().flatten();
    lines
        .map(|(name, address)| format!("{address} {name}\n"))
        .collect()
}

/// Fact VPC-13.
fn private_name(eni: &Eni) -> String {
    format!(
        "ip-{}.{}",
        eni.private_ip.to_string().replace('.', "-"),
        domain(&eni.scope.region)
    )
}

fn domain(region: &str) -> String {
    if region == "us-east-1" {
        "ec2.internal".to_owned()
    } else {
        format!("{region}.compute.internal")
    }
}

/// As the VPC's DHCP options say; the default set (fact VPC-14) has no row. `AmazonProvidedDNS` is the VPC's
/// resolver (fact VPC-10); without DNS support there is none to name.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/DHCPOptionSetConcepts.html>
fn resolv_conf(vpc: &Vpc, options: Option<&DhcpOptions>) -> String {
    let own = domain(&vpc.scope.region);
    let values = |name: &str, default: &str| match options {
        None => vec![default.to_owned()],
        Some(set) => set.options.get(name).cloned().unwrap_or_default(),
    };
    let mut text = String::new();
    // Some systems take several domains in one value; none may bring lines of its own.
    let domains = values("domain-name", &own);
    let domains: Vec<&str> = domains.iter().flat_map(|d| d.split_whitespace()).collect();
    if !domains.is_empty() {
        text += &format!("search {}\n", domains.join(" "));
    }
    for server in values("domain-name-servers", AMAZON_PROVIDED_DNS) {
        let address = match server.parse::<IpAddr>() {
            Ok(address) => Some(address),
            Err(_) => (server == AMAZON_PROVIDED_DNS && vpc.enable_dns_support)
                .then(|| IpAddr::V4(vpc.resolver())),
        };
        if let Some(address) = address {
            text += &format!("nameserver {address}\n");
        }
    }
    text
}

/// An image whose layers are unpacked.
pub struct Ready {
    pub image: Image,
    pub layers: Vec<PathBuf>,
}

impl Plan {
    /// What the shim is told, once the images are here (one for each container, in order).
    pub fn spec(
        &self,
        images: &[Arc<Ready>],
        provided: Provided,
        bundle: &Path,
        config: &RegionConfig,
        credentials: &str,
    ) -> TaskSpec {
        let containers = self.containers.iter().zip(images).enumerate();
        let declared: Vec<_> = containers
            .clone()
            .map(|(_, (planned, ready))| {
                let volumes = ready.image.config.config.volumes.keys();
                Declared {
                    definition: &planned.definition,
                    image_volumes: volumes.map(String::as_str).collect(),
                }
            })
            .collect();
        let volumes = volumes::mounts(&declared);
        TaskSpec {
            task: self.task.id.clone(),
            cgroup: provided.cgroup,
            limits: Limits {
                cpu_units: Some(self.task.cpu),
                cpu_shares: None,
                memory_bytes: Some(u64::from(self.task.memory_mib) << 20),
                pids: Some(processes(self.task.memory_mib)),
            },
            user_namespace: provided.user_namespace,
            storage_template: provided.storage_template,
            storage_given: provided.storage_given,
            shared_pids: self.shared_pids,
            containers: containers
                .zip(volumes)
                .map(|((index, (planned, image)), volumes)| {
                    let around = self.around(index, credentials);
                    let mut container = self.container(planned, image, bundle, config, around);
                    container.spec.volumes = volumes;
                    container
                })
                .collect(),
        }
    }

    fn container(
        &self,
        planned: &Planned,
        ready: &Ready,
        bundle: &Path,
        config: &RegionConfig,
        around: Vec<(String, String)>,
    ) -> TaskContainer {
        let Planned {
            definition,
            overrides,
            ..
        } = planned;
        let image = &ready.image.config;
        let command = overrides.command.as_ref().or(definition.command.as_ref());
        let or_image = |given: &Option<String>, image: &str| match given {
            Some(given) if !given.is_empty() => given.clone(),
            _ => image.to_owned(),
        };
        let file = |name: &str| BoundFile {
            source: bundle.join(name),
            target: Path::new("/etc").join(name),
        };
        let cpu = overrides.cpu.unwrap_or(definition.cpu);
        let stop_timeout = definition
            .stop_timeout_seconds
            .unwrap_or(STOP_TIMEOUT_SECONDS);
        TaskContainer {
            spec: ContainerSpec {
                name: definition.name.clone(),
                layers: ready.layers.clone(),
                args: image.command_line(
                    definition.entry_point.as_deref(),
                    command.map(Vec::as_slice),
                ),
                env: image.environment(self.environment(planned, around)),
                cwd: or_image(&definition.working_directory, &image.config.working_dir),
                user: or_image(&definition.user, &image.config.user),
                hostname: self.hostname.clone(),
                netns: Some(self.netns.clone()),
                read_only_root: definition.readonly_root_filesystem.unwrap_or(false),
                files: vec![file("hosts"), file("resolv.conf")],
                ulimits: ulimits(&definition.ulimits),
                init: definition.init_process_enabled.unwrap_or(false),
                capabilities: capabilities(definition.capabilities.as_ref()),
                volumes: Vec::new(),
                system_controls: definition.system_controls.clone(),
                terminal: definition.pseudo_terminal.unwrap_or(false),
            },
            limits: Limits {
                cpu_units: None,
                cpu_shares: (cpu > 0).then_some(cpu),
                memory_bytes: overrides
                    .memory_mib
                    .or(definition.memory_mib)
                    .map(|mib| u64::from(mib) << 20),
                pids: None,
            },
            essential: definition.essential,
            stop_signal: image.config.stop_signal.clone(),
            stop_timeout_ms: config.scaled_ms(u64::from(stop_timeout) * 1000),
            open_stdin: definition.interactive.unwrap_or(false),
            log: planned
                .log
                .as_ref()
                .map(|log| config.logs_dir().join(&log.stream.uid)),
            log_options: planned
                .log
                .as_ref()
                .map(|log| log.options.clone())
                .unwrap_or_default(),
            image: definition.image.clone(),
            depends_on: dependencies(definition),
            start_timeout_ms: definition
                .start_timeout_seconds
                .map(|seconds| config.scaled_ms(u64::from(seconds) * 1000)),
            health_check: health_check(definition, config),
            restart: restart(definition, config),
        }
    }

    /// Where a container finds what is around it (facts TASK-8, TASK-10).
    fn around(&self, index: usize, credentials: &str) -> Vec<(String, String)> {
        let id = super::status::runtime_id(&self.task.id, index);
        let mut around: Vec<(String, String)> = crate::endpoint::environment(&id)
            .map(|(name, value)| (name.to_owned(), value))
            .into();
        if self.has_role {
            let name = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI".to_owned();
            around.push((name, credentials.to_owned()));
        }
        around
    }

    /// What Fargate sets (fact TASK-10), then the definition, then the override; the last counts.
    fn environment(
        &self,
        planned: &Planned,
        around: Vec<(String, String)>,
    ) -> impl Iterator<Item = (String, String)> {
        let region = &self.task.scope.region;
        let own = [
            ("AWS_EXECUTION_ENV", "AWS_ECS_FARGATE"),
            ("AWS_DEFAULT_REGION", region),
            ("AWS_REGION", region),
        ];
        own.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .chain(around)
            .chain(planned.definition.environment.clone())
            .chain(planned.secrets.pairs())
            .chain(planned.overrides.environment.clone())
    }
}

fn processes(memory_mib: u32) -> u32 {
    memory_mib
        .saturating_mul(PROCESSES_PER_MIB)
        .clamp(*PROCESSES.start(), *PROCESSES.end())
}

fn capabilities(given: Option<&(Vec<String>, Vec<String>)>) -> Capabilities {
    let (add, drop) = given.cloned().unwrap_or_default();
    Capabilities { add, drop }
}

/// Taking another container's volumes is a dependency on its start.
fn dependencies(definition: &ContainerDefinition) -> Vec<Dependency> {
    let named = definition.depends_on.iter().map(|given| Dependency {
        container: given.container_name.clone(),
        condition: given.condition,
    });
    let mounted = definition.volumes_from.iter().map(|from| Dependency {
        container: from.source_container.clone(),
        condition: DependencyCondition::Start,
    });
    named.chain(mounted).collect()
}

/// Only the definition's own: ECS does not look at an image's HEALTHCHECK.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/healthcheck.html>
fn health_check(definition: &ContainerDefinition, config: &RegionConfig) -> Option<HealthCheck> {
    let given = definition.health_check.as_ref()?;
    let args = match given.command.split_first()? {
        (word, rest) if word == "CMD" => rest.to_vec(),
        (word, rest) if word == "CMD-SHELL" => ["/bin/sh", "-c"]
            .map(str::to_owned)
            .into_iter()
            .chain(rest.first().cloned())
            .collect(),
        _ => return None,
    };
    let scaled_ms = |seconds: u32| config.scaled_ms(u64::from(seconds) * 1000);
    Some(HealthCheck {
        args,
        interval_ms: scaled_ms(given.interval_seconds).max(1),
        // A program needs real time, however fast the region's clock goes.
        timeout_ms: scaled_ms(given.timeout_seconds).max(CHECK_TIMEOUT_MIN_MS),
        retries: given.retries,
        start_period_ms: scaled_ms(given.start_period_seconds.unwrap_or(0)),
    })
}

fn restart(definition: &ContainerDefinition, config: &RegionConfig) -> Option<Restart> {
    let policy = definition.restart_policy.as_ref().filter(|p| p.enabled)?;
    let seconds = policy
        .restart_attempt_period_seconds
        .unwrap_or(RESTART_ATTEMPT_PERIOD_SECONDS);
    Some(Restart {
        ignored_exit_codes: policy.ignored_exit_codes.clone(),
        attempt_period_ms: config.scaled_ms(u64::from(seconds) * 1000),
    })
}

fn ulimits(given: &[(String, i64, i64)]) -> Vec<Ulimit> {
    let mut limits = vec![Ulimit {
        name: "nofile".to_owned(),
        soft: OPEN_FILES,
        hard: OPEN_FILES,
    }];
    for (name, soft, hard) in given {
        limits.retain(|limit| limit.name != *name);
        limits.push(Ulimit {
            name: name.clone(),
            soft: *soft,
            hard: *hard,
        });
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogbank_types::{DhcpOptionsId, Scope, Tags, Timestamp, VpcCidrAssociationId, VpcId};

    fn vpc() -> Vpc {
        let cidr_block = "10.0.0.0/16".parse().unwrap();
        Vpc {
            scope: Scope::new("000000000000", "eu-west-1"),
            vpc_id: VpcId::from_bits(1),
            cidr_block,
            cidr_associations: vec![fogbank_types::ec2::VpcCidrAssociation {
                association_id: VpcCidrAssociationId::from_bits(1),
                cidr_block,
                state: fogbank_types::ec2::CidrState::Associated,
            }],
            ipv6_cidr_associations: Vec::new(),
            dhcp_options_id: None,
            instance_tenancy: "default".to_owned(),
            is_default: false,
            enable_dns_support: true,
            enable_dns_hostnames: true,
            enable_network_address_usage_metrics: false,
            created_at: Timestamp(0),
            tags: Tags::new(),
        }
    }

    fn options(all: &[(&str, &[&str])]) -> DhcpOptions {
        DhcpOptions {
            scope: Scope::new("000000000000", "eu-west-1"),
            dhcp_options_id: DhcpOptionsId::from_bits(1),
            options: all
                .iter()
                .map(|(name, values)| {
                    let values = values.iter().map(|value| (*value).to_owned());
                    ((*name).to_owned(), values.collect())
                })
                .collect(),
            tags: Tags::new(),
        }
    }

    #[test]
    fn processes_are_bounded_by_memory() {
        assert_eq!(processes(512), 4_096);
        assert_eq!(processes(8_192), 16_384);
        assert_eq!(processes(u32::MAX), 16_384);
        assert_eq!(processes(6), 1_024);
    }

    #[test]
    fn the_default_set_names_the_vpcs_resolver() {
        let expected = "search eu-west-1.compute.internal\nnameserver 10.0.0.2\n";
        assert_eq!(resolv_conf(&vpc(), None), expected);
        let without = Vpc {
            enable_dns_support: false,
            ..vpc()
        };
        let expected = "search eu-west-1.compute.internal\n";
        assert_eq!(resolv_conf(&without, None), expected);
    }

    #[test]
    fn a_set_says_what_it_holds_and_nothing_else() {
        let set = options(&[
            ("domain-name", &["a.test b.test\nnameserver 192.0.2.9"]),
            (
                "domain-name-servers",
                &["10.0.0.10", "AmazonProvidedDNS", "x y"],
            ),
        ]);
        let expected = "search a.test b.test nameserver 192.0.2.9\nnameserver 10.0.0.10\nnameserver 10.0.0.2\n";
        assert_eq!(resolv_conf(&vpc(), Some(&set)), expected);
        let set = options(&[("ntp-servers", &["10.0.0.10"])]);
        assert_eq!(resolv_conf(&vpc(), Some(&set)), "");
    }
}
