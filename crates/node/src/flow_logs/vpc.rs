//! The flow logs of one VPC: from what the kernel tells to records in their streams.
//!
//! Called by the worker alone. Sampling (all connections' counters) happens when a flow log is due, so its cost is one
//! walk through the kernel's table an interval, however much traffic there was.

use std::path::PathBuf;
use std::sync::Arc;

use fogbank_net::names;
use fogbank_types::diagnosis::FlowLog;
use fogbank_types::ec2::{Eni, Vpc};
use fogbank_types::{FlowLogId, RegionConfig, Snapshot};

use super::attribution::{Interval, Observation, Rejects, observe};
use super::delivery;
use super::record::Facts;
use super::topology::{Interface, Topology, task_facts};
use super::watch::Watch;
use super::window::Window;

/// A namespace that isn't there yet, or a socket that was refused, is tried again this often.
const RETRY_MS: i64 = 1000;

pub struct VpcLogs {
    config: Arc<RegionConfig>,
    namespace: PathBuf,
    snapshot: Snapshot,
    topology: Topology,
    windows: Vec<Window>,
    watch: Option<Watch>,
    retry_ms: i64,
    rejects: Rejects,
    /// When the kernel was last asked for all connections; before the first time, our start.
    sampled_ms: i64,
    was_sampled: bool,
    /// What connections that began before had counted until the first sample is in no record: no flow log was there.
    counted_from_ms: i64,
    /// The agent's start: older flow logs had an agent before it.
    agent_ms: i64,
    anchor_ms: i64,
}

impl VpcLogs {
    pub fn new(config: &Arc<RegionConfig>, vpc: &Vpc, now_ms: i64, agent_ms: i64) -> Self {
        Self {
            config: Arc::clone(config),
            namespace: names::vpc_namespace(config, &vpc.vpc_id),
            snapshot: Snapshot::default(),
            topology: Topology::of(&Snapshot::default(), config, vpc),
            windows: Vec::new(),
            watch: None,
            retry_ms: 0,
            rejects: Rejects::default(),
            sampled_ms: now_ms,
            was_sampled: false,
            counted_from_ms: i64::MAX,
            agent_ms,
            anchor_ms: now_ms,
        }
    }

    /// Goes on by these rows.
    pub fn change(&mut self, snapshot: &Snapshot, vpc: &Vpc, logs: Vec<Arc<FlowLog>>, now_ms: i64) {
        // What came until now belongs to the interfaces as they were.
        self.drain(now_ms);
        let same =
            self.windows.len() == logs.len() && logs.iter().all(|log| self.has(&log.flow_log_id));
        if !same && !self.windows.is_empty() {
            self.sample(now_ms);
        }
        let next = Topology::of(snapshot, &self.config, vpc);
        let gone: Vec<Interface> = self
            .topology
            .interfaces
            .iter()
            .filter(|interface| !next.has(&interface.eni.eni_id))
            .cloned()
            .collect();
        if !gone.is_empty() {
            self.settle(true);
            for index in 0..self.windows.len() {
                for interface in &gone {
                    self.tell(index, interface, now_ms, false);
                    self.windows[index].forget(&interface.eni);
                }
            }
        }
        for index in (0..self.windows.len()).rev() {
            let id = &self.windows[index].log.flow_log_id;
            if !logs.iter().any(|log| log.flow_log_id == *id) {
                self.flush(index, now_ms);
                self.windows.remove(index);
            }
        }
        self.topology = next;
        self.snapshot = snapshot.clone();
        for log in logs {
            let known = self
                .windows
                .iter_mut()
                .find(|window| window.log.flow_log_id == log.flow_log_id);
            match known {
                Some(window) => window.log = log,
                None => self.begin(log, now_ms),
            }
        }
        self.look(now_ms);
    }

    fn has(&self, id: &FlowLogId) -> bool {
        self.windows
            .iter()
            .any(|window| window.log.flow_log_id == *id)
    }

    fn begin(&mut self, log: Arc<FlowLog>, now_ms: i64) {
        // One that is older than this process was told of before it: counters and events go on from there.
        let goes_on = log.created_at.0 < self.agent_ms;
        if !self.was_sampled {
            let from_ms = if goes_on { 0 } else { log.created_at.0 };
            self.counted_from_ms = self.counted_from_ms.min(from_ms);
        }
        let interval_ms = self.interval_ms(&log);
        let mut window = Window::begin(log, self.anchor_ms, now_ms, interval_ms);
        if goes_on {
            // What ended while nobody listened is not known.
            for interface in &self.topology.interfaces {
                if window.log.resource.covers(&interface.eni) {
                    window.skip(&interface.eni.eni_id);
                }
            }
        }
        self.windows.push(window);
    }

    fn interval_ms(&self, log: &FlowLog) -> i64 {
        let real_ms = u64::from(log.max_aggregation_interval_s) * 1000;
        self.config.scaled_ms(real_ms).max(1) as i64
    }

    /// Opens the kernel's side if the namespace is there, or is another one now.
    fn look(&mut self, now_ms: i64) {
        if let Some(watch) = &self.watch {
            if watch.is_of(&self.namespace) {
                return;
            }
            self.drain(now_ms);
            self.watch = None;
        }
        if now_ms < self.retry_ms {
            return;
        }
        match Watch::open(&self.namespace) {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => {
                self.retry_ms = now_ms + RETRY_MS;
                if error.kind() != std::io::ErrorKind::NotFound {
                    tracing::warn!(%error, vpc = %self.topology.vpc_id, "flow logs cannot look at the VPC");
                }
            }
        }
    }

    /// Empties the sockets, and tells what is due.
    pub fn tick(&mut self, now_ms: i64) {
        if self.watch.is_none() {
            self.look(now_ms);
        }
        self.drain(now_ms);
        let due = |window: &Window| window.due_ms <= now_ms;
        if self.windows.iter().any(due) {
            self.sample(now_ms);
        }
        for index in 0..self.windows.len() {
            if due(&self.windows[index]) {
                self.flush(index, now_ms);
                let interval_ms = self.interval_ms(&self.windows[index].log);
                self.windows[index].turn(now_ms, interval_ms);
            } else if self.windows[index].is_full() {
                for interface in &self.covered(index) {
                    self.tell(index, interface, now_ms, true);
                }
            }
        }
    }

    /// Tells everything.
    pub fn finish(&mut self, now_ms: i64) {
        self.drain(now_ms);
        self.sample(now_ms);
        for index in 0..self.windows.len() {
            self.flush(index, now_ms);
        }
    }

    /// Takes what waits in the sockets.
    fn drain(&mut self, now_ms: i64) {
        let Some(watch) = &mut self.watch else { return };
        let (rejects, topology, windows) = (&mut self.rejects, &self.topology, &mut self.windows);
        let mut whole = true;
        whole &= watch.packets(|packet, device_in, device_out| {
            if !rejects.add(packet, device_in, device_out, now_ms) {
                skip_rejected(topology, windows, device_in, device_out);
            }
        });
        let interval = Interval {
            since_ms: self.sampled_ms,
            now_ms,
        };
        let from_ms = self.counted_from_ms;
        whole &= watch.ends(|connection| {
            if began_since(connection.started_ns, from_ms) {
                observe(topology, rejects, connection, interval, |observation| {
                    put(topology, windows, &observation);
                });
            }
        });
        if !whole {
            skip_all(topology, windows);
        }
    }

    /// Asks for all connections' counters.
    fn sample(&mut self, now_ms: i64) {
        if let Some(watch) = &mut self.watch {
            let (rejects, topology, windows) =
                (&mut self.rejects, &self.topology, &mut self.windows);
            let interval = Interval {
                since_ms: self.sampled_ms,
                now_ms,
            };
            let from_ms = self.counted_from_ms;
            let whole = watch.connections(|connection| {
                if connection.sent.packets + connection.received.packets > 0
                    && began_since(connection.started_ns, from_ms)
                {
                    observe(topology, rejects, connection, interval, |observation| {
                        put(topology, windows, &observation);
                    });
                }
            });
            if !whole {
                skip_all(topology, windows);
            }
        }
        self.settle(false);
        self.sampled_ms = now_ms;
        if self.watch.is_some() {
            // From here on every counter began at zero.
            self.was_sampled = true;
            self.counted_from_ms = 0;
        }
    }

    fn settle(&mut self, keep: bool) {
        let (topology, windows) = (&self.topology, &mut self.windows);
        self.rejects.settle(topology, keep, |observation| {
            put(topology, windows, &observation);
        });
    }

    fn covered(&self, index: usize) -> Vec<Interface> {
        let log = &self.windows[index].log;
        self.topology
            .interfaces
            .iter()
            .filter(|interface| log.resource.covers(&interface.eni))
            .cloned()
            .collect()
    }

    fn flush(&mut self, index: usize, now_ms: i64) {
        for interface in &self.covered(index) {
            self.tell(index, interface, now_ms, false);
        }
    }

    /// Writes what one flow log has of one interface.
    fn tell(&mut self, index: usize, interface: &Interface, now_ms: i64, early: bool) {
        let window = &mut self.windows[index];
        let eni: &Eni = &interface.eni;
        if !window.log.resource.covers(eni) {
            return;
        }
        let Some(uid) = delivery::stream_uid(&self.snapshot, &window.log, eni) else {
            if !window.hold(eni) {
                window.forget(eni);
                tracing::debug!(flow_log = %window.log.flow_log_id, eni = %eni.eni_id, "no log stream");
            }
            return;
        };
        let facts = Facts {
            eni,
            zone_id: &interface.zone_id,
            task: window
                .format
                .wants_task()
                .then(|| task_facts(&self.snapshot, eni))
                .flatten(),
        };
        let records = window.records(&facts, &self.topology, now_ms, early);
        if !records.is_empty() {
            delivery::append(&self.config.logs_dir(), uid, now_ms, &records);
        }
    }
}

/// Whether a connection began when a flow log was there.
fn began_since(started_ns: Option<u64>, from_ms: i64) -> bool {
    from_ms == 0 || started_ns.is_some_and(|ns| (ns / 1_000_000) as i64 >= from_ms)
}

fn put(topology: &Topology, windows: &mut [Window], observation: &Observation) {
    let eni = &topology.interfaces[observation.interface].eni;
    for window in windows {
        if window.log.resource.covers(eni) {
            window.add(&eni.eni_id, observation);
        }
    }
}

fn skip_all(topology: &Topology, windows: &mut [Window]) {
    for index in 0..topology.interfaces.len() {
        skip(topology, windows, index);
    }
}

/// A packet that didn't fit any more.
fn skip_rejected(topology: &Topology, windows: &mut [Window], device_in: &str, device_out: &str) {
    let ends = [device_in, device_out].map(|device| topology.behind(device));
    for index in ends.into_iter().flatten() {
        skip(topology, windows, index);
    }
}

fn skip(topology: &Topology, windows: &mut [Window], index: usize) {
    let eni = &topology.interfaces[index].eni;
    for window in windows {
        if window.log.resource.covers(eni) {
            window.skip(&eni.eni_id);
        }
    }
}
