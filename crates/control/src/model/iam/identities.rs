//! What roles, users and groups have in common: names that are unique, policies inline and attached, and what stands in
//! the way of their deletion. Roles and users have a permissions boundary, users and groups can be renamed.
//!
//! Called by the identities' own files and by `api/iam`. What must stay true: a policy that is attached or bounds
//! somebody is there, as `policies::delete` asks `policies::holders`.

use super::documents::{self, Kind};
use super::entities::{Entity, find};
use super::{Refusal, check_name, check_path, policies};
use crate::model::Tx;
use fogbank_types::Scope;
use fogbank_types::iam::{Group, Role, User};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Managed policies of one identity.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const ATTACHED_MAX: usize = 10;

pub trait Identity: Entity {
    /// As messages name it.
    const NOUN: &'static str;
    /// As quotas and messages at their beginning name it.
    const TITLE: &'static str;
    const NAME_MAX: usize;
    /// How many an account may have.
    const COUNT_MAX: usize;
    /// Characters of all inline policies together.
    const INLINE_MAX: usize;

    fn name(&self) -> &str;
    fn path(&self) -> &str;
    /// `AROA...`, `AIDA...`, `AGPA...`
    fn unique_id(&self) -> &str;
    fn inline_policies(&self) -> &BTreeMap<String, String>;
    fn inline_policies_mut(&mut self) -> &mut BTreeMap<String, String>;
    fn attached_policies(&self) -> &[String];
    fn attached_policies_mut(&mut self) -> &mut Vec<String>;

    fn permissions_boundary(&self) -> Option<&str> {
        None
    }

    /// Whether the account may change it.
    fn check_modifiable(&self) -> Result<(), Refusal> {
        Ok(())
    }
}

macro_rules! identity_fields {
    ($id:ident) => {
        fn name(&self) -> &str {
            &self.name
        }

        fn path(&self) -> &str {
            &self.path
        }

        fn unique_id(&self) -> &str {
            &self.$id
        }

        fn inline_policies(&self) -> &BTreeMap<String, String> {
            &self.inline_policies
        }

        fn inline_policies_mut(&mut self) -> &mut BTreeMap<String, String> {
            &mut self.inline_policies
        }

        fn attached_policies(&self) -> &[String] {
            &self.attached_policies
        }

        fn attached_policies_mut(&mut self) -> &mut Vec<String> {
            &mut self.attached_policies
        }
    };
}

impl Identity for Role {
    const NOUN: &'static str = "role";
    const TITLE: &'static str = "Role";
    const NAME_MAX: usize = 64;
    const COUNT_MAX: usize = 1000;
    const INLINE_MAX: usize = 10_240;

    identity_fields!(role_id);

    fn permissions_boundary(&self) -> Option<&str> {
        self.permissions_boundary.as_deref()
    }

    fn check_modifiable(&self) -> Result<(), Refusal> {
        if self.path.starts_with("/aws-service-role/") {
            return Err(Refusal::UnmodifiableEntity(format!(
                "Cannot perform the operation on the protected role '{}' - this role is only modifiable by AWS",
                self.name
            )));
        }
        Ok(())
    }
}

impl Identity for User {
    const NOUN: &'static str = "user";
    const TITLE: &'static str = "User";
    const NAME_MAX: usize = 64;
    const COUNT_MAX: usize = 5000;
    const INLINE_MAX: usize = 2048;

    identity_fields!(user_id);

    fn permissions_boundary(&self) -> Option<&str> {
        self.permissions_boundary.as_deref()
    }
}

impl Identity for Group {
    const NOUN: &'static str = "group";
    const TITLE: &'static str = "Group";
    const NAME_MAX: usize = 128;
    const COUNT_MAX: usize = 300;
    const INLINE_MAX: usize = 5120;

    identity_fields!(group_id);
}

/// Groups have no boundary.
pub trait Bounded: Identity {
    fn permissions_boundary_mut(&mut self) -> &mut Option<String>;
}

impl Bounded for Role {
    fn permissions_boundary_mut(&mut self) -> &mut Option<String> {
        &mut self.permissions_boundary
    }
}

impl Bounded for User {
    fn permissions_boundary_mut(&mut self) -> &mut Option<String> {
        &mut self.permissions_boundary
    }
}

/// Roles keep their names.
pub trait Movable: Identity {
    fn place(&mut self, name: String, path: String, arn: String);
}

impl Movable for User {
    fn place(&mut self, name: String, path: String, arn: String) {
        (self.name, self.path, self.arn) = (name, path, arn);
    }
}

impl Movable for Group {
    fn place(&mut self, name: String, path: String, arn: String) {
        (self.name, self.path, self.arn) = (name, path, arn);
    }
}

/// Names are unique without regard to case; the one it has already is no other's.
fn check_free<I: Identity>(
    tx: &Tx,
    scope: &Scope,
    name: &str,
    own: Option<&str>,
) -> Result<(), Refusal> {
    check_name(name, &format!("{}Name", I::NOUN), I::NAME_MAX)?;
    let taken = |row: &Arc<I>| row.name().eq_ignore_ascii_case(name) && Some(row.name()) != own;
    if I::table(tx.snapshot()).in_scope(scope).any(taken) {
        return Err(Refusal::EntityAlreadyExists(format!(
            "{} with name {name} already exists.",
            I::TITLE
        )));
    }
    Ok(())
}

/// Whether there may be a new one of that name; gives its path and ARN.
pub fn check_new<I: Identity>(
    tx: &Tx,
    scope: &Scope,
    name: &str,
    path: Option<String>,
) -> Result<(String, String), Refusal> {
    let path = path.unwrap_or_else(|| "/".to_owned());
    check_path(&path)?;
    check_free::<I>(tx, scope, name, None)?;
    if I::table(tx.snapshot()).in_scope(scope).count() >= I::COUNT_MAX {
        return Err(Refusal::LimitExceeded(format!(
            "Cannot exceed quota for {}sPerAccount: {}",
            I::TITLE,
            I::COUNT_MAX
        )));
    }
    let arn = scope.arn("iam", &format!("{}{path}{name}", I::NOUN));
    Ok((path, arn))
}

/// Changes one that the account may change.
pub fn update<I: Identity>(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    change: impl FnOnce(&mut I) -> Result<(), Refusal>,
) -> Result<I, Refusal> {
    let mut row = I::clone(find(tx.snapshot(), scope, name)?);
    row.check_modifiable()?;
    change(&mut row)?;
    tx.put(row.clone());
    Ok(row)
}

/// Another name or path, and so another ARN; its id and all that it has stay. What is left out stays, too.
pub fn rename<I: Movable>(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    new_name: Option<String>,
    new_path: Option<String>,
) -> Result<I, Refusal> {
    let mut row = I::clone(find(tx.snapshot(), scope, name)?);
    let new_name = new_name.unwrap_or_else(|| name.to_owned());
    check_free::<I>(tx, scope, &new_name, Some(name))?;
    let new_path = new_path.unwrap_or_else(|| row.path().to_owned());
    check_path(&new_path)?;
    let arn = scope.arn("iam", &format!("{}{new_path}{new_name}", I::NOUN));
    row.place(new_name, new_path, arn);
    tx.delete::<I>(scope, name);
    tx.put(row.clone());
    Ok(row)
}

/// A refusal of DeleteRole, DeleteUser and DeleteGroup.
pub fn conflict(first: &str) -> Refusal {
    Refusal::DeleteConflict(format!("Cannot delete entity, must {first} first."))
}

/// Whether it has no policy any more.
pub fn check_bare<I: Identity>(row: &I) -> Result<(), Refusal> {
    if !row.attached_policies().is_empty() {
        return Err(conflict("detach all policies"));
    }
    if !row.inline_policies().is_empty() {
        return Err(conflict("delete policies"));
    }
    Ok(())
}

pub fn put_policy<I: Identity>(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    policy: &str,
    text: String,
) -> Result<(), Refusal> {
    check_name(policy, "policyName", 128)?;
    documents::check(&text, Kind::Identity)?;
    update::<I>(tx, scope, name, |row| {
        let inline = row.inline_policies_mut();
        inline.insert(policy.to_owned(), text);
        let total: usize = inline.values().map(|text| documents::length(text)).sum();
        if total > I::INLINE_MAX {
            return Err(Refusal::LimitExceeded(format!(
                "Maximum policy size of {} bytes exceeded for {} {name}",
                I::INLINE_MAX,
                I::NOUN
            )));
        }
        Ok(())
    })?;
    Ok(())
}

/// An inline policy's text.
pub fn policy<'a, I: Identity>(row: &'a I, policy: &str) -> Result<&'a str, Refusal> {
    let text = row.inline_policies().get(policy).map(String::as_str);
    text.ok_or_else(|| {
        Refusal::NoSuchEntity(format!(
            "The {} policy with name {policy} cannot be found.",
            I::NOUN
        ))
    })
}

pub fn delete_policy<I: Identity>(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    inline: &str,
) -> Result<(), Refusal> {
    update::<I>(tx, scope, name, |row| {
        policy(row, inline)?;
        row.inline_policies_mut().remove(inline);
        Ok(())
    })?;
    Ok(())
}

pub fn attach<I: Identity>(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    arn: &str,
) -> Result<(), Refusal> {
    find::<I>(tx.snapshot(), scope, name)?;
    policies::require(tx.snapshot(), scope, arn)?;
    if policies::is_of_a_service(arn) {
        return Err(Refusal::PolicyNotAttachable(format!(
            "Cannot attach a Service Role Policy to a Customer {}.",
            I::TITLE
        )));
    }
    update::<I>(tx, scope, name, |row| {
        let attached = row.attached_policies_mut();
        if attached.iter().any(|known| known == arn) {
            return Ok(());
        }
        if attached.len() >= ATTACHED_MAX {
            return Err(Refusal::LimitExceeded(format!(
                "Cannot exceed quota for PoliciesPer{}: {ATTACHED_MAX}",
                I::TITLE
            )));
        }
        attached.push(arn.to_owned());
        Ok(())
    })?;
    Ok(())
}

pub fn detach<I: Identity>(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    arn: &str,
) -> Result<(), Refusal> {
    update::<I>(tx, scope, name, |row| {
        let attached = row.attached_policies_mut();
        let before = attached.len();
        attached.retain(|known| known != arn);
        if attached.len() == before {
            return Err(policies::no_such(arn));
        }
        Ok(())
    })?;
    Ok(())
}

/// `None` takes it away; whether there was one does not matter.
pub fn set_boundary<I: Bounded>(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    boundary: Option<String>,
) -> Result<(), Refusal> {
    find::<I>(tx.snapshot(), scope, name)?;
    if let Some(arn) = &boundary {
        policies::require_boundary(tx.snapshot(), scope, arn)?;
    }
    update::<I>(tx, scope, name, |row| {
        *row.permissions_boundary_mut() = boundary;
        Ok(())
    })?;
    Ok(())
}

#[cfg(test)]
#[path = "identities_tests.rs"]
mod tests;
