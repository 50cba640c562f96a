//! The policies of roles, users and groups: inline ones and those attached to them. Each kind of identity has the same
//! seven operations, which differ in the names of their shapes alone.

use super::{encoded, page, scope};
use crate::api::{ApiError, Context};
use crate::model::iam::{entities, identities};
use fogbank_types::iam::{Group, Role, User};
use fogbank_wire::iam as wire;

/// The last part of a policy's ARN is its name; what stands between is its path.
fn path_and_name(arn: &str) -> (String, String) {
    let resource = arn
        .split_once(":policy")
        .map_or("", |(_, resource)| resource);
    let (path, name) = resource.rsplit_once('/').unwrap_or(("", resource));
    (format!("{path}/"), name.to_owned())
}

/// The ARNs under a path, in order.
fn arns_under(arns: &[String], prefix: Option<String>) -> Vec<String> {
    let prefix = prefix.unwrap_or_else(|| "/".to_owned());
    let under = |arn: &&String| path_and_name(arn).0.starts_with(&prefix);
    let mut arns: Vec<String> = arns.iter().filter(under).cloned().collect();
    arns.sort();
    arns
}

fn show(arn: String) -> wire::AttachedPolicy {
    wire::AttachedPolicy {
        policy_name: Some(path_and_name(&arn).1),
        policy_arn: Some(arn),
    }
}

/// The operations of one kind: where its name stands in requests, then the requests and responses.
macro_rules! operations {
    ($module:ident: $row:ty, $name:ident;
     $put:ident => $put_done:ident, $get:ident => $got:ident, $list:ident => $listed:ident, $delete:ident => $deleted:ident,
     $attach:ident => $attach_done:ident, $detach:ident => $detach_done:ident, $attached:ident => $attached_list:ident) => {
        pub mod $module {
            use super::*;

            pub fn put(
                context: &Context,
                request: wire::$put,
            ) -> Result<wire::$put_done, ApiError> {
                let (scope, name, policy) = (scope(context), &request.$name, &request.policy_name);
                context.write(|tx| {
                    let text = request.policy_document.clone();
                    Ok(identities::put_policy::<$row>(
                        tx, &scope, name, policy, text,
                    )?)
                })?;
                Ok(wire::$put_done {})
            }

            pub fn get(context: &Context, request: wire::$get) -> Result<wire::$got, ApiError> {
                let snapshot = context.snapshot();
                let row = entities::find::<$row>(&snapshot, &scope(context), &request.$name)?;
                let text = identities::policy(row.as_ref(), &request.policy_name)?;
                Ok(wire::$got {
                    policy_document: encoded(text),
                    policy_name: request.policy_name,
                    $name: request.$name,
                })
            }

            pub fn list(
                context: &Context,
                request: wire::$list,
            ) -> Result<wire::$listed, ApiError> {
                let snapshot = context.snapshot();
                let row = entities::find::<$row>(&snapshot, &scope(context), &request.$name)?;
                let names = row.inline_policies.keys().cloned().collect();
                let (policy_names, is_truncated, marker) =
                    page(names, String::clone, request.marker, request.max_items);
                Ok(wire::$listed {
                    is_truncated,
                    marker,
                    policy_names,
                })
            }

            pub fn delete(
                context: &Context,
                request: wire::$delete,
            ) -> Result<wire::$deleted, ApiError> {
                let (scope, name, policy) = (scope(context), &request.$name, &request.policy_name);
                context
                    .write(|tx| Ok(identities::delete_policy::<$row>(tx, &scope, name, policy)?))?;
                Ok(wire::$deleted {})
            }

            pub fn attach(
                context: &Context,
                request: wire::$attach,
            ) -> Result<wire::$attach_done, ApiError> {
                let (scope, name, arn) = (scope(context), &request.$name, &request.policy_arn);
                context.write(|tx| Ok(identities::attach::<$row>(tx, &scope, name, arn)?))?;
                Ok(wire::$attach_done {})
            }

            pub fn detach(
                context: &Context,
                request: wire::$detach,
            ) -> Result<wire::$detach_done, ApiError> {
                let (scope, name, arn) = (scope(context), &request.$name, &request.policy_arn);
                context.write(|tx| Ok(identities::detach::<$row>(tx, &scope, name, arn)?))?;
                Ok(wire::$detach_done {})
            }

            pub fn list_attached(
                context: &Context,
                request: wire::$attached,
            ) -> Result<wire::$attached_list, ApiError> {
                let snapshot = context.snapshot();
                let row = entities::find::<$row>(&snapshot, &scope(context), &request.$name)?;
                let arns = arns_under(&row.attached_policies, request.path_prefix);
                let (arns, is_truncated, marker) =
                    page(arns, String::clone, request.marker, request.max_items);
                let attached_policies = Some(arns.into_iter().map(show).collect());
                Ok(wire::$attached_list {
                    attached_policies,
                    is_truncated,
                    marker,
                })
            }
        }
    };
}

operations! {
    role: Role, role_name;
    PutRolePolicyRequest => PutRolePolicyResponse,
    GetRolePolicyRequest => GetRolePolicyResponse,
    ListRolePoliciesRequest => ListRolePoliciesResponse,
    DeleteRolePolicyRequest => DeleteRolePolicyResponse,
    AttachRolePolicyRequest => AttachRolePolicyResponse,
    DetachRolePolicyRequest => DetachRolePolicyResponse,
    ListAttachedRolePoliciesRequest => ListAttachedRolePoliciesResponse
}
operations! {
    user: User, user_name;
    PutUserPolicyRequest => PutUserPolicyResponse,
    GetUserPolicyRequest => GetUserPolicyResponse,
    ListUserPoliciesRequest => ListUserPoliciesResponse,
    DeleteUserPolicyRequest => DeleteUserPolicyResponse,
    AttachUserPolicyRequest => AttachUserPolicyResponse,
    DetachUserPolicyRequest => DetachUserPolicyResponse,
    ListAttachedUserPoliciesRequest => ListAttachedUserPoliciesResponse
}
operations! {
    group: Group, group_name;
    PutGroupPolicyRequest => PutGroupPolicyResponse,
    GetGroupPolicyRequest => GetGroupPolicyResponse,
    ListGroupPoliciesRequest => ListGroupPoliciesResponse,
    DeleteGroupPolicyRequest => DeleteGroupPolicyResponse,
    AttachGroupPolicyRequest => AttachGroupPolicyResponse,
    DetachGroupPolicyRequest => DetachGroupPolicyResponse,
    ListAttachedGroupPoliciesRequest => ListAttachedGroupPoliciesResponse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attached_policies_are_listed_by_path() {
        let arns = ["team/b", "a", "team/a"].map(|name| format!("arn:aws:iam::1:policy/{name}"));
        let under = |prefix: Option<&str>| -> Vec<String> {
            let arns = arns_under(&arns, prefix.map(str::to_owned));
            arns.iter().map(|arn| path_and_name(arn).1).collect()
        };
        assert_eq!(under(Some("/team/")), ["a", "b"]);
        assert_eq!(under(None).len(), 3);
    }
}
