//! Rules of listeners (facts LST-2, LST-3). The default rule is no row: it stands in its listener.

use super::arns::FoundRule;
use super::{
    Refusal, actions, arns, authentication, conditions, invalid, limits, tags, transforms,
};
use crate::model::tx::Tx;
use fogbank_types::elb::{Action, Condition, Listener, ListenerRule, LoadBalancer, Transform};
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
    pub transforms: Vec<Transform>,
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
    if all.count() >= limits::Limits::of(tx.config()).rules_per_load_balancer {
        return Err(Refusal::TooManyRules(listener.load_balancer_arn));
    }
    conditions::check(limits::Limits::of(tx.config()), &new.conditions)?;
    transforms::check(&new.transforms)?;
    check_actions(tx, scope, &listener, &new.actions)?;
    let tail = tx.hex(16);
    let row = ListenerRule {
        scope: scope.clone(),
        arn: arns::rule(&listener.arn, &tail),
        listener_arn: listener.arn,
        priority: new.priority,
        conditions: new.conditions,
        actions: new.actions,
        transforms: new.transforms,
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
    let place = actions::Place {
        load_balancer,
        port: listener.port,
        protocol: &listener.protocol,
    };
    actions::check(tx, place, actions)
}

/// What a caller names of a rule; the rest stays.
#[derive(Clone, Debug, Default)]
pub struct RuleChange {
    pub conditions: Option<Vec<Condition>>,
    pub actions: Option<Vec<Action>>,
    /// The whole set; an empty one removes them.
    pub transforms: Option<Vec<Transform>>,
}

/// Only what is named changes. The default rule changes with its listener.
pub fn modify(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    change: RuleChange,
) -> Result<ListenerRule, Refusal> {
    let mut row = own_rule(tx, scope, arn, "modified")?;
    if let Some(transforms) = change.transforms {
        transforms::check(&transforms)?;
        row.transforms = transforms;
    }
    if let Some(conditions) = change.conditions {
        conditions::check(limits::Limits::of(tx.config()), &conditions)?;
        row.conditions = conditions;
    }
    if let Some(mut actions) = change.actions {
        authentication::keep_secrets(&row.actions, &mut actions);
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
    use fogbank_types::elb::Rewrite;

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
            transforms: Vec::new(),
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
        let modified = modify(&mut region.tx, &scope, &default, RuleChange::default());
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
        let conditions = |conditions| RuleChange {
            conditions: Some(conditions),
            ..RuleChange::default()
        };
        let after = modify(&mut region.tx, &scope, &rule.arn, conditions(path("/b"))).unwrap();
        assert_eq!(
            (after.conditions, after.actions),
            (path("/b"), rule.actions)
        );
        let refused = modify(&mut region.tx, &scope, &rule.arn, conditions(vec![]));
        assert!(refused.is_err());
        let no_actions = RuleChange {
            actions: Some(vec![]),
            ..RuleChange::default()
        };
        assert!(modify(&mut region.tx, &scope, &rule.arn, no_actions).is_err());
    }

    #[test]
    fn transforms_are_replaced_as_a_whole_and_removed() {
        let mut region = Region::new();
        let scope = region.scope.clone();
        let lb = region.load_balancer("api");
        let listener = region.listener(&lb.arn, 80);
        let arn = region.rule(&listener.arn, 1).arn;
        let url = |replace: &str| Transform::UrlRewrite {
            rewrites: vec![Rewrite {
                regex: "^/a".to_owned(),
                replace: replace.to_owned(),
            }],
        };
        let mut set = |transforms: Vec<Transform>| {
            let change = RuleChange {
                transforms: Some(transforms),
                ..RuleChange::default()
            };
            modify(&mut region.tx, &scope, &arn, change).map(|row| row.transforms)
        };
        assert_eq!(set(vec![url("/b")]).unwrap(), [url("/b")]);
        assert_eq!(set(vec![url("/c")]).unwrap(), [url("/c")]);
        assert!(set(vec![url("/b"), url("/c")]).is_err());
        assert_eq!(set(vec![]).unwrap(), []);
    }
}
