//! From policies to a decision (facts IAM-1 to IAM-3).
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html>
//!
//! What must stay true: nothing is allowed but by a statement that says so, or to the root of the resource's account; an
//! explicit deny in any policy wins.

use super::context::{Conditions, View};
use super::document::Effect;
use super::grants::{Grants, Policy, PolicyKind, Source};
use super::party::{Meaning, Party, PartyKind};
use super::place::Place;
use std::sync::Arc;

/// What is asked for, with what is known of it.
#[derive(Debug, Clone, Default)]
pub struct Resource {
    /// `*` where the action has no resource of its own.
    pub arn: String,
    /// Whose it is; `None`: the caller's.
    pub account: Option<String>,
    /// Its tags and the like, by condition key.
    pub conditions: Conditions,
    pub policy: Option<ResourcePolicy>,
}

/// The policy that a resource itself has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourcePolicy {
    pub text: String,
    /// Without it nobody may, not even in its own account: trust policies of roles and policies of keys.
    pub is_required: bool,
}

impl Resource {
    /// By its ARN, which says whose it is.
    pub fn new(arn: impl Into<String>) -> Self {
        let arn = arn.into();
        let account = arn
            .split(':')
            .nth(4)
            .filter(|part| part.len() == 12 && part.bytes().all(|b| b.is_ascii_digit()));
        Self {
            account: account.map(str::to_owned),
            arn,
            ..Self::default()
        }
    }

    pub fn with_policy(mut self, text: impl Into<String>, is_required: bool) -> Self {
        self.policy = Some(ResourcePolicy {
            text: text.into(),
            is_required,
        });
        self
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// A statement in a policy of that kind denies it.
    ExplicitDeny(PolicyKind),
    /// No policy of that kind allows it.
    ImplicitDeny(PolicyKind),
}

/// A statement that is about the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    pub source: Arc<Source>,
    pub effect: Effect,
    /// From 0; `None`: the whole document, which cannot be read.
    pub statement: Option<usize>,
    pub sid: Option<String>,
    pub place: Place,
}

/// What the policies of one kind say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Weight {
    pub allows: Vec<Matched>,
    pub denies: Vec<Matched>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Decision {
    pub action: String,
    pub resource: String,
    pub verdict: Verdict,
    /// By kind, as far as there are policies of it.
    pub weights: Vec<(PolicyKind, Weight)>,
    /// The root of the resource's account, whom identity policies do not limit.
    pub is_root: bool,
    /// The resource is another account's.
    pub is_cross_account: bool,
}

impl Decision {
    pub fn is_allowed(&self) -> bool {
        self.verdict == Verdict::Allowed
    }

    pub fn weight(&self, kind: PolicyKind) -> Option<&Weight> {
        let mut all = self.weights.iter();
        all.find(|(own, _)| *own == kind).map(|(_, weight)| weight)
    }

    /// The statements that decide: those that deny, or else those that allow.
    pub fn matched(&self) -> Vec<&Matched> {
        let denies: Vec<&Matched> = self.weights.iter().flat_map(|(_, w)| &w.denies).collect();
        if !denies.is_empty() {
            return denies;
        }
        self.weights.iter().flat_map(|(_, w)| &w.allows).collect()
    }

    /// Why it is refused, as AWS words it (fact IAM-9).
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
    pub fn refusal(&self, arn: &str) -> String {
        let Self {
            action, resource, ..
        } = self;
        // EC2 names no resource where an action has none.
        let on = if resource == "*" && action.starts_with("ec2:") {
            String::new()
        } else {
            format!(" on resource: {resource}")
        };
        let why = match self.verdict {
            Verdict::Allowed => String::new(),
            Verdict::ExplicitDeny(kind) => {
                let article = if kind == PolicyKind::Identity {
                    "an"
                } else {
                    "a"
                };
                format!(" with an explicit deny in {article} {}", kind.words())
            }
            // STS does not tell a stranger why a role does not trust them.
            Verdict::ImplicitDeny(PolicyKind::Resource) if action.starts_with("sts:") => {
                String::new()
            }
            Verdict::ImplicitDeny(kind) => {
                format!(" because no {} allows the {action} action", kind.words())
            }
        };
        format!("User: {arn} is not authorized to perform: {action}{on}{why}")
    }
}

/// Whether somebody with these policies may do that to one resource. `conditions` is all that is known of the request, the
/// caller's own keys included (see [`Party::conditions`]).
pub fn judge(
    grants: &Grants,
    party: &Party,
    action: &str,
    resource: &Resource,
    conditions: &Conditions,
) -> Decision {
    let own_account = resource
        .account
        .as_ref()
        .is_none_or(|own| *own == party.account);
    let is_service = party.kind == PartyKind::Service;
    let is_root = party.kind == PartyKind::Root;
    let case = Case {
        action: action.to_lowercase(),
        arn: &resource.arn,
        view: View::new(conditions, &resource.conditions),
    };
    let attached = resource.policy.as_ref().map(|policy| {
        Policy::new(
            PolicyKind::Resource,
            "policy",
            resource.arn.as_str(),
            &policy.text,
        )
    });
    let mut meaning = None;
    let mut weights = Vec::new();
    if !is_root && !is_service {
        weights.push((PolicyKind::Identity, case.weigh(&grants.identity)));
    }
    if let Some(policy) = attached {
        let (weight, meant) = case.weigh_for(&policy, party);
        meaning = meant;
        weights.push((PolicyKind::Resource, weight));
    }
    for (kind, policies) in [
        (PolicyKind::Boundary, &grants.boundary),
        (PolicyKind::Session, &grants.session),
        (PolicyKind::Endpoint, &grants.endpoint),
    ] {
        if let Some(policies) = policies {
            let weight = if kind == PolicyKind::Endpoint {
                case.weigh_all_for(policies, party)
            } else {
                case.weigh(policies)
            };
            weights.push((kind, weight));
        }
    }
    let mut decision = Decision {
        action: action.to_owned(),
        resource: resource.arn.clone(),
        verdict: Verdict::Allowed,
        weights,
        is_root: is_root && own_account,
        is_cross_account: !own_account,
    };
    let is_required = resource.policy.as_ref().is_some_and(|p| p.is_required);
    decision.verdict = verdict(&decision, meaning, is_required, is_service);
    decision
}

fn verdict(
    decision: &Decision,
    meaning: Option<Meaning>,
    is_required: bool,
    is_service: bool,
) -> Verdict {
    let denies = |(_, weight): &&(PolicyKind, Weight)| !weight.denies.is_empty();
    if let Some((kind, _)) = decision.weights.iter().find(denies) {
        return Verdict::ExplicitDeny(*kind);
    }
    // Of those kinds that are there, one that allows nothing.
    let missing = |kinds: &[PolicyKind]| {
        let mut all = kinds.iter().copied();
        all.find(|kind| decision.weight(*kind).is_some_and(|w| w.allows.is_empty()))
            .map(Verdict::ImplicitDeny)
    };
    use PolicyKind::{Boundary, Endpoint, Identity, Resource, Session};
    let own = || missing(&[Identity, Boundary, Session]);
    let limits = || missing(&[Boundary, Session]);
    let unnamed = (meaning.is_none()).then_some(Verdict::ImplicitDeny(Resource));
    let refused = if is_service || is_required && meaning.is_none() {
        unnamed
    } else if decision.is_cross_account {
        own().or(unnamed)
    } else {
        match meaning {
            Some(Meaning::Themselves) => None,
            Some(Meaning::Role) => limits(),
            Some(Meaning::Account) | None => own(),
        }
    };
    refused
        .or_else(|| missing(&[Endpoint]))
        .unwrap_or(Verdict::Allowed)
}

/// One action on one resource.
struct Case<'a> {
    /// In lower case.
    action: String,
    arn: &'a str,
    view: View<'a>,
}

impl Case<'_> {
    fn weigh(&self, policies: &[Policy]) -> Weight {
        let mut weight = Weight::default();
        for policy in policies {
            self.add(&mut weight, policy, |_| true);
        }
        weight
    }

    /// Statements that name nobody are for everybody, in an endpoint's policy.
    fn weigh_all_for(&self, policies: &[Policy], party: &Party) -> Weight {
        let mut weight = Weight::default();
        for policy in policies {
            self.add(&mut weight, policy, |principals| {
                principals.is_none_or(|named| named.meaning(party).is_some())
            });
        }
        weight
    }

    /// With the closest that the statements which allow it mean the caller.
    fn weigh_for(&self, policy: &Policy, party: &Party) -> (Weight, Option<Meaning>) {
        let mut weight = Weight::default();
        let means = |principals: Option<&super::party::Principals>| {
            principals.and_then(|named| named.meaning(party))
        };
        self.add(&mut weight, policy, |named| means(named).is_some());
        let meaning = policy.document.iter().flat_map(|document| {
            let allows = weight.allows.iter().filter_map(|matched| matched.statement);
            allows.filter_map(|n| means(document.statements[n].principals.as_ref()))
        });
        let meaning = meaning.max();
        (weight, meaning)
    }

    fn add(
        &self,
        weight: &mut Weight,
        policy: &Policy,
        is_meant: impl Fn(Option<&super::party::Principals>) -> bool,
    ) {
        let matched = |statement, effect, sid, place| Matched {
            source: policy.source.clone(),
            effect,
            statement,
            sid,
            place,
        };
        let document = match &policy.document {
            Ok(document) => document,
            // Nobody knows what it would deny.
            Err(_) => {
                weight
                    .denies
                    .push(matched(None, Effect::Deny, None, Place::default()));
                return;
            }
        };
        for (number, statement) in document.statements.iter().enumerate() {
            if statement.concerns(&self.action, self.arn, &self.view)
                && is_meant(statement.principals.as_ref())
            {
                let (sid, place) = (statement.sid.clone(), statement.place);
                let found = matched(Some(number), statement.effect, sid, place);
                match statement.effect {
                    Effect::Allow => weight.allows.push(found),
                    Effect::Deny => weight.denies.push(found),
                }
            }
        }
    }
}
