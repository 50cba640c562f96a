//! An interface's namespace: what a task, a load balancer node or a NAT gateway sees.

use super::Region;
use super::firewall::{accept, base, drop_action, drop_rest};
use crate::names;
use crate::program::{
    Action, Address, Direction, End, Family, Hook, MAIN, Match, Namespace, Program, Role, Route,
    RouteKey, Rule, Table,
};
use fogbank_types::Ipv4Cidr;
use fogbank_types::connect;
use fogbank_types::ec2::{Eni, EniOwner, Subnet};
use std::net::{IpAddr, Ipv4Addr};

pub(super) fn add(program: &mut Program, region: &Region<'_>, eni: &Eni) {
    let name = region.config.namespace(eni.eni_id.tail());
    if program.namespaces.contains_key(&name) {
        program.alarm(&eni.eni_id, format!("namespace {name} is taken"));
        return;
    }
    let Some(subnet) = region.subnet_of(eni) else {
        program.alarm(&eni.eni_id, format!("subnet {} is unknown", eni.subnet_id));
        return;
    };
    let mut namespace = Namespace {
        role: Role::Eni(eni.eni_id.clone()),
        ..Namespace::default()
    };
    let is_nat_gateway = matches!(eni.owner, EniOwner::NatGateway(_));
    settings(&mut namespace);
    add_family(&mut namespace, region, eni, subnet, Family::V4);
    if region.has(Family::V6) && !is_nat_gateway {
        add_family(&mut namespace, region, eni, subnet, Family::V6);
    }
    if is_nat_gateway {
        make_nat_gateway(&mut namespace, region, eni);
    } else if eni.service_connect {
        lead_to_proxy(&mut namespace);
    }
    program.namespaces.insert(name, namespace);
}

fn settings(namespace: &mut Namespace) {
    for (path, value) in [
        // Any user of a container may open port 80 and ping, as on Fargate.
        ("ipv4/ip_unprivileged_port_start", "0"),
        ("ipv4/ping_group_range", "0\t2147483647"),
        ("ipv4/conf/all/accept_redirects", "0"),
        ("ipv4/conf/default/accept_redirects", "0"),
        // The loopback keeps ::1; the interface has no IPv6 until it has an address of it.
        ("ipv6/conf/default/disable_ipv6", "1"),
    ] {
        namespace.sysctls.insert(path.to_owned(), value.to_owned());
    }
}

/// The interface's addresses of a family, and the way out by the subnet's router.
fn add_family(
    namespace: &mut Namespace,
    region: &Region<'_>,
    eni: &Eni,
    subnet: &Subnet,
    family: Family,
) {
    let addresses: Vec<IpAddr> = region.addresses(eni, family).collect();
    let Some(first) = addresses.first().copied() else {
        return;
    };
    let (router, length): (IpAddr, u8) = match family {
        Family::V4 => (subnet.router().into(), subnet.cidr_block.length()),
        Family::V6 => (names::ROUTER_V6.into(), 128),
    };
    for address in addresses {
        namespace.addresses.insert(Address {
            device: names::ENI_DEVICE.to_owned(),
            address,
            length,
        });
    }
    // Permanent, because the kernel's limit on learnt neighbours (1,024) is one for all namespaces.
    let hop = (names::ENI_DEVICE.to_owned(), router);
    namespace.neighbours.insert(hop, names::ROUTER_MAC);
    let default = RouteKey {
        table: MAIN,
        destination: family.any(),
        metric: 0,
    };
    let to_router = Route::Via {
        gateway: router,
        device: names::ENI_DEVICE.to_owned(),
        source: Some(first),
    };
    namespace.routes.insert(default, to_router);
    if family == Family::V6 {
        let settings = super::vpc::quiet_v6(true);
        namespace.sysctls.extend(settings);
    }
}

/// What a task sends to the addresses that stand for names of Service Connect is its proxy's, whatever the port: the
/// programs of the task keep all ports for themselves, as on AWS.
fn lead_to_proxy(namespace: &mut Namespace) {
    let [first, second] = connect::NETWORK;
    let stand_in = Ipv4Cidr::containing(Ipv4Addr::new(first, second, 0, 0), 16)
        .expect("16 bits are no more than an address has");
    let matches = [
        Match::Block {
            end: End::Destination,
            block: stand_in.into(),
            inside: true,
        },
        Match::Protocol {
            number: 6,
            equal: true,
        },
    ];
    let to_proxy = Action::DestinationNatTo(Ipv4Addr::LOCALHOST.into(), connect::EGRESS_PORT);
    let chain = super::firewall::nat(Hook::Output, vec![Rule::new(matches, to_proxy)]);
    let mut table = Table::new(Family::V4);
    table.chains.insert("output".to_owned(), chain);
    namespace.tables.insert(names::TABLE.to_owned(), table);
}

/// Forwards what comes from the VPC under its own address; facts NAT-5 to NAT-7.
///
/// <https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-basics.html>
fn make_nat_gateway(namespace: &mut Namespace, region: &Region<'_>, eni: &Eni) {
    namespace.sysctls.extend(super::vpc::router_sysctls(false));
    let idle_s = (region.config.scaled_ms(350_000) / 1000).max(1).to_string();
    for timeout in [
        "tcp_timeout_established",
        "udp_timeout_stream",
        "udp_timeout",
        "icmp_timeout",
    ] {
        namespace
            .sysctls
            .insert(format!("netfilter/nf_conntrack_{timeout}"), idle_s.clone());
    }
    // A connection that it has forgotten is answered with a reset, not picked up again.
    namespace.sysctls.insert(
        "netfilter/nf_conntrack_tcp_loose".to_owned(),
        "0".to_owned(),
    );
    let mut table = Table::new(Family::V4);
    let tcp = Match::Protocol {
        number: 6,
        equal: true,
    };
    let mut forward = vec![
        Rule::new([Match::Established], accept()),
        Rule::new([Match::Invalid, tcp], Action::ResetTcp),
        Rule::new([Match::Invalid], drop_action()),
    ];
    for block in region.blocks(Family::V4) {
        for number in [6, 17, 1] {
            let protocol = Match::Protocol {
                number,
                equal: true,
            };
            let inside = Match::Block {
                end: End::Source,
                block,
                inside: true,
            };
            forward.push(Rule::new([inside, protocol], accept()));
        }
    }
    forward.push(drop_rest());
    let translate = Rule::new(
        [Match::Device {
            direction: Direction::Out,
            name: names::ENI_DEVICE.to_owned(),
            equal: true,
        }],
        Action::SourceNatTo(eni.private_ip.into()),
    );
    for (name, chain) in [
        ("forward", base(Hook::Forward, 0, forward)),
        (
            "postrouting",
            super::firewall::nat(Hook::Postrouting, vec![translate]),
        ),
        // It answers nobody, not even a ping; resets of forgotten connections are all that it says itself.
        ("input", base(Hook::Input, 0, vec![drop_rest()])),
    ] {
        table.chains.insert(name.to_owned(), chain);
    }
    namespace.tables.insert(names::TABLE.to_owned(), table);
    namespace
        .tables
        .insert(names::TABLE_V6.to_owned(), super::firewall::closed_v6());
}
