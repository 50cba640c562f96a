//! Who refers to groups, which references lead nowhere, and which groups a VPC may use.

use super::filters::Filters;
use super::query::{dry_run, page};
use super::security_groups::grouped;
use super::tags;
use crate::api::{ApiError, Context};
use crate::model::vpc::{Refusal, ids, peering, security_group_rules, security_groups, vpcs};
use fogbank_types::ec2::{RulePeer, SecurityGroup as Row};
use fogbank_types::{Snapshot, VpcId};
use fogbank_wire::ec2::*;
use std::sync::Arc;

/// The peered VPCs whose groups refer to the caller's.
pub fn references(
    context: &Context,
    request: DescribeSecurityGroupReferencesRequest,
) -> Result<DescribeSecurityGroupReferencesResult, ApiError> {
    dry_run(request.dry_run)?;
    if request.group_id.is_empty() {
        return Err(Refusal::MissingParameter { name: "groupId" }.into());
    }
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let mut found = Vec::new();
    for id in &request.group_id {
        let id = ids::parse(id)?;
        let group = security_groups::get(&snapshot, &scope, &id)?;
        let named = RulePeer::Group(id);
        for connection in peering::active_of(&snapshot, &scope, &group.vpc_id) {
            let Some((_, other)) = connection.sides(&scope, &group.vpc_id) else {
                continue;
            };
            let mut groups = snapshot.security_groups.in_scope(&other.scope);
            let refers = groups.any(|theirs| {
                theirs.vpc_id == other.vpc_id && theirs.rules.iter().any(|rule| rule.peer == named)
            });
            if refers {
                found.push(SecurityGroupReference {
                    group_id: Some(group.group_id.to_string()),
                    referencing_vpc_id: Some(other.vpc_id.to_string()),
                    transit_gateway_id: None,
                    vpc_peering_connection_id: Some(connection.peering_id.to_string()),
                });
            }
        }
    }
    Ok(DescribeSecurityGroupReferencesResult {
        security_group_reference_set: Some(found),
    })
}

fn stale_permissions(snapshot: &Snapshot, row: &Row, egress: bool) -> Vec<StaleIpPermission> {
    let rules = security_group_rules::stale(snapshot, row).filter(|rule| rule.egress == egress);
    let peers = rules.map(|rule| (rule.traffic, &rule.peer, rule.description.clone()));
    let shown = |permission: IpPermission| StaleIpPermission {
        from_port: permission.from_port,
        ip_protocol: permission.ip_protocol,
        ip_ranges: Some(Vec::new()),
        prefix_list_ids: Some(Vec::new()),
        to_port: permission.to_port,
        user_id_group_pairs: permission.user_id_group_pairs,
    };
    let permissions = grouped(snapshot, row, peers);
    permissions.into_iter().map(shown).collect()
}

/// The groups of a VPC with rules that name groups which are gone, or whose peering is over.
pub fn stale(
    context: &Context,
    request: DescribeStaleSecurityGroupsRequest,
) -> Result<DescribeStaleSecurityGroupsResult, ApiError> {
    dry_run(request.dry_run)?;
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let vpc_id: VpcId = ids::parse(&request.vpc_id)?;
    vpcs::get(&snapshot, &scope, &vpc_id)?;
    let groups = snapshot.security_groups.in_scope(&scope);
    let found: Vec<&Arc<Row>> = groups
        .filter(|row| row.vpc_id == vpc_id)
        .filter(|row| security_group_rules::stale(&snapshot, row).next().is_some())
        .collect();
    let id = |row: &&Arc<Row>| row.group_id.to_string();
    let (found, next_token) = page(found, id, request.max_results, request.next_token)?;
    let shown = |row: &Arc<Row>| StaleSecurityGroup {
        description: Some(row.description.clone()),
        group_id: Some(row.group_id.to_string()),
        group_name: Some(row.name.clone()),
        stale_ip_permissions: Some(stale_permissions(&snapshot, row, false)),
        stale_ip_permissions_egress: Some(stale_permissions(&snapshot, row, true)),
        vpc_id: Some(row.vpc_id.to_string()),
    };
    Ok(DescribeStaleSecurityGroupsResult {
        stale_security_group_set: Some(found.into_iter().map(shown).collect()),
        next_token,
    })
}

const FILTERS: &[&str] = &[
    "description",
    "group-id",
    "group-name",
    "owner-id",
    "primary-vpc-id",
];

/// The groups that interfaces in a VPC can be given.
pub fn for_vpc(
    context: &Context,
    request: GetSecurityGroupsForVpcRequest,
) -> Result<GetSecurityGroupsForVpcResult, ApiError> {
    dry_run(request.dry_run)?;
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let vpc_id: VpcId = ids::parse(&request.vpc_id)?;
    vpcs::get(&snapshot, &scope, &vpc_id)?;
    let filters = Filters::parse(request.filters, FILTERS)?;
    let values = |row: &Row, name: &str| {
        vec![match name {
            "description" => row.description.clone(),
            "group-id" => row.group_id.to_string(),
            "group-name" => row.name.clone(),
            "owner-id" => row.scope.account.clone(),
            _ => row.vpc_id.to_string(),
        }]
    };
    let groups = snapshot.security_groups.in_scope(&scope);
    let found: Vec<&Arc<Row>> = groups
        .filter(|row| row.vpc_id == vpc_id)
        .filter(|row| filters.accept(&row.tags, |name| values(row, name)))
        .collect();
    let id = |row: &&Arc<Row>| row.group_id.to_string();
    let (found, next_token) = page(found, id, request.max_results, request.next_token)?;
    let shown = |row: &Arc<Row>| SecurityGroupForVpc {
        description: Some(row.description.clone()),
        group_id: Some(row.group_id.to_string()),
        group_name: Some(row.name.clone()),
        owner_id: Some(row.scope.account.clone()),
        primary_vpc_id: Some(row.vpc_id.to_string()),
        tags: tags::render(&row.tags),
    };
    Ok(GetSecurityGroupsForVpcResult {
        security_group_for_vpcs: Some(found.into_iter().map(shown).collect()),
        next_token,
    })
}
