//! Roles, those of services among them.

use super::{boundaries, encoded, page, read_tags, scope, show_tags};
use crate::api::{ApiError, Context};
use crate::model::iam::Refusal;
use crate::model::iam::roles::{self, NewRole};
use fogbank_types::iam::Role;
use fogbank_wire::iam as wire;

/// A list shows neither boundary, tags nor use.
pub fn show(role: &Role, whole: bool) -> wire::Role {
    wire::Role {
        arn: role.arn.clone(),
        assume_role_policy_document: Some(encoded(&role.assume_role_policy)),
        create_date: role.created_at,
        description: role.description.clone(),
        max_session_duration: Some(role.max_session_seconds as i32),
        path: role.path.clone(),
        permissions_boundary: boundaries::show(
            role.permissions_boundary.as_ref().filter(|_| whole),
        ),
        role_id: role.role_id.clone(),
        role_last_used: whole.then(wire::RoleLastUsed::default),
        role_name: role.name.clone(),
        tags: (whole && !role.tags.is_empty()).then(|| show_tags(&role.tags)),
    }
}

pub fn create(
    context: &Context,
    request: wire::CreateRoleRequest,
) -> Result<wire::CreateRoleResponse, ApiError> {
    let new = NewRole {
        name: request.role_name,
        path: request.path,
        assume_role_policy: request.assume_role_policy_document,
        description: request.description,
        max_session_seconds: request.max_session_duration,
        permissions_boundary: request.permissions_boundary,
        tags: read_tags(request.tags)?,
    };
    let scope = scope(context);
    let role = context.write(|tx| Ok(roles::create(tx, &scope, new.clone())?))?;
    Ok(wire::CreateRoleResponse {
        role: show(&role, true),
    })
}

pub fn get(
    context: &Context,
    request: wire::GetRoleRequest,
) -> Result<wire::GetRoleResponse, ApiError> {
    let snapshot = context.snapshot();
    let role = roles::find(&snapshot, &scope(context), &request.role_name)?;
    Ok(wire::GetRoleResponse {
        role: show(role, true),
    })
}

pub fn list(
    context: &Context,
    request: wire::ListRolesRequest,
) -> Result<wire::ListRolesResponse, ApiError> {
    let snapshot = context.snapshot();
    let prefix = request.path_prefix.unwrap_or_else(|| "/".to_owned());
    let found: Vec<_> = snapshot
        .roles
        .in_scope(&scope(context))
        .filter(|role| role.path.starts_with(&prefix))
        .collect();
    let (found, is_truncated, marker) = page(
        found,
        |role| role.name.clone(),
        request.marker,
        request.max_items,
    );
    let roles = found.into_iter().map(|role| show(role, false)).collect();
    Ok(wire::ListRolesResponse {
        is_truncated,
        marker,
        roles,
    })
}

pub fn update(
    context: &Context,
    request: wire::UpdateRoleRequest,
) -> Result<wire::UpdateRoleResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| {
        let (name, seconds) = (&request.role_name, request.max_session_duration);
        roles::set(tx, &scope, name, request.description.clone(), seconds)?;
        Ok(())
    })?;
    Ok(wire::UpdateRoleResponse {})
}

pub fn update_description(
    context: &Context,
    request: wire::UpdateRoleDescriptionRequest,
) -> Result<wire::UpdateRoleDescriptionResponse, ApiError> {
    let scope = scope(context);
    let role = context.write(|tx| {
        let (name, text) = (&request.role_name, request.description.clone());
        Ok(roles::describe(tx, &scope, name, text)?)
    })?;
    Ok(wire::UpdateRoleDescriptionResponse {
        role: Some(show(&role, true)),
    })
}

pub fn update_trust(
    context: &Context,
    request: wire::UpdateAssumeRolePolicyRequest,
) -> Result<wire::UpdateAssumeRolePolicyResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| {
        Ok(roles::set_trust(
            tx,
            &scope,
            &request.role_name,
            request.policy_document.clone(),
        )?)
    })?;
    Ok(wire::UpdateAssumeRolePolicyResponse {})
}

pub fn delete(
    context: &Context,
    request: wire::DeleteRoleRequest,
) -> Result<wire::DeleteRoleResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| Ok(roles::delete(tx, &scope, &request.role_name)?))?;
    Ok(wire::DeleteRoleResponse {})
}

pub fn create_service_linked(
    context: &Context,
    request: wire::CreateServiceLinkedRoleRequest,
) -> Result<wire::CreateServiceLinkedRoleResponse, ApiError> {
    let scope = scope(context);
    let role = context.write(|tx| {
        let (service, suffix) = (&request.aws_service_name, request.custom_suffix.as_deref());
        Ok(roles::create_service_linked(
            tx,
            &scope,
            service,
            suffix,
            request.description.clone(),
        )?)
    })?;
    Ok(wire::CreateServiceLinkedRoleResponse {
        role: Some(show(&role, true)),
    })
}

pub fn delete_service_linked(
    context: &Context,
    request: wire::DeleteServiceLinkedRoleRequest,
) -> Result<wire::DeleteServiceLinkedRoleResponse, ApiError> {
    let scope = scope(context);
    let deletion_task_id = context.write(|tx| {
        Ok(roles::delete_service_linked(
            tx,
            &scope,
            &request.role_name,
        )?)
    })?;
    Ok(wire::DeleteServiceLinkedRoleResponse { deletion_task_id })
}

pub fn deletion_status(
    _context: &Context,
    request: wire::GetServiceLinkedRoleDeletionStatusRequest,
) -> Result<wire::GetServiceLinkedRoleDeletionStatusResponse, ApiError> {
    if !roles::is_deletion(&request.deletion_task_id) {
        let text = format!("Deletion task {} was not found.", request.deletion_task_id);
        return Err(Refusal::NoSuchEntity(text).into());
    }
    Ok(wire::GetServiceLinkedRoleDeletionStatusResponse {
        reason: None,
        status: "SUCCEEDED".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tx;
    use fogbank_types::Tags;

    #[test]
    fn a_list_shows_neither_boundary_nor_tags_nor_use() {
        let mut tx = Tx::for_test();
        let scope = fogbank_types::Scope::new("000000000000", "global");
        let new = NewRole {
            name: "r".to_owned(),
            path: None,
            assume_role_policy: r#"{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole",
                "Principal":{"Service":"ec2.amazonaws.com"}}}"#
                .to_owned(),
            description: None,
            max_session_seconds: None,
            permissions_boundary: Some("arn:aws:iam::aws:policy/AdministratorAccess".to_owned()),
            tags: Tags::from([("k".to_owned(), "v".to_owned())]),
        };
        let role = roles::create(&mut tx, &scope, new).unwrap();
        let parts = |whole| {
            let shown = show(&role, whole);
            [
                shown.permissions_boundary.is_some(),
                shown.tags.is_some(),
                shown.role_last_used.is_some(),
            ]
        };
        assert_eq!((parts(true), parts(false)), ([true; 3], [false; 3]));
    }
}
