//! Random changes of a region, as API calls make them.
#![allow(dead_code, clippy::unwrap_used)]

use super::random::*;
use super::*;

/// One change such as an API call makes.
pub fn any_change(region: &mut Region, dice: &mut Dice) {
    match dice.below(12) {
        0..=2 => {
            let mut group = dice.pick(&all::<SecurityGroup>(region));
            if dice.chance(2) && !group.rules.is_empty() {
                let gone = dice.below(group.rules.len());
                group.rules.remove(gone);
            } else {
                group.rules.push(any_rule(region, dice));
            }
            region.put(group);
        }
        3 => {
            let mut eni = dice.pick(&all::<Eni>(region));
            let vpc_id = eni.vpc_id.clone();
            let groups = of_vpc(region, |g: &SecurityGroup| g.vpc_id == vpc_id);
            eni.groups = vec![dice.pick(&groups).group_id];
            eni.source_dest_check = dice.chance(2);
            if dice.chance(3) && !matches!(eni.owner, EniOwner::NatGateway(_)) {
                eni.connection_tracking = any_tracking(dice);
            }
            region.put(eni);
        }
        4 => {
            let eni = dice.pick(&all::<Eni>(region));
            if eni.owner == EniOwner::Caller || matches!(eni.owner, EniOwner::Task(_)) {
                region.remove(&eni);
            }
        }
        5 => {
            let subnet = dice.pick(&all::<Subnet>(region));
            let groups = of_vpc(region, |g: &SecurityGroup| g.vpc_id == subnet.vpc_id);
            let n = 60 + dice.below(4) as u64;
            if subnet.cidr_block.nth(n + 40).is_none() {
                return;
            }
            let taken = |eni: &Eni| {
                eni.vpc_id == subnet.vpc_id
                    && eni.addresses().any(|a| Some(a) == subnet.cidr_block.nth(n))
            };
            if !all::<Eni>(region).iter().any(taken) {
                any_eni(region, dice, &subnet, n, &groups);
            }
        }
        6 | 7 => change_routes(region, dice),
        8 => {
            let mut acl = dice.pick(&all::<NetworkAcl>(region));
            let new = any_acl_entry(dice);
            let same = |e: &NetworkAclEntry| (e.egress, e.number) == (new.egress, new.number);
            acl.entries.retain(|e| !same(e));
            acl.entries.push(new);
            region.put(acl);
        }
        9 => {
            let mut list = dice.pick(&all::<PrefixList>(region));
            let cidr = any_block(dice);
            list.entries.retain(|entry| entry.cidr != cidr);
            if dice.chance(2) || list.entries.is_empty() {
                let description = None;
                list.entries.push(PrefixListEntry { cidr, description });
            }
            list.version += 1;
            region.put(list);
        }
        10 => {
            let peerings = all::<VpcPeeringConnection>(region);
            if !peerings.is_empty() {
                let mut peering = dice.pick(&peerings);
                peering.status = if peering.status == PeeringStatus::Active {
                    PeeringStatus::Deleted
                } else {
                    PeeringStatus::Active
                };
                region.put(peering);
            }
        }
        _ => change_gateways(region, dice),
    }
}

fn change_routes(region: &mut Region, dice: &mut Dice) {
    let mut table = dice.pick(&all::<RouteTable>(region));
    let new = any_route(region, dice, &table.vpc_id);
    let vpc = region.snapshot.vpcs.get(&scope(), &table.vpc_id).unwrap();
    let local = |block: IpCidr| vpc.all_blocks().any(|own| own == block);
    if new.destination.block().is_some_and(local) {
        return;
    }
    table.routes.retain(|r| r.destination != new.destination);
    if !dice.chance(3) {
        table.routes.push(new);
    }
    region.put(table);
}

fn change_gateways(region: &mut Region, dice: &mut Dice) {
    match dice.below(4) {
        0 => {
            let faults = all::<ZoneFault>(region);
            match faults.first() {
                Some(fault) => region.remove(fault),
                None => any_fault(region, dice),
            }
        }
        1 => {
            let addresses = all::<ElasticIp>(region);
            if !addresses.is_empty() {
                let mut address = dice.pick(&addresses);
                let enis = of_vpc(region, |eni: &Eni| matches!(eni.owner, EniOwner::Task(_)));
                let Some(eni) = enis.first() else { return };
                let nat = address.association.as_ref().is_some_and(|a| {
                    let eni = region.snapshot.enis.get(&scope(), &a.eni_id);
                    eni.is_some_and(|eni| matches!(eni.owner, EniOwner::NatGateway(_)))
                });
                if nat {
                    return;
                }
                let association_id = AddressAssociationId::from_bits(region.number());
                let has_one = all::<ElasticIp>(region).iter().any(|other| {
                    other
                        .association
                        .as_ref()
                        .is_some_and(|a| a.eni_id == eni.eni_id)
                });
                address.association = (!has_one).then(|| AddressAssociation {
                    association_id,
                    eni_id: eni.eni_id.clone(),
                    private_ip: eni.private_ip,
                });
                region.put(address);
            }
        }
        2 => {
            let endpoints = all::<VpcEndpoint>(region);
            let gateways = |e: &&VpcEndpoint| matches!(e.kind, VpcEndpointKind::Gateway { .. });
            if let Some(endpoint) = endpoints.iter().find(gateways) {
                region.remove(endpoint);
            }
        }
        _ => {
            let gateways = all::<NatGateway>(region);
            if !gateways.is_empty() {
                let mut nat = dice.pick(&gateways);
                nat.state = if nat.state == NatGatewayState::Available {
                    NatGatewayState::Deleting
                } else {
                    NatGatewayState::Available
                };
                region.put(nat);
            }
        }
    }
}
