//! Records: batches of changes, and lists.

use super::{bare, changes};
use crate::api::{ApiError, Context};
use crate::model::route53::batch::{self, NamedChange, Verb};
use crate::model::route53::listing::{self, Start};
use crate::model::route53::policies::role_name;
use crate::model::route53::{Refusal, invalid, not_offered};
use fogbank_types::route53::{self as rows, FailoverRole, GeoPlace, RecordSet, Routing};
use fogbank_wire::ServiceError;
use fogbank_wire::route53::*;

pub fn change(
    context: &Context,
    input: ChangeResourceRecordSetsRequest,
) -> Result<ChangeResourceRecordSetsResponse, ApiError> {
    let ChangeBatch {
        changes: wanted,
        comment,
    } = input.change_batch;
    let wanted: Vec<NamedChange> = wanted
        .into_iter()
        .map(parse)
        .collect::<Result<_, Refusal>>()?;
    let (scope, zone_id) = (context.scope().global(), bare(&input.hosted_zone_id));
    let change = context
        .write(|tx| batch::apply(tx, &scope, zone_id, comment.clone(), &wanted).map_err(refused))?;
    Ok(ChangeResourceRecordSetsResponse {
        change_info: changes::render(&change),
    })
}

/// A refused batch has its own document, with the list of messages.
fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::InvalidChangeBatch(messages) => {
            ApiError(ServiceError::invalid_change_batch(messages))
        }
        other => other.into(),
    }
}

fn parse(change: Change) -> Result<NamedChange, Refusal> {
    let verb = match change.action.as_str() {
        "CREATE" => Verb::Create,
        "DELETE" => Verb::Delete,
        "UPSERT" => Verb::Upsert,
        other => return Err(invalid(format!("The action '{other}' is not valid"))),
    };
    let record = change.resource_record_set;
    let policies = policies(&record)?;
    let ttl = record.ttl.map(|ttl| {
        u32::try_from(ttl)
            .ok()
            .filter(|ttl| *ttl <= 2_147_483_647)
            .ok_or_else(|| invalid(format!("TTL '{ttl}' must be in the range 0-2147483647")))
    });
    let values = record
        .resource_records
        .map(|records| records.into_iter().map(|record| record.value).collect());
    let alias = record.alias_target.map(|alias| {
        let zone_id = bare(&alias.hosted_zone_id).to_owned();
        (zone_id, alias.dns_name, alias.evaluate_target_health)
    });
    Ok(NamedChange {
        verb,
        name: record.name,
        record_type: record.r#type,
        ttl: ttl.transpose()?,
        values,
        alias,
        set_identifier: record.set_identifier,
        policies,
        health_check_id: record.health_check_id,
    })
}

/// All policies that a record names. `MultiValueAnswer` that is false names none.
fn policies(record: &ResourceRecordSet) -> Result<Vec<Routing>, Refusal> {
    if record.traffic_policy_instance_id.is_some() {
        return Err(not_offered("A record of a traffic policy instance"));
    }
    let mut found = Vec::new();
    if let Some(weight) = record.weight {
        let weight = u8::try_from(weight)
            .map_err(|_| invalid(format!("Weight '{weight}' must be in the range 0-255")))?;
        found.push(Routing::Weighted {
            weight,
            healthy: true,
        });
    }
    if let Some(region) = &record.region {
        let region = region.clone();
        found.push(Routing::Latency { region });
    }
    if let Some(role) = record.failover.as_deref() {
        let role = match role {
            "PRIMARY" => FailoverRole::Primary,
            "SECONDARY" => FailoverRole::Secondary,
            other => return Err(invalid(format!("The failover role '{other}' is not valid"))),
        };
        found.push(Routing::Failover { role });
    }
    if let Some(location) = &record.geo_location {
        found.push(Routing::Geolocation(rows::GeoLocation {
            continent: location.continent_code.clone(),
            country: location.country_code.clone(),
            subdivision: location.subdivision_code.clone(),
        }));
    }
    if let Some(location) = &record.geo_proximity_location {
        found.push(Routing::Geoproximity(proximity(location)?));
    }
    if record.multi_value_answer == Some(true) {
        found.push(Routing::Multivalue { healthy: true });
    }
    if let Some(config) = &record.cidr_routing_config {
        found.push(Routing::Cidr {
            collection_id: config.collection_id.clone(),
            location: config.location_name.clone(),
        });
    }
    Ok(found)
}

fn proximity(location: &GeoProximityLocation) -> Result<rows::GeoProximity, Refusal> {
    let bias = location.bias.unwrap_or(0);
    let bias = i8::try_from(bias)
        .ok()
        .filter(|bias| (-99..=99).contains(bias))
        .ok_or_else(|| invalid(format!("Bias '{bias}' must be in the range -99-99")))?;
    let place = match (
        &location.aws_region,
        &location.local_zone_group,
        &location.coordinates,
    ) {
        (Some(region), None, None) => GeoPlace::Region(region.clone()),
        (None, Some(group), None) => GeoPlace::LocalZoneGroup(group.clone()),
        (None, None, Some(at)) => GeoPlace::Coordinates {
            latitude: at.latitude.clone(),
            longitude: at.longitude.clone(),
        },
        (region, group, at) => {
            let none = region.is_none() && group.is_none() && at.is_none();
            let found = if none { "none" } else { "more than one" };
            return Err(invalid(format!(
                "Invalid request: Expected exactly one of [AWSRegion, LocalZoneGroup, or Coordinates], but found {found} in GeoProximityLocation"
            )));
        }
    };
    Ok(rows::GeoProximity { place, bias })
}

pub fn list(
    context: &Context,
    input: ListResourceRecordSetsRequest,
) -> Result<ListResourceRecordSetsResponse, ApiError> {
    let size = listing::page_size(input.max_items.as_deref(), listing::RECORDS_MAX)?;
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let start = Start {
        name: input.start_record_name,
        record_type: input.start_record_type,
        identifier: input.start_record_identifier,
    };
    let page = listing::records(&snapshot, &scope, bare(&input.hosted_zone_id), &start, size)?;
    Ok(ListResourceRecordSetsResponse {
        is_truncated: page.next.is_some(),
        max_items: size.to_string(),
        next_record_identifier: page
            .next
            .as_ref()
            .and_then(|row| row.set_identifier.clone()),
        next_record_name: page.next.as_ref().map(|row| row.name.clone()),
        next_record_type: page.next.as_ref().map(|row| row.record_type.clone()),
        resource_record_sets: page.rows.iter().map(|row| render(row)).collect(),
    })
}

fn render(row: &RecordSet) -> ResourceRecordSet {
    let record = |value: &String| ResourceRecord {
        value: value.clone(),
    };
    let alias = |alias: &fogbank_types::route53::AliasTarget| AliasTarget {
        dns_name: alias.dns_name.clone(),
        evaluate_target_health: alias.evaluate_target_health,
        hosted_zone_id: alias.hosted_zone_id.clone(),
    };
    let mut set = ResourceRecordSet {
        alias_target: row.alias.as_ref().map(alias),
        name: row.name.clone(),
        resource_records: row
            .alias
            .is_none()
            .then(|| row.values.iter().map(record).collect()),
        set_identifier: row.set_identifier.clone(),
        ttl: row.ttl.map(i64::from),
        health_check_id: row.health_check_id.clone(),
        r#type: row.record_type.clone(),
        ..Default::default()
    };
    render_policy(&row.routing, &mut set);
    set
}

fn render_policy(routing: &Routing, set: &mut ResourceRecordSet) {
    match routing {
        Routing::Simple => {}
        Routing::Multivalue { .. } => set.multi_value_answer = Some(true),
        Routing::Weighted { weight, .. } => set.weight = Some(i64::from(*weight)),
        Routing::Latency { region } => set.region = Some(region.clone()),
        Routing::Failover { role } => set.failover = Some(role_name(*role).to_owned()),
        Routing::Geolocation(location) => {
            set.geo_location = Some(GeoLocation {
                continent_code: location.continent.clone(),
                country_code: location.country.clone(),
                subdivision_code: location.subdivision.clone(),
            });
        }
        Routing::Geoproximity(proximity) => {
            let mut location = GeoProximityLocation {
                bias: Some(i32::from(proximity.bias)),
                ..Default::default()
            };
            match &proximity.place {
                GeoPlace::Region(region) => location.aws_region = Some(region.clone()),
                GeoPlace::LocalZoneGroup(group) => location.local_zone_group = Some(group.clone()),
                GeoPlace::Coordinates {
                    latitude,
                    longitude,
                } => {
                    location.coordinates = Some(Coordinates {
                        latitude: latitude.clone(),
                        longitude: longitude.clone(),
                    });
                }
            }
            set.geo_proximity_location = Some(location);
        }
        Routing::Cidr {
            collection_id,
            location,
        } => {
            set.cidr_routing_config = Some(CidrRoutingConfig {
                collection_id: collection_id.clone(),
                location_name: location.clone(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(record: ResourceRecordSet) -> Change {
        Change {
            action: "CREATE".to_owned(),
            resource_record_set: record,
        }
    }

    #[test]
    fn a_policy_comes_back_as_it_was_given() {
        let plain = || ResourceRecordSet {
            set_identifier: Some("a".to_owned()),
            r#type: "A".to_owned(),
            ..Default::default()
        };
        let proximity = |location| ResourceRecordSet {
            geo_proximity_location: Some(location),
            ..plain()
        };
        for record in [
            ResourceRecordSet {
                weight: Some(255),
                ..plain()
            },
            ResourceRecordSet {
                region: Some("eu-west-1".to_owned()),
                ..plain()
            },
            ResourceRecordSet {
                failover: Some("SECONDARY".to_owned()),
                ..plain()
            },
            ResourceRecordSet {
                multi_value_answer: Some(true),
                ..plain()
            },
            ResourceRecordSet {
                geo_location: Some(GeoLocation {
                    country_code: Some("US".to_owned()),
                    subdivision_code: Some("WA".to_owned()),
                    continent_code: None,
                }),
                ..plain()
            },
            proximity(GeoProximityLocation {
                bias: Some(-99),
                local_zone_group: Some("us-west-2-lax-1".to_owned()),
                ..Default::default()
            }),
            proximity(GeoProximityLocation {
                bias: Some(0),
                coordinates: Some(Coordinates {
                    latitude: "49.22".to_owned(),
                    longitude: "-74.01".to_owned(),
                }),
                ..Default::default()
            }),
            ResourceRecordSet {
                cidr_routing_config: Some(CidrRoutingConfig {
                    collection_id: "c".to_owned(),
                    location_name: "*".to_owned(),
                }),
                ..plain()
            },
        ] {
            let parsed = policies(&record).unwrap();
            assert_eq!(parsed.len(), 1, "{record:?}");
            let mut rendered = plain();
            render_policy(&parsed[0], &mut rendered);
            assert_eq!(rendered, record);
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let plain = ResourceRecordSet::default;
        let nowhere = GeoProximityLocation::default();
        for record in [
            ResourceRecordSet {
                weight: Some(256),
                ..plain()
            },
            ResourceRecordSet {
                failover: Some("THIRD".to_owned()),
                ..plain()
            },
            ResourceRecordSet {
                geo_proximity_location: Some(nowhere.clone()),
                ..plain()
            },
            ResourceRecordSet {
                geo_proximity_location: Some(GeoProximityLocation {
                    bias: Some(100),
                    aws_region: Some("us-east-1".to_owned()),
                    ..nowhere
                }),
                ..plain()
            },
            ResourceRecordSet {
                ttl: Some(-1),
                ..plain()
            },
            ResourceRecordSet {
                ttl: Some(2_147_483_648),
                ..plain()
            },
        ] {
            assert!(parse(change(record.clone())).is_err(), "{record:?}");
        }
    }
}
