//! The store's end of the socket, run by `control`.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::codec::{self, FrameError, LIST_PART_BYTES, MAGIC, Reply, Request};
use crate::Store;
use crate::error::{Result, StoreError};
use crate::row::{Entry, Revision};

/// Replies a connection may owe before its next request is read: a client that does not read is not served further.
const REPLIES_IN_FLIGHT: usize = 256;

/// A bound socket: clients can connect as soon as it exists, and are answered once it runs.
pub struct Server {
    listener: UnixListener,
    store: Arc<dyn Store>,
    socket: Socket,
}

/// Binds the socket and serves until dropped.
pub async fn serve(path: &Path, store: Arc<dyn Store>) -> Result<()> {
    Server::bind(path, store)?.run().await
}

impl Server {
    /// Takes the place of a socket that a dead server left; refuses that of a living one.
    pub fn bind(path: &Path, store: Arc<dyn Store>) -> Result<Self> {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(StoreError::Locked {
                path: path.to_owned(),
            });
        }
        // Bound under another name first: nobody can connect before the mode is right.
        let staging = path.with_extension(format!("{}.new", std::process::id()));
        let failed = |operation| move |source| StoreError::io(operation, path, source);
        let _ = std::fs::remove_file(&staging);
        let listener = UnixListener::bind(&staging).map_err(failed("bind"))?;
        std::fs::set_permissions(&staging, std::fs::Permissions::from_mode(0o600))
            .map_err(failed("set the mode of"))?;
        let inode = std::fs::metadata(&staging)
            .map_err(failed("look at"))?
            .ino();
        std::fs::rename(&staging, path).map_err(failed("bind"))?;
        Ok(Self {
            listener,
            store,
            socket: Socket {
                path: path.to_owned(),
                inode,
            },
        })
    }

    /// Serves until dropped; connections end with it.
    pub async fn run(self) -> Result<()> {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let store = Arc::clone(&self.store);
                        connections.spawn(async move {
                            if let Err(error) = connection(stream, store).await {
                                tracing::warn!(%error, "closed a connection to the store");
                            }
                        });
                    }
                    // Out of file descriptors, most likely: those who are connected go on.
                    Err(source) => {
                        let error = StoreError::io("accept on", &self.socket.path, source);
                        tracing::error!(%error, "the store takes no connections for now");
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// The name in the file system; removed with the server, unless another one has taken it over.
struct Socket {
    path: PathBuf,
    inode: u64,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if std::fs::metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

async fn connection(
    stream: UnixStream,
    store: Arc<dyn Store>,
) -> std::result::Result<(), FrameError> {
    let (mut from, to) = stream.into_split();
    let mut magic = [0; MAGIC.len()];
    match from.read_exact(&mut magic).await {
        Ok(_) if magic == *MAGIC => {}
        Ok(_) => return Err(FrameError::Payload),
        // Somebody looked whether we are there.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let mut buffer = BytesMut::new();
    let Some(frame) = codec::read_frame(&mut from, &mut buffer).await? else {
        return Ok(());
    };
    match codec::decode_request(frame)? {
        (id, Request::Watch { after }) => stream_batches(from, to, &*store, id, after).await,
        first => answer_calls(from, to, store, buffer, first).await,
    }
}

/// Reads requests and answers them. Only commits take time, and each gets a task of its own, so that the reads behind
/// them do not wait. All tasks end with the connection.
async fn answer_calls(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    store: Arc<dyn Store>,
    mut buffer: BytesMut,
    first: (u64, Request),
) -> std::result::Result<(), FrameError> {
    let (replies, mut outbox) = mpsc::channel::<Vec<Bytes>>(REPLIES_IN_FLIGHT);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Some(frames) = outbox.recv().await {
            for frame in frames {
                to.write_all(&frame).await?;
            }
        }
        Ok(())
    });
    let mut next = Some(first);
    while let Some((id, request)) = next {
        // The place is taken before the work is begun: that bounds the work in flight.
        let Ok(place) = replies.clone().reserve_owned().await else {
            break;
        };
        if matches!(request, Request::Txn(_) | Request::Revoke(_)) {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                place.send(answer(&*store, id, request).await);
                Ok(())
            });
        } else {
            place.send(answer(&*store, id, request).await);
        }
        next = loop {
            tokio::select! {
                biased;
                Some(ended) = tasks.join_next() => match ended {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Err(FrameError::Io(error)),
                    Err(error) => return Err(FrameError::Io(io::Error::other(error))),
                },
                frame = codec::read_frame(&mut from, &mut buffer) => {
                    break frame?.map(codec::decode_request).transpose()?;
                }
            }
        };
    }
    Ok(())
}

async fn answer(store: &dyn Store, id: u64, request: Request) -> Vec<Bytes> {
    let reply = match request {
        Request::Get { key } => store.get(&key).await.map(Reply::Entry),
        Request::List { prefix } => match store.list(&prefix).await {
            Ok((entries, revision)) => return list_parts(id, entries, revision),
            Err(error) => Err(error),
        },
        Request::Txn(txn) => store.txn(txn).await.map(Reply::Outcome),
        Request::Grant { ttl_ms } => store.lease_grant(ttl_ms).await.map(Reply::Granted),
        Request::KeepAlive(lease) => store.keep_alive(lease).await.map(|()| Reply::Done),
        Request::Revoke(lease) => store.revoke(lease).await.map(|()| Reply::Done),
        Request::Watch { .. } => Err(StoreError::unavailable(
            Path::new("(store)"),
            "a watch has its own connection",
        )),
    };
    vec![codec::encode_reply(
        id,
        &reply.unwrap_or_else(Reply::Failed),
    )]
}

/// However large the view is, each frame of it is within the limit.
fn list_parts(id: u64, entries: Vec<Entry>, revision: Revision) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut part = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        bytes += entry.key.len() + entry.value.len();
        part.push(entry);
        if bytes >= LIST_PART_BYTES {
            let entries = std::mem::take(&mut part);
            frames.push(codec::encode_reply(
                id,
                &Reply::List {
                    entries,
                    revision,
                    more: true,
                },
            ));
            bytes = 0;
        }
    }
    frames.push(codec::encode_reply(
        id,
        &Reply::List {
            entries: part,
            revision,
            more: false,
        },
    ));
    frames
}

/// The watch of one client. If the client does not read, this waits in `write_all` and falls behind on its own.
async fn stream_batches(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    store: &dyn Store,
    id: u64,
    after: Revision,
) -> std::result::Result<(), FrameError> {
    let mut watch = match store.watch(after).await {
        Ok(watch) => watch,
        Err(error) => {
            return Ok(to
                .write_all(&codec::encode_reply(id, &Reply::Failed(error)))
                .await?);
        }
    };
    to.write_all(&codec::encode_reply(id, &Reply::Done)).await?;
    let mut byte = [0];
    loop {
        let batch = tokio::select! {
            batch = watch.next() => batch,
            // A watcher has nothing more to say: whatever comes, it is over.
            _ = from.read(&mut byte) => return Ok(()),
        };
        match batch {
            Ok(batch) => {
                to.write_all(&codec::encode_reply(id, &Reply::Batch(batch)))
                    .await?
            }
            Err(error) => {
                return Ok(to
                    .write_all(&codec::encode_reply(id, &Reply::Failed(error)))
                    .await?);
            }
        }
    }
}
