//! Two programs -> the steps between them, purely; the applier carries them out in order.
//!
//! What must stay true: steps are proportional to the difference; applied to the old program they
//! give the new one (tested against a model); and in between nothing is open that neither program
//! opens: a namespace's firewall stands before its links, rules go before routes, routes before
//! links, and connections of a vanished address are forgotten last.

use crate::program::{
    Address, Base, Chain, Family, Namespace, Peer, Program, Range, Route, RouteKey, RoutingRule,
    Rule, Set, Table, Timeout, Untracked, Veth,
};
use fogbank_types::MacAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Where a step acts. Ordered so that the host's namespace comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    Host,
    Named(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host => f.write_str("the host's namespace"),
            Self::Named(name) => write!(f, "namespace {name}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub place: Place,
    pub work: Work,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Make and name the namespace, loopback up.
    CreateNamespace,
    RemoveNamespace,
    /// Write a file under `/proc/sys/net`.
    Set {
        path: String,
        value: String,
    },
    /// Make the pair, both ends up. The peer's namespace is there already.
    AddVeth {
        device: String,
        veth: Veth,
    },
    RemoveVeth {
        device: String,
    },
    /// Let the packets of a pair wait at both ends; 0: no longer.
    Delay {
        device: String,
        peer: Peer,
        delay_ms: u32,
    },
    /// In order, in one exchange.
    Links(Vec<LinkOp>),
    /// In order, in one transaction.
    Firewall {
        family: Family,
        table: String,
        operations: Vec<NftOp>,
    },
    /// Forget connections: all of these addresses, and those that traffic let through untracked
    /// opened, but for connections of addresses that are always tracked.
    Flush {
        addresses: BTreeSet<IpAddr>,
        untracked: BTreeSet<Untracked>,
        tracked: BTreeSet<IpAddr>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum LinkOp {
    AddAddress(Address),
    RemoveAddress(Address),
    AddNeighbour(String, IpAddr, MacAddr),
    RemoveNeighbour(String, IpAddr),
    /// Takes the place of a route with the same key.
    AddRoute(RouteKey, Route),
    RemoveRoute(RouteKey, Route),
    AddRule(RoutingRule),
    RemoveRule(RoutingRule),
}

/// One change of a firewall table.
#[derive(Clone, Debug, PartialEq)]
pub enum NftOp {
    AddTable,
    DeleteTable,
    AddChain {
        name: String,
        base: Option<Base>,
    },
    DeleteChain {
        name: String,
    },
    FlushChain {
        name: String,
    },
    AddRule {
        chain: String,
        rule: Rule,
    },
    /// Elements come by `AddElements`; this one is only about kind and name.
    AddSet {
        name: String,
        shape: Set,
    },
    DeleteSet {
        name: String,
    },
    AddTimeout {
        name: String,
        timeout: Timeout,
    },
    DeleteTimeout {
        name: String,
        timeout: Timeout,
    },
    AddElements {
        set: String,
        elements: Set,
    },
    DeleteElements {
        set: String,
        elements: Set,
    },
}

impl NftOp {
    /// For errors: what it was about.
    pub fn describe(&self) -> String {
        match self {
            Self::AddTable => "add the table".to_owned(),
            Self::DeleteTable => "delete the table".to_owned(),
            Self::AddChain { name, .. } => format!("add chain {name}"),
            Self::DeleteChain { name } => format!("delete chain {name}"),
            Self::FlushChain { name } => format!("flush chain {name}"),
            Self::AddRule { chain, rule } => format!("add to chain {chain} the rule {rule:?}"),
            Self::AddSet { name, .. } => format!("add set {name}"),
            Self::DeleteSet { name } => format!("delete set {name}"),
            Self::AddTimeout { name, .. } => format!("add timeout {name}"),
            Self::DeleteTimeout { name, .. } => format!("delete timeout {name}"),
            Self::AddElements { set, .. } => format!("add elements to set {set}"),
            Self::DeleteElements { set, .. } => format!("delete elements of set {set}"),
        }
    }
}

/// Collects steps by the phase in which they run.
#[derive(Default)]
struct Phases([Vec<Step>; 8]);

/// In the order in which they run.
#[derive(Copy, Clone)]
enum Phase {
    /// The blackhole under every route into the region comes before all else.
    Ground,
    Firewall,
    Unroute,
    Remove,
    Create,
    Link,
    Route,
    Forget,
}

impl Phases {
    fn push(&mut self, phase: Phase, place: &Place, work: Work) {
        let place = place.clone();
        self.0[phase as usize].push(Step { place, work });
    }
}

/// The steps from `old` to `new`. Of the namespaces in `stale` the firewall and the settings are
/// unknown: they are replaced whole, each table in one transaction.
pub fn plan(old: &Program, new: &Program, stale: &BTreeSet<Place>) -> Vec<Step> {
    let mut phases = Phases::default();
    let nothing = Namespace::default();
    let replaced = replaced(old, new);
    let none = BTreeSet::new();
    let fresh = |place: &Place| replaced.get(place).unwrap_or(&none);
    let is_stale = |place: &Place| stale.contains(place);
    compare(
        &mut phases,
        &Place::Host,
        &old.host,
        &new.host,
        Since::of(is_stale(&Place::Host)),
        fresh(&Place::Host),
    );
    for (name, after) in &new.namespaces {
        let place = Place::Named(name.clone());
        match old.namespaces.get(name) {
            Some(before) if before == after && !is_stale(&place) && fresh(&place).is_empty() => {}
            Some(before) => {
                let since = Since::of(is_stale(&place));
                compare(&mut phases, &place, before, after, since, fresh(&place));
            }
            None => {
                phases.push(Phase::Create, &place, Work::CreateNamespace);
                compare(
                    &mut phases,
                    &place,
                    &nothing,
                    after,
                    Since::New,
                    fresh(&place),
                );
            }
        }
    }
    for name in old.namespaces.keys() {
        if !new.namespaces.contains_key(name) {
            let place = Place::Named(name.clone());
            phases.push(Phase::Remove, &place, Work::RemoveNamespace);
        }
    }
    let mut steps: Vec<Step> = phases.0.into_iter().flatten().collect();
    // A pair goes with the namespace of its other end, 16 ms cheaper than by hand.
    steps.retain(|step| match &step.work {
        Work::RemoveVeth { device } => {
            let peer = owner(old, &step.place)
                .and_then(|namespace| namespace.veths.get(device))
                .and_then(|veth| veth.peer.namespace.as_ref());
            peer.is_none_or(|name| new.namespaces.contains_key(name))
        }
        _ => true,
    });
    steps
}

fn owner<'a>(program: &'a Program, place: &Place) -> Option<&'a Namespace> {
    match place {
        Place::Host => Some(&program.host),
        Place::Named(name) => program.namespaces.get(name),
    }
}

/// How much is known of what is there.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Since {
    /// All of it: we made it.
    Known,
    /// Links, addresses and routes; settings and firewall are replaced.
    Stale,
    /// There is nothing yet.
    New,
}

impl Since {
    fn of(stale: bool) -> Self {
        if stale { Self::Stale } else { Self::Known }
    }
}

fn compare(
    phases: &mut Phases,
    place: &Place,
    old: &Namespace,
    new: &Namespace,
    since: Since,
    fresh: &BTreeSet<&str>,
) {
    settings(phases, place, old, new, since);
    firewall(phases, place, old, new, since);
    links(phases, place, old, new, fresh);
    let addresses: BTreeSet<IpAddr> = old
        .connections
        .iter()
        .filter(|(address, owner)| new.connections.get(*address) != Some(*owner))
        .map(|(address, _)| *address)
        .collect();
    let untracked: BTreeSet<Untracked> = old
        .untracked
        .difference(&new.untracked)
        .filter(|gone| !addresses.contains(&gone.address))
        .flat_map(|gone| uncovered(*gone, &new.untracked))
        .collect();
    if !addresses.is_empty() || !untracked.is_empty() {
        let work = Work::Flush {
            addresses,
            untracked,
            tracked: old.tracked.union(&new.tracked).copied().collect(),
        };
        phases.push(Phase::Forget, place, work);
    }
}

/// The parts of vanished untracked traffic that no other entry still lets through.
fn uncovered(gone: Untracked, left: &BTreeSet<Untracked>) -> Vec<Untracked> {
    let with = |from, to| Untracked {
        ports: Range { from, to },
        ..gone
    };
    let mut parts = vec![gone];
    for other in left.range(with(0, 0)..=with(u16::MAX, u16::MAX)) {
        let cover = other.ports;
        parts = parts
            .into_iter()
            .flat_map(|part| {
                let ports = part.ports;
                let before = (ports.from < cover.from)
                    .then(|| with(ports.from, ports.to.min(cover.from - 1)));
                let after =
                    (ports.to > cover.to).then(|| with(ports.from.max(cover.to + 1), ports.to));
                [before, after].into_iter().flatten()
            })
            .collect();
    }
    parts
}

fn settings(phases: &mut Phases, place: &Place, old: &Namespace, new: &Namespace, since: Since) {
    for (path, value) in &new.sysctls {
        if since != Since::Known || old.sysctls.get(path) != Some(value) {
            let (path, value) = (path.clone(), value.clone());
            phases.push(Phase::Create, place, Work::Set { path, value });
        }
    }
}

/// Whether a pair can stay: only its delay may change while it is in use.
fn same_pair(before: Option<&Veth>, veth: &Veth) -> bool {
    before.is_some_and(|before| {
        let delay_ms = veth.delay_ms;
        let before = Veth {
            delay_ms,
            ..before.clone()
        };
        before == *veth
    })
}

/// Devices that go, come or are made anew, by place; both ends of each pair. What lies on them in
/// the old program goes with them, whatever else stays the same.
fn replaced<'a>(old: &'a Program, new: &'a Program) -> BTreeMap<Place, BTreeSet<&'a str>> {
    let mut all: BTreeMap<Place, BTreeSet<&str>> = BTreeMap::new();
    for (one, other) in [(old, new), (new, old)] {
        for (name, namespace) in &one.namespaces {
            let others = other.namespaces.get(name).map(|n| &n.veths);
            for (device, veth) in &namespace.veths {
                if same_pair(others.and_then(|veths| veths.get(device)), veth) {
                    continue;
                }
                let own = Place::Named(name.clone());
                all.entry(own).or_default().insert(device);
                let peer = match &veth.peer.namespace {
                    Some(name) => Place::Named(name.clone()),
                    None => Place::Host,
                };
                all.entry(peer).or_default().insert(&veth.peer.device);
            }
        }
    }
    all
}

fn links(
    phases: &mut Phases,
    place: &Place,
    old: &Namespace,
    new: &Namespace,
    replaced: &BTreeSet<&str>,
) {
    for (device, veth) in &old.veths {
        if !same_pair(new.veths.get(device), veth) {
            let device = device.clone();
            phases.push(Phase::Remove, place, Work::RemoveVeth { device });
        }
    }
    for (device, veth) in &new.veths {
        let before = old.veths.get(device);
        let same = same_pair(before, veth);
        if !same {
            let work = Work::AddVeth {
                device: device.clone(),
                veth: veth.clone(),
            };
            phases.push(Phase::Link, place, work);
        }
        let delay_before_ms = before.filter(|_| same).map_or(0, |veth| veth.delay_ms);
        if delay_before_ms != veth.delay_ms {
            let work = Work::Delay {
                device: device.clone(),
                peer: veth.peer.clone(),
                delay_ms: veth.delay_ms,
            };
            phases.push(Phase::Link, place, work);
        }
    }
    let fresh = |device: &str| replaced.contains(device);
    let device_of = |route: &Route| match route {
        Route::Device(device) | Route::Via { device, .. } => Some(device.clone()),
        Route::Blackhole => None,
    };
    let fresh_route = |route: &Route| device_of(route).is_some_and(|device| fresh(&device));
    let mut removals = Vec::new();
    let mut ground = Vec::new();
    let mut additions = Vec::new();
    for rule in old.rules.difference(&new.rules) {
        removals.push(LinkOp::RemoveRule(rule.clone()));
    }
    for (key, route) in &old.routes {
        if !new.routes.contains_key(key) {
            removals.push(LinkOp::RemoveRoute(key.clone(), route.clone()));
        }
    }
    for (device, address) in old.neighbours.keys() {
        if !new.neighbours.contains_key(&(device.clone(), *address)) && !fresh(device) {
            removals.push(LinkOp::RemoveNeighbour(device.clone(), *address));
        }
    }
    for address in old.addresses.difference(&new.addresses) {
        removals.push(LinkOp::RemoveAddress(address.clone()));
    }
    for address in &new.addresses {
        if !old.addresses.contains(address) || fresh(&address.device) {
            additions.push(LinkOp::AddAddress(address.clone()));
        }
    }
    for ((device, address), mac) in &new.neighbours {
        if old.neighbours.get(&(device.clone(), *address)) != Some(mac) || fresh(device) {
            additions.push(LinkOp::AddNeighbour(device.clone(), *address, *mac));
        }
    }
    for (key, route) in &new.routes {
        if old.routes.get(key) != Some(route) || fresh_route(route) {
            let list = match route {
                Route::Blackhole if *place == Place::Host => &mut ground,
                _ => &mut additions,
            };
            list.push(LinkOp::AddRoute(key.clone(), route.clone()));
        }
    }
    for rule in new.rules.difference(&old.rules) {
        additions.push(LinkOp::AddRule(rule.clone()));
    }
    for (phase, operations) in [
        (Phase::Ground, ground),
        (Phase::Unroute, removals),
        (Phase::Route, additions),
    ] {
        if !operations.is_empty() {
            phases.push(phase, place, Work::Links(operations));
        }
    }
}

fn firewall(phases: &mut Phases, place: &Place, old: &Namespace, new: &Namespace, since: Since) {
    let phase = if since == Since::New {
        Phase::Create
    } else {
        Phase::Firewall
    };
    for (name, table) in &new.tables {
        let operations = match old.tables.get(name) {
            Some(before) if since == Since::Known && same_shape(before, table) => {
                table_changes(before, table)
            }
            _ => whole_table(table),
        };
        if !operations.is_empty() {
            let work = Work::Firewall {
                family: table.family,
                table: name.clone(),
                operations,
            };
            phases.push(phase, place, work);
        }
    }
    for (name, table) in &old.tables {
        if !new.tables.contains_key(name) {
            let work = Work::Firewall {
                family: table.family,
                table: name.clone(),
                operations: vec![NftOp::DeleteTable],
            };
            phases.push(phase, place, work);
        }
    }
}

/// Replaces whatever is there, in one transaction: adding makes the deletion safe.
fn whole_table(table: &Table) -> Vec<NftOp> {
    let mut operations = vec![NftOp::AddTable, NftOp::DeleteTable, NftOp::AddTable];
    operations.extend(table_changes(&Table::new(table.family), table));
    operations
}

/// Whether what has the same name in both is of the same kind and place; else only a whole table will do.
fn same_shape(old: &Table, new: &Table) -> bool {
    let kind = |set: &Set| std::mem::discriminant(set);
    let sets = new.sets.iter().all(|(name, set)| {
        let before = old.sets.get(name);
        before.is_none_or(|before| kind(before) == kind(set))
    });
    let chains = new.chains.iter().all(|(name, chain)| {
        let before = old.chains.get(name);
        before.is_none_or(|before| before.base == chain.base)
    });
    let timeouts = new.timeouts.iter().all(|(name, timeout)| {
        let before = old.timeouts.get(name);
        before.is_none_or(|before| before == timeout)
    });
    old.family == new.family && sets && chains && timeouts
}

/// Names before those who use them; users gone before the names go.
fn table_changes(old: &Table, new: &Table) -> Vec<NftOp> {
    let mut changes = Changes::default();
    for (name, chain) in &new.chains {
        chain_changes(&mut changes, name, old.chains.get(name), chain);
    }
    for (name, set) in &new.sets {
        match old.sets.get(name) {
            Some(before) => element_changes(&mut changes, name, before, set),
            None => new_set(&mut changes, name, set),
        }
    }
    for name in old.chains.keys().filter(|n| !new.chains.contains_key(*n)) {
        let name = name.clone();
        changes.flush.push(NftOp::FlushChain { name: name.clone() });
        changes.delete_chains.push(NftOp::DeleteChain { name });
    }
    for name in old.sets.keys().filter(|n| !new.sets.contains_key(*n)) {
        let name = name.clone();
        changes.delete_sets.push(NftOp::DeleteSet { name });
    }
    for (name, timeout) in &new.timeouts {
        if !old.timeouts.contains_key(name) {
            changes.add_timeouts.push(NftOp::AddTimeout {
                name: name.clone(),
                timeout: *timeout,
            });
        }
    }
    for (name, timeout) in &old.timeouts {
        if !new.timeouts.contains_key(name) {
            changes.delete_timeouts.push(NftOp::DeleteTimeout {
                name: name.clone(),
                timeout: *timeout,
            });
        }
    }
    changes.in_order()
}

#[derive(Default)]
struct Changes {
    add_chains: Vec<NftOp>,
    add_sets: Vec<NftOp>,
    add_timeouts: Vec<NftOp>,
    flush: Vec<NftOp>,
    delete_elements: Vec<NftOp>,
    add_elements: Vec<NftOp>,
    rules: Vec<NftOp>,
    delete_chains: Vec<NftOp>,
    delete_sets: Vec<NftOp>,
    delete_timeouts: Vec<NftOp>,
}

impl Changes {
    fn in_order(self) -> Vec<NftOp> {
        [
            self.add_chains,
            self.add_sets,
            self.add_timeouts,
            self.flush,
            self.delete_elements,
            self.add_elements,
            self.rules,
            // A map that goes may still jump to a chain that goes.
            self.delete_sets,
            self.delete_chains,
            self.delete_timeouts,
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn chain_changes(changes: &mut Changes, name: &str, old: Option<&Chain>, new: &Chain) {
    match old {
        Some(before) if before == new => return,
        Some(_) => {
            let name = name.to_owned();
            changes.flush.push(NftOp::FlushChain { name });
        }
        None => changes.add_chains.push(NftOp::AddChain {
            name: name.to_owned(),
            base: new.base,
        }),
    }
    for rule in &new.rules {
        changes.rules.push(NftOp::AddRule {
            chain: name.to_owned(),
            rule: rule.clone(),
        });
    }
}

fn new_set(changes: &mut Changes, name: &str, set: &Set) {
    changes.add_sets.push(NftOp::AddSet {
        name: name.to_owned(),
        shape: empty_like(set),
    });
    if !is_empty(set) {
        changes.add_elements.push(NftOp::AddElements {
            set: name.to_owned(),
            elements: set.clone(),
        });
    }
}

fn element_changes(changes: &mut Changes, name: &str, old: &Set, new: &Set) {
    let (gone, come) = set_difference(old, new);
    if !is_empty(&gone) {
        changes.delete_elements.push(NftOp::DeleteElements {
            set: name.to_owned(),
            elements: gone,
        });
    }
    if !is_empty(&come) {
        changes.add_elements.push(NftOp::AddElements {
            set: name.to_owned(),
            elements: come,
        });
    }
}

/// An empty set of the same kind.
pub(crate) fn empty_like(set: &Set) -> Set {
    match set {
        Set::Addresses(_) => Set::Addresses(BTreeSet::new()),
        Set::Devices(_) => Set::Devices(BTreeSet::new()),
        Set::Bindings(_) => Set::Bindings(BTreeSet::new()),
        Set::Ports(_) => Set::Ports(BTreeSet::new()),
        Set::Icmp(_) => Set::Icmp(BTreeSet::new()),
        Set::Protocols(_) => Set::Protocols(BTreeSet::new()),
        Set::Translations(_) => Set::Translations(BTreeMap::new()),
        Set::Verdicts(_) => Set::Verdicts(BTreeMap::new()),
    }
}

fn is_empty(set: &Set) -> bool {
    match set {
        Set::Addresses(all) => all.is_empty(),
        Set::Devices(all) => all.is_empty(),
        Set::Bindings(all) => all.is_empty(),
        Set::Ports(all) => all.is_empty(),
        Set::Icmp(all) | Set::Protocols(all) => all.is_empty(),
        Set::Translations(all) => all.is_empty(),
        Set::Verdicts(all) => all.is_empty(),
    }
}

/// Elements only in `old`, and only in `new`. An element of a map that changed is in both.
fn set_difference(old: &Set, new: &Set) -> (Set, Set) {
    fn sets<T: Ord + Clone>(a: &BTreeSet<T>, b: &BTreeSet<T>) -> (BTreeSet<T>, BTreeSet<T>) {
        (
            a.difference(b).cloned().collect(),
            b.difference(a).cloned().collect(),
        )
    }
    fn maps<K: Ord + Clone, V: PartialEq + Clone>(
        a: &BTreeMap<K, V>,
        b: &BTreeMap<K, V>,
    ) -> (BTreeMap<K, V>, BTreeMap<K, V>) {
        let only = |a: &BTreeMap<K, V>, b: &BTreeMap<K, V>| {
            a.iter()
                .filter(|(k, v)| b.get(*k) != Some(*v))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect()
        };
        (only(a, b), only(b, a))
    }
    macro_rules! by_kind {
        ($($kind:ident: $difference:ident),*) => {
            match (old, new) {
                $((Set::$kind(a), Set::$kind(b)) => {
                    let (gone, come) = $difference(a, b);
                    (Set::$kind(gone), Set::$kind(come))
                })*
                // Callers compare sets of one kind; of two kinds, all of both differ.
                _ => (old.clone(), new.clone()),
            }
        };
    }
    by_kind!(
        Addresses: sets,
        Devices: sets,
        Bindings: sets,
        Ports: sets,
        Icmp: sets,
        Protocols: sets,
        Translations: maps,
        Verdicts: maps
    )
}
