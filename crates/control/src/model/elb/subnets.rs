//! Where a load balancer may stand: its subnets, its VPC and its security groups (fact ALB-1).

use super::{Refusal, invalid};
use fogbank_types::ec2::{SecurityGroup, Subnet};
use fogbank_types::{Scope, SecurityGroupId, Snapshot, SubnetId, VpcId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Free addresses that AWS wants in each subnet.
const FREE_ADDRESSES: u64 = 8;

/// The longest prefix of a subnet that may hold a load balancer node.
const LONGEST_PREFIX: u8 = 27;

const GROUPS_MAX: usize = 5;

/// The subnets by id, checked: two zones at least, one subnet a zone, one VPC, with room.
/// `own` are subnets where the load balancer stands already; their room was checked then.
pub fn resolve(
    snapshot: &Snapshot,
    scope: &Scope,
    ids: &[String],
    own: &[SubnetId],
) -> Result<Vec<Arc<Subnet>>, Refusal> {
    let mut subnets: Vec<Arc<Subnet>> = Vec::new();
    for id in ids {
        let subnet = SubnetId::parse(id)
            .ok()
            .and_then(|id| snapshot.subnets.get(scope, &id))
            .ok_or_else(|| Refusal::SubnetNotFound(id.clone()))?;
        if !subnets.iter().any(|s| s.subnet_id == subnet.subnet_id) {
            subnets.push(subnet.clone());
        }
    }
    if subnets.iter().any(|s| s.vpc_id != subnets[0].vpc_id) {
        return Err(Refusal::InvalidConfigurationRequest(
            "All subnets must belong to the same VPC".to_owned(),
        ));
    }
    let zones: BTreeSet<_> = subnets.iter().map(|s| &s.zone).collect();
    if zones.len() < subnets.len() {
        return Err(Refusal::InvalidConfigurationRequest(
            "A load balancer cannot be attached to multiple subnets in the same Availability Zone"
                .to_owned(),
        ));
    }
    if zones.len() < 2 {
        return Err(invalid(
            "At least two subnets in two different Availability Zones must be specified",
        ));
    }
    for subnet in subnets.iter().filter(|s| !own.contains(&s.subnet_id)) {
        check_room(snapshot, scope, subnet)?;
    }
    Ok(subnets)
}

fn check_room(snapshot: &Snapshot, scope: &Scope, subnet: &Subnet) -> Result<(), Refusal> {
    let id = &subnet.subnet_id;
    let taken: usize = snapshot
        .enis
        .in_scope(scope)
        .filter(|eni| eni.subnet_id == *id)
        .map(|eni| 1 + eni.secondary_ips.len())
        .sum();
    // Five are AWS's own (fact SUB-3).
    let free = subnet.cidr_block.size().saturating_sub(5 + taken as u64);
    if subnet.cidr_block.length() > LONGEST_PREFIX || free < FREE_ADDRESSES {
        return Err(Refusal::InvalidSubnet(format!(
            "Not enough IP space available in {id}. ELB requires at least {FREE_ADDRESSES} free IP addresses in each subnet."
        )));
    }
    Ok(())
}

/// An internet-facing load balancer needs an internet gateway on its VPC.
pub fn check_internet_gateway(
    snapshot: &Snapshot,
    scope: &Scope,
    vpc_id: &VpcId,
) -> Result<(), Refusal> {
    let mut gateways = snapshot.internet_gateways.in_scope(scope);
    if gateways.any(|g| g.attached_vpc.as_ref() == Some(vpc_id)) {
        Ok(())
    } else {
        Err(Refusal::InvalidSubnet(format!(
            "VPC {vpc_id} has no internet gateway"
        )))
    }
}

/// The security groups by id, or the VPC's default group if none is named.
pub fn security_groups(
    snapshot: &Snapshot,
    scope: &Scope,
    vpc_id: &VpcId,
    ids: &[String],
) -> Result<Vec<SecurityGroupId>, Refusal> {
    if ids.is_empty() {
        let is_default = |g: &&Arc<SecurityGroup>| g.vpc_id == *vpc_id && g.name == "default";
        let mut groups = snapshot.security_groups.in_scope(scope);
        return Ok(groups
            .find(is_default)
            .map(|g| g.group_id.clone())
            .into_iter()
            .collect());
    }
    let mut found: Vec<SecurityGroupId> = Vec::new();
    for id in ids {
        let group = SecurityGroupId::parse(id)
            .ok()
            .and_then(|id| snapshot.security_groups.get(scope, &id))
            .filter(|group| group.vpc_id == *vpc_id)
            .ok_or_else(|| {
                Refusal::InvalidSecurityGroup(format!(
                    "One or more security groups are invalid: '{id}'"
                ))
            })?;
        if !found.contains(&group.group_id) {
            found.push(group.group_id.clone());
        }
    }
    if found.len() > GROUPS_MAX {
        return Err(Refusal::InvalidConfigurationRequest(format!(
            "A load balancer cannot have more than {GROUPS_MAX} security groups"
        )));
    }
    Ok(found)
}
