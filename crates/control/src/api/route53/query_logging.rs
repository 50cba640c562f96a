//! Configurations of query logging.

use super::{bare, token_page};
use crate::api::{ApiError, Context};
use crate::model::route53::query_logging as rules;
use fogbank_wire::route53::*;

type Row = fogbank_types::route53::QueryLoggingConfig;

fn render(row: &Row) -> QueryLoggingConfig {
    QueryLoggingConfig {
        cloud_watch_logs_log_group_arn: row.log_group_arn.clone(),
        hosted_zone_id: row.zone_id.clone(),
        id: row.id.clone(),
    }
}

pub fn create(
    context: &Context,
    input: CreateQueryLoggingConfigRequest,
) -> Result<CreateQueryLoggingConfigResponse, ApiError> {
    let (scope, zone) = (context.scope().global(), bare(&input.hosted_zone_id));
    let arn = &input.cloud_watch_logs_log_group_arn;
    let row = context.write(|tx| Ok(rules::create(tx, &scope, zone, arn)?))?;
    Ok(CreateQueryLoggingConfigResponse {
        location: format!(
            "https://route53.amazonaws.com/2013-04-01/queryloggingconfig/{}",
            row.id
        ),
        query_logging_config: render(&row),
    })
}

pub fn get(
    context: &Context,
    input: GetQueryLoggingConfigRequest,
) -> Result<GetQueryLoggingConfigResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let row = rules::find(&snapshot, &scope, &input.id)?;
    Ok(GetQueryLoggingConfigResponse {
        query_logging_config: render(row),
    })
}

pub fn list(
    context: &Context,
    input: ListQueryLoggingConfigsRequest,
) -> Result<ListQueryLoggingConfigsResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let zone = input.hosted_zone_id.as_deref().map(bare);
    let rows = rules::list(&snapshot, &scope, zone)?;
    let rows = rows.iter().map(|row| render(row)).collect();
    let (rows, next_token) = token_page(rows, input.next_token, input.max_results)?;
    Ok(ListQueryLoggingConfigsResponse {
        next_token,
        query_logging_configs: rows,
    })
}

pub fn delete(
    context: &Context,
    input: DeleteQueryLoggingConfigRequest,
) -> Result<DeleteQueryLoggingConfigResponse, ApiError> {
    let scope = context.scope().global();
    context.write(|tx| Ok(rules::delete(tx, &scope, &input.id)?))?;
    Ok(DeleteQueryLoggingConfigResponse {})
}
