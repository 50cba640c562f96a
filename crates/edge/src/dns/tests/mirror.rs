//! Tables made step by step against tables made from nothing.

use proptest::prelude::*;

use fogbank_store::{Batch, Event, Op};
use fogbank_types::route53::Change;
use fogbank_types::{Row, Timestamp};

use super::fixture::*;
use crate::dns::mirror::Mirror;
use crate::dns::{Kind, Tables, View};

const NAMES: &[&str] = &[
    "example.test",
    "a.example.test",
    "b.a.example.test",
    "*.example.test",
    "d.c.a.example.test",
];
/// Names without records of their own: a wildcard's, one that others stand below, none.
const OTHERS: &[&str] = &["w.example.test", "c.a.example.test", "x.b.a.example.test"];

/// A row of a small world: zones of two origins, records in them.
fn row() -> impl Strategy<Value = Vec<Op>> {
    let zones = prop::sample::select(vec!["Z1", "Z2", "Z10"]);
    let names = prop::sample::select(NAMES);
    (zones, names, 0u8..4, 0u8..4).prop_map(|(zone, name, last, what)| {
        let mut region = Region::default();
        match what {
            0 => region.zone(zone, if zone == "Z1" { NAMES[1] } else { NAMES[0] }),
            1 => region.record(zone, name, "NS", &[&format!("ns-{last}.example.com")]),
            _ => region.record(zone, name, "A", &[&format!("192.0.2.{last}")]),
        }
        region.ops()
    })
}

proptest! {
    #[test]
    fn kept_zones_are_as_good_as_new_ones(steps in prop::collection::vec((row(), any::<bool>()), 1..30)) {
        let mut mirror = Mirror::new(config());
        for (revision, (ops, delete)) in steps.into_iter().enumerate() {
            let events = ops.into_iter().map(|op| match op {
                Op::Put { key, value, .. } => Event { key, value: (!delete).then_some(value) },
                Op::Delete { key } => Event { key, value: None },
            });
            let batch = Batch { revision: revision as u64 + 1, events: events.collect() };
            let effect = mirror.apply(&batch, "status-dns/-/-/here");
            prop_assert!(effect.tables && effect.report);
            let tables = mirror.tables();
            let fresh = Tables::compile(mirror.snapshot(), &config());
            for text in NAMES.iter().chain(OTHERS) {
                for kind in [Kind::A, Kind::NS, Kind::ANY] {
                    let asked = name(text);
                    prop_assert_eq!(
                        tables.answer(&View::Public, &asked, kind),
                        fresh.answer(&View::Public, &asked, kind)
                    );
                }
            }
        }
    }
}

#[test]
fn only_what_callers_wait_for_is_reported() {
    let own = "status-dns/-/-/here";
    let mut mirror = Mirror::new(config());
    let mut one = |key: &str, value: Option<&[u8]>| {
        let event = Event {
            key: key.to_owned(),
            value: value.map(Into::into),
        };
        let batch = Batch {
            revision: 1,
            events: vec![event],
        };
        let effect = mirror.apply(&batch, own);
        (effect.tables, effect.report, effect.forgotten)
    };
    assert_eq!(
        one("record-set/0/global/Z1/a./A/", None),
        (true, true, false)
    );
    assert_eq!(one("vpc/0/us-east-1/vpc-1", None), (true, true, false));
    let health = "status-target-health/0/us-east-1/tg/eni-1";
    assert_eq!(one(health, None), (true, false, false));
    for (in_sync, report) in [(false, true), (true, false)] {
        let change = Change {
            scope: scope().global(),
            id: "C1".to_owned(),
            comment: None,
            submitted_at: Timestamp(0),
            in_sync,
        };
        let value = serde_json::to_vec(&change).unwrap();
        assert_eq!(one(&change.key(), Some(&value)), (false, report, false));
    }
    assert_eq!(one(own, Some(b"{}")), (false, false, false));
    assert_eq!(one(own, None), (false, false, true));
}
