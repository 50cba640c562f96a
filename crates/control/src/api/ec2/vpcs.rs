//! VPCs.

use super::query::{dry_run, query, rows};
use super::{not_offered, tags, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::vpcs::{NewVpc, VpcAttribute};
use crate::model::vpc::{Refusal, default_vpc, dhcp_options, ids, vpcs};
use fogbank_types::ec2::{CidrState, Vpc as Row, VpcCidrAssociation, VpcIpv6CidrAssociation};
use fogbank_types::{Snapshot, VpcId};
use fogbank_wire::ec2::*;

/// Whose the IPv6 addresses are.
const IPV6_POOL: &str = "Amazon";

pub fn state_name(state: CidrState) -> String {
    match state {
        CidrState::Associated => "associated",
        CidrState::Disassociated => "disassociated",
    }
    .to_owned()
}

fn block_state(state: CidrState) -> Option<VpcCidrBlockState> {
    Some(VpcCidrBlockState {
        state: Some(state_name(state)),
        status_message: None,
    })
}

pub fn render_association(row: &VpcCidrAssociation) -> VpcCidrBlockAssociation {
    VpcCidrBlockAssociation {
        association_id: Some(row.association_id.to_string()),
        cidr_block: Some(row.cidr_block.to_string()),
        cidr_block_state: block_state(row.state),
    }
}

pub fn render_ipv6_association(
    region: &str,
    row: &VpcIpv6CidrAssociation,
) -> VpcIpv6CidrBlockAssociation {
    VpcIpv6CidrBlockAssociation {
        association_id: Some(row.association_id.to_string()),
        ip_source: Some("amazon".to_owned()),
        ipv6_address_attribute: Some("public".to_owned()),
        ipv6_cidr_block: Some(row.cidr_block.to_string()),
        ipv6_cidr_block_state: block_state(row.state),
        ipv6_pool: Some(IPV6_POOL.to_owned()),
        network_border_group: Some(region.to_owned()),
    }
}

fn render(row: &Row) -> Vpc {
    let blocks = row.cidr_associations.iter().map(render_association);
    let ipv6_blocks = row
        .ipv6_cidr_associations
        .iter()
        .map(|a| render_ipv6_association(&row.scope.region, a));
    Vpc {
        vpc_id: Some(row.vpc_id.to_string()),
        owner_id: Some(row.scope.account.clone()),
        state: Some("available".to_owned()),
        cidr_block: Some(row.cidr_block.to_string()),
        cidr_block_association_set: Some(blocks.collect()),
        ipv6_cidr_block_association_set: Some(ipv6_blocks.collect()),
        dhcp_options_id: Some(dhcp_options::id_of(row).to_string()),
        instance_tenancy: Some(row.instance_tenancy.clone()),
        is_default: Some(row.is_default),
        block_public_access_states: Some(BlockPublicAccessStates {
            internet_gateway_block_mode: Some("off".to_owned()),
        }),
        tags: tags::render(&row.tags),
        ..Vpc::default()
    }
}

pub fn create(context: &Context, request: CreateVpcRequest) -> Result<CreateVpcResult, ApiError> {
    let own_pool = request.ipv6_cidr_block.is_some() || request.ipv6_pool.is_some();
    not_offered(own_pool, "An IPv6 address pool of your own")?;
    let ipam = request.ipv4_ipam_pool_id.is_some()
        || request.ipv4_netmask_length.is_some()
        || request.ipv6_ipam_pool_id.is_some()
        || request.ipv6_netmask_length.is_some();
    not_offered(ipam, "IPAM")?;
    check_border_group(context, request.ipv6_cidr_block_network_border_group)?;
    not_offered(
        request.vpc_encryption_control.is_some(),
        "VPC encryption control",
    )?;
    let block = request
        .cidr_block
        .ok_or(Refusal::MissingParameter { name: "cidrBlock" })?;
    let new = NewVpc {
        cidr_block: ids::block("cidrBlock", &block)?,
        tenancy: request
            .instance_tenancy
            .unwrap_or_else(|| "default".to_owned()),
        ipv6: request.amazon_provided_ipv6_cidr_block == Some(true),
        tags: tags::specified(request.tag_specifications, "vpc")?,
    };
    let row = write(context, request.dry_run, |tx| {
        vpcs::create(tx, &context.scope(), new.clone())
    })?;
    let vpc = Vpc {
        // AWS answers `pending` here; it is there when the next call comes.
        state: Some("pending".to_owned()),
        ..render(&row)
    };
    Ok(CreateVpcResult { vpc: Some(vpc) })
}

/// A region is one border group here.
pub fn check_border_group(context: &Context, group: Option<String>) -> Result<(), Refusal> {
    match group.filter(|group| *group != context.caller.region) {
        Some(group) => Err(Refusal::parameter("networkBorderGroup", group, "")),
        None => Ok(()),
    }
}

pub fn create_default(
    context: &Context,
    request: CreateDefaultVpcRequest,
) -> Result<CreateDefaultVpcResult, ApiError> {
    let row = write(context, request.dry_run, |tx| {
        default_vpc::create(tx, &context.scope())
    })?;
    Ok(CreateDefaultVpcResult {
        vpc: Some(render(&row)),
    })
}

const FILTERS: &[&str] = &[
    "cidr",
    "cidr-block",
    "cidrBlock",
    "cidr-block-association.association-id",
    "cidr-block-association.cidr-block",
    "cidr-block-association.state",
    "dhcp-options-id",
    "dhcpOptionsId",
    "ipv6-cidr-block-association.association-id",
    "ipv6-cidr-block-association.ipv6-cidr-block",
    "ipv6-cidr-block-association.ipv6-pool",
    "ipv6-cidr-block-association.state",
    "is-default",
    "isDefault",
    "owner-id",
    "state",
    "vpc-id",
];

fn values(row: &Row, name: &str) -> Vec<String> {
    let associations = row.cidr_associations.iter();
    let ipv6 = row.ipv6_cidr_associations.iter();
    match name {
        "cidr" | "cidr-block" | "cidrBlock" => vec![row.cidr_block.to_string()],
        "cidr-block-association.association-id" => {
            associations.map(|a| a.association_id.to_string()).collect()
        }
        "cidr-block-association.cidr-block" => {
            associations.map(|a| a.cidr_block.to_string()).collect()
        }
        "cidr-block-association.state" => associations.map(|a| state_name(a.state)).collect(),
        "ipv6-cidr-block-association.association-id" => {
            ipv6.map(|a| a.association_id.to_string()).collect()
        }
        "ipv6-cidr-block-association.ipv6-cidr-block" => {
            ipv6.map(|a| a.cidr_block.to_string()).collect()
        }
        "ipv6-cidr-block-association.ipv6-pool" => ipv6.map(|_| IPV6_POOL.to_owned()).collect(),
        "ipv6-cidr-block-association.state" => ipv6.map(|a| state_name(a.state)).collect(),
        "dhcp-options-id" | "dhcpOptionsId" => vec![dhcp_options::id_of(row).to_string()],
        "is-default" | "isDefault" => vec![row.is_default.to_string()],
        "owner-id" => vec![row.scope.account.clone()],
        "state" => vec!["available".to_owned()],
        "vpc-id" => vec![row.vpc_id.to_string()],
        _ => Vec::new(),
    }
}

pub fn describe(
    context: &Context,
    request: DescribeVpcsRequest,
) -> Result<DescribeVpcsResult, ApiError> {
    let query = query!(request, vpc_ids, filters);
    let snapshot = context.snapshot();
    let (found, next_token) =
        rows::<Row, VpcId>(context, &snapshot, query, FILTERS, |row| &row.tags, values)?;
    Ok(DescribeVpcsResult {
        vpcs: Some(found.iter().map(|row| render(row)).collect()),
        next_token,
    })
}

pub fn delete(context: &Context, request: DeleteVpcRequest) -> Result<DeleteVpcResponse, ApiError> {
    let id = ids::parse(&request.vpc_id)?;
    write(context, request.dry_run, |tx| {
        vpcs::delete(tx, &context.scope(), &id)
    })?;
    Ok(DeleteVpcResponse {})
}

pub fn modify_attribute(
    context: &Context,
    request: ModifyVpcAttributeRequest,
) -> Result<ModifyVpcAttributeResponse, ApiError> {
    let id = ids::parse(&request.vpc_id)?;
    let value = |given: Option<AttributeBooleanValue>| given.and_then(|attribute| attribute.value);
    let given: Vec<_> = [
        value(request.enable_dns_support).map(VpcAttribute::DnsSupport),
        value(request.enable_dns_hostnames).map(VpcAttribute::DnsHostnames),
        value(request.enable_network_address_usage_metrics)
            .map(VpcAttribute::NetworkAddressUsageMetrics),
    ]
    .into_iter()
    .flatten()
    .collect();
    let attribute = super::subnets::only_one(given)?;
    write(context, None, |tx| {
        vpcs::modify(tx, &context.scope(), &id, attribute)
    })?;
    Ok(ModifyVpcAttributeResponse {})
}

pub fn modify_tenancy(
    context: &Context,
    request: ModifyVpcTenancyRequest,
) -> Result<ModifyVpcTenancyResult, ApiError> {
    let id = ids::parse(&request.vpc_id)?;
    write(context, request.dry_run, |tx| {
        vpcs::modify_tenancy(tx, &context.scope(), &id, &request.instance_tenancy)
    })?;
    Ok(ModifyVpcTenancyResult {
        return_value: Some(true),
    })
}

pub fn describe_attribute(
    context: &Context,
    request: DescribeVpcAttributeRequest,
) -> Result<DescribeVpcAttributeResult, ApiError> {
    dry_run(request.dry_run)?;
    let snapshot: Snapshot = context.snapshot();
    let row = vpcs::get(&snapshot, &context.scope(), &ids::parse(&request.vpc_id)?)?;
    let value = |on: bool| Some(AttributeBooleanValue { value: Some(on) });
    let mut result = DescribeVpcAttributeResult {
        vpc_id: Some(row.vpc_id.to_string()),
        ..DescribeVpcAttributeResult::default()
    };
    match request.attribute.as_str() {
        "enableDnsSupport" => result.enable_dns_support = value(row.enable_dns_support),
        "enableDnsHostnames" => result.enable_dns_hostnames = value(row.enable_dns_hostnames),
        "enableNetworkAddressUsageMetrics" => {
            result.enable_network_address_usage_metrics =
                value(row.enable_network_address_usage_metrics);
        }
        other => return Err(Refusal::parameter("attribute", other, "Unknown attribute.").into()),
    }
    Ok(result)
}
