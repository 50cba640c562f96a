//! The IPv6 block of a subnet: a piece of a block of its VPC.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html>

use super::{Refusal, ResourceKind, subnets, vpcs};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::*;

/// A subnet has one IPv6 block at most.
const BLOCKS_MAX: usize = 1;

/// Whether a subnet of the VPC can have the block.
pub(super) fn check(snapshot: &Snapshot, vpc: &Vpc, block: Ipv6Cidr) -> Result<(), Refusal> {
    // Lengths go in steps of four; those of AWS begin at 44, but its own blocks for VPCs are of 56.
    let sized = (44..=64).contains(&block.length()) && block.length().is_multiple_of(4);
    let cidr = block.to_string();
    if !sized || !vpc.ipv6_blocks().any(|own| own.covers(block)) {
        return Err(Refusal::SubnetRange { cidr });
    }
    let taken = snapshot.subnets.in_scope(&vpc.scope).any(|other| {
        other.vpc_id == vpc.vpc_id && other.ipv6_block().is_some_and(|b| b.overlaps(block))
    });
    if taken {
        return Err(Refusal::SubnetConflict { cidr });
    }
    Ok(())
}

pub fn associate(
    tx: &mut Tx,
    scope: &Scope,
    subnet_id: &SubnetId,
    block: Ipv6Cidr,
) -> Result<SubnetIpv6CidrAssociation, Refusal> {
    let subnet = subnets::get(tx.snapshot(), scope, subnet_id)?;
    let vpc = vpcs::get(tx.snapshot(), scope, &subnet.vpc_id)?;
    if subnet.ipv6_block().is_some() {
        return Err(Refusal::BlockLimit {
            id: subnet_id.to_string(),
            most: BLOCKS_MAX,
        });
    }
    check(tx.snapshot(), vpc, block)?;
    let association = SubnetIpv6CidrAssociation {
        association_id: SubnetCidrAssociationId::from_bits(tx.random()),
        cidr_block: block,
        state: CidrState::Associated,
    };
    tx.update::<Subnet>(scope, subnet_id, |subnet| {
        subnet.ipv6_cidr_associations.push(association.clone());
    });
    Ok(association)
}

/// Not while an interface has an address of it.
pub fn disassociate(
    tx: &mut Tx,
    scope: &Scope,
    id: &SubnetCidrAssociationId,
) -> Result<(SubnetId, SubnetIpv6CidrAssociation), Refusal> {
    let found = tx.snapshot().subnets.in_scope(scope).find_map(|subnet| {
        let mut own = subnet.ipv6_cidr_associations.iter();
        let association = own.find(|a| a.association_id == *id)?;
        Some((subnet.clone(), association.clone()))
    });
    let (subnet, association) =
        found.ok_or_else(|| Refusal::not_found(ResourceKind::SubnetCidrAssociation, id))?;
    let used = subnets::interfaces(tx.snapshot(), &subnet).any(|eni| {
        let mut addresses = eni.ipv6_addresses.iter();
        addresses.any(|address| association.cidr_block.contains(*address))
    });
    if used {
        return Err(Refusal::BlockInUse {
            id: format!("subnet {}", subnet.subnet_id),
            user: "an IPv6 address of a network interface",
            cidr: association.cidr_block.to_string(),
        });
    }
    let reservations: Vec<_> = tx
        .snapshot()
        .subnet_cidr_reservations
        .in_scope(scope)
        .filter(|row| row.subnet_id == subnet.subnet_id && !row.cidr_block.is_ipv4())
        .map(|row| row.reservation_id.clone())
        .collect();
    for reservation in reservations {
        tx.delete::<SubnetCidrReservation>(scope, &reservation);
    }
    tx.update::<Subnet>(scope, &subnet.subnet_id, |subnet| {
        subnet
            .ipv6_cidr_associations
            .retain(|a| a.association_id != *id);
        subnet.assign_ipv6_address_on_creation = false;
        subnet.enable_dns64 = false;
    });
    Ok((subnet.subnet_id.clone(), association))
}

#[cfg(test)]
mod tests {
    use super::super::subnets::SubnetAttribute;
    use super::super::testing::*;
    use super::super::{enis, vpc_blocks};
    use super::*;
    use crate::model::Refused;

    struct Stage {
        tx: Tx,
        block: Ipv6Cidr,
        one: Subnet,
        other: Subnet,
    }

    fn stage() -> Stage {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let block = vpc_blocks::associate_ipv6(&mut tx, &scope(), &vpc.vpc_id).unwrap();
        Stage {
            block: block.cidr_block,
            one: subnet(&mut tx, &vpc, "10.0.0.0/24"),
            other: subnet(&mut tx, &vpc, "10.0.1.0/24"),
            tx,
        }
    }

    #[test]
    fn a_block_is_inside_the_vpcs_sized_and_alone() {
        let Stage {
            mut tx,
            block,
            one,
            other,
        } = stage();
        let part = |length, n| block.subnet(length, n).unwrap();
        let mut add = |subnet: &Subnet, block| {
            associate(&mut tx, &scope(), &subnet.subnet_id, block).map_err(|r| r.code())
        };
        let foreign = "2001:db8:ffff::/64".parse().unwrap();
        assert_eq!(add(&one, foreign), Err("InvalidSubnet.Range"));
        assert_eq!(add(&one, part(62, 0)), Err("InvalidSubnet.Range"));
        assert_eq!(add(&one, part(68, 0)), Err("InvalidSubnet.Range"));
        add(&one, part(60, 1)).unwrap();
        assert_eq!(add(&one, part(64, 0)), Err("CidrLimitExceeded"));
        assert_eq!(add(&other, part(64, 16)), Err("InvalidSubnet.Conflict"));
        add(&other, part(64, 0)).unwrap();
    }

    #[test]
    fn a_block_whose_address_is_used_stays() {
        let Stage {
            mut tx, block, one, ..
        } = stage();
        let block = block.subnet(64, 1).unwrap();
        let id = associate(&mut tx, &scope(), &one.subnet_id, block)
            .unwrap()
            .association_id;
        let on = SubnetAttribute::AssignIpv6AddressOnCreation(true);
        subnets::modify(&mut tx, &scope(), &one.subnet_id, on.clone()).unwrap();
        let eni = interface(&mut tx, &one);
        let refusal = disassociate(&mut tx, &scope(), &id).unwrap_err();
        assert_eq!(refusal.code(), "InvalidCidrBlock.InUse");
        enis::delete(&mut tx, &scope(), &eni.eni_id);
        disassociate(&mut tx, &scope(), &id).unwrap();
        let refusal = disassociate(&mut tx, &scope(), &id).unwrap_err();
        assert_eq!(
            refusal.code(),
            "InvalidSubnetCidrBlockAssociationID.NotFound"
        );
        assert!(subnets::modify(&mut tx, &scope(), &one.subnet_id, on).is_err());
        let left = subnets::get(tx.snapshot(), &scope(), &one.subnet_id).unwrap();
        assert_eq!(**left, one);
    }
}
