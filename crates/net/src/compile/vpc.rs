//! A VPC's namespace: the router that every interface of the VPC hangs on.

use super::Region;
use crate::names;
use crate::program::{Address, Namespace, Peer, Program, Role, Veth};
use fogbank_types::ec2::Eni;
use std::collections::BTreeMap;

/// Inside a VPC; 1500 through the internet gateway (fact VPC-18).
const MTU: u32 = 9001;
const GATEWAY_MTU: u32 = 1500;

pub(super) fn add(program: &mut Program, region: &Region<'_>) {
    let config = region.config;
    let name = config.namespace(region.vpc.vpc_id.tail());
    if program.namespaces.contains_key(&name) {
        program.alarm(&region.vpc.vpc_id, format!("namespace {name} is taken"));
        return;
    }
    let mut router = Namespace {
        role: Role::Vpc(region.vpc.vpc_id.clone()),
        sysctls: router_sysctls(),
        ..Namespace::default()
    };
    // Fact SG-13; the kernel's own default is 120 s.
    let stream_s = (config.scaled_ms(180_000) / 1000).max(1);
    router.sysctls.insert(
        "netfilter/nf_conntrack_udp_timeout_stream".to_owned(),
        stream_s.to_string(),
    );
    // "Too big" about a packet of a NAT gateway comes back through the gateway's namespace with our
    // own address as its source. The source gate, which is before routing, keeps forgeries out.
    router
        .sysctls
        .insert("ipv4/conf/all/accept_local".to_owned(), "1".to_owned());
    local_addresses(&mut router, region);
    if region.gateway_attached {
        super::gateway::link(&mut router, region);
    }
    for eni in region.local() {
        link(&mut router, region, eni);
    }
    super::routes::add(&mut router, region);
    let table = super::firewall::table(program, region);
    router.tables.insert(names::TABLE.to_owned(), table);
    router
        .tables
        .insert(names::TABLE_V6.to_owned(), super::firewall::closed_v6());
    program.namespaces.insert(name, router);
}

/// Settings of every namespace that forwards packets.
///
/// `proxy_arp` is switched on per device: it must never be on for a link to the edge. Sources are
/// checked by the firewall's bindings, not by `rp_filter`, which contradicts per-subnet routes.
pub(super) fn router_sysctls() -> BTreeMap<String, String> {
    [
        ("ipv4/conf/all/accept_redirects", "0"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/all/send_redirects", "0"),
        ("ipv4/conf/default/accept_redirects", "0"),
        ("ipv4/conf/default/accept_source_route", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
        ("ipv4/conf/default/send_redirects", "0"),
        ("ipv4/ip_forward", "1"),
        ("ipv6/conf/all/disable_ipv6", "1"),
        ("ipv6/conf/default/disable_ipv6", "1"),
    ]
    .map(|(path, value)| (path.to_owned(), value.to_owned()))
    .into()
}

/// The router of each subnet, the resolver and the endpoints are addresses of the router itself.
fn local_addresses(router: &mut Namespace, region: &Region<'_>) {
    let platform = [
        names::RESOLVER,
        names::METADATA,
        names::TASK_METADATA,
        region.vpc.resolver(),
    ];
    let routers = region.subnets.iter().map(|subnet| subnet.router());
    for address in platform.into_iter().chain(routers) {
        router.addresses.insert(Address {
            device: "lo".to_owned(),
            address,
            length: 32,
        });
    }
}

/// An interface's pair and its neighbour entry.
fn link(router: &mut Namespace, region: &Region<'_>, eni: &Eni) {
    let device = names::eni_device(&eni.eni_id);
    for address in eni.addresses() {
        router.neighbours.insert((device.clone(), address), eni.mac);
        router.connections.insert(address, device.clone());
    }
    router.veths.insert(
        device,
        Veth {
            mac: names::ROUTER_MAC,
            mtu: MTU,
            peer: Peer {
                namespace: Some(region.config.namespace(eni.eni_id.tail())),
                device: names::ENI_DEVICE.to_owned(),
                mac: eni.mac,
            },
            proxy_arp: true,
        },
    );
}

/// The link to the edge.
pub(super) fn gateway_veth(region: &Region<'_>) -> Veth {
    Veth {
        mac: names::GATEWAY_MAC,
        mtu: GATEWAY_MTU,
        peer: Peer {
            namespace: Some(names::edge_namespace(region.config)),
            device: names::vpc_device(&region.vpc.vpc_id),
            mac: names::EDGE_MAC,
        },
        proxy_arp: false,
    }
}
