//! `authenticate-oidc`: the way to the provider and back, and whether a request's session counts. Used by `guard`;
//! pure, what the provider is asked is in `provider`.
//!
//! The state that goes round by the browser is sealed; it holds what the callback needs, so that any node of the load
//! balancer serves it. The cookie `AWSALBAuthNonce` binds it to the browser that began, and the nonce in it the ID token
//! to this login. "If a user does not log in within 15 minutes ... the load balancer returns HTTP 401".

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fogbank_types::elb::{AuthenticateOidc, OnUnauthenticated};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::provider::Grant;
use super::session::{Cookies, Kept, Session, Told};
use super::url::{Url, encode, form, parameter};
use super::{Asked, Failure, Finding, Passage, Question, Reason};
use crate::http::request::Request;
use crate::http::sticky::cookie;

pub const CALLBACK: &str = "/oauth2/idpresponse";
const STATE: &str = "oidc state";
const NONCE_COOKIE: &str = "AWSALBAuthNonce";
const NONCE_CHARACTERS: usize = 16;
/// "The client login timeout is 15 minutes": it can't be changed.
const LOGIN_TIMEOUT_S: u64 = 15 * 60;
/// Clocks of two nodes may differ by so much.
const SKEW_S: u64 = 60;
/// A longer address to come back to would make the provider's too long: the user comes back without its query.
const RETURN_MAX_BYTES: usize = 4096;
/// Parameters of the request that are not the rule's to set.
const OWN_PARAMETERS: [&str; 6] = [
    "client_id",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
    "nonce",
];

/// A rule's provider and client, compiled.
#[derive(Debug)]
pub struct Oidc {
    pub config: AuthenticateOidc,
    /// None: they are no addresses.
    pub token: Option<Url>,
    pub user_info: Option<Url>,
    /// Names this configuration in states.
    mark: String,
}

impl Oidc {
    pub fn compile(config: &AuthenticateOidc) -> Self {
        let mut marked = config.clone();
        // It may be changed while a user logs in.
        marked.client_secret.clear();
        let text = serde_json::to_vec(&marked).unwrap_or_default();
        Self {
            token: Url::parse(&config.token_endpoint),
            user_info: Url::parse(&config.user_info_endpoint),
            mark: URL_SAFE_NO_PAD.encode(&digest(&SHA256, &text).as_ref()[..16]),
            config: config.clone(),
        }
    }
}

/// All that a listener's users log in with.
#[derive(Debug, Default)]
pub struct Logins(Vec<Arc<Oidc>>);

impl Logins {
    pub fn of<'g>(guards: impl Iterator<Item = &'g super::Guard>) -> Self {
        let mut logins: Vec<Arc<Oidc>> = Vec::new();
        for guard in guards {
            if let super::Guard::Oidc(oidc) = guard
                && logins.iter().all(|known| known.mark != oidc.mark)
            {
                logins.push(oidc.clone());
            }
        }
        Self(logins)
    }

    /// A user comes back from a provider: no rule is looked at.
    pub fn is_callback(&self, request: &Request<'_, '_>) -> bool {
        !self.0.is_empty() && request.path == CALLBACK
    }

    fn find(&self, mark: &str) -> Option<&Arc<Oidc>> {
        self.0.iter().find(|oidc| oidc.mark == mark)
    }
}

/// What goes round by the browser.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    /// Of the configuration.
    mark: String,
    /// Of the nonce cookie, hashed.
    browser: String,
    /// For the ID token.
    nonce: String,
    began_s: u64,
    host: String,
    /// Path and query to come back to.
    target: String,
}

pub fn pass(oidc: &Arc<Oidc>, asked: &Asked<'_, '_, '_>) -> Passage {
    let cookies = cookies(oidc, asked);
    let session = match cookies.read(asked.request) {
        Kept::Nothing => return unauthenticated(oidc, asked, None),
        Kept::Invalid => return unauthenticated(oidc, asked, Some(Reason::AuthInvalidCookie)),
        Kept::Session(session) => session,
    };
    let config = &oidc.config;
    let until_s = session.began_s.saturating_add(config.session_timeout_s);
    if asked.now_s >= until_s || session.began_s > asked.now_s + SKEW_S {
        return unauthenticated(oidc, asked, None);
    }
    let is_over = session.expires_s != 0 && asked.now_s >= session.expires_s;
    // "If the IdP does not support refresh tokens, the load balancer keeps the authentication session."
    if !is_over || session.refresh_token.is_empty() {
        return known(oidc, asked, &session, Vec::new());
    }
    match asked.learned {
        None => Passage::Ask(Box::new(Question::Refresh(oidc.clone(), session))),
        Some(Finding::Session(Ok(renewed))) => {
            asked.counters.auth_refreshes.add(1);
            let written = cookies.write(renewed, asked.request, until_s);
            known(oidc, asked, renewed, written)
        }
        // "The load balancer has the user log in again only after the session times out or the refresh flow fails."
        Some(Finding::Session(Err(failure))) => unauthenticated(oidc, asked, failure.reason),
        Some(Finding::Keys(_)) => broken(),
    }
}

fn cookies<'a>(oidc: &'a Oidc, asked: &Asked<'a, '_, '_>) -> Cookies<'a> {
    Cookies {
        sealer: asked.sealer,
        name: &oidc.config.session_cookie_name,
        issuer: &oidc.config.issuer,
        client_id: &oidc.config.client_id,
    }
}

fn known(
    oidc: &Oidc,
    asked: &Asked<'_, '_, '_>,
    session: &Session,
    cookies: Vec<String>,
) -> Passage {
    let told = Told {
        issuer: &oidc.config.issuer,
        client_id: &oidc.config.client_id,
        signer: &(asked.signer)(),
        now_s: asked.now_s,
    };
    let signer = asked.guards.signer.as_ref();
    match signer.and_then(|key| session.lines(key, &told)) {
        Some(lines) => Passage::Known { lines, cookies },
        None => broken(),
    }
}

fn broken() -> Passage {
    Passage::Refuse(Failure::of(500, Reason::AuthUnhandledException))
}

fn unauthenticated(oidc: &Oidc, asked: &Asked<'_, '_, '_>, failure: Option<Reason>) -> Passage {
    match oidc.config.on_unauthenticated {
        OnUnauthenticated::Allow => Passage::Open,
        OnUnauthenticated::Deny => Passage::Refuse(Failure {
            status: 401,
            reason: failure,
        }),
        OnUnauthenticated::Authenticate => to_provider(oidc, asked, failure),
    }
}

/// "The load balancer redirects the user to the IdP authorization endpoint."
fn to_provider(oidc: &Oidc, asked: &Asked<'_, '_, '_>, failure: Option<Reason>) -> Passage {
    // "A client submitted an HTTP/1.0 request without a host header, and the load balancer was unable to generate a
    // redirect URL": HTTP 401.
    let Some(host) = host(asked.request) else {
        return Passage::Refuse(Failure::of(401, Reason::AuthMissingHostHeader));
    };
    let (Some(nonce), Some(fresh)) = (random(), random()) else {
        return broken();
    };
    // Logins in two tabs of a browser share its cookie.
    let browser = browser_nonce(asked.request).map_or(fresh, str::to_owned);
    let request = asked.request;
    let target = match request.query {
        Some(query) if request.path.len() + query.len() < RETURN_MAX_BYTES => {
            format!("{}?{query}", request.path)
        }
        _ if request.path.len() > RETURN_MAX_BYTES => "/".to_owned(),
        _ => request.path.to_owned(),
    };
    let state = State {
        mark: oidc.mark.clone(),
        browser: hashed(&browser),
        nonce: nonce.clone(),
        began_s: asked.now_s,
        host: host.clone(),
        target,
    };
    let Ok(state) = serde_json::to_vec(&state) else {
        return broken();
    };
    let state = asked.sealer.seal(STATE, &state);
    let config = &oidc.config;
    let mut location = config.authorization_endpoint.clone();
    location.push(if location.contains('?') { '&' } else { '?' });
    location.push_str(&form(&[
        ("client_id", &config.client_id),
        ("redirect_uri", &redirect_uri(&host)),
        ("response_type", "code"),
        ("scope", &config.scope),
        ("state", &state),
        ("nonce", &nonce),
    ]));
    for (name, value) in &config.extra_params {
        if !OWN_PARAMETERS.contains(&name.as_str()) {
            location.push_str(&format!("&{}={}", encode(name), encode(value)));
        }
    }
    Passage::Redirect {
        location,
        cookies: vec![format!(
            "{NONCE_COOKIE}={browser}; Path=/; Secure; HttpOnly"
        )],
        failure,
    }
}

fn redirect_uri(host: &str) -> String {
    format!("https://{host}{CALLBACK}")
}

/// As the client names it, in lower case; the port that HTTPS has anyway is left out.
fn host(request: &Request<'_, '_>) -> Option<String> {
    let host = request.host.filter(|host| !host.is_empty())?;
    let host = host.strip_suffix(":443").unwrap_or(host);
    Some(host.to_ascii_lowercase())
}

fn browser_nonce<'b>(request: &Request<'_, 'b>) -> Option<&'b str> {
    let value = std::str::from_utf8(cookie(request, NONCE_COOKIE)?).ok()?;
    let is_ours = value.len() == NONCE_CHARACTERS
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    is_ours.then_some(value)
}

fn hashed(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

/// 96 bits in sixteen characters. None: the system has no random bytes.
fn random() -> Option<String> {
    let mut bytes = [0; NONCE_CHARACTERS * 3 / 4];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

/// The user comes back with a code, which is exchanged for a session.
pub fn call_back(logins: &Logins, asked: &Asked<'_, '_, '_>) -> Passage {
    match returned(logins, asked) {
        Err(failure) => Passage::Refuse(failure),
        Ok((oidc, state, code)) => match asked.learned {
            None => Passage::Ask(Box::new(Question::LogIn(
                oidc.clone(),
                Grant {
                    code,
                    redirect_uri: redirect_uri(&state.host),
                    nonce: state.nonce,
                },
            ))),
            Some(Finding::Session(Ok(session))) => {
                asked.counters.auth_successes.add(1);
                let until_s = session.began_s + oidc.config.session_timeout_s;
                let cookies = cookies(oidc, asked).write(session, asked.request, until_s);
                Passage::Redirect {
                    location: format!("https://{}{}", state.host, state.target),
                    cookies,
                    failure: None,
                }
            }
            Some(Finding::Session(Err(failure))) => Passage::Refuse(*failure),
            Some(Finding::Keys(_)) => broken(),
        },
    }
}

fn returned<'l>(
    logins: &'l Logins,
    asked: &Asked<'_, '_, '_>,
) -> Result<(&'l Arc<Oidc>, State, String), Failure> {
    let request = asked.request;
    let query = request.query.unwrap_or_default();
    let bad = |reason| Failure::of(400, reason);
    let host = host(request).ok_or(Failure::of(401, Reason::AuthMissingHostHeader))?;
    let sealed = parameter(query, "state").filter(|state| !state.is_empty());
    let sealed = sealed.ok_or(bad(Reason::AuthMissingStateParam))?;
    let opened = asked.sealer.open(STATE, sealed.as_bytes());
    let state: Option<State> = opened.and_then(|text| serde_json::from_slice(&text).ok());
    let state = state.filter(|state| state.host == host);
    let state = state.ok_or(bad(Reason::AuthInvalidStateParam))?;
    let oidc = logins.find(&state.mark);
    let oidc = oidc.ok_or(bad(Reason::AuthInvalidStateParam))?;
    let is_late = asked.now_s > state.began_s.saturating_add(LOGIN_TIMEOUT_S);
    if is_late || state.began_s > asked.now_s + SKEW_S {
        return Err(Failure::of(401, Reason::AuthInvalidStateParam));
    }
    let browser = cookie(request, NONCE_COOKIE);
    browser.ok_or(Failure::of(401, Reason::AuthMissingAWSALBAuthNonce))?;
    if browser_nonce(request).map(hashed) != Some(state.browser.clone()) {
        return Err(Failure::of(401, Reason::AuthInvalidAWSALBAuthNonce));
    }
    match parameter(query, "code").filter(|code| !code.is_empty()) {
        Some(code) => Ok((oidc, state, code)),
        None => Err(Failure::of(
            without_code(query),
            Reason::AuthMissingCodeParam,
        )),
    }
}

/// "The IdP denied access" is a 401; "the IdP returned an error code when authenticating the user" a 561.
fn without_code(query: &str) -> u16 {
    match parameter(query, "error").as_deref() {
        None => 400,
        Some("access_denied") => 401,
        Some(_) => 561,
    }
}
