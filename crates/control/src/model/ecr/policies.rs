//! Repository policies and lifecycle policies: checked and kept. `expiry` acts by the latter.

use super::{Refusal, lifecycle, repositories};
use crate::model::Tx;
use fogbank_types::ecr::Repository;
use fogbank_types::{Scope, Timestamp};
use serde_json::Value;

/// AWS's text for a parameter that breaks a rule.
pub fn not_valid(parameter: &str, why: &str) -> Refusal {
    Refusal::InvalidParameter(format!(
        "Invalid parameter at '{parameter}' failed to satisfy constraint: '{why}'"
    ))
}

/// A resource policy: an object with statements that say Allow or Deny to somebody.
pub fn set_policy(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    text: String,
) -> Result<Repository, Refusal> {
    repositories::find(tx.snapshot(), scope, name)?;
    if !is_policy(&text) {
        return Err(not_valid(
            "PolicyText",
            "Invalid repository policy provided",
        ));
    }
    repositories::update(tx, scope, name, |row| row.policy = Some(text))
}

/// Whether every statement says Allow or Deny, to whom, and what.
pub fn is_policy(text: &str) -> bool {
    let Ok(document) = serde_json::from_str::<Value>(text) else {
        return false;
    };
    let is_good = |statement: &Value| {
        matches!(
            statement.get("Effect").and_then(Value::as_str),
            Some("Allow" | "Deny")
        ) && (statement.get("Principal").is_some() || statement.get("NotPrincipal").is_some())
            && (statement.get("Action").is_some() || statement.get("NotAction").is_some())
    };
    match document.get("Statement") {
        Some(Value::Array(list)) => !list.is_empty() && list.iter().all(is_good),
        Some(one @ Value::Object(_)) => is_good(one),
        _ => false,
    }
}

pub fn delete_policy(tx: &mut Tx, scope: &Scope, name: &str) -> Result<String, Refusal> {
    let text = policy(repositories::find(tx.snapshot(), scope, name)?)?;
    repositories::update(tx, scope, name, |row| row.policy = None)?;
    Ok(text)
}

pub fn policy(repository: &Repository) -> Result<String, Refusal> {
    repository
        .policy
        .clone()
        .ok_or_else(|| Refusal::RepositoryPolicyNotFound {
            name: repository.name.clone(),
            registry: repository.scope.account.clone(),
        })
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html>
pub fn set_lifecycle(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    text: String,
) -> Result<Repository, Refusal> {
    repositories::find(tx.snapshot(), scope, name)?;
    read_lifecycle(&text)?;
    let now = tx.now();
    repositories::update(tx, scope, name, |row| {
        row.lifecycle_policy = Some(text);
        row.lifecycle_evaluated_at = Some(now);
    })
}

/// The rules of a policy's text.
pub fn read_lifecycle(text: &str) -> Result<Vec<lifecycle::Rule>, Refusal> {
    lifecycle::read(text).map_err(|why| {
        not_valid(
            "LifecyclePolicyText",
            &format!("Lifecycle policy validation failure: {why}"),
        )
    })
}

/// What it said, and when it was last evaluated.
pub fn delete_lifecycle(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
) -> Result<(String, Option<Timestamp>), Refusal> {
    let repository = repositories::find(tx.snapshot(), scope, name)?.clone();
    let text = lifecycle_text(&repository)?;
    repositories::update(tx, scope, name, |row| {
        row.lifecycle_policy = None;
        row.lifecycle_evaluated_at = None;
    })?;
    Ok((text, repository.lifecycle_evaluated_at))
}

pub fn lifecycle_text(repository: &Repository) -> Result<String, Refusal> {
    repository
        .lifecycle_policy
        .clone()
        .ok_or_else(|| Refusal::LifecyclePolicyNotFound {
            name: repository.name.clone(),
            registry: repository.scope.account.clone(),
        })
}
