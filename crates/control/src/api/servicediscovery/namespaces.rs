//! Namespaces.

use super::{page, passes, refuse};
use crate::api::{ApiError, Context};
use crate::model::discovery::namespaces::{self as model, NewNamespace};
use fogbank_types::discovery::{Namespace, NamespaceKind};
use fogbank_types::{Snapshot, Tags};
use fogbank_wire::servicediscovery as wire;

pub fn tags(given: Option<Vec<wire::Tag>>) -> Tags {
    let given = given.unwrap_or_default().into_iter();
    given.map(|tag| (tag.key, tag.value)).collect()
}

fn create(context: &Context, new: NewNamespace) -> Result<Option<String>, ApiError> {
    let scope = context.scope();
    let id = context.write(|tx| model::create(tx, &scope, new.clone()).map_err(refuse))?;
    Ok(Some(id))
}

pub fn create_http(
    context: &Context,
    input: wire::CreateHttpNamespaceRequest,
) -> Result<wire::CreateHttpNamespaceResponse, ApiError> {
    let new = NewNamespace {
        name: input.name,
        kind: NamespaceKind::Http,
        vpc: None,
        description: input.description,
        creator_request_id: input.creator_request_id,
        soa_ttl: None,
        tags: tags(input.tags),
    };
    let operation_id = create(context, new)?;
    Ok(wire::CreateHttpNamespaceResponse { operation_id })
}

pub fn create_private(
    context: &Context,
    input: wire::CreatePrivateDnsNamespaceRequest,
) -> Result<wire::CreatePrivateDnsNamespaceResponse, ApiError> {
    let new = NewNamespace {
        name: input.name,
        kind: NamespaceKind::DnsPrivate,
        vpc: Some(input.vpc),
        description: input.description,
        creator_request_id: input.creator_request_id,
        soa_ttl: input.properties.map(|p| p.dns_properties.soa.ttl as u32),
        tags: tags(input.tags),
    };
    let operation_id = create(context, new)?;
    Ok(wire::CreatePrivateDnsNamespaceResponse { operation_id })
}

pub fn create_public(
    context: &Context,
    input: wire::CreatePublicDnsNamespaceRequest,
) -> Result<wire::CreatePublicDnsNamespaceResponse, ApiError> {
    let new = NewNamespace {
        name: input.name,
        kind: NamespaceKind::DnsPublic,
        vpc: None,
        description: input.description,
        creator_request_id: input.creator_request_id,
        soa_ttl: input.properties.map(|p| p.dns_properties.soa.ttl as u32),
        tags: tags(input.tags),
    };
    let operation_id = create(context, new)?;
    Ok(wire::CreatePublicDnsNamespaceResponse { operation_id })
}

fn kind_text(kind: NamespaceKind) -> &'static str {
    match kind {
        NamespaceKind::Http => "HTTP",
        NamespaceKind::DnsPrivate => "DNS_PRIVATE",
        NamespaceKind::DnsPublic => "DNS_PUBLIC",
    }
}

fn properties(row: &Namespace) -> wire::NamespaceProperties {
    let dns = row.zone.as_ref().map(|(id, ttl)| wire::DnsProperties {
        hosted_zone_id: Some(id.clone()),
        soa: Some(wire::SOA {
            ttl: i64::from(*ttl),
        }),
    });
    wire::NamespaceProperties {
        dns_properties: dns,
        http_properties: Some(wire::HttpProperties {
            http_name: Some(row.name.clone()),
        }),
    }
}

fn service_count(snapshot: &Snapshot, row: &Namespace) -> i32 {
    let services = snapshot.discovery_services.in_scope(&row.scope);
    services
        .filter(|service| service.namespace_id == row.id)
        .count() as i32
}

pub fn get(
    context: &Context,
    input: wire::GetNamespaceRequest,
) -> Result<wire::GetNamespaceResponse, ApiError> {
    let snapshot = context.snapshot();
    let row = model::find(&snapshot, &context.scope(), &input.id)?;
    let namespace = wire::Namespace {
        arn: Some(row.arn()),
        create_date: Some(row.created_at),
        creator_request_id: row.creator_request_id.clone(),
        description: row.description.clone(),
        id: Some(row.id.clone()),
        name: Some(row.name.clone()),
        properties: Some(properties(row)),
        resource_owner: Some(row.scope.account.clone()),
        service_count: Some(service_count(&snapshot, row)),
        r#type: Some(kind_text(row.kind).to_owned()),
    };
    Ok(wire::GetNamespaceResponse {
        namespace: Some(namespace),
    })
}

pub fn list(
    context: &Context,
    input: wire::ListNamespacesRequest,
) -> Result<wire::ListNamespacesResponse, ApiError> {
    let snapshot = context.snapshot();
    let filters = input.filters.unwrap_or_default();
    let is_wanted = |row: &Namespace| {
        filters.iter().all(|filter| {
            let value = match filter.name.as_str() {
                "TYPE" => kind_text(row.kind),
                "RESOURCE_OWNER" => "SELF",
                _ => &row.name,
            };
            passes(filter.condition.as_deref(), &filter.values, value)
        })
    };
    let show = |row: &Namespace| wire::NamespaceSummary {
        arn: Some(row.arn()),
        create_date: Some(row.created_at),
        description: row.description.clone(),
        id: Some(row.id.clone()),
        name: Some(row.name.clone()),
        properties: Some(properties(row)),
        resource_owner: Some(row.scope.account.clone()),
        service_count: Some(service_count(&snapshot, row)),
        r#type: Some(kind_text(row.kind).to_owned()),
    };
    let rows = snapshot.namespaces.in_scope(&context.scope());
    let found = rows
        .filter(|row| is_wanted(row))
        .map(|row| show(row))
        .collect();
    let (namespaces, next_token) = page(found, input.next_token.as_deref(), input.max_results)?;
    Ok(wire::ListNamespacesResponse {
        namespaces: Some(namespaces),
        next_token,
    })
}

fn update(
    context: &Context,
    id: &str,
    kind: NamespaceKind,
    description: Option<String>,
    ttl: Option<i64>,
) -> Result<Option<String>, ApiError> {
    let scope = context.scope();
    let ttl = ttl.map(|ttl| ttl as u32);
    let operation = context.write(|tx| {
        Ok(model::update(
            tx,
            &scope,
            id,
            kind,
            description.clone(),
            ttl,
        )?)
    })?;
    Ok(Some(operation))
}

pub fn update_http(
    context: &Context,
    input: wire::UpdateHttpNamespaceRequest,
) -> Result<wire::UpdateHttpNamespaceResponse, ApiError> {
    let description = Some(input.namespace.description);
    let operation_id = update(context, &input.id, NamespaceKind::Http, description, None)?;
    Ok(wire::UpdateHttpNamespaceResponse { operation_id })
}

pub fn update_private(
    context: &Context,
    input: wire::UpdatePrivateDnsNamespaceRequest,
) -> Result<wire::UpdatePrivateDnsNamespaceResponse, ApiError> {
    let change = input.namespace;
    let ttl = change.properties.map(|p| p.dns_properties.soa.ttl);
    let kind = NamespaceKind::DnsPrivate;
    let operation_id = update(context, &input.id, kind, change.description, ttl)?;
    Ok(wire::UpdatePrivateDnsNamespaceResponse { operation_id })
}

pub fn update_public(
    context: &Context,
    input: wire::UpdatePublicDnsNamespaceRequest,
) -> Result<wire::UpdatePublicDnsNamespaceResponse, ApiError> {
    let change = input.namespace;
    let ttl = change.properties.map(|p| p.dns_properties.soa.ttl);
    let kind = NamespaceKind::DnsPublic;
    let operation_id = update(context, &input.id, kind, change.description, ttl)?;
    Ok(wire::UpdatePublicDnsNamespaceResponse { operation_id })
}

pub fn delete(
    context: &Context,
    input: wire::DeleteNamespaceRequest,
) -> Result<wire::DeleteNamespaceResponse, ApiError> {
    let scope = context.scope();
    let operation = context.write(|tx| Ok(model::delete(tx, &scope, &input.id)?))?;
    Ok(wire::DeleteNamespaceResponse {
        operation_id: Some(operation),
    })
}
