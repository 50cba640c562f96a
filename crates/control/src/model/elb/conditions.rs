//! When a rule applies (facts LST-3 to LST-6).
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html>

use super::limits::Limits;
use super::{Refusal, invalid, transforms};
use fogbank_types::elb::Condition;

/// "The maximum length of each string is 128 characters": RegexValues.
const EXPRESSION_MAX: usize = 128;

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
pub fn check(limits: Limits, conditions: &[Condition]) -> Result<(), Refusal> {
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
    if values > limits.condition_values_per_rule {
        return Err(invalid(format!(
            "A rule can only have '{}' condition values",
            limits.condition_values_per_rule
        )));
    }
    let wildcards: usize = conditions.iter().flat_map(patterns).map(wildcards_in).sum();
    if wildcards > limits.wildcards_per_rule {
        return Err(invalid(format!(
            "A rule can only have '{}' condition wildcards",
            limits.wildcards_per_rule
        )));
    }
    Ok(())
}

fn count(condition: &Condition) -> usize {
    match condition {
        Condition::QueryString(pairs) => pairs.len(),
        Condition::SourceIp(blocks) => blocks.len(),
        _ => expressions(condition).map_or_else(|| patterns(condition).len(), <[String]>::len),
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

/// Of a condition that matches by regular expression.
fn expressions(condition: &Condition) -> Option<&[String]> {
    match condition {
        Condition::HostHeaderRegex(values)
        | Condition::PathPatternRegex(values)
        | Condition::HttpHeaderRegex { values, .. } => Some(values),
        _ => None,
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
    if let Condition::HttpHeader { name, .. } | Condition::HttpHeaderRegex { name, .. } = condition
    {
        check_header_name(name)?;
    }
    if let Some(expressions) = expressions(condition) {
        let mut each = expressions.iter();
        return each.try_for_each(|e| transforms::check_expression(e, EXPRESSION_MAX));
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
    use fogbank_types::IpCidr;

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
            vec![Condition::SourceIp(vec![
                IpCidr::V4("10.0.0.0/8".parse().unwrap()),
                IpCidr::V6("2001:db8::/32".parse().unwrap()),
            ])],
            vec![
                Condition::HostHeaderRegex(texts(&["^(a|b)\\.example\\.com$"])),
                Condition::PathPatternRegex(texts(&["^/v[0-9]+/"])),
                Condition::HttpHeaderRegex {
                    name: "User-Agent".to_owned(),
                    values: texts(&["(?i)curl", "wget"]),
                },
            ],
        ] {
            check(Limits::AWS, &conditions).unwrap();
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
            assert_eq!(
                check(Limits::AWS, &[condition]).unwrap_err().to_string(),
                text
            );
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
            vec![Condition::PathPatternRegex(texts(&["("]))],
            vec![Condition::HostHeaderRegex(vec![])],
            vec![Condition::PathPatternRegex(vec![long.clone()])],
            vec![Condition::HttpHeaderRegex {
                name: "Host".to_owned(),
                values: texts(&["a"]),
            }],
            vec![
                Condition::PathPattern(texts(&["/a"])),
                Condition::PathPatternRegex(texts(&["/b"])),
            ],
            vec![Condition::PathPatternRegex(texts(&["a"; 6]))],
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
                matches!(check(Limits::AWS, &conditions), Err(Refusal::Validation(_))),
                "{conditions:?}"
            );
        }
    }
}
