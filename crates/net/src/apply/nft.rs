//! nftables over netlink: tables, chains, sets, elements and rules of a `Program` as messages.
//!
//! The applier collects operations and sends them as one transaction: all of it acts at once, or
//! nothing does. Constants are those of `linux/netfilter/nf_tables.h`.

use super::netlink::{APPEND, CREATE, Message, Refusal, Socket};
use crate::plan::NftOp;
use crate::program::{
    Action, Base, Direction, End, Family, Hook, Match, Range, Set, TrafficKind, Verdict,
};
use fogbank_types::Ipv4Cidr;

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
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

const LIST_ELEMENT: u16 = 1;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const TYPE_VERDICT: u32 = 0xffff_ff00;

const VERDICT_REGISTER: u32 = 0;
/// Sixteen bytes; the four-byte registers 8 to 11 are its parts.
const REGISTER: u32 = 1;

const SET_INTERVAL: u32 = 4;
const SET_MAP: u32 = 8;
const SET_CONCATENATION: u32 = 0x80;

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

fn message(family: Family, kind: u16, flags: u16) -> Message {
    let family = match family {
        Family::V4 => 2,
        Family::V6 => 10,
    };
    Message::new(SUBSYSTEM | kind, flags, &[family, 0, 0, 0])
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
            let mut m = named(NEW_RULE, CREATE | APPEND, chain);
            m.nest(4, |list| {
                for part in &rule.matches {
                    add_match(list, part);
                }
                add_action(list, &rule.action);
            });
            out.push(m);
        }
        NftOp::AddSet { name, shape } => out.push(add_set(family, table, name, shape)),
        NftOp::DeleteSet { name } => out.push(named(DELETE_SET, 0, name)),
        NftOp::AddElements { set, elements } => {
            push_elements(out, || named(NEW_ELEMENT, CREATE, set), elements);
        }
        NftOp::DeleteElements { set, elements } => {
            push_elements(out, || named(DELETE_ELEMENT, 0, set), elements);
        }
    }
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
    const ADDRESS: u32 = 7;
    const PROTOCOL: u32 = 12;
    const PORT: u32 = 13;
    const DEVICE: u32 = 41;
    let ranges = SET_INTERVAL | SET_CONCATENATION;
    let (flags, key_type, key_length, fields): (u32, u32, u32, &[u32]) = match shape {
        Set::Addresses(_) => (0, ADDRESS, 4, &[]),
        Set::Devices(_) => (0, DEVICE, 16, &[]),
        Set::Bindings(_) => (0, (DEVICE << 6) | ADDRESS, 20, &[]),
        Set::Ports(_) => (
            ranges,
            (ADDRESS << 12) | (PROTOCOL << 6) | PORT,
            12,
            &[4, 1, 2],
        ),
        Set::Icmp(_) => (ranges, (ADDRESS << 6) | PORT, 8, &[4, 2]),
        Set::Protocols(_) => (ranges, (ADDRESS << 6) | PROTOCOL, 8, &[4, 1]),
        Set::Translations(_) => (SET_MAP, ADDRESS, 4, &[]),
        Set::Verdicts(_) => (SET_MAP, DEVICE, 16, &[]),
    };
    let mut m = message(family, NEW_SET, CREATE);
    m.text(1, table).text(2, name);
    m.be32(3, flags).be32(4, key_type).be32(5, key_length);
    match shape {
        Set::Translations(_) => {
            m.be32(6, ADDRESS).be32(7, 4);
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
    let padded = |block: Ipv4Cidr, last: bool| {
        let address = if last { block.last() } else { block.base() };
        address.octets().to_vec()
    };
    match set {
        Set::Addresses(all) => all.iter().map(|a| Element::plain(a.octets())).collect(),
        Set::Devices(all) => all.iter().map(|d| Element::plain(device_key(d))).collect(),
        Set::Bindings(all) => all
            .iter()
            .map(|(device, address)| {
                let mut key = device_key(device).to_vec();
                key.extend_from_slice(&address.octets());
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
                value: Some(to.octets().to_vec()),
                ..Element::plain(from.octets())
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

fn load_address(list: &mut Message, end: End) {
    let offset = match end {
        End::Source => 12,
        End::Destination => 16,
    };
    payload(list, REGISTER, NETWORK, offset, 4);
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

fn state(list: &mut Message, bits: u32) {
    expression(list, "ct", |e| {
        e.be32(1, REGISTER).be32(2, 0);
    });
    mask(list, &bits.to_ne_bytes());
    compare(list, false, &[0; 4]);
}

fn mask(list: &mut Message, bits: &[u8; 4]) {
    expression(list, "bitwise", |e| {
        e.be32(1, REGISTER).be32(2, REGISTER).be32(3, 4);
        e.nest(4, |data| {
            data.attribute(DATA_VALUE, bits);
        });
        e.nest(5, |data| {
            data.attribute(DATA_VALUE, &[0; 4]);
        });
    });
}

fn add_match(list: &mut Message, part: &Match) {
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
            load_address(list, *end);
            lookup(list, set, None, *member);
        }
        Match::Bound { direction, set } => {
            load_device(list, *direction);
            // The name fills registers 8 to 11.
            let offset = match direction {
                Direction::In => 12,
                Direction::Out => 16,
            };
            payload(list, 12, NETWORK, offset, 4);
            lookup(list, set, None, true);
        }
        Match::Block { end, block, inside } => {
            load_address(list, *end);
            mask(list, &block.netmask().octets());
            compare(list, *inside, &block.base().octets());
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
            load_address(list, *end);
            match kind {
                TrafficKind::Ports => {
                    meta(list, 9, META_PROTOCOL);
                    payload(list, 10, TRANSPORT, 2, 2);
                }
                TrafficKind::Icmp => payload(list, 9, TRANSPORT, 0, 2),
                TrafficKind::Protocols => meta(list, 9, META_PROTOCOL),
            }
            lookup(list, set, None, true);
        }
    }
}

fn add_action(list: &mut Message, action: &Action) {
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
            load_address(list, End::Source);
            lookup(list, map, Some(REGISTER), true);
            translate(list, 0, None);
        }
        Action::DestinationNat(map) => {
            load_address(list, End::Destination);
            lookup(list, map, Some(REGISTER), true);
            translate(list, 1, None);
        }
        Action::SourceNatTo(address) => {
            immediate(list, REGISTER, &address.octets());
            immediate(list, 9, &1024u16.to_be_bytes());
            immediate(list, 10, &65535u16.to_be_bytes());
            translate(list, 0, Some((9, 10)));
        }
        Action::Masquerade => expression(list, "masq", |_| {}),
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
fn translate(list: &mut Message, kind: u32, ports: Option<(u32, u32)>) {
    const RANDOM_FULLY: u32 = 16;
    expression(list, "nat", |e| {
        e.be32(1, kind).be32(2, 2).be32(3, REGISTER);
        if let Some((from, to)) = ports {
            e.be32(5, from).be32(6, to).be32(7, RANDOM_FULLY);
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
    fn long_lists_become_several_messages() {
        let all = (0..1000u32).map(std::net::Ipv4Addr::from_bits).collect();
        let mut out = Vec::new();
        let operation = NftOp::AddElements {
            set: "s".to_owned(),
            elements: Set::Addresses(all),
        };
        encode(Family::V4, "t", &operation, &mut out);
        assert_eq!(out.len(), 3);
    }
}
