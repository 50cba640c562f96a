//! Properties of the decoders: whatever bytes come, damaged requests of real clients among them, they are read or
//! refused, and nothing panics.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use proptest::prelude::*;

use crate::refusals::{form, head, rest};
use crate::{Value, route};

/// Requests of real clients, to be damaged.
fn golden_requests() -> &'static [(Parts, Vec<u8>)] {
    static REQUESTS: OnceLock<Vec<(Parts, Vec<u8>)>> = OnceLock::new();
    REQUESTS.get_or_init(|| {
        let names = [
            "ec2/AuthorizeSecurityGroupIngress",
            "elbv2/CreateRule",
            "ecs/RegisterTaskDefinition",
            "route53/ChangeResourceRecordSets",
            "iam/CreateRole",
            "logs/PutLogEvents",
            "cloudwatch/PutMetricData",
            "cloudwatch/PutMetricData smithy-rpc-v2-cbor",
        ];
        let read = |name: &&str| {
            let (name, protocol) = name.split_once(' ').unwrap_or((name, ""));
            let path = format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
            let content: serde_json::Value =
                serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            let request = &content[format!("request {protocol}").trim_end()];
            let headers: Vec<(&str, &str)> = request["headers"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
                .collect();
            let parts = head(
                request["method"].as_str().unwrap(),
                request["target"].as_str().unwrap(),
                &headers,
            );
            let body = match request["body_base64"].as_str() {
                Some(encoded) => STANDARD.decode(encoded).unwrap(),
                None => request["body"].as_str().unwrap().as_bytes().to_vec(),
            };
            (parts, body)
        };
        names.iter().map(read).collect()
    })
}

/// A call is valid by its model, a refusal is a client error that can be sent.
fn routes_soundly(parts: &Parts, body: &[u8]) {
    match route(parts, body) {
        Ok(call) => assert!(matches!(call.input, Value::Structure(_))),
        Err(refused) => {
            let response = refused.response();
            assert!(response.status().is_client_error());
            let binary = response.headers().contains_key("smithy-protocol");
            assert!(binary || std::str::from_utf8(response.body()).is_ok());
            assert!(response.body().len() < 100_000);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn no_bytes_panic_a_decoder(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for (parts, _) in golden_requests() {
            routes_soundly(parts, &body);
        }
    }

    #[test]
    fn damaged_requests_are_read_or_refused(at in any::<prop::sample::Index>(), with in prop::collection::vec(any::<u8>(), 0..4), cut in 0usize..4, truncated in any::<bool>()) {
        for (parts, body) in golden_requests() {
            let mut damaged = body.clone();
            let at = at.index(damaged.len());
            if truncated {
                damaged.truncate(at);
            } else {
                let end = (at + cut).min(damaged.len());
                damaged.splice(at..end, with.clone());
            }
            routes_soundly(parts, &damaged);
        }
    }

    #[test]
    fn no_form_panics(body in "(Action|VpcId|Filter|Tag|[&=.%0-9a-zA-Z]){0,40}") {
        let _ = form("ec2", &format!("Action=DescribeVpcs&{body}"));
        let _ = form("iam", &format!("Action=CreateRole&Version=2010-05-08&{body}"));
    }

    #[test]
    fn no_xml_panics(body in "(<|>|/|&|;|a|Change|\"|=|<!--|-->|<!\\[CDATA\\[|]]>| ){0,40}") {
        let _ = rest("POST", "/2013-04-01/hostedzone/Z1/rrset/", &body);
    }

    #[test]
    fn no_signature_panics(header in "[ -~]{0,120}") {
        let _ = route(&head("POST", "/", &[("authorization", &header)]), b"");
        let _ = route(&head("POST", "/", &[("authorization", &format!("AWS4-HMAC-SHA256 {header}"))]), b"");
    }
}
