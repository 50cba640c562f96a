//! Hosted zones (facts DNS-1 to DNS-3, DNS-10).

use super::changes::{self, capitals};
use super::{Refusal, delegation_sets, invalid, names, vpcs};
use crate::model::tx::Tx;
use fogbank_types::route53::{
    Change, HostedZone, QueryLoggingConfig, RecordSet, VpcAssociationAuthorization, ZoneVpc,
};
use fogbank_types::{Row, Scope, Snapshot, Tags};
use std::sync::Arc;

/// Quota of an account (fact DNS-9).
pub const ZONES_MAX: usize = 500;

/// What a caller wants.
#[derive(Clone, Debug)]
pub struct NewZone {
    pub name: String,
    pub caller_reference: String,
    pub comment: Option<String>,
    pub private: bool,
    /// Region and VPC id; makes the zone private.
    pub vpc: Option<(String, String)>,
    /// A reusable one, for a public zone.
    pub delegation_set_id: Option<String>,
}

/// With its NS and SOA.
pub fn create(tx: &mut Tx, scope: &Scope, new: NewZone) -> Result<(HostedZone, Change), Refusal> {
    let name = names::canonical(&new.name)
        .ok()
        .filter(|name| name != ".")
        .ok_or_else(|| {
            Refusal::InvalidDomainName(format!("The domain name '{}' is not valid", new.name))
        })?;
    let same = |zone: &Arc<HostedZone>| zone.caller_reference == new.caller_reference;
    if tx.snapshot().hosted_zones.in_scope(scope).any(same) {
        return Err(Refusal::HostedZoneAlreadyExists);
    }
    if tx.snapshot().hosted_zones.in_scope(scope).count() >= ZONES_MAX {
        return Err(Refusal::TooManyHostedZones);
    }
    if new.private && new.vpc.is_none() {
        return Err(invalid(
            "When you're creating a private hosted zone, you must specify a VPC.",
        ));
    }
    if new.vpc.is_some() && new.delegation_set_id.is_some() {
        return Err(invalid(
            "A private hosted zone cannot use a reusable delegation set.",
        ));
    }
    let vpcs: Vec<ZoneVpc> = match &new.vpc {
        None => Vec::new(),
        Some((region, id)) => vec![vpcs::find(tx.snapshot(), scope, region, id)?],
    };
    if let Some(vpc) = vpcs.first() {
        vpcs::check_name_is_free(tx.snapshot(), scope, vpc, &name)?;
    }
    let name_servers = match &new.delegation_set_id {
        _ if !vpcs.is_empty() => private_servers(),
        Some(id) => delegation_sets::servers_for(tx.snapshot(), scope, id, &name)?,
        None => public_servers(tx, &name),
    };
    let row = HostedZone {
        scope: scope.clone(),
        id: format!("Z0{}", capitals(tx, 18)),
        name_servers,
        name,
        caller_reference: new.caller_reference,
        comment: new.comment.filter(|comment| !comment.is_empty()),
        private: !vpcs.is_empty(),
        vpcs,
        delegation_set_id: new.delegation_set_id,
        created_at: tx.now(),
        tags: Tags::new(),
    };
    for record in apex(&row) {
        tx.put(record);
    }
    tx.put(row.clone());
    let change = changes::submit(tx, scope, None);
    Ok((row, change))
}

/// One server under each of four domains; zones of the same name share none (fact DNS-1).
pub(super) fn public_servers(tx: &mut Tx, name: &str) -> Vec<String> {
    const DOMAINS: [&str; 4] = ["com", "net", "org", "co.uk"];
    loop {
        let mut bits = tx.random();
        let mut draw = |below: u128| {
            let drawn = bits % below;
            bits /= below;
            drawn
        };
        let server = |(at, domain): (usize, &str)| {
            let number = 512 * at as u128 + draw(512);
            format!("ns-{number}.awsdns-{:02}.{domain}", draw(64))
        };
        let servers: Vec<String> = DOMAINS.into_iter().enumerate().map(server).collect();
        let taken = |zone: &Arc<HostedZone>| {
            zone.name == name && zone.name_servers.iter().any(|s| servers.contains(s))
        };
        if !tx.snapshot().hosted_zones.all().any(taken) {
            return servers;
        }
    }
}

/// The same for every private zone (fact DNS-3).
fn private_servers() -> Vec<String> {
    [
        "ns-0.awsdns-00.com",
        "ns-512.awsdns-00.net",
        "ns-1024.awsdns-00.org",
        "ns-1536.awsdns-00.co.uk",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// NS and SOA of a new zone (fact DNS-2).
fn apex(zone: &HostedZone) -> [RecordSet; 2] {
    let record = |record_type: &str, ttl, values| RecordSet {
        scope: zone.scope.clone(),
        zone_id: zone.id.clone(),
        name: zone.name.clone(),
        record_type: record_type.to_owned(),
        set_identifier: None,
        ttl: Some(ttl),
        values,
        alias: None,
        routing: Default::default(),
        health_check_id: None,
    };
    let servers: Vec<String> = zone.name_servers.iter().map(|s| format!("{s}.")).collect();
    let soa = format!(
        "{} awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400",
        servers[0]
    );
    [
        record("NS", 172_800, servers),
        record("SOA", 900, vec![soa]),
    ]
}

pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &str,
) -> Result<&'a Arc<HostedZone>, Refusal> {
    let row = snapshot.hosted_zones.get(scope, id);
    row.ok_or_else(|| Refusal::NoSuchHostedZone(id.to_owned()))
}

/// The records of a zone, in no order that matters.
pub fn records<'a>(
    snapshot: &'a Snapshot,
    zone: &HostedZone,
) -> impl Iterator<Item = &'a Arc<RecordSet>> + use<'a> {
    snapshot
        .record_sets
        .with_prefix(&zone.scope, &format!("{}/", zone.id))
}

/// Whether a record is one of the two that a zone cannot be without.
pub fn is_required(zone: &HostedZone, record: &RecordSet) -> bool {
    record.name == zone.name && matches!(record.record_type.as_str(), "NS" | "SOA")
}

/// A namespace's zone is changed by Cloud Map only.
/// <https://docs.aws.amazon.com/cloud-map/latest/dg/creating-namespaces.html>
pub fn check_owner(snapshot: &Snapshot, id: &str) -> Result<(), Refusal> {
    match crate::model::discovery::namespaces::owner(snapshot, id) {
        None => Ok(()),
        Some(namespace) => Err(Refusal::OwnedByCloudMap {
            zone_id: id.to_owned(),
            namespace_arn: namespace.arn(),
        }),
    }
}

/// Only a zone with no records of its own (fact DNS-10).
pub fn delete(tx: &mut Tx, scope: &Scope, id: &str) -> Result<Change, Refusal> {
    let zone = HostedZone::clone(find(tx.snapshot(), scope, id)?);
    check_owner(tx.snapshot(), id)?;
    let rows: Vec<RecordSet> = records(tx.snapshot(), &zone)
        .map(|record| RecordSet::clone(record))
        .collect();
    if rows.iter().any(|record| !is_required(&zone, record)) {
        return Err(Refusal::HostedZoneNotEmpty);
    }
    if super::signing::keys(tx.snapshot(), scope, id)
        .next()
        .is_some()
    {
        return Err(Refusal::SigningKeysLeft);
    }
    for record in &rows {
        tx.delete::<RecordSet>(scope, record.id());
    }
    delete_settings(tx, scope, id);
    tx.delete::<HostedZone>(scope, id);
    Ok(changes::submit(tx, scope, None))
}

/// What was configured for a zone goes with it.
fn delete_settings(tx: &mut Tx, scope: &Scope, id: &str) {
    let snapshot = tx.snapshot();
    let authorizations = snapshot
        .vpc_association_authorizations
        .with_prefix(scope, &format!("{id}/"));
    let authorizations: Vec<String> = authorizations.map(|row| row.id()).collect();
    let configs = snapshot.query_logging_configs.in_scope(scope);
    let configs = configs.filter(|row| row.zone_id == id);
    let configs: Vec<String> = configs.map(|row| row.id.clone()).collect();
    for id in authorizations {
        tx.delete::<VpcAssociationAuthorization>(scope, id);
    }
    for id in configs {
        tx.delete::<QueryLoggingConfig>(scope, id);
    }
}

/// `None` clears it.
pub fn set_comment(
    tx: &mut Tx,
    scope: &Scope,
    id: &str,
    comment: Option<String>,
) -> Result<HostedZone, Refusal> {
    let mut row = HostedZone::clone(find(tx.snapshot(), scope, id)?);
    row.comment = comment.filter(|comment| !comment.is_empty());
    tx.put(row.clone());
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{new_zone, record, scope, zone};
    use super::*;

    #[test]
    fn a_public_zone_has_four_servers_and_its_apex() {
        let mut tx = Tx::for_test();
        let row = zone(&mut tx, "Example.TEST");
        assert_eq!(row.name, "example.test.");
        let domains: Vec<_> = row
            .name_servers
            .iter()
            .map(|s| s.splitn(3, '.').nth(2).unwrap())
            .collect();
        assert_eq!(domains, ["com", "net", "org", "co.uk"]);
        let kinds: Vec<_> = records(tx.snapshot(), &row)
            .map(|r| (r.record_type.clone(), r.ttl))
            .collect();
        assert_eq!(
            kinds,
            [
                ("NS".to_owned(), Some(172_800)),
                ("SOA".to_owned(), Some(900))
            ]
        );
        assert_eq!(tx.snapshot().changes.len(), 1);
    }

    #[test]
    fn zones_of_one_name_have_different_servers() {
        let mut tx = Tx::for_test();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..20 {
            for server in zone(&mut tx, "example.test").name_servers {
                assert!(seen.insert(server));
            }
        }
    }

    #[test]
    fn refusals() {
        let mut tx = Tx::for_test();
        create(&mut tx, &scope(), new_zone("example.test", "r")).unwrap();
        let again = create(&mut tx, &scope(), new_zone("other.test", "r"));
        assert_eq!(again.unwrap_err(), Refusal::HostedZoneAlreadyExists);
        for name in ["", ".", "a..b", "a b", "ä.test"] {
            let refused = create(&mut tx, &scope(), new_zone(name, name));
            assert!(
                matches!(refused, Err(Refusal::InvalidDomainName(_))),
                "{name}"
            );
        }
        let private = NewZone {
            private: true,
            ..new_zone("p.test", "p")
        };
        assert!(create(&mut tx, &scope(), private).is_err());
        let lost = NewZone {
            vpc: Some(("us-east-1".to_owned(), "vpc-00000000".to_owned())),
            ..new_zone("p.test", "p")
        };
        assert!(matches!(
            create(&mut tx, &scope(), lost),
            Err(Refusal::InvalidVpcId(_))
        ));
        assert!(find(tx.snapshot(), &scope(), "Z").is_err());
        let other_account = Scope::new("111111111111", "global");
        assert_eq!(
            tx.snapshot().hosted_zones.in_scope(&other_account).count(),
            0
        );
    }

    #[test]
    fn only_an_empty_zone_is_deleted() {
        let mut tx = Tx::for_test();
        let row = zone(&mut tx, "example.test");
        let own = record(&row.id, "www.example.test.", "A");
        tx.put(own.clone());
        assert_eq!(
            delete(&mut tx, &scope(), &row.id).unwrap_err(),
            Refusal::HostedZoneNotEmpty
        );
        tx.delete::<RecordSet>(&scope(), fogbank_types::Row::id(&own));
        delete(&mut tx, &scope(), &row.id).unwrap();
        assert!(tx.snapshot().record_sets.is_empty() && tx.snapshot().hosted_zones.is_empty());
        let again = delete(&mut tx, &scope(), &row.id);
        assert_eq!(again.unwrap_err(), Refusal::NoSuchHostedZone(row.id));
    }

    #[test]
    fn a_comment_comes_and_goes() {
        let mut tx = Tx::for_test();
        let id = zone(&mut tx, "example.test").id;
        let set = |tx: &mut Tx, text: &str| {
            set_comment(tx, &scope(), &id, Some(text.to_owned()))
                .unwrap()
                .comment
        };
        assert_eq!(set(&mut tx, "hello").as_deref(), Some("hello"));
        assert_eq!(set(&mut tx, ""), None);
    }
}
