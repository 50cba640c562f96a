//! Figures, not checks: `cargo test -p fogbank-net --release --test measure -- --ignored --nocapture`.

#![allow(clippy::unwrap_used)]

mod region;
mod sandbox;

use fogbank_net::{Applier, Report, compile};
use fogbank_types::ec2::*;
use region::*;
use sandbox::*;
use std::time::{Duration, Instant};

fn apply(applier: &Applier, region: &Region) -> (Duration, Report) {
    let config = config("test");
    let begun = Instant::now();
    let program = compile(&region.snapshot, &config);
    let compiled = begun.elapsed();
    let report = applier.reconcile_blocking(program).unwrap();
    assert_eq!(report.failures, []);
    (compiled, report)
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
        let applier = Applier::start(&config("test")).unwrap();
        let (_, report) = apply(&applier, &Region::default());
        println!(
            "edge from nothing: {:?} ({} steps)",
            report.duration, report.steps
        );
        for enis in [10, 1000] {
            let (mut region, subnet, groups) = large(enis);
            let begun = Instant::now();
            let (compiled, report) = apply(&applier, &region);
            println!(
                "{enis} interfaces from nothing: {:?} in all, compile {compiled:?}, {} steps, {:?} each",
                begun.elapsed(),
                report.steps,
                report.duration / enis as u32
            );
            let (mut create, mut remove, mut rule, mut compiles) = (vec![], vec![], vec![], vec![]);
            for n in 0..30u16 {
                let eni = region.eni(&subnet, 3000, &[&groups[0]]);
                create.push(apply(&applier, &region).1.duration);
                region.remove(&eni);
                remove.push(apply(&applier, &region).1.duration);
                let mut group = groups[1].clone();
                group
                    .rules
                    .push(region.rule(false, tcp(30000 + n, 30000 + n), anyone()));
                region.put(group);
                let (compiled, report) = apply(&applier, &region);
                rule.push(report.duration);
                compiles.push(compiled);
                assert_eq!(report.steps, 1);
            }
            println!("  one more interface: {:?}", median(create));
            println!("  one less: {:?}", median(remove));
            println!(
                "  one more rule: {:?}, after compiling for {:?}",
                median(rule),
                median(compiles)
            );
            let again = Applier::start(&config("test")).unwrap();
            let (_, report) = apply(&again, &region);
            println!(
                "  adopted after a restart: {:?} ({} steps)",
                report.duration, report.steps
            );
            let begun = Instant::now();
            apply(&applier, &Region::default());
            println!("  all removed: {:?}", begun.elapsed());
        }
        let begun = Instant::now();
        fogbank_net::apply::probe();
        println!("probe: {:?}", begun.elapsed());
    });
}
