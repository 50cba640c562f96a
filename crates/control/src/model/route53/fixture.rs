//! Zones and records for tests.

use super::zones::{self, NewZone};
use crate::model::tx::Tx;
use fogbank_types::Scope;
use fogbank_types::route53::{HostedZone, RecordSet};

pub fn scope() -> Scope {
    Scope::new("000000000000", "global")
}

pub fn new_zone(name: &str, reference: &str) -> NewZone {
    NewZone {
        name: name.to_owned(),
        caller_reference: reference.to_owned(),
        comment: None,
        private: false,
        vpc: None,
        delegation_set_id: None,
    }
}

pub fn zone(tx: &mut Tx, name: &str) -> HostedZone {
    let reference = tx.hex(16);
    zones::create(tx, &scope(), new_zone(name, &reference))
        .unwrap()
        .0
}

pub fn record(zone_id: &str, name: &str, kind: &str) -> RecordSet {
    RecordSet {
        scope: scope(),
        zone_id: zone_id.to_owned(),
        name: name.to_owned(),
        record_type: kind.to_owned(),
        set_identifier: None,
        ttl: Some(60),
        values: vec!["192.0.2.1".to_owned()],
        alias: None,
        routing: Default::default(),
        health_check_id: None,
    }
}
