//! Who calls.
//!
//! The endpoint asks here for every call and gets a [`Principal`], which it carries to IAM's decision and to the handler.
//! What must stay true: a key that the region made is nobody else's, and where the region enforces, nobody comes in
//! without one.

mod denial;
#[cfg(test)]
mod tests;
mod verification;

pub use denial::Denial;
pub use verification::{Entrance, Known};

use crate::model::iam::evaluation::{Party, PartyKind};
use crate::model::iam::policies;
use fogbank_pki::Session;
use fogbank_types::iam::AccessKey;
use fogbank_types::{Scope, Snapshot, Tags, Timestamp};
use fogbank_wire::Service;

/// Somebody who calls, as far as it is known who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// As policies name them.
    pub party: Party,
    pub access_key: String,
    /// The temporary credentials that they call with.
    pub session: Option<Session>,
    pub session_token: Option<String>,
}

impl Principal {
    pub fn account(&self) -> &str {
        &self.party.account
    }

    /// When their temporary credentials were made.
    pub fn token_issued_at(&self) -> Option<Timestamp> {
        let session = self.session.as_ref()?;
        Some(Timestamp(session.issued_at_ms))
    }

    /// "You cannot call any IAM API operations unless MFA authentication information is included in the request", with what
    /// GetSessionToken gave; and nobody has a second factor here.
    /// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html>
    pub fn is_barred_from(&self, service: Service) -> bool {
        let is_own = |session: &Session| session.role.is_empty();
        service == Service::Iam && self.session.as_ref().is_some_and(is_own)
    }

    /// The root of an account.
    pub fn root(account: &str, access_key: &str) -> Self {
        Self {
            party: Party {
                account: account.to_owned(),
                kind: PartyKind::Root,
                arn: Scope::new(account, "global").arn("iam", "root"),
                unique_id: account.to_owned(),
                tags: Tags::new(),
            },
            access_key: access_key.to_owned(),
            session: None,
            session_token: None,
        }
    }

    /// Whoever an access key of the account is of: a user or the root. `None`: the user is not there.
    pub fn of_key(snapshot: &Snapshot, key: &AccessKey) -> Option<Self> {
        let root = Self::root(&key.scope.account, &key.id);
        let Some(name) = &key.user else {
            return Some(root);
        };
        let user = snapshot.users.get(&key.scope, name)?;
        Some(Self {
            party: Party {
                kind: PartyKind::User { name: name.clone() },
                arn: user.arn.clone(),
                unique_id: user.user_id.clone(),
                tags: user.tags.clone(),
                ..root.party
            },
            ..root
        })
    }

    /// Whoever temporary credentials are of. `None`: the user or the role is not there any more.
    pub fn of_session(snapshot: &Snapshot, access_key: &str, session: &Session) -> Option<Self> {
        let root = Self {
            session: Some(session.clone()),
            ..Self::root(&session.account, access_key)
        };
        let scope = Scope::new(&session.account, "global");
        if !session.user_id.is_empty() {
            // By its id: its name may have changed since.
            let mut users = snapshot.users.in_scope(&scope);
            let user = users.find(|user| user.user_id == session.user_id)?;
            let party = Party {
                kind: PartyKind::User {
                    name: user.name.clone(),
                },
                arn: user.arn.clone(),
                unique_id: user.user_id.clone(),
                tags: user.tags.clone(),
                ..root.party
            };
            return Some(Self { party, ..root });
        }
        if session.role.is_empty() {
            return Some(root);
        }
        let role = snapshot.roles.get(&scope, &session.role)?;
        // One that was deleted and made again is another.
        if role.role_id != session.role_id {
            return None;
        }
        let mut tags = role.tags.clone();
        tags.extend(session.tags.iter().cloned());
        let party = Party {
            kind: PartyKind::Session {
                role: role.name.clone(),
                role_arn: role.arn.clone(),
                policies: limits(snapshot, session),
            },
            arn: session.arn(),
            unique_id: format!("{}:{}", session.role_id, session.name),
            tags,
            ..root.party
        };
        Some(Self { party, ..root })
    }
}

/// The texts of the policies that a session was made with. One that is gone allows nothing.
fn limits(snapshot: &Snapshot, session: &Session) -> Option<Vec<String>> {
    let text = |given: &String| {
        if !given.starts_with("arn:") {
            return given.clone();
        }
        let scope = Scope::new(&session.account, "global");
        policies::text(snapshot, &scope, given).unwrap_or_else(|| NOTHING.to_owned())
    };
    let all = session.policies.iter().map(text).collect();
    (!session.policies.is_empty()).then_some(all)
}

/// A policy that allows nothing.
const NOTHING: &str = r#"{"Version":"2012-10-17","Statement":[]}"#;
