//! DHCP option sets.

use super::filters::Filters;
use super::query::{page, query};
use super::{tags, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::dhcp_options::{self, Configuration};
use crate::model::vpc::{Refusal, ResourceKind, ids};
use fogbank_types::DhcpOptionsId;
use fogbank_types::ec2::DhcpOptions as Row;
use fogbank_wire::ec2::*;

fn render(row: &Row) -> DhcpOptions {
    let value = |value: &String| AttributeValue {
        value: Some(value.clone()),
    };
    let configuration = |(key, values): (&String, &Vec<String>)| DhcpConfiguration {
        key: Some(key.clone()),
        values: Some(values.iter().map(value).collect()),
    };
    DhcpOptions {
        dhcp_configurations: Some(row.options.iter().map(configuration).collect()),
        dhcp_options_id: Some(row.dhcp_options_id.to_string()),
        owner_id: Some(row.scope.account.clone()),
        tags: tags::render(&row.tags),
    }
}

pub fn create(
    context: &Context,
    request: CreateDhcpOptionsRequest,
) -> Result<CreateDhcpOptionsResult, ApiError> {
    let tags = tags::specified(request.tag_specifications, "dhcp-options")?;
    let mut configurations: Vec<Configuration> = Vec::new();
    for configuration in request.dhcp_configurations {
        let key = configuration
            .key
            .ok_or(Refusal::MissingParameter { name: "key" })?;
        configurations.push((key, configuration.values.unwrap_or_default()));
    }
    let row = write(context, request.dry_run, |tx| {
        dhcp_options::create(tx, &context.scope(), configurations.clone(), tags.clone())
    })?;
    Ok(CreateDhcpOptionsResult {
        dhcp_options: Some(render(&row)),
    })
}

const FILTERS: &[&str] = &["dhcp-options-id", "key", "owner-id", "value"];

pub fn describe(
    context: &Context,
    request: DescribeDhcpOptionsRequest,
) -> Result<DescribeDhcpOptionsResult, ApiError> {
    let query = query!(request, dhcp_options_ids, filters);
    query.check()?;
    let filters = Filters::parse(query.filters, FILTERS)?;
    let wanted: Vec<DhcpOptionsId> = ids::parse_all(query.ids.as_deref())?;
    let mut all = dhcp_options::all(&context.snapshot(), &context.scope());
    if let Some(unknown) = wanted
        .iter()
        .find(|id| !all.iter().any(|row| row.dhcp_options_id == **id))
    {
        return Err(Refusal::not_found(ResourceKind::DhcpOptions, unknown).into());
    }
    all.retain(|row| {
        let named = wanted.is_empty() || wanted.contains(&row.dhcp_options_id);
        named
            && filters.accept(&row.tags, |name| match name {
                "dhcp-options-id" => vec![row.dhcp_options_id.to_string()],
                "key" => row.options.keys().cloned().collect(),
                "owner-id" => vec![row.scope.account.clone()],
                _ => row.options.values().flatten().cloned().collect(),
            })
    });
    let (found, next_token) = page(
        all,
        |row| row.dhcp_options_id.to_string(),
        query.max_results,
        query.next_token,
    )?;
    Ok(DescribeDhcpOptionsResult {
        dhcp_options: Some(found.iter().map(render).collect()),
        next_token,
    })
}

pub fn associate(
    context: &Context,
    request: AssociateDhcpOptionsRequest,
) -> Result<AssociateDhcpOptionsResponse, ApiError> {
    let vpc_id = ids::parse(&request.vpc_id)?;
    let id = match request.dhcp_options_id.as_str() {
        "default" => None,
        id => Some(ids::parse(id)?),
    };
    write(context, request.dry_run, |tx| {
        dhcp_options::associate(tx, &context.scope(), &vpc_id, id.as_ref())
    })?;
    Ok(AssociateDhcpOptionsResponse {})
}

pub fn delete(
    context: &Context,
    request: DeleteDhcpOptionsRequest,
) -> Result<DeleteDhcpOptionsResponse, ApiError> {
    let id = ids::parse(&request.dhcp_options_id)?;
    write(context, request.dry_run, |tx| {
        dhcp_options::delete(tx, &context.scope(), &id)
    })?;
    Ok(DeleteDhcpOptionsResponse {})
}
