//! Network ACLs.

use super::query::{query, rows};
use super::{tags, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::network_acls::{self, LAST_ENTRY, LAST_ENTRY_V6, NewEntry};
use crate::model::vpc::permissions::{entry_traffic, port_members};
use crate::model::vpc::{Refusal, ids};
use fogbank_types::ec2::{NetworkAcl as Row, NetworkAclEntry as EntryRow};
use fogbank_types::{IpCidr, Ipv4Cidr, Ipv6Cidr, NetworkAclId, Snapshot, Traffic};
use fogbank_wire::ec2::*;

fn render_entry(entry: &EntryRow) -> NetworkAclEntry {
    let (from, to) = port_members(entry.traffic);
    let mut shown = NetworkAclEntry {
        cidr_block: entry.cidr_block.v4().map(|block| block.to_string()),
        ipv6_cidr_block: entry.cidr_block.v6().map(|block| block.to_string()),
        egress: Some(entry.egress),
        protocol: Some(
            entry
                .traffic
                .protocol_number()
                .map_or("-1".to_owned(), |number| number.to_string()),
        ),
        rule_action: Some(if entry.allow { "allow" } else { "deny" }.to_owned()),
        rule_number: Some(entry.number.into()),
        ..NetworkAclEntry::default()
    };
    match entry.traffic {
        Traffic::Icmp(_) | Traffic::Icmpv6(_) => {
            shown.icmp_type_code = Some(IcmpTypeCode {
                code: to,
                r#type: from,
            })
        }
        Traffic::Tcp(_) | Traffic::Udp(_) => shown.port_range = Some(PortRange { from, to }),
        Traffic::All | Traffic::Protocol(_) => {}
    }
    shown
}

/// The entry that ends a direction and family, and denies the rest.
fn last_entry(egress: bool, block: IpCidr) -> NetworkAclEntry {
    let number = if block.is_ipv4() {
        LAST_ENTRY
    } else {
        LAST_ENTRY_V6
    };
    NetworkAclEntry {
        cidr_block: block.v4().map(|block| block.to_string()),
        ipv6_cidr_block: block.v6().map(|block| block.to_string()),
        egress: Some(egress),
        protocol: Some("-1".to_owned()),
        rule_action: Some("deny".to_owned()),
        rule_number: Some(number),
        ..NetworkAclEntry::default()
    }
}

/// All entries by direction and number, the last ones included: one for IPv4 and, in a VPC with IPv6, one for that
/// (fact ACL-2).
fn shown_entries(snapshot: &Snapshot, row: &Row) -> Vec<NetworkAclEntry> {
    let mut entries: Vec<_> = row.entries.iter().map(render_entry).collect();
    let vpc = snapshot.vpcs.get(&row.scope, &row.vpc_id);
    let has_ipv6 = vpc.is_some_and(|vpc| vpc.ipv6_blocks().next().is_some());
    for egress in [true, false] {
        entries.push(last_entry(egress, Ipv4Cidr::ANY.into()));
        if has_ipv6 {
            entries.push(last_entry(egress, Ipv6Cidr::ANY.into()));
        }
    }
    entries.sort_by_key(|entry| (entry.egress != Some(true), entry.rule_number));
    entries
}

fn render(snapshot: &Snapshot, row: &Row) -> NetworkAcl {
    let association = |a: &fogbank_types::ec2::NetworkAclAssociation| NetworkAclAssociation {
        network_acl_association_id: Some(a.association_id.to_string()),
        network_acl_id: Some(row.network_acl_id.to_string()),
        subnet_id: Some(a.subnet_id.to_string()),
    };
    NetworkAcl {
        associations: Some(row.associations.iter().map(association).collect()),
        entries: Some(shown_entries(snapshot, row)),
        is_default: Some(row.is_default),
        network_acl_id: Some(row.network_acl_id.to_string()),
        owner_id: Some(row.scope.account.clone()),
        tags: tags::render(&row.tags),
        vpc_id: Some(row.vpc_id.to_string()),
    }
}

pub fn create(
    context: &Context,
    request: CreateNetworkAclRequest,
) -> Result<CreateNetworkAclResult, ApiError> {
    let vpc_id = ids::parse(&request.vpc_id)?;
    let tags = tags::specified(request.tag_specifications, "network-acl")?;
    let token = request.client_token;
    let shown = write(context, request.dry_run, |tx| {
        let scope = context.scope();
        let row = network_acls::create(tx, &scope, &vpc_id, tags.clone(), token.as_deref())?;
        Ok(render(tx.snapshot(), &row))
    })?;
    Ok(CreateNetworkAclResult {
        network_acl: Some(shown),
        client_token: token,
    })
}

pub fn delete(
    context: &Context,
    request: DeleteNetworkAclRequest,
) -> Result<DeleteNetworkAclResponse, ApiError> {
    let id = ids::parse(&request.network_acl_id)?;
    write(context, request.dry_run, |tx| {
        network_acls::delete(tx, &context.scope(), &id)
    })?;
    Ok(DeleteNetworkAclResponse {})
}

/// The members that creating and replacing an entry share.
struct EntryMembers {
    number: i32,
    egress: bool,
    action: String,
    protocol: String,
    cidr_block: Option<String>,
    ipv6_cidr_block: Option<String>,
    port_range: Option<PortRange>,
    icmp: Option<IcmpTypeCode>,
}

impl EntryMembers {
    fn parse(self) -> Result<NewEntry, Refusal> {
        let block: IpCidr = match (self.cidr_block, self.ipv6_cidr_block) {
            (Some(text), None) => ids::block("cidrBlock", &text)?.into(),
            (None, Some(text)) => ids::block_v6("ipv6CidrBlock", &text)?.into(),
            (None, None) => {
                let text = "The request must contain exactly one of cidrBlock or ipv6CidrBlock";
                return Err(Refusal::Missing {
                    text: text.to_owned(),
                });
            }
            (Some(_), Some(_)) => {
                let text = "Only one of cidrBlock and ipv6CidrBlock may be specified.";
                return Err(Refusal::Combination {
                    text: text.to_owned(),
                });
            }
        };
        let allow = match self.action.as_str() {
            "allow" => true,
            "deny" => false,
            other => return Err(Refusal::parameter("ruleAction", other, "")),
        };
        let ports = self.port_range.map(|range| (range.from, range.to));
        let icmp = self.icmp.map(|icmp| (icmp.r#type, icmp.code));
        Ok(NewEntry {
            number: self.number,
            egress: self.egress,
            allow,
            traffic: entry_traffic(&self.protocol, block, ports, icmp)?,
            cidr_block: block,
        })
    }
}

/// The entry of a request that creates or replaces one; both have the same members.
macro_rules! entry {
    ($request:ident) => {
        EntryMembers {
            number: $request.rule_number,
            egress: $request.egress,
            action: $request.rule_action,
            protocol: $request.protocol,
            cidr_block: $request.cidr_block,
            ipv6_cidr_block: $request.ipv6_cidr_block,
            port_range: $request.port_range,
            icmp: $request.icmp_type_code,
        }
    };
}

pub fn create_entry(
    context: &Context,
    request: CreateNetworkAclEntryRequest,
) -> Result<CreateNetworkAclEntryResponse, ApiError> {
    let id = ids::parse(&request.network_acl_id)?;
    let entry = entry!(request).parse()?;
    write(context, request.dry_run, |tx| {
        network_acls::create_entry(tx, &context.scope(), &id, entry.clone())
    })?;
    Ok(CreateNetworkAclEntryResponse {})
}

pub fn replace_entry(
    context: &Context,
    request: ReplaceNetworkAclEntryRequest,
) -> Result<ReplaceNetworkAclEntryResponse, ApiError> {
    let id = ids::parse(&request.network_acl_id)?;
    let entry = entry!(request).parse()?;
    write(context, request.dry_run, |tx| {
        network_acls::replace_entry(tx, &context.scope(), &id, entry.clone())
    })?;
    Ok(ReplaceNetworkAclEntryResponse {})
}

pub fn delete_entry(
    context: &Context,
    request: DeleteNetworkAclEntryRequest,
) -> Result<DeleteNetworkAclEntryResponse, ApiError> {
    let id = ids::parse(&request.network_acl_id)?;
    write(context, request.dry_run, |tx| {
        network_acls::delete_entry(
            tx,
            &context.scope(),
            &id,
            request.egress,
            request.rule_number,
        )
    })?;
    Ok(DeleteNetworkAclEntryResponse {})
}

pub fn replace_association(
    context: &Context,
    request: ReplaceNetworkAclAssociationRequest,
) -> Result<ReplaceNetworkAclAssociationResult, ApiError> {
    let id = ids::parse(&request.association_id)?;
    let acl = ids::parse(&request.network_acl_id)?;
    let new = write(context, request.dry_run, |tx| {
        network_acls::replace_association(tx, &context.scope(), &id, &acl)
    })?;
    Ok(ReplaceNetworkAclAssociationResult {
        new_association_id: Some(new.to_string()),
    })
}

const FILTERS: &[&str] = &[
    "association.association-id",
    "association.network-acl-id",
    "association.subnet-id",
    "default",
    "entry.cidr",
    "entry.egress",
    "entry.icmp.code",
    "entry.icmp.type",
    "entry.ipv6-cidr",
    "entry.port-range.from",
    "entry.port-range.to",
    "entry.protocol",
    "entry.rule-action",
    "entry.rule-number",
    "network-acl-id",
    "owner-id",
    "vpc-id",
];

fn values(snapshot: &Snapshot, row: &Row, name: &str) -> Vec<String> {
    let associations = row.associations.iter();
    let of_entries = |member: fn(NetworkAclEntry) -> Option<String>| {
        shown_entries(snapshot, row)
            .into_iter()
            .filter_map(member)
            .collect::<Vec<_>>()
    };
    let text = |number: Option<i32>| number.map(|number| number.to_string());
    match name {
        "association.association-id" => {
            associations.map(|a| a.association_id.to_string()).collect()
        }
        "association.network-acl-id" => associations
            .map(|_| row.network_acl_id.to_string())
            .collect(),
        "association.subnet-id" => associations.map(|a| a.subnet_id.to_string()).collect(),
        "default" => vec![row.is_default.to_string()],
        "entry.cidr" => of_entries(|entry| entry.cidr_block),
        "entry.ipv6-cidr" => of_entries(|entry| entry.ipv6_cidr_block),
        "entry.egress" => of_entries(|entry| entry.egress.map(|egress| egress.to_string())),
        "entry.protocol" => of_entries(|entry| entry.protocol),
        "entry.rule-action" => of_entries(|entry| entry.rule_action),
        "entry.rule-number" => {
            of_entries(|entry| entry.rule_number.map(|number| number.to_string()))
        }
        "entry.icmp.code" | "entry.icmp.type" | "entry.port-range.from" | "entry.port-range.to" => {
            shown_entries(snapshot, row)
                .into_iter()
                .filter_map(|entry| match name {
                    "entry.icmp.code" => text(entry.icmp_type_code?.code),
                    "entry.icmp.type" => text(entry.icmp_type_code?.r#type),
                    "entry.port-range.from" => text(entry.port_range?.from),
                    _ => text(entry.port_range?.to),
                })
                .collect()
        }
        "network-acl-id" => vec![row.network_acl_id.to_string()],
        "owner-id" => vec![row.scope.account.clone()],
        "vpc-id" => vec![row.vpc_id.to_string()],
        _ => Vec::new(),
    }
}

pub fn describe(
    context: &Context,
    request: DescribeNetworkAclsRequest,
) -> Result<DescribeNetworkAclsResult, ApiError> {
    let query = query!(request, network_acl_ids, filters);
    let snapshot = context.snapshot();
    let (found, next_token) = rows::<Row, NetworkAclId>(
        context,
        &snapshot,
        query,
        FILTERS,
        |row| &row.tags,
        |row, name| values(&snapshot, row, name),
    )?;
    let shown = found.iter().map(|row| render(&snapshot, row)).collect();
    Ok(DescribeNetworkAclsResult {
        network_acls: Some(shown),
        next_token,
    })
}
