//! The internet gateway: 1:1 translation between private and public addresses (fact IGW-2).
//!
//! <https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Internet_Gateway.html>

use super::Region;
use crate::names;
use crate::program::{Action, Direction, Hook, Match, Namespace, Rule, Set, Table};

/// The pair to the edge and the next hop behind it.
pub(super) fn link(router: &mut Namespace, region: &Region<'_>) {
    router.veths.insert(
        names::GATEWAY_DEVICE.to_owned(),
        super::vpc::gateway_veth(region),
    );
    let hop = (names::GATEWAY_DEVICE.to_owned(), names::EDGE_HOP);
    router.neighbours.insert(hop, names::EDGE_MAC);
    for (private_ip, public_ip) in &region.public {
        router
            .connections
            .insert(*public_ip, private_ip.to_string());
    }
}

/// Inbound before routing, outbound after it: in between, packets carry private addresses, which
/// is what network ACLs and security groups see.
pub(super) fn translate(table: &mut Table, region: &Region<'_>) {
    let public: Vec<_> = region
        .public
        .iter()
        .filter(|(_, public)| super::routable(region.config, **public))
        .map(|(private, public)| (*private, *public))
        .collect();
    let outward = Set::Translations(public.iter().copied().collect());
    let inward = Set::Translations(public.iter().map(|(a, b)| (*b, *a)).collect());
    table.sets.insert("public_out".to_owned(), outward);
    table.sets.insert("public_in".to_owned(), inward);
    let mapped = Set::Addresses(public.iter().map(|(private, _)| *private).collect());
    table.sets.insert("public".to_owned(), mapped);
    let gateway = |direction| Match::Device {
        direction,
        name: names::GATEWAY_DEVICE.to_owned(),
        equal: true,
    };
    let inbound = Rule::new(
        [gateway(Direction::In)],
        Action::DestinationNat("public_in".to_owned()),
    );
    let outbound = Rule::new(
        [gateway(Direction::Out)],
        Action::SourceNat("public_out".to_owned()),
    );
    table.chains.insert(
        "prerouting".to_owned(),
        super::firewall::nat(Hook::Prerouting, vec![inbound]),
    );
    table.chains.insert(
        "postrouting".to_owned(),
        super::firewall::nat(Hook::Postrouting, vec![outbound]),
    );
}
