//! DiscoverInstances.

use super::instances::health_text;
use crate::api::{ApiError, Context};
use crate::model::discovery::lookups::{self as model, Query};
use fogbank_wire::servicediscovery as wire;

pub fn discover(
    context: &Context,
    input: wire::DiscoverInstancesRequest,
) -> Result<wire::DiscoverInstancesResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let (namespace, service) = model::service(
        &snapshot,
        &scope,
        &input.namespace_name,
        &input.service_name,
    )?;
    let query = Query {
        health: input.health_status,
        parameters: input.query_parameters.unwrap_or_default(),
        optional: input.optional_parameters.unwrap_or_default(),
    };
    let most = input
        .max_results
        .map_or(100, |most| usize::try_from(most).unwrap_or(1));
    let found = model::discover(&snapshot, service, &query);
    let instances = found
        .into_iter()
        .take(most)
        .map(|row| wire::HttpInstanceSummary {
            attributes: Some(row.attributes.clone()),
            health_status: Some(health_text(&snapshot, &row)),
            instance_id: Some(row.id.clone()),
            namespace_name: Some(namespace.name.clone()),
            service_name: Some(service.name.clone()),
        });
    Ok(wire::DiscoverInstancesResponse {
        instances: Some(instances.collect()),
        instances_revision: Some(service.revision as i64),
    })
}

pub fn revision(
    context: &Context,
    input: wire::DiscoverInstancesRevisionRequest,
) -> Result<wire::DiscoverInstancesRevisionResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let (_, service) = model::service(
        &snapshot,
        &scope,
        &input.namespace_name,
        &input.service_name,
    )?;
    Ok(wire::DiscoverInstancesRevisionResponse {
        instances_revision: Some(service.revision as i64),
    })
}
