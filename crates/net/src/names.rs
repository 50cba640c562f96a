//! Names and addresses of kernel objects, in one place so that every process of a region finds them.
//!
//! The kernel allows 15 bytes for a device; ids have 17 digits, so devices carry the last 13.

use crate::program::Family;
use fogbank_types::{EniId, MacAddr, RegionConfig, VpcId, VpcPeeringConnectionId};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

/// Where `ip netns` looks.
pub const NAMESPACES_DIR: &str = "/run/netns";

/// Device of an interface inside its own namespace.
pub const ENI_DEVICE: &str = "eth0";
/// Device of a VPC's namespace towards the edge.
pub const GATEWAY_DEVICE: &str = "igw";
/// Device of a VPC's namespace towards AWS's services, for its gateway endpoints.
pub const ENDPOINT_DEVICE: &str = "vpce";
/// Device of the edge's namespace towards the host.
pub const UPLINK_DEVICE: &str = "host";
/// Tables of a namespace that is ours, a family each.
pub const TABLE: &str = "fogbank";
pub const TABLE_V6: &str = "fogbank6";
/// The group of netlink's log under which rejected packets are told to the flow logs.
pub const FLOW_LOG_GROUP: u16 = 4566;

/// Router's side of every ENI's pair: the same for all, as each pair is a link of its own.
pub const ROUTER_MAC: MacAddr = MacAddr([0x02, 0xf0, 0, 0, 0, 1]);
/// A VPC's end of its link to the edge.
pub const GATEWAY_MAC: MacAddr = MacAddr([0x02, 0xf0, 0, 0, 0, 2]);
/// The edge's end of a link to a VPC.
pub const EDGE_MAC: MacAddr = MacAddr([0x02, 0xf0, 0, 0, 0, 3]);
/// The edge's end of its link to the host, and the host's.
pub const UPLINK_MAC: MacAddr = MacAddr([0x02, 0xf0, 0, 0, 0, 4]);
pub const HOST_MAC: MacAddr = MacAddr([0x02, 0xf0, 0, 0, 0, 5]);

/// A VPC's end of its link for gateway endpoints, and the edge's.
pub const ENDPOINT_MAC: MacAddr = MacAddr([0x02, 0xf0, 0, 0, 0, 6]);
pub const SERVICE_MAC: MacAddr = MacAddr([0x02, 0xf0, 0, 0, 0, 7]);
/// The requester's end of a peering connection, and the accepter's.
pub const REQUESTER_MAC: MacAddr = MacAddr([0x02, 0xf0, 0, 0, 0, 8]);
pub const ACCEPTER_MAC: MacAddr = MacAddr([0x02, 0xf0, 0, 0, 0, 9]);

/// Next hops on the links between routers: the VPC's end of a link to the edge, the edge's end, a
/// peer's end. They are never assigned to a device or seen on a packet: each is only the key of a
/// permanent neighbour.
pub const GATEWAY_HOP: Ipv4Addr = Ipv4Addr::new(169, 254, 255, 1);
pub const EDGE_HOP: Ipv4Addr = Ipv4Addr::new(169, 254, 255, 2);
pub const PEER_HOP: Ipv4Addr = Ipv4Addr::new(169, 254, 255, 3);
/// The same of IPv6. The router that every interface sees is the first, too.
pub const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
pub const EDGE_HOP_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
pub const PEER_HOP_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 3);
/// An interface, as the next hop of a route that has it as its target.
pub const ENI_HOP_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 4);

/// Sources of what comes through gateway endpoints are translated to these, one a VPC, so that
/// replies find back. They are known only to the links between VPCs and the edge.
pub const ENDPOINT_SOURCES: Ipv4Addr = Ipv4Addr::new(169, 254, 64, 0);
pub const ENDPOINT_SOURCES_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xf06, 0, 0, 0, 0, 0, 0);
/// How many of them there are.
pub const ENDPOINT_SOURCES_COUNT: u16 = 1 << 14;

/// Resolver, instance metadata and task endpoints (facts VPC-10, VPC-11).
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
pub const TASK_METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
/// The resolver's address of IPv6 (fact VPC-10).
pub const RESOLVER_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253);

/// Path of the namespace that holds an interface; a process joins it with `setns`.
pub fn eni_namespace(config: &RegionConfig, eni_id: &EniId) -> PathBuf {
    namespace_path(&config.namespace(eni_id.tail()))
}

/// Path of a VPC's namespace, where its resolver and metadata addresses are local.
pub fn vpc_namespace(config: &RegionConfig, vpc_id: &VpcId) -> PathBuf {
    namespace_path(&config.namespace(vpc_id.tail()))
}

/// Name of the namespace between the host and all VPCs.
pub fn edge_namespace(config: &RegionConfig) -> String {
    config.namespace("edge")
}

pub fn namespace_path(name: &str) -> PathBuf {
    Path::new(NAMESPACES_DIR).join(name)
}

/// The host's end of the link to the edge.
pub fn host_device(config: &RegionConfig) -> String {
    format!("fog-{}", config.instance)
}

/// The firewall tables in the host's namespace, only with `--internet host`: of either family its
/// guard and its translation.
pub fn host_tables(config: &RegionConfig) -> [[String; 2]; 2] {
    let name = |front: &str| format!("{front}-{}", config.instance);
    [
        [name("fogbank"), name("fogbank-nat")],
        [name("fogbank6"), name("fogbank6-nat")],
    ]
}

/// The pool's last four addresses are the link between host and edge: the edge has the second of
/// them and the host the third, which is the client address that load balancers see.
/// None of the four is ever given to a resource.
pub fn link_addresses(config: &RegionConfig) -> (Ipv4Addr, Ipv4Addr) {
    let last = config.public_cidr.last().to_bits();
    (
        Ipv4Addr::from_bits(last.wrapping_sub(2)),
        Ipv4Addr::from_bits(last.wrapping_sub(1)),
    )
}

/// The same of IPv6: the edge's and the host's.
pub fn link_addresses_v6(config: &RegionConfig) -> (Ipv6Addr, Ipv6Addr) {
    let last = config.public_cidr_v6.last().to_bits();
    (
        Ipv6Addr::from_bits(last.wrapping_sub(2)),
        Ipv6Addr::from_bits(last.wrapping_sub(1)),
    )
}

/// Whether the pool keeps this address for itself: the first, and the last four.
pub fn is_link_address(config: &RegionConfig, address: Ipv4Addr) -> bool {
    let last = config.public_cidr.last().to_bits();
    address == config.public_cidr.base() || last.wrapping_sub(address.to_bits()) < 4
}

/// The router's end of an interface's pair.
pub fn eni_device(eni_id: &EniId) -> String {
    format!("e-{}", short(eni_id.tail()))
}

/// The edge's end of a VPC's link.
pub fn vpc_device(vpc_id: &VpcId) -> String {
    format!("v-{}", short(vpc_id.tail()))
}

/// The edge's end of a VPC's link for gateway endpoints.
pub fn service_device(vpc_id: &VpcId) -> String {
    format!("s-{}", short(vpc_id.tail()))
}

/// Both ends of a peering connection's link.
pub fn peering_device(peering_id: &VpcPeeringConnectionId) -> String {
    format!("p-{}", short(peering_id.tail()))
}

/// The firewall table of a namespace for that family.
pub fn table(family: Family) -> &'static str {
    match family {
        Family::V4 => TABLE,
        Family::V6 => TABLE_V6,
    }
}

/// Next hop through a link to the edge, as the VPC sees it.
pub fn edge_hop(family: Family) -> IpAddr {
    match family {
        Family::V4 => EDGE_HOP.into(),
        Family::V6 => EDGE_HOP_V6.into(),
    }
}

/// Next hop through a link to a VPC, as the edge sees it.
pub fn gateway_hop(family: Family) -> IpAddr {
    match family {
        Family::V4 => GATEWAY_HOP.into(),
        Family::V6 => ROUTER_V6.into(),
    }
}

/// Next hop through a peering connection, from either side.
pub fn peer_hop(family: Family) -> IpAddr {
    match family {
        Family::V4 => PEER_HOP.into(),
        Family::V6 => PEER_HOP_V6.into(),
    }
}

fn short(tail: &str) -> &str {
    &tail[tail.len().saturating_sub(13)..]
}
