//! Instances and their records.
//! <https://docs.aws.amazon.com/cloud-map/latest/api/API_RegisterInstance.html>

use super::{Refusal, health, invalid, namespaces, operations, services};
use crate::model::Tx;
use crate::model::route53::{changes, names};
use fogbank_types::discovery::{DiscoveryService, Instance, ServiceRouting};
use fogbank_types::route53::{RecordSet, Routing};
use fogbank_types::{Row, Scope, Snapshot};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

pub const IPV4: &str = "AWS_INSTANCE_IPV4";
pub const IPV6: &str = "AWS_INSTANCE_IPV6";
pub const PORT: &str = "AWS_INSTANCE_PORT";
pub const CNAME: &str = "AWS_INSTANCE_CNAME";
pub const INIT_HEALTH: &str = "AWS_INIT_HEALTH_STATUS";
const ATTRIBUTES_MAX: usize = 30;
const CHARACTERS_MAX: usize = 5000;
/// Quota "Instances per service".
const INSTANCES_MAX: usize = 1000;

pub fn of<'a>(
    snapshot: &'a Snapshot,
    service: &DiscoveryService,
) -> impl Iterator<Item = &'a Arc<Instance>> + use<'a> {
    snapshot
        .instances
        .with_prefix(&service.scope, &format!("{}/", service.id))
}

pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    service_id: &str,
    id: &str,
) -> Result<&'a Arc<Instance>, Refusal> {
    let service = services::find(snapshot, scope, service_id)?;
    let row = snapshot
        .instances
        .get(scope, format!("{}/{id}", service.id));
    row.ok_or_else(|| Refusal::InstanceNotFound(id.to_owned()))
}

fn check(service: &DiscoveryService, attributes: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let characters: usize = attributes
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if attributes.len() > ATTRIBUTES_MAX || characters > CHARACTERS_MAX {
        return Err(Refusal::Limit(format!(
            "An instance can have at most {ATTRIBUTES_MAX} attributes of {CHARACTERS_MAX} characters together."
        )));
    }
    for name in ["AWS_ALIAS_DNS_NAME", "AWS_EC2_INSTANCE_ID"] {
        if attributes.contains_key(name) {
            return Err(invalid(format!("{name} is not offered by this region yet")));
        }
    }
    let broken = |name: &str| invalid(format!("The value of attribute {name} is not valid."));
    if let Some(text) = attributes.get(IPV4) {
        text.parse::<Ipv4Addr>().map_err(|_| broken(IPV4))?;
    }
    if let Some(text) = attributes.get(IPV6) {
        text.parse::<Ipv6Addr>().map_err(|_| broken(IPV6))?;
    }
    if let Some(text) = attributes.get(PORT) {
        text.parse::<u16>().map_err(|_| broken(PORT))?;
    }
    if let Some(text) = attributes.get(INIT_HEALTH) {
        if !service.custom_health {
            return Err(invalid(format!(
                "{INIT_HEALTH} needs a service with HealthCheckCustomConfig."
            )));
        }
        if !matches!(text.as_str(), "HEALTHY" | "UNHEALTHY") {
            return Err(broken(INIT_HEALTH));
        }
    }
    for (kind, _) in service.dns.iter().flat_map(|dns| &dns.records) {
        let needed: &[&str] = match kind.as_str() {
            "A" => &[IPV4],
            "AAAA" => &[IPV6],
            "SRV" => &[PORT],
            _ => &[CNAME],
        };
        if let Some(missing) = needed.iter().find(|name| !attributes.contains_key(**name)) {
            return Err(invalid(format!(
                "The attribute {missing} is required: the service has a DNS record of type {kind}."
            )));
        }
    }
    Ok(())
}

/// Of an id that is there already, everything is replaced. The id of the operation.
pub fn register(
    tx: &mut Tx,
    scope: &Scope,
    service_id: &str,
    id: &str,
    attributes: BTreeMap<String, String>,
    creator_request_id: Option<String>,
) -> Result<String, Refusal> {
    let service = DiscoveryService::clone(services::find(tx.snapshot(), scope, service_id)?);
    check(&service, &attributes)?;
    let old = tx
        .snapshot()
        .instances
        .get(scope, format!("{}/{id}", service.id))
        .cloned();
    match &old {
        Some(old) => remove_records(tx, scope, old),
        None if of(tx.snapshot(), &service).count() >= INSTANCES_MAX => {
            return Err(Refusal::Limit(format!(
                "A service can have at most {INSTANCES_MAX} instances."
            )));
        }
        None => {}
    }
    let healthy = service.custom_health.then(|| match &old {
        Some(old) => old.healthy != Some(false),
        None => attributes
            .get(INIT_HEALTH)
            .is_none_or(|status| status == "HEALTHY"),
    });
    let mut row = Instance {
        scope: scope.clone(),
        service_id: service.id.clone(),
        id: id.to_owned(),
        attributes,
        creator_request_id,
        healthy,
        health_check_id: old.as_ref().and_then(|old| old.health_check_id.clone()),
        created_at: old.map_or(tx.now(), |old| old.created_at),
    };
    health::bind(tx, &service, &mut row)?;
    tx.put(row.clone());
    put_records(tx, &service, &row)?;
    touch(tx, scope, &service.id);
    let targets = [("INSTANCE", id), ("SERVICE", service.id.as_str())];
    Ok(operations::record(
        tx,
        scope,
        "REGISTER_INSTANCE",
        &targets,
        None,
    ))
}

/// Who polls sees by the revision that something changed.
fn touch(tx: &mut Tx, scope: &Scope, service_id: &str) {
    tx.update::<DiscoveryService>(scope, service_id, |row| row.revision += 1);
}

pub fn deregister(
    tx: &mut Tx,
    scope: &Scope,
    service_id: &str,
    id: &str,
) -> Result<String, Refusal> {
    let row = find(tx.snapshot(), scope, service_id, id)?.clone();
    remove_records(tx, scope, &row);
    health::unbind(tx, &row);
    tx.delete::<Instance>(scope, row.id());
    touch(tx, scope, &row.service_id);
    let targets = [("INSTANCE", id), ("SERVICE", row.service_id.as_str())];
    Ok(operations::record(
        tx,
        scope,
        "DEREGISTER_INSTANCE",
        &targets,
        None,
    ))
}

pub fn set_health(
    tx: &mut Tx,
    scope: &Scope,
    service_id: &str,
    id: &str,
    healthy: bool,
) -> Result<(), Refusal> {
    let service = DiscoveryService::clone(services::find(tx.snapshot(), scope, service_id)?);
    if !service.custom_health {
        return Err(Refusal::NoCustomHealth(service.id));
    }
    let mut row = Instance::clone(find(tx.snapshot(), scope, service_id, id)?);
    if row.healthy == Some(healthy) {
        return Ok(());
    }
    row.healthy = Some(healthy);
    tx.put(row.clone());
    put_records(tx, &service, &row)?;
    touch(tx, scope, &service.id);
    Ok(())
}

/// The zone of a service and the service's name in it.
fn place(
    snapshot: &Snapshot,
    service: &DiscoveryService,
) -> Result<Option<(String, String)>, Refusal> {
    let namespace = namespaces::find(snapshot, &service.scope, &service.namespace_id)?;
    let (Some((zone_id, _)), Some(_)) = (&namespace.zone, &service.dns) else {
        return Ok(None);
    };
    let name = names::canonical(&format!("{}.{}", service.name, namespace.name));
    let name = name.map_err(|error| invalid(error.to_string()))?;
    Ok(Some((zone_id.clone(), name)))
}

/// All records of an instance, as they shall be.
pub(super) fn put_records(
    tx: &mut Tx,
    service: &DiscoveryService,
    row: &Instance,
) -> Result<(), Refusal> {
    let (Some(dns), Some((zone_id, name))) = (&service.dns, place(tx.snapshot(), service)?) else {
        return Ok(());
    };
    let healthy = row.healthy != Some(false);
    let routing = match dns.routing {
        ServiceRouting::Multivalue => Routing::Multivalue { healthy },
        ServiceRouting::Weighted => Routing::Weighted { weight: 1, healthy },
    };
    let own_name = names::canonical(&format!("{}.{name}", row.id));
    let own_name = own_name.map_err(|error| invalid(error.to_string()));
    let record = |name: &str, kind: &str, ttl: u32, value: String, routing: &Routing| RecordSet {
        scope: service.scope.global(),
        zone_id: zone_id.clone(),
        name: name.to_owned(),
        record_type: kind.to_owned(),
        set_identifier: (*routing != Routing::Simple).then(|| row.id.clone()),
        ttl: Some(ttl),
        values: vec![value],
        alias: None,
        routing: routing.clone(),
        health_check_id: row
            .health_check_id
            .clone()
            .filter(|_| *routing != Routing::Simple),
    };
    let value = |key: &str| row.attributes.get(key).cloned();
    let mut records = Vec::new();
    for (kind, ttl) in &dns.records {
        match kind.as_str() {
            "A" => records.extend(value(IPV4).map(|v| record(&name, kind, *ttl, v, &routing))),
            "AAAA" => records.extend(value(IPV6).map(|v| record(&name, kind, *ttl, v, &routing))),
            "SRV" => {
                // The host of a SRV is the instance's own name, which has its addresses.
                let own = own_name.clone()?;
                let port = value(PORT).unwrap_or_default();
                records.push(record(
                    &name,
                    kind,
                    *ttl,
                    format!("1 1 {port} {own}"),
                    &routing,
                ));
                let own_address = |kind, v| record(&own, kind, *ttl, v, &Routing::Simple);
                records.extend(value(IPV4).map(|v| own_address("A", v)));
                records.extend(value(IPV6).map(|v| own_address("AAAA", v)));
            }
            _ => records.extend(value(CNAME).map(|v| record(&name, kind, *ttl, v, &routing))),
        }
    }
    for record in records {
        tx.put(record);
    }
    changes::submit(tx, &service.scope.global(), None);
    Ok(())
}

/// All records that stand for an instance.
pub(super) fn remove_records(tx: &mut Tx, scope: &Scope, row: &Instance) {
    let Ok(service) = services::find(tx.snapshot(), scope, &row.service_id) else {
        return;
    };
    let Ok(Some((zone_id, name))) = place(tx.snapshot(), service) else {
        return;
    };
    let own = names::canonical(&format!("{}.{name}", row.id)).ok();
    let rows = tx
        .snapshot()
        .record_sets
        .with_prefix(&scope.global(), &format!("{zone_id}/"));
    let ids: Vec<String> = rows
        .filter(|record| {
            let is_one_of_many =
                record.name == name && record.set_identifier.as_deref() == Some(&row.id);
            is_one_of_many || Some(&record.name) == own.as_ref()
        })
        .map(|record| record.id())
        .collect();
    for id in ids {
        tx.delete::<RecordSet>(&scope.global(), id);
    }
}
