//! The rows of each VPC of this host, sorted in once, and what follows from them.

use super::focus::View;
use super::index::is_local;
use crate::names;
use crate::program::Family;
use fogbank_types::ec2::{
    ElasticIp, Eni, NetworkAcl, PeeringStatus, RouteTable, SecurityGroup, Subnet, Vpc, VpcEndpoint,
    VpcEndpointKind, VpcPeeringConnection,
};
use fogbank_types::{IpCidr, RegionConfig, Scope, Snapshot, VpcId};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};

/// One VPC with an interface on this host.
pub(super) struct Region<'a> {
    pub config: &'a RegionConfig,
    pub snapshot: &'a Snapshot,
    pub vpc: &'a Vpc,
    pub subnets: BTreeMap<&'a str, &'a Subnet>,
    /// Interfaces that live here, ordered by id; in an update those in focus.
    pub local: Vec<&'a Eni>,
    /// In an update: others that live here, of which only what is let through untracked may change.
    pub reopened: Vec<&'a Eni>,
    pub groups: BTreeMap<&'a str, &'a SecurityGroup>,
    /// Who is in a group that rules of this VPC may name: its own and those of VPCs that are
    /// actively peered in the same region (fact SG-9).
    pub members: Members<'a>,
    pub route_tables: Vec<&'a RouteTable>,
    pub acls: Vec<&'a NetworkAcl>,
    /// Private to public address, of interfaces on this host; empty without an internet gateway.
    pub public: BTreeMap<Ipv4Addr, Ipv4Addr>,
    pub internet_gateway: bool,
    pub egress_only_gateway: bool,
    /// Tells its link for gateway endpoints from others'; `None`: it has none.
    pub endpoint_number: Option<u16>,
    /// Active connections to VPCs that have an interface here, too.
    pub peers: Vec<Peer<'a>>,
    /// A flow log covers some of it.
    pub is_logged: bool,
    /// In an update: what is there of that which interfaces share.
    pub view: Option<&'a View>,
}

/// The other side of a peering connection.
pub(super) struct Peer<'a> {
    pub peering: &'a VpcPeeringConnection,
    pub vpc: &'a Vpc,
    /// Whether this side asked for it, which makes the link.
    pub is_requester: bool,
}

type Key<'a> = (&'a Scope, &'a VpcId);

/// Interfaces by the id of a group.
type Members<'a> = BTreeMap<&'a str, Vec<&'a Eni>>;

impl<'a> Region<'a> {
    pub fn new(snapshot: &'a Snapshot, config: &'a RegionConfig, vpc: &'a Vpc) -> Self {
        Self {
            config,
            snapshot,
            vpc,
            subnets: BTreeMap::new(),
            local: Vec::new(),
            reopened: Vec::new(),
            groups: BTreeMap::new(),
            members: BTreeMap::new(),
            route_tables: Vec::new(),
            acls: Vec::new(),
            public: BTreeMap::new(),
            internet_gateway: false,
            egress_only_gateway: false,
            endpoint_number: None,
            peers: Vec::new(),
            is_logged: false,
            view: None,
        }
    }

    pub fn subnet_of(&self, eni: &Eni) -> Option<&'a Subnet> {
        self.subnets.get(eni.subnet_id.as_str()).copied()
    }

    /// Whether an interface of that subnet lives here.
    pub fn is_occupied(&self, subnet: &Subnet) -> bool {
        match self.view {
            Some(view) => view.occupied.contains(subnet.subnet_id.as_str()),
            None => self.local.iter().any(|e| e.subnet_id == subnet.subnet_id),
        }
    }

    /// Whether what is made for the subnet as a whole is wanted.
    pub fn is_in_focus(&self, subnet: &Subnet) -> bool {
        self.view
            .is_none_or(|view| view.subnets.contains(subnet.subnet_id.as_str()))
    }

    /// The VPC's blocks of a family.
    pub fn blocks(&self, family: Family) -> impl Iterator<Item = IpCidr> {
        blocks(self.vpc, family)
    }

    /// Whether the VPC has that family at all.
    pub fn has(&self, family: Family) -> bool {
        family == Family::V4 || self.vpc.ipv6_blocks().next().is_some()
    }

    pub fn families(&self) -> impl Iterator<Item = Family> {
        [Family::V4, Family::V6]
            .into_iter()
            .filter(|f| self.has(*f))
    }

    /// The block of a subnet in a family.
    pub fn subnet_block(&self, subnet: &Subnet, family: Family) -> Option<IpCidr> {
        match family {
            Family::V4 => Some(subnet.cidr_block.into()),
            Family::V6 => subnet.ipv6_block().map(IpCidr::V6),
        }
    }

    /// An interface's addresses of a family; those of IPv6 only inside the VPC's blocks.
    pub fn addresses<'e>(
        &self,
        eni: &'e Eni,
        family: Family,
    ) -> impl Iterator<Item = IpAddr> + use<'e, 'a> {
        let vpc = self.vpc;
        eni.all_addresses()
            .filter(move |address| Family::of(*address) == family)
            .filter(move |address| {
                family == Family::V4 || blocks(vpc, family).any(|block| block.contains(*address))
            })
    }

    /// Whether a link to the edge is there for a family: it serves both gateways.
    pub fn has_gateway(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.internet_gateway,
            Family::V6 => self.has(family) && (self.internet_gateway || self.egress_only_gateway),
        }
    }

    pub fn has_edge_link(&self) -> bool {
        self.has_gateway(Family::V4) || self.has_gateway(Family::V6)
    }

    /// The devices of the VPC's namespace by which a family's packets leave the VPC.
    pub fn link_devices(&self, family: Family) -> Vec<String> {
        let mut devices = Vec::new();
        if !self.has(family) {
            return devices;
        }
        if self.has_gateway(family) {
            devices.push(names::GATEWAY_DEVICE.to_owned());
        }
        if self.endpoint_number.is_some() {
            devices.push(names::ENDPOINT_DEVICE.to_owned());
        }
        let peers = self.peers.iter();
        devices.extend(peers.map(|peer| names::peering_device(&peer.peering.peering_id)));
        devices
    }
}

pub(super) fn blocks(vpc: &Vpc, family: Family) -> impl Iterator<Item = IpCidr> {
    vpc.all_blocks()
        .filter(move |block| Family::of_block(*block) == family)
}

/// Rows by VPC; a VPC without an interface on this host needs nothing here.
pub(super) fn regions<'a>(snapshot: &'a Snapshot, config: &'a RegionConfig) -> Vec<Region<'a>> {
    let mut by_vpc: BTreeMap<Key<'a>, Region<'a>> = snapshot
        .vpcs
        .all()
        .map(|vpc| {
            let region = Region::new(snapshot, config, vpc);
            ((&vpc.scope, &vpc.vpc_id), region)
        })
        .collect();
    sort_in(&mut by_vpc, snapshot, config);
    let peerings = active_peerings(&by_vpc, snapshot);
    add_foreign_members(&mut by_vpc, &peerings);
    by_vpc.retain(|_, region| !region.local.is_empty());
    add_peers(&mut by_vpc, &peerings);
    let with_endpoint = by_vpc
        .values()
        .filter(|region| has_gateway_endpoint(region))
        .map(|region| region.vpc.vpc_id.as_str());
    let endpoint_numbers = endpoint_numbers(with_endpoint);
    for region in by_vpc.values_mut() {
        let number = endpoint_numbers.get(region.vpc.vpc_id.as_str());
        region.endpoint_number = number.copied();
        region.is_logged = is_logged(region);
    }
    let elastic = elastic_addresses(snapshot.elastic_ips.all().map(AsRef::as_ref));
    for region in by_vpc.values_mut().filter(|r| r.internet_gateway) {
        region.public = public_addresses(region, &elastic);
    }
    by_vpc.into_values().collect()
}

/// Each row to its VPC.
fn sort_in<'a>(
    by_vpc: &mut BTreeMap<Key<'a>, Region<'a>>,
    snapshot: &'a Snapshot,
    config: &'a RegionConfig,
) {
    macro_rules! each {
        ($table:ident, $row:ident, $region:ident, $action:expr) => {
            for $row in snapshot.$table.all() {
                if let Some($region) = by_vpc.get_mut(&(&$row.scope, &$row.vpc_id)) {
                    $action;
                }
            }
        };
    }
    each!(subnets, row, region, {
        region.subnets.insert(row.subnet_id.as_str(), row)
    });
    each!(security_groups, row, region, {
        region.groups.insert(row.group_id.as_str(), row);
        region.members.insert(row.group_id.as_str(), Vec::new())
    });
    each!(enis, row, region, {
        if is_local(row, config) {
            region.local.push(row);
        }
        for group in &row.groups {
            if let Some(members) = region.members.get_mut(group.as_str()) {
                members.push(row);
            }
        }
    });
    each!(route_tables, row, region, region.route_tables.push(row));
    each!(network_acls, row, region, region.acls.push(row));
    each!(egress_only_gateways, row, region, {
        region.egress_only_gateway = true
    });
    for gateway in snapshot.internet_gateways.all() {
        if let Some(vpc_id) = &gateway.attached_vpc
            && let Some(region) = by_vpc.get_mut(&(&gateway.scope, vpc_id))
        {
            region.internet_gateway = true;
        }
    }
}

/// Connections that are up, between two VPCs that are there.
fn active_peerings<'a>(
    by_vpc: &BTreeMap<Key<'a>, Region<'a>>,
    snapshot: &'a Snapshot,
) -> Vec<&'a VpcPeeringConnection> {
    let there =
        |side: &'a fogbank_types::ec2::PeeredVpc| by_vpc.contains_key(&(&side.scope, &side.vpc_id));
    let peerings = snapshot.peerings.all().map(AsRef::as_ref);
    peerings
        .filter(|peering| peering.status == PeeringStatus::Active)
        .filter(|peering| there(&peering.requester) && there(&peering.accepter))
        .collect()
}

fn sides(peering: &VpcPeeringConnection) -> [(Key<'_>, Key<'_>, bool); 2] {
    let [one, other] = [&peering.requester, &peering.accepter].map(|s| (&s.scope, &s.vpc_id));
    [(one, other, true), (other, one, false)]
}

/// Wherever the peer's interfaces are, its groups may be named.
fn add_foreign_members<'a>(
    by_vpc: &mut BTreeMap<Key<'a>, Region<'a>>,
    peerings: &[&'a VpcPeeringConnection],
) {
    let mut foreign: Vec<(Key<'a>, Members<'a>)> = Vec::new();
    for peering in peerings {
        for (own, other, _) in sides(peering) {
            if own.0.region != other.0.region {
                continue;
            }
            if let Some(peer) = by_vpc.get(&other) {
                let groups = peer.members.iter().map(|(id, all)| (*id, all.clone()));
                foreign.push((own, groups.collect()));
            }
        }
    }
    for (own, groups) in foreign {
        if let Some(region) = by_vpc.get_mut(&own) {
            region.members.extend(groups);
        }
    }
}

fn add_peers<'a>(
    by_vpc: &mut BTreeMap<Key<'a>, Region<'a>>,
    peerings: &[&'a VpcPeeringConnection],
) {
    for &peering in peerings {
        for (own, other, is_requester) in sides(peering) {
            let Some(vpc) = by_vpc.get(&other).map(|peer| peer.vpc) else {
                continue;
            };
            if let Some(region) = by_vpc.get_mut(&own) {
                region.peers.push(Peer {
                    peering,
                    vpc,
                    is_requester,
                });
            }
        }
    }
}

fn has_gateway_endpoint(region: &Region<'_>) -> bool {
    let endpoints = region.snapshot.vpc_endpoints.in_scope(&region.vpc.scope);
    endpoints
        .filter(|endpoint| endpoint.vpc_id == region.vpc.vpc_id)
        .any(|endpoint| is_gateway_endpoint(endpoint))
}

pub(super) fn is_gateway_endpoint(endpoint: &VpcEndpoint) -> bool {
    matches!(endpoint.kind, VpcEndpointKind::Gateway { .. })
}

/// A number for each VPC of this host that has a gateway endpoint.
pub(super) fn endpoint_numbers<'a>(
    with_endpoint: impl Iterator<Item = &'a str>,
) -> HashMap<&'a str, u16> {
    let count = u32::from(names::ENDPOINT_SOURCES_COUNT);
    let numbers = super::numbers(with_endpoint, count).into_iter();
    numbers.map(|(id, number)| (id, number as u16)).collect()
}

pub(super) fn is_logged(region: &Region<'_>) -> bool {
    use fogbank_types::diagnosis::FlowLogResource;
    let mut logs = region.snapshot.flow_logs.in_scope(&region.vpc.scope);
    logs.any(|log| match &log.resource {
        FlowLogResource::Vpc(id) => *id == region.vpc.vpc_id,
        FlowLogResource::Subnet(id) => region.subnets.contains_key(id.as_str()),
        FlowLogResource::NetworkInterface(id) => {
            let eni = region.snapshot.enis.get(&region.vpc.scope, id);
            eni.is_some_and(|eni| eni.vpc_id == region.vpc.vpc_id && is_local(eni, region.config))
        }
    })
}

pub(super) type Elastic<'a> = HashMap<(&'a str, Ipv4Addr), Ipv4Addr>;

pub(super) fn elastic_addresses<'a>(ips: impl Iterator<Item = &'a ElasticIp>) -> Elastic<'a> {
    let all = ips.filter_map(|ip| {
        let association = ip.association.as_ref()?;
        let key = (association.eni_id.as_str(), association.private_ip);
        Some((key, ip.public_ip))
    });
    all.collect()
}

/// An Elastic IP goes before the address that came with the interface (fact EIP-4).
pub(super) fn public_addresses(
    region: &Region<'_>,
    elastic: &Elastic<'_>,
) -> BTreeMap<Ipv4Addr, Ipv4Addr> {
    let mut public = BTreeMap::new();
    for eni in &region.local {
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
