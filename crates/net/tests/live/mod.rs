//! A region of rows in the sandbox's kernel, changed as the node changes it.
#![allow(dead_code, clippy::unwrap_used)]

use crate::region::*;
use crate::sandbox::*;
use fogbank_net::{Applier, Compiler, Report, eni_namespace};
use fogbank_types::ec2::*;
use fogbank_types::*;
use std::cell::RefCell;

/// A running region: what the snapshot says is in the sandbox's kernel.
pub struct Live {
    pub config: RegionConfig,
    pub region: Region,
    pub applier: Applier,
    /// Remembers the last rows that were applied.
    pub compiler: RefCell<(Compiler, Snapshot)>,
}

impl Live {
    pub fn start(region: Region) -> Self {
        Self::start_with(config("test"), region)
    }

    pub fn start_with(config: RegionConfig, region: Region) -> Self {
        let applier = Applier::start(&config).unwrap();
        let compiler = Compiler::new(config.clone());
        let live = Self {
            config,
            region,
            applier,
            compiler: RefCell::new((compiler, Snapshot::default())),
        };
        live.apply();
        live
    }

    /// As the node does it.
    pub fn apply(&self) -> Report {
        let mut kept = self.compiler.borrow_mut();
        let rows = &self.region.snapshot;
        let keys = [kept.1.keys(), rows.keys()].concat();
        let change = kept.0.update(rows, keys.iter().map(String::as_str));
        kept.1 = rows.clone();
        let report = self.applier.apply_blocking(change).unwrap();
        assert_eq!(report.alarms, []);
        assert_eq!(report.failures, []);
        report
    }

    pub fn at(&self, eni: &Eni) -> From {
        From::Inside(eni_namespace(&self.config, &eni.eni_id))
    }

    pub fn serve(&self, eni: &Eni, port: u16) {
        serve_tcp(&eni_namespace(&self.config, &eni.eni_id), port);
    }
}

/// One VPC with a public and a private subnet, internet gateway, NAT gateway.
pub struct Small {
    pub region: Region,
    pub vpc: Vpc,
    pub public: Subnet,
    pub private: Subnet,
    pub web: SecurityGroup,
    pub api: SecurityGroup,
    pub front: Eni,
    pub back: Eni,
    pub nat: (NatGateway, Eni),
}

pub fn small() -> Small {
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
    let nat = region.nat(&public, 200, "198.18.0.29");
    region.routes(
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
    region.elastic(&front, "198.18.0.50");
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
    }
}

/// Connections are forgotten a moment after the change that ends them.
pub fn soon(mut so: impl FnMut() -> bool) -> bool {
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        if so() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

pub fn ends(open: &mut Connection) -> bool {
    soon(|| !open.is_alive(SILENCE))
}

pub fn reaches(from: &From, to: std::net::Ipv4Addr, port: u16) -> bool {
    Connection::open(from, to, port, PATIENCE).is_some()
}

pub fn is_kept_out(from: &From, to: std::net::Ipv4Addr, port: u16) -> bool {
    Connection::open(from, to, port, SILENCE).is_none()
}
