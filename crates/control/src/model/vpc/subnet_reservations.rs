//! Addresses of a subnet that no interface gets by itself.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-cidr-reservation.html>

use super::{Refusal, ResourceKind, subnets};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::*;

/// Bounds the rows that a search for a free address must look at; AWS names no number.
const RESERVATIONS_MAX: usize = 100;

#[derive(Clone, Debug)]
pub struct NewReservation {
    pub subnet_id: SubnetId,
    pub cidr_block: IpCidr,
    pub kind: SubnetCidrReservationKind,
    pub description: Option<String>,
    pub tags: Tags,
}

/// The reservations of a subnet.
pub fn of<'a>(
    snapshot: &'a Snapshot,
    subnet: &'a Subnet,
) -> impl Iterator<Item = &'a std::sync::Arc<SubnetCidrReservation>> {
    snapshot
        .subnet_cidr_reservations
        .in_scope(&subnet.scope)
        .filter(|row| row.subnet_id == subnet.subnet_id)
}

/// What is kept from interfaces that name no address.
pub(super) fn blocks(snapshot: &Snapshot, subnet: &Subnet) -> Vec<IpCidr> {
    of(snapshot, subnet).map(|row| row.cidr_block).collect()
}

/// Inside a block of the subnet and apart from its other reservations. Addresses in use in it stay where they are.
pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    new: NewReservation,
) -> Result<SubnetCidrReservation, Refusal> {
    let subnet = subnets::get(tx.snapshot(), scope, &new.subnet_id)?;
    let block = new.cidr_block;
    let own = match block {
        IpCidr::V4(block) => subnet.cidr_block.covers(block),
        IpCidr::V6(block) => subnet.ipv6_block().is_some_and(|own| own.covers(block)),
    };
    if !own {
        return Err(Refusal::parameter(
            "cidr",
            block,
            "It is not inside a CIDR block of the subnet.",
        ));
    }
    if let Some(other) = of(tx.snapshot(), subnet).find(|row| row.cidr_block.overlaps(block)) {
        let why = format!("It overlaps with {}.", other.reservation_id);
        return Err(Refusal::parameter("cidr", block, &why));
    }
    if of(tx.snapshot(), subnet).count() >= RESERVATIONS_MAX {
        return Err(Refusal::value(
            "The maximum number of CIDR reservations of the subnet has been reached.",
        ));
    }
    let row = SubnetCidrReservation {
        scope: scope.clone(),
        reservation_id: SubnetCidrReservationId::from_bits(tx.random()),
        subnet_id: new.subnet_id,
        cidr_block: block,
        kind: new.kind,
        description: new.description,
        created_at: tx.now(),
        tags: new.tags,
    };
    tx.put(row.clone());
    Ok(row)
}

/// Answers what was deleted.
pub fn delete(
    tx: &mut Tx,
    scope: &Scope,
    id: &SubnetCidrReservationId,
) -> Result<SubnetCidrReservation, Refusal> {
    let row = tx.snapshot().subnet_cidr_reservations.get(scope, id);
    let row = row
        .cloned()
        .ok_or_else(|| Refusal::not_found(ResourceKind::SubnetCidrReservation, id))?;
    tx.delete::<SubnetCidrReservation>(scope, id);
    Ok(SubnetCidrReservation::clone(&row))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{enis, vpcs};
    use super::*;
    use crate::model::Refused;

    fn reserve(
        tx: &mut Tx,
        subnet: &Subnet,
        block: &str,
    ) -> Result<SubnetCidrReservation, Refusal> {
        let new = NewReservation {
            subnet_id: subnet.subnet_id.clone(),
            cidr_block: block.parse().unwrap(),
            kind: SubnetCidrReservationKind::Explicit,
            description: None,
            tags: Tags::new(),
        };
        create(tx, &scope(), new)
    }

    #[test]
    fn a_reservation_is_inside_the_subnet_and_alone() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let subnet = subnet(&mut tx, &vpc, "10.0.0.0/24");
        reserve(&mut tx, &subnet, "10.0.0.64/26").unwrap();
        for block in ["10.0.1.0/28", "10.0.0.0/23", "10.0.0.96/28", "2001::/80"] {
            let refusal = reserve(&mut tx, &subnet, block).unwrap_err();
            assert_eq!(refusal.code(), "InvalidParameterValue", "{block}");
        }
        reserve(&mut tx, &subnet, "10.0.0.128/28").unwrap();
    }

    #[test]
    fn reserved_addresses_are_given_only_by_name() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let subnet = subnet(&mut tx, &vpc, "10.0.0.0/28");
        let kept = reserve(&mut tx, &subnet, "10.0.0.8/29").unwrap();
        for _ in 0..4 {
            let eni = interface(&mut tx, &subnet);
            assert!(!kept.cidr_block.contains(eni.private_ip.into()));
        }
        let mut new = new_interface(&subnet.subnet_id);
        let refusal = enis::create(&mut tx, &scope(), new.clone()).unwrap_err();
        assert_eq!(refusal.code(), "InsufficientFreeAddressesInSubnet");
        new.private_ip = Some([10, 0, 0, 9].into());
        let named = enis::create(&mut tx, &scope(), new).unwrap();
        delete(&mut tx, &scope(), &kept.reservation_id).unwrap();
        interface(&mut tx, &subnet);
        enis::delete(&mut tx, &scope(), &named.eni_id);
        let refusal = delete(&mut tx, &scope(), &kept.reservation_id).unwrap_err();
        assert_eq!(refusal.code(), "InvalidSubnetCidrReservationID.NotFound");
    }

    #[test]
    fn reservations_go_with_their_subnet() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let subnet = subnet(&mut tx, &vpc, "10.0.0.0/28");
        reserve(&mut tx, &subnet, "10.0.0.8/29").unwrap();
        subnets::delete(&mut tx, &scope(), &subnet.subnet_id).unwrap();
        vpcs::delete(&mut tx, &scope(), &vpc.vpc_id).unwrap();
        assert_eq!(tx.snapshot().counts(), []);
    }
}
