//! `compile` against `reference`, over random regions, changes and packets.
//!
//! `FOGBANK_CASES` sets how many regions are tried and `FOGBANK_SEED` which is the first; each gets
//! `PACKETS` packets.

#![allow(clippy::unwrap_used)]

mod region;

use fogbank_net::packet::{Endpoint, Fate, Origin, Packet};
use fogbank_net::{Program, compile, eval, reference};
use fogbank_types::ec2::*;
use fogbank_types::*;
use region::random::*;
use region::*;
use std::net::IpAddr;

const PACKETS: usize = 1000;
/// Packets of each region for the properties of changes.
const SAMPLE: usize = 60;

fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Seeds of the regions.
fn seeds(default: u64) -> std::ops::Range<u64> {
    let first = setting("FOGBANK_SEED", 0);
    first..first + setting("FOGBANK_CASES", default)
}

fn some_config(seed: u64) -> RegionConfig {
    let mut config = config("test");
    if seed.is_multiple_of(2) {
        config.internet = InternetAccess::Host;
    }
    config
}

/// An appliance whose own subnet routes to it gets its packets back, or does not get them off; who
/// routes so cannot mean it.
fn returns(origin: &Origin, packet: &Packet, fate: &Fate, region: &Region) -> bool {
    let (Origin::Eni(from), Fate::Delivered { to, .. }) = (origin, fate) else {
        return false;
    };
    let eni = region.snapshot.enis.get(&scope(), from).unwrap();
    let mut own = eni.all_addresses();
    let public = |private| match private {
        IpAddr::V4(private) => region.snapshot.public_ip(eni, private).map(IpAddr::V4),
        IpAddr::V6(_) => None,
    };
    let meant = |own| own == packet.destination || public(own) == Some(packet.destination);
    *to == Endpoint::Eni(from.clone()) && !own.any(meant)
}

/// Packets for the region, of a stream of their own.
fn packets(region: &Region, seed: u64, count: usize) -> Vec<(Origin, Packet)> {
    let mut dice = Dice::new(seed ^ 0x7061_636b_6574_7321);
    let packets = Packets::new(region);
    (0..count).map(|_| packets.any(&mut dice)).collect()
}

#[test]
fn the_program_does_what_the_reference_says() {
    let (mut delivered, mut dropped, mut mismatches) = (0usize, 0usize, 0usize);
    let mut ends = std::collections::BTreeMap::new();
    for seed in seeds(120) {
        let region = any_region(seed);
        let config = some_config(seed);
        let program = compile(&region.snapshot, &config);
        for (origin, packet) in packets(&region, seed, PACKETS) {
            let real = eval::fate(&program, &config, &origin, packet);
            let right = reference::fate(&region.snapshot, &config, &origin, packet);
            if returns(&origin, &packet, &right, &region) {
                continue;
            }
            if real.delivery() != right.delivery() {
                mismatches += 1;
                if mismatches <= 20 {
                    println!("seed {seed} {origin:?} {packet:?}: {real:?}, but {right:?}");
                }
            }
            *ends.entry(end_of(&right)).or_insert(0usize) += 1;
            *(if right.delivery().is_some() {
                &mut delivered
            } else {
                &mut dropped
            }) += 1;
        }
    }
    for (end, count) in &ends {
        println!("{count:8} {end}");
    }
    println!(
        "property packets: {}, delivered: {delivered}, dropped: {dropped}, mismatches: {mismatches}",
        delivered + dropped
    );
    assert_eq!(mismatches, 0);
    assert!(
        delivered > dropped / 20,
        "the packets mean something: {delivered} of {dropped}"
    );
}

/// Answers pass the groups, and neither the network ACLs nor a lost route.
#[test]
fn answers_come_back_as_the_reference_says() {
    let (mut back, mut lost, mut mismatches) = (0usize, 0usize, 0usize);
    for seed in seeds(120) {
        let region = any_region(seed);
        let config = some_config(seed);
        let program = compile(&region.snapshot, &config);
        let mut dice = Dice::new(seed + 4_000_000);
        for (origin, packet) in packets(&region, seed, PACKETS / 3) {
            let detail = match (packet.protocol, packet.detail) {
                (1, 0x0800) => 0x0000,
                (58, 0x8000) => 0x8100,
                (1 | 58, _) => continue,
                _ => dice.pick(&[1024, 40_000, 65_535]),
            };
            let right = reference::reply(&region.snapshot, &config, &origin, packet, detail);
            let Some(right) = right else { continue };
            let there = eval::walk(&program, &config, &origin, packet, false);
            let real = eval::walk_back(&program, &there, detail).map(|walked| walked.fate);
            let (real_end, right_end) = (real.as_ref().and_then(Fate::delivery), right.delivery());
            // An appliance on the way back may see either address of a translated source.
            let end = |delivery: Option<(&Endpoint, _)>| delivery.map(|(end, _)| end.clone());
            let asker = match &origin {
                Origin::Eni(id) => Endpoint::Eni(id.clone()),
                Origin::Outside => Endpoint::Outside,
            };
            let same = if end(right_end) == Some(asker) {
                real_end == right_end
            } else {
                end(real_end) == end(right_end)
            };
            if !same {
                mismatches += 1;
                if mismatches <= 20 {
                    println!(
                        "seed {seed} answer to {origin:?} {packet:?}: {real:?}, but {right:?}"
                    );
                }
            }
            *(if right.delivery().is_some() {
                &mut back
            } else {
                &mut lost
            }) += 1;
        }
    }
    println!(
        "property answers: {}, lost: {lost}, mismatches: {mismatches}",
        back + lost
    );
    assert_eq!(mismatches, 0);
    assert!(back > lost && lost > 0);
}

/// Where a packet ended, or what stopped it, without names.
fn end_of(fate: &Fate) -> String {
    match fate {
        Fate::Delivered { to, seen_as } => {
            let family = if seen_as.is_ipv4() { 4 } else { 6 };
            let kind = match to {
                Endpoint::Eni(_) => "an interface",
                Endpoint::Platform(_) => "the platform",
                Endpoint::Service(_) => "a service",
                Endpoint::Outside => "the world outside",
            };
            format!("IPv{family} reached {kind}")
        }
        Fate::Dropped(reason) => format!("dropped: {reason}"),
    }
}

/// Packets that pass `before` and do not pass `after`.
fn lost(
    before: &Program,
    after: &Program,
    config: &RegionConfig,
    packets: &[(Origin, Packet)],
) -> Vec<(Origin, Packet)> {
    let passes = |program: &Program, (origin, packet): &(Origin, Packet)| {
        let fate = eval::fate(program, config, origin, *packet);
        fate.delivery().is_some()
    };
    let lost = packets
        .iter()
        .filter(|p| passes(before, p) && !passes(after, p));
    lost.cloned().collect()
}

#[test]
fn an_added_rule_never_blocks_and_taking_it_back_undoes_it() {
    for seed in seeds(60) {
        let mut region = any_region(seed);
        let config = config("test");
        let before = compile(&region.snapshot, &config);
        let mut dice = Dice::new(seed + 1_000_000);
        let groups: Vec<_> = region.snapshot.security_groups.all().cloned().collect();
        let old = dice.pick(&groups);
        let mut new = old.as_ref().clone();
        new.rules.push(any_rule(&mut region, &mut dice));
        region.put(new);
        let after = compile(&region.snapshot, &config);
        let packets = packets(&region, seed, SAMPLE);
        assert_eq!(lost(&before, &after, &config, &packets), [], "seed {seed}");
        region.put(old.as_ref().clone());
        assert!(
            compile(&region.snapshot, &config) == before,
            "seed {seed}: a revoke did not undo its authorize"
        );
    }
}

#[test]
fn the_order_of_rules_and_groups_is_irrelevant() {
    for seed in seeds(60) {
        let mut region = any_region(seed);
        let config = config("test");
        let before = compile(&region.snapshot, &config);
        let mut dice = Dice::new(seed);
        shuffle_rows(&mut region, &mut dice);
        assert!(
            compile(&region.snapshot, &config) == before,
            "seed {seed}: another order of the same is another program"
        );
    }
}

/// The same region: groups, ACL entries and routes are sets, however they are written down.
fn shuffle_rows(region: &mut Region, dice: &mut Dice) {
    fn shuffle<T>(dice: &mut Dice, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, dice.below(end + 1));
        }
    }
    let groups: Vec<_> = region.snapshot.security_groups.all().cloned().collect();
    for group in groups {
        let mut group = group.as_ref().clone();
        shuffle(dice, &mut group.rules);
        region.put(group);
    }
    let enis: Vec<_> = region.snapshot.enis.all().cloned().collect();
    for eni in enis {
        let mut eni = eni.as_ref().clone();
        shuffle(dice, &mut eni.groups);
        region.put(eni);
    }
    let acls: Vec<_> = region.snapshot.network_acls.all().cloned().collect();
    for acl in acls {
        let mut acl = acl.as_ref().clone();
        shuffle(dice, &mut acl.entries);
        region.put(acl);
    }
    let lists: Vec<_> = region.snapshot.prefix_lists.all().cloned().collect();
    for list in lists {
        let mut list = list.as_ref().clone();
        shuffle(dice, &mut list.entries);
        region.put(list);
    }
    let tables: Vec<_> = region.snapshot.route_tables.all().cloned().collect();
    for table in tables {
        let mut table = table.as_ref().clone();
        // Among prefix lists the first wins; blocks may stand anywhere.
        let lists = |route: &Route| matches!(route.destination, RouteDestination::PrefixList(_));
        let (by_list, mut by_block): (Vec<_>, Vec<_>) = table.routes.into_iter().partition(lists);
        shuffle(dice, &mut by_block);
        table.routes = by_block;
        table.routes.extend(by_list);
        region.put(table);
    }
}

/// Rows that name what is not there allow nothing: the same rows without those names allow as much.
#[test]
fn what_names_the_unknown_widens_nothing() {
    for seed in seeds(60) {
        let mut region = any_region(seed);
        let config = config("test");
        let before = compile(&region.snapshot, &config);
        let packets = packets(&region, seed, SAMPLE);
        let mut dice = Dice::new(seed + 3_000_000);
        add_unknown_names(&mut region, &mut dice);
        let after = compile(&region.snapshot, &config);
        assert_eq!(lost(&after, &before, &config, &packets), [], "seed {seed}");
        for (origin, packet) in &packets {
            let real = eval::fate(&after, &config, origin, *packet);
            let right = reference::fate(&region.snapshot, &config, origin, *packet);
            if returns(origin, packet, &right, &region) {
                continue;
            }
            assert_eq!(
                real.delivery(),
                right.delivery(),
                "seed {seed} {origin:?} {packet:?}: {real:?}, but {right:?}"
            );
        }
    }
}

fn add_unknown_names(region: &mut Region, dice: &mut Dice) {
    let groups: Vec<_> = region.snapshot.security_groups.all().cloned().collect();
    let mut group = dice.pick(&groups).as_ref().clone();
    let unknown = [
        RulePeer::Group(SecurityGroupId::from_bits(77)),
        RulePeer::PrefixList(PrefixListId::from_bits(77)),
    ];
    for peer in unknown {
        for egress in [true, false] {
            let rule = region.rule(egress, Traffic::All, peer.clone());
            group.rules.push(rule);
        }
    }
    region.put(group);
    let enis: Vec<_> = region.snapshot.enis.all().cloned().collect();
    let mut eni = dice.pick(&enis).as_ref().clone();
    eni.groups.push(SecurityGroupId::from_bits(78));
    region.put(eni);
    let tables: Vec<_> = region.snapshot.route_tables.all().cloned().collect();
    let mut table = dice.pick(&tables).as_ref().clone();
    let targets = [
        RouteTarget::InternetGateway(InternetGatewayId::from_bits(77)),
        RouteTarget::NatGateway(NatGatewayId::from_bits(77)),
        RouteTarget::VpcPeeringConnection(VpcPeeringConnectionId::from_bits(77)),
        RouteTarget::VpcEndpoint(VpcEndpointId::from_bits(77)),
        RouteTarget::EgressOnlyInternetGateway(EgressOnlyInternetGatewayId::from_bits(77)),
    ];
    let target = dice.pick(&targets);
    let free = |text: &str| {
        let mut routes = table.routes.iter();
        !routes.any(|route| route.destination == destination_of(text))
    };
    let texts = ["10.2.3.0/24", "2001:2:0:777::/64"];
    let new: Vec<_> = texts.into_iter().filter(|text| free(text)).collect();
    for text in new {
        table.routes.push(Route {
            destination: destination_of(text),
            target: target.clone(),
        });
    }
    table.routes.push(Route {
        destination: RouteDestination::PrefixList(PrefixListId::from_bits(79)),
        target,
    });
    region.put(table);
}

/// A peering that ends leaves its routes and rules, and none of them carries anything any more.
#[test]
fn a_peering_that_ended_carries_nothing() {
    let mut checked = 0;
    for seed in seeds(60) {
        let mut region = any_region(seed);
        let config = config("test");
        let peerings: Vec<_> = region.snapshot.peerings.all().cloned().collect();
        for peering in peerings {
            let mut peering = peering.as_ref().clone();
            peering.status = PeeringStatus::Deleted;
            region.put(peering);
        }
        let program = compile(&region.snapshot, &config);
        for (origin, packet) in packets(&region, seed, SAMPLE) {
            let Origin::Eni(from) = &origin else { continue };
            let fate = eval::fate(&program, &config, &origin, packet);
            let Some((Endpoint::Eni(to), Some(seen_as))) = fate.delivery() else {
                continue;
            };
            let vpc = |id| {
                region
                    .snapshot
                    .enis
                    .get(&scope(), id)
                    .unwrap()
                    .vpc_id
                    .clone()
            };
            let public = packet.destination.is_ipv6() || seen_as != packet.source;
            assert!(
                vpc(from) == vpc(to) || public,
                "seed {seed}: {packet:?} went from {from} to {to}"
            );
            checked += 1;
        }
    }
    assert!(checked > 0);
}
