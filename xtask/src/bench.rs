//! `cargo xtask bench`: the figures that docs/figures.md reports, measured on this machine by tests/bench.py,
//! tests/bench_network.py, tests/bench_tasks.py, tests/bench_load_balancer.py, tests/bench_api.py and
//! tests/bench_dns.py.

use crate::{demo, setup, shell};
use anyhow::{Context, Result};
use std::path::Path;

/// All, or with the word `network`, `tasks`, `load-balancer`, `api` or `dns` only these. Other arguments go to the programs.
pub fn run(arguments: &[&str]) -> Result<()> {
    setup::for_tests()?;
    let python = setup::python()?;
    let fogbank = demo::build_fogbank()?;
    match arguments {
        ["network", rest @ ..] => network(&python, &fogbank, rest),
        ["tasks", rest @ ..] => tasks(&python, &fogbank, rest),
        ["load-balancer", rest @ ..] => load_balancer(&python, &fogbank, rest),
        ["api", rest @ ..] => api(&python, &fogbank, rest),
        ["dns", rest @ ..] => dns(&python, &fogbank, rest),
        _ => {
            let mut bench = program(&python, "tests/bench.py", &fogbank);
            bench.arg("--api").arg(demo::build_api()?);
            shell::run(bench.args(arguments))?;
            network(&python, &fogbank, &[])?;
            tasks(&python, &fogbank, &[])?;
            load_balancer(&python, &fogbank, &[])?;
            api(&python, &fogbank, &[])?;
            dns(&python, &fogbank, &[])
        }
    }
}

fn network(python: &Path, fogbank: &Path, arguments: &[&str]) -> Result<()> {
    let mut bench = program(python, "tests/bench_network.py", fogbank);
    bench
        .arg("--xtask")
        .arg(std::env::current_exe().context("find this program")?)
        .args(arguments);
    shell::run(&mut bench)
}

fn tasks(python: &Path, fogbank: &Path, arguments: &[&str]) -> Result<()> {
    setup::for_task_bench()?;
    let mut bench = program(python, "tests/bench_tasks.py", fogbank);
    bench.arg("--api").arg(demo::build_api()?).args(arguments);
    shell::run(&mut bench)
}

fn load_balancer(python: &Path, fogbank: &Path, arguments: &[&str]) -> Result<()> {
    setup::for_load_balancer_bench()?;
    let mut bench = program(python, "tests/bench_load_balancer.py", fogbank);
    bench
        .arg("--xtask")
        .arg(std::env::current_exe().context("find this program")?)
        .args(arguments);
    shell::run(&mut bench)
}

fn api(python: &Path, fogbank: &Path, arguments: &[&str]) -> Result<()> {
    setup::for_api_bench()?;
    shell::run(program(python, "tests/bench_api.py", fogbank).args(arguments))
}

fn dns(python: &Path, fogbank: &Path, arguments: &[&str]) -> Result<()> {
    setup::for_dns_bench()?;
    shell::run(program(python, "tests/bench_dns.py", fogbank).args(arguments))
}

fn program(python: &Path, script: &str, fogbank: &Path) -> std::process::Command {
    let mut bench = shell::as_root(python);
    bench
        .arg(shell::root().join(script))
        .arg("--fogbank")
        .arg(fogbank);
    bench
}
