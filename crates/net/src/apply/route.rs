//! rtnetlink: links, addresses, neighbours, routes and rules of a `Program` as messages, and lists of
//! what is there, of both families. Constants are those of `linux/rtnetlink.h` and its neighbours.
//!
//! What must stay true: IPv6 addresses are usable at once (no duplicate detection: nobody else can
//! have them), and what is listed compares equal to what was put.

use super::netlink::{CREATE, EXCLUSIVE, Message, REPLACE, Refusal, Socket, attributes};
use super::nft::{number, octets};
use crate::plan::LinkOp;
use crate::program::{Address, Family, Route, RouteKey, RoutingRule, RuleAction, Veth};
use fogbank_types::{IpCidr, MacAddr};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;
const NEW_NEIGHBOUR: u16 = 28;
const DELETE_NEIGHBOUR: u16 = 29;
const GET_NEIGHBOUR: u16 = 30;
const NEW_RULE: u16 = 32;
const DELETE_RULE: u16 = 33;
const GET_RULE: u16 = 34;

const NEW_QDISC: u16 = 36;
const DELETE_QDISC: u16 = 37;
const GET_QDISC: u16 = 38;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
const UP: u32 = 1;
/// Our mark on routes: the "who made it" number, as `ip route` shows it (`proto 240`).
const OURS: u8 = 240;
const KERNEL: u8 = 2;
const UNICAST: u8 = 1;
const BLACKHOLE: u8 = 6;
const SCOPE_LINK: u8 = 253;
const SCOPE_ANY: u8 = 255;
const ON_LINK: u32 = 4;
const PERMANENT: u16 = 0x80;
/// Of an IPv6 address: no search for duplicates before it is used.
const NO_DUPLICATE_DETECTION: u8 = 2;
/// What the kernel makes of no metric in IPv6, where 0 cannot be.
const DEFAULT_METRIC_V6: u32 = 1024;
const RULE_LOOKUP: u8 = 1;
const RULE_BLACKHOLE: u8 = 6;

/// Devices by name, in one namespace.
pub type Devices = HashMap<String, Device>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub index: u32,
    pub mac: Option<MacAddr>,
    pub mtu: u32,
    pub up: bool,
}

fn link_header(index: u32, flags: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// What a device takes of TCP over IPv4 at once, headers included ("BIG TCP"), both to send and to
/// put together. The kernel's own is 64 KiB; this is three times as much, so a router's work is a
/// third for each byte (docs/figures.md). It is not more, because a packet's pages are counted, too.
/// Of IPv6 such packets would have a header of their own, so IPv6 stays as it is. Kernels before 6.3
/// do not know it and pass over it; devices that take less have packets cut by the kernel.
pub const BIG_TCP_BYTES: u32 = 196_608;
const GSO_MAX_V4: u16 = 63;
const GRO_MAX_V4: u16 = 64;

fn add_big_tcp(m: &mut Message) {
    m.u32(GSO_MAX_V4, BIG_TCP_BYTES)
        .u32(GRO_MAX_V4, BIG_TCP_BYTES);
}

/// Makes a pair, both ends down; the other end in the namespace of `peer`.
pub fn add_veth(device: &str, veth: &Veth, peer: BorrowedFd<'_>) -> Message {
    let mut m = Message::new(NEW_LINK, CREATE | EXCLUSIVE, &link_header(0, 0));
    m.text(3, device).u32(4, veth.mtu).attribute(1, &veth.mac.0);
    add_big_tcp(&mut m);
    m.nest(18, |info| {
        info.text(1, "veth").nest(2, |data| {
            data.nest(1, |other| {
                other.raw(&link_header(0, 0));
                other
                    .text(3, &veth.peer.device)
                    .u32(4, veth.mtu)
                    .attribute(1, &veth.peer.mac.0)
                    .u32(28, peer.as_raw_fd() as u32);
                add_big_tcp(other);
            });
        });
    });
    m
}

pub fn set_up(index: u32) -> Message {
    Message::new(NEW_LINK, 0, &link_header(index, UP))
}

pub fn remove_link(index: u32) -> Message {
    Message::new(DELETE_LINK, 0, &link_header(index, 0))
}

/// Which device an operation needs.
pub fn device_of(operation: &LinkOp) -> Option<&str> {
    match operation {
        LinkOp::AddAddress(a) | LinkOp::RemoveAddress(a) => Some(&a.device),
        LinkOp::AddNeighbour(device, ..) | LinkOp::RemoveNeighbour(device, _) => Some(device),
        LinkOp::AddRoute(_, route) | LinkOp::RemoveRoute(_, route) => match route {
            Route::Device(device) | Route::Via { device, .. } => Some(device),
            Route::Blackhole => None,
        },
        LinkOp::AddRule(_) | LinkOp::RemoveRule(_) => None,
    }
}

pub fn family_of(operation: &LinkOp) -> Family {
    match operation {
        LinkOp::AddAddress(address) | LinkOp::RemoveAddress(address) => Family::of(address.address),
        LinkOp::AddNeighbour(_, address, _) | LinkOp::RemoveNeighbour(_, address) => {
            Family::of(*address)
        }
        LinkOp::AddRoute(key, _) | LinkOp::RemoveRoute(key, _) => {
            Family::of(key.destination.base())
        }
        LinkOp::AddRule(rule) | LinkOp::RemoveRule(rule) => rule.family,
    }
}

/// `index` is that of the operation's device, or 0.
pub fn encode(operation: &LinkOp, index: u32) -> Message {
    match operation {
        LinkOp::AddAddress(address) => {
            address_message(NEW_ADDRESS, CREATE | REPLACE, address, index)
        }
        LinkOp::RemoveAddress(address) => address_message(DELETE_ADDRESS, 0, address, index),
        LinkOp::AddNeighbour(_, address, mac) => {
            let mut m = neighbour_message(NEW_NEIGHBOUR, CREATE | REPLACE, *address, index);
            m.attribute(2, &mac.0);
            m
        }
        LinkOp::RemoveNeighbour(_, address) => {
            neighbour_message(DELETE_NEIGHBOUR, 0, *address, index)
        }
        LinkOp::AddRoute(key, route) => {
            route_message(NEW_ROUTE, CREATE | REPLACE, key, route, index)
        }
        LinkOp::RemoveRoute(key, route) => route_message(DELETE_ROUTE, 0, key, route, index),
        LinkOp::AddRule(rule) => rule_message(NEW_RULE, CREATE | EXCLUSIVE, rule),
        LinkOp::RemoveRule(rule) => rule_message(DELETE_RULE, 0, rule),
    }
}

/// Whether the refusal says that things are already as they shall be.
pub fn already_so(operation: &LinkOp, refusal: &Refusal) -> bool {
    match operation {
        LinkOp::AddRule(_) => refusal.errno == libc::EEXIST,
        LinkOp::RemoveAddress(_)
        | LinkOp::RemoveNeighbour(..)
        | LinkOp::RemoveRoute(..)
        | LinkOp::RemoveRule(_) => {
            [libc::ENOENT, libc::ESRCH, libc::ENODEV, libc::EADDRNOTAVAIL].contains(&refusal.errno)
        }
        _ => false,
    }
}

fn address_message(kind: u16, flags: u16, address: &Address, index: u32) -> Message {
    let family = Family::of(address.address);
    let mut header = [number(family), address.length, 0, 0, 0, 0, 0, 0];
    if family == Family::V6 {
        header[2] = NO_DUPLICATE_DETECTION;
    }
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut m = Message::new(kind, flags, &header);
    m.attribute(1, &octets(address.address))
        .attribute(2, &octets(address.address));
    m
}

fn neighbour_message(kind: u16, flags: u16, address: IpAddr, index: u32) -> Message {
    let mut header = [0; 12];
    header[0] = number(Family::of(address));
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..10].copy_from_slice(&PERMANENT.to_ne_bytes());
    let mut m = Message::new(kind, flags, &header);
    m.attribute(1, &octets(address));
    m
}

fn route_message(kind: u16, flags: u16, key: &RouteKey, route: &Route, index: u32) -> Message {
    let (route_type, scope, route_flags) = match route {
        Route::Blackhole => (BLACKHOLE, 0, 0),
        Route::Device(_) => (UNICAST, SCOPE_LINK, 0),
        Route::Via { .. } => (UNICAST, 0, ON_LINK),
    };
    // Whoever made a route that shall not be there, it goes.
    let (scope, protocol) = match kind {
        DELETE_ROUTE => (SCOPE_ANY, 0),
        _ => (scope, OURS),
    };
    let family = Family::of(key.destination.base());
    let small_table = u8::try_from(key.table).unwrap_or(0);
    let mut header = [0; 12];
    header[..8].copy_from_slice(&[
        number(family),
        key.destination.length(),
        0,
        0,
        small_table,
        protocol,
        scope,
        route_type,
    ]);
    header[8..12].copy_from_slice(&route_flags.to_ne_bytes());
    let mut m = Message::new(kind, flags, &header);
    m.attribute(1, &octets(key.destination.base()));
    m.u32(15, key.table);
    match (family, key.metric) {
        (Family::V4, 0) => {}
        (Family::V6, 0) => {
            m.u32(6, DEFAULT_METRIC_V6);
        }
        (_, metric) => {
            m.u32(6, metric);
        }
    }
    if let Route::Via {
        gateway, source, ..
    } = route
    {
        m.attribute(5, &octets(*gateway));
        if let Some(source) = source {
            m.attribute(7, &octets(*source));
        }
    }
    if *route != Route::Blackhole {
        m.u32(4, index);
    }
    m
}

fn rule_message(kind: u16, flags: u16, rule: &RoutingRule) -> Message {
    let (action, table) = match rule.action {
        RuleAction::Lookup(table) => (RULE_LOOKUP, table),
        RuleAction::Blackhole => (RULE_BLACKHOLE, 0),
    };
    let mut header = [0; 12];
    header[0] = number(rule.family);
    header[2] = rule.from.map_or(0, |from| from.length());
    header[4] = u8::try_from(table).unwrap_or(0);
    header[7] = action;
    let mut m = Message::new(kind, flags, &header);
    if let Some(from) = rule.from.filter(|from| from.length() > 0) {
        m.attribute(2, &octets(from.base()));
    }
    if let Some(device) = &rule.device {
        m.text(3, device);
    }
    m.u32(6, rule.priority);
    if table != 0 {
        m.u32(15, table);
    }
    m
}

/// What the packets of a device wait for before they leave by it; 0 takes the wait away.
pub fn delay_message(index: u32, delay_ms: u32) -> Message {
    const ROOT: u32 = u32::MAX;
    const LATENCY_NS: u16 = 10;
    // Packets that may wait at once: 100 ms at 10 Gb/s of full-size ones.
    const LIMIT: u32 = 100_000;
    let mut header = [0; 20];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[12..16].copy_from_slice(&ROOT.to_ne_bytes());
    if delay_ms == 0 {
        return Message::new(DELETE_QDISC, 0, &header);
    }
    let mut m = Message::new(NEW_QDISC, CREATE | REPLACE, &header);
    m.text(1, NETEM).nest(2, |options| {
        // struct tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter.
        let mut basic = [0; 24];
        basic[4..8].copy_from_slice(&LIMIT.to_ne_bytes());
        options.raw(&basic);
        let ns = u64::from(delay_ms) * 1_000_000;
        options.attribute(LATENCY_NS, &ns.to_ne_bytes());
    });
    m
}

const NETEM: &str = "netem";

/// The devices that delay their packets, and for how many ms.
pub fn delays(socket: &mut Socket, devices: &Devices) -> io::Result<HashMap<String, u32>> {
    let by_index = by_index(devices);
    let entries = socket.dump(Message::new(GET_QDISC, 0, &[0; 20]))?;
    let mut found = HashMap::new();
    for entry in entries.iter().filter(|entry| entry.len() >= 20) {
        let parts: Vec<_> = attributes(&entry[20..]).collect();
        let part = |wanted| parts.iter().find(|(kind, _)| *kind == wanted);
        let is_netem = part(1).is_some_and(|(_, kind)| name(kind) == NETEM);
        let device = by_index.get(&word(&entry[4..8]));
        if let (true, Some(device), Some((_, options))) = (is_netem, device, part(2)) {
            let ns = attributes(options.get(24..).unwrap_or(&[]))
                .find(|(kind, _)| *kind == 10)
                .and_then(|(_, value)| Some(u64::from_ne_bytes(value.try_into().ok()?)));
            let ms = ns.unwrap_or(0) / 1_000_000;
            found.insert((*device).to_owned(), u32::try_from(ms).unwrap_or(u32::MAX));
        }
    }
    Ok(found)
}

fn word(bytes: &[u8]) -> u32 {
    match bytes {
        [a, b, c, d, ..] => u32::from_ne_bytes([*a, *b, *c, *d]),
        _ => 0,
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(octets).into())
}

fn mac(bytes: &[u8]) -> Option<MacAddr> {
    bytes.try_into().ok().map(MacAddr)
}

fn name(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_end_matches('\0')
        .to_owned()
}

/// All devices of the socket's namespace.
pub fn devices(socket: &mut Socket) -> io::Result<Devices> {
    let entries = socket.dump(Message::new(GET_LINK, 0, &link_header(0, 0)))?;
    let mut devices = Devices::new();
    for entry in entries.iter().filter(|entry| entry.len() >= 16) {
        let mut device = Device {
            index: word(&entry[4..8]),
            mac: None,
            mtu: 0,
            up: word(&entry[8..12]) & UP != 0,
        };
        let mut device_name = String::new();
        for (kind, value) in attributes(&entry[16..]) {
            match kind {
                1 => device.mac = mac(value),
                3 => device_name = name(value),
                4 => device.mtu = word(value),
                _ => {}
            }
        }
        devices.insert(device_name, device);
    }
    Ok(devices)
}

/// The entries of a list for both families; a kernel without IPv6 has none of the second.
fn dump_both(
    socket: &mut Socket,
    request: impl Fn(u8) -> Message,
    header: usize,
) -> io::Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for family in FAMILIES {
        let wanted = number(family);
        let entries = match socket.dump(request(wanted)) {
            Err(error)
                if family == Family::V6 && error.raw_os_error() == Some(libc::EOPNOTSUPP) =>
            {
                continue;
            }
            entries => entries?,
        };
        // A kernel without the family answers for all of them.
        let of_family = |entry: &Vec<u8>| entry.len() >= header && entry[0] == wanted;
        all.extend(entries.into_iter().filter(of_family));
    }
    Ok(all)
}

/// Addresses that somebody put there: without the loopback's own and those that the kernel makes.
pub fn addresses(socket: &mut Socket, devices: &Devices) -> io::Result<Vec<Address>> {
    // `IFAPROT_KERNEL_LO` to `IFAPROT_KERNEL_LL`; older kernels do not tell.
    const BY_KERNEL: std::ops::RangeInclusive<u8> = 1..=3;
    let by_index = by_index(devices);
    let request = |family| Message::new(GET_ADDRESS, 0, &[family, 0, 0, 0, 0, 0, 0, 0]);
    let mut found = Vec::new();
    for entry in dump_both(socket, request, 8)? {
        let (mut address, mut local, mut made_by) = (None, None, 0);
        for (kind, value) in attributes(&entry[8..]) {
            match kind {
                1 => address = ip(value),
                2 => local = ip(value),
                11 => made_by = value.first().copied().unwrap_or(0),
                _ => {}
            }
        }
        let device = by_index.get(&word(&entry[4..8]));
        if let (Some(address), Some(device)) = (local.or(address), device)
            && !address.is_loopback()
            && !BY_KERNEL.contains(&made_by)
        {
            found.push(Address {
                device: (*device).to_owned(),
                address,
                length: entry[1],
            });
        }
    }
    Ok(found)
}

fn by_index(devices: &Devices) -> HashMap<u32, &str> {
    devices
        .iter()
        .map(|(name, device)| (device.index, name.as_str()))
        .collect()
}

/// A request for a list whose header is twelve bytes and begins with the family.
fn request(kind: u16, family: u8) -> Message {
    let mut header = [0; 12];
    header[0] = family;
    Message::new(kind, 0, &header)
}

/// Permanent neighbours.
pub fn neighbours(
    socket: &mut Socket,
    devices: &Devices,
) -> io::Result<Vec<(String, IpAddr, MacAddr)>> {
    let by_index = by_index(devices);
    let mut found = Vec::new();
    for entry in dump_both(socket, |family| request(GET_NEIGHBOUR, family), 12)? {
        if u16::from_ne_bytes([entry[8], entry[9]]) & PERMANENT == 0 {
            continue;
        }
        let (mut address, mut link) = (None, None);
        for (kind, value) in attributes(&entry[12..]) {
            match kind {
                1 => address = ip(value),
                2 => link = mac(value),
                _ => {}
            }
        }
        let device = by_index.get(&word(&entry[4..8]));
        if let (Some(address), Some(link), Some(device)) = (address, link, device) {
            found.push(((*device).to_owned(), address, link));
        }
    }
    Ok(found)
}

/// A route as it is in the kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundRoute {
    pub key: RouteKey,
    /// `None`: of a kind that we never make.
    pub route: Option<Route>,
    pub device: Option<String>,
    pub ours: bool,
}

/// Routes of all tables, without those that the kernel makes by itself.
pub fn routes(socket: &mut Socket, devices: &Devices) -> io::Result<Vec<FoundRoute>> {
    const LOCAL_TABLE: u32 = 255;
    let by_index = by_index(devices);
    let mut found = Vec::new();
    for entry in dump_both(socket, |family| request(GET_ROUTE, family), 12)? {
        let (length, protocol, kind) = (entry[1], entry[5], entry[7]);
        let mut table = u32::from(entry[4]);
        let is_v6 = entry[0] == number(Family::V6);
        let mut destination = match is_v6 {
            true => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            false => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let (mut gateway, mut source, mut device, mut metric) = (None, None, None, 0);
        for (attribute, value) in attributes(&entry[12..]) {
            match attribute {
                1 => destination = ip(value).unwrap_or(destination),
                4 => device = by_index.get(&word(value)).map(|d| (*d).to_owned()),
                5 => gateway = ip(value),
                6 => metric = word(value),
                7 => source = ip(value),
                15 => table = word(value),
                _ => {}
            }
        }
        if protocol == KERNEL || table == LOCAL_TABLE {
            continue;
        }
        if is_v6 && metric == DEFAULT_METRIC_V6 {
            metric = 0;
        }
        let Some(destination) = IpCidr::containing(destination, length) else {
            continue;
        };
        let route = match (kind, gateway, device.clone()) {
            (BLACKHOLE, _, _) => Some(Route::Blackhole),
            (UNICAST, None, Some(device)) => Some(Route::Device(device)),
            (UNICAST, Some(gateway), Some(device)) => Some(Route::Via {
                gateway,
                device,
                source,
            }),
            _ => None,
        };
        found.push(FoundRoute {
            key: RouteKey {
                table,
                destination,
                metric,
            },
            route,
            device,
            ours: protocol == OURS,
        });
    }
    Ok(found)
}

/// Routing rules, without the three that every namespace begins with.
pub fn rules(socket: &mut Socket) -> io::Result<Vec<RoutingRule>> {
    let mut found = Vec::new();
    for entry in dump_both(socket, |family| request(GET_RULE, family), 12)? {
        let mut table = u32::from(entry[4]);
        let (mut from, mut device, mut priority) = (None, None, 0);
        for (attribute, value) in attributes(&entry[12..]) {
            match attribute {
                2 => from = ip(value).and_then(|a| IpCidr::containing(a, entry[2])),
                3 => device = Some(name(value)),
                6 => priority = word(value),
                15 => table = word(value),
                _ => {}
            }
        }
        if matches!(priority, 0 | 32766 | 32767) {
            continue;
        }
        let action = match entry[7] {
            RULE_LOOKUP => RuleAction::Lookup(table),
            _ => RuleAction::Blackhole,
        };
        let family = match entry[0] == number(Family::V6) {
            true => Family::V6,
            false => Family::V4,
        };
        found.push(RoutingRule {
            family,
            priority,
            from,
            device,
            action,
        });
    }
    Ok(found)
}
