//! What the tasks of this host use, on its way to CloudWatch: AWS/ECS for services, and Container Insights for clusters
//! that have it enabled.
//!
//! Once a period every running task's counters are read and folded into one row, a few numbers a service however many
//! tasks it has. What must stay true: a task is one observation a period, in percent of what it reserved (fact SCALE-6).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fogbank_types::ecs::Task;
use fogbank_types::metric::{MetricDatum, MetricReport, StatisticSet};
use fogbank_types::status::TaskPhase;
use fogbank_types::{Row as _, Scope, Snapshot, Timestamp};
use tokio::time::sleep;

use super::{PERIOD_MIN_MS, PERIOD_MS, connect, gateways};
use crate::proxies::ByName;
use crate::task::{Host, now};

/// The handle that the agent tells of each snapshot.
#[derive(Clone, Default)]
pub struct TaskMeters {
    snapshot: Arc<Mutex<Snapshot>>,
}

/// A task's counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counters {
    at: Timestamp,
    cpu_ns: u64,
    /// Without what the kernel would give back (cached files).
    memory_bytes: u64,
    received_bytes: u64,
    sent_bytes: u64,
    read_bytes: u64,
    written_bytes: u64,
}

impl TaskMeters {
    pub fn update(&self, snapshot: &Snapshot) {
        *self.snapshot() = snapshot.clone();
    }

    fn snapshot(&self) -> MutexGuard<'_, Snapshot> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the collector. It ends with the runtime.
    pub fn start(&self, host: Arc<Host>) {
        tokio::spawn(self.clone().collect(host));
    }

    /// Periods begin at multiples of their length, so that each is one data point of an alarm.
    async fn collect(self, host: Arc<Host>) {
        let period_ms = host.config.scaled_ms(PERIOD_MS).max(PERIOD_MIN_MS) as i64;
        let mut before = HashMap::new();
        let mut received = None;
        loop {
            let wait_ms = period_ms - now().0.rem_euclid(period_ms);
            sleep(Duration::from_millis(wait_ms.unsigned_abs())).await;
            let snapshot = self.snapshot().clone();
            let read = {
                let (host, snapshot) = (Arc::clone(&host), snapshot.clone());
                let read = move || {
                    let received = gateways::received(&host.config, &snapshot);
                    (counters(&host, &snapshot), received)
                };
                tokio::task::spawn_blocking(read).await
            };
            let Ok((counters, came)) = read else {
                continue;
            };
            let began = Timestamp(now().0.div_euclid(period_ms) * period_ms - period_ms);
            let mut data = fold(&snapshot, &before, &counters);
            data.extend(gateways::data(received.as_ref(), &came));
            data.extend(of_proxies(&snapshot, &host.proxy_counts.take()));
            let report = MetricReport {
                source: format!("{}/tasks", host.config.host),
                at: began,
                data,
            };
            (before, received) = (counters, Some(came));
            if !report.data.is_empty() {
                host.reporter.put_leased(&report).await;
            }
        }
    }
}

/// The running tasks of this host and what their containers' processes used until now, by the task's key. Blocks.
fn counters(host: &Host, snapshot: &Snapshot) -> HashMap<String, Counters> {
    let mut all = HashMap::new();
    for task in snapshot.tasks.all() {
        if task.host != host.config.host {
            continue;
        }
        let status = snapshot.task_statuses.get(&task.scope, &task.id);
        let Some(status) = status.filter(|status| status.phase == TaskPhase::Running) else {
            continue;
        };
        let group = host.hierarchies.group(&host.cgroup(&task.id));
        if !group.exists() {
            continue;
        }
        let usage = group.usage();
        let cached = usage.memory_stats.iter().filter_map(|(name, bytes)| {
            matches!(name.as_str(), "total_inactive_file" | "inactive_file").then_some(*bytes)
        });
        let pid = status.containers.iter().find_map(|container| container.pid);
        let (received_bytes, sent_bytes) = pid.map(network).unwrap_or_default();
        let counters = Counters {
            at: now(),
            cpu_ns: usage.cpu_total_ns,
            memory_bytes: usage.memory_bytes.saturating_sub(cached.max().unwrap_or(0)),
            received_bytes,
            sent_bytes,
            read_bytes: usage.read_bytes,
            written_bytes: usage.write_bytes,
        };
        all.insert(task.key(), counters);
    }
    all
}

/// Bytes received and sent in the network namespace of a process.
fn network(pid: i32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    parse_network(&text)
}

pub(super) fn parse_network(text: &str) -> (u64, u64) {
    let mut total = (0, 0);
    for line in text.lines() {
        let Some((name, numbers)) = line.split_once(':') else {
            continue;
        };
        if name.trim() == "lo" {
            continue;
        }
        let mut numbers = numbers.split_whitespace().map(|n| n.parse().unwrap_or(0));
        total.0 += numbers.next().unwrap_or(0);
        total.1 += numbers.nth(7).unwrap_or(0);
    }
    total
}

/// Namespace, name and dimensions of a datum.
pub(super) type Name = (&'static str, &'static str, Vec<(String, String)>);

/// Data that are put together.
#[derive(Default)]
pub(super) struct Fold {
    data: BTreeMap<(Scope, Name), (&'static str, StatisticSet)>,
}

impl Fold {
    fn add(&mut self, scope: &Scope, name: Name, unit: &'static str, value: f64) {
        self.join(scope, name, unit, &StatisticSet::of(value, 1.0));
    }

    pub fn join(&mut self, scope: &Scope, name: Name, unit: &'static str, more: &StatisticSet) {
        let entry = self.data.entry((scope.clone(), name));
        let (_, values) = entry.or_insert_with(|| (unit, StatisticSet::default()));
        values.join(more);
    }

    pub fn data(self) -> Vec<MetricDatum> {
        let data = self.data.into_iter();
        data.map(
            |((scope, (namespace, name, dimensions)), (unit, values))| MetricDatum {
                scope,
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                dimensions,
                unit: unit.to_owned(),
                values,
            },
        )
        .collect()
    }
}

/// What the proxies of this host have counted since they were last asked.
fn of_proxies(snapshot: &Snapshot, unreported: &HashMap<String, ByName>) -> Vec<MetricDatum> {
    let mut fold = Fold::default();
    for task in snapshot.tasks.all() {
        if let Some(asked) = unreported.get(&task.id) {
            connect::add(&mut fold, snapshot, task, asked);
        }
    }
    fold.data()
}

/// What the counters say of the time since those before. A task that was not seen before counts from its start.
fn fold(
    snapshot: &Snapshot,
    before: &HashMap<String, Counters>,
    counters: &HashMap<String, Counters>,
) -> Vec<MetricDatum> {
    let mut fold = Fold::default();
    for (key, latest) in counters {
        let Some(task) = snapshot.tasks.versioned(key).map(|row| &row.value) else {
            continue;
        };
        let status = snapshot.task_statuses.get(&task.scope, &task.id);
        let started = status.and_then(|status| status.started_at);
        let first = started.map(|at| Counters {
            at,
            ..Counters::default()
        });
        if let Some(earlier) = before.get(key).copied().or(first) {
            of_task(&mut fold, snapshot, task, &earlier, latest);
        }
    }
    fold.data()
}

fn of_task(
    fold: &mut Fold,
    snapshot: &Snapshot,
    task: &Task,
    earlier: &Counters,
    latest: &Counters,
) {
    let seconds = (latest.at.0 - earlier.at.0) as f64 / 1_000.0;
    if seconds <= 0.0 {
        return;
    }
    let rate = |earlier: u64, latest: u64| latest.saturating_sub(earlier) as f64 / seconds;
    // CPU units, 1024 a core.
    let cpu = rate(earlier.cpu_ns, latest.cpu_ns) / 1e9 * 1_024.0;
    let memory_mib = latest.memory_bytes as f64 / f64::from(1 << 20);
    let (cpu_reserved, memory_reserved) = (f64::from(task.cpu), f64::from(task.memory_mib));
    let named = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let cluster = named("ClusterName", &task.cluster);
    let service = task.group.strip_prefix("service:");
    let of_service = service.map(|name| vec![cluster.clone(), named("ServiceName", name)]);
    if let Some(dimensions) = &of_service
        && cpu_reserved > 0.0
        && memory_reserved > 0.0
    {
        for (name, value) in [
            ("CPUUtilization", cpu / cpu_reserved * 100.0),
            ("MemoryUtilization", memory_mib / memory_reserved * 100.0),
        ] {
            let name = ("AWS/ECS", name, dimensions.clone());
            fold.add(&task.scope, name, "Percent", value);
        }
    }
    let row = snapshot.clusters.get(&task.scope, &task.cluster);
    let setting = row.and_then(|cluster| cluster.settings.get("containerInsights"));
    if !setting.is_some_and(|setting| matches!(setting.as_str(), "enabled" | "enhanced")) {
        return;
    }
    let family = family(&task.task_definition_arn);
    let of_family = vec![cluster.clone(), named("TaskDefinitionFamily", family)];
    for (name, unit, value) in [
        ("CpuUtilized", "None", cpu),
        ("CpuReserved", "None", cpu_reserved),
        ("MemoryUtilized", "Megabytes", memory_mib),
        ("MemoryReserved", "Megabytes", memory_reserved),
        (
            "NetworkRxBytes",
            "Bytes/Second",
            rate(earlier.received_bytes, latest.received_bytes),
        ),
        (
            "NetworkTxBytes",
            "Bytes/Second",
            rate(earlier.sent_bytes, latest.sent_bytes),
        ),
        ("StorageReadBytes", "Bytes", latest.read_bytes as f64),
        ("StorageWriteBytes", "Bytes", latest.written_bytes as f64),
    ] {
        let all = [
            Some(vec![cluster.clone()]),
            of_service.clone(),
            Some(of_family.clone()),
        ];
        for dimensions in all.into_iter().flatten() {
            let name = ("ECS/ContainerInsights", name, dimensions);
            fold.add(&task.scope, name, unit, value);
        }
    }
}

/// `web` of `arn:aws:ecs:...:task-definition/web:3`
fn family(arn: &str) -> &str {
    let name = arn.rsplit('/').next().unwrap_or(arn);
    name.rsplit_once(':').map_or(name, |(family, _)| family)
}

#[cfg(test)]
#[path = "tasks_tests.rs"]
pub(super) mod tests;
