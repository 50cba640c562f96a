//! Names and addresses of kernel objects, in one place so that every process of a region finds them.
//!
//! The kernel allows 15 bytes for a device; ids have 17 digits, so devices carry the last 13.

use fogbank_types::{EniId, MacAddr, RegionConfig, VpcId};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Where `ip netns` looks.
pub const NAMESPACES_DIR: &str = "/run/netns";

/// Device of an interface inside its own namespace.
pub const ENI_DEVICE: &str = "eth0";
/// Device of a VPC's namespace towards the edge.
pub const GATEWAY_DEVICE: &str = "igw";
/// Device of the edge's namespace towards the host.
pub const UPLINK_DEVICE: &str = "host";
/// Table of a namespace that is ours.
pub const TABLE: &str = "fogbank";
/// The table that keeps IPv6 out until it is built.
pub const TABLE_V6: &str = "fogbank6";

/// Router's side of every ENI's pair: the same for all, as each pair is a link of its own.
pub const ROUTER_MAC: MacAddr = MacAddr([0x02, 0xf0, 0, 0, 0, 1]);
/// A VPC's end of its link to the edge.
pub const GATEWAY_MAC: MacAddr = MacAddr([0x02, 0xf0, 0, 0, 0, 2]);
/// The edge's end of a link to a VPC.
pub const EDGE_MAC: MacAddr = MacAddr([0x02, 0xf0, 0, 0, 0, 3]);
/// The edge's end of its link to the host, and the host's.
pub const UPLINK_MAC: MacAddr = MacAddr([0x02, 0xf0, 0, 0, 0, 4]);
pub const HOST_MAC: MacAddr = MacAddr([0x02, 0xf0, 0, 0, 0, 5]);

/// Next hops on the links between edge and VPCs. They are never assigned to a device or seen on a
/// packet: each is only the key of a permanent neighbour.
pub const GATEWAY_HOP: Ipv4Addr = Ipv4Addr::new(169, 254, 255, 1);
pub const EDGE_HOP: Ipv4Addr = Ipv4Addr::new(169, 254, 255, 2);

/// Resolver, instance metadata and task endpoints (facts VPC-10, VPC-11).
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
pub const TASK_METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);

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

/// The firewall table in the host's namespace, only with `--internet host`.
pub fn host_table(config: &RegionConfig) -> String {
    format!("fogbank-{}", config.instance)
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

fn short(tail: &str) -> &str {
    &tail[tail.len().saturating_sub(13)..]
}
