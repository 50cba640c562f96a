//! The backend that keeps nothing: for `--ephemeral` regions and tests.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use crate::Store;
use crate::core::{Command, Core, HistoryLimits, Rows, Volatile};
use crate::error::Result;
use crate::row::{Entry, LeaseId, Revision, Txn, TxnOutcome};
use crate::watch::Watch;

/// Rows in memory alone. A commit is a few map operations on the caller's own thread.
pub struct Memory {
    core: Arc<Core>,
}

impl Memory {
    pub fn new() -> Self {
        Self::with_history(HistoryLimits::default())
    }

    pub(crate) fn with_history(limits: HistoryLimits) -> Self {
        Self {
            core: Core::new(
                Path::new("(memory)"),
                Box::new(Volatile),
                Rows::new(),
                0,
                limits,
            ),
        }
    }

    fn command(&self, command: Command) -> Result<TxnOutcome> {
        let mut results = self.core.commit(vec![command]);
        results
            .pop()
            .expect("a group of one command has one result")
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.core.close();
    }
}

#[async_trait]
impl Store for Memory {
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.core.get(key)
    }

    async fn list(&self, prefix: &str) -> Result<(Vec<Entry>, Revision)> {
        self.core.list(prefix)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        self.command(Command::Txn(txn))
    }

    async fn watch(&self, after: Revision) -> Result<Watch> {
        self.core.watch(after)
    }

    async fn lease_grant(&self, ttl_ms: u64) -> Result<LeaseId> {
        self.core.lease_grant(ttl_ms)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        self.core.keep_alive(lease)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.command(Command::Revoke(lease)).map(drop)
    }
}
