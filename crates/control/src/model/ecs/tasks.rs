//! Tasks: starting, stopping, and what is refused before either (facts ECS-7, TASK-1 to TASK-7).
//!
//! A start is one transaction: it takes the interface and writes the task. The host sees the row and runs it.

use super::{
    Refusal, clusters, compatibility, connect, fargate, health, invalid, short, tags,
    task_definitions,
};
use crate::model::Tx;
use crate::model::vpc::enis::{self, NewEni};
use crate::model::vpc::zone_faults;
use crate::schedule::{self, Candidate};
use fogbank_types::ec2::{Eni, EniOwner};
use fogbank_types::ecs::{
    CapacityProviderStrategyItem, Cluster, DesiredStatus, NetworkConfiguration, Task,
    TaskDefinition, TaskOverrides, TaskStop,
};
use fogbank_types::{Scope, SecurityGroupId, Snapshot, SubnetId, Tags};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The newest platform version on Linux (fact ECS-5).
pub const PLATFORM_VERSION: &str = "1.4.0";

/// Where a caller wants tasks to be, as given.
#[derive(Debug, Clone, Default)]
pub struct Placement {
    pub subnets: Vec<String>,
    pub groups: Vec<String>,
    pub assign_public_ip: bool,
}

/// On what capacity.
#[derive(Debug, Clone, Default)]
pub struct Capacity {
    pub launch_type: Option<String>,
    pub strategy: Vec<CapacityProviderStrategyItem>,
    pub platform_version: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct RunTask {
    pub cluster: Option<String>,
    pub task_definition: String,
    /// One if not given.
    pub count: Option<i32>,
    pub placement: Option<Placement>,
    pub capacity: Capacity,
    pub overrides: TaskOverrides,
    pub group: Option<String>,
    pub started_by: Option<String>,
    pub enable_execute_command: bool,
    pub propagate_tags: bool,
    pub client_token: Option<String>,
    pub tags: Tags,
}

/// A task that could not be started (the call itself succeeds, fact TASK-6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub arn: String,
    pub reason: String,
    pub detail: Option<String>,
}

/// Everything that a start needs and that was found good.
#[derive(Debug, Clone)]
pub struct Launch {
    pub cluster: String,
    pub definition: Arc<TaskDefinition>,
    pub network: NetworkConfiguration,
    pub group: String,
    pub started_by: Option<String>,
    pub launch_type: String,
    pub capacity_provider: Option<String>,
    pub platform_version: String,
    pub overrides: TaskOverrides,
    pub enable_execute_command: bool,
    pub client_token: Option<String>,
    pub tags: Tags,
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html>
pub fn run(
    tx: &mut Tx,
    scope: &Scope,
    command: RunTask,
) -> Result<(Vec<Task>, Vec<Failure>), Refusal> {
    let cluster = clusters::find(tx.snapshot(), scope, command.cluster.as_deref())?.clone();
    clusters::require_active(&cluster)?;
    tags::check(&command.tags)?;
    check_length("clientToken", command.client_token.as_deref(), 64)?;
    check_length("startedBy", command.started_by.as_deref(), 128)?;
    check_length("group", command.group.as_deref(), 255)?;
    let count = command.count.unwrap_or(1);
    if !(1..=10).contains(&count) {
        return Err(invalid(if count > 10 {
            "Count should be less than or equal to 10."
        } else {
            "Count should be greater than or equal to 1."
        }));
    }
    if let Some(token) = &command.client_token {
        let earlier: Vec<Task> = clusters::tasks(tx.snapshot(), &cluster)
            .filter(|task| task.client_token.as_ref() == Some(token))
            .map(|task| Task::clone(task))
            .collect();
        if !earlier.is_empty() {
            return Ok((earlier, Vec::new()));
        }
    }
    let definition = task_definitions::find_active(tx.snapshot(), scope, &command.task_definition)?;
    let capacity = capacity(&cluster, &command.capacity)?;
    if capacity.launch_type == "EC2" {
        return Err(invalid(
            "No Container Instances were found in your cluster.",
        ));
    }
    compatibility::check_launch(&definition, &capacity.launch_type)?;
    let network = network_of(
        tx.snapshot(),
        scope,
        &definition,
        command.placement.as_ref(),
    )?;
    check_overrides(&definition, &command.overrides)?;
    let mut tags = if command.propagate_tags {
        definition.tags.clone()
    } else {
        Tags::new()
    };
    tags.extend(command.tags);
    let group = command
        .group
        .unwrap_or_else(|| format!("family:{}", definition.family));
    if group.starts_with("service:") {
        return Err(invalid(
            "The group prefix 'service:' is reserved for tasks of services.",
        ));
    }
    let launch = Launch {
        cluster: cluster.name.clone(),
        definition,
        network,
        group,
        started_by: command.started_by,
        launch_type: capacity.launch_type,
        capacity_provider: capacity.provider,
        platform_version: capacity.platform_version,
        overrides: command.overrides,
        enable_execute_command: command.enable_execute_command,
        client_token: command.client_token,
        tags,
    };
    let strategy = match (
        &launch.capacity_provider,
        command.capacity.strategy.is_empty(),
    ) {
        (Some(_), true) => cluster.default_strategy.clone(),
        _ => command.capacity.strategy,
    };
    let mut launch = launch;
    let mut placed: BTreeMap<String, usize> = BTreeMap::new();
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for _ in 0..count {
        launch.capacity_provider = super::capacity::next(&strategy, &placed).map(str::to_owned);
        match start(tx, scope, &launch) {
            Ok(task) => {
                let provider = task.capacity_provider.clone().unwrap_or_default();
                *placed.entry(provider).or_default() += 1;
                tasks.push(task);
            }
            Err(reason) => failures.push(failure(&cluster, reason)),
        }
    }
    Ok((tasks, failures))
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html>
fn failure(cluster: &Cluster, reason: NoPlace) -> Failure {
    let arn = cluster
        .scope
        .arn("ecs", &format!("container-instance/{}", cluster.name));
    let (reason, detail) = match reason {
        NoPlace::Capacity | NoPlace::Instances => (reason.to_string(), None),
        NoPlace::Subnets | NoPlace::Interface(_) => {
            ("RESOURCE:ENI".to_owned(), Some(reason.to_string()))
        }
    };
    Failure {
        arn,
        reason,
        detail,
    }
}

/// Texts that stay in a row: one that grows over the store's bounds could never be changed again, not even stopped.
pub(super) fn check_length(name: &str, text: Option<&str>, limit: usize) -> Result<(), Refusal> {
    match text {
        Some(text) if text.chars().count() > limit => Err(invalid(format!(
            "{name} can have at most {limit} characters."
        ))),
        _ => Ok(()),
    }
}

/// Where capacity comes from, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub launch_type: String,
    pub provider: Option<String>,
    pub platform_version: String,
}

/// Fact SVC-16. Without any choice the cluster's default strategy counts, and then launch type EC2, as on AWS.
pub fn capacity(cluster: &Cluster, wanted: &Capacity) -> Result<Resolved, Refusal> {
    if wanted.launch_type.is_some() && !wanted.strategy.is_empty() {
        return Err(invalid(
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.",
        ));
    }
    let platform_version = match wanted.platform_version.as_deref() {
        None | Some("LATEST" | "1.4.0") => PLATFORM_VERSION.to_owned(),
        Some(other) => {
            return Err(Refusal::PlatformUnknown(format!(
                "The platform version '{other}' is not offered, only 1.4.0 is."
            )));
        }
    };
    let fargate = |provider| Resolved {
        launch_type: "FARGATE".to_owned(),
        provider,
        platform_version,
    };
    let strategy = match wanted.launch_type.as_deref() {
        Some("FARGATE") => return Ok(fargate(None)),
        Some("EC2") => return on_instances(wanted),
        Some(other) => {
            return Err(invalid(format!(
                "Launch type {other} is not offered, only FARGATE is."
            )));
        }
        None if wanted.strategy.is_empty() => &cluster.default_strategy,
        None => &wanted.strategy,
    };
    clusters::check_strategy(&cluster.capacity_providers, strategy)?;
    // The base comes first, then the greatest weight; one start has one provider.
    let chosen = strategy
        .iter()
        .max_by_key(|item| (item.base > 0, item.weight));
    match chosen {
        Some(item) => Ok(fargate(Some(item.capacity_provider.clone()))),
        None => on_instances(wanted),
    }
}

/// There are none; a service waits for them, a task is refused.
fn on_instances(wanted: &Capacity) -> Result<Resolved, Refusal> {
    if wanted.platform_version.is_some() {
        return Err(invalid(
            "The platform version must be null when specifying an EC2 launch type.",
        ));
    }
    Ok(Resolved {
        launch_type: "EC2".to_owned(),
        provider: None,
        platform_version: String::new(),
    })
}

/// Tasks behind an instance's bridge have no network of their own.
pub fn network_of(
    snapshot: &Snapshot,
    scope: &Scope,
    definition: &TaskDefinition,
    placement: Option<&Placement>,
) -> Result<NetworkConfiguration, Refusal> {
    match (definition.network_mode.as_str(), placement) {
        ("awsvpc", placement) => network(snapshot, scope, placement),
        (_, None) => Ok(NetworkConfiguration {
            subnets: Vec::new(),
            groups: Vec::new(),
            groups_by_default: true,
            assign_public_ip: false,
        }),
        (_, Some(_)) => Err(invalid(
            "Network Configuration is not valid for the given networkMode of this task definition.",
        )),
    }
}

/// Checks subnets and groups; the VPC's default group stands in for none (fact ECS-7).
pub fn network(
    snapshot: &Snapshot,
    scope: &Scope,
    placement: Option<&Placement>,
) -> Result<NetworkConfiguration, Refusal> {
    let placement = placement.ok_or_else(|| {
        invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    })?;
    if placement.subnets.is_empty() {
        return Err(invalid("subnets can not be empty."));
    }
    if placement.subnets.len() > 16 {
        return Err(invalid("subnets can have at most 16 items."));
    }
    if placement.groups.len() > 5 {
        return Err(invalid("securityGroups can have at most 5 items."));
    }
    let mut subnets = Vec::new();
    let mut vpc = None;
    for text in &placement.subnets {
        let subnet = SubnetId::parse(text).ok().and_then(|id| snapshot.subnets.get(scope, &id)).ok_or_else(|| {
            invalid(format!(
                "Error retrieving subnet information for [{text}]: The subnet ID '{text}' does not exist (ErrorCode: InvalidSubnetID.NotFound)"
            ))
        })?;
        if *vpc.get_or_insert(&subnet.vpc_id) != &subnet.vpc_id {
            return Err(invalid("The provided subnets must belong to the same VPC."));
        }
        if !subnets.contains(&subnet.subnet_id) {
            subnets.push(subnet.subnet_id.clone());
        }
    }
    let vpc = vpc.expect("there is at least one subnet");
    let mut groups = Vec::new();
    for text in &placement.groups {
        let group =
            SecurityGroupId::parse(text).ok().and_then(|id| snapshot.security_groups.get(scope, &id)).ok_or_else(|| {
                invalid(format!(
                    "Error retrieving security group information for [{text}]: The security group '{text}' does not exist (ErrorCode: InvalidGroup.NotFound)"
                ))
            })?;
        if &group.vpc_id != vpc {
            return Err(invalid(format!(
                "The provided security group '{text}' and the subnets must belong to the same VPC."
            )));
        }
        if !groups.contains(&group.group_id) {
            groups.push(group.group_id.clone());
        }
    }
    let groups_by_default = groups.is_empty();
    if groups_by_default {
        let default = snapshot
            .security_groups
            .in_scope(scope)
            .find(|group| &group.vpc_id == vpc && group.name == "default");
        groups.extend(default.map(|group| group.group_id.clone()));
    }
    Ok(NetworkConfiguration {
        subnets,
        groups,
        groups_by_default,
        assign_public_ip: placement.assign_public_ip,
    })
}

fn check_overrides(definition: &TaskDefinition, overrides: &TaskOverrides) -> Result<(), Refusal> {
    for container in &overrides.containers {
        if !definition
            .containers
            .iter()
            .any(|c| c.name == container.name)
        {
            return Err(invalid(format!(
                "Override for container named {} is not a container in the TaskDefinition.",
                container.name
            )));
        }
    }
    let (cpu, memory_mib) = task_size(definition, overrides)?;
    fargate::check_size(cpu, memory_mib)?;
    check_container_sizes(definition, overrides, cpu, memory_mib)?;
    if overrides
        .ephemeral_storage_gib
        .is_some_and(|gib| !(21..=200).contains(&gib))
    {
        return Err(invalid(
            "EphemeralStorage size should be at least 21 and at most 200.",
        ));
    }
    let bytes = serde_json::to_vec(overrides).map_or(0, |bytes| bytes.len());
    if bytes > 8192 {
        return Err(invalid("Container Overrides length must be at most 8192"));
    }
    Ok(())
}

/// The containers must fit into the task as it is started, too.
fn check_container_sizes(
    definition: &TaskDefinition,
    overrides: &TaskOverrides,
    cpu: u32,
    memory_mib: u32,
) -> Result<(), Refusal> {
    let mut used = 0u64;
    for container in &definition.containers {
        let changed = overrides
            .containers
            .iter()
            .find(|o| o.name == container.name);
        used += u64::from(changed.and_then(|o| o.cpu).unwrap_or(container.cpu));
        let memory = changed.and_then(|o| o.memory_mib).or(container.memory_mib);
        if memory.is_some_and(|mib| mib > memory_mib) {
            return Err(invalid(format!(
                "The 'memory' setting for container '{}' is greater than for the task.",
                container.name
            )));
        }
    }
    if used > u64::from(cpu) {
        return Err(invalid(
            "The sum of all container 'cpu' values cannot be greater than the task-level 'cpu' value.",
        ));
    }
    Ok(())
}

fn task_size(
    definition: &TaskDefinition,
    overrides: &TaskOverrides,
) -> Result<(u32, u32), Refusal> {
    let cpu = overrides
        .cpu
        .as_deref()
        .map_or(Ok(definition.cpu), fargate::cpu)?;
    let memory = overrides
        .memory
        .as_deref()
        .map_or(Ok(definition.memory_mib), fargate::memory_mib)?;
    Ok((cpu, memory))
}

/// Why a start found no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    #[error("None of the subnets is there any more.")]
    Subnets,
    /// Its subnets are all in zones that failed.
    #[error(
        "Capacity is unavailable at this time. Please try again later or in a different availability zone"
    )]
    Capacity,
    /// The launch type is EC2, and the region has no container instances.
    #[error("No Container Instances were found in your cluster")]
    Instances,
    #[error("{0}")]
    Interface(String),
}

/// Where tasks of a group may go, and how many are there: read once for many starts.
pub struct Sites {
    candidates: Vec<Candidate>,
    spread: BTreeMap<String, usize>,
}

impl Sites {
    pub fn of(snapshot: &Snapshot, scope: &Scope, launch: &Launch) -> Self {
        Self {
            candidates: candidates(snapshot, scope, &launch.network.subnets),
            spread: spread(snapshot, scope, &launch.cluster, &launch.group),
        }
    }

    /// Zones where another task finds room.
    pub fn open_zones(&self) -> BTreeSet<String> {
        let open = self
            .candidates
            .iter()
            .filter(|c| !c.failed && c.free_addresses > 0);
        open.map(|candidate| candidate.zone.clone()).collect()
    }
}

/// Takes an interface in the best subnet and writes the task.
pub fn start(tx: &mut Tx, scope: &Scope, launch: &Launch) -> Result<Task, NoPlace> {
    let mut sites = Sites::of(tx.snapshot(), scope, launch);
    start_at(tx, scope, launch, &mut sites)
}

/// As [`start`]; `sites` are kept up to date.
pub fn start_at(
    tx: &mut Tx,
    scope: &Scope,
    launch: &Launch,
    sites: &mut Sites,
) -> Result<Task, NoPlace> {
    if launch.launch_type == "EC2" {
        return Err(NoPlace::Instances);
    }
    let mut reason = match sites.candidates.iter().any(|candidate| candidate.failed) {
        true => NoPlace::Capacity,
        false => NoPlace::Subnets,
    };
    for subnet in schedule::order(sites.candidates.clone(), &sites.spread) {
        match start_in(tx, scope, launch, subnet) {
            Ok(task) => {
                *sites.spread.entry(task.zone.clone()).or_default() += 1;
                for used in sites
                    .candidates
                    .iter_mut()
                    .filter(|c| c.subnet_id == task.subnet_id)
                {
                    used.free_addresses = used.free_addresses.saturating_sub(1);
                }
                return Ok(task);
            }
            Err(why) => reason = why,
        }
    }
    Err(reason)
}

fn start_in(
    tx: &mut Tx,
    scope: &Scope,
    launch: &Launch,
    subnet: Candidate,
) -> Result<Task, NoPlace> {
    let id = tx.hex(32);
    let arn = scope.arn("ecs", &format!("task/{}/{id}", launch.cluster));
    let attachment_id = tx.uuid();
    let host = tx.config().host.clone();
    let new = NewEni {
        subnet_id: subnet.subnet_id.clone(),
        groups: launch.network.groups.clone(),
        description: scope.arn("ecs", &format!("attachment/{attachment_id}")),
        owner: EniOwner::Task(arn.clone()),
        private_ip: None,
        assign_public_ip: launch.network.assign_public_ip,
        source_dest_check: true,
        host: Some(host.clone()),
    };
    let eni =
        enis::create(tx, scope, new).map_err(|refusal| NoPlace::Interface(refusal.to_string()))?;
    if connect::of_launch(tx.snapshot(), scope, launch) {
        tx.update::<Eni>(scope, &eni.eni_id, |eni| eni.service_connect = true);
    }
    // Overrides were checked when they were given; a service has none.
    let (cpu, memory_mib) = task_size(&launch.definition, &launch.overrides)
        .unwrap_or((launch.definition.cpu, launch.definition.memory_mib));
    let task = Task {
        scope: scope.clone(),
        id,
        arn,
        cluster: launch.cluster.clone(),
        task_definition_arn: launch.definition.arn.clone(),
        group: launch.group.clone(),
        started_by: launch.started_by.clone(),
        launch_type: launch.launch_type.clone(),
        capacity_provider: launch.capacity_provider.clone(),
        platform_version: launch.platform_version.clone(),
        cpu,
        memory_mib,
        overrides: launch.overrides.clone(),
        zone: subnet.zone,
        subnet_id: subnet.subnet_id,
        eni_id: eni.eni_id,
        attachment_id,
        host,
        desired: DesiredStatus::Running,
        stop: None,
        stop_containers: false,
        stopped_at: None,
        enable_execute_command: launch.enable_execute_command,
        protected_until: None,
        client_token: launch.client_token.clone(),
        created_at: tx.now(),
        tags: launch.tags.clone(),
    };
    tx.put(task.clone());
    Ok(task)
}

/// Addresses that AWS keeps in every subnet (fact SUB-3).
const RESERVED_ADDRESSES: usize = 5;

fn candidates(snapshot: &Snapshot, scope: &Scope, subnets: &[SubnetId]) -> Vec<Candidate> {
    let mut used: BTreeMap<&SubnetId, usize> = BTreeMap::new();
    for eni in snapshot
        .enis
        .in_scope(scope)
        .filter(|eni| subnets.contains(&eni.subnet_id))
    {
        *used.entry(&eni.subnet_id).or_default() += eni.addresses().count();
    }
    let rows = subnets
        .iter()
        .filter_map(|id| snapshot.subnets.get(scope, id));
    rows.map(|subnet| Candidate {
        subnet_id: subnet.subnet_id.clone(),
        zone: subnet.zone.clone(),
        free_addresses: (subnet.cidr_block.size() as usize)
            .saturating_sub(RESERVED_ADDRESSES + used.get(&subnet.subnet_id).copied().unwrap_or(0)),
        failed: zone_faults::is_failed(snapshot, &subnet.zone),
    })
    .collect()
}

/// How many tasks of a group run or will, by zone.
pub fn spread(
    snapshot: &Snapshot,
    scope: &Scope,
    cluster: &str,
    group: &str,
) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for task in snapshot.tasks.in_scope(scope) {
        if task.cluster == cluster && task.group == group && health::is_alive(snapshot, task) {
            *counts.entry(task.zone.clone()).or_default() += 1;
        }
    }
    counts
}

/// The task of that id or ARN in the cluster.
pub fn find<'a>(snapshot: &'a Snapshot, cluster: &Cluster, text: &str) -> Option<&'a Arc<Task>> {
    let task = snapshot.tasks.get(&cluster.scope, short(text))?;
    (task.cluster == cluster.name && (task.id == text || task.arn == text)).then_some(task)
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StopTask.html>
pub fn stop(
    tx: &mut Tx,
    scope: &Scope,
    cluster: Option<&str>,
    text: &str,
    reason: Option<String>,
) -> Result<Task, Refusal> {
    let cluster = clusters::find(tx.snapshot(), scope, cluster)?.clone();
    let task = find(tx.snapshot(), &cluster, text)
        .ok_or_else(|| invalid("The referenced task was not found."))?
        .clone();
    let mut reason = reason
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "Task stopped by user".to_owned());
    if reason.chars().count() > 1024 {
        reason = reason.chars().take(1024).collect();
    }
    begin_stop(tx, &task, "UserInitiated", reason);
    Ok(tx
        .snapshot()
        .tasks
        .get(scope, &task.id)
        .map_or_else(|| Task::clone(&task), |row| Task::clone(row)))
}

/// Asks for the task's end. The containers of one that serves a load balancer or Service Connect are stopped only
/// when nothing is sent to it any more (fact SVC-4): `reconcile::task_lifecycle` sees to that.
pub fn begin_stop(tx: &mut Tx, task: &Task, code: &str, reason: String) {
    if task.desired == DesiredStatus::Stopped {
        return;
    }
    let at_once = health::registered(tx.snapshot(), task).is_empty()
        && !connect::is_called(tx.snapshot(), task);
    let stop = TaskStop {
        code: code.to_owned(),
        reason,
        stopping_at: tx.now(),
    };
    tx.update::<Task>(&task.scope, &task.id, |task| {
        task.desired = DesiredStatus::Stopped;
        task.stop = Some(stop);
        task.stop_containers = at_once;
    });
}

/// Why it ends or ended: what the control plane asked for, or else what the host reports.
pub fn stop_reason(snapshot: &Snapshot, task: &Task) -> (Option<String>, Option<String>) {
    if let Some(stop) = &task.stop {
        return (Some(stop.code.clone()), Some(stop.reason.clone()));
    }
    let status = health::status(snapshot, task);
    (
        status.and_then(|s| s.stop_code.clone()),
        status.and_then(|s| s.stopped_reason.clone()),
    )
}

/// Whether `desired` matches ListTasks' filter; PENDING has matched nothing since it was introduced.
pub fn desired_matches(task: &Task, desired: &str) -> bool {
    match desired {
        "STOPPED" => task.desired == DesiredStatus::Stopped,
        "RUNNING" => task.desired == DesiredStatus::Running,
        _ => false,
    }
}
