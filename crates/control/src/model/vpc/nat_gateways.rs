//! NAT gateways. <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-nat-gateway.html>
//!
//! A gateway is created `pending` with its interface, and deleted to `deleting` without it; `reconcile/nat_gateway_state`
//! takes both further once the hosts act by it, and forgets the row an hour later (fact NAT-1).

use super::{NewEni, Quotas, Refusal, ResourceKind, addresses, enis, subnets};
use crate::model::{Refused, Tx};
use fogbank_types::ec2::*;
use fogbank_types::*;
use std::net::Ipv4Addr;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct NewNatGateway {
    pub subnet_id: SubnetId,
    /// A public gateway's Elastic IP; `None` makes a private gateway (fact NAT-9).
    pub allocation_id: Option<AllocationId>,
    pub private_ip: Option<Ipv4Addr>,
    pub client_token: Option<String>,
    pub tags: Tags,
}

pub fn get<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &NatGatewayId,
) -> Result<&'a Arc<NatGateway>, Refusal> {
    snapshot
        .nat_gateways
        .get(scope, id)
        .ok_or_else(|| Refusal::not_found(ResourceKind::NatGateway, id))
}

/// What AWS finds out only later lets the call succeed and the gateway fail (fact NAT-2).
pub fn create(tx: &mut Tx, scope: &Scope, new: NewNatGateway) -> Result<NatGateway, Refusal> {
    if let Some(earlier) = same_token(tx.snapshot(), scope, &new)? {
        return Ok(earlier);
    }
    let subnet = subnets::get(tx.snapshot(), scope, &new.subnet_id)?.clone();
    if count_in_zone(tx.snapshot(), &subnet) >= Quotas::of(tx.config()).nat_gateways_per_zone {
        return Err(Refusal::NatGatewayLimit {
            zone: subnet.zone.clone(),
        });
    }
    let mut gateway = NatGateway {
        scope: scope.clone(),
        nat_gateway_id: NatGatewayId::from_bits(tx.random()),
        vpc_id: subnet.vpc_id.clone(),
        subnet_id: subnet.subnet_id.clone(),
        state: NatGatewayState::Pending,
        allocation_id: new.allocation_id.clone(),
        association_id: None,
        eni_id: None,
        private_ip: None,
        public_ip: None,
        private_connectivity: new.allocation_id.is_none(),
        failure: None,
        client_token: new.client_token,
        created_at: tx.now(),
        deleted_at: None,
        tags: new.tags,
    };
    match prepare(tx, scope, &gateway, new.private_ip) {
        Ok(eni) => {
            if let Some(allocation_id) = &new.allocation_id {
                gateway.association_id = Some(addresses::bind(
                    tx,
                    scope,
                    allocation_id,
                    &eni,
                    eni.private_ip,
                ));
                gateway.public_ip = addresses::get(tx.snapshot(), scope, allocation_id)
                    .ok()
                    .map(|row| row.public_ip);
            }
            gateway.private_ip = Some(eni.private_ip);
            gateway.eni_id = Some(eni.eni_id);
        }
        Err(refusal) if fails_later(&refusal) => {
            gateway.failure = Some((refusal.code().to_owned(), refusal.to_string()));
        }
        Err(refusal) => return Err(refusal),
    }
    tx.put(gateway.clone());
    Ok(gateway)
}

fn same_token(
    snapshot: &Snapshot,
    scope: &Scope,
    new: &NewNatGateway,
) -> Result<Option<NatGateway>, Refusal> {
    let Some(token) = &new.client_token else {
        return Ok(None);
    };
    let earlier = snapshot
        .nat_gateways
        .in_scope(scope)
        .find(|row| row.client_token.as_ref() == Some(token));
    match earlier {
        Some(row) if row.subnet_id == new.subnet_id && row.allocation_id == new.allocation_id => {
            Ok(Some(NatGateway::clone(row)))
        }
        Some(_) => Err(Refusal::TokenReused),
        None => Ok(None),
    }
}

fn count_in_zone(snapshot: &Snapshot, subnet: &Subnet) -> usize {
    snapshot
        .nat_gateways
        .in_scope(&subnet.scope)
        .filter(|row| row.failure.is_none() && row.state != NatGatewayState::Deleted)
        .filter(|row| {
            snapshot
                .subnets
                .get(&subnet.scope, &row.subnet_id)
                .is_some_and(|s| s.zone == subnet.zone)
        })
        .count()
}

/// The gateway's interface, if its address and network allow one.
fn prepare(
    tx: &mut Tx,
    scope: &Scope,
    gateway: &NatGateway,
    private_ip: Option<Ipv4Addr>,
) -> Result<Eni, Refusal> {
    if let Some(allocation_id) = &gateway.allocation_id {
        let address = addresses::get(tx.snapshot(), scope, allocation_id)?;
        if let Some(association) = &address.association {
            let association_id = association.association_id.to_string();
            return Err(Refusal::AddressAssociated {
                id: allocation_id.to_string(),
                association_id,
            });
        }
        if !addresses::has_gateway(tx.snapshot(), scope, &gateway.vpc_id) {
            return Err(Refusal::NetworkWithoutGateway {
                vpc_id: gateway.vpc_id.to_string(),
            });
        }
    }
    let host = Some(tx.config().host.clone());
    enis::create(
        tx,
        scope,
        NewEni {
            subnet_id: gateway.subnet_id.clone(),
            groups: Vec::new(),
            description: format!("Interface for NAT Gateway {}", gateway.nat_gateway_id),
            owner: EniOwner::NatGateway(gateway.nat_gateway_id.clone()),
            private_ip,
            assign_public_ip: false,
            source_dest_check: false,
            host,
        },
    )
}

fn fails_later(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::NotFound {
            kind: ResourceKind::Allocation,
            ..
        } | Refusal::AddressAssociated { .. }
            | Refusal::NetworkWithoutGateway { .. }
            | Refusal::NoFreeAddress { .. }
    )
}

/// Takes the interface away at once, and with it the address off it; routes to the gateway stay and are blackholes
/// (fact NAT-8). Deleting again is no error while the row is there.
pub fn delete(tx: &mut Tx, scope: &Scope, id: &NatGatewayId) -> Result<(), Refusal> {
    let gateway = get(tx.snapshot(), scope, id)?.clone();
    if matches!(
        gateway.state,
        NatGatewayState::Deleting | NatGatewayState::Deleted
    ) {
        return Ok(());
    }
    if let Some(eni_id) = &gateway.eni_id {
        enis::delete(tx, scope, eni_id);
    }
    tx.update::<NatGateway>(scope, id, |row| row.state = NatGatewayState::Deleting);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    struct Stage {
        tx: Tx,
        vpc: Vpc,
        subnet: Subnet,
        eip: ElasticIp,
    }

    fn stage() -> Stage {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        gateway(&mut tx, &vpc);
        let subnet = subnet(&mut tx, &vpc, "10.0.0.0/28");
        let eip = addresses::allocate(&mut tx, &scope(), Tags::new()).unwrap();
        Stage {
            tx,
            vpc,
            subnet,
            eip,
        }
    }

    fn new(subnet: &Subnet, allocation_id: Option<AllocationId>) -> NewNatGateway {
        NewNatGateway {
            subnet_id: subnet.subnet_id.clone(),
            allocation_id,
            private_ip: None,
            client_token: None,
            tags: Tags::new(),
        }
    }

    #[test]
    fn it_takes_an_interface_and_the_address() {
        let Stage {
            mut tx,
            subnet,
            eip,
            ..
        } = stage();
        let gateway = create(
            &mut tx,
            &scope(),
            new(&subnet, Some(eip.allocation_id.clone())),
        )
        .unwrap();
        assert_eq!(
            (gateway.state, gateway.public_ip),
            (NatGatewayState::Pending, Some(eip.public_ip))
        );
        let eni = enis::get(tx.snapshot(), &scope(), gateway.eni_id.as_ref().unwrap())
            .unwrap()
            .clone();
        assert!(!eni.source_dest_check && eni.groups.is_empty());
        assert_eq!(
            eni.description,
            format!("Interface for NAT Gateway {}", gateway.nat_gateway_id)
        );
        assert_eq!(
            tx.snapshot().public_ip(&eni, eni.private_ip),
            Some(eip.public_ip)
        );
        assert_eq!(
            addresses::disassociate(&mut tx, &scope(), &eip.allocation_id),
            Err(Refusal::NotPermitted)
        );

        delete(&mut tx, &scope(), &gateway.nat_gateway_id).unwrap();
        delete(&mut tx, &scope(), &gateway.nat_gateway_id).unwrap();
        assert!(tx.snapshot().enis.is_empty());
        addresses::release(&mut tx, &scope(), &eip.allocation_id).unwrap();
    }

    #[test]
    fn what_aws_finds_later_makes_it_fail() {
        let Stage {
            mut tx,
            vpc,
            subnet,
            eip,
        } = stage();
        let unknown = AllocationId::from_bits(1);
        let failure =
            |gateway: NatGateway| gateway.failure.map(|(code, _)| code).unwrap_or_default();
        let failed = create(&mut tx, &scope(), new(&subnet, Some(unknown))).unwrap();
        assert_eq!(failure(failed), "InvalidAllocationID.NotFound");
        create(
            &mut tx,
            &scope(),
            new(&subnet, Some(eip.allocation_id.clone())),
        )
        .unwrap();
        let failed = create(&mut tx, &scope(), new(&subnet, Some(eip.allocation_id))).unwrap();
        assert_eq!(failure(failed), "Resource.AlreadyAssociated");
        let other = super::super::vpcs::create(&mut tx, &scope(), new_vpc("10.1.0.0/16")).unwrap();
        let lonely = super::super::testing::subnet(&mut tx, &other, "10.1.0.0/24");
        let eip = addresses::allocate(&mut tx, &scope(), Tags::new()).unwrap();
        let failed = create(
            &mut tx,
            &scope(),
            new(&lonely, Some(eip.allocation_id.clone())),
        )
        .unwrap();
        assert_eq!(failure(failed), "Gateway.NotAttached");
        let full = super::super::testing::subnet(&mut tx, &vpc, "10.0.1.0/28");
        for _ in 0..11 {
            interface(&mut tx, &full);
        }
        let nobody = addresses::get(tx.snapshot(), &scope(), &eip.allocation_id)
            .unwrap()
            .association
            .clone();
        assert_eq!(nobody, None, "a failed gateway holds no address");
        let failed = create(&mut tx, &scope(), new(&full, Some(eip.allocation_id))).unwrap();
        assert_eq!(failure(failed), "InsufficientFreeAddressesInSubnet");
    }

    #[test]
    fn an_unknown_subnet_is_refused_at_once() {
        let Stage {
            mut tx,
            mut subnet,
            eip,
            ..
        } = stage();
        subnet.subnet_id = SubnetId::from_bits(1);
        let refusal = create(&mut tx, &scope(), new(&subnet, Some(eip.allocation_id))).unwrap_err();
        assert_eq!(refusal.code(), "InvalidSubnetID.NotFound");
    }

    #[test]
    fn a_client_token_names_one_gateway() {
        let Stage {
            mut tx,
            subnet,
            eip,
            ..
        } = stage();
        let mut command = new(&subnet, Some(eip.allocation_id));
        command.client_token = Some("t".to_owned());
        let first = create(&mut tx, &scope(), command.clone()).unwrap();
        assert_eq!(create(&mut tx, &scope(), command.clone()).unwrap(), first);
        command.allocation_id = None;
        assert_eq!(
            create(&mut tx, &scope(), command),
            Err(Refusal::TokenReused)
        );
    }

    #[test]
    fn the_sixth_in_a_zone_is_refused_and_private_ones_need_no_address() {
        let Stage { mut tx, subnet, .. } = stage();
        for _ in 0..Quotas::AWS.nat_gateways_per_zone {
            let gateway = create(&mut tx, &scope(), new(&subnet, None)).unwrap();
            assert!(gateway.private_connectivity && gateway.failure.is_none());
        }
        let refusal = create(&mut tx, &scope(), new(&subnet, None)).unwrap_err();
        assert_eq!(refusal.code(), "NatGatewayLimitExceeded");
    }
}
