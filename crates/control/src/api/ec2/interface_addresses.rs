//! Giving private addresses to network interfaces and taking them.

use super::network_interfaces::number;
use super::{not_offered, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::{Refusal, eni_addresses, ids};
use fogbank_types::EniId;
use fogbank_wire::ec2::*;
use std::net::{Ipv4Addr, Ipv6Addr};

fn refuse_prefixes(list: Option<Vec<String>>, count: Option<i32>) -> Result<(), Refusal> {
    let given = list.is_some_and(|list| !list.is_empty()) || count.is_some_and(|count| count != 0);
    not_offered(given, "Prefix delegation")
}

fn ipv4(list: Option<Vec<String>>) -> Result<Vec<Ipv4Addr>, Refusal> {
    let list = list.unwrap_or_default();
    let read = |text: &String| ids::address("privateIpAddress", text);
    list.iter().map(read).collect()
}

fn ipv6(list: Option<Vec<String>>) -> Result<Vec<Ipv6Addr>, Refusal> {
    let list = list.unwrap_or_default();
    let read = |text: &String| ids::address_v6("ipv6Address", text);
    list.iter().map(read).collect()
}

/// Names or a number, one of them.
fn check_choice(names: usize, count: usize, name: &str) -> Result<(), Refusal> {
    match (names, count) {
        (0, 0) => Err(Refusal::Missing {
            text: format!("Either a list of {name} or a count of them must be specified."),
        }),
        (0, _) | (_, 0) => Ok(()),
        _ => Err(Refusal::Combination {
            text: format!("A list of {name} and a count of them cannot be used together."),
        }),
    }
}

pub fn assign(
    context: &Context,
    request: AssignPrivateIpAddressesRequest,
) -> Result<AssignPrivateIpAddressesResult, ApiError> {
    refuse_prefixes(request.ipv4_prefixes, request.ipv4_prefix_count)?;
    let id: EniId = ids::parse(&request.network_interface_id)?;
    let named = ipv4(request.private_ip_addresses)?;
    let count = number(
        "secondaryPrivateIpAddressCount",
        request.secondary_private_ip_address_count,
    )?;
    check_choice(named.len(), count, "private addresses")?;
    let may_move = request.allow_reassignment == Some(true);
    let given = write(context, None, |tx| {
        eni_addresses::assign(tx, &context.scope(), &id, &named, count, may_move)
    })?;
    let shown = given.iter().map(|address| AssignedPrivateIpAddress {
        private_ip_address: Some(address.to_string()),
    });
    Ok(AssignPrivateIpAddressesResult {
        assigned_ipv4_prefixes: None,
        assigned_private_ip_addresses: Some(shown.collect()),
        network_interface_id: Some(id.to_string()),
    })
}

pub fn unassign(
    context: &Context,
    request: UnassignPrivateIpAddressesRequest,
) -> Result<UnassignPrivateIpAddressesResponse, ApiError> {
    refuse_prefixes(request.ipv4_prefixes, None)?;
    let id: EniId = ids::parse(&request.network_interface_id)?;
    let named = ipv4(request.private_ip_addresses)?;
    if named.is_empty() {
        let name = "privateIpAddress";
        return Err(Refusal::MissingParameter { name }.into());
    }
    write(context, None, |tx| {
        eni_addresses::unassign(tx, &context.scope(), &id, &named)
    })?;
    Ok(UnassignPrivateIpAddressesResponse {})
}

pub fn assign_ipv6(
    context: &Context,
    request: AssignIpv6AddressesRequest,
) -> Result<AssignIpv6AddressesResult, ApiError> {
    refuse_prefixes(request.ipv6_prefixes, request.ipv6_prefix_count)?;
    let id: EniId = ids::parse(&request.network_interface_id)?;
    let named = ipv6(request.ipv6_addresses)?;
    let count = number("ipv6AddressCount", request.ipv6_address_count)?;
    check_choice(named.len(), count, "IPv6 addresses")?;
    let given = write(context, None, |tx| {
        eni_addresses::assign_ipv6(tx, &context.scope(), &id, &named, count)
    })?;
    Ok(AssignIpv6AddressesResult {
        assigned_ipv6_addresses: Some(given.iter().map(ToString::to_string).collect()),
        assigned_ipv6_prefixes: None,
        network_interface_id: Some(id.to_string()),
    })
}

pub fn unassign_ipv6(
    context: &Context,
    request: UnassignIpv6AddressesRequest,
) -> Result<UnassignIpv6AddressesResult, ApiError> {
    refuse_prefixes(request.ipv6_prefixes, None)?;
    let id: EniId = ids::parse(&request.network_interface_id)?;
    let named = ipv6(request.ipv6_addresses)?;
    if named.is_empty() {
        let name = "ipv6Addresses";
        return Err(Refusal::MissingParameter { name }.into());
    }
    write(context, None, |tx| {
        eni_addresses::unassign_ipv6(tx, &context.scope(), &id, &named)
    })?;
    Ok(UnassignIpv6AddressesResult {
        network_interface_id: Some(id.to_string()),
        unassigned_ipv6_addresses: Some(named.iter().map(ToString::to_string).collect()),
        unassigned_ipv6_prefixes: None,
    })
}
