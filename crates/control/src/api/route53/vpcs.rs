//! VPCs of private zones.

use super::zones::{parse_vpc, render_vpc};
use super::{bare, changes, token_page};
use crate::api::{ApiError, Context};
use crate::model::route53::{authorizations, invalid, listing, vpcs};
use fogbank_types::route53::HostedZone as Row;
use fogbank_wire::route53::*;

pub fn associate(
    context: &Context,
    input: AssociateVPCWithHostedZoneRequest,
) -> Result<AssociateVPCWithHostedZoneResponse, ApiError> {
    let (region, id) = parse_vpc(input.vpc)?;
    let (scope, zone) = (context.scope().global(), bare(&input.hosted_zone_id));
    let change = context.write(|tx| {
        Ok(vpcs::associate(
            tx,
            &scope,
            zone,
            &region,
            &id,
            input.comment.clone(),
        )?)
    })?;
    Ok(AssociateVPCWithHostedZoneResponse {
        change_info: changes::render(&change),
    })
}

pub fn disassociate(
    context: &Context,
    input: DisassociateVPCFromHostedZoneRequest,
) -> Result<DisassociateVPCFromHostedZoneResponse, ApiError> {
    let (region, id) = parse_vpc(input.vpc)?;
    let (scope, zone) = (context.scope().global(), bare(&input.hosted_zone_id));
    let change = context.write(|tx| {
        Ok(vpcs::disassociate(
            tx,
            &scope,
            zone,
            &region,
            &id,
            input.comment.clone(),
        )?)
    })?;
    Ok(DisassociateVPCFromHostedZoneResponse {
        change_info: changes::render(&change),
    })
}

pub fn list_zones(
    context: &Context,
    input: ListHostedZonesByVPCRequest,
) -> Result<ListHostedZonesByVPCResponse, ApiError> {
    let size = listing::page_size(input.max_items.as_deref(), listing::ZONES_MAX)?;
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let vpc = vpcs::find(&snapshot, &scope, &input.vpc_region, &input.vpc_id)
        .map_err(|refusal| invalid(refusal.to_string()))?;
    let token = input.next_token.as_deref();
    let page = listing::zones_of_vpc(&snapshot, &vpc, token, size);
    let summary = |row: &Row| HostedZoneSummary {
        hosted_zone_id: row.id.clone(),
        name: row.name.clone(),
        owner: HostedZoneOwner {
            owning_account: Some(row.scope.account.clone()),
            owning_service: None,
        },
    };
    Ok(ListHostedZonesByVPCResponse {
        hosted_zone_summaries: page.rows.iter().map(|row| summary(row)).collect(),
        max_items: size.to_string(),
        next_token: page.next.map(|row| row.id.clone()),
    })
}

pub fn authorize(
    context: &Context,
    input: CreateVPCAssociationAuthorizationRequest,
) -> Result<CreateVPCAssociationAuthorizationResponse, ApiError> {
    let (region, id) = parse_vpc(input.vpc)?;
    let (scope, zone) = (context.scope().global(), bare(&input.hosted_zone_id));
    let vpc = context.write(|tx| Ok(authorizations::create(tx, &scope, zone, &region, &id)?))?;
    Ok(CreateVPCAssociationAuthorizationResponse {
        hosted_zone_id: zone.to_owned(),
        vpc: render_vpc(&vpc),
    })
}

pub fn deauthorize(
    context: &Context,
    input: DeleteVPCAssociationAuthorizationRequest,
) -> Result<DeleteVPCAssociationAuthorizationResponse, ApiError> {
    let (region, id) = parse_vpc(input.vpc)?;
    let (scope, zone) = (context.scope().global(), bare(&input.hosted_zone_id));
    context.write(|tx| Ok(authorizations::delete(tx, &scope, zone, &region, &id)?))?;
    Ok(DeleteVPCAssociationAuthorizationResponse {})
}

pub fn list_authorizations(
    context: &Context,
    input: ListVPCAssociationAuthorizationsRequest,
) -> Result<ListVPCAssociationAuthorizationsResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let zone = bare(&input.hosted_zone_id);
    let vpcs = authorizations::list(&snapshot, &scope, zone)?;
    let vpcs = vpcs.iter().map(render_vpc).collect();
    let (vpcs, next_token) = token_page(vpcs, input.next_token, input.max_results)?;
    Ok(ListVPCAssociationAuthorizationsResponse {
        hosted_zone_id: zone.to_owned(),
        next_token,
        vpcs,
    })
}
