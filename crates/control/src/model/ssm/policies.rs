//! Policies of advanced parameters: when one expires, and whom to tell. Only an expiry acts; of notifications nobody
//! would hear, there is no EventBridge.
//! <https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-policies.html>

use super::Refusal;
use fogbank_types::Timestamp;
use serde_json::Value;

const POLICIES_MAX: usize = 10;

/// A policy as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub kind: String,
    pub text: String,
    pub expires_at: Option<Timestamp>,
}

/// Whether there is any policy in a text that is well-formed.
pub fn parse(text: &str) -> Result<bool, Refusal> {
    let list = read(text)?;
    if list.len() > POLICIES_MAX {
        return Err(Refusal::TooManyPolicies);
    }
    if list
        .iter()
        .filter(|policy| policy.kind == "Expiration")
        .count()
        > 1
    {
        return Err(Refusal::ConflictingPolicies);
    }
    Ok(!list.is_empty())
}

/// Of a text that was accepted.
pub fn list(text: &str) -> Vec<Policy> {
    read(text).unwrap_or_default()
}

fn read(text: &str) -> Result<Vec<Policy>, Refusal> {
    let broken =
        || Refusal::PolicyAttribute("The policies are not a list of policies in JSON.".to_owned());
    let items = match serde_json::from_str::<Value>(text).map_err(|_| broken())? {
        Value::Array(items) => items,
        one @ Value::Object(_) => vec![one],
        _ => return Err(broken()),
    };
    items.into_iter().map(one).collect()
}

fn one(policy: Value) -> Result<Policy, Refusal> {
    let kind = policy["Type"].as_str().unwrap_or_default().to_owned();
    let attribute = |name: &str| policy["Attributes"][name].as_str().map(str::to_owned);
    let missing = |name: &str| {
        Refusal::PolicyAttribute(format!(
            "The policy attribute {name} of {kind} is not valid."
        ))
    };
    let mut expires_at = None;
    match kind.as_str() {
        "Expiration" => {
            let at = attribute("Timestamp").and_then(|text| text.parse::<jiff::Timestamp>().ok());
            let at = at.ok_or_else(|| missing("Timestamp"))?;
            expires_at = Some(Timestamp(at.as_millisecond()));
        }
        "ExpirationNotification" | "NoChangeNotification" => {
            let number = if kind == "ExpirationNotification" {
                "Before"
            } else {
                "After"
            };
            let is_number = |text: &String| text.parse::<u32>().is_ok();
            attribute(number)
                .filter(is_number)
                .ok_or_else(|| missing(number))?;
            attribute("Unit")
                .filter(|unit| matches!(unit.as_str(), "Days" | "Hours"))
                .ok_or_else(|| missing("Unit"))?;
        }
        _ => {
            return Err(Refusal::PolicyType(format!(
                "The policy type {kind} is not supported. Parameter Store supports the following policy types: Expiration, ExpirationNotification, and NoChangeNotification."
            )));
        }
    }
    Ok(Policy {
        kind,
        text: policy.to_string(),
        expires_at,
    })
}
