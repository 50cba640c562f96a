//! Operations.

use super::{page, passes};
use crate::api::{ApiError, Context};
use crate::model::discovery::operations as model;
use fogbank_types::discovery::DiscoveryOperation;
use fogbank_wire::servicediscovery as wire;

fn status(row: &DiscoveryOperation) -> &'static str {
    if row.error.is_some() {
        "FAIL"
    } else {
        "SUCCESS"
    }
}

pub fn get(
    context: &Context,
    input: wire::GetOperationRequest,
) -> Result<wire::GetOperationResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let row = model::find(&snapshot, &scope, &input.operation_id)?;
    let (code, message) = row.error.clone().unzip();
    Ok(wire::GetOperationResponse {
        operation: Some(wire::Operation {
            create_date: Some(row.at),
            error_code: code,
            error_message: message,
            id: Some(row.id.clone()),
            owner_account: Some(scope.account.clone()),
            status: Some(status(row).to_owned()),
            targets: Some(row.targets.clone()),
            r#type: Some(row.kind.clone()),
            update_date: Some(row.at),
        }),
    })
}

pub fn list(
    context: &Context,
    input: wire::ListOperationsRequest,
) -> Result<wire::ListOperationsResponse, ApiError> {
    let snapshot = context.snapshot();
    let filters = input.filters.unwrap_or_default();
    let is_wanted = |row: &DiscoveryOperation| {
        filters.iter().all(|filter| {
            let seconds = (row.at.0 / 1000).to_string();
            let value = match filter.name.as_str() {
                "NAMESPACE_ID" => row.targets.get("NAMESPACE").map_or("", String::as_str),
                "SERVICE_ID" => row.targets.get("SERVICE").map_or("", String::as_str),
                "STATUS" => status(row),
                "TYPE" => &row.kind,
                _ => &seconds,
            };
            passes(filter.condition.as_deref(), &filter.values, value)
        })
    };
    let rows = snapshot.discovery_operations.in_scope(&context.scope());
    let mut found: Vec<_> = rows.filter(|row| is_wanted(row)).collect();
    found.sort_by_key(|row| std::cmp::Reverse(row.at));
    let (found, next_token) = page(found, input.next_token.as_deref(), input.max_results)?;
    let summary = |row: &DiscoveryOperation| wire::OperationSummary {
        id: Some(row.id.clone()),
        status: Some(status(row).to_owned()),
    };
    Ok(wire::ListOperationsResponse {
        next_token,
        operations: Some(found.into_iter().map(|row| summary(row)).collect()),
    })
}
