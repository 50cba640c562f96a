//! Groups and their users.

use super::{page, scope, users};
use crate::api::{ApiError, Context};
use crate::model::iam::{entities, groups, identities};
use fogbank_types::iam::Group;
use fogbank_wire::iam as wire;
use std::sync::Arc;

fn show(group: &Group) -> wire::Group {
    wire::Group {
        arn: group.arn.clone(),
        create_date: group.created_at,
        group_id: group.group_id.clone(),
        group_name: group.name.clone(),
        path: group.path.clone(),
    }
}

pub fn create(
    context: &Context,
    request: wire::CreateGroupRequest,
) -> Result<wire::CreateGroupResponse, ApiError> {
    let scope = scope(context);
    let group = context.write(|tx| {
        let (name, path) = (request.group_name.clone(), request.path.clone());
        Ok(groups::create(tx, &scope, name, path)?)
    })?;
    Ok(wire::CreateGroupResponse {
        group: show(&group),
    })
}

/// With a page of its users.
pub fn get(
    context: &Context,
    request: wire::GetGroupRequest,
) -> Result<wire::GetGroupResponse, ApiError> {
    let snapshot = context.snapshot();
    let group = entities::find::<Group>(&snapshot, &scope(context), &request.group_name)?;
    let members = groups::members(&snapshot, group).collect();
    let (users, is_truncated, marker) = users::page_of(members, request.marker, request.max_items);
    Ok(wire::GetGroupResponse {
        group: show(group),
        is_truncated,
        marker,
        users,
    })
}

pub fn list(
    context: &Context,
    request: wire::ListGroupsRequest,
) -> Result<wire::ListGroupsResponse, ApiError> {
    let snapshot = context.snapshot();
    let prefix = request.path_prefix.unwrap_or_else(|| "/".to_owned());
    let all = snapshot.groups.in_scope(&scope(context));
    let found = all
        .filter(|group| group.path.starts_with(&prefix))
        .collect();
    let (groups, is_truncated, marker) = page_of(found, request.marker, request.max_items);
    Ok(wire::ListGroupsResponse {
        groups,
        is_truncated,
        marker,
    })
}

/// A page of groups by name.
pub fn page_of(
    groups: Vec<&Arc<Group>>,
    marker: Option<String>,
    max_items: Option<i32>,
) -> (Vec<wire::Group>, Option<bool>, Option<String>) {
    let (groups, is_truncated, marker) =
        page(groups, |group| group.name.clone(), marker, max_items);
    let groups = groups.into_iter().map(|group| show(group)).collect();
    (groups, is_truncated, marker)
}

pub fn update(
    context: &Context,
    request: wire::UpdateGroupRequest,
) -> Result<wire::UpdateGroupResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| {
        let (name, path) = (request.new_group_name.clone(), request.new_path.clone());
        identities::rename::<Group>(tx, &scope, &request.group_name, name, path)?;
        Ok(())
    })?;
    Ok(wire::UpdateGroupResponse {})
}

pub fn delete(
    context: &Context,
    request: wire::DeleteGroupRequest,
) -> Result<wire::DeleteGroupResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| Ok(groups::delete(tx, &scope, &request.group_name)?))?;
    Ok(wire::DeleteGroupResponse {})
}

pub fn add_user(
    context: &Context,
    request: wire::AddUserToGroupRequest,
) -> Result<wire::AddUserToGroupResponse, ApiError> {
    let (scope, group, user) = (scope(context), &request.group_name, &request.user_name);
    context.write(|tx| Ok(groups::add_user(tx, &scope, group, user)?))?;
    Ok(wire::AddUserToGroupResponse {})
}

pub fn remove_user(
    context: &Context,
    request: wire::RemoveUserFromGroupRequest,
) -> Result<wire::RemoveUserFromGroupResponse, ApiError> {
    let (scope, group, user) = (scope(context), &request.group_name, &request.user_name);
    context.write(|tx| Ok(groups::remove_user(tx, &scope, group, user)?))?;
    Ok(wire::RemoveUserFromGroupResponse {})
}
