//! The account's rules for passwords.

use super::scope;
use crate::api::{ApiError, Context};
use crate::model::iam::passwords as model;
use fogbank_types::iam::PasswordPolicy;
use fogbank_wire::iam as wire;

/// Of a policy that says nothing of it.
const LENGTH_UNLESS_SAID: i32 = 6;

pub fn update(
    context: &Context,
    request: wire::UpdateAccountPasswordPolicyRequest,
) -> Result<wire::UpdateAccountPasswordPolicyResponse, ApiError> {
    let is_set = |given: Option<bool>| given == Some(true);
    let length = request.minimum_password_length;
    let policy = PasswordPolicy {
        scope: scope(context),
        minimum_length: length.unwrap_or(LENGTH_UNLESS_SAID),
        require_symbols: is_set(request.require_symbols),
        require_numbers: is_set(request.require_numbers),
        require_uppercase: is_set(request.require_uppercase_characters),
        require_lowercase: is_set(request.require_lowercase_characters),
        allow_users_to_change: is_set(request.allow_users_to_change_password),
        // 0 is as good as nothing.
        max_age_days: request.max_password_age.filter(|days| *days > 0),
        reuse_prevention: request.password_reuse_prevention.filter(|count| *count > 0),
        hard_expiry: is_set(request.hard_expiry),
    };
    context.write(|tx| {
        model::put(tx, policy.clone());
        Ok(wire::UpdateAccountPasswordPolicyResponse {})
    })
}

pub fn get(
    context: &Context,
    _request: wire::GetAccountPasswordPolicyRequest,
) -> Result<wire::GetAccountPasswordPolicyResponse, ApiError> {
    let policy = model::get(&context.snapshot(), &scope(context))?;
    Ok(wire::GetAccountPasswordPolicyResponse {
        password_policy: wire::PasswordPolicy {
            allow_users_to_change_password: Some(policy.allow_users_to_change),
            expire_passwords: Some(policy.max_age_days.is_some()),
            hard_expiry: Some(policy.hard_expiry),
            max_password_age: policy.max_age_days,
            minimum_password_length: Some(policy.minimum_length),
            password_reuse_prevention: policy.reuse_prevention,
            require_lowercase_characters: Some(policy.require_lowercase),
            require_numbers: Some(policy.require_numbers),
            require_symbols: Some(policy.require_symbols),
            require_uppercase_characters: Some(policy.require_uppercase),
        },
    })
}

pub fn delete(
    context: &Context,
    _request: wire::DeleteAccountPasswordPolicyRequest,
) -> Result<wire::DeleteAccountPasswordPolicyResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| Ok(model::delete(tx, &scope)?))?;
    Ok(wire::DeleteAccountPasswordPolicyResponse {})
}
