//! Key policies.

use super::page;
use crate::api::{ApiError, Context};
use crate::model::iam::evaluation::{Grants, Resource, judge};
use crate::model::kms::keys::{self, Named};
use crate::model::kms::{Refusal, policies as model};
use fogbank_wire::kms as wire;

/// Refuses a policy that is none, or that would lock its own giver out.
/// <https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html#prevent-unmanageable-key>
pub fn check(
    context: &Context,
    arn: &str,
    policy: &str,
    bypass: Option<bool>,
) -> Result<(), ApiError> {
    model::check(policy)?;
    if bypass == Some(true) {
        return Ok(());
    }
    let party = &context.principal().party;
    let resource = Resource::new(arn).with_policy(policy, true);
    let grants = Grants::of(&context.snapshot(), party);
    let action = "kms:PutKeyPolicy";
    if judge(&grants, party, action, &resource, &party.conditions()).is_allowed() {
        return Ok(());
    }
    Err(Refusal::MalformedPolicy(
        "The new key policy will not allow you to update the key policy in the future.".to_owned(),
    )
    .into())
}

pub fn get(
    context: &Context,
    input: wire::GetKeyPolicyRequest,
) -> Result<wire::GetKeyPolicyResponse, ApiError> {
    let snapshot = context.snapshot();
    let key = keys::find(&snapshot, &context.scope(), &input.key_id, Named::Directly)?;
    model::check_name(input.policy_name.as_deref())?;
    Ok(wire::GetKeyPolicyResponse {
        policy: Some(key.policy.clone()),
        policy_name: Some(model::NAME.to_owned()),
    })
}

pub fn put(
    context: &Context,
    input: wire::PutKeyPolicyRequest,
) -> Result<wire::PutKeyPolicyResponse, ApiError> {
    let scope = context.scope();
    let snapshot = context.snapshot();
    let key = keys::find(&snapshot, &scope, &input.key_id, Named::Directly)?;
    model::check_name(input.policy_name.as_deref())?;
    let bypass = input.bypass_policy_lockout_safety_check;
    check(context, &key.arn(), &input.policy, bypass)?;
    context
        .write(|tx| {
            let (id, text) = (&input.key_id, &input.policy);
            Ok(model::put(tx, &scope, id, text)?)
        })
        .map(|()| wire::PutKeyPolicyResponse {})
}

pub fn list(
    context: &Context,
    input: wire::ListKeyPoliciesRequest,
) -> Result<wire::ListKeyPoliciesResponse, ApiError> {
    let snapshot = context.snapshot();
    keys::find(&snapshot, &context.scope(), &input.key_id, Named::Directly)?;
    let all = vec![model::NAME.to_owned()];
    let (names, next) = page(all, input.marker.as_deref(), input.limit, 100)?;
    Ok(wire::ListKeyPoliciesResponse {
        policy_names: Some(names),
        truncated: Some(next.is_some()),
        next_marker: next,
    })
}
