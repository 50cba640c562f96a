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
use fogbank_types::{MacAddr, RegionConfig};
use std::io;

/// Refuses to start over a pool that somebody else routes: another device, another instance.
pub(crate) fn check_pool(executor: &mut Executor, config: &RegionConfig) -> Result<(), ApplyError> {
    let what = || failed("read the host's routes");
    let socket = executor
        .socket(&Place::Host, libc::NETLINK_ROUTE)
        .map_err(what())?;
    let devices = route::devices(socket).map_err(what())?;
    let own = names::host_device(config);
    let pool = config.public_cidr;
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
            let block = fogbank_types::Ipv4Cidr::host(address.address);
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
        executor_veths(executor, wanted, &devices, &mut found)?;
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
    found: &mut Namespace,
) -> io::Result<()> {
    let leftover = Veth {
        mac: MacAddr([0; 6]),
        mtu: 0,
        proxy_arp: false,
        peer: Peer {
            namespace: None,
            device: String::new(),
            mac: MacAddr([0; 6]),
        },
    };
    for (name, device) in devices {
        match wanted.veths.get(name) {
            Some(veth) => {
                let good = device.up
                    && device.mac == Some(veth.mac)
                    && device.mtu == veth.mtu
                    && peer_is_there(executor, veth);
                let state = if good { veth } else { &leftover };
                found.veths.insert(name.clone(), state.clone());
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

fn peer_is_there(executor: &mut Executor, veth: &Veth) -> bool {
    let place = match &veth.peer.namespace {
        Some(name) => Place::Named(name.clone()),
        None => Place::Host,
    };
    let devices = executor
        .socket(&place, libc::NETLINK_ROUTE)
        .and_then(route::devices);
    devices
        .ok()
        .and_then(|devices| devices.get(&veth.peer.device).cloned())
        .is_some_and(|device| device.up && device.mac == Some(veth.peer.mac))
}
