//! CloudWatch Logs: groups and streams. Events are files (`fogbank_store::log`), reached by a stream's uid; what a batch
//! of them must be like stands in `events`, how they are filtered in `pattern`.

pub mod events;
pub mod groups;
pub mod insights;
pub mod metric_filters;
pub mod pattern;
pub mod resource_policies;
pub mod streams;

use super::Refused;

/// What CloudWatch Logs refuses, a variant per error code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("The specified log group already exists")]
    GroupAlreadyExists,
    #[error("The specified log stream already exists")]
    StreamAlreadyExists,
    #[error("The specified log group does not exist.")]
    GroupNotFound,
    #[error("The specified log stream does not exist.")]
    StreamNotFound,
    #[error("The specified resource does not exist.")]
    ResourceNotFound,
    #[error("The specified metric filter does not exist.")]
    MetricFilterNotFound,
    #[error("The specified subscription filter does not exist.")]
    SubscriptionFilterNotFound,
    #[error("The specified destination does not exist.")]
    DestinationNotFound,
    #[error("The operation is not valid on the specified resource.")]
    InvalidOperation,
    #[error("Specified query ID: {0} does not exist")]
    QueryNotFound(String),
    #[error("{0}")]
    InvalidParameter(String),
    #[error("Policy with name [{0}] does not exist")]
    PolicyNotFound(String),
    #[error("Resource limit exceeded.")]
    LimitExceeded,
    #[error("The resource would have more than 50 tags")]
    TooManyTags,
}

impl Refused for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::GroupAlreadyExists | Self::StreamAlreadyExists => {
                "ResourceAlreadyExistsException"
            }
            Self::GroupNotFound
            | Self::StreamNotFound
            | Self::ResourceNotFound
            | Self::MetricFilterNotFound
            | Self::QueryNotFound(_)
            | Self::SubscriptionFilterNotFound
            | Self::DestinationNotFound
            | Self::PolicyNotFound(_) => "ResourceNotFoundException",
            Self::InvalidParameter(_) => "InvalidParameterException",
            Self::InvalidOperation => "InvalidOperationException",
            Self::LimitExceeded => "LimitExceededException",
            Self::TooManyTags => "TooManyTagsException",
        }
    }
}

pub(crate) fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::InvalidParameter(text.into())
}
