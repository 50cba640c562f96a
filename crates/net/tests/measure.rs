//! Figures, not checks: `cargo test -p fogbank-net --release --test measure -- --ignored --nocapture`.

#![allow(clippy::unwrap_used)]

mod region;
mod sandbox;

use fogbank_net::{Applier, Compiler, Report};
use fogbank_types::ec2::*;
use fogbank_types::{Row, Snapshot};
use region::*;
use sandbox::*;
use std::time::{Duration, Instant};

/// What the node has: applied as it does it.
struct Host {
    applier: Applier,
    compiler: Compiler,
    snapshot: Snapshot,
}

impl Host {
    fn start() -> Self {
        let config = config("test");
        Self {
            applier: Applier::start(&config).unwrap(),
            compiler: Compiler::new(config),
            snapshot: Snapshot::default(),
        }
    }

    /// Every row; for the first time, or for much.
    fn apply(&mut self, region: &Region) -> (Duration, Report) {
        let keys = [self.snapshot.keys(), region.snapshot.keys()].concat();
        self.apply_rows(region, &keys)
    }

    /// Those rows that changed; the time to compile, and all of it.
    fn apply_rows(&mut self, region: &Region, keys: &[String]) -> (Duration, Report) {
        let begun = Instant::now();
        let keys = keys.iter().map(String::as_str);
        let change = self.compiler.update(&region.snapshot, keys);
        let compiled = begun.elapsed();
        self.snapshot = region.snapshot.clone();
        let report = self.applier.apply_blocking(change).unwrap();
        assert_eq!(report.failures, []);
        (compiled, report)
    }
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

/// 200 groups of 60 rules, 1,000 interfaces with five groups each.
fn large(enis: u64) -> (Region, Subnet, Vec<SecurityGroup>) {
    let mut region = Region::default();
    let vpc = region.vpc("10.0.0.0/16");
    let subnet = region.subnet(&vpc, "10.0.16.0/20");
    let groups: Vec<SecurityGroup> = (0..200u16)
        .map(|g| {
            let mut rules: Vec<_> = (0..59u16)
                .map(|n| (false, tcp(1000 + n * 7, 1000 + n * 7 + g % 5), anyone()))
                .collect();
            rules.push(out_to_all());
            region.group(&vpc, rules)
        })
        .collect();
    for n in 0..enis {
        let own: Vec<&SecurityGroup> = (0..5)
            .map(|k| &groups[(n as usize / 5 + k) % 200])
            .collect();
        region.eni(&subnet, 10 + n, &own);
    }
    (region, subnet, groups)
}

#[test]
#[ignore = "measures, for minutes on a loaded machine"]
fn figures() {
    sandbox(|| {
        let mut host = Host::start();
        let (_, report) = host.apply(&Region::default());
        println!(
            "edge from nothing: {:?} ({} steps)",
            report.duration, report.steps
        );
        for enis in [10, 1000] {
            let (mut region, subnet, groups) = large(enis);
            let begun = Instant::now();
            let (compiled, report) = host.apply(&region);
            println!(
                "{enis} interfaces from nothing: {:?} in all, compile {compiled:?}, {} steps, {:?} each",
                begun.elapsed(),
                report.steps,
                report.duration / enis as u32
            );
            one_by_one(&mut host, &mut region, &subnet, &groups);
            let mut again = Host::start();
            let (_, report) = again.apply(&region);
            println!(
                "  adopted after a restart: {:?} ({} steps)",
                report.duration, report.steps
            );
            host = again;
            let begun = Instant::now();
            host.apply(&Region::default());
            println!("  all removed: {:?}", begun.elapsed());
        }
        let begun = Instant::now();
        fogbank_net::apply::probe();
        println!("probe: {:?}", begun.elapsed());
    });
}

/// The times of single changes, compiled and applied.
fn one_by_one(host: &mut Host, region: &mut Region, subnet: &Subnet, groups: &[SecurityGroup]) {
    let mut figures: Vec<(&str, Vec<Duration>, Vec<Duration>)> = [
        "one more interface",
        "one less",
        "one more rule",
        "one less",
        "one more rule that names a group",
    ]
    .map(|what| (what, vec![], vec![]))
    .into();
    let mut time = |n: usize, host: &mut Host, region: &Region, key: String| {
        let (compiled, report) = host.apply_rows(region, &[key]);
        figures[n].1.push(compiled);
        figures[n].2.push(report.duration);
    };
    for n in 0..30u16 {
        let eni = region.eni(subnet, 3000, &[&groups[0], &groups[1]]);
        time(0, host, region, eni.key());
        region.remove(&eni);
        time(1, host, region, eni.key());
        let mut group = groups[1].clone();
        let port = tcp(30000 + 2 * n, 30000 + 2 * n);
        group.rules.push(region.rule(false, port, anyone()));
        region.put(group.clone());
        time(2, host, region, group.key());
        group.rules.pop();
        region.put(group.clone());
        time(3, host, region, group.key());
        let peer = RulePeer::Group(groups[7].group_id.clone());
        group.rules.push(region.rule(false, tcp(22, 22), peer));
        region.put(group.clone());
        time(4, host, region, group.key());
        region.put(groups[1].clone());
        host.apply_rows(region, &[group.key()]);
    }
    for (what, compiled, applied) in figures {
        println!(
            "  {what}: compile {:?}, apply {:?}",
            median(compiled),
            median(applied)
        );
    }
}
