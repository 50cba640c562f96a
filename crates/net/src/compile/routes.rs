//! Per-subnet route tables (facts RTB-1 to RTB-7) as policy routing in the VPC's namespace.
//!
//! <https://docs.aws.amazon.com/vpc/latest/userguide/RouteTables.html>
//!
//! Order, a family: routes more specific than local (whole subnets through an appliance), then the
//! local table with a route per address and a blackhole for the rest of the VPC, then the subnet's
//! other routes; what no route takes is dropped silently, as AWS does. Packets from an interface
//! without source check carry foreign sources, so their rules go by device, and come earlier.
//! First of all come the links to elsewhere: what they bring goes to local interfaces only.

use super::Region;
use crate::names;
use crate::program::{
    Family, Namespace, Program, Route, RouteKey, RoutingRule, RuleAction, TableId,
};
use fogbank_types::IpCidr;
use fogbank_types::ec2::{Eni, NatGatewayState, RouteDestination, RouteTable, RouteTarget, Subnet};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

const LOCAL: TableId = 100;
/// Tables of a subnet's routes carry the route table's hash, so that their numbers never change.
const OUTER: TableId = 0x4000_0000;
const SPECIFIC: TableId = 0x8000_0000;
const NUMBERS: u32 = 0x4000_0000;

const BY_LINK: u32 = 30;
const BY_DEVICE: u32 = 40;
const BY_SUBNET_SPECIFIC: u32 = 50;
const BY_LOCAL: u32 = 100;
const BY_SUBNET: u32 = 200;
const REST: u32 = 30_000;

/// What a route table says of a family: its routes by destination, without the local ones.
pub(super) type Resolved = BTreeMap<IpCidr, RouteTarget>;

/// A route table's number and its routes.
struct Tables<'a>(BTreeMap<&'a str, (u32, Resolved)>);

pub(super) fn add(
    program: &mut Program,
    router: &mut Namespace,
    region: &Region<'_>,
    family: Family,
) {
    let rules = Rules { family };
    add_local(router, region, family);
    rules.lookup(router, BY_LOCAL, None, None, LOCAL);
    rules.blackhole(router, REST, None);
    for device in region.link_devices(family) {
        rules.lookup(router, BY_LINK, None, Some(device.clone()), LOCAL);
        rules.blackhole(router, BY_LINK + 1, Some(device));
    }
    let tables = tables(program, region, family);
    let mut done = BTreeSet::new();
    for subnet in region.subnets.values() {
        let Some(table) = table_of(region, subnet) else {
            continue;
        };
        let (number, routes) = &tables.0[table.route_table_id.as_str()];
        if done.insert(*number) {
            add_table(router, region, *number, routes);
        }
        let Some(from) = region.subnet_block(subnet, family) else {
            continue;
        };
        rules.lookup(router, BY_SUBNET, Some(from), None, OUTER | number);
        if has_specific(region, routes) {
            let table = SPECIFIC | number;
            rules.lookup(router, BY_SUBNET_SPECIFIC, Some(from), None, table);
        }
    }
    for eni in region.local.iter().filter(|eni| !eni.source_dest_check) {
        rules.add_device(router, region, eni, &tables);
    }
}

/// Blocks that no router passes on, wherever a route would lead: "this network", loopback,
/// link-local (the platform's addresses are the router's own), multicast, reserved.
fn never_forwarded(family: Family) -> impl Iterator<Item = IpCidr> {
    let blocks: &[&str] = match family {
        Family::V4 => &["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"],
        Family::V6 => &["fd00:ec2::/32", "fe80::/10", "ff00::/8"],
    };
    blocks.iter().map(|block| block.parse().expect("a literal"))
}

/// The table of local routes: each address to its interface, the rest of the VPC to nobody.
fn add_local(router: &mut Namespace, region: &Region<'_>, family: Family) {
    for block in region.blocks(family).chain(never_forwarded(family)) {
        router.routes.insert(key(LOCAL, block), Route::Blackhole);
    }
    for eni in &region.local {
        let device = names::eni_device(&eni.eni_id);
        for address in region.addresses(eni, family) {
            let to = Route::Device(device.clone());
            router.routes.insert(key(LOCAL, IpCidr::host(address)), to);
        }
    }
}

fn key(table: TableId, destination: IpCidr) -> RouteKey {
    RouteKey {
        table,
        destination,
        metric: 0,
    }
}

/// Makes the routing rules of one family.
struct Rules {
    family: Family,
}

impl Rules {
    fn lookup(
        &self,
        router: &mut Namespace,
        priority: u32,
        from: Option<IpCidr>,
        device: Option<String>,
        table: TableId,
    ) {
        router.rules.insert(RoutingRule {
            family: self.family,
            priority,
            from,
            device,
            action: RuleAction::Lookup(table),
        });
    }

    fn blackhole(&self, router: &mut Namespace, priority: u32, device: Option<String>) {
        router.rules.insert(RoutingRule {
            family: self.family,
            priority,
            from: None,
            device,
            action: RuleAction::Blackhole,
        });
    }

    /// A complete walk of its own, so that a foreign source never falls into another subnet's table.
    fn add_device(
        &self,
        router: &mut Namespace,
        region: &Region<'_>,
        eni: &Eni,
        tables: &Tables<'_>,
    ) {
        let device = Some(names::eni_device(&eni.eni_id));
        self.lookup(router, BY_DEVICE + 1, None, device.clone(), LOCAL);
        self.blackhole(router, BY_DEVICE + 3, device.clone());
        let table = region
            .subnet_of(eni)
            .and_then(|subnet| table_of(region, subnet));
        if let Some(table) = table {
            let (number, routes) = &tables.0[table.route_table_id.as_str()];
            if has_specific(region, routes) {
                self.lookup(router, BY_DEVICE, None, device.clone(), SPECIFIC | number);
            }
            self.lookup(router, BY_DEVICE + 2, None, device, OUTER | number);
        }
    }
}

/// The table in effect: the subnet's own, or the main one (fact SUB-9).
pub(super) fn table_of<'a>(region: &Region<'a>, subnet: &Subnet) -> Option<&'a RouteTable> {
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

fn tables<'a>(program: &mut Program, region: &Region<'a>, family: Family) -> Tables<'a> {
    let ids = region.route_tables.iter();
    let ids = ids.map(|table| table.route_table_id.as_str());
    let numbers: BTreeMap<&str, u32> = super::numbers(ids, NUMBERS).into_iter().collect();
    let tables = region.route_tables.iter().map(|table| {
        for route in &table.routes {
            if let RouteDestination::PrefixList(id) = &route.destination
                && prefixes(region, &route.destination).is_none()
            {
                let reason = format!("prefix list {id} of a route is unknown");
                program.alarm(&table.route_table_id, reason);
            }
        }
        let id = table.route_table_id.as_str();
        (id, (numbers[id], resolved(region, table, family)))
    });
    Tables(tables.collect())
}

fn prefixes(region: &Region<'_>, destination: &RouteDestination) -> Option<Vec<IpCidr>> {
    match destination {
        RouteDestination::Block(block) => Some(vec![*block]),
        RouteDestination::PrefixList(id) => {
            region
                .snapshot
                .prefix_list(&region.vpc.scope, id, region.config)
        }
    }
}

/// One route a destination: of equal prefixes the local one goes first, then the static one, then
/// that of the first prefix list (fact RTB-2).
pub(super) fn resolved(region: &Region<'_>, table: &RouteTable, family: Family) -> Resolved {
    let routes = region.snapshot.routes_of(table);
    let (fixed, listed): (Vec<_>, Vec<_>) = routes
        .into_iter()
        .partition(|route| route.destination.block().is_some());
    let mut resolved = Resolved::new();
    for route in fixed.into_iter().chain(listed) {
        for block in prefixes(region, &route.destination).unwrap_or_default() {
            let is_local = region.blocks(family).any(|own| own == block);
            if Family::of_block(block) == family && !is_local {
                resolved
                    .entry(block)
                    .or_insert_with(|| route.target.clone());
            }
        }
    }
    resolved
}

fn is_specific(region: &Region<'_>, destination: IpCidr) -> bool {
    region
        .vpc
        .all_blocks()
        .any(|block| block.covers(destination))
}

fn has_specific(region: &Region<'_>, routes: &Resolved) -> bool {
    routes.keys().any(|block| is_specific(region, *block))
}

fn add_table(router: &mut Namespace, region: &Region<'_>, number: u32, routes: &Resolved) {
    for (destination, target) in routes {
        let table = if is_specific(region, *destination) {
            SPECIFIC
        } else {
            OUTER
        };
        let to = next_hop(router, region, *destination, target);
        router.routes.insert(key(table | number, *destination), to);
    }
}

/// A target that is gone, detached or not on this host drops what matches (fact RTB-6).
fn next_hop(
    router: &mut Namespace,
    region: &Region<'_>,
    destination: IpCidr,
    target: &RouteTarget,
) -> Route {
    let family = Family::of_block(destination);
    live_hop(router, region, destination, target).map_or(Route::Blackhole, |(gateway, device)| {
        debug_assert_eq!(Family::of(gateway), family);
        Route::Via {
            gateway,
            device,
            source: None,
        }
    })
}

fn live_hop(
    router: &mut Namespace,
    region: &Region<'_>,
    destination: IpCidr,
    target: &RouteTarget,
) -> Option<(IpAddr, String)> {
    let family = Family::of_block(destination);
    let gateway = || Some((names::edge_hop(family), names::GATEWAY_DEVICE.to_owned()));
    let (snapshot, vpc) = (region.snapshot, region.vpc);
    let local = |id| region.local.iter().find(|eni| eni.eni_id == id);
    match target {
        RouteTarget::InternetGateway(id) => {
            let row = snapshot.internet_gateways.get(&vpc.scope, id)?;
            (row.attached_vpc.as_ref() == Some(&vpc.vpc_id)).then(gateway)?
        }
        RouteTarget::EgressOnlyInternetGateway(id) => {
            let row = snapshot.egress_only_gateways.get(&vpc.scope, id)?;
            (row.vpc_id == vpc.vpc_id && family == Family::V6).then(gateway)?
        }
        RouteTarget::NatGateway(id) => {
            let row = snapshot.nat_gateways.get(&vpc.scope, id)?;
            let is_usable = row.state == NatGatewayState::Available && row.vpc_id == vpc.vpc_id;
            let eni = local(row.eni_id.clone()?)?;
            (is_usable && family == Family::V4)
                .then(|| (eni.private_ip.into(), names::eni_device(&eni.eni_id)))
        }
        RouteTarget::NetworkInterface(id) => {
            let eni = local(id.clone())?;
            let device = names::eni_device(&eni.eni_id);
            if family == Family::V4 {
                return Some((eni.private_ip.into(), device));
            }
            let hop = IpAddr::from(names::ENI_HOP_V6);
            router.neighbours.insert((device.clone(), hop), eni.mac);
            Some((hop, device))
        }
        RouteTarget::VpcPeeringConnection(id) => {
            let peers = &mut region.peers.iter();
            let peer = peers.find(|peer| peer.peering.peering_id == *id)?;
            let has_family = super::region::blocks(peer.vpc, family).next().is_some();
            has_family.then(|| (names::peer_hop(family), names::peering_device(id)))
        }
        RouteTarget::VpcEndpoint(id) => {
            let row = snapshot.vpc_endpoints.get(&vpc.scope, id)?;
            let services = super::endpoint::services(region.config, family);
            let leads_there =
                destination.length() == family.bits() && services.contains(&destination.base());
            (row.vpc_id == vpc.vpc_id && leads_there && region.endpoint_number.is_some())
                .then(|| (names::edge_hop(family), names::ENDPOINT_DEVICE.to_owned()))
        }
    }
}
