//! Flow logs. Rules: `model::vpc::flow_logs`.

use super::query::{query, rows};
use super::{not_offered, tags, vpc_endpoints, write};
use crate::api::{ApiError, Context};
use crate::model::Refused;
use crate::model::vpc::flow_logs::{self, NewFlowLogs};
use crate::model::vpc::{Refusal, ids};
use fogbank_types::diagnosis::{FlowLog as Row, FlowLogResource, FlowLogTraffic};
use fogbank_types::{FlowLogId, Scope, Snapshot};
use fogbank_wire::ec2::*;

const CLOUD_WATCH: &str = "cloud-watch-logs";

fn parameter(text: impl Into<String>) -> Refusal {
    Refusal::Parameter { text: text.into() }
}

fn traffic_name(traffic: FlowLogTraffic) -> &'static str {
    match traffic {
        FlowLogTraffic::Accept => "ACCEPT",
        FlowLogTraffic::Reject => "REJECT",
        FlowLogTraffic::All => "ALL",
    }
}

fn status_name(snapshot: &Snapshot, row: &Row) -> &'static str {
    if flow_logs::is_delivered(snapshot, row) {
        "SUCCESS"
    } else {
        "FAILED"
    }
}

fn render(snapshot: &Snapshot, row: &Row) -> FlowLog {
    let status = status_name(snapshot, row);
    FlowLog {
        creation_time: Some(row.created_at),
        deliver_logs_error_message: (status == "FAILED").then(|| "Unknown error".to_owned()),
        deliver_logs_permission_arn: row.deliver_role_arn.clone(),
        deliver_logs_status: Some(status.to_owned()),
        flow_log_id: Some(row.flow_log_id.to_string()),
        flow_log_status: Some("ACTIVE".to_owned()),
        log_destination: Some(flow_logs::destination(row)),
        log_destination_type: Some(CLOUD_WATCH.to_owned()),
        log_format: Some(row.log_format.clone()),
        log_group_name: Some(row.log_group.clone()),
        max_aggregation_interval: i32::try_from(row.max_aggregation_interval_s).ok(),
        resource_id: Some(row.resource.id().to_owned()),
        tags: tags::render(&row.tags),
        traffic_type: Some(traffic_name(row.traffic).to_owned()),
        ..FlowLog::default()
    }
}

fn resources(kind: &str, given: &[String]) -> Result<Vec<FlowLogResource>, Refusal> {
    let resource = |id: &String| {
        Ok(match kind {
            "VPC" => FlowLogResource::Vpc(ids::parse(id)?),
            "Subnet" => FlowLogResource::Subnet(ids::parse(id)?),
            "NetworkInterface" => FlowLogResource::NetworkInterface(ids::parse(id)?),
            "TransitGateway" | "TransitGatewayAttachment" | "RegionalNatGateway" => {
                return Err(Refusal::NotOffered {
                    what: "A flow log of that type of resource",
                });
            }
            other => return Err(Refusal::parameter("ResourceType", other, "")),
        })
    };
    given.iter().map(resource).collect()
}

/// The name of the log group, given by name or by ARN.
fn log_group(
    scope: &Scope,
    name: Option<String>,
    destination: Option<String>,
) -> Result<String, Refusal> {
    let arn = match (name, destination) {
        (Some(_), Some(_)) => {
            return Err(parameter(
                "Please only provide LogGroupName or only provide LogDestination.",
            ));
        }
        (Some(name), None) => return Ok(name),
        (None, Some(arn)) => arn,
        (None, None) => {
            return Err(parameter(
                "LogDestination can't be empty if LogGroupName is not provided.",
            ));
        }
    };
    let group = arn.strip_prefix(&scope.arn("logs", "log-group:"));
    let group = group.map(|name| name.strip_suffix(":*").unwrap_or(name));
    group
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| {
            parameter(format!(
                "LogDestination {arn} is not the ARN of a log group of this account and region."
            ))
        })
}

fn check_role(arn: Option<String>) -> Result<String, Refusal> {
    let arn = arn.filter(|arn| !arn.is_empty()).ok_or_else(|| {
        parameter(
            "DeliverLogsPermissionArn can't be empty if LogDestinationType is cloud-watch-logs.",
        )
    })?;
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let is_role =
        matches!(parts.as_slice(), ["arn", _, "iam", "", _, role] if role.starts_with("role/"));
    if is_role {
        Ok(arn)
    } else {
        Err(parameter(format!(
            "Invalid DeliverLogsPermissionArn: {arn}"
        )))
    }
}

pub fn create(
    context: &Context,
    request: CreateFlowLogsRequest,
) -> Result<CreateFlowLogsResult, ApiError> {
    match request.log_destination_type.as_deref() {
        None | Some(CLOUD_WATCH) => {}
        Some("s3") => not_offered(true, "A flow log to S3")?,
        Some("kinesis-data-firehose") => not_offered(true, "A flow log to Amazon Data Firehose")?,
        Some(other) => return Err(Refusal::parameter("LogDestinationType", other, "").into()),
    }
    not_offered(
        request.deliver_cross_account_role.is_some(),
        "Delivery of flow logs to another account",
    )?;
    if request.destination_options.is_some() {
        return Err(parameter("DestinationOptions are only supported for s3 delivery.").into());
    }
    let traffic = match request.traffic_type.as_deref() {
        Some("ACCEPT") => FlowLogTraffic::Accept,
        Some("REJECT") => FlowLogTraffic::Reject,
        Some("ALL") => FlowLogTraffic::All,
        Some(other) => return Err(Refusal::parameter("TrafficType", other, "").into()),
        None => {
            return Err(Refusal::MissingParameter {
                name: "TrafficType",
            }
            .into());
        }
    };
    let new = NewFlowLogs {
        resources: resources(&request.resource_type, &request.resource_ids)?,
        traffic,
        log_group: log_group(
            &context.scope(),
            request.log_group_name,
            request.log_destination,
        )?,
        deliver_role_arn: check_role(request.deliver_logs_permission_arn)?,
        log_format: request.log_format.filter(|text| !text.trim().is_empty()),
        max_aggregation_interval_s: request.max_aggregation_interval,
        client_token: request.client_token.clone(),
        tags: tags::specified(request.tag_specifications, "vpc-flow-log")?,
    };
    let created = write(context, request.dry_run, |tx| {
        let created = flow_logs::create(tx, &context.scope(), new.clone())?;
        for row in &created.made {
            flow_logs::keep_streams(tx, row);
        }
        Ok(created)
    })?;
    let refused = created.refused.iter();
    Ok(CreateFlowLogsResult {
        client_token: request.client_token,
        flow_log_ids: Some(
            created
                .made
                .iter()
                .map(|row| row.flow_log_id.to_string())
                .collect(),
        ),
        unsuccessful: Some(
            refused
                .map(|(id, refusal)| vpc_endpoints::unsuccessful(id, refusal.code(), refusal))
                .collect(),
        ),
    })
}

const FILTERS: &[&str] = &[
    "deliver-log-status",
    "flow-log-id",
    "log-destination-type",
    "log-group-name",
    "resource-id",
    "traffic-type",
];

pub fn describe(
    context: &Context,
    request: DescribeFlowLogsRequest,
) -> Result<DescribeFlowLogsResult, ApiError> {
    let query = query!(request, flow_log_ids, filter);
    let snapshot = context.snapshot();
    let values = |row: &Row, name: &str| {
        vec![match name {
            "deliver-log-status" => status_name(&snapshot, row).to_owned(),
            "flow-log-id" => row.flow_log_id.to_string(),
            "log-destination-type" => CLOUD_WATCH.to_owned(),
            "log-group-name" => row.log_group.clone(),
            "resource-id" => row.resource.id().to_owned(),
            _ => traffic_name(row.traffic).to_owned(),
        }]
    };
    let (found, next_token) =
        rows::<Row, FlowLogId>(context, &snapshot, query, FILTERS, |row| &row.tags, values)?;
    Ok(DescribeFlowLogsResult {
        flow_logs: Some(found.iter().map(|row| render(&snapshot, row)).collect()),
        next_token,
    })
}

pub fn delete(
    context: &Context,
    request: DeleteFlowLogsRequest,
) -> Result<DeleteFlowLogsResult, ApiError> {
    let ids = ids::parse_all(Some(&request.flow_log_ids))?;
    if ids.is_empty() {
        return Err(Refusal::MissingParameter { name: "FlowLogId" }.into());
    }
    write(context, request.dry_run, |tx| {
        flow_logs::delete(tx, &context.scope(), &ids)
    })?;
    Ok(DeleteFlowLogsResult {
        unsuccessful: Some(Vec::new()),
    })
}
