//! Security groups.

use super::query::{Query, rows};
use super::{tags, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::permissions::port_members;
use crate::model::vpc::security_groups::{self, NewSecurityGroup};
use crate::model::vpc::{Refusal, ids, peering, security_group_rules};
use fogbank_types::ec2::{RulePeer, SecurityGroup as Row};
use fogbank_types::{Scope, SecurityGroupId, Snapshot, Traffic};
use fogbank_wire::ec2::*;

fn arn(scope: &Scope, id: &SecurityGroupId) -> String {
    scope.arn("ec2", &format!("security-group/{id}"))
}

/// Rules of one direction with the same traffic make one permission.
fn permissions(snapshot: &Snapshot, row: &Row, egress: bool) -> Vec<IpPermission> {
    let rules = row.rules.iter().filter(|rule| rule.egress == egress);
    let peers = rules.map(|rule| (rule.traffic, &rule.peer, rule.description.clone()));
    grouped(snapshot, row, peers)
}

/// Peers by traffic, in the order in which they come.
pub fn grouped<'a>(
    snapshot: &Snapshot,
    group: &Row,
    peers: impl Iterator<Item = (Traffic, &'a RulePeer, Option<String>)>,
) -> Vec<IpPermission> {
    let mut shown: Vec<(Traffic, IpPermission)> = Vec::new();
    for (traffic, peer, description) in peers {
        let at = match shown.iter().position(|(other, _)| *other == traffic) {
            Some(at) => at,
            None => {
                shown.push((traffic, permission(traffic)));
                shown.len() - 1
            }
        };
        add_peer(&mut shown[at].1, snapshot, group, peer, description);
    }
    shown
        .into_iter()
        .map(|(_, permission)| permission)
        .collect()
}

/// A permission without peers yet.
fn permission(traffic: Traffic) -> IpPermission {
    let (from_port, to_port) = port_members(traffic);
    IpPermission {
        from_port,
        ip_protocol: Some(traffic.protocol_name()),
        ip_ranges: Some(Vec::new()),
        ipv6_ranges: Some(Vec::new()),
        prefix_list_ids: Some(Vec::new()),
        to_port,
        user_id_group_pairs: Some(Vec::new()),
    }
}

fn add_peer(
    permission: &mut IpPermission,
    snapshot: &Snapshot,
    group: &Row,
    peer: &RulePeer,
    description: Option<String>,
) {
    match peer {
        RulePeer::Ipv4(block) => permission.ip_ranges.get_or_insert_default().push(IpRange {
            cidr_ip: Some(block.to_string()),
            description,
        }),
        RulePeer::Ipv6(block) => permission
            .ipv6_ranges
            .get_or_insert_default()
            .push(Ipv6Range {
                cidr_ipv6: Some(block.to_string()),
                description,
            }),
        RulePeer::PrefixList(id) => {
            let list = PrefixListId {
                description,
                prefix_list_id: Some(id.to_string()),
            };
            permission
                .prefix_list_ids
                .get_or_insert_default()
                .push(list);
        }
        RulePeer::Group(id) => {
            let pairs = permission.user_id_group_pairs.get_or_insert_default();
            pairs.push(Reference::of(snapshot, group, id).pair(description));
        }
    }
}

/// A group that a rule names, as replies tell it.
pub struct Reference {
    group_id: SecurityGroupId,
    owner: Option<String>,
    vpc_id: Option<String>,
    /// Id and status, if the group is of another VPC.
    peering: Option<(String, &'static str)>,
}

impl Reference {
    /// One that is stale is found as far as something of it is still there.
    pub fn of(snapshot: &Snapshot, group: &Row, id: &SecurityGroupId) -> Self {
        let (named, connection) = match security_group_rules::referenced(snapshot, group, id) {
            Some((named, connection)) => (Some(named), connection),
            None => {
                let ended = peering::seen_by(snapshot, &group.scope).find_map(|connection| {
                    let (_, other) = connection.sides(&group.scope, &group.vpc_id)?;
                    let named = snapshot.security_groups.get(&other.scope, id)?;
                    (named.vpc_id == other.vpc_id).then_some((named, connection))
                });
                ended.map_or((None, None), |(named, connection)| {
                    (Some(named), Some(connection))
                })
            }
        };
        Self {
            group_id: id.clone(),
            owner: named.map(|named| named.scope.account.clone()),
            vpc_id: named.map(|named| named.vpc_id.to_string()),
            peering: connection.map(|connection| {
                let id = connection.peering_id.to_string();
                (id, peering::code(connection.status))
            }),
        }
    }

    fn pair(self, description: Option<String>) -> UserIdGroupPair {
        let (peering_id, status) = self.peering.unzip();
        UserIdGroupPair {
            description,
            group_id: Some(self.group_id.to_string()),
            group_name: None,
            peering_status: status.map(str::to_owned),
            user_id: self.owner,
            // AWS tells the VPC of a peer's group only.
            vpc_id: self.vpc_id.filter(|_| peering_id.is_some()),
            vpc_peering_connection_id: peering_id,
        }
    }

    pub fn info(self) -> ReferencedSecurityGroup {
        let (peering_id, status) = self.peering.unzip();
        ReferencedSecurityGroup {
            group_id: Some(self.group_id.to_string()),
            peering_status: status.map(str::to_owned),
            user_id: self.owner,
            // AWS leaves it out for a group of the same VPC.
            vpc_id: self.vpc_id.filter(|_| peering_id.is_some()),
            vpc_peering_connection_id: peering_id,
        }
    }

    fn owner(self) -> Option<String> {
        self.owner
    }
}

fn render(snapshot: &Snapshot, row: &Row) -> SecurityGroup {
    SecurityGroup {
        description: Some(row.description.clone()),
        group_id: Some(row.group_id.to_string()),
        group_name: Some(row.name.clone()),
        ip_permissions: Some(permissions(snapshot, row, false)),
        ip_permissions_egress: Some(permissions(snapshot, row, true)),
        owner_id: Some(row.scope.account.clone()),
        security_group_arn: Some(arn(&row.scope, &row.group_id)),
        tags: tags::render(&row.tags),
        vpc_id: Some(row.vpc_id.to_string()),
    }
}

pub fn create(
    context: &Context,
    request: CreateSecurityGroupRequest,
) -> Result<CreateSecurityGroupResult, ApiError> {
    let scope = context.scope();
    let vpc_id = match request.vpc_id {
        Some(id) => ids::parse(&id)?,
        None => {
            let snapshot = context.snapshot();
            let default = snapshot.vpcs.in_scope(&scope).find(|vpc| vpc.is_default);
            default.ok_or(Refusal::NoDefaultVpc)?.vpc_id.clone()
        }
    };
    let new = NewSecurityGroup {
        vpc_id,
        name: request.group_name,
        description: request.description,
        tags: tags::specified(request.tag_specifications, "security-group")?,
    };
    let row = write(context, request.dry_run, |tx| {
        security_groups::create(tx, &scope, new.clone())
    })?;
    Ok(CreateSecurityGroupResult {
        group_id: Some(row.group_id.to_string()),
        security_group_arn: Some(arn(&scope, &row.group_id)),
        tags: tags::render(&row.tags),
    })
}

const FILTERS: &[&str] = &[
    "description",
    "egress.ip-permission.cidr",
    "egress.ip-permission.from-port",
    "egress.ip-permission.group-id",
    "egress.ip-permission.group-name",
    "egress.ip-permission.ipv6-cidr",
    "egress.ip-permission.prefix-list-id",
    "egress.ip-permission.protocol",
    "egress.ip-permission.to-port",
    "egress.ip-permission.user-id",
    "group-id",
    "group-name",
    "ip-permission.cidr",
    "ip-permission.from-port",
    "ip-permission.group-id",
    "ip-permission.group-name",
    "ip-permission.ipv6-cidr",
    "ip-permission.prefix-list-id",
    "ip-permission.protocol",
    "ip-permission.to-port",
    "ip-permission.user-id",
    "owner-id",
    "vpc-id",
];

fn values(snapshot: &Snapshot, row: &Row, name: &str) -> Vec<String> {
    match name {
        "description" => vec![row.description.clone()],
        "group-id" => vec![row.group_id.to_string()],
        "group-name" => vec![row.name.clone()],
        "owner-id" => vec![row.scope.account.clone()],
        "vpc-id" => vec![row.vpc_id.to_string()],
        name => {
            let (egress, member) = match name.strip_prefix("egress.ip-permission.") {
                Some(member) => (true, member),
                None => (
                    false,
                    name.strip_prefix("ip-permission.").unwrap_or_default(),
                ),
            };
            let rules = row.rules.iter().filter(|rule| rule.egress == egress);
            let number = |port: Option<i32>| port.map(|port| port.to_string());
            // Rules of a VPC name groups by id: AWS finds none by `group-name`.
            rules
                .filter_map(|rule| match (member, &rule.peer) {
                    ("cidr", RulePeer::Ipv4(block)) => Some(block.to_string()),
                    ("ipv6-cidr", RulePeer::Ipv6(block)) => Some(block.to_string()),
                    ("prefix-list-id", RulePeer::PrefixList(id)) => Some(id.to_string()),
                    ("group-id", RulePeer::Group(id)) => Some(id.to_string()),
                    ("user-id", RulePeer::Group(id)) => Reference::of(snapshot, row, id).owner(),
                    ("protocol", _) => Some(rule.traffic.protocol_name()),
                    ("from-port", _) => number(port_members(rule.traffic).0),
                    ("to-port", _) => number(port_members(rule.traffic).1),
                    _ => None,
                })
                .collect()
        }
    }
}

pub fn describe(
    context: &Context,
    request: DescribeSecurityGroupsRequest,
) -> Result<DescribeSecurityGroupsResult, ApiError> {
    let snapshot = context.snapshot();
    let mut group_ids = request.group_ids.unwrap_or_default();
    for name in request.group_names.iter().flatten() {
        group_ids.push(
            security_groups::by_name(&snapshot, &context.scope(), name)?
                .group_id
                .to_string(),
        );
    }
    let query = Query {
        ids: Some(group_ids),
        filters: request.filters,
        max_results: request.max_results,
        next_token: request.next_token,
        dry_run: request.dry_run,
    };
    let (found, next_token) = rows::<Row, SecurityGroupId>(
        context,
        &snapshot,
        query,
        FILTERS,
        |row| &row.tags,
        |row, name| values(&snapshot, row, name),
    )?;
    let shown = found.iter().map(|row| render(&snapshot, row)).collect();
    Ok(DescribeSecurityGroupsResult {
        security_groups: Some(shown),
        next_token,
    })
}

/// The group that a call names by id or, in the default VPC, by name.
pub fn named(
    context: &Context,
    group_id: Option<&str>,
    group_name: Option<&str>,
) -> Result<SecurityGroupId, Refusal> {
    let snapshot = context.snapshot();
    match (group_id, group_name) {
        (Some(id), _) => {
            let id = ids::parse(id)?;
            security_groups::get(&snapshot, &context.scope(), &id)?;
            Ok(id)
        }
        (None, Some(name)) => Ok(security_groups::by_name(&snapshot, &context.scope(), name)?
            .group_id
            .clone()),
        (None, None) => Err(Refusal::Missing {
            text: "The request must contain the parameter groupName or groupId".to_owned(),
        }),
    }
}

pub fn delete(
    context: &Context,
    request: DeleteSecurityGroupRequest,
) -> Result<DeleteSecurityGroupResult, ApiError> {
    let id = named(
        context,
        request.group_id.as_deref(),
        request.group_name.as_deref(),
    )?;
    write(context, request.dry_run, |tx| {
        security_groups::delete(tx, &context.scope(), &id)
    })?;
    Ok(DeleteSecurityGroupResult {
        group_id: Some(id.to_string()),
        r#return: Some(true),
    })
}
