//! EC2's networks: VPCs, subnets, routes, gateways, addresses, groups, interfaces.
//!
//! Called by `api/ec2`, by the models of load balancers and tasks (interfaces, public addresses), and by reconcilers.
//! What must stay true: subnets of a VPC are disjoint and inside its blocks; an address belongs to one interface; a
//! VPC has one main route table, one default ACL, one default group and at most one internet gateway; a subnet has
//! one ACL and at most one explicit route table. A refusal leaves the working copy as it was.

pub mod addresses;
pub mod default_vpc;
pub mod dhcp_options;
pub mod egress_only_gateways;
mod endpoint_interfaces;
pub mod endpoints;
pub mod eni_addresses;
pub mod enis;
pub mod flow_logs;
pub mod ids;
pub mod insights;
pub mod internet_gateways;
pub mod nat_gateways;
pub mod network_acls;
pub mod peering;
pub mod permissions;
pub mod prefix_lists;
pub mod quotas;
pub mod refusal;
pub mod route_tables;
pub mod routes;
pub mod security_group_rules;
pub mod security_groups;
pub mod subnet_blocks;
pub mod subnet_reservations;
pub mod subnets;
pub mod tags;
pub mod vpc_blocks;
pub mod vpcs;
pub mod zone_faults;

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod testing;

pub use enis::NewEni;
pub use quotas::{QUOTAS, Quotas};
pub use refusal::{Refusal, ResourceKind};
