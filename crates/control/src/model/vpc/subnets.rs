//! Subnets: a piece of a VPC's block in one zone.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html>

use super::{Quotas, Refusal, ResourceKind, subnet_blocks, vpcs};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::place::zones;
use fogbank_types::*;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct NewSubnet {
    pub vpc_id: VpcId,
    pub cidr_block: Ipv4Cidr,
    pub ipv6_block: Option<Ipv6Cidr>,
    /// Zone name or zone id; `None` = AWS chooses.
    pub zone: Option<String>,
    pub tags: Tags,
}

/// A change of one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubnetAttribute {
    AssignIpv6AddressOnCreation(bool),
    MapPublicIpOnLaunch(bool),
    EnableDns64(bool),
    /// `ip-name` or `resource-name`.
    PrivateDnsHostnameType(String),
    EnableResourceNameDnsARecord(bool),
    EnableResourceNameDnsAaaaRecord(bool),
}

pub fn get<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &SubnetId,
) -> Result<&'a Arc<Subnet>, Refusal> {
    snapshot
        .subnets
        .get(scope, id)
        .ok_or_else(|| Refusal::not_found(ResourceKind::Subnet, id))
}

/// The interfaces in a subnet.
pub fn interfaces<'a>(
    snapshot: &'a Snapshot,
    subnet: &'a Subnet,
) -> impl Iterator<Item = &'a Arc<Eni>> {
    snapshot
        .enis
        .in_scope(&subnet.scope)
        .filter(|eni| eni.subnet_id == subnet.subnet_id)
}

/// How many addresses are free (facts SUB-3, SUB-4).
pub fn available_addresses(snapshot: &Snapshot, subnet: &Subnet) -> u64 {
    let used: usize = interfaces(snapshot, subnet)
        .map(|eni| 1 + eni.secondary_ips.len())
        .sum();
    (subnet.cidr_block.size() - 5).saturating_sub(used as u64)
}

pub(super) fn zone_named(scope: &Scope, choice: Option<&str>) -> Result<String, Refusal> {
    let zones = zones(&scope.region);
    let found = match choice {
        None => zones.first(),
        Some(choice) => zones
            .iter()
            .find(|zone| zone.name == choice || zone.id == choice),
    };
    found.map(|zone| zone.name.clone()).ok_or_else(|| {
        let names: Vec<_> = zones.iter().map(|zone| zone.name.as_str()).collect();
        let why = format!(
            "Subnets can currently only be created in the following availability zones: {}.",
            names.join(", ")
        );
        Refusal::parameter("availabilityZone", choice.unwrap_or_default(), &why)
    })
}

pub fn create(tx: &mut Tx, scope: &Scope, new: NewSubnet) -> Result<Subnet, Refusal> {
    let vpc = vpcs::get(tx.snapshot(), scope, &new.vpc_id)?;
    let block = new.cidr_block;
    if !(16..=28).contains(&block.length()) || !vpc.blocks().any(|own| own.covers(block)) {
        return Err(Refusal::SubnetRange {
            cidr: block.to_string(),
        });
    }
    let siblings: Vec<_> = tx
        .snapshot()
        .subnets
        .in_scope(scope)
        .filter(|row| row.vpc_id == new.vpc_id)
        .collect();
    if siblings
        .iter()
        .any(|sibling| sibling.cidr_block.overlaps(block))
    {
        return Err(Refusal::SubnetConflict {
            cidr: block.to_string(),
        });
    }
    if siblings.len() >= Quotas::of(tx.config()).subnets_per_vpc {
        return Err(Refusal::SubnetLimit {
            vpc_id: new.vpc_id.to_string(),
        });
    }
    if let Some(block) = new.ipv6_block {
        subnet_blocks::check(tx.snapshot(), vpc, block)?;
    }
    let zone = zone_named(scope, new.zone.as_deref())?;
    let subnet = Subnet {
        scope: scope.clone(),
        subnet_id: SubnetId::from_bits(tx.random()),
        vpc_id: new.vpc_id,
        cidr_block: block,
        ipv6_cidr_associations: Vec::new(),
        assign_ipv6_address_on_creation: false,
        zone,
        default_for_az: false,
        map_public_ip_on_launch: false,
        enable_dns64: false,
        private_dns_hostname_type: "ip-name".to_owned(),
        enable_resource_name_dns_a_record: false,
        enable_resource_name_dns_aaaa_record: false,
        created_at: tx.now(),
        tags: new.tags,
    };
    tx.put(subnet.clone());
    associate_default_acl(tx, &subnet);
    if let Some(block) = new.ipv6_block {
        subnet_blocks::associate(tx, scope, &subnet.subnet_id, block)?;
    }
    Ok(Subnet::clone(get(tx.snapshot(), scope, &subnet.subnet_id)?))
}

/// Every subnet has exactly one ACL from the start (fact SUB-9).
fn associate_default_acl(tx: &mut Tx, subnet: &Subnet) {
    let default = tx
        .snapshot()
        .network_acls
        .in_scope(&subnet.scope)
        .find(|acl| acl.vpc_id == subnet.vpc_id && acl.is_default)
        .map(|acl| acl.network_acl_id.clone());
    let Some(default) = default else { return };
    let association_id = NetworkAclAssociationId::from_bits(tx.random());
    let subnet_id = subnet.subnet_id.clone();
    tx.update::<NetworkAcl>(&subnet.scope, &default, |acl| {
        acl.associations.push(NetworkAclAssociation {
            association_id,
            subnet_id,
        });
    });
}

pub fn modify(
    tx: &mut Tx,
    scope: &Scope,
    id: &SubnetId,
    attribute: SubnetAttribute,
) -> Result<(), Refusal> {
    let has_ipv6 = get(tx.snapshot(), scope, id)?.ipv6_block().is_some();
    let needs_ipv6 = match &attribute {
        SubnetAttribute::AssignIpv6AddressOnCreation(true) => Some("assignIpv6AddressOnCreation"),
        SubnetAttribute::EnableDns64(true) => Some("enableDns64"),
        _ => None,
    };
    if let Some(name) = needs_ipv6.filter(|_| !has_ipv6) {
        return Err(Refusal::parameter(
            name,
            true,
            "The subnet has no IPv6 CIDR block.",
        ));
    }
    if let SubnetAttribute::PrivateDnsHostnameType(kind) = &attribute
        && !matches!(kind.as_str(), "ip-name" | "resource-name")
    {
        return Err(Refusal::parameter(
            "privateDnsHostnameTypeOnLaunch",
            kind,
            "",
        ));
    }
    tx.update::<Subnet>(scope, id, |subnet| match attribute {
        SubnetAttribute::AssignIpv6AddressOnCreation(on) => {
            subnet.assign_ipv6_address_on_creation = on
        }
        SubnetAttribute::MapPublicIpOnLaunch(on) => subnet.map_public_ip_on_launch = on,
        SubnetAttribute::EnableDns64(on) => subnet.enable_dns64 = on,
        SubnetAttribute::PrivateDnsHostnameType(kind) => subnet.private_dns_hostname_type = kind,
        SubnetAttribute::EnableResourceNameDnsARecord(on) => {
            subnet.enable_resource_name_dns_a_record = on
        }
        SubnetAttribute::EnableResourceNameDnsAaaaRecord(on) => {
            subnet.enable_resource_name_dns_aaaa_record = on
        }
    });
    Ok(())
}

/// An interface inside forbids it (fact SUB-8); associations go with the subnet.
pub fn delete(tx: &mut Tx, scope: &Scope, id: &SubnetId) -> Result<(), Refusal> {
    let subnet = get(tx.snapshot(), scope, id)?;
    if interfaces(tx.snapshot(), subnet).next().is_some() {
        return Err(Refusal::has_dependents("subnet", id));
    }
    let snapshot = tx.snapshot().clone();
    for table in snapshot.route_tables.in_scope(scope) {
        if table
            .associations
            .iter()
            .any(|a| a.subnet_id.as_ref() == Some(id))
        {
            tx.update::<RouteTable>(scope, &table.route_table_id, |table| {
                table
                    .associations
                    .retain(|a| a.subnet_id.as_ref() != Some(id));
            });
        }
    }
    for acl in snapshot.network_acls.in_scope(scope) {
        if acl.associations.iter().any(|a| a.subnet_id == *id) {
            tx.update::<NetworkAcl>(scope, &acl.network_acl_id, |acl| {
                acl.associations.retain(|a| a.subnet_id != *id);
            });
        }
    }
    for reservation in snapshot.subnet_cidr_reservations.in_scope(scope) {
        if reservation.subnet_id == *id {
            tx.delete::<SubnetCidrReservation>(scope, &reservation.reservation_id);
        }
    }
    tx.delete::<Subnet>(scope, id);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{enis, route_tables};
    use super::*;
    use crate::model::Refused;

    fn attempt(tx: &mut Tx, vpc: &Vpc, block: &str, zone: Option<&str>) -> Result<Subnet, Refusal> {
        create(
            tx,
            &scope(),
            NewSubnet {
                vpc_id: vpc.vpc_id.clone(),
                cidr_block: block.parse().unwrap(),
                ipv6_block: None,
                zone: zone.map(str::to_owned),
                tags: Tags::new(),
            },
        )
    }

    #[test]
    fn a_block_must_be_in_range_and_disjoint() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        attempt(&mut tx, &vpc, "10.0.1.0/24", None).unwrap();
        for (block, code) in [
            ("10.1.0.0/24", "InvalidSubnet.Range"),
            ("10.0.0.0/15", "InvalidSubnet.Range"),
            ("10.0.2.0/29", "InvalidSubnet.Range"),
            ("10.0.1.128/25", "InvalidSubnet.Conflict"),
            ("10.0.0.0/16", "InvalidSubnet.Conflict"),
        ] {
            assert_eq!(
                attempt(&mut tx, &vpc, block, None).unwrap_err().code(),
                code,
                "{block}"
            );
        }
        attempt(&mut tx, &vpc, "10.0.2.0/24", None).unwrap();
    }

    #[test]
    fn a_zone_goes_by_name_or_id() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        assert_eq!(
            attempt(&mut tx, &vpc, "10.0.0.0/24", Some("us-east-1b"))
                .unwrap()
                .zone,
            "us-east-1b"
        );
        assert_eq!(
            attempt(&mut tx, &vpc, "10.0.1.0/24", Some("use1-az3"))
                .unwrap()
                .zone,
            "us-east-1c"
        );
        let refusal = attempt(&mut tx, &vpc, "10.0.2.0/24", Some("us-east-1z")).unwrap_err();
        assert_eq!(refusal.code(), "InvalidParameterValue");
        assert!(refusal.to_string().contains("us-east-1a, us-east-1b"));
    }

    #[test]
    fn five_addresses_are_reserved_and_each_interface_takes_one() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let subnet = subnet(&mut tx, &vpc, "10.0.0.0/28");
        assert_eq!(available_addresses(tx.snapshot(), &subnet), 11);
        interface(&mut tx, &subnet);
        assert_eq!(available_addresses(tx.snapshot(), &subnet), 10);
    }

    #[test]
    fn an_interface_forbids_deletion_and_associations_go_along() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let subnet = subnet(&mut tx, &vpc, "10.0.0.0/24");
        let table =
            route_tables::create(&mut tx, &scope(), &vpc.vpc_id, Tags::new(), None).unwrap();
        route_tables::associate(&mut tx, &scope(), &table.route_table_id, &subnet.subnet_id)
            .unwrap();
        let eni = interface(&mut tx, &subnet);
        let refused = Err(Refusal::has_dependents("subnet", &subnet.subnet_id));
        assert_eq!(delete(&mut tx, &scope(), &subnet.subnet_id), refused);
        enis::delete(&mut tx, &scope(), &eni.eni_id);
        delete(&mut tx, &scope(), &subnet.subnet_id).unwrap();
        let left = tx
            .snapshot()
            .route_tables
            .get(&scope(), &table.route_table_id)
            .unwrap();
        assert!(left.associations.is_empty());
        assert!(
            tx.snapshot()
                .network_acls
                .all()
                .all(|acl| acl.associations.is_empty())
        );
    }

    #[test]
    fn attributes_change_alone() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let subnet = subnet(&mut tx, &vpc, "10.0.0.0/24");
        modify(
            &mut tx,
            &scope(),
            &subnet.subnet_id,
            SubnetAttribute::MapPublicIpOnLaunch(true),
        )
        .unwrap();
        let now = get(tx.snapshot(), &scope(), &subnet.subnet_id).unwrap();
        assert_eq!(
            **now,
            Subnet {
                map_public_ip_on_launch: true,
                ..subnet.clone()
            }
        );
        let bad = SubnetAttribute::PrivateDnsHostnameType("x".to_owned());
        assert!(modify(&mut tx, &scope(), &subnet.subnet_id, bad).is_err());
    }
}
