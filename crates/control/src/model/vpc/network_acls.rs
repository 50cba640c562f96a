//! Network ACLs: ordered, stateless rules at a subnet's border.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>

use super::{Quotas, Refusal, ResourceKind, ids, vpcs};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::*;
use std::sync::Arc;

/// The entry that ends every ACL and denies the rest (fact ACL-2).
pub const LAST_ENTRY: i32 = 32767;
/// The same for IPv6, in a VPC that has it.
pub const LAST_ENTRY_V6: i32 = 32768;

/// An entry as a caller gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    pub number: i32,
    pub egress: bool,
    pub allow: bool,
    pub traffic: Traffic,
    pub cidr_block: IpCidr,
}

pub fn get<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &NetworkAclId,
) -> Result<&'a Arc<NetworkAcl>, Refusal> {
    snapshot
        .network_acls
        .get(scope, id)
        .ok_or_else(|| Refusal::not_found(ResourceKind::NetworkAcl, id))
}

fn new_acl(
    tx: &Tx,
    scope: &Scope,
    network_acl_id: NetworkAclId,
    vpc_id: &VpcId,
    tags: Tags,
) -> NetworkAcl {
    NetworkAcl {
        scope: scope.clone(),
        network_acl_id,
        vpc_id: vpc_id.clone(),
        is_default: false,
        entries: Vec::new(),
        associations: Vec::new(),
        created_at: tx.now(),
        tags,
    }
}

/// The ACL that a VPC is born with: rule 100 allows all, both ways (fact ACL-3). See `vpc_blocks` for IPv6.
pub(super) fn create_default(tx: &mut Tx, vpc: &Vpc) {
    let id = NetworkAclId::from_bits(tx.random());
    let mut acl = new_acl(tx, &vpc.scope, id, &vpc.vpc_id, Tags::new());
    acl.is_default = true;
    acl.entries = [true, false]
        .map(|egress| NetworkAclEntry {
            number: 100,
            egress,
            allow: true,
            traffic: Traffic::All,
            cidr_block: Ipv4Cidr::ANY.into(),
        })
        .into();
    tx.put(acl);
}

/// Without entries of its own it blocks everything. A call with the client token of an earlier one answers that one's.
pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    vpc_id: &VpcId,
    tags: Tags,
    client_token: Option<&str>,
) -> Result<NetworkAcl, Refusal> {
    vpcs::get(tx.snapshot(), scope, vpc_id)?;
    let id = match client_token {
        Some(token) => ids::derived(scope, &["CreateNetworkAcl", token]),
        None => NetworkAclId::from_bits(tx.random()),
    };
    if let Some(earlier) = tx.snapshot().network_acls.get(scope, &id) {
        return if earlier.vpc_id == *vpc_id {
            Ok(NetworkAcl::clone(earlier))
        } else {
            Err(Refusal::TokenReused)
        };
    }
    if tx
        .snapshot()
        .network_acls
        .in_scope(scope)
        .filter(|row| row.vpc_id == *vpc_id)
        .count()
        >= Quotas::of(tx.config()).network_acls_per_vpc
    {
        return Err(Refusal::AclLimit {
            vpc_id: vpc_id.to_string(),
        });
    }
    let acl = new_acl(tx, scope, id, vpc_id, tags);
    tx.put(acl.clone());
    Ok(acl)
}

pub fn delete(tx: &mut Tx, scope: &Scope, id: &NetworkAclId) -> Result<(), Refusal> {
    let acl = get(tx.snapshot(), scope, id)?;
    if acl.is_default {
        return Err(Refusal::DefaultAcl {
            network_acl_id: id.to_string(),
        });
    }
    if !acl.associations.is_empty() {
        return Err(Refusal::has_dependents("network ACL", id));
    }
    tx.delete::<NetworkAcl>(scope, id);
    Ok(())
}

fn checked(new: NewEntry) -> Result<NetworkAclEntry, Refusal> {
    let number = checked_number(new.number)?;
    let NewEntry {
        egress,
        allow,
        traffic,
        cidr_block,
        ..
    } = new;
    Ok(NetworkAclEntry {
        number,
        egress,
        allow,
        traffic,
        cidr_block,
    })
}

fn checked_number(number: i32) -> Result<u16, Refusal> {
    match u16::try_from(number) {
        Ok(fits @ 1..=32766) => Ok(fits),
        _ => Err(Refusal::parameter(
            "ruleNumber",
            number,
            "The rule number must be between 1 and 32766.",
        )),
    }
}

fn position(acl: &NetworkAcl, egress: bool, number: u16) -> Option<usize> {
    acl.entries
        .iter()
        .position(|entry| entry.egress == egress && entry.number == number)
}

pub fn create_entry(
    tx: &mut Tx,
    scope: &Scope,
    id: &NetworkAclId,
    new: NewEntry,
) -> Result<(), Refusal> {
    let acl = get(tx.snapshot(), scope, id)?;
    let entry = checked(new)?;
    if position(acl, entry.egress, entry.number).is_some() {
        return Err(Refusal::AclEntryExists {
            number: entry.number.into(),
        });
    }
    if acl
        .entries
        .iter()
        .filter(|other| {
            other.egress == entry.egress && other.cidr_block.is_ipv4() == entry.cidr_block.is_ipv4()
        })
        .count()
        >= Quotas::of(tx.config()).acl_entries_per_direction
    {
        return Err(Refusal::AclEntryLimit);
    }
    tx.update::<NetworkAcl>(scope, id, |acl| acl.entries.push(entry));
    Ok(())
}

pub fn replace_entry(
    tx: &mut Tx,
    scope: &Scope,
    id: &NetworkAclId,
    new: NewEntry,
) -> Result<(), Refusal> {
    let acl = get(tx.snapshot(), scope, id)?;
    let entry = checked(new)?;
    let at = position(acl, entry.egress, entry.number);
    let at = at.ok_or(Refusal::AclEntryNotFound {
        number: entry.number.into(),
    })?;
    tx.update::<NetworkAcl>(scope, id, |acl| acl.entries[at] = entry);
    Ok(())
}

pub fn delete_entry(
    tx: &mut Tx,
    scope: &Scope,
    id: &NetworkAclId,
    egress: bool,
    number: i32,
) -> Result<(), Refusal> {
    let acl = get(tx.snapshot(), scope, id)?;
    let at = checked_number(number)
        .ok()
        .and_then(|number| position(acl, egress, number));
    let at = at.ok_or(Refusal::AclEntryNotFound { number })?;
    tx.update::<NetworkAcl>(scope, id, |acl| {
        acl.entries.remove(at);
    });
    Ok(())
}

/// Moves a subnet to another ACL; answers the association's new id (fact ACL-6).
pub fn replace_association(
    tx: &mut Tx,
    scope: &Scope,
    id: &NetworkAclAssociationId,
    acl_id: &NetworkAclId,
) -> Result<NetworkAclAssociationId, Refusal> {
    let snapshot = tx.snapshot();
    let (from, subnet_id) = snapshot
        .network_acls
        .in_scope(scope)
        .find_map(|acl| {
            Some((
                acl,
                acl.associations
                    .iter()
                    .find(|a| a.association_id == *id)?
                    .subnet_id
                    .clone(),
            ))
        })
        .ok_or_else(|| Refusal::not_found(ResourceKind::NetworkAclAssociation, id))?;
    let to = get(snapshot, scope, acl_id)?;
    if from.vpc_id != to.vpc_id {
        let (one, other) = (
            format!("network ACL {acl_id}"),
            format!("subnet {subnet_id}"),
        );
        return Err(Refusal::DifferentNetworks { one, other });
    }
    let from_id = from.network_acl_id.clone();
    tx.update::<NetworkAcl>(scope, &from_id, |acl| {
        acl.associations.retain(|a| a.association_id != *id)
    });
    let association_id = NetworkAclAssociationId::from_bits(tx.random());
    let association = NetworkAclAssociation {
        association_id: association_id.clone(),
        subnet_id,
    };
    tx.update::<NetworkAcl>(scope, acl_id, |acl| acl.associations.push(association));
    Ok(association_id)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::Refused;

    fn stage() -> (Tx, Vpc, NetworkAclId) {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let acl = create(&mut tx, &scope(), &vpc.vpc_id, Tags::new(), None).unwrap();
        (tx, vpc, acl.network_acl_id)
    }

    fn entry(number: i32, egress: bool) -> NewEntry {
        NewEntry {
            number,
            egress,
            allow: true,
            traffic: Traffic::All,
            cidr_block: Ipv4Cidr::ANY.into(),
        }
    }

    fn entry_v6(number: i32, egress: bool) -> NewEntry {
        NewEntry {
            cidr_block: Ipv6Cidr::ANY.into(),
            ..entry(number, egress)
        }
    }

    #[test]
    fn the_families_share_numbers_and_count_on_their_own() {
        let (mut tx, _, id) = stage();
        create_entry(&mut tx, &scope(), &id, entry(1, true)).unwrap();
        assert_eq!(
            create_entry(&mut tx, &scope(), &id, entry_v6(1, true)),
            Err(Refusal::AclEntryExists { number: 1 })
        );
        for number in 101..=120 {
            create_entry(&mut tx, &scope(), &id, entry_v6(number, true)).unwrap();
        }
        assert_eq!(
            create_entry(&mut tx, &scope(), &id, entry_v6(121, true)),
            Err(Refusal::AclEntryLimit)
        );
        create_entry(&mut tx, &scope(), &id, entry(122, true)).unwrap();
    }

    #[test]
    fn numbers_are_unique_by_direction_and_in_range() {
        let (mut tx, _, id) = stage();
        create_entry(&mut tx, &scope(), &id, entry(100, true)).unwrap();
        create_entry(&mut tx, &scope(), &id, entry(100, false)).unwrap();
        let refusal = create_entry(&mut tx, &scope(), &id, entry(100, true)).unwrap_err();
        assert_eq!(refusal.code(), "NetworkAclEntryAlreadyExists");
        for number in [0, -1, 32767, 65636, i32::MAX] {
            let refusal = create_entry(&mut tx, &scope(), &id, entry(number, true)).unwrap_err();
            assert_eq!(refusal.code(), "InvalidParameterValue", "{number}");
        }
    }

    #[test]
    fn only_entries_that_are_there_are_replaced_or_deleted() {
        let (mut tx, _, id) = stage();
        create_entry(&mut tx, &scope(), &id, entry(100, true)).unwrap();
        let deny = NewEntry {
            allow: false,
            ..entry(100, true)
        };
        replace_entry(&mut tx, &scope(), &id, deny).unwrap();
        assert!(!get(tx.snapshot(), &scope(), &id).unwrap().entries[0].allow);
        let absent = replace_entry(&mut tx, &scope(), &id, entry(101, true)).unwrap_err();
        assert_eq!(absent.code(), "InvalidNetworkAclEntry.NotFound");
        for (egress, number) in [
            (false, 100),
            (true, 101),
            (true, LAST_ENTRY),
            (true, 100 + 65536),
        ] {
            let absent = delete_entry(&mut tx, &scope(), &id, egress, number).unwrap_err();
            assert_eq!(
                absent.code(),
                "InvalidNetworkAclEntry.NotFound",
                "{egress} {number}"
            );
        }
        delete_entry(&mut tx, &scope(), &id, true, 100).unwrap();
    }

    #[test]
    fn the_twenty_first_entry_is_refused() {
        let (mut tx, _, id) = stage();
        for number in 1..=20 {
            create_entry(&mut tx, &scope(), &id, entry(number, false)).unwrap();
        }
        assert_eq!(
            create_entry(&mut tx, &scope(), &id, entry(21, false)),
            Err(Refusal::AclEntryLimit)
        );
        create_entry(&mut tx, &scope(), &id, entry(21, true)).unwrap();
    }

    #[test]
    fn subnets_move_and_acls_in_use_stay() {
        let (mut tx, vpc, id) = stage();
        let subnet = subnet(&mut tx, &vpc, "10.0.0.0/24");
        let default = tx.snapshot().network_acl_of(&subnet).unwrap().clone();
        assert!(default.is_default && default.associations.len() == 1);
        let old = default.associations[0].association_id.clone();
        let new = replace_association(&mut tx, &scope(), &old, &id).unwrap();
        assert_ne!(old, new);
        assert_eq!(
            tx.snapshot()
                .network_acl_of(&subnet)
                .unwrap()
                .network_acl_id,
            id
        );
        assert_eq!(
            delete(&mut tx, &scope(), &id),
            Err(Refusal::has_dependents("network ACL", &id))
        );
        let gone = replace_association(&mut tx, &scope(), &old, &id).unwrap_err();
        assert_eq!(gone.code(), "InvalidAssociationID.NotFound");
        replace_association(&mut tx, &scope(), &new, &default.network_acl_id).unwrap();
        delete(&mut tx, &scope(), &id).unwrap();
        let refusal = delete(&mut tx, &scope(), &default.network_acl_id).unwrap_err();
        assert_eq!(refusal.code(), "InvalidParameterValue");
    }

    #[test]
    fn an_acl_of_another_vpc_is_refused() {
        let (mut tx, vpc, _) = stage();
        let subnet = subnet(&mut tx, &vpc, "10.0.0.0/24");
        let association = tx.snapshot().network_acl_of(&subnet).unwrap().associations[0]
            .association_id
            .clone();
        let other = super::super::vpcs::create(&mut tx, &scope(), new_vpc("10.1.0.0/16")).unwrap();
        let foreign = create(&mut tx, &scope(), &other.vpc_id, Tags::new(), None).unwrap();
        let refusal = replace_association(&mut tx, &scope(), &association, &foreign.network_acl_id)
            .unwrap_err();
        assert_eq!(refusal.code(), "InvalidParameterValue");
    }
}
