//! Batches of changes to records: all or nothing, with a message for each problem (facts DNS-5, DNS-6, DNS-8).
//! <https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html>

use super::{Refusal, aliases, changes, invalid, names, policies, values, zones};
use crate::model::tx::Tx;
use fogbank_types::route53::{AliasTarget, Change, HostedZone, RecordSet, Routing};
use fogbank_types::{RegionConfig, Row, Scope, Snapshot};
use std::collections::{BTreeMap, BTreeSet};

/// `ResourceRecord` elements in a request; UPSERT counts twice.
const ELEMENTS_MAX: usize = 1000;

/// Characters of all values in a request; UPSERT counts twice.
const CHARACTERS_MAX: usize = 32_000;

/// Quota "Records per hosted zone".
const RECORDS_MAX: u32 = 10_000;
const RECORDS_QUOTA: &str = "L-E209CC9F";

/// How many records a hosted zone may have.
pub fn records_max(config: &RegionConfig) -> usize {
    config.quota(RECORDS_QUOTA, RECORDS_MAX)
}

/// Values of one record.
const VALUES_MAX: usize = 400;

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    Create,
    Delete,
    Upsert,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Delete => "DELETE",
            Self::Upsert => "UPSERT",
        }
    }
}

/// A change as it came.
#[derive(Clone, Debug)]
pub struct NamedChange {
    pub verb: Verb,
    pub name: String,
    pub record_type: String,
    pub ttl: Option<u32>,
    pub values: Option<Vec<String>>,
    /// Zone id, name, evaluate target health.
    pub alias: Option<(String, String, bool)>,
    pub set_identifier: Option<String>,
    /// All that it names; more than one is refused.
    pub policies: Vec<Routing>,
    pub health_check_id: Option<String>,
}

impl NamedChange {
    /// How AWS's messages say which change they are about.
    fn place(&self) -> String {
        format!(
            "Change with [Action={}, Name={}, Type={}, SetIdentifier={}]",
            self.verb.as_str(),
            self.name,
            self.record_type,
            self.set_identifier.as_deref().unwrap_or("null")
        )
    }
}

/// The records that a batch touches: as they will be, `None` = gone. By id.
type Touched = BTreeMap<String, Option<RecordSet>>;

/// Makes the changes in order, then checks the zone as it would be.
pub fn apply(
    tx: &mut Tx,
    scope: &Scope,
    zone_id: &str,
    comment: Option<String>,
    batch: &[NamedChange],
) -> Result<Change, Refusal> {
    let zone = HostedZone::clone(zones::find(tx.snapshot(), scope, zone_id)?);
    zones::check_owner(tx.snapshot(), zone_id)?;
    if batch.is_empty() {
        return Err(invalid("At least one change must be specified"));
    }
    check_size(batch)?;
    let mut problems = Vec::new();
    let mut wanted = Vec::new();
    for change in batch {
        match record_of(&zone, change)? {
            Ok(record) => {
                if change.verb != Verb::Delete {
                    policies::check_health_check(tx.snapshot(), scope, &record)?;
                    problems.extend(policies::problems(tx.snapshot(), &zone, &record));
                }
                wanted.push((change.verb, record));
            }
            Err(faults) => problems.extend(faults),
        }
    }
    let touched = run(tx, &zone, &wanted, &mut problems);
    if problems.is_empty() {
        check_zone(tx, &zone, &touched, &mut problems);
    }
    if !problems.is_empty() {
        let mut seen = BTreeSet::new();
        problems.retain(|problem| seen.insert(problem.clone()));
        return Err(Refusal::InvalidChangeBatch(problems));
    }
    for (id, record) in touched {
        match record {
            Some(record) => tx.put(record),
            None => {
                tx.delete::<RecordSet>(scope, id);
            }
        }
    }
    Ok(changes::submit(tx, scope, comment))
}

fn check_size(batch: &[NamedChange]) -> Result<(), Refusal> {
    let (mut elements, mut characters) = (0, 0);
    for change in batch {
        let factor = if change.verb == Verb::Upsert { 2 } else { 1 };
        let values = change.values.as_deref().unwrap_or_default();
        // An alias counts as one.
        elements += factor * values.len().max(1);
        characters += factor
            * values
                .iter()
                .map(|value| value.chars().count())
                .sum::<usize>();
    }
    let over = |what: &str, limit: usize| {
        Refusal::InvalidChangeBatch(vec![format!("Number of {what} limit of {limit} exceeded.")])
    };
    if elements > ELEMENTS_MAX {
        return Err(over("records", ELEMENTS_MAX));
    }
    if characters > CHARACTERS_MAX {
        return Err(over("characters", CHARACTERS_MAX));
    }
    Ok(())
}

/// The record that a change is about. A malformed request is refused at once; faults of the record are collected.
fn record_of(
    zone: &HostedZone,
    change: &NamedChange,
) -> Result<Result<RecordSet, Vec<String>>, Refusal> {
    check_content(change)?;
    let place = change.place();
    let routing = policies::one_of(
        &change.policies,
        change.set_identifier.as_deref(),
        change.health_check_id.is_some(),
        &place,
    )?;
    let NamedChange {
        verb,
        name: given,
        record_type,
        ttl,
        ..
    } = change;
    let name = match names::canonical(given) {
        Ok(name) => name,
        Err(error) => {
            return Ok(Err(vec![format!(
                "FATAL problem: {error} encountered with '{given}'"
            )]));
        }
    };
    let mut record = RecordSet {
        scope: zone.scope.clone(),
        zone_id: zone.id.clone(),
        name,
        record_type: record_type.clone(),
        set_identifier: change.set_identifier.clone(),
        ttl: *ttl,
        values: change.values.clone().unwrap_or_default(),
        alias: None,
        routing,
        health_check_id: change.health_check_id.clone(),
    };
    let mut faults = Vec::new();
    if let Some((hosted_zone_id, dns_name, evaluate_target_health)) = &change.alias {
        match names::canonical(dns_name) {
            Ok(dns_name) => {
                record.alias = Some(AliasTarget {
                    hosted_zone_id: hosted_zone_id.clone(),
                    dns_name,
                    evaluate_target_health: *evaluate_target_health,
                });
            }
            Err(error) => {
                faults.push(format!(
                    "FATAL problem: {error} encountered with '{dns_name}'"
                ));
            }
        }
    }
    if *verb != Verb::Delete {
        policies::check_form(&record, &place)?;
    }
    faults.extend(record_faults(zone, &record, *verb));
    Ok(if faults.is_empty() {
        Ok(record)
    } else {
        Err(faults)
    })
}

/// A record is an alias, or has values and a TTL.
fn check_content(change: &NamedChange) -> Result<(), Refusal> {
    const KINDS: &str =
        "[AliasTarget, all of [TTL, and ResourceRecords], or TrafficPolicyInstanceId]";
    let fault = match (&change.alias, change.ttl, change.values.as_deref()) {
        (Some(_), None, None | Some([])) | (None, Some(_), Some([_, ..])) => return Ok(()),
        (Some(_), _, _) => format!("Expected exactly one of {KINDS}, but found more than one"),
        (None, None, Some([_, ..])) => "Missing field 'TTL'".to_owned(),
        (None, Some(_), None | Some([])) => "Missing field 'ResourceRecords'".to_owned(),
        (None, None, _) => format!("Expected exactly one of {KINDS}, but found none"),
    };
    let place = change.place();
    Err(invalid(format!("Invalid request: {fault} in {place}")))
}

/// What is wrong with a record on its own. A record that is to be deleted is compared, not judged.
fn record_faults(zone: &HostedZone, record: &RecordSet, verb: Verb) -> Vec<String> {
    let RecordSet {
        name,
        record_type,
        values: texts,
        ..
    } = record;
    let mut faults = Vec::new();
    if !names::is_within(name, &zone.name) {
        faults.push(format!(
            "RRSet with DNS name {name} is not permitted in zone {}",
            zone.name
        ));
    }
    if verb == Verb::Delete {
        return faults;
    }
    if record_type == "CNAME" && *name == zone.name {
        faults.push(format!(
            "RRSet of type CNAME with DNS name {name} is not permitted at apex in zone {}",
            zone.name
        ));
    }
    if record_type == "SOA" && *name != zone.name {
        faults.push(format!(
            "RRSet of type SOA with DNS name {name} is not permitted in zone {}",
            zone.name
        ));
    }
    if texts.len() > VALUES_MAX {
        faults.push(format!(
            "RRSet of type {record_type} with DNS name {name} has more than {VALUES_MAX} values"
        ));
    }
    let single = matches!(record_type.as_str(), "CNAME" | "SOA");
    if single && texts.len() > 1 {
        faults.push(format!(
            "RRSet of type {record_type} with DNS name {name} must have exactly one value"
        ));
    }
    let mut seen = BTreeSet::new();
    for text in texts {
        faults.extend(values::problem(record_type, text));
        if !seen.insert(text) {
            faults.push(format!("Duplicate Resource Record: '{text}'"));
        }
    }
    if let Some(alias) = &record.alias {
        faults.extend(aliases::problem(record, alias));
    }
    faults
}

/// The changes one after the other, each against what those before it left.
fn run(
    tx: &Tx,
    zone: &HostedZone,
    wanted: &[(Verb, RecordSet)],
    problems: &mut Vec<String>,
) -> Touched {
    let mut touched = Touched::new();
    for (verb, record) in wanted {
        let id = record.id();
        let stored = || {
            tx.snapshot()
                .record_sets
                .get(&zone.scope, &id)
                .map(|row| RecordSet::clone(row))
        };
        let current = touched.get(&id).cloned().unwrap_or_else(stored);
        let identifier = record.set_identifier.as_deref();
        let about = format!(
            "[name='{}', type='{}'{}]",
            record.name,
            record.record_type,
            identifier.map_or(String::new(), |id| format!(", set identifier='{id}'"))
        );
        match (verb, current) {
            (Verb::Create, Some(_)) => problems.push(format!(
                "Tried to create resource record set {about} but it already exists"
            )),
            (Verb::Create, None) | (Verb::Upsert, _) => {
                touched.insert(id, Some(record.clone()));
            }
            (Verb::Delete, None) => problems.push(format!(
                "Tried to delete resource record set {about} but it was not found"
            )),
            (Verb::Delete, Some(current)) if !is_same(&current, record) => problems.push(format!(
                "Tried to delete resource record set {about} but the values provided do not match the current values"
            )),
            (Verb::Delete, Some(_)) => {
                touched.insert(id, None);
            }
        }
    }
    touched
}

/// Values have no order.
fn is_same(a: &RecordSet, b: &RecordSet) -> bool {
    let sorted = |record: &RecordSet| {
        let mut values = record.values.clone();
        values.sort();
        values
    };
    a.ttl == b.ttl
        && a.alias == b.alias
        && a.routing == b.routing
        && a.health_check_id == b.health_check_id
        && sorted(a) == sorted(b)
}

/// The zone as it would be. Looked at by name, so that a change costs what it touches and not what the zone holds.
struct After<'a> {
    snapshot: &'a Snapshot,
    zone: &'a HostedZone,
    touched: &'a Touched,
}

impl<'a> After<'a> {
    fn at(&self, name: &'a str) -> impl Iterator<Item = &'a RecordSet> {
        let prefix = format!("{}/{name}/", self.zone.id);
        let touched = self.touched;
        let unchanged = self
            .snapshot
            .record_sets
            .with_prefix(&self.zone.scope, &prefix)
            .map(|row| &**row)
            .filter(|row| !touched.contains_key(&row.id()));
        unchanged
            .chain(touched.values().flatten())
            .filter(move |record| record.name == name)
    }

    fn kinds(&self, name: &'a str) -> BTreeSet<&'a str> {
        self.at(name).map(|r| r.record_type.as_str()).collect()
    }

    fn group(&self, record: &'a RecordSet) -> Vec<&'a RecordSet> {
        let all = self.at(&record.name);
        all.filter(|r| r.record_type == record.record_type)
            .collect()
    }

    /// Whether the zone would hold more records than that.
    fn is_over(&self, most: usize) -> bool {
        // The region's records are counted in no time, the zone's only if they could be too many.
        if self.snapshot.record_sets.len() + self.touched.len() <= most {
            return false;
        }
        let unchanged = zones::records(self.snapshot, self.zone)
            .filter(|row| !self.touched.contains_key(&row.id()));
        unchanged.count() + self.touched.values().flatten().count() > most
    }
}

/// What must hold in the zone as it would be, at the names that the batch touches.
fn check_zone(tx: &Tx, zone: &HostedZone, touched: &Touched, problems: &mut Vec<String>) {
    let after = After {
        snapshot: tx.snapshot(),
        zone,
        touched,
    };
    let most = records_max(tx.config());
    if after.is_over(most) {
        problems.push(format!(
            "Number of records limit of {most} per hosted zone exceeded."
        ));
    }
    let apex = after.kinds(&zone.name);
    if !apex.contains("NS") {
        problems.push(
            "A HostedZone must contain at least one NS record for the zone itself.".to_owned(),
        );
    }
    if !apex.contains("SOA") {
        problems.push("A HostedZone must contain exactly one SOA record.".to_owned());
    }
    for record in touched.values().flatten() {
        let (name, kind) = (&record.name, &record.record_type);
        let kinds = after.kinds(name);
        let shared = kinds.len() > 1;
        if kind == "CNAME" && shared {
            problems.push(format!(
                "RRSet of type CNAME with DNS name {name} is not permitted as it conflicts with other records with the same DNS name in zone {}",
                zone.name
            ));
        } else if kinds.contains("CNAME") && shared {
            problems.push(format!(
                "RRSet of type {kind} with DNS name {name} is not permitted because a conflicting RRSet of type CNAME with the same DNS name already exists in zone {}",
                zone.name
            ));
        }
    }
    // Records of one name and type share a policy.
    for record in touched.values().flatten() {
        problems.extend(policies::group_problems(record, &after.group(record)));
    }
    check_own_aliases(&after, problems);
}

/// Aliases to records of the zone that the batch sets need their target.
fn check_own_aliases(after: &After, problems: &mut Vec<String>) {
    let zone = after.zone;
    for record in after.touched.values().flatten() {
        let Some(alias) = record
            .alias
            .as_ref()
            .filter(|a| a.hosted_zone_id == zone.id)
        else {
            continue;
        };
        let (target, kind) = (alias.dns_name.as_str(), record.record_type.as_str());
        let lies = if names::is_within(target, &zone.name) {
            let is_there = after.at(target).any(|r| r.record_type == kind);
            (!is_there).then_some("that target was not found")
        } else {
            Some("the alias target name does not lie within the target zone")
        };
        if let Some(why) = lies {
            problems.push(format!(
                "Tried to create an alias that targets {target}, type {kind} in zone {}, but {why}",
                zone.id
            ));
        }
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
