//! What the compiler remembers gives the same program as one from scratch, by the same steps.

#![allow(clippy::unwrap_used)]

mod region;

use fogbank_net::plan::plan;
use fogbank_net::{Change, Compiler, Program, compile};
use fogbank_types::ec2::*;
use fogbank_types::*;
use region::change::*;
use region::random::*;
use region::*;
use std::collections::BTreeSet;

/// How many regions are changed, thirty times each; `FOGBANK_CASES` sets it.
fn cases() -> u64 {
    let text = std::env::var("FOGBANK_CASES").ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(30)
}

/// A compiler and the program that its changes made.
struct Kept {
    config: RegionConfig,
    compiler: Compiler,
    snapshot: Snapshot,
    program: Program,
    parts: usize,
    wholes: usize,
}

impl Kept {
    fn new(region: &Region) -> Self {
        let config = config("test");
        let mut kept = Self {
            compiler: Compiler::new(config.clone()),
            config,
            snapshot: Snapshot::default(),
            program: Program::default(),
            parts: 0,
            wholes: 0,
        };
        kept.follow(region, "at first");
        kept
    }

    /// Takes the change, and compares.
    fn follow(&mut self, region: &Region, what: &str) {
        let keys = [self.snapshot.keys(), region.snapshot.keys()].concat();
        let change = self
            .compiler
            .update(&region.snapshot, keys.iter().map(String::as_str));
        self.snapshot = region.snapshot.clone();
        let wanted = compile(&region.snapshot, &self.config);
        match change {
            Change::Whole(program) => {
                self.program = *program;
                self.wholes += 1;
            }
            Change::Part(patch) => {
                let none = BTreeSet::new();
                let steps = plan(&patch.before, &patch.after, &none);
                assert_eq!(steps, plan(&self.program, &wanted, &none), "{what}");
                self.program.patch(&patch);
                self.parts += 1;
            }
        }
        assert_same(&self.program, &wanted, what);
    }
}

fn assert_same(got: &Program, wanted: &Program, what: &str) {
    for (name, namespace) in &wanted.namespaces {
        let found = &got.namespaces[name];
        for (table, one) in &namespace.tables {
            let other = &found.tables[table];
            assert_eq!(other.sets, one.sets, "{what}: {name} {table}");
            assert_eq!(other.chains, one.chains, "{what}: {name} {table}");
        }
        assert_eq!(found, namespace, "{what}: {name}");
    }
    assert_eq!(got, wanted, "{what}");
}

/// What moves interfaces, groups and subnets between one another.
fn another_change(region: &mut Region, dice: &mut Dice) {
    let mut eni = dice.pick(&all::<Eni>(region));
    let vpc_id = eni.vpc_id.clone();
    let groups = of_vpc(region, |g: &SecurityGroup| g.vpc_id == vpc_id);
    match dice.below(9) {
        0 => {
            let vpc = region.snapshot.vpcs.get(&eni.scope, &vpc_id).unwrap();
            let vpc = Vpc::clone(vpc);
            let peer = RulePeer::Group(dice.pick(&groups).group_id);
            let group = region.group(&vpc, vec![out_to_all(), (false, Traffic::All, peer)]);
            eni.groups.push(group.group_id);
            region.put(eni);
        }
        // Also one that others name, and seldom one that others have: rows may come in any order.
        1 => {
            let has = |id| all::<Eni>(region).iter().any(|e| e.groups.contains(id));
            let group = dice.pick(&groups);
            if groups.len() > 2 && (!has(&group.group_id) || dice.chance(20)) {
                region.remove(&group);
            }
        }
        2 => {
            eni.host = match eni.host {
                Some(_) => None,
                None => Some(HOST.to_owned()),
            };
            region.put(eni);
        }
        3 => {
            let chosen = groups.iter().filter(|_| dice.chance(2));
            let chosen: Vec<_> = chosen.map(|g| g.group_id.clone()).collect();
            eni.groups = chosen;
            region.put(eni);
        }
        4 => {
            let subnet = region.snapshot.subnets.get(&eni.scope, &eni.subnet_id);
            let subnet = Subnet::clone(subnet.unwrap());
            move_subnet(region, dice, &subnet);
        }
        5 => {
            let acls = of_vpc(region, |a: &NetworkAcl| a.vpc_id == vpc_id);
            for mut acl in acls.clone() {
                acl.associations.retain(|a| a.subnet_id != eni.subnet_id);
                region.put(acl);
            }
            let id = dice.pick(&acls).network_acl_id;
            let acl = region.snapshot.network_acls.get(&eni.scope, &id).unwrap();
            let mut acl = NetworkAcl::clone(acl);
            acl.associations.push(NetworkAclAssociation {
                association_id: NetworkAclAssociationId::from_bits(region.number()),
                subnet_id: eni.subnet_id.clone(),
            });
            region.put(acl);
        }
        6 => {
            eni.ipv6_addresses.pop();
            region.put(eni);
        }
        7 => {
            let vpc = region.snapshot.vpcs.get(&eni.scope, &vpc_id).unwrap();
            let mut vpc = Vpc::clone(vpc);
            vpc.tags.insert("n".to_owned(), region.number().to_string());
            region.put(vpc);
        }
        _ => {
            eni.tags.insert("n".to_owned(), region.number().to_string());
            eni.description.push('x');
            region.put(eni);
        }
    }
}

/// Another route table for a subnet.
fn move_subnet(region: &mut Region, dice: &mut Dice, subnet: &Subnet) {
    let tables = of_vpc(region, |t: &RouteTable| t.vpc_id == subnet.vpc_id);
    for mut table in tables.clone() {
        let is_other = |a: &RouteTableAssociation| a.subnet_id.as_ref() != Some(&subnet.subnet_id);
        table.associations.retain(is_other);
        region.put(table);
    }
    let id = dice.pick(&tables).route_table_id;
    let table = region
        .snapshot
        .route_tables
        .get(&subnet.scope, &id)
        .unwrap();
    let mut table = RouteTable::clone(table);
    table.associations.push(RouteTableAssociation {
        association_id: RouteTableAssociationId::from_bits(region.number()),
        subnet_id: Some(subnet.subnet_id.clone()),
    });
    region.put(table);
}

#[test]
fn after_any_changes_the_program_is_the_one_from_scratch() {
    let (mut parts, mut wholes) = (0, 0);
    for seed in 0..cases() {
        let mut region = any_region(seed);
        let mut dice = Dice::new(seed + 3_000_000);
        let mut kept = Kept::new(&region);
        for n in 0..30 {
            for _ in 0..=dice.below(3) {
                match dice.chance(3) {
                    true => another_change(&mut region, &mut dice),
                    false => any_change(&mut region, &mut dice),
                }
            }
            kept.follow(&region, &format!("seed {seed}, change {n}"));
        }
        parts += kept.parts;
        wholes += kept.wholes;
    }
    println!("{parts} in part, {wholes} as a whole");
    assert!(parts * 2 > wholes, "{parts} in part, {wholes} as a whole");
}
