//! What this region has none of, and clients ask for nevertheless: instances (as load balancer targets) and virtual
//! private gateways (CDK's VPC look-up). Nothing can make one, so the answers are empty and every id is unknown.

use super::filters::Filters;
use super::query::{self, dry_run};
use crate::api::{ApiError, Context};
use crate::model::vpc::Refusal;
use fogbank_wire::ec2::*;

/// `i-` and hexadecimal digits.
fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|tail| !tail.is_empty() && tail.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The refusal for an instance of that id.
pub fn unknown(id: String) -> Refusal {
    if is_id(&id, "i-") {
        Refusal::InstanceNotFound { id }
    } else {
        Refusal::InstanceMalformed { id }
    }
}

pub fn describe(
    _: &Context,
    request: DescribeInstancesRequest,
) -> Result<DescribeInstancesResult, ApiError> {
    dry_run(request.dry_run)?;
    if let Some(id) = request.instance_ids.into_iter().flatten().next() {
        return Err(unknown(id).into());
    }
    let nothing: Vec<String> = Vec::new();
    query::page(
        nothing,
        String::clone,
        request.max_results,
        request.next_token,
    )?;
    Ok(DescribeInstancesResult {
        next_token: None,
        reservations: Some(Vec::new()),
    })
}

const VPN_GATEWAY_FILTERS: &[&str] = &[
    "amazon-side-asn",
    "attachment.state",
    "attachment.vpc-id",
    "availability-zone",
    "state",
    "type",
    "vpn-gateway-id",
];

pub fn describe_vpn_gateways(
    _: &Context,
    request: DescribeVpnGatewaysRequest,
) -> Result<DescribeVpnGatewaysResult, ApiError> {
    dry_run(request.dry_run)?;
    Filters::parse(request.filters, VPN_GATEWAY_FILTERS)?;
    if let Some(id) = request.vpn_gateway_ids.into_iter().flatten().next() {
        return Err(Refusal::VpnGatewayNotFound { id }.into());
    }
    Ok(DescribeVpnGatewaysResult {
        vpn_gateways: Some(Vec::new()),
    })
}
