//! Connections through peerings, endpoints and egress-only gateways, there and back, and what a
//! change does to open ones. Each test plays a host of its own (see `sandbox`); needs root.

#![allow(clippy::unwrap_used)]

mod region;
mod sandbox;

use fogbank_net::{Applier, compile, eni_namespace, names};
use fogbank_types::ec2::*;
use fogbank_types::*;
use region::*;
use sandbox::*;
use std::net::IpAddr;

struct Live {
    config: RegionConfig,
    applier: Applier,
}

impl Live {
    fn start(region: &Region) -> Self {
        let config = config("test");
        let applier = Applier::start(&config).unwrap();
        let live = Self { config, applier };
        live.apply(region);
        live
    }

    fn apply(&self, region: &Region) {
        let program = compile(&region.snapshot, &self.config);
        let report = self.applier.reconcile_blocking(program).unwrap();
        assert_eq!(report.failures, []);
    }

    fn at(&self, eni: &Eni) -> From {
        From::Inside(eni_namespace(&self.config, &eni.eni_id))
    }

    fn serve(&self, eni: &Eni, port: u16) {
        serve_tcp(&eni_namespace(&self.config, &eni.eni_id), port);
    }
}

/// Everything in and out, by both families.
fn open_group(region: &mut Region, vpc: &Vpc) -> SecurityGroup {
    let v6 = RulePeer::Ipv6(Ipv6Cidr::ANY);
    let rules = [true, false].map(|egress| {
        [
            (egress, Traffic::All, anyone()),
            (egress, Traffic::All, v6.clone()),
        ]
    });
    region.group(vpc, rules.concat())
}

/// A VPC of both families with one subnet and one interface, all open.
fn corner(region: &mut Region, n: u8) -> (Vpc, Subnet, Eni) {
    let mut vpc = region.vpc(&format!("10.{n}.0.0/16"));
    region.add_block(&mut vpc, &format!("2001:2:0:{n}00::/56"));
    let mut subnet = region.subnet(&vpc, &format!("10.{n}.1.0/24"));
    region.add_v6(&mut subnet, &format!("2001:2:0:{n}01::/64"));
    let group = open_group(region, &vpc);
    let mut eni = region.eni(&subnet, 10, &[&group]);
    region.address_v6(&mut eni, &subnet, 10);
    (vpc, subnet, eni)
}

fn addresses(eni: &Eni) -> [IpAddr; 2] {
    let mut all = eni.all_addresses();
    [all.next().unwrap(), all.next().unwrap()]
}

fn reaches(from: &From, to: IpAddr, port: u16) -> bool {
    Connection::open(from, to, port, PATIENCE).is_some()
}

fn is_kept_out(from: &From, to: IpAddr, port: u16) -> bool {
    Connection::open(from, to, port, SILENCE).is_none()
}

#[test]
fn a_peering_carries_connections_until_it_ends() {
    sandbox(|| {
        let mut region = Region::default();
        let (one, near, client) = corner(&mut region, 1);
        let (other, far, server) = corner(&mut region, 2);
        let mut peering = region.peering(&one, &other);
        let target = RouteTarget::VpcPeeringConnection(peering.peering_id.clone());
        for (vpc, subnet, n) in [(&one, &near, 2), (&other, &far, 1)] {
            let [v4, v6] = [format!("10.{n}.0.0/16"), format!("2001:2:0:{n}00::/56")];
            let routes = [(v4.as_str(), target.clone()), (v6.as_str(), target.clone())];
            region.routes(vpc, subnet, &routes);
        }
        let live = Live::start(&region);
        live.serve(&server, 80);
        let from = live.at(&client);
        let mut open = addresses(&server)
            .map(|to| Connection::open(&from, to, 80, PATIENCE).expect("the peer answers"));
        for (connection, own) in open.iter().zip(addresses(&client)) {
            assert_eq!(connection.seen_as, own, "nothing is translated");
        }
        peering.status = PeeringStatus::Deleted;
        region.put(peering);
        live.apply(&region);
        for (connection, to) in open.iter_mut().zip(addresses(&server)) {
            assert!(!connection.is_alive(SILENCE), "{to} is still there");
            assert!(is_kept_out(&from, to, 80));
        }
    });
}

#[test]
fn a_zone_that_goes_dark_cuts_open_connections_and_comes_back_with_them() {
    sandbox(|| {
        let mut region = Region::default();
        let (vpc, _, client) = corner(&mut region, 1);
        let mut far = region.subnet(&vpc, "10.1.2.0/24");
        region.add_v6(&mut far, "2001:2:0:102::/64");
        far.zone = "us-east-1b".to_owned();
        region.put(far.clone());
        let group = open_group(&mut region, &vpc);
        let mut server = region.eni(&far, 10, &[&group]);
        region.address_v6(&mut server, &far, 10);
        let live = Live::start(&region);
        live.serve(&server, 80);
        let from = live.at(&client);
        let mut open = addresses(&server).map(|to| {
            let opened = Connection::open(&from, to, 80, PATIENCE);
            opened.expect("the other zone answers")
        });
        let fault = region.fault("us-east-1b", ZoneFaultKind::Isolated);
        live.apply(&region);
        for connection in &mut open {
            assert!(!connection.is_alive(SILENCE));
        }
        assert!(is_kept_out(&from, server.private_ip.into(), 80));
        // What is inside goes on.
        assert!(reaches(&live.at(&server), server.private_ip.into(), 80));
        region.remove(&fault);
        live.apply(&region);
        assert!(reaches(&from, server.private_ip.into(), 80));
        for connection in &mut open {
            assert!(connection.is_alive(PATIENCE), "its packets are sent again");
        }
    });
}

#[test]
fn an_egress_only_gateway_lets_out_and_nobody_in() {
    sandbox(|| {
        let mut region = Region::default();
        let (one, near, client) = corner(&mut region, 1);
        let (other, far, server) = corner(&mut region, 2);
        let egress_only = region.egress_only(&one);
        let target = RouteTarget::EgressOnlyInternetGateway(egress_only);
        region.routes(&one, &near, &[("::/0", target)]);
        let gateway = region.gateway(&other);
        let target = RouteTarget::InternetGateway(gateway);
        region.routes(&other, &far, &[("::/0", target)]);
        let live = Live::start(&region);
        live.serve(&server, 80);
        live.serve(&client, 80);
        let [[_, client_v6], [_, server_v6]] = [addresses(&client), addresses(&server)];
        let out = Connection::open(&live.at(&client), server_v6, 80, PATIENCE);
        assert_eq!(out.expect("it lets out").seen_as, client_v6);
        assert!(reaches(&From::Host, server_v6, 80), "the other is public");
        assert!(is_kept_out(&live.at(&server), client_v6, 80));
        assert!(is_kept_out(&From::Host, client_v6, 80));
    });
}

#[test]
fn a_gateway_endpoint_needs_no_public_address_and_leads_to_its_service_only() {
    sandbox(|| {
        let mut region = Region::default();
        let (vpc, subnet, client) = corner(&mut region, 1);
        let table = region.routes(&vpc, &subnet, &[]);
        let live = Live::start(&region);
        let edge = names::namespace_path(&names::edge_namespace(&live.config));
        serve_tcp(&edge, 443);
        let from = live.at(&client);
        let s3 = ["198.18.0.9", "2001:2::9"].map(addr);
        for to in s3 {
            assert!(is_kept_out(&from, to, 443), "{to} without a route");
        }
        region.gateway_endpoint(&vpc, "s3", &[&table]);
        live.apply(&region);
        for to in s3 {
            let mut open = Connection::open(&from, to, 443, PATIENCE).expect("its service");
            assert!(open.carries(100_000, PATIENCE), "{to}");
            assert!(is_kept_out(&from, to, 22), "{to}");
        }
        for to in ["198.18.0.8", "198.18.0.10", "2001:2::8", "198.18.255.254"] {
            assert!(is_kept_out(&from, addr(to), 443), "{to} is not S3");
        }
    });
}
