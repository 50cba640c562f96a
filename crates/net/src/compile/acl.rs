//! Network ACLs: ordered, stateless, checked before connection tracking for every packet that
//! crosses a subnet's border, replies included (facts ACL-1, ACL-2, ACL-7).
//!
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>
//!
//! An ACL whose first entry of a family allows everything, as the default one's does, compiles to
//! nothing. Entries are of one family each; what none of a packet's family takes is denied.

use super::Region;
use super::firewall::{base, drop_rest, log};
use super::groups::traffic_matches;
use crate::names;
use crate::program::{
    Action, Chain, Direction, End, Family, Hook, Match, Program, Rule, Set, Table, Verdict,
};
use fogbank_types::Traffic;
use fogbank_types::ec2::{NetworkAcl, NetworkAclEntry, Subnet};
use std::collections::{BTreeMap, BTreeSet};

/// What the maps of a table say of one subnet's devices.
#[derive(Default)]
struct Maps {
    // Leaving a subnet is seen where the packet comes in, entering one where it goes out.
    leaving: BTreeMap<String, Verdict>,
    entering: BTreeMap<String, Verdict>,
}

pub(super) fn add(program: &mut Program, table: &mut Table, region: &Region<'_>) {
    let mut maps = Maps::default();
    let mut is_needed = false;
    for subnet in region.subnets.values() {
        is_needed |= add_subnet(program, table, region, subnet, &mut maps);
    }
    if !is_needed {
        return;
    }
    let verdict_of = |direction, map: &str| {
        let map = map.to_owned();
        Rule::new([], Action::VerdictOf { direction, map })
    };
    let rules = vec![
        verdict_of(Direction::In, "acl_out"),
        verdict_of(Direction::Out, "acl_in"),
    ];
    for (name, map) in [("acl_out", maps.leaving), ("acl_in", maps.entering)] {
        table.sets.insert(name.to_owned(), Set::Verdicts(map));
    }
    let chain = base(Hook::Forward, -10, rules);
    table.chains.insert("acl".to_owned(), chain);
}

/// One subnet's chains, and its devices in the maps. Whether it needs any.
fn add_subnet(
    program: &mut Program,
    table: &mut Table,
    region: &Region<'_>,
    subnet: &Subnet,
    maps: &mut Maps,
) -> bool {
    let acl = acl_of(region, subnet);
    if acl.is_none() {
        program.alarm(
            &subnet.subnet_id,
            "no network ACL: nothing crosses its border",
        );
    }
    let restricts = |egress| !lets_all_pass(&ordered(acl, egress, table.family));
    if !region.is_occupied(subnet) || !(restricts(true) || restricts(false)) {
        return false;
    }
    if !region.is_in_focus(subnet) {
        return true;
    }
    let locals = region.local.iter();
    let devices: BTreeSet<String> = locals
        .filter(|eni| eni.subnet_id == subnet.subnet_id)
        .map(|eni| names::eni_device(&eni.eni_id))
        .collect();
    for (egress, map) in [(true, &mut maps.leaving), (false, &mut maps.entering)] {
        let entries = ordered(acl, egress, table.family);
        if lets_all_pass(&entries) {
            continue;
        }
        let name = format!("{}-{}", subnet.subnet_id, if egress { "out" } else { "in" });
        let chain = subnet_chain(region, subnet, &entries, egress, table.family);
        table.chains.insert(name.clone(), chain);
        for device in &devices {
            map.insert(device.clone(), Verdict::Jump(name.clone()));
        }
    }
    let set = Set::Devices(devices);
    table.sets.insert(devices_name(subnet), set);
    true
}

/// Which directions of which families an ACL does not restrict at all.
pub(super) fn open_ways(acl: &NetworkAcl) -> Vec<bool> {
    let ways = [Family::V4, Family::V6]
        .into_iter()
        .flat_map(|family| [true, false].map(|egress| (family, egress)));
    ways.map(|(family, egress)| lets_all_pass(&ordered(Some(acl), egress, family)))
        .collect()
}

fn devices_name(subnet: &Subnet) -> String {
    format!("{}-devices", subnet.subnet_id)
}

/// A subnet has exactly one ACL: its own or the VPC's default (fact SUB-9).
fn acl_of<'a>(region: &Region<'a>, subnet: &Subnet) -> Option<&'a NetworkAcl> {
    let associated = |acl: &&&NetworkAcl| {
        acl.associations
            .iter()
            .any(|a| a.subnet_id == subnet.subnet_id)
    };
    let acls = &region.acls;
    acls.iter()
        .find(associated)
        .or_else(|| acls.iter().find(|acl| acl.is_default))
        .copied()
}

fn ordered(acl: Option<&NetworkAcl>, egress: bool, family: Family) -> Vec<&NetworkAclEntry> {
    let mut entries: Vec<_> = acl
        .map(|acl| acl.entries.iter().filter(|e| e.egress == egress).collect())
        .unwrap_or_default();
    entries.retain(|entry| Family::of_block(entry.cidr_block) == family);
    entries.sort_by_key(|entry| entry.number);
    entries
}

fn lets_all_pass(entries: &[&NetworkAclEntry]) -> bool {
    entries.first().is_some_and(|first| {
        first.allow && first.traffic == Traffic::All && first.cidr_block.is_any()
    })
}

/// Returns for what may pass and drops the rest; traffic inside the subnet returns at once.
fn subnet_chain(
    region: &Region<'_>,
    subnet: &Subnet,
    entries: &[&NetworkAclEntry],
    egress: bool,
    family: Family,
) -> Chain {
    let (other, end, prefix) = if egress {
        (Direction::Out, End::Destination, "acl_out")
    } else {
        (Direction::In, End::Source, "acl_in")
    };
    let neighbour = Match::DeviceIn {
        direction: other,
        set: devices_name(subnet),
        member: true,
    };
    let mut rules = vec![Rule::new([neighbour], Action::Do(Verdict::Return))];
    for entry in entries {
        let Some(traffic) = traffic_matches(entry.traffic, family) else {
            continue;
        };
        let mut matches = Vec::new();
        if !entry.cidr_block.is_any() {
            matches.push(Match::Block {
                end,
                block: entry.cidr_block,
                inside: true,
            });
        }
        matches.extend(traffic);
        if entry.allow {
            rules.push(Rule::new(matches, Action::Do(Verdict::Return)));
        } else {
            rules.extend(log(region, prefix, matches.clone()));
            rules.push(Rule::new(matches, Action::Do(Verdict::Drop)));
        }
    }
    rules.extend(log(region, prefix, Vec::new()));
    rules.push(drop_rest());
    Chain { base: None, rules }
}
