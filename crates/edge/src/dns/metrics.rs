//! What was asked, each minute: by public hosted zone as Route 53 counts it, and of the servers as a whole.
//!
//! <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/monitoring-hosted-zones-with-cloudwatch.html>: `DNSQueries` in
//! `AWS/Route53`, in us-east-1, of the account of the zone. The servers' own counts are in `Fogbank/DNS`, of the region's
//! account. Nothing asked, nothing told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fogbank_store::Store;
use fogbank_types::metric::{MetricDatum, MetricReport, StatisticSet};
use fogbank_types::route53::HostedZone;
use fogbank_types::{RegionConfig, Row, Scope, Timestamp};
use tokio::time::{MissedTickBehavior, interval};

use super::query_log;
use super::responder::Counters;
use crate::metric_report::Reporter;

const REGION: &str = "us-east-1";
const MINUTE_MS: u64 = 60_000;

/// How often each zone was asked since the last report. Cheap to clone; the clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct ZoneCounts(Arc<Mutex<HashMap<String, ZoneCount>>>);

#[derive(Debug)]
struct ZoneCount {
    account: String,
    zone_id: String,
    queries: Arc<AtomicU64>,
}

impl ZoneCounts {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, ZoneCount>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where questions to that zone are counted, however often it is compiled.
    pub fn of(&self, row: &HostedZone) -> Arc<AtomicU64> {
        let mut counts = self.lock();
        let count = counts.entry(row.key()).or_insert_with(|| ZoneCount {
            account: row.scope.account.clone(),
            zone_id: row.id.clone(),
            queries: Arc::default(),
        });
        count.queries.clone()
    }

    pub fn forget(&self, key: &str) {
        self.lock().remove(key);
    }

    fn take(&self) -> Vec<MetricDatum> {
        let counts = self.lock();
        let asked = counts.values().filter_map(|count| {
            let queries = count.queries.swap(0, Ordering::Relaxed);
            let dimension = ("HostedZoneId".to_owned(), count.zone_id.clone());
            let scope = Scope::new(&count.account, REGION);
            datum(scope, "AWS/Route53", "DNSQueries", dimension, queries)
        });
        asked.collect()
    }
}

/// The servers' counts, and what was told of them.
struct Told {
    counters: Arc<Counters>,
    before: [u64; NAMES.len()],
}

const NAMES: [&str; 6] = [
    "Queries",
    "Dropped",
    "Malformed",
    "Forwarded",
    "RateLimited",
    "Unlogged",
];

impl Told {
    fn take(&mut self, config: &RegionConfig) -> Vec<MetricDatum> {
        let counters = &self.counters;
        let now = [
            &counters.queries,
            &counters.dropped,
            &counters.malformed,
            &counters.forwarded,
            &counters.limited,
            &counters.unlogged,
        ]
        .map(|counter| counter.load(Ordering::Relaxed));
        let before = std::mem::replace(&mut self.before, now);
        let each = NAMES.into_iter().zip(now.into_iter().zip(before));
        each.filter_map(|(name, (now, before))| {
            let host = ("Host".to_owned(), config.host.clone());
            let scope = Scope::new(&config.account, REGION);
            datum(scope, "Fogbank/DNS", name, host, now - before)
        })
        .collect()
    }
}

/// One observation a question, as AWS's statistics of it are: the sum is how many there were.
fn datum(
    scope: Scope,
    namespace: &str,
    name: &str,
    dimension: (String, String),
    count: u64,
) -> Option<MetricDatum> {
    let count = count as f64;
    (count > 0.0).then(|| MetricDatum {
        scope,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        dimensions: vec![dimension],
        unit: "Count".to_owned(),
        values: StatisticSet {
            count,
            sum: count,
            minimum: 1.0,
            maximum: 1.0,
            distribution: Vec::new(),
        },
    })
}

/// Reports until it is dropped.
pub async fn report(
    config: RegionConfig,
    store: Arc<dyn Store>,
    counters: Arc<Counters>,
    zones: ZoneCounts,
) {
    let mut ticks = interval(Duration::from_millis(config.scaled_ms(MINUTE_MS)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reporter = Reporter::new(store);
    let mut told = Told {
        counters,
        before: [0; NAMES.len()],
    };
    let mut began = now();
    loop {
        ticks.tick().await;
        let mut data = zones.take();
        data.extend(told.take(&config));
        let report = MetricReport {
            source: format!("{}/dns", config.host),
            at: std::mem::replace(&mut began, now()),
            data,
        };
        reporter.put(&report).await;
    }
}

fn now() -> Timestamp {
    Timestamp(query_log::now_ms())
}
