//! Private zones and their VPCs (fact PHZ-1).

use super::{Refusal, authorizations, changes, zones};
use crate::model::tx::Tx;
use crate::model::vpc::endpoints;
use fogbank_types::route53::{Change, HostedZone, ZoneVpc};
use fogbank_types::{Scope, Snapshot, VpcId};
use std::sync::Arc;

/// Quota "VPCs per private hosted zone".
pub const VPCS_MAX: usize = 300;

/// The VPC of that region and id. One of another account would need an authorization.
pub fn find(
    snapshot: &Snapshot,
    scope: &Scope,
    region: &str,
    id: &str,
) -> Result<ZoneVpc, Refusal> {
    let vpc_id = VpcId::parse(id).map_err(|_| Refusal::InvalidVpcId(id.to_owned()))?;
    let own = Scope::new(&scope.account, region);
    if snapshot.vpcs.contains(&own, &vpc_id) {
        return Ok(ZoneVpc {
            region: region.to_owned(),
            vpc_id,
        });
    }
    let of_another =
        |vpc: &Arc<fogbank_types::ec2::Vpc>| vpc.vpc_id == vpc_id && vpc.scope.region == region;
    if snapshot.vpcs.all().any(of_another) {
        Err(Refusal::NotAuthorized(id.to_owned()))
    } else {
        Err(Refusal::InvalidVpcId(id.to_owned()))
    }
}

/// No other zone of that name may be associated with the VPC, nor an endpoint's private names be there.
/// <https://docs.aws.amazon.com/vpc/latest/privatelink/manage-dns-names.html>
pub fn check_name_is_free(
    snapshot: &Snapshot,
    scope: &Scope,
    vpc: &ZoneVpc,
    name: &str,
) -> Result<(), Refusal> {
    // A VPC may be in zones of other accounts too.
    let mut zones = snapshot.hosted_zones.all();
    let zone = zones.find(|zone| zone.name == name && zone.vpcs.contains(vpc));
    let taken = zone
        .map(|zone| zone.id.clone())
        .or_else(|| endpoint_zone(snapshot, scope, vpc, name));
    match taken {
        Some(zone_id) => Err(Refusal::ConflictingDomainExists {
            vpc_id: vpc.vpc_id.to_string(),
            region: vpc.region.clone(),
            zone_id,
        }),
        None => Ok(()),
    }
}

/// The zone of an interface endpoint that has taken that name over in the VPC.
fn endpoint_zone(snapshot: &Snapshot, scope: &Scope, vpc: &ZoneVpc, name: &str) -> Option<String> {
    let scope = Scope::new(&scope.account, &vpc.region);
    let mut endpoints = snapshot.vpc_endpoints.in_scope(&scope);
    let endpoint = endpoints.find(|row| {
        row.vpc_id == vpc.vpc_id
            && endpoints::private_domain(row)
                .is_some_and(|domain| name.strip_suffix('.') == Some(domain.as_str()))
    })?;
    Some(endpoints::private_zone_id(endpoint))
}

pub fn associate(
    tx: &mut Tx,
    scope: &Scope,
    zone_id: &str,
    region: &str,
    vpc_id: &str,
    comment: Option<String>,
) -> Result<Change, Refusal> {
    let mut zone = private(any(tx.snapshot(), scope, zone_id)?)?;
    let vpc = find(tx.snapshot(), scope, region, vpc_id)?;
    let foreign = zone.scope.account != scope.account;
    if foreign && !authorizations::is_authorized(tx.snapshot(), &zone.scope, zone_id, &vpc) {
        return Err(Refusal::NotAuthorized(vpc_id.to_owned()));
    }
    check_name_is_free(tx.snapshot(), scope, &vpc, &zone.name)?;
    if zone.vpcs.len() >= VPCS_MAX {
        return Err(Refusal::LimitsExceeded(format!(
            "A private hosted zone cannot be associated with more than {VPCS_MAX} VPCs"
        )));
    }
    zone.vpcs.push(vpc);
    tx.put(zone);
    Ok(changes::submit(tx, scope, comment))
}

/// The VPC may be gone; its association can still be taken away. The last one stays.
pub fn disassociate(
    tx: &mut Tx,
    scope: &Scope,
    zone_id: &str,
    region: &str,
    vpc_id: &str,
    comment: Option<String>,
) -> Result<Change, Refusal> {
    let row = any(tx.snapshot(), scope, zone_id)?;
    let own = Scope::new(&scope.account, region);
    let is_own_vpc = VpcId::parse(vpc_id).is_ok_and(|id| tx.snapshot().vpcs.contains(&own, &id));
    if row.scope.account != scope.account && !is_own_vpc {
        return Err(Refusal::NoSuchHostedZone(zone_id.to_owned()));
    }
    let mut zone = private(row)?;
    let same = |vpc: &ZoneVpc| vpc.region == region && vpc.vpc_id.as_str() == vpc_id;
    if !zone.vpcs.iter().any(same) {
        return Err(Refusal::VpcAssociationNotFound(vpc_id.to_owned()));
    }
    if zone.vpcs.len() == 1 {
        return Err(Refusal::LastVpcAssociation);
    }
    zone.vpcs.retain(|vpc| !same(vpc));
    tx.put(zone);
    Ok(changes::submit(tx, scope, comment))
}

/// The caller's zone, or another account's.
fn any(snapshot: &Snapshot, scope: &Scope, zone_id: &str) -> Result<Arc<HostedZone>, Refusal> {
    let own = zones::find(snapshot, scope, zone_id);
    own.cloned().or_else(|refusal| {
        let mut all = snapshot.hosted_zones.all();
        all.find(|zone| zone.id == zone_id).cloned().ok_or(refusal)
    })
}

fn private(zone: Arc<HostedZone>) -> Result<HostedZone, Refusal> {
    if zone.private {
        Ok(HostedZone::clone(&zone))
    } else {
        Err(Refusal::PublicZoneVpcAssociation)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{new_zone, scope, zone};
    use super::super::zones::NewZone;
    use super::*;
    use crate::model::elb::fixture::put_vpc;

    const REGION: &str = "us-east-1";

    fn vpc(tx: &mut Tx, account: &str) -> String {
        put_vpc(tx, &Scope::new(account, REGION), "10.0.0.0/16").to_string()
    }

    fn private_zone(tx: &mut Tx, name: &str, vpc_id: &str) -> Result<HostedZone, Refusal> {
        let reference = tx.hex(16);
        let new = NewZone {
            vpc: Some((REGION.to_owned(), vpc_id.to_owned())),
            ..new_zone(name, &reference)
        };
        zones::create(tx, &scope(), new).map(|(zone, _)| zone)
    }

    #[test]
    fn a_vpc_makes_a_zone_private() {
        let mut tx = Tx::for_test();
        let a = vpc(&mut tx, "000000000000");
        let row = private_zone(&mut tx, "p.test", &a).unwrap();
        assert!(row.private);
        assert_eq!(row.name_servers[0], "ns-0.awsdns-00.com");
        let refused = private_zone(&mut tx, "p.test", &a);
        assert!(matches!(
            refused,
            Err(Refusal::ConflictingDomainExists { .. })
        ));
        private_zone(&mut tx, "q.test", &a).unwrap();
    }

    #[test]
    fn associations_come_and_go_but_the_last_stays() {
        let mut tx = Tx::for_test();
        let (a, b) = (vpc(&mut tx, "000000000000"), vpc(&mut tx, "000000000000"));
        let id = private_zone(&mut tx, "p.test", &a).unwrap().id;
        let refused = disassociate(&mut tx, &scope(), &id, REGION, &a, None);
        assert_eq!(refused.unwrap_err(), Refusal::LastVpcAssociation);
        associate(&mut tx, &scope(), &id, REGION, &b, None).unwrap();
        let refused = associate(&mut tx, &scope(), &id, REGION, &b, None);
        assert!(matches!(
            refused,
            Err(Refusal::ConflictingDomainExists { .. })
        ));
        disassociate(&mut tx, &scope(), &id, REGION, &a, None).unwrap();
        let refused = disassociate(&mut tx, &scope(), &id, REGION, &a, None);
        assert!(matches!(refused, Err(Refusal::VpcAssociationNotFound(_))));
    }

    #[test]
    fn other_refusals() {
        let mut tx = Tx::for_test();
        let (a, foreign) = (vpc(&mut tx, "000000000000"), vpc(&mut tx, "111111111111"));
        let public = zone(&mut tx, "example.test").id;
        let refused = associate(&mut tx, &scope(), &public, REGION, &a, None);
        assert_eq!(refused.unwrap_err(), Refusal::PublicZoneVpcAssociation);
        let id = private_zone(&mut tx, "p.test", &a).unwrap().id;
        let refused = associate(&mut tx, &scope(), &id, REGION, &foreign, None);
        assert!(matches!(refused, Err(Refusal::NotAuthorized(_))));
        for (region, vpc_id) in [
            (REGION, "vpc-00000000"),
            (REGION, "x"),
            ("eu-west-1", a.as_str()),
        ] {
            let refused = associate(&mut tx, &scope(), &id, region, vpc_id, None);
            assert!(
                matches!(refused, Err(Refusal::InvalidVpcId(_))),
                "{region} {vpc_id}"
            );
        }
        let refused = associate(&mut tx, &scope(), "Z", REGION, &a, None);
        assert!(matches!(refused, Err(Refusal::NoSuchHostedZone(_))));
    }

    #[test]
    fn another_accounts_vpc_needs_an_authorization() {
        let mut tx = Tx::for_test();
        let other = Scope::new("111111111111", "global");
        let (own, foreign) = (vpc(&mut tx, "000000000000"), vpc(&mut tx, "111111111111"));
        let id = private_zone(&mut tx, "p.test", &own).unwrap().id;
        let join = |tx: &mut Tx| associate(tx, &other, &id, REGION, &foreign, None);
        assert_eq!(
            join(&mut tx).unwrap_err(),
            Refusal::NotAuthorized(foreign.clone())
        );
        authorizations::create(&mut tx, &scope(), &id, REGION, &foreign).unwrap();
        assert_eq!(
            authorizations::list(tx.snapshot(), &scope(), &id)
                .unwrap()
                .len(),
            1
        );
        // It is for the VPC's account to join.
        let refused = associate(&mut tx, &scope(), &id, REGION, &foreign, None);
        assert!(matches!(refused, Err(Refusal::NotAuthorized(_))));
        join(&mut tx).unwrap();
        assert_eq!(
            zones::find(tx.snapshot(), &scope(), &id)
                .unwrap()
                .vpcs
                .len(),
            2
        );
        authorizations::delete(&mut tx, &scope(), &id, REGION, &foreign).unwrap();
        let refused = authorizations::delete(&mut tx, &scope(), &id, REGION, &foreign);
        assert_eq!(refused, Err(Refusal::VpcAssociationAuthorizationNotFound));
        let refused = disassociate(&mut tx, &other, &id, REGION, &own, None);
        assert!(matches!(refused, Err(Refusal::NoSuchHostedZone(_))));
        disassociate(&mut tx, &other, &id, REGION, &foreign, None).unwrap();
        assert!(join(&mut tx).is_err());
    }

    #[test]
    fn authorizations_that_are_refused() {
        let mut tx = Tx::for_test();
        let own = vpc(&mut tx, "000000000000");
        let public = zone(&mut tx, "example.test").id;
        let refused = authorizations::create(&mut tx, &scope(), &public, REGION, &own);
        assert!(matches!(refused, Err(Refusal::InvalidInput(_))));
        let id = private_zone(&mut tx, "p.test", &own).unwrap().id;
        let refused = authorizations::create(&mut tx, &scope(), &id, REGION, "vpc-00000000");
        assert!(matches!(refused, Err(Refusal::InvalidVpcId(_))));
        authorizations::create(&mut tx, &scope(), &id, REGION, &own).unwrap();
        zones::delete(&mut tx, &scope(), &id).unwrap();
        assert!(tx.snapshot().vpc_association_authorizations.is_empty());
    }

    #[test]
    fn an_endpoint_keeps_its_private_names() {
        use crate::model::vpc::endpoints::{NewEndpoint, NewKind, PrivateDns, create, delete};
        let mut tx = Tx::for_test();
        let vpc_id = vpc(&mut tx, "000000000000");
        let new = NewEndpoint {
            vpc_id: VpcId::parse(&vpc_id).unwrap(),
            service_name: "com.amazonaws.us-east-1.logs".to_owned(),
            kind: NewKind::Interface {
                subnets: Vec::new(),
                group_ids: Vec::new(),
                private_dns: PrivateDns::default(),
                ip_address_type: None,
            },
            policy_document: None,
            client_token: None,
            tags: fogbank_types::Tags::new(),
        };
        let of_vpc = Scope::new("000000000000", REGION);
        let endpoint = create(&mut tx, &of_vpc, new).unwrap();
        let refused = private_zone(&mut tx, "logs.us-east-1.amazonaws.com", &vpc_id);
        assert!(matches!(
            refused,
            Err(Refusal::ConflictingDomainExists { .. })
        ));
        assert!(private_zone(&mut tx, "sts.us-east-1.amazonaws.com", &vpc_id).is_ok());
        delete(&mut tx, &of_vpc, &endpoint.vpc_endpoint_id).unwrap();
        assert!(private_zone(&mut tx, "logs.us-east-1.amazonaws.com", &vpc_id).is_ok());
    }
}
