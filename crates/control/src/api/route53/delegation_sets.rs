//! Reusable delegation sets.

use super::bare;
use crate::api::{ApiError, Context};
use crate::model::route53::{delegation_sets as rules, listing};
use fogbank_wire::route53::*;

type Row = fogbank_types::route53::DelegationSet;

pub fn create(
    context: &Context,
    input: CreateReusableDelegationSetRequest,
) -> Result<CreateReusableDelegationSetResponse, ApiError> {
    let scope = context.scope().global();
    let zone = input.hosted_zone_id.as_deref().map(bare);
    let row = context.write(|tx| Ok(rules::create(tx, &scope, &input.caller_reference, zone)?))?;
    Ok(CreateReusableDelegationSetResponse {
        location: format!(
            "https://route53.amazonaws.com/2013-04-01/delegationset/{}",
            row.id
        ),
        delegation_set: render(&row),
    })
}

pub fn render(row: &Row) -> DelegationSet {
    DelegationSet {
        caller_reference: Some(row.caller_reference.clone()),
        id: Some(format!("/delegationset/{}", row.id)),
        name_servers: row.name_servers.clone(),
    }
}

pub fn get(
    context: &Context,
    input: GetReusableDelegationSetRequest,
) -> Result<GetReusableDelegationSetResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let row = rules::find(&snapshot, &scope, bare(&input.id))?;
    Ok(GetReusableDelegationSetResponse {
        delegation_set: render(row),
    })
}

pub fn list(
    context: &Context,
    input: ListReusableDelegationSetsRequest,
) -> Result<ListReusableDelegationSetsResponse, ApiError> {
    let size = listing::page_size(input.max_items.as_deref(), listing::ZONES_MAX)?;
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let marker = input.marker.as_deref().map(bare);
    let page = rules::list(&snapshot, &scope, marker, size);
    Ok(ListReusableDelegationSetsResponse {
        delegation_sets: page.rows.iter().map(|row| render(row)).collect(),
        is_truncated: page.next.is_some(),
        marker: input.marker.unwrap_or_default(),
        max_items: size.to_string(),
        next_marker: page.next.map(|row| row.id.clone()),
    })
}

pub fn delete(
    context: &Context,
    input: DeleteReusableDelegationSetRequest,
) -> Result<DeleteReusableDelegationSetResponse, ApiError> {
    let scope = context.scope().global();
    context.write(|tx| Ok(rules::delete(tx, &scope, bare(&input.id))?))?;
    Ok(DeleteReusableDelegationSetResponse {})
}
