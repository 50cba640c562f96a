//! Network interfaces: who has which private address.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-eni.html>
//!
//! Tasks, load balancers and NAT gateways get theirs here too; only the caller's own can the caller change or delete.

use super::{Quotas, Refusal, ResourceKind, addresses, eni_addresses, security_groups, subnets};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::*;
use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct NewEni {
    pub subnet_id: SubnetId,
    /// None for the VPC's default group; a NAT gateway has none at all.
    pub groups: Vec<SecurityGroupId>,
    pub description: String,
    pub owner: EniOwner,
    /// `None` = any free one.
    pub private_ip: Option<Ipv4Addr>,
    pub assign_public_ip: bool,
    pub source_dest_check: bool,
    pub host: Option<String>,
}

/// A change of one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EniAttribute {
    Description(String),
    SourceDestCheck(bool),
    /// The full set (fact EIP-9).
    Groups(Vec<SecurityGroupId>),
    ConnectionTracking(ConnectionTracking),
}

/// The IPv6 addresses that an interface starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ipv6Choice {
    /// As its subnet and its user have it.
    Usual,
    Any(usize),
    These(Vec<Ipv6Addr>),
}

pub fn get<'a>(snapshot: &'a Snapshot, scope: &Scope, id: &EniId) -> Result<&'a Arc<Eni>, Refusal> {
    snapshot
        .enis
        .get(scope, id)
        .ok_or_else(|| Refusal::not_found(ResourceKind::NetworkInterface, id))
}

/// One that the caller made; what services made is not the caller's to change (fact EIP-7).
pub fn get_own<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &EniId,
) -> Result<&'a Arc<Eni>, Refusal> {
    let eni = get(snapshot, scope, id)?;
    if eni.owner == EniOwner::Caller {
        Ok(eni)
    } else {
        Err(Refusal::NotPermitted)
    }
}

pub fn create(tx: &mut Tx, scope: &Scope, new: NewEni) -> Result<Eni, Refusal> {
    let eni_id = EniId::from_bits(tx.random());
    create_as(tx, scope, eni_id, new, Ipv6Choice::Usual)
}

/// With an id that was made before.
pub fn create_as(
    tx: &mut Tx,
    scope: &Scope,
    eni_id: EniId,
    new: NewEni,
    ipv6: Ipv6Choice,
) -> Result<Eni, Refusal> {
    let subnet = subnets::get(tx.snapshot(), scope, &new.subnet_id)?.clone();
    let quotas = Quotas::of(tx.config());
    if tx.snapshot().enis.in_scope(scope).count() >= quotas.interfaces {
        return Err(Refusal::InterfaceLimit);
    }
    let groups = match &new.owner {
        EniOwner::NatGateway(_) => Vec::new(),
        _ => checked_groups(tx, scope, &subnet, new.groups)?,
    };
    let private_ip = match new.private_ip {
        Some(wanted) => eni_addresses::checked(tx.snapshot(), &subnet, wanted)?,
        None => eni_addresses::free(tx, &subnet)?,
    };
    let ipv6_addresses = match ipv6 {
        Ipv6Choice::Usual if has_usual_ipv6(&subnet, &new.owner) => {
            eni_addresses::choose_ipv6(tx, &subnet, &[], 1)?
        }
        Ipv6Choice::Usual => Vec::new(),
        Ipv6Choice::Any(count) => eni_addresses::choose_ipv6(tx, &subnet, &[], count)?,
        Ipv6Choice::These(named) => eni_addresses::choose_ipv6(tx, &subnet, &named, 0)?,
    };
    let auto_public_ip = if new.assign_public_ip {
        Some(addresses::take_public(tx)?)
    } else {
        None
    };
    let [_, _, _, random] = (tx.random() as u32).to_be_bytes();
    let [a, b, c, d] = private_ip.octets();
    let attached = new.host.is_some() || new.owner != EniOwner::Caller;
    let eni = Eni {
        scope: scope.clone(),
        eni_id,
        vpc_id: subnet.vpc_id.clone(),
        subnet_id: subnet.subnet_id.clone(),
        zone: subnet.zone.clone(),
        // Locally administered; the private address in it keeps it unique in the VPC.
        mac: MacAddr([0x0a, random, a, b, c, d]),
        private_ip,
        secondary_ips: Vec::new(),
        ipv6_addresses,
        auto_public_ip,
        groups,
        description: new.description,
        source_dest_check: new.source_dest_check,
        owner: new.owner,
        host: new.host,
        attachment_id: attached.then(|| EniAttachmentId::from_bits(tx.random())),
        connection_tracking: ConnectionTracking::default(),
        service_connect: false,
        created_at: tx.now(),
        tags: Tags::new(),
    };
    tx.put(eni.clone());
    Ok(eni)
}

/// Whether an interface has an IPv6 address without being asked: a task always where there are any (the account
/// setting dualStackIPv6 is on for all), the caller's own as the subnet says.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-task-networking.html>
fn has_usual_ipv6(subnet: &Subnet, owner: &EniOwner) -> bool {
    subnet.ipv6_block().is_some()
        && match owner {
            EniOwner::Task(_) => true,
            EniOwner::Caller => subnet.assign_ipv6_address_on_creation,
            EniOwner::LoadBalancer(_) | EniOwner::NatGateway(_) | EniOwner::VpcEndpoint(_) => false,
        }
}

/// 1 to 5 groups of the subnet's VPC; the default one if none is named (fact EIP-5).
fn checked_groups(
    tx: &Tx,
    scope: &Scope,
    subnet: &Subnet,
    mut groups: Vec<SecurityGroupId>,
) -> Result<Vec<SecurityGroupId>, Refusal> {
    let snapshot = tx.snapshot();
    if groups.is_empty() {
        groups.extend(
            security_groups::default_of(snapshot, scope, &subnet.vpc_id)
                .map(|g| g.group_id.clone()),
        );
    }
    let mut seen = HashSet::new();
    groups.retain(|id| seen.insert(id.clone()));
    for id in &groups {
        if security_groups::get(snapshot, scope, id)?.vpc_id != subnet.vpc_id {
            let (group_id, subnet_id) = (id.to_string(), subnet.subnet_id.to_string());
            return Err(Refusal::GroupOfOtherNetwork {
                group_id,
                subnet_id,
            });
        }
    }
    if groups.len() > Quotas::of(tx.config()).groups_per_interface {
        return Err(Refusal::GroupsPerInterface);
    }
    Ok(groups)
}

/// Changes one attribute of a caller's own interface.
pub fn modify(
    tx: &mut Tx,
    scope: &Scope,
    id: &EniId,
    attribute: EniAttribute,
) -> Result<(), Refusal> {
    get_own(tx.snapshot(), scope, id)?;
    match attribute {
        EniAttribute::Description(text) => {
            check_description(&text)?;
            tx.update::<Eni>(scope, id, |eni| eni.description = text);
        }
        EniAttribute::SourceDestCheck(on) => {
            tx.update::<Eni>(scope, id, |eni| eni.source_dest_check = on);
        }
        EniAttribute::Groups(groups) => set_groups(tx, scope, id, groups)?,
        EniAttribute::ConnectionTracking(timeouts) => {
            check_tracking(timeouts)?;
            tx.update::<Eni>(scope, id, |eni| eni.connection_tracking = timeouts);
        }
    }
    Ok(())
}

/// Replaces the groups of any interface; an empty set is refused.
pub fn set_groups(
    tx: &mut Tx,
    scope: &Scope,
    id: &EniId,
    groups: Vec<SecurityGroupId>,
) -> Result<(), Refusal> {
    if groups.is_empty() {
        return Err(Refusal::MissingParameter { name: "groupId" });
    }
    let eni = get(tx.snapshot(), scope, id)?;
    let subnet = subnets::get(tx.snapshot(), scope, &eni.subnet_id)?;
    let groups = checked_groups(tx, scope, subnet, groups)?;
    tx.update::<Eni>(scope, id, |eni| eni.groups = groups);
    Ok(())
}

/// The ranges of idle timeouts (fact SG-13).
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html>
pub fn check_tracking(timeouts: ConnectionTracking) -> Result<(), Refusal> {
    let limits = [
        (
            "tcpEstablishedTimeout",
            timeouts.tcp_established_timeout_s,
            60..=432_000,
        ),
        ("udpStreamTimeout", timeouts.udp_stream_timeout_s, 60..=180),
        ("udpTimeout", timeouts.udp_timeout_s, 30..=60),
    ];
    for (name, value, range) in limits {
        if let Some(value) = value.filter(|value| !range.contains(value)) {
            let why = format!("It must be from {} to {}.", range.start(), range.end());
            return Err(Refusal::parameter(name, value, &why));
        }
    }
    Ok(())
}

/// At most 255 characters.
pub fn check_description(text: &str) -> Result<(), Refusal> {
    if text.chars().count() > 255 {
        return Err(Refusal::parameter(
            "description",
            text,
            "Character count must not exceed 255.",
        ));
    }
    Ok(())
}

/// DeleteNetworkInterface: only one that nothing uses (fact EIP-8).
pub fn delete_by_caller(tx: &mut Tx, scope: &Scope, id: &EniId) -> Result<(), Refusal> {
    let eni = get(tx.snapshot(), scope, id)?;
    if eni.attachment_id.is_some() {
        return Err(Refusal::InterfaceInUse {
            eni_id: id.to_string(),
        });
    }
    delete(tx, scope, id);
    Ok(())
}

/// Deletes an interface and frees its addresses; Elastic IPs stay allocated. False if there was none.
pub fn delete(tx: &mut Tx, scope: &Scope, id: &EniId) -> bool {
    let bound: Vec<_> = tx
        .snapshot()
        .elastic_ips
        .in_scope(scope)
        .filter(|row| row.association.as_ref().is_some_and(|a| a.eni_id == *id))
        .map(|row| row.allocation_id.clone())
        .collect();
    for allocation_id in bound {
        addresses::clear(tx, scope, &allocation_id);
    }
    tx.delete::<Eni>(scope, id)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{subnet_blocks, vpc_blocks, vpcs};
    use super::*;
    use crate::model::Refused;

    fn small() -> (Tx, Vpc, Subnet) {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let subnet = subnet(&mut tx, &vpc, "10.0.0.16/28");
        (tx, vpc, subnet)
    }

    #[test]
    fn a_subnet_gives_every_address_once_and_then_none() {
        let (mut tx, _, subnet) = small();
        let mut seen = HashSet::new();
        for _ in 0..11 {
            let eni = interface(&mut tx, &subnet);
            assert!(!subnet.is_reserved(eni.private_ip) && seen.insert(eni.private_ip));
        }
        let refusal = create(&mut tx, &scope(), new_interface(&subnet.subnet_id)).unwrap_err();
        assert_eq!(refusal.code(), "InsufficientFreeAddressesInSubnet");
    }

    #[test]
    fn a_chosen_address_must_be_free_and_the_subnets() {
        let (mut tx, _, subnet) = small();
        let mut wanted = |address: [u8; 4]| {
            let new = NewEni {
                private_ip: Some(address.into()),
                ..new_interface(&subnet.subnet_id)
            };
            create(&mut tx, &scope(), new)
                .map(|eni| eni.private_ip)
                .map_err(|refusal| refusal.code())
        };
        assert_eq!(wanted([10, 0, 0, 20]), Ok([10, 0, 0, 20].into()));
        assert_eq!(wanted([10, 0, 0, 20]), Err("InvalidIPAddress.InUse"));
        assert_eq!(wanted([10, 0, 0, 40]), Err("InvalidParameterValue"));
        for reserved in [16, 17, 18, 19, 31] {
            assert_eq!(wanted([10, 0, 0, reserved]), Err("InvalidParameterValue"));
        }
    }

    #[test]
    fn groups_are_the_vpcs_and_at_most_five() {
        let (mut tx, vpc, subnet) = small();
        let default = security_groups::default_of(tx.snapshot(), &scope(), &vpc.vpc_id)
            .unwrap()
            .group_id
            .clone();
        assert_eq!(interface(&mut tx, &subnet).groups, [default]);
        let groups: Vec<_> = (0..6)
            .map(|n| group(&mut tx, &vpc, &format!("g{n}")).group_id)
            .collect();
        let new = NewEni {
            groups: groups.clone(),
            ..new_interface(&subnet.subnet_id)
        };
        assert_eq!(
            create(&mut tx, &scope(), new),
            Err(Refusal::GroupsPerInterface)
        );
        let other = vpcs::create(&mut tx, &scope(), new_vpc("10.1.0.0/16")).unwrap();
        let foreign = group(&mut tx, &other, "foreign").group_id;
        let new = NewEni {
            groups: vec![foreign],
            ..new_interface(&subnet.subnet_id)
        };
        assert_eq!(
            create(&mut tx, &scope(), new).unwrap_err().code(),
            "InvalidParameter"
        );
        let unknown = SecurityGroupId::from_bits(7);
        let new = NewEni {
            groups: vec![unknown],
            ..new_interface(&subnet.subnet_id)
        };
        assert_eq!(
            create(&mut tx, &scope(), new).unwrap_err().code(),
            "InvalidGroup.NotFound"
        );
        let twice = vec![groups[0].clone(), groups[0].clone()];
        let new = NewEni {
            groups: twice,
            ..new_interface(&subnet.subnet_id)
        };
        assert_eq!(create(&mut tx, &scope(), new).unwrap().groups, groups[..1]);
    }

    #[test]
    fn only_the_callers_own_is_changed_or_deleted_by_the_caller() {
        let (mut tx, _, subnet) = small();
        let owner = EniOwner::Task("arn:aws:ecs:us-east-1:000000000000:task/main/1".to_owned());
        let new = NewEni {
            owner,
            host: Some("host-1".to_owned()),
            ..new_interface(&subnet.subnet_id)
        };
        let managed = create(&mut tx, &scope(), new).unwrap();
        assert!(managed.attachment_id.is_some());
        assert_eq!(
            delete_by_caller(&mut tx, &scope(), &managed.eni_id),
            Err(Refusal::InterfaceInUse {
                eni_id: managed.eni_id.to_string()
            })
        );
        let change = EniAttribute::SourceDestCheck(false);
        assert_eq!(
            modify(&mut tx, &scope(), &managed.eni_id, change.clone()),
            Err(Refusal::NotPermitted)
        );
        let own = interface(&mut tx, &subnet);
        modify(&mut tx, &scope(), &own.eni_id, change).unwrap();
        assert!(
            !get(tx.snapshot(), &scope(), &own.eni_id)
                .unwrap()
                .source_dest_check
        );
        let empty = EniAttribute::Groups(Vec::new());
        assert_eq!(
            modify(&mut tx, &scope(), &own.eni_id, empty)
                .unwrap_err()
                .code(),
            "MissingParameter"
        );
        delete_by_caller(&mut tx, &scope(), &own.eni_id).unwrap();
        assert_eq!(
            delete_by_caller(&mut tx, &scope(), &own.eni_id)
                .unwrap_err()
                .code(),
            "InvalidNetworkInterfaceID.NotFound"
        );
    }

    #[test]
    fn deletion_frees_the_elastic_ip_but_keeps_it() {
        let (mut tx, vpc, subnet) = small();
        gateway(&mut tx, &vpc);
        let eni = interface(&mut tx, &subnet);
        let eip = addresses::allocate(&mut tx, &scope(), Tags::new())
            .unwrap()
            .allocation_id;
        addresses::associate(&mut tx, &scope(), &eip, &eni.eni_id, None, true).unwrap();
        assert!(delete(&mut tx, &scope(), &eni.eni_id));
        assert!(!delete(&mut tx, &scope(), &eni.eni_id));
        assert_eq!(
            addresses::get(tx.snapshot(), &scope(), &eip)
                .unwrap()
                .association,
            None
        );
    }

    #[test]
    fn ipv6_comes_as_the_subnet_and_the_user_have_it() {
        let (mut tx, vpc, subnet) = small();
        let task = || NewEni {
            owner: EniOwner::Task("arn".to_owned()),
            ..new_interface(&subnet.subnet_id)
        };
        let count = |tx: &mut Tx, new| create(tx, &scope(), new).unwrap().ipv6_addresses.len();
        assert_eq!(count(&mut tx, task()), 0);
        let block = vpc_blocks::associate_ipv6(&mut tx, &scope(), &vpc.vpc_id).unwrap();
        let block = block.cidr_block.subnet(64, 3).unwrap();
        subnet_blocks::associate(&mut tx, &scope(), &subnet.subnet_id, block).unwrap();
        assert_eq!(count(&mut tx, task()), 1);
        assert_eq!(count(&mut tx, new_interface(&subnet.subnet_id)), 0);
        let on = subnets::SubnetAttribute::AssignIpv6AddressOnCreation(true);
        subnets::modify(&mut tx, &scope(), &subnet.subnet_id, on).unwrap();
        assert_eq!(count(&mut tx, new_interface(&subnet.subnet_id)), 1);
        let balancer = NewEni {
            owner: EniOwner::LoadBalancer("arn".to_owned()),
            ..new_interface(&subnet.subnet_id)
        };
        assert_eq!(count(&mut tx, balancer), 0);
        let none = Ipv6Choice::Any(0);
        let new = new_interface(&subnet.subnet_id);
        let eni = create_as(&mut tx, &scope(), EniId::from_bits(9), new, none).unwrap();
        assert!(eni.ipv6_addresses.is_empty());
    }

    #[test]
    fn idle_timeouts_keep_to_their_ranges() {
        let (mut tx, _, subnet) = small();
        let id = interface(&mut tx, &subnet).eni_id;
        let good = ConnectionTracking {
            tcp_established_timeout_s: Some(60),
            udp_stream_timeout_s: Some(180),
            udp_timeout_s: None,
        };
        let bad = ConnectionTracking {
            udp_timeout_s: Some(61),
            ..good
        };
        let mut set = |timeouts| {
            modify(
                &mut tx,
                &scope(),
                &id,
                EniAttribute::ConnectionTracking(timeouts),
            )
        };
        assert_eq!(set(bad).unwrap_err().code(), "InvalidParameterValue");
        set(good).unwrap();
        assert_eq!(
            get(tx.snapshot(), &scope(), &id)
                .unwrap()
                .connection_tracking,
            good
        );
    }
}
