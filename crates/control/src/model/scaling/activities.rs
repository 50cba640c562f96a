//! What was done and why, in AWS's words; kept for six weeks.
//! <https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-scaling-activities.html>

use super::service_of;
use crate::model::Tx;
use crate::model::ecs::services::{self, ServiceUpdate};
use fogbank_types::Row;
use fogbank_types::scaling::{ActivityStatus, NotScaled, ScalableTarget, ScalingActivity};
use fogbank_types::{Scope, Timestamp};
use std::sync::Arc;

/// "The last six weeks."
const KEPT_MS: i64 = 42 * 24 * 3_600_000;
/// Of one target: one that flaps must not fill the store.
const ACTIVITIES_MAX: usize = 200;

/// Those of a target, oldest first.
pub fn of<'a>(
    tx: &'a Tx,
    scope: &Scope,
    resource_id: &'a str,
) -> impl Iterator<Item = &'a Arc<ScalingActivity>> + use<'a> {
    tx.snapshot()
        .scaling_activities
        .with_prefix(scope, &format!("{resource_id}/"))
        .filter(move |activity| activity.resource_id == resource_id)
}

fn record(tx: &mut Tx, target: &ScalableTarget, activity: ScalingActivity) {
    let now = tx.now();
    let before: Vec<(Timestamp, String)> = of(tx, &target.scope, &target.resource_id)
        .map(|activity| (activity.started_at, activity.id()))
        .collect();
    let surplus = (before.len() + 1).saturating_sub(ACTIVITIES_MAX);
    let gone = |index: usize, at: Timestamp| index < surplus || at.plus_ms(KEPT_MS) <= now;
    for (index, (at, id)) in before.iter().enumerate() {
        if gone(index, *at) {
            tx.delete::<ScalingActivity>(&target.scope, id);
        }
    }
    tx.put(activity);
}

fn new(
    tx: &mut Tx,
    target: &ScalableTarget,
    description: String,
    cause: String,
) -> ScalingActivity {
    ScalingActivity {
        scope: target.scope.clone(),
        id: tx.uuid(),
        resource_id: target.resource_id.clone(),
        description,
        cause,
        started_at: tx.now(),
        ended_at: Some(tx.now()),
        status: ActivityStatus::Successful,
        status_message: None,
        capacity: None,
        not_scaled: None,
    }
}

/// Sets the service's desired count and says so; whether that worked. It is fulfilled when so many tasks run.
pub fn set_capacity(tx: &mut Tx, target: &ScalableTarget, capacity: u32, cause: String) -> bool {
    let description = format!("Setting desired count to {capacity}.");
    let mut activity = new(tx, target, description, cause);
    let Some((cluster, service)) = service_of(&target.resource_id) else {
        return false;
    };
    let update = ServiceUpdate {
        name: service.to_owned(),
        cluster: Some(cluster.to_owned()),
        desired_count: i32::try_from(capacity).ok(),
        ..ServiceUpdate::default()
    };
    let updated = services::update(tx, &target.scope, update);
    match &updated {
        Ok(_) => {
            activity.status = ActivityStatus::InProgress;
            activity.ended_at = None;
            activity.capacity = Some(capacity);
            activity.status_message = Some(format!(
                "Successfully set desired count to {capacity}. Waiting for change to be fulfilled by ecs."
            ));
            override_open(tx, &target.scope, &target.resource_id, capacity);
        }
        Err(refusal) => {
            activity.status = ActivityStatus::Failed;
            activity.status_message = Some(format!(
                "Failed to set desired count to {capacity}. Reason: {refusal}"
            ));
        }
    }
    record(tx, target, activity);
    updated.is_ok()
}

/// What was still waited for is not any more.
fn override_open(tx: &mut Tx, scope: &Scope, resource_id: &str, capacity: u32) {
    let now = tx.now();
    let open: Vec<ScalingActivity> = of(tx, scope, resource_id)
        .filter(|activity| activity.status == ActivityStatus::InProgress)
        .map(|activity| ScalingActivity::clone(activity))
        .collect();
    for mut activity in open {
        activity.status = ActivityStatus::Overridden;
        activity.ended_at = Some(now);
        activity.status_message = activity.capacity.map(|was| {
            format!("Successfully set desired count to {was}. Change was overridden by a desired count of {capacity}.")
        });
        tx.put(activity);
    }
}

/// Looks whether what is in progress has come true: that many tasks run, or somebody wants another number.
pub fn follow(tx: &mut Tx, target: &ScalableTarget) {
    let open: Vec<ScalingActivity> = of(tx, &target.scope, &target.resource_id)
        .filter(|activity| activity.status == ActivityStatus::InProgress)
        .map(|activity| ScalingActivity::clone(activity))
        .collect();
    if open.is_empty() {
        return;
    }
    let found = super::find_service(tx.snapshot(), &target.scope, &target.resource_id).cloned();
    let now = tx.now();
    for mut activity in open {
        let capacity = activity.capacity.unwrap_or_default();
        let Some(service) = &found else {
            activity.status = ActivityStatus::Failed;
            activity.status_message = Some(format!(
                "Failed to set desired count to {capacity}. Reason: ECS service doesn't exist: {}",
                target.resource_id
            ));
            activity.ended_at = Some(now);
            tx.put(activity);
            continue;
        };
        if service.desired_count != capacity {
            override_open(
                tx,
                &target.scope,
                &target.resource_id,
                service.desired_count,
            );
            return;
        }
        let (running, pending) = services::counts(tx.snapshot(), service, None);
        if running == capacity as usize && pending == 0 {
            activity.status = ActivityStatus::Successful;
            activity.status_message = Some(format!(
                "Successfully set desired count to {capacity}. Change successfully fulfilled by ecs."
            ));
            activity.ended_at = Some(now);
            tx.put(activity);
        }
    }
}

/// An alarm asked, and nothing came of it. Told once, not each minute that the alarm goes on.
pub fn not_scaled(tx: &mut Tx, target: &ScalableTarget, cause: String, why: NotScaled) {
    let newest = of(tx, &target.scope, &target.resource_id).last();
    if newest.is_some_and(|last| last.not_scaled == Some(why) && last.cause == cause) {
        return;
    }
    let description = "Attempting to scale due to alarm triggered".to_owned();
    let mut activity = new(tx, target, description, cause);
    activity.status = match why {
        NotScaled::AlreadyAtDesiredCapacity(_) => ActivityStatus::Successful,
        _ => ActivityStatus::Failed,
    };
    activity.not_scaled = Some(why);
    record(tx, target, activity);
}

/// New bounds by a scheduled action.
pub fn bounds_set(
    tx: &mut Tx,
    target: &ScalableTarget,
    (min, max): (Option<u32>, Option<u32>),
    cause: String,
    failure: Option<String>,
) {
    let what = match (min, max) {
        (Some(min), Some(max)) => format!("min capacity to {min} and max capacity to {max}"),
        (Some(min), None) => format!("min capacity to {min}"),
        (None, Some(max)) => format!("max capacity to {max}"),
        (None, None) => return,
    };
    let mut activity = new(tx, target, format!("Setting {what}"), cause);
    activity.status_message = Some(match &failure {
        None => format!("Successfully set {what}"),
        Some(why) => format!("Failed to set {what}. Reason: {why}"),
    });
    if failure.is_some() {
        activity.status = ActivityStatus::Failed;
    }
    record(tx, target, activity);
}
