//! Rows of Application Auto Scaling: what may be scaled, by which policies and schedules, and what was done.

use crate::alarm::MetricQuery;
use crate::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The only dimension that can be scaled here.
pub const ECS_DESIRED_COUNT: &str = "ecs:service:DesiredCount";

/// A service whose desired count follows policies, within bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalableTarget {
    pub scope: Scope,
    /// `service/<cluster>/<service>`
    pub resource_id: String,
    pub arn: String,
    pub min_capacity: u32,
    pub max_capacity: u32,
    pub role_arn: String,
    pub suspended: SuspendedState,
    pub created_at: Timestamp,
    pub tags: Tags,
    /// What the last scaling by a policy started; it ends by time, or when one the other way begins.
    pub cooldown: Option<Cooldown>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspendedState {
    pub scale_in: bool,
    pub scale_out: bool,
    pub scheduled: bool,
}

/// After a policy scaled: until then further scaling the same way has to be for a greater need (facts SCALE-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cooldown {
    pub direction: Direction,
    pub until: Timestamp,
    /// Capacity before the first scaling of this cooldown: needs are counted from it.
    pub from_capacity: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    Out,
    In,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingPolicy {
    pub scope: Scope,
    pub resource_id: String,
    pub name: String,
    pub arn: String,
    pub kind: ScalingPolicyKind,
    pub created_at: Timestamp,
    /// Up to when each alarm's signals were acted upon.
    #[serde(default)]
    pub answered: BTreeMap<String, Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScalingPolicyKind {
    TargetTracking(TargetTracking),
    Step(StepScaling),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetTracking {
    pub target_value: f64,
    pub metric: TrackedMetric,
    pub scale_out_cooldown_s: Option<u32>,
    pub scale_in_cooldown_s: Option<u32>,
    /// As the caller gave it; `None` is off.
    pub disable_scale_in: Option<bool>,
    pub alarm_high: String,
    /// None: it does not scale in.
    pub alarm_low: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackedMetric {
    /// `ECSServiceAverageCPUUtilization`..., with its resource label.
    Predefined {
        metric: String,
        resource_label: Option<String>,
    },
    Customized {
        namespace: String,
        name: String,
        dimensions: Vec<(String, String)>,
        statistic: String,
        unit: Option<String>,
    },
    /// Metric math.
    Queries(Vec<MetricQuery>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepScaling {
    pub adjustment: AdjustmentType,
    pub steps: Vec<StepAdjustment>,
    pub min_adjustment_magnitude: Option<u32>,
    pub cooldown_s: Option<u32>,
    /// `Average`, `Minimum` or `Maximum`, as given.
    pub aggregation: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdjustmentType {
    ChangeInCapacity,
    PercentChangeInCapacity,
    ExactCapacity,
}

impl AdjustmentType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChangeInCapacity => "ChangeInCapacity",
            Self::PercentChangeInCapacity => "PercentChangeInCapacity",
            Self::ExactCapacity => "ExactCapacity",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::ChangeInCapacity,
            Self::PercentChangeInCapacity,
            Self::ExactCapacity,
        ]
        .into_iter()
        .find(|adjustment| adjustment.as_str() == text)
    }
}

/// Bounds are relative to the alarm's threshold; none is infinite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepAdjustment {
    pub lower: Option<f64>,
    pub upper: Option<f64>,
    pub adjustment: i32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduledScaling {
    pub scope: Scope,
    pub resource_id: String,
    pub name: String,
    pub arn: String,
    /// `at(..)`, `rate(..)` or `cron(..)`, as given.
    pub schedule: String,
    /// IANA name.
    pub time_zone: Option<String>,
    pub start: Option<Timestamp>,
    pub end: Option<Timestamp>,
    pub min_capacity: Option<u32>,
    pub max_capacity: Option<u32>,
    pub created_at: Timestamp,
    /// When it runs next; none: never again.
    pub next: Option<Timestamp>,
}

/// What an alarm whose action is a policy said last. Written where alarms are evaluated, once a data point for as long as
/// the alarm stays in the state that has the action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingSignal {
    pub scope: Scope,
    pub alarm_name: String,
    /// Start of the newest data point.
    pub at: Timestamp,
    pub value: f64,
    /// When the alarm was evaluated; what is old is not acted upon.
    pub told_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingActivity {
    pub scope: Scope,
    /// UUID.
    pub id: String,
    pub resource_id: String,
    pub description: String,
    pub cause: String,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub status: ActivityStatus,
    pub status_message: Option<String>,
    /// What it set the capacity to, while it is to be seen whether that comes true.
    pub capacity: Option<u32>,
    pub not_scaled: Option<NotScaled>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActivityStatus {
    InProgress,
    Successful,
    Overridden,
    Failed,
}

impl ActivityStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Successful => "Successful",
            Self::Overridden => "Overridden",
            Self::Failed => "Failed",
        }
    }
}

/// Why an alarm that asked changed nothing.
/// <https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-scaling-activities.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotScaled {
    AlreadyAtMaxCapacity(u32),
    AlreadyAtMinCapacity(u32),
    AlreadyAtDesiredCapacity(u32),
}
