//! VPC peering connections, as each of their two sides sees them.

use super::filters::Filters;
use super::query::{page, query};
use super::{optional, tags, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::peering::{self, DnsOptions, NewPeering};
use crate::model::vpc::{Refusal, ids};
use fogbank_types::ec2::{PeeredVpc, PeeringStatus, Vpc, VpcPeeringConnection as Row};
use fogbank_types::{Scope, Snapshot, VpcPeeringConnectionId};
use fogbank_wire::ec2::*;
use std::sync::Arc;

/// A side; its blocks and options are told as far as the other side may know them.
fn side(snapshot: &Snapshot, row: &Row, side: &PeeredVpc) -> VpcPeeringConnectionVpcInfo {
    let mut shown = VpcPeeringConnectionVpcInfo {
        owner_id: Some(side.scope.account.clone()),
        region: Some(side.scope.region.clone()),
        vpc_id: Some(side.vpc_id.to_string()),
        ..VpcPeeringConnectionVpcInfo::default()
    };
    let is_requester = *side == row.requester;
    let known = row.status == PeeringStatus::Active
        || is_requester && row.status == PeeringStatus::PendingAcceptance;
    if !known {
        return shown;
    }
    shown.peering_options = Some(VpcPeeringConnectionOptionsDescription {
        allow_dns_resolution_from_remote_vpc: Some(side.allow_dns_resolution),
        allow_egress_from_local_classic_link_to_remote_vpc: Some(false),
        allow_egress_from_local_vpc_to_remote_classic_link: Some(false),
    });
    if let Some(vpc) = snapshot.vpcs.get(&side.scope, &side.vpc_id) {
        add_blocks(&mut shown, vpc);
    }
    shown
}

fn add_blocks(shown: &mut VpcPeeringConnectionVpcInfo, vpc: &Vpc) {
    shown.cidr_block = Some(vpc.cidr_block.to_string());
    let block = |block: fogbank_types::Ipv4Cidr| CidrBlock {
        cidr_block: Some(block.to_string()),
    };
    shown.cidr_block_set = Some(vpc.blocks().map(block).collect());
    let ipv6: Vec<_> = vpc
        .ipv6_blocks()
        .map(|block| Ipv6CidrBlock {
            ipv6_cidr_block: Some(block.to_string()),
        })
        .collect();
    shown.ipv6_cidr_block_set = Some(ipv6).filter(|blocks| !blocks.is_empty());
}

fn render(snapshot: &Snapshot, scope: &Scope, row: &Row) -> VpcPeeringConnection {
    VpcPeeringConnection {
        accepter_vpc_info: Some(side(snapshot, row, &row.accepter)),
        expiration_time: row.expires_at,
        requester_vpc_info: Some(side(snapshot, row, &row.requester)),
        status: Some(VpcPeeringConnectionStateReason {
            code: Some(peering::code(row.status).to_owned()),
            message: Some(row.status_message.clone()),
        }),
        tags: tags::render(peering::tags_of(row, scope)),
        vpc_peering_connection_id: Some(row.peering_id.to_string()),
    }
}

pub fn create(
    context: &Context,
    request: CreateVpcPeeringConnectionRequest,
) -> Result<CreateVpcPeeringConnectionResult, ApiError> {
    let scope = context.scope();
    let peer_vpc_id = request
        .peer_vpc_id
        .ok_or(Refusal::MissingParameter { name: "peerVpcId" })?;
    let account = request
        .peer_owner_id
        .unwrap_or_else(|| scope.account.clone());
    if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Refusal::parameter("peerOwnerId", account, "").into());
    }
    let region = request.peer_region.unwrap_or_else(|| scope.region.clone());
    let new = NewPeering {
        vpc_id: ids::parse(&request.vpc_id)?,
        peer: Scope::new(account, region),
        peer_vpc_id: ids::parse(&peer_vpc_id)?,
        tags: tags::specified(request.tag_specifications, "vpc-peering-connection")?,
    };
    let shown = write(context, request.dry_run, |tx| {
        let row = peering::create(tx, &scope, new.clone())?;
        Ok(render(tx.snapshot(), &scope, &row))
    })?;
    Ok(CreateVpcPeeringConnectionResult {
        vpc_peering_connection: Some(shown),
    })
}

fn id(given: &str) -> Result<VpcPeeringConnectionId, Refusal> {
    ids::parse(given)
}

pub fn accept(
    context: &Context,
    request: AcceptVpcPeeringConnectionRequest,
) -> Result<AcceptVpcPeeringConnectionResult, ApiError> {
    let (scope, id) = (context.scope(), id(&request.vpc_peering_connection_id)?);
    let shown = write(context, request.dry_run, |tx| {
        let row = peering::accept(tx, &scope, &id)?;
        Ok(render(tx.snapshot(), &scope, &row))
    })?;
    Ok(AcceptVpcPeeringConnectionResult {
        vpc_peering_connection: Some(shown),
    })
}

pub fn reject(
    context: &Context,
    request: RejectVpcPeeringConnectionRequest,
) -> Result<RejectVpcPeeringConnectionResult, ApiError> {
    let id = id(&request.vpc_peering_connection_id)?;
    write(context, request.dry_run, |tx| {
        peering::reject(tx, &context.scope(), &id)
    })?;
    Ok(RejectVpcPeeringConnectionResult {
        r#return: Some(true),
    })
}

pub fn delete(
    context: &Context,
    request: DeleteVpcPeeringConnectionRequest,
) -> Result<DeleteVpcPeeringConnectionResult, ApiError> {
    let id = id(&request.vpc_peering_connection_id)?;
    write(context, request.dry_run, |tx| {
        peering::delete(tx, &context.scope(), &id)
    })?;
    Ok(DeleteVpcPeeringConnectionResult {
        r#return: Some(true),
    })
}

/// What a caller wants of one side. ClassicLink is gone: what asks for it is refused.
fn dns_option(given: Option<&PeeringConnectionOptionsRequest>) -> Result<Option<bool>, Refusal> {
    let Some(given) = given else { return Ok(None) };
    let classic = [
        given.allow_egress_from_local_classic_link_to_remote_vpc,
        given.allow_egress_from_local_vpc_to_remote_classic_link,
    ];
    if classic.contains(&Some(true)) {
        return Err(Refusal::value("EC2-Classic and ClassicLink are retired."));
    }
    Ok(given.allow_dns_resolution_from_remote_vpc)
}

pub fn modify_options(
    context: &Context,
    request: ModifyVpcPeeringConnectionOptionsRequest,
) -> Result<ModifyVpcPeeringConnectionOptionsResult, ApiError> {
    let id = id(&request.vpc_peering_connection_id)?;
    let (accepter, requester) = (
        request.accepter_peering_connection_options,
        request.requester_peering_connection_options,
    );
    let options = DnsOptions {
        requester: dns_option(requester.as_ref())?,
        accepter: dns_option(accepter.as_ref())?,
    };
    if requester.is_none() && accepter.is_none() {
        let text = "At least one of the requester's and the accepter's peering connection options must be specified."
            .to_owned();
        return Err(Refusal::Missing { text }.into());
    }
    let row = write(context, request.dry_run, |tx| {
        peering::modify_options(tx, &context.scope(), &id, options)
    })?;
    let shown = |side: &PeeredVpc| PeeringConnectionOptions {
        allow_dns_resolution_from_remote_vpc: Some(side.allow_dns_resolution),
        allow_egress_from_local_classic_link_to_remote_vpc: Some(false),
        allow_egress_from_local_vpc_to_remote_classic_link: Some(false),
    };
    Ok(ModifyVpcPeeringConnectionOptionsResult {
        accepter_peering_connection_options: accepter.map(|_| shown(&row.accepter)),
        requester_peering_connection_options: requester.map(|_| shown(&row.requester)),
    })
}

const FILTERS: &[&str] = &[
    "accepter-vpc-info.cidr-block",
    "accepter-vpc-info.owner-id",
    "accepter-vpc-info.vpc-id",
    "expiration-time",
    "requester-vpc-info.cidr-block",
    "requester-vpc-info.owner-id",
    "requester-vpc-info.vpc-id",
    "status-code",
    "status-message",
    "vpc-peering-connection-id",
];

fn values(snapshot: &Snapshot, row: &Row, name: &str) -> Vec<String> {
    let of_side = |peered: &PeeredVpc, member: &str| {
        let info = side(snapshot, row, peered);
        optional(match member {
            "cidr-block" => info.cidr_block,
            "owner-id" => info.owner_id,
            _ => info.vpc_id,
        })
    };
    match name {
        "expiration-time" => optional(row.expires_at.map(fogbank_wire::iso8601)),
        "status-code" => vec![peering::code(row.status).to_owned()],
        "status-message" => vec![row.status_message.clone()],
        "vpc-peering-connection-id" => vec![row.peering_id.to_string()],
        name => match name.split_once("-vpc-info.") {
            Some(("accepter", member)) => of_side(&row.accepter, member),
            Some((_, member)) => of_side(&row.requester, member),
            None => Vec::new(),
        },
    }
}

pub fn describe(
    context: &Context,
    request: DescribeVpcPeeringConnectionsRequest,
) -> Result<DescribeVpcPeeringConnectionsResult, ApiError> {
    let query = query!(request, vpc_peering_connection_ids, filters);
    query.check()?;
    let filters = Filters::parse(query.filters, FILTERS)?;
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let wanted: Vec<VpcPeeringConnectionId> = ids::parse_all(query.ids.as_deref())?;
    for id in &wanted {
        peering::get(&snapshot, &scope, id)?;
    }
    let mut found: Vec<&Arc<Row>> = peering::seen_by(&snapshot, &scope)
        .filter(|row| wanted.is_empty() || wanted.contains(&row.peering_id))
        .filter(|row| {
            let tags = peering::tags_of(row, &scope);
            filters.accept(tags, |name| values(&snapshot, row, name))
        })
        .collect();
    found.sort_by(|a, b| a.peering_id.cmp(&b.peering_id));
    let id = |row: &&Arc<Row>| row.peering_id.to_string();
    let (found, next_token) = page(found, id, query.max_results, query.next_token)?;
    let shown = |row: &Arc<Row>| render(&snapshot, &scope, row);
    Ok(DescribeVpcPeeringConnectionsResult {
        vpc_peering_connections: Some(found.into_iter().map(shown).collect()),
        next_token,
    })
}
