//! A service with policies, its alarms' states and values put by hand.

use super::*;
use crate::model::cloudwatch::alarms;
use crate::model::ecs::fixture::{World, scope};
use crate::model::ecs::services::{self, ServiceUpdate};
use crate::model::scaling::policies::{self, NewKind};
use crate::model::scaling::scheduled_actions::{self, NewAction};
use crate::model::scaling::targets::{self, Registration};
use crate::model::scaling::{Refusal, Subject};
use crate::reconcile::scheduled_scaling;
use fogbank_types::scaling::{ActivityStatus, ScalingActivity, TrackedMetric};

const ID: &str = "service/main/api";

fn subject() -> Subject {
    Subject {
        namespace: "ecs".to_owned(),
        resource_id: ID.to_owned(),
        dimension: "ecs:service:DesiredCount".to_owned(),
    }
}

struct Scaled(World);

impl Scaled {
    fn new(desired: i32, min: i32, max: i32) -> Self {
        let mut world = World::new();
        world.create_service(desired, false);
        let mut scaled = Self(world);
        scaled.settle();
        scaled.register(min, max).unwrap();
        scaled
    }

    /// Long enough for a deployment to be over.
    fn settle(&mut self) {
        self.0.settle();
        self.0.tx().advance_ms(60_000);
        self.0.settle();
    }

    fn register(&mut self, min: i32, max: i32) -> Result<ScalableTarget, Refusal> {
        let new = Registration {
            min_capacity: Some(min),
            max_capacity: Some(max),
            ..Registration::default()
        };
        targets::register(self.0.tx(), &scope(), &subject(), new)
    }

    fn track(&mut self, name: &str) -> (String, String) {
        let new = NewKind::TargetTracking {
            target_value: 50.0,
            metric: TrackedMetric::Predefined {
                metric: "ECSServiceAverageCPUUtilization".to_owned(),
                resource_label: None,
            },
            scale_out_cooldown_s: None,
            scale_in_cooldown_s: None,
            disable_scale_in: None,
        };
        let policy = policies::put(self.0.tx(), &scope(), &subject(), name, new).unwrap();
        match policy.kind {
            ScalingPolicyKind::TargetTracking(t) => (t.alarm_high, t.alarm_low.unwrap()),
            ScalingPolicyKind::Step(_) => unreachable!(),
        }
    }

    /// An alarm's state, and its value a minute later than the last.
    fn alarm(&mut self, name: &str, state: AlarmState, value: f64) {
        let tx = self.0.tx();
        tx.advance_ms(60_000);
        let before = tx.snapshot().alarms.get(&scope(), name).unwrap().clone();
        alarms::transition(tx, &before, state, String::new(), None);
        let (at, alarm_name) = (tx.now(), name.to_owned());
        tx.put(ScalingSignal {
            scope: scope(),
            alarm_name,
            at,
            value,
            told_at: at,
        });
        reconcile(tx);
    }

    fn desired(&self) -> u32 {
        self.0.service().desired_count
    }

    fn activities(&mut self) -> Vec<ScalingActivity> {
        let tx = self.0.tx();
        activities::of(tx, &scope(), ID)
            .map(|activity| ScalingActivity::clone(activity))
            .collect()
    }
}

#[test]
fn a_high_alarm_adds_tasks_and_the_activity_ends_when_they_run() {
    let mut scaled = Scaled::new(2, 1, 8);
    let (high, _) = scaled.track("cpu");
    assert!(high.starts_with("TargetTracking-service/main/api-AlarmHigh-"));
    scaled.alarm(&high, AlarmState::Alarm, 90.0);
    assert_eq!(scaled.desired(), 4);
    let activity = scaled.activities().pop().unwrap();
    assert_eq!(activity.description, "Setting desired count to 4.");
    assert_eq!(activity.status, ActivityStatus::InProgress);
    assert_eq!(
        activity.cause,
        format!("monitor alarm {high} in state ALARM triggered policy cpu")
    );
    scaled.settle();
    reconcile(scaled.0.tx());
    let activity = scaled.activities().pop().unwrap();
    assert_eq!(activity.status, ActivityStatus::Successful);
    assert_eq!(
        activity.status_message.as_deref(),
        Some("Successfully set desired count to 4. Change successfully fulfilled by ecs.")
    );
    // The same value is acted upon once, and a new one of the same height not during the cooldown.
    reconcile(scaled.0.tx());
    scaled.alarm(&high, AlarmState::Alarm, 90.0);
    assert_eq!(scaled.desired(), 4);
    scaled.0.tx().advance_ms(300_000);
    scaled.alarm(&high, AlarmState::Alarm, 90.0);
    assert_eq!(scaled.desired(), 8);
}

#[test]
fn all_policies_have_to_agree_before_tasks_go() {
    let mut scaled = Scaled::new(8, 2, 8);
    let (_, low_a) = scaled.track("a");
    let (high_b, low_b) = scaled.track("b");
    scaled.alarm(&low_a, AlarmState::Alarm, 5.0);
    assert_eq!(scaled.desired(), 8);
    scaled.alarm(&low_b, AlarmState::Alarm, 30.0);
    assert_eq!(scaled.desired(), 6);
    scaled.0.tx().advance_ms(300_000);
    scaled.alarm(&low_b, AlarmState::Ok, 48.0);
    scaled.alarm(&high_b, AlarmState::Alarm, 60.0);
    assert_eq!(scaled.desired(), 8);
}

#[test]
fn nothing_goes_while_a_deployment_runs() {
    let mut scaled = Scaled::new(4, 1, 8);
    let (_, low) = scaled.track("cpu");
    let update = ServiceUpdate {
        name: "api".to_owned(),
        cluster: Some("main".to_owned()),
        force_new_deployment: true,
        ..ServiceUpdate::default()
    };
    services::update(scaled.0.tx(), &scope(), update).unwrap();
    scaled.alarm(&low, AlarmState::Alarm, 5.0);
    assert_eq!(scaled.desired(), 4);
    scaled.settle();
    scaled.alarm(&low, AlarmState::Alarm, 5.0);
    assert_eq!(scaled.desired(), 1);
}

#[test]
fn bounds_are_enforced_when_they_change() {
    let mut scaled = Scaled::new(2, 1, 8);
    scaled.register(3, 8).unwrap();
    assert_eq!(scaled.desired(), 3);
    scaled.register(1, 2).unwrap();
    assert_eq!(scaled.desired(), 2);
    let causes: Vec<String> = scaled.activities().into_iter().map(|a| a.cause).collect();
    assert!(causes.contains(&"minimum capacity was set to 3".to_owned()));
    assert!(causes.contains(&"maximum capacity was set to 2".to_owned()));
    assert!(scaled.register(3, 2).is_err());
}

#[test]
fn scheduled_actions_set_bounds_at_their_time() {
    let mut scaled = Scaled::new(2, 1, 8);
    let new = |name: &str, schedule: &str, min, max| NewAction {
        name: name.to_owned(),
        schedule: Some(schedule.to_owned()),
        capacity: Some((Some(min), Some(max))),
        ..NewAction::default()
    };
    let put = |scaled: &mut Scaled, action| {
        scheduled_actions::put(scaled.0.tx(), &scope(), &subject(), action)
    };
    put(&mut scaled, new("up", "rate(10 minutes)", 5, 6)).unwrap();
    assert!(put(&mut scaled, new("odd", "cron(0 8 * * * *)", 5, 6)).is_err());
    assert!(put(&mut scaled, new("odd", "rate(1 minute)", 7, 6)).is_err());
    let wake = scheduled_scaling::reconcile(scaled.0.tx()).unwrap();
    assert_eq!(wake.0 - scaled.0.tx().now().0, 600_000);
    assert_eq!(scaled.desired(), 2);
    scaled.0.tx().advance_ms(600_000);
    scheduled_scaling::reconcile(scaled.0.tx());
    assert_eq!(scaled.desired(), 5);
    let causes: Vec<String> = scaled.activities().into_iter().map(|a| a.cause).collect();
    assert!(causes.contains(&"scheduled action name up was triggered".to_owned()));
}

#[test]
fn a_target_takes_what_belongs_to_it_along() {
    let mut scaled = Scaled::new(2, 1, 8);
    let (high, _) = scaled.track("cpu");
    scaled.alarm(&high, AlarmState::Ok, 10.0);
    targets::deregister(scaled.0.tx(), &scope(), &subject()).unwrap();
    let snapshot = scaled.0.tx().snapshot();
    assert!(snapshot.alarms.is_empty() && snapshot.scaling_policies.is_empty());
    assert!(snapshot.scaling_signals.is_empty());
    assert_eq!(
        targets::deregister(scaled.0.tx(), &scope(), &subject())
            .unwrap_err()
            .to_string(),
        "No scalable target found for service namespace: ecs, resource ID: service/main/api, scalable dimension: ecs:service:DesiredCount"
    );
}
