//! What calculated health checks and those of alarms come to. Endpoints are the checkers' (`edge::checks`).

use crate::model::Tx;
use crate::model::route53::health_checks;
use fogbank_types::Timestamp;
use fogbank_types::route53::{HealthCheck, HealthCheckStatus, HealthCheckTarget};
use std::sync::Arc;

/// Nothing to wait for but rows. Children are no calculated checks, so one look is enough.
pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    let checks: Vec<Arc<HealthCheck>> = tx
        .snapshot()
        .health_checks
        .all()
        .filter(|check| !matches!(check.config.target, HealthCheckTarget::Endpoint(_)))
        .cloned()
        .collect();
    // Alarms' first: calculated ones count them.
    let (alarms, calculated): (Vec<_>, Vec<_>) = checks
        .iter()
        .partition(|check| matches!(check.config.target, HealthCheckTarget::Alarm { .. }));
    for check in alarms.into_iter().chain(calculated) {
        step(tx, check);
    }
    None
}

fn step(tx: &mut Tx, check: &HealthCheck) {
    let config = &check.config;
    let statuses = &tx.snapshot().health_check_statuses;
    let row = statuses.get(&check.scope, &check.id).cloned();
    let last = row.as_ref().map(|row| row.healthy != config.inverted);
    let healthy = match config.disabled {
        true => Some(true),
        false => health_checks::judge(tx.snapshot(), &check.scope, config, last),
    };
    let Some(healthy) = healthy else { return };
    let status = HealthCheckStatus {
        scope: check.scope.clone(),
        health_check_id: check.id.clone(),
        version: check.version,
        healthy: healthy != config.inverted,
        observations: Vec::new(),
    };
    if row.as_deref() != Some(&status) {
        tx.put(status);
    }
}

#[cfg(test)]
#[path = "health_check_status_tests.rs"]
mod tests;
