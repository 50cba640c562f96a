//! Rows of ECS on Fargate.

use crate::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    pub scope: Scope,
    pub name: String,
    pub arn: String,
    /// `ACTIVE` or `INACTIVE`.
    pub status: String,
    pub settings: BTreeMap<String, String>,
    pub capacity_providers: Vec<String>,
    pub default_strategy: Vec<CapacityProviderStrategyItem>,
    /// ARN of the Cloud Map namespace that its services are in unless they name another (`serviceConnectDefaults`).
    #[serde(default)]
    pub service_connect_namespace: Option<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapacityProviderStrategyItem {
    pub capacity_provider: String,
    pub weight: i32,
    pub base: i32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskDefinition {
    pub scope: Scope,
    pub arn: String,
    pub family: String,
    pub revision: u32,
    /// False after DeregisterTaskDefinition.
    pub active: bool,
    pub containers: Vec<ContainerDefinition>,
    /// CPU units, 1024 a vCPU. Zero, as the memory: not given, which only tasks on container instances may leave out.
    pub cpu: u32,
    pub memory_mib: u32,
    /// `awsvpc`, or `bridge`, `host`, `none` on container instances.
    pub network_mode: String,
    pub requires_compatibilities: Vec<String>,
    /// Whether it can run on Fargate; what cannot is for container instances, which this region has none of.
    #[serde(default = "fits_by_default")]
    pub fits_fargate: bool,
    /// Type and expression.
    #[serde(default)]
    pub placement_constraints: Vec<(String, Option<String>)>,
    #[serde(default)]
    pub ipc_mode: Option<String>,
    pub execution_role_arn: Option<String>,
    pub task_role_arn: Option<String>,
    pub ephemeral_storage_gib: Option<u32>,
    /// CPU architecture and operating system family, as given.
    pub runtime_platform: Option<(Option<String>, Option<String>)>,
    pub pid_mode: Option<String>,
    pub volumes: Vec<Volume>,
    #[serde(default)]
    pub enable_fault_injection: Option<bool>,
    pub registered_at: Timestamp,
    pub deregistered_at: Option<Timestamp>,
    /// Set by DeleteTaskDefinitions: the definition goes when nothing uses it any more.
    #[serde(default)]
    pub delete_requested_at: Option<Timestamp>,
    pub registered_by: String,
    pub tags: Tags,
}

/// Rows from before container instances were spoken of are all for Fargate.
fn fits_by_default() -> bool {
    true
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerDefinition {
    pub name: String,
    pub image: String,
    pub cpu: u32,
    pub memory_mib: Option<u32>,
    pub memory_reservation_mib: Option<u32>,
    pub essential: bool,
    pub command: Option<Vec<String>>,
    pub entry_point: Option<Vec<String>>,
    pub working_directory: Option<String>,
    pub user: Option<String>,
    pub environment: Vec<(String, String)>,
    pub port_mappings: Vec<PortMapping>,
    pub log_configuration: Option<LogConfiguration>,
    pub stop_timeout_seconds: Option<u32>,
    pub start_timeout_seconds: Option<u32>,
    pub readonly_root_filesystem: Option<bool>,
    pub docker_labels: BTreeMap<String, String>,
    /// Name, soft and hard limit.
    pub ulimits: Vec<(String, i64, i64)>,
    pub interactive: Option<bool>,
    pub pseudo_terminal: Option<bool>,
    pub init_process_enabled: Option<bool>,
    /// Capabilities added to and dropped from Fargate's set, `SYS_PTRACE`; `None`: not given.
    pub capabilities: Option<(Vec<String>, Vec<String>)>,
    pub depends_on: Vec<ContainerDependency>,
    pub health_check: Option<HealthCheck>,
    pub restart_policy: Option<RestartPolicy>,
    pub secrets: Vec<SecretReference>,
    pub mount_points: Vec<MountPoint>,
    pub volumes_from: Vec<VolumeFrom>,
    /// Name and value, `net.core.somaxconn`.
    pub system_controls: Vec<(String, String)>,
    /// ARN of the secret with the registry's user name and password.
    pub repository_credentials: Option<String>,
    /// `enabled` or `disabled`.
    pub version_consistency: Option<String>,
    /// Lists inside of other members that were given without items (`linuxParameters.devices`): clients tell them from
    /// those that were not given.
    pub given_empty: BTreeSet<String>,
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerDependency {
    pub container_name: String,
    pub condition: DependencyCondition,
}

/// What a container must have come to before another one starts.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DependencyCondition {
    /// It was started.
    Start,
    /// It exited, whatever its code.
    Complete,
    /// It exited with code 0.
    Success,
    /// Its health check passed.
    Healthy,
}

/// With the defaults filled in. <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// `CMD` or `CMD-SHELL`, then the command; `NONE`.
    pub command: Vec<String>,
    /// 5 to 300.
    pub interval_seconds: u32,
    /// 2 to 60 (120 by newer pages).
    pub timeout_seconds: u32,
    /// 1 to 10.
    pub retries: u32,
    /// 0 to 300; `None`: not given, which is off.
    pub start_period_seconds: Option<u32>,
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerRestartPolicy.html>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    pub enabled: bool,
    pub ignored_exit_codes: Vec<i32>,
    /// 60 to 1800; 300 unless given. A container must have run this long to be restarted.
    pub restart_attempt_period_seconds: Option<u32>,
}

/// A variable whose value comes from Parameter Store or Secrets Manager when the container starts (fact TASK-12).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretReference {
    pub name: String,
    /// A parameter's name or ARN, or a secret's ARN with `:json-key:stage:version` behind it.
    pub value_from: String,
}

/// A folder of the task that its containers share. <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/bind-mounts.html>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub name: String,
    /// Whether `host` was given; clients tell an empty one from none.
    #[serde(default)]
    pub host: bool,
    /// A folder of the container instance.
    #[serde(default)]
    pub source_path: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    pub source_volume: String,
    pub container_path: String,
    #[serde(default)]
    pub read_only: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeFrom {
    pub source_container: String,
    #[serde(default)]
    pub read_only: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortMapping {
    pub container_port: u16,
    pub host_port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
    pub name: Option<String>,
    pub app_protocol: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogConfiguration {
    /// `awslogs`
    pub driver: String,
    pub options: BTreeMap<String, String>,
    /// Whether a list of secret options was given. It is empty, but clients tell an empty one from none.
    #[serde(default)]
    pub secret_options: bool,
}

/// Where tasks are placed. <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_AwsVpcConfiguration.html>
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkConfiguration {
    pub subnets: Vec<SubnetId>,
    /// Never empty: the VPC's default group stands in.
    pub groups: Vec<SecurityGroupId>,
    /// No group was given; answers show none, or Terraform would plan to take the default one away.
    #[serde(default)]
    pub groups_by_default: bool,
    pub assign_public_ip: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub scope: Scope,
    pub arn: String,
    pub name: String,
    /// Name of the cluster.
    pub cluster: String,
    pub status: ServiceStatus,
    pub task_definition_arn: String,
    pub desired_count: u32,
    /// `FARGATE`, `EC2`, or `None` if a capacity provider strategy is given.
    pub launch_type: Option<String>,
    pub capacity_provider_strategy: Vec<CapacityProviderStrategyItem>,
    pub platform_version: String,
    pub network: NetworkConfiguration,
    pub load_balancers: Vec<ServiceLoadBalancer>,
    pub minimum_healthy_percent: u32,
    pub maximum_percent: u32,
    /// Circuit breaker: enabled, and whether it rolls back.
    pub circuit_breaker: Option<(bool, bool)>,
    #[serde(default)]
    pub strategy: rollout::DeploymentStrategy,
    /// Where its tasks are instances of Cloud Map services (fact SVC-18).
    #[serde(default)]
    pub service_registries: Vec<ServiceRegistry>,
    #[serde(default)]
    pub service_connect: Option<ServiceConnect>,
    pub health_check_grace_period_seconds: Option<u32>,
    /// The newest (PRIMARY) first.
    pub deployments: Vec<Deployment>,
    /// Those that are over, newest first, at most 20; the newest completed one is what a rollback goes back to.
    #[serde(default)]
    pub past_deployments: Vec<Deployment>,
    /// Newest first, at most 100 (fact SVC-11).
    pub events: Vec<ServiceEvent>,
    pub availability_zone_rebalancing: String,
    pub enable_execute_command: bool,
    pub enable_ecs_managed_tags: bool,
    pub propagate_tags: String,
    pub client_token: Option<String>,
    pub created_at: Timestamp,
    pub created_by: String,
    pub deleted_at: Option<Timestamp>,
    pub tags: Tags,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ServiceStatus {
    Active,
    Draining,
    Inactive,
}

/// What an account or one of its principals chose. <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Setting.html>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSetting {
    pub scope: Scope,
    pub name: String,
    /// The root user's stands for everybody without an own one.
    pub principal_arn: String,
    pub value: String,
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceRegistry.html>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRegistry {
    /// ARN of a Cloud Map service.
    pub registry_arn: String,
    pub port: Option<u16>,
    pub container_name: Option<String>,
    pub container_port: Option<u16>,
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceConnectConfiguration.html>
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceConnect {
    pub enabled: bool,
    /// Name or ARN of a Cloud Map namespace; the cluster's default if `None`.
    pub namespace: Option<String>,
    /// Names that other services may call this one by; empty: it is a client only.
    pub services: Vec<ServiceConnectService>,
    pub log_configuration: Option<LogConfiguration>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceConnectService {
    /// Of a port mapping of the task definition.
    pub port_name: String,
    /// The Cloud Map service's name; the port's if `None`.
    pub discovery_name: Option<String>,
    /// DNS name (the discovery name and the namespace's if `None`) and port.
    pub client_aliases: Vec<(u16, Option<String>)>,
    pub ingress_port_override: Option<u16>,
    /// Idle and per request, in seconds; 0 is none.
    pub timeouts: Option<(Option<u32>, Option<u32>)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceLoadBalancer {
    pub target_group_arn: String,
    pub container_name: String,
    pub container_port: u16,
    /// What deployments that shift traffic need.
    #[serde(default)]
    pub advanced: Option<AdvancedLoadBalancer>,
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_AdvancedConfiguration.html>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvancedLoadBalancer {
    pub alternate_target_group_arn: String,
    pub production_listener_rule: String,
    pub test_listener_rule: Option<String>,
    pub role_arn: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// `ecs-svc/<digits>`; the startedBy of its tasks.
    pub id: String,
    pub primary: bool,
    pub task_definition_arn: String,
    pub network: NetworkConfiguration,
    /// Where its tasks are targets.
    #[serde(default)]
    pub load_balancers: Vec<ServiceLoadBalancer>,
    #[serde(default)]
    pub service_registries: Vec<ServiceRegistry>,
    #[serde(default)]
    pub service_connect: Option<ServiceConnect>,
    /// What Service Connect makes of that; `None`: it is off.
    #[serde(default)]
    pub connected: Option<connect::Connected>,
    pub platform_version: String,
    pub rollout_state: RolloutState,
    pub rollout_reason: String,
    /// Consecutive failures; 0 again at the first running task (fact SVC-9).
    pub failed_tasks: u32,
    /// Tasks that ran and then failed their health checks (stage 2 of the circuit breaker, fact SVC-8).
    #[serde(default)]
    pub failed_health_checks: u32,
    /// When a start last failed; the throttle counts from here (fact SVC-10).
    #[serde(default)]
    pub last_failure_at: Option<Timestamp>,
    /// When it completed, failed or was superseded.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    /// The deployment that this one goes back from, if it is a rollback.
    #[serde(default)]
    pub rollback_of: Option<String>,
    #[serde(default)]
    pub course: rollout::DeploymentCourse,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RolloutState {
    InProgress,
    Completed,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceEvent {
    pub id: String,
    pub created_at: Timestamp,
    pub message: String,
}

impl TaskDefinition {
    /// What a task of it may write to its disk, its images included (fact ECS-6).
    pub fn ephemeral_storage_gib(&self, overrides: &TaskOverrides) -> u32 {
        overrides
            .ephemeral_storage_gib
            .or(self.ephemeral_storage_gib)
            .unwrap_or(20)
    }
}

/// What shall be; what is stands in `status::TaskStatus`, written by the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub scope: Scope,
    /// 32 hexadecimal digits.
    pub id: String,
    pub arn: String,
    /// Name of the cluster.
    pub cluster: String,
    pub task_definition_arn: String,
    /// `family:<family>` or `service:<name>`.
    pub group: String,
    /// Deployment id for tasks of a service.
    pub started_by: Option<String>,
    pub launch_type: String,
    pub capacity_provider: Option<String>,
    pub platform_version: String,
    pub cpu: u32,
    pub memory_mib: u32,
    pub overrides: TaskOverrides,
    pub zone: String,
    pub subnet_id: SubnetId,
    pub eni_id: EniId,
    /// UUID of the interface's attachment.
    pub attachment_id: String,
    pub host: String,
    pub desired: DesiredStatus,
    /// Set when `desired` turns to stopped by the control plane.
    pub stop: Option<TaskStop>,
    /// Targets are deregistered and drained first; the host stops containers only from here on.
    pub stop_containers: bool,
    /// Set by the control plane when the interface is released and the task is over.
    pub stopped_at: Option<Timestamp>,
    pub enable_execute_command: bool,
    /// Until when scale-in and deployments leave it alone (fact SVC-17).
    #[serde(default)]
    pub protected_until: Option<Timestamp>,
    /// Of the RunTask call, so that a repeated call does not start it again.
    #[serde(default)]
    pub client_token: Option<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

impl Task {
    /// The ARN of its container of that name. Any 36 digits name one; these stay the same for a task's container.
    pub fn container_arn(&self, container: &str) -> String {
        let position = container.bytes().fold(7u128, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u128::from(byte))
        });
        let task = u128::from_str_radix(&self.id, 16).unwrap_or(0);
        let tail = format!("{:032x}", task ^ position.wrapping_mul(0x9E37_79B9));
        let resource = format!(
            "container/{}/{}/{}-{}-{}-{}-{}",
            self.cluster,
            self.id,
            &tail[..8],
            &tail[8..12],
            &tail[12..16],
            &tail[16..20],
            &tail[20..]
        );
        self.scope.arn("ecs", &resource)
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DesiredStatus {
    Running,
    Stopped,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskStop {
    /// `UserInitiated`, `ServiceSchedulerInitiated`, ... (fact TASK-3).
    pub code: String,
    pub reason: String,
    pub stopping_at: Timestamp,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskOverrides {
    pub containers: Vec<ContainerOverride>,
    pub cpu: Option<String>,
    pub memory: Option<String>,
    pub task_role_arn: Option<String>,
    pub execution_role_arn: Option<String>,
    pub ephemeral_storage_gib: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerOverride {
    pub name: String,
    pub command: Option<Vec<String>>,
    pub environment: Vec<(String, String)>,
    pub cpu: Option<u32>,
    pub memory_mib: Option<u32>,
    pub memory_reservation_mib: Option<u32>,
}

/// Kernel parameters that are the IPC namespace's.
const IPC_CONTROLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Whether a kernel parameter has a value in each network or IPC namespace (Docker's list), so that a container may set it.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_SystemControl.html>
pub fn is_namespaced_control(name: &str) -> bool {
    IPC_CONTROLS.contains(&name) || name.starts_with("net.") || name.starts_with("fs.mqueue.")
}
