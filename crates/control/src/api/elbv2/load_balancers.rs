//! Load balancers.

use super::page;
use crate::api::{ApiError, Context};
use crate::model::elb::load_balancers::{self, AddressType, NewLoadBalancer};
use crate::model::elb::{Refusal, arns, invalid, not_offered, tags};
use fogbank_types::elb::{LoadBalancerState, LoadBalancerZone};
use fogbank_types::{Scope, Snapshot};
use fogbank_wire::elbv2::*;
use std::io::Read;

type Row = fogbank_types::elb::LoadBalancer;

pub fn create(
    context: &Context,
    input: CreateLoadBalancerInput,
) -> Result<CreateLoadBalancerOutput, ApiError> {
    let mut new = command(input)?;
    new.cookie_secret = cookie_secret()?;
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
        internal: is_internal(input.scheme.as_deref())?,
        ip_address_type: address_type(input.ip_address_type.as_deref())?.unwrap_or_default(),
        cookie_secret: String::new(),
        tags: tags::collect(pairs.map(|tag| (tag.key, tag.value.unwrap_or_default())))?,
    })
}

fn is_internal(scheme: Option<&str>) -> Result<bool, Refusal> {
    match scheme {
        None | Some("internet-facing") => Ok(false),
        Some("internal") => Ok(true),
        Some(other) => Err(invalid(format!(
            "Scheme '{other}' must be one of 'internet-facing', 'internal'"
        ))),
    }
}

fn address_type(kind: Option<&str>) -> Result<Option<AddressType>, Refusal> {
    kind.map(AddressType::parse).transpose()
}

/// What the nodes seal cookies with.
fn cookie_secret() -> Result<String, ApiError> {
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|error| {
            tracing::error!(%error, "read random bytes");
            ApiError::new("InternalFailure", "The region has no random numbers.").with_status(500)
        })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
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

/// Nothing is ever reserved: see `modify_capacity_reservation`.
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

/// A node has what its host has; a promise of more could not be kept, and AWS has an answer for that.
pub fn modify_capacity_reservation(
    context: &Context,
    input: ModifyCapacityReservationInput,
) -> Result<ModifyCapacityReservationOutput, ApiError> {
    let (snapshot, arn) = (context.snapshot(), &input.load_balancer_arn);
    arns::find_load_balancer(&snapshot, &context.scope(), arn)?;
    let reset = input.reset_capacity_reservation == Some(true);
    match input.minimum_load_balancer_capacity {
        Some(_) if reset => Err(invalid(
            "A minimum capacity and a reset cannot be specified at the same time",
        )
        .into()),
        Some(_) => Err(Refusal::InsufficientCapacity(
            "There is insufficient capacity to reserve: this region reserves none".to_owned(),
        )
        .into()),
        None if reset => Ok(ModifyCapacityReservationOutput::default()),
        None => Err(invalid("A minimum capacity or a reset must be specified").into()),
    }
}

/// There are no IPAM pools here, so none can be given and none taken away.
pub fn modify_ip_pools(
    context: &Context,
    input: ModifyIpPoolsInput,
) -> Result<ModifyIpPoolsOutput, ApiError> {
    let (snapshot, arn) = (context.snapshot(), &input.load_balancer_arn);
    arns::find_load_balancer(&snapshot, &context.scope(), arn)?;
    if input
        .ipam_pools
        .is_some_and(|pools| pools.ipv4_ipam_pool_id.is_some())
    {
        return Err(not_offered("An IPAM pool").into());
    }
    Ok(ModifyIpPoolsOutput::default())
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
    let kind = address_type(input.ip_address_type.as_deref())?;
    let ids = subnets(input.subnets, input.subnet_mappings)?;
    let (scope, arn) = (context.scope(), input.load_balancer_arn);
    let row = context.write(|tx| Ok(load_balancers::set_subnets(tx, &scope, &arn, &ids, kind)?))?;
    Ok(SetSubnetsOutput {
        availability_zones: Some(zones(&row)),
        ip_address_type: Some(row.ip_address_type),
        ..Default::default()
    })
}

pub fn set_ip_address_type(
    context: &Context,
    input: SetIpAddressTypeInput,
) -> Result<SetIpAddressTypeOutput, ApiError> {
    let kind = AddressType::parse(&input.ip_address_type)?;
    let (scope, arn) = (context.scope(), input.load_balancer_arn);
    let row =
        context.write(|tx| Ok(load_balancers::set_ip_address_type(tx, &scope, &arn, kind)?))?;
    Ok(SetIpAddressTypeOutput {
        ip_address_type: Some(row.ip_address_type),
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
