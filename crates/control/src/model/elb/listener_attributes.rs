//! Attributes of listeners: headers that the load balancer adds, renames or removes.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_ListenerAttribute.html>
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/header-modification.html>
//!
//! An HTTP listener has the response headers only; an HTTPS listener may also rename the request headers that tell of
//! TLS and of the client's certificate.

use super::attributes::{self, Attribute, Values};
use super::load_balancer_attributes::table;
use super::{Refusal, arns, invalid};
use crate::model::tx::Tx;
use fogbank_types::Scope;
use fogbank_types::elb::Listener;

/// In the order of AWS's answers: those of requests, which only HTTPS listeners have, come first.
static HTTPS: &[Attribute] = table! {
    "routing.http.request.x_amzn_mtls_clientcert_serial_number.header_name" = "X-Amzn-Mtls-Clientcert-Serial-Number", Values::Checked(header_name);
    "routing.http.request.x_amzn_mtls_clientcert_issuer.header_name" = "X-Amzn-Mtls-Clientcert-Issuer", Values::Checked(header_name);
    "routing.http.request.x_amzn_mtls_clientcert_subject.header_name" = "X-Amzn-Mtls-Clientcert-Subject", Values::Checked(header_name);
    "routing.http.request.x_amzn_mtls_clientcert_validity.header_name" = "X-Amzn-Mtls-Clientcert-Validity", Values::Checked(header_name);
    "routing.http.request.x_amzn_mtls_clientcert_leaf.header_name" = "X-Amzn-Mtls-Clientcert-Leaf", Values::Checked(header_name);
    "routing.http.request.x_amzn_mtls_clientcert.header_name" = "X-Amzn-Mtls-Clientcert", Values::Checked(header_name);
    "routing.http.request.x_amzn_tls_version.header_name" = "X-Amzn-Tls-Version", Values::Checked(header_name);
    "routing.http.request.x_amzn_tls_cipher_suite.header_name" = "X-Amzn-Tls-Cipher-Suite", Values::Checked(header_name);
    "routing.http.response.server.enabled" = "true", Values::Boolean;
    "routing.http.response.strict_transport_security.header_value" = "", Values::Checked(strict_transport_security);
    "routing.http.response.access_control_allow_origin.header_value" = "", Values::Checked(origin);
    "routing.http.response.access_control_allow_methods.header_value" = "", Values::Checked(methods);
    "routing.http.response.access_control_allow_headers.header_value" = "", Values::Checked(header_names);
    "routing.http.response.access_control_allow_credentials.header_value" = "", Values::OneOf(&["", "true"]);
    "routing.http.response.access_control_expose_headers.header_value" = "", Values::Checked(header_names);
    "routing.http.response.access_control_max_age.header_value" = "", Values::Checked(max_age);
    "routing.http.response.content_security_policy.header_value" = "", Values::Checked(header_value);
    "routing.http.response.x_content_type_options.header_value" = "", Values::OneOf(&["", "nosniff"]);
    "routing.http.response.x_frame_options.header_value" = "", Values::Checked(frame_options);
};

fn table_of(protocol: &str) -> &'static [Attribute] {
    if protocol == "HTTPS" {
        return HTTPS;
    }
    let responses =
        HTTPS.partition_point(|attribute| attribute.key.starts_with("routing.http.request."));
    &HTTPS[responses..]
}

/// Whether a listener of that protocol has such an attribute.
pub fn is_known(protocol: &str, key: &str) -> bool {
    table_of(protocol)
        .iter()
        .any(|attribute| attribute.key == key)
}

pub fn all(listener: &Listener) -> Vec<(String, String)> {
    attributes::all(table_of(&listener.protocol), &listener.attributes)
}

/// All changes or none.
pub fn modify(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    changes: &[(String, String)],
) -> Result<Listener, Refusal> {
    let mut row = Listener::clone(arns::find_listener(tx.snapshot(), scope, arn)?);
    let table = table_of(&row.protocol);
    row.attributes = attributes::changed(table, "listener", &row.attributes, changes)?;
    check_names_differ(&row)?;
    tx.put(row.clone());
    Ok(row)
}

/// Two values in one header would be neither.
fn check_names_differ(row: &Listener) -> Result<(), Refusal> {
    let mut names: Vec<String> = all(row)
        .into_iter()
        .filter(|(key, _)| key.ends_with(".header_name"))
        .map(|(_, name)| name.to_ascii_lowercase())
        .collect();
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(invalid(format!(
            "The header name '{}' is used for more than one header",
            pair[0]
        ))),
        None => Ok(()),
    }
}

fn is_token(text: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(token)
}

/// What may not be renamed to: hop-by-hop headers and those that route.
const KEPT: [&str; 6] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "te",
];

fn header_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !text.is_empty()
        && text.len() <= 128
        && text.bytes().all(plain)
        && !KEPT.contains(&text.to_ascii_lowercase().as_str())
}

fn header_value(text: &str) -> bool {
    text.len() <= 1024 && text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

/// `max-age=<seconds>`, and the two words that may follow in any order.
fn strict_transport_security(text: &str) -> bool {
    let mut seen = Vec::new();
    let part = |part: &str| {
        let name = part.trim().to_ascii_lowercase();
        let age = name.strip_prefix("max-age=").map(str::to_owned);
        let known = match &age {
            Some(age) => {
                !age.is_empty() && age.len() <= 10 && age.bytes().all(|b| b.is_ascii_digit())
            }
            None => matches!(name.as_str(), "includesubdomains" | "preload"),
        };
        let key = if age.is_some() {
            "max-age".to_owned()
        } else {
            name
        };
        let first = !seen.contains(&key);
        seen.push(key);
        known && first
    };
    text.is_empty() || (text.split(';').all(part) && seen.iter().any(|key| key == "max-age"))
}

/// `*` or one origin.
fn origin(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or(text.strip_prefix("http://"));
    let good = rest.is_some_and(|host| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
        !host.is_empty() && host.bytes().all(plain)
    });
    text.is_empty() || text == "*" || good
}

fn methods(text: &str) -> bool {
    const METHODS: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE",
    ];
    text.is_empty() || text == "*" || text.split(',').all(|m| METHODS.contains(&m.trim()))
}

fn header_names(text: &str) -> bool {
    text.is_empty()
        || text == "*"
        || (header_value(text) && text.split(',').all(|name| is_token(name.trim())))
}

/// Seconds; browsers take a day at most, and -1 turns the cache off.
fn max_age(text: &str) -> bool {
    text.is_empty()
        || text
            .parse::<i64>()
            .is_ok_and(|age| (-1..=86_400).contains(&age))
            && !text.starts_with('+')
}

fn frame_options(text: &str) -> bool {
    matches!(text, "" | "DENY" | "SAMEORIGIN")
        || text
            .strip_prefix("ALLOW-FROM ")
            .is_some_and(|from| !from.is_empty() && origin(from))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Region;
    use super::*;

    #[test]
    fn values_are_those_that_browsers_know() {
        let mut region = Region::new();
        let lb = region.load_balancer("api");
        let arn = region.listener(&lb.arn, 80).arn;
        let scope = region.scope.clone();
        let mut set = |key: &str, value: &str| {
            let key = format!("routing.http.response.{key}");
            modify(&mut region.tx, &scope, &arn, &[(key, value.to_owned())])
        };
        for (key, good, bad) in [
            ("server.enabled", "false", "no"),
            (
                "strict_transport_security.header_value",
                "max-age=31536000; includeSubDomains; preload",
                "includeSubDomains",
            ),
            (
                "strict_transport_security.header_value",
                "max-age=0",
                "max-age=a",
            ),
            (
                "access_control_allow_origin.header_value",
                "https://example.com:8443",
                "example.com",
            ),
            (
                "access_control_allow_methods.header_value",
                "GET,POST, OPTIONS",
                "get",
            ),
            (
                "access_control_allow_headers.header_value",
                "Content-Type,X-A",
                "a b",
            ),
            (
                "access_control_allow_credentials.header_value",
                "true",
                "false",
            ),
            ("access_control_expose_headers.header_value", "*", ","),
            ("access_control_max_age.header_value", "86400", "86401"),
            (
                "content_security_policy.header_value",
                "default-src 'self'",
                "a\nb",
            ),
            ("x_content_type_options.header_value", "nosniff", "sniff"),
            ("x_frame_options.header_value", "SAMEORIGIN", "sameorigin"),
        ] {
            set(key, good).unwrap_or_else(|refusal| panic!("{key}: {refusal}"));
            assert!(set(key, bad).is_err(), "{key}={bad}");
            if key != "server.enabled" {
                set(key, "").unwrap();
            }
        }
    }

    #[test]
    fn only_https_renames_what_tells_of_tls() {
        let mut region = Region::new();
        let lb = region.load_balancer("api");
        let certificate = region.certificate("a");
        let plain = region.listener(&lb.arn, 80);
        let secure = region.https_listener(&lb.arn, 443, &certificate);
        let scope = region.scope.clone();
        let key = |what: &str| format!("routing.http.request.{what}.header_name");
        let mut set = |arn: &str, what: &str, name: &str| {
            modify(&mut region.tx, &scope, arn, &[(key(what), name.to_owned())])
        };
        assert!(set(&plain.arn, "x_amzn_tls_version", "X-Tls").is_err());
        set(&secure.arn, "x_amzn_tls_version", "X-Tls").unwrap();
        assert!(
            set(&secure.arn, "x_amzn_tls_cipher_suite", "x-tls").is_err(),
            "taken"
        );
        for bad in ["", "a b", "Host", "transfer-encoding"] {
            assert!(
                set(&secure.arn, "x_amzn_tls_version", bad).is_err(),
                "{bad}"
            );
        }
        assert_eq!(all(&plain).len(), 11);
        assert_eq!(all(&secure).len(), 19);
        let own = all(&secure);
        assert!(own.contains(&(
            key("x_amzn_mtls_clientcert_leaf"),
            "X-Amzn-Mtls-Clientcert-Leaf".to_owned()
        )));
    }
}
