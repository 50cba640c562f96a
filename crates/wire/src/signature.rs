//! SigV4: what a request says about who signed it, for which service and region.
//!
//! Read here; [`crate::sigv4`] says whether it is true. `control` decides whether that is asked.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>

use http::header::AUTHORIZATION;
use http::request::Parts;

pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// How a request is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    pub credential: Credential,
    /// In lower case, as given.
    pub signed_headers: Vec<String>,
    /// As given: 64 hexadecimal digits if it is one.
    pub signature: String,
    pub place: Place,
}

/// Where the signature stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Header,
    /// Presigned.
    Query,
}

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

/// The signature of a request: from its Authorization header, or presigned in its query.
pub fn authorization(
    parts: &Parts,
    query: &[(String, String)],
) -> Result<Authorization, SignatureError> {
    if let Some(header) = single(parts, AUTHORIZATION.as_str())? {
        let token = single(parts, "x-amz-security-token")?;
        let mut authorization = parse_header(header)?;
        authorization.credential.session_token = token.map(str::to_owned);
        return Ok(authorization);
    }
    let Some(scope) = presigned(query, "X-Amz-Credential")? else {
        return Err(SignatureError::Missing);
    };
    let required = |name| match presigned(query, name)? {
        Some(value) if !value.is_empty() => Ok(value),
        _ => Err(incomplete(&format!(
            "AWS query-string parameters must include '{name}'"
        ))),
    };
    let algorithm = required("X-Amz-Algorithm")?;
    required("X-Amz-Date")?;
    let signed_headers = required("X-Amz-SignedHeaders")?;
    let signature = required("X-Amz-Signature")?;
    if algorithm != ALGORITHM {
        return Err(incomplete(&format!(
            "AWS query-string parameters require the algorithm '{ALGORITHM}'"
        )));
    }
    let mut credential = parse_scope(scope)?;
    credential.session_token = presigned(query, "X-Amz-Security-Token")?.map(str::to_owned);
    Ok(Authorization {
        credential,
        signed_headers: names(signed_headers),
        signature: signature.to_owned(),
        place: Place::Query,
    })
}

/// The value of a header that stands at most once: of two, one might be signed and the other be believed.
pub(crate) fn single<'a>(parts: &'a Parts, name: &str) -> Result<Option<&'a str>, SignatureError> {
    let mut values = parts.headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(incomplete(&format!("the header '{name}' stands twice")));
    }
    first
        .map(|value| value.to_str())
        .transpose()
        .map_err(|_| incomplete(&format!("the header '{name}' is not text")))
}

/// The same of a parameter of the query.
pub(crate) fn presigned<'a>(
    query: &'a [(String, String)],
    name: &str,
) -> Result<Option<&'a str>, SignatureError> {
    let mut values = query.iter().filter(|(key, _)| key == name);
    let first = values.next();
    if values.next().is_some() {
        return Err(incomplete(&format!("the parameter '{name}' stands twice")));
    }
    Ok(first.map(|(_, value)| value.as_str()))
}

fn incomplete(message: &str) -> SignatureError {
    SignatureError::Incomplete(message.to_owned())
}

fn names(list: &str) -> Vec<String> {
    list.split(';').map(str::to_owned).collect()
}

fn parse_header(header: &str) -> Result<Authorization, SignatureError> {
    let Some((ALGORITHM, rest)) = header.trim().split_once(' ') else {
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
    match (scope, signed_headers, signature) {
        (Some(scope), Some(headers), Some(signature)) if missing.is_empty() => Ok(Authorization {
            credential: parse_scope(scope)?,
            signed_headers: names(headers),
            signature: signature.to_owned(),
            place: Place::Header,
        }),
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
        let credential = parse_header(&header).unwrap().credential;
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
