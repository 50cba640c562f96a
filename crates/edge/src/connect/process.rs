//! `fogbank connect`: the proxy of one task. Started by the node agent inside the task's network namespace; ends on
//! SIGTERM, and with its last table when it was killed and started again goes on as before.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream as StdTcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fogbank_types::RegionConfig;
use fogbank_types::connect::EGRESS_PORT;
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::remote::{Command, Event};
use super::table::Table;
use crate::http::control::{Frames, write};
use crate::http::process::{keep_file, listen, raise_descriptor_limit};
use crate::http::{Counts, Worker};

const BACKLOG: u32 = 4096;
/// Clients of one name that are served at once; more wait.
const CLIENTS_MAX: usize = 20_000;
const TICK: Duration = Duration::from_millis(500);
/// How long accepting rests when the process has no more file descriptors.
const REST: Duration = Duration::from_millis(20);
/// How long requests of a name that is gone may take to end.
const DRAIN: Duration = Duration::from_secs(60);

#[derive(Debug, Error)]
pub enum ProcessError {
    #[error(transparent)]
    Agents(#[from] crate::http::ProcessError),
    #[error("listening for the task's programs")]
    Egress { source: io::Error },
    #[error("waiting for signals")]
    Signal { source: io::Error },
}

/// Where the proxy of a task listens for its agent.
pub fn socket_path(run_folder: &Path, task: &str) -> PathBuf {
    run_folder.join("connect").join(format!("{task}.sock"))
}

/// Where it keeps its last table.
pub fn table_path(run_folder: &Path, task: &str) -> PathBuf {
    run_folder
        .join("connect")
        .join(format!("{task}.table.json"))
}

/// Serves one task until SIGTERM or SIGINT.
pub async fn run(region: RegionConfig, task: &str) -> Result<(), ProcessError> {
    let signals = |kind| signal(kind).map_err(|source| ProcessError::Signal { source });
    let mut terminate = signals(SignalKind::terminate())?;
    let mut interrupt = signals(SignalKind::interrupt())?;
    raise_descriptor_limit();
    let egress = listen_for_programs().map_err(|source| ProcessError::Egress { source })?;
    let ways = Arc::new(Ways::new(table_path(&region.run_dir, task)));
    ways.go_on();
    let path = socket_path(&region.run_dir, task);
    let agents = listen(&path)?;
    tokio::spawn(accept(ways.clone(), egress));
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => ways.tick(),
            accepted = agents.accept() => match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(serve(ways.clone(), stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an agent");
                    sleep(REST).await;
                }
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    // Its task is over: nobody is there whose requests could end.
    let _ = std::fs::remove_file(&path);
    Ok(())
}

/// The workers of a table.
struct Ways {
    kept: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    revision: Option<u64>,
    workers: HashMap<(Option<Ipv4Addr>, u16), Arc<Worker>>,
}

impl Ways {
    fn new(kept: PathBuf) -> Self {
        Self {
            kept,
            state: Mutex::default(),
        }
    }

    /// With the last table, if there is one.
    fn go_on(&self) {
        let Ok(bytes) = std::fs::read(&self.kept) else {
            return;
        };
        match serde_json::from_slice::<Table>(&bytes) {
            Ok(table) => {
                tracing::info!(revision = table.revision, "going on with the last table");
                self.apply(&table);
            }
            Err(error) => tracing::warn!(%error, "the last table cannot be read"),
        }
    }

    fn apply(&self, table: &Table) {
        let mut state = crate::http::lock(&self.state);
        let mut before = std::mem::take(&mut state.workers);
        for way in &table.ways {
            let place = way.place();
            let worker = before.remove(&place).unwrap_or_else(|| match place.0 {
                Some(_) => Worker::unbound_one(CLIENTS_MAX),
                None => Worker::new(Ipv4Addr::UNSPECIFIED.into(), CLIENTS_MAX),
            });
            worker.apply(&way.table);
            state.workers.insert(place, worker);
        }
        state.revision = Some(table.revision);
        for worker in before.into_values() {
            tokio::spawn(async move { tokio::time::timeout(DRAIN, worker.drain()).await });
        }
    }

    fn applied(&self) -> Option<Event> {
        let state = crate::http::lock(&self.state);
        let unbound = state.workers.values().flat_map(|worker| worker.unbound());
        Some(Event::Applied {
            revision: state.revision?,
            unbound: unbound.collect(),
        })
    }

    /// Of what the task's programs ask; what comes from outside is counted where it was asked.
    fn counts(&self) -> Event {
        let state = crate::http::lock(&self.state);
        let outward = state.workers.iter().filter(|((name, _), _)| name.is_some());
        let mut all: BTreeMap<String, Counts> = BTreeMap::new();
        for (_, worker) in outward {
            let name = worker.routes().load_balancer.clone();
            all.entry(name).or_default().add(&worker.counts());
        }
        Event::Counts(all)
    }

    fn tick(&self) {
        let state = crate::http::lock(&self.state);
        state.workers.values().for_each(|worker| worker.tick());
    }

    fn of(&self, place: SocketAddrV4) -> Option<Arc<Worker>> {
        let state = crate::http::lock(&self.state);
        state
            .workers
            .get(&(Some(*place.ip()), place.port()))
            .cloned()
    }
}

fn listen_for_programs() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, EGRESS_PORT).into())?;
    socket.listen(BACKLOG)
}

/// Takes what the task's programs sent to names, and gives it to who serves the name.
async fn accept(ways: Arc<Ways>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Ok(stream) = stream.into_std() {
                    bring(&ways, stream, peer).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                sleep(REST).await;
            }
        }
    }
}

async fn bring(ways: &Ways, stream: StdTcpStream, peer: SocketAddr) {
    // As it was before the kernel turned it to us.
    let Ok(place) = rustix::net::sockopt::ip_original_dst(&stream) else {
        return;
    };
    match ways.of(place) {
        Some(worker) => worker.bring(stream, peer, place.port()).await,
        None => {
            // Nobody serves that: refused, as far as can be.
            let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
        }
    }
}

/// Serves one agent until it leaves.
async fn serve(ways: Arc<Ways>, stream: UnixStream) {
    let (reader, mut writer) = stream.into_split();
    let mut frames = Frames::new(reader);
    let served: io::Result<()> = async {
        if let Some(applied) = ways.applied() {
            write(&mut writer, &applied).await?;
        }
        while let Some(command) = frames.next::<Command>().await? {
            match command {
                Command::Table(table) => {
                    ways.apply(&table);
                    keep_file(&ways.kept, &table);
                    if let Some(applied) = ways.applied() {
                        write(&mut writer, &applied).await?;
                    }
                }
                Command::Count => write(&mut writer, &ways.counts()).await?,
            }
        }
        Ok(())
    }
    .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an agent left");
    }
}
