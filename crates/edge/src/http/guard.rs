//! Guards: what has to be passed before a rule's action: `authenticate-oidc` (users log in with an identity provider,
//! "Authenticate users using an Application Load Balancer") and `jwt-validation` (programs bring a token, "Verify JWTs
//! using an Application Load Balancer", ELB guide). Decision 0020 says what AWS leaves open.
//!
//! Used by `decision`. A guard is looked at in two passes: the first is pure and fast, and answers all that cookies,
//! tokens and known keys answer. What only the provider knows is a `Question`; whoever decides awaits its `Finding`
//! outside of the decision, and decides again with it. So nothing here makes another client's request wait, and every
//! wait is bounded by `fetch`.
//!
//! What must stay true: nobody is let through whose session or token this node has not verified; secrets, tokens and
//! codes are in no log; a second pass never asks again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use fogbank_pki::SigningKey;

use super::counters::Counters;
use super::request::Request;
use super::seal::Sealer;
use super::table;

mod bearer;
mod fetch;
mod jose;
mod keys;
mod login;
mod provider;
mod session;
mod url;

pub use login::{Logins, Oidc, call_back};

use fetch::Fetcher;
use keys::KeySets;
use provider::Refreshes;
use session::Session;

/// What guards need of the world around the node.
#[derive(Clone, Debug)]
pub struct Outside {
    /// `<data>`: the region's authority and the key that claims are signed with. None: neither.
    pub data_folder: Option<PathBuf>,
    /// Asked for the addresses of identity providers.
    pub resolver: SocketAddr,
    /// In PEM: authorities that are trusted besides.
    pub roots: String,
}

impl Default for Outside {
    fn default() -> Self {
        Self {
            data_folder: None,
            resolver: crate::outside::RESOLVER,
            roots: String::new(),
        }
    }
}

/// What all guards of a node share.
#[derive(Debug)]
pub struct Guards {
    fetcher: Arc<Fetcher>,
    keys: KeySets,
    refreshes: Refreshes,
    discoveries: provider::Discoveries,
    /// None: nobody can be told who a user is, and nobody passes.
    signer: Option<SigningKey>,
}

impl Default for Guards {
    fn default() -> Self {
        Self::new(Outside::default())
    }
}

impl Guards {
    pub fn new(outside: Outside) -> Self {
        let signer = match &outside.data_folder {
            Some(folder) => SigningKey::open(folder),
            None => SigningKey::generate(),
        };
        let signer = signer
            .inspect_err(|error| tracing::error!(%error, "no key to sign users' claims with"))
            .ok();
        let fetcher = Arc::new(Fetcher::new(outside));
        Self {
            keys: KeySets::new(fetcher.clone()),
            fetcher,
            refreshes: Refreshes::default(),
            discoveries: provider::Discoveries::default(),
            signer,
        }
    }

    /// Asks the provider. Bounded in time; may be dropped at any moment.
    pub async fn answer(&self, question: Question, counters: &Counters) -> Finding {
        match question {
            Question::LogIn(oidc, grant) => {
                let began = std::time::Instant::now();
                let found = provider::log_in(self, &oidc, &grant).await;
                let took = began.elapsed().as_micros();
                let took_us = u64::try_from(took).unwrap_or(u64::MAX);
                counters.auth_times.add(took_us);
                Finding::Session(found)
            }
            Question::Refresh(oidc, session) => {
                Finding::Session(self.refreshes.refresh(self, &oidc, &session).await)
            }
            Question::Keys { endpoint } => Finding::Keys(self.keys.refresh(&endpoint).await),
        }
    }
}

/// A guard of a rule, compiled.
#[derive(Debug)]
pub enum Guard {
    Oidc(Arc<Oidc>),
    Jwt(bearer::Jwt),
}

impl Guard {
    pub fn compile(guard: &table::Guard) -> Self {
        match guard {
            table::Guard::AuthenticateOidc(config) => Self::Oidc(Arc::new(Oidc::compile(config))),
            table::Guard::JwtValidation(config) => Self::Jwt(bearer::Jwt::compile(config)),
        }
    }

    /// As the access log names it.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Oidc(_) => "authenticate",
            Self::Jwt(_) => "jwt-validation",
        }
    }

    pub fn pass(&self, asked: &Asked<'_, '_, '_>) -> Passage {
        match self {
            Self::Oidc(oidc) => login::pass(oidc, asked),
            Self::Jwt(jwt) => bearer::pass(jwt, asked),
        }
    }
}

/// A request before a guard.
pub struct Asked<'a, 'h, 'b> {
    pub guards: &'a Guards,
    pub sealer: &'a Sealer,
    pub counters: &'a Counters,
    pub request: &'a Request<'h, 'b>,
    /// In the second pass.
    pub learned: Option<&'a Finding>,
    /// The load balancer's ARN.
    pub signer: &'a dyn Fn() -> String,
    pub now_s: u64,
}

/// What a guard says.
#[derive(Debug)]
pub enum Passage {
    /// Nothing is to be told of the client.
    Open,
    /// The target is told who it is; lines of a header, each with its end. The client gets the cookies.
    Known {
        lines: Vec<u8>,
        cookies: Vec<String>,
    },
    Refuse(Failure),
    /// To the provider, or back from it.
    Redirect {
        location: String,
        cookies: Vec<String>,
        /// For the log: why an earlier login does not count.
        failure: Option<Reason>,
    },
    Ask(Box<Question>),
}

/// What only somebody else knows.
#[derive(Debug)]
pub enum Question {
    LogIn(Arc<Oidc>, provider::Grant),
    Refresh(Arc<Oidc>, Session),
    Keys { endpoint: String },
}

#[derive(Debug)]
pub enum Finding {
    Session(Result<Session, Failure>),
    Keys(Result<(), Reason>),
}

/// A request that goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub status: u16,
    /// None: it is as the rule wants it.
    pub reason: Option<Reason>,
}

impl Failure {
    const fn of(status: u16, reason: Reason) -> Self {
        Self {
            status,
            reason: Some(reason),
        }
    }
}

/// "Error reason codes" of the access log's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    AuthInvalidAWSALBAuthNonce,
    AuthInvalidCookie,
    AuthInvalidGrantError,
    AuthInvalidIdToken,
    AuthInvalidStateParam,
    AuthInvalidTokenResponse,
    AuthInvalidUserinfoResponse,
    AuthMissingAWSALBAuthNonce,
    AuthMissingCodeParam,
    AuthMissingHostHeader,
    AuthMissingStateParam,
    AuthTokenEpRequestFailed,
    AuthTokenEpRequestTimeout,
    AuthUnhandledException,
    AuthUserinfoEpRequestFailed,
    AuthUserinfoEpRequestTimeout,
    AuthUserinfoResponseSizeExceeded,
    JWKSRequestFailed,
    JWKSRequestTimeout,
    JWKSResponseInvalid,
    JWKSResponseSizeExceeded,
    JWTClaimFormatInvalid,
    JWTClaimNotPresent,
    JWTClaimValueInvalid,
    JWTHeaderNotPresent,
    JWTRequestFormatInvalid,
    JWTSignatureValidationError,
}

/// The metric that counts a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// `ELBAuthFailure`: whoever logs in is at fault.
    AuthFailure,
    /// `ELBAuthError`: the provider is, or the way to it.
    AuthError,
    /// `JWTValidationFailureCount`.
    Token,
}

impl Reason {
    pub fn code(self) -> &'static str {
        match self {
            Self::AuthInvalidAWSALBAuthNonce => "AuthInvalidAWSALBAuthNonce",
            Self::AuthInvalidCookie => "AuthInvalidCookie",
            Self::AuthInvalidGrantError => "AuthInvalidGrantError",
            Self::AuthInvalidIdToken => "AuthInvalidIdToken",
            Self::AuthInvalidStateParam => "AuthInvalidStateParam",
            Self::AuthInvalidTokenResponse => "AuthInvalidTokenResponse",
            Self::AuthInvalidUserinfoResponse => "AuthInvalidUserinfoResponse",
            Self::AuthMissingAWSALBAuthNonce => "AuthMissingAWSALBAuthNonce",
            Self::AuthMissingCodeParam => "AuthMissingCodeParam",
            Self::AuthMissingHostHeader => "AuthMissingHostHeader",
            Self::AuthMissingStateParam => "AuthMissingStateParam",
            Self::AuthTokenEpRequestFailed => "AuthTokenEpRequestFailed",
            Self::AuthTokenEpRequestTimeout => "AuthTokenEpRequestTimeout",
            Self::AuthUnhandledException => "AuthUnhandledException",
            Self::AuthUserinfoEpRequestFailed => "AuthUserinfoEpRequestFailed",
            Self::AuthUserinfoEpRequestTimeout => "AuthUserinfoEpRequestTimeout",
            Self::AuthUserinfoResponseSizeExceeded => "AuthUserinfoResponseSizeExceeded",
            Self::JWKSRequestFailed => "JWKSRequestFailed",
            Self::JWKSRequestTimeout => "JWKSRequestTimeout",
            Self::JWKSResponseInvalid => "JWKSResponseInvalid",
            Self::JWKSResponseSizeExceeded => "JWKSResponseSizeExceeded",
            Self::JWTClaimFormatInvalid => "JWTClaimFormatInvalid",
            Self::JWTClaimNotPresent => "JWTClaimNotPresent",
            Self::JWTClaimValueInvalid => "JWTClaimValueInvalid",
            Self::JWTHeaderNotPresent => "JWTHeaderNotPresent",
            Self::JWTRequestFormatInvalid => "JWTRequestFormatInvalid",
            Self::JWTSignatureValidationError => "JWTSignatureValidationError",
        }
    }

    fn family(self) -> Family {
        match self {
            Self::AuthInvalidAWSALBAuthNonce
            | Self::AuthInvalidCookie
            | Self::AuthInvalidGrantError
            | Self::AuthInvalidIdToken
            | Self::AuthInvalidStateParam
            | Self::AuthInvalidTokenResponse
            | Self::AuthInvalidUserinfoResponse
            | Self::AuthMissingAWSALBAuthNonce
            | Self::AuthMissingCodeParam
            | Self::AuthMissingStateParam => Family::AuthFailure,
            Self::AuthMissingHostHeader
            | Self::AuthTokenEpRequestFailed
            | Self::AuthTokenEpRequestTimeout
            | Self::AuthUnhandledException
            | Self::AuthUserinfoEpRequestFailed
            | Self::AuthUserinfoEpRequestTimeout
            | Self::AuthUserinfoResponseSizeExceeded => Family::AuthError,
            Self::JWKSRequestFailed
            | Self::JWKSRequestTimeout
            | Self::JWKSResponseInvalid
            | Self::JWKSResponseSizeExceeded
            | Self::JWTClaimFormatInvalid
            | Self::JWTClaimNotPresent
            | Self::JWTClaimValueInvalid
            | Self::JWTHeaderNotPresent
            | Self::JWTRequestFormatInvalid
            | Self::JWTSignatureValidationError => Family::Token,
        }
    }

    /// Counts it by AWS's metric.
    pub fn count(self, counters: &Counters) {
        match self.family() {
            Family::AuthFailure => counters.auth_failures.add(1),
            Family::AuthError => counters.auth_errors.add(1),
            Family::Token => counters.token_failures.add(1),
        }
        if self == Self::AuthUserinfoResponseSizeExceeded {
            counters.auth_claims_too_large.add(1);
        }
    }
}
