//! Security groups as sets: one lookup instead of a walk over sixty rules.
//!
//! Each family has its own sets, from the rules that can match it. Rules with a CIDR or a prefix
//! list become elements of at most three sets a group and direction (ports, ICMP, whole
//! protocols); rules that name a group stay rules, with the group's members as a set. So an
//! authorised rule, or a task that joins, is one element in one transaction.
//!
//! The kernel's range sets refuse elements that overlap, and users' rules often do (443 from
//! anywhere and 443 from the office), so ranges are first made disjoint, which changes no verdict.

use super::{Region, hash};
use crate::program::{
    Action, Chain, End, Family, Match, Program, Range, Rule, Set, Table, TrafficKind, Verdict,
};
use fogbank_types::ec2::{RulePeer, SecurityGroup, SecurityGroupRule};
use fogbank_types::{IpCidr, PortRange, SecurityGroupId, Traffic};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

const PROTOCOLS: Range = Range { from: 0, to: 255 };

/// Chains for a sorted list of groups, egress and ingress; one group needs none of its own.
pub(super) fn list_chains(table: &mut Table, groups: &[&str]) -> Option<(String, String)> {
    match groups {
        [] => None,
        [one] => Some((chain_name(one, true), chain_name(one, false))),
        many => {
            let hash = hash(many);
            let [out, into] = [true, false].map(|egress| {
                let name = format!("list-{hash:016x}-{}", suffix(egress));
                table.chains.entry(name.clone()).or_insert_with(|| Chain {
                    base: None,
                    rules: many
                        .iter()
                        .map(|g| Rule::new([], Action::Do(Verdict::Jump(chain_name(g, egress)))))
                        .collect(),
                });
                name
            });
            Some((out, into))
        }
    }
}

fn suffix(egress: bool) -> &'static str {
    if egress { "out" } else { "in" }
}

fn chain_name(group: &str, egress: bool) -> String {
    format!("{group}-{}", suffix(egress))
}

fn members_name(group: &SecurityGroupId) -> String {
    format!("{group}-members")
}

/// Chains and sets of every group in use here.
pub(super) fn add<'a>(
    program: &mut Program,
    table: &mut Table,
    region: &Region<'a>,
    used: &BTreeSet<&str>,
) {
    let mut referenced = BTreeSet::new();
    for id in used {
        let group = region.groups[id];
        for egress in [true, false] {
            let rules = group_rules(program, table, region, group, egress, &mut referenced);
            let chain = Chain { base: None, rules };
            table.chains.insert(chain_name(id, egress), chain);
        }
    }
    if let Some(view) = region.view {
        referenced = view.members.iter().collect();
    }
    for group in referenced {
        let set = Set::Addresses(members(region, group, table.family));
        table.sets.insert(members_name(group), set);
    }
}

/// Private addresses of all interfaces now in the group, wherever they run (fact SG-9).
fn members(region: &Region<'_>, group: &SecurityGroupId, family: Family) -> BTreeSet<IpAddr> {
    let members = region.members.get(group.as_str()).into_iter().flatten();
    members
        .flat_map(|eni| eni.all_addresses())
        .filter(|address| Family::of(*address) == family)
        .collect()
}

/// Disjoint boxes under construction: what each set's elements will cover.
#[derive(Default)]
struct Boxes {
    ports: BTreeMap<u8, Vec<(IpCidr, Range)>>,
    icmp: Vec<(IpCidr, Range)>,
    protocols: Vec<(IpCidr, Range)>,
}

impl Boxes {
    /// A family's ICMP says nothing about the other's packets.
    fn add(&mut self, peer: IpCidr, traffic: Traffic) {
        let whole = |number: u8| Range {
            from: u16::from(number),
            to: u16::from(number),
        };
        match traffic {
            Traffic::All => self.protocols.push((peer, PROTOCOLS)),
            Traffic::Tcp(ports) => self.ports.entry(6).or_default().push((peer, range(ports))),
            Traffic::Udp(ports) => self.ports.entry(17).or_default().push((peer, range(ports))),
            Traffic::Icmp(kind) if peer.is_ipv4() => self.icmp.push((peer, icmp_range(kind))),
            Traffic::Icmpv6(kind) if !peer.is_ipv4() => self.icmp.push((peer, icmp_range(kind))),
            Traffic::Icmp(_) | Traffic::Icmpv6(_) => {}
            Traffic::Protocol(number) => self.protocols.push((peer, whole(number))),
        }
    }
}

/// The blocks of a rule's peer in either family; none for a group. `Err` says why it has none.
pub(super) fn peer_blocks(
    region: &Region<'_>,
    rule: &SecurityGroupRule,
) -> Result<Vec<IpCidr>, String> {
    match &rule.peer {
        RulePeer::Ipv4(block) => Ok(vec![(*block).into()]),
        RulePeer::Ipv6(block) => Ok(vec![(*block).into()]),
        RulePeer::Group(_) => Ok(Vec::new()),
        RulePeer::PrefixList(id) => region
            .snapshot
            .prefix_list(&region.vpc.scope, id, region.config)
            .ok_or_else(|| format!("prefix list {id} is unknown")),
    }
}

pub(super) fn range(ports: PortRange) -> Range {
    Range {
        from: ports.from(),
        to: ports.to(),
    }
}

/// ICMP type and code as one number; a type without a code is all its codes (fact SG-8).
fn icmp_range(kind: Option<(u8, Option<u8>)>) -> Range {
    match kind {
        None => Range::ALL,
        Some((kind, code)) => {
            let base = u16::from(kind) << 8;
            Range {
                from: base | u16::from(code.unwrap_or(0)),
                to: base | u16::from(code.unwrap_or(255)),
            }
        }
    }
}

/// The rules of a group's chain; sets are put into the table.
fn group_rules<'a>(
    program: &mut Program,
    table: &mut Table,
    region: &Region<'a>,
    group: &'a SecurityGroup,
    egress: bool,
    referenced: &mut BTreeSet<&'a SecurityGroupId>,
) -> Vec<Rule> {
    let end = if egress {
        End::Destination
    } else {
        End::Source
    };
    let mut boxes = Boxes::default();
    let mut by_group = BTreeSet::new();
    for rule in group.rules.iter().filter(|rule| rule.egress == egress) {
        match peer_blocks(region, rule) {
            Ok(blocks) => blocks
                .into_iter()
                .filter(|block| Family::of_block(*block) == table.family)
                .for_each(|block| boxes.add(block, rule.traffic)),
            Err(reason) => program.alarm(&rule.rule_id, reason),
        }
        // One that is not there, or no longer of a peer, is stale: it matches nothing (fact SG-9).
        if let RulePeer::Group(peer) = &rule.peer
            && region.members.contains_key(peer.as_str())
        {
            referenced.insert(peer);
            by_group.insert((peer, rule.traffic));
        }
    }
    let name = chain_name(group.group_id.as_str(), egress);
    let mut rules = set_rules(table, &name, end, boxes);
    for (peer, traffic) in by_group {
        let Some(traffic) = traffic_matches(traffic, table.family) else {
            continue;
        };
        let mut matches = vec![Match::AddressIn {
            end,
            set: members_name(peer),
            member: true,
        }];
        matches.extend(traffic);
        rules.push(Rule::new(matches, Action::Do(Verdict::Accept)));
    }
    rules
}

/// A rule a set, for the sets that have elements.
fn set_rules(table: &mut Table, name: &str, end: End, boxes: Boxes) -> Vec<Rule> {
    let mut ports = BTreeSet::new();
    for (protocol, boxes) in boxes.ports {
        ports.extend(disjoint(boxes).into_iter().map(|(c, r)| (c, protocol, r)));
    }
    let icmp = disjoint(boxes.icmp);
    let protocols = disjoint(boxes.protocols);
    let mut rules = Vec::new();
    for (empty, suffix, kind, set) in [
        (
            ports.is_empty(),
            "ports",
            TrafficKind::Ports,
            Set::Ports(ports),
        ),
        (icmp.is_empty(), "icmp", TrafficKind::Icmp, Set::Icmp(icmp)),
        (
            protocols.is_empty(),
            "protocols",
            TrafficKind::Protocols,
            Set::Protocols(protocols),
        ),
    ] {
        if empty {
            continue;
        }
        let set_name = format!("{name}-{suffix}");
        table.sets.insert(set_name.clone(), set);
        let mut matches = Vec::new();
        if kind == TrafficKind::Icmp {
            // Other protocols have something else where ICMP has type and code.
            matches.push(Match::Protocol {
                number: table.family.icmp(),
                equal: true,
            });
        }
        matches.push(Match::Traffic {
            end,
            set: set_name,
            kind,
        });
        rules.push(Rule::new(matches, Action::Do(Verdict::Accept)));
    }
    rules
}

/// The same traffic as plain matches; `None`: no packet of that family is meant.
pub(super) fn traffic_matches(traffic: Traffic, family: Family) -> Option<Vec<Match>> {
    let protocol = |number| Match::Protocol {
        number,
        equal: true,
    };
    match traffic {
        Traffic::All => Some(Vec::new()),
        Traffic::Tcp(ports) => Some(vec![protocol(6), Match::Ports(range(ports))]),
        Traffic::Udp(ports) => Some(vec![protocol(17), Match::Ports(range(ports))]),
        Traffic::Icmp(_) if family != Family::V4 => None,
        Traffic::Icmpv6(_) if family != Family::V6 => None,
        Traffic::Icmp(None) | Traffic::Icmpv6(None) => Some(vec![protocol(family.icmp())]),
        Traffic::Icmp(kind) | Traffic::Icmpv6(kind) => {
            Some(vec![protocol(family.icmp()), Match::Icmp(icmp_range(kind))])
        }
        Traffic::Protocol(number) => Some(vec![protocol(number)]),
    }
}

/// The same union of boxes without overlaps.
///
/// Blocks nest or are disjoint. So each block keeps those ranges that no block around it covers,
/// joined where they touch; a box of one block can then meet no box of another.
fn disjoint(boxes: Vec<(IpCidr, Range)>) -> BTreeSet<(IpCidr, Range)> {
    let mut by_block: BTreeMap<IpCidr, Vec<Range>> = BTreeMap::new();
    for (block, range) in boxes {
        by_block.entry(block).or_default().push(range);
    }
    let mut out = BTreeSet::new();
    for (block, ranges) in &by_block {
        let covered: Vec<Range> = by_block
            .iter()
            .filter(|(other, _)| *other != block && other.covers(*block))
            .flat_map(|(_, ranges)| ranges.iter().copied())
            .collect();
        for range in subtract(join(ranges.clone()), &join(covered)) {
            out.insert((*block, range));
        }
    }
    out
}

/// Sorted, with overlapping and touching ranges as one.
pub(super) fn join(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    let mut joined: Vec<Range> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if u32::from(range.from) <= u32::from(last.to) + 1 => {
                last.to = last.to.max(range.to);
            }
            _ => joined.push(range),
        }
    }
    joined
}

/// What is left of sorted `ranges` without the sorted `holes`.
fn subtract(ranges: Vec<Range>, holes: &[Range]) -> Vec<Range> {
    let mut left = Vec::new();
    for range in ranges {
        let mut from = u32::from(range.from);
        for hole in holes {
            if hole.to < range.from || hole.from > range.to {
                continue;
            }
            if u32::from(hole.from) > from {
                left.push(Range {
                    from: from as u16,
                    to: hole.from - 1,
                });
            }
            from = from.max(u32::from(hole.to) + 1);
        }
        if from <= u32::from(range.to) {
            left.push(Range {
                from: from as u16,
                to: range.to,
            });
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(from: u16, to: u16) -> Range {
        Range { from, to }
    }

    #[test]
    fn a_rule_inside_a_wider_one_needs_no_element() {
        let wide = (Family::V4.any(), range(443, 443));
        let narrow = ("10.0.0.0/8".parse().unwrap(), range(443, 443));
        assert_eq!(disjoint(vec![wide, narrow]), [wide].into());
    }

    #[test]
    fn the_rest_of_a_wider_range_stays() {
        let wide = (Family::V4.any(), range(80, 80));
        let block: IpCidr = "10.0.0.0/8".parse().unwrap();
        let got = disjoint(vec![wide, (block, range(0, 65535))]);
        let expected = [wide, (block, range(0, 79)), (block, range(81, 65535))];
        assert_eq!(got, expected.into());
    }

    #[test]
    fn touching_ranges_are_joined_to_the_last_port() {
        let joined = join(vec![range(1, 5), range(6, 65535), range(0, 0)]);
        assert_eq!(joined, [Range::ALL]);
    }

    fn any_box() -> impl Strategy<Value = (IpCidr, Range)> {
        let block = (0u32..8, prop::sample::select(vec![0u8, 8, 29, 30, 31, 32]));
        (block, 0u16..12, 0u16..12).prop_map(|((low, length), a, b)| {
            let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 | low).into();
            let block = IpCidr::containing(address, length).unwrap();
            (block, range(a.min(b), a.max(b)))
        })
    }

    proptest! {
        #[test]
        fn disjoint_boxes_cover_the_same_and_never_meet(boxes in prop::collection::vec(any_box(), 0..12)) {
            let split = disjoint(boxes.clone());
            for low in 0u32..9 {
                let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 | low).into();
                for value in 0u16..14 {
                    let hit = |(block, range): &&(IpCidr, Range)| block.contains(address) && range.contains(value);
                    let times = split.iter().filter(hit).count();
                    prop_assert_eq!(times, usize::from(boxes.iter().any(|b| hit(&b))));
                }
            }
        }
    }
}
