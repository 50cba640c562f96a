//! VPCs, and what is born and dies with them.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html>

use super::{
    Quotas, Refusal, ResourceKind, network_acls, route_tables, security_groups, vpc_blocks,
};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::*;
use std::net::Ipv4Addr;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct NewVpc {
    pub cidr_block: Ipv4Cidr,
    /// `default` or `dedicated`.
    pub tenancy: String,
    /// With an Amazon-provided block of IPv6.
    pub ipv6: bool,
    pub tags: Tags,
}

/// A change of one attribute.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum VpcAttribute {
    DnsSupport(bool),
    DnsHostnames(bool),
    NetworkAddressUsageMetrics(bool),
}

pub fn get<'a>(snapshot: &'a Snapshot, scope: &Scope, id: &VpcId) -> Result<&'a Arc<Vpc>, Refusal> {
    snapshot
        .vpcs
        .get(scope, id)
        .ok_or_else(|| Refusal::not_found(ResourceKind::Vpc, id))
}

/// Blocks in which no VPC can be (fact VPC-2).
const FORBIDDEN: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
];

/// The size and the ranges that any block must keep to (facts VPC-1, VPC-2).
pub(super) fn check_block(block: Ipv4Cidr) -> Result<(), Refusal> {
    let forbidden = FORBIDDEN
        .iter()
        .filter_map(|(base, length)| Ipv4Cidr::containing(*base, *length))
        .any(|range| range.overlaps(block));
    if forbidden || !(16..=28).contains(&block.length()) {
        return Err(Refusal::VpcRange {
            cidr: block.to_string(),
        });
    }
    Ok(())
}

/// Creates the VPC with its main route table, default ACL and default group (fact VPC-8).
pub fn create(tx: &mut Tx, scope: &Scope, new: NewVpc) -> Result<Vpc, Refusal> {
    check_block(new.cidr_block)?;
    if !matches!(new.tenancy.as_str(), "default" | "dedicated") {
        return Err(Refusal::parameter("instanceTenancy", new.tenancy, ""));
    }
    if tx.snapshot().vpcs.in_scope(scope).count() >= Quotas::of(tx.config()).vpcs {
        return Err(Refusal::VpcLimit);
    }
    if new.ipv6 {
        vpc_blocks::check_pool(tx)?;
    }
    let vpc = Vpc {
        scope: scope.clone(),
        vpc_id: VpcId::from_bits(tx.random()),
        cidr_block: new.cidr_block,
        cidr_associations: vec![VpcCidrAssociation {
            association_id: VpcCidrAssociationId::from_bits(tx.random()),
            cidr_block: new.cidr_block,
            state: CidrState::Associated,
        }],
        ipv6_cidr_associations: Vec::new(),
        dhcp_options_id: None,
        instance_tenancy: new.tenancy,
        is_default: false,
        enable_dns_support: true,
        enable_dns_hostnames: false,
        enable_network_address_usage_metrics: false,
        created_at: tx.now(),
        tags: new.tags,
    };
    tx.put(vpc.clone());
    route_tables::create_main(tx, &vpc);
    network_acls::create_default(tx, &vpc);
    security_groups::create_default(tx, &vpc);
    if new.ipv6 {
        vpc_blocks::associate_ipv6(tx, scope, &vpc.vpc_id)?;
    }
    Ok(Vpc::clone(get(tx.snapshot(), scope, &vpc.vpc_id)?))
}

pub fn modify(
    tx: &mut Tx,
    scope: &Scope,
    id: &VpcId,
    attribute: VpcAttribute,
) -> Result<(), Refusal> {
    get(tx.snapshot(), scope, id)?;
    tx.update::<Vpc>(scope, id, |vpc| match attribute {
        VpcAttribute::DnsSupport(on) => vpc.enable_dns_support = on,
        VpcAttribute::DnsHostnames(on) => vpc.enable_dns_hostnames = on,
        VpcAttribute::NetworkAddressUsageMetrics(on) => {
            vpc.enable_network_address_usage_metrics = on
        }
    });
    Ok(())
}

/// Dedicated to default is the only way (fact VPC-15).
pub fn modify_tenancy(
    tx: &mut Tx,
    scope: &Scope,
    id: &VpcId,
    tenancy: &str,
) -> Result<(), Refusal> {
    get(tx.snapshot(), scope, id)?;
    if tenancy != "default" {
        return Err(Refusal::parameter("instanceTenancy", tenancy, ""));
    }
    tx.update::<Vpc>(scope, id, |vpc| vpc.instance_tenancy = tenancy.to_owned());
    Ok(())
}

/// Deletes the VPC and what was born with it; anything else in it forbids that (fact VPC-17).
pub fn delete(tx: &mut Tx, scope: &Scope, id: &VpcId) -> Result<(), Refusal> {
    get(tx.snapshot(), scope, id)?;
    if is_in_use(tx.snapshot(), scope, id) {
        return Err(Refusal::has_dependents("vpc", id));
    }
    let snapshot = tx.snapshot().clone();
    for table in snapshot
        .route_tables
        .in_scope(scope)
        .filter(|row| row.vpc_id == *id)
    {
        tx.delete::<RouteTable>(scope, &table.route_table_id);
    }
    for acl in snapshot
        .network_acls
        .in_scope(scope)
        .filter(|row| row.vpc_id == *id)
    {
        tx.delete::<NetworkAcl>(scope, &acl.network_acl_id);
    }
    for group in snapshot
        .security_groups
        .in_scope(scope)
        .filter(|row| row.vpc_id == *id)
    {
        tx.delete::<SecurityGroup>(scope, &group.group_id);
    }
    tx.delete::<Vpc>(scope, id);
    Ok(())
}

fn is_in_use(snapshot: &Snapshot, scope: &Scope, id: &VpcId) -> bool {
    snapshot
        .subnets
        .in_scope(scope)
        .any(|row| row.vpc_id == *id)
        || snapshot
            .internet_gateways
            .in_scope(scope)
            .any(|row| row.attached_vpc.as_ref() == Some(id))
        || snapshot
            .security_groups
            .in_scope(scope)
            .any(|row| row.vpc_id == *id && row.name != security_groups::DEFAULT)
        || snapshot
            .route_tables
            .in_scope(scope)
            .any(|row| row.vpc_id == *id && !row.is_main())
        || snapshot
            .network_acls
            .in_scope(scope)
            .any(|row| row.vpc_id == *id && !row.is_default)
        || snapshot.enis.in_scope(scope).any(|row| row.vpc_id == *id)
        || snapshot.nat_gateways.in_scope(scope).any(|row| {
            row.vpc_id == *id
                && !matches!(
                    row.state,
                    NatGatewayState::Deleted | NatGatewayState::Failed
                )
        })
        || snapshot
            .egress_only_gateways
            .in_scope(scope)
            .any(|row| row.vpc_id == *id)
        || snapshot
            .vpc_endpoints
            .in_scope(scope)
            .any(|row| row.vpc_id == *id)
        || snapshot
            .peerings
            .all()
            .any(|row| row.status == PeeringStatus::Active && row.sides(scope, id).is_some())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{internet_gateways, subnets};
    use super::*;
    use crate::model::Refused;

    #[test]
    fn blocks_outside_16_to_28_and_special_ranges_are_refused() {
        let mut tx = Tx::for_test();
        for block in [
            "10.0.0.0/15",
            "10.0.0.0/29",
            "0.0.0.0/0",
            "169.254.0.0/16",
            "127.0.0.0/16",
            "224.0.0.0/16",
            "0.1.0.0/16",
        ] {
            let refusal = create(&mut tx, &scope(), new_vpc(block)).unwrap_err();
            assert_eq!(refusal.code(), "InvalidVpc.Range", "{block}");
        }
        for block in ["10.0.0.0/16", "10.0.0.0/28", "8.8.0.0/16"] {
            create(&mut tx, &scope(), new_vpc(block)).unwrap();
        }
    }

    #[test]
    fn a_vpc_is_born_with_its_defaults_and_dies_with_them() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let snapshot = tx.snapshot().clone();
        let table = snapshot.route_tables.in_scope(&scope()).next().unwrap();
        assert!(table.is_main() && table.routes.is_empty());
        let acl = snapshot.network_acls.in_scope(&scope()).next().unwrap();
        assert!(acl.is_default && acl.entries.len() == 2);
        let group = snapshot.security_groups.in_scope(&scope()).next().unwrap();
        assert_eq!((group.name.as_str(), group.rules.len()), ("default", 2));
        delete(&mut tx, &scope(), &vpc.vpc_id).unwrap();
        assert_eq!(tx.snapshot().counts(), []);
        assert_eq!(
            delete(&mut tx, &scope(), &vpc.vpc_id).unwrap_err().code(),
            "InvalidVpcID.NotFound"
        );
    }

    #[test]
    fn anything_inside_forbids_deletion() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let refused = |tx: &mut Tx| {
            assert_eq!(
                delete(tx, &scope(), &vpc.vpc_id),
                Err(Refusal::has_dependents("vpc", &vpc.vpc_id))
            );
        };
        let subnet = subnet(&mut tx, &vpc, "10.0.0.0/24");
        refused(&mut tx);
        subnets::delete(&mut tx, &scope(), &subnet.subnet_id).unwrap();
        let gateway = gateway(&mut tx, &vpc);
        refused(&mut tx);
        internet_gateways::detach(&mut tx, &scope(), &gateway.internet_gateway_id, &vpc.vpc_id)
            .unwrap();
        let web = group(&mut tx, &vpc, "web");
        refused(&mut tx);
        security_groups::delete(&mut tx, &scope(), &web.group_id).unwrap();
        let table =
            route_tables::create(&mut tx, &scope(), &vpc.vpc_id, Tags::new(), None).unwrap();
        refused(&mut tx);
        route_tables::delete(&mut tx, &scope(), &table.route_table_id).unwrap();
        let acl = network_acls::create(&mut tx, &scope(), &vpc.vpc_id, Tags::new(), None).unwrap();
        refused(&mut tx);
        network_acls::delete(&mut tx, &scope(), &acl.network_acl_id).unwrap();
        delete(&mut tx, &scope(), &vpc.vpc_id).unwrap();
    }

    #[test]
    fn the_sixth_vpc_of_a_region_is_refused() {
        let mut tx = Tx::for_test();
        for n in 0..Quotas::AWS.vpcs {
            create(&mut tx, &scope(), new_vpc(&format!("10.{n}.0.0/16"))).unwrap();
        }
        assert_eq!(
            create(&mut tx, &scope(), new_vpc("10.9.0.0/16")),
            Err(Refusal::VpcLimit)
        );
        let elsewhere = Scope::new("000000000000", "us-west-2");
        create(&mut tx, &elsewhere, new_vpc("10.9.0.0/16")).unwrap();
    }

    #[test]
    fn dns_attributes_start_as_in_aws_and_change_alone() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        assert!(vpc.enable_dns_support && !vpc.enable_dns_hostnames);
        modify(
            &mut tx,
            &scope(),
            &vpc.vpc_id,
            VpcAttribute::DnsHostnames(true),
        )
        .unwrap();
        let now = get(tx.snapshot(), &scope(), &vpc.vpc_id).unwrap();
        assert_eq!(
            **now,
            Vpc {
                enable_dns_hostnames: true,
                ..vpc
            }
        );
    }
}
