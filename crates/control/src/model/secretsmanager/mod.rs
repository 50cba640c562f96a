//! Rules of Secrets Manager: secrets, their versions and staging labels, deletion with a recovery window.
//!
//! Called by `api::secretsmanager`, by `api::ssm` for references to secrets, and `reconcile::parameter_expiry`. What must
//! stay true: a staging label stands on one version; AWSCURRENT, once there, never goes; a version's value never changes;
//! names are unique among an account's secrets of a region, also of those that wait for their deletion.
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html>

pub mod filters;
pub mod passwords;
pub mod policies;
pub mod secrets;
pub mod stages;
#[cfg(test)]
mod tests;
pub mod values;

use super::Refused;

/// Why a call of Secrets Manager is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("Secrets Manager can't find the specified secret.")]
    NotFound,
    #[error("{0}")]
    ValueNotFound(String),
    #[error("The operation failed because the secret {0} already exists.")]
    Exists(String),
    #[error(
        "You can't use ClientRequestToken {token} because that value is already in use for a version of secret {arn}."
    )]
    TokenInUse { token: String, arn: String },
    #[error("{0}")]
    Parameter(String),
    #[error("{0}")]
    Request(String),
    #[error("{0}")]
    Limit(String),
    #[error(
        "Secrets Manager can't encrypt the protected secret text using the provided KMS key. {0}"
    )]
    Encryption(String),
    #[error(
        "Secrets Manager can't decrypt the protected secret text using the provided KMS key. {0}"
    )]
    Decryption(String),
    #[error("The specified token is not valid.")]
    Token,
    #[error("This resource policy contains a syntax error.")]
    MalformedPolicy,
    #[error(
        "This resource policy grants broad access to the secret: BlockPublicPolicy forbids it."
    )]
    PublicPolicy,
}

impl Refused for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound | Self::ValueNotFound(_) => "ResourceNotFoundException",
            Self::Exists(_) | Self::TokenInUse { .. } => "ResourceExistsException",
            Self::Parameter(_) => "InvalidParameterException",
            Self::Request(_) => "InvalidRequestException",
            Self::Limit(_) => "LimitExceededException",
            Self::Encryption(_) => "EncryptionFailure",
            Self::Decryption(_) => "DecryptionFailure",
            Self::Token => "InvalidNextTokenException",
            Self::MalformedPolicy => "MalformedPolicyDocumentException",
            Self::PublicPolicy => "PublicPolicyException",
        }
    }
}

pub fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::Parameter(text.into())
}
