//! `cargo xtask demo`: a region, the reference architecture in it, and the proof that it serves.

use crate::{setup, shell};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const INSTANCE: &str = "demo";
const ENDPOINT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4566);
const DNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4553);
/// Not the default pool, so that a region of the user's own is not in the way.
const PUBLIC_CIDR: &str = "198.19.0.0/16";
const PATIENCE: Duration = Duration::from_secs(5);

/// Builds the region's program, optimised.
pub fn build_fogbank() -> Result<PathBuf> {
    println!("building fogbank (the first time takes a few minutes) ...");
    shell::run(&mut shell::cargo(&[
        "build",
        "--release",
        "--quiet",
        "--package",
        "fogbank",
    ]))?;
    Ok(shell::target_dir().join("release/fogbank"))
}

/// Builds the API as one static file, so that its image needs nothing else.
pub fn build_api() -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut build = shell::cargo(&[
        "build",
        "--release",
        "--quiet",
        "--package",
        "orders-api",
        "--target",
        &target,
    ]);
    shell::run(build.env("RUSTFLAGS", "-C target-feature=+crt-static"))?;
    Ok(shell::target_dir().join(target).join("release/orders-api"))
}

pub fn run(once: bool) -> Result<()> {
    setup::for_demo()?;
    let python = setup::python()?;
    let (fogbank, api) = (build_fogbank()?, build_api()?);
    let interrupted = Arc::new(AtomicBool::new(false));
    // The region gets the terminal's Ctrl-C too and takes itself down; we stay until it has.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, interrupted.clone())
            .context("cannot wait for Ctrl-C")?;
    }
    if !shell::is_root() {
        println!("the region itself needs root: asking sudo for it, and for it alone");
    }
    let mut region = Region::start(&fogbank)?;
    let shown = show(&fogbank, &python, &api, &interrupted);
    if shown.is_ok() && !once {
        println!("\nCtrl-C ends the region and leaves nothing behind.");
        while !interrupted.load(Ordering::Relaxed) && region.is_running() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let stopped = region.stop(&fogbank);
    if !interrupted.load(Ordering::Relaxed) {
        shown?;
    }
    stopped
}

/// `fogbank up`, with what it prints passed on.
struct Region {
    child: Child,
}

impl Region {
    fn start(fogbank: &Path) -> Result<Self> {
        let mut command = shell::as_root(fogbank);
        command
            .args([
                "up",
                "--ephemeral",
                "--instance",
                INSTANCE,
                "--public-cidr",
                PUBLIC_CIDR,
            ])
            .args([
                "--endpoint",
                &ENDPOINT.to_string(),
                "--dns",
                &DNS.to_string(),
            ])
            .stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start fogbank up")?;
        let output = child.stdout.take().context("no output of fogbank up")?;
        let mut lines = BufReader::new(output).lines();
        for line in &mut lines {
            let line = line?;
            println!("  {line}");
            if line.starts_with("ready") {
                std::thread::spawn(move || {
                    lines
                        .map_while(Result::ok)
                        .for_each(|line| println!("  {line}"))
                });
                return Ok(Self { child });
            }
        }
        let status = child.wait()?;
        bail!("the region did not start ({status})")
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn stop(&mut self, fogbank: &Path) -> Result<()> {
        if self.is_running() {
            let mut down = shell::as_root(fogbank);
            // After a Ctrl-C it is on its way down already and may be gone before we ask.
            let _ = down
                .args(["down", "--instance", INSTANCE])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
        let status = self.child.wait().context("cannot wait for the region")?;
        if !status.success() {
            bail!("the region ended badly ({status})");
        }
        Ok(())
    }
}

fn show(fogbank: &Path, python: &Path, api: &Path, interrupted: &AtomicBool) -> Result<()> {
    println!("\ndeploying the reference architecture with boto3 (examples/api/deploy.py)");
    let deployed = Command::new(python)
        .arg(shell::root().join("examples/api/deploy.py"))
        .arg("--binary")
        .arg(api)
        .args(["--endpoint", &format!("http://{ENDPOINT}")])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run deploy.py")?;
    if !deployed.status.success() {
        bail!("the deployment failed ({})", deployed.status);
    }
    let facts: serde_json::Value =
        serde_json::from_slice(&deployed.stdout).context("deploy.py printed no JSON")?;
    let name = facts["name"].as_str().context("deploy.py gave no name")?;
    println!("  serving after {} s", facts["seconds"]);

    println!("\nthe region (fogbank status --instance {INSTANCE})");
    let tree = shell::output(shell::as_root(fogbank).args(["status", "--instance", INSTANCE]))?;
    tree.lines().for_each(|line| println!("  {line}"));

    println!("\nrequests to http://{name}/");
    let addresses = resolve(name, interrupted)?;
    println!(
        "  {name} is {} (asked at {DNS})",
        addresses
            .iter()
            .map(|a| a.to_string())
            .collect::<Vec<_>>()
            .join(" and ")
    );
    for (address, path) in addresses.iter().cycle().zip([
        "/health",
        "/whoami",
        "/whoami",
        "/orders?status=open",
        "/orders/2",
    ]) {
        let start = Instant::now();
        let (status, body) = get(*address, name, path)?;
        println!(
            "  {address} GET {path}  {status}  {:.2} ms  {}",
            start.elapsed().as_secs_f64() * 1e3,
            body.trim()
        );
        anyhow::ensure!(status == 200, "{path} answered {status}");
    }
    latency(&addresses, name)?;
    how_to_go_on(fogbank, name, addresses[0]);
    Ok(())
}

fn latency(addresses: &[Ipv4Addr], name: &str) -> Result<()> {
    let mut times = Vec::new();
    for address in addresses.iter().cycle().take(200) {
        let start = Instant::now();
        let (status, _) = get(*address, name, "/orders")?;
        anyhow::ensure!(status == 200, "/orders answered {status}");
        times.push(start.elapsed());
    }
    times.sort();
    let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e3;
    println!(
        "  200 requests, a connection each: median {:.2} ms, 99 of 100 within {:.2} ms, none failed",
        at(50),
        at(99)
    );
    Ok(())
}

fn how_to_go_on(fogbank: &Path, name: &str, address: Ipv4Addr) {
    let fogbank = fogbank.display();
    println!(
        "\ngo on from here, in another terminal\n  \
         curl --resolve {name}:80:{address} http://{name}/whoami\n  \
         dig @{} -p {} {name}\n  \
         export AWS_ENDPOINT_URL=http://{ENDPOINT} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1\n  \
         aws ecs list-tasks --cluster orders          stop one with aws ecs stop-task, and see it replaced\n  \
         aws ec2 describe-security-groups             revoke a rule: the next packet is dropped\n  \
         aws logs tail /orders                        what the tasks print\n  \
         sudo {fogbank} status --instance {INSTANCE}",
        DNS.ip(),
        DNS.port()
    );
}

/// The A records of a name, asked at the region's name server; waits until there are any.
fn resolve(name: &str, interrupted: &AtomicBool) -> Result<Vec<Ipv4Addr>> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE && !interrupted.load(Ordering::Relaxed) {
        let found = ask(name).unwrap_or_default();
        if !found.is_empty() {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("{name} has no address")
}

/// One DNS query, RFC 1035; `None` if no answer came that can be read.
fn ask(name: &str) -> Option<Vec<Ipv4Addr>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).ok()?);
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    socket.send_to(&query, DNS).ok()?;
    let mut reply = [0; 1500];
    let length = socket.recv(&mut reply).ok()?;
    let reply = &reply[..length];
    let count = u16::from_be_bytes([*reply.get(6)?, *reply.get(7)?]);
    let mut at = query.len();
    let mut found = Vec::new();
    for _ in 0..count {
        // Names in answers are pointers here, or labels up to a zero.
        while *reply.get(at)? != 0 && *reply.get(at)? < 0xC0 {
            at += 1 + usize::from(reply[at]);
        }
        at += if reply[at] == 0 { 1 } else { 2 };
        let head = reply.get(at..at + 10)?;
        let (kind, size) = (
            u16::from_be_bytes([head[0], head[1]]),
            usize::from(u16::from_be_bytes([head[8], head[9]])),
        );
        let data = reply.get(at + 10..at + 10 + size)?;
        if let (1, [a, b, c, d]) = (kind, data) {
            found.push(Ipv4Addr::new(*a, *b, *c, *d));
        }
        at += 10 + size;
    }
    Some(found)
}

/// One request on a connection of its own: status and body.
fn get(address: Ipv4Addr, host: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((address, 80)), PATIENCE)
        .with_context(|| format!("the load balancer at {address} does not answer"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let status = reply
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .context("the answer is not HTTP")?;
    let body = reply.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}
