//! What a watcher holds: batches in order, from wherever they come (the core's history or a socket).

use async_trait::async_trait;

use crate::error::Result;
use crate::row::Batch;

/// Where a [`Watch`] gets its batches from; a backend implements it. `next` must be safe to cancel.
#[async_trait]
pub trait Source: Send + 'static {
    async fn next(&mut self) -> Result<Batch>;
}

/// Batches after a revision, in order and without a gap. After an error it is spent: list and watch again, or let a
/// [`crate::Follower`] do so.
pub struct Watch(Box<dyn Source>);

impl Watch {
    pub fn new(source: impl Source) -> Self {
        Self(Box::new(source))
    }

    /// The next batch; waits for it. Safe to cancel: a batch is either returned or still to come.
    pub async fn next(&mut self) -> Result<Batch> {
        self.0.next().await
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}
