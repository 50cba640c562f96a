//! Subscription filters. Their destinations (Kinesis, Data Firehose, Lambda) are no services of this region, so none can be
//! made: AWS's answer where it cannot deliver a test message. What is not there can neither be listed nor deleted.
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutSubscriptionFilter.html>

use super::invalid;
use crate::api::{ApiError, Context};
use crate::model::logs::pattern::Pattern;
use crate::model::logs::{Refusal, groups};
use fogbank_wire::logs as wire;

pub fn put(
    context: &Context,
    request: wire::PutSubscriptionFilterRequest,
) -> Result<wire::PutSubscriptionFilterResponse, ApiError> {
    groups::find(
        &context.snapshot(),
        &context.scope(),
        &request.log_group_name,
    )?;
    super::no_transformed_logs(
        request.apply_on_transformed_logs,
        request.field_selection_criteria.as_deref(),
        request.emit_system_fields.as_deref(),
    )?;
    Pattern::parse(&request.filter_pattern)?;
    let parts: Vec<&str> = request.destination_arn.splitn(6, ':').collect();
    let service = match parts.as_slice() {
        ["arn", _, service, _, _, _] => *service,
        _ => return Err(invalid("destinationArn is no ARN.")),
    };
    Err(match service {
        "kinesis" | "firehose" | "logs" if request.role_arn.is_none() && service != "logs" => {
            invalid("destinationArn for vendor kinesis or firehose must be used with a roleArn")
        }
        "kinesis" => invalid(
            "Could not deliver test message to specified Kinesis stream. Check if the given kinesis stream is in ACTIVE state.",
        ),
        "firehose" => invalid(
            "Could not deliver test message to specified Firehose stream. Check if the given Firehose stream is in ACTIVE state.",
        ),
        "lambda" => invalid(
            "Could not execute the lambda function. Make sure you have given CloudWatch Logs permission to execute your function.",
        ),
        "logs" => Refusal::DestinationNotFound.into(),
        other => invalid(format!(
            "PutSubscriptionFilter operation cannot work with destinationArn for vendor {other}"
        )),
    })
}

pub fn describe(
    context: &Context,
    request: wire::DescribeSubscriptionFiltersRequest,
) -> Result<wire::DescribeSubscriptionFiltersResponse, ApiError> {
    groups::find(
        &context.snapshot(),
        &context.scope(),
        &request.log_group_name,
    )?;
    Ok(wire::DescribeSubscriptionFiltersResponse {
        subscription_filters: Some(Vec::new()),
        next_token: None,
    })
}

pub fn delete(
    context: &Context,
    request: wire::DeleteSubscriptionFilterRequest,
) -> Result<wire::DeleteSubscriptionFilterResponse, ApiError> {
    groups::find(
        &context.snapshot(),
        &context.scope(),
        &request.log_group_name,
    )?;
    Err(Refusal::SubscriptionFilterNotFound.into())
}
