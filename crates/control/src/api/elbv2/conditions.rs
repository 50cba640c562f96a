//! Conditions as shapes and as rows.

use crate::model::elb::conditions::field;
use crate::model::elb::{Refusal, invalid};
use fogbank_types::elb::Condition;
use fogbank_types::{IpCidr, Ipv4Cidr, Ipv6Cidr};
use fogbank_wire::elbv2 as wire;

pub fn parse(conditions: Vec<wire::RuleCondition>) -> Result<Vec<Condition>, Refusal> {
    conditions.into_iter().map(parse_one).collect()
}

fn parse_one(condition: wire::RuleCondition) -> Result<Condition, Refusal> {
    let field = condition
        .field
        .clone()
        .ok_or_else(|| invalid("A condition field must be specified"))?;
    forbid(&condition, &field)?;
    let wire::RuleCondition {
        host_header_config,
        http_header_config,
        http_request_method_config,
        path_pattern_config,
        query_string_config,
        source_ip_config,
        regex_values,
        values,
        ..
    } = condition;
    let expressions_fit = matches!(field.as_str(), "host-header" | "path-pattern");
    let outer = regex_values.filter(|values| !values.is_empty());
    if outer.is_some() && !expressions_fit {
        return Err(invalid(format!(
            "'RegexValues' cannot be specified for a condition with field '{field}'"
        )));
    }
    match field.as_str() {
        "host-header" => {
            let config = host_header_config.unwrap_or_default();
            let inner = (config.values, config.regex_values);
            matched(
                &field,
                (values, outer),
                inner,
                Condition::HostHeader,
                Condition::HostHeaderRegex,
            )
        }
        "path-pattern" => {
            let config = path_pattern_config.unwrap_or_default();
            let inner = (config.values, config.regex_values);
            matched(
                &field,
                (values, outer),
                inner,
                Condition::PathPattern,
                Condition::PathPatternRegex,
            )
        }
        "http-request-method" => {
            let config = http_request_method_config.and_then(|c| c.values);
            let values = one_of(&field, values, config)?.unwrap_or_default();
            if values.is_empty() {
                return Err(needed(&field, "HttpRequestMethodConfig"));
            }
            Ok(Condition::HttpRequestMethod(values))
        }
        "http-header" => {
            let config = http_header_config.ok_or_else(|| needed(&field, "HttpHeaderConfig"))?;
            let name = config
                .http_header_name
                .ok_or_else(|| needed(&field, "HttpHeaderName"))?;
            let inner = (config.values, config.regex_values);
            let plain = |values| Condition::HttpHeader {
                name: name.clone(),
                values,
            };
            let regex = |values| Condition::HttpHeaderRegex {
                name: name.clone(),
                values,
            };
            matched(&field, (values, None), inner, plain, regex)
        }
        "query-string" => {
            let config = query_string_config.ok_or_else(|| needed(&field, "QueryStringConfig"))?;
            let pair = |pair: wire::QueryStringKeyValuePair| {
                let value = pair.value.ok_or_else(|| {
                    invalid("A 'Value' must be specified in 'QueryStringKeyValuePair'")
                })?;
                Ok((pair.key, value))
            };
            let pairs = config.values.unwrap_or_default().into_iter().map(pair);
            pairs
                .collect::<Result<_, Refusal>>()
                .map(Condition::QueryString)
        }
        "source-ip" => {
            if source_ip_config.is_none() && values.is_none() {
                return Err(needed(&field, "SourceIpConfig"));
            }
            let config = source_ip_config.and_then(|c| c.values);
            let blocks = one_of(&field, values, config)?.unwrap_or_default();
            let blocks = blocks
                .iter()
                .map(|text| block(text))
                .collect::<Result<_, _>>()?;
            Ok(Condition::SourceIp(blocks))
        }
        other => Err(invalid(format!("Condition field '{other}' is not valid"))),
    }
}

fn needed(field: &str, config: &str) -> Refusal {
    invalid(format!("A '{config}' must be specified with '{field}'"))
}

/// The configuration of another field must not be there.
fn forbid(condition: &wire::RuleCondition, field: &str) -> Result<(), Refusal> {
    let present = [
        ("host-header", condition.host_header_config.is_some()),
        ("path-pattern", condition.path_pattern_config.is_some()),
        ("http-header", condition.http_header_config.is_some()),
        (
            "http-request-method",
            condition.http_request_method_config.is_some(),
        ),
        ("query-string", condition.query_string_config.is_some()),
        ("source-ip", condition.source_ip_config.is_some()),
    ];
    match present
        .into_iter()
        .find(|(other, there)| *there && *other != field)
    {
        Some((other, _)) => Err(invalid(format!(
            "The configuration of '{other}' is not valid for a condition with field '{field}'"
        ))),
        None => Ok(()),
    }
}

type Texts = Option<Vec<String>>;

/// A condition of plain values or of regular expressions, not both; each beside the field or in its configuration.
fn matched(
    field: &str,
    (outer, outer_regex): (Texts, Texts),
    (inner, inner_regex): (Texts, Texts),
    plain: impl FnOnce(Vec<String>) -> Condition,
    regex: impl FnOnce(Vec<String>) -> Condition,
) -> Result<Condition, Refusal> {
    let values = one_of(field, outer, inner)?;
    let expressions = one_of(field, outer_regex, inner_regex)?;
    match (values, expressions) {
        (Some(_), Some(_)) => Err(invalid(format!(
            "Either 'Values' or 'RegexValues' must be specified for a condition with field '{field}', not both"
        ))),
        (None, Some(expressions)) => Ok(regex(expressions)),
        (values, None) => Ok(plain(values.unwrap_or_default())),
    }
}

/// An empty list is none. The same one twice is fine: so are conditions read back.
fn one_of(field: &str, outer: Texts, inner: Texts) -> Result<Texts, Refusal> {
    let outer = outer.filter(|values| !values.is_empty());
    let inner = inner.filter(|values| !values.is_empty());
    match (outer, inner) {
        (Some(outer), Some(inner)) if outer != inner => Err(invalid(format!(
            "You cannot specify both values and a configuration for a condition with field '{field}'"
        ))),
        (outer, inner) => Ok(outer.or(inner)),
    }
}

fn block(text: &str) -> Result<IpCidr, Refusal> {
    let parsed = if text.contains(':') {
        text.parse::<Ipv6Cidr>().map(IpCidr::V6).ok()
    } else {
        text.parse::<Ipv4Cidr>().map(IpCidr::V4).ok()
    };
    parsed.ok_or_else(|| {
        invalid(format!(
            "Condition value '{text}' of 'source-ip' must be a valid CIDR"
        ))
    })
}

/// As AWS lists them: host and path have both `Values` and their configuration.
pub fn render(conditions: &[Condition]) -> Vec<wire::RuleCondition> {
    conditions.iter().map(render_one).collect()
}

fn render_one(condition: &Condition) -> wire::RuleCondition {
    let plain = wire::RuleCondition {
        field: Some(field(condition).to_owned()),
        ..Default::default()
    };
    match condition {
        Condition::HostHeader(values) => wire::RuleCondition {
            values: Some(values.clone()),
            host_header_config: Some(wire::HostHeaderConditionConfig {
                values: Some(values.clone()),
                ..Default::default()
            }),
            ..plain
        },
        Condition::PathPattern(values) => wire::RuleCondition {
            values: Some(values.clone()),
            path_pattern_config: Some(wire::PathPatternConditionConfig {
                values: Some(values.clone()),
                ..Default::default()
            }),
            ..plain
        },
        Condition::HttpHeader { name, values } => wire::RuleCondition {
            http_header_config: Some(wire::HttpHeaderConditionConfig {
                http_header_name: Some(name.clone()),
                values: Some(values.clone()),
                ..Default::default()
            }),
            ..plain
        },
        Condition::HostHeaderRegex(values) => wire::RuleCondition {
            host_header_config: Some(wire::HostHeaderConditionConfig {
                regex_values: Some(values.clone()),
                ..Default::default()
            }),
            ..plain
        },
        Condition::PathPatternRegex(values) => wire::RuleCondition {
            path_pattern_config: Some(wire::PathPatternConditionConfig {
                regex_values: Some(values.clone()),
                ..Default::default()
            }),
            ..plain
        },
        Condition::HttpHeaderRegex { name, values } => wire::RuleCondition {
            http_header_config: Some(wire::HttpHeaderConditionConfig {
                http_header_name: Some(name.clone()),
                regex_values: Some(values.clone()),
                ..Default::default()
            }),
            ..plain
        },
        Condition::HttpRequestMethod(values) => wire::RuleCondition {
            http_request_method_config: Some(wire::HttpRequestMethodConditionConfig {
                values: Some(values.clone()),
            }),
            ..plain
        },
        Condition::QueryString(pairs) => {
            let pair = |(key, value): &(Option<String>, String)| wire::QueryStringKeyValuePair {
                key: key.clone(),
                value: Some(value.clone()),
            };
            wire::RuleCondition {
                query_string_config: Some(wire::QueryStringConditionConfig {
                    values: Some(pairs.iter().map(pair).collect()),
                }),
                ..plain
            }
        }
        Condition::SourceIp(blocks) => wire::RuleCondition {
            source_ip_config: Some(wire::SourceIpConditionConfig {
                values: Some(blocks.iter().map(ToString::to_string).collect()),
            }),
            ..plain
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(field: &str, values: &[&str]) -> wire::RuleCondition {
        wire::RuleCondition {
            field: Some(field.to_owned()),
            values: (!values.is_empty()).then(|| values.iter().map(|v| (*v).to_owned()).collect()),
            ..Default::default()
        }
    }

    #[test]
    fn what_is_listed_can_be_sent_again() {
        for condition in [
            Condition::HostHeader(vec!["a.b".to_owned()]),
            Condition::PathPattern(vec!["/a".to_owned()]),
            Condition::HttpHeader {
                name: "X".to_owned(),
                values: vec!["1".to_owned()],
            },
            Condition::HttpRequestMethod(vec!["GET".to_owned()]),
            Condition::QueryString(vec![(None, "1".to_owned())]),
            Condition::SourceIp(vec![block("10.0.0.0/8").unwrap(), block("::/0").unwrap()]),
            Condition::HostHeaderRegex(vec!["^a".to_owned()]),
            Condition::PathPatternRegex(vec!["^/a".to_owned()]),
            Condition::HttpHeaderRegex {
                name: "X".to_owned(),
                values: vec!["1+".to_owned()],
            },
        ] {
            let parsed = parse(render(std::slice::from_ref(&condition))).unwrap();
            assert_eq!(parsed, [condition]);
        }
    }

    #[test]
    fn malformed_conditions_are_refused() {
        let mut regex = of("path-pattern", &["/a"]);
        regex.regex_values = Some(vec![".*".to_owned()]);
        let mut method = of("http-request-method", &["GET"]);
        method.regex_values = Some(vec![".*".to_owned()]);
        let mut wrong = of("path-pattern", &["/a"]);
        wrong.host_header_config = Some(wire::HostHeaderConditionConfig::default());
        let mut differ = of("path-pattern", &["/a"]);
        differ.path_pattern_config = Some(wire::PathPatternConditionConfig {
            values: Some(vec!["/b".to_owned()]),
            ..Default::default()
        });
        for bad in [
            wire::RuleCondition::default(),
            of("dance", &["a"]),
            of("http-header", &["a"]),
            of("query-string", &["a"]),
            of("source-ip", &["300.0.0.0/8"]),
            regex,
            method,
            wrong,
            differ,
        ] {
            assert!(parse(vec![bad.clone()]).is_err(), "{bad:?}");
        }
    }
}
