//! Rows of EC2: networks, addresses, groups, interfaces.

use crate::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vpc {
    pub scope: Scope,
    pub vpc_id: VpcId,
    /// The primary block.
    pub cidr_block: Ipv4Cidr,
    /// All blocks, the primary first.
    pub cidr_associations: Vec<VpcCidrAssociation>,
    /// Amazon-provided /56 blocks (fact VPC-7).
    #[serde(default)]
    pub ipv6_cidr_associations: Vec<VpcIpv6CidrAssociation>,
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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VpcIpv6CidrAssociation {
    pub association_id: VpcCidrAssociationId,
    pub cidr_block: Ipv6Cidr,
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

    /// The IPv6 blocks in use.
    pub fn ipv6_blocks(&self) -> impl Iterator<Item = Ipv6Cidr> + '_ {
        self.ipv6_cidr_associations
            .iter()
            .filter(|a| a.state == CidrState::Associated)
            .map(|a| a.cidr_block)
    }

    /// The blocks of both families in use: each is a local route of every table (fact RTB-1).
    pub fn all_blocks(&self) -> impl Iterator<Item = IpCidr> + '_ {
        let v4 = self.blocks().map(IpCidr::V4);
        v4.chain(self.ipv6_blocks().map(IpCidr::V6))
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
    /// /64 blocks of the VPC's IPv6 blocks; one at most is in use.
    #[serde(default)]
    pub ipv6_cidr_associations: Vec<SubnetIpv6CidrAssociation>,
    /// Interfaces made in it get an IPv6 address.
    #[serde(default)]
    pub assign_ipv6_address_on_creation: bool,
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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubnetIpv6CidrAssociation {
    pub association_id: SubnetCidrAssociationId,
    pub cidr_block: Ipv6Cidr,
    pub state: CidrState,
}

impl Subnet {
    /// The IPv6 block in use.
    pub fn ipv6_block(&self) -> Option<Ipv6Cidr> {
        self.ipv6_cidr_associations
            .iter()
            .find(|a| a.state == CidrState::Associated)
            .map(|a| a.cidr_block)
    }

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

/// Addresses of a subnet that no interface gets by itself.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-cidr-reservation.html>
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubnetCidrReservation {
    pub scope: Scope,
    pub reservation_id: SubnetCidrReservationId,
    pub subnet_id: SubnetId,
    pub cidr_block: IpCidr,
    pub kind: SubnetCidrReservationKind,
    pub description: Option<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SubnetCidrReservationKind {
    /// For prefixes of interfaces.
    Prefix,
    /// For addresses that the caller names.
    Explicit,
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
    pub destination: RouteDestination,
    pub target: RouteTarget,
}

/// An address block, or a prefix list: as many routes as it has entries (fact RTB-2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RouteDestination {
    Block(IpCidr),
    PrefixList(PrefixListId),
}

impl RouteDestination {
    pub fn block(&self) -> Option<IpCidr> {
        match self {
            Self::Block(block) => Some(*block),
            Self::PrefixList(_) => None,
        }
    }
}

impl std::fmt::Display for RouteDestination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Block(block) => block.fmt(f),
            Self::PrefixList(id) => id.fmt(f),
        }
    }
}

/// Where a route leads. A target that is gone or detached makes the route a blackhole (fact RTB-6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteTarget {
    InternetGateway(InternetGatewayId),
    NatGateway(NatGatewayId),
    NetworkInterface(EniId),
    EgressOnlyInternetGateway(EgressOnlyInternetGatewayId),
    VpcPeeringConnection(VpcPeeringConnectionId),
    /// A gateway endpoint's route: written by the endpoint, not by CreateRoute (fact RTB-11).
    VpcEndpoint(VpcEndpointId),
}

impl RouteTarget {
    pub fn id(&self) -> &str {
        match self {
            Self::InternetGateway(id) => id.as_str(),
            Self::NatGateway(id) => id.as_str(),
            Self::NetworkInterface(id) => id.as_str(),
            Self::EgressOnlyInternetGateway(id) => id.as_str(),
            Self::VpcPeeringConnection(id) => id.as_str(),
            Self::VpcEndpoint(id) => id.as_str(),
        }
    }
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
    /// The name that a reverse look-up gives, with its last dot.
    #[serde(default)]
    pub ptr_record: Option<String>,
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
    Ipv6(Ipv6Cidr),
    /// The private addresses of the interfaces now in that group, of this VPC or of an actively
    /// peered one (fact SG-9).
    Group(SecurityGroupId),
    PrefixList(PrefixListId),
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
    pub cidr_block: IpCidr,
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
    #[serde(default)]
    pub ipv6_addresses: Vec<Ipv6Addr>,
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
    /// Idle timeouts other than the defaults (fact SG-13).
    #[serde(default)]
    pub connection_tracking: ConnectionTracking,
    /// Of a task with Service Connect: its names lead to the proxy (`types::connect`).
    #[serde(default)]
    pub service_connect: bool,
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
    /// An interface endpoint's, one a subnet.
    VpcEndpoint(VpcEndpointId),
}

/// `None` is AWS's default. Ranges in seconds: 60-432,000, 60-180, 30-60 (fact SG-13).
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionTracking {
    pub tcp_established_timeout_s: Option<u32>,
    pub udp_stream_timeout_s: Option<u32>,
    pub udp_timeout_s: Option<u32>,
}

impl Eni {
    /// The primary and the secondary addresses.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        std::iter::once(self.private_ip).chain(self.secondary_ips.iter().copied())
    }

    /// Those and the IPv6 ones.
    pub fn all_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let v6 = self.ipv6_addresses.iter().copied().map(IpAddr::V6);
        self.addresses().map(IpAddr::V4).chain(v6)
    }
}

/// One for each account and region that was ever used: its default VPC was made then, and is not
/// made again when the user deletes it (fact VPC-16).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountRegion {
    pub scope: Scope,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EgressOnlyInternetGateway {
    pub scope: Scope,
    pub egress_only_internet_gateway_id: EgressOnlyInternetGatewayId,
    /// Attached for life.
    pub vpc_id: VpcId,
    pub client_token: Option<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

/// A customer-managed prefix list. AWS's own ones are not stored: see `aws_prefix_list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrefixList {
    pub scope: Scope,
    pub prefix_list_id: PrefixListId,
    pub name: String,
    /// Of the current version, in the order in which they were added.
    pub entries: Vec<PrefixListEntry>,
    /// Counts as that many rules or routes wherever it is used (fact SG-4).
    pub max_entries: u32,
    pub ipv4: bool,
    pub version: u64,
    /// What the last change of it came to.
    #[serde(default)]
    pub state: PrefixListState,
    /// Entries of earlier versions.
    pub history: std::collections::BTreeMap<u64, Vec<PrefixListEntry>>,
    pub client_token: Option<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

/// AWS changes lists in the background; here a change is done when the call answers.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrefixListState {
    #[default]
    CreateComplete,
    ModifyComplete,
    RestoreComplete,
    /// It was in use when it should go, and stays as it is.
    DeleteFailed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixListEntry {
    pub cidr: IpCidr,
    pub description: Option<String>,
}

/// <https://docs.aws.amazon.com/vpc/latest/privatelink/concepts.html>
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VpcEndpoint {
    pub scope: Scope,
    pub vpc_endpoint_id: VpcEndpointId,
    pub vpc_id: VpcId,
    /// `com.amazonaws.<region>.<service>`, see `aws_service`.
    pub service_name: String,
    pub kind: VpcEndpointKind,
    pub state: VpcEndpointState,
    /// As the caller wrote it; the default allows everything.
    pub policy_document: String,
    pub client_token: Option<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VpcEndpointKind {
    /// Each of the tables has a route: the service's prefix list -> the endpoint.
    Gateway { route_table_ids: Vec<RouteTableId> },
    Interface {
        subnet_ids: Vec<SubnetId>,
        /// In the order of the subnets.
        eni_ids: Vec<EniId>,
        group_ids: Vec<SecurityGroupId>,
        /// The service's own names lead to the endpoint, inside its VPC.
        private_dns_enabled: bool,
        /// `ipv4`, `dualstack` or `ipv6`.
        ip_address_type: String,
        /// The part of the endpoint's own names after its id: `vpce-1-<suffix>.logs.<region>.vpce.amazonaws.com`.
        dns_suffix: String,
    },
}

impl VpcEndpoint {
    /// A name of its own, of all its interfaces or of the one in a zone; a gateway endpoint has none. S3's stand for
    /// every bucket in front of them: `*.vpce-1-<suffix>.s3...`.
    pub fn own_name(&self, zone: Option<&str>) -> Option<String> {
        let VpcEndpointKind::Interface { dns_suffix, .. } = &self.kind else {
            return None;
        };
        let region = &self.scope.region;
        let service = aws_service::by_service_name(region, &self.service_name)?;
        let front = if service.endpoint == "s3" { "*." } else { "" };
        let zone = zone.map(|zone| format!("-{zone}")).unwrap_or_default();
        let domain = service.endpoint_domain(region);
        let id = &self.vpc_endpoint_id;
        Some(format!("{front}{id}-{dns_suffix}{zone}.{domain}"))
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VpcEndpointState {
    Pending,
    Available,
    Deleting,
}

/// Stands in the scope of the requester. <https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-basics.html>
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VpcPeeringConnection {
    pub scope: Scope,
    pub peering_id: VpcPeeringConnectionId,
    pub requester: PeeredVpc,
    pub accepter: PeeredVpc,
    pub status: PeeringStatus,
    pub status_message: String,
    pub expires_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub created_at: Timestamp,
    /// The accepter's tags are its own.
    pub accepter_tags: Tags,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeeredVpc {
    pub scope: Scope,
    pub vpc_id: VpcId,
    /// The other side's public names lead to private addresses.
    pub allow_dns_resolution: bool,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeeringStatus {
    PendingAcceptance,
    Active,
    Failed,
    Rejected,
    Expired,
    Deleted,
}

impl VpcPeeringConnection {
    /// This VPC's side and the other one, if the VPC is one of them.
    pub fn sides(&self, scope: &Scope, vpc_id: &VpcId) -> Option<(&PeeredVpc, &PeeredVpc)> {
        let is = |side: &PeeredVpc| side.vpc_id == *vpc_id && side.scope == *scope;
        if is(&self.requester) {
            Some((&self.requester, &self.accepter))
        } else if is(&self.accepter) {
            Some((&self.accepter, &self.requester))
        } else {
            None
        }
    }
}

/// A zone that the operator let fail (`fogbank zone`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ZoneFault {
    /// `us-east-1a`
    pub zone: String,
    pub kind: ZoneFaultKind,
    pub since: Timestamp,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZoneFaultKind {
    /// As if the power went: nothing in it runs, nothing passes.
    Failed,
    /// What runs goes on, but no packet enters or leaves an interface of the zone.
    Isolated,
    /// Packets are held up by that many ms in each direction.
    Slow { delay_ms: u32 },
}
