use super::super::fixture::scope;
use super::*;

fn http() -> Settings {
    Settings {
        kind: Some("HTTP".to_owned()),
        ip_address: Some("198.18.1.2".to_owned()),
        ..Settings::default()
    }
}

fn made(tx: &mut Tx, settings: &Settings) -> HealthCheck {
    let reference = tx.hex(16);
    create(tx, &scope(), reference, settings).unwrap()
}

fn refused(settings: Settings) -> String {
    let mut tx = Tx::for_test();
    create(&mut tx, &scope(), "r".to_owned(), &settings)
        .unwrap_err()
        .to_string()
}

fn calculated(children: &[&HealthCheck], threshold: i32) -> Settings {
    Settings {
        kind: Some("CALCULATED".to_owned()),
        children: Some(children.iter().map(|child| child.id.clone()).collect()),
        health_threshold: Some(threshold),
        ..Settings::default()
    }
}

#[test]
fn defaults_are_awss() {
    let mut tx = Tx::for_test();
    let settings = Settings {
        kind: Some("HTTPS".to_owned()),
        domain_name: Some("www.example.com".to_owned()),
        ..Settings::default()
    };
    let HealthCheckTarget::Endpoint(check) = made(&mut tx, &settings).config.target else {
        panic!("it is an endpoint's");
    };
    assert_eq!(
        (check.port, check.interval_s, check.threshold),
        (443, 30, 3)
    );
    assert!(check.sends_sni && !check.measures_latency && check.regions.is_empty());
}

#[test]
fn the_same_call_makes_one_check_and_another_call_none() {
    let mut tx = Tx::for_test();
    let first = create(&mut tx, &scope(), "r".to_owned(), &http()).unwrap();
    let again = create(&mut tx, &scope(), "r".to_owned(), &http()).unwrap();
    assert_eq!(first, again);
    let other = Settings {
        port: Some(81),
        ..http()
    };
    let refused = create(&mut tx, &scope(), "r".to_owned(), &other);
    assert_eq!(refused, Err(Refusal::HealthCheckAlreadyExists));
    assert_ne!(made(&mut tx, &http()).id, first.id);
}

#[test]
fn what_nobody_outside_reaches_is_refused() {
    for address in [
        "10.0.0.1",
        "127.0.0.1",
        "192.168.1.1",
        "172.31.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "198.19.0.1",
        "224.0.0.1",
        "0.0.0.0",
        "::1",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "2001:db8:ffff::1",
        "nonsense",
    ] {
        let settings = Settings {
            ip_address: Some(address.to_owned()),
            ..http()
        };
        assert!(
            refused(settings).contains("Invalid IP address"),
            "{address}"
        );
    }
    for address in ["8.8.8.8", "172.32.0.1", "2600:1f18::1"] {
        let settings = Settings {
            ip_address: Some(address.to_owned()),
            ..http()
        };
        made(&mut Tx::for_test(), &settings);
    }
}

#[test]
fn settings_of_another_type_are_refused() {
    let text = |text: &str| Some(text.to_owned());
    let tcp = Settings {
        kind: text("TCP"),
        port: Some(25),
        ..http()
    };
    for (settings, part) in [
        (
            Settings {
                kind: text("RECOVERY_CONTROL"),
                ..http()
            },
            "not offered",
        ),
        (
            Settings {
                kind: text("UDP"),
                ..http()
            },
            "not valid",
        ),
        (
            Settings {
                ip_address: None,
                ..http()
            },
            "must have an IP address",
        ),
        (
            Settings {
                search: text("a"),
                ..http()
            },
            "search string",
        ),
        (
            Settings {
                kind: text("HTTP_STR_MATCH"),
                ..http()
            },
            "search string",
        ),
        (
            Settings {
                kind: text("HTTP_STR_MATCH"),
                search: Some("x".repeat(256)),
                ..http()
            },
            "search string",
        ),
        (
            Settings {
                alarm: Some(("us-east-1".to_owned(), "a".to_owned())),
                ..http()
            },
            "metric region",
        ),
        (
            Settings {
                domain_name: text("a.test"),
                ..tcp.clone()
            },
            "fully qualified domain name",
        ),
        (
            Settings {
                port: None,
                ..tcp.clone()
            },
            "must have a port",
        ),
        (
            Settings {
                path: text("/"),
                ..tcp
            },
            "resource path",
        ),
        (
            Settings {
                interval_s: Some(20),
                ..http()
            },
            "10 or 30",
        ),
        (
            Settings {
                failure_threshold: Some(11),
                ..http()
            },
            "between 1 and 10",
        ),
        (
            Settings {
                port: Some(65_536),
                ..http()
            },
            "between 1 and 65535",
        ),
        (
            Settings {
                regions: Some(vec!["us-east-1".to_owned(), "us-west-1".to_owned()]),
                ..http()
            },
            "At least 3",
        ),
        (
            Settings {
                regions: Some(vec!["eu-central-1".to_owned()]),
                ..http()
            },
            "not valid",
        ),
        (
            Settings {
                kind: text("CALCULATED"),
                ..http()
            },
            "IP address",
        ),
        (
            Settings {
                kind: text("CLOUDWATCH_METRIC"),
                ip_address: None,
                ..http()
            },
            "alarm identifier",
        ),
    ] {
        let said = refused(settings);
        assert!(said.contains(part), "{said} lacks {part}");
    }
}

#[test]
fn an_update_needs_the_version_and_keeps_what_it_does_not_name() {
    let mut tx = Tx::for_test();
    let settings = Settings {
        path: Some("/health".to_owned()),
        domain_name: Some("a.test".to_owned()),
        ..http()
    };
    let row = made(&mut tx, &settings);
    let change = Update {
        id: row.id.clone(),
        version: Some(2),
        settings: Settings {
            failure_threshold: Some(1),
            ..Settings::default()
        },
        reset: vec!["ResourcePath".to_owned()],
    };
    let refused = update(&mut tx, &scope(), &change);
    assert!(matches!(
        refused,
        Err(Refusal::HealthCheckVersionMismatch { .. })
    ));
    let change = Update {
        version: Some(1),
        ..change
    };
    let after = update(&mut tx, &scope(), &change).unwrap();
    let HealthCheckTarget::Endpoint(check) = after.config.target else {
        panic!("it is an endpoint's");
    };
    assert_eq!((after.version, check.threshold, check.path), (2, 1, None));
    assert_eq!(check.domain_name.as_deref(), Some("a.test"));
}

#[test]
fn pages_begin_at_their_marker() {
    let mut tx = Tx::for_test();
    for _ in 0..5 {
        made(&mut tx, &http());
    }
    let (mut seen, mut marker) = (Vec::new(), None::<String>);
    loop {
        let (rows, next) = list(tx.snapshot(), &scope(), marker.as_deref(), 2).unwrap();
        seen.extend(rows.iter().map(|row| row.id.clone()));
        marker = next;
        if marker.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted());
    assert!(list(tx.snapshot(), &scope(), Some("x"), 2).is_err());
}

#[test]
fn a_calculated_check_counts_its_children() {
    let mut tx = Tx::for_test();
    let [a, b, c] = [(); 3].map(|()| made(&mut tx, &http()));
    let says = |tx: &mut Tx, check: &HealthCheck, healthy| {
        tx.put(HealthCheckStatus {
            scope: scope(),
            health_check_id: check.id.clone(),
            version: 1,
            healthy,
            observations: Vec::new(),
        });
    };
    let two = made(&mut tx, &calculated(&[&a, &b, &c], 2));
    let judged =
        |tx: &Tx, check: &HealthCheck| judge(tx.snapshot(), &scope(), &check.config, None).unwrap();
    assert!(judged(&tx, &two), "new children count as healthy");
    says(&mut tx, &a, false);
    assert!(judged(&tx, &two));
    says(&mut tx, &b, false);
    assert!(!judged(&tx, &two));
    let none = made(&mut tx, &calculated(&[&a, &b], 0));
    assert!(judged(&tx, &none), "0 is always healthy");
    let many = made(&mut tx, &calculated(&[&c], 2));
    assert!(!judged(&tx, &many), "more than there are is never healthy");
    assert!(create(&mut tx, &scope(), "n".to_owned(), &calculated(&[&two], 1)).is_err());
    says(&mut tx, &b, true);
    delete(&mut tx, &scope(), &c.id).unwrap();
    assert!(!judged(&tx, &two), "a child that is gone is not healthy");
}
