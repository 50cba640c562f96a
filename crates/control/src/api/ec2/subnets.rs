//! Subnets.

use super::query::{query, rows};
use super::vpcs::state_name;
use super::{not_offered, tags, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::subnets::{NewSubnet, SubnetAttribute};
use crate::model::vpc::{Refusal, default_vpc, ids, subnets};
use fogbank_types::ec2::{Subnet as Row, SubnetIpv6CidrAssociation};
use fogbank_types::{Scope, Snapshot, SubnetId};
use fogbank_wire::ec2::*;

/// The zone's id for its name.
pub fn zone_id(region: &str, zone: &str) -> Option<String> {
    fogbank_types::place::zones(region)
        .into_iter()
        .find(|z| z.name == zone)
        .map(|z| z.id)
}

fn arn(scope: &Scope, id: &SubnetId) -> String {
    scope.arn("ec2", &format!("subnet/{id}"))
}

pub fn render_association(row: &SubnetIpv6CidrAssociation) -> SubnetIpv6CidrBlockAssociation {
    SubnetIpv6CidrBlockAssociation {
        association_id: Some(row.association_id.to_string()),
        ip_source: Some("amazon".to_owned()),
        ipv6_address_attribute: Some("public".to_owned()),
        ipv6_cidr_block: Some(row.cidr_block.to_string()),
        ipv6_cidr_block_state: Some(SubnetCidrBlockState {
            state: Some(state_name(row.state)),
            status_message: None,
        }),
    }
}

fn render(snapshot: &Snapshot, row: &Row) -> Subnet {
    let ipv6 = row.ipv6_cidr_associations.iter().map(render_association);
    let available = subnets::available_addresses(snapshot, row);
    Subnet {
        subnet_id: Some(row.subnet_id.to_string()),
        subnet_arn: Some(arn(&row.scope, &row.subnet_id)),
        vpc_id: Some(row.vpc_id.to_string()),
        owner_id: Some(row.scope.account.clone()),
        state: Some("available".to_owned()),
        cidr_block: Some(row.cidr_block.to_string()),
        availability_zone: Some(row.zone.clone()),
        availability_zone_id: zone_id(&row.scope.region, &row.zone),
        available_ip_address_count: i32::try_from(available).ok(),
        default_for_az: Some(row.default_for_az),
        map_public_ip_on_launch: Some(row.map_public_ip_on_launch),
        map_customer_owned_ip_on_launch: Some(false),
        assign_ipv6_address_on_creation: Some(row.assign_ipv6_address_on_creation),
        ipv6_cidr_block_association_set: Some(ipv6.collect()),
        ipv6_native: Some(false),
        enable_dns64: Some(row.enable_dns64),
        private_dns_name_options_on_launch: Some(PrivateDnsNameOptionsOnLaunch {
            hostname_type: Some(row.private_dns_hostname_type.clone()),
            enable_resource_name_dns_a_record: Some(row.enable_resource_name_dns_a_record),
            enable_resource_name_dns_aaaa_record: Some(row.enable_resource_name_dns_aaaa_record),
        }),
        block_public_access_states: Some(BlockPublicAccessStates {
            internet_gateway_block_mode: Some("off".to_owned()),
        }),
        tags: tags::render(&row.tags),
        ..Subnet::default()
    }
}

/// An IPv6-only subnet has an IPv6 block and nothing of IPv4.
fn check_native(request: &CreateSubnetRequest) -> Result<(), Refusal> {
    if request.ipv6_native != Some(true) {
        return Ok(());
    }
    if request.ipv6_cidr_block.is_none() && request.ipv6_ipam_pool_id.is_none() {
        let text = "Either 'ipv6CidrBlock' or 'ipv6IpamPoolId' should be provided.".to_owned();
        return Err(Refusal::Missing { text });
    }
    if request.cidr_block.is_some() || request.ipv4_ipam_pool_id.is_some() {
        let text = "When specifying ipv4 parameters, cidrBlock or ipv4IpamPoolId, you cannot set ipv6Native to true.";
        return Err(Refusal::Combination {
            text: text.to_owned(),
        });
    }
    not_offered(true, "An IPv6-only subnet")
}

pub fn create(
    context: &Context,
    request: CreateSubnetRequest,
) -> Result<CreateSubnetResult, ApiError> {
    check_native(&request)?;
    let ipam = request.ipv4_ipam_pool_id.is_some()
        || request.ipv4_netmask_length.is_some()
        || request.ipv6_ipam_pool_id.is_some()
        || request.ipv6_netmask_length.is_some();
    not_offered(ipam, "IPAM")?;
    not_offered(request.outpost_arn.is_some(), "Outposts")?;
    let zone = chosen_zone(request.availability_zone, request.availability_zone_id)?;
    let block = request
        .cidr_block
        .ok_or(Refusal::MissingParameter { name: "cidrBlock" })?;
    let new = NewSubnet {
        vpc_id: ids::parse(&request.vpc_id)?,
        cidr_block: ids::block("cidrBlock", &block)?,
        ipv6_block: request
            .ipv6_cidr_block
            .map(|text| ids::block_v6("ipv6CidrBlock", &text))
            .transpose()?,
        zone,
        tags: tags::specified(request.tag_specifications, "subnet")?,
    };
    let subnet = write(context, request.dry_run, |tx| {
        let row = subnets::create(tx, &context.scope(), new.clone())?;
        Ok(render(tx.snapshot(), &row))
    })?;
    Ok(CreateSubnetResult {
        subnet: Some(subnet),
    })
}

/// A zone goes by name or by id.
fn chosen_zone(name: Option<String>, id: Option<String>) -> Result<Option<String>, Refusal> {
    if name.is_some() && id.is_some() {
        let text =
            "The parameters availabilityZone and availabilityZoneId cannot be used together."
                .to_owned();
        return Err(Refusal::Combination { text });
    }
    Ok(name.or(id))
}

pub fn create_default(
    context: &Context,
    request: CreateDefaultSubnetRequest,
) -> Result<CreateDefaultSubnetResult, ApiError> {
    not_offered(request.ipv6_native == Some(true), "An IPv6-only subnet")?;
    let zone = chosen_zone(request.availability_zone, request.availability_zone_id)?;
    let zone = zone.ok_or(Refusal::MissingParameter {
        name: "availabilityZone",
    })?;
    let subnet = write(context, request.dry_run, |tx| {
        let row = default_vpc::create_subnet(tx, &context.scope(), &zone)?;
        Ok(render(tx.snapshot(), &row))
    })?;
    Ok(CreateDefaultSubnetResult {
        subnet: Some(subnet),
    })
}

const FILTERS: &[&str] = &[
    "availability-zone",
    "availability-zone-id",
    "availabilityZone",
    "availabilityZoneId",
    "available-ip-address-count",
    "cidr",
    "cidr-block",
    "cidrBlock",
    "customer-owned-ipv4-pool",
    "default-for-az",
    "defaultForAz",
    "enable-dns64",
    "enable-lni-at-device-index",
    "ipv6-cidr-block-association.association-id",
    "ipv6-cidr-block-association.ipv6-cidr-block",
    "ipv6-cidr-block-association.state",
    "ipv6-native",
    "map-customer-owned-ip-on-launch",
    "map-public-ip-on-launch",
    "outpost-arn",
    "owner-id",
    "private-dns-name-options-on-launch.enable-resource-name-dns-a-record",
    "private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record",
    "private-dns-name-options-on-launch.hostname-type",
    "state",
    "subnet-arn",
    "subnet-id",
    "vpc-id",
];

fn values(snapshot: &Snapshot, row: &Row, name: &str) -> Vec<String> {
    let one = |text: String| vec![text];
    let ipv6 = row.ipv6_cidr_associations.iter();
    match name {
        "availability-zone" | "availabilityZone" => one(row.zone.clone()),
        "availability-zone-id" | "availabilityZoneId" => {
            super::optional(zone_id(&row.scope.region, &row.zone))
        }
        "available-ip-address-count" => {
            one(subnets::available_addresses(snapshot, row).to_string())
        }
        "cidr" | "cidr-block" | "cidrBlock" => one(row.cidr_block.to_string()),
        "default-for-az" | "defaultForAz" => one(row.default_for_az.to_string()),
        "enable-dns64" => one(row.enable_dns64.to_string()),
        "ipv6-cidr-block-association.association-id" => {
            ipv6.map(|a| a.association_id.to_string()).collect()
        }
        "ipv6-cidr-block-association.ipv6-cidr-block" => {
            ipv6.map(|a| a.cidr_block.to_string()).collect()
        }
        "ipv6-cidr-block-association.state" => ipv6.map(|a| state_name(a.state)).collect(),
        "ipv6-native" | "map-customer-owned-ip-on-launch" => one(false.to_string()),
        "map-public-ip-on-launch" => one(row.map_public_ip_on_launch.to_string()),
        "owner-id" => one(row.scope.account.clone()),
        "private-dns-name-options-on-launch.enable-resource-name-dns-a-record" => {
            one(row.enable_resource_name_dns_a_record.to_string())
        }
        "private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record" => {
            one(row.enable_resource_name_dns_aaaa_record.to_string())
        }
        "private-dns-name-options-on-launch.hostname-type" => {
            one(row.private_dns_hostname_type.clone())
        }
        "state" => one("available".to_owned()),
        "subnet-arn" => one(arn(&row.scope, &row.subnet_id)),
        "subnet-id" => one(row.subnet_id.to_string()),
        "vpc-id" => one(row.vpc_id.to_string()),
        _ => Vec::new(),
    }
}

pub fn describe(
    context: &Context,
    request: DescribeSubnetsRequest,
) -> Result<DescribeSubnetsResult, ApiError> {
    let query = query!(request, subnet_ids, filters);
    let snapshot = context.snapshot();
    let (found, next_token) = rows::<Row, SubnetId>(
        context,
        &snapshot,
        query,
        FILTERS,
        |row| &row.tags,
        |row, name| values(&snapshot, row, name),
    )?;
    let shown = found.iter().map(|row| render(&snapshot, row)).collect();
    Ok(DescribeSubnetsResult {
        subnets: Some(shown),
        next_token,
    })
}

/// The one attribute that a Modify call may name.
pub fn only_one<A>(mut given: Vec<A>) -> Result<A, Refusal> {
    match (given.pop(), given.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Refusal::Combination {
            text: "No attributes specified.".to_owned(),
        }),
        (Some(_), false) => Err(Refusal::Combination {
            text: "Fields for multiple attribute types specified.".to_owned(),
        }),
    }
}

pub fn modify_attribute(
    context: &Context,
    request: ModifySubnetAttributeRequest,
) -> Result<ModifySubnetAttributeResponse, ApiError> {
    let value = |given: Option<AttributeBooleanValue>| given.and_then(|attribute| attribute.value);
    let outposts = value(request.map_customer_owned_ip_on_launch.clone()) == Some(true)
        || request.customer_owned_ipv4_pool.is_some()
        || request.enable_lni_at_device_index.is_some()
        || value(request.disable_lni_at_device_index).is_some();
    not_offered(outposts, "Outposts")?;
    let id = ids::parse(&request.subnet_id)?;
    let given: Vec<_> = [
        value(request.assign_ipv6_address_on_creation)
            .map(SubnetAttribute::AssignIpv6AddressOnCreation),
        value(request.map_public_ip_on_launch).map(SubnetAttribute::MapPublicIpOnLaunch),
        value(request.enable_dns64).map(SubnetAttribute::EnableDns64),
        request
            .private_dns_hostname_type_on_launch
            .map(SubnetAttribute::PrivateDnsHostnameType),
        value(request.enable_resource_name_dns_a_record_on_launch)
            .map(SubnetAttribute::EnableResourceNameDnsARecord),
        value(request.enable_resource_name_dns_aaaa_record_on_launch)
            .map(SubnetAttribute::EnableResourceNameDnsAaaaRecord),
    ]
    .into_iter()
    .flatten()
    .collect();
    let is_so_already = request.map_customer_owned_ip_on_launch.is_some();
    if given.is_empty() && is_so_already {
        // Only `false` comes this far, which is how every subnet here is.
        subnets::get(&context.snapshot(), &context.scope(), &id)?;
        return Ok(ModifySubnetAttributeResponse {});
    }
    let attribute = only_one(given)?;
    write(context, None, |tx| {
        subnets::modify(tx, &context.scope(), &id, attribute.clone())
    })?;
    Ok(ModifySubnetAttributeResponse {})
}

pub fn delete(
    context: &Context,
    request: DeleteSubnetRequest,
) -> Result<DeleteSubnetResponse, ApiError> {
    let id = ids::parse(&request.subnet_id)?;
    write(context, request.dry_run, |tx| {
        subnets::delete(tx, &context.scope(), &id)
    })?;
    Ok(DeleteSubnetResponse {})
}
