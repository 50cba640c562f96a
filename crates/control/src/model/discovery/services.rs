//! Services of a namespace.

use super::{Refusal, bare, health, instances, invalid, letters, namespaces, operations};
use crate::model::Tx;
use fogbank_types::discovery::{
    DiscoveryService, Instance, NamespaceKind, ServiceDns, ServiceHealthCheck, ServiceRouting,
};
use fogbank_types::{Scope, Snapshot, Tags};
use std::collections::BTreeMap;
use std::sync::Arc;

const ATTRIBUTES_MAX: usize = 30;

#[derive(Clone, Debug)]
pub struct NewService {
    pub name: String,
    pub namespace_id: String,
    pub description: Option<String>,
    pub creator_request_id: Option<String>,
    pub dns: Option<ServiceDns>,
    pub custom_health: bool,
    pub health_check: Option<ServiceHealthCheck>,
    pub tags: Tags,
}

pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &str,
) -> Result<&'a Arc<DiscoveryService>, Refusal> {
    let row = snapshot.discovery_services.get(scope, bare(id));
    row.ok_or_else(|| Refusal::ServiceNotFound(id.to_owned()))
}

fn check_dns(dns: &ServiceDns) -> Result<(), Refusal> {
    let has = |kind: &str| dns.records.iter().any(|(own, _)| own == kind);
    if dns.records.is_empty() {
        return Err(invalid("At least one DNS record must be specified."));
    }
    if has("CNAME") && dns.records.len() > 1 {
        return Err(invalid(
            "A CNAME record can't be combined with other DNS records.",
        ));
    }
    if has("CNAME") && dns.routing == ServiceRouting::Multivalue {
        return Err(invalid(
            "The routing policy must be WEIGHTED for a CNAME record.",
        ));
    }
    Ok(())
}

pub fn create(tx: &mut Tx, scope: &Scope, new: NewService) -> Result<DiscoveryService, Refusal> {
    let namespace = namespaces::find(tx.snapshot(), scope, &new.namespace_id)?.clone();
    if new.dns.is_some() && namespace.kind == NamespaceKind::Http {
        return Err(invalid(
            "A service of an HTTP namespace can't have a DNS configuration.",
        ));
    }
    if let Some(dns) = &new.dns {
        check_dns(dns)?;
    }
    if let Some(check) = &new.health_check {
        health::check(namespace.kind, new.dns.as_ref(), new.custom_health, check)?;
    }
    super::tags::check(&new.name, &new.tags)?;
    let of_name = |row: &&Arc<DiscoveryService>| {
        row.namespace_id == namespace.id && row.name.eq_ignore_ascii_case(&new.name)
    };
    if let Some(old) = tx
        .snapshot()
        .discovery_services
        .in_scope(scope)
        .find(of_name)
    {
        return Err(Refusal::ServiceExists {
            name: new.name,
            id: old.id.clone(),
            arn: old.arn(),
            creator_request_id: old.creator_request_id.clone(),
        });
    }
    let row = DiscoveryService {
        scope: scope.clone(),
        id: format!("srv-{}", letters(tx, 16)),
        name: new.name,
        namespace_id: namespace.id.clone(),
        description: new.description,
        creator_request_id: new.creator_request_id,
        dns: new.dns,
        custom_health: new.custom_health,
        health_check: new.health_check,
        revision: 1,
        attributes: BTreeMap::new(),
        created_at: tx.now(),
        tags: new.tags,
    };
    tx.put(row.clone());
    Ok(row)
}

/// `records`: all that its instances have from now on. A health check that is not named is no more.
/// <https://docs.aws.amazon.com/cloud-map/latest/api/API_UpdateService.html>
pub fn update(
    tx: &mut Tx,
    scope: &Scope,
    id: &str,
    description: Option<String>,
    records: Option<Vec<(String, u32)>>,
    health_check: Option<ServiceHealthCheck>,
) -> Result<String, Refusal> {
    let mut row = DiscoveryService::clone(find(tx.snapshot(), scope, id)?);
    let all: Vec<Arc<Instance>> = instances::of(tx.snapshot(), &row).cloned().collect();
    row.description = description.or(row.description);
    if let Some(check) = &health_check {
        let namespace = namespaces::find(tx.snapshot(), scope, &row.namespace_id)?.kind;
        health::check(namespace, row.dns.as_ref(), row.custom_health, check)?;
    }
    row.health_check = health_check;
    if let Some(records) = records {
        let Some(dns) = &mut row.dns else {
            return Err(invalid("The service has no DNS configuration to change."));
        };
        dns.records = records;
        check_dns(dns)?;
        for instance in &all {
            instances::remove_records(tx, scope, instance);
        }
    }
    tx.put(row.clone());
    for instance in all {
        let mut instance = Arc::unwrap_or_clone(instance);
        health::bind(tx, &row, &mut instance)?;
        tx.put(instance.clone());
        instances::put_records(tx, &row, &instance)?;
    }
    Ok(operations::record(
        tx,
        scope,
        "UPDATE_SERVICE",
        &[("SERVICE", &row.id)],
        None,
    ))
}

pub fn delete(tx: &mut Tx, scope: &Scope, id: &str) -> Result<(), Refusal> {
    let row = find(tx.snapshot(), scope, id)?.clone();
    if instances::of(tx.snapshot(), &row).next().is_some() {
        return Err(Refusal::InUse(
            "Service contains registered instances; delete the instances before deleting the service",
        ));
    }
    tx.delete::<DiscoveryService>(scope, &row.id);
    Ok(())
}

pub fn change_attributes(
    tx: &mut Tx,
    scope: &Scope,
    id: &str,
    put: BTreeMap<String, String>,
    remove: &[String],
) -> Result<(), Refusal> {
    let mut row = DiscoveryService::clone(find(tx.snapshot(), scope, id)?);
    row.attributes.extend(put);
    for key in remove {
        row.attributes.remove(key);
    }
    if row.attributes.len() > ATTRIBUTES_MAX {
        return Err(Refusal::TooManyAttributes);
    }
    tx.put(row);
    Ok(())
}
