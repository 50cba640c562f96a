//! VPCs of private zones.

use super::zones::parse_vpc;
use super::{bare, changes};
use crate::api::{ApiError, Context};
use crate::model::route53::{invalid, listing, vpcs};
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
    let page = listing::zones_by_id(&snapshot, &scope, token, size, |zone| {
        zone.vpcs.contains(&vpc)
    });
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
