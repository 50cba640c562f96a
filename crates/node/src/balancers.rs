//! Load balancer processes of this host: one `fogbank alb` for every load balancer's interface that it carries.
//!
//! The agent calls [`Balancers::update`] after each snapshot that it has applied to the network. For each interface a
//! keeper task sees to it that a process runs in the interface's namespace, gives it its table, and writes down what it
//! says of targets. What must stay true: a process outlives the agent and is taken over by the next one, by its pid
//! file and socket; it is ended only when its interface is gone.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use fogbank_edge::http::remote::{Node, RemoteError};
use fogbank_edge::http::{self, Event, Table};
use fogbank_net::apply::in_namespace;
use fogbank_net::eni_namespace;
use fogbank_store::{Op, Store, Txn};
use fogbank_types::ec2::{Eni, EniOwner, ZoneFaultKind};
use fogbank_types::status::{LoadBalancerNodeStatus, TargetHealth};
use fogbank_types::{EniId, RegionConfig, Row, Snapshot};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::delivery::Delivery;
use crate::meters::Meters;
use crate::pid_file::{Living, PidFile, started_with};

/// A process that was just started needs this long to open its socket, and is asked this often.
const CONNECT_RETRY: Duration = Duration::from_millis(2);
const CONNECT_ATTEMPTS: u32 = 1000;
/// Pause before a process is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(50);
/// A process is asked this often whether it still serves, and replaced when it left so many questions open: it is
/// stopped or hangs.
const PING: Duration = Duration::from_secs(2);
const PINGS_UNANSWERED_MAX: u32 = 5;
/// How long a process may drain when its interface is gone.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Why a load balancer process cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum BalancerError {
    #[error("start the load balancer process of {eni}")]
    Start { eni: EniId, source: io::Error },
    #[error("write down the load balancer process of {eni}")]
    PidFile {
        eni: EniId,
        source: crate::pid_file::PidFileError,
    },
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("the load balancer process of {eni} does not answer")]
    Stuck { eni: EniId },
}

/// See the module.
pub struct Balancers {
    config: Arc<RegionConfig>,
    /// `region.json`, which the processes read too.
    config_path: PathBuf,
    store: Arc<dyn Store>,
    meters: Meters,
    keepers: HashMap<EniId, Keeper>,
    delivery: Delivery,
}

struct Keeper {
    eni: Arc<Eni>,
    tables: watch::Sender<Table>,
    task: JoinHandle<()>,
}

impl Balancers {
    pub fn new(config: Arc<RegionConfig>, store: Arc<dyn Store>, meters: Meters) -> Self {
        let config_path = config.run_dir.join("region.json");
        Self {
            config,
            config_path,
            store,
            meters,
            keepers: HashMap::new(),
            delivery: Delivery::default(),
        }
    }

    /// What tells whether the processes have the last tables.
    pub fn delivery(&self) -> Delivery {
        self.delivery.clone()
    }

    /// Starts, feeds and ends processes so that they are those of the snapshot. Returns at once; must be called within
    /// a tokio runtime.
    pub fn update(&mut self, snapshot: &Snapshot) {
        let mut wanted: HashMap<EniId, (Arc<Eni>, Table)> = HashMap::new();
        for eni in snapshot.enis.all() {
            let ours = eni.host.as_deref() == Some(self.config.host.as_str());
            if ours
                && matches!(eni.owner, EniOwner::LoadBalancer(_))
                && !is_dark(snapshot, &eni.zone)
                && let Some(table) = http::compile(snapshot, &eni.eni_id, self.config.speed)
            {
                wanted.insert(eni.eni_id.clone(), (eni.clone(), table));
            }
        }
        let gone: Vec<EniId> = self
            .keepers
            .keys()
            .filter(|id| !wanted.contains_key(*id))
            .cloned()
            .collect();
        for id in gone {
            self.meters.gone(&id);
            if let Some(keeper) = self.keepers.remove(&id) {
                match snapshot.zone_fault(&keeper.eni.zone) {
                    // It runs on, but nobody hears of it: the keeper ends with its tables.
                    Some(ZoneFaultKind::Isolated) => drop(keeper),
                    // Without power nobody drains.
                    Some(ZoneFaultKind::Failed) => self.end(keeper, Duration::ZERO),
                    _ => self.end(keeper, STOP_PATIENCE),
                }
            }
        }
        self.delivery.only(|id| wanted.contains_key(id));
        for (id, (eni, table)) in wanted {
            match self.keepers.get(&id) {
                Some(keeper) => {
                    keeper.tables.send_if_modified(|old| {
                        let changed = !same_but_revision(old, &table);
                        if changed {
                            self.delivery.begun(&id);
                            *old = table;
                        }
                        changed
                    });
                }
                None => self.begin(eni, table),
            }
        }
        self.delivery.know();
        self.forget_stale_rows(snapshot);
    }

    fn begin(&mut self, eni: Arc<Eni>, table: Table) {
        self.delivery.begun(&eni.eni_id);
        let (tables, receiver) = watch::channel(table);
        let one = One {
            config: self.config.clone(),
            config_path: self.config_path.clone(),
            store: self.store.clone(),
            meters: self.meters.clone(),
            delivery: self.delivery.clone(),
            eni: eni.clone(),
            child: None,
            predecessor: None,
        };
        let task = tokio::spawn(one.keep(receiver));
        self.keepers
            .insert(eni.eni_id.clone(), Keeper { eni, tables, task });
    }

    /// The keeper ends by itself when nobody has tables for it any more: cut off in the midst of a start it would leave a
    /// process that nobody knows of.
    fn end(&self, keeper: Keeper, patience: Duration) {
        let config = self.config.clone();
        tokio::spawn(async move {
            drop(keeper.tables);
            // A keeper that panicked has ended as well.
            let _ = keeper.task.await;
            stop(&config, keeper.eni.eni_id.as_str(), patience).await;
        });
    }

    /// With the first snapshot, before anything is reported: ends processes that no row asks for, and forgets what
    /// processes that live no more said of their targets, so that nobody takes yesterday's verdict for today's.
    pub async fn take_over(&self, snapshot: &Snapshot) {
        for id in running(&self.config) {
            let known = snapshot.enis.all().any(|eni| eni.eni_id.as_str() == id);
            if !known {
                let config = self.config.clone();
                tokio::spawn(async move { stop(&config, &id, STOP_PATIENCE).await });
            }
        }
        let mut alive = HashSet::new();
        for id in running(&self.config) {
            if living(&self.config, &id).await.is_some() {
                alive.insert(id);
            }
        }
        let lives = |id: &EniId| alive.contains(id.as_str());
        let health = snapshot.target_health.all();
        let nodes = snapshot.load_balancer_nodes.all();
        let stale: Vec<Op> = health
            .filter(|row| !lives(&row.eni_id))
            .map(|row| Op::delete(row.key()))
            .chain(
                nodes
                    .filter(|row| !lives(&row.eni_id))
                    .map(|row| Op::delete(row.key())),
            )
            .collect();
        if !stale.is_empty()
            && let Err(error) = self.store.txn(Txn::of(stale)).await
        {
            tracing::warn!(%error, "verdicts of load balancer nodes that are gone were not removed");
        }
    }

    /// Verdicts of nodes that are gone, or on groups that their node serves no more.
    fn forget_stale_rows(&self, snapshot: &Snapshot) {
        let serves = |row: &TargetHealth| {
            self.keepers.get(&row.eni_id).is_some_and(|keeper| {
                let table = keeper.tables.borrow();
                table
                    .target_groups
                    .iter()
                    .any(|group| group.id == row.target_group_arn)
            })
        };
        let lives = |id: &EniId| {
            let mut enis = snapshot.enis.all();
            enis.any(|eni| eni.eni_id == *id && !is_dark(snapshot, &eni.zone))
        };
        let mut stale: Vec<Op> = snapshot
            .target_health
            .all()
            .filter(|row| !serves(row))
            .map(|row| Op::delete(row.key()))
            .collect();
        stale.extend(
            snapshot
                .load_balancer_nodes
                .all()
                .filter(|row| !lives(&row.eni_id))
                .map(|row| Op::delete(row.key())),
        );
        if stale.is_empty() {
            return;
        }
        let store = self.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.txn(Txn::of(stale)).await {
                tracing::warn!(%error, "verdicts of load balancer nodes that are gone were not removed");
            }
        });
    }
}

fn same_but_revision(a: &Table, b: &Table) -> bool {
    let mut b = b.clone();
    b.revision = a.revision;
    *a == b
}

/// Ids of interfaces that have a process, or had one: it is written down, or has a socket.
fn running(config: &RegionConfig) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(folder(config)) else {
        return BTreeSet::new();
    };
    let id = |name: &str| {
        let id = name.strip_suffix(".pid").or(name.strip_suffix(".sock"));
        id.map(str::to_owned)
    };
    entries
        .flatten()
        .filter_map(|entry| id(entry.file_name().to_str()?))
        .collect()
}

/// The process of an interface: the one written down, or the one that listens in its place because its agent was killed
/// between starting it and writing it down. A second one would never get the ports of the first.
async fn living(config: &RegionConfig, eni_id: &str) -> Option<Living> {
    let file = PidFile::new(&folder(config), eni_id);
    if let Some(living) = file.living() {
        return Some(living);
    }
    let stream = UnixStream::connect(http::socket_path(&config.run_dir, eni_id))
        .await
        .ok()?;
    let pid = stream.peer_cred().ok()?.pid()?;
    if let Err(error) = file.write(pid) {
        tracing::warn!(%error, eni_id, "a load balancer process cannot be written down");
    }
    file.living()
}

fn folder(config: &RegionConfig) -> PathBuf {
    config.run_dir.join("alb")
}

/// Whether the operator cut the zone off (`fogbank zone fail|isolate`): then nothing is heard from it.
fn is_dark(snapshot: &Snapshot, zone: &str) -> bool {
    let fault = snapshot.zone_fault(zone);
    matches!(fault, Some(ZoneFaultKind::Failed | ZoneFaultKind::Isolated))
}

/// Ends one process: SIGTERM, time to drain, SIGKILL. Its files go too.
async fn stop(config: &RegionConfig, eni_id: &str, patience: Duration) {
    let file = PidFile::new(&folder(config), eni_id);
    if let Some(living) = living(config, eni_id).await {
        let kill_now = patience.is_zero();
        let terminated = if kill_now {
            living.kill()
        } else {
            living.terminate()
        };
        let drained = async {
            while living.is_alive() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let patience = if kill_now { STOP_PATIENCE } else { patience };
        let kill = terminated.is_err() || tokio::time::timeout(patience, drained).await.is_err();
        if kill && let Err(error) = living.kill() {
            tracing::warn!(%error, eni_id, "a load balancer process cannot be ended");
        }
    }
    // Those that still drain after a hand-over.
    let config_path = config.run_dir.join("region.json");
    for draining in started_with(&[
        "alb",
        "--config",
        &config_path.to_string_lossy(),
        "--eni",
        eni_id,
    ]) {
        // Gone already is what we want.
        let _ = draining.kill();
    }
    file.remove();
    for path in [
        folder(config).join(format!("{eni_id}.handover")),
        http::socket_path(&config.run_dir, eni_id),
        http::table_path(&config.run_dir, eni_id),
        folder(config).join(format!("{eni_id}.log")),
    ] {
        // Absent is what we want.
        let _ = std::fs::remove_file(path);
    }
}

/// Ends every load balancer process of this instance. For `fogbank up` when the region goes down.
pub async fn teardown(config: &RegionConfig) {
    let stops = running(config).into_iter().map(|id| {
        let config = config.clone();
        tokio::spawn(async move { stop(&config, &id, STOP_PATIENCE).await })
    });
    for stopping in stops.collect::<Vec<_>>() {
        // It logs what goes wrong; there is nothing more to do about it.
        let _ = stopping.await;
    }
    // An agent that was stopped while it started one may not have written it down.
    let config_path = config.run_dir.join("region.json");
    let config_path = config_path.to_string_lossy();
    let mut unwritten = started_with(&["alb", "--config", &config_path]);
    for living in &unwritten {
        if let Err(error) = living.kill() {
            tracing::warn!(%error, "a load balancer process cannot be ended");
        }
    }
    let ended = async {
        while !unwritten.is_empty() {
            unwritten.retain(|living| living.is_alive());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    // A killed process is gone in no time; the region does not hang on one that is not.
    let _ = tokio::time::timeout(STOP_PATIENCE, ended).await;
    let _ = std::fs::remove_dir_all(folder(config));
}

/// The keeper of one process.
struct One {
    config: Arc<RegionConfig>,
    config_path: PathBuf,
    store: Arc<dyn Store>,
    meters: Meters,
    delivery: Delivery,
    eni: Arc<Eni>,
    /// If this agent started it: to be reaped.
    child: Option<Child>,
    /// The process of an earlier program, while it hands over and drains.
    predecessor: Option<Living>,
}

impl One {
    /// Ends when the sender of tables is gone, but never in the midst of a start.
    async fn keep(mut self, mut tables: watch::Receiver<Table>) {
        let mut last = tables.clone();
        loop {
            let served = match self.ensure_process().await {
                Err(error) => Err(error),
                Ok(()) => tokio::select! {
                    served = self.serve(&mut tables) => served,
                    () = gone(&mut last) => return,
                },
            };
            if let Err(error) = served {
                tracing::warn!(eni = %self.eni.eni_id, %error, "a load balancer process is away");
                if matches!(error, BalancerError::Stuck { .. }) {
                    self.kill().await;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(RESTART_PAUSE) => {}
                () = gone(&mut last) => return,
            }
        }
    }

    /// Returns when the process leaves, cannot be reached, or does not answer.
    async fn serve(&self, tables: &mut watch::Receiver<Table>) -> Result<(), BalancerError> {
        let mut node = self.connect().await?;
        let (mut asked, mut stored) = (self.meters.asked(), self.meters.stored());
        let (mut period, mut unanswered) = (*asked.borrow(), 0);
        // Questions and answers come in order: who answered the question after a table has that table.
        let mut open = 0_u32;
        let mut pings = tokio::time::interval(PING);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pushed = self.push(&mut node, tables).await?;
        open += 1;
        loop {
            tokio::select! {
                changed = tables.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    pushed = self.push(&mut node, tables).await?;
                    open += 1;
                }
                event = node.next_event() => {
                    unanswered = 0;
                    let event = event?;
                    if matches!(event, Event::Counts(_)) {
                        open = open.saturating_sub(1);
                        if open == 0 {
                            self.delivery.done(&self.eni.eni_id, pushed);
                        }
                    }
                    self.take(event, period).await;
                }
                Ok(()) = asked.changed() => {
                    period = *asked.borrow_and_update();
                    node.ask_report().await?;
                }
                Ok(()) = stored.changed() => {
                    let period = *stored.borrow_and_update();
                    if self.meters.has_report(&self.eni.eni_id, period) {
                        node.reported().await?;
                    }
                }
                _ = pings.tick() => {
                    if unanswered == PINGS_UNANSWERED_MAX {
                        return Err(BalancerError::Stuck { eni: self.eni.eni_id.clone() });
                    }
                    unanswered += 1;
                    open += 1;
                    node.ask_counts().await?;
                }
            }
        }
    }

    /// Gives the number of the table, by which its delivery is known.
    async fn push(
        &self,
        node: &mut Node,
        tables: &mut watch::Receiver<Table>,
    ) -> Result<u64, BalancerError> {
        // Before the table is looked at: it is this one or a newer one.
        let number = self.delivery.number(&self.eni.eni_id);
        let table = tables.borrow_and_update().clone();
        self.meters
            .serves(&self.eni.eni_id, &self.eni.scope, &table);
        // A process that is stopped takes nothing in; the socket's buffer is smaller than a table may be.
        let push = async {
            node.push(&table).await?;
            node.ask_counts().await
        };
        match tokio::time::timeout(PING * PINGS_UNANSWERED_MAX, push).await {
            Ok(pushed) => Ok(pushed.map(|()| number)?),
            Err(_) => Err(BalancerError::Stuck {
                eni: self.eni.eni_id.clone(),
            }),
        }
    }

    async fn take(&self, event: Event, period: u64) {
        let eni = &self.eni.eni_id;
        match event {
            Event::Counts(total) => self.meters.heard_counts(eni, *total),
            Event::Report(unreported) => self.meters.heard_report(eni, period, *unreported),
            event => {
                if let Event::Health(groups) = &event {
                    self.meters.heard_health(eni, groups);
                }
                self.write_down(event).await;
            }
        }
    }

    /// A process that does not answer can't be asked to end.
    async fn kill(&self) {
        if let Some(living) = living(&self.config, self.eni.eni_id.as_str()).await {
            if let Err(error) = living.kill() {
                tracing::error!(eni = %self.eni.eni_id, %error, "a load balancer process that hangs cannot be ended");
            }
            let gone = async {
                while living.is_alive() {
                    tokio::time::sleep(RESTART_PAUSE).await;
                }
            };
            // The next look starts another.
            let _ = tokio::time::timeout(STOP_PATIENCE, gone).await;
        }
    }

    async fn connect(&self) -> Result<Node, BalancerError> {
        let path = http::socket_path(&self.config.run_dir, self.eni.eni_id.as_str());
        let mut attempt = 0;
        loop {
            match Node::connect(&path).await {
                Ok(node) => return Ok(node),
                Err(error) if attempt >= CONNECT_ATTEMPTS => return Err(error.into()),
                Err(_) => {
                    attempt += 1;
                    tokio::time::sleep(CONNECT_RETRY).await;
                }
            }
        }
    }

    async fn ensure_process(&mut self) -> Result<(), BalancerError> {
        let file = PidFile::new(&folder(&self.config), self.eni.eni_id.as_str());
        if let Some(child) = &mut self.child {
            // Reaps it if it has ended; an error means that it is not ours to wait for.
            let _ = child.try_wait();
        }
        if let Some(living) = living(&self.config, self.eni.eni_id.as_str()).await {
            if !is_of_other_program(living.pid) {
                return Ok(());
            }
            // Its successor gets the listening sockets from it (docs/decisions/0017-handover.md).
            tracing::info!(eni = %self.eni.eni_id, pid = living.pid, "a load balancer process is upgraded");
            self.predecessor = Some(living);
        }
        let start = |source| BalancerError::Start {
            eni: self.eni.eni_id.clone(),
            source,
        };
        let namespace = eni_namespace(&self.config, &self.eni.eni_id);
        let (config, config_path, id) = (
            self.config.clone(),
            self.config_path.clone(),
            self.eni.eni_id.clone(),
        );
        let spawned = tokio::task::spawn_blocking(move || {
            let log = open_log(&config, id.as_str())?;
            in_namespace(&namespace, || spawn(&config_path, &id, &log))?
        })
        .await
        .map_err(|error| start(io::Error::other(error)))?
        .map_err(start)?;
        file.write(spawned.id() as i32)
            .map_err(|source| BalancerError::PidFile {
                eni: self.eni.eni_id.clone(),
                source,
            })?;
        self.child = Some(spawned);
        Ok(())
    }

    /// Puts what the process says into its rows. A store that is away is no reason to stop serving: all is said again
    /// on the next connection.
    async fn write_down(&self, event: Event) {
        let ops = match event {
            Event::Applied { revision, unbound } => {
                if !unbound.is_empty() {
                    tracing::warn!(eni = %self.eni.eni_id, ?unbound, "ports that cannot be listened on");
                    // It did not hand them over: it is stuck.
                    if let Some(Err(error)) = self.predecessor.as_ref().map(Living::kill) {
                        tracing::error!(eni = %self.eni.eni_id, %error, "an earlier process keeps its ports");
                    }
                }
                vec![put(&LoadBalancerNodeStatus {
                    scope: self.eni.scope.clone(),
                    eni_id: self.eni.eni_id.clone(),
                    applied: revision,
                })]
            }
            Event::Health(groups) => groups
                .into_iter()
                .map(|group| {
                    put(&TargetHealth {
                        scope: self.eni.scope.clone(),
                        target_group_arn: group.target_group,
                        eni_id: self.eni.eni_id.clone(),
                        targets: group.targets,
                    })
                })
                .collect(),
            Event::Counts(_) | Event::Report(_) => return,
        };
        // While control restarts the rows wait here; the process goes on serving meanwhile.
        while let Err(error) = self.store.txn(Txn::of(ops.clone())).await {
            tracing::debug!(%error, "the store is away");
            tokio::time::sleep(RESTART_PAUSE).await;
        }
    }
}

/// The program's file was replaced since that process started.
fn is_of_other_program(pid: i32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let file = |path: String| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    match (
        file(format!("/proc/{pid}/exe")),
        file("/proc/self/exe".to_owned()),
    ) {
        (Some(its), Some(ours)) => its != ours,
        _ => false,
    }
}

/// Waits until nobody has tables any more.
async fn gone(tables: &mut watch::Receiver<Table>) {
    while tables.changed().await.is_ok() {}
}

fn put<T: Row>(row: &T) -> Op {
    let value = serde_json::to_vec(row).expect("rows are plain data and always encode");
    Op::put(row.key(), value)
}

fn open_log(config: &RegionConfig, eni_id: &str) -> io::Result<File> {
    let folder = folder(config);
    std::fs::create_dir_all(&folder)?;
    File::options()
        .create(true)
        .append(true)
        .open(folder.join(format!("{eni_id}.log")))
}

/// Must run in the interface's namespace: the child inherits it.
fn spawn(config_path: &Path, eni_id: &EniId, log: &File) -> io::Result<Child> {
    use std::os::unix::process::CommandExt;
    // The program as it is, also if its file was replaced meanwhile.
    Command::new("/proc/self/exe")
        .arg0("fogbank")
        .arg("alb")
        .arg("--config")
        .arg(config_path)
        .arg("--eni")
        .arg(eni_id.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.try_clone()?)
        // Signals of a terminal are for the supervisor.
        .process_group(0)
        .spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_was_not_written_down_is_known_by_its_socket() {
        let run = tempfile::tempdir().unwrap();
        let config = RegionConfig {
            instance: "test".to_owned(),
            host: "h".to_owned(),
            data_dir: run.path().to_path_buf(),
            run_dir: run.path().to_path_buf(),
            endpoint: ([127, 0, 0, 1], 0).into(),
            dns: ([127, 0, 0, 1], 0).into(),
            account: "000000000000".to_owned(),
            public_cidr: "198.18.0.0/16".parse().unwrap(),
            public_cidr_v6: "2001:2::/48".parse().unwrap(),
            quotas: Default::default(),
            internet: fogbank_types::InternetAccess::None,
            speed: 1.0,
            metrics: None,
            geography: None,
            tls_resolvers: Vec::new(),
            request_rates: false,
            auth: fogbank_types::AuthMode::Off,
            tls: None,
            ephemeral: true,
        };
        std::fs::create_dir(folder(&config)).unwrap();
        let path = http::socket_path(&config.run_dir, "eni-1");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let own = std::process::id() as i32;
        assert_eq!(living(&config, "eni-1").await.map(|l| l.pid), Some(own));
        assert_eq!(running(&config), BTreeSet::from(["eni-1".to_owned()]));
        // From now on its socket is not needed.
        std::fs::remove_file(&path).unwrap();
        assert_eq!(living(&config, "eni-1").await.map(|l| l.pid), Some(own));
        // Nobody behind a socket, nobody written down.
        PidFile::new(&folder(&config), "eni-1").remove();
        let stale = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop((listener, stale));
        assert!(living(&config, "eni-1").await.is_none());
    }
}
