//! Static routes of a table. <https://docs.aws.amazon.com/vpc/latest/userguide/route-table-options.html>

use super::{QUOTAS, Refusal, enis, nat_gateways, route_tables, vpcs};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::*;
use std::net::Ipv4Addr;

pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    table_id: &RouteTableId,
    route: Route,
) -> Result<(), Refusal> {
    let table = route_tables::get(tx.snapshot(), scope, table_id)?.clone();
    let vpc = vpcs::get(tx.snapshot(), scope, &table.vpc_id)?;
    let destination = route.destination;
    if vpc.blocks().any(|block| block == destination) || position(&table, destination).is_some() {
        return Err(Refusal::RouteExists {
            destination: destination.to_string(),
        });
    }
    check(tx.snapshot(), &table, &route)?;
    if table.routes.len() >= QUOTAS.routes_per_table {
        return Err(Refusal::RouteLimit {
            route_table_id: table_id.to_string(),
        });
    }
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
    if vpc.blocks().any(|block| block == route.destination) {
        return Err(Refusal::NotOffered {
            what: "Replacing the target of a local route",
        });
    }
    let at =
        position(&table, route.destination).ok_or_else(|| absent(table_id, route.destination))?;
    check(tx.snapshot(), &table, &route)?;
    tx.update::<RouteTable>(scope, table_id, |table| {
        table.routes[at].target = route.target
    });
    Ok(())
}

pub fn delete(
    tx: &mut Tx,
    scope: &Scope,
    table_id: &RouteTableId,
    destination: Ipv4Cidr,
) -> Result<(), Refusal> {
    let table = route_tables::get(tx.snapshot(), scope, table_id)?;
    let vpc = vpcs::get(tx.snapshot(), scope, &table.vpc_id)?;
    if vpc.blocks().any(|block| block == destination) {
        let (destination, route_table_id) = (destination.to_string(), table_id.to_string());
        return Err(Refusal::LocalRoute {
            destination,
            route_table_id,
        });
    }
    let at = position(table, destination).ok_or_else(|| absent(table_id, destination))?;
    tx.update::<RouteTable>(scope, table_id, |table| {
        table.routes.remove(at);
    });
    Ok(())
}

fn position(table: &RouteTable, destination: Ipv4Cidr) -> Option<usize> {
    table
        .routes
        .iter()
        .position(|route| route.destination == destination)
}

/// The refusal for a route that is not in the table.
pub fn absent(table_id: &RouteTableId, destination: impl ToString) -> Refusal {
    Refusal::RouteNotFound {
        destination: destination.to_string(),
        route_table_id: table_id.to_string(),
    }
}

/// Whether table and route fit (facts RTB-3, RTB-5).
fn check(snapshot: &Snapshot, table: &RouteTable, route: &Route) -> Result<(), Refusal> {
    let reserved =
        Ipv4Cidr::containing(Ipv4Addr::new(169, 254, 168, 0), 22).expect("22 is a prefix length");
    if reserved.covers(route.destination) {
        let why =
            "Routes to addresses within 169.254.168.0/22 are reserved for use by AWS services.";
        return Err(Refusal::parameter(
            "destinationCidrBlock",
            route.destination,
            why,
        ));
    }
    let vpc = vpcs::get(snapshot, &table.scope, &table.vpc_id)?;
    if vpc.blocks().any(|block| block.covers(route.destination)) {
        let whole_subnet = snapshot
            .subnets
            .in_scope(&table.scope)
            .any(|subnet| subnet.vpc_id == table.vpc_id && subnet.cidr_block == route.destination);
        if !whole_subnet || matches!(route.target, RouteTarget::InternetGateway(_)) {
            return Err(Refusal::value(format!(
                "The destination CIDR block {} is equal to or more specific than one of this VPC's CIDR blocks. \
                 This route can target only a NAT gateway or an interface, and must match a subnet's CIDR block.",
                route.destination
            )));
        }
    }
    check_target(snapshot, table, &route.target)
}

fn check_target(
    snapshot: &Snapshot,
    table: &RouteTable,
    target: &RouteTarget,
) -> Result<(), Refusal> {
    let scope = &table.scope;
    let (vpc_id, name) = match target {
        RouteTarget::InternetGateway(id) => {
            let gateway = snapshot
                .internet_gateways
                .get(scope, id)
                .ok_or_else(|| Refusal::UnknownGateway { id: id.to_string() })?;
            (
                gateway.attached_vpc.as_ref(),
                format!("network gateway {id}"),
            )
        }
        RouteTarget::NatGateway(id) => {
            let is_good =
                |state| matches!(state, NatGatewayState::Pending | NatGatewayState::Available);
            let gateway = nat_gateways::get(snapshot, scope, id)
                .ok()
                .filter(|gateway| is_good(gateway.state))
                .ok_or_else(|| Refusal::RouteNatGateway { id: id.to_string() })?;
            (Some(&gateway.vpc_id), format!("NAT gateway {id}"))
        }
        RouteTarget::NetworkInterface(id) => (
            Some(&enis::get(snapshot, scope, id)?.vpc_id),
            format!("interface {id}"),
        ),
    };
    if vpc_id != Some(&table.vpc_id) {
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
            destination: destination.parse().unwrap(),
            target,
        }
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
        delete(&mut tx, &scope(), &table, Ipv4Cidr::ANY).unwrap();
        assert_eq!(
            delete(&mut tx, &scope(), &table, Ipv4Cidr::ANY)
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
        let refusal = delete(&mut tx, &scope(), &table, vpc.cidr_block).unwrap_err();
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
        for n in 0..QUOTAS.routes_per_table {
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
}
