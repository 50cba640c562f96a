//! Services of namespaces.

use super::namespaces::tags;
use super::{page, passes, refuse};
use crate::api::{ApiError, Context};
use crate::model::discovery::services::{self as model, NewService};
use crate::model::discovery::{bare, instances, invalid, namespaces};
use fogbank_types::Snapshot;
use fogbank_types::discovery::{
    DiscoveryService, NamespaceKind, ServiceDns, ServiceHealthCheck, ServiceRouting,
};
use fogbank_types::route53::CheckProtocol;
use fogbank_wire::servicediscovery as wire;
use std::collections::BTreeMap;

fn records(given: Vec<wire::DnsRecord>) -> Vec<(String, u32)> {
    let given = given.into_iter();
    given
        .map(|record| (record.r#type, record.ttl as u32))
        .collect()
}

pub fn create(
    context: &Context,
    input: wire::CreateServiceRequest,
) -> Result<wire::CreateServiceResponse, ApiError> {
    let health_check = input.health_check_config.map(health_check).transpose()?;
    let (dns_namespace, dns) = match input.dns_config {
        None => (None, None),
        Some(config) => {
            let routing = match config.routing_policy.as_deref() {
                Some("WEIGHTED") => ServiceRouting::Weighted,
                _ => ServiceRouting::Multivalue,
            };
            let records = records(config.dns_records);
            (config.namespace_id, Some(ServiceDns { routing, records }))
        }
    };
    let namespace_id = input.namespace_id.or(dns_namespace);
    let new = NewService {
        name: input.name,
        namespace_id: namespace_id.ok_or_else(|| invalid("NamespaceId must be specified."))?,
        description: input.description,
        creator_request_id: input.creator_request_id,
        dns: dns.filter(|_| input.r#type.as_deref() != Some("HTTP")),
        custom_health: input.health_check_custom_config.is_some(),
        health_check,
        tags: tags(input.tags),
    };
    let scope = context.scope();
    let row = context.write(|tx| model::create(tx, &scope, new.clone()).map_err(refuse))?;
    Ok(wire::CreateServiceResponse {
        service: Some(show(&context.snapshot(), &row)),
    })
}

fn health_check(given: wire::HealthCheckConfig) -> Result<ServiceHealthCheck, ApiError> {
    let protocol = match given.r#type.as_str() {
        "HTTP" => CheckProtocol::Http,
        "HTTPS" => CheckProtocol::Https,
        "TCP" => CheckProtocol::Tcp,
        _ => return Err(invalid("The type of HealthCheckConfig is not valid.").into()),
    };
    let path = given.resource_path.filter(|path| !path.is_empty());
    Ok(ServiceHealthCheck {
        protocol,
        path,
        threshold: u32::try_from(given.failure_threshold.unwrap_or(1)).unwrap_or(0),
    })
}

fn show_check(check: &ServiceHealthCheck) -> wire::HealthCheckConfig {
    let kind = match check.protocol {
        CheckProtocol::Http => "HTTP",
        CheckProtocol::Https => "HTTPS",
        CheckProtocol::Tcp => "TCP",
    };
    // A path that wasn't given is shown as the one that is asked for.
    let path = match check.protocol {
        CheckProtocol::Tcp => None,
        _ => Some(check.path.clone().unwrap_or_else(|| "/".to_owned())),
    };
    wire::HealthCheckConfig {
        failure_threshold: i32::try_from(check.threshold).ok(),
        resource_path: path,
        r#type: kind.to_owned(),
    }
}

fn dns_config(row: &DiscoveryService) -> Option<wire::DnsConfig> {
    let dns = row.dns.as_ref()?;
    let record = |(kind, ttl): &(String, u32)| wire::DnsRecord {
        ttl: i64::from(*ttl),
        r#type: kind.clone(),
    };
    let routing = match dns.routing {
        ServiceRouting::Multivalue => "MULTIVALUE",
        ServiceRouting::Weighted => "WEIGHTED",
    };
    Some(wire::DnsConfig {
        dns_records: dns.records.iter().map(record).collect(),
        namespace_id: Some(row.namespace_id.clone()),
        routing_policy: Some(routing.to_owned()),
    })
}

/// AWS looks once whatever is asked for.
fn custom_health(row: &DiscoveryService) -> Option<wire::HealthCheckCustomConfig> {
    row.custom_health.then_some(wire::HealthCheckCustomConfig {
        failure_threshold: Some(1),
    })
}

fn kind(snapshot: &Snapshot, row: &DiscoveryService) -> String {
    let namespace = namespaces::find(snapshot, &row.scope, &row.namespace_id);
    let is_http = namespace.is_ok_and(|namespace| namespace.kind == NamespaceKind::Http);
    if is_http || row.dns.is_none() {
        "HTTP".to_owned()
    } else {
        "DNS_HTTP".to_owned()
    }
}

fn show(snapshot: &Snapshot, row: &DiscoveryService) -> wire::Service {
    wire::Service {
        arn: Some(row.arn()),
        create_date: Some(row.created_at),
        created_by_account: Some(row.scope.account.clone()),
        creator_request_id: row.creator_request_id.clone(),
        description: row.description.clone(),
        dns_config: dns_config(row),
        health_check_config: row.health_check.as_ref().map(show_check),
        health_check_custom_config: custom_health(row),
        id: Some(row.id.clone()),
        instance_count: Some(instances::of(snapshot, row).count() as i32),
        name: Some(row.name.clone()),
        namespace_id: Some(row.namespace_id.clone()),
        resource_owner: Some(row.scope.account.clone()),
        r#type: Some(kind(snapshot, row)),
    }
}

pub fn get(
    context: &Context,
    input: wire::GetServiceRequest,
) -> Result<wire::GetServiceResponse, ApiError> {
    let snapshot = context.snapshot();
    let row = model::find(&snapshot, &context.scope(), &input.id)?;
    Ok(wire::GetServiceResponse {
        service: Some(show(&snapshot, row)),
    })
}

pub fn list(
    context: &Context,
    input: wire::ListServicesRequest,
) -> Result<wire::ListServicesResponse, ApiError> {
    let snapshot = context.snapshot();
    let filters = input.filters.unwrap_or_default();
    let is_wanted = |row: &DiscoveryService| {
        filters.iter().all(|filter| {
            let condition = filter.condition.as_deref();
            if filter.name == "RESOURCE_OWNER" {
                return passes(condition, &filter.values, "SELF");
            }
            let ids: Vec<String> = filter.values.iter().map(|id| bare(id).to_owned()).collect();
            passes(condition, &ids, &row.namespace_id)
        })
    };
    let summary = |row: &DiscoveryService| wire::ServiceSummary {
        arn: Some(row.arn()),
        create_date: Some(row.created_at),
        created_by_account: Some(row.scope.account.clone()),
        description: row.description.clone(),
        dns_config: dns_config(row),
        health_check_config: row.health_check.as_ref().map(show_check),
        health_check_custom_config: custom_health(row),
        id: Some(row.id.clone()),
        instance_count: Some(instances::of(&snapshot, row).count() as i32),
        name: Some(row.name.clone()),
        resource_owner: Some(row.scope.account.clone()),
        r#type: Some(kind(&snapshot, row)),
    };
    let rows = snapshot.discovery_services.in_scope(&context.scope());
    let found = rows
        .filter(|row| is_wanted(row))
        .map(|row| summary(row))
        .collect();
    let (services, next_token) = page(found, input.next_token.as_deref(), input.max_results)?;
    Ok(wire::ListServicesResponse {
        next_token,
        services: Some(services),
    })
}

pub fn update(
    context: &Context,
    input: wire::UpdateServiceRequest,
) -> Result<wire::UpdateServiceResponse, ApiError> {
    let change = input.service;
    let check = change.health_check_config.map(health_check).transpose()?;
    let (description, records) = (
        change.description,
        change.dns_config.map(|config| records(config.dns_records)),
    );
    let scope = context.scope();
    let operation = context.write(|tx| {
        Ok(model::update(
            tx,
            &scope,
            &input.id,
            description.clone(),
            records.clone(),
            check.clone(),
        )?)
    })?;
    Ok(wire::UpdateServiceResponse {
        operation_id: Some(operation),
    })
}

pub fn delete(
    context: &Context,
    input: wire::DeleteServiceRequest,
) -> Result<wire::DeleteServiceResponse, ApiError> {
    let scope = context.scope();
    context.write(|tx| Ok(model::delete(tx, &scope, &input.id)?))?;
    Ok(wire::DeleteServiceResponse {})
}

pub fn attributes(
    context: &Context,
    input: wire::GetServiceAttributesRequest,
) -> Result<wire::GetServiceAttributesResponse, ApiError> {
    let snapshot = context.snapshot();
    let row = model::find(&snapshot, &context.scope(), &input.service_id)?;
    Ok(wire::GetServiceAttributesResponse {
        service_attributes: Some(wire::ServiceAttributes {
            attributes: Some(row.attributes.clone()),
            resource_owner: Some(row.scope.account.clone()),
            service_arn: Some(row.arn()),
        }),
    })
}

pub fn update_attributes(
    context: &Context,
    input: wire::UpdateServiceAttributesRequest,
) -> Result<wire::UpdateServiceAttributesResponse, ApiError> {
    let (scope, id) = (context.scope(), input.service_id);
    let put = input.attributes;
    context.write(|tx| Ok(model::change_attributes(tx, &scope, &id, put.clone(), &[])?))?;
    Ok(wire::UpdateServiceAttributesResponse {})
}

pub fn delete_attributes(
    context: &Context,
    input: wire::DeleteServiceAttributesRequest,
) -> Result<wire::DeleteServiceAttributesResponse, ApiError> {
    let (scope, id) = (context.scope(), input.service_id);
    let keys = input.attributes;
    context.write(|tx| {
        Ok(model::change_attributes(
            tx,
            &scope,
            &id,
            BTreeMap::new(),
            &keys,
        )?)
    })?;
    Ok(wire::DeleteServiceAttributesResponse {})
}
