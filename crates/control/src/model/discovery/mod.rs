//! Rules of Cloud Map: namespaces with their hosted zones, services, instances and their records.
//!
//! Called by `api::servicediscovery` and `reconcile::instance_registration`. What must stay true: a DNS namespace has its
//! zone, and nobody else changes it; each instance of a service with DNS has its records, and no other records are there.
//! <https://docs.aws.amazon.com/cloud-map/latest/dg/what-is-cloud-map.html>

pub mod health;
pub mod instances;
pub mod lookups;
pub mod namespaces;
pub mod operations;
pub mod services;
pub mod tags;
#[cfg(test)]
mod tests;

use super::{Refused, Tx};

/// Why a call of Cloud Map is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("The namespace {0} can't be found.")]
    NamespaceNotFound(String),
    #[error("The namespace {name} already exists.")]
    NamespaceExists {
        name: String,
        id: String,
        creator_request_id: Option<String>,
    },
    #[error("The service {0} can't be found.")]
    ServiceNotFound(String),
    #[error("The service {name} already exists in the namespace.")]
    ServiceExists {
        name: String,
        id: String,
        arn: String,
        creator_request_id: Option<String>,
    },
    #[error("The instance {0} can't be found.")]
    InstanceNotFound(String),
    #[error("The operation {0} can't be found.")]
    OperationNotFound(String),
    #[error("{0}")]
    InUse(&'static str),
    #[error("The service {0} has no custom health check.")]
    NoCustomHealth(String),
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Limit(String),
    #[error("The resource {0} can't be found.")]
    ResourceNotFound(String),
    #[error("The resource {0} would have more than 50 tags.")]
    TooManyTags(String),
    #[error("A service can have at most 30 attributes.")]
    TooManyAttributes,
}

impl Refused for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NamespaceNotFound(_) => "NamespaceNotFound",
            Self::NamespaceExists { .. } => "NamespaceAlreadyExists",
            Self::ServiceNotFound(_) => "ServiceNotFound",
            Self::ServiceExists { .. } => "ServiceAlreadyExists",
            Self::InstanceNotFound(_) => "InstanceNotFound",
            Self::OperationNotFound(_) => "OperationNotFound",
            Self::InUse(_) => "ResourceInUse",
            Self::NoCustomHealth(_) => "CustomHealthNotFound",
            Self::Invalid(_) => "InvalidInput",
            Self::Limit(_) => "ResourceLimitExceeded",
            Self::ResourceNotFound(_) => "ResourceNotFoundException",
            Self::TooManyTags(_) => "TooManyTagsException",
            Self::TooManyAttributes => "ServiceAttributesLimitExceededException",
        }
    }
}

pub fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::Invalid(text.into())
}

/// An id may be given as an ARN.
pub fn bare(id: &str) -> &str {
    match id.strip_prefix("arn:") {
        Some(rest) => rest.rsplit('/').next().unwrap_or(id),
        None => id,
    }
}

/// Random small letters and digits.
fn letters(tx: &mut Tx, count: usize) -> String {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = String::with_capacity(count);
    let mut bits = 0;
    for at in 0..count {
        if at % 24 == 0 {
            bits = tx.random();
        }
        text.push(char::from(LETTERS[(bits % 36) as usize]));
        bits /= 36;
    }
    text
}
