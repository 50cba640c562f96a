//! Namespaces and the zones that they own.

use super::{Refusal, bare, invalid, letters, operations};
use crate::model::Tx;
use crate::model::route53::zones::{self, NewZone};
use fogbank_types::discovery::{DiscoveryService, Namespace, NamespaceKind};
use fogbank_types::route53::RecordSet;
use fogbank_types::{Row, Scope, Snapshot, Tags};
use std::sync::Arc;

/// Quota "Namespaces per Region".
const NAMESPACES_MAX: usize = 50;
pub const SOA_TTL: u32 = 15;

#[derive(Clone, Debug)]
pub struct NewNamespace {
    pub name: String,
    pub kind: NamespaceKind,
    pub vpc: Option<String>,
    pub description: Option<String>,
    pub creator_request_id: Option<String>,
    pub soa_ttl: Option<u32>,
    pub tags: Tags,
}

pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &str,
) -> Result<&'a Arc<Namespace>, Refusal> {
    let row = snapshot.namespaces.get(scope, bare(id));
    row.ok_or_else(|| Refusal::NamespaceNotFound(id.to_owned()))
}

/// The namespace whose zone that is.
pub fn owner<'a>(snapshot: &'a Snapshot, zone_id: &str) -> Option<&'a Arc<Namespace>> {
    let owns = |row: &&Arc<Namespace>| row.zone.as_ref().is_some_and(|(id, _)| id == zone_id);
    snapshot.namespaces.all().find(owns)
}

/// Whether `old` stands in the way of a new one of its name.
fn collides(snapshot: &Snapshot, old: &Namespace, new: &NewNamespace) -> bool {
    if old.name != new.name || old.kind != new.kind {
        return false;
    }
    let vpcs = old.zone.as_ref().and_then(|(id, _)| {
        let zone = snapshot.hosted_zones.get(&old.scope.global(), id)?;
        Some(
            zone.vpcs
                .iter()
                .any(|vpc| new.vpc.as_deref() == Some(vpc.vpc_id.as_str())),
        )
    });
    // Private ones of one name may stand in different VPCs.
    vpcs.unwrap_or(true) || new.kind != NamespaceKind::DnsPrivate
}

/// The id of the operation. If the zone cannot be made, the operation fails, not the call.
pub fn create(tx: &mut Tx, scope: &Scope, new: NewNamespace) -> Result<String, Refusal> {
    let snapshot = tx.snapshot();
    let rows: Vec<_> = snapshot.namespaces.in_scope(scope).collect();
    if let Some(old) = rows.iter().find(|old| collides(snapshot, old, &new)) {
        return Err(Refusal::NamespaceExists {
            name: new.name,
            id: old.id.clone(),
            creator_request_id: old.creator_request_id.clone(),
        });
    }
    if rows.len() >= NAMESPACES_MAX {
        return Err(Refusal::Limit(
            "You have reached the maximum number of namespaces.".to_owned(),
        ));
    }
    super::tags::check(&new.name, &new.tags)?;
    let id = format!("ns-{}", letters(tx, 16));
    let targets = [("NAMESPACE", id.as_str())];
    let zone = match new.kind {
        NamespaceKind::Http => None,
        kind => {
            let wanted = NewZone {
                name: new.name.clone(),
                caller_reference: format!("cloud-map-{id}"),
                comment: Some("Created by AWS Cloud Map".to_owned()),
                private: kind == NamespaceKind::DnsPrivate,
                vpc: new.vpc.clone().map(|vpc| (scope.region.clone(), vpc)),
                delegation_set_id: None,
            };
            match zones::create(tx, &scope.global(), wanted) {
                Ok((zone, _)) => {
                    let ttl = new.soa_ttl.unwrap_or(SOA_TTL);
                    set_soa(tx, scope, &zone.id, ttl);
                    Some((zone.id, ttl))
                }
                Err(refusal) => {
                    let error = ("CANNOT_CREATE_HOSTED_ZONE".to_owned(), refusal.to_string());
                    return Ok(operations::record(
                        tx,
                        scope,
                        "CREATE_NAMESPACE",
                        &targets,
                        Some(error),
                    ));
                }
            }
        }
    };
    let operation = operations::record(tx, scope, "CREATE_NAMESPACE", &targets, None);
    tx.put(Namespace {
        scope: scope.clone(),
        id,
        name: new.name,
        kind: new.kind,
        description: new.description,
        creator_request_id: new.creator_request_id,
        zone,
        created_at: tx.now(),
        tags: new.tags,
    });
    Ok(operation)
}

/// The time to live of negative answers is the smaller of the record's own and its last number.
fn set_soa(tx: &mut Tx, scope: &Scope, zone_id: &str, ttl: u32) {
    let rows = tx
        .snapshot()
        .record_sets
        .with_prefix(&scope.global(), &format!("{zone_id}/"));
    let soa = rows
        .filter(|row| row.record_type == "SOA")
        .map(|row| row.id())
        .next();
    if let Some(id) = soa {
        tx.update::<RecordSet>(&scope.global(), id, |row| row.ttl = Some(ttl));
    }
}

pub fn update(
    tx: &mut Tx,
    scope: &Scope,
    id: &str,
    kind: NamespaceKind,
    description: Option<String>,
    soa_ttl: Option<u32>,
) -> Result<String, Refusal> {
    let mut row = Namespace::clone(find(tx.snapshot(), scope, id)?);
    if row.kind != kind {
        return Err(invalid(format!("The namespace {id} is of another type.")));
    }
    row.description = description.or(row.description);
    if let (Some(ttl), Some((zone_id, own))) = (soa_ttl, &mut row.zone) {
        *own = ttl;
        let zone_id = zone_id.clone();
        set_soa(tx, scope, &zone_id, ttl);
    }
    let id = row.id.clone();
    tx.put(row);
    Ok(operations::record(
        tx,
        scope,
        "UPDATE_NAMESPACE",
        &[("NAMESPACE", &id)],
        None,
    ))
}

pub fn delete(tx: &mut Tx, scope: &Scope, id: &str) -> Result<String, Refusal> {
    let row = Namespace::clone(find(tx.snapshot(), scope, id)?);
    let of_it = |service: &Arc<DiscoveryService>| service.namespace_id == row.id;
    if tx.snapshot().discovery_services.in_scope(scope).any(of_it) {
        return Err(Refusal::InUse(
            "Namespace has associated services; please delete the services before deleting the namespace",
        ));
    }
    // First the row, whose zone is its own; then the zone is as any other.
    tx.delete::<Namespace>(scope, &row.id);
    if let Some((zone_id, _)) = &row.zone
        && let Err(refusal) = zones::delete(tx, &scope.global(), zone_id)
    {
        let error = ("CANNOT_DELETE_HOSTED_ZONE".to_owned(), refusal.to_string());
        let targets = [("NAMESPACE", row.id.as_str())];
        tx.put(row.clone());
        return Ok(operations::record(
            tx,
            scope,
            "DELETE_NAMESPACE",
            &targets,
            Some(error),
        ));
    }
    Ok(operations::record(
        tx,
        scope,
        "DELETE_NAMESPACE",
        &[("NAMESPACE", &row.id)],
        None,
    ))
}
