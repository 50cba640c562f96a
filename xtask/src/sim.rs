//! `cargo xtask sim --seed N --steps M`: the scheduler in a simulated region, one seed, for long.

use crate::shell;
use anyhow::{Result, bail};

pub fn run(arguments: &[&str]) -> Result<()> {
    let (mut seed, mut steps) = ("1", "20000");
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        match (*name, rest.next()) {
            ("--seed", Some(value)) => seed = value,
            ("--steps", Some(value)) => steps = value,
            _ => bail!("usage: cargo xtask sim --seed N --steps M"),
        }
    }
    let mut test = shell::cargo(&["test", "--quiet", "--package", "fogbank-control", "--lib"]);
    test.args(["simulation", "--", "--nocapture"])
        .env("FOGBANK_SIM_SEED", seed)
        .env("FOGBANK_SIM_STEPS", steps);
    shell::run(&mut test)
}
