use super::super::batch::{self, NamedChange, Verb};
use super::super::fixture::{self, scope};
use super::*;
use crate::model::elb::fixture::put_vpc;
use crate::model::tx::Tx;
use fogbank_types::route53::{CidrCollection, GeoProximity};

struct Zone {
    tx: Tx,
    row: HostedZone,
}

impl Zone {
    fn new() -> Self {
        let mut tx = Tx::for_test();
        let row = fixture::zone(&mut tx, "example.test");
        Self { tx, row }
    }

    fn apply(&mut self, changes: &[NamedChange]) -> Result<(), Refusal> {
        batch::apply(&mut self.tx, &scope(), &self.row.id, None, changes).map(drop)
    }

    fn refused(&mut self, change: NamedChange) -> String {
        self.apply(&[change]).unwrap_err().to_string()
    }
}

/// `a.example.test`, type A.
fn set(identifier: &str, routing: Routing) -> NamedChange {
    NamedChange {
        verb: Verb::Create,
        name: "a.example.test".to_owned(),
        record_type: "A".to_owned(),
        ttl: Some(60),
        values: Some(vec!["192.0.2.1".to_owned()]),
        alias: None,
        set_identifier: Some(identifier.to_owned()),
        policies: vec![routing],
        health_check_id: None,
    }
}

fn weighted(weight: u8) -> Routing {
    Routing::Weighted {
        weight,
        healthy: true,
    }
}

fn latency(region: &str) -> Routing {
    Routing::Latency {
        region: region.to_owned(),
    }
}

fn country(code: &str) -> Routing {
    Routing::Geolocation(GeoLocation {
        country: Some(code.to_owned()),
        ..GeoLocation::default()
    })
}

fn cidr(collection: &str, location: &str) -> Routing {
    Routing::Cidr {
        collection_id: collection.to_owned(),
        location: location.to_owned(),
    }
}

fn coordinates(latitude: &str, longitude: &str) -> Routing {
    Routing::Geoproximity(GeoProximity {
        place: GeoPlace::Coordinates {
            latitude: latitude.to_owned(),
            longitude: longitude.to_owned(),
        },
        bias: 0,
    })
}

const SECONDARY: Routing = Routing::Failover {
    role: FailoverRole::Secondary,
};

const PRIMARY: Routing = Routing::Failover {
    role: FailoverRole::Primary,
};

#[test]
fn the_texts_are_awss() {
    let mut zone = Zone::new();
    let place = "Change with [Action=CREATE, Name=a.example.test, Type=A, SetIdentifier=";
    let nameless = NamedChange {
        set_identifier: None,
        ..set("", weighted(1))
    };
    assert_eq!(
        zone.refused(nameless),
        format!("Invalid request: Missing field 'SetIdentifier' in {place}null]")
    );
    zone.apply(&[set("x", weighted(1))]).unwrap();
    assert_eq!(
        zone.refused(set("x", weighted(2))),
        "[Tried to create resource record set [name='a.example.test.', type='A', set identifier='x'] but it already exists]"
    );
    let simple = NamedChange {
        set_identifier: None,
        policies: Vec::new(),
        ..set("", weighted(1))
    };
    assert_eq!(
        zone.refused(simple.clone()),
        "[RRSet with DNS name a.example.test., type A cannot be created as other RRSets exist with the same name and type.]"
    );
    let mut other = Zone::new();
    other.apply(&[simple]).unwrap();
    assert_eq!(
        other.refused(set("x", weighted(1))),
        "[RRSet with DNS name a.example.test., type A, SetIdentifier x cannot be created as a non-weighted set exists with the same name and type.]"
    );
}

#[test]
fn a_set_has_one_policy() {
    let mut zone = Zone::new();
    for policies in [Vec::new(), vec![weighted(1), latency("us-east-1")]] {
        let change = NamedChange {
            policies,
            ..set("x", weighted(1))
        };
        assert!(
            zone.refused(change)
                .contains("Expected exactly one of [Weight")
        );
    }
    let long = "x".repeat(129);
    assert!(
        zone.refused(set(&long, weighted(1)))
            .contains("SetIdentifier")
    );
    zone.apply(&[set(&long[..128], weighted(1))]).unwrap();
}

#[test]
fn what_a_group_has_once() {
    for routing in [latency("eu-west-1"), SECONDARY, country("*"), country("DE")] {
        let mut zone = Zone::new();
        zone.apply(&[set("x", routing.clone())]).unwrap();
        let text = zone.refused(set("y", routing.clone()));
        assert!(
            text.contains("another RRSet exists with the same"),
            "{text}"
        );
        // The same set may keep its own.
        let again = NamedChange {
            verb: Verb::Upsert,
            ..set("x", routing)
        };
        zone.apply(&[again]).unwrap();
    }
    let mut zone = Zone::new();
    zone.apply(&[
        set("x", latency("eu-west-1")),
        set("y", latency("us-east-1")),
    ])
    .unwrap();
}

#[test]
fn a_set_changes_its_policy_only_alone() {
    let mut zone = Zone::new();
    let upsert = |identifier: &str, routing| NamedChange {
        verb: Verb::Upsert,
        ..set(identifier, routing)
    };
    zone.apply(&[set("x", weighted(1)), set("y", weighted(0))])
        .unwrap();
    let text = zone.refused(upsert("x", latency("eu-west-1")));
    assert!(text.contains("a non-latency set exists"), "{text}");
    zone.apply(&[
        upsert("x", latency("eu-west-1")),
        upsert("y", latency("us-east-1")),
    ])
    .unwrap();
}

#[test]
fn a_delete_names_the_policy_too() {
    let mut zone = Zone::new();
    zone.apply(&[set("x", weighted(1))]).unwrap();
    let delete = |routing| NamedChange {
        verb: Verb::Delete,
        ..set("x", routing)
    };
    let text = zone.refused(delete(weighted(2)));
    assert!(text.contains("do not match the current values"), "{text}");
    zone.apply(&[delete(weighted(1))]).unwrap();
}

#[test]
fn a_primary_is_checked() {
    let mut zone = Zone::new();
    assert!(
        zone.refused(set("p", PRIMARY))
            .contains("Missing field 'HealthCheckId'")
    );
    let checked = NamedChange {
        health_check_id: Some("nobody".to_owned()),
        ..set("p", PRIMARY)
    };
    assert_eq!(
        zone.apply(&[checked]).unwrap_err(),
        Refusal::NoSuchHealthCheck("nobody".to_owned())
    );
    let alias = |evaluate| NamedChange {
        ttl: None,
        values: None,
        alias: Some((
            "Z35SXDOTRQ7X7K".to_owned(),
            "a-1.us-east-1.elb.amazonaws.com".to_owned(),
            evaluate,
        )),
        ..set("p", PRIMARY)
    };
    assert!(zone.apply(&[alias(false)]).is_err());
    zone.apply(&[alias(true), set("s", SECONDARY)]).unwrap();
}

#[test]
fn a_health_check_is_of_no_simple_record() {
    let change = NamedChange {
        set_identifier: None,
        policies: Vec::new(),
        health_check_id: Some("h".to_owned()),
        ..set("", weighted(1))
    };
    assert!(Zone::new().refused(change).contains("'SetIdentifier'"));
}

#[test]
fn a_multivalue_answer_has_one_value() {
    let many = Routing::Multivalue { healthy: true };
    let mut zone = Zone::new();
    let two = NamedChange {
        values: Some(vec!["192.0.2.1".to_owned(), "192.0.2.2".to_owned()]),
        ..set("x", many.clone())
    };
    let alias = NamedChange {
        ttl: None,
        values: None,
        alias: Some((zone.row.id.clone(), "b.example.test".to_owned(), true)),
        ..set("x", many.clone())
    };
    let cname = NamedChange {
        record_type: "CNAME".to_owned(),
        values: Some(vec!["b.example.test".to_owned()]),
        ..set("x", many.clone())
    };
    for bad in [two, alias, cname] {
        assert!(
            zone.refused(bad.clone()).contains("multivalue answer"),
            "{bad:?}"
        );
    }
    zone.apply(&[set("x", many.clone()), set("y", many)])
        .unwrap();
}

#[test]
fn the_apex_records_have_no_policy() {
    let mut zone = Zone::new();
    let change = NamedChange {
        name: "sub.example.test".to_owned(),
        record_type: "NS".to_owned(),
        values: Some(vec!["ns.example.test".to_owned()]),
        ..set("x", weighted(1))
    };
    assert!(zone.refused(change).contains("other than simple"));
}

#[test]
fn places_are_checked() {
    let mut zone = Zone::new();
    assert!(
        zone.refused(set("x", country("ZZ")))
            .contains("does not exist")
    );
    for (latitude, longitude) in [
        ("91", "0"),
        ("1.234", "0"),
        ("0", "-180.01"),
        ("x", "0"),
        ("1e1", "0"),
        ("--1", "0"),
    ] {
        let text = zone.refused(set("x", coordinates(latitude, longitude)));
        assert!(text.contains("itude '"), "{latitude} {longitude}: {text}");
    }
    zone.apply(&[set("x", coordinates("-90", "179.99"))])
        .unwrap();
}

#[test]
fn cidr_locations_must_be_there() {
    let mut zone = Zone::new();
    assert!(
        zone.refused(set("x", cidr("c", "*")))
            .contains("does not exist")
    );
    zone.tx.put(CidrCollection {
        scope: scope(),
        id: "c".to_owned(),
        name: "c".to_owned(),
        caller_reference: "c".to_owned(),
        version: 1,
        locations: [("office".to_owned(), vec!["192.0.2.0/24".to_owned()])].into(),
    });
    assert!(
        zone.refused(set("x", cidr("c", "home")))
            .contains("is not in the CIDR collection")
    );
    zone.apply(&[set("x", cidr("c", "office")), set("y", cidr("c", "*"))])
        .unwrap();
    assert!(
        zone.refused(set("z", cidr("c", "*")))
            .contains("another RRSet exists")
    );
}

#[test]
fn private_zones_have_fewer_policies() {
    let mut tx = Tx::for_test();
    let vpc = put_vpc(
        &mut tx,
        &Scope::new("000000000000", "us-east-1"),
        "10.0.0.0/16",
    );
    let new = super::super::zones::NewZone {
        vpc: Some(("us-east-1".to_owned(), vpc.to_string())),
        ..fixture::new_zone("example.test", "r")
    };
    let row = super::super::zones::create(&mut tx, &scope(), new)
        .unwrap()
        .0;
    let mut zone = Zone { tx, row };
    let text = zone.refused(set("x", coordinates("0", "0")));
    assert!(
        text.contains("private hosted zones do not support"),
        "{text}"
    );
    zone.apply(&[set("x", country("DE"))]).unwrap();
}

#[test]
fn a_group_has_an_end() {
    let mut zone = Zone::new();
    let many: Vec<_> = (0..100).map(|n| set(&n.to_string(), weighted(1))).collect();
    zone.apply(&many).unwrap();
    assert!(zone.refused(set("x", weighted(1))).contains("limit of 100"));
    let mut zone = Zone::new();
    let many: Vec<_> = (0..30)
        .map(|n| set(&n.to_string(), coordinates(&n.to_string(), "0")))
        .collect();
    zone.apply(&many).unwrap();
    assert!(
        zone.refused(set("x", coordinates("0", "1")))
            .contains("limit of 30")
    );
}
