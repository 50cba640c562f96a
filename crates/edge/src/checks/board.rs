//! What the checkers know, and its way into the store.
//!
//! A check that flips is written at once, as answers go by it. What one checker has to say (a new status, its own change of
//! mind) waits a second for the others'; times alone are refreshed once a minute. A row is written under the condition
//! that its check is the one that was looked at, so that nothing is left of a check that was deleted meanwhile.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fogbank_store::{Compare, Op, Store, StoreError, Txn, TxnOutcome};
use fogbank_types::route53::{EndpointCheck, HealthCheck, HealthCheckStatus, HealthCheckTarget};
use fogbank_types::{Row, Timestamp};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::checker::{self, Checker, Finding, Post};
use super::metrics::Sums;
use super::probe::Look;

/// How long small news wait for others.
const GATHERED: Duration = Duration::from_secs(1);

/// How much there is to write of a check.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    #[default]
    Nothing,
    /// Times alone.
    Refresh,
    Soon,
    Now,
}

/// An endpoint's check with its checkers.
pub struct Entry {
    pub check: Arc<HealthCheck>,
    pub checkers: Vec<Checker>,
    /// What the store says, without inversion. Without a row a check counts as healthy.
    told: bool,
    due: Due,
    written_at: Instant,
    pub sums: Sums,
}

impl Entry {
    pub fn endpoint(&self) -> Option<&EndpointCheck> {
        match &self.check.config.target {
            HealthCheckTarget::Endpoint(endpoint) => Some(endpoint),
            _ => None,
        }
    }

    /// As records count it.
    pub fn is_healthy(&self) -> bool {
        checker::verdict(&self.checkers) != self.check.config.inverted
    }

    fn status(&self) -> HealthCheckStatus {
        let seen = self.checkers.iter().filter_map(Checker::observation);
        HealthCheckStatus {
            scope: self.check.scope.clone(),
            health_check_id: self.check.id.clone(),
            version: self.check.version,
            healthy: self.is_healthy(),
            observations: seen.collect(),
        }
    }
}

/// See the module. Shared by all watches.
#[derive(Default)]
pub struct Board {
    /// By the row's key.
    entries: Mutex<BTreeMap<String, Entry>>,
    urgent: Notify,
}

impl Board {
    /// A check that is new here, or changed. `earlier` is what the store has of it.
    pub fn set(
        &self,
        check: Arc<HealthCheck>,
        posts: Vec<Post>,
        earlier: Option<&HealthCheckStatus>,
    ) {
        let mut entries = self.entries();
        let key = check.key();
        let before = entries.remove(&key);
        let is_changed = match (&before, earlier) {
            (Some(before), _) => before.check.version != check.version,
            (None, Some(earlier)) => earlier.version != check.version,
            (None, None) => false,
        };
        let checker = |post: Post| {
            let known = before.iter().flat_map(|entry| &entry.checkers);
            if let Some(checker) = known.clone().find(|known| known.post == post) {
                let mut checker = checker.clone();
                if is_changed {
                    checker.forget_run();
                }
                return checker;
            }
            let mut checker = Checker::new(post);
            let mut seen = earlier.iter().flat_map(|row| &row.observations);
            let own = |address: IpAddr| checker.post.address(address) == address;
            if let Some(seen) = seen.find(|seen| own(seen.address)) {
                checker.resume(seen);
            }
            checker
        };
        let told = earlier.map(|row| row.healthy != check.config.inverted);
        let told = before.as_ref().map(|entry| entry.told).or(told);
        let entry = Entry {
            checkers: posts.into_iter().map(checker).collect(),
            told: told.unwrap_or(true),
            // A row of another version says what is no longer so: inversion, or regions.
            due: match is_changed && earlier.is_some() {
                true => Due::Now,
                false => before.as_ref().map_or(Due::Nothing, |entry| entry.due),
            },
            written_at: before
                .as_ref()
                .map_or_else(Instant::now, |entry| entry.written_at),
            sums: before.map(|entry| entry.sums).unwrap_or_default(),
            check,
        };
        let is_urgent = entry.due == Due::Now;
        entries.insert(key, entry);
        drop(entries);
        if is_urgent {
            self.urgent.notify_one();
        }
    }

    pub fn remove(&self, key: &str) {
        self.entries().remove(key);
    }

    /// What a checker found of that version of a check.
    pub fn note(&self, key: &str, version: i64, number: usize, at: Timestamp, look: &Look) {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(key).filter(|e| e.check.version == version) else {
            return;
        };
        let Some(threshold) = entry.endpoint().map(|endpoint| endpoint.threshold) else {
            return;
        };
        let Some(checker) = entry.checkers.get_mut(number) else {
            return;
        };
        let Look {
            from,
            finding,
            times,
        } = look;
        let change = checker.note(at, *from, finding, threshold);
        let region = checker.post.region;
        if change.flipped {
            log_flip(&entry.check.id, region, finding);
        }
        entry.sums.add(region, times);
        let due = match (
            checker::verdict(&entry.checkers) != entry.told,
            change.flipped || change.news,
        ) {
            (true, _) => Due::Now,
            (false, true) => Due::Soon,
            (false, false) => Due::Refresh,
        };
        entry.due = entry.due.max(due);
        if entry.due == Due::Now {
            self.urgent.notify_one();
        }
    }

    /// Looks at all entries.
    pub fn each<T>(&self, look: impl FnMut(&mut Entry) -> T) -> Vec<T> {
        self.entries().values_mut().map(look).collect()
    }

    /// What is to be written, and is taken for written: [`Board::failed`] says otherwise.
    fn take(&self, least: Due, refresh_every: Duration) -> Vec<(String, HealthCheckStatus)> {
        let now = Instant::now();
        let mut rows = Vec::new();
        for (key, entry) in &mut *self.entries() {
            let is_old = now.duration_since(entry.written_at) >= refresh_every;
            let is_due =
                entry.due >= least || (entry.due == Due::Refresh && is_old && least <= Due::Soon);
            if !is_due {
                continue;
            }
            entry.told = checker::verdict(&entry.checkers);
            entry.due = Due::Nothing;
            entry.written_at = now;
            rows.push((key.clone(), entry.status()));
        }
        rows
    }

    fn failed(&self, key: &str) {
        if let Some(entry) = self.entries().get_mut(key) {
            entry.due = entry.due.max(Due::Soon);
        }
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_flip(id: &str, region: &str, finding: &Finding) {
    let status = &finding.status;
    tracing::info!(
        health_check = id,
        region,
        status,
        "a checker changed its mind"
    );
}

/// Writes until it is dropped.
pub async fn write(board: Arc<Board>, store: Arc<dyn Store>, refresh_every: Duration) {
    let mut ticks = interval(GATHERED);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let least = tokio::select! {
            () = board.urgent.notified() => Due::Now,
            _ = ticks.tick() => Due::Soon,
        };
        for (key, status) in board.take(least, refresh_every) {
            match put(&store, &key, &status).await {
                Ok(true) => {}
                // Its new row, or its end, is on the way to us.
                Ok(false) => board.failed(&key),
                Err(error) => {
                    tracing::debug!(%error, "what is known of a health check is written later");
                    board.failed(&key);
                }
            }
        }
    }
}

/// False: the check is not the one that was looked at.
async fn put(
    store: &Arc<dyn Store>,
    key: &str,
    status: &HealthCheckStatus,
) -> Result<bool, StoreError> {
    let Some(row) = store.get(key).await? else {
        return Ok(false);
    };
    let check: Option<HealthCheck> = serde_json::from_slice(&row.value).ok();
    if check.is_none_or(|check| check.version != status.version) {
        return Ok(false);
    }
    let value = serde_json::to_vec(status).expect("rows have string keys only");
    let txn = Txn {
        compare: vec![Compare::Unchanged {
            key: key.to_owned(),
            revision: row.revision,
        }],
        ops: vec![Op::put(status.key(), value)],
    };
    Ok(matches!(store.txn(txn).await?, TxnOutcome::Committed(_)))
}

#[cfg(test)]
#[path = "board_tests.rs"]
pub(super) mod tests;
