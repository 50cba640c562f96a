//! Tags of namespaces and services, by their ARN.

use super::{Refusal, invalid};
use crate::model::Tx;
use fogbank_types::discovery::{DiscoveryService, Namespace};
use fogbank_types::{Scope, Snapshot, Tags};

const TAGS_MAX: usize = 50;

pub fn check(resource: &str, tags: &Tags) -> Result<(), Refusal> {
    if tags.keys().any(|key| key.starts_with("aws:")) {
        return Err(invalid(
            "Tag keys that start with aws: are reserved for AWS.",
        ));
    }
    if tags.len() > TAGS_MAX {
        return Err(Refusal::TooManyTags(resource.to_owned()));
    }
    Ok(())
}

pub fn of(snapshot: &Snapshot, scope: &Scope, arn: &str) -> Result<Tags, Refusal> {
    let id = arn.rsplit('/').next().unwrap_or_default();
    let namespace = snapshot
        .namespaces
        .get(scope, id)
        .filter(|row| row.arn() == arn);
    let service = snapshot
        .discovery_services
        .get(scope, id)
        .filter(|row| row.arn() == arn);
    let tags = namespace
        .map(|row| &row.tags)
        .or(service.map(|row| &row.tags));
    tags.cloned()
        .ok_or_else(|| Refusal::ResourceNotFound(arn.to_owned()))
}

pub fn change(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    add: &Tags,
    remove: &[String],
) -> Result<(), Refusal> {
    let mut tags = of(tx.snapshot(), scope, arn)?;
    tags.extend(add.clone());
    for key in remove {
        tags.remove(key);
    }
    check(arn, &tags)?;
    let id = arn.rsplit('/').next().unwrap_or_default();
    let copy = tags.clone();
    if !tx.update::<Namespace>(scope, id, |row| row.tags = copy) {
        tx.update::<DiscoveryService>(scope, id, |row| row.tags = tags);
    }
    Ok(())
}
