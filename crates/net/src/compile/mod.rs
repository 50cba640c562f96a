//! Snapshot and host -> `Program`: everything this host's kernel shall hold, from scratch, purely.
//!
//! The node calls `Compiler::update` with each change, which compiles what the change concerns;
//! `compile` is the same from scratch. `plan` finds what is new. What must stay true: every
//! gate ends in a drop, so what is left out (and named in `Program::alarms`) is closed, and the
//! same snapshot always gives the same program, whatever the order of its rows' lists.
//!
//! One VPC is one namespace that routes; one ENI is one namespace at the end of a veth; a peering
//! connection is a veth between two VPCs' namespaces; the edge namespace joins the VPCs' gateways
//! with AWS's services and with the host. See docs/flows for a packet's way.
//!
//! Both families are compiled by the same functions: a router has one firewall table a family
//! (`names::TABLE`, `names::TABLE_V6`). The one of IPv6 lets nothing through, and the kernel's IPv6
//! is off, in a VPC without an IPv6 block.
//!
//! # What the flow logs may rely on
//!
//! In a VPC that a flow log covers (wholly, or a subnet or an interface of it), its namespace
//!
//! - counts packets and bytes of connections and knows when they began
//!   (`nf_conntrack_acct` and `nf_conntrack_timestamp` are 1), and
//! - tells each packet that is about to be dropped by a security group or a network ACL to netlink
//!   group `names::FLOW_LOG_GROUP`, with the name of the gate as the prefix:
//!
//! | prefix    | dropped by                              | the interface is that of |
//! |-----------|-----------------------------------------|--------------------------|
//! | `egress`  | the sender's groups                     | the input device         |
//! | `ingress` | the receiver's groups                   | the output device        |
//! | `acl_out` | the ACL of the subnet it leaves         | the input device         |
//! | `acl_in`  | the ACL of the subnet it wants to enter | the output device        |
//!
//! `names::eni_device` gives the device of an interface. Addresses are private ones: translation by
//! an internet gateway is done before or after. A packet is dropped, and told, once at most. What
//! forged its source, has no route or belongs to a failed zone is dropped without being told.

mod acl;
mod edge;
mod endpoint;
mod eni;
mod firewall;
mod focus;
mod gateway;
mod groups;
mod idle;
mod index;
mod peering;
mod region;
mod routes;
mod untracked;
mod update;
mod vpc;
mod zone;

pub(crate) use edge::POOL_BLACKHOLE_METRIC;

use crate::program::{Alarm, Program};
use fogbank_types::{RegionConfig, Snapshot};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use region::Region;
pub use update::{Change, Compiler};

/// What `compile` must know of the host besides the snapshot.
pub type HostView = RegionConfig;

/// The program of this host for that snapshot.
pub fn compile(snapshot: &Snapshot, config: &HostView) -> Program {
    program_of(&region::regions(snapshot, config), config)
}

/// The program of those VPCs, or of the parts of them that are in focus.
fn program_of(regions: &[Region<'_>], config: &HostView) -> Program {
    let mut program = Program::default();
    edge::add(&mut program, config, regions);
    for region in regions {
        vpc::add(&mut program, region);
        for eni in &region.local {
            eni::add(&mut program, region, eni);
        }
    }
    program.alarms.sort();
    program.alarms.dedup();
    program
}

/// Names that two things of a program would share; ids are random, so only a forged store has any.
fn claim(taken: &mut BTreeSet<String>, name: &str) -> bool {
    taken.insert(name.to_owned())
}

/// FNV-1a: stable across versions of the compiler, unlike the standard library's hasher.
fn hash(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in parts.join(",").bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

/// A number below `limit` for each id: its hash, moved on past others in the order of ids, so that
/// an id that comes or goes moves no other but those few that would have the same.
fn numbers<'a>(ids: impl Iterator<Item = &'a str>, limit: u32) -> Vec<(&'a str, u32)> {
    let mut ids: Vec<&str> = ids.collect();
    ids.sort_unstable();
    let mut taken = BTreeSet::new();
    ids.into_iter()
        .take(limit as usize)
        .map(|id| {
            let mut number = (hash(&[id]) % u64::from(limit)) as u32;
            while !taken.insert(number) {
                number = (number + 1) % limit;
            }
            (id, number)
        })
        .collect()
}

impl Program {
    fn alarm(&mut self, resource: impl AsRef<str>, reason: impl Into<String>) {
        self.alarms.push(Alarm {
            resource: resource.as_ref().to_owned(),
            reason: reason.into(),
        });
    }
}

/// Whether this address of the public pool can be given a route: inside the pool, not the link's own.
fn routable(config: &RegionConfig, public_ip: Ipv4Addr) -> bool {
    config.public_cidr.contains(public_ip) && !crate::names::is_link_address(config, public_ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_would_share_a_number_get_two() {
        let ids = ["a", "b", "c", "d"];
        let given = numbers(ids.into_iter(), 4);
        let distinct: BTreeSet<u32> = given.iter().map(|(_, number)| *number).collect();
        assert_eq!(distinct.len(), 4);
        assert_eq!(
            numbers(ids.into_iter().rev(), 4),
            given,
            "order is irrelevant"
        );
        assert_eq!(
            numbers(ids.into_iter(), 2).len(),
            2,
            "no more than there are"
        );
    }

    #[test]
    fn a_number_does_not_depend_on_ids_elsewhere() {
        let alone = numbers(["vpc-1"].into_iter(), 1 << 14);
        let among = numbers(["vpc-0", "vpc-1", "vpc-2"].into_iter(), 1 << 14);
        assert!(among.contains(&alone[0]));
    }
}
