//! Targets and their health.

use super::target_groups::port;
use crate::api::{ApiError, Context};
use crate::model::elb::targets::{self, NamedTarget, TargetReport};
use crate::model::elb::{Refusal, arns, invalid};
use fogbank_types::elb::TargetGroup;
use fogbank_wire::elbv2::*;

fn parse(
    group: &TargetGroup,
    targets: Vec<TargetDescription>,
) -> Result<Vec<NamedTarget>, Refusal> {
    let one = |target: TargetDescription| {
        if target.quic_server_id.is_some() {
            return Err(invalid(
                "A QUIC server ID is only supported for Network Load Balancers",
            ));
        }
        let port = target.port.map(port).transpose()?;
        NamedTarget::parse(group, &target.id, port, target.availability_zone)
    };
    targets.into_iter().map(one).collect()
}

pub fn register(
    context: &Context,
    input: RegisterTargetsInput,
) -> Result<RegisterTargetsOutput, ApiError> {
    let (scope, arn) = (context.scope(), input.target_group_arn);
    if input.targets.is_empty() {
        return Err(invalid("At least one target must be specified").into());
    }
    let named = parse(
        arns::find_target_group(&context.snapshot(), &scope, &arn)?,
        input.targets,
    )?;
    context.write(|tx| Ok(targets::register_named(tx, &scope, &arn, &named)?))?;
    Ok(RegisterTargetsOutput {})
}

pub fn deregister(
    context: &Context,
    input: DeregisterTargetsInput,
) -> Result<DeregisterTargetsOutput, ApiError> {
    let (scope, arn) = (context.scope(), input.target_group_arn);
    if input.targets.is_empty() {
        return Err(invalid("At least one target must be specified").into());
    }
    let named = parse(
        arns::find_target_group(&context.snapshot(), &scope, &arn)?,
        input.targets,
    )?;
    context.write(|tx| Ok(targets::deregister_named(tx, &scope, &arn, &named)?))?;
    Ok(DeregisterTargetsOutput {})
}

pub fn describe_health(
    context: &Context,
    input: DescribeTargetHealthInput,
) -> Result<DescribeTargetHealthOutput, ApiError> {
    let snapshot = context.snapshot();
    let group = arns::find_target_group(&snapshot, &context.scope(), &input.target_group_arn)?;
    let reports = targets::health(&snapshot, group);
    let asked = input.targets.filter(|targets| !targets.is_empty());
    let descriptions = match asked {
        None => reports.iter().map(|report| render(group, report)).collect(),
        // No instance was ever registered.
        Some(asked) if group.target_type == "instance" => asked
            .into_iter()
            .map(|target| {
                let port = target.port.map(port).transpose()?;
                Ok(absent(group, target.id, port, target.availability_zone))
            })
            .collect::<Result<_, Refusal>>()?,
        Some(asked) => parse(group, asked)?
            .into_iter()
            .map(|named| {
                let port = named.port.unwrap_or(group.port);
                let known = reports.iter().find(|r| r.ip == named.ip && r.port == port);
                known.map_or_else(
                    || absent(group, named.ip.to_string(), Some(port), named.zone.clone()),
                    |report| render(group, report),
                )
            })
            .collect(),
    };
    Ok(DescribeTargetHealthOutput {
        target_health_descriptions: Some(descriptions),
    })
}

fn check_port(group: &TargetGroup, port: u16) -> Option<String> {
    Some(group.health_check.port.unwrap_or(port).to_string())
}

fn render(group: &TargetGroup, report: &TargetReport) -> TargetHealthDescription {
    let zone = report.zone.clone().unwrap_or_else(|| "all".to_owned());
    TargetHealthDescription {
        health_check_port: check_port(group, report.port),
        target: Some(TargetDescription {
            availability_zone: Some(zone),
            id: report.ip.to_string(),
            port: Some(i32::from(report.port)),
            ..Default::default()
        }),
        target_health: Some(TargetHealth {
            state: Some(report.state.as_str().to_owned()),
            reason: report.reason.clone(),
            description: report.description.clone(),
        }),
        ..Default::default()
    }
}

/// One that was asked about and is not registered.
fn absent(
    group: &TargetGroup,
    id: String,
    port: Option<u16>,
    zone: Option<String>,
) -> TargetHealthDescription {
    let (state, reason, description) = targets::not_registered();
    let port = port.unwrap_or(group.port);
    TargetHealthDescription {
        health_check_port: check_port(group, port),
        target: Some(TargetDescription {
            availability_zone: zone,
            id,
            port: Some(i32::from(port)),
            ..Default::default()
        }),
        target_health: Some(TargetHealth {
            state: Some(state.as_str().to_owned()),
            reason,
            description,
        }),
        ..Default::default()
    }
}
