//! Rows of CloudWatch's alarms and dashboards. What alarms look at is kept elsewhere: `docs/decisions/0019-metrics.md`.

use crate::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    pub scope: Scope,
    pub name: String,
    pub description: Option<String>,
    pub actions_enabled: bool,
    pub ok_actions: Vec<String>,
    pub alarm_actions: Vec<String>,
    pub insufficient_data_actions: Vec<String>,
    pub watch: AlarmWatch,
    pub configured_at: Timestamp,
    pub state: AlarmState,
    pub state_reason: String,
    /// JSON.
    pub state_reason_data: Option<String>,
    /// When the state or its reason last changed.
    pub state_updated_at: Timestamp,
    pub state_transitioned_at: Timestamp,
    /// What its data came to last, whatever `SetAlarmState` says: what health checks follow.
    #[serde(default)]
    pub judged: Option<AlarmState>,
    pub tags: Tags,
}

impl Alarm {
    pub fn arn(&self) -> String {
        self.scope
            .arn("cloudwatch", &format!("alarm:{}", self.name))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AlarmState {
    Ok,
    Alarm,
    InsufficientData,
}

impl AlarmState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Ok, Self::Alarm, Self::InsufficientData]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// What an alarm's state follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmWatch {
    Metric(MetricWatch),
    Composite(CompositeWatch),
}

/// A metric or an expression, against a threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricWatch {
    pub source: AlarmSource,
    pub evaluation_periods: u32,
    pub datapoints_to_alarm: Option<u32>,
    pub threshold: f64,
    pub comparison: Comparison,
    pub treat_missing: Option<TreatMissing>,
    /// `evaluate` or `ignore`.
    pub low_samples: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmSource {
    Metric(MetricStatistic),
    /// One of them has `return_data`.
    Queries(Vec<MetricQuery>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricStatistic {
    pub namespace: String,
    pub name: String,
    /// In the caller's order.
    pub dimensions: Vec<(String, String)>,
    /// `Average`, `p99`...
    pub statistic: String,
    pub period_s: u32,
    pub unit: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricQuery {
    pub id: String,
    pub label: Option<String>,
    /// As the caller gave it.
    pub return_data: Option<bool>,
    pub account: Option<String>,
    pub period_s: Option<u32>,
    pub input: MetricQueryInput,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricQueryInput {
    Metric(MetricStatistic),
    Expression(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    GreaterThanOrEqualToThreshold,
    GreaterThanThreshold,
    LessThanThreshold,
    LessThanOrEqualToThreshold,
}

impl Comparison {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GreaterThanOrEqualToThreshold => "GreaterThanOrEqualToThreshold",
            Self::GreaterThanThreshold => "GreaterThanThreshold",
            Self::LessThanThreshold => "LessThanThreshold",
            Self::LessThanOrEqualToThreshold => "LessThanOrEqualToThreshold",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        use Comparison::*;
        [
            GreaterThanOrEqualToThreshold,
            GreaterThanThreshold,
            LessThanThreshold,
            LessThanOrEqualToThreshold,
        ]
        .into_iter()
        .find(|comparison| comparison.as_str() == text)
    }

    /// Whether a value breaches the threshold.
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::GreaterThanOrEqualToThreshold => value >= threshold,
            Self::GreaterThanThreshold => value > threshold,
            Self::LessThanThreshold => value < threshold,
            Self::LessThanOrEqualToThreshold => value <= threshold,
        }
    }
}

/// What a period without data counts as; the default is `Missing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TreatMissing {
    Missing,
    Ignore,
    Breaching,
    NotBreaching,
}

impl TreatMissing {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Ignore => "ignore",
            Self::Breaching => "breaching",
            Self::NotBreaching => "notBreaching",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Missing,
            Self::Ignore,
            Self::Breaching,
            Self::NotBreaching,
        ]
        .into_iter()
        .find(|treat| treat.as_str() == text)
    }
}

/// A rule over other alarms' states.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompositeWatch {
    /// `ALARM("a") AND NOT OK(b)`, as the caller wrote it.
    pub rule: String,
    pub suppressor: Option<String>,
    pub suppressor_wait_s: Option<u32>,
    pub suppressor_extension_s: Option<u32>,
}

/// Something that happened to an alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlarmHistoryItem {
    pub scope: Scope,
    pub alarm_name: String,
    /// `MetricAlarm` or `CompositeAlarm`.
    pub alarm_type: String,
    pub at: Timestamp,
    /// Tells items of one millisecond apart, in their order.
    pub number: u32,
    pub kind: AlarmHistoryKind,
    pub summary: String,
    /// JSON.
    pub data: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlarmHistoryKind {
    ConfigurationUpdate,
    StateUpdate,
    Action,
}

impl AlarmHistoryKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigurationUpdate => "ConfigurationUpdate",
            Self::StateUpdate => "StateUpdate",
            Self::Action => "Action",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dashboard {
    pub scope: Scope,
    pub name: String,
    /// JSON.
    pub body: String,
    pub modified_at: Timestamp,
    pub tags: Tags,
}

impl Dashboard {
    /// Dashboards are global: their ARN names no region.
    pub fn arn(&self) -> String {
        Scope::new(&self.scope.account, "global")
            .arn("cloudwatch", &format!("dashboard/{}", self.name))
    }
}
