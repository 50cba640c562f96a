//! Random regions in the kernel against the reference: every packet is followed to where it ends.
//!
//! Guests have raw sockets, so protocols, ports and sources are as random as the region. Each probe
//! has a port of its own, so that it is the first packet of its connection, and a number by which it
//! is known wherever it comes out. Then the region is changed, row by row, by the compiler that
//! remembers, and probed again. `FOGBANK_KERNEL_CASES` sets how many regions are tried,
//! `FOGBANK_KERNEL_SEED` which is the first; needs root.

#![allow(clippy::unwrap_used)]

mod region;
mod sandbox;

use fogbank_net::apply::Failure;
use fogbank_net::packet::{Endpoint, Fate, Origin, Packet};
use fogbank_net::{Applier, Compiler, eni_namespace, names, reference, vpc_namespace};
use fogbank_types::ec2::EniOwner;
use fogbank_types::*;
use region::change::*;
use region::random::*;
use region::*;
use sandbox::raw::*;
use sandbox::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Random packets a region, beside those between all pairs.
const PACKETS: usize = 300;
/// Changes of a region between its two rounds of probes.
const CHANGES: usize = 25;
/// Once all came that must, nothing else is under way after this long: it is all one machine.
const QUIET: Duration = Duration::from_millis(30);

/// Who received a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Receiver {
    Eni(EniId),
    Vpc(VpcId),
    Edge,
    Host,
}

/// Ears wherever a packet can end.
struct Ears {
    /// Whatever reaches an interface or the host, for appliances get what is not addressed to them.
    wires: Vec<(Receiver, Wire)>,
    /// What routers let through to their own services.
    inboxes: Vec<(Receiver, Inbox)>,
}

impl Ears {
    fn open(config: &RegionConfig, region: &Region) -> Self {
        let host = &config.host;
        let enis = region.snapshot.enis.all();
        let mut wires = vec![(Receiver::Host, Wire::open(&From::Host))];
        let mut inboxes = Vec::new();
        for eni in enis.filter(|eni| eni.host.as_ref() == Some(host)) {
            // Nothing ends in a NAT gateway, and what it translates comes through.
            if matches!(eni.owner, EniOwner::NatGateway(_)) {
                continue;
            }
            let place = From::Inside(eni_namespace(config, &eni.eni_id));
            wires.push((Receiver::Eni(eni.eni_id.clone()), Wire::open(&place)));
        }
        let protocols = [TCP, UDP, ICMP, ICMPV6, 47];
        for vpc in region.snapshot.vpcs.all() {
            let path = vpc_namespace(config, &vpc.vpc_id);
            if path.exists() {
                let inbox = Inbox::open(&From::Inside(path), &protocols);
                inboxes.push((Receiver::Vpc(vpc.vpc_id.clone()), inbox));
            }
        }
        let edge = names::namespace_path(&names::edge_namespace(config));
        let inbox = Inbox::open(&From::Inside(edge), &protocols);
        inboxes.push((Receiver::Edge, inbox));
        Self { wires, inboxes }
    }

    /// All that came so far: where, and the source it had there, if it is known.
    fn listen(&self, heard: &mut BTreeMap<Sign, (Receiver, Option<IpAddr>)>) -> bool {
        let before = heard.len();
        for (receiver, wire) in &self.wires {
            for packet in wire.packets() {
                let found = ends(&packet).zip(content(&packet));
                let Some(((source, _), (protocol, transport))) = found else {
                    continue;
                };
                if let Some(sign) = sign(protocol, transport) {
                    heard.insert(sign, (receiver.clone(), Some(source)));
                }
            }
        }
        for (receiver, inbox) in &self.inboxes {
            for (protocol, transport) in inbox.contents() {
                if let Some(sign) = sign(protocol, &transport) {
                    heard.insert(sign, (receiver.clone(), None));
                }
            }
        }
        heard.len() > before
    }
}

/// What the ears will hear.
fn expected(fate: &Fate) -> Option<(Receiver, Option<IpAddr>)> {
    match fate {
        Fate::Delivered { to, seen_as } => Some(match to {
            Endpoint::Eni(id) => (Receiver::Eni(id.clone()), Some(*seen_as)),
            Endpoint::Platform(id) => (Receiver::Vpc(id.clone()), None),
            Endpoint::Service(_) => (Receiver::Edge, None),
            Endpoint::Outside => (Receiver::Host, Some(*seen_as)),
        }),
        Fate::Dropped(_) => None,
    }
}

/// The kernel follows the rows, as under the node.
struct Kernel {
    config: RegionConfig,
    applier: Applier,
    compiler: Compiler,
    known: Snapshot,
    /// The number of the last probe.
    last: u32,
    /// Pairs of addresses that have met without ports.
    met: BTreeSet<(IpAddr, IpAddr)>,
}

impl Kernel {
    fn new() -> Self {
        let config = config("test");
        Self {
            applier: Applier::start(&config).unwrap(),
            compiler: Compiler::new(config.clone()),
            config,
            known: Snapshot::default(),
            last: 0,
            met: BTreeSet::new(),
        }
    }

    fn follow(&mut self, region: &Region, seed: u64) {
        let keys = [self.known.keys(), region.snapshot.keys()].concat();
        let keys = keys.iter().map(String::as_str);
        let change = self.compiler.update(&region.snapshot, keys);
        self.known = region.snapshot.clone();
        let report = self.applier.apply_blocking(change).unwrap();
        let slow = |failure: &Failure| failure.reason.contains("netem");
        let mut failures = report.failures.iter().filter(|failure| !slow(failure));
        assert_eq!(failures.next(), None, "seed {seed}");
    }
}

/// From every interface to every address, by TCP, UDP and echo request; and random packets.
fn probes(kernel: &mut Kernel, region: &Region, seed: u64) -> Vec<(Origin, Packet)> {
    let packets = Packets::new(region);
    let mut all = packets.pairs();
    let mut dice = Dice::new(seed + 7_000_000);
    all.extend((0..PACKETS).map(|_| packets.any(&mut dice)));
    // Protocols without ports have one connection a pair, and what is no request opens none.
    all.retain(|(_, packet)| match packet.protocol {
        TCP | UDP => true,
        ICMP => packet.detail >> 8 == 8,
        ICMPV6 => packet.detail >> 8 == 128,
        // Nor can two of them between the same be told apart once their addresses are translated.
        47 => {
            let (a, b) = (packet.source, packet.destination);
            let pool = IpCidr::V4(kernel.config.public_cidr);
            !pool.contains(a) && !pool.contains(b) && kernel.met.insert((a.min(b), a.max(b)))
        }
        _ => false,
    });
    // What an interface sends to itself does not meet the network. A forged address of a NAT gateway
    // shares its ports.
    let nats: Vec<IpAddr> = region
        .snapshot
        .nat_gateways
        .all()
        .filter_map(|nat| nat.private_ip.map(IpAddr::V4))
        .collect();
    all.retain(|(origin, packet)| match origin {
        Origin::Outside => true,
        Origin::Eni(id) => {
            let eni = region.snapshot.enis.get(&scope(), id).unwrap();
            let to_itself = eni.all_addresses().any(|own| own == packet.destination);
            !to_itself && !nats.contains(&packet.source)
        }
    });
    all
}

#[derive(Default)]
struct Tally {
    probes: usize,
    arrived: usize,
    answers: usize,
    mismatches: Vec<String>,
}

/// Sends all of the probes and compares what is heard with what the reference says.
fn probe_region(kernel: &mut Kernel, region: &Region, seed: u64, tally: &mut Tally) {
    let probes = probes(kernel, region, seed);
    let first = kernel.last + 1;
    kernel.last += probes.len() as u32;
    let config = &kernel.config;
    let ears = Ears::open(config, region);
    let mut senders = HashMap::new();
    let mut heard = BTreeMap::new();
    for ((origin, packet), number) in probes.iter().zip(first..) {
        let sender = senders
            .entry(format!("{origin:?}"))
            .or_insert_with(|| match origin {
                Origin::Outside => Sender::open(&From::Host),
                Origin::Eni(id) => Sender::open(&From::Inside(eni_namespace(config, id))),
            });
        sender.send(&probe(packet, number));
        if number % 100 == 0 {
            ears.listen(&mut heard);
        }
    }
    let fates = probes
        .iter()
        .map(|(origin, packet)| reference::fate(&region.snapshot, config, origin, *packet));
    let fates: Vec<Fate> = fates.collect();
    let answers: Vec<Option<Fate>> = probes
        .iter()
        .map(|(origin, packet)| answer(region, config, origin, *packet))
        .collect();
    let forward = (first..)
        .zip(&fates)
        .map(|(n, fate)| (Sign::Probe(n), fate));
    let back = (first..).zip(&answers);
    let back = back.filter_map(|(n, fate)| Some((Sign::Answer(n), fate.as_ref()?)));
    let right: BTreeMap<Sign, &Fate> = forward.chain(back).collect();
    let awaited: Vec<Sign> = right
        .iter()
        .filter(|(_, fate)| expected(fate).is_some())
        .map(|(sign, _)| *sign)
        .collect();
    wait_for(&ears, &mut heard, &awaited);
    for (sign, fate) in right {
        let real = heard.get(&sign);
        let number = match sign {
            Sign::Probe(number) => {
                tally.probes += 1;
                tally.arrived += usize::from(expected(fate).is_some());
                number
            }
            Sign::Answer(number) => {
                tally.answers += 1;
                number
            }
        };
        if real != expected(fate).as_ref() {
            let (origin, packet) = &probes[(number - first) as usize];
            tally.mismatches.push(format!(
                "seed {seed}: {sign:?} of {origin:?} {packet:?}: {real:?}, but {fate:?}"
            ));
        }
    }
}

fn wait_for(ears: &Ears, heard: &mut BTreeMap<Sign, (Receiver, Option<IpAddr>)>, awaited: &[Sign]) {
    let mut silent_since = Instant::now();
    loop {
        if ears.listen(heard) {
            silent_since = Instant::now();
        }
        let complete = awaited.iter().all(|sign| heard.contains_key(sign));
        let patience = if complete { QUIET } else { SILENCE };
        if silent_since.elapsed() > patience {
            return;
        }
        std::thread::yield_now();
    }
}

/// What becomes of the answer that the kernel of an interface gives by itself: a reset to a SYN, a
/// reply to an echo request. Only where it must come back the way that the probe went.
fn answer(region: &Region, config: &RegionConfig, origin: &Origin, packet: Packet) -> Option<Fate> {
    // An answer to a forged source goes to somebody who never asked.
    if let Origin::Eni(id) = origin {
        let eni = region.snapshot.enis.get(&scope(), id)?;
        if !eni.all_addresses().any(|own| own == packet.source) {
            return None;
        }
    }
    let number_unknown = 40_000;
    let detail = match packet.protocol {
        TCP => number_unknown,
        ICMP if packet.detail == 0x0800 => 0x0000,
        ICMPV6 if packet.detail == 0x8000 => 0x8100,
        _ => return None,
    };
    let fate = reference::reply(&region.snapshot, config, origin, packet, detail)?;
    let comes_back = match (&fate, origin) {
        (Fate::Delivered { to, .. }, Origin::Eni(id)) => *to == Endpoint::Eni(id.clone()),
        _ => true,
    };
    comes_back.then_some(fate)
}

#[test]
fn the_kernel_does_what_the_reference_says() {
    let setting = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let first = setting("FOGBANK_KERNEL_SEED").unwrap_or(0);
    let cases = setting("FOGBANK_KERNEL_CASES").unwrap_or(6);
    let mut tally = Tally::default();
    for seed in first..first + cases {
        sandbox(|| {
            let mut kernel = Kernel::new();
            // Not from scratch: over the remains of another region.
            kernel.follow(&any_region(seed + 1_000_000), seed);
            let mut region = any_region(seed);
            kernel.follow(&region, seed);
            probe_region(&mut kernel, &region, seed, &mut tally);
            let mut dice = Dice::new(seed + 8_000_000);
            for _ in 0..CHANGES {
                any_change(&mut region, &mut dice);
                kernel.follow(&region, seed);
            }
            probe_region(&mut kernel, &region, seed, &mut tally);
        });
    }
    for mismatch in tally.mismatches.iter().take(30) {
        println!("{mismatch}");
    }
    println!(
        "probes: {}, arrived: {}, answers: {}, mismatches: {}",
        tally.probes,
        tally.arrived,
        tally.answers,
        tally.mismatches.len()
    );
    assert!(tally.mismatches.is_empty());
    assert!(tally.arrived > 0 && tally.arrived < tally.probes);
}
