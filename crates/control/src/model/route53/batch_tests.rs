use super::super::fixture::{scope, zone};
use super::*;
use fogbank_types::Snapshot;
use proptest::prelude::*;

fn change(verb: Verb, name: &str, kind: &str, values: &[&str]) -> NamedChange {
    NamedChange {
        verb,
        name: name.to_owned(),
        record_type: kind.to_owned(),
        ttl: Some(60),
        values: Some(values.iter().map(|v| (*v).to_owned()).collect()),
        alias: None,
        set_identifier: None,
        policies: Vec::new(),
        health_check_id: None,
    }
}

fn alias(verb: Verb, name: &str, kind: &str, zone_id: &str, target: &str) -> NamedChange {
    NamedChange {
        verb,
        name: name.to_owned(),
        record_type: kind.to_owned(),
        ttl: None,
        values: None,
        alias: Some((zone_id.to_owned(), target.to_owned(), true)),
        set_identifier: None,
        policies: Vec::new(),
        health_check_id: None,
    }
}

fn rows(snapshot: &Snapshot) -> Vec<RecordSet> {
    snapshot
        .record_sets
        .all()
        .map(|row| RecordSet::clone(row))
        .collect()
}

struct Zone {
    tx: Tx,
    row: HostedZone,
}

impl Zone {
    fn new() -> Self {
        let mut tx = Tx::for_test();
        let row = zone(&mut tx, "example.test");
        Self { tx, row }
    }

    fn apply(&mut self, batch: &[NamedChange]) -> Result<Change, Refusal> {
        apply(&mut self.tx, &scope(), &self.row.id, None, batch)
    }

    /// The messages of a refused batch, which must have changed nothing.
    fn refused(&mut self, batch: &[NamedChange]) -> Vec<String> {
        let (before, changes) = (rows(self.tx.snapshot()), self.tx.snapshot().changes.len());
        let refusal = self.apply(batch).unwrap_err();
        assert_eq!(rows(self.tx.snapshot()), before);
        assert_eq!(self.tx.snapshot().changes.len(), changes);
        match refusal {
            Refusal::InvalidChangeBatch(messages) => messages,
            other => vec![other.to_string()],
        }
    }
}

use Verb::{Create, Delete, Upsert};

#[test]
fn create_upsert_delete() {
    let mut zone = Zone::new();
    let made = zone
        .apply(&[change(Create, "API.example.test", "A", &["192.0.2.1"])])
        .unwrap();
    assert!(!made.in_sync && made.id.starts_with('C'));
    zone.apply(&[change(
        Upsert,
        "api.example.test.",
        "A",
        &["192.0.2.2", "192.0.2.3"],
    )])
    .unwrap();
    zone.apply(&[change(
        Delete,
        "api.example.test",
        "A",
        &["192.0.2.3", "192.0.2.2"],
    )])
    .unwrap();
    assert_eq!(rows(zone.tx.snapshot()).len(), 2);
}

#[test]
fn the_texts_are_awss() {
    let mut zone = Zone::new();
    let a = |verb, value: &str| change(verb, "a.example.test", "A", &[value]);
    zone.apply(&[a(Create, "192.0.2.1")]).unwrap();
    assert_eq!(
        zone.refused(&[a(Create, "192.0.2.1")]),
        [
            "Tried to create resource record set [name='a.example.test.', type='A'] but it already exists"
        ]
    );
    assert_eq!(
        zone.refused(&[a(Delete, "192.0.2.9")]),
        [
            "Tried to delete resource record set [name='a.example.test.', type='A'] but the values provided do not match the current values"
        ]
    );
    assert_eq!(
        zone.refused(&[change(Delete, "b.example.test", "A", &["192.0.2.1"])]),
        [
            "Tried to delete resource record set [name='b.example.test.', type='A'] but it was not found"
        ]
    );
    assert_eq!(
        zone.refused(&[change(Create, "a.other.test", "A", &["192.0.2.1"])]),
        ["RRSet with DNS name a.other.test. is not permitted in zone example.test."]
    );
    assert_eq!(
        zone.refused(&[change(Create, "example.test", "CNAME", &["a.example.test"])]),
        [
            "RRSet of type CNAME with DNS name example.test. is not permitted at apex in zone example.test."
        ]
    );
    assert_eq!(
        zone.refused(&[change(
            Create,
            "a.example.test",
            "CNAME",
            &["b.example.test"]
        )]),
        [
            "RRSet of type CNAME with DNS name a.example.test. is not permitted as it conflicts with other records with the same DNS name in zone example.test."
        ]
    );
    zone.apply(&[change(
        Create,
        "c.example.test",
        "CNAME",
        &["b.example.test"],
    )])
    .unwrap();
    assert_eq!(
        zone.refused(&[change(Create, "c.example.test", "A", &["192.0.2.1"])]),
        [
            "RRSet of type A with DNS name c.example.test. is not permitted because a conflicting RRSet of type CNAME with the same DNS name already exists in zone example.test."
        ]
    );
}

#[test]
fn one_message_for_each_problem_and_all_or_nothing() {
    let mut zone = Zone::new();
    let messages = zone.refused(&[
        change(Create, "good.example.test", "A", &["192.0.2.1"]),
        change(Create, "bad.example.test", "A", &["x", "y"]),
        change(Delete, "gone.example.test", "A", &["192.0.2.1"]),
        change(Create, "dup.example.test", "A", &["192.0.2.1", "192.0.2.1"]),
    ]);
    assert_eq!(messages.len(), 4, "{messages:?}");
}

#[test]
fn a_record_may_change_its_type_in_one_batch() {
    let mut zone = Zone::new();
    zone.apply(&[change(Create, "a.example.test", "CNAME", &["b.test"])])
        .unwrap();
    zone.apply(&[
        change(Delete, "a.example.test", "CNAME", &["b.test"]),
        change(Create, "a.example.test", "A", &["192.0.2.1"]),
    ])
    .unwrap();
    zone.apply(&[
        change(Delete, "a.example.test", "A", &["192.0.2.1"]),
        change(Create, "a.example.test", "A", &["192.0.2.2"]),
    ])
    .unwrap();
}

#[test]
fn the_apex_keeps_ns_and_soa() {
    let mut zone = Zone::new();
    let servers: Vec<String> = zone
        .row
        .name_servers
        .iter()
        .map(|s| format!("{s}."))
        .collect();
    let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
    let mut ns = change(Delete, "example.test", "NS", &servers);
    ns.ttl = Some(172_800);
    let messages = zone.refused(&[ns.clone()]);
    assert_eq!(
        messages,
        ["A HostedZone must contain at least one NS record for the zone itself."]
    );
    ns.verb = Upsert;
    ns.ttl = Some(300);
    zone.apply(&[ns]).unwrap();
    let soa = "ns-1.example. host.example. 2 7200 900 1209600 300";
    zone.apply(&[change(Upsert, "example.test", "SOA", &[soa])])
        .unwrap();
    let messages = zone.refused(&[change(Delete, "example.test", "SOA", &[soa])]);
    assert_eq!(
        messages,
        ["A HostedZone must contain exactly one SOA record."]
    );
    assert_eq!(
        zone.refused(&[change(Create, "b.example.test", "SOA", &[soa])])
            .len(),
        1
    );
}

#[test]
fn malformed_requests_are_refused() {
    let mut zone = Zone::new();
    let good = change(Create, "a.example.test", "A", &["192.0.2.1"]);
    let ttl = NamedChange {
        ttl: None,
        ..good.clone()
    };
    assert_eq!(
        zone.refused(&[ttl]),
        [
            "Invalid request: Missing field 'TTL' in Change with [Action=CREATE, Name=a.example.test, Type=A, SetIdentifier=null]"
        ]
    );
    let none = NamedChange {
        values: None,
        ..good.clone()
    };
    let nothing = NamedChange {
        ttl: None,
        values: None,
        ..good.clone()
    };
    let both = NamedChange {
        alias: Some((String::new(), String::new(), false)),
        ..good.clone()
    };
    let aged = NamedChange {
        ttl: Some(60),
        ..alias(Create, "a.example.test", "A", "Z", "x")
    };
    for bad in [none, nothing, both, aged] {
        zone.refused(&[bad]);
    }
    zone.refused(&[]);
    zone.refused(&[NamedChange {
        name: "a..b".to_owned(),
        ..good.clone()
    }]);
    zone.refused(&[NamedChange {
        values: Some(vec!["192.0.2.1".to_owned(); 401]),
        ..good.clone()
    }]);
    let refused = apply(&mut zone.tx, &scope(), "Z", None, &[good]);
    assert_eq!(refused, Err(Refusal::NoSuchHostedZone("Z".to_owned())));
}

#[test]
fn upsert_counts_twice() {
    let mut zone = Zone::new();
    let many = |verb, count: usize| -> Vec<NamedChange> {
        (0..count)
            .map(|n| change(verb, &format!("n{n}.example.test"), "A", &["192.0.2.1"]))
            .collect()
    };
    assert_eq!(
        zone.refused(&many(Upsert, 501)),
        ["Number of records limit of 1000 exceeded."]
    );
    zone.apply(&many(Upsert, 500)).unwrap();
    assert_eq!(
        zone.refused(&many(Create, 1001)),
        ["Number of records limit of 1000 exceeded."]
    );
    let text = format!("\"{}\"", "a".repeat(255));
    let texts: Vec<String> = (0..70).map(|n| format!("\"{n}\" {text}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let wide = change(Upsert, "t.example.test", "TXT", &texts);
    assert_eq!(
        zone.refused(&[wide]),
        ["Number of characters limit of 32000 exceeded."]
    );
}

#[test]
fn aliases() {
    let mut zone = Zone::new();
    let id = zone.row.id.clone();
    let lb = alias(
        Create,
        "api.example.test",
        "A",
        "Z35SXDOTRQ7X7K",
        "API-1.us-east-1.elb.amazonaws.com",
    );
    zone.apply(std::slice::from_ref(&lb)).unwrap();
    let gone = NamedChange { verb: Delete, ..lb };
    let other = alias(
        Delete,
        "api.example.test",
        "A",
        "Z35SXDOTRQ7X7K",
        "b-1.us-east-1.elb.amazonaws.com",
    );
    assert_eq!(zone.refused(&[other]).len(), 1);
    zone.apply(&[gone]).unwrap();
    assert_eq!(
        zone.refused(&[alias(
            Create,
            "x.example.test",
            "A",
            &id,
            "none.example.test"
        )])
        .len(),
        1
    );
    assert_eq!(
        zone.refused(&[alias(Create, "x.example.test", "A", &id, "a.other.test")])
            .len(),
        1
    );
    assert_eq!(
        zone.refused(&[alias(Create, "example.test", "NS", &id, "b.example.test")])
            .len(),
        1
    );
    zone.apply(&[
        alias(Create, "example.test", "A", &id, "www.example.test"),
        change(Create, "www.example.test", "A", &["192.0.2.1"]),
    ])
    .unwrap();
}

fn any_change() -> impl Strategy<Value = NamedChange> {
    let verb = prop_oneof![Just(Create), Just(Delete), Just(Upsert)];
    let name = "(a|b|\\*|)(\\.example\\.test|\\.other)?";
    let kind = "A|CNAME|TXT|NS|SOA|XX";
    let value = "192\\.0\\.2\\.[12]|b\\.test|\"t\"|x";
    let body = (
        proptest::option::of(0u32..3),
        proptest::option::of(proptest::collection::vec(value, 0..3)),
    );
    let aliased = proptest::option::weighted(
        0.1,
        (
            "Z35SXDOTRQ7X7K|Z",
            "a\\.us-east-1\\.elb\\.amazonaws\\.com|b",
            any::<bool>(),
        ),
    );
    let set = prop_oneof![
        Just((None, Vec::new())),
        ("x|y", 0u8..2, any::<bool>()).prop_map(|(identifier, weight, weighted)| {
            let routing = match weighted {
                true => Routing::Weighted {
                    weight,
                    healthy: true,
                },
                false => Routing::Multivalue { healthy: true },
            };
            (Some(identifier), vec![routing])
        }),
    ];
    (verb, name, kind, body, aliased, set).prop_map(
        |(verb, name, record_type, (ttl, values), alias, (set_identifier, policies))| NamedChange {
            verb,
            name,
            record_type,
            ttl,
            values,
            alias,
            set_identifier,
            policies,
            health_check_id: None,
        },
    )
}

proptest! {
    #[test]
    fn any_batch_is_made_whole_or_not_at_all(batches in proptest::collection::vec(proptest::collection::vec(any_change(), 1..4), 1..8)) {
        let mut zone = Zone::new();
        for batch in batches {
            let before = rows(zone.tx.snapshot());
            if zone.apply(&batch).is_err() {
                prop_assert_eq!(rows(zone.tx.snapshot()), before);
            }
            let after = rows(zone.tx.snapshot());
            for record in &after {
                let group = after.iter().filter(|r| (&r.name, &r.record_type) == (&record.name, &record.record_type));
                for other in group {
                    let same = std::mem::discriminant(&other.routing) == std::mem::discriminant(&record.routing);
                    prop_assert!(same, "{record:?} {other:?}");
                }
            }
            for kind in ["NS", "SOA"] {
                let has = |r: &&RecordSet| r.name == "example.test." && r.record_type == kind;
                prop_assert_eq!(after.iter().filter(has).count(), 1);
            }
            for cname in after.iter().filter(|r| r.record_type == "CNAME") {
                prop_assert_eq!(after.iter().filter(|r| r.name == cname.name).count(), 1);
            }
        }
    }
}
