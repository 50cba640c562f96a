//! Random regions in the kernel against the reference: every datagram is followed to where it ends.
//!
//! UDP without answers, so that each packet is judged as the first of its connection and only on
//! its way there. `FOGBANK_KERNEL_CASES` sets how many regions are tried,
//! `FOGBANK_KERNEL_SEED` which is the first; needs root.

#![allow(clippy::unwrap_used)]

mod region;
mod sandbox;

use fogbank_net::apply::in_namespace;
use fogbank_net::packet::{Endpoint, Fate, Origin, Packet};
use fogbank_net::{Applier, compile, eni_namespace, reference};
use fogbank_types::ec2::*;
use fogbank_types::*;
use region::random::*;
use region::*;
use sandbox::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PACKETS: usize = 150;
/// Once all came that must, nothing else is under way after this long: it is all one machine.
const QUIET: Duration = Duration::from_millis(30);

/// Repeatable numbers (SplitMix64): a failure names its seed.
fn numbers(seed: u64, count: usize) -> Vec<u32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as u32
    };
    (0..count).map(next).collect()
}

type Receivers = Vec<(EniId, Vec<UdpSocket>)>;

fn locals(region: &Region) -> Vec<Arc<Eni>> {
    let all = region.snapshot.enis.all();
    all.filter(|eni| eni.host.is_some()).cloned().collect()
}

fn receivers(config: &RegionConfig, region: &Region) -> Receivers {
    let open = |eni: &Arc<Eni>| {
        let bind = |port: &u16| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, *port)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        let path = eni_namespace(config, &eni.eni_id);
        let ports = PORTS.iter().filter(|port| **port != 0);
        let sockets = in_namespace(&path, || ports.map(bind).collect()).unwrap();
        (eni.eni_id.clone(), sockets)
    };
    locals(region).iter().map(open).collect()
}

/// Where each numbered datagram ended, and the source it had there. Waits for those that must
/// arrive, then for those that must not.
fn collect(receivers: &Receivers, awaited: &BTreeSet<u32>) -> BTreeMap<u32, (EniId, Ipv4Addr)> {
    let mut found = BTreeMap::new();
    let mut silent_since = Instant::now();
    loop {
        for (eni, sockets) in receivers {
            for socket in sockets {
                let mut buffer = [0; 4];
                while let Ok((4, from)) = socket.recv_from(&mut buffer) {
                    let IpAddr::V4(source) = from.ip() else {
                        continue;
                    };
                    found.insert(u32::from_be_bytes(buffer), (eni.clone(), source));
                    silent_since = Instant::now();
                }
            }
        }
        let complete = awaited.iter().all(|number| found.contains_key(number));
        let patience = if complete { QUIET } else { PATIENCE };
        if silent_since.elapsed() > patience {
            return found;
        }
        std::thread::yield_now();
    }
}

/// A packet that a socket can send: UDP, from an own address. The rest is for `eval`.
fn sendable(region: &Region, dice: &mut Dice<'_>) -> Option<(Origin, Packet)> {
    let (origin, mut packet) = any_packet(region, dice);
    packet.protocol = 17;
    packet.detail = PORTS[1 + dice.below(PORTS.len() - 1)];
    if let Origin::Eni(id) = &origin {
        let eni = region.snapshot.enis.get(&scope(), id)?;
        eni.host.as_ref()?;
        if eni.private_ip != packet.source {
            return None;
        }
    }
    Some((origin, packet))
}

fn send(config: &RegionConfig, origin: &Origin, packet: Packet, number: u32) {
    let go = || {
        let socket = UdpSocket::bind((packet.source, 0)).unwrap();
        // Without a route this fails at once, which is a drop too.
        let _ = socket.send_to(&number.to_be_bytes(), (packet.destination, packet.detail));
    };
    match origin {
        Origin::Outside => go(),
        Origin::Eni(id) => in_namespace(&eni_namespace(config, id), go).unwrap(),
    }
}

/// What the sockets will see, if they can tell: an appliance gets packets that no socket of its has.
fn expected(
    region: &Region,
    config: &RegionConfig,
    origin: &Origin,
    packet: Packet,
) -> Option<Option<(EniId, Ipv4Addr)>> {
    match reference::fate(&region.snapshot, config, origin, packet) {
        Fate::Dropped(_) => Some(None),
        Fate::Delivered {
            to: Endpoint::Eni(id),
            seen_as,
        } => {
            let eni = region.snapshot.enis.get(&scope(), &id).unwrap();
            // A public address counts if the gateway has translated it; if not, it came by a route
            // through this interface.
            let translated = *origin == Origin::Outside || seen_as != packet.source;
            let public = |address| {
                translated && region.snapshot.public_ip(eni, address) == Some(packet.destination)
            };
            let addressed = |address| address == packet.destination || public(address);
            eni.addresses()
                .any(addressed)
                .then_some(Some((id, seen_as)))
        }
        Fate::Delivered { .. } => None,
    }
}

#[test]
fn the_kernel_does_what_the_reference_says() {
    let setting = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let first = setting("FOGBANK_KERNEL_SEED").unwrap_or(0);
    let cases = setting("FOGBANK_KERNEL_CASES").unwrap_or(8);
    let (mut arrived, mut dropped) = (0, 0);
    for seed in first..first + cases {
        sandbox(|| {
            let region = any_region(&numbers(seed, 260));
            let config = config("test");
            let applier = Applier::start(&config).unwrap();
            // Not from scratch: over the remains of another region.
            for number in [seed + 1_000_000, seed] {
                let region = any_region(&numbers(number, 260));
                let program = compile(&region.snapshot, &config);
                let report = applier.reconcile_blocking(program).unwrap();
                assert_eq!(report.failures, [], "seed {number}");
            }
            let receivers = receivers(&config, &region);
            let rolls = numbers(seed + 7_000_000, PACKETS * 10);
            let mut dice = Dice {
                numbers: rolls.iter(),
            };
            let packets: Vec<_> = (0..PACKETS)
                .filter_map(|_| sendable(&region, &mut dice))
                .collect();
            for (number, (origin, packet)) in packets.iter().enumerate() {
                send(&config, origin, *packet, number as u32);
            }
            let right: Vec<_> = packets
                .iter()
                .map(|(origin, packet)| expected(&region, &config, origin, *packet))
                .collect();
            let awaited = (0u32..)
                .zip(&right)
                .filter(|(_, right)| matches!(right, Some(Some(_))))
                .map(|(number, _)| number)
                .collect();
            let found = collect(&receivers, &awaited);
            for (number, (origin, packet)) in packets.iter().enumerate() {
                let Some(right) = &right[number] else {
                    continue;
                };
                let real = found.get(&(number as u32));
                assert_eq!(
                    real,
                    right.as_ref(),
                    "seed {seed}: {origin:?} {packet:?}: {:?}",
                    reference::fate(&region.snapshot, &config, origin, *packet)
                );
                *(if right.is_some() {
                    &mut arrived
                } else {
                    &mut dropped
                }) += 1;
            }
        });
    }
    println!("{arrived} arrived, {dropped} dropped");
    assert!(arrived > 0 && dropped > 0);
}
