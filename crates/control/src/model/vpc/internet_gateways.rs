//! Internet gateways. <https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Internet_Gateway.html>

use super::{Quotas, Refusal, ResourceKind, addresses, vpcs};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::*;
use std::sync::Arc;

pub fn get<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &InternetGatewayId,
) -> Result<&'a Arc<InternetGateway>, Refusal> {
    snapshot
        .internet_gateways
        .get(scope, id)
        .ok_or_else(|| Refusal::not_found(ResourceKind::InternetGateway, id))
}

pub fn create(tx: &mut Tx, scope: &Scope, tags: Tags) -> Result<InternetGateway, Refusal> {
    if tx.snapshot().internet_gateways.in_scope(scope).count()
        >= Quotas::of(tx.config()).internet_gateways
    {
        return Err(Refusal::GatewayLimit);
    }
    let row = InternetGateway {
        scope: scope.clone(),
        internet_gateway_id: InternetGatewayId::from_bits(tx.random()),
        attached_vpc: None,
        created_at: tx.now(),
        tags,
    };
    tx.put(row.clone());
    Ok(row)
}

/// One gateway a VPC and one VPC a gateway (fact IGW-1).
pub fn attach(
    tx: &mut Tx,
    scope: &Scope,
    id: &InternetGatewayId,
    vpc_id: &VpcId,
) -> Result<(), Refusal> {
    let gateway = get(tx.snapshot(), scope, id)?;
    vpcs::get(tx.snapshot(), scope, vpc_id)?;
    if let Some(now) = &gateway.attached_vpc {
        return Err(Refusal::GatewayAttached {
            gateway_id: id.to_string(),
            vpc_id: now.to_string(),
        });
    }
    if addresses::has_gateway(tx.snapshot(), scope, vpc_id) {
        return Err(Refusal::NetworkHasGateway {
            vpc_id: vpc_id.to_string(),
        });
    }
    tx.update::<InternetGateway>(scope, id, |row| row.attached_vpc = Some(vpc_id.clone()));
    Ok(())
}

/// Not while the VPC has a mapped public address (fact IGW-4).
pub fn detach(
    tx: &mut Tx,
    scope: &Scope,
    id: &InternetGatewayId,
    vpc_id: &VpcId,
) -> Result<(), Refusal> {
    let gateway = get(tx.snapshot(), scope, id)?;
    if gateway.attached_vpc.as_ref() != Some(vpc_id) {
        return Err(Refusal::GatewayNotAttached {
            gateway_id: id.to_string(),
            vpc_id: vpc_id.to_string(),
        });
    }
    let snapshot = tx.snapshot();
    let mapped = snapshot
        .enis
        .in_scope(scope)
        .filter(|eni| eni.vpc_id == *vpc_id)
        .any(|eni| {
            eni.auto_public_ip.is_some()
                || eni
                    .addresses()
                    .any(|own| snapshot.public_ip(eni, own).is_some())
        });
    if mapped {
        return Err(Refusal::HasPublicAddresses {
            vpc_id: vpc_id.to_string(),
        });
    }
    tx.update::<InternetGateway>(scope, id, |row| row.attached_vpc = None);
    Ok(())
}

pub fn delete(tx: &mut Tx, scope: &Scope, id: &InternetGatewayId) -> Result<(), Refusal> {
    if get(tx.snapshot(), scope, id)?.attached_vpc.is_some() {
        return Err(Refusal::has_dependents("internetGateway", id));
    }
    tx.delete::<InternetGateway>(scope, id);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::vpcs as vpc_model;
    use super::*;
    use crate::model::Refused;

    #[test]
    fn one_gateway_a_vpc_and_one_vpc_a_gateway() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let other = vpc_model::create(&mut tx, &scope(), new_vpc("10.1.0.0/16")).unwrap();
        let id = gateway(&mut tx, &vpc).internet_gateway_id;
        let again = attach(&mut tx, &scope(), &id, &other.vpc_id).unwrap_err();
        assert_eq!(again.code(), "Resource.AlreadyAssociated");
        let second = create(&mut tx, &scope(), Tags::new())
            .unwrap()
            .internet_gateway_id;
        let refusal = attach(&mut tx, &scope(), &second, &vpc.vpc_id).unwrap_err();
        assert_eq!(refusal.code(), "InvalidParameterValue");
        assert_eq!(
            refusal.to_string(),
            format!(
                "Network {} already has an internet gateway attached",
                vpc.vpc_id
            )
        );
        attach(&mut tx, &scope(), &second, &other.vpc_id).unwrap();
    }

    #[test]
    fn an_attached_gateway_is_not_deleted_and_a_detached_one_not_detached() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let id = gateway(&mut tx, &vpc).internet_gateway_id;
        assert_eq!(
            delete(&mut tx, &scope(), &id),
            Err(Refusal::has_dependents("internetGateway", &id))
        );
        detach(&mut tx, &scope(), &id, &vpc.vpc_id).unwrap();
        assert_eq!(
            detach(&mut tx, &scope(), &id, &vpc.vpc_id)
                .unwrap_err()
                .code(),
            "Gateway.NotAttached"
        );
        delete(&mut tx, &scope(), &id).unwrap();
        assert_eq!(
            delete(&mut tx, &scope(), &id).unwrap_err().code(),
            "InvalidInternetGatewayID.NotFound"
        );
    }

    #[test]
    fn mapped_public_addresses_hold_the_gateway() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let id = gateway(&mut tx, &vpc).internet_gateway_id;
        let subnet = subnet(&mut tx, &vpc, "10.0.0.0/24");
        let mut new = new_interface(&subnet.subnet_id);
        new.assign_public_ip = true;
        let eni = super::super::enis::create(&mut tx, &scope(), new).unwrap();
        let refused = Err(Refusal::HasPublicAddresses {
            vpc_id: vpc.vpc_id.to_string(),
        });
        assert_eq!(detach(&mut tx, &scope(), &id, &vpc.vpc_id), refused);
        super::super::enis::delete(&mut tx, &scope(), &eni.eni_id);
        detach(&mut tx, &scope(), &id, &vpc.vpc_id).unwrap();
    }

    #[test]
    fn the_sixth_gateway_is_refused() {
        let mut tx = Tx::for_test();
        for _ in 0..Quotas::AWS.internet_gateways {
            create(&mut tx, &scope(), Tags::new()).unwrap();
        }
        assert_eq!(
            create(&mut tx, &scope(), Tags::new()),
            Err(Refusal::GatewayLimit)
        );
    }
}
