//! Route tables, their routes and associations.

use super::query::{Query, rows};
use super::{not_offered, optional, tags, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::{Refusal, ids, route_tables, routes};
use fogbank_types::ec2::{Route as RouteRow, RouteTable as Row, RouteTarget};
use fogbank_types::{Ipv4Cidr, RouteTableId, Snapshot};
use fogbank_wire::ec2::*;

/// The routes as replies show them: a local one for each block of the VPC, then the static ones (fact RTB-1).
fn shown_routes(snapshot: &Snapshot, row: &Row) -> Vec<Route> {
    let vpc = snapshot.vpcs.get(&row.scope, &row.vpc_id);
    let local = vpc.iter().flat_map(|vpc| vpc.blocks()).map(|block| Route {
        destination_cidr_block: Some(block.to_string()),
        gateway_id: Some("local".to_owned()),
        origin: Some("CreateRouteTable".to_owned()),
        state: Some("active".to_owned()),
        ..Route::default()
    });
    let own = row.routes.iter().map(|route| {
        let alive = snapshot.target_is_alive(row, &route.target);
        let mut shown = Route {
            destination_cidr_block: Some(route.destination.to_string()),
            origin: Some("CreateRoute".to_owned()),
            state: Some(if alive { "active" } else { "blackhole" }.to_owned()),
            ..Route::default()
        };
        match &route.target {
            RouteTarget::InternetGateway(id) => shown.gateway_id = Some(id.to_string()),
            RouteTarget::NatGateway(id) => shown.nat_gateway_id = Some(id.to_string()),
            RouteTarget::NetworkInterface(id) => shown.network_interface_id = Some(id.to_string()),
        }
        shown
    });
    local.chain(own).collect()
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
    let query = Query {
        ids: request.route_table_ids,
        filters: request.filters,
        max_results: request.max_results,
        next_token: request.next_token,
        dry_run: request.dry_run,
    };
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
#[derive(Default)]
struct Targets {
    gateway_id: Option<String>,
    nat_gateway_id: Option<String>,
    network_interface_id: Option<String>,
    /// Of kinds that this region does not have.
    others: [Option<String>; 9],
}

impl Targets {
    fn parse(self) -> Result<RouteTarget, Refusal> {
        let own = [
            &self.gateway_id,
            &self.nat_gateway_id,
            &self.network_interface_id,
        ];
        let given = own.into_iter().chain(&self.others).flatten().count();
        if given == 0 {
            let text = "The request must contain exactly one of gatewayId, natGatewayId, networkInterfaceId, \
                        vpcPeeringConnectionId, egressOnlyInternetGatewayId, transitGatewayId, localGatewayId, \
                        carrierGatewayId, coreNetworkArn, instanceId, vpcEndpointId";
            return Err(Refusal::Missing {
                text: text.to_owned(),
            });
        }
        if given > 1 {
            let text = "A route can have only one target.".to_owned();
            return Err(Refusal::Combination { text });
        }
        match (
            self.gateway_id,
            self.nat_gateway_id,
            self.network_interface_id,
        ) {
            (Some(id), ..) if id.starts_with("igw-") => {
                Ok(RouteTarget::InternetGateway(ids::parse(&id)?))
            }
            (Some(id), ..)
                if id.starts_with("vgw-") || id.starts_with("vpce-") || id == "local" =>
            {
                Err(Refusal::NotOffered {
                    what: "This kind of gateway as a route's target",
                })
            }
            (Some(id), ..) => Err(Refusal::UnknownGateway { id }),
            (_, Some(id), _) => Ok(RouteTarget::NatGateway(ids::parse(&id)?)),
            (.., Some(id)) => Ok(RouteTarget::NetworkInterface(ids::parse(&id)?)),
            _ => Err(Refusal::NotOffered {
                what: "This kind of route target",
            }),
        }
    }
}

/// The IPv4 block that a route is for.
fn destination(
    ipv4: Option<String>,
    ipv6: Option<String>,
    prefix_list: Option<String>,
) -> Result<Ipv4Cidr, Refusal> {
    not_offered(ipv6.is_some(), "IPv6")?;
    not_offered(prefix_list.is_some(), "A managed prefix list")?;
    let text = ipv4.ok_or(Refusal::MissingParameter {
        name: "destinationCidrBlock",
    })?;
    ids::block("destinationCidrBlock", &text)
}

/// The targets of a request that creates or replaces a route; both have the same members.
macro_rules! targets {
    ($request:ident) => {
        Targets {
            gateway_id: $request.gateway_id,
            nat_gateway_id: $request.nat_gateway_id,
            network_interface_id: $request.network_interface_id,
            others: [
                $request.carrier_gateway_id,
                $request.core_network_arn,
                $request.egress_only_internet_gateway_id,
                $request.instance_id,
                $request.local_gateway_id,
                $request.odb_network_arn,
                $request.transit_gateway_id,
                $request.vpc_endpoint_id,
                $request.vpc_peering_connection_id,
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
    not_offered(
        request.local_target == Some(true),
        "Replacing the target of a local route",
    )?;
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
        routes::replace(tx, &context.scope(), &table, route.clone())
    })?;
    Ok(ReplaceRouteResponse {})
}

pub fn delete_route(
    context: &Context,
    request: DeleteRouteRequest,
) -> Result<DeleteRouteResponse, ApiError> {
    let table: RouteTableId = ids::parse(&request.route_table_id)?;
    if let Some(other) = request
        .destination_ipv6_cidr_block
        .or(request.destination_prefix_list_id)
    {
        // No table here can have one.
        route_tables::get(&context.snapshot(), &context.scope(), &table)?;
        return Err(routes::absent(&table, other).into());
    }
    let destination = destination(request.destination_cidr_block, None, None)?;
    write(context, request.dry_run, |tx| {
        routes::delete(tx, &context.scope(), &table, destination)
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
