//! Tags of scalable targets.

use super::{Refusal, invalid};
use crate::model::Tx;
use fogbank_types::scaling::ScalableTarget;
use fogbank_types::{Scope, Snapshot, Tags};
use std::sync::Arc;

const TAGS_MAX: usize = 50;

pub fn check(tags: &Tags) -> Result<(), Refusal> {
    if tags.len() > TAGS_MAX {
        return Err(Refusal::TooManyTags);
    }
    match tags
        .keys()
        .any(|key| key.to_ascii_lowercase().starts_with("aws:"))
    {
        true => Err(invalid("Tag keys must not start with aws:")),
        false => Ok(()),
    }
}

/// By ARN.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    arn: &str,
) -> Result<&'a Arc<ScalableTarget>, Refusal> {
    snapshot
        .scalable_targets
        .in_scope(scope)
        .find(|target| target.arn == arn)
        .ok_or_else(|| Refusal::NoSuchResource(arn.to_owned()))
}

pub fn change(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    add: Tags,
    remove: &[String],
) -> Result<(), Refusal> {
    let mut target = ScalableTarget::clone(find(tx.snapshot(), scope, arn)?);
    target.tags.retain(|key, _| !remove.contains(key));
    target.tags.extend(add);
    check(&target.tags)?;
    tx.put(target);
    Ok(())
}
