//! Elastic IPs, and the pool that every public address comes from.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/elastic-ip-addresses-eip.html>

use super::{Quotas, Refusal, ResourceKind, enis};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::*;
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Addresses at either end of the pool that nobody gets: the edge uses some of them.
const POOL_MARGIN: u64 = 16;

/// One of this many lowest free addresses is drawn. Low ones are easy to read; a draw keeps one that was just freed,
/// and that others may still hold in their tables, from coming back at once.
const DRAW: usize = 256;

/// A public address that nobody of any account or region has.
pub fn take_public(tx: &mut Tx) -> Result<Ipv4Addr, Refusal> {
    let pool = tx.config().public_cidr;
    let used = public_in_use(tx.snapshot());
    let last = pool.size().saturating_sub(POOL_MARGIN);
    let free: Vec<_> = (POOL_MARGIN..last)
        .filter_map(|n| pool.nth(n))
        .filter(|address| !used.contains(address))
        .take(DRAW)
        .collect();
    if free.is_empty() {
        return Err(Refusal::PublicPoolEmpty);
    }
    let drawn = (tx.random() % free.len() as u128) as usize;
    Ok(free[drawn])
}

fn public_in_use(snapshot: &Snapshot) -> HashSet<Ipv4Addr> {
    let elastic = snapshot.elastic_ips.all().map(|row| row.public_ip);
    elastic
        .chain(snapshot.enis.all().filter_map(|eni| eni.auto_public_ip))
        .collect()
}

pub fn get<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &AllocationId,
) -> Result<&'a Arc<ElasticIp>, Refusal> {
    snapshot
        .elastic_ips
        .get(scope, id)
        .ok_or_else(|| Refusal::not_found(ResourceKind::Allocation, id))
}

/// The Elastic IP with that address.
pub fn by_public_ip<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    text: &str,
) -> Result<&'a Arc<ElasticIp>, Refusal> {
    let found = text.parse().ok().and_then(|address: Ipv4Addr| {
        snapshot
            .elastic_ips
            .in_scope(scope)
            .find(|row| row.public_ip == address)
    });
    found.ok_or_else(|| Refusal::AddressNotFound {
        public_ip: text.to_owned(),
    })
}

pub fn by_association<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &AddressAssociationId,
) -> Result<&'a Arc<ElasticIp>, Refusal> {
    snapshot
        .elastic_ips
        .in_scope(scope)
        .find(|row| {
            row.association
                .as_ref()
                .is_some_and(|a| a.association_id == *id)
        })
        .ok_or_else(|| Refusal::not_found(ResourceKind::AddressAssociation, id))
}

pub fn allocate(tx: &mut Tx, scope: &Scope, tags: Tags) -> Result<ElasticIp, Refusal> {
    if tx.snapshot().elastic_ips.in_scope(scope).count() >= Quotas::of(tx.config()).elastic_ips {
        return Err(Refusal::AddressLimit);
    }
    let row = ElasticIp {
        scope: scope.clone(),
        public_ip: take_public(tx)?,
        allocation_id: AllocationId::from_bits(tx.random()),
        association: None,
        ptr_record: None,
        created_at: tx.now(),
        tags,
    };
    tx.put(row.clone());
    Ok(row)
}

/// Gives an Elastic IP to a private address of a caller's interface; answers the association's id (facts EIP-2, EIP-4).
pub fn associate(
    tx: &mut Tx,
    scope: &Scope,
    allocation_id: &AllocationId,
    eni_id: &EniId,
    private_ip: Option<Ipv4Addr>,
    allow_reassociation: bool,
) -> Result<AddressAssociationId, Refusal> {
    let address = get(tx.snapshot(), scope, allocation_id)?.clone();
    let eni = enis::get(tx.snapshot(), scope, eni_id)?.clone();
    if eni.owner != EniOwner::Caller {
        return Err(Refusal::NotPermitted);
    }
    let private_ip = private_ip.unwrap_or(eni.private_ip);
    if !eni.addresses().any(|own| own == private_ip) {
        return Err(Refusal::parameter(
            "privateIpAddress",
            private_ip,
            "It is not an address of the interface.",
        ));
    }
    if !has_gateway(tx.snapshot(), scope, &eni.vpc_id) {
        return Err(Refusal::NetworkWithoutGateway {
            vpc_id: eni.vpc_id.to_string(),
        });
    }
    if let Some(now) = &address.association {
        if now.eni_id == *eni_id && now.private_ip == private_ip {
            return Ok(now.association_id.clone());
        }
        refuse_managed(tx.snapshot(), scope, now)?;
        if !allow_reassociation {
            let association_id = now.association_id.to_string();
            return Err(Refusal::AddressAssociated {
                id: allocation_id.to_string(),
                association_id,
            });
        }
    }
    let rival = tx.snapshot().elastic_ips.in_scope(scope).find_map(|row| {
        let now = row
            .association
            .as_ref()
            .filter(|a| a.eni_id == *eni_id && a.private_ip == private_ip)?;
        Some((row.allocation_id.clone(), now.association_id.clone()))
    });
    if let Some((rival_id, association_id)) = rival {
        if !allow_reassociation {
            let association_id = association_id.to_string();
            return Err(Refusal::AddressAssociated {
                id: eni_id.to_string(),
                association_id,
            });
        }
        clear(tx, scope, &rival_id);
    }
    Ok(bind(tx, scope, allocation_id, &eni, private_ip))
}

/// Writes the association; the caller has checked that it may be.
pub(super) fn bind(
    tx: &mut Tx,
    scope: &Scope,
    allocation_id: &AllocationId,
    eni: &Eni,
    private_ip: Ipv4Addr,
) -> AddressAssociationId {
    let association_id = AddressAssociationId::from_bits(tx.random());
    let association = AddressAssociation {
        association_id: association_id.clone(),
        eni_id: eni.eni_id.clone(),
        private_ip,
    };
    tx.update::<ElasticIp>(scope, allocation_id, |row| {
        row.association = Some(association)
    });
    if private_ip == eni.private_ip && eni.auto_public_ip.is_some() {
        // The assigned address is lost and does not come back (fact EIP-4).
        tx.update::<Eni>(scope, &eni.eni_id, |eni| eni.auto_public_ip = None);
    }
    association_id
}

/// Takes the address off whatever has it.
pub(super) fn clear(tx: &mut Tx, scope: &Scope, allocation_id: &AllocationId) {
    tx.update::<ElasticIp>(scope, allocation_id, |row| row.association = None);
}

pub(super) fn has_gateway(snapshot: &Snapshot, scope: &Scope, vpc_id: &VpcId) -> bool {
    snapshot
        .internet_gateways
        .in_scope(scope)
        .any(|row| row.attached_vpc.as_ref() == Some(vpc_id))
}

/// What a NAT gateway or load balancer holds is not the caller's to move (fact EIP-3).
fn refuse_managed(
    snapshot: &Snapshot,
    scope: &Scope,
    association: &AddressAssociation,
) -> Result<(), Refusal> {
    match snapshot.enis.get(scope, &association.eni_id) {
        Some(eni) if eni.owner != EniOwner::Caller => Err(Refusal::NotPermitted),
        _ => Ok(()),
    }
}

pub fn disassociate(
    tx: &mut Tx,
    scope: &Scope,
    allocation_id: &AllocationId,
) -> Result<(), Refusal> {
    let address = get(tx.snapshot(), scope, allocation_id)?;
    // Taking off what is not on is no error.
    let Some(association) = &address.association else {
        return Ok(());
    };
    refuse_managed(tx.snapshot(), scope, association)?;
    clear(tx, scope, allocation_id);
    Ok(())
}

/// Sets or takes away the name that a reverse look-up gives.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Elastic_Addressing_Reverse_DNS.html>
pub fn set_name(
    tx: &mut Tx,
    scope: &Scope,
    allocation_id: &AllocationId,
    name: Option<&str>,
) -> Result<ElasticIp, Refusal> {
    get(tx.snapshot(), scope, allocation_id)?;
    let name = name.map(checked_name).transpose()?;
    tx.update::<ElasticIp>(scope, allocation_id, |row| row.ptr_record = name);
    Ok(ElasticIp::clone(get(tx.snapshot(), scope, allocation_id)?))
}

/// A host name of at least two labels, with its last dot.
fn checked_name(name: &str) -> Result<String, Refusal> {
    let bare = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if bare.len() > 253 || !bare.contains('.') || !bare.split('.').all(is_label) {
        return Err(Refusal::parameter("domainName", name, ""));
    }
    Ok(format!("{bare}."))
}

/// Whether releasing the address takes it off: so it is in a default VPC (fact EIP-2).
fn comes_off_by_itself(
    snapshot: &Snapshot,
    scope: &Scope,
    association: &AddressAssociation,
) -> bool {
    let eni = snapshot.enis.get(scope, &association.eni_id);
    eni.filter(|eni| eni.owner == EniOwner::Caller)
        .and_then(|eni| snapshot.vpcs.get(scope, &eni.vpc_id))
        .is_some_and(|vpc| vpc.is_default)
}

pub fn release(tx: &mut Tx, scope: &Scope, allocation_id: &AllocationId) -> Result<(), Refusal> {
    let address = get(tx.snapshot(), scope, allocation_id)?;
    let association = address.association.as_ref();
    if association.is_some_and(|a| !comes_off_by_itself(tx.snapshot(), scope, a)) {
        return Err(Refusal::AddressInUse {
            public_ip: address.public_ip,
        });
    }
    tx.delete::<ElasticIp>(scope, allocation_id);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::default_vpc;
    use super::super::testing::*;
    use super::*;
    use crate::model::Refused;

    struct Stage {
        tx: Tx,
        vpc: Vpc,
        eni: Eni,
    }

    fn stage() -> Stage {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        gateway(&mut tx, &vpc);
        let subnet = subnet(&mut tx, &vpc, "10.0.0.0/24");
        let eni = interface(&mut tx, &subnet);
        Stage { tx, vpc, eni }
    }

    #[test]
    fn public_addresses_are_unique_and_from_the_pool() {
        let mut tx = Tx::for_test();
        let pool = tx.config().public_cidr;
        let mut seen = HashSet::new();
        for account in 0..100 {
            let scope = Scope::new(format!("{account:012}"), "us-east-1");
            for _ in 0..Quotas::of(tx.config()).elastic_ips {
                let address = allocate(&mut tx, &scope, Tags::new()).unwrap().public_ip;
                assert!(pool.contains(address) && seen.insert(address), "{address}");
            }
            assert_eq!(
                allocate(&mut tx, &scope, Tags::new()),
                Err(Refusal::AddressLimit)
            );
        }
        let base = pool.base().to_bits();
        assert!(
            seen.iter()
                .all(|a| (16..0xfff0).contains(&(a.to_bits() - base)))
        );
    }

    #[test]
    fn an_empty_pool_is_said_so() {
        let mut config = crate::model::tx::test_config();
        config.public_cidr = "198.18.0.0/27".parse().unwrap();
        let mut tx = Tx::new(Snapshot::default(), Timestamp(0), 1, Arc::new(config));
        assert_eq!(
            allocate(&mut tx, &scope(), Tags::new()),
            Err(Refusal::PublicPoolEmpty)
        );
    }

    #[test]
    fn an_address_moves_unless_told_not_to() {
        let Stage { mut tx, eni, .. } = stage();
        let subnet = tx
            .snapshot()
            .subnets
            .get(&scope(), &eni.subnet_id)
            .unwrap()
            .clone();
        let other = interface(&mut tx, &subnet);
        let eip = allocate(&mut tx, &scope(), Tags::new())
            .unwrap()
            .allocation_id;
        let first = associate(&mut tx, &scope(), &eip, &eni.eni_id, None, true).unwrap();
        assert_eq!(
            associate(&mut tx, &scope(), &eip, &eni.eni_id, None, false).unwrap(),
            first,
            "again is the same"
        );
        let refusal = associate(&mut tx, &scope(), &eip, &other.eni_id, None, false).unwrap_err();
        assert_eq!(refusal.code(), "Resource.AlreadyAssociated");
        let second = associate(&mut tx, &scope(), &eip, &other.eni_id, None, true).unwrap();
        assert_ne!(first, second);
        assert_eq!(tx.snapshot().public_ip(&eni, eni.private_ip), None);

        let newer = allocate(&mut tx, &scope(), Tags::new()).unwrap();
        let refusal = associate(
            &mut tx,
            &scope(),
            &newer.allocation_id,
            &other.eni_id,
            None,
            false,
        )
        .unwrap_err();
        assert_eq!(
            refusal.code(),
            "Resource.AlreadyAssociated",
            "the interface has one already"
        );
        associate(
            &mut tx,
            &scope(),
            &newer.allocation_id,
            &other.eni_id,
            None,
            true,
        )
        .unwrap();
        assert_eq!(
            tx.snapshot().public_ip(&other, other.private_ip),
            Some(newer.public_ip)
        );
        assert_eq!(
            get(tx.snapshot(), &scope(), &eip).unwrap().association,
            None
        );
    }

    #[test]
    fn association_needs_a_gateway_and_an_address_of_the_interface() {
        let Stage { mut tx, vpc, eni } = stage();
        let eip = allocate(&mut tx, &scope(), Tags::new())
            .unwrap()
            .allocation_id;
        let stranger = Some(Ipv4Addr::new(10, 0, 0, 250));
        if eni.private_ip != Ipv4Addr::new(10, 0, 0, 250) {
            let refusal =
                associate(&mut tx, &scope(), &eip, &eni.eni_id, stranger, true).unwrap_err();
            assert_eq!(refusal.code(), "InvalidParameterValue");
        }
        let gateway = tx
            .snapshot()
            .internet_gateways
            .all()
            .next()
            .unwrap()
            .internet_gateway_id
            .clone();
        super::super::internet_gateways::detach(&mut tx, &scope(), &gateway, &vpc.vpc_id).unwrap();
        let refusal = associate(&mut tx, &scope(), &eip, &eni.eni_id, None, true).unwrap_err();
        assert_eq!(refusal.code(), "Gateway.NotAttached");
    }

    #[test]
    fn an_elastic_ip_replaces_the_assigned_address_for_good() {
        let Stage { mut tx, eni, .. } = stage();
        let subnet = eni.subnet_id.clone();
        let mut new = new_interface(&subnet);
        new.assign_public_ip = true;
        let eni = enis::create(&mut tx, &scope(), new).unwrap();
        assert!(eni.auto_public_ip.is_some());
        let eip = allocate(&mut tx, &scope(), Tags::new())
            .unwrap()
            .allocation_id;
        associate(&mut tx, &scope(), &eip, &eni.eni_id, None, true).unwrap();
        disassociate(&mut tx, &scope(), &eip).unwrap();
        let eni = enis::get(tx.snapshot(), &scope(), &eni.eni_id).unwrap();
        assert_eq!(tx.snapshot().public_ip(eni, eni.private_ip), None);
    }

    #[test]
    fn an_address_in_use_is_not_released() {
        let Stage { mut tx, eni, .. } = stage();
        let eip = allocate(&mut tx, &scope(), Tags::new())
            .unwrap()
            .allocation_id;
        associate(&mut tx, &scope(), &eip, &eni.eni_id, None, true).unwrap();
        assert_eq!(
            release(&mut tx, &scope(), &eip).unwrap_err().code(),
            "InvalidIPAddress.InUse"
        );
        disassociate(&mut tx, &scope(), &eip).unwrap();
        disassociate(&mut tx, &scope(), &eip).unwrap();
        release(&mut tx, &scope(), &eip).unwrap();
        assert_eq!(
            release(&mut tx, &scope(), &eip).unwrap_err().code(),
            "InvalidAllocationID.NotFound"
        );
        assert_eq!(
            by_public_ip(tx.snapshot(), &scope(), "1.2.3.4")
                .unwrap_err()
                .code(),
            "InvalidAddress.NotFound"
        );
    }

    #[test]
    fn in_a_default_vpc_a_released_address_comes_off_by_itself() {
        let mut tx = Tx::for_test();
        default_vpc::ensure(&mut tx, &scope());
        let subnet = tx.snapshot().subnets.all().next().unwrap().clone();
        let eni = interface(&mut tx, &subnet);
        let eip = allocate(&mut tx, &scope(), Tags::new())
            .unwrap()
            .allocation_id;
        associate(&mut tx, &scope(), &eip, &eni.eni_id, None, true).unwrap();
        release(&mut tx, &scope(), &eip).unwrap();
    }

    #[test]
    fn a_name_is_a_host_name_and_goes_again() {
        let mut tx = Tx::for_test();
        let id = allocate(&mut tx, &scope(), Tags::new())
            .unwrap()
            .allocation_id;
        let mut set = |name| set_name(&mut tx, &scope(), &id, name).map(|row| row.ptr_record);
        let long = "a.".repeat(200);
        for name in ["", "com", "a..com", "a b.com", "-.", &long] {
            assert!(set(Some(name)).is_err(), "{name}");
        }
        let named = Ok(Some("mail.example.com.".to_owned()));
        assert_eq!(set(Some("Mail.example.com")), named);
        assert_eq!(set(None), Ok(None));
    }
}
