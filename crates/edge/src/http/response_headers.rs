//! What the attributes of a listener make of the responses it gives. Compiled by `route`, carried to the response by
//! `follow_up`; pure.
//!
//! "HTTP header modification for your Application Load Balancer", ELB guide: a header that is added takes the place of
//! the target's. Nothing is compiled, and nothing costs, when a listener has none of these attributes.

use std::collections::BTreeMap;

use super::text::put;

/// Attributes that add a header, and its name.
const ADDED: [(&str, &str); 9] = [
    ("strict_transport_security", "Strict-Transport-Security"),
    ("access_control_allow_origin", "Access-Control-Allow-Origin"),
    (
        "access_control_allow_methods",
        "Access-Control-Allow-Methods",
    ),
    (
        "access_control_allow_headers",
        "Access-Control-Allow-Headers",
    ),
    (
        "access_control_allow_credentials",
        "Access-Control-Allow-Credentials",
    ),
    (
        "access_control_expose_headers",
        "Access-Control-Expose-Headers",
    ),
    ("access_control_max_age", "Access-Control-Max-Age"),
    ("content_security_policy", "Content-Security-Policy"),
    ("x_content_type_options", "X-Content-Type-Options"),
];
const FRAME_OPTIONS: (&str, &str) = ("x_frame_options", "X-Frame-Options");

#[derive(Debug, PartialEq, Eq)]
pub struct ResponseHeaders {
    /// Names of headers that a target's response loses.
    removed: Vec<&'static str>,
    /// Lines with their ends.
    added: Vec<u8>,
    /// `Server` of the node's own answers stays.
    keeps_server: bool,
}

impl ResponseHeaders {
    /// None: responses stay as they are.
    pub fn compile(attributes: &BTreeMap<String, String>) -> Option<Self> {
        let mut headers = Self {
            removed: Vec::new(),
            added: Vec::new(),
            keeps_server: true,
        };
        for (key, name) in ADDED.into_iter().chain([FRAME_OPTIONS]) {
            let value = attributes
                .get(&format!("routing.http.response.{key}.header_value"))
                .map(|value| value.trim())
                .filter(|value| !value.is_empty() && is_value(value));
            if let Some(value) = value {
                headers.removed.push(name);
                put(
                    &mut headers.added,
                    &[name.as_bytes(), b": ", value.as_bytes(), b"\r\n"],
                );
            }
        }
        let server = attributes.get("routing.http.response.server.enabled");
        if server.is_some_and(|enabled| enabled == "false") {
            headers.removed.push("Server");
            headers.keeps_server = false;
        }
        (!headers.removed.is_empty()).then_some(headers)
    }

    pub fn removes(&self, name: &str) -> bool {
        self.removed
            .iter()
            .any(|removed| removed.eq_ignore_ascii_case(name))
    }

    pub fn removed(&self) -> &[&'static str] {
        &self.removed
    }

    /// Names and values that are added.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = std::str::from_utf8(&self.added).unwrap_or_default().lines();
        lines.filter_map(|line| line.split_once(": "))
    }

    pub fn added(&self) -> &[u8] {
        &self.added
    }

    /// Does the same to an answer of the node's own, which stands whole in `out`.
    pub fn amend(&self, out: &mut Vec<u8>) {
        const SERVER: &[u8] = b"Server: awselb/2.0\r\n";
        let find = |out: &[u8], what: &[u8]| out.windows(what.len()).position(|part| part == what);
        if !self.keeps_server
            && let Some(place) = find(out, SERVER)
        {
            out.drain(place..place + SERVER.len());
        }
        // Before the empty line.
        if let Some(place) = find(out, b"\r\n\r\n") {
            let place = place + 2;
            out.splice(place..place, self.added.iter().copied());
        }
    }
}

fn is_value(value: &str) -> bool {
    value
        .bytes()
        .all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
        let key = |key: &str| format!("routing.http.response.{key}");
        rows.iter()
            .map(|(name, value)| (key(name), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn nothing_is_compiled_of_defaults() {
        let defaults = attributes(&[
            ("server.enabled", "true"),
            ("x_frame_options.header_value", ""),
        ]);
        assert_eq!(ResponseHeaders::compile(&defaults), None);
    }

    #[test]
    fn own_answers_are_amended() {
        let rows = attributes(&[
            ("server.enabled", "false"),
            ("x_frame_options.header_value", "DENY"),
        ]);
        let headers = ResponseHeaders::compile(&rows).expect("some");
        let mut out =
            b"HTTP/1.1 200 OK\r\nServer: awselb/2.0\r\nDate: d\r\n\r\nServer: awselb/2.0\r\n\r\n"
                .to_vec();
        headers.amend(&mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "HTTP/1.1 200 OK\r\nDate: d\r\nX-Frame-Options: DENY\r\n\r\nServer: awselb/2.0\r\n\r\n"
        );
    }

    #[test]
    fn a_value_can_not_bring_a_second_line() {
        let rows = attributes(&[("content_security_policy.header_value", "a\r\nX: b")]);
        assert_eq!(ResponseHeaders::compile(&rows), None);
    }
}
