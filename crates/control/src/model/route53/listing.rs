//! Records and zones in AWS's order, and pages of them.
//! <https://docs.aws.amazon.com/Route53/latest/APIReference/API_ListResourceRecordSets.html>

use super::{Refusal, invalid, names, zones};
use fogbank_types::route53::{HostedZone, RecordSet, ZoneVpc};
use fogbank_types::{Scope, Snapshot};
use std::sync::Arc;

/// The longest page of records.
pub const RECORDS_MAX: usize = 300;

/// The longest page of zones.
pub const ZONES_MAX: usize = 100;

/// Where a page of records begins.
#[derive(Clone, Debug, Default)]
pub struct Start {
    pub name: Option<String>,
    pub record_type: Option<String>,
    pub identifier: Option<String>,
}

/// A page, and the first row after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    pub rows: Vec<T>,
    pub next: Option<T>,
}

impl<T> Page<T> {
    /// `rows` are all from the start on.
    pub(super) fn cut(rows: impl Iterator<Item = T>, size: usize) -> Self {
        let mut rows: Vec<T> = rows.take(size + 1).collect();
        let next = if rows.len() > size { rows.pop() } else { None };
        Self { rows, next }
    }
}

/// `MaxItems` as it came: a text. More than the most gives the most.
pub fn page_size(text: Option<&str>, most: usize) -> Result<usize, Refusal> {
    let Some(text) = text else {
        return Ok(most);
    };
    let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<usize>() {
        Ok(size) if digits && size > 0 => Ok(size.min(most)),
        _ => Err(invalid(format!(
            "MaxItems '{text}' must be a positive number"
        ))),
    }
}

type RecordKey = (String, String, String);

fn record_key(record: &RecordSet) -> RecordKey {
    let identifier = record.set_identifier.clone().unwrap_or_default();
    (
        names::sort_key(&record.name),
        record.record_type.clone(),
        identifier,
    )
}

/// Records by reversed labels, type and identifier.
pub fn records(
    snapshot: &Snapshot,
    scope: &Scope,
    zone_id: &str,
    start: &Start,
    size: usize,
) -> Result<Page<Arc<RecordSet>>, Refusal> {
    let zone = zones::find(snapshot, scope, zone_id)?;
    if start.record_type.is_some() && start.name.is_none() {
        return Err(invalid(
            "StartRecordType must be specified together with StartRecordName",
        ));
    }
    if start.identifier.is_some() && start.record_type.is_none() {
        return Err(invalid(
            "StartRecordIdentifier must be specified together with StartRecordType",
        ));
    }
    let from: RecordKey = match &start.name {
        None => Default::default(),
        Some(name) => {
            let name = names::canonical(name).map_err(|error| {
                invalid(format!("FATAL problem: {error} encountered with '{name}'"))
            })?;
            (
                names::sort_key(&name),
                start.record_type.clone().unwrap_or_default(),
                start.identifier.clone().unwrap_or_default(),
            )
        }
    };
    let keyed = |record: &Arc<RecordSet>| (record_key(record), record.clone());
    let mut rows: Vec<(RecordKey, Arc<RecordSet>)> = zones::records(snapshot, zone)
        .map(keyed)
        .filter(|(key, _)| *key >= from)
        .collect();
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Page::cut(rows.into_iter().map(|(_, record)| record), size))
}

/// Zones by id, from the marker on.
pub fn zones_by_id(
    snapshot: &Snapshot,
    scope: &Scope,
    marker: Option<&str>,
    size: usize,
    wanted: impl Fn(&HostedZone) -> bool,
) -> Page<Arc<HostedZone>> {
    let from = marker.unwrap_or("");
    let rows = snapshot.hosted_zones.in_scope(scope);
    let rows = rows.filter(|zone| zone.id.as_str() >= from && wanted(zone));
    Page::cut(rows.cloned(), size)
}

/// Zones of any account that are associated with a VPC, by id from the marker on.
pub fn zones_of_vpc(
    snapshot: &Snapshot,
    vpc: &ZoneVpc,
    marker: Option<&str>,
    size: usize,
) -> Page<Arc<HostedZone>> {
    let from = marker.unwrap_or("");
    let wanted = |zone: &&Arc<HostedZone>| zone.id.as_str() >= from && zone.vpcs.contains(vpc);
    let mut rows: Vec<_> = snapshot
        .hosted_zones
        .all()
        .filter(wanted)
        .cloned()
        .collect();
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    Page::cut(rows.into_iter(), size)
}

/// Zones by reversed labels, then id, from a name (and a zone of that name) on.
pub fn zones_by_name(
    snapshot: &Snapshot,
    scope: &Scope,
    name: Option<&str>,
    zone_id: Option<&str>,
    size: usize,
) -> Result<Page<Arc<HostedZone>>, Refusal> {
    let from = match (name, zone_id) {
        (None, None) => Default::default(),
        (None, Some(_)) => {
            return Err(invalid(
                "HostedZoneId must be specified together with DNSName",
            ));
        }
        (Some(name), zone_id) => {
            let canonical = names::canonical(name).map_err(|_| {
                Refusal::InvalidDomainName(format!("The domain name '{name}' is not valid"))
            })?;
            (
                names::sort_key(&canonical),
                zone_id.unwrap_or("").to_owned(),
            )
        }
    };
    let mut rows: Vec<((String, String), Arc<HostedZone>)> = snapshot
        .hosted_zones
        .in_scope(scope)
        .map(|zone| ((names::sort_key(&zone.name), zone.id.clone()), zone.clone()))
        .filter(|(key, _)| *key >= from)
        .collect();
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Page::cut(rows.into_iter().map(|(_, zone)| zone), size))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{record, scope, zone};
    use super::*;
    use crate::model::tx::Tx;
    use proptest::prelude::*;

    #[test]
    fn page_sizes() {
        assert_eq!(page_size(None, 300), Ok(300));
        assert_eq!(page_size(Some("1"), 300), Ok(1));
        assert_eq!(page_size(Some("1000"), 300), Ok(300));
        for bad in ["", "0", "-1", "+1", "x", "99999999999999999999"] {
            assert!(page_size(Some(bad), 300).is_err(), "{bad}");
        }
    }

    #[test]
    fn terraform_finds_a_record_by_its_start() {
        let mut tx = Tx::for_test();
        let id = zone(&mut tx, "example.test").id;
        for (name, kind) in [
            ("www.example.test.", "A"),
            ("\\052.example.test.", "A"),
            ("www.example.test.", "AAAA"),
        ] {
            tx.put(record(&id, name, kind));
        }
        let first = |name: &str, kind: &str| {
            let start = Start {
                name: Some(name.to_owned()),
                record_type: Some(kind.to_owned()),
                identifier: None,
            };
            let page = records(tx.snapshot(), &scope(), &id, &start, 1).unwrap();
            page.rows
                .first()
                .map(|r| (r.name.clone(), r.record_type.clone()))
        };
        let own = |name: &str, kind: &str| Some((name.to_owned(), kind.to_owned()));
        assert_eq!(
            first("WWW.example.test", "A"),
            own("www.example.test.", "A")
        );
        assert_eq!(
            first("www.example.test", "AAAA"),
            own("www.example.test.", "AAAA")
        );
        assert_eq!(
            first("*.example.test", "A"),
            own("\\052.example.test.", "A")
        );
        assert_eq!(first("example.test", "NS"), own("example.test.", "NS"));
        assert_eq!(first("zzz.example.test", "A"), None);
    }

    #[test]
    fn bad_starts_are_refused() {
        let mut tx = Tx::for_test();
        let id = zone(&mut tx, "example.test").id;
        let list = |start: Start| records(tx.snapshot(), &scope(), &id, &start, 1);
        let a = || Some("a".to_owned());
        assert!(
            list(Start {
                record_type: a(),
                ..Start::default()
            })
            .is_err()
        );
        assert!(
            list(Start {
                name: a(),
                identifier: a(),
                ..Start::default()
            })
            .is_err()
        );
        assert!(
            list(Start {
                name: Some("a..b".to_owned()),
                ..Start::default()
            })
            .is_err()
        );
        assert!(records(tx.snapshot(), &scope(), "Z", &Start::default(), 1).is_err());
        assert!(zones_by_name(tx.snapshot(), &scope(), None, Some("Z"), 1).is_err());
        assert!(zones_by_name(tx.snapshot(), &scope(), Some("a..b"), None, 1).is_err());
    }

    #[test]
    fn zones_are_paged_both_ways() {
        let mut tx = Tx::for_test();
        for name in ["b.test", "a.test", "test", "z.a.test", "a.test"] {
            zone(&mut tx, name);
        }
        let (mut seen, mut from) = (Vec::new(), None::<Arc<HostedZone>>);
        loop {
            let name = from.as_ref().map(|z| z.name.as_str());
            let id = from.as_ref().map(|z| z.id.as_str());
            let page = zones_by_name(tx.snapshot(), &scope(), name, id, 2).unwrap();
            seen.extend(page.rows.iter().map(|zone| zone.name.clone()));
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(
            seen,
            ["test.", "a.test.", "a.test.", "z.a.test.", "b.test."]
        );
        let page = zones_by_id(tx.snapshot(), &scope(), None, 3, |_| true);
        let rest = zones_by_id(
            tx.snapshot(),
            &scope(),
            page.next.as_ref().map(|z| z.id.as_str()),
            3,
            |_| true,
        );
        assert_eq!((page.rows.len(), rest.rows.len(), rest.next), (3, 2, None));
    }

    /// As the documentation words it, and nothing else: reverse the labels, compare as texts.
    fn naive_order(mut rows: Vec<(String, String)>) -> Vec<(String, String)> {
        let reversed = |name: &str| {
            let mut labels: Vec<&str> = name.trim_end_matches('.').split('.').collect();
            labels.reverse();
            format!("{}.", labels.join("."))
        };
        rows.sort_by(|a, b| (reversed(&a.0), &a.1).cmp(&(reversed(&b.0), &b.1)));
        rows
    }

    proptest! {
        #[test]
        fn pages_of_any_size_give_every_record_once_in_order(
            made in proptest::collection::btree_set(("([ab_-]{1,2}\\.){0,3}", "A|AAAA|MX|TXT"), 0..12),
            size in 1usize..8,
        ) {
            let mut tx = Tx::for_test();
            let id = zone(&mut tx, "example.test").id;
            let mut expected = vec![("example.test.".to_owned(), "NS".to_owned()), ("example.test.".to_owned(), "SOA".to_owned())];
            for (labels, kind) in made {
                let name = format!("{labels}example.test.");
                tx.put(record(&id, &name, &kind));
                expected.push((name, kind));
            }
            let expected = naive_order(expected);
            let (mut seen, mut start) = (Vec::new(), Start::default());
            loop {
                let page = records(tx.snapshot(), &scope(), &id, &start, size).unwrap();
                seen.extend(page.rows.iter().map(|r| (r.name.clone(), r.record_type.clone())));
                let Some(next) = page.next else { break };
                start = Start { name: Some(next.name.clone()), record_type: Some(next.record_type.clone()), identifier: None };
            }
            prop_assert_eq!(seen, expected);
        }
    }
}
