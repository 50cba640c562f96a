//! Load balancers.

use super::page;
use crate::api::{ApiError, Context};
use crate::model::elb::load_balancers::{self, NewLoadBalancer};
use crate::model::elb::{Refusal, arns, invalid, not_offered, tags};
use fogbank_types::elb::{LoadBalancerState, LoadBalancerZone};
use fogbank_types::{Scope, Snapshot};
use fogbank_wire::elbv2::*;

type Row = fogbank_types::elb::LoadBalancer;

pub fn create(
    context: &Context,
    input: CreateLoadBalancerInput,
) -> Result<CreateLoadBalancerOutput, ApiError> {
    let new = command(input)?;
    let scope = context.scope();
    let row = context.write(|tx| Ok(load_balancers::create(tx, &scope, new.clone())?))?;
    let load_balancers = Some(vec![render(&row)]);
    Ok(CreateLoadBalancerOutput { load_balancers })
}

fn command(input: CreateLoadBalancerInput) -> Result<NewLoadBalancer, Refusal> {
    match input.r#type.as_deref() {
        None | Some("application") => {}
        Some(other) => return Err(not_offered(&format!("Load balancer type '{other}'"))),
    }
    check_ip_address_type(input.ip_address_type.as_deref())?;
    if input.customer_owned_ipv4_pool.is_some() {
        return Err(not_offered("A customer-owned address pool"));
    }
    if input.ipam_pools.is_some() {
        return Err(not_offered("An IPAM pool"));
    }
    if input.enable_prefix_for_ipv6_source_nat.is_some() {
        return Err(invalid(
            "EnablePrefixForIpv6SourceNat is only supported for Network Load Balancers",
        ));
    }
    let pairs = input.tags.unwrap_or_default().into_iter();
    Ok(NewLoadBalancer {
        name: input.name,
        subnets: subnets(input.subnets, input.subnet_mappings)?,
        groups: input.security_groups.unwrap_or_default(),
        internal: input.scheme.as_deref() == Some("internal"),
        tags: tags::collect(pairs.map(|tag| (tag.key, tag.value.unwrap_or_default())))?,
    })
}

fn check_ip_address_type(kind: Option<&str>) -> Result<(), Refusal> {
    match kind {
        None | Some("ipv4") => Ok(()),
        Some(other) => Err(not_offered(&format!("IP address type '{other}'"))),
    }
}

/// Either list, not both. An Application Load Balancer takes no addresses.
fn subnets(
    plain: Option<Vec<String>>,
    mappings: Option<Vec<SubnetMapping>>,
) -> Result<Vec<String>, Refusal> {
    match (plain, mappings) {
        (Some(_), Some(_)) => Err(invalid(
            "You can specify either subnets or subnet mappings, not both",
        )),
        (Some(plain), None) => Ok(plain),
        (None, Some(mappings)) => mappings.into_iter().map(mapped).collect(),
        (None, None) => Err(invalid("At least one subnet must be specified")),
    }
}

fn mapped(mapping: SubnetMapping) -> Result<String, Refusal> {
    let address = mapping.allocation_id.is_some()
        || mapping.private_ipv4_address.is_some()
        || mapping.ipv6_address.is_some()
        || mapping.source_nat_ipv6_prefix.is_some();
    if address {
        return Err(Refusal::InvalidConfigurationRequest(
            "You cannot specify addresses for the subnets of an Application Load Balancer"
                .to_owned(),
        ));
    }
    mapping
        .subnet_id
        .ok_or_else(|| invalid("A subnet ID must be specified in a subnet mapping"))
}

pub fn describe(
    context: &Context,
    input: DescribeLoadBalancersInput,
) -> Result<DescribeLoadBalancersOutput, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let rows = select(&snapshot, &scope, input.load_balancer_arns, input.names)?;
    let (rows, next_marker) = page::cut(
        rows,
        |row| &row.arn,
        input.marker.as_deref(),
        input.page_size,
    )?;
    let load_balancers = Some(rows.into_iter().map(render).collect());
    Ok(DescribeLoadBalancersOutput {
        load_balancers,
        next_marker,
    })
}

fn select<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    arns: Option<Vec<String>>,
    names: Option<Vec<String>>,
) -> Result<Vec<&'a Row>, Refusal> {
    let all = || snapshot.load_balancers.in_scope(scope).map(|row| &**row);
    match (
        arns.filter(|a| !a.is_empty()),
        names.filter(|n| !n.is_empty()),
    ) {
        (Some(_), Some(_)) => Err(invalid(
            "Load balancer names and ARNs cannot be specified at the same time",
        )),
        (Some(arns), None) => arns
            .iter()
            .map(|arn| arns::find_load_balancer(snapshot, scope, arn).map(|row| &**row))
            .collect(),
        (None, Some(names)) => names
            .iter()
            .map(|name| {
                all()
                    .find(|row| row.name == *name)
                    .ok_or(Refusal::LoadBalancerNotFound)
            })
            .collect(),
        (None, None) => Ok(all().collect()),
    }
}

pub fn delete(
    context: &Context,
    input: DeleteLoadBalancerInput,
) -> Result<DeleteLoadBalancerOutput, ApiError> {
    let (scope, arn) = (context.scope(), input.load_balancer_arn);
    context.write(|tx| Ok(load_balancers::delete(tx, &scope, &arn)?))?;
    Ok(DeleteLoadBalancerOutput {})
}

/// Nothing is reserved: ModifyCapacityReservation is not served.
pub fn describe_capacity_reservation(
    context: &Context,
    input: DescribeCapacityReservationInput,
) -> Result<DescribeCapacityReservationOutput, ApiError> {
    arns::find_load_balancer(
        &context.snapshot(),
        &context.scope(),
        &input.load_balancer_arn,
    )?;
    Ok(DescribeCapacityReservationOutput::default())
}

pub fn set_security_groups(
    context: &Context,
    input: SetSecurityGroupsInput,
) -> Result<SetSecurityGroupsOutput, ApiError> {
    if input
        .enforce_security_group_inbound_rules_on_private_link_traffic
        .is_some()
    {
        return Err(invalid(
            "Inbound rules on PrivateLink traffic are only supported for Network Load Balancers",
        )
        .into());
    }
    let (scope, arn, ids) = (
        context.scope(),
        input.load_balancer_arn,
        input.security_groups,
    );
    let row =
        context.write(|tx| Ok(load_balancers::set_security_groups(tx, &scope, &arn, &ids)?))?;
    Ok(SetSecurityGroupsOutput {
        security_group_ids: Some(row.groups.iter().map(ToString::to_string).collect()),
        ..Default::default()
    })
}

pub fn set_subnets(
    context: &Context,
    input: SetSubnetsInput,
) -> Result<SetSubnetsOutput, ApiError> {
    check_ip_address_type(input.ip_address_type.as_deref())?;
    let ids = subnets(input.subnets, input.subnet_mappings)?;
    let (scope, arn) = (context.scope(), input.load_balancer_arn);
    let row = context.write(|tx| Ok(load_balancers::set_subnets(tx, &scope, &arn, &ids)?))?;
    Ok(SetSubnetsOutput {
        availability_zones: Some(zones(&row)),
        ip_address_type: Some(row.ip_address_type),
        ..Default::default()
    })
}

/// Only `ipv4` is offered, so there is nothing to change.
pub fn set_ip_address_type(
    context: &Context,
    input: SetIpAddressTypeInput,
) -> Result<SetIpAddressTypeOutput, ApiError> {
    arns::find_load_balancer(
        &context.snapshot(),
        &context.scope(),
        &input.load_balancer_arn,
    )?;
    check_ip_address_type(Some(&input.ip_address_type))?;
    Ok(SetIpAddressTypeOutput {
        ip_address_type: Some(input.ip_address_type),
    })
}

fn zones(row: &Row) -> Vec<AvailabilityZone> {
    let zone = |zone: &LoadBalancerZone| AvailabilityZone {
        zone_name: Some(zone.zone.clone()),
        subnet_id: Some(zone.subnet_id.to_string()),
        // Addresses are listed for Network Load Balancers only.
        load_balancer_addresses: Some(Vec::new()),
        ..Default::default()
    };
    row.zones.iter().map(zone).collect()
}

fn render(row: &Row) -> LoadBalancer {
    let code = match row.state {
        LoadBalancerState::Provisioning => "provisioning",
        LoadBalancerState::Active => "active",
        LoadBalancerState::ActiveImpaired => "active_impaired",
        LoadBalancerState::Failed => "failed",
    };
    let scheme = if row.internal {
        "internal"
    } else {
        "internet-facing"
    };
    // The row's name is in lower case for DNS; AWS shows the name as it was given.
    let shown = match row.dns_name.find(&row.name.to_ascii_lowercase()) {
        Some(at) => {
            let end = at + row.name.len();
            format!(
                "{}{}{}",
                &row.dns_name[..at],
                row.name,
                &row.dns_name[end..]
            )
        }
        None => row.dns_name.clone(),
    };
    LoadBalancer {
        availability_zones: Some(zones(row)),
        canonical_hosted_zone_id: Some(row.canonical_hosted_zone_id.clone()),
        created_time: Some(row.created_at),
        dns_name: Some(shown),
        ip_address_type: Some(row.ip_address_type.clone()),
        load_balancer_arn: Some(row.arn.clone()),
        load_balancer_name: Some(row.name.clone()),
        scheme: Some(scheme.to_owned()),
        security_groups: Some(row.groups.iter().map(ToString::to_string).collect()),
        state: Some(fogbank_wire::elbv2::LoadBalancerState {
            code: Some(code.to_owned()),
            reason: None,
        }),
        r#type: Some("application".to_owned()),
        vpc_id: Some(row.vpc_id.to_string()),
        ..Default::default()
    }
}
