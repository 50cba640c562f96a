//! ECS on Fargate: clusters, task definitions, tasks and services (facts ECS, TASK, SVC).
//!
//! Called by `api/ecs` and by the reconcilers. What must stay true: a task that is to run has its interface from the
//! same transaction that made it, and every rule here answers with the code and the text that AWS gives.

pub mod account_settings;
pub mod capacity;
pub mod clusters;
pub mod commands;
pub mod compatibility;
pub mod connect;
pub mod container_definitions;
pub mod container_health;
pub mod deployment_control;
pub mod fargate;
pub mod health;
pub mod protection;
pub mod rollback;
pub mod rollout;
pub mod services;
pub mod shift;
pub mod spot;
pub mod strategy;
pub mod tags;
pub mod task_definitions;
pub mod tasks;
pub mod traffic;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod sequences;
#[cfg(test)]
mod simulation;

use super::Refused;

/// What ECS refuses, a variant per error code.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html>
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    Client(String),
    #[error("{0}")]
    InvalidParameter(String),
    #[error("Cluster not found.")]
    ClusterNotFound,
    #[error("The Cluster cannot be deleted while Services are active.")]
    ClusterContainsServices,
    #[error("The Cluster cannot be deleted while Tasks are active.")]
    ClusterContainsTasks,
    #[error("The execute command failed due to an internal error. Try again later.")]
    TargetNotConnected,
    #[error("Service not found.")]
    ServiceNotFound,
    #[error("Service was not ACTIVE.")]
    ServiceNotActive,
    #[error("Service deployment not found.")]
    ServiceDeploymentNotFound,
    #[error("The specified namespace wasn't found.")]
    NamespaceNotFound,
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    ResourceNotFound(String),
    #[error("{0}")]
    PlatformUnknown(String),
    #[error("{0}")]
    UnsupportedFeature(String),
}

impl Refused for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Client(_) => "ClientException",
            Self::InvalidParameter(_) => "InvalidParameterException",
            Self::ClusterNotFound => "ClusterNotFoundException",
            Self::ClusterContainsServices => "ClusterContainsServicesException",
            Self::ClusterContainsTasks => "ClusterContainsTasksException",
            Self::TargetNotConnected => "TargetNotConnectedException",
            Self::ServiceNotFound => "ServiceNotFoundException",
            Self::ServiceNotActive => "ServiceNotActiveException",
            Self::ServiceDeploymentNotFound => "ServiceDeploymentNotFoundException",
            Self::NamespaceNotFound => "NamespaceNotFoundException",
            Self::Conflict(_) => "ConflictException",
            Self::ResourceNotFound(_) => "ResourceNotFoundException",
            Self::PlatformUnknown(_) => "PlatformUnknownException",
            Self::UnsupportedFeature(_) => "UnsupportedFeatureException",
        }
    }
}

pub(crate) fn client(text: impl Into<String>) -> Refusal {
    Refusal::Client(text.into())
}

pub(crate) fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::InvalidParameter(text.into())
}

/// Names of clusters and services: up to 255 letters, digits, hyphens and underscores.
fn is_name(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// The last path element of an ARN, or the text itself.
fn short(text: &str) -> &str {
    match text.strip_prefix("arn:") {
        Some(arn) => arn.rsplit('/').next().unwrap_or(arn),
        None => text,
    }
}
