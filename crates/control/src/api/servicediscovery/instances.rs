//! Instances of services.

use super::page;
use crate::api::{ApiError, Context};
use crate::model::discovery::{health, instances as model, services};
use fogbank_types::Snapshot;
use fogbank_types::discovery::Instance;
use fogbank_wire::servicediscovery as wire;

pub fn register(
    context: &Context,
    input: wire::RegisterInstanceRequest,
) -> Result<wire::RegisterInstanceResponse, ApiError> {
    let scope = context.scope();
    let operation = context.write(|tx| {
        let (service, id) = (&input.service_id, &input.instance_id);
        let (attributes, creator) = (input.attributes.clone(), input.creator_request_id.clone());
        Ok(model::register(
            tx, &scope, service, id, attributes, creator,
        )?)
    })?;
    Ok(wire::RegisterInstanceResponse {
        operation_id: Some(operation),
    })
}

pub fn deregister(
    context: &Context,
    input: wire::DeregisterInstanceRequest,
) -> Result<wire::DeregisterInstanceResponse, ApiError> {
    let scope = context.scope();
    let operation = context.write(|tx| {
        Ok(model::deregister(
            tx,
            &scope,
            &input.service_id,
            &input.instance_id,
        )?)
    })?;
    Ok(wire::DeregisterInstanceResponse {
        operation_id: Some(operation),
    })
}

pub fn get(
    context: &Context,
    input: wire::GetInstanceRequest,
) -> Result<wire::GetInstanceResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let row = model::find(&snapshot, &scope, &input.service_id, &input.instance_id)?;
    Ok(wire::GetInstanceResponse {
        instance: Some(wire::Instance {
            attributes: Some(row.attributes.clone()),
            created_by_account: Some(scope.account.clone()),
            creator_request_id: row.creator_request_id.clone(),
            id: row.id.clone(),
        }),
        resource_owner: Some(scope.account.clone()),
    })
}

pub fn list(
    context: &Context,
    input: wire::ListInstancesRequest,
) -> Result<wire::ListInstancesResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let service = services::find(&snapshot, &scope, &input.service_id)?;
    let show = |row: &Instance| wire::InstanceSummary {
        attributes: Some(row.attributes.clone()),
        created_by_account: Some(row.scope.account.clone()),
        id: Some(row.id.clone()),
    };
    let found = model::of(&snapshot, service).map(|row| show(row)).collect();
    let (instances, next_token) = page(found, input.next_token.as_deref(), input.max_results)?;
    Ok(wire::ListInstancesResponse {
        instances: Some(instances),
        next_token,
        resource_owner: Some(scope.account.clone()),
    })
}

pub fn health_text(snapshot: &Snapshot, row: &Instance) -> String {
    let text = match health::known(snapshot, row) {
        Some(true) => "HEALTHY",
        Some(false) => "UNHEALTHY",
        None => "UNKNOWN",
    };
    text.to_owned()
}

pub fn health(
    context: &Context,
    input: wire::GetInstancesHealthStatusRequest,
) -> Result<wire::GetInstancesHealthStatusResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let service = services::find(&snapshot, &scope, &input.service_id)?;
    let rows = match input.instances {
        None => model::of(&snapshot, service).cloned().collect(),
        Some(ids) => ids
            .iter()
            .map(|id| Ok(model::find(&snapshot, &scope, &service.id, id)?.clone()))
            .collect::<Result<Vec<_>, ApiError>>()?,
    };
    let (rows, next_token) = page(rows, input.next_token.as_deref(), input.max_results)?;
    let status = rows
        .iter()
        .map(|row| (row.id.clone(), health_text(&snapshot, row)))
        .collect();
    Ok(wire::GetInstancesHealthStatusResponse {
        next_token,
        status: Some(status),
    })
}

pub fn set_health(
    context: &Context,
    input: wire::UpdateInstanceCustomHealthStatusRequest,
) -> Result<wire::UpdateInstanceCustomHealthStatusResponse, ApiError> {
    let (scope, healthy) = (context.scope(), input.status == "HEALTHY");
    context.write(|tx| {
        let (service, id) = (&input.service_id, &input.instance_id);
        Ok(model::set_health(tx, &scope, service, id, healthy)?)
    })?;
    Ok(wire::UpdateInstanceCustomHealthStatusResponse {})
}
