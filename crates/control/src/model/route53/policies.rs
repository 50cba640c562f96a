//! Routing policies of records: what a record of a policy must be, and what records of one name and type must have in
//! common (facts ROUTE-1 to ROUTE-5, PHZ-4). Called by `batch`; the name servers choose among what passes here.
//! <https://docs.aws.amazon.com/Route53/latest/APIReference/API_ResourceRecordSet.html>

use super::{Refusal, geo_locations, invalid};
use fogbank_types::route53::{FailoverRole, GeoLocation, GeoPlace, HostedZone, RecordSet, Routing};
use fogbank_types::{Scope, Snapshot};

/// Records of one name and type.
const GROUP_MAX: usize = 100;

/// Of them, geoproximity ones.
const GEOPROXIMITY_MAX: usize = 30;

const IDENTIFIER_CHARACTERS_MAX: usize = 128;

/// The one policy of a record that has an identifier; `place` says which change it is about.
pub fn one_of(
    policies: &[Routing],
    identifier: Option<&str>,
    health_check: bool,
    place: &str,
) -> Result<Routing, Refusal> {
    const KINDS: &str = "[Weight, Region, Failover, GeoLocation, MultiValueAnswer, CidrRoutingConfig, or GeoProximityLocation]";
    let Some(identifier) = identifier else {
        return match policies.is_empty() && !health_check {
            true => Ok(Routing::Simple),
            false => Err(invalid(format!(
                "Invalid request: Missing field 'SetIdentifier' in {place}"
            ))),
        };
    };
    if !(1..=IDENTIFIER_CHARACTERS_MAX).contains(&identifier.chars().count()) {
        return Err(invalid(format!(
            "Invalid request: SetIdentifier must have 1 to {IDENTIFIER_CHARACTERS_MAX} characters in {place}"
        )));
    }
    let found = match policies {
        [policy] => return Ok(policy.clone()),
        [] => "none",
        _ => "more than one",
    };
    Err(invalid(format!(
        "Invalid request: Expected exactly one of {KINDS}, but found {found} in {place}"
    )))
}

/// What makes a request malformed rather than a record wrong.
pub fn check_form(record: &RecordSet, place: &str) -> Result<(), Refusal> {
    match &record.routing {
        Routing::Failover {
            role: FailoverRole::Primary,
        } => {
            let evaluated = record
                .alias
                .as_ref()
                .is_some_and(|a| a.evaluate_target_health);
            if !evaluated && record.health_check_id.is_none() {
                return Err(invalid(format!(
                    "Invalid request: Missing field 'HealthCheckId' in {place}"
                )));
            }
            Ok(())
        }
        Routing::Geolocation(location) => geo_locations::check_form(location),
        Routing::Geoproximity(proximity) => check_place(&proximity.place),
        _ => Ok(()),
    }
}

/// Degrees with at most two decimals.
fn check_place(place: &GeoPlace) -> Result<(), Refusal> {
    let GeoPlace::Coordinates {
        latitude,
        longitude,
    } = place
    else {
        return Ok(());
    };
    let within = |text: &str, most: f64| {
        let digits = text.trim_start_matches(['-', '+']);
        let decimals = digits.split_once('.').map_or(0, |(_, rest)| rest.len());
        let plain = digits.starts_with(|c: char| c.is_ascii_digit())
            && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let degrees = text.parse::<f64>().ok().filter(|d| d.abs() <= most);
        plain && decimals <= 2 && degrees.is_some()
    };
    for (what, text, most) in [
        ("Latitude", latitude, 90.0),
        ("Longitude", longitude, 180.0),
    ] {
        if !within(text, most) {
            return Err(invalid(format!(
                "{what} '{text}' must be a number from -{most} to {most} with at most two decimals"
            )));
        }
    }
    Ok(())
}

/// `type A, SetIdentifier x`: how AWS names a record in these messages.
fn named(record: &RecordSet) -> String {
    let RecordSet {
        name, record_type, ..
    } = record;
    let identifier = record.set_identifier.as_deref();
    let identifier = identifier.map_or(String::new(), |id| format!(", SetIdentifier {id}"));
    format!("RRSet with DNS name {name}, type {record_type}{identifier}")
}

/// What is wrong with the policy of a record on its own.
pub fn problems(snapshot: &Snapshot, zone: &HostedZone, record: &RecordSet) -> Vec<String> {
    let (record_type, routing) = (record.record_type.as_str(), &record.routing);
    let mut problems = Vec::new();
    let mut problem = |text: &str| problems.push(format!("{} {text}", named(record)));
    // "Values for weighted, latency, geolocation, and failover resource record sets" of the API reference's `Type`.
    if *routing != Routing::Simple && matches!(record_type, "NS" | "SOA") {
        problem("cannot have a routing policy other than simple");
    }
    match routing {
        Routing::Multivalue { .. } => {
            if record_type == "CNAME" {
                problem("cannot be a multivalue answer");
            }
            if record.alias.is_some() {
                problem("cannot be both an alias and a multivalue answer");
            } else if record.values.len() > 1 {
                problem("is a multivalue answer and must have exactly one value");
            }
        }
        Routing::Geoproximity(_) | Routing::Cidr { .. } if zone.private => {
            problem("has a routing policy that private hosted zones do not support");
        }
        Routing::Geolocation(location) if geo_locations::find(location).is_none() => {
            problem("has a geolocation that does not exist");
        }
        Routing::Cidr {
            collection_id,
            location,
        } => {
            if let Some(text) = cidr_problem(snapshot, &zone.scope, collection_id, location) {
                problem(&text);
            }
        }
        _ => {}
    }
    problems
}

fn cidr_problem(
    snapshot: &Snapshot,
    scope: &Scope,
    collection_id: &str,
    location: &str,
) -> Option<String> {
    let Some(collection) = snapshot.cidr_collections.get(scope, collection_id) else {
        return Some(format!(
            "refers to the CIDR collection {collection_id}, which does not exist"
        ));
    };
    let known = location == "*" || collection.locations.contains_key(location);
    (!known).then(|| {
        format!(
            "refers to the location {location}, which is not in the CIDR collection {collection_id}"
        )
    })
}

/// Whether a health check that a record names is there.
pub fn check_health_check(
    snapshot: &Snapshot,
    scope: &Scope,
    record: &RecordSet,
) -> Result<(), Refusal> {
    match &record.health_check_id {
        Some(id) if !snapshot.health_checks.contains(scope, id) => {
            Err(Refusal::NoSuchHealthCheck(id.clone()))
        }
        _ => Ok(()),
    }
}

/// What is wrong between the records of one name and type, `group`, as the batch that set `record` leaves them.
pub fn group_problems(record: &RecordSet, group: &[&RecordSet]) -> Vec<String> {
    let others = || {
        group
            .iter()
            .filter(|r| r.set_identifier != record.set_identifier)
    };
    if others().next().is_none() {
        return Vec::new();
    }
    let named = named(record);
    let Some(kind) = kind(&record.routing) else {
        return vec![format!(
            "{named} cannot be created as other RRSets exist with the same name and type."
        )];
    };
    let same_kind = |r: &RecordSet| {
        std::mem::discriminant(&r.routing) == std::mem::discriminant(&record.routing)
    };
    if others().any(|r| !same_kind(r)) {
        return vec![format!(
            "{named} cannot be created as a non-{kind} set exists with the same name and type."
        )];
    }
    let mut problems = Vec::new();
    if let Some(what) = once(&record.routing)
        && others().any(|r| once(&r.routing).as_ref() == Some(&what))
    {
        problems.push(format!(
            "{named}, {what} cannot be created as another RRSet exists with the same name, type, and {}.",
            what.split(' ').next().unwrap_or_default()
        ));
    }
    let most = match record.routing {
        Routing::Geoproximity(_) => GEOPROXIMITY_MAX,
        _ => GROUP_MAX,
    };
    if group.len() > most {
        problems.push(format!(
            "RRSets with DNS name {}, type {}: the limit of {most} with the same name and type is exceeded.",
            record.name, record.record_type
        ));
    }
    problems
}

/// As AWS's messages call it; `None` for simple.
fn kind(routing: &Routing) -> Option<&'static str> {
    match routing {
        Routing::Simple => None,
        Routing::Multivalue { .. } => Some("multivalue answer"),
        Routing::Weighted { .. } => Some("weighted"),
        Routing::Latency { .. } => Some("latency"),
        Routing::Failover { .. } => Some("failover"),
        Routing::Geolocation(_) => Some("geolocation"),
        Routing::Geoproximity(_) => Some("geoproximity"),
        Routing::Cidr { .. } => Some("CIDR"),
    }
}

/// What only one record of a group may have.
fn once(routing: &Routing) -> Option<String> {
    match routing {
        Routing::Latency { region } => Some(format!("region {region}")),
        Routing::Failover { role } => Some(format!("failover {}", role_name(*role))),
        Routing::Geolocation(location) => Some(format!("geolocation {}", codes(location))),
        Routing::Cidr {
            collection_id,
            location,
        } => Some(format!("location {location} of {collection_id}")),
        _ => None,
    }
}

/// As the API writes it.
pub fn role_name(role: FailoverRole) -> &'static str {
    match role {
        FailoverRole::Primary => "PRIMARY",
        FailoverRole::Secondary => "SECONDARY",
    }
}

fn codes(location: &GeoLocation) -> String {
    let codes = [
        &location.continent,
        &location.country,
        &location.subdivision,
    ];
    let codes: Vec<&str> = codes.into_iter().flatten().map(String::as_str).collect();
    codes.join("-")
}

#[cfg(test)]
#[path = "policies_tests.rs"]
mod tests;
