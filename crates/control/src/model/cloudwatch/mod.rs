//! CloudWatch: what data, queries, alarms and dashboards must be like, metric math, and when an alarm goes off. The data
//! themselves are in `metrics`, which these functions are given periods from.

pub mod alarms;
pub mod dashboards;
pub mod data;
pub mod dates;
pub mod evaluation;
pub mod expression;
pub mod history;
pub mod insights;
pub mod math;
pub mod queries;
pub mod rules;

use super::Refused;

/// What CloudWatch refuses, a variant per error code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("The parameter {0} is required.")]
    Missing(String),
    #[error("{0}")]
    Value(String),
    #[error("{0}")]
    Combination(String),
    #[error("{0}")]
    Validation(String),
    #[error("{0}")]
    NotFound(String),
    /// Tags have a code of their own for it.
    #[error("Unknown")]
    NoSuchResource,
    #[error("Request parameter NextToken is invalid")]
    Token,
    #[error("{0}")]
    Format(String),
    #[error("{0}")]
    Limit(String),
    #[error("{0}")]
    Dashboard(String),
}

impl Refused for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "MissingParameter",
            Self::Value(_) => "InvalidParameterValue",
            Self::Combination(_) => "InvalidParameterCombination",
            Self::Validation(_) => "ValidationError",
            Self::NotFound(_) => "ResourceNotFound",
            Self::NoSuchResource => "ResourceNotFoundException",
            Self::Token => "InvalidNextToken",
            Self::Format(_) => "InvalidFormat",
            Self::Limit(_) => "LimitExceeded",
            Self::Dashboard(_) => "InvalidParameterInput",
        }
    }

    fn status(&self) -> u16 {
        match self {
            Self::NotFound(_) | Self::NoSuchResource => 404,
            _ => 400,
        }
    }
}
