//! VPC endpoints: a private way to the services of the region itself.
//! <https://docs.aws.amazon.com/vpc/latest/privatelink/concepts.html>
//!
//! Called by `api/ec2/vpc_endpoints`; `reconcile/vpc_endpoint_state` takes interface endpoints from pending to available
//! and forgets deleted ones. A gateway endpoint's routes are not stored: `Snapshot::routes_of` reads them off the row.
//! What must stay true: an interface endpoint has one interface in each of its subnets, in the order of the subnets, at
//! most one in a zone, all in the endpoint's groups; a private name leads to one endpoint of a VPC at most.

use super::{
    NewEni, Quotas, Refusal, ResourceKind, enis, route_tables, security_groups, subnets, vpcs,
};
use crate::model::Tx;
use fogbank_types::aws_service::{self, AwsService};
use fogbank_types::ec2::*;
use fogbank_types::*;
use std::net::Ipv4Addr;
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

/// A subnet, and the address wanted in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSubnet {
    pub subnet_id: SubnetId,
    pub private_ip: Option<Ipv4Addr>,
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
            let wanted = Interfaces {
                subnets,
                group_ids,
                private_dns,
                ip_address_type,
            };
            interface_kind(tx, &vpc, service, &id, wanted)?
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

fn parameter(text: impl Into<String>) -> Refusal {
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

struct Interfaces {
    subnets: Vec<EndpointSubnet>,
    group_ids: Vec<SecurityGroupId>,
    private_dns: PrivateDns,
    ip_address_type: Option<String>,
}

fn interface_kind(
    tx: &mut Tx,
    vpc: &Vpc,
    service: &AwsService,
    id: &VpcEndpointId,
    wanted: Interfaces,
) -> Result<VpcEndpointKind, Refusal> {
    // Private names of a service with gateway endpoints too must be asked for: they would take traffic off those.
    let default = !service.gateway;
    let private_dns_enabled = wanted.private_dns.enabled.unwrap_or(default);
    if private_dns_enabled {
        check_private_dns(tx.snapshot(), vpc, service, id, wanted.private_dns)?;
    }
    let ip_address_type = checked_address_type(wanted.ip_address_type)?;
    let group_ids = checked_groups(tx, vpc, wanted.group_ids)?;
    checked_subnets(tx.snapshot(), vpc, &[], &wanted.subnets)?;
    let eni_ids = new_interfaces(tx, vpc, id, &group_ids, &wanted.subnets)?;
    let subnet_ids = wanted
        .subnets
        .into_iter()
        .map(|subnet| subnet.subnet_id)
        .collect();
    Ok(VpcEndpointKind::Interface {
        subnet_ids,
        eni_ids,
        group_ids,
        private_dns_enabled,
        ip_address_type,
        dns_suffix: tx.hex(8),
    })
}

/// Both DNS attributes of the VPC, and no other owner of the names (fact VPC-9).
/// <https://docs.aws.amazon.com/vpc/latest/privatelink/manage-dns-names.html>
fn check_private_dns(
    snapshot: &Snapshot,
    vpc: &Vpc,
    service: &AwsService,
    own: &VpcEndpointId,
    wanted: PrivateDns,
) -> Result<(), Refusal> {
    let vpc_id = &vpc.vpc_id;
    if !(vpc.enable_dns_support && vpc.enable_dns_hostnames) {
        return Err(parameter(format!(
            "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for {vpc_id}"
        )));
    }
    if service.gateway {
        check_inbound_resolver(snapshot, vpc, service, wanted)?;
    } else if wanted.only_for_inbound_resolver == Some(true) {
        return Err(parameter(
            "PrivateDnsOnlyForInboundResolverEndpoint is not supported for this service.",
        ));
    }
    let name = service.dns_name(&vpc.scope.region);
    let taken = snapshot.vpc_endpoints.in_scope(&vpc.scope).any(|row| {
        let VpcEndpointKind::Interface {
            private_dns_enabled,
            ..
        } = row.kind
        else {
            return false;
        };
        private_dns_enabled
            && row.vpc_endpoint_id != *own
            && row.vpc_id == *vpc_id
            && row.state != VpcEndpointState::Deleting
            && row.service_name == service.service_name(&vpc.scope.region)
    });
    if taken || has_private_zone(snapshot, vpc, &name) {
        return Err(parameter(format!(
            "private-dns-enabled cannot be set because there is already a conflicting DNS domain for {name} in the VPC {vpc_id}"
        )));
    }
    Ok(())
}

/// The service's names stay with the gateway endpoint inside the VPC unless the caller says otherwise; this region has
/// no resolver endpoints from outside for which they would differ.
fn check_inbound_resolver(
    snapshot: &Snapshot,
    vpc: &Vpc,
    service: &AwsService,
    wanted: PrivateDns,
) -> Result<(), Refusal> {
    if wanted.only_for_inbound_resolver == Some(false) {
        return Ok(());
    }
    let name = service.service_name(&vpc.scope.region);
    let has_gateway = snapshot.vpc_endpoints.in_scope(&vpc.scope).any(|row| {
        row.vpc_id == vpc.vpc_id
            && row.service_name == name
            && matches!(row.kind, VpcEndpointKind::Gateway { .. })
    });
    if !has_gateway {
        return Err(parameter(format!(
            "To set PrivateDnsOnlyForInboundResolverEndpoint to true, the VPC {} must have a Gateway endpoint for the service.",
            vpc.vpc_id
        )));
    }
    Err(Refusal::NotOffered {
        what: "Private DNS only for inbound resolver endpoints",
    })
}

/// A private hosted zone of the same name, associated with the VPC.
fn has_private_zone(snapshot: &Snapshot, vpc: &Vpc, name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    snapshot.hosted_zones.all().any(|zone| {
        zone.private
            && zone.name.trim_end_matches('.') == name
            && zone
                .vpcs
                .iter()
                .any(|of| of.region == vpc.scope.region && of.vpc_id == vpc.vpc_id)
    })
}

fn checked_address_type(wanted: Option<String>) -> Result<String, Refusal> {
    match wanted.as_deref() {
        None | Some("ipv4") => Ok("ipv4".to_owned()),
        Some("dualstack" | "ipv6") => Err(parameter(
            "The IP address type is not supported by the service: its supported IP address types are [ipv4].",
        )),
        Some(other) => Err(Refusal::parameter("ipAddressType", other, "")),
    }
}

/// Groups of the VPC; the default one if none is named.
fn checked_groups(
    tx: &Tx,
    vpc: &Vpc,
    wanted: Vec<SecurityGroupId>,
) -> Result<Vec<SecurityGroupId>, Refusal> {
    let (snapshot, quota) = (tx.snapshot(), Quotas::of(tx.config()).groups_per_interface);
    let mut groups: Vec<SecurityGroupId> = Vec::new();
    for id in wanted {
        if security_groups::get(snapshot, &vpc.scope, &id)?.vpc_id != vpc.vpc_id {
            return Err(parameter(format!(
                "Security group {id} and VPC {} belong to different networks.",
                vpc.vpc_id
            )));
        }
        if !groups.contains(&id) {
            groups.push(id);
        }
    }
    if groups.len() > quota {
        return Err(Refusal::GroupsPerInterface);
    }
    if groups.is_empty() {
        let default = security_groups::default_of(snapshot, &vpc.scope, &vpc.vpc_id);
        groups.extend(default.map(|group| group.group_id.clone()));
    }
    Ok(groups)
}

/// Subnets of the VPC, at most one of each zone, `present` counted in.
fn checked_subnets(
    snapshot: &Snapshot,
    vpc: &Vpc,
    present: &[SubnetId],
    wanted: &[EndpointSubnet],
) -> Result<(), Refusal> {
    let zone = |id: &SubnetId| {
        snapshot
            .subnets
            .get(&vpc.scope, id)
            .map(|subnet| subnet.zone.clone())
    };
    let mut zones: Vec<String> = present.iter().filter_map(zone).collect();
    for EndpointSubnet { subnet_id, .. } in wanted {
        let subnet =
            subnets::get(snapshot, &vpc.scope, subnet_id).map_err(|_| Refusal::EndpointSubnet {
                id: subnet_id.to_string(),
            })?;
        if subnet.vpc_id != vpc.vpc_id {
            return Err(parameter(format!(
                "Subnet {subnet_id} does not belong to the VPC {}.",
                vpc.vpc_id
            )));
        }
        if zones.contains(&subnet.zone) {
            let subnet_id = subnet_id.to_string();
            return Err(Refusal::EndpointZoneTwice { subnet_id });
        }
        zones.push(subnet.zone.clone());
    }
    Ok(())
}

/// One interface in each of the subnets, or none at all.
fn new_interfaces(
    tx: &mut Tx,
    vpc: &Vpc,
    id: &VpcEndpointId,
    groups: &[SecurityGroupId],
    subnets: &[EndpointSubnet],
) -> Result<Vec<EniId>, Refusal> {
    let mut made = Vec::new();
    for subnet in subnets {
        match new_interface(tx, vpc, id, groups, subnet) {
            Ok(eni_id) => made.push(eni_id),
            Err(refusal) => {
                for eni_id in &made {
                    enis::delete(tx, &vpc.scope, eni_id);
                }
                return Err(refusal);
            }
        }
    }
    Ok(made)
}

/// The endpoint's interface in a subnet: requester-managed, carried by the region's host (fact EIP-7).
fn new_interface(
    tx: &mut Tx,
    vpc: &Vpc,
    id: &VpcEndpointId,
    groups: &[SecurityGroupId],
    subnet: &EndpointSubnet,
) -> Result<EniId, Refusal> {
    let host = Some(tx.config().host.clone());
    let new = NewEni {
        subnet_id: subnet.subnet_id.clone(),
        groups: groups.to_vec(),
        description: format!("VPC Endpoint Interface {id}"),
        owner: EniOwner::VpcEndpoint(id.clone()),
        private_ip: subnet.private_ip,
        assign_public_ip: false,
        source_dest_check: true,
        host,
    };
    Ok(enis::create(tx, &vpc.scope, new)?.eni_id)
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
        modify_interface(tx, &vpc, service, &mut row, &change)?;
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

fn modify_interface(
    tx: &mut Tx,
    vpc: &Vpc,
    service: &AwsService,
    row: &mut VpcEndpoint,
    change: &EndpointChange,
) -> Result<(), Refusal> {
    let tables = !change.add_route_tables.is_empty() || !change.remove_route_tables.is_empty();
    refuse_foreign(&[(tables, "Route table IDs are")], "Gateway")?;
    let id = row.vpc_endpoint_id.clone();
    let VpcEndpointKind::Interface {
        subnet_ids,
        eni_ids,
        group_ids,
        private_dns_enabled,
        ip_address_type,
        ..
    } = &mut row.kind
    else {
        return Ok(());
    };
    if let Some(on) = change.private_dns.enabled {
        if on && !*private_dns_enabled {
            check_private_dns(tx.snapshot(), vpc, service, &id, change.private_dns)?;
        }
        *private_dns_enabled = on;
    }
    if let Some(wanted) = &change.ip_address_type {
        *ip_address_type = checked_address_type(Some(wanted.clone()))?;
    }
    let groups = changed_groups(tx, vpc, group_ids, change)?;
    let left: Vec<SubnetId> = subnet_ids
        .iter()
        .filter(|own| !change.remove_subnets.contains(own))
        .cloned()
        .collect();
    if let Some(foreign) = change
        .remove_subnets
        .iter()
        .find(|id| !subnet_ids.contains(id))
    {
        return Err(parameter(format!(
            "Subnet {foreign} is not associated with the VPC endpoint {id}."
        )));
    }
    let added: Vec<EndpointSubnet> = change
        .add_subnets
        .iter()
        .filter(|new| !left.contains(&new.subnet_id))
        .cloned()
        .collect();
    checked_subnets(tx.snapshot(), vpc, &left, &added)?;
    let new_eni_ids = new_interfaces(tx, vpc, &id, &groups, &added)?;
    // Nothing is refused from here on: the groups have just been put on other interfaces, or are there already.
    for subnet_id in &change.remove_subnets {
        if let Some(at) = subnet_ids.iter().position(|own| own == subnet_id) {
            enis::delete(tx, &vpc.scope, &eni_ids[at]);
            subnet_ids.remove(at);
            eni_ids.remove(at);
        }
    }
    if groups != *group_ids {
        for eni_id in eni_ids.iter() {
            tx.update::<Eni>(&vpc.scope, eni_id, |eni| eni.groups = groups.clone());
        }
        *group_ids = groups;
    }
    eni_ids.extend(new_eni_ids);
    subnet_ids.extend(added.into_iter().map(|subnet| subnet.subnet_id));
    Ok(())
}

/// An endpoint keeps at least one group.
fn changed_groups(
    tx: &Tx,
    vpc: &Vpc,
    present: &[SecurityGroupId],
    change: &EndpointChange,
) -> Result<Vec<SecurityGroupId>, Refusal> {
    if let Some(foreign) = change.remove_groups.iter().find(|id| !present.contains(id)) {
        return Err(parameter(format!(
            "Security group {foreign} is not associated with the VPC endpoint."
        )));
    }
    let left = present
        .iter()
        .filter(|own| !change.remove_groups.contains(own));
    let wanted: Vec<SecurityGroupId> = left.chain(&change.add_groups).cloned().collect();
    if wanted.is_empty() {
        return Err(parameter(
            "A VPC endpoint must have at least one security group.",
        ));
    }
    checked_groups(tx, vpc, wanted)
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
