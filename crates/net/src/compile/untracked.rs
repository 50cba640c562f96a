//! Which traffic AWS lets through without tracking it (facts SG-11 to SG-13).
//!
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html>
//!
//! TCP or UDP that a rule for everyone allows, while another for everyone allows all ports the
//! other way round. The kernel tracks it all the same; what is told here is only whose connections
//! the applier must have judged anew when the rule goes, which cuts them at once. Connections
//! through a NAT gateway, an egress-only gateway or PrivateLink are always tracked;
//! where a subnet leads to such a gateway, connections that its interfaces open are taken for
//! tracked, whatever their way. PrivateLink's are told by the addresses of interface
//! endpoints, here and in peers.

use super::Region;
use super::groups::{join, peer_blocks};
use super::routes;
use crate::program::{Direction, Family, Namespace, Range, Untracked};
use fogbank_types::Traffic;
use fogbank_types::ec2::{Eni, EniOwner, RouteTarget, SecurityGroup, VpcEndpointKind};
use std::collections::BTreeMap;

/// What a group's rules for everyone open.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    egress: bool,
    protocol: u8,
    family: Family,
}

/// What many interfaces have in common, found once.
#[derive(Default)]
pub(super) struct Known<'a> {
    /// The ports that each group opens.
    ports: BTreeMap<(&'a str, Way), Vec<Range>>,
    /// Subnets by whether they lead to a gateway that tracks by itself.
    trackers: BTreeMap<(&'a str, Family), bool>,
}

pub(super) fn add<'a>(
    router: &mut Namespace,
    region: &Region<'a>,
    eni: &'a Eni,
    known: &mut Known<'a>,
) {
    if matches!(
        eni.owner,
        EniOwner::NatGateway(_) | EniOwner::VpcEndpoint(_)
    ) {
        return;
    }
    for family in region.families() {
        let addresses: Vec<_> = region.addresses(eni, family).collect();
        if addresses.is_empty() {
            continue;
        }
        for protocol in [6, 17] {
            let mut open = |egress| {
                let way = Way {
                    egress,
                    protocol,
                    family,
                };
                known.ports(region, eni, way)
            };
            let (out, into) = (open(true), open(false));
            for (direction, ports, back) in
                [(Direction::In, &into, &out), (Direction::Out, &out, &into)]
            {
                let is_tracked = back.as_slice() != [Range::ALL]
                    || direction == Direction::Out && known.leaves_by_tracker(region, eni, family);
                if is_tracked {
                    continue;
                }
                let ports = ports.iter().copied();
                let entries = ports.flat_map(|ports| {
                    addresses.iter().map(move |address| Untracked {
                        address: *address,
                        direction,
                        protocol,
                        ports,
                    })
                });
                router.untracked.extend(entries);
            }
        }
    }
}

/// The addresses of interface endpoints that the VPC's interfaces can reach. Of all, also in an
/// update: who cuts connections must know each.
pub(super) fn add_endpoints(router: &mut Namespace, region: &Region<'_>) {
    let peers = region.peers.iter().map(|peer| peer.vpc);
    for vpc in peers.chain([region.vpc]) {
        let endpoints = region.snapshot.vpc_endpoints.in_scope(&vpc.scope);
        for endpoint in endpoints.filter(|endpoint| endpoint.vpc_id == vpc.vpc_id) {
            let VpcEndpointKind::Interface { eni_ids, .. } = &endpoint.kind else {
                continue;
            };
            let enis = eni_ids
                .iter()
                .filter_map(|id| region.snapshot.enis.get(&vpc.scope, id));
            router
                .tracked
                .extend(enis.flat_map(|eni| eni.all_addresses()));
        }
    }
}

impl<'a> Known<'a> {
    /// Over all groups of the interface.
    fn ports(&mut self, region: &Region<'a>, eni: &'a Eni, way: Way) -> Vec<Range> {
        let mut all = Vec::new();
        for id in &eni.groups {
            let Some(group) = region.groups.get(id.as_str()) else {
                continue;
            };
            let known = self.ports.entry((id.as_str(), way));
            all.extend_from_slice(known.or_insert_with(|| open_to_all(region, group, way)));
        }
        join(all)
    }

    fn leaves_by_tracker(&mut self, region: &Region<'a>, eni: &'a Eni, family: Family) -> bool {
        let known = self.trackers.entry((eni.subnet_id.as_str(), family));
        *known.or_insert_with(|| leaves_by_tracker(region, eni, family))
    }
}

/// The ports that rules for the whole family open.
fn open_to_all(region: &Region<'_>, group: &SecurityGroup, way: Way) -> Vec<Range> {
    let rules = group.rules.iter().filter(|rule| rule.egress == way.egress);
    let ranges = rules.filter_map(|rule| {
        let range = match rule.traffic {
            Traffic::All => Range::ALL,
            Traffic::Tcp(ports) if way.protocol == 6 => super::groups::range(ports),
            Traffic::Udp(ports) if way.protocol == 17 => super::groups::range(ports),
            _ => return None,
        };
        let blocks = peer_blocks(region, rule).ok()?;
        blocks.contains(&way.family.any()).then_some(range)
    });
    join(ranges.collect())
}

/// Whether a route of the interface's subnet leads to a gateway that tracks by itself.
fn leaves_by_tracker(region: &Region<'_>, eni: &Eni, family: Family) -> bool {
    let table = region
        .subnet_of(eni)
        .and_then(|subnet| routes::table_of(region, subnet));
    table.is_some_and(|table| {
        let routes = routes::resolved(region, table, family);
        routes.values().any(|target| {
            matches!(
                target,
                RouteTarget::NatGateway(_) | RouteTarget::EgressOnlyInternetGateway(_)
            )
        })
    })
}
