//! Group commit: what writers compute while a transaction is on its way to the disk goes there together, as the next one.
//!
//! One transaction is under way at most, and one group gathers behind it. A writer computes on the rows as they will be
//! once both are committed. What must stay true: nobody is answered before everything that they saw is durable, and if
//! a transaction is not committed, nothing that was computed on top of it is either.

use super::CommitError;
use crate::model::tx::Changed;
use fogbank_store::{Compare, Op, Txn};
use fogbank_types::{Revision, Snapshot};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// Of rows that are not committed yet; no revision of the store is as high.
const PENDING: Revision = Revision::MAX;

/// A group of that size takes nobody in any more: its batch must fit a frame of the store's socket.
const GROUP_BYTES: usize = 1 << 20;

/// What became of a transaction.
#[derive(Clone, Debug)]
pub enum Fate {
    Committed(Revision),
    /// Its rows were changed by somebody else, or what it was computed on was not committed.
    Again,
    Failed(CommitError),
}

/// Set once.
pub type Outcome = Arc<OnceLock<Fate>>;

/// Who writes now, and what waits.
#[derive(Default)]
pub struct Writers {
    under_way: Option<UnderWay>,
    waiting: Option<Group>,
    /// Writers that were crossed and want to be on their own.
    alone: usize,
}

struct UnderWay {
    /// As they will be.
    rows: Snapshot,
    outcome: Outcome,
}

/// Changes of several writers, for one transaction.
pub struct Group {
    /// As they will be.
    rows: Snapshot,
    changes: BTreeMap<String, Change>,
    bytes: usize,
    members: usize,
    outcome: Outcome,
}

struct Change {
    before: Before,
    after: Option<Vec<u8>>,
}

/// What must be in the store for the change to hold.
#[derive(Clone, Copy)]
enum Before {
    Absent,
    At(Revision),
    /// What the transaction under way writes.
    UnderWay,
}

impl Writers {
    /// The rows as they will be; `None` if nothing is pending.
    pub fn rows(&self) -> Option<&Snapshot> {
        let waiting = self.waiting.as_ref().map(|group| &group.rows);
        waiting.or(self.under_way.as_ref().map(|under_way| &under_way.rows))
    }

    /// Of the newest of what is pending.
    pub fn pending(&self) -> Option<Outcome> {
        let waiting = self.waiting.as_ref().map(|group| &group.outcome);
        waiting
            .or(self.under_way.as_ref().map(|under_way| &under_way.outcome))
            .cloned()
    }

    pub fn is_busy(&self) -> bool {
        self.under_way.is_some() || self.waiting.is_some()
    }

    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    #[cfg(test)]
    pub fn waiting_members(&self) -> usize {
        self.waiting.as_ref().map_or(0, |group| group.members)
    }

    /// Whether a newcomer has to wait before it computes.
    pub fn is_closed(&self) -> bool {
        self.alone > 0 || self.waiting.as_ref().is_some_and(Group::is_full)
    }

    /// Keeps newcomers out until [`Self::end_alone`].
    pub fn begin_alone(&mut self) {
        self.alone += 1;
    }

    pub fn end_alone(&mut self) {
        self.alone -= 1;
    }

    /// Adds what was computed on `base`, which is what [`Self::rows`] gave, or a snapshot if that was nothing.
    pub fn join(&mut self, base: Snapshot, changes: Vec<Changed>) -> Outcome {
        let group = self.waiting.get_or_insert_with(|| Group::on(base));
        group.members += 1;
        for change in changes {
            group.add(change);
        }
        group.outcome.clone()
    }

    /// The group that waits is now under way.
    pub fn depart(&mut self) -> Option<Departure> {
        let group = self.waiting.take()?;
        self.under_way = Some(UnderWay {
            rows: group.rows.clone(),
            outcome: group.outcome.clone(),
        });
        Some(Departure {
            base: group.rows.revision,
            members: group.members,
            txn: group.into_txn(),
        })
    }

    /// What was under way has met its fate; `now` are the committed rows.
    pub fn arrive(&mut self, fate: Fate, now: Snapshot) {
        let Some(under_way) = self.under_way.take() else {
            return;
        };
        match (&fate, &mut self.waiting) {
            (Fate::Committed(revision), Some(group)) => group.rebase(now, *revision),
            (Fate::Committed(_), None) => {}
            (Fate::Again | Fate::Failed(_), waiting) => {
                if let Some(group) = waiting.take() {
                    let _ = group.outcome.set(Fate::Again);
                }
            }
        }
        let _ = under_way.outcome.set(fate);
    }
}

/// What goes to the store.
pub struct Departure {
    pub txn: Txn,
    /// The committed revision that it was computed on.
    pub base: Revision,
    pub members: usize,
}

impl Group {
    fn on(rows: Snapshot) -> Self {
        Self {
            rows,
            changes: BTreeMap::new(),
            bytes: 0,
            members: 0,
            outcome: Outcome::default(),
        }
    }

    fn is_full(&self) -> bool {
        self.bytes >= GROUP_BYTES
    }

    fn add(&mut self, changed: Changed) {
        let Changed { key, before, after } = changed;
        self.bytes += key.len() + after.as_ref().map_or(0, Vec::len);
        apply(&mut self.rows, &key, after.as_deref());
        if let Some(change) = self.changes.get_mut(&key) {
            change.after = after;
            return;
        }
        let before = match before {
            None => Before::Absent,
            Some(PENDING) => Before::UnderWay,
            Some(revision) => Before::At(revision),
        };
        self.changes.insert(key, Change { before, after });
    }

    /// On the rows that hold what was under way, and what hosts wrote meanwhile.
    fn rebase(&mut self, rows: Snapshot, revision: Revision) {
        self.rows = rows;
        for (key, change) in &mut self.changes {
            if let Before::UnderWay = change.before {
                change.before = Before::At(revision);
            }
            apply(&mut self.rows, key, change.after.as_deref());
        }
    }

    fn into_txn(self) -> Txn {
        let mut txn = Txn::default();
        for (key, Change { before, after }) in self.changes {
            let key_of = || key.clone();
            match before {
                Before::Absent => txn.compare.push(Compare::Absent { key: key_of() }),
                Before::At(revision) => txn.compare.push(Compare::Unchanged {
                    key: key_of(),
                    revision,
                }),
                Before::UnderWay => unreachable!("a group departs when nothing is under way"),
            }
            txn.ops.push(match after {
                Some(value) => Op::put(key, value),
                None => Op::delete(key),
            });
        }
        txn
    }
}

fn apply(rows: &mut Snapshot, key: &str, after: Option<&[u8]>) {
    if let Err(error) = rows.apply(key, after, PENDING) {
        tracing::error!(%error, "a change cannot be read back");
    }
}
