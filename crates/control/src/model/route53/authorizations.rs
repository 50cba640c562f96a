//! Authorizations: a private zone's owner lets another account associate its VPC with the zone (fact PHZ-1).
//! <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/hosted-zone-private-associate-vpcs-different-accounts.html>

use super::{Refusal, invalid, zones};
use crate::model::tx::Tx;
use fogbank_types::route53::{VpcAssociationAuthorization, ZoneVpc};
use fogbank_types::{Row, Scope, Snapshot, VpcId};

/// Quota "VPC association authorizations" of a zone.
const AUTHORIZATIONS_MAX: usize = 1000;

/// A VPC of any account.
fn any_vpc(snapshot: &Snapshot, region: &str, id: &str) -> Result<ZoneVpc, Refusal> {
    let unknown = || Refusal::InvalidVpcId(id.to_owned());
    let vpc_id = VpcId::parse(id).map_err(|_| unknown())?;
    let mut vpcs = snapshot.vpcs.all();
    if !vpcs.any(|vpc| vpc.vpc_id == vpc_id && vpc.scope.region == region) {
        return Err(unknown());
    }
    Ok(ZoneVpc {
        region: region.to_owned(),
        vpc_id,
    })
}

/// The same again changes nothing.
pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    zone_id: &str,
    region: &str,
    vpc_id: &str,
) -> Result<ZoneVpc, Refusal> {
    let zone = zones::find(tx.snapshot(), scope, zone_id)?;
    if !zone.private {
        return Err(invalid(
            "A VPC can be authorized to be associated with a private hosted zone only",
        ));
    }
    let vpc = any_vpc(tx.snapshot(), region, vpc_id)?;
    let known = list(tx.snapshot(), scope, zone_id)?;
    if !known.contains(&vpc) && known.len() >= AUTHORIZATIONS_MAX {
        return Err(Refusal::TooManyVpcAssociationAuthorizations);
    }
    tx.put(VpcAssociationAuthorization {
        scope: scope.clone(),
        zone_id: zone_id.to_owned(),
        vpc: vpc.clone(),
    });
    Ok(vpc)
}

/// The VPC may be gone; associations made with the authorization stay.
pub fn delete(
    tx: &mut Tx,
    scope: &Scope,
    zone_id: &str,
    region: &str,
    vpc_id: &str,
) -> Result<(), Refusal> {
    let known = list(tx.snapshot(), scope, zone_id)?;
    let same = |vpc: &&ZoneVpc| vpc.region == region && vpc.vpc_id.as_str() == vpc_id;
    let Some(vpc) = known.iter().find(same) else {
        return Err(Refusal::VpcAssociationAuthorizationNotFound);
    };
    let row = row(scope, zone_id, vpc);
    tx.delete::<VpcAssociationAuthorization>(scope, row.id());
    Ok(())
}

fn row(scope: &Scope, zone_id: &str, vpc: &ZoneVpc) -> VpcAssociationAuthorization {
    VpcAssociationAuthorization {
        scope: scope.clone(),
        zone_id: zone_id.to_owned(),
        vpc: vpc.clone(),
    }
}

/// By region and id.
pub fn list(snapshot: &Snapshot, scope: &Scope, zone_id: &str) -> Result<Vec<ZoneVpc>, Refusal> {
    zones::find(snapshot, scope, zone_id)?;
    let rows = &snapshot.vpc_association_authorizations;
    let rows = rows.with_prefix(scope, &format!("{zone_id}/"));
    Ok(rows.map(|row| row.vpc.clone()).collect())
}

/// Whether a zone's owner (its scope) let that VPC in.
pub fn is_authorized(snapshot: &Snapshot, owner: &Scope, zone_id: &str, vpc: &ZoneVpc) -> bool {
    let row = row(owner, zone_id, vpc);
    snapshot
        .vpc_association_authorizations
        .contains(owner, row.id())
}
