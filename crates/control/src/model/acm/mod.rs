//! Certificate Manager: certificates that were imported, and those that the region's own authority issues.
//!
//! `requests` and `imports` make rows; `validation` proves domains by Route 53's records; `issuance` says which
//! certificates are due and takes in what `crate::issuance` made; `renewals` keeps those in use alive. Reading keys and
//! certificates is `fogbank_pki`'s. No text of a refusal holds anything of a key.

pub mod accounts;
pub mod certificates;
pub mod domains;
pub mod imports;
pub mod issuance;
pub mod listing;
pub mod renewals;
pub mod requests;
pub mod tags;
pub mod validation;

#[cfg(test)]
pub mod fixture;

use super::Refused;
use fogbank_types::acm::Certificate;
use fogbank_types::{Scope, Snapshot};
use std::sync::Arc;

/// What Certificate Manager refuses, a variant per error code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    Validation(String),
    #[error("{0}")]
    InvalidArgs(String),
    #[error("Could not find certificate {0}.")]
    NotFound(String),
    #[error("Certificate {arn} in account {account} is in use.")]
    InUse { arn: String, account: String },
    #[error("The certificate request for {0} is in progress.")]
    RequestInProgress(String),
    #[error("{0}")]
    InvalidState(String),
    #[error("{0}")]
    LimitExceeded(String),
    #[error("{0}")]
    InvalidDomainValidationOptions(String),
    #[error("{0}")]
    InvalidTag(String),
    #[error("The certificate would have more than 50 tags.")]
    TooManyTags,
}

impl Refused for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Validation(_) => "ValidationException",
            Self::InvalidArgs(_) => "InvalidArgsException",
            Self::NotFound(_) => "ResourceNotFoundException",
            Self::InUse { .. } => "ResourceInUseException",
            Self::RequestInProgress(_) => "RequestInProgressException",
            Self::InvalidState(_) => "InvalidStateException",
            Self::LimitExceeded(_) => "LimitExceededException",
            Self::InvalidDomainValidationOptions(_) => "InvalidDomainValidationOptionsException",
            Self::InvalidTag(_) => "InvalidTagException",
            Self::TooManyTags => "TooManyTagsException",
        }
    }
}

fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::Validation(text.into())
}

pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    arn: &str,
) -> Result<&'a Arc<Certificate>, Refusal> {
    snapshot
        .certificates
        .get(scope, arn)
        .ok_or_else(|| Refusal::NotFound(arn.to_owned()))
}
