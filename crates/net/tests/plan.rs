//! `plan` against a model of the kernel: the difference applied to the old program gives the new.

#![allow(clippy::unwrap_used)]

mod region;

use fogbank_net::compile;
use fogbank_net::plan::{LinkOp, NftOp, Place, Work, plan};
use fogbank_net::program::{Action, Chain, Namespace, Program, Set, Table, Verdict};
use region::change::*;
use region::random::*;
use region::*;
use std::collections::BTreeSet;

/// How many pairs of regions are tried; `FOGBANK_CASES` sets it.
fn cases() -> u64 {
    let text = std::env::var("FOGBANK_CASES").ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(40)
}

#[test]
fn the_difference_applied_to_the_old_gives_the_new() {
    let config = config("test");
    for seed in 0..cases() {
        let mut region = any_region(seed);
        let old = compile(&region.snapshot, &config);
        let mut dice = Dice::new(seed + 1_000_000);
        // Related regions, and one that has nothing to do with the first.
        for _ in 0..4 {
            any_change(&mut region, &mut dice);
        }
        for other in [region, any_region(seed + 2_000_000)] {
            let new = compile(&other.snapshot, &config);
            let mut model = old.clone();
            for step in plan(&old, &new, &BTreeSet::new()) {
                model_step(&mut model, &new, &step.place, &step.work);
            }
            forget_what_lay_on_lost_devices(&mut model);
            assert_same(&model, &new, seed);
        }
        assert_eq!(plan(&old, &old, &BTreeSet::new()), vec![], "seed {seed}");
    }
}

fn assert_same(model: &Program, new: &Program, seed: u64) {
    for (name, namespace) in &new.namespaces {
        let got = &model.namespaces[name];
        let place = format!("seed {seed}, {name}");
        assert_eq!(got.tables, namespace.tables, "{place}");
        assert_eq!(got.routes, namespace.routes, "{place}");
        assert_eq!(got.rules, namespace.rules, "{place}");
        assert_eq!(got.veths, namespace.veths, "{place}");
        assert_eq!(got.addresses, namespace.addresses, "{place}");
        assert_eq!(got.neighbours, namespace.neighbours, "{place}");
        // A setting that is no longer named keeps its value: only an interface that changed its
        // owner would have one, and none does.
        let mut settings = namespace.sysctls.iter();
        assert!(
            settings.all(|(path, value)| got.sysctls.get(path) == Some(value)),
            "{place}"
        );
    }
    assert_eq!(model.namespaces.len(), new.namespaces.len(), "seed {seed}");
}

/// The kernel does so by itself, and the plan relies on it.
fn forget_what_lay_on_lost_devices(model: &mut Program) {
    let mut devices = BTreeSet::new();
    for (name, namespace) in &model.namespaces {
        for (device, veth) in &namespace.veths {
            devices.insert((Some(name.clone()), device.clone()));
            devices.insert((veth.peer.namespace.clone(), veth.peer.device.clone()));
        }
    }
    for (name, namespace) in &mut model.namespaces {
        let lives = |device: &String| devices.contains(&(Some(name.clone()), device.clone()));
        namespace.neighbours.retain(|(device, _), _| lives(device));
    }
}

/// The kernel as maps. It refuses what the kernel refuses.
fn model_step(model: &mut Program, new: &Program, place: &Place, work: &Work) {
    let Place::Named(name) = place else {
        return;
    };
    match work {
        Work::CreateNamespace => {
            let namespace = Namespace {
                role: new.namespaces[name].role.clone(),
                ..Namespace::default()
            };
            assert!(model.namespaces.insert(name.clone(), namespace).is_none());
            return;
        }
        Work::RemoveNamespace => {
            model.namespaces.remove(name);
            // Pairs go with either end, and routes and neighbours with the device.
            for other in model.namespaces.values_mut() {
                other
                    .veths
                    .retain(|_, veth| veth.peer.namespace.as_ref() != Some(name));
            }
            return;
        }
        _ => {}
    }
    if let Work::AddVeth { device, veth } = work {
        // Both ends are new: nothing is known on them.
        let ends = [
            (Some(name), device),
            (veth.peer.namespace.as_ref(), &veth.peer.device),
        ];
        for (place, device) in ends {
            if let Some(end) = place.and_then(|place| model.namespaces.get_mut(place)) {
                end.neighbours.retain(|(other, _), _| other != device);
            }
        }
    }
    let namespace = model.namespaces.get_mut(name).unwrap();
    match work {
        Work::Set { path, value } => {
            namespace.sysctls.insert(path.clone(), value.clone());
        }
        Work::AddVeth { device, veth } => {
            assert!(
                namespace
                    .veths
                    .insert(device.clone(), veth.clone())
                    .is_none()
            );
        }
        Work::Delay {
            device, delay_ms, ..
        } => {
            if let Some(veth) = namespace.veths.get_mut(device) {
                veth.delay_ms = *delay_ms;
            }
        }
        Work::RemoveVeth { device } => {
            assert!(namespace.veths.remove(device).is_some());
        }
        Work::Links(operations) => {
            for operation in operations {
                match operation.clone() {
                    LinkOp::AddAddress(a) => drop(namespace.addresses.insert(a)),
                    LinkOp::RemoveAddress(a) => assert!(namespace.addresses.remove(&a)),
                    LinkOp::AddNeighbour(d, a, m) => drop(namespace.neighbours.insert((d, a), m)),
                    LinkOp::RemoveNeighbour(d, a) => drop(namespace.neighbours.remove(&(d, a))),
                    LinkOp::AddRoute(key, route) => drop(namespace.routes.insert(key, route)),
                    LinkOp::RemoveRoute(key, _) => {
                        assert!(namespace.routes.remove(&key).is_some())
                    }
                    LinkOp::AddRule(rule) => assert!(namespace.rules.insert(rule)),
                    LinkOp::RemoveRule(rule) => assert!(namespace.rules.remove(&rule)),
                }
            }
        }
        Work::Firewall {
            family,
            table,
            operations,
        } => {
            for operation in operations {
                model_firewall(namespace, *family, table, operation);
            }
        }
        _ => {}
    }
}

fn model_firewall(
    namespace: &mut Namespace,
    family: fogbank_net::program::Family,
    name: &str,
    operation: &NftOp,
) {
    if let NftOp::AddTable = operation {
        namespace
            .tables
            .entry(name.to_owned())
            .or_insert(Table::new(family));
        return;
    }
    let Some(table) = namespace.tables.get_mut(name) else {
        panic!("{operation:?} without its table");
    };
    match operation.clone() {
        NftOp::AddTable => {}
        NftOp::DeleteTable => drop(namespace.tables.remove(name)),
        NftOp::AddChain { name, base } => {
            let chain = Chain {
                base,
                rules: Vec::new(),
            };
            assert!(table.chains.insert(name, chain).is_none());
        }
        NftOp::DeleteChain { name } => {
            assert!(table.chains.remove(&name).is_some());
            assert!(!jumps(table).contains(&name), "{} is in use", name);
        }
        NftOp::FlushChain { name } => table.chains.get_mut(&name).unwrap().rules.clear(),
        NftOp::AddRule { chain, rule } => table.chains.get_mut(&chain).unwrap().rules.push(rule),
        NftOp::AddSet { name, shape } => assert!(table.sets.insert(name, shape).is_none()),
        NftOp::DeleteSet { name } => {
            assert!(table.sets.remove(&name).is_some());
            let rules = table.chains.values().flat_map(|chain| &chain.rules);
            let quoted = format!("{name:?}");
            let mut users = rules.filter(|rule| format!("{rule:?}").contains(&quoted));
            assert!(users.next().is_none(), "{} is in use", name);
        }
        NftOp::AddTimeout { name, timeout } => {
            assert!(table.timeouts.insert(name, timeout).is_none());
        }
        NftOp::DeleteTimeout { name, .. } => {
            assert!(table.timeouts.remove(&name).is_some());
            let mut rules = table.chains.values().flat_map(|chain| &chain.rules);
            let user = rules.find(|rule| rule.action == Action::SetTimeout(name.clone()));
            assert!(user.is_none(), "{} is in use", name);
        }
        NftOp::AddElements { set, elements } => {
            let set = table.sets.get_mut(&set).unwrap();
            assert!(change_elements(set, elements, true));
        }
        NftOp::DeleteElements { set, elements } => {
            let set = table.sets.get_mut(&set).unwrap();
            assert!(change_elements(set, elements, false));
        }
    }
}

/// The chains that rules and maps jump to.
fn jumps(table: &Table) -> BTreeSet<String> {
    let rules = table.chains.values().flat_map(|chain| &chain.rules);
    let by_rules = rules.filter_map(|rule| match &rule.action {
        Action::Do(verdict) => Some(verdict),
        _ => None,
    });
    let by_maps = table.sets.values().flat_map(|set| match set {
        Set::Verdicts(all) => all.values().collect(),
        _ => Vec::new(),
    });
    let all = by_rules.chain(by_maps);
    all.filter_map(|verdict| match verdict {
        Verdict::Jump(chain) => Some(chain.clone()),
        _ => None,
    })
    .collect()
}

/// Whether each element was absent (adding) or present (deleting).
fn change_elements(set: &mut Set, elements: Set, add: bool) -> bool {
    macro_rules! sets {
        ($($kind:ident),*; $($map:ident),*) => {
            match (set, elements) {
                $((Set::$kind(all), Set::$kind(these)) => these.into_iter().all(|e| if add { all.insert(e) } else { all.remove(&e) }),)*
                $((Set::$map(all), Set::$map(these)) => these.into_iter().all(|(k, v)| {
                    if add { all.insert(k, v).is_none() } else { all.remove(&k) == Some(v) }
                }),)*
                _ => false,
            }
        };
    }
    sets!(Addresses, Devices, Bindings, Ports, Icmp, Protocols; Translations, Verdicts)
}
