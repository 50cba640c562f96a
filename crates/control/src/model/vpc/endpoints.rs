//! VPC endpoints: a private way to the services of the region itself.
//! <https://docs.aws.amazon.com/vpc/latest/privatelink/concepts.html>
//!
//! Called by `api/ec2/vpc_endpoints`; what is special about interface endpoints stands in `endpoint_interfaces`. `reconcile/vpc_endpoint_state` takes interface endpoints from pending to available
//! and forgets deleted ones. A gateway endpoint's routes are not stored: `Snapshot::routes_of` reads them off the row.
//! What must stay true: an interface endpoint has one interface in each of its subnets, in the order of the subnets, at
//! most one in a zone, all in the endpoint's groups; a private name leads to one endpoint of a VPC at most.

use super::{Quotas, Refusal, ResourceKind, endpoint_interfaces, enis, ids, route_tables, vpcs};
use crate::model::Tx;
use fogbank_types::aws_service::{self, AwsService};
use fogbank_types::ec2::*;
use fogbank_types::*;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Allows everything, as AWS writes it.
pub const DEFAULT_POLICY: &str = "{\n  \"Statement\": [\n    {\n      \"Action\": \"*\", \n      \"Effect\": \"Allow\", \n      \"Principal\": \"*\", \n      \"Resource\": \"*\"\n    }\n  ]\n}";
/// The same of gateway endpoints.
pub const DEFAULT_GATEWAY_POLICY: &str = "{\"Version\":\"2008-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\",\"Resource\":\"*\"}]}";
const POLICY_LENGTH_MAX: usize = 20_480;

#[derive(Clone, Debug)]
pub struct NewEndpoint {
    pub vpc_id: VpcId,
    pub service_name: String,
    pub kind: NewKind,
    /// `None` allows everything.
    pub policy_document: Option<String>,
    pub client_token: Option<String>,
    pub tags: Tags,
}

#[derive(Clone, Debug)]
pub enum NewKind {
    Gateway {
        route_table_ids: Vec<RouteTableId>,
    },
    Interface {
        subnets: Vec<EndpointSubnet>,
        /// None for the VPC's default group.
        group_ids: Vec<SecurityGroupId>,
        private_dns: PrivateDns,
        ip_address_type: Option<String>,
    },
}

/// A subnet, and the addresses wanted in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSubnet {
    pub subnet_id: SubnetId,
    pub private_ip: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
}

/// What the caller says about the service's own names.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct PrivateDns {
    pub enabled: Option<bool>,
    /// `PrivateDnsOnlyForInboundResolverEndpoint`, of services with gateway endpoints too.
    pub only_for_inbound_resolver: Option<bool>,
}

/// A change of an endpoint; what is empty or `None` stays.
#[derive(Clone, Debug, Default)]
pub struct EndpointChange {
    pub add_route_tables: Vec<RouteTableId>,
    pub remove_route_tables: Vec<RouteTableId>,
    pub add_subnets: Vec<EndpointSubnet>,
    pub remove_subnets: Vec<SubnetId>,
    pub add_groups: Vec<SecurityGroupId>,
    pub remove_groups: Vec<SecurityGroupId>,
    pub policy_document: Option<String>,
    pub reset_policy: bool,
    pub private_dns: PrivateDns,
    pub ip_address_type: Option<String>,
}

pub fn get<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &VpcEndpointId,
) -> Result<&'a Arc<VpcEndpoint>, Refusal> {
    snapshot
        .vpc_endpoints
        .get(scope, id)
        .ok_or_else(|| Refusal::not_found(ResourceKind::VpcEndpoint, id))
}

/// Whether the endpoint names the group; one of an endpoint without a subnet is on no interface.
pub fn uses_group(snapshot: &Snapshot, scope: &Scope, id: &SecurityGroupId) -> bool {
    snapshot.vpc_endpoints.in_scope(scope).any(|row| {
        matches!(&row.kind, VpcEndpointKind::Interface { group_ids, .. } if group_ids.contains(id))
    })
}

/// The domain that an endpoint takes over inside its VPC, without `*.`; none without private DNS.
pub fn private_domain(row: &VpcEndpoint) -> Option<String> {
    let VpcEndpointKind::Interface {
        private_dns_enabled: true,
        ..
    } = row.kind
    else {
        return None;
    };
    let region = &row.scope.region;
    let service = aws_service::by_service_name(region, &row.service_name)?;
    let living = row.state != VpcEndpointState::Deleting;
    living.then(|| service.dns_name(region).trim_start_matches("*.").to_owned())
}

/// Id of the hosted zone of AWS's that holds an endpoint's private names.
pub fn private_zone_id(row: &VpcEndpoint) -> String {
    zone_id(&row.scope, row.vpc_endpoint_id.as_str())
}

/// `Z` and letters and digits that follow from the name.
pub fn zone_id(scope: &Scope, name: &str) -> String {
    let id: VpcEndpointId = ids::derived(scope, &["hosted-zone", name]);
    format!("Z0{}", id.tail().to_uppercase())
}

/// Its interfaces are there at once; it is `pending` until their host carries them.
pub fn create(tx: &mut Tx, scope: &Scope, new: NewEndpoint) -> Result<VpcEndpoint, Refusal> {
    if let Some(earlier) = same_token(tx.snapshot(), scope, &new)? {
        return Ok(earlier);
    }
    let service =
        aws_service::by_service_name(&scope.region, &new.service_name).ok_or_else(|| {
            Refusal::ServiceName {
                name: new.service_name.clone(),
            }
        })?;
    check_kind(service, &new.kind)?;
    let vpc = vpcs::get(tx.snapshot(), scope, &new.vpc_id)?.clone();
    check_quota(tx, &vpc, &new.kind)?;
    if let Some(text) = &new.policy_document {
        check_policy(text)?;
    }
    let gateway = matches!(new.kind, NewKind::Gateway { .. });
    let default = if gateway {
        DEFAULT_GATEWAY_POLICY
    } else {
        DEFAULT_POLICY
    };
    let policy_document = new.policy_document.unwrap_or_else(|| default.to_owned());
    let id = VpcEndpointId::from_bits(tx.random());
    let kind = match new.kind {
        NewKind::Gateway { route_table_ids } => {
            let route_table_ids = checked_tables(tx.snapshot(), &vpc, service, route_table_ids)?;
            VpcEndpointKind::Gateway { route_table_ids }
        }
        NewKind::Interface {
            subnets,
            group_ids,
            private_dns,
            ip_address_type,
        } => {
            let wanted = endpoint_interfaces::Wanted {
                subnets,
                group_ids,
                private_dns,
                ip_address_type,
            };
            endpoint_interfaces::create(tx, &vpc, service, &id, wanted)?
        }
    };
    let row = VpcEndpoint {
        scope: scope.clone(),
        vpc_endpoint_id: id,
        vpc_id: vpc.vpc_id.clone(),
        service_name: new.service_name,
        kind,
        state: if gateway {
            VpcEndpointState::Available
        } else {
            VpcEndpointState::Pending
        },
        policy_document,
        client_token: new.client_token,
        created_at: tx.now(),
        tags: new.tags,
    };
    tx.put(row.clone());
    Ok(row)
}

fn same_token(
    snapshot: &Snapshot,
    scope: &Scope,
    new: &NewEndpoint,
) -> Result<Option<VpcEndpoint>, Refusal> {
    let Some(token) = &new.client_token else {
        return Ok(None);
    };
    let earlier = snapshot
        .vpc_endpoints
        .in_scope(scope)
        .find(|row| row.client_token.as_ref() == Some(token));
    let Some(row) = earlier else {
        return Ok(None);
    };
    let same_kind = matches!(
        (&row.kind, &new.kind),
        (VpcEndpointKind::Gateway { .. }, NewKind::Gateway { .. })
            | (VpcEndpointKind::Interface { .. }, NewKind::Interface { .. })
    );
    if row.vpc_id == new.vpc_id && row.service_name == new.service_name && same_kind {
        Ok(Some(VpcEndpoint::clone(row)))
    } else {
        Err(Refusal::TokenReused)
    }
}

fn check_kind(service: &AwsService, kind: &NewKind) -> Result<(), Refusal> {
    let (asked, offered) = match kind {
        NewKind::Gateway { .. } => ("Gateway", service.gateway),
        NewKind::Interface { .. } => ("Interface", service.interface),
    };
    if offered {
        return Ok(());
    }
    let others = if service.gateway {
        "Gateway"
    } else {
        "Interface"
    };
    Err(parameter(format!(
        "Endpoint type ({asked}) does not match available service types ([{others}])."
    )))
}

pub(super) fn parameter(text: impl Into<String>) -> Refusal {
    Refusal::Parameter { text: text.into() }
}

/// 20 gateway endpoints a region, 50 interface endpoints a VPC.
/// <https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-limits-endpoints.html>
fn check_quota(tx: &Tx, vpc: &Vpc, kind: &NewKind) -> Result<(), Refusal> {
    let quotas = Quotas::of(tx.config());
    let rows = || tx.snapshot().vpc_endpoints.in_scope(&vpc.scope);
    let (count, most) = match kind {
        NewKind::Gateway { .. } => {
            let is_gateway =
                |row: &&Arc<VpcEndpoint>| matches!(row.kind, VpcEndpointKind::Gateway { .. });
            (rows().filter(is_gateway).count(), quotas.gateway_endpoints)
        }
        NewKind::Interface { .. } => {
            let is_interface = |row: &&Arc<VpcEndpoint>| {
                row.vpc_id == vpc.vpc_id && matches!(row.kind, VpcEndpointKind::Interface { .. })
            };
            (
                rows().filter(is_interface).count(),
                quotas.interface_endpoints_per_vpc,
            )
        }
    };
    if count >= most {
        Err(Refusal::EndpointLimit)
    } else {
        Ok(())
    }
}

/// A JSON object of bounded length; its statements are IAM's matter.
fn check_policy(text: &str) -> Result<(), Refusal> {
    let refuse = |why: &str| {
        Err(Refusal::PolicyDocument {
            text: why.to_owned(),
        })
    };
    if text.chars().count() > POLICY_LENGTH_MAX {
        return refuse(
            "The specified policy document exceeds the maximum length of 20480 characters.",
        );
    }
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::Object(members)) if members.contains_key("Statement") => Ok(()),
        _ => refuse("The specified policy document is not a valid JSON policy document."),
    }
}

/// Tables of the endpoint's VPC without another route to the service's prefix list.
fn checked_tables(
    snapshot: &Snapshot,
    vpc: &Vpc,
    service: &AwsService,
    wanted: Vec<RouteTableId>,
) -> Result<Vec<RouteTableId>, Refusal> {
    let list = aws_service::prefix_list_id(&service.service_name(&vpc.scope.region));
    let mut checked: Vec<RouteTableId> = Vec::new();
    for id in wanted {
        let table = route_tables::get(snapshot, &vpc.scope, &id)
            .map_err(|_| Refusal::EndpointRouteTable { id: id.to_string() })?;
        if table.vpc_id != vpc.vpc_id {
            return Err(parameter(format!(
                "Route table {id} belongs to a different VPC than the VPC endpoint ({}).",
                vpc.vpc_id
            )));
        }
        let to_list = |route: &Route| matches!(&route.destination, RouteDestination::PrefixList(own) if *own == list);
        if snapshot.routes_of(table).iter().any(to_list) {
            let (route_table_id, prefix_list_id) = (id.to_string(), list.to_string());
            return Err(Refusal::EndpointRouteExists {
                route_table_id,
                prefix_list_id,
            });
        }
        if !checked.contains(&id) {
            checked.push(id);
        }
    }
    Ok(checked)
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVpcEndpoint.html>
pub fn modify(
    tx: &mut Tx,
    scope: &Scope,
    id: &VpcEndpointId,
    change: EndpointChange,
) -> Result<(), Refusal> {
    let mut row = VpcEndpoint::clone(get(tx.snapshot(), scope, id)?);
    if row.state == VpcEndpointState::Deleting {
        return Err(Refusal::not_found(ResourceKind::VpcEndpoint, id));
    }
    let vpc = vpcs::get(tx.snapshot(), scope, &row.vpc_id)?.clone();
    let service =
        aws_service::by_service_name(&scope.region, &row.service_name).ok_or_else(|| {
            Refusal::ServiceName {
                name: row.service_name.clone(),
            }
        })?;
    let gateway = matches!(row.kind, VpcEndpointKind::Gateway { .. });
    match (&change.policy_document, change.reset_policy) {
        (Some(_), true) => {
            return Err(parameter(
                "PolicyDocument and ResetPolicy cannot be given together.",
            ));
        }
        (Some(text), false) => {
            check_policy(text)?;
            row.policy_document = text.clone();
        }
        (None, true) => {
            let default = if gateway {
                DEFAULT_GATEWAY_POLICY
            } else {
                DEFAULT_POLICY
            };
            row.policy_document = default.to_owned();
        }
        (None, false) => {}
    }
    if gateway {
        modify_gateway(tx, &vpc, service, &mut row, &change)?;
    } else {
        endpoint_interfaces::modify(tx, &vpc, service, &mut row, &change)?;
    }
    tx.put(row);
    Ok(())
}

fn modify_gateway(
    tx: &Tx,
    vpc: &Vpc,
    service: &AwsService,
    row: &mut VpcEndpoint,
    change: &EndpointChange,
) -> Result<(), Refusal> {
    let only_interface = [
        (
            !change.add_subnets.is_empty() || !change.remove_subnets.is_empty(),
            "Subnet IDs are",
        ),
        (
            !change.add_groups.is_empty() || !change.remove_groups.is_empty(),
            "Security groups are",
        ),
        (change.private_dns.enabled == Some(true), "Private DNS is"),
    ];
    refuse_foreign(&only_interface, "Interface")?;
    let VpcEndpointKind::Gateway { route_table_ids } = &mut row.kind else {
        return Ok(());
    };
    for id in &change.remove_route_tables {
        route_tables::get(tx.snapshot(), &vpc.scope, id)
            .map_err(|_| Refusal::EndpointRouteTable { id: id.to_string() })?;
        let Some(at) = route_table_ids.iter().position(|own| own == id) else {
            return Err(parameter(format!(
                "Route table {id} is not associated with the VPC endpoint {}.",
                row.vpc_endpoint_id
            )));
        };
        route_table_ids.remove(at);
    }
    let added = change
        .add_route_tables
        .iter()
        .filter(|id| !change.remove_route_tables.contains(id));
    let added = checked_tables(tx.snapshot(), vpc, service, added.cloned().collect())?;
    route_table_ids.extend(added);
    Ok(())
}

/// Refuses what only the other kind of endpoint has.
pub fn refuse_foreign(given: &[(bool, &str)], kind: &str) -> Result<(), Refusal> {
    match given.iter().find(|(given, _)| *given) {
        Some((_, what)) => Err(parameter(format!(
            "{what} only supported for {kind} type VPC Endpoints."
        ))),
        None => Ok(()),
    }
}

/// A gateway endpoint is gone at once, with its routes. An interface endpoint loses its interfaces at once and is
/// `deleting` until every host acts without them. Deleting again is no error while the row is there.
pub fn delete(tx: &mut Tx, scope: &Scope, id: &VpcEndpointId) -> Result<(), Refusal> {
    let row = get(tx.snapshot(), scope, id)?.clone();
    match &row.kind {
        VpcEndpointKind::Gateway { .. } => {
            tx.delete::<VpcEndpoint>(scope, id);
        }
        VpcEndpointKind::Interface { eni_ids, .. } => {
            for eni_id in eni_ids {
                enis::delete(tx, scope, eni_id);
            }
            tx.update::<VpcEndpoint>(scope, id, |row| row.state = VpcEndpointState::Deleting);
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "endpoints_tests.rs"]
mod tests;
