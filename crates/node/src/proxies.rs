//! Service Connect's proxies of this host: one `fogbank connect` for every task whose service has it (decision 0027).
//!
//! The agent calls [`Proxies::update`] after each snapshot that it has applied to the network, and [`Proxies::end`] before
//! that. For each task a keeper sees to it that a proxy runs in its namespace and has the newest table. What must stay
//! true: a proxy runs before its task's containers do, outlives the agent and is taken over by the next one, and ends with
//! its task.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fogbank_edge::connect::remote::{Event, Proxy, RemoteError};
use fogbank_edge::connect::{Answerers, Table, socket_path, table_path};
use fogbank_edge::http::Counts;
use fogbank_net::apply::in_namespace;
use fogbank_net::eni_namespace;
use fogbank_types::ec2::ZoneFaultKind;
use fogbank_types::ecs::Task;
use fogbank_types::{RegionConfig, Snapshot};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::pid_file::{Living, PidFile, PidFileError, started_with};

/// A proxy that was just started needs this long to open its socket, and is asked this often.
const CONNECT_RETRY: Duration = Duration::from_millis(2);
const CONNECT_ATTEMPTS: u32 = 1000;
/// Pause before a proxy is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(20);
/// A proxy is asked this often whether it still serves, and replaced when it left so many questions open.
const PING: Duration = Duration::from_secs(2);
const PINGS_UNANSWERED_MAX: u32 = 5;
/// A killed process is gone in no time.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
enum ProxyError {
    #[error("start the proxy")]
    Start(#[source] io::Error),
    #[error("write down the proxy")]
    PidFile(#[from] PidFileError),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("the proxy does not answer")]
    Stuck,
}

/// Tasks whose proxies serve their first table: their containers may start.
pub type Ready = watch::Receiver<BTreeSet<String>>;

/// By discovery name.
pub type ByName = BTreeMap<String, Counts>;

/// What proxies have counted, by their tasks.
#[derive(Clone, Default)]
pub struct Tallies(Arc<Mutex<HashMap<String, Tally>>>);

#[derive(Default)]
struct Tally {
    total: ByName,
    reported: ByName,
    /// Its proxy has ended.
    is_over: bool,
}

impl Tallies {
    /// What has come since it was last asked.
    pub fn take(&self) -> HashMap<String, ByName> {
        let mut tallies = self.lock();
        let unreported = tallies.iter_mut().map(|(task, tally)| {
            let nothing = Counts::default();
            let since = |(name, total): (&String, &Counts)| {
                let reported = tally.reported.get(name).unwrap_or(&nothing);
                (name.clone(), total.since(reported))
            };
            let unreported = tally.total.iter().map(since).collect();
            tally.reported = tally.total.clone();
            (task.clone(), unreported)
        });
        let unreported = unreported.collect();
        tallies.retain(|_, tally| !tally.is_over);
        unreported
    }

    /// What a proxy that an earlier agent started counted until its first word was reported then, or is lost.
    fn heard(&self, task: &str, total: ByName, is_own: bool) {
        let mut tallies = self.lock();
        let tally = tallies.entry(task.to_owned()).or_insert_with(|| Tally {
            reported: if is_own { ByName::new() } else { total.clone() },
            ..Tally::default()
        });
        tally.total = total;
    }

    fn over(&self, task: &str) {
        if let Some(tally) = self.lock().get_mut(task) {
            tally.is_over = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Tally>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub struct Proxies {
    config: Arc<RegionConfig>,
    tallies: Tallies,
    keepers: HashMap<String, Keeper>,
    ready: Arc<watch::Sender<BTreeSet<String>>>,
}

struct Keeper {
    tables: watch::Sender<Table>,
    task: JoinHandle<()>,
}

impl Proxies {
    pub fn new(config: Arc<RegionConfig>) -> Self {
        Self {
            config,
            tallies: Tallies::default(),
            keepers: HashMap::new(),
            ready: Arc::new(watch::channel(BTreeSet::new()).0),
        }
    }

    pub fn tallies(&self) -> Tallies {
        self.tallies.clone()
    }

    pub fn ready(&self) -> Ready {
        self.ready.subscribe()
    }

    /// With the first snapshot: ends proxies that no task has.
    pub fn take_over(&self, snapshot: &Snapshot) {
        let here: BTreeSet<String> = self.local(snapshot).map(|task| task.id.clone()).collect();
        for id in written_down(&self.config) {
            if !here.contains(&id) {
                end(&self.config, &id);
            }
        }
    }

    /// Tasks of this host that are not over and have a proxy.
    fn local<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = &'a Arc<Task>> {
        snapshot.tasks.all().filter(|task| {
            task.host == self.config.host
                && task.stopped_at.is_none()
                && snapshot.zone_fault(&task.zone) != Some(ZoneFaultKind::Failed)
                && snapshot
                    .enis
                    .get(&task.scope, &task.eni_id)
                    .is_some_and(|eni| eni.service_connect)
        })
    }

    /// Ends the proxies of tasks that are over. Their interfaces go next.
    pub fn end(&mut self, snapshot: &Snapshot) {
        if self.keepers.is_empty() {
            return;
        }
        let here: BTreeSet<&String> = self.local(snapshot).map(|task| &task.id).collect();
        let over = self.keepers.keys().filter(|id| !here.contains(id));
        for id in over.cloned().collect::<Vec<_>>() {
            self.ready.send_modify(|ready| {
                ready.remove(&id);
            });
            end(&self.config, &id);
            self.tallies.over(&id);
            if let Some(keeper) = self.keepers.remove(&id) {
                let config = self.config.clone();
                // The keeper ends by itself when nobody has tables for it any more, and may have been in the midst of a start.
                tokio::spawn(async move {
                    drop(keeper.tables);
                    // A keeper that panicked has ended as well.
                    let _ = keeper.task.await;
                    end(&config, &id);
                });
            }
        }
    }

    /// Starts and feeds proxies so that they are those of the snapshot. Returns at once; must be called within a tokio
    /// runtime.
    pub fn update(&mut self, snapshot: &Snapshot) {
        let tasks: Vec<Arc<Task>> = self.local(snapshot).cloned().collect();
        if tasks.is_empty() {
            return;
        }
        let answerers = Answerers::of(snapshot, self.config.speed);
        for task in tasks {
            // Cut off: what it knew is all it knows.
            let is_cut_off = snapshot.zone_fault(&task.zone).is_some_and(isolates);
            let Some(table) = Table::of(snapshot, &task, &answerers) else {
                continue;
            };
            match self.keepers.get(&task.id) {
                Some(_) if is_cut_off => {}
                Some(keeper) => {
                    keeper.tables.send_if_modified(|old| {
                        let changed = old.ways != table.ways;
                        if changed {
                            *old = table;
                        }
                        changed
                    });
                }
                None => self.begin(&task, table),
            }
        }
    }

    fn begin(&mut self, task: &Task, table: Table) {
        let (tables, receiver) = watch::channel(table);
        let one = One {
            config: self.config.clone(),
            id: task.id.clone(),
            namespace: eni_namespace(&self.config, &task.eni_id),
            ready: self.ready.clone(),
            tallies: self.tallies.clone(),
            child: None,
        };
        let keeper = tokio::spawn(one.keep(receiver));
        self.keepers.insert(
            task.id.clone(),
            Keeper {
                tables,
                task: keeper,
            },
        );
    }
}

fn isolates(kind: ZoneFaultKind) -> bool {
    matches!(kind, ZoneFaultKind::Isolated | ZoneFaultKind::Failed)
}

fn folder(config: &RegionConfig) -> PathBuf {
    config.run_dir.join("connect")
}

/// Ids of tasks that have a proxy, or had one.
fn written_down(config: &RegionConfig) -> BTreeSet<String> {
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

/// What a proxy of this instance is started with; its task's id follows.
fn arguments(config: &RegionConfig) -> [String; 4] {
    let config = config.run_dir.join("region.json");
    let config = config.to_string_lossy().into_owned();
    [
        "connect".to_owned(),
        "--config".to_owned(),
        config,
        "--task".to_owned(),
    ]
}

/// Ends a proxy at once, and removes its files.
fn end(config: &RegionConfig, id: &str) {
    let file = PidFile::new(&folder(config), id);
    let arguments = arguments(config);
    let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    words.push(id);
    let living = match file.living() {
        Some(living) => vec![living],
        // An agent that was killed may not have written it down.
        None => started_with(&words),
    };
    for proxy in living {
        if let Err(error) = proxy.kill() {
            tracing::warn!(%error, id, "a proxy cannot be ended");
        }
    }
    file.remove();
    for path in [
        socket_path(&config.run_dir, id),
        table_path(&config.run_dir, id),
        folder(config).join(format!("{id}.log")),
    ] {
        // Absent is what we want.
        let _ = std::fs::remove_file(path);
    }
}

/// Ends every proxy of this instance. For `fogbank up` when the region goes down, when the tasks have ended.
pub fn teardown(config: &RegionConfig) {
    let arguments = arguments(config);
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    for proxy in started_with(&words) {
        if let Err(error) = proxy.kill() {
            tracing::warn!(%error, "a proxy cannot be ended");
        }
    }
    let _ = std::fs::remove_dir_all(folder(config));
}

/// The keeper of one proxy.
struct One {
    config: Arc<RegionConfig>,
    id: String,
    namespace: PathBuf,
    ready: Arc<watch::Sender<BTreeSet<String>>>,
    tallies: Tallies,
    /// If this agent started it: to be reaped.
    child: Option<Child>,
}

impl One {
    async fn keep(mut self, mut tables: watch::Receiver<Table>) {
        // An error: nobody has tables any more.
        while tables.has_changed().is_ok() {
            let served = match self.ensure_process().await {
                Ok(()) => self.serve(&mut tables).await,
                Err(error) => Err(error),
            };
            match served {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(
                        task = self.id,
                        error = crate::task::chain(&error),
                        "a proxy is away"
                    );
                    if matches!(error, ProxyError::Stuck) {
                        self.kill().await;
                    }
                }
            }
            tokio::time::sleep(RESTART_PAUSE).await;
        }
    }

    async fn serve(&self, tables: &mut watch::Receiver<Table>) -> Result<(), ProxyError> {
        let mut proxy = self.connect().await?;
        let mut pings = tokio::time::interval(PING);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unanswered = 0;
        let mut pushed = self.push(&mut proxy, tables).await?;
        loop {
            tokio::select! {
                changed = tables.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    pushed = self.push(&mut proxy, tables).await?;
                }
                event = proxy.next_event() => {
                    unanswered = 0;
                    match event? {
                        Event::Counts(total) => {
                            self.tallies.heard(&self.id, total, self.child.is_some());
                        }
                        Event::Applied { revision, unbound } => {
                            if !unbound.is_empty() {
                                tracing::warn!(task = self.id, ?unbound, "ports that cannot be listened on");
                            }
                            if revision == pushed {
                                self.ready.send_if_modified(|ready| ready.insert(self.id.clone()));
                            }
                        }
                    }
                }
                _ = pings.tick() => {
                    if unanswered == PINGS_UNANSWERED_MAX {
                        return Err(ProxyError::Stuck);
                    }
                    unanswered += 1;
                    proxy.ask_counts().await?;
                }
            }
        }
    }

    async fn push(
        &self,
        proxy: &mut Proxy,
        tables: &mut watch::Receiver<Table>,
    ) -> Result<u64, ProxyError> {
        let table = tables.borrow_and_update().clone();
        // A proxy that is stopped takes nothing in.
        match tokio::time::timeout(PING * PINGS_UNANSWERED_MAX, proxy.push(&table)).await {
            Ok(pushed) => pushed?,
            Err(_) => return Err(ProxyError::Stuck),
        }
        Ok(table.revision)
    }

    async fn connect(&self) -> Result<Proxy, ProxyError> {
        let path = socket_path(&self.config.run_dir, &self.id);
        let mut attempt = 0;
        loop {
            match Proxy::connect(&path).await {
                Ok(proxy) => return Ok(proxy),
                Err(error) if attempt >= CONNECT_ATTEMPTS => return Err(error.into()),
                Err(_) => {
                    attempt += 1;
                    tokio::time::sleep(CONNECT_RETRY).await;
                }
            }
        }
    }

    /// The proxy written down, or the one that listens in its place because its agent was killed between starting it and
    /// writing it down.
    async fn living(&self) -> Option<Living> {
        let file = PidFile::new(&folder(&self.config), &self.id);
        if let Some(living) = file.living() {
            return Some(living);
        }
        let stream = UnixStream::connect(socket_path(&self.config.run_dir, &self.id)).await;
        file.write(stream.ok()?.peer_cred().ok()?.pid()?).ok()?;
        file.living()
    }

    async fn ensure_process(&mut self) -> Result<(), ProxyError> {
        if let Some(child) = &mut self.child {
            // Reaps it if it has ended; an error means that it is not ours to wait for.
            let _ = child.try_wait();
        }
        if self.living().await.is_some() {
            return Ok(());
        }
        let (config, namespace, id) =
            (self.config.clone(), self.namespace.clone(), self.id.clone());
        let spawned = tokio::task::spawn_blocking(move || {
            let log = open_log(&config, &id)?;
            let child = in_namespace(&namespace, || spawn(&config, &id, &log))??;
            // At once: who comes after an agent that is killed here must find it.
            let written = PidFile::new(&folder(&config), &id).write(child.id() as i32);
            io::Result::Ok((child, written))
        });
        let spawned = spawned.await.map_err(io::Error::other);
        let (child, written) = spawned.flatten().map_err(ProxyError::Start)?;
        self.child = Some(child);
        Ok(written?)
    }

    /// A proxy that does not answer can't be asked to end.
    async fn kill(&self) {
        let Some(living) = self.living().await else {
            return;
        };
        if let Err(error) = living.kill() {
            tracing::error!(task = self.id, %error, "a proxy that hangs cannot be ended");
        }
        let gone = async {
            while living.is_alive() {
                tokio::time::sleep(RESTART_PAUSE).await;
            }
        };
        // The next look starts another.
        let _ = tokio::time::timeout(KILL_PATIENCE, gone).await;
    }
}

impl Drop for One {
    /// Killed a moment ago, if its task is over: no zombie stays until the agent's end.
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            std::thread::spawn(move || child.wait());
        }
    }
}

fn open_log(config: &RegionConfig, id: &str) -> io::Result<File> {
    let folder = folder(config);
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{id}.log"));
    File::options().create(true).append(true).open(path)
}

/// Must run in the task's namespace: the child inherits it.
fn spawn(config: &RegionConfig, id: &str, log: &File) -> io::Result<Child> {
    use std::os::unix::process::CommandExt;
    // The program as it is, also if its file was replaced meanwhile.
    Command::new(Path::new("/proc/self/exe"))
        .arg0("fogbank")
        .args(arguments(config))
        .arg(id)
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

    fn counted(requests: u64) -> ByName {
        let mut counts = Counts::default();
        counts.node.requests = requests;
        ByName::from([("web".to_owned(), counts)])
    }

    fn taken(tallies: &Tallies) -> Option<u64> {
        let taken = tallies.take();
        Some(taken.get("task")?.get("web")?.node.requests)
    }

    #[test]
    fn every_count_is_taken_once() {
        let tallies = Tallies::default();
        tallies.heard("task", counted(5), true);
        tallies.heard("task", counted(7), true);
        assert_eq!(taken(&tallies), Some(7));
        assert_eq!(taken(&tallies), Some(0));
        tallies.heard("task", counted(8), true);
        tallies.over("task");
        assert_eq!(taken(&tallies), Some(1), "what it said last");
        assert_eq!(taken(&tallies), None);
    }

    #[test]
    fn what_an_earlier_agent_heard_is_not_told_again() {
        let tallies = Tallies::default();
        tallies.heard("task", counted(5), false);
        assert_eq!(taken(&tallies), Some(0));
        tallies.heard("task", counted(6), false);
        assert_eq!(taken(&tallies), Some(1));
        // A proxy that was killed begins anew.
        tallies.heard("task", counted(2), true);
        assert_eq!(taken(&tallies), Some(0));
    }
}
