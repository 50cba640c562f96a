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
