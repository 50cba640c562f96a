//! Policy documents: their grammar, as far as it decides whether IAM takes them.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>

use super::{Refusal, conditions, resources};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

const SYNTAX: &str = "Syntax errors in policy.";
const ACTIONS: [&str; 2] = ["Action", "NotAction"];
const RESOURCES: [&str; 2] = ["Resource", "NotResource"];

fn malformed(text: impl Into<String>) -> Refusal {
    Refusal::MalformedPolicyDocument(text.into())
}

/// Who a document is attached to decides what its statements must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Embedded in a role, or of a session: no principal, but resources.
    Identity,
    /// A policy of its own: that, and of the current version of the language.
    Managed,
    /// Who may assume a role: a principal, and no resources.
    Trust,
}

/// Characters that count for quotas: all but white space.
pub fn length(text: &str) -> usize {
    text.chars().filter(|c| !c.is_whitespace()).count()
}

/// Refuses what IAM would not take. What it refuses first of several was observed on AWS by others: all syntax, then
/// the version, "legacy parsing" (effects, dates, forms of ARNs), Sids, actions and resources.
pub fn check(text: &str, kind: Kind) -> Result<(), Refusal> {
    let not_json = if kind == Kind::Trust {
        "This policy contains invalid Json"
    } else {
        SYNTAX
    };
    let document: Value = serde_json::from_str(text).map_err(|_| malformed(not_json))?;
    let statements = statements(&document).ok_or_else(|| malformed(SYNTAX))?;
    if kind == Kind::Managed
        && document.get("Version").and_then(Value::as_str) != Some("2012-10-17")
    {
        return Err(malformed(
            "Policy document must be version 2012-10-17 or greater.",
        ));
    }
    let legacy = || malformed("The policy failed legacy parsing");
    if !statements.iter().all(|statement| {
        matches!(statement["Effect"].as_str(), Some("Allow" | "Deny"))
            && conditions::dates_are_good(statement.get("Condition"))
    }) {
        return Err(legacy());
    }
    let mut resource_error = None;
    for list in statements
        .iter()
        .flat_map(|s| RESOURCES.map(|key| s.get(key)))
    {
        let mut resources = list.map(texts).unwrap_or_default();
        resources.sort_unstable();
        resource_error =
            resource_error.or_else(|| resources.iter().find_map(|r| resources::error(r)));
        if resource_error.is_none() && !resources.iter().all(|r| resources::is_parsed(r)) {
            return Err(legacy());
        }
    }
    let mut sids = BTreeSet::new();
    let mut named = statements.iter().filter_map(|s| s.get("Sid")?.as_str());
    if !named.all(|sid| sid.is_empty() || sids.insert(sid)) {
        return Err(malformed(
            "Statement IDs (SID) in a single policy must be unique.",
        ));
    }
    if !statements.iter().all(|s| has_one(s, ACTIONS)) {
        return Err(malformed("Policy statement must contain actions."));
    }
    if let Some(error) = resource_error {
        return Err(malformed(error));
    }
    for statement in statements {
        check_statement(statement, kind)?;
    }
    Ok(())
}

/// The statements of a document without syntax errors.
fn statements(document: &Value) -> Option<Vec<&Map<String, Value>>> {
    let document = document.as_object()?;
    let known = |key: &String| matches!(key.as_str(), "Version" | "Id" | "Statement");
    if !document.keys().all(known) || document.get("Id").is_some_and(|id| !id.is_string()) {
        return None;
    }
    if let Some(version) = document.get("Version")
        && !matches!(version.as_str(), Some("2012-10-17" | "2008-10-17"))
    {
        return None;
    }
    let statements = match document.get("Statement")? {
        Value::Array(list) if !list.is_empty() => list.iter().map(Value::as_object).collect(),
        Value::Object(one) => Some(vec![one]),
        _ => None,
    };
    statements.filter(|list: &Vec<_>| list.iter().all(|statement| is_statement(statement)))
}

fn is_statement(statement: &Map<String, Value>) -> bool {
    const KEYS: [&str; 9] = [
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    ];
    let effect = statement.get("Effect").and_then(Value::as_str);
    let is_effect = |text: &str| ["allow", "deny"].contains(&text.to_ascii_lowercase().as_str());
    let is_text = |value: &Value| value.is_string() || value.is_null();
    let are_texts = |key: &str| match statement.get(key) {
        None | Some(Value::String(_)) => true,
        // AWS takes null among others.
        Some(Value::Array(list)) => list.iter().all(is_text),
        Some(_) => false,
    };
    let both = |[key, not]: [&str; 2]| statement.contains_key(key) && statement.contains_key(not);
    statement.keys().all(|key| KEYS.contains(&key.as_str()))
        && effect.is_some_and(is_effect)
        && statement.get("Sid").is_none_or(Value::is_string)
        && ACTIONS.into_iter().chain(RESOURCES).all(are_texts)
        && !both(ACTIONS)
        && !both(RESOURCES)
        && statement.get("Condition").is_none_or(conditions::is_good)
}

/// Whether one of two is there, and is not an empty list.
fn has_one(statement: &Map<String, Value>, keys: [&str; 2]) -> bool {
    let mut given = keys.into_iter().filter_map(|key| statement.get(key));
    given.any(|value| value.as_array().is_none_or(|list| !list.is_empty()))
}

fn check_statement(statement: &Map<String, Value>, kind: Kind) -> Result<(), Refusal> {
    let actions = ACTIONS.into_iter().filter_map(|key| statement.get(key));
    for action in actions.flat_map(texts) {
        check_action(action, kind)?;
    }
    if kind == Kind::Trust {
        if statement.contains_key("Resource") || statement.contains_key("NotResource") {
            return Err(malformed("Has prohibited field Resource"));
        }
        return check_principal(
            statement.get("Principal"),
            statement.contains_key("NotPrincipal"),
        );
    }
    if statement.contains_key("Principal") || statement.contains_key("NotPrincipal") {
        return Err(malformed("Policy document should not specify a principal."));
    }
    if !has_one(statement, RESOURCES) {
        return Err(malformed("Policy statement must contain resources."));
    }
    Ok(())
}

/// A text, or those of a list.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn check_action(action: &str, kind: Kind) -> Result<(), Refusal> {
    if action != "*" {
        let Some((vendor, name)) = action.split_once(':') else {
            return Err(malformed(
                "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
            ));
        };
        if name.contains(':') {
            return Err(malformed("Actions/Condition can contain only one colon."));
        }
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
        if vendor != "*" && !vendor.bytes().all(good) {
            return Err(malformed(format!("Vendor {vendor} is not valid")));
        }
    }
    if kind == Kind::Trust && !action.to_ascii_lowercase().starts_with("sts:") && action != "*" {
        return Err(malformed(
            "AssumeRole policy may only specify STS AssumeRole actions.",
        ));
    }
    Ok(())
}

fn check_principal(principal: Option<&Value>, negated: bool) -> Result<(), Refusal> {
    match principal {
        None if negated => Err(malformed(
            "AssumeRolepolicy contained NotPrincipal, which is not allowed",
        )),
        None => Err(malformed("Missing required field Principal")),
        Some(Value::String(text)) if text == "*" => Ok(()),
        Some(Value::Object(map)) if !map.is_empty() => {
            for (kind, who) in map {
                let known = matches!(
                    kind.as_str(),
                    "AWS" | "Service" | "Federated" | "CanonicalUser"
                );
                let are_texts = who.is_string()
                    || who
                        .as_array()
                        .is_some_and(|list| list.iter().all(Value::is_string));
                let whom = texts(who);
                if !known || !are_texts || whom.is_empty() || whom.contains(&"") {
                    return Err(malformed(format!("Invalid principal in policy: {who}")));
                }
            }
            Ok(())
        }
        Some(other) => Err(malformed(format!("Invalid principal in policy: {other}"))),
    }
}

/// Whether a trust policy lets the root of an account, and thereby everybody whom it lets, assume a role. Conditions
/// are not evaluated yet.
pub fn trusts_account(text: &str, account: &str) -> bool {
    let Ok(document) = serde_json::from_str::<Value>(text) else {
        return false;
    };
    let statements = match document.get("Statement") {
        Some(Value::Array(list)) => list.clone(),
        Some(one) => vec![one.clone()],
        None => return false,
    };
    let names = |statement: &Value| {
        let Some(principal) = statement.get("Principal") else {
            return false;
        };
        if principal.as_str() == Some("*") {
            return true;
        }
        let whom = principal.get("AWS").map(texts).unwrap_or_default();
        whom.iter()
            .any(|who| *who == "*" || *who == account || who.split(':').nth(4) == Some(account))
    };
    let action = |statement: &Value| {
        let actions = statement.get("Action").map(texts).unwrap_or_default();
        actions.iter().any(|action| {
            matches!(
                action.to_ascii_lowercase().as_str(),
                "*" | "sts:*" | "sts:assumerole" | "sts:assume*"
            )
        })
    };
    let effect =
        |statement: &Value| statement.get("Effect").and_then(Value::as_str) == Some("Allow");
    let matching: Vec<bool> = statements
        .iter()
        .filter(|s| names(s) && action(s))
        .map(effect)
        .collect();
    !matching.is_empty() && matching.iter().all(|allows| *allows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const IDENTITY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/*"}]}"#;
    const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
        "Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

    #[test]
    fn good_documents_pass() {
        check(IDENTITY, Kind::Identity).unwrap();
        check(TRUST, Kind::Trust).unwrap();
        check(
            &IDENTITY.replace("\"arn:aws:s3:::b/*\"", "[\"*\"]"),
            Kind::Identity,
        )
        .unwrap();
    }

    #[test]
    fn bad_ones_are_refused() {
        let refused = |text: &str, kind| check(text, kind).unwrap_err().to_string();
        assert_eq!(
            refused("{", Kind::Trust),
            "This policy contains invalid Json"
        );
        assert!(refused("[]", Kind::Identity).contains("Syntax"));
        assert!(refused(TRUST, Kind::Identity).contains("principal"));
        assert!(refused(IDENTITY, Kind::Trust).contains("STS"));
        assert!(refused(&IDENTITY.replace("Allow", "allow"), Kind::Identity).contains("legacy"));
        assert!(refused(&IDENTITY.replace("s3:*", "all"), Kind::Identity).contains("vendor"));
        assert!(
            refused(&IDENTITY.replace("arn:aws:s3:::b/*", "b"), Kind::Identity).contains("ARN")
        );
        assert!(
            refused(
                &IDENTITY.replace("2012-10-17", "2020-01-01"),
                Kind::Identity
            )
            .contains("Syntax")
        );
        assert!(
            refused(&TRUST.replace("Service", "Machine"), Kind::Trust)
                .contains("Invalid principal")
        );
    }

    /// What AWS says of each, as others found it (moto's suite records it).
    #[test]
    fn what_is_wrong_first_is_said() {
        let of = |kind: Kind, change: fn(&mut Value)| {
            let mut document: Value = serde_json::from_str(IDENTITY).unwrap();
            change(&mut document);
            check(&document.to_string(), kind).map_err(|refusal| refusal.to_string())
        };
        let managed = |change| of(Kind::Managed, change).unwrap_err();
        let old: fn(&mut Value) = |d| d["Version"] = "2008-10-17".into();
        assert!(managed(old).contains("version 2012-10-17 or greater"));
        of(Kind::Identity, old).unwrap();
        assert_eq!(managed(|d| d["Statement"] = json!([])), SYNTAX);
        assert_eq!(managed(|d| d["Id"] = json!([])), SYNTAX);
        assert_eq!(managed(|d| d["Statement"][0]["Sid"] = json!({})), SYNTAX);
        assert_eq!(
            managed(|d| d["Statement"][0]["NotAction"] = json!([])),
            SYNTAX
        );
        assert_eq!(
            managed(|d| d["Statement"][0]["Condition"] = json!({"Odd": {"a": "1"}})),
            SYNTAX
        );
        let legacy = "The policy failed legacy parsing";
        assert_eq!(
            managed(|d| d["Statement"][0]["Effect"] = "allow".into()),
            legacy
        );
        assert_eq!(
            managed(|d| d["Statement"][0]["Condition"] = json!({"DateLessThan": {"a": "soon"}})),
            legacy
        );
        assert_eq!(
            managed(|d| d["Statement"][0]["Resource"] = "arn:aws:s3::b".into()),
            legacy
        );
        assert!(
            managed(|d| d["Statement"] = json!([
                {"Sid": "a", "Effect": "Allow", "Action": "s3:*", "Resource": "*"},
                {"Sid": "a", "Effect": "Allow"}
            ]))
            .contains("must be unique")
        );
        assert!(managed(|d| d["Statement"][0]["Action"] = "s3:a:b".into()).contains("one colon"));
        assert_eq!(
            managed(|d| d["Statement"][0]["Action"] = "a a:b".into()),
            "Vendor a a is not valid"
        );
        of(Kind::Managed, |d| {
            d["Statement"][0]["Action"] = "s3.s:x y ".into()
        })
        .unwrap();
        of(Kind::Managed, |d| {
            d["Statement"][0]["Resource"] = json!(["*", null])
        })
        .unwrap();
    }

    #[test]
    fn only_the_accounts_named_are_trusted() {
        let trust = |who: &str| TRUST.replace(r#"{"Service":"ecs-tasks.amazonaws.com"}"#, who);
        assert!(!trusts_account(TRUST, "000000000000"));
        for who in [
            r#"{"AWS":"000000000000"}"#,
            r#"{"AWS":["arn:aws:iam::000000000000:root"]}"#,
            r#""*""#,
        ] {
            assert!(trusts_account(&trust(who), "000000000000"), "{who}");
        }
        assert!(!trusts_account(
            &trust(r#"{"AWS":"111111111111"}"#),
            "000000000000"
        ));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = check(&text, Kind::Trust);
            let _ = trusts_account(&text, "1");
        }
    }
}
