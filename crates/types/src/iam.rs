//! Rows of IAM. Their scope's region is `global`.

use crate::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Role {
    pub scope: Scope,
    pub name: String,
    pub arn: String,
    /// `AROA...`
    pub role_id: String,
    pub path: String,
    /// JSON text as given.
    pub assume_role_policy: String,
    pub description: Option<String>,
    pub max_session_seconds: u32,
    /// Name to JSON text.
    pub inline_policies: BTreeMap<String, String>,
    /// ARNs of managed policies.
    pub attached_policies: Vec<String>,
    pub permissions_boundary: Option<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

impl Role {
    /// Whether its trust policy lets that service of AWS's (`ecs-tasks.amazonaws.com`) assume it. Conditions are not
    /// evaluated yet.
    pub fn trusts_service(&self, service: &str) -> bool {
        let document: Value = serde_json::from_str(&self.assume_role_policy).unwrap_or_default();
        let statements = match document.get("Statement") {
            Some(Value::Array(list)) => list.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        let concerned = statements.iter().filter(|statement| {
            let actions = texts(statement.get("Action"));
            let services = texts(
                statement
                    .get("Principal")
                    .and_then(|who| who.get("Service")),
            );
            let everybody = statement.get("Principal").and_then(Value::as_str) == Some("*");
            (everybody || services.contains(&service))
                && actions.iter().any(|action| {
                    matches!(
                        action.to_ascii_lowercase().as_str(),
                        "*" | "sts:*" | "sts:assume*" | "sts:assumerole"
                    )
                })
        });
        let mut trusted = false;
        for statement in concerned {
            if statement.get("Effect").and_then(Value::as_str) != Some("Allow") {
                return false;
            }
            trusted = true;
        }
        trusted
    }
}

fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one],
        _ => Vec::new(),
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub scope: Scope,
    pub arn: String,
    pub name: String,
    /// `ANPA...`
    pub policy_id: String,
    pub path: String,
    pub description: Option<String>,
    /// At most five, in order of creation.
    pub versions: Vec<PolicyVersion>,
    pub default_version: String,
    /// Number of the next version.
    pub next_version: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// `v1`
    pub id: String,
    pub document: String,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceProfile {
    pub scope: Scope,
    pub name: String,
    pub arn: String,
    pub instance_profile_id: String,
    pub path: String,
    pub role: Option<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(trust: &str) -> Role {
        Role {
            scope: Scope::new("000000000000", "global"),
            name: "orders".into(),
            arn: "arn:aws:iam::000000000000:role/orders".into(),
            role_id: "AROA".into(),
            path: "/".into(),
            assume_role_policy: trust.into(),
            description: None,
            max_session_seconds: 3600,
            inline_policies: BTreeMap::new(),
            attached_policies: Vec::new(),
            permissions_boundary: None,
            created_at: Timestamp(0),
            tags: Tags::new(),
        }
    }

    #[test]
    fn a_role_trusts_the_services_that_its_policy_names() {
        let trust = |statement: &str| {
            let text = format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#);
            role(&text).trusts_service("ecs-tasks.amazonaws.com")
        };
        let allow = r#"{"Effect":"Allow","Principal":{"Service":["ec2.amazonaws.com","ecs-tasks.amazonaws.com"]},"Action":"sts:AssumeRole"}"#;
        assert!(trust(allow));
        assert!(trust(&format!("[{allow}]")));
        let deny = allow.replace("Allow", "Deny");
        assert!(!trust(&format!("[{allow},{deny}]")));
        assert!(!trust(&allow.replace("ecs-tasks", "lambda")));
        assert!(!trust(&allow.replace("sts:AssumeRole", "sts:TagSession")));
        assert!(!role("no policy").trusts_service("ecs-tasks.amazonaws.com"));
    }
}
