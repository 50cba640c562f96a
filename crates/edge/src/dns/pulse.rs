//! Whether health checks say healthy, beside the compiled zones: a check that flips changes one flag, and no table.
//!
//! Written by `mirror` from rows, read by `choice` for every answer. What must stay true: a flag is that of the
//! newest rows, for zones compiled before and after.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fogbank_types::Snapshot;

/// What a health check says now.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<AtomicBool>);

impl Pulse {
    pub fn is_healthy(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Those of all health checks that records name, by id.
#[derive(Debug, Default)]
pub struct Pulses {
    known: Mutex<HashMap<String, Pulse>>,
}

impl Pulses {
    /// The flag of a check, set as the rows say.
    pub fn of(&self, snapshot: &Snapshot, id: &str) -> Pulse {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pulse) = known.get(id) {
            return pulse.clone();
        }
        let pulse = Pulse(Arc::new(AtomicBool::new(is_healthy(snapshot, id))));
        known.insert(id.to_owned(), pulse.clone());
        pulse
    }

    /// The rows of a check have changed.
    pub fn update(&self, snapshot: &Snapshot, id: &str) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pulse) = known.get(id) {
            pulse.0.store(is_healthy(snapshot, id), Ordering::Relaxed);
        }
    }
}

/// A record whose check is gone counts as healthy (fact ROUTE-6).
fn is_healthy(snapshot: &Snapshot, id: &str) -> bool {
    let mut checks = snapshot.health_checks.all();
    checks.find(|check| check.id == id).is_none_or(|check| {
        let status = snapshot.health_check_statuses.get(&check.scope, id);
        check.is_healthy(status.map(|row| &**row))
    })
}
