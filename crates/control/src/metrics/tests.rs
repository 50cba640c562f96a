//! Metrics and alarms of a whole engine, without a socket.

use super::alarms::Schedule;
use super::*;
use crate::engine::CommitError;
use crate::model::cloudwatch::alarms::{self as rules, NewAlarm};
use crate::model::tx::test_config;
use fogbank_store::Memory;
use fogbank_types::alarm::*;
use fogbank_types::metric::StatisticSet;
use fogbank_types::{RegionConfig, Timestamp};

fn scope() -> Scope {
    Scope::new("000000000000", "us-east-1")
}

async fn engine(speed: f64) -> Arc<Engine> {
    let config = RegionConfig {
        speed,
        ..test_config()
    };
    Engine::start(Arc::new(Memory::new()), config)
        .await
        .unwrap()
}

fn report(at: Timestamp, value: f64) -> MetricReport {
    MetricReport {
        source: "host-1/load-balancers".to_owned(),
        at,
        data: vec![MetricDatum {
            scope: scope(),
            namespace: "AWS/ApplicationELB".to_owned(),
            name: "RequestCount".to_owned(),
            dimensions: vec![("LoadBalancer".to_owned(), "app/a/b".to_owned())],
            unit: "Count".to_owned(),
            values: StatisticSet::of(value, 1.0),
        }],
    }
}

fn alarm(engine: &Engine, treat_missing: Option<TreatMissing>) {
    let watch = MetricWatch {
        source: AlarmSource::Metric(MetricStatistic {
            namespace: "AWS/ApplicationELB".to_owned(),
            name: "RequestCount".to_owned(),
            dimensions: vec![("LoadBalancer".to_owned(), "app/a/b".to_owned())],
            statistic: "Sum".to_owned(),
            period_s: 60,
            unit: None,
        }),
        evaluation_periods: 1,
        datapoints_to_alarm: None,
        threshold: 5.0,
        comparison: Comparison::GreaterThanThreshold,
        treat_missing,
        low_samples: None,
    };
    let new = NewAlarm {
        name: "busy".to_owned(),
        ..NewAlarm::default()
    };
    engine
        .write(|tx| {
            let watch = AlarmWatch::Metric(watch.clone());
            rules::put(tx, &scope(), new.clone(), watch).unwrap();
            Ok::<_, CommitError>(())
        })
        .unwrap();
}

fn state(engine: &Engine) -> (AlarmState, String) {
    let snapshot = engine.snapshot();
    let alarm = snapshot.alarms.get(&scope(), "busy").unwrap();
    (alarm.state, alarm.state_reason.clone())
}

#[tokio::test]
async fn a_report_makes_an_alarm_go_off_and_counts_once() {
    let engine = engine(20.0).await;
    tokio::task::spawn_blocking(move || {
        let at = engine.now().plus_ms(-6_000);
        assert!(take_in(&engine, &report(at, 6.0)).unwrap());
        assert!(!take_in(&engine, &report(at, 6.0)).unwrap());
        alarm(&engine, None);
        assert_eq!(state(&engine).0, AlarmState::InsufficientData);
        let mut schedule = Schedule::default();
        alarms::evaluate_due(&engine, &mut schedule);
        let (state, reason) = state(&engine);
        assert_eq!(state, AlarmState::Alarm);
        assert!(
            reason.starts_with("Threshold Crossed: 1 out of the last 1 datapoint [6.0 ("),
            "{reason}"
        );
        let kinds: Vec<_> = engine
            .snapshot()
            .alarm_history
            .all()
            .map(|item| item.summary.clone())
            .collect();
        assert_eq!(
            kinds,
            [
                "Alarm \"busy\" created",
                "Alarm updated from INSUFFICIENT_DATA to ALARM"
            ]
        );
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_alarm_without_data_is_as_it_says() {
    let engine = engine(1.0).await;
    tokio::task::spawn_blocking(move || {
        for (treat, wanted) in [
            (None, AlarmState::InsufficientData),
            (Some(TreatMissing::Breaching), AlarmState::Alarm),
            (Some(TreatMissing::Ignore), AlarmState::Alarm),
            (Some(TreatMissing::NotBreaching), AlarmState::Ok),
        ] {
            alarm(&engine, treat);
            alarms::evaluate_due(&engine, &mut Schedule::default());
            assert_eq!(state(&engine).0, wanted, "{treat:?}");
        }
    })
    .await
    .unwrap();
}

/// A group with a stream and a filter; the engine's folder goes with the guard.
async fn filtered(
    default_value: Option<f64>,
) -> (tempfile::TempDir, Arc<Engine>, std::path::PathBuf) {
    use crate::model::logs::{groups, metric_filters, streams};
    let folder = tempfile::tempdir().unwrap();
    let config = RegionConfig {
        data_dir: folder.path().to_owned(),
        ..test_config()
    };
    let engine = Engine::start(Arc::new(Memory::new()), config)
        .await
        .unwrap();
    let new = metric_filters::NewFilter {
        group: "/api".to_owned(),
        name: "slow".to_owned(),
        pattern: "{ $.took > 10 }".to_owned(),
        namespace: "shop".to_owned(),
        metric: "Slow".to_owned(),
        value: "$.took".to_owned(),
        default_value,
        ..Default::default()
    };
    let made = tokio::task::spawn_blocking({
        let engine = engine.clone();
        move || {
            engine.write(|tx| {
                groups::create(tx, &scope(), "/api", None, None, Default::default()).unwrap();
                metric_filters::put(tx, &scope(), new.clone()).unwrap();
                Ok::<_, CommitError>(streams::create(tx, &scope(), "/api", "a").unwrap().uid)
            })
        }
    });
    let uid = made.await.unwrap().unwrap().0;
    let stream = engine.config().logs_dir().join(uid);
    (folder, engine, stream)
}

fn say(stream: &std::path::Path, at: i64, message: &str) {
    let mut writer = fogbank_store::log::Writer::open(stream).unwrap();
    writer.append(at, at, message.as_bytes()).unwrap();
}

/// Count and sum of what the filter has made so far.
fn slow(engine: &Engine) -> (f64, f64) {
    let name = series_name(&scope(), "shop", "Slow", &[], "None");
    let now = engine.now().0;
    let tier = fogbank_store::series::TIERS[1];
    let found = engine
        .metrics()
        .read(&name, tier, (0, now + 60_000), now)
        .unwrap();
    found.iter().fold((0.0, 0.0), |(count, sum), (_, set)| {
        (count + set.count, sum + set.sum)
    })
}

fn look(engine: &Engine, counter: &mut filters::Counter) {
    // At once, not when it is time to.
    *counter = std::mem::take(counter).due();
    while filters::observe(engine, counter).unwrap() {}
}

#[tokio::test]
async fn events_that_match_a_filter_count_once() {
    let (_folder, engine, stream) = filtered(None).await;
    let mut counter = filters::Counter::default();
    let now = engine.now().0;
    say(&stream, now - 60_000, r#"{"took":99}"#);
    say(&stream, now, r#"{"took":11}"#);
    say(&stream, now, r#"{"took":1}"#);
    look(&engine, &mut counter);
    assert_eq!(
        slow(&engine),
        (1.0, 11.0),
        "what came before the filter is not its"
    );
    say(&stream, now, r#"{"took":20}"#);
    look(&engine, &mut counter);
    look(&engine, &mut counter);
    assert_eq!(slow(&engine), (2.0, 31.0));
    // As after a restart.
    look(&engine, &mut filters::Counter::default());
    assert_eq!(slow(&engine), (2.0, 31.0));
}

#[tokio::test]
async fn a_minute_without_a_match_counts_for_the_default() {
    let (_folder, engine, stream) = filtered(Some(0.0)).await;
    let mut counter = filters::Counter::default();
    let now = engine.now().0;
    let minute = |ago: i64, message| {
        let mut writer = fogbank_store::log::Writer::open(&stream).unwrap();
        writer
            .append(now - ago * 60_000, now, str::as_bytes(message))
            .unwrap();
    };
    minute(3, r#"{"took":1}"#);
    minute(3, r#"{"took":2}"#);
    minute(6, r#"{"took":30}"#);
    minute(6, r#"{"took":3}"#);
    look(&engine, &mut counter);
    assert_eq!(
        slow(&engine),
        (2.0, 30.0),
        "one for the match, one for the minute without"
    );
}
