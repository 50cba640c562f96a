//! NAT gateways.

use super::query::{query, rows};
use super::{not_offered, tags, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::nat_gateways::{self, NewNatGateway};
use crate::model::vpc::{Refusal, ids};
use fogbank_types::NatGatewayId;
use fogbank_types::ec2::{NatGateway as Row, NatGatewayState};
use fogbank_wire::ec2::*;

fn state_name(state: NatGatewayState) -> &'static str {
    match state {
        NatGatewayState::Pending => "pending",
        NatGatewayState::Available => "available",
        NatGatewayState::Failed => "failed",
        NatGatewayState::Deleting => "deleting",
        NatGatewayState::Deleted => "deleted",
    }
}

fn connectivity(row: &Row) -> String {
    if row.private_connectivity {
        "private"
    } else {
        "public"
    }
    .to_owned()
}

fn render(row: &Row) -> NatGateway {
    let failed = row.state == NatGatewayState::Failed;
    let failure = row.failure.as_ref().filter(|_| failed);
    let status = match row.state {
        NatGatewayState::Pending => "associating",
        NatGatewayState::Failed => "failed",
        NatGatewayState::Available => "succeeded",
        NatGatewayState::Deleting | NatGatewayState::Deleted => "disassociating",
    };
    let address = NatGatewayAddress {
        allocation_id: row.allocation_id.as_ref().map(ToString::to_string),
        association_id: row.association_id.as_ref().map(ToString::to_string),
        is_primary: Some(true),
        network_interface_id: row.eni_id.as_ref().map(ToString::to_string),
        private_ip: row.private_ip.map(|address| address.to_string()),
        public_ip: row.public_ip.map(|address| address.to_string()),
        status: Some(status.to_owned()),
        ..NatGatewayAddress::default()
    };
    NatGateway {
        availability_mode: Some("zonal".to_owned()),
        connectivity_type: Some(connectivity(row)),
        create_time: Some(row.created_at),
        delete_time: row.deleted_at,
        failure_code: failure.map(|(code, _)| code.clone()),
        failure_message: failure.map(|(_, text)| text.clone()),
        nat_gateway_addresses: Some(vec![address]),
        nat_gateway_id: Some(row.nat_gateway_id.to_string()),
        state: Some(state_name(row.state).to_owned()),
        subnet_id: Some(row.subnet_id.to_string()),
        tags: tags::render(&row.tags),
        vpc_id: Some(row.vpc_id.to_string()),
        ..NatGateway::default()
    }
}

pub fn create(
    context: &Context,
    request: CreateNatGatewayRequest,
) -> Result<CreateNatGatewayResult, ApiError> {
    let regional = request.availability_mode.as_deref() == Some("regional")
        || request
            .availability_zone_addresses
            .is_some_and(|list| !list.is_empty());
    not_offered(regional, "A regional NAT gateway")?;
    let secondary = request
        .secondary_allocation_ids
        .is_some_and(|list| !list.is_empty())
        || request
            .secondary_private_ip_addresses
            .is_some_and(|list| !list.is_empty())
        || request
            .secondary_private_ip_address_count
            .is_some_and(|count| count > 0);
    not_offered(secondary, "A NAT gateway with secondary addresses")?;
    let subnet = request
        .subnet_id
        .ok_or(Refusal::MissingParameter { name: "subnetId" })?;
    let is_private = match request.connectivity_type.as_deref() {
        None | Some("public") => false,
        Some("private") => true,
        Some(other) => return Err(Refusal::parameter("connectivityType", other, "").into()),
    };
    let allocation_id = match (request.allocation_id, is_private) {
        (Some(id), false) => Some(ids::parse(&id)?),
        (None, true) => None,
        (None, false) => {
            return Err(Refusal::MissingParameter {
                name: "allocationId",
            }
            .into());
        }
        (Some(_), true) => {
            let text = "The parameter allocationId cannot be used with connectivityType private."
                .to_owned();
            return Err(Refusal::Combination { text }.into());
        }
    };
    let private_ip = request
        .private_ip_address
        .map(|text| ids::address("privateIpAddress", &text))
        .transpose()?;
    let new = NewNatGateway {
        subnet_id: ids::parse(&subnet)?,
        allocation_id,
        private_ip,
        client_token: request.client_token.clone(),
        tags: tags::specified(request.tag_specifications, "natgateway")?,
    };
    let row = write(context, request.dry_run, |tx| {
        nat_gateways::create(tx, &context.scope(), new.clone())
    })?;
    Ok(CreateNatGatewayResult {
        nat_gateway: Some(render(&row)),
        client_token: request.client_token,
    })
}

const FILTERS: &[&str] = &[
    "connectivity-type",
    "nat-gateway-id",
    "state",
    "subnet-id",
    "vpc-id",
];

fn values(row: &Row, name: &str) -> Vec<String> {
    vec![match name {
        "connectivity-type" => connectivity(row),
        "nat-gateway-id" => row.nat_gateway_id.to_string(),
        "state" => state_name(row.state).to_owned(),
        "subnet-id" => row.subnet_id.to_string(),
        _ => row.vpc_id.to_string(),
    }]
}

pub fn describe(
    context: &Context,
    request: DescribeNatGatewaysRequest,
) -> Result<DescribeNatGatewaysResult, ApiError> {
    let query = query!(request, nat_gateway_ids, filter);
    let snapshot = context.snapshot();
    let (found, next_token) =
        rows::<Row, NatGatewayId>(context, &snapshot, query, FILTERS, |row| &row.tags, values)?;
    let shown = found.iter().map(|row| render(row)).collect();
    Ok(DescribeNatGatewaysResult {
        nat_gateways: Some(shown),
        next_token,
    })
}

pub fn delete(
    context: &Context,
    request: DeleteNatGatewayRequest,
) -> Result<DeleteNatGatewayResult, ApiError> {
    let id: NatGatewayId = ids::parse(&request.nat_gateway_id)?;
    write(context, request.dry_run, |tx| {
        nat_gateways::delete(tx, &context.scope(), &id)
    })?;
    Ok(DeleteNatGatewayResult {
        nat_gateway_id: Some(id.to_string()),
    })
}
