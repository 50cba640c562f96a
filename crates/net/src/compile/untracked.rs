//! Which traffic AWS lets through without tracking it (facts SG-11 to SG-13).
//!
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html>
//!
//! TCP or UDP that a rule for everyone allows, while another for everyone allows all ports the
//! other way round. The kernel tracks it all the same; what is told here is only whose connections
//! the applier must forget when the rule goes, which cuts them at once: the next packet is judged
//! as a new one. Connections through a NAT gateway, an egress-only gateway or PrivateLink are
//! always tracked; where a subnet leads to such a gateway, connections that its interfaces open
//! are taken for tracked, whatever their way.

use super::Region;
use super::groups::{join, peer_blocks};
use super::routes;
use crate::program::{Direction, Family, Namespace, Range, Untracked};
use fogbank_types::Traffic;
use fogbank_types::ec2::{Eni, EniOwner, RouteTarget};

pub(super) fn add(router: &mut Namespace, region: &Region<'_>, eni: &Eni) {
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
            let open = |egress| open_to_all(region, eni, egress, protocol, family);
            let (out, into) = (open(true), open(false));
            for (direction, ports, back) in
                [(Direction::In, &into, &out), (Direction::Out, &out, &into)]
            {
                let is_tracked = back.as_slice() != [Range::ALL]
                    || direction == Direction::Out && leaves_by_tracker(region, eni, family);
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

/// The ports that rules for the whole family open, over all groups of the interface.
fn open_to_all(
    region: &Region<'_>,
    eni: &Eni,
    egress: bool,
    protocol: u8,
    family: Family,
) -> Vec<Range> {
    let groups = eni.groups.iter();
    let rules = groups
        .filter_map(|id| region.groups.get(id.as_str()))
        .flat_map(|group| &group.rules)
        .filter(|rule| rule.egress == egress);
    let ranges = rules.filter_map(|rule| {
        let range = match rule.traffic {
            Traffic::All => Range::ALL,
            Traffic::Tcp(ports) if protocol == 6 => super::groups::range(ports),
            Traffic::Udp(ports) if protocol == 17 => super::groups::range(ports),
            _ => return None,
        };
        let blocks = peer_blocks(region, rule).ok()?;
        blocks.contains(&family.any()).then_some(range)
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
