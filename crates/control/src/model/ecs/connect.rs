//! Service Connect: who a service is for the others of its namespace, and whom it knows (fact SVC-19).
//!
//! Called when a service is made, changed or rolled back; `reconcile::connect_registration` registers its tasks. What must
//! stay true: a name and its port mean one service in a namespace, and what a deployment knows never changes.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-connect-concepts.html>

use super::tasks::Launch;
use super::{Refusal, health, invalid};
use crate::model::Tx;
use crate::model::discovery::namespaces::{self, NewNamespace};
use crate::model::discovery::services::{self as registries, NewService};
use fogbank_types::connect::{Connected, Endpoint, Protocol, of_task};
use fogbank_types::discovery::{DiscoveryService, Namespace, NamespaceKind};
use fogbank_types::ecs::{
    PortMapping, Service, ServiceConnect, ServiceConnectService, ServiceStatus, Task,
    TaskDefinition,
};
use fogbank_types::rollout::StrategyKind;
use fogbank_types::status::TaskPhase;
use fogbank_types::{RegionConfig, Scope, Snapshot, Tags, Timestamp};
use std::collections::HashSet;
use std::sync::Arc;

/// Put on what ECS makes in Cloud Map.
const MANAGED: &str = "AmazonECSManaged";
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_TimeoutConfiguration.html>
const IDLE_SECONDS: u32 = 300;
const IDLE_SECONDS_TCP: u32 = 3600;
const REQUEST_SECONDS: u32 = 15;
/// Not documented by AWS: the registration ends, the proxies of the namespace are told, then the containers stop.
const DRAIN_MS: u64 = 5_000;
/// News need real time, however fast the region's clock goes.
const DRAIN_MIN_MS: u64 = 1_000;
const DNS_NAME_MAX: usize = 127;
const DISCOVERY_NAME_MAX: usize = 64;

/// By name or ARN. Names of private namespaces may repeat: an HTTP one comes first, then the oldest.
pub fn find_namespace<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    text: &str,
) -> Option<&'a Arc<Namespace>> {
    if text.starts_with("arn:") {
        let found = namespaces::find(snapshot, scope, text).ok()?;
        return (found.arn() == text).then_some(found);
    }
    let named = snapshot.namespaces.in_scope(scope);
    named
        .filter(|row| row.name == text)
        .min_by_key(|row| (row.kind != NamespaceKind::Http, row.created_at, &row.id))
}

/// The namespace that a cluster is given for its services: one that is there, or a new one without DNS. Its ARN; `None` if
/// the text is empty, which takes the default away.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ClusterServiceConnectDefaultsRequest.html>
pub fn default_namespace(
    tx: &mut Tx,
    scope: &Scope,
    text: &str,
) -> Result<Option<String>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Some(found) = find_namespace(tx.snapshot(), scope, text) {
        return Ok(Some(found.arn()));
    }
    if text.starts_with("arn:") {
        return Err(Refusal::NamespaceNotFound);
    }
    let new = NewNamespace {
        name: text.to_owned(),
        kind: NamespaceKind::Http,
        vpc: None,
        description: None,
        creator_request_id: None,
        soa_ttl: None,
        tags: managed(),
    };
    namespaces::create(tx, scope, new).map_err(|refusal| invalid(refusal.to_string()))?;
    let made = find_namespace(tx.snapshot(), scope, text);
    Ok(made.map(|namespace| namespace.arn()))
}

fn managed() -> Tags {
    Tags::from([(MANAGED.to_owned(), "true".to_owned())])
}

/// What a deployment of the service, as it is now, serves and knows; `None` if Service Connect is off. Makes the Cloud Map
/// services that are missing.
pub fn plan(
    tx: &mut Tx,
    service: &Service,
    definition: &TaskDefinition,
) -> Result<Option<Connected>, Refusal> {
    let connect = service.service_connect.as_ref();
    let Some(connect) = connect.filter(|connect| connect.enabled) else {
        return Ok(None);
    };
    check_strategy(service, connect)?;
    let namespace = Namespace::clone(namespace_of(tx.snapshot(), service, connect)?);
    let mut served = Vec::new();
    for wanted in &connect.services {
        served.push(endpoint(wanted, &namespace, definition)?);
    }
    check_ports(&served, definition)?;
    check_names(&served)?;
    let others = of_others(tx.snapshot(), service, &namespace);
    check_unique(&served, &others)?;
    for endpoint in &mut served {
        endpoint.discovery_id = ensure_registry(tx, service, &namespace, &endpoint.discovery_name)?;
    }
    let known = served.iter().chain(&others).cloned().collect();
    Ok(Some(Connected {
        namespace_id: namespace.id,
        namespace_name: namespace.name,
        served,
        known,
    }))
}

/// Whether a task to be launched is of a deployment with Service Connect.
pub fn of_launch(snapshot: &Snapshot, scope: &Scope, launch: &Launch) -> bool {
    let name = launch.group.strip_prefix("service:").unwrap_or_default();
    let id = format!("{}/{name}", launch.cluster);
    let service = snapshot.services.get(scope, id);
    let mut deployments = service.iter().flat_map(|service| &service.deployments);
    deployments.any(|deployment| {
        launch.started_by.as_ref() == Some(&deployment.id) && deployment.connected.is_some()
    })
}

/// It runs, and others send requests to it by their proxies.
pub fn is_called(snapshot: &Snapshot, task: &Task) -> bool {
    health::phase(snapshot, task) == Some(TaskPhase::Running)
        && of_task(snapshot, task).is_some_and(|connected| !connected.served.is_empty())
}

/// Until when the containers of such a task run on after it is to stop: the proxies hear of it, and end what they have
/// begun, in that time.
pub fn drained_at(snapshot: &Snapshot, config: &RegionConfig, task: &Task) -> Option<Timestamp> {
    let stop = task.stop.as_ref()?;
    let drain_ms = config.scaled_ms(DRAIN_MS).max(DRAIN_MIN_MS) as i64;
    is_called(snapshot, task).then(|| stop.stopping_at.plus_ms(drain_ms))
}

/// Proxies share requests evenly: they know all of a deployment or nothing.
fn check_strategy(service: &Service, connect: &ServiceConnect) -> Result<(), Refusal> {
    let gradual = matches!(
        service.strategy.kind,
        StrategyKind::Linear | StrategyKind::Canary
    );
    if gradual && !connect.services.is_empty() {
        return Err(Refusal::UnsupportedFeature(
            "The deployment strategies LINEAR and CANARY are not offered by this region for services with Service Connect endpoints yet.".to_owned(),
        ));
    }
    Ok(())
}

fn namespace_of<'a>(
    snapshot: &'a Snapshot,
    service: &Service,
    connect: &ServiceConnect,
) -> Result<&'a Arc<Namespace>, Refusal> {
    let cluster = snapshot.clusters.get(&service.scope, &service.cluster);
    let text = match (&connect.namespace, cluster) {
        (Some(given), _) => Some(given),
        (None, Some(cluster)) => cluster.service_connect_namespace.as_ref(),
        (None, None) => None,
    };
    let text = text.ok_or_else(|| {
        invalid("The Service Connect configuration names no namespace, and the cluster has no default one.")
    })?;
    find_namespace(snapshot, &service.scope, text).ok_or(Refusal::NamespaceNotFound)
}

/// The endpoint of one entry of the configuration. Its Cloud Map service is still to be found.
fn endpoint(
    wanted: &ServiceConnectService,
    namespace: &Namespace,
    definition: &TaskDefinition,
) -> Result<Endpoint, Refusal> {
    let mut ports = definition.containers.iter().flat_map(|c| &c.port_mappings);
    let port = ports
        .find(|port| port.name.as_ref() == Some(&wanted.port_name))
        .ok_or_else(|| {
            invalid(format!(
                "The portName '{}' of the Service Connect configuration was not found in the port mappings of the task definition.",
                wanted.port_name
            ))
        })?;
    if port.protocol != "tcp" {
        return Err(invalid(format!(
            "The portName '{}' of the Service Connect configuration is not of protocol tcp.",
            wanted.port_name
        )));
    }
    if wanted.client_aliases.len() > 1 {
        return Err(invalid("clientAliases can have at most 1 items."));
    }
    let discovery_name = wanted.discovery_name.as_ref().unwrap_or(&wanted.port_name);
    let default = (port.container_port, None);
    let (alias_port, dns_name) = wanted.client_aliases.first().unwrap_or(&default);
    let dns_name = match dns_name {
        Some(name) => name.clone(),
        None => format!("{discovery_name}.{}", namespace.name),
    };
    let (idle, request) = timeouts(wanted, port)?;
    Ok(Endpoint {
        dns_name,
        port: *alias_port,
        discovery_name: discovery_name.clone(),
        discovery_id: String::new(),
        container_port: port.container_port,
        ingress_port: wanted.ingress_port_override,
        protocol: protocol(port),
        idle_timeout_seconds: idle,
        request_timeout_seconds: request,
    })
}

fn protocol(port: &PortMapping) -> Protocol {
    match port.app_protocol.as_deref() {
        Some("http") => Protocol::Http,
        Some("http2") => Protocol::Http2,
        Some("grpc") => Protocol::Grpc,
        _ => Protocol::Tcp,
    }
}

fn timeouts(wanted: &ServiceConnectService, port: &PortMapping) -> Result<(u32, u32), Refusal> {
    let (idle, request) = wanted.timeouts.unwrap_or_default();
    if protocol(port) == Protocol::Tcp {
        if request.is_some() {
            return Err(invalid(
                "perRequestTimeoutSeconds can only be set for a port with an appProtocol.",
            ));
        }
        return Ok((idle.unwrap_or(IDLE_SECONDS_TCP), 0));
    }
    Ok((
        idle.unwrap_or(IDLE_SECONDS),
        request.unwrap_or(REQUEST_SECONDS),
    ))
}

/// A proxy that listens in a container's place needs a port that no container has.
fn check_ports(served: &[Endpoint], definition: &TaskDefinition) -> Result<(), Refusal> {
    let ports = definition.containers.iter().flat_map(|c| &c.port_mappings);
    let mut taken: HashSet<u16> = ports.map(|port| port.container_port).collect();
    let mut overrides = served.iter().filter_map(|endpoint| endpoint.ingress_port);
    match overrides.find(|port| !taken.insert(*port)) {
        Some(port) => Err(invalid(format!(
            "The ingressPortOverride {port} is already used by the task definition or another Service Connect service."
        ))),
        None => Ok(()),
    }
}

/// Names stand in hosts files: nothing else must come in with them.
fn check_names(served: &[Endpoint]) -> Result<(), Refusal> {
    let is_sound = |name: &str, max: usize| {
        (1..=max).contains(&name.len())
            && !name.starts_with('-')
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    for endpoint in served {
        if !is_sound(&endpoint.discovery_name, DISCOVERY_NAME_MAX) {
            return Err(invalid(format!(
                "The discoveryName '{}' can have up to {DISCOVERY_NAME_MAX} letters, numbers, underscores and hyphens, and can't start with a hyphen.",
                endpoint.discovery_name
            )));
        }
        if !is_sound(&endpoint.dns_name, DNS_NAME_MAX) {
            return Err(invalid(format!(
                "The dnsName '{}' of a Service Connect client alias is not a valid DNS name of at most {DNS_NAME_MAX} characters.",
                endpoint.dns_name
            )));
        }
    }
    Ok(())
}

/// What the other services of the namespace serve by their newest deployments, the oldest service first.
fn of_others(snapshot: &Snapshot, service: &Service, namespace: &Namespace) -> Vec<Endpoint> {
    let mut others: Vec<&Arc<Service>> = snapshot
        .services
        .in_scope(&service.scope)
        .filter(|other| other.status == ServiceStatus::Active && other.arn != service.arn)
        .collect();
    others.sort_by_key(|other| (other.created_at, &other.arn));
    let primaries = others
        .into_iter()
        .filter_map(|other| other.deployments.iter().find(|d| d.primary));
    primaries
        .filter_map(|deployment| deployment.connected.as_ref())
        .filter(|connected| connected.namespace_id == namespace.id)
        .flat_map(|connected| connected.served.iter().cloned())
        .collect()
}

/// "Each name and port mapping must be unique within the namespace."
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceConnectService.html>
fn check_unique(served: &[Endpoint], others: &[Endpoint]) -> Result<(), Refusal> {
    let mut aliases: HashSet<(String, u16)> = others.iter().map(alias).collect();
    let mut names = HashSet::new();
    for endpoint in served {
        if !aliases.insert(alias(endpoint)) {
            return Err(invalid(format!(
                "The Service Connect client alias {}:{} is already in use in the namespace.",
                endpoint.dns_name, endpoint.port
            )));
        }
        if !names.insert(&endpoint.discovery_name) {
            return Err(duplicate(&endpoint.discovery_name));
        }
    }
    Ok(())
}

fn alias(endpoint: &Endpoint) -> (String, u16) {
    (endpoint.dns_name.to_ascii_lowercase(), endpoint.port)
}

fn duplicate(name: &str) -> Refusal {
    invalid(format!(
        "The Service Connect discovery name '{name}' is already in use in the namespace."
    ))
}

/// The Cloud Map service behind a discovery name, which must be this service's own.
fn ensure_registry(
    tx: &mut Tx,
    service: &Service,
    namespace: &Namespace,
    name: &str,
) -> Result<String, Refusal> {
    let mut rows = tx.snapshot().discovery_services.in_scope(&service.scope);
    let found = rows
        .find(|row| row.namespace_id == namespace.id && row.name.eq_ignore_ascii_case(name))
        .cloned();
    drop(rows);
    match found {
        Some(row) if owner(&row) == Some(&service.arn) => return Ok(row.id.clone()),
        Some(_) => return Err(duplicate(name)),
        None => {}
    }
    let new = NewService {
        name: name.to_owned(),
        namespace_id: namespace.id.clone(),
        description: None,
        creator_request_id: Some(service.arn.clone()),
        dns: None,
        health_check: None,
        custom_health: true,
        tags: managed(),
    };
    let made = registries::create(tx, &service.scope, new);
    Ok(made.map_err(|refusal| invalid(refusal.to_string()))?.id)
}

/// The ECS service that made it for Service Connect.
pub fn owner(row: &DiscoveryService) -> Option<&String> {
    row.creator_request_id
        .as_ref()
        .filter(|_| row.tags.contains_key(MANAGED))
}

/// Whether proxies send requests to the tasks of a deployment. A blue/green deployment's tasks get none before the shift of
/// production traffic, and those of its source get none after it.
pub fn takes_traffic(service: &Service, deployment_id: &str) -> bool {
    let Some((green, shift)) = super::shift::current(service) else {
        return true;
    };
    if green.id == deployment_id {
        shift.source.is_none() || shift.production_percent > 0.0
    } else if shift.source.as_deref() == Some(deployment_id) {
        shift.production_percent < 100.0
    } else {
        true
    }
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
