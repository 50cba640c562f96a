//! Actions that a request must pass before it is answered: login with an OIDC provider, and tokens.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html>
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-verify-jwt.html>

use super::{Refusal, invalid};
use fogbank_types::elb::{Action, ActionKind, AuthenticateOidc, JwtClaim, JwtValidation};

pub const SESSION_COOKIE: &str = "AWSELBAuthSessionCookie";
pub const SCOPE: &str = "openid";
pub const SESSION_TIMEOUT_S: u64 = 604_800;

const EXTRA_PARAMS_MAX: usize = 10;
const CLAIMS_MAX: usize = 10;
const CLAIM_VALUES_MAX: usize = 10;
const CLAIM_VALUE_MAX: usize = 256;
/// "You can't specify exp, iss, nbf, or iat because we validate them by default."
const CLAIMS_OF_OUR_OWN: [&str; 4] = ["exp", "iss", "nbf", "iat"];

/// Fills in the client secrets that the caller wants kept (`UseExistingClientSecret`; the row has an empty one): that
/// of the same issuer and client if there are several.
pub fn keep_secrets(before: &[Action], after: &mut [Action]) {
    let known: Vec<&AuthenticateOidc> = before
        .iter()
        .filter_map(|action| match &action.kind {
            ActionKind::AuthenticateOidc(oidc) => Some(oidc),
            _ => None,
        })
        .collect();
    for action in after {
        let ActionKind::AuthenticateOidc(oidc) = &mut action.kind else {
            continue;
        };
        if oidc.client_secret.is_empty() {
            let same =
                |o: &&&AuthenticateOidc| o.issuer == oidc.issuer && o.client_id == oidc.client_id;
            if let Some(own) = known.iter().find(same).or(known.first()) {
                oidc.client_secret.clone_from(&own.client_secret);
            }
        }
    }
}

pub fn check_oidc(oidc: &AuthenticateOidc) -> Result<(), Refusal> {
    for (name, url) in [
        ("Issuer", &oidc.issuer),
        ("AuthorizationEndpoint", &oidc.authorization_endpoint),
        ("TokenEndpoint", &oidc.token_endpoint),
        ("UserInfoEndpoint", &oidc.user_info_endpoint),
    ] {
        check_url(name, url)?;
    }
    if oidc.client_id.is_empty() {
        return Err(invalid("A client ID must be specified"));
    }
    if oidc.client_secret.is_empty() {
        return Err(invalid(
            "A client secret must be specified when creating a rule, or UseExistingClientSecret when modifying one",
        ));
    }
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let name = &oidc.session_cookie_name;
    if name.is_empty() || name.len() > 256 || !name.bytes().all(token) {
        return Err(invalid(format!(
            "Session cookie name '{name}' is not valid"
        )));
    }
    if oidc.scope.is_empty() || !oidc.scope.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Err(invalid(format!("Scope '{}' is not valid", oidc.scope)));
    }
    if !(1..=SESSION_TIMEOUT_S).contains(&oidc.session_timeout_s) {
        return Err(invalid(format!(
            "Session timeout '{}' must be between '1' and '{SESSION_TIMEOUT_S}' inclusive",
            oidc.session_timeout_s
        )));
    }
    if oidc.extra_params.len() > EXTRA_PARAMS_MAX {
        return Err(invalid(format!(
            "At most '{EXTRA_PARAMS_MAX}' authentication request extra parameters can be specified"
        )));
    }
    Ok(())
}

/// "This must be a full URL, including the HTTPS protocol, the domain, and the path."
fn check_url(name: &str, url: &str) -> Result<(), Refusal> {
    let host = url
        .strip_prefix("https://")
        .map(|rest| rest.split(['/', '?', '#']).next().unwrap_or(""));
    let good = host.is_some_and(|host| !host.is_empty())
        && url.len() <= 2048
        && url.bytes().all(|b| b.is_ascii_graphic());
    if good {
        Ok(())
    } else {
        Err(invalid(format!(
            "{name} '{url}' must be a full URL with the protocol 'https'"
        )))
    }
}

pub fn check_jwt(jwt: &JwtValidation) -> Result<(), Refusal> {
    check_url("JwksEndpoint", &jwt.jwks_endpoint)?;
    if jwt.issuer.is_empty() || jwt.issuer.len() > 256 {
        return Err(invalid(
            "The issuer must have between '1' and '256' characters",
        ));
    }
    if jwt.additional_claims.len() > CLAIMS_MAX {
        return Err(invalid(format!(
            "At most '{CLAIMS_MAX}' additional claims can be specified"
        )));
    }
    jwt.additional_claims.iter().try_for_each(check_claim)
}

fn check_claim(claim: &JwtClaim) -> Result<(), Refusal> {
    let JwtClaim {
        format,
        name,
        values,
    } = claim;
    if !matches!(
        format.as_str(),
        "single-string" | "string-array" | "space-separated-values"
    ) {
        return Err(invalid(format!(
            "Claim format '{format}' must be one of 'single-string', 'string-array', 'space-separated-values'"
        )));
    }
    if name.is_empty() || name.len() > CLAIM_VALUE_MAX || CLAIMS_OF_OUR_OWN.contains(&name.as_str())
    {
        return Err(invalid(format!("Claim name '{name}' is not valid")));
    }
    if values.is_empty() || values.len() > CLAIM_VALUES_MAX {
        return Err(invalid(format!(
            "Claim '{name}' must have between '1' and '{CLAIM_VALUES_MAX}' values"
        )));
    }
    if format == "single-string" && values.len() > 1 {
        return Err(invalid(format!(
            "Claim '{name}' with format 'single-string' must have exactly one value"
        )));
    }
    let spaces = format == "space-separated-values";
    let bad = |v: &&String| {
        v.is_empty() || v.chars().count() > CLAIM_VALUE_MAX || (spaces && v.contains(' '))
    };
    match values.iter().find(bad) {
        Some(value) => Err(invalid(format!(
            "Value '{value}' of claim '{name}' is not valid"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{jwt, oidc};
    use super::*;

    #[test]
    fn a_login_needs_full_urls_a_secret_and_a_short_enough_session() {
        check_oidc(&oidc("https://idp.example/")).unwrap();
        let changes: [fn(&mut AuthenticateOidc); 9] = [
            |o| o.issuer = "http://idp.example/".to_owned(),
            |o| o.token_endpoint = "https:///token".to_owned(),
            |o| o.user_info_endpoint = "idp.example".to_owned(),
            |o| o.client_id.clear(),
            |o| o.client_secret.clear(),
            |o| o.session_cookie_name = "a b".to_owned(),
            |o| o.scope.clear(),
            |o| o.session_timeout_s = 604_801,
            |o| o.extra_params = (0..11).map(|n| (n.to_string(), String::new())).collect(),
        ];
        for (at, change) in changes.into_iter().enumerate() {
            let mut bad = oidc("https://idp.example/");
            change(&mut bad);
            assert!(check_oidc(&bad).is_err(), "{at}");
        }
    }

    #[test]
    fn a_secret_that_is_kept_is_that_of_the_same_client() {
        let action = |kind| Action { order: None, kind };
        let mut other = oidc("https://other.example/");
        other.client_secret = "other".to_owned();
        let before = [
            action(ActionKind::AuthenticateOidc(other)),
            action(ActionKind::AuthenticateOidc(oidc("https://idp.example/"))),
        ];
        let mut wanted = oidc("https://idp.example/");
        wanted.client_secret.clear();
        let mut after = [action(ActionKind::AuthenticateOidc(wanted))];
        keep_secrets(&before, &mut after);
        assert_eq!(after[0], before[1]);
        let mut nothing = after.clone();
        if let ActionKind::AuthenticateOidc(oidc) = &mut nothing[0].kind {
            oidc.client_secret.clear();
        }
        let same = nothing.clone();
        keep_secrets(&[], &mut nothing);
        assert_eq!(nothing, same, "there was none to keep");
    }

    #[test]
    fn claims_have_a_format_a_name_of_their_own_and_values() {
        let claim = |format: &str, name: &str, values: &[&str]| JwtClaim {
            format: format.to_owned(),
            name: name.to_owned(),
            values: values.iter().map(|v| (*v).to_owned()).collect(),
        };
        check_jwt(&jwt(vec![claim("string-array", "groups", &["a", "b c"])])).unwrap();
        for bad in [
            claim("number", "a", &["1"]),
            claim("single-string", "exp", &["1"]),
            claim("single-string", "", &["1"]),
            claim("single-string", "a", &[]),
            claim("single-string", "a", &["1", "2"]),
            claim("space-separated-values", "scope", &["a b"]),
            claim("string-array", "a", &["x"; 11]),
        ] {
            assert!(check_jwt(&jwt(vec![bad.clone()])).is_err(), "{bad:?}");
        }
        assert!(check_jwt(&jwt(vec![claim("single-string", "a", &["1"]); 11])).is_err());
    }
}
