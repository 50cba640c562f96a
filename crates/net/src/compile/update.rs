//! A compiler that remembers: rows that changed -> the part of the program that changes.
//!
//! Called by the node for each batch of the store. Work is proportional to what the changed rows
//! concern: a rule is compiled with its group, an interface with its lists of groups, a route table
//! or an ACL with its VPC's routers; what is rare and reaches far (VPCs, subnets, gateways,
//! peerings, endpoints, prefix lists, flow logs, zone faults, idle timeouts, a VPC's first or last
//! interface) is compiled from scratch. What must stay true: after any changes the patched program equals the
//! one that `compile` makes of the same snapshot (a property).

use super::focus::{Focuses, Side, TooWide, regions, views};
use super::index::{Index, VpcKey};
use super::{HostView, compile};
use crate::patch::Patch;
use crate::program::Program;
use fogbank_types::ec2::{NetworkAcl, RouteTable, RouteTarget};
use fogbank_types::{Row, Snapshot};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What became of a program.
#[derive(Clone, Debug)]
pub enum Change {
    /// All of it, whatever it was before.
    Whole(Box<Program>),
    Part(Box<Patch>),
}

pub struct Compiler {
    config: HostView,
    /// `None`: nothing was compiled yet.
    last: Option<(Snapshot, Index)>,
}

/// A row before and after, if it is another.
struct Pair<'a, T> {
    old: Option<&'a Arc<T>>,
    new: Option<&'a Arc<T>>,
}

impl<'a, T: Row + PartialEq> Pair<'a, T> {
    fn of(key: &str, old: &'a Snapshot, new: &'a Snapshot) -> Option<Self> {
        let row = |snapshot: &'a Snapshot| T::table(snapshot).versioned(key).map(|row| &row.value);
        let (old, new) = (row(old), row(new));
        let same = match (old, new) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new) || old == new,
            (None, None) => true,
            _ => false,
        };
        (!same).then_some(Self { old, new })
    }

    fn both(&self) -> impl Iterator<Item = &'a T> {
        [self.old, self.new]
            .into_iter()
            .flatten()
            .map(AsRef::as_ref)
    }

    /// Of one side's snapshot and row.
    fn on<'s>(&self, before: Side<'s>, after: Side<'s>) -> impl Iterator<Item = (Side<'s>, &'a T)> {
        let sides = [(before, self.old), (after, self.new)];
        sides
            .into_iter()
            .filter_map(|(side, row)| Some((side, row?.as_ref())))
    }
}

/// Whether rows of a kind differ in more than their tags.
fn differs<T: Row + PartialEq + Clone>(
    key: &str,
    old: &Snapshot,
    new: &Snapshot,
    bare: fn(&mut T),
) -> bool {
    Pair::<T>::of(key, old, new).is_some_and(|pair| match (pair.old, pair.new) {
        (Some(old), Some(new)) => {
            let [old, new] = [old, new].map(|row| {
                let mut row = T::clone(row);
                bare(&mut row);
                row
            });
            old != new
        }
        _ => true,
    })
}

impl Compiler {
    pub fn new(config: HostView) -> Self {
        Self { config, last: None }
    }

    /// The change from the snapshot of the last call to this one; `changed` has the keys of at least
    /// all rows in which they differ. The first call compiles everything.
    pub fn update<'k>(
        &mut self,
        snapshot: &Snapshot,
        changed: impl IntoIterator<Item = &'k str>,
    ) -> Change {
        let Some((old, old_index)) = self.last.take() else {
            let index = Index::of(snapshot, &self.config);
            self.last = Some((snapshot.clone(), index));
            return Change::Whole(Box::new(compile(snapshot, &self.config)));
        };
        let changed: BTreeSet<&str> = changed.into_iter().collect();
        let index = self.reindex(&old, snapshot, &old_index, &changed);
        let before = Side {
            snapshot: &old,
            index: &old_index,
            config: &self.config,
        };
        let after = Side {
            snapshot,
            index: &index,
            config: &self.config,
        };
        let change = match patch(before, after, &changed) {
            Ok(patch) => Change::Part(Box::new(patch)),
            Err(TooWide) => Change::Whole(Box::new(compile(snapshot, &self.config))),
        };
        self.last = Some((snapshot.clone(), index));
        change
    }

    fn reindex(
        &self,
        old: &Snapshot,
        new: &Snapshot,
        index: &Index,
        changed: &BTreeSet<&str>,
    ) -> Index {
        use fogbank_types::ec2;
        let mut index = index.clone();
        for key in changed {
            macro_rules! by_kind {
                ($($row:ty: $table:ident),*) => {
                    match kind(key) {
                        $(<$row>::KIND => {
                            if let Some(pair) = Pair::<$row>::of(key, old, new) {
                                if let Some(row) = pair.old {
                                    index.$table(row, &self.config, false);
                                }
                                if let Some(row) = pair.new {
                                    index.$table(row, &self.config, true);
                                }
                            }
                        })*
                        _ => {}
                    }
                };
            }
            by_kind!(
                ec2::Subnet: subnets,
                ec2::RouteTable: route_tables,
                ec2::NetworkAcl: network_acls,
                ec2::SecurityGroup: security_groups,
                ec2::Eni: enis,
                ec2::ElasticIp: elastic_ips
            );
        }
        index
    }
}

fn kind(key: &str) -> &str {
    key.split('/').next().unwrap_or_default()
}

fn patch(before: Side<'_>, after: Side<'_>, changed: &BTreeSet<&str>) -> Result<Patch, TooWide> {
    let mut focuses = Focuses::default();
    for key in changed {
        add(&mut focuses, before, after, key)?;
    }
    focuses.finish(before, after)?;
    let seen = [before, after].map(|side| views(side, &focuses));
    let [old, new] = [
        regions(before, &focuses, &seen[0])?,
        regions(after, &focuses, &seen[1])?,
    ];
    // What is logged is told in every gate.
    let is_other = |(old, new): (&super::Region<'_>, &super::Region<'_>)| {
        old.is_logged != new.is_logged || old.endpoint_number != new.endpoint_number
    };
    if old.iter().zip(&new).any(is_other) {
        return Err(TooWide);
    }
    if old.is_empty() {
        return Ok(Patch::default());
    }
    Ok(Patch {
        before: super::program_of(&old, before.config),
        after: super::program_of(&new, after.config),
    })
}

/// Brings what a changed row concerns into focus.
fn add(focuses: &mut Focuses, before: Side<'_>, after: Side<'_>, key: &str) -> Result<(), TooWide> {
    use fogbank_types::{diagnosis, ec2};
    let (old, new) = (before.snapshot, after.snapshot);
    macro_rules! whole_if_differs {
        ($row:ty) => {
            if differs::<$row>(key, old, new, |row| row.tags.clear()) {
                return Err(TooWide);
            }
        };
    }
    match kind(key) {
        ec2::SecurityGroup::KIND => {
            if let Some(pair) = Pair::<ec2::SecurityGroup>::of(key, old, new) {
                let row = |row: Option<&Arc<ec2::SecurityGroup>>| row.cloned();
                let (one, other) = (row(pair.old), row(pair.new));
                focuses.group(before, one.as_deref(), other.as_deref());
            }
        }
        ec2::Eni::KIND => {
            if let Some(pair) = Pair::<ec2::Eni>::of(key, old, new) {
                let [one, other] = [(pair.old, before), (pair.new, after)]
                    .map(|(eni, side)| eni.and_then(|eni| super::idle::part_of(eni, side.config)));
                if one != other {
                    return Err(TooWide);
                }
                for (side, eni) in pair.on(before, after) {
                    focuses.eni(side, eni);
                }
            }
        }
        ec2::ElasticIp::KIND => {
            if let Some(pair) = Pair::<ec2::ElasticIp>::of(key, old, new) {
                for association in pair.both().filter_map(|ip| ip.association.as_ref()) {
                    let id = association.eni_id.as_str();
                    for (side, ip) in pair.on(before, after) {
                        focuses.eni_by_id(side, &ip.scope, id);
                    }
                }
            }
        }
        ec2::RouteTable::KIND => {
            if let Some(pair) = Pair::<ec2::RouteTable>::of(key, old, new) {
                add_route_table(focuses, before, after, &pair);
            }
        }
        ec2::NetworkAcl::KIND => {
            if let Some(pair) = Pair::<ec2::NetworkAcl>::of(key, old, new) {
                let by_device = acls_differ_by_device(&pair);
                for (side, acl) in pair.on(before, after) {
                    focuses.acl(side, acl, by_device);
                }
            }
        }
        ec2::Vpc::KIND => whole_if_differs!(ec2::Vpc),
        ec2::Subnet::KIND => whole_if_differs!(ec2::Subnet),
        ec2::InternetGateway::KIND => whole_if_differs!(ec2::InternetGateway),
        ec2::EgressOnlyInternetGateway::KIND => {
            whole_if_differs!(ec2::EgressOnlyInternetGateway);
        }
        ec2::NatGateway::KIND => whole_if_differs!(ec2::NatGateway),
        ec2::VpcPeeringConnection::KIND => whole_if_differs!(ec2::VpcPeeringConnection),
        ec2::VpcEndpoint::KIND => whole_if_differs!(ec2::VpcEndpoint),
        ec2::PrefixList::KIND => whole_if_differs!(ec2::PrefixList),
        diagnosis::FlowLog::KIND => whole_if_differs!(diagnosis::FlowLog),
        ec2::ZoneFault::KIND if differs::<ec2::ZoneFault>(key, old, new, |_| {}) => {
            return Err(TooWide);
        }
        // The network is not made of it.
        _ => {}
    }
    Ok(())
}

fn add_route_table(
    focuses: &mut Focuses,
    before: Side<'_>,
    after: Side<'_>,
    pair: &Pair<'_, RouteTable>,
) {
    // Where connections go that a gateway tracks decides what is untracked (fact SG-12).
    let trackers = |table: Option<&Arc<RouteTable>>| {
        let routes = table.into_iter().flat_map(|table| table.routes.clone());
        routes
            .filter(|route| {
                matches!(
                    route.target,
                    RouteTarget::NatGateway(_) | RouteTarget::EgressOnlyInternetGateway(_)
                )
            })
            .collect::<Vec<_>>()
    };
    let subnets = |table: Option<&Arc<RouteTable>>| {
        let all = table.into_iter().flat_map(|table| &table.associations);
        all.map(|a| a.subnet_id.clone()).collect::<BTreeSet<_>>()
    };
    let is_moved =
        trackers(pair.old) != trackers(pair.new) || subnets(pair.old) != subnets(pair.new);
    for (side, table) in pair.on(before, after) {
        focuses.route_table(side, table);
        if is_moved {
            let key: VpcKey = (table.scope.clone(), table.vpc_id.clone());
            focuses.all_enis(side, &key);
        }
    }
}

/// Whether other devices are sent to an ACL's chains than before: another subnet has it, or it lets
/// everything pass, which needs no chain.
fn acls_differ_by_device(pair: &Pair<'_, NetworkAcl>) -> bool {
    let shape = |acl: Option<&Arc<NetworkAcl>>| {
        acl.map(|acl| {
            let subnets: BTreeSet<_> = acl
                .associations
                .iter()
                .map(|a| a.subnet_id.clone())
                .collect();
            (subnets, acl.is_default, super::acl::open_ways(acl))
        })
    };
    shape(pair.old) != shape(pair.new)
}
