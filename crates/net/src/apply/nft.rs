//! nftables over netlink: tables, chains, sets, elements and rules of a `Program` as messages.
//!
//! The applier collects operations and sends them as one transaction: all of it acts at once, or
//! nothing does. Tables are of one family, `ip` or `ip6`. Constants are those of `linux/netfilter/nf_tables.h`.

use super::netlink::{APPEND, CREATE, Message, Refusal, Socket};
use crate::plan::NftOp;
use crate::program::{
    Action, Base, Direction, End, Family, Hook, Match, Range, Set, Timeout, TrafficKind, Verdict,
};
use fogbank_types::IpCidr;
use std::net::IpAddr;

const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const DELETE_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const DELETE_SET: u16 = 11;
const NEW_ELEMENT: u16 = 12;
const DELETE_ELEMENT: u16 = 14;
const NEW_OBJECT: u16 = 18;
const DELETE_OBJECT: u16 = 20;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

const LIST_ELEMENT: u16 = 1;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
/// The type of objects that are timeouts.
const OBJECT_TIMEOUT: u32 = 7;
const TYPE_VERDICT: u32 = 0xffff_ff00;

const VERDICT_REGISTER: u32 = 0;
/// Sixteen bytes; the four-byte registers 8 to 11 are its parts.
const REGISTER: u32 = 1;
/// The first four bytes of the sixteen that follow it.
const BEYOND: u32 = 12;

const SET_INTERVAL: u32 = 4;
const SET_MAP: u32 = 8;
const SET_CONCATENATION: u32 = 0x80;

/// Of a packet that the flow logs hear of: enough for the headers, options and extensions included.
const LOGGED_BYTES: u32 = 192;

/// Elements of a message share one attribute, whose length is 16 bits.
const ELEMENTS_AT_ONCE: usize = 400;

/// Why a transaction was refused; nothing of it was applied.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    #[error("table {table}: {operation}: {refusal}")]
    Refused {
        table: String,
        operation: String,
        refusal: Refusal,
    },
    #[error("table {table}: sending a transaction of {operations} operations: {source}")]
    Io {
        table: String,
        operations: usize,
        source: std::io::Error,
    },
}

/// Sends all operations on one table as one transaction.
pub fn transact(
    socket: &mut Socket,
    family: Family,
    table: &str,
    operations: &[NftOp],
) -> Result<(), NftError> {
    let mut messages = Vec::new();
    // Which operation a message belongs to.
    let mut owners = Vec::new();
    for (index, operation) in operations.iter().enumerate() {
        let before = messages.len();
        encode(family, table, operation, &mut messages);
        owners.extend(std::iter::repeat_n(index, messages.len() - before));
    }
    if messages.is_empty() {
        return Ok(());
    }
    let border = |kind| Message::new(kind, 0, &[0, 0, 0, 10]);
    let outcome = socket
        .transaction(border(BATCH_BEGIN), messages, border(BATCH_END))
        .map_err(|source| NftError::Io {
            table: table.to_owned(),
            operations: operations.len(),
            source,
        })?;
    match outcome {
        Ok(()) => Ok(()),
        Err(refused) => {
            let (index, refusal) = refused
                .into_iter()
                .next()
                .expect("a refused transaction names a message");
            Err(NftError::Refused {
                table: table.to_owned(),
                operation: index
                    .map_or_else(|| "commit".to_owned(), |i| operations[owners[i]].describe()),
                refusal,
            })
        }
    }
}

/// The kernel's number of an address family.
pub(super) fn number(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

fn message(family: Family, kind: u16, flags: u16) -> Message {
    Message::new(SUBSYSTEM | kind, flags, &[number(family), 0, 0, 0])
}

fn encode(family: Family, table: &str, operation: &NftOp, out: &mut Vec<Message>) {
    let named = |kind, flags, name: &str| {
        let mut m = message(family, kind, flags);
        m.text(1, table).text(2, name);
        m
    };
    match operation {
        NftOp::AddTable | NftOp::DeleteTable => {
            let (kind, flags) = match operation {
                NftOp::AddTable => (NEW_TABLE, CREATE),
                _ => (DELETE_TABLE, 0),
            };
            let mut m = message(family, kind, flags);
            m.text(1, table);
            out.push(m);
        }
        NftOp::AddChain { name, base } => out.push(add_chain(family, table, name, *base)),
        NftOp::DeleteChain { name } => {
            let mut m = message(family, DELETE_CHAIN, 0);
            m.text(1, table).text(3, name);
            out.push(m);
        }
        NftOp::FlushChain { name } => out.push(named(DELETE_RULE, 0, name)),
        NftOp::AddRule { chain, rule } => {
            // Known connections, answers first; of those that are judged anew only the answers.
            let is_known = rule.matches.contains(&Match::Established);
            let sides: &[Option<Known>] = if is_known {
                &[Some(Known::Answer), Some(Known::Unmarked)]
            } else {
                &[None]
            };
            for side in sides {
                let mut m = named(NEW_RULE, CREATE | APPEND, chain);
                m.nest(4, |list| {
                    for part in &rule.matches {
                        add_match(list, family, part);
                    }
                    if let Some(side) = side {
                        add_known(list, *side);
                    }
                    add_action(list, family, &rule.action);
                });
                out.push(m);
            }
        }
        NftOp::AddSet { name, shape } => out.push(add_set(family, table, name, shape)),
        NftOp::DeleteSet { name } => out.push(named(DELETE_SET, 0, name)),
        NftOp::AddTimeout { name, timeout } => {
            let mut m = named(NEW_OBJECT, CREATE, name);
            m.be32(3, OBJECT_TIMEOUT);
            m.nest(4, |data| add_timeout(data, family, *timeout));
            out.push(m);
        }
        NftOp::DeleteTimeout { name, .. } => {
            let mut m = named(DELETE_OBJECT, 0, name);
            m.be32(3, OBJECT_TIMEOUT);
            out.push(m);
        }
        NftOp::AddElements { set, elements } => {
            push_elements(out, || named(NEW_ELEMENT, CREATE, set), elements);
        }
        NftOp::DeleteElements { set, elements } => {
            push_elements(out, || named(DELETE_ELEMENT, 0, set), elements);
        }
    }
}

/// States that are not named keep the namespace's own settings.
fn add_timeout(data: &mut Message, family: Family, timeout: Timeout) {
    const TCP_ESTABLISHED: u16 = 3;
    const UDP_UNREPLIED: u16 = 1;
    const UDP_REPLIED: u16 = 2;
    let (protocol, states) = match timeout {
        Timeout::Tcp { established_s } => (6u8, vec![(TCP_ESTABLISHED, established_s)]),
        Timeout::Udp {
            unreplied_s,
            replied_s,
        } => (
            17,
            vec![(UDP_UNREPLIED, unreplied_s), (UDP_REPLIED, replied_s)],
        ),
    };
    data.attribute(1, &u16::from(number(family)).to_be_bytes())
        .attribute(2, &[protocol]);
    data.nest(3, |policy| {
        for (state, idle_s) in states {
            policy.be32(state, idle_s);
        }
    });
}

fn add_chain(family: Family, table: &str, name: &str, base: Option<Base>) -> Message {
    let mut m = message(family, NEW_CHAIN, CREATE);
    m.text(1, table).text(3, name);
    if let Some(base) = base {
        let hook = match base.hook {
            Hook::Prerouting => 0,
            Hook::Input => 1,
            Hook::Forward => 2,
            Hook::Output => 3,
            Hook::Postrouting => 4,
        };
        m.nest(4, |m| {
            m.be32(1, hook).be32(2, base.priority as u32);
        });
        m.be32(5, 1);
        m.text(7, if base.nat { "nat" } else { "filter" });
    }
    m
}

fn add_set(family: Family, table: &str, name: &str, shape: &Set) -> Message {
    // Type numbers are those of the nft command, so that it can list our sets.
    const ADDRESS_V4: u32 = 7;
    const ADDRESS_V6: u32 = 8;
    const PROTOCOL: u32 = 12;
    const PORT: u32 = 13;
    const DEVICE: u32 = 41;
    let ranges = SET_INTERVAL | SET_CONCATENATION;
    let address = match family {
        Family::V4 => ADDRESS_V4,
        Family::V6 => ADDRESS_V6,
    };
    let width = width(family);
    let (flags, key_type, key_length, fields): (u32, u32, u32, &[u32]) = match shape {
        Set::Addresses(_) => (0, address, width, &[]),
        Set::Devices(_) => (0, DEVICE, 16, &[]),
        Set::Bindings(_) => (0, (DEVICE << 6) | address, 16 + width, &[]),
        Set::Ports(_) => (
            ranges,
            (address << 12) | (PROTOCOL << 6) | PORT,
            width + 8,
            &[width, 1, 2],
        ),
        Set::Icmp(_) => (ranges, (address << 6) | PORT, width + 4, &[width, 2]),
        Set::Protocols(_) => (ranges, (address << 6) | PROTOCOL, width + 4, &[width, 1]),
        Set::Translations(_) => (SET_MAP, address, width, &[]),
        Set::Verdicts(_) => (SET_MAP, DEVICE, 16, &[]),
    };
    let mut m = message(family, NEW_SET, CREATE);
    m.text(1, table).text(2, name);
    m.be32(3, flags).be32(4, key_type).be32(5, key_length);
    match shape {
        Set::Translations(_) => {
            m.be32(6, address).be32(7, width);
        }
        Set::Verdicts(_) => {
            m.be32(6, TYPE_VERDICT).be32(7, 0);
        }
        _ => {}
    }
    if !fields.is_empty() {
        m.nest(9, |description| {
            description.nest(2, |list| {
                for length in fields {
                    list.nest(LIST_ELEMENT, |field| {
                        field.be32(1, *length);
                    });
                }
            });
        });
    }
    // An id is demanded, and only its presence: sets are found by name.
    m.be32(10, 1);
    m
}

/// An element: key, end of the key's range, what it maps to.
struct Element {
    key: Vec<u8>,
    end: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    verdict: Option<Verdict>,
}

impl Element {
    fn plain(key: impl Into<Vec<u8>>) -> Self {
        Self {
            key: key.into(),
            end: None,
            value: None,
            verdict: None,
        }
    }
}

fn elements(set: &Set) -> Vec<Element> {
    let range = |key: Vec<u8>, end: Vec<u8>| Element {
        end: Some(end),
        ..Element::plain(key)
    };
    let padded = |block: IpCidr, last: bool| octets(if last { block.last() } else { block.base() });
    match set {
        Set::Addresses(all) => all.iter().map(|a| Element::plain(octets(*a))).collect(),
        Set::Devices(all) => all.iter().map(|d| Element::plain(device_key(d))).collect(),
        Set::Bindings(all) => all
            .iter()
            .map(|(device, address)| {
                let mut key = device_key(device).to_vec();
                key.extend(octets(*address));
                Element::plain(key)
            })
            .collect(),
        Set::Ports(all) => all
            .iter()
            .map(|(block, protocol, ports)| {
                let key = |last, port: u16| {
                    let mut key = padded(*block, last);
                    key.extend_from_slice(&[*protocol, 0, 0, 0]);
                    key.extend_from_slice(&port.to_be_bytes());
                    key.extend_from_slice(&[0, 0]);
                    key
                };
                range(key(false, ports.from), key(true, ports.to))
            })
            .collect(),
        Set::Icmp(all) => all
            .iter()
            .map(|(block, kinds)| {
                let key = |last, kind: u16| {
                    let mut key = padded(*block, last);
                    key.extend_from_slice(&kind.to_be_bytes());
                    key.extend_from_slice(&[0, 0]);
                    key
                };
                range(key(false, kinds.from), key(true, kinds.to))
            })
            .collect(),
        Set::Protocols(all) => all
            .iter()
            .map(|(block, numbers)| {
                let key = |last, number: u16| {
                    let mut key = padded(*block, last);
                    // Protocol numbers are 8 bits; the compiler gives none above 255.
                    key.extend_from_slice(&[number as u8, 0, 0, 0]);
                    key
                };
                range(key(false, numbers.from), key(true, numbers.to))
            })
            .collect(),
        Set::Translations(all) => all
            .iter()
            .map(|(from, to)| Element {
                value: Some(octets(*to)),
                ..Element::plain(octets(*from))
            })
            .collect(),
        Set::Verdicts(all) => all
            .iter()
            .map(|(device, verdict)| Element {
                verdict: Some(verdict.clone()),
                ..Element::plain(device_key(device))
            })
            .collect(),
    }
}

/// Bytes of an address.
fn width(family: Family) -> u32 {
    match family {
        Family::V4 => 4,
        Family::V6 => 16,
    }
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// As many bytes as an address of the block has, its first `length` bits set.
fn netmask(block: IpCidr) -> Vec<u8> {
    let mut mask = vec![0u8; octets(block.base()).len()];
    for bit in 0..usize::from(block.length()) {
        mask[bit / 8] |= 0x80 >> (bit % 8);
    }
    mask
}

/// Sixteen bytes, as the kernel loads a device's name into a register.
fn device_key(device: &str) -> [u8; 16] {
    let mut key = [0; 16];
    let bytes = device.as_bytes();
    let length = bytes.len().min(15);
    key[..length].copy_from_slice(&bytes[..length]);
    key
}

fn push_elements(out: &mut Vec<Message>, start: impl Fn() -> Message, set: &Set) {
    for part in elements(set).chunks(ELEMENTS_AT_ONCE) {
        let mut m = start();
        m.nest(3, |list| {
            for element in part {
                list.nest(LIST_ELEMENT, |e| {
                    e.nest(1, |key| {
                        key.attribute(DATA_VALUE, &element.key);
                    });
                    if let Some(end) = &element.end {
                        e.nest(10, |key| {
                            key.attribute(DATA_VALUE, end);
                        });
                    }
                    if let Some(value) = &element.value {
                        e.nest(2, |data| {
                            data.attribute(DATA_VALUE, value);
                        });
                    }
                    if let Some(verdict) = &element.verdict {
                        e.nest(2, |data| add_verdict(data, verdict));
                    }
                });
            }
        });
        out.push(m);
    }
}

fn add_verdict(m: &mut Message, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Jump(chain) => (-3i32, Some(chain)),
        Verdict::Return => (-5, None),
    };
    m.nest(DATA_VERDICT, |v| {
        v.be32(1, code as u32);
        if let Some(chain) = chain {
            v.text(2, chain);
        }
    });
}

fn expression(list: &mut Message, name: &str, fill: impl FnOnce(&mut Message)) {
    list.nest(LIST_ELEMENT, |e| {
        e.text(1, name).nest(2, fill);
    });
}

fn payload(list: &mut Message, register: u32, base: u32, offset: u32, length: u32) {
    expression(list, "payload", |e| {
        e.be32(1, register)
            .be32(2, base)
            .be32(3, offset)
            .be32(4, length);
    });
}

const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;

/// Into the registers from `register` on.
fn load_address(list: &mut Message, family: Family, register: u32, end: End) {
    let offset = match (family, end) {
        (Family::V4, End::Source) => 12,
        (Family::V4, End::Destination) => 16,
        (Family::V6, End::Source) => 8,
        (Family::V6, End::Destination) => 24,
    };
    payload(list, register, NETWORK, offset, width(family));
}

fn meta(list: &mut Message, register: u32, key: u32) {
    expression(list, "meta", |e| {
        e.be32(1, register).be32(2, key);
    });
}

const META_PROTOCOL: u32 = 16;

fn load_device(list: &mut Message, direction: Direction) {
    let key = match direction {
        Direction::In => 6,
        Direction::Out => 7,
    };
    meta(list, REGISTER, key);
}

fn compare(list: &mut Message, equal: bool, value: &[u8]) {
    expression(list, "cmp", |e| {
        e.be32(1, REGISTER).be32(2, u32::from(!equal));
        e.nest(3, |data| {
            data.attribute(DATA_VALUE, value);
        });
    });
}

fn within(list: &mut Message, range: Range) {
    if range == Range::ALL {
        return;
    }
    if range.from == range.to {
        return compare(list, true, &range.from.to_be_bytes());
    }
    expression(list, "range", |e| {
        e.be32(1, REGISTER).be32(2, 0);
        e.nest(3, |data| {
            data.attribute(DATA_VALUE, &range.from.to_be_bytes());
        });
        e.nest(4, |data| {
            data.attribute(DATA_VALUE, &range.to.to_be_bytes());
        });
    });
}

fn lookup(list: &mut Message, set: &str, result: Option<u32>, member: bool) {
    expression(list, "lookup", |e| {
        e.text(1, set).be32(2, REGISTER);
        if let Some(register) = result {
            e.be32(3, register);
        }
        if !member {
            e.be32(5, 1);
        }
    });
}

/// Which packets of a known connection.
#[derive(Copy, Clone)]
enum Known {
    Answer,
    /// The connection has no mark of `conntrack::JUDGED_ANEW`.
    Unmarked,
}

fn add_known(list: &mut Message, side: Known) {
    const DIRECTION: u32 = 1;
    const MARK: u32 = 3;
    let mut compare_key = |key, value: &[u8]| {
        expression(list, "ct", |e| {
            e.be32(1, REGISTER).be32(2, key);
        });
        compare(list, true, value);
    };
    match side {
        Known::Answer => compare_key(DIRECTION, &[1]),
        Known::Unmarked => compare_key(MARK, &[0; 4]),
    }
}

fn state(list: &mut Message, bits: u32) {
    expression(list, "ct", |e| {
        e.be32(1, REGISTER).be32(2, 0);
    });
    mask(list, &bits.to_ne_bytes());
    compare(list, false, &[0; 4]);
}

fn mask(list: &mut Message, bits: &[u8]) {
    expression(list, "bitwise", |e| {
        // At most sixteen bytes: a register.
        e.be32(1, REGISTER)
            .be32(2, REGISTER)
            .be32(3, bits.len() as u32);
        e.nest(4, |data| {
            data.attribute(DATA_VALUE, bits);
        });
        e.nest(5, |data| {
            data.attribute(DATA_VALUE, &vec![0; bits.len()]);
        });
    });
}

fn add_match(list: &mut Message, family: Family, part: &Match) {
    const INVALID: u32 = 1;
    const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
    match part {
        Match::Established => state(list, ESTABLISHED_OR_RELATED),
        Match::Invalid => state(list, INVALID),
        Match::Device {
            direction,
            name,
            equal,
        } => {
            load_device(list, *direction);
            compare(list, *equal, &device_key(name));
        }
        Match::DeviceIn {
            direction,
            set,
            member,
        } => {
            load_device(list, *direction);
            lookup(list, set, None, *member);
        }
        Match::AddressIn { end, set, member } => {
            load_address(list, family, REGISTER, *end);
            lookup(list, set, None, *member);
        }
        Match::Bound { direction, set } => {
            load_device(list, *direction);
            // The name fills the first register.
            let end = match direction {
                Direction::In => End::Source,
                Direction::Out => End::Destination,
            };
            load_address(list, family, BEYOND, end);
            lookup(list, set, None, true);
        }
        Match::Block { end, block, inside } => {
            load_address(list, family, REGISTER, *end);
            mask(list, &netmask(*block));
            compare(list, *inside, &octets(block.base()));
        }
        Match::Protocol { number, equal } => {
            meta(list, REGISTER, META_PROTOCOL);
            compare(list, *equal, &[*number]);
        }
        Match::Ports(ports) => {
            payload(list, REGISTER, TRANSPORT, 2, 2);
            within(list, *ports);
        }
        Match::Icmp(kinds) => {
            payload(list, REGISTER, TRANSPORT, 0, 2);
            within(list, *kinds);
        }
        Match::Traffic { end, set, kind } => {
            load_address(list, family, REGISTER, *end);
            // The address takes as many four-byte registers as it needs.
            let next = 8 + width(family) / 4;
            match kind {
                TrafficKind::Ports => {
                    meta(list, next, META_PROTOCOL);
                    payload(list, next + 1, TRANSPORT, 2, 2);
                }
                TrafficKind::Icmp => payload(list, next, TRANSPORT, 0, 2),
                TrafficKind::Protocols => meta(list, next, META_PROTOCOL),
            }
            lookup(list, set, None, true);
        }
    }
}

fn add_action(list: &mut Message, family: Family, action: &Action) {
    match action {
        Action::Do(verdict) => expression(list, "immediate", |e| {
            e.be32(1, VERDICT_REGISTER)
                .nest(2, |data| add_verdict(data, verdict));
        }),
        Action::VerdictOf { direction, map } => {
            load_device(list, *direction);
            lookup(list, map, Some(VERDICT_REGISTER), true);
        }
        Action::SourceNat(map) => {
            load_address(list, family, REGISTER, End::Source);
            lookup(list, map, Some(REGISTER), true);
            translate(list, family, 0, None);
        }
        Action::DestinationNat(map) => {
            load_address(list, family, REGISTER, End::Destination);
            lookup(list, map, Some(REGISTER), true);
            translate(list, family, 1, None);
        }
        Action::SourceNatTo(address) => {
            immediate(list, REGISTER, &octets(*address));
            immediate(list, BEYOND, &1024u16.to_be_bytes());
            immediate(list, BEYOND + 1, &65535u16.to_be_bytes());
            translate(list, family, 0, Some((BEYOND, BEYOND + 1)));
        }
        Action::DestinationNatTo(address, port) => {
            immediate(list, REGISTER, &octets(*address));
            immediate(list, BEYOND, &port.to_be_bytes());
            translate(list, family, 1, Some((BEYOND, BEYOND)));
        }
        Action::Masquerade => expression(list, "masq", |_| {}),
        Action::Log { group, prefix } => expression(list, "log", |e| {
            e.attribute(1, &group.to_be_bytes())
                .text(2, prefix)
                .be32(3, LOGGED_BYTES);
        }),
        Action::SetTimeout(name) => expression(list, "objref", |e| {
            e.be32(1, OBJECT_TIMEOUT).text(2, name);
        }),
        Action::ResetTcp => expression(list, "reject", |e| {
            e.be32(1, 1);
        }),
    }
}

fn immediate(list: &mut Message, register: u32, value: &[u8]) {
    expression(list, "immediate", |e| {
        e.be32(1, register).nest(2, |data| {
            data.attribute(DATA_VALUE, value);
        });
    });
}

/// `nat`: the address is in `REGISTER`; ports, if given, are in those registers.
fn translate(list: &mut Message, family: Family, kind: u32, ports: Option<(u32, u32)>) {
    const RANDOM_FULLY: u32 = 16;
    expression(list, "nat", |e| {
        e.be32(1, kind)
            .be32(2, u32::from(number(family)))
            .be32(3, REGISTER);
        if let Some((from, to)) = ports {
            e.be32(5, from).be32(6, to);
            if from != to {
                e.be32(7, RANDOM_FULLY);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_elements_span_block_and_ports() {
        let set = Set::Ports(
            [(
                "10.1.0.0/16".parse().unwrap(),
                6,
                Range {
                    from: 80,
                    to: 0x1234,
                },
            )]
            .into(),
        );
        let all = elements(&set);
        assert_eq!(all[0].key, [10, 1, 0, 0, 6, 0, 0, 0, 0, 80, 0, 0]);
        let end = all[0].end.as_ref().unwrap();
        assert_eq!(*end, [10, 1, 255, 255, 6, 0, 0, 0, 0x12, 0x34, 0, 0]);
    }

    #[test]
    fn elements_of_ipv6_fill_a_register_with_the_address() {
        let ports = Range { from: 80, to: 81 };
        let set = Set::Ports([("2001:2::/33".parse().unwrap(), 17, ports)].into());
        let element = &elements(&set)[0];
        assert_eq!(element.key.len(), 24);
        assert_eq!(element.key[..4], [0x20, 1, 0, 2]);
        assert_eq!(element.key[16..], [17, 0, 0, 0, 0, 80, 0, 0]);
        let end = element.end.as_ref().unwrap();
        assert_eq!(end[3..9], [2, 0x7f, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(end[16..], [17, 0, 0, 0, 0, 81, 0, 0]);
    }

    #[test]
    fn a_mask_has_the_width_of_its_family() {
        let mask = |text: &str| netmask(text.parse().unwrap());
        assert_eq!(mask("10.0.0.0/9"), [255, 128, 0, 0]);
        assert_eq!(mask("::/0"), [0; 16]);
        let long = mask("2001:2::/127");
        assert_eq!((long.len(), long[14], long[15]), (16, 255, 254));
    }

    #[test]
    fn long_lists_become_several_messages() {
        let address = |n| IpAddr::V4(std::net::Ipv4Addr::from_bits(n));
        let all = (0..1000u32).map(address).collect();
        let mut out = Vec::new();
        let operation = NftOp::AddElements {
            set: "s".to_owned(),
            elements: Set::Addresses(all),
        };
        encode(Family::V4, "t", &operation, &mut out);
        assert_eq!(out.len(), 3);
    }
}
