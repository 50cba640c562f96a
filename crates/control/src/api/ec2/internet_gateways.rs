//! Internet gateways.

use super::query::{query, rows};
use super::{optional, tags, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::{ids, internet_gateways};
use fogbank_types::InternetGatewayId;
use fogbank_types::ec2::InternetGateway as Row;
use fogbank_wire::ec2::*;

fn render(row: &Row) -> InternetGateway {
    let attachment = |vpc_id: &fogbank_types::VpcId| InternetGatewayAttachment {
        // `available`, not `attached`: what the wire says and clients wait for.
        state: Some("available".to_owned()),
        vpc_id: Some(vpc_id.to_string()),
    };
    InternetGateway {
        attachments: Some(row.attached_vpc.iter().map(attachment).collect()),
        internet_gateway_id: Some(row.internet_gateway_id.to_string()),
        owner_id: Some(row.scope.account.clone()),
        tags: tags::render(&row.tags),
    }
}

pub fn create(
    context: &Context,
    request: CreateInternetGatewayRequest,
) -> Result<CreateInternetGatewayResult, ApiError> {
    let tags = tags::specified(request.tag_specifications, "internet-gateway")?;
    let row = write(context, request.dry_run, |tx| {
        internet_gateways::create(tx, &context.scope(), tags.clone())
    })?;
    Ok(CreateInternetGatewayResult {
        internet_gateway: Some(render(&row)),
    })
}

pub fn attach(
    context: &Context,
    request: AttachInternetGatewayRequest,
) -> Result<AttachInternetGatewayResponse, ApiError> {
    let (id, vpc_id) = (
        ids::parse(&request.internet_gateway_id)?,
        ids::parse(&request.vpc_id)?,
    );
    write(context, request.dry_run, |tx| {
        internet_gateways::attach(tx, &context.scope(), &id, &vpc_id)
    })?;
    Ok(AttachInternetGatewayResponse {})
}

pub fn detach(
    context: &Context,
    request: DetachInternetGatewayRequest,
) -> Result<DetachInternetGatewayResponse, ApiError> {
    let (id, vpc_id) = (
        ids::parse(&request.internet_gateway_id)?,
        ids::parse(&request.vpc_id)?,
    );
    write(context, request.dry_run, |tx| {
        internet_gateways::detach(tx, &context.scope(), &id, &vpc_id)
    })?;
    Ok(DetachInternetGatewayResponse {})
}

pub fn delete(
    context: &Context,
    request: DeleteInternetGatewayRequest,
) -> Result<DeleteInternetGatewayResponse, ApiError> {
    let id = ids::parse(&request.internet_gateway_id)?;
    write(context, request.dry_run, |tx| {
        internet_gateways::delete(tx, &context.scope(), &id)
    })?;
    Ok(DeleteInternetGatewayResponse {})
}

const FILTERS: &[&str] = &[
    "attachment.state",
    "attachment.vpc-id",
    "internet-gateway-id",
    "owner-id",
];

fn values(row: &Row, name: &str) -> Vec<String> {
    match name {
        "attachment.state" => optional(row.attached_vpc.as_ref().map(|_| "available")),
        "attachment.vpc-id" => optional(row.attached_vpc.as_ref()),
        "internet-gateway-id" => vec![row.internet_gateway_id.to_string()],
        "owner-id" => vec![row.scope.account.clone()],
        _ => Vec::new(),
    }
}

pub fn describe(
    context: &Context,
    request: DescribeInternetGatewaysRequest,
) -> Result<DescribeInternetGatewaysResult, ApiError> {
    let query = query!(request, internet_gateway_ids, filters);
    let snapshot = context.snapshot();
    let (found, next_token) = rows::<Row, InternetGatewayId>(
        context,
        &snapshot,
        query,
        FILTERS,
        |row| &row.tags,
        values,
    )?;
    Ok(DescribeInternetGatewaysResult {
        internet_gateways: Some(found.iter().map(|row| render(row)).collect()),
        next_token,
    })
}
