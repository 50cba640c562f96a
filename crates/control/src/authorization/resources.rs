//! What the region knows of a resource that a request names: its tags, its policy, what it is in.

use crate::model::iam::evaluation::Resource;
use crate::model::kms::grants;
use crate::model::vpc::tags as vpc_tags;
use fogbank_types::kms::Key;
use fogbank_types::{Scope, Snapshot, Tags};
use serde_json::Value;
use std::borrow::Cow;

/// By ARN; of one that is not there, only the ARN.
pub fn known(snapshot: &Snapshot, scope: &Scope, arn: &str) -> Resource {
    let mut resource = Resource::new(arn);
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", _, service, region, account, tail] = parts.as_slice() else {
        return resource;
    };
    let account = if account.is_empty() {
        &scope.account
    } else {
        *account
    };
    let scope = Scope::new(account, *region);
    resource.conditions.set("aws:ResourceAccount", account);
    let (kind, id) = tail.split_once(['/', ':']).unwrap_or((tail, ""));
    let tags = match *service {
        "ec2" => {
            network(&mut resource, snapshot, &scope, kind, id);
            vpc_tags::tags_of(snapshot, &scope, id).map(Cow::Owned)
        }
        "iam" => identity(&mut resource, snapshot, &scope.global(), kind, id, arn),
        _ => tags(&mut resource, snapshot, &scope, service, kind, id, arn),
    };
    for (key, value) in tags.iter().flat_map(|tags| tags.iter()) {
        for prefix in ["aws", service] {
            let key = format!("{prefix}:ResourceTag/{key}");
            resource.conditions.set(&key, value.as_str());
        }
    }
    resource
}

/// Where a resource of EC2's is.
fn network(resource: &mut Resource, snapshot: &Snapshot, scope: &Scope, kind: &str, id: &str) {
    let vpc = match kind {
        "subnet" => snapshot.subnets.get(scope, id).map(|row| &row.vpc_id),
        "security-group" => snapshot
            .security_groups
            .get(scope, id)
            .map(|row| &row.vpc_id),
        "route-table" => snapshot.route_tables.get(scope, id).map(|row| &row.vpc_id),
        "network-acl" => snapshot.network_acls.get(scope, id).map(|row| &row.vpc_id),
        "network-interface" => snapshot.enis.get(scope, id).map(|row| &row.vpc_id),
        "natgateway" => snapshot.nat_gateways.get(scope, id).map(|row| &row.vpc_id),
        "vpc-endpoint" => snapshot.vpc_endpoints.get(scope, id).map(|row| &row.vpc_id),
        _ => None,
    };
    if let Some(vpc) = vpc {
        let arn = scope.arn("ec2", &format!("vpc/{vpc}"));
        resource.conditions.set("ec2:Vpc", arn);
    }
    let conditions = &mut resource.conditions;
    match kind {
        "vpc" => conditions.set("ec2:VpcID", id),
        "subnet" => {
            conditions.set("ec2:SubnetID", id);
            if let Some(subnet) = snapshot.subnets.get(scope, id) {
                conditions.set("ec2:AvailabilityZone", subnet.zone.as_str());
            }
        }
        "security-group" => conditions.set("ec2:SecurityGroupID", id),
        "route-table" => conditions.set("ec2:RouteTableID", id),
        "network-interface" => {
            conditions.set("ec2:NetworkInterfaceID", id);
            if let Some(eni) = snapshot.enis.get(scope, id) {
                let subnet = scope.arn("ec2", &format!("subnet/{}", eni.subnet_id));
                conditions.set("ec2:Subnet", subnet);
            }
        }
        _ => {}
    }
}

fn identity<'a>(
    resource: &mut Resource,
    snapshot: &'a Snapshot,
    scope: &Scope,
    kind: &str,
    path: &str,
    arn: &str,
) -> Option<Cow<'a, Tags>> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let mut bounded = |boundary: &Option<String>| {
        if let Some(boundary) = boundary {
            resource
                .conditions
                .set("iam:PermissionsBoundary", boundary.as_str());
        }
    };
    let tags = match kind {
        "role" => {
            let role = snapshot
                .roles
                .get(scope, name)
                .filter(|role| role.arn == arn)?;
            bounded(&role.permissions_boundary);
            &role.tags
        }
        "user" => {
            let user = snapshot
                .users
                .get(scope, name)
                .filter(|user| user.arn == arn)?;
            bounded(&user.permissions_boundary);
            &user.tags
        }
        "policy" => &snapshot.policies.get(scope, arn)?.tags,
        "instance-profile" => &snapshot.instance_profiles.get(scope, name)?.tags,
        _ => return None,
    };
    Some(Cow::Borrowed(tags))
}

fn tags<'a>(
    resource: &mut Resource,
    snapshot: &'a Snapshot,
    scope: &Scope,
    service: &str,
    kind: &str,
    id: &str,
    arn: &str,
) -> Option<Cow<'a, Tags>> {
    let tail = || id.rsplit('/').next().unwrap_or(id);
    let tags = match (service, kind) {
        ("elasticloadbalancing", "loadbalancer") => &snapshot.load_balancers.get(scope, arn)?.tags,
        ("elasticloadbalancing", "targetgroup") => &snapshot.target_groups.get(scope, arn)?.tags,
        ("elasticloadbalancing", "listener") => &snapshot.listeners.get(scope, arn)?.tags,
        ("elasticloadbalancing", "listener-rule") => &snapshot.listener_rules.get(scope, arn)?.tags,
        ("elasticloadbalancing", "truststore") => &snapshot.trust_stores.get(scope, arn)?.tags,
        ("ecs", "cluster") => &snapshot.clusters.get(scope, id)?.tags,
        ("ecs", "service") => &snapshot.services.get(scope, id)?.tags,
        ("ecs", "task") => &snapshot.tasks.get(scope, tail())?.tags,
        ("ecs", "task-definition") => {
            let (family, revision) = id.split_once(':')?;
            let key = format!("{family}:{:08}", revision.parse::<u32>().ok()?);
            &snapshot.task_definitions.get(scope, key)?.tags
        }
        ("ecr", _) => {
            let repository = snapshot.repositories.get(scope, id)?;
            if let Some(policy) = &repository.policy {
                resource.policy = policy_of(policy, false);
            }
            &repository.tags
        }
        ("secretsmanager", _) => {
            let secret = snapshot.secrets.get(scope, arn)?;
            if let Some(policy) = &secret.policy {
                resource.policy = policy_of(policy, false);
            }
            &secret.tags
        }
        ("kms", "key") => {
            let key = snapshot.kms_keys.get(scope, id)?;
            resource.policy = policy_of(&key_policy(snapshot, key), true);
            let aliases = snapshot.kms_aliases.in_scope(scope);
            let names: Vec<String> = aliases
                .filter(|alias| alias.key_id == key.id)
                .map(|alias| alias.name.clone())
                .collect();
            resource.conditions.set_list("kms:ResourceAliases", names);
            &key.tags
        }
        ("logs", _) => {
            let group = id.split(":log-stream:").next().unwrap_or(id);
            &snapshot
                .log_groups
                .get(scope, group.trim_end_matches(":*"))?
                .tags
        }
        ("ssm", "parameter") => {
            let slashed = format!("/{id}");
            let own = snapshot.parameters.get(scope, &slashed);
            &own.or_else(|| snapshot.parameters.get(scope, id))?.tags
        }
        ("acm", _) => &snapshot.certificates.get(scope, arn)?.tags,
        ("cloudwatch", "alarm") => &snapshot.alarms.get(scope, id)?.tags,
        ("servicediscovery", "namespace") => &snapshot.namespaces.get(scope, id)?.tags,
        ("servicediscovery", "service") => &snapshot.discovery_services.get(scope, id)?.tags,
        ("route53", "hostedzone") => &snapshot.hosted_zones.get(&scope.global(), id)?.tags,
        ("route53", "healthcheck") => &snapshot.health_checks.get(&scope.global(), id)?.tags,
        ("application-autoscaling", _) => {
            let mut targets = snapshot.scalable_targets.in_scope(scope);
            &targets.find(|target| target.arn == arn)?.tags
        }
        _ => return None,
    };
    Some(Cow::Borrowed(tags))
}

/// A key's policy, with what its grants allow as statements of it.
fn key_policy(snapshot: &Snapshot, key: &Key) -> String {
    let mut grants = grants::of_key(snapshot, key).peekable();
    let policy = serde_json::from_str::<Value>(&key.policy);
    let Ok(mut policy) = policy else {
        return key.policy.clone();
    };
    if grants.peek().is_none() {
        return key.policy.clone();
    }
    let mut statements = match policy["Statement"].take() {
        Value::Array(statements) => statements,
        one => vec![one],
    };
    statements.extend(grants.map(|grant| grants::statement(grant)));
    policy["Statement"] = Value::Array(statements);
    policy.to_string()
}

fn policy_of(
    text: &str,
    is_required: bool,
) -> Option<crate::model::iam::evaluation::decision::ResourcePolicy> {
    let policy = crate::model::iam::evaluation::decision::ResourcePolicy {
        text: text.to_owned(),
        is_required,
    };
    Some(policy)
}
