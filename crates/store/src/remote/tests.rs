//! What only the socket brings: restarts, bad peers, leases kept alive. The rest is in `suite`.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::codec::{MAGIC, MAX_FRAME_BYTES, Request, encode_request};
use super::{Client, Server};
use crate::suite::{Mirror, commit};
use crate::*;

fn put(key: &str, value: &str) -> Op {
    Op::put(key, value.as_bytes())
}

struct Region {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    server: JoinHandle<Result<()>>,
}

impl Region {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let server = Self::serve(&folder.path().join("store.sock"), &store);
        Self {
            folder,
            store,
            server,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store.sock")
    }

    fn serve(path: &Path, store: &Arc<dyn Store>) -> JoinHandle<Result<()>> {
        tokio::spawn(Server::bind(path, Arc::clone(store)).unwrap().run())
    }

    /// As if its process were gone: every connection breaks.
    async fn stop(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }

    fn restart(&mut self, store: Arc<dyn Store>) {
        self.store = store;
        self.server = Self::serve(&self.path(), &self.store);
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future)
        .await
        .expect("it takes too long")
}

#[tokio::test]
async fn the_socket_is_for_its_owner_alone_and_goes_with_the_server() {
    let mut region = Region::start();
    let mode = std::fs::metadata(region.path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let second = Server::bind(&region.path(), Arc::clone(&region.store)).map(drop);
    assert!(matches!(second, Err(StoreError::Locked { .. })));
    region.stop().await;
    assert!(!region.path().exists());
}

#[tokio::test]
async fn a_dead_server_s_socket_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = Server::bind(&path, Arc::new(Memory::new())).unwrap();
    UnixStream::connect(&path).unwrap();
    drop(server);
}

#[tokio::test]
async fn calls_fail_while_the_server_is_away_and_work_again_after() {
    let mut region = Region::start();
    let client = Client::connect(region.path());
    commit(&client, vec![put("a", "1")]).await;
    let mut watch = client.watch(1).await.unwrap();
    region.stop().await;
    assert!(matches!(
        within(watch.next()).await,
        Err(StoreError::Unavailable { .. })
    ));
    let unavailable = |result: Result<()>| matches!(result, Err(StoreError::Unavailable { .. }));
    assert!(unavailable(client.get("a").await.map(drop)));
    assert!(unavailable(client.list("").await.map(drop)));
    assert!(unavailable(
        client.txn(Txn::of(vec![put("a", "2")])).await.map(drop)
    ));
    assert!(unavailable(client.watch(1).await.map(drop)));
    assert!(unavailable(client.lease_grant(1000).await.map(drop)));
    region.restart(Arc::clone(&region.store));
    assert_eq!(&client.get("a").await.unwrap().unwrap().value[..], b"1");
    assert_eq!(commit(&client, vec![put("a", "3")]).await, 2);
}

#[tokio::test]
async fn a_client_needs_no_server_to_begin_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sock");
    let client: Arc<dyn Store> = Arc::new(Client::connect(&path));
    let mut follower = Follower::start(Arc::clone(&client));
    assert!(
        tokio::time::timeout(Duration::from_millis(30), follower.next())
            .await
            .is_err()
    );
    assert!(follower.is_away());
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    commit(&*store, vec![put("a", "1")]).await;
    let server = Region::serve(&path, &store);
    assert_eq!(within(follower.next()).await.events.len(), 1);
    assert!(!follower.is_away());
    server.abort();
}

/// The follower's promise, over restarts: with the same store, with one that has lost everything and begun anew, and
/// with one where the same revision means another row.
#[tokio::test]
async fn a_follower_goes_on_after_a_restart_with_the_difference() {
    let mut region = Region::start();
    let mut follower = Follower::start(Arc::new(Client::connect(region.path())));
    let mut mirror = Mirror::default();
    commit(
        &*region.store,
        vec![put("a", "1"), put("b", "1"), put("c", "1")],
    )
    .await;
    mirror.apply(&within(follower.next()).await);

    region.stop().await;
    commit(
        &*region.store,
        vec![put("b", "2"), Op::delete("c"), put("d", "1")],
    )
    .await;
    region.restart(Arc::clone(&region.store));
    let difference = within(follower.next()).await;
    let keys: Vec<_> = difference
        .events
        .iter()
        .map(|event| event.key.as_str())
        .collect();
    assert_eq!((difference.revision, keys), (2, vec!["c", "b", "d"]));
    mirror.apply(&difference);
    assert_eq!(mirror, Mirror::of(&*region.store).await.0);

    region.stop().await;
    let anew = Memory::new();
    commit(&anew, vec![put("a", "other")]).await;
    region.restart(Arc::new(anew));
    let difference = within(follower.next()).await;
    assert_eq!(difference.revision, 1);
    mirror.apply(&difference);
    assert_eq!(mirror, Mirror::of(&*region.store).await.0);
    assert_eq!(mirror.0["a"], b"other");

    commit(&*region.store, vec![put("e", "1")]).await;
    mirror.apply(&within(follower.next()).await);
    assert_eq!(mirror, Mirror::of(&*region.store).await.0);
}

#[tokio::test]
async fn a_client_keeps_its_leases_alive_until_it_is_gone() {
    let region = Region::start();
    let client = Client::connect(region.path());
    let lease = client.lease_grant(500).await.unwrap();
    let revision = commit(&client, vec![Op::put_leased("a", &b"1"[..], lease)]).await;
    let mut watch = region.store.watch(revision).await.unwrap();
    // More than its life.
    let early = tokio::time::timeout(Duration::from_millis(800), watch.next()).await;
    assert!(early.is_err(), "the row is gone: {early:?}");
    drop(client);
    let gone = within(watch.next()).await.unwrap();
    assert_eq!(
        gone.events,
        [Event {
            key: "a".into(),
            value: None
        }]
    );
}

#[tokio::test]
async fn a_lease_survives_a_short_absence_of_the_server() {
    let mut region = Region::start();
    let client = Client::connect(region.path());
    let lease = client.lease_grant(500).await.unwrap();
    let revision = commit(&client, vec![Op::put_leased("a", &b"1"[..], lease)]).await;
    let mut watch = region.store.watch(revision).await.unwrap();
    region.stop().await;
    region.restart(Arc::clone(&region.store));
    let early = tokio::time::timeout(Duration::from_millis(800), watch.next()).await;
    assert!(early.is_err(), "the row is gone: {early:?}");
}

/// Sends `bytes` and reads until the server closes the connection.
fn is_closed_after(path: &Path, bytes: &[u8]) {
    let mut stream = UnixStream::connect(path).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    stream.write_all(bytes).unwrap();
    let mut rest = Vec::new();
    // A reset, if it was closed with bytes of ours unread, is a close as well.
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::ConnectionReset,
            "{bytes:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_frames_close_their_own_connection_only() {
    let region = Region::start();
    let client = Client::connect(region.path());
    commit(&client, vec![put("a", "1")]).await;
    let framed = |body: &[u8]| {
        [
            &MAGIC[..],
            &u32::try_from(body.len()).unwrap().to_le_bytes(),
            body,
        ]
        .concat()
    };
    let mut bad = vec![
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        framed(&[]),
        framed(&[0; 9]),
        framed(&[0, 0, 0, 0, 0, 0, 0, 0, 99]),
        // A string longer than its frame; bytes to spare; a count that would take all memory; a text that is no text.
        framed(&[1, 0, 0, 0, 0, 0, 0, 0, 1, 200, 0, 0, 0, b'a']),
        framed(&[1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, b'a', 0]),
        framed(&[
            1, 0, 0, 0, 0, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
        ]),
        framed(&[1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0xff]),
    ];
    let oversized = u32::try_from(MAX_FRAME_BYTES + 1).unwrap().to_le_bytes();
    bad.push([&MAGIC[..], &oversized].concat());
    bad.push([&MAGIC[..], &u32::MAX.to_le_bytes()].concat());
    let path = region.path();
    tokio::task::spawn_blocking(move || bad.iter().for_each(|bytes| is_closed_after(&path, bytes)))
        .await
        .unwrap();
    // One that is announced and never comes holds up nobody either.
    let mut hanging = UnixStream::connect(region.path()).unwrap();
    hanging
        .write_all(&[&MAGIC[..], &1000_u32.to_le_bytes()].concat())
        .unwrap();
    assert_eq!(commit(&client, vec![put("a", "2")]).await, 2);
}

/// A client that asks and does not read is not served without end, and does not hold up others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_holds_nobody_up() {
    let region = Region::start();
    let rows = (0..8)
        .map(|row| Op::put(format!("{row}"), &[b'x'; 100_000][..]))
        .collect();
    commit(&*region.store, rows).await;
    let mut greedy = UnixStream::connect(region.path()).unwrap();
    greedy.write_all(MAGIC).unwrap();
    greedy.set_nonblocking(true).unwrap();
    let request = encode_request(
        1,
        &Request::List {
            prefix: String::new(),
        },
    );
    let mut asked = 0;
    let begun = Instant::now();
    // Until its own socket is full as well: that is the bound.
    while begun.elapsed() < Duration::from_secs(10) {
        match greedy.write(&request) {
            Ok(written) => asked += written,
            Err(_) => break,
        }
    }
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "served without end: {asked}"
    );
    let client = Client::connect(region.path());
    assert_eq!(within(client.list("")).await.unwrap().0.len(), 8);
}

/// More than a frame may hold.
#[tokio::test]
async fn a_large_list_comes_in_parts_and_whole() {
    let region = Region::start();
    let client = Client::connect(region.path());
    let value = vec![b'x'; 500_000];
    for row in 0..40 {
        commit(
            &*region.store,
            vec![Op::put(format!("{row:02}"), &value[..])],
        )
        .await;
    }
    let (entries, revision) = client.list("").await.unwrap();
    assert_eq!((entries.len(), revision), (40, 40));
    assert!(entries.iter().map(|entry| entry.value.len()).sum::<usize>() > MAX_FRAME_BYTES);
    assert!(entries.is_sorted_by_key(|entry| entry.key.clone()));
}

#[tokio::test]
async fn a_call_given_up_leaves_the_connection_whole() {
    let region = Region::start();
    let client = Client::connect(region.path());
    let value = vec![b'x'; 900_000];
    for _ in 0..20 {
        let call = client.txn(Txn::of(vec![Op::put("large", &value[..])]));
        let _ = tokio::time::timeout(Duration::from_micros(200), call).await;
        assert_eq!(within(client.get("none")).await.unwrap(), None);
    }
}

#[tokio::test]
async fn errors_keep_their_meaning_over_the_socket() {
    use super::codec::{Reply, decode_reply, encode_reply};
    let path = PathBuf::from("/data/store.redb");
    let source = Arc::new(std::io::Error::from_raw_os_error(28));
    let errors = [
        StoreError::Compacted {
            after: 1,
            oldest: 2,
        },
        StoreError::Unavailable {
            path: path.clone(),
            reason: "gone".into(),
        },
        StoreError::LeaseNotFound(LeaseId(7)),
        StoreError::EmptyKey,
        StoreError::TooLarge {
            what: "value",
            size: 3,
            limit: 2,
        },
        StoreError::Locked { path: path.clone() },
        StoreError::Corrupt {
            path: path.clone(),
            detail: "a page".into(),
        },
        StoreError::Io {
            operation: "commit to".into(),
            path,
            source,
        },
    ];
    for error in errors {
        let frame = encode_reply(1, &Reply::Failed(error.clone())).slice(4..);
        match decode_reply(frame) {
            Ok((1, Reply::Failed(decoded))) => {
                assert_eq!(format!("{decoded:?}"), format!("{error:?}"))
            }
            result => panic!("{result:?}"),
        }
    }
}
