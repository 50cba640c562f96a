//! The client's end of the socket: a [`Store`] for `node` and `dns`.
//!
//! It connects when it is called, so it needs no server to be made and finds a restarted one by itself. Leases it was
//! granted it keeps alive until they are revoked or it is dropped.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};

use super::codec::{self, MAGIC, Reply, Request, done, unexpected};
use crate::Store;
use crate::error::{Result, StoreError};
use crate::row::{Batch, Entry, LeaseId, Revision, Txn, TxnOutcome};
use crate::watch::{Source, Watch};

/// Calls waiting to be written; more wait in their callers.
const CALLS_QUEUED: usize = 256;
/// How soon a lease's keep-alive is tried again while the server is away.
const RETRY: Duration = Duration::from_millis(50);

/// A store at the other end of a unix socket. Clones are cheap and share the connection and the leases.
#[derive(Clone)]
pub struct Client {
    link: Arc<Link>,
    leases: Arc<KeptLeases>,
}

impl Client {
    /// Does no I/O yet: the first call connects. A call fails with `Unavailable` while there is no server.
    pub fn connect(path: impl Into<PathBuf>) -> Self {
        let link = Arc::new(Link {
            path: path.into(),
            connection: tokio::sync::Mutex::default(),
        });
        Self {
            link,
            leases: Arc::default(),
        }
    }
}

/// The tasks that keep leases alive, ended with the last clone of the client.
#[derive(Default)]
struct KeptLeases(Mutex<HashMap<LeaseId, AbortHandle>>);

impl KeptLeases {
    fn lock(&self) -> MutexGuard<'_, HashMap<LeaseId, AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for KeptLeases {
    fn drop(&mut self) {
        self.lock().values().for_each(AbortHandle::abort);
    }
}

/// The connection for calls, made anew when it has broken.
struct Link {
    path: PathBuf,
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
}

impl Link {
    async fn connection(&self) -> Result<Arc<Connection>> {
        let mut current = self.connection.lock().await;
        if let Some(connection) = &*current
            && !connection.waiting.is_broken()
        {
            return Ok(Arc::clone(connection));
        }
        *current = None;
        let stream = open(&self.path).await?;
        let connection = Arc::new(Connection::start(stream));
        *current = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// One round trip. A request that the server cannot have seen, or that only reads, is tried on a second connection
    /// if the first one breaks: that is the one from before a restart.
    async fn call(&self, request: Request) -> Result<Reply> {
        let mut second_chance = true;
        loop {
            let connection = self.connection().await?;
            let lost = match connection.call(&request).await {
                Ok(reply) => return Ok(reply),
                Err(lost) => lost,
            };
            let repeatable =
                !lost.sent || matches!(request, Request::Get { .. } | Request::List { .. });
            if !(repeatable && std::mem::take(&mut second_chance)) {
                return Err(StoreError::unavailable(
                    &self.path,
                    "the connection broke before the answer came",
                ));
            }
        }
    }
}

async fn open(path: &Path) -> Result<UnixStream> {
    let unavailable = |error: io::Error| StoreError::unavailable(path, error.to_string());
    let mut stream = UnixStream::connect(path).await.map_err(unavailable)?;
    stream.write_all(MAGIC).await.map_err(unavailable)?;
    Ok(stream)
}

struct Outgoing {
    frame: Bytes,
}

/// The answers that are waited for, by the call's number.
#[derive(Default)]
struct Waiting(Mutex<WaitingState>);

#[derive(Default)]
struct WaitingState {
    broken: bool,
    next_id: u64,
    calls: HashMap<u64, PendingCall>,
}

struct PendingCall {
    answer: oneshot::Sender<Reply>,
    /// The parts of a list that have come so far.
    parts: Vec<Entry>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, WaitingState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_broken(&self) -> bool {
        self.lock().broken
    }

    /// `None` if the connection is broken already.
    fn expect(&self) -> Option<(u64, oneshot::Receiver<Reply>)> {
        let mut state = self.lock();
        if state.broken {
            return None;
        }
        state.next_id += 1;
        let id = state.next_id;
        let (answer, receiver) = oneshot::channel();
        state.calls.insert(
            id,
            PendingCall {
                answer,
                parts: Vec::new(),
            },
        );
        Some((id, receiver))
    }

    fn answer(&self, id: u64, reply: Reply) {
        let mut state = self.lock();
        match reply {
            Reply::List {
                entries,
                more: true,
                ..
            } => {
                if let Some(call) = state.calls.get_mut(&id) {
                    call.parts.extend(entries);
                }
            }
            Reply::List {
                entries,
                revision,
                more: false,
            } => {
                if let Some(mut call) = state.calls.remove(&id) {
                    call.parts.extend(entries);
                    let _ = call.answer.send(Reply::List {
                        entries: call.parts,
                        revision,
                        more: false,
                    });
                }
            }
            reply => {
                if let Some(call) = state.calls.remove(&id) {
                    let _ = call.answer.send(reply);
                }
            }
        }
    }
}

/// Held by the tasks of a connection: when one of them ends, also with its runtime, nobody is left waiting, and nobody
/// begins to.
struct FailsAll(Arc<Waiting>);

impl Drop for FailsAll {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.broken = true;
        state.calls.clear();
    }
}

/// A call without an answer.
struct Lost {
    /// Whether the server can have seen it.
    sent: bool,
}

struct Connection {
    outbox: mpsc::Sender<Outgoing>,
    waiting: Arc<Waiting>,
    tasks: [JoinHandle<()>; 2],
}

impl Connection {
    fn start(stream: UnixStream) -> Self {
        let (from, to) = stream.into_split();
        let (outbox, queue) = mpsc::channel(CALLS_QUEUED);
        let waiting = Arc::new(Waiting::default());
        let reader = tokio::spawn(read_answers(from, FailsAll(Arc::clone(&waiting))));
        let writer = tokio::spawn(write_calls(to, queue, FailsAll(Arc::clone(&waiting))));
        Self {
            outbox,
            waiting,
            tasks: [reader, writer],
        }
    }

    async fn call(&self, request: &Request) -> std::result::Result<Reply, Lost> {
        // Frames are written by a task: a caller that is dropped half way must not leave half a frame behind.
        let Ok(place) = self.outbox.reserve().await else {
            return Err(Lost { sent: false });
        };
        let Some((id, answer)) = self.waiting.expect() else {
            return Err(Lost { sent: false });
        };
        place.send(Outgoing {
            frame: codec::encode_request(id, request),
        });
        answer.await.map_err(|_| Lost { sent: true })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn write_calls(
    mut to: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Outgoing>,
    _waiting: FailsAll,
) {
    while let Some(outgoing) = queue.recv().await {
        if to.write_all(&outgoing.frame).await.is_err() {
            break;
        }
    }
}

async fn read_answers(mut from: OwnedReadHalf, waiting: FailsAll) {
    let mut buffer = BytesMut::new();
    loop {
        match codec::read_frame(&mut from, &mut buffer)
            .await
            .and_then(|f| f.map(codec::decode_reply).transpose())
        {
            Ok(Some((id, reply))) => waiting.0.answer(id, reply),
            Ok(None) => break,
            Err(error) => {
                tracing::debug!(%error, "lost the connection to the store");
                break;
            }
        }
    }
}

#[async_trait]
impl Store for Client {
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        match self
            .link
            .call(Request::Get {
                key: key.to_owned(),
            })
            .await?
        {
            Reply::Entry(entry) => Ok(entry),
            Reply::Failed(error) => Err(error),
            _ => Err(unexpected(&self.link.path)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<(Vec<Entry>, Revision)> {
        match self
            .link
            .call(Request::List {
                prefix: prefix.to_owned(),
            })
            .await?
        {
            Reply::List {
                entries, revision, ..
            } => Ok((entries, revision)),
            Reply::Failed(error) => Err(error),
            _ => Err(unexpected(&self.link.path)),
        }
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        txn.check()?;
        match self.link.call(Request::Txn(txn)).await? {
            Reply::Outcome(outcome) => Ok(outcome),
            Reply::Failed(error) => Err(error),
            _ => Err(unexpected(&self.link.path)),
        }
    }

    async fn watch(&self, after: Revision) -> Result<Watch> {
        let path = &self.link.path;
        let mut stream = open(path).await?;
        let request = codec::encode_request(0, &Request::Watch { after });
        stream
            .write_all(&request)
            .await
            .map_err(|error| StoreError::unavailable(path, error.to_string()))?;
        let mut source = RemoteSource {
            path: path.clone(),
            stream,
            buffer: BytesMut::new(),
        };
        done(path, source.reply().await?)?;
        Ok(Watch::new(source))
    }

    async fn lease_grant(&self, ttl_ms: u64) -> Result<LeaseId> {
        let lease = match self.link.call(Request::Grant { ttl_ms }).await? {
            Reply::Granted(lease) => lease,
            Reply::Failed(error) => return Err(error),
            _ => return Err(unexpected(&self.link.path)),
        };
        let task = tokio::spawn(keep_alive(Arc::clone(&self.link), lease, ttl_ms));
        self.leases.lock().insert(lease, task.abort_handle());
        Ok(lease)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        done(
            &self.link.path,
            self.link.call(Request::KeepAlive(lease)).await?,
        )
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        if let Some(task) = self.leases.lock().remove(&lease) {
            task.abort();
        }
        done(
            &self.link.path,
            self.link.call(Request::Revoke(lease)).await?,
        )
    }
}

/// Runs until the lease is gone: its holder learns of that from its next transaction.
async fn keep_alive(link: Arc<Link>, lease: LeaseId, ttl_ms: u64) {
    let period = Duration::from_millis((ttl_ms / 3).max(1));
    let mut wait = period;
    loop {
        tokio::time::sleep(wait).await;
        let answer = link
            .call(Request::KeepAlive(lease))
            .await
            .and_then(|reply| done(&link.path, reply));
        wait = match answer {
            Ok(()) => period,
            Err(StoreError::LeaseNotFound(_)) => {
                tracing::warn!(%lease, "a lease is gone although it was kept alive");
                return;
            }
            Err(_) => period.min(RETRY),
        };
    }
}

/// A watch's own connection.
struct RemoteSource {
    path: PathBuf,
    stream: UnixStream,
    buffer: BytesMut,
}

impl RemoteSource {
    async fn reply(&mut self) -> Result<Reply> {
        let frame = codec::read_frame(&mut self.stream, &mut self.buffer).await;
        match frame.and_then(|frame| frame.map(codec::decode_reply).transpose()) {
            Ok(Some((_, reply))) => Ok(reply),
            Ok(None) => Err(StoreError::unavailable(&self.path, "it closed the watch")),
            Err(error) => Err(StoreError::unavailable(&self.path, error.to_string())),
        }
    }
}

#[async_trait]
impl Source for RemoteSource {
    async fn next(&mut self) -> Result<Batch> {
        match self.reply().await? {
            Reply::Batch(batch) => Ok(batch),
            Reply::Failed(error) => Err(error),
            _ => Err(unexpected(&self.path)),
        }
    }
}
