//! Services: so many tasks of one definition, behind target groups, replaced by rolling deployments (facts SVC).
//!
//! The calls only say what shall be; `reconcile::service_count` starts and stops tasks until it is so.

use super::strategy::{self, StrategyChange};
use super::tasks::{self, Capacity, Placement};
use super::{
    Refusal, client, clusters, compatibility, connect, health, invalid, is_name, shift, tags,
    task_definitions, traffic,
};
use crate::model::Tx;
use crate::model::elb::{arns, usage};
use fogbank_types::alarm::AlarmState;
use fogbank_types::connect::Connected;
use fogbank_types::ecs::{
    CapacityProviderStrategyItem, Cluster, Deployment, NetworkConfiguration, RolloutState, Service,
    ServiceConnect, ServiceEvent, ServiceLoadBalancer, ServiceRegistry, ServiceStatus, Task,
    TaskDefinition,
};
use fogbank_types::rollout::{DeploymentCourse, LifecycleStage, StrategyKind};
use fogbank_types::status::TaskPhase;
use fogbank_types::{Scope, Snapshot, Tags, Timestamp};
use std::collections::HashMap;
use std::sync::Arc;

/// Events that are kept (fact SVC-11).
const EVENTS_MAX: usize = 100;
/// Deployments that are remembered when they are over.
const PAST_DEPLOYMENTS_MAX: usize = 20;
/// Service quota "Tasks per service" (fact SVC-15).
const TASKS_MAX: i32 = 5000;

/// Bounds of a rolling deployment and its circuit breaker; what is not given stays as it is.
#[derive(Debug, Clone, Default)]
pub struct DeploymentConfiguration {
    pub minimum_healthy_percent: Option<i32>,
    pub maximum_percent: Option<i32>,
    /// Enabled, rollback.
    pub circuit_breaker: Option<(bool, bool)>,
    pub strategy: StrategyChange,
}

#[derive(Debug, Clone, Default)]
pub struct NewService {
    pub name: String,
    pub cluster: Option<String>,
    pub task_definition: Option<String>,
    pub desired_count: Option<i32>,
    pub capacity: Capacity,
    pub placement: Option<Placement>,
    pub load_balancers: Vec<ServiceLoadBalancer>,
    pub configuration: DeploymentConfiguration,
    pub service_registries: Vec<ServiceRegistry>,
    pub service_connect: Option<ServiceConnect>,
    pub health_check_grace_period_seconds: Option<i32>,
    pub availability_zone_rebalancing: Option<String>,
    pub enable_execute_command: bool,
    pub enable_ecs_managed_tags: bool,
    pub propagate_tags: Option<String>,
    pub client_token: Option<String>,
    pub tags: Tags,
}

/// What is not given stays as it is.
#[derive(Debug, Clone, Default)]
pub struct ServiceUpdate {
    pub name: String,
    pub cluster: Option<String>,
    pub task_definition: Option<String>,
    pub desired_count: Option<i32>,
    pub strategy: Option<Vec<CapacityProviderStrategyItem>>,
    pub platform_version: Option<String>,
    pub placement: Option<Placement>,
    pub load_balancers: Option<Vec<ServiceLoadBalancer>>,
    pub service_registries: Option<Vec<ServiceRegistry>>,
    pub service_connect: Option<ServiceConnect>,
    pub configuration: DeploymentConfiguration,
    pub health_check_grace_period_seconds: Option<i32>,
    pub availability_zone_rebalancing: Option<String>,
    pub enable_execute_command: Option<bool>,
    pub enable_ecs_managed_tags: Option<bool>,
    pub propagate_tags: Option<String>,
    pub force_new_deployment: bool,
}

/// By name or ARN, in a cluster.
pub fn find<'a>(snapshot: &'a Snapshot, cluster: &Cluster, text: &str) -> Option<&'a Arc<Service>> {
    let name = super::short(text);
    let found = snapshot
        .services
        .get(&cluster.scope, format!("{}/{name}", cluster.name))?;
    (found.name == text || found.arn == text).then_some(found)
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateService.html>
pub fn create(tx: &mut Tx, scope: &Scope, new: NewService) -> Result<Service, Refusal> {
    let cluster = clusters::find(tx.snapshot(), scope, new.cluster.as_deref())?.clone();
    clusters::require_active(&cluster)?;
    if !is_name(&new.name) {
        return Err(invalid(
            "The specified service name is invalid. Up to 255 letters, numbers, hyphens, and underscores are allowed.",
        ));
    }
    tags::check(&new.tags)?;
    tasks::check_length("clientToken", new.client_token.as_deref(), 36)?;
    if let Some(existing) = find(tx.snapshot(), &cluster, &new.name) {
        match existing.status {
            ServiceStatus::Active
                if new.client_token.is_some() && new.client_token == existing.client_token =>
            {
                return Ok(Service::clone(existing));
            }
            ServiceStatus::Active => {
                return Err(invalid("Creation of service was not idempotent."));
            }
            ServiceStatus::Draining => {
                return Err(invalid("Unable to Start a service that is still Draining."));
            }
            ServiceStatus::Inactive => {}
        }
    }
    let wanted = new
        .task_definition
        .as_deref()
        .ok_or_else(|| client("TaskDefinition can not be blank."))?;
    let definition = task_definitions::find_active(tx.snapshot(), scope, wanted)?;
    let desired_count = checked_count(
        new.desired_count
            .ok_or_else(|| invalid("desiredCount is required for REPLICA services."))?,
    )?;
    let capacity = tasks::capacity(&cluster, &new.capacity)?;
    compatibility::check_launch(&definition, &capacity.launch_type)?;
    let placement = new.placement.as_ref();
    let network = tasks::network_of(tx.snapshot(), scope, &definition, placement)?;
    check_load_balancers(tx.snapshot(), scope, &definition, &new.load_balancers)?;
    let grace = checked_grace(
        new.health_check_grace_period_seconds,
        &new.load_balancers,
        &definition,
    )?;
    let rollout = strategy::changed(
        &Default::default(),
        &new.configuration.strategy,
        &new.load_balancers,
    )?;
    let (minimum_healthy_percent, maximum_percent) = bounds(&new.configuration, 100, 200)?;
    let rebalancing = new.availability_zone_rebalancing.unwrap_or_else(|| {
        // It needs room above the desired count (fact SVC-13).
        if maximum_percent > 100 {
            "ENABLED"
        } else {
            "DISABLED"
        }
        .to_owned()
    });
    check_rebalancing(&rebalancing, maximum_percent)?;
    let strategy = match (&capacity.provider, new.capacity.strategy.is_empty()) {
        (Some(_), true) => cluster.default_strategy.clone(),
        _ => new.capacity.strategy,
    };
    let mut service = Service {
        scope: scope.clone(),
        arn: scope.arn("ecs", &format!("service/{}/{}", cluster.name, new.name)),
        name: new.name,
        cluster: cluster.name.clone(),
        status: ServiceStatus::Active,
        task_definition_arn: definition.arn.clone(),
        desired_count,
        launch_type: capacity.provider.is_none().then_some(capacity.launch_type),
        capacity_provider_strategy: strategy,
        platform_version: capacity.platform_version,
        network,
        load_balancers: new.load_balancers,
        minimum_healthy_percent,
        maximum_percent,
        circuit_breaker: new.configuration.circuit_breaker,
        strategy: rollout,
        service_registries: new.service_registries,
        service_connect: new.service_connect,
        health_check_grace_period_seconds: grace,
        deployments: Vec::new(),
        past_deployments: Vec::new(),
        events: Vec::new(),
        availability_zone_rebalancing: rebalancing,
        enable_execute_command: new.enable_execute_command,
        enable_ecs_managed_tags: new.enable_ecs_managed_tags,
        propagate_tags: new.propagate_tags.unwrap_or_else(|| "NONE".to_owned()),
        client_token: new.client_token,
        created_at: tx.now(),
        created_by: task_definitions::root_arn(scope),
        deleted_at: None,
        tags: new.tags,
    };
    let connected = connect::plan(tx, &service, &definition)?;
    deploy(tx, &mut service, connected, None);
    tx.put(service.clone());
    Ok(service)
}

fn checked_count(count: i32) -> Result<u32, Refusal> {
    match u32::try_from(count) {
        Ok(count) if count <= TASKS_MAX as u32 => Ok(count),
        Ok(_) => Err(invalid(format!(
            "desiredCount must be at most {TASKS_MAX}."
        ))),
        Err(_) => Err(invalid("desiredCount must be 0 or more.")),
    }
}

fn checked_grace(
    seconds: Option<i32>,
    load_balancers: &[ServiceLoadBalancer],
    definition: &TaskDefinition,
) -> Result<Option<u32>, Refusal> {
    let Some(seconds) = seconds else {
        return Ok(None);
    };
    let checked = definition
        .containers
        .iter()
        .any(|c| c.health_check.is_some());
    if load_balancers.is_empty() && !checked && seconds != 0 {
        return Err(invalid(
            "Health check grace period is only valid for services configured to use load balancers",
        ));
    }
    u32::try_from(seconds)
        .map(Some)
        .map_err(|_| invalid("healthCheckGracePeriodSeconds must be between 0 and 2147483647."))
}

fn bounds(
    configuration: &DeploymentConfiguration,
    minimum: u32,
    maximum: u32,
) -> Result<(u32, u32), Refusal> {
    let read = |value: Option<i32>, otherwise: u32, what: &str| match value {
        None => Ok(otherwise),
        Some(percent) => u32::try_from(percent)
            .map_err(|_| invalid(format!("{what} must be greater than or equal to 0."))),
    };
    let minimum = read(
        configuration.minimum_healthy_percent,
        minimum,
        "minimumHealthyPercent",
    )?;
    let maximum = read(configuration.maximum_percent, maximum, "maximumPercent")?;
    if maximum < minimum || maximum == 0 {
        return Err(invalid(
            "Deployment maximumPercent must be greater than or equal to minimumHealthyPercent.",
        ));
    }
    if maximum < 100 {
        return Err(invalid("Deployment maximumPercent must be at least 100."));
    }
    Ok((minimum, maximum))
}

fn check_rebalancing(value: &str, maximum_percent: u32) -> Result<(), Refusal> {
    match value {
        "DISABLED" => Ok(()),
        "ENABLED" if maximum_percent > 100 => Ok(()),
        "ENABLED" => Err(invalid(
            "Availability Zone rebalancing requires maximumPercent to be greater than 100.",
        )),
        other => Err(invalid(format!(
            "Invalid availabilityZoneRebalancing: {other}"
        ))),
    }
}

/// Fact SVC-5.
fn check_load_balancers(
    snapshot: &Snapshot,
    scope: &Scope,
    definition: &TaskDefinition,
    load_balancers: &[ServiceLoadBalancer],
) -> Result<(), Refusal> {
    if load_balancers.len() > 5 {
        return Err(invalid("load balancers can have at most 5 items."));
    }
    for wanted in load_balancers {
        let arn = &wanted.target_group_arn;
        let group = snapshot.target_groups.get(scope, arn).ok_or_else(|| {
            invalid("Unable to assume role and validate the specified targetGroupArn. Please verify that the ECS service role being passed has the proper permissions.")
        })?;
        let mode = definition.network_mode.as_str();
        let (of_addresses, of_interfaces) = (group.target_type == "ip", mode == "awsvpc");
        if of_addresses != of_interfaces {
            return Err(invalid(format!(
                "The provided target group {arn} has target type {}, which is incompatible with the {mode} network mode specified in the task definition.",
                group.target_type
            )));
        }
        if usage::load_balancer_of(snapshot, scope, arn).is_none() {
            return Err(invalid(format!(
                "The target group with targetGroupArn {arn} does not have an associated load balancer."
            )));
        }
        check_advanced(snapshot, scope, wanted)?;
        let container = definition
            .containers
            .iter()
            .find(|c| c.name == wanted.container_name)
            .ok_or_else(|| {
                invalid(format!(
                    "The container {} does not exist in the task definition.",
                    wanted.container_name
                ))
            })?;
        if !container
            .port_mappings
            .iter()
            .any(|port| port.container_port == wanted.container_port)
        {
            return Err(invalid(format!(
                "The container {} did not have a container port {} defined.",
                wanted.container_name, wanted.container_port
            )));
        }
    }
    Ok(())
}

/// What a shift of traffic needs: another group of the right kind, and rules that forward.
fn check_advanced(
    snapshot: &Snapshot,
    scope: &Scope,
    wanted: &ServiceLoadBalancer,
) -> Result<(), Refusal> {
    let Some(advanced) = &wanted.advanced else {
        return Ok(());
    };
    let arn = &advanced.alternate_target_group_arn;
    match snapshot.target_groups.get(scope, arn) {
        Some(group) if group.target_type == "ip" && *arn != wanted.target_group_arn => {}
        _ => {
            return Err(invalid(format!(
                "The alternate target group {arn} must be another target group with target type ip."
            )));
        }
    }
    let rules = [
        Some(&advanced.production_listener_rule),
        advanced.test_listener_rule.as_ref(),
    ];
    for rule in rules.into_iter().flatten() {
        if arns::find_rule(snapshot, scope, rule).is_err() {
            return Err(invalid(format!("The listener rule {rule} was not found.")));
        }
    }
    Ok(())
}

/// The deployment that has the production traffic: the newest completed one that is still there, or else the primary.
fn serving(service: &Service) -> Option<&Deployment> {
    let completed = |d: &&Deployment| d.rollout_state == RolloutState::Completed;
    service
        .deployments
        .iter()
        .filter(completed)
        .max_by_key(|d| (d.created_at, &d.id))
        .or_else(|| service.deployments.iter().find(|d| d.primary))
}

/// Puts a new primary deployment of what the service says now in front of the others.
pub fn deploy(
    tx: &mut Tx,
    service: &mut Service,
    connected: Option<Connected>,
    rollback_of: Option<String>,
) {
    let id = format!("ecs-svc/{:019}", tx.random() % 10_000_000_000_000_000_000);
    leave_shift(tx, service);
    let source = serving(service).cloned();
    for deployment in &mut service.deployments {
        if deployment.primary {
            deployment.primary = false;
            deployment.updated_at = tx.now();
            deployment.finished_at.get_or_insert(tx.now());
        }
    }
    let shifts = service.strategy.kind != StrategyKind::Rolling && rollback_of.is_none();
    let alarms = service
        .strategy
        .alarms
        .iter()
        .filter(|alarms| alarms.enabled);
    let mut alarms = alarms.flat_map(|alarms| &alarms.names);
    let course = DeploymentCourse {
        strategy: service.strategy.clone(),
        launch_type: service.launch_type.clone(),
        capacity_provider_strategy: service.capacity_provider_strategy.clone(),
        shift: shifts.then(|| shift::begin(tx, source.as_ref())),
        alarms_ignored: alarms.any(|name| is_in_alarm(tx.snapshot(), &service.scope, name)),
        ..DeploymentCourse::default()
    };
    let deployment = Deployment {
        rollout_reason: format!("ECS deployment {id} in progress."),
        id,
        primary: true,
        task_definition_arn: service.task_definition_arn.clone(),
        network: service.network.clone(),
        load_balancers: traffic::resolve(&service.load_balancers, source.as_ref(), shifts),
        service_registries: service.service_registries.clone(),
        service_connect: service.service_connect.clone(),
        connected,
        platform_version: service.platform_version.clone(),
        rollout_state: RolloutState::InProgress,
        failed_tasks: 0,
        failed_health_checks: 0,
        last_failure_at: None,
        finished_at: None,
        rollback_of,
        course,
        created_at: tx.now(),
        updated_at: tx.now(),
    };
    service.deployments.insert(0, deployment);
}

/// A shift that another deployment takes over: all but its last stage is undone.
fn leave_shift(tx: &mut Tx, service: &mut Service) {
    let Some((deployment, current)) = shift::current(service) else {
        return;
    };
    let (deployment, done) = (deployment.clone(), current.stage >= LifecycleStage::CleanUp);
    if !done && current.source.is_some() {
        traffic::shift_production(tx, &service.scope, &deployment, 0.0);
        traffic::shift_test(tx, &service.scope, &deployment, 0.0);
    }
    for row in service.deployments.iter_mut().filter(|d| d.primary) {
        if done {
            row.rollout_state = RolloutState::Completed;
            row.rollout_reason = format!("ECS deployment {} completed.", row.id);
        }
    }
}

pub fn is_in_alarm(snapshot: &Snapshot, scope: &Scope, name: &str) -> bool {
    let alarm = snapshot.alarms.get(scope, name);
    alarm.is_some_and(|alarm| alarm.state == AlarmState::Alarm)
}

/// Moves a deployment without tasks from the list of those that are seen to the memory of those that are over.
pub fn retire(service: &mut Service, id: &str, now: Timestamp) {
    let Some(index) = service
        .deployments
        .iter()
        .position(|d| d.id == id && !d.primary)
    else {
        return;
    };
    let mut deployment = service.deployments.remove(index);
    if let Some(rollback) = &mut deployment.course.rollback {
        rollback.finished_at.get_or_insert(now);
    }
    service.past_deployments.insert(0, deployment);
    service.past_deployments.truncate(PAST_DEPLOYMENTS_MAX);
}

/// Writes an event in front of the others.
pub fn event(service: &mut Service, id: String, now: Timestamp, text: &str) {
    let message = format!("(service {}) {text}", service.name);
    service.events.insert(
        0,
        ServiceEvent {
            id,
            created_at: now,
            message,
        },
    );
    service.events.truncate(EVENTS_MAX);
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html>
pub fn update(tx: &mut Tx, scope: &Scope, update: ServiceUpdate) -> Result<Service, Refusal> {
    let cluster = clusters::find(tx.snapshot(), scope, update.cluster.as_deref())?.clone();
    let found = find(tx.snapshot(), &cluster, &update.name).ok_or(Refusal::ServiceNotFound)?;
    if found.status != ServiceStatus::Active {
        return Err(Refusal::ServiceNotActive);
    }
    let mut service = Service::clone(found);
    let (definition_arn, network) = deployed(tx.snapshot(), scope, &service, &update)?;
    let mut anew = update.force_new_deployment;
    if let Some(load_balancers) = update.load_balancers {
        anew |= load_balancers != service.load_balancers;
        service.load_balancers = load_balancers;
    }
    if let Some(registries) = update.service_registries {
        anew |= registries != service.service_registries;
        service.service_registries = registries;
    }
    if let Some(connect) = update.service_connect {
        anew |= Some(&connect) != service.service_connect.as_ref();
        service.service_connect = Some(connect);
    }
    if let Some(strategy) = update.strategy {
        let wanted = Capacity {
            strategy,
            ..Capacity::default()
        };
        let capacity = tasks::capacity(&cluster, &wanted)?;
        anew |= wanted.strategy != service.capacity_provider_strategy;
        service.launch_type = capacity.provider.is_none().then_some(capacity.launch_type);
        service.capacity_provider_strategy = wanted.strategy;
    }
    if let Some(version) = update.platform_version {
        let wanted = Capacity {
            launch_type: Some("FARGATE".to_owned()),
            platform_version: Some(version),
            ..Capacity::default()
        };
        tasks::capacity(&cluster, &wanted)?;
    }
    anew |= definition_arn != service.task_definition_arn || network != service.network;
    service.task_definition_arn = definition_arn;
    service.network = network;
    let definition =
        task_definitions::find(tx.snapshot(), scope, &service.task_definition_arn).cloned();
    if anew && let Some(definition) = &definition {
        check_load_balancers(tx.snapshot(), scope, definition, &service.load_balancers)?;
    }
    service.strategy = strategy::changed(
        &service.strategy,
        &update.configuration.strategy,
        &service.load_balancers,
    )?;
    let (minimum, maximum) = bounds(
        &update.configuration,
        service.minimum_healthy_percent,
        service.maximum_percent,
    )?;
    service.minimum_healthy_percent = minimum;
    service.maximum_percent = maximum;
    service.circuit_breaker = update
        .configuration
        .circuit_breaker
        .or(service.circuit_breaker);
    if let Some(count) = update.desired_count {
        service.desired_count = checked_count(count)?;
    }
    if let (Some(seconds), Some(definition)) =
        (update.health_check_grace_period_seconds, &definition)
    {
        service.health_check_grace_period_seconds =
            checked_grace(Some(seconds), &service.load_balancers, definition)?;
    }
    service.availability_zone_rebalancing = update
        .availability_zone_rebalancing
        .unwrap_or(service.availability_zone_rebalancing);
    check_rebalancing(&service.availability_zone_rebalancing, maximum)?;
    service.enable_execute_command = update
        .enable_execute_command
        .unwrap_or(service.enable_execute_command);
    service.enable_ecs_managed_tags = update
        .enable_ecs_managed_tags
        .unwrap_or(service.enable_ecs_managed_tags);
    service.propagate_tags = update.propagate_tags.unwrap_or(service.propagate_tags);
    for deployment in service.deployments.iter_mut().filter(|d| d.primary) {
        // A call lifts the throttle (fact SVC-10).
        deployment.last_failure_at = None;
        deployment.course.rebalancing = 0;
    }
    if anew {
        let connected = match &definition {
            Some(definition) => connect::plan(tx, &service, definition)?,
            None => None,
        };
        deploy(tx, &mut service, connected, None);
    }
    tx.put(service.clone());
    Ok(service)
}

/// Definition and network after the update.
fn deployed(
    snapshot: &Snapshot,
    scope: &Scope,
    service: &Service,
    update: &ServiceUpdate,
) -> Result<(String, NetworkConfiguration), Refusal> {
    let definition = match update.task_definition.as_deref() {
        Some(text) => {
            let found = task_definitions::find_active(snapshot, scope, text)?;
            let launch_type = service.launch_type.as_deref().unwrap_or("FARGATE");
            compatibility::check_launch(&found, launch_type)?;
            found.arn.clone()
        }
        None => service.task_definition_arn.clone(),
    };
    let network = match &update.placement {
        Some(placement) => tasks::network(snapshot, scope, Some(placement))?,
        None => service.network.clone(),
    };
    Ok((definition, network))
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteService.html>
pub fn delete(
    tx: &mut Tx,
    scope: &Scope,
    cluster: Option<&str>,
    name: &str,
    force: bool,
) -> Result<Service, Refusal> {
    let cluster = clusters::find(tx.snapshot(), scope, cluster)?.clone();
    let found = find(tx.snapshot(), &cluster, name).ok_or(Refusal::ServiceNotFound)?;
    let mut service = Service::clone(found);
    match service.status {
        ServiceStatus::Active => {}
        ServiceStatus::Draining => return Ok(service),
        ServiceStatus::Inactive => return Err(Refusal::ServiceNotFound),
    }
    if service.desired_count > 0 && !force {
        return Err(invalid(
            "The service cannot be stopped while it is scaled above 0.",
        ));
    }
    service.desired_count = 0;
    service.status = ServiceStatus::Draining;
    service.deleted_at = Some(tx.now());
    tx.put(service.clone());
    Ok(service)
}

/// Its tasks, over ones included.
pub fn tasks_of<'a>(
    snapshot: &'a Snapshot,
    service: &Service,
) -> impl Iterator<Item = &'a Arc<Task>> + use<'a> {
    let (cluster, group) = (service.cluster.clone(), format!("service:{}", service.name));
    let since = service.created_at;
    snapshot
        .tasks
        .in_scope(&service.scope)
        // An earlier service of that name may still have stopped tasks.
        .filter(move |task| {
            task.cluster == cluster && task.group == group && task.created_at >= since
        })
}

/// The tasks of all services, over ones included, from one look at the table.
pub struct TasksByService(HashMap<String, Vec<Arc<Task>>>);

impl TasksByService {
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut found: HashMap<String, Vec<Arc<Task>>> = HashMap::new();
        for task in snapshot.tasks.all() {
            if let Some(name) = task.group.strip_prefix("service:") {
                let key = Self::key(&task.scope, &task.cluster, name);
                found.entry(key).or_default().push(task.clone());
            }
        }
        Self(found)
    }

    fn key(scope: &Scope, cluster: &str, service: &str) -> String {
        format!("{}/{}/{cluster}/{service}", scope.account, scope.region)
    }

    /// As [`tasks_of`].
    pub fn live_and_over(&self, service: &Service) -> Vec<&Arc<Task>> {
        let key = Self::key(&service.scope, &service.cluster, &service.name);
        let known = self.0.get(&key).map_or(&[][..], Vec::as_slice);
        known
            .iter()
            .filter(|t| t.created_at >= service.created_at)
            .collect()
    }
}

/// Running and pending tasks of a service, or of one of its deployments.
pub fn counts(snapshot: &Snapshot, service: &Service, deployment: Option<&str>) -> (usize, usize) {
    let mut counts = (0, 0);
    for task in tasks_of(snapshot, service) {
        if deployment.is_some_and(|id| task.started_by.as_deref() != Some(id))
            || !health::is_alive(snapshot, task)
        {
            continue;
        }
        match health::phase(snapshot, task) {
            Some(TaskPhase::Running) => counts.0 += 1,
            _ => counts.1 += 1,
        }
    }
    counts
}

/// Failures at which the circuit breaker opens (fact SVC-8).
pub fn failure_threshold(desired: u32) -> u32 {
    desired.div_ceil(2).clamp(3, 200)
}

/// `status` of a service deployment (fact SVC-7).
pub fn deployment_status(service: &Service, deployment: &Deployment) -> &'static str {
    if let Some(rollback) = &deployment.course.rollback {
        return match rollback.finished_at {
            Some(_) => "ROLLBACK_SUCCESSFUL",
            None => "ROLLBACK_IN_PROGRESS",
        };
    }
    let mut all = service.deployments.iter().chain(&service.past_deployments);
    let back = all.find(|other| other.rollback_of.as_ref() == Some(&deployment.id));
    match (deployment.rollout_state, back.map(|b| b.rollout_state)) {
        (_, Some(RolloutState::InProgress)) => "ROLLBACK_IN_PROGRESS",
        (_, Some(RolloutState::Completed)) => "ROLLBACK_SUCCESSFUL",
        (_, Some(RolloutState::Failed)) => "ROLLBACK_FAILED",
        (RolloutState::Completed, None) => "SUCCESSFUL",
        (RolloutState::InProgress, None) if deployment.primary => "IN_PROGRESS",
        (RolloutState::InProgress | RolloutState::Failed, None) => "STOPPED",
    }
}
