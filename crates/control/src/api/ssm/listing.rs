//! Lists of parameters and of versions.

use super::page;
use super::parameters::{show, value};
use crate::api::{ApiError, Context};
use crate::model::ssm::filters::{self, Call, Filter, kind_text};
use crate::model::ssm::names::{self, Found};
use crate::model::ssm::{Refusal, invalid, policies};
use fogbank_types::ssm::{Parameter, ParameterVersion};
use fogbank_wire::ssm as wire;

fn commands(filters: Option<Vec<wire::ParameterStringFilter>>) -> Vec<Filter> {
    let filters = filters.unwrap_or_default().into_iter();
    let command = |filter: wire::ParameterStringFilter| Filter {
        key: filter.key,
        option: filter.option,
        values: filter.values.unwrap_or_default(),
    };
    filters.map(command).collect()
}

pub fn by_path(
    context: &Context,
    input: wire::GetParametersByPathRequest,
) -> Result<wire::GetParametersByPathResult, ApiError> {
    names::check_path(&input.path)?;
    let wanted = commands(input.parameter_filters);
    filters::check(Call::ByPath, &wanted)?;
    let recursive = input.recursive == Some(true);
    // With labels, the versions that bear them are what is asked for.
    let labels = wanted.iter().find(|filter| filter.key == "Label");
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let mut found = Vec::new();
    for row in snapshot.parameters.in_scope(&scope) {
        if !names::is_under(&row.name, &input.path, recursive) || !filters::matches(row, &wanted) {
            continue;
        }
        let version = match labels {
            None => row.latest(),
            Some(filter) => row
                .versions
                .iter()
                .rfind(|version| filter.values.iter().any(|l| version.labels.contains(l))),
        };
        let selector = labels.and_then(|filter| {
            let label = filter
                .values
                .iter()
                .find(|l| version.is_some_and(|v| v.labels.contains(*l)));
            label.map(|label| format!(":{label}"))
        });
        let Some(version) = version else { continue };
        let found_one = Found {
            parameter: row.clone(),
            version: version.clone(),
            selector,
        };
        found.push(show(&snapshot, &found_one, input.with_decryption)?);
    }
    let (parameters, next_token) = page(found, input.next_token.as_deref(), input.max_results, 10)?;
    Ok(wire::GetParametersByPathResult {
        next_token,
        parameters: Some(parameters),
    })
}

pub fn describe(
    context: &Context,
    input: wire::DescribeParametersRequest,
) -> Result<wire::DescribeParametersResult, ApiError> {
    let old_filters = input.filters.unwrap_or_default();
    if !old_filters.is_empty() && input.parameter_filters.is_some() {
        return Err(
            invalid("You can use either Filters or ParameterFilters in a single request.").into(),
        );
    }
    let mut wanted = commands(input.parameter_filters);
    filters::check(Call::Describe, &wanted)?;
    // The old kind of filters finds beginnings of names.
    wanted.extend(old_filters.into_iter().map(|filter| Filter {
        option: (filter.key == "Name").then(|| "BeginsWith".to_owned()),
        key: filter.key,
        values: filter.values,
    }));
    let (snapshot, scope) = (context.snapshot(), context.scope());
    // Nothing is shared with an account from outside.
    let rows = snapshot
        .parameters
        .in_scope(&scope)
        .filter(|_| input.shared != Some(true));
    let found = rows
        .filter(|row| filters::matches(row, &wanted))
        .filter_map(|row| Some(metadata(row, row.latest()?)))
        .collect();
    let (parameters, next_token) = page(found, input.next_token.as_deref(), input.max_results, 50)?;
    Ok(wire::DescribeParametersResult {
        next_token,
        parameters: Some(parameters),
    })
}

fn inline_policies(version: &ParameterVersion) -> Vec<wire::ParameterInlinePolicy> {
    let list = version.policies.as_deref().map(policies::list);
    let policy = |policy: policies::Policy| wire::ParameterInlinePolicy {
        policy_status: Some("Pending".to_owned()),
        policy_text: Some(policy.text),
        policy_type: Some(policy.kind),
    };
    list.unwrap_or_default().into_iter().map(policy).collect()
}

fn metadata(row: &Parameter, version: &ParameterVersion) -> wire::ParameterMetadata {
    wire::ParameterMetadata {
        allowed_pattern: version.allowed_pattern.clone(),
        arn: Some(row.arn()),
        data_type: Some(version.data_type.clone()),
        description: version.description.clone(),
        key_id: version.key_id.clone(),
        last_modified_date: Some(version.modified_at),
        last_modified_user: Some(version.modified_by.clone()),
        name: Some(row.name.clone()),
        policies: Some(inline_policies(version)),
        tier: Some(version.tier.clone()),
        r#type: Some(kind_text(version.kind).to_owned()),
        version: Some(version.version as i64),
    }
}

pub fn history(
    context: &Context,
    input: wire::GetParameterHistoryRequest,
) -> Result<wire::GetParameterHistoryResult, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let row = names::row(&snapshot, &scope, &input.name)
        .ok_or_else(|| Refusal::NotFound(input.name.clone()))?;
    let show = |version: &ParameterVersion| -> Result<wire::ParameterHistory, Refusal> {
        Ok(wire::ParameterHistory {
            allowed_pattern: version.allowed_pattern.clone(),
            data_type: Some(version.data_type.clone()),
            description: version.description.clone(),
            key_id: version.key_id.clone(),
            labels: Some(version.labels.iter().cloned().collect()),
            last_modified_date: Some(version.modified_at),
            last_modified_user: Some(version.modified_by.clone()),
            name: Some(row.name.clone()),
            policies: Some(inline_policies(version)),
            tier: Some(version.tier.clone()),
            r#type: Some(kind_text(version.kind).to_owned()),
            value: Some(value(&snapshot, row, version, input.with_decryption)?),
            version: Some(version.version as i64),
        })
    };
    let found = row.versions.iter().map(show).collect::<Result<_, _>>()?;
    let (parameters, next_token) = page(found, input.next_token.as_deref(), input.max_results, 50)?;
    Ok(wire::GetParameterHistoryResult {
        next_token,
        parameters: Some(parameters),
    })
}
