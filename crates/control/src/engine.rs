//! Commits: the one place where the model meets the store.
//!
//! The engine follows the store and keeps the newest snapshot. A writer computes its changes on a snapshot and commits
//! them on the condition that none of the rows it replaces were changed meanwhile; if they were, it computes anew.
//! Writers of this process compute one after the other and share commits ([`group`]); hosts write their status rows at
//! the same time through the socket.

mod group;

use crate::insights::Queries;
use crate::log_keys::Keyring;
use crate::metrics;
use crate::model::tx::Tx;
use fogbank_store::series::SeriesStore;
use fogbank_store::{Op, Store, StoreError, Txn, TxnOutcome};
use fogbank_types::{AuthMode, RegionConfig, Revision, Row, Scope, Snapshot, Timestamp};
use group::{Fate, Outcome, Writers};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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
#[derive(Clone, Debug, thiserror::Error)]
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
    writers: Mutex<Queue>,
    /// Something arrived, or somebody is no longer alone.
    turn: Condvar,
    clock_ms: AtomicI64,
    unbuilt: Mutex<BTreeMap<String, u64>>,
    metrics: SeriesStore,
    queries: Queries,
    log_keys: Keyring,
}

struct Queue {
    writers: Writers,
    seeds: Seeds,
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
            writers: Mutex::new(Queue {
                writers: Writers::default(),
                seeds: Seeds {
                    state: std::hash::RandomState::new(),
                    drawn: 0,
                },
            }),
            turn: Condvar::new(),
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
        let mut crossed = false;
        for _ in 0..ATTEMPTS_MAX {
            let mut queue = if crossed { self.alone() } else { self.enter() };
            let base = match queue.writers.rows() {
                Some(rows) => rows.clone(),
                None => self.snapshot(),
            };
            let seed = queue.seeds.draw();
            let mut tx = Tx::new(base.clone(), self.now(), seed, self.config.clone());
            let result = change(&mut tx);
            let changes = match &result {
                Ok(_) => tx.into_changes(),
                Err(_) => Vec::new(),
            };
            if changes.is_empty() {
                // What the answer rests on may still be on its way.
                let fate = queue
                    .writers
                    .pending()
                    .map(|outcome| self.settle(queue, &outcome));
                match fate {
                    None | Some(Fate::Committed(_)) => return Ok((result?, None)),
                    Some(Fate::Again | Fate::Failed(_)) => continue,
                }
            }
            let network = changes.iter().any(|c| is_network(&c.key));
            let outcome = queue.writers.join(base, changes);
            match self.settle(queue, &outcome) {
                Fate::Committed(revision) => return Ok((result?, network.then_some(revision))),
                Fate::Again => crossed = true,
                Fate::Failed(error) => return Err(error.into()),
            }
        }
        Err(CommitError::Contended.into())
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A writer that panicked has joined with all or nothing.
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        self.turn
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self) -> MutexGuard<'_, Queue> {
        let mut queue = self.lock();
        while queue.writers.is_closed() {
            queue = self.wait(queue);
        }
        queue
    }

    /// With nothing pending, and nobody to join.
    fn alone(&self) -> MutexGuard<'_, Queue> {
        let mut queue = self.lock();
        queue.writers.begin_alone();
        while queue.writers.is_busy() {
            queue = self.wait(queue);
        }
        queue.writers.end_alone();
        self.turn.notify_all();
        queue
    }

    /// Waits until it is known what becomes of a group. Whoever waits for one that could depart sends it off.
    fn settle<'a>(&'a self, mut queue: MutexGuard<'a, Queue>, outcome: &Outcome) -> Fate {
        loop {
            if let Some(fate) = outcome.get() {
                return fate.clone();
            }
            queue = if queue.writers.is_under_way() {
                self.wait(queue)
            } else {
                self.send_off(queue)
            };
        }
    }

    fn send_off<'a>(&'a self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        let Some(departure) = queue.writers.depart() else {
            return queue;
        };
        drop(queue);
        // Also if this panics: everybody else waits for it.
        let mut arrival = Arrival {
            engine: self,
            fate: Fate::Failed(CommitError::Closed),
        };
        arrival.fate = self.commit(departure);
        drop(arrival);
        self.lock()
    }

    fn commit(&self, departure: group::Departure) -> Fate {
        let group::Departure { txn, base, members } = departure;
        match self.runtime.block_on(self.store.txn(txn)) {
            Ok(TxnOutcome::Committed(revision)) => {
                match self.wait_until(|s| s.revision >= revision) {
                    Ok(()) => Fate::Committed(revision),
                    Err(error) => Fate::Failed(error),
                }
            }
            // Somebody's change is in the store but not yet in our snapshot: wait for it. A row that the snapshot
            // could not take in will never be there, and everybody else waits behind this call.
            Ok(TxnOutcome::Conflict { key }) => {
                tracing::debug!(key, "conflict; computing anew");
                match self.crossed(base) {
                    Ok(false) if members == 1 => {
                        tracing::error!(key, "a row of the store is not in the snapshot");
                        Fate::Failed(CommitError::Contended)
                    }
                    Ok(_) => Fate::Again,
                    Err(error) => Fate::Failed(error),
                }
            }
            Err(error) => Fate::Failed(error.into()),
        }
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
        let queue = self.alone();
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
            drop(queue);
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

/// Tells those who wait what became of the transaction that was under way.
struct Arrival<'a> {
    engine: &'a Engine,
    fate: Fate,
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        let now = self.engine.snapshot();
        self.engine.lock().writers.arrive(self.fate.clone(), now);
        self.engine.turn.notify_all();
    }
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
mod tests;
