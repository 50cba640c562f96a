//! Scalable targets: which services are scaled, and between which bounds.

use super::{Refusal, Subject, activities, find_service, invalid, policies, tags};
use crate::model::Tx;
use crate::model::iam::roles;
use fogbank_types::scaling::{ScalableTarget, ScalingPolicy, ScheduledScaling, SuspendedState};
use fogbank_types::{Scope, Tags};

const ROLE_SERVICE: &str = "ecs.application-autoscaling.amazonaws.com";
const ROLE_NAME: &str = "AWSServiceRoleForApplicationAutoScaling_ECSService";

/// What is not given stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Registration {
    pub min_capacity: Option<i32>,
    pub max_capacity: Option<i32>,
    /// In, out, scheduled.
    pub suspended: [Option<bool>; 3],
    /// Of new targets only; others get theirs by TagResource.
    pub tags: Tags,
}

/// Makes a target, or changes what it says; a desired count out of its bounds moves at once.
/// <https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html>
pub fn register(
    tx: &mut Tx,
    scope: &Scope,
    subject: &Subject,
    new: Registration,
) -> Result<ScalableTarget, Refusal> {
    subject.check()?;
    if find_service(tx.snapshot(), scope, &subject.resource_id).is_none() {
        return Err(invalid(format!(
            "ECS service doesn't exist: {}",
            subject.resource_id
        )));
    }
    let before = tx
        .snapshot()
        .scalable_targets
        .get(scope, &subject.resource_id)
        .cloned();
    let capacity = |given: Option<i32>, kept: Option<u32>, name: &str| match (given, kept) {
        (Some(given), _) => u32::try_from(given)
            .map_err(|_| invalid(format!("{name} capacity cannot be a negative value"))),
        (None, Some(kept)) => Ok(kept),
        (None, None) => Err(invalid(
            "MinCapacity and MaxCapacity are required to register a new scalable target",
        )),
    };
    let kept = before.as_deref();
    let min_capacity = capacity(new.min_capacity, kept.map(|t| t.min_capacity), "Minimum")?;
    let max_capacity = capacity(new.max_capacity, kept.map(|t| t.max_capacity), "Maximum")?;
    check_bounds(min_capacity, max_capacity)?;
    let was = kept.map(|t| t.suspended).unwrap_or_default();
    let [scale_in, scale_out, scheduled] = new.suspended;
    let suspended = SuspendedState {
        scale_in: scale_in.unwrap_or(was.scale_in),
        scale_out: scale_out.unwrap_or(was.scale_out),
        scheduled: scheduled.unwrap_or(was.scheduled),
    };
    let target = match before {
        Some(before) => ScalableTarget {
            min_capacity,
            max_capacity,
            suspended,
            ..ScalableTarget::clone(&before)
        },
        None => {
            tags::check(&new.tags)?;
            let id = format!("{}{}", tx.hex(32), tx.hex(4));
            ScalableTarget {
                scope: scope.clone(),
                resource_id: subject.resource_id.clone(),
                arn: scope.arn("application-autoscaling", &format!("scalable-target/{id}")),
                min_capacity,
                max_capacity,
                role_arn: linked_role(tx, scope),
                suspended,
                created_at: tx.now(),
                tags: new.tags,
                cooldown: None,
            }
        }
    };
    tx.put(target.clone());
    enforce(tx, &target);
    Ok(target)
}

pub fn check_bounds(min_capacity: u32, max_capacity: u32) -> Result<(), Refusal> {
    match max_capacity < min_capacity {
        true => Err(invalid(
            "Maximum capacity cannot be less than minimum capacity",
        )),
        false => Ok(()),
    }
}

/// The service-linked role, made when it is needed first. Its ARN.
fn linked_role(tx: &mut Tx, scope: &Scope) -> String {
    let global = scope.global();
    if let Some(role) = tx.snapshot().roles.get(&global, ROLE_NAME) {
        return role.arn.clone();
    }
    match roles::create_service_linked(tx, &global, ROLE_SERVICE, None, None) {
        Ok(role) => role.arn,
        // Never: the service is in the list of those that have a role.
        Err(_) => global.arn(
            "iam",
            &format!("role/aws-service-role/{ROLE_SERVICE}/{ROLE_NAME}"),
        ),
    }
}

/// Moves a desired count into the bounds. AWS does so when bounds change, and at no other time: a count that is set by
/// hand stays until the next activity (fact SCALE-8).
pub fn enforce(tx: &mut Tx, target: &ScalableTarget) {
    let Some(service) = find_service(tx.snapshot(), &target.scope, &target.resource_id) else {
        return;
    };
    let desired = service.desired_count;
    if desired < target.min_capacity {
        let cause = format!("minimum capacity was set to {}", target.min_capacity);
        activities::set_capacity(tx, target, target.min_capacity, cause);
    } else if desired > target.max_capacity {
        let cause = format!("maximum capacity was set to {}", target.max_capacity);
        activities::set_capacity(tx, target, target.max_capacity, cause);
    }
}

/// Its policies with their alarms and its scheduled actions go with it. What it did stays known.
/// <https://docs.aws.amazon.com/autoscaling/application/APIReference/API_DeregisterScalableTarget.html>
pub fn deregister(tx: &mut Tx, scope: &Scope, subject: &Subject) -> Result<(), Refusal> {
    subject.target(tx.snapshot(), scope)?;
    let prefix = format!("{}/", subject.resource_id);
    let snapshot = tx.snapshot();
    let of_target = |resource_id: &str| resource_id == subject.resource_id;
    let gone: Vec<ScalingPolicy> = snapshot
        .scaling_policies
        .with_prefix(scope, &prefix)
        .filter(|policy| of_target(&policy.resource_id))
        .map(|policy| ScalingPolicy::clone(policy))
        .collect();
    let actions: Vec<String> = snapshot
        .scheduled_scalings
        .with_prefix(scope, &prefix)
        .filter(|action| of_target(&action.resource_id))
        .map(|action| action.name.clone())
        .collect();
    for policy in gone {
        policies::remove(tx, &policy);
    }
    for name in actions {
        tx.delete::<ScheduledScaling>(scope, format!("{prefix}{name}"));
    }
    tx.delete::<ScalableTarget>(scope, &subject.resource_id);
    Ok(())
}
