//! Who has a policy.

use super::{page, scope};
use crate::api::{ApiError, Context};
use crate::model::iam::policies::{self, Holder, HolderKind, Usage};
use fogbank_wire::iam as wire;

/// The kinds of identities that a filter lets pass. The two that name kinds of policies let all pass: the request names
/// one policy.
fn passes(filter: Option<&str>, kind: HolderKind) -> bool {
    match filter {
        Some("Group") => kind == HolderKind::Group,
        Some("Role") => kind == HolderKind::Role,
        Some("User") => kind == HolderKind::User,
        _ => true,
    }
}

/// The marker: texts in the order of holders.
fn position(holder: &Holder) -> String {
    let kind = match holder.kind {
        HolderKind::Group => "group",
        HolderKind::Role => "role",
        HolderKind::User => "user",
    };
    format!("{kind}/{}", holder.name)
}

pub fn list(
    context: &Context,
    request: wire::ListEntitiesForPolicyRequest,
) -> Result<wire::ListEntitiesForPolicyResponse, ApiError> {
    let usage = match request.policy_usage_filter.as_deref() {
        Some("PermissionsPolicy") => Some(Usage::Permissions),
        Some("PermissionsBoundary") => Some(Usage::Boundary),
        _ => None,
    };
    let snapshot = context.snapshot();
    let mut found = policies::holders(&snapshot, &scope(context), &request.policy_arn, usage)?;
    let prefix = request.path_prefix.unwrap_or_else(|| "/".to_owned());
    let filter = request.entity_filter.as_deref();
    found.retain(|holder| passes(filter, holder.kind) && holder.path.starts_with(&prefix));
    let (found, is_truncated, marker) = page(found, position, request.marker, request.max_items);
    let (mut groups, mut roles, mut users) = (Vec::new(), Vec::new(), Vec::new());
    for Holder { kind, name, id, .. } in found {
        let (name, id) = (Some(name), Some(id));
        match kind {
            HolderKind::Group => groups.push(wire::PolicyGroup {
                group_name: name,
                group_id: id,
            }),
            HolderKind::Role => roles.push(wire::PolicyRole {
                role_name: name,
                role_id: id,
            }),
            HolderKind::User => users.push(wire::PolicyUser {
                user_name: name,
                user_id: id,
            }),
        }
    }
    Ok(wire::ListEntitiesForPolicyResponse {
        is_truncated,
        marker,
        policy_groups: Some(groups),
        policy_roles: Some(roles),
        policy_users: Some(users),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_in_the_order_of_holders() {
        let holder = |kind, name: &str| Holder {
            kind,
            name: name.to_owned(),
            id: String::new(),
            path: "/".to_owned(),
        };
        use HolderKind::{Group, Role, User};
        let kinds = [Group, Role, User];
        let holders: Vec<_> = kinds
            .into_iter()
            .flat_map(|kind| ["A", "a-b", "a0"].map(|name| holder(kind, name)))
            .collect();
        assert!(holders.is_sorted_by_key(position));
        assert!(holders.is_sorted());
    }

    #[test]
    fn a_filter_lets_its_kind_pass() {
        assert!(passes(Some("Role"), HolderKind::Role));
        assert!(!passes(Some("Role"), HolderKind::User));
        assert!(passes(None, HolderKind::Group));
        assert!(passes(Some("LocalManagedPolicy"), HolderKind::Group));
    }
}
