//! Application Auto Scaling: what may be scaled, by which rule, and what a rule says (facts SCALE).
//!
//! Called by `api/application_autoscaling` and by the reconcilers `service_scaling` and `scheduled_scaling`. The only thing
//! that these functions change outside their own rows is a service's desired count, through `model::ecs::services`, and
//! the alarms that belong to target tracking policies.

pub mod activities;
pub mod decision;
pub mod policies;
pub mod scheduled_actions;
pub mod schedules;
pub mod tags;
pub mod targets;

#[cfg(test)]
mod tests;

use super::Refused;
use fogbank_types::Snapshot;
use fogbank_types::scaling::{ECS_DESIRED_COUNT, ScalableTarget};
use fogbank_types::{Scope, ecs::Service};
use std::sync::Arc;

/// What Application Auto Scaling refuses, a variant per error code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    Validation(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Limit(String),
    #[error("Invalid NextToken")]
    Token,
    /// Of the calls for tags.
    #[error("ResourceNotFoundException: The specified resource doesn't exist: {0}")]
    NoSuchResource(String),
    #[error("The resource has too many tags.")]
    TooManyTags,
}

impl Refused for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Validation(_) => "ValidationException",
            Self::NotFound(_) => "ObjectNotFoundException",
            Self::Limit(_) => "LimitExceededException",
            Self::Token => "InvalidNextTokenException",
            Self::NoSuchResource(_) => "ResourceNotFoundException",
            Self::TooManyTags => "TooManyTagsException",
        }
    }
}

pub(crate) fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::Validation(text.into())
}

/// What a call is about, as it names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub namespace: String,
    pub resource_id: String,
    pub dimension: String,
}

impl Subject {
    /// Services' desired counts are all that can be scaled in this region.
    pub fn check(&self) -> Result<(), Refusal> {
        let known = self.namespace == "ecs"
            && self.dimension == ECS_DESIRED_COUNT
            && service_of(&self.resource_id).is_some();
        known.then_some(()).ok_or_else(|| {
            invalid("Unsupported service namespace, resource type or scalable dimension")
        })
    }

    /// `No <what> found for service namespace: ecs, ...`
    pub fn missing(&self, what: &str, name: Option<(&str, &str)>) -> Refusal {
        let name = name.map_or_else(String::new, |(label, name)| format!(", {label}: {name}"));
        Refusal::NotFound(format!(
            "No {what} found for service namespace: {}, resource ID: {}, scalable dimension: {}{name}",
            self.namespace, self.resource_id, self.dimension
        ))
    }

    /// The target that is registered for it.
    pub fn target<'a>(
        &self,
        snapshot: &'a Snapshot,
        scope: &Scope,
    ) -> Result<&'a Arc<ScalableTarget>, Refusal> {
        self.check()?;
        snapshot
            .scalable_targets
            .get(scope, &self.resource_id)
            .ok_or_else(|| self.missing("scalable target", None))
    }
}

/// Cluster and service of `service/<cluster>/<service>`.
pub fn service_of(resource_id: &str) -> Option<(&str, &str)> {
    let (cluster, service) = resource_id.strip_prefix("service/")?.split_once('/')?;
    (!cluster.is_empty() && !service.is_empty() && !service.contains('/'))
        .then_some((cluster, service))
}

/// The service of a target, if it is there and active.
pub fn find_service<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    resource_id: &str,
) -> Option<&'a Arc<Service>> {
    let (cluster, service) = service_of(resource_id)?;
    snapshot
        .services
        .get(scope, format!("{cluster}/{service}"))
        .filter(|service| service.status == fogbank_types::ecs::ServiceStatus::Active)
}
