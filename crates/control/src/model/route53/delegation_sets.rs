//! Reusable delegation sets: four name servers that zones share.
//! <https://docs.aws.amazon.com/Route53/latest/APIReference/API_CreateReusableDelegationSet.html>

use super::changes::capitals;
use super::listing::Page;
use super::{Refusal, names, zones};
use crate::model::tx::Tx;
use fogbank_types::route53::{DelegationSet, HostedZone};
use fogbank_types::{Scope, Snapshot};
use std::sync::Arc;

/// Quota "Reusable delegation sets" of an account.
pub const SETS_MAX: usize = 100;

/// Quota "Hosted zones that can use the same reusable delegation set".
pub const ZONES_MAX: usize = 100;

/// A new one, or the servers of a zone made reusable.
pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    caller_reference: &str,
    zone_id: Option<&str>,
) -> Result<DelegationSet, Refusal> {
    let rows = || tx.snapshot().delegation_sets.in_scope(scope);
    if rows().any(|row| row.caller_reference == caller_reference) {
        return Err(Refusal::DelegationSetAlreadyCreated);
    }
    if rows().count() >= SETS_MAX {
        return Err(Refusal::LimitsExceeded(format!(
            "Limits Exceeded: MAX_REUSABLE_DELEGATION_SETS_BY_OWNER - Cannot have more than {SETS_MAX} reusable delegation sets"
        )));
    }
    let zone = zone_id
        .map(|id| own_servers(tx.snapshot(), scope, id))
        .transpose()?;
    let name_servers = match &zone {
        Some(zone) => zone.name_servers.clone(),
        None => zones::public_servers(tx, ""),
    };
    let row = DelegationSet {
        scope: scope.clone(),
        id: format!("N0{}", capitals(tx, 18)),
        caller_reference: caller_reference.to_owned(),
        name_servers,
    };
    if let Some(zone) = zone {
        tx.put(HostedZone {
            delegation_set_id: Some(row.id.clone()),
            ..zone
        });
    }
    tx.put(row.clone());
    Ok(row)
}

/// A public zone whose servers are its own.
fn own_servers(snapshot: &Snapshot, scope: &Scope, id: &str) -> Result<HostedZone, Refusal> {
    let zone =
        zones::find(snapshot, scope, id).map_err(|_| Refusal::HostedZoneNotFound(id.to_owned()))?;
    if zone.private {
        return Err(Refusal::InvalidArgument(
            "A private hosted zone has no delegation set that could be reusable".to_owned(),
        ));
    }
    match &zone.delegation_set_id {
        Some(set) => Err(Refusal::DelegationSetAlreadyReusable(set.clone())),
        None => Ok(HostedZone::clone(zone)),
    }
}

pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &str,
) -> Result<&'a Arc<DelegationSet>, Refusal> {
    let row = snapshot.delegation_sets.get(scope, id);
    row.ok_or_else(|| Refusal::NoSuchDelegationSet(id.to_owned()))
}

/// By id, from the marker on.
pub fn list(
    snapshot: &Snapshot,
    scope: &Scope,
    marker: Option<&str>,
    size: usize,
) -> Page<Arc<DelegationSet>> {
    let rows = snapshot.delegation_sets.in_scope(scope);
    let from = marker.unwrap_or("");
    Page::cut(rows.filter(|row| row.id.as_str() >= from).cloned(), size)
}

/// Only one that no zone uses.
pub fn delete(tx: &mut Tx, scope: &Scope, id: &str) -> Result<(), Refusal> {
    find(tx.snapshot(), scope, id)?;
    if users(tx.snapshot(), scope, id).next().is_some() {
        return Err(Refusal::DelegationSetInUse(id.to_owned()));
    }
    tx.delete::<DelegationSet>(scope, id);
    Ok(())
}

fn users<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &str,
) -> impl Iterator<Item = &'a Arc<HostedZone>> {
    let id = id.to_owned();
    let rows = snapshot.hosted_zones.in_scope(scope);
    rows.filter(move |zone| zone.delegation_set_id.as_ref() == Some(&id))
}

/// The servers of a set for a new zone: no zone of the same name, nor its parent or child, may have any of them.
pub fn servers_for(
    snapshot: &Snapshot,
    scope: &Scope,
    id: &str,
    name: &str,
) -> Result<Vec<String>, Refusal> {
    let servers = find(snapshot, scope, id)?.name_servers.clone();
    if users(snapshot, scope, id).count() >= ZONES_MAX {
        return Err(Refusal::LimitsExceeded(format!(
            "Limits Exceeded: MAX_ZONES_BY_REUSABLE_DELEGATION_SET - Cannot create more than {ZONES_MAX} hosted zones with the same reusable delegation set"
        )));
    }
    let near = |zone: &&Arc<HostedZone>| {
        names::is_within(&zone.name, name) || names::is_within(name, &zone.name)
    };
    let shares = |zone: &&Arc<HostedZone>| zone.name_servers.iter().any(|s| servers.contains(s));
    let mut public = snapshot.hosted_zones.all().filter(|zone| !zone.private);
    match public.find(|zone| near(zone) && shares(zone)) {
        Some(zone) => Err(Refusal::ConflictingServers(zone.name.clone())),
        None => Ok(servers),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{new_zone, scope, zone};
    use super::super::zones::NewZone;
    use super::*;

    fn zone_of(tx: &mut Tx, name: &str, set: &str) -> Result<HostedZone, Refusal> {
        let reference = tx.hex(16);
        let new = NewZone {
            delegation_set_id: Some(set.to_owned()),
            ..new_zone(name, &reference)
        };
        zones::create(tx, &scope(), new).map(|(zone, _)| zone)
    }

    #[test]
    fn zones_share_the_servers_of_a_set_until_they_are_gone() {
        let mut tx = Tx::for_test();
        let set = create(&mut tx, &scope(), "r", None).unwrap();
        let a = zone_of(&mut tx, "a.test", &set.id).unwrap();
        let b = zone_of(&mut tx, "b.test", &set.id).unwrap();
        assert_eq!(a.name_servers, set.name_servers);
        assert_eq!(a.name_servers, b.name_servers);
        for id in [&a.id, &b.id] {
            let refused = delete(&mut tx, &scope(), &set.id);
            assert_eq!(refused, Err(Refusal::DelegationSetInUse(set.id.clone())));
            zones::delete(&mut tx, &scope(), id).unwrap();
        }
        delete(&mut tx, &scope(), &set.id).unwrap();
        assert!(matches!(
            zone_of(&mut tx, "a.test", &set.id),
            Err(Refusal::NoSuchDelegationSet(_))
        ));
    }

    #[test]
    fn names_that_overlap_share_no_server() {
        let mut tx = Tx::for_test();
        let set = create(&mut tx, &scope(), "r", None).unwrap();
        zone_of(&mut tx, "b.a.test", &set.id).unwrap();
        for name in ["b.a.test", "a.test", "c.b.a.test"] {
            let refused = zone_of(&mut tx, name, &set.id);
            assert!(
                matches!(refused, Err(Refusal::ConflictingServers(_))),
                "{name}"
            );
        }
        zone_of(&mut tx, "c.a.test", &set.id).unwrap();
    }

    #[test]
    fn a_zones_servers_become_reusable_once() {
        let mut tx = Tx::for_test();
        let own = zone(&mut tx, "a.test");
        let set = create(&mut tx, &scope(), "r", Some(&own.id)).unwrap();
        assert_eq!(set.name_servers, own.name_servers);
        let refused = create(&mut tx, &scope(), "q", Some(&own.id));
        assert_eq!(refused, Err(Refusal::DelegationSetAlreadyReusable(set.id)));
        let refused = create(&mut tx, &scope(), "r", None);
        assert_eq!(refused, Err(Refusal::DelegationSetAlreadyCreated));
        let refused = create(&mut tx, &scope(), "s", Some("Z"));
        assert_eq!(refused, Err(Refusal::HostedZoneNotFound("Z".to_owned())));
    }
}
