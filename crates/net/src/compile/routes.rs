//! Per-subnet route tables (facts RTB-1 to RTB-7) as policy routing in the VPC's namespace.
//!
//! <https://docs.aws.amazon.com/vpc/latest/userguide/RouteTables.html>
//!
//! Order: routes more specific than local (whole subnets through an appliance), then the local
//! table with one /32 per interface and a blackhole for the rest of the VPC, then the subnet's
//! other routes; what no route takes is dropped silently, as AWS does. Packets from an interface
//! without source check carry foreign sources, so their rules go by device, and come first.

use super::Region;
use crate::names;
use crate::program::{Namespace, Route, RouteKey, RoutingRule, RuleAction, TableId};
use fogbank_types::Ipv4Cidr;
use fogbank_types::ec2::{Eni, NatGatewayState, RouteTable, RouteTarget, Subnet};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

const LOCAL: TableId = 100;
/// Tables of a subnet's routes carry the route table's hash, so that their numbers never change.
const OUTER: TableId = 0x4000_0000;
const SPECIFIC: TableId = 0x8000_0000;
const NUMBER_MASK: u32 = 0x3fff_ffff;

const BY_DEVICE: u32 = 40;
const BY_SUBNET_SPECIFIC: u32 = 50;
const BY_LOCAL: u32 = 100;
const BY_SUBNET: u32 = 200;
const REST: u32 = 30_000;

pub(super) fn add(router: &mut Namespace, region: &Region<'_>) {
    for block in region.vpc.blocks() {
        router.routes.insert(key(LOCAL, block), Route::Blackhole);
    }
    for eni in region.local() {
        let device = names::eni_device(&eni.eni_id);
        for address in eni.addresses() {
            let to = Route::Device(device.clone());
            router
                .routes
                .insert(key(LOCAL, Ipv4Cidr::host(address)), to);
        }
    }
    lookup(router, BY_LOCAL, None, None, LOCAL);
    router.rules.insert(RoutingRule {
        priority: REST,
        from: None,
        device: None,
        action: RuleAction::Blackhole,
    });
    let numbers = numbers(region);
    let mut tables_done = BTreeSet::new();
    for subnet in &region.subnets {
        let Some(table) = table_of(region, subnet) else {
            continue;
        };
        let number = numbers[table.route_table_id.as_str()];
        if tables_done.insert(number) {
            add_table(router, region, table, number);
        }
        let from = Some(subnet.cidr_block);
        lookup(router, BY_SUBNET, from, None, OUTER | number);
        if has_specific(region, table) {
            let table = SPECIFIC | number;
            lookup(router, BY_SUBNET_SPECIFIC, from, None, table);
        }
    }
    for eni in region.local().filter(|eni| !eni.source_dest_check) {
        add_device_rules(router, region, eni, &numbers);
    }
}

fn key(table: TableId, destination: Ipv4Cidr) -> RouteKey {
    RouteKey {
        table,
        destination,
        metric: 0,
    }
}

fn lookup(
    router: &mut Namespace,
    priority: u32,
    from: Option<Ipv4Cidr>,
    device: Option<String>,
    table: TableId,
) {
    router.rules.insert(RoutingRule {
        priority,
        from,
        device,
        action: RuleAction::Lookup(table),
    });
}

/// A complete walk of its own, so that a foreign source never falls into another subnet's table.
fn add_device_rules(
    router: &mut Namespace,
    region: &Region<'_>,
    eni: &Eni,
    numbers: &BTreeMap<&str, u32>,
) {
    let device = Some(names::eni_device(&eni.eni_id));
    lookup(router, BY_DEVICE + 1, None, device.clone(), LOCAL);
    router.rules.insert(RoutingRule {
        priority: BY_DEVICE + 3,
        from: None,
        device: device.clone(),
        action: RuleAction::Blackhole,
    });
    let table = region
        .subnet_of(eni)
        .and_then(|subnet| table_of(region, subnet));
    if let Some(table) = table {
        let number = numbers[table.route_table_id.as_str()];
        if has_specific(region, table) {
            lookup(router, BY_DEVICE, None, device.clone(), SPECIFIC | number);
        }
        lookup(router, BY_DEVICE + 2, None, device, OUTER | number);
    }
}

/// The table in effect: the subnet's own, or the main one (fact SUB-9).
fn table_of<'a>(region: &Region<'a>, subnet: &Subnet) -> Option<&'a RouteTable> {
    let own = |table: &&&RouteTable| {
        table
            .associations
            .iter()
            .any(|a| a.subnet_id.as_ref() == Some(&subnet.subnet_id))
    };
    let tables = &region.route_tables;
    tables
        .iter()
        .find(own)
        .or_else(|| tables.iter().find(|table| table.is_main()))
        .copied()
}

/// A number for each route table: its hash, moved on past others in the order of ids.
fn numbers<'a>(region: &Region<'a>) -> BTreeMap<&'a str, u32> {
    let mut ids: Vec<&str> = region
        .route_tables
        .iter()
        .map(|table| table.route_table_id.as_str())
        .collect();
    ids.sort_unstable();
    let mut taken = BTreeSet::new();
    ids.into_iter()
        .map(|id| {
            let mut number = super::groups::hash(&[id]) as u32 & NUMBER_MASK;
            while !taken.insert(number) {
                number = number.wrapping_add(1) & NUMBER_MASK;
            }
            (id, number)
        })
        .collect()
}

fn is_specific(region: &Region<'_>, destination: Ipv4Cidr) -> bool {
    region.vpc.blocks().any(|block| block.covers(destination))
}

fn has_specific(region: &Region<'_>, table: &RouteTable) -> bool {
    table
        .routes
        .iter()
        .any(|route| is_specific(region, route.destination))
}

fn add_table(router: &mut Namespace, region: &Region<'_>, table: &RouteTable, number: u32) {
    for route in &table.routes {
        let destination = route.destination;
        // The local route itself cannot be replaced (fact RTB-1).
        if region.vpc.blocks().any(|block| block == destination) {
            continue;
        }
        let table = if is_specific(region, destination) {
            SPECIFIC
        } else {
            OUTER
        };
        let to = next_hop(region, &route.target);
        router.routes.insert(key(table | number, destination), to);
    }
}

/// A target that is gone, detached or not on this host drops what matches (fact RTB-6).
fn next_hop(region: &Region<'_>, target: &RouteTarget) -> Route {
    let via = |gateway: Ipv4Addr, device: String| Route::Via {
        gateway,
        device,
        source: None,
    };
    let through = |eni: &Eni| via(eni.private_ip, names::eni_device(&eni.eni_id));
    let local = |id| region.local().find(|eni| eni.eni_id == id);
    match target {
        RouteTarget::InternetGateway(id) => {
            let attached = region
                .snapshot
                .internet_gateways
                .get(&region.vpc.scope, id)
                .is_some_and(|g| g.attached_vpc.as_ref() == Some(&region.vpc.vpc_id));
            if attached {
                via(names::EDGE_HOP, names::GATEWAY_DEVICE.to_owned())
            } else {
                Route::Blackhole
            }
        }
        RouteTarget::NatGateway(id) => region
            .snapshot
            .nat_gateways
            .get(&region.vpc.scope, id)
            .filter(|gateway| gateway.state == NatGatewayState::Available)
            .filter(|gateway| gateway.vpc_id == region.vpc.vpc_id)
            .and_then(|gateway| gateway.eni_id.clone())
            .and_then(local)
            .map_or(Route::Blackhole, through),
        RouteTarget::NetworkInterface(id) => local(id.clone()).map_or(Route::Blackhole, through),
    }
}
