//! Lists of secrets and of versions.

use super::{page, show_tags};
use crate::api::{ApiError, Context};
use crate::model::secretsmanager::filters::{self, Filter};
use crate::model::secretsmanager::secrets as model;
use fogbank_types::secret::{Secret, SecretVersion};
use fogbank_wire::secretsmanager as wire;
use std::sync::Arc;

pub fn filters(given: Option<Vec<wire::Filter>>) -> Result<Vec<Filter>, ApiError> {
    let given = given.unwrap_or_default().into_iter();
    let command = |filter: wire::Filter| Filter {
        key: filter.key.unwrap_or_default(),
        values: filter.values.unwrap_or_default(),
    };
    let list: Vec<Filter> = given.map(command).collect();
    filters::check(&list)?;
    Ok(list)
}

pub fn secrets(
    context: &Context,
    input: wire::ListSecretsRequest,
) -> Result<wire::ListSecretsResponse, ApiError> {
    let wanted = filters(input.filters)?;
    let with_deleted = input.include_planned_deletion == Some(true);
    let snapshot = context.snapshot();
    let mut rows: Vec<&Arc<Secret>> = snapshot
        .secrets
        .in_scope(&context.scope())
        .filter(|row| with_deleted || row.deleted_at.is_none())
        .filter(|row| filters::matches(row, &wanted))
        .collect();
    match input.sort_by.as_deref() {
        Some("name") => rows.sort_by(|a, b| a.name.cmp(&b.name)),
        Some("last-changed-date") => rows.sort_by_key(|row| row.changed_at),
        Some("last-accessed-date") => rows.sort_by_key(|row| row.accessed_at),
        _ => rows.sort_by_key(|row| row.created_at),
    }
    if input.sort_order.as_deref() == Some("desc") {
        rows.reverse();
    }
    let (rows, next_token) = page(rows, input.next_token.as_deref(), input.max_results, 100)?;
    Ok(wire::ListSecretsResponse {
        next_token,
        secret_list: Some(rows.into_iter().map(|row| entry(row)).collect()),
    })
}

fn entry(row: &Secret) -> wire::SecretListEntry {
    wire::SecretListEntry {
        arn: Some(row.arn.clone()),
        created_date: Some(row.created_at),
        deleted_date: row.deleted_at.map(|(_, gone_at)| gone_at),
        description: row.description.clone(),
        kms_key_id: row.kms_key_id.clone(),
        last_accessed_date: row.accessed_at,
        last_changed_date: Some(row.changed_at),
        name: Some(row.name.clone()),
        secret_versions_to_stages: super::secrets::stages(row),
        tags: (!row.tags.is_empty()).then(|| show_tags(&row.tags)),
        ..wire::SecretListEntry::default()
    }
}

pub fn versions(
    context: &Context,
    input: wire::ListSecretVersionIdsRequest,
) -> Result<wire::ListSecretVersionIdsResponse, ApiError> {
    let with_deprecated = input.include_deprecated == Some(true);
    let snapshot = context.snapshot();
    let row = model::find(&snapshot, &context.scope(), &input.secret_id)?;
    let show = |version: &SecretVersion| wire::SecretVersionsListEntry {
        created_date: Some(version.created_at),
        kms_key_ids: Some(vec![
            row.kms_key_id
                .clone()
                .unwrap_or_else(|| "DefaultEncryptionKey".to_owned()),
        ]),
        last_accessed_date: version.accessed_at,
        version_id: Some(version.id.clone()),
        version_stages: (!version.stages.is_empty())
            .then(|| version.stages.iter().cloned().collect()),
    };
    let shown = row
        .versions
        .iter()
        .filter(|v| with_deprecated || !v.stages.is_empty());
    let (versions, next_token) = page(
        shown.map(show).collect(),
        input.next_token.as_deref(),
        input.max_results,
        100,
    )?;
    Ok(wire::ListSecretVersionIdsResponse {
        arn: Some(row.arn.clone()),
        name: Some(row.name.clone()),
        next_token,
        versions: Some(versions),
    })
}
