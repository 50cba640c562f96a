//! Dashboards.

use super::{page, tags_of};
use crate::api::{ApiError, Context};
use crate::model::cloudwatch::{Refusal, dashboards};
use fogbank_types::alarm::Dashboard;
use fogbank_types::{Scope, Snapshot};
use fogbank_wire::cloudwatch as wire;

/// Dashboards are one list for all regions of an account, kept in one.
pub fn scope_of(context: &Context) -> Scope {
    Scope::new(&context.caller.account, fogbank_wire::DEFAULT_REGION)
}

pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    name: &str,
) -> Result<&'a Dashboard, Refusal> {
    let found = snapshot.dashboards.get(scope, name);
    found
        .map(|row| &**row)
        .ok_or_else(|| dashboards::not_found(name))
}

pub fn put(
    context: &Context,
    request: wire::PutDashboardInput,
) -> Result<wire::PutDashboardOutput, ApiError> {
    let (scope, tags) = (scope_of(context), tags_of(request.tags));
    let (name, body) = (request.dashboard_name, request.dashboard_body);
    let findings =
        context.write(|tx| Ok(dashboards::put(tx, &scope, &name, &body, tags.clone())?))?;
    let show = |(path, text)| wire::DashboardValidationMessage {
        data_path: Some(path),
        message: Some(text),
    };
    Ok(wire::PutDashboardOutput {
        dashboard_validation_messages: Some(findings.into_iter().map(show).collect()),
    })
}

pub fn get(
    context: &Context,
    request: wire::GetDashboardInput,
) -> Result<wire::GetDashboardOutput, ApiError> {
    let snapshot = context.snapshot();
    let dashboard = find(&snapshot, &scope_of(context), &request.dashboard_name)?;
    Ok(wire::GetDashboardOutput {
        dashboard_arn: Some(dashboard.arn()),
        dashboard_body: Some(dashboard.body.clone()),
        dashboard_name: Some(dashboard.name.clone()),
    })
}

pub fn list(
    context: &Context,
    request: wire::ListDashboardsInput,
) -> Result<wire::ListDashboardsOutput, ApiError> {
    let (snapshot, scope) = (context.snapshot(), scope_of(context));
    let prefix = request.dashboard_name_prefix.unwrap_or_default();
    let found: Vec<_> = snapshot.dashboards.with_prefix(&scope, &prefix).collect();
    let invalid = |_| Refusal::Value("Request parameter NextToken is invalid".to_owned());
    let page = page(found, request.next_token.as_deref(), 1_000);
    let (found, next_token) = page.map_err(invalid)?;
    let show = |dashboard: &std::sync::Arc<Dashboard>| wire::DashboardEntry {
        dashboard_arn: Some(dashboard.arn()),
        dashboard_name: Some(dashboard.name.clone()),
        last_modified: Some(dashboard.modified_at),
        size: Some(dashboard.body.len() as i64),
    };
    Ok(wire::ListDashboardsOutput {
        dashboard_entries: Some(found.into_iter().map(show).collect()),
        next_token,
    })
}

pub fn delete(
    context: &Context,
    request: wire::DeleteDashboardsInput,
) -> Result<wire::DeleteDashboardsOutput, ApiError> {
    let scope = scope_of(context);
    context.write(|tx| Ok(dashboards::delete(tx, &scope, &request.dashboard_names)?))?;
    Ok(wire::DeleteDashboardsOutput {})
}
