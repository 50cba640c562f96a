//! Managed policies of the account, with up to five versions each (fact IAM-7).

use super::documents::{self, Kind};
use super::{Refusal, check_name, check_path, managed, merged, unique_id};
use crate::model::Tx;
use fogbank_types::iam::{Policy, PolicyVersion};
use fogbank_types::{Scope, Snapshot, Tags};
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

fn no_such(arn: &str) -> Refusal {
    Refusal::NoSuchEntity(format!("Policy {arn} was not found."))
}

/// A policy of the account's own.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    arn: &str,
) -> Result<&'a Arc<Policy>, Refusal> {
    snapshot
        .policies
        .get(scope, arn)
        .ok_or_else(|| no_such(arn))
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

/// How many roles have it.
pub fn attachments(snapshot: &Snapshot, scope: &Scope, arn: &str) -> usize {
    snapshot
        .roles
        .in_scope(scope)
        .filter(|role| role.attached_policies.iter().any(|known| known == arn))
        .count()
}

/// How many roles it bounds.
pub fn boundaries(snapshot: &Snapshot, scope: &Scope, arn: &str) -> usize {
    snapshot
        .roles
        .in_scope(scope)
        .filter(|role| role.permissions_boundary.as_deref() == Some(arn))
        .count()
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

pub fn change_tags(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    add: Tags,
    remove: &[String],
) -> Result<(), Refusal> {
    let mut policy = Policy::clone(find(tx.snapshot(), scope, arn)?);
    policy.tags = merged(&policy.tags, add, remove)?;
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
        for id in ["v1", "v2", "v4", "v5"] {
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
