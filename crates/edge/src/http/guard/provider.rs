//! What an identity provider is asked: tokens for a code, tokens for a refresh token, and who the user is. Used by
//! `guard`; the only room here that waits.
//!
//! What must stay true: an ID token is believed only if issuer, audience, nonce and times are right and it was signed by
//! the issuer or came from its token endpoint itself by TLS (OpenID Connect Core, 3.1.3.7); a refresh token is used by
//! one request at a time, because providers that rotate them end a session whose token is used twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::fetch::{Call, FetchError, Fetched};
use super::jose::{Token, time_s};
use super::keys::Found;
use super::login::Oidc;
use super::session::{CLAIMS_MAX_BYTES, Session};
use super::url::{Url, encode, form};
use super::{Failure, Guards, Reason};
use crate::http::clock::unix_time_s;
use crate::http::lock;

/// More than any session that could be kept.
const RESPONSE_MAX_BYTES: usize = 64 * 1024;
/// Clocks of provider and node may differ by so much.
const SKEW_S: u64 = 60;
/// How long a login waits for what the issuer publishes of itself.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(2);
const DISCOVERY_LIFE: Duration = Duration::from_secs(3600);
const NO_DISCOVERY_LIFE: Duration = Duration::from_secs(300);
/// Requests that come with the same refresh token get the same answer so long.
const REFRESH_LIFE: Duration = Duration::from_secs(30);
const REFRESHES_MAX: usize = 4096;
/// From so many on those that are over are looked for.
const REFRESHES_SWEPT: usize = 64;

/// What a user came back with.
pub struct Grant {
    pub code: String,
    pub redirect_uri: String,
    /// That the ID token has to hold.
    pub nonce: String,
}

/// Never the code.
impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Tokens {
    access_token: String,
    token_type: String,
    id_token: Option<String>,
    refresh_token: Option<String>,
    /// Seconds; some providers write it as a text.
    expires_in: Option<Value>,
}

/// The code's session.
pub async fn log_in(guards: &Guards, oidc: &Oidc, grant: &Grant) -> Result<Session, Failure> {
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", &grant.code),
        ("redirect_uri", &grant.redirect_uri),
    ];
    let issuer = &oidc.config.issuer;
    let discovery = timeout(DISCOVERY_TIMEOUT, guards.discoveries.keys(guards, issuer));
    let (tokens, endpoint) = tokio::join!(ask_tokens(guards, oidc, &pairs), discovery);
    let tokens = tokens?;
    // "The requested scope doesn't return an ID token": HTTP 401.
    let text = tokens.id_token.as_deref();
    let text = text.ok_or(Failure::of(401, Reason::AuthInvalidTokenResponse))?;
    let invalid = Failure::of(401, Reason::AuthInvalidIdToken);
    let token = Token::read(text).ok_or(invalid)?;
    check_claims(oidc, &token, Some(&grant.nonce)).map_err(|why| {
        tracing::debug!(why, "an ID token is refused");
        invalid
    })?;
    if !is_signed(guards, oidc, &token, endpoint.ok().flatten()).await {
        tracing::debug!("an ID token's signature is refused");
        return Err(invalid);
    }
    let subject = token.text("sub").unwrap_or_default();
    let now_s = unix_time_s();
    session(guards, oidc, &tokens, subject, now_s, String::new()).await
}

async fn session(
    guards: &Guards,
    oidc: &Oidc,
    tokens: &Tokens,
    subject: &str,
    began_s: u64,
    refresh_token: String,
) -> Result<Session, Failure> {
    let claims = ask_user_info(guards, oidc, &tokens.access_token, subject).await?;
    let expires_in_s = match &tokens.expires_in {
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => time_s(value),
        None => None,
    };
    let session = Session {
        began_s,
        expires_s: expires_in_s.map_or(0, |seconds| unix_time_s().saturating_add(seconds)),
        identity: subject.to_owned(),
        access_token: tokens.access_token.clone(),
        refresh_token: tokens.refresh_token.clone().unwrap_or(refresh_token),
        claims,
    };
    if session.fits() {
        Ok(session)
    } else {
        Err(Failure::of(401, Reason::AuthUserinfoResponseSizeExceeded))
    }
}

/// Asks the token endpoint. The secret goes in the Authorization header, the way every provider has to know
/// (RFC 6749, 2.3.1), and in the form for those that were told to want it there.
async fn ask_tokens(
    guards: &Guards,
    oidc: &Oidc,
    pairs: &[(&str, &str)],
) -> Result<Tokens, Failure> {
    let config = &oidc.config;
    let url = oidc.token.as_ref().ok_or(UNHANDLED)?;
    let basic = format!(
        "{}:{}",
        encode(&config.client_id),
        encode(&config.client_secret)
    );
    let mut call = Call {
        url,
        authorization: Some(format!("Basic {}", STANDARD.encode(basic))),
        form: Some(form(pairs)),
        max_bytes: RESPONSE_MAX_BYTES,
    };
    let mut fetched = guards.fetcher.fetch(call).await;
    if let Ok(answer) = &fetched
        && !answer.is_success()
        && error_of(answer).as_deref() == Some("invalid_client")
    {
        let mut pairs = pairs.to_vec();
        pairs.push(("client_id", &config.client_id));
        pairs.push(("client_secret", &config.client_secret));
        call = Call {
            url,
            authorization: None,
            form: Some(form(&pairs)),
            max_bytes: RESPONSE_MAX_BYTES,
        };
        fetched = guards.fetcher.fetch(call).await;
    }
    let invalid = Failure::of(401, Reason::AuthInvalidTokenResponse);
    let answer = fetched.map_err(|error| match error {
        FetchError::TooLarge { .. } | FetchError::Invalid(_) => invalid,
        _ => Failure::of(500, Reason::AuthTokenEpRequestTimeout),
    })?;
    if !answer.is_success() {
        let error = error_of(&answer);
        tracing::info!(status = answer.status, ?error, host = url.host, "no tokens");
        return Err(match error.as_deref() {
            Some("invalid_grant") => Failure::of(401, Reason::AuthInvalidGrantError),
            _ => Failure::of(561, Reason::AuthTokenEpRequestFailed),
        });
    }
    let tokens: Option<Tokens> = serde_json::from_slice(&answer.body).ok();
    tokens.filter(Tokens::are_usable).ok_or(invalid)
}

const UNHANDLED: Failure = Failure::of(500, Reason::AuthUnhandledException);

impl Tokens {
    /// The access token stands in headers.
    fn are_usable(&self) -> bool {
        let is_plain = |token: &str| token.bytes().all(|byte| byte.is_ascii_graphic());
        self.token_type.eq_ignore_ascii_case("bearer")
            && !self.access_token.is_empty()
            && is_plain(&self.access_token)
    }
}

fn error_of(answer: &Fetched) -> Option<String> {
    let value: Value = serde_json::from_slice(&answer.body).ok()?;
    Some(value.get("error")?.as_str()?.to_owned())
}

/// Who the user is, in compact JSON. Issuer and end are the load balancer's to say.
async fn ask_user_info(
    guards: &Guards,
    oidc: &Oidc,
    access_token: &str,
    subject: &str,
) -> Result<String, Failure> {
    let call = Call {
        url: oidc.user_info.as_ref().ok_or(UNHANDLED)?,
        authorization: Some(format!("Bearer {access_token}")),
        form: None,
        max_bytes: RESPONSE_MAX_BYTES,
    };
    let invalid = Failure::of(401, Reason::AuthInvalidUserinfoResponse);
    let too_large = Failure::of(401, Reason::AuthUserinfoResponseSizeExceeded);
    let answer = guards.fetcher.fetch(call).await;
    let answer = answer.map_err(|error| match error {
        FetchError::TooLarge { .. } => too_large,
        FetchError::Invalid(_) => invalid,
        _ => Failure::of(500, Reason::AuthUserinfoEpRequestTimeout),
    })?;
    if !answer.is_success() {
        return Err(Failure::of(561, Reason::AuthUserinfoEpRequestFailed));
    }
    let claims: Option<Map<String, Value>> = serde_json::from_slice(&answer.body).ok();
    let mut claims = claims.ok_or(invalid)?;
    // "The sub Claim in the UserInfo Response MUST be verified to exactly match the sub Claim in the ID Token":
    // OpenID Connect Core, 5.3.2.
    let is_same = claims.get("sub").and_then(Value::as_str) == Some(subject);
    if !is_same || subject.chars().any(char::is_control) {
        return Err(invalid);
    }
    claims.remove("exp");
    claims.remove("iss");
    let claims = serde_json::to_string(&claims).map_err(|_| invalid)?;
    if claims.len() > CLAIMS_MAX_BYTES {
        return Err(too_large);
    }
    Ok(claims)
}

/// OpenID Connect Core, 3.1.3.7. Err: why not.
fn check_claims(oidc: &Oidc, token: &Token<'_>, nonce: Option<&str>) -> Result<(), &'static str> {
    let config = &oidc.config;
    let now_s = unix_time_s();
    let time = |name: &str| token.claims.get(name).map(time_s);
    if token.algorithm.is_none() {
        return Err("algorithm");
    }
    if token.text("iss") != Some(&config.issuer) {
        return Err("issuer");
    }
    let (is_for_us, is_for_others) = match token.claims.get("aud") {
        Some(Value::String(audience)) => (*audience == config.client_id, false),
        Some(Value::Array(audiences)) => {
            let is_us = |audience: &Value| audience.as_str() == Some(&config.client_id);
            (audiences.iter().any(is_us), audiences.len() > 1)
        }
        _ => (false, false),
    };
    let party = token.claims.get("azp");
    let is_our_party = party.map_or(!is_for_others, |party| {
        party.as_str() == Some(&config.client_id)
    });
    if !is_for_us || !is_our_party {
        return Err("audience");
    }
    if !matches!(time("exp"), Some(Some(expires_s)) if now_s < expires_s) {
        return Err("expired");
    }
    let is_early = |time: Option<Option<u64>>| {
        time.is_some_and(|time| time.is_none_or(|time_s| time_s > now_s + SKEW_S))
    };
    if is_early(time("iat")) || is_early(time("nbf")) {
        return Err("not yet valid");
    }
    if nonce.is_some_and(|nonce| token.text("nonce") != Some(nonce)) {
        return Err("nonce");
    }
    let has_subject = token.text("sub").is_some_and(|subject| !subject.is_empty());
    has_subject.then_some(()).ok_or("subject")
}

/// Keys that the issuer publishes decide. Without any the token endpoint's certificate vouches for what it sent
/// ("the TLS server validation MAY be used to validate the issuer in place of checking the token signature").
async fn is_signed(
    guards: &Guards,
    oidc: &Oidc,
    token: &Token<'_>,
    endpoint: Option<String>,
) -> bool {
    if token
        .algorithm
        .is_some_and(|algorithm| algorithm.is_symmetric())
    {
        return token.is_signed_with(oidc.config.client_secret.as_bytes());
    }
    let Some(endpoint) = endpoint else {
        return true;
    };
    let find = || guards.keys.find(&endpoint, token.key_id.as_deref());
    let mut found = find();
    if matches!(found, Found::Ask) {
        let asked = timeout(DISCOVERY_TIMEOUT, guards.keys.refresh(&endpoint)).await;
        if matches!(asked, Ok(Ok(()))) {
            found = find();
        }
    }
    match found {
        Found::Keys(keys) => token.is_signed_by(&keys),
        Found::Failed(_) | Found::Ask => true,
    }
}

/// Where issuers publish their keys (OpenID Connect Discovery).
#[derive(Debug, Default)]
pub struct Discoveries(Mutex<HashMap<String, (Instant, Option<String>)>>);

impl Discoveries {
    /// None: it does not say.
    async fn keys(&self, guards: &Guards, issuer: &str) -> Option<String> {
        if let Some((at, endpoint)) = lock(&self.0).get(issuer) {
            let life = match endpoint {
                Some(_) => DISCOVERY_LIFE,
                None => NO_DISCOVERY_LIFE,
            };
            if at.elapsed() < life {
                return endpoint.clone();
            }
        }
        let endpoint = Self::ask(guards, issuer).await;
        lock(&self.0).insert(issuer.to_owned(), (Instant::now(), endpoint.clone()));
        endpoint
    }

    async fn ask(guards: &Guards, issuer: &str) -> Option<String> {
        let base = issuer.trim_end_matches('/');
        let url = Url::parse(&format!("{base}/.well-known/openid-configuration"))?;
        let call = Call {
            url: &url,
            authorization: None,
            form: None,
            max_bytes: RESPONSE_MAX_BYTES,
        };
        let answer = guards.fetcher.fetch(call).await.ok()?;
        let document: Value = serde_json::from_slice(&answer.body).ok()?;
        let says = |name: &str| document.get(name).and_then(Value::as_str);
        let is_its_own = answer.is_success() && says("issuer") == Some(issuer);
        says("jwks_uri").filter(|_| is_its_own).map(str::to_owned)
    }
}

type Refresh = Arc<OnceCell<Result<Session, Failure>>>;

/// Renewals under way and a little while after, by refresh token (hashed).
#[derive(Debug, Default)]
pub struct Refreshes(Mutex<HashMap<Vec<u8>, (Instant, Refresh)>>);

impl Refreshes {
    pub async fn refresh(
        &self,
        guards: &Guards,
        oidc: &Oidc,
        session: &Session,
    ) -> Result<Session, Failure> {
        let key = digest(&SHA256, session.refresh_token.as_bytes());
        let cell = {
            let mut refreshes = lock(&self.0);
            if refreshes.len() >= REFRESHES_SWEPT {
                refreshes.retain(|_, (at, _)| at.elapsed() < REFRESH_LIFE);
            }
            if refreshes.len() >= REFRESHES_MAX {
                refreshes.clear();
            }
            let fresh = || (Instant::now(), Refresh::default());
            let entry = refreshes.entry(key.as_ref().to_vec()).or_insert_with(fresh);
            if entry.0.elapsed() >= REFRESH_LIFE {
                *entry = fresh();
            }
            entry.1.clone()
        };
        let renewed = cell.get_or_init(|| renew(guards, oidc, session)).await;
        renewed.clone()
    }
}

async fn renew(guards: &Guards, oidc: &Oidc, session: &Session) -> Result<Session, Failure> {
    let pairs = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &session.refresh_token[..]),
    ];
    let tokens = ask_tokens(guards, oidc, &pairs).await?;
    // A new ID token is not asked for, but has to be about the same user (OpenID Connect Core, 12.2).
    if let Some(text) = &tokens.id_token {
        let invalid = Failure::of(401, Reason::AuthInvalidIdToken);
        let token = Token::read(text).ok_or(invalid)?;
        let is_same = token.text("sub") == Some(&session.identity);
        if !is_same || check_claims(oidc, &token, None).is_err() {
            return Err(invalid);
        }
    }
    let (subject, refresh) = (&session.identity, session.refresh_token.clone());
    super::provider::session(guards, oidc, &tokens, subject, session.began_s, refresh).await
}
