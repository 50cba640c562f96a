//! Which policies bear on somebody: those of a user and its groups, of a session's role, their boundary, and what a session
//! was made with.

use super::document::{Document, Unreadable};
use super::party::{Party, PartyKind};
use crate::model::iam::identities::Identity;
use crate::model::iam::managed;
use fogbank_types::iam::{Group, Role, User};
use fogbank_types::{Scope, Snapshot};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyKind {
    Identity,
    /// Of the resource itself, a role's trust policy among them.
    Resource,
    Boundary,
    Session,
    /// Of the interface endpoint that a call came through.
    Endpoint,
}

impl PolicyKind {
    /// In AWS's sentences about refusals.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
    pub fn words(self) -> &'static str {
        match self {
            Self::Identity => "identity-based policy",
            Self::Resource => "resource-based policy",
            Self::Boundary => "permissions boundary",
            Self::Session => "session policy",
            Self::Endpoint => "VPC endpoint policy",
        }
    }
}

/// Which policy: for matched statements and for `fogbank iam explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub kind: PolicyKind,
    /// A managed policy's name, an inline one's with its holder's, or `PolicyInputList.1`.
    pub id: String,
    /// `arn:aws:iam::..:policy/..` of managed ones, else what has it: `user/ann`, `group/ops`, `role/orders`.
    pub place: String,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.kind.words(), self.id, self.place)
    }
}

/// A policy to be weighed.
#[derive(Debug, Clone)]
pub struct Policy {
    pub source: Arc<Source>,
    pub document: Result<Arc<Document>, Unreadable>,
}

impl Policy {
    pub fn new(
        kind: PolicyKind,
        id: impl Into<String>,
        place: impl Into<String>,
        text: &str,
    ) -> Self {
        let source = Source {
            kind,
            id: id.into(),
            place: place.into(),
        };
        Self {
            source: Arc::new(source),
            document: Document::read(text),
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    pub identity: Vec<Policy>,
    /// Where one is set, it must allow as well; one that is gone allows nothing.
    pub boundary: Option<Vec<Policy>>,
    pub session: Option<Vec<Policy>>,
    pub endpoint: Option<Vec<Policy>>,
}

impl Grants {
    pub fn of(snapshot: &Snapshot, party: &Party) -> Self {
        let scope = Scope::new(&party.account, "global");
        match &party.kind {
            PartyKind::Root | PartyKind::Service => Self::default(),
            PartyKind::User { name } => snapshot
                .users
                .get(&scope, name)
                .map(|user| Self::of_user(snapshot, user))
                .unwrap_or_default(),
            PartyKind::Session { role, policies, .. } => {
                let mut grants = snapshot
                    .roles
                    .get(&scope, role)
                    .map(|role| Self::of_role(snapshot, role))
                    .unwrap_or_default();
                grants.session = policies.as_ref().map(|texts| {
                    let named = texts.iter().enumerate();
                    named
                        .map(|(n, text)| {
                            let id = format!("SessionPolicy.{}", n + 1);
                            Policy::new(PolicyKind::Session, id, party.arn.as_str(), text)
                        })
                        .collect()
                });
                grants
            }
        }
    }

    pub fn of_user(snapshot: &Snapshot, user: &User) -> Self {
        let mut grants = Self {
            boundary: boundary(snapshot, user),
            ..Self::default()
        };
        grants.add(snapshot, "user", user);
        let groups = snapshot.groups.in_scope(&user.scope);
        for group in groups.filter(|group| user.groups.contains(&group.group_id)) {
            grants.add::<Group>(snapshot, "group", group);
        }
        grants
    }

    pub fn of_role(snapshot: &Snapshot, role: &Role) -> Self {
        let mut grants = Self {
            boundary: boundary(snapshot, role),
            ..Self::default()
        };
        grants.add(snapshot, "role", role);
        grants
    }

    pub fn of_group(snapshot: &Snapshot, group: &Group) -> Self {
        let mut grants = Self::default();
        grants.add(snapshot, "group", group);
        grants
    }

    fn add<I: Identity>(&mut self, snapshot: &Snapshot, kind: &str, holder: &I) {
        let (name, texts): (_, &BTreeMap<String, String>) =
            (holder.name(), holder.inline_policies());
        self.identity.extend(texts.iter().map(|(policy, text)| {
            let id = format!("{kind}_{name}_{policy}");
            Policy::new(PolicyKind::Identity, id, format!("{kind}/{name}"), text)
        }));
        let scope = holder.scope();
        let attached = holder.attached_policies().iter();
        self.identity
            .extend(attached.filter_map(|arn| of_arn(snapshot, &scope, arn, PolicyKind::Identity)));
    }
}

/// A managed policy, the account's own or AWS's, in its default version.
pub fn of_arn(snapshot: &Snapshot, scope: &Scope, arn: &str, kind: PolicyKind) -> Option<Policy> {
    if let Some(policy) = snapshot.policies.get(&scope.global(), arn) {
        let current =
            |version: &&fogbank_types::iam::PolicyVersion| version.id == policy.default_version;
        let version = policy.versions.iter().find(current)?;
        return Some(Policy::new(
            kind,
            policy.name.as_str(),
            arn,
            &version.document,
        ));
    }
    let managed = managed::find(arn)?;
    Some(Policy::new(kind, managed.name, arn, &managed.document))
}

fn boundary<I: Identity>(snapshot: &Snapshot, holder: &I) -> Option<Vec<Policy>> {
    let arn = holder.permissions_boundary()?;
    let policy = of_arn(snapshot, &holder.scope(), arn, PolicyKind::Boundary);
    Some(policy.into_iter().collect())
}
