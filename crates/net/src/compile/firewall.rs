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

fn accept() -> Action {
    Action::Do(Verdict::Accept)
}

fn drop_rest() -> Rule {
    Rule::new([], Action::Do(Verdict::Drop))
}

fn base(hook: Hook, priority: i32, rules: Vec<Rule>) -> Chain {
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
    let priority = if hook == Hook::Prerouting { -100 } else { 100 };
    Chain {
        base: Some(Base {
            hook,
            nat: true,
            priority,
        }),
        rules,
    }
}

fn device(direction: Direction, name: &str) -> Match {
    Match::Device {
        direction,
        name: name.to_owned(),
        equal: true,
    }
}

/// IPv6 is not built yet: nothing passes, whatever a namespace's settings become.
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

/// A router says nothing of its own but "too big" and its like, and listens to nobody.
pub(super) fn close_own_sockets(table: &mut Table) {
    let input = vec![
        Rule::new([device(Direction::In, "lo")], accept()),
        drop_rest(),
    ];
    table
        .chains
        .insert("input".to_owned(), base(Hook::Input, 0, input));
    table
        .chains
        .insert("output".to_owned(), base(Hook::Output, 0, own_errors()));
}

/// What a router may send by itself: answers, and destination-unreachable errors, which path MTU
/// discovery needs (fact VPC-18: 9001 inside, 1500 through the gateway).
fn own_errors() -> Vec<Rule> {
    let unreachable = Range {
        from: 3 << 8,
        to: 3 << 8 | 0xff,
    };
    let icmp = Match::Protocol {
        number: 1,
        equal: true,
    };
    vec![
        Rule::new([Match::Established], accept()),
        Rule::new([device(Direction::Out, "lo")], accept()),
        Rule::new([icmp, Match::Icmp(unreachable)], accept()),
        drop_rest(),
    ]
}

/// The table of a VPC's namespace.
pub(super) fn table(program: &mut Program, region: &Region<'_>) -> Table {
    let mut table = Table::new(Family::V4);
    bindings(&mut table, region);
    source_gate(&mut table);
    destination_gate(&mut table, region);
    if region.gateway_attached {
        super::gateway::translate(&mut table, region);
    }
    super::acl::add(program, &mut table, region);
    security_gates(program, &mut table, region);
    let platform = [
        names::RESOLVER,
        names::METADATA,
        names::TASK_METADATA,
        region.vpc.resolver(),
    ];
    platform_gate(&mut table, &platform);
    table
}

/// Which device may use which addresses, and which devices are not checked: the gateway's, and
/// those of interfaces whose source/destination check is off.
fn bindings(table: &mut Table, region: &Region<'_>) {
    let mut bound = BTreeSet::new();
    let mut unchecked = BTreeSet::from(["lo".to_owned(), names::GATEWAY_DEVICE.to_owned()]);
    for eni in region.local() {
        let device = names::eni_device(&eni.eni_id);
        if eni.source_dest_check {
            bound.extend(eni.addresses().map(|address| (device.clone(), address)));
        } else {
            unchecked.insert(device);
        }
    }
    table
        .sets
        .insert("bindings".to_owned(), Set::Bindings(bound));
    table
        .sets
        .insert("unchecked".to_owned(), Set::Devices(unchecked));
}

fn unchecked(direction: Direction) -> Match {
    Match::DeviceIn {
        direction,
        set: "unchecked".to_owned(),
        member: true,
    }
}

fn bound(direction: Direction) -> Match {
    Match::Bound {
        direction,
        set: "bindings".to_owned(),
    }
}

/// Before connection tracking, so that a forged source leaves no trace in it.
fn source_gate(table: &mut Table) {
    let rules = vec![
        Rule::new([bound(Direction::In)], accept()),
        Rule::new([unchecked(Direction::In)], accept()),
        drop_rest(),
    ];
    table
        .chains
        .insert("source".to_owned(), base(Hook::Prerouting, -300, rules));
}

/// An interface only gets what is addressed to it, and only mapped addresses use the gateway, in
/// either direction and at once when a mapping goes (fact IGW-2).
fn destination_gate(table: &mut Table, region: &Region<'_>) {
    let mut rules = Vec::new();
    if region.gateway_attached {
        let not_public = |end| Match::AddressIn {
            end,
            set: "public".to_owned(),
            member: false,
        };
        let gateway = |direction| device(direction, names::GATEWAY_DEVICE);
        let deny = Action::Do(Verdict::Drop);
        rules.push(Rule::new(
            [gateway(Direction::Out), not_public(End::Source)],
            deny.clone(),
        ));
        rules.push(Rule::new(
            [gateway(Direction::In), not_public(End::Destination)],
            deny,
        ));
    }
    rules.push(Rule::new([bound(Direction::Out)], accept()));
    rules.push(Rule::new([unchecked(Direction::Out)], accept()));
    rules.push(drop_rest());
    table
        .chains
        .insert("destination".to_owned(), base(Hook::Forward, -20, rules));
}

/// Security groups: the sender's egress rules, then the receiver's ingress rules (fact SG-1).
/// A tracked connection passes both whatever the rules have become (facts SG-10, SG-11).
fn security_gates(program: &mut Program, table: &mut Table, region: &Region<'_>) {
    let mut used = BTreeSet::new();
    let mut maps = [BTreeMap::new(), BTreeMap::new()];
    for eni in region.local() {
        let device = names::eni_device(&eni.eni_id);
        if matches!(eni.owner, EniOwner::NatGateway(_)) {
            // It has no group (fact NAT-3); its own namespace decides what it forwards.
            for map in &mut maps {
                map.insert(device.clone(), Verdict::Accept);
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
    super::groups::add(program, table, region, &used);
    let [egress, ingress] = maps;
    for (name, direction, map, priority) in [
        ("egress", Direction::In, egress, 0),
        ("ingress", Direction::Out, ingress, 10),
    ] {
        let mut rules = vec![Rule::new([Match::Established], accept())];
        if direction == Direction::In {
            let deny = Action::Do(Verdict::Drop);
            rules.push(Rule::new([Match::Invalid], deny));
        }
        if region.gateway_attached {
            let gateway = device(direction, names::GATEWAY_DEVICE);
            rules.push(Rule::new([gateway], accept()));
        }
        let map_name = format!("{name}_of");
        let verdict = Action::VerdictOf {
            direction,
            map: map_name.clone(),
        };
        rules.push(Rule::new([], verdict));
        rules.push(drop_rest());
        table.sets.insert(map_name, Set::Verdicts(map));
        table
            .chains
            .insert(name.to_owned(), base(Hook::Forward, priority, rules));
    }
}

/// Resolver and metadata answer interfaces only, on their own ports; no group or ACL filters them
/// (fact VPC-11). Nobody outside the VPC reaches them.
fn platform_gate(table: &mut Table, platform: &[std::net::Ipv4Addr]) {
    close_own_sockets(table);
    let addresses = platform.iter().copied().collect();
    table
        .sets
        .insert("platform".to_owned(), Set::Addresses(addresses));
    let to_platform = || Match::AddressIn {
        end: End::Destination,
        set: "platform".to_owned(),
        member: true,
    };
    let service = |number, port| {
        let protocol = Match::Protocol {
            number,
            equal: true,
        };
        let ports = Match::Ports(Range {
            from: port,
            to: port,
        });
        Rule::new([to_platform(), protocol, ports], accept())
    };
    let rules = vec![
        Rule::new([device(Direction::In, "lo")], accept()),
        Rule::new(
            [device(Direction::In, names::GATEWAY_DEVICE)],
            Action::Do(Verdict::Drop),
        ),
        Rule::new([Match::Established], accept()),
        service(17, 53),
        service(6, 53),
        service(6, 80),
        drop_rest(),
    ];
    table
        .chains
        .insert("input".to_owned(), base(Hook::Input, 0, rules));
}
