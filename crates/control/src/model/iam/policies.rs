//! Managed policies of the account, with up to five versions each (fact IAM-7).

use super::documents::{self, Kind};
use super::entities::{self, Entity};
use super::identities::Identity;
use super::{Refusal, check_name, check_path, managed, merged, unique_id};
use crate::model::Tx;
use fogbank_types::iam::{Group, Policy, PolicyVersion, Role, User};
use fogbank_types::{Scope, Snapshot, Tags};
use std::collections::HashMap;
use std::sync::Arc;

const VERSIONS_MAX: usize = 5;
const CHARACTERS_MAX: usize = 6144;

#[derive(Debug, Clone, Default)]
pub struct NewPolicy {
    pub name: String,
    pub path: Option<String>,
    pub document: String,
    pub description: Option<String>,
    pub tags: Tags,
}

/// Not there, or not attached.
pub fn no_such(arn: &str) -> Refusal {
    Refusal::NoSuchEntity(Policy::missing(arn))
}

/// A policy of the account's own.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    arn: &str,
) -> Result<&'a Arc<Policy>, Refusal> {
    entities::find(snapshot, scope, arn)
}

/// The text of a managed policy in its default version, the account's own or AWS's.
pub fn text(snapshot: &Snapshot, scope: &Scope, arn: &str) -> Option<String> {
    if let Some(policy) = snapshot.policies.get(scope, arn) {
        let version = version(policy, &policy.default_version).ok()?;
        return Some(version.document.clone());
    }
    managed::find(arn).map(|managed| managed.document)
}

/// The account's own or AWS's.
pub fn require(snapshot: &Snapshot, scope: &Scope, arn: &str) -> Result<(), Refusal> {
    if snapshot.policies.contains(scope, arn) || managed::find(arn).is_some() {
        return Ok(());
    }
    Err(Refusal::NoSuchEntity(format!(
        "Policy {arn} does not exist or is not attachable."
    )))
}

/// A policy that bounds somebody.
pub fn require_boundary(snapshot: &Snapshot, scope: &Scope, arn: &str) -> Result<(), Refusal> {
    let is_policy = arn
        .strip_prefix("arn:")
        .and_then(|rest| rest.split_once(":iam::")?.1.split_once(":policy/"))
        .is_some_and(|(account, name)| {
            let digits = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
            (account == "aws" || digits) && !name.is_empty()
        });
    if !is_policy {
        return Err(Refusal::Validation(format!(
            "Value ({arn}) for parameter PermissionsBoundary is invalid."
        )));
    }
    require(snapshot, scope, arn).map_err(|_| {
        Refusal::NoSuchEntity(format!(
            "Scope ARN: {arn} does not exist or is not attachable."
        ))
    })
}

/// Whether only roles of services have it.
pub fn is_of_a_service(arn: &str) -> bool {
    managed::find(arn).is_some_and(|policy| policy.path == "/aws-service-role/")
}

/// Somebody who has a policy, attached or as a boundary.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    pub kind: HolderKind,
    pub name: String,
    pub id: String,
    pub path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HolderKind {
    Group,
    Role,
    User,
}

/// What somebody has a policy for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    Permissions,
    Boundary,
}

fn has<I: Identity>(row: &I, arn: &str, usage: Usage) -> bool {
    match usage {
        Usage::Permissions => row.attached_policies().iter().any(|known| known == arn),
        Usage::Boundary => row.permissions_boundary() == Some(arn),
    }
}

fn count<I: Identity>(snapshot: &Snapshot, scope: &Scope, arn: &str, usage: Usage) -> usize {
    let all = I::table(snapshot).in_scope(scope);
    all.filter(|row| has(row.as_ref(), arn, usage)).count()
}

fn count_all(snapshot: &Snapshot, scope: &Scope, arn: &str, usage: Usage) -> usize {
    count::<Role>(snapshot, scope, arn, usage)
        + count::<User>(snapshot, scope, arn, usage)
        + count::<Group>(snapshot, scope, arn, usage)
}

/// To how many identities it is attached.
pub fn attachments(snapshot: &Snapshot, scope: &Scope, arn: &str) -> usize {
    count_all(snapshot, scope, arn, Usage::Permissions)
}

/// How many identities it bounds.
pub fn boundaries(snapshot: &Snapshot, scope: &Scope, arn: &str) -> usize {
    count_all(snapshot, scope, arn, Usage::Boundary)
}

/// Attachments and boundaries of all policies that have any, in one pass.
pub fn usages<'a>(snapshot: &'a Snapshot, scope: &Scope) -> HashMap<&'a str, (usize, usize)> {
    let mut usages = HashMap::new();
    add_usages::<Role>(snapshot, scope, &mut usages);
    add_usages::<User>(snapshot, scope, &mut usages);
    add_usages::<Group>(snapshot, scope, &mut usages);
    usages
}

fn add_usages<'a, I: Identity>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    usages: &mut HashMap<&'a str, (usize, usize)>,
) {
    for row in I::table(snapshot).in_scope(scope) {
        for arn in row.attached_policies() {
            usages.entry(arn).or_default().0 += 1;
        }
        if let Some(arn) = row.permissions_boundary() {
            usages.entry(arn).or_default().1 += 1;
        }
    }
}

/// Who has it, for either use unless one is said: groups, then roles, then users, each by name.
pub fn holders(
    snapshot: &Snapshot,
    scope: &Scope,
    arn: &str,
    usage: Option<Usage>,
) -> Result<Vec<Holder>, Refusal> {
    if managed::find(arn).is_none() {
        find(snapshot, scope, arn)?;
    }
    let mut holders = Vec::new();
    add_holders::<Group>(snapshot, scope, arn, usage, HolderKind::Group, &mut holders);
    add_holders::<Role>(snapshot, scope, arn, usage, HolderKind::Role, &mut holders);
    add_holders::<User>(snapshot, scope, arn, usage, HolderKind::User, &mut holders);
    Ok(holders)
}

fn add_holders<I: Identity>(
    snapshot: &Snapshot,
    scope: &Scope,
    arn: &str,
    usage: Option<Usage>,
    kind: HolderKind,
    holders: &mut Vec<Holder>,
) {
    let all = [Usage::Permissions, Usage::Boundary];
    let wanted = || {
        all.into_iter()
            .filter(|one| usage.is_none_or(|u| u == *one))
    };
    let rows = I::table(snapshot).in_scope(scope);
    let concerned = rows.filter(|row| wanted().any(|usage| has(row.as_ref(), arn, usage)));
    holders.extend(concerned.map(|row| Holder {
        kind,
        name: row.name().to_owned(),
        id: row.unique_id().to_owned(),
        path: row.path().to_owned(),
    }));
}

fn check_document(text: &str) -> Result<(), Refusal> {
    documents::check(text, Kind::Managed)?;
    if documents::length(text) > CHARACTERS_MAX {
        return Err(Refusal::LimitExceeded(format!(
            "Cannot exceed quota for PolicySize: {CHARACTERS_MAX}"
        )));
    }
    Ok(())
}

pub fn create(tx: &mut Tx, scope: &Scope, new: NewPolicy) -> Result<Policy, Refusal> {
    check_name(&new.name, "policyName", 128)?;
    let path = new.path.unwrap_or_else(|| "/".to_owned());
    check_path(&path)?;
    check_document(&new.document)?;
    let arn = scope.arn("iam", &format!("policy{path}{}", new.name));
    let taken = |policy: &Arc<Policy>| policy.name.eq_ignore_ascii_case(&new.name);
    if tx.snapshot().policies.in_scope(scope).any(taken) {
        return Err(Refusal::EntityAlreadyExists(format!(
            "A policy called {} already exists. Duplicate names are not allowed.",
            new.name
        )));
    }
    let policy = Policy {
        scope: scope.clone(),
        arn,
        name: new.name,
        policy_id: unique_id(tx, "ANPA"),
        path,
        description: new.description,
        versions: vec![PolicyVersion {
            id: "v1".to_owned(),
            document: new.document,
            created_at: tx.now(),
        }],
        default_version: "v1".to_owned(),
        next_version: 2,
        created_at: tx.now(),
        updated_at: tx.now(),
        tags: merged(&Tags::new(), new.tags, &[])?,
    };
    tx.put(policy.clone());
    Ok(policy)
}

pub fn delete(tx: &mut Tx, scope: &Scope, arn: &str) -> Result<(), Refusal> {
    let policy = find(tx.snapshot(), scope, arn)?;
    let conflict = |text: &str| Err(Refusal::DeleteConflict(text.to_owned()));
    if policy.versions.len() > 1 {
        return conflict(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.",
        );
    }
    if attachments(tx.snapshot(), scope, arn) + boundaries(tx.snapshot(), scope, arn) > 0 {
        return conflict("Cannot delete a policy attached to entities.");
    }
    tx.delete::<Policy>(scope, arn);
    Ok(())
}

pub fn create_version(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    document: String,
    set_default: bool,
) -> Result<(PolicyVersion, bool), Refusal> {
    let mut policy = Policy::clone(find(tx.snapshot(), scope, arn)?);
    check_document(&document)?;
    if policy.versions.len() >= VERSIONS_MAX {
        return Err(Refusal::LimitExceeded(format!(
            "A managed policy can have up to {VERSIONS_MAX} versions. Before you create a new version, you must delete an existing version."
        )));
    }
    let version = PolicyVersion {
        id: format!("v{}", policy.next_version),
        document,
        created_at: tx.now(),
    };
    policy.next_version += 1;
    policy.versions.push(version.clone());
    policy.updated_at = tx.now();
    if set_default {
        policy.default_version = version.id.clone();
    }
    tx.put(policy);
    Ok((version, set_default))
}

pub fn delete_version(tx: &mut Tx, scope: &Scope, arn: &str, id: &str) -> Result<(), Refusal> {
    let mut policy = Policy::clone(find(tx.snapshot(), scope, arn)?);
    version(&policy, id)?;
    if policy.default_version == id {
        return Err(Refusal::DeleteConflict(
            "Cannot delete the default version of a policy.".to_owned(),
        ));
    }
    policy.versions.retain(|version| version.id != id);
    tx.put(policy);
    Ok(())
}

pub fn version<'a>(policy: &'a Policy, id: &str) -> Result<&'a PolicyVersion, Refusal> {
    policy
        .versions
        .iter()
        .find(|version| version.id == id)
        .ok_or_else(|| {
            Refusal::NoSuchEntity(format!(
                "Policy {} version {id} does not exist or is not attachable.",
                policy.arn
            ))
        })
}

pub fn set_default_version(tx: &mut Tx, scope: &Scope, arn: &str, id: &str) -> Result<(), Refusal> {
    let mut policy = Policy::clone(find(tx.snapshot(), scope, arn)?);
    version(&policy, id)?;
    policy.default_version = id.to_owned();
    policy.updated_at = tx.now();
    tx.put(policy);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;

    #[test]
    fn a_policy_has_five_versions_and_never_reuses_a_number() {
        let (mut tx, scope) = (Tx::for_test(), Scope::new("000000000000", "global"));
        let new = NewPolicy {
            name: "api".into(),
            document: DOCUMENT.into(),
            ..NewPolicy::default()
        };
        let arn = create(&mut tx, &scope, new.clone()).unwrap().arn;
        assert!(matches!(
            create(&mut tx, &scope, new),
            Err(Refusal::EntityAlreadyExists(_))
        ));
        for n in 2..=5 {
            let (version, _) =
                create_version(&mut tx, &scope, &arn, DOCUMENT.into(), n == 3).unwrap();
            assert_eq!(version.id, format!("v{n}"));
        }
        let sixth = create_version(&mut tx, &scope, &arn, DOCUMENT.into(), false);
        assert!(matches!(sixth, Err(Refusal::LimitExceeded(_))));
        assert!(matches!(
            delete_version(&mut tx, &scope, &arn, "v3"),
            Err(Refusal::DeleteConflict(_))
        ));
        assert!(matches!(
            delete(&mut tx, &scope, &arn),
            Err(Refusal::DeleteConflict(_))
        ));
        set_default_version(&mut tx, &scope, &arn, "v5").unwrap();
        let unknown = set_default_version(&mut tx, &scope, &arn, "v6");
        assert!(matches!(unknown, Err(Refusal::NoSuchEntity(_))));
        for id in ["v1", "v2", "v3", "v4"] {
            delete_version(&mut tx, &scope, &arn, id).unwrap();
        }
        assert_eq!(
            create_version(&mut tx, &scope, &arn, DOCUMENT.into(), false)
                .unwrap()
                .0
                .id,
            "v6"
        );
        delete_version(&mut tx, &scope, &arn, "v6").unwrap();
        delete(&mut tx, &scope, &arn).unwrap();
        assert!(matches!(
            find(tx.snapshot(), &scope, &arn),
            Err(Refusal::NoSuchEntity(_))
        ));
    }
}
