//! Tags of parameters; nothing else of Systems Manager is here to be tagged.

use super::{Refusal, invalid, names};
use crate::model::Tx;
use fogbank_types::ssm::Parameter;
use fogbank_types::{Scope, Snapshot, Tags};
use std::sync::Arc;

const TAGS_MAX: usize = 50;

pub fn check(tags: &Tags) -> Result<(), Refusal> {
    if tags
        .keys()
        .any(|key| key.to_ascii_lowercase().starts_with("aws:"))
    {
        return Err(invalid(
            "Tag keys that start with aws: are reserved for AWS.",
        ));
    }
    if tags.len() > TAGS_MAX {
        return Err(Refusal::TooManyTags);
    }
    Ok(())
}

pub fn of(snapshot: &Snapshot, scope: &Scope, kind: &str, name: &str) -> Result<Tags, Refusal> {
    if kind != "Parameter" {
        return Err(Refusal::ResourceType);
    }
    Ok(named(snapshot, scope, name)?.tags.clone())
}

/// By its name alone.
fn named<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    name: &str,
) -> Result<&'a Arc<Parameter>, Refusal> {
    let row = names::row(snapshot, scope, name).filter(|_| !name.starts_with("arn:"));
    row.ok_or(Refusal::ResourceId)
}

pub fn change(
    tx: &mut Tx,
    scope: &Scope,
    kind: &str,
    name: &str,
    add: &Tags,
    remove: &[String],
) -> Result<(), Refusal> {
    let mut tags = of(tx.snapshot(), scope, kind, name)?;
    tags.extend(add.clone());
    for key in remove {
        tags.remove(key);
    }
    check(&tags)?;
    let name = named(tx.snapshot(), scope, name)?.name.clone();
    tx.update::<Parameter>(scope, name, |row| row.tags = tags);
    Ok(())
}
