//! Egress-only internet gateways: the way out for IPv6, and no way in (fact IGW-6).
//! <https://docs.aws.amazon.com/vpc/latest/userguide/egress-only-internet-gateway.html>

use super::{Quotas, Refusal, ResourceKind, vpcs};
use crate::model::Tx;
use fogbank_types::ec2::EgressOnlyInternetGateway;
use fogbank_types::*;

/// Attached to its VPC for life; a VPC has one at most.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html>
pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    vpc_id: &VpcId,
    client_token: Option<&str>,
    tags: Tags,
) -> Result<EgressOnlyInternetGateway, Refusal> {
    vpcs::get(tx.snapshot(), scope, vpc_id)?;
    let own = || tx.snapshot().egress_only_gateways.in_scope(scope);
    let earlier =
        own().find(|row| client_token.is_some() && row.client_token.as_deref() == client_token);
    if let Some(earlier) = earlier {
        return if earlier.vpc_id == *vpc_id {
            Ok(EgressOnlyInternetGateway::clone(earlier))
        } else {
            Err(Refusal::TokenReused)
        };
    }
    if own().any(|row| row.vpc_id == *vpc_id) {
        let vpc_id = vpc_id.to_string();
        return Err(Refusal::NetworkHasEgressGateway { vpc_id });
    }
    if own().count() >= Quotas::of(tx.config()).egress_only_gateways {
        return Err(Refusal::EgressGatewayLimit);
    }
    let row = EgressOnlyInternetGateway {
        scope: scope.clone(),
        egress_only_internet_gateway_id: EgressOnlyInternetGatewayId::from_bits(tx.random()),
        vpc_id: vpc_id.clone(),
        client_token: client_token.map(str::to_owned),
        created_at: tx.now(),
        tags,
    };
    tx.put(row.clone());
    Ok(row)
}

/// Routes to it stay and are blackholes (fact RTB-6).
pub fn delete(tx: &mut Tx, scope: &Scope, id: &EgressOnlyInternetGatewayId) -> Result<(), Refusal> {
    if tx.delete::<EgressOnlyInternetGateway>(scope, id) {
        Ok(())
    } else {
        Err(Refusal::not_found(
            ResourceKind::EgressOnlyInternetGateway,
            id,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::Refused;

    #[test]
    fn a_vpc_has_one_and_a_token_makes_one() {
        let mut tx = Tx::for_test();
        let (one, other) = (vpc(&mut tx, "10.0.0.0/16"), vpc(&mut tx, "10.1.0.0/16"));
        let mut make = |vpc: &ec2::Vpc, token| {
            create(&mut tx, &scope(), &vpc.vpc_id, token, Tags::new()).map_err(|r| r.code())
        };
        let first = make(&one, Some("t")).unwrap();
        assert_eq!(make(&one, Some("t")).unwrap(), first);
        assert_eq!(make(&other, Some("t")), Err("IdempotentParameterMismatch"));
        assert_eq!(make(&one, None), Err("InvalidParameterValue"));
        make(&other, None).unwrap();
    }

    #[test]
    fn it_keeps_its_vpc_and_goes_once() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let gateway = create(&mut tx, &scope(), &vpc.vpc_id, None, Tags::new()).unwrap();
        let id = gateway.egress_only_internet_gateway_id;
        let refusal = vpcs::delete(&mut tx, &scope(), &vpc.vpc_id).unwrap_err();
        assert_eq!(refusal.code(), "DependencyViolation");
        delete(&mut tx, &scope(), &id).unwrap();
        let refusal = delete(&mut tx, &scope(), &id).unwrap_err();
        assert_eq!(refusal.code(), "InvalidGatewayID.NotFound");
        vpcs::delete(&mut tx, &scope(), &vpc.vpc_id).unwrap();
    }
}
