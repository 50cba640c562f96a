//! What all of IAM's resources have in common: they are found by name (policies by ARN), and most have tags.
//!
//! Called by the resources' own files and by `api/iam`.

use super::{Refusal, merged};
use crate::model::Tx;
use fogbank_types::iam::{Group, InstanceProfile, OidcProvider, Policy, Role, User};
use fogbank_types::{Row, Scope, Snapshot, Tags};
use std::sync::Arc;

pub trait Entity: Row + Clone {
    /// What is said of one that isn't there.
    fn missing(id: &str) -> String;
}

pub trait Tagged: Entity {
    fn tags(&self) -> &Tags;
    fn tags_mut(&mut self) -> &mut Tags;
}

macro_rules! entities {
    ($($row:ty => $missing:literal;)*) => {
        $(impl Entity for $row {
            fn missing(id: &str) -> String {
                format!($missing, id)
            }
        })*
    };
}

macro_rules! tagged {
    ($($row:ty),*) => {
        $(impl Tagged for $row {
            fn tags(&self) -> &Tags {
                &self.tags
            }

            fn tags_mut(&mut self) -> &mut Tags {
                &mut self.tags
            }
        })*
    };
}

entities! {
    Role => "The role with name {} cannot be found.";
    User => "The user with name {} cannot be found.";
    Group => "The group with name {} cannot be found.";
    InstanceProfile => "Instance Profile {} cannot be found.";
    Policy => "Policy {} was not found.";
    OidcProvider => "OpenIDConnect Provider not found for arn {}";
}
tagged!(Role, User, InstanceProfile, Policy, OidcProvider);

pub fn find<'a, E: Entity>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &str,
) -> Result<&'a Arc<E>, Refusal> {
    E::table(snapshot)
        .get(scope, id)
        .ok_or_else(|| Refusal::NoSuchEntity(E::missing(id)))
}

/// Those of service-linked roles may be changed, too.
pub fn change_tags<E: Tagged>(
    tx: &mut Tx,
    scope: &Scope,
    id: &str,
    add: Tags,
    remove: &[String],
) -> Result<(), Refusal> {
    let mut row = E::clone(find(tx.snapshot(), scope, id)?);
    *row.tags_mut() = merged(row.tags(), add, remove)?;
    tx.put(row);
    Ok(())
}
