//! IAM: shapes to commands and rows to shapes. Its rows belong to no region.

mod access_keys;
mod account_aliases;
mod boundaries;
mod groups;
mod identity_policies;
mod oidc_providers;
mod passwords;
mod policies;
mod policy_holders;
mod profiles;
mod roles;
mod simulation;
mod tags;
mod users;

use super::{ApiError, Context};
use crate::model::iam::Refusal;
use crate::model::iam::evaluation::PartyKind;
use fogbank_types::{Scope, Tags};
use fogbank_wire::iam as wire;

super::handlers! {
    Iam:
    write CreateRole => roles::create,
    read GetRole => roles::get,
    read ListRoles => roles::list,
    write UpdateRole => roles::update,
    write UpdateRoleDescription => roles::update_description,
    write UpdateAssumeRolePolicy => roles::update_trust,
    write DeleteRole => roles::delete,
    write TagRole => tags::role::tag,
    write UntagRole => tags::role::untag,
    read ListRoleTags => tags::role::list,
    write CreateServiceLinkedRole => roles::create_service_linked,
    write DeleteServiceLinkedRole => roles::delete_service_linked,
    read GetServiceLinkedRoleDeletionStatus => roles::deletion_status,
    write PutRolePolicy => identity_policies::role::put,
    read GetRolePolicy => identity_policies::role::get,
    read ListRolePolicies => identity_policies::role::list,
    write DeleteRolePolicy => identity_policies::role::delete,
    write AttachRolePolicy => identity_policies::role::attach,
    write DetachRolePolicy => identity_policies::role::detach,
    read ListAttachedRolePolicies => identity_policies::role::list_attached,
    write CreatePolicy => policies::create,
    read GetPolicy => policies::get,
    read ListPolicies => policies::list,
    write DeletePolicy => policies::delete,
    write CreatePolicyVersion => policies::create_version,
    read GetPolicyVersion => policies::get_version,
    read ListPolicyVersions => policies::list_versions,
    write DeletePolicyVersion => policies::delete_version,
    write TagPolicy => tags::policy::tag,
    write UntagPolicy => tags::policy::untag,
    read ListPolicyTags => tags::policy::list,
    write SetDefaultPolicyVersion => policies::set_default_version,
    read ListEntitiesForPolicy => policy_holders::list,
    write CreateInstanceProfile => profiles::create,
    read GetInstanceProfile => profiles::get,
    read ListInstanceProfiles => profiles::list,
    read ListInstanceProfilesForRole => profiles::list_for_role,
    write AddRoleToInstanceProfile => profiles::add_role,
    write RemoveRoleFromInstanceProfile => profiles::remove_role,
    write DeleteInstanceProfile => profiles::delete,
    write TagInstanceProfile => tags::profile::tag,
    write UntagInstanceProfile => tags::profile::untag,
    read ListInstanceProfileTags => tags::profile::list,
    write CreateOpenIDConnectProvider => oidc_providers::create,
    read GetOpenIDConnectProvider => oidc_providers::get,
    read ListOpenIDConnectProviders => oidc_providers::list,
    write DeleteOpenIDConnectProvider => oidc_providers::delete,
    write AddClientIDToOpenIDConnectProvider => oidc_providers::add_client_id,
    write RemoveClientIDFromOpenIDConnectProvider => oidc_providers::remove_client_id,
    write UpdateOpenIDConnectProviderThumbprint => oidc_providers::update_thumbprints,
    write TagOpenIDConnectProvider => tags::oidc_provider::tag,
    write UntagOpenIDConnectProvider => tags::oidc_provider::untag,
    read ListOpenIDConnectProviderTags => tags::oidc_provider::list,
    write PutRolePermissionsBoundary => boundaries::role::put,
    write DeleteRolePermissionsBoundary => boundaries::role::delete,
    write PutUserPermissionsBoundary => boundaries::user::put,
    write DeleteUserPermissionsBoundary => boundaries::user::delete,
    write CreateUser => users::create,
    read GetUser => users::get,
    read ListUsers => users::list,
    write UpdateUser => users::update,
    write DeleteUser => users::delete,
    write TagUser => tags::user::tag,
    write UntagUser => tags::user::untag,
    read ListUserTags => tags::user::list,
    write PutUserPolicy => identity_policies::user::put,
    read GetUserPolicy => identity_policies::user::get,
    read ListUserPolicies => identity_policies::user::list,
    write DeleteUserPolicy => identity_policies::user::delete,
    write AttachUserPolicy => identity_policies::user::attach,
    write DetachUserPolicy => identity_policies::user::detach,
    read ListAttachedUserPolicies => identity_policies::user::list_attached,
    write CreateAccessKey => access_keys::create,
    read ListAccessKeys => access_keys::list,
    write UpdateAccessKey => access_keys::update,
    write DeleteAccessKey => access_keys::delete,
    read GetAccessKeyLastUsed => access_keys::last_used,
    write CreateGroup => groups::create,
    read GetGroup => groups::get,
    read ListGroups => groups::list,
    write UpdateGroup => groups::update,
    write DeleteGroup => groups::delete,
    write AddUserToGroup => groups::add_user,
    write RemoveUserFromGroup => groups::remove_user,
    read ListGroupsForUser => users::list_groups,
    write PutGroupPolicy => identity_policies::group::put,
    read GetGroupPolicy => identity_policies::group::get,
    read ListGroupPolicies => identity_policies::group::list,
    write DeleteGroupPolicy => identity_policies::group::delete,
    write AttachGroupPolicy => identity_policies::group::attach,
    write DetachGroupPolicy => identity_policies::group::detach,
    read ListAttachedGroupPolicies => identity_policies::group::list_attached,
    write CreateAccountAlias => account_aliases::create,
    write DeleteAccountAlias => account_aliases::delete,
    read ListAccountAliases => account_aliases::list,
    write UpdateAccountPasswordPolicy => passwords::update,
    read GetAccountPasswordPolicy => passwords::get,
    write DeleteAccountPasswordPolicy => passwords::delete,
    read SimulatePrincipalPolicy => simulation::principal,
    read SimulateCustomPolicy => simulation::custom,
    read GetContextKeysForPrincipalPolicy => simulation::principal_keys,
    read GetContextKeysForCustomPolicy => simulation::custom_keys,
}

fn scope(context: &Context) -> Scope {
    context.scope().global()
}

/// The user whose key the call is made with; `None`: the root user, or a session.
fn caller_name(context: &Context) -> Option<String> {
    match &context.principal().party.kind {
        PartyKind::User { name } => Some(name.clone()),
        _ => None,
    }
}

fn read_tags(tags: Option<Vec<wire::Tag>>) -> Result<Tags, ApiError> {
    let mut read = Tags::new();
    for tag in tags.unwrap_or_default() {
        let same = |key: &String| key.eq_ignore_ascii_case(&tag.key);
        if read.keys().any(same) {
            let text = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(Refusal::InvalidInput(text.to_owned()).into());
        }
        read.insert(tag.key, tag.value);
    }
    Ok(read)
}

fn show_tags(tags: &Tags) -> Vec<wire::Tag> {
    tags.iter()
        .map(|(key, value)| wire::Tag {
            key: key.clone(),
            value: value.clone(),
        })
        .collect()
}

/// Policy documents are percent-encoded in replies (RFC 3986).
fn encoded(text: &str) -> String {
    text.bytes()
        .fold(String::with_capacity(text.len() * 2), |mut out, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
            out
        })
}

/// A page of a list that is ordered by `key`: the items, whether there are more, and the marker for them.
#[allow(clippy::type_complexity)]
fn page<T>(
    mut items: Vec<T>,
    key: impl Fn(&T) -> String,
    marker: Option<String>,
    max_items: Option<i32>,
) -> (Vec<T>, Option<bool>, Option<String>) {
    if let Some(marker) = marker {
        items.retain(|item| key(item) >= marker);
    }
    let max = max_items.map_or(100, |max| max.max(1) as usize);
    let next = items.get(max).map(key);
    items.truncate(max);
    (items, Some(next.is_some()), next)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn documents_are_percent_encoded() {
        assert_eq!(
            encoded(r#"{"a": "ü*~"}"#),
            "%7B%22a%22%3A%20%22%C3%BC%2A~%22%7D"
        );
    }

    #[test]
    fn a_marker_goes_on_where_the_page_ended() {
        let all: Vec<String> = (0..5).map(|n| n.to_string()).collect();
        let (first, more, marker) = page(all.clone(), String::clone, None, Some(3));
        assert_eq!((first.len(), more), (3, Some(true)));
        let (second, more, marker) = page(all, String::clone, marker, Some(3));
        assert_eq!(
            (second, more, marker),
            (vec!["3".to_owned(), "4".to_owned()], Some(false), None)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_differ_in_case_only_are_duplicates() {
        let tag = |key: &str| wire::Tag {
            key: key.to_owned(),
            value: String::new(),
        };
        assert_eq!(read_tags(Some(vec![tag("a"), tag("b")])).unwrap().len(), 2);
        let refused = read_tags(Some(vec![tag("Foo"), tag("foo")])).unwrap_err();
        assert_eq!(refused.0.code, "InvalidInput");
    }
}
