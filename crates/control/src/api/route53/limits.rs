//! Quotas of an account.
//! <https://docs.aws.amazon.com/Route53/latest/APIReference/API_GetAccountLimit.html>

use crate::api::{ApiError, Context};
use crate::model::route53::{delegation_sets, invalid, zones};
use fogbank_wire::route53::*;

/// Fact ROUTE-9.
const HEALTH_CHECKS_MAX: usize = 200;

/// Traffic policies are not offered by this region, so that none counts.
const TRAFFIC_POLICIES_MAX: usize = 50;
const TRAFFIC_POLICY_INSTANCES_MAX: usize = 5;

pub fn of_account(
    context: &Context,
    input: GetAccountLimitRequest,
) -> Result<GetAccountLimitResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let (count, value) = match input.r#type.as_str() {
        "MAX_HEALTH_CHECKS_BY_OWNER" => (
            snapshot.health_checks.in_scope(&scope).count(),
            HEALTH_CHECKS_MAX,
        ),
        "MAX_HOSTED_ZONES_BY_OWNER" => (
            snapshot.hosted_zones.in_scope(&scope).count(),
            zones::ZONES_MAX,
        ),
        "MAX_REUSABLE_DELEGATION_SETS_BY_OWNER" => (
            snapshot.delegation_sets.in_scope(&scope).count(),
            delegation_sets::SETS_MAX,
        ),
        "MAX_TRAFFIC_POLICIES_BY_OWNER" => (0, TRAFFIC_POLICIES_MAX),
        "MAX_TRAFFIC_POLICY_INSTANCES_BY_OWNER" => (0, TRAFFIC_POLICY_INSTANCES_MAX),
        other => return Err(invalid(format!("The limit type '{other}' is not valid")).into()),
    };
    Ok(GetAccountLimitResponse {
        count: count as i64,
        limit: AccountLimit {
            r#type: input.r#type,
            value: value as i64,
        },
    })
}
