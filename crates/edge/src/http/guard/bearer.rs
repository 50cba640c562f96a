//! `jwt-validation`: a token in the Authorization header, verified with the issuer's keys. Used by `guard`; pure.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-verify-jwt.html>

use fogbank_types::elb::{JwtClaim, JwtValidation};
use serde_json::Value;

use super::jose::{Algorithm, Token, time_s};
use super::keys::Found;
use super::{Asked, Failure, Finding, Passage, Question, Reason};
use crate::http::request::Request;

/// Clocks of issuer and node may differ by so much. A token's end is its end.
const SKEW_S: u64 = 60;

/// A rule's demands, compiled.
#[derive(Debug)]
pub struct Jwt {
    config: JwtValidation,
}

impl Jwt {
    pub fn compile(config: &JwtValidation) -> Self {
        Self {
            config: config.clone(),
        }
    }
}

pub fn pass(jwt: &Jwt, asked: &Asked<'_, '_, '_>) -> Passage {
    match judge(jwt, asked) {
        Ok(Judged::Valid) => {
            asked.counters.token_successes.add(1);
            Passage::Open
        }
        Ok(Judged::Unknown) => Passage::Ask(Box::new(Question::Keys {
            endpoint: jwt.config.jwks_endpoint.clone(),
        })),
        Err(failure) => Passage::Refuse(failure),
    }
}

enum Judged {
    Valid,
    /// Nobody knows its key yet.
    Unknown,
}

fn judge(jwt: &Jwt, asked: &Asked<'_, '_, '_>) -> Result<Judged, Failure> {
    let denied = |reason| Failure::of(401, reason);
    let text = bearer(asked.request).map_err(denied)?;
    let token = Token::read(text).ok_or(denied(Reason::JWTRequestFormatInvalid))?;
    // "Note: Only the RS256 algorithm is supported."
    if token.algorithm != Some(Algorithm::Rs256) {
        return Err(denied(Reason::JWTSignatureValidationError));
    }
    let endpoint = &jwt.config.jwks_endpoint;
    let found = asked.guards.keys.find(endpoint, token.key_id.as_deref());
    let keys = match (found, asked.learned) {
        (Found::Keys(keys), _) => keys,
        // "The load balancer is unable to communicate with the JWKS endpoint" is a 500.
        (Found::Failed(reason), _) => return Err(Failure::of(500, reason)),
        (Found::Ask, Some(Finding::Keys(Err(reason)))) => {
            return Err(Failure::of(500, *reason));
        }
        (Found::Ask, None) => return Ok(Judged::Unknown),
        (Found::Ask, Some(_)) => return Err(Failure::of(500, Reason::JWKSRequestTimeout)),
    };
    if !token.is_signed_by(&keys) {
        return Err(denied(Reason::JWTSignatureValidationError));
    }
    check_claims(&jwt.config, &token, asked.now_s).map_err(denied)?;
    Ok(Judged::Valid)
}

/// The token of the one Authorization header.
fn bearer<'b>(request: &Request<'_, 'b>) -> Result<&'b str, Reason> {
    let mut headers = request
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("authorization"));
    let header = headers.next().ok_or(Reason::JWTHeaderNotPresent)?;
    if headers.next().is_some() {
        return Err(Reason::JWTRequestFormatInvalid);
    }
    let value = std::str::from_utf8(header.value).map_err(|_| Reason::JWTRequestFormatInvalid)?;
    match value.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim_start()),
        _ => Err(Reason::JWTRequestFormatInvalid),
    }
}

/// "Two mandatory claims: 'iss' and 'exp'. Additionally, if present in the token, ALB will also validate 'nbf' and
/// 'iat'."
fn check_claims(config: &JwtValidation, token: &Token<'_>, now_s: u64) -> Result<(), Reason> {
    let time = |name: &str| match token.claims.get(name) {
        None => Ok(None),
        Some(value) => time_s(value).map(Some).ok_or(Reason::JWTClaimFormatInvalid),
    };
    let issuer = token.claims.get("iss").ok_or(Reason::JWTClaimNotPresent)?;
    let issuer = issuer.as_str().ok_or(Reason::JWTClaimFormatInvalid)?;
    let expires_s = time("exp")?.ok_or(Reason::JWTClaimNotPresent)?;
    let (not_before_s, issued_s) = (time("nbf")?, time("iat")?);
    let is_early = |time_s: Option<u64>| time_s.is_some_and(|time_s| time_s > now_s + SKEW_S);
    let is_current = now_s < expires_s && !is_early(not_before_s) && !is_early(issued_s);
    if issuer != config.issuer || !is_current {
        return Err(Reason::JWTClaimValueInvalid);
    }
    config
        .additional_claims
        .iter()
        .try_for_each(|claim| check_claim(claim, token))
}

/// All values that the rule names have to be there.
fn check_claim(claim: &JwtClaim, token: &Token<'_>) -> Result<(), Reason> {
    let value = token.claims.get(&claim.name);
    let value = value.ok_or(Reason::JWTClaimNotPresent)?;
    let found: Vec<&str> = match (claim.format.as_str(), value) {
        ("single-string", Value::String(text)) => vec![text],
        ("space-separated-values", Value::String(text)) => text.split_ascii_whitespace().collect(),
        ("string-array", Value::Array(values)) => {
            let texts = values.iter().map(Value::as_str).collect::<Option<Vec<_>>>();
            texts.ok_or(Reason::JWTClaimFormatInvalid)?
        }
        _ => return Err(Reason::JWTClaimFormatInvalid),
    };
    let has = |wanted: &String| found.contains(&wanted.as_str());
    if claim.values.iter().all(has) {
        Ok(())
    } else {
        Err(Reason::JWTClaimValueInvalid)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn checked(claims: &str, additional: Vec<JwtClaim>) -> Result<(), Reason> {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let text = format!("{}.{}.AA", encode(r#"{"alg":"RS256"}"#), encode(claims));
        let config = JwtValidation {
            jwks_endpoint: String::new(),
            issuer: "i".into(),
            additional_claims: additional,
        };
        check_claims(&config, &Token::read(&text).unwrap(), 1000)
    }

    #[test]
    fn issuer_and_times() {
        use Reason::*;
        for (claims, expected) in [
            (r#"{"iss":"i","exp":1001}"#, Ok(())),
            (r#"{"iss":"i","exp":1001.5,"nbf":1000,"iat":1060}"#, Ok(())),
            (r#"{"iss":"i","exp":1000}"#, Err(JWTClaimValueInvalid)),
            (r#"{"iss":"i","exp":-1}"#, Err(JWTClaimFormatInvalid)),
            (r#"{"iss":"i","exp":"1001"}"#, Err(JWTClaimFormatInvalid)),
            (r#"{"iss":"j","exp":1001}"#, Err(JWTClaimValueInvalid)),
            (r#"{"iss":["i"],"exp":1001}"#, Err(JWTClaimFormatInvalid)),
            (r#"{"exp":1001}"#, Err(JWTClaimNotPresent)),
            (r#"{"iss":"i"}"#, Err(JWTClaimNotPresent)),
            (
                r#"{"iss":"i","exp":2000,"nbf":1061}"#,
                Err(JWTClaimValueInvalid),
            ),
            (
                r#"{"iss":"i","exp":2000,"iat":1061}"#,
                Err(JWTClaimValueInvalid),
            ),
            (
                r#"{"iss":"i","exp":2000,"nbf":null}"#,
                Err(JWTClaimFormatInvalid),
            ),
        ] {
            assert_eq!(checked(claims, vec![]), expected, "{claims}");
        }
    }

    #[test]
    fn additional_claims_by_their_formats() {
        use Reason::*;
        type Row = (
            &'static str,
            &'static str,
            &'static [&'static str],
            Result<(), Reason>,
        );
        let table: [Row; 9] = [
            ("single-string", r#""a""#, &["a"], Ok(())),
            (
                "single-string",
                r#""a b""#,
                &["a"],
                Err(JWTClaimValueInvalid),
            ),
            (
                "single-string",
                r#"["a"]"#,
                &["a"],
                Err(JWTClaimFormatInvalid),
            ),
            ("space-separated-values", r#""b a c""#, &["a", "b"], Ok(())),
            (
                "space-separated-values",
                r#""b""#,
                &["a", "b"],
                Err(JWTClaimValueInvalid),
            ),
            ("string-array", r#"["c","a"]"#, &["a"], Ok(())),
            (
                "string-array",
                r#"["c"]"#,
                &["a"],
                Err(JWTClaimValueInvalid),
            ),
            (
                "string-array",
                r#"["a",1]"#,
                &["a"],
                Err(JWTClaimFormatInvalid),
            ),
            ("string-array", r#""a""#, &["a"], Err(JWTClaimFormatInvalid)),
        ];
        for (format, value, values, expected) in table {
            let claim = JwtClaim {
                format: format.into(),
                name: "c".into(),
                values: values.iter().map(|&value| value.to_owned()).collect(),
            };
            let claims = format!(r#"{{"iss":"i","exp":2000,"c":{value}}}"#);
            assert_eq!(
                checked(&claims, vec![claim.clone()]),
                expected,
                "{format} {value}"
            );
            let without = r#"{"iss":"i","exp":2000}"#;
            assert_eq!(checked(without, vec![claim]), Err(JWTClaimNotPresent));
        }
    }
}
