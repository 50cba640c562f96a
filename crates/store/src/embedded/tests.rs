//! What only the durable backend promises: restarts, crashes, damaged files and failing disks. The rest is in `suite`.

use std::collections::{BTreeMap, HashMap};
use std::fs::OpenOptions;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command as Process, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use redb::StorageBackend;
use redb::backends::FileBackend;

use super::*;
use crate::row::{Compare, Op};
use crate::suite::{Mirror, commit};

fn put(key: &str, value: &str) -> Op {
    Op::put(key, value.as_bytes())
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn rows_and_revisions_survive_a_restart_and_leased_rows_do_not() {
    let folder = folder();
    let path = folder.path().join("store.redb");
    let store = Embedded::open(&path).unwrap();
    let first = commit(&store, vec![put("a", "1"), put("b", "1"), put("c", "1")]).await;
    let lease = store.lease_grant(60_000).await.unwrap();
    commit(
        &store,
        vec![Op::delete("b"), Op::put_leased("c", &b"2"[..], lease)],
    )
    .await;
    commit(&store, vec![Op::put_leased("d", &b"1"[..], lease)]).await;
    // Leased alone: makes revisions, but no write.
    let last = commit(&store, vec![Op::put_leased("d", &b"2"[..], lease)]).await;
    drop(store);

    let store = Embedded::open(&path).unwrap();
    let (entries, revision) = store.list("").await.unwrap();
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| (entry.key.as_str(), &entry.value[..], entry.revision))
        .collect();
    assert_eq!(rows, [("a", &b"1"[..], first)]);
    assert!(
        revision > last,
        "{revision} has been given out before: {last}"
    );
    assert!(matches!(
        store.watch(last).await,
        Err(StoreError::Compacted { .. })
    ));
    assert!(matches!(
        store.keep_alive(lease).await,
        Err(StoreError::LeaseNotFound(_))
    ));
    let compare = vec![Compare::Unchanged {
        key: "a".into(),
        revision: first,
    }];
    let next = store
        .txn(Txn {
            compare,
            ops: vec![put("a", "2")],
        })
        .await
        .unwrap();
    assert_eq!(next, TxnOutcome::Committed(revision + 1));
}

#[tokio::test]
async fn a_second_opening_is_refused_while_the_first_lives() {
    let folder = folder();
    let path = folder.path().join("store.redb");
    let store = Embedded::open(&path).unwrap();
    assert!(matches!(Embedded::open(&path), Err(StoreError::Locked { path: at }) if at == path));
    commit(&store, vec![put("a", "1")]).await;
    // A watch that is still held does not hold the file.
    let watch = store.watch(store.list("").await.unwrap().1).await.unwrap();
    drop(store);
    assert_eq!(
        Embedded::open(&path)
            .unwrap()
            .list("")
            .await
            .unwrap()
            .0
            .len(),
        1
    );
    drop(watch);
}

#[tokio::test]
async fn a_watch_ends_with_its_store() {
    let folder = folder();
    let store = Embedded::open(&folder.path().join("store.redb")).unwrap();
    let mut watch = store.watch(0).await.unwrap();
    commit(&store, vec![put("a", "1")]).await;
    drop(store);
    assert_eq!(watch.next().await.unwrap().revision, 1);
    assert!(matches!(
        watch.next().await,
        Err(StoreError::Unavailable { .. })
    ));
}

#[test]
fn files_that_are_no_store_are_refused_and_left_alone() {
    let folder = folder();
    let text = b"a file of somebody else's ".repeat(1000);
    let other = folder.path().join("other.redb");
    {
        let database = Database::create(&other).unwrap();
        database.begin_write().unwrap().commit().unwrap();
    }
    let garbage = folder.path().join("garbage.redb");
    std::fs::write(&garbage, &text).unwrap();
    for path in [&other, &garbage] {
        match Embedded::open(path).map(drop) {
            Err(StoreError::Corrupt { path: at, .. }) => assert_eq!(at, *path),
            result => panic!("{}: {result:?}", path.display()),
        }
    }
    assert_eq!(std::fs::read(&garbage).unwrap(), text);
}

#[test]
fn an_unwritable_place_is_an_error() {
    let folder = folder();
    let nowhere = folder.path().join("none/store.redb");
    assert!(
        matches!(Embedded::open(&nowhere).map(drop), Err(StoreError::Io { path, .. }) if path == nowhere)
    );
    let directory = folder.path().join("directory.redb");
    std::fs::create_dir(&directory).unwrap();
    assert!(matches!(
        Embedded::open(&directory).map(drop),
        Err(StoreError::Io { .. })
    ));
}

/// A store file with bytes changed, or cut short, at places all over it: opening it and using it gives rows or errors, never a panic,
/// and never a row that was not written.
#[tokio::test]
async fn a_damaged_file_makes_no_panic_and_no_false_row() {
    let folder = folder();
    let path = folder.path().join("store.redb");
    let store = Embedded::open(&path).unwrap();
    for row in 0..100 {
        commit(
            &store,
            vec![put(&format!("row/{row:03}"), &"v".repeat(300))],
        )
        .await;
    }
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    let damaged = folder.path().join("damaged.redb");
    let used: Vec<usize> = (0..whole.len())
        .step_by(512)
        .filter(|at| whole[*at..][..512].iter().any(|b| *b != 0))
        .collect();
    let seed = RandomState::new();
    let mut refused = 0;
    for round in 0..60_usize {
        let mut bytes = whole.clone();
        let random = usize::try_from(seed.hash_one(round) >> 32).unwrap();
        let at = used[random % used.len()];
        if round % 5 == 0 {
            bytes.truncate(at);
        } else {
            bytes[at + random % 512] ^= 1 << (random % 8);
        }
        std::fs::write(&damaged, &bytes).unwrap();
        match Embedded::open(&damaged) {
            Err(StoreError::Corrupt { .. }) => refused += 1,
            // Cut to nothing: as good as new, to redb; but there are no tables of ours.
            Err(error) => panic!("round {round} at {at}: {error}"),
            Ok(store) => {
                let (entries, _) = store.list("").await.unwrap();
                assert!(
                    entries
                        .iter()
                        .all(|entry| entry.key.len() == 7 && *entry.value == [b'v'; 300])
                );
                let _ = store.txn(Txn::of(vec![put("new", "1")])).await;
            }
        }
    }
    assert!(refused > 0);
}

const WORKING: u8 = 0;
const FULL: u8 = 1;
const SYNC_FAILS: u8 = 2;

/// A disk that can be told to fail.
#[derive(Debug)]
struct Faulty {
    file: FileBackend,
    state: Arc<AtomicU8>,
}

impl Faulty {
    fn fail_if(&self, state: u8, code: i32) -> std::result::Result<(), io::Error> {
        if self.state.load(Ordering::SeqCst) == state {
            return Err(io::Error::from_raw_os_error(code));
        }
        Ok(())
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> std::result::Result<u64, io::Error> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::result::Result<(), io::Error> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::result::Result<(), io::Error> {
        self.fail_if(FULL, 28)?;
        self.file.set_len(len)
    }
    fn sync_data(&self) -> std::result::Result<(), io::Error> {
        // The data has gone down all the same: what a failed sync means is unknown.
        self.fail_if(SYNC_FAILS, 5)?;
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::result::Result<(), io::Error> {
        self.fail_if(FULL, 28)?;
        self.file.write(offset, data)
    }
    fn close(&self) -> std::result::Result<(), io::Error> {
        self.file.close()
    }
}

fn open_faulty(path: &Path, state: &Arc<AtomicU8>) -> Embedded {
    let state = Arc::clone(state);
    let open: Opener = Box::new(move |path| {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let file = FileBackend::new(file)?;
        builder().create_with_backend(Faulty {
            file,
            state: Arc::clone(&state),
        })
    });
    Embedded::open_with(path, open, HistoryLimits::default()).unwrap()
}

async fn a_failing_disk(fault: u8, code: i32, bytes: usize) {
    let folder = folder();
    let path = folder.path().join("store.redb");
    drop(Embedded::open(&path).unwrap());
    let disk = Arc::new(AtomicU8::new(WORKING));
    let store = open_faulty(&path, &disk);
    let first = commit(&store, vec![put("a", "1"), put("b", "1")]).await;
    let before = Mirror::of(&store).await;
    let mut watch = store.watch(first).await.unwrap();

    disk.store(fault, Ordering::SeqCst);
    for _ in 0..3 {
        let ops = vec![put("a", "2"), Op::delete("b"), put("c", &"c".repeat(bytes))];
        match store.txn(Txn::of(ops)).await {
            Err(StoreError::Io {
                path: at, source, ..
            }) => {
                assert_eq!((at, source.raw_os_error()), (path.clone(), Some(code)));
            }
            result => panic!("{result:?}"),
        }
        assert_eq!(Mirror::of(&store).await, before);
    }

    disk.store(WORKING, Ordering::SeqCst);
    let next = commit(&store, vec![put("d", "1")]).await;
    assert_eq!(next, first + 1);
    assert_eq!(watch.next().await.unwrap().events.len(), 1);
    let after = Mirror::of(&store).await.0;
    assert_eq!(after.0.keys().collect::<Vec<_>>(), ["a", "b", "d"]);
    drop(store);
    // Nor is anything of it in the file.
    assert_eq!(Mirror::of(&Embedded::open(&path).unwrap()).await.0, after);
}

#[tokio::test]
async fn a_full_disk_changes_nothing_and_is_got_over() {
    a_failing_disk(FULL, 28, 10).await;
    a_failing_disk(FULL, 28, 100_000).await;
}

/// The worst of failures: the transaction is in the file although it was answered with an error.
#[tokio::test]
async fn a_failed_sync_changes_nothing_and_is_got_over() {
    a_failing_disk(SYNC_FAILS, 5, 10).await;
    // Here it is the sync of the file's new length that fails.
    a_failing_disk(SYNC_FAILS, 5, 100_000).await;
}

const CRASH_FOLDER: &str = "FOGBANK_STORE_CRASH_FOLDER";
const CRASH_WRITERS: usize = 4;

/// Not a test of its own: the process that `answered_writes_survive_a_kill` kills. Each writer's transaction `n` puts two rows
/// and its counter, and deletes the rows of `n - 10`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_child() {
    let Some(folder) = std::env::var_os(CRASH_FOLDER) else {
        return;
    };
    let store = Arc::new(Embedded::open(&Path::new(&folder).join("store.redb")).unwrap());
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..CRASH_WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let counter = format!("counter/{writer}");
            let last = store.get(&counter).await.unwrap();
            let mut n: u64 = last.map_or(0, |row| {
                String::from_utf8_lossy(&row.value).parse().unwrap()
            });
            loop {
                n += 1;
                let mut ops = vec![
                    put(&format!("left/{writer}/{n}"), &"x".repeat(200)),
                    put(&counter, &n.to_string()),
                ];
                ops.push(put(&format!("right/{writer}/{n}"), "y"));
                if let Some(old) = n.checked_sub(10) {
                    ops.extend(
                        ["left", "right"].map(|side| Op::delete(format!("{side}/{writer}/{old}"))),
                    );
                }
                let revision = commit(&*store, ops).await;
                let line = format!("{writer} {n} {revision}\n");
                std::io::stdout().write_all(line.as_bytes()).unwrap();
            }
        });
    }
    writers.join_next().await.unwrap().unwrap();
}

/// Kills a writing process at random moments, again and again on the same file.
#[tokio::test]
async fn answered_writes_survive_a_kill() {
    const ROUNDS: u64 = 8;
    let folder = folder();
    let path = folder.path().join("store.redb");
    let seed = RandomState::new();
    let mut newest = 0;
    for round in 0..ROUNDS {
        let mut child = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::tests::crash_child", "--nocapture"])
            .env(CRASH_FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // After some answers, and then at any moment of what follows; in some rounds perhaps while it opens the file.
        let answers = seed.hash_one(round) % 150;
        let pause = Duration::from_micros(seed.hash_one((round, "pause")) % 3000);
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(std::result::Result::ok);
        let mut answered: HashMap<usize, u64> = HashMap::new();
        let mut note = |line: String| {
            let numbers: Vec<u64> = line
                .split(' ')
                .filter_map(|number| number.parse().ok())
                .collect();
            // The test harness prints lines of its own.
            let [writer, n, revision] = numbers[..] else {
                return false;
            };
            answered.insert(usize::try_from(writer).unwrap(), n);
            newest = newest.max(revision);
            true
        };
        let mut seen = 0;
        while seen < answers {
            let line = lines.next().expect("the child has ended by itself");
            seen += u64::from(note(line));
        }
        std::thread::sleep(pause);
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            note(line);
        }

        let store = Embedded::open(&path).unwrap();
        let (rows, revision) = Mirror::of(&store).await;
        assert!(
            revision >= newest,
            "round {round}: revision {revision}, but {newest} was given out"
        );
        check_crashed(&rows.0, &answered, round);
    }
}

fn check_crashed(rows: &BTreeMap<String, Vec<u8>>, answered: &HashMap<usize, u64>, round: u64) {
    for writer in 0..CRASH_WRITERS {
        let counter = rows.get(&format!("counter/{writer}"));
        let last: u64 = counter.map_or(0, |value| {
            std::str::from_utf8(value).unwrap().parse().unwrap()
        });
        let promised = answered.get(&writer).copied().unwrap_or(0);
        assert!(
            last >= promised,
            "round {round}: writer {writer} is at {last}, but was answered for {promised}"
        );
        for side in ["left", "right"] {
            let prefix = format!("{side}/{writer}/");
            let mut found: Vec<u64> = rows
                .keys()
                .filter_map(|key| key.strip_prefix(&prefix))
                .map(|n| n.parse().unwrap())
                .collect();
            found.sort_unstable();
            // A transaction torn apart would show as a row too many or too few on one side.
            let expected: Vec<u64> = (last.saturating_sub(9).max(1)..=last).collect();
            assert_eq!(
                found, expected,
                "round {round}: {prefix} with the counter at {last}"
            );
        }
    }
}

#[test]
fn the_file_is_its_owners_alone() {
    let folder = folder();
    let path = folder.path().join("store.redb");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    drop(Embedded::open(&path).unwrap());
    assert_eq!(mode(), 0o600);
    // As an earlier version made it.
    std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    drop(Embedded::open(&path).unwrap());
    assert_eq!(mode(), 0o600);
}

fn holds(folder: &std::path::Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|file| {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    })
}

#[tokio::test]
async fn no_file_tells_what_a_row_says_even_of_an_older_store() {
    const SECRET: &str = "wJalrXUtnFEMI";
    let folder = folder();
    let (path, key) = (
        folder.path().join("store.redb"),
        folder.path().join("store.key"),
    );
    let plain = Embedded::open(&path).unwrap();
    commit(&plain, vec![put("old", SECRET)]).await;
    // What is gone lies in pages that are free.
    commit(&plain, vec![put("gone", SECRET)]).await;
    commit(&plain, vec![Op::delete("gone")]).await;
    drop(plain);
    assert!(holds(folder.path(), SECRET), "or this test tells nothing");
    for round in 0..2 {
        let store = Embedded::open_sealed(&path, &key).unwrap();
        let rows = store.list("").await.unwrap().0;
        assert_eq!(rows[0].value[..], *SECRET.as_bytes());
        assert_eq!(rows.len(), 1 + round);
        commit(&store, vec![put("new", SECRET)]).await;
        drop(store);
        assert!(!holds(folder.path(), SECRET));
    }
}

#[tokio::test]
async fn without_its_key_a_store_is_not_opened_and_not_changed() {
    let folder = folder();
    let (path, key) = (
        folder.path().join("store.redb"),
        folder.path().join("store.key"),
    );
    let store = Embedded::open_sealed(&path, &key).unwrap();
    commit(&store, vec![put("a", "1")]).await;
    drop(store);
    let kept = folder.path().join("kept");
    std::fs::rename(&key, &kept).unwrap();
    let gone = Embedded::open_sealed(&path, &key).err().unwrap();
    assert!(gone.to_string().contains("it is gone"), "{gone}");
    assert!(!key.exists(), "a new key would be no help");
    std::fs::write(&key, [7; 32]).unwrap();
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let wrong = Embedded::open_sealed(&path, &key).err().unwrap();
    assert!(wrong.to_string().contains("not the one"), "{wrong}");
    std::fs::rename(&kept, &key).unwrap();
    let store = Embedded::open_sealed(&path, &key).unwrap();
    assert_eq!(store.list("").await.unwrap().0.len(), 1);
}
