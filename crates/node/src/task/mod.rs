//! Tasks of this host: from a row that says RUNNING to processes that run, and from either's end to the other's.
//!
//! The agent calls [`Tasks::update`] after each snapshot that it has applied to the network; each task has an actor
//! ([`life`]) that goes through the hooks in order: eni, image, rootfs, log, start. What must stay true:
//!
//! - A task is begun once. What was begun stands in the ledger and is adopted after a restart, never started again.
//! - A task whose row is gone is killed at once; one whose row says STOPPED is stopped as its definition says.
//! - A task whose zone has failed is killed at once and reported as lost: the control plane replaces it elsewhere.
//! - `Stopped` is reported when no process of the task is left, and stands in the store before the bundle goes.

mod collection;
pub mod images;
mod life;
mod log_options;
mod logs;
mod permissions;
mod plan;
mod reference;
mod secrets;
mod spares;
mod status;
mod volumes;

pub use collection::collect;
pub use plan::STORAGE_GIB;
pub(crate) use plan::definition as plan_definition;
pub use spares::Spares;
pub use status::now;

pub(crate) use life::chain;
use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fogbank_pki::Sessions;
use fogbank_store::Store;
use fogbank_store::blob::BlobStore;
use fogbank_types::ec2::ZoneFaultKind;
use fogbank_types::ecs::{DesiredStatus, Task};
use fogbank_types::status::TaskPhase;
use fogbank_types::{RegionConfig, Row as _, Snapshot};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::collection::Collection;
use crate::abilities::Abilities;
use crate::delivery::Delivery;
use crate::ledger::Ledger;
use crate::oci::ImageCache;
use crate::reach::Asker;
use crate::report::Reporter;
use crate::sandbox::Hierarchies;

/// What all tasks of a host share.
pub struct Host {
    pub config: Arc<RegionConfig>,
    pub store: Arc<dyn Store>,
    pub reporter: Reporter,
    pub shims: crate::shim::Shims,
    pub ledger: Ledger,
    pub blobs: BlobStore,
    pub cache: Arc<ImageCache>,
    pub hierarchies: Hierarchies,
    pub abilities: Abilities,
    /// `None`: this host can't hold tasks to an amount of storage.
    pub spares: Option<Spares>,
    /// Ids of resources that the network could not be made to hold, after each attempt.
    pub network: watch::Receiver<Vec<String>>,
    /// Tasks whose proxies of Service Connect serve.
    pub proxies: crate::proxies::Ready,
    /// Whether load balancers know who is out.
    pub delivery: Delivery,
    /// What those proxies have counted and nobody has reported.
    pub proxy_counts: crate::proxies::Tallies,
    /// What tasks' roles sign with.
    pub sessions: Sessions,
    /// Whether the network lets a task reach what it needs.
    pub asker: Asker,
    pub pulls: images::Pulls,
}

impl Host {
    /// Storage of that size, if this host can hold a task to one: its template, and itself if one was made already.
    async fn storage(
        self: &Arc<Self>,
        gib: u32,
    ) -> Result<(Option<PathBuf>, Option<OwnedFd>), String> {
        let host = Arc::clone(self);
        let take = move || host.spares.as_ref().map(|spares| spares.take(gib));
        match tokio::task::spawn_blocking(take).await {
            Ok(None) => Ok((None, None)),
            Ok(Some(Ok((template, spare)))) => Ok((Some(template), spare)),
            Ok(Some(Err(error))) => Err(format!(
                "ResourceInitializationError: {}",
                life::chain(&error)
            )),
            Err(_) => Err("ResourceInitializationError: no storage was made".to_owned()),
        }
    }

    /// Path of a task's cgroup.
    pub fn cgroup(&self, task: &str) -> String {
        format!("{}/{task}", instance_cgroup(&self.config))
    }
}

/// Where formatted files of each size lie.
pub fn storage_templates(data: &Path) -> PathBuf {
    data.join("storage")
}

/// The cgroup above all tasks of an instance.
pub fn instance_cgroup(config: &RegionConfig) -> String {
    format!("fogbank/{}", config.instance)
}

/// What is wanted of a task's actor; only ever goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Want {
    Run,
    Stop,
    /// Its zone has no power: everything of it ends now, and that is said.
    Lose,
    /// The row is gone: end it now and say nothing.
    Vanish,
}

struct Actor {
    want: watch::Sender<Want>,
    handle: JoinHandle<()>,
}

/// See the module.
pub struct Tasks {
    host: Arc<Host>,
    actors: HashMap<String, Actor>,
    collection: Collection,
}

impl Tasks {
    pub fn new(host: Arc<Host>) -> Self {
        Self {
            collection: Collection::start(Arc::clone(&host)),
            host,
            actors: HashMap::new(),
        }
    }

    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Takes over what an earlier agent has begun. Called once, with the first snapshot; what no row asks for ends.
    pub fn adopt(&mut self, snapshot: &Snapshot) {
        let begun = match self.host.ledger.tasks() {
            Ok(begun) => begun,
            Err(error) => {
                tracing::error!(%error, "the ledger can't be read; nothing is adopted");
                return;
            }
        };
        let rows: HashMap<&str, &Arc<Task>> = self
            .local(snapshot)
            .map(|task| (task.id.as_str(), task))
            .collect();
        for id in begun {
            let (key, row) = match rows.get(id.as_str()) {
                Some(task) => (task.key(), Some(Arc::clone(task))),
                None => (format!("unknown/{id}"), None),
            };
            let want = row
                .as_deref()
                .map_or(Want::Vanish, |task| wanted(snapshot, task));
            tracing::info!(task = id, ?want, "adopting");
            let (host, snapshot) = (Arc::clone(&self.host), snapshot.clone());
            let actor = spawn(want, |orders| {
                life::adopted(host, id, row, snapshot, orders)
            });
            self.actors.insert(key, actor);
        }
        self.sweep_cgroups();
    }

    /// Groups without a folder in the ledger: their bundle was removed by hand, or the data folder is another one.
    fn sweep_cgroups(&self) {
        let parent = self
            .host
            .hierarchies
            .group(&instance_cgroup(&self.host.config));
        for id in parent.children() {
            if self.host.ledger.bundle(&id).is_dir() {
                continue;
            }
            tracing::warn!(task = id, "ending what an unknown task left");
            let group = parent.child(&id);
            tokio::task::spawn_blocking(move || life::end_group(&group));
        }
    }

    fn local<'a>(&self, snapshot: &'a Snapshot) -> impl Iterator<Item = &'a Arc<Task>> {
        let host = self.host.config.host.clone();
        snapshot.tasks.all().filter(move |task| task.host == host)
    }

    /// Begins the end of tasks whose rows are gone; the handles end with them.
    pub fn end(&mut self, snapshot: &Snapshot) -> Vec<JoinHandle<()>> {
        let rows: HashSet<String> = self.local(snapshot).map(|task| task.key()).collect();
        let gone: Vec<String> = self
            .actors
            .keys()
            .filter(|key| !rows.contains(*key))
            .cloned()
            .collect();
        let ended = gone
            .iter()
            .filter_map(|key| self.actors.remove(key))
            .map(|actor| {
                actor.want.send_replace(Want::Vanish);
                actor.handle
            });
        ended.collect()
    }

    /// Starts and stops tasks so that they are those of the snapshot. The network holds their interfaces already.
    pub fn update(&mut self, snapshot: &Snapshot) {
        self.collection.see(snapshot);
        let rows: Vec<(String, Arc<Task>)> = self
            .local(snapshot)
            .map(|task| (task.key(), Arc::clone(task)))
            .collect();
        for (key, task) in rows {
            let want = wanted(snapshot, &task);
            if let Some(actor) = self.actors.get(&key) {
                actor.want.send_if_modified(|have| {
                    let forward = want > *have;
                    *have = want.max(*have);
                    forward
                });
                continue;
            }
            let known = snapshot.task_statuses.get(&task.scope, &task.id);
            if task.stopped_at.is_some()
                || known.is_some_and(|known| known.phase == TaskPhase::Stopped)
            {
                continue;
            }
            let (host, snapshot) = (Arc::clone(&self.host), snapshot.clone());
            // Reported as running, but this host knows nothing of it: its processes died with the host's last life.
            let lost = known
                .filter(|known| known.phase > TaskPhase::Pending)
                .cloned();
            let actor = match lost {
                Some(known) => spawn(want, |_| life::lost(host, known)),
                None => spawn(want, |orders| life::begun(host, task, snapshot, orders)),
            };
            self.actors.insert(key, actor);
        }
    }
}

fn wanted(snapshot: &Snapshot, task: &Task) -> Want {
    if snapshot.zone_fault(&task.zone) == Some(ZoneFaultKind::Failed) {
        Want::Lose
    } else if task.desired == DesiredStatus::Stopped && task.stop_containers {
        Want::Stop
    } else {
        Want::Run
    }
}

fn spawn<F>(want: Want, life: impl FnOnce(watch::Receiver<Want>) -> F) -> Actor
where
    F: Future<Output = ()> + Send + 'static,
{
    let (want, orders) = watch::channel(want);
    Actor {
        want,
        handle: tokio::spawn(life(orders)),
    }
}

/// Ends every task of this instance: asks the shims, then kills what is left, and removes groups and bundles. For
/// `fogbank up` when the region goes down; blocks for about `patience`.
pub fn teardown(config: &RegionConfig, patience: Duration) -> Result<(), String> {
    life::end_all(config, patience)
}
