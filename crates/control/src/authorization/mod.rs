//! May this call be made? From a request to IAM's questions, and from their answers to AWS's refusals (facts IAM-6, IAM-9,
//! IAM-10; decision 0029, docs/flows/request-to-decision.md).
//!
//! `actions.txt` says which action each operation is and what it is about; `model::iam::evaluation` decides. Called by the
//! endpoint once for each call where the region enforces, by the registry for what has no operation, and for the host
//! before it starts a task. What must stay true: an operation that the table does not have is refused to everybody but the
//! root, and a test sees to it that there is none; what is judged is what the handlers act on.

pub mod explanation;
mod input;
mod inquiry;
mod message;
mod refusal;
mod resources;
mod table;
mod template;
#[cfg(test)]
mod tests;

pub use input::Input;
pub use inquiry::answer as answer_inquiry;
pub use message::{decoded, encoded};
pub use refusal::refusal;
pub use resources::known;

use crate::model::iam::evaluation::{
    Conditions, Decision, Grants, Party, PartyKind, Policy, PolicyKind, Resource, Verdict, judge,
};
use fogbank_types::ec2::VpcEndpoint;
use fogbank_types::{Scope, Snapshot, Timestamp, VpcEndpointId};
use fogbank_wire::{Operation, Service, Value, iso8601};
use std::net::IpAddr;
use table::Also;
use template::{Asked, Template};

/// How a call came in.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    pub address: Option<IpAddr>,
    pub is_tls: bool,
    pub user_agent: Option<String>,
    /// The interface endpoint that it came through.
    pub endpoint: Option<VpcEndpointId>,
    /// When the caller's temporary credentials were made.
    pub token_issued_at: Option<Timestamp>,
}

impl Origin {
    fn endpoint<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a VpcEndpoint> {
        let id = self.endpoint.as_ref()?;
        let mut all = snapshot.vpc_endpoints.all();
        all.find(|row| row.vpc_endpoint_id == *id).map(|row| &**row)
    }
}

/// A call to be judged.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    pub operation: &'static Operation,
    pub input: &'a Value,
    /// The region called.
    pub region: &'a str,
    pub party: &'a Party,
    pub origin: &'a Origin,
    pub now: Timestamp,
}

/// One action on some resources, with the condition keys that are its own.
#[derive(Debug, Clone)]
pub struct Demand {
    pub action: String,
    pub resources: Vec<String>,
    pub keys: Conditions,
}

/// All that a call asks for; `None`: the table does not have it.
pub fn demands(snapshot: &Snapshot, question: &Question) -> Option<Vec<Demand>> {
    let Question {
        operation, party, ..
    } = *question;
    let row = table::row(operation.service, operation.name)?;
    let scope = Scope::new(&party.account, question.region);
    let input = Input::new(operation.input, question.input);
    let asked = Asked {
        snapshot,
        scope: &scope,
        input,
        user: match &party.kind {
            PartyKind::User { name } => Some(name),
            _ => None,
        },
    };
    let fill = |templates: &[Template]| -> Vec<String> {
        templates.iter().flat_map(|t| t.fill(&asked)).collect()
    };
    let mut demands = Vec::new();
    if let Some(action) = &row.action {
        demands.push(Demand {
            action: action.clone(),
            resources: fill(&row.resources),
            keys: Conditions::default(),
        });
    }
    for also in &row.also {
        match also {
            Also::Action {
                field,
                action,
                resources,
            } if input.has(field) => {
                let resources = fill(resources);
                // A service's use of the caller's keys, if there are any.
                let is_for_keys = action.starts_with("kms:") && operation.service != Service::Kms;
                if is_for_keys && resources.is_empty() {
                    continue;
                }
                let mut keys = Conditions::default();
                if is_for_keys {
                    let service = operation.service.schema().signing_name;
                    let through = format!("{service}.{}.amazonaws.com", question.region);
                    keys.set("kms:ViaService", through);
                    keys.set("kms:CallerAccount", party.account.as_str());
                }
                demands.push(Demand {
                    action: action.clone(),
                    resources,
                    keys,
                });
            }
            Also::PassRole {
                field,
                role,
                service,
            } if input.has(field) => {
                let roles = role.fill(&asked);
                let mut keys = Conditions::default();
                keys.set("iam:PassedToService", service.as_str());
                demands.extend(roles.iter().map(|role| Demand {
                    action: "iam:PassRole".to_owned(),
                    resources: vec![template::role_arn(role, &asked)],
                    keys: keys.clone(),
                }));
            }
            _ => {}
        }
    }
    // Tags of what EC2 makes.
    for (kind, _) in input.tag_specifications() {
        let mut keys = Conditions::default();
        keys.set("ec2:CreateAction", operation.name);
        demands.push(Demand {
            action: "ec2:CreateTags".to_owned(),
            resources: vec![scope.arn("ec2", &format!("{kind}/*"))],
            keys,
        });
    }
    Some(demands)
}

/// What every request says of itself, whatever it is for.
fn common(
    snapshot: &Snapshot,
    party: &Party,
    origin: &Origin,
    region: &str,
    now: Timestamp,
) -> Conditions {
    let mut conditions = party.conditions();
    conditions.set("aws:CurrentTime", iso8601(now));
    conditions.set("aws:EpochTime", now.0.div_euclid(1000).to_string());
    conditions.set("aws:SecureTransport", origin.is_tls.to_string());
    conditions.set("aws:RequestedRegion", region);
    conditions.set("aws:ViaAWSService", "false");
    if let Some(agent) = &origin.user_agent {
        conditions.set("aws:UserAgent", agent.as_str());
    }
    if let Some(issued) = origin.token_issued_at {
        conditions.set("aws:TokenIssueTime", iso8601(issued));
        conditions.set("aws:MultiFactorAuthPresent", "false");
    }
    match (origin.endpoint(snapshot), origin.address) {
        // A private address is none of the internet's: the key is missing then, as on AWS.
        (Some(endpoint), address) => {
            conditions.set("aws:SourceVpce", endpoint.vpc_endpoint_id.to_string());
            conditions.set("aws:SourceVpc", endpoint.vpc_id.to_string());
            if let Some(address) = address {
                conditions.set("aws:VpcSourceIp", address.to_string());
            }
        }
        (None, Some(address)) if origin.endpoint.is_none() => {
            conditions.set("aws:SourceIp", address.to_string());
        }
        _ => {}
    }
    conditions
}

/// What the request says of itself.
fn conditions(snapshot: &Snapshot, question: &Question) -> Conditions {
    let Question {
        operation,
        party,
        origin,
        now,
        region,
        ..
    } = *question;
    let mut conditions = common(snapshot, party, origin, region, now);
    let input = Input::new(operation.input, question.input);
    for (key, value) in input.tags() {
        conditions.set(&format!("aws:RequestTag/{key}"), value);
    }
    let keys = input.tag_keys();
    if !keys.is_empty() {
        conditions.set_list("aws:TagKeys", keys);
    }
    if operation.service == Service::Ec2 {
        conditions.set("ec2:Region", region);
    }
    if operation.service == Service::Kms {
        kms_conditions(&mut conditions, input, &party.account);
    }
    let scope = Scope::new(&party.account, region);
    let asked = Asked {
        snapshot,
        scope: &scope,
        input,
        user: None,
    };
    let row = table::row(operation.service, operation.name);
    for (key, template) in row.iter().flat_map(|row| &row.keys) {
        let values = template.fill(&asked);
        if !values.is_empty() {
            conditions.set_list(key, values);
        }
    }
    conditions
}

/// Encryption contexts, and who calls.
/// <https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html>
fn kms_conditions(conditions: &mut Conditions, input: Input, account: &str) {
    conditions.set("kms:CallerAccount", account);
    let names = ["EncryptionContext", "SourceEncryptionContext"];
    let pairs: Vec<_> = names.iter().flat_map(|name| input.map(name)).collect();
    for (key, value) in &pairs {
        conditions.set(&format!("kms:EncryptionContext:{key}"), value.as_str());
    }
    if !pairs.is_empty() {
        let keys: Vec<String> = pairs.into_iter().map(|(key, _)| key).collect();
        conditions.set_list("kms:EncryptionContextKeys", keys);
    }
    let algorithms = input.texts("EncryptionAlgorithm");
    if let Some(algorithm) = algorithms.into_iter().next() {
        conditions.set("kms:EncryptionAlgorithm", algorithm);
    }
}

/// The caller's policies, and that of the endpoint that the call came through.
fn grants(snapshot: &Snapshot, party: &Party, origin: &Origin) -> Grants {
    let mut grants = Grants::of(snapshot, party);
    if let Some(id) = &origin.endpoint {
        let policy = |row: &VpcEndpoint| {
            let (kind, text) = (PolicyKind::Endpoint, &row.policy_document);
            Policy::new(kind, "policy", id.to_string(), text)
        };
        // Of one that is gone meanwhile nothing is known: nothing goes through it.
        grants.endpoint = Some(origin.endpoint(snapshot).map(policy).into_iter().collect());
    }
    grants
}

/// Whether the call may be made: the first refusal, or what is said of its first action. `None`: it needs no permission.
pub fn decide(snapshot: &Snapshot, question: &Question) -> Option<Decision> {
    let party = question.party;
    let grants = grants(snapshot, party, question.origin);
    let Some(demands) = demands(snapshot, question) else {
        return Some(unknown(question));
    };
    let scope = Scope::new(&party.account, question.region);
    let base = conditions(snapshot, question);
    let mut first = None;
    for demand in demands {
        let mut conditions = base.clone();
        conditions.extend(demand.keys);
        let arns = if demand.resources.is_empty() {
            vec!["*".to_owned()]
        } else {
            demand.resources
        };
        for arn in arns {
            let resource = resource(snapshot, &scope, &demand.action, &arn);
            let decision = judge(&grants, party, &demand.action, &resource, &conditions);
            if !decision.is_allowed() {
                return Some(decision);
            }
            first.get_or_insert(decision);
        }
    }
    first
}

/// One action on one resource, beside what a call's operation asks for: of the registry, which has none, and of what a
/// request does not name. `scope`: the account called and the region.
pub fn judge_one(
    snapshot: &Snapshot,
    scope: &Scope,
    party: &Party,
    origin: &Origin,
    now: Timestamp,
    action: &str,
    arn: &str,
) -> Decision {
    let conditions = common(snapshot, party, origin, &scope.region, now);
    let own = Scope::new(&party.account, &scope.region);
    let resource = known(snapshot, &own, arn);
    judge(
        &grants(snapshot, party, origin),
        party,
        action,
        &resource,
        &conditions,
    )
}

/// What is known of a resource, with the trust policy of a role that is to be assumed. A role that is not there trusts
/// nobody, and who asks is told no more.
pub fn resource(snapshot: &Snapshot, scope: &Scope, action: &str, arn: &str) -> Resource {
    let resource = known(snapshot, scope, arn);
    if !action.to_ascii_lowercase().starts_with("sts:") || arn == "*" {
        return resource;
    }
    let owner = Scope::new(
        resource.account.as_deref().unwrap_or(&scope.account),
        "global",
    );
    let name = arn.rsplit('/').next().unwrap_or(arn);
    let role = snapshot
        .roles
        .get(&owner, name)
        .filter(|role| role.arn == arn);
    let trust = role.map_or(r#"{"Statement":[]}"#, |role| {
        role.assume_role_policy.as_str()
    });
    resource.with_policy(trust, true)
}

/// An operation that the table does not have: nobody could have allowed it.
fn unknown(question: &Question) -> Decision {
    let is_root = question.party.kind == PartyKind::Root;
    let operation = question.operation;
    tracing::error!(
        ?operation,
        "actions.txt has no row of an operation that is served"
    );
    Decision {
        action: format!(
            "{}:{}",
            operation.service.schema().signing_name,
            operation.name
        ),
        resource: "*".to_owned(),
        verdict: if is_root {
            Verdict::Allowed
        } else {
            Verdict::ImplicitDeny(PolicyKind::Identity)
        },
        weights: Vec::new(),
        is_root,
        is_cross_account: false,
    }
}
