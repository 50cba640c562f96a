//! Follows the rows of health checks, and has each endpoint's watched.
//!
//! Called by the binary. What must stay true: a check's watch is that of its newest row; while the store is away the
//! watches go on, and what they found is written when it is back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fogbank_store::remote::Client;
use fogbank_store::{Follower, Store};
use fogbank_types::route53::{HealthCheck, HealthCheckTarget};
use fogbank_types::{RegionConfig, Row, Snapshot, Timestamp};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::board::{self, Board};
use super::checker;
use super::metrics;
use super::probe::Prober;
use super::watch::watch as watch_check;
use crate::namespace::NamespaceError;
use crate::rows;

/// Kinds of rows that are followed.
const FOLLOWED: [&str; 2] = ["health-check", "status-health-check"];

/// How old the shown times of looks may be, and how often metrics are reported.
const MINUTE_MS: u64 = 60_000;
const MINUTE_MIN_MS: u64 = 1_000;

#[derive(Debug, Error)]
pub enum ChecksError {
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
}

/// Checks until it is dropped.
pub async fn run(config: RegionConfig) -> Result<(), ChecksError> {
    let store = Arc::new(Client::connect(config.store_socket()));
    serve(config, store).await
}

pub(super) async fn serve(config: RegionConfig, store: Arc<dyn Store>) -> Result<(), ChecksError> {
    let prober = Arc::new(Prober::new(&config)?);
    let board = Arc::new(Board::default());
    let (snapshots, latest) = watch::channel(Snapshot::default());
    let minute = Duration::from_millis(config.scaled_ms(MINUTE_MS).max(MINUTE_MIN_MS));
    let mut tasks = JoinSet::new();
    tasks.spawn(board::write(board.clone(), store.clone(), minute));
    let host = config.host.clone();
    tasks.spawn(metrics::report(
        board.clone(),
        store.clone(),
        latest,
        host,
        minute,
    ));
    let mut watches = Watches {
        config: Arc::new(config),
        prober,
        board,
        running: HashMap::new(),
    };
    let prefixes = FOLLOWED.map(|kind| format!("{kind}/"));
    let mut follower = Follower::with_prefixes(store, prefixes.into());
    let mut snapshot = Snapshot::default();
    loop {
        let batch = follower.next().await;
        rows::apply(&mut snapshot, &batch);
        watches.follow(&snapshot);
        snapshots.send_replace(snapshot.clone());
    }
}

/// By the host's clock.
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let ms = since.unwrap_or_default().as_millis();
    Timestamp(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// The watches of all endpoints.
struct Watches {
    config: Arc<RegionConfig>,
    prober: Arc<Prober>,
    board: Arc<Board>,
    /// By the key of the check's row.
    running: HashMap<String, Running>,
}

struct Running {
    row: Arc<HealthCheck>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watches {
    /// Starts and ends watches so that they are those of the snapshot.
    fn follow(&mut self, snapshot: &Snapshot) {
        let board = &self.board;
        self.running.retain(|key, _| {
            let row = snapshot.health_checks.versioned(key);
            let stays = row.is_some_and(|row| is_watched(&row.value));
            if !stays {
                board.remove(key);
            }
            stays
        });
        let rows = snapshot.health_checks.all();
        for row in rows.filter(|row| is_watched(row)) {
            let key = row.key();
            let known = self.running.get(&key);
            if known.is_some_and(|running| Arc::ptr_eq(&running.row, row)) {
                continue;
            }
            self.start(snapshot, &key, row);
        }
    }

    fn start(&mut self, snapshot: &Snapshot, key: &str, row: &Arc<HealthCheck>) {
        let HealthCheckTarget::Endpoint(endpoint) = &row.config.target else {
            return;
        };
        let posts = checker::posts(&self.config.checker_addresses(), endpoint);
        let earlier = snapshot.health_check_statuses.get(&row.scope, &row.id);
        let earlier = earlier.map(|row| &**row);
        self.board.set(row.clone(), posts.clone(), earlier);
        // Tags may have changed alone: whoever watches goes on.
        if let Some(running) = self.running.get_mut(key)
            && running.row.version == row.version
        {
            running.row = row.clone();
            return;
        }
        let watching = watch_check(
            self.config.clone(),
            self.prober.clone(),
            self.board.clone(),
            row.clone(),
            endpoint.clone(),
            posts,
        );
        let task = tokio::spawn(watching).abort_handle();
        let row = row.clone();
        self.running.insert(key.to_owned(), Running { row, task });
    }
}

/// An endpoint that is not disabled.
fn is_watched(row: &HealthCheck) -> bool {
    matches!(row.config.target, HealthCheckTarget::Endpoint(_)) && !row.config.disabled
}
