//! Services follow their scaling policies: what alarms say becomes a desired count. What follows from what is
//! `model::scaling::decision`; the alarms' values are rows that are written where alarms are evaluated.

use crate::model::Tx;
use crate::model::scaling::decision::{Decision, Invocation, Rule, Situation, decide};
use crate::model::scaling::policies::{COOLDOWN_S, invoked};
use crate::model::scaling::{activities, find_service};
use fogbank_types::alarm::{Alarm, AlarmState, AlarmWatch};
use fogbank_types::ecs::{RolloutState, Service};
use fogbank_types::scaling::{
    Cooldown, Direction, ScalableTarget, ScalingPolicy, ScalingPolicyKind, ScalingSignal,
};
use fogbank_types::{Row, Scope, Timestamp};
use std::collections::HashMap;
use std::sync::Arc;

/// A data point that is told later than this has been overtaken: the region was down meanwhile.
const OVERTAKEN_MS: u64 = 5 * 60_000;

/// Alarms that invoke policies now, by the policy's ARN.
type Invoking = HashMap<String, Vec<Arc<Alarm>>>;

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    forget_signals(tx);
    if tx.snapshot().scalable_targets.is_empty() {
        return None;
    }
    let mut invoking = Invoking::new();
    for alarm in tx.snapshot().alarms.all() {
        for action in invoked(alarm, alarm.state) {
            let alarms = invoking.entry(action.clone()).or_default();
            alarms.push(alarm.clone());
        }
    }
    let targets: Vec<Arc<ScalableTarget>> = tx.snapshot().scalable_targets.all().cloned().collect();
    for target in targets {
        activities::follow(tx, &target);
        step(tx, &target, &invoking);
    }
    None
}

fn forget_signals(tx: &mut Tx) {
    let snapshot = tx.snapshot();
    let gone: Vec<(Scope, String)> = snapshot
        .scaling_signals
        .all()
        .filter(|signal| !snapshot.alarms.contains(&signal.scope, &signal.alarm_name))
        .map(|signal| (signal.scope.clone(), signal.id()))
        .collect();
    for (scope, id) in gone {
        tx.delete::<ScalingSignal>(&scope, id);
    }
}

/// An invocation with whose it is.
struct Invoked {
    policy: Arc<ScalingPolicy>,
    alarm: Arc<Alarm>,
    at: Timestamp,
    invocation: Invocation,
}

fn step(tx: &mut Tx, target: &ScalableTarget, invoking: &Invoking) {
    let policies: Vec<Arc<ScalingPolicy>> = tx
        .snapshot()
        .scaling_policies
        .with_prefix(&target.scope, &format!("{}/", target.resource_id))
        .filter(|policy| policy.resource_id == target.resource_id)
        .cloned()
        .collect();
    let mut all = Vec::new();
    for policy in &policies {
        for alarm in invoking.get(&policy.arn).into_iter().flatten() {
            all.extend(invocation(tx, policy, alarm));
        }
    }
    if !all.iter().any(|one| one.invocation.is_new) {
        return;
    }
    for one in all.iter().filter(|one| one.invocation.is_new) {
        let id = one.policy.id();
        tx.update::<ScalingPolicy>(&target.scope, id, |policy| {
            policy.answered.insert(one.alarm.name.clone(), one.at);
            policy
                .answered
                .retain(|name, _| invoking_name(invoking, &policy.arn, name));
        });
    }
    let Some(service) = find_service(tx.snapshot(), &target.scope, &target.resource_id).cloned()
    else {
        return;
    };
    let situation = situation(tx, target, &service, &policies);
    let invocations: Vec<Invocation> = all.iter().map(|one| one.invocation.clone()).collect();
    let cause = |by: usize| {
        let (alarm, policy) = (&all[by].alarm, &all[by].policy);
        format!(
            "monitor alarm {} in state {} triggered policy {}",
            alarm.name,
            alarm.state.as_str(),
            policy.name
        )
    };
    match decide(&situation, &invocations) {
        Decision::Nothing => {}
        Decision::NotScaled { by, why } => activities::not_scaled(tx, target, cause(by), why),
        Decision::Scale {
            capacity,
            direction,
            by,
        } => {
            if activities::set_capacity(tx, target, capacity, cause(by)) {
                begin_cooldown(tx, target, &all[by].policy, direction, situation.current);
            }
        }
    }
}

fn invoking_name(invoking: &Invoking, arn: &str, name: &str) -> bool {
    let alarms = invoking.get(arn).into_iter().flatten();
    alarms.into_iter().any(|alarm| alarm.name == name)
}

/// What an alarm makes its policy do, if it has a value that is not overtaken.
fn invocation(tx: &Tx, policy: &Arc<ScalingPolicy>, alarm: &Arc<Alarm>) -> Option<Invoked> {
    let signal = tx
        .snapshot()
        .scaling_signals
        .get(&alarm.scope, &alarm.name)?;
    let AlarmWatch::Metric(watch) = &alarm.watch else {
        return None;
    };
    let value = signal.value;
    let rule = match &policy.kind {
        ScalingPolicyKind::TargetTracking(tracking) => {
            let target = tracking.target_value;
            if alarm.name == tracking.alarm_high {
                Rule::TrackingOut { value, target }
            } else if Some(&alarm.name) == tracking.alarm_low.as_ref() {
                Rule::TrackingIn { value, target }
            } else {
                return None;
            }
        }
        ScalingPolicyKind::Step(steps) => Rule::Step {
            steps: steps.clone(),
            distance: value - watch.threshold,
        },
    };
    let fresh_ms = tx.config().scaled_ms(OVERTAKEN_MS).max(10_000) as i64;
    let is_fresh = signal.told_at.plus_ms(fresh_ms) > tx.now();
    let answered = policy.answered.get(&alarm.name);
    let is_new = is_fresh && answered.is_none_or(|at| signal.at > *at);
    Some(Invoked {
        policy: policy.clone(),
        alarm: alarm.clone(),
        at: signal.at,
        invocation: Invocation { rule, is_new },
    })
}

fn situation(
    tx: &Tx,
    target: &ScalableTarget,
    service: &Service,
    policies: &[Arc<ScalingPolicy>],
) -> Situation {
    let low_is_in_alarm = |policy: &Arc<ScalingPolicy>| match &policy.kind {
        ScalingPolicyKind::Step(_) => true,
        ScalingPolicyKind::TargetTracking(tracking) => {
            tracking.alarm_low.as_ref().is_none_or(|name| {
                let alarm = tx.snapshot().alarms.get(&target.scope, name);
                alarm.is_some_and(|alarm| alarm.state == AlarmState::Alarm)
            })
        }
    };
    let in_progress = |deployment: &fogbank_types::ecs::Deployment| {
        deployment.rollout_state == RolloutState::InProgress
    };
    Situation {
        current: service.desired_count,
        min: target.min_capacity,
        max: target.max_capacity,
        suspended: target.suspended,
        cooldown: target.cooldown,
        is_deploying: service.deployments.len() > 1 || service.deployments.iter().any(in_progress),
        tracking_agrees: policies.iter().all(low_is_in_alarm),
        now: tx.now(),
    }
}

/// A larger need during a cooldown is still counted from where the cooldown began (fact SCALE-4).
fn begin_cooldown(
    tx: &mut Tx,
    target: &ScalableTarget,
    policy: &ScalingPolicy,
    direction: Direction,
    from_capacity: u32,
) {
    let own_s = match (&policy.kind, direction) {
        (ScalingPolicyKind::Step(steps), _) => steps.cooldown_s,
        (ScalingPolicyKind::TargetTracking(tracking), Direction::Out) => {
            tracking.scale_out_cooldown_s
        }
        (ScalingPolicyKind::TargetTracking(tracking), Direction::In) => {
            tracking.scale_in_cooldown_s
        }
    };
    let length_ms = u64::from(own_s.unwrap_or(COOLDOWN_S)) * 1_000;
    let now = tx.now();
    let until = now.plus_ms(tx.config().scaled_ms(length_ms) as i64);
    let running = target
        .cooldown
        .filter(|cooldown| cooldown.until > now && cooldown.direction == direction);
    let cooldown = Cooldown {
        direction,
        until,
        from_capacity: running.map_or(from_capacity, |cooldown| cooldown.from_capacity),
    };
    tx.update::<ScalableTarget>(&target.scope, &target.resource_id, |target| {
        target.cooldown = Some(cooldown);
    });
}

#[cfg(test)]
#[path = "service_scaling_tests.rs"]
mod tests;
