//! What happened to alarms, kept for thirty days even when the alarm is gone.

use super::dates;
use crate::model::Tx;
use crate::model::scaling::policies;
use fogbank_types::Timestamp;
use fogbank_types::alarm::{Alarm, AlarmHistoryItem, AlarmHistoryKind, AlarmState, AlarmWatch};
use serde_json::{Value, json};
use std::sync::Arc;

/// AWS keeps thirty days.
pub const KEPT_MS: i64 = 30 * 24 * 3_600_000;
/// Of one alarm: one that flaps must not fill the store.
const ITEMS_MAX: usize = 100;

pub fn alarm_type(alarm: &Alarm) -> &'static str {
    match alarm.watch {
        AlarmWatch::Metric(_) => "MetricAlarm",
        AlarmWatch::Composite(_) => "CompositeAlarm",
    }
}

/// The items of one alarm, oldest first.
pub fn of<'a>(
    tx: &'a Tx,
    alarm: &'a Alarm,
) -> impl Iterator<Item = &'a Arc<AlarmHistoryItem>> + use<'a> {
    let prefix = format!("{}/", alarm.name);
    tx.snapshot()
        .alarm_history
        .with_prefix(&alarm.scope, &prefix)
        .filter(move |item| item.alarm_name == alarm.name)
}

fn record(tx: &mut Tx, alarm: &Alarm, kind: AlarmHistoryKind, summary: String, data: Value) {
    let now = tx.now();
    let before: Vec<(Timestamp, u32, String)> = of(tx, alarm)
        .map(|item| (item.at, item.number, id(item)))
        .collect();
    let number = before
        .iter()
        .filter(|(at, ..)| *at == now)
        .map(|(_, number, _)| number + 1)
        .max()
        .unwrap_or(0);
    let surplus = (before.len() + 1).saturating_sub(ITEMS_MAX);
    for (_, _, id) in &before[..surplus] {
        tx.delete::<AlarmHistoryItem>(&alarm.scope, id);
    }
    tx.put(AlarmHistoryItem {
        scope: alarm.scope.clone(),
        alarm_name: alarm.name.clone(),
        alarm_type: alarm_type(alarm).to_owned(),
        at: now,
        number,
        kind,
        summary,
        data: data.to_string(),
    });
}

fn id(item: &AlarmHistoryItem) -> String {
    use fogbank_types::Row;
    item.id()
}

/// `created`, `updated` or `deleted`.
pub fn configured(tx: &mut Tx, alarm: &Alarm, what: &str) {
    let kind = match what {
        "created" => "Create",
        "updated" => "Update",
        _ => "Delete",
    };
    let told = json!({"alarmName": alarm.name, "alarmArn": alarm.arn(), "description": alarm.description,
        "actionsEnabled": alarm.actions_enabled, "okActions": alarm.ok_actions, "alarmActions": alarm.alarm_actions,
        "insufficientDataActions": alarm.insufficient_data_actions, "stateValue": alarm.state.as_str()});
    let data = json!({"version": "1.0", "type": kind, format!("{what}Alarm"): told});
    let summary = format!("Alarm \"{}\" {what}", alarm.name);
    record(
        tx,
        alarm,
        AlarmHistoryKind::ConfigurationUpdate,
        summary,
        data,
    );
}

/// From one state to another, and what was to be done about it.
pub fn transitioned(tx: &mut Tx, before: &Alarm, after: &Alarm, suppressed: bool) {
    let told = |alarm: &Alarm| {
        let data = alarm.state_reason_data.as_deref();
        let data: Option<Value> = data.and_then(|data| serde_json::from_str(data).ok());
        json!({"stateValue": alarm.state.as_str(), "stateReason": alarm.state_reason, "stateReasonData": data})
    };
    let data = json!({"version": "1.0", "oldState": told(before), "newState": told(after)});
    let (from, to) = (before.state.as_str(), after.state.as_str());
    let summary = format!("Alarm updated from {from} to {to}");
    record(tx, after, AlarmHistoryKind::StateUpdate, summary, data);
    if !after.actions_enabled || suppressed {
        return;
    }
    let actions = match after.state {
        AlarmState::Ok => &after.ok_actions,
        AlarmState::Alarm => &after.alarm_actions,
        AlarmState::InsufficientData => &after.insufficient_data_actions,
    };
    for action in actions {
        // Scaling policies act by the alarm's state; nothing else is told. See docs/flows/scaling.md.
        let (summary, done) = match policies::is_policy(action) {
            true => (
                format!("Successfully executed action {action}"),
                "Succeeded",
            ),
            false => (
                format!("The action {action} is due; this region sends no notifications"),
                "Due",
            ),
        };
        let summary: String = summary.chars().take(255).collect();
        let data = json!({"version": "1.0", "actionState": done, "stateUpdateTimestamp": dates::long(tx.now().0),
            "notificationResource": action});
        record(tx, after, AlarmHistoryKind::Action, summary, data);
    }
}
