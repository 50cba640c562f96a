//! `fogbank alb`: the process around a `Worker`. Started by the node agent inside the ENI's network
//! namespace; ends on SIGTERM, after the requests under way.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fogbank_types::RegionConfig;
use serde::Serialize;
use thiserror::Error;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::guard::{Guards, Outside};
use super::handover::{self, Inheritance};
use super::log::{Home, Logs};
use super::table::Table;
use super::worker::Worker;
use super::{control, lock};

/// For listeners, health checks, control, log and files.
const DESCRIPTORS_KEPT: usize = 128;
/// How long a disk may take for the last lines.
const LOG_PATIENCE: Duration = Duration::from_secs(3);
/// After a hand-over a client that sends nothing for so long is left; who sends is told with the response.
const HANDOVER_GRACE: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(500);

#[derive(Clone, Debug)]
pub struct Config {
    /// The interface's id; names the socket and the table's file.
    pub eni: String,
    /// `<run>`: both stand in its `alb` folder.
    pub run_folder: PathBuf,
    pub listen_on: IpAddr,
    /// More clients wait to be accepted.
    pub max_connections: usize,
    /// How long requests may take to end after SIGTERM.
    pub drain_timeout_ms: u64,
    /// The same after a successor took over.
    pub handover_drain_ms: u64,
    /// `<data>`, below which log files go; None: none are written.
    pub data_folder: Option<PathBuf>,
}

impl Config {
    pub fn new(run_folder: impl Into<PathBuf>, eni: impl Into<String>) -> Self {
        Self {
            eni: eni.into(),
            run_folder: run_folder.into(),
            listen_on: Ipv6Addr::UNSPECIFIED.into(),
            max_connections: 20_000,
            drain_timeout_ms: 10_000,
            handover_drain_ms: 300_000,
            data_folder: None,
        }
    }
}

/// Where the process of an ENI listens for its agent.
pub fn socket_path(run_folder: &Path, eni: &str) -> PathBuf {
    run_folder.join("alb").join(format!("{eni}.sock"))
}

/// Where it keeps its last table.
pub fn table_path(run_folder: &Path, eni: &str) -> PathBuf {
    run_folder.join("alb").join(format!("{eni}.table.json"))
}

#[derive(Debug, Error)]
pub enum ProcessError {
    #[error("creating the folder of {path}")]
    Folder { path: String, source: io::Error },
    #[error("listening on {path}")]
    Socket { path: String, source: io::Error },
    #[error("waiting for signals")]
    Signal { source: io::Error },
}

/// `fogbank alb`: serves one interface of a region until SIGTERM or SIGINT.
pub async fn run(region: RegionConfig, eni: &str) -> Result<(), ProcessError> {
    let data_folder = Some(region.data_dir);
    serve(Config {
        data_folder,
        ..Config::new(region.run_dir, eni)
    })
    .await
}

/// The same with every setting at hand.
pub async fn serve(config: Config) -> Result<(), ProcessError> {
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|source| ProcessError::Signal { source })?;
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(|source| ProcessError::Signal { source })?;
    let max_connections = config
        .max_connections
        .min(clients_max(raise_descriptor_limit()));
    let logs = config
        .data_folder
        .clone()
        .map_or_else(Logs::default, |data_folder| {
            let eni = config.eni.clone();
            Logs::new(Home { data_folder, eni })
        });
    let guards = Guards::new(Outside {
        data_folder: config.data_folder.clone(),
        ..Outside::default()
    });
    let worker = Worker::with_guards(config.listen_on, max_connections, logs, guards);
    let keeper = Arc::new(Keeper::new(table_path(&config.run_folder, &config.eni)));
    let path = socket_path(&config.run_folder, &config.eni);
    let handover_path = handover::path(&config.run_folder, &config.eni);
    let inheritance = inherit(&worker, &handover_path).await;
    if let Some(table) = keeper.last() {
        tracing::info!(revision = table.revision, "going on with the last table");
        worker.apply(&table);
    }
    let socket = listen(&path)?;
    let waiting = listen(&handover_path)?;
    if let Some(inheritance) = inheritance {
        take_over(worker.clone(), inheritance);
    }
    let mut successor = pin!(await_successor(worker.clone(), waiting));
    let mut handed = None;
    let accepting = tokio::spawn(accept(worker.clone(), keeper, socket));
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => worker.tick(),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            stream = &mut successor => {
                handed = Some(stream);
                break;
            }
        }
    }
    // At once: the agent finds the successor, or the place free.
    accepting.abort();
    let (bound_ms, grace) = if handed.is_some() {
        (config.handover_drain_ms, HANDOVER_GRACE)
    } else {
        let _ = std::fs::remove_file(&path);
        let _ = std::fs::remove_file(&handover_path);
        (config.drain_timeout_ms, Duration::ZERO)
    };
    let drained = tokio::select! {
        drained = timeout(Duration::from_millis(bound_ms), worker.drain_gently(grace)) => drained.is_ok(),
        // After a hand-over, nobody wants it to be finished any more.
        _ = terminate.recv() => false,
    };
    if !drained {
        tracing::warn!("requests were still under way at the end of the drain time");
    }
    if let Some(mut stream) = handed {
        let rest = worker.reporting.rest(&worker.counts());
        if let Err(error) = handover::give_counts(&mut stream, &rest) {
            tracing::warn!(%error, "counts of the drain are lost");
        }
    }
    let finished = tokio::task::spawn_blocking(move || worker.logs.finish(LOG_PATIENCE));
    // It tells what went wrong by itself.
    let _ = finished.await;
    Ok(())
}

/// Gets the listening sockets of a predecessor, if there is one.
async fn inherit(worker: &Arc<Worker>, path: &Path) -> Option<Inheritance> {
    let path = path.to_owned();
    let taken = tokio::task::spawn_blocking(move || handover::take(&path)).await;
    match taken.map_err(io::Error::other).flatten() {
        Ok(Some(mut inheritance)) => {
            let sockets = std::mem::take(&mut inheritance.listeners);
            tracing::info!(sockets = sockets.len(), "taking over from a predecessor");
            worker.inherit(sockets, std::mem::take(&mut inheritance.health));
            Some(inheritance)
        }
        Ok(None) => None,
        Err(error) => {
            tracing::warn!(%error, "a predecessor does not hand over its sockets");
            None
        }
    }
}

/// Tells the predecessor that its part is over, and reports what it leaves uncounted.
fn take_over(worker: Arc<Worker>, mut inheritance: Inheritance) {
    // A thread of its own: a drain is long, and the runtime would wait for it at the end.
    std::thread::spawn(move || {
        let counts = inheritance.accepted().and_then(|()| inheritance.counts());
        match counts {
            Ok(counts) => worker.reporting.inherit(&counts),
            Err(error) => tracing::warn!(%error, "a predecessor left without its last counts"),
        }
    });
}

/// Hands the sockets to whoever comes for them; returns when a successor accepts connections.
async fn await_successor(worker: Arc<Worker>, waiting: UnixListener) -> StdUnixStream {
    loop {
        let given = async {
            let (stream, _) = waiting.accept().await?;
            let mut stream = stream.into_std()?;
            let (sockets, health) = (worker.sockets()?, worker.health());
            let giving = move || handover::give(&mut stream, &sockets, health).map(|()| stream);
            tokio::task::spawn_blocking(giving).await?
        };
        match given.await {
            Ok(stream) => return stream,
            Err(error) => {
                tracing::warn!(%error, "a successor did not take over");
                sleep(TICK).await;
            }
        }
    }
}

/// Where agents come; also for proxies of Service Connect.
pub(crate) fn listen(path: &Path) -> Result<UnixListener, ProcessError> {
    let name = || path.display().to_string();
    if let Some(folder) = path.parent() {
        // The tables in it hold private keys.
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::set_permissions(folder, Permissions::from_mode(0o700)))
            .map_err(|source| ProcessError::Folder {
                path: name(),
                source,
            })?;
    }
    // Left by a predecessor that was killed.
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(ProcessError::Socket {
                path: name(),
                source,
            });
        }
        _ => {}
    }
    UnixListener::bind(path).map_err(|source| ProcessError::Socket {
        path: name(),
        source,
    })
}

async fn accept(worker: Arc<Worker>, keeper: Arc<Keeper>, socket: UnixListener) {
    // They end with this task: an agent must not talk to a process whose part is over.
    let mut agents = JoinSet::new();
    loop {
        while agents.try_join_next().is_some() {}
        match socket.accept().await {
            Ok((stream, _)) => {
                let (worker, keeper) = (worker.clone(), keeper.clone());
                agents.spawn(async move {
                    if let Err(error) = control::serve(worker, keeper, stream).await {
                        tracing::warn!(%error, "control connection failed");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a control connection");
                sleep(TICK).await;
            }
        }
    }
}

/// Takes all the descriptors that the host allows; gives how many that are, `None` if there is no limit.
pub(crate) fn raise_descriptor_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of file descriptors");
            limit.current
        }
    }
}

/// The number of clients that can be served with so many descriptors.
fn clients_max(descriptors: Option<u64>) -> usize {
    // No limit: the configured number counts alone. A client needs two, and some are for the process itself.
    let count = descriptors.map_or(usize::MAX, |count| {
        usize::try_from(count).unwrap_or(usize::MAX)
    });
    (count.saturating_sub(DESCRIPTORS_KEPT) / 2).max(1)
}

/// Keeps the last table in a file, so that a process that was killed goes on serving.
#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
    revision: Mutex<Option<u64>>,
}

impl Keeper {
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            revision: Mutex::new(None),
        }
    }

    /// Of the table being served.
    pub fn revision(&self) -> Option<u64> {
        *lock(&self.revision)
    }

    fn last(&self) -> Option<Table> {
        let bytes = std::fs::read(&self.path).ok()?;
        match serde_json::from_slice::<Table>(&bytes) {
            Ok(table) => {
                *lock(&self.revision) = Some(table.revision);
                Some(table)
            }
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "the last table cannot be read");
                None
            }
        }
    }

    pub fn keep(&self, table: &Table) {
        *lock(&self.revision) = Some(table.revision);
        keep_file(&self.path, table);
    }
}

/// A failure is told and otherwise without harm: the table is served all the same.
pub(crate) fn keep_file(path: &Path, table: &impl Serialize) {
    let beside = path.with_extension("new");
    let written = serde_json::to_vec(table)
        .map_err(io::Error::from)
        .and_then(|bytes| write_private(&beside, &bytes))
        .and_then(|()| std::fs::rename(&beside, path));
    if let Err(error) = written {
        tracing::warn!(%error, path = %path.display(), "cannot keep the table");
    }
}

/// A table holds private keys: whoever the folder is open to, the file is its owner's alone.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)
}
