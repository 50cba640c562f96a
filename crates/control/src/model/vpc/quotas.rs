//! How much an account may have. <https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html>

/// Limits of one account in one region.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Quotas {
    pub vpcs: usize,
    pub subnets_per_vpc: usize,
    pub internet_gateways: usize,
    pub route_tables_per_vpc: usize,
    pub routes_per_table: usize,
    pub nat_gateways_per_zone: usize,
    pub elastic_ips: usize,
    pub security_groups: usize,
    pub rules_per_group_and_direction: usize,
    pub groups_per_interface: usize,
    pub network_acls_per_vpc: usize,
    pub acl_entries_per_direction: usize,
    pub interfaces: usize,
    pub tags_per_resource: usize,
}

impl Quotas {
    /// What a new AWS account has (facts VPC-3, RTB-4, IGW-1, NAT-8, EIP-1, SG-4, ACL-4).
    pub const AWS: Self = Self {
        vpcs: 5,
        subnets_per_vpc: 200,
        internet_gateways: 5,
        route_tables_per_vpc: 200,
        routes_per_table: 50,
        nat_gateways_per_zone: 5,
        elastic_ips: 5,
        security_groups: 2500,
        rules_per_group_and_direction: 60,
        groups_per_interface: 5,
        network_acls_per_vpc: 200,
        acl_entries_per_direction: 20,
        interfaces: 5000,
        tags_per_resource: 50,
    };
}

/// The quotas of every account of this region.
pub const QUOTAS: Quotas = Quotas::AWS;
