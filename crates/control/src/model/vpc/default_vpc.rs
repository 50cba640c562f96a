//! The default VPC: each account has one in each region from the start (fact VPC-16).
//! <https://docs.aws.amazon.com/vpc/latest/userguide/default-vpc.html>
//!
//! It is made when the account first calls the region (`ensure`, from `server`), and never again by itself: who
//! deletes it asks for another (`create`).

use super::subnets::NewSubnet;
use super::vpcs::{self, NewVpc};
use super::{Refusal, internet_gateways, subnets};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::place::zones;
use fogbank_types::*;
use std::net::Ipv4Addr;
use std::sync::Arc;

const BASE: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 0);
const VPC_LENGTH: u8 = 16;
const SUBNET_LENGTH: u8 = 20;

fn block(base: Ipv4Addr, length: u8) -> Ipv4Cidr {
    Ipv4Cidr::containing(base, length).expect("lengths here are below 32")
}

pub fn find<'a>(snapshot: &'a Snapshot, scope: &Scope) -> Option<&'a Arc<Vpc>> {
    snapshot.vpcs.in_scope(scope).find(|vpc| vpc.is_default)
}

/// Whether `ensure` has been here.
pub fn is_settled(snapshot: &Snapshot, scope: &Scope) -> bool {
    snapshot.account_regions.in_scope(scope).next().is_some()
}

/// Makes the default VPC of an account that comes to a region for the first time.
pub fn ensure(tx: &mut Tx, scope: &Scope) {
    if is_settled(tx.snapshot(), scope) {
        return;
    }
    tx.put(AccountRegion {
        scope: scope.clone(),
        created_at: tx.now(),
    });
    if has_room(tx, scope) {
        // Refusals come before anything is written; an account whose quotas are used up has none.
        let _ = create(tx, scope);
    }
}

/// Whether nothing of the user's is in the way, as may be in a state from before default VPCs were made.
fn has_room(tx: &Tx, scope: &Scope) -> bool {
    let quotas = super::Quotas::of(tx.config());
    let snapshot = tx.snapshot();
    snapshot.vpcs.in_scope(scope).count() < quotas.vpcs
        && snapshot.internet_gateways.in_scope(scope).count() < quotas.internet_gateways
}

/// CreateDefaultVpc: with a gateway, the route to it, and a public subnet in each zone.
pub fn create(tx: &mut Tx, scope: &Scope) -> Result<Vpc, Refusal> {
    if find(tx.snapshot(), scope).is_some() {
        return Err(Refusal::DefaultVpcExists);
    }
    let new = NewVpc {
        cidr_block: block(BASE, VPC_LENGTH),
        tenancy: "default".to_owned(),
        ipv6: false,
        tags: Tags::new(),
    };
    let vpc_id = vpcs::create(tx, scope, new)?.vpc_id;
    tx.update::<Vpc>(scope, &vpc_id, |vpc| {
        vpc.is_default = true;
        vpc.enable_dns_hostnames = true;
    });
    let gateway = internet_gateways::create(tx, scope, Tags::new())?.internet_gateway_id;
    internet_gateways::attach(tx, scope, &gateway, &vpc_id)?;
    route_all_to(tx, scope, &vpc_id, &gateway);
    for zone in zones(&scope.region) {
        create_subnet(tx, scope, &zone.name)?;
    }
    Ok(Vpc::clone(vpcs::get(tx.snapshot(), scope, &vpc_id)?))
}

fn route_all_to(tx: &mut Tx, scope: &Scope, vpc_id: &VpcId, gateway: &InternetGatewayId) {
    let main = tx
        .snapshot()
        .route_tables
        .in_scope(scope)
        .find(|table| table.vpc_id == *vpc_id && table.is_main())
        .map(|table| table.route_table_id.clone());
    let Some(main) = main else { return };
    tx.update::<RouteTable>(scope, &main, |table| {
        table.routes.push(Route {
            destination: RouteDestination::Block(Ipv4Cidr::ANY.into()),
            target: RouteTarget::InternetGateway(gateway.clone()),
        });
    });
}

/// CreateDefaultSubnet: the lowest free /20 of the default VPC.
pub fn create_subnet(tx: &mut Tx, scope: &Scope, zone: &str) -> Result<Subnet, Refusal> {
    let vpc = find(tx.snapshot(), scope).ok_or(Refusal::DefaultVpcMissing)?;
    let (vpc_id, vpc_block) = (vpc.vpc_id.clone(), vpc.cidr_block);
    let zone = subnets::zone_named(scope, Some(zone))?;
    let inside: Vec<_> = tx
        .snapshot()
        .subnets
        .in_scope(scope)
        .filter(|subnet| subnet.vpc_id == vpc_id)
        .collect();
    if let Some(earlier) = inside.iter().find(|s| s.default_for_az && s.zone == zone) {
        let subnet_id = earlier.subnet_id.to_string();
        return Err(Refusal::DefaultSubnetExists { subnet_id, zone });
    }
    let free = (0..vpc_block.size() >> (32 - SUBNET_LENGTH))
        .filter_map(|n| vpc_block.nth(n << (32 - SUBNET_LENGTH)))
        .map(|base| block(base, SUBNET_LENGTH))
        .find(|free| !inside.iter().any(|s| s.cidr_block.overlaps(*free)))
        .ok_or_else(|| Refusal::SubnetConflict {
            cidr: vpc_block.to_string(),
        })?;
    let new = NewSubnet {
        vpc_id,
        cidr_block: free,
        ipv6_block: None,
        zone: Some(zone),
        tags: Tags::new(),
    };
    let subnet_id = subnets::create(tx, scope, new)?.subnet_id;
    tx.update::<Subnet>(scope, &subnet_id, |subnet| {
        subnet.default_for_az = true;
        subnet.map_public_ip_on_launch = true;
    });
    Ok(Subnet::clone(subnets::get(
        tx.snapshot(),
        scope,
        &subnet_id,
    )?))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::Refused;

    /// Takes the default VPC apart and deletes it, as a user must by the API.
    fn remove(tx: &mut Tx) {
        let vpc = find(tx.snapshot(), &scope()).unwrap().clone();
        let snapshot = tx.snapshot().clone();
        for subnet in snapshot.subnets.in_scope(&scope()) {
            subnets::delete(tx, &scope(), &subnet.subnet_id).unwrap();
        }
        let gateway = snapshot.internet_gateways.in_scope(&scope()).next();
        let gateway = &gateway.unwrap().internet_gateway_id;
        internet_gateways::detach(tx, &scope(), gateway, &vpc.vpc_id).unwrap();
        internet_gateways::delete(tx, &scope(), gateway).unwrap();
        vpcs::delete(tx, &scope(), &vpc.vpc_id).unwrap();
    }

    #[test]
    fn a_zone_has_a_public_subnet_from_the_start() {
        let mut tx = Tx::for_test();
        ensure(&mut tx, &scope());
        let snapshot = tx.snapshot();
        let vpc = find(snapshot, &scope()).unwrap();
        assert_eq!(vpc.cidr_block.to_string(), "172.31.0.0/16");
        assert!(vpc.enable_dns_hostnames && vpc.enable_dns_support);
        let subnets: Vec<_> = snapshot.subnets.in_scope(&scope()).collect();
        assert_eq!(subnets.len(), zones("us-east-1").len());
        for subnet in subnets {
            assert!(subnet.default_for_az && subnet.map_public_ip_on_launch);
            assert_eq!(subnet.cidr_block.length(), 20);
            let table = snapshot.route_table_of(subnet).unwrap();
            assert!(snapshot.target_is_alive(table, &table.routes[0].target));
            assert_eq!(table.routes[0].destination.to_string(), "0.0.0.0/0");
        }
    }

    #[test]
    fn a_deleted_default_vpc_comes_back_only_when_asked_for() {
        let mut tx = Tx::for_test();
        ensure(&mut tx, &scope());
        let refusal = create(&mut tx, &scope()).unwrap_err();
        assert_eq!(refusal.code(), "DefaultVpcAlreadyExists");
        remove(&mut tx);
        ensure(&mut tx, &scope());
        assert!(find(tx.snapshot(), &scope()).is_none());
        let refusal = create_subnet(&mut tx, &scope(), "us-east-1a").unwrap_err();
        assert_eq!(refusal.code(), "DefaultVpcDoesNotExist");
        create(&mut tx, &scope()).unwrap();
    }

    #[test]
    fn a_zone_has_one_default_subnet() {
        let mut tx = Tx::for_test();
        ensure(&mut tx, &scope());
        let refusal = create_subnet(&mut tx, &scope(), "us-east-1b").unwrap_err();
        assert_eq!(
            refusal.code(),
            "DefaultSubnetAlreadyExistsInAvailabilityZone"
        );
        let in_b = |tx: &Tx| {
            let mut all = tx.snapshot().subnets.in_scope(&scope());
            all.find(|subnet| subnet.zone == "us-east-1b")
                .unwrap()
                .clone()
        };
        let before = in_b(&tx);
        subnets::delete(&mut tx, &scope(), &before.subnet_id).unwrap();
        let again = create_subnet(&mut tx, &scope(), "us-east-1b").unwrap();
        assert_eq!(again.cidr_block, before.cidr_block);
        assert!(again.default_for_az && again.map_public_ip_on_launch);
        let refusal = create_subnet(&mut tx, &scope(), "us-east-1z").unwrap_err();
        assert_eq!(refusal.code(), "InvalidParameterValue");
    }

    #[test]
    fn an_account_at_its_quota_is_left_as_it_is() {
        let mut tx = Tx::for_test();
        for n in 0..5 {
            vpc(&mut tx, &format!("10.{n}.0.0/16"));
        }
        let before = tx.snapshot().counts();
        ensure(&mut tx, &scope());
        ensure(&mut tx, &scope());
        let mut after = tx.snapshot().counts();
        after.retain(|(kind, _)| *kind != "account-region");
        assert_eq!(after, before);
    }
}
