//! VPC endpoints. Rules: `model::vpc::endpoints`.

use super::query::{query, rows};
use super::{not_offered, tags, write};
use crate::api::{ApiError, Context};
use crate::model::Refused;
use crate::model::vpc::endpoints::{
    self, EndpointChange, EndpointSubnet, NewEndpoint, NewKind, PrivateDns,
};
use crate::model::vpc::{Refusal, ids};
use fogbank_types::aws_service::{self, AwsService};
use fogbank_types::ec2::{VpcEndpoint as Row, VpcEndpointKind, VpcEndpointState};
use fogbank_types::{Scope, Snapshot, VpcEndpointId};
use fogbank_wire::ec2::*;

fn state_name(state: VpcEndpointState) -> &'static str {
    match state {
        VpcEndpointState::Pending => "pending",
        VpcEndpointState::Available => "available",
        VpcEndpointState::Deleting => "deleting",
    }
}

fn type_name(kind: &VpcEndpointKind) -> &'static str {
    match kind {
        VpcEndpointKind::Gateway { .. } => "Gateway",
        VpcEndpointKind::Interface { .. } => "Interface",
    }
}

/// AWS's hosted zones of endpoint names; those of other regions follow from their names alone.
fn own_zone_id(region: &str) -> String {
    match region {
        "us-east-1" => "Z7HUB22UULQXV".to_owned(),
        "us-east-2" => "ZC8PG0KIFKBRI".to_owned(),
        "us-west-1" => "Z12I86A8N7VCZO".to_owned(),
        "us-west-2" => "Z1YSA3EXCYUU9Z".to_owned(),
        "eu-west-1" => "Z38GZ743OKFT7T".to_owned(),
        region => endpoints::zone_id(&Scope::new("aws", region), "vpce"),
    }
}

/// The endpoint's own names, those of its zones, and the service's own if they lead here.
fn dns_entries(snapshot: &Snapshot, row: &Row, service: &AwsService) -> Vec<DnsEntry> {
    let VpcEndpointKind::Interface {
        subnet_ids,
        private_dns_enabled,
        ..
    } = &row.kind
    else {
        return Vec::new();
    };
    let entry = |name: String, zone: String| DnsEntry {
        dns_name: Some(name),
        hosted_zone_id: Some(zone),
    };
    let region = &row.scope.region;
    let own = own_zone_id(region);
    let mut entries: Vec<DnsEntry> = row
        .own_name(None)
        .into_iter()
        .map(|name| entry(name, own.clone()))
        .collect();
    for subnet in subnet_ids
        .iter()
        .filter_map(|id| snapshot.subnets.get(&row.scope, id))
    {
        let name = row.own_name(Some(&subnet.zone));
        entries.extend(name.map(|name| entry(name, own.clone())));
    }
    if *private_dns_enabled {
        let zone = endpoints::private_zone_id(row);
        let name = service.dns_name(region);
        if let Some(parent) = name.strip_prefix("*.") {
            entries.push(entry(parent.to_owned(), zone.clone()));
        }
        entries.push(entry(name, zone));
    }
    entries
}

fn texts<T: ToString>(ids: &[T]) -> Option<Vec<String>> {
    Some(ids.iter().map(ToString::to_string).collect())
}

fn render(snapshot: &Snapshot, row: &Row) -> VpcEndpoint {
    let common = VpcEndpoint {
        creation_timestamp: Some(row.created_at),
        owner_id: Some(row.scope.account.clone()),
        policy_document: Some(row.policy_document.clone()),
        requester_managed: Some(false),
        service_name: Some(row.service_name.clone()),
        service_region: Some(row.scope.region.clone()),
        state: Some(state_name(row.state).to_owned()),
        tags: tags::render(&row.tags),
        vpc_endpoint_id: Some(row.vpc_endpoint_id.to_string()),
        vpc_endpoint_type: Some(type_name(&row.kind).to_owned()),
        vpc_id: Some(row.vpc_id.to_string()),
        ..VpcEndpoint::default()
    };
    match &row.kind {
        VpcEndpointKind::Gateway { route_table_ids } => VpcEndpoint {
            dns_entries: Some(Vec::new()),
            groups: Some(Vec::new()),
            network_interface_ids: Some(Vec::new()),
            private_dns_enabled: Some(false),
            route_table_ids: texts(route_table_ids),
            subnet_ids: Some(Vec::new()),
            ..common
        },
        VpcEndpointKind::Interface {
            subnet_ids,
            eni_ids,
            group_ids,
            private_dns_enabled,
            ip_address_type,
            ..
        } => {
            let group = |id: &fogbank_types::SecurityGroupId| SecurityGroupIdentifier {
                group_id: Some(id.to_string()),
                group_name: snapshot
                    .security_groups
                    .get(&row.scope, id)
                    .map(|group| group.name.clone()),
            };
            let service = aws_service::by_service_name(&row.scope.region, &row.service_name);
            let both = service.is_some_and(|service| service.gateway);
            VpcEndpoint {
                dns_entries: Some(
                    service.map_or_else(Vec::new, |service| dns_entries(snapshot, row, service)),
                ),
                dns_options: Some(DnsOptions {
                    dns_record_ip_type: Some(ip_address_type.clone()),
                    private_dns_only_for_inbound_resolver_endpoint: both.then_some(false),
                    ..DnsOptions::default()
                }),
                groups: Some(group_ids.iter().map(group).collect()),
                ip_address_type: Some(ip_address_type.clone()),
                network_interface_ids: texts(eni_ids),
                private_dns_enabled: Some(*private_dns_enabled),
                route_table_ids: Some(Vec::new()),
                subnet_ids: texts(subnet_ids),
                ..common
            }
        }
    }
}

/// Subnets by id, with the addresses that the configurations choose.
fn subnets(
    subnet_ids: Option<Vec<String>>,
    configurations: Option<Vec<SubnetConfiguration>>,
) -> Result<Vec<EndpointSubnet>, Refusal> {
    let mut found: Vec<EndpointSubnet> = Vec::new();
    for id in subnet_ids.unwrap_or_default() {
        let subnet_id = ids::parse(&id)?;
        if !found.iter().any(|subnet| subnet.subnet_id == subnet_id) {
            found.push(EndpointSubnet {
                subnet_id,
                private_ip: None,
                ipv6: None,
            });
        }
    }
    for configuration in configurations.unwrap_or_default() {
        let ipv6 = configuration
            .ipv6
            .map(|text| {
                text.parse()
                    .map_err(|_| Refusal::parameter("Ipv6", &text, "Invalid IPv6 address."))
            })
            .transpose()?;
        let id = configuration
            .subnet_id
            .ok_or(Refusal::MissingParameter { name: "SubnetId" })?;
        let subnet_id = ids::parse(&id)?;
        let private_ip = configuration
            .ipv4
            .map(|text| ids::address("Ipv4", &text))
            .transpose()?;
        match found
            .iter_mut()
            .find(|subnet| subnet.subnet_id == subnet_id)
        {
            Some(subnet) => (subnet.private_ip, subnet.ipv6) = (private_ip, ipv6),
            None => found.push(EndpointSubnet {
                subnet_id,
                private_ip,
                ipv6,
            }),
        }
    }
    Ok(found)
}

fn private_dns(
    enabled: Option<bool>,
    options: Option<DnsOptionsSpecification>,
    ip_address_type: Option<&str>,
) -> Result<PrivateDns, Refusal> {
    let options = options.unwrap_or_default();
    if let Some(kind) = options.dns_record_ip_type.as_deref()
        && kind != ip_address_type.unwrap_or("ipv4")
    {
        return Err(Refusal::Parameter {
            text: format!(
                "The DNS record IP type {kind} does not fit the IP address type of the endpoint."
            ),
        });
    }
    let only_for_inbound_resolver = options.private_dns_only_for_inbound_resolver_endpoint;
    Ok(PrivateDns {
        enabled,
        only_for_inbound_resolver,
    })
}

fn new_kind(request: &CreateVpcEndpointRequest) -> Result<NewKind, Refusal> {
    let has = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    match request.vpc_endpoint_type.as_deref() {
        None | Some("Gateway") => {
            let subnets = has(&request.subnet_ids)
                || request
                    .subnet_configurations
                    .as_ref()
                    .is_some_and(|list| !list.is_empty());
            let foreign = [
                (subnets, "Subnet IDs are"),
                (has(&request.security_group_ids), "Security groups are"),
                (request.private_dns_enabled == Some(true), "Private DNS is"),
                (request.dns_options.is_some(), "DNS options are"),
            ];
            endpoints::refuse_foreign(&foreign, "Interface")?;
            Ok(NewKind::Gateway {
                route_table_ids: ids::parse_all(request.route_table_ids.as_deref())?,
            })
        }
        Some("Interface") => {
            endpoints::refuse_foreign(
                &[(has(&request.route_table_ids), "Route table IDs are")],
                "Gateway",
            )?;
            let ip_address_type = request.ip_address_type.clone();
            Ok(NewKind::Interface {
                subnets: subnets(
                    request.subnet_ids.clone(),
                    request.subnet_configurations.clone(),
                )?,
                group_ids: ids::parse_all(request.security_group_ids.as_deref())?,
                private_dns: private_dns(
                    request.private_dns_enabled,
                    request.dns_options.clone(),
                    ip_address_type.as_deref(),
                )?,
                ip_address_type,
            })
        }
        Some("GatewayLoadBalancer" | "Resource" | "ServiceNetwork") => Err(Refusal::NotOffered {
            what: "A VPC endpoint of that type",
        }),
        Some(other) => Err(Refusal::parameter("VpcEndpointType", other, "")),
    }
}

pub fn create(
    context: &Context,
    request: CreateVpcEndpointRequest,
) -> Result<CreateVpcEndpointResult, ApiError> {
    let elsewhere = request
        .service_region
        .as_ref()
        .is_some_and(|region| *region != context.caller.region);
    not_offered(elsewhere, "An endpoint to a service of another region")?;
    let foreign =
        request.resource_configuration_arn.is_some() || request.service_network_arn.is_some();
    not_offered(foreign, "An endpoint to a VPC Lattice resource")?;
    let kind = new_kind(&request)?;
    let new = NewEndpoint {
        vpc_id: ids::parse(&request.vpc_id)?,
        service_name: request.service_name.ok_or(Refusal::MissingParameter {
            name: "ServiceName",
        })?,
        kind,
        policy_document: request.policy_document.filter(|text| !text.is_empty()),
        client_token: request.client_token.clone(),
        tags: tags::specified(request.tag_specifications, "vpc-endpoint")?,
    };
    let row = write(context, request.dry_run, |tx| {
        let row = endpoints::create(tx, &context.scope(), new.clone())?;
        Ok(render(tx.snapshot(), &row))
    })?;
    Ok(CreateVpcEndpointResult {
        client_token: request.client_token,
        vpc_endpoint: Some(row),
    })
}

const FILTERS: &[&str] = &[
    "ip-address-type",
    "service-name",
    "service-region",
    "vpc-endpoint-id",
    "vpc-endpoint-state",
    "vpc-endpoint-type",
    "vpc-id",
];

fn values(row: &Row, name: &str) -> Vec<String> {
    vec![match name {
        "ip-address-type" => match &row.kind {
            VpcEndpointKind::Interface {
                ip_address_type, ..
            } => ip_address_type.clone(),
            VpcEndpointKind::Gateway { .. } => return Vec::new(),
        },
        "service-name" => row.service_name.clone(),
        "service-region" => row.scope.region.clone(),
        "vpc-endpoint-id" => row.vpc_endpoint_id.to_string(),
        "vpc-endpoint-state" => state_name(row.state).to_owned(),
        "vpc-endpoint-type" => type_name(&row.kind).to_owned(),
        _ => row.vpc_id.to_string(),
    }]
}

pub fn describe(
    context: &Context,
    request: DescribeVpcEndpointsRequest,
) -> Result<DescribeVpcEndpointsResult, ApiError> {
    let query = query!(request, vpc_endpoint_ids, filters);
    let snapshot = context.snapshot();
    let (found, next_token) =
        rows::<Row, VpcEndpointId>(context, &snapshot, query, FILTERS, |row| &row.tags, values)?;
    Ok(DescribeVpcEndpointsResult {
        next_token,
        vpc_endpoints: Some(found.iter().map(|row| render(&snapshot, row)).collect()),
    })
}

pub fn modify(
    context: &Context,
    request: ModifyVpcEndpointRequest,
) -> Result<ModifyVpcEndpointResult, ApiError> {
    let id = ids::parse(&request.vpc_endpoint_id)?;
    let change = EndpointChange {
        add_route_tables: ids::parse_all(request.add_route_table_ids.as_deref())?,
        remove_route_tables: ids::parse_all(request.remove_route_table_ids.as_deref())?,
        add_subnets: subnets(request.add_subnet_ids, request.subnet_configurations)?,
        remove_subnets: ids::parse_all(request.remove_subnet_ids.as_deref())?,
        add_groups: ids::parse_all(request.add_security_group_ids.as_deref())?,
        remove_groups: ids::parse_all(request.remove_security_group_ids.as_deref())?,
        policy_document: request.policy_document.filter(|text| !text.is_empty()),
        reset_policy: request.reset_policy == Some(true),
        private_dns: private_dns(
            request.private_dns_enabled,
            request.dns_options,
            request.ip_address_type.as_deref(),
        )?,
        ip_address_type: request.ip_address_type,
    };
    write(context, request.dry_run, |tx| {
        endpoints::modify(tx, &context.scope(), &id, change.clone())
    })?;
    Ok(ModifyVpcEndpointResult {
        r#return: Some(true),
    })
}

/// Each on its own: those that cannot be deleted are told of.
pub fn delete(
    context: &Context,
    request: DeleteVpcEndpointsRequest,
) -> Result<DeleteVpcEndpointsResult, ApiError> {
    let ids = ids::parse_all::<VpcEndpointId>(Some(&request.vpc_endpoint_ids))?;
    if ids.is_empty() {
        return Err(Refusal::MissingParameter {
            name: "VpcEndpointId",
        }
        .into());
    }
    let unsuccessful = write(context, request.dry_run, |tx| {
        let mut refused = Vec::new();
        for id in &ids {
            if let Err(refusal) = endpoints::delete(tx, &context.scope(), id) {
                // In this list AWS's code has no `Id`.
                let code = match refusal {
                    Refusal::NotFound { .. } => "InvalidVpcEndpoint.NotFound",
                    _ => refusal.code(),
                };
                refused.push(unsuccessful(id.as_str(), code, &refusal));
            }
        }
        Ok(refused)
    })?;
    Ok(DeleteVpcEndpointsResult {
        unsuccessful: Some(unsuccessful),
    })
}

/// A resource that a call about many left out.
pub fn unsuccessful(id: &str, code: &str, refusal: &Refusal) -> UnsuccessfulItem {
    UnsuccessfulItem {
        error: Some(UnsuccessfulItemError {
            code: Some(code.to_owned()),
            message: Some(refusal.to_string()),
        }),
        resource_id: Some(id.to_owned()),
    }
}
