//! What EC2 adds to its refusals for those who may read it, and what sts:DecodeAuthorizationMessage reads.
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_DecodeAuthorizationMessage.html>

use super::{Question, conditions, known};
use crate::model::iam::evaluation::decision::Matched;
use crate::model::iam::evaluation::{Decision, PartyKind, Verdict};
use fogbank_pki::Sessions;
use fogbank_types::{Scope, Snapshot};
use serde_json::{Value, json};

const PURPOSE: &str = "authorization message";

/// Why the call is refused, for nobody but the region to read.
pub fn encoded(
    sessions: &Sessions,
    snapshot: &Snapshot,
    question: &Question,
    decision: &Decision,
) -> Option<String> {
    let told = told(snapshot, question, decision).to_string();
    sessions.hide(PURPOSE, told.as_bytes())
}

/// What such a message says; `None`: it is none of this region's.
pub fn decoded(sessions: &Sessions, message: &str) -> Option<String> {
    String::from_utf8(sessions.reveal(PURPOSE, message)?).ok()
}

fn told(snapshot: &Snapshot, question: &Question, decision: &Decision) -> Value {
    let party = question.party;
    let scope = Scope::new(&party.account, question.region);
    let mut conditions = conditions(snapshot, question);
    conditions.extend(known(snapshot, &scope, &decision.resource).conditions);
    let name = match &party.kind {
        PartyKind::User { name } => name.as_str(),
        PartyKind::Session { .. } => party.arn.rsplit('/').next().unwrap_or_default(),
        PartyKind::Root | PartyKind::Service => "",
    };
    let denies = decision
        .weights
        .iter()
        .flat_map(|(_, weight)| &weight.denies);
    json!({
        "allowed": decision.is_allowed(),
        "explicitDeny": matches!(decision.verdict, Verdict::ExplicitDeny(_)),
        "matchedStatements": items(denies.map(statement)),
        "failures": items([]),
        "context": {
            "principal": {"id": party.unique_id, "name": name, "arn": party.arn},
            "action": decision.action,
            "resource": decision.resource,
            "conditions": items(conditions.sorted().into_iter().map(|(key, values)| {
                let values = values.iter().map(|value| json!({"value": value}));
                json!({"key": key, "values": items(values)})
            })),
        },
    })
}

fn items(all: impl IntoIterator<Item = Value>) -> Value {
    json!({"items": all.into_iter().collect::<Vec<_>>()})
}

fn statement(matched: &Matched) -> Value {
    json!({
        "statementId": matched.sid.as_deref().unwrap_or(""),
        "effect": "DENY",
        "sourcePolicyId": matched.source.id,
    })
}
