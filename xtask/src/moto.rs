//! `cargo xtask moto`: a peer's own test suite against a region, and what of it fails.
//!
//! Every failure must stand in `tests/moto-differences.md`, with what AWS says; the command fails if one does not. Lines
//! whose test passes are told, so that they are taken out.

use crate::{demo, setup, shell};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const LIST: &str = "tests/moto-differences.md";
const INSTANCE: &str = "moto";

/// Arguments go to the suite as they are: `--services ec2,ecs`, `--verified-only`, `--match TEXT`. `--mended` is ours: what the
/// tests prepare against AWS's rules is set right first, so that the rest of them is run.
pub fn run(arguments: &[&str]) -> Result<()> {
    let suite = suite()?;
    setup::for_tests()?;
    let python = setup::python()?;
    let (fogbank, api) = (demo::build_fogbank()?, demo::build_api()?);
    let out = shell::target_dir().join("moto.json");
    let mut host = shell::as_root("env");
    host.arg(format!("MOTO_SUITE={}", suite.display()))
        .arg(format!("MOTO_OUT={}", out.display()))
        .arg(format!(
            "MOTO_ARGUMENTS={}",
            serde_json::to_string(arguments)?
        ))
        .args(["unshare", "--net", "--mount", "--propagation", "private"])
        .arg(python)
        .arg(shell::root().join("tests/host.py"))
        .arg("--fogbank")
        .arg(fogbank)
        .arg("--api")
        .arg(api)
        .args(["--instance", INSTANCE])
        .arg(shell::root().join("tests/moto.py"));
    shell::run(&mut host)?;
    compare(&out)
}

/// The program that runs the suite; `MOTO_SUITE` says where it is if it is not beside the repository.
fn suite() -> Result<PathBuf> {
    let beside = shell::root().join("../shared/tools/moto-suite");
    let path = std::env::var_os("MOTO_SUITE").map_or(beside, PathBuf::from);
    path.canonicalize().with_context(|| {
        format!(
            "{} is not there; MOTO_SUITE can name another",
            path.display()
        )
    })
}

/// Prints the result, and fails if a test failed that the list does not have.
pub fn compare(result: &Path) -> Result<()> {
    let result: Value = serde_json::from_slice(
        &std::fs::read(result).with_context(|| format!("no {}", result.display()))?,
    )?;
    let listed = listed(&std::fs::read_to_string(shell::root().join(LIST))?);
    let outcome = Outcome::of(&result, &listed)?;
    println!(
        "\n{:<24}{:>8}{:>8}{:>10}",
        "", "passed", "listed", "unlisted"
    );
    for (service, [passed, known, unknown]) in &outcome.services {
        println!("{service:<24}{passed:>8}{known:>8}{unknown:>10}");
    }
    for id in &outcome.stale {
        println!("passes, and {LIST} has it: {id}");
    }
    for id in &outcome.unlisted {
        println!("failed, and {LIST} has it not: {id}");
    }
    if !outcome.unlisted.is_empty() {
        bail!(
            "{} tests failed that {LIST} does not have",
            outcome.unlisted.len()
        );
    }
    Ok(())
}

/// Every line ``- `tests/...` `` names a test.
fn listed(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("- `tests/"))
        .filter_map(|rest| rest.rsplit_once('`'))
        .map(|(id, _)| format!("tests/{id}"))
        .collect()
}

#[derive(Debug, Default)]
struct Outcome {
    /// Passed, failed and listed, failed and not listed.
    services: BTreeMap<String, [usize; 3]>,
    unlisted: Vec<String>,
    stale: Vec<String>,
}

impl Outcome {
    fn of(result: &Value, listed: &BTreeSet<String>) -> Result<Self> {
        let tests = result["tests"].as_object().context("no tests ran")?;
        let mut outcome = Self::default();
        for (id, test) in tests {
            let service = id.trim_start_matches("tests/test_");
            let service = service.split('/').next().unwrap_or(service);
            let counts = outcome.services.entry(service.to_owned()).or_default();
            match test["outcome"].as_str() {
                Some("passed") => {
                    counts[0] += 1;
                    if listed.contains(id) {
                        outcome.stale.push(id.clone());
                    }
                }
                // The suite's own list of tests that contradict AWS.
                Some("differs") => counts[1] += 1,
                Some("skipped") => {}
                _ if listed.contains(id) => counts[1] += 1,
                _ => {
                    counts[2] += 1;
                    outcome.unlisted.push(id.clone());
                }
            }
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_listed_or_told() {
        let list = "# Differences\n\n## One\n\n- `tests/test_ec2/test_a.py::test_listed[x`y]`\n- `tests/test_ec2/test_a.py::test_stale`\nnot `tests/test_ec2/test_a.py::test_bad`\n";
        let result = serde_json::json!({"tests": {
            "tests/test_ec2/test_a.py::test_listed[x`y]": {"outcome": "failed"},
            "tests/test_ec2/test_a.py::test_stale": {"outcome": "passed"},
            "tests/test_ec2/test_a.py::test_bad": {"outcome": "failed"},
            "tests/test_ecs/test_a.py::test_good": {"outcome": "passed"},
            "tests/test_ecs/test_a.py::test_known": {"outcome": "differs"},
        }});
        let outcome = Outcome::of(&result, &listed(list)).unwrap();
        assert_eq!(outcome.services["ec2"], [1, 1, 1]);
        assert_eq!(outcome.services["ecs"], [1, 1, 0]);
        assert_eq!(outcome.unlisted, ["tests/test_ec2/test_a.py::test_bad"]);
        assert_eq!(outcome.stale, ["tests/test_ec2/test_a.py::test_stale"]);
    }
}
