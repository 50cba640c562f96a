//! Composite alarms follow the states of the alarms in their rules; history is forgotten after thirty days.

use crate::model::Tx;
use crate::model::cloudwatch::{alarms, dates, history, rules};
use fogbank_types::Row;
use fogbank_types::Timestamp;
use fogbank_types::alarm::{Alarm, AlarmHistoryItem, AlarmState, AlarmWatch, CompositeWatch};
use serde_json::{Value, json};
use std::sync::Arc;

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    let composites: Vec<Arc<Alarm>> = tx
        .snapshot()
        .alarms
        .all()
        .filter(|alarm| matches!(alarm.watch, AlarmWatch::Composite(_)))
        .cloned()
        .collect();
    for alarm in composites {
        if let AlarmWatch::Composite(watch) = &alarm.watch {
            step(tx, &alarm, watch);
        }
    }
    forget(tx)
}

fn step(tx: &mut Tx, alarm: &Alarm, watch: &CompositeWatch) {
    // A rule is checked when it is put; one that can no longer be read keeps its state.
    let Ok(rule) = rules::parse(&watch.rule) else {
        return;
    };
    let state_of =
        |name: &str| alarms::alarm_state(tx.snapshot(), &alarm.scope, alarms::name_of(name));
    let state = match rule.holds(&state_of) {
        true => AlarmState::Alarm,
        false => AlarmState::Ok,
    };
    if state == alarm.state {
        return;
    }
    let children = rule.children();
    let triggers: Vec<&Arc<Alarm>> = children
        .iter()
        .filter_map(|name| {
            tx.snapshot()
                .alarms
                .get(&alarm.scope, alarms::name_of(name))
        })
        .collect();
    let newest = triggers
        .iter()
        .max_by_key(|child| child.state_transitioned_at);
    let reason = match newest {
        Some(child) => format!(
            "{} transitioned to {} at {}",
            child.arn(),
            child.state.as_str(),
            dates::words(child.state_transitioned_at.0)
        ),
        None => "The alarm rule evaluates to a constant".to_owned(),
    };
    let told: Vec<Value> = triggers
        .iter()
        .map(|child| {
            json!({"arn": child.arn(), "state": {"value": child.state.as_str(),
                "timestamp": dates::long(child.state_transitioned_at.0)}})
        })
        .collect();
    let data = json!({"triggeringAlarms": told}).to_string();
    alarms::transition(tx, alarm, state, reason, Some(data));
}

/// When the next item is old enough.
fn forget(tx: &mut Tx) -> Option<Timestamp> {
    let now = tx.now();
    let items: Vec<Arc<AlarmHistoryItem>> = tx.snapshot().alarm_history.all().cloned().collect();
    let mut wake: Option<Timestamp> = None;
    for item in items {
        let due = item.at.plus_ms(history::KEPT_MS);
        if due <= now {
            tx.delete::<AlarmHistoryItem>(&item.scope, item.id());
        } else {
            wake = Some(wake.map_or(due, |wake| wake.min(due)));
        }
    }
    wake
}
