//! Transforms of rules: host and URL of a request are rewritten for its target, after the rule was matched. Used
//! by `route` (compiles them once per table) and `decision`; pure.
//!
//! "Transforms for listener rules", ELB guide: without a match the request goes on as it is; if the pattern
//! matches and the result can't be sent, the answer is 500.

use fogbank_types::elb;
use regex::bytes::Regex;

use super::log::TransformStatus;
use super::request::{Request, host_name};
use super::route::regex;

/// As long as a request line may be.
const RESULT_MAX_BYTES: usize = 16 * 1024;
/// DNS knows no longer names.
const HOST_MAX_BYTES: usize = 253;

/// Of one rule.
#[derive(Debug)]
pub struct Transforms {
    host: Vec<Rewrite>,
    url: Vec<Rewrite>,
}

#[derive(Debug)]
struct Rewrite {
    /// None: it does not compile, and whatever it would apply to is answered with 500.
    regex: Option<Regex>,
    replacement: Vec<Part>,
}

#[derive(Debug, PartialEq)]
enum Part {
    Text(Box<str>),
    /// `$1`
    Group(usize),
}

/// What a target gets instead; None: as it came.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Transformed {
    pub host: Option<String>,
    /// Path and query.
    pub url: Option<String>,
}

impl Transforms {
    /// None: there are none.
    pub fn compile(rows: &[elb::Transform]) -> Option<Self> {
        let mut transforms = Self {
            host: Vec::new(),
            url: Vec::new(),
        };
        for row in rows {
            match row {
                elb::Transform::HostHeaderRewrite { rewrites } => {
                    transforms
                        .host
                        .extend(rewrites.iter().map(|row| Rewrite::compile(row, true)));
                }
                elb::Transform::UrlRewrite { rewrites } => {
                    transforms
                        .url
                        .extend(rewrites.iter().map(|row| Rewrite::compile(row, false)));
                }
            }
        }
        let is_empty = transforms.host.is_empty() && transforms.url.is_empty();
        (!is_empty).then_some(transforms)
    }

    /// Nothing of `Transformed` is set if no pattern matches.
    pub fn apply(&self, request: &Request<'_, '_>) -> Result<Transformed, TransformStatus> {
        let mut transformed = Transformed::default();
        if !self.host.is_empty() {
            let name = request.host_name();
            if let Some(mut host) = rewritten(&self.host, name)? {
                // Conditions and patterns are about the name; the port the client used stays.
                let port = &request.host.unwrap_or_default()[name.len()..];
                if host_name(&host) == host {
                    host.push_str(port);
                }
                if !is_host(&host) {
                    return Err(TransformStatus::InvalidHost);
                }
                transformed.host = Some(host);
            }
        }
        if !self.url.is_empty() {
            let whole;
            let url = match request.query {
                None => request.path,
                Some(query) => {
                    whole = [request.path, "?", query].concat();
                    &whole
                }
            };
            if let Some(url) = rewritten(&self.url, url)? {
                if !is_url(&url) {
                    return Err(TransformStatus::InvalidPath);
                }
                transformed.url = Some(url);
            }
        }
        Ok(transformed)
    }
}

/// The first pattern that matches rewrites; None: none does.
fn rewritten(rewrites: &[Rewrite], text: &str) -> Result<Option<String>, TransformStatus> {
    for rewrite in rewrites {
        if let Some(text) = rewrite.apply(text)? {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

impl Rewrite {
    fn compile(row: &elb::Rewrite, ignore_case: bool) -> Self {
        Self {
            regex: regex(&row.regex, ignore_case),
            replacement: parts(&row.replace),
        }
    }

    /// Puts the replacement where the pattern matches first.
    fn apply(&self, text: &str) -> Result<Option<String>, TransformStatus> {
        let Some(regex) = &self.regex else {
            return Err(TransformStatus::CompileError);
        };
        let Some(found) = regex.captures(text.as_bytes()) else {
            return Ok(None);
        };
        let whole = found.get(0).map_or(0..0, |whole| whole.range());
        let mut result = text.as_bytes()[..whole.start].to_vec();
        for part in &self.replacement {
            match part {
                Part::Text(text) => result.extend_from_slice(text.as_bytes()),
                Part::Group(number) if *number < found.len() => {
                    // A group that took no part stands for nothing.
                    if let Some(group) = found.get(*number) {
                        result.extend_from_slice(group.as_bytes());
                    }
                }
                Part::Group(_) => return Err(TransformStatus::ReplaceError),
            }
            if result.len() > RESULT_MAX_BYTES {
                return Err(TransformStatus::BufferTooSmall);
            }
        }
        result.extend_from_slice(&text.as_bytes()[whole.end..]);
        if result.len() > RESULT_MAX_BYTES {
            return Err(TransformStatus::BufferTooSmall);
        }
        let result = String::from_utf8(result).map_err(|_| TransformStatus::ReplaceError)?;
        Ok(Some(result))
    }
}

/// `$0` to `$9` are groups, any other `$` is itself.
fn parts(replacement: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut letters = replacement.chars().peekable();
    while let Some(letter) = letters.next() {
        let digit = letters.peek().and_then(|next| next.to_digit(10));
        match digit {
            Some(digit) if letter == '$' => {
                letters.next();
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text).into()));
                }
                parts.push(Part::Group(digit as usize));
            }
            _ => text.push(letter),
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text.into()));
    }
    parts
}

fn is_host(host: &str) -> bool {
    let name = host_name(host);
    let port = &host[name.len()..];
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    !name.is_empty()
        && name.len() <= HOST_MAX_BYTES
        && name.bytes().all(allowed)
        && (port.is_empty()
            || port
                .strip_prefix(':')
                .is_some_and(|port| port.parse::<u16>().is_ok()))
}

/// What may stand in a request line.
fn is_url(url: &str) -> bool {
    url.starts_with('/')
        && url
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::read_request;

    fn url(regex: &str, replace: &str) -> Vec<elb::Transform> {
        vec![elb::Transform::UrlRewrite {
            rewrites: vec![elb::Rewrite {
                regex: regex.into(),
                replace: replace.into(),
            }],
        }]
    }

    fn host(regex: &str, replace: &str) -> Vec<elb::Transform> {
        vec![elb::Transform::HostHeaderRewrite {
            rewrites: vec![elb::Rewrite {
                regex: regex.into(),
                replace: replace.into(),
            }],
        }]
    }

    fn applied(
        rows: &[elb::Transform],
        target: &str,
        host: &str,
    ) -> Result<Transformed, TransformStatus> {
        let transforms = Transforms::compile(rows).expect("some");
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let read = read_request(head.as_bytes(), |request| transforms.apply(request));
        read.expect("a valid head").expect("a whole head").1
    }

    #[test]
    fn urls() {
        for (regex, replace, target, expected) in [
            (
                "^/dp/([A-Za-z0-9]+)/?$",
                "/product.php?id=$1",
                "/dp/B09G3HRMW",
                Some("/product.php?id=B09G3HRMW"),
            ),
            ("^/dp/(.*)$", "/$1", "/other", None),
            ("^/api/(.*)$", "/$1", "/api/a/b?x=1", Some("/a/b?x=1")),
            ("x=([0-9]+)", "y=$1$1", "/a?x=12&z", Some("/a?y=1212&z")),
            ("/A", "/b", "/a", None),
            ("(/a)(b)?", "$1$2-$", "/a", Some("/a-$")),
            ("/", "/", "/a/b", Some("/a/b")),
        ] {
            let found = applied(&url(regex, replace), target, "h").expect("it applies");
            assert_eq!(found.url.as_deref(), expected, "{regex} {target}");
            assert_eq!(found.host, None);
        }
    }

    #[test]
    fn hosts() {
        for (regex, replace, given, expected) in [
            (
                "^mywebsite-(.+).com$",
                "internal.dev.$1.myweb.com",
                "mywebsite-example.com",
                Some("internal.dev.example.myweb.com"),
            ),
            ("^A\\.test$", "b.test", "a.test:8080", Some("b.test:8080")),
            ("^a\\.test$", "b.test:81", "a.test:8080", Some("b.test:81")),
            ("^x$", "y", "a.test", None),
        ] {
            let found = applied(&host(regex, replace), "/", given).expect("it applies");
            assert_eq!(found.host.as_deref(), expected, "{regex} {given}");
        }
    }

    #[test]
    fn what_can_not_be_sent_fails() {
        use TransformStatus::{
            BufferTooSmall, CompileError, InvalidHost, InvalidPath, ReplaceError,
        };
        for (rows, expected) in [
            (url("^/a", "b"), InvalidPath),
            (url("^/a", "/b c"), InvalidPath),
            (url("^/a", "/b\r\nX: y"), InvalidPath),
            (url("^/a", "/b#c"), InvalidPath),
            (url("^/(a)", "/$2"), ReplaceError),
            (url("^/a(", "/b"), CompileError),
            (url("a", &"b".repeat(RESULT_MAX_BYTES)), BufferTooSmall),
            (host("^h$", ""), InvalidHost),
            (host("^h$", "a b"), InvalidHost),
            (host("^h$", "a:b"), InvalidHost),
            (host("^h$", "a/b"), InvalidHost),
        ] {
            assert_eq!(applied(&rows, "/a", "h"), Err(expected), "{rows:?}");
        }
    }
}
