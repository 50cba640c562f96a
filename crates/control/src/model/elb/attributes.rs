//! Attributes by key: what a resource may have, their defaults, and which values are good.
//!
//! Rows keep only what differs from the default; answers always hold the whole set. The tables stand in
//! `load_balancer_attributes`, `target_group_attributes` and `listener_attributes`, which also say what may
//! not be together. A value that this region cannot act by is refused, never stored and ignored.

use super::{Refusal, invalid};
use fogbank_types::elb::TargetGroup;
use std::collections::{BTreeMap, BTreeSet};

/// One attribute.
pub struct Attribute {
    pub key: &'static str,
    pub default: &'static str,
    pub values: Values,
}

/// Which values an attribute takes.
pub enum Values {
    Boolean,
    /// A whole number from the first to the second.
    Number(u64, u64),
    /// Zero, or a whole number in the range.
    ZeroOr(u64, u64),
    /// `off`, or a whole number in the range.
    OffOr(u64, u64),
    OneOf(&'static [&'static str]),
    /// Any text that the module of the table checks itself.
    Text,
    /// Whatever the function calls good.
    Checked(fn(&str) -> bool),
}

/// The value in force.
pub fn value<'a>(
    table: &'static [Attribute],
    own: &'a BTreeMap<String, String>,
    key: &'static str,
) -> &'a str {
    let default = || {
        table
            .iter()
            .find(|a| a.key == key)
            .map_or("", |a| a.default)
    };
    own.get(key).map_or_else(default, String::as_str)
}

/// Every attribute with the value in force, in the table's order.
pub fn all(table: &'static [Attribute], own: &BTreeMap<String, String>) -> Vec<(String, String)> {
    table
        .iter()
        .map(|a| (a.key.to_owned(), value(table, own, a.key).to_owned()))
        .collect()
}

/// The attributes after the changes, or why one of them is refused. `noun` is what they are of, for the text.
pub fn changed(
    table: &'static [Attribute],
    noun: &str,
    own: &BTreeMap<String, String>,
    changes: &[(String, String)],
) -> Result<BTreeMap<String, String>, Refusal> {
    if changes.is_empty() {
        return Err(invalid(format!(
            "At least one {noun} attribute must be specified"
        )));
    }
    let mut seen = BTreeSet::new();
    let mut after = own.clone();
    for (key, value) in changes {
        if !seen.insert(key) {
            return Err(invalid(format!(
                "{} attribute key '{key}' is specified more than once",
                capital(noun)
            )));
        }
        // The Terraform provider looks for these very words, drops the key and tries again.
        let attribute = table.iter().find(|a| a.key == key).ok_or_else(|| {
            invalid(format!(
                "{} attribute key '{key}' is not recognized",
                capital(noun)
            ))
        })?;
        check(attribute, value)?;
        if value == attribute.default {
            after.remove(key);
        } else {
            after.insert(key.clone(), value.clone());
        }
    }
    Ok(after)
}

fn capital(noun: &str) -> String {
    let (first, rest) = noun.split_at(1);
    format!("{}{rest}", first.to_ascii_uppercase())
}

fn check(attribute: &Attribute, value: &str) -> Result<(), Refusal> {
    let key = attribute.key;
    let number = value.parse::<u64>().ok().filter(|_| is_plain_number(value));
    let within = |low, high| number.is_some_and(|n| (low..=high).contains(&n));
    let must = |what: String| {
        invalid(format!(
            "The value '{value}' of attribute '{key}' must be {what}"
        ))
    };
    match &attribute.values {
        Values::Boolean if matches!(value, "true" | "false") => Ok(()),
        Values::Boolean => Err(must("'true' or 'false'".to_owned())),
        Values::Number(low, high) if within(*low, *high) => Ok(()),
        Values::Number(low, high) => Err(must(format!("between '{low}' and '{high}' inclusive"))),
        Values::ZeroOr(low, high) if number == Some(0) || within(*low, *high) => Ok(()),
        Values::ZeroOr(low, high) => Err(must(format!(
            "'0' or between '{low}' and '{high}' inclusive"
        ))),
        Values::OffOr(low, high) if value == "off" || within(*low, *high) => Ok(()),
        Values::OffOr(low, high) => Err(must(format!(
            "'off' or between '{low}' and '{high}' inclusive"
        ))),
        Values::OneOf(list) if list.contains(&value) => Ok(()),
        Values::OneOf(list) => Err(must(format!("one of '{}'", list.join("', '")))),
        Values::Text => Ok(()),
        Values::Checked(is_good) if is_good(value) => Ok(()),
        Values::Checked(_) => Err(invalid(format!(
            "The value '{value}' of attribute '{key}' is not valid"
        ))),
    }
}

fn is_plain_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit())
}

/// Deregistration delay of a target group in ms, at real speed.
pub fn delay_ms(group: &TargetGroup) -> u64 {
    let seconds =
        super::target_group_attributes::value(group, "deregistration_delay.timeout_seconds");
    seconds.parse::<u64>().unwrap_or(300) * 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    static TABLE: &[Attribute] = &[
        Attribute {
            key: "b",
            default: "false",
            values: Values::Boolean,
        },
        Attribute {
            key: "n",
            default: "60",
            values: Values::Number(1, 4000),
        },
        Attribute {
            key: "z",
            default: "0",
            values: Values::ZeroOr(30, 900),
        },
        Attribute {
            key: "o",
            default: "off",
            values: Values::OffOr(1, 100),
        },
        Attribute {
            key: "l",
            default: "x",
            values: Values::OneOf(&["x", "y"]),
        },
        Attribute {
            key: "d",
            default: "",
            values: Values::Checked(|value| value.len() < 3),
        },
    ];

    fn set(key: &str, value: &str) -> Result<BTreeMap<String, String>, Refusal> {
        changed(
            TABLE,
            "thing",
            &BTreeMap::new(),
            &[(key.to_owned(), value.to_owned())],
        )
    }

    #[test]
    fn good_values_are_kept_and_defaults_are_not() {
        for (key, value) in [
            ("b", "true"),
            ("n", "4000"),
            ("z", "30"),
            ("o", "100"),
            ("l", "y"),
        ] {
            assert_eq!(set(key, value).unwrap()[key], value);
        }
        for attribute in TABLE {
            assert!(
                set(attribute.key, attribute.default).unwrap().is_empty(),
                "{}",
                attribute.key
            );
        }
    }

    #[test]
    fn bad_values_are_refused() {
        for (key, value) in [
            ("b", "yes"),
            ("b", ""),
            ("n", "0"),
            ("n", "4001"),
            ("n", "+5"),
            ("n", "-1"),
            ("n", "1.5"),
            ("n", ""),
            ("z", "29"),
            ("z", "901"),
            ("o", "0"),
            ("o", "on"),
            ("l", "z"),
            ("d", "long"),
        ] {
            assert!(
                matches!(set(key, value), Err(Refusal::Validation(_))),
                "{key}={value}"
            );
        }
    }

    #[test]
    fn an_unknown_key_is_refused_in_the_words_that_terraform_looks_for() {
        let text = set("nope.x", "1").unwrap_err().to_string();
        assert_eq!(text, "Thing attribute key 'nope.x' is not recognized");
    }

    #[test]
    fn the_whole_set_is_listed() {
        let own = set("n", "5").unwrap();
        let listed = all(TABLE, &own);
        assert_eq!(listed.len(), TABLE.len());
        assert!(listed.contains(&("n".to_owned(), "5".to_owned())));
        assert!(listed.contains(&("z".to_owned(), "0".to_owned())));
    }

    #[test]
    fn a_key_twice_is_refused() {
        let twice = [
            ("n".to_owned(), "1".to_owned()),
            ("n".to_owned(), "2".to_owned()),
        ];
        assert!(changed(TABLE, "thing", &BTreeMap::new(), &twice).is_err());
        assert!(changed(TABLE, "thing", &BTreeMap::new(), &[]).is_err());
    }
}
