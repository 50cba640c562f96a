//! VPC flow logs: what passed and what was rejected at the interfaces of this host, as records in CloudWatch Logs.
//!
//! The agent hands over each snapshot; one thread of its own does the rest. <https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs.html>
//!
//! - [`watch`]: a VPC's connections with their counters, their ends, the packets that gates logged (the kernel's side).
//! - [`attribution`]: whose they were: flows of interfaces (pure). [`topology`]: what it must know of a VPC (pure).
//! - [`window`]: flows gathered for one flow log until they are due (pure). [`record`]: their text (pure).
//! - [`delivery`]: into the streams' folders.
//!
//! What must stay true: the agent never waits for any of this; nothing here happens per packet of accepted traffic; what
//! the kernel counted is told once, since reading a counter sets it to zero: after a restart or a crash it goes on where
//! the last reading stopped. A crash costs what was gathered and not yet written (at most one interval).

mod attribution;
mod delivery;
#[cfg(test)]
mod kernel_tests;
mod record;
/// Rows for tests, as the network's own tests make them.
#[cfg(test)]
#[path = "../../../net/tests/region/mod.rs"]
#[allow(clippy::wrong_self_convention)]
mod region;
/// Namespaces for tests, as the network's own tests make them.
#[cfg(test)]
#[path = "../../../net/tests/sandbox/mod.rs"]
mod sandbox;
#[cfg(test)]
mod tests;
mod topology;
mod vpc;
mod watch;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use fogbank_types::diagnosis::{FlowLog, FlowLogResource};
use fogbank_types::{RegionConfig, Scope, Snapshot, VpcId};
use tokio::sync::oneshot;

use vpc::VpcLogs;

/// NFLOG's group for the packets that gates keep.
use fogbank_net::names::FLOW_LOG_GROUP as GROUP;

/// How often the kernel's sockets are emptied; they hold some 100,000 messages meanwhile.
const TICK: Duration = Duration::from_millis(100);
/// How long the region's end waits for the last records.
const FINISH_WAIT: Duration = Duration::from_secs(5);

enum Job {
    Update(Box<Snapshot>),
    Finish(oneshot::Sender<()>),
}

/// The agent's handle.
pub struct FlowLogs {
    config: Arc<RegionConfig>,
    /// `None` until there is a flow log.
    worker: Option<Sender<Job>>,
    /// Flow logs were there the last time.
    active: bool,
    /// The agent's start: older flow logs had an agent before this one.
    started_ms: i64,
}

impl FlowLogs {
    pub fn new(config: Arc<RegionConfig>) -> Self {
        Self {
            config,
            worker: None,
            active: false,
            started_ms: now_ms(),
        }
    }

    /// Goes on by this snapshot, which the network holds already.
    pub fn update(&mut self, snapshot: &Snapshot) {
        let wanted = !snapshot.flow_logs.is_empty();
        if !wanted && !self.active {
            return;
        }
        self.active = wanted;
        let job = Job::Update(Box::new(snapshot.clone()));
        let unsent = match &self.worker {
            Some(worker) => worker.send(job).err().map(|unsent| unsent.0),
            None => Some(job),
        };
        // None yet, or it died of something.
        if let Some(job) = unsent {
            match start(&self.config, self.started_ms) {
                Ok(worker) => {
                    let _ = worker.send(job);
                    self.worker = Some(worker);
                }
                Err(error) => tracing::error!(%error, "flow logs do not run"),
            }
        }
    }

    /// Writes what was gathered, and ends.
    pub async fn finish(&mut self) {
        let Some(worker) = self.worker.take() else {
            return;
        };
        let (done, finished) = oneshot::channel();
        if worker.send(Job::Finish(done)).is_ok()
            && tokio::time::timeout(FINISH_WAIT, finished).await.is_err()
        {
            tracing::warn!("flow log records are still being written");
        }
    }
}

fn start(config: &Arc<RegionConfig>, started_ms: i64) -> std::io::Result<Sender<Job>> {
    let (jobs, queue) = channel();
    let mut worker = Worker {
        config: Arc::clone(config),
        vpcs: BTreeMap::new(),
        started_ms,
    };
    std::thread::Builder::new()
        .name("flow-logs".to_owned())
        .spawn(move || worker.serve(&queue))?;
    Ok(jobs)
}

struct Worker {
    config: Arc<RegionConfig>,
    vpcs: BTreeMap<(Scope, VpcId), VpcLogs>,
    started_ms: i64,
}

impl Worker {
    fn serve(&mut self, queue: &Receiver<Job>) {
        loop {
            let mut newest = None;
            let mut end = None;
            if self.vpcs.is_empty() {
                match queue.recv() {
                    Ok(job) => take(job, &mut newest, &mut end),
                    Err(_) => return,
                }
            }
            let until = Instant::now() + TICK;
            while end.is_none() {
                match queue.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(job) => take(job, &mut newest, &mut end),
                    Err(RecvTimeoutError::Timeout) => break,
                    // The agent is gone without a word: its data plane stays, and what we have is written.
                    Err(RecvTimeoutError::Disconnected) => end = Some(None),
                }
            }
            if let Some(snapshot) = newest {
                self.change(&snapshot);
            }
            for vpc in self.vpcs.values_mut() {
                vpc.tick(now_ms());
            }
            if let Some(done) = end {
                for vpc in self.vpcs.values_mut() {
                    vpc.finish(now_ms());
                }
                if let Some(done) = done {
                    let _ = done.send(());
                }
                return;
            }
        }
    }

    fn change(&mut self, snapshot: &Snapshot) {
        let mut wanted: BTreeMap<(Scope, VpcId), Vec<Arc<FlowLog>>> = BTreeMap::new();
        for log in snapshot.flow_logs.all() {
            if let Some(vpc_id) = vpc_of(snapshot, log) {
                let place = (log.scope.clone(), vpc_id);
                wanted.entry(place).or_default().push(Arc::clone(log));
            }
        }
        let now_ms = now_ms();
        self.vpcs.retain(|place, vpc| {
            let stays = wanted.contains_key(place) && snapshot.vpcs.contains(&place.0, &place.1);
            if !stays {
                vpc.finish(now_ms);
            }
            stays
        });
        for (place, logs) in wanted {
            let Some(vpc) = snapshot.vpcs.get(&place.0, &place.1) else {
                continue;
            };
            self.vpcs
                .entry(place)
                .or_insert_with(|| VpcLogs::new(&self.config, vpc, now_ms, self.started_ms))
                .change(snapshot, vpc, logs, now_ms);
        }
    }
}

fn take(
    job: Job,
    newest: &mut Option<Box<Snapshot>>,
    end: &mut Option<Option<oneshot::Sender<()>>>,
) {
    match job {
        Job::Update(snapshot) => *newest = Some(snapshot),
        Job::Finish(done) => *end = Some(Some(done)),
    }
}

/// The VPC that a flow log is about, while its resource is there.
fn vpc_of(snapshot: &Snapshot, log: &FlowLog) -> Option<VpcId> {
    match &log.resource {
        FlowLogResource::Vpc(id) => Some(id.clone()),
        FlowLogResource::Subnet(id) => {
            let subnet = snapshot.subnets.get(&log.scope, id)?;
            Some(subnet.vpc_id.clone())
        }
        FlowLogResource::NetworkInterface(id) => {
            let eni = snapshot.enis.get(&log.scope, id)?;
            Some(eni.vpc_id.clone())
        }
    }
}

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}
