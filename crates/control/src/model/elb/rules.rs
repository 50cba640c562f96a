//! Rules of listeners (facts LST-2, LST-3). The default rule is no row: it stands in its listener.

use super::arns::FoundRule;
use super::{Refusal, actions, arns, conditions, invalid, limits, tags};
use crate::model::tx::Tx;
use fogbank_types::elb::{Action, Condition, Listener, ListenerRule, LoadBalancer};
use fogbank_types::{Scope, Snapshot, Tags};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a caller wants.
#[derive(Clone, Debug)]
pub struct NewRule {
    pub listener_arn: String,
    pub priority: u32,
    pub conditions: Vec<Condition>,
    pub actions: Vec<Action>,
    pub tags: Tags,
}

/// The rules of a listener by ascending priority, without the default rule.
pub fn of_listener(
    snapshot: &Snapshot,
    scope: &Scope,
    listener_arn: &str,
) -> Vec<Arc<ListenerRule>> {
    let prefix = arns::rules_prefix(listener_arn);
    let mut rules: Vec<_> = snapshot
        .listener_rules
        .with_prefix(scope, &prefix)
        .cloned()
        .collect();
    rules.sort_by_key(|rule| rule.priority);
    rules
}

pub fn create(tx: &mut Tx, scope: &Scope, new: NewRule) -> Result<ListenerRule, Refusal> {
    let listener = Listener::clone(arns::find_listener(
        tx.snapshot(),
        scope,
        &new.listener_arn,
    )?);
    check_priority(new.priority)?;
    tags::check(&new.tags, &listener.arn)?;
    let rules = of_listener(tx.snapshot(), scope, &listener.arn);
    if rules.iter().any(|rule| rule.priority == new.priority) {
        return Err(Refusal::PriorityInUse(new.priority));
    }
    let load_balancer_rules = format!(
        "{}/",
        listener
            .load_balancer_arn
            .replacen(":loadbalancer/", ":listener-rule/", 1)
    );
    let all = tx
        .snapshot()
        .listener_rules
        .with_prefix(scope, &load_balancer_rules);
    if all.count() >= limits::RULES_PER_LOAD_BALANCER {
        return Err(Refusal::TooManyRules(listener.load_balancer_arn));
    }
    conditions::check(&new.conditions)?;
    check_actions(tx, scope, &listener, &new.actions)?;
    let tail = tx.hex(16);
    let row = ListenerRule {
        transforms: Vec::new(),
        scope: scope.clone(),
        arn: arns::rule(&listener.arn, &tail),
        listener_arn: listener.arn,
        priority: new.priority,
        conditions: new.conditions,
        actions: new.actions,
        created_at: tx.now(),
        tags: new.tags,
    };
    tx.put(row.clone());
    Ok(row)
}

fn check_priority(priority: u32) -> Result<(), Refusal> {
    if (1..=50_000).contains(&priority) {
        Ok(())
    } else {
        Err(invalid(format!(
            "Priority '{priority}' must be between '1' and '50000' inclusive"
        )))
    }
}

fn check_actions(
    tx: &Tx,
    scope: &Scope,
    listener: &Listener,
    actions: &[Action],
) -> Result<(), Refusal> {
    let arn = &listener.load_balancer_arn;
    let load_balancer: &LoadBalancer = arns::find_load_balancer(tx.snapshot(), scope, arn)?;
    actions::check(tx, load_balancer, listener.port, actions)
}

/// Only what is named changes. The default rule changes with its listener.
pub fn modify(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    conditions: Option<Vec<Condition>>,
    actions: Option<Vec<Action>>,
) -> Result<ListenerRule, Refusal> {
    let mut row = own_rule(tx, scope, arn, "modified")?;
    if let Some(conditions) = conditions {
        conditions::check(&conditions)?;
        row.conditions = conditions;
    }
    if let Some(actions) = actions {
        let listener = Listener::clone(arns::find_listener(
            tx.snapshot(),
            scope,
            &row.listener_arn,
        )?);
        check_actions(tx, scope, &listener, &actions)?;
        row.actions = actions;
    }
    tx.put(row.clone());
    Ok(row)
}

pub fn delete(tx: &mut Tx, scope: &Scope, arn: &str) -> Result<(), Refusal> {
    own_rule(tx, scope, arn, "deleted")?;
    tx.delete::<ListenerRule>(scope, arn);
    Ok(())
}

fn own_rule(tx: &Tx, scope: &Scope, arn: &str, done: &str) -> Result<ListenerRule, Refusal> {
    match arns::find_rule(tx.snapshot(), scope, arn)? {
        FoundRule::Rule(rule) => Ok(ListenerRule::clone(rule)),
        FoundRule::Default(_) => Err(Refusal::OperationNotPermitted(format!(
            "Default rule '{arn}' cannot be {done}"
        ))),
    }
}

/// Gives all the rules their new priorities at once, so that two may swap.
pub fn set_priorities(
    tx: &mut Tx,
    scope: &Scope,
    pairs: &[(String, u32)],
) -> Result<Vec<ListenerRule>, Refusal> {
    if pairs.is_empty() {
        return Err(invalid("At least one rule priority must be specified"));
    }
    let mut moved: Vec<ListenerRule> = Vec::new();
    for (arn, priority) in pairs {
        check_priority(*priority)?;
        let mut row = own_rule(tx, scope, arn, "assigned a priority")?;
        if moved.iter().any(|other| other.arn == row.arn) {
            return Err(invalid(format!("Rule '{arn}' is specified more than once")));
        }
        if moved
            .iter()
            .any(|other| other.listener_arn != row.listener_arn)
        {
            return Err(invalid("All rules must belong to the same listener"));
        }
        row.priority = *priority;
        moved.push(row);
    }
    let mut used: BTreeSet<u32> = of_listener(tx.snapshot(), scope, &moved[0].listener_arn)
        .iter()
        .filter(|rule| moved.iter().all(|m| m.arn != rule.arn))
        .map(|rule| rule.priority)
        .collect();
    if let Some(taken) = moved.iter().find(|rule| !used.insert(rule.priority)) {
        return Err(Refusal::PriorityInUse(taken.priority));
    }
    for rule in &moved {
        tx.put(rule.clone());
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Region, fixed_response};
    use super::*;

    fn path(pattern: &str) -> Vec<Condition> {
        vec![Condition::PathPattern(vec![pattern.to_owned()])]
    }

    #[test]
    fn priorities_are_unique_and_order_the_rules() {
        let mut region = Region::new();
        let scope = region.scope.clone();
        let lb = region.load_balancer("api");
        let listener = region.listener(&lb.arn, 80);
        for priority in [30, 10, 20] {
            region.rule(&listener.arn, priority);
        }
        let order: Vec<_> = of_listener(region.tx.snapshot(), &scope, &listener.arn)
            .iter()
            .map(|rule| rule.priority)
            .collect();
        assert_eq!(order, [10, 20, 30]);
        let mut new = NewRule {
            listener_arn: listener.arn.clone(),
            priority: 10,
            conditions: path("/"),
            actions: vec![fixed_response(200)],
            tags: Tags::new(),
        };
        assert_eq!(
            create(&mut region.tx, &scope, new.clone()),
            Err(Refusal::PriorityInUse(10))
        );
        for bad in [0, 50_001] {
            new.priority = bad;
            assert!(create(&mut region.tx, &scope, new.clone()).is_err());
        }
    }

    #[test]
    fn two_rules_may_swap_but_not_share() {
        let mut region = Region::new();
        let scope = region.scope.clone();
        let lb = region.load_balancer("api");
        let listener = region.listener(&lb.arn, 80);
        let [a, b, c] = [1, 2, 3].map(|p| region.rule(&listener.arn, p).arn);
        let swapped = set_priorities(&mut region.tx, &scope, &[(a.clone(), 2), (b.clone(), 1)]);
        assert_eq!(swapped.unwrap().len(), 2);
        for bad in [
            vec![(a.clone(), 3)],
            vec![(a.clone(), 9), (b.clone(), 9)],
            vec![(a.clone(), 8), (a.clone(), 9)],
            vec![(a.clone(), 0)],
            vec![],
            vec![(arns::default_rule(&listener.arn), 5)],
        ] {
            assert!(
                set_priorities(&mut region.tx, &scope, &bad).is_err(),
                "{bad:?}"
            );
        }
        let priority = |arn: &str| {
            region
                .tx
                .snapshot()
                .listener_rules
                .get(&scope, arn)
                .unwrap()
                .priority
        };
        assert_eq!([priority(&a), priority(&b), priority(&c)], [2, 1, 3]);
    }

    #[test]
    fn the_default_rule_stays() {
        let mut region = Region::new();
        let scope = region.scope.clone();
        let lb = region.load_balancer("api");
        let listener = region.listener(&lb.arn, 80);
        let default = arns::default_rule(&listener.arn);
        let deleted = delete(&mut region.tx, &scope, &default);
        assert!(matches!(deleted, Err(Refusal::OperationNotPermitted(_))));
        let modified = modify(&mut region.tx, &scope, &default, None, None);
        assert!(matches!(modified, Err(Refusal::OperationNotPermitted(_))));
        let other = arns::rule(&listener.arn, "0123456789abcdef");
        assert_eq!(
            delete(&mut region.tx, &scope, &other),
            Err(Refusal::RuleNotFound)
        );
    }

    #[test]
    fn modify_changes_only_what_is_named() {
        let mut region = Region::new();
        let scope = region.scope.clone();
        let lb = region.load_balancer("api");
        let listener = region.listener(&lb.arn, 80);
        let rule = region.rule(&listener.arn, 1);
        let after = modify(&mut region.tx, &scope, &rule.arn, Some(path("/b")), None).unwrap();
        assert_eq!(
            (after.conditions, after.actions),
            (path("/b"), rule.actions)
        );
        let refused = modify(&mut region.tx, &scope, &rule.arn, Some(vec![]), None);
        assert!(refused.is_err());
        let refused = modify(&mut region.tx, &scope, &rule.arn, None, Some(vec![]));
        assert!(refused.is_err());
    }
}
