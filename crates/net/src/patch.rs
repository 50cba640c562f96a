//! The part of a program that a change touches, before and after it.
//!
//! Both sides are programs of which the same pieces are left out: what both say alike is as it was,
//! and what neither names is not touched. So `plan` of the two gives the steps of the change, and
//! `Program::patch` makes the whole old program the new one. The compiler makes patches, the
//! applier keeps the whole program with them.

use crate::program::{Namespace, Program, Set, Table};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    pub before: Program,
    pub after: Program,
}

impl Program {
    /// Makes the change: nothing but the differences between the patch's two sides.
    pub fn patch(&mut self, patch: &Patch) {
        let Patch { before, after } = patch;
        namespace(&mut self.host, &before.host, &after.host);
        for name in before.namespaces.keys() {
            if !after.namespaces.contains_key(name) {
                self.namespaces.remove(name);
            }
        }
        for (name, new) in &after.namespaces {
            match (before.namespaces.get(name), self.namespaces.get_mut(name)) {
                (Some(old), Some(whole)) => namespace(whole, old, new),
                _ => {
                    self.namespaces.insert(name.clone(), new.clone());
                }
            }
        }
        if before.alarms != after.alarms {
            self.alarms
                .retain(|alarm| !before.alarms.contains(alarm) || after.alarms.contains(alarm));
            let come = after.alarms.iter().filter(|a| !before.alarms.contains(a));
            self.alarms.extend(come.cloned());
            self.alarms.sort();
            self.alarms.dedup();
        }
    }
}

fn map<K: Ord + Clone, V: PartialEq + Clone>(
    whole: &mut BTreeMap<K, V>,
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
) {
    for key in before.keys() {
        if !after.contains_key(key) {
            whole.remove(key);
        }
    }
    for (key, value) in after {
        if before.get(key) != Some(value) {
            whole.insert(key.clone(), value.clone());
        }
    }
}

fn set<T: Ord + Clone>(whole: &mut BTreeSet<T>, before: &BTreeSet<T>, after: &BTreeSet<T>) {
    for gone in before.difference(after) {
        whole.remove(gone);
    }
    whole.extend(after.difference(before).cloned());
}

fn namespace(whole: &mut Namespace, before: &Namespace, after: &Namespace) {
    if before.role != after.role {
        whole.role = after.role.clone();
    }
    map(&mut whole.sysctls, &before.sysctls, &after.sysctls);
    map(&mut whole.veths, &before.veths, &after.veths);
    set(&mut whole.addresses, &before.addresses, &after.addresses);
    map(&mut whole.neighbours, &before.neighbours, &after.neighbours);
    map(&mut whole.routes, &before.routes, &after.routes);
    set(&mut whole.rules, &before.rules, &after.rules);
    map(
        &mut whole.connections,
        &before.connections,
        &after.connections,
    );
    set(&mut whole.untracked, &before.untracked, &after.untracked);
    set(&mut whole.tracked, &before.tracked, &after.tracked);
    for name in before.tables.keys() {
        if !after.tables.contains_key(name) {
            whole.tables.remove(name);
        }
    }
    for (name, new) in &after.tables {
        match (before.tables.get(name), whole.tables.get_mut(name)) {
            (Some(old), Some(whole)) => table(whole, old, new),
            _ => {
                whole.tables.insert(name.clone(), new.clone());
            }
        }
    }
}

fn table(whole: &mut Table, before: &Table, after: &Table) {
    map(&mut whole.chains, &before.chains, &after.chains);
    map(&mut whole.timeouts, &before.timeouts, &after.timeouts);
    for name in before.sets.keys() {
        if !after.sets.contains_key(name) {
            whole.sets.remove(name);
        }
    }
    for (name, new) in &after.sets {
        match (before.sets.get(name), whole.sets.get_mut(name)) {
            (Some(old), Some(whole)) => elements(whole, old, new),
            _ => {
                whole.sets.insert(name.clone(), new.clone());
            }
        }
    }
}

fn elements(whole: &mut Set, before: &Set, after: &Set) {
    macro_rules! by_kind {
        ($($kind:ident: $change:ident),*) => {
            match (whole, before, after) {
                $((Set::$kind(whole), Set::$kind(before), Set::$kind(after)) => {
                    $change(whole, before, after);
                })*
                // Of another kind: a set of its own that took the name.
                (whole, _, after) => *whole = after.clone(),
            }
        };
    }
    by_kind!(
        Addresses: set,
        Devices: set,
        Bindings: set,
        Ports: set,
        Icmp: set,
        Protocols: set,
        Translations: map,
        Verdicts: map
    );
}
