//! What one does with this repository: `cargo xtask demo | test | check | bench | moto | sim | models`.

mod bench;
mod check;
mod demo;
mod models;
mod moto;
mod setup;
mod shell;
mod sim;
mod test;
mod traffic;
mod walls;

use anyhow::Result;
use std::process::ExitCode;

const HELP: &str = "\
What one does with this repository.

  cargo xtask demo [--once]   build, start a region, deploy the reference architecture, show that it serves
  cargo xtask test            every test: unit, kernel, scenarios with real clients; installs what they need
  cargo xtask check           format, lints, walls between the crates
  cargo xtask bench           measure what docs/figures.md reports (release build); bench network | tasks | load-balancer | api | dns: only these
  cargo xtask sim             the scheduler in a simulated region: --seed N --steps M
  cargo xtask moto            a peer's test suite against a region, failures beside tests/moto-differences.md: --services ec2,ecs ...
  cargo xtask models          trim the service models anew from the installed botocore

demo and test need a Linux host and root; run by an ordinary user they build as that user and ask sudo for the rest.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["demo"] => demo::run(false),
        ["demo", "--once"] => demo::run(true),
        ["test"] => test::run(),
        ["check"] => check::run(),
        ["bench", rest @ ..] => bench::run(rest),
        ["models"] => models::run(),
        ["moto", "compare", result] => moto::compare(std::path::Path::new(result)),
        ["moto", rest @ ..] => moto::run(rest),
        ["sim", rest @ ..] => sim::run(rest),
        ["traffic", rest @ ..] => traffic::run(rest),
        ["help" | "--help" | "-h"] | [] => {
            print!("{HELP}");
            Ok(())
        }
        _ => anyhow::bail!(
            "unknown command '{}'; see cargo xtask help",
            arguments.join(" ")
        ),
    }
}
