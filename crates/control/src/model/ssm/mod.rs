//! Rules of Systems Manager's Parameter Store: names and hierarchies, versions, labels, tiers, filters.
//!
//! Called by `api::ssm` and `reconcile::parameter_expiry`. What must stay true: versions of a parameter rise by one and
//! at most a hundred are kept; a label stands on one version; a value never passes its tier's size; a SecureString's
//! value leaves only where decryption was asked for.
//! <https://docs.aws.amazon.com/systems-manager/latest/userguide/systems-manager-parameter-store.html>

pub mod filters;
pub mod labels;
pub mod names;
pub mod parameters;
pub mod policies;
pub mod tags;
#[cfg(test)]
mod tests;

use super::Refused;

/// Why a call of Parameter Store is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("Parameter {0} not found.")]
    NotFound(String),
    #[error(
        "Systems Manager could not find version {version} of {name}. Verify the version and try again."
    )]
    VersionNotFound { name: String, version: String },
    #[error(
        "The parameter already exists. To overwrite this value, set the overwrite option in the request to true."
    )]
    AlreadyExists,
    #[error("{0}")]
    Validation(String),
    #[error("{0}")]
    KeyId(String),
    #[error("No access to reserved parameter name: {0}.")]
    Reserved(String),
    #[error(
        "A hierarchy can have a maximum of 15 levels. For more information, see Requirements and constraints for parameter names in the AWS Systems Manager User Guide."
    )]
    TooManyLevels,
    #[error(
        "Parameter Store doesn't support changing a parameter type in a hierarchy. For example, you can't change a parameter from a String type to a SecureString type. You must create a new, unique parameter."
    )]
    TypeMismatch,
    #[error("Parameter value, cannot be validated against allowedPattern: {0}")]
    PatternMismatch(String),
    #[error("The request does not meet the regular expression requirement.")]
    InvalidPattern,
    #[error(
        "You attempted to create a new version of {name} by calling the PutParameter API with the overwrite flag. Version {version}, the oldest version, can't be deleted because it has a label associated with it. Move the label to another version of the parameter, and try again."
    )]
    MaxVersions { name: String, version: u64 },
    #[error(
        "You have reached the maximum number of parameters for this AWS account and AWS Region."
    )]
    TooManyParameters,
    #[error(
        "A parameter version can have maximum 10 labels.Move one or more labels to another version and try again."
    )]
    TooManyLabels,
    #[error("{0}")]
    FilterKey(String),
    #[error("{0}")]
    FilterOption(String),
    #[error("{0}")]
    FilterValue(String),
    #[error("The specified token is not valid.")]
    Token,
    #[error("{0}")]
    PolicyType(String),
    #[error("{0}")]
    PolicyAttribute(String),
    #[error(
        "You specified more than the maximum number of allowed policies for the parameter. The maximum is 10."
    )]
    TooManyPolicies,
    #[error(
        "There is a conflict in the policies specified for this parameter. You can't, for example, specify two Expiration policies for a parameter."
    )]
    ConflictingPolicies,
    #[error("The resource ID is not valid. Verify that you entered the correct ID and try again.")]
    ResourceId,
    #[error(
        "The resource type is not valid. For example, if you are attempting to tag a managed node, the managed node must be a registered managed node."
    )]
    ResourceType,
    #[error(
        "The Targets parameter includes too many tags. Remove one or more tags and try the command again."
    )]
    TooManyTags,
}

impl Refused for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "ParameterNotFound",
            Self::VersionNotFound { .. } => "ParameterVersionNotFound",
            Self::AlreadyExists => "ParameterAlreadyExists",
            Self::Validation(_) => "ValidationException",
            Self::KeyId(_) => "InvalidKeyId",
            Self::Reserved(_) => "AccessDeniedException",
            Self::TooManyLevels => "HierarchyLevelLimitExceededException",
            Self::TypeMismatch => "HierarchyTypeMismatchException",
            Self::PatternMismatch(_) => "ParameterPatternMismatchException",
            Self::InvalidPattern => "InvalidAllowedPatternException",
            Self::MaxVersions { .. } => "ParameterMaxVersionLimitExceeded",
            Self::TooManyParameters => "ParameterLimitExceeded",
            Self::TooManyLabels => "ParameterVersionLabelLimitExceeded",
            Self::FilterKey(_) => "InvalidFilterKey",
            Self::FilterOption(_) => "InvalidFilterOption",
            Self::FilterValue(_) => "InvalidFilterValue",
            Self::Token => "InvalidNextToken",
            Self::PolicyType(_) => "InvalidPolicyTypeException",
            Self::PolicyAttribute(_) => "InvalidPolicyAttributeException",
            Self::TooManyPolicies => "PoliciesLimitExceededException",
            Self::ConflictingPolicies => "IncompatiblePolicyException",
            Self::ResourceId => "InvalidResourceId",
            Self::ResourceType => "InvalidResourceType",
            Self::TooManyTags => "TooManyTagsError",
        }
    }
}

pub fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::Validation(text.into())
}
