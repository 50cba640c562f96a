//! Runs the reconcilers: after every change until nothing changes any more, and when the earliest of them wants to look
//! again. Started once by the process; knows no goal itself.

use super::{RECONCILERS, Reconciler};
use crate::Engine;
use crate::engine::CommitError;
use fogbank_types::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Passes in a row without rest; two reconcilers that undo each other must not take the machine.
const PASSES_MAX: usize = 32;

/// Pause after a failed or endless run.
const RETRY: Duration = Duration::from_millis(200);

/// Never returns.
pub async fn run(engine: Arc<Engine>) {
    let mut snapshots = engine.subscribe();
    loop {
        snapshots.borrow_and_update();
        let settled = {
            let engine = engine.clone();
            tokio::task::spawn_blocking(move || settle(&engine, RECONCILERS)).await
        };
        let pause = match settled {
            Ok(Ok(Some(at))) => Duration::from_millis((at.0 - engine.now().0).max(1) as u64),
            Ok(Ok(None)) => Duration::from_secs(3600),
            Ok(Err(error)) => {
                tracing::error!(%error, "reconciling failed; trying again");
                RETRY
            }
            Err(error) => {
                tracing::error!(%error, "a reconciler panicked; trying again");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Runs all until none changes anything; answers when to look again.
fn settle(engine: &Engine, reconcilers: &[Reconciler]) -> Result<Option<Timestamp>, CommitError> {
    for _ in 0..PASSES_MAX {
        let before = engine.snapshot().revision;
        let mut wake: Option<Timestamp> = None;
        let mut changed = false;
        for reconciler in reconcilers {
            let (at, _) = engine.write(|tx| Ok::<_, CommitError>((reconciler.run)(tx)))?;
            if engine.snapshot().revision != before {
                changed = true;
            }
            wake = [wake, at].into_iter().flatten().min();
        }
        if !changed {
            return Ok(wake);
        }
    }
    tracing::warn!("reconcilers did not settle; going on after a pause");
    Ok(Some(engine.now().plus_ms(RETRY.as_millis() as i64)))
}
