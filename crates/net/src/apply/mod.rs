//! Makes the kernel hold what a `Program` says. Effects only; what to do is decided by `plan`.
//!
//! One OS thread owns all of it: it moves between namespaces with `setns` and keeps one open socket
//! per subsystem for each router (closing an nf_tables socket with pending work costs 13 ms).
//! Callers talk to it over a channel, so nothing of this ever runs on an async worker.
//!
//! What must stay true: the applier keeps no state that it could not read back. After a restart it
//! observes what is there, replaces each firewall in one transaction, corrects links and routes,
//! and touches neither the namespaces nor the pairs of living interfaces.

pub mod conntrack;
pub(crate) mod execute;
mod forget;
pub mod namespace;
pub mod netlink;
pub mod nflog;
mod nft;
mod probe;
pub(crate) mod route;
mod spare;

pub use nft::NftError;
pub use probe::{Guarantee, idle_timeouts_available, netem_available, probe};

use crate::compile::Change;
use crate::names;
use crate::patch::Patch;
use crate::plan::{Place, Step, plan};
use crate::program::{Alarm, Family, Program, Role};
use execute::{Executor, Failed};
use fogbank_types::{IpCidr, Ipv4Cidr, RegionConfig};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Why the applier cannot work at all. What fails for single resources is in `Report`.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("the public pool {pool} is in use on this host: route to {destination}{}", device.as_ref().map(|d| format!(" by device {d}")).unwrap_or_default())]
    PoolInUse {
        pool: IpCidr,
        destination: IpCidr,
        device: Option<String>,
    },
    #[error("the public pool {0} is too small: at least /28 is needed")]
    PoolTooSmall(Ipv4Cidr),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("a change came before the whole program that it is a part of")]
    PartOfNothing,
    #[error("the applier's thread has ended")]
    Gone,
}

pub(crate) fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> ApplyError {
    let what = what.into();
    move |source| ApplyError::Io { what, source }
}

/// What became of a program.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub duration: Duration,
    /// How many steps it took; 0 if all was so already.
    pub steps: usize,
    /// Left out by the compiler.
    pub alarms: Vec<Alarm>,
    /// Refused by the kernel. The rest was applied; the next `reconcile` tries these again.
    pub failures: Vec<Failure>,
}

/// Something that could not be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The ENI's or VPC's id, `edge` or `host`.
    pub resource: String,
    /// Operation, object and the kernel's answer.
    pub reason: String,
}

enum Job {
    Apply(Change, oneshot::Sender<Result<Report, ApplyError>>),
    Teardown(oneshot::Sender<Result<(), ApplyError>>),
}

/// Handle of the applier's thread; the thread ends with the last clone and leaves the kernel as it is.
#[derive(Clone)]
pub struct Applier {
    jobs: mpsc::Sender<Job>,
}

impl Applier {
    /// Starts the thread in the caller's network namespace, which becomes the host's.
    pub fn start(config: &RegionConfig) -> Result<Self, ApplyError> {
        if config.public_cidr.length() > 28 {
            return Err(ApplyError::PoolTooSmall(config.public_cidr));
        }
        let (jobs, queue) = mpsc::channel();
        let (ready, started) = mpsc::channel();
        let config = config.clone();
        std::thread::Builder::new()
            .name("applier".to_owned())
            .spawn(move || match Worker::new(config) {
                Ok(worker) => {
                    let _ = ready.send(Ok(()));
                    worker.serve(&queue);
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            })
            .map_err(failed("start the applier's thread"))?;
        started.recv().map_err(|_| ApplyError::Gone)??;
        Ok(Self { jobs })
    }

    /// Makes the kernel hold `program`. Programs are applied in the order of the calls.
    pub async fn reconcile(&self, program: Program) -> Result<Report, ApplyError> {
        self.apply(Change::Whole(Box::new(program))).await
    }

    /// Makes the kernel hold what the changes so far make of the program; each change of a
    /// `Compiler` must be given, in their order. What failed earlier is tried again.
    pub async fn apply(&self, change: Change) -> Result<Report, ApplyError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Apply(change, reply))?;
        answer.await.map_err(|_| ApplyError::Gone)?
    }

    /// The same, for callers without a runtime.
    pub fn reconcile_blocking(&self, program: Program) -> Result<Report, ApplyError> {
        self.apply_blocking(Change::Whole(Box::new(program)))
    }

    /// The same, for callers without a runtime.
    pub fn apply_blocking(&self, change: Change) -> Result<Report, ApplyError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Apply(change, reply))?;
        answer.blocking_recv().map_err(|_| ApplyError::Gone)?
    }

    /// Removes everything of this instance. A later `reconcile` builds it anew.
    pub async fn teardown(&self) -> Result<(), ApplyError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Teardown(reply))?;
        answer.await.map_err(|_| ApplyError::Gone)?
    }

    fn send(&self, job: Job) -> Result<(), ApplyError> {
        self.jobs.send(job).map_err(|_| ApplyError::Gone)
    }
}

/// The thread's own state.
struct Worker {
    config: RegionConfig,
    executor: Executor,
    /// What the kernel holds, except in `stale` places.
    applied: Program,
    stale: BTreeSet<Place>,
    /// Nothing was looked at yet.
    fresh: bool,
}

impl Worker {
    fn new(config: RegionConfig) -> Result<Self, ApplyError> {
        let mut executor = Executor::new(&config)?;
        for pool in crate::observe::pools(&config) {
            crate::observe::check_pool(&mut executor, &config, pool)?;
        }
        Ok(Self {
            config,
            executor,
            applied: Program::default(),
            stale: BTreeSet::new(),
            fresh: true,
        })
    }

    fn serve(mut self, queue: &mpsc::Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            // A caller that went away does not want the answer.
            match job {
                Job::Apply(change, reply) => {
                    let _ = reply.send(self.apply(change));
                }
                Job::Teardown(reply) => {
                    self.executor.forget_all();
                    self.applied = Program::default();
                    self.stale.clear();
                    self.fresh = true;
                    let _ = reply.send(teardown(&self.config));
                }
            }
        }
    }

    fn apply(&mut self, change: Change) -> Result<Report, ApplyError> {
        match change {
            Change::Whole(program) => self.reconcile(*program),
            Change::Part(_) if self.fresh => Err(ApplyError::PartOfNothing),
            // What is not known must be looked at, beside what it shall be.
            Change::Part(patch) if !self.stale.is_empty() => {
                let mut program = self.applied.clone();
                program.patch(&patch);
                self.reconcile(program)
            }
            Change::Part(patch) => Ok(self.change(&patch)),
        }
    }

    fn reconcile(&mut self, program: Program) -> Result<Report, ApplyError> {
        let begun = Instant::now();
        if self.fresh {
            self.stale = self.everything()?;
            self.fresh = false;
            if program.host.tables.is_empty() {
                remove_host_tables(&mut self.executor, &self.config)?;
            }
        }
        self.keep_routers(&program);
        let stale = std::mem::take(&mut self.stale);
        self.observe_all(&stale, &program);
        let mut steps = plan(&self.applied, &program, &stale);
        let blocked = await_forgotten(&mut self.executor, &self.applied, &program);
        steps.retain(|step| !blocked.contains_key(&step.place));
        let before = std::mem::replace(&mut self.applied, program);
        Ok(self.run(&steps, &before, blocked, begun))
    }

    fn change(&mut self, patch: &Patch) -> Report {
        let begun = Instant::now();
        self.keep_routers(&patch.after);
        let mut steps = plan(&patch.before, &patch.after, &BTreeSet::new());
        let blocked = await_forgotten(&mut self.executor, &patch.before, &patch.after);
        steps.retain(|step| !blocked.contains_key(&step.place));
        self.applied.patch(patch);
        self.run(&steps, &patch.before, blocked, begun)
    }

    fn keep_routers(&mut self, program: &Program) {
        let routers = program
            .namespaces
            .iter()
            .filter(|(_, namespace)| matches!(namespace.role, Role::Vpc(_) | Role::Edge))
            .map(|(name, _)| Place::Named(name.clone()));
        self.executor.keep(routers);
    }

    /// Carries out the steps to the applied program, which take it from what was before. Places
    /// that are blocked are tried again later.
    fn run(
        &mut self,
        steps: &[Step],
        before: &Program,
        blocked: BTreeMap<Place, String>,
        begun: Instant,
    ) -> Report {
        let mut outcome = self.executor.run(steps);
        outcome.extend(blocked.into_iter().map(|(place, reason)| Failed {
            place,
            resource: None,
            reason,
            stale: true,
        }));
        let mut alarms = self.applied.alarms.clone();
        alarms.extend(self.without_ipv6(&self.applied));
        alarms.extend(without_idle_timeouts(&self.applied));
        let failures = outcome
            .into_iter()
            .map(|failed| {
                let place = failed.place;
                let resource = failed
                    .resource
                    .unwrap_or_else(|| resource_of(&self.applied, before, &place));
                if failed.stale {
                    self.stale.insert(place);
                }
                let reason = failed.reason;
                Failure { resource, reason }
            })
            .collect();
        Report {
            duration: begun.elapsed(),
            steps: steps.len(),
            alarms,
            failures,
        }
    }

    /// That the host's part in IPv6 was left out, if there is one.
    fn without_ipv6(&self, program: &Program) -> Option<Alarm> {
        let wanted = program
            .host
            .routes
            .keys()
            .any(|key| !key.destination.is_ipv4());
        (wanted && !self.executor.carries_ipv6(&Place::Host)).then(|| Alarm {
            resource: "host".to_owned(),
            reason:
                "IPv6 is switched off on this host: public IPv6 addresses are not reached from it"
                    .to_owned(),
        })
    }

    /// All places of this instance that exist.
    fn everything(&self) -> Result<BTreeSet<Place>, ApplyError> {
        let names = namespace::names(&self.config.namespace(""))
            .map_err(failed(format!("list {}", names::NAMESPACES_DIR)))?;
        let mut places: BTreeSet<Place> = names.into_iter().map(Place::Named).collect();
        places.insert(Place::Host);
        Ok(places)
    }

    /// Reads what is in these places into `applied`; those that are not there are made anew.
    fn observe_all(&mut self, places: &BTreeSet<Place>, program: &Program) {
        for place in places {
            let found = crate::observe::observe(&mut self.executor, &self.config, place, program);
            match (place, found) {
                (Place::Host, found) => self.applied.host = found.unwrap_or_default(),
                (Place::Named(name), Some(found)) => {
                    self.applied.namespaces.insert(name.clone(), found);
                }
                (Place::Named(name), None) => {
                    self.executor.forget(place);
                    self.applied.namespaces.remove(name);
                    // A name without a namespace: a crash between the file and the mount.
                    let _ = namespace::forget(name);
                }
            }
        }
    }
}

/// Waits until addresses that come to a place, or to another owner there, have no connections of
/// earlier ones; gives the places where that failed.
fn await_forgotten(
    executor: &mut Executor,
    before: &Program,
    after: &Program,
) -> BTreeMap<Place, String> {
    let mut blocked = BTreeMap::new();
    if !executor.forgets() {
        return blocked;
    }
    let nobody = BTreeMap::new();
    for (name, namespace) in &after.namespaces {
        let owners = before.namespaces.get(name);
        let owners = owners.map_or(&nobody, |namespace| &namespace.connections);
        let come = namespace.connections.iter();
        let come = come.filter(|(address, owner)| owners.get(*address) != Some(*owner));
        let place = Place::Named(name.clone());
        if let Err(error) = executor.await_forgotten(&place, come.map(|(address, _)| *address)) {
            let reason = format!("connections of an earlier owner are not forgotten: {error}");
            blocked.insert(place, reason);
        }
    }
    blocked
}

fn resource_of(program: &Program, before: &Program, place: &Place) -> String {
    let Place::Named(name) = place else {
        return "host".to_owned();
    };
    let namespace = program
        .namespaces
        .get(name)
        .or_else(|| before.namespaces.get(name));
    match namespace.map(|namespace| &namespace.role) {
        Some(Role::Vpc(id)) => id.to_string(),
        Some(Role::Eni(id)) => id.to_string(),
        Some(Role::Edge) => "edge".to_owned(),
        Some(Role::Host) | None => name.clone(),
    }
}

/// That some interface's idle timeouts are not in this kernel.
fn without_idle_timeouts(program: &Program) -> Option<Alarm> {
    // Asked first, because looking at everything after each change would cost more.
    if idle_timeouts_available() {
        return None;
    }
    let mut tables = program.namespaces.values().flat_map(|n| n.tables.values());
    let wanted = tables.any(|table| !table.timeouts.is_empty());
    wanted.then(|| Alarm {
        resource: "host".to_owned(),
        reason: "this kernel has no idle timeouts of single connections (nf_conntrack_timeout): \
                 the defaults act on interfaces with settings of their own"
            .to_owned(),
    })
}

fn remove_host_tables(executor: &mut Executor, config: &RegionConfig) -> Result<(), ApplyError> {
    let families = [Family::V4, Family::V6];
    for (family, tables) in families.into_iter().zip(names::host_tables(config)) {
        for table in tables {
            executor
                .remove_table(&Place::Host, family, &table)
                .map_err(failed(format!("remove the host's firewall table {table}")))?;
        }
    }
    Ok(())
}

/// Removes everything of this instance, by exact name: namespaces with all that is in them, the
/// host's link, routes and firewall table. What other owners made is not touched.
pub fn teardown(config: &RegionConfig) -> Result<(), ApplyError> {
    // In a thread of its own: the caller's must not be moved between namespaces.
    let config = config.clone();
    std::thread::scope(|scope| {
        scope
            .spawn(move || {
                let mut executor = Executor::new(&config)?;
                let own = config.namespace("");
                let all = namespace::names(&own)
                    .map_err(failed(format!("list {}", names::NAMESPACES_DIR)))?;
                executor.remove_host_side(&config)?;
                for name in all {
                    namespace::forget(&name).map_err(failed(format!("remove namespace {name}")))?;
                }
                remove_host_tables(&mut executor, &config)
            })
            .join()
            .unwrap_or(Err(ApplyError::Gone))
    })
}

/// Runs `work` on a thread of its own inside the namespace at `path`: sockets made there stay there.
pub fn in_namespace<T: Send>(
    path: &std::path::Path,
    work: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    in_open_namespace(&std::fs::File::open(path)?, work)
}

fn in_open_namespace<T: Send>(
    file: &std::fs::File,
    work: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        scope
            .spawn(move || {
                namespace::enter(file)?;
                Ok(work())
            })
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
