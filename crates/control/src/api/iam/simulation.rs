//! The policy simulator's operations.

use super::scope;
use crate::api::{ApiError, Context};
use crate::model::iam::Refusal;
use crate::model::iam::evaluation::decision::Matched;
use crate::model::iam::evaluation::place::Position;
use crate::model::iam::evaluation::{Conditions, Decision, PolicyKind, Verdict};
use crate::model::iam::simulation::{self, Answer, Question};
use fogbank_wire::iam as wire;
use std::collections::BTreeMap;

/// Results of a page unless told otherwise.
const PAGE: usize = 100;

pub fn principal(
    context: &Context,
    request: wire::SimulatePrincipalPolicyRequest,
) -> Result<wire::SimulatePolicyResponse, ApiError> {
    let question = Question {
        actions: request.action_names,
        resources: request.resource_arns.unwrap_or_default(),
        policies: request.policy_input_list.unwrap_or_default(),
        boundary: request
            .permissions_boundary_policy_input_list
            .unwrap_or_default(),
        resource_policy: request.resource_policy,
        resource_owner: request.resource_owner,
        caller: request.caller_arn,
        context: entries(request.context_entries),
    };
    let source = Some(request.policy_source_arn.as_str());
    answer(
        context,
        source,
        &question,
        request.marker,
        request.max_items,
    )
}

pub fn custom(
    context: &Context,
    request: wire::SimulateCustomPolicyRequest,
) -> Result<wire::SimulatePolicyResponse, ApiError> {
    let question = Question {
        actions: request.action_names,
        resources: request.resource_arns.unwrap_or_default(),
        policies: request.policy_input_list,
        boundary: request
            .permissions_boundary_policy_input_list
            .unwrap_or_default(),
        resource_policy: request.resource_policy,
        resource_owner: request.resource_owner,
        caller: request.caller_arn,
        context: entries(request.context_entries),
    };
    answer(context, None, &question, request.marker, request.max_items)
}

pub fn principal_keys(
    context: &Context,
    request: wire::GetContextKeysForPrincipalPolicyRequest,
) -> Result<wire::GetContextKeysForPolicyResponse, ApiError> {
    let policies = request.policy_input_list.unwrap_or_default();
    keys(context, Some(&request.policy_source_arn), policies)
}

pub fn custom_keys(
    context: &Context,
    request: wire::GetContextKeysForCustomPolicyRequest,
) -> Result<wire::GetContextKeysForPolicyResponse, ApiError> {
    keys(context, None, request.policy_input_list)
}

fn keys(
    context: &Context,
    source: Option<&str>,
    policies: Vec<String>,
) -> Result<wire::GetContextKeysForPolicyResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), scope(context));
    let keys = simulation::context_keys(&snapshot, &scope, source, policies)?;
    Ok(wire::GetContextKeysForPolicyResponse {
        context_key_names: Some(keys.into_iter().collect()),
    })
}

fn entries(given: Option<Vec<wire::ContextEntry>>) -> Conditions {
    let mut conditions = Conditions::default();
    for entry in given.unwrap_or_default() {
        let values = entry.context_key_values.unwrap_or_default();
        conditions.set_list(&entry.context_key_name.unwrap_or_default(), values);
    }
    conditions
}

fn answer(
    context: &Context,
    source: Option<&str>,
    question: &Question,
    marker: Option<String>,
    max_items: Option<i32>,
) -> Result<wire::SimulatePolicyResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), scope(context));
    let answers = simulation::simulate(&snapshot, &scope, source, question)?;
    let start = match marker {
        None => 0,
        Some(marker) => marker
            .parse()
            .map_err(|_| Refusal::InvalidInput("Invalid Marker.".to_owned()))?,
    };
    let count = max_items.map_or(PAGE, |max| usize::try_from(max).unwrap_or(PAGE).max(1));
    let end = answers.len().min(start + count);
    let is_truncated = end < answers.len();
    let has_resources = !question.resources.is_empty();
    let page = answers.get(start..end).unwrap_or_default();
    Ok(wire::SimulatePolicyResponse {
        evaluation_results: Some(page.iter().map(|a| show(a, has_resources)).collect()),
        is_truncated: Some(is_truncated),
        marker: is_truncated.then(|| end.to_string()),
    })
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allowed => "allowed",
        Verdict::ExplicitDeny(_) => "explicitDeny",
        Verdict::ImplicitDeny(_) => "implicitDeny",
    }
}

fn show(answer: &Answer, has_resources: bool) -> wire::EvaluationResult {
    let decision = &answer.decision;
    let matched: Vec<_> = decision.matched().into_iter().map(statement).collect();
    let boundary = answer
        .within_boundary
        .map(|within| wire::PermissionsBoundaryDecisionDetail {
            allowed_by_permissions_boundary: Some(within),
        });
    let details = decision.is_cross_account.then(|| sides(decision));
    let specific = wire::ResourceSpecificResult {
        eval_resource_name: decision.resource.clone(),
        eval_resource_decision: word(decision.verdict).to_owned(),
        matched_statements: Some(matched.clone()),
        missing_context_values: Some(answer.missing.clone()),
        eval_decision_details: details.clone(),
        permissions_boundary_decision_detail: boundary.clone(),
    };
    wire::EvaluationResult {
        eval_action_name: decision.action.clone(),
        eval_resource_name: Some(decision.resource.clone()),
        eval_decision: word(decision.verdict).to_owned(),
        matched_statements: Some(matched),
        missing_context_values: Some(answer.missing.clone()),
        organizations_decision_detail: None,
        permissions_boundary_decision_detail: boundary,
        eval_decision_details: details,
        resource_specific_results: has_resources.then(|| vec![specific]),
    }
}

/// What each account's policies say, where they are two.
fn sides(decision: &Decision) -> BTreeMap<String, String> {
    let side = |kind| match decision.weight(kind) {
        Some(weight) if !weight.denies.is_empty() => "explicitDeny",
        Some(weight) if !weight.allows.is_empty() => "allowed",
        _ => "implicitDeny",
    };
    let named = [
        ("IAM Policy", PolicyKind::Identity),
        ("Resource Policy", PolicyKind::Resource),
    ];
    let all = named.map(|(name, kind)| (name.to_owned(), side(kind).to_owned()));
    BTreeMap::from(all)
}

fn statement(matched: &Matched) -> wire::Statement {
    let position = |at: Position| wire::Position {
        line: Some(at.line as i32),
        column: Some(at.column as i32),
    };
    let kind = match matched.source.kind {
        PolicyKind::Resource => "Resource Policy",
        PolicyKind::Boundary => "IAM Permissions Boundary Policy",
        _ => "IAM Policy",
    };
    wire::Statement {
        source_policy_id: Some(matched.source.id.clone()),
        source_policy_type: Some(kind.to_owned()),
        start_position: Some(position(matched.place.start)),
        end_position: Some(position(matched.place.end)),
    }
}
