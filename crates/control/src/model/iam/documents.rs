//! Policy documents: their grammar, as far as it decides whether IAM takes them.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>

use super::Refusal;
use serde_json::{Map, Value};

fn malformed(text: impl Into<String>) -> Refusal {
    Refusal::MalformedPolicyDocument(text.into())
}

/// Who a document is attached to decides what its statements must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of a role, a user or a managed policy: no principal, but resources.
    Identity,
    /// Who may assume a role: a principal, and no resources.
    Trust,
}

/// Characters that count for quotas: all but white space.
pub fn length(text: &str) -> usize {
    text.chars().filter(|c| !c.is_whitespace()).count()
}

/// Refuses what IAM would not take.
pub fn check(text: &str, kind: Kind) -> Result<(), Refusal> {
    let document: Value =
        serde_json::from_str(text).map_err(|_| malformed("This policy contains invalid Json"))?;
    let document = document
        .as_object()
        .ok_or_else(|| malformed("Syntax errors in policy."))?;
    if let Some(version) = document.get("Version")
        && !matches!(version.as_str(), Some("2012-10-17" | "2008-10-17"))
    {
        return Err(malformed("The policy must contain a valid version string"));
    }
    if document
        .keys()
        .any(|key| !matches!(key.as_str(), "Version" | "Id" | "Statement"))
    {
        return Err(malformed("Syntax errors in policy."));
    }
    let statements = match document.get("Statement") {
        Some(Value::Array(list)) => list.iter().collect::<Vec<_>>(),
        Some(one) => vec![one],
        None => return Err(malformed("Syntax errors in policy.")),
    };
    for statement in statements {
        check_statement(
            statement
                .as_object()
                .ok_or_else(|| malformed("Syntax errors in policy."))?,
            kind,
        )?;
    }
    Ok(())
}

fn check_statement(statement: &Map<String, Value>, kind: Kind) -> Result<(), Refusal> {
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
    if statement.keys().any(|key| !KEYS.contains(&key.as_str())) {
        return Err(malformed("Syntax errors in policy."));
    }
    if !matches!(
        statement.get("Effect").and_then(Value::as_str),
        Some("Allow" | "Deny")
    ) {
        return Err(malformed("Syntax errors in policy."));
    }
    let one_of = |key: &str, not: &str| statement.contains_key(key) != statement.contains_key(not);
    if !one_of("Action", "NotAction") {
        return Err(malformed("Policy statement must contain actions."));
    }
    for key in ["Action", "NotAction"] {
        check_actions(statement.get(key), kind)?;
    }
    match kind {
        Kind::Identity => {
            if statement.contains_key("Principal") || statement.contains_key("NotPrincipal") {
                return Err(malformed("Policy document should not specify a principal."));
            }
            if !one_of("Resource", "NotResource") {
                return Err(malformed("Policy statement must contain resources."));
            }
            for key in ["Resource", "NotResource"] {
                check_resources(statement.get(key))?;
            }
        }
        Kind::Trust => {
            if statement.contains_key("Resource") || statement.contains_key("NotResource") {
                return Err(malformed("Has prohibited field Resource"));
            }
            check_principal(
                statement.get("Principal"),
                statement.contains_key("NotPrincipal"),
            )?;
        }
    }
    match statement.get("Condition") {
        None | Some(Value::Object(_)) => Ok(()),
        Some(_) => Err(malformed("Syntax errors in policy.")),
    }
}

/// A text or a list of texts.
fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

fn check_actions(value: Option<&Value>, kind: Kind) -> Result<(), Refusal> {
    let Some(value) = value else { return Ok(()) };
    let actions = texts(value).filter(|list| !list.is_empty());
    for action in actions.ok_or_else(|| malformed("Policy statement must contain actions."))? {
        let is_good = action == "*"
            || action.split_once(':').is_some_and(|(vendor, name)| {
                let vendor_is_good = !vendor.is_empty()
                    && vendor
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'-');
                vendor_is_good && !name.is_empty() && !name.contains(char::is_whitespace)
            });
        if !is_good {
            return Err(malformed(
                "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
            ));
        }
        if kind == Kind::Trust && !action.to_ascii_lowercase().starts_with("sts:") && action != "*"
        {
            return Err(malformed(
                "AssumeRole policy may only specify STS AssumeRole actions.",
            ));
        }
    }
    Ok(())
}

fn check_resources(value: Option<&Value>) -> Result<(), Refusal> {
    let Some(value) = value else { return Ok(()) };
    let resources = texts(value).filter(|list| !list.is_empty());
    for resource in
        resources.ok_or_else(|| malformed("Policy statement must contain resources."))?
    {
        if resource != "*" && !(resource.starts_with("arn:") && resource.split(':').count() >= 6) {
            return Err(malformed(format!(
                "Resource {resource} must be in ARN format or \"*\"."
            )));
        }
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
                if !known
                    || texts(who)
                        .is_none_or(|list| list.is_empty() || list.iter().any(|w| w.is_empty()))
                {
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
        let whom = principal.get("AWS").and_then(texts).unwrap_or_default();
        whom.iter()
            .any(|who| *who == "*" || *who == account || who.split(':').nth(4) == Some(account))
    };
    let action = |statement: &Value| {
        let actions = statement.get("Action").and_then(texts).unwrap_or_default();
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
        assert!(refused(&IDENTITY.replace("Allow", "allow"), Kind::Identity).contains("Syntax"));
        assert!(refused(&IDENTITY.replace("s3:*", "all"), Kind::Identity).contains("vendor"));
        assert!(
            refused(&IDENTITY.replace("arn:aws:s3:::b/*", "b"), Kind::Identity).contains("ARN")
        );
        assert!(
            refused(
                &IDENTITY.replace("2012-10-17", "2020-01-01"),
                Kind::Identity
            )
            .contains("version")
        );
        assert!(
            refused(&TRUST.replace("Service", "Machine"), Kind::Trust)
                .contains("Invalid principal")
        );
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
