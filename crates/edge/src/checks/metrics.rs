//! Metrics of health checks, each minute, in us-east-1.
//!
//! <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/monitoring-cloudwatch.html> and
//! <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/monitoring-health-checks.html>: of all checks their status,
//! of endpoints how many of the checkers think so, of calculated ones their healthy children, and by region what was
//! measured if the check says so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fogbank_store::Store;
use fogbank_types::metric::{MetricDatum, MetricReport, StatisticSet};
use fogbank_types::route53::{HealthCheck, HealthCheckTarget};
use fogbank_types::{Scope, Snapshot};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::board::Board;
use super::checker;
use super::probe::Times;
use super::process::now;
use crate::metric_report::Reporter;

const NAMESPACE: &str = "AWS/Route53";
const REGION: &str = "us-east-1";

/// What was measured since the last report, by metric and region.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums(BTreeMap<(&'static str, &'static str), StatisticSet>);

impl Sums {
    pub fn add(&mut self, region: &'static str, times: &Times) {
        for (name, ms) in [
            ("ConnectionTime", times.connect_ms),
            ("SSLHandshakeTime", times.tls_ms),
            ("TimeToFirstByte", times.first_byte_ms),
        ] {
            let Some(ms) = ms else { continue };
            let set = self.0.entry((name, region)).or_default();
            *set = StatisticSet {
                count: set.count + 1.0,
                sum: set.sum + ms,
                minimum: if set.count == 0.0 {
                    ms
                } else {
                    set.minimum.min(ms)
                },
                maximum: set.maximum.max(ms),
                distribution: Vec::new(),
            };
        }
    }

    fn take(&mut self) -> BTreeMap<(&'static str, &'static str), StatisticSet> {
        std::mem::take(&mut self.0)
    }
}

fn datum(
    check: &HealthCheck,
    name: &str,
    region: Option<&str>,
    unit: &str,
    values: StatisticSet,
) -> MetricDatum {
    let mut dimensions = vec![("HealthCheckId".to_owned(), check.id.clone())];
    dimensions.extend(region.map(|region| ("Region".to_owned(), region.to_owned())));
    MetricDatum {
        scope: Scope::new(&check.scope.account, REGION),
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
        dimensions,
        unit: unit.to_owned(),
        values,
    }
}

fn once(value: f64) -> StatisticSet {
    StatisticSet {
        count: 1.0,
        sum: value,
        minimum: value,
        maximum: value,
        distribution: Vec::new(),
    }
}

fn flag(healthy: bool) -> StatisticSet {
    once(f64::from(u8::from(healthy)))
}

/// Of all checks; empties what was summed up.
pub fn data(board: &Board, snapshot: &Snapshot) -> Vec<MetricDatum> {
    let of_endpoints = board.each(|entry| {
        let check = entry.check.clone();
        let percent = checker::healthy_percent(&entry.checkers);
        let mut data = vec![
            datum(
                &check,
                "HealthCheckStatus",
                None,
                "None",
                flag(entry.is_healthy()),
            ),
            datum(
                &check,
                "HealthCheckPercentageHealthy",
                None,
                "Percent",
                once(percent),
            ),
        ];
        let sums = entry.sums.take();
        if entry
            .endpoint()
            .is_some_and(|endpoint| endpoint.measures_latency)
        {
            let measured = sums.into_iter();
            data.extend(measured.map(|((name, region), set)| {
                datum(&check, name, Some(region), "Milliseconds", set)
            }));
        }
        data
    });
    let others = snapshot.health_checks.all();
    let others =
        others.filter(|check| !matches!(check.config.target, HealthCheckTarget::Endpoint(_)));
    of_endpoints
        .into_iter()
        .flatten()
        .chain(others.flat_map(|check| of_others(snapshot, check)))
        .collect()
}

fn of_others(snapshot: &Snapshot, check: &HealthCheck) -> Vec<MetricDatum> {
    // As records count them; a child that was deleted is no healthy one.
    let is_healthy = |id: &str| {
        snapshot
            .health_checks
            .get(&check.scope, id)
            .is_some_and(|row| {
                let status = snapshot.health_check_statuses.get(&check.scope, id);
                row.is_healthy(status.map(|row| &**row))
            })
    };
    let mut data = vec![datum(
        check,
        "HealthCheckStatus",
        None,
        "None",
        flag(is_healthy(&check.id)),
    )];
    if let HealthCheckTarget::Calculated { children, .. } = &check.config.target {
        let healthy = children.iter().filter(|id| is_healthy(id)).count();
        data.push(datum(
            check,
            "ChildHealthCheckHealthyCount",
            None,
            "None",
            once(healthy as f64),
        ));
    }
    data
}

/// Reports until it is dropped.
pub async fn report(
    board: Arc<Board>,
    store: Arc<dyn Store>,
    snapshots: watch::Receiver<Snapshot>,
    host: String,
    period: Duration,
) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reporter = Reporter::new(store);
    let mut began = now();
    loop {
        ticks.tick().await;
        let snapshot = snapshots.borrow().clone();
        let report = MetricReport {
            source: format!("{host}/health-checks"),
            at: began,
            data: data(&board, &snapshot),
        };
        began = now();
        reporter.put(&report).await;
    }
}
