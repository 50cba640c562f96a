//! Roles; among them those that belong to services.

use super::documents::{self, Kind};
use super::identities::{check_bare, check_new, conflict, update};
use super::{Refusal, check_name, entities, managed, merged, policies, unique_id};
use crate::model::Tx;
use fogbank_types::iam::{InstanceProfile, Role};
use fogbank_types::{Scope, Snapshot, Tags};
use std::sync::Arc;

/// Fact IAM-7.
const TRUST_MAX: usize = 2048;

#[derive(Debug, Clone, Default)]
pub struct NewRole {
    pub name: String,
    pub path: Option<String>,
    pub assume_role_policy: String,
    pub description: Option<String>,
    pub max_session_seconds: Option<i32>,
    pub permissions_boundary: Option<String>,
    pub tags: Tags,
}

pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    name: &str,
) -> Result<&'a Arc<Role>, Refusal> {
    entities::find(snapshot, scope, name)
}

fn check_trust(text: &str) -> Result<(), Refusal> {
    documents::check(text, Kind::Trust)?;
    if documents::length(text) > TRUST_MAX {
        return Err(Refusal::LimitExceeded(format!(
            "Cannot exceed quota for ACLSizePerRole: {TRUST_MAX}"
        )));
    }
    Ok(())
}

pub fn create(tx: &mut Tx, scope: &Scope, new: NewRole) -> Result<Role, Refusal> {
    check_trust(&new.assume_role_policy)?;
    if let Some(path) = &new.path
        && path.starts_with("/aws-service-role/")
    {
        return Err(Refusal::InvalidInput(
            "Path /aws-service-role/ is reserved for service-linked roles.".to_owned(),
        ));
    }
    if let Some(boundary) = &new.permissions_boundary {
        policies::require_boundary(tx.snapshot(), scope, boundary)?;
    }
    let (path, arn) = check_new::<Role>(tx, scope, &new.name, new.path)?;
    let role = Role {
        scope: scope.clone(),
        arn,
        name: new.name,
        role_id: unique_id(tx, "AROA"),
        path,
        assume_role_policy: new.assume_role_policy,
        description: new.description,
        max_session_seconds: new
            .max_session_seconds
            .map_or(3600, |s| s.clamp(3600, 43200) as u32),
        inline_policies: Default::default(),
        attached_policies: Vec::new(),
        permissions_boundary: new.permissions_boundary,
        created_at: tx.now(),
        tags: merged(&Tags::new(), new.tags, &[])?,
    };
    tx.put(role.clone());
    Ok(role)
}

/// A description left out stays: Terraform sets it on its own and then sends the duration without it. A duration left
/// out is one hour. <https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateRole.html>
pub fn set(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    description: Option<String>,
    max_session_seconds: Option<i32>,
) -> Result<Role, Refusal> {
    update(tx, scope, name, |role: &mut Role| {
        if description.is_some() {
            role.description = description;
        }
        role.max_session_seconds =
            max_session_seconds.map_or(3600, |s| s.clamp(3600, 43200) as u32);
        Ok(())
    })
}

pub fn describe(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    description: String,
) -> Result<Role, Refusal> {
    update(tx, scope, name, |role: &mut Role| {
        role.description = Some(description);
        Ok(())
    })
}

pub fn set_trust(tx: &mut Tx, scope: &Scope, name: &str, text: String) -> Result<(), Refusal> {
    check_trust(&text)?;
    update(tx, scope, name, |role: &mut Role| {
        role.assume_role_policy = text;
        Ok(())
    })?;
    Ok(())
}

pub fn delete(tx: &mut Tx, scope: &Scope, name: &str) -> Result<(), Refusal> {
    let role: Role = update(tx, scope, name, |_| Ok(()))?;
    if profiles_of(tx.snapshot(), scope, name).next().is_some() {
        return Err(conflict("remove roles from instance profile"));
    }
    check_bare(&role)?;
    tx.delete::<Role>(scope, name);
    Ok(())
}

/// The instance profiles that hold a role.
pub fn profiles_of<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    name: &str,
) -> impl Iterator<Item = &'a Arc<InstanceProfile>> + use<'a> {
    let name = name.to_owned();
    snapshot
        .instance_profiles
        .in_scope(scope)
        .filter(move |profile| profile.role.as_deref() == Some(&name))
}

/// Services that have a role of their own: service, the role's name, what it may do.
const LINKED: &[(&str, &str, Option<&str>)] = &[
    (
        "ecs.amazonaws.com",
        "AWSServiceRoleForECS",
        Some("AmazonECSServiceRolePolicy"),
    ),
    (
        "elasticloadbalancing.amazonaws.com",
        "AWSServiceRoleForElasticLoadBalancing",
        None,
    ),
    (
        "ecs.application-autoscaling.amazonaws.com",
        "AWSServiceRoleForApplicationAutoScaling_ECSService",
        None,
    ),
    (
        "vpc-nat-gateway.amazonaws.com",
        "AWSServiceRoleForNATGateway",
        None,
    ),
    (
        "replication.ecr.amazonaws.com",
        "AWSServiceRoleForECRReplication",
        None,
    ),
    (
        "autoscaling.amazonaws.com",
        "AWSServiceRoleForAutoScaling",
        None,
    ),
    (
        "custom-resource.application-autoscaling.amazonaws.com",
        "AWSServiceRoleForApplicationAutoScaling_CustomResource",
        None,
    ),
    (
        "elasticbeanstalk.amazonaws.com",
        "AWSServiceRoleForElasticBeanstalk",
        None,
    ),
    ("eks.amazonaws.com", "AWSServiceRoleForAmazonEKS", None),
    (
        "elasticache.amazonaws.com",
        "AWSServiceRoleForElastiCache",
        None,
    ),
    (
        "opensearchservice.amazonaws.com",
        "AWSServiceRoleForAmazonOpenSearchService",
        None,
    ),
    ("rds.amazonaws.com", "AWSServiceRoleForRDS", None),
    ("spot.amazonaws.com", "AWSServiceRoleForEC2Spot", None),
];

/// Services of which an account may have several roles, told apart by a suffix.
const SUFFIXED: &[&str] = &[
    "autoscaling.amazonaws.com",
    "custom-resource.application-autoscaling.amazonaws.com",
];

/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateServiceLinkedRole.html>
pub fn create_service_linked(
    tx: &mut Tx,
    scope: &Scope,
    service: &str,
    suffix: Option<&str>,
    description: Option<String>,
) -> Result<Role, Refusal> {
    let Some((_, name, policy)) = LINKED.iter().find(|(known, _, _)| *known == service) else {
        return Err(Refusal::InvalidInput(format!(
            "Service role name for {service} is not known to this region."
        )));
    };
    if suffix.is_some() && !SUFFIXED.contains(&service) {
        return Err(Refusal::InvalidInput(format!(
            "Custom suffix is not allowed for {service}"
        )));
    }
    let name = match suffix {
        Some(suffix) => format!("{name}_{suffix}"),
        None => (*name).to_owned(),
    };
    check_name(&name, "roleName", 64)?;
    if tx.snapshot().roles.contains(scope, &name) {
        return Err(Refusal::InvalidInput(format!(
            "Service role name {name} has been taken in this account, please try a different suffix."
        )));
    }
    let path = format!("/aws-service-role/{service}/");
    let trust = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Principal": { "Service": service }, "Action": "sts:AssumeRole" }],
    });
    let policy = policy.and_then(|policy| {
        managed::all()
            .into_iter()
            .find(|known| known.name == policy)
    });
    let role = Role {
        scope: scope.clone(),
        arn: scope.arn("iam", &format!("role{path}{name}")),
        name,
        role_id: unique_id(tx, "AROA"),
        path,
        assume_role_policy: trust.to_string(),
        description,
        max_session_seconds: 3600,
        inline_policies: Default::default(),
        attached_policies: policy.map(|policy| policy.arn).into_iter().collect(),
        permissions_boundary: None,
        created_at: tx.now(),
        tags: Tags::new(),
    };
    tx.put(role.clone());
    Ok(role)
}

/// Gives the id of the deletion, which is over at once.
pub fn delete_service_linked(tx: &mut Tx, scope: &Scope, name: &str) -> Result<String, Refusal> {
    let role = Role::clone(find(tx.snapshot(), scope, name)?);
    let service = role
        .path
        .strip_prefix("/aws-service-role/")
        .map(|tail| tail.trim_end_matches('/'));
    let Some(service) = service else {
        return Err(Refusal::InvalidInput(format!(
            "Role {name} is not a service-linked role"
        )));
    };
    tx.delete::<Role>(scope, name);
    let id = tx.uuid();
    Ok(format!("task/aws-service-role/{service}/{name}/{id}"))
}

/// Whether that is the id of a deletion; all of them have succeeded.
pub fn is_deletion(id: &str) -> bool {
    id.strip_prefix("task/aws-service-role/")
        .is_some_and(|tail| tail.split('/').count() == 3)
}

#[cfg(test)]
mod tests {
    use super::super::identities;
    use super::*;

    fn scope() -> Scope {
        Scope::new("000000000000", "global")
    }

    const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
        "Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    const POLICY: &str =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;

    fn make(tx: &mut Tx, name: &str) -> Result<Role, Refusal> {
        let new = NewRole {
            name: name.to_owned(),
            assume_role_policy: TRUST.to_owned(),
            ..NewRole::default()
        };
        create(tx, &scope(), new)
    }

    #[test]
    fn a_role_has_an_arn_without_a_region() {
        let mut tx = Tx::for_test();
        let role = make(&mut tx, "api").unwrap();
        assert_eq!(role.arn, "arn:aws:iam::000000000000:role/api");
        assert_eq!((role.role_id.len(), &role.role_id[..4]), (21, "AROA"));
        assert!(matches!(
            make(&mut tx, "API"),
            Err(Refusal::EntityAlreadyExists(_))
        ));
        for name in ["", "a b", "a/b", &"x".repeat(65)] {
            assert!(make(&mut tx, name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_description_stays_until_another_is_given() {
        let mut tx = Tx::for_test();
        make(&mut tx, "api").unwrap();
        let role = describe(&mut tx, &scope(), "api", "one".to_owned()).unwrap();
        assert_eq!(role.description.as_deref(), Some("one"));
        let role = set(&mut tx, &scope(), "api", None, Some(7200)).unwrap();
        assert_eq!(role.description.as_deref(), Some("one"));
        assert_eq!(role.max_session_seconds, 7200);
        let role = set(&mut tx, &scope(), "api", Some("two".to_owned()), None).unwrap();
        assert_eq!(role.description.as_deref(), Some("two"));
        assert_eq!(role.max_session_seconds, 3600);
    }

    #[test]
    fn a_role_with_policies_is_not_deleted() {
        let mut tx = Tx::for_test();
        make(&mut tx, "api").unwrap();
        let arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy";
        identities::attach::<Role>(&mut tx, &scope(), "api", arn).unwrap();
        identities::put_policy::<Role>(&mut tx, &scope(), "api", "inline", POLICY.to_owned())
            .unwrap();
        assert!(matches!(
            delete(&mut tx, &scope(), "api"),
            Err(Refusal::DeleteConflict(_))
        ));
        identities::detach::<Role>(&mut tx, &scope(), "api", arn).unwrap();
        assert!(matches!(
            identities::detach::<Role>(&mut tx, &scope(), "api", arn),
            Err(Refusal::NoSuchEntity(_))
        ));
        assert!(matches!(
            delete(&mut tx, &scope(), "api"),
            Err(Refusal::DeleteConflict(_))
        ));
        identities::delete_policy::<Role>(&mut tx, &scope(), "api", "inline").unwrap();
        delete(&mut tx, &scope(), "api").unwrap();
        assert!(matches!(
            delete(&mut tx, &scope(), "api"),
            Err(Refusal::NoSuchEntity(_))
        ));
    }

    #[test]
    fn a_services_role_is_only_the_services() {
        let mut tx = Tx::for_test();
        let role =
            create_service_linked(&mut tx, &scope(), "ecs.amazonaws.com", None, None).unwrap();
        assert_eq!(
            role.arn,
            "arn:aws:iam::000000000000:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"
        );
        assert!(create_service_linked(&mut tx, &scope(), "ecs.amazonaws.com", None, None).is_err());
        let mut suffixed =
            |service| create_service_linked(&mut tx, &scope(), service, Some("blue"), None);
        assert!(suffixed("ecs.amazonaws.com").is_err());
        assert_eq!(
            suffixed("autoscaling.amazonaws.com").unwrap().name,
            "AWSServiceRoleForAutoScaling_blue"
        );
        assert!(matches!(
            delete(&mut tx, &scope(), &role.name),
            Err(Refusal::UnmodifiableEntity(_))
        ));
        assert!(is_deletion(
            &delete_service_linked(&mut tx, &scope(), &role.name).unwrap()
        ));
        assert!(!is_deletion("x"));
    }
}
