//! Regions, zones and limits: what there is before anything is created.

use super::filters::Filters;
use super::query::dry_run;
use crate::api::{ApiError, Context};
use crate::model::vpc::{Quotas, Refusal, default_vpc};
use fogbank_types::Tags;
use fogbank_types::place::{regions, zones};
use fogbank_wire::ec2::*;

/// Regions that need no opting in (the ones before March 2019).
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-regions-availability-zones.html>
const ALWAYS_ON: &[&str] = &[
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "ca-central-1",
    "sa-east-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-central-1",
    "eu-north-1",
    "ap-south-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-southeast-1",
    "ap-southeast-2",
];

/// An account is opted in to the region that it calls.
fn opt_in_status(region: &str, called: &str) -> &'static str {
    if ALWAYS_ON.contains(&region) {
        "opt-in-not-required"
    } else if region == called {
        "opted-in"
    } else {
        "not-opted-in"
    }
}

const ZONE_FILTERS: &[&str] = &[
    "group-long-name",
    "group-name",
    "message",
    "opt-in-status",
    "parent-zone-id",
    "parent-zone-name",
    "region-name",
    "state",
    "zone-id",
    "zone-name",
    "zone-type",
];

pub fn describe_availability_zones(
    context: &Context,
    request: DescribeAvailabilityZonesRequest,
) -> Result<DescribeAvailabilityZonesResult, ApiError> {
    dry_run(request.dry_run)?;
    let region = &context.caller.region;
    let filters = Filters::parse(request.filters, ZONE_FILTERS)?;
    let all = zones(region);
    for (parameter, name) in request
        .zone_names
        .iter()
        .flatten()
        .map(|name| ("ZoneName", name))
        .chain(request.zone_ids.iter().flatten().map(|id| ("ZoneId", id)))
    {
        if !all
            .iter()
            .any(|zone| zone.name == *name || zone.id == *name)
        {
            return Err(Refusal::value(format!(
                "Invalid availability zone: [{name}] ({parameter})"
            ))
            .into());
        }
    }
    let named = |given: &Option<Vec<String>>, own: &String| {
        given
            .as_ref()
            .is_none_or(|g| g.is_empty() || g.contains(own))
    };
    let shown = all
        .into_iter()
        .filter(|zone| named(&request.zone_names, &zone.name) && named(&request.zone_ids, &zone.id))
        .filter(|zone| {
            filters.accept(&Tags::new(), |name| match name {
                "zone-id" => vec![zone.id.clone()],
                "zone-name" => vec![zone.name.clone()],
                "zone-type" => vec!["availability-zone".to_owned()],
                "state" => vec!["available".to_owned()],
                "opt-in-status" => vec!["opt-in-not-required".to_owned()],
                "region-name" | "group-name" => vec![region.clone()],
                _ => Vec::new(),
            })
        })
        .map(|zone| AvailabilityZone {
            opt_in_status: Some("opt-in-not-required".to_owned()),
            messages: Some(Vec::new()),
            region_name: Some(region.clone()),
            zone_name: Some(zone.name),
            zone_id: Some(zone.id),
            group_name: Some(region.clone()),
            network_border_group: Some(region.clone()),
            zone_type: Some("availability-zone".to_owned()),
            state: Some("available".to_owned()),
            ..AvailabilityZone::default()
        })
        .collect();
    Ok(DescribeAvailabilityZonesResult {
        availability_zones: Some(shown),
    })
}

/// Without AllRegions, or a name, only those that the account may use.
pub fn describe_regions(
    context: &Context,
    request: DescribeRegionsRequest,
) -> Result<DescribeRegionsResult, ApiError> {
    dry_run(request.dry_run)?;
    let filters = Filters::parse(
        request.filters,
        &["endpoint", "opt-in-status", "region-name"],
    )?;
    let names = request.region_names.unwrap_or_default();
    if let Some(unknown) = names
        .iter()
        .find(|name| !regions().any(|region| region == name.as_str()))
    {
        return Err(Refusal::value(format!("Invalid region provided: {unknown}")).into());
    }
    let called = context.caller.region.as_str();
    let all = request.all_regions == Some(true) || !names.is_empty();
    let endpoint = |region: &str| format!("ec2.{region}.amazonaws.com");
    let shown = regions()
        .filter(|region| all || opt_in_status(region, called) != "not-opted-in")
        .filter(|region| names.is_empty() || names.iter().any(|name| name == region))
        .filter(|region| {
            filters.accept(&Tags::new(), |name| match name {
                "endpoint" => vec![endpoint(region)],
                "region-name" => vec![region.to_string()],
                _ => vec![opt_in_status(region, called).to_owned()],
            })
        })
        .map(|region| Region {
            endpoint: Some(endpoint(region)),
            opt_in_status: Some(opt_in_status(region, called).to_owned()),
            region_name: Some(region.to_owned()),
            ..Region::default()
        })
        .collect();
    Ok(DescribeRegionsResult {
        regions: Some(shown),
    })
}

/// AWS says so to every account, whatever its quotas.
const MAX_INSTANCES: &str = "20";

pub fn describe_account_attributes(
    context: &Context,
    request: DescribeAccountAttributesRequest,
) -> Result<DescribeAccountAttributesResult, ApiError> {
    dry_run(request.dry_run)?;
    let snapshot = context.snapshot();
    let default_vpc = default_vpc::find(&snapshot, &context.scope());
    let quotas = Quotas::of(context.config());
    let attributes = [
        (
            "vpc-max-security-groups-per-interface",
            quotas.groups_per_interface.to_string(),
        ),
        ("max-instances", MAX_INSTANCES.to_owned()),
        ("supported-platforms", "VPC".to_owned()),
        (
            "default-vpc",
            default_vpc.map_or("none".to_owned(), |vpc| vpc.vpc_id.to_string()),
        ),
        ("max-elastic-ips", quotas.elastic_ips.to_string()),
        ("vpc-max-elastic-ips", quotas.elastic_ips.to_string()),
    ];
    let names = request.attribute_names.unwrap_or_default();
    if let Some(unknown) = names
        .iter()
        .find(|name| !attributes.iter().any(|(known, _)| known == name))
    {
        return Err(Refusal::parameter("attributeName", unknown, "").into());
    }
    let shown = attributes
        .into_iter()
        .filter(|(name, _)| names.is_empty() || names.iter().any(|wanted| wanted == name))
        .map(|(name, value)| AccountAttribute {
            attribute_name: Some(name.to_owned()),
            attribute_values: Some(vec![AccountAttributeValue {
                attribute_value: Some(value),
            }]),
        })
        .collect();
    Ok(DescribeAccountAttributesResult {
        account_attributes: Some(shown),
    })
}
