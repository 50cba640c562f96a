//! Peering connections: a link between two VPCs' namespaces (fact PEER-1).
//!
//! <https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-basics.html>
//!
//! What comes from the peer has a source in the peer's blocks and goes to interfaces of this VPC
//! only: it is routed by the local table alone, so that neither a third VPC nor a gateway or
//! endpoint of this one is reached through it.

use super::Region;
use super::firewall::{accept, drop_rest};
use super::region::{Peer, blocks};
use crate::names;
use crate::program::{
    Action, Chain, Direction, End, Match, Namespace, Rule, Set, Table, Verdict, Veth,
};
use std::collections::BTreeMap;

/// The links to all peers. The requester's side makes the pair.
pub(super) fn link(router: &mut Namespace, region: &Region<'_>) {
    for peer in &region.peers {
        let device = names::peering_device(&peer.peering.peering_id);
        let other_mac = if peer.is_requester {
            let namespace = region.config.namespace(peer.vpc.vpc_id.tail());
            router.veths.insert(
                device.clone(),
                Veth {
                    mac: names::REQUESTER_MAC,
                    mtu: super::vpc::MTU,
                    peer: crate::program::Peer {
                        namespace: Some(namespace),
                        device: device.clone(),
                        mac: names::ACCEPTER_MAC,
                    },
                    proxy_arp: false,
                    delay_ms: 0,
                },
            );
            names::ACCEPTER_MAC
        } else {
            names::REQUESTER_MAC
        };
        for family in region.families() {
            let hop = (device.clone(), names::peer_hop(family));
            router.neighbours.insert(hop, other_mac);
        }
    }
}

/// Sources of each peer; the chain of the source gate jumps here.
pub(super) fn add_sources(table: &mut Table, region: &Region<'_>) -> Option<Rule> {
    if region.peers.is_empty() {
        return None;
    }
    let mut map = BTreeMap::new();
    for peer in &region.peers {
        let name = peer.peering.peering_id.to_string();
        let device = names::peering_device(&peer.peering.peering_id);
        map.insert(device, Verdict::Jump(name.clone()));
        let chain = source_chain(table, peer);
        table.chains.insert(name, chain);
    }
    table.sets.insert("peers".to_owned(), Set::Verdicts(map));
    let action = Action::VerdictOf {
        direction: Direction::In,
        map: "peers".to_owned(),
    };
    Some(Rule::new([], action))
}

fn source_chain(table: &Table, peer: &Peer<'_>) -> Chain {
    let mut rules: Vec<Rule> = blocks(peer.vpc, table.family)
        .map(|block| {
            let inside = Match::Block {
                end: End::Source,
                block,
                inside: true,
            };
            Rule::new([inside], accept())
        })
        .collect();
    rules.push(drop_rest());
    Chain { base: None, rules }
}
