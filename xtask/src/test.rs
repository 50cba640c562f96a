//! `cargo xtask test`: every test of the repository.

use crate::{demo, setup, shell};
use anyhow::Result;
use std::process::Command;

pub fn run() -> Result<()> {
    setup::for_tests()?;
    let python = setup::python()?;
    heading("unit, property and kernel tests");
    let mut tests = shell::cargo(&["test", "--workspace", "--quiet"]);
    if !shell::is_root() {
        println!("kernel tests need root: the test programs run through sudo");
        tests.env(
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER",
            "sudo --preserve-env=PATH",
        );
        tests.env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER",
            "sudo --preserve-env=PATH",
        );
    }
    shell::run(&mut tests)?;

    heading("scenarios with real clients");
    let fogbank = demo::build_fogbank()?;
    let mut scenarios = shell::as_root(python);
    scenarios
        .arg(shell::root().join("tests/run.py"))
        .arg("--fogbank")
        .arg(&fogbank)
        .arg("--api")
        .arg(demo::build_api()?);
    shell::run(&mut scenarios)?;

    heading("the demo, once");
    demo::run(true)?;
    say_what_was_not_run();
    Ok(())
}

fn heading(text: &str) {
    println!("\n=== {text}");
}

fn say_what_was_not_run() {
    let terraform = Command::new("terraform").arg("version").output().is_ok();
    if !terraform {
        println!("note: terraform is not on this machine; no test uses it yet");
    }
}
