//! One task's life on this host: prepare, launch, follow, end.
//!
//! Every step before the launch can be given up by dropping it: it leaves only the bundle, which goes with the task.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogbank_store::blob::Digest;
use fogbank_types::ecs::Task;
use fogbank_types::status::{TaskPhase, TaskStatus};
use fogbank_types::{AuthMode, RegionConfig, Snapshot};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::images::{self, Brought};
use super::permissions;
use super::plan::{self, Plan, Ready};
use super::secrets;
use super::status;
use super::{Host, Want};
use crate::ledger::{Ledger, Record};
use crate::oci::cache::Use;
use crate::oci::{Image, Platform};
use crate::reach::{Blocked, Need};
use crate::sandbox::{Group, Hierarchies};
use crate::shim::{self, Client, Order, Phase, TaskSpec, TaskState};

/// How long the kernel may take to end killed processes.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a shim that was just started may take to open its socket, on a host that is very busy.
const SHIM_START: Duration = Duration::from_secs(20);
/// How long a proxy may take to serve, on a host that is very busy.
const PROXY_START: Duration = Duration::from_secs(30);
/// How long an adopted shim may: its agent died in the very moment between its start and its socket.
const SHIM_ADOPT: Duration = Duration::from_millis(500);
/// AWS's wait for an interface; it is not documented, but its error is (fact TASK-4).
const ENI_WAIT_MS: u64 = 180_000;

/// A pull that gets no answer is tried again this often, after this time.
const PULL_RETRIES: u32 = 5;
const PULL_PAUSE_MS: u64 = 2_000;

const LOST: &str = "Task stopped: the host that ran it was restarted";
const ZONE_FAILED: &str = "Task stopped: its Availability Zone has failed";
const SHIM_DIED: &str = "Task stopped: its supervisor process ended unexpectedly";

/// Why a task is not launched.
enum End {
    Failed(String),
    /// It was to be stopped or to vanish before it began.
    Unwanted,
}

impl From<String> for End {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

struct Life {
    host: Arc<Host>,
    id: String,
    bundle: PathBuf,
    record: Record,
    orders: watch::Receiver<Want>,
    /// Made for the shim that is not started yet.
    storage: Option<OwnedFd>,
}

/// A new task.
pub async fn begun(
    host: Arc<Host>,
    task: Arc<Task>,
    snapshot: Snapshot,
    orders: watch::Receiver<Want>,
) {
    let names: Vec<&str> = plan::definition(&snapshot, &task)
        .map(|definition| {
            definition
                .containers
                .iter()
                .map(|container| container.name.as_str())
                .collect()
        })
        .unwrap_or_default();
    let record = Record {
        status: status::fresh(&task, &names),
        launched: false,
    };
    let bundle = host.ledger.bundle(&task.id);
    let mut life = Life {
        id: task.id.clone(),
        host,
        bundle,
        record,
        orders,
        storage: None,
    };
    let mut orders = life.orders.clone();
    let prepared = tokio::select! {
        biased;
        _ = orders.wait_for(|want| *want > Want::Run) => Err(End::Unwanted),
        prepared = life.prepare(&task, &snapshot) => prepared,
    };
    match prepared.and_then(|()| life.launch()) {
        Ok(()) => life.follow(SHIM_START).await,
        Err(End::Failed(reason)) => {
            tracing::warn!(task = life.id, reason, "task not started");
            status::failed(&mut life.record.status, &reason);
            life.finish().await;
        }
        Err(End::Unwanted) if life.want() == Want::Lose => {
            status::vanished(&mut life.record.status, ZONE_FAILED);
            life.finish().await;
        }
        Err(End::Unwanted) => {
            let time = status::now();
            let status = &mut life.record.status;
            status.phase = TaskPhase::Stopped;
            status.stopping_at.get_or_insert(time);
            status.execution_stopped_at.get_or_insert(time);
            for container in &mut status.containers {
                container.phase = TaskPhase::Stopped;
            }
            life.finish().await;
        }
    }
}

/// A task that an earlier agent has begun; without a row it ends.
pub async fn adopted(
    host: Arc<Host>,
    id: String,
    row: Option<Arc<Task>>,
    snapshot: Snapshot,
    orders: watch::Receiver<Want>,
) {
    let bundle = host.ledger.bundle(&id);
    let record = host.ledger.read(&id).unwrap_or_else(|error| {
        tracing::error!(task = id, %error, "the ledger can't be read");
        None
    });
    match (record, row) {
        (Some(record), row) if record.launched => {
            let mut life = Life {
                host,
                id,
                bundle,
                record,
                orders,
                storage: None,
            };
            // What the earlier agent wrote down it may not have told: it was killed, or the store was away until then.
            let told =
                row.and_then(|task| snapshot.task_statuses.get(&task.scope, &task.id).cloned());
            if told.as_deref() != Some(&life.record.status) {
                life.report();
            }
            life.follow(SHIM_ADOPT).await;
        }
        // Nothing was started yet: from the beginning.
        (Some(_), Some(task)) => begun(host, task, snapshot, orders).await,
        (None, Some(task)) => {
            let record = Record {
                status: status::fresh(&task, &[]),
                launched: true,
            };
            let mut life = Life {
                host,
                id,
                bundle,
                record,
                orders,
                storage: None,
            };
            status::vanished(&mut life.record.status, LOST);
            life.finish().await;
        }
        (_, None) => {
            let group = host.hierarchies.group(&host.cgroup(&id));
            let _ = tokio::task::spawn_blocking(move || end_group(&group)).await;
            forget(&host.ledger, &id);
        }
    }
}

/// A task that this host reported as running and of which it has nothing left.
pub async fn lost(host: Arc<Host>, known: Arc<TaskStatus>) {
    let mut known = TaskStatus::clone(&known);
    status::vanished(&mut known, LOST);
    host.reporter.put_durably(&known).await;
}

impl Life {
    fn want(&self) -> Want {
        *self.orders.borrow()
    }

    fn report(&self) {
        if self.want() < Want::Vanish {
            self.host.reporter.put(&self.record.status);
        }
    }

    fn save(&self) -> Result<(), String> {
        self.host
            .ledger
            .write(&self.id, &self.record)
            .map_err(|error| format!("ResourceInitializationError: {}", chain(&error)))
    }

    async fn prepare(&mut self, task: &Arc<Task>, snapshot: &Snapshot) -> Result<(), End> {
        self.save()?;
        self.report();
        let mut plan = plan::plan(snapshot, task, &self.host.config)?;
        // Until the bundle is written, which says itself what the task needs.
        let in_use = Arc::new(self.host.cache.begin());
        self.await_interface(&plan).await?;
        let time = status::now();
        self.record.status.connectivity_at = Some(time);
        self.record.status.pull_started_at = Some(time);
        let patience = Duration::from_secs(5);
        let streams = async {
            for log in plan
                .containers
                .iter()
                .filter_map(|container| container.log.as_ref())
            {
                log.seal(&self.host.config);
                log.ensure(&self.host.store, patience).await;
            }
        };
        // What is here is unpacked while the network is asked; what is pulled needs its answer first.
        let here = async {
            match images::here(&plan) {
                Some(brought) => Some(unpacked(&self.host, &in_use, brought).await),
                None => None,
            }
        };
        self.await_secrets(task, &plan).await?;
        let lost = match self.host.config.auth {
            AuthMode::Enforce => permissions::check(&self.host.config, snapshot, &plan).await?,
            AuthMode::Off => Vec::new(),
        };
        let (here, (), network) = tokio::join!(here, streams, self.await_network(task, &plan));
        network?;
        let images = match here {
            Some(images) => images?,
            None => {
                let brought = images::bring(&self.host, &plan).await?;
                unpacked(&self.host, &in_use, brought).await?
            }
        };
        for number in lost {
            plan.containers[number].log = None;
        }
        for (container, image) in self.record.status.containers.iter_mut().zip(&images) {
            container.image_digest = Some(image.image.manifest.to_string());
        }
        self.record.status.pull_stopped_at = Some(status::now());
        let (storage_template, storage) = self.host.storage(plan.storage_gib).await?;
        let provided = plan::Provided {
            cgroup: self.host.cgroup(&self.id),
            user_namespace: self.host.abilities.user_namespaces,
            storage_template,
            storage_given: storage.is_some(),
        };
        self.storage = storage;
        let spec = plan.spec(
            &images,
            provided,
            &self.bundle,
            &self.host.config,
            &crate::endpoint::relative_uri(&self.host.sessions, &self.id),
        );
        self.write_files(&plan, &spec).map_err(|error| {
            format!("ResourceInitializationError: write the task's bundle: {error}")
        })?;
        drop(in_use);
        self.await_proxy(&plan).await
    }

    /// "The Service Connect agent container starts before the others."
    async fn await_proxy(&self, plan: &Plan) -> Result<(), End> {
        if !plan.service_connect {
            return Ok(());
        }
        let mut ready = self.host.proxies.clone();
        let there = ready.wait_for(|ready| ready.contains(&self.id));
        match tokio::time::timeout(PROXY_START, there).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(
                "ResourceInitializationError: the Service Connect proxy did not start"
                    .to_owned()
                    .into(),
            ),
        }
    }

    /// The applier reports after each attempt; the interface is there when its namespace is and nothing of it failed.
    async fn await_interface(&mut self, plan: &Plan) -> Result<(), End> {
        let eni = plan.task.eni_id.to_string();
        let mut network = self.host.network.clone();
        let there = network.wait_for(|failed| !failed.contains(&eni) && plan.netns.exists());
        let patience = Duration::from_millis(self.host.config.scaled_ms(ENI_WAIT_MS).max(10_000));
        match tokio::time::timeout(patience, there).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(
                "Timeout waiting for network interface provisioning to complete."
                    .to_owned()
                    .into(),
            ),
        }
    }

    /// On Fargate the task's own interface carries the pull and the first call to CloudWatch Logs: without a way there the
    /// task fails. <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_cannot_pull_image.html>
    async fn await_network(&self, task: &Arc<Task>, plan: &Plan) -> Result<(), End> {
        let pause = Duration::from_millis(self.host.config.scaled_ms(PULL_PAUSE_MS).max(50));
        for container in &plan.containers {
            let name = container.definition.image.as_str();
            let need = if super::reference::is_private(name) {
                Need::Repository
            } else {
                Need::PublicRegistry
            };
            if let Some(blocked) = self.still_blocked(task, need, pause).await {
                return Err(End::Failed(format!(
                    "CannotPullContainerError: ref pull has been retried {PULL_RETRIES} time(s): failed to resolve reference \"{name}\": failed to do request: Head \"https://{}/\": dial tcp {}:443: i/o timeout ({})",
                    blocked.host, blocked.address, blocked.reason
                )));
            }
        }
        if plan
            .containers
            .iter()
            .any(|container| container.log.is_some())
            && let Some(blocked) = self.still_blocked(task, Need::Logs, pause).await
        {
            return Err(End::Failed(format!(
                "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: failed to create Cloudwatch log stream: RequestError: send request failed caused by: Post \"https://{}/\": dial tcp {}:443: i/o timeout ({})",
                blocked.host, blocked.address, blocked.reason
            )));
        }
        Ok(())
    }

    /// Secrets come by the same way, before the image (decision 0011); their values stand in the plan already.
    async fn await_secrets(&self, task: &Arc<Task>, plan: &Plan) -> Result<(), End> {
        let pause = Duration::from_millis(self.host.config.scaled_ms(PULL_PAUSE_MS).max(50));
        let references = plan.containers.iter().flat_map(|c| &c.definition.secrets);
        let all: Vec<_> = references.collect();
        for managed in [false, true] {
            let found = all.iter().find(|r| secrets::is_managed(r) == managed);
            let Some(reference) = found else { continue };
            let need = if managed {
                Need::Secrets
            } else {
                Need::Parameters
            };
            if let Some(blocked) = self.still_blocked(task, need, pause).await {
                let why = format!(
                    "RequestCanceled: request context canceled caused by: context deadline exceeded: Post \"https://{}/\": dial tcp {}:443: i/o timeout ({})",
                    blocked.host, blocked.address, blocked.reason
                );
                return Err(End::Failed(if managed {
                    secrets::from_asm(&reference.value_from, &why)
                } else {
                    secrets::from_ssm(&why)
                }));
            }
        }
        Ok(())
    }

    /// Asked again a few times: routes and endpoints are often made at the same time as the service.
    async fn still_blocked(
        &self,
        task: &Arc<Task>,
        need: Need,
        pause: Duration,
    ) -> Option<Blocked> {
        let mut blocked = self.host.asker.blocked(task, need).await?;
        for _ in 0..PULL_RETRIES {
            tokio::time::sleep(pause).await;
            blocked = self.host.asker.blocked(task, need).await?;
        }
        Some(blocked)
    }

    fn write_files(&self, plan: &Plan, spec: &TaskSpec) -> io::Result<()> {
        std::fs::write(self.bundle.join("hosts"), &plan.hosts)?;
        std::fs::write(self.bundle.join("resolv.conf"), &plan.resolv_conf)?;
        // It holds secrets in clear.
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.bundle.join(shim::SPEC_FILE))?;
        file.write_all(&serde_json::to_vec(spec)?)
    }

    /// Starts the shim, which detaches itself. From here on the task has something that outlives the agent.
    fn launch(&mut self) -> Result<(), End> {
        self.record.launched = true;
        self.save()?;
        let begun = File::create(self.bundle.join("shim.log")).and_then(|errors| {
            let shims = &self.host.shims;
            shims.begin(&self.bundle, self.storage.take(), &errors)
        });
        begun.map_err(|error| {
            End::Failed(format!(
                "ResourceInitializationError: start the task's supervisor: {error}"
            ))
        })
    }

    /// Follows a shim to its end, whoever started it, and then the task to its.
    async fn follow(&mut self, patience: Duration) {
        match self.connect(patience).await {
            Some(stream) => self.listen(stream).await,
            None if self.final_state().is_none() => {
                let said =
                    std::fs::read_to_string(self.bundle.join("shim.log")).unwrap_or_default();
                tracing::error!(task = self.id, said, "no shim");
            }
            None => {}
        }
        if self.want() == Want::Lose {
            status::vanished(&mut self.record.status, ZONE_FAILED);
            return self.finish().await;
        }
        match self.final_state() {
            Some(state) => status::merge(&mut self.record.status, &state),
            None => status::vanished(&mut self.record.status, SHIM_DIED),
        }
        self.finish().await;
    }

    fn final_state(&self) -> Option<TaskState> {
        shim::read_state(&self.bundle)
            .ok()
            .flatten()
            .filter(|state| state.phase == Phase::Stopped)
    }

    async fn connect(&self, patience: Duration) -> Option<UnixStream> {
        let deadline = Instant::now() + patience;
        loop {
            match shim::connect(&self.bundle).and_then(into_async) {
                Ok(stream) => return Some(stream),
                Err(_) if self.final_state().is_some() || Instant::now() > deadline => return None,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    async fn listen(&mut self, stream: UnixStream) {
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        let mut orders = self.orders.clone();
        let mut given = Want::Run;
        // Nobody gives orders any more once the row is gone and the last order was given.
        let mut open = true;
        loop {
            let want = *orders.borrow_and_update();
            if want > given {
                let order = if want >= Want::Lose {
                    Order::Kill
                } else {
                    self.host.delivery.wait().await;
                    Order::Stop
                };
                // If it is gone already, the other direction says so.
                let _ = writer.write_all(&shim::order_line(order)).await;
                given = want;
            }
            tokio::select! {
                line = lines.next_line() => match line {
                    Ok(Some(line)) => self.heard(&line),
                    Ok(None) | Err(_) => return,
                },
                changed = orders.changed(), if open => open = changed.is_ok(),
            }
        }
    }

    fn heard(&mut self, line: &str) {
        let state: TaskState = match serde_json::from_str(line) {
            Ok(state) => state,
            Err(error) => {
                tracing::error!(task = self.id, %error, "the shim's state is malformed");
                return;
            }
        };
        // The last one is merged from the disk, when nothing is left.
        if state.phase == Phase::Stopped {
            return;
        }
        let before = self.record.status.clone();
        status::merge(&mut self.record.status, &state);
        if self.record.status == before {
            return;
        }
        if let Err(error) = self.save() {
            tracing::warn!(task = self.id, error, "the ledger can't be written");
        }
        self.report();
    }

    /// Ends whatever is left, reports, and removes the bundle, in this order.
    async fn finish(&mut self) {
        let group = self.host.hierarchies.group(&self.host.cgroup(&self.id));
        let _ = tokio::task::spawn_blocking(move || end_group(&group)).await;
        let mut orders = self.orders.clone();
        if self.want() < Want::Vanish {
            tokio::select! {
                () = self.host.reporter.put_durably(&self.record.status) => {}
                _ = orders.wait_for(|want| *want == Want::Vanish) => {}
            }
        }
        forget(&self.host.ledger, &self.id);
    }
}

fn into_async(stream: StdUnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Removing a bundle is tried once; what stays is found at the agent's next start.
fn forget(ledger: &Ledger, id: &str) {
    if let Err(error) = ledger.forget(id) {
        tracing::warn!(task = id, %error, "the bundle is left");
    }
}

/// Kills and removes a task's cgroup. Blocks.
pub fn end_group(group: &Group) {
    group.hasten_end();
    if let Err(error) = group.kill(PATIENCE).and_then(|()| group.remove(PATIENCE)) {
        tracing::error!(%error, "something of a task is left");
    }
}

async fn unpacked(
    host: &Arc<Host>,
    in_use: &Arc<Use>,
    brought: Vec<Brought>,
) -> Result<Vec<Arc<Ready>>, String> {
    let (host, in_use) = (Arc::clone(host), Arc::clone(in_use));
    tokio::task::spawn_blocking(move || ready(&host, &in_use, &brought))
        .await
        .map_err(|_| "CannotPullContainerError: unpacking was given up".to_owned())?
}

/// Reads the images and unpacks what is missing, in order; blocks.
fn ready(host: &Host, in_use: &Use, brought: &[Brought]) -> Result<Vec<Arc<Ready>>, String> {
    let refused =
        |error: &dyn std::error::Error| format!("CannotPullContainerError: {}", chain(error));
    let mut known: Vec<(Brought, Arc<Ready>)> = Vec::new();
    for one in brought {
        if known.iter().any(|(have, _)| have == one) {
            continue;
        }
        let (blobs, image) = match one {
            Brought::Here(digest) => (
                &host.blobs,
                Image::open(&host.blobs, digest, &Platform::host()),
            ),
            Brought::Pulled(digest) => (host.cache.blobs(), host.cache.image(digest)),
        };
        let image = image.map_err(|error| refused(&error))?;
        in_use.hold(&image);
        let layers = image.layers.iter().map(|layer| {
            host.cache
                .layers()
                .ensure(blobs, layer)
                .map_err(|error| refused(&error))
        });
        let layers = layers.collect::<Result<Vec<_>, _>>()?;
        known.push((*one, Arc::new(Ready { image, layers })));
    }
    let find = |one| {
        known
            .iter()
            .find(|(have, _)| have == one)
            .map(|(_, ready)| Arc::clone(ready))
    };
    Ok(brought.iter().filter_map(find).collect())
}

/// The layers that the containers of a bundle stand on.
pub fn layers_in_use(bundle: &Path) -> Vec<Digest> {
    let text = std::fs::read(bundle.join(shim::SPEC_FILE)).unwrap_or_default();
    let Ok(spec) = serde_json::from_slice::<TaskSpec>(&text) else {
        return Vec::new();
    };
    let layers = spec
        .containers
        .iter()
        .flat_map(|container| &container.spec.layers);
    layers
        .filter_map(|path| {
            format!("sha256:{}", path.file_name()?.to_string_lossy())
                .parse()
                .ok()
        })
        .collect()
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// See [`super::teardown`].
pub fn end_all(config: &RegionConfig, patience: Duration) -> Result<(), String> {
    let ledger = Ledger::open(&config.data_dir).map_err(|error| chain(&error))?;
    let tasks = ledger.tasks().map_err(|error| chain(&error))?;
    let mut shims: Vec<Client> = tasks
        .iter()
        .filter_map(|id| Client::connect(&ledger.bundle(id)).ok())
        .collect();
    for (order, patience) in [(Order::Stop, patience), (Order::Kill, PATIENCE)] {
        shims.retain_mut(|shim| shim.order(order).is_ok());
        let deadline = Instant::now() + patience;
        shims.retain_mut(|shim| !ended(shim, deadline));
    }
    let hierarchies = Hierarchies::detect().map_err(|error| chain(&error))?;
    let parent = hierarchies.group(&super::instance_cgroup(config));
    parent
        .kill(PATIENCE)
        .and_then(|()| parent.remove(PATIENCE))
        .map_err(|error| chain(&error))?;
    hierarchies.group("fogbank").remove_if_empty();
    tasks
        .iter()
        .try_for_each(|id| ledger.forget(id))
        .map_err(|error| chain(&error))
}

/// Whether a shim ends by the deadline.
fn ended(shim: &mut Client, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        match shim.next(Some(left)) {
            Ok(_) => {}
            Err(shim::ClientError::Io(error))
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                return false;
            }
            Err(_) => return true,
        }
    }
}
