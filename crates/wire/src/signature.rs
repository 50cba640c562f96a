//! SigV4: what a request says about who signed it, for which service and region.
//!
//! Parsed, not verified: at this stage any credentials are the root of the account they name.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>

use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::query;

/// A credential scope and what stands around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub access_key: String,
    /// `20260101`.
    pub date: String,
    pub region: String,
    /// The signing name: `elasticloadbalancing`.
    pub service: String,
    /// Of temporary credentials.
    pub session_token: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("Request is missing Authentication Token")]
    Missing,
    #[error("{0}")]
    Incomplete(String),
}

/// The credential of a request: from its Authorization header, or presigned in its query.
pub fn credential(parts: &Parts, query: &[(String, String)]) -> Result<Credential, SignatureError> {
    if let Some(header) = parts.headers.get(AUTHORIZATION) {
        let header = header
            .to_str()
            .map_err(|_| incomplete("Authorization header is not text"))?;
        let token = parts.headers.get("x-amz-security-token");
        let token = token
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        return parse_header(header).map(|credential| Credential {
            session_token: token,
            ..credential
        });
    }
    if let Some(scope) = query::find(query, "X-Amz-Credential") {
        for name in [
            "X-Amz-Algorithm",
            "X-Amz-Date",
            "X-Amz-SignedHeaders",
            "X-Amz-Signature",
        ] {
            if query::find(query, name).is_none_or(str::is_empty) {
                return Err(incomplete(&format!(
                    "AWS query-string parameters must include '{name}'"
                )));
            }
        }
        let token = query::find(query, "X-Amz-Security-Token").map(str::to_owned);
        return parse_scope(scope).map(|credential| Credential {
            session_token: token,
            ..credential
        });
    }
    Err(SignatureError::Missing)
}

fn incomplete(message: &str) -> SignatureError {
    SignatureError::Incomplete(message.to_owned())
}

fn parse_header(header: &str) -> Result<Credential, SignatureError> {
    let Some(("AWS4-HMAC-SHA256", rest)) = header.trim().split_once(' ') else {
        return Err(incomplete(
            "Authorization header requires the algorithm 'AWS4-HMAC-SHA256'",
        ));
    };
    let mut scope = None;
    let mut signed_headers = None;
    let mut signature = None;
    for part in rest.split(',') {
        let slot = match part.trim().split_once('=') {
            Some(("Credential", value)) => (&mut scope, value),
            Some(("SignedHeaders", value)) => (&mut signed_headers, value),
            Some(("Signature", value)) => (&mut signature, value),
            _ => {
                return Err(incomplete(&format!(
                    "'{part}' not a valid key=value pair (missing equal-sign) in Authorization header"
                )));
            }
        };
        if slot.0.replace(slot.1).is_some() {
            return Err(incomplete(
                "a part of the Authorization header stands twice",
            ));
        }
    }
    let mut missing = String::new();
    for (name, value) in [
        ("Credential", scope),
        ("Signature", signature),
        ("SignedHeaders", signed_headers),
    ] {
        if value.is_none_or(str::is_empty) {
            missing.push_str(&format!(
                "Authorization header requires '{name}' parameter. "
            ));
        }
    }
    match scope {
        Some(scope) if missing.is_empty() => parse_scope(scope),
        _ => Err(SignatureError::Incomplete(missing.trim_end().to_owned())),
    }
}

fn parse_scope(scope: &str) -> Result<Credential, SignatureError> {
    let malformed = || {
        incomplete(&format!(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{scope}'"
        ))
    };
    // An access key may hold slashes; the scope is the last four.
    let mut parts = scope.rsplitn(5, '/');
    let (Some("aws4_request"), Some(service), Some(region), Some(date), Some(access_key)) = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    ) else {
        return Err(malformed());
    };
    let name = |text: &str| {
        !text.is_empty()
            && text.len() <= 64
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let dated = date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit());
    let keyed = !access_key.is_empty()
        && access_key.len() <= 128
        && access_key.bytes().all(|b| b.is_ascii_graphic());
    if !(name(service) && name(region) && dated && keyed) {
        return Err(malformed());
    }
    Ok(Credential {
        access_key: access_key.to_owned(),
        date: date.to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
        session_token: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: &str = "SignedHeaders=host;x-amz-date, Signature=abc";

    #[test]
    fn reads_the_scope() {
        let header = format!(
            "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-west-1/ec2/aws4_request, {SIGNED}"
        );
        let credential = parse_header(&header).unwrap();
        assert_eq!(credential.access_key, "AKIA");
        assert_eq!(credential.region, "eu-west-1");
        assert_eq!(credential.service, "ec2");
    }

    #[test]
    fn names_all_that_is_missing() {
        let error = parse_header("AWS4-HMAC-SHA256 Credential=AKIA/20260101/r/ec2/aws4_request")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter."
        );
    }

    #[test]
    fn refuses_malformed_scopes() {
        for scope in [
            "",
            "AKIA",
            "AKIA/2026/r/ec2/aws4_request",
            "AKIA/20260101/r/ec2/aws5",
            "/20260101/r/ec2/aws4_request",
            "AKIA/20260101/../ec2/aws4_request",
        ] {
            assert!(parse_scope(scope).is_err(), "{scope}");
        }
    }
}
