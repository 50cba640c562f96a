use std::io::Read;
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;

use super::*;
use crate::http::table::{Attributes, Identity, LogDestination};
use crate::http::{Logs, log::Kind, log::LogRecord, log::Place};

fn table(prefix: Option<&str>) -> Table {
    Table {
        revision: 1,
        load_balancer: "app/test/0123".into(),
        dns_name: "lb".into(),
        zone: "us-east-1a".into(),
        attributes: Attributes {
            access_log: Some(LogDestination {
                bucket: "logs".into(),
                prefix: prefix.map(str::to_owned),
            }),
            ..Attributes::default()
        },
        listeners: vec![],
        target_groups: vec![],
        certificates: vec![],
        trust_stores: vec![],
        cookie_secret: String::new(),
        identity: Identity {
            account: "000000000000".into(),
            region: "us-east-1".into(),
            address: Some([10, 0, 0, 7].into()),
            log_period_ms: 300_000,
        },
    }
}

fn home(folder: &tempfile::TempDir) -> Home {
    Home {
        data_folder: folder.path().to_owned(),
        eni: "eni-1".into(),
    }
}

/// All files below, by their path.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let key = entry
                    .path()
                    .strip_prefix(folder)
                    .expect("below")
                    .display()
                    .to_string();
                found.push((key, fs::read(entry.path()).expect("readable")));
            }
        }
    }
    found.sort();
    found
}

fn unpacked(bytes: &[u8]) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(bytes)
        .read_to_string(&mut text)
        .expect("gzip");
    text
}

fn write(logs: &Logs, count: usize) {
    let mut record = LogRecord::default();
    record.begin(true, Kind::Http);
    let place = Place {
        load_balancer: "app/test/0123",
        node: None,
        peer: ([1, 2, 3, 4], 5).into(),
        listener_port: 80,
        tls: None,
        trace: 0,
    };
    (0..count).for_each(|_| logs.access(&record, &place));
}

#[test]
fn keys_are_as_in_the_guide() {
    let folder = tempfile::tempdir().expect("a folder");
    let destination =
        Destination::of(&table(Some("a/b")), Stream::Access, &home(&folder)).expect("proper");
    // 2014-02-15T23:40Z
    assert_eq!(
        destination.key(Stream::Access, 1_392_507_600, "20sg8hgm"),
        PathBuf::from(
            "logs/a/b/AWSLogs/000000000000/elasticloadbalancing/us-east-1/2014/02/15/\
             000000000000_elasticloadbalancing_us-east-1_app.test.0123_20140215T2340Z_10.0.0.7_20sg8hgm.log.gz"
        )
    );
    let name = |stream| {
        destination
            .key(stream, 0, "x")
            .file_name()
            .map(|name| name.display().to_string())
    };
    assert!(
        name(Stream::Connection).is_some_and(|name| name.starts_with("conn_log_000000000000_"))
    );
    assert!(
        name(Stream::HealthCheck)
            .is_some_and(|name| name.starts_with("health_check_log_000000000000_"))
    );
    assert_eq!(
        destination.period_end_ms(1_392_507_599_999),
        1_392_507_600_000
    );
    assert_eq!(
        destination.period_end_ms(1_392_507_600_000),
        1_392_507_900_000
    );
}

#[test]
fn places_outside_the_buckets_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (bucket, prefix) in [
        ("..", None),
        ("/etc", None),
        ("a", Some("../../x")),
        ("a", Some("/x")),
        ("", None),
    ] {
        let mut table = table(prefix);
        table.attributes.access_log.as_mut().expect("on").bucket = bucket.into();
        assert_eq!(
            Destination::of(&table, Stream::Access, &home(&folder)),
            None,
            "{bucket} {prefix:?}"
        );
    }
}

#[test]
fn all_lines_are_delivered_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let logs = Logs::new(home(&folder));
    logs.configure(&table(Some("p")));
    write(&logs, 1000);
    logs.finish(Duration::from_secs(10));
    let found = files(&folder.path().join("buckets"));
    let [(test_file, _), (key, bytes)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        test_file,
        "logs/p/AWSLogs/000000000000/ELBAccessLogTestFile"
    );
    assert!(
        key.starts_with("logs/p/AWSLogs/000000000000/elasticloadbalancing/us-east-1/20"),
        "{key}"
    );
    assert_eq!(unpacked(bytes).lines().count(), 1000);
    assert_eq!(logs.dropped(), 0);
    let left = fs::read_dir(folder.path().join("log-delivery"))
        .expect("a folder")
        .count();
    assert_eq!(left, 0, "nothing is left beside");
}

#[test]
fn another_place_takes_only_later_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let logs = Logs::new(home(&folder));
    logs.configure(&table(Some("one")));
    write(&logs, 3);
    logs.configure(&table(Some("two")));
    write(&logs, 5);
    let mut off = table(None);
    off.attributes.access_log = None;
    logs.configure(&off);
    write(&logs, 7);
    logs.finish(Duration::from_secs(10));
    let counts: Vec<(char, usize)> = files(&folder.path().join("buckets"))
        .into_iter()
        .filter(|(key, _)| key.ends_with(".gz"))
        .map(|(key, bytes)| (key.as_bytes()[5].into(), unpacked(&bytes).lines().count()))
        .collect();
    assert_eq!(counts, [('o', 3), ('t', 5)]);
}

#[test]
fn a_period_that_is_over_is_delivered() {
    let folder = tempfile::tempdir().expect("a folder");
    let logs = Logs::new(home(&folder));
    let mut table = table(None);
    table.identity.log_period_ms = 50;
    logs.configure(&table);
    write(&logs, 2);
    logs.flush();
    let deadline = Instant::now() + Duration::from_secs(10);
    let delivered = || {
        files(&folder.path().join("buckets"))
            .iter()
            .any(|(key, _)| key.ends_with(".gz"))
    };
    while !delivered() {
        assert!(Instant::now() < deadline, "no file came");
        std::thread::yield_now();
    }
}

#[test]
fn what_a_killed_process_left_is_delivered_by_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let left = folder
        .path()
        .join("log-delivery/eni-1.1/logs/AWSLogs/a.log.gz");
    let others = folder
        .path()
        .join("log-delivery/eni-2.1/logs/AWSLogs/b.log.gz");
    for path in [&left, &others] {
        fs::create_dir_all(path.parent().expect("one")).expect("made");
        fs::write(path, b"lines").expect("written");
    }
    fs::write(folder.path().join("log-delivery/eni-1.1/lock"), b"").expect("written");
    let logs = Logs::new(home(&folder));
    logs.configure(&table(None));
    logs.finish(Duration::from_secs(10));
    assert!(folder.path().join("buckets/logs/AWSLogs/a.log.gz").exists());
    assert!(!folder.path().join("log-delivery/eni-1.1").exists());
    assert!(others.exists(), "another interface's");
}

#[test]
fn a_disk_that_takes_nothing_costs_lines_and_no_time() {
    let folder = tempfile::tempdir().expect("a folder");
    // A file stands where the folder would: nothing can be written.
    fs::write(folder.path().join("log-delivery"), b"").expect("written");
    let logs = Logs::new(home(&folder));
    logs.configure(&table(None));
    write(&logs, 10);
    logs.finish(Duration::from_secs(10));
    assert_eq!(logs.dropped(), 10);
}
