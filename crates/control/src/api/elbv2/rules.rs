//! Rules of listeners; the default rule is listed last.

use super::{actions, conditions, page, transforms};
use crate::api::{ApiError, Context};
use crate::model::elb::arns::{self, FoundRule};
use crate::model::elb::rules::{self, NewRule, RuleChange};
use crate::model::elb::{Refusal, invalid, tags};
use fogbank_types::elb::{ListenerRule, Transform};
use fogbank_types::{Scope, Snapshot};
use fogbank_wire::elbv2::*;

pub fn create(context: &Context, input: CreateRuleInput) -> Result<CreateRuleOutput, ApiError> {
    let pairs = input.tags.unwrap_or_default().into_iter();
    let new = NewRule {
        listener_arn: input.listener_arn,
        priority: priority(input.priority)?,
        conditions: conditions::parse(input.conditions)?,
        actions: actions::parse(input.actions)?,
        transforms: transforms::parse(input.transforms.unwrap_or_default())?,
        tags: tags::collect(pairs.map(|tag| (tag.key, tag.value.unwrap_or_default())))?,
    };
    let scope = context.scope();
    let row = context.write(|tx| Ok(rules::create(tx, &scope, new.clone())?))?;
    Ok(CreateRuleOutput {
        rules: Some(vec![render(&row)]),
    })
}

fn priority(number: i32) -> Result<u32, Refusal> {
    u32::try_from(number).map_err(|_| {
        invalid(format!(
            "Priority '{number}' must be between '1' and '50000' inclusive"
        ))
    })
}

/// The whole set of transforms, or that there shall be none.
fn changed_transforms(
    wanted: Option<Vec<RuleTransform>>,
    reset: Option<bool>,
) -> Result<Option<Vec<Transform>>, Refusal> {
    let wanted = wanted.filter(|wanted| !wanted.is_empty());
    match (wanted, reset == Some(true)) {
        (Some(_), true) => Err(invalid(
            "You cannot specify both transforms and ResetTransforms",
        )),
        (Some(wanted), false) => transforms::parse(wanted).map(Some),
        (None, true) => Ok(Some(Vec::new())),
        (None, false) => Ok(None),
    }
}

pub fn describe(
    context: &Context,
    input: DescribeRulesInput,
) -> Result<DescribeRulesOutput, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let rules = select(&snapshot, &scope, &input)?;
    let key = |rule: &Rule| rule.rule_arn.clone().unwrap_or_default();
    let keyed: Vec<(String, Rule)> = rules.into_iter().map(|rule| (key(&rule), rule)).collect();
    let (keyed, next_marker) = page::cut(
        keyed,
        |(key, _)| key,
        input.marker.as_deref(),
        input.page_size,
    )?;
    let rules = Some(keyed.into_iter().map(|(_, rule)| rule).collect());
    Ok(DescribeRulesOutput { rules, next_marker })
}

fn select(
    snapshot: &Snapshot,
    scope: &Scope,
    input: &DescribeRulesInput,
) -> Result<Vec<Rule>, Refusal> {
    let arns = input.rule_arns.as_deref().filter(|arns| !arns.is_empty());
    match (&input.listener_arn, arns) {
        (Some(listener_arn), None) => {
            let listener = arns::find_listener(snapshot, scope, listener_arn)?;
            let rows = rules::of_listener(snapshot, scope, listener_arn);
            let mut all: Vec<Rule> = rows.iter().map(|row| render(row)).collect();
            all.push(render_default(listener));
            Ok(all)
        }
        (None, Some(arns)) => arns
            .iter()
            .map(|arn| {
                Ok(match arns::find_rule(snapshot, scope, arn)? {
                    FoundRule::Rule(row) => render(row),
                    FoundRule::Default(listener) => render_default(listener),
                })
            })
            .collect(),
        _ => Err(invalid(
            "You must specify either listener rule ARNs or a listener ARN",
        )),
    }
}

pub fn modify(context: &Context, input: ModifyRuleInput) -> Result<ModifyRuleOutput, ApiError> {
    let change = RuleChange {
        conditions: input.conditions.map(conditions::parse).transpose()?,
        actions: input.actions.map(actions::parse).transpose()?,
        transforms: changed_transforms(input.transforms, input.reset_transforms)?,
    };
    let (scope, arn) = (context.scope(), input.rule_arn);
    let row = context.write(|tx| Ok(rules::modify(tx, &scope, &arn, change.clone())?))?;
    Ok(ModifyRuleOutput {
        rules: Some(vec![render(&row)]),
    })
}

pub fn set_priorities(
    context: &Context,
    input: SetRulePrioritiesInput,
) -> Result<SetRulePrioritiesOutput, ApiError> {
    let pair = |pair: RulePriorityPair| {
        let arn = pair
            .rule_arn
            .ok_or_else(|| invalid("A rule ARN must be specified"))?;
        let number = pair
            .priority
            .ok_or_else(|| invalid("A rule priority must be specified"))?;
        Ok((arn, priority(number)?))
    };
    let pairs: Vec<_> = input
        .rule_priorities
        .into_iter()
        .map(pair)
        .collect::<Result<_, Refusal>>()?;
    let scope = context.scope();
    let rows = context.write(|tx| Ok(rules::set_priorities(tx, &scope, &pairs)?))?;
    Ok(SetRulePrioritiesOutput {
        rules: Some(rows.iter().map(render).collect()),
    })
}

pub fn delete(context: &Context, input: DeleteRuleInput) -> Result<DeleteRuleOutput, ApiError> {
    let (scope, arn) = (context.scope(), input.rule_arn);
    context.write(|tx| Ok(rules::delete(tx, &scope, &arn)?))?;
    Ok(DeleteRuleOutput {})
}

fn render(row: &ListenerRule) -> Rule {
    Rule {
        actions: Some(actions::render(&row.actions)),
        conditions: Some(conditions::render(&row.conditions)),
        is_default: Some(false),
        priority: Some(row.priority.to_string()),
        rule_arn: Some(row.arn.clone()),
        transforms: Some(transforms::render(&row.transforms)),
    }
}

fn render_default(listener: &fogbank_types::elb::Listener) -> Rule {
    Rule {
        actions: Some(actions::render(&listener.default_actions)),
        conditions: Some(Vec::new()),
        is_default: Some(true),
        priority: Some("default".to_owned()),
        rule_arn: Some(arns::default_rule(&listener.arn)),
        transforms: Some(Vec::new()),
    }
}
