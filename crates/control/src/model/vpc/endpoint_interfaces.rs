//! Interface endpoints: their interfaces, groups and the names that lead to them.
//! <https://docs.aws.amazon.com/vpc/latest/privatelink/create-interface-endpoint.html>
//!
//! Called by `endpoints`. What must stay true: see there.

use super::endpoints::{
    EndpointChange, EndpointSubnet, PrivateDns, parameter, private_domain, refuse_foreign,
};
use super::enis::Ipv6Choice;
use super::{NewEni, Quotas, Refusal, eni_addresses, enis, security_groups, subnets};
use crate::model::Tx;
use fogbank_types::aws_service::AwsService;
use fogbank_types::ec2::*;
use fogbank_types::*;

/// What the caller wants of a new interface endpoint.
pub(super) struct Wanted {
    pub subnets: Vec<EndpointSubnet>,
    pub group_ids: Vec<SecurityGroupId>,
    pub private_dns: PrivateDns,
    pub ip_address_type: Option<String>,
}

pub(super) fn create(
    tx: &mut Tx,
    vpc: &Vpc,
    service: &AwsService,
    id: &VpcEndpointId,
    wanted: Wanted,
) -> Result<VpcEndpointKind, Refusal> {
    // Private names of a service with gateway endpoints too must be asked for: they would take traffic off those.
    let default = !service.gateway;
    let private_dns_enabled = wanted.private_dns.enabled.unwrap_or(default);
    if private_dns_enabled {
        check_private_dns(tx.snapshot(), vpc, service, id, wanted.private_dns)?;
    }
    let group_ids = checked_groups(tx, vpc, wanted.group_ids)?;
    checked_subnets(tx.snapshot(), vpc, &[], &wanted.subnets)?;
    let subnet_ids: Vec<SubnetId> = wanted
        .subnets
        .iter()
        .map(|subnet| subnet.subnet_id.clone())
        .collect();
    let ip_address_type = checked_address_type(
        tx.snapshot(),
        vpc,
        wanted.ip_address_type.as_deref(),
        &subnet_ids,
    )?;
    let kind = Kind {
        id,
        groups: &group_ids,
        ip_address_type: &ip_address_type,
    };
    let eni_ids = new_interfaces(tx, vpc, kind, &wanted.subnets)?;
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
    let domain = name.trim_start_matches("*.");
    let taken = snapshot.vpc_endpoints.in_scope(&vpc.scope).any(|row| {
        row.vpc_endpoint_id != *own
            && row.vpc_id == *vpc_id
            && private_domain(row).is_some_and(|taken| taken == domain)
    });
    if taken || has_private_zone(snapshot, vpc, domain) {
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
    snapshot.hosted_zones.all().any(|zone| {
        zone.private
            && zone.name.trim_end_matches('.') == name
            && zone
                .vpcs
                .iter()
                .any(|of| of.region == vpc.scope.region && of.vpc_id == vpc.vpc_id)
    })
}

/// `dualstack` needs both families in every subnet, `ipv6` subnets without IPv4, which there are none of.
fn checked_address_type(
    snapshot: &Snapshot,
    vpc: &Vpc,
    wanted: Option<&str>,
    subnets: &[SubnetId],
) -> Result<String, Refusal> {
    match wanted {
        None | Some("ipv4") => {}
        Some("dualstack") => {
            let without = subnets.iter().find(|id| {
                let subnet = snapshot.subnets.get(&vpc.scope, id);
                subnet.is_some_and(|subnet| subnet.ipv6_block().is_none())
            });
            if let Some(id) = without {
                return Err(parameter(format!(
                    "The IP address type dualstack is not supported by the subnet {id}: it has no IPv6 CIDR block."
                )));
            }
        }
        Some("ipv6") => {
            return Err(parameter(
                "The IP address type ipv6 is only supported with IPv6-only subnets.",
            ));
        }
        Some(other) => return Err(Refusal::parameter("IpAddressType", other, "")),
    }
    Ok(wanted.unwrap_or("ipv4").to_owned())
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

/// What the interfaces of an endpoint have in common.
#[derive(Copy, Clone)]
struct Kind<'a> {
    id: &'a VpcEndpointId,
    groups: &'a [SecurityGroupId],
    ip_address_type: &'a str,
}

/// One interface in each of the subnets, or none at all.
fn new_interfaces(
    tx: &mut Tx,
    vpc: &Vpc,
    kind: Kind<'_>,
    subnets: &[EndpointSubnet],
) -> Result<Vec<EniId>, Refusal> {
    let mut made = Vec::new();
    for subnet in subnets {
        match new_interface(tx, vpc, kind, subnet) {
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
    kind: Kind<'_>,
    subnet: &EndpointSubnet,
) -> Result<EniId, Refusal> {
    let ipv6 = match (kind.ip_address_type, subnet.ipv6) {
        ("dualstack", Some(address)) => Ipv6Choice::These(vec![address]),
        ("dualstack", None) => Ipv6Choice::Any(1),
        (_, Some(_)) => {
            return Err(parameter(
                "An IPv6 address can only be given with the IP address type dualstack.",
            ));
        }
        (_, None) => Ipv6Choice::Any(0),
    };
    let new = NewEni {
        subnet_id: subnet.subnet_id.clone(),
        groups: kind.groups.to_vec(),
        description: format!("VPC Endpoint Interface {}", kind.id),
        owner: EniOwner::VpcEndpoint(kind.id.clone()),
        private_ip: subnet.private_ip,
        assign_public_ip: false,
        source_dest_check: true,
        host: Some(tx.config().host.clone()),
    };
    let eni_id = EniId::from_bits(tx.random());
    Ok(enis::create_as(tx, &vpc.scope, eni_id, new, ipv6)?.eni_id)
}

/// Gives an interface an IPv6 address, or takes it away. Its subnet has a block then, of which no /64 runs out.
fn set_families(
    tx: &mut Tx,
    scope: &Scope,
    id: &EniId,
    ip_address_type: &str,
) -> Result<(), Refusal> {
    let eni = enis::get(tx.snapshot(), scope, id)?.clone();
    let dual = ip_address_type == "dualstack";
    if dual != eni.ipv6_addresses.is_empty() {
        return Ok(());
    }
    let subnet = subnets::get(tx.snapshot(), scope, &eni.subnet_id)?.clone();
    let addresses = match dual {
        true => eni_addresses::choose_ipv6(tx, &subnet, &[], 1)?,
        false => Vec::new(),
    };
    tx.update::<Eni>(scope, id, |eni| eni.ipv6_addresses = addresses);
    Ok(())
}

pub(super) fn modify(
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
    let groups = changed_groups(tx, vpc, group_ids, change)?;
    let (left, added) = changed_subnets(tx.snapshot(), vpc, subnet_ids, change)?;
    let wanted_type = change.ip_address_type.as_ref().unwrap_or(ip_address_type);
    let all: Vec<SubnetId> = left
        .into_iter()
        .chain(added.iter().map(|subnet| subnet.subnet_id.clone()))
        .collect();
    let wanted_type = checked_address_type(tx.snapshot(), vpc, Some(wanted_type.as_str()), &all)?;
    let kind = Kind {
        id: &id,
        groups: &groups,
        ip_address_type: &wanted_type,
    };
    let new_eni_ids = new_interfaces(tx, vpc, kind, &added)?;
    // Nothing is refused from here on: the groups have just been put on other interfaces, or are there already.
    for subnet_id in &change.remove_subnets {
        if let Some(at) = subnet_ids.iter().position(|own| own == subnet_id) {
            enis::delete(tx, &vpc.scope, &eni_ids[at]);
            subnet_ids.remove(at);
            eni_ids.remove(at);
        }
    }
    for eni_id in eni_ids.iter() {
        set_families(tx, &vpc.scope, eni_id, &wanted_type)?;
    }
    *ip_address_type = wanted_type;
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

/// The subnets that stay and those that come.
fn changed_subnets(
    snapshot: &Snapshot,
    vpc: &Vpc,
    present: &[SubnetId],
    change: &EndpointChange,
) -> Result<(Vec<SubnetId>, Vec<EndpointSubnet>), Refusal> {
    if let Some(foreign) = change
        .remove_subnets
        .iter()
        .find(|id| !present.contains(id))
    {
        return Err(parameter(format!(
            "Subnet {foreign} is not associated with the VPC endpoint."
        )));
    }
    let stays = |id: &&SubnetId| !change.remove_subnets.contains(id);
    let left: Vec<SubnetId> = present.iter().filter(stays).cloned().collect();
    let comes = |new: &&EndpointSubnet| !left.contains(&new.subnet_id);
    let added: Vec<EndpointSubnet> = change.add_subnets.iter().filter(comes).cloned().collect();
    checked_subnets(snapshot, vpc, &left, &added)?;
    Ok((left, added))
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
