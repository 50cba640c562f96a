use super::*;

const NOW_MS: i64 = 1_767_225_600_000;
const MINUTE: Tier = TIERS[1];

fn name(metric: &str) -> SeriesName {
    SeriesName {
        account: "1".to_owned(),
        region: "r".to_owned(),
        namespace: "n".to_owned(),
        metric: metric.to_owned(),
        dimensions: vec![("a".to_owned(), "b".to_owned())],
        unit: "Count".to_owned(),
    }
}

fn observed(metric: &str, at_ms: i64, value: f64) -> Observation {
    Observation {
        series: name(metric),
        at_ms,
        values: StatisticSet::of(value, 1.0),
        fine: false,
    }
}

fn sums(store: &SeriesStore, tier: Tier, from_ms: i64) -> Vec<(i64, f64)> {
    let buckets = store.read(&name("m"), tier, (from_ms, NOW_MS + 1), NOW_MS);
    buckets
        .unwrap()
        .into_iter()
        .map(|(at, set)| (at, set.sum))
        .collect()
}

#[test]
fn observations_meet_in_the_buckets_of_each_tier() {
    let store = SeriesStore::in_memory().unwrap();
    let at = NOW_MS - 3_600_000;
    let batch = [0, 59_999, 60_000].map(|ms| observed("m", at + ms, 2.0));
    assert!(store.add(&batch, None, NOW_MS).unwrap());
    assert_eq!(sums(&store, MINUTE, at), [(at, 4.0), (at + 60_000, 2.0)]);
    assert_eq!(sums(&store, TIERS[2], at), [(at, 6.0)]);
    assert_eq!(sums(&store, TIERS[3], at), [(at, 6.0)]);
    assert_eq!(sums(&store, TIERS[0], at), []);
    let fine = Observation {
        fine: true,
        ..observed("m", at + 7_100, 1.0)
    };
    store.add(&[fine], None, NOW_MS).unwrap();
    assert_eq!(sums(&store, TIERS[0], at), [(at + 7_000, 1.0)]);
}

#[test]
fn a_report_counts_once() {
    let store = SeriesStore::in_memory().unwrap();
    let at = NOW_MS - 60_000;
    for (mark, taken) in [(5, true), (5, false), (4, false), (6, true)] {
        let batch = [observed("m", at, 1.0)];
        assert_eq!(
            store.add(&batch, Some(("host-1", mark)), NOW_MS).unwrap(),
            taken
        );
    }
    assert_eq!(sums(&store, MINUTE, at), [(at, 2.0)]);
}

#[test]
fn what_was_synced_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics/series.redb");
    let at = NOW_MS - 60_000;
    {
        let store = SeriesStore::open(&path).unwrap();
        store
            .add(&[observed("m", at, 1.0)], Some(("host-1", 5)), NOW_MS)
            .unwrap();
        store.sync().unwrap();
    }
    let store = SeriesStore::open(&path).unwrap();
    assert_eq!(sums(&store, MINUTE, at), [(at, 1.0)]);
    assert!(
        !store
            .add(&[observed("m", at, 1.0)], Some(("host-1", 5)), NOW_MS)
            .unwrap()
    );
    store
        .add(&[observed("other", at, 1.0)], None, NOW_MS)
        .unwrap();
    let names: Vec<_> = store
        .list("1", "r")
        .into_iter()
        .map(|(name, _)| name.metric)
        .collect();
    assert_eq!(names, ["m", "other"]);
    assert_eq!(store.list("1", "q"), []);
}

#[test]
fn tiers_forget_each_at_its_time() {
    let store = SeriesStore::in_memory().unwrap();
    let at = NOW_MS - 20 * 86_400_000;
    store.add(&[observed("m", at, 1.0)], None, at).unwrap();
    assert_eq!(store.buckets().unwrap(), 3);
    assert_eq!(
        sums(&store, MINUTE, at),
        [],
        "past 15 days, cleared away or not"
    );
    assert_eq!(sums(&store, TIERS[2], at).len(), 1);
    store.expire(NOW_MS).unwrap();
    assert_eq!(store.buckets().unwrap(), 2);
    store.expire(NOW_MS + 500 * 86_400_000).unwrap();
    assert_eq!(store.buckets().unwrap(), 0);
    assert_eq!(store.list("1", "r"), []);
}

#[test]
fn units_are_series_of_their_own() {
    let store = SeriesStore::in_memory().unwrap();
    let other = Observation {
        series: SeriesName {
            unit: "Bytes".to_owned(),
            ..name("m")
        },
        ..observed("m", NOW_MS, 1.0)
    };
    store
        .add(
            &[
                observed("m", NOW_MS, 1.0),
                other,
                observed("mm", NOW_MS, 1.0),
            ],
            None,
            NOW_MS,
        )
        .unwrap();
    let units: Vec<_> = store
        .units(&name("m"))
        .into_iter()
        .map(|name| name.unit)
        .collect();
    assert_eq!(units, ["Bytes", "Count"]);
    store.clear().unwrap();
    assert_eq!(store.units(&name("m")), []);
}

#[test]
fn a_bucket_that_is_not_whole_is_none() {
    let bytes = point::encode(&StatisticSet::of(1.5, 2.0));
    assert_eq!(point::decode(&bytes), Some(StatisticSet::of(1.5, 2.0)));
    for length in [0, 8, 31, 40, bytes.len() - 1] {
        assert_eq!(point::decode(&bytes[..length]), None, "{length}");
    }
}

#[test]
fn marks_are_known_until_they_are_forgotten() {
    let store = SeriesStore::in_memory().unwrap();
    assert_eq!(store.mark("logs/a/1").unwrap(), None);
    for source in ["logs/a/1", "logs/a/2", "logs/b/1"] {
        store.add(&[], Some((source, 7)), NOW_MS).unwrap();
    }
    store.forget_marks("logs/a/").unwrap();
    assert_eq!(store.mark("logs/a/2").unwrap(), None);
    assert_eq!(store.mark("logs/b/1").unwrap(), Some(7));
}
