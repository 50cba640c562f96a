//! EC2's network operations: shapes to commands and rows to shapes. The rules stand in `model::vpc`.

mod account;
mod addresses;
mod cidr_blocks;
mod dhcp_options;
mod egress_only_gateways;
mod filters;
mod flow_logs;
mod instances;
mod interface_addresses;
mod interface_attributes;
mod internet_gateways;
mod managed_prefix_lists;
mod nat_gateways;
mod network_acls;
mod network_insights;
mod network_insights_findings;
mod network_interfaces;
mod peering;
mod query;
mod route_tables;
mod security_group_references;
mod security_group_rules;
mod security_groups;
mod subnet_reservations;
mod subnets;
mod tags;
mod vpc_endpoint_services;
mod vpc_endpoints;
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
    write ModifyVpcTenancy => vpcs::modify_tenancy,
    write CreateDefaultVpc => vpcs::create_default,
    write CreateDefaultSubnet => subnets::create_default,
    write AssociateVpcCidrBlock => cidr_blocks::associate_with_vpc,
    write DisassociateVpcCidrBlock => cidr_blocks::disassociate_from_vpc,
    write AssociateSubnetCidrBlock => cidr_blocks::associate_with_subnet,
    write DisassociateSubnetCidrBlock => cidr_blocks::disassociate_from_subnet,
    write CreateSubnetCidrReservation => subnet_reservations::create,
    write DeleteSubnetCidrReservation => subnet_reservations::delete,
    read GetSubnetCidrReservations => subnet_reservations::list,
    write CreateSubnet => subnets::create,
    read DescribeSubnets => subnets::describe,
    write ModifySubnetAttribute => subnets::modify_attribute,
    write DeleteSubnet => subnets::delete,
    write CreateInternetGateway => internet_gateways::create,
    write AttachInternetGateway => internet_gateways::attach,
    write DetachInternetGateway => internet_gateways::detach,
    write DeleteInternetGateway => internet_gateways::delete,
    read DescribeInternetGateways => internet_gateways::describe,
    write CreateEgressOnlyInternetGateway => egress_only_gateways::create,
    read DescribeEgressOnlyInternetGateways => egress_only_gateways::describe,
    write DeleteEgressOnlyInternetGateway => egress_only_gateways::delete,
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
    write ModifyAddressAttribute => addresses::modify_attribute,
    write ResetAddressAttribute => addresses::reset_attribute,
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
    read DescribeSecurityGroupReferences => security_group_references::references,
    read DescribeStaleSecurityGroups => security_group_references::stale,
    read GetSecurityGroupsForVpc => security_group_references::for_vpc,
    write CreateManagedPrefixList => managed_prefix_lists::create,
    read DescribeManagedPrefixLists => managed_prefix_lists::describe,
    read GetManagedPrefixListEntries => managed_prefix_lists::entries_of,
    write ModifyManagedPrefixList => managed_prefix_lists::modify,
    write DeleteManagedPrefixList => managed_prefix_lists::delete,
    read GetManagedPrefixListAssociations => managed_prefix_lists::associations,
    write RestoreManagedPrefixListVersion => managed_prefix_lists::restore,
    write CreateVpcPeeringConnection => peering::create,
    write AcceptVpcPeeringConnection => peering::accept,
    write RejectVpcPeeringConnection => peering::reject,
    read DescribeVpcPeeringConnections => peering::describe,
    write ModifyVpcPeeringConnectionOptions => peering::modify_options,
    write DeleteVpcPeeringConnection => peering::delete,
    write CreateNetworkAcl => network_acls::create,
    read DescribeNetworkAcls => network_acls::describe,
    write DeleteNetworkAcl => network_acls::delete,
    write CreateNetworkAclEntry => network_acls::create_entry,
    write ReplaceNetworkAclEntry => network_acls::replace_entry,
    write DeleteNetworkAclEntry => network_acls::delete_entry,
    write ReplaceNetworkAclAssociation => network_acls::replace_association,
    write CreateNetworkInterface => network_interfaces::create,
    read DescribeNetworkInterfaces => network_interfaces::describe,
    write ModifyNetworkInterfaceAttribute => interface_attributes::modify,
    read DescribeNetworkInterfaceAttribute => interface_attributes::describe,
    write ResetNetworkInterfaceAttribute => interface_attributes::reset,
    write AttachNetworkInterface => interface_attributes::attach,
    write DetachNetworkInterface => interface_attributes::detach,
    write AssignPrivateIpAddresses => interface_addresses::assign,
    write UnassignPrivateIpAddresses => interface_addresses::unassign,
    write AssignIpv6Addresses => interface_addresses::assign_ipv6,
    write UnassignIpv6Addresses => interface_addresses::unassign_ipv6,
    read DescribeInstances => instances::describe,
    read DescribeVpnGateways => instances::describe_vpn_gateways,
    write DeleteNetworkInterface => network_interfaces::delete,
    write CreateTags => tags::create,
    write DeleteTags => tags::delete,
    read DescribeTags => tags::describe,
    write CreateDhcpOptions => dhcp_options::create,
    read DescribeDhcpOptions => dhcp_options::describe,
    write AssociateDhcpOptions => dhcp_options::associate,
    write DeleteDhcpOptions => dhcp_options::delete,
    write CreateVpcEndpoint => vpc_endpoints::create,
    read DescribeVpcEndpoints => vpc_endpoints::describe,
    write ModifyVpcEndpoint => vpc_endpoints::modify,
    write DeleteVpcEndpoints => vpc_endpoints::delete,
    read DescribeVpcEndpointServices => vpc_endpoint_services::describe_services,
    read DescribePrefixLists => vpc_endpoint_services::describe_prefix_lists,
    write CreateFlowLogs => flow_logs::create,
    read DescribeFlowLogs => flow_logs::describe,
    write DeleteFlowLogs => flow_logs::delete,
    write CreateNetworkInsightsPath => network_insights::create_path,
    read DescribeNetworkInsightsPaths => network_insights::describe_paths,
    write DeleteNetworkInsightsPath => network_insights::delete_path,
    write StartNetworkInsightsAnalysis => network_insights::start_analysis,
    read DescribeNetworkInsightsAnalyses => network_insights::describe_analyses,
    write DeleteNetworkInsightsAnalysis => network_insights::delete_analysis,
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
