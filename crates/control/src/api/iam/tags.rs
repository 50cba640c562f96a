//! Tags of roles, users, policies, instance profiles and OpenID Connect providers, by the same three operations each.

use super::{page, read_tags, scope, show_tags};
use crate::api::{ApiError, Context};
use crate::model::iam::entities;
use fogbank_types::Tags;
use fogbank_types::iam::{InstanceProfile, OidcProvider, Policy, Role, User};
use fogbank_wire::iam as wire;

macro_rules! operations {
    ($module:ident: $row:ty, $name:ident;
     $tag:ident => $tagged:ident, $untag:ident => $untagged:ident, $list:ident => $listed:ident) => {
        pub mod $module {
            use super::*;

            pub fn tag(context: &Context, request: wire::$tag) -> Result<wire::$tagged, ApiError> {
                let (scope, name) = (scope(context), &request.$name);
                let add = read_tags(Some(request.tags))?;
                context.write(|tx| {
                    Ok(entities::change_tags::<$row>(
                        tx,
                        &scope,
                        name,
                        add.clone(),
                        &[],
                    )?)
                })?;
                Ok(wire::$tagged {})
            }

            pub fn untag(
                context: &Context,
                request: wire::$untag,
            ) -> Result<wire::$untagged, ApiError> {
                let (scope, name, keys) = (scope(context), &request.$name, &request.tag_keys);
                context.write(|tx| {
                    Ok(entities::change_tags::<$row>(
                        tx,
                        &scope,
                        name,
                        Tags::new(),
                        keys,
                    )?)
                })?;
                Ok(wire::$untagged {})
            }

            pub fn list(
                context: &Context,
                request: wire::$list,
            ) -> Result<wire::$listed, ApiError> {
                let snapshot = context.snapshot();
                let row = entities::find::<$row>(&snapshot, &scope(context), &request.$name)?;
                let (tags, is_truncated, marker) = page(
                    show_tags(&row.tags),
                    |tag| tag.key.clone(),
                    request.marker,
                    request.max_items,
                );
                Ok(wire::$listed {
                    is_truncated,
                    marker,
                    tags,
                })
            }
        }
    };
}

operations! {
    role: Role, role_name;
    TagRoleRequest => TagRoleResponse,
    UntagRoleRequest => UntagRoleResponse,
    ListRoleTagsRequest => ListRoleTagsResponse
}
operations! {
    user: User, user_name;
    TagUserRequest => TagUserResponse,
    UntagUserRequest => UntagUserResponse,
    ListUserTagsRequest => ListUserTagsResponse
}
operations! {
    policy: Policy, policy_arn;
    TagPolicyRequest => TagPolicyResponse,
    UntagPolicyRequest => UntagPolicyResponse,
    ListPolicyTagsRequest => ListPolicyTagsResponse
}
operations! {
    profile: InstanceProfile, instance_profile_name;
    TagInstanceProfileRequest => TagInstanceProfileResponse,
    UntagInstanceProfileRequest => UntagInstanceProfileResponse,
    ListInstanceProfileTagsRequest => ListInstanceProfileTagsResponse
}
operations! {
    oidc_provider: OidcProvider, open_id_connect_provider_arn;
    TagOpenIDConnectProviderRequest => TagOpenIDConnectProviderResponse,
    UntagOpenIDConnectProviderRequest => UntagOpenIDConnectProviderResponse,
    ListOpenIDConnectProviderTagsRequest => ListOpenIDConnectProviderTagsResponse
}
