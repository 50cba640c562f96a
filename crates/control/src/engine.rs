//! Commits: the one place where the model meets the store.
//!
//! The engine follows the store and keeps the newest snapshot. A writer computes its changes on a snapshot and commits
//! them on the condition that none of the rows it replaces were changed meanwhile; if they were, it computes anew.
//! Writers of this process go one after the other; hosts write their status rows at the same time through the socket.

use crate::insights::Queries;
use crate::log_keys::Keyring;
use crate::metrics;
use crate::model::tx::{Changed, Tx};
use fogbank_store::series::SeriesStore;
use fogbank_store::{Compare, Op, Store, StoreError, Txn, TxnOutcome};
use fogbank_types::{AuthMode, RegionConfig, Revision, Row, Scope, Snapshot, Timestamp};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Rows that a host turns into kernel state before it reports the revision as applied.
const NETWORK_KINDS: &[&str] = &[
    "vpc",
    "subnet",
    "route-table",
    "internet-gateway",
    "nat-gateway",
    "elastic-ip",
    "security-group",
    "network-acl",
    "eni",
    "prefix-list",
    "vpc-endpoint",
    "vpc-peering-connection",
    "egress-only-internet-gateway",
    "flow-log",
    "zone-fault",
];

/// How long a call waits for the hosts; AWS promises that a rule acts at once, but no answer hangs on a host.
const HOST_WAIT: Duration = Duration::from_secs(1);

/// How long a change waits for the rows that it met in the store to be in the snapshot too.
const CROSSED_WAIT: Duration = Duration::from_secs(1);

/// How often a change is computed anew before the call gives up.
const ATTEMPTS_MAX: usize = 64;

/// Why a change could not be committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error("the store refused the transaction: {0}")]
    Store(#[from] StoreError),
    #[error("the rows changed {ATTEMPTS_MAX} times while the change was computed")]
    Contended,
    #[error("the store's changes are no longer followed")]
    Closed,
}

impl From<CommitError> for crate::api::ApiError {
    /// The caller sees that the region is at fault, not what broke.
    fn from(error: CommitError) -> Self {
        tracing::error!(%error, "commit failed");
        Self::new("InternalError", "The region could not store the change.").with_status(500)
    }
}

/// See the module.
pub struct Engine {
    store: Arc<dyn Store>,
    config: Arc<RegionConfig>,
    runtime: Handle,
    snapshots: watch::Sender<Snapshot>,
    writer: Mutex<Seeds>,
    clock_ms: AtomicI64,
    unbuilt: Mutex<BTreeMap<String, u64>>,
    metrics: SeriesStore,
    queries: Queries,
    log_keys: Keyring,
}

/// Draws the seed of each transaction.
struct Seeds {
    state: std::hash::RandomState,
    drawn: u64,
}

impl Seeds {
    fn draw(&mut self) -> u128 {
        use std::hash::{BuildHasher, Hasher};
        let half = |salt: u64| {
            let mut hasher = self.state.build_hasher();
            hasher.write_u64(self.drawn);
            hasher.write_u64(salt);
            hasher.finish()
        };
        let seed = (u128::from(half(1)) << 64) | u128::from(half(2));
        self.drawn += 1;
        seed
    }
}

impl Engine {
    /// Reads the whole store and follows it from there on. Must be called within a tokio runtime.
    pub async fn start(
        store: Arc<dyn Store>,
        config: RegionConfig,
    ) -> Result<Arc<Self>, StoreError> {
        let (snapshots, _) = watch::channel(Snapshot::default());
        let metrics = metrics::open(&config).map_err(|error| StoreError::Unavailable {
            path: config.data_dir.clone(),
            reason: error.to_string(),
        })?;
        let engine = Arc::new(Self {
            store: store.clone(),
            config: Arc::new(config),
            runtime: Handle::current(),
            snapshots,
            writer: Mutex::new(Seeds {
                state: std::hash::RandomState::new(),
                drawn: 0,
            }),
            clock_ms: AtomicI64::new(0),
            unbuilt: Mutex::new(BTreeMap::new()),
            metrics,
            queries: Queries::default(),
            log_keys: Keyring::default(),
        });
        let revision = engine.load().await?;
        tokio::spawn(follow(engine.clone(), revision));
        Ok(engine)
    }

    async fn load(&self) -> Result<Revision, StoreError> {
        let (entries, revision) = self.store.list("").await?;
        let mut snapshot = Snapshot::default();
        for entry in entries {
            if let Err(error) = snapshot.apply(&entry.key, Some(&entry.value), entry.revision) {
                tracing::error!(%error, "a row of the store is left out");
            }
        }
        snapshot.revision = revision;
        self.snapshots.send_replace(snapshot);
        Ok(revision)
    }

    pub fn config(&self) -> &RegionConfig {
        &self.config
    }

    /// What metrics are kept in, apart from the rows.
    pub fn metrics(&self) -> &SeriesStore {
        &self.metrics
    }

    /// Queries of Logs Insights, apart from the rows.
    pub fn queries(&self) -> &Queries {
        &self.queries
    }

    /// What opens events of log groups with keys.
    pub fn log_keys(&self) -> &Keyring {
        &self.log_keys
    }

    /// The newest rows. Copying is O(1).
    pub fn snapshot(&self) -> Snapshot {
        self.snapshots.borrow().clone()
    }

    /// Wakes at every change.
    pub fn subscribe(&self) -> watch::Receiver<Snapshot> {
        self.snapshots.subscribe()
    }

    /// Wall-clock time that never runs backwards in this process.
    pub fn now(&self) -> Timestamp {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_millis() as i64);
        Timestamp(self.clock_ms.fetch_max(wall, Ordering::Relaxed).max(wall))
    }

    /// Computes and commits a change; `None` as revision means that nothing had to change. Blocks on the store: not to
    /// be called on a thread that drives the runtime. `change` may run several times.
    pub fn write<R, E: From<CommitError>>(
        &self,
        mut change: impl FnMut(&mut Tx) -> Result<R, E>,
    ) -> Result<(R, Option<Revision>), E> {
        let mut seeds = self.lock_writer();
        for _ in 0..ATTEMPTS_MAX {
            let snapshot = self.snapshot();
            let base = snapshot.revision;
            let mut tx = Tx::new(snapshot, self.now(), seeds.draw(), self.config.clone());
            let result = change(&mut tx)?;
            let changes = tx.into_changes();
            if changes.is_empty() {
                return Ok((result, None));
            }
            let network = changes.iter().any(|c| is_network(&c.key));
            match self
                .runtime
                .block_on(self.store.txn(txn_of(changes)))
                .map_err(CommitError::from)?
            {
                TxnOutcome::Committed(revision) => {
                    self.wait_until(|s| s.revision >= revision)?;
                    return Ok((result, network.then_some(revision)));
                }
                // Somebody's change is in the store but not yet in our snapshot: wait for it. A row that the snapshot
                // could not take in will never be there, and everybody else waits behind this call.
                TxnOutcome::Conflict { key } => {
                    tracing::debug!(key, "conflict; computing anew");
                    if !self.crossed(base)? {
                        tracing::error!(key, "a row of the store is not in the snapshot");
                        return Err(CommitError::Contended.into());
                    }
                }
            }
        }
        Err(CommitError::Contended.into())
    }

    fn lock_writer(&self) -> MutexGuard<'_, Seeds> {
        // A writer that panicked has committed all or nothing: the seeds stay good.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until(&self, reached: impl FnMut(&Snapshot) -> bool) -> Result<(), CommitError> {
        let mut snapshots = self.subscribe();
        self.runtime
            .block_on(snapshots.wait_for(reached))
            .map(drop)
            .map_err(|_| CommitError::Closed)
    }

    /// Waits until the snapshot is newer than that; false if it does not become so.
    fn crossed(&self, base: Revision) -> Result<bool, CommitError> {
        let mut snapshots = self.subscribe();
        let newer = snapshots.wait_for(|s| s.revision > base);
        match self
            .runtime
            .block_on(async { tokio::time::timeout(CROSSED_WAIT, newer).await })
        {
            Ok(seen) => seen.map(|_| true).map_err(|_| CommitError::Closed),
            Err(_) => Ok(false),
        }
    }

    /// Waits at most a second until all living hosts act by this revision. Blocks.
    pub fn wait_for_hosts(&self, revision: Revision) {
        let mut snapshots = self.subscribe();
        let applied =
            snapshots.wait_for(|s| s.host_statuses.all().all(|host| host.applied >= revision));
        let waited = self
            .runtime
            .block_on(async { tokio::time::timeout(HOST_WAIT, applied).await.is_ok() });
        if !waited {
            tracing::warn!(revision, "a host did not apply the change within a second");
        }
    }

    /// Empties the region: every row but those that hosts hold under a lease. Blocks.
    pub fn reset(&self) -> Result<(), CommitError> {
        let seeds = self.lock_writer();
        if let Err(error) = self.metrics.clear() {
            tracing::error!(%error, "the metrics could not be forgotten");
        }
        self.queries.clear();
        let snapshot = self.snapshot();
        // Where nobody comes in without a key, the root's are not lost.
        let roots = snapshot
            .access_keys
            .in_scope(&Scope::new(&self.config.account, "global"));
        let roots = roots.filter(|key| key.user.is_none() && self.config.auth == AuthMode::Enforce);
        let kept: Vec<String> = roots.map(|key| key.key()).collect();
        let keys: Vec<_> = snapshot
            .keys()
            .into_iter()
            .filter(|k| !k.starts_with("status-host/") && !k.starts_with("status-dns/"))
            .filter(|k| !kept.contains(k))
            .collect();
        // A transaction that changes nothing has no revision of its own that a host could report.
        if keys.is_empty() {
            return Ok(());
        }
        let ops = keys.into_iter().map(Op::delete).collect();
        if let TxnOutcome::Committed(revision) =
            self.runtime.block_on(self.store.txn(Txn::of(ops)))?
        {
            self.wait_until(|s| s.revision >= revision)?;
            drop(seeds);
            self.wait_for_hosts(revision);
        }
        Ok(())
    }

    /// Counts a call of an operation that is not built.
    pub fn count_unbuilt(&self, operation: String) {
        let mut unbuilt = self.unbuilt.lock().unwrap_or_else(PoisonError::into_inner);
        // Names come from callers: the table must not grow without bound.
        if unbuilt.len() < 1000 || unbuilt.contains_key(&operation) {
            *unbuilt.entry(operation).or_default() += 1;
        }
    }

    /// Calls of operations that are not built, by name.
    pub fn unbuilt(&self) -> BTreeMap<String, u64> {
        self.unbuilt
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn is_network(key: &str) -> bool {
    key.split('/')
        .next()
        .is_some_and(|kind| NETWORK_KINDS.contains(&kind))
}

fn txn_of(changes: Vec<Changed>) -> Txn {
    let mut txn = Txn::default();
    for Changed { key, before, after } in changes {
        txn.compare.push(match before {
            Some(revision) => Compare::Unchanged {
                key: key.clone(),
                revision,
            },
            None => Compare::Absent { key: key.clone() },
        });
        txn.ops.push(match after {
            Some(value) => Op::put(key, value),
            None => Op::delete(key),
        });
    }
    txn
}

/// Applies the store's transactions to the snapshot, one by one and whole.
async fn follow(engine: Arc<Engine>, mut after: Revision) {
    loop {
        match engine.store.watch(after).await {
            Ok(mut watch) => {
                while let Ok(batch) = watch.next().await {
                    after = batch.revision;
                    engine.snapshots.send_modify(|snapshot| {
                        for event in &batch.events {
                            if let Err(error) =
                                snapshot.apply(&event.key, event.value.as_deref(), batch.revision)
                            {
                                tracing::error!(%error, "a change of the store is left out");
                            }
                        }
                        snapshot.revision = batch.revision;
                    });
                }
            }
            Err(error) => tracing::warn!(%error, after, "cannot follow the store; reading it anew"),
        }
        match engine.load().await {
            Ok(revision) => after = revision,
            Err(error) => {
                tracing::error!(%error, "cannot read the store");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ApiError;
    use crate::model::tx::test_config;
    use fogbank_store::Memory;
    use fogbank_types::Scope;
    use fogbank_types::logs::LogGroup;

    fn group(name: &str) -> LogGroup {
        LogGroup {
            key_pairs: Vec::new(),
            scope: Scope::new("000000000000", "us-east-1"),
            name: name.to_owned(),
            retention_days: Some(0),
            kms_key_id: None,
            class: "STANDARD".to_owned(),
            created_at: Timestamp(0),
            tags: Default::default(),
        }
    }

    async fn engine() -> (Arc<Engine>, Arc<Memory>) {
        let store = Arc::new(Memory::new());
        (
            Engine::start(store.clone(), test_config()).await.unwrap(),
            store,
        )
    }

    #[tokio::test]
    async fn a_write_is_seen_when_it_returns() {
        let (engine, _) = engine().await;
        tokio::task::spawn_blocking(move || {
            engine
                .write(|tx| {
                    tx.put(group("a"));
                    Ok::<_, ApiError>(())
                })
                .unwrap();
            assert_eq!(engine.snapshot().log_groups.len(), 1);
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn a_write_that_somebody_else_crossed_is_computed_anew() {
        let (engine, store) = engine().await;
        tokio::task::spawn_blocking(move || {
            engine
                .write(|tx| {
                    tx.put(group("a"));
                    Ok::<_, ApiError>(())
                })
                .unwrap();
            let mut runs = 0;
            engine
                .write(|tx| {
                    runs += 1;
                    if runs == 1 {
                        let mut row = group("a");
                        row.retention_days = Some(10);
                        use fogbank_types::Row;
                        let op = Op::put(row.key(), serde_json::to_vec(&row).unwrap());
                        let outcome = engine
                            .runtime
                            .block_on(store.txn(Txn::of(vec![op])))
                            .unwrap();
                        assert!(matches!(outcome, TxnOutcome::Committed(_)));
                    }
                    let scope = group("a").scope;
                    tx.update::<LogGroup>(&scope, "a", |g| {
                        g.retention_days = g.retention_days.map(|d| d + 1)
                    });
                    Ok::<_, ApiError>(())
                })
                .unwrap();
            let scope = group("a").scope;
            assert_eq!(
                engine
                    .snapshot()
                    .log_groups
                    .get(&scope, "a")
                    .unwrap()
                    .retention_days,
                Some(11)
            );
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn a_row_that_cannot_be_read_refuses_its_writers_and_no_others() {
        let store = Arc::new(Memory::new());
        let key = fogbank_types::Row::key(&group("a"));
        let garbage = Txn::of(vec![Op::put(key, b"{}".to_vec())]);
        assert!(matches!(
            store.txn(garbage).await.unwrap(),
            TxnOutcome::Committed(_)
        ));
        let engine = Engine::start(store, test_config()).await.unwrap();
        let writes = tokio::task::spawn_blocking(move || {
            ["a", "b"].map(|name| {
                engine
                    .write(|tx| {
                        tx.put(group(name));
                        Ok::<_, ApiError>(())
                    })
                    .is_ok()
            })
        });
        let written = tokio::time::timeout(Duration::from_secs(30), writes).await;
        assert_eq!(written.expect("nobody hangs").unwrap(), [false, true]);
    }

    #[tokio::test]
    async fn a_refused_write_changes_nothing_and_reset_empties() {
        let (engine, _) = engine().await;
        tokio::task::spawn_blocking(move || {
            let refused: Result<((), _), _> = engine.write(|tx| {
                tx.put(group("a"));
                Err(ApiError::new("No", "no"))
            });
            assert!(refused.is_err());
            assert!(engine.snapshot().log_groups.is_empty());
            engine
                .write(|tx| {
                    tx.put(group("a"));
                    Ok::<_, ApiError>(())
                })
                .unwrap();
            engine.reset().unwrap();
            assert!(engine.snapshot().log_groups.is_empty());
        })
        .await
        .unwrap();
    }
}
