//! The agent, `fogbank node`: follows the store, makes this host so, and reports.
//!
//! One loop: take all batches that are there, apply the newest snapshot to the network, then to the tasks and load
//! balancers, then report the revision. It takes no input but the rows. What must stay true: it keeps nothing that it
//! couldn't find again; when it ends, by a signal or a crash, the data plane goes on as it is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fogbank_net::{Applier, Change, Compiler, Program, compile};
use fogbank_pki::{SessionError, Sessions};
use fogbank_store::blob::{BlobError, BlobStore};
use fogbank_store::remote::Client;
use fogbank_store::{Batch, Follower, Store};
use fogbank_types::status::HostStatus;
use fogbank_types::{RegionConfig, Snapshot};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::abilities::{self, Abilities};
use crate::balancers::{self, Balancers};
use crate::endpoint::Endpoint;
use crate::flow_logs::FlowLogs;
use crate::ledger::{Ledger, LedgerError};
use crate::meters::{Meters, TaskMeters};
use crate::oci::{ImageCache, LayerError, LayerStore, Limits};
use crate::proxies::{self, Proxies};
use crate::reach::{self, Ask};
use crate::report::Reporter;
use crate::sandbox::{CgroupError, Hierarchies};
use crate::task::{self, Host, Spares, Tasks};

/// What the kernel refused is tried again this often.
const RETRY: Duration = Duration::from_secs(1);
/// How long the report of a revision waits for the processes of tasks whose rows it removed.
const VANISH_WAIT: Duration = Duration::from_millis(800);
/// From SIGTERM to SIGKILL when the region goes down.
const TEARDOWN_PATIENCE: Duration = Duration::from_secs(1);

/// Why the agent can't work.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("network")]
    Network(#[from] fogbank_net::ApplyError),
    #[error("blobs")]
    Blobs(#[from] BlobError),
    #[error("layers")]
    Layers(#[from] LayerError),
    #[error("ledger")]
    Ledger(#[from] LedgerError),
    #[error("sessions of roles")]
    Sessions(#[from] SessionError),
    #[error("cgroups")]
    Cgroups(#[from] CgroupError),
    #[error("wait for signals")]
    Signals(#[source] std::io::Error),
    #[error("tasks are not all ended: {0}")]
    Tasks(String),
}

/// Rows that the network is made of.
const NETWORK_KINDS: [&str; 15] = [
    "vpc",
    "subnet",
    "route-table",
    "internet-gateway",
    "nat-gateway",
    "elastic-ip",
    "security-group",
    "network-acl",
    "eni",
    "egress-only-internet-gateway",
    "prefix-list",
    "vpc-endpoint",
    "vpc-peering-connection",
    "flow-log",
    "zone-fault",
];

struct Agent {
    config: Arc<RegionConfig>,
    applier: Applier,
    compiler: Compiler,
    /// Rows of the network that changed since it was last compiled.
    changed: BTreeSet<String>,
    snapshot: Snapshot,
    reporter: Reporter,
    tasks: Tasks,
    balancers: Balancers,
    proxies: Proxies,
    flow_logs: FlowLogs,
    endpoint: Endpoint,
    task_meters: TaskMeters,
    /// What the network could not be made to hold; tasks wait on it.
    failed: watch::Sender<Vec<String>>,
    alarms: Vec<String>,
    asks: mpsc::Receiver<Ask>,
    /// Of the snapshot that was applied last, from the first question on.
    program: Option<Program>,
    first: bool,
}

/// What a batch asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Touched {
    network: bool,
    /// Anything that isn't a status: tasks and load balancers are looked at.
    rows: bool,
    /// A status is gone: our own, with a lease or a store, or others by a reset that waits for us.
    told: bool,
}

/// Runs until SIGTERM or SIGINT; the data plane stays.
pub async fn run(config: RegionConfig) -> Result<(), NodeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(NodeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(NodeError::Signals)?;
    let store: Arc<dyn Store> = Arc::new(Client::connect(config.store_socket()));
    let mut follower = Follower::start(Arc::clone(&store));
    let mut agent = Agent::new(config, store)?;
    loop {
        let retry = !agent.failed.borrow().is_empty();
        tokio::select! {
            batch = follower.next() => {
                let mut touched = agent.take(&batch);
                // What else is there already: one program for many changes.
                while let Some(batch) = next_at_once(&mut follower).await {
                    touched = touched.and(agent.take(&batch));
                }
                agent.turn(touched).await?;
            }
            Some(ask) = agent.asks.recv() => agent.answer(ask),
            () = tokio::time::sleep(RETRY), if retry => {
                agent.turn(Touched { network: true, ..Touched::default() }).await?;
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    agent.flow_logs.finish().await;
    Ok(())
}

async fn next_at_once(follower: &mut Follower) -> Option<Batch> {
    tokio::select! {
        biased;
        batch = follower.next() => Some(batch),
        () = std::future::ready(()) => None,
    }
}

impl Touched {
    fn and(self, other: Self) -> Self {
        Self {
            network: self.network || other.network,
            rows: self.rows || other.rows,
            told: self.told || other.told,
        }
    }
}

impl Agent {
    fn new(config: RegionConfig, store: Arc<dyn Store>) -> Result<Self, NodeError> {
        let config = Arc::new(config);
        let applier = Applier::start(&config)?;
        let reporter = Reporter::start(Arc::clone(&store));
        let meters = Meters::new();
        meters.start(&config, reporter.clone());
        let layers = LayerStore::open(&config.data_dir, Limits::default())?;
        layers.sweep()?;
        let (failed, network) = watch::channel(Vec::new());
        let (asker, asks) = reach::channel();
        let sessions = Sessions::open(&config.data_dir)?;
        let hierarchies = Hierarchies::detect()?;
        let abilities = Abilities::detect(&config.data_dir, &hierarchies);
        abilities::bound_all(&hierarchies.group(&task::instance_cgroup(&config)));
        let proxies = Proxies::new(Arc::clone(&config));
        let balancers = Balancers::new(Arc::clone(&config), Arc::clone(&store), meters);
        let host = Host {
            proxies: proxies.ready(),
            proxy_counts: proxies.tallies(),
            sessions: sessions.clone(),
            config: Arc::clone(&config),
            store: Arc::clone(&store),
            reporter: reporter.clone(),
            shims: crate::shim::Shims::default(),
            ledger: Ledger::open(&config.data_dir)?,
            blobs: BlobStore::open(&config.data_dir)?,
            cache: Arc::new(ImageCache::open(&config.data_dir, layers)?),
            spares: abilities
                .storage_limits
                .then(|| Spares::start(task::storage_templates(&config.data_dir))),
            abilities,
            hierarchies: hierarchies.clone(),
            network,
            delivery: balancers.delivery(),
            asker,
            pulls: Default::default(),
        };
        let host = Arc::new(host);
        let task_meters = TaskMeters::default();
        task_meters.start(Arc::clone(&host));
        Ok(Self {
            task_meters,
            proxies,
            balancers,
            tasks: Tasks::new(host),
            flow_logs: FlowLogs::new(Arc::clone(&config)),
            endpoint: Endpoint::start(Arc::clone(&config), hierarchies, sessions),
            compiler: Compiler::new(RegionConfig::clone(&config)),
            config,
            applier,
            changed: BTreeSet::new(),
            snapshot: Snapshot::default(),
            reporter,
            failed,
            alarms: Vec::new(),
            asks,
            program: None,
            first: true,
        })
    }

    fn take(&mut self, batch: &Batch) -> Touched {
        let mut touched = Touched::default();
        for event in &batch.events {
            if let Err(error) =
                self.snapshot
                    .apply(&event.key, event.value.as_deref(), batch.revision)
            {
                // Fail closed: the rows that are understood still act, and the operator is told.
                tracing::error!(%error, "a row is not understood");
            }
            let kind = event.key.split('/').next().unwrap_or_default();
            if NETWORK_KINDS.contains(&kind) {
                touched.network = true;
                self.changed.insert(event.key.clone());
            }
            touched.rows |= !kind.starts_with("status-");
            touched.told |= event.value.is_none() && kind.starts_with("status-");
        }
        self.snapshot.revision = batch.revision;
        touched
    }

    fn status(&self) -> HostStatus {
        HostStatus {
            host: self.config.host.clone(),
            applied: self.snapshot.revision,
            alarms: self.alarms.clone(),
        }
    }

    async fn turn(&mut self, touched: Touched) -> Result<(), NodeError> {
        let first = std::mem::take(&mut self.first);
        if first {
            // After a crash the snapshot may lack what is still there: the applier observes, the others are told.
            self.balancers.take_over(&self.snapshot).await;
            self.proxies.take_over(&self.snapshot);
            let (host, snapshot) = (Arc::clone(self.tasks.host()), self.snapshot.clone());
            let _ = tokio::task::spawn_blocking(move || task::collect(&host, &snapshot)).await;
            self.tasks.adopt(&self.snapshot);
        }
        self.endpoint.update(&self.snapshot);
        // Before the network: a namespace is gone only when its processes are.
        let ends = if touched.rows || first {
            self.proxies.end(&self.snapshot);
            self.tasks.end(&self.snapshot)
        } else {
            Vec::new()
        };
        if touched.network || first {
            self.apply_network().await?;
        }
        if touched.rows || first {
            self.proxies.update(&self.snapshot);
            // First who sends requests, then who ends: see `delivery`.
            self.balancers.update(&self.snapshot);
            self.tasks.update(&self.snapshot);
            self.analyse();
        }
        // After the network: what the kernel said until now is of interfaces as they were.
        self.flow_logs.update(&self.snapshot);
        self.task_meters.update(&self.snapshot);
        await_ends(ends).await;
        // Also for rows that the network isn't made of: a reset waits for the host whatever it deleted.
        if touched.network || touched.rows || touched.told || first {
            self.reporter.host(self.status());
        }
        Ok(())
    }

    /// What filters packets now, in full.
    fn program(&mut self) -> &Program {
        self.program
            .get_or_insert_with(|| compile(&self.snapshot, &self.config))
    }

    fn answer(&mut self, ask: Ask) {
        let (snapshot, config) = (self.snapshot.clone(), Arc::clone(&self.config));
        reach::answer(&snapshot, &config, self.program(), ask);
    }

    /// Answers the analyses that have no finding yet.
    fn analyse(&mut self) {
        let (snapshot, config) = (self.snapshot.clone(), Arc::clone(&self.config));
        let open = snapshot.insights_analyses.all().filter(|analysis| {
            let id = &analysis.analysis_id;
            !snapshot.insights_findings.contains(&analysis.scope, id)
        });
        for analysis in open {
            let finding = reach::finding(&snapshot, &config, self.program(), analysis);
            self.reporter.put(&finding);
        }
    }

    async fn apply_network(&mut self) -> Result<(), NodeError> {
        let changed = std::mem::take(&mut self.changed);
        let changed = changed.iter().map(String::as_str);
        let change = self.compiler.update(&self.snapshot, changed);
        // Kept from the first question on, and changed in part: a task's start must not compile the whole region.
        if let Some(program) = &mut self.program {
            match &change {
                Change::Whole(whole) => program.clone_from(whole),
                Change::Part(patch) => program.patch(patch),
            }
        }
        let report = self.applier.apply(change).await?;
        tracing::debug!(revision = self.snapshot.revision, steps = report.steps, took = ?report.duration, "network");
        let failures: BTreeSet<String> = report
            .failures
            .iter()
            .map(|failure| failure.resource.clone())
            .collect();
        for failure in &report.failures {
            tracing::error!(
                resource = failure.resource,
                reason = failure.reason,
                "not applied"
            );
        }
        let told = report
            .failures
            .iter()
            .map(|failure| format!("{}: {}", failure.resource, failure.reason));
        self.alarms = report
            .alarms
            .iter()
            .map(|alarm| format!("{}: {}", alarm.resource, alarm.reason))
            .chain(told)
            .collect();
        self.failed.send_replace(failures.into_iter().collect());
        Ok(())
    }
}

async fn await_ends(ends: Vec<JoinHandle<()>>) {
    if ends.is_empty() {
        return;
    }
    let all = async {
        for end in ends {
            let _ = end.await;
        }
    };
    if tokio::time::timeout(VANISH_WAIT, all).await.is_err() {
        tracing::warn!("tasks whose rows are gone are still ending");
    }
}

/// Takes everything of this instance off this host: tasks, load balancers, network, cgroups. For `fogbank up`.
pub async fn teardown(config: &RegionConfig) -> Result<(), NodeError> {
    balancers::teardown(config).await;
    let owned = config.clone();
    let tasks =
        tokio::task::spawn_blocking(move || task::teardown(&owned, TEARDOWN_PATIENCE)).await;
    proxies::teardown(config);
    // The network goes even if a task resisted: its packets must not outlive the region.
    let owned = config.clone();
    let network = tokio::task::spawn_blocking(move || fogbank_net::apply::teardown(&owned)).await;
    match (tasks, network) {
        (Ok(tasks), Ok(network)) => {
            network?;
            tasks.map_err(NodeError::Tasks)
        }
        _ => Err(NodeError::Tasks("the teardown was given up".to_owned())),
    }
}
