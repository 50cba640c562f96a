//! What tests and the demo need on a fresh Debian or Ubuntu: a few packages, and Python with boto3. Installs only what
//! is missing, and says so.

use crate::shell;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program, or a file by its path, and the Debian package that brings it.
const PROGRAMS: &[(&str, &str)] = &[
    ("busybox", "busybox-static"),
    ("conntrack", "conntrack"),
    ("curl", "curl"),
    ("dig", "bind9-dnsutils"),
    ("docker-registry", "docker-registry"),
    ("drill", "ldnsutils"),
    ("haproxy", "haproxy"),
    ("ip", "iproute2"),
    ("kdig", "knot-dnsutils"),
    ("nft", "nftables"),
    ("mke2fs", "e2fsprogs"),
    ("openssl", "openssl"),
    ("ping", "iputils-ping"),
    ("python3", "python3"),
    (
        "/usr/lib/python3/dist-packages/grpc/__init__.py",
        "python3-grpcio",
    ),
    ("skopeo", "skopeo"),
    ("sslscan", "sslscan"),
    ("sysctl", "procps"),
    ("unshare", "util-linux"),
];

/// What the load balancer is measured beside, and with. Only `cargo xtask bench` wants these.
const FOR_LOAD_BALANCER_BENCH: &[(&str, &str)] = &[
    ("h2load", "nghttp2-client"),
    ("haproxy", "haproxy"),
    ("nginx", "nginx-light"),
    ("openssl", "openssl"),
    ("wrk", "wrk"),
];

/// What DNS is measured beside, and with.
const FOR_DNS_BENCH: &[(&str, &str)] = &[("dnsperf", "dnsperf"), ("knotd", "knot"), ("nsd", "nsd")];

/// What tasks are measured beside.
const FOR_TASK_BENCH: &[(&str, &str)] = &[("podman", "podman"), ("runc", "runc")];

/// What scripts import, in the versions that they were tried with.
const PYTHON_PACKAGES: &[&str] = &["boto3==1.43.11", "cryptography==48.0.0", "dnspython==2.7.0"];

/// What the demo needs beside a Rust toolchain.
const FOR_DEMO: &[&str] = &["python3"];

/// Installs the missing Debian packages of those that tests use.
pub fn for_tests() -> Result<()> {
    programs(PROGRAMS, |_| true)
}

/// Installs what the load balancer's figures need beside.
pub fn for_load_balancer_bench() -> Result<()> {
    programs(FOR_LOAD_BALANCER_BENCH, |_| true)
}

/// Installs what makes the load for the figures of the API.
pub fn for_api_bench() -> Result<()> {
    programs(FOR_LOAD_BALANCER_BENCH, |program| program == "wrk")
}

/// Installs what the figures of DNS need beside.
pub fn for_dns_bench() -> Result<()> {
    programs(FOR_DNS_BENCH, |_| true)
}

/// Installs what the figures of tasks need beside.
pub fn for_task_bench() -> Result<()> {
    programs(FOR_TASK_BENCH, |_| true)
}

/// The same for the demo, which uses less.
pub fn for_demo() -> Result<()> {
    programs(PROGRAMS, |program| FOR_DEMO.contains(&program))
}

fn programs(known: &[(&str, &'static str)], wanted: impl Fn(&str) -> bool) -> Result<()> {
    let missing: Vec<&str> = known
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
    if program.starts_with('/') {
        return Path::new(program).exists();
    }
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
    let _quiet = NoServices::begin()?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(packages);
    apt(&arguments).with_context(|| format!("this host needs: {}", packages.join(" ")))
}

/// While it lives, packages don't start the services they bring (haproxy and nginx would take the machine's port 80).
/// <https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt>
struct NoServices {
    /// The machine may have a policy of its own, which stays.
    is_ours: bool,
}

impl NoServices {
    const POLICY: &str = "/usr/sbin/policy-rc.d";

    fn begin() -> Result<Self> {
        let is_ours = !Path::new(Self::POLICY).exists();
        if is_ours {
            let write = format!(
                "printf '#!/bin/sh\\nexit 101\\n' > {0} && chmod 755 {0}",
                Self::POLICY
            );
            shell::run(shell::as_root("sh").args(["-c", &write]))?;
        }
        Ok(Self { is_ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.is_ours {
            let _ = shell::run(shell::as_root("rm").args(["-f", Self::POLICY]));
        }
    }
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
