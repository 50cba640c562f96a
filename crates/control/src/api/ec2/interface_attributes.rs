//! Attributes of network interfaces, and attaching them, which needs an instance.

use super::network_interfaces::{attachment, attachment_id, groups, tracking};
use super::query::dry_run;
use super::subnets::only_one;
use super::{instances, not_offered, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::enis::{self, EniAttribute};
use crate::model::vpc::{Refusal, ResourceKind, ids};
use fogbank_types::{EniId, Scope, Snapshot};
use fogbank_wire::ec2::*;

pub fn modify(
    context: &Context,
    request: ModifyNetworkInterfaceAttributeRequest,
) -> Result<ModifyNetworkInterfaceAttributeResponse, ApiError> {
    let unbuilt = request.ena_srd_specification.is_some()
        || request.associate_public_ip_address == Some(true)
        || request
            .associated_subnet_ids
            .is_some_and(|list| !list.is_empty());
    not_offered(unbuilt, "Changing this attribute")?;
    not_offered(
        request.enable_primary_ipv6 == Some(true),
        "A primary IPv6 address",
    )?;
    let id: EniId = ids::parse(&request.network_interface_id)?;
    if let Some(changes) = request.attachment {
        let own = enis::get_own(&context.snapshot(), &context.scope(), &id)?
            .attachment_id
            .clone();
        let asked = changes.attachment_id.unwrap_or_default();
        // The caller's own interfaces are attached to nothing.
        if own.is_none_or(|own| own.as_str() != asked) {
            return Err(unknown_attachment(&asked).into());
        }
    }
    let groups = request
        .groups
        .map(|groups| ids::parse_all(Some(&groups)))
        .transpose()?;
    let given: Vec<_> = [
        request
            .description
            .map(|text| EniAttribute::Description(text.value.unwrap_or_default())),
        request
            .source_dest_check
            .and_then(|check| check.value)
            .map(EniAttribute::SourceDestCheck),
        groups.map(EniAttribute::Groups),
        tracking(request.connection_tracking_specification)?.map(EniAttribute::ConnectionTracking),
    ]
    .into_iter()
    .flatten()
    .collect();
    let attribute = only_one(given)?;
    write(context, request.dry_run, |tx| {
        enis::modify(tx, &context.scope(), &id, attribute.clone())
    })?;
    Ok(ModifyNetworkInterfaceAttributeResponse {})
}

pub fn describe(
    context: &Context,
    request: DescribeNetworkInterfaceAttributeRequest,
) -> Result<DescribeNetworkInterfaceAttributeResult, ApiError> {
    dry_run(request.dry_run)?;
    let snapshot = context.snapshot();
    let id: EniId = ids::parse(&request.network_interface_id)?;
    let row = enis::get(&snapshot, &context.scope(), &id)?;
    let mut result = DescribeNetworkInterfaceAttributeResult {
        network_interface_id: Some(id.to_string()),
        ..DescribeNetworkInterfaceAttributeResult::default()
    };
    let attribute = request
        .attribute
        .ok_or(Refusal::MissingParameter { name: "attribute" })?;
    match attribute.as_str() {
        "description" => {
            result.description = Some(AttributeValue {
                value: Some(row.description.clone()),
            });
        }
        "groupSet" => result.groups = Some(groups(&snapshot, row)),
        "sourceDestCheck" => {
            result.source_dest_check = Some(AttributeBooleanValue {
                value: Some(row.source_dest_check),
            });
        }
        "attachment" => result.attachment = attachment(row),
        "associatePublicIpAddress" => {
            result.associate_public_ip_address = Some(row.auto_public_ip.is_some());
        }
        other => return Err(Refusal::parameter("attribute", other, "Unknown attribute.").into()),
    }
    Ok(result)
}

/// Only the check of addresses has a value to go back to.
pub fn reset(
    context: &Context,
    request: ResetNetworkInterfaceAttributeRequest,
) -> Result<ResetNetworkInterfaceAttributeResponse, ApiError> {
    let id = ids::parse(&request.network_interface_id)?;
    only_one(request.source_dest_check.into_iter().collect())?;
    write(context, request.dry_run, |tx| {
        let attribute = EniAttribute::SourceDestCheck(true);
        enis::modify(tx, &context.scope(), &id, attribute)
    })?;
    Ok(ResetNetworkInterfaceAttributeResponse {})
}

/// There is no instance to attach it to.
pub fn attach(
    context: &Context,
    request: AttachNetworkInterfaceRequest,
) -> Result<AttachNetworkInterfaceResult, ApiError> {
    dry_run(request.dry_run)?;
    let id = ids::parse(&request.network_interface_id)?;
    enis::get_own(&context.snapshot(), &context.scope(), &id)?;
    Err(instances::unknown(request.instance_id).into())
}

/// What is attached, a service has attached; only the service detaches it (fact EIP-7).
pub fn detach(
    context: &Context,
    request: DetachNetworkInterfaceRequest,
) -> Result<DetachNetworkInterfaceResponse, ApiError> {
    dry_run(request.dry_run)?;
    if is_attached(
        &context.snapshot(),
        &context.scope(),
        &request.attachment_id,
    ) {
        return Err(Refusal::NotPermitted.into());
    }
    Err(unknown_attachment(&request.attachment_id).into())
}

fn is_attached(snapshot: &Snapshot, scope: &Scope, id: &str) -> bool {
    let mut all = snapshot.enis.in_scope(scope);
    all.any(|row| attachment_id(row).is_some_and(|own| own == id))
}

fn unknown_attachment(id: &str) -> Refusal {
    Refusal::not_found(ResourceKind::NetworkInterfaceAttachment, id)
}
