//! Attributes of load balancers, target groups and listeners.

use crate::api::{ApiError, Context};
use crate::buckets;
use crate::model::elb::load_balancer_attributes::{LogBucket, LogKind};
use crate::model::elb::{
    Refusal, arns, invalid, listener_attributes, load_balancer_attributes, target_group_attributes,
};
use fogbank_types::RegionConfig;
use fogbank_wire::elbv2::*;

/// Keys and values as they came; both must be there.
fn pairs(
    attributes: impl IntoIterator<Item = (Option<String>, Option<String>)>,
) -> Result<Vec<(String, String)>, ApiError> {
    let pair = |(key, value): (Option<String>, Option<String>)| {
        let key = key.ok_or_else(|| invalid("Attribute key cannot be empty"))?;
        // An absent value is an empty one: so do clients clear a text.
        Ok((key, value.unwrap_or_default()))
    };
    attributes.into_iter().map(pair).collect()
}

macro_rules! render {
    ($shape:ident, $all:expr) => {
        Some(
            $all.into_iter()
                .map(|(key, value)| $shape {
                    key: Some(key),
                    value: Some(value),
                })
                .collect(),
        )
    };
}

pub fn describe_load_balancer(
    context: &Context,
    input: DescribeLoadBalancerAttributesInput,
) -> Result<DescribeLoadBalancerAttributesOutput, ApiError> {
    let snapshot = context.snapshot();
    let row = arns::find_load_balancer(&snapshot, &context.scope(), &input.load_balancer_arn)?;
    let attributes = render!(LoadBalancerAttribute, load_balancer_attributes::all(row));
    Ok(DescribeLoadBalancerAttributesOutput { attributes })
}

pub fn modify_load_balancer(
    context: &Context,
    input: ModifyLoadBalancerAttributesInput,
) -> Result<ModifyLoadBalancerAttributesOutput, ApiError> {
    let changes = pairs(input.attributes.into_iter().map(|a| (a.key, a.value)))?;
    let (scope, arn) = (context.scope(), input.load_balancer_arn);
    let row = context.write(|tx| {
        let before = arns::find_load_balancer(tx.snapshot(), &scope, &arn)?.clone();
        let row = load_balancer_attributes::modify(tx, &scope, &arn, &changes)?;
        for kind in LogKind::ALL {
            let to = kind
                .bucket(&row)
                .filter(|to| kind.bucket(&before).as_ref() != Some(to));
            if let Some(to) = to {
                try_bucket(tx.config(), kind, &to, &scope.account)?;
            }
        }
        Ok(row)
    })?;
    let attributes = render!(LoadBalancerAttribute, load_balancer_attributes::all(&row));
    Ok(ModifyLoadBalancerAttributesOutput { attributes })
}

/// Writes the test file of a log that is turned on: what can't be written to is refused before it is the log's.
fn try_bucket(
    config: &RegionConfig,
    kind: LogKind,
    to: &LogBucket,
    account: &str,
) -> Result<(), ApiError> {
    let text = format!("Enable {kind:?}Logs for load balancers of account {account}\n");
    let key = kind.test_file(to, account);
    buckets::write(config, &to.bucket, &key, text.as_bytes()).map_err(|error| {
        tracing::warn!(%error, "try the bucket of a log");
        Refusal::InvalidConfigurationRequest(format!(
            "Access Denied for bucket: {}. Please check S3bucket permission",
            to.bucket
        ))
    })?;
    Ok(())
}

pub fn describe_target_group(
    context: &Context,
    input: DescribeTargetGroupAttributesInput,
) -> Result<DescribeTargetGroupAttributesOutput, ApiError> {
    let snapshot = context.snapshot();
    let row = arns::find_target_group(&snapshot, &context.scope(), &input.target_group_arn)?;
    let attributes = render!(TargetGroupAttribute, target_group_attributes::all(row));
    Ok(DescribeTargetGroupAttributesOutput { attributes })
}

pub fn modify_target_group(
    context: &Context,
    input: ModifyTargetGroupAttributesInput,
) -> Result<ModifyTargetGroupAttributesOutput, ApiError> {
    let changes = pairs(input.attributes.into_iter().map(|a| (a.key, a.value)))?;
    let (scope, arn) = (context.scope(), input.target_group_arn);
    let row =
        context.write(|tx| Ok(target_group_attributes::modify(tx, &scope, &arn, &changes)?))?;
    let attributes = render!(TargetGroupAttribute, target_group_attributes::all(&row));
    Ok(ModifyTargetGroupAttributesOutput { attributes })
}

pub fn describe_listener(
    context: &Context,
    input: DescribeListenerAttributesInput,
) -> Result<DescribeListenerAttributesOutput, ApiError> {
    let snapshot = context.snapshot();
    let row = arns::find_listener(&snapshot, &context.scope(), &input.listener_arn)?;
    let attributes = render!(ListenerAttribute, listener_attributes::all(row));
    Ok(DescribeListenerAttributesOutput { attributes })
}

pub fn modify_listener(
    context: &Context,
    input: ModifyListenerAttributesInput,
) -> Result<ModifyListenerAttributesOutput, ApiError> {
    let changes = pairs(input.attributes.into_iter().map(|a| (a.key, a.value)))?;
    let (scope, arn) = (context.scope(), input.listener_arn);
    let row = context.write(|tx| Ok(listener_attributes::modify(tx, &scope, &arn, &changes)?))?;
    let attributes = render!(ListenerAttribute, listener_attributes::all(&row));
    Ok(ModifyListenerAttributesOutput { attributes })
}
