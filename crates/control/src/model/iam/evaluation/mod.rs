//! May they? IAM's evaluation of policies (facts IAM-1 to IAM-5, decision 0029).
//!
//! Pure. Called by the endpoint for every call of a region that enforces (`identity`), by the policy simulator's operations
//! and by `fogbank iam explain`: all three answer from [`judge`]. Documents are read once and kept by their text.

mod condition;
pub mod context;
mod date;
pub mod decision;
pub mod document;
pub mod grants;
#[cfg(test)]
mod naive;
pub mod party;
mod pattern;
pub mod place;
#[cfg(test)]
mod tests;

pub use condition::Condition;
pub use context::Conditions;
pub use decision::{Decision, Resource, Verdict, judge};
pub use grants::{Grants, Policy, PolicyKind};
pub use party::{Party, PartyKind};

use fogbank_types::Snapshot;

impl Party {
    /// What every request of theirs says of them.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>
    pub fn conditions(&self) -> Conditions {
        let mut conditions = Conditions::default();
        let is_service = self.kind == PartyKind::Service;
        conditions.set("aws:PrincipalIsAWSService", is_service.to_string());
        if is_service {
            conditions.set("aws:PrincipalServiceName", self.arn.as_str());
            return conditions;
        }
        let (kind, arn) = match &self.kind {
            PartyKind::User { name } => {
                conditions.set("aws:username", name.as_str());
                ("User", self.arn.as_str())
            }
            // The key holds the role, not the session.
            PartyKind::Session { role_arn, .. } => ("AssumedRole", role_arn.as_str()),
            PartyKind::Root | PartyKind::Service => ("Account", self.arn.as_str()),
        };
        conditions.set("aws:PrincipalType", kind);
        conditions.set("aws:PrincipalArn", arn);
        conditions.set("aws:PrincipalAccount", self.account.as_str());
        conditions.set("aws:userid", self.unique_id.as_str());
        for (key, value) in &self.tags {
            conditions.set(&format!("aws:PrincipalTag/{key}"), value.as_str());
        }
        conditions
    }
}

/// Whether somebody may do that to all of the resources: the first refusal, or what is said of the last.
pub fn decide(
    snapshot: &Snapshot,
    party: &Party,
    action: &str,
    resources: &[Resource],
    conditions: &Conditions,
) -> Decision {
    let grants = Grants::of(snapshot, party);
    decide_with(&grants, party, action, resources, conditions)
}

/// The same with the caller's policies already gathered. No resource is like `*`.
pub fn decide_with(
    grants: &Grants,
    party: &Party,
    action: &str,
    resources: &[Resource],
    conditions: &Conditions,
) -> Decision {
    let mut all = party.conditions();
    all.extend(conditions.clone());
    let any = [Resource::new("*")];
    let resources = if resources.is_empty() {
        &any
    } else {
        resources
    };
    let (last, others) = resources.split_last().expect("there is one");
    let mut judged = others
        .iter()
        .map(|resource| judge(grants, party, action, resource, &all));
    judged
        .find(|decision| !decision.is_allowed())
        .unwrap_or_else(|| judge(grants, party, action, last, &all))
}
