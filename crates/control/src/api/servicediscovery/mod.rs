//! Cloud Map: shapes to commands, rows to shapes.

mod instances;
mod lookups;
mod namespaces;
mod operations;
mod services;
mod tags;

use super::ApiError;
use super::page::requested;
use crate::model::discovery::{Refusal, invalid};
use fogbank_wire::Detail;

super::handlers! {
    Servicediscovery:
    write CreateHttpNamespace => namespaces::create_http,
    write CreatePrivateDnsNamespace => namespaces::create_private,
    write CreatePublicDnsNamespace => namespaces::create_public,
    read GetNamespace => namespaces::get,
    read ListNamespaces => namespaces::list,
    write UpdateHttpNamespace => namespaces::update_http,
    write UpdatePrivateDnsNamespace => namespaces::update_private,
    write UpdatePublicDnsNamespace => namespaces::update_public,
    write DeleteNamespace => namespaces::delete,
    write CreateService => services::create,
    read GetService => services::get,
    read ListServices => services::list,
    write UpdateService => services::update,
    write DeleteService => services::delete,
    read GetServiceAttributes => services::attributes,
    write UpdateServiceAttributes => services::update_attributes,
    write DeleteServiceAttributes => services::delete_attributes,
    write RegisterInstance => instances::register,
    write DeregisterInstance => instances::deregister,
    read GetInstance => instances::get,
    read ListInstances => instances::list,
    read GetInstancesHealthStatus => instances::health,
    write UpdateInstanceCustomHealthStatus => instances::set_health,
    read DiscoverInstances => lookups::discover,
    read DiscoverInstancesRevision => lookups::revision,
    read GetOperation => operations::get,
    read ListOperations => operations::list,
    write TagResource => tags::tag,
    write UntagResource => tags::untag,
    read ListTagsForResource => tags::list,
}

/// A refusal with what AWS tells besides its text.
fn refuse(refusal: Refusal) -> ApiError {
    let mut details = Vec::new();
    match &refusal {
        Refusal::NamespaceExists {
            id,
            creator_request_id,
            ..
        } => {
            details.push(("NamespaceId", Some(id.clone())));
            details.push(("CreatorRequestId", creator_request_id.clone()));
        }
        Refusal::ServiceExists {
            id,
            arn,
            creator_request_id,
            ..
        } => {
            details.push(("ServiceId", Some(id.clone())));
            details.push(("ServiceArn", Some(arn.clone())));
            details.push(("CreatorRequestId", creator_request_id.clone()));
        }
        _ => {}
    }
    let mut error = ApiError::from(refusal);
    for (name, value) in details {
        let detail = value.map(|value| (name.into(), Detail::Text(value)));
        error.0.details.extend(detail);
    }
    error
}

const PAGE_UNLESS_SAID: usize = 100;

/// One page of a list, and the token of the next.
fn page<T>(
    items: Vec<T>,
    token: Option<&str>,
    most: Option<i32>,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let page = requested(items, token, most, PAGE_UNLESS_SAID);
    Ok(page.ok_or_else(|| invalid("The specified token is not valid."))?)
}

/// Whether a value passes a filter of a list.
fn passes(condition: Option<&str>, values: &[String], value: &str) -> bool {
    match condition {
        Some("BEGINS_WITH") => values.iter().any(|start| value.starts_with(start)),
        Some("BETWEEN") => {
            matches!(values, [low, high] if low.as_str() <= value && value <= high.as_str())
        }
        _ => values.iter().any(|one| one == value),
    }
}
