//! STS: who is calling, and credentials for a while.
//!
//! Credentials are made from the region's key (`fogbank_pki::session`), which reads them back: there is no list of them.

use super::{ApiError, Context};
use crate::authorization;
use crate::model::iam::evaluation::PartyKind;
use crate::model::iam::{documents, roles};
use fogbank_pki::{Session, Sessions};
use fogbank_types::iam::AccessKey;
use fogbank_types::{Scope, Timestamp};
use fogbank_wire::sts as wire;

super::handlers! {
    Sts:
    read GetCallerIdentity => caller_identity,
    write AssumeRole => assume_role,
    write GetSessionToken => session_token,
    write DecodeAuthorizationMessage => decode_message,
    read GetAccessKeyInfo => access_key_info,
}

/// Seconds that a session of a role lasts unless told otherwise.
const ROLE_SECONDS: i32 = 3600;
/// Seconds that a session of a role lasts at most that was assumed by another role.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
const CHAINED_SECONDS: i32 = 3600;
/// Seconds that a session token of the root user lasts at most, and unless told otherwise.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html>
const ROOT_SECONDS: i32 = 3600;
/// The same of a user, unless told otherwise.
const USER_SECONDS: i32 = 43_200;

fn caller_identity(
    context: &Context,
    _request: wire::GetCallerIdentityRequest,
) -> Result<wire::GetCallerIdentityResponse, ApiError> {
    let party = &context.principal().party;
    Ok(wire::GetCallerIdentityResponse {
        arn: Some(party.arn.clone()),
        user_id: Some(party.unique_id.clone()),
        account: Some(party.account.clone()),
    })
}

/// Whose a key is: its id says so, whether or not there is such a key.
fn access_key_info(
    _: &Context,
    request: wire::GetAccessKeyInfoRequest,
) -> Result<wire::GetAccessKeyInfoResponse, ApiError> {
    let account = AccessKey::account_of(&request.access_key_id)
        .ok_or_else(|| ApiError::new("ValidationError", "The access key ID is not valid."))?;
    Ok(wire::GetAccessKeyInfoResponse {
        account: Some(account),
    })
}

fn sessions(context: &Context) -> Result<Sessions, ApiError> {
    Sessions::open(&context.config().data_dir).map_err(|error| {
        tracing::error!(%error, "no credentials can be given");
        ApiError::new("InternalFailure", "The region's key can't be read.").with_status(500)
    })
}

fn credentials(context: &Context, session: &Session) -> Result<wire::Credentials, ApiError> {
    let credentials = sessions(context)?.credentials(session);
    Ok(wire::Credentials {
        access_key_id: credentials.access_key_id,
        expiration: Timestamp(session.expires_at_ms),
        secret_access_key: credentials.secret_access_key,
        session_token: credentials.token,
    })
}

fn assume_role(
    context: &Context,
    request: wire::AssumeRoleRequest,
) -> Result<wire::AssumeRoleResponse, ApiError> {
    let account = &context.caller.account;
    let denied = || {
        let text = format!(
            "User: {} is not authorized to perform: sts:AssumeRole on resource: {}",
            context.principal().party.arn,
            request.role_arn
        );
        ApiError::new("AccessDenied", text).with_status(403)
    };
    let party = &context.principal().party;
    if context.is_enforced() && party.kind == PartyKind::Root {
        let text = "Roles may not be assumed by root accounts.";
        return Err(ApiError::new("AccessDenied", text).with_status(403));
    }
    let parts: Vec<&str> = request.role_arn.splitn(6, ':').collect();
    let ["arn", _, "iam", "", owner, resource] = parts.as_slice() else {
        return Err(ApiError::new(
            "ValidationError",
            format!("{} is invalid", request.role_arn),
        ));
    };
    let name = resource
        .strip_prefix("role/")
        .and_then(|path| path.rsplit('/').next())
        .ok_or_else(denied)?;
    let snapshot = context.snapshot();
    let role = roles::find(&snapshot, &Scope::new(*owner, "global"), name).map_err(|_| denied())?;
    // Where IAM was asked it has read the trust policy, to the letter.
    let trusts =
        context.is_enforced() || documents::trusts_account(&role.assume_role_policy, account);
    if role.arn != request.role_arn || !trusts {
        return Err(denied());
    }
    if let Some(policy) = &request.policy {
        documents::check(policy, documents::Kind::Identity)?;
    }
    let seconds = request.duration_seconds.unwrap_or(ROLE_SECONDS);
    if seconds > role.max_session_seconds as i32 {
        let text =
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
        return Err(ApiError::new("ValidationError", text));
    }
    if matches!(party.kind, PartyKind::Session { .. }) && seconds > CHAINED_SECONDS {
        let text = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.";
        return Err(ApiError::new("ValidationError", text));
    }
    let expiration = context.now().plus_ms(i64::from(seconds) * 1000);
    let credentials = credentials(
        context,
        &Session {
            account: (*owner).to_owned(),
            role_id: role.role_id.clone(),
            role: name.to_owned(),
            name: request.role_session_name.clone(),
            issued_at_ms: context.now().0,
            expires_at_ms: expiration.0,
            user_id: String::new(),
            policies: session_policies(&request),
            tags: session_tags(&request),
        },
    )?;
    let session = format!("assumed-role/{name}/{}", request.role_session_name);
    Ok(wire::AssumeRoleResponse {
        assumed_role_user: Some(wire::AssumedRoleUser {
            arn: Scope::new(*owner, "global").arn("sts", &session),
            assumed_role_id: format!("{}:{}", role.role_id, request.role_session_name),
        }),
        credentials: Some(credentials),
        packed_policy_size: request
            .policy
            .map(|policy| (policy.len() * 100 / 2048).min(100) as i32),
        source_identity: request.source_identity,
    })
}

/// What the session is limited to: a policy of its own, and managed ones.
fn session_policies(request: &wire::AssumeRoleRequest) -> Vec<String> {
    let arns = request.policy_arns.iter().flatten();
    let arns = arns.filter_map(|given| given.arn.clone());
    request.policy.iter().cloned().chain(arns).collect()
}

fn session_tags(request: &wire::AssumeRoleRequest) -> Vec<(String, String)> {
    let tags = request.tags.iter().flatten();
    tags.map(|tag| (tag.key.clone(), tag.value.clone()))
        .collect()
}

fn session_token(
    context: &Context,
    request: wire::GetSessionTokenRequest,
) -> Result<wire::GetSessionTokenResponse, ApiError> {
    let party = &context.principal().party;
    let (user_id, seconds) = match &party.kind {
        PartyKind::User { .. } => (
            party.unique_id.clone(),
            request.duration_seconds.unwrap_or(USER_SECONDS),
        ),
        _ => {
            let asked = request.duration_seconds.unwrap_or(ROOT_SECONDS);
            (String::new(), asked.min(ROOT_SECONDS))
        }
    };
    if context.session().is_some() {
        let text = "Cannot call GetSessionToken with session credentials";
        return Err(ApiError::new("AccessDenied", text).with_status(403));
    }
    let expiration = context.now().plus_ms(i64::from(seconds) * 1000);
    let credentials = credentials(
        context,
        &Session {
            account: context.caller.account.clone(),
            issued_at_ms: context.now().0,
            expires_at_ms: expiration.0,
            user_id,
            ..Session::default()
        },
    )?;
    Ok(wire::GetSessionTokenResponse {
        credentials: Some(credentials),
    })
}

fn decode_message(
    context: &Context,
    request: wire::DecodeAuthorizationMessageRequest,
) -> Result<wire::DecodeAuthorizationMessageResponse, ApiError> {
    let decoded = authorization::decoded(&sessions(context)?, &request.encoded_message);
    let decoded = decoded.ok_or_else(|| {
        let text = "The specified message is not valid, such as when it contains invalid characters or was altered.";
        ApiError::new("InvalidAuthorizationMessageException", text)
    })?;
    Ok(wire::DecodeAuthorizationMessageResponse {
        decoded_message: Some(decoded),
    })
}
