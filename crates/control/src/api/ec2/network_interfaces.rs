//! Network interfaces: the caller's own, and those that tasks, load balancers and NAT gateways hold.

use super::query::{query, rows};
use super::subnets::zone_id;
use super::{not_offered, optional, tags, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::enis::{self, EniAttribute, Ipv6Choice, NewEni};
use crate::model::vpc::{Refusal, dhcp_options, eni_addresses, ids};
use fogbank_types::ec2::{ConnectionTracking, Eni as Row, EniOwner};
use fogbank_types::{EniId, Scope, Snapshot};
use fogbank_wire::ec2::*;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Whom AWS names as the one that manages interfaces of others (fact EIP-7).
fn manager(owner: &EniOwner) -> Option<&'static str> {
    match owner {
        EniOwner::Caller => None,
        EniOwner::Task(_) => Some("amazon-ecs"),
        EniOwner::LoadBalancer(_) => Some("amazon-elb"),
        EniOwner::NatGateway(_) => Some("amazon-aws"),
        // AWS shows an account of its own here.
        EniOwner::VpcEndpoint(_) => Some("amazon-aws"),
    }
}

fn interface_type(owner: &EniOwner) -> &'static str {
    match owner {
        EniOwner::NatGateway(_) => "nat_gateway",
        EniOwner::VpcEndpoint(_) => "vpc_endpoint",
        _ => "interface",
    }
}

pub fn attachment_id(row: &Row) -> Option<String> {
    let id = row.attachment_id.as_ref()?;
    Some(match row.owner {
        EniOwner::LoadBalancer(_) | EniOwner::NatGateway(_) => format!("ela-attach-{}", id.tail()),
        _ => id.to_string(),
    })
}

fn status(row: &Row) -> &'static str {
    if row.attachment_id.is_some() {
        "in-use"
    } else {
        "available"
    }
}

fn has_hostnames(snapshot: &Snapshot, row: &Row) -> bool {
    snapshot
        .vpcs
        .get(&row.scope, &row.vpc_id)
        .is_some_and(|vpc| vpc.enable_dns_hostnames && vpc.enable_dns_support)
}

/// `ip-10-0-1-5.ec2.internal` (fact VPC-13).
fn private_dns_name(scope: &Scope, address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!(
        "ip-{a}-{b}-{c}-{d}.{}",
        dhcp_options::internal_domain(&scope.region)
    )
}

/// `ec2-198-18-0-16.compute-1.amazonaws.com` (fact VPC-13).
fn public_dns_name(scope: &Scope, address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    let domain = match scope.region.as_str() {
        "us-east-1" => "compute-1".to_owned(),
        region => format!("{region}.compute"),
    };
    format!("ec2-{a}-{b}-{c}-{d}.{domain}.amazonaws.com")
}

/// The public side of a private address.
fn association(
    snapshot: &Snapshot,
    row: &Row,
    private_ip: Ipv4Addr,
) -> Option<NetworkInterfaceAssociation> {
    let public_ip = snapshot.public_ip(row, private_ip)?;
    let elastic = snapshot
        .elastic_ips
        .in_scope(&row.scope)
        .find(|eip| eip.public_ip == public_ip);
    let owner = match elastic {
        Some(_) => row.scope.account.clone(),
        None => manager(&row.owner)
            .filter(|name| *name == "amazon-elb")
            .unwrap_or("amazon")
            .to_owned(),
    };
    Some(NetworkInterfaceAssociation {
        allocation_id: elastic.map(|eip| eip.allocation_id.to_string()),
        association_id: elastic
            .and_then(|eip| eip.association.as_ref())
            .map(|a| a.association_id.to_string()),
        ip_owner_id: Some(owner),
        public_dns_name: Some(if has_hostnames(snapshot, row) {
            public_dns_name(&row.scope, public_ip)
        } else {
            String::new()
        }),
        public_ip: Some(public_ip.to_string()),
        ..NetworkInterfaceAssociation::default()
    })
}

/// Only what differs from AWS's defaults.
fn tracking_of(row: &Row) -> Option<ConnectionTrackingConfiguration> {
    let own = row.connection_tracking;
    let seconds = |value: Option<u32>| value.and_then(|value| i32::try_from(value).ok());
    (own != ConnectionTracking::default()).then(|| ConnectionTrackingConfiguration {
        tcp_established_timeout: seconds(own.tcp_established_timeout_s),
        udp_stream_timeout: seconds(own.udp_stream_timeout_s),
        udp_timeout: seconds(own.udp_timeout_s),
    })
}

pub fn attachment(row: &Row) -> Option<NetworkInterfaceAttachment> {
    Some(NetworkInterfaceAttachment {
        attach_time: Some(row.created_at),
        attachment_id: Some(attachment_id(row)?),
        delete_on_termination: Some(matches!(row.owner, EniOwner::Task(_))),
        device_index: Some(1),
        instance_owner_id: Some(manager(&row.owner).unwrap_or(&row.scope.account).to_owned()),
        network_card_index: Some(0),
        status: Some("attached".to_owned()),
        ..NetworkInterfaceAttachment::default()
    })
}

pub fn groups(snapshot: &Snapshot, row: &Row) -> Vec<GroupIdentifier> {
    let group = |id: &fogbank_types::SecurityGroupId| GroupIdentifier {
        group_id: Some(id.to_string()),
        group_name: snapshot
            .security_groups
            .get(&row.scope, id)
            .map(|group| group.name.clone()),
    };
    row.groups.iter().map(group).collect()
}

fn render(snapshot: &Snapshot, row: &Row) -> NetworkInterface {
    let hostnames = has_hostnames(snapshot, row);
    let private_dns = |address| hostnames.then(|| private_dns_name(&row.scope, address));
    let address = |address: Ipv4Addr| NetworkInterfacePrivateIpAddress {
        association: association(snapshot, row, address),
        primary: Some(address == row.private_ip),
        private_dns_name: private_dns(address),
        private_ip_address: Some(address.to_string()),
    };
    let ipv6_address = |address: &Ipv6Addr| NetworkInterfaceIpv6Address {
        ipv6_address: Some(address.to_string()),
        is_primary_ipv6: Some(false),
        ..NetworkInterfaceIpv6Address::default()
    };
    NetworkInterface {
        association: association(snapshot, row, row.private_ip),
        attachment: attachment(row),
        availability_zone: Some(row.zone.clone()),
        availability_zone_id: zone_id(&row.scope.region, &row.zone),
        description: Some(row.description.clone()),
        groups: Some(groups(snapshot, row)),
        interface_type: Some(interface_type(&row.owner).to_owned()),
        connection_tracking_configuration: tracking_of(row),
        ipv6_address: row.ipv6_addresses.first().map(ToString::to_string),
        ipv6_addresses: Some(row.ipv6_addresses.iter().map(ipv6_address).collect()),
        mac_address: Some(row.mac.to_string()),
        network_interface_id: Some(row.eni_id.to_string()),
        owner_id: Some(row.scope.account.clone()),
        private_dns_name: private_dns(row.private_ip),
        private_ip_address: Some(row.private_ip.to_string()),
        private_ip_addresses: Some(row.addresses().map(address).collect()),
        requester_id: manager(&row.owner).map(str::to_owned),
        requester_managed: Some(row.owner != EniOwner::Caller),
        source_dest_check: Some(row.source_dest_check),
        status: Some(status(row).to_owned()),
        subnet_id: Some(row.subnet_id.to_string()),
        tag_set: tags::render(&row.tags),
        vpc_id: Some(row.vpc_id.to_string()),
        ..NetworkInterface::default()
    }
}

const FILTERS: &[&str] = &[
    "addresses.association.owner-id",
    "addresses.association.public-ip",
    "addresses.primary",
    "addresses.private-ip-address",
    "association.allocation-id",
    "association.association-id",
    "association.ip-owner-id",
    "association.public-dns-name",
    "association.public-ip",
    "attachment.attach-time",
    "attachment.attachment-id",
    "attachment.delete-on-termination",
    "attachment.device-index",
    "attachment.instance-id",
    "attachment.instance-owner-id",
    "attachment.status",
    "availability-zone",
    "availability-zone-id",
    "description",
    "group-id",
    "group-name",
    "interface-type",
    "ipv6-addresses.ipv6-address",
    "mac-address",
    "network-interface-id",
    "operator.managed",
    "operator.principal",
    "owner-id",
    "private-dns-name",
    "private-ip-address",
    "requester-id",
    "requester-managed",
    "source-dest-check",
    "status",
    "subnet-id",
    "vpc-id",
];

fn values(snapshot: &Snapshot, row: &Row, name: &str) -> Vec<String> {
    let one = |text: String| vec![text];
    let primary = || association(snapshot, row, row.private_ip);
    match name {
        "addresses.association.owner-id" => row
            .addresses()
            .filter_map(|a| association(snapshot, row, a)?.ip_owner_id)
            .collect(),
        "addresses.association.public-ip" => row
            .addresses()
            .filter_map(|a| snapshot.public_ip(row, a))
            .map(|a| a.to_string())
            .collect(),
        "addresses.primary" => row
            .addresses()
            .map(|a| (a == row.private_ip).to_string())
            .collect(),
        "addresses.private-ip-address" => row.addresses().map(|a| a.to_string()).collect(),
        "association.allocation-id" => optional(primary().and_then(|a| a.allocation_id)),
        "association.association-id" => optional(primary().and_then(|a| a.association_id)),
        "association.ip-owner-id" => optional(primary().and_then(|a| a.ip_owner_id)),
        "association.public-dns-name" => optional(primary().and_then(|a| a.public_dns_name)),
        "association.public-ip" => optional(primary().and_then(|a| a.public_ip)),
        "attachment.attachment-id" => optional(attachment_id(row)),
        "attachment.delete-on-termination" => {
            optional(attachment(row).and_then(|a| a.delete_on_termination))
        }
        "attachment.device-index" => optional(attachment(row).and_then(|a| a.device_index)),
        "attachment.instance-owner-id" => {
            optional(attachment(row).and_then(|a| a.instance_owner_id))
        }
        "attachment.status" => optional(attachment(row).and_then(|a| a.status)),
        "availability-zone" => one(row.zone.clone()),
        "availability-zone-id" => optional(zone_id(&row.scope.region, &row.zone)),
        "description" => one(row.description.clone()),
        "group-id" => row.groups.iter().map(ToString::to_string).collect(),
        "group-name" => groups(snapshot, row)
            .into_iter()
            .filter_map(|group| group.group_name)
            .collect(),
        "interface-type" => one(interface_type(&row.owner).to_owned()),
        "ipv6-addresses.ipv6-address" => {
            row.ipv6_addresses.iter().map(ToString::to_string).collect()
        }
        "mac-address" => one(row.mac.to_string()),
        "network-interface-id" => one(row.eni_id.to_string()),
        "operator.managed" => one(false.to_string()),
        "owner-id" => one(row.scope.account.clone()),
        "private-dns-name" if has_hostnames(snapshot, row) => {
            one(private_dns_name(&row.scope, row.private_ip))
        }
        "private-ip-address" => one(row.private_ip.to_string()),
        "requester-id" => optional(manager(&row.owner)),
        "requester-managed" => one((row.owner != EniOwner::Caller).to_string()),
        "source-dest-check" => one(row.source_dest_check.to_string()),
        "status" => one(status(row).to_owned()),
        "subnet-id" => one(row.subnet_id.to_string()),
        "vpc-id" => one(row.vpc_id.to_string()),
        _ => Vec::new(),
    }
}

pub fn describe(
    context: &Context,
    request: DescribeNetworkInterfacesRequest,
) -> Result<DescribeNetworkInterfacesResult, ApiError> {
    let query = query!(request, network_interface_ids, filters);
    let snapshot = context.snapshot();
    let (found, next_token) = rows::<Row, EniId>(
        context,
        &snapshot,
        query,
        FILTERS,
        |row| &row.tags,
        |row, name| values(&snapshot, row, name),
    )?;
    let shown = found.iter().map(|row| render(&snapshot, row)).collect();
    Ok(DescribeNetworkInterfacesResult {
        network_interfaces: Some(shown),
        next_token,
    })
}

/// The addresses that a caller names: the primary one, and the others.
fn addresses(
    primary: Option<String>,
    list: Option<Vec<PrivateIpAddressSpecification>>,
) -> Result<(Option<Ipv4Addr>, Vec<Ipv4Addr>), Refusal> {
    let read = |text: &str| ids::address("privateIpAddress", text);
    let mut chosen = primary.map(|text| read(&text)).transpose()?;
    let mut others = Vec::new();
    for item in list.unwrap_or_default() {
        let address = read(&item.private_ip_address.ok_or(Refusal::MissingParameter {
            name: "privateIpAddress",
        })?)?;
        if item.primary == Some(true) {
            if chosen.is_some_and(|earlier| earlier != address) {
                return Err(Refusal::value(
                    "Only one primary private IP address can be specified.",
                ));
            }
            chosen = Some(address);
        } else {
            others.push(address);
        }
    }
    if chosen.is_none() && !others.is_empty() {
        // The first is the primary one if none is said to be.
        chosen = Some(others.remove(0));
    }
    Ok((chosen, others))
}

/// Prefixes, and interfaces of other types.
fn refuse_unbuilt(request: &CreateNetworkInterfaceRequest) -> Result<(), Refusal> {
    let filled = |count: Option<i32>| count.is_some_and(|count| count != 0);
    let prefixes = request
        .ipv4_prefixes
        .as_ref()
        .is_some_and(|list| !list.is_empty())
        || request
            .ipv6_prefixes
            .as_ref()
            .is_some_and(|list| !list.is_empty())
        || filled(request.ipv4_prefix_count)
        || filled(request.ipv6_prefix_count);
    not_offered(prefixes, "Prefix delegation")?;
    not_offered(
        request.enable_primary_ipv6 == Some(true),
        "A primary IPv6 address",
    )?;
    let special = request
        .interface_type
        .as_deref()
        .is_some_and(|kind| kind != "interface");
    not_offered(special, "This type of network interface")
}

/// Addresses by name or by number, not both.
fn ipv6_choice(
    named: Option<Vec<InstanceIpv6Address>>,
    count: Option<i32>,
) -> Result<Ipv6Choice, Refusal> {
    let named: Vec<_> = named
        .unwrap_or_default()
        .into_iter()
        .filter_map(|item| item.ipv6_address)
        .map(|text| ids::address_v6("ipv6Address", &text))
        .collect::<Result<_, _>>()?;
    match (named.is_empty(), count) {
        (true, None) => Ok(Ipv6Choice::Usual),
        (true, Some(count)) => number("ipv6AddressCount", Some(count)).map(Ipv6Choice::Any),
        (false, None | Some(0)) => Ok(Ipv6Choice::These(named)),
        (false, Some(_)) => Err(Refusal::Combination {
            text: "The parameters ipv6Addresses and ipv6AddressCount cannot be used together."
                .to_owned(),
        }),
    }
}

/// A count that is not below zero; none is zero.
pub fn number(name: &str, count: Option<i32>) -> Result<usize, Refusal> {
    let count = count.unwrap_or(0);
    usize::try_from(count).map_err(|_| Refusal::parameter(name, count, ""))
}

/// Idle timeouts in seconds.
pub fn tracking(
    given: Option<ConnectionTrackingSpecificationRequest>,
) -> Result<Option<ConnectionTracking>, Refusal> {
    let Some(given) = given else { return Ok(None) };
    let seconds = |name, value: Option<i32>| {
        value
            .map(|value| u32::try_from(value).map_err(|_| Refusal::parameter(name, value, "")))
            .transpose()
    };
    Ok(Some(ConnectionTracking {
        tcp_established_timeout_s: seconds("tcpEstablishedTimeout", given.tcp_established_timeout)?,
        udp_stream_timeout_s: seconds("udpStreamTimeout", given.udp_stream_timeout)?,
        udp_timeout_s: seconds("udpTimeout", given.udp_timeout)?,
    }))
}

pub fn create(
    context: &Context,
    request: CreateNetworkInterfaceRequest,
) -> Result<CreateNetworkInterfaceResult, ApiError> {
    refuse_unbuilt(&request)?;
    let scope = context.scope();
    let (private_ip, others) = addresses(request.private_ip_address, request.private_ip_addresses)?;
    let count = number(
        "secondaryPrivateIpAddressCount",
        request.secondary_private_ip_address_count,
    )?;
    let ipv6 = ipv6_choice(request.ipv6_addresses, request.ipv6_address_count)?;
    let timeouts = tracking(request.connection_tracking_specification)?;
    let description = request.description.unwrap_or_default();
    enis::check_description(&description)?;
    let tags = tags::specified(request.tag_specifications, "network-interface")?;
    let new = NewEni {
        subnet_id: ids::parse(&request.subnet_id)?,
        groups: ids::parse_all(request.groups.as_deref())?,
        description,
        owner: EniOwner::Caller,
        private_ip,
        assign_public_ip: false,
        source_dest_check: true,
        host: None,
    };
    let token = request.client_token;
    let shown = write(context, request.dry_run, |tx| {
        let id = match &token {
            Some(token) => ids::derived(&scope, &["CreateNetworkInterface", token]),
            None => EniId::from_bits(tx.random()),
        };
        if let Some(earlier) = tx.snapshot().enis.get(&scope, &id) {
            let same_address = new.private_ip.is_none_or(|ip| earlier.private_ip == ip);
            if earlier.subnet_id != new.subnet_id || !same_address {
                return Err(Refusal::TokenReused);
            }
            return Ok(render(tx.snapshot(), earlier));
        }
        enis::create_as(tx, &scope, id.clone(), new.clone(), ipv6.clone())?;
        eni_addresses::assign(tx, &scope, &id, &others, count, false)?;
        if let Some(timeouts) = timeouts {
            let attribute = EniAttribute::ConnectionTracking(timeouts);
            enis::modify(tx, &scope, &id, attribute)?;
        }
        tx.update::<Row>(&scope, &id, |row| row.tags = tags.clone());
        let row = enis::get(tx.snapshot(), &scope, &id)?;
        Ok(NetworkInterface {
            status: Some("pending".to_owned()),
            ..render(tx.snapshot(), row)
        })
    })?;
    Ok(CreateNetworkInterfaceResult {
        network_interface: Some(shown),
        client_token: token,
    })
}

pub fn delete(
    context: &Context,
    request: DeleteNetworkInterfaceRequest,
) -> Result<DeleteNetworkInterfaceResponse, ApiError> {
    let id = ids::parse(&request.network_interface_id)?;
    write(context, request.dry_run, |tx| {
        enis::delete_by_caller(tx, &context.scope(), &id)
    })?;
    Ok(DeleteNetworkInterfaceResponse {})
}
