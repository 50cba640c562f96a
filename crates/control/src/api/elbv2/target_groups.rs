//! Target groups.

use super::page;
use crate::api::{ApiError, Context};
use crate::model::elb::target_groups::{self, HealthCheckChange, NewTargetGroup};
use crate::model::elb::{Refusal, arns, invalid, not_offered, tags, usage};
use fogbank_types::{Scope, Snapshot};
use fogbank_wire::elbv2::*;
use std::collections::{BTreeMap, BTreeSet};

type Row = fogbank_types::elb::TargetGroup;

type Users = BTreeMap<String, BTreeSet<String>>;

pub fn create(
    context: &Context,
    input: CreateTargetGroupInput,
) -> Result<CreateTargetGroupOutput, ApiError> {
    let new = command(input)?;
    let scope = context.scope();
    let row = context.write(|tx| Ok(target_groups::create(tx, &scope, new.clone())?))?;
    let users = usage::index(&context.snapshot(), &scope);
    Ok(CreateTargetGroupOutput {
        // No load balancer can use it yet, and AWS does not say so with an empty list.
        target_groups: Some(vec![TargetGroup {
            load_balancer_arns: None,
            ..render(&row, &users)
        }]),
    })
}

fn command(input: CreateTargetGroupInput) -> Result<NewTargetGroup, Refusal> {
    if input.target_control_port.is_some() {
        return Err(not_offered("A target control port"));
    }
    let pairs = input.tags.unwrap_or_default().into_iter();
    let matcher = input.matcher.unwrap_or_default();
    Ok(NewTargetGroup {
        name: input.name,
        protocol: input.protocol,
        protocol_version: input.protocol_version,
        port: input.port.map(port).transpose()?,
        vpc_id: input.vpc_id,
        target_type: input.target_type,
        ip_address_type: input.ip_address_type,
        health_check: HealthCheckChange {
            enabled: input.health_check_enabled,
            protocol: input.health_check_protocol,
            port: input.health_check_port,
            path: input.health_check_path,
            interval_seconds: input.health_check_interval_seconds,
            timeout_seconds: input.health_check_timeout_seconds,
            healthy_threshold: input.healthy_threshold_count,
            unhealthy_threshold: input.unhealthy_threshold_count,
            http_codes: matcher.http_code,
            grpc_codes: matcher.grpc_code,
        },
        tags: tags::collect(pairs.map(|tag| (tag.key, tag.value.unwrap_or_default())))?,
    })
}

/// 1 to 65535.
pub fn port(number: i32) -> Result<u16, Refusal> {
    u16::try_from(number)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| invalid(format!("Port '{number}' must be in the range 1-65535")))
}

pub fn describe(
    context: &Context,
    input: DescribeTargetGroupsInput,
) -> Result<DescribeTargetGroupsOutput, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let users = usage::index(&snapshot, &scope);
    let rows = select(&snapshot, &scope, &users, &input)?;
    let (rows, next_marker) = page::cut(
        rows,
        |row| &row.arn,
        input.marker.as_deref(),
        input.page_size,
    )?;
    let target_groups = Some(rows.into_iter().map(|row| render(row, &users)).collect());
    Ok(DescribeTargetGroupsOutput {
        target_groups,
        next_marker,
    })
}

fn select<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    users: &Users,
    input: &DescribeTargetGroupsInput,
) -> Result<Vec<&'a Row>, Refusal> {
    let all = || snapshot.target_groups.in_scope(scope).map(|row| &**row);
    let arns = input
        .target_group_arns
        .as_deref()
        .filter(|arns| !arns.is_empty());
    let names = input.names.as_deref().filter(|names| !names.is_empty());
    match (&input.load_balancer_arn, arns, names) {
        (Some(load_balancer_arn), None, None) => {
            arns::find_load_balancer(snapshot, scope, load_balancer_arn)?;
            let used = |row: &&Row| {
                users
                    .get(&row.arn)
                    .is_some_and(|users| users.contains(load_balancer_arn))
            };
            Ok(all().filter(used).collect())
        }
        (None, Some(arns), None) => arns
            .iter()
            .map(|arn| arns::find_target_group(snapshot, scope, arn).map(|row| &**row))
            .collect(),
        (None, None, Some(names)) => names
            .iter()
            .map(|name| {
                all()
                    .find(|row| row.name == *name)
                    .ok_or(Refusal::TargetGroupNotFound)
            })
            .collect(),
        (None, None, None) => Ok(all().collect()),
        _ => Err(invalid(
            "Only one of load balancer ARN, target group ARNs and target group names can be specified",
        )),
    }
}

pub fn modify(
    context: &Context,
    input: ModifyTargetGroupInput,
) -> Result<ModifyTargetGroupOutput, ApiError> {
    let matcher = input.matcher.unwrap_or_default();
    let change = HealthCheckChange {
        enabled: input.health_check_enabled,
        protocol: input.health_check_protocol,
        port: input.health_check_port,
        path: input.health_check_path,
        interval_seconds: input.health_check_interval_seconds,
        timeout_seconds: input.health_check_timeout_seconds,
        healthy_threshold: input.healthy_threshold_count,
        unhealthy_threshold: input.unhealthy_threshold_count,
        http_codes: matcher.http_code,
        grpc_codes: matcher.grpc_code,
    };
    let (scope, arn) = (context.scope(), input.target_group_arn);
    let row = context.write(|tx| Ok(target_groups::modify(tx, &scope, &arn, &change)?))?;
    let users = usage::index(&context.snapshot(), &scope);
    Ok(ModifyTargetGroupOutput {
        target_groups: Some(vec![render(&row, &users)]),
    })
}

pub fn delete(
    context: &Context,
    input: DeleteTargetGroupInput,
) -> Result<DeleteTargetGroupOutput, ApiError> {
    let (scope, arn) = (context.scope(), input.target_group_arn);
    context.write(|tx| Ok(target_groups::delete(tx, &scope, &arn)?))?;
    Ok(DeleteTargetGroupOutput {})
}

fn matcher(row: &Row) -> Matcher {
    let codes = Some(row.health_check.matcher.clone());
    if row.protocol_version == "GRPC" {
        Matcher {
            grpc_code: codes,
            ..Default::default()
        }
    } else {
        Matcher {
            http_code: codes,
            ..Default::default()
        }
    }
}

fn render(row: &Row, users: &Users) -> TargetGroup {
    let check = &row.health_check;
    let check_port = check
        .port
        .map_or_else(|| "traffic-port".to_owned(), |port| port.to_string());
    let load_balancer_arns = users.get(&row.arn).into_iter().flatten().cloned().collect();
    TargetGroup {
        health_check_enabled: Some(check.enabled),
        health_check_interval_seconds: Some(check.interval_seconds as i32),
        health_check_path: Some(check.path.clone()),
        health_check_port: Some(check_port),
        health_check_protocol: Some(check.protocol.clone()),
        health_check_timeout_seconds: Some(check.timeout_seconds as i32),
        healthy_threshold_count: Some(check.healthy_threshold as i32),
        ip_address_type: Some(row.ip_address_type.clone()),
        load_balancer_arns: Some(load_balancer_arns),
        matcher: Some(matcher(row)),
        port: Some(i32::from(row.port)),
        protocol: Some(row.protocol.clone()),
        protocol_version: Some(row.protocol_version.clone()),
        target_control_port: None,
        target_group_arn: Some(row.arn.clone()),
        target_group_name: Some(row.name.clone()),
        target_type: Some(row.target_type.clone()),
        unhealthy_threshold_count: Some(check.unhealthy_threshold as i32),
        vpc_id: Some(row.vpc_id.to_string()),
    }
}
