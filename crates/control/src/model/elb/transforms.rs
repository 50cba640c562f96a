//! Transforms of rules: what of a request is rewritten before it is forwarded (fact LST-6), and the regular expressions
//! of transforms and conditions.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-transforms.html>

use super::{Refusal, invalid};
use fogbank_types::elb::{Rewrite, Transform};

/// "The maximum length of the string is 1,024 characters": RewriteConfig.
const REWRITE_MAX: usize = 1024;

/// The compiled program of an expression may take that much memory, here and in a node.
const PROGRAM_MAX_BYTES: usize = 1 << 20;

/// At most one of each kind.
pub fn check(transforms: &[Transform]) -> Result<(), Refusal> {
    for name in ["host-header-rewrite", "url-rewrite"] {
        if transforms.iter().filter(|t| kind(t) == name).count() > 1 {
            return Err(invalid(format!(
                "A rule can only have one '{name}' transform"
            )));
        }
    }
    for transform in transforms {
        let (Transform::HostHeaderRewrite { rewrites } | Transform::UrlRewrite { rewrites }) =
            transform;
        // "Rewrites" is a list; one is what AWS's clients can give.
        if rewrites.len() != 1 {
            return Err(invalid(format!(
                "A '{}' transform must have exactly one rewrite",
                kind(transform)
            )));
        }
        rewrites.iter().try_for_each(check_rewrite)?;
    }
    Ok(())
}

/// The transform's name in the API.
pub fn kind(transform: &Transform) -> &'static str {
    match transform {
        Transform::HostHeaderRewrite { .. } => "host-header-rewrite",
        Transform::UrlRewrite { .. } => "url-rewrite",
    }
}

fn check_rewrite(rewrite: &Rewrite) -> Result<(), Refusal> {
    check_expression(&rewrite.regex, REWRITE_MAX)?;
    let replace = &rewrite.replace;
    let plain = replace.chars().all(|c| !c.is_control());
    if replace.chars().count() > REWRITE_MAX || !plain {
        return Err(invalid(format!("The replacement '{replace}' is not valid")));
    }
    Ok(())
}

/// Whether it is an expression that a node can run.
pub fn check_expression(text: &str, longest: usize) -> Result<(), Refusal> {
    if text.is_empty() || text.chars().count() > longest {
        return Err(invalid(format!(
            "A regular expression must have between '1' and '{longest}' characters"
        )));
    }
    let mut builder = regex::RegexBuilder::new(text);
    match builder.size_limit(PROGRAM_MAX_BYTES).build() {
        Ok(_) => Ok(()),
        Err(_) => Err(invalid(format!(
            "The regular expression '{text}' is not valid"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(regex: &str, replace: &str) -> Transform {
        Transform::UrlRewrite {
            rewrites: vec![Rewrite {
                regex: regex.to_owned(),
                replace: replace.to_owned(),
            }],
        }
    }

    #[test]
    fn one_of_each_kind_with_an_expression_that_runs() {
        let host = Transform::HostHeaderRewrite {
            rewrites: vec![Rewrite {
                regex: "^(.+)\\.example\\.com$".to_owned(),
                replace: "$1.example.org".to_owned(),
            }],
        };
        check(&[url("^/api/(.*)$", "/$1"), host.clone()]).unwrap();
        for bad in [
            vec![host.clone(), host],
            vec![url("(", "")],
            vec![url("", "")],
            vec![url("a{1000}{1000}{1000}", "")],
            vec![url("a", &"x".repeat(1025))],
            vec![url("a", "b\r\nc")],
            vec![Transform::UrlRewrite { rewrites: vec![] }],
        ] {
            assert!(check(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn expressions_have_a_length() {
        check_expression(&"a".repeat(128), 128).unwrap();
        assert!(check_expression(&"a".repeat(129), 128).is_err());
    }
}
