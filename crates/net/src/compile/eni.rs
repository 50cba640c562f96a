//! An interface's namespace: what a task, a load balancer node or a NAT gateway sees.

use super::Region;
use crate::names;
use crate::program::{
    Action, Address, Base, Chain, Direction, End, Family, Hook, MAIN, Match, Namespace, Program,
    Role, Route, RouteKey, Rule, Table, Verdict,
};
use fogbank_types::Ipv4Cidr;
use fogbank_types::ec2::{Eni, EniOwner};

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
    for (path, value) in [
        // Any user of a container may open port 80 and ping, as on Fargate.
        ("ipv4/ip_unprivileged_port_start", "0"),
        ("ipv4/ping_group_range", "0\t2147483647"),
        ("ipv4/conf/all/accept_redirects", "0"),
        ("ipv4/conf/default/accept_redirects", "0"),
        // The loopback keeps ::1; the interface has no IPv6 until it is built.
        ("ipv6/conf/default/disable_ipv6", "1"),
    ] {
        namespace.sysctls.insert(path.to_owned(), value.to_owned());
    }
    for address in eni.addresses() {
        namespace.addresses.insert(Address {
            device: names::ENI_DEVICE.to_owned(),
            address,
            length: subnet.cidr_block.length(),
        });
    }
    // Permanent, because the kernel's limit on learnt neighbours (1,024) is one for all namespaces.
    let router = (names::ENI_DEVICE.to_owned(), subnet.router());
    namespace.neighbours.insert(router, names::ROUTER_MAC);
    let default = RouteKey {
        table: MAIN,
        destination: Ipv4Cidr::ANY,
        metric: 0,
    };
    let router = Route::Via {
        gateway: subnet.router(),
        device: names::ENI_DEVICE.to_owned(),
        source: Some(eni.private_ip),
    };
    namespace.routes.insert(default, router);
    if matches!(eni.owner, EniOwner::NatGateway(_)) {
        make_nat_gateway(&mut namespace, region, eni);
    }
    program.namespaces.insert(name, namespace);
}

/// Forwards what comes from the VPC under its own address; facts NAT-5 to NAT-7.
///
/// <https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-basics.html>
fn make_nat_gateway(namespace: &mut Namespace, region: &Region<'_>, eni: &Eni) {
    namespace.sysctls.extend(super::vpc::router_sysctls());
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
    let chain = |hook, nat, priority, rules| Chain {
        base: Some(Base {
            hook,
            nat,
            priority,
        }),
        rules,
    };
    let accept = || Action::Do(Verdict::Accept);
    let tcp = Match::Protocol {
        number: 6,
        equal: true,
    };
    let mut forward = vec![
        Rule::new([Match::Established], accept()),
        Rule::new([Match::Invalid, tcp.clone()], Action::ResetTcp),
        Rule::new([Match::Invalid], Action::Do(Verdict::Drop)),
    ];
    for block in region.vpc.blocks() {
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
    forward.push(Rule::new([], Action::Do(Verdict::Drop)));
    let forward = chain(Hook::Forward, false, 0, forward);
    table.chains.insert("forward".to_owned(), forward);
    let translate = Rule::new(
        [Match::Device {
            direction: Direction::Out,
            name: names::ENI_DEVICE.to_owned(),
            equal: true,
        }],
        Action::SourceNatTo(eni.private_ip),
    );
    let postrouting = super::firewall::nat(Hook::Postrouting, vec![translate]);
    table.chains.insert("postrouting".to_owned(), postrouting);
    // It answers nobody, not even a ping; resets of forgotten connections are all that it says itself.
    let closed = vec![Rule::new([], Action::Do(Verdict::Drop))];
    let input = chain(Hook::Input, false, 0, closed);
    table.chains.insert("input".to_owned(), input);
    namespace.tables.insert(names::TABLE.to_owned(), table);
    namespace
        .tables
        .insert(names::TABLE_V6.to_owned(), super::firewall::closed_v6());
}
