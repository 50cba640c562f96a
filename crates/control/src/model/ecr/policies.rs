//! Repository policies and lifecycle policies: checked and kept. Lifecycle rules are not evaluated yet.

use super::{Refusal, repositories};
use crate::model::Tx;
use fogbank_types::Scope;
use fogbank_types::ecr::Repository;
use serde_json::Value;

fn not_valid(parameter: &str, why: &str) -> Refusal {
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
    let refused = || not_valid("PolicyText", "Invalid repository policy provided");
    let document: Value = serde_json::from_str(&text).map_err(|_| refused())?;
    let statements = match document.get("Statement") {
        Some(Value::Array(list)) if !list.is_empty() => list.clone(),
        Some(one @ Value::Object(_)) => vec![one.clone()],
        _ => return Err(refused()),
    };
    let is_good = |statement: &Value| {
        matches!(
            statement.get("Effect").and_then(Value::as_str),
            Some("Allow" | "Deny")
        ) && (statement.get("Principal").is_some() || statement.get("NotPrincipal").is_some())
            && (statement.get("Action").is_some() || statement.get("NotAction").is_some())
    };
    if !statements.iter().all(is_good) {
        return Err(refused());
    }
    repositories::update(tx, scope, name, |row| row.policy = Some(text))
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
    check_lifecycle(&text).map_err(|why| {
        not_valid(
            "LifecyclePolicyText",
            &format!("Lifecycle policy validation failure: {why}"),
        )
    })?;
    repositories::update(tx, scope, name, |row| row.lifecycle_policy = Some(text))
}

fn check_lifecycle(text: &str) -> Result<(), String> {
    let document: Value =
        serde_json::from_str(text).map_err(|_| "Lifecycle policy string is not valid JSON")?;
    let rules = document
        .get("rules")
        .and_then(Value::as_array)
        .ok_or("object has missing required properties ([\"rules\"])")?;
    if rules.is_empty() {
        return Err(
            "array is too short: must have at least 1 elements but instance has 0 elements"
                .to_owned(),
        );
    }
    let mut priorities = std::collections::BTreeSet::new();
    for rule in rules {
        let priority = rule
            .get("rulePriority")
            .and_then(Value::as_u64)
            .filter(|p| *p > 0);
        let priority =
            priority.ok_or("object has missing required properties ([\"rulePriority\"])")?;
        if !priorities.insert(priority) {
            return Err(format!("Duplicate rule priority {priority}"));
        }
        let selection = rule
            .get("selection")
            .ok_or("object has missing required properties ([\"selection\"])")?;
        let text_of = |key: &str| {
            selection
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        if !matches!(text_of("tagStatus"), "tagged" | "untagged" | "any") {
            return Err("instance value (tagStatus) not found in enum (possible values: [\"any\",\"tagged\",\"untagged\"])".to_owned());
        }
        let lists = ["tagPrefixList", "tagPatternList"];
        let listed = lists.iter().any(|key| {
            selection
                .get(key)
                .and_then(Value::as_array)
                .is_some_and(|l| !l.is_empty())
        });
        if (text_of("tagStatus") == "tagged") != listed {
            return Err(
                "tagPrefixList or tagPatternList is required if and only if tagStatus is tagged"
                    .to_owned(),
            );
        }
        match text_of("countType") {
            "imageCountMoreThan" => {}
            "sinceImagePushed" if text_of("countUnit") == "days" => {}
            "sinceImagePushed" => return Err("countUnit must be days".to_owned()),
            _ => return Err("instance value (countType) not found in enum (possible values: [\"imageCountMoreThan\",\"sinceImagePushed\"])".to_owned()),
        }
        if selection
            .get("countNumber")
            .and_then(Value::as_u64)
            .is_none_or(|number| number == 0)
        {
            return Err("countNumber must be greater than 0".to_owned());
        }
        if rule.pointer("/action/type").and_then(Value::as_str) != Some("expire") {
            return Err(
                "instance value (action.type) not found in enum (possible values: [\"expire\"])"
                    .to_owned(),
            );
        }
    }
    Ok(())
}

pub fn delete_lifecycle(tx: &mut Tx, scope: &Scope, name: &str) -> Result<String, Refusal> {
    let text = lifecycle(repositories::find(tx.snapshot(), scope, name)?)?;
    repositories::update(tx, scope, name, |row| row.lifecycle_policy = None)?;
    Ok(text)
}

pub fn lifecycle(repository: &Repository) -> Result<String, Refusal> {
    repository
        .lifecycle_policy
        .clone()
        .ok_or_else(|| Refusal::LifecyclePolicyNotFound {
            name: repository.name.clone(),
            registry: repository.scope.account.clone(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifecycle_policy_must_make_sense() {
        let good = r#"{"rules":[{"rulePriority":1,"selection":{"tagStatus":"untagged","countType":"sinceImagePushed",
            "countUnit":"days","countNumber":14},"action":{"type":"expire"}}]}"#;
        assert_eq!(check_lifecycle(good), Ok(()));
        for (from, to) in [
            ("\"rules\"", "\"rule\""),
            ("untagged", "tagged"),
            ("\"days\"", "\"weeks\""),
            (":14", ":0"),
            ("expire", "keep"),
            ("\"rulePriority\":1", "\"rulePriority\":0"),
        ] {
            assert!(check_lifecycle(&good.replace(from, to)).is_err(), "{from}");
        }
    }
}
