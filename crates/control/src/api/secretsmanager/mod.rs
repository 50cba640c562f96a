//! Secrets Manager: shapes to commands, rows to shapes.

mod listing;
mod passwords;
mod policies;
mod secrets;
mod values;

use super::page::requested;
use super::{ApiError, Context};
use crate::model::secretsmanager::{Refusal, invalid};
use fogbank_types::Scope;
use fogbank_types::secret::SecretValue;
use fogbank_wire::secretsmanager as wire;

super::handlers! {
    Secretsmanager:
    write CreateSecret => secrets::create,
    read DescribeSecret => secrets::describe,
    write UpdateSecret => secrets::update,
    write DeleteSecret => secrets::delete,
    write RestoreSecret => secrets::restore,
    write TagResource => secrets::tag,
    write UntagResource => secrets::untag,
    write GetSecretValue => values::get,
    write PutSecretValue => values::put,
    write BatchGetSecretValue => values::get_many,
    write UpdateSecretVersionStage => values::update_stage,
    read ListSecretVersionIds => listing::versions,
    read ListSecrets => listing::secrets,
    write PutResourcePolicy => policies::put,
    read GetResourcePolicy => policies::get,
    write DeleteResourcePolicy => policies::delete,
    read ValidateResourcePolicy => policies::validate,
    write GetRandomPassword => passwords::random,
}

/// Where a secret is that is read: another account's may be, by its ARN, if IAM has found that both accounts allow it.
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access_examples_cross.html>
fn home(context: &Context, id: &str) -> Scope {
    let own = context.scope();
    match id.splitn(6, ':').collect::<Vec<_>>().as_slice() {
        ["arn", _, "secretsmanager", region, account, _]
            if context.is_enforced() && *region == own.region =>
        {
            Scope::new(*account, *region)
        }
        _ => own,
    }
}

/// One page of a list, and the token of the next.
fn page<T>(
    items: Vec<T>,
    token: Option<&str>,
    most: Option<i32>,
    most_unless_said: usize,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    Ok(requested(items, token, most, most_unless_said).ok_or(Refusal::Token)?)
}

/// A request's value, if it has one.
fn value(
    text: Option<String>,
    binary: Option<bytes::Bytes>,
) -> Result<Option<SecretValue>, ApiError> {
    match (text, binary) {
        (Some(_), Some(_)) => Err(invalid(
            "You can't specify both a binary secret value and a string secret value in the same secret.",
        )
        .into()),
        (Some(text), None) => Ok(Some(SecretValue::Text(text))),
        (None, Some(bytes)) => Ok(Some(SecretValue::Binary(bytes.to_vec()))),
        (None, None) => Ok(None),
    }
}

/// A decrypted value, in the member that is for its kind.
fn show_value(value: SecretValue) -> (Option<String>, Option<bytes::Bytes>) {
    match value {
        SecretValue::Text(text) => (Some(text), None),
        SecretValue::Binary(bytes) => (None, Some(bytes::Bytes::from(bytes))),
        SecretValue::Encrypted { .. } => (None, None),
    }
}

fn show_tags(tags: &fogbank_types::Tags) -> Vec<wire::Tag> {
    let tag = |(key, value): (&String, &String)| wire::Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    tags.iter().map(tag).collect()
}
