//! What the load balancer nodes of this host count, on its way to CloudWatch and to Prometheus.
//!
//! Every period the collector asks all keepers for a report, folds what comes into one row and, when the row is
//! stored, tells the processes so. What must stay true: a request is in one stored report, whoever restarts in
//! between; a process that does not answer holds nobody up.

mod connect;
mod fold;
mod gateways;
mod prometheus;
mod tasks;

pub use tasks::TaskMeters;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fogbank_edge::http::{Counts, GroupHealth, Table};
use fogbank_types::metric::MetricReport;
use fogbank_types::status::TargetState;
use fogbank_types::{EniId, RegionConfig, Scope};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::report::Reporter;
use crate::task::now;
use fold::{Sample, fold};

/// "Elastic Load Balancing measures and sends its metrics in 60-second intervals."
const PERIOD_MS: u64 = 60_000;
const PERIOD_MIN_MS: u64 = 1_000;
/// How long the answers of processes are waited for.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(5);

/// The handle that keepers share.
#[derive(Clone)]
pub struct Meters {
    shared: Arc<Shared>,
}

struct Shared {
    /// Number of the period whose report is asked for.
    asked: watch::Sender<u64>,
    /// Number of the period whose report is stored.
    stored: watch::Sender<u64>,
    nodes: Mutex<BTreeMap<EniId, Reading>>,
}

/// What is known of one node.
#[derive(Clone, Debug)]
struct Reading {
    scope: Scope,
    table: Table,
    total: Counts,
    health: BTreeMap<String, Vec<TargetState>>,
    report: Option<Report>,
}

/// What a node told for a period.
#[derive(Clone, Debug)]
struct Report {
    period: u64,
    unreported: Counts,
    /// It is in the period's row. A report that came too late is not, and is told again with the next.
    is_folded: bool,
}

impl Meters {
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                asked: watch::Sender::new(0),
                stored: watch::Sender::new(0),
                nodes: Mutex::default(),
            }),
        }
    }

    /// For a keeper: changes when a report is wanted.
    pub fn asked(&self) -> watch::Receiver<u64> {
        self.shared.asked.subscribe()
    }

    /// For a keeper: changes when the report of a period is stored.
    pub fn stored(&self) -> watch::Receiver<u64> {
        self.shared.stored.subscribe()
    }

    /// A node serves this table.
    pub fn serves(&self, eni: &EniId, scope: &Scope, table: &Table) {
        let mut nodes = self.nodes();
        let reading = nodes.entry(eni.clone()).or_insert_with(|| Reading {
            scope: scope.clone(),
            table: table.clone(),
            total: Counts::default(),
            health: BTreeMap::new(),
            report: None,
        });
        reading.table = table.clone();
        let groups = &reading.table.target_groups;
        reading
            .health
            .retain(|id, _| groups.iter().any(|group| group.id == *id));
    }

    pub fn heard_health(&self, eni: &EniId, groups: &[GroupHealth]) {
        if let Some(reading) = self.nodes().get_mut(eni) {
            for group in groups {
                reading
                    .health
                    .insert(group.target_group.clone(), group.targets.clone());
            }
        }
    }

    pub fn heard_counts(&self, eni: &EniId, total: Counts) {
        if let Some(reading) = self.nodes().get_mut(eni) {
            reading.total = total;
        }
    }

    pub fn heard_report(&self, eni: &EniId, period: u64, unreported: Counts) {
        if let Some(reading) = self.nodes().get_mut(eni) {
            reading.report = Some(Report {
                period,
                unreported,
                is_folded: false,
            });
        }
    }

    /// Whether that node's report is in the row of this period.
    pub fn has_report(&self, eni: &EniId, period: u64) -> bool {
        let nodes = self.nodes();
        let report = nodes.get(eni).and_then(|reading| reading.report.as_ref());
        report.is_some_and(|report| report.period == period && report.is_folded)
    }

    pub fn gone(&self, eni: &EniId) {
        self.nodes().remove(eni);
    }

    /// Starts the collector, and the endpoint for Prometheus if there is one. They end with the runtime.
    pub fn start(&self, config: &Arc<RegionConfig>, reporter: Reporter) {
        tokio::spawn(self.clone().collect(config.clone(), reporter));
        if let Some(address) = config.metrics {
            tokio::spawn(prometheus::serve(self.clone(), address));
        }
    }

    async fn collect(self, config: Arc<RegionConfig>, reporter: Reporter) {
        let period = config.scaled_ms(PERIOD_MS).max(PERIOD_MIN_MS);
        let mut ticks = interval(Duration::from_millis(period));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut began = (now(), Instant::now());
        loop {
            ticks.tick().await;
            let ended = (now(), Instant::now());
            let number = *self.shared.asked.borrow() + 1;
            self.shared.asked.send_replace(number);
            self.answers(number).await;
            let length = ended.1.saturating_duration_since(began.1);
            let report = MetricReport {
                source: format!("{}/load-balancers", config.host),
                at: began.0,
                data: self.folded(number, length),
            };
            began = ended;
            if !report.data.is_empty() {
                reporter.put_leased(&report).await;
            }
            self.shared.stored.send_replace(number);
        }
    }

    /// Waits for the reports of all nodes, but not for ever.
    async fn answers(&self, number: u64) {
        let deadline = Instant::now() + PATIENCE;
        let is_told = |reading: &Reading| {
            let report = reading.report.as_ref();
            report.is_some_and(|report| report.period == number)
        };
        while Instant::now() < deadline && !self.nodes().values().all(is_told) {
            sleep(LOOK).await;
        }
    }

    fn folded(&self, number: u64, period: Duration) -> Vec<fogbank_types::metric::MetricDatum> {
        let mut nodes = self.nodes();
        for reading in nodes.values_mut() {
            // Who was silent will tell it with the next report.
            reading.report.take_if(|report| report.period != number);
            if let Some(report) = &mut reading.report {
                report.is_folded = true;
            }
        }
        let sample = |reading| {
            let Reading {
                scope,
                table,
                health,
                report,
                ..
            }: &Reading = reading;
            let counts = &report.as_ref()?.unreported;
            Some(Sample {
                scope,
                table,
                counts,
                health,
            })
        };
        let samples: Vec<_> = nodes.values().filter_map(sample).collect();
        fold(&samples, period)
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<EniId, Reading>> {
        self.shared
            .nodes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
