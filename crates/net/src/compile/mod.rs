//! Snapshot and host -> `Program`: everything this host's kernel shall hold, from scratch, purely.
//!
//! The node calls `compile` after each change; `plan` finds what is new. What must stay true: every
//! gate ends in a drop, so what is left out (and named in `Program::alarms`) is closed, and the
//! same snapshot always gives the same program, whatever the order of its rows' lists.
//!
//! One VPC is one namespace that routes; one ENI is one namespace at the end of a veth; the edge
//! namespace joins the VPCs' internet gateways with the host. See docs/flows for a packet's way.

mod acl;
mod edge;
mod eni;
mod firewall;
mod gateway;
mod groups;
mod routes;
mod vpc;

pub(crate) use edge::POOL_BLACKHOLE_METRIC;

use crate::names;
use crate::program::{Alarm, Program};
use fogbank_types::ec2::{Eni, NetworkAcl, RouteTable, SecurityGroup, Subnet, Vpc};
use fogbank_types::{RegionConfig, Scope, Snapshot, VpcId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;

/// What `compile` must know of the host besides the snapshot.
pub type HostView = RegionConfig;

/// The rows of one VPC, found once, and what follows from them.
struct Region<'a> {
    config: &'a RegionConfig,
    snapshot: &'a Snapshot,
    vpc: &'a Vpc,
    subnets: Vec<&'a Subnet>,
    /// All of the VPC, on whatever host, ordered by id.
    enis: Vec<&'a Eni>,
    groups: BTreeMap<&'a str, &'a SecurityGroup>,
    route_tables: Vec<&'a RouteTable>,
    acls: Vec<&'a NetworkAcl>,
    /// Private to public address, of interfaces on this host; empty without an internet gateway.
    public: BTreeMap<Ipv4Addr, Ipv4Addr>,
    gateway_attached: bool,
}

impl Region<'_> {
    /// The interfaces that live here.
    fn local(&self) -> impl Iterator<Item = &Eni> {
        self.enis
            .iter()
            .copied()
            .filter(|eni| eni.host.as_deref() == Some(self.config.host.as_str()))
    }

    fn subnet_of(&self, eni: &Eni) -> Option<&Subnet> {
        self.subnets
            .iter()
            .copied()
            .find(|subnet| subnet.subnet_id == eni.subnet_id)
    }
}

/// The program of this host for that snapshot.
pub fn compile(snapshot: &Snapshot, config: &HostView) -> Program {
    let mut program = Program::default();
    let regions = regions(snapshot, config);
    edge::add(&mut program, config, &regions);
    for region in &regions {
        vpc::add(&mut program, region);
        for eni in region.local() {
            eni::add(&mut program, region, eni);
        }
    }
    program.alarms.sort();
    program.alarms.dedup();
    program
}

/// Rows by VPC; a VPC without anything on this host needs nothing here.
fn regions<'a>(snapshot: &'a Snapshot, config: &'a RegionConfig) -> Vec<Region<'a>> {
    let mut by_vpc: BTreeMap<(&Scope, &VpcId), Region<'a>> = snapshot
        .vpcs
        .all()
        .map(|vpc| {
            let region = Region {
                config,
                snapshot,
                vpc,
                subnets: Vec::new(),
                enis: Vec::new(),
                groups: BTreeMap::new(),
                route_tables: Vec::new(),
                acls: Vec::new(),
                public: BTreeMap::new(),
                gateway_attached: false,
            };
            ((&vpc.scope, &vpc.vpc_id), region)
        })
        .collect();
    macro_rules! sort_in {
        ($table:ident, $row:ident, $region:ident, $action:expr) => {
            for $row in snapshot.$table.all() {
                if let Some($region) = by_vpc.get_mut(&(&$row.scope, &$row.vpc_id)) {
                    $action;
                }
            }
        };
    }
    sort_in!(subnets, row, region, region.subnets.push(row));
    sort_in!(enis, row, region, region.enis.push(row));
    sort_in!(route_tables, row, region, region.route_tables.push(row));
    sort_in!(network_acls, row, region, region.acls.push(row));
    sort_in!(
        security_groups,
        row,
        region,
        region.groups.insert(row.group_id.as_str(), row)
    );
    for gateway in snapshot.internet_gateways.all() {
        if let Some(vpc_id) = &gateway.attached_vpc
            && let Some(region) = by_vpc.get_mut(&(&gateway.scope, vpc_id))
        {
            region.gateway_attached = true;
        }
    }
    let elastic: HashMap<_, _> = snapshot
        .elastic_ips
        .all()
        .filter_map(|ip| {
            let association = ip.association.as_ref()?;
            let key = (association.eni_id.as_str(), association.private_ip);
            Some((key, ip.public_ip))
        })
        .collect();
    for region in by_vpc.values_mut().filter(|r| r.gateway_attached) {
        region.public = public_addresses(region, &elastic);
    }
    by_vpc.into_values().collect()
}

/// An Elastic IP goes before the address that came with the interface (fact EIP-4).
fn public_addresses(
    region: &Region<'_>,
    elastic: &HashMap<(&str, Ipv4Addr), Ipv4Addr>,
) -> BTreeMap<Ipv4Addr, Ipv4Addr> {
    let mut public = BTreeMap::new();
    for eni in region.local() {
        for private_ip in eni.addresses() {
            let own = (private_ip == eni.private_ip)
                .then_some(eni.auto_public_ip)
                .flatten();
            let address = elastic
                .get(&(eni.eni_id.as_str(), private_ip))
                .copied()
                .or(own);
            if let Some(address) = address {
                public.insert(private_ip, address);
            }
        }
    }
    public
}

/// Names that two things of a program would share; ids are random, so only a forged store has any.
fn claim(taken: &mut BTreeSet<String>, name: &str) -> bool {
    taken.insert(name.to_owned())
}

impl Program {
    fn alarm(&mut self, resource: impl AsRef<str>, reason: impl Into<String>) {
        self.alarms.push(Alarm {
            resource: resource.as_ref().to_owned(),
            reason: reason.into(),
        });
    }
}

/// Whether this address of the public pool can be given a route: inside the pool, not the link's own.
fn routable(config: &RegionConfig, public_ip: Ipv4Addr) -> bool {
    config.public_cidr.contains(public_ip) && !names::is_link_address(config, public_ip)
}
