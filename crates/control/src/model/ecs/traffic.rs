//! How much of a listener rule's requests go to one of two target groups: what deployments that shift traffic turn.
//! A deployment's row names the group that its tasks are in first, and the other one as the alternate.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/alb-resources-for-blue-green.html>

use crate::model::Tx;
use crate::model::elb::arns::{self, FoundRule};
use fogbank_types::Scope;
use fogbank_types::ecs::{AdvancedLoadBalancer, Deployment, ServiceLoadBalancer};
use fogbank_types::elb::{Action, ActionKind, Listener, ListenerRule, WeightedGroup};

/// Weights of load balancers end here.
const WEIGHT_MAX: f64 = 999.0;

/// A share in percent as the weights of the new and the old group.
fn weights(percent: f64) -> (u32, u32) {
    let percent = percent.clamp(0.0, 100.0);
    if percent.fract() == 0.0 {
        return (percent as u32, 100 - percent as u32);
    }
    let new = (percent / 100.0 * WEIGHT_MAX)
        .round()
        .clamp(1.0, WEIGHT_MAX - 1.0) as u32;
    (new, WEIGHT_MAX as u32 - new)
}

/// Production traffic of a deployment's load balancers: so much to it, the rest to the other group.
pub fn shift_production(tx: &mut Tx, scope: &Scope, deployment: &Deployment, percent: f64) {
    for load_balancer in &deployment.load_balancers {
        if let Some(rule) = load_balancer
            .advanced
            .as_ref()
            .map(|a| a.production_listener_rule.clone())
        {
            turn(tx, scope, &rule, load_balancer, percent);
        }
    }
}

/// The same for test traffic, where there is a rule for it.
pub fn shift_test(tx: &mut Tx, scope: &Scope, deployment: &Deployment, percent: f64) {
    for load_balancer in &deployment.load_balancers {
        if let Some(rule) = load_balancer
            .advanced
            .as_ref()
            .and_then(|a| a.test_listener_rule.clone())
        {
            turn(tx, scope, &rule, load_balancer, percent);
        }
    }
}

/// A service's load balancers as a new deployment uses them. One that shifts traffic takes the group that `source` does
/// not use, one that does not stays where `source` is.
pub fn resolve(
    configured: &[ServiceLoadBalancer],
    source: Option<&Deployment>,
    shifts: bool,
) -> Vec<ServiceLoadBalancer> {
    let in_use = |arn: &str| {
        source.is_some_and(|d| {
            d.load_balancers
                .iter()
                .any(|used| used.target_group_arn == arn)
        })
    };
    let turned = |own: &ServiceLoadBalancer, advanced: &AdvancedLoadBalancer| ServiceLoadBalancer {
        target_group_arn: advanced.alternate_target_group_arn.clone(),
        advanced: Some(AdvancedLoadBalancer {
            alternate_target_group_arn: own.target_group_arn.clone(),
            ..advanced.clone()
        }),
        ..own.clone()
    };
    let one = |own: &ServiceLoadBalancer| match &own.advanced {
        Some(advanced) if shifts && in_use(&own.target_group_arn) => turned(own, advanced),
        Some(advanced) if !shifts && in_use(&advanced.alternate_target_group_arn) => {
            turned(own, advanced)
        }
        _ => own.clone(),
    };
    configured.iter().map(one).collect()
}

/// What the service said when it was deployed: the two groups may stand the other way round in the deployment.
pub fn configured(
    service: &[ServiceLoadBalancer],
    deployed: &[ServiceLoadBalancer],
) -> Vec<ServiceLoadBalancer> {
    let groups = |item: &ServiceLoadBalancer| {
        let alternate = item
            .advanced
            .as_ref()
            .map(|a| a.alternate_target_group_arn.clone());
        let mut both: Vec<String> = alternate
            .into_iter()
            .chain([item.target_group_arn.clone()])
            .collect();
        both.sort();
        both
    };
    let known = |item: &ServiceLoadBalancer| {
        service
            .iter()
            .find(|own| own.container_port == item.container_port && groups(own) == groups(item))
    };
    deployed
        .iter()
        .map(|item| known(item).unwrap_or(item).clone())
        .collect()
}

fn turn(
    tx: &mut Tx,
    scope: &Scope,
    rule_arn: &str,
    load_balancer: &ServiceLoadBalancer,
    percent: f64,
) {
    let Some(advanced) = &load_balancer.advanced else {
        return;
    };
    let (new, old) = weights(percent);
    let group = &load_balancer.target_group_arn;
    let other = &advanced.alternate_target_group_arn;
    match arns::find_rule(tx.snapshot(), scope, rule_arn) {
        Ok(FoundRule::Rule(row)) => {
            let mut row = ListenerRule::clone(row);
            if set(&mut row.actions, group, other, new, old) {
                tx.put(row);
            }
        }
        Ok(FoundRule::Default(listener)) => {
            let mut row = Listener::clone(listener);
            if set(&mut row.default_actions, group, other, new, old) {
                tx.put(row);
            }
        }
        // A rule that somebody deleted leaves nothing to turn; the deployment goes on and its alarms see it.
        Err(_) => {}
    }
}

/// Whether anything changed. The rule forwards to the two groups and to no others.
fn set(actions: &mut [Action], group: &str, other: &str, new: u32, old: u32) -> bool {
    let forward = actions
        .iter_mut()
        .find_map(|action| match &mut action.kind {
            ActionKind::Forward { groups, .. } => Some(groups),
            _ => None,
        });
    let Some(groups) = forward else {
        return false;
    };
    let weighted = |arn: &str, weight| WeightedGroup {
        target_group_arn: arn.to_owned(),
        weight,
    };
    let mut wanted = vec![weighted(group, new), weighted(other, old)];
    // In one order, whichever of the two is new, so that a rule that says it already is left alone.
    wanted.sort_by_key(|g| {
        groups
            .iter()
            .position(|known| known.target_group_arn == g.target_group_arn)
            .unwrap_or(usize::MAX)
    });
    let changed = *groups != wanted;
    *groups = wanted;
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_where_weights_allow_it() {
        assert_eq!(weights(0.0), (0, 100));
        assert_eq!(weights(10.0), (10, 90));
        assert_eq!(weights(100.0), (100, 0));
        assert_eq!(weights(99.9), (998, 1));
        assert_eq!(weights(0.1), (1, 998));
    }
}
