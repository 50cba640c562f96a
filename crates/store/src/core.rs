//! What all backends share: the ordered map, revisions, the history watchers read from, and leases. A backend adds
//! only a [`Log`], so that semantics cannot differ between them.
//!
//! Writers: one at a time, under the log's lock: stage against the map (readers go on), make it durable, publish.
//! What must stay true: the map and the history only ever hold what the log has made durable; a commit that failed
//! changes nothing; only the holder of the log's lock changes rows.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::error::{Result, StoreError};
use crate::lease::{Leases, Timer};
use crate::row::{Batch, Compare, Entry, Event, LeaseId, Op, Revision, Txn, TxnOutcome};
use crate::watch::{Source, Watch};

/// Deletes of a dying lease are cut into batches of this many rows, so that every batch fits a frame.
const LEASE_ROWS_PER_BATCH: usize = 1024;

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub value: Arc<[u8]>,
    pub revision: Revision,
    pub lease: Option<LeaseId>,
}

pub(crate) type Rows = BTreeMap<String, Row>;

/// One change to make durable; `row` is `None` for a delete.
pub(crate) struct Write<'a> {
    pub key: &'a str,
    pub row: Option<&'a Row>,
}

/// Where a backend keeps its durable rows.
pub(crate) trait Log: Send {
    /// Makes all of `writes` durable, or none. `revision` is the newest one given out: a later run must start above
    /// it. `rows` reads what is durable now, for a log that has to make sure of itself after a failure.
    fn commit(
        &mut self,
        revision: Revision,
        writes: &[Write<'_>],
        rows: &dyn Fn() -> Rows,
    ) -> Result<()>;
}

/// How much history is kept for watchers that come late.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HistoryLimits {
    pub batches: usize,
    pub bytes: usize,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self {
            batches: 4096,
            bytes: 8 << 20,
        }
    }
}

/// The latest batches, without a gap between them.
struct History {
    limits: HistoryLimits,
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
    /// The newest revision that is no longer (or never was) kept.
    compacted: Revision,
}

impl History {
    fn push(&mut self, batch: Arc<Batch>) {
        self.bytes += weight(&batch);
        self.batches.push_back(batch);
        while self.batches.len() > self.limits.batches || self.bytes > self.limits.bytes {
            let Some(dropped) = self.batches.pop_front() else {
                break;
            };
            self.bytes -= weight(&dropped);
            self.compacted = dropped.revision;
        }
    }

    /// The batch right after `revision`; `None` if it is still to come.
    fn after(&self, revision: Revision) -> Result<Option<Arc<Batch>>> {
        let newest = self.compacted + self.batches.len() as u64;
        if revision < self.compacted || revision > newest {
            return Err(StoreError::Compacted {
                after: revision,
                oldest: self.compacted,
            });
        }
        let index = usize::try_from(revision - self.compacted).unwrap_or(usize::MAX);
        Ok(self.batches.get(index).cloned())
    }
}

fn weight(batch: &Batch) -> usize {
    let events = batch
        .events
        .iter()
        .map(|e| 64 + e.key.len() + e.value.as_ref().map_or(0, |v| v.len()));
    64 + events.sum::<usize>()
}

struct State {
    rows: Rows,
    revision: Revision,
    history: History,
    leases: Leases,
    /// Why the store no longer answers, once it has been closed.
    closed: bool,
}

/// What a writer asks for.
pub(crate) enum Command {
    Txn(Txn),
    Revoke(LeaseId),
    /// Revoke, but only if it has not been kept alive in the meantime.
    Expire(LeaseId),
}

pub(crate) struct Core {
    path: PathBuf,
    state: RwLock<State>,
    log: Mutex<Box<dyn Log>>,
    published: watch::Sender<Revision>,
    timer: Arc<Timer>,
}

impl Core {
    /// `path` names the store in errors.
    pub fn new(
        path: &Path,
        log: Box<dyn Log>,
        rows: Rows,
        revision: Revision,
        limits: HistoryLimits,
    ) -> Arc<Self> {
        let history = History {
            limits,
            batches: VecDeque::new(),
            bytes: 0,
            compacted: revision,
        };
        let state = State {
            rows,
            revision,
            history,
            leases: Leases::default(),
            closed: false,
        };
        Arc::new(Self {
            path: path.to_owned(),
            state: RwLock::new(state),
            log: Mutex::new(log),
            published: watch::Sender::new(revision),
            timer: Arc::new(Timer::default()),
        })
    }

    // A panic under one of these locks would be in our own code between plain assignments; going on is better than
    // taking every later call down with it.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_log(&self) -> MutexGuard<'_, Box<dyn Log>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed(&self) -> StoreError {
        StoreError::unavailable(&self.path, "it has been closed")
    }

    pub fn get(&self, key: &str) -> Result<Option<Entry>> {
        let state = self.read();
        if state.closed {
            return Err(self.closed());
        }
        Ok(state.rows.get(key).map(|row| entry(key, row)))
    }

    pub fn list(&self, prefix: &str) -> Result<(Vec<Entry>, Revision)> {
        let state = self.read();
        if state.closed {
            return Err(self.closed());
        }
        let from: (Bound<&str>, Bound<&str>) = (Bound::Included(prefix), Bound::Unbounded);
        let rows = state
            .rows
            .range::<str, _>(from)
            .take_while(|(key, _)| key.starts_with(prefix));
        Ok((
            rows.map(|(key, row)| entry(key, row)).collect(),
            state.revision,
        ))
    }

    pub fn watch(self: &Arc<Self>, after: Revision) -> Result<Watch> {
        let published = self.published.subscribe();
        let state = self.read();
        if state.closed {
            return Err(self.closed());
        }
        state.history.after(after)?;
        Ok(Watch::new(HistorySource {
            core: Arc::clone(self),
            after,
            published,
        }))
    }

    pub fn lease_grant(self: &Arc<Self>, ttl_ms: u64) -> Result<LeaseId> {
        let ttl = Duration::from_millis(ttl_ms);
        let (lease, deadline) = {
            let mut state = self.write();
            if state.closed {
                return Err(self.closed());
            }
            state.leases.grant(ttl, Instant::now())
        };
        self.timer.wake_at(deadline, self);
        Ok(lease)
    }

    pub fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        let mut state = self.write();
        if state.closed {
            return Err(self.closed());
        }
        state.leases.keep_alive(lease, Instant::now())
    }

    /// Ends the leases whose time is over. Answers when the next one is due.
    pub fn expire(&self, now: Instant) -> Option<Instant> {
        let due = self.read().leases.due(now);
        if !due.is_empty() {
            for result in self.commit(due.into_iter().map(Command::Expire).collect()) {
                if let Err(error) = result {
                    tracing::warn!(%error, "could not end an expired lease; trying again");
                    return Some(now + Duration::from_secs(1));
                }
            }
        }
        self.read().leases.next_deadline()
    }

    /// Carries out a group of commands in order, each on top of the one before, with one durable commit for all.
    /// Blocks for as long as the log takes.
    pub fn commit(&self, commands: Vec<Command>) -> Vec<Result<TxnOutcome>> {
        let mut log = self.lock_log();
        let now = Instant::now();
        let (mut results, staged) = {
            let state = self.read();
            if state.closed {
                return commands.iter().map(|_| Err(self.closed())).collect();
            }
            let mut staged = Staged::new(&state);
            let results: Vec<_> = commands
                .into_iter()
                .map(|command| staged.stage(&state, command, now))
                .collect();
            (results, staged.finish())
        };
        if !staged.batches.is_empty() {
            let writes: Vec<_> = {
                let state = self.read();
                staged
                    .changed
                    .iter()
                    .filter_map(|(key, row)| durable_write(&state.rows, key, row))
                    .collect()
            };
            let durable = || {
                self.read()
                    .rows
                    .clone()
                    .into_iter()
                    .filter(|(_, row)| row.lease.is_none())
                    .collect()
            };
            if let Err(error) = log.commit(staged.revision, &writes, &durable) {
                // Later commands of the group were judged on top of earlier ones, so all of them fail.
                results.fill_with(|| Err(error.clone()));
                return results;
            }
        }
        self.publish(staged);
        results
    }

    fn publish(&self, staged: Changes) {
        let revision = staged.revision;
        {
            let mut state = self.write();
            let State {
                rows,
                leases,
                history,
                revision: current,
                ..
            } = &mut *state;
            for (key, row) in staged.changed {
                let old = match row {
                    Some(row) => {
                        let lease = row.lease;
                        let old = rows.insert(key.clone(), row);
                        if let Some(lease) = lease {
                            leases.attach(lease, &key);
                        }
                        old.filter(|old| old.lease != lease)
                    }
                    None => rows.remove(&key),
                };
                if let Some(lease) = old.and_then(|old| old.lease) {
                    leases.detach(lease, &key);
                }
            }
            for lease in staged.revoked {
                leases.remove(lease);
            }
            staged
                .batches
                .into_iter()
                .for_each(|batch| history.push(batch));
            *current = revision;
        }
        self.published
            .send_if_modified(|newest| std::mem::replace(newest, revision) != revision);
    }

    /// No call is answered after this; watchers are told. Gives back the log, so that its file can be let go.
    pub fn close(&self) {
        self.write().closed = true;
        *self.lock_log() = Box::new(Volatile);
        self.published.send_modify(|_| ());
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.timer.stop();
    }
}

fn entry(key: &str, row: &Row) -> Entry {
    Entry {
        key: key.to_owned(),
        value: Arc::clone(&row.value),
        revision: row.revision,
        lease: row.lease,
    }
}

/// Leased rows stay off the disk: one that replaces a durable row is a delete there.
fn durable_write<'a>(rows: &Rows, key: &'a str, row: &'a Option<Row>) -> Option<Write<'a>> {
    match row {
        Some(row) if row.lease.is_none() => Some(Write {
            key,
            row: Some(row),
        }),
        _ => rows
            .get(key)
            .filter(|old| old.lease.is_none())
            .map(|_| Write { key, row: None }),
    }
}

/// A group of commands on its way: what it changes on top of the state it began with.
struct Staged {
    revision: Revision,
    changed: HashMap<String, Option<Row>>,
    batches: Vec<Arc<Batch>>,
    revoked: HashSet<LeaseId>,
}

/// What a staged group comes to.
struct Changes {
    revision: Revision,
    changed: HashMap<String, Option<Row>>,
    batches: Vec<Arc<Batch>>,
    revoked: HashSet<LeaseId>,
}

impl Staged {
    fn new(state: &State) -> Self {
        Self {
            revision: state.revision,
            changed: HashMap::new(),
            batches: Vec::new(),
            revoked: HashSet::new(),
        }
    }

    fn finish(self) -> Changes {
        let Self {
            revision,
            changed,
            batches,
            revoked,
        } = self;
        Changes {
            revision,
            changed,
            batches,
            revoked,
        }
    }

    fn row<'a>(&'a self, state: &'a State, key: &str) -> Option<&'a Row> {
        match self.changed.get(key) {
            Some(row) => row.as_ref(),
            None => state.rows.get(key),
        }
    }

    fn stage(&mut self, state: &State, command: Command, now: Instant) -> Result<TxnOutcome> {
        match command {
            Command::Txn(txn) => self.stage_txn(state, txn, now),
            Command::Revoke(lease) => self.stage_revoke(state, lease),
            Command::Expire(lease) if state.leases.is_alive(lease, now) => {
                Ok(TxnOutcome::Committed(self.revision))
            }
            Command::Expire(lease) => match self.stage_revoke(state, lease) {
                // Revoked in the meantime: that is as good.
                Err(StoreError::LeaseNotFound(_)) => Ok(TxnOutcome::Committed(self.revision)),
                result => result,
            },
        }
    }

    fn stage_txn(&mut self, state: &State, txn: Txn, now: Instant) -> Result<TxnOutcome> {
        txn.check()?;
        for op in &txn.ops {
            if let Op::Put {
                lease: Some(lease), ..
            } = op
                && (self.revoked.contains(lease) || !state.leases.is_alive(*lease, now))
            {
                return Err(StoreError::LeaseNotFound(*lease));
            }
        }
        for compare in txn.compare {
            match compare {
                Compare::Absent { key } if self.row(state, &key).is_some() => {
                    return Ok(TxnOutcome::Conflict { key });
                }
                Compare::Unchanged { key, revision }
                    if self
                        .row(state, &key)
                        .is_none_or(|row| row.revision != revision) =>
                {
                    return Ok(TxnOutcome::Conflict { key });
                }
                Compare::Absent { .. } | Compare::Unchanged { .. } => {}
            }
        }
        self.apply(state, txn.ops);
        Ok(TxnOutcome::Committed(self.revision))
    }

    /// The last operation on a key counts, and gives one event, in its place among the operations.
    fn apply(&mut self, state: &State, ops: Vec<Op>) {
        let revision = self.revision + 1;
        let mut last: HashMap<String, usize> = HashMap::new();
        if ops.len() > 1 {
            last = ops
                .iter()
                .enumerate()
                .map(|(index, op)| (op.key().to_owned(), index))
                .collect();
        }
        let mut events = Vec::with_capacity(ops.len());
        for (index, op) in ops.into_iter().enumerate() {
            if last.get(op.key()).is_some_and(|last| *last != index) {
                continue;
            }
            match op {
                Op::Put { key, value, lease } => {
                    events.push(Event {
                        key: key.clone(),
                        value: Some(Arc::clone(&value)),
                    });
                    self.changed.insert(
                        key,
                        Some(Row {
                            value,
                            revision,
                            lease,
                        }),
                    );
                }
                Op::Delete { key } => {
                    if self.row(state, &key).is_some() {
                        events.push(Event {
                            key: key.clone(),
                            value: None,
                        });
                        self.changed.insert(key, None);
                    }
                }
            }
        }
        if !events.is_empty() {
            self.revision = revision;
            self.batches.push(Arc::new(Batch { revision, events }));
        }
    }

    fn stage_revoke(&mut self, state: &State, lease: LeaseId) -> Result<TxnOutcome> {
        let mut keys = state.leases.keys(lease)?;
        if !self.revoked.insert(lease) {
            return Err(StoreError::LeaseNotFound(lease));
        }
        // The group itself may have put rows under the lease, or taken them from it.
        keys.retain(|key| {
            self.row(state, key)
                .is_some_and(|row| row.lease == Some(lease))
        });
        let staged = self
            .changed
            .iter()
            .filter(|(_, row)| row.as_ref().is_some_and(|row| row.lease == Some(lease)));
        keys.extend(staged.map(|(key, _)| key.clone()));
        let keys: Vec<String> = keys.into_iter().collect();
        for keys in keys.chunks(LEASE_ROWS_PER_BATCH) {
            self.apply(state, keys.iter().map(Op::delete).collect());
        }
        Ok(TxnOutcome::Committed(self.revision))
    }
}

/// A watcher's place in the history. It keeps nothing but a number, so however slow it is, it costs writers nothing.
struct HistorySource {
    core: Arc<Core>,
    after: Revision,
    published: watch::Receiver<Revision>,
}

#[async_trait]
impl Source for HistorySource {
    async fn next(&mut self) -> Result<Batch> {
        loop {
            // Seen before the history is read, so that what comes in between wakes us.
            self.published.mark_unchanged();
            {
                let state = self.core.read();
                if let Some(batch) = state.history.after(self.after)? {
                    drop(state);
                    self.after = batch.revision;
                    return Ok(Arc::unwrap_or_clone(batch));
                }
                if state.closed {
                    return Err(self.core.closed());
                }
            }
            if self.published.changed().await.is_err() {
                return Err(self.core.closed());
            }
        }
    }
}

/// The log of a store that keeps nothing.
pub(crate) struct Volatile;

impl Log for Volatile {
    fn commit(&mut self, _: Revision, _: &[Write<'_>], _: &dyn Fn() -> Rows) -> Result<()> {
        Ok(())
    }
}
