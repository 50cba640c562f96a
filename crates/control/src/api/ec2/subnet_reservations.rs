//! Reservations of addresses in subnets.

use super::filters::Filters;
use super::query::{dry_run, page};
use super::{tags, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::subnet_reservations::{self, NewReservation};
use crate::model::vpc::{Refusal, ids, subnets};
use fogbank_types::ec2::{SubnetCidrReservation as Row, SubnetCidrReservationKind as Kind};
use fogbank_types::{IpCidr, SubnetCidrReservationId};
use fogbank_wire::ec2::*;

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Prefix => "prefix",
        Kind::Explicit => "explicit",
    }
}

fn render(row: &Row) -> SubnetCidrReservation {
    SubnetCidrReservation {
        cidr: Some(row.cidr_block.to_string()),
        description: row.description.clone(),
        owner_id: Some(row.scope.account.clone()),
        reservation_type: Some(kind_name(row.kind).to_owned()),
        subnet_cidr_reservation_id: Some(row.reservation_id.to_string()),
        subnet_id: Some(row.subnet_id.to_string()),
        tags: tags::render(&row.tags),
    }
}

pub fn create(
    context: &Context,
    request: CreateSubnetCidrReservationRequest,
) -> Result<CreateSubnetCidrReservationResult, ApiError> {
    let kind = [Kind::Prefix, Kind::Explicit]
        .into_iter()
        .find(|kind| kind_name(*kind) == request.reservation_type)
        .ok_or_else(|| Refusal::parameter("reservationType", &request.reservation_type, ""))?;
    let cidr_block: IpCidr = request.cidr.parse().map_err(|_| {
        Refusal::parameter("cidr", &request.cidr, "This is not a valid CIDR block.")
    })?;
    if let Some(text) = &request.description {
        crate::model::vpc::enis::check_description(text)?;
    }
    let new = NewReservation {
        subnet_id: ids::parse(&request.subnet_id)?,
        cidr_block,
        kind,
        description: request.description,
        tags: tags::specified(request.tag_specifications, "subnet-cidr-reservation")?,
    };
    let row = write(context, request.dry_run, |tx| {
        subnet_reservations::create(tx, &context.scope(), new.clone())
    })?;
    Ok(CreateSubnetCidrReservationResult {
        subnet_cidr_reservation: Some(render(&row)),
    })
}

pub fn delete(
    context: &Context,
    request: DeleteSubnetCidrReservationRequest,
) -> Result<DeleteSubnetCidrReservationResult, ApiError> {
    let id: SubnetCidrReservationId = ids::parse(&request.subnet_cidr_reservation_id)?;
    let row = write(context, request.dry_run, |tx| {
        subnet_reservations::delete(tx, &context.scope(), &id)
    })?;
    Ok(DeleteSubnetCidrReservationResult {
        deleted_subnet_cidr_reservation: Some(render(&row)),
    })
}

fn values(row: &Row, name: &str) -> Vec<String> {
    match name {
        "reservationType" => vec![kind_name(row.kind).to_owned()],
        "subnet-id" => vec![row.subnet_id.to_string()],
        _ => Vec::new(),
    }
}

pub fn list(
    context: &Context,
    request: GetSubnetCidrReservationsRequest,
) -> Result<GetSubnetCidrReservationsResult, ApiError> {
    dry_run(request.dry_run)?;
    let filters = Filters::parse(request.filters, &["reservationType", "subnet-id"])?;
    let snapshot = context.snapshot();
    let id = ids::parse(&request.subnet_id)?;
    let subnet = subnets::get(&snapshot, &context.scope(), &id)?;
    let found = subnet_reservations::of(&snapshot, subnet)
        .filter(|row| filters.accept(&row.tags, |name| values(row, name)))
        .collect();
    let (found, next_token) = page(
        found,
        |row| row.reservation_id.to_string(),
        request.max_results,
        request.next_token,
    )?;
    let of_family = |ipv4: bool| {
        let rows = found.iter().filter(|row| row.cidr_block.is_ipv4() == ipv4);
        Some(rows.map(|row| render(row)).collect())
    };
    Ok(GetSubnetCidrReservationsResult {
        next_token,
        subnet_ipv4_cidr_reservations: of_family(true),
        subnet_ipv6_cidr_reservations: of_family(false),
    })
}
