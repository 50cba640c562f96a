//! The `Condition` element: read once, then held against a request (fact IAM-5).
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-logic-multiple-context-keys-or-values.html>
//!
//! What must stay true: a value of the request that cannot be read as the operator's kind equals nothing.

use super::context::View;
use super::date::date_ms;
use super::document::{Unreadable, scalars};
use super::pattern::{Pattern, Reach, Syntax};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::cmp::Ordering;
use std::net::IpAddr;

/// One operator with one key.
#[derive(Debug, Clone)]
pub struct Condition {
    /// As the policy writes it: `ForAnyValue:StringLikeIfExists`.
    pub operator: String,
    /// As the policy writes it.
    pub key: String,
    /// In lower case.
    lookup: String,
    quantifier: Option<Quantifier>,
    if_exists: bool,
    test: Test,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    Any,
    All,
}

#[derive(Debug, Clone)]
enum Test {
    /// Whether the key must be absent, for each value.
    Null(Vec<bool>),
    Compare {
        negated: bool,
        wanted: Vec<Wanted>,
    },
}

/// A value of the policy, as its operator reads it. `None` in one: it is none of that kind and equals nothing.
#[derive(Debug, Clone)]
enum Wanted {
    Text(Pattern),
    TextIgnoringCase(Pattern),
    Number(Option<f64>, Comparison),
    Date(Option<i64>, Comparison),
    Bool(Option<bool>),
    Binary(Option<Vec<u8>>),
    Network(Option<Network>),
    Arn(Pattern),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// From what follows `Numeric` or `Date`, with whether it is negated.
    fn of(name: &str) -> Option<(Self, bool)> {
        Some(match name {
            "Equals" => (Self::Equal, false),
            "NotEquals" => (Self::Equal, true),
            "LessThan" => (Self::Less, false),
            "LessThanEquals" => (Self::LessOrEqual, false),
            "GreaterThan" => (Self::Greater, false),
            "GreaterThanEquals" => (Self::GreaterOrEqual, false),
            _ => return None,
        })
    }

    fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(width), |bits| bits.parse().ok())?;
        (bits <= width).then_some(Self { address, bits })
    }

    fn holds(self, address: IpAddr) -> bool {
        let shifted = |address: IpAddr| match address {
            IpAddr::V4(v4) => (4, u128::from(v4.to_bits()) << 96),
            IpAddr::V6(v6) => (6, v6.to_bits()),
        };
        let ((own, network), (kind, address)) = (shifted(self.address), shifted(address));
        let same = (network ^ address).leading_zeros() >= u32::from(self.bits);
        own == kind && same
    }
}

impl Condition {
    pub fn parse(
        operator: &str,
        key: &str,
        value: &Value,
        variables: bool,
    ) -> Result<Self, Unreadable> {
        let (quantifier, plain) = match operator.split_once(':') {
            Some(("ForAnyValue", rest)) => (Some(Quantifier::Any), rest),
            Some(("ForAllValues", rest)) => (Some(Quantifier::All), rest),
            Some(_) => return Err(Unreadable::Operator(operator.to_owned())),
            None => (None, operator),
        };
        let (plain, if_exists) = match plain.strip_suffix("IfExists") {
            Some(plain) => (plain, true),
            None => (plain, false),
        };
        let test = Test::parse(plain, &scalars(value), variables)
            .ok_or_else(|| Unreadable::Operator(operator.to_owned()))?;
        Ok(Self {
            operator: operator.to_owned(),
            key: key.to_owned(),
            lookup: key.to_lowercase(),
            quantifier,
            if_exists,
            test,
        })
    }

    /// The keys that it asks for: its own, and those of variables.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let wanted = match &self.test {
            Test::Null(_) => &[],
            Test::Compare { wanted, .. } => wanted.as_slice(),
        };
        let variables = wanted.iter().flat_map(|wanted| match wanted {
            Wanted::Text(pattern) | Wanted::TextIgnoringCase(pattern) | Wanted::Arn(pattern) => {
                pattern.variables().collect()
            }
            _ => Vec::new(),
        });
        std::iter::once(self.key.as_str()).chain(variables)
    }

    pub fn holds(&self, view: &View) -> bool {
        // A key without values is there for sets only.
        let values = view.get(&self.lookup);
        let present = values.filter(|values| !values.is_empty());
        let (negated, wanted) = match &self.test {
            Test::Null(absent) => return absent.contains(&present.is_none()),
            Test::Compare { negated, wanted } => (*negated, wanted),
        };
        let Some(values) = present else {
            return self.if_exists
                || match self.quantifier {
                    Some(Quantifier::All) => true,
                    Some(Quantifier::Any) => false,
                    None => negated,
                };
        };
        let equals = |value: &String| wanted.iter().any(|wanted| wanted.equals(value, view));
        match self.quantifier {
            None => values.iter().any(equals) != negated,
            Some(Quantifier::Any) => values.iter().any(|value| equals(value) != negated),
            Some(Quantifier::All) => values.iter().all(|value| equals(value) != negated),
        }
    }
}

impl Test {
    fn parse(operator: &str, values: &[String], variables: bool) -> Option<Self> {
        let text = |value: &String, wildcards| {
            let syntax = Syntax {
                wildcards,
                variables,
            };
            Pattern::new(value, syntax)
        };
        let all = |negated, read: &dyn Fn(&String) -> Wanted| {
            let wanted = values.iter().map(read).collect();
            Some(Self::Compare { negated, wanted })
        };
        match operator {
            "StringEquals" | "StringNotEquals" => {
                all(operator.contains("Not"), &|v| Wanted::Text(text(v, false)))
            }
            "StringEqualsIgnoreCase" | "StringNotEqualsIgnoreCase" => {
                all(operator.contains("Not"), &|v| {
                    Wanted::TextIgnoringCase(text(v, false))
                })
            }
            "StringLike" | "StringNotLike" => {
                all(operator.contains("Not"), &|v| Wanted::Text(text(v, true)))
            }
            "ArnEquals" | "ArnLike" | "ArnNotEquals" | "ArnNotLike" => {
                all(operator.contains("Not"), &|v| Wanted::Arn(text(v, true)))
            }
            "IpAddress" | "NotIpAddress" => all(operator.contains("Not"), &|v| {
                Wanted::Network(Network::parse(v))
            }),
            "Bool" => all(false, &|v| Wanted::Bool(boolean(v))),
            "BinaryEquals" => all(false, &|v| Wanted::Binary(STANDARD.decode(v).ok())),
            "Null" => values
                .iter()
                .map(|v| boolean(v))
                .collect::<Option<_>>()
                .map(Self::Null),
            _ => {
                if let Some(name) = operator.strip_prefix("Numeric") {
                    let (comparison, negated) = Comparison::of(name)?;
                    return all(negated, &|v| Wanted::Number(number(v), comparison));
                }
                let (comparison, negated) = Comparison::of(operator.strip_prefix("Date")?)?;
                all(negated, &|v| Wanted::Date(date_ms(v), comparison))
            }
        }
    }
}

impl Wanted {
    fn equals(&self, value: &str, view: &View) -> bool {
        match self {
            Self::Text(pattern) => pattern.matches(value, view, Reach::Text),
            Self::TextIgnoringCase(pattern) => pattern.equals_ignoring_case(value, view),
            Self::Number(own, comparison) => match (number(value), own) {
                (Some(value), Some(own)) => comparison.holds(value.partial_cmp(own)),
                _ => false,
            },
            Self::Date(own, comparison) => match (date_ms(value), own) {
                (Some(value), Some(own)) => comparison.holds(Some(value.cmp(own))),
                _ => false,
            },
            Self::Bool(own) => own.is_some() && boolean(value) == *own,
            Self::Binary(own) => own.is_some() && STANDARD.decode(value).ok() == *own,
            Self::Network(own) => {
                own.is_some_and(|network| value.parse().is_ok_and(|address| network.holds(address)))
            }
            Self::Arn(pattern) => pattern.matches_arn(value, view),
        }
    }
}

fn number(text: &str) -> Option<f64> {
    text.trim()
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::Conditions;
    use super::*;
    use serde_json::json;

    /// Whether a condition holds for a key `k` with those values; `None`: it has no such key.
    fn holds(operator: &str, wanted: Value, given: Option<&[&str]>) -> bool {
        let mut conditions = Conditions::default();
        if let Some(values) = given {
            conditions.set_list("K", values.iter().map(|v| (*v).to_owned()));
        }
        conditions.set("aws:username", "ann");
        let own = Conditions::default();
        let condition = Condition::parse(operator, "k", &wanted, true).unwrap();
        condition.holds(&View::new(&conditions, &own))
    }

    fn one(operator: &str, wanted: Value, given: &str) -> bool {
        holds(operator, wanted, Some(&[given]))
    }

    #[test]
    fn values_are_any_of_and_negated_ones_none_of() {
        assert!(one("StringEquals", json!(["a", "b"]), "b"));
        assert!(!one("StringEquals", json!(["a", "b"]), "B"));
        assert!(one("StringEqualsIgnoreCase", json!("B"), "b"));
        assert!(!one("StringNotEquals", json!(["a", "b"]), "b"));
        assert!(one("StringNotEquals", json!(["a", "b"]), "c"));
        assert!(one("StringLike", json!("a*:?"), "a:b:c"));
        assert!(
            !one("StringEquals", json!("a*"), "ab"),
            "no wildcards there"
        );
        assert!(one("StringEquals", json!("${aws:username}"), "ann"));
        assert!(!one("StringNotLike", json!("${aws:username}*"), "anna"));
    }

    #[test]
    fn a_missing_key_fails_but_for_negations_and_if_exists() {
        assert!(!holds("StringEquals", json!("a"), None));
        assert!(holds("StringNotEquals", json!("a"), None));
        assert!(holds("StringEqualsIfExists", json!("a"), None));
        assert!(!one("StringEqualsIfExists", json!("a"), "b"));
        assert!(!holds("IpAddress", json!("10.0.0.0/8"), None));
        assert!(holds("NotIpAddress", json!("10.0.0.0/8"), None));
        assert!(!holds("Bool", json!("true"), None));
        assert!(holds("BoolIfExists", json!(true), None));
    }

    #[test]
    fn null_asks_for_the_key_itself() {
        assert!(holds("Null", json!("true"), None));
        assert!(!holds("Null", json!(true), Some(&["a"])));
        assert!(holds("Null", json!("false"), Some(&["a"])));
        assert!(!holds("Null", json!("false"), None));
        assert!(
            holds("Null", json!("true"), Some(&[])),
            "no value is no key"
        );
    }

    #[test]
    fn sets_are_held_value_by_value() {
        let (all, any) = ("ForAllValues:StringEquals", "ForAnyValue:StringEquals");
        assert!(holds(all, json!(["a", "b"]), Some(&["a"])));
        assert!(!holds(all, json!(["a", "b"]), Some(&["a", "c"])));
        assert!(holds(all, json!(["a"]), None), "none is all of none");
        assert!(holds(all, json!(["a"]), Some(&[])));
        assert!(holds(any, json!(["a", "b"]), Some(&["c", "b"])));
        assert!(!holds(any, json!(["a", "b"]), Some(&["c"])));
        assert!(!holds(any, json!(["a"]), None));
        assert!(!holds("ForAnyValue:StringNotEquals", json!(["a"]), None));
        assert!(holds(
            "ForAnyValue:StringNotEquals",
            json!(["a"]),
            Some(&["a", "b"])
        ));
        assert!(!holds(
            "ForAllValues:StringNotEquals",
            json!(["a"]),
            Some(&["a", "b"])
        ));
        assert!(holds("ForAnyValue:StringLikeIfExists", json!("a*"), None));
    }

    #[test]
    fn numbers_dates_addresses_and_bytes_are_read_as_such() {
        assert!(one("NumericEquals", json!(10), "10.0"));
        assert!(one("NumericLessThanEquals", json!("10"), "9.5"));
        assert!(!one("NumericLessThan", json!("10"), "10"));
        assert!(!one("NumericGreaterThan", json!("10"), "many"));
        assert!(one("NumericNotEquals", json!("10"), "11"));
        let noon = "2024-02-29T12:00:00Z";
        assert!(one("DateLessThan", json!(noon), "2024-02-29T11:59:59.999Z"));
        assert!(one("DateEquals", json!("1709208000"), noon));
        assert!(one("DateGreaterThan", json!("2024-02-29"), noon));
        assert!(one("DateEquals", json!("2024-02-29T13:00:00+01:00"), noon));
        assert!(!one("DateEquals", json!(noon), "soon"));
        assert!(one(
            "IpAddress",
            json!(["192.0.2.0/24", "2001:db8::/32"]),
            "2001:db8::1"
        ));
        assert!(one("IpAddress", json!("192.0.2.7"), "192.0.2.7"));
        assert!(!one("IpAddress", json!("192.0.2.0/24"), "192.0.3.1"));
        assert!(!one("IpAddress", json!("0.0.0.0/0"), "::1"));
        assert!(!one("NotIpAddress", json!("0.0.0.0/0"), "192.0.3.1"));
        assert!(one("Bool", json!(true), "True"));
        assert!(!one("Bool", json!("false"), "true"));
        assert!(one("BinaryEquals", json!("QmluYXJ5"), "QmluYXJ5"));
        assert!(!one("BinaryEquals", json!("QmluYXJ5"), "QmluYXJ6"));
    }

    #[test]
    fn arns_match_with_wildcards_whatever_the_operator_is_called() {
        let arn = "arn:aws:ecs:us-east-1:111122223333:cluster/prod";
        for operator in ["ArnEquals", "ArnLike"] {
            assert!(one(
                operator,
                json!("arn:aws:ecs:*:111122223333:cluster/p*"),
                arn
            ));
            assert!(!one(operator, json!("arn:aws:ecs:*:cluster/p*"), arn));
        }
        assert!(!one("ArnNotLike", json!("arn:aws:ecs:*:*:*"), arn));
    }

    #[test]
    fn an_operator_that_is_not_known_cannot_be_read() {
        for operator in ["Equals", "ForSome:StringEquals", "NumericLike", "DateNot"] {
            assert!(
                Condition::parse(operator, "k", &json!("a"), true).is_err(),
                "{operator}"
            );
        }
    }
}
