//! ctnetlink: forgets the tracked connections of an address.
//!
//! Without it the next owner of an address would inherit "established" holes in the firewall.
//! Kernels before 6.8 cannot delete by a filter, so the list is read and each entry is deleted by
//! its own tuple: work is proportional to the namespace's connections.

use super::netlink::{Message, Socket, attributes};
use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;

const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = 1;
const DELETE: u16 = 2;
const V4: u8 = 2;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ZONE: u16 = 18;
const ID: u16 = 12;
const TUPLE_IP: u16 = 1;

/// Forgets every connection that has one of the addresses at either end, in either direction.
/// Gives how many there were.
pub fn flush(socket: &mut Socket, addresses: &BTreeSet<Ipv4Addr>) -> io::Result<usize> {
    let header = [V4, 0, 0, 0];
    let entries = socket.dump(Message::new(SUBSYSTEM | GET, 0, &header))?;
    let mut deletions = Vec::new();
    for entry in entries.iter().filter(|entry| entry.len() > 4) {
        let parts: Vec<_> = attributes(&entry[4..]).collect();
        let concerned = parts
            .iter()
            .filter(|(kind, _)| matches!(*kind, TUPLE_ORIGINAL | TUPLE_REPLY))
            .any(|(_, tuple)| ends(tuple).any(|address| addresses.contains(&address)));
        if !concerned {
            continue;
        }
        let mut m = Message::new(SUBSYSTEM | DELETE, 0, &header);
        for (kind, value) in parts {
            match kind {
                TUPLE_ORIGINAL => {
                    m.nest(kind, |tuple| {
                        tuple.raw(value);
                    });
                }
                ZONE | ID => {
                    m.attribute(kind, value);
                }
                _ => {}
            }
        }
        deletions.push(m);
    }
    let count = deletions.len();
    for outcome in socket.exchange(deletions)? {
        match outcome {
            Ok(()) => {}
            // It ended by itself meanwhile.
            Err(refusal) if refusal.errno == libc::ENOENT => {}
            Err(refusal) => return Err(io::Error::from_raw_os_error(refusal.errno)),
        }
    }
    Ok(count)
}

/// Both IPv4 addresses of a tuple.
fn ends(tuple: &[u8]) -> impl Iterator<Item = Ipv4Addr> + '_ {
    attributes(tuple)
        .filter(|(kind, _)| *kind == TUPLE_IP)
        .flat_map(|(_, ip)| attributes(ip))
        .filter_map(|(_, value)| {
            let octets: [u8; 4] = value.try_into().ok()?;
            Some(Ipv4Addr::from(octets))
        })
}
