//! Packets in real namespaces. Each test plays a host of its own (see `sandbox`); needs root.

mod region;
mod sandbox;

use fogbank_net::apply::teardown;
use fogbank_net::{Applier, Report, compile, eni_namespace};
use fogbank_types::ec2::*;
use fogbank_types::*;
use region::*;
use sandbox::*;

/// A running region: what the snapshot says is in the sandbox's kernel.
struct Live {
    config: RegionConfig,
    region: Region,
    applier: Applier,
}

impl Live {
    fn start(region: Region) -> Self {
        Self::start_with(config("test"), region)
    }

    fn start_with(config: RegionConfig, region: Region) -> Self {
        let applier = Applier::start(&config).unwrap();
        let live = Self {
            config,
            region,
            applier,
        };
        live.apply();
        live
    }

    fn apply(&self) -> Report {
        let program = compile(&self.region.snapshot, &self.config);
        assert_eq!(program.alarms, []);
        let report = self.applier.reconcile_blocking(program).unwrap();
        assert_eq!(report.failures, []);
        report
    }

    fn at(&self, eni: &Eni) -> From {
        From::Inside(eni_namespace(&self.config, &eni.eni_id))
    }

    fn serve(&self, eni: &Eni, port: u16) {
        serve_tcp(&eni_namespace(&self.config, &eni.eni_id), port);
    }
}

/// One VPC with a public and a private subnet, internet gateway, NAT gateway.
struct Small {
    region: Region,
    vpc: Vpc,
    public: Subnet,
    private: Subnet,
    web: SecurityGroup,
    api: SecurityGroup,
    front: Eni,
    back: Eni,
    nat: (NatGateway, Eni),
    private_routes: RouteTable,
}

fn small() -> Small {
    let mut region = Region::default();
    let vpc = region.vpc("10.0.0.0/16");
    let public = region.subnet(&vpc, "10.0.1.0/24");
    let private = region.subnet(&vpc, "10.0.2.0/24");
    let gateway = region.gateway(&vpc);
    region.routes(
        &vpc,
        &public,
        &[("0.0.0.0/0", RouteTarget::InternetGateway(gateway))],
    );
    let nat = region.nat(&public, 200, "198.18.0.9");
    let private_routes = region.routes(
        &vpc,
        &private,
        &[(
            "0.0.0.0/0",
            RouteTarget::NatGateway(nat.0.nat_gateway_id.clone()),
        )],
    );
    let web = region.group(&vpc, vec![out_to_all(), (false, tcp(80, 80), anyone())]);
    let from_web = RulePeer::Group(web.group_id.clone());
    let api = region.group(&vpc, vec![out_to_all(), (false, tcp(8080, 8080), from_web)]);
    let front = region.eni(&public, 10, &[&web]);
    region.elastic(&front, "198.18.0.5");
    let back = region.eni(&private, 10, &[&api]);
    Small {
        region,
        vpc,
        public,
        private,
        web,
        api,
        front,
        back,
        nat,
        private_routes,
    }
}

fn reaches(from: &From, to: std::net::Ipv4Addr, port: u16) -> bool {
    Connection::open(from, to, port, PATIENCE).is_some()
}

fn is_kept_out(from: &From, to: std::net::Ipv4Addr, port: u16) -> bool {
    Connection::open(from, to, port, SILENCE).is_none()
}

#[test]
fn the_whole_path_from_the_host_to_a_private_task() {
    sandbox(|| {
        let small = small();
        let live = Live::start(small.region.clone());
        live.serve(&small.front, 80);
        live.serve(&small.back, 8080);
        let seen = Connection::open(&From::Host, ip("198.18.0.5"), 80, PATIENCE);
        let seen = seen.expect("the public address answers");
        assert_eq!(seen.seen_as, ip("198.18.255.254"), "the client is the host");
        assert!(reaches(&live.at(&small.front), small.back.private_ip, 8080));
        assert!(is_kept_out(&From::Host, ip("198.18.0.5"), 8080));
        assert!(is_kept_out(&From::Host, ip("198.18.0.9"), 80), "NAT lets nobody in");
        assert!(is_kept_out(&live.at(&small.back), small.back.private_ip, 81));
    });
}
