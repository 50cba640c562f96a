//! CIDR collections.

use super::token_page;
use crate::api::{ApiError, Context};
use crate::model::route53::cidr_collections::{self as rules, Action, BlockChange};
use crate::model::route53::{Refusal, invalid};
use fogbank_wire::route53::*;

type Row = fogbank_types::route53::CidrCollection;

pub fn create(
    context: &Context,
    input: CreateCidrCollectionRequest,
) -> Result<CreateCidrCollectionResponse, ApiError> {
    let (scope, reference) = (context.scope().global(), &input.caller_reference);
    let row = context.write(|tx| Ok(rules::create(tx, &scope, &input.name, reference)?))?;
    Ok(CreateCidrCollectionResponse {
        location: Some(format!(
            "https://route53.amazonaws.com/2013-04-01/cidrcollection/{}",
            row.id
        )),
        collection: Some(CidrCollection {
            arn: Some(rules::arn(&row)),
            id: Some(row.id),
            name: Some(row.name),
            version: Some(row.version),
        }),
    })
}

pub fn change(
    context: &Context,
    input: ChangeCidrCollectionRequest,
) -> Result<ChangeCidrCollectionResponse, ApiError> {
    let parse = |change: CidrCollectionChange| {
        let action = match change.action.as_str() {
            "PUT" => Action::Put,
            "DELETE_IF_EXISTS" => Action::DeleteIfExists,
            other => return Err(invalid(format!("The action '{other}' is not valid"))),
        };
        Ok(BlockChange {
            action,
            location: change.location_name,
            blocks: change.cidr_list,
        })
    };
    let wanted = input.changes.into_iter().map(parse);
    let wanted: Vec<BlockChange> = wanted.collect::<Result<_, Refusal>>()?;
    let (scope, version) = (context.scope().global(), input.collection_version);
    let change = context.write(|tx| Ok(rules::change(tx, &scope, &input.id, version, &wanted)?))?;
    Ok(ChangeCidrCollectionResponse { id: change.id })
}

pub fn list(
    context: &Context,
    input: ListCidrCollectionsRequest,
) -> Result<ListCidrCollectionsResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let summary = |row: &Row| CollectionSummary {
        arn: Some(rules::arn(row)),
        id: Some(row.id.clone()),
        name: Some(row.name.clone()),
        version: Some(row.version),
    };
    let rows = snapshot.cidr_collections.in_scope(&scope);
    let rows = rows.map(|row| summary(row)).collect();
    let (rows, next_token) = token_page(rows, input.next_token, input.max_results)?;
    Ok(ListCidrCollectionsResponse {
        cidr_collections: Some(rows),
        next_token,
    })
}

pub fn list_locations(
    context: &Context,
    input: ListCidrLocationsRequest,
) -> Result<ListCidrLocationsResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let row = rules::find(&snapshot, &scope, &input.collection_id)?;
    let summary = |name: &String| LocationSummary {
        location_name: Some(name.clone()),
    };
    let rows = row.locations.keys().map(summary).collect();
    let (rows, next_token) = token_page(rows, input.next_token, input.max_results)?;
    Ok(ListCidrLocationsResponse {
        cidr_locations: Some(rows),
        next_token,
    })
}

pub fn list_blocks(
    context: &Context,
    input: ListCidrBlocksRequest,
) -> Result<ListCidrBlocksResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let row = rules::find(&snapshot, &scope, &input.collection_id)?;
    let summary = |(location, block)| CidrBlockSummary {
        cidr_block: Some(block),
        location_name: Some(location),
    };
    let blocks = rules::blocks(row, input.location_name.as_deref())?;
    let rows = blocks.into_iter().map(summary).collect();
    let (rows, next_token) = token_page(rows, input.next_token, input.max_results)?;
    Ok(ListCidrBlocksResponse {
        cidr_blocks: Some(rows),
        next_token,
    })
}

pub fn delete(
    context: &Context,
    input: DeleteCidrCollectionRequest,
) -> Result<DeleteCidrCollectionResponse, ApiError> {
    let scope = context.scope().global();
    context.write(|tx| Ok(rules::delete(tx, &scope, &input.id)?))?;
    Ok(DeleteCidrCollectionResponse {})
}
