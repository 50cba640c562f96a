//! Large transfers through every way out of a VPC, in real namespaces; needs root.
//!
//! Interfaces and peers take 9001 bytes, the links to the edge 1500 (fact VPC-18), so each router
//! must tell its senders of smaller packets, in both families and through every translation.

#![allow(clippy::unwrap_used)]

mod region;
mod sandbox;

use fogbank_net::names::{self, namespace_path};
use fogbank_net::{Applier, compile, eni_namespace};
use fogbank_types::ec2::*;
use fogbank_types::*;
use region::*;
use sandbox::*;
use std::net::IpAddr;
use std::time::Duration;

const LARGE: usize = 1 << 20;
/// A transfer in which no packet was lost for long takes milliseconds.
const WAIT: Duration = Duration::from_secs(10);

struct World {
    config: RegionConfig,
    enis: Vec<Eni>,
    /// Kept: its end does not take the region down.
    _applier: Applier,
}

impl World {
    fn at(&self, index: usize) -> From {
        From::Inside(eni_namespace(&self.config, &self.enis[index].eni_id))
    }

    fn v6(&self, index: usize) -> IpAddr {
        self.enis[index].ipv6_addresses[0].into()
    }
}

/// Two VPCs of both families, peered, each with an internet gateway for IPv6; the first reaches S3
/// by a gateway endpoint and its second subnet the world by an egress-only gateway.
fn world() -> World {
    let mut region = Region::default();
    let blocks = ["2001:2:0:100::/56", "2001:2:0:200::/56"];
    let vpcs: Vec<Vpc> = blocks
        .iter()
        .enumerate()
        .map(|(n, block)| {
            let mut vpc = region.vpc(&format!("10.{n}.0.0/16"));
            region.add_block(&mut vpc, block);
            vpc
        })
        .collect();
    let peering = region.peering(&vpcs[0], &vpcs[1]).peering_id;
    let to_peer = || RouteTarget::VpcPeeringConnection(peering.clone());
    let mut enis = Vec::new();
    for (n, vpc) in vpcs.iter().enumerate() {
        let everyone = [anyone(), RulePeer::Ipv6(Ipv6Cidr::ANY)];
        let rules = everyone
            .into_iter()
            .flat_map(|peer| [true, false].map(|egress| (egress, Traffic::All, peer.clone())));
        let group = region.group(vpc, rules.collect());
        let gateway = RouteTarget::InternetGateway(region.gateway(vpc));
        let egress_only = RouteTarget::EgressOnlyInternetGateway(region.egress_only(vpc));
        for (number, out) in [(1, gateway), (2, egress_only)] {
            let mut subnet = region.subnet(vpc, &format!("10.{n}.{number}.0/24"));
            region.add_v6(&mut subnet, &format!("2001:2:0:{}0{number}::/64", n + 1));
            let mut eni = region.eni(&subnet, 10, &[&group]);
            region.address_v6(&mut eni, &subnet, 10);
            let other = format!("10.{}.0.0/16", 1 - n);
            let routes = [("::/0", out), (other.as_str(), to_peer())];
            let table = region.routes(vpc, &subnet, &routes);
            if n == 0 {
                region.gateway_endpoint(vpc, "s3", &[&table]);
            }
            enis.push(eni);
        }
    }
    let config = config("test");
    let applier = Applier::start(&config).unwrap();
    let report = applier
        .reconcile_blocking(compile(&region.snapshot, &config))
        .unwrap();
    assert_eq!(report.alarms, []);
    World {
        config,
        enis,
        _applier: applier,
    }
}

fn carries(from: &From, to: IpAddr, port: u16) -> IpAddr {
    let mut connection = Connection::open(from, to, port, PATIENCE).expect("it opens");
    assert!(connection.carries(LARGE, WAIT), "to {to}");
    connection.seen_as
}

#[test]
fn large_packets_of_ipv6_learn_the_gateways_size() {
    sandbox(|| {
        let world = world();
        serve_tcp(&eni_namespace(&world.config, &world.enis[2].eni_id), 80);
        for sender in [0, 1] {
            let seen_as = carries(&world.at(sender), world.v6(2), 80);
            assert_eq!(seen_as, world.v6(sender), "nothing is translated");
        }
        carries(&From::Host, world.v6(2), 80);
    });
}

#[test]
fn a_peer_takes_packets_of_full_size() {
    sandbox(|| {
        let world = world();
        serve_tcp(&eni_namespace(&world.config, &world.enis[2].eni_id), 80);
        let peer = world.enis[2].private_ip.into();
        let seen_as = carries(&world.at(0), peer, 80);
        assert_eq!(seen_as, IpAddr::from(world.enis[0].private_ip));
    });
}

#[test]
fn services_are_reached_through_a_gateway_endpoint_and_from_the_host() {
    sandbox(|| {
        let world = world();
        let edge = namespace_path(&names::edge_namespace(&world.config));
        for port in [80, 443, 8080] {
            serve_tcp(&edge, port);
        }
        let services = ["198.18.0.9", "2001:2::9"].map(addr);
        for service in services {
            for from in [world.at(0), world.at(1), From::Host] {
                carries(&from, service, 443);
                assert!(Connection::open(&from, service, 8080, SILENCE).is_none());
            }
        }
        // No public address and no endpoint for it.
        let other = addr("198.18.0.8");
        assert!(Connection::open(&world.at(0), other, 443, SILENCE).is_none());
    });
}

#[test]
fn an_egress_only_gateway_lets_nobody_in() {
    sandbox(|| {
        let world = world();
        for index in [0, 1] {
            let namespace = eni_namespace(&world.config, &world.enis[index].eni_id);
            serve_tcp(&namespace, 80);
        }
        for from in [From::Host, world.at(2)] {
            assert!(Connection::open(&from, world.v6(0), 80, PATIENCE).is_some());
            assert!(Connection::open(&from, world.v6(1), 80, SILENCE).is_none());
        }
    });
}

/// A VPC of IPv4 alone gets a block, loses it and gets it again, while its interfaces run.
#[test]
fn a_running_vpc_gets_ipv6_and_loses_it() {
    sandbox(|| {
        let mut region = Region::default();
        let vpc = region.vpc("10.0.0.0/16");
        let subnets = [1, 2].map(|n| region.subnet(&vpc, &format!("10.0.{n}.0/24")));
        let everyone = [anyone(), RulePeer::Ipv6(Ipv6Cidr::ANY)];
        let rules = everyone
            .into_iter()
            .flat_map(|peer| [true, false].map(|egress| (egress, Traffic::All, peer.clone())));
        let group = region.group(&vpc, rules.collect());
        let enis = [0, 1].map(|n: usize| region.eni(&subnets[n], 10, &[&group]));
        let without = region.clone();
        let mut both = vpc.clone();
        region.add_block(&mut both, "2001:2:0:100::/56");
        let addresses = [0, 1].map(|n: usize| {
            let (mut subnet, mut eni) = (subnets[n].clone(), enis[n].clone());
            region.add_v6(&mut subnet, &format!("2001:2:0:10{n}::/64"));
            IpAddr::from(region.address_v6(&mut eni, &subnet, 10))
        });
        let config = config("test");
        let applier = Applier::start(&config).unwrap();
        let [from, to] = [0, 1].map(|n: usize| eni_namespace(&config, &enis[n].eni_id));
        let apply = |region: &Region| {
            let program = compile(&region.snapshot, &config);
            let report = applier.reconcile_blocking(program).unwrap();
            assert_eq!((report.alarms, report.failures), (vec![], vec![]));
        };
        apply(&without);
        serve_tcp(&to, 80);
        let from = From::Inside(from);
        for _ in 0..2 {
            apply(&region);
            let connection = Connection::open(&from, addresses[1], 80, PATIENCE);
            assert_eq!(connection.unwrap().seen_as, addresses[0]);
            apply(&without);
            assert!(Connection::open(&from, addresses[1], 80, SILENCE).is_none());
            assert!(Connection::open(&from, enis[1].private_ip, 80, PATIENCE).is_some());
        }
    });
}
