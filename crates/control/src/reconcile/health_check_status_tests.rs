use super::*;
use crate::model::route53::fixture::scope;
use fogbank_types::route53::{HealthCheckConfig, InsufficientData};

fn check(id: &str, target: HealthCheckTarget) -> HealthCheck {
    HealthCheck {
        scope: scope(),
        id: id.to_owned(),
        caller_reference: id.to_owned(),
        version: 1,
        config: HealthCheckConfig {
            target,
            inverted: false,
            disabled: false,
        },
        created_at: Timestamp(0),
        tags: Default::default(),
    }
}

fn healthy(tx: &mut Tx, id: &str) -> bool {
    assert_eq!(reconcile(tx), None);
    let statuses = &tx.snapshot().health_check_statuses;
    statuses.get(&scope(), id).unwrap().healthy
}

fn alarm(insufficient_data: InsufficientData) -> HealthCheckTarget {
    HealthCheckTarget::Alarm {
        region: "us-east-1".to_owned(),
        name: "gone".to_owned(),
        insufficient_data,
    }
}

#[test]
fn without_data_an_alarms_check_is_what_it_says() {
    for (says, expected) in [
        (InsufficientData::Healthy, true),
        (InsufficientData::Unhealthy, false),
        (InsufficientData::LastKnown, true),
    ] {
        let mut tx = Tx::for_test();
        tx.put(check("a", alarm(says)));
        assert_eq!(healthy(&mut tx, "a"), expected);
    }
}

#[test]
fn the_last_known_status_is_the_one_before_inversion() {
    let mut tx = Tx::for_test();
    let mut row = check("a", alarm(InsufficientData::Unhealthy));
    row.config.inverted = true;
    tx.put(row.clone());
    assert!(healthy(&mut tx, "a"));
    row.config.target = alarm(InsufficientData::LastKnown);
    tx.put(row);
    assert!(healthy(&mut tx, "a"));
}

#[test]
fn a_calculated_check_follows_its_child_and_a_disabled_one_nothing() {
    let mut tx = Tx::for_test();
    tx.put(check("a", alarm(InsufficientData::Unhealthy)));
    let children = vec!["a".to_owned()];
    let target = HealthCheckTarget::Calculated {
        children,
        threshold: 1,
    };
    let mut row = check("b", target);
    tx.put(row.clone());
    assert!(!healthy(&mut tx, "b"), "in one look");
    row.config.inverted = true;
    tx.put(row.clone());
    assert!(healthy(&mut tx, "b"));
    row.config.disabled = true;
    tx.put(row);
    assert!(!healthy(&mut tx, "b"), "disabled is healthy, and inverted");
}
