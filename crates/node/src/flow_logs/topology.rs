//! Whose an address is, and by which way a packet leaves: what attribution must know of one VPC.
//!
//! Built from a snapshot whenever that changes; pure. What must stay true: it names only interfaces that this host carries,
//! so that two hosts never report the same packet for one interface.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use fogbank_net::names;
use fogbank_types::aws_service::AWS_SERVICES;
use fogbank_types::ec2::{Eni, EniOwner, Route, RouteDestination, RouteTarget, Vpc};
use fogbank_types::{EniId, IpCidr, RegionConfig, Snapshot, SubnetId, VpcId, place};

use super::record::{Services, TaskFacts};

/// AWS's numbers of the ways out of an interface (those of Nitro).
/// <https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html>
const PATH_SAME_VPC: u8 = 1;
const PATH_PEERING: u8 = 4;
const PATH_GATEWAY_ENDPOINT: u8 = 7;
const PATH_INTERNET_GATEWAY: u8 = 8;

/// An interface that this host carries.
#[derive(Clone, Debug)]
pub struct Interface {
    pub eni: Arc<Eni>,
    pub zone_id: String,
}

/// Where a route leads.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Way {
    /// To a NAT gateway or an appliance.
    Interface {
        index: usize,
        nat: bool,
    },
    Path(u8),
    Other,
}

/// One VPC.
#[derive(Clone, Debug)]
pub struct Topology {
    pub vpc_id: VpcId,
    pub interfaces: Vec<Interface>,
    by_address: HashMap<IpAddr, usize>,
    by_device: HashMap<String, usize>,
    blocks: Vec<IpCidr>,
    /// Resolver, metadata, routers: AWS logs no traffic with them.
    platform: HashSet<IpAddr>,
    /// Of each subnet with an interface here, longest prefix first.
    routes: BTreeMap<SubnetId, Arc<Vec<(IpCidr, Way)>>>,
    services: HashMap<IpAddr, &'static str>,
    config: Arc<RegionConfig>,
}

impl Topology {
    pub fn of(snapshot: &Snapshot, config: &Arc<RegionConfig>, vpc: &Vpc) -> Self {
        let zones = place::zones(&vpc.scope.region);
        let interfaces: Vec<Interface> = snapshot
            .enis
            .in_scope(&vpc.scope)
            .filter(|eni| eni.vpc_id == vpc.vpc_id)
            .filter(|eni| eni.host.as_deref() == Some(config.host.as_str()))
            .map(|eni| Interface {
                zone_id: zones
                    .iter()
                    .find(|zone| zone.name == eni.zone)
                    .map(|zone| zone.id.clone())
                    .unwrap_or_default(),
                eni: Arc::clone(eni),
            })
            .collect();
        let (mut by_address, mut by_device) = (HashMap::new(), HashMap::new());
        for (index, interface) in interfaces.iter().enumerate() {
            by_device.insert(names::eni_device(&interface.eni.eni_id), index);
            let addresses = interface.eni.all_addresses();
            by_address.extend(addresses.map(|address| (address, index)));
        }
        let mut topology = Self {
            vpc_id: vpc.vpc_id.clone(),
            interfaces,
            by_address,
            by_device,
            blocks: vpc.all_blocks().collect(),
            platform: platform(snapshot, vpc),
            routes: BTreeMap::new(),
            services: services(config),
            config: Arc::clone(config),
        };
        topology.add_routes(snapshot);
        topology
    }

    fn add_routes(&mut self, snapshot: &Snapshot) {
        let mut by_table: HashMap<String, Arc<Vec<(IpCidr, Way)>>> = HashMap::new();
        for interface in &self.interfaces {
            let eni = &interface.eni;
            if self.routes.contains_key(&eni.subnet_id) {
                continue;
            }
            let table = snapshot
                .subnets
                .get(&eni.scope, &eni.subnet_id)
                .and_then(|subnet| snapshot.route_table_of(subnet));
            let Some(table) = table else { continue };
            let routes = by_table
                .entry(table.route_table_id.to_string())
                .or_insert_with(|| {
                    let mut routes = Vec::new();
                    for route in snapshot.routes_of(table) {
                        if snapshot.target_is_alive(table, &route.target) {
                            let way = self.way(snapshot, eni, &route);
                            let blocks = self.destinations(snapshot, eni, &route);
                            routes.extend(blocks.into_iter().map(|block| (block, way)));
                        }
                    }
                    routes.sort_by_key(|(block, _)| std::cmp::Reverse(block.length()));
                    Arc::new(routes)
                });
            self.routes
                .insert(eni.subnet_id.clone(), Arc::clone(routes));
        }
    }

    fn destinations(&self, snapshot: &Snapshot, eni: &Eni, route: &Route) -> Vec<IpCidr> {
        match &route.destination {
            RouteDestination::Block(block) => vec![*block],
            RouteDestination::PrefixList(id) => snapshot
                .prefix_list(&eni.scope, id, &self.config)
                .unwrap_or_default(),
        }
    }

    fn way(&self, snapshot: &Snapshot, eni: &Eni, route: &Route) -> Way {
        let interface = |id: &EniId, nat| {
            let index = self.by_device.get(&names::eni_device(id));
            index.map_or(Way::Path(PATH_SAME_VPC), |index| Way::Interface {
                index: *index,
                nat,
            })
        };
        match &route.target {
            RouteTarget::InternetGateway(_) => Way::Path(PATH_INTERNET_GATEWAY),
            RouteTarget::VpcPeeringConnection(_) => Way::Path(PATH_PEERING),
            RouteTarget::VpcEndpoint(_) => Way::Path(PATH_GATEWAY_ENDPOINT),
            RouteTarget::NetworkInterface(id) => interface(id, false),
            RouteTarget::NatGateway(id) => {
                let gateway = snapshot.nat_gateways.get(&eni.scope, id);
                match gateway.and_then(|gateway| gateway.eni_id.as_ref()) {
                    Some(id) => interface(id, true),
                    None => Way::Other,
                }
            }
            RouteTarget::EgressOnlyInternetGateway(_) => Way::Other,
        }
    }

    fn way_to(&self, from: usize, destination: IpAddr) -> Option<Way> {
        let subnet = &self.interfaces[from].eni.subnet_id;
        let routes = self.routes.get(subnet)?;
        let found = routes
            .iter()
            .find(|(block, _)| block.contains(destination))?;
        Some(found.1)
    }

    /// The interface with that address.
    pub fn owner(&self, address: IpAddr) -> Option<usize> {
        self.by_address.get(&address).copied()
    }

    /// The interface behind that device of the VPC's namespace.
    pub fn behind(&self, device: &str) -> Option<usize> {
        self.by_device.get(device).copied()
    }

    /// Whether that interface is among its own.
    pub fn has(&self, eni_id: &EniId) -> bool {
        self.behind(&names::eni_device(eni_id)).is_some()
    }

    /// The NAT gateway or appliance that a route of that interface's subnet leads to, and whether it translates.
    pub fn middle(&self, from: usize, outside: IpAddr) -> Option<(usize, bool)> {
        if self.is_local(outside) {
            return None;
        }
        match self.way_to(from, outside)? {
            Way::Interface { index, nat } if index != from => Some((index, nat)),
            _ => None,
        }
    }

    /// AWS's number of the way that a packet leaves that interface by.
    pub fn path(&self, from: usize, destination: IpAddr) -> Option<u8> {
        if self.is_local(destination) {
            return Some(PATH_SAME_VPC);
        }
        match self.way_to(from, destination)? {
            Way::Interface { .. } => Some(PATH_SAME_VPC),
            Way::Path(path) => Some(path),
            Way::Other => None,
        }
    }

    /// Inside the VPC.
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.blocks.iter().any(|block| block.contains(address))
    }

    /// Whether AWS logs nothing of traffic with that address.
    pub fn is_platform(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => {
                v4.is_link_local()
                    || v4.is_broadcast()
                    || v4.is_multicast()
                    || self.platform.contains(&address)
            }
            IpAddr::V6(v6) => {
                // fd00:ec2::/32 is the platform's of IPv6.
                v6.is_unicast_link_local()
                    || v6.is_multicast()
                    || v6.segments()[..2] == [0xfd00, 0x0ec2]
                    || self.platform.contains(&address)
            }
        }
    }

    /// How a record names the interface's own end: of IPv4 always by its primary private address.
    pub fn own(&self, index: usize, in_packet: IpAddr) -> IpAddr {
        let eni = &self.interfaces[index].eni;
        match in_packet {
            IpAddr::V4(_) => eni.private_ip.into(),
            IpAddr::V6(v6) if eni.ipv6_addresses.contains(&v6) => in_packet,
            IpAddr::V6(_) => eni
                .ipv6_addresses
                .first()
                .map_or(in_packet, |address| (*address).into()),
        }
    }
}

impl Services for Topology {
    /// The region's own public addresses are EC2's on AWS.
    fn service(&self, address: IpAddr) -> Option<&'static str> {
        if let Some(code) = self.services.get(&address) {
            return Some(code);
        }
        let IpAddr::V4(v4) = address else { return None };
        let given = self.config.public_cidr.contains(v4)
            && !names::is_link_address(&self.config, v4)
            && !is_link_end(&self.config, v4);
        given.then_some("EC2")
    }
}

/// The ends of the link between edge and host, which stand for the world outside.
fn is_link_end(config: &RegionConfig, address: Ipv4Addr) -> bool {
    let (edge, host) = names::link_addresses(config);
    address == edge || address == host
}

fn platform(snapshot: &Snapshot, vpc: &Vpc) -> HashSet<IpAddr> {
    let routers = snapshot
        .subnets
        .in_scope(&vpc.scope)
        .filter(|subnet| subnet.vpc_id == vpc.vpc_id)
        .map(|subnet| subnet.router());
    [
        names::RESOLVER,
        names::METADATA,
        names::TASK_METADATA,
        vpc.resolver(),
    ]
    .into_iter()
    .chain(routers)
    .map(IpAddr::V4)
    .collect()
}

fn services(config: &RegionConfig) -> HashMap<IpAddr, &'static str> {
    let mut services = HashMap::new();
    for service in AWS_SERVICES {
        let code = match service.endpoint {
            "s3" => "S3",
            "dynamodb" => "DYNAMODB",
            _ => "AMAZON",
        };
        services.insert(IpAddr::V4(config.service_address(service)), code);
        services.insert(IpAddr::V6(config.service_address_v6(service)), code);
    }
    services
}

/// The task behind an interface, as far as the rows know it.
pub fn task_facts(snapshot: &Snapshot, eni: &Eni) -> Option<TaskFacts> {
    let EniOwner::Task(arn) = &eni.owner else {
        return None;
    };
    let id = arn.rsplit('/').next().unwrap_or_default();
    let task = snapshot.tasks.get(&eni.scope, id)?;
    let cluster = snapshot.clusters.get(&eni.scope, &task.cluster);
    let containers = snapshot
        .task_statuses
        .get(&eni.scope, id)
        .map(|status| &status.containers[..])
        .unwrap_or_default();
    Some(TaskFacts {
        cluster_arn: cluster
            .map(|cluster| cluster.arn.clone())
            .unwrap_or_default(),
        cluster_name: task.cluster.clone(),
        task_arn: task.arn.clone(),
        task_id: task.id.clone(),
        definition_arn: task.task_definition_arn.clone(),
        service_name: task.group.strip_prefix("service:").map(str::to_owned),
        containers: containers
            .iter()
            .map(|container| container.runtime_id.clone())
            .collect(),
    })
}
