//! `compile` against `reference`, over random regions and packets; and `plan` against a model.
//!
//! `FOGBANK_CASES` sets how many regions are tried; each gets `PACKETS` packets.

#![allow(clippy::unwrap_used)]

mod region;

use fogbank_net::plan::{LinkOp, NftOp, Place, Work, plan};
use fogbank_net::program::{Action, Chain, Namespace, Program, Set, Table, Verdict};
use fogbank_net::{compile, eval, reference};
use fogbank_types::ec2::*;
use fogbank_types::*;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use region::random::*;
use region::*;
use std::collections::BTreeSet;

const PACKETS: usize = 150;

fn cases() -> u32 {
    let text = std::env::var("FOGBANK_CASES").ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(160)
}

fn numbers(count: usize) -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(any::<u32>(), count)
}

fn runner() -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })
}

fn some_config(numbers: &[u32]) -> RegionConfig {
    let mut config = config("test");
    if numbers.first().is_some_and(|n| n % 2 == 0) {
        config.internet = InternetAccess::Host;
    }
    config
}

#[test]
fn the_program_does_what_the_reference_says() {
    let strategy = (numbers(260), numbers(PACKETS * 8));
    let (mut delivered, mut dropped) = (0usize, 0usize);
    let counts = std::cell::RefCell::new((&mut delivered, &mut dropped));
    runner()
        .run(&strategy, |(rows, packets)| {
            let region = any_region(&rows);
            let config = some_config(&packets);
            let program = compile(&region.snapshot, &config);
            let mut dice = Dice {
                numbers: packets.iter(),
            };
            for _ in 0..PACKETS {
                let (origin, packet) = any_packet(&region, &mut dice);
                if !can_send(&region, &origin) {
                    continue;
                }
                let real = eval::fate(&program, &config, &origin, packet);
                let right = reference::fate(&region.snapshot, &config, &origin, packet);
                prop_assert_eq!(
                    real.delivery(),
                    right.delivery(),
                    "{:?} {:?}: {:?}, but {:?}",
                    origin,
                    packet,
                    real,
                    right
                );
                let mut counts = counts.borrow_mut();
                *(if right.delivery().is_some() {
                    &mut *counts.0
                } else {
                    &mut *counts.1
                }) += 1;
            }
            Ok(())
        })
        .unwrap();
    println!("{delivered} delivered, {dropped} dropped");
    assert!(
        delivered > dropped / 20,
        "the packets mean something: {delivered} of {dropped}"
    );
}

#[test]
fn an_added_rule_never_blocks_and_taking_it_back_undoes_it() {
    runner()
        .run(&(numbers(260), numbers(400)), |(rows, packets)| {
            let mut region = any_region(&rows);
            let config = config("test");
            let before = compile(&region.snapshot, &config);
            let mut dice = Dice {
                numbers: packets.iter(),
            };
            let groups: Vec<SecurityGroup> = region
                .snapshot
                .security_groups
                .all()
                .map(|g| g.as_ref().clone())
                .collect();
            let old = groups[dice.below(groups.len())].clone();
            let mut new = old.clone();
            let (egress, traffic) = (dice.chance(2), any_traffic(&mut dice));
            let peer = RulePeer::Ipv4(cidr(dice.pick(&BLOCKS)));
            new.rules.push(region.rule(egress, traffic, peer));
            region.put(new);
            let after = compile(&region.snapshot, &config);
            for _ in 0..40 {
                let (origin, packet) = any_packet(&region, &mut dice);
                if eval::fate(&before, &config, &origin, packet)
                    .delivery()
                    .is_some()
                {
                    prop_assert!(
                        eval::fate(&after, &config, &origin, packet)
                            .delivery()
                            .is_some()
                    );
                }
            }
            region.put(old);
            prop_assert!(compile(&region.snapshot, &config) == before);
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_order_of_rules_and_groups_is_irrelevant() {
    runner()
        .run(&numbers(260), |rows| {
            let mut region = any_region(&rows);
            let config = config("test");
            let before = compile(&region.snapshot, &config);
            let groups: Vec<_> = region.snapshot.security_groups.all().cloned().collect();
            for group in groups {
                let mut group = group.as_ref().clone();
                group.rules.reverse();
                region.put(group);
            }
            let enis: Vec<_> = region.snapshot.enis.all().cloned().collect();
            for eni in enis {
                let mut eni = eni.as_ref().clone();
                eni.groups.reverse();
                region.put(eni);
            }
            let acls: Vec<_> = region.snapshot.network_acls.all().cloned().collect();
            for acl in acls {
                let mut acl = acl.as_ref().clone();
                acl.entries.reverse();
                region.put(acl);
            }
            prop_assert!(compile(&region.snapshot, &config) == before);
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_difference_applied_to_the_old_gives_the_new() {
    runner()
        .run(&(numbers(260), numbers(260)), |(a, b)| {
            let config = config("test");
            // Related regions: the second begins like the first.
            let mut mixed = a.clone();
            let cut = b.len() / 2;
            mixed[cut..].copy_from_slice(&b[cut..]);
            let old = compile(&any_region(&a).snapshot, &config);
            for numbers in [&b, &mixed] {
                let new = compile(&any_region(numbers).snapshot, &config);
                let mut model = old.clone();
                for step in plan(&old, &new, &BTreeSet::new()) {
                    model_step(&mut model, &new, &step.place, &step.work)?;
                }
                forget_neighbours_of_lost_devices(&mut model);
                for (name, namespace) in &new.namespaces {
                    let got = &model.namespaces[name];
                    prop_assert_eq!(&got.tables, &namespace.tables);
                    prop_assert_eq!(&got.routes, &namespace.routes);
                    prop_assert_eq!(&got.rules, &namespace.rules);
                    prop_assert_eq!(&got.veths, &namespace.veths);
                    prop_assert_eq!(&got.addresses, &namespace.addresses);
                    prop_assert_eq!(&got.neighbours, &namespace.neighbours);
                    // A setting that is no longer named keeps its value: only an interface that
                    // changed its owner would have one, and none does.
                    let mut settings = namespace.sysctls.iter();
                    prop_assert!(
                        settings.all(|(path, value)| got.sysctls.get(path) == Some(value))
                    );
                }
                prop_assert_eq!(model.namespaces.len(), new.namespaces.len());
            }
            prop_assert_eq!(plan(&old, &old, &BTreeSet::new()), vec![]);
            Ok(())
        })
        .unwrap();
}

/// The kernel does so by itself, and the plan relies on it.
fn forget_neighbours_of_lost_devices(model: &mut Program) {
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
fn model_step(
    model: &mut Program,
    new: &Program,
    place: &Place,
    work: &Work,
) -> Result<(), TestCaseError> {
    let Place::Named(name) = place else {
        return Ok(());
    };
    match work {
        Work::CreateNamespace => {
            let namespace = Namespace {
                role: new.namespaces[name].role.clone(),
                ..Namespace::default()
            };
            prop_assert!(model.namespaces.insert(name.clone(), namespace).is_none());
            return Ok(());
        }
        Work::RemoveNamespace => {
            model.namespaces.remove(name);
            // Pairs go with either end, and routes and neighbours with the device.
            for other in model.namespaces.values_mut() {
                other
                    .veths
                    .retain(|_, veth| veth.peer.namespace.as_ref() != Some(name));
            }
            return Ok(());
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
            prop_assert!(
                namespace
                    .veths
                    .insert(device.clone(), veth.clone())
                    .is_none()
            );
        }
        Work::RemoveVeth { device } => {
            prop_assert!(namespace.veths.remove(device).is_some());
        }
        Work::Links(operations) => {
            for operation in operations {
                match operation.clone() {
                    LinkOp::AddAddress(a) => drop(namespace.addresses.insert(a)),
                    LinkOp::RemoveAddress(a) => prop_assert!(namespace.addresses.remove(&a)),
                    LinkOp::AddNeighbour(d, a, m) => drop(namespace.neighbours.insert((d, a), m)),
                    LinkOp::RemoveNeighbour(d, a) => drop(namespace.neighbours.remove(&(d, a))),
                    LinkOp::AddRoute(key, route) => drop(namespace.routes.insert(key, route)),
                    LinkOp::RemoveRoute(key, _) => {
                        prop_assert!(namespace.routes.remove(&key).is_some())
                    }
                    LinkOp::AddRule(rule) => prop_assert!(namespace.rules.insert(rule)),
                    LinkOp::RemoveRule(rule) => prop_assert!(namespace.rules.remove(&rule)),
                }
            }
        }
        Work::Firewall {
            family,
            table,
            operations,
        } => {
            for operation in operations {
                model_firewall(namespace, *family, table, operation)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn model_firewall(
    namespace: &mut Namespace,
    family: fogbank_net::program::Family,
    name: &str,
    operation: &NftOp,
) -> Result<(), TestCaseError> {
    if let NftOp::AddTable = operation {
        namespace
            .tables
            .entry(name.to_owned())
            .or_insert(Table::new(family));
        return Ok(());
    }
    let Some(table) = namespace.tables.get_mut(name) else {
        return Err(TestCaseError::fail(format!(
            "{operation:?} without its table"
        )));
    };
    match operation.clone() {
        NftOp::AddTable => {}
        NftOp::DeleteTable => drop(namespace.tables.remove(name)),
        NftOp::AddChain { name, base } => {
            let chain = Chain {
                base,
                rules: Vec::new(),
            };
            prop_assert!(table.chains.insert(name, chain).is_none());
        }
        NftOp::DeleteChain { name } => {
            prop_assert!(table.chains.remove(&name).is_some());
            prop_assert!(!jumps(table).contains(&name), "{} is in use", name);
        }
        NftOp::FlushChain { name } => table.chains.get_mut(&name).unwrap().rules.clear(),
        NftOp::AddRule { chain, rule } => table.chains.get_mut(&chain).unwrap().rules.push(rule),
        NftOp::AddSet { name, shape } => prop_assert!(table.sets.insert(name, shape).is_none()),
        NftOp::DeleteSet { name } => {
            prop_assert!(table.sets.remove(&name).is_some());
            let rules = table.chains.values().flat_map(|chain| &chain.rules);
            let quoted = format!("{name:?}");
            let mut users = rules.filter(|rule| format!("{rule:?}").contains(&quoted));
            prop_assert!(users.next().is_none(), "{} is in use", name);
        }
        NftOp::AddElements { set, elements } => {
            let set = table.sets.get_mut(&set).unwrap();
            prop_assert!(change_elements(set, elements, true));
        }
        NftOp::DeleteElements { set, elements } => {
            let set = table.sets.get_mut(&set).unwrap();
            prop_assert!(change_elements(set, elements, false));
        }
    }
    Ok(())
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
