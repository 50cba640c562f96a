//! A VPC's firewall: the gates that every packet passes, in the order of fact ACL-9.
//!
//! prerouting: the source belongs to the interface it came from -> (routing) -> forward: the
//! destination belongs to the interface it goes to -> network ACLs -> egress gate of the sender's
//! groups -> ingress gate of the receiver's. Each gate is a base chain of its own, because accepting
//! ends only that chain; so no gate can open another one, and gates don't multiply each other.
//!
//! What must stay true: the last rule of each gate drops.

use super::Region;
use crate::names;
use crate::program::{
    Action, Base, Chain, Direction, End, Family, Hook, Match, Program, Range, Rule, Set, Table,
    Verdict,
};
use fogbank_types::ec2::EniOwner;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

pub(super) fn accept() -> Action {
    Action::Do(Verdict::Accept)
}

pub(super) fn drop_action() -> Action {
    Action::Do(Verdict::Drop)
}

pub(super) fn drop_rest() -> Rule {
    Rule::new([], drop_action())
}

/// Tells the flow logs of what the next rule drops, if there are any.
pub(super) fn log(region: &Region<'_>, prefix: &str, matches: Vec<Match>) -> Option<Rule> {
    let action = Action::Log {
        group: names::FLOW_LOG_GROUP,
        prefix: prefix.to_owned(),
    };
    region.is_logged.then(|| Rule::new(matches, action))
}

pub(super) fn base(hook: Hook, priority: i32, rules: Vec<Rule>) -> Chain {
    Chain {
        base: Some(Base {
            hook,
            nat: false,
            priority,
        }),
        rules,
    }
}

/// A chain that translates addresses, at the kernel's usual place for it.
pub(super) fn nat(hook: Hook, rules: Vec<Rule>) -> Chain {
    let is_early = matches!(hook, Hook::Prerouting | Hook::Output);
    let priority = if is_early { -100 } else { 100 };
    Chain {
        base: Some(Base {
            hook,
            nat: true,
            priority,
        }),
        rules,
    }
}

pub(super) fn device(direction: Direction, name: &str) -> Match {
    Match::Device {
        direction,
        name: name.to_owned(),
        equal: true,
    }
}

pub(super) fn device_in(direction: Direction, set: &str) -> Match {
    Match::DeviceIn {
        direction,
        set: set.to_owned(),
        member: true,
    }
}

/// A namespace without IPv6: nothing of it passes, whatever the namespace's settings become.
pub(super) fn closed_v6() -> Table {
    let mut table = Table::new(Family::V6);
    let inside = || {
        vec![
            Rule::new([device(Direction::In, "lo")], accept()),
            drop_rest(),
        ]
    };
    let away = || {
        vec![
            Rule::new([device(Direction::Out, "lo")], accept()),
            drop_rest(),
        ]
    };
    for (name, chain) in [
        ("input", base(Hook::Input, 0, inside())),
        ("forward", base(Hook::Forward, 0, vec![drop_rest()])),
        ("output", base(Hook::Output, 0, away())),
    ] {
        table.chains.insert(name.to_owned(), chain);
    }
    table
}

/// What a router may send by itself: answers, and the errors that path MTU discovery needs (fact
/// VPC-18: 9001 inside, 1500 through the gateway): destination unreachable, or packet too big.
pub(super) fn own_errors(table: &mut Table) {
    let kind: u16 = match table.family {
        Family::V4 => 3,
        Family::V6 => 2,
    };
    let errors = Range {
        from: kind << 8,
        to: kind << 8 | 0xff,
    };
    let icmp = Match::Protocol {
        number: table.family.icmp(),
        equal: true,
    };
    let rules = vec![
        Rule::new([Match::Established], accept()),
        Rule::new([device(Direction::Out, "lo")], accept()),
        Rule::new([icmp, Match::Icmp(errors)], accept()),
        drop_rest(),
    ];
    let chain = base(Hook::Output, 0, rules);
    table.chains.insert("output".to_owned(), chain);
}

/// The table of a VPC's namespace for one family.
pub(super) fn table(program: &mut Program, region: &Region<'_>, family: Family) -> Table {
    if !region.has(family) {
        return closed_v6();
    }
    let mut table = Table::new(family);
    super::zone::add(&mut table, region);
    bindings(&mut table, region);
    source_gate(&mut table, region);
    super::idle::add(&mut table, region);
    destination_gate(&mut table, region);
    entry_gate(&mut table, region);
    super::gateway::translate(&mut table, region);
    super::acl::add(program, &mut table, region);
    security_gates(program, &mut table, region);
    own_errors(&mut table);
    platform_gate(&mut table, region);
    table
}

/// Which device may use which addresses, and which devices are not checked: links to elsewhere, and
/// those of interfaces whose source/destination check is off.
fn bindings(table: &mut Table, region: &Region<'_>) {
    let links: BTreeSet<String> = region.link_devices(table.family).into_iter().collect();
    let mut bound = BTreeSet::new();
    let mut unchecked = links.clone();
    unchecked.insert("lo".to_owned());
    for eni in &region.local {
        let device = names::eni_device(&eni.eni_id);
        if eni.source_dest_check {
            let addresses = region.addresses(eni, table.family);
            bound.extend(addresses.map(|address| (device.clone(), address)));
        } else {
            unchecked.insert(device);
        }
    }
    for (name, set) in [
        ("bindings", Set::Bindings(bound)),
        ("unchecked", Set::Devices(unchecked)),
        ("links", Set::Devices(links)),
    ] {
        table.sets.insert(name.to_owned(), set);
    }
}

fn bound(direction: Direction) -> Match {
    Match::Bound {
        direction,
        set: "bindings".to_owned(),
    }
}

/// Before connection tracking, so that a forged source leaves no trace in it.
fn source_gate(table: &mut Table, region: &Region<'_>) {
    let mut rules = vec![Rule::new([bound(Direction::In)], accept())];
    rules.extend(super::peering::add_sources(table, region));
    rules.push(Rule::new([device_in(Direction::In, "unchecked")], accept()));
    rules.push(drop_rest());
    let chain = base(Hook::Prerouting, -300, rules);
    table.chains.insert("source".to_owned(), chain);
}

/// An interface only gets what is addressed to it, and a link only what belongs there.
fn destination_gate(table: &mut Table, region: &Region<'_>) {
    let mut rules = super::gateway::gate(table, region);
    rules.extend(super::endpoint::gate(table, region));
    rules.push(Rule::new([bound(Direction::Out)], accept()));
    rules.push(Rule::new(
        [device_in(Direction::Out, "unchecked")],
        accept(),
    ));
    rules.push(drop_rest());
    let chain = base(Hook::Forward, -20, rules);
    table.chains.insert("destination".to_owned(), chain);
}

/// Who may open connections from outside, where not everyone may.
fn entry_gate(table: &mut Table, region: &Region<'_>) {
    let entries = super::gateway::entries(table, region);
    if entries.is_empty() {
        return;
    }
    let mut rules = vec![Rule::new([Match::Established], accept())];
    rules.extend(entries);
    let chain = base(Hook::Forward, -15, rules);
    table.chains.insert("entry".to_owned(), chain);
}

/// Security groups: the sender's egress rules, then the receiver's ingress rules (fact SG-1).
/// A tracked connection passes both whatever the rules have become (facts SG-10, SG-11).
fn security_gates(program: &mut Program, table: &mut Table, region: &Region<'_>) {
    let mut used = BTreeSet::new();
    let mut maps = [BTreeMap::new(), BTreeMap::new()];
    for eni in &region.local {
        let device = names::eni_device(&eni.eni_id);
        if matches!(eni.owner, EniOwner::NatGateway(_)) {
            // It has no group (fact NAT-3); its own namespace decides what it forwards.
            if table.family == Family::V4 {
                for map in &mut maps {
                    map.insert(device.clone(), Verdict::Accept);
                }
            }
            continue;
        }
        let mut groups: Vec<&str> = eni.groups.iter().map(|g| g.as_str()).collect();
        groups.sort_unstable();
        groups.dedup();
        groups.retain(|group| {
            let known = region.groups.contains_key(group);
            if !known {
                program.alarm(&eni.eni_id, format!("security group {group} is unknown"));
            }
            known
        });
        used.extend(groups.iter().copied());
        if let Some((egress, ingress)) = super::groups::list_chains(table, &groups) {
            maps[0].insert(device.clone(), Verdict::Jump(egress));
            maps[1].insert(device, Verdict::Jump(ingress));
        }
    }
    if let Some(view) = region.view {
        for list in &view.lists {
            let groups: Vec<&str> = list.iter().map(String::as_str).collect();
            super::groups::list_chains(table, &groups);
        }
        used = view.groups.iter().map(String::as_str).collect();
    }
    super::groups::add(program, table, region, &used);
    let [egress, ingress] = maps;
    gate(table, region, "egress", egress);
    gate(table, region, "ingress", ingress);
}

/// One of the two gates, with the chains of each device's groups.
fn gate(table: &mut Table, region: &Region<'_>, name: &str, map: BTreeMap<String, Verdict>) {
    let (direction, priority) = match name {
        "egress" => (Direction::In, 0),
        _ => (Direction::Out, 10),
    };
    let mut rules = vec![Rule::new([Match::Established], accept())];
    if direction == Direction::In {
        rules.extend(log(region, name, vec![Match::Invalid]));
        rules.push(Rule::new([Match::Invalid], drop_action()));
    }
    rules.push(Rule::new([device_in(direction, "links")], accept()));
    let map_name = format!("{name}_of");
    let verdict = Action::VerdictOf {
        direction,
        map: map_name.clone(),
    };
    rules.push(Rule::new([], verdict));
    rules.extend(log(region, name, Vec::new()));
    rules.push(drop_rest());
    table.sets.insert(map_name, Set::Verdicts(map));
    let chain = base(Hook::Forward, priority, rules);
    table.chains.insert(name.to_owned(), chain);
}

/// Addresses of the router at which the platform answers (facts VPC-10, VPC-11).
pub(super) fn platform(region: &Region<'_>, family: Family) -> Vec<IpAddr> {
    match family {
        Family::V4 => [
            names::RESOLVER,
            names::METADATA,
            names::TASK_METADATA,
            region.vpc.resolver(),
        ]
        .map(IpAddr::from)
        .into(),
        Family::V6 => vec![names::RESOLVER_V6.into()],
    }
}

/// Resolver and metadata answer interfaces only, on their own ports; no group or ACL filters them
/// (fact VPC-11). Nobody outside the VPC reaches them.
fn platform_gate(table: &mut Table, region: &Region<'_>) {
    let addresses = platform(region, table.family).into_iter().collect();
    table
        .sets
        .insert("platform".to_owned(), Set::Addresses(addresses));
    let mut rules = vec![
        Rule::new([device(Direction::In, "lo")], accept()),
        Rule::new([device_in(Direction::In, "links")], drop_action()),
        Rule::new([Match::Established], accept()),
        service("platform", 17, 53),
        service("platform", 6, 53),
    ];
    if table.family == Family::V4 {
        rules.push(service("platform", 6, 80));
    }
    rules.push(drop_rest());
    let chain = base(Hook::Input, 0, rules);
    table.chains.insert("input".to_owned(), chain);
}

/// Accepts packets for one port of the addresses in a set.
pub(super) fn service(set: &str, number: u8, port: u16) -> Rule {
    let at = Match::AddressIn {
        end: End::Destination,
        set: set.to_owned(),
        member: true,
    };
    let protocol = Match::Protocol {
        number,
        equal: true,
    };
    let ports = Match::Ports(Range {
        from: port,
        to: port,
    });
    Rule::new([at, protocol, ports], accept())
}
