//! The root user, who every caller is until authentication is enforced. Other users come later.

use super::scope;
use crate::api::{ApiError, Context};
use crate::model::iam::Refusal;
use fogbank_types::Timestamp;
use fogbank_wire::iam as wire;

/// When the account was opened, as far as this region is concerned: 2020-01-01.
const ACCOUNT_SINCE: Timestamp = Timestamp(1_577_836_800_000);

pub fn get(
    context: &Context,
    request: wire::GetUserRequest,
) -> Result<wire::GetUserResponse, ApiError> {
    if let Some(name) = request.user_name {
        return Err(
            Refusal::NoSuchEntity(format!("The user with name {name} cannot be found.")).into(),
        );
    }
    let scope = scope(context);
    Ok(wire::GetUserResponse {
        user: wire::User {
            arn: scope.arn("iam", "root"),
            create_date: ACCOUNT_SINCE,
            path: "/".to_owned(),
            user_id: scope.account,
            user_name: "root".to_owned(),
            ..wire::User::default()
        },
    })
}
