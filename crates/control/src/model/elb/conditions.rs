//! When a rule applies (facts LST-3 to LST-6).
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html>

use super::{Refusal, invalid, limits};
use fogbank_types::elb::Condition;

/// The condition's name in the API.
pub fn field(condition: &Condition) -> &'static str {
    match condition {
        Condition::HostHeader(_) | Condition::HostHeaderRegex(_) => "host-header",
        Condition::PathPattern(_) | Condition::PathPatternRegex(_) => "path-pattern",
        Condition::HttpHeader { .. } | Condition::HttpHeaderRegex { .. } => "http-header",
        Condition::HttpRequestMethod(_) => "http-request-method",
        Condition::QueryString(_) => "query-string",
        Condition::SourceIp(_) => "source-ip",
    }
}

/// Whether these can be the conditions of a rule.
pub fn check(conditions: &[Condition]) -> Result<(), Refusal> {
    if conditions.is_empty() {
        return Err(invalid("At least one condition must be specified"));
    }
    for name in [
        "host-header",
        "path-pattern",
        "http-request-method",
        "source-ip",
    ] {
        if conditions.iter().filter(|c| field(c) == name).count() > 1 {
            return Err(invalid(format!(
                "A rule can only have one '{name}' condition"
            )));
        }
    }
    conditions.iter().try_for_each(check_one)?;
    let values: usize = conditions.iter().map(count).sum();
    if values > limits::CONDITION_VALUES_PER_RULE {
        return Err(invalid(format!(
            "A rule can only have '{}' condition values",
            limits::CONDITION_VALUES_PER_RULE
        )));
    }
    let wildcards: usize = conditions.iter().flat_map(patterns).map(wildcards_in).sum();
    if wildcards > limits::WILDCARDS_PER_RULE {
        return Err(invalid(format!(
            "A rule can only have '{}' condition wildcards",
            limits::WILDCARDS_PER_RULE
        )));
    }
    Ok(())
}

fn count(condition: &Condition) -> usize {
    match condition {
        Condition::QueryString(pairs) => pairs.len(),
        Condition::SourceIp(blocks) => blocks.len(),
        _ => patterns(condition).len(),
    }
}

/// The values that may hold wildcards, and methods.
fn patterns(condition: &Condition) -> Vec<&str> {
    match condition {
        Condition::HostHeader(values)
        | Condition::PathPattern(values)
        | Condition::HttpHeader { values, .. }
        | Condition::HttpRequestMethod(values) => values.iter().map(String::as_str).collect(),
        Condition::QueryString(pairs) => pairs
            .iter()
            .flat_map(|(key, value)| key.as_deref().into_iter().chain([value.as_str()]))
            .collect(),
        Condition::SourceIp(_)
        | Condition::HostHeaderRegex(_)
        | Condition::PathPatternRegex(_)
        | Condition::HttpHeaderRegex { .. } => Vec::new(),
    }
}

fn wildcards_in(pattern: &str) -> usize {
    pattern.chars().filter(|c| matches!(c, '*' | '?')).count()
}

fn check_one(condition: &Condition) -> Result<(), Refusal> {
    let name = field(condition);
    if count(condition) == 0 {
        return Err(invalid(match condition {
            Condition::HostHeader(_) | Condition::PathPattern(_) => {
                "A condition value must be specified".to_owned()
            }
            _ => format!("A '{name}' value must be specified"),
        }));
    }
    let characters: fn(char) -> bool = match condition {
        Condition::HostHeader(_) => |c| c.is_ascii_alphanumeric() || "-.*?:".contains(c),
        Condition::PathPattern(_) => {
            |c| c.is_ascii_alphanumeric() || "_-.$/~\"'@:+&*?%!,;=()[]".contains(c)
        }
        Condition::HttpRequestMethod(_) => |c| c.is_ascii_uppercase() || "-_".contains(c),
        _ => |c| !c.is_control(),
    };
    let longest = if matches!(condition, Condition::HttpRequestMethod(_)) {
        40
    } else {
        128
    };
    check_length(condition, longest)?;
    for value in patterns(condition) {
        let empty_is_fine = matches!(condition, Condition::QueryString(_));
        if matches!(condition, Condition::HttpRequestMethod(_)) && !value.chars().all(characters) {
            return Err(invalid(format!(
                "The '{name}' value is invalid; the allowed characters are A-Z, hyphen and underscore"
            )));
        }
        if (value.is_empty() && !empty_is_fine) || !value.chars().all(characters) {
            return Err(invalid(format!(
                "Condition value '{value}' of '{name}' is not valid"
            )));
        }
    }
    match condition {
        Condition::HttpHeader { name: header, .. } => check_header_name(header),
        Condition::HostHeader(values) => match values.iter().find(|v| !v.contains(['.', '*'])) {
            // "You must include at least one . character" says AWS; `*` alone is taken.
            Some(value) => Err(invalid(format!(
                "Condition value '{value}' of 'host-header' must contain at least one '.' character"
            ))),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn check_length(condition: &Condition, longest: usize) -> Result<(), Refusal> {
    let too_long = |text: &&str| text.chars().count() > longest;
    let name = match condition {
        Condition::QueryString(pairs) => {
            let key =
                |(key, _): &(Option<String>, String)| key.as_deref().is_some_and(|k| too_long(&k));
            let value = |(_, value): &(Option<String>, String)| too_long(&value.as_str());
            if pairs.iter().any(key) {
                Some("Key")
            } else {
                pairs.iter().any(value).then_some("Value")
            }
        }
        other => patterns(other).iter().any(too_long).then(|| field(other)),
    };
    name.map_or(Ok(()), |name| {
        Err(invalid(format!(
            "The '{name}' value is too long; the limit is '{longest}'"
        )))
    })
}

/// A token of RFC 7230, without wildcards; Host has a condition of its own.
fn check_header_name(name: &str) -> Result<(), Refusal> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&b);
    if name.len() > 40 {
        return Err(invalid(
            "The 'HttpHeaderName' value is too long; the limit is '40'",
        ));
    }
    if name.is_empty() || !name.bytes().all(token) {
        return Err(invalid(format!("HTTP header name '{name}' is not valid")));
    }
    if name.eq_ignore_ascii_case("host") {
        return Err(invalid(
            "Use a 'host-header' condition to match the Host header",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(values: &[&str]) -> Vec<String> {
        values.iter().map(|v| (*v).to_owned()).collect()
    }

    fn header(name: &str, values: &[&str]) -> Condition {
        Condition::HttpHeader {
            name: name.to_owned(),
            values: texts(values),
        }
    }

    #[test]
    fn good_conditions_are_taken() {
        for conditions in [
            vec![Condition::PathPattern(texts(&["/teapot*"]))],
            vec![Condition::HostHeader(texts(&[
                "*.example.com",
                "Example.com",
            ]))],
            vec![header("User-Agent", &["*curl*"]), header("X-A", &["1"])],
            vec![Condition::HttpRequestMethod(texts(&["GET", "M-SEARCH"]))],
            vec![Condition::QueryString(vec![
                (Some("v".to_owned()), "1".to_owned()),
                (None, "*".to_owned()),
            ])],
            vec![Condition::SourceIp(vec!["10.0.0.0/8".parse().unwrap()])],
        ] {
            check(&conditions).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_awss_words() {
        let long = "X".repeat(129);
        for (condition, text) in [
            (
                Condition::HostHeader(texts(&[&long])),
                "The 'host-header' value is too long; the limit is '128'",
            ),
            (
                Condition::PathPattern(vec![]),
                "A condition value must be specified",
            ),
            (
                header(&long, &["a"]),
                "The 'HttpHeaderName' value is too long; the limit is '40'",
            ),
            (
                Condition::HttpRequestMethod(texts(&[&long])),
                "The 'http-request-method' value is too long; the limit is '40'",
            ),
            (
                Condition::HttpRequestMethod(texts(&["get"])),
                "The 'http-request-method' value is invalid; the allowed characters are A-Z, hyphen and underscore",
            ),
            (
                Condition::QueryString(vec![(Some(long.clone()), long.clone())]),
                "The 'Key' value is too long; the limit is '128'",
            ),
            (
                Condition::QueryString(vec![(None, long.clone())]),
                "The 'Value' value is too long; the limit is '128'",
            ),
            (
                Condition::SourceIp(vec![]),
                "A 'source-ip' value must be specified",
            ),
        ] {
            assert_eq!(check(&[condition]).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn bad_conditions_are_refused() {
        let long = "a".repeat(129);
        for conditions in [
            vec![],
            vec![Condition::PathPattern(vec![])],
            vec![Condition::PathPattern(texts(&[""]))],
            vec![Condition::PathPattern(texts(&[&long]))],
            vec![Condition::PathPattern(texts(&["/a b"]))],
            vec![Condition::HostHeader(texts(&["a/b.c"]))],
            vec![Condition::HostHeader(texts(&["localhost"]))],
            vec![Condition::HttpRequestMethod(texts(&["get"]))],
            vec![header("", &["a"])],
            vec![header("X-*", &["a"])],
            vec![header("Host", &["a"])],
            vec![header("X", &["a\nb"])],
            vec![Condition::SourceIp(vec![])],
            vec![
                Condition::PathPattern(texts(&["/a"])),
                Condition::PathPattern(texts(&["/b"])),
            ],
            vec![Condition::PathPattern(texts(&[
                "/a", "/b", "/c", "/d", "/e", "/f",
            ]))],
            vec![Condition::PathPattern(texts(&["/******"]))],
        ] {
            assert!(
                matches!(check(&conditions), Err(Refusal::Validation(_))),
                "{conditions:?}"
            );
        }
    }
}
