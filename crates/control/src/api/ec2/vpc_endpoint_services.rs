//! What VPC endpoints lead to: the services that the region serves, and AWS's prefix lists of those with gateway
//! endpoints.

use super::filters::Filters;
use super::query::{dry_run, page};
use crate::api::{ApiError, Context};
use crate::model::vpc::{Refusal, ids};
use fogbank_types::aws_service::{self, AWS_SERVICES, AwsPrefixList, AwsService};
use fogbank_types::{Tags, VpcEndpointId, place};
use fogbank_wire::ec2::*;

const SERVICE_FILTERS: &[&str] = &[
    "owner",
    "service-name",
    "service-region",
    "service-type",
    "supported-ip-address-types",
];

/// `Interface` or `Gateway`: a service with both is in the list twice, as on AWS.
fn kinds(service: &AwsService) -> impl Iterator<Item = &'static str> {
    let kinds = [
        ("Gateway", service.gateway),
        ("Interface", service.interface),
    ];
    kinds
        .into_iter()
        .filter(|(_, served)| *served)
        .map(|(kind, _)| kind)
}

fn families(kind: &str) -> Vec<String> {
    let families: &[&str] = match kind {
        "Interface" => &["ipv4", "dualstack"],
        _ => &["ipv4"],
    };
    families.iter().map(ToString::to_string).collect()
}

fn render_service(context: &Context, service: &AwsService, kind: &'static str) -> ServiceDetail {
    let scope = context.scope();
    let region = &scope.region;
    let name = service.service_name(region);
    let zones = place::zones(region);
    let private = (kind == "Interface").then(|| service.dns_name(region));
    let id: VpcEndpointId = ids::derived(
        &fogbank_types::Scope::new("aws", region),
        &["vpce-svc", &name, kind],
    );
    ServiceDetail {
        acceptance_required: Some(false),
        availability_zone_ids: Some(zones.iter().map(|zone| zone.id.clone()).collect()),
        availability_zones: Some(zones.into_iter().map(|zone| zone.name).collect()),
        base_endpoint_dns_names: Some(vec![service.endpoint_domain(region)]),
        manages_vpc_endpoints: Some(false),
        owner: Some("amazon".to_owned()),
        private_dns_name: private.clone(),
        private_dns_name_verification_state: private.as_ref().map(|_| "verified".to_owned()),
        private_dns_names: private.map(|name| {
            vec![PrivateDnsDetails {
                private_dns_name: Some(name),
            }]
        }),
        service_id: Some(format!("vpce-svc-{}", id.tail())),
        service_name: Some(name),
        service_region: Some(region.clone()),
        service_type: Some(vec![ServiceTypeDetail {
            service_type: Some(kind.to_owned()),
        }]),
        supported_ip_address_types: Some(families(kind)),
        tags: Some(Vec::new()),
        vpc_endpoint_policy_supported: Some(true),
        ..ServiceDetail::default()
    }
}

pub fn describe_services(
    context: &Context,
    request: DescribeVpcEndpointServicesRequest,
) -> Result<DescribeVpcEndpointServicesResult, ApiError> {
    dry_run(request.dry_run)?;
    let region = &context.caller.region;
    let filters = Filters::parse(request.filters, SERVICE_FILTERS)?;
    let wanted = request.service_names.unwrap_or_default();
    if let Some(name) = wanted
        .iter()
        .find(|name| aws_service::by_service_name(region, name).is_none())
    {
        return Err(Refusal::ServiceName { name: name.clone() }.into());
    }
    let elsewhere = request
        .service_regions
        .is_some_and(|regions| !regions.is_empty() && !regions.contains(region));
    let mut details: Vec<ServiceDetail> = Vec::new();
    for service in AWS_SERVICES.iter().filter(|_| !elsewhere) {
        let name = service.service_name(region);
        if !wanted.is_empty() && !wanted.contains(&name) {
            continue;
        }
        for kind in kinds(service) {
            let passes = filters.accept(&Tags::new(), |filter| match filter {
                "owner" => vec!["amazon".to_owned()],
                "service-name" => vec![name.clone()],
                "service-region" => vec![region.clone()],
                "service-type" => vec![kind.to_owned()],
                _ => families(kind),
            });
            if passes {
                details.push(render_service(context, service, kind));
            }
        }
    }
    let place = |detail: &ServiceDetail| {
        let id = detail.service_id.as_deref().unwrap_or_default();
        format!(
            "{} {id}",
            detail.service_name.as_deref().unwrap_or_default()
        )
    };
    details.sort_by_key(place);
    let (details, next_token) = page(details, place, request.max_results, request.next_token)?;
    let mut names: Vec<String> = details
        .iter()
        .filter_map(|detail| detail.service_name.clone())
        .collect();
    names.dedup();
    Ok(DescribeVpcEndpointServicesResult {
        next_token,
        service_details: Some(details),
        service_names: Some(names),
    })
}

pub fn describe_prefix_lists(
    context: &Context,
    request: DescribePrefixListsRequest,
) -> Result<DescribePrefixListsResult, ApiError> {
    dry_run(request.dry_run)?;
    let filters = Filters::parse(request.filters, &["prefix-list-id", "prefix-list-name"])?;
    let mut lists = aws_service::prefix_lists(&context.caller.region, context.config());
    let wanted = request.prefix_list_ids.unwrap_or_default();
    if let Some(unknown) = wanted
        .iter()
        .find(|id| !lists.iter().any(|list| list.id == ***id))
    {
        return Err(ApiError::new(
            "InvalidPrefixListId.NotFound",
            format!("The prefix list ID '{unknown}' does not exist"),
        ));
    }
    lists.retain(|list| {
        let named = wanted.is_empty() || wanted.iter().any(|id| list.id == **id);
        named
            && filters.accept(&Tags::new(), |filter| {
                vec![match filter {
                    "prefix-list-id" => list.id.to_string(),
                    _ => list.name.clone(),
                }]
            })
    });
    lists.sort_by(|a, b| a.id.cmp(&b.id));
    let (lists, next_token) = page(
        lists,
        |list| list.id.to_string(),
        request.max_results,
        request.next_token,
    )?;
    let render = |list: &AwsPrefixList| PrefixList {
        // This call tells of IPv4 blocks only.
        cidrs: Some(
            list.blocks
                .iter()
                .filter(|block| !block.to_string().contains(':'))
                .map(ToString::to_string)
                .collect(),
        ),
        prefix_list_id: Some(list.id.to_string()),
        prefix_list_name: Some(list.name.clone()),
    };
    Ok(DescribePrefixListsResult {
        next_token,
        prefix_lists: Some(lists.iter().map(render).collect()),
    })
}
