//! Application Auto Scaling: shapes to commands, rows to shapes.

mod activities;
mod policies;
mod policy_shapes;
mod scheduled_actions;
mod tags;
mod targets;
#[cfg(test)]
mod tests;

use super::page::{cut, offset};
use crate::model::scaling::{Refusal, Subject};

super::handlers! {
    ApplicationAutoscaling:
    write RegisterScalableTarget => targets::register,
    read DescribeScalableTargets => targets::describe,
    write DeregisterScalableTarget => targets::deregister,
    write PutScalingPolicy => policies::put,
    read DescribeScalingPolicies => policies::describe,
    write DeleteScalingPolicy => policies::delete,
    write PutScheduledAction => scheduled_actions::put,
    read DescribeScheduledActions => scheduled_actions::describe,
    write DeleteScheduledAction => scheduled_actions::delete,
    read DescribeScalingActivities => activities::describe,
    write TagResource => tags::tag,
    write UntagResource => tags::untag,
    read ListTagsForResource => tags::list,
}

fn subject(namespace: String, resource_id: String, dimension: String) -> Subject {
    Subject {
        namespace,
        resource_id,
        dimension,
    }
}

const PAGE_MAX: usize = 50;

/// One page of a list, and the token of the next.
fn page<T>(
    items: Vec<T>,
    token: Option<&str>,
    most: Option<i32>,
) -> Result<(Vec<T>, Option<String>), Refusal> {
    let start = offset(token).ok_or(Refusal::Token)?;
    let most = match most {
        None => PAGE_MAX,
        Some(most @ 1..=50) => most as usize,
        Some(_) => {
            return Err(Refusal::Validation(
                "MaxResults must be between 1 and 50".to_owned(),
            ));
        }
    };
    Ok(cut(items, start, most))
}

/// What a describing call narrows its list by; only one namespace and dimension has anything.
struct Asked {
    nothing: bool,
    resource_id: Option<String>,
}

impl Asked {
    fn new(namespace: &str, dimension: Option<&str>, resource_id: Option<String>) -> Self {
        let known = namespace == "ecs"
            && dimension.is_none_or(|d| d == fogbank_types::scaling::ECS_DESIRED_COUNT);
        Self {
            nothing: !known,
            resource_id,
        }
    }

    fn takes(&self, resource_id: &str) -> bool {
        !self.nothing
            && self
                .resource_id
                .as_deref()
                .is_none_or(|id| id == resource_id)
    }
}
