//! Route tables, their routes and associations.

use super::query::{query, rows};
use super::{not_offered, optional, tags, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::{Refusal, ids, route_tables, routes};
use fogbank_types::ec2::{Route as RouteRow, RouteDestination, RouteTable as Row, RouteTarget};
use fogbank_types::{IpCidr, RouteTableId, Snapshot};
use fogbank_wire::ec2::*;

/// The routes as replies show them: a local one for each block of the VPC, then the static ones and those of gateway
/// endpoints (facts RTB-1, RTB-11).
fn shown_routes(snapshot: &Snapshot, row: &Row) -> Vec<Route> {
    let vpc = snapshot.vpcs.get(&row.scope, &row.vpc_id);
    let local = vpc
        .iter()
        .flat_map(|vpc| vpc.all_blocks())
        .map(|block| Route {
            gateway_id: Some("local".to_owned()),
            origin: Some("CreateRouteTable".to_owned()),
            state: Some("active".to_owned()),
            ..shown_destination(&RouteDestination::Block(block))
        });
    let own = snapshot.routes_of(row).into_iter().map(|route| {
        let alive = snapshot.target_is_alive(row, &route.target);
        let mut shown = Route {
            origin: Some("CreateRoute".to_owned()),
            state: Some(if alive { "active" } else { "blackhole" }.to_owned()),
            ..shown_destination(&route.destination)
        };
        let id = Some(route.target.id().to_owned());
        match &route.target {
            RouteTarget::InternetGateway(_) | RouteTarget::VpcEndpoint(_) => shown.gateway_id = id,
            RouteTarget::NatGateway(_) => shown.nat_gateway_id = id,
            RouteTarget::NetworkInterface(_) => shown.network_interface_id = id,
            RouteTarget::EgressOnlyInternetGateway(_) => {
                shown.egress_only_internet_gateway_id = id;
            }
            RouteTarget::VpcPeeringConnection(_) => shown.vpc_peering_connection_id = id,
        }
        shown
    });
    local.chain(own).collect()
}

fn shown_destination(destination: &RouteDestination) -> Route {
    let text = Some(destination.to_string());
    let mut shown = Route::default();
    match destination {
        RouteDestination::Block(IpCidr::V4(_)) => shown.destination_cidr_block = text,
        RouteDestination::Block(IpCidr::V6(_)) => shown.destination_ipv6_cidr_block = text,
        RouteDestination::PrefixList(_) => shown.destination_prefix_list_id = text,
    }
    shown
}

fn associated() -> Option<RouteTableAssociationState> {
    Some(RouteTableAssociationState {
        state: Some("associated".to_owned()),
        status_message: None,
    })
}

fn render(snapshot: &Snapshot, row: &Row) -> RouteTable {
    let association = |a: &fogbank_types::ec2::RouteTableAssociation| RouteTableAssociation {
        association_state: associated(),
        main: Some(a.subnet_id.is_none()),
        route_table_association_id: Some(a.association_id.to_string()),
        route_table_id: Some(row.route_table_id.to_string()),
        subnet_id: a.subnet_id.as_ref().map(ToString::to_string),
        ..RouteTableAssociation::default()
    };
    RouteTable {
        associations: Some(row.associations.iter().map(association).collect()),
        owner_id: Some(row.scope.account.clone()),
        propagating_vgws: Some(Vec::new()),
        route_table_id: Some(row.route_table_id.to_string()),
        routes: Some(shown_routes(snapshot, row)),
        tags: tags::render(&row.tags),
        vpc_id: Some(row.vpc_id.to_string()),
    }
}

pub fn create(
    context: &Context,
    request: CreateRouteTableRequest,
) -> Result<CreateRouteTableResult, ApiError> {
    let vpc_id = ids::parse(&request.vpc_id)?;
    let tags = tags::specified(request.tag_specifications, "route-table")?;
    let token = request.client_token;
    let table = write(context, request.dry_run, |tx| {
        let row = route_tables::create(
            tx,
            &context.scope(),
            &vpc_id,
            tags.clone(),
            token.as_deref(),
        )?;
        Ok(render(tx.snapshot(), &row))
    })?;
    Ok(CreateRouteTableResult {
        route_table: Some(table),
        client_token: token,
    })
}

pub fn delete(
    context: &Context,
    request: DeleteRouteTableRequest,
) -> Result<DeleteRouteTableResponse, ApiError> {
    let id = ids::parse(&request.route_table_id)?;
    write(context, request.dry_run, |tx| {
        route_tables::delete(tx, &context.scope(), &id)
    })?;
    Ok(DeleteRouteTableResponse {})
}

const FILTERS: &[&str] = &[
    "association.gateway-id",
    "association.main",
    "association.route-table-association-id",
    "association.route-table-id",
    "association.subnet-id",
    "owner-id",
    "route-table-id",
    "route.carrier-gateway-id",
    "route.core-network-arn",
    "route.destination-cidr-block",
    "route.destination-ipv6-cidr-block",
    "route.destination-prefix-list-id",
    "route.egress-only-internet-gateway-id",
    "route.gateway-id",
    "route.instance-id",
    "route.local-gateway-id",
    "route.nat-gateway-id",
    "route.network-interface-id",
    "route.origin",
    "route.state",
    "route.transit-gateway-id",
    "route.vpc-peering-connection-id",
    "vpc-id",
];

fn values(snapshot: &Snapshot, row: &Row, name: &str) -> Vec<String> {
    let associations = row.associations.iter();
    let of_routes = |member: fn(Route) -> Option<String>| {
        shown_routes(snapshot, row)
            .into_iter()
            .filter_map(member)
            .collect::<Vec<_>>()
    };
    match name {
        "association.main" => associations
            .map(|a| a.subnet_id.is_none().to_string())
            .collect(),
        "association.route-table-association-id" => {
            associations.map(|a| a.association_id.to_string()).collect()
        }
        "association.route-table-id" => associations
            .map(|_| row.route_table_id.to_string())
            .collect(),
        "association.subnet-id" => associations
            .flat_map(|a| optional(a.subnet_id.as_ref()))
            .collect(),
        "owner-id" => vec![row.scope.account.clone()],
        "route-table-id" => vec![row.route_table_id.to_string()],
        "route.destination-cidr-block" => of_routes(|route| route.destination_cidr_block),
        "route.destination-ipv6-cidr-block" => of_routes(|route| route.destination_ipv6_cidr_block),
        "route.destination-prefix-list-id" => of_routes(|route| route.destination_prefix_list_id),
        "route.egress-only-internet-gateway-id" => {
            of_routes(|route| route.egress_only_internet_gateway_id)
        }
        "route.vpc-peering-connection-id" => of_routes(|route| route.vpc_peering_connection_id),
        "route.gateway-id" => of_routes(|route| route.gateway_id),
        "route.nat-gateway-id" => of_routes(|route| route.nat_gateway_id),
        "route.network-interface-id" => of_routes(|route| route.network_interface_id),
        "route.origin" => of_routes(|route| route.origin),
        "route.state" => of_routes(|route| route.state),
        "vpc-id" => vec![row.vpc_id.to_string()],
        _ => Vec::new(),
    }
}

pub fn describe(
    context: &Context,
    request: DescribeRouteTablesRequest,
) -> Result<DescribeRouteTablesResult, ApiError> {
    let query = query!(request, route_table_ids, filters);
    let snapshot = context.snapshot();
    let (found, next_token) = rows::<Row, RouteTableId>(
        context,
        &snapshot,
        query,
        FILTERS,
        |row| &row.tags,
        |row, name| values(&snapshot, row, name),
    )?;
    let shown = found.iter().map(|row| render(&snapshot, row)).collect();
    Ok(DescribeRouteTablesResult {
        route_tables: Some(shown),
        next_token,
    })
}

/// Where a caller wants a route to lead; exactly one is given.
struct Targets {
    gateway_id: Option<String>,
    nat_gateway_id: Option<String>,
    network_interface_id: Option<String>,
    egress_only_internet_gateway_id: Option<String>,
    vpc_peering_connection_id: Option<String>,
    vpc_endpoint_id: Option<String>,
    /// Kinds that this region does not have.
    others: [Option<String>; 6],
}

impl Targets {
    fn parse(self) -> Result<RouteTarget, Refusal> {
        let mut found: Vec<Result<RouteTarget, Refusal>> = Vec::new();
        found.extend(self.gateway_id.map(gateway));
        let nat = self.nat_gateway_id.as_deref().map(ids::parse);
        found.extend(nat.map(|id| id.map(RouteTarget::NatGateway)));
        let eni = self.network_interface_id.as_deref().map(ids::parse);
        found.extend(eni.map(|id| id.map(RouteTarget::NetworkInterface)));
        let egress_only = self.egress_only_internet_gateway_id.as_deref();
        let egress_only = egress_only.map(ids::parse);
        found.extend(egress_only.map(|id| id.map(RouteTarget::EgressOnlyInternetGateway)));
        let peering = self.vpc_peering_connection_id.as_deref().map(ids::parse);
        found.extend(peering.map(|id| id.map(RouteTarget::VpcPeeringConnection)));
        let endpoint = self.vpc_endpoint_id.as_deref().map(ids::parse);
        found.extend(endpoint.map(|id| id.map(RouteTarget::VpcEndpoint)));
        let others = self.others.into_iter().flatten();
        found.extend(others.map(|_| {
            Err(Refusal::NotOffered {
                what: "This kind of route target",
            })
        }));
        match (found.pop(), found.is_empty()) {
            (Some(target), true) => target,
            (Some(_), false) => {
                let text = "Exactly one target of a route must be specified.".to_owned();
                Err(Refusal::Combination { text })
            }
            (None, _) => {
                let text = "The request must contain exactly one of gatewayId, natGatewayId, networkInterfaceId, \
                            vpcPeeringConnectionId, egressOnlyInternetGatewayId, vpcEndpointId or instanceId";
                Err(Refusal::Missing {
                    text: text.to_owned(),
                })
            }
        }
    }
}

/// The member `gatewayId` takes gateways of several kinds.
fn gateway(id: String) -> Result<RouteTarget, Refusal> {
    match id.split_once('-').map_or(id.as_str(), |(prefix, _)| prefix) {
        "igw" => Ok(RouteTarget::InternetGateway(ids::parse(&id)?)),
        "vpce" => Ok(RouteTarget::VpcEndpoint(ids::parse(&id)?)),
        "vgw" | "local" => Err(Refusal::NotOffered {
            what: "This kind of gateway as a route's target",
        }),
        _ => Err(Refusal::UnknownGateway { id }),
    }
}

/// What a route is for; exactly one is given.
fn destination(
    ipv4: Option<String>,
    ipv6: Option<String>,
    prefix_list: Option<String>,
) -> Result<RouteDestination, Refusal> {
    match (ipv4, ipv6, prefix_list) {
        (Some(text), None, None) => {
            let block = ids::block("destinationCidrBlock", &text)?;
            Ok(RouteDestination::Block(block.into()))
        }
        (None, Some(text), None) => {
            let block = ids::block_v6("destinationIpv6CidrBlock", &text)?;
            Ok(RouteDestination::Block(block.into()))
        }
        (None, None, Some(id)) => Ok(RouteDestination::PrefixList(ids::parse(&id)?)),
        (None, None, None) => Err(Refusal::Missing {
            text: "The request must contain exactly one of destinationCidrBlock, destinationIpv6CidrBlock or \
                   destinationPrefixListId"
                .to_owned(),
        }),
        _ => Err(Refusal::Combination {
            text: "Only one of destinationCidrBlock, destinationIpv6CidrBlock and destinationPrefixListId may be specified."
                .to_owned(),
        }),
    }
}

/// The targets of a request that creates or replaces a route; both have the same members.
macro_rules! targets {
    ($request:ident) => {
        Targets {
            gateway_id: $request.gateway_id,
            nat_gateway_id: $request.nat_gateway_id,
            network_interface_id: $request.network_interface_id,
            egress_only_internet_gateway_id: $request.egress_only_internet_gateway_id,
            vpc_peering_connection_id: $request.vpc_peering_connection_id,
            vpc_endpoint_id: $request.vpc_endpoint_id,
            others: [
                $request.carrier_gateway_id,
                $request.core_network_arn,
                $request.instance_id,
                $request.local_gateway_id,
                $request.odb_network_arn,
                $request.transit_gateway_id,
            ],
        }
    };
}

pub fn create_route(
    context: &Context,
    request: CreateRouteRequest,
) -> Result<CreateRouteResult, ApiError> {
    let table = ids::parse(&request.route_table_id)?;
    let destination = destination(
        request.destination_cidr_block,
        request.destination_ipv6_cidr_block,
        request.destination_prefix_list_id,
    )?;
    let target = targets!(request).parse()?;
    let route = RouteRow {
        destination,
        target,
    };
    write(context, request.dry_run, |tx| {
        routes::create(tx, &context.scope(), &table, route.clone())
    })?;
    Ok(CreateRouteResult {
        r#return: Some(true),
    })
}

pub fn replace_route(
    context: &Context,
    request: ReplaceRouteRequest,
) -> Result<ReplaceRouteResponse, ApiError> {
    let table = ids::parse(&request.route_table_id)?;
    let destination = destination(
        request.destination_cidr_block,
        request.destination_ipv6_cidr_block,
        request.destination_prefix_list_id,
    )?;
    if request.local_target == Some(true) {
        write(context, request.dry_run, |tx| {
            routes::reset_local(tx, &context.scope(), &table, &destination)
        })?;
        return Ok(ReplaceRouteResponse {});
    }
    let target = targets!(request).parse()?;
    let route = RouteRow {
        destination,
        target,
    };
    write(context, request.dry_run, |tx| {
        routes::replace(tx, &context.scope(), &table, route.clone())
    })?;
    Ok(ReplaceRouteResponse {})
}

pub fn delete_route(
    context: &Context,
    request: DeleteRouteRequest,
) -> Result<DeleteRouteResponse, ApiError> {
    let table: RouteTableId = ids::parse(&request.route_table_id)?;
    let destination = destination(
        request.destination_cidr_block,
        request.destination_ipv6_cidr_block,
        request.destination_prefix_list_id,
    )?;
    write(context, request.dry_run, |tx| {
        routes::delete(tx, &context.scope(), &table, &destination)
    })?;
    Ok(DeleteRouteResponse {})
}

pub fn associate(
    context: &Context,
    request: AssociateRouteTableRequest,
) -> Result<AssociateRouteTableResult, ApiError> {
    not_offered(
        request.gateway_id.is_some() || request.public_ipv4_pool.is_some(),
        "Associating a route table with a gateway",
    )?;
    let table = ids::parse(&request.route_table_id)?;
    let subnet = ids::parse(
        &request
            .subnet_id
            .ok_or(Refusal::MissingParameter { name: "subnetId" })?,
    )?;
    let id = write(context, request.dry_run, |tx| {
        route_tables::associate(tx, &context.scope(), &table, &subnet)
    })?;
    Ok(AssociateRouteTableResult {
        association_id: Some(id.to_string()),
        association_state: associated(),
    })
}

pub fn disassociate(
    context: &Context,
    request: DisassociateRouteTableRequest,
) -> Result<DisassociateRouteTableResponse, ApiError> {
    let id = ids::parse(&request.association_id)?;
    write(context, request.dry_run, |tx| {
        route_tables::disassociate(tx, &context.scope(), &id)
    })?;
    Ok(DisassociateRouteTableResponse {})
}

pub fn replace_association(
    context: &Context,
    request: ReplaceRouteTableAssociationRequest,
) -> Result<ReplaceRouteTableAssociationResult, ApiError> {
    let id = ids::parse(&request.association_id)?;
    let table = ids::parse(&request.route_table_id)?;
    let new = write(context, request.dry_run, |tx| {
        route_tables::replace_association(tx, &context.scope(), &id, &table)
    })?;
    Ok(ReplaceRouteTableAssociationResult {
        new_association_id: Some(new.to_string()),
        association_state: associated(),
    })
}
