//! Where metrics are kept and looked at: takes in the reports of hosts, puts the series on the disk, forgets what is old.
//!
//! Started once by the process. The series themselves are `fogbank_store::series`; what data and queries must be like is
//! in `model::cloudwatch`. How all hangs together: `docs/flows/metric-to-alarm.md`.

pub mod alarms;
pub mod filters;
pub mod queries;
pub mod read;
mod selection;
mod service_counts;
#[cfg(test)]
mod tests;

use crate::Engine;
use alarms::Schedule;
use fogbank_store::series::{Observation, SeriesError, SeriesName, SeriesStore};
use fogbank_types::metric::{MetricDatum, MetricReport};
use fogbank_types::{RegionConfig, Scope};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a crash may cost.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How soon an event counts for a metric filter.
const FILTER_EVERY: Duration = Duration::from_millis(500);
const EXPIRE_EVERY: Duration = Duration::from_secs(3_600);

fn path(config: &RegionConfig) -> PathBuf {
    config.data_dir.join("metrics/series.redb")
}

/// The region's series. A file that cannot be read is put aside: metrics are worth less than a region that starts.
pub fn open(config: &RegionConfig) -> Result<SeriesStore, SeriesError> {
    if config.ephemeral {
        return SeriesStore::in_memory();
    }
    let path = path(config);
    SeriesStore::open(&path).or_else(|error| {
        let aside = path.with_extension("damaged");
        tracing::error!(%error, aside = %aside.display(), "the metrics cannot be read; starting anew without them");
        match std::fs::rename(&path, &aside) {
            Ok(()) => SeriesStore::open(&path),
            Err(_) => SeriesStore::in_memory(),
        }
    })
}

/// Takes reports in, evaluates alarms and syncs, until the process ends.
pub async fn run(engine: Arc<Engine>) {
    let mut expired = Instant::now();
    let mut synced = Instant::now();
    let mut snapshots = engine.subscribe();
    let schedule = Arc::new(Mutex::new(Schedule::default()));
    loop {
        snapshots.borrow_and_update();
        let expire = expired.elapsed() >= EXPIRE_EVERY;
        let sync = synced.elapsed() >= SYNC_EVERY;
        let done = tokio::task::spawn_blocking({
            let (engine, schedule) = (engine.clone(), schedule.clone());
            move || {
                let mut schedule = schedule.lock().unwrap_or_else(PoisonError::into_inner);
                turn(&engine, &mut schedule, sync, expire)
            }
        });
        let pause = match done.await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::error!(%error, "a turn of the metrics failed");
                SYNC_EVERY
            }
        };
        if expire {
            expired = Instant::now();
        }
        if sync {
            synced = Instant::now();
        }
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause.min(SYNC_EVERY)) => {}
        }
        // Changes come in bursts; each is looked at within this time.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One look at everything; how long until something is due. Blocks.
fn turn(engine: &Engine, schedule: &mut Schedule, sync: bool, expire: bool) -> Duration {
    for report in engine.snapshot().metric_reports.all() {
        if let Err(error) = take_in(engine, report) {
            tracing::error!(%error, source = report.source, "a report of metrics cannot be kept");
        }
    }
    if let Err(error) = service_counts::observe(engine, &mut schedule.counted) {
        tracing::error!(%error, "services' counts cannot be kept");
    }
    let more = filters::observe(engine, &mut schedule.filters).unwrap_or_else(|error| {
        tracing::error!(%error, "metric filters cannot count");
        false
    });
    let pause = match alarms::evaluate_due(engine, schedule) {
        _ if more => Duration::ZERO,
        // Events come without a word.
        pause if engine.snapshot().log_metric_filters.is_empty() => pause,
        pause => pause.min(FILTER_EVERY),
    };
    if sync && let Err(error) = engine.metrics().sync() {
        tracing::error!(%error, "the metrics cannot be put on the disk");
    }
    if expire && let Err(error) = engine.metrics().expire(engine.now().0) {
        tracing::error!(%error, "old metrics cannot be forgotten");
    }
    pause
}

/// Keeps what a host reported, once.
fn take_in(engine: &Engine, report: &MetricReport) -> Result<bool, SeriesError> {
    // A region that runs fast has periods of seconds: they are kept by the second.
    let fine = engine.config().speed > 1.0;
    let observations: Vec<Observation> = report
        .data
        .iter()
        .filter(|datum| datum.values.count > 0.0)
        .map(|datum| Observation {
            series: series_of(datum),
            at_ms: report.at.0,
            values: datum.values.clone(),
            fine,
        })
        .collect();
    let mark = Some((report.source.as_str(), report.at.0));
    engine.metrics().add(&observations, mark, engine.now().0)
}

fn series_of(datum: &MetricDatum) -> SeriesName {
    series_name(
        &datum.scope,
        &datum.namespace,
        &datum.name,
        &datum.dimensions,
        &datum.unit,
    )
}

/// The name of a series; dimensions in any order.
pub fn series_name(
    scope: &Scope,
    namespace: &str,
    metric: &str,
    dimensions: &[(String, String)],
    unit: &str,
) -> SeriesName {
    let mut dimensions = dimensions.to_vec();
    dimensions.sort();
    SeriesName {
        account: scope.account.clone(),
        region: scope.region.clone(),
        namespace: namespace.to_owned(),
        metric: metric.to_owned(),
        dimensions,
        unit: unit.to_owned(),
    }
}
