//! How a service's deployments replace each other: strategies, lifecycle stages, and where a deployment stands in them.
//! Parts of `ecs::Service` and `ecs::Deployment`; written by control alone.

use crate::*;
use serde::{Deserialize, Serialize};

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html>
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeploymentStrategy {
    pub kind: StrategyKind,
    pub bake_time_minutes: Option<u32>,
    /// Percent of the first step, and minutes until the second.
    pub canary: Option<(f64, u32)>,
    /// Percent of each step, and minutes between them.
    pub linear: Option<(f64, u32)>,
    pub alarms: Option<DeploymentAlarms>,
    pub hooks: Vec<PauseHook>,
}

#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StrategyKind {
    #[default]
    Rolling,
    BlueGreen,
    Linear,
    Canary,
}

impl StrategyKind {
    pub const ALL: [Self; 4] = [Self::Rolling, Self::BlueGreen, Self::Linear, Self::Canary];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rolling => "ROLLING",
            Self::BlueGreen => "BLUE_GREEN",
            Self::Linear => "LINEAR",
            Self::Canary => "CANARY",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Alarms that fail a deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploymentAlarms {
    pub names: Vec<String>,
    pub enabled: bool,
    pub rollback: bool,
}

/// A lifecycle hook that waits for ContinueServiceDeployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PauseHook {
    /// `PRE_SCALE_UP`...; `PRE_PRODUCTION_TRAFFIC_SHIFT` is a point in time and not a stage.
    pub stages: Vec<String>,
    /// After so many minutes, that.
    pub timeout: Option<(u32, HookAction)>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HookAction {
    Continue,
    Rollback,
}

/// In their order. <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/blue-green-deployment-how-it-works.html>
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LifecycleStage {
    ReconcileService,
    PreScaleUp,
    ScaleUp,
    PostScaleUp,
    TestTrafficShift,
    PostTestTrafficShift,
    ProductionTrafficShift,
    PostProductionTrafficShift,
    BakeTime,
    CleanUp,
}

impl LifecycleStage {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReconcileService => "RECONCILE_SERVICE",
            Self::PreScaleUp => "PRE_SCALE_UP",
            Self::ScaleUp => "SCALE_UP",
            Self::PostScaleUp => "POST_SCALE_UP",
            Self::TestTrafficShift => "TEST_TRAFFIC_SHIFT",
            Self::PostTestTrafficShift => "POST_TEST_TRAFFIC_SHIFT",
            Self::ProductionTrafficShift => "PRODUCTION_TRAFFIC_SHIFT",
            Self::PostProductionTrafficShift => "POST_PRODUCTION_TRAFFIC_SHIFT",
            Self::BakeTime => "BAKE_TIME",
            Self::CleanUp => "CLEAN_UP",
        }
    }
}

/// Where a deployment stands that shifts traffic: blue/green, linear, canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    /// The deployment that has the traffic before (blue); `None`: there is none.
    pub source: Option<String>,
    pub stage: LifecycleStage,
    /// When the stage, or the step of it, began.
    pub since: Timestamp,
    /// How much of the production traffic comes here.
    pub production_percent: f64,
    /// Whether test traffic comes here.
    pub test: bool,
    /// The hooks of this stage and step are among `hooks`.
    pub hooks_started: bool,
    /// All that were started, the newest last.
    pub hooks: Vec<HookRun>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HookRun {
    pub id: String,
    pub status: HookStatus,
    /// When it ends by itself, and how.
    pub timeout: Option<(Timestamp, HookAction)>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HookStatus {
    AwaitingAction,
    Succeeded,
    Failed,
    TimedOut,
}

/// What a deployment went through besides its tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeploymentCourse {
    pub strategy: DeploymentStrategy,
    pub launch_type: Option<String>,
    pub capacity_provider_strategy: Vec<crate::ecs::CapacityProviderStrategyItem>,
    pub shift: Option<Shift>,
    /// Alarms that were in ALARM when it began: then none is looked at, so that a mend can be deployed.
    pub alarms_ignored: bool,
    pub triggered_alarms: Vec<String>,
    /// All its tasks are healthy and no others are left since then.
    pub baking_since: Option<Timestamp>,
    /// It was given up and the traffic went back to the deployment before.
    pub rollback: Option<Rollback>,
    /// When StopServiceDeployment was called.
    pub stopped_at: Option<Timestamp>,
    /// Tasks above the desired count that a rebalancing of zones has started.
    pub rebalancing: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollback {
    /// The deployment that it went back to.
    pub to: String,
    pub reason: String,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}
