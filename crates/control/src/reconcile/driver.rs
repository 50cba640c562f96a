//! Runs the reconcilers: after every change until nothing changes any more, and when the earliest of them wants to look
//! again. Started once by the process; knows no goal itself.

use super::{RECONCILERS, Reconciler};
use crate::Engine;
use crate::engine::CommitError;
use fogbank_types::Timestamp;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
            Ok(Settled::Until(Some(at))) => {
                Duration::from_millis((at.0 - engine.now().0).max(1) as u64)
            }
            Ok(Settled::Until(None)) => Duration::from_secs(3600),
            Ok(Settled::Not) | Err(_) => {
                // Its own changes are news as well: they must not end this pause.
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

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
enum Settled {
    /// Nothing to do before that time, unless something changes.
    Until(Option<Timestamp>),
    /// There is more to do, or one of them failed.
    Not,
}

/// Runs all until none changes anything. One that fails does not keep the others from their goals.
fn settle(engine: &Engine, reconcilers: &[Reconciler]) -> Settled {
    for _ in 0..PASSES_MAX {
        let before = engine.snapshot().revision;
        let mut wake: Option<Timestamp> = None;
        let mut failed = false;
        for reconciler in reconcilers {
            let write = || engine.write(|tx| Ok::<_, CommitError>((reconciler.run)(tx)));
            match catch_unwind(AssertUnwindSafe(write)) {
                Ok(Ok((at, _))) => wake = [wake, at].into_iter().flatten().min(),
                Ok(Err(error)) => {
                    tracing::error!(name = reconciler.name, %error, "reconciling failed; trying again");
                    failed = true;
                }
                Err(_) => {
                    tracing::error!(
                        name = reconciler.name,
                        "a reconciler panicked; trying again"
                    );
                    failed = true;
                }
            }
        }
        if failed {
            return Settled::Not;
        }
        if engine.snapshot().revision == before {
            return Settled::Until(wake);
        }
    }
    tracing::warn!("reconcilers did not settle; going on after a pause");
    Settled::Not
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tx;
    use crate::model::tx::test_config;
    use fogbank_store::Memory;
    use fogbank_types::Scope;
    use fogbank_types::logs::LogGroup;

    fn put(tx: &mut Tx, name: &str, class: String) {
        tx.put(LogGroup {
            key_pairs: Vec::new(),
            scope: Scope::new("000000000000", "us-east-1"),
            name: name.to_owned(),
            retention_days: None,
            kms_key_id: None,
            class,
            created_at: Timestamp(0),
            tags: Default::default(),
        });
    }

    fn panics(_: &mut Tx) -> Option<Timestamp> {
        panic!("a reconciler that panics, on purpose")
    }

    fn writes_too_much(tx: &mut Tx) -> Option<Timestamp> {
        put(tx, "big", "x".repeat(8 << 20));
        None
    }

    fn works(tx: &mut Tx) -> Option<Timestamp> {
        put(tx, "done", String::new());
        Some(Timestamp(7))
    }

    async fn settled(all: [fn(&mut Tx) -> Option<Timestamp>; 2]) -> (Settled, usize) {
        let engine = Engine::start(Arc::new(Memory::new()), test_config())
            .await
            .unwrap();
        tokio::task::spawn_blocking(move || {
            let all = all.map(|run| Reconciler { name: "test", run });
            let settled = settle(&engine, &all);
            (settled, engine.snapshot().log_groups.len())
        })
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn one_that_fails_does_not_stop_the_others() {
        assert_eq!(settled([panics, works]).await, (Settled::Not, 1));
        assert_eq!(settled([writes_too_much, works]).await, (Settled::Not, 1));
        let calm = Settled::Until(Some(Timestamp(7)));
        assert_eq!(settled([works, works]).await, (calm, 1));
    }
}
