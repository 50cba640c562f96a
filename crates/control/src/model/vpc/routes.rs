//! Static routes of a table. <https://docs.aws.amazon.com/vpc/latest/userguide/route-table-options.html>
//!
//! Called by `api/ec2/route_tables`. Local routes and those of gateway endpoints are nobody's to write here.

use super::{Quotas, Refusal, ResourceKind, enis, nat_gateways, prefix_lists, route_tables, vpcs};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::*;
use std::net::{Ipv4Addr, Ipv6Addr};

pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    table_id: &RouteTableId,
    route: Route,
) -> Result<(), Refusal> {
    let snapshot = tx.snapshot();
    let table = route_tables::get(snapshot, scope, table_id)?.clone();
    let vpc = vpcs::get(snapshot, scope, &table.vpc_id)?;
    let exists = |other: &Route| other.destination == route.destination;
    if is_local(vpc, &route.destination) || snapshot.routes_of(&table).iter().any(exists) {
        return Err(Refusal::RouteExists {
            destination: route.destination.to_string(),
        });
    }
    check(tx, &table, &route)?;
    let mut with = snapshot.routes_of(&table);
    with.push(route.clone());
    check_count(tx, &table, &with)?;
    tx.update::<RouteTable>(scope, table_id, |table| table.routes.push(route));
    Ok(())
}

/// Changes the target of a route that is there.
pub fn replace(
    tx: &mut Tx,
    scope: &Scope,
    table_id: &RouteTableId,
    route: Route,
) -> Result<(), Refusal> {
    let table = route_tables::get(tx.snapshot(), scope, table_id)?.clone();
    let vpc = vpcs::get(tx.snapshot(), scope, &table.vpc_id)?;
    if is_local(vpc, &route.destination) {
        return Err(Refusal::NotOffered {
            what: "Replacing the target of a local route",
        });
    }
    let at = own_position(tx.snapshot(), &table, &route.destination)?;
    check(tx, &table, &route)?;
    tx.update::<RouteTable>(scope, table_id, |table| {
        table.routes[at].target = route.target
    });
    Ok(())
}

/// Gives a local route its local target back; it has no other here.
pub fn reset_local(
    tx: &Tx,
    scope: &Scope,
    table_id: &RouteTableId,
    destination: &RouteDestination,
) -> Result<(), Refusal> {
    let table = route_tables::get(tx.snapshot(), scope, table_id)?;
    let vpc = vpcs::get(tx.snapshot(), scope, &table.vpc_id)?;
    if is_local(vpc, destination) {
        return Ok(());
    }
    Err(Refusal::value(format!(
        "The route {destination} is not a local route: only a local route can have the target local."
    )))
}

pub fn delete(
    tx: &mut Tx,
    scope: &Scope,
    table_id: &RouteTableId,
    destination: &RouteDestination,
) -> Result<(), Refusal> {
    let table = route_tables::get(tx.snapshot(), scope, table_id)?;
    let vpc = vpcs::get(tx.snapshot(), scope, &table.vpc_id)?;
    if is_local(vpc, destination) {
        let (destination, route_table_id) = (destination.to_string(), table_id.to_string());
        return Err(Refusal::LocalRoute {
            destination,
            route_table_id,
        });
    }
    let at = own_position(tx.snapshot(), table, destination)?;
    tx.update::<RouteTable>(scope, table_id, |table| {
        table.routes.remove(at);
    });
    Ok(())
}

fn is_local(vpc: &Vpc, destination: &RouteDestination) -> bool {
    let block = destination.block();
    vpc.all_blocks().any(|local| Some(local) == block)
}

/// Where a static route stands in its table. An endpoint's route is managed by the endpoint (fact RTB-11).
fn own_position(
    snapshot: &Snapshot,
    table: &RouteTable,
    destination: &RouteDestination,
) -> Result<usize, Refusal> {
    let is_it = |route: &Route| route.destination == *destination;
    if let Some(at) = table.routes.iter().position(is_it) {
        return Ok(at);
    }
    let (destination, route_table_id) = (destination.to_string(), table.route_table_id.to_string());
    if snapshot.routes_of(table).iter().any(is_it) {
        return Err(Refusal::EndpointRoute {
            destination,
            route_table_id,
        });
    }
    Err(Refusal::RouteNotFound {
        destination,
        route_table_id,
    })
}

/// The families count on their own, and a prefix list as many times as it may have entries (facts RTB-4, SG-4).
pub(super) fn check_count(tx: &Tx, table: &RouteTable, routes: &[Route]) -> Result<(), Refusal> {
    let (mut ipv4, mut ipv6) = (0, 0);
    for route in routes {
        match &route.destination {
            RouteDestination::Block(IpCidr::V4(_)) => ipv4 += 1,
            RouteDestination::Block(IpCidr::V6(_)) => ipv6 += 1,
            RouteDestination::PrefixList(id) => {
                let weight = prefix_lists::weight(tx.snapshot(), &table.scope, id);
                ipv4 += weight.ipv4;
                ipv6 += weight.ipv6;
            }
        }
    }
    if ipv4.max(ipv6) > Quotas::of(tx.config()).routes_per_table {
        return Err(Refusal::RouteLimit {
            route_table_id: table.route_table_id.to_string(),
        });
    }
    Ok(())
}

/// Whether table and route fit (facts RTB-3, RTB-5).
fn check(tx: &Tx, table: &RouteTable, route: &Route) -> Result<(), Refusal> {
    let blocks = match &route.destination {
        RouteDestination::Block(block) => {
            check_inside_vpc(tx.snapshot(), table, *block, &route.target)?;
            vec![*block]
        }
        RouteDestination::PrefixList(id) => {
            let blocks = tx.snapshot().prefix_list(&table.scope, id, tx.config());
            blocks.ok_or_else(|| Refusal::not_found(ResourceKind::PrefixList, id))?
        }
    };
    let family = family(tx.snapshot(), &table.scope, &route.destination);
    for block in blocks {
        check_reserved(block)?;
    }
    check_family(&route.destination, family, &route.target)?;
    check_target(tx.snapshot(), table, &route.target)
}

/// Whether a destination is of IPv4, IPv6 or, as AWS's own prefix lists, of both.
fn family(snapshot: &Snapshot, scope: &Scope, destination: &RouteDestination) -> (bool, bool) {
    match destination {
        RouteDestination::Block(block) => (block.is_ipv4(), !block.is_ipv4()),
        RouteDestination::PrefixList(id) => match snapshot.prefix_lists.get(scope, id) {
            Some(list) => (list.ipv4, !list.ipv4),
            None => (true, true),
        },
    }
}

/// NAT gateways know IPv4 only (but for NAT64), egress-only internet gateways IPv6 only.
fn check_family(
    destination: &RouteDestination,
    (ipv4, ipv6): (bool, bool),
    target: &RouteTarget,
) -> Result<(), Refusal> {
    let nat64 = Ipv6Cidr::containing(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96)
        .expect("96 is a prefix length");
    match target {
        RouteTarget::NatGateway(_) if destination.block() == Some(nat64.into()) => {
            Err(Refusal::NotOffered { what: "NAT64" })
        }
        RouteTarget::NatGateway(id) if ipv6 && !ipv4 => Err(Refusal::value(format!(
            "The destination {destination} is not supported by target {id}: a NAT gateway carries IPv4 traffic, and \
             IPv6 traffic only to 64:ff9b::/96."
        ))),
        RouteTarget::EgressOnlyInternetGateway(id) if ipv4 && !ipv6 => {
            Err(Refusal::value(format!(
                "The destination {destination} is not supported by target {id}: an egress-only internet gateway carries \
                 IPv6 traffic only."
            )))
        }
        _ => Ok(()),
    }
}

/// <https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Route_Tables.html#route-table-reserved>
fn check_reserved(block: IpCidr) -> Result<(), Refusal> {
    let reserved: [IpCidr; 2] = [
        Ipv4Cidr::containing(Ipv4Addr::new(169, 254, 168, 0), 22)
            .expect("22 is a prefix length")
            .into(),
        Ipv6Cidr::containing(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32)
            .expect("32 is a prefix length")
            .into(),
    ];
    match reserved.into_iter().find(|range| range.covers(block)) {
        None => Ok(()),
        Some(range) => {
            let parameter = if block.is_ipv4() {
                "destinationCidrBlock"
            } else {
                "destinationIpv6CidrBlock"
            };
            let why =
                format!("Routes to addresses within {range} are reserved for use by AWS services.");
            Err(Refusal::parameter(parameter, block, &why))
        }
    }
}

/// Inside the VPC's own blocks a route must be for a whole subnet, and lead to something that takes packets in the VPC.
fn check_inside_vpc(
    snapshot: &Snapshot,
    table: &RouteTable,
    block: IpCidr,
    target: &RouteTarget,
) -> Result<(), Refusal> {
    let vpc = vpcs::get(snapshot, &table.scope, &table.vpc_id)?;
    if !vpc.all_blocks().any(|local| local.covers(block)) {
        return Ok(());
    }
    let whole_subnet = snapshot
        .subnets
        .in_scope(&table.scope)
        .filter(|subnet| subnet.vpc_id == table.vpc_id)
        .any(|subnet| match block {
            IpCidr::V4(block) => subnet.cidr_block == block,
            IpCidr::V6(block) => subnet.ipv6_block() == Some(block),
        });
    if !whole_subnet {
        return Err(Refusal::value(format!(
            "The destination CIDR block {block} is equal to or more specific than one of this VPC's CIDR blocks. \
             This route can target only an interface or an instance, and must match a subnet's CIDR block."
        )));
    }
    match target {
        RouteTarget::NatGateway(_) | RouteTarget::NetworkInterface(_) => Ok(()),
        _ => Err(Refusal::value(
            "Route target is not supported. This route only supports interface and instance targets.",
        )),
    }
}

fn check_target(
    snapshot: &Snapshot,
    table: &RouteTable,
    target: &RouteTarget,
) -> Result<(), Refusal> {
    let scope = &table.scope;
    let unknown_gateway = |id: &str| Refusal::UnknownGateway { id: id.to_owned() };
    let (same, name) = match target {
        RouteTarget::InternetGateway(id) => {
            let gateway = snapshot.internet_gateways.get(scope, id);
            let gateway = gateway.ok_or_else(|| unknown_gateway(id.as_str()))?;
            (
                gateway.attached_vpc.as_ref() == Some(&table.vpc_id),
                format!("network gateway {id}"),
            )
        }
        RouteTarget::EgressOnlyInternetGateway(id) => {
            let gateway = snapshot.egress_only_gateways.get(scope, id);
            let gateway = gateway.ok_or_else(|| unknown_gateway(id.as_str()))?;
            (
                gateway.vpc_id == table.vpc_id,
                format!("egress only internet gateway {id}"),
            )
        }
        RouteTarget::NatGateway(id) => {
            let is_good =
                |state| matches!(state, NatGatewayState::Pending | NatGatewayState::Available);
            let gateway = nat_gateways::get(snapshot, scope, id)
                .ok()
                .filter(|gateway| is_good(gateway.state))
                .ok_or_else(|| Refusal::RouteNatGateway { id: id.to_string() })?;
            (gateway.vpc_id == table.vpc_id, format!("NAT gateway {id}"))
        }
        RouteTarget::NetworkInterface(id) => (
            enis::get(snapshot, scope, id)?.vpc_id == table.vpc_id,
            format!("interface {id}"),
        ),
        // A pending one makes a blackhole until it is accepted.
        // <https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-routing.html>
        RouteTarget::VpcPeeringConnection(id) => {
            let usable = |peering: &VpcPeeringConnection| {
                matches!(
                    peering.status,
                    PeeringStatus::Active | PeeringStatus::PendingAcceptance
                ) && [&peering.requester, &peering.accepter]
                    .iter()
                    .any(|side| side.scope == *scope)
            };
            let peering = snapshot.peering(id).map(|(peering, ..)| peering);
            let peering = peering.filter(|peering| usable(peering));
            let peering = peering
                .ok_or_else(|| Refusal::not_found(ResourceKind::VpcPeeringConnection, id))?;
            (
                peering.sides(scope, &table.vpc_id).is_some(),
                format!("network gateway {id}"),
            )
        }
        RouteTarget::VpcEndpoint(id) => {
            if !snapshot.vpc_endpoints.contains(scope, id) {
                return Err(Refusal::not_found(ResourceKind::VpcEndpoint, id));
            }
            return Err(Refusal::value(format!(
                "VPC endpoint {id} cannot be the target of a route: only Gateway Load Balancer endpoints can."
            )));
        }
    };
    if !same {
        return Err(Refusal::DifferentNetworks {
            one: format!("route table {}", table.route_table_id),
            other: name,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::internet_gateways;
    use super::super::testing::*;
    use super::*;
    use crate::model::Refused;

    struct Stage {
        tx: Tx,
        vpc: Vpc,
        table: RouteTableId,
        gateway: InternetGatewayId,
    }

    fn stage() -> Stage {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let gateway = gateway(&mut tx, &vpc).internet_gateway_id;
        let table = tx
            .snapshot()
            .route_tables
            .all()
            .next()
            .unwrap()
            .route_table_id
            .clone();
        Stage {
            tx,
            vpc,
            table,
            gateway,
        }
    }

    fn route(destination: &str, target: RouteTarget) -> Route {
        Route {
            destination: RouteDestination::Block(destination.parse().unwrap()),
            target,
        }
    }

    fn anywhere() -> RouteDestination {
        RouteDestination::Block(Ipv4Cidr::ANY.into())
    }

    #[test]
    fn a_destination_stands_once_in_a_table() {
        let Stage {
            mut tx,
            table,
            gateway,
            ..
        } = stage();
        let target = RouteTarget::InternetGateway(gateway);
        create(
            &mut tx,
            &scope(),
            &table,
            route("0.0.0.0/0", target.clone()),
        )
        .unwrap();
        for again in ["0.0.0.0/0", "10.0.0.0/16"] {
            let refusal =
                create(&mut tx, &scope(), &table, route(again, target.clone())).unwrap_err();
            assert_eq!(refusal.code(), "RouteAlreadyExists", "{again}");
        }
        delete(&mut tx, &scope(), &table, &anywhere()).unwrap();
        assert_eq!(
            delete(&mut tx, &scope(), &table, &anywhere())
                .unwrap_err()
                .code(),
            "InvalidRoute.NotFound"
        );
        let replaced = replace(&mut tx, &scope(), &table, route("0.0.0.0/0", target));
        assert_eq!(replaced.unwrap_err().code(), "InvalidRoute.NotFound");
    }

    #[test]
    fn the_local_route_stays() {
        let Stage {
            mut tx,
            vpc,
            table,
            gateway,
        } = stage();
        let refusal = delete(
            &mut tx,
            &scope(),
            &table,
            &RouteDestination::Block(vpc.cidr_block.into()),
        )
        .unwrap_err();
        assert_eq!(refusal.code(), "InvalidParameterValue");
        let target = RouteTarget::InternetGateway(gateway);
        assert!(replace(&mut tx, &scope(), &table, route("10.0.0.0/16", target)).is_err());
    }

    #[test]
    fn inside_the_vpc_only_whole_subnets_and_only_to_interfaces() {
        let Stage {
            mut tx,
            vpc,
            table,
            gateway,
        } = stage();
        let subnet = subnet(&mut tx, &vpc, "10.0.1.0/24");
        let eni = interface(&mut tx, &subnet);
        let to_eni = RouteTarget::NetworkInterface(eni.eni_id);
        let to_gateway = RouteTarget::InternetGateway(gateway);
        for bad in [
            route("10.0.1.0/25", to_eni.clone()),
            route("10.0.2.0/24", to_eni.clone()),
            route("10.0.1.0/24", to_gateway.clone()),
            route("169.254.168.0/24", to_gateway.clone()),
            route("169.254.169.254/32", to_gateway),
        ] {
            let refusal = create(&mut tx, &scope(), &table, bad.clone()).unwrap_err();
            assert_eq!(refusal.code(), "InvalidParameterValue", "{bad:?}");
        }
        create(&mut tx, &scope(), &table, route("10.0.1.0/24", to_eni)).unwrap();
    }

    #[test]
    fn targets_must_be_there_and_of_the_same_vpc() {
        let Stage { mut tx, table, .. } = stage();
        let stray = internet_gateways::create(&mut tx, &scope(), Tags::new())
            .unwrap()
            .internet_gateway_id;
        for (target, code) in [
            (RouteTarget::InternetGateway(stray), "InvalidParameterValue"),
            (
                RouteTarget::InternetGateway(InternetGatewayId::from_bits(1)),
                "InvalidGatewayID.NotFound",
            ),
            (
                RouteTarget::NatGateway(NatGatewayId::from_bits(1)),
                "InvalidNatGatewayID.NotFound",
            ),
            (
                RouteTarget::NetworkInterface(EniId::from_bits(1)),
                "InvalidNetworkInterfaceID.NotFound",
            ),
        ] {
            let refusal =
                create(&mut tx, &scope(), &table, route("0.0.0.0/0", target)).unwrap_err();
            assert_eq!(refusal.code(), code);
        }
        let unknown = RouteTableId::from_bits(1);
        let target = RouteTarget::NetworkInterface(EniId::from_bits(1));
        let refusal = create(&mut tx, &scope(), &unknown, route("0.0.0.0/0", target)).unwrap_err();
        assert_eq!(refusal.code(), "InvalidRouteTableID.NotFound");
    }

    #[test]
    fn a_detached_gateway_blackholes_and_heals() {
        let Stage {
            mut tx,
            vpc,
            table,
            gateway,
        } = stage();
        let target = RouteTarget::InternetGateway(gateway.clone());
        create(
            &mut tx,
            &scope(),
            &table,
            route("0.0.0.0/0", target.clone()),
        )
        .unwrap();
        let alive = |tx: &Tx| {
            let table = route_tables::get(tx.snapshot(), &scope(), &table).unwrap();
            tx.snapshot().target_is_alive(table, &target)
        };
        internet_gateways::detach(&mut tx, &scope(), &gateway, &vpc.vpc_id).unwrap();
        assert!(!alive(&tx));
        internet_gateways::attach(&mut tx, &scope(), &gateway, &vpc.vpc_id).unwrap();
        assert!(alive(&tx));
    }

    #[test]
    fn the_fifty_first_route_is_refused() {
        let Stage {
            mut tx,
            table,
            gateway,
            ..
        } = stage();
        let target = RouteTarget::InternetGateway(gateway);
        for n in 0..Quotas::AWS.routes_per_table {
            create(
                &mut tx,
                &scope(),
                &table,
                route(&format!("20.0.{n}.0/24"), target.clone()),
            )
            .unwrap();
        }
        let refusal = create(&mut tx, &scope(), &table, route("20.1.0.0/24", target)).unwrap_err();
        assert_eq!(refusal.code(), "RouteLimitExceeded");
    }

    /// A VPC with IPv6, its main table and an egress-only gateway.
    fn stage_v6() -> (Tx, Vpc, RouteTableId, EgressOnlyInternetGatewayId) {
        let Stage {
            mut tx, vpc, table, ..
        } = stage();
        super::super::vpc_blocks::associate_ipv6(&mut tx, &scope(), &vpc.vpc_id).unwrap();
        let vpc = Vpc::clone(vpcs::get(tx.snapshot(), &scope(), &vpc.vpc_id).unwrap());
        let id = EgressOnlyInternetGatewayId::from_bits(9);
        tx.put(EgressOnlyInternetGateway {
            scope: scope(),
            egress_only_internet_gateway_id: id.clone(),
            vpc_id: vpc.vpc_id.clone(),
            client_token: None,
            created_at: tx.now(),
            tags: Tags::new(),
        });
        (tx, vpc, table, id)
    }

    #[test]
    fn ipv6_has_local_routes_reserved_ranges_and_gateways_of_its_own() {
        let (mut tx, vpc, table, gateway) = stage_v6();
        let target = RouteTarget::EgressOnlyInternetGateway(gateway);
        let local = vpc.ipv6_blocks().next().unwrap().to_string();
        for (destination, code) in [
            (local.as_str(), "RouteAlreadyExists"),
            ("fd00:ec2::/64", "InvalidParameterValue"),
            ("0.0.0.0/0", "InvalidParameterValue"),
        ] {
            let route = route(destination, target.clone());
            let refusal = create(&mut tx, &scope(), &table, route).unwrap_err();
            assert_eq!(refusal.code(), code, "{destination}");
        }
        create(&mut tx, &scope(), &table, route("::/0", target)).unwrap();
        let unknown =
            RouteTarget::EgressOnlyInternetGateway(EgressOnlyInternetGatewayId::from_bits(1));
        let refusal = create(&mut tx, &scope(), &table, route("2000::/3", unknown)).unwrap_err();
        assert_eq!(refusal.code(), "InvalidGatewayID.NotFound");
    }

    #[test]
    fn the_families_count_on_their_own_and_a_list_by_its_size() {
        let (mut tx, _, table, gateway) = stage_v6();
        let v6 = RouteTarget::EgressOnlyInternetGateway(gateway);
        for n in 0..Quotas::AWS.routes_per_table {
            let route = route(&format!("2600:{n:x}::/32"), v6.clone());
            create(&mut tx, &scope(), &table, route).unwrap();
        }
        let one_more = route("2700::/32", v6);
        let refusal = create(&mut tx, &scope(), &table, one_more).unwrap_err();
        assert_eq!(refusal.code(), "RouteLimitExceeded");
        let new = |max_entries| prefix_lists::NewPrefixList {
            name: "corp".to_owned(),
            ipv4: true,
            max_entries,
            entries: Vec::new(),
            client_token: None,
            tags: Tags::new(),
        };
        let v4 = tx.snapshot().internet_gateways.all().next().unwrap();
        let v4 = RouteTarget::InternetGateway(v4.internet_gateway_id.clone());
        for (size, fits) in [(51, false), (50, true)] {
            let list = prefix_lists::create(&mut tx, &scope(), new(size)).unwrap();
            let route = Route {
                destination: RouteDestination::PrefixList(list.prefix_list_id),
                target: v4.clone(),
            };
            let made = create(&mut tx, &scope(), &table, route);
            assert_eq!(made.is_ok(), fits, "{size}");
        }
    }

    #[test]
    fn an_endpoints_route_is_not_the_callers() {
        let Stage {
            mut tx,
            vpc,
            table,
            gateway,
        } = stage();
        let service = "com.amazonaws.us-east-1.s3";
        tx.put(VpcEndpoint {
            scope: scope(),
            vpc_endpoint_id: VpcEndpointId::from_bits(5),
            vpc_id: vpc.vpc_id,
            service_name: service.to_owned(),
            kind: VpcEndpointKind::Gateway {
                route_table_ids: vec![table.clone()],
            },
            state: VpcEndpointState::Available,
            policy_document: String::new(),
            client_token: None,
            created_at: tx.now(),
            tags: Tags::new(),
        });
        let destination = RouteDestination::PrefixList(aws_service::prefix_list_id(service));
        let refusal = delete(&mut tx, &scope(), &table, &destination).unwrap_err();
        assert_eq!(refusal.code(), "InvalidParameterValue");
        let route = Route {
            destination,
            target: RouteTarget::InternetGateway(gateway),
        };
        let again = create(&mut tx, &scope(), &table, route.clone()).unwrap_err();
        assert_eq!(again.code(), "RouteAlreadyExists");
        assert!(replace(&mut tx, &scope(), &table, route).is_err());
    }

    #[test]
    fn only_a_local_route_goes_back_to_local() {
        let Stage { tx, vpc, table, .. } = stage();
        let local = RouteDestination::Block(vpc.cidr_block.into());
        reset_local(&tx, &scope(), &table, &local).unwrap();
        assert!(reset_local(&tx, &scope(), &table, &anywhere()).is_err());
    }
}
