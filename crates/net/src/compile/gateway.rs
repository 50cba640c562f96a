//! Internet gateways and egress-only ones: the link to the edge.
//!
//! <https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Internet_Gateway.html>
//! <https://docs.aws.amazon.com/vpc/latest/userguide/egress-only-internet-gateway.html>
//!
//! IPv4 is translated 1:1 between private and public addresses (fact IGW-2); addresses of IPv6 are
//! public by themselves. Both kinds of gateway share the link: what tells them apart is who may
//! open a connection. A packet from outside that opens one is dropped if the way back from the
//! subnet it goes to is an egress-only gateway (fact IGW-6).

use super::firewall::{device, drop_action, nat};
use super::{Region, routes};
use crate::names;
use crate::program::{
    Action, Chain, Direction, End, Family, Hook, Match, Namespace, Peer, Rule, Set, Table, Verdict,
    Veth,
};
use fogbank_types::ec2::{RouteTable, RouteTarget};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// The pair to the edge and the next hop behind it.
pub(super) fn link(router: &mut Namespace, region: &Region<'_>) {
    if !region.has_edge_link() {
        return;
    }
    router.veths.insert(
        names::GATEWAY_DEVICE.to_owned(),
        Veth {
            mac: names::GATEWAY_MAC,
            mtu: super::vpc::GATEWAY_MTU,
            peer: Peer {
                namespace: Some(names::edge_namespace(region.config)),
                device: names::vpc_device(&region.vpc.vpc_id),
                mac: names::EDGE_MAC,
            },
            proxy_arp: false,
            delay_ms: 0,
        },
    );
    for family in region.families().filter(|f| region.has_gateway(*f)) {
        let hop = (names::GATEWAY_DEVICE.to_owned(), names::edge_hop(family));
        router.neighbours.insert(hop, names::EDGE_MAC);
    }
    for (private_ip, public_ip) in &region.public {
        router
            .connections
            .insert((*public_ip).into(), private_ip.to_string());
    }
}

/// Private and public addresses whose mapping the edge can route.
fn mappings<'r>(region: &'r Region<'_>) -> impl Iterator<Item = (Ipv4Addr, Ipv4Addr)> + use<'r> {
    region
        .public
        .iter()
        .filter(|(_, public)| super::routable(region.config, **public))
        .map(|(private, public)| (*private, *public))
}

/// Only addresses that are known outside use the gateway, in either direction, and at once when a
/// mapping goes (fact IGW-2). For the gate of destinations.
pub(super) fn gate(table: &mut Table, region: &Region<'_>) -> Vec<Rule> {
    if !region.has_gateway(table.family) {
        return Vec::new();
    }
    let public: BTreeSet<IpAddr> = match table.family {
        Family::V4 => mappings(region)
            .map(|(private, _)| private.into())
            .collect(),
        Family::V6 => {
            let local = region.local.iter();
            local
                .flat_map(|eni| region.addresses(eni, Family::V6))
                .collect()
        }
    };
    table
        .sets
        .insert("public".to_owned(), Set::Addresses(public));
    [
        (Direction::Out, End::Source),
        (Direction::In, End::Destination),
    ]
    .map(|(direction, end)| {
        let not_public = Match::AddressIn {
            end,
            set: "public".to_owned(),
            member: false,
        };
        let at_gateway = device(direction, names::GATEWAY_DEVICE);
        Rule::new([at_gateway, not_public], drop_action())
    })
    .into()
}

/// Inbound before routing, outbound after it: in between, packets carry private addresses, which
/// is what network ACLs and security groups see.
pub(super) fn translate(table: &mut Table, region: &Region<'_>) {
    let mut outward = Vec::new();
    if table.family == Family::V4 && region.internet_gateway {
        let pairs = || mappings(region).map(|(a, b)| (IpAddr::from(a), IpAddr::from(b)));
        let out = Set::Translations(pairs().collect());
        let into = Set::Translations(pairs().map(|(a, b)| (b, a)).collect());
        table.sets.insert("public_out".to_owned(), out);
        table.sets.insert("public_in".to_owned(), into);
        let inbound = Rule::new(
            [device(Direction::In, names::GATEWAY_DEVICE)],
            Action::DestinationNat("public_in".to_owned()),
        );
        outward.push(Rule::new(
            [device(Direction::Out, names::GATEWAY_DEVICE)],
            Action::SourceNat("public_out".to_owned()),
        ));
        let chain = nat(Hook::Prerouting, vec![inbound]);
        table.chains.insert("prerouting".to_owned(), chain);
    }
    outward.extend(super::endpoint::translation(region, table.family));
    if !outward.is_empty() {
        let chain = nat(Hook::Postrouting, outward);
        table.chains.insert("postrouting".to_owned(), chain);
    }
}

/// Who may open a connection from beyond the links to the edge: rules of the gate of entries,
/// behind one that lets known connections pass.
pub(super) fn entries(table: &mut Table, region: &Region<'_>) -> Vec<Rule> {
    let mut rules = Vec::new();
    if region.endpoint_number.is_some() {
        let from_services = device(Direction::In, names::ENDPOINT_DEVICE);
        rules.push(Rule::new([from_services], drop_action()));
    }
    if table.family != Family::V6 || !region.has_gateway(Family::V6) {
        return rules;
    }
    let from_gateway = device(Direction::In, names::GATEWAY_DEVICE);
    if !region.internet_gateway {
        rules.push(Rule::new([from_gateway], drop_action()));
        return rules;
    }
    for subnet in region.subnets.values() {
        let (Some(block), Some(routes)) = (
            region.subnet_block(subnet, Family::V6),
            routes::table_of(region, subnet),
        ) else {
            continue;
        };
        let Some(chain) = ways_back(region, routes) else {
            continue;
        };
        let name = format!("{}-back", routes.route_table_id);
        table.chains.insert(name.clone(), chain);
        let into_subnet = Match::Block {
            end: End::Destination,
            block,
            inside: true,
        };
        rules.push(Rule::new(
            [from_gateway.clone(), into_subnet],
            Action::Do(Verdict::Jump(name)),
        ));
    }
    rules
}

/// Drops what a route table would answer through an egress-only gateway; `None`: it never would.
fn ways_back(region: &Region<'_>, table: &RouteTable) -> Option<Chain> {
    let routes = routes::resolved(region, table, Family::V6);
    let egress_only = |target: &RouteTarget| {
        matches!(target, RouteTarget::EgressOnlyInternetGateway(_))
            && region.snapshot.target_is_alive(table, target)
    };
    if !routes.values().any(egress_only) {
        return None;
    }
    let mut routes: Vec<_> = routes.into_iter().collect();
    routes.sort_by_key(|(block, _)| (std::cmp::Reverse(block.length()), *block));
    let rules = routes.into_iter().map(|(block, target)| {
        let from = Match::Block {
            end: End::Source,
            block,
            inside: true,
        };
        let verdict = if egress_only(&target) {
            Verdict::Drop
        } else {
            Verdict::Return
        };
        Rule::new([from], Action::Do(verdict))
    });
    Some(Chain {
        base: None,
        rules: rules.collect(),
    })
}
