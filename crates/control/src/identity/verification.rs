//! From a signature to a principal, in AWS's order (fact SIG-1): the key is known and active, its token is good, the scope
//! is for this endpoint, the time is now, the signature holds.
//!
//! Two modes, `AuthMode`. Where nothing is enforced, a key says who calls and nothing proves it: keys of the region are
//! those that they are of, and any other is the root of the account that it names. That is so on the operator's socket
//! too, which the host's root alone can open.

use super::Principal;
use super::denial::Denial;
use fogbank_pki::{Sessions, Token};
use fogbank_types::iam::AccessKey;
use fogbank_types::{AuthMode, RegionConfig, Scope, Snapshot, Timestamp, place};
use fogbank_wire::{Authorization, Service, sigv4};
use http::request::Parts;

/// What temporary credentials' keys start with.
const TEMPORARY: &str = "ASIA";

/// Where a request came in.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// The endpoint, or a door to it in a network.
    Public,
    /// The socket of the host's root.
    Operator,
}

/// What it takes to know somebody.
pub struct Known<'a> {
    pub snapshot: &'a Snapshot,
    pub sessions: &'a Sessions,
    pub config: &'a RegionConfig,
    pub entrance: Entrance,
    pub now: Timestamp,
}

impl Known<'_> {
    /// Whether what is said must be proved.
    pub fn enforces(&self) -> bool {
        self.config.auth == AuthMode::Enforce && self.entrance == Entrance::Public
    }

    /// Who signed the request.
    pub fn identify(
        &self,
        parts: &Parts,
        body: &[u8],
        authorization: &Authorization,
        service: Service,
    ) -> Result<Principal, Denial> {
        let credential = &authorization.credential;
        let found = self.holder(&credential.access_key, credential.session_token.as_deref())?;
        if !self.enforces() {
            let named = || self.named(&credential.access_key);
            return Ok(found.map_or_else(named, |(principal, _)| principal));
        }
        let (principal, secret) = found.ok_or(Denial::UnknownKey)?;
        check_scope(parts, authorization, service)?;
        sigv4::verify(parts, body, authorization, &secret, self.now)?;
        Ok(principal)
    }

    /// Whose key it is, and its secret; `None`: it is not of this region.
    pub fn holder(
        &self,
        id: &str,
        token: Option<&str>,
    ) -> Result<Option<(Principal, String)>, Denial> {
        if let Some(token) = token {
            return match self.sessions.read(id, token) {
                Token::Session(session) if session.expires_at_ms <= self.now.0 => {
                    Err(Denial::ExpiredToken)
                }
                Token::Session(session) => {
                    let principal = Principal::of_session(self.snapshot, id, &session);
                    let secret = self.sessions.secret(id);
                    // Whoever it was given to is gone.
                    let mut principal = principal.ok_or(Denial::UnknownKey)?;
                    principal.session_token = Some(token.to_owned());
                    Ok(Some((principal, secret)))
                }
                Token::Forged => Err(Denial::UnknownKey),
                Token::Foreign => Ok(None),
            };
        }
        if id.starts_with(TEMPORARY) {
            return Ok(None);
        }
        let account = AccessKey::account_of(id);
        let key = account.and_then(|account| {
            let scope = Scope::new(account, "global");
            self.snapshot.access_keys.get(&scope, id)
        });
        let Some(key) = key else {
            return Ok(None);
        };
        let principal = Principal::of_key(self.snapshot, key).filter(|_| key.is_active);
        let principal = principal.ok_or(Denial::UnknownKey)?;
        Ok(Some((principal, key.secret.reveal().to_owned())))
    }

    /// A key that is twelve digits is the root of that account, any other of the region's own.
    fn named(&self, id: &str) -> Principal {
        let is_account = id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit());
        let own = self.config.account.as_str();
        let account = if is_account { id } else { own };
        Principal::root(account, id)
    }
}

/// Fact SIG-8. The service is the scope's: only its host can speak against it.
fn check_scope(
    parts: &Parts,
    authorization: &Authorization,
    service: Service,
) -> Result<(), Denial> {
    const GLOBAL: &str = "us-east-1";
    let region = authorization.credential.region.as_str();
    let is_valid = if service.is_global() {
        region == GLOBAL
    } else {
        place::regions().any(|known| known == region)
    };
    let host = parts.headers.get(http::header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or("");
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let named = host
        .strip_suffix(".amazonaws.com")
        .and_then(|front| front.rsplit('.').next())
        .filter(|last| place::regions().any(|known| known == *last));
    if !is_valid || named.is_some_and(|named| named != region) {
        let text = "Credential should be scoped to a valid region. ";
        return Err(Denial::Signature(text.to_owned()));
    }
    Ok(())
}
