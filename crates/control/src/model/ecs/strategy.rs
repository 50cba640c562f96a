//! What a caller may say about the strategy of deployments, and its defaults.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html>

use super::{Refusal, invalid};
use fogbank_types::ecs::ServiceLoadBalancer;
use fogbank_types::rollout::{
    DeploymentAlarms, DeploymentStrategy, HookAction, PauseHook, StrategyKind,
};

const BAKE_MINUTES_MAX: i32 = 1440;
/// Of strategies that shift traffic, unless it is given.
const BAKE_MINUTES: u32 = 15;
pub const CANARY: (f64, u32) = (5.0, 10);
pub const LINEAR: (f64, u32) = (10.0, 6);
const HOOK_STAGES: [&str; 8] = [
    "RECONCILE_SERVICE",
    "PRE_SCALE_UP",
    "POST_SCALE_UP",
    "TEST_TRAFFIC_SHIFT",
    "POST_TEST_TRAFFIC_SHIFT",
    "PRE_PRODUCTION_TRAFFIC_SHIFT",
    "PRODUCTION_TRAFFIC_SHIFT",
    "POST_PRODUCTION_TRAFFIC_SHIFT",
];
/// Minutes that a pause may last at most.
const PAUSE_MINUTES_MAX: i32 = 20_160;

/// What is not given stays as it is.
#[derive(Debug, Clone, Default)]
pub struct StrategyChange {
    pub kind: Option<String>,
    pub bake_time_minutes: Option<i32>,
    /// Percent and minutes.
    pub canary: Option<(Option<f64>, Option<i32>)>,
    pub linear: Option<(Option<f64>, Option<i32>)>,
    pub alarms: Option<DeploymentAlarms>,
    pub hooks: Option<Vec<NewHook>>,
}

#[derive(Debug, Clone, Default)]
pub struct NewHook {
    pub target_type: Option<String>,
    pub stages: Vec<String>,
    /// Minutes and action.
    pub timeout: Option<(Option<i32>, Option<String>)>,
}

/// The strategy after the change.
pub fn changed(
    before: &DeploymentStrategy,
    change: &StrategyChange,
    load_balancers: &[ServiceLoadBalancer],
) -> Result<DeploymentStrategy, Refusal> {
    let mut after = before.clone();
    if let Some(kind) = &change.kind {
        after.kind = StrategyKind::parse(kind)
            .ok_or_else(|| invalid(format!("Invalid deployment strategy: {kind}")))?;
    }
    if let Some(minutes) = change.bake_time_minutes {
        after.bake_time_minutes = Some(minutes_within(minutes, "bakeTimeInMinutes")?);
    }
    if let Some((percent, minutes)) = change.canary {
        after.canary = Some(step(percent, minutes, CANARY, 0.1, "canary")?);
    }
    if let Some((percent, minutes)) = change.linear {
        after.linear = Some(step(percent, minutes, LINEAR, 3.0, "linear")?);
    }
    if let Some(alarms) = &change.alarms {
        if alarms.enabled && alarms.names.is_empty() {
            return Err(invalid(
                "alarmNames can not be empty when deployment alarms are enabled.",
            ));
        }
        after.alarms = Some(alarms.clone());
    }
    if let Some(hooks) = &change.hooks {
        after.hooks = hooks.iter().map(hook).collect::<Result<_, _>>()?;
    }
    check(&after, load_balancers)?;
    Ok(after)
}

fn check(
    strategy: &DeploymentStrategy,
    load_balancers: &[ServiceLoadBalancer],
) -> Result<(), Refusal> {
    if strategy.kind == StrategyKind::Rolling {
        if !strategy.hooks.is_empty() {
            return Err(invalid(
                "lifecycleHooks can only be used with the BLUE_GREEN, LINEAR and CANARY deployment strategies.",
            ));
        }
        return Ok(());
    }
    if load_balancers.iter().any(|item| item.advanced.is_none()) {
        return Err(invalid(
            "advancedConfiguration field is required for all loadBalancers when using a non-ROLLING deployment strategy.",
        ));
    }
    Ok(())
}

fn minutes_within(minutes: i32, what: &str) -> Result<u32, Refusal> {
    u32::try_from(minutes)
        .ok()
        .filter(|minutes| *minutes <= BAKE_MINUTES_MAX as u32)
        .ok_or_else(|| invalid(format!("{what} must be between 0 and {BAKE_MINUTES_MAX}.")))
}

fn step(
    percent: Option<f64>,
    minutes: Option<i32>,
    default: (f64, u32),
    least: f64,
    what: &str,
) -> Result<(f64, u32), Refusal> {
    let percent = percent.unwrap_or(default.0);
    let tenths = percent * 10.0;
    if !(least..=100.0).contains(&percent) || (tenths - tenths.round()).abs() > 1e-6 {
        return Err(invalid(format!(
            "The percentage of the {what} configuration must be a multiple of 0.1 between {least:.1} and 100.0."
        )));
    }
    let minutes = match minutes {
        Some(minutes) => minutes_within(
            minutes,
            &format!("The bake time of the {what} configuration"),
        )?,
        None => default.1,
    };
    Ok((percent, minutes))
}

fn hook(new: &NewHook) -> Result<PauseHook, Refusal> {
    if new.target_type.as_deref() != Some("PAUSE") {
        return Err(Refusal::UnsupportedFeature(
            "lifecycleHooks with a Lambda function are not offered: this region has no Lambda. Hooks with targetType PAUSE are.".to_owned(),
        ));
    }
    if new.stages.is_empty() {
        return Err(invalid("lifecycleStages can not be empty."));
    }
    if let Some(unknown) = new
        .stages
        .iter()
        .find(|stage| !HOOK_STAGES.contains(&stage.as_str()))
    {
        return Err(invalid(format!("Invalid lifecycle stage: {unknown}")));
    }
    let timeout = match &new.timeout {
        None => None,
        Some((minutes, action)) => {
            let minutes = minutes.unwrap_or(1440);
            if !(1..=PAUSE_MINUTES_MAX).contains(&minutes) {
                return Err(invalid(format!(
                    "timeoutInMinutes must be between 1 and {PAUSE_MINUTES_MAX}."
                )));
            }
            Some((
                minutes as u32,
                action_of(action.as_deref(), HookAction::Rollback)?,
            ))
        }
    };
    Ok(PauseHook {
        stages: new.stages.clone(),
        timeout,
    })
}

pub fn action_of(text: Option<&str>, otherwise: HookAction) -> Result<HookAction, Refusal> {
    match text {
        None => Ok(otherwise),
        Some("CONTINUE") => Ok(HookAction::Continue),
        Some("ROLLBACK") => Ok(HookAction::Rollback),
        Some(other) => Err(invalid(format!("Invalid action: {other}"))),
    }
}

/// How long both revisions run when all traffic is shifted, or a rolling one is watched.
pub fn bake_minutes(strategy: &DeploymentStrategy) -> u32 {
    strategy.bake_time_minutes.unwrap_or(match strategy.kind {
        StrategyKind::Rolling => 0,
        _ => BAKE_MINUTES,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str) -> StrategyChange {
        StrategyChange {
            kind: Some(kind.to_owned()),
            ..StrategyChange::default()
        }
    }

    fn apply(change: &StrategyChange) -> Result<DeploymentStrategy, Refusal> {
        changed(&DeploymentStrategy::default(), change, &[])
    }

    #[test]
    fn percentages_and_minutes_have_bounds() {
        let canary = |percent, minutes| StrategyChange {
            canary: Some((percent, minutes)),
            ..of("CANARY")
        };
        assert_eq!(apply(&canary(None, None)).unwrap().canary, Some(CANARY));
        assert!(apply(&canary(Some(0.1), Some(1440))).is_ok());
        for (percent, minutes) in [(0.05, 1), (100.1, 1), (10.0, -1), (10.0, 1441), (1.23, 1)] {
            assert!(
                apply(&canary(Some(percent), Some(minutes))).is_err(),
                "{percent} {minutes}"
            );
        }
        let linear = |percent| StrategyChange {
            linear: Some((Some(percent), None)),
            ..of("LINEAR")
        };
        assert!(apply(&linear(2.9)).is_err());
        assert_eq!(apply(&linear(25.0)).unwrap().linear, Some((25.0, 6)));
        assert!(apply(&of("BIG_BANG")).is_err());
    }

    #[test]
    fn lambda_hooks_are_refused_by_name() {
        let hook = |target: &str, stage: &str| StrategyChange {
            hooks: Some(vec![NewHook {
                target_type: Some(target.to_owned()),
                stages: vec![stage.to_owned()],
                timeout: None,
            }]),
            ..of("BLUE_GREEN")
        };
        let refused = apply(&hook("AWS_LAMBDA", "PRE_SCALE_UP")).unwrap_err();
        assert!(refused.to_string().contains("Lambda"));
        assert!(apply(&hook("PAUSE", "PRE_SCALE_UP")).is_ok());
        assert!(apply(&hook("PAUSE", "BAKE_TIME")).is_err());
    }

    #[test]
    fn defaults_of_the_bake_time() {
        assert_eq!(bake_minutes(&apply(&of("ROLLING")).unwrap()), 0);
        assert_eq!(bake_minutes(&apply(&of("BLUE_GREEN")).unwrap()), 15);
    }
}
