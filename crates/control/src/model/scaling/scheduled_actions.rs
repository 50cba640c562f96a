//! Scheduled actions: new bounds at their time.

use super::{Refusal, Subject, activities, invalid, schedules, targets};
use crate::model::Tx;
use fogbank_types::scaling::{ScalableTarget, ScheduledScaling};
use fogbank_types::{RegionConfig, Scope, Timestamp};

/// Service quota "Scheduled actions per scalable target".
const ACTIONS_MAX: usize = 200;

/// What is not given stays as it is.
#[derive(Clone, Debug, Default)]
pub struct NewAction {
    pub name: String,
    pub schedule: Option<String>,
    pub time_zone: Option<String>,
    pub start: Option<Timestamp>,
    pub end: Option<Timestamp>,
    /// Minimum and maximum.
    pub capacity: Option<(Option<i32>, Option<i32>)>,
}

/// <https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScheduledAction.html>
pub fn put(
    tx: &mut Tx,
    scope: &Scope,
    subject: &Subject,
    new: NewAction,
) -> Result<ScheduledScaling, Refusal> {
    subject.target(tx.snapshot(), scope)?;
    let id = format!("{}/{}", subject.resource_id, new.name);
    let before = tx.snapshot().scheduled_scalings.get(scope, &id).cloned();
    let kept = before.as_deref();
    let schedule = new
        .schedule
        .or_else(|| kept.map(|action| action.schedule.clone()))
        .ok_or_else(|| invalid("Schedule is required to create a scheduled action"))?;
    let capacity = match new.capacity {
        Some((min, max)) => (checked(min, "Minimum")?, checked(max, "Maximum")?),
        None => kept.map_or((None, None), |action| {
            (action.min_capacity, action.max_capacity)
        }),
    };
    if capacity == (None, None) {
        return Err(invalid(
            "A scalable target action with a minimum or a maximum capacity is required",
        ));
    }
    if let (Some(min), Some(max)) = capacity {
        targets::check_bounds(min, max)?;
    }
    let (start, end) = (
        new.start.or(kept.and_then(|action| action.start)),
        new.end.or(kept.and_then(|action| action.end)),
    );
    if let (Some(start), Some(end)) = (start, end)
        && end <= start
    {
        return Err(invalid("End time must be after start time"));
    }
    if kept.is_none() {
        check_quota(tx, scope, &subject.resource_id)?;
    }
    let uuid = tx.uuid();
    let arn = scope.arn(
        "autoscaling",
        &format!(
            "scheduledAction:{uuid}:resource/ecs/{}:scheduledActionName/{}",
            subject.resource_id, new.name
        ),
    );
    let mut action = ScheduledScaling {
        scope: scope.clone(),
        resource_id: subject.resource_id.clone(),
        arn: kept.map_or(arn, |action| action.arn.clone()),
        name: new.name,
        schedule,
        time_zone: new
            .time_zone
            .or_else(|| kept.and_then(|action| action.time_zone.clone())),
        start,
        end,
        min_capacity: capacity.0,
        max_capacity: capacity.1,
        created_at: kept.map_or(tx.now(), |action| action.created_at),
        next: None,
    };
    check_schedule(&action)?;
    action.next = next(&action, tx.now(), tx.config());
    tx.put(action.clone());
    Ok(action)
}

fn checked(capacity: Option<i32>, name: &str) -> Result<Option<u32>, Refusal> {
    let wrong = |_| invalid(format!("{name} capacity cannot be a negative value"));
    capacity
        .map(|given| u32::try_from(given).map_err(wrong))
        .transpose()
}

fn check_quota(tx: &Tx, scope: &Scope, resource_id: &str) -> Result<(), Refusal> {
    let count = tx
        .snapshot()
        .scheduled_scalings
        .with_prefix(scope, &format!("{resource_id}/"))
        .count();
    match count >= ACTIONS_MAX {
        true => Err(Refusal::Limit(format!(
            "Maximum number of scheduled actions per scalable target exceeded. The limit is {ACTIONS_MAX}."
        ))),
        false => Ok(()),
    }
}

fn check_schedule(action: &ScheduledScaling) -> Result<(), Refusal> {
    if schedules::parse(&action.schedule).is_none() {
        return Err(invalid(format!(
            "Invalid schedule expression: {}",
            action.schedule
        )));
    }
    match schedules::zone(action.time_zone.as_deref()) {
        Some(_) => Ok(()),
        None => Err(invalid(format!(
            "Invalid timezone: {}",
            action.time_zone.as_deref().unwrap_or_default()
        ))),
    }
}

/// The first time after `after` that is not before its start nor behind its end.
pub fn next(
    action: &ScheduledScaling,
    after: Timestamp,
    config: &RegionConfig,
) -> Option<Timestamp> {
    let schedule = schedules::parse(&action.schedule)?;
    let zone = schedules::zone(action.time_zone.as_deref())?;
    let real = |ms: i64| config.scaled_ms(ms.unsigned_abs()) as i64;
    // A rate runs at its start first; the others may run at that very moment.
    let (since, after) = match action.start {
        Some(start) if start > after => match schedule {
            schedules::Schedule::Rate(_) => return Some(start),
            _ => (start, start.plus_ms(-1)),
        },
        Some(start) => (start, after),
        None => (action.created_at, after),
    };
    let at = schedules::next(&schedule, &zone, since, after, real)?;
    action.end.is_none_or(|end| at <= end).then_some(at)
}

/// <https://docs.aws.amazon.com/autoscaling/application/APIReference/API_DeleteScheduledAction.html>
pub fn delete(tx: &mut Tx, scope: &Scope, subject: &Subject, name: &str) -> Result<(), Refusal> {
    subject.check()?;
    let id = format!("{}/{name}", subject.resource_id);
    match tx.delete::<ScheduledScaling>(scope, id) {
        true => Ok(()),
        false => Err(subject.missing("scheduled action", Some(("scheduled action name", name)))),
    }
}

/// Does what it says, once, however often it was due meanwhile, and plans its next time.
pub fn run(tx: &mut Tx, action: &ScheduledScaling) {
    let mut planned = action.clone();
    planned.next = next(action, tx.now(), tx.config());
    tx.put(planned);
    let targets = &tx.snapshot().scalable_targets;
    let Some(target) = targets.get(&action.scope, &action.resource_id) else {
        return;
    };
    if target.suspended.scheduled {
        return;
    }
    let mut target = ScalableTarget::clone(target);
    let cause = format!("scheduled action name {} was triggered", action.name);
    let bounds = (action.min_capacity, action.max_capacity);
    target.min_capacity = bounds.0.unwrap_or(target.min_capacity);
    target.max_capacity = bounds.1.unwrap_or(target.max_capacity);
    if let Err(refusal) = targets::check_bounds(target.min_capacity, target.max_capacity) {
        activities::bounds_set(tx, &target, bounds, cause, Some(refusal.to_string()));
        return;
    }
    tx.put(target.clone());
    activities::bounds_set(tx, &target, bounds, cause, None);
    targets::enforce(tx, &target);
}
