//! Instance profiles.

use super::{page, read_tags, scope, show_tags};
use crate::api::{ApiError, Context};
use crate::model::iam::{profiles, roles};
use fogbank_types::Snapshot;
use fogbank_types::iam::InstanceProfile;
use fogbank_wire::iam as wire;

fn show(snapshot: &Snapshot, profile: &InstanceProfile) -> wire::InstanceProfile {
    let role = profile
        .role
        .as_ref()
        .and_then(|name| snapshot.roles.get(&profile.scope, name));
    wire::InstanceProfile {
        arn: profile.arn.clone(),
        create_date: profile.created_at,
        instance_profile_id: profile.instance_profile_id.clone(),
        instance_profile_name: profile.name.clone(),
        path: profile.path.clone(),
        roles: role
            .map(|role| super::roles::show(role, false))
            .into_iter()
            .collect(),
        tags: (!profile.tags.is_empty()).then(|| show_tags(&profile.tags)),
    }
}

pub fn create(
    context: &Context,
    request: wire::CreateInstanceProfileRequest,
) -> Result<wire::CreateInstanceProfileResponse, ApiError> {
    let (scope, tags) = (scope(context), read_tags(request.tags)?);
    let profile = context.write(|tx| {
        let (name, path) = (&request.instance_profile_name, request.path.clone());
        Ok(profiles::create(tx, &scope, name, path, tags.clone())?)
    })?;
    Ok(wire::CreateInstanceProfileResponse {
        instance_profile: show(&context.snapshot(), &profile),
    })
}

pub fn get(
    context: &Context,
    request: wire::GetInstanceProfileRequest,
) -> Result<wire::GetInstanceProfileResponse, ApiError> {
    let snapshot = context.snapshot();
    let profile = profiles::find(&snapshot, &scope(context), &request.instance_profile_name)?;
    Ok(wire::GetInstanceProfileResponse {
        instance_profile: show(&snapshot, profile),
    })
}

pub fn list(
    context: &Context,
    request: wire::ListInstanceProfilesRequest,
) -> Result<wire::ListInstanceProfilesResponse, ApiError> {
    let snapshot = context.snapshot();
    let prefix = request.path_prefix.unwrap_or_else(|| "/".to_owned());
    let rows = snapshot.instance_profiles.in_scope(&scope(context));
    let found: Vec<_> = rows
        .filter(|profile| profile.path.starts_with(&prefix))
        .collect();
    let (found, is_truncated, marker) = page(
        found,
        |row| row.name.clone(),
        request.marker,
        request.max_items,
    );
    let instance_profiles = found
        .into_iter()
        .map(|profile| show(&snapshot, profile))
        .collect();
    Ok(wire::ListInstanceProfilesResponse {
        instance_profiles,
        is_truncated,
        marker,
    })
}

pub fn list_for_role(
    context: &Context,
    request: wire::ListInstanceProfilesForRoleRequest,
) -> Result<wire::ListInstanceProfilesForRoleResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), scope(context));
    roles::find(&snapshot, &scope, &request.role_name)?;
    let found = roles::profiles_of(&snapshot, &scope, &request.role_name).collect();
    let (found, is_truncated, marker) = page(
        found,
        |row: &&std::sync::Arc<InstanceProfile>| row.name.clone(),
        request.marker,
        request.max_items,
    );
    let instance_profiles = found
        .into_iter()
        .map(|profile| show(&snapshot, profile))
        .collect();
    Ok(wire::ListInstanceProfilesForRoleResponse {
        instance_profiles,
        is_truncated,
        marker,
    })
}

pub fn add_role(
    context: &Context,
    request: wire::AddRoleToInstanceProfileRequest,
) -> Result<wire::AddRoleToInstanceProfileResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| {
        Ok(profiles::add_role(
            tx,
            &scope,
            &request.instance_profile_name,
            &request.role_name,
        )?)
    })?;
    Ok(wire::AddRoleToInstanceProfileResponse {})
}

pub fn remove_role(
    context: &Context,
    request: wire::RemoveRoleFromInstanceProfileRequest,
) -> Result<wire::RemoveRoleFromInstanceProfileResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| {
        Ok(profiles::remove_role(
            tx,
            &scope,
            &request.instance_profile_name,
            &request.role_name,
        )?)
    })?;
    Ok(wire::RemoveRoleFromInstanceProfileResponse {})
}

pub fn delete(
    context: &Context,
    request: wire::DeleteInstanceProfileRequest,
) -> Result<wire::DeleteInstanceProfileResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| {
        Ok(profiles::delete(
            tx,
            &scope,
            &request.instance_profile_name,
        )?)
    })?;
    Ok(wire::DeleteInstanceProfileResponse {})
}
