//! EC2's network operations: shapes to commands and rows to shapes. The rules stand in `model::vpc`.

mod account;
mod addresses;
mod dhcp_options;
mod filters;
mod internet_gateways;
mod nat_gateways;
mod network_acls;
mod network_interfaces;
mod query;
mod route_tables;
mod security_group_rules;
mod security_groups;
mod subnets;
mod tags;
mod vpcs;

#[cfg(test)]
mod tests;

use super::{ApiError, Context};
use crate::model::Tx;
use crate::model::vpc::Refusal;

super::handlers! { Ec2:
    read DescribeAvailabilityZones => account::describe_availability_zones,
    read DescribeRegions => account::describe_regions,
    read DescribeAccountAttributes => account::describe_account_attributes,
    write CreateVpc => vpcs::create,
    read DescribeVpcs => vpcs::describe,
    write DeleteVpc => vpcs::delete,
    write ModifyVpcAttribute => vpcs::modify_attribute,
    read DescribeVpcAttribute => vpcs::describe_attribute,
    write CreateSubnet => subnets::create,
    read DescribeSubnets => subnets::describe,
    write ModifySubnetAttribute => subnets::modify_attribute,
    write DeleteSubnet => subnets::delete,
    write CreateInternetGateway => internet_gateways::create,
    write AttachInternetGateway => internet_gateways::attach,
    write DetachInternetGateway => internet_gateways::detach,
    write DeleteInternetGateway => internet_gateways::delete,
    read DescribeInternetGateways => internet_gateways::describe,
    write CreateRouteTable => route_tables::create,
    write DeleteRouteTable => route_tables::delete,
    read DescribeRouteTables => route_tables::describe,
    write CreateRoute => route_tables::create_route,
    write ReplaceRoute => route_tables::replace_route,
    write DeleteRoute => route_tables::delete_route,
    write AssociateRouteTable => route_tables::associate,
    write DisassociateRouteTable => route_tables::disassociate,
    write ReplaceRouteTableAssociation => route_tables::replace_association,
    write CreateNatGateway => nat_gateways::create,
    read DescribeNatGateways => nat_gateways::describe,
    write DeleteNatGateway => nat_gateways::delete,
    write AllocateAddress => addresses::allocate,
    read DescribeAddresses => addresses::describe,
    read DescribeAddressesAttribute => addresses::describe_attribute,
    write ReleaseAddress => addresses::release,
    write AssociateAddress => addresses::associate,
    write DisassociateAddress => addresses::disassociate,
    write CreateSecurityGroup => security_groups::create,
    read DescribeSecurityGroups => security_groups::describe,
    write DeleteSecurityGroup => security_groups::delete,
    write AuthorizeSecurityGroupIngress => security_group_rules::authorize_ingress,
    write AuthorizeSecurityGroupEgress => security_group_rules::authorize_egress,
    write RevokeSecurityGroupIngress => security_group_rules::revoke_ingress,
    write RevokeSecurityGroupEgress => security_group_rules::revoke_egress,
    read DescribeSecurityGroupRules => security_group_rules::describe,
    write ModifySecurityGroupRules => security_group_rules::modify,
    write UpdateSecurityGroupRuleDescriptionsIngress => security_group_rules::describe_ingress,
    write UpdateSecurityGroupRuleDescriptionsEgress => security_group_rules::describe_egress,
    write CreateNetworkAcl => network_acls::create,
    read DescribeNetworkAcls => network_acls::describe,
    write DeleteNetworkAcl => network_acls::delete,
    write CreateNetworkAclEntry => network_acls::create_entry,
    write ReplaceNetworkAclEntry => network_acls::replace_entry,
    write DeleteNetworkAclEntry => network_acls::delete_entry,
    write ReplaceNetworkAclAssociation => network_acls::replace_association,
    write CreateNetworkInterface => network_interfaces::create,
    read DescribeNetworkInterfaces => network_interfaces::describe,
    write ModifyNetworkInterfaceAttribute => network_interfaces::modify_attribute,
    write DeleteNetworkInterface => network_interfaces::delete,
    write CreateTags => tags::create,
    write DeleteTags => tags::delete,
    read DescribeTags => tags::describe,
    write CreateDhcpOptions => dhcp_options::create,
    read DescribeDhcpOptions => dhcp_options::describe,
    write AssociateDhcpOptions => dhcp_options::associate,
    write DeleteDhcpOptions => dhcp_options::delete,
}

/// Commits a command. A dry run is refused after all that would refuse the real one, so that nothing is committed.
fn write<R>(
    context: &Context,
    dry_run: Option<bool>,
    mut command: impl FnMut(&mut Tx) -> Result<R, Refusal>,
) -> Result<R, ApiError> {
    context.write(|tx| {
        let result = command(tx)?;
        query::dry_run(dry_run)?;
        Ok(result)
    })
}

/// An optional text as a filter sees it.
fn optional(text: Option<impl ToString>) -> Vec<String> {
    text.map(|text| text.to_string()).into_iter().collect()
}

/// Refuses a parameter for what this region does not offer.
fn not_offered(given: bool, what: &'static str) -> Result<(), Refusal> {
    if given {
        Err(Refusal::NotOffered { what })
    } else {
        Ok(())
    }
}
