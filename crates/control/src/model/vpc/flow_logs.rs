//! Flow logs: what passes and what is dropped at interfaces, written to CloudWatch Logs.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs.html>
//!
//! Called by `api/ec2/flow_logs` and by `reconcile/flow_log_streams`, which keeps the log streams that the host's writer
//! appends to (docs/flows/flow-logs.md). A flow log cannot be changed, and it outlives the resource that it is about.

use super::{Refusal, ResourceKind, enis, subnets, vpcs};
use crate::model::{Tx, logs};
use fogbank_types::diagnosis::{FlowLog, FlowLogResource, FlowLogTraffic};
use fogbank_types::ec2::Eni;
use fogbank_types::logs::LogGroup;
use fogbank_types::*;
use std::sync::Arc;

/// Names and versions of the fields, in AWS's order; those of version 2 are the default format.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html#flow-logs-fields>
pub const FIELDS: &[(&str, u8)] = &[
    ("version", 2),
    ("account-id", 2),
    ("interface-id", 2),
    ("srcaddr", 2),
    ("dstaddr", 2),
    ("srcport", 2),
    ("dstport", 2),
    ("protocol", 2),
    ("packets", 2),
    ("bytes", 2),
    ("start", 2),
    ("end", 2),
    ("action", 2),
    ("log-status", 2),
    ("vpc-id", 3),
    ("subnet-id", 3),
    ("instance-id", 3),
    ("tcp-flags", 3),
    ("type", 3),
    ("pkt-srcaddr", 3),
    ("pkt-dstaddr", 3),
    ("region", 4),
    ("az-id", 4),
    ("sublocation-type", 4),
    ("sublocation-id", 4),
    ("pkt-src-aws-service", 5),
    ("pkt-dst-aws-service", 5),
    ("flow-direction", 5),
    ("traffic-path", 5),
    ("ecs-cluster-arn", 7),
    ("ecs-cluster-name", 7),
    ("ecs-container-instance-arn", 7),
    ("ecs-container-instance-id", 7),
    ("ecs-container-id", 7),
    ("ecs-second-container-id", 7),
    ("ecs-service-name", 7),
    ("ecs-task-definition-arn", 7),
    ("ecs-task-arn", 7),
    ("ecs-task-id", 7),
    ("reject-reason", 8),
    ("resource-id", 9),
    ("encryption-status", 10),
];

/// Resources of one call.
const RESOURCES_MAX: usize = 1000;

#[derive(Clone, Debug)]
pub struct NewFlowLogs {
    pub resources: Vec<FlowLogResource>,
    pub traffic: FlowLogTraffic,
    /// Name of the group.
    pub log_group: String,
    pub deliver_role_arn: String,
    /// `None` = the default format.
    pub log_format: Option<String>,
    /// 60 or 600; `None` = 600.
    pub max_aggregation_interval_s: Option<i32>,
    pub client_token: Option<String>,
    pub tags: Tags,
}

/// What became of a call about many resources.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Created {
    pub made: Vec<FlowLog>,
    /// Resource id and refusal of each that could not get one.
    pub refused: Vec<(String, Refusal)>,
}

/// `${version} ${account-id} ...`
pub fn default_format() -> String {
    let fields = FIELDS.iter().filter(|(_, version)| *version == 2);
    let fields: Vec<String> = fields.map(|(name, _)| format!("${{{name}}}")).collect();
    fields.join(" ")
}

/// The field names of a format, in its order.
pub fn parse_format(text: &str) -> Result<Vec<String>, Refusal> {
    let mut fields = Vec::new();
    let mut unknown = Vec::new();
    for word in text.split_whitespace() {
        let name = word
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'));
        match name {
            Some(name) if FIELDS.iter().any(|(known, _)| *known == name) => {
                fields.push(name.to_owned())
            }
            Some(name) => unknown.push(name.to_owned()),
            None => {
                return Err(parameter(format!(
                    "Invalid LogFormat: '{word}' is not of the form ${{field-id}}."
                )));
            }
        }
    }
    if !unknown.is_empty() {
        return Err(parameter(format!(
            "Unknown fields provided: {}",
            unknown.join(", ")
        )));
    }
    if fields.is_empty() {
        return Err(parameter("LogFormat must name at least one field."));
    }
    Ok(fields)
}

fn parameter(text: impl Into<String>) -> Refusal {
    Refusal::Parameter { text: text.into() }
}

/// A flow log for each resource; those that cannot have one are told of beside those that can. If none can, the first
/// one's refusal is the call's.
pub fn create(tx: &mut Tx, scope: &Scope, new: NewFlowLogs) -> Result<Created, Refusal> {
    if let Some(earlier) = same_token(tx.snapshot(), scope, &new)? {
        return Ok(earlier);
    }
    if new.resources.is_empty() {
        return Err(Refusal::MissingParameter {
            name: "ResourceIds",
        });
    }
    if new.resources.len() > RESOURCES_MAX {
        return Err(parameter("At most 1000 resources can be given."));
    }
    if !logs::groups::is_name(&new.log_group) {
        return Err(parameter(format!(
            "LogGroupName '{}' is not a valid name of a log group.",
            new.log_group
        )));
    }
    let max_aggregation_interval_s = match new.max_aggregation_interval_s {
        None | Some(600) => 600,
        Some(60) => 60,
        Some(_) => return Err(parameter("Invalid Flow Log Max Aggregation Interval")),
    };
    let log_format = new.log_format.clone().unwrap_or_else(default_format);
    let fields = parse_format(&log_format)?;
    let mut created = Created::default();
    for resource in &new.resources {
        if let Err(refusal) = check_resource(tx.snapshot(), scope, resource) {
            created.refused.push((resource.id().to_owned(), refusal));
            continue;
        }
        let row = FlowLog {
            scope: scope.clone(),
            flow_log_id: FlowLogId::from_bits(tx.random()),
            resource: resource.clone(),
            traffic: new.traffic,
            log_group: new.log_group.clone(),
            deliver_role_arn: Some(new.deliver_role_arn.clone()),
            fields: fields.clone(),
            log_format: log_format.clone(),
            max_aggregation_interval_s,
            client_token: new.client_token.clone(),
            created_at: tx.now(),
            tags: new.tags.clone(),
        };
        if exists(tx.snapshot(), &row) {
            created
                .refused
                .push((resource.id().to_owned(), Refusal::FlowLogExists));
            continue;
        }
        tx.put(row.clone());
        created.made.push(row);
    }
    match created.refused.first() {
        Some((_, refusal)) if created.made.is_empty() => Err(refusal.clone()),
        _ => Ok(created),
    }
}

fn same_token(
    snapshot: &Snapshot,
    scope: &Scope,
    new: &NewFlowLogs,
) -> Result<Option<Created>, Refusal> {
    let Some(token) = &new.client_token else {
        return Ok(None);
    };
    let earlier: Vec<&Arc<FlowLog>> = snapshot
        .flow_logs
        .in_scope(scope)
        .filter(|row| row.client_token.as_ref() == Some(token))
        .collect();
    if earlier.is_empty() {
        return Ok(None);
    }
    let same = earlier.iter().all(|row| {
        row.traffic == new.traffic
            && row.log_group == new.log_group
            && new.resources.contains(&row.resource)
    });
    if !same {
        return Err(Refusal::TokenReused);
    }
    Ok(Some(Created {
        made: earlier.into_iter().map(|row| FlowLog::clone(row)).collect(),
        refused: Vec::new(),
    }))
}

fn check_resource(
    snapshot: &Snapshot,
    scope: &Scope,
    resource: &FlowLogResource,
) -> Result<(), Refusal> {
    match resource {
        FlowLogResource::Vpc(id) => vpcs::get(snapshot, scope, id).map(drop),
        FlowLogResource::Subnet(id) => subnets::get(snapshot, scope, id).map(drop),
        FlowLogResource::NetworkInterface(id) => enis::get(snapshot, scope, id).map(drop),
    }
}

/// One with the same configuration and destination.
fn exists(snapshot: &Snapshot, row: &FlowLog) -> bool {
    snapshot.flow_logs.in_scope(&row.scope).any(|other| {
        other.resource == row.resource
            && other.traffic == row.traffic
            && other.log_group == row.log_group
            && other.fields == row.fields
            && other.max_aggregation_interval_s == row.max_aggregation_interval_s
    })
}

/// All or none: an unknown id refuses the call. Streams and their events stay.
pub fn delete(tx: &mut Tx, scope: &Scope, ids: &[FlowLogId]) -> Result<(), Refusal> {
    let known = |id: &&FlowLogId| !tx.snapshot().flow_logs.contains(scope, id);
    let unknown: Vec<String> = ids.iter().filter(known).map(ToString::to_string).collect();
    if !unknown.is_empty() {
        let (count, ids) = (unknown.len(), unknown.join(" "));
        return Err(Refusal::FlowLogsNotFound { count, ids });
    }
    for id in ids {
        tx.delete::<FlowLog>(scope, id);
    }
    Ok(())
}

pub fn get<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &FlowLogId,
) -> Result<&'a Arc<FlowLog>, Refusal> {
    snapshot
        .flow_logs
        .get(scope, id)
        .ok_or_else(|| Refusal::not_found(ResourceKind::FlowLog, id))
}

/// Name of the stream of an interface: `<eni-id>-accept`, `-reject` or `-all`.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-cwl.html>
pub fn stream_name(eni: &EniId, traffic: FlowLogTraffic) -> String {
    let tail = match traffic {
        FlowLogTraffic::Accept => "accept",
        FlowLogTraffic::Reject => "reject",
        FlowLogTraffic::All => "all",
    };
    format!("{eni}-{tail}")
}

/// The log group and the streams of all interfaces that a flow log covers, made if they are missing.
pub fn keep_streams(tx: &mut Tx, flow_log: &FlowLog) {
    let (scope, group) = (&flow_log.scope, &flow_log.log_group);
    if !tx.snapshot().log_groups.contains(scope, group) {
        let made = logs::groups::create(tx, scope, group, None, None, Tags::new());
        made.expect("the name was checked when the flow log was made, and the group is not there");
    }
    let missing: Vec<String> = tx
        .snapshot()
        .enis
        .in_scope(scope)
        .filter(|eni| flow_log.resource.covers(eni))
        .map(|eni: &Arc<Eni>| stream_name(&eni.eni_id, flow_log.traffic))
        .filter(|name| {
            !tx.snapshot()
                .log_streams
                .contains(scope, format!("{group}:{name}"))
        })
        .collect();
    for name in missing {
        let made = logs::streams::create(tx, scope, group, &name);
        made.expect("an id and a word are a name, the group is there and the stream is not");
    }
}

/// ARN of a flow log's group, without the trailing `:*`.
pub fn destination(flow_log: &FlowLog) -> String {
    let scope = &flow_log.scope;
    scope.arn("logs", &format!("log-group:{}", flow_log.log_group))
}

/// Whether the group can take records.
pub fn is_delivered(snapshot: &Snapshot, flow_log: &FlowLog) -> bool {
    let group: Option<&Arc<LogGroup>> = snapshot
        .log_groups
        .get(&flow_log.scope, &flow_log.log_group);
    group.is_some()
}

#[cfg(test)]
#[path = "flow_logs_tests.rs"]
mod tests;
