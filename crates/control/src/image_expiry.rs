//! Carries lifecycle policies of repositories out and frees the disk from what no image needs.
//!
//! Started once by the server. `model::ecr::expiry` says what is due; here are only the clock and the bytes.

use crate::engine::{CommitError, Engine};
use crate::model::ecr::expiry;
use crate::registry::collector;
use std::sync::Arc;
use std::time::Duration;

/// Pause after a failure, and at least between two looks: nothing here is urgent.
const PAUSE: Duration = Duration::from_secs(5);

/// Never returns while the engine lives.
pub async fn run(engine: Arc<Engine>) {
    let mut snapshots = engine.subscribe();
    let worker = engine.clone();
    let all = move || collector::collect_all(worker.config(), || worker.snapshot());
    if let Err(error) = tokio::task::spawn_blocking(all).await {
        tracing::error!(%error, "collecting blobs panicked");
    }
    loop {
        let due_at = expiry::due_at(&snapshots.borrow_and_update(), engine.config());
        let wait = due_at.map(|at| {
            let ms = u64::try_from(at.0 - engine.now().0).unwrap_or(0);
            Duration::from_millis(ms)
        });
        if wait.is_none_or(|wait| !wait.is_zero()) {
            // What comes meanwhile is due no earlier than its own time.
            let changed = tokio::time::timeout(wait.unwrap_or(Duration::MAX), snapshots.changed());
            if matches!(changed.await, Ok(Err(_))) {
                return;
            }
            // Every commit of the region is a change: a look at all layers for each of them would be dear.
            tokio::time::sleep(PAUSE.min(wait.unwrap_or(PAUSE))).await;
            continue;
        }
        let worker = engine.clone();
        let done = tokio::task::spawn_blocking(move || expire(&worker)).await;
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "images could not be expired; trying again"),
            Err(error) => tracing::error!(%error, "expiring images panicked; trying again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn expire(engine: &Engine) -> Result<(), CommitError> {
    let (removed, _) = engine.write(|tx| Ok::<_, CommitError>(expiry::expire(tx)))?;
    if !removed.is_empty() {
        tracing::info!(count = removed.len(), "images or layers expired");
        collector::collect(engine.config(), || engine.snapshot(), &removed);
    }
    Ok(())
}
