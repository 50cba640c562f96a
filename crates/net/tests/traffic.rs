//! What the network costs those who use it, beside a plain pair of devices between two namespaces:
//! `cargo test -p fogbank-net --test traffic -- --ignored --nocapture`. Figures, not checks.
//!
//! Both are measured in turn, so that a busy machine is as busy for the one as for the other.

#![allow(unsafe_code, clippy::unwrap_used)]

mod region;
mod sandbox;

use fogbank_net::{Applier, compile, eni_namespace};
use fogbank_types::ec2::*;
use region::*;
use sandbox::*;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const ROUNDS: usize = 9;
const LENGTH: Duration = Duration::from_millis(400);

/// Two ends and the address of the second.
struct Pair {
    client: From,
    server: From,
    address: IpAddr,
}

/// A plain pair of devices, nothing between.
fn plain() -> Pair {
    for name in ["one", "other"] {
        run("ip", &["netns", "add", name]);
    }
    let link = "link add eth0 mtu 9001 netns one type veth peer name eth0 mtu 9001 netns other";
    run("ip", &link.split(' ').collect::<Vec<_>>());
    for (name, address) in [("one", "192.0.2.1/24"), ("other", "192.0.2.2/24")] {
        run(
            "ip",
            &["-n", name, "address", "add", address, "dev", "eth0"],
        );
        run("ip", &["-n", name, "link", "set", "eth0", "up"]);
    }
    let at = |name: &str| From::Inside(PathBuf::from("/run/netns").join(name));
    Pair {
        client: at("one"),
        server: at("other"),
        address: addr("192.0.2.2"),
    }
}

/// Two of 1,000 interfaces, each in five groups of 60 rules, in two subnets.
fn region() -> Region {
    let mut region = Region::default();
    let vpc = region.vpc("10.0.0.0/16");
    let subnets = ["10.0.16.0/20", "10.0.32.0/20"].map(|block| region.subnet(&vpc, block));
    let groups: Vec<SecurityGroup> = (0..10u16)
        .map(|g| {
            let mut rules: Vec<_> = (0..58u16)
                .map(|n| (false, tcp(1000 + n * 7, 1000 + n * 7 + g % 5), anyone()))
                .collect();
            rules.push((
                false,
                tcp(30_000, 30_000),
                RulePeer::Ipv4(cidr("10.0.0.0/16")),
            ));
            rules.push(out_to_all());
            region.group(&vpc, rules)
        })
        .collect();
    for n in 0..1000 {
        let own: Vec<_> = (0..5).map(|k| &groups[(n as usize + k) % 10]).collect();
        region.eni(&subnets[n as usize % 2], 10 + n, &own);
    }
    region
}

fn cubic(stream: &TcpStream) {
    let name = b"cubic";
    // SAFETY: the pointer is to a living value of that length.
    unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_CONGESTION,
            name.as_ptr().cast(),
            name.len() as u32,
        );
    }
    stream.set_nodelay(true).unwrap();
}

/// Connections of a pair, in both directions' hands.
fn connect(pair: &Pair, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let address = (pair.address, listener.local_addr().unwrap().port());
    let near = inside(&pair.client, || TcpStream::connect(address)).unwrap();
    let (far, _) = listener.accept().unwrap();
    cubic(&near);
    cubic(&far);
    (near, far)
}

fn listen(pair: &Pair) -> TcpListener {
    inside(&pair.server, || TcpListener::bind(("0.0.0.0", 30_000))).unwrap()
}

/// Bytes a second through so many connections.
fn throughput(pair: &Pair, listener: &TcpListener, streams: usize) -> f64 {
    let ends: Vec<_> = (0..streams).map(|_| connect(pair, listener)).collect();
    std::thread::scope(|scope| {
        let begun = Instant::now();
        let readers: Vec<_> = ends
            .into_iter()
            .map(|(mut near, mut far)| {
                scope.spawn(move || {
                    let block = vec![7u8; 256 << 10];
                    while begun.elapsed() < LENGTH && near.write_all(&block).is_ok() {}
                });
                scope.spawn(move || {
                    let mut block = vec![0u8; 256 << 10];
                    let mut total = 0;
                    while let Ok(n @ 1..) = far.read(&mut block) {
                        total += n;
                    }
                    total
                })
            })
            .collect();
        let total: usize = readers.into_iter().map(|r| r.join().unwrap()).sum();
        total as f64 / begun.elapsed().as_secs_f64()
    })
}

/// Median time of a byte there and back.
fn round_trip(pair: &Pair, listener: &TcpListener) -> f64 {
    let (mut near, mut far) = connect(pair, listener);
    let echo = std::thread::spawn(move || {
        let mut byte = [0];
        while let Ok(1) = far.read(&mut byte) {
            far.write_all(&byte).unwrap();
        }
    });
    let mut times = Vec::new();
    for _ in 0..3000 {
        let begun = Instant::now();
        near.write_all(&[1]).unwrap();
        near.read_exact(&mut [0]).unwrap();
        times.push(begun.elapsed().as_secs_f64());
    }
    drop(near);
    echo.join().unwrap();
    median(times)
}

/// Median time to connect, ask and be answered.
fn connect_and_ask(pair: &Pair, listener: &TcpListener) -> f64 {
    let address = (pair.address, listener.local_addr().unwrap().port());
    let count = 300;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..count {
                let (mut far, _) = listener.accept().unwrap();
                let mut question = [0; 64];
                far.read_exact(&mut question).unwrap();
                far.write_all(&question).unwrap();
                let _ = far.read(&mut [0]);
            }
        });
        inside(&pair.client, || {
            let times = (0..count).map(|_| {
                let begun = Instant::now();
                let mut near = TcpStream::connect(address).unwrap();
                near.write_all(&[7; 64]).unwrap();
                near.read_exact(&mut [0; 64]).unwrap();
                begun.elapsed().as_secs_f64()
            });
            median(times.collect())
        })
    })
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn set_mtu(pair: &Pair, mtu: &str) {
    for place in [&pair.client, &pair.server] {
        inside(place, || run("ip", &["link", "set", "eth0", "mtu", mtu]));
    }
}

/// Both in turn, and the median of each.
fn compare(what: &str, unit: &str, scale: f64, pairs: [&Pair; 2], measure: impl Fn(&Pair) -> f64) {
    let mut all = [vec![], vec![]];
    for _ in 0..ROUNDS {
        for (pair, figures) in pairs.iter().zip(&mut all) {
            figures.push(measure(pair) * scale);
        }
    }
    let [plain, ours] = all.map(median);
    let ratio = ours / plain;
    println!("{what}: plain {plain:.1} {unit}, ours {ours:.1} {unit}, ratio {ratio:.2}");
}

#[test]
#[ignore = "measures, for a minute on a quiet machine"]
fn the_network_beside_a_plain_pair() {
    sandbox(|| {
        std::fs::create_dir_all("/run/netns").unwrap();
        let plain = plain();
        let region = region();
        let config = config("test");
        let applier = Applier::start(&config).unwrap();
        let report = applier.reconcile_blocking(compile(&region.snapshot, &config));
        assert_eq!(report.unwrap().failures, []);
        let enis: Vec<_> = region.snapshot.enis.all().collect();
        let near = enis[0];
        let far = enis.iter().rev().find(|e| e.subnet_id != near.subnet_id);
        let far = far.unwrap();
        let at = |eni: &Eni| From::Inside(eni_namespace(&config, &eni.eni_id));
        let ours = Pair {
            client: at(near),
            server: at(far),
            address: far.private_ip.into(),
        };
        let listeners = [listen(&plain), listen(&ours)];
        let listener_of = |pair: &Pair| &listeners[usize::from(pair.address == ours.address)];
        for mtu in ["9001", "1500"] {
            set_mtu(&plain, mtu);
            set_mtu(&ours, mtu);
            for streams in [1, 4] {
                let what = format!("throughput, MTU {mtu}, {streams} streams");
                compare(&what, "Gbit/s", 8e-9, [&plain, &ours], |pair| {
                    throughput(pair, listener_of(pair), streams)
                });
            }
        }
        compare(
            "request and response, p50",
            "us",
            1e6,
            [&plain, &ours],
            |pair| round_trip(pair, listener_of(pair)),
        );
        compare(
            "connect and request, p50",
            "us",
            1e6,
            [&plain, &ours],
            |pair| connect_and_ask(pair, listener_of(pair)),
        );
    });
}
