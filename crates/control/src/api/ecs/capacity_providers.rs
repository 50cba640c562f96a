//! The two capacity providers that every account has on Fargate.

use super::{failure, page};
use crate::api::{ApiError, Context};
use crate::model::ecs::clusters::PROVIDERS;
use fogbank_wire::ecs as wire;

pub fn describe(
    context: &Context,
    request: wire::DescribeCapacityProvidersRequest,
) -> Result<wire::DescribeCapacityProvidersResponse, ApiError> {
    let arn = |name: &str| {
        context
            .scope()
            .arn("ecs", &format!("capacity-provider/{name}"))
    };
    let show = |name: &str| wire::CapacityProvider {
        capacity_provider_arn: Some(arn(name)),
        name: Some(name.to_owned()),
        r#type: Some(name.to_owned()),
        status: Some("ACTIVE".to_owned()),
        tags: Some(Vec::new()),
        ..wire::CapacityProvider::default()
    };
    let wanted = request.capacity_providers.unwrap_or_default();
    let known = |text: &str| {
        PROVIDERS
            .into_iter()
            .find(|name| *name == text || arn(name) == text)
    };
    let found = if wanted.is_empty() {
        PROVIDERS.to_vec()
    } else {
        wanted.iter().filter_map(|text| known(text)).collect()
    };
    let failures = wanted
        .iter()
        .filter(|text| known(text).is_none())
        .map(|text| failure(text))
        .collect();
    let (found, next_token) = page(
        found,
        |name| (*name).to_owned(),
        request.next_token,
        request.max_results,
    )?;
    Ok(wire::DescribeCapacityProvidersResponse {
        capacity_providers: Some(found.into_iter().map(show).collect()),
        failures: Some(failures),
        next_token,
    })
}
