//! Network ACLs.

use super::query::{Query, rows};
use super::{not_offered, tags, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::network_acls::{self, LAST_ENTRY, NewEntry};
use crate::model::vpc::permissions::{entry_traffic, port_members};
use crate::model::vpc::{Refusal, ids};
use fogbank_types::ec2::{NetworkAcl as Row, NetworkAclEntry as EntryRow};
use fogbank_types::{Ipv4Cidr, NetworkAclId, Traffic};
use fogbank_wire::ec2::*;

fn render_entry(entry: &EntryRow) -> NetworkAclEntry {
    let (from, to) = port_members(entry.traffic);
    let mut shown = NetworkAclEntry {
        cidr_block: Some(entry.cidr_block.to_string()),
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
        Traffic::Icmp(_) => {
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

/// All entries by direction and number, the last one included (fact ACL-2).
fn shown_entries(row: &Row) -> Vec<NetworkAclEntry> {
    let mut entries: Vec<_> = row.entries.iter().map(render_entry).collect();
    for egress in [true, false] {
        entries.push(NetworkAclEntry {
            cidr_block: Some(Ipv4Cidr::ANY.to_string()),
            egress: Some(egress),
            protocol: Some("-1".to_owned()),
            rule_action: Some("deny".to_owned()),
            rule_number: Some(LAST_ENTRY),
            ..NetworkAclEntry::default()
        });
    }
    entries.sort_by_key(|entry| (entry.egress != Some(true), entry.rule_number));
    entries
}

fn render(row: &Row) -> NetworkAcl {
    let association = |a: &fogbank_types::ec2::NetworkAclAssociation| NetworkAclAssociation {
        network_acl_association_id: Some(a.association_id.to_string()),
        network_acl_id: Some(row.network_acl_id.to_string()),
        subnet_id: Some(a.subnet_id.to_string()),
    };
    NetworkAcl {
        associations: Some(row.associations.iter().map(association).collect()),
        entries: Some(shown_entries(row)),
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
    let row = write(context, request.dry_run, |tx| {
        network_acls::create(
            tx,
            &context.scope(),
            &vpc_id,
            tags.clone(),
            token.as_deref(),
        )
    })?;
    Ok(CreateNetworkAclResult {
        network_acl: Some(render(&row)),
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
        not_offered(self.ipv6_cidr_block.is_some(), "IPv6")?;
        let block = self
            .cidr_block
            .ok_or(Refusal::MissingParameter { name: "cidrBlock" })?;
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
            traffic: entry_traffic(&self.protocol, ports, icmp)?,
            cidr_block: ids::block("cidrBlock", &block)?,
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

fn values(row: &Row, name: &str) -> Vec<String> {
    let associations = row.associations.iter();
    let of_entries = |member: fn(NetworkAclEntry) -> Option<String>| {
        shown_entries(row)
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
        "entry.egress" => of_entries(|entry| entry.egress.map(|egress| egress.to_string())),
        "entry.protocol" => of_entries(|entry| entry.protocol),
        "entry.rule-action" => of_entries(|entry| entry.rule_action),
        "entry.rule-number" => {
            of_entries(|entry| entry.rule_number.map(|number| number.to_string()))
        }
        "entry.icmp.code" | "entry.icmp.type" | "entry.port-range.from" | "entry.port-range.to" => {
            shown_entries(row)
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
    let query = Query {
        ids: request.network_acl_ids,
        filters: request.filters,
        max_results: request.max_results,
        next_token: request.next_token,
        dry_run: request.dry_run,
    };
    let snapshot = context.snapshot();
    let (found, next_token) =
        rows::<Row, NetworkAclId>(context, &snapshot, query, FILTERS, |row| &row.tags, values)?;
    let shown = found.iter().map(|row| render(row)).collect();
    Ok(DescribeNetworkAclsResult {
        network_acls: Some(shown),
        next_token,
    })
}
