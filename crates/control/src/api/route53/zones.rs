//! Hosted zones.

use super::{bare, changes, delegation_sets};
use crate::api::{ApiError, Context};
use crate::model::route53::zones::{self, NewZone};
use crate::model::route53::{
    Refusal, batch, delegation_sets as set_rules, invalid, listing, vpcs as rules,
};
use fogbank_types::Snapshot;
use fogbank_types::route53::ZoneVpc;
use fogbank_wire::route53::*;

type Row = fogbank_types::route53::HostedZone;

pub fn create(
    context: &Context,
    input: CreateHostedZoneRequest,
) -> Result<CreateHostedZoneResponse, ApiError> {
    let config = input.hosted_zone_config.unwrap_or_default();
    let new = NewZone {
        name: input.name,
        caller_reference: input.caller_reference,
        comment: config.comment,
        private: config.private_zone.unwrap_or(false),
        vpc: input.vpc.map(parse_vpc).transpose()?,
        delegation_set_id: input
            .delegation_set_id
            .as_deref()
            .map(|id| bare(id).to_owned()),
    };
    let scope = context.scope().global();
    let (row, change) = context.write(|tx| Ok(zones::create(tx, &scope, new.clone())?))?;
    let snapshot = context.snapshot();
    Ok(CreateHostedZoneResponse {
        change_info: changes::render(&change),
        delegation_set: delegation_set(&snapshot, &row).unwrap_or_default(),
        hosted_zone: render(&snapshot, &row),
        location: format!(
            "https://route53.amazonaws.com/2013-04-01/hostedzone/{}",
            row.id
        ),
        vpc: row.vpcs.first().map(render_vpc),
    })
}

/// Region and id; both are needed.
pub fn parse_vpc(vpc: VPC) -> Result<(String, String), Refusal> {
    match (vpc.vpc_region, vpc.vpc_id) {
        (Some(region), Some(id)) => Ok((region, id)),
        _ => Err(invalid(
            "Both VPCRegion and VPCId must be specified for a VPC",
        )),
    }
}

pub fn render_vpc(vpc: &ZoneVpc) -> VPC {
    VPC {
        vpc_id: Some(vpc.vpc_id.to_string()),
        vpc_region: Some(vpc.region.clone()),
    }
}

/// A private zone has none (its apex NS record is real all the same).
fn delegation_set(snapshot: &Snapshot, row: &Row) -> Option<DelegationSet> {
    if row.private {
        return None;
    }
    let reusable = row.delegation_set_id.as_ref();
    let reusable = reusable.and_then(|id| snapshot.delegation_sets.get(&row.scope, id));
    Some(match reusable {
        Some(set) => delegation_sets::render(set),
        None => DelegationSet {
            name_servers: row.name_servers.clone(),
            ..Default::default()
        },
    })
}

fn render(snapshot: &Snapshot, row: &Row) -> HostedZone {
    HostedZone {
        caller_reference: row.caller_reference.clone(),
        config: Some(HostedZoneConfig {
            comment: row.comment.clone(),
            private_zone: Some(row.private),
        }),
        id: format!("/hostedzone/{}", row.id),
        name: row.name.clone(),
        resource_record_set_count: Some(zones::records(snapshot, row).count() as i64),
        ..Default::default()
    }
}

pub fn get(
    context: &Context,
    input: GetHostedZoneRequest,
) -> Result<GetHostedZoneResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let row = zones::find(&snapshot, &scope, bare(&input.id))?;
    Ok(GetHostedZoneResponse {
        delegation_set: delegation_set(&snapshot, row),
        hosted_zone: render(&snapshot, row),
        vpcs: row
            .private
            .then(|| row.vpcs.iter().map(render_vpc).collect()),
    })
}

pub fn delete(
    context: &Context,
    input: DeleteHostedZoneRequest,
) -> Result<DeleteHostedZoneResponse, ApiError> {
    let scope = context.scope().global();
    let change = context.write(|tx| Ok(zones::delete(tx, &scope, bare(&input.id))?))?;
    Ok(DeleteHostedZoneResponse {
        change_info: changes::render(&change),
    })
}

pub fn update_comment(
    context: &Context,
    input: UpdateHostedZoneCommentRequest,
) -> Result<UpdateHostedZoneCommentResponse, ApiError> {
    let scope = context.scope().global();
    let row = context.write(|tx| {
        Ok(zones::set_comment(
            tx,
            &scope,
            bare(&input.id),
            input.comment.clone(),
        )?)
    })?;
    Ok(UpdateHostedZoneCommentResponse {
        hosted_zone: render(&context.snapshot(), &row),
    })
}

pub fn list(
    context: &Context,
    input: ListHostedZonesRequest,
) -> Result<ListHostedZonesResponse, ApiError> {
    let size = listing::page_size(input.max_items.as_deref(), listing::ZONES_MAX)?;
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let set = input.delegation_set_id.as_deref().map(bare);
    if let Some(set) = set {
        set_rules::find(&snapshot, &scope, set)?;
    }
    let only_private = input.hosted_zone_type.is_some();
    let marker = input.marker.as_deref().map(bare);
    let page = listing::zones_by_id(&snapshot, &scope, marker, size, |zone| {
        (zone.private || !only_private)
            && set.is_none_or(|set| zone.delegation_set_id.as_deref() == Some(set))
    });
    Ok(ListHostedZonesResponse {
        hosted_zones: page.rows.iter().map(|row| render(&snapshot, row)).collect(),
        is_truncated: page.next.is_some(),
        marker: input.marker.unwrap_or_default(),
        max_items: size.to_string(),
        next_marker: page.next.map(|row| row.id.clone()),
    })
}

pub fn list_by_name(
    context: &Context,
    input: ListHostedZonesByNameRequest,
) -> Result<ListHostedZonesByNameResponse, ApiError> {
    let size = listing::page_size(input.max_items.as_deref(), listing::ZONES_MAX)?;
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let id = input.hosted_zone_id.as_deref().map(bare);
    let page = listing::zones_by_name(&snapshot, &scope, input.dns_name.as_deref(), id, size)?;
    Ok(ListHostedZonesByNameResponse {
        hosted_zones: page.rows.iter().map(|row| render(&snapshot, row)).collect(),
        is_truncated: page.next.is_some(),
        max_items: size.to_string(),
        next_dns_name: page.next.as_ref().map(|row| row.name.clone()),
        next_hosted_zone_id: page.next.map(|row| row.id.clone()),
        dns_name: input.dns_name,
        hosted_zone_id: input.hosted_zone_id,
    })
}

pub fn count(
    context: &Context,
    _: GetHostedZoneCountRequest,
) -> Result<GetHostedZoneCountResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let hosted_zone_count = snapshot.hosted_zones.in_scope(&scope).count() as i64;
    Ok(GetHostedZoneCountResponse { hosted_zone_count })
}

pub fn limit(
    context: &Context,
    input: GetHostedZoneLimitRequest,
) -> Result<GetHostedZoneLimitResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let row = zones::find(&snapshot, &scope, bare(&input.hosted_zone_id))?;
    let (count, value) = match input.r#type.as_str() {
        "MAX_RRSETS_BY_ZONE" => (
            zones::records(&snapshot, row).count(),
            batch::records_max(context.config()),
        ),
        "MAX_VPCS_ASSOCIATED_BY_ZONE" if !row.private => {
            return Err(Refusal::HostedZoneNotPrivate.into());
        }
        "MAX_VPCS_ASSOCIATED_BY_ZONE" => (row.vpcs.len(), rules::VPCS_MAX),
        other => return Err(invalid(format!("The limit type '{other}' is not valid")).into()),
    };
    Ok(GetHostedZoneLimitResponse {
        count: count as i64,
        limit: HostedZoneLimit {
            r#type: input.r#type,
            value: value as i64,
        },
    })
}
