//! Managed policies: the account's and AWS's.

use super::{encoded, page, read_tags, scope, show_tags};
use crate::api::{ApiError, Context};
use crate::model::iam::Refusal;
use crate::model::iam::managed::{self, Managed};
use crate::model::iam::policies::{self, NewPolicy};
use fogbank_types::iam::{Policy, PolicyVersion};
use fogbank_types::{Scope, Snapshot, Timestamp};
use fogbank_wire::iam as wire;

/// When AWS made its policies, as far as this region is concerned: 2015-02-06.
const MANAGED_SINCE: Timestamp = Timestamp(1_423_180_800_000);

/// Whom a policy is shown to decides what of it is (observed on AWS).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reply {
    /// Without the description.
    Create,
    /// With all, tags even if there are none.
    Get,
    /// With neither.
    List,
}

/// To how many identities a policy is attached, and how many it bounds.
type Uses = (usize, usize);

fn uses(snapshot: &Snapshot, scope: &Scope, arn: &str) -> Uses {
    (
        policies::attachments(snapshot, scope, arn),
        policies::boundaries(snapshot, scope, arn),
    )
}

fn show(policy: &Policy, uses: Uses, reply: Reply) -> wire::Policy {
    wire::Policy {
        arn: Some(policy.arn.clone()),
        attachment_count: Some(uses.0 as i32),
        create_date: Some(policy.created_at),
        default_version_id: Some(policy.default_version.clone()),
        description: policy.description.clone().filter(|_| reply == Reply::Get),
        is_attachable: Some(true),
        path: Some(policy.path.clone()),
        permissions_boundary_usage_count: Some(uses.1 as i32),
        policy_id: Some(policy.policy_id.clone()),
        policy_name: Some(policy.name.clone()),
        tags: match reply {
            Reply::Create => (!policy.tags.is_empty()).then(|| show_tags(&policy.tags)),
            Reply::Get => Some(show_tags(&policy.tags)),
            Reply::List => None,
        },
        update_date: Some(policy.updated_at),
    }
}

fn show_managed(policy: &Managed, uses: Uses, reply: Reply) -> wire::Policy {
    wire::Policy {
        arn: Some(policy.arn.clone()),
        attachment_count: Some(uses.0 as i32),
        create_date: Some(MANAGED_SINCE),
        default_version_id: Some("v1".to_owned()),
        description: (reply == Reply::Get).then(|| policy.description.to_owned()),
        is_attachable: Some(true),
        path: Some(policy.path.to_owned()),
        permissions_boundary_usage_count: Some(uses.1 as i32),
        policy_id: Some(policy.policy_id.clone()),
        policy_name: Some(policy.name.to_owned()),
        tags: (reply == Reply::Get).then(Vec::new),
        update_date: Some(MANAGED_SINCE),
    }
}

pub fn create(
    context: &Context,
    request: wire::CreatePolicyRequest,
) -> Result<wire::CreatePolicyResponse, ApiError> {
    let new = NewPolicy {
        name: request.policy_name,
        path: request.path,
        document: request.policy_document,
        description: request.description,
        tags: read_tags(request.tags)?,
    };
    let scope = scope(context);
    let policy = context.write(|tx| Ok(policies::create(tx, &scope, new.clone())?))?;
    Ok(wire::CreatePolicyResponse {
        policy: Some(show(&policy, (0, 0), Reply::Create)),
    })
}

pub fn get(
    context: &Context,
    request: wire::GetPolicyRequest,
) -> Result<wire::GetPolicyResponse, ApiError> {
    let (snapshot, scope, arn) = (context.snapshot(), scope(context), &request.policy_arn);
    let uses = uses(&snapshot, &scope, arn);
    let policy = match managed::find(arn) {
        Some(managed) => show_managed(&managed, uses, Reply::Get),
        None => show(policies::find(&snapshot, &scope, arn)?, uses, Reply::Get),
    };
    Ok(wire::GetPolicyResponse {
        policy: Some(policy),
    })
}

pub fn list(
    context: &Context,
    request: wire::ListPoliciesRequest,
) -> Result<wire::ListPoliciesResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), scope(context));
    let usages = policies::usages(&snapshot, &scope);
    let uses = |arn: &str| usages.get(arn).copied().unwrap_or_default();
    let which = request.scope.unwrap_or_else(|| "All".to_owned());
    let mut found = Vec::new();
    if which != "AWS" {
        found.extend(
            snapshot
                .policies
                .in_scope(&scope)
                .map(|policy| show(policy, uses(&policy.arn), Reply::List)),
        );
    }
    if which != "Local" {
        found.extend(
            managed::all()
                .iter()
                .map(|policy| show_managed(policy, uses(&policy.arn), Reply::List)),
        );
    }
    let prefix = request.path_prefix.unwrap_or_else(|| "/".to_owned());
    found.retain(|policy| {
        policy
            .path
            .as_ref()
            .is_some_and(|path| path.starts_with(&prefix))
    });
    if request.only_attached == Some(true) {
        found.retain(|policy| policy.attachment_count > Some(0));
    }
    match request.policy_usage_filter.as_deref() {
        Some("PermissionsPolicy") => found.retain(|policy| policy.attachment_count > Some(0)),
        Some("PermissionsBoundary") => {
            found.retain(|policy| policy.permissions_boundary_usage_count > Some(0))
        }
        _ => {}
    }
    let key = |policy: &wire::Policy| policy.arn.clone().unwrap_or_default();
    found.sort_by_key(key);
    let (found, is_truncated, marker) = page(found, key, request.marker, request.max_items);
    Ok(wire::ListPoliciesResponse {
        is_truncated,
        marker,
        policies: Some(found),
    })
}

pub fn delete(
    context: &Context,
    request: wire::DeletePolicyRequest,
) -> Result<wire::DeletePolicyResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| Ok(policies::delete(tx, &scope, &request.policy_arn)?))?;
    Ok(wire::DeletePolicyResponse {})
}

fn show_version(
    version: &PolicyVersion,
    is_default: bool,
    with_document: bool,
) -> wire::PolicyVersion {
    wire::PolicyVersion {
        create_date: Some(version.created_at),
        document: with_document.then(|| encoded(&version.document)),
        is_default_version: Some(is_default),
        version_id: Some(version.id.clone()),
    }
}

pub fn create_version(
    context: &Context,
    request: wire::CreatePolicyVersionRequest,
) -> Result<wire::CreatePolicyVersionResponse, ApiError> {
    let scope = scope(context);
    let set_default = request.set_as_default == Some(true);
    let (version, is_default) = context.write(|tx| {
        let document = request.policy_document.clone();
        Ok(policies::create_version(
            tx,
            &scope,
            &request.policy_arn,
            document,
            set_default,
        )?)
    })?;
    Ok(wire::CreatePolicyVersionResponse {
        policy_version: Some(show_version(&version, is_default, false)),
    })
}

/// The only version of a policy of AWS's.
fn managed_version(policy: &Managed) -> PolicyVersion {
    PolicyVersion {
        id: "v1".to_owned(),
        document: policy.document.clone(),
        created_at: MANAGED_SINCE,
    }
}

pub fn get_version(
    context: &Context,
    request: wire::GetPolicyVersionRequest,
) -> Result<wire::GetPolicyVersionResponse, ApiError> {
    let snapshot = context.snapshot();
    let version = match managed::find(&request.policy_arn) {
        Some(managed) if request.version_id == "v1" => {
            show_version(&managed_version(&managed), true, true)
        }
        Some(_) => {
            let text = format!(
                "Policy {} version {} does not exist.",
                request.policy_arn, request.version_id
            );
            return Err(Refusal::NoSuchEntity(text).into());
        }
        None => {
            let policy = policies::find(&snapshot, &scope(context), &request.policy_arn)?;
            let version = policies::version(policy, &request.version_id)?;
            show_version(version, policy.default_version == version.id, true)
        }
    };
    Ok(wire::GetPolicyVersionResponse {
        policy_version: Some(version),
    })
}

pub fn list_versions(
    context: &Context,
    request: wire::ListPolicyVersionsRequest,
) -> Result<wire::ListPolicyVersionsResponse, ApiError> {
    let snapshot = context.snapshot();
    let versions = match managed::find(&request.policy_arn) {
        Some(managed) => vec![show_version(&managed_version(&managed), true, false)],
        None => {
            let policy = policies::find(&snapshot, &scope(context), &request.policy_arn)?;
            // Newest first.
            let all = policy.versions.iter().rev();
            all.map(|version| show_version(version, policy.default_version == version.id, false))
                .collect()
        }
    };
    let key = |version: &wire::PolicyVersion| newest_first(version.version_id.as_deref());
    let (versions, is_truncated, marker) = page(versions, key, request.marker, request.max_items);
    Ok(wire::ListPolicyVersionsResponse {
        is_truncated,
        marker,
        versions: Some(versions),
    })
}

/// A marker of versions: texts that are ordered from the newest version to the oldest.
fn newest_first(version_id: Option<&str>) -> String {
    let number: Option<u32> = version_id.and_then(|id| id.strip_prefix('v')?.parse().ok());
    format!("{:010}", u32::MAX - number.unwrap_or(0))
}

pub fn delete_version(
    context: &Context,
    request: wire::DeletePolicyVersionRequest,
) -> Result<wire::DeletePolicyVersionResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| {
        Ok(policies::delete_version(
            tx,
            &scope,
            &request.policy_arn,
            &request.version_id,
        )?)
    })?;
    Ok(wire::DeletePolicyVersionResponse {})
}

pub fn set_default_version(
    context: &Context,
    request: wire::SetDefaultPolicyVersionRequest,
) -> Result<wire::SetDefaultPolicyVersionResponse, ApiError> {
    let (scope, arn, id) = (scope(context), &request.policy_arn, &request.version_id);
    context.write(|tx| Ok(policies::set_default_version(tx, &scope, arn, id)?))?;
    Ok(wire::SetDefaultPolicyVersionResponse {})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tx;
    use fogbank_types::Tags;

    #[test]
    fn what_is_shown_of_a_policy_depends_on_the_reply() {
        let mut tx = Tx::for_test();
        let scope = fogbank_types::Scope::new("000000000000", "global");
        let new = |name: &str, tags: Tags| {
            NewPolicy {
            name: name.to_owned(),
            path: None,
            document: r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#
                .to_owned(),
            description: Some("d".to_owned()),
            tags,
        }
        };
        let tags = Tags::from([("k".to_owned(), "v".to_owned())]);
        let tagged = policies::create(&mut tx, &scope, new("a", tags)).unwrap();
        let bare = policies::create(&mut tx, &scope, new("b", Tags::new())).unwrap();
        let parts = |policy: &Policy, reply| {
            let shown = show(policy, (0, 0), reply);
            (
                shown.description.is_some(),
                shown.tags.map(|tags| tags.len()),
            )
        };
        assert_eq!(parts(&tagged, Reply::Create), (false, Some(1)));
        assert_eq!(parts(&bare, Reply::Create), (false, None));
        assert_eq!(parts(&tagged, Reply::Get), (true, Some(1)));
        assert_eq!(parts(&bare, Reply::Get), (true, Some(0)));
        assert_eq!(parts(&tagged, Reply::List), (false, None));
    }

    #[test]
    fn versions_are_paged_from_the_newest() {
        let all: Vec<String> = (1..=11).rev().map(|n| format!("v{n}")).collect();
        let key = |id: &String| newest_first(Some(id));
        let (mut seen, mut marker) = (Vec::new(), None);
        loop {
            let (found, more, next) = page(all.clone(), key, marker, Some(2));
            seen.extend(found);
            marker = next;
            if more == Some(false) {
                break;
            }
        }
        assert_eq!(seen, all);
    }
}
