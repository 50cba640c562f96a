//! Who hangs together with whom, so that an update finds it without a walk over all rows.
//!
//! Kept by `Compiler` along with its snapshot. The maps are persistent: a clone costs nothing, so
//! that an update has the index of the snapshot before it and of the one after it. What must stay
//! true: the index is a function of the snapshot (a test rebuilds it after each change).

use fogbank_types::ec2::{Eni, EniOwner, RulePeer, SecurityGroup};
use fogbank_types::{RegionConfig, Scope, Snapshot, VpcId};
use rpds::{RedBlackTreeMapSync as Map, RedBlackTreeSetSync as Set};

pub(super) type VpcKey = (Scope, VpcId);

/// One VPC's part. All sets hold the last parts of keys: ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Entry {
    pub subnets: Set<String>,
    pub route_tables: Set<String>,
    pub acls: Set<String>,
    pub groups: Set<String>,
    /// Interfaces on this host, and those of them whose source/destination check is off.
    pub local: Set<String>,
    pub unchecked: Set<String>,
    /// Interfaces on this host, by subnet.
    pub by_subnet: Map<String, Set<String>>,
    /// Interfaces on whatever host, by group.
    pub members: Map<String, Set<String>>,
    /// How many interfaces on this host have a group, or exactly this list of groups.
    pub users: Map<String, usize>,
    pub lists: Map<Vec<String>, usize>,
    /// Groups that interfaces here have and that are not there: a forged store, or rows on their way.
    pub unknown: Set<String>,
    /// Groups that have a rule which names that group, own or not.
    pub namers: Map<String, Set<String>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Index {
    entries: Map<VpcKey, Entry>,
    /// Allocations of Elastic IPs, by interface.
    pub elastic: Map<String, Set<String>>,
}

/// The groups of an interface as the firewall has them: sorted, once each.
pub(super) fn group_list(eni: &Eni) -> Vec<String> {
    let mut groups: Vec<String> = eni.groups.iter().map(|g| g.to_string()).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// Whether groups filter it: a NAT gateway has none.
pub(super) fn has_groups(eni: &Eni) -> bool {
    !matches!(eni.owner, EniOwner::NatGateway(_))
}

pub(super) fn is_local(eni: &Eni, config: &RegionConfig) -> bool {
    eni.host.as_deref() == Some(config.host.as_str())
}

/// The groups that a group's rules name.
pub(super) fn named(group: &SecurityGroup) -> impl Iterator<Item = &str> {
    group.rules.iter().filter_map(|rule| match &rule.peer {
        RulePeer::Group(id) => Some(id.as_str()),
        _ => None,
    })
}

fn change_set<K: Ord + Clone>(sets: &mut Map<K, Set<String>>, key: &K, id: &str, is_in: bool) {
    let mut set = sets.get(key).cloned().unwrap_or_default();
    if is_in {
        set.insert_mut(id.to_owned());
    } else {
        set.remove_mut(id);
    }
    if set.is_empty() {
        sets.remove_mut(key);
    } else {
        sets.insert_mut(key.clone(), set);
    }
}

fn put_in(set: &mut Set<String>, id: &str, is_in: bool) {
    if is_in {
        set.insert_mut(id.to_owned());
    } else {
        set.remove_mut(id);
    }
}

fn count<K: Ord + Clone>(counts: &mut Map<K, usize>, key: &K, is_in: bool) {
    let before = counts.get(key).copied().unwrap_or(0);
    match if is_in {
        before + 1
    } else {
        before.saturating_sub(1)
    } {
        0 => {
            counts.remove_mut(key);
        }
        n => counts.insert_mut(key.clone(), n),
    }
}

impl Entry {
    /// After its row or its users changed.
    fn know(&mut self, group: &str) {
        let is_unknown = self.users.contains_key(group) && !self.groups.contains(group);
        put_in(&mut self.unknown, group, is_unknown);
    }
}

impl Index {
    pub fn of(snapshot: &Snapshot, config: &RegionConfig) -> Self {
        let mut index = Self::default();
        macro_rules! all {
            ($($table:ident),*) => {
                $(for row in snapshot.$table.all() {
                    index.$table(row, config, true);
                })*
            };
        }
        all!(
            subnets,
            route_tables,
            network_acls,
            security_groups,
            enis,
            elastic_ips
        );
        index
    }

    pub fn entry(&self, key: &VpcKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// VPCs that have an interface on this host.
    pub fn is_here(&self, key: &VpcKey) -> bool {
        self.entries
            .get(key)
            .is_some_and(|entry| !entry.local.is_empty())
    }

    fn change(&mut self, scope: &Scope, vpc_id: &VpcId, change: impl FnOnce(&mut Entry)) {
        let key = (scope.clone(), vpc_id.clone());
        let mut entry = self.entries.get(&key).cloned().unwrap_or_default();
        change(&mut entry);
        if entry == Entry::default() {
            self.entries.remove_mut(&key);
        } else {
            self.entries.insert_mut(key, entry);
        }
    }
}

/// One function a kind of row: takes it in, or out as it was put in.
impl Index {
    pub fn subnets(&mut self, row: &fogbank_types::ec2::Subnet, _: &RegionConfig, is_in: bool) {
        self.change(&row.scope, &row.vpc_id, |entry| {
            put_in(&mut entry.subnets, row.subnet_id.as_str(), is_in);
        });
    }

    pub fn route_tables(
        &mut self,
        row: &fogbank_types::ec2::RouteTable,
        _: &RegionConfig,
        is_in: bool,
    ) {
        self.change(&row.scope, &row.vpc_id, |entry| {
            put_in(&mut entry.route_tables, row.route_table_id.as_str(), is_in);
        });
    }

    pub fn network_acls(
        &mut self,
        row: &fogbank_types::ec2::NetworkAcl,
        _: &RegionConfig,
        is_in: bool,
    ) {
        self.change(&row.scope, &row.vpc_id, |entry| {
            put_in(&mut entry.acls, row.network_acl_id.as_str(), is_in);
        });
    }

    pub fn security_groups(&mut self, row: &SecurityGroup, _: &RegionConfig, is_in: bool) {
        let id = row.group_id.as_str();
        self.change(&row.scope, &row.vpc_id, |entry| {
            put_in(&mut entry.groups, id, is_in);
            entry.know(id);
            for named in named(row) {
                change_set(&mut entry.namers, &named.to_owned(), id, is_in);
            }
        });
    }

    pub fn enis(&mut self, row: &Eni, config: &RegionConfig, is_in: bool) {
        let id = row.eni_id.as_str();
        self.change(&row.scope, &row.vpc_id, |entry| {
            let groups = group_list(row);
            for group in &groups {
                change_set(&mut entry.members, group, id, is_in);
            }
            if !is_local(row, config) {
                return;
            }
            put_in(&mut entry.local, id, is_in);
            put_in(&mut entry.unchecked, id, is_in && !row.source_dest_check);
            let subnet = row.subnet_id.to_string();
            change_set(&mut entry.by_subnet, &subnet, id, is_in);
            if has_groups(row) {
                for group in &groups {
                    count(&mut entry.users, group, is_in);
                    entry.know(group);
                }
                count(&mut entry.lists, &groups, is_in);
            }
        });
    }

    pub fn elastic_ips(
        &mut self,
        row: &fogbank_types::ec2::ElasticIp,
        _: &RegionConfig,
        is_in: bool,
    ) {
        if let Some(association) = &row.association {
            let eni = association.eni_id.to_string();
            change_set(&mut self.elastic, &eni, row.allocation_id.as_str(), is_in);
        }
    }
}
