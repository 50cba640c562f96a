//! Rows of EC2: networks, addresses, groups, interfaces.

use crate::*;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vpc {
    pub scope: Scope,
    pub vpc_id: VpcId,
    /// The primary block.
    pub cidr_block: Ipv4Cidr,
    /// All blocks, the primary first.
    pub cidr_associations: Vec<VpcCidrAssociation>,
    /// `None` = the option set `default` (AmazonProvidedDNS).
    pub dhcp_options_id: Option<DhcpOptionsId>,
    /// `default` or `dedicated`.
    pub instance_tenancy: String,
    pub is_default: bool,
    pub enable_dns_support: bool,
    pub enable_dns_hostnames: bool,
    pub enable_network_address_usage_metrics: bool,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VpcCidrAssociation {
    pub association_id: VpcCidrAssociationId,
    pub cidr_block: Ipv4Cidr,
    pub state: CidrState,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CidrState {
    Associated,
    Disassociated,
}

impl Vpc {
    /// The blocks in use.
    pub fn blocks(&self) -> impl Iterator<Item = Ipv4Cidr> + '_ {
        self.cidr_associations
            .iter()
            .filter(|a| a.state == CidrState::Associated)
            .map(|a| a.cidr_block)
    }

    /// The resolver's address: the primary block's base + 2 (fact VPC-10).
    pub fn resolver(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.cidr_block.base().to_bits() + 2)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subnet {
    pub scope: Scope,
    pub subnet_id: SubnetId,
    pub vpc_id: VpcId,
    pub cidr_block: Ipv4Cidr,
    /// Zone name, `us-east-1a`.
    pub zone: String,
    pub default_for_az: bool,
    pub map_public_ip_on_launch: bool,
    pub enable_dns64: bool,
    /// `ip-name` or `resource-name`.
    pub private_dns_hostname_type: String,
    pub enable_resource_name_dns_a_record: bool,
    pub enable_resource_name_dns_aaaa_record: bool,
    pub created_at: Timestamp,
    pub tags: Tags,
}

impl Subnet {
    /// The router's address: base + 1 (fact SUB-3).
    pub fn router(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.cidr_block.base().to_bits() + 1)
    }

    /// The addresses that AWS keeps for itself: base, +1, +2, +3 and the last (fact SUB-3).
    pub fn is_reserved(&self, address: Ipv4Addr) -> bool {
        let offset = address
            .to_bits()
            .wrapping_sub(self.cidr_block.base().to_bits());
        offset < 4 || address == self.cidr_block.last()
    }
}

/// Local routes are not stored: every table has one per block of its VPC (fact RTB-1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteTable {
    pub scope: Scope,
    pub route_table_id: RouteTableId,
    pub vpc_id: VpcId,
    /// Static routes, at most one per destination.
    pub routes: Vec<Route>,
    pub associations: Vec<RouteTableAssociation>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

impl RouteTable {
    pub fn is_main(&self) -> bool {
        self.associations.iter().any(|a| a.subnet_id.is_none())
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    pub destination: Ipv4Cidr,
    pub target: RouteTarget,
}

/// Where a route leads. A target that is gone or detached makes the route a blackhole (fact RTB-6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteTarget {
    InternetGateway(InternetGatewayId),
    NatGateway(NatGatewayId),
    NetworkInterface(EniId),
}

/// `subnet_id: None` is the main association.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteTableAssociation {
    pub association_id: RouteTableAssociationId,
    pub subnet_id: Option<SubnetId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InternetGateway {
    pub scope: Scope,
    pub internet_gateway_id: InternetGatewayId,
    pub attached_vpc: Option<VpcId>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NatGateway {
    pub scope: Scope,
    pub nat_gateway_id: NatGatewayId,
    pub vpc_id: VpcId,
    pub subnet_id: SubnetId,
    pub state: NatGatewayState,
    /// Public ones have an Elastic IP, private ones none (fact NAT-9).
    pub allocation_id: Option<AllocationId>,
    pub association_id: Option<AddressAssociationId>,
    pub eni_id: Option<EniId>,
    pub private_ip: Option<Ipv4Addr>,
    pub public_ip: Option<Ipv4Addr>,
    pub private_connectivity: bool,
    /// Code and text, if failed.
    pub failure: Option<(String, String)>,
    pub client_token: Option<String>,
    pub created_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    pub tags: Tags,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatGatewayState {
    Pending,
    Available,
    Failed,
    Deleting,
    Deleted,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ElasticIp {
    pub scope: Scope,
    pub allocation_id: AllocationId,
    pub public_ip: Ipv4Addr,
    pub association: Option<AddressAssociation>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddressAssociation {
    pub association_id: AddressAssociationId,
    pub eni_id: EniId,
    pub private_ip: Ipv4Addr,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecurityGroup {
    pub scope: Scope,
    pub group_id: SecurityGroupId,
    pub vpc_id: VpcId,
    pub name: String,
    pub description: String,
    /// Each source of each permission is a rule of its own (fact SG-5).
    pub rules: Vec<SecurityGroupRule>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecurityGroupRule {
    pub rule_id: SecurityGroupRuleId,
    pub egress: bool,
    pub traffic: Traffic,
    pub peer: RulePeer,
    pub description: Option<String>,
    pub tags: Tags,
}

/// Whom a rule lets in or out to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RulePeer {
    Ipv4(Ipv4Cidr),
    /// The private addresses of the interfaces now in that group (fact SG-9).
    Group(SecurityGroupId),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkAcl {
    pub scope: Scope,
    pub network_acl_id: NetworkAclId,
    pub vpc_id: VpcId,
    pub is_default: bool,
    /// Without the implicit last entry 32767, which denies all.
    pub entries: Vec<NetworkAclEntry>,
    pub associations: Vec<NetworkAclAssociation>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkAclEntry {
    /// 1 to 32766; lower numbers first.
    pub number: u16,
    pub egress: bool,
    pub allow: bool,
    pub traffic: Traffic,
    pub cidr_block: Ipv4Cidr,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkAclAssociation {
    pub association_id: NetworkAclAssociationId,
    pub subnet_id: SubnetId,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DhcpOptions {
    pub scope: Scope,
    pub dhcp_options_id: DhcpOptionsId,
    /// Option name to values, in order.
    pub options: std::collections::BTreeMap<String, Vec<String>>,
    pub tags: Tags,
}

/// An elastic network interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Eni {
    pub scope: Scope,
    pub eni_id: EniId,
    pub vpc_id: VpcId,
    pub subnet_id: SubnetId,
    pub zone: String,
    pub mac: MacAddr,
    /// The primary address, fixed for life.
    pub private_ip: Ipv4Addr,
    pub secondary_ips: Vec<Ipv4Addr>,
    /// An address assigned with the interface (not an Elastic IP) and released with it.
    pub auto_public_ip: Option<Ipv4Addr>,
    /// 1 to 5; none for a NAT gateway's.
    pub groups: Vec<SecurityGroupId>,
    pub description: String,
    pub source_dest_check: bool,
    pub owner: EniOwner,
    /// The host that carries it; `None` for one that nothing uses (`available`).
    pub host: Option<String>,
    pub attachment_id: Option<EniAttachmentId>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

/// What an interface is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EniOwner {
    /// The caller's own, attached to nothing.
    Caller,
    /// An ECS task, by ARN.
    Task(String),
    /// A load balancer, by ARN.
    LoadBalancer(String),
    NatGateway(NatGatewayId),
}

impl Eni {
    /// The primary and the secondary addresses.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        std::iter::once(self.private_ip).chain(self.secondary_ips.iter().copied())
    }
}
