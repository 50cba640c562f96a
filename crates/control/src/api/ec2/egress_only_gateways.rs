//! Egress-only internet gateways.

use super::query::{query, rows};
use super::{tags, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::{egress_only_gateways, ids};
use fogbank_types::EgressOnlyInternetGatewayId;
use fogbank_types::ec2::EgressOnlyInternetGateway as Row;
use fogbank_wire::ec2::*;

fn render(row: &Row) -> EgressOnlyInternetGateway {
    EgressOnlyInternetGateway {
        attachments: Some(vec![InternetGatewayAttachment {
            state: Some("attached".to_owned()),
            vpc_id: Some(row.vpc_id.to_string()),
        }]),
        egress_only_internet_gateway_id: Some(row.egress_only_internet_gateway_id.to_string()),
        tags: tags::render(&row.tags),
    }
}

pub fn create(
    context: &Context,
    request: CreateEgressOnlyInternetGatewayRequest,
) -> Result<CreateEgressOnlyInternetGatewayResult, ApiError> {
    let vpc_id = ids::parse(&request.vpc_id)?;
    let own_tags = tags::specified(request.tag_specifications, "egress-only-internet-gateway")?;
    let token = request.client_token;
    let row = write(context, request.dry_run, |tx| {
        let (scope, tags) = (context.scope(), own_tags.clone());
        egress_only_gateways::create(tx, &scope, &vpc_id, token.as_deref(), tags)
    })?;
    Ok(CreateEgressOnlyInternetGatewayResult {
        client_token: token,
        egress_only_internet_gateway: Some(render(&row)),
    })
}

/// By tags only, as in AWS.
pub fn describe(
    context: &Context,
    request: DescribeEgressOnlyInternetGatewaysRequest,
) -> Result<DescribeEgressOnlyInternetGatewaysResult, ApiError> {
    let query = query!(request, egress_only_internet_gateway_ids, filters);
    let (found, next_token) = rows::<Row, EgressOnlyInternetGatewayId>(
        context,
        &context.snapshot(),
        query,
        &[],
        |row| &row.tags,
        |_, _| Vec::new(),
    )?;
    Ok(DescribeEgressOnlyInternetGatewaysResult {
        egress_only_internet_gateways: Some(found.iter().map(|row| render(row)).collect()),
        next_token,
    })
}

pub fn delete(
    context: &Context,
    request: DeleteEgressOnlyInternetGatewayRequest,
) -> Result<DeleteEgressOnlyInternetGatewayResult, ApiError> {
    let id = ids::parse(&request.egress_only_internet_gateway_id)?;
    write(context, request.dry_run, |tx| {
        egress_only_gateways::delete(tx, &context.scope(), &id)
    })?;
    Ok(DeleteEgressOnlyInternetGatewayResult {
        return_code: Some(true),
    })
}
