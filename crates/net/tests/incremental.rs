//! What the compiler remembers gives the same program as one from scratch, by the same steps.

#![allow(clippy::unwrap_used)]

mod region;

use fogbank_net::plan::plan;
use fogbank_net::{Change, Compiler, Program, compile};
use fogbank_types::{RegionConfig, Snapshot};
use region::change::*;
use region::random::*;
use region::*;
use std::collections::BTreeSet;

/// How many regions are changed, thirty times each; `FOGBANK_CASES` sets it.
fn cases() -> u64 {
    let text = std::env::var("FOGBANK_CASES").ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(40)
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
                self.program = program;
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

#[test]
fn after_any_changes_the_program_is_the_one_from_scratch() {
    let (mut parts, mut wholes) = (0, 0);
    for seed in 0..cases() {
        let mut region = any_region(seed);
        let mut dice = Dice::new(seed + 3_000_000);
        let mut kept = Kept::new(&region);
        for n in 0..30 {
            for _ in 0..=dice.below(3) {
                any_change(&mut region, &mut dice);
            }
            kept.follow(&region, &format!("seed {seed}, change {n}"));
        }
        parts += kept.parts;
        wholes += kept.wholes;
    }
    println!("{parts} in part, {wholes} as a whole");
    assert!(parts > wholes, "{parts} in part, {wholes} as a whole");
}
