use super::*;
use crate::api::ApiError;
use crate::model::tx::Changed;
use crate::model::tx::test_config;
use async_trait::async_trait;
use fogbank_store::{Entry, LeaseId, Memory, Watch};
use fogbank_types::Scope;
use fogbank_types::logs::LogGroup;
use std::sync::atomic::{AtomicBool, AtomicUsize};

fn group(name: &str) -> LogGroup {
    LogGroup {
        key_pairs: Vec::new(),
        scope: Scope::new("000000000000", "us-east-1"),
        name: name.to_owned(),
        retention_days: Some(0),
        kms_key_id: None,
        class: "STANDARD".to_owned(),
        created_at: Timestamp(0),
        tags: Default::default(),
    }
}

async fn engine() -> (Arc<Engine>, Arc<Memory>) {
    let store = Arc::new(Memory::new());
    (
        Engine::start(store.clone(), test_config()).await.unwrap(),
        store,
    )
}

#[tokio::test]
async fn a_write_is_seen_when_it_returns() {
    let (engine, _) = engine().await;
    tokio::task::spawn_blocking(move || {
        engine
            .write(|tx| {
                tx.put(group("a"));
                Ok::<_, ApiError>(())
            })
            .unwrap();
        assert_eq!(engine.snapshot().log_groups.len(), 1);
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_write_that_somebody_else_crossed_is_computed_anew() {
    let (engine, store) = engine().await;
    tokio::task::spawn_blocking(move || {
        engine
            .write(|tx| {
                tx.put(group("a"));
                Ok::<_, ApiError>(())
            })
            .unwrap();
        let mut runs = 0;
        engine
            .write(|tx| {
                runs += 1;
                if runs == 1 {
                    let mut row = group("a");
                    row.retention_days = Some(10);
                    use fogbank_types::Row;
                    let op = Op::put(row.key(), serde_json::to_vec(&row).unwrap());
                    let outcome = engine
                        .runtime
                        .block_on(store.txn(Txn::of(vec![op])))
                        .unwrap();
                    assert!(matches!(outcome, TxnOutcome::Committed(_)));
                }
                let scope = group("a").scope;
                tx.update::<LogGroup>(&scope, "a", |g| {
                    g.retention_days = g.retention_days.map(|d| d + 1)
                });
                Ok::<_, ApiError>(())
            })
            .unwrap();
        let scope = group("a").scope;
        assert_eq!(
            engine
                .snapshot()
                .log_groups
                .get(&scope, "a")
                .unwrap()
                .retention_days,
            Some(11)
        );
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_row_that_cannot_be_read_refuses_its_writers_and_no_others() {
    let store = Arc::new(Memory::new());
    let key = fogbank_types::Row::key(&group("a"));
    let garbage = Txn::of(vec![Op::put(key, b"{}".to_vec())]);
    assert!(matches!(
        store.txn(garbage).await.unwrap(),
        TxnOutcome::Committed(_)
    ));
    let engine = Engine::start(store, test_config()).await.unwrap();
    let writes = tokio::task::spawn_blocking(move || {
        ["a", "b"].map(|name| {
            engine
                .write(|tx| {
                    tx.put(group(name));
                    Ok::<_, ApiError>(())
                })
                .is_ok()
        })
    });
    let written = tokio::time::timeout(Duration::from_secs(30), writes).await;
    assert_eq!(written.expect("nobody hangs").unwrap(), [false, true]);
}

#[tokio::test]
async fn a_refused_write_changes_nothing_and_reset_empties() {
    let (engine, _) = engine().await;
    tokio::task::spawn_blocking(move || {
        let refused: Result<((), _), _> = engine.write(|tx| {
            tx.put(group("a"));
            Err(ApiError::new("No", "no"))
        });
        assert!(refused.is_err());
        assert!(engine.snapshot().log_groups.is_empty());
        engine
            .write(|tx| {
                tx.put(group("a"));
                Ok::<_, ApiError>(())
            })
            .unwrap();
        engine.reset().unwrap();
        assert!(engine.snapshot().log_groups.is_empty());
    })
    .await
    .unwrap();
}

/// A store whose disk is as slow as the test wants: a transaction needs a permit, and may be made to fail.
struct Slow {
    rows: Memory,
    permits: tokio::sync::Semaphore,
    arrived: AtomicUsize,
    broken: AtomicBool,
}

impl Slow {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            rows: Memory::new(),
            permits: tokio::sync::Semaphore::new(0),
            arrived: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
        })
    }
}

#[async_trait]
impl Store for Slow {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.rows.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<(Vec<Entry>, Revision), StoreError> {
        self.rows.list(prefix).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        self.permits.acquire().await.expect("never closed").forget();
        if self.broken.swap(false, Ordering::SeqCst) {
            return Err(StoreError::Unavailable {
                path: "/test".into(),
                reason: "it is broken".to_owned(),
            });
        }
        self.rows.txn(txn).await
    }

    async fn watch(&self, after: Revision) -> Result<Watch, StoreError> {
        self.rows.watch(after).await
    }

    async fn lease_grant(&self, ttl_ms: u64) -> Result<LeaseId, StoreError> {
        self.rows.lease_grant(ttl_ms).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.rows.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.rows.revoke(lease).await
    }
}

fn until(met: impl Fn() -> bool) {
    let limit = std::time::Instant::now() + Duration::from_secs(30);
    while !met() {
        assert!(std::time::Instant::now() < limit, "not within 30 s");
        std::thread::yield_now();
    }
}

/// Adds one to the days of group `a`.
fn count(engine: &Engine) -> Result<Option<Revision>, ApiError> {
    let counted = engine.write(|tx| {
        let scope = group("a").scope;
        if !tx.update::<LogGroup>(&scope, "a", |g| {
            g.retention_days = g.retention_days.map(|d| d + 1)
        }) {
            tx.put(group("a"));
        }
        Ok::<_, ApiError>(())
    });
    counted.map(|_| None)
}

fn days(engine: &Engine) -> Option<i32> {
    let snapshot = engine.snapshot();
    let group = snapshot.log_groups.all().next()?;
    group.retention_days.map(|days| days as i32)
}

async fn blocking(test: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(test).await.unwrap();
}

#[tokio::test]
async fn writers_that_come_while_one_is_on_its_way_share_the_next_commit() {
    let store = Slow::new();
    let engine = Engine::start(store.clone(), test_config()).await.unwrap();
    blocking(move || {
        std::thread::scope(|scope| {
            let first = scope.spawn(|| count(&engine));
            until(|| store.arrived.load(Ordering::SeqCst) == 1);
            let others: Vec<_> = (0..10).map(|_| scope.spawn(|| count(&engine))).collect();
            until(|| engine.lock().writers.waiting_members() == 10);
            store.permits.add_permits(1);
            assert!(first.join().unwrap().is_ok());
            until(|| store.arrived.load(Ordering::SeqCst) == 2);
            // The first is counted, the others are not: nothing is seen before it is durable.
            assert_eq!(days(&engine), Some(0));
            store.permits.add_permits(1);
            assert!(
                others
                    .into_iter()
                    .all(|other| other.join().unwrap().is_ok())
            );
        });
        assert_eq!(days(&engine), Some(10));
        assert_eq!(store.arrived.load(Ordering::SeqCst), 2);
    })
    .await;
}

#[tokio::test]
async fn what_was_computed_on_a_commit_that_failed_is_computed_anew() {
    let store = Slow::new();
    let engine = Engine::start(store.clone(), test_config()).await.unwrap();
    blocking(move || {
        store.broken.store(true, Ordering::SeqCst);
        let looks = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let first = scope.spawn(|| count(&engine));
            until(|| store.arrived.load(Ordering::SeqCst) == 1);
            let second = scope.spawn(|| count(&engine));
            until(|| engine.lock().writers.waiting_members() == 1);
            // Refused because of a row that will not be.
            let third = scope.spawn(|| {
                engine.write(|tx| {
                    looks.fetch_add(1, Ordering::SeqCst);
                    match tx.snapshot().log_groups.len() {
                        0 => Ok(()),
                        _ => Err(ApiError::new("There", "it is there")),
                    }
                })
            });
            until(|| looks.load(Ordering::SeqCst) == 1);
            store.permits.add_permits(2);
            assert!(first.join().unwrap().is_err());
            assert!(second.join().unwrap().is_ok());
            // Whichever of the two came first the second time.
            let _ = third.join().unwrap();
        });
        assert_eq!(looks.into_inner(), 2);
        assert_eq!(days(&engine), Some(0));
    })
    .await;
}

#[tokio::test]
async fn no_change_is_lost_among_many_writers_and_a_host() {
    let (engine, store) = engine().await;
    blocking(move || {
        assert!(count(&engine).is_ok());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..50).for_each(|_| assert!(count(&engine).is_ok())));
            }
            // Somebody at the store itself, who crosses them with what is there already.
            scope.spawn(|| {
                let key = fogbank_types::Row::key(&group("a"));
                for _ in 0..50 {
                    let entry = engine.runtime.block_on(store.get(&key)).unwrap().unwrap();
                    let txn = Txn {
                        compare: vec![fogbank_store::Compare::Unchanged {
                            key: key.clone(),
                            revision: entry.revision,
                        }],
                        ops: vec![Op::put(key.clone(), entry.value.to_vec())],
                    };
                    let _ = engine.runtime.block_on(store.txn(txn)).unwrap();
                }
            });
        });
        assert_eq!(days(&engine), Some(400));
    })
    .await;
}

#[tokio::test]
async fn a_group_that_is_full_lets_nobody_in() {
    let mut writers = Writers::default();
    let change = |n: usize| Changed {
        key: fogbank_types::Row::key(&group(&format!("g{n}"))),
        before: None,
        after: Some(vec![b' '; 300_000]),
    };
    for n in 0..4 {
        assert!(!writers.is_closed(), "{n}");
        writers.join(Snapshot::default(), vec![change(n)]);
    }
    assert!(writers.is_closed());
    assert_eq!(writers.depart().unwrap().txn.ops.len(), 4);
    assert!(!writers.is_closed());
}
