//! The blocks of a VPC beside its primary one.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html#add-cidr-block-restrictions>

use super::{Quotas, Refusal, ResourceKind, peering, vpcs};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::*;
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Length of the blocks that Amazon provides (fact VPC-7).
const IPV6_LENGTH: u8 = 56;

/// What no VPC may add (fact VPC-5): AWS's own networks use it.
const RESTRICTED: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 19, 0, 0), 16);

#[derive(Clone, Debug, PartialEq)]
pub enum Association {
    Ipv4(VpcCidrAssociation),
    Ipv6(VpcIpv6CidrAssociation),
}

/// Adds a secondary block; every table has its local route from then on (facts VPC-4, VPC-5, RTB-1).
pub fn associate_ipv4(
    tx: &mut Tx,
    scope: &Scope,
    vpc_id: &VpcId,
    block: Ipv4Cidr,
) -> Result<VpcCidrAssociation, Refusal> {
    let vpc = vpcs::get(tx.snapshot(), scope, vpc_id)?.clone();
    vpcs::check_block(block)?;
    let most = Quotas::of(tx.config()).ipv4_blocks_per_vpc;
    if vpc.blocks().count() >= most {
        let id = vpc_id.to_string();
        return Err(Refusal::BlockLimit { id, most });
    }
    let restricted = Ipv4Cidr::containing(RESTRICTED.0, RESTRICTED.1);
    if restricted.is_some_and(|range| range.overlaps(block)) {
        let cidr = block.to_string();
        return Err(Refusal::BlockRestricted { cidr });
    }
    if let Some(other) = rival(tx.snapshot(), &vpc, block) {
        let cidr = block.to_string();
        return Err(Refusal::BlockConflict { cidr, other });
    }
    let association = VpcCidrAssociation {
        association_id: VpcCidrAssociationId::from_bits(tx.random()),
        cidr_block: block,
        state: CidrState::Associated,
    };
    tx.update::<Vpc>(scope, vpc_id, |vpc| {
        vpc.cidr_associations.push(association.clone());
    });
    Ok(association)
}

/// What the block would collide with: a block of this VPC or of an actively peered one, or a route whose destination
/// it would swallow.
fn rival(snapshot: &Snapshot, vpc: &Vpc, block: Ipv4Cidr) -> Option<String> {
    if let Some(own) = vpc.blocks().find(|own| own.overlaps(block)) {
        return Some(format!("the CIDR '{own}' of {}", vpc.vpc_id));
    }
    let peered = peering::peered_blocks(snapshot, &vpc.scope, &vpc.vpc_id)
        .into_iter()
        .find(|theirs| theirs.overlaps(block.into()))
        .map(|theirs| format!("the CIDR '{theirs}' of a peered VPC"));
    peered.or_else(|| {
        let tables = snapshot.route_tables.in_scope(&vpc.scope);
        tables
            .filter(|table| table.vpc_id == vpc.vpc_id)
            .flat_map(|table| &table.routes)
            .filter_map(|route| route.destination.block()?.v4())
            .find(|destination| block.covers(*destination))
            .map(|destination| format!("a route to {destination}"))
    })
}

/// Adds an Amazon-provided block, and the rules that let IPv6 pass where the ones for IPv4 are as AWS made them.
pub fn associate_ipv6(
    tx: &mut Tx,
    scope: &Scope,
    vpc_id: &VpcId,
) -> Result<VpcIpv6CidrAssociation, Refusal> {
    let vpc = vpcs::get(tx.snapshot(), scope, vpc_id)?.clone();
    let most = Quotas::of(tx.config()).ipv6_blocks_per_vpc;
    if vpc.ipv6_blocks().count() >= most {
        let id = vpc_id.to_string();
        return Err(Refusal::BlockLimit { id, most });
    }
    let association = VpcIpv6CidrAssociation {
        cidr_block: take_ipv6(tx)?,
        association_id: VpcCidrAssociationId::from_bits(tx.random()),
        state: CidrState::Associated,
    };
    tx.update::<Vpc>(scope, vpc_id, |vpc| {
        vpc.ipv6_cidr_associations.push(association.clone());
    });
    allow_ipv6_in_default_acl(tx, &vpc);
    allow_ipv6_out_of_groups(tx, &vpc);
    Ok(association)
}

/// Whether there is a block of IPv6 to give.
pub(super) fn check_pool(tx: &mut Tx) -> Result<(), Refusal> {
    take_ipv6(tx).map(drop)
}

/// A /56 that no VPC of any account or region has; the pool's first is of AWS's services.
fn take_ipv6(tx: &mut Tx) -> Result<Ipv6Cidr, Refusal> {
    let pool = tx.config().public_cidr_v6;
    let used: HashSet<Ipv6Cidr> = tx
        .snapshot()
        .vpcs
        .all()
        .flat_map(|vpc| vpc.ipv6_blocks().collect::<Vec<_>>())
        .collect();
    let free: Vec<_> = (1..1u128 << (IPV6_LENGTH - pool.length().min(IPV6_LENGTH)))
        .filter_map(|n| pool.subnet(IPV6_LENGTH, n))
        .filter(|block| !used.contains(block))
        .collect();
    if free.is_empty() {
        return Err(Refusal::Ipv6PoolEmpty);
    }
    // Drawn, so that one just given back rarely comes again at once.
    let drawn = (tx.random() % free.len() as u128) as usize;
    Ok(free[drawn])
}

/// Rule 101 beside the untouched rule 100 (fact ACL-3). Directions that the caller changed stay as they are.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/default-network-acl.html>
fn allow_ipv6_in_default_acl(tx: &mut Tx, vpc: &Vpc) {
    let default = tx
        .snapshot()
        .network_acls
        .in_scope(&vpc.scope)
        .find(|acl| acl.vpc_id == vpc.vpc_id && acl.is_default)
        .cloned();
    let Some(acl) = default else { return };
    let entry = |egress, number, cidr_block| NetworkAclEntry {
        number,
        egress,
        allow: true,
        traffic: Traffic::All,
        cidr_block,
    };
    for egress in [true, false] {
        let untouched = acl
            .entries
            .iter()
            .filter(|entry| entry.egress == egress)
            .eq([&entry(egress, 100, Ipv4Cidr::ANY.into())]);
        if untouched {
            tx.update::<NetworkAcl>(&vpc.scope, &acl.network_acl_id, |acl| {
                acl.entries.push(entry(egress, 101, Ipv6Cidr::ANY.into()));
            });
        }
    }
}

/// The same for what groups let out (fact SG-2).
/// <https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html>
fn allow_ipv6_out_of_groups(tx: &mut Tx, vpc: &Vpc) {
    let untouched = |group: &&Arc<SecurityGroup>| {
        let mut out = group.rules.iter().filter(|rule| rule.egress);
        group.vpc_id == vpc.vpc_id
            && out.next().is_some_and(|rule| {
                rule.traffic == Traffic::All && rule.peer == RulePeer::Ipv4(Ipv4Cidr::ANY)
            })
            && out.next().is_none()
    };
    let groups: Vec<_> = tx
        .snapshot()
        .security_groups
        .in_scope(&vpc.scope)
        .filter(untouched)
        .map(|group| group.group_id.clone())
        .collect();
    for group_id in groups {
        let rule = SecurityGroupRule {
            rule_id: SecurityGroupRuleId::from_bits(tx.random()),
            egress: true,
            traffic: Traffic::All,
            peer: RulePeer::Ipv6(Ipv6Cidr::ANY),
            description: None,
            tags: Tags::new(),
        };
        tx.update::<SecurityGroup>(&vpc.scope, &group_id, |group| group.rules.push(rule));
    }
}

/// Takes a block off its VPC; not the primary one, and none that a subnet lies in (facts VPC-4, VPC-6).
pub fn disassociate(
    tx: &mut Tx,
    scope: &Scope,
    id: &VpcCidrAssociationId,
) -> Result<(VpcId, Association), Refusal> {
    let (vpc, association) = find(tx.snapshot(), scope, id)
        .ok_or_else(|| Refusal::not_found(ResourceKind::VpcCidrAssociation, id))?;
    if vpc.cidr_associations.first().map(|a| &a.association_id) == Some(id) {
        let association_id = id.to_string();
        return Err(Refusal::PrimaryBlock { association_id });
    }
    let inside = |subnet: &Subnet| match &association {
        Association::Ipv4(own) => own.cidr_block.covers(subnet.cidr_block),
        Association::Ipv6(own) => subnet
            .ipv6_block()
            .is_some_and(|b| own.cidr_block.covers(b)),
    };
    let used = tx
        .snapshot()
        .subnets
        .in_scope(scope)
        .any(|subnet| subnet.vpc_id == vpc.vpc_id && inside(subnet));
    if used {
        let cidr = match &association {
            Association::Ipv4(own) => own.cidr_block.to_string(),
            Association::Ipv6(own) => own.cidr_block.to_string(),
        };
        return Err(Refusal::BlockInUse {
            id: format!("vpc {}", vpc.vpc_id),
            user: "a subnet",
            cidr,
        });
    }
    tx.update::<Vpc>(scope, &vpc.vpc_id, |vpc| {
        vpc.cidr_associations.retain(|a| a.association_id != *id);
        vpc.ipv6_cidr_associations
            .retain(|a| a.association_id != *id);
    });
    Ok((vpc.vpc_id.clone(), association))
}

fn find(
    snapshot: &Snapshot,
    scope: &Scope,
    id: &VpcCidrAssociationId,
) -> Option<(Arc<Vpc>, Association)> {
    snapshot.vpcs.in_scope(scope).find_map(|vpc| {
        let v4 = vpc
            .cidr_associations
            .iter()
            .find(|a| a.association_id == *id)
            .map(|a| Association::Ipv4(a.clone()));
        let v6 = || {
            vpc.ipv6_cidr_associations
                .iter()
                .find(|a| a.association_id == *id)
                .map(|a| Association::Ipv6(a.clone()))
        };
        Some((vpc.clone(), v4.or_else(v6)?))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{routes, subnet_blocks, subnets};
    use super::*;
    use crate::model::Refused;

    fn add(tx: &mut Tx, vpc: &Vpc, block: &str) -> Result<VpcCidrAssociation, Refusal> {
        associate_ipv4(tx, &scope(), &vpc.vpc_id, block.parse().unwrap())
    }

    fn now(tx: &Tx, vpc: &Vpc) -> Vpc {
        Vpc::clone(vpcs::get(tx.snapshot(), &scope(), &vpc.vpc_id).unwrap())
    }

    #[test]
    fn secondary_blocks_are_sized_disjoint_and_five_at_most() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        for block in [
            "10.1.0.0/15",
            "10.1.0.0/29",
            "10.0.128.0/17",
            "198.19.4.0/24",
            "127.0.0.0/16",
        ] {
            let refusal = add(&mut tx, &vpc, block).unwrap_err();
            assert_eq!(refusal.code(), "InvalidVpc.Range", "{block}");
        }
        for block in ["10.1.0.0/16", "100.64.0.0/16", "8.8.0.0/16", "10.2.0.0/28"] {
            add(&mut tx, &vpc, block).unwrap();
        }
        let refusal = add(&mut tx, &vpc, "10.3.0.0/16").unwrap_err();
        assert_eq!(refusal.code(), "CidrLimitExceeded");
        assert_eq!(now(&tx, &vpc).blocks().count(), 5);
    }

    #[test]
    fn a_block_must_not_swallow_the_destination_of_a_route() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let gateway = gateway(&mut tx, &vpc);
        let table = tx.snapshot().route_tables.all().next().unwrap().clone();
        let route = Route {
            destination: RouteDestination::Block("10.2.4.0/24".parse().unwrap()),
            target: RouteTarget::InternetGateway(gateway.internet_gateway_id),
        };
        routes::create(&mut tx, &scope(), &table.route_table_id, route).unwrap();
        for block in ["10.2.0.0/16", "10.2.4.0/24"] {
            let refusal = add(&mut tx, &vpc, block).unwrap_err();
            assert_eq!(refusal.code(), "InvalidVpc.Range", "{block}");
        }
        add(&mut tx, &vpc, "10.2.4.0/25").unwrap();
    }

    #[test]
    fn a_block_of_an_actively_peered_vpc_is_refused() {
        let mut tx = Tx::for_test();
        let (one, other) = (vpc(&mut tx, "10.0.0.0/16"), vpc(&mut tx, "10.1.0.0/16"));
        let side = |vpc: &Vpc| PeeredVpc {
            scope: scope(),
            vpc_id: vpc.vpc_id.clone(),
            allow_dns_resolution: false,
        };
        let mut peering = VpcPeeringConnection {
            scope: scope(),
            peering_id: VpcPeeringConnectionId::from_bits(1),
            requester: side(&one),
            accepter: side(&other),
            status: PeeringStatus::Active,
            status_message: String::new(),
            expires_at: None,
            ended_at: None,
            created_at: Timestamp(0),
            accepter_tags: Tags::new(),
            tags: Tags::new(),
        };
        tx.put(peering.clone());
        let refusal = add(&mut tx, &one, "10.1.4.0/24").unwrap_err();
        assert_eq!(refusal.code(), "InvalidVpc.Range");
        peering.status = PeeringStatus::Deleted;
        tx.put(peering);
        add(&mut tx, &one, "10.1.4.0/24").unwrap();
    }

    #[test]
    fn only_an_unused_secondary_block_comes_off() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let primary = vpc.cidr_associations[0].association_id.clone();
        let refusal = disassociate(&mut tx, &scope(), &primary).unwrap_err();
        assert_eq!(refusal.code(), "OperationNotPermitted");
        let added = add(&mut tx, &vpc, "10.1.0.0/16").unwrap().association_id;
        let subnet = subnet(&mut tx, &vpc, "10.1.2.0/24");
        let refusal = disassociate(&mut tx, &scope(), &added).unwrap_err();
        assert_eq!(refusal.code(), "InvalidCidrBlock.InUse");
        subnets::delete(&mut tx, &scope(), &subnet.subnet_id).unwrap();
        disassociate(&mut tx, &scope(), &added).unwrap();
        let refusal = disassociate(&mut tx, &scope(), &added).unwrap_err();
        assert_eq!(refusal.code(), "InvalidVpcCidrBlockAssociationID.NotFound");
        assert_eq!(now(&tx, &vpc), vpc);
    }

    #[test]
    fn ipv6_blocks_are_56_bits_of_the_pool_and_nobody_elses() {
        let mut tx = Tx::for_test();
        let pool = tx.config().public_cidr_v6;
        let mut seen = HashSet::new();
        for account in 0..20 {
            let scope = Scope::new(format!("{account:012}"), "us-east-1");
            let vpc = vpcs::create(&mut tx, &scope, new_vpc("10.0.0.0/16")).unwrap();
            for _ in 0..5 {
                let block = associate_ipv6(&mut tx, &scope, &vpc.vpc_id)
                    .unwrap()
                    .cidr_block;
                assert!(block.length() == 56 && pool.covers(block), "{block}");
                assert!(block.base() != pool.base() && seen.insert(block), "{block}");
            }
            let refusal = associate_ipv6(&mut tx, &scope, &vpc.vpc_id).unwrap_err();
            assert_eq!(refusal.code(), "CidrLimitExceeded");
        }
    }

    #[test]
    fn ipv6_passes_the_default_rules_only_where_they_are_untouched() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let web = group(&mut tx, &vpc, "web");
        tx.update::<SecurityGroup>(&scope(), &web.group_id, |group| group.rules.clear());
        let acl = tx.snapshot().network_acls.all().next().unwrap().clone();
        tx.update::<NetworkAcl>(&scope(), &acl.network_acl_id, |acl| {
            acl.entries.retain(|entry| !entry.egress);
        });
        associate_ipv6(&mut tx, &scope(), &vpc.vpc_id).unwrap();
        let acl = tx.snapshot().network_acls.all().next().unwrap();
        let rules: Vec<_> = acl.entries.iter().map(|e| (e.egress, e.number)).collect();
        assert_eq!(rules, [(false, 100), (false, 101)]);
        for group in tx.snapshot().security_groups.all() {
            let out = group
                .rules
                .iter()
                .filter(|rule| rule.peer == RulePeer::Ipv6(Ipv6Cidr::ANY) && rule.egress)
                .count();
            assert_eq!(out, usize::from(group.name == "default"), "{}", group.name);
        }
    }

    #[test]
    fn an_ipv6_block_with_a_subnet_in_it_stays() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let subnet = subnet(&mut tx, &vpc, "10.0.0.0/24");
        let block = associate_ipv6(&mut tx, &scope(), &vpc.vpc_id).unwrap();
        let own = block.cidr_block.subnet(64, 7).unwrap();
        let inner = subnet_blocks::associate(&mut tx, &scope(), &subnet.subnet_id, own).unwrap();
        let refusal = disassociate(&mut tx, &scope(), &block.association_id).unwrap_err();
        assert_eq!(refusal.code(), "InvalidCidrBlock.InUse");
        subnet_blocks::disassociate(&mut tx, &scope(), &inner.association_id).unwrap();
        disassociate(&mut tx, &scope(), &block.association_id).unwrap();
    }
}
