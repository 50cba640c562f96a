//! Instance profiles: at most one role each.

use super::{Refusal, check_name, check_path, entities, merged, roles, unique_id};
use crate::model::Tx;
use fogbank_types::iam::InstanceProfile;
use fogbank_types::{Scope, Snapshot, Tags};
use std::sync::Arc;

pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    name: &str,
) -> Result<&'a Arc<InstanceProfile>, Refusal> {
    entities::find(snapshot, scope, name)
}

pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    path: Option<String>,
    tags: Tags,
) -> Result<InstanceProfile, Refusal> {
    check_name(name, "instanceProfileName", 128)?;
    let path = path.unwrap_or_else(|| "/".to_owned());
    check_path(&path)?;
    // Names are unique without regard to case.
    let taken = |profile: &Arc<InstanceProfile>| profile.name.eq_ignore_ascii_case(name);
    if tx.snapshot().instance_profiles.in_scope(scope).any(taken) {
        return Err(Refusal::EntityAlreadyExists(format!(
            "Instance Profile {name} already exists."
        )));
    }
    let profile = InstanceProfile {
        scope: scope.clone(),
        name: name.to_owned(),
        arn: scope.arn("iam", &format!("instance-profile{path}{name}")),
        instance_profile_id: unique_id(tx, "AIPA"),
        path,
        role: None,
        created_at: tx.now(),
        tags: merged(&Tags::new(), tags, &[])?,
    };
    tx.put(profile.clone());
    Ok(profile)
}

pub fn add_role(tx: &mut Tx, scope: &Scope, name: &str, role: &str) -> Result<(), Refusal> {
    let mut profile = InstanceProfile::clone(find(tx.snapshot(), scope, name)?);
    roles::find(tx.snapshot(), scope, role)?;
    if profile.role.is_some() {
        return Err(Refusal::LimitExceeded(
            "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1".to_owned(),
        ));
    }
    profile.role = Some(role.to_owned());
    tx.put(profile);
    Ok(())
}

pub fn remove_role(tx: &mut Tx, scope: &Scope, name: &str, role: &str) -> Result<(), Refusal> {
    let mut profile = InstanceProfile::clone(find(tx.snapshot(), scope, name)?);
    if profile.role.as_deref() != Some(role) {
        return Err(Refusal::NoSuchEntity(format!(
            "The role with name {role} cannot be found."
        )));
    }
    profile.role = None;
    tx.put(profile);
    Ok(())
}

pub fn delete(tx: &mut Tx, scope: &Scope, name: &str) -> Result<(), Refusal> {
    if find(tx.snapshot(), scope, name)?.role.is_some() {
        return Err(Refusal::DeleteConflict(
            "Cannot delete entity, must remove roles from instance profile first.".to_owned(),
        ));
    }
    tx.delete::<InstanceProfile>(scope, name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_holds_one_role_that_is_there() {
        let (mut tx, scope) = (Tx::for_test(), Scope::new("000000000000", "global"));
        create(&mut tx, &scope, "p", None, Tags::new()).unwrap();
        assert!(matches!(
            add_role(&mut tx, &scope, "p", "r"),
            Err(Refusal::NoSuchEntity(_))
        ));
        let trust = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}"#;
        let new = roles::NewRole {
            name: "r".into(),
            assume_role_policy: trust.into(),
            ..Default::default()
        };
        roles::create(&mut tx, &scope, new).unwrap();
        add_role(&mut tx, &scope, "p", "r").unwrap();
        assert!(matches!(
            add_role(&mut tx, &scope, "p", "r"),
            Err(Refusal::LimitExceeded(_))
        ));
        assert!(matches!(
            roles::delete(&mut tx, &scope, "r"),
            Err(Refusal::DeleteConflict(_))
        ));
        assert!(matches!(
            delete(&mut tx, &scope, "p"),
            Err(Refusal::DeleteConflict(_))
        ));
        remove_role(&mut tx, &scope, "p", "r").unwrap();
        delete(&mut tx, &scope, "p").unwrap();
        roles::delete(&mut tx, &scope, "r").unwrap();
    }
}
