//! Elastic IPs.

use super::filters::Filters;
use super::query::{Query, dry_run, rows};
use super::{instances, not_offered, optional, tags, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::{Refusal, addresses, ids};
use fogbank_types::ec2::ElasticIp as Row;
use fogbank_types::{AddressAssociationId, AllocationId, Scope, Snapshot};
use fogbank_wire::ec2::*;
use std::collections::HashSet;
use std::sync::Arc;

fn render(row: &Row) -> Address {
    let association = row.association.as_ref();
    Address {
        allocation_id: Some(row.allocation_id.to_string()),
        association_id: association.map(|a| a.association_id.to_string()),
        domain: Some("vpc".to_owned()),
        network_border_group: Some(row.scope.region.clone()),
        network_interface_id: association.map(|a| a.eni_id.to_string()),
        network_interface_owner_id: association.map(|_| row.scope.account.clone()),
        private_ip_address: association.map(|a| a.private_ip.to_string()),
        public_ip: Some(row.public_ip.to_string()),
        public_ipv4_pool: Some("amazon".to_owned()),
        tags: tags::render(&row.tags),
        ..Address::default()
    }
}

pub fn allocate(
    context: &Context,
    request: AllocateAddressRequest,
) -> Result<AllocateAddressResult, ApiError> {
    if let Some(domain) = request
        .domain
        .filter(|domain| !matches!(domain.as_str(), "" | "vpc"))
    {
        return Err(Refusal::parameter("domain", domain, "").into());
    }
    if let Some(group) = request
        .network_border_group
        .filter(|group| *group != context.caller.region)
    {
        return Err(Refusal::parameter("networkBorderGroup", group, "").into());
    }
    let pools = request.customer_owned_ipv4_pool.is_some() || request.ipam_pool_id.is_some();
    not_offered(
        pools
            || request
                .public_ipv4_pool
                .is_some_and(|pool| pool != "amazon"),
        "An address pool",
    )?;
    not_offered(request.address.is_some(), "Recovering a released address")?;
    let tags = tags::specified(request.tag_specifications, "elastic-ip")?;
    let row = write(context, request.dry_run, |tx| {
        addresses::allocate(tx, &context.scope(), tags.clone())
    })?;
    Ok(AllocateAddressResult {
        allocation_id: Some(row.allocation_id.to_string()),
        domain: Some("vpc".to_owned()),
        network_border_group: Some(row.scope.region.clone()),
        public_ip: Some(row.public_ip.to_string()),
        public_ipv4_pool: Some("amazon".to_owned()),
        ..AllocateAddressResult::default()
    })
}

const FILTERS: &[&str] = &[
    "allocation-id",
    "association-id",
    "domain",
    "instance-id",
    "network-border-group",
    "network-interface-id",
    "network-interface-owner-id",
    "private-ip-address",
    "public-ip",
];

fn values(row: &Row, name: &str) -> Vec<String> {
    let association = row.association.as_ref();
    match name {
        "allocation-id" => vec![row.allocation_id.to_string()],
        "association-id" => optional(association.map(|a| &a.association_id)),
        "domain" => vec!["vpc".to_owned()],
        "network-border-group" => vec![row.scope.region.clone()],
        "network-interface-id" => optional(association.map(|a| &a.eni_id)),
        "network-interface-owner-id" => optional(association.map(|_| &row.scope.account)),
        "private-ip-address" => optional(association.map(|a| a.private_ip)),
        "public-ip" => vec![row.public_ip.to_string()],
        _ => Vec::new(),
    }
}

pub fn describe(
    context: &Context,
    request: DescribeAddressesRequest,
) -> Result<DescribeAddressesResult, ApiError> {
    dry_run(request.dry_run)?;
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let filters = Filters::parse(request.filters, FILTERS)?;
    let mut wanted: Vec<Arc<Row>> = Vec::new();
    for id in ids::parse_all::<AllocationId>(request.allocation_ids.as_deref())? {
        wanted.push(addresses::get(&snapshot, &scope, &id)?.clone());
    }
    for public_ip in request.public_ips.iter().flatten() {
        wanted.push(addresses::by_public_ip(&snapshot, &scope, public_ip)?.clone());
    }
    if wanted.is_empty() {
        wanted.extend(snapshot.elastic_ips.in_scope(&scope).cloned());
    }
    // In the order in which the caller names them.
    let mut seen = HashSet::new();
    wanted.retain(|row| seen.insert(row.allocation_id.clone()));
    wanted.retain(|row| filters.accept(&row.tags, |name| values(row, name)));
    Ok(DescribeAddressesResult {
        addresses: Some(wanted.iter().map(|row| render(row)).collect()),
    })
}

fn render_attribute(row: &Row) -> AddressAttribute {
    AddressAttribute {
        allocation_id: Some(row.allocation_id.to_string()),
        ptr_record: row.ptr_record.clone(),
        public_ip: Some(row.public_ip.to_string()),
        ..AddressAttribute::default()
    }
}

/// Addresses without a name are listed without one.
pub fn describe_attribute(
    context: &Context,
    request: DescribeAddressesAttributeRequest,
) -> Result<DescribeAddressesAttributeResult, ApiError> {
    check_attribute(request.attribute.as_deref().unwrap_or(PTR_ATTRIBUTE))?;
    let query = Query {
        ids: request.allocation_ids,
        filters: None,
        max_results: request.max_results,
        next_token: request.next_token,
        dry_run: request.dry_run,
    };
    let snapshot = context.snapshot();
    let (found, next_token) =
        rows::<Row, AllocationId>(context, &snapshot, query, &[], |row| &row.tags, values)?;
    Ok(DescribeAddressesAttributeResult {
        addresses: Some(found.iter().map(|row| render_attribute(row)).collect()),
        next_token,
    })
}

/// The one attribute that addresses have.
const PTR_ATTRIBUTE: &str = "domain-name";

fn check_attribute(name: &str) -> Result<(), Refusal> {
    if name == PTR_ATTRIBUTE {
        Ok(())
    } else {
        Err(Refusal::parameter("attribute", name, ""))
    }
}

pub fn modify_attribute(
    context: &Context,
    request: ModifyAddressAttributeRequest,
) -> Result<ModifyAddressAttributeResult, ApiError> {
    let id = ids::parse(&request.allocation_id)?;
    let name = request
        .domain_name
        .ok_or(Refusal::MissingParameter { name: "domainName" })?;
    let row = write(context, request.dry_run, |tx| {
        addresses::set_name(tx, &context.scope(), &id, Some(&name))
    })?;
    Ok(ModifyAddressAttributeResult {
        address: Some(render_attribute(&row)),
    })
}

pub fn reset_attribute(
    context: &Context,
    request: ResetAddressAttributeRequest,
) -> Result<ResetAddressAttributeResult, ApiError> {
    check_attribute(&request.attribute)?;
    let id = ids::parse(&request.allocation_id)?;
    let row = write(context, request.dry_run, |tx| {
        addresses::set_name(tx, &context.scope(), &id, None)
    })?;
    Ok(ResetAddressAttributeResult {
        address: Some(render_attribute(&row)),
    })
}

pub fn release(
    context: &Context,
    request: ReleaseAddressRequest,
) -> Result<ReleaseAddressResponse, ApiError> {
    let id = match (request.allocation_id, request.public_ip) {
        (Some(id), None) => ids::parse(&id)?,
        (Some(_), Some(_)) => {
            let text = "You may specify public IP or allocation id, but not both in the same call"
                .to_owned();
            return Err(Refusal::Combination { text }.into());
        }
        (None, Some(address)) => {
            named(&context.snapshot(), &context.scope(), None, Some(&address))?
        }
        (None, None) => {
            let text = "Either public IP or allocation id must be specified".to_owned();
            return Err(Refusal::Missing { text }.into());
        }
    };
    write(context, request.dry_run, |tx| {
        addresses::release(tx, &context.scope(), &id)
    })?;
    Ok(ReleaseAddressResponse {})
}

/// The allocation that a call names by id or by address.
fn named(
    snapshot: &Snapshot,
    scope: &Scope,
    allocation_id: Option<&str>,
    public_ip: Option<&str>,
) -> Result<AllocationId, Refusal> {
    match (allocation_id, public_ip) {
        (Some(id), _) => ids::parse(id),
        (None, Some(address)) => Ok(addresses::by_public_ip(snapshot, scope, address)?
            .allocation_id
            .clone()),
        (None, None) => Err(Refusal::Missing {
            text: "Invalid request, expect PublicIp/AllocationId parameter.".to_owned(),
        }),
    }
}

pub fn associate(
    context: &Context,
    request: AssociateAddressRequest,
) -> Result<AssociateAddressResult, ApiError> {
    let scope = context.scope();
    let id = named(
        &context.snapshot(),
        &scope,
        request.allocation_id.as_deref(),
        request.public_ip.as_deref(),
    )?;
    if let Some(id) = request.instance_id {
        return Err(instances::unknown(id).into());
    }
    let eni = request
        .network_interface_id
        .ok_or_else(|| Refusal::Missing {
            text: "Invalid request, expect InstanceId/NetworkId parameter.".to_owned(),
        })?;
    let eni = ids::parse(&eni)?;
    let private_ip = request
        .private_ip_address
        .map(|text| ids::address("privateIpAddress", &text))
        .transpose()?;
    let may_move = request.allow_reassociation.unwrap_or(true);
    let association = write(context, request.dry_run, |tx| {
        addresses::associate(tx, &scope, &id, &eni, private_ip, may_move)
    })?;
    Ok(AssociateAddressResult {
        association_id: Some(association.to_string()),
    })
}

pub fn disassociate(
    context: &Context,
    request: DisassociateAddressRequest,
) -> Result<DisassociateAddressResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let id = match (&request.association_id, &request.public_ip) {
        (Some(id), _) => {
            let id: AddressAssociationId = ids::parse(id)?;
            addresses::by_association(&snapshot, &scope, &id)?
                .allocation_id
                .clone()
        }
        (None, public_ip) => named(&snapshot, &scope, None, public_ip.as_deref())?,
    };
    write(context, request.dry_run, |tx| {
        addresses::disassociate(tx, &scope, &id)
    })?;
    Ok(DisassociateAddressResponse {})
}
