//! IAM: users, groups, roles, policies and instance profiles (fact IAM-7). Nothing is enforced yet; documents are checked
//! and kept.
//!
//! Rows live in the account's `global` scope. Called by `api/iam` and `api/sts`.

pub mod access_keys;
pub mod account_aliases;
mod conditions;
pub mod documents;
pub mod entities;
pub mod evaluation;
pub mod groups;
pub mod identities;
pub mod managed;
pub mod oidc_providers;
pub mod passwords;
pub mod policies;
pub mod profiles;
mod resources;
pub mod roles;
pub mod simulation;
pub mod users;

use super::{Refused, Tx};
use fogbank_types::Tags;

/// What IAM refuses, a variant per error code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    NoSuchEntity(String),
    #[error("{0}")]
    EntityAlreadyExists(String),
    #[error("{0}")]
    DeleteConflict(String),
    #[error("{0}")]
    LimitExceeded(String),
    #[error("{0}")]
    MalformedPolicyDocument(String),
    #[error("{0}")]
    InvalidInput(String),
    #[error("{0}")]
    Validation(String),
    #[error("{0}")]
    UnmodifiableEntity(String),
    #[error("{0}")]
    PolicyNotAttachable(String),
}

impl Refused for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NoSuchEntity(_) => "NoSuchEntity",
            Self::EntityAlreadyExists(_) => "EntityAlreadyExists",
            Self::DeleteConflict(_) => "DeleteConflict",
            Self::LimitExceeded(_) => "LimitExceeded",
            Self::MalformedPolicyDocument(_) => "MalformedPolicyDocument",
            Self::InvalidInput(_) => "InvalidInput",
            Self::Validation(_) => "ValidationError",
            Self::UnmodifiableEntity(_) => "UnmodifiableEntity",
            Self::PolicyNotAttachable(_) => "PolicyNotAttachable",
        }
    }

    fn status(&self) -> u16 {
        match self {
            Self::NoSuchEntity(_) => 404,
            Self::EntityAlreadyExists(_) | Self::DeleteConflict(_) | Self::LimitExceeded(_) => 409,
            _ => 400,
        }
    }
}

/// An id such as `AROA...`: a prefix of four letters, then 17 letters and digits.
fn unique_id(tx: &mut Tx, prefix: &str) -> String {
    const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits = tx.random();
    (0..17).fold(prefix.to_owned(), |mut id, place| {
        id.push(char::from(DIGITS[(bits >> (place * 5)) as usize & 31]));
        id
    })
}

/// Letters, digits and `_+=,.@-`.
fn check_name(text: &str, what: &str, max: usize) -> Result<(), Refusal> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    if (1..=max).contains(&text.len()) && text.bytes().all(good) {
        return Ok(());
    }
    Err(Refusal::Validation(format!(
        "The specified value for {what} is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-"
    )))
}

/// `/` or `/.../`.
fn check_path(path: &str) -> Result<(), Refusal> {
    let good = path == "/" || (path.starts_with('/') && path.ends_with('/') && path.len() > 2);
    if good && path.len() <= 512 && path.bytes().all(|b| (0x21..=0x7e).contains(&b)) {
        return Ok(());
    }
    Err(Refusal::Validation(
        "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.".to_owned(),
    ))
}

/// Tags added to others, 50 at most.
fn merged(tags: &Tags, add: Tags, remove: &[String]) -> Result<Tags, Refusal> {
    if let Some(key) = add
        .keys()
        .find(|key| key.to_ascii_lowercase().starts_with("aws:"))
    {
        return Err(Refusal::InvalidInput(format!(
            "Tag key '{key}' is reserved: it must not start with aws:."
        )));
    }
    let mut tags = tags.clone();
    // Keys are the same whatever their case: the new spelling takes the place of the old one.
    tags.retain(|old, _| !add.keys().any(|key| key.eq_ignore_ascii_case(old)));
    tags.extend(add);
    tags.retain(|key, _| !remove.contains(key));
    if tags.len() > 50 {
        return Err(Refusal::LimitExceeded(
            "The number of tags has reached the maximum limit.".to_owned(),
        ));
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_keys_are_the_same_whatever_their_case() {
        let tag = |key: &str, value: &str| Tags::from([(key.to_owned(), value.to_owned())]);
        let tags = merged(&tag("Key", "old"), tag("key", "new"), &[]).unwrap();
        assert_eq!(tags, tag("key", "new"));
    }
}
