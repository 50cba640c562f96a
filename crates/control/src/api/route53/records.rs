//! Records: batches of changes, and lists.

use super::{bare, changes};
use crate::api::{ApiError, Context};
use crate::model::route53::batch::{self, NamedChange, Verb};
use crate::model::route53::listing::{self, Start};
use crate::model::route53::{Refusal, invalid, not_offered};
use fogbank_types::route53::{RecordSet, Routing};
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
    refuse_routing(&record)?;
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
    })
}

/// Only simple routing is offered.
fn refuse_routing(record: &ResourceRecordSet) -> Result<(), Refusal> {
    let members = [
        ("Weight", record.weight.is_some()),
        ("Region", record.region.is_some()),
        ("Failover", record.failover.is_some()),
        ("GeoLocation", record.geo_location.is_some()),
        (
            "GeoProximityLocation",
            record.geo_proximity_location.is_some(),
        ),
        ("MultiValueAnswer", record.multi_value_answer.is_some()),
        ("CidrRoutingConfig", record.cidr_routing_config.is_some()),
        ("HealthCheckId", record.health_check_id.is_some()),
        (
            "TrafficPolicyInstanceId",
            record.traffic_policy_instance_id.is_some(),
        ),
        ("SetIdentifier", record.set_identifier.is_some()),
    ];
    match members.into_iter().find(|(_, there)| *there) {
        Some((member, _)) => Err(not_offered(&format!(
            "A record with '{member}' (routing policies other than simple, health checks)"
        ))),
        None => Ok(()),
    }
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
    ResourceRecordSet {
        alias_target: row.alias.as_ref().map(alias),
        name: row.name.clone(),
        resource_records: row
            .alias
            .is_none()
            .then(|| row.values.iter().map(record).collect()),
        set_identifier: row.set_identifier.clone(),
        ttl: row.ttl.map(i64::from),
        multi_value_answer: matches!(row.routing, Routing::Multivalue { .. }).then_some(true),
        weight: match row.routing {
            Routing::Weighted { weight, .. } => Some(i64::from(weight)),
            _ => None,
        },
        r#type: row.record_type.clone(),
        ..Default::default()
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
    fn routing_policies_are_refused_by_name() {
        let plain = ResourceRecordSet::default;
        for record in [
            ResourceRecordSet {
                weight: Some(1),
                ..plain()
            },
            ResourceRecordSet {
                set_identifier: Some("a".to_owned()),
                ..plain()
            },
            ResourceRecordSet {
                failover: Some("PRIMARY".to_owned()),
                ..plain()
            },
            ResourceRecordSet {
                health_check_id: Some("a".to_owned()),
                ..plain()
            },
            ResourceRecordSet {
                multi_value_answer: Some(true),
                ..plain()
            },
        ] {
            let refusal = parse(change(record)).unwrap_err();
            assert!(refusal.to_string().contains("not offered"), "{refusal}");
        }
    }

    #[test]
    fn a_ttl_out_of_range_is_refused() {
        for ttl in [-1, 2_147_483_648] {
            let record = ResourceRecordSet {
                ttl: Some(ttl),
                ..Default::default()
            };
            assert!(parse(change(record)).is_err(), "{ttl}");
        }
    }
}
