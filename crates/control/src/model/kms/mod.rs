//! Rules of Key Management Service: keys and their states, aliases, key policies, rotation, grants.
//!
//! Called by `api::kms`, by `api::ssm` and `api::secretsmanager` for what they encrypt, and by `reconcile::key_state`. What
//! must stay true: a key's secret never changes and no material is ever taken away before the key goes; only an enabled
//! key encrypts or decrypts; an alias points to a key of its own account and region; AWS's own keys stay as they are.
//! <https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html>

pub mod aliases;
pub mod grants;
pub mod keys;
pub mod managed;
pub mod policies;
pub mod rotation;
#[cfg(test)]
mod tests;

use super::Refused;

/// Why a call of Key Management Service is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    NotFound(String),
    #[error("{0} is disabled.")]
    Disabled(String),
    #[error("{0}")]
    State(String),
    #[error("{0}")]
    AlreadyExists(String),
    #[error("{0}")]
    Validation(String),
    #[error("{0}")]
    Limit(String),
    #[error("")]
    NotAuthorized,
    #[error("{0}")]
    Denied(String),
    #[error("{0}")]
    Unsupported(String),
    #[error("{0}")]
    MalformedPolicy(String),
    #[error("{0}")]
    Arn(String),
    #[error("The marker is not valid.")]
    Marker,
    #[error("{0}")]
    Tag(String),
    #[error("{0}")]
    KeyUsage(String),
    #[error("")]
    Signature,
    #[error("The ciphertext cannot be decrypted.")]
    Ciphertext,
    #[error("The key ID in the request does not identify a CMK that can perform this operation.")]
    IncorrectKey,
    #[error("The grant token is not valid.")]
    GrantToken,
    #[error("The grant ID is not valid.")]
    GrantId,
    #[error("The request would have succeeded, but the DryRun option is set.")]
    DryRun,
}

impl Refused for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "NotFoundException",
            Self::Disabled(_) => "DisabledException",
            Self::State(_) => "KMSInvalidStateException",
            Self::AlreadyExists(_) => "AlreadyExistsException",
            Self::Validation(_) => "ValidationException",
            Self::Limit(_) => "LimitExceededException",
            Self::NotAuthorized => "NotAuthorizedException",
            Self::Denied(_) => "AccessDeniedException",
            Self::Unsupported(_) => "UnsupportedOperationException",
            Self::MalformedPolicy(_) => "MalformedPolicyDocumentException",
            Self::Arn(_) => "InvalidArnException",
            Self::Marker => "InvalidMarkerException",
            Self::Tag(_) => "TagException",
            Self::KeyUsage(_) => "InvalidKeyUsageException",
            Self::Signature => "KMSInvalidSignatureException",
            Self::Ciphertext => "InvalidCiphertextException",
            Self::IncorrectKey => "IncorrectKeyException",
            Self::GrantToken => "InvalidGrantTokenException",
            Self::GrantId => "InvalidGrantIdException",
            Self::DryRun => "DryRunOperationException",
        }
    }
}

pub fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::Validation(text.into())
}
