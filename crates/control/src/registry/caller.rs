//! Who pushes and pulls. Docker's clients have no signature but the password of GetAuthorizationToken, which says whose
//! credentials it was got with: it is worth as much as they are, each time that it is used.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>

use super::Reply;
use super::reply::{self, Failure};
use crate::authorization::{self, Origin};
use crate::identity::{Known, Principal};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fogbank_pki::Sessions;
use fogbank_types::{Scope, Snapshot, Timestamp};
use http::{HeaderMap, HeaderValue, StatusCode, header};

const PURPOSE: &str = "registry password";

/// Whoever sends a request to the registry.
#[derive(Debug)]
pub enum Caller {
    /// Nothing is enforced.
    Anyone,
    Known(Box<Comer>),
}

/// Somebody whose password is good, and how they came.
#[derive(Debug)]
pub struct Comer {
    principal: Principal,
    origin: Origin,
    at: Timestamp,
}

/// A password for whoever has those credentials.
pub fn password(
    sessions: &Sessions,
    access_key: &str,
    session_token: Option<&str>,
    expires_at: Timestamp,
) -> String {
    let token = session_token.unwrap_or_default();
    let content = format!("{}\n{access_key}\n{token}", expires_at.0);
    sessions.seal(PURPOSE, content.as_bytes())
}

impl Caller {
    /// By the Authorization header. The refusal asks for a password.
    pub fn of(
        known: &Known,
        headers: &HeaderMap,
        origin: impl FnOnce(&Principal) -> Origin,
    ) -> Result<Self, Box<Reply>> {
        if !known.enforces() {
            return Ok(Self::Anyone);
        }
        let principal = principal(known, headers).ok_or_else(|| Box::new(unauthorized(headers)))?;
        Ok(Self::Known(Box::new(Comer {
            origin: origin(&principal),
            principal,
            at: known.now,
        })))
    }

    /// Whether they may do that with a repository, or with all.
    pub fn may(
        &self,
        snapshot: &Snapshot,
        action: &'static str,
        scope: &Scope,
        repository: Option<&str>,
    ) -> Result<(), Failure> {
        let Self::Known(comer) = self else {
            return Ok(());
        };
        let party = &comer.principal.party;
        let arn = scope.arn("ecr", &format!("repository/{}", repository.unwrap_or("*")));
        let (origin, at) = (&comer.origin, comer.at);
        let decision = authorization::judge_one(snapshot, scope, party, origin, at, action, &arn);
        if decision.is_allowed() {
            return Ok(());
        }
        let text = decision.refusal(&party.arn);
        Err(Failure::new(StatusCode::FORBIDDEN, "DENIED", text))
    }
}

fn principal(known: &Known, headers: &HeaderMap) -> Option<Principal> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let credentials = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let password = credentials.strip_prefix("AWS:")?;
    let content = known.sessions.unseal(PURPOSE, password)?;
    let content = String::from_utf8(content).ok()?;
    let [expires_at, access_key, token] = content.split('\n').collect::<Vec<_>>()[..] else {
        return None;
    };
    if expires_at.parse::<i64>().ok()? <= known.now.0 {
        return None;
    }
    let token = (!token.is_empty()).then_some(token);
    known
        .holder(access_key, token)
        .ok()?
        .map(|(principal, _)| principal)
}

fn unauthorized(headers: &HeaderMap) -> Reply {
    let failure = Failure::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "Not Authorized");
    let mut reply = reply::finish(Err(failure), false);
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let asks = format!(
        r#"Basic realm="https://{}/",service="ecr.amazonaws.com""#,
        host.unwrap_or_default()
    );
    if let Ok(asks) = HeaderValue::from_str(&asks) {
        reply.headers_mut().insert(header::WWW_AUTHENTICATE, asks);
    }
    reply
}
