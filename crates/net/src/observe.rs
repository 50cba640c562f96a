//! Kernel -> what is there, in the terms of a `Program`. Only reads.
//!
//! Called by the applier for places it knows nothing of: all after a restart, single ones after a
//! failed step. Links, addresses, neighbours, routes and rules are read; settings and firewalls are
//! not, because replacing them whole is atomic and costs less than understanding them.

use crate::apply::ApplyError;
use crate::apply::execute::Executor;
use crate::apply::failed;
use crate::apply::route;
use crate::names;
use crate::plan::Place;
use crate::program::{Namespace, Peer, Program, Role, Route, Veth};
use fogbank_types::{IpCidr, MacAddr, RegionConfig};
use std::collections::HashMap;
use std::io;

/// The blocks of the host's routing that a region takes for itself.
pub(crate) fn pools(config: &RegionConfig) -> [IpCidr; 2] {
    [config.public_cidr.into(), config.public_cidr_v6.into()]
}

/// Refuses to start over a pool that somebody else routes: another device, another instance.
pub(crate) fn check_pool(
    executor: &mut Executor,
    config: &RegionConfig,
    pool: IpCidr,
) -> Result<(), ApplyError> {
    let what = || failed("read the host's routes");
    let socket = executor
        .socket(&Place::Host, libc::NETLINK_ROUTE)
        .map_err(what())?;
    let devices = route::devices(socket).map_err(what())?;
    let own = names::host_device(config);
    let routes = route::routes(socket, &devices).map_err(what())?;
    let addresses = route::addresses(socket, &devices).map_err(what())?;
    let by_route = routes
        .into_iter()
        .filter(|route| pool.covers(route.key.destination))
        .filter(|route| !(route.ours && (route.route == Some(Route::Blackhole))))
        .map(|route| (route.key.destination, route.device));
    let by_address = addresses
        .into_iter()
        .filter(|address| pool.contains(address.address))
        .map(|address| {
            let block = IpCidr::host(address.address);
            (block, Some(address.device))
        });
    match by_route
        .chain(by_address)
        .find(|(_, device)| device.as_ref() != Some(&own))
    {
        Some((destination, device)) => Err(ApplyError::PoolInUse {
            pool,
            destination,
            device,
        }),
        None => Ok(()),
    }
}

/// What is at that place; `None` if the place is not there.
pub(crate) fn observe(
    executor: &mut Executor,
    config: &RegionConfig,
    place: &Place,
    desired: &Program,
) -> Option<Namespace> {
    match read(executor, config, place, desired) {
        Ok(found) => Some(found),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%place, %error, "cannot be observed");
            }
            None
        }
    }
}

fn read(
    executor: &mut Executor,
    config: &RegionConfig,
    place: &Place,
    desired: &Program,
) -> io::Result<Namespace> {
    let nothing = Namespace::default();
    let wanted = match place {
        Place::Host => &desired.host,
        Place::Named(name) => desired.namespaces.get(name).unwrap_or(&nothing),
    };
    let host_device = names::host_device(config);
    let on_host = *place == Place::Host;
    let socket = executor.socket(place, libc::NETLINK_ROUTE)?;
    let devices = route::devices(socket)?;
    let addresses = route::addresses(socket, &devices)?;
    let neighbours = route::neighbours(socket, &devices)?;
    let routes = route::routes(socket, &devices)?;
    let rules = route::rules(socket)?;
    let delays = route::delays(socket, &devices)?;
    let mut found = Namespace {
        role: wanted.role.clone(),
        ..Namespace::default()
    };
    // Of the host's own namespace only what is ours counts.
    found.addresses = addresses
        .into_iter()
        .filter(|address| !on_host || address.device == host_device)
        .collect();
    found.neighbours = neighbours
        .into_iter()
        .filter(|(device, ..)| !on_host || *device == host_device)
        .map(|(device, address, mac)| ((device, address), mac))
        .collect();
    for route in routes {
        let counts = !on_host
            || (route.ours
                && (wanted.routes.contains_key(&route.key)
                    || route.device.as_ref() == Some(&host_device)));
        if let (true, Some(kind)) = (counts, route.route) {
            found.routes.insert(route.key, kind);
        }
    }
    if !on_host {
        found.rules = rules.into_iter().collect();
        executor_veths(executor, wanted, &devices, &delays, &mut found)?;
    }
    if matches!(wanted.role, Role::Vpc(_)) {
        let known = found.neighbours.keys();
        found.connections = known
            .filter(|(device, _)| device != names::GATEWAY_DEVICE)
            .map(|(device, address)| (*address, device.clone()))
            .collect();
    }
    Ok(found)
}

/// A pair counts as there if both its ends are, up and as they shall be; anything else of that
/// name is described as something that nobody wants, so that the planner replaces it.
fn executor_veths(
    executor: &mut Executor,
    wanted: &Namespace,
    devices: &route::Devices,
    delays: &HashMap<String, u32>,
    found: &mut Namespace,
) -> io::Result<()> {
    let leftover = Veth {
        mac: MacAddr([0; 6]),
        mtu: 0,
        proxy_arp: false,
        delay_ms: 0,
        peer: Peer {
            namespace: None,
            device: String::new(),
            mac: MacAddr([0; 6]),
        },
    };
    for (name, device) in devices {
        match wanted.veths.get(name) {
            Some(veth) => {
                let good = device.up && device.mac == Some(veth.mac) && device.mtu == veth.mtu;
                let there = good.then(|| peer_delay_ms(executor, veth)).flatten();
                let state = match there {
                    Some(peer_delay_ms) => {
                        let own_ms = delays.get(name).copied().unwrap_or(0);
                        // Ends that differ are neither as they were nor as they shall be.
                        let delay_ms = match own_ms == peer_delay_ms {
                            true => own_ms,
                            false => u32::MAX,
                        };
                        Veth {
                            delay_ms,
                            ..veth.clone()
                        }
                    }
                    None => leftover.clone(),
                };
                found.veths.insert(name.clone(), state);
            }
            // Ends of pairs that others own (eth0, the edge's v-...) go with their owners.
            None if name.starts_with("e-") || name == names::GATEWAY_DEVICE => {
                found.veths.insert(name.clone(), leftover.clone());
            }
            None => {}
        }
    }
    Ok(())
}

/// How long packets wait at the other end; `None` if that end is not as it shall be.
fn peer_delay_ms(executor: &mut Executor, veth: &Veth) -> Option<u32> {
    let place = match &veth.peer.namespace {
        Some(name) => Place::Named(name.clone()),
        None => Place::Host,
    };
    let socket = executor.socket(&place, libc::NETLINK_ROUTE).ok()?;
    let devices = route::devices(socket).ok()?;
    let device = devices.get(&veth.peer.device)?;
    if !device.up || device.mac != Some(veth.peer.mac) {
        return None;
    }
    let delays = route::delays(socket, &devices).ok()?;
    Some(delays.get(&veth.peer.device).copied().unwrap_or(0))
}
