//! The nouns of the store: rows, transactions and the batches that watchers see. Used by every backend and caller.

use std::fmt;
use std::sync::Arc;

use crate::error::{Result, StoreError};

/// Counts transactions: each one that changes something gets the next revision.
pub type Revision = u64;

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;
/// Largest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// Largest transaction: the sum of its keys and values, in bytes.
pub const MAX_TXN_BYTES: usize = 4 << 20;

/// Names a lease. Never reused, not by a later run of the store either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub u64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A row as it stands in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Arc<[u8]>,
    /// The transaction that last wrote the row.
    pub revision: Revision,
    pub lease: Option<LeaseId>,
}

/// What must hold for a transaction to be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// There is no such row.
    Absent { key: String },
    /// The row exists and was last written at this revision.
    Unchanged { key: String, revision: Revision },
}

/// One change of a transaction. If a key occurs more than once, the last operation on it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Put {
        key: String,
        value: Arc<[u8]>,
        lease: Option<LeaseId>,
    },
    Delete {
        key: String,
    },
}

impl Op {
    /// A put of a durable row.
    pub fn put(key: impl Into<String>, value: impl Into<Arc<[u8]>>) -> Self {
        Self::Put {
            key: key.into(),
            value: value.into(),
            lease: None,
        }
    }

    /// A put of a row that dies with the lease.
    pub fn put_leased(key: impl Into<String>, value: impl Into<Arc<[u8]>>, lease: LeaseId) -> Self {
        Self::Put {
            key: key.into(),
            value: value.into(),
            lease: Some(lease),
        }
    }

    pub fn delete(key: impl Into<String>) -> Self {
        Self::Delete { key: key.into() }
    }

    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// Compares, then operations; all or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    pub compare: Vec<Compare>,
    pub ops: Vec<Op>,
}

impl Txn {
    /// A transaction without conditions.
    pub fn of(ops: Vec<Op>) -> Self {
        Self {
            compare: Vec::new(),
            ops,
        }
    }

    /// Refuses keys and sizes that no backend takes, so that one that was accepted also fits a frame and a batch.
    pub(crate) fn check(&self) -> Result<()> {
        let mut total = 0;
        for compare in &self.compare {
            let (Compare::Absent { key } | Compare::Unchanged { key, .. }) = compare;
            check_key(key)?;
            total += key.len();
        }
        for op in &self.ops {
            check_key(op.key())?;
            total += op.key().len();
            if let Op::Put { value, .. } = op {
                if value.len() > MAX_VALUE_BYTES {
                    return Err(StoreError::TooLarge {
                        what: "value",
                        size: value.len(),
                        limit: MAX_VALUE_BYTES,
                    });
                }
                total += value.len();
            }
        }
        if total > MAX_TXN_BYTES {
            return Err(StoreError::TooLarge {
                what: "transaction",
                size: total,
                limit: MAX_TXN_BYTES,
            });
        }
        Ok(())
    }
}

fn check_key(key: &str) -> Result<()> {
    if key.is_empty() {
        return Err(StoreError::EmptyKey);
    }
    if key.len() > MAX_KEY_BYTES {
        return Err(StoreError::TooLarge {
            what: "key",
            size: key.len(),
            limit: MAX_KEY_BYTES,
        });
    }
    Ok(())
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum TxnOutcome {
    Committed(Revision),
    /// A compare on this row did not hold; nothing was changed.
    Conflict {
        key: String,
    },
}

/// Everything one transaction changed; never split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub revision: Revision,
    pub events: Vec<Event>,
}

/// A row that was put, or deleted (`value` is `None`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub key: String,
    pub value: Option<Arc<[u8]>>,
}
