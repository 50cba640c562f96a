//! The contract as tests that every backend passes. `contract!(name, factory)` makes one test of every case; the factory is
//! given the limits of the history, and answers the store with whatever must live as long as it does.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::core::HistoryLimits;
use crate::*;

/// A store under test, and what it needs to live.
pub(crate) struct Subject {
    pub store: Arc<dyn Store>,
    pub _alive: Vec<Box<dyn Any + Send>>,
}

macro_rules! contract {
    ($backend:ident, $make:expr) => {
        mod $backend {
            use super::*;
            crate::suite::contract!(@cases $make;
                rows_come_and_go, compares_decide, changing_nothing_makes_no_revision, last_operation_on_a_key_counts,
                lists_are_in_order_of_bytes, lists_are_consistent, concurrent_compare_and_set_loses_no_update,
                batches_are_whole_and_in_order, a_watch_goes_on_from_a_list_without_a_gap,
                a_cancelled_watch_loses_nothing, a_slow_watcher_holds_nobody_up_and_is_told,
                a_revision_not_given_out_is_compacted, a_lease_takes_its_rows_along, a_lease_lives_while_kept_alive,
                a_revoked_lease_is_gone, a_row_can_leave_its_lease, limits_are_kept, a_follower_mirrors_the_rows,
                a_follower_yields_an_empty_store);
        }
    };
    (@cases $make:expr; $($case:ident),*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let limits = crate::suite::limits(stringify!($case));
                let subject = ($make)(limits);
                let case = crate::suite::$case(Arc::clone(&subject.store));
                tokio::time::timeout(std::time::Duration::from_secs(30), case).await.expect("the case hangs");
            }
        )*
    };
}
pub(crate) use contract;

pub(crate) fn limits(case: &str) -> HistoryLimits {
    match case {
        "a_slow_watcher_holds_nobody_up_and_is_told" => HistoryLimits {
            batches: 10,
            bytes: 1 << 20,
        },
        _ => HistoryLimits::default(),
    }
}

fn put(key: &str, value: &str) -> Op {
    Op::put(key, value.as_bytes())
}

pub(crate) async fn commit(store: &dyn Store, ops: Vec<Op>) -> Revision {
    match store
        .txn(Txn::of(ops))
        .await
        .expect("the transaction is carried out")
    {
        TxnOutcome::Committed(revision) => revision,
        TxnOutcome::Conflict { key } => panic!("a conflict on {key} without a compare"),
    }
}

async fn value(store: &dyn Store, key: &str) -> Option<String> {
    let entry = store.get(key).await.unwrap()?;
    Some(String::from_utf8(entry.value.to_vec()).unwrap())
}

fn change(batch: &Batch) -> Vec<(String, Option<String>)> {
    let text = |value: &Arc<[u8]>| String::from_utf8(value.to_vec()).unwrap();
    batch
        .events
        .iter()
        .map(|event| (event.key.clone(), event.value.as_ref().map(text)))
        .collect()
}

/// The rows as a mirror sees them that applies every batch.
#[derive(Default, PartialEq, Debug)]
pub(crate) struct Mirror(pub BTreeMap<String, Vec<u8>>);

impl Mirror {
    pub fn apply(&mut self, batch: &Batch) {
        for event in &batch.events {
            match &event.value {
                Some(value) => drop(self.0.insert(event.key.clone(), value.to_vec())),
                None => drop(self.0.remove(&event.key)),
            }
        }
    }

    pub async fn of(store: &dyn Store) -> (Self, Revision) {
        let (entries, revision) = store.list("").await.unwrap();
        (
            Self(
                entries
                    .into_iter()
                    .map(|entry| (entry.key, entry.value.to_vec()))
                    .collect(),
            ),
            revision,
        )
    }
}

pub(crate) async fn rows_come_and_go(store: Arc<dyn Store>) {
    assert_eq!(store.get("a").await.unwrap(), None);
    let first = commit(&*store, vec![put("a", "1"), put("b", "1")]).await;
    let second = commit(&*store, vec![put("a", "2")]).await;
    assert!(second > first);
    let a = store.get("a").await.unwrap().unwrap();
    assert_eq!(
        (a.key.as_str(), &a.value[..], a.revision, a.lease),
        ("a", &b"2"[..], second, None)
    );
    assert_eq!(store.get("b").await.unwrap().unwrap().revision, first);
    commit(&*store, vec![Op::delete("a"), put("c", "")]).await;
    assert_eq!(value(&*store, "a").await, None);
    assert_eq!(value(&*store, "c").await, Some(String::new()));
}

pub(crate) async fn compares_decide(store: Arc<dyn Store>) {
    let absent = |key: &str| Compare::Absent { key: key.into() };
    let unchanged = |key: &str, revision| Compare::Unchanged {
        key: key.into(),
        revision,
    };
    let conflict = |key: &str| TxnOutcome::Conflict { key: key.into() };
    let attempt = |compare: Vec<Compare>, ops: Vec<Op>| store.txn(Txn { compare, ops });

    let first = commit(&*store, vec![put("a", "1")]).await;
    assert_eq!(
        attempt(vec![absent("a")], vec![put("x", "1")])
            .await
            .unwrap(),
        conflict("a")
    );
    assert_eq!(
        attempt(vec![unchanged("b", first)], vec![put("x", "1")])
            .await
            .unwrap(),
        conflict("b")
    );
    assert_eq!(
        attempt(vec![unchanged("a", first + 1)], vec![put("x", "1")])
            .await
            .unwrap(),
        conflict("a")
    );
    // One that fails is enough, and then nothing is done.
    let compare = vec![unchanged("a", first), absent("b"), absent("a")];
    assert_eq!(
        attempt(compare, vec![put("x", "1"), Op::delete("a")])
            .await
            .unwrap(),
        conflict("a")
    );
    assert_eq!(value(&*store, "x").await, None);
    assert_eq!(store.list("").await.unwrap().1, first);
    // All that hold: compares look at the rows from before the transaction.
    let compare = vec![unchanged("a", first), absent("b")];
    let second = attempt(compare, vec![put("b", "2"), put("a", "2")])
        .await
        .unwrap();
    assert_eq!(second, TxnOutcome::Committed(first + 1));
    // A row that was deleted and put again is not the one it was.
    commit(&*store, vec![Op::delete("a")]).await;
    commit(&*store, vec![put("a", "2")]).await;
    assert_eq!(
        attempt(vec![unchanged("a", first + 1)], vec![])
            .await
            .unwrap(),
        conflict("a")
    );
}

pub(crate) async fn changing_nothing_makes_no_revision(store: Arc<dyn Store>) {
    let revision = commit(&*store, vec![put("a", "1")]).await;
    assert_eq!(commit(&*store, vec![]).await, revision);
    assert_eq!(commit(&*store, vec![Op::delete("b")]).await, revision);
    // The same value is a write nonetheless.
    assert_eq!(commit(&*store, vec![put("a", "1")]).await, revision + 1);
}

pub(crate) async fn last_operation_on_a_key_counts(store: Arc<dyn Store>) {
    let (_, revision) = store.list("").await.unwrap();
    let mut watch = store.watch(revision).await.unwrap();
    let ops = vec![
        put("a", "1"),
        put("b", "1"),
        Op::delete("a"),
        Op::delete("b"),
        put("b", "2"),
    ];
    commit(&*store, ops).await;
    assert_eq!(value(&*store, "a").await, None);
    assert_eq!(value(&*store, "b").await, Some("2".into()));
    assert_eq!(
        change(&watch.next().await.unwrap()),
        [("b".into(), Some("2".into()))]
    );
}

pub(crate) async fn lists_are_in_order_of_bytes(store: Arc<dyn Store>) {
    let keys = [
        "vpc/b", "vpc", "vpc/", "vpc/a", "vpc/a/1", "vpc0", "vp", "vpc/ä", "vpc/Z", "w",
    ];
    let revision = commit(&*store, keys.iter().map(|key| put(key, "")).collect()).await;
    let listed = async |prefix: &str| {
        let (entries, at) = store.list(prefix).await.unwrap();
        assert_eq!(at, revision);
        entries
            .into_iter()
            .map(|entry| entry.key)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        listed("vpc/").await,
        ["vpc/", "vpc/Z", "vpc/a", "vpc/a/1", "vpc/b", "vpc/ä"]
    );
    assert_eq!(listed("vpc/a").await, ["vpc/a", "vpc/a/1"]);
    assert_eq!(listed("nothing").await, [""; 0]);
    assert_eq!(listed("").await.len(), keys.len());
}

/// Two rows that every transaction changes together are never seen apart.
pub(crate) async fn lists_are_consistent(store: Arc<dyn Store>) {
    commit(&*store, vec![put("x/1", "0"), put("y/2", "0")]).await;
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for round in 0..200 {
                let text = round.to_string();
                commit(&*store, vec![put("x/1", &text), put("y/2", &text)]).await;
            }
        })
    };
    let mut seen = 0;
    while !writer.is_finished() {
        let (entries, revision) = store.list("").await.unwrap();
        assert!(
            entries.iter().all(|entry| entry.revision == revision),
            "torn: {entries:?} at {revision}"
        );
        assert_eq!(entries[0].value, entries[1].value);
        assert!(revision >= seen);
        seen = revision;
    }
    writer.await.unwrap();
}

pub(crate) async fn concurrent_compare_and_set_loses_no_update(store: Arc<dyn Store>) {
    const WRITERS: u64 = 8;
    const ROUNDS: u64 = 25;
    commit(&*store, vec![put("counter", "0")]).await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut done = 0;
                while done < ROUNDS {
                    let row = store.get("counter").await.unwrap().unwrap();
                    let count: u64 = std::str::from_utf8(&row.value).unwrap().parse().unwrap();
                    let compare = vec![Compare::Unchanged {
                        key: row.key,
                        revision: row.revision,
                    }];
                    let ops = vec![put("counter", &(count + 1).to_string())];
                    if let TxnOutcome::Committed(_) = store.txn(Txn { compare, ops }).await.unwrap()
                    {
                        done += 1;
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(
        value(&*store, "counter").await,
        Some((WRITERS * ROUNDS).to_string())
    );
}

pub(crate) async fn batches_are_whole_and_in_order(store: Arc<dyn Store>) {
    const WRITERS: usize = 4;
    const ROUNDS: usize = 50;
    let (_, start) = store.list("").await.unwrap();
    let mut watches = vec![
        store.watch(start).await.unwrap(),
        store.watch(start).await.unwrap(),
    ];
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for round in 0..ROUNDS {
                    let text = format!("{writer}:{round}");
                    let ops = (0..3)
                        .map(|row| put(&format!("{writer}/{row}"), &text))
                        .collect();
                    commit(&*store, ops).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    // A watch that begins afterwards sees the same.
    watches.push(store.watch(start).await.unwrap());
    for watch in &mut watches {
        let mut next_round = [0; WRITERS];
        for expected in 1..=WRITERS * ROUNDS {
            let batch = watch.next().await.unwrap();
            assert_eq!(batch.revision, start + expected as u64);
            let (writer, round) = change(&batch)[0]
                .1
                .clone()
                .unwrap()
                .split_once(':')
                .map(own)
                .unwrap();
            let text = Some(format!("{writer}:{round}"));
            let whole: Vec<_> = (0..3)
                .map(|row| (format!("{writer}/{row}"), text.clone()))
                .collect();
            assert_eq!(change(&batch), whole);
            let writer: usize = writer.parse().unwrap();
            assert_eq!(round, next_round[writer].to_string());
            next_round[writer] += 1;
        }
    }
}

fn own((a, b): (&str, &str)) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

pub(crate) async fn a_watch_goes_on_from_a_list_without_a_gap(store: Arc<dyn Store>) {
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for round in 0..300_u32 {
                let key = format!("row/{}", round % 7);
                let op = if round % 5 == 4 {
                    Op::delete(key)
                } else {
                    put(&key, &round.to_string())
                };
                commit(&*store, vec![op]).await;
            }
            commit(&*store, vec![put("end", "")]).await
        })
    };
    let mut mirrors = Vec::new();
    while !writer.is_finished() && mirrors.len() < 20 {
        let (mirror, revision) = Mirror::of(&*store).await;
        mirrors.push((mirror, store.watch(revision).await.unwrap(), revision));
        tokio::task::yield_now().await;
    }
    let end = writer.await.unwrap();
    let (whole, _) = Mirror::of(&*store).await;
    assert!(!mirrors.is_empty());
    for (mut mirror, mut watch, mut revision) in mirrors {
        while revision < end {
            let batch = watch.next().await.unwrap();
            revision = batch.revision;
            mirror.apply(&batch);
        }
        assert_eq!(mirror, whole);
    }
}

pub(crate) async fn a_cancelled_watch_loses_nothing(store: Arc<dyn Store>) {
    let (_, start) = store.list("").await.unwrap();
    let mut watch = store.watch(start).await.unwrap();
    let mut seen = start;
    for round in 0..50_u64 {
        // Given up at once, with a batch about to come or not.
        if let Ok(batch) = tokio::time::timeout(Duration::ZERO, watch.next()).await {
            seen = batch.unwrap().revision;
        }
        commit(&*store, vec![put("a", &round.to_string())]).await;
    }
    while seen < start + 50 {
        let batch = watch.next().await.unwrap();
        assert_eq!(batch.revision, seen + 1);
        seen = batch.revision;
    }
}

/// The history is ten batches here. More than a socket holds is written while the watcher sleeps.
pub(crate) async fn a_slow_watcher_holds_nobody_up_and_is_told(store: Arc<dyn Store>) {
    let (_, start) = store.list("").await.unwrap();
    let mut watch = store.watch(start).await.unwrap();
    let value = vec![7_u8; 64 << 10];
    for _ in 0..100 {
        commit(&*store, vec![Op::put("a", &value[..])]).await;
    }
    let mut seen = start;
    let error = loop {
        match watch.next().await {
            // What it had been sent already, still without a gap.
            Ok(batch) => {
                assert_eq!(batch.revision, seen + 1);
                seen = batch.revision;
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Compacted { .. }), "{error}");
    assert!(seen < start + 100);
    assert!(
        matches!(store.watch(start).await, Err(StoreError::Compacted { after, .. }) if after == start)
    );
}

pub(crate) async fn a_revision_not_given_out_is_compacted(store: Arc<dyn Store>) {
    let revision = commit(&*store, vec![put("a", "")]).await;
    assert!(matches!(
        store.watch(revision + 1).await,
        Err(StoreError::Compacted { .. })
    ));
    assert!(store.watch(revision).await.is_ok());
}

pub(crate) async fn a_lease_takes_its_rows_along(store: Arc<dyn Store>) {
    // Granted to the store beneath a client, or the client would keep it alive: see `remote::tests` for that.
    let lease = store.lease_grant(60_000).await.unwrap();
    let other = store.lease_grant(60_000).await.unwrap();
    assert_ne!(lease, other);
    let put_leased = |key: &str, lease| Op::put_leased(key, &b"1"[..], lease);
    let start = commit(
        &*store,
        vec![
            put_leased("a", lease),
            put_leased("b", lease),
            put_leased("c", other),
            put("d", ""),
        ],
    )
    .await;
    assert_eq!(store.get("a").await.unwrap().unwrap().lease, Some(lease));
    let mut watch = store.watch(start).await.unwrap();
    store.revoke(lease).await.unwrap();
    assert_eq!(
        change(&watch.next().await.unwrap()),
        [("a".into(), None), ("b".into(), None)]
    );
    let (entries, _) = store.list("").await.unwrap();
    assert_eq!(
        entries
            .iter()
            .map(|entry| entry.key.as_str())
            .collect::<Vec<_>>(),
        ["c", "d"]
    );
}

pub(crate) async fn a_lease_lives_while_kept_alive(store: Arc<dyn Store>) {
    let lease = store.lease_grant(500).await.unwrap();
    let start = commit(&*store, vec![Op::put_leased("a", &b"1"[..], lease)]).await;
    let mut watch = store.watch(start).await.unwrap();
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(700) {
        store.keep_alive(lease).await.unwrap();
        let gone = tokio::time::timeout(Duration::from_millis(50), watch.next()).await;
        assert!(gone.is_err(), "the row is gone: {gone:?}");
    }
}

pub(crate) async fn a_revoked_lease_is_gone(store: Arc<dyn Store>) {
    let lease = store.lease_grant(60_000).await.unwrap();
    store.revoke(lease).await.unwrap();
    let lost =
        |result: Result<()>| matches!(result, Err(StoreError::LeaseNotFound(id)) if id == lease);
    assert!(lost(store.keep_alive(lease).await));
    assert!(lost(store.revoke(lease).await));
    let ops = vec![put("b", "1"), Op::put_leased("a", &b"1"[..], lease)];
    assert!(lost(store.txn(Txn::of(ops)).await.map(drop)));
    assert_eq!(value(&*store, "b").await, None);
}

pub(crate) async fn a_row_can_leave_its_lease(store: Arc<dyn Store>) {
    let lease = store.lease_grant(60_000).await.unwrap();
    let other = store.lease_grant(60_000).await.unwrap();
    let rows = ["kept", "moved", "deleted", "retaken"];
    commit(
        &*store,
        rows.iter()
            .map(|key| Op::put_leased(*key, &b"1"[..], lease))
            .collect(),
    )
    .await;
    let moved = Op::put_leased("moved", &b"2"[..], other);
    commit(
        &*store,
        vec![
            put("kept", "2"),
            moved,
            Op::delete("deleted"),
            put("retaken", "2"),
        ],
    )
    .await;
    commit(&*store, vec![Op::put_leased("retaken", &b"3"[..], lease)]).await;
    store.revoke(lease).await.unwrap();
    assert_eq!(value(&*store, "kept").await, Some("2".into()));
    assert_eq!(value(&*store, "moved").await, Some("2".into()));
    assert_eq!(value(&*store, "retaken").await, None);
}

pub(crate) async fn limits_are_kept(store: Arc<dyn Store>) {
    let refused = async |ops| {
        let error = store.txn(Txn::of(ops)).await.unwrap_err();
        assert_eq!(store.list("").await.unwrap().0, []);
        error
    };
    assert!(matches!(
        refused(vec![put("a", ""), put("", "")]).await,
        StoreError::EmptyKey
    ));
    let long = "k".repeat(MAX_KEY_BYTES + 1);
    assert!(matches!(
        refused(vec![put(&long, "")]).await,
        StoreError::TooLarge { what: "key", .. }
    ));
    let large = vec![0_u8; MAX_VALUE_BYTES + 1];
    assert!(matches!(
        refused(vec![Op::put("a", &large[..])]).await,
        StoreError::TooLarge { what: "value", .. }
    ));
    let many = (0..5)
        .map(|row| Op::put(format!("a{row}"), &large[1..]))
        .collect();
    assert!(matches!(
        refused(many).await,
        StoreError::TooLarge {
            what: "transaction",
            ..
        }
    ));
    // At the limit they pass, and can be read back: 3 values of 1 MiB.
    let many = (0..3)
        .map(|row| Op::put(format!("a{row}"), &large[1..]))
        .collect();
    commit(&*store, many).await;
    assert_eq!(store.list("a").await.unwrap().0.len(), 3);
}

pub(crate) async fn a_follower_mirrors_the_rows(store: Arc<dyn Store>) {
    commit(&*store, vec![put("vpc/1", "1"), put("eni/1", "1")]).await;
    let mut all = Follower::start(Arc::clone(&store));
    let mut some = Follower::with_prefixes(Arc::clone(&store), vec!["vpc/".into()]);
    let first = all.next().await;
    assert_eq!(
        change(&first),
        [
            ("eni/1".into(), Some("1".into())),
            ("vpc/1".into(), Some("1".into()))
        ]
    );
    assert_eq!(
        change(&some.next().await),
        [("vpc/1".into(), Some("1".into()))]
    );
    commit(&*store, vec![put("eni/2", "1")]).await;
    let last = commit(&*store, vec![put("eni/3", "1"), Op::delete("vpc/1")]).await;
    assert_eq!(
        change(&all.next().await),
        [("eni/2".into(), Some("1".into()))]
    );
    let both = all.next().await;
    assert_eq!(
        (both.revision, change(&both)),
        (
            last,
            vec![("eni/3".into(), Some("1".into())), ("vpc/1".into(), None)]
        )
    );
    assert_eq!(change(&some.next().await), [("vpc/1".into(), None)]);
}

pub(crate) async fn a_follower_yields_an_empty_store(store: Arc<dyn Store>) {
    let mut follower = Follower::start(Arc::clone(&store));
    assert_eq!(follower.next().await.events, []);
    commit(&*store, vec![put("a", "1")]).await;
    assert_eq!(
        change(&follower.next().await),
        [("a".into(), Some("1".into()))]
    );
}

fn memory(limits: HistoryLimits) -> Subject {
    Subject {
        store: Arc::new(Memory::with_history(limits)),
        _alive: vec![],
    }
}

fn embedded(limits: HistoryLimits) -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open_limited(&folder.path().join("store.redb"), limits).unwrap();
    Subject {
        store: Arc::new(store),
        _alive: vec![Box::new(folder)],
    }
}

/// The same store through a socket.
fn remote(beneath: Subject) -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sock");
    let server = remote::Server::bind(&path, Arc::clone(&beneath.store)).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(server.run());
    let store = Arc::new(remote::Client::connect(path));
    Subject {
        store,
        _alive: vec![Box::new(tasks), Box::new(folder), Box::new(beneath)],
    }
}

contract!(memory_itself, memory);
contract!(embedded_itself, embedded);
contract!(memory_over_a_socket, |limits| remote(memory(limits)));
contract!(embedded_over_a_socket, |limits| remote(embedded(limits)));
