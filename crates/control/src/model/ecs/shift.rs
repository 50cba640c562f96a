//! The lifecycle of a deployment that shifts traffic: blue/green, linear, canary (fact SVC-7).
//!
//! Called by `reconcile::service_count` after every change, with what it knows of the tasks. Each stage has an action at
//! its beginning, its hooks, and a condition for its end. What must stay true: production traffic goes to the new
//! revision only when all its tasks are healthy, and the old one's tasks stay until the bake time is over.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/blue-green-deployment-how-it-works.html>

use super::{strategy, traffic};
use crate::model::Tx;
use fogbank_types::Timestamp;
use fogbank_types::ecs::{Deployment, RolloutState, Service};
use fogbank_types::rollout::{
    DeploymentStrategy, HookAction, HookRun, HookStatus, LifecycleStage, Shift, StrategyKind,
};

/// A pause that is not given another length ends after this, by a rollback.
const PAUSE_MINUTES: u32 = 1440;
const MINUTE_MS: u64 = 60_000;

/// What the tasks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The new revision has its desired count of healthy tasks.
    pub new_is_ready: bool,
    /// No task is left of revisions that are neither the new one nor its source.
    pub others_are_gone: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Look again then.
    Rest(Option<Timestamp>),
    /// A hook says no.
    RollBack,
}

/// A deployment begins: what was shifted before is with `source` again.
pub fn begin(tx: &Tx, source: Option<&Deployment>) -> Shift {
    Shift {
        source: source.map(|d| d.id.clone()),
        stage: LifecycleStage::ReconcileService,
        since: tx.now(),
        production_percent: 0.0,
        test: false,
        hooks_started: false,
        hooks: Vec::new(),
    }
}

/// The shift of the primary deployment, while it goes on.
pub fn current(service: &Service) -> Option<(&Deployment, &Shift)> {
    let primary = service.deployments.iter().find(|d| d.primary)?;
    let shift = primary.course.shift.as_ref()?;
    (primary.rollout_state == RolloutState::InProgress).then_some((primary, shift))
}

/// Goes as far as it can.
pub fn advance(tx: &mut Tx, service: &mut Service, facts: Facts) -> Progress {
    loop {
        let Some((deployment, shift)) = current(service) else {
            return Progress::Rest(None);
        };
        let (deployment, mut shift) = (deployment.clone(), shift.clone());
        let before = shift.clone();
        let step = one(tx, service, &deployment, &mut shift, facts);
        if shift != before
            && let Some(primary) = service.deployments.iter_mut().find(|d| d.primary)
        {
            primary.updated_at = tx.now();
            primary.course.shift = Some(shift);
        }
        if let Some(progress) = step {
            return progress;
        }
    }
}

/// One step; `None` if there may be another one.
fn one(
    tx: &mut Tx,
    service: &Service,
    deployment: &Deployment,
    shift: &mut Shift,
    facts: Facts,
) -> Option<Progress> {
    let strategy = &deployment.course.strategy;
    if let Some(wait) = hooks(tx, strategy, shift) {
        return Some(wait);
    }
    let rest = Some(Progress::Rest(None));
    match shift.stage {
        LifecycleStage::ReconcileService if !facts.others_are_gone => return rest,
        LifecycleStage::ScaleUp if !facts.new_is_ready => return rest,
        LifecycleStage::CleanUp => return rest,
        LifecycleStage::ProductionTrafficShift if shift.production_percent < 100.0 => {
            let due = due(tx, shift, step_minutes(strategy));
            if tx.now() < due {
                return Some(Progress::Rest(Some(due)));
            }
            let percent = next_percent(strategy, shift);
            produce(tx, service, deployment, shift, percent);
            (shift.since, shift.hooks_started) = (tx.now(), false);
            return None;
        }
        LifecycleStage::BakeTime => {
            let due = due(tx, shift, strategy::bake_minutes(strategy));
            if tx.now() < due {
                return Some(Progress::Rest(Some(due)));
            }
        }
        _ => {}
    }
    enter(tx, service, deployment, shift);
    None
}

fn due(tx: &Tx, shift: &Shift, minutes: u32) -> Timestamp {
    let length_ms = tx.config().scaled_ms(u64::from(minutes) * MINUTE_MS);
    shift.since.plus_ms(length_ms as i64)
}

/// The next stage and what it begins with.
fn enter(tx: &mut Tx, service: &Service, deployment: &Deployment, shift: &mut Shift) {
    use LifecycleStage::*;
    shift.stage = match shift.stage {
        ReconcileService => PreScaleUp,
        PreScaleUp => ScaleUp,
        ScaleUp => PostScaleUp,
        PostScaleUp => TestTrafficShift,
        TestTrafficShift => PostTestTrafficShift,
        PostTestTrafficShift => ProductionTrafficShift,
        ProductionTrafficShift => PostProductionTrafficShift,
        PostProductionTrafficShift => BakeTime,
        BakeTime | CleanUp => CleanUp,
    };
    (shift.since, shift.hooks_started) = (tx.now(), false);
    match shift.stage {
        // The other group is in the rule from here on: only then are its targets checked.
        ScaleUp if shift.source.is_some() => {
            traffic::shift_production(tx, &service.scope, deployment, 0.0);
        }
        TestTrafficShift => {
            traffic::shift_test(tx, &service.scope, deployment, 100.0);
            shift.test = true;
        }
        ProductionTrafficShift => {
            let percent = next_percent(&deployment.course.strategy, shift);
            produce(tx, service, deployment, shift, percent);
        }
        _ => {}
    }
}

fn produce(
    tx: &mut Tx,
    service: &Service,
    deployment: &Deployment,
    shift: &mut Shift,
    percent: f64,
) {
    traffic::shift_production(tx, &service.scope, deployment, percent);
    shift.production_percent = percent;
}

/// The share of production traffic after the next step. Without a revision before there is nothing to compare with.
fn next_percent(strategy: &DeploymentStrategy, shift: &Shift) -> f64 {
    let now = shift.production_percent;
    match strategy.kind {
        _ if shift.source.is_none() => 100.0,
        StrategyKind::Canary if now == 0.0 => strategy.canary.unwrap_or(strategy::CANARY).0,
        // Percentages have one decimal: sums are rounded so that they end at 100.
        StrategyKind::Linear => {
            let sum = now + strategy.linear.unwrap_or(strategy::LINEAR).0;
            ((sum * 10.0).round() / 10.0).min(100.0)
        }
        StrategyKind::Canary | StrategyKind::BlueGreen | StrategyKind::Rolling => 100.0,
    }
}

fn step_minutes(strategy: &DeploymentStrategy) -> u32 {
    match strategy.kind {
        StrategyKind::Canary => strategy.canary.unwrap_or(strategy::CANARY).1,
        StrategyKind::Linear => strategy.linear.unwrap_or(strategy::LINEAR).1,
        StrategyKind::BlueGreen | StrategyKind::Rolling => 0,
    }
}

/// Starts the hooks of the stage, ends those whose time is over. `None` when all are over.
fn hooks(tx: &mut Tx, strategy: &DeploymentStrategy, shift: &mut Shift) -> Option<Progress> {
    if !shift.hooks_started {
        shift.hooks_started = true;
        let named = |stages: &[String]| {
            stages.iter().any(|stage| {
                stage == shift.stage.as_str()
                    || (shift.stage == LifecycleStage::PostTestTrafficShift
                        && stage == "PRE_PRODUCTION_TRAFFIC_SHIFT")
            })
        };
        let mut runs = Vec::new();
        for hook in strategy.hooks.iter().filter(|hook| named(&hook.stages)) {
            let (minutes, action) = hook
                .timeout
                .unwrap_or((PAUSE_MINUTES, HookAction::Rollback));
            let length_ms = tx.config().scaled_ms(u64::from(minutes) * MINUTE_MS);
            runs.push(HookRun {
                id: format!("ecs-pause-{}", tx.hex(43)),
                status: HookStatus::AwaitingAction,
                timeout: Some((tx.now().plus_ms(length_ms as i64), action)),
            });
        }
        shift.hooks.extend(runs);
    }
    let now = tx.now();
    let mut wait: Option<Timestamp> = None;
    for run in shift
        .hooks
        .iter_mut()
        .filter(|run| run.status == HookStatus::AwaitingAction)
    {
        match run.timeout {
            Some((end, _)) if now >= end => run.status = HookStatus::TimedOut,
            Some((end, _)) => wait = Some(wait.map_or(end, |earlier| earlier.min(end))),
            None => return Some(Progress::Rest(None)),
        }
    }
    let says_no = |run: &HookRun| match run.status {
        HookStatus::Failed => true,
        HookStatus::TimedOut => run
            .timeout
            .is_some_and(|(_, action)| action == HookAction::Rollback),
        HookStatus::AwaitingAction | HookStatus::Succeeded => false,
    };
    if shift.hooks.iter().any(says_no) {
        return Some(Progress::RollBack);
    }
    wait.map(|end| Progress::Rest(Some(end)))
}
