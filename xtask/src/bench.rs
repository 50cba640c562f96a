//! `cargo xtask bench`: the figures that docs/figures.md reports, measured on this machine by tests/bench.py.

use crate::{demo, setup, shell};
use anyhow::Result;

pub fn run(arguments: &[&str]) -> Result<()> {
    setup::for_tests()?;
    let python = setup::python()?;
    let fogbank = demo::build_fogbank()?;
    let mut bench = shell::as_root(python);
    bench
        .arg(shell::root().join("tests/bench.py"))
        .arg("--fogbank")
        .arg(&fogbank)
        .arg("--api")
        .arg(demo::build_api()?)
        .args(arguments);
    shell::run(&mut bench)
}
