//! What an update looks at of each VPC: those interfaces, groups, lists of groups, subnets and sets
//! of members that the changed rows concern, the same before the change and after it.
//!
//! Everything that does not depend on single interfaces or groups (a router's own addresses, routes,
//! gates) is compiled on both sides and cancels out. What does depend on them is compiled for
//! those in focus alone. So a thing that several interfaces share (a group's chain, a set of members)
//! must be told from the index, not from the interfaces in focus: that is a `View`.

use super::index::{Index, VpcKey, group_list, has_groups, is_local, named};
use super::region::{Peer, Region};
use fogbank_types::ec2::{
    Eni, NetworkAcl, PeeringStatus, RouteTable, RouteTarget, RulePeer, SecurityGroup,
    VpcPeeringConnection,
};
use fogbank_types::{RegionConfig, SecurityGroupId, Snapshot};
use std::collections::{BTreeMap, BTreeSet};

/// One side of an update.
#[derive(Copy, Clone)]
pub(super) struct Side<'a> {
    pub snapshot: &'a Snapshot,
    pub index: &'a Index,
    pub config: &'a RegionConfig,
}

/// Of one VPC.
#[derive(Clone, Debug, Default)]
pub(super) struct Focus {
    /// Also those of peers, whose addresses are members of groups that rules here may name.
    enis: BTreeSet<String>,
    /// Of which only what is let through untracked may change.
    reopened: BTreeSet<String>,
    groups: BTreeSet<String>,
    lists: BTreeSet<Vec<String>>,
    subnets: BTreeSet<String>,
    /// Groups whose set of members is looked at, and those of them of which all elements are.
    members: BTreeSet<String>,
    whole_members: BTreeSet<String>,
}

/// What of the shared things in focus is there, on one side.
#[derive(Debug, Default)]
pub(super) struct View {
    /// In use here.
    pub groups: BTreeSet<String>,
    pub lists: BTreeSet<Vec<String>>,
    /// Named by a rule of a group in use.
    pub members: BTreeSet<SecurityGroupId>,
    /// Subnets with an interface here: all, not only those in focus.
    pub occupied: BTreeSet<String>,
    pub subnets: BTreeSet<String>,
}

/// The focus of each VPC that a change concerns.
#[derive(Default)]
pub(super) struct Focuses(pub BTreeMap<VpcKey, Focus>);

/// The change concerns more than a focus can tell: compile everything.
pub(super) struct TooWide;

impl<'a> Side<'a> {
    fn entry(&self, key: &VpcKey) -> Option<&'a super::index::Entry> {
        self.index.entry(key)
    }

    /// A group that is there and that an interface here has.
    fn is_used(&self, key: &VpcKey, group: &str) -> bool {
        self.entry(key)
            .is_some_and(|entry| entry.users.contains_key(group) && entry.groups.contains(group))
    }

    /// Active peering connections of a VPC, with the other side.
    fn peers(
        &self,
        key: &VpcKey,
    ) -> impl Iterator<Item = (&'a VpcPeeringConnection, VpcKey, bool)> {
        let snapshot = self.snapshot;
        let key = key.clone();
        let active = snapshot
            .peerings
            .all()
            .filter(|p| p.status == PeeringStatus::Active);
        active.filter_map(move |peering| {
            let (own, other) = peering.sides(&key.0, &key.1)?;
            let there = |side: &fogbank_types::ec2::PeeredVpc| {
                snapshot.vpcs.contains(&side.scope, &side.vpc_id)
            };
            let is_requester = std::ptr::eq(own, &raw const peering.requester);
            (there(own) && there(other)).then(|| {
                let other = (other.scope.clone(), other.vpc_id.clone());
                (peering.as_ref(), other, is_requester)
            })
        })
    }

    /// The peers whose groups rules may name.
    fn peers_of_region(&self, key: &VpcKey) -> impl Iterator<Item = VpcKey> {
        let region = key.0.region.clone();
        self.peers(key)
            .map(|(_, other, _)| other)
            .filter(move |other| other.0.region == region)
    }

    /// The VPC of a group that rules of this VPC may name: its own or a peer's.
    fn home_of_group(&self, key: &VpcKey, group: &str) -> Option<VpcKey> {
        let has = |key: &VpcKey| self.entry(key).is_some_and(|e| e.groups.contains(group));
        if has(key) {
            return Some(key.clone());
        }
        self.peers_of_region(key).find(has)
    }

    /// Whether a set of the group's members is there: a group in use names it.
    fn is_referenced(&self, key: &VpcKey, group: &str) -> bool {
        let Some(namers) = self.entry(key).and_then(|entry| entry.namers.get(group)) else {
            return false;
        };
        namers.iter().any(|namer| self.is_used(key, namer))
            && self.home_of_group(key, group).is_some()
    }

    fn group(&self, key: &VpcKey, group: &str) -> Option<&'a SecurityGroup> {
        self.snapshot
            .security_groups
            .get(&key.0, group)
            .map(AsRef::as_ref)
    }

    fn view(&self, key: &VpcKey, focus: &Focus) -> View {
        let Some(entry) = self.entry(key) else {
            return View::default();
        };
        let groups = focus.groups.iter().filter(|g| self.is_used(key, g));
        let lists = focus.lists.iter().filter(|l| entry.lists.contains_key(*l));
        let members = focus.members.iter().filter(|g| self.is_referenced(key, g));
        View {
            groups: groups.cloned().collect(),
            lists: lists.cloned().collect(),
            members: members
                .filter_map(|id| SecurityGroupId::parse(id).ok())
                .collect(),
            occupied: entry.by_subnet.keys().cloned().collect(),
            subnets: focus.subnets.clone(),
        }
    }
}

fn key_of(scope: &fogbank_types::Scope, vpc_id: &fogbank_types::VpcId) -> VpcKey {
    (scope.clone(), vpc_id.clone())
}

/// Rules that can make traffic untracked: those for everyone, and lists, which may hold everyone.
fn open_rules(group: Option<&SecurityGroup>) -> Vec<(bool, fogbank_types::Traffic, &RulePeer)> {
    let rules = group.into_iter().flat_map(|group| &group.rules);
    let is_open = |peer: &RulePeer| match peer {
        RulePeer::Ipv4(block) => block.length() == 0,
        RulePeer::Ipv6(block) => block.length() == 0,
        RulePeer::PrefixList(_) => true,
        RulePeer::Group(_) => false,
    };
    rules
        .filter(|rule| is_open(&rule.peer))
        .map(|rule| (rule.egress, rule.traffic, &rule.peer))
        .collect()
}

impl Focuses {
    fn of(&mut self, key: &VpcKey) -> &mut Focus {
        self.0.entry(key.clone()).or_default()
    }

    /// A group that came, went or has other rules. `side` is the one before.
    pub fn group(
        &mut self,
        side: Side<'_>,
        old: Option<&SecurityGroup>,
        new: Option<&SecurityGroup>,
    ) {
        let Some(group) = old.or(new) else { return };
        let key = key_of(&group.scope, &group.vpc_id);
        let id = group.group_id.as_str();
        let entry = side.entry(&key);
        let focus = self.of(&key);
        focus.groups.insert(id.to_owned());
        let members = entry.and_then(|entry| entry.members.get(id));
        let members = members.into_iter().flatten();
        let comes_or_goes = old.is_some() != new.is_some();
        if !comes_or_goes {
            if open_rules(old) != open_rules(new) {
                focus.reopened.extend(members.cloned());
            }
            return;
        }
        // Their lists are others with it than without it.
        for member in members {
            self.eni_by_id(side, &key.0, member);
        }
        let peers = side.peers_of_region(&key);
        for home in std::iter::once(key.clone()).chain(peers) {
            let namers = side.entry(&home).and_then(|entry| entry.namers.get(id));
            let focus = self.of(&home);
            focus.groups.extend(namers.into_iter().flatten().cloned());
            focus.members.insert(id.to_owned());
        }
    }

    /// An interface in one of its two states.
    pub fn eni(&mut self, side: Side<'_>, eni: &Eni) {
        let key = key_of(&eni.scope, &eni.vpc_id);
        let groups = group_list(eni);
        for home in std::iter::once(key.clone()).chain(side.peers_of_region(&key)) {
            let focus = self.of(&home);
            focus.enis.insert(eni.eni_id.to_string());
            focus.members.extend(groups.iter().cloned());
        }
        let focus = self.of(&key);
        focus.subnets.insert(eni.subnet_id.to_string());
        if is_local(eni, side.config) && has_groups(eni) {
            focus.lists.insert(groups);
        }
    }

    /// An interface whose public address may be another.
    pub fn eni_by_id(&mut self, side: Side<'_>, scope: &fogbank_types::Scope, id: &str) {
        if let Some(eni) = side.snapshot.enis.get(scope, id) {
            self.eni(side, eni);
        }
    }

    /// A route table in one of its two states.
    pub fn route_table(&mut self, side: Side<'_>, table: &RouteTable) {
        let key = key_of(&table.scope, &table.vpc_id);
        let targets = table.routes.iter().filter_map(|route| match &route.target {
            RouteTarget::NetworkInterface(id) => Some(id.to_string()),
            RouteTarget::NatGateway(id) => {
                let gateway = side.snapshot.nat_gateways.get(&table.scope, id)?;
                Some(gateway.eni_id.as_ref()?.to_string())
            }
            _ => None,
        });
        let targets: Vec<String> = targets.collect();
        for id in targets {
            self.eni_by_id(side, &table.scope, &id);
        }
        // Their rules go by device.
        let unchecked = side.entry(&key).map(|entry| entry.unchecked.clone());
        for id in unchecked.iter().flatten() {
            self.eni_by_id(side, &table.scope, id);
        }
        self.of(&key);
    }

    /// All interfaces of the VPC: where its subnets' routes lead decides what is tracked.
    pub fn all_enis(&mut self, side: Side<'_>, key: &VpcKey) {
        let local = side.entry(key).map(|entry| &entry.local);
        let all = local.into_iter().flatten().cloned();
        self.of(key).reopened.extend(all);
    }

    /// A network ACL in one of its two states; `by_device`: which devices use it may be another.
    pub fn acl(&mut self, side: Side<'_>, acl: &NetworkAcl, by_device: bool) {
        let key = key_of(&acl.scope, &acl.vpc_id);
        let mut subnets: BTreeSet<String> = acl
            .associations
            .iter()
            .map(|a| a.subnet_id.to_string())
            .collect();
        if let (true, Some(entry)) = (acl.is_default, side.entry(&key)) {
            subnets.extend(entry.subnets.iter().cloned());
        }
        for subnet in &subnets {
            let enis = side.entry(&key).and_then(|e| e.by_subnet.get(subnet));
            for id in enis.into_iter().flatten().filter(|_| by_device) {
                self.eni_by_id(side, &key.0, id);
            }
        }
        self.of(&key).subnets.extend(subnets);
    }

    /// Adds what follows from both sides together, and leaves out VPCs that are not here.
    pub fn finish(&mut self, before: Side<'_>, after: Side<'_>) -> Result<(), TooWide> {
        let here = |key: &VpcKey| [before, after].map(|side| side.index.is_here(key));
        for key in self.0.keys() {
            if here(key) == [true, false] || here(key) == [false, true] {
                return Err(TooWide);
            }
        }
        self.0.retain(|key, _| here(key) == [true, true]);
        for (key, focus) in &mut self.0 {
            // Groups that are not there make lists alike that are not.
            let knows = |side: Side<'_>| side.entry(key).is_some_and(|e| e.unknown.is_empty());
            if !knows(before) || !knows(after) {
                return Err(TooWide);
            }
            for group in focus.lists.iter().flatten() {
                if before.is_used(key, group) != after.is_used(key, group) {
                    focus.groups.insert(group.clone());
                }
            }
            for side in [before, after] {
                let rows = focus.groups.iter().filter_map(|id| side.group(key, id));
                focus
                    .members
                    .extend(rows.flat_map(named).map(str::to_owned));
            }
            let flips = |group: &&String| {
                before.is_referenced(key, group) != after.is_referenced(key, group)
            };
            let flipped = focus.members.iter().filter(flips).cloned();
            focus.whole_members = flipped.collect();
        }
        Ok(())
    }
}

/// The VPCs in focus as regions, with their views; the views must outlive the regions.
pub(super) fn views(side: Side<'_>, focuses: &Focuses) -> Vec<View> {
    let all = focuses.0.iter();
    all.map(|(key, focus)| side.view(key, focus)).collect()
}

pub(super) fn regions<'a>(
    side: Side<'a>,
    focuses: &'a Focuses,
    views: &'a [View],
) -> Result<Vec<Region<'a>>, TooWide> {
    let all = focuses.0.iter().zip(views);
    all.map(|((key, focus), view)| region(side, key, focus, view).ok_or(TooWide))
        .collect()
}

fn region<'a>(
    side: Side<'a>,
    key: &'a VpcKey,
    focus: &'a Focus,
    view: &'a View,
) -> Option<Region<'a>> {
    let Side {
        snapshot,
        index,
        config,
    } = side;
    let scope = &key.0;
    let vpc = snapshot.vpcs.get(scope, &key.1)?;
    let entry = index.entry(key)?;
    let mut region = Region::new(snapshot, config, vpc);
    region.view = Some(view);
    for id in &entry.subnets {
        region.subnets.insert(id, snapshot.subnets.get(scope, id)?);
    }
    for id in &entry.route_tables {
        region
            .route_tables
            .push(snapshot.route_tables.get(scope, id)?);
    }
    for id in &entry.acls {
        region.acls.push(snapshot.network_acls.get(scope, id)?);
    }
    for id in focus.enis.iter().filter(|id| entry.local.contains(*id)) {
        region.local.push(snapshot.enis.get(scope, id)?);
    }
    let reopened = focus.reopened.iter();
    for id in reopened.filter(|id| entry.local.contains(*id) && !focus.enis.contains(*id)) {
        region.reopened.push(snapshot.enis.get(scope, id)?);
    }
    let enis = region.local.iter().chain(&region.reopened);
    let of_enis = enis.flat_map(|eni| &eni.groups);
    let groups = view.groups.iter().map(String::as_str);
    for id in groups.chain(of_enis.map(|id| id.as_str())) {
        if let Some(group) = side.group(key, id) {
            region.groups.insert(group.group_id.as_str(), group);
        }
    }
    add_members(side, key, focus, &mut region);
    add_gateways(side, key, &mut region);
    let elastic = region.local.iter().flat_map(|eni| {
        let ids = index.elastic.get(eni.eni_id.as_str()).into_iter().flatten();
        ids.filter_map(|id| snapshot.elastic_ips.get(&eni.scope, id))
    });
    let elastic = super::region::elastic_addresses(elastic.map(AsRef::as_ref));
    if region.internet_gateway {
        region.public = super::region::public_addresses(&region, &elastic);
    }
    region.is_logged = super::region::is_logged(&region);
    Some(region)
}

/// Of each set of members the elements in focus; and which groups are there to be named at all.
fn add_members<'a>(side: Side<'a>, key: &VpcKey, focus: &'a Focus, region: &mut Region<'a>) {
    for group in &focus.members {
        let Some(home) = side.home_of_group(key, group) else {
            continue;
        };
        let all = side.entry(&home).and_then(|entry| entry.members.get(group));
        let is_whole = focus.whole_members.contains(group);
        let ids = all.into_iter().flatten();
        let in_focus = ids.filter(|id| is_whole || focus.enis.contains(*id));
        let enis = in_focus.filter_map(|id| side.snapshot.enis.get(&home.0, id));
        let enis = enis.map(AsRef::as_ref).collect();
        region.members.insert(group, enis);
    }
}

fn add_gateways<'a>(side: Side<'a>, key: &VpcKey, region: &mut Region<'a>) {
    let (snapshot, index) = (side.snapshot, side.index);
    let mut gateways = snapshot.internet_gateways.in_scope(&key.0);
    region.internet_gateway = gateways.any(|g| g.attached_vpc.as_ref() == Some(&key.1));
    let mut gateways = snapshot.egress_only_gateways.in_scope(&key.0);
    region.egress_only_gateway = gateways.any(|g| g.vpc_id == key.1);
    let endpoints = snapshot.vpc_endpoints.all();
    let with_endpoint = endpoints
        .filter(|endpoint| super::region::is_gateway_endpoint(endpoint))
        .map(|endpoint| key_of(&endpoint.scope, &endpoint.vpc_id))
        .filter(|key| index.is_here(key))
        .map(|key| key.1.to_string());
    let with_endpoint: BTreeSet<String> = with_endpoint.collect();
    let ids = with_endpoint.iter().map(String::as_str);
    region.endpoint_number = super::region::endpoint_numbers(ids)
        .get(key.1.as_str())
        .copied();
    for (peering, other, is_requester) in side.peers(key) {
        if let (true, Some(vpc)) = (index.is_here(&other), snapshot.vpcs.get(&other.0, &other.1)) {
            region.peers.push(Peer {
                peering,
                vpc,
                is_requester,
            });
        }
    }
}
