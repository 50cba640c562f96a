//! The private addresses of an interface: which are free, and giving, taking and moving them.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-eni.html>
//!
//! Used by `enis` for new interfaces and by the calls that assign and unassign addresses.

use super::{Refusal, enis, subnet_reservations, subnets};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::*;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of one family that an interface can have: the most that any instance type allows.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/AvailableIpPerENI.html>
const ADDRESSES_MAX: usize = 50;

fn used(snapshot: &Snapshot, subnet: &Subnet) -> HashSet<IpAddr> {
    subnets::interfaces(snapshot, subnet)
        .flat_map(|eni| eni.all_addresses().collect::<Vec<_>>())
        .collect()
}

fn no_free(subnet: &Subnet) -> Refusal {
    Refusal::NoFreeAddress {
        subnet_id: subnet.subnet_id.to_string(),
    }
}

/// An address that the caller chose (facts SUB-3, SUB-5).
pub(super) fn checked(
    snapshot: &Snapshot,
    subnet: &Subnet,
    own: Ipv4Addr,
) -> Result<Ipv4Addr, Refusal> {
    let address = IpAddr::V4(own);
    if !subnet.cidr_block.contains(own) {
        return Err(Refusal::AddressOutsideSubnet { address });
    }
    if subnet.is_reserved(own) {
        return Err(Refusal::AddressReserved { address });
    }
    if used(snapshot, subnet).contains(&address) {
        return Err(Refusal::PrivateAddressInUse { address });
    }
    Ok(own)
}

/// A free address, the search starting anywhere, so that one just freed rarely comes back at once.
pub(super) fn free(tx: &mut Tx, subnet: &Subnet) -> Result<Ipv4Addr, Refusal> {
    let size = subnet.cidr_block.size();
    let start = (tx.random() % u128::from(size)) as u64;
    let used = used(tx.snapshot(), subnet);
    let kept = subnet_reservations::blocks(tx.snapshot(), subnet);
    (0..size)
        .filter_map(|n| subnet.cidr_block.nth((start + n) % size))
        .find(|address| {
            let own = IpAddr::V4(*address);
            !subnet.is_reserved(*address)
                && !used.contains(&own)
                && !kept.iter().any(|block| block.contains(own))
        })
        .ok_or_else(|| no_free(subnet))
}

/// The first four addresses of an IPv6 block and the last are AWS's.
fn is_reserved_v6(block: Ipv6Cidr, address: Ipv6Addr) -> bool {
    address.to_bits() - block.base().to_bits() < 4 || address == block.last()
}

/// IPv6 addresses for an interface: those named, then as many others as asked for.
pub(super) fn choose_ipv6(
    tx: &mut Tx,
    subnet: &Subnet,
    named: &[Ipv6Addr],
    count: usize,
) -> Result<Vec<Ipv6Addr>, Refusal> {
    if named.is_empty() && count == 0 {
        return Ok(Vec::new());
    }
    let Some(block) = subnet.ipv6_block() else {
        return Err(Refusal::value(format!(
            "The subnet '{}' has no IPv6 CIDR block.",
            subnet.subnet_id
        )));
    };
    if named.len().saturating_add(count) > ADDRESSES_MAX {
        return Err(Refusal::AddressesPerInterface);
    }
    let mut used = used(tx.snapshot(), subnet);
    let mut chosen = Vec::new();
    for own in named {
        let address = IpAddr::V6(*own);
        if !block.contains(*own) {
            return Err(Refusal::AddressOutsideSubnet { address });
        }
        if is_reserved_v6(block, *own) {
            return Err(Refusal::AddressReserved { address });
        }
        if !used.insert(address) {
            return Err(Refusal::PrivateAddressInUse { address });
        }
        chosen.push(*own);
    }
    let kept = subnet_reservations::blocks(tx.snapshot(), subnet);
    let host_bits = u128::MAX.checked_shr(block.length().into()).unwrap_or(0);
    // A drawn address is taken about once in 2^64 times; only a subnet full of reservations needs many draws.
    for _ in 0..1000 {
        if chosen.len() == named.len() + count {
            break;
        }
        let drawn = Ipv6Addr::from_bits(block.base().to_bits() | (tx.random() & host_bits));
        let address = IpAddr::V6(drawn);
        let is_kept = kept.iter().any(|block| block.contains(address));
        if !is_reserved_v6(block, drawn) && !is_kept && used.insert(address) {
            chosen.push(drawn);
        }
    }
    if chosen.len() < named.len() + count {
        return Err(no_free(subnet));
    }
    Ok(chosen)
}

/// Gives further private addresses to an interface: those named, then as many others as asked for. Answers those that
/// it has now and had not before.
pub fn assign(
    tx: &mut Tx,
    scope: &Scope,
    id: &EniId,
    named: &[Ipv4Addr],
    count: usize,
    may_move: bool,
) -> Result<Vec<Ipv4Addr>, Refusal> {
    let eni = enis::get_own(tx.snapshot(), scope, id)?.clone();
    let subnet = subnets::get(tx.snapshot(), scope, &eni.subnet_id)?.clone();
    let all = named.len().saturating_add(count);
    if eni.addresses().count() + all > ADDRESSES_MAX {
        return Err(Refusal::AddressesPerInterface);
    }
    let mut movable = Vec::new();
    let mut distinct = HashSet::new();
    for address in named {
        if !distinct.insert(*address) {
            return Err(Refusal::parameter(
                "privateIpAddress",
                address,
                "It is given twice.",
            ));
        }
        match holder(tx.snapshot(), &subnet, *address) {
            Some(other) if may_move && other.owner == EniOwner::Caller => {
                if other.private_ip == *address {
                    return Err(Refusal::value(format!(
                        "The primary private IP address {address} cannot be moved."
                    )));
                }
                movable.push((other.eni_id.clone(), *address));
            }
            _ => drop(checked(tx.snapshot(), &subnet, *address)?),
        }
    }
    let fresh = (all - movable.len()) as u64;
    if subnets::available_addresses(tx.snapshot(), &subnet) < fresh {
        return Err(no_free(&subnet));
    }
    for (from, address) in &movable {
        take_off(tx, scope, from, *address);
        rebind(tx, scope, from, id, *address);
    }
    let add = |tx: &mut Tx, address| {
        tx.update::<Eni>(scope, id, |eni| eni.secondary_ips.push(address));
    };
    let mut given = named.to_vec();
    for address in named {
        add(tx, *address);
    }
    for _ in 0..count {
        let address = free(tx, &subnet)?;
        add(tx, address);
        given.push(address);
    }
    Ok(given)
}

fn holder<'a>(snapshot: &'a Snapshot, subnet: &'a Subnet, address: Ipv4Addr) -> Option<&'a Eni> {
    subnets::interfaces(snapshot, subnet)
        .find(|eni| eni.addresses().any(|own| own == address))
        .map(|eni| &**eni)
}

fn take_off(tx: &mut Tx, scope: &Scope, id: &EniId, address: Ipv4Addr) {
    tx.update::<Eni>(scope, id, |eni| {
        eni.secondary_ips.retain(|own| *own != address)
    });
}

/// An Elastic IP goes along with the private address that it is on.
fn rebind(tx: &mut Tx, scope: &Scope, from: &EniId, to: &EniId, address: Ipv4Addr) {
    let elastic = on_address(tx.snapshot(), scope, from, address);
    if let Some(allocation_id) = elastic {
        tx.update::<ElasticIp>(scope, &allocation_id, |row| {
            if let Some(association) = &mut row.association {
                association.eni_id = to.clone();
            }
        });
    }
}

fn on_address(
    snapshot: &Snapshot,
    scope: &Scope,
    id: &EniId,
    address: Ipv4Addr,
) -> Option<AllocationId> {
    let mut all = snapshot.elastic_ips.in_scope(scope);
    let row = all.find(|row| {
        let association = row.association.as_ref();
        association.is_some_and(|a| a.eni_id == *id && a.private_ip == address)
    })?;
    Some(row.allocation_id.clone())
}

/// Takes secondary addresses off, and Elastic IPs off them.
pub fn unassign(
    tx: &mut Tx,
    scope: &Scope,
    id: &EniId,
    addresses: &[Ipv4Addr],
) -> Result<(), Refusal> {
    let eni = enis::get_own(tx.snapshot(), scope, id)?;
    if addresses.iter().any(|a| !eni.secondary_ips.contains(a)) {
        let eni_id = id.to_string();
        return Err(Refusal::AddressesNotAssigned { eni_id });
    }
    for address in addresses {
        if let Some(elastic) = on_address(tx.snapshot(), scope, id, *address) {
            super::addresses::clear(tx, scope, &elastic);
        }
        take_off(tx, scope, id, *address);
    }
    Ok(())
}

/// Gives further IPv6 addresses to the caller's own interface; answers them.
pub fn assign_ipv6(
    tx: &mut Tx,
    scope: &Scope,
    id: &EniId,
    named: &[Ipv6Addr],
    count: usize,
) -> Result<Vec<Ipv6Addr>, Refusal> {
    let eni = enis::get_own(tx.snapshot(), scope, id)?.clone();
    let subnet = subnets::get(tx.snapshot(), scope, &eni.subnet_id)?.clone();
    let all = named.len().saturating_add(count);
    if eni.ipv6_addresses.len().saturating_add(all) > ADDRESSES_MAX {
        return Err(Refusal::AddressesPerInterface);
    }
    let chosen = choose_ipv6(tx, &subnet, named, count)?;
    tx.update::<Eni>(scope, id, |eni| {
        eni.ipv6_addresses.extend(chosen.iter().copied())
    });
    Ok(chosen)
}

/// Gives a service's interface one IPv6 address, or takes those away that it has.
pub fn set_service_ipv6(
    tx: &mut Tx,
    scope: &Scope,
    id: &EniId,
    wanted: bool,
) -> Result<(), Refusal> {
    let eni = enis::get(tx.snapshot(), scope, id)?.clone();
    let chosen = match (wanted, eni.ipv6_addresses.is_empty()) {
        (true, true) => {
            let subnet = subnets::get(tx.snapshot(), scope, &eni.subnet_id)?.clone();
            choose_ipv6(tx, &subnet, &[], 1)?
        }
        (false, false) => Vec::new(),
        _ => return Ok(()),
    };
    tx.update::<Eni>(scope, id, |eni| eni.ipv6_addresses = chosen);
    Ok(())
}

pub fn unassign_ipv6(
    tx: &mut Tx,
    scope: &Scope,
    id: &EniId,
    addresses: &[Ipv6Addr],
) -> Result<(), Refusal> {
    let eni = enis::get_own(tx.snapshot(), scope, id)?;
    if addresses.iter().any(|a| !eni.ipv6_addresses.contains(a)) {
        let eni_id = id.to_string();
        return Err(Refusal::AddressesNotAssigned { eni_id });
    }
    tx.update::<Eni>(scope, id, |eni| {
        eni.ipv6_addresses.retain(|own| !addresses.contains(own));
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{addresses, subnet_blocks, vpc_blocks};
    use super::*;
    use crate::model::Refused;

    struct Stage {
        tx: Tx,
        subnet: Subnet,
        one: EniId,
        other: EniId,
    }

    fn at(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, n)
    }

    /// Two interfaces on .20 and .21 of 10.0.0.16/28, with IPv6.
    fn stage() -> Stage {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        gateway(&mut tx, &vpc);
        let subnet = subnet(&mut tx, &vpc, "10.0.0.16/28");
        let block = vpc_blocks::associate_ipv6(&mut tx, &scope(), &vpc.vpc_id).unwrap();
        let block = block.cidr_block.subnet(64, 3).unwrap();
        subnet_blocks::associate(&mut tx, &scope(), &subnet.subnet_id, block).unwrap();
        let [one, other] = [20, 21].map(|n| {
            let mut new = new_interface(&subnet.subnet_id);
            new.private_ip = Some(at(n));
            enis::create(&mut tx, &scope(), new).unwrap().eni_id
        });
        let subnet =
            Subnet::clone(subnets::get(tx.snapshot(), &scope(), &subnet.subnet_id).unwrap());
        Stage {
            tx,
            subnet,
            one,
            other,
        }
    }

    fn eni(tx: &Tx, id: &EniId) -> Eni {
        Eni::clone(enis::get(tx.snapshot(), &scope(), id).unwrap())
    }

    #[test]
    fn further_addresses_are_counted_and_unique() {
        let Stage {
            mut tx,
            subnet,
            one,
            ..
        } = stage();
        assert!(assign(&mut tx, &scope(), &one, &[at(22), at(22)], 0, false).is_err());
        assign(&mut tx, &scope(), &one, &[at(22)], 3, false).unwrap();
        assert_eq!(subnets::available_addresses(tx.snapshot(), &subnet), 5);
        let refusal = assign(&mut tx, &scope(), &one, &[], 6, false).unwrap_err();
        assert_eq!(refusal.code(), "InsufficientFreeAddressesInSubnet");
        let all: HashSet<_> = eni(&tx, &one).addresses().collect();
        assert_eq!(all.len(), 5);
        let refusal = assign(&mut tx, &scope(), &one, &[], 46, false).unwrap_err();
        assert_eq!(refusal.code(), "PrivateIpAddressLimitExceeded");
    }

    #[test]
    fn a_secondary_address_moves_with_its_elastic_ip_if_it_may() {
        let Stage {
            mut tx, one, other, ..
        } = stage();
        assign(&mut tx, &scope(), &one, &[at(25)], 0, false).unwrap();
        let eip = addresses::allocate(&mut tx, &scope(), Tags::new())
            .unwrap()
            .allocation_id;
        addresses::associate(&mut tx, &scope(), &eip, &one, Some(at(25)), true).unwrap();
        let mut take = |address, may_move| {
            assign(&mut tx, &scope(), &other, &[address], 0, may_move).map_err(|r| r.code())
        };
        assert_eq!(take(at(25), false), Err("InvalidIPAddress.InUse"));
        assert_eq!(take(at(20), true), Err("InvalidParameterValue"));
        take(at(25), true).unwrap();
        assert!(eni(&tx, &one).secondary_ips.is_empty());
        assert_eq!(eni(&tx, &other).secondary_ips, [at(25)]);
        let row = addresses::get(tx.snapshot(), &scope(), &eip).unwrap();
        assert_eq!(row.association.as_ref().unwrap().eni_id, other);
    }

    #[test]
    fn only_a_secondary_address_comes_off_and_frees_its_elastic_ip() {
        let Stage { mut tx, one, .. } = stage();
        assign(&mut tx, &scope(), &one, &[at(25)], 0, false).unwrap();
        let eip = addresses::allocate(&mut tx, &scope(), Tags::new())
            .unwrap()
            .allocation_id;
        addresses::associate(&mut tx, &scope(), &eip, &one, Some(at(25)), true).unwrap();
        for address in [at(20), at(26)] {
            let refusal = unassign(&mut tx, &scope(), &one, &[address]).unwrap_err();
            assert_eq!(refusal.code(), "InvalidParameterValue", "{address}");
        }
        unassign(&mut tx, &scope(), &one, &[at(25)]).unwrap();
        let row = addresses::get(tx.snapshot(), &scope(), &eip).unwrap();
        assert_eq!(row.association, None);
    }

    #[test]
    fn ipv6_addresses_are_the_subnets_and_unique() {
        let Stage {
            mut tx,
            subnet,
            one,
            other,
        } = stage();
        let block = subnet.ipv6_block().unwrap();
        let named = block.nth(100).unwrap();
        let given = assign_ipv6(&mut tx, &scope(), &one, &[named], 2).unwrap();
        assert!(given.len() == 3 && given[0] == named);
        assert!(given.iter().all(|address| block.contains(*address)));
        let mut refused = |address: Ipv6Addr| {
            let refusal = assign_ipv6(&mut tx, &scope(), &other, &[address], 0).unwrap_err();
            refusal.code()
        };
        assert_eq!(refused(named), "InvalidIPAddress.InUse");
        assert_eq!(refused("2001::1".parse().unwrap()), "InvalidParameterValue");
        assert_eq!(refused(block.nth(3).unwrap()), "InvalidParameterValue");
        assert_eq!(refused(block.last()), "InvalidParameterValue");
        assert!(unassign_ipv6(&mut tx, &scope(), &other, &[named]).is_err());
        unassign_ipv6(&mut tx, &scope(), &one, &[named]).unwrap();
        assign_ipv6(&mut tx, &scope(), &other, &[named], 0).unwrap();
    }

    #[test]
    fn what_services_hold_is_not_the_callers_to_change() {
        let Stage { mut tx, subnet, .. } = stage();
        let mut new = new_interface(&subnet.subnet_id);
        new.owner = EniOwner::Task("arn".to_owned());
        let id = enis::create(&mut tx, &scope(), new).unwrap().eni_id;
        assert!(assign(&mut tx, &scope(), &id, &[], 1, false).is_err());
        assert!(unassign_ipv6(&mut tx, &scope(), &id, &[]).is_err());
    }
}
