use super::bill::{Asked, By, Prices, bill, items};
use super::records;
use crate::model::ecs::fixture::{World, scope};
use fogbank_types::Timestamp;
use fogbank_types::ecs::Task;
use fogbank_types::metering::{UsageKind, UsageRecord};
use std::collections::BTreeMap;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

fn task(from: i64, until: Option<i64>) -> UsageRecord {
    UsageRecord {
        scope: scope(),
        id: "t".to_owned(),
        group: "service:main/api".to_owned(),
        kind: UsageKind::Task {
            cpu: 512,
            memory_mib: 2_048,
            storage_gib: 30,
            arm: false,
            spot: false,
        },
        from: Timestamp(from),
        until: until.map(Timestamp),
    }
}

fn used(record: &UsageRecord, since: i64, now: i64) -> BTreeMap<String, f64> {
    items(record, Timestamp(since), Timestamp(now))
        .into_iter()
        .collect()
}

#[test]
fn tasks_are_paid_by_the_second_and_a_minute_at_least() {
    let hour = used(&task(0, Some(HOUR_MS)), i64::MIN, 2 * HOUR_MS);
    assert_eq!(hour["fargate-x86-vcpu-hour"], 0.5);
    assert_eq!(hour["fargate-x86-gb-hour"], 2.0);
    assert_eq!(hour["fargate-storage-gb-hour"], 10.0);
    let seconds = |record: &UsageRecord, since, now| {
        (used(record, since, now)["fargate-x86-vcpu-hour"] * 2.0 * 3_600.0).round()
    };
    assert_eq!(seconds(&task(0, Some(5_000)), i64::MIN, HOUR_MS), 60.0);
    assert_eq!(seconds(&task(0, Some(61_001)), i64::MIN, HOUR_MS), 62.0);
    // One that goes on, and one of which a part was paid before.
    assert_eq!(seconds(&task(0, None), i64::MIN, 90_000), 90.0);
    assert_eq!(seconds(&task(0, Some(90_000)), 80_000, HOUR_MS), 10.0);
    assert!(used(&task(0, Some(90_000)), 90_000, HOUR_MS).is_empty());
}

#[test]
fn balancers_and_gateways_are_paid_by_begun_hours_and_addresses_by_the_second() {
    let of = |kind| UsageRecord {
        kind,
        ..task(0, Some(HOUR_MS + 1))
    };
    let balancer = of(UsageKind::LoadBalancer {
        dimension: String::new(),
    });
    assert_eq!(used(&balancer, i64::MIN, 9 * HOUR_MS)["alb-hour"], 2.0);
    assert_eq!(
        used(&of(UsageKind::NatGateway), i64::MIN, 9 * HOUR_MS)["nat-gateway-hour"],
        2.0
    );
    let hours = used(&of(UsageKind::PublicAddress), i64::MIN, 9 * HOUR_MS)["public-ipv4-hour"];
    assert!((hours - 1.0).abs() < 0.001);
}

#[test]
fn a_bill_adds_up() {
    let prices = Prices::default();
    let records = [
        task(0, Some(HOUR_MS)),
        UsageRecord {
            id: "u".to_owned(),
            ..task(0, Some(HOUR_MS))
        },
        UsageRecord {
            id: "v".to_owned(),
            kind: UsageKind::NatGateway,
            ..task(0, None)
        },
    ];
    let asked = |by| Asked {
        since: None,
        now: Timestamp(HOUR_MS),
        by,
        prices: &prices,
    };
    let of = |by| bill(&asked(by), records.iter(), [].iter(), |_| Vec::new());
    let told = of(By::Service);
    let one = 0.5 * 0.04048 + 2.0 * 0.004445 + 10.0 * 0.000111;
    assert!((told.total - (2.0 * one + 0.045)).abs() < 1e-9, "{told:?}");
    assert_eq!((told.lines.len(), told.lines[0].resources), (2, 2));
    assert_eq!(of(By::Task).lines.len(), 2);
    assert_eq!(of(By::Resource).lines.len(), 3);
}

#[test]
fn a_table_of_prices_is_whole_or_none() {
    let whole = serde_json::to_string(&Prices::default()).unwrap();
    assert_eq!(Prices::parse(&whole).unwrap(), Prices::default());
    assert!(Prices::parse(&whole.replace("alb-hour", "alb-day")).is_err());
    assert!(Prices::parse(&whole.replace("0.0225", "-1")).is_err());
    assert!(Prices::parse("{}").is_err());
}

#[test]
fn records_outlive_their_resources() {
    let mut world = World::new();
    world.create_service(2, true);
    world.settle();
    records::follow(world.tx());
    let count = |world: &mut World, ended: bool, kind: &str| {
        let records = world.tx().snapshot().usage_records.all();
        records
            .filter(|record| record.until.is_some() == ended)
            .filter(|record| super::bill::kind_name(&record.kind) == kind)
            .count()
    };
    assert_eq!(
        (
            count(&mut world, false, "task"),
            count(&mut world, false, "load-balancer")
        ),
        (2, 1)
    );
    let id = world.wanted()[0].id.clone();
    world.tx().delete::<Task>(&scope(), &id);
    let arn = world
        .region
        .tx
        .snapshot()
        .load_balancers
        .all()
        .next()
        .unwrap()
        .arn
        .clone();
    world
        .tx()
        .delete::<fogbank_types::elb::LoadBalancer>(&scope(), arn);
    world.tx().advance_ms(HOUR_MS);
    records::follow(world.tx());
    assert_eq!(
        (
            count(&mut world, true, "task"),
            count(&mut world, true, "load-balancer")
        ),
        (1, 1)
    );
    // What was told stays as it was told.
    let revision: Vec<UsageRecord> = world
        .tx()
        .snapshot()
        .usage_records
        .all()
        .map(|r| UsageRecord::clone(r))
        .collect();
    world.tx().advance_ms(HOUR_MS);
    records::follow(world.tx());
    let again: Vec<UsageRecord> = world
        .tx()
        .snapshot()
        .usage_records
        .all()
        .map(|r| UsageRecord::clone(r))
        .collect();
    assert_eq!(revision, again);
}
