//! The store: every resource of the region is a row here, and everything else is derived from the rows.
//!
//! Called by `control` (which owns the store) and, through [`remote`], by `node` and `dns`, which mirror it with a
//! [`Follower`]. What must stay true:
//!
//! - A transaction is all or nothing, gets one revision, and is durable when its call returns.
//! - Revisions only grow, over restarts too. Watchers see every transaction once, whole and in order, or are told
//!   [`StoreError::Compacted`] and list again.
//! - A slow watcher never holds up a writer.
//! - Rows under a lease die with it and are never written to disk.
//!
//! Backends: [`Memory`], [`Embedded`] (redb). Both sit on one core, and both pass `suite`.
//! [`log`] is apart from the rows: append-only segments for log events. So is [`series`]: what metrics are made of.

pub mod blob;
mod core;
mod embedded;
mod error;
mod follower;
mod lease;
pub mod log;
mod memory;
pub mod remote;
mod row;
mod seal;
pub mod series;
#[cfg(test)]
mod suite;
mod watch;

use async_trait::async_trait;

pub use embedded::Embedded;
pub use error::{Result, StoreError};
pub use follower::Follower;
pub use memory::Memory;
pub use row::{
    Batch, Compare, Entry, Event, LeaseId, MAX_KEY_BYTES, MAX_TXN_BYTES, MAX_VALUE_BYTES, Op,
    Revision, Txn, TxnOutcome,
};
pub use watch::{Source, Watch};

/// Rows by key, with revisions. Object-safe: rooms hold an `Arc<dyn Store>`.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The row at `key`, if there is one.
    async fn get(&self, key: &str) -> Result<Option<Entry>>;

    /// All rows whose key starts with `prefix`, in the order of their keys' bytes: a consistent view at the revision
    /// that comes with it. `watch(revision)` goes on from there without a gap.
    async fn list(&self, prefix: &str) -> Result<(Vec<Entry>, Revision)>;

    /// Compares, then puts and deletes, atomically. Durable when it returns. A transaction that changes nothing
    /// (no operations, or deletes of absent rows) answers the current revision and makes no new one.
    /// If it fails with [`StoreError::Unavailable`] it may have been committed or not.
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome>;

    /// Every transaction after revision `after`, in order. `after` too old (or not of this store): `Compacted`,
    /// here or from [`Watch::next`].
    async fn watch(&self, after: Revision) -> Result<Watch>;

    /// A lease that dies `ttl_ms` after its last `keep_alive`, and takes the rows put under it along.
    async fn lease_grant(&self, ttl_ms: u64) -> Result<LeaseId>;

    /// Starts the lease's time anew.
    async fn keep_alive(&self, lease: LeaseId) -> Result<()>;

    /// Ends the lease now, with its rows.
    async fn revoke(&self, lease: LeaseId) -> Result<()>;
}
