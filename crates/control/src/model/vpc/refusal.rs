//! Every way in which EC2 says no, in its codes and words.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>

use crate::model::Refused;
use std::net::{IpAddr, Ipv4Addr};

/// What an id names; decides the codes and texts of ids that are malformed or name nothing.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    Vpc,
    Subnet,
    RouteTable,
    RouteTableAssociation,
    InternetGateway,
    NatGateway,
    Allocation,
    AddressAssociation,
    NetworkInterface,
    SecurityGroup,
    SecurityGroupRule,
    NetworkAcl,
    NetworkAclAssociation,
    DhcpOptions,
    VpcCidrAssociation,
    SubnetCidrAssociation,
    SubnetCidrReservation,
    NetworkInterfaceAttachment,
    EgressOnlyInternetGateway,
    PrefixList,
    VpcEndpoint,
    VpcPeeringConnection,
    FlowLog,
    NetworkInsightsPath,
    NetworkInsightsAnalysis,
}

impl ResourceKind {
    /// Codes for an unknown and for a malformed id, and the noun of the text.
    const fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Vpc => ("InvalidVpcID.NotFound", "InvalidVpcID.Malformed", "vpc ID"),
            Self::Subnet => (
                "InvalidSubnetID.NotFound",
                "InvalidSubnetID.Malformed",
                "subnet ID",
            ),
            Self::RouteTable => (
                "InvalidRouteTableID.NotFound",
                "InvalidRouteTableId.Malformed",
                "routeTable ID",
            ),
            Self::RouteTableAssociation
            | Self::AddressAssociation
            | Self::NetworkAclAssociation => (
                "InvalidAssociationID.NotFound",
                // AWS knows no code for malformed ones.
                "InvalidAssociationID.NotFound",
                "association ID",
            ),
            Self::InternetGateway => (
                "InvalidInternetGatewayID.NotFound",
                "InvalidInternetGatewayId.Malformed",
                "internetGateway ID",
            ),
            Self::NatGateway => ("NatGatewayNotFound", "NatGatewayMalformed", "NatGateway"),
            Self::Allocation => (
                "InvalidAllocationID.NotFound",
                "InvalidAllocationID.NotFound",
                "allocation ID",
            ),
            Self::NetworkInterface => (
                "InvalidNetworkInterfaceID.NotFound",
                "InvalidNetworkInterfaceId.Malformed",
                "networkInterface ID",
            ),
            Self::SecurityGroup => (
                "InvalidGroup.NotFound",
                "InvalidGroupId.Malformed",
                "security group",
            ),
            Self::SecurityGroupRule => (
                "InvalidSecurityGroupRuleId.NotFound",
                "InvalidSecurityGroupRuleId.Malformed",
                "security group rule ID",
            ),
            Self::NetworkAcl => (
                "InvalidNetworkAclID.NotFound",
                "InvalidNetworkAclId.Malformed",
                "networkAcl ID",
            ),
            Self::DhcpOptions => (
                "InvalidDhcpOptionID.NotFound",
                "InvalidDhcpOptionsId.Malformed",
                "dhcpOption ID",
            ),
            Self::VpcCidrAssociation => (
                "InvalidVpcCidrBlockAssociationID.NotFound",
                "InvalidVpcCidrBlockAssociationID.Malformed",
                "vpc CIDR block association ID",
            ),
            Self::SubnetCidrAssociation => (
                "InvalidSubnetCidrBlockAssociationID.NotFound",
                "InvalidSubnetCidrBlockAssociationID.Malformed",
                "subnet CIDR block association ID",
            ),
            Self::SubnetCidrReservation => (
                "InvalidSubnetCidrReservationID.NotFound",
                "InvalidSubnetCidrReservationID.Malformed",
                "subnet CIDR reservation ID",
            ),
            Self::NetworkInterfaceAttachment => (
                "InvalidAttachmentID.NotFound",
                "InvalidAttachmentID.NotFound",
                "networkInterface attachment ID",
            ),
            Self::VpcEndpoint => (
                "InvalidVpcEndpointId.NotFound",
                "InvalidVpcEndpointId.Malformed",
                "Vpc Endpoint Id",
            ),
            Self::FlowLog => (
                "InvalidFlowLogId.NotFound",
                // AWS knows no code of its own for malformed ones.
                "InvalidParameterValue",
                "flow log ID",
            ),
            Self::NetworkInsightsPath => (
                "InvalidNetworkInsightsPathId.NotFound",
                "InvalidNetworkInsightsPathId.Malformed",
                "networkInsightsPath ID",
            ),
            Self::NetworkInsightsAnalysis => (
                "InvalidNetworkInsightsAnalysisId.NotFound",
                "InvalidNetworkInsightsAnalysisId.Malformed",
                "networkInsightsAnalysis ID",
            ),
            Self::EgressOnlyInternetGateway => (
                "InvalidGatewayID.NotFound",
                "InvalidEgressOnlyInternetGatewayId.Malformed",
                "egressOnlyInternetGateway ID",
            ),
            Self::PrefixList => (
                "InvalidPrefixListID.NotFound",
                "InvalidPrefixListId.Malformed",
                "prefix list ID",
            ),
            Self::VpcPeeringConnection => (
                "InvalidVpcPeeringConnectionID.NotFound",
                "InvalidVpcPeeringConnectionId.Malformed",
                "vpcPeeringConnection ID",
            ),
        }
    }

    fn not_found_text(self, id: &str) -> String {
        match self {
            Self::NatGateway => format!("NatGateway {id} was not found"),
            _ => format!("The {} '{id}' does not exist", self.words().2),
        }
    }

    fn malformed_text(self, id: &str, prefix: &str) -> String {
        let (not_found, malformed, _) = self.words();
        if not_found == malformed {
            self.not_found_text(id)
        } else {
            format!("Invalid id: \"{id}\" (expecting \"{prefix}-...\")")
        }
    }
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident $({ $($field:ident: $type:ty),* })? = $code:literal, $text:literal;)*) => {
        /// A refusal of EC2.
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        pub enum Refusal {
            #[error("{}", kind.not_found_text(id))]
            NotFound { kind: ResourceKind, id: String },
            #[error("{}", kind.malformed_text(id, prefix))]
            Malformed { kind: ResourceKind, id: String, prefix: &'static str },
            $($(#[$doc])* #[error($text)] $name $({ $($field: $type),* })?,)*
        }

        impl Refused for Refusal {
            fn code(&self) -> &'static str {
                match self {
                    Self::NotFound { kind, .. } => kind.words().0,
                    Self::Malformed { kind, .. } => kind.words().1,
                    $(Self::$name { .. } => $code,)*
                }
            }

            fn status(&self) -> u16 {
                match self {
                    Self::DryRun => 412,
                    _ => 400,
                }
            }
        }
    };
}

refusals! {
    DryRun = "DryRunOperation", "Request would have succeeded, but DryRun flag is set.";
    MissingParameter { name: &'static str } = "MissingParameter", "The request must contain the parameter {name}";
    /// None of several parameters is given.
    Missing { text: String } = "MissingParameter", "{text}";
    /// Parameters that exclude each other.
    Combination { text: String } = "InvalidParameterCombination", "{text}";
    /// A value that breaks a rule which has no code of its own.
    Value { text: String } = "InvalidParameterValue", "{text}";
    TagSpecification { text: String } = "InvalidParameter", "{text}";
    /// What AWS offers and this region does not yet.
    NotOffered { what: &'static str } = "InvalidParameterValue", "{what} is not offered by this region yet.";
    /// One that a route cannot target, which is not what a call about the gateway itself says.
    RouteNatGateway { id: String } = "InvalidNatGatewayID.NotFound", "The natGateway ID '{id}' does not exist";
    UnknownFilter { name: String } = "InvalidParameterValue", "The filter '{name}' is invalid";
    FilterLimit = "FilterLimitExceeded", "The maximum number of filters or filter values has been reached.";
    MalformedGroup { id: String } = "InvalidGroupId.Malformed", "The security group ID '{id}' is malformed";
    NextToken = "InvalidNextToken", "The specified NextToken is invalid.";
    TokenReused = "IdempotentParameterMismatch",
        "The request uses the same client token as a previous, but non-identical request.";
    UnknownResource { id: String } = "InvalidID", "The ID '{id}' is not valid";
    TagLimit = "TagLimitExceeded", "The maximum number of Tags for a resource has been reached.";
    NoDefaultVpc = "VPCIdNotSpecified", "No default VPC for this user.";

    /// Something stands in the way of a deletion.
    HasDependents { noun: &'static str, id: String } = "DependencyViolation",
        "The {noun} '{id}' has dependencies and cannot be deleted.";
    HasDependentObject { id: String } = "DependencyViolation", "resource {id} has a dependent object";
    HasPublicAddresses { vpc_id: String } = "DependencyViolation",
        "Network {vpc_id} has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.";
    DifferentNetworks { one: String, other: String } = "InvalidParameterValue", "{one} and {other} belong to different networks";
    GroupOfOtherNetwork { group_id: String, subnet_id: String } = "InvalidParameter",
        "Security group {group_id} and subnet {subnet_id} belong to different networks.";
    NotPermitted = "AuthFailure", "You do not have permission to access the specified resource.";
    OperationNotPermitted { text: String } = "OperationNotPermitted", "{text}";

    VpcRange { cidr: String } = "InvalidVpc.Range", "The CIDR '{cidr}' is invalid.";
    VpcLimit = "VpcLimitExceeded", "The maximum number of VPCs has been reached.";
    /// A block that no VPC can have beside its own.
    BlockRestricted { cidr: String } = "InvalidVpc.Range",
        "The CIDR '{cidr}' is restricted. Use a CIDR from the same private address range as the current VPC CIDR, or use a publicly-routable CIDR.";
    BlockConflict { cidr: String, other: String } = "InvalidVpc.Range", "The CIDR '{cidr}' conflicts with {other}.";
    BlockLimit { id: String, most: usize } = "CidrLimitExceeded",
        "This network {id} has met its maximum number of allowed CIDRs: {most}";
    PrimaryBlock { association_id: String } = "OperationNotPermitted",
        "The vpc CIDR block with association ID {association_id} may not be disassociated. It is the primary IPv4 CIDR block of the VPC";
    BlockInUse { id: String, user: &'static str, cidr: String } = "InvalidCidrBlock.InUse",
        "The {id} currently has {user} within CIDR block {cidr}";
    Ipv6PoolEmpty = "InsufficientCidrBlocks", "Not enough IPv6 CIDR blocks available to satisfy your request.";
    DefaultVpcExists = "DefaultVpcAlreadyExists", "A Default VPC already exists for this account in this region.";
    DefaultVpcMissing = "DefaultVpcDoesNotExist", "No default VPC for this user.";
    DefaultSubnetExists { subnet_id: String, zone: String } = "DefaultSubnetAlreadyExistsInAvailabilityZone",
        "'{subnet_id}' is already the default subnet in {zone}.";
    SubnetRange { cidr: String } = "InvalidSubnet.Range", "The CIDR '{cidr}' is invalid.";
    SubnetConflict { cidr: String } = "InvalidSubnet.Conflict", "The CIDR '{cidr}' conflicts with another subnet";
    SubnetLimit { vpc_id: String } = "SubnetLimitExceeded", "The maximum number of subnets for VPC '{vpc_id}' has been reached.";

    GatewayLimit = "InternetGatewayLimitExceeded", "The maximum number of internet gateways has been reached.";
    GatewayAttached { gateway_id: String, vpc_id: String } = "Resource.AlreadyAssociated",
        "resource {gateway_id} is already attached to network {vpc_id}";
    NetworkHasGateway { vpc_id: String } = "InvalidParameterValue", "Network {vpc_id} already has an internet gateway attached";
    GatewayNotAttached { gateway_id: String, vpc_id: String } = "Gateway.NotAttached",
        "resource {gateway_id} is not attached to network {vpc_id}";
    NetworkWithoutGateway { vpc_id: String } = "Gateway.NotAttached", "Network {vpc_id} is not attached to any internet gateway";

    EgressGatewayLimit = "EgressOnlyInternetGatewayLimitExceeded",
        "The maximum number of egress-only internet gateways has been reached.";
    NetworkHasEgressGateway { vpc_id: String } = "InvalidParameterValue",
        "Network {vpc_id} already has an egress-only internet gateway attached";

    RouteTableLimit { vpc_id: String } = "RouteTableLimitExceeded",
        "The maximum number of route tables for VPC '{vpc_id}' has been reached.";
    RouteLimit { route_table_id: String } = "RouteLimitExceeded",
        "The maximum number of routes for route table '{route_table_id}' has been reached.";
    RouteExists { destination: String } = "RouteAlreadyExists", "The route identified by {destination} already exists.";
    RouteNotFound { destination: String, route_table_id: String } = "InvalidRoute.NotFound",
        "no route with destination-cidr-block {destination} in route table {route_table_id}";
    LocalRoute { destination: String, route_table_id: String } = "InvalidParameterValue",
        "cannot remove local route {destination} in route table {route_table_id}";
    EndpointRoute { destination: String, route_table_id: String } = "InvalidParameterValue",
        "cannot remove VPC endpoint route {destination} in route table {route_table_id}";
    UnknownGateway { id: String } = "InvalidGatewayID.NotFound", "The gateway ID '{id}' does not exist";
    TableAssociated { route_table_id: String } = "Resource.AlreadyAssociated",
        "the specified association for route table {route_table_id} conflicts with an existing association";
    MainAssociation { association_id: String } = "InvalidParameterValue",
        "cannot disassociate the main route table association {association_id}";

    /// What endpoints, flow logs and analyses refuse under their one code for everything.
    Parameter { text: String } = "InvalidParameter", "{text}";
    ServiceName { name: String } = "InvalidServiceName", "The Vpc Endpoint Service '{name}' does not exist";
    EndpointLimit = "VpcEndpointLimitExceeded", "The maximum number of VPC endpoints has been reached.";
    EndpointRouteExists { route_table_id: String, prefix_list_id: String } = "RouteAlreadyExists",
        "route table {route_table_id} already has a route with destination-prefix-list-id {prefix_list_id}";
    EndpointRouteTable { id: String } = "InvalidRouteTableId.NotFound", "The routeTable ID '{id}' does not exist";
    EndpointSubnet { id: String } = "InvalidSubnetId.NotFound", "The subnet ID '{id}' does not exist";
    EndpointZoneTwice { subnet_id: String } = "DuplicateSubnetsInSameZone",
        "Found another VPC endpoint subnet in the availability zone of {subnet_id}";
    PolicyDocument { text: String } = "InvalidPolicyDocument", "{text}";
    FlowLogExists = "FlowLogAlreadyExists",
        "Error. There is an existing Flow Log with the same configuration and log destination.";
    FlowLogsNotFound { count: usize, ids: String } = "InvalidFlowLogId.NotFound",
        "These flow log ids in the input list are not found: [TotalCount: {count}] {ids}";
    AnalysisExists { path_id: String } = "AnalysisExistsForNetworkInsightsPath",
        "One or more analyses exist for the network insights path '{path_id}'. Delete them first.";

    NatGatewayLimit { zone: String } = "NatGatewayLimitExceeded",
        "The maximum number of NAT gateways in Availability Zone {zone} has been reached.";

    AddressLimit = "AddressLimitExceeded", "The maximum number of addresses has been reached.";
    AddressNotFound { public_ip: String } = "InvalidAddress.NotFound", "Address '{public_ip}' not found.";
    AddressInUse { public_ip: Ipv4Addr } = "InvalidIPAddress.InUse", "Address {public_ip} is in use.";
    AddressAssociated { id: String, association_id: String } = "Resource.AlreadyAssociated",
        "resource {id} is already associated with associate-id {association_id}";
    PublicPoolEmpty = "InsufficientAddressCapacity", "Not enough public addresses available to satisfy your request.";

    InterfaceLimit = "NetworkInterfaceLimitExceeded", "The maximum number of network interfaces has been reached.";
    InterfaceInUse { eni_id: String } = "InvalidParameterValue", "Network interface '{eni_id}' is currently in use.";
    PrivateAddressInUse { address: IpAddr } = "InvalidIPAddress.InUse", "Address {address} is in use.";
    AddressOutsideSubnet { address: IpAddr } = "InvalidParameterValue",
        "Address {address} does not fall within the subnet's address range";
    AddressReserved { address: IpAddr } = "InvalidParameterValue", "Address {address} is in subnet's reserved address range";
    NoFreeAddress { subnet_id: String } = "InsufficientFreeAddressesInSubnet",
        "The specified subnet '{subnet_id}' does not have enough free addresses to satisfy the request.";
    AddressesPerInterface = "PrivateIpAddressLimitExceeded", "Number of private addresses will exceed limit.";
    AddressesNotAssigned { eni_id: String } = "InvalidParameterValue",
        "Some of the specified addresses are not assigned to interface {eni_id}";
    InstanceNotFound { id: String } = "InvalidInstanceID.NotFound", "The instance ID '{id}' does not exist";
    InstanceMalformed { id: String } = "InvalidInstanceID.Malformed", "Invalid id: \"{id}\" (expecting \"i-...\")";
    VpnGatewayNotFound { id: String } = "InvalidVpnGatewayID.NotFound", "The vpnGateway ID '{id}' does not exist";
    GroupsPerInterface = "SecurityGroupsPerInterfaceLimitExceeded",
        "The maximum number of security groups per interface has been reached.";

    GroupDuplicate { name: String, vpc_id: String } = "InvalidGroup.Duplicate",
        "The security group '{name}' already exists for VPC '{vpc_id}'";
    GroupLimit = "SecurityGroupLimitExceeded", "The maximum number of security groups has been reached.";
    DefaultGroup { group_id: String } = "CannotDelete",
        "the specified group: \"{group_id}\" name: \"default\" cannot be deleted by a user";
    GroupNameNotFound { name: String } = "InvalidGroup.NotFound",
        "The security group '{name}' does not exist in the default VPC";
    RuleDuplicate { rule: String } = "InvalidPermission.Duplicate", "the specified rule \"{rule}\" already exists";
    RuleNotFound = "InvalidPermission.NotFound", "The specified rule does not exist in this security group.";
    RuleLimit = "RulesPerSecurityGroupLimitExceeded", "The maximum number of rules per security group has been reached.";

    PeeringExists = "VpcPeeringConnectionAlreadyExists", "A VPC peering connection between the VPCs already exists.";
    PeeringLimit { vpc_id: String } = "VpcPeeringConnectionsPerVpcLimitExceeded",
        "The maximum number of VPC peering connections for VPC '{vpc_id}' has been reached.";
    OutstandingPeeringLimit = "OutstandingVpcPeeringConnectionLimitExceeded",
        "The maximum number of outstanding VPC peering connection requests has been reached.";
    PeeringTransition { id: String, from: &'static str, to: &'static str } = "InvalidStateTransition",
        "Invalid state transition for {id}, attempted to transition from {from} to {to}";

    PrefixListLimit = "PrefixListLimitExceeded", "The maximum number of prefix lists has been reached.";
    PrefixListSize { max_entries: u32 } = "PrefixListMaxEntriesExceeded",
        "The prefix list would have more entries than its maximum of {max_entries}.";
    PrefixListModification { text: String } = "InvalidPrefixListModification", "{text}";
    PrefixListVersionMismatch = "PrefixListVersionMismatch", "The prefix list has the incorrect version number.";
    PrefixListVersion { version: i64 } = "InvalidPrefixListVersion", "The prefix list has no version {version}.";

    AclLimit { vpc_id: String } = "NetworkAclLimitExceeded",
        "The maximum number of network ACLs for VPC '{vpc_id}' has been reached.";
    DefaultAcl { network_acl_id: String } = "InvalidParameterValue", "cannot delete default network ACL {network_acl_id}";
    AclEntryExists { number: i32 } = "NetworkAclEntryAlreadyExists", "The network acl entry identified by {number} already exists.";
    AclEntryNotFound { number: i32 } = "InvalidNetworkAclEntry.NotFound",
        "The network acl entry identified by {number} does not exist.";
    AclEntryLimit = "NetworkAclEntryLimitExceeded", "The maximum number of network acl entries has been reached.";
}

impl Refusal {
    /// `Value (x) for parameter y is invalid. <why>`, EC2's usual words.
    pub fn parameter(name: &str, value: impl std::fmt::Display, why: &str) -> Self {
        let text = format!("Value ({value}) for parameter {name} is invalid. {why}");
        Self::Value {
            text: text.trim_end().to_owned(),
        }
    }

    /// A rule without a code of its own.
    pub fn value(text: impl Into<String>) -> Self {
        Self::Value { text: text.into() }
    }

    pub fn not_found(kind: ResourceKind, id: impl AsRef<str>) -> Self {
        Self::NotFound {
            kind,
            id: id.as_ref().to_owned(),
        }
    }

    pub fn has_dependents(noun: &'static str, id: impl AsRef<str>) -> Self {
        Self::HasDependents {
            noun,
            id: id.as_ref().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_texts_are_as_clients_match_them() {
        let refusal = Refusal::not_found(ResourceKind::Vpc, "vpc-1");
        assert_eq!(refusal.code(), "InvalidVpcID.NotFound");
        assert_eq!(refusal.to_string(), "The vpc ID 'vpc-1' does not exist");
        assert_eq!(
            Refusal::not_found(ResourceKind::NatGateway, "nat-1").to_string(),
            "NatGateway nat-1 was not found"
        );
        assert_eq!(Refusal::DryRun.status(), 412);
        assert_eq!(
            Refusal::parameter("cidrBlock", "x", "This is not a valid CIDR block.").to_string(),
            "Value (x) for parameter cidrBlock is invalid. This is not a valid CIDR block."
        );
    }
}
