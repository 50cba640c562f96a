//! DiscoverInstances.
//! <https://docs.aws.amazon.com/cloud-map/latest/api/API_DiscoverInstances.html>

use super::{Refusal, health, instances};
use fogbank_types::discovery::{DiscoveryService, Instance, Namespace};
use fogbank_types::{Scope, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The service of that name in the namespace of that name.
pub fn service<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    namespace: &str,
    service: &str,
) -> Result<(&'a Arc<Namespace>, &'a Arc<DiscoveryService>), Refusal> {
    let mut any = false;
    for row in snapshot
        .namespaces
        .in_scope(scope)
        .filter(|row| row.name == namespace)
    {
        any = true;
        let mut services = snapshot.discovery_services.in_scope(scope);
        if let Some(found) = services.find(|s| s.namespace_id == row.id && s.name == service) {
            return Ok((row, found));
        }
    }
    Err(if any {
        Refusal::ServiceNotFound(service.to_owned())
    } else {
        Refusal::NamespaceNotFound(namespace.to_owned())
    })
}

/// What a caller looks for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// `HEALTHY`, `UNHEALTHY`, `ALL`, `HEALTHY_OR_ELSE_ALL`.
    pub health: Option<String>,
    /// All must be so.
    pub parameters: BTreeMap<String, String>,
    /// All should be so, if any instance is.
    pub optional: BTreeMap<String, String>,
}

pub fn discover(
    snapshot: &Snapshot,
    service: &DiscoveryService,
    query: &Query,
) -> Vec<Arc<Instance>> {
    let has = |row: &Instance, wanted: &BTreeMap<String, String>| {
        wanted
            .iter()
            .all(|(key, value)| row.attributes.get(key) == Some(value))
    };
    let mut found: Vec<Arc<Instance>> = instances::of(snapshot, service)
        .filter(|row| has(row, &query.parameters))
        .cloned()
        .collect();
    if found.iter().any(|row| has(row, &query.optional)) {
        found.retain(|row| has(row, &query.optional));
    }
    // Without a check, all are as good.
    if !service.custom_health && service.health_check.is_none() {
        return found;
    }
    let is_healthy = |row: &Arc<Instance>| health::known(snapshot, row) != Some(false);
    match query.health.as_deref().unwrap_or("HEALTHY_OR_ELSE_ALL") {
        "HEALTHY" => found.retain(is_healthy),
        "UNHEALTHY" => found.retain(|row| !is_healthy(row)),
        "HEALTHY_OR_ELSE_ALL" if found.iter().any(is_healthy) => found.retain(is_healthy),
        _ => {}
    }
    found
}
