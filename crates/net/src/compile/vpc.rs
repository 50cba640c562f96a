//! A VPC's namespace: the router that every interface of the VPC hangs on.

use super::untracked::Known;
use super::{Region, idle, zone};
use crate::names;
use crate::program::{Address, Family, Namespace, Peer, Program, Role, Veth};
use fogbank_types::ec2::Eni;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Inside a VPC and between peers; 1500 through the internet gateway (fact VPC-18).
pub(super) const MTU: u32 = 9001;
pub(super) const GATEWAY_MTU: u32 = 1500;

pub(super) fn add(program: &mut Program, region: &Region<'_>) {
    let config = region.config;
    let name = config.namespace(region.vpc.vpc_id.tail());
    if program.namespaces.contains_key(&name) {
        program.alarm(&region.vpc.vpc_id, format!("namespace {name} is taken"));
        return;
    }
    let mut router = Namespace {
        role: Role::Vpc(region.vpc.vpc_id.clone()),
        sysctls: sysctls(region),
        ..Namespace::default()
    };
    local_addresses(&mut router, region);
    super::gateway::link(&mut router, region);
    super::endpoint::link(&mut router, region);
    super::peering::link(&mut router, region);
    super::untracked::add_endpoints(&mut router, region);
    let mut known = Known::default();
    for eni in &region.local {
        link(&mut router, region, eni);
    }
    for eni in region.local.iter().chain(&region.reopened) {
        super::untracked::add(&mut router, region, eni, &mut known);
    }
    for family in region.families() {
        super::routes::add(program, &mut router, region, family);
    }
    for family in [Family::V4, Family::V6] {
        let table = super::firewall::table(program, region, family);
        router.tables.insert(names::table(family).to_owned(), table);
    }
    program.namespaces.insert(name, router);
}

fn sysctls(region: &Region<'_>) -> BTreeMap<String, String> {
    let mut sysctls = router_sysctls(region.has(Family::V6));
    let mut set = |path: &str, value: String| sysctls.insert(path.to_owned(), value);
    for (timeout, idle_s) in idle::defaults() {
        set(
            &format!("netfilter/nf_conntrack_{timeout}"),
            idle::scaled_s(region.config, idle_s).to_string(),
        );
    }
    // "Too big" about a packet of a NAT gateway comes back through the gateway's namespace with our
    // own address as its source. The source gate, which is before routing, keeps forgeries out.
    set("ipv4/conf/all/accept_local", "1".to_owned());
    let logged = u8::from(region.is_logged).to_string();
    set("netfilter/nf_conntrack_acct", logged.clone());
    set("netfilter/nf_conntrack_timestamp", logged);
    sysctls
}

/// Settings of every namespace that forwards packets, with IPv6 on or off.
///
/// `proxy_arp` is switched on per device: it must never be on for a link to the edge. Sources are
/// checked by the firewall's bindings, not by `rp_filter`, which contradicts per-subnet routes.
pub(super) fn router_sysctls(with_v6: bool) -> BTreeMap<String, String> {
    let mut sysctls = quiet_v6(with_v6);
    let forwarding = u8::from(with_v6).to_string();
    sysctls.insert("ipv6/conf/all/forwarding".to_owned(), forwarding);
    for (path, value) in [
        ("ipv4/conf/all/accept_redirects", "0"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/all/send_redirects", "0"),
        ("ipv4/conf/default/accept_redirects", "0"),
        ("ipv4/conf/default/accept_source_route", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
        ("ipv4/conf/default/send_redirects", "0"),
        ("ipv4/ip_forward", "1"),
    ] {
        sysctls.insert(path.to_owned(), value.to_owned());
    }
    sysctls
}

/// IPv6 without a word of its own: no link-local addresses, no search for neighbours' duplicates,
/// no router's advice; every neighbour is permanent. Written in the order of their paths, so that
/// devices are quiet before they are switched on.
pub(super) fn quiet_v6(is_on: bool) -> BTreeMap<String, String> {
    let off = if is_on { "0" } else { "1" };
    [
        ("ipv6/conf/all/accept_redirects", "0"),
        ("ipv6/conf/all/addr_gen_mode", "1"),
        ("ipv6/conf/all/disable_ipv6", off),
        ("ipv6/conf/default/accept_dad", "0"),
        ("ipv6/conf/default/accept_ra", "0"),
        ("ipv6/conf/default/accept_redirects", "0"),
        ("ipv6/conf/default/addr_gen_mode", "1"),
        ("ipv6/conf/default/autoconf", "0"),
        ("ipv6/conf/default/disable_ipv6", off),
    ]
    .map(|(path, value)| (path.to_owned(), value.to_owned()))
    .into()
}

/// The router of each subnet, the resolver and the endpoints are addresses of the router itself.
/// (The router of IPv6 is only a neighbour of each interface, nobody's address.)
fn local_addresses(router: &mut Namespace, region: &Region<'_>) {
    let routers = region.subnets.values().map(|s| IpAddr::from(s.router()));
    let platform = region
        .families()
        .flat_map(|family| super::firewall::platform(region, family));
    for address in platform.chain(routers) {
        router.addresses.insert(Address {
            device: "lo".to_owned(),
            address,
            length: Family::of(address).bits(),
        });
    }
}

/// An interface's pair and its neighbour entries.
fn link(router: &mut Namespace, region: &Region<'_>, eni: &Eni) {
    let device = names::eni_device(&eni.eni_id);
    for family in region.families() {
        for address in region.addresses(eni, family) {
            router.neighbours.insert((device.clone(), address), eni.mac);
            router.connections.insert(address, device.clone());
        }
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
            delay_ms: zone::delay_ms(region, eni),
        },
    );
}
