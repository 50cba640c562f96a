//! What tests and the demo need on a fresh Debian or Ubuntu: a few packages, and Python with boto3. Installs only what
//! is missing, and says so.

use crate::shell;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program and the Debian package that brings it.
const PROGRAMS: &[(&str, &str)] = &[
    ("busybox", "busybox-static"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("python3", "python3"),
    ("unshare", "util-linux"),
];

/// What scripts import, in the versions that they were tried with.
const PYTHON_PACKAGES: &[&str] = &["boto3==1.43.11"];

/// What the demo needs beside a Rust toolchain.
const FOR_DEMO: &[&str] = &["python3"];

/// Installs the missing Debian packages of those that tests use.
pub fn for_tests() -> Result<()> {
    programs(|_| true)
}

/// The same for the demo, which uses less.
pub fn for_demo() -> Result<()> {
    programs(|program| FOR_DEMO.contains(&program))
}

fn programs(wanted: impl Fn(&str) -> bool) -> Result<()> {
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| wanted(program))
        .filter(|(program, _)| !is_installed(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)
}

fn is_installed(program: &str) -> bool {
    [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ]
    .iter()
    .map(Path::new)
    .map(Path::to_owned)
    .chain(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ))
    .map(|dir| dir.join(program))
    .any(|path| path.is_file() && (program != "busybox" || is_static(&path)))
}

/// The tests make images that hold nothing but busybox: one that wants a dynamic loader is of no use there.
fn is_static(path: &Path) -> bool {
    let loader = b"/ld-linux";
    std::fs::read(path)
        .is_ok_and(|bytes| !bytes.windows(loader.len()).any(|window| window == loader))
}

fn install(packages: &[&str]) -> Result<()> {
    println!("installing Debian packages: {}", packages.join(" "));
    let apt = |arguments: &[&str]| {
        let mut command = shell::as_root("apt-get");
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null());
        shell::run(&mut command)
    };
    apt(&["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(packages);
    apt(&arguments).with_context(|| format!("this host needs: {}", packages.join(" ")))
}

/// A Python that has what the scripts import: the machine's, or one in an environment below `target`.
pub fn python() -> Result<PathBuf> {
    let machines = PathBuf::from("python3");
    if has_packages(&machines) {
        return Ok(machines);
    }
    let environment = shell::target_dir().join("python");
    let python = environment.join("bin/python3");
    if has_packages(&python) {
        return Ok(python);
    }
    println!(
        "making a Python environment in {} with {}",
        environment.display(),
        PYTHON_PACKAGES.join(" ")
    );
    let make = || {
        shell::run(
            Command::new("python3")
                .args(["-m", "venv"])
                .arg(&environment)
                .stderr(Stdio::null())
                .stdout(Stdio::null()),
        )
    };
    if make().is_err() {
        // Debian ships Python without the part that makes environments.
        install(&["python3-venv"])?;
        make()?;
    }
    let mut pip = Command::new(&python);
    shell::run(
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(PYTHON_PACKAGES),
    )?;
    Ok(python)
}

fn has_packages(python: &Path) -> bool {
    Command::new(python)
        .args(["-c", "import boto3"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
