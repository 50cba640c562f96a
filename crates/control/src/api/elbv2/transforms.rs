//! Transforms as shapes and as rows.

use crate::model::elb::{Refusal, invalid, transforms};
use fogbank_types::elb::{Rewrite, Transform};
use fogbank_wire::elbv2 as wire;

pub fn parse(shapes: Vec<wire::RuleTransform>) -> Result<Vec<Transform>, Refusal> {
    shapes.into_iter().map(parse_one).collect()
}

fn parse_one(shape: wire::RuleTransform) -> Result<Transform, Refusal> {
    let kind = shape.r#type;
    let host = shape.host_header_rewrite_config.map(|c| c.rewrites);
    let url = shape.url_rewrite_config.map(|c| c.rewrites);
    let missing = || {
        invalid(format!(
            "A configuration must be specified for a transform with type '{kind}'"
        ))
    };
    let (own, other) = match kind.as_str() {
        "host-header-rewrite" => (host, url),
        "url-rewrite" => (url, host),
        _ => {
            return Err(invalid(format!(
                "Transform type '{kind}' must be one of 'host-header-rewrite', 'url-rewrite'"
            )));
        }
    };
    if other.is_some() {
        return Err(invalid(format!(
            "The configuration of another type is not valid for a transform with type '{kind}'"
        )));
    }
    let rewrites = own
        .flatten()
        .ok_or_else(missing)?
        .into_iter()
        .map(|shape| Rewrite {
            regex: shape.regex,
            replace: shape.replace,
        });
    let rewrites = rewrites.collect();
    Ok(match kind.as_str() {
        "host-header-rewrite" => Transform::HostHeaderRewrite { rewrites },
        _ => Transform::UrlRewrite { rewrites },
    })
}

pub fn render(rows: &[Transform]) -> Vec<wire::RuleTransform> {
    rows.iter().map(render_one).collect()
}

fn render_one(row: &Transform) -> wire::RuleTransform {
    let shape = |rewrite: &Rewrite| wire::RewriteConfig {
        regex: rewrite.regex.clone(),
        replace: rewrite.replace.clone(),
    };
    let (Transform::HostHeaderRewrite { rewrites } | Transform::UrlRewrite { rewrites }) = row;
    let rewrites = Some(rewrites.iter().map(shape).collect());
    let plain = wire::RuleTransform {
        r#type: transforms::kind(row).to_owned(),
        ..Default::default()
    };
    match row {
        Transform::HostHeaderRewrite { .. } => wire::RuleTransform {
            host_header_rewrite_config: Some(wire::HostHeaderRewriteConfig { rewrites }),
            ..plain
        },
        Transform::UrlRewrite { .. } => wire::RuleTransform {
            url_rewrite_config: Some(wire::UrlRewriteConfig { rewrites }),
            ..plain
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_can_be_sent_again() {
        let rewrites = vec![Rewrite {
            regex: "^/a".to_owned(),
            replace: "/b".to_owned(),
        }];
        let rows = vec![
            Transform::UrlRewrite {
                rewrites: rewrites.clone(),
            },
            Transform::HostHeaderRewrite { rewrites },
        ];
        assert_eq!(parse(render(&rows)).unwrap(), rows);
    }

    #[test]
    fn a_configuration_is_of_the_type_named() {
        let url = wire::RuleTransform {
            r#type: "url-rewrite".to_owned(),
            ..Default::default()
        };
        let host = wire::RuleTransform {
            host_header_rewrite_config: Some(wire::HostHeaderRewriteConfig {
                rewrites: Some(vec![]),
            }),
            ..url.clone()
        };
        let unknown = wire::RuleTransform {
            r#type: "dance".to_owned(),
            ..Default::default()
        };
        for bad in [url, host, unknown] {
            assert!(parse(vec![bad.clone()]).is_err(), "{bad:?}");
        }
    }
}
