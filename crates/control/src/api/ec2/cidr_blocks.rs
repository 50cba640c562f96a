//! Further blocks of VPCs, and IPv6 blocks of subnets.

use super::subnets::render_association as render_of_subnet;
use super::vpcs::{check_border_group, render_association, render_ipv6_association};
use super::{not_offered, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::vpc_blocks::Association;
use crate::model::vpc::{Refusal, ids, subnet_blocks, vpc_blocks};
use fogbank_types::{SubnetCidrAssociationId, SubnetId, VpcCidrAssociationId, VpcId};
use fogbank_wire::ec2::*;

/// Either shape of a VPC's association, in a state that passes: it is there, or gone, when the next call comes.
fn shown(
    region: &str,
    association: &Association,
    state: &str,
) -> (
    Option<VpcCidrBlockAssociation>,
    Option<VpcIpv6CidrBlockAssociation>,
) {
    let state = Some(VpcCidrBlockState {
        state: Some(state.to_owned()),
        status_message: None,
    });
    match association {
        Association::Ipv4(row) => {
            let shape = VpcCidrBlockAssociation {
                cidr_block_state: state,
                ..render_association(row)
            };
            (Some(shape), None)
        }
        Association::Ipv6(row) => {
            let shape = VpcIpv6CidrBlockAssociation {
                ipv6_cidr_block_state: state,
                ..render_ipv6_association(region, row)
            };
            (None, Some(shape))
        }
    }
}

pub fn associate_with_vpc(
    context: &Context,
    request: AssociateVpcCidrBlockRequest,
) -> Result<AssociateVpcCidrBlockResult, ApiError> {
    let own_pool = request.ipv6_pool.is_some() || request.ipv6_cidr_block.is_some();
    not_offered(own_pool, "An IPv6 address pool of your own")?;
    let ipam = request.ipv4_ipam_pool_id.is_some()
        || request.ipv4_netmask_length.is_some()
        || request.ipv6_ipam_pool_id.is_some()
        || request.ipv6_netmask_length.is_some();
    not_offered(ipam, "IPAM")?;
    check_border_group(context, request.ipv6_cidr_block_network_border_group)?;
    let vpc_id: VpcId = ids::parse(&request.vpc_id)?;
    let scope = context.scope();
    let amazon = request.amazon_provided_ipv6_cidr_block == Some(true);
    let association = match (request.cidr_block, amazon) {
        (Some(_), true) => {
            let text = "Only one of cidrBlock and amazonProvidedIpv6CidrBlock can be specified."
                .to_owned();
            return Err(Refusal::Combination { text }.into());
        }
        (None, false) => {
            let text =
                "Either cidrBlock or amazonProvidedIpv6CidrBlock should be provided.".to_owned();
            return Err(Refusal::Missing { text }.into());
        }
        (Some(text), false) => {
            let block = ids::block("cidrBlock", &text)?;
            write(context, None, |tx| {
                vpc_blocks::associate_ipv4(tx, &scope, &vpc_id, block).map(Association::Ipv4)
            })?
        }
        (None, true) => write(context, None, |tx| {
            vpc_blocks::associate_ipv6(tx, &scope, &vpc_id).map(Association::Ipv6)
        })?,
    };
    let (cidr_block_association, ipv6_cidr_block_association) =
        shown(&scope.region, &association, "associating");
    Ok(AssociateVpcCidrBlockResult {
        cidr_block_association,
        ipv6_cidr_block_association,
        vpc_id: Some(vpc_id.to_string()),
    })
}

pub fn disassociate_from_vpc(
    context: &Context,
    request: DisassociateVpcCidrBlockRequest,
) -> Result<DisassociateVpcCidrBlockResult, ApiError> {
    let id: VpcCidrAssociationId = ids::parse(&request.association_id)?;
    let scope = context.scope();
    let (vpc_id, association) = write(context, None, |tx| {
        vpc_blocks::disassociate(tx, &scope, &id)
    })?;
    let (cidr_block_association, ipv6_cidr_block_association) =
        shown(&scope.region, &association, "disassociating");
    Ok(DisassociateVpcCidrBlockResult {
        cidr_block_association,
        ipv6_cidr_block_association,
        vpc_id: Some(vpc_id.to_string()),
    })
}

fn passing(state: &str) -> Option<SubnetCidrBlockState> {
    Some(SubnetCidrBlockState {
        state: Some(state.to_owned()),
        status_message: None,
    })
}

pub fn associate_with_subnet(
    context: &Context,
    request: AssociateSubnetCidrBlockRequest,
) -> Result<AssociateSubnetCidrBlockResult, ApiError> {
    let ipam = request.ipv6_ipam_pool_id.is_some() || request.ipv6_netmask_length.is_some();
    not_offered(ipam, "IPAM")?;
    let subnet_id: SubnetId = ids::parse(&request.subnet_id)?;
    let text = request.ipv6_cidr_block.ok_or(Refusal::MissingParameter {
        name: "ipv6CidrBlock",
    })?;
    let block = ids::block_v6("ipv6CidrBlock", &text)?;
    let row = write(context, None, |tx| {
        subnet_blocks::associate(tx, &context.scope(), &subnet_id, block)
    })?;
    Ok(AssociateSubnetCidrBlockResult {
        ipv6_cidr_block_association: Some(SubnetIpv6CidrBlockAssociation {
            ipv6_cidr_block_state: passing("associating"),
            ..render_of_subnet(&row)
        }),
        subnet_id: Some(subnet_id.to_string()),
    })
}

pub fn disassociate_from_subnet(
    context: &Context,
    request: DisassociateSubnetCidrBlockRequest,
) -> Result<DisassociateSubnetCidrBlockResult, ApiError> {
    let id: SubnetCidrAssociationId = ids::parse(&request.association_id)?;
    let (subnet_id, row) = write(context, None, |tx| {
        subnet_blocks::disassociate(tx, &context.scope(), &id)
    })?;
    Ok(DisassociateSubnetCidrBlockResult {
        ipv6_cidr_block_association: Some(SubnetIpv6CidrBlockAssociation {
            ipv6_cidr_block_state: passing("disassociating"),
            ..render_of_subnet(&row)
        }),
        subnet_id: Some(subnet_id.to_string()),
    })
}
