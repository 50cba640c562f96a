//! Network ACLs: ordered, stateless, checked before connection tracking for every packet that
//! crosses a subnet's border, replies included (facts ACL-1, ACL-2, ACL-7).
//!
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>
//!
//! An ACL whose first entry allows everything, as the default one's does, compiles to nothing.

use super::Region;
use crate::names;
use crate::program::{
    Action, Base, Chain, Direction, End, Hook, Match, Program, Rule, Set, Table, Verdict,
};
use fogbank_types::ec2::{NetworkAcl, NetworkAclEntry, Subnet};
use fogbank_types::{Ipv4Cidr, Traffic};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn add(program: &mut Program, table: &mut Table, region: &Region<'_>) {
    // Leaving a subnet is seen where the packet comes in, entering one where it goes out.
    let mut leaving = BTreeMap::new();
    let mut entering = BTreeMap::new();
    for subnet in &region.subnets {
        let acl = acl_of(region, subnet);
        if acl.is_none() {
            program.alarm(
                &subnet.subnet_id,
                "no network ACL: nothing crosses its border",
            );
        }
        let devices: BTreeSet<String> = region
            .local()
            .filter(|eni| eni.subnet_id == subnet.subnet_id)
            .map(|eni| names::eni_device(&eni.eni_id))
            .collect();
        if devices.is_empty() {
            continue;
        }
        let mut used = false;
        for (egress, map) in [(true, &mut leaving), (false, &mut entering)] {
            let entries = ordered(acl, egress);
            if lets_all_pass(&entries) {
                continue;
            }
            used = true;
            let name = format!("{}-{}", subnet.subnet_id, if egress { "out" } else { "in" });
            let chain = subnet_chain(subnet, &entries, egress);
            table.chains.insert(name.clone(), chain);
            for device in &devices {
                map.insert(device.clone(), Verdict::Jump(name.clone()));
            }
        }
        if used {
            let set = Set::Devices(devices);
            table.sets.insert(devices_name(subnet), set);
        }
    }
    if leaving.is_empty() && entering.is_empty() {
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
    table
        .sets
        .insert("acl_out".to_owned(), Set::Verdicts(leaving));
    table
        .sets
        .insert("acl_in".to_owned(), Set::Verdicts(entering));
    let base = Base {
        hook: Hook::Forward,
        nat: false,
        priority: -10,
    };
    table.chains.insert(
        "acl".to_owned(),
        Chain {
            base: Some(base),
            rules,
        },
    );
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

fn ordered(acl: Option<&NetworkAcl>, egress: bool) -> Vec<&NetworkAclEntry> {
    let mut entries: Vec<_> = acl
        .map(|acl| acl.entries.iter().filter(|e| e.egress == egress).collect())
        .unwrap_or_default();
    entries.sort_by_key(|entry| entry.number);
    entries
}

fn lets_all_pass(entries: &[&NetworkAclEntry]) -> bool {
    entries.first().is_some_and(|first| {
        first.allow && first.traffic == Traffic::All && first.cidr_block == Ipv4Cidr::ANY
    })
}

/// Returns for what may pass and drops the rest; traffic inside the subnet returns at once.
fn subnet_chain(subnet: &Subnet, entries: &[&NetworkAclEntry], egress: bool) -> Chain {
    let (other, end) = if egress {
        (Direction::Out, End::Destination)
    } else {
        (Direction::In, End::Source)
    };
    let neighbour = Match::DeviceIn {
        direction: other,
        set: devices_name(subnet),
        member: true,
    };
    let mut rules = vec![Rule::new([neighbour], Action::Do(Verdict::Return))];
    for entry in entries {
        let mut matches = Vec::new();
        if entry.cidr_block != Ipv4Cidr::ANY {
            matches.push(Match::Block {
                end,
                block: entry.cidr_block,
                inside: true,
            });
        }
        matches.extend(super::groups::traffic_matches(entry.traffic));
        let verdict = if entry.allow {
            Verdict::Return
        } else {
            Verdict::Drop
        };
        rules.push(Rule::new(matches, Action::Do(verdict)));
    }
    rules.push(Rule::new([], Action::Do(Verdict::Drop)));
    Chain { base: None, rules }
}
