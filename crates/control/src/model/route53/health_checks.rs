//! Health checks: what they may be, and their life (facts ROUTE-7 to ROUTE-9). Called by `api::route53`.
//!
//! <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/health-checks-creating-values.html>. Who checks is
//! `edge::checks` (endpoints) and `reconcile::health_check_status` (all others). What must stay true: a row that is
//! stored can be checked as it stands; type, interval and the measuring of latency never change.

use super::{Refusal, check_targets, invalid};
use crate::model::tx::Tx;
use fogbank_types::route53::{
    HealthCheck, HealthCheckConfig, HealthCheckStatus, HealthCheckTarget,
};
use fogbank_types::{Scope, Snapshot, Tags};
use std::sync::Arc;

pub use check_targets::Settings;

/// Quota of an account (fact ROUTE-9).
const CHECKS_MAX: u32 = 200;
const QUOTA: &str = "L-ACB674F3";

/// The longest page.
pub const PAGE_MAX: usize = 1_000;

pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &str,
) -> Result<&'a Arc<HealthCheck>, Refusal> {
    let row = snapshot.health_checks.get(scope, id);
    row.ok_or_else(|| Refusal::NoSuchHealthCheck(id.to_owned()))
}

/// The same call again gives what the first one made; another one with its reference is refused.
/// <https://docs.aws.amazon.com/Route53/latest/APIReference/API_CreateHealthCheck.html>
pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    caller_reference: String,
    settings: &Settings,
) -> Result<HealthCheck, Refusal> {
    let config = settings.check(tx.snapshot(), tx.config(), scope, None)?;
    let same = |row: &&Arc<HealthCheck>| row.caller_reference == caller_reference;
    let mut rows = tx.snapshot().health_checks.in_scope(scope);
    let found = rows.find(same).cloned();
    drop(rows);
    if let Some(row) = found {
        return match row.config == config {
            true => Ok(HealthCheck::clone(&row)),
            false => Err(Refusal::HealthCheckAlreadyExists),
        };
    }
    let most = tx.config().quota(QUOTA, CHECKS_MAX);
    if tx.snapshot().health_checks.in_scope(scope).count() >= most {
        return Err(Refusal::TooManyHealthChecks);
    }
    let row = HealthCheck {
        scope: scope.clone(),
        id: tx.uuid(),
        caller_reference,
        version: 1,
        config,
        created_at: tx.now(),
        tags: Tags::new(),
    };
    tx.put(row.clone());
    Ok(row)
}

/// What a caller changes.
#[derive(Clone, Debug, Default)]
pub struct Update {
    pub id: String,
    /// Of the row that the caller has seen.
    pub version: Option<i64>,
    /// What is not named stays.
    pub settings: Settings,
    /// Back to their defaults.
    pub reset: Vec<String>,
}

/// <https://docs.aws.amazon.com/Route53/latest/APIReference/API_UpdateHealthCheck.html>
pub fn update(tx: &mut Tx, scope: &Scope, update: &Update) -> Result<HealthCheck, Refusal> {
    let mut row = HealthCheck::clone(find(tx.snapshot(), scope, &update.id)?);
    if update.version.is_some_and(|seen| seen != row.version) {
        return Err(Refusal::HealthCheckVersionMismatch {
            seen: update.version.unwrap_or_default(),
            version: row.version,
        });
    }
    let before = Settings::of(&row.config);
    if before.ip_address.is_none() && update.settings.ip_address.is_some() {
        return Err(invalid(
            "You can't add or remove the IP address of an existing health check.",
        ));
    }
    let mut settings = update.settings.clone().or(before);
    for element in &update.reset {
        settings.reset(element)?;
    }
    row.config = settings.check(tx.snapshot(), tx.config(), scope, Some(&row.id))?;
    row.version += 1;
    tx.put(row.clone());
    Ok(row)
}

/// A check that records name may be deleted ("Amazon Route 53 does not prevent you from deleting a health check even if
/// the health check is associated with one or more resource record sets"), and one that is another's child as well:
/// the error for checks in use "is not in use".
/// <https://docs.aws.amazon.com/Route53/latest/APIReference/API_DeleteHealthCheck.html>
pub fn delete(tx: &mut Tx, scope: &Scope, id: &str) -> Result<(), Refusal> {
    find(tx.snapshot(), scope, id)?;
    tx.delete::<HealthCheck>(scope, id);
    tx.delete::<HealthCheckStatus>(scope, id);
    Ok(())
}

/// Whether records and calculated checks count it as healthy now.
pub fn is_healthy(snapshot: &Snapshot, check: &HealthCheck) -> bool {
    let status = snapshot.health_check_statuses.get(&check.scope, &check.id);
    check.is_healthy(status.map(|row| &**row))
}

/// What a calculated check or an alarm's comes to, before inversion; `None` for an endpoint, which is not ours to judge.
/// `last` is its last word.
pub fn judge(
    snapshot: &Snapshot,
    scope: &Scope,
    config: &HealthCheckConfig,
    last: Option<bool>,
) -> Option<bool> {
    use fogbank_types::alarm::AlarmState;
    use fogbank_types::route53::InsufficientData;
    match &config.target {
        HealthCheckTarget::Endpoint(_) => None,
        HealthCheckTarget::Calculated {
            children,
            threshold,
        } => {
            let children = children
                .iter()
                .filter_map(|id| snapshot.health_checks.get(scope, id));
            // A child that was deleted is no healthy one.
            let healthy = children.filter(|child| is_healthy(snapshot, child)).count();
            Some(healthy >= *threshold as usize)
        }
        HealthCheckTarget::Alarm {
            region,
            name,
            insufficient_data,
        } => {
            let own = Scope::new(&scope.account, region);
            let alarm = snapshot.alarms.get(&own, name);
            // By its data, whatever SetAlarmState said.
            Some(match alarm.and_then(|alarm| alarm.judged) {
                Some(AlarmState::Ok) => true,
                Some(AlarmState::Alarm) => false,
                Some(AlarmState::InsufficientData) | None => match insufficient_data {
                    InsufficientData::Healthy => true,
                    InsufficientData::Unhealthy => false,
                    InsufficientData::LastKnown => last.unwrap_or(true),
                },
            })
        }
    }
}

/// From the marker on, by id; a marker that is nobody's is refused.
pub fn list(
    snapshot: &Snapshot,
    scope: &Scope,
    marker: Option<&str>,
    size: usize,
) -> Result<(Vec<Arc<HealthCheck>>, Option<String>), Refusal> {
    if let Some(marker) = marker
        && snapshot.health_checks.get(scope, marker).is_none()
    {
        return Err(invalid(format!("The marker '{marker}' is not valid")));
    }
    let from = marker.unwrap_or("");
    let rows = snapshot.health_checks.in_scope(scope);
    let mut rows: Vec<_> = rows
        .filter(|row| row.id.as_str() >= from)
        .take(size + 1)
        .cloned()
        .collect();
    let next = (rows.len() > size).then(|| rows.pop()).flatten();
    Ok((rows, next.map(|row| row.id.clone())))
}

#[cfg(test)]
#[path = "health_checks_tests.rs"]
mod tests;
