//! Gateway endpoints: a link of its own from the VPC's router to AWS's services on the edge.
//!
//! <https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html>
//!
//! A route of the service's prefix list leads there, without a public address or an internet
//! gateway. The source is translated to one that only this link knows, so that replies find back;
//! nothing but services is reached, and services open no connection. (Interface endpoints are
//! interfaces like any other.)

use super::Region;
use super::firewall::{device, drop_action, drop_rest};
use crate::names;
use crate::program::{
    Action, Chain, Direction, End, Family, Match, Namespace, Peer, Rule, Set, Table, Verdict, Veth,
};
use fogbank_types::RegionConfig;
use fogbank_types::aws_service::AWS_SERVICES;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The chain that knows the VPC's own addresses.
const OWN_SOURCES: &str = "vpce-sources";

/// Where AWS's services answer, of one family.
pub(super) fn services(config: &RegionConfig, family: Family) -> BTreeSet<IpAddr> {
    AWS_SERVICES
        .iter()
        .map(|service| match family {
            Family::V4 => config.service_address(service).into(),
            Family::V6 => config.service_address_v6(service).into(),
        })
        .collect()
}

/// What the VPC's packets have as their source on the link.
pub(super) fn source(number: u16, family: Family) -> IpAddr {
    match family {
        Family::V4 => {
            Ipv4Addr::from_bits(names::ENDPOINT_SOURCES.to_bits() + u32::from(number)).into()
        }
        Family::V6 => {
            Ipv6Addr::from_bits(names::ENDPOINT_SOURCES_V6.to_bits() + u128::from(number)).into()
        }
    }
}

/// The VPC's side of the link.
pub(super) fn link(router: &mut Namespace, region: &Region<'_>) {
    if region.endpoint_number.is_none() {
        return;
    }
    router.veths.insert(
        names::ENDPOINT_DEVICE.to_owned(),
        Veth {
            mac: names::ENDPOINT_MAC,
            mtu: super::vpc::GATEWAY_MTU,
            peer: Peer {
                namespace: Some(names::edge_namespace(region.config)),
                device: names::service_device(&region.vpc.vpc_id),
                mac: names::SERVICE_MAC,
            },
            proxy_arp: false,
            delay_ms: 0,
        },
    );
    for family in region.families() {
        let hop = (names::ENDPOINT_DEVICE.to_owned(), names::edge_hop(family));
        router.neighbours.insert(hop, names::SERVICE_MAC);
    }
}

/// For the gate of destinations: only services are behind the link, and only for the VPC's own
/// addresses.
pub(super) fn gate(table: &mut Table, region: &Region<'_>) -> Vec<Rule> {
    if region.endpoint_number.is_none() {
        return Vec::new();
    }
    let services = Set::Addresses(services(region.config, table.family));
    table.sets.insert("services".to_owned(), services);
    let mut sources: Vec<Rule> = region
        .blocks(table.family)
        .map(|block| {
            let own = Match::Block {
                end: End::Source,
                block,
                inside: true,
            };
            Rule::new([own], Action::Do(Verdict::Return))
        })
        .collect();
    sources.push(drop_rest());
    let chain = Chain {
        base: None,
        rules: sources,
    };
    table.chains.insert(OWN_SOURCES.to_owned(), chain);
    let elsewhere = Match::AddressIn {
        end: End::Destination,
        set: "services".to_owned(),
        member: false,
    };
    let outward = device(Direction::Out, names::ENDPOINT_DEVICE);
    vec![
        Rule::new([outward.clone(), elsewhere], drop_action()),
        Rule::new([outward], Action::Do(Verdict::Jump(OWN_SOURCES.to_owned()))),
    ]
}

/// What translates the sources, for the chain after routing.
pub(super) fn translation(region: &Region<'_>, family: Family) -> Option<Rule> {
    let source = source(region.endpoint_number?, family);
    let outward = device(Direction::Out, names::ENDPOINT_DEVICE);
    Some(Rule::new([outward], Action::SourceNatTo(source)))
}
