//! How many tasks there shall be: a pure function of what the alarms say (facts SCALE-3 to SCALE-5).
//!
//! What must stay true: the answer is within the bounds, a policy that asks for more is never answered with less, and
//! nothing is taken away while a deployment runs.

use fogbank_types::Timestamp;
use fogbank_types::scaling::{
    AdjustmentType, Cooldown, Direction, NotScaled, StepAdjustment, StepScaling, SuspendedState,
};

/// Target tracking scales in below this share of its target, and to no fewer tasks than keep the metric below it.
pub const SCALE_IN_SHARE: f64 = 0.9;

/// What an invoked policy makes of a capacity.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// The metric is above the target: as many tasks as bring it down to it.
    TrackingOut { value: f64, target: f64 },
    /// The metric is well below the target.
    TrackingIn { value: f64, target: f64 },
    Step {
        steps: StepScaling,
        /// The metric's distance from the alarm's threshold.
        distance: f64,
    },
}

/// A policy whose alarm is in the state that invokes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    pub rule: Rule,
    /// It has a data point that was not acted upon yet.
    pub is_new: bool,
}

/// Where a target stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Situation {
    pub current: u32,
    pub min: u32,
    pub max: u32,
    pub suspended: SuspendedState,
    pub cooldown: Option<Cooldown>,
    /// A deployment of the service runs.
    pub is_deploying: bool,
    /// Every target tracking policy that scales in has its low alarm in ALARM.
    pub tracking_agrees: bool,
    pub now: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Scale {
        capacity: u32,
        direction: Direction,
        /// Which invocation decided.
        by: usize,
    },
    NotScaled {
        by: usize,
        why: NotScaled,
    },
    Nothing,
}

/// See the module.
pub fn decide(situation: &Situation, invocations: &[Invocation]) -> Decision {
    let cooldown = situation
        .cooldown
        .filter(|cooldown| cooldown.until > situation.now);
    // Asking for more, whether or not it may have it now, keeps others from taking away.
    let asks_out = |invocation: &&(usize, &Invocation)| {
        need(&invocation.1.rule, out_base(situation)) > i64::from(out_base(situation))
    };
    let all: Vec<(usize, &Invocation)> = invocations.iter().enumerate().collect();
    let (outs, others): (Vec<_>, Vec<_>) = all.iter().partition(|one| asks_out(one));
    if !outs.is_empty() {
        return scale_out(situation, cooldown, &outs);
    }
    scale_in(situation, cooldown, &others)
}

/// A count below the minimum is first raised to it. <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-auto-scaling.html>
fn out_base(situation: &Situation) -> u32 {
    situation.current.max(situation.min)
}

fn scale_out(
    situation: &Situation,
    cooldown: Option<Cooldown>,
    outs: &[(usize, &Invocation)],
) -> Decision {
    if situation.suspended.scale_out {
        return Decision::Nothing;
    }
    // What a scaling out added counts towards the next need while its cooldown lasts.
    let base = match cooldown {
        Some(cooldown) if cooldown.direction == Direction::Out => cooldown.from_capacity,
        _ => out_base(situation),
    };
    let needs = outs.iter().filter(|(_, invocation)| invocation.is_new);
    let largest = needs
        .map(|(by, invocation)| (need(&invocation.rule, base), *by))
        .max_by_key(|(need, by)| (*need, std::cmp::Reverse(*by)));
    let Some((need, by)) = largest else {
        return Decision::Nothing;
    };
    let capacity = clamp(need, situation);
    if capacity > situation.current {
        return Decision::Scale {
            capacity,
            direction: Direction::Out,
            by,
        };
    }
    let why = match situation.current >= situation.max {
        true => NotScaled::AlreadyAtMaxCapacity(situation.max),
        false => NotScaled::AlreadyAtDesiredCapacity(situation.current),
    };
    Decision::NotScaled { by, why }
}

fn scale_in(
    situation: &Situation,
    cooldown: Option<Cooldown>,
    others: &[(usize, &Invocation)],
) -> Decision {
    if situation.suspended.scale_in || situation.is_deploying || cooldown.is_some() {
        return Decision::Nothing;
    }
    // A count above the maximum is first lowered to it.
    let base = situation.current.min(situation.max);
    let is_tracking = |invocation: &Invocation| matches!(invocation.rule, Rule::TrackingIn { .. });
    let tracks = situation.tracking_agrees
        && others
            .iter()
            .any(|(_, invocation)| invocation.is_new && is_tracking(invocation));
    let counts = others.iter().filter(|(_, invocation)| {
        // Those that agree all have a say in how far it goes.
        (invocation.is_new && !is_tracking(invocation)) || (tracks && is_tracking(invocation))
    });
    let largest = counts
        .map(|(by, invocation)| (need(&invocation.rule, base), *by))
        .max_by_key(|(need, by)| (*need, std::cmp::Reverse(*by)));
    let Some((need, by)) = largest else {
        return Decision::Nothing;
    };
    let capacity = clamp(need, situation);
    if capacity < situation.current {
        return Decision::Scale {
            capacity,
            direction: Direction::In,
            by,
        };
    }
    let why = match situation.current <= situation.min {
        true => NotScaled::AlreadyAtMinCapacity(situation.min),
        false => NotScaled::AlreadyAtDesiredCapacity(situation.current),
    };
    Decision::NotScaled { by, why }
}

fn clamp(need: i64, situation: &Situation) -> u32 {
    let (min, max) = (i64::from(situation.min), i64::from(situation.max));
    u32::try_from(need.min(max).max(min)).unwrap_or(situation.min)
}

/// The capacity that a rule asks for, starting from `base`; never beyond what a service may have.
fn need(rule: &Rule, base: u32) -> i64 {
    let from = i64::from(base);
    match rule {
        Rule::TrackingOut { value, target } => {
            whole(f64::from(base) * value / target).max(from + 1)
        }
        Rule::TrackingIn { value, target } => {
            whole(f64::from(base) * value / (target * SCALE_IN_SHARE)).min(from)
        }
        Rule::Step { steps, distance } => match step_for(&steps.steps, *distance) {
            Some(step) => adjusted(steps, step.adjustment, from),
            None => from,
        },
    }
}

/// Rounded up; rounding errors of the division are not another task.
fn whole(count: f64) -> i64 {
    // Not a number, if the target were 0, converts to 0.
    (count - 1e-9).ceil().clamp(0.0, 1e9) as i64
}

/// "The lower bound is inclusive and the upper bound exclusive" above the threshold, the other way round below it.
/// <https://docs.aws.amazon.com/autoscaling/application/APIReference/API_StepAdjustment.html>
fn step_for(steps: &[StepAdjustment], distance: f64) -> Option<&StepAdjustment> {
    let holds = |step: &&StepAdjustment| {
        let lower = step.lower.unwrap_or(f64::NEG_INFINITY);
        let upper = step.upper.unwrap_or(f64::INFINITY);
        match distance >= 0.0 && lower >= 0.0 {
            true => lower <= distance && distance < upper,
            // Exactly the threshold belongs to the step that ends there.
            false => lower < distance && distance <= upper,
        }
    };
    steps.iter().find(holds)
}

fn adjusted(steps: &StepScaling, adjustment: i32, from: i64) -> i64 {
    let adjustment = i64::from(adjustment);
    let change = match steps.adjustment {
        AdjustmentType::ExactCapacity => return adjustment.max(0),
        AdjustmentType::ChangeInCapacity => adjustment,
        AdjustmentType::PercentChangeInCapacity => {
            let change = percent(from, adjustment);
            let least = i64::from(steps.min_adjustment_magnitude.unwrap_or(0));
            match adjustment {
                0 => 0,
                1.. => change.max(least),
                _ => change.min(-least),
            }
        }
    };
    (from + change).max(0)
}

/// "Values greater than 1 are rounded down, values between 0 and 1 are rounded to 1", and so below zero.
/// <https://docs.aws.amazon.com/autoscaling/application/userguide/step-scaling-policy-overview.html>
fn percent(from: i64, percent: i64) -> i64 {
    let exact = from * percent;
    match exact {
        0 => 0,
        1..100 => 1,
        -99..0 => -1,
        _ => exact / 100,
    }
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
