//! The rows behind a step: which rule of a group, which entry of an ACL, which route it was.

use super::{Side, component, hop, of_eni};
use crate::names;
use crate::packet::Packet;
use fogbank_types::diagnosis::{Decision, PathHop};
use fogbank_types::ec2::{
    Eni, EniOwner, NetworkAcl, NetworkAclEntry, RouteDestination, RouteTable, RouteTarget,
    RulePeer, SecurityGroup, SecurityGroupRule, Subnet, VpcEndpoint, VpcEndpointKind,
};
use fogbank_types::{
    EniId, IpCidr, PrefixListId, RegionConfig, Scope, SecurityGroupId, Snapshot, Traffic, VpcId,
    aws_service,
};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The last entry of every network ACL, which denies what no other decided.
const LAST_ENTRY: u16 = 32_767;

pub(super) struct Rows<'a> {
    pub snapshot: &'a Snapshot,
    pub config: &'a RegionConfig,
    by_device: HashMap<String, &'a Arc<Eni>>,
}

/// A route in effect and the table that has it.
pub(super) struct Found<'a> {
    pub table: &'a RouteTable,
    pub destination: String,
    /// `None`: local.
    pub target: Option<RouteTarget>,
}

impl<'a> Rows<'a> {
    pub fn new(snapshot: &'a Snapshot, config: &'a RegionConfig) -> Self {
        let by_device = snapshot
            .enis
            .all()
            .map(|eni| (names::eni_device(&eni.eni_id), eni))
            .collect();
        Self {
            snapshot,
            config,
            by_device,
        }
    }

    pub fn eni(&self, id: &EniId) -> Option<&'a Eni> {
        let eni: &'a Arc<Eni> = self.by_device.get(&names::eni_device(id))?;
        Some(eni)
    }

    pub fn side(&self, vpc_id: &VpcId, device: &str) -> Option<Side> {
        if device == names::GATEWAY_DEVICE {
            return Some(Side::InternetGateway);
        }
        if device == names::ENDPOINT_DEVICE {
            let mut endpoints = self.snapshot.vpc_endpoints.all();
            let gateway = |e: &&Arc<VpcEndpoint>| {
                e.vpc_id == *vpc_id && matches!(e.kind, VpcEndpointKind::Gateway { .. })
            };
            let id = endpoints.find(gateway)?.vpc_endpoint_id.to_string();
            return Some(Side::Endpoint(id));
        }
        if let Some(eni) = self.by_device.get(device) {
            return (eni.vpc_id == *vpc_id).then(|| Side::Eni(Arc::clone(eni)));
        }
        let mut peerings = self.snapshot.peerings.all();
        peerings
            .find(|peering| names::peering_device(&peering.peering_id) == device)
            .map(|peering| Side::Peering(peering.peering_id.to_string()))
    }

    pub fn internet_gateway(&self, vpc_id: &VpcId) -> Option<&'a str> {
        let mut gateways = self.snapshot.internet_gateways.all();
        let gateway = gateways.find(|g| g.attached_vpc.as_ref() == Some(vpc_id))?;
        Some(gateway.internet_gateway_id.as_str())
    }

    /// What the subnet's route towards the edge names: an internet gateway, an egress-only one or an endpoint.
    pub fn way_out(&self, vpc_id: &VpcId, from: Option<&Side>, packet: Packet) -> String {
        let routed = match from {
            Some(Side::Eni(eni)) => self.route(eni, packet.destination),
            _ => None,
        };
        match routed.and_then(|found| found.target) {
            Some(target) => target.id().to_owned(),
            None => self
                .internet_gateway(vpc_id)
                .unwrap_or("internet gateway")
                .to_owned(),
        }
    }

    pub fn service_name(&self, address: IpAddr) -> String {
        let has = |service: &&aws_service::AwsService| {
            IpAddr::V4(self.config.service_address(service)) == address
                || IpAddr::V6(self.config.service_address_v6(service)) == address
        };
        let services = aws_service::AWS_SERVICES;
        let names: Vec<_> = services.iter().filter(has).map(|s| s.endpoint).collect();
        match names.as_slice() {
            [one] => format!("com.amazonaws.{one}"),
            _ => "com.amazonaws".to_owned(),
        }
    }

    pub fn subnet(&self, eni: &Eni) -> Option<&'a Arc<Subnet>> {
        self.snapshot.subnets.get(&eni.scope, &eni.subnet_id)
    }

    /// The first rule of the interface's groups that lets the packet pass.
    pub fn group_rule(
        &self,
        eni: &Eni,
        packet: Packet,
        egress: bool,
    ) -> Option<(&'a SecurityGroup, &'a SecurityGroupRule)> {
        let peer = if egress {
            packet.destination
        } else {
            packet.source
        };
        let groups = eni.groups.iter();
        let mut groups = groups.filter_map(|id| self.snapshot.security_groups.get(&eni.scope, id));
        groups.find_map(|group| {
            let matches = |rule: &&SecurityGroupRule| {
                rule.egress == egress
                    && covers(rule.traffic, packet)
                    && self.is_peer(&eni.scope, &rule.peer, peer)
            };
            Some((group.as_ref(), group.rules.iter().find(matches)?))
        })
    }

    fn is_peer(&self, scope: &Scope, rule: &RulePeer, peer: IpAddr) -> bool {
        match (rule, peer) {
            (RulePeer::Ipv4(block), IpAddr::V4(peer)) => block.contains(peer),
            (RulePeer::Ipv6(block), IpAddr::V6(peer)) => block.contains(peer),
            (RulePeer::Group(group), _) => self.is_member(group, peer),
            (RulePeer::PrefixList(list), _) => {
                self.list(scope, list).iter().any(|b| b.contains(peer))
            }
            _ => false,
        }
    }

    fn is_member(&self, group: &SecurityGroupId, peer: IpAddr) -> bool {
        let mut enis = self.snapshot.enis.all();
        enis.any(|eni| eni.groups.contains(group) && eni.all_addresses().any(|a| a == peer))
    }

    fn list(&self, scope: &Scope, id: &PrefixListId) -> Vec<IpCidr> {
        self.snapshot
            .prefix_list(scope, id, self.config)
            .unwrap_or_default()
    }

    /// Interfaces without groups (of NAT gateways) have no such hop, nor has a packet that an ACL stopped before its
    /// groups were asked: the kernel's order is not AWS's.
    pub fn group_hop(
        &self,
        eni: &Eni,
        packet: Packet,
        egress: bool,
        reply: bool,
    ) -> Option<PathHop> {
        if matches!(eni.owner, EniOwner::NatGateway(_)) {
            return None;
        }
        if reply {
            let id = eni.groups.first()?;
            let at = of_eni(eni, id.as_str());
            return Some(hop(at, packet, Some(Decision::Established)));
        }
        let (group, rule) = self.group_rule(eni, packet, egress)?;
        let decision = Decision::GroupRule {
            group_id: group.group_id.clone(),
            rule_id: rule.rule_id.clone(),
            egress,
        };
        let at = of_eni(eni, group.group_id.as_str());
        Some(hop(at, packet, Some(decision)))
    }

    /// The ACL of the interface's subnet and the entry that decides.
    pub fn acl_entry(
        &self,
        eni: &Eni,
        packet: Packet,
        egress: bool,
    ) -> Option<(&'a NetworkAcl, Option<&'a NetworkAclEntry>)> {
        let peer = if egress {
            packet.destination
        } else {
            packet.source
        };
        let acl = self.snapshot.network_acl_of(self.subnet(eni)?)?;
        let entries = acl.entries.iter().filter(|entry| {
            entry.egress == egress
                && entry.cidr_block.contains(peer)
                && covers(entry.traffic, packet)
        });
        Some((acl.as_ref(), entries.min_by_key(|entry| entry.number)))
    }

    pub fn acl_hop(&self, eni: &Eni, packet: Packet, egress: bool) -> Option<PathHop> {
        let (acl, entry) = self.acl_entry(eni, packet, egress)?;
        let decision = acl_decision(acl, entry, egress);
        let id = acl.network_acl_id.as_str();
        Some(hop(of_eni(eni, id), packet, Some(decision)))
    }

    /// The route in effect for what the interface sends there; `None` if there is none.
    pub fn route(&self, eni: &Eni, destination: IpAddr) -> Option<Found<'a>> {
        let table = self.snapshot.route_table_of(self.subnet(eni)?)?;
        let vpc = self.snapshot.vpcs.get(&eni.scope, &eni.vpc_id)?;
        let local = vpc
            .all_blocks()
            .map(|block| (block, 2, block.to_string(), None));
        let routes = self
            .snapshot
            .routes_of(table)
            .into_iter()
            .flat_map(|route| {
                let name = route.destination.to_string();
                let (blocks, rank) = match &route.destination {
                    RouteDestination::Block(block) => (vec![*block], 1),
                    RouteDestination::PrefixList(id) => (self.list(&eni.scope, id), 0),
                };
                let target = Some(route.target);
                blocks
                    .into_iter()
                    .map(move |block| (block, rank, name.clone(), target.clone()))
            });
        // Longest prefix; among equals local, static, prefix list (fact RTB-2).
        let (_, _, destination, target) = local
            .chain(routes)
            .filter(|(block, ..)| block.contains(destination))
            .max_by_key(|(block, rank, ..)| (block.length(), *rank))?;
        Some(Found {
            table,
            destination,
            target,
        })
    }

    pub fn route_hop(&self, eni: &Eni, packet: Packet) -> Option<PathHop> {
        let found = self.route(eni, packet.destination)?;
        let decision = route_decision(&found);
        let id = found.table.route_table_id.as_str();
        Some(hop(
            component(id, Some(&eni.vpc_id), Some(&eni.subnet_id)),
            packet,
            Some(decision),
        ))
    }
}

pub(super) fn acl_decision(
    acl: &NetworkAcl,
    entry: Option<&NetworkAclEntry>,
    egress: bool,
) -> Decision {
    Decision::AclEntry {
        network_acl_id: acl.network_acl_id.clone(),
        number: entry.map_or(LAST_ENTRY, |entry| entry.number),
        egress,
        allow: entry.is_some_and(|entry| entry.allow),
    }
}

pub(super) fn route_decision(found: &Found<'_>) -> Decision {
    let target = found.target.as_ref();
    Decision::Route {
        route_table_id: found.table.route_table_id.clone(),
        destination: found.destination.clone(),
        target: target.map_or("local", |target| target.id()).to_owned(),
    }
}

/// Whether a rule's protocol, ports or types are the packet's.
fn covers(traffic: Traffic, packet: Packet) -> bool {
    let has_type = |kind: Option<(u8, Option<u8>)>| {
        kind.is_none_or(|(kind, code)| {
            packet.detail >> 8 == u16::from(kind)
                && code.is_none_or(|code| packet.detail & 0xff == u16::from(code))
        })
    };
    match traffic {
        Traffic::All => true,
        Traffic::Tcp(ports) => packet.protocol == 6 && ports.contains(packet.detail),
        Traffic::Udp(ports) => packet.protocol == 17 && ports.contains(packet.detail),
        Traffic::Icmp(kind) => packet.protocol == 1 && has_type(kind),
        Traffic::Icmpv6(kind) => packet.protocol == 58 && has_type(kind),
        Traffic::Protocol(number) => packet.protocol == number,
    }
}
